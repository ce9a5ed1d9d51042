/* SPDX-License-Identifier: MIT
 * Training the TAE or, without its temporal part, the image autoencoder that it starts from.
 *
 *   y = decode(sample(encode(x))), compared with x as autoencoder_loss.h says
 * A step is `accumulate` passes of a batch each: the gradient is that of all their clips in one batch.
 * An image is a video of one frame: of the frames that decoding gives back the first is kept. Steps take images
 * and clips in turn (image_every), or what the bucket that is drawn says.
 */
#include "core/alloc.h"
#include "core/philox.h"
#include "kernels/loss/loss.h"
#include "kernels/random/random.h"
#include "model/tae_diffusers.h"
#include "tensor/graph.h"
#include "train/autoencoder_loss.h"
#include "train/buckets.h"
#include "train/moments.h"
#include "train/prefetch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VALIDATION_CLIPS = 8, LATENT_CLIPS = 64 };

struct mgi_stage_run {
    mgen_context *ctx;
    mgi_stage stage;
    char dir[MGI_PATH_MAX + 1];
    uint64_t seed;
    mgi_dataset *dataset;
    mgi_buckets buckets; /* none: clips of the stage's frames, and images */
    mgi_prefetch *prefetch;
    mgi_tae tae;
    mgi_optimizer optimizer;
    mgi_data_parallel parallel;
    mgi_ae_loss loss;
    double flops;    /* of the last step */
    int64_t updated; /* steps whose update is in the weights */
    T *sums;         /* f32[MGI_LOSS_TERMS] of the last of them */
    mgi_graph graph; /* of a pass */
};

static void destroy(struct mgi_stage_run *r)
{
    mgen_context *ctx = r->ctx;
    mgi_optimizer_finish(&r->optimizer);
    mgi_ae_loss_finish(&r->loss);
    mgi_tae_finish(&r->tae);
    mgi_tensor_release(r->sums);
    mgi_graph_finish(&r->graph);
    mgi_prefetch_destroy(r->prefetch);
    mgi_buckets_free(ctx, &r->buckets);
    mgi_dataset_release(r->dataset);
    mgi_free(ctx, r);
}

static void write_config(mgi_json_writer *w, const void *config)
{
    mgi_tae_config_write(w, config);
}

/* Which field of the configuration is not as `file` has it, if one is not. */
static mgen_status compare(struct mgi_stage_run *r, const char *file, mgi_tae_config theirs)
{
    mgi_tae_config ours = r->stage.tae;
    if (mgi_tae_widens(&theirs, &ours))
        memcpy(theirs.decoder_channels, ours.decoder_channels, sizeof theirs.decoder_channels);
    if (!theirs.temporal) { /* inflation may change these */
        theirs.temporal = ours.temporal;
        memcpy(theirs.keeps_time, ours.keeps_time, sizeof theirs.keeps_time);
    }
    return mgi_stage_same(r->ctx, &r->stage, file, write_config, &theirs, &ours);
}

/* Weights that do not fit: as the configurations say, if they do. */
static mgen_status explain(struct mgi_stage_run *r, mgen_status status, const mgi_model_file *file,
                           const mgi_tae_config *theirs)
{
    char kept[512];
    snprintf(kept, sizeof kept, "%s", mgen_last_error(r->ctx));
    MGI_TRY(compare(r, file->json_name, *theirs));
    return mgi_fail(r->ctx, status, "%s", kept);
}

/* An open autoencoder of images; tiles are the recipe's. */
static mgen_status start_from_diffusers(struct mgi_stage_run *r, uint64_t *hash)
{
    mgi_tae_diffusers d;
    const mgi_tae_config *ours = &r->stage.tae;
    MGI_TRY(mgi_tae_diffusers_open(r->ctx, r->dir, r->stage.start_from, &d));
    d.config.tile_frames = ours->tile_frames;
    d.config.tile_overlap = ours->tile_overlap;
    d.config.space_tile = ours->space_tile;
    mgen_status status = compare(r, "its config.json", d.config);
    if (status == MGEN_OK && mgi_tae_widens(&d.config, ours))
        status =
            mgi_fail(r->ctx, MGEN_E_STATE,
                     "stage \"%s\" cannot start from \"%s\" with other \"decoder_channels\": a "
                     "decoder of latent diffusion's structure cannot be widened",
                     r->stage.name, r->stage.start_from);
    if (status == MGEN_OK)
        status = mgi_tae_diffusers_load(&r->tae, &d);
    *hash = d.hash;
    mgi_tae_diffusers_close(r->ctx, &d);
    return status;
}

