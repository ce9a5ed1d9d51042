/* SPDX-License-Identifier: MIT
 * The library as a guest: what it leaves behind in the process (nothing), what may outlive what, models that
 * threads share, and jobs cancelled at any moment. */
#include "../unit/run_threads.h"
#include "proc.h"
#include "tiny.h"

#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

static mgen_generate_params request(uint64_t seed)
{
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    p.prompt = "a red ball rolls left on grass";
    p.steps = 4;
    p.seed = seed;
    return p;
}

static uint8_t *pixels_of(mgen_context *ctx, const mgen_pipeline *pipe, uint64_t seed)
{
    mgen_generate_params p = request(seed);
    mgen_clip *clip;
    if (generate(ctx, pipe, &p, &clip) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    uint8_t *copy = malloc(TINY_BYTES);
    assert_non_null(copy);
    memcpy(copy, mgen_clip_pixels(clip), TINY_BYTES);
    mgen_clip_destroy(clip);
    return copy;
}

/* -- contexts come and go ---------------------------------------------------------------------------- */

static void test_create_destroy(void **state)
{
    enum { TIMES = 10000, WARM = 1000 };
    (void)state;
    counter c = {0};
    int64_t rss = 0, fds = proc_fds(), threads = proc_threads();
    for (int i = 0; i < TIMES; i++) {
        mgen_context *ctx = counted_context(&c);
        assert_true(atomic_load(&c.blocks) > 0);
        mgen_context_destroy(ctx);
        assert_int_equal(atomic_load(&c.blocks), 0);
        assert_int_equal(atomic_load(&c.bytes), 0);
        if (i == WARM)
            rss = proc_rss();
    }
    assert_int_equal(proc_fds(), fds);
    assert_true(proc_threads_fall_to(threads));
    if (!SANITIZED && proc_rss() > rss + (256 << 10))
        fail_msg("%d contexts: resident memory grew by %lld bytes", TIMES - WARM,
                 (long long)(proc_rss() - rss));
}

/* -- threads that share models ------------------------------------------------------------------------ */

enum { SEEDS = 4, ROUNDS = 5 };

typedef struct worker {
    const mgen_pipeline *pipe;
    uint8_t *const *want; /* for each seed */
    uint32_t first;       /* seed to begin with */
    int wrong;
} worker;

static void *work(void *user)
{
    worker *w = user;
    mgen_context *ctx = make_context(2);
    for (uint32_t i = 0; i < SEEDS * ROUNDS; i++) {
        uint32_t seed = (w->first + i) % SEEDS;
        mgen_pipeline mine = *w->pipe;
        mgen_tae_retain(mine.tae);
        mgen_text_encoder_retain(mine.text[0]);
        mgen_video_model_retain(mine.video);
        uint8_t *got = pixels_of(ctx, &mine, seed);
        w->wrong += memcmp(got, w->want[seed], TINY_BYTES) != 0;
        free(got);
        mgen_pipeline_close(&mine);
    }
    mgen_context_destroy(ctx);
    return NULL;
}

static void test_shared_models(void **state)
{
    (void)state;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx = make_context(1);
    worker w[2] = {{.first = 0}, {.first = SEEDS / 2}};
    uint8_t *want[SEEDS];
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    for (uint32_t seed = 0; seed < SEEDS; seed++)
        want[seed] = pixels_of(ctx, &pipe, seed);
    assert_memory_not_equal(want[0], want[1], TINY_BYTES);
    for (int i = 0; i < 2; i++) {
        w[i].pipe = &pipe;
        w[i].want = want;
    }
    run_threads(work, w, sizeof *w, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(w[i].wrong, 0);
    for (uint32_t seed = 0; seed < SEEDS; seed++)
        free(want[seed]);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* -- cancelling at any moment -------------------------------------------------------------------------- */

static uint64_t draw(uint64_t *s) /* xorshift */
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

typedef struct stopper {
    uint32_t step;  /* stops after this one; 0 = does not */
    uint64_t frame; /* or at this one */
} stopper;

static int32_t stop_at_step(void *user, uint32_t done, uint32_t total)
{
    const stopper *s = user;
    (void)total;
    return done == s->step ? -7 : 0;
}

static int32_t stop_at_frame(void *user, uint64_t first, const mgen_frames *f)
{
    const stopper *s = user;
    return s->frame >= first && s->frame < first + f->count;
}

/* One job ended in one of the ways there are, after at most `most` nanoseconds. How long the end took. */
static int64_t cancel_once(mgen_context *ctx, const mgen_pipeline *pipe, uint64_t *random,
                           int64_t most, int *cancelled)
{
    mgen_generate_params p = request(draw(random));
    stopper s = {0};
    mgen_job *job;
    uint64_t way = draw(random) % 4;
    p.frames = draw(random) % 2 ? 32 : 80; /* one window or several */
    p.on_progress = stop_at_step;
    p.user = &s;
    if (way == 0)
        s.step = 1 + draw(random) % p.steps;
    if (way == 1) {
        p.on_frames = stop_at_frame;
        s.frame = draw(random) % p.frames;
    }
    assert_int_equal(mgen_generate_start(ctx, pipe, &p, &job), MGEN_OK);
    int64_t pause = way < 2 ? 0 : (int64_t)(draw(random) % (uint64_t)most);
    nanosleep(&(struct timespec){0, pause}, NULL);
    int64_t start = clock_ns();
    if (way >= 2)
        mgen_job_cancel(job);
    if (way < 3) { /* the fourth way: destroyed without being waited for */
        mgen_status status = mgen_job_wait(job, -1);
        assert_true(status == MGEN_E_CANCELLED || (way == 2 && status == MGEN_OK));
        assert_int_equal(mgen_job_wait(job, 0), status);
        *cancelled += status == MGEN_E_CANCELLED;
    }
    mgen_job_destroy(job);
    return way < 2 ? 0 : clock_ns() - start;
}

static void test_cancel(void **state)
{
    enum { CHECK_EVERY = 20 };
    (void)state;
    const char *asked = getenv("MOVIEGEN_CANCELS");
    int times = asked ? atoi(asked) : SANITIZED ? 60 : 240;
    counter c = {0};
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx = counted_context(&c);
    uint64_t random = 20241004;
    int64_t slowest = 0;
    int cancelled = 0;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    uint8_t *want = pixels_of(ctx, &pipe, 1);
    int64_t once = clock_ns();
    free(pixels_of(ctx, &pipe, 1));
    once = clock_ns() - once;
    for (int i = 1; i <= times; i++) {
        int64_t took = cancel_once(ctx, &pipe, &random, once + once / 2, &cancelled);
        slowest = took > slowest ? took : slowest;
        if (i % CHECK_EVERY)
            continue;
        uint8_t *got = pixels_of(ctx, &pipe, 1);
        assert_memory_equal(got, want, TINY_BYTES);
        free(got);
    }
    /* Within one step or one piece: of a few milliseconds here. The bound is for busy machines. */
    print_message("# a clip takes %.1f ms; of %d jobs %d were seen to be cancelled, the slowest "
                  "in %.1f ms\n",
                  (double)once / 1e6, times, cancelled, (double)slowest / 1e6);
    assert_true(cancelled > times / 2);
    assert_true(slowest < INT64_C(5000000000));
    free(want);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
    assert_int_equal(atomic_load(&c.blocks), 0);
}

/* -- what outlives a context ------------------------------------------------------------------------- */

static void test_handles_outlive(void **state)
{
    (void)state;
    counter c = {0};
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx = counted_context(&c), *other = make_context(1);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    uint8_t *want = pixels_of(ctx, &pipe, 3);
    mgen_context_destroy(ctx);
    assert_true(atomic_load(&c.blocks) > 0); /* of the models */
    uint8_t *got = pixels_of(other, &pipe, 3);
    assert_memory_equal(got, want, TINY_BYTES);
    mgen_tae *tae = mgen_tae_retain(pipe.tae);
    mgen_pipeline_close(&pipe);
    assert_true(atomic_load(&c.blocks) > 0);
    mgen_tae_release(tae);
    assert_int_equal(atomic_load(&c.blocks), 0);
    mgen_context_destroy(other);
    free(want);
    free(got);
}

static void test_results_outlive(void **state)
{
    (void)state;
    counter c = {0};
    char path[300];
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_plan_params plan = MGEN_PLAN_PARAMS_INIT;
    mgen_generate_params p = request(3);
    mgen_context *ctx = counted_context(&c), *other = make_context(1);
    mgen_clip *clip;
    mgen_report *report;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_OK);
    uint8_t *want = pixels_of(ctx, &pipe, 3);
    plan.preset = "1b";
    plan.width = plan.height = 256;
    plan.frames = 16;
    assert_int_equal(mgen_plan_training(ctx, &plan, &report), MGEN_OK);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
    assert_memory_equal(mgen_clip_pixels(clip), want, TINY_BYTES);
    snprintf(path, sizeof path, "%s/outlived.y4m", dir);
    assert_int_equal(mgen_clip_write(other, clip, path), MGEN_OK);
    mgen_clip_destroy(clip);
    assert_true(mgen_report_count(report) > 0 && mgen_report_value(report, 0) > 0.0);
    assert_true(atomic_load(&c.blocks) > 0);
    mgen_report_destroy(report);
    assert_int_equal(atomic_load(&c.blocks), 0);
    mgen_context_destroy(other);
    free(want);
}

/* -- what is left behind ------------------------------------------------------------------------------ */

enum { SIGNALS = 65 };

typedef struct process {
    sigset_t mask;
    struct {
        void (*handler)(int);
        int flags;
    } action[SIGNALS];
    char locale[256], folder[1024];
    int64_t fds, threads;
    fenv_t floats;
    mode_t umask;
} process;

static void look(process *p)
{
    memset(p, 0, sizeof *p);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &p->mask), 0);
    for (int i = 1; i < SIGNALS; i++) {
        struct sigaction action;
        if (sigaction(i, NULL, &action)) /* not every number is one */
            continue;
        p->action[i].handler = action.sa_handler;
        p->action[i].flags = action.sa_flags;
    }
    snprintf(p->locale, sizeof p->locale, "%s", setlocale(LC_ALL, NULL));
    assert_non_null(getcwd(p->folder, sizeof p->folder));
    p->fds = proc_fds();
    p->threads = proc_threads();
    assert_int_equal(fegetenv(&p->floats), 0);
    p->umask = umask(0);
    umask(p->umask);
}

