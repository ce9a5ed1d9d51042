/* SPDX-License-Identifier: MIT */
#include "eval/world_eval.h"

#include "core/alloc.h"
#include "eval/films.h"
#include "eval/world_check.h"

#include <string.h>

/* World of the protocol's scenes; no training or validation seed. */
static const uint64_t eval_world = UINT64_C(0x616c69676e2d7721);

/* -- counting hits ---------------------------------------------------------------------------- */

/* The object seen in a colour, or -1. */
static int seen_in(const mgi_world_said *seen, int colour)
{
    for (int i = 0; i < seen->count; i++)
        if (seen->objects[i].colour == colour)
            return i;
    return -1;
}

void mgi_world_tally_add(mgi_world_tally *t, const mgi_world_said *asked,
                         const mgi_world_said *seen)
{
    bool count = asked->count == seen->count, background = asked->background == seen->background;
    bool all = count && background;
    int camera = asked->camera < 0 ? MGI_WORLD_STATIC : asked->camera;
    bool moving = camera != MGI_WORLD_STATIC;
    for (int i = 0; i < asked->count; i++) {
        int k = seen_in(seen, asked->objects[i].colour);
        bool found = k >= 0;
        bool shape = found && seen->objects[k].shape == asked->objects[i].shape;
        bool size = found && seen->objects[k].size == asked->objects[i].size;
        bool motion = found && seen->objects[k].motion == asked->objects[i].motion;
        t->objects++;
        t->colour += found;
        t->shape += shape;
        t->size += size;
        t->motion += motion;
        all = all && shape && size && motion;
        moving = moving || asked->objects[i].motion != MGI_WORLD_STILL;
    }
    t->clips++;
    t->count += count;
    t->background += background;
    t->camera += camera == seen->camera;
    t->rates += moving;
    t->fps += moving && asked->fps == seen->fps;
    t->signs += asked->sign[0] != '\0';
    t->text += asked->sign[0] && !strcmp(asked->sign, seen->sign);
    t->ones += asked->count == 1;
    t->twos += asked->count == 2;
    t->all_one += all && asked->count == 1;
    t->all_two += all && asked->count == 2;
}

/* A report keeps the names. */
#define NAMES(prefix)                                                                              \
    {                                                                                              \
        prefix "colour", prefix "background", prefix "motion", prefix "count", prefix "shape",     \
            prefix "size", prefix "all_one", prefix "all_two", prefix "camera", prefix "fps",      \
            prefix "text"                                                                          \
    }
static const char *const names[][11] = {NAMES(""), NAMES("ceiling_"), NAMES("control_")};

void mgi_world_tally_report(const mgi_world_tally *t, int kind, mgen_report *report)
{
    const int64_t of[11][2] = {
        {t->colour, t->objects}, {t->background, t->clips}, {t->motion, t->objects},
        {t->count, t->clips},    {t->shape, t->objects},    {t->size, t->objects},
        {t->all_one, t->ones},   {t->all_two, t->twos},     {t->camera, t->clips},
        {t->fps, t->rates},      {t->text, t->signs}};
    for (int i = 0; i < 11; i++)
        if (of[i][1])
            mgi_report_add(report, names[kind][i], (double)of[i][0] / (double)of[i][1]);
}

/* -- alignment -------------------------------------------------------------------------------- */

void mgi_world_prompt(const mgi_clip_shape *clip, int64_t i, mgi_world_scene *scene,
                      char out[MGI_WORLD_CAPTION_MAX])
{
    int objects = i % 2 ? 2 : 1;
    const mgi_world_options o = {.width = (int)clip->width,
                                 .height = (int)clip->height,
                                 .frames = (int)clip->frames,
                                 .objects_min = objects,
                                 .objects_max = objects,
                                 .split = MGI_WORLD_HELD_OUT};
    mgi_world_scene_random(scene, eval_world, (uint64_t)i, &o);
    mgi_world_caption(scene, 0, out);
}

static mgen_status see(mgen_context *ctx, const mgi_networks *n, const uint8_t *pixels,
                       mgi_world_said *out)
{
    return mgi_world_check(ctx, pixels, (int)n->clip.width, (int)n->clip.height,
                           (int)n->clip.frames, out);
}

mgen_status mgi_eval_alignment_world(mgen_context *ctx, const mgi_networks *n,
                                     const mgi_eval_request *r, mgen_report *report)
{
    mgi_world_tally hits = {0}, ceiling = {0}, control = {0};
    const mgi_clip_shape *c = &n->clip;
    uint8_t *pixels;
    mgen_status status = MGEN_OK;
    if (c->width < 48 || c->height < 48 || c->width > 10240 / c->height || c->frames > 64)
        return mgi_fail(ctx, MGEN_E_STATE,
                        "the alignment protocol needs a model of clips of 48 x 48 to 10240 pixels "
                        "and at most 64 frames");
    size_t clip = (size_t)(c->frames * c->width * c->height * 3);
    MGI_TRY(mgi_alloc_zero(ctx, MGI_EVAL_BATCH, clip, &pixels));
    for (int64_t first = 0; first < r->n && status == MGEN_OK; first += MGI_EVAL_BATCH) {
        int64_t rows = r->n - first < MGI_EVAL_BATCH ? r->n - first : MGI_EVAL_BATCH;
        char text[MGI_EVAL_BATCH][MGI_WORLD_CAPTION_MAX];
        const char *prompts[MGI_EVAL_BATCH];
        mgi_world_scene scene[MGI_EVAL_BATCH];
        for (int64_t i = 0; i < rows; i++) {
            mgi_world_prompt(c, first + i, &scene[i], text[i]);
            prompts[i] = text[i];
        }
        MGI_TRY_GOTO(status, mgi_eval_generate(ctx, n, r, prompts, first, rows, pixels), done);
        for (int64_t i = 0; i < rows; i++) {
            uint8_t *film = pixels + (size_t)i * clip;
            char other[MGI_WORLD_CAPTION_MAX];
            mgi_world_scene unused;
            mgi_world_said asked, wrong, seen;
            mgi_world_prompt(c, first + i + 2, &unused, other);
            mgi_world_parse(other, &wrong);
            mgi_world_parse(text[i], &asked);
            MGI_TRY_GOTO(status, see(ctx, n, film, &seen), done);
            mgi_world_tally_add(&hits, &asked, &seen);
            mgi_world_tally_add(&control, &wrong, &seen);
            mgi_world_draw(&scene[i], (int)c->width, (int)c->height, 0, (int)c->frames, film);
            MGI_TRY_GOTO(
                status,
                mgi_eval_reconstruct(ctx, n->tae, c->frames, c->height, c->width, film, film),
                done);
            MGI_TRY_GOTO(status, see(ctx, n, film, &seen), done);
            mgi_world_tally_add(&ceiling, &asked, &seen);
        }
        if (r->progress && r->progress(r->user, (int)(first + rows), (int)r->n))
            status = mgi_fail(ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
done:
    mgi_free(ctx, pixels);
    if (status != MGEN_OK)
        return status;
    mgi_world_tally_report(&hits, MGI_TALLY_FILMS, report);
    mgi_world_tally_report(&ceiling, MGI_TALLY_CEILING, report);
    mgi_world_tally_report(&control, MGI_TALLY_CONTROL, report);
    return MGEN_OK;
}
