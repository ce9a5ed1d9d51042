/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX portable
#define MGK_WIDTH  4
#include "kernels/snake/snake_simd.h"