/* Load start_from: the same network, or one with a narrower decoder; or its 2D form, which leaves the temporal part as
 * it is. */
static mgen_status start_from(struct mgi_stage_run *r, uint64_t *hash)
{
    mgi_model_file file;
    mgi_tae_config theirs;
    if (mgi_model_is_folder(r->ctx, r->dir, r->stage.start_from))
        return start_from_diffusers(r, hash);
    MGI_TRY(mgi_model_file_open(r->ctx, r->dir, r->stage.start_from, "tae", &file));
    mgen_status status = mgi_tae_config_read(r->ctx, file.config, &theirs);
    if (status != MGEN_OK)
        status = mgi_fail_context(r->ctx, status, "%s", file.json_name);
    else {
        status = mgi_tae_widens(&theirs, &r->stage.tae)
                     ? mgi_tae_load_widened(&r->tae, &theirs, &file)
                     : mgi_module_load(&r->tae.module, &file.weights, file.weights_name, true);
        if (status == MGEN_E_CORRUPT)
            status = explain(r, status, &file, &theirs);
    }
    *hash = file.hash;
    mgi_model_file_close(r->ctx, &file);
    return status;
}

/* What a step may take: clips of one size. */
typedef struct clip_kind {
    mgi_dataset *dataset;
    int64_t frames, batch;
} clip_kind;

static int64_t kind_count(const struct mgi_stage_run *r)
{
    return r->buckets.count ? r->buckets.count : 1;
}

static clip_kind kind_at(const struct mgi_stage_run *r, int64_t i)
{
    const mgi_bucket_data *b = &r->buckets.list[i];
    return r->buckets.count ? (clip_kind){b->dataset, b->bucket.frames, b->bucket.batch}
                            : (clip_kind){r->dataset, r->stage.frames, r->stage.batch};
}

static clip_kind kind_of_step(const struct mgi_stage_run *r, int64_t index)
{
    const mgi_stage *s = &r->stage;
    if (r->buckets.count)
        return kind_at(r, mgi_buckets_draw(&r->buckets, r->seed, index) - r->buckets.list);
    bool images = s->image_every > 0 && index % s->image_every == s->image_every - 1;
    return images ? (clip_kind){r->dataset, 1, s->image_batch} : kind_at(r, 0);
}

/* The dataset, and those of the buckets, whose sizes must suit the network and the losses. */
static mgen_status open_data(struct mgi_stage_run *r, const mgi_stage_params *params)
{
    const mgi_stage *s = &r->stage;
    int64_t factor = mgi_tae_factor(&s->tae);
    MGI_TRY(
        mgi_stage_dataset(r->ctx, params, s->bucket_count ? 1 : s->frames, factor, &r->dataset));
    if (s->bucket_count)
        MGI_TRY(mgi_buckets_init(r->ctx, s, r->dataset, VALIDATION_CLIPS, &r->buckets));
    for (int64_t i = 0; i < kind_count(r); i++) {
        const mgi_dataset *ds = kind_at(r, i).dataset;
        MGI_TRY(mgi_stage_sides(r->ctx, s, ds, factor));
        MGI_TRY(mgi_ae_loss_sides(&r->loss, ds->height, ds->width));
    }
    return r->buckets.divided ? mgi_buckets_agree(&r->buckets, params->comm)
                              : mgi_stage_check_films(r->ctx, s, r->dataset);
}

