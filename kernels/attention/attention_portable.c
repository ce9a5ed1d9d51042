/* SPDX-License-Identifier: MIT */
#define MGK_SUFFIX portable
#define MGK_WIDTH  4
#define MGK_PAIRS  0
#include "kernels/attention/attention_simd.h"
