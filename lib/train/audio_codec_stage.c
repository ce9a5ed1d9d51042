/* SPDX-License-Identifier: MIT
 * Training the audio codec.
 *
 *   y = decode(sample(encode(x))), compared with x as sound_loss.h says
 * x are pieces of the sounds of a dataset's training walk (data/dataset.h): element i is heard from a place that is
 * drawn by (seed, i). Steps are those of codec_step.h.
 */
#include "core/alloc.h"
#include "core/philox.h"
#include "data/dataset_sound.h"
#include "data/world_sound.h"
#include "kernels/loss/loss.h"
#include "model/audio_codec_dac.h"
#include "train/codec_step.h"
#include "train/sound_loss.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LATENT_PIECES = 64 };

/* Elements' places, apart from what else is drawn by that stream. */
#define PLACES (UINT64_C(1) << 62)

struct mgi_stage_run {
    mgen_context *ctx;
    mgi_stage stage;
    char dir[MGI_PATH_MAX + 1];
    uint64_t seed;
    mgi_dataset *dataset;
    int64_t samples; /* of a piece */
    mgi_audio_codec codec;
    mgi_sound_loss loss;
    mgi_codec_step step;
};

static void destroy(struct mgi_stage_run *r)
{
    mgi_codec_step_finish(&r->step);
    mgi_sound_loss_finish(&r->loss);
    mgi_audio_codec_finish(&r->codec);
    mgi_dataset_release(r->dataset);
    mgi_free(r->ctx, r);
}

static void write_config(mgi_json_writer *w, const void *config)
{
    mgi_audio_codec_config_write(w, config);
}

/* Which field of the configuration is not as `file` has it, if one is not. */
static mgen_status compare(struct mgi_stage_run *r, const char *file,
                           const mgi_audio_codec_config *theirs)
{
    return mgi_stage_same(r->ctx, &r->stage, file, write_config, theirs, &r->stage.sound.codec);
}

/* Weights that do not fit: as the configurations say, if they do. */
static mgen_status explain(struct mgi_stage_run *r, mgen_status status, const mgi_model_file *file)
{
    mgi_audio_codec_config theirs;
    char kept[512];
    snprintf(kept, sizeof kept, "%s", mgen_last_error(r->ctx));
    MGI_TRY(mgi_audio_codec_config_read(r->ctx, file->config, &theirs));
    MGI_TRY(compare(r, file->json_name, &theirs));
    return mgi_fail(r->ctx, status, "%s", kept);
}

/* A Descript Audio Codec, of any rate; what stands at the latents begins anew. */
static mgen_status start_from_dac(struct mgi_stage_run *r, uint64_t *hash)
{
    mgi_audio_codec_dac d;
    MGI_TRY(mgi_audio_codec_dac_open(r->ctx, r->dir, r->stage.start_from, &d));
    d.config.latent_channels = r->stage.sound.codec.latent_channels;
    d.config.rate = r->stage.sound.codec.rate;
    mgen_status status = compare(r, "its config.json", &d.config);
    if (status == MGEN_OK)
        status = mgi_audio_codec_dac_load(&r->codec, &d);
    *hash = d.hash;
    mgi_audio_codec_dac_close(r->ctx, &d);
    return status;
}

static mgen_status start_from(struct mgi_stage_run *r, uint64_t *hash)
{
    mgi_model_file file;
    if (mgi_model_is_folder(r->ctx, r->dir, r->stage.start_from))
        return start_from_dac(r, hash);
    MGI_TRY(mgi_model_file_open(r->ctx, r->dir, r->stage.start_from, "audio-codec", &file));
    mgen_status status = mgi_module_load(&r->codec.module, &file.weights, file.weights_name, false);
    if (status == MGEN_E_CORRUPT)
        status = explain(r, status, &file);
    *hash = file.hash;
    mgi_model_file_close(r->ctx, &file);
    return status;
}

static mgen_status open_data(struct mgi_stage_run *r, const mgi_stage_params *params)
{
    const mgi_stage *s = &r->stage;
    MGI_TRY(mgi_stage_dataset(r->ctx, params, 1, 1, &r->dataset));
    if (!mgi_dataset_sounds(r->dataset))
        return mgi_fail(r->ctx, MGEN_E_INVALID,
                        "stage \"%s\" learns from sound, and the dataset's clips have none; train "
                        "it on the toybox's world, a folder of films with sound, or samples of the "
                        "host for which sound_samples is set",
                        s->name);
    if (s->sound.codec.rate != MGI_WORLD_SOUND_RATE)
        return mgi_fail(r->ctx, MGEN_E_INVALID,
                        "stage \"%s\": the \"rate\" of the codec is %lld; datasets are heard at "
                        "%d samples a second",
                        s->name, (long long)s->sound.codec.rate, MGI_WORLD_SOUND_RATE);
    return mgi_dataset_check_sounds(r->ctx, r->dataset); /* else it may end after hours */
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
    r->samples = stage->frames * mgi_audio_codec_hop(&stage->sound.codec);
    strcpy(r->dir, params->dir);
    MGI_TRY_GOTO(status, mgi_sound_loss_init(&r->loss, params, &r->stage, ctx), failed);
    MGI_TRY_GOTO(status, open_data(r, params), failed);
    MGI_TRY_GOTO(status, mgi_audio_codec_init(&r->codec, ctx, &stage->sound.codec), failed);
    MGI_TRY_GOTO(status, mgi_audio_codec_random(&r->codec, r->seed), failed);
    if (stage->start_from[0])
        MGI_TRY_GOTO(status, mgi_stage_needs(ctx, stage, start_from(r, &start)), failed);
    MGI_TRY_GOTO(status, mgi_stage_agree(params, start), failed);
    const mgi_codec_parts parts = {.kind = &kind_of_steps,
                                   .r = r,
                                   .stage = &r->stage,
                                   .module = &r->codec.module,
                                   .adversary = &r->loss.adversary,
                                   .terms = MGI_SOUND_LOSS_TERMS};
    MGI_TRY_GOTO(status, mgi_codec_step_init(&r->step, ctx, params, &parts), failed);
    *out = r;
    return MGEN_OK;
failed:
    destroy(r);
    return status;
}

