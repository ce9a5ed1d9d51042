/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX avx2
#define MGK_WIDTH  8
#include "kernels/layout/permute_simd.h"
