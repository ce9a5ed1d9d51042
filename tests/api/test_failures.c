/* SPDX-License-Identifier: MIT
 * Each call on a context that is busy, out of memory, at its limit, without disk or without files: the status
 * that moviegen.h promises, and afterwards the same call works. */
#include "tiny_personalizer.h"

#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* What the calls need, made once for a context. */
typedef struct bench {
    mgen_context *ctx;
    mgen_pipeline pipe;
    mgen_clip *clip;
    mgen_dataset *dataset;
    mgen_trainer *trainer;
    mgen_mesh *mesh;
    mgen_latents x;
    mgen_text text;
    mgen_frames frames;
    uint8_t *pixels;
    float values[4 * 8 * 8 * 4], words[64 * 16];
    char film[300], checkpoint[300];
} bench;

static mgen_status draw(void *user, uint64_t index, mgen_sample *s)
{
    (void)user;
    memset(s->pixels, (int)index, (size_t)s->frames * s->height * s->width * 3);
    return MGEN_OK;
}

static mgen_dataset_params samples(void)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = p.height = 64;
    p.frames = 32;
    p.count = 9;
    p.read = draw;
    return p;
}

static mgen_trainer_params training(const char *stage)
{
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    p.recipe = recipe;
    p.stage = stage;
    p.dir = dir;
    p.seed = 7;
    return p;
}

/* Of one rank. Where it meets itself is another context's memory. */
static mgen_status make_mesh(mgen_context *ctx, mgen_mesh **out)
{
    mgen_context *home = make_context(1);
    mgen_mesh_params p = MGEN_MESH_PARAMS_INIT;
    assert_int_equal(mgen_ranks_create(home, 1, 0, &p.ranks), MGEN_OK);
    mgen_status status = mgen_mesh_create(ctx, &p, out);
    mgen_ranks_destroy(p.ranks);
    mgen_context_destroy(home);
    return status;
}

static void bench_open(bench *b, mgen_context *ctx)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_trainer_params tp = training("tae");
    memset(b, 0, sizeof *b);
    b->ctx = ctx;
    b->pipe = (mgen_pipeline)MGEN_PIPELINE_INIT;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &b->pipe), MGEN_OK);
    info.width = info.height = 64;
    info.frames = 32;
    info.fps_num = 16;
    info.fps_den = 1;
    assert_int_equal(mgen_clip_create(ctx, &info, &b->clip), MGEN_OK);
    assert_int_equal(mgen_dataset_toybox(ctx, 1, &b->dataset), MGEN_OK);
    assert_int_equal(mgen_trainer_create(ctx, &tp, &b->trainer), MGEN_OK);
    assert_int_equal(make_mesh(ctx, &b->mesh), MGEN_OK);
    b->x = (mgen_latents)MGEN_LATENTS_INIT;
    b->x.frames = b->x.channels = 4;
    b->x.height = b->x.width = 8;
    b->x.data = b->values;
    b->text = (mgen_text)MGEN_TEXT_INIT;
    b->text.tokens = 64;
    b->text.width = 16;
    b->text.data = b->words;
    b->pixels = test_malloc(TINY_BYTES);
    memset(b->pixels, 90, TINY_BYTES);
    b->frames = (mgen_frames)MGEN_FRAMES_INIT;
    b->frames.width = b->frames.height = 64;
    b->frames.count = 32;
    b->frames.plane[0] = b->pixels;
    snprintf(b->film, sizeof b->film, "%.200s/film.y4m", dir);
    snprintf(b->checkpoint, sizeof b->checkpoint, "%.200s/at.safetensors", dir);
    assert_int_equal(mgen_clip_write(ctx, b->clip, b->film), MGEN_OK);
}

static void bench_close(bench *b)
{
    mgen_trainer_destroy(b->trainer);
    mgen_mesh_destroy(b->mesh);
    mgen_dataset_release(b->dataset);
    mgen_clip_destroy(b->clip);
    mgen_pipeline_close(&b->pipe);
    test_free(b->pixels);
}

/* -- the calls ------------------------------------------------------------------------------------- */

