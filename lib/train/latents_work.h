/* SPDX-License-Identifier: MIT
 * Between latents.c, which encodes clips, and latents_clips.c, which draws or reads them and what is said of them. Tier 7. */
#ifndef MGI_TRAIN_LATENTS_WORK_H
#define MGI_TRAIN_LATENTS_WORK_H

#include "train/latents.h"
#include "train/prefetch.h"

typedef struct mgi_latents_work {
    mgen_context *ctx;
    mgen_context *cache; /* where failures are told that do not matter; NULL = no cache */
    const mgi_latents_request *q;
    mgi_latents *l;
    mgi_prefetch *drawn; /* clips that are drawn, on all threads */
    int64_t tile;        /* frames of the TAE's tiles, if clips are longer; else 0 */
    float *values;       /* of clips that were just encoded */
    /* What this rank of several has encoded, if it is open; one alone has l->rows.file. */
    mgi_row_file encoded;
    int rank, ranks;
    int32_t *found;    /* of each of several ranks: whether it has them in its cache */
    int64_t done, own; /* clips of this rank: encoded, and all */
    char path[MGI_PATH_MAX + 1], rows_path[MGI_PATH_MAX + 1];
} mgi_latents_work;

/* Clips of the kind, all to train on or all held out: `n` from `first` on, and `after` more that follow. */
typedef struct mgi_latents_some {
    int64_t first, n, after;
} mgi_latents_some;

/* Clips of a pair and films of an edit. */
int64_t mgi_latents_films(const mgi_latents_request *q);
bool mgi_latents_drawn(const mgi_latents_work *w, const mgi_latents_some *s);
/* What is drawn comes in memory of w->drawn; the rest is read into `room`, of edits both films of each; of what is read, captions and tasks, too. */
mgen_status mgi_latents_clips(const mgi_latents_work *w, const mgi_latents_some *s, uint8_t *room,
                              const uint8_t **out);
/* Frames of each clip and behind them those of its condition. */
mgen_status mgi_latents_pairs(const mgi_latents_work *w, const mgi_latents_some *s,
                              const uint8_t *clips, uint8_t *both);
/* Instructions and tasks, which cost nothing to draw again, and a folder has read: of n clips from the first one on. */
mgen_status mgi_latents_take_edits(const mgi_latents_work *w, int64_t first, int64_t n);
/* Captions likewise, if there are any. */
mgen_status mgi_latents_take_captions(const mgi_latents_work *w, int64_t first, int64_t n);
/* They are not kept: a folder may have others tomorrow. */
void mgi_latents_take_scores(const mgi_latents_work *w);

#endif
