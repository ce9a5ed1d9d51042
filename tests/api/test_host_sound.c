/* SPDX-License-Identifier: MIT
 * Sound and rates of samples that a host reads: an audio codec and an audio model learn from them, go on after a break to the
 * same bits, and over ranks as one rank does; what is refused, and programs that were written before samples had any. */
#include "tiny_audio.h"
#include "meeting.h"

#include <math.h>

enum { SAMPLES = 12, STEPS = 160, SIDE = 16, RANKS = 2, MEET_STEPS = 12 };

/* Both stages of tiny_audio.h, for as many steps as it takes to see that they learn. */
static const char host_recipe[] =
    "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": ["
    "{\"name\": \"codec\", \"kind\": \"audio_codec\", \"steps\": 160, \"batch\": 2, \"frames\": 8, "
    "\"l1\": 10, \"validate_every\": 20,"
    " \"mel\": {\"weight\": 1, \"windows\": [64], \"bands\": 8},"
    " \"codec\": {\"strides\": [40, 48], \"dim\": 4, \"decoder_dim\": 8, \"latent_channels\": 4,"
    " \"dilations\": [1]}, \"optimizer\": {\"lr\": 0.01}},"
    "{\"name\": \"audio\", \"kind\": \"audio\", \"steps\": 160, \"validate_every\": 20, "
    "\"nothing_heard\": 1, \"drop\": 0, \"drop_film\": 0, \"drop_text\": 0, " TINY_AUDIO(
        "0.32", "0.01", TINY_VISION, "\"frame_features\": 5,") "}]}";

typedef struct host {
    _Atomic int64_t calls;
    uint64_t bad_sample; /* whose sound is no number; UINT64_MAX: none */
    bool failing, other_words;
} host;

/* A grey picture and a hum, as the sample's number says. */
static mgen_status draw(void *user, uint64_t index, mgen_sample *s)
{
    host *h = user;
    const double turn = 2.0 * acos(-1.0), pitch = 200.0 + 40.0 * (double)(index % 4);
    atomic_fetch_add(&h->calls, 1);
    if (h->failing)
        return MGEN_E_IO;
    memset(s->pixels, (int)(index * 16), (size_t)s->frames * s->height * s->width * 3);
    snprintf(s->caption, s->caption_size, "picture %d", (int)index);
    for (uint64_t i = 0; i < s->sound_samples; i++)
        s->sound[i] = (float)(0.5 * sin(turn * pitch * (double)i / TINY_RATE));
    if (index == h->bad_sample)
        s->sound[5] = NAN;
    if (s->sound_caption && index % 2)
        snprintf(s->sound_caption, s->caption_size, "%s %d", h->other_words ? "noise" : "a hum",
                 (int)index);
    return MGEN_OK;
}

static host make_host(void)
{
    return (host){.bad_sample = UINT64_MAX};
}

/* 0.64 s of 25 frames a second. */
static mgen_dataset_params params_of(host *h)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = p.height = SIDE;
    p.frames = 16;
    p.count = SAMPLES;
    p.read = draw;
    p.user = h;
    p.fps = 25;
    p.sound_samples = TINY_RATE * 64 / 100;
    return p;
}

