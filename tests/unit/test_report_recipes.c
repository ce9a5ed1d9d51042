/* SPDX-License-Identifier: MIT
 * The recipes of the report's size (examples/recipes): read, compared with the numbers that the report prints, built on the
 * meta device, and planned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tensor/device.h"
#include "train/plan_recipe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BILLION = 1000000000 };

/* What the report says of a stage, 0 where it is silent: batch, rate, steps, GPUs and who shares a sample of its Table 3, figure
 * 21 and sections 3.7 and 6.1.4; and what follows from its shape: tables of positions (frames, rows, columns) and the tokens of
 * the longest sample. */
typedef struct printed {
    const char *file, *stage;
    int64_t batch;
    double rate;
    int64_t steps, gpus, cp, tp;
    int64_t tables[3], tokens;
    double least, most; /* billion parameters */
    double samples;     /* seen in all, to three digits */
} printed;

static const printed stages[] = {
    {"video", "images_256", 9216, 1e-4, 210000, 1536, 1, 1, {1, 16, 16}, 256, 29, 31, 1.94e9},
    {"video", "joint_256_a", 1536, 6e-5, 113000, 3072, 1, 4, {32, 32, 32}, 8192, 29, 31, 173.6e6},
    {"video", "joint_256_b", 3072, 6e-5, 72000, 6144, 1, 4, {32, 32, 32}, 8192, 29, 31, 221.2e6},
    {"video", "joint_768_a", 1536, 6e-5, 19600, 6144, 1, 4, {32, 96, 96}, 73728, 29, 31, 30.1e6},
    {"video", "joint_768_b", 1536, 3e-5, 11000, 6144, 1, 4, {32, 96, 96}, 73728, 29, 31, 16.9e6},
    {"video", "joint_768_c", 768, 2e-5, 15900, 6144, 2, 4, {32, 96, 96}, 73728, 29, 31, 12.2e6},
    {"video", "joint_768_d", 512, 1e-5, 28000, 4096, 2, 4, {32, 96, 96}, 73728, 29, 31, 14.6e6},
    {"video", "tune_a", 0, 0, 0, 512, 0, 0, {32, 96, 96}, 73728, 29, 31},
    {"video", "tune_b", 0, 0, 0, 512, 0, 0, {32, 96, 96}, 73728, 29, 31},
    {"video", "tune_c", 0, 0, 0, 512, 0, 0, {32, 96, 96}, 73728, 29, 31},
    {"pictures", "pictures_1024", 0, 0, 0, 0, 0, 0, {32, 96, 96}, 4096, 29, 31},
    {"pictures", "pictures_tuned", 64, 1e-5, 6000, 0, 0, 0, {32, 96, 96}, 4096, 29, 31},
    {"upsampler", "small_images_256", 0, 0, 0, 0, 0, 0, {1, 16, 16}, 256, 7, 7.3},
    {"upsampler", "small_images_1024", 0, 0, 0, 0, 0, 0, {1, 64, 64}, 4096, 7, 7.3},
    {"upsampler", "upsampler", 0, 0, 0, 0, 0, 0, {14, 68, 120}, 114240, 7, 7.3},
    {"audio", "sound_pretrained", 1536, 1e-4, 500000, 384, 0, 0, {1024, 1, 1}, 750, 12, 13.5},
    {"audio", "sound_finetuned", 256, 1e-4, 50000, 64, 0, 0, {1024, 1, 1}, 750, 12, 13.5},
    {"personalize", "identity", 512, 2e-5, 18000, 4096, 2, 4, {32, 96, 96}, 18432, 29, 31, 9.21e6},
    {"personalize", "long", 512, 2e-5, 8000, 4096, 2, 4, {32, 96, 96}, 73728, 29, 31, 4.1e6},
    {"personalize", "natural", 512, 2e-5, 4000, 4096, 2, 4, {32, 96, 96}, 73728, 29, 31, 2.05e6},
    {"personalize", "tune", 0, 0, 0, 0, 0, 0, {32, 96, 96}, 73728, 29, 31},
    {"edit", "single_frames", 0, 0, 30000, 0, 0, 0, {32, 96, 96}, 73728, 29, 31},
    {"edit", "many_frames", 0, 0, 1000, 0, 0, 0, {32, 96, 96}, 73728, 29, 31},
    {"edit", "backtranslation", 0, 0, 0, 0, 0, 0, {32, 96, 96}, 73728, 29, 31},
};
enum { STAGES = sizeof stages / sizeof stages[0] };
/* Those without a transformer. */
static const char *const others[][2] = {{"video", "long_prompt"}, {"video", "image_autoencoder"},
                                        {"video", "tae"},         {"video", "tae_opl"},
                                        {"video", "average"},     {"audio", "audio_codec"}};
