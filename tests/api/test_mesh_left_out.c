/* SPDX-License-Identifier: MIT
 * A pipeline on a mesh that some of its models do not fit, here of threads: it opens without those that text to video does not
 * need, says so once, and requests for them say why on all ranks. */
#include "tiny_personalizer.h"

#include "clip_bench.h"
#include "meeting.h"
#include "tiny_audio.h"

enum { RANKS = 2, PATIENCE_MS = 20000, ASKED = 4, LINE = 512 };

static const char *const files[ASKED] = {"upsampler", "editor", "personalizer", "audio"};
static const char *const titles[ASKED] = {"upsampler", "editor", "personalizer", "audio model"};

/* One rank, and what it saw. */
typedef struct rank {
    seat at;
    const char *axes;
    bool only_opens;
    mgen_status opened, made, asked[ASKED], told[ASKED], begun, later;
    bool has[ASKED];
    char said[ASKED][LINE], error[LINE], warned[ASKED * LINE];
    int warnings;
    counter memory;
} rank;

static void on_log(void *user, int32_t level, const char *text)
{
    rank *r = user;
    if (level != MGEN_LOG_WARN)
        return;
    size_t used = strlen(r->warned);
    snprintf(r->warned + used, sizeof r->warned - used, "%s\n", text);
    r->warnings++;
}

static mgen_status wait_for(mgen_status started, mgen_job *job)
{
    mgen_status status = started == MGEN_OK ? mgen_job_wait(job, -1) : started;
    mgen_job_destroy(job);
    return status;
}

static mgen_generate_params request(void)
{
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    p.prompt = "make the ball blue";
    p.steps = 2;
    return p;
}

/* Each request that needs a model of its own, and its estimate. */
static void ask_for(rank *r, int k, mgen_context *ctx, const mgen_pipeline *pipe,
                    const mgen_clip *clip)
{
    static const maker makers[] = {{mgen_upsample_start, mgen_upsample_estimate},
                                   {mgen_edit_start, mgen_edit_estimate},
                                   {mgen_personalize_start, mgen_personalize_estimate}};
    mgen_generate_params p = request();
    mgen_sound_params s = MGEN_SOUND_PARAMS_INIT;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_job *job = NULL;
    mgen_status started;
    s.seconds = 0.32;
    r->told[k] = k < 3 ? makers[k].estimate(ctx, pipe, clip, &p, &e)
                       : mgen_sound_estimate(ctx, pipe, NULL, &s, &e);
    started = k < 3 ? makers[k].start(ctx, pipe, clip, &p, &job)
                    : mgen_sound_start(ctx, pipe, NULL, &s, &job);
    r->asked[k] = wait_for(started, job);
    snprintf(r->said[k], LINE, "%s", mgen_last_error(ctx));
}

static void ask(rank *r, mgen_context *ctx, const mgen_pipeline *pipe)
{
    mgen_clip *clip = source(ctx, 24, 16, 9);
    mgen_job *job = NULL;
    mgen_generate_params p = request();
    p.frames = 9;
    mgen_status started = mgen_generate_start(ctx, pipe, &p, &job);
    r->made = wait_for(started, job);
    for (int k = 0; k < ASKED; k++)
        ask_for(r, k, ctx, pipe, clip);
    p.frames = 0;
    p.strength = 0.6f; /* an edit that the video model makes */
    job = NULL;
    started = mgen_edit_start(ctx, pipe, clip, &p, &job);
    r->begun = wait_for(started, job);
    mgen_clip_destroy(clip);
}

