/* SPDX-License-Identifier: MIT
 * Training the video transformer and, along with it, the text encoder, by flow matching.
 *
 *   clips are encoded once by the trained TAE (train/latents.h);
 *   X_t = t X_1 + (1 - (1 - sigma) t) X_0,  V = X_1 - (1 - sigma) X_0,  t = sigmoid(normal)
 *   loss = mean (u(X_t, text, t) - V)^2; a share of the captions is replaced by nothing.
 */
#include "core/alloc.h"
#include "core/philox.h"
#include "data/toybox.h"
#include "flow/schedule.h"
#include "kernels/loss/loss.h"
#include "kernels/random/random.h"
#include "task/generate.h"
#include "train/latents.h"
#include "train/stage.h"

#include <string.h>

enum { VALIDATION_CLIPS = 64, VALIDATION_BATCH = 32 };

struct mgi_stage_run {
    mgen_context *ctx;
    mgi_stage stage;
    char dir[MGI_PATH_MAX + 1];
    uint64_t seed;
    mgi_tae tae;
    uint64_t tae_hash; /* of its weights */
    mgi_t5 text;
    mgi_vt video;
    mgi_optimizer optimizer;
    mgi_data_parallel parallel;
    double flops;    /* of the last step */
    int64_t updated; /* steps whose update is in the weights */
    float loss;      /* of the last of them */
    mgi_dataset *dataset;
    mgi_latents latents;
    char (*captions)[MGI_TOYBOX_CAPTION_MAX]; /* of one batch, of the toybox */
    const char **prompts;
};

static void destroy(struct mgi_stage_run *r)
{
    mgen_context *ctx = r->ctx;
    mgi_optimizer_finish(&r->optimizer);
    mgi_vt_finish(&r->video);
    mgi_t5_finish(&r->text);
    mgi_tae_finish(&r->tae);
    mgi_latents_free(ctx, &r->latents);
    mgi_dataset_release(r->dataset);
    mgi_free(ctx, r->captions);
    mgi_free(ctx, (void *)r->prompts);
    mgi_free(ctx, r);
}

static mgen_status encode_all(struct mgi_stage_run *r, const char *cache_dir)
{
    const mgi_latents_request q = {.tae = &r->tae,
                                   .tae_hash = r->tae_hash,
                                   .dataset = r->dataset,
                                   .seed = r->seed,
                                   .clips = r->stage.clips,
                                   .held = VALIDATION_CLIPS,
                                   .cache_dir = cache_dir};
    return mgi_latents_make(r->ctx, &q, &r->latents);
}

/* The clip that the pipeline makes: one of the dataset's. */
static mgi_clip_shape clip_shape(const struct mgi_stage_run *r)
{
    const mgi_dataset *ds = r->dataset;
    return (mgi_clip_shape){ds->width, ds->height, ds->frames, MGI_DATASET_FPS};
}

/* The parts must fit each other as they will in the pipeline. */
static mgen_status check_parts(struct mgi_stage_run *r)
{
    mgi_networks n = {&r->tae, &r->text, &r->video, clip_shape(r)};
    if (!r->tae.config.temporal)
        return mgi_fail(r->ctx, MGEN_E_STATE,
                        "model \"%s\" is an image autoencoder; inflate it first",
                        r->stage.tae_name);
    mgen_status status = mgi_networks_check(r->ctx, &n);
    return status == MGEN_OK || r->dataset->kind == MGI_DATASET_TOYBOX
               ? status
               : mgi_fail_context(r->ctx, MGEN_E_INVALID,
                                  "the dataset's clips or the networks of stage \"%s\"",
                                  r->stage.name);
}