static mgen_dataset *make_dataset(mgen_context *ctx, const mgen_dataset_params *p)
{
    mgen_dataset *ds = NULL;
    if (mgen_dataset_create(ctx, p, &ds) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    return ds;
}

static int setup_recipe(void **state)
{
    if (setup(state))
        return 1;
    FILE *f = fopen(recipe, "w");
    if (!f)
        return 1;
    fputs(host_recipe, f);
    return fclose(f);
}

/* -- learning -------------------------------------------------------------------------------------- */

typedef struct watcher {
    double loss[STEPS];
    uint64_t steps;
} watcher;

static int32_t watch(void *user, uint64_t step, const mgen_report *report)
{
    watcher *w = user;
    assert_string_equal(mgen_report_name(report, 1), "loss");
    w->loss[step] = mgen_report_value(report, 1);
    w->steps++;
    return 0;
}

static mgen_trainer *make_trainer(mgen_context *ctx, const char *stage, mgen_dataset *ds,
                                  const char *resume, watcher *w)
{
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    mgen_trainer *t = NULL;
    p.recipe = recipe;
    p.stage = stage;
    p.dir = dir;
    p.seed = 7;
    p.dataset = ds;
    p.resume = resume;
    p.on_step = w ? watch : NULL;
    p.user = w;
    if (mgen_trainer_create(ctx, &p, &t) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    return t;
}

static double mean(const double *values, int count)
{
    double sum = 0.0;
    for (int i = 0; i < count; i++)
        sum += values[i];
    return sum / count;
}

/* The weights that a stage saved; the caller frees them. */
static char *saved(const char *stage, size_t *size)
{
    char path[300], *bytes = malloc(1 << 20);
    snprintf(path, sizeof path, "%s/%s.safetensors", dir, stage);
    FILE *f = fopen(path, "rb");
    assert_true(f && bytes);
    *size = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    assert_true(*size > 0 && *size < 1 << 20);
    return bytes;
}

/* At once, and with a break on another dataset of the same samples. */
static void assert_resumes(mgen_context *ctx, const char *stage, watcher *w)
{
    host h = make_host();
    const mgen_dataset_params p = params_of(&h);
    char path[300];
    size_t size, again;
    snprintf(path, sizeof path, "%s/half.safetensors", dir);
    mgen_dataset *ds = make_dataset(ctx, &p);
    mgen_trainer *t = make_trainer(ctx, stage, ds, NULL, w);
    assert_int_equal(mgen_trainer_run(t, 0), MGEN_OK);
    assert_int_equal(mgen_trainer_save(t), MGEN_OK);
    mgen_trainer_destroy(t);
    char *whole = saved(stage, &size);
    t = make_trainer(ctx, stage, ds, NULL, NULL);
    mgen_dataset_release(ds);
    assert_int_equal(mgen_trainer_run(t, STEPS / 2), MGEN_OK);
    assert_int_equal(mgen_trainer_checkpoint(t, path), MGEN_OK);
    mgen_trainer_destroy(t);
    ds = make_dataset(ctx, &p);
    t = make_trainer(ctx, stage, ds, path, NULL);
    mgen_dataset_release(ds);
    assert_int_equal(mgen_trainer_position(t), STEPS / 2);
    assert_int_equal(mgen_trainer_run(t, 0), MGEN_OK);
    assert_int_equal(mgen_trainer_save(t), MGEN_OK);
    mgen_trainer_destroy(t);
    char *broken = saved(stage, &again);
    assert_int_equal(size, again);
    assert_memory_equal(whole, broken, size);
    free(whole);
    free(broken);
}

static void assert_learns(const watcher *w)
{
    const double first = mean(w->loss, 20), last = mean(w->loss + STEPS - 20, 20);
    assert_int_equal(w->steps, STEPS);
    if (!(last < 0.8 * first))
        fail_msg("loss %g, then %g", first, last);
}

static void test_stages(void **state)
{
    static const char *const stages[] = {"codec", "audio"};
    mgen_context *ctx = make_context(2);
    (void)state;
    for (int i = 0; i < 2; i++) {
        watcher w = {.steps = 0};
        assert_resumes(ctx, stages[i], &w);
        assert_learns(&w);
    }
    mgen_context_destroy(ctx);
}

/* A codec takes pieces of the same sounds again and again: the host is asked for each once. */
static void test_heard_once(void **state)
{
    mgen_context *ctx = make_context(2);
    host h = make_host();
    const mgen_dataset_params p = params_of(&h);
    mgen_dataset *ds = make_dataset(ctx, &p);
    mgen_trainer *t = make_trainer(ctx, "codec", ds, NULL, NULL);
    (void)state;
    assert_int_equal(mgen_trainer_run(t, 0), MGEN_OK);
    assert_in_range(atomic_load(&h.calls), SAMPLES / 2, SAMPLES);
    mgen_trainer_destroy(t);
    mgen_dataset_release(ds);
    mgen_context_destroy(ctx);
}

/* -- what a model is told, over ranks --------------------------------------------------------------- */

typedef struct rank {
    seat at;
    uint64_t sound_samples; /* 0: as params_of() has it */
    host h;
    watcher w;
    mgen_status status;
    char error[512];
} rank;

static mgen_status train_rank(mgen_context *ctx, rank *r, mgen_mesh **mesh, mgen_trainer **t)
{
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    mgen_dataset_params d = params_of(&r->h);
    mgen_dataset *ds = NULL;
    d.sound_samples = r->sound_samples ? r->sound_samples : d.sound_samples;
    mgen_status status = take_seat(ctx, &r->at, NULL, mesh);
    if (status == MGEN_OK)
        status = mgen_dataset_create(ctx, &d, &ds);
    if (status != MGEN_OK)
        return status;
    p.recipe = recipe;
    p.stage = "audio";
    p.dir = dir;
    p.seed = 7;
    p.dataset = ds;
    p.mesh = *mesh;
    p.on_step = watch;
    p.user = &r->w;
    status = mgen_trainer_create(ctx, &p, t);
    mgen_dataset_release(ds);
    return status == MGEN_OK ? mgen_trainer_run(*t, MEET_STEPS) : status;
}

static void *rank_main(void *arg)
{
    rank *r = arg;
    mgen_context *ctx = NULL;
    mgen_mesh *mesh = NULL;
    mgen_trainer *t = NULL;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.threads = 1;
    r->status = mgen_context_create(&p, &ctx);
    if (r->status == MGEN_OK)
        r->status = train_rank(ctx, r, &mesh, &t);
    snprintf(r->error, sizeof r->error, "%s", ctx ? mgen_last_error(ctx) : "no context");
    mgen_trainer_destroy(t);
    mgen_mesh_destroy(mesh);
    mgen_context_destroy(ctx);
    return NULL;
}

static void run_ranks(rank *ranks, uint32_t count)
{
    MEET(rank_main, ranks, count, 20000);
}

static void assert_ok(const rank *ranks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (ranks[i].status != MGEN_OK)
            fail_msg("rank %u: %s: %s", i, mgen_status_name(ranks[i].status), ranks[i].error);
}

/* What one rank reads the others are told: two have the losses of one, and other words would have others. */
static void test_ranks(void **state)
{
    rank one = {.h = make_host()}, two[RANKS] = {{.h = make_host()}, {.h = make_host()}};
    rank other = {.h = make_host()};
    (void)state;
    run_ranks(&one, 1);
    run_ranks(two, RANKS);
    assert_ok(&one, 1);
    assert_ok(two, RANKS);
    other.h.other_words = true;
    run_ranks(&other, 1);
    assert_ok(&other, 1);
    for (int i = 0; i < MEET_STEPS; i++) {
        assert_float_equal(two[0].w.loss[i], one.w.loss[i], 1e-4 * one.w.loss[i]);
        assert_true(two[1].w.loss[i] == two[0].w.loss[i]);
    }
    assert_true(fabs(other.w.loss[MEET_STEPS - 1] - one.w.loss[MEET_STEPS - 1]) >
                1e-3 * one.w.loss[MEET_STEPS - 1]);
    two[1].sound_samples = TINY_RATE;
    run_ranks(two, RANKS);
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(two[i].status, MGEN_E_DESYNC);
        assert_non_null(strstr(two[i].error, "48000 of sound"));
    }
}

/* -- what is refused ------------------------------------------------------------------------------- */

static void assert_said(mgen_context *ctx, mgen_status got, mgen_status wanted, const char *part)
{
    if (got != wanted || !strstr(mgen_last_error(ctx), part))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(ctx), part);
}

