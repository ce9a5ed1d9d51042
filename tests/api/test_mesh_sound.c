/* SPDX-License-Identifier: MIT
 * Sound as hosts ask several ranks for it, here threads: rank 0's clip is enough and the sound is rank 0's, that of one rank; who
 * asks for something else, cancels, or has no room. */
#include "tiny_audio.h"
#include "meeting.h"

#include <math.h>

enum { RANKS_MAX = 5, PATIENCE_MS = 20000, WIDTH = 24, HEIGHT = 16, FRAMES = 8, FPS = 25 };
enum { SAMPLES = 62400 }; /* 1.3 s, at most */

/* One rank: what it asks for, and what came of it. */
typedef struct rank {
    seat at;
    const char *axes, *prompt;
    double seconds; /* 0: as long as the clip */
    bool clip, other_clip, candidates, alone;
    int before;        /* which sound is heard before; 0: none */
    int32_t cancel_at; /* the step after which this rank wants no more */
    int64_t fail_at;   /* allocation of its request that fails, and all after it; 0: none */
    uint64_t limit;    /* of the host's memory; 0: none */
    mgen_status opened, estimated, started, ended, taken;
    uint64_t hash, held, needs, took, samples; /* held: before the request */
    char error[512], told_why[512];
    float heard[SAMPLES];
    counter memory;
} rank;

static int32_t on_progress(void *user, uint32_t done, uint32_t total)
{
    const rank *r = user;
    (void)total;
    return (int32_t)done == r->cancel_at;
}

static mgen_clip *make_clip(mgen_context *ctx, const rank *r)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *clip = NULL;
    info.width = WIDTH;
    info.height = HEIGHT;
    info.frames = FRAMES;
    info.fps_num = FPS;
    info.fps_den = 1;
    if (r->clip && mgen_clip_create(ctx, &info, &clip) == MGEN_OK)
        for (int i = 0; i < FRAMES * HEIGHT * WIDTH * 3; i++)
            mgen_clip_pixels(clip)[i] = (uint8_t)(i * 7 + i / 1000 * (r->other_clip ? 32 : 31));
    return clip;
}

/* Of another rate than the model's, with two channels. */
static mgen_sound *make_before(mgen_context *ctx, const rank *r)
{
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    mgen_sound *sound = NULL;
    info.rate = 24000;
    info.channels = 2;
    info.samples = 4800;
    if (r->before && mgen_sound_create(ctx, &info, &sound) == MGEN_OK)
        for (int i = 0; i < 9600; i++)
            mgen_sound_samples(sound)[i] = 0.3f * sinf((float)(i * r->before) * 0.07f);
    return sound;
}

static void keep(rank *r, mgen_job *job)
{
    mgen_sound *sound;
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    r->taken = mgen_job_take_sound(job, &sound);
    if (r->taken == MGEN_OK && mgen_sound_get_info(sound, &info) == MGEN_OK) {
        r->samples = info.samples;
        memcpy(r->heard, mgen_sound_samples(sound),
               (size_t)(info.samples < SAMPLES ? info.samples : SAMPLES) * sizeof *r->heard);
    }
    mgen_sound_destroy(sound);
}

static void make_sound(rank *r, mgen_context *ctx, const mgen_pipeline *pipe, const mgen_clip *clip,
                       const mgen_sound *before)
{
    mgen_sound_params p = MGEN_SOUND_PARAMS_INIT;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_job *job = NULL;
    uint64_t now, peak;
    p.prompt = r->prompt ? r->prompt : "a ball bounces";
    p.seconds = r->seconds;
    p.candidates = r->candidates ? 2 : 0;
    p.context = before;
    p.on_progress = on_progress;
    p.user = r;
    r->estimated = mgen_sound_estimate(ctx, pipe, clip, &p, &e);
    r->needs = e.host_bytes;
    snprintf(r->told_why, sizeof r->told_why, "%s", mgen_last_error(ctx));
    mgen_context_memory(ctx, &now, NULL);
    r->held = now;
    set_failure(&r->memory, r->fail_at, true);
    r->started = mgen_sound_start(ctx, pipe, clip, &p, &job);
    if (r->started == MGEN_OK)
        r->ended = mgen_job_wait(job, -1);
    set_failure(&r->memory, 0, false);
    mgen_context_memory(ctx, NULL, &peak);
    r->took = peak - now;
    if (job && r->ended == MGEN_OK)
        keep(r, job);
    snprintf(r->error, sizeof r->error, "%s", mgen_last_error(ctx));
    mgen_job_destroy(job);
}

