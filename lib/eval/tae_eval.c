/* SPDX-License-Identifier: MIT */
#include "eval/tae_eval.h"

#include "core/alloc.h"
#include "data/world.h"
#include "eval/films.h"
#include "eval/image_quality.h"
#include "eval/world_check.h"
#include "eval/world_tally.h"
#include "model/tae_tiles.h"

#include <math.h>

enum {
    SIDE = 64,
    FRAMES = 32,
    FRAME_BYTES = SIDE * SIDE * 3,
    CLIP_BYTES = FRAMES * FRAME_BYTES,
    LONG_FRAMES = 96,
    LONG_CLIPS = 4,
    DIFFERS = 24 /* of 765: more is an object's or a sign's pixel */
};

/* World of this protocol; no training or validation seed. */
static const uint64_t eval_world = UINT64_C(0x7461652d776f726c);

/* Pixels in [-1,1] as a film in the scope. */
static T *film(mgi_run *run, const uint8_t *pixels, int64_t frames)
{
    int64_t mark = mgi_scope_push(run);
    T *u8 = mgi_new(run, MGK_U8, MGI_DIMS(1, frames, SIDE, SIDE, 3));
    if (u8)
        mgi_tensor_write(u8, 0, pixels, u8->count);
    return mgi_scope_pop(run, mark, mgi_convert(run, u8, MGK_F32, 1.0f / 127.5f, -1.0f));
}

static T *latents(mgi_run *run, const mgi_tae *tae, T *x)
{
    int64_t mark = mgi_scope_push(run);
    return mgi_scope_pop(run, mark,
                         mgi_posterior(run, mgi_tae_encode(run, tae, x), NULL, 0.0f, NULL));
}

/* -- reconstruction --------------------------------------------------------------------------- */

typedef struct squares {
    double sum;
    int64_t count;
} squares;

/* Of the pixels of a where it differs from `empty`. */
static void add_objects(squares *s, const uint8_t *a, const uint8_t *b, const uint8_t *empty)
{
    for (int64_t i = 0; i < CLIP_BYTES; i += 3) {
        int differs = 0;
        for (int64_t k = i; k < i + 3; k++)
            differs += a[k] > empty[k] ? a[k] - empty[k] : empty[k] - a[k];
        if (differs <= DIFFERS)
            continue;
        for (int64_t k = i; k < i + 3; k++)
            s->sum += ((double)a[k] - b[k]) * ((double)a[k] - b[k]);
        s->count += 3;
    }
}

typedef struct quality {
    double psnr, ssim;
    squares objects;
    mgi_world_tally made, truth;
} quality;

/* One clip; `room` is that of three. */
static mgen_status measure(mgi_run *run, const mgi_tae *tae, uint64_t index, uint8_t *room,
                           quality *q)
{
    uint8_t *made = room + CLIP_BYTES, *empty = made + CLIP_BYTES;
    mgi_world_scene scene;
    mgi_world_said asked, seen;
    char caption[MGI_WORLD_CAPTION_MAX];
    mgi_world_scene_random(&scene, eval_world, index, NULL);
    mgi_world_caption(&scene, 0, caption);
    mgi_world_parse(caption, &asked);
    mgi_world_draw(&scene, SIDE, SIDE, 0, FRAMES, room);
    MGI_TRY(mgi_eval_reconstruct(run->ctx, tae, FRAMES, SIDE, SIDE, room, made));
    q->psnr += mgi_psnr(room, made, CLIP_BYTES);
    q->ssim += mgi_ssim_clip(room, made, FRAMES, SIDE, SIDE);
    MGI_TRY(mgi_world_check(run->ctx, room, SIDE, SIDE, FRAMES, &seen));
    mgi_world_tally_add(&q->truth, &asked, &seen);
    MGI_TRY(mgi_world_check(run->ctx, made, SIDE, SIDE, FRAMES, &seen));
    mgi_world_tally_add(&q->made, &asked, &seen);
    scene.count = 0;
    scene.sign[0] = '\0';
    mgi_world_draw(&scene, SIDE, SIDE, 0, FRAMES, empty);
    add_objects(&q->objects, room, made, empty);
    return MGEN_OK;
}