/* Threads of the library block signals, so that the host's handlers run on the host's threads. */
static int32_t check_mask(void *user, uint32_t done, uint32_t total)
{
    sigset_t mask;
    (void)done;
    (void)total;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int s = 1; s < 32; s++)
        if (s != SIGKILL && s != SIGSTOP && !sigismember(&mask, s))
            *(int *)user = s;
    return 0;
}

static void use_everything(void)
{
    char path[300];
    int delivered = 0;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT, none = MGEN_PIPELINE_INIT;
    mgen_generate_params p = request(2);
    mgen_clip *clip, *read;
    p.on_progress = check_mask;
    p.user = &delivered;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    assert_int_equal(mgen_pipeline_open(ctx, "/nonexistent", &none), MGEN_E_NOT_FOUND);
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_OK);
    assert_int_equal(delivered, 0);
    snprintf(path, sizeof path, "%s/guest.y4m", dir);
    assert_int_equal(mgen_clip_write(ctx, clip, path), MGEN_OK);
    assert_int_equal(mgen_clip_read(ctx, path, 0, 0, &read), MGEN_OK);
    mgen_clip_destroy(read);
    snprintf(path, sizeof path, "%s/guest.mp4", dir); /* loads the plug-in where there is one */
    mgen_status status = mgen_clip_write(ctx, clip, path);
    assert_true(status == MGEN_OK || status == MGEN_E_UNSUPPORTED);
    mgen_clip_destroy(clip);
    mgen_pipeline_close(&pipe);
    train_tiny(ctx, (const char *const[]){"video"}, 1);
    mgen_context_destroy(ctx);
}

