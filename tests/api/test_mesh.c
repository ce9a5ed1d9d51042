/* SPDX-License-Identifier: MIT
 * Ranks as a host makes them, here as threads: they meet, train as one does, stop together, and learn of each
 * other's failures. */
#include "../unit/reported.h"
#include "tiny_audio.h"
#include "meeting.h"

#include <math.h>

enum { RANKS_MAX = 4, STEPS_MAX = 8, PATIENCE_MS = 20000 };

/* One rank, and what it saw. */
typedef struct rank {
    seat at;
    const char *axes, *recipe, *stage, *resume, *checkpoint, *folder;
    uint64_t seed, stop_at; /* stop_at: the step after which this rank wants to stop; 0: none */
    bool by_call, save, empty_handed;
    int64_t fail_at;      /* allocation of the first step that fails; 0: none */
    int64_t meet_fail_at; /* the same of the meeting */
    mgen_context *ctx;
    mgen_mesh *mesh;
    mgen_trainer *trainer;
    mgen_status status;
    char error[512];
    uint64_t steps;
    double loss[STEPS_MAX], flops;
    counter memory;
} rank;

static int32_t on_step(void *user, uint64_t step, const mgen_report *report)
{
    rank *r = user;
    if (step < STEPS_MAX)
        r->loss[step] = mgen_report_value(report, 1);
    r->flops = reported_or(report, "flops", r->flops);
    r->steps = step + 1;
    if (step + 1 != r->stop_at)
        return 0;
    if (r->by_call)
        mgen_trainer_stop(r->trainer);
    return !r->by_call;
}

static mgen_status begin(rank *r)
{
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    set_failure(&r->memory, r->meet_fail_at, true);
    mgen_status status = take_seat(r->ctx, &r->at, r->axes, &r->mesh);
    set_failure(&r->memory, 0, false);
    if (status != MGEN_OK || !r->stage)
        return status;
    if (r->empty_handed)
        return mgen_mesh_barrier(r->mesh);
    p.recipe = r->recipe ? r->recipe : recipe;
    p.stage = r->stage;
    p.dir = r->folder ? r->folder : dir;
    p.seed = r->seed ? r->seed : 7;
    p.resume = r->resume;
    p.on_step = on_step;
    p.user = r;
    p.mesh = r->mesh;
    return mgen_trainer_create(r->ctx, &p, &r->trainer);
}

static mgen_status work(rank *r)
{
    mgen_status status = begin(r);
    if (status != MGEN_OK || !r->trainer)
        return status;
    set_failure(&r->memory, r->fail_at, true);
    status = mgen_trainer_run(r->trainer, 0);
    set_failure(&r->memory, 0, false);
    snprintf(r->error, sizeof r->error, "%s", mgen_last_error(r->ctx));
    mgen_status saved = MGEN_OK;
    if (status == MGEN_OK || status == MGEN_E_CANCELLED) {
        if (r->checkpoint)
            saved = mgen_trainer_checkpoint(r->trainer, r->checkpoint);
        if (saved == MGEN_OK && r->save)
            saved = mgen_trainer_save(r->trainer);
    }
    return saved == MGEN_OK ? status : saved;
}

static void *rank_main(void *arg)
{
    rank *r = arg;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.threads = 1;
    p.allocator = (mgen_allocator){count_alloc, count_free, &r->memory};
    p.cache_dir = dir;
    r->status = mgen_context_create(&p, &r->ctx);
    if (r->status == MGEN_OK)
        r->status = work(r);
    if (r->status != MGEN_E_CANCELLED)
        snprintf(r->error, sizeof r->error, "%s",
                 r->status == MGEN_OK ? "" : mgen_last_error(r->ctx));
    mgen_trainer_destroy(r->trainer);
    mgen_mesh_destroy(r->mesh);
    mgen_context_destroy(r->ctx);
    return NULL;
}

/* All ranks at once, to their ends; nothing of them is left. */
static void run_for(rank *ranks, uint32_t count, int64_t patience_ms)
{
    MEET(rank_main, ranks, count, patience_ms);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(ranks[i].memory.blocks, 0);
}