static mgen_status create(mgen_context *ctx, const mgi_stage_params *params,
                          struct mgi_stage_run **out)
{
    const mgi_stage *stage = params->stage;
    struct mgi_stage_run *r;
    mgen_status status;
    size_t rows = (size_t)(stage->batch > VALIDATION_BATCH ? stage->batch : VALIDATION_BATCH);
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *r, &r));
    r->ctx = ctx;
    r->stage = *stage;
    r->seed = params->seed;
    strcpy(r->dir, params->dir);
    status = mgi_tae_open(ctx, r->dir, stage->tae_name, &r->tae, &r->tae_hash);
    MGI_TRY_GOTO(status, mgi_stage_needs(ctx, stage, status), failed);
    r->stage.tae = r->tae.config;
    MGI_TRY_GOTO(status,
                 mgi_stage_dataset(ctx, params, 1, mgi_tae_factor(&r->stage.tae), &r->dataset),
                 failed);
    MGI_TRY_GOTO(status, mgi_t5_init(&r->text, ctx, &stage->text), failed);
    MGI_TRY_GOTO(status, mgi_vt_init(&r->video, ctx, &stage->video), failed);
    r->video.recompute = stage->recompute;
    MGI_TRY_GOTO(status, check_parts(r), failed);
    MGI_TRY_GOTO(status, mgi_module_random(&r->text.module, r->seed), failed);
    MGI_TRY_GOTO(status, mgi_vt_random(&r->video, r->seed), failed);
    MGI_TRY_GOTO(status, mgi_module_train(&r->text.module), failed);
    MGI_TRY_GOTO(status, mgi_module_train(&r->video.module), failed);
    MGI_TRY_GOTO(status, mgi_module_compute(&r->tae.module, stage->dtype), failed);
    MGI_TRY_GOTO(status, mgi_module_compute(&r->text.module, stage->dtype), failed);
    MGI_TRY_GOTO(status, mgi_module_compute(&r->video.module, stage->dtype), failed);
    MGI_TRY_GOTO(status,
                 mgi_optimizer_init(&r->optimizer, ctx, &stage->optimizer, stage->steps,
                                    (mgi_module *[]){&r->text.module, &r->video.module}, 2),
                 failed);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, rows, sizeof *r->captions, &r->captions), failed);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, rows, sizeof *r->prompts, &r->prompts), failed);
    MGI_TRY_GOTO(status, encode_all(r, params->cache_dir), failed);
    mgi_dp_init(&r->parallel, params->comm, (mgi_module *[]){&r->text.module, &r->video.module}, 2);
    *out = r;
    return MGEN_OK;
failed:
    destroy(r);
    return status;
}

static T *latent_batch(mgi_run *run, struct mgi_stage_run *r, int64_t rows)
{
    const int64_t *d = r->latents.dims;
    return mgi_new(run, MGK_F32, MGI_DIMS(rows, d[0], d[1], d[2], d[3]));
}

/* The prompt of row i: of the toybox, in a wording drawn anew each time. */
static void take_prompt(struct mgi_stage_run *r, int64_t clip, int64_t i, const uint32_t pick[4])
{
    mgi_toybox_scene scene;
    if (r->latents.captions) {
        r->prompts[i] = r->latents.captions[clip];
        return;
    }
    mgi_toybox_scene_random(&scene, r->dataset->seed, (uint64_t)clip);
    scene.wording = pick[1] & 1 ? 0 : (int)(pick[2] & 0xFFFF);
    mgi_toybox_caption(&scene, r->captions[i]);
    r->prompts[i] = r->captions[i];
}

/* Row i of x1 and of the prompts: the clip of a global element. */
static void take_sample(struct mgi_stage_run *r, uint64_t element, int64_t i, float *x1)
{
    const mgi_latents *l = &r->latents;
    uint32_t pick[4];
    mgi_philox(r->seed, MGI_STREAM_SAMPLE, (UINT64_C(1) << 40) + element, pick);
    int64_t clip = (int64_t)(((uint64_t)pick[0] * (uint64_t)l->clips) >> 32);
    memcpy(x1 + i * l->size, l->values + clip * l->size, (size_t)l->size * sizeof(float));
    take_prompt(r, clip, i, pick);
    if (mgi_random_unit(r->seed, MGI_STREAM_DROP, element) < (float)r->stage.drop)
        r->prompts[i] = "";
}

