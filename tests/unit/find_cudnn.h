/* SPDX-License-Identifier: MIT
 * The cuDNN that the host plays (fake_cudnn.c). */
#ifndef FIND_CUDNN_H
#define FIND_CUDNN_H

#include "fake_cudnn.h"
#include "find_beside.h"
#include "kernels/attention/cudnn_api.h"

#include <stdbool.h>

static char fake_file[BESIDE_FILE];
static fake_cudnn *fake;

static bool find_cudnn(void)
{
    fake = find_beside("fake_cudnn.so", "fake_cudnn_state", fake_file);
    return fake != NULL;
}

static void reset_cudnn(void)
{
    memset(fake, 0, sizeof *fake);
    fake->version = MGK_CUDNN_OLDEST;
    fake->configs = 2;
}

#endif
