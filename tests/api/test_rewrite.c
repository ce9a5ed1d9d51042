/* SPDX-License-Identifier: MIT
 * Prompts rewritten, from outside: what the header promises of the handle, the pipeline's field, what is made and refused, and
 * where a folder keeps its rewriter. */
#include "tiny_rewriter.h"
#include "meeting.h"

#include <sys/stat.h>

enum { ENOUGH = 4097, WARNED_MAX = 400 };

static const char *const plain = "a red ball rolls left";
static const char *const quoted = "a sign that says \"so\"";

/* What the log was told last. */
static void on_log(void *user, int32_t level, const char *text)
{
    if (level <= MGEN_LOG_WARN)
        snprintf(user, WARNED_MAX, "%s", text);
}

static mgen_context *listening_context(char warned[WARNED_MAX])
{
    mgen_context *ctx = NULL;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.threads = 1;
    p.log = on_log;
    p.log_user = warned;
    *warned = '\0';
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    return ctx;
}

static mgen_pipeline opened(mgen_context *ctx)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    if (mgen_pipeline_open(ctx, dir, &pipe) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    assert_non_null(pipe.rewriter);
    return pipe;
}

static void becomes(mgen_context *ctx, const mgen_pipeline *pipe, const char *prompt,
                    const char *what)
{
    char out[ENOUGH];
    if (mgen_rewrite(ctx, pipe, prompt, out, sizeof out) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    assert_string_equal(out, what);
}

/* -- the handle ------------------------------------------------------------------------------------- */

static void test_handle(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_pipeline pipe = opened(ctx);
    mgen_rewriter *r;
    mgen_model_info info = MGEN_MODEL_INFO_INIT, other = MGEN_MODEL_INFO_INIT;
    const uint64_t dim = TINY_REWRITER_DIM, table = 259 * dim, bias = 8 * 2;
    const uint64_t attention = dim + 4 * dim * dim, ffn = dim + 3 * dim * dim;
    assert_int_equal(mgen_rewriter_open(ctx, dir, "rewriter", &r), MGEN_OK);
    assert_ptr_equal(mgen_rewriter_retain(r), r);
    mgen_rewriter_release(r);
    assert_int_equal(mgen_rewriter_get_info(r, &info), MGEN_OK);
    assert_int_equal(mgen_rewriter_get_info(pipe.rewriter, &other), MGEN_OK);
    assert_memory_equal(&info, &other, sizeof info);
    /* of encoder and decoder, which attends twice and has a head */
    assert_int_equal(info.parameters, 3 * table + 2 * bias + 3 * attention + 2 * ffn + 2 * dim);
    assert_true(info.bytes >= 4 * info.parameters && info.hash != 0);
    assert_true(info.channels == 0 && info.text_width == 0 && info.text_tokens == 0);
    assert_int_equal(mgen_text_encoder_get_info(pipe.text[0], &other), MGEN_OK);
    assert_true(other.hash != info.hash);
    assert_int_equal(mgen_rewriter_get_info(NULL, &info), MGEN_E_INVALID);
    assert_int_equal(mgen_rewriter_get_info(r, NULL), MGEN_E_INVALID);
    mgen_rewriter_release(r);
    mgen_rewriter_release(NULL);
    assert_null(mgen_rewriter_retain(NULL));
    assert_int_equal(mgen_rewriter_open(ctx, dir, "text_encoder", &r), MGEN_E_CORRUPT);
    assert_null(r);
    assert_int_equal(mgen_rewriter_open(ctx, dir, "none", &r), MGEN_E_NOT_FOUND);
    assert_int_equal(mgen_rewriter_open(ctx, dir, "../rewriter", &r), MGEN_E_INVALID);
    assert_int_equal(mgen_rewriter_open(ctx, dir, "rewriter", NULL), MGEN_E_INVALID);
    assert_int_equal(mgen_rewriter_open(NULL, dir, "rewriter", &r), MGEN_E_INVALID);
    mgen_pipeline_close(&pipe);
    assert_null(pipe.rewriter);
    mgen_context_destroy(ctx);
}

/* A host whose header had no rewriter: its struct ends before that field. */
static void test_old_pipeline(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_pipeline old = MGEN_PIPELINE_INIT, whole = opened(ctx), bare = whole;
    mgen_rewriter *const mark = (mgen_rewriter *)&old;
    char out[ENOUGH];
    old.struct_size = offsetof(mgen_pipeline, rewriter);
    old.rewriter = mark;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &old), MGEN_OK);
    bare.rewriter = NULL;
    assert_true(mgen_pipeline_hash(&old) == mgen_pipeline_hash(&bare));
    assert_true(mgen_pipeline_hash(&old) != mgen_pipeline_hash(&whole));
    assert_int_equal(mgen_rewrite(ctx, &old, plain, out, sizeof out), MGEN_E_STATE);
    mgen_pipeline_close(&old);
    assert_ptr_equal(old.rewriter, mark);
    mgen_pipeline_close(&whole);
    mgen_context_destroy(ctx);
}

