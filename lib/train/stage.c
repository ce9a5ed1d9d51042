/* SPDX-License-Identifier: MIT */
#include "train/stage.h"

#include "core/philox.h"
#include "core/quiet.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/random/random.h"
#include "nn/gather.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const struct mgi_stage_kind *mgi_stage_kind_of(const mgi_stage *stage)
{
    static const struct mgi_stage_kind *const kinds[] = {
        [MGI_STAGE_AUTOENCODER] = &mgi_stage_autoencoder,
        [MGI_STAGE_TEXT_TO_VIDEO] = &mgi_stage_text_to_video,
        [MGI_STAGE_AVERAGE] = &mgi_stage_average,
        [MGI_STAGE_UPSAMPLER] = &mgi_stage_text_to_video, /* the same, of pairs of clips */
        [MGI_STAGE_EDITOR] = &mgi_stage_text_to_video,    /* of films, edited and to be edited */
        [MGI_STAGE_AUDIO_CODEC] = &mgi_stage_audio_codec,
        [MGI_STAGE_AUDIO] = &mgi_stage_audio,
        [MGI_STAGE_REWRITER] = &mgi_stage_rewriter,
        [MGI_STAGE_PERSONALIZER] =
            &mgi_stage_text_to_video, /* of films, and photos of who is in them */
        [MGI_STAGE_CLIP] = &mgi_stage_clip,
    };
    return kinds[stage->kind];
}

void mgi_stage_ranks(mgi_stage_state *state, const mgi_mesh *mesh, mgi_comm *comm)
{
    state->world = mesh ? mesh->group[MGI_AXIS_WORLD] : comm;
    state->shape = mesh ? mesh->shape : (mgi_mesh_shape){comm ? mgi_comm_size(comm) : 1, 1, 1};
}

mgen_status mgi_stage_agree(const mgi_stage_params *params, uint64_t hash)
{
    mgi_stage_state ranks;
    char text[32];
    mgi_stage_ranks(&ranks, params->mesh, params->comm);
    if (!ranks.world || mgi_comm_size(ranks.world) == 1)
        return MGEN_OK;
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return mgi_comm_agree(ranks.world, "weights to start from (their hash)", text);
}

/* On the first rank, while the others serve. */
static mgen_status write_models(mgen_context *ctx, const char *dir, mgi_stage_writer *write,
                                struct mgi_stage_run *run, mgi_save *save)
{
    MGI_TRY(mgi_save_begin(ctx, dir, save));
    return write(run, save->staging);
}

static mgen_status save_together(mgen_context *ctx, mgi_gather *g, mgi_comm *comm, const char *dir,
                                 mgi_stage_writer *write, struct mgi_stage_run *run)
{
    mgi_save save = {.folder = -1};
    bool first = mgi_comm_rank(comm) == 0;
    mgen_status status = first ? write_models(ctx, dir, write, run, &save) : mgi_gather_serve(g);
    if (first) {
        mgen_status ended = mgi_gather_end(g);
        status = status == MGEN_OK ? ended : status;
    }
    status = mgi_comm_together(comm, status);
    if (save.folder >= 0)
        status = mgi_save_end(&save, status);
    return status;
}

mgen_status mgi_stage_save(mgen_context *ctx, const mgi_stage_state *state, const char *dir,
                           mgi_stage_writer *write, struct mgi_stage_run *run)
{
    mgi_comm *comm = state->world;
    mgi_gather *g = NULL;
    mgi_save save;
    if (!comm || mgi_comm_size(comm) == 1) {
        MGI_TRY(mgi_save_begin(ctx, dir, &save));
        return mgi_save_end(&save, write(run, save.staging));
    }
    mgen_status status = mgi_gather_create(ctx, comm, state->module, state->modules, &g);
    status = mgi_comm_together(comm, status);
    if (status == MGEN_OK)
        status = mgi_comm_together(comm, save_together(ctx, g, comm, dir, write, run));
    mgi_gather_free(g);
    return status;
}

/* A pipeline that cannot be read is replaced like one that is not there. */
static mgen_status keep_rewriter(mgen_context *ctx, const char *dir, mgi_pipeline_file *p)
{
    mgi_pipeline_file before;
    mgen_status status = mgi_pipeline_file_read(ctx, dir, "pipeline", &before);
    if (status == MGEN_OK && before.rewriter[0])
        strcpy(p->rewriter, before.rewriter);
    return status == MGEN_E_NOT_FOUND || status == MGEN_E_CORRUPT || status == MGEN_E_VERSION
               ? MGEN_OK
               : status;
}

mgen_status mgi_stage_save_set(mgen_context *ctx, const char *dir, const char *to, const char *set,
                               const mgi_pipeline_file *pipeline)
{
    char name[MGI_NAME_MAX + 1];
    mgi_pipeline_file p = *pipeline;
    MGI_TRY(keep_rewriter(ctx, dir, &p));
    mgi_model_name(name, set, "pipeline");
    if (*set)
        MGI_TRY(mgi_pipeline_file_write(ctx, to, name, &p));
    return mgi_pipeline_file_write(ctx, to, "pipeline", &p);
}