static mgen_status call_write(bench *b)
{
    return mgen_clip_write(b->ctx, b->clip, b->film);
}

static mgen_status call_write_strip(bench *b)
{
    char path[300];
    snprintf(path, sizeof path, "%.200s/strip.png", dir);
    return mgen_clip_write(b->ctx, b->clip, path);
}

static mgen_status call_read(bench *b)
{
    mgen_clip *clip;
    mgen_status status = mgen_clip_read(b->ctx, b->film, 0, 0, &clip);
    assert_true((status == MGEN_OK) == (clip != NULL));
    mgen_clip_destroy(clip);
    return status;
}

static mgen_status call_create(bench *b)
{
    mgen_clip *clip;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    info.width = info.height = info.frames = 16;
    info.fps_num = info.fps_den = 1;
    mgen_status status = mgen_clip_create(b->ctx, &info, &clip);
    mgen_clip_destroy(clip);
    return status;
}

static mgen_status call_open(bench *b)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_status status = mgen_pipeline_open(b->ctx, dir, &pipe);
    mgen_pipeline_close(&pipe);
    return status;
}

#define OPENS(kind)                                                                                \
    static mgen_status call_open_##kind(bench *b)                                                  \
    {                                                                                              \
        mgen_##kind *h;                                                                            \
        mgen_status status = mgen_##kind##_open(b->ctx, dir, #kind, &h);                           \
        mgen_##kind##_release(h);                                                                  \
        return status;                                                                             \
    }
OPENS(tae)
OPENS(text_encoder)
OPENS(video_model)
OPENS(upsampler)
OPENS(editor)
OPENS(personalizer)

static mgen_generate_params request(void)
{
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    p.prompt = "a red ball";
    p.steps = 1;
    return p;
}

static mgen_status call_estimate(bench *b)
{
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_generate_params p = request();
    return mgen_generate_estimate(b->ctx, &b->pipe, &p, &e);
}

static mgen_status call_generate(bench *b)
{
    mgen_clip *clip;
    mgen_generate_params p = request();
    mgen_status status = generate(b->ctx, &b->pipe, &p, &clip);
    mgen_clip_destroy(clip);
    return status;
}

/* To the end of a job that was started or not. */
static mgen_status ended(mgen_status status, mgen_job **job)
{
    assert_true((status == MGEN_OK) == (*job != NULL));
    if (status == MGEN_OK)
        status = mgen_job_wait(*job, -1);
    mgen_job_destroy(*job);
    return status;
}

static mgen_status call_upsample_estimate(bench *b)
{
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_generate_params p = request();
    return mgen_upsample_estimate(b->ctx, &b->pipe, b->clip, &p, &e);
}

static mgen_status call_upsample(bench *b)
{
    mgen_job *job;
    mgen_generate_params p = request();
    return ended(mgen_upsample_start(b->ctx, &b->pipe, b->clip, &p, &job), &job);
}

static mgen_status call_edit_estimate(bench *b)
{
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_generate_params p = request();
    return mgen_edit_estimate(b->ctx, &b->pipe, b->clip, &p, &e);
}

static mgen_status call_edit(bench *b)
{
    mgen_job *job;
    mgen_generate_params p = request();
    return ended(mgen_edit_start(b->ctx, &b->pipe, b->clip, &p, &job), &job);
}

static mgen_status call_personalize_estimate(bench *b)
{
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_generate_params p = request();
    return mgen_personalize_estimate(b->ctx, &b->pipe, b->clip, &p, &e);
}

static mgen_status call_personalize(bench *b)
{
    mgen_job *job;
    mgen_generate_params p = request();
    return ended(mgen_personalize_start(b->ctx, &b->pipe, b->clip, &p, &job), &job);
}

static mgen_status call_text(bench *b)
{
    b->text.tokens = 64;
    return mgen_text_encode(b->ctx, b->pipe.text[0], "a red ball", &b->text);
}

static mgen_status call_encode(bench *b)
{
    return mgen_tae_encode(b->ctx, b->pipe.tae, &b->frames, &b->x);
}

