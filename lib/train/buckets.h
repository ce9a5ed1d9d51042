/* SPDX-License-Identifier: MIT
 * The kinds of clips that a stage trains on, each with its encoded clips: sizes, lengths, frame rates, images.
 * Tier 7.
 *
 * Every step takes one bucket, drawn by (seed, step) with the buckets' shares. The stage's clips are divided
 * among buckets as their samples are; of an endless dataset each takes others, of a finite one all take the same, but for films of
 * a folder, which are divided by their own aspect and length (bucket_films.h). */
#ifndef MGI_TRAIN_BUCKETS_H
#define MGI_TRAIN_BUCKETS_H

#include "train/latents.h"
#include "train/recipe.h"

typedef struct mgi_bucket_data {
    mgi_bucket bucket;    /* complete: nothing in it is 0 but, perhaps, fps */
    int64_t number;       /* among those of the stage, from 1 on */
    double share;         /* of the steps */
    mgi_dataset *dataset; /* of its clips */
    int64_t clips, held;
    uint64_t first; /* element of the dataset with which its clips begin */
    mgi_latents latents;
    int64_t fps; /* that most of its clips were told to have; 0: nothing was told */
} mgi_bucket_data;

typedef struct mgi_buckets {
    int64_t count;
    mgi_bucket_data list[MGI_BUCKETS_MAX];
    int64_t batch, size; /* the largest: samples, values of a sample */
    bool mixed;          /* images and videos */
    bool divided;        /* a folder's films are: their lengths are known */
    uint64_t division;   /* hash of which films each bucket has */
} mgi_buckets;

/* The stage's, or the one that the dataset is, its samples whole, with `held` clips to validate with in all, or a few more. Those
 * that get none of a folder's films are left out. INVALID if the dataset cannot give them. */
mgen_status mgi_buckets_init(mgen_context *ctx, const mgi_stage *stage, mgi_dataset *dataset,
                             int64_t held, mgi_buckets *out);
/* Collective: whether all ranks have divided a folder's films alike. DESYNC. */
mgen_status mgi_buckets_agree(const mgi_buckets *b, mgi_comm *world);
/* Encode their clips: of the request, what is a bucket's own is filled in. */
mgen_status mgi_buckets_encode(mgen_context *ctx, mgi_buckets *b,
                               const mgi_latents_request *request);
/* Captions of films of a folder or a host, encoded by a request with this seed, and instructions, as prompts of a model whose
 * fps_prefix says so: they begin with the frame rate, the bucket's or else the film's own. Frames are never others for it. */
mgen_status mgi_buckets_tell_rates(mgen_context *ctx, mgi_buckets *b, uint64_t seed);
void mgi_buckets_free(mgen_context *ctx, mgi_buckets *b);

/* Frames a second of its clips; of a folder's films, when they are told, those that most have. */
int64_t mgi_bucket_fps(const mgi_bucket_data *d);

const mgi_bucket_data *mgi_buckets_draw(const mgi_buckets *b, uint64_t seed, int64_t step);
/* What the step took. */
void mgi_bucket_report(const mgi_bucket *b, mgen_report *report);

#endif
