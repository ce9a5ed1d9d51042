/* SPDX-License-Identifier: MIT
 * All items of a call as one list of chunks. */
#ifndef MGK_OPTIMIZER_BLOCKS_H
#define MGK_OPTIMIZER_BLOCKS_H

#include "kernels/common/parallel.h"
#include "kernels/optimizer/optimizer.h"

enum { MGK_OPT_CHUNK = MGK_BLOCK_ELEMENTS };

static inline int64_t mgk_opt_chunks(int64_t count)
{
    return mgk_div_up(count, MGK_OPT_CHUNK);
}

/* The workspace begins with this table: first[i] is the number of item i's first chunk, the last
 * entry the number of all chunks. Returns the elements of all items. */
static inline int64_t mgk_opt_table(const mgk_optimizer_args *a, int64_t *first)
{
    int64_t elements = 0, chunks = 0;
    for (int64_t i = 0; i < a->item_count; i++) {
        first[i] = chunks;
        chunks += mgk_opt_chunks(a->items[i].count);
        elements += a->items[i].count;
    }
    first[a->item_count] = chunks;
    return elements;
}

/* The item that holds a chunk; *at and *n: its elements there. */
static inline const mgk_optimizer_item *mgk_opt_chunk(const mgk_optimizer_args *a,
                                                      const int64_t *first, int64_t chunk,
                                                      int64_t *at, int64_t *n)
{
    int64_t low = 0, high = a->item_count; /* first[low] <= chunk < first[high] */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (first[middle] <= chunk)
            low = middle;
        else
            high = middle;
    }
    *at = (chunk - first[low]) * MGK_OPT_CHUNK;
    *n = mgk_min(MGK_OPT_CHUNK, a->items[low].count - *at);
    return &a->items[low];
}

/* What adamw derives from its arguments once. */
typedef struct mgk_adamw_terms {
    float scale, lr, beta1, beta2, eps, decay;
    float correct1;      /* 1 / (1 - beta1^step) */
    float correct2_root; /* 1 / sqrt(1 - beta2^step) */
} mgk_adamw_terms;

#endif
