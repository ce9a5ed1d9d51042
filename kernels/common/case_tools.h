/* SPDX-License-Identifier: MIT
 * Short forms for the case files. */
#ifndef MGK_COMMON_CASE_TOOLS_H
#define MGK_COMMON_CASE_TOOLS_H

#include "kernels/cases.h"

#include <stdio.h>

/* Starts a case; the label is formatted. */
#define MGK_CASE_BEGIN(c, op_id, ...)                                                              \
    do {                                                                                           \
        (c)->op = (op_id);                                                                         \
        (c)->tolerance = 1e-5f;                                                                    \
        snprintf((c)->label, sizeof(c)->label, __VA_ARGS__);                                       \
    } while (0)

/* Splits an index into choices: the next of n. */
static inline int mgk_case_take(int *index, int n)
{
    int choice = *index % n;
    *index /= n;
    return choice;
}

/* Inputs and outputs of the case's real dtype, which mgk_case.real sets before they are declared. */
static inline void mgk_case_in(mgk_case *c, mgk_buf *slot, int64_t count, float scale)
{
    slot->dtype = c->real;
    mgk_case_add(c, slot, MGK_CASE_IN, MGK_FILL_NORMAL, c->real, count, 0, scale);
}

static inline void mgk_case_out(mgk_case *c, mgk_buf *slot, int64_t count)
{
    slot->dtype = c->real;
    mgk_case_add(c, slot, MGK_CASE_OUT, MGK_FILL_ZERO, c->real, count, 0, 1);
}

/* Read and written, as by ops that add to their output. */
static inline void mgk_case_both(mgk_case *c, mgk_buf *slot, int64_t count)
{
    slot->dtype = c->real;
    mgk_case_add(c, slot, MGK_CASE_INOUT, MGK_FILL_NORMAL, c->real, count, 0, 1);
}

static inline void mgk_case_out_or_both(mgk_case *c, mgk_buf *slot, int64_t count, bool both)
{
    if (both)
        mgk_case_both(c, slot, count);
    else
        mgk_case_out(c, slot, count);
}

/* An input of values that the case chose: they lie in c->more or are constants. */
static inline void mgk_case_given(mgk_case *c, mgk_buf *slot, int32_t dtype, int64_t count,
                                  const void *values)
{
    mgk_case_add(c, slot, MGK_CASE_IN, MGK_FILL_GIVEN, dtype, count, 0, 1);
    c->bufs[c->buf_count - 1].given = values;
}

/* The same, f32 whatever the case's dtype. */
static inline void mgk_case_in_f32(mgk_case *c, mgk_buf *slot, int64_t count, float scale)
{
    slot->dtype = MGK_F32;
    mgk_case_add(c, slot, MGK_CASE_IN, MGK_FILL_NORMAL, MGK_F32, count, 0, scale);
}

static inline void mgk_case_out_f32(mgk_case *c, mgk_buf *slot, int64_t count)
{
    slot->dtype = MGK_F32;
    mgk_case_add(c, slot, MGK_CASE_OUT, MGK_FILL_ZERO, MGK_F32, count, 0, 1);
}

static inline void mgk_case_both_f32(mgk_case *c, mgk_buf *slot, int64_t count)
{
    slot->dtype = MGK_F32;
    mgk_case_add(c, slot, MGK_CASE_INOUT, MGK_FILL_NORMAL, MGK_F32, count, 0, 1);
}

/* Allows the output that was declared last to be off besides; `times`: bits of buffers (mgk_case_buf). */
static inline void mgk_case_besides(mgk_case *c, float off, uint32_t times)
{
    c->bufs[c->buf_count - 1].besides = off;
    c->bufs[c->buf_count - 1].besides_times = times;
}

/* What activations in pieces are off by where values are small, too (activation_simd.h); `coarse`: SiLU and the quick GELU. */
static inline float mgk_case_activation_off(bool coarse, bool slope, int32_t dtype)
{
    if (dtype != MGK_BF16)
        return slope ? 0x1p-24f : 0x1p-25f;
    return coarse ? 0x1p-12f : slope ? 0x1p-14f : 0x1p-15f;
}

#endif
