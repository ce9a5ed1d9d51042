/* SPDX-License-Identifier: MIT
 * Training the video transformer and, along with it, the text encoder, by flow matching.
 *
 *   clips are encoded once by the trained TAE (posterior means, normalised per channel);
 *   X_t = t X_1 + (1 - (1 - sigma) t) X_0,  V = X_1 - (1 - sigma) X_0,  t = sigmoid(normal)
 *   loss = mean (u(X_t, text, t) - V)^2; a share of the captions is replaced by nothing.
 */
#include "core/alloc.h"
#include "core/philox.h"
#include "data/loader.h"
#include "flow/schedule.h"
#include "kernels/loss/loss.h"
#include "kernels/random/random.h"
#include "task/generate.h"
#include "train/stage.h"

#include <string.h>

enum { VALIDATION_CLIPS = 64, VALIDATION_BATCH = 32, ENCODE_BATCH = 2 };

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
    double flops;        /* of the last step */
    int64_t updated;     /* steps whose update is in the weights */
    float loss;          /* of the last of them */
    float *latents;      /* clips, then validation clips */
    int64_t latent_size; /* values of one clip */
    int64_t latent_dims[4];
    char (*captions)[MGI_TOYBOX_CAPTION_MAX]; /* of one batch */
    const char **prompts;
};

static void destroy(struct mgi_stage_run *r)
{
    mgen_context *ctx = r->ctx;
    mgi_optimizer_finish(&r->optimizer);
    mgi_vt_finish(&r->video);
    mgi_t5_finish(&r->text);
    mgi_tae_finish(&r->tae);
    mgi_free(ctx, r->latents);
    mgi_free(ctx, r->captions);
    mgi_free(ctx, (void *)r->prompts);
    mgi_free(ctx, r);
}

