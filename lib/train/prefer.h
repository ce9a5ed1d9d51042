/* SPDX-License-Identifier: MIT
 * Films that a video model has made, and how much each is to be preferred to the others of its prompt: what a stage learns
 * preferences from where no films with scores are given. Tier 7.
 *
 * The pixel checker of the toybox is the judge. A film's score is the share of what its caption asks for that can be seen in it,
 * motions twice; its preference is how far that is above the mean of its prompt's films, in units of two standard deviations
 * of them, at most 1 and at least -1. Prompts whose films are all as good teach nothing and are left out.
 *
 * With a cache folder they are kept as preferred-<key>.safetensors, the key being a hash of all that they are made by and of the
 * kernels in use, as that of clips is (train/latents.h). The first rank reads and writes it. */
#ifndef MGI_TRAIN_PREFER_H
#define MGI_TRAIN_PREFER_H

#include "data/dataset.h"
#include "dist/comm.h"
#include "task/pipeline.h"
#include "train/recipe.h"

typedef struct mgi_prefer_request {
    const mgi_networks *networks; /* with the clip that is made */
    const mgi_prefer_recipe *recipe;
    const mgi_dataset *captions; /* one whose samples are drawn, */
    uint64_t first;              /* of which these elements' are the prompts */
    uint64_t seed;               /* of wordings and noise */
    uint64_t made_by;      /* hash of the networks' weights and the video model's configuration */
    const char *cache_dir; /* NULL = none */
    mgi_comm *
        ranks; /* those of the model's mesh, which make each film together, or, if it is on none, that share
                                  * the prompts; NULL: one */
} mgi_prefer_request;

typedef struct mgi_preferred {
    int64_t count, size;                /* films; values of one, normalised latents */
    float *latents;                     /* of each */
    float *preference;                  /* -1..1 */
    char (*captions)[MGI_CAPTION_SIZE]; /* of each */
} mgi_preferred;

/* INVALID if the clip is none that the checker can read, or if there is nothing to prefer; what generating answers;
 * CANCELLED by the context's progress callback. Collective: to the same bits on all ranks and, where none shares a film, whatever
 * their number. */
mgen_status mgi_prefer_make(mgen_context *ctx, const mgi_prefer_request *request,
                            mgi_preferred *out);
void mgi_prefer_free(mgen_context *ctx, mgi_preferred *p); /* zero is fine */

/* From scores of `count` films of a prompt to preferences; false: all are as good. */
bool mgi_prefer_weigh(const double *scores, int64_t count, float *out);

#endif