static mgen_status create(mgen_context *ctx, const mgi_stage_params *params,
                          struct mgi_stage_run **out)
{
    const mgi_stage *stage = params->stage;
    struct mgi_stage_run *r;
    mgen_status status;
    uint64_t start = 0;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *r, &r));
    r->ctx = ctx;
    r->stage = *stage;
    r->seed = params->seed;
    mgi_graph_init(&r->graph, ctx->device);
    strcpy(r->dir, params->dir);
    MGI_TRY_GOTO(status, mgi_ae_loss_init(&r->loss, params, &r->stage, ctx), failed);
    MGI_TRY_GOTO(status, open_data(r, params), failed);
    MGI_TRY_GOTO(status,
                 mgi_tensor_create(ctx->device, MGK_F32, MGI_DIMS(MGI_LOSS_TERMS), &r->sums),
                 failed);
    MGI_TRY_GOTO(status, mgi_prefetch_create(ctx, r->seed, ctx->device->cuda != NULL, &r->prefetch),
                 failed);
    MGI_TRY_GOTO(status, mgi_tae_init(&r->tae, ctx, &stage->tae), failed);
    MGI_TRY_GOTO(status, mgi_module_random(&r->tae.module, r->seed), failed);
    if (stage->start_from[0])
        MGI_TRY_GOTO(status, mgi_stage_needs(ctx, stage, start_from(r, &start)), failed);
    MGI_TRY_GOTO(status, mgi_stage_agree(params, start), failed);
    if (stage->freeze_encoder)
        mgi_stage_freeze_encoder(&r->tae.module);
    MGI_TRY_GOTO(status, mgi_module_train(&r->tae.module), failed);
    MGI_TRY_GOTO(status, mgi_module_compute(&r->tae.module, stage->dtype), failed);
    MGI_TRY_GOTO(status,
                 mgi_optimizer_init(&r->optimizer, ctx, &stage->optimizer, stage->steps,
                                    (mgi_module *[]){&r->tae.module}, 1),
                 failed);
    mgi_dp_init(&r->parallel, params->comm, (mgi_module *[]){&r->tae.module}, 1);
    *out = r;
    return MGEN_OK;
failed:
    destroy(r);
    return status;
}

static T *room_of(mgi_run *run, const mgi_dataset *ds, int64_t count, int64_t frames)
{
    return mgi_new(run, MGK_U8, MGI_DIMS(count, frames, ds->height, ds->width, 3));
}

static T *values_of(mgi_run *run, T *u8)
{
    return mgi_convert(run, u8, MGK_F32, 1.0f / 127.5f, -1.0f);
}

/* The host's room for clips, which as_values frees, and the device's. */
static uint8_t *clip_room(mgi_run *run, const mgi_dataset *ds, int64_t count, int64_t frames,
                          T **u8)
{
    uint8_t *pixels = NULL;
    *u8 = room_of(run, ds, count, frames);
    if (*u8)
        mgi_ok(run, mgi_alloc(run->ctx, (size_t)(*u8)->count, &pixels));
    return pixels;
}

/* What is in it as values in [-1,1]. */
static T *as_values(mgi_run *run, uint8_t *pixels, T *u8)
{
    if (run->status == MGEN_OK)
        mgi_tensor_write(u8, 0, pixels, u8->count);
    mgi_free(run->ctx, pixels);
    return values_of(run, u8);
}

/* One clip that is held out. */
static T *held_clip(mgi_run *run, struct mgi_stage_run *r, clip_kind kind, int64_t i)
{
    int64_t mark = mgi_scope_push(run);
    T *u8;
    uint8_t *pixels = clip_room(run, kind.dataset, 1, kind.frames, &u8);
    if (pixels)
        mgi_ok(run, mgi_dataset_held(r->ctx, kind.dataset, i, kind.frames, pixels, NULL));
    return mgi_scope_pop(run, mark, as_values(run, pixels, u8));
}

/* PSNR of reconstructions of held-out clips: the mean. */
static double psnr_of(mgi_run *run, struct mgi_stage_run *r, clip_kind kind)
{
    int64_t most = (VALIDATION_CLIPS + kind_count(r) - 1) / kind_count(r);
    int64_t count = mgi_dataset_held_count(kind.dataset, most);
    double psnr = 0.0;
    for (int64_t i = 0; i < count; i++) {
        int64_t mark = mgi_scope_push(run);
        T *x = held_clip(run, r, kind, i);
        T *z = mgi_posterior(run, mgi_tae_encode(run, &r->tae, x), NULL, 0.0f, NULL);
        T *y = mgi_tae_decode(run, &r->tae, z);
        if (y && y->dims[1] > kind.frames)
            y = mgi_slice(run, y, 1, 0, kind.frames);
        T *mse = mgi_loss(run, MGK_LOSS_MSE, 1.0f, y, x);
        if (mse) /* values span 2 */
            psnr += 10.0 * log10(4.0 / fmax((double)mgi_stage_value(mse), 1e-12)) / (double)count;
        mgi_scope_pop(run, mark, NULL);
    }
    return psnr;
}

