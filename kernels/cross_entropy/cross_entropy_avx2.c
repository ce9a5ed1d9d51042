/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX avx2
#define MGK_WIDTH  8
#include "kernels/cross_entropy/cross_entropy_simd.h"
