/* SPDX-License-Identifier: MIT
 * Test cases of the ops, written beside them in <folder>_cases.c and run by
 * tests/kernels/checkkernel.
 *
 * A case fills an argument struct and declares each buffer that the struct points to. The runner
 * makes the buffers (guard zones around them, outputs poisoned), runs every variant on equal inputs
 * and compares with the truth: the reference, run with bf16 buffers widened to f32. Each output may be
 * wrong by tolerance * the largest true value, plus twice what the reference itself is wrong by with
 * bf16 buffers (gradients: three times), or half of the last bit of the largest value, if that is more: of few
 * values the reference may have met them all by luck. Plus what the case allows besides.
 */
#ifndef MGK_CASES_H
#define MGK_CASES_H

#include "kernels/mgk.h"

enum { MGK_CASE_IN, MGK_CASE_OUT, MGK_CASE_INOUT };
enum {
    MGK_FILL_NORMAL,   /* standard normal * scale */
    MGK_FILL_POSITIVE, /* uniform in (0.1, 1.1) * scale */
    MGK_FILL_IDS,      /* integers 0..limit-1 */
    MGK_FILL_MASK,     /* 0 or 1, at least one 1 in each run of `limit` values */
    MGK_FILL_ZERO,
    MGK_FILL_E4M3,         /* codes of standard normal * scale */
    MGK_FILL_POWER_OF_TWO, /* 2^-limit to 2^limit */
    MGK_FILL_GIVEN         /* the `count` values at `given`, which outlive the case */
};

#define MGK_CASE_BUFS 32

typedef struct mgk_case_buf {
    mgk_buf *slot; /* inside mgk_case.args */
    int role, fill;
    int32_t dtype;
    int64_t count, limit;
    float scale;
    const void *given;
    bool widened; /* set by the runner: an f32 copy of a bf16 buffer */
    /* What an output may be off by besides, however small its true values are, as small ones may be what is left of large ones:
     * times the largest value, or 1 if that is more, of each buffer whose bit is set. */
    float besides;
    uint32_t besides_times;
} mgk_case_buf;

typedef struct mgk_case {
    int op; /* MGK_OP_* */
    char label[96];
    char derived[32]; /* by the runner: what it changed. Outputs may then be larger than needed. */
    union {
        uint8_t bytes[2048];
        int64_t align;
    } args;                 /* the op's argument struct */
    uint8_t more[12 << 10]; /* room for what args points to besides buffers (optimizer items) */
    mgk_case_buf bufs[MGK_CASE_BUFS];
    int buf_count;
    int32_t real;    /* dtype of the real buffers that case_tools.h declares; 0 = f32 */
    float tolerance; /* relative to the largest true value; 0 = exact, default 1e-5 */
    /* Allowed instead to the variants that `loose_variants` lists, divided by commas; NULL: to none. */
    float loose;
    const char *loose_variants;
    bool illegal; /* mgk_<op>_check must refuse it; nothing is run */
    /* Called by the runner after it has set the buffers' pointers; NULL = not needed. */
    void (*finish)(struct mgk_case *c);
} mgk_case;

/* Fill case `index` (sizes may use `seed`); false past the last. One function a folder. */
typedef bool mgk_cases_fn(mgk_case *c, int index, uint64_t seed);

#define MGK_CASES(folder) bool mgk_##folder##_cases(mgk_case *c, int index, uint64_t seed)

static inline void mgk_case_add(mgk_case *c, mgk_buf *slot, int role, int fill, int32_t dtype,
                                int64_t count, int64_t limit, float scale)
{
    if (c->buf_count < MGK_CASE_BUFS)
        c->bufs[c->buf_count++] = (mgk_case_buf){slot, role, fill, dtype, count, limit, scale};
}

#endif