static mgen_status call_decode(bench *b)
{
    return mgen_tae_decode(b->ctx, b->pipe.tae, &b->x, &b->frames);
}

static mgen_status call_velocity(bench *b)
{
    const mgen_text *text[3] = {&b->text};
    return mgen_video_velocity(b->ctx, b->pipe.video, &b->x, 0.5f, text, &b->x);
}

static mgen_status call_noise(bench *b)
{
    return mgen_noise(b->ctx, 3, &b->x);
}

static mgen_status call_toybox(bench *b)
{
    mgen_dataset *d;
    mgen_status status = mgen_dataset_toybox(b->ctx, 1, &d);
    mgen_dataset_release(d);
    return status;
}

static mgen_status call_dataset(bench *b)
{
    mgen_dataset *d;
    mgen_dataset_params p = samples();
    mgen_status status = mgen_dataset_create(b->ctx, &p, &d);
    mgen_dataset_release(d);
    return status;
}

static mgen_status call_folder(bench *b)
{
    mgen_dataset *d;
    mgen_dataset_params p = samples();
    p.count = 0;
    p.read = NULL;
    mgen_status status = mgen_dataset_open(b->ctx, dir, &p, &d);
    mgen_dataset_release(d);
    return status;
}

static mgen_status call_curate(bench *b)
{
    mgen_report *report;
    mgen_curate_params p = MGEN_CURATE_PARAMS_INIT;
    char list[256];
    snprintf(list, sizeof list, "%s/list.jsonl", dir);
    p.dir = dir;
    p.rules = write_text("rules.json", lenient_rules);
    p.out = list;
    mgen_status status = mgen_curate(b->ctx, &p, &report);
    mgen_report_destroy(report);
    return status;
}

static mgen_status call_sample(bench *b)
{
    mgen_clip *clip;
    char caption[64];
    mgen_status status = mgen_dataset_read(b->ctx, b->dataset, 4, caption, sizeof caption, &clip);
    mgen_clip_destroy(clip);
    return status;
}

static mgen_status call_trainer(bench *b)
{
    mgen_trainer *t;
    mgen_trainer_params p = training("video");
    mgen_status status = mgen_trainer_create(b->ctx, &p, &t);
    mgen_trainer_destroy(t);
    return status;
}

/* A trainer with a step left: steps that failed are taken again. */
static void ready(bench *b)
{
    mgen_trainer_params p = training("tae");
    if (mgen_trainer_position(b->trainer) < mgen_trainer_steps(b->trainer))
        return;
    mgen_trainer_destroy(b->trainer);
    assert_int_equal(mgen_trainer_create(b->ctx, &p, &b->trainer), MGEN_OK);
}

static mgen_status call_step(bench *b)
{
    return mgen_trainer_step(b->trainer, NULL);
}

static mgen_status call_run(bench *b)
{
    return mgen_trainer_run(b->trainer, 1);
}

static mgen_status call_checkpoint(bench *b)
{
    return mgen_trainer_checkpoint(b->trainer, b->checkpoint);
}

static mgen_status call_save(bench *b)
{
    return mgen_trainer_save(b->trainer);
}

static mgen_status call_ranks(bench *b)
{
    mgen_ranks *ranks;
    mgen_status status = mgen_ranks_create(b->ctx, 4, 0, &ranks);
    assert_true((status == MGEN_OK) == (ranks != NULL));
    mgen_ranks_destroy(ranks);
    return status;
}

static mgen_status call_mesh(bench *b)
{
    mgen_mesh *mesh;
    mgen_status status = make_mesh(b->ctx, &mesh);
    assert_true((status == MGEN_OK) == (mesh != NULL));
    mgen_mesh_destroy(mesh);
    return status;
}

static mgen_status call_barrier(bench *b)
{
    return mgen_mesh_barrier(b->mesh);
}

static mgen_status call_average(bench *b)
{
    const char *const dirs[] = {dir, dir};
    char out[64];
    snprintf(out, sizeof out, "%.40s/mean", dir);
    return mgen_pipeline_average(b->ctx, dirs, NULL, 2, out);
}

