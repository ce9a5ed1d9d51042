/* SPDX-License-Identifier: MIT
 * What ranks make of a clip or a photo, as a host asks for it, here in threads: upsampled, edited with and without an editor,
 * personalized. Rank 0 gets the film of one rank; they stop together, and learn of each other's failures. */
#include "tiny_personalizer.h"

#include "clip_bench.h"
#include "meeting.h"

enum { RANKS = 2, PATIENCE_MS = 20000, BYTES_MOST = 48 * 32 * 9 * 3 };

/* The ways to a film, of the same clip; of a photo its first frame. */
typedef struct way {
    const char *name;
    maker by;
    uint32_t width, height, frames; /* of the film; 0: the clip's, or the model's */
    float strength;
} way;

static const way ways[] = {
    {"upsampled", {mgen_upsample_start, mgen_upsample_estimate}, 0, 0, 0, 0.0f},
    {"edited", {mgen_edit_start, mgen_edit_estimate}, 0, 0, 0, 0.0f},
    {"begun", {mgen_edit_start, mgen_edit_estimate}, 0, 0, 0, 0.6f},
    {"personalized", {mgen_personalize_start, mgen_personalize_estimate}, 32, 32, 9, 0.0f}};
enum { WAYS = sizeof ways / sizeof *ways };

/* One rank: what it asks for, and what it saw. */
typedef struct asker {
    seat at;
    const way *way;
    const char *axes;
    int32_t cancel_at; /* the step after which this rank wants no more */
    int64_t fail_at;   /* allocation of the request that fails, with all after it; 0: none */
    bool other_clip, no_clip, no_text, alone; /* alone: an upsampler of one rank */
    bool black;                               /* the estimate is of a black clip of that size */
    mgen_status opened, told, started, ended, taken, later;
    mgen_estimate estimate;
    char told_why[512];
    uint32_t steps;
    int64_t made; /* allocations */
    char said[512];
    mgen_clip_info info;
    uint8_t pixels[BYTES_MOST];
    counter memory;
} asker;

static int32_t on_progress(void *user, uint32_t done, uint32_t total)
{
    asker *a = user;
    a->steps = total;
    return (int32_t)done == a->cancel_at;
}

static mgen_generate_params params_of(asker *a)
{
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    p.prompt = "make the ball blue";
    p.width = a->way->width;
    p.height = a->way->height;
    p.frames = a->way->frames;
    p.strength = a->way->strength;
    p.steps = 3 + 2 * (p.strength > 0);
    p.guidance = 3.0f;
    p.on_progress = on_progress;
    p.user = a;
    return p;
}

static void keep(asker *a, mgen_job *job)
{
    mgen_clip *clip;
    a->taken = mgen_job_take_clip(job, &clip);
    if (a->taken != MGEN_OK)
        return;
    a->info = (mgen_clip_info)MGEN_CLIP_INFO_INIT;
    mgen_clip_get_info(clip, &a->info);
    size_t bytes = (size_t)a->info.frames * a->info.height * a->info.width * 3;
    memcpy(a->pixels, mgen_clip_pixels(clip), bytes < BYTES_MOST ? bytes : BYTES_MOST);
    mgen_clip_destroy(clip);
}

/* Of the size that the clips have. */
static mgen_clip *black_clip(mgen_context *ctx)
{
    mgen_clip *clip = source(ctx, 24, 16, 9);
    memset(mgen_clip_pixels(clip), 0, (size_t)24 * 16 * 9 * 3);
    return clip;
}