enum { OTHERS = sizeof others / sizeof others[0], FILES = 6 };
static const char *const files[FILES] = {"video", "pictures",    "upsampler",
                                         "audio", "personalize", "edit"};

static mgen_context *ctx;

/* Nothing of the models' size is ever there. */
static int make_context(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    (void)state;
    params.threads = 1;
    params.host_memory_max = 1 << 28;
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    return mgi_device_create(ctx, NULL);
}

static int drop_context(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    return 0;
}

#define CHECK(stage, what)                                                                         \
    do {                                                                                           \
        if (!(what))                                                                               \
            fail_msg("%s: not %s", stage, #what);                                                  \
    } while (0)

static const char *path_of(const char *file, char path[512])
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    snprintf(path, 512, "%.300s/examples/recipes/%s.json", source ? source : ".", file);
    return path;
}

static void read_stage(const char *file, const char *stage, mgi_stage *out)
{
    char path[512];
    if (mgi_recipe_stage(ctx, path_of(file, path), stage, out) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
}

static const mgi_vt_config *transformer(const mgi_stage *s)
{
    return s->kind == MGI_STAGE_AUDIO ? &s->audio.transformer : &s->video;
}

/* No stage is forgotten here. */
static void test_all_are_known(void **state)
{
    char names[MGI_RECIPE_STAGES_MAX][64], path[512];
    int64_t count, all = 0;
    (void)state;
    for (int f = 0; f < FILES; f++) {
        assert_int_equal(mgi_recipe_names(ctx, path_of(files[f], path), names, &count), MGEN_OK);
        all += count;
    }
    assert_int_equal(all, STAGES + OTHERS);
    for (int i = 0; i < STAGES + OTHERS; i++) {
        mgi_stage s;
        if (i < STAGES)
            read_stage(stages[i].file, stages[i].stage, &s);
        else
            read_stage(others[i - STAGES][0], others[i - STAGES][1], &s);
    }
}

static void test_printed_numbers(void **state)
{
    (void)state;
    for (int i = 0; i < STAGES; i++) {
        const printed *p = &stages[i];
        mgi_stage s;
        read_stage(p->file, p->stage, &s);
        const mgi_vt_config *c = transformer(&s);
        CHECK(p->stage, s.dtype == MGK_BF16);
        CHECK(p->stage, s.accumulate == 1);
        CHECK(p->stage, !p->batch || s.batch == p->batch);
        CHECK(p->stage, p->rate == 0.0 || s.optimizer.lr == p->rate);
        CHECK(p->stage, !p->steps || s.steps == p->steps);
        CHECK(p->stage, !p->gpus || s.plan.gpus == p->gpus);
        CHECK(p->stage, !p->tp || (s.plan.tp == p->tp && s.plan.cp == p->cp));
        CHECK(p->stage, c->frames_max == p->tables[0]);
        CHECK(p->stage, c->rows_max == p->tables[1]);
        CHECK(p->stage, c->columns_max == p->tables[2]);
        for (int64_t k = 0; p->batch && k < s.bucket_count; k++)
            CHECK(p->stage, s.bucket[k].batch == 0); /* the stage's: the batch of Table 3 */
    }
}

/* What is printed beside batches and rates. */
static void test_printed_details(void **state)
{
    mgi_stage s;
    (void)state;
    read_stage("video", "joint_768_a", &s);
    assert_true(fabs(s.images / (1.0 - s.images) - 0.1) < 1e-3); /* 1 : 10 */
    assert_int_equal(s.bucket_count,
                     30); /* five durations of videos, and images, of five aspects each */
    read_stage("video", "tune_a", &s);
    assert_int_equal(s.optimizer.schedule, MGI_LR_COSINE);
    for (int64_t k = 0; k < s.bucket_count; k++)
        assert_true(s.bucket[k].frames == 256 && (s.bucket[k].fps == 16 || s.bucket[k].fps == 24));
    read_stage("video", "tae", &s);
    assert_true(s.images == 0.25 && s.tae.temporal && s.tae.latent_channels == 16); /* 1 : 3 */
    assert_int_equal(mgi_tae_factor(&s.tae), 8);
    assert_int_equal(mgi_tae_time_factor(&s.tae), 8);
    assert_true(s.tae.tile_frames == 32 && s.tae.tile_overlap == 16);
    read_stage("video", "tae_opl", &s);
    assert_true(fabs(s.opl * 3 * 512 * 512 - 1e5) < 500.0 && s.opl_r == 3.0 && s.steps == 10000);
    assert_true(s.bucket[0].width == 512 && s.bucket[0].height == 512);
    read_stage("video", "long_prompt", &s);
    assert_true(s.learn == MGI_LEARN_POSITIONS_AND_BIASES && s.tokens_max == 256);
    read_stage("pictures", "pictures_tuned", &s);
    assert_true(s.optimizer.schedule == MGI_LR_CONSTANT && s.optimizer.warmup == 2000);
    assert_int_equal(s.clips, 1000);
    assert_true(s.bucket[0].width == 1024 && s.bucket[0].height == 1024);
    read_stage("upsampler", "upsampler", &s);
    assert_true(s.upsampler.frames == 14 && s.upsampler.overlap == 4 && s.upsampler.steps == 20);
    assert_true(s.bucket[0].frames == 14 && s.bucket[0].fps == 24);
    read_stage("audio", "sound_pretrained", &s);
    assert_true(s.optimizer.schedule == MGI_LR_CONSTANT && s.optimizer.warmup == 5000);
    assert_true(s.drop == 0.2 && s.drop_film == 0.1 && s.drop_text == 0.1 &&
                s.nothing_heard == 0.5);
    assert_true(s.optimizer.weight_decay == 0.1 && s.length[0].seconds == 30.0);
    read_stage("audio", "sound_finetuned", &s);
    assert_true(s.optimizer.schedule == MGI_LR_LINEAR && s.optimizer.warmup == 5000);
    assert_true(fabs(s.optimizer.lr * s.optimizer.lr_final - 1e-8) < 1e-15);
    assert_true(s.optimizer.ema == 0.999);
    assert_true(s.length[0].weight * 5 == s.length[1].weight && s.length[1].seconds == 10.0);
    read_stage("audio", "audio_codec", &s);
    assert_int_equal(mgi_audio_codec_hop(&s.sound.codec), 1920); /* 25 latents a second */
    read_stage("personalize", "identity", &s);
    assert_true(s.photos[0] > 0.0 && s.photos[1] == 0.0 && s.vision.frozen);
    assert_int_equal(s.bucket[0].frames, 64);
    read_stage("personalize", "natural", &s);
    assert_true(s.photos[0] == 0.0 && s.photos[1] > 0.0 && !s.vision.frozen);
    assert_true(fabs(s.optimizer.lr * s.vision.lr_scale - 1e-7) < 1e-12);
    read_stage("edit", "single_frames", &s);
    assert_true(fabs(s.images - 5.0 / 6.0) < 1e-3); /* of the steps */
    for (int64_t k = 0; k < s.bucket_count; k++)
        assert_int_equal(s.bucket[k].edits,
                         1 + (s.bucket[k].frames > 1 ? MGI_EDITS_TEXT : MGI_EDITS_PAIRS));
    read_stage("edit", "many_frames", &s);
    assert_true(s.edits[MGI_EDITS_ANIMATED] == 3.0 * s.edits[MGI_EDITS_TEXT]);
    assert_true(s.edits[MGI_EDITS_SEGMENTATION] == s.edits[MGI_EDITS_TEXT]);
}

/* Each stage begins with what an earlier one of its file saves, or with what another file does. */
static void test_chains(void **state)
{
    char names[MGI_RECIPE_STAGES_MAX][64], path[512];
    static const char *const from_outside[] = {"joint_768_d", "personalizer", "editor",
                                               "pretrained"};
    int64_t count;
    (void)state;
    for (int f = 0; f < FILES; f++) {
        assert_int_equal(mgi_recipe_names(ctx, path_of(files[f], path), names, &count), MGEN_OK);
        for (int64_t i = 0; i < count; i++) {
            mgi_stage s, before;
            bool found = false;
            read_stage(files[f], names[i], &s);
            for (int64_t k = 0; k < i && !found; k++) {
                read_stage(files[f], names[k], &before);
                found = !strcmp(before.save_as, s.start_from) || !strcmp(before.name, s.start_from);
            }
            for (size_t k = 0; k < sizeof from_outside / sizeof from_outside[0]; k++)
                found = found || !strcmp(from_outside[k], s.start_from);
            if (s.start_from[0] && !found)
                fail_msg("%s: stage %s begins with %s, which is nowhere", files[f], s.name,
                         s.start_from);
        }
    }
}

/* All stages by name, as far as there is room for them. */
static void test_names(void **state)
{
    char names[MGI_RECIPE_STAGES_MAX][64], path[] = "/tmp/mgi-names-XXXXXX";
    const int most = MGI_RECIPE_STAGES_MAX;
    int64_t count;
    (void)state;
    assert_true(close(mkstemp(path)) == 0);
    for (int n = most - 1; n <= most + 1; n++) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs("{\"format\":\"moviegen-recipe\",\"version\":1,\"stages\":[", f);
        for (int i = 0; i < n; i++) /* only what is asked for is looked at */
            fprintf(f, "%s{\"name\":\"s%d\"}", i ? "," : "", i);
        fputs("]}", f);
        fclose(f);
        const mgen_status status = mgi_recipe_names(ctx, path, names, &count);
        assert_int_equal(status, n > most ? MGEN_E_UNSUPPORTED : MGEN_OK);
        assert_true(status != MGEN_OK || count == n);
        assert_string_equal(names[most - 2], "s62");
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mgi_recipe_names(ctx, path, names, &count), MGEN_E_NOT_FOUND);
}