static void run(rank *ranks, uint32_t count)
{
    run_for(ranks, count, PATIENCE_MS);
}

static void assert_says(const rank *r, mgen_status status, const char *part)
{
    if (r->status != status || !strstr(r->error, part))
        fail_msg("rank %u ends with %s: \"%s\"; expected %s: \"...%s...\"", r->at.index,
                 mgen_status_name(r->status), r->error, mgen_status_name(status), part);
}

/* -- meeting ----------------------------------------------------------------------------------------- */

static void test_one_rank(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_ranks *ranks = NULL;
    mgen_mesh *mesh = NULL, *again = NULL;
    mgen_mesh_params p = MGEN_MESH_PARAMS_INIT;
    assert_int_equal(mgen_ranks_create(ctx, 0, 0, &ranks), MGEN_E_INVALID);
    assert_int_equal(mgen_ranks_create(ctx, UINT32_MAX, 0, &ranks), MGEN_E_INVALID);
    assert_null(ranks);
    assert_int_equal(mgen_ranks_create(ctx, 1, 0, &ranks), MGEN_OK);
    p.ranks = ranks;
    p.reserved0 = 1;
    assert_int_equal(mgen_mesh_create(ctx, &p, &mesh), MGEN_E_INVALID);
    p.reserved0 = 0;
    p.rank = 1;
    assert_int_equal(mgen_mesh_create(ctx, &p, &mesh), MGEN_E_INVALID);
    p.rank = 0;
    assert_int_equal(mgen_mesh_create(ctx, &p, &mesh), MGEN_OK);
    assert_int_equal(mgen_mesh_create(ctx, &p, &again), MGEN_E_STATE);
    assert_null(again);
    mgen_ranks_destroy(ranks); /* the mesh keeps what it needs */
    assert_int_equal(mgen_mesh_rank(mesh), 0);
    assert_int_equal(mgen_mesh_size(mesh), 1);
    assert_int_equal(mgen_mesh_barrier(mesh), MGEN_OK);
    mgen_mesh_abort(mesh);
    assert_int_equal(mgen_mesh_barrier(mesh), MGEN_E_PEER_LOST);
    mgen_mesh_destroy(mesh);
    mgen_mesh_destroy(NULL);
    mgen_mesh_abort(NULL);
    mgen_ranks_destroy(NULL);
    assert_int_equal(mgen_mesh_rank(NULL), 0);
    assert_int_equal(mgen_mesh_size(NULL), 1);
    mgen_context_destroy(ctx);
}

/* Without the plug-in there are no processes. */
static void test_no_plugin(void **state)
{
    (void)state;
    mgen_context *ctx = NULL;
    mgen_mesh *mesh = NULL;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_mesh_params p = MGEN_MESH_PARAMS_INIT;
    cp.threads = 1;
    cp.plugin_dir = "/nonexistent";
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    assert_int_equal(mgen_mesh_create(ctx, &p, &mesh), MGEN_E_UNSUPPORTED);
    assert_non_null(strstr(mgen_last_error(ctx), "MPI"));
    mgen_context_destroy(ctx);
}

static void test_axes(void **state)
{
    (void)state;
    rank wrong[2] = {{.axes = "dp=2,pp=2"}, {.axes = "dp=2"}};
    run(wrong, 2);
    assert_says(&wrong[0], MGEN_E_INVALID, "dp=2,pp=2");
    assert_says(&wrong[1], MGEN_E_INVALID, "rank 0: ");
    rank many[2] = {{.axes = "dp=3"}, {.axes = "dp=3"}};
    run(many, 2);
    for (int i = 0; i < 2; i++)
        assert_says(&many[i], MGEN_E_INVALID, "as many places as there are ranks, 2");
    rank apart[2] = {{.axes = "dp=2"}, {.axes = "tp=2"}};
    run(apart, 2);
    for (int i = 0; i < 2; i++) {
        assert_says(&apart[i], MGEN_E_DESYNC, "dp=2,cp=1,tp=1");
        assert_non_null(strstr(apart[i].error, "dp=1,cp=1,tp=2"));
    }
}

typedef struct late {
    mgen_ranks *ranks;
    mgen_status made, waited;
    char error[512];
} late;