static void *rank_main(void *arg)
{
    rank *r = arg;
    mgen_context *ctx = NULL;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    cp.threads = 1;
    cp.allocator = (mgen_allocator){count_alloc, count_free, &r->memory};
    cp.host_memory_max = r->limit;
    r->opened = mgen_context_create(&cp, &ctx);
    if (r->opened == MGEN_OK)
        r->opened = take_seat(ctx, &r->at, r->axes, &pipe.mesh);
    mgen_mesh *mesh = pipe.mesh;
    if (r->alone) /* of one rank, and put together wrongly */
        pipe.mesh = NULL;
    if (r->opened == MGEN_OK)
        r->opened = mgen_pipeline_open(ctx, dir, &pipe);
    pipe.mesh = mesh;
    r->hash = mgen_pipeline_hash(&pipe);
    mgen_clip *clip = make_clip(ctx, r);
    mgen_sound *before = make_before(ctx, r);
    if (r->opened == MGEN_OK)
        make_sound(r, ctx, &pipe, clip, before);
    mgen_sound_destroy(before);
    mgen_clip_destroy(clip);
    mgen_pipeline_close(&pipe);
    mgen_mesh_destroy(mesh);
    mgen_context_destroy(ctx);
    return NULL;
}

/* All ranks at once, to their ends; nothing of them is left. */
static void run(rank *ranks, uint32_t count)
{
    MEET(rank_main, ranks, count, PATIENCE_MS);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(ranks[i].opened, MGEN_OK);
        assert_int_equal(ranks[i].memory.blocks, 0);
    }
}

static void assert_ends(const rank *ranks, uint32_t count, mgen_status status, const char *part)
{
    for (uint32_t i = 0; i < count; i++) {
        const rank *r = &ranks[i];
        const mgen_status got = r->started == MGEN_OK ? r->ended : r->started;
        if (got != status || !strstr(r->error, part))
            fail_msg("rank %u ends with %s: \"%s\"; expected %s: \"...%s...\"", i,
                     mgen_status_name(got), r->error, mgen_status_name(status), part);
    }
}

/* -- what is made -------------------------------------------------------------------------------- */

/* The sound of one rank, to rounding, on rank 0. */
static void assert_same(const rank *one, const rank *many, uint32_t count)
{
    double far = 0.0, most = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        const rank *r = &many[i];
        if (r->estimated || r->started || r->ended)
            fail_msg("rank %u: %s", i, r->error);
        assert_true(r->hash == one->hash);
        assert_int_equal(r->taken, i ? MGEN_E_STATE : MGEN_OK);
        if (i)
            assert_non_null(strstr(r->error, "gave its sound to rank 0"));
        if (r->took > r->needs)
            fail_msg("%s, rank %u: estimated %llu bytes, took %llu", r->axes, i,
                     (unsigned long long)r->needs, (unsigned long long)r->took);
    }
    assert_int_equal(many->samples, one->samples);
    for (uint64_t i = 0; i < one->samples; i++) {
        far = fmax(far, fabs((double)one->heard[i] - (double)many->heard[i]));
        most = fmax(most, fabs((double)one->heard[i]));
    }
    if (!(most > 0.0 && far <= 2e-5 * most))
        fail_msg("%s: %g apart of %g", many->axes, far, most);
}

static void test_same_sound(void **state)
{
    static const struct {
        const char *axes;
        uint32_t count;
    } meshes[] = {{"dp=2", 2}, {"tp=2", 2}, {"cp=2", 2}, {"dp=2,tp=2", 4}};
    static rank one, many[RANKS_MAX];
    (void)state;
    for (int kind = 0; kind < 3; kind++) { /* of a clip; of a text, going on; both, chosen */
        const rank like = {.clip = kind != 1,
                           .seconds = kind == 0   ? 0.0
                                      : kind == 1 ? 1.3
                                                  : 0.8,
                           .candidates = kind == 2,
                           .before = kind == 1};
        one = like;
        run(&one, 1);
        assert_int_equal(one.taken, MGEN_OK);
        for (size_t k = 0; k < sizeof meshes / sizeof *meshes; k++) {
            for (uint32_t i = 0; i < meshes[k].count; i++) {
                many[i] = like;
                many[i].axes = meshes[k].axes;
            }
            run(many, meshes[k].count);
            assert_same(&one, many, meshes[k].count);
        }
    }
}