/* A stage that is not to begin on such samples. */
static void assert_refused(mgen_context *ctx, const char *stage, const mgen_dataset_params *data,
                           mgen_status status, const char *said)
{
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    mgen_trainer *t = NULL;
    mgen_dataset *ds = make_dataset(ctx, data);
    p.recipe = recipe;
    p.stage = stage;
    p.dir = dir;
    p.dataset = ds;
    assert_said(ctx, mgen_trainer_create(ctx, &p, &t), status, said);
    assert_null(t);
    mgen_dataset_release(ds);
}

static void test_refused(void **state)
{
    mgen_context *ctx = make_context(1);
    host h = make_host();
    mgen_dataset_params p = params_of(&h);
    (void)state;
    p.sound_samples = 0;
    assert_refused(ctx, "codec", &p, MGEN_E_INVALID, "sound_samples");
    assert_refused(ctx, "audio", &p, MGEN_E_INVALID, "sound_samples");
    p = params_of(&h);
    p.frames = 7; /* 0.28 s, where "lengths" have 0.32 */
    assert_refused(ctx, "audio", &p, MGEN_E_INVALID,
                   "samples of 7 frames, 25 a second, end before the 8 that are seen");
    p.frames = 8;
    h.bad_sample = SAMPLES - 1; /* which validation hears */
    assert_refused(ctx, "audio", &p, MGEN_E_INVALID,
                   "sample 11: its sound is nan at 5 of 30720; sounds are of -1 to 1");
    h.failing = true;
    assert_refused(ctx, "audio", &p, MGEN_E_IO, "the dataset's callback answered MGEN_E_IO");
    mgen_context_destroy(ctx);
}