static void *late_main(void *arg)
{
    late *l = arg;
    mgen_context *ctx = NULL;
    mgen_mesh *mesh = NULL;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_mesh_params p = MGEN_MESH_PARAMS_INIT;
    cp.threads = 1;
    p.ranks = l->ranks;
    p.rank = 1;
    l->made = mgen_context_create(&cp, &ctx);
    if (l->made == MGEN_OK)
        l->made = mgen_mesh_create(ctx, &p, &mesh);
    l->waited = mgen_mesh_barrier(mesh);
    snprintf(l->error, sizeof l->error, "%s", mgen_last_error(ctx));
    mgen_mesh_destroy(mesh);
    mgen_context_destroy(ctx);
    return NULL;
}

/* A rank that does not come, to the meeting or later, is named. */
static void test_late(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_ranks *ranks;
    mgen_mesh *mesh = NULL;
    mgen_mesh_params p = MGEN_MESH_PARAMS_INIT;
    assert_int_equal(mgen_ranks_create(ctx, 2, 50, &ranks), MGEN_OK);
    p.ranks = ranks;
    assert_int_equal(mgen_mesh_create(ctx, &p, &mesh), MGEN_E_TIMEOUT);
    assert_non_null(strstr(mgen_last_error(ctx), "rank(s) 1"));
    assert_null(mesh);
    mgen_ranks_destroy(ranks);
    pthread_t thread;
    late l = {0};
    assert_int_equal(mgen_ranks_create(ctx, 2, 500, &ranks), MGEN_OK);
    p.ranks = l.ranks = ranks;
    assert_int_equal(pthread_create(&thread, NULL, late_main, &l), 0);
    assert_int_equal(mgen_mesh_create(ctx, &p, &mesh), MGEN_OK);
    pthread_join(thread, NULL);
    assert_int_equal(l.made, MGEN_OK);
    assert_int_equal(l.waited, MGEN_E_TIMEOUT);
    assert_non_null(strstr(l.error, "rank(s) 0 did not arrive"));
    assert_int_equal(mgen_mesh_barrier(mesh), MGEN_E_PEER_LOST);
    mgen_mesh_destroy(mesh);
    mgen_ranks_destroy(ranks);
    mgen_context_destroy(ctx);
}

/* -- training ---------------------------------------------------------------------------------------- */

/* The curve of one rank, on every mesh; alike on all ranks. */
static void compare_curves(rank of, uint64_t steps)
{
    static const char *const axes[] = {"dp=2,tp=2", "cp=2", NULL};
    static const uint32_t count[] = {4, 2, 2};
    rank one = of;
    run(&one, 1);
    assert_says(&one, MGEN_OK, "");
    assert_int_equal(one.steps, steps);
    for (size_t k = 0; k < sizeof axes / sizeof *axes; k++) {
        rank many[RANKS_MAX] = {{{0}}};
        for (uint32_t i = 0; i < count[k]; i++) {
            many[i] = of;
            many[i].axes = axes[k];
        }
        run(many, count[k]);
        for (uint32_t i = 0; i < count[k]; i++) {
            assert_says(&many[i], MGEN_OK, "");
            /* of all ranks together; a share of the prompts may be padded to less */
            assert_true(many[i].flops == many[0].flops && many[i].flops > 0.8 * one.flops);
            for (uint64_t s = 0; s < one.steps; s++) {
                assert_true(many[i].loss[s] == many[0].loss[s]);
                assert_true(fabs(many[i].loss[s] - one.loss[s]) <= 1e-4 * one.loss[s]);
            }
        }
    }
}

static void test_curve(void **state)
{
    (void)state;
    compare_curves((rank){.stage = "video"}, 3);
}

/* Batches of two: four ranks cannot take a part of one each. */
static void test_audio(void **state)
{
    char path[300];
    (void)state;
    snprintf(path, sizeof path, "%s/audio_recipe.json", dir);
    compare_curves((rank){.recipe = path, .stage = "audio"}, 2);
    rank uneven[RANKS_MAX];
    for (int i = 0; i < RANKS_MAX; i++)
        uneven[i] = (rank){.recipe = path, .stage = "uneven", .axes = "cp=2,tp=2"};
    run(uneven, RANKS_MAX);
    for (int i = 0; i < RANKS_MAX; i++)
        assert_says(&uneven[i], MGEN_E_INVALID, "10 tokens cannot be split over cp=2 x tp=2");
}

