/* SPDX-License-Identifier: MIT
 * Clips that are the same, and clips of one kind. Tier 6. */
#ifndef MGI_DATA_CURATE_GROUPS_H
#define MGI_DATA_CURATE_GROUPS_H

#include "data/curate_watch.h"

typedef struct mgi_curate_member {
    mgi_curate_film *film;
    mgi_curate_clip *clip;
    int64_t order;
} mgi_curate_member;

/* A clip that looks as one before it gets its bit and the order of that one; *count are those that are left, in the
 * order in which they came. Of more clips than rules->duplicate_pairs few pairs are compared, by an index, which misses one that is
 * just alike with a probability of 1e-4, one that is more alike with less; the outcome is a function of clips and rules. */
mgen_status mgi_curate_find_duplicates(mgen_context *ctx, const mgi_curate_rules *rules,
                                       mgi_curate_member *members, int64_t *count);
/* Clusters by k-means, and what each clip then weighs: the volume of a cluster falls to the root of its size. The largest
 * cluster's clips weigh 1; or, with MGI_RESAMPLE_DROP, the smallest one's, and of others some go. */
mgen_status mgi_curate_resample(mgen_context *ctx, const mgi_curate_rules *rules,
                                mgi_curate_member *members, int64_t count, int64_t *clusters);

#endif
