/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX avx2
#define MGK_WIDTH  8
#include "kernels/fp8/matmul_fp8_simd.h"
