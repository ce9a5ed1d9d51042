/* SPDX-License-Identifier: MIT
 * Models of the same networks, averaged weight by weight, as the report averages its finetuning runs (3.3).
 * Tier 7. */
#ifndef MGI_TRAIN_AVERAGE_H
#define MGI_TRAIN_AVERAGE_H

#include "model/adapter.h"

enum { MGI_AVERAGE_MAX = 16 };

typedef struct mgi_average_request {
    const char *const *dirs, *const *names; /* a folder and a name each */
    const double *weights;                  /* above 0; only their ratios matter */
    int64_t count;                          /* 1..MGI_AVERAGE_MAX */
    /* Of each, or NULL: they are merged into what is averaged. */
    const mgi_adapters *const *adapters;
} mgi_average_request;

/* Whether they can be averaged: INVALID, with what differs, unless they are of one kind, with equal configurations
 * and the same tensors of the same shapes and dtypes. */
mgen_status mgi_average_check(mgen_context *ctx, const mgi_average_request *request);
/* The same, and the average as a model of that name in the folder `dir`, in the dtypes of the others. Sums are made in double, in the
 * order given, and rounded once. */
mgen_status mgi_average_models(mgen_context *ctx, const mgi_average_request *request,
                               const char *dir, const char *name);
/* The pipelines of `count` model folders as one in `out`, which may be one of them; a model that is there is replaced when the new one
 * is whole, as by every other saver: video models and text encoders are averaged, TAEs and tokenizers must be the same; adapters come
 * into the weights. Other models come along where there is one folder. INVALID with what differs. */
mgen_status mgi_average_folders(mgen_context *ctx, const char *const *dirs, const double *weights,
                                int64_t count, const char *out);

#endif