static void test_params(void **state)
{
    mgen_context *ctx = make_context(1);
    host h = make_host();
    mgen_dataset *ds = NULL;
    mgen_dataset_params p = params_of(&h);
    (void)state;
    p.fps = 241;
    assert_said(ctx, mgen_dataset_create(ctx, &p, &ds), MGEN_E_INVALID, "fps is 241");
    p.fps = 240;
    p.sound_samples = UINT64_MAX;
    assert_said(ctx, mgen_dataset_create(ctx, &p, &ds), MGEN_E_INVALID,
                "sound_samples is 18446744073709551615");
    assert_null(ds);
    p = (mgen_dataset_params)MGEN_DATASET_PARAMS_INIT;
    p.width = p.height = SIDE;
    p.frames = 1;
    p.fps = 25;
    assert_said(ctx, mgen_dataset_open(ctx, dir, &p, &ds), MGEN_E_INVALID, "must be 0");
    p.fps = 0;
    p.sound_samples = 1;
    assert_said(ctx, mgen_dataset_open(ctx, dir, &p, &ds), MGEN_E_INVALID, "must be 0");
    assert_null(ds);
    mgen_context_destroy(ctx);
}

/* -- rates, and older programs --------------------------------------------------------------------- */

static void assert_rate(mgen_context *ctx, const mgen_dataset_params *p, uint32_t fps)
{
    mgen_dataset *ds = make_dataset(ctx, p);
    mgen_clip *clip = NULL;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    char caption[64];
    assert_int_equal(mgen_dataset_read(ctx, ds, 2, caption, sizeof caption, &clip), MGEN_OK);
    assert_string_equal(caption, "picture 2");
    assert_int_equal(mgen_clip_get_info(clip, &info), MGEN_OK);
    assert_int_equal(info.fps_num, fps);
    assert_int_equal(info.fps_den, 1);
    assert_int_equal(mgen_clip_pixels(clip)[0], 32);
    mgen_clip_destroy(clip);
    mgen_dataset_release(ds);
}

/* One that is silent: of a struct that ends before the rate, what is behind it is not looked at. */
static mgen_status draw_as_before(void *user, uint64_t index, mgen_sample *s)
{
    assert_true(!s->sound && !s->sound_caption && s->sound_samples == 0);
    return draw(user, index, s);
}

static void test_rates(void **state)
{
    mgen_context *ctx = make_context(1);
    host h = make_host();
    mgen_dataset_params p = params_of(&h);
    (void)state;
    assert_rate(ctx, &p, 25);
    p.fps = 0;
    assert_rate(ctx, &p, 16);
    p.read = draw_as_before;
    p.fps = 9999;
    p.edits = 9999;
    p.sound_samples = UINT64_MAX;
    p.struct_size = offsetof(mgen_dataset_params, fps);
    assert_rate(ctx, &p, 16);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages), cmocka_unit_test(test_heard_once),
        cmocka_unit_test(test_ranks),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_params), cmocka_unit_test(test_rates),
    };
    return cmocka_run_group_tests(tests, setup_recipe, teardown);
}