static mgi_recipe_machine h100s(int gpus)
{
    mgi_recipe_machine m = {.gpus = gpus, .recompute = -1};
    assert_int_equal(mgi_gpu_parse(ctx, "h100-80gb", &m.gpu), MGEN_OK);
    return m;
}

/* Built on the meta device, they have the report's sizes; and on the report's GPUs they fit. */
static void test_sizes_and_plans(void **state)
{
    const mgi_recipe_machine m = h100s(0);
    (void)state;
    for (int i = 0; i < STAGES; i++) {
        const printed *p = &stages[i];
        char path[512];
        mgi_stage_plan plan;
        assert_int_equal(mgi_stage_plan_make(ctx, path_of(p->file, path), p->stage, &m, &plan),
                         MGEN_OK);
        if (!plan.planned)
            fail_msg("%s: %s", p->stage, plan.why);
        const mgi_mesh_plan *l = &plan.longest;
        CHECK(p->stage, (double)plan.parameters > p->least * BILLION);
        CHECK(p->stage, (double)plan.parameters < p->most * BILLION);
        CHECK(p->stage, plan.tokens == p->tokens);
        CHECK(p->stage, l->fits && plan.step_seconds > 0.0 && plan.mfu > 0.0 && plan.mfu < 1.0);
        CHECK(p->stage, !p->tp || (l->mesh.tp == p->tp && l->mesh.cp == p->cp));
        CHECK(p->stage, !p->gpus || (int64_t)l->mesh.dp * l->mesh.cp * l->mesh.tp == p->gpus);
        CHECK(p->stage, l->passes == 1);
        CHECK(p->stage, !p->batch || fabs(plan.global_batch - (double)p->batch) < 1e-6);
        CHECK(p->stage, p->samples == 0.0 || fabs(plan.samples / p->samples - 1.0) < 0.02);
        CHECK(p->stage, plan.samples == plan.steps * plan.global_batch);
        CHECK(p->stage, fabs(plan.days * 86400.0 - plan.steps * plan.step_seconds) < 1.0);
        CHECK(p->stage,
              plan.latent_bytes > 0.0 && plan.latent_bytes < 220e9); /* docs/report_recipes.md */
    }
    for (int i = 0; i < OTHERS; i++) {
        char path[512];
        mgi_stage_plan plan;
        assert_int_equal(
            mgi_stage_plan_make(ctx, path_of(others[i][0], path), others[i][1], &m, &plan),
            MGEN_OK);
        const bool average = !strcmp(others[i][1], "average"),
                   outside = !strcmp(others[i][1], "long_prompt"); /* a model of Hugging Face's */
        assert_true(!plan.planned &&
                    strstr(plan.why, average ? "the planner does not know averages"
                                             : "no \"plan\" that says how many GPUs"));
        const mgi_recipe_machine eight = h100s(8);
        assert_int_equal(
            mgi_stage_plan_make(ctx, path_of(others[i][0], path), others[i][1], &eight, &plan),
            MGEN_OK);
        if (average || outside) {
            assert_true(!plan.planned);
            assert_true(average || strstr(plan.why, "is not in the recipe's folder"));
            continue;
        }
        if (!plan.planned)
            fail_msg("%s: %s", others[i][1], plan.why);
        assert_true(plan.longest.mesh.dp == 8 && plan.longest.memory_bytes > 2e9);
        assert_true(plan.parameters > 1e7 && plan.days > 0.01 && plan.mfu > 0.0 && plan.mfu < 1.0);
    }
}