/* Whichever rank wants to stop, and however, all do after the same step; the rest is another run's. */
static void test_stop(void **state)
{
    (void)state;
    char path[300];
    snprintf(path, sizeof path, "%s/ranks", dir);
    rank one = {.stage = "video"};
    run(&one, 1);
    for (int by_call = 0; by_call < 2; by_call++) {
        rank many[2] = {{.stage = "video", .checkpoint = path},
                        {.stage = "video", .checkpoint = path, .stop_at = 1, .by_call = by_call}};
        run(many, 2);
        for (int i = 0; i < 2; i++) {
            assert_says(&many[i], MGEN_E_CANCELLED, "after step 1 of 3");
            assert_int_equal(many[i].steps, 1);
        }
    }
    rank rest[2] = {{.stage = "video", .resume = path, .save = true},
                    {.stage = "video", .resume = path, .save = true}};
    run(rest, 2);
    for (int i = 0; i < 2; i++) {
        assert_says(&rest[i], MGEN_OK, "");
        assert_true(rest[i].loss[2] > 0.0 && rest[i].loss[0] == 0.0);
        assert_true(fabs(rest[i].loss[2] - one.loss[2]) <= 1e-4 * one.loss[2]);
    }
}

/* -- films ------------------------------------------------------------------------------------------- */

typedef struct film {
    seat at;
    const char *axes;
    uint32_t precision;
    uint64_t seed;
    int32_t cancel_at; /* the step after which this rank wants no more */
    mgen_status opened, started, ended, taken;
    mgen_status measured, velocity, elsewhere; /* what is refused */
    uint64_t hash;
    char error[512];
    uint8_t *pixels; /* of the clip, or NULL */
} film;

static int32_t film_progress(void *user, uint32_t done, uint32_t total)
{
    film *f = user;
    (void)total;
    return (int32_t)done == f->cancel_at;
}

static void keep(film *f, mgen_job *job)
{
    mgen_clip *clip;
    f->taken = mgen_job_take_clip(job, &clip);
    if (f->taken == MGEN_OK && (f->pixels = malloc(TINY_BYTES)))
        memcpy(f->pixels, mgen_clip_pixels(clip), TINY_BYTES);
    mgen_clip_destroy(clip);
}

static void make_film(film *f, mgen_context *ctx, mgen_pipeline *pipe)
{
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    mgen_job *job = NULL;
    p.prompt = "a red ball rolls left";
    p.steps = 3;
    p.seed = f->seed;
    p.guidance = 3.0f;
    p.on_progress = film_progress;
    p.user = f;
    f->started = mgen_generate_start(ctx, pipe, &p, &job);
    if (f->started == MGEN_OK)
        f->ended = mgen_job_wait(job, -1);
    if (job && f->ended == MGEN_OK)
        keep(f, job);
    snprintf(f->error, sizeof f->error, "%s", mgen_last_error(ctx));
    mgen_job_destroy(job);
}

/* What a pipeline of several ranks is not for. */
static void misuse(film *f, mgen_context *ctx, const mgen_pipeline *pipe)
{
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    mgen_generate_params request = MGEN_GENERATE_PARAMS_INIT;
    mgen_report *report;
    mgen_latents x = MGEN_LATENTS_INIT;
    mgen_context *other = NULL;
    mgen_job *job;
    static float values[4][4 * 8 * 8 * 4];
    const mgen_text *text[3] = {NULL, NULL, NULL};
    x.frames = x.channels = 4;
    x.height = x.width = 8;
    x.data = values[f->at.index];
    p.protocol = "tae";
    request.prompt = "a ball";
    f->measured = mgen_evaluate(ctx, pipe, &p, &report);
    f->velocity = mgen_video_velocity(ctx, pipe->video, &x, 0.5f, text, &x);
    if (mgen_context_create(NULL, &other) == MGEN_OK)
        f->elsewhere = mgen_generate_start(other, pipe, &request, &job);
    mgen_context_destroy(other);
}

