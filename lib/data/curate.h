/* SPDX-License-Identifier: MIT
 * Curation: raw films in, the clips to train on out (6.2, table 38). Tier 6.
 *
 * Each film is watched once (curate_watch.h). Then films and clips go through steps, in the order of MGI_CURATE_*; the
 * first that a clip fails is what drops it. */
#ifndef MGI_DATA_CURATE_H
#define MGI_DATA_CURATE_H

#include "data/curate_watch.h"

/* What is left after each step. Clips are counted from MGI_CURATE_SCENE on. */
typedef struct mgi_curate_funnel {
    int64_t films[MGI_CURATE_STEPS], clips[MGI_CURATE_STEPS];
    int64_t all_films, all_clips; /* that were looked at */
    double seconds;               /* of the clips that are kept */
    int64_t clusters;
    int64_t others,
        edited; /* files of the folder that are passed over: films of kinds that are not read, films after an edit */
    int64_t before; /* films that a curation which was ended had watched */
    int64_t uneven; /* films whose frames do not stand evenly in time */
} mgi_curate_funnel;

typedef struct mgi_curator {
    mgen_context *ctx;
    mgi_curate_rules rules;
    mgi_curate_film *films;
    int64_t count, room;
} mgi_curator;

void mgi_curator_init(mgi_curator *c, mgen_context *ctx, const mgi_curate_rules *rules);
void mgi_curator_finish(mgi_curator *c);
/* A film that was watched, or is not worth it; it is the curator's from now on, also after a failure. */
mgen_status mgi_curator_take(mgi_curator *c, mgi_curate_film *film);
/* Whether a film of this size is worth watching; else it has its bit. */
bool mgi_curator_wants(const mgi_curator *c, mgi_curate_film *film);
/* Once, when all films are there: what looks at all of them together. */
mgen_status mgi_curator_decide(mgi_curator *c, mgi_curate_funnel *funnel);

/* The step that dropped a clip of a film (NULL: the film has none), or MGI_CURATE_STEPS: it is kept. */
int mgi_curate_dropped(const mgi_curate_film *film, const mgi_curate_clip *clip);
/* How much two clips look the same: 1 = entirely. */
double mgi_curate_alike(const mgi_curate_view *a, const mgi_curate_view *b);

/* All of a folder's films; `path` gets a line of JSON for each clip, and for each film without any. `progress` is
 * asked after each film, on the caller's thread: true ends it (CANCELLED). Films are watched by all threads of the context, with the
 * same outcome, log and order as by one; if there is no memory for that, one at a time. NOT_FOUND if there is no film or, when the list is written, if
 * it keeps no clip; what reading says if none can be
 * read; rules as curate_rules.h, where `rules` NULL is the report's. */
mgen_status mgi_curate_folder(mgen_context *ctx, const char *dir, const char *rules,
                              const char *path,
                              bool (*progress)(void *user, int64_t done, int64_t total), void *user,
                              mgi_curate_funnel *funnel);

#endif
