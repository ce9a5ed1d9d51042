/* SPDX-License-Identifier: MIT
 * A film is watched once, frame by frame: where its scenes are cut, the clips that they give, and what each filter of
 * curation needs to know of them. Tier 6.
 *
 * What is held does not grow with the film: a few frames, and of each clip a page of numbers. */
#ifndef MGI_DATA_CURATE_WATCH_H
#define MGI_DATA_CURATE_WATCH_H

#include "data/curate_look.h"
#include "data/curate_rules.h"
#include "media/film_read.h"

/* Steps, in the order in which they are taken. A clip has a bit for each that it fails. */
enum {
    MGI_CURATE_READ, /* films that cannot be read */
    MGI_CURATE_DURATION,
    MGI_CURATE_RESOLUTION,
    MGI_CURATE_ASPECT,
    MGI_CURATE_SCENE, /* no scene is long enough */
    MGI_CURATE_TEXT,
    MGI_CURATE_BORDER,
    MGI_CURATE_AESTHETIC,
    MGI_CURATE_STILL,
    MGI_CURATE_MOTION,
    MGI_CURATE_JITTER,
    MGI_CURATE_DUPLICATE,
    MGI_CURATE_RESAMPLE,
    MGI_CURATE_STEPS
};
/* "read", "duration", ... */
const char *mgi_curate_step_name(int step);

/* To be raised with every change of what watching finds in a film: what was found before is then found anew. */
enum { MGI_CURATE_WATCH_VERSION = 3 };

/* What a clip looks like: MGI_LIKE_FRAMES of its frames, from its beginning to its end. */
typedef struct mgi_curate_view {
    float like[MGI_LIKE_SIZE], theme[MGI_THEME_SIZE];
} mgi_curate_view;

typedef struct mgi_curate_clip {
    int64_t first, frames; /* of the film */
    double text, border;   /* as the rules' text_max and border_max */
    double still, still_seconds, motion, vector, shake;
    uint32_t fails;        /* bits of steps */
    double weight;         /* of what is kept */
    int64_t same;          /* number of the kept clip that it is a duplicate of, or -1 */
    int64_t cluster;       /* or -1 */
    mgi_curate_view *view; /* NULL: not needed, it has failed */
} mgi_curate_clip;

/* Frames that belong to no scene: one passes into another. */
typedef struct mgi_curate_join {
    int64_t first, end; /* and the frame after them */
} mgi_curate_join;

typedef struct mgi_curate_film {
    char *name, *caption; /* caption: NULL = none */
    mgi_film_info info;   /* frames: those that were read */
    double fps, seconds;
    double aesthetic; /* NaN: nobody has rated it */
    uint32_t fails;   /* bits of what the film as a whole fails */
    mgi_film_known known;
    bool uneven;   /* its frames do not stand evenly in time, but are taken as if */
    int64_t shots; /* one more than there are cuts and joins */
    int64_t *
        cuts; /* frames with which shots begin that follow a cut; as many as clips are looked for in, for tests */
    int64_t cut_count, cut_room;
    mgi_curate_join *joins; /* what is gradual between shots */
    int64_t joined, join_room;
    mgi_curate_clip *clips;
    int64_t count, room;
} mgi_curate_film;

void mgi_curate_film_free(mgen_context *ctx, mgi_curate_film *film);

typedef struct mgi_curate_watch mgi_curate_watch;
/* `film` has its info (but frames), and is filled. */
mgen_status mgi_curate_watch_begin(mgen_context *ctx, const mgi_curate_rules *rules,
                                   mgi_curate_film *film, mgi_curate_watch **out);
/* A frame of the film's size. *enough: the film is too long already. */
mgen_status mgi_curate_watch_frame(mgi_curate_watch *watch, const uint8_t *rgb, bool *enough);
/* The film is over: its clips, each with the bits of the filters that look at it alone. */
mgen_status mgi_curate_watch_end(mgi_curate_watch *watch);
void mgi_curate_watch_free(mgi_curate_watch *watch); /* NULL is fine */

#endif
