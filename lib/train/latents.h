/* SPDX-License-Identifier: MIT
 * Clips of a dataset, encoded once by a trained TAE. Tier 7.
 *
 * Posterior means, normalised per channel, of clips encoded as films are: at once, or in the TAE's tiles where these are
 * shorter. Of pairs, each frame is encoded by itself, of the clip and then of its condition. Of edits, the film that is to come
 * out and then the one that is edited. With a cache folder they are kept as
 * latents-<key>.safetensors, the key being a hash of the TAE's weights, of what the dataset is, of which
 * clips are taken and how, of the precision and of the kernels in use, whose last bits may differ between processors.
 * What the host reads is never kept: only it knows when that changes. A cache that cannot be read or written
 * costs time, and a line in the log.
 *
 * What is kept is not held in memory but read from its file as it is needed. While clips are encoded they are added one by one to
 * latents-<key>-<rank>of<ranks>.rows (train/row_file.h): who is ended goes on from there the next time. What the
 * host reads, and what other ranks have encoded, lies in a scratch file of that folder, if it is large. So with a
 * cache folder there may be more clips than memory.
 *
 * Ranks share the work, in the batches in which one rank encodes, and send each other the values, which are its bits. What
 * one of them finds in its cache it sends to the others. The first one keeps them. */
#ifndef MGI_TRAIN_LATENTS_H
#define MGI_TRAIN_LATENTS_H

#include "data/dataset.h"
#include "dist/comm.h"
#include "io/safetensors.h"
#include "train/edits.h"
#include "train/pairs.h"
#include "train/rows.h"

typedef struct mgi_latents_request {
    const mgi_tae *tae;
    uint64_t tae_hash;
    mgi_dataset *dataset;
    uint64_t seed;          /* of the order of the data */
    uint64_t first;         /* element with which training begins */
    int64_t frames;         /* of a clip: the first ones of a sample */
    int64_t clips, held;    /* at most so many to train on and to validate with */
    const char *cache_dir;  /* NULL = none */
    uint64_t scratch_from;  /* bytes from which on a scratch file is taken; 0 = 256 MiB */
    const mgi_pairs *pairs; /* one of these, or NULL, NULL: clips alone */
    const mgi_edits *edits; /* instead of the dataset's clips */
    mgi_comm *ranks; /* all that make the same request, of which each encodes its part; NULL: one */
} mgi_latents_request;

typedef struct mgi_latents {
    int64_t clips, held;   /* so many there are */
    int64_t size, dims[4]; /* values of one clip: T, H, W, C */
    int64_t step;     /* from a clip to the next: of pairs, those of its condition are between */
    mgi_rows rows;    /* those to train on, then those held out; or they are */
    mgi_st_file file; /* in this file, if it is open, */
    const mgi_st_entry *kept[2]; /* in these parts */
    char **captions;             /* one for each; NULL for what is drawn, which has many */
    int32_t *tasks; /* of edits, whose instructions the captions are: one for each; else NULL */
    float *scores;  /* -1..1, of those of a folder to train on, one each; NULL: it has none */
    float *black;   /* of edits: a film without a picture; else NULL */
} mgi_latents;

/* What reading the data answers; CANCELLED by the context's progress callback. Collective: the first rank's failure is
 * that of all. */
mgen_status mgi_latents_make(mgen_context *ctx, const mgi_latents_request *request,
                             mgi_latents *out);
/* n values of clip i, from its value `at` on; those held out come behind those to train on. IO: its file cannot be read any more.
 * Any thread, with a context of its own. */
mgen_status mgi_latents_read(mgen_context *ctx, const mgi_latents *l, int64_t i, int64_t at,
                             float *out, int64_t n);
void mgi_latents_free(mgen_context *ctx, mgi_latents *l);

#endif
