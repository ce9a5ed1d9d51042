/* SPDX-License-Identifier: MIT
 * How a matrix product is cut into blocks: a pure function of its arguments, the number of threads and the width of the
 * engine's vectors; the workspace serves every variant. Only blocks of k decide in which order
 * values are added, and those do not depend on the threads. Inside kernels/matmul only. */
#ifndef MGK_MATMUL_PLAN_H
#define MGK_MATMUL_PLAN_H

#include "kernels/common/panel.h"
#include "kernels/matmul/matmul.h"

typedef struct mgk_matmul_plan {
    int64_t m, batch;     /* rows and items, after equal items were joined into one */
    int64_t kc, k_blocks; /* values of k a block; the last block may be shorter */
    int64_t mc, m_blocks; /* rows a block */
    int64_t nc, n_blocks; /* columns a block, whole panels */
    int64_t n_pad;        /* n rounded up to whole panels of any engine */
    bool
        copy_a; /* a block of A is copied before use; else bf16 is, where it cannot be read in place */
    int64_t a_stride;     /* row stride of the copy (without trans_a) */
    int64_t a_floats;     /* the copied block, a thread */
    int64_t b_floats;     /* B packed */
    int64_t c_floats;     /* f32 sums of a block of a bf16 C with several blocks of k, a thread */
    int64_t c_stride;     /* their row stride */
    int64_t panel_floats; /* of B packed, for the widest engine */
    bool
        panels_apart; /* few rows, all in a block: each panel of B is packed when it is wanted, by who wants it */
    bool item_a_unit; /* many small products: an item is a unit of work and packs its own B */
} mgk_matmul_plan;

/* vl: floats a vector of the engine. */
mgk_matmul_plan mgk_matmul_make_plan(const mgk_matmul_args *g, int threads, int vl);

/* Floats of packed B in the workspace. */
int64_t mgk_matmul_b_space(const mgk_matmul_plan *p, int64_t threads);

/* Also the entry of the convolutions that are matrix products. */
void mgk_matmul_run(const mgk_matmul_args *g, mgk_exec *x, const mgk_panel *engine);

#endif
