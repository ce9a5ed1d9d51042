/* SPDX-License-Identifier: MIT */
#include "train/plan_stage.h"

#include "data/dataset.h"
#include "train/stage.h"

#include <string.h>

bool mgi_stage_is_walked(int32_t kind)
{
    return kind == MGI_STAGE_AUTOENCODER || kind == MGI_STAGE_AUDIO_CODEC || kind == MGI_STAGE_CLIP;
}

/* ---- samples of a size, and nothing in them ---- */

/* As long a caption as there may be: its text encoder sees as many tokens of it as it can. */
static mgen_status read_nothing(void *user, uint64_t index, mgen_sample *sample)
{
    (void)user, (void)index;
    for (uint64_t i = 0; i + 1 < sample->caption_size; i++)
        sample->caption[i] = i % 2 ? ' ' : 'a';
    sample->caption[sample->caption_size - 1] = '\0';
    return MGEN_OK;
}

static mgen_status make_dataset(mgen_context *ctx, const mgi_stage *s, const mgi_stage_samples *x,
                                mgi_dataset **out)
{
    const bool sound = s->kind == MGI_STAGE_AUDIO_CODEC;
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = (uint32_t)x->width;
    p.height = (uint32_t)x->height;
    p.frames = sound ? 1 : (uint32_t)x->frames;
    p.count = 2;
    p.read = read_nothing;
    if (sound)
        p.sound_samples = (uint64_t)(x->frames * mgi_audio_codec_hop(&s->sound.codec));
    return mgi_dataset_host(ctx, &p, out);
}

/* ---- the stage ---- */

/* Steps of one kind of samples, and no more than that: nothing is read of models, and nothing is validated. */
static void prepare(const mgi_stage *of, const mgi_stage_samples *x, int64_t passes, mgi_stage *s)
{
    *s = *of;
    s->start_from[0] = '\0';
    s->validate_every = 0;
    s->bucket_count = 0;
    s->image_every = s->image_batch = 0;
    s->frames = x->frames;
    s->batch = x->batch;
    s->accumulate = passes;
    s->gan_start = x->adversarial ? 0 : INT64_MAX;
}

static int64_t parameters_of(const mgi_stage_state *s)
{
    int64_t sum = 0;
    for (int i = 0; i < s->modules - (s->second != NULL); i++) /* the discriminator is none of it */
        sum += mgi_module_size(s->module[i]);
    return sum;
}

/* What a step took. */
typedef struct walked {
    mgi_clock clock;
    uint64_t base[MGI_MEM_KINDS]; /* before it */
    mgi_device_counts begin, end;
    int64_t parameters;
} walked;

static mgen_status step(mgen_context *meta, const mgi_stage *s, const mgi_mesh *mesh,
                        mgi_dataset *ds, walked *w)
{
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(s);
    const mgi_device *dev = meta->device;
    const mgi_stage_params params = {.stage = s,
                                     .dir = s->folder[0] ? s->folder : ".",
                                     .seed = 1,
                                     .dataset = ds,
                                     .comm = mesh->shape.dp > 1 ? mesh->group[MGI_AXIS_DP] : NULL};
    struct mgi_stage_run *run;
    mgi_stage_state state;
    MGI_TRY(kind->create(meta, &params, &run));
    kind->state(run, &state);
    w->parameters = parameters_of(&state);
    memcpy(w->base, dev->counts.now, sizeof w->base);
    w->begin = dev->counts;
    mgi_clock_restart(&w->clock); /* making it was no part of the step */
    mgen_status status = kind->step(run, 0, NULL);
    w->end = dev->counts;
    kind->destroy(run);
    return status == MGEN_OK ? w->clock.status : status;
}

static mgen_status walk_on(mgen_context *meta, const mgi_stage *s, const mgi_stage_samples *x,
                           const mgi_gpu *gpu, const mgi_mesh *mesh, walked *w)
{
    mgi_dataset *ds;
    MGI_TRY(make_dataset(meta, s, x, &ds));
    mgi_clock_init(&w->clock, meta, gpu, mesh, -1);
    mgen_status status = step(meta, s, mesh, ds, w);
    mgi_clock_finish(&w->clock);
    mgi_dataset_release(ds);
    return status;
}

static mgen_status walk(mgen_context *ctx, const mgi_stage *s, const mgi_stage_samples *x,
                        const mgi_gpu *gpu, int gpus, walked *w)
{
    mgen_context *meta;
    mgi_comm *world;
    mgi_mesh mesh;
    MGI_TRY(mgi_plan_meta(ctx, &meta));
    mgen_status status = mgi_comm_counting_create(meta, 0, gpus, &world);
    if (status == MGEN_OK) {
        status = mgi_mesh_create(world, (mgi_mesh_shape){gpus, 1, 1, 1}, &mesh);
        if (status == MGEN_OK) {
            status = walk_on(meta, s, x, gpu, &mesh, w);
            mgi_mesh_destroy(&mesh);
        } else {
            mgi_comm_destroy(world);
        }
    }
    if (status != MGEN_OK)
        mgi_fail_from(ctx, status, meta);
    mgi_context_free(meta);
    return status;
}

/* Of passes that are alike two tell what each more takes. */
static double repeated(double one, double two, int64_t passes)
{
    return passes > 1 ? two + (double)(passes - 2) * (two - one) : one;
}

mgen_status mgi_stage_need_make(mgen_context *ctx, const mgi_stage *stage,
                                const mgi_stage_samples *x, const mgi_gpu *gpu, int gpus,
                                mgi_stage_need *out)
{
    mgi_stage s;
    walked one, two;
    prepare(stage, x, 1, &s);
    MGI_TRY(walk(ctx, &s, x, gpu, gpus, &one));
    two = one;
    if (x->passes > 1) {
        prepare(stage, x, 2, &s);
        MGI_TRY(walk(ctx, &s, x, gpu, gpus, &two));
    }
    const double peak = (stage->dtype == MGK_BF16 ? gpu->tflops : gpu->tflops_f32) * 1e12;
    mgi_mesh_plan *p = &out->plan;
    *out = (mgi_stage_need){.parameters = one.parameters, .step = two.end};
    out->step.flops -= two.begin.flops;
    out->step.launches -= two.begin.launches;
    *p = (mgi_mesh_plan){.mesh = {gpus, 1, 1, 1},
                         .recompute = MGI_RECOMPUTE_NONE,
                         .samples = x->batch / gpus,
                         .passes = x->passes,
                         .global_batch = x->batch * x->passes};
    p->rank_flops =
        repeated(one.end.flops - one.begin.flops, two.end.flops - two.begin.flops, x->passes);
    p->model_flops = p->rank_flops * gpus;
    p->seconds = repeated(one.clock.now, two.clock.now, x->passes);
    for (int i = 0; i < MGI_CLOCK_KINDS; i++)
        p->busy[i] = repeated(one.clock.busy[i], two.clock.busy[i], x->passes);
    for (int i = 0; i < MGI_AXES; i++) {
        p->exposed[i] = repeated(one.clock.exposed[i], two.clock.exposed[i], x->passes);
        p->exposed_seconds += p->exposed[i];
    }
    for (int i = 0; i < MGI_COMM_OPS; i++)
        for (int k = 0; k < MGI_LINKS; k++)
            p->bytes[i][k] = repeated(one.clock.bytes[i][k], two.clock.bytes[i][k], x->passes);
    p->mfu = p->rank_flops / (p->seconds * peak);
    p->unknown = two.clock.unknown;
    mgi_plan_fill_memory(p, two.base, &two.end, gpu);
    return MGEN_OK;
}
