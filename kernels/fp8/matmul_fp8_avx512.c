/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX avx512
#define MGK_WIDTH  16
#include "kernels/fp8/matmul_fp8_simd.h"