/* -- sounds ------------------------------------------------------------------------------------- */

/* Where in its sound an element is heard: anywhere within the film or, where that is shorter, at its beginning. */
static mgen_status place_of(const struct mgi_stage_run *r, uint64_t element, uint64_t index,
                            int64_t *place)
{
    const double lot = (double)mgi_random_unit(r->seed, MGI_STREAM_SAMPLE, PLACES + element);
    int64_t length;
    *place = 0;
    MGI_TRY(mgi_dataset_sound_length(r->ctx, r->dataset, index, &length));
    if (length > r->samples)
        *place = (int64_t)(lot * (double)(length - r->samples + 1));
    return MGEN_OK;
}

/* `count` elements of the training walk, one behind the other. */
static mgen_status hear(const struct mgi_stage_run *r, uint64_t first, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i++) {
        uint64_t element = first + (uint64_t)i;
        uint64_t index = mgi_dataset_element(r->dataset, r->seed, element);
        int64_t place;
        MGI_TRY(place_of(r, element, index, &place));
        MGI_TRY(
            mgi_dataset_hear(r->ctx, r->dataset, index, place, r->samples, out + i * r->samples));
    }
    return MGEN_OK;
}

/* (B,N,1), and the host's room for what is to be in it. */
static T *room_of(mgi_run *run, const struct mgi_stage_run *r, int64_t count, float **values)
{
    T *x = mgi_new(run, MGK_F32, MGI_DIMS(count, r->samples, 1));
    *values = NULL;
    return x && mgi_ok(run, mgi_alloc(run->ctx, (size_t)x->count * sizeof **values, values)) ? x
                                                                                             : NULL;
}

/* x of those values, if they were heard; frees them. */
static T *filled(mgi_run *run, T *x, float *values, bool heard)
{
    if (x && heard)
        mgi_tensor_write(x, 0, values, x->count);
    mgi_free(run->ctx, values);
    return heard ? x : NULL;
}

/* The beginning of a sound that is held out. */
static T *held_sound(mgi_run *run, const struct mgi_stage_run *r, int64_t i)
{
    float *values;
    T *x = room_of(run, r, 1, &values);
    return filled(
        run, x, values,
        x && mgi_ok(run, mgi_dataset_held_hear(r->ctx, r->dataset, i, 0, r->samples, values)));
}

/* -- validation --------------------------------------------------------------------------------- */

/* The posterior's mean. */
static T *latents_of(mgi_run *run, const struct mgi_stage_run *r, T *x)
{
    return mgi_posterior(run, mgi_audio_codec_encode(run, &r->codec, x), NULL, 0.0f, NULL);
}

typedef struct figures {
    double snr, mel; /* dB of reconstructions; |M(y) - M(x)|: means */
} figures;

static void validate_piece(mgi_run *run, const struct mgi_stage_run *r, T *x, double share,
                           figures *f)
{
    T *y = mgi_audio_codec_decode(run, &r->codec, latents_of(run, r, x));
    T *zero = y ? mgi_new(run, MGK_F32, 3, y->dims) : NULL;
    mgi_fill(run, zero, 0.0f);
    T *error = mgi_loss(run, MGK_LOSS_MSE, 1.0f, y, x);
    T *power = mgi_loss(run, MGK_LOSS_MSE, 1.0f, x, zero);
    T *mel = r->loss.mels ? mgi_sound_loss_mel(&r->loss, run, 1.0f, 0.0f, y, x) : NULL;
    if (run->status != MGEN_OK)
        return;
    f->snr += share * 10.0 *
              log10(fmax((double)mgi_stage_value(power), 1e-10) /
                    fmax((double)mgi_stage_value(error), 1e-10));
    f->mel += share * (double)mgi_stage_value(mel);
}

