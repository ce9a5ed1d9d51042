/* SPDX-License-Identifier: MIT
 * Raw films of the toybox, watched as curation does. */
#ifndef TESTS_UNIT_RAW_FILMS_H
#define TESTS_UNIT_RAW_FILMS_H

#include "data/curate.h"
#include "data/world_raw.h"

#include <math.h>
#include <stdlib.h>

/* The whole film, from malloc. */
static inline uint8_t *raw_frames(const mgi_world_raw *raw)
{
    const size_t each = (size_t)raw->width * (size_t)raw->height * 3;
    uint8_t *room = malloc(mgi_world_raw_room(raw)), *all = malloc(each * (size_t)raw->frames);
    for (int i = 0; room && all && i < raw->frames; i++)
        mgi_world_raw_frame(raw, i, room, all + each * (size_t)i);
    free(room);
    return all;
}

/* What curation finds in it; mgi_curate_film_free() frees. */
static inline mgen_status watch_raw(mgen_context *context, const mgi_curate_rules *rules,
                                    const mgi_world_raw *raw, mgi_curate_film *film)
{
    const size_t each = (size_t)raw->width * (size_t)raw->height * 3;
    mgi_curate_watch *watch;
    bool enough = false;
    *film = (mgi_curate_film){.aesthetic = NAN};
    film->info = (mgi_film_info){raw->width, raw->height, 0, MGI_RAW_FPS, 1};
    uint8_t *frames = raw_frames(raw);
    mgen_status status = mgi_curate_watch_begin(context, rules, film, &watch);
    for (int i = 0; status == MGEN_OK && i < raw->frames && !enough; i++)
        status = mgi_curate_watch_frame(watch, frames + each * (size_t)i, &enough);
    if (status == MGEN_OK)
        status = mgi_curate_watch_end(watch);
    mgi_curate_watch_free(watch);
    free(frames);
    return status;
}

#endif