static T *flow_loss(mgi_run *run, struct mgi_stage_run *r, float weight, T *x1, T *x0, T *t)
{
    T *ids, *mask, *xt, *v;
    int64_t rows = x1 ? x1->dims[0] : 0;
    mgi_text_batch(run, &r->text, r->prompts, rows, &ids, &mask);
    mgi_flow_path(run, x1, x0, t, MGI_FLOW_SIGMA_MIN, &xt, &v);
    T *text = mgi_t5_encode(run, &r->text, ids, mask);
    return mgi_loss(run, MGK_LOSS_MSE, weight, mgi_vt_forward(run, &r->video, xt, t, text, mask),
                    v);
}

/* Held-out clip `first` and those after it, `rows` of them. */
static T *held_loss(mgi_run *run, struct mgi_stage_run *r, int64_t first, int64_t rows)
{
    const mgi_latents *l = &r->latents;
    T *x1 = latent_batch(run, r, rows), *t = mgi_new(run, MGK_F32, 1, &rows);
    T *x0 = x1 ? mgi_random(run, MGK_RANDOM_NORMAL, MGI_VALIDATION_SEED, MGI_STREAM_NOISE,
                            (uint64_t)(first * l->size), 1.0f, 0.0f, x1->rank, x1->dims)
               : NULL;
    if (!x0 || !t)
        return NULL;
    for (int64_t i = 0; i < rows; i++) {
        char caption[MGI_CAPTION_SIZE];
        if (l->captions)
            r->prompts[i] = l->captions[l->clips + first + i];
        else {
            mgi_dataset_held_caption(r->dataset, first + i, caption);
            r->prompts[i] = strcpy(r->captions[i], caption);
        }
        mgi_f32(t)[i] = ((float)i + 0.5f) / (float)rows;
    }
    memcpy(mgi_f32(x1), l->values + (l->clips + first) * l->size,
           (size_t)x1->count * sizeof(float));
    return flow_loss(run, r, 1.0f, x1, x0, t);
}

/* The same clips, noise and times on each occasion, by the averaged weights. */
static mgen_status validate(struct mgi_stage_run *r, mgen_report *report)
{
    mgi_run run;
    double sum = 0.0;
    int64_t held = r->latents.held;
    mgi_run_init(&run, r->ctx, false);
    mgi_module_swap_ema(&r->text.module);
    mgi_module_swap_ema(&r->video.module);
    for (int64_t first = 0; first < held; first += VALIDATION_BATCH) {
        int64_t mark = mgi_scope_push(&run);
        int64_t rows = held - first < VALIDATION_BATCH ? held - first : VALIDATION_BATCH;
        T *loss = held_loss(&run, r, first, rows);
        sum += loss ? mgi_f32(loss)[0] * (double)rows / (double)held : 0.0;
        mgi_scope_pop(&run, mark, NULL);
    }
    mgi_module_swap_ema(&r->text.module);
    mgi_module_swap_ema(&r->video.module);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    if (status == MGEN_OK) {
        mgi_report_add(report, "val_loss", sum);
        mgi_optimizer_validated(&r->optimizer, sum);
    }
    return status;
}

/* The gradients of elements first .. first + rows - 1, whose loss counts `weight` in the step's and is added to
 * *sum. */
