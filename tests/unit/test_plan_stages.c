/* SPDX-License-Identifier: MIT
 * Plans of stages of autoencoders, codecs and CLIP: what is counted on the meta device is what a step that is computed
 * counts, and a recipe's plan adds up what its samples need. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "stage_runs.h"
#include "train/plan_recipe.h"
#include "train/plan_stage.h"

/* Samples that are computed: noise, and the longest captions. */
static mgen_status read_noise(void *user, uint64_t index, mgen_sample *s)
{
    uint32_t x = (uint32_t)index + 1;
    (void)user;
    for (size_t i = 0; i < (size_t)s->frames * s->height * s->width * 3; i++)
        s->pixels[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    for (uint64_t i = 0; i < s->sound_samples; i++)
        s->sound[i] = (float)((x = x * 1664525 + 1013904223) >> 8) / 16777216.0f - 0.5f;
    for (uint64_t i = 0; i + 1 < s->caption_size; i++)
        s->caption[i] = i % 2 ? ' ' : 'a';
    s->caption[s->caption_size - 1] = '\0';
    return MGEN_OK;
}

typedef struct counted {
    int64_t parameters;
    mgi_device_counts begin, end;
} counted;

/* A step by the reference kernels, which the planner asks for their workspace, too. */
static counted compute(const mgi_stage *of, const mgi_stage_samples *x)
{
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(of);
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_dataset_params data = MGEN_DATASET_PARAMS_INIT;
    mgen_context *cpu;
    mgi_dataset *ds;
    struct mgi_stage_run *run;
    mgi_stage_state state;
    mgi_stage s = *of;
    counted c = {.parameters = 0};
    params.threads = 1; /* as of the planner */
    OK(mgi_context_init(&cpu, &params));
    OK(mgi_device_create(cpu, "ref"));
    data.width = (uint32_t)x->width;
    data.height = (uint32_t)x->height;
    data.frames = s.kind == MGI_STAGE_AUDIO_CODEC ? 1 : (uint32_t)x->frames;
    data.count = 2;
    data.read = read_noise;
    if (s.kind == MGI_STAGE_AUDIO_CODEC)
        data.sound_samples = (uint64_t)(x->frames * mgi_audio_codec_hop(&s.sound.codec));
    OK(mgi_dataset_host(cpu, &data, &ds));
    s.frames = x->frames;
    s.batch = x->batch;
    s.accumulate = x->passes;
    s.image_every = 0;
    s.gan_start = x->adversarial ? 0 : 1000;
    const mgi_stage_params begun = {.stage = &s, .dir = folder, .seed = 1, .dataset = ds};
    if (kind->create(cpu, &begun, &run) != MGEN_OK)
        fail_msg("%s", mgen_last_error(cpu));
    kind->state(run, &state);
    for (int i = 0; i < state.modules - (state.second != NULL); i++)
        c.parameters += mgi_module_size(state.module[i]);
    c.begin = cpu->device->counts;
    if (kind->step(run, 0, NULL) != MGEN_OK)
        fail_msg("%s", mgen_last_error(cpu));
    c.end = cpu->device->counts;
    kind->destroy(run);
    mgi_dataset_release(ds);
    mgen_context_destroy(cpu);
    return c;
}

static mgi_stage_need need_of(const mgi_stage *s, const mgi_stage_samples *x, int gpus)
{
    mgi_gpu gpu;
    mgi_stage_need need;
    OK(mgi_gpu_parse(ctx, "h100-80gb", &gpu));
    OK(mgi_stage_need_make(ctx, s, x, &gpu, gpus, &need));
    assert_int_equal(need.plan.unknown, 0);
    return need;
}

static void assert_as_computed(const mgi_stage *s, const mgi_stage_samples *x)
{
    const counted c = compute(s, x);
    const mgi_stage_need need = need_of(s, x, 1);
    const mgi_device_counts *n = &need.step;
    assert_true(c.parameters > 0);
    assert_int_equal(need.parameters, c.parameters);
    assert_true(n->flops > 0.0 && n->flops == c.end.flops - c.begin.flops);
    assert_int_equal(n->launches, c.end.launches - c.begin.launches);
    assert_int_equal(n->total_peak, c.end.total_peak);
    for (int i = 0; i < MGI_MEM_KINDS; i++) {
        assert_int_equal(n->peak[i], c.end.peak[i]);
        assert_int_equal(n->at_peak[i], c.end.at_peak[i]);
    }
    /* what a rank needs is these, what the allocator rounds up, and the reserve */
    double memory = 0.0;
    for (int i = 0; i < MGI_PLAN_ALLOCATOR; i++)
        memory += need.plan.memory[i];
    assert_true(memory == (double)c.end.total_peak);
    assert_true(need.plan.memory[MGI_PLAN_ACTIVATIONS] > 0.0);
    assert_true(need.plan.model_flops >= n->flops && need.plan.mfu > 0.0 && need.plan.mfu < 1.0);
}

static void test_autoencoders(void **state)
{
    mgi_stage s = tiny_autoencoder(4, 2);
    (void)state;
    assert_as_computed(&s, &(mgi_stage_samples){48, 48, 9, 2, 1, false});
    assert_as_computed(&s, &(mgi_stage_samples){48, 32, 1, 3, 2, false});
    /* all terms, and a decoder that is wider; latent diffusion's structure */
    s.opl = 1.0;
    s.opl_r = 3.0;
    s.perceptual = 0.1;
    s.gan = 0.5;
    s.gan_channels = 4;
    s.gan_optimizer = tiny_optimizer;
    assert_as_computed(&s, &(mgi_stage_samples){48, 48, 8, 1, 2, true});
    assert_as_computed(&s, &(mgi_stage_samples){48, 48, 8, 1, 1, false});
    s.tae.ldm = s.tae.attention = true;
    s.tae.groups = 2;
    s.dtype = MGK_BF16;
    s.freeze_encoder = true;
    assert_as_computed(&s, &(mgi_stage_samples){48, 48, 1, 2, 1, true});
}

static void test_codecs(void **state)
{
    mgi_stage s = tiny_audio_codec(4, 2);
    (void)state;
    assert_as_computed(&s, &(mgi_stage_samples){8, 8, 40, 2, 1, false});
    assert_as_computed(&s, &(mgi_stage_samples){8, 8, 44, 1, 2, true});
    s.dtype = MGK_BF16;
    assert_as_computed(&s, &(mgi_stage_samples){8, 8, 40, 2, 2, true});
}

static void test_clip(void **state)
{
    mgi_stage s = tiny_clip(4, 4);
    (void)state;
    assert_as_computed(&s, &(mgi_stage_samples){48, 48, 1, 4, 1, false});
    s.dtype = MGK_BF16;
    assert_as_computed(&s, &(mgi_stage_samples){32, 32, 1, 6, 2, false});
}

/* Passes that are alike take as much each; ranks share a batch and add their gradients. */
static void test_passes_and_ranks(void **state)
{
    const mgi_stage s = tiny_autoencoder(4, 8);
    double flops[5];
    (void)state;
    for (int passes = 1; passes <= 4; passes++) {
        const mgi_stage_need n = need_of(&s, &(mgi_stage_samples){48, 48, 9, 8, passes, false}, 1);
        flops[passes] = n.plan.rank_flops;
        assert_int_equal(n.plan.global_batch, 8 * passes);
        assert_int_equal(n.plan.passes, passes);
    }
    for (int passes = 2; passes <= 4; passes++)
        assert_true(fabs(flops[passes] - passes * flops[1]) < 1e-6 * flops[1]);
    const mgi_stage_need one = need_of(&s, &(mgi_stage_samples){48, 48, 9, 8, 2, false}, 1),
                         four = need_of(&s, &(mgi_stage_samples){48, 48, 9, 8, 2, false}, 4);
    double sent = 0.0;
    for (int k = 0; k < MGI_LINKS; k++)
        for (int i = 0; i < MGI_COMM_OPS; i++)
            sent += one.plan.bytes[i][k];
    assert_true(sent == 0.0);
    assert_int_equal(four.plan.samples, 2);
    assert_true(fabs(four.plan.rank_flops - one.plan.rank_flops / 4.0) < 1e-6 * flops[1]);
    assert_true(fabs(four.plan.model_flops - one.plan.model_flops) < 1e-6 * flops[1]);
    /* a ring's: 2 (n - 1) / n of 4 bytes a parameter, once a step; units are rounded up */
    sent = four.plan.bytes[MGI_COMM_ALL_REDUCE][MGI_LINK_NVLINK];
    const double ring = 1.5 * 4.0 * (double)four.parameters;
    if (!(sent >= ring && sent < 1.1 * ring + 1e5))
        fail_msg("%g bytes are sent, not %g", sent, ring);
    assert_true(four.plan.memory[MGI_PLAN_ACTIVATIONS] < one.plan.memory[MGI_PLAN_ACTIVATIONS]);
    mgi_gpu gpu;
    mgi_stage_need need;
    OK(mgi_gpu_parse(ctx, "h100-80gb", &gpu));
    assert_int_equal(
        mgi_stage_need_make(ctx, &s, &(mgi_stage_samples){48, 48, 9, 8, 1, false}, &gpu, 3, &need),
        MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "a batch of 8 cannot be shared by 3 ranks"));
}