static mgen_status validate(struct mgi_stage_run *r, mgen_report *report)
{
    mgi_run run;
    double psnr = 0.0;
    mgi_prefetch_rest(r->prefetch);
    mgi_run_init(&run, r->ctx, false);
    mgi_module_swap_ema(&r->tae.module);
    for (int64_t i = 0; i < kind_count(r); i++)
        psnr += psnr_of(&run, r, kind_at(r, i)) / (double)kind_count(r);
    mgi_module_swap_ema(&r->tae.module);
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    mgi_run_finish(&run);
    if (status == MGEN_OK) {
        mgi_report_add(report, "val_psnr", psnr);
        mgi_optimizer_validated(&r->optimizer, -psnr);
    }
    return status;
}

/* Pass `i` of a step: this rank's clips, the first of which is number `row` of the step's. */
static mgen_status clips_of(const struct mgi_stage_run *r, int64_t index, int64_t i,
                            mgi_prefetch_clips *clips, int64_t *row)
{
    const mgi_stage *s = &r->stage;
    int64_t batch = s->batch > s->image_batch ? s->batch : s->image_batch, first;
    int64_t most = s->accumulate * (r->buckets.count ? r->buckets.batch : batch);
    const clip_kind kind = kind_of_step(r, index);
    MGI_TRY(mgi_dp_share(&r->parallel, r->ctx, kind.batch, &first, &clips->count));
    *row = i * kind.batch + first;
    clips->dataset = kind.dataset;
    clips->first = (uint64_t)(index * most + *row);
    clips->frames = kind.frames;
    return MGEN_OK;
}

/* Clips of the training walk as (B,T,H,W,3). */
static T *take_clips(mgi_run *run, struct mgi_stage_run *r, int64_t index, int64_t i, int64_t *row)
{
    mgi_prefetch_clips now, next;
    int64_t next_row, mark = mgi_scope_push(run);
    const uint8_t *pixels;
    bool last = i == r->stage.accumulate - 1;
    if (!mgi_ok(run, clips_of(r, index, i, &now, row)) ||
        !mgi_ok(run, clips_of(r, last ? index + 1 : index, last ? 0 : i + 1, &next, &next_row)) ||
        !mgi_ok(run, mgi_prefetch_take(r->prefetch, now, next, &pixels)))
        return NULL;
    T *u8 = room_of(run, now.dataset, now.count, now.frames);
    if (u8)
        mgi_tensor_write(u8, 0, pixels, u8->count);
    return mgi_scope_pop(run, mark, values_of(run, u8));
}

/* One pass, `weight` of a step. One rank's begins it with the first one and ends it with the last one. */
typedef struct pass_work {
    struct mgi_stage_run *r;
    int64_t index;
    float weight;
    bool last, begins, ends;
    T *x, *noise;
} pass_work;

static void clear_sums(mgi_run *run, struct mgi_stage_run *r, int64_t index)
{
    mgi_module_zero_grad(&r->tae.module, run);
    mgi_fill(run, r->sums, 0.0f);
    mgi_adversary_clear(&r->loss.adversary, run, index);
}

static void apply(mgi_run *run, struct mgi_stage_run *r, int64_t index)
{
    mgi_optimizer_apply(&r->optimizer, run);
    mgi_adversary_apply(&r->loss.adversary, run, index);
}

static void learn(mgi_run *run, void *user)
{
    const pass_work *w = user;
    struct mgi_stage_run *r = w->r;
    T *kl, *x = w->x;
    if (w->begins)
        clear_sums(run, r, w->index);
    T *h = mgi_tae_encode(run, &r->tae, x);
    T *z = mgi_posterior(run, h, w->noise, w->weight * (float)r->stage.kl, &kl);
    T *y = mgi_tae_decode(run, &r->tae, z);
    if (y && y->dims[1] > x->dims[1])
        y = mgi_slice(run, y, 1, 0, x->dims[1]);
    mgi_ae_loss_pass(&r->loss, run, w->index, w->weight, w->last, x, y, z, kl, r->sums);
    if (w->ends)
        apply(run, r, w->index);
}