static mgen_status call_convert(bench *b)
{
    return mgen_pipeline_convert(b->ctx, dir, MGEN_PRECISION_BF16); /* as it was */
}

static mgen_status call_plan(bench *b)
{
    mgen_report *report;
    mgen_plan_params p = MGEN_PLAN_PARAMS_INIT;
    p.preset = "1b";
    p.width = p.height = 256;
    p.frames = 8;
    mgen_status status = mgen_plan_training(b->ctx, &p, &report);
    mgen_report_destroy(report);
    return status;
}

static mgen_status call_plan_mesh(bench *b)
{
    mgen_report *report;
    mgen_plan_params p = MGEN_PLAN_PARAMS_INIT;
    p.preset = "toybox";
    p.width = p.height = 64;
    p.frames = 8;
    p.gpus = 2;
    p.gpu = "h100-80gb,attention=0.5";
    p.mesh = "tp=2";
    p.text = 2;
    p.timeline = 1;
    mgen_status status = mgen_plan_training(b->ctx, &p, &report);
    mgen_report_destroy(report);
    return status;
}

static mgen_status call_evaluate(bench *b)
{
    mgen_report *report;
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    p.protocol = "tae";
    p.n = 1;
    mgen_status status = mgen_evaluate(b->ctx, &b->pipe, &p, &report);
    mgen_report_destroy(report);
    return status;
}

enum {
    BUSY = 1,   /* not while a job runs */
    MEMORY = 2, /* needs memory that counts */
    HEAP = 4,   /* needs the allocator, but nothing that counts against the limit */
    FILES = 8,  /* opens files */
    DISK = 16,  /* writes to the disk */
};

static const struct {
    const char *name;
    mgen_status (*call)(bench *b);
    int needs;
} calls[] = {
    {"mgen_clip_write", call_write, BUSY | FILES | DISK},
    {"mgen_clip_write, .png", call_write_strip, BUSY | MEMORY | FILES | DISK},
    {"mgen_clip_read", call_read, BUSY | MEMORY | FILES},
    {"mgen_clip_create", call_create, MEMORY},
    {"mgen_pipeline_open", call_open, BUSY | MEMORY | FILES},
    {"mgen_tae_open", call_open_tae, BUSY | MEMORY | FILES},
    {"mgen_text_encoder_open", call_open_text_encoder, BUSY | MEMORY | FILES},
    {"mgen_video_model_open", call_open_video_model, BUSY | MEMORY | FILES},
    {"mgen_upsampler_open", call_open_upsampler, BUSY | MEMORY | FILES},
    {"mgen_editor_open", call_open_editor, BUSY | MEMORY | FILES},
    {"mgen_personalizer_open", call_open_personalizer, BUSY | MEMORY | FILES},
    {"mgen_generate_estimate", call_estimate, BUSY | HEAP},
    {"mgen_generate_start", call_generate, BUSY | MEMORY},
    {"mgen_upsample_estimate", call_upsample_estimate, BUSY | HEAP},
    {"mgen_upsample_start", call_upsample, BUSY | MEMORY},
    {"mgen_edit_estimate", call_edit_estimate, BUSY | HEAP},
    {"mgen_edit_start", call_edit, BUSY | MEMORY},
    {"mgen_personalize_estimate", call_personalize_estimate, BUSY | HEAP},
    {"mgen_personalize_start", call_personalize, BUSY | MEMORY},
    {"mgen_text_encode", call_text, BUSY | MEMORY},
    {"mgen_tae_encode", call_encode, BUSY | MEMORY},
    {"mgen_tae_decode", call_decode, BUSY | MEMORY},
    {"mgen_video_velocity", call_velocity, BUSY | MEMORY},
    {"mgen_noise", call_noise, BUSY | MEMORY},
    {"mgen_dataset_toybox", call_toybox, MEMORY},
    {"mgen_dataset_create", call_dataset, MEMORY},
    {"mgen_dataset_open", call_folder, BUSY | MEMORY | FILES},
    {"mgen_curate", call_curate, BUSY | MEMORY | FILES | DISK},
    {"mgen_dataset_read", call_sample, BUSY | MEMORY},
    {"mgen_trainer_create", call_trainer, BUSY | MEMORY | FILES},
    {"mgen_trainer_step", call_step, BUSY | MEMORY},
    {"mgen_trainer_run", call_run, BUSY | MEMORY},
    {"mgen_trainer_checkpoint", call_checkpoint, BUSY | MEMORY | FILES | DISK},
    {"mgen_trainer_save", call_save, BUSY | MEMORY | FILES | DISK},
    {"mgen_ranks_create", call_ranks, BUSY | MEMORY},
    {"mgen_mesh_create", call_mesh, BUSY | MEMORY},
    {"mgen_mesh_barrier", call_barrier, BUSY},
    {"mgen_pipeline_average", call_average, BUSY | MEMORY | FILES | DISK},
    {"mgen_pipeline_convert", call_convert, BUSY | MEMORY | FILES | DISK},
    {"mgen_plan_training", call_plan, BUSY | MEMORY},
    {"mgen_plan_training", call_plan_mesh, BUSY | MEMORY},
    {"mgen_evaluate", call_evaluate, BUSY | MEMORY},
};
enum { CALLS = sizeof calls / sizeof *calls };

