/* SPDX-License-Identifier: MIT
 * A library that the host plays, which lies beside the test program. */
#ifndef FIND_BESIDE_H
#define FIND_BESIDE_H

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

enum { BESIDE_FILE = 4096 };

/* Its `symbol`, NULL: it is not there; and the file of it. */
static void *find_beside(const char *name, const char *symbol, char file[BESIDE_FILE])
{
    ssize_t length = readlink("/proc/self/exe", file, BESIDE_FILE - 32);
    if (length <= 0)
        return NULL;
    file[length] = 0;
    strcpy(strrchr(file, '/') + 1, name);
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    return handle ? dlsym(handle, symbol) : NULL;
}

#endif
