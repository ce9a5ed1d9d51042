/* SPDX-License-Identifier: MIT
 * Datasets and trainers as a host drives them. */
#include "tiny.h"

#include <sys/stat.h>

/* -- datasets ---------------------------------------------------------------------------------------- */

typedef struct host {
    int64_t calls, released;
    uint64_t fail_at; /* sample; UINT64_MAX = none */
    bool fail_all;
    mgen_status fail_with;
    bool edits;            /* each square becomes white */
    uint32_t edit_task;    /* of all */
    uint64_t uninstructed; /* sample whose instruction it leaves out */
} host;

/* What the sample becomes: all that was dark is light. */
static void draw_edit(const host *h, uint64_t index, mgen_sample *s)
{
    assert_true(!s->edited == !h->edits && !s->instruction == !h->edits);
    assert_true(s->edit_task == MGEN_EDIT_AUTO && s->reserved0 == 0);
    for (size_t i = 0; h->edits && i < (size_t)s->frames * s->height * s->width * 3; i++)
        s->edited[i] = (uint8_t)(255 - s->pixels[i]);
    if (h->edits && index != h->uninstructed)
        snprintf(s->instruction, s->caption_size, "invert square number %d", (int)index);
    s->edit_task = h->edit_task;
}

/* A square that moves, drawn by the host. */
static mgen_status draw(void *user, uint64_t index, mgen_sample *s)
{
    host *h = user;
    h->calls++;
    if (h->fail_all || index == h->fail_at)
        return h->fail_with;
    assert_true(s->caption_size > 32);
    assert_int_equal(s->caption[0], 0);
    snprintf(s->caption, s->caption_size, "square number %d", (int)index);
    for (uint32_t f = 0; f < s->frames; f++)
        for (uint32_t y = 0; y < s->height; y++)
            for (uint32_t x = 0; x < s->width; x++) {
                uint8_t *rgb = s->pixels + 3 * ((f * s->height + y) * s->width + x);
                bool inside = x - f - index % 16 < 20 && y > 20 && y < 40;
                rgb[0] = inside ? 250 : 20;
                rgb[1] = (uint8_t)(index * 9);
                rgb[2] = 60;
            }
    draw_edit(h, index, s);
    return MGEN_OK;
}

static void released(void *user)
{
    ((host *)user)->released++;
}

static mgen_dataset_params host_params(host *h)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = p.height = 64;
    p.frames = 32;
    p.count = 40;
    p.read = draw;
    p.released = released;
    p.user = h;
    p.fps = 24;
    return p;
}

static void test_toybox(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_dataset *a = NULL, *b = NULL;
    mgen_clip *one, *two;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    char caption[96], small[5];
    assert_int_equal(mgen_dataset_toybox(ctx, 3, &a), MGEN_OK);
    assert_int_equal(mgen_dataset_toybox(ctx, 3, &b), MGEN_OK);
    assert_true(mgen_dataset_count(a) == UINT64_MAX);
    assert_int_equal(mgen_dataset_read(ctx, a, 12, caption, sizeof caption, &one), MGEN_OK);
    assert_int_equal(mgen_dataset_read(ctx, b, 12, small, sizeof small, &two), MGEN_OK);
    assert_int_equal(mgen_clip_get_info(one, &info), MGEN_OK);
    assert_int_equal(info.frames, 32);
    assert_memory_equal(mgen_clip_pixels(one), mgen_clip_pixels(two), TINY_BYTES);
    assert_true(strlen(caption) > 10 && strlen(small) == 4 && !strncmp(caption, small, 4));
    mgen_clip_destroy(two);
    assert_int_equal(mgen_dataset_read(ctx, a, 13, NULL, 0, &two), MGEN_OK);
    assert_memory_not_equal(mgen_clip_pixels(one), mgen_clip_pixels(two), TINY_BYTES);
    mgen_clip_destroy(one);
    mgen_clip_destroy(two);
    assert_ptr_equal(mgen_dataset_retain(a), a);
    mgen_dataset_release(a);
    assert_true(mgen_dataset_count(a) == UINT64_MAX);
    mgen_dataset_release(a);
    mgen_context_destroy(ctx);
    mgen_dataset_release(b); /* outlives its context */
    mgen_dataset_release(NULL);
    assert_null(mgen_dataset_retain(NULL));
    assert_int_equal(mgen_dataset_count(NULL), 0);
}

