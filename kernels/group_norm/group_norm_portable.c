/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX portable
#define MGK_WIDTH  4
#include "kernels/group_norm/group_norm_simd.h"
