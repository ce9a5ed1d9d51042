/* SPDX-License-Identifier: MIT
 * Training the TAE or, without its temporal part, the image autoencoder that it starts from.
 *
 *   y = decode(sample(encode(x))), compared with x as autoencoder_loss.h says
 * in steps of codec_step.h. An image is a video of one frame: of the frames that decoding gives back the first is kept.
 * Steps take images and clips in turn (image_every), or what the bucket that is drawn says.
 */
#include "core/alloc.h"
#include "kernels/loss/loss.h"
#include "model/tae_diffusers.h"
#include "train/autoencoder_loss.h"
#include "train/buckets.h"
#include "train/codec_step.h"
#include "train/prefetch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LATENT_CLIPS = 64 };

struct mgi_stage_run {
    mgen_context *ctx;
    mgi_stage stage;
    char dir[MGI_PATH_MAX + 1];
    uint64_t seed;
    mgi_dataset *dataset;
    mgi_buckets buckets; /* none: clips of the stage's frames, and images */
    mgi_prefetch *prefetch;
    mgi_tae tae;
    mgi_ae_loss loss;
    mgi_codec_step step;
};

static void destroy(struct mgi_stage_run *r)
{
    mgen_context *ctx = r->ctx;
    mgi_codec_step_finish(&r->step);
    mgi_ae_loss_finish(&r->loss);
    mgi_tae_finish(&r->tae);
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
        MGI_TRY(mgi_buckets_init(r->ctx, s, r->dataset, mgi_stage_held(s), &r->buckets));
    for (int64_t i = 0; i < kind_count(r); i++) {
        const mgi_dataset *ds = kind_at(r, i).dataset;
        MGI_TRY(mgi_stage_sides(r->ctx, s, ds, factor));
        MGI_TRY(mgi_ae_loss_sides(&r->loss, ds->height, ds->width));
    }
    return r->buckets.divided ? mgi_buckets_agree(&r->buckets, params->comm)
                              : mgi_stage_check_films(r->ctx, s, r->dataset);
}

static const mgi_codec_kind kind_of_steps;

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
    strcpy(r->dir, params->dir);
    MGI_TRY_GOTO(status, mgi_ae_loss_init(&r->loss, params, &r->stage, ctx), failed);
    MGI_TRY_GOTO(status, open_data(r, params), failed);
    MGI_TRY_GOTO(status, mgi_prefetch_create(ctx, r->seed, ctx->device->cuda != NULL, &r->prefetch),
                 failed);
    MGI_TRY_GOTO(status, mgi_tae_init(&r->tae, ctx, &stage->tae), failed);
    MGI_TRY_GOTO(status, mgi_module_random(&r->tae.module, r->seed), failed);
    if (stage->start_from[0])
        MGI_TRY_GOTO(status, mgi_stage_needs(ctx, stage, start_from(r, &start)), failed);
    MGI_TRY_GOTO(status, mgi_stage_agree(params, start), failed);
    const mgi_codec_parts parts = {.kind = &kind_of_steps,
                                   .r = r,
                                   .stage = &r->stage,
                                   .module = &r->tae.module,
                                   .adversary = &r->loss.adversary,
                                   .terms = MGI_LOSS_TERMS};
    MGI_TRY_GOTO(status, mgi_codec_step_init(&r->step, ctx, params, &parts), failed);
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
    int64_t most = (mgi_stage_held(&r->stage) + kind_count(r) - 1) / kind_count(r);
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

/* Into a double. */
static void add_psnr(mgi_run *run, struct mgi_stage_run *r, void *psnr)
{
    mgi_prefetch_rest(r->prefetch);
    for (int64_t i = 0; i < kind_count(r); i++)
        *(double *)psnr += psnr_of(run, r, kind_at(r, i)) / (double)kind_count(r);
}

static mgen_status validate(struct mgi_stage_run *r, mgen_report *report)
{
    double psnr = 0.0;
    MGI_TRY(mgi_codec_averaged(&r->step, add_psnr, &psnr));
    mgi_report_add(report, "val_psnr", psnr);
    mgi_optimizer_validated(&r->step.optimizer, -psnr);
    return MGEN_OK;
}