/* -- what is made ----------------------------------------------------------------------------------- */

static void test_rewrites(void **state)
{
    (void)state;
    char warned[WARNED_MAX], out[ENOUGH];
    mgen_context *ctx = listening_context(warned);
    mgen_pipeline pipe = opened(ctx), alone = MGEN_PIPELINE_INIT;
    const size_t need = sizeof TINY_REWRITTEN;
    becomes(ctx, &pipe, plain, TINY_REWRITTEN);
    becomes(ctx, &pipe, plain, TINY_REWRITTEN);
    assert_string_equal(warned, "");
    memset(out, '?', sizeof out);
    assert_int_equal(mgen_rewrite(ctx, &pipe, plain, out, need), MGEN_OK);
    assert_string_equal(out, TINY_REWRITTEN);
    assert_int_equal(out[need], '?');
    memset(out, '?', sizeof out);
    assert_int_equal(mgen_rewrite(ctx, &pipe, plain, out, need - 1), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "size is 11 bytes"));
    assert_int_equal(out[0], '?'); /* nothing was written */
    /* what the rewriter loses is refused: the prompt stays, and it is said */
    becomes(ctx, &pipe, quoted, quoted);
    assert_true(strlen(warned) > 10);
    alone.rewriter = pipe.rewriter; /* it needs nothing else */
    becomes(ctx, &alone, plain, TINY_REWRITTEN);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        mgen_context *other = make_context(threads);
        becomes(other, &alone, plain, TINY_REWRITTEN);
        mgen_context_destroy(other);
    }
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* Held as the pipeline says, like a text encoder. */
static void test_precision(void **state)
{
    (void)state;
    uint64_t bytes[4];
    for (uint32_t precision = MGEN_PRECISION_DEFAULT; precision <= MGEN_PRECISION_FP8;
         precision++) {
        mgen_context *ctx = make_context(1);
        mgen_pipeline pipe = MGEN_PIPELINE_INIT;
        mgen_model_info info = MGEN_MODEL_INFO_INIT;
        pipe.precision = precision;
        assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
        becomes(ctx, &pipe, plain, TINY_REWRITTEN);
        assert_int_equal(mgen_rewriter_get_info(pipe.rewriter, &info), MGEN_OK);
        bytes[precision] = info.bytes;
        mgen_pipeline_close(&pipe);
        mgen_context_destroy(ctx);
    }
    assert_int_equal(bytes[MGEN_PRECISION_DEFAULT], bytes[MGEN_PRECISION_F32]);
    assert_true(bytes[MGEN_PRECISION_BF16] < bytes[MGEN_PRECISION_F32] * 2 / 3);
    assert_true(bytes[MGEN_PRECISION_FP8] <= bytes[MGEN_PRECISION_BF16]);
}

/* -- what is refused -------------------------------------------------------------------------------- */