static void *rank_main(void *arg)
{
    rank *r = arg;
    mgen_context *ctx = NULL;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    cp.threads = 1;
    cp.allocator = (mgen_allocator){count_alloc, count_free, &r->memory};
    cp.log = on_log;
    cp.log_user = r;
    r->opened = mgen_context_create(&cp, &ctx);
    if (r->opened == MGEN_OK)
        r->opened = take_seat(ctx, &r->at, r->axes, &pipe.mesh);
    if (r->opened == MGEN_OK)
        r->opened = mgen_pipeline_open(ctx, dir, &pipe);
    snprintf(r->error, sizeof r->error, "%s", mgen_last_error(ctx));
    const bool has[] = {pipe.upsampler, pipe.editor, pipe.personalizer, pipe.audio};
    memcpy(r->has, has, sizeof has);
    if (r->opened == MGEN_OK && !r->only_opens)
        ask(r, ctx, &pipe);
    r->later = mgen_mesh_barrier(pipe.mesh);
    mgen_pipeline_close(&pipe);
    mgen_mesh_destroy(pipe.mesh);
    mgen_context_destroy(ctx);
    return NULL;
}

/* All ranks at once, to their ends; nothing of them is left, and the mesh is good. */
static void run(rank ranks[RANKS], const char *axes, bool only_opens)
{
    for (uint32_t i = 0; i < RANKS; i++)
        ranks[i] = (rank){.axes = axes, .only_opens = only_opens, .made = 1};
    MEET(rank_main, ranks, RANKS, PATIENCE_MS);
    for (uint32_t i = 0; i < RANKS; i++) {
        assert_int_equal(ranks[i].memory.blocks, 0);
        assert_int_equal(ranks[i].later, MGEN_OK);
    }
}

/* -- files ------------------------------------------------------------------------------------------- */

/* A model's file has another number of heads; its weights are the same. */
static void set_heads(const char *name, char from, char to)
{
    char path[300], text[8192];
    snprintf(path, sizeof path, "%s/%s.json", dir, name);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    size_t size = fread(text, 1, sizeof text - 1, f);
    text[size] = '\0';
    char *at = strstr(text, "\"heads\":");
    assert_non_null(at);
    at += strlen("\"heads\":");
    at += *at == ' ';
    assert_int_equal(*at, from);
    *at = to;
    rewind(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static mgi_pipeline_file read_pipeline(void)
{
    mgi_pipeline_file file;
    mgen_context *ctx = make_context(1);
    assert_int_equal(mgi_pipeline_file_read(ctx, dir, "pipeline", &file), MGEN_OK);
    mgen_context_destroy(ctx);
    return file;
}

static void write_pipeline(const mgi_pipeline_file *file)
{
    mgen_context *ctx = make_context(1);
    assert_int_equal(mgi_pipeline_file_write(ctx, dir, "pipeline", file), MGEN_OK);
    mgen_context_destroy(ctx);
}

static int setup_everything(void **state)
{
    if (setup_all(state))
        return 1;
    mgen_context *ctx = make_context(2);
    train_audio(ctx);
    mgen_context_destroy(ctx);
    return 0;
}

/* -- what is seen ------------------------------------------------------------------------------------ */

static void assert_asked(const rank *r, int k, mgen_status status, const char *part)
{
    if (r->asked[k] != status || r->told[k] != status || !strstr(r->said[k], part))
        fail_msg("%s, rank %u, %s: %s (estimate: %s): \"%s\" does not say \"%s\"", r->axes,
                 r->at.index, titles[k], mgen_status_name(r->asked[k]),
                 mgen_status_name(r->told[k]), r->said[k], part);
}

/* Each of the models in turn, then all: what the mesh cannot share is not there, and the rest is. */
static void test_left_out(void **state)
{
    static rank ranks[RANKS];
    char part[LINE];
    (void)state;
    for (int out = 0; out <= ASKED; out++) {
        for (int k = 0; k < ASKED; k++)
            if (k == out || out == ASKED)
                set_heads(files[k], '2', '1');
        run(ranks, "tp=2", false);
        for (int i = 0; i < RANKS; i++) {
            const rank *r = &ranks[i];
            if (r->opened || r->made || r->begun)
                fail_msg("rank %d: %s, %s, %s: %s", i, mgen_status_name(r->opened),
                         mgen_status_name(r->made), mgen_status_name(r->begun), r->error);
            assert_string_equal(r->error, "");
            assert_int_equal(r->warnings, i ? 0 : out == ASKED ? ASKED : 1);
            for (int k = 0; k < ASKED; k++) {
                const bool gone = k == out || out == ASKED;
                snprintf(part, sizeof part,
                         "the pipeline lacks its %s, which its mesh cannot share: 1 heads and an "
                         "FFN of %d cannot be split over tp=2 ranks; legal are 1; open it",
                         titles[k], k == 3 ? 40 : 32);
                assert_int_equal(r->has[k], !gone);
                assert_asked(r, k, gone ? MGEN_E_STATE : MGEN_OK, gone ? part : "");
                snprintf(part, sizeof part,
                         "the %s \"%s\" is left out, which the mesh dp=1,cp=1,tp=2 cannot share: 1 "
                         "heads",
                         titles[k], files[k]);
                assert_int_equal(strstr(r->warned, part) != NULL, gone && i == 0);
            }
        }
        for (int k = 0; k < ASKED; k++)
            if (k == out || out == ASKED)
                set_heads(files[k], '1', '2');
    }
}

/* A mesh that they fit leaves nothing out; nor does one of other pipelines know of them. */
static void test_fits(void **state)
{
    static rank ranks[RANKS];
    const mgi_pipeline_file whole = read_pipeline();
    mgi_pipeline_file few = whole;
    (void)state;
    set_heads("editor", '2', '1');
    run(ranks, "dp=2", false);
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(ranks[i].opened, MGEN_OK);
        assert_int_equal(ranks[i].warnings, 0);
        for (int k = 0; k < ASKED; k++)
            assert_asked(&ranks[i], k, MGEN_OK, "");
    }
    set_heads("editor", '1', '2');
    few.editor[0] = 0;
    write_pipeline(&few);
    run(ranks, "tp=2", false);
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(ranks[i].warnings, 0);
        assert_asked(&ranks[i], 1, MGEN_E_STATE, "the pipeline lacks its editor");
        assert_null(strstr(ranks[i].said[1], "mesh"));
    }
    write_pipeline(&whole);
}