/* -- seams ------------------------------------------------------------------------------------ */

void mgi_seam_add(mgi_seam *s, const float *frames, int64_t count, int64_t size, int64_t latent,
                  int64_t tile)
{
    for (int64_t t = latent; t < count; t += latent) {
        double sum = 0.0;
        for (int64_t i = 0; i < size; i++)
            sum += fabs((double)frames[t * size + i] - frames[(t - 1) * size + i]);
        bool border = t % tile == 0;
        *(border ? &s->across : &s->within) += sum / (double)size;
        *(border ? &s->borders : &s->others) += 1;
    }
}

double mgi_seam_ratio(const mgi_seam *s)
{
    double across = s->borders ? s->across / (double)s->borders : 0.0;
    double within = s->others ? s->within / (double)s->others : 0.0;
    return across > 0.0 && within > 0.0 ? across / within : 1.0;
}

typedef struct collected {
    float *values, *end;
} collected;

static mgen_status collect(void *user, mgi_run *run, T *frames)
{
    collected *c = user;
    int64_t room = c->end - c->values, n = frames->count < room ? frames->count : room;
    mgi_tensor_read(frames, 0, c->values, n);
    c->values += n;
    return mgi_device_wait(run->dev);
}

/* Ways to decode a film: at once, piece by piece, in blended tiles, in tiles that only touch. */
enum { WHOLE, EXACT, BLEND, CUT, WAYS };

static void decode(mgi_run *run, const mgi_tae *tae, T *z, int way, float *out)
{
    mgi_tae_stream s;
    collected c = {out, out + (int64_t)LONG_FRAMES * FRAME_BYTES};
    int64_t mark = mgi_scope_push(run);
    if (way == WHOLE) {
        T *y = mgi_tae_decode(run, tae, z);
        if (y)
            mgi_ok(run, collect(&c, run, y));
    } else {
        mgi_tae_stream_init(&s, run, tae, MGI_TAE_DECODES, collect, &c);
        s.tile = 0;
        if (way != EXACT)
            mgi_tae_stream_tile(&s, MGI_TAE_TILE_FRAMES, way == BLEND ? MGI_TAE_TILE_OVERLAP : 0);
        mgi_tae_stream_push(&s, z, true);
        mgi_tae_stream_finish(&s);
    }
    mgi_scope_pop(run, mark, NULL);
}

/* The distance between the borders of tiles. */
static int64_t borders(int way)
{
    return way == CUT ? MGI_TAE_TILE_FRAMES : MGI_TAE_TILE_FRAMES - MGI_TAE_TILE_OVERLAP;
}

/* seams[way]; seams[WAYS + way]: of the film decoded at once, by the borders of that way. `frames`: of two films. */
static mgen_status add_seams(mgi_run *run, const mgi_tae *tae, uint64_t index, uint8_t *pixels,
                             float *frames, mgi_seam seams[2 * WAYS], double error[WAYS])
{
    const mgi_tae_config *c = &tae->config;
    const mgi_world_options options = {.frames = LONG_FRAMES};
    float *other = frames + (int64_t)LONG_FRAMES * FRAME_BYTES;
    int64_t latent = mgi_tae_time_factor(c), mark = mgi_scope_push(run);
    mgi_world_scene scene;
    mgi_world_scene_random(&scene, eval_world, index, &options);
    mgi_world_draw(&scene, SIDE, SIDE, 0, LONG_FRAMES, pixels);
    T *z = latents(run, tae, film(run, pixels, LONG_FRAMES));
    decode(run, tae, z, WHOLE, frames);
    for (int way = WHOLE; way < WAYS && run->status == MGEN_OK; way++) {
        const float *made = way == WHOLE ? frames : other;
        if (way == EXACT && c->attention && c->temporal)
            continue;
        if (way != WHOLE)
            decode(run, tae, z, way, other);
        mgi_seam_add(&seams[way], made, LONG_FRAMES, FRAME_BYTES, latent, borders(way));
        mgi_seam_add(&seams[WAYS + way], frames, LONG_FRAMES, FRAME_BYTES, latent, borders(way));
        for (int64_t i = 0; i < (int64_t)LONG_FRAMES * FRAME_BYTES; i++) {
            double d = 127.5 * made[i] + 127.5 - pixels[i];
            error[way] += d * d / ((double)LONG_FRAMES * FRAME_BYTES);
        }
    }
    mgi_scope_pop(run, mark, NULL);
    return run->status;
}