static void test_host_dataset(void **state)
{
    (void)state;
    host h = {.fail_at = 7, .fail_with = MGEN_E_IO};
    mgen_context *ctx = make_context(1);
    mgen_dataset_params p = host_params(&h);
    mgen_dataset *ds = NULL;
    mgen_clip *clip;
    char caption[64];
    p.width = 60;
    assert_int_equal(mgen_dataset_create(ctx, &p, &ds), MGEN_E_INVALID);
    p.width = 64;
    p.count = 0;
    assert_int_equal(mgen_dataset_create(ctx, &p, &ds), MGEN_E_INVALID);
    p.count = 40;
    p.read = NULL;
    assert_int_equal(mgen_dataset_create(ctx, &p, &ds), MGEN_E_INVALID);
    assert_int_equal(h.released, 0);
    p.read = draw;
    assert_int_equal(mgen_dataset_create(ctx, &p, &ds), MGEN_OK);
    assert_int_equal(mgen_dataset_count(ds), 40);
    assert_int_equal(mgen_dataset_read(ctx, ds, 39, caption, sizeof caption, &clip), MGEN_OK);
    assert_string_equal(caption, "square number 39");
    assert_int_equal(mgen_clip_pixels(clip)[2], 60);
    mgen_clip_destroy(clip);
    assert_int_equal(mgen_dataset_read(ctx, ds, 40, NULL, 0, &clip), MGEN_E_INVALID);
    assert_null(clip);
    assert_int_equal(mgen_dataset_read(ctx, ds, 7, NULL, 0, &clip), MGEN_E_IO);
    assert_non_null(strstr(mgen_last_error(ctx), "7"));
    mgen_dataset_release(ds);
    assert_int_equal(h.released, 1);
    mgen_context_destroy(ctx);
}

static void put_text(const char *folder, const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void test_folder(void **state)
{
    (void)state;
    char folder[300], path[400], caption[64];
    mgen_context *ctx = make_context(1);
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgen_dataset *toybox, *ds = NULL;
    mgen_clip *clip, *back;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    p.width = p.height = 32;
    p.frames = 16;
    snprintf(folder, sizeof folder, "%s/films", dir);
    assert_int_equal(mgen_dataset_open(ctx, folder, &p, &ds), MGEN_E_NOT_FOUND);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(mgen_dataset_open(ctx, folder, &p, &ds), MGEN_E_NOT_FOUND);
    assert_null(ds);
    assert_int_equal(mgen_dataset_toybox(ctx, 1, &toybox), MGEN_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mgen_dataset_read(ctx, toybox, (uint64_t)i, NULL, 0, &clip), MGEN_OK);
        snprintf(path, sizeof path, "%s/film%d.y4m", folder, i);
        assert_int_equal(mgen_clip_write(ctx, clip, path), MGEN_OK);
        mgen_clip_destroy(clip);
    }
    put_text(folder, "film1.txt", "the second one\n");
    assert_int_equal(mgen_dataset_open(ctx, folder, &p, &ds), MGEN_OK);
    assert_int_equal(mgen_dataset_count(ds), 3);
    assert_int_equal(mgen_dataset_read(ctx, ds, 1, caption, sizeof caption, &clip), MGEN_OK);
    assert_string_equal(caption, "the second one");
    assert_int_equal(mgen_clip_get_info(clip, &info), MGEN_OK);
    assert_true(info.width == 32 && info.height == 32 && info.frames == 16);
    mgen_clip_destroy(clip);
    assert_int_equal(mgen_dataset_read(ctx, ds, 0, caption, sizeof caption, &clip), MGEN_OK);
    assert_string_equal(caption, "");
    mgen_clip_destroy(clip);
    put_text(folder, "film2.y4m", "YUV4MPEG2 nonsense");
    assert_int_equal(mgen_dataset_read(ctx, ds, 2, NULL, 0, &clip), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "film2.y4m"));
    mgen_dataset_release(ds);
    /* films by themselves */
    snprintf(path, sizeof path, "%s/film0.y4m", folder);
    assert_int_equal(mgen_clip_read(ctx, path, 30, 10, &back), MGEN_OK);
    assert_int_equal(mgen_clip_get_info(back, &info), MGEN_OK);
    assert_true(info.frames == 2 && info.width == 64 && info.fps_num == 16 * info.fps_den);
    mgen_clip_destroy(back);
    assert_int_equal(mgen_clip_read(ctx, path, 0, 0, &back), MGEN_OK);
    assert_int_equal(mgen_clip_get_info(back, &info), MGEN_OK);
    assert_int_equal(info.frames, 32);
    mgen_clip_destroy(back);
    assert_int_equal(mgen_clip_read(ctx, path, 32, 1, &back), MGEN_E_INVALID);
    assert_null(back);
    snprintf(path, sizeof path, "%s/none.y4m", folder);
    assert_int_equal(mgen_clip_read(ctx, path, 0, 0, &back), MGEN_E_NOT_FOUND);
    mgen_dataset_release(toybox);
    mgen_context_destroy(ctx);
}

