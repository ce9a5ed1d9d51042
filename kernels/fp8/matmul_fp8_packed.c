/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX packed
#define MGK_WIDTH  4
#include "kernels/fp8/matmul_fp8_simd.h"