static void *film_main(void *arg)
{
    film *f = arg;
    mgen_context *ctx = NULL;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    cp.threads = 1;
    pipe.precision = f->precision;
    f->opened = mgen_context_create(&cp, &ctx);
    if (f->opened == MGEN_OK)
        f->opened = take_seat(ctx, &f->at, f->axes, &pipe.mesh);
    if (f->opened == MGEN_OK)
        f->opened = mgen_pipeline_open(ctx, dir, &pipe);
    f->hash = mgen_pipeline_hash(&pipe);
    if (f->opened == MGEN_OK && f->at.ranks)
        misuse(f, ctx, &pipe);
    if (f->opened == MGEN_OK)
        make_film(f, ctx, &pipe);
    mgen_pipeline_close(&pipe);
    mgen_mesh_destroy(pipe.mesh);
    mgen_context_destroy(ctx);
    return NULL;
}

static void run_films(film *films, uint32_t count)
{
    MEET(film_main, films, count, PATIENCE_MS);
}

/* Rank 0 gets the film of one rank, to rounding. */
static void test_film(void **state)
{
    static const char *const axes[] = {"dp=2", "tp=2"};
    (void)state;
    film one = {.seed = 3};
    run_films(&one, 1);
    assert_int_equal(one.taken, MGEN_OK);
    for (size_t k = 0; k < sizeof axes / sizeof *axes; k++) {
        film many[2] = {{.axes = axes[k], .seed = 3}, {.axes = axes[k], .seed = 3}};
        int most = 0;
        run_films(many, 2);
        for (int i = 0; i < 2; i++) {
            if (many[i].opened || many[i].started || many[i].ended)
                fail_msg("rank %d: %s", i, many[i].error);
            assert_true(many[i].hash == one.hash);
            assert_int_equal(many[i].taken, i ? MGEN_E_STATE : MGEN_OK);
            assert_int_equal(many[i].measured, MGEN_E_INVALID);
            assert_int_equal(many[i].velocity, MGEN_E_INVALID);
            assert_int_equal(many[i].elsewhere, MGEN_E_INVALID);
        }
        for (int i = 0; i < TINY_BYTES; i++)
            most = abs(many[0].pixels[i] - one.pixels[i]) > most
                       ? abs(many[0].pixels[i] - one.pixels[i])
                       : most;
        assert_true(most <= 1);
        free(many[0].pixels);
    }
    free(one.pixels);
}