static mgi_stage_plan plan_of(const char *file, const char *stage, const mgi_recipe_machine *m)
{
    char path[512];
    mgi_stage_plan plan;
    assert_int_equal(mgi_stage_plan_make(ctx, path_of(file, path), stage, m, &plan), MGEN_OK);
    return plan;
}

/* The mean of a stage's buckets is that of their plans, one by one. */
static void test_mean_of_buckets(void **state)
{
    const mgi_recipe_machine m = h100s(0);
    static const struct {
        double share;
        int64_t frames, side;
    } parts[] = {{5.0 / 6.0, 1, 250}, {1.0 / 6.0, 1, 750}};
    mgi_stage s;
    double seconds = 0.0, flops = 0.0;
    (void)state;
    read_stage("audio", "sound_finetuned", &s);
    for (int i = 0; i < 2; i++) {
        mgi_mesh_plans plans;
        const mgi_mesh_request r = {.step = {.config = s.audio.transformer,
                                             .batch = 4,
                                             .latent_frames = parts[i].side,
                                             .latent_height = 1,
                                             .latent_width = 1,
                                             .text_tokens = 512,
                                             .dtype = MGK_BF16},
                                    .gpu = m.gpu,
                                    .gpus = 64,
                                    .mesh = {64, 1, 1, 0},
                                    .global_batch = 256};
        assert_int_equal(mgi_mesh_plan_make(ctx, &r, &plans), MGEN_OK);
        seconds += parts[i].share * plans.list[0].seconds;
        flops += parts[i].share * plans.list[0].model_flops;
        mgi_mesh_plans_free(ctx, &plans);
    }
    const mgi_stage_plan plan = plan_of("audio", "sound_finetuned", &m);
    assert_true(fabs(plan.step_seconds / seconds - 1.0) < 1e-9);
    assert_true(fabs(plan.mfu / (flops / (seconds * m.gpu.tflops * 1e12 * 64)) - 1.0) < 1e-9);
    /* 65,536 clips of 30 and of 10 seconds: latents of 128 channels, and features of 1024 of 16 frames a second */
    const double bytes = 65536.0 * 4.0 * (1000.0 * 128.0 + 40.0 * 16.0 * 1024.0);
    assert_true(fabs(plan.latent_bytes / bytes - 1.0) < 1e-9);
}