/* -- trainers ---------------------------------------------------------------------------------------- */

typedef struct watcher {
    mgen_trainer *trainer;
    uint64_t steps, stop_after;
    bool by_answer;
    double last_loss;
} watcher;

static int32_t watch(void *user, uint64_t step, const mgen_report *report)
{
    watcher *w = user;
    assert_true((double)step == mgen_report_value(report, 0));
    w->last_loss = mgen_report_value(report, 1);
    w->steps++;
    if (w->steps != w->stop_after)
        return 0;
    if (!w->by_answer)
        mgen_trainer_stop(w->trainer);
    return w->by_answer;
}

static mgen_trainer_params trainer_params(const char *stage, watcher *w)
{
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    p.recipe = recipe;
    p.stage = stage;
    p.dir = dir;
    p.seed = 7;
    p.on_step = w ? watch : NULL;
    p.user = w;
    return p;
}

static uint64_t weights_hash(mgen_context *ctx)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    uint64_t hash = mgen_pipeline_hash(&pipe);
    mgen_pipeline_close(&pipe);
    return hash;
}

/* Stopped in both ways, written down, taken up again by another trainer: the weights of an unbroken run. */
static void test_resume(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_trainer *t = NULL;
    char path[300];
    snprintf(path, sizeof path, "%s/half.safetensors", dir);
    uint64_t whole = weights_hash(ctx); /* the folder was trained without a break */
    watcher w = {.stop_after = 1};
    mgen_trainer_params p = trainer_params("video", &w);
    assert_int_equal(mgen_trainer_create(ctx, &p, &t), MGEN_OK);
    w.trainer = t;
    assert_int_equal(mgen_trainer_run(t, 0), MGEN_E_CANCELLED);
    assert_int_equal(mgen_trainer_position(t), 1);
    w.by_answer = true;
    w.stop_after = 2;
    assert_int_equal(mgen_trainer_run(t, 0), MGEN_E_CANCELLED);
    assert_int_equal(mgen_trainer_position(t), 2);
    assert_int_equal(mgen_trainer_steps(t), 3);
    assert_int_equal(mgen_trainer_checkpoint(t, "/nonexistent/x.safetensors"), MGEN_E_NOT_FOUND);
    assert_int_equal(mgen_trainer_checkpoint(t, path), MGEN_OK);
    mgen_trainer_destroy(t);
    p = trainer_params("video", NULL);
    p.resume = path;
    assert_int_equal(mgen_trainer_create(ctx, &p, &t), MGEN_OK);
    assert_int_equal(mgen_trainer_position(t), 2);
    assert_int_equal(mgen_trainer_run(t, 5), MGEN_OK); /* one is left */
    assert_int_equal(mgen_trainer_position(t), 3);
    assert_int_equal(mgen_trainer_run(t, 1), MGEN_E_STATE);
    assert_int_equal(mgen_trainer_save(t), MGEN_OK);
    mgen_trainer_destroy(t);
    assert_true(weights_hash(ctx) == whole);
    p.stage = "tae"; /* another stage's */
    assert_int_equal(mgen_trainer_create(ctx, &p, &t), MGEN_E_STATE);
    assert_null(t);
    p.stage = "video";
    p.resume = "/nonexistent/x";
    assert_int_equal(mgen_trainer_create(ctx, &p, &t), MGEN_E_NOT_FOUND);
    p.resume = recipe;
    assert_int_equal(mgen_trainer_create(ctx, &p, &t), MGEN_E_CORRUPT);
    mgen_context_destroy(ctx);
}