mgen_status mgi_stage_name_model(mgen_context *ctx, const char *dir, const char *to, size_t field,
                                 const char *name, const char *adapter)
{
    mgi_pipeline_file p;
    mgi_message before;
    mgi_quiet_begin(ctx, &before);
    mgen_status status = mgi_pipeline_file_read(ctx, dir, "pipeline", &p);
    const bool none = status == MGEN_E_NOT_FOUND;
    mgi_quiet_end(ctx, &before, none || status == MGEN_OK);
    if (none)
        return MGEN_OK;
    MGI_TRY(status);
    strcpy((char *)&p + field, name);
    for (int i = 0; i < MGI_ADAPTED_KINDS; i++)
        if (mgi_pipeline_model(&p, i) == (char *)&p + field)
            mgi_pipeline_put(&p, i, name, adapter);
    return mgi_pipeline_file_write(ctx, to, "pipeline", &p);
}

mgen_status mgi_stage_update(mgen_context *ctx, const mgi_stage_step *s, mgi_stage_pass *pass,
                             struct mgi_stage_run *r, int64_t index, double *flops)
{
    const int64_t passes = s->stage->accumulate;
    const double before = ctx->device->counts.flops;
    mgi_run run;
    mgi_run_init(&run, ctx, true);
    mgi_optimizer_begin(s->optimizer, &run, index);
    for (int k = 0; k < s->count; k++)
        mgi_module_zero_grad(s->trained[k], &run);
    mgi_fill(&run, s->loss, 0.0f);
    for (int64_t i = 0; i < passes; i++) {
        int64_t mark = mgi_scope_push(&run);
        mgi_dp_begin(s->parallel, &run, i == passes - 1);
        pass(&run, r, index, i, mgi_dp_weight(s->parallel) / (float)passes);
        mgi_scope_pop(&run, mark, NULL);
    }
    mgi_dp_end(s->parallel, &run, s->loss);
    mgi_optimizer_apply(s->optimizer, &run);
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    if (status == MGEN_OK)
        *flops = ctx->device->counts.flops - before;
    mgi_run_finish(&run);
    return status;
}

void mgi_stage_report(const mgi_optimizer *o, int64_t step, float loss, mgen_report *report)
{
    float control[MGK_CONTROL_COUNT];
    if (!report)
        return;
    mgi_tensor_read(o->control, 0, control, MGK_CONTROL_COUNT);
    mgi_report_add(report, "step", (double)step);
    mgi_report_add(report, "loss", loss);
    mgi_report_add(report, "grad_norm", control[MGK_CONTROL_NORM]);
    mgi_report_add(report, "lr", mgi_optimizer_lr(o, step));
    mgi_report_add(report, "skipped", control[MGK_CONTROL_SKIPPED]);
}

void mgi_stage_sum(mgi_run *run, mgi_tensor *const *scalars, int count, mgi_tensor *sums,
                   int64_t first)
{
    for (int i = 0; i < count && run->status == MGEN_OK; i++) {
        mgk_pointwise_args a = {.x = mgi_buf(scalars[i]),
                                .y = {mgi_f32(sums) + first + i, MGK_F32},
                                .count = 1,
                                .alpha = 1.0f,
                                .beta = 1.0f};
        mgi_run_launch(run, MGK_OP_axpby, &a);
    }
}

mgi_tensor *mgi_stage_times(mgi_run *run, const mgi_stage *stage, uint64_t seed, uint64_t first,
                            int64_t rows)
{
    double deviation = stage->time_deviation > 0.0 ? stage->time_deviation : 1.0;
    return mgi_random(run, MGK_RANDOM_LOGIT_NORMAL, seed, MGI_STREAM_TIME, first, (float)deviation,
                      (float)stage->time_mean, 1, &rows);
}

float mgi_stage_value(const mgi_tensor *scalar)
{
    float value = 0.0f;
    if (scalar)
        mgi_tensor_read(scalar, 0, &value, 1);
    return value;
}

mgen_status mgi_stage_check_loss(mgen_context *ctx, int64_t step, float loss)
{
    if (isfinite(loss))
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_NUMERIC,
                    "the loss of step %lld is not finite; lower the learning rate",
                    (long long)step);
}

mgen_status mgi_stage_sides(mgen_context *ctx, const mgi_stage *stage, const mgi_dataset *ds,
                            int64_t factor)
{
    if (ds->width % factor == 0 && ds->height % factor == 0)
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "stage \"%s\" needs sides that are multiples of %lld; the dataset's are "
                    "%lld x %lld",
                    stage->name, (long long)factor, (long long)ds->width, (long long)ds->height);
}