static void expect(bench *b, int i, mgen_status status, const char *when)
{
    if (status != MGEN_E_STATE && status != MGEN_E_LIMIT)
        ready(b);
    mgen_status got = calls[i].call(b);
    if (got != status)
        fail_msg("%s %s: %s (%s), not %s", calls[i].name, when, mgen_status_name(got),
                 mgen_last_error(b->ctx), mgen_status_name(status));
    if (status != MGEN_OK && mgen_last_status(b->ctx) != status)
        fail_msg("%s %s: no message", calls[i].name, when);
}

static void test_busy(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, make_context(1));
    for (int i = 0; i < CALLS; i++) {
        mgen_generate_params p = request();
        mgen_job *job = NULL;
        if (!(calls[i].needs & BUSY))
            continue;
        ready(&b);
        p.steps = 1000;
        assert_int_equal(mgen_generate_start(b.ctx, &b.pipe, &p, &job), MGEN_OK);
        expect(&b, i, MGEN_E_STATE, "while a job runs");
        mgen_job_destroy(job);
        expect(&b, i, MGEN_OK, "after it");
    }
    bench_close(&b);
    mgen_context_destroy(b.ctx);
}

/* Clips that take all but a few bytes of a limited context. */
typedef struct hoard {
    mgen_clip *large, *small;
} hoard;

static mgen_clip *take(mgen_context *ctx, uint64_t bytes, uint32_t height)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *clip = NULL;
    info.width = (uint32_t)(bytes / 3 / height);
    info.height = height;
    info.frames = 1;
    info.fps_num = info.fps_den = 1;
    assert_int_equal(mgen_clip_create(ctx, &info, &clip), MGEN_OK);
    return clip;
}

static hoard take_all(mgen_context *ctx, uint64_t limit)
{
    enum { SOME = 9000 }; /* bytes for the second one */
    hoard h;
    uint64_t now, then;
    mgen_context_trim(ctx);
    mgen_context_memory(ctx, &now, NULL);
    h.small = take(ctx, 3, 1);
    mgen_context_memory(ctx, &then, NULL);
    mgen_clip_destroy(h.small);
    uint64_t each = then - now - 3;
    h.large = take(ctx, limit - now - each - SOME, 256);
    mgen_context_memory(ctx, &now, NULL);
    h.small = take(ctx, limit - now - each, 1);
    return h;
}

static void give_back(hoard *h)
{
    mgen_clip_destroy(h->large);
    mgen_clip_destroy(h->small);
}