/* Both kinds of stages, on samples of the host; its failure ends the step, which can be taken again. */
static void test_train_on_host(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    host h = {.fail_at = UINT64_MAX};
    mgen_dataset_params dp = host_params(&h);
    mgen_dataset *ds = NULL;
    assert_int_equal(mgen_dataset_create(ctx, &dp, &ds), MGEN_OK);
    for (int k = 0; k < 2; k++) {
        watcher w = {0};
        mgen_trainer_params p = trainer_params(k ? "video" : "tae", &w);
        mgen_trainer *t = NULL;
        p.dataset = ds;
        if (mgen_trainer_create(ctx, &p, &t) != MGEN_OK)
            fail_msg("%s", mgen_last_error(ctx));
        int64_t calls = h.calls;
        assert_int_equal(mgen_trainer_run(t, 0), MGEN_OK);
        assert_true(w.steps == mgen_trainer_steps(t) && w.last_loss > 0.0);
        assert_true(k == 1 || h.calls > calls); /* the video stage has read its clips already */
        if (k == 1) {
            mgen_pipeline pipe = MGEN_PIPELINE_INIT;
            assert_int_equal(mgen_trainer_save(t), MGEN_OK);
            assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
            assert_int_equal(pipe.fps, 24); /* the clips' */
            mgen_pipeline_close(&pipe);
        }
        mgen_trainer_destroy(t);
    }
    mgen_trainer_params p = trainer_params("tae", NULL);
    mgen_trainer *t = NULL;
    p.dataset = ds;
    assert_int_equal(mgen_trainer_create(ctx, &p, &t), MGEN_OK);
    h.fail_all = true;
    h.fail_with = MGEN_E_NOT_FOUND;
    assert_int_equal(mgen_trainer_step(t, NULL), MGEN_E_NOT_FOUND);
    assert_non_null(strstr(mgen_last_error(ctx), "sample"));
    assert_int_equal(mgen_trainer_run(t, 0), MGEN_E_NOT_FOUND);
    assert_int_equal(mgen_trainer_position(t), 0);
    h.fail_all = false;
    assert_int_equal(mgen_trainer_run(t, 0), MGEN_OK);
    mgen_dataset_release(ds); /* the trainer keeps it */
    assert_int_equal(h.released, 0);
    mgen_trainer_destroy(t);
    assert_int_equal(h.released, 1);
    mgen_context_destroy(ctx);
}

static void write_editor_recipe(const char *path)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": ["
          "{\"name\": \"editor\", \"kind\": \"editor\", \"steps\": 3, \"batch\": 2, \"clips\": 4,"
          " \"tae\": \"tae\", \"validate_every\": 3, \"validate_clips\": 4, \"edits\": {\"pairs\": "
          "2, \"animated\": 1},"
          " \"text_encoders\": {\"ul2\": {\"from\": \"text_encoder\", \"frozen\": true}},"
          " \"editor\": {\"steps\": 3, \"transformer\": {\"layers\": 1, \"dim\": 16, \"heads\": 2,"
          " \"ff_dim\": 32, \"channels\": 4, \"condition_channels\": 4, \"tasks\": 8,"
          " \"task_dim\": 8, \"patch\": [1, 2, 2], \"frames_max\": 4, \"rows_max\": 4,"
          " \"columns_max\": 4, \"text_dim\": 16}}, \"optimizer\": {\"lr\": 0.01}}]}",
          f);
    assert_int_equal(fclose(f), 0);
}