/* Of the latents of x, whose first clip is number `row` of the step's. */
static T *posterior_noise(mgi_run *run, const struct mgi_stage_run *r, int64_t index, int64_t row,
                          const T *x)
{
    const mgi_tae_config *c = &r->stage.tae;
    int64_t f = mgi_tae_factor(c), frames = mgi_tae_latent_frames(c, x->dims[1]);
    int64_t each = frames * (x->dims[2] / f) * (x->dims[3] / f) * c->latent_channels;
    return mgi_random(run, MGK_RANDOM_NORMAL, r->seed, MGI_STREAM_POSTERIOR,
                      ((uint64_t)index << 32) + (uint64_t)(row * each), 1.0f, 0.0f,
                      MGI_DIMS(x->dims[0] * each));
}

/* What a captured pass depends on besides its inputs. */
static uint64_t pass_key(const pass_work *w)
{
    uint64_t kind = mgi_adversary_acts(&w->r->loss.adversary, w->index);
    uint32_t bits;
    memcpy(&bits, &w->weight, sizeof bits);
    kind = kind << 2 | (uint64_t)w->begins << 1 | (uint64_t)w->ends;
    return mgi_graph_key(mgi_graph_key(kind << 32 | bits, w->x), w->noise);
}

/* The gradients of pass `i` of the step, whose losses count `weight` in it and are added to r->sums. Captured, where it
 * is the same launches each time: ranks wait for each other. */
static void pass(mgi_run *run, struct mgi_stage_run *r, int64_t index, int64_t i, float weight,
                 bool last)
{
    bool alone = !r->parallel.comm;
    pass_work w = {.r = r,
                   .index = index,
                   .weight = weight,
                   .last = last,
                   .begins = alone && i == 0,
                   .ends = alone && last};
    int64_t row = 0;
    if (alone)
        mgi_graph_enter(&r->graph);
    w.x = take_clips(run, r, index, i, &row);
    w.noise = w.x ? posterior_noise(run, r, index, row, w.x) : NULL;
    if (alone && run->status == MGEN_OK)
        mgi_graph_run(&r->graph, run, pass_key(&w), learn, &w);
    else
        learn(run, &w);
    mgi_graph_leave(&r->graph);
}

static mgen_status update(struct mgi_stage_run *r, int64_t index)
{
    const mgi_stage *s = &r->stage;
    mgi_run run;
    double flops = r->ctx->device->counts.flops;
    mgi_run_init(&run, r->ctx, true);
    mgi_optimizer_begin(&r->optimizer, &run, index);
    mgi_adversary_begin(&r->loss.adversary, &run, index);
    if (r->parallel.comm)
        clear_sums(&run, r, index);
    for (int64_t i = 0; i < s->accumulate; i++) {
        int64_t mark = mgi_scope_push(&run);
        bool last = i == s->accumulate - 1;
        if (last)
            mgi_dp_begin(&r->parallel, &run, true);
        pass(&run, r, index, i, mgi_dp_weight(&r->parallel) / (float)s->accumulate, last);
        mgi_scope_pop(&run, mark, NULL);
    }
    if (r->parallel.comm) {
        mgi_dp_end(&r->parallel, &run, r->sums);
        mgi_adversary_end(&r->loss.adversary, &run, index);
        apply(&run, r, index);
    }
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    if (status == MGEN_OK) {
        r->updated = index + 1;
        r->flops = r->ctx->device->counts.flops - flops;
    }
    mgi_run_finish(&run);
    return status;
}

static mgen_status step(struct mgi_stage_run *r, int64_t index, mgen_report *report)
{
    const mgi_stage *s = &r->stage;
    if (r->updated <= index)
        MGI_TRY(update(r, index));
    float sums[MGI_LOSS_TERMS];
    mgi_tensor_read(r->sums, 0, sums, MGI_LOSS_TERMS);
    mgi_stage_report(&r->optimizer, index, sums[MGI_LOSS_TOTAL], report);
    mgi_ae_loss_report(&r->loss, index, sums, report);
    mgi_report_add(report, "flops", r->flops);
    if (r->buckets.count > 1)
        mgi_bucket_report(&mgi_buckets_draw(&r->buckets, r->seed, index)->bucket, report);
    MGI_TRY(mgi_stage_check_loss(r->ctx, index, sums[MGI_LOSS_TOTAL]));
    return mgi_stage_validates(s, index) ? validate(r, report) : MGEN_OK;
}

