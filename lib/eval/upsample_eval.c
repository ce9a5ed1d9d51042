/* SPDX-License-Identifier: MIT */
#include "eval/upsample_eval.h"

#include "core/alloc.h"
#include "data/resize.h"
#include "eval/films.h"
#include "eval/image_quality.h"
#include "eval/world_check.h"
#include "eval/world_tally.h"
#include "media/pixels.h"
#include "task/source.h"

#include <math.h>

enum {
    VIEW_MIN = 48, /* units of a scene's view, */
    VIEW_MAX = 1024,
    DRAWN_MAX = 4096,      /* pixels of a side, */
    FRAMES_MAX = 4096,     /* and frames that the world is drawn with */
    CHECKED_PIXELS = 10240 /* of a frame, as the checker reads them */
};

/* World of this protocol; no training or validation seed. */
static const uint64_t eval_world = UINT64_C(0x75707363616c6521);

/* What is held against the truth. */
enum { UPSAMPLED, BILINEAR, CLEAN, CLEAN_BILINEAR, CEILING, WAYS };

typedef struct quality {
    double psnr, ssim, gradient;
    mgi_world_tally seen;
} quality;

typedef struct measurement {
    mgen_context *ctx;
    const mgi_tae *tae;
    mgi_networks n; /* the upsampler's, with the frame rate of the scene */
    const mgi_eval_request *r;
    int64_t frames, width, height, large_width, large_height;
    bool checks;
    mgi_resize enlarge;
    mgi_resize_side shrink_x, shrink_y;
    float *floats; /* a large frame, its rows made shorter, and a small one */
    uint8_t *room;
    uint8_t *truth, *enlarged, *made; /* large films in the room, */
    uint8_t *small, *seen;            /* and small ones */
    quality way[WAYS];
    double gradient; /* of the truth */
    mgi_world_tally told;
} measurement;

void mgi_upsample_scene(const mgi_clip_shape *clip, uint64_t seed, int64_t i,
                        mgi_world_scene *scene)
{
    const mgi_world_options o = {.width = (int)clip->width,
                                 .height = (int)clip->height,
                                 .frames = (int)clip->frames,
                                 .split = MGI_WORLD_HELD_OUT};
    mgi_world_scene_random(scene, eval_world, (seed << 32) + (uint64_t)i, &o);
}

/* -- films ------------------------------------------------------------------------------------- */

static void enlarge(measurement *m)
{
    int64_t from = m->width * m->height * 3, to = m->large_width * m->large_height * 3;
    for (int64_t i = 0; i < m->frames; i++)
        mgi_resize_frame(&m->enlarge, m->small + i * from, m->enlarged + i * to);
}

/* The mean over what a pixel of the smaller film covers. */
static void shrink(measurement *m, const uint8_t *large, uint8_t *small)
{
    int64_t from = m->large_width * m->large_height * 3, to = m->width * m->height * 3;
    float *rows = m->floats + from, *frame = rows + m->large_height * m->width * 3;
    for (int64_t i = 0; i < m->frames; i++) {
        mgi_floats_from_bytes(m->floats, large + i * from, from);
        mgi_resize_floats(&m->shrink_x, &m->shrink_y, m->floats, rows, frame);
        mgi_bytes_from_floats(small + i * to, frame, to);
    }
}

static mgi_generate_request request_of(const measurement *m, const char *const *prompt,
                                       const uint64_t *seed, mgi_film_bytes *film)
{
    mgi_generate_request g = mgi_eval_asks(m->r, prompt, seed, 1);
    g.width = m->large_width;
    g.height = m->large_height;
    g.frames = m->frames;
    g.source = mgi_film_give;
    g.sink = mgi_film_take;
    g.user = film;
    return g;
}