/* ---- recipes ---- */

static const char *write_recipe(const char *stages)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/plan.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [%s]}", stages);
    fclose(f);
    return path;
}

static mgi_stage_plan plan_of(const char *stages, const char *name, mgi_recipe_machine m)
{
    mgi_stage_plan p;
    OK(mgi_gpu_parse(ctx, "h100-80gb", &m.gpu));
    m.recompute = -1;
    OK(mgi_stage_plan_make(ctx, write_recipe(stages), name, &m, &p));
    return p;
}

#define TAE                                                                                        \
    "\"tae\": {\"channels\": [4, 6, 8, 8], \"latent_channels\": 4, \"blocks\": 1, \"temporal\": "  \
    "true}, "                                                                                      \
    "\"l1\": 1, \"mse\": 10, \"kl\": 0.001, \"optimizer\": {\"lr\": 0.001}"

static void test_recipe(void **state)
{
    static const char stages[] =
        "{\"name\": \"mixed\", \"kind\": \"autoencoder\", \"steps\": 1000, \"batch\": 4, "
        "\"frames\": 16, "
        "\"image_every\": 4, \"image_batch\": 8, \"world\": {\"width\": 96, \"height\": 64}, "
        "\"plan\": {\"gpus\": 2}, " TAE ", \"discriminator\": {\"weight\": 0.5, \"start\": 250, "
        "\"channels\": 4, \"optimizer\": {\"lr\": 0.001}}}, "
        "{\"name\": \"buckets\", \"kind\": \"autoencoder\", \"steps\": 100, \"batch\": 4, "
        "\"accumulate\": 3, "
        "\"buckets\": [{\"width\": 64, \"height\": 64, \"frames\": 16, \"weight\": 3}, "
        "{\"width\": 128, \"height\": 64, \"frames\": 8, \"batch\": 2}], " TAE "}";
    mgi_stage_plan p = plan_of(stages, "mixed", (mgi_recipe_machine){.gpus = 0});
    mgi_stage s;
    (void)state;
    assert_true(p.planned);
    assert_int_equal(p.gpus, 2);
    assert_int_equal(p.tokens, 2 * 8 * 12);
    assert_true(fabs(p.global_batch - (0.75 * 4 + 0.25 * 8)) < 1e-12);
    assert_true(fabs(p.samples - 1000 * p.global_batch) < 1e-6);
    assert_true(fabs(p.days - 1000 * p.step_seconds / 86400.0) < 1e-12);
    OK(mgi_recipe_stage(ctx, write_recipe(stages), "mixed", &s));
    double seconds = 0.0, memory = 0.0;
    for (int image = 0; image < 2; image++)
        for (int late = 0; late < 2; late++) {
            const mgi_stage_samples x = {96, 64, image ? 1 : 16, image ? 8 : 4, 1, late};
            const mgi_stage_need n = need_of(&s, &x, 2);
            seconds += (image ? 0.25 : 0.75) * (late ? 0.75 : 0.25) * n.plan.seconds;
            memory = fmax(memory, n.plan.memory_bytes);
        }
    assert_true(fabs(p.step_seconds - seconds) < 1e-9 * seconds);
    assert_true(p.longest.memory_bytes == memory && p.longest.fits);
    assert_true(p.longest.mesh.dp == 2 && p.longest.mesh.shard == 1);

    p = plan_of(stages, "buckets", (mgi_recipe_machine){.gpus = 2});
    assert_true(p.planned && p.longest.passes == 3);
    assert_true(fabs(p.global_batch - 3 * (0.75 * 4 + 0.25 * 2)) < 1e-12);
    /* the same batch in other passes */
    p = plan_of(stages, "buckets", (mgi_recipe_machine){.gpus = 2, .samples = 3});
    assert_true(p.planned && p.longest.samples == 3 && p.longest.passes == 2);
    assert_true(fabs(p.global_batch - 3 * (0.75 * 4 + 0.25 * 2)) < 1e-12);
}