static void make_film(asker *a, mgen_context *ctx, const mgen_pipeline *pipe, const mgen_clip *clip)
{
    mgen_generate_params p = params_of(a);
    mgen_job *job = NULL;
    mgen_clip *black = a->black ? black_clip(ctx) : NULL;
    a->estimate = (mgen_estimate)MGEN_ESTIMATE_INIT;
    a->told = a->way->by.estimate(ctx, pipe, black ? black : clip, &p, &a->estimate);
    mgen_clip_destroy(black);
    snprintf(a->told_why, sizeof a->told_why, "%s", mgen_last_error(ctx));
    set_failure(&a->memory, a->fail_at, true);
    a->started = a->way->by.start(ctx, pipe, clip, &p, &job);
    if (a->started == MGEN_OK)
        a->ended = mgen_job_wait(job, -1);
    a->made = atomic_load(&a->memory.made);
    set_failure(&a->memory, 0, false);
    snprintf(a->said, sizeof a->said, "%s", mgen_last_error(ctx));
    if (a->started == MGEN_OK && a->ended == MGEN_OK)
        keep(a, job);
    mgen_job_destroy(job);
}

static void ask(asker *a, mgen_context *ctx, mgen_pipeline *pipe)
{
    mgen_clip *clip = source(ctx, 24, 16, 9);
    mgen_text_encoder *text = pipe->text[0];
    mgen_upsampler *upsampler = pipe->upsampler;
    if (a->other_clip)
        mgen_clip_pixels(clip)[77] ^= 1;
    if (a->no_text)
        pipe->text[0] = NULL;
    if (a->alone)
        a->opened = mgen_upsampler_open(ctx, dir, "upsampler", &pipe->upsampler);
    make_film(a, ctx, pipe, a->no_clip ? NULL : clip);
    if (a->alone)
        mgen_upsampler_release(pipe->upsampler);
    pipe->upsampler = upsampler;
    pipe->text[0] = text;
    mgen_clip_destroy(clip);
}

static void *asker_main(void *arg)
{
    asker *a = arg;
    mgen_context *ctx = NULL;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    cp.threads = 1;
    cp.allocator = (mgen_allocator){count_alloc, count_free, &a->memory};
    a->opened = mgen_context_create(&cp, &ctx);
    if (a->opened == MGEN_OK)
        a->opened = take_seat(ctx, &a->at, a->axes, &pipe.mesh);
    if (a->opened == MGEN_OK)
        a->opened = mgen_pipeline_open(ctx, dir, &pipe);
    if (a->opened == MGEN_OK)
        ask(a, ctx, &pipe);
    a->later = mgen_mesh_barrier(pipe.mesh);
    mgen_pipeline_close(&pipe);
    mgen_mesh_destroy(pipe.mesh);
    mgen_context_destroy(ctx);
    return NULL;
}

/* All ranks at once, to their ends; nothing of them is left. */
static void run(asker *askers, uint32_t count)
{
    MEET(asker_main, askers, count, PATIENCE_MS);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(askers[i].memory.blocks, 0);
}

/* What comes of the request on all ranks, and what they say; the mesh is as good as before. */
static void run_bad(asker askers[RANKS], mgen_status status, const char *says)
{
    run(askers, RANKS);
    for (int i = 0; i < RANKS; i++) {
        asker *a = &askers[i];
        mgen_status got = a->started ? a->started : a->ended;
        if (a->opened || got != status || !strstr(a->said, says) || a->later)
            fail_msg("%s, rank %d: %s, then %s: '%s' does not say '%s'", a->way->name, i,
                     mgen_status_name(got), mgen_status_name(a->later), a->said, says);
    }
}

/* -- films ------------------------------------------------------------------------------------------- */

static int most_apart(const asker *a, const asker *b)
{
    int most = 0;
    for (int i = 0; i < BYTES_MOST; i++) {
        int d = abs(a->pixels[i] - b->pixels[i]);
        most = d > most ? d : most;
    }
    return most;
}