static void refused(mgen_context *ctx, const mgen_pipeline *pipe, const char *prompt,
                    mgen_status status, const char *said)
{
    char out[ENOUGH] = "?";
    mgen_status got = mgen_rewrite(ctx, pipe, prompt, out, sizeof out);
    if (got != status || !strstr(mgen_last_error(ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(ctx), said);
    assert_string_equal(out, "?");
}

static void test_refused(void **state)
{
    (void)state;
    char out[ENOUGH], text[ENOUGH + 1];
    mgen_context *ctx = make_context(1);
    mgen_pipeline pipe = opened(ctx), other = pipe;
    assert_int_equal(mgen_rewrite(NULL, &pipe, plain, out, sizeof out), MGEN_E_INVALID);
    assert_int_equal(mgen_rewrite(ctx, &pipe, plain, NULL, sizeof out), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "4097 bytes are always enough"));
    assert_int_equal(mgen_rewrite(ctx, &pipe, plain, out, 0), MGEN_E_INVALID);
    refused(ctx, NULL, plain, MGEN_E_INVALID, "pipeline");
    refused(ctx, &pipe, NULL, MGEN_E_INVALID, "the prompt is missing or empty");
    refused(ctx, &pipe, "", MGEN_E_INVALID, "the prompt is missing or empty");
    refused(ctx, &pipe, " \n", MGEN_E_INVALID, "the prompt is nothing but spaces");
    refused(ctx, &pipe, "a \xff", MGEN_E_INVALID, "not UTF-8");
    memset(text, 'a', sizeof text);
    text[ENOUGH] = '\0';
    refused(ctx, &pipe, text, MGEN_E_INVALID, "longer than 4096 bytes");
    text[TINY_REWRITER_READS] = '\0'; /* and the end's token */
    refused(ctx, &pipe, text, MGEN_E_INVALID, "shorten it");
    text[TINY_REWRITER_READS - 1] = '\0';
    becomes(ctx, &pipe, text, TINY_REWRITTEN);
    other.rewriter = NULL;
    refused(ctx, &other, plain, MGEN_E_STATE, "lacks its rewriter");
    refused(ctx, &other, plain, MGEN_E_STATE, "docs/rewriting.md"); /* how to get one */
    other = pipe;
    other.precision = 9;
    refused(ctx, &other, plain, MGEN_E_INVALID, "precision is 9");
    other = pipe;
    other.struct_size = 16;
    refused(ctx, &other, plain, MGEN_E_INVALID, "");
    struct {
        mgen_pipeline ours;
        uint64_t tail;
    } longer = {pipe, 1};
    longer.ours.struct_size = sizeof longer;
    refused(ctx, &longer.ours, plain, MGEN_E_VERSION, "");
    longer.tail = 0;
    becomes(ctx, &longer.ours, plain, TINY_REWRITTEN);
    other = (mgen_pipeline)MGEN_PIPELINE_INIT;
    other.rewriter = pipe.rewriter;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &other), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "holds models already"));
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

static void test_busy(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1), *other = make_context(1);
    mgen_pipeline pipe = opened(ctx);
    mgen_generate_params p = film_request(9);
    mgen_job *job = NULL;
    p.steps = 1000;
    assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &job), MGEN_OK);
    refused(ctx, &pipe, plain, MGEN_E_STATE, "job");
    becomes(other, &pipe, plain, TINY_REWRITTEN); /* meanwhile, elsewhere */
    mgen_job_destroy(job);
    becomes(ctx, &pipe, plain, TINY_REWRITTEN);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(other);
    mgen_context_destroy(ctx);
}

static int32_t stop_at_three(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user;
    assert_true(done <= total);
    return !strcmp(what, "rewriting the prompt") && done == 3;
}

