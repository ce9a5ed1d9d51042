/* SPDX-License-Identifier: MIT
 * Which elements of a whole parameter a rank has: its pieces, written in short. Tier 4. */
#ifndef MGI_NN_LAYOUT_H
#define MGI_NN_LAYOUT_H

#include "nn/module.h"

/* `times` pieces of `count` elements each: the first from `whole` on, each `stride` behind the one before. */
typedef struct mgi_layout_range {
    int64_t whole, count, stride, times;
} mgi_layout_range;

enum {
    MGI_LAYOUT_RANGES_MAX = 1 << 14
}; /* those of networks are a few: each is looked at for each */

/* Ranges in ascending order, without overlaps. A rank has their elements one behind the other. */
typedef struct mgi_layout {
    mgi_layout_range *range;
    int64_t ranges, elements; /* elements: of all ranges */
} mgi_layout;

/* Of a parameter; p NULL: the whole of `total` elements. */
mgen_status mgi_layout_init(mgi_layout *l, mgen_context *ctx, const mgi_module *m,
                            const mgi_param *p, int64_t total);
/* Ranges from outside, of a whole of `total` elements: CORRUPT if they cannot be; else how many elements they have. */
mgen_status mgi_layout_check(mgen_context *ctx, const mgi_layout_range *list, int64_t ranges,
                             int64_t total, int64_t *elements);
void mgi_layout_free(mgi_layout *l, mgen_context *ctx);

/* The first stretch from element *at of the whole on that both have: where it is in each, and in the whole. *at goes
 * behind it. False: there is none. */
typedef struct mgi_stretch {
    int64_t whole, a, b, count;
} mgi_stretch;
bool mgi_layout_next(const mgi_layout *a, const mgi_layout *b, int64_t *at, mgi_stretch *out);

/* Equal for equal layouts. */
uint64_t mgi_layout_hash(const mgi_layout *l);

#endif
