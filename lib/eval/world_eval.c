/* SPDX-License-Identifier: MIT */
#include "eval/world_eval.h"

#include "core/alloc.h"
#include "eval/world_check.h"
#include "media/pixels.h"

#include <string.h>

enum { BATCH = 4 };

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

typedef struct batch {
    uint8_t *pixels; /* clips one behind the other */
    int64_t frame;   /* bytes of a frame */
} batch;

static mgen_status take_frames(void *user, int64_t first, int64_t frames, const float *rgb)
{
    const batch *b = user;
    mgi_bytes_from_floats(b->pixels + first * b->frame, rgb, frames * b->frame);
    return MGEN_OK;
}

static mgen_status make_films(mgen_context *ctx, const mgi_networks *n, const mgi_eval_request *r,
                              int64_t first, int64_t rows, uint8_t *pixels)
{
    char text[BATCH][MGI_WORLD_CAPTION_MAX];
    const char *prompts[BATCH];
    uint64_t seeds[BATCH];
    mgi_world_scene scene;
    for (int64_t i = 0; i < rows; i++) {
        mgi_world_prompt(&n->clip, first + i, &scene, text[i]);
        prompts[i] = text[i];
        seeds[i] = r->seed + (uint64_t)(first + i);
    }
    const mgi_generate_request g = {.prompts = prompts,
                                    .count = rows,
                                    .seeds = seeds,
                                    .steps = r->steps,
                                    .guidance = r->guidance,
                                    .schedule = r->schedule,
                                    .solver = r->solver,
                                    .guidance_from = r->guidance_from,
                                    .guidance_to = r->guidance_to,
                                    .sink = take_frames,
                                    .user = &(batch){pixels, n->clip.width * n->clip.height * 3}};
    return mgi_generate(ctx, n, &g);
}

/* A true clip of the scene, through the TAE. */
static mgen_status reconstruct(mgen_context *ctx, const mgi_networks *n,
                               const mgi_world_scene *scene, uint8_t *pixels)
{
    const mgi_clip_shape *c = &n->clip;
    mgi_run run;
    mgi_world_draw(scene, (int)c->width, (int)c->height, 0, (int)c->frames, pixels);
    mgi_run_init(&run, ctx, false);
    T *u8 = mgi_new(&run, MGK_U8, MGI_DIMS(1, c->frames, c->height, c->width, 3));
    if (u8)
        memcpy(mgi_data(u8), pixels, (size_t)u8->count);
    T *x = mgi_convert(&run, u8, MGK_F32, 1.0f / 127.5f, -1.0f);
    T *z = mgi_posterior(&run, mgi_tae_encode(&run, n->tae, x), NULL, 0.0f, NULL);
    T *y = mgi_tae_decode(&run, n->tae, z);
    if (y && y->dims[1] > c->frames)
        y = mgi_slice(&run, y, 1, 0, c->frames);
    y = mgi_convert(&run, y, MGK_U8, 127.5f, 127.5f);
    if (y)
        memcpy(pixels, mgi_data(y), (size_t)y->count);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
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
    MGI_TRY(mgi_alloc_zero(ctx, BATCH, clip, &pixels));
    for (int64_t first = 0; first < r->n && status == MGEN_OK; first += BATCH) {
        int64_t rows = r->n - first < BATCH ? r->n - first : BATCH;
        MGI_TRY_GOTO(status, make_films(ctx, n, r, first, rows, pixels), done);
        for (int64_t i = 0; i < rows; i++) {
            char text[MGI_WORLD_CAPTION_MAX];
            mgi_world_scene scene, other;
            mgi_world_said asked, wrong, seen;
            mgi_world_prompt(c, first + i + 2, &other, text);
            mgi_world_parse(text, &wrong);
            mgi_world_prompt(c, first + i, &scene, text);
            mgi_world_parse(text, &asked);
            MGI_TRY_GOTO(status, see(ctx, n, pixels + (size_t)i * clip, &seen), done);
            mgi_world_tally_add(&hits, &asked, &seen);
            mgi_world_tally_add(&control, &wrong, &seen);
            MGI_TRY_GOTO(status, reconstruct(ctx, n, &scene, pixels + (size_t)i * clip), done);
            MGI_TRY_GOTO(status, see(ctx, n, pixels + (size_t)i * clip, &seen), done);
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