/* What fails for another reason, or is needed, or is all that there is, fails as before. */
static void test_fails(void **state)
{
    static rank ranks[RANKS];
    const mgi_pipeline_file whole = read_pipeline();
    mgi_pipeline_file only = {.clip = whole.clip};
    char path[300], kept[300];
    (void)state;
    set_heads("editor", '2', '1');
    snprintf(path, sizeof path, "%s/editor.safetensors", dir);
    snprintf(kept, sizeof kept, "%s/kept", dir);
    assert_int_equal(rename(path, kept), 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("no weights at all", f);
    assert_int_equal(fclose(f), 0);
    run(ranks, "tp=2", true);
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(ranks[i].opened, MGEN_E_CORRUPT);
        assert_non_null(strstr(ranks[i].error, "editor.safetensors"));
    }
    assert_int_equal(rename(kept, path), 0);
    set_heads("video_model", '2', '1');
    run(ranks, "tp=2", true);
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(ranks[i].opened, MGEN_E_INVALID);
        assert_non_null(strstr(ranks[i].error, "1 heads and an FFN of 32 cannot be split"));
        assert_false(ranks[i].has[0] || ranks[i].has[1]);
    }
    set_heads("video_model", '1', '2');
    strcpy(only.editor, "editor");
    write_pipeline(&only);
    run(ranks, "tp=2", true);
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(ranks[i].opened, MGEN_E_INVALID);
        assert_non_null(strstr(ranks[i].error, "the editor \"editor\": 1 heads and an FFN of 32"));
        assert_int_equal(ranks[i].warnings, 0);
    }
    strcpy(only.upsampler, whole.upsampler); /* which fits */
    write_pipeline(&only);
    run(ranks, "tp=2", true);
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(ranks[i].opened, MGEN_OK);
        assert_true(ranks[i].has[0] && !ranks[i].has[1]);
    }
    set_heads("editor", '1', '2');
    write_pipeline(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_left_out), cmocka_unit_test(test_fits),
                                       cmocka_unit_test(test_fails)};
    return cmocka_run_group_tests_name("mesh, models left out", tests, setup_everything, teardown);
}