static void pass(mgi_run *run, struct mgi_stage_run *r, uint64_t first, int64_t rows, float weight,
                 float *sum)
{
    T *x1 = latent_batch(run, r, rows), *x0 = NULL, *t;
    for (int64_t i = 0; x1 && i < rows; i++)
        take_sample(r, first + (uint64_t)i, i, mgi_f32(x1));
    if (x1)
        x0 = mgi_random(run, MGK_RANDOM_NORMAL, r->seed, MGI_STREAM_NOISE,
                        first * (uint64_t)r->latents.size, 1.0f, 0.0f, x1->rank, x1->dims);
    t = mgi_random(run, MGK_RANDOM_LOGIT_NORMAL, r->seed, MGI_STREAM_TIME, first, 1.0f, 0.0f, 1,
                   &rows);
    T *loss = flow_loss(run, r, weight, x1, x0, t);
    mgi_backward(run, loss);
    mgi_stage_sum(run, &loss, 1, sum);
}

static mgen_status update(struct mgi_stage_run *r, int64_t index)
{
    const mgi_stage *s = &r->stage;
    mgi_run run;
    double flops = r->ctx->device->counts.flops;
    mgi_run_init(&run, r->ctx, true);
    mgi_module_zero_grad(&r->text.module, &run);
    mgi_module_zero_grad(&r->video.module, &run);
    int64_t first = 0, rows = 0;
    float sum = 0.0f;
    mgi_ok(&run, mgi_dp_share(&r->parallel, r->ctx, s->batch, &first, &rows));
    for (int64_t i = 0; i < s->accumulate; i++) {
        int64_t mark = mgi_scope_push(&run);
        if (i == s->accumulate - 1)
            mgi_dp_begin(&r->parallel, &run);
        pass(&run, r, (uint64_t)((index * s->accumulate + i) * s->batch + first), rows,
             mgi_dp_weight(&r->parallel) / (float)s->accumulate, &sum);
        mgi_scope_pop(&run, mark, NULL);
    }
    mgi_dp_end(&r->parallel, &run, &sum, 1);
    mgi_optimizer_step(&r->optimizer, &run, index);
    mgen_status status = run.status;
    if (status == MGEN_OK) {
        r->updated = index + 1;
        r->flops = r->ctx->device->counts.flops - flops;
        r->loss = sum;
    }
    mgi_run_finish(&run);
    return status;
}

static mgen_status step(struct mgi_stage_run *r, int64_t index, mgen_report *report)
{
    if (r->updated <= index)
        MGI_TRY(update(r, index));
    mgi_stage_report(&r->optimizer, index, r->loss, report);
    mgi_report_add(report, "flops", r->flops);
    MGI_TRY(mgi_stage_check_loss(r->ctx, index, r->loss));
    return mgi_stage_validates(&r->stage, index) ? validate(r, report) : MGEN_OK;
}

static void write_text(mgi_json_writer *w, const void *config)
{
    mgi_t5_config_write(w, config);
}

static void write_video(mgi_json_writer *w, const void *config)
{
    mgi_vt_config_write(w, config);
}

static mgen_status save(struct mgi_stage_run *r)
{
    mgi_pipeline_file p = {.text = {"text_encoder"}, .video = "video_model", .clip = clip_shape(r)};
    strcpy(p.tae, r->stage.tae_name);
    MGI_TRY(mgi_model_file_save(r->ctx, r->dir, p.text[0], "t5-bytes", write_text, &r->stage.text,
                                &r->text.module, MGI_ST_BF16));
    MGI_TRY(mgi_model_file_save(r->ctx, r->dir, p.video, "video-transformer", write_video,
                                &r->stage.video, &r->video.module, MGI_ST_BF16));
    return mgi_pipeline_file_write(r->ctx, r->dir, &p);
}

static void state(struct mgi_stage_run *r, mgi_stage_state *out)
{
    *out = (mgi_stage_state){.stage = &r->stage,
                             .seed = r->seed,
                             .parent = r->tae_hash,
                             .module = {&r->text.module, &r->video.module},
                             .modules = 2,
                             .optimizer = &r->optimizer,
                             .position = &r->updated};
}

const struct mgi_stage_kind mgi_stage_text_to_video = {create, step, save, state, destroy};