/* An editor learns from what the host says are edits; a sample that is none is refused by its number. */
static void test_host_edits(void **state)
{
    (void)state;
    char path[300];
    mgen_context *ctx = make_context(2);
    host h = {.fail_at = UINT64_MAX, .uninstructed = UINT64_MAX, .edits = true};
    mgen_dataset_params dp = host_params(&h);
    mgen_dataset *ds = NULL;
    mgen_trainer *t = NULL;
    mgen_clip *clip;
    watcher w = {0};
    dp.edits = 2;
    assert_int_equal(mgen_dataset_create(ctx, &dp, &ds), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "edits is 2"));
    dp.edits = 1;
    assert_int_equal(mgen_dataset_create(ctx, &dp, &ds), MGEN_OK);
    assert_int_equal(mgen_dataset_read(ctx, ds, 3, NULL, 0, &clip), MGEN_OK);
    assert_int_equal(mgen_clip_pixels(clip)[2], 60); /* the clip before */
    mgen_clip_destroy(clip);
    snprintf(path, sizeof path, "%s/editor_recipe.json", dir);
    write_editor_recipe(path);
    mgen_trainer_params p = trainer_params("editor", &w);
    p.recipe = path;
    p.dataset = ds;
    if (mgen_trainer_create(ctx, &p, &t) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    assert_int_equal(mgen_trainer_run(t, 0), MGEN_OK);
    assert_true(w.steps == 3 && w.last_loss > 0.0);
    mgen_trainer_destroy(t);
    h.uninstructed = 39; /* held out */
    assert_int_equal(mgen_trainer_create(ctx, &p, &t), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "sample 39: its instruction is \"\""));
    h.uninstructed = UINT64_MAX;
    h.edit_task = 8;
    assert_int_equal(mgen_trainer_create(ctx, &p, &t), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "its edit_task is 8"));
    mgen_dataset_release(ds);

    h.edits = false; /* no edits: no editor */
    h.edit_task = MGEN_EDIT_AUTO;
    dp.edits = 0;
    assert_int_equal(mgen_dataset_create(ctx, &dp, &p.dataset), MGEN_OK);
    assert_int_equal(mgen_trainer_create(ctx, &p, &t), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "hosts whose samples are edits"));
    mgen_dataset_release(p.dataset);
    dp = (mgen_dataset_params)MGEN_DATASET_PARAMS_INIT;
    dp.width = dp.height = 64;
    dp.frames = 8;
    dp.edits = 1;
    assert_int_equal(mgen_dataset_open(ctx, dir, &dp, &ds), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "edits must be 0"));
    mgen_context_destroy(ctx);
}

/* Nothing is encoded or learned of a folder with a film that is too short. */
static int32_t on_encoding(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    *(bool *)user |= strstr(what, "encoding") != NULL;
    return 0;
}

static void test_short_film(void **state)
{
    static const char *const stages[] = {"image", "tae", "video"};
    char folder[300], path[400];
    bool encoding = false;
    mgen_context *ctx;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_dataset *toybox;
    (void)state;
    cp.threads = 1;
    cp.progress = on_encoding;
    cp.progress_user = &encoding;
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    snprintf(folder, sizeof folder, "%s/short", dir);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(mgen_dataset_toybox(ctx, 1, &toybox), MGEN_OK);
    for (int i = 0; i < 4; i++) {
        mgen_clip *clip, *part;
        assert_int_equal(mgen_dataset_read(ctx, toybox, (uint64_t)i, NULL, 0, &clip), MGEN_OK);
        snprintf(path, sizeof path, "%s/film%d.y4m", folder, i);
        assert_int_equal(mgen_clip_write(ctx, clip, path), MGEN_OK);
        mgen_clip_destroy(clip);
        assert_int_equal(mgen_clip_read(ctx, path, 0, i == 3 ? 20 : 0, &part), MGEN_OK);
        assert_int_equal(mgen_clip_write(ctx, part, path), MGEN_OK);
        mgen_clip_destroy(part);
    }
    for (int k = 0; k < 6; k++) {
        mgen_trainer *trainer = NULL;
        mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
        mgen_dataset_params dp = MGEN_DATASET_PARAMS_INIT;
        dp.width = dp.height = 64;
        dp.frames = k < 3 ? 32 : 20;
        p.recipe = recipe;
        p.stage = stages[k % 3];
        p.dir = dir;
        assert_int_equal(mgen_dataset_open(ctx, folder, &dp, &p.dataset), MGEN_OK);
        const mgen_status status = mgen_trainer_create(ctx, &p, &trainer);
        if (status != (k < 3 ? MGEN_E_INVALID : MGEN_OK) ||
            (k < 3 && !strstr(mgen_last_error(ctx),
                              "film3.y4m' has 20 frames, fewer than the 32 of a sample; make")))
            fail_msg("%s: %s: %s", p.stage, mgen_status_name(status), mgen_last_error(ctx));
        assert_int_equal(encoding, k == 5);
        mgen_trainer_destroy(trainer);
        mgen_dataset_release(p.dataset);
    }
    mgen_dataset_release(toybox);
    mgen_context_destroy(ctx);
}

