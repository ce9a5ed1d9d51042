/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX avx2
#define MGK_WIDTH  8
#include "kernels/group_norm/group_norm_simd.h"
