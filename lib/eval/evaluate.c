/* SPDX-License-Identifier: MIT */
#include "eval/evaluate.h"

#include "core/alloc.h"
#include "core/philox.h"
#include "data/loader.h"
#include "eval/films.h"
#include "eval/image_quality.h"
#include "eval/toybox_check.h"

#include <math.h>
#include <string.h>

enum { CLIP_BYTES = MGI_TOYBOX_FRAMES * MGI_TOYBOX_HEIGHT * MGI_TOYBOX_WIDTH * 3 };

/* World of the TAE protocol; no training or validation seed. */
static const uint64_t eval_world = UINT64_C(0x6576616c75617465);

static const char *const prompts[MGI_EVAL_PROMPTS] = {
#define ROW(shape, colour)                                                                         \
    "a " colour " " shape " rolls left on grass", "a " colour " " shape " rolls right on snow",    \
        "a " colour " " shape " bounces on grass"
#define OTHER(shape, colour)                                                                       \
    "a " colour " " shape " rolls left on snow", "a " colour " " shape " rolls right on grass",    \
        "a " colour " " shape " bounces on snow"
    ROW("ball", "red"),          OTHER("ball", "yellow"), ROW("ball", "blue"),
    OTHER("ball", "purple"),     OTHER("cube", "red"),    ROW("cube", "yellow"),
    OTHER("cube", "blue"),       ROW("cube", "purple"),   ROW("triangle", "red"),
    OTHER("triangle", "yellow"), ROW("triangle", "blue"), OTHER("triangle", "purple"),
#undef ROW
#undef OTHER
};

const char *mgi_eval_prompt(int i)
{
    return i >= 0 && i < MGI_EVAL_PROMPTS ? prompts[i] : NULL;
}

/* The attributes that a prompt names, by its words. */
static mgi_toybox_scene asked(const char *prompt)
{
    mgi_toybox_scene s = {0};
    for (int i = 0; i < MGI_TOYBOX_SHAPES; i++)
        s.shape = strstr(prompt, mgi_toybox_shape_name(i)) ? i : s.shape;
    for (int i = 0; i < MGI_TOYBOX_COLOURS; i++)
        s.colour = strstr(prompt, mgi_toybox_colour_name(i)) ? i : s.colour;
    for (int i = 0; i < MGI_TOYBOX_BACKGROUNDS; i++)
        s.background = strstr(prompt, mgi_toybox_background_name(i)) ? i : s.background;
    for (int i = 0; i < MGI_TOYBOX_MOTIONS; i++)
        s.motion = strstr(prompt, mgi_toybox_motion_name(i)) ? i : s.motion;
    return s;
}

/* -- counting hits ---------------------------------------------------------------------------- */

typedef struct tally {
    int64_t n, shape, colour, background, motion, all;
} tally;

static void count(tally *t, const mgi_toybox_reading *r, const mgi_toybox_scene *s)
{
    bool shape = r->shape == s->shape, colour = r->colour == s->colour;
    bool background = r->background == s->background, motion = r->motion == s->motion;
    t->n++;
    t->shape += shape;
    t->colour += colour;
    t->background += background;
    t->motion += motion;
    t->all += shape && colour && background && motion;
}

static double rate(int64_t hits, int64_t n)
{
    return n ? (double)hits / (double)n : 0.0;
}

static bool stopped(const mgi_eval_request *r, int64_t done)
{
    return r->progress && r->progress(r->user, (int)done, (int)r->n);
}

/* -- TAE -------------------------------------------------------------------------------------- */