/* Clip i of `count`: held out where there is no end of them, else from all over the dataset. NULL: it cannot be read. */
static T *measured_clip(mgi_run *run, struct mgi_stage_run *r, clip_kind kind, int64_t i,
                        int64_t count, mgi_moments *m)
{
    mgi_dataset *ds = kind.dataset;
    if (ds->count == UINT64_MAX)
        return held_clip(run, r, kind, i);
    int64_t mark = mgi_scope_push(run);
    T *u8, *x = NULL;
    uint8_t *pixels = clip_room(run, ds, 1, kind.frames, &u8);
    const uint64_t index = (uint64_t)i * (ds->count / (uint64_t)count);
    mgi_message before;
    if (pixels) {
        mgi_quiet_begin(r->ctx, &before);
        const mgen_status status =
            mgi_dataset_piece(r->ctx, ds, index, 0, kind.frames, pixels, NULL);
        if (mgi_moments_read(run, m, &before, status))
            x = as_values(run, pixels, u8);
        else
            mgi_free(run->ctx, pixels);
    }
    return mgi_scope_pop(run, mark, x);
}

/* Those of one kind. */
static void add_kind(mgi_run *run, struct mgi_stage_run *r, clip_kind kind, mgi_moments *m)
{
    int64_t most = (LATENT_CLIPS + kind_count(r) - 1) / kind_count(r);
    int64_t count = kind.dataset->count < (uint64_t)most ? (int64_t)kind.dataset->count : most;
    for (int64_t i = 0; i < count; i++) {
        int64_t mark = mgi_scope_push(run);
        T *x = measured_clip(run, r, kind, i, count, m);
        if (x)
            mgi_moments_add(run, m,
                            mgi_posterior(run, mgi_tae_encode(run, &r->tae, x), NULL, 0.0f, NULL));
        mgi_scope_pop(run, mark, NULL);
    }
}

/* By the averaged weights. */
static mgen_status add_latents(struct mgi_stage_run *r, mgi_moments *m)
{
    mgi_run run;
    mgi_run_init(&run, r->ctx, false);
    mgi_module_swap_ema(&r->tae.module);
    mgi_prefetch_rest(r->prefetch);
    for (int64_t i = 0; i < kind_count(r); i++)
        add_kind(&run, r, kind_at(r, i), m);
    mgi_module_swap_ema(&r->tae.module);
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

static mgen_status measure_latents(struct mgi_stage_run *r)
{
    mgi_moments m;
    MGI_TRY(mgi_moments_init(r->ctx, r->stage.tae.latent_channels, &m));
    mgen_status status = mgi_comm_together(r->parallel.comm, add_latents(r, &m));
    if (status == MGEN_OK)
        status = mgi_moments_share(r->parallel.comm, &m);
    if (status == MGEN_OK)
        status =
            mgi_moments_write(r->ctx, &m, r->tae.latent_shift->value, r->tae.latent_scale->value);
    mgi_moments_free(r->ctx, &m);
    return status;
}

static mgen_status write_model(struct mgi_stage_run *r, const char *dir)
{
    return mgi_model_file_save(r->ctx, dir, r->stage.name, "tae", write_config, &r->stage.tae,
                               &r->tae.module, MGI_ST_BF16);
}

static void state(struct mgi_stage_run *r, mgi_stage_state *out)
{
    bool adversarial = r->stage.gan > 0.0;
    *out = (mgi_stage_state){.stage = &r->stage,
                             .seed = r->seed,
                             .data = r->dataset->kind,
                             .parent = r->loss.perceptual.hash,
                             .module = {&r->tae.module, &r->loss.discriminator.module},
                             .modules = adversarial ? 2 : 1,
                             .optimizer = &r->optimizer,
                             .second = adversarial ? &r->loss.adversary.optimizer : NULL,
                             .position = &r->updated};
    mgi_stage_ranks(out, NULL, r->parallel.comm);
}

static mgen_status save(struct mgi_stage_run *r)
{
    mgi_stage_state s;
    state(r, &s);
    if (!r->stage.freeze_encoder)
        MGI_TRY(mgi_comm_together(s.world, measure_latents(r)));
    return mgi_stage_save(r->ctx, &s, r->dir, write_model, r);
}

const struct mgi_stage_kind mgi_stage_autoencoder = {create, step, save, state, destroy};