/* Encode `count` scenes from `first` on into out. */
static mgen_status encode_range(struct mgi_stage_run *r, uint64_t seed, int64_t count, float *out)
{
    mgi_run run;
    mgi_run_init(&run, r->ctx, false);
    for (int64_t i = 0; i < count && run.status == MGEN_OK; i += ENCODE_BATCH) {
        int64_t mark = mgi_scope_push(&run),
                n = count - i < ENCODE_BATCH ? count - i : ENCODE_BATCH;
        T *u8 = mgi_new(&run, MGK_U8,
                        MGI_DIMS(n, MGI_TOYBOX_FRAMES, MGI_TOYBOX_HEIGHT, MGI_TOYBOX_WIDTH, 3));
        if (u8)
            mgi_loader_clips(r->ctx, seed, (uint64_t)i, n, MGI_TOYBOX_FRAMES, mgi_data(u8));
        T *x = mgi_convert(&run, u8, MGK_F32, 1.0f / 127.5f, -1.0f);
        T *z = mgi_posterior(&run, mgi_tae_encode(&run, &r->tae, x), NULL, 0.0f, NULL);
        if (z) {
            /* (z - shift) * scale */
            int64_t c = z->dims[4];
            const float *shift = mgi_f32(r->tae.latent_shift->value);
            const float *scale = mgi_f32(r->tae.latent_scale->value);
            for (int64_t k = 0; k < z->count; k++)
                out[i * r->latent_size + k] = (mgi_f32(z)[k] - shift[k % c]) * scale[k % c];
        }
        mgi_scope_pop(&run, mark, NULL);
    }
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

static mgen_status encode_all(struct mgi_stage_run *r)
{
    const mgi_tae_config *c = &r->stage.tae;
    int64_t f = mgi_tae_factor(c);
    r->latent_dims[0] = mgi_tae_latent_frames(c, MGI_TOYBOX_FRAMES);
    r->latent_dims[1] = MGI_TOYBOX_HEIGHT / f;
    r->latent_dims[2] = MGI_TOYBOX_WIDTH / f;
    r->latent_dims[3] = c->latent_channels;
    r->latent_size = r->latent_dims[0] * r->latent_dims[1] * r->latent_dims[2] * r->latent_dims[3];
    MGI_TRY(mgi_alloc_zero(r->ctx, (size_t)((r->stage.clips + VALIDATION_CLIPS) * r->latent_size),
                           sizeof(float), &r->latents));
    MGI_TRY(encode_range(r, r->seed, r->stage.clips, r->latents));
    return encode_range(r, MGI_VALIDATION_SEED, VALIDATION_CLIPS,
                        r->latents + r->stage.clips * r->latent_size);
}

/* The parts must fit each other as they will in the pipeline. */
static mgen_status check_parts(struct mgi_stage_run *r)
{
    mgi_networks n = {&r->tae,
                      &r->text,
                      &r->video,
                      {MGI_TOYBOX_WIDTH, MGI_TOYBOX_HEIGHT, MGI_TOYBOX_FRAMES, MGI_TOYBOX_FPS}};
    if (!r->tae.config.temporal)
        return mgi_fail(r->ctx, MGEN_E_STATE,
                        "model \"%s\" is an image autoencoder; inflate it first",
                        r->stage.tae_name);
    return mgi_networks_check(r->ctx, &n);
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
    MGI_TRY_GOTO(status, mgi_tae_open(ctx, r->dir, stage->tae_name, &r->tae, &r->tae_hash), failed);
    r->stage.tae = r->tae.config;
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
    MGI_TRY_GOTO(status, encode_all(r), failed);
    mgi_dp_init(&r->parallel, params->comm, (mgi_module *[]){&r->text.module, &r->video.module}, 2);
    *out = r;
    return MGEN_OK;
failed:
    destroy(r);
    return status;
}

static T *latent_batch(mgi_run *run, struct mgi_stage_run *r, int64_t rows)
{
    const int64_t *d = r->latent_dims;
    return mgi_new(run, MGK_F32, MGI_DIMS(rows, d[0], d[1], d[2], d[3]));
}

/* Row i of x1 and of the captions: the clip of a global element, with a wording drawn anew each time. */
static void take_sample(struct mgi_stage_run *r, uint64_t element, int64_t i, float *x1)
{
    mgi_toybox_scene scene;
    uint32_t pick[4];
    mgi_philox(r->seed, MGI_STREAM_SAMPLE, (UINT64_C(1) << 40) + element, pick);
    int64_t clip = (int64_t)(((uint64_t)pick[0] * (uint64_t)r->stage.clips) >> 32);
    memcpy(x1 + i * r->latent_size, r->latents + clip * r->latent_size,
           (size_t)r->latent_size * sizeof(float));
    mgi_toybox_scene_random(&scene, r->seed, (uint64_t)clip);
    scene.wording = pick[1] & 1 ? 0 : (int)(pick[2] & 0xFFFF);
    mgi_toybox_caption(&scene, r->captions[i]);
    if (mgi_random_unit(r->seed, MGI_STREAM_DROP, element) < (float)r->stage.drop)
        r->captions[i][0] = '\0';
    r->prompts[i] = r->captions[i];
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

/* The same clips, noise and times on each occasion, by the averaged weights. */
static mgen_status validate(struct mgi_stage_run *r, mgen_report *report)
{
    mgi_run run;
    double sum = 0.0;
    int64_t rows = VALIDATION_BATCH;
    mgi_run_init(&run, r->ctx, false);
    mgi_module_swap_ema(&r->text.module);
    mgi_module_swap_ema(&r->video.module);
    for (int64_t first = 0; first < VALIDATION_CLIPS; first += rows) {
        int64_t mark = mgi_scope_push(&run);
        T *x1 = latent_batch(&run, r, rows), *t = mgi_new(&run, MGK_F32, 1, &rows);
        T *x0 = x1 ? mgi_random(&run, MGK_RANDOM_NORMAL, MGI_VALIDATION_SEED, MGI_STREAM_NOISE,
                                (uint64_t)(first * r->latent_size), 1.0f, 0.0f, x1->rank, x1->dims)
                   : NULL;
        for (int64_t i = 0; x0 && t && i < rows; i++) {
            mgi_toybox_scene scene;
            mgi_toybox_scene_random(&scene, MGI_VALIDATION_SEED, (uint64_t)(first + i));
            scene.wording = 0;
            mgi_toybox_caption(&scene, r->captions[i]);
            r->prompts[i] = r->captions[i];
            mgi_f32(t)[i] = ((float)i + 0.5f) / (float)rows;
        }
        if (x0 && t) {
            memcpy(mgi_f32(x1), r->latents + (r->stage.clips + first) * r->latent_size,
                   (size_t)x1->count * sizeof(float));
            T *loss = flow_loss(&run, r, 1.0f, x1, x0, t);
            sum += loss ? mgi_f32(loss)[0] * (double)rows / VALIDATION_CLIPS : 0.0;
        }
        mgi_scope_pop(&run, mark, NULL);
    }
    mgi_module_swap_ema(&r->text.module);
    mgi_module_swap_ema(&r->video.module);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    if (status == MGEN_OK)
        mgi_report_add(report, "val_loss", sum);
    return status;
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
    mgi_ok(&run, mgi_dp_share(&r->parallel, r->ctx, s->batch, &first, &rows));
    mgi_dp_begin(&r->parallel, &run);
    uint64_t element = (uint64_t)(index * s->batch + first);
    T *x1 = latent_batch(&run, r, rows), *x0 = NULL, *t;
    for (int64_t i = 0; x1 && i < rows; i++)
        take_sample(r, element + (uint64_t)i, i, mgi_f32(x1));
    if (x1)
        x0 = mgi_random(&run, MGK_RANDOM_NORMAL, r->seed, MGI_STREAM_NOISE,
                        element * (uint64_t)r->latent_size, 1.0f, 0.0f, x1->rank, x1->dims);
    t = mgi_random(&run, MGK_RANDOM_LOGIT_NORMAL, r->seed, MGI_STREAM_TIME, element, 1.0f, 0.0f, 1,
                   &rows);
    T *loss = flow_loss(&run, r, mgi_dp_weight(&r->parallel), x1, x0, t);
    mgi_backward(&run, loss);
    mgi_dp_end(&r->parallel, &run, &loss, 1);
    mgi_optimizer_step(&r->optimizer, &run, index);
    mgen_status status = run.status;
    if (status == MGEN_OK) {
        r->updated = index + 1;
        r->flops = r->ctx->device->counts.flops - flops;
        r->loss = mgi_f32(loss)[0];
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
    mgi_pipeline_file p = {
        .text = {"text_encoder"},
        .video = "video_model",
        .clip = {MGI_TOYBOX_WIDTH, MGI_TOYBOX_HEIGHT, MGI_TOYBOX_FRAMES, MGI_TOYBOX_FPS}};
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