/* Means, into figures. */
static void validate_pieces(mgi_run *run, struct mgi_stage_run *r, void *means)
{
    const int64_t count = mgi_dataset_held_count(r->dataset, mgi_stage_held(&r->stage));
    for (int64_t i = 0; i < count; i++) {
        int64_t mark = mgi_scope_push(run);
        T *x = held_sound(run, r, i);
        validate_piece(run, r, x, 1.0 / (double)count, means);
        mgi_scope_pop(run, mark, NULL);
    }
}

static mgen_status validate(struct mgi_stage_run *r, mgen_report *report)
{
    figures f = {0};
    MGI_TRY(mgi_codec_averaged(&r->step, validate_pieces, &f));
    mgi_report_add(report, "val_snr", f.snr);
    if (r->loss.mels)
        mgi_report_add(report, "val_mel", f.mel);
    mgi_optimizer_validated(&r->step.optimizer, r->loss.mels ? f.mel : -f.snr);
    return MGEN_OK;
}

/* -- steps -------------------------------------------------------------------------------------- */

/* Elements of the training walk as (B,N,1). */
static T *take_sounds(mgi_run *run, struct mgi_stage_run *r, int64_t index, int64_t i, int64_t *row)
{
    const mgi_stage *s = &r->stage;
    int64_t first, count;
    float *values;
    if (!mgi_ok(run, mgi_dp_share(&r->step.parallel, r->ctx, s->batch, &first, &count)))
        return NULL;
    *row = i * s->batch + first;
    first = index * s->accumulate * s->batch + *row;
    T *x = room_of(run, r, count, &values);
    return filled(run, x, values, x && mgi_ok(run, hear(r, (uint64_t)first, count, values)));
}

/* Of a piece. */
static int64_t latent_values(const struct mgi_stage_run *r, const T *x)
{
    (void)x;
    return r->stage.frames * r->stage.sound.codec.latent_channels;
}

static void learn(mgi_run *run, struct mgi_stage_run *r, const mgi_codec_pass *p)
{
    T *kl;
    T *h = mgi_audio_codec_encode(run, &r->codec, p->x);
    T *z = mgi_posterior(run, h, p->noise, p->weight * (float)r->stage.kl, &kl);
    T *y = mgi_audio_codec_decode(run, &r->codec, z);
    mgi_sound_loss_pass(&r->loss, run, p->index, p->weight, p->last, p->x, y, kl, r->step.sums);
}

static const mgi_codec_kind kind_of_steps = {take_sounds, latent_values, learn};

static mgen_status step(struct mgi_stage_run *r, int64_t index, mgen_report *report)
{
    float sums[MGI_SOUND_LOSS_TERMS];
    MGI_TRY(mgi_codec_step_take(&r->step, index, sums));
    mgi_stage_report(&r->step.optimizer, index, sums[MGI_SOUND_LOSS_TOTAL], report);
    mgi_sound_loss_report(&r->loss, index, sums, report);
    mgi_report_add(report, "flops", r->step.flops);
    MGI_TRY(mgi_stage_check_loss(r->ctx, index, sums[MGI_SOUND_LOSS_TOTAL]));
    return mgi_stage_validates(&r->stage, index) ? validate(r, report) : MGEN_OK;
}

/* -- what is saved ------------------------------------------------------------------------------ */

/* Held out where there is no end of sounds, else of the first ones that are trained on. NULL: it cannot be heard. */
static T *measured_sound(mgi_run *run, const struct mgi_stage_run *r, int64_t i, mgi_moments *m)
{
    float *values;
    if (r->dataset->count == UINT64_MAX)
        return held_sound(run, r, i);
    T *x = room_of(run, r, 1, &values);
    if (!x)
        return NULL;
    mgi_message before;
    mgi_quiet_begin(run->ctx, &before);
    return filled(run, x, values,
                  mgi_moments_read(run, m, &before, hear(r, (uint64_t)i, 1, values)));
}

static void add_latents(mgi_run *run, struct mgi_stage_run *r, void *moments)
{
    for (int64_t i = 0; i < LATENT_PIECES && run->status == MGEN_OK; i++) {
        int64_t mark = mgi_scope_push(run);
        T *x = measured_sound(run, r, i, moments);
        if (x)
            mgi_moments_add(run, moments, latents_of(run, r, x));
        mgi_scope_pop(run, mark, NULL);
    }
}

static mgen_status write_model(struct mgi_stage_run *r, const char *dir)
{
    return mgi_model_file_save(r->ctx, dir, r->stage.name, "audio-codec", write_config,
                               &r->stage.sound.codec, &r->codec.module, MGI_ST_BF16);
}

static void state(struct mgi_stage_run *r, mgi_stage_state *out)
{
    mgi_codec_step_state(&r->step, r->dataset->kind, out);
}

static mgen_status save(struct mgi_stage_run *r)
{
    mgi_stage_state s;
    state(r, &s);
    if (!r->stage.freeze_encoder)
        MGI_TRY(mgi_codec_normalise(&r->step, add_latents, r->codec.latent_shift->value,
                                    r->codec.latent_scale->value));
    return mgi_stage_save(r->ctx, &s, r->dir, write_model, r);
}

const struct mgi_stage_kind mgi_stage_audio_codec = {create, step, save, state, destroy};
