/* SPDX-License-Identifier: MIT
 * All items of a call laid end to end and cut into equal blocks: many small items share a block, a
 * large one has many. */
#ifndef MGK_OPTIMIZER_BLOCKS_H
#define MGK_OPTIMIZER_BLOCKS_H

#include "kernels/common/parallel.h"
#include "kernels/optimizer/optimizer.h"

enum { MGK_OPT_BLOCK = MGK_BLOCK_ELEMENTS };

/* Places of all items together; each begins at a multiple of 16, so that a cut inside an item never
 * parts a cache line that the item's start does not part. */
static inline int64_t mgk_opt_places(const mgk_optimizer_args *a)
{
    int64_t places = 0;
    for (int64_t i = 0; i < a->item_count; i++)
        places += mgk_pad16(a->items[i].count);
    return places;
}

/* The workspace begins with this table: start[i] is item i's first place, the last entry the
 * number of all places. */
static inline void mgk_opt_table(const mgk_optimizer_args *a, int64_t *start)
{
    int64_t places = 0;
    for (int64_t i = 0; i < a->item_count; i++) {
        start[i] = places;
        places += mgk_pad16(a->items[i].count);
    }
    start[a->item_count] = places;
}

/* The item that holds a place: the last one that begins at or before it. */
static inline int64_t mgk_opt_find(const int64_t *start, int64_t item_count, int64_t place)
{
    int64_t low = 0, high = item_count; /* start[low] <= place < start[high] */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (start[middle] <= place)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* What adamw derives from its arguments once. */
typedef struct mgk_adamw_terms {
    float scale, lr, beta1, beta2, eps, decay;
    float correct1;      /* 1 / (1 - beta1^step) */
    float correct2_root; /* 1 / sqrt(1 - beta2^step) */
} mgk_adamw_terms;

#endif
