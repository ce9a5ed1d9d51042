/* SPDX-License-Identifier: MIT
 * Clips of a training walk, drawn while a GPU works on those before. Tier 7.
 *
 * Which clips come next is a guess: a wrong one costs time only. Where the processor trains, or where samples come
 * from a host or from films, which expect to be asked by the calling thread, nothing is made ahead. */
#ifndef MGI_TRAIN_PREFETCH_H
#define MGI_TRAIN_PREFETCH_H

#include "data/dataset.h"

typedef struct mgi_prefetch mgi_prefetch;

/* Arguments of mgi_dataset_clips; no padding: they are compared as bytes. */
typedef struct mgi_prefetch_clips {
    mgi_dataset *dataset; /* must outlive what is being made */
    uint64_t first;
    int64_t count, frames;
} mgi_prefetch_clips;

/* `ahead`: make clips ahead at all. */
mgen_status mgi_prefetch_create(mgen_context *ctx, uint64_t seed, bool ahead, mgi_prefetch **out);
void mgi_prefetch_destroy(mgi_prefetch *p); /* NULL is fine */

/* Pixels of `clips`, until the next call, on the meta device NULL; then begin to make `next`, unless it has no clips. */
mgen_status mgi_prefetch_take(mgi_prefetch *p, mgi_prefetch_clips clips, mgi_prefetch_clips next,
                              const uint8_t **pixels);
/* Until nothing is being made: before the context's pool or a dataset are used for something else. */
void mgi_prefetch_rest(mgi_prefetch *p);

#endif
