/* SPDX-License-Identifier: MIT
 * The NCCL that the host plays lies beside the test program. */
#ifndef FIND_NCCL_H
#define FIND_NCCL_H

#include "fake_nccl.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

static char fake_file[4096];
static fake_nccl *fake;

static bool find_nccl(void)
{
    ssize_t length = readlink("/proc/self/exe", fake_file, sizeof fake_file - 32);
    if (length <= 0)
        return false;
    fake_file[length] = 0;
    strcpy(strrchr(fake_file, '/'), "/fake_nccl.so");
    void *handle = dlopen(fake_file, RTLD_NOW | RTLD_LOCAL);
    fake = handle ? dlsym(handle, "fake_nccl_state") : NULL;
    return fake != NULL;
}

#endif
