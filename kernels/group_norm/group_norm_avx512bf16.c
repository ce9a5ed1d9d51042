/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX avx512bf16
#define MGK_WIDTH  16
#include "kernels/group_norm/group_norm_simd.h"
