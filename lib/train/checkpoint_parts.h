/* SPDX-License-Identifier: MIT
 * The tensors of a checkpoint: everything that a step changes. Tier 7. */
#ifndef MGI_TRAIN_CHECKPOINT_PARTS_H
#define MGI_TRAIN_CHECKPOINT_PARTS_H

#include "nn/layout.h"
#include "train/stage.h"

enum { MGI_PART_NAME = 288 };

typedef struct mgi_part {
    char name[MGI_PART_NAME];
    mgi_tensor *tensor;
    float *host; /* where there is no tensor */
    int rank;
    int64_t dims[MGI_RANK_MAX], count; /* of the whole */
    int64_t layout;                    /* which one */
} mgi_part;

typedef struct mgi_parts {
    mgi_part *part; /* by name, as in an open file */
    int64_t count;
    mgi_layout *
        layout; /* of parameters, in the order of the modules, then of the rest: which elements this rank has */
    int64_t layouts;
    int64_t *total; /* elements of the whole, of each layout */
} mgi_parts;

mgen_status mgi_parts_list(mgen_context *ctx, const mgi_stage_state *s, mgi_parts *out);
void mgi_parts_free(mgen_context *ctx, mgi_parts *parts);
/* NULL: there is none. */
const mgi_part *mgi_parts_find(const mgi_parts *parts, const char *name);

/* This rank's own elements, an mgi_st_reader and the other way. */
mgi_st_reader mgi_part_values;
void mgi_part_write(const mgi_part *p, int64_t own, const void *values, int64_t n);

/* The hash of tensors that are about to be written, whose data are parts, and of those of a file: `hash` is that of
 * what goes before. */
mgen_status mgi_parts_hash(mgen_context *ctx, const mgi_st_source *list, int64_t count,
                           uint64_t hash, uint64_t *out);
mgen_status mgi_file_hash(mgen_context *ctx, const mgi_st_file *st, uint64_t *hash);

#endif