/* Seams over `clips` long clips: of each way, relative to the same neighbours in the film decoded at once. */
static mgen_status measure_seams(mgi_run *run, const mgi_tae *tae, uint64_t first, int64_t clips,
                                 mgen_report *report)
{
    static const char *const names[WAYS] = {NULL, "seam_exact", "seam_blend", "seam_cut"};
    static const char *const psnr[WAYS] = {NULL, "psnr_exact", "psnr_blend", "psnr_cut"};
    mgi_seam seams[2 * WAYS] = {{0}};
    double error[WAYS] = {0};
    uint8_t *pixels;
    float *frames;
    if (MGI_TAE_TILE_OVERLAP % (2 * mgi_tae_time_factor(&tae->config)))
        return MGEN_OK; /* every latent frame begins a tile */
    MGI_TRY(mgi_alloc(run->ctx, LONG_FRAMES * FRAME_BYTES, &pixels));
    mgen_status status =
        mgi_alloc_zero(run->ctx, 2 * (size_t)LONG_FRAMES * FRAME_BYTES, sizeof *frames, &frames);
    if (status != MGEN_OK) {
        mgi_free(run->ctx, pixels);
        return status;
    }
    for (int64_t i = 0; i < clips && status == MGEN_OK; i++)
        status = add_seams(run, tae, first + (uint64_t)i, pixels, frames, seams, error);
    for (int way = EXACT; way < WAYS && status == MGEN_OK; way++) {
        if (!seams[way].borders)
            continue;
        mgi_report_add(report, names[way],
                       mgi_seam_ratio(&seams[way]) / mgi_seam_ratio(&seams[WAYS + way]));
        mgi_report_add(report, psnr[way],
                       10.0 * log10(255.0 * 255.0 * (double)clips / fmax(error[way], 1e-9)));
    }
    mgi_free(run->ctx, frames);
    mgi_free(run->ctx, pixels);
    return status;
}

/* -- the protocol ----------------------------------------------------------------------------- */

mgen_status mgi_eval_tae(mgen_context *ctx, const mgi_tae *tae, const mgi_eval_request *r,
                         mgen_report *report)
{
    uint8_t *room;
    quality q = {0};
    mgi_run run;
    MGI_TRY(mgi_alloc(ctx, 3 * CLIP_BYTES, &room));
    mgi_run_init(&run, ctx, false);
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < r->n && status == MGEN_OK; i++) {
        status = measure(&run, tae, (r->seed << 32) + (uint64_t)i, room, &q);
        if (status == MGEN_OK && r->progress && r->progress(r->user, (int)i + 1, (int)r->n))
            status = mgi_fail(ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
    if (status == MGEN_OK) {
        double mse = q.objects.sum / fmax((double)q.objects.count, 1.0);
        mgi_report_add(report, "psnr", q.psnr / (double)r->n);
        mgi_report_add(report, "ssim", q.ssim / (double)r->n);
        mgi_report_add(report, "object_psnr", 10.0 * log10(255.0 * 255.0 / fmax(mse, 1e-9)));
        mgi_report_add(report, "object_share",
                       (double)q.objects.count / ((double)r->n * CLIP_BYTES));
        mgi_world_tally_report(&q.made, MGI_TALLY_CHECKER, report);
        mgi_report_add(report, "checker_accuracy", mgi_world_tally_share(&q.made));
        mgi_report_add(report, "checker_truth", mgi_world_tally_share(&q.truth));
        status = measure_seams(&run, tae, (r->seed << 32) + (UINT64_C(1) << 31),
                               r->n < LONG_CLIPS ? r->n : LONG_CLIPS, report);
    }
    mgi_run_finish(&run);
    mgi_free(ctx, room);
    return status;
}