#define EDITOR                                                                                     \
    "\"kind\": \"editor\", \"steps\": 10, \"batch\": 4, \"clips\": 4, \"tae\": \"tae\", "          \
    "\"buckets\": [{\"width\": 128, \"height\": 128, \"frames\": 16}], \"text_encoders\": "        \
    "{\"ul2\": {\"from\": \"a\", \"frozen\": true}}, \"start_from\": \"e\", \"optimizer\": "       \
    "{\"lr\": "                                                                                    \
    "0.001}"
#define SOUND                                                                                      \
    "\"kind\": \"audio\", \"steps\": 10, \"batch\": 4, \"clips\": 4, \"codec\": \"codec\", "       \
    "\"lengths\": [{\"seconds\": 10}], \"text\": {\"from\": \"a\", \"frozen\": true}, "            \
    "\"vision\": "                                                                                 \
    "{\"from\": \"v\", \"frozen\": true}, \"start_from\": \"s\", \"optimizer\": {\"lr\": 0.001}"
#define ADAPTER "\"adapter\": {\"rank\": 4},"

/* Stages that train an adapter of another model than a video model are counted with what they have, too. */
static void test_adapters(void **state)
{
    static const char stages[] =
        "{\"name\": \"e\", " EDITOR ", \"editor\": {\"transformer\": {\"preset\": \"1b\", "
        "\"condition_channels\": 16, \"tasks\": 8}}}, {\"name\": \"ea\", " ADAPTER EDITOR
        ", \"editor\": {\"transformer\": {\"preset\": \"1b\", \"condition_channels\": 16, "
        "\"tasks\": "
        "8}}}, {\"name\": \"el\", " ADAPTER EDITOR "}, {\"name\": \"s\", " SOUND
        ", \"audio\": {\"transformer\": {\"preset\": \"13b\", \"layers\": 4}}}, {\"name\": "
        "\"sa\", " ADAPTER SOUND ", \"audio\": {\"transformer\": {\"preset\": \"13b\", "
        "\"layers\": 4}}}, {\"name\": \"sl\", " ADAPTER SOUND "}";
    static const char *const names[2][3] = {{"e", "ea", "el"}, {"s", "sa", "sl"}};
    (void)state;
    for (int k = 0; k < 2; k++) {
        const mgi_recipe_machine m = {.gpus = 1};
        const mgi_stage_plan whole = plan_of(stages, names[k][0], m),
                             adapter = plan_of(stages, names[k][1], m),
                             without = plan_of(stages, names[k][2], m);
        if (!whole.planned || !adapter.planned)
            fail_msg("%s: %s %s", names[k][0], whole.why, adapter.why);
        assert_int_equal(whole.parameters, adapter.parameters);
        const double less =
            adapter.longest.memory[MGI_PLAN_MOMENTS] / whole.longest.memory[MGI_PLAN_MOMENTS];
        if (!(less > 0.0 && less < 0.05))
            fail_msg("%s: %g of %g bytes", names[k][0], adapter.longest.memory[MGI_PLAN_MOMENTS],
                     whole.longest.memory[MGI_PLAN_MOMENTS]);
        assert_true(!without.planned &&
                    strstr(without.why, k ? "its \"audio\" is left out, as its adapter's model"
                                          : "its \"editor\" is left out, as its adapter's model"));
    }
}