/* Rank 0 gets the film of one rank: its bytes over dp, else to rounding. */
static void test_films(void **state)
{
    static const char *const axes[] = {"dp=2", "tp=2", "cp=2"};
    static asker one, many[RANKS];
    (void)state;
    for (int k = 0; k < WAYS; k++) {
        one = (asker){.way = &ways[k]};
        run(&one, 1);
        assert_int_equal(one.taken, MGEN_OK);
        for (int j = 0; j < 3; j++) {
            for (int i = 0; i < RANKS; i++)
                many[i] = (asker){.way = &ways[k], .axes = axes[j]};
            run_bad(many, MGEN_OK, "");
            for (int i = 0; i < RANKS; i++) {
                const mgen_estimate *e = &many[i].estimate;
                assert_int_equal(many[i].told, MGEN_OK);
                assert_int_equal(many[i].taken, i ? MGEN_E_STATE : MGEN_OK);
                assert_int_equal(many[i].steps, one.steps);
                assert_true(e->width == one.info.width && e->height == one.info.height &&
                            e->frames == one.info.frames);
            }
            assert_memory_equal(&many[0].info, &one.info, sizeof one.info);
            if (most_apart(&many[0], &one) > (j > 0))
                fail_msg("%s, %s: bytes are %d apart", ways[k].name, axes[j],
                         most_apart(&many[0], &one));
        }
    }
}

/* A pipeline that has what a request needs, and no video model. */
static void test_few_parts(void **state)
{
    static asker one, many[RANKS];
    mgi_pipeline_file whole, few;
    mgen_context *ctx = make_context(1);
    (void)state;
    assert_int_equal(mgi_pipeline_file_read(ctx, dir, "pipeline", &whole), MGEN_OK);
    few = whole;
    few.video[0] = few.editor[0] = 0;
    assert_int_equal(mgi_pipeline_file_write(ctx, dir, "pipeline", &few), MGEN_OK);
    for (int k = 0; k < WAYS; k += 3) {
        one = (asker){.way = &ways[k]};
        run(&one, 1);
        assert_int_equal(one.taken, MGEN_OK);
        for (int i = 0; i < RANKS; i++)
            many[i] = (asker){.way = &ways[k]};
        run_bad(many, MGEN_OK, "");
        assert_int_equal(most_apart(&many[0], &one), 0);
    }
    for (int i = 0; i < RANKS; i++)
        many[i] = (asker){.way = &ways[1]};
    run_bad(many, MGEN_E_STATE, "lacks its editor");
    assert_int_equal(mgi_pipeline_file_write(ctx, dir, "pipeline", &whole), MGEN_OK);
    mgen_context_destroy(ctx);
}

/* Ranks that are given nothing take what rank 0 is given. */
static void test_passed(void **state)
{
    static asker one, many[RANKS];
    (void)state;
    for (int k = 0; k < WAYS; k++) {
        one = (asker){.way = &ways[k]};
        run(&one, 1);
        for (int i = 0; i < RANKS; i++)
            many[i] = (asker){.way = &ways[k], .no_clip = i == 1};
        run_bad(many, MGEN_OK, "");
        assert_true(many[0].told == MGEN_OK && many[1].told == MGEN_E_INVALID);
        assert_non_null(strstr(many[1].told_why, k == 3 ? "give the photo, or a black one"
                                                        : "give the clip, or a black one"));
        assert_int_equal(many[0].taken, MGEN_OK);
        assert_int_equal(most_apart(&many[0], &one), 0);
    }
}

/* An estimate asks no other rank; of a black clip it tells a rank without one what the request needs there. */
static void test_estimate_alone(void **state)
{
    static asker given[RANKS], many[RANKS];
    (void)state;
    for (int k = 0; k < WAYS; k++) {
        for (int i = 0; i < RANKS; i++) {
            given[i] = (asker){.way = &ways[k]};
            many[i] = (asker){.way = &ways[k], .no_clip = i == 1, .black = i == 1};
        }
        run_bad(given, MGEN_OK, "");
        run_bad(many, MGEN_OK, "");
        assert_int_equal(many[1].told, MGEN_OK);
        assert_true(many[1].estimate.host_bytes > 0);
        assert_memory_equal(&many[1].estimate, &given[1].estimate, sizeof many[1].estimate);
    }
}

/* -- what goes wrong --------------------------------------------------------------------------------- */

