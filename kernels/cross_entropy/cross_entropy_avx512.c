/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX avx512
#define MGK_WIDTH  16
#include "kernels/cross_entropy/cross_entropy_simd.h"