static void test_not_planned(void **state)
{
    static const char stages[] =
        "{\"name\": \"plain\", \"kind\": \"autoencoder\", \"steps\": 10, \"batch\": 4, \"frames\": "
        "8, " TAE "}, "
        "{\"name\": \"mean\", \"kind\": \"average\", \"models\": [{\"start_from\": \"a\"}]}";
    static const struct {
        const char *name, *why;
        mgi_recipe_machine m;
    } bad[] = {
        {"plain", "it has no \"plan\" that says how many GPUs; give it one", {.gpus = 0}},
        {"plain", "a batch of 4 cannot be shared by 3 ranks", {.gpus = 3}},
        {"plain", "the mesh must be dp=4", {.gpus = 4, .mesh = {2, 2, 1, 0}}},
        {"mean", "the planner does not know averages", {.gpus = 1}},
    };
    mgi_stage s;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const mgi_stage_plan p = plan_of(stages, bad[i].name, bad[i].m);
        if (p.planned || !strstr(p.why, bad[i].why))
            fail_msg("'%s' does not say '%s'", p.why, bad[i].why);
    }
    assert_int_equal(
        mgi_recipe_stage(
            ctx,
            write_recipe("{\"name\": \"one\", \"kind\": \"autoencoder\", \"steps\": 10, "
                         "\"batch\": 4, \"plan\": {\"gpus\": 4, \"cp\": 2}, " TAE "}"),
            "one", &s),
        MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "share batches and nothing else"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_autoencoders),
                                       cmocka_unit_test(test_codecs),
                                       cmocka_unit_test(test_clip),
                                       cmocka_unit_test(test_recipe),
                                       cmocka_unit_test(test_passes_and_ranks),
                                       cmocka_unit_test(test_adapters),
                                       cmocka_unit_test(test_not_planned)};
    return cmocka_run_group_tests(tests, make_context_and_folder, free_context_and_folder);
}
