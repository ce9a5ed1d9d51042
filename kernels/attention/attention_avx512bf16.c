/* SPDX-License-Identifier: MIT
 * Calls in bf16 with the instruction that multiplies pairs of bf16; calls in f32 as in avx512. */
#define MGK_SUFFIX avx512bf16
#define MGK_WIDTH  16
#define MGK_PAIRS  1
#include "kernels/mgk.h"

mgk_launch_fn mgk_attention_avx512, mgk_attention_grad_avx512;

#include "kernels/attention/attention_simd.h"