static void test_limit(void **state)
{
    (void)state;
    enum { LIMIT = 48 << 20 };
    bench b;
    mgen_context *ctx;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.threads = 1;
    p.host_memory_max = LIMIT;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    bench_open(&b, ctx);
    assert_int_equal(call_text(&b), MGEN_OK); /* which the velocity takes */
    for (int i = 0; i < CALLS; i++) {
        if (!(calls[i].needs & MEMORY))
            continue;
        ready(&b);
        hoard rest = take_all(ctx, LIMIT);
        expect(&b, i, MGEN_E_LIMIT, "at the limit");
        give_back(&rest);
        expect(&b, i, MGEN_OK, "below it");
    }
    bench_close(&b);
    mgen_context_destroy(ctx);
    p.host_memory_max = 1000;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_E_LIMIT);
}

/* Whether call i did with allocation k failing, and all after it if that is lasting; `over`: it makes fewer. */
static bool fails(bench *b, counter *c, int i, int64_t k, bool lasting, bool *over)
{
    ready(b);
    mgen_context_trim(b->ctx);
    set_failure(c, k, lasting);
    mgen_status status = calls[i].call(b);
    *over = atomic_load(&c->made) < k;
    const bool refused = atomic_load(&c->refused) > 0;
    set_failure(c, 0, false);
    if (status != MGEN_E_NO_MEMORY && (refused || status != MGEN_OK))
        fail_msg("%s, allocation %d: %s", calls[i].name, (int)k, mgen_last_error(b->ctx));
    return status != MGEN_OK;
}

/* Every allocation of every call fails: the first ones each, with all after it and alone, and then a sample. */
static void test_memory(void **state)
{
    enum { DENSE = 20 };
    (void)state;
    bench b;
    counter c = {0};
    mgen_context *ctx = NULL;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.threads = 1;
    p.allocator = (mgen_allocator){count_alloc, count_free, &c};
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    bench_open(&b, ctx);
    for (int i = 0; i < CALLS; i++) {
        int failed = 0;
        bool over = false;
        for (int64_t k = 1; !over; k += k < DENSE ? 1 : k)
            for (int alone = 0; alone <= (k < DENSE) && !over; alone++)
                failed += fails(&b, &c, i, k, !alone, &over);
        if (!failed && calls[i].needs & (MEMORY | HEAP))
            fail_msg("%s never failed", calls[i].name);
        expect(&b, i, MGEN_OK, "with memory");
    }
    bench_close(&b);
    mgen_context_destroy(ctx);
    assert_int_equal(atomic_load(&c.blocks), 0);
    set_failure(&c, 1, true);
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_E_NO_MEMORY);
}

static void set_limit(int what, rlim_t now, rlim_t max)
{
    struct rlimit r = {now, max};
    assert_int_equal(setrlimit((__rlimit_resource_t)what, &r), 0);
}

static void test_files(void **state)
{
    (void)state;
    bench b;
    struct rlimit files, sizes;
    bench_open(&b, make_context(1));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &sizes), 0);
    signal(SIGXFSZ, SIG_IGN); /* as a host that limits its files must */
    for (int i = 0; i < CALLS; i++) {
        ready(&b);
        if (calls[i].needs & FILES) {
            set_limit(RLIMIT_NOFILE, 0, files.rlim_max);
            mgen_status status = calls[i].call(&b);
            set_limit(RLIMIT_NOFILE, files.rlim_cur, files.rlim_max);
            if (status != MGEN_E_IO)
                fail_msg("%s without files: %s", calls[i].name, mgen_last_error(b.ctx));
        }
        if (calls[i].needs & DISK) {
            set_limit(RLIMIT_FSIZE, 64, sizes.rlim_max);
            mgen_status status = calls[i].call(&b);
            set_limit(RLIMIT_FSIZE, sizes.rlim_cur, sizes.rlim_max);
            if (status != MGEN_E_NO_SPACE)
                fail_msg("%s without space: %s", calls[i].name, mgen_last_error(b.ctx));
        }
        expect(&b, i, MGEN_OK, "afterwards");
    }
    bench_close(&b);
    mgen_context_destroy(b.ctx);
}