/* Buckets of larger batches have as many passes as the others, since "accumulate" is the stage's: of 64 films of 256 frames one
 * for each rank, of 512 images eight. */
static void test_batches_of_buckets(void **state)
{
    const mgi_recipe_machine m = h100s(0);
    static const struct {
        double share;
        int64_t frames, samples;
    } parts[] = {{0.1667 / 3, 32, 1}, {0.1667 / 3, 24, 1}, {0.1667 / 3, 16, 1}, {0.8333, 1, 8}};
    static const struct {
        double share;
        int64_t rows, columns;
    } sides[] = {{0.57, 72, 128}, {0.1, 96, 96}, {0.33, 82, 112}}; /* but for how they lie */
    mgi_stage s;
    double seconds = 0.0;
    (void)state;
    read_stage("edit", "single_frames", &s);
    for (int i = 0; i < 12; i++) {
        mgi_mesh_plans plans;
        const mgi_mesh_request r = {.step = {.config = s.video,
                                             .batch = parts[i / 3].samples,
                                             .latent_frames = parts[i / 3].frames,
                                             .latent_height = sides[i % 3].rows,
                                             .latent_width = sides[i % 3].columns,
                                             .text_tokens = 1024,
                                             .recompute = MGI_RECOMPUTE_SELECTIVE,
                                             .dtype = MGK_BF16},
                                    .gpu = m.gpu,
                                    .gpus = 512,
                                    .mesh = {64, 2, 4, 0},
                                    .any_cp = true};
        assert_int_equal(mgi_mesh_plan_make(ctx, &r, &plans), MGEN_OK);
        assert_int_equal(plans.list[0].global_batch, i / 3 < 3 ? 64 : 512);
        seconds += parts[i / 3].share * sides[i % 3].share * plans.list[0].seconds;
        mgi_mesh_plans_free(ctx, &plans);
    }
    const mgi_stage_plan plan = plan_of("edit", "single_frames", &m);
    assert_true(fabs(plan.step_seconds / seconds - 1.0) < 1e-6);
    assert_true(fabs(plan.global_batch - (0.8333 * 512 + 0.1667 * 64)) < 1e-6);
}

