/* SPDX-License-Identifier: MIT */
#include "eval/frechet_eval.h"

#include "core/alloc.h"
#include "eval/alignment.h"
#include "eval/film_sight.h"
#include "eval/films.h"

/* Scenes that no prompt has: an even number, so that of these, too, every other one has two objects. */
static const int64_t other_scenes = INT64_C(1) << 32;

enum { MADE, FLOOR, CEILING, OTHERS, SETS };

typedef struct measurement {
    mgen_context *ctx;
    const mgi_networks *n;
    const mgi_eval_request *r;
    mgi_dataset *ds;              /* in the clip's size; NULL: the toybox */
    int64_t count, film[3], clip; /* films of a set; frames, height, width; bytes */
    uint8_t *made, *truth;        /* a batch each */
    mgi_film_sight sight;
    mgi_film_set set[SETS];
} measurement;

/* Film i of prompts, or of the others, and what it is told with. */
static mgen_status true_film(const measurement *m, int64_t i, bool other,
                             char text[MGI_CAPTION_SIZE], uint8_t *pixels)
{
    const mgi_clip_shape *c = &m->n->clip;
    mgi_world_scene scene;
    if (m->ds)
        return mgi_dataset_piece(m->ctx, m->ds, 2 * (uint64_t)i + other, 0, c->frames, pixels,
                                 text);
    mgi_alignment_prompt(c, other ? i + other_scenes : i, &scene, text);
    mgi_world_draw(&scene, (int)c->width, (int)c->height, 0, (int)c->frames, pixels);
    return MGEN_OK;
}

static mgen_status see(measurement *m, int set, const uint8_t *film)
{
    return mgi_film_sight_add(m->ctx, &m->sight, m->film, film, &m->set[set]);
}

/* Films first .. first + count - 1 of each set. */
static mgen_status measure(measurement *m, int64_t first, int64_t count)
{
    char text[MGI_EVAL_BATCH][MGI_CAPTION_SIZE];
    const char *prompts[MGI_EVAL_BATCH];
    for (int64_t i = 0; i < count; i++) {
        MGI_TRY(true_film(m, first + i, false, text[i], m->truth + i * m->clip));
        prompts[i] = text[i];
    }
    MGI_TRY(mgi_eval_generate(m->ctx, m->n, m->r, prompts, NULL, first, count, m->made));
    for (int64_t i = 0; i < count; i++) {
        uint8_t *film = m->truth + i * m->clip;
        MGI_TRY(see(m, MADE, m->made + i * m->clip));
        MGI_TRY(see(m, FLOOR, film));
        MGI_TRY(mgi_eval_reconstruct(m->ctx, m->n->tae, m->film[0], m->film[1], m->film[2], film,
                                     film));
        MGI_TRY(see(m, CEILING, film));
        MGI_TRY(true_film(m, first + i, true, text[0], film));
        MGI_TRY(see(m, OTHERS, film));
    }
    return MGEN_OK;
}

static mgen_status tell(measurement *m, mgen_report *report)
{
    static const char *const names[OTHERS][2] = {
        {"frechet_frames", "frechet_films"},
        {"floor_frechet_frames", "floor_frechet_films"},
        {"ceiling_frechet_frames", "ceiling_frechet_films"}};
    const mgi_film_set *others = &m->set[OTHERS];
    mgi_report_add(report, "dims", (double)others->frames.dims);
    if (m->film[0] > 1)
        mgi_report_add(report, "film_dims", (double)others->films.dims);
    for (int set = 0; set < OTHERS; set++) {
        double frames, films;
        MGI_TRY(mgi_frechet(m->ctx, &m->set[set].frames, &others->frames, &frames));
        mgi_report_add(report, names[set][0], frames);
        if (m->film[0] == 1)
            continue;
        MGI_TRY(mgi_frechet(m->ctx, &m->set[set].films, &others->films, &films));
        mgi_report_add(report, names[set][1], films);
    }
    const int64_t dims = m->film[0] > 1 ? others->films.dims : others->frames.dims;
    if (m->count < dims)
        mgi_log(m->ctx, MGEN_LOG_WARN,
                "%lld films are fewer than the %lld dimensions of what is seen of one: distances "
                "are too large, by about what is behind floor_; compare with others of as many",
                (long long)m->count, (long long)dims);
    return MGEN_OK;
}

static mgen_status run(measurement *m, mgen_report *report)
{
    const mgi_eval_request *r = m->r;
    MGI_TRY(mgi_alloc_zero(m->ctx, MGI_EVAL_BATCH, (size_t)m->clip, &m->made));
    MGI_TRY(mgi_alloc_zero(m->ctx, MGI_EVAL_BATCH, (size_t)m->clip, &m->truth));
    MGI_TRY(mgi_film_sight_init(m->ctx, &m->sight));
    for (int set = 0; set < SETS; set++)
        MGI_TRY(mgi_film_set_init(m->ctx, &m->sight, &m->set[set]));
    for (int64_t first = 0; first < m->count; first += MGI_EVAL_BATCH) {
        int64_t left = m->count - first, rows = left < MGI_EVAL_BATCH ? left : MGI_EVAL_BATCH;
        MGI_TRY(measure(m, first, rows));
        if (r->progress && r->progress(r->user, (int)(first + rows), (int)m->count))
            return mgi_fail(m->ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
    return tell(m, report);
}

/* How many films, and of what. */
static mgen_status begin(measurement *m, mgi_dataset *dataset)
{
    const mgi_clip_shape *c = &m->n->clip;
    m->count = m->r->n;
    if (!dataset) {
        MGI_TRY(mgi_alignment_check(m->ctx, c, "frechet"));
    } else {
        MGI_TRY(mgi_dataset_sized(m->ctx, dataset, c->width, c->height, c->frames, 0, &m->ds));
        const uint64_t half = m->ds->count / 2;
        m->count = (uint64_t)m->count < half ? m->count : (int64_t)half;
    }
    return m->count > 1
               ? MGEN_OK
               : mgi_fail(m->ctx, MGEN_E_INVALID,
                          "the frechet protocol needs n of 2 or more, and of a dataset twice "
                          "as many samples: films are made of one half, and compared with the "
                          "other");
}

mgen_status mgi_eval_frechet(mgen_context *ctx, const mgi_networks *n, mgi_dataset *dataset,
                             const mgi_eval_request *r, mgen_report *report)
{
    const mgi_clip_shape *c = &n->clip;
    measurement m = {.ctx = ctx,
                     .n = n,
                     .r = r,
                     .film = {c->frames, c->height, c->width},
                     .clip = c->frames * c->height * c->width * 3};
    mgen_status status = begin(&m, dataset);
    if (status == MGEN_OK) {
        mgi_report_add(report, "n", (double)m.count);
        status = run(&m, report);
    }
    for (int set = 0; set < SETS; set++)
        mgi_film_set_finish(ctx, &m.set[set]);
    mgi_film_sight_finish(&m.sight);
    mgi_free(ctx, m.truth);
    mgi_free(ctx, m.made);
    mgi_dataset_release(m.ds);
    return status;
}