/* A job cancelled on one rank is so on all; ranks that ask for different films are told. */
static void test_film_ends(void **state)
{
    (void)state;
    film cancelled[2] = {{.seed = 3}, {.seed = 3, .cancel_at = 2}};
    run_films(cancelled, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(cancelled[i].ended, MGEN_E_CANCELLED);
    film apart[2] = {{.seed = 3}, {.seed = 4}};
    run_films(apart, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(apart[i].ended, MGEN_E_DESYNC);
        assert_non_null(strstr(apart[i].error, "request"));
    }
}

/* Weights that are held in bf16 or FP8 are split, too, if all ranks want them so. */
static void test_film_precision(void **state)
{
    (void)state;
    for (uint32_t p = MGEN_PRECISION_BF16; p <= MGEN_PRECISION_FP8; p++) {
        film held[2] = {{.axes = "tp=2", .precision = p}, {.axes = "tp=2", .precision = p}};
        run_films(held, 2);
        for (int i = 0; i < 2; i++)
            assert_true(held[i].opened == MGEN_OK && held[i].ended == MGEN_OK);
        assert_int_equal(held[0].taken, MGEN_OK);
        free(held[0].pixels);
    }
    film apart[2] = {{.precision = MGEN_PRECISION_F32}, {.precision = MGEN_PRECISION_BF16}};
    run_films(apart, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(apart[i].opened, MGEN_E_DESYNC);
}

/* -- what goes wrong --------------------------------------------------------------------------------- */

/* What differs is found before the first step, and both values are told. */
static void test_disagreement(void **state)
{
    (void)state;
    rank seeds[2] = {{.stage = "video", .seed = 7}, {.stage = "video", .seed = 8}};
    run(seeds, 2);
    rank stages[2] = {{.stage = "video"}, {.stage = "tae"}};
    run(stages, 2);
    for (int i = 0; i < 2; i++) {
        assert_says(&seeds[i], MGEN_E_DESYNC, "seed: rank 0 has \"7\", rank 1 has \"8\"");
        assert_says(&stages[i], MGEN_E_DESYNC, "rank 0 has \"video\", rank 1 has \"tae\"");
    }
    rank calls[2] = {{.stage = "video"}, {.stage = "video", .empty_handed = true}};
    run(calls, 2);
    assert_says(&calls[0], MGEN_E_DESYNC, "barrier");
    assert_says(&calls[1], MGEN_E_DESYNC, "barrier");
}

/* A mesh is its context's. */
static void test_other_context(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1), *other = make_context(1);
    mgen_mesh_params p = MGEN_MESH_PARAMS_INIT;
    mgen_trainer_params tp = MGEN_TRAINER_PARAMS_INIT;
    mgen_trainer *trainer = NULL;
    assert_int_equal(mgen_ranks_create(ctx, 1, 0, &p.ranks), MGEN_OK);
    assert_int_equal(mgen_mesh_create(ctx, &p, &tp.mesh), MGEN_OK);
    tp.recipe = recipe;
    tp.stage = "image";
    tp.dir = dir;
    assert_int_equal(mgen_trainer_create(other, &tp, &trainer), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(other), "another context"));
    assert_int_equal(mgen_trainer_create(ctx, &tp, &trainer), MGEN_OK);
    mgen_trainer_destroy(trainer);
    mgen_mesh_destroy(tp.mesh);
    mgen_ranks_destroy(p.ranks);
    mgen_context_destroy(ctx);
    mgen_context_destroy(other);
}

/* Before the ranks work together, a failure is told by all; the mesh is as good as before. */
static void test_shared_failure(void **state)
{
    (void)state;
    rank names[2] = {{.stage = "video"}, {.stage = "nothing"}};
    run(names, 2);
    assert_int_equal(names[0].status, names[1].status);
    assert_says(&names[0], MGEN_E_INVALID, "rank 1: ");
    assert_non_null(strstr(names[0].error, "nothing"));
    assert_null(strstr(names[1].error, "rank 1: "));
    rank nowhere[2] = {{.stage = "video", .checkpoint = "/nonexistent/x"},
                       {.stage = "video", .checkpoint = "/nonexistent/x"}};
    run(nowhere, 2);
    for (int i = 0; i < 2; i++)
        assert_says(&nowhere[i], MGEN_E_NOT_FOUND, "/nonexistent");
}

/* Inside a step, it ends the mesh: the others need not wait, and are told why. */
static void test_lonely_failure(void **state)
{
    (void)state;
    rank poor[2] = {{.stage = "video"}, {.stage = "video", .fail_at = 20}};
    run(poor, 2);
    assert_says(&poor[1], MGEN_E_NO_MEMORY, "");
    assert_says(&poor[0], MGEN_E_PEER_LOST, "rank 1 gave up: ");
    rank absent[2] = {{.axes = "dp=2"}, {.axes = "dp=2", .meet_fail_at = 3}};
    run(absent, 2);
    assert_says(&absent[1], MGEN_E_NO_MEMORY, "");
    assert_says(&absent[0], MGEN_E_PEER_LOST, "rank 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_rank),       cmocka_unit_test(test_no_plugin),
        cmocka_unit_test(test_axes),           cmocka_unit_test(test_late),
        cmocka_unit_test(test_curve),          cmocka_unit_test(test_stop),
        cmocka_unit_test(test_film_precision), cmocka_unit_test(test_disagreement),
        cmocka_unit_test(test_shared_failure), cmocka_unit_test(test_film),
        cmocka_unit_test(test_film_ends),      cmocka_unit_test(test_lonely_failure),
        cmocka_unit_test(test_other_context),  cmocka_unit_test(test_audio),
    };
    return cmocka_run_group_tests(tests, setup_audio, teardown);
}