/* The others need not have the clip, nor know how long it is. */
static void test_first_clip(void **state)
{
    static rank one, many[2];
    (void)state;
    one = (rank){.clip = true};
    run(&one, 1);
    for (int i = 0; i < 2; i++)
        many[i] = (rank){.axes = "dp=2", .clip = i == 0};
    run(many, 2);
    assert_int_equal(many[1].estimated, MGEN_E_INVALID); /* which asks nobody */
    assert_non_null(strstr(many[1].told_why, "give the clip, a black one of its size"));
    many[1].estimated = MGEN_OK;
    many[1].needs = many[0].needs;
    assert_same(&one, many, 2);
}

/* A folder of an audio model alone. */
static void test_no_video(void **state)
{
    static rank many[2];
    char path[300];
    (void)state;
    snprintf(path, sizeof path, "%s/pipeline.json", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "{\"format\": \"moviegen-pipeline\", \"version\": 1, \"audio\": \"audio\", "
               "\"width\": 64, \"height\": 64, \"frames\": 16, \"fps\": 16}");
    assert_int_equal(fclose(f), 0);
    for (int i = 0; i < 2; i++)
        many[i] = (rank){.axes = "tp=2", .seconds = 0.32};
    run(many, 2);
    assert_ends(many, 2, MGEN_OK, "");
    assert_int_equal(many[0].samples, 15360);
}

/* -- what is not --------------------------------------------------------------------------------- */

/* Who asks for something else is told by all. */
static void test_disagreement(void **state)
{
    static rank many[2];
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        for (int i = 0; i < 2; i++)
            many[i] = (rank){.clip = kind != 2 || i == 1, .seconds = 0.32, .before = 1};
        many[1].prompt = kind == 0 ? "surf" : NULL;
        many[1].other_clip = kind == 1;
        many[1].before = kind == 3 ? 2 : 1;
        run(many, 2);
        assert_ends(many, 2, MGEN_E_DESYNC, "ranks disagree on the request");
    }
}

/* A job cancelled on one rank is so on all. */
static void test_cancel(void **state)
{
    static rank many[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        many[0] = many[1] = (rank){.axes = i ? "tp=2" : "dp=2", .seconds = 0.32};
        many[1].cancel_at = 2;
        run(many, 2);
        assert_ends(many, 2, MGEN_E_CANCELLED, "cancelled after step 2 of 3");
    }
}

static void test_refused(void **state)
{
    static rank many[RANKS_MAX];
    (void)state;
    for (int i = 0; i < RANKS_MAX; i++) /* windows of 12, which is the most */
        many[i] = (rank){.axes = "cp=5", .seconds = 0.5};
    run(many, RANKS_MAX);
    assert_ends(many, RANKS_MAX, MGEN_E_INVALID, "12 tokens cannot be split over cp=5 x tp=1");
    assert_int_equal(many[0].estimated, MGEN_E_INVALID);
    for (int i = 0; i < 2; i++)
        many[i] = (rank){.axes = "tp=2", .seconds = 0.32, .alone = true};
    run(many, 2);
    assert_ends(many, 2, MGEN_E_INVALID, "another than its audio model was opened with");
    for (int i = 0; i < 2; i++)
        many[i] = (rank){.axes = "dp=2", .seconds = i ? 0.0 : 0.32};
    run(many, 2);
    assert_ends(many, 2, MGEN_E_INVALID, "seconds is 0");
}

/* One rank has no room: nobody waits for it. */
static void test_no_room(void **state)
{
    static rank many[2];
    (void)state;
    many[0] = many[1] = (rank){.axes = "tp=2", .seconds = 0.32};
    run(many, 2);
    assert_ends(many, 2, MGEN_OK, "");
    const uint64_t too_little = many[1].held + many[1].needs / 2;
    many[0] = many[1] = (rank){.axes = "tp=2", .seconds = 0.32};
    many[1].limit = too_little;
    run(many, 2);
    assert_ends(many, 2, MGEN_E_LIMIT, "host_memory_max");
    assert_non_null(strstr(many[0].error, "rank 1: "));
    for (int64_t at = 1; at < 400; at += 57) {
        many[0] = many[1] = (rank){.axes = "tp=2", .seconds = 0.32};
        many[1].fail_at = at;
        run(many, 2);
        const mgen_status got = many[1].started == MGEN_OK ? many[1].ended : many[1].started;
        assert_int_equal(got, MGEN_E_NO_MEMORY);
        assert_true(many[0].started != MGEN_OK || many[0].ended != MGEN_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_sound),   cmocka_unit_test(test_first_clip),
        cmocka_unit_test(test_disagreement), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_no_video),
    };
    return cmocka_run_group_tests_name("mesh sound", tests, setup_audio, teardown);
}
