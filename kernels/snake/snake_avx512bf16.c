/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX avx512bf16
#define MGK_WIDTH  16
#include "kernels/snake/snake_simd.h"
