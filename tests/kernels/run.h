/* SPDX-License-Identifier: MIT
 * One case on one variant: buffers, launch, and the judgement of what came out. */
#ifndef CHECKKERNEL_RUN_H
#define CHECKKERNEL_RUN_H

#include "guarded.h"

#include "core/pool.h"

enum { CHECKER_POOLS = 4 };

/* What all parts of checkkernel share. */
typedef struct checker {
    uint64_t seed;
    mgi_pool *pools[CHECKER_POOLS]; /* [i] has i threads; [0] NULL: serial */
    char now[256];                  /* what runs, for the message of a crash */
    const char *only_variants;      /* comma-separated; NULL: all */
} checker;
extern checker checker_state;

/* The buffers of one run. */
typedef struct arena {
    guarded bufs[MGK_CASE_BUFS], workspace;
} arena;

/* What a case is judged by: the reference run with every bf16 buffer widened to f32, and how far from
 * it the reference ends with the buffers as they are, for each buffer. */
typedef struct truth {
    mgk_case *wide; /* the case itself if it has no bf16 buffers */
    const arena *values;
    double largest[MGK_CASE_BUFS], reference_error[MGK_CASE_BUFS];
    double besides[MGK_CASE_BUFS];
} truth;

/* Make the case's buffers and let its arguments point to them. */
bool arena_make(arena *a, mgk_case *c, guarded_place place);
void arena_free(arena *a);
size_t buf_bytes(const mgk_case_buf *b);
/* All of these end the program if there is no memory. */
void arena_need(arena *a, mgk_case *c, guarded_place place);
void launch(const mgk_variant_info *v, mgk_case *c, arena *a, mgi_pool *pool);
size_t workspace_bytes(const mgk_variant_info *v, const mgk_case *c, int threads);

/* Whether it is among those that the command line names; of none, all are. */
bool asked_for(const mgk_variant_info *v);
bool usable(const mgk_variant_info *v);
int first_variant(int op); /* the reference, as an index into mgk_variants */
bool has_bf16(const mgk_case *c);

/* The same arguments inside another copy of the case. */
void case_copy(mgk_case *to, const mgk_case *from);
void blame(const mgk_case *c, const char *variant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

typedef struct tally {
    int cases, failures;
} tally;
/* Run every usable variant; counted for each entry of mgk_variants. */
void run_legal(mgk_case *c, tally *variants);

#endif