/* Ranks that are given different things are told, both, before anything is made. */
static void test_disagreement(void **state)
{
    static asker many[RANKS];
    (void)state;
    for (int k = 0; k < WAYS; k++) {
        for (int i = 0; i < RANKS; i++)
            many[i] = (asker){.way = &ways[k], .other_clip = i == 1};
        run_bad(many, MGEN_E_DESYNC, "ranks disagree on the film or photos given: rank 0 has \"");
        assert_true(many[0].steps == 0 && many[1].steps == 0);
    }
    for (int i = 0; i < RANKS; i++) /* an editor, and the video model alone */
        many[i] = (asker){.way = &ways[1 + i]};
    run_bad(many, MGEN_E_DESYNC, "ranks disagree on the request");
}

/* What is missing on one rank is told by all. */
static void test_missing(void **state)
{
    static asker many[RANKS];
    (void)state;
    for (int k = 0; k < WAYS; k++) {
        for (int i = 0; i < RANKS; i++)
            many[i] = (asker){.way = &ways[k], .no_clip = i == 0};
        run_bad(many, MGEN_E_INVALID, k == 3 ? "the photo is NULL" : "the clip is NULL");
        assert_true(many[0].told == MGEN_E_INVALID && strstr(many[1].said, "rank 0: "));
        assert_null(strstr(many[0].told_why, "rank 0")); /* who would have to give it */
        for (int i = 0; i < RANKS; i++) /* rank 0 runs the text encoder; the others need none */
            many[i] = (asker){.way = &ways[k], .no_text = true};
        run_bad(many, MGEN_E_STATE, "lacks its text encoder");
        assert_true(many[1].told == MGEN_OK && strstr(many[1].said, "rank 0: "));
    }
    for (int i = 0; i < RANKS; i++)
        many[i] = (asker){.way = &ways[0], .alone = true};
    run_bad(many, MGEN_E_INVALID,
            "the pipeline's mesh is another than its upsampler was opened with");
}

/* A job cancelled on one rank is so on all. */
static void test_cancel(void **state)
{
    static asker many[RANKS];
    (void)state;
    for (int k = 0; k < WAYS; k++)
        for (int rank = 0; rank < RANKS; rank++) {
            for (int i = 0; i < RANKS; i++)
                many[i] = (asker){.way = &ways[k], .axes = "tp=2", .cancel_at = 2 * (i == rank)};
            run_bad(many, MGEN_E_CANCELLED, "cancelled after step 2 of 3");
        }
}

/* Memory that is short on one rank, wherever: it says so, and the other is told or learns that it is lost. */
static void test_memory(void **state)
{
    static asker many[RANKS];
    (void)state;
    for (int k = 0; k < WAYS; k++) {
        for (int i = 0; i < RANKS; i++) /* with the clip that it is passed */
            many[i] = (asker){.way = &ways[k], .no_clip = i == 1};
        run_bad(many, MGEN_OK, "");
        const int64_t made = many[1].made;
        assert_true(made > 100);
        for (int64_t n = 0; n < 16; n++) {
            for (int i = 0; i < RANKS; i++)
                many[i] = (asker){.way = &ways[k],
                                  .no_clip = i == 1,
                                  .fail_at = i * (n < 6 ? 1 + n : 7 + (n - 6) * (made - 20) / 9)};
            run(many, RANKS);
            for (int i = 0; i < RANKS; i++) {
                mgen_status got = many[i].started ? many[i].started : many[i].ended;
                if (got != MGEN_E_NO_MEMORY && (i || got != MGEN_E_PEER_LOST))
                    fail_msg("%s, allocation %lld of %lld, rank %d: %s: %s", ways[k].name,
                             (long long)many[1].fail_at, (long long)made, i, mgen_status_name(got),
                             many[i].said);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_films),          cmocka_unit_test(test_passed),
        cmocka_unit_test(test_estimate_alone), cmocka_unit_test(test_few_parts),
        cmocka_unit_test(test_disagreement),   cmocka_unit_test(test_missing),
        cmocka_unit_test(test_cancel),         cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, setup_all, teardown);
}
