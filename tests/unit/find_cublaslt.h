/* SPDX-License-Identifier: MIT
 * The cuBLASLt that the host plays (fake_cublaslt.c). */
#ifndef FIND_CUBLASLT_H
#define FIND_CUBLASLT_H

#include "fake_cublaslt.h"
#include "find_beside.h"

static char fake_file[BESIDE_FILE];
static fake_cublaslt *fake;

static bool find_cublaslt(void)
{
    fake = find_beside("fake_cublaslt.so", "fake_cublaslt_state", fake_file);
    return fake != NULL;
}

static void reset_cublaslt(void)
{
    const int handles = fake->handles;
    memset(fake, 0, sizeof *fake);
    fake->version = 130000;
    fake->algorithms = 1;
    fake->handles = handles;
}

#endif
