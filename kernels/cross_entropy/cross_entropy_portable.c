/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX portable
#define MGK_WIDTH  4
#include "kernels/cross_entropy/cross_entropy_simd.h"