static void test_nothing_left(void **state)
{
    static process before, after; /* large */
    (void)state;
    use_everything(); /* the C library opens and allocates on first use */
    look(&before);
    use_everything();
    assert_true(proc_threads_fall_to(before.threads));
    look(&after);
    assert_memory_equal(before.action, after.action, sizeof after.action);
    assert_memory_equal(&before.mask, &after.mask, sizeof after.mask);
    assert_memory_equal(&before.floats, &after.floats, sizeof after.floats);
    assert_string_equal(before.locale, after.locale);
    assert_string_equal(before.folder, after.folder);
    assert_int_equal(before.fds, after.fds);
    assert_int_equal(before.threads, after.threads);
    assert_int_equal(before.umask, after.umask);
}

/* Nothing is printed: both streams of the process go to a file meanwhile. */
static void test_silent(void **state)
{
    (void)state;
    char path[300];
    struct stat info;
    snprintf(path, sizeof path, "%s/printed", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fflush(stdout);
    fflush(stderr);
    int out = dup(1), err = dup(2);
    assert_true(dup2(fileno(file), 1) == 1 && dup2(fileno(file), 2) == 2);
    use_everything();
    fflush(stdout);
    fflush(stderr);
    assert_true(dup2(out, 1) == 1 && dup2(err, 2) == 2);
    close(out);
    close(err);
    assert_int_equal(fstat(fileno(file), &info), 0);
    fclose(file);
    assert_int_equal(info.st_size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_destroy),  cmocka_unit_test(test_shared_models),
        cmocka_unit_test(test_cancel),          cmocka_unit_test(test_handles_outlive),
        cmocka_unit_test(test_results_outlive), cmocka_unit_test(test_nothing_left),
        cmocka_unit_test(test_silent),
    };
    return cmocka_run_group_tests(tests, setup_trained, teardown);
}