mgen_status mgi_eval_tae(mgen_context *ctx, const mgi_tae *tae, const mgi_eval_request *r,
                         mgen_report *report)
{
    uint8_t *pixels;
    tally truth = {0}, result = {0};
    double psnr = 0.0, ssim = 0.0;
    mgen_status status = MGEN_OK;
    MGI_TRY(mgi_alloc(ctx, 2 * CLIP_BYTES, &pixels));
    for (int64_t i = 0; i < r->n && status == MGEN_OK; i++) {
        mgi_toybox_scene scene;
        mgi_toybox_reading reading;
        uint64_t index = (r->seed << 32) + (uint64_t)i;
        mgi_toybox_scene_random(&scene, eval_world, index);
        mgi_toybox_draw(&scene, 0, MGI_TOYBOX_FRAMES, pixels);
        MGI_TRY_GOTO(status,
                     mgi_eval_reconstruct(ctx, tae, MGI_TOYBOX_FRAMES, MGI_TOYBOX_HEIGHT,
                                          MGI_TOYBOX_WIDTH, pixels, pixels + CLIP_BYTES),
                     done);
        psnr += mgi_psnr(pixels, pixels + CLIP_BYTES, CLIP_BYTES) / (double)r->n;
        ssim += mgi_ssim_clip(pixels, pixels + CLIP_BYTES, MGI_TOYBOX_FRAMES, MGI_TOYBOX_HEIGHT,
                              MGI_TOYBOX_WIDTH) /
                (double)r->n;
        MGI_TRY_GOTO(status, mgi_toybox_check(ctx, pixels, MGI_TOYBOX_FRAMES, &reading), done);
        count(&truth, &reading, &scene);
        MGI_TRY_GOTO(status,
                     mgi_toybox_check(ctx, pixels + CLIP_BYTES, MGI_TOYBOX_FRAMES, &reading), done);
        count(&result, &reading, &scene);
        if (stopped(r, i + 1))
            status = mgi_fail(ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
done:
    mgi_free(ctx, pixels);
    if (status != MGEN_OK)
        return status;
    mgi_report_add(report, "psnr", psnr);
    mgi_report_add(report, "ssim", ssim);
    mgi_report_add(report, "checker_shape", rate(result.shape, result.n));
    mgi_report_add(report, "checker_colour", rate(result.colour, result.n));
    mgi_report_add(report, "checker_background", rate(result.background, result.n));
    mgi_report_add(report, "checker_motion", rate(result.motion, result.n));
    mgi_report_add(report, "checker_accuracy", rate(result.all, result.n));
    mgi_report_add(report, "checker_truth", rate(truth.all, truth.n));
    return MGEN_OK;
}

/* -- alignment -------------------------------------------------------------------------------- */

mgen_status mgi_eval_alignment(mgen_context *ctx, const mgi_networks *n, const mgi_eval_request *r,
                               mgen_report *report)
{
    uint8_t *pixels;
    tally hits = {0}, control = {0};
    mgen_status status = MGEN_OK;
    size_t clip = (size_t)(n->clip.frames * n->clip.width * n->clip.height * 3);
    if (n->clip.width != MGI_TOYBOX_WIDTH || n->clip.height != MGI_TOYBOX_HEIGHT ||
        n->clip.frames < 8)
        return mgi_fail(ctx, MGEN_E_STATE,
                        "the alignment protocol needs a model of %d x %d clips of 8 frames or more",
                        MGI_TOYBOX_WIDTH, MGI_TOYBOX_HEIGHT);
    MGI_TRY(mgi_alloc_zero(ctx, MGI_EVAL_BATCH, clip, &pixels));
    for (int64_t first = 0; first < r->n && status == MGEN_OK; first += MGI_EVAL_BATCH) {
        int64_t rows = r->n - first < MGI_EVAL_BATCH ? r->n - first : MGI_EVAL_BATCH;
        const char *text[MGI_EVAL_BATCH];
        for (int64_t i = 0; i < rows; i++)
            text[i] = prompts[(first + i) % MGI_EVAL_PROMPTS];
        MGI_TRY_GOTO(status, mgi_eval_generate(ctx, n, r, text, first, rows, pixels), done);
        for (int64_t i = 0; i < rows; i++) {
            mgi_toybox_reading reading;
            mgi_toybox_scene right = asked(text[i]);
            /* a prompt that differs in shape, colour, background and motion */
            mgi_toybox_scene wrong = {.shape = (right.shape + 1) % MGI_TOYBOX_SHAPES,
                                      .colour = (right.colour + 1) % MGI_TOYBOX_COLOURS,
                                      .background = (right.background + 1) % MGI_TOYBOX_BACKGROUNDS,
                                      .motion = (right.motion + 1) % MGI_TOYBOX_MOTIONS};
            MGI_TRY_GOTO(
                status,
                mgi_toybox_check(ctx, pixels + (size_t)i * clip, (int)n->clip.frames, &reading),
                done);
            count(&hits, &reading, &right);
            count(&control, &reading, &wrong);
        }
        if (stopped(r, first + rows))
            status = mgi_fail(ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
done:
    mgi_free(ctx, pixels);
    if (status != MGEN_OK)
        return status;
    mgi_report_add(report, "colour", rate(hits.colour, hits.n));
    mgi_report_add(report, "motion", rate(hits.motion, hits.n));
    mgi_report_add(report, "shape", rate(hits.shape, hits.n));
    mgi_report_add(report, "background", rate(hits.background, hits.n));
    mgi_report_add(report, "all", rate(hits.all, hits.n));
    mgi_report_add(report, "control_colour", rate(control.colour, control.n));
    mgi_report_add(report, "control_motion", rate(control.motion, control.n));
    mgi_report_add(report, "control_shape", rate(control.shape, control.n));
    mgi_report_add(report, "control_background", rate(control.background, control.n));
    return MGEN_OK;
}