/* On other GPUs the mesh is found, passes are added, and what does not fit says so. */
static void test_other_machines(void **state)
{
    (void)state;
    mgi_recipe_machine m = h100s(64);
    mgi_stage_plan plan = plan_of("video", "joint_768_d", &m);
    assert_true(plan.planned && plan.longest.fits && plan.gpus == 64);
    assert_true(plan.longest.passes * plan.longest.mesh.dp * plan.longest.samples == 512);
    assert_true(plan.longest.passes > 1);
    m = h100s(8);
    plan = plan_of("video", "joint_768_d", &m);
    assert_true(plan.planned && !plan.longest.fits); /* docs/planning.md: 8 do not hold 30B */
    assert_true(plan.longest.memory_bytes > 80e9);
    m = h100s(0);
    m.recompute = MGI_RECOMPUTE_NONE; /* as is asked, though it does not fit */
    plan = plan_of("video", "tune_a", &m);
    assert_true(plan.planned && !plan.longest.fits && plan.longest.recompute == MGI_RECOMPUTE_NONE);
    m = h100s(0);
    m.mesh = (mgi_mesh_shape){.dp = 3, .cp = 1, .tp = 1};
    plan = plan_of("video", "tune_a", &m);
    assert_true(!plan.planned && strstr(plan.why, "has 3 places for 512 GPUs"));
    m = h100s(0);
    char path[512];
    snprintf(path, sizeof path, "%.300s/examples/models/toybox/recipe.json",
             getenv("MOVIEGEN_SOURCE") ? getenv("MOVIEGEN_SOURCE") : ".");
    assert_int_equal(mgi_stage_plan_make(ctx, path, "joint", &m, &plan), MGEN_OK);
    assert_true(!plan.planned && strstr(plan.why, "no \"plan\""));
}