/* The truth through the upsampler's autoencoder alone. */
static mgen_status code_truth(measurement *m)
{
    const int64_t f = mgi_tae_factor(&m->n.tae->config);
    int64_t width = m->large_width, height = m->large_height;
    mgi_film_bytes film = {m->truth, m->made, height, width};
    const mgi_generate_request g = request_of(m, NULL, NULL, &film);
    mgi_run run;
    mgi_source_sides(&m->n, &width, &height);
    const int64_t dims[5] = {1, m->frames, height / f, width / f, m->n.tae->config.latent_channels};
    mgi_run_init(&run, m->ctx, false);
    mgi_source_show(&run, &m->n, &g, m->frames, mgi_source_see(&run, &m->n, &g, m->frames, dims));
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

/* -- measuring --------------------------------------------------------------------------------- */

static mgen_status judge(measurement *m, int way, const uint8_t *film, const mgi_world_said *asked)
{
    quality *q = &m->way[way];
    mgi_world_said seen;
    q->psnr += mgi_psnr(m->truth, film, (size_t)(m->frames * m->large_width * m->large_height * 3));
    q->ssim += mgi_ssim_clip(m->truth, film, m->frames, m->large_height, m->large_width);
    q->gradient += mgi_gradient_energy(film, m->frames, m->large_height, m->large_width);
    if (!m->checks)
        return MGEN_OK;
    shrink(m, film, m->seen);
    MGI_TRY(mgi_world_check(m->ctx, m->seen, (int)m->width, (int)m->height, (int)m->frames, &seen));
    mgi_world_tally_add(&q->seen, asked, &seen);
    return MGEN_OK;
}

/* The small film enlarged; and what the upsampler makes of it. */
static mgen_status upsample(measurement *m, int bilinear, int upsampled, int64_t i,
                            const char *caption, const mgi_world_said *asked)
{
    const uint64_t seed = m->r->seed + (uint64_t)i;
    mgi_film_bytes film = {m->enlarged, m->made, m->large_height, m->large_width};
    const mgi_generate_request g = request_of(m, &caption, &seed, &film);
    enlarge(m);
    MGI_TRY(judge(m, bilinear, m->enlarged, asked));
    MGI_TRY(mgi_generate(m->ctx, &m->n, &g));
    return judge(m, upsampled, m->made, asked);
}

static mgen_status measure(measurement *m, const mgi_clip_shape *clip, int64_t i)
{
    char caption[MGI_WORLD_CAPTION_MAX];
    mgi_world_scene scene;
    mgi_world_said asked, seen;
    mgi_upsample_scene(clip, m->r->seed, i, &scene);
    mgi_world_caption(&scene, 0, caption);
    mgi_world_parse(caption, &asked);
    m->n.clip.fps = scene.fps;
    mgi_world_draw(&scene, (int)m->large_width, (int)m->large_height, 0, (int)m->frames, m->truth);
    m->gradient += mgi_gradient_energy(m->truth, m->frames, m->large_height, m->large_width);
    shrink(m, m->truth, m->small);
    if (m->checks) {
        MGI_TRY(mgi_world_check(m->ctx, m->small, (int)m->width, (int)m->height, (int)m->frames,
                                &seen));
        mgi_world_tally_add(&m->told, &asked, &seen);
    }
    MGI_TRY(upsample(m, CLEAN_BILINEAR, CLEAN, i, caption, &asked));
    MGI_TRY(mgi_eval_reconstruct(m->ctx, m->tae, m->frames, m->height, m->width, m->small,
                                 m->small)); /* as it would come out of the pipeline */
    MGI_TRY(upsample(m, BILINEAR, UPSAMPLED, i, caption, &asked));
    MGI_TRY(code_truth(m));
    return judge(m, CEILING, m->made, &asked);
}

static void report_all(const measurement *m, mgen_report *report)
{
    static const char *const names[WAYS][4] = {
        {"psnr", "ssim", "sharpness", "checker"},
        {"bilinear_psnr", "bilinear_ssim", "bilinear_sharpness", "bilinear_checker"},
        {"clean_psnr", "clean_ssim", "clean_sharpness", "clean_checker"},
        {"clean_bilinear_psnr", "clean_bilinear_ssim", "clean_bilinear_sharpness",
         "clean_bilinear_checker"},
        {"ceiling_psnr", "ceiling_ssim", "ceiling_sharpness", "ceiling_checker"}};
    double n = (double)m->r->n;
    for (int k = 0; k < WAYS; k++) {
        const quality *q = &m->way[k];
        mgi_report_add(report, names[k][0], q->psnr / n);
        mgi_report_add(report, names[k][1], q->ssim / n);
        mgi_report_add(report, names[k][2], q->gradient / fmax(m->gradient, 1e-9));
        if (m->checks)
            mgi_report_add(report, names[k][3], mgi_world_tally_share(&q->seen));
    }
    if (m->checks)
        mgi_report_add(report, "checker_truth", mgi_world_tally_share(&m->told));
}

/* -- the protocol ------------------------------------------------------------------------------ */

static mgen_status check_shape(mgen_context *ctx, const mgi_clip_shape *c, int64_t factor)
{
    int64_t longer = c->width > c->height ? c->width : c->height;
    if (c->width >= VIEW_MIN && c->height >= VIEW_MIN && longer <= VIEW_MAX && c->width % 2 == 0 &&
        c->height % 2 == 0 && longer <= DRAWN_MAX / factor && c->frames >= 1 &&
        c->frames <= FRAMES_MAX)
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_STATE,
                    "the upsample protocol needs a pipeline of clips with even sides of %d to %lld "
                    "pixels and at most %d frames; its are %lld x %lld, %lld frames",
                    VIEW_MIN,
                    (long long)(DRAWN_MAX / factor < VIEW_MAX ? DRAWN_MAX / factor : VIEW_MAX),
                    FRAMES_MAX, (long long)c->width, (long long)c->height, (long long)c->frames);
}