static void test_cancelled(void **state)
{
    (void)state;
    mgen_context *ctx = NULL;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.progress = stop_at_three;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    mgen_pipeline pipe = opened(ctx);
    refused(ctx, &pipe, plain, MGEN_E_CANCELLED, "rewriting the prompt: cancelled");
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* Weights that are not numbers. */
static void test_numeric(void **state)
{
    (void)state;
    char path[300];
    uint64_t header;
    struct stat info;
    mgen_context *ctx = make_context(1);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    save_rewriter_as(dir, "nan", TINY_REWRITTEN);
    snprintf(path, sizeof path, "%.200s/nan.safetensors", dir);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fread(&header, sizeof header, 1, f), 1);
    assert_int_equal(fseek(f, (long)header, SEEK_CUR), 0);
    assert_int_equal(fstat(fileno(f), &info), 0);
    for (uint64_t i = 8 + header; i < (uint64_t)info.st_size; i++)
        assert_true(fputc(0xff, f) != EOF);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(mgen_rewriter_open(ctx, dir, "nan", &pipe.rewriter), MGEN_OK);
    refused(ctx, &pipe, plain, MGEN_E_NUMERIC, "");
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* -- memory ------------------------------------------------------------------------------------------ */

static mgen_status open_one(mgen_context *ctx, const mgen_pipeline *pipe)
{
    mgen_rewriter *r = NULL;
    (void)pipe;
    mgen_status status = mgen_rewriter_open(ctx, dir, "rewriter", &r);
    assert_true((status == MGEN_OK) == (r != NULL));
    mgen_rewriter_release(r);
    return status;
}

static mgen_status rewrite_one(mgen_context *ctx, const mgen_pipeline *pipe)
{
    char out[ENOUGH] = "?";
    mgen_status status = mgen_rewrite(ctx, pipe, plain, out, sizeof out);
    assert_string_equal(out, status == MGEN_OK ? TINY_REWRITTEN : "?");
    return status;
}

static mgen_status (*const calls[])(mgen_context *ctx, const mgen_pipeline *pipe) = {open_one,
                                                                                     rewrite_one};
enum { CALLS = sizeof calls / sizeof *calls };

/* Every allocation fails, alone and with all after it: said, nothing is left, and then the call works. */
static void test_memory(void **state)
{
    (void)state;
    counter c = {0};
    mgen_context *ctx = counted_context(&c);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    assert_int_equal(mgen_rewriter_open(ctx, dir, "rewriter", &pipe.rewriter), MGEN_OK);
    for (int i = 0; i < CALLS; i++) {
        int failed = 0;
        bool over = false;
        assert_int_equal(calls[i](ctx, &pipe), MGEN_OK); /* what a context keeps from then on */
        for (int64_t k = 1; !over; k++)
            for (int alone = 0; alone < 2 && !over; alone++) {
                mgen_context_trim(ctx);
                int64_t blocks = atomic_load(&c.blocks);
                set_failure(&c, k, !alone);
                mgen_status status = calls[i](ctx, &pipe);
                over = atomic_load(&c.made) < k;
                set_failure(&c, 0, false);
                if (status != MGEN_OK && status != MGEN_E_NO_MEMORY)
                    fail_msg("call %d, allocation %d: %s", i, (int)k, mgen_last_error(ctx));
                failed += status != MGEN_OK;
                mgen_context_trim(ctx);
                assert_int_equal(atomic_load(&c.blocks), blocks);
            }
        assert_true(failed > 10);
        assert_int_equal(calls[i](ctx, &pipe), MGEN_OK);
    }
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
    assert_int_equal(atomic_load(&c.blocks), 0);
}

static void test_limit(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = opened(ctx);
    uint64_t now, peak;
    p.threads = 1;
    for (int i = 0; i < CALLS; i++) {
        mgen_context *other;
        assert_int_equal(mgen_context_create(&p, &other), MGEN_OK);
        mgen_context_memory(other, &now, NULL);
        assert_int_equal(calls[i](other, &pipe), MGEN_OK);
        mgen_context_memory(other, NULL, &peak);
        mgen_context_destroy(other);
        assert_true(peak > now + 1000);
        p.host_memory_max = now + 1000;
        assert_int_equal(mgen_context_create(&p, &other), MGEN_OK);
        assert_int_equal(calls[i](other, &pipe), MGEN_E_LIMIT);
        assert_non_null(strstr(mgen_last_error(other), "host_memory_max"));
        mgen_context_destroy(other);
        p.host_memory_max = 0;
    }
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* -- threads and ranks -------------------------------------------------------------------------------- */

typedef struct asker {
    seat at;
    mgen_rewriter *rewriter; /* shared, or opened by the rank */
    int right;
    mgen_status status;
} asker;

enum { ASKERS = 4, TIMES = 5 };

static void *ask(void *arg)
{
    asker *a = arg;
    mgen_context *ctx = NULL;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    char out[ENOUGH];
    p.threads = 1;
    a->status = mgen_context_create(&p, &ctx);
    if (a->status == MGEN_OK)
        a->status = take_seat(ctx, &a->at, NULL, &pipe.mesh);
    if (a->status == MGEN_OK && a->at.ranks)
        a->status = mgen_pipeline_open(ctx, dir, &pipe);
    if (!a->at.ranks)
        pipe.rewriter = mgen_rewriter_retain(a->rewriter);
    for (int i = 0; i < TIMES && a->status == MGEN_OK; i++) {
        const char *prompt = (i + a->at.index) % 2 ? plain : quoted;
        a->status = mgen_rewrite(ctx, &pipe, prompt, out, sizeof out);
        a->right += !strcmp(out, prompt == plain ? TINY_REWRITTEN : quoted);
    }
    mgen_pipeline_close(&pipe);
    mgen_mesh_destroy(pipe.mesh);
    mgen_context_destroy(ctx);
    return NULL;
}

static void ask_all(mgen_rewriter *rewriter, mgen_ranks *ranks)
{
    asker askers[ASKERS];
    for (uint32_t i = 0; i < ASKERS; i++)
        askers[i] = (asker){.at = {ranks, i}, .rewriter = rewriter};
    run_threads(ask, askers, sizeof *askers, ASKERS);
    for (uint32_t i = 0; i < ASKERS; i++) {
        assert_int_equal(askers[i].status, MGEN_OK);
        assert_int_equal(askers[i].right, TIMES);
    }
}

/* A handle on as many contexts at once; and ranks, of which each has all of it and none waits for another. */
static void test_shared(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_rewriter *r = NULL;
    mgen_ranks *ranks = NULL;
    assert_int_equal(mgen_rewriter_open(ctx, dir, "rewriter", &r), MGEN_OK);
    ask_all(r, NULL);
    mgen_rewriter_release(r);
    assert_int_equal(mgen_ranks_create(ctx, ASKERS, 120000, &ranks), MGEN_OK);
    ask_all(NULL, ranks);
    mgen_ranks_destroy(ranks);
    mgen_context_destroy(ctx);
}

/* -- folders ------------------------------------------------------------------------------------------ */

/* A video model trained anew takes the place of the old one; prompts stay what they are, but where the pipeline is damaged,
 * which says nothing of them. An average has the first folder's. */
static void test_kept(void **state)
{
    (void)state;
    static const char *const stages[] = {"video"};
    const char *const dirs[] = {dir};
    char out[300];
    mgen_context *ctx = make_context(2);
    mgen_pipeline before = opened(ctx), after, average = MGEN_PIPELINE_INIT;
    mgen_model_info ours = MGEN_MODEL_INFO_INIT, theirs = MGEN_MODEL_INFO_INIT;
    train_tiny(ctx, stages, 1);
    after = opened(ctx);
    assert_int_equal(mgen_pipeline_convert(ctx, dir, MGEN_PRECISION_BF16), MGEN_OK);
    mgen_pipeline_close(&after);
    after = opened(ctx);
    assert_int_equal(mgen_rewriter_get_info(before.rewriter, &ours), MGEN_OK);
    assert_int_equal(mgen_rewriter_get_info(after.rewriter, &theirs), MGEN_OK);
    assert_true(ours.hash == theirs.hash);
    snprintf(out, sizeof out, "%.200s/average", dir);
    if (mgen_pipeline_average(ctx, dirs, NULL, 1, out) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    assert_int_equal(mgen_pipeline_open(ctx, out, &average), MGEN_OK);
    assert_non_null(average.rewriter);
    assert_int_equal(mgen_rewriter_get_info(average.rewriter, &theirs), MGEN_OK);
    assert_true(ours.hash == theirs.hash);
    becomes(ctx, &average, plain, TINY_REWRITTEN);
    mgen_pipeline_close(&average);
    mgen_pipeline_close(&after);
    snprintf(out, sizeof out, "%.200s/pipeline.json", dir);
    assert_int_equal(truncate(out, 9), 0);
    train_tiny(ctx, stages, 1);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &after), MGEN_OK);
    assert_null(after.rewriter);
    assert_non_null(after.video);
    mgen_pipeline_close(&after);
    mgen_pipeline_close(&before);
    mgen_context_destroy(ctx);
}

/* The protocol needs a rewriter, and one that reads what users type. */
static void test_measured(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_pipeline pipe = opened(ctx), without = pipe;
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    mgen_report *report = NULL;
    p.protocol = "rewrite";
    p.steps = p.n = 1;
    without.rewriter = NULL;
    assert_int_equal(mgen_evaluate(ctx, &without, &p, &report), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "lacks its rewriter"));
    assert_null(report);
    without = pipe;
    without.video = NULL;
    assert_int_equal(mgen_evaluate(ctx, &without, &p, &report), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "video model"));
    p.n = 2;
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "shorten it"));
    assert_null(report);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handle),    cmocka_unit_test(test_old_pipeline),
        cmocka_unit_test(test_rewrites),  cmocka_unit_test(test_precision),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_busy),
        cmocka_unit_test(test_numeric),   cmocka_unit_test(test_memory),
        cmocka_unit_test(test_limit),     cmocka_unit_test(test_shared),
        cmocka_unit_test(test_cancelled), cmocka_unit_test(test_measured),
        cmocka_unit_test(test_kept), /* which damages the folder */
    };
    return cmocka_run_group_tests(tests, setup_rewriter, teardown);
}