static void put_file(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

/* Parameters of an encoder's matrices and table, by hand. */
static double t5_size(double vocab, double dim, double inner, double ff, double layers)
{
    return vocab * dim + layers * (4.0 * dim * inner + 3.0 * dim * ff);
}

/* Frozen text encoders that are beside the recipe are counted: their memory as the recipe says that they are held, UL2's divided
 * like the model, and their time. In f32 they leave no room for what a stage on 64 GPUs keeps for its gradient. */
static void test_encoders(void **state)
{
    char folder[] = "/tmp/mgi-encoders-XXXXXX", command[1200], path[512];
    static const char *const names[] = {"ul2/config.json", "byt5/config.json",
                                        "long_prompt_clip_text.json"};
    const double ul2 = t5_size(32128, 4096, 4096, 16384, 32) / 64.0,
                 whole = t5_size(384, 1472, 384, 3584, 12) + 49408.0 * 1280.0 +
                         32.0 * 12.0 * 1280.0 * 1280.0;
    const mgi_recipe_machine m = h100s(0);
    mgi_stage_plan plan[3], none = plan_of("pictures", "pictures_tuned", &m);
    (void)state;
    for (int i = 0; i < MGI_ROLES; i++)
        assert_true(none.text[i][0] && !none.counted[i]);
    assert_non_null(mkdtemp(folder));
    path_of("pictures", path);
    snprintf(command, sizeof command,
             "mkdir %s/ul2 %s/byt5 && cp %s %s/2.json && "
             "sed 's/true, \"precision\": \"bf16\"/true/g' %s/2.json > %s/1.json",
             folder, folder, path, folder, folder, folder);
    assert_int_equal(system(command), 0);
    put_file(folder, names[0],
             "{\"model_type\": \"t5\", \"d_model\": 4096, \"d_kv\": 256, \"d_ff\": 16384, "
             "\"num_layers\": 32, \"num_heads\": 16, \"vocab_size\": 32128, "
             "\"feed_forward_proj\": \"gated-silu\"}");
    put_file(folder, names[1],
             "{\"model_type\": \"t5\", \"tokenizer_class\": \"ByT5Tokenizer\", \"d_model\": 1472, "
             "\"d_kv\": 64, \"d_ff\": 3584, \"num_layers\": 12, \"num_heads\": 6, "
             "\"vocab_size\": 384, \"feed_forward_proj\": \"gated-gelu\"}");
    put_file(
        folder, names[2],
        "{\"kind\": \"clip-bpe\", \"config\": {\"vocab\": 49408, \"dim\": 1280, \"layers\": 32, "
        "\"heads\": 20, \"ff_dim\": 5120, \"tokens_max\": 256, \"tokenizer\": {\"vocab\": "
        "\"v.json\", \"merges\": \"m.txt\"}}}");
    for (int i = 1; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%d.json", folder, i);
        assert_int_equal(mgi_stage_plan_make(ctx, path, "pictures_tuned", &m, &plan[i]), MGEN_OK);
        assert_true(plan[i].planned && plan[i].longest.fits && plan[i].counted[0] &&
                    plan[i].counted[1] && plan[i].counted[2]);
        assert_true(plan[i].parameters == none.parameters && plan[i].mfu < none.mfu);
    }
    const double *a = none.longest.memory, *f32 = plan[1].longest.memory,
                 *bf16 = plan[2].longest.memory;
    const double size = ul2 + whole;
    assert_true(fabs((bf16[MGI_PLAN_WEIGHTS] - a[MGI_PLAN_WEIGHTS]) / (2.0 * size) - 1.0) < 0.01);
    assert_true(bf16[MGI_PLAN_COMPUTE] - a[MGI_PLAN_COMPUTE] < 0.01 * size);
    assert_true(fabs((f32[MGI_PLAN_WEIGHTS] - a[MGI_PLAN_WEIGHTS]) / (4.0 * size) - 1.0) < 0.01);
    assert_true(f32[MGI_PLAN_COMPUTE] - a[MGI_PLAN_COMPUTE] > 1.8 * size);
    assert_true(plan[1].longest.recompute == MGI_RECOMPUTE_SELECTIVE &&
                plan[2].longest.recompute == MGI_RECOMPUTE_NONE);
    /* one of another width than the model's stream is no encoder of it */
    snprintf(command, sizeof command, "sed -i 's/4096/2048/' %s/ul2/config.json", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(mgi_stage_plan_make(ctx, path, "pictures_tuned", &m, &plan[0]), MGEN_OK);
    assert_true(!plan[0].planned);
    assert_non_null(
        strstr(plan[0].why, "\"ul2\" is 2048 wide, the model's stream of role UL2 4096"));
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* An image encoder that is beside the recipe is counted, too: frozen by how it is held, with its time where photos are seen at each
 * step; one that learns along by all that learns of it, on every GPU, but for its last layer, on which photos' tokens do not
 * depend. */
static void test_image_encoders(void **state)
{
    char folder[] = "/tmp/mgi-encoders-XXXXXX", command[1200], path[512];
    const double layer = 12.0 * 1280.0 * 1280.0,
                 size = 32.0 * layer + 257.0 * 1280.0 + 588.0 * 1280.0 + 1280.0 * 1024.0;
    const mgi_recipe_machine m = h100s(0);
    static const char *const names[] = {"identity", "natural", "tune", "sound_finetuned"};
    mgi_stage_plan plan;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof command, "mkdir %s/metaclip_h14", folder);
    assert_int_equal(system(command), 0);
    put_file(folder, "metaclip_h14/config.json",
             "{\"model_type\": \"clip_vision_model\", \"hidden_size\": 1280, "
             "\"intermediate_size\": 5120, \"num_hidden_layers\": 32, \"num_attention_heads\": 16, "
             "\"image_size\": 224, \"patch_size\": 14, \"projection_dim\": 1024}");
    for (int i = 0; i < 4; i++) {
        const char *file = i < 3 ? "personalize" : "audio";
        const mgi_stage_plan none = plan_of(file, names[i], &m);
        const double *a = none.longest.memory, *b = plan.longest.memory;
        path_of(file, path);
        snprintf(command, sizeof command, "cp %s %s/r.json", path, folder);
        assert_int_equal(system(command), 0);
        snprintf(path, sizeof path, "%s/r.json", folder);
        assert_int_equal(mgi_stage_plan_make(ctx, path, names[i], &m, &plan), MGEN_OK);
        assert_true(plan.planned && none.planned && none.vision[0] && !none.vision_counted);
        assert_string_equal(plan.vision, i == 2 ? "personalizer_vision" : "metaclip_h14");
        assert_true(plan.vision_counted == (i != 2));
        const double weights = b[MGI_PLAN_WEIGHTS] - a[MGI_PLAN_WEIGHTS],
                     moments = b[MGI_PLAN_MOMENTS] - a[MGI_PLAN_MOMENTS];
        if (i == 2) /* an earlier stage's, which is not there */
            assert_true(weights == 0.0 && plan.step_seconds == none.step_seconds);
        else if (i == 1)
            assert_true(fabs(weights / (4.0 * size) - 1.0) < 0.01 &&
                        fabs(moments / (12.0 * (size - layer)) - 1.0) < 0.01);
        else
            assert_true(fabs(weights / (2.0 * size) - 1.0) < 0.01 && moments == 0.0);
        if (i < 2)
            assert_true(plan.step_seconds > none.step_seconds && plan.mfu < none.mfu);
        if (i == 3) /* its features are kept */
            assert_true(plan.step_seconds == none.step_seconds);
    }
    snprintf(command, sizeof command, "sed -i 's/1280/640/' %s/metaclip_h14/config.json", folder);
    assert_int_equal(system(command), 0);
    path_of("personalize", path);
    snprintf(command, sizeof command, "cp %s %s/r.json", path, folder);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/r.json", folder);
    assert_int_equal(mgi_stage_plan_make(ctx, path, "identity", &m, &plan), MGEN_OK);
    assert_true(!plan.planned &&
                strstr(plan.why, "\"metaclip_h14\" is 640 wide, what the model sees 1280"));
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_are_known),   cmocka_unit_test(test_printed_numbers),
        cmocka_unit_test(test_printed_details), cmocka_unit_test(test_chains),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_sizes_and_plans),
        cmocka_unit_test(test_mean_of_buckets), cmocka_unit_test(test_batches_of_buckets),
        cmocka_unit_test(test_other_machines),  cmocka_unit_test(test_encoders),
        cmocka_unit_test(test_image_encoders),
    };
    return cmocka_run_group_tests_name("report recipes", tests, make_context, drop_context);
}