/* Whether the large films are not too large for the upsampler. */
static mgen_status check_sides(const measurement *m)
{
    const mgi_clip_shape *most = &m->n.clip;
    int64_t width = m->large_width, height = m->large_height;
    mgi_source_sides(&m->n, &width, &height);
    if (width <= most->width && height <= most->height)
        return MGEN_OK;
    return mgi_fail(m->ctx, MGEN_E_STATE,
                    "the pipeline's clips of %lld x %lld would become %lld x %lld; its upsampler "
                    "makes frames of up to %lld x %lld",
                    (long long)m->width, (long long)m->height, (long long)m->large_width,
                    (long long)m->large_height, (long long)most->width, (long long)most->height);
}

static mgen_status make_room(measurement *m)
{
    const int64_t large = m->large_width * m->large_height * 3, small = m->width * m->height * 3;
    MGI_TRY(
        mgi_resize_init(&m->enlarge, m->ctx, m->width, m->height, m->large_width, m->large_height));
    MGI_TRY(mgi_resize_side_init(&m->shrink_x, m->ctx, m->large_width, m->width, MGI_RESIZE_AREA));
    MGI_TRY(
        mgi_resize_side_init(&m->shrink_y, m->ctx, m->large_height, m->height, MGI_RESIZE_AREA));
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)(large + m->large_height * m->width * 3 + small),
                           sizeof *m->floats, &m->floats));
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)m->frames, (size_t)(3 * large + 2 * small), &m->room));
    m->truth = m->room;
    m->enlarged = m->truth + m->frames * large;
    m->made = m->enlarged + m->frames * large;
    m->small = m->made + m->frames * large;
    m->seen = m->small + m->frames * small;
    return MGEN_OK;
}

static void finish(measurement *m)
{
    mgi_resize_finish(&m->enlarge);
    mgi_resize_side_finish(&m->shrink_x, m->ctx);
    mgi_resize_side_finish(&m->shrink_y, m->ctx);
    mgi_free(m->ctx, m->floats);
    mgi_free(m->ctx, m->room);
}

mgen_status mgi_eval_upsample(mgen_context *ctx, const mgi_tae *tae, const mgi_networks *upsampler,
                              const mgi_clip_shape *clip, const mgi_eval_request *r,
                              mgen_report *report)
{
    const int64_t factor = upsampler->upsampler->factor;
    MGI_TRY(check_shape(ctx, clip, factor));
    measurement m = {.ctx = ctx,
                     .tae = tae,
                     .n = *upsampler,
                     .r = r,
                     .frames = clip->frames,
                     .width = clip->width,
                     .height = clip->height,
                     .large_width = factor * clip->width,
                     .large_height = factor * clip->height,
                     .checks = clip->width <= CHECKED_PIXELS / clip->height};
    MGI_TRY(check_sides(&m));
    mgen_status status = make_room(&m);
    for (int64_t i = 0; i < r->n && status == MGEN_OK; i++) {
        status = measure(&m, clip, i);
        if (status == MGEN_OK && r->progress && r->progress(r->user, (int)i + 1, (int)r->n))
            status = mgi_fail(ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
    finish(&m);
    if (status == MGEN_OK)
        report_all(&m, report);
    return status;
}