/* No FFmpeg plug-in where the host says it is. */
static void test_no_plugin(void **state)
{
    (void)state;
    mgen_context *ctx = NULL;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    mgen_clip *clip = NULL;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    char path[300];
    p.plugin_dir = dir;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    info.width = info.height = info.frames = 16;
    info.fps_num = info.fps_den = 1;
    assert_int_equal(mgen_clip_create(ctx, &info, &clip), MGEN_OK);
    snprintf(path, sizeof path, "%.200s/film.mp4", dir);
    assert_int_equal(mgen_clip_write(ctx, clip, path), MGEN_E_UNSUPPORTED);
    mgen_clip_destroy(clip);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(mgen_clip_read(ctx, path, 0, 0, &clip), MGEN_E_UNSUPPORTED);
    assert_int_equal(unlink(path), 0);
    mgen_context_destroy(ctx);
}

/* -- how a job ends --------------------------------------------------------------------------------- */

static hoard hoarded;
static mgen_context *hoarder;

/* A host that breaks the rule, and uses up what the estimate counted on. */
static int32_t use_up(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    (void)total;
    if (done == 1)
        hoarded = take_all(hoarder, 24 << 20);
    return 0;
}

static mgen_status polled(mgen_context *ctx, const mgen_pipeline *pipe,
                          const mgen_generate_params *p)
{
    mgen_job *job = NULL;
    mgen_status status;
    assert_int_equal(mgen_generate_start(ctx, pipe, p, &job), MGEN_OK);
    while ((status = mgen_job_poll(job)) == MGEN_E_AGAIN)
        usleep(500);
    mgen_job_destroy(job);
    return status;
}

static void test_job_limit(void **state)
{
    (void)state;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params p = request();
    mgen_clip *clip;
    cp.threads = 1;
    cp.host_memory_max = 24 << 20;
    assert_int_equal(mgen_context_create(&cp, &hoarder), MGEN_OK);
    assert_int_equal(mgen_pipeline_open(hoarder, dir, &pipe), MGEN_OK);
    p.on_progress = use_up;
    assert_int_equal(generate(hoarder, &pipe, &p, &clip), MGEN_E_LIMIT);
    give_back(&hoarded);
    assert_int_equal(polled(hoarder, &pipe, &p), MGEN_E_LIMIT);
    give_back(&hoarded);
    p.on_progress = NULL;
    assert_int_equal(generate(hoarder, &pipe, &p, &clip), MGEN_OK);
    mgen_clip_destroy(clip);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(hoarder);
}

/* Weights that are not numbers: told by the job, by wait and by poll, and by the evaluation. */
static void test_numeric(void **state)
{
    (void)state;
    char command[700], copy[64], path[300];
    mgen_context *ctx = make_context(1);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params p = request();
    mgen_eval_params ep = MGEN_EVAL_PARAMS_INIT;
    mgen_report *report;
    mgen_job *job;
    snprintf(copy, sizeof copy, "%.40s/nan", dir);
    snprintf(command, sizeof command, "mkdir '%s' && cp '%s'/*.json '%s'/*.safetensors '%s'", copy,
             dir, dir, copy);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%.60s/video_model.safetensors", copy);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -64, SEEK_END), 0);
    for (int i = 0; i < 64; i++)
        fputc(0xFF, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(mgen_pipeline_open(ctx, copy, &pipe), MGEN_OK);
    assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &job), MGEN_OK);
    assert_int_equal(mgen_job_wait(job, -1), MGEN_E_NUMERIC);
    assert_int_equal(mgen_last_status(ctx), MGEN_E_NUMERIC);
    mgen_job_destroy(job);
    assert_int_equal(polled(ctx, &pipe, &p), MGEN_E_NUMERIC);
    ep.protocol = "alignment";
    ep.n = ep.steps = 1;
    assert_int_equal(mgen_evaluate(ctx, &pipe, &ep, &report), MGEN_E_NUMERIC);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_busy),      cmocka_unit_test(test_limit),
        cmocka_unit_test(test_memory),    cmocka_unit_test(test_files),
        cmocka_unit_test(test_no_plugin), cmocka_unit_test(test_job_limit),
        cmocka_unit_test(test_numeric),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown);
}