mgen_status mgi_stage_dataset(mgen_context *ctx, const mgi_stage_params *params, int64_t frames,
                              int64_t factor, mgi_dataset **out)
{
    mgi_dataset *ds = mgi_dataset_retain(params->dataset);
    mgen_status status;
    if (!ds)
        MGI_TRY(mgi_dataset_world(ctx, params->seed, &params->stage->world, &ds));
    if (ds->frames < frames)
        status = mgi_fail(ctx, MGEN_E_INVALID,
                          "stage \"%s\" takes clips of %lld frames, but the dataset's have %lld",
                          params->stage->name, (long long)frames, (long long)ds->frames);
    else
        status = mgi_stage_sides(ctx, params->stage, ds, factor);
    if (status != MGEN_OK) {
        mgi_dataset_release(ds);
        return status;
    }
    *out = ds;
    return MGEN_OK;
}

mgen_status mgi_stage_check_films(mgen_context *ctx, const mgi_stage *stage, const mgi_dataset *ds)
{
    mgen_status status = mgi_dataset_check_frames(ctx, ds);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "stage \"%s\"", stage->name);
}

mgen_status mgi_stage_same(mgen_context *ctx, const mgi_stage *stage, const char *file,
                           mgi_config_writer *write, const void *theirs, const void *ours)
{
    char difference[512];
    MGI_TRY(mgi_config_difference(ctx, write, theirs, ours, difference, sizeof difference));
    return !*difference
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_STATE,
                          "stage \"%s\" cannot start from \"%s\": the configuration in %s is "
                          "another than the recipe's: %s",
                          stage->name, stage->start_from, file, difference);
}

mgen_status mgi_stage_same_model(mgen_context *ctx, const mgi_stage *stage, const char *name,
                                 mgi_config_writer *write, const void *theirs, const void *ours)
{
    char file[MGI_NAME_MAX + 16];
    snprintf(file, sizeof file, "%s.json", name);
    return mgi_stage_same(ctx, stage, file, write, theirs, ours);
}

void mgi_stage_freeze_encoder(mgi_module *m)
{
    for (int64_t k = 0; k < m->count; k++)
        if (!strncmp(m->params[k]->name, "encoder.", 8))
            m->params[k]->frozen = true;
}

mgen_status mgi_stage_needs(mgen_context *ctx, const mgi_stage *stage, mgen_status status)
{
    return status == MGEN_E_NOT_FOUND
               ? mgi_fail_context(ctx, MGEN_E_STATE,
                                  "stage \"%s\" needs the model of an earlier stage, trained "
                                  "into the same folder",
                                  stage->name)
               : status;
}

mgen_status mgi_stage_open_text(mgen_context *ctx, const char *dir, const char *name, int32_t hold,
                                const mgi_mesh *mesh, mgi_text_encoder *out, uint64_t *hash)
{
    const int before = mgi_device_hold(ctx->device, hold);
    const mgen_status status = mgi_text_encoder_open_mesh(ctx, dir, name, mesh, out, hash);
    mgi_device_hold(ctx->device, before);
    return status;
}

mgen_status mgi_stage_open_vision(mgen_context *ctx, const char *dir, const char *name,
                                  int32_t hold, mgi_clip_vision *out, uint64_t *hash)
{
    const int before = mgi_device_hold(ctx->device, hold);
    const mgen_status status = mgi_clip_vision_open(ctx, dir, name, out, hash);
    mgi_device_hold(ctx->device, before);
    return status;
}

mgen_status mgi_stage_compute(const mgi_stage *stage, mgi_module *m)
{
    return m->hold == MGI_HOLD_F32 ? mgi_module_compute(m, stage->dtype) : MGEN_OK;
}

int64_t mgi_stage_held(const mgi_stage *stage)
{
    if (!stage->validate_every || stage->validate_clips)
        return stage->validate_every ? stage->validate_clips : 1;
    return stage->kind == MGI_STAGE_AUTOENCODER   ? 8
           : stage->kind == MGI_STAGE_AUDIO_CODEC ? 16
                                                  : MGI_HELD_OUT_MAX;
}

bool mgi_stage_validates(const mgi_stage *stage, int64_t step)
{
    int64_t every = stage->validate_every;
    return every > 0 && (step % every == every - 1 || step == stage->steps - 1);
}

void mgi_module_swap_ema(mgi_module *m)
{
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        if (!p->ema)
            continue;
        mgi_storage *s = p->value->storage;
        p->value->storage = p->ema->storage;
        p->ema->storage = s;
    }
    for (int64_t i = 0; i < m->range_count; i++) {
        mgi_range *range = &m->ranges[i];
        mgi_storage *s = range->value->storage;
        range->value->storage = range->ema->storage;
        range->ema->storage = s;
    }
    mgi_module_refresh(m);
}
