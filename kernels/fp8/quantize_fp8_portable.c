/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX portable
#define MGK_WIDTH  4
#include "kernels/fp8/quantize_fp8_simd.h"
