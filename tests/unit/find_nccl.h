/* SPDX-License-Identifier: MIT
 * The NCCL that the host plays (fake_nccl.c). */
#ifndef FIND_NCCL_H
#define FIND_NCCL_H

#include "fake_nccl.h"
#include "find_beside.h"

static char fake_file[BESIDE_FILE];
static fake_nccl *fake;

static bool find_nccl(void)
{
    fake = find_beside("fake_nccl.so", "fake_nccl_state", fake_file);
    return fake != NULL;
}

#endif