/* Films of several aspects and lengths: of each bucket those that are like it. */
static const char mixed_text[] =
    "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": ["
    "{\"name\": \"mixed\", \"kind\": \"text_to_video\", \"steps\": 2, \"batch\": 2, "
    "\"clips\": 4, \"tae\": \"tae\", \"validate_every\": 2, \"validate_clips\": 4, \"save_as\": "
    "\"mixed\","
    " \"buckets\": [{\"width\": 64, \"height\": 32, \"frames\": 9},"
    " {\"width\": 32, \"height\": 32, \"frames\": 17}, {\"width\": 32, \"height\": 64, "
    "\"frames\": 9}],"
    " \"text_encoder\": {\"vocab\": 259, \"dim\": 16, \"layers\": 1, \"heads\": 2, \"head_dim\": "
    "8, \"ff_dim\": 16, \"tokens_max\": 64},"
    " \"video_model\": {\"layers\": 1, \"dim\": 16, \"heads\": 2, \"ff_dim\": 32, \"channels\": 4,"
    " \"patch\": [1, 2, 2], \"frames_max\": 4, \"rows_max\": 4, \"columns_max\": 4, \"text_dim\": "
    "16}, \"optimizer\": {\"lr\": 0.01}}]}";

static void put_film(mgen_context *ctx, const char *in, int number, uint32_t width, uint32_t frames)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *clip;
    char path[400];
    info.width = width;
    info.height = 64;
    info.frames = frames;
    info.fps_num = 16;
    info.fps_den = 1;
    snprintf(path, sizeof path, "%s/%d.y4m", in, number);
    assert_int_equal(mgen_clip_create(ctx, &info, &clip), MGEN_OK);
    assert_int_equal(mgen_clip_write(ctx, clip, path), MGEN_OK);
    mgen_clip_destroy(clip);
}

/* What the log says of films in buckets. */
static void on_log(void *user, int32_t level, const char *text)
{
    char *all = user;
    (void)level;
    if (strstr(text, "bucket "))
        snprintf(all + strlen(all), 2000 - strlen(all), "%s\n", text);
}

static void test_mixed_films(void **state)
{
    static const char *const says[] = {"64 x 32 x 9 frames: 2 of the folder's films\n",
                                       "32 x 32 x 17 frames: 3 of the folder's films\n",
                                       "32 x 64 x 9 frames: 0 of the folder's films; its share"};
    static char logged[2000];
    char folder[300], path[300];
    mgen_context *ctx;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_dataset_params dp = MGEN_DATASET_PARAMS_INIT;
    mgen_trainer *trainer;
    watcher w = {0};
    (void)state;
    cp.threads = 1;
    cp.log = on_log;
    cp.log_user = logged;
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    snprintf(folder, sizeof folder, "%.200s/mixed", dir);
    snprintf(path, sizeof path, "%.200s/mixed.json", dir);
    assert_int_equal(mkdir(folder, 0700), 0);
    put_text(dir, "mixed.json", mixed_text);
    for (int i = 0; i < 5; i++)
        put_film(ctx, folder, i, i % 2 ? 128 : 64, i % 2 ? 9 : 17 + (uint32_t)i);
    mgen_trainer_params p = trainer_params("mixed", &w);
    p.recipe = path;
    dp.width = dp.height = 64;
    dp.frames = 9;
    assert_int_equal(mgen_dataset_open(ctx, folder, &dp, &p.dataset), MGEN_OK);
    if (mgen_trainer_create(ctx, &p, &trainer) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    for (int i = 0; i < 3; i++)
        if (!strstr(logged, says[i]))
            fail_msg("'%s' does not say '%s'", logged, says[i]);
    if (mgen_trainer_run(trainer, 0) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    assert_int_equal(mgen_trainer_position(trainer), 2);
    mgen_trainer_destroy(trainer);
    put_film(ctx, folder, 3, 128, 8); /* too short for all */
    assert_int_equal(mgen_trainer_create(ctx, &p, &trainer), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "3.y4m' has 8 frames, fewer than the 9"));
    mgen_dataset_release(p.dataset);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_toybox),        cmocka_unit_test(test_host_dataset),
        cmocka_unit_test(test_folder),        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_train_on_host), cmocka_unit_test(test_host_edits),
        cmocka_unit_test(test_short_film),    cmocka_unit_test(test_mixed_films),
    };
    return cmocka_run_group_tests(tests, setup_trained, teardown);
}