/* Pass `i` of a step: this rank's clips, the first of which is number `row` of the step's. */
static mgen_status clips_of(const struct mgi_stage_run *r, int64_t index, int64_t i,
                            mgi_prefetch_clips *clips, int64_t *row)
{
    const mgi_stage *s = &r->stage;
    int64_t batch = s->batch > s->image_batch ? s->batch : s->image_batch, first;
    int64_t most = s->accumulate * (r->buckets.count ? r->buckets.batch : batch);
    const clip_kind kind = kind_of_step(r, index);
    MGI_TRY(mgi_dp_share(&r->step.parallel, r->ctx, kind.batch, &first, &clips->count));
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

/* Of a clip of x. */
static int64_t latents_of(const struct mgi_stage_run *r, const T *x)
{
    const mgi_tae_config *c = &r->stage.tae;
    const int64_t f = mgi_tae_factor(c), frames = mgi_tae_latent_frames(c, x->dims[1]);
    return frames * (x->dims[2] / f) * (x->dims[3] / f) * c->latent_channels;
}

static void learn(mgi_run *run, struct mgi_stage_run *r, const mgi_codec_pass *p)
{
    T *kl, *x = p->x;
    T *h = mgi_tae_encode(run, &r->tae, x);
    T *z = mgi_posterior(run, h, p->noise, p->weight * (float)r->stage.kl, &kl);
    T *y = mgi_tae_decode(run, &r->tae, z);
    if (y && y->dims[1] > x->dims[1])
        y = mgi_slice(run, y, 1, 0, x->dims[1]);
    mgi_ae_loss_pass(&r->loss, run, p->index, p->weight, p->last, x, y, z, kl, r->step.sums);
}

static const mgi_codec_kind kind_of_steps = {take_clips, latents_of, learn};

static mgen_status step(struct mgi_stage_run *r, int64_t index, mgen_report *report)
{
    float sums[MGI_LOSS_TERMS];
    MGI_TRY(mgi_codec_step_take(&r->step, index, sums));
    mgi_stage_report(&r->step.optimizer, index, sums[MGI_LOSS_TOTAL], report);
    mgi_ae_loss_report(&r->loss, index, sums, report);
    mgi_report_add(report, "flops", r->step.flops);
    if (r->buckets.count > 1)
        mgi_bucket_report(&mgi_buckets_draw(&r->buckets, r->seed, index)->bucket, report);
    MGI_TRY(mgi_stage_check_loss(r->ctx, index, sums[MGI_LOSS_TOTAL]));
    return mgi_stage_validates(&r->stage, index) ? validate(r, report) : MGEN_OK;
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

static void add_latents(mgi_run *run, struct mgi_stage_run *r, void *moments)
{
    mgi_prefetch_rest(r->prefetch);
    for (int64_t i = 0; i < kind_count(r); i++)
        add_kind(run, r, kind_at(r, i), moments);
}

static mgen_status write_model(struct mgi_stage_run *r, const char *dir)
{
    return mgi_model_file_save(r->ctx, dir, r->stage.name, "tae", write_config, &r->stage.tae,
                               &r->tae.module, MGI_ST_BF16);
}

static void state(struct mgi_stage_run *r, mgi_stage_state *out)
{
    mgi_codec_step_state(&r->step, r->dataset->kind, out);
    out->parent = r->loss.perceptual.hash;
}

static mgen_status save(struct mgi_stage_run *r)
{
    mgi_stage_state s;
    state(r, &s);
    if (!r->stage.freeze_encoder)
        MGI_TRY(mgi_codec_normalise(&r->step, add_latents, r->tae.latent_shift->value,
                                    r->tae.latent_scale->value));
    return mgi_stage_save(r->ctx, &s, r->dir, write_model, r);
}

const struct mgi_stage_kind mgi_stage_autoencoder = {create, step, save, state, destroy};
