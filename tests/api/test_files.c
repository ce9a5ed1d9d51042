/* SPDX-License-Identifier: MIT
 * Every way in which opening a model fails, for each kind of handle and for the pipeline. */
#include "tiny_personalizer.h"
#include "tiny_audio.h"
#include "tiny_rewriter.h"

#include <math.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { TAE, TEXT, VIDEO, UPSAMPLER, EDITOR, AUDIO, PERSONALIZER, REWRITER, PIPELINE, KINDS };
static const char *const names[] = {"tae",    "text_encoder", "video_model",  "upsampler",
                                    "editor", "audio",        "personalizer", "rewriter"};
static char copy[64];

/* The tiny model again, in a folder of its own that may be damaged. */
static void fresh_copy(void)
{
    char command[1400];
    snprintf(copy, sizeof copy, "%.50s/copy", dir);
    snprintf(command, sizeof command,
             "rm -rf '%s' && mkdir '%s' && cp '%s'/*.json '%s'/*.safetensors '%s'", copy, copy, dir,
             dir, copy);
    assert_int_equal(system(command), 0);
}

static mgen_status open_kind(mgen_context *ctx, int kind)
{
    mgen_tae *tae = NULL;
    mgen_text_encoder *text = NULL;
    mgen_video_model *video = NULL;
    mgen_upsampler *upsampler = NULL;
    mgen_editor *editor = NULL;
    mgen_audio_model *audio = NULL;
    mgen_personalizer *personalizer = NULL;
    mgen_rewriter *rewriter = NULL;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_status status =
        kind == TAE         ? mgen_tae_open(ctx, copy, names[TAE], &tae)
        : kind == TEXT      ? mgen_text_encoder_open(ctx, copy, names[TEXT], &text)
        : kind == VIDEO     ? mgen_video_model_open(ctx, copy, names[VIDEO], &video)
        : kind == UPSAMPLER ? mgen_upsampler_open(ctx, copy, names[UPSAMPLER], &upsampler)
        : kind == EDITOR    ? mgen_editor_open(ctx, copy, names[EDITOR], &editor)
        : kind == AUDIO     ? mgen_audio_model_open(ctx, copy, names[AUDIO], &audio)
        : kind == PERSONALIZER
            ? mgen_personalizer_open(ctx, copy, names[PERSONALIZER], &personalizer)
        : kind == REWRITER ? mgen_rewriter_open(ctx, copy, names[REWRITER], &rewriter)
                           : mgen_pipeline_open(ctx, copy, &pipe);
    if (status != MGEN_OK) {
        assert_true(!tae && !text && !video && !upsampler && !editor && !audio && !pipe.audio &&
                    !rewriter && !pipe.rewriter && !personalizer && !pipe.personalizer &&
                    !pipe.upsampler && !pipe.editor && !pipe.tae && !pipe.video && !pipe.text[0]);
        assert_int_equal(mgen_last_status(ctx), status);
        assert_true(strlen(mgen_last_error(ctx)) > 10);
    }
    mgen_tae_release(tae);
    mgen_text_encoder_release(text);
    mgen_video_model_release(video);
    mgen_upsampler_release(upsampler);
    mgen_editor_release(editor);
    mgen_audio_model_release(audio);
    mgen_personalizer_release(personalizer);
    mgen_rewriter_release(rewriter);
    mgen_pipeline_close(&pipe);
    return status;
}

static char *path_of(int kind, const char *ending, char out[400])
{
    snprintf(out, 400, "%s/%s%s", copy, kind == PIPELINE ? "pipeline" : names[kind], ending);
    return out;
}

/* Replace the first `from` in a file by `to`; in a safetensors file the length of the header follows. */
static void edit(const char *path, const char *from, const char *to)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *data = test_malloc(1 << 22);
    size_t size = fread(data, 1, 1 << 22, f), cut = strlen(from), put = strlen(to), at = 0;
    assert_int_equal(fclose(f), 0);
    while (at + cut <= size && memcmp(data + at, from, cut))
        at++;
    assert_true(at + cut <= size);
    memmove(data + at + put, data + at + cut, size - at - cut);
    memcpy(data + at, to, put);
    if (strstr(path, ".safetensors")) {
        uint64_t header;
        memcpy(&header, data, 8);
        header += put - cut;
        memcpy(data, &header, 8);
    }
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size + put - cut, f), size + put - cut);
    assert_int_equal(fclose(f), 0);
    test_free(data);
}

static int32_t refuse(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user;
    assert_true(what && done <= total);
    return 1;
}

/* No file can be opened while this lasts. */
static struct rlimit stop_files(void)
{
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    return before;
}

static void test_opens(void **state)
{
    (void)state;
    char path[400];
    mgen_context *ctx = make_context(1);
    for (int kind = 0; kind < KINDS; kind++) {
        int net = kind == PIPELINE ? VIDEO : kind; /* what is damaged */
        fresh_copy();
        assert_int_equal(open_kind(ctx, kind), MGEN_OK);
        struct rlimit before = stop_files();
        mgen_status status = open_kind(ctx, kind);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(status, MGEN_E_IO);
        assert_int_equal(unlink(path_of(net, ".safetensors", path)), 0);
        assert_int_equal(open_kind(ctx, kind), MGEN_E_NOT_FOUND);
        fresh_copy();
        assert_int_equal(truncate(path_of(net, ".safetensors", path), 50), 0);
        assert_int_equal(open_kind(ctx, kind), MGEN_E_CORRUPT);
        fresh_copy();
        assert_int_equal(truncate(path_of(kind, ".json", path), 9), 0);
        assert_int_equal(open_kind(ctx, kind), MGEN_E_CORRUPT);
        fresh_copy();
        edit(path_of(kind, ".json", path), "\"version\": 1", "\"version\": 99");
        assert_int_equal(open_kind(ctx, kind), MGEN_E_VERSION);
        fresh_copy();
        edit(path_of(net, ".safetensors", path), "BF16", "F4_E2M1");
        assert_int_equal(open_kind(ctx, kind), MGEN_E_UNSUPPORTED);
        assert_non_null(strstr(mgen_last_error(ctx), "F4_E2M1"));
        fresh_copy();
    }
    mgen_tae *tae;
    assert_int_equal(mgen_tae_open(ctx, copy, "../tae", &tae), MGEN_E_INVALID);
    assert_int_equal(mgen_tae_open(ctx, copy, "", &tae), MGEN_E_INVALID);
    assert_int_equal(mgen_tae_open(ctx, NULL, "tae", &tae), MGEN_E_INVALID);
    assert_int_equal(mgen_tae_open(ctx, copy, "video_model", &tae),
                     MGEN_E_CORRUPT); /* another kind */
    mgen_context_destroy(ctx);
}

/* The video model once more, of another seed, in the copy. */
static void train_other(mgen_context *ctx)
{
    mgen_trainer *trainer = NULL;
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    p.recipe = recipe;
    p.stage = "video";
    p.dir = copy;
    p.seed = 8;
    assert_int_equal(mgen_trainer_create(ctx, &p, &trainer), MGEN_OK);
    assert_int_equal(mgen_trainer_run(trainer, 0), MGEN_OK);
    assert_int_equal(mgen_trainer_save(trainer), MGEN_OK);
    mgen_trainer_destroy(trainer);
}

static uint64_t hash_of(mgen_context *ctx, const char *folder)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    if (mgen_pipeline_open(ctx, folder, &pipe) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    uint64_t hash = mgen_pipeline_hash(&pipe);
    mgen_pipeline_close(&pipe);
    return hash;
}

static mgen_status average(mgen_context *ctx, const double *weights, const char *said)
{
    const char *const dirs[] = {dir, copy};
    char out[80];
    snprintf(out, sizeof out, "%.50s/average", dir);
    mgen_status status = mgen_pipeline_average(ctx, dirs, weights, 2, out);
    if (status != MGEN_OK && (!*said || !strstr(mgen_last_error(ctx), said)))
        fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), said);
    return status;
}

static void test_average(void **state)
{
    (void)state;
    const double bad[][2] = {{1, 0}, {-1, 1}, {1, (double)NAN}, {1, (double)INFINITY}};
    const double first[] = {1e6, 1e-6}, second[] = {1e-6, 1e6};
    const char *const dirs[] = {dir, NULL};
    char path[400], out[80];
    mgen_context *ctx = make_context(1);
    snprintf(out, sizeof out, "%.50s/average", dir);
    fresh_copy();
    assert_int_equal(average(ctx, NULL, ""), MGEN_OK); /* of a model and itself */
    uint64_t a =
        hash_of(ctx, out); /* the same values, in another order than when they were trained */
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    assert_int_equal(mgen_pipeline_average(ctx, dirs, NULL, 1, out), MGEN_OK);
    assert_int_equal(mgen_pipeline_open(ctx, out, &pipe), MGEN_OK); /* with all other models */
    assert_true(pipe.upsampler && pipe.editor && pipe.audio && pipe.personalizer && pipe.rewriter);
    mgen_pipeline_close(&pipe);
    assert_true(hash_of(ctx, out) != a);
    train_other(ctx);
    const char *const again[] = {copy, copy};
    for (uint32_t i = 1; i < 3; i++)
        if (mgen_pipeline_average(ctx, again, NULL, i, copy) != MGEN_OK) /* over itself */
            fail_msg("%s", mgen_last_error(ctx));
    uint64_t b = hash_of(ctx, copy);
    assert_true(a != b);
    assert_int_equal(average(ctx, NULL, ""), MGEN_OK);
    assert_true(hash_of(ctx, out) != a && hash_of(ctx, out) != b);
    assert_int_equal(average(ctx, first, ""), MGEN_OK);
    assert_int_equal(hash_of(ctx, out), a);
    assert_int_equal(average(ctx, second, ""), MGEN_OK);
    assert_int_equal(hash_of(ctx, out), b);

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(average(ctx, bad[i], "it must be 1e-6 to 1e6"), MGEN_E_INVALID);
    assert_int_equal(mgen_pipeline_average(NULL, dirs, NULL, 1, out), MGEN_E_INVALID);
    assert_int_equal(mgen_pipeline_average(ctx, NULL, NULL, 1, out), MGEN_E_INVALID);
    assert_int_equal(mgen_pipeline_average(ctx, dirs, NULL, 0, out), MGEN_E_INVALID);
    assert_int_equal(mgen_pipeline_average(ctx, dirs, NULL, 17, out), MGEN_E_INVALID);
    assert_int_equal(mgen_pipeline_average(ctx, dirs, NULL, 2, out), MGEN_E_INVALID);
    assert_int_equal(mgen_pipeline_average(ctx, dirs, NULL, 1, NULL), MGEN_E_INVALID);
    assert_int_equal(mgen_pipeline_average(ctx, dirs, NULL, 1, ""), MGEN_E_INVALID);
    edit(path_of(PIPELINE, ".json", path), "\"fps\": 16", "\"fps\": 17");
    assert_int_equal(average(ctx, NULL, "different clips"), MGEN_E_INVALID);
    assert_int_equal(hash_of(ctx, out), b); /* what is there stays until another is whole */
    fresh_copy();
    edit(path_of(PIPELINE, ".json", path), "\"ul2\"", "\"byt5\"");
    assert_int_equal(average(ctx, NULL, "different text encoders"), MGEN_E_INVALID);
    fresh_copy();
    edit(path_of(PIPELINE, ".json", path), "\"video_model\"", "\"\"");
    assert_int_equal(average(ctx, NULL, "there is no video model in"), MGEN_E_INVALID);
    fresh_copy();
    edit(path_of(VIDEO, ".json", path), "\"time_dim\": 256", "\"time_dim\": 128");
    assert_int_equal(average(ctx, NULL, "another kind or configuration"), MGEN_E_INVALID);
    fresh_copy();
    edit(path_of(TAE, ".safetensors", path), "moviegen", "moviegen ");
    assert_int_equal(average(ctx, NULL, "different TAEs"), MGEN_E_INVALID);
    fresh_copy();
    edit(path_of(TEXT, ".json", path), "\"version\": 1", "\"version\": 99");
    assert_int_equal(average(ctx, NULL, "version"), MGEN_E_VERSION);
    fresh_copy();
    edit(path_of(VIDEO, ".safetensors", path), "BF16", "F4_E2M1");
    assert_int_equal(average(ctx, NULL, "F4_E2M1"), MGEN_E_UNSUPPORTED);
    fresh_copy();
    assert_int_equal(truncate(path_of(VIDEO, ".safetensors", path), 50), 0);
    assert_int_equal(average(ctx, NULL, "video_model.safetensors"), MGEN_E_CORRUPT);
    fresh_copy();
    assert_int_equal(unlink(path_of(TEXT, ".json", path)), 0);
    assert_int_equal(average(ctx, NULL, "text_encoder.json"), MGEN_E_NOT_FOUND);
    fresh_copy();
    mgen_context_destroy(ctx);
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.progress = refuse;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    assert_int_equal(average(ctx, NULL, "reading weights"), MGEN_E_CANCELLED);
    mgen_context_destroy(ctx);
}

static mgen_status convert(mgen_context *ctx, uint32_t precision, const char *said)
{
    mgen_status status = mgen_pipeline_convert(ctx, copy, precision);
    if (status != MGEN_OK && (!*said || !strstr(mgen_last_error(ctx), said)))
        fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), said);
    return status;
}

/* All values of the video model are no numbers. */
static void spoil_values(void)
{
    char path[400];
    uint64_t header;
    struct stat info;
    FILE *f = fopen(path_of(VIDEO, ".safetensors", path), "r+b");
    assert_non_null(f);
    assert_int_equal(fread(&header, sizeof header, 1, f), 1);
    assert_int_equal(fseek(f, (long)header, SEEK_CUR), 0);
    assert_int_equal(fstat(fileno(f), &info), 0);
    for (uint64_t i = 8 + header; i < (uint64_t)info.st_size; i++)
        assert_true(fputc(0xff, f) != EOF);
    assert_int_equal(fclose(f), 0);
}

static void test_convert(void **state)
{
    (void)state;
    char path[400];
    mgen_context *ctx = make_context(1);
    struct stat wide, narrow;
    fresh_copy();
    uint64_t before = hash_of(ctx, copy);
    assert_int_equal(convert(ctx, MGEN_PRECISION_BF16, ""), MGEN_OK);
    assert_int_equal(hash_of(ctx, copy), before); /* as it was */
    assert_int_equal(stat(path_of(VIDEO, ".safetensors", path), &wide), 0);
    assert_int_equal(convert(ctx, MGEN_PRECISION_FP8, ""), MGEN_OK);
    assert_int_equal(stat(path, &narrow), 0);
    assert_true(narrow.st_size < wide.st_size);
    assert_true(hash_of(ctx, copy) != before);
    for (int kind = 0; kind < KINDS; kind++)
        assert_int_equal(open_kind(ctx, kind), MGEN_OK);

    assert_int_equal(mgen_pipeline_convert(NULL, copy, MGEN_PRECISION_FP8), MGEN_E_INVALID);
    assert_int_equal(mgen_pipeline_convert(ctx, NULL, MGEN_PRECISION_FP8), MGEN_E_INVALID);
    assert_int_equal(mgen_pipeline_convert(ctx, "", MGEN_PRECISION_FP8), MGEN_E_INVALID);
    static const uint32_t none[] = {MGEN_PRECISION_DEFAULT, MGEN_PRECISION_F32, 4, UINT32_MAX};
    for (int i = 0; i < 4; i++)
        assert_int_equal(convert(ctx, none[i], "models are stored in MGEN_PRECISION_BF16"),
                         MGEN_E_INVALID);
    fresh_copy();
    struct rlimit files = stop_files();
    mgen_status status = mgen_pipeline_convert(ctx, copy, MGEN_PRECISION_FP8);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    assert_int_equal(status, MGEN_E_IO);
    spoil_values();
    assert_int_equal(convert(ctx, MGEN_PRECISION_FP8, "not finite"), MGEN_E_NUMERIC);
    fresh_copy();
    edit(path_of(VIDEO, ".json", path), "\"version\": 1", "\"version\": 99");
    assert_int_equal(convert(ctx, MGEN_PRECISION_FP8, "version"), MGEN_E_VERSION);
    fresh_copy();
    edit(path_of(VIDEO, ".safetensors", path), "BF16", "F4_E2M1");
    assert_int_equal(convert(ctx, MGEN_PRECISION_FP8, "F4_E2M1"), MGEN_E_UNSUPPORTED);
    fresh_copy();
    assert_int_equal(truncate(path_of(VIDEO, ".safetensors", path), 50), 0);
    assert_int_equal(convert(ctx, MGEN_PRECISION_FP8, "video_model.safetensors"), MGEN_E_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(convert(ctx, MGEN_PRECISION_FP8, "video_model.safetensors"), MGEN_E_NOT_FOUND);
    fresh_copy();
    mgen_context_destroy(ctx);
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.progress = refuse;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    assert_int_equal(convert(ctx, MGEN_PRECISION_FP8, "storing weights"), MGEN_E_CANCELLED);
    mgen_context_destroy(ctx);
    ctx = make_context(1);
    assert_int_equal(hash_of(ctx, copy), before); /* nothing was replaced */
    mgen_context_destroy(ctx);
}

/* An allocator that publishes another model at its `left`-th block: once. */
typedef struct publication {
    mgen_context *ctx; /* another one, which does it */
    const char *from, *to;
    int left;
    mgen_status status;
} publication;

static void *publishing_alloc(void *user, size_t size)
{
    publication *p = user;
    if (p->left-- == 0)
        p->status = mgen_pipeline_average(p->ctx, &p->from, NULL, 1, p->to);
    return malloc(size);
}

static void publishing_free(void *user, void *ptr, size_t size)
{
    (void)user;
    (void)size;
    free(ptr);
}

/* An average of what is replaced meanwhile, wherever: all of the one or all of the other. */
static void test_average_of_one_save(void **state)
{
    (void)state;
    mgen_context *other = make_context(1), *ctx;
    char from[80], to[80], out[80];
    int replaced = 0;
    snprintf(from, sizeof from, "%.50s/from", dir);
    snprintf(to, sizeof to, "%.50s/to", dir);
    snprintf(out, sizeof out, "%.50s/average", dir);
    fresh_copy();
    const char *const originals[] = {dir}, *const trained[] = {copy}, *const live[] = {to};
    assert_int_equal(mgen_pipeline_average(other, originals, NULL, 1, out), MGEN_OK);
    uint64_t a = hash_of(other, out);
    train_other(other);
    assert_int_equal(mgen_pipeline_average(other, trained, NULL, 1, from), MGEN_OK);
    uint64_t b = hash_of(other, from);
    for (int at = 0;; at += 3) {
        publication p = {.ctx = other, .from = from, .to = to, .left = at, .status = MGEN_E_AGAIN};
        mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
        params.threads = 1;
        params.allocator = (mgen_allocator){publishing_alloc, publishing_free, &p};
        assert_int_equal(mgen_pipeline_average(other, originals, NULL, 1, to), MGEN_OK);
        assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
        mgen_status status = mgen_pipeline_average(ctx, live, NULL, 1, out);
        if (status != MGEN_OK)
            fail_msg("%s", mgen_last_error(ctx));
        mgen_context_destroy(ctx);
        if (p.left >= 0)
            break;
        assert_int_equal(p.status, MGEN_OK);
        uint64_t hash = hash_of(other, out);
        if (hash != a && hash != b)
            fail_msg("replaced at block %d, the average is of two saves", at);
        replaced += hash == b;
    }
    assert_true(replaced > 10);
    mgen_context_destroy(other);
}

static void test_refused(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        mgen_context *ctx = NULL;
        mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
        uint64_t now;
        fresh_copy();
        p.threads = 1;
        p.progress = refuse;
        assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
        mgen_context_memory(ctx, &now, NULL);
        assert_int_equal(open_kind(ctx, kind), MGEN_E_CANCELLED);
        mgen_context_destroy(ctx);
        p.progress = NULL;
        p.host_memory_max = now + 2000;
        assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
        assert_int_equal(open_kind(ctx, kind), MGEN_E_LIMIT);
        mgen_context_destroy(ctx);
    }
}

/* While a job runs its context does nothing else; afterwards all of it works. */
static void test_busy(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    mgen_job *job = NULL;
    fresh_copy();
    assert_int_equal(mgen_pipeline_open(ctx, copy, &pipe), MGEN_OK);
    p.prompt = "a ball";
    p.steps = 1000;
    assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &job), MGEN_OK);
    for (int kind = 0; kind < KINDS; kind++)
        assert_int_equal(open_kind(ctx, kind), MGEN_E_STATE);
    mgen_job_cancel(job);
    assert_int_equal(mgen_job_wait(job, -1), MGEN_E_CANCELLED);
    assert_int_equal(mgen_job_wait(job, 0), MGEN_E_CANCELLED); /* asked again: the same */
    mgen_job_destroy(job);
    for (int kind = 0; kind < KINDS; kind++)
        assert_int_equal(open_kind(ctx, kind), MGEN_OK);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

static void test_model_info(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_model_info info = MGEN_MODEL_INFO_INIT, other = MGEN_MODEL_INFO_INIT;
    struct {
        mgen_model_info info;
        uint64_t tail;
    } longer = {MGEN_MODEL_INFO_INIT, 3};
    fresh_copy();
    assert_int_equal(mgen_pipeline_open(ctx, copy, &pipe), MGEN_OK);
    assert_int_equal(mgen_video_model_get_info(pipe.video, &info), MGEN_OK);
    assert_true(info.channels == 4 && info.text_width == 16 && info.parameters > 1000);
    assert_true(info.bytes >= 4 * info.parameters && info.hash != 0);
    assert_true(info.guidance == 7.5f && info.fps_prefix == 0);
    assert_int_equal(mgen_text_encoder_get_info(pipe.text[0], &other), MGEN_OK);
    assert_true(other.hash != info.hash && other.text_width == 16);
    longer.info.struct_size = sizeof longer; /* of a newer header: what is unknown becomes 0 */
    assert_int_equal(mgen_tae_get_info(pipe.tae, &longer.info), MGEN_OK);
    assert_true(longer.tail == 0 && longer.info.struct_size == sizeof longer);
    info.struct_size = 8;
    assert_int_equal(mgen_tae_get_info(pipe.tae, &info), MGEN_E_INVALID);
    assert_int_equal(mgen_text_encoder_get_info(pipe.text[0], &info), MGEN_E_INVALID);
    assert_int_equal(mgen_video_model_get_info(NULL, &other), MGEN_E_INVALID);
    mgen_tae *tae = mgen_tae_retain(pipe.tae);
    mgen_text_encoder *text = mgen_text_encoder_retain(pipe.text[0]);
    mgen_video_model *video = mgen_video_model_retain(pipe.video);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx); /* what is retained outlives both */
    assert_int_equal(mgen_video_model_get_info(video, &other), MGEN_OK);
    mgen_tae_release(tae);
    mgen_text_encoder_release(text);
    mgen_video_model_release(video);
    assert_true(!mgen_tae_retain(NULL) && !mgen_text_encoder_retain(NULL) &&
                !mgen_video_model_retain(NULL));
}

/* The table that bindings check themselves against. */
static void test_abi_table(void **state)
{
    (void)state;
    int sizes = 0, fields = 0;
    int64_t invalid = 0, frames = 0;
    uint32_t i;
    for (i = 0; mgen_abi_name(i); i++) {
        const char *name = mgen_abi_name(i);
        sizes += !strncmp(name, "sizeof ", 7);
        fields += !strncmp(name, "offsetof ", 9);
        if (!strcmp(name, "MGEN_E_INVALID"))
            invalid = mgen_abi_value(i);
        if (!strcmp(name, "sizeof mgen_frames"))
            frames = mgen_abi_value(i);
    }
    assert_true(sizes > 10 && fields > 100);
    assert_int_equal(invalid, MGEN_E_INVALID);
    assert_int_equal(frames, sizeof(mgen_frames));
    assert_int_equal(mgen_abi_value(i), 0);
    assert_int_equal(mgen_status_class(MGEN_OK), MGEN_CLASS_OK);
    assert_int_equal(mgen_status_class(MGEN_E_VERSION), MGEN_CLASS_UNCHANGED);
    assert_int_equal(mgen_status_class(MGEN_E_IO), MGEN_CLASS_FAILED);
    assert_int_equal(mgen_status_class(MGEN_E_PEER_LOST), MGEN_CLASS_DEAD);
    assert_int_equal(mgen_status_class(-77), MGEN_CLASS_FAILED);
}

/* Lines of a log, by level, and the last of each. */
typedef struct lines {
    int count[8];
    char last[8][512];
} lines;

static void on_log(void *user, int32_t level, const char *text)
{
    lines *l = user;
    assert_in_range(level, 0, 7);
    l->count[level]++;
    snprintf(l->last[level], sizeof l->last[level], "%s", text);
}

/* Of the copy's models that have transformers: the sides of their matrices. */
static const struct {
    int kind, side;
    const char
        *name; /* in pipeline.json, before "_adapters", and in kinds of files, before "-adapter" */
} adapted[] = {{VIDEO, 16, "video"},
               {UPSAMPLER, 16, "upsampler"},
               {EDITOR, 16, "editor"},
               {AUDIO, 24, "audio"},
               {PERSONALIZER, 16, "personalizer"}};
enum { ADAPTED = sizeof adapted / sizeof adapted[0] };

/* Beside one of these: rank 1, all values 1, of one matrix; with `columns` of A, which are `side` where it is right. */
static void put_adapter(int k, int columns)
{
    const int side = adapted[k].side;
    char path[400], header[512];
    float ones[64];
    snprintf(header, sizeof header,
             "{\"base_model.model.block0.attn.out.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[1,"
             "%d],\"data_offsets\":[0,%d]},\"base_model.model.block0.attn.out.lora_B.weight\":"
             "{\"dtype\":\"F32\",\"shape\":[%d,1],\"data_offsets\":[%d,%d]}}",
             columns, 4 * columns, side, 4 * columns, 4 * (columns + side));
    const uint64_t length = strlen(header);
    const size_t values = (size_t)(columns + side);
    for (size_t i = 0; i < values; i++)
        ones[i] = 1.0f;
    snprintf(path, sizeof path, "%s/hand.safetensors", copy);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(&length, sizeof length, 1, f), 1);
    assert_int_equal(fwrite(header, 1, length, f), length);
    assert_int_equal(fwrite(ones, sizeof *ones, values, f), values);
    assert_int_equal(fclose(f), 0);
    snprintf(path, sizeof path, "%s/hand.json", copy);
    f = fopen(path, "wb");
    assert_non_null(f);
    fprintf(f,
            "{\"format\": \"moviegen-model\", \"version\": 1, \"kind\": \"%s-adapter\", "
            "\"config\": {\"rank\": 1, \"base\": \"else\", \"base_hash\": "
            "\"00000000000000ab\"}}",
            adapted[k].name);
    assert_int_equal(fclose(f), 0);
}

/* In the copy's pipeline. */
static void name_adapter(int k)
{
    char path[400], model[64], more[160];
    snprintf(model, sizeof model, "\"%s\": \"%s\",", adapted[k].name, names[adapted[k].kind]);
    snprintf(more, sizeof more, "%s \"%s_adapters\": [{\"name\": \"hand\"}],", model,
             adapted[k].name);
    edit(path_of(PIPELINE, ".json", path), model, more);
}

static lines said; /* since it was cleared */

/* Each kind's make another model, which says so by its hash; and each is of its kind alone. */
static void assert_adapts(mgen_context *ctx, int k, uint64_t plain)
{
    char path[400];
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    uint64_t hash[2];
    fresh_copy();
    put_adapter(k, adapted[k].side);
    name_adapter(k);
    for (int i = 0; i < 2; i++) {
        if (i == 1)
            edit(path_of(PIPELINE, ".json", path), "\"hand\"", "\"hand\", \"scale\": 0.5");
        memset(&said, 0, sizeof said);
        if (mgen_pipeline_open(ctx, copy, &pipe) != MGEN_OK)
            fail_msg("%s", mgen_last_error(ctx));
        hash[i] = mgen_pipeline_hash(&pipe);
        assert_int_equal(said.count[MGEN_LOG_WARN], 1);
        assert_non_null(
            strstr(said.last[MGEN_LOG_WARN], "(of \"else\", with the hash 00000000000000ab)"));
        assert_int_equal(said.count[MGEN_LOG_ERROR], 0);
        mgen_pipeline_close(&pipe);
    }
    assert_true(hash[0] != plain && hash[0] != hash[1] && hash[1] != plain);
    put_adapter((k + 1) % ADAPTED, adapted[k].side);
    assert_int_equal(open_kind(ctx, PIPELINE), MGEN_E_CORRUPT);
    snprintf(path, sizeof path, "\"kind\" is \"%s-adapter\", not \"%s-adapter\"",
             adapted[(k + 1) % ADAPTED].name, adapted[k].name);
    assert_non_null(strstr(mgen_last_error(ctx), path));
}

/* Adapters that pipeline.json names make another model, and nothing of the files changes; the log has one line for weights that they
 * were not trained beside, and one for what is wrong with them. */
static void test_adapters(void **state)
{
    char path[400];
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx = NULL;
    (void)state;
    p.threads = 1;
    p.log = on_log;
    p.log_user = &said;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    memset(&said, 0, sizeof said);
    fresh_copy();
    const uint64_t plain = hash_of(ctx, copy);
    assert_int_equal(said.count[MGEN_LOG_WARN] + said.count[MGEN_LOG_ERROR], 0);
    for (int k = 0; k < ADAPTED; k++)
        assert_adapts(ctx, k, plain);
    fresh_copy();
    name_adapter(0);
    put_adapter(0, 15);
    memset(&said, 0, sizeof said);
    assert_int_equal(open_kind(ctx, PIPELINE), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "copy/hand.safetensors: tensor"));
    assert_int_equal(said.count[MGEN_LOG_ERROR], 1);
    snprintf(path, sizeof path, "%s/hand.json", copy);
    assert_int_equal(remove(path), 0);
    assert_int_equal(open_kind(ctx, PIPELINE), MGEN_E_NOT_FOUND);
    mgen_context_destroy(ctx);
}

static int setup_with_audio(void **state)
{
    int failed = setup_all(state);
    if (failed)
        return failed;
    mgen_context *ctx = make_context(2);
    save_rewriter(dir);
    train_audio(ctx);
    mgen_context_destroy(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_model_info),
        cmocka_unit_test(test_abi_table),
        cmocka_unit_test(test_average),
        cmocka_unit_test(test_convert),
        cmocka_unit_test(test_adapters),
        cmocka_unit_test(test_average_of_one_save),
    };
    return cmocka_run_group_tests(tests, setup_with_audio, teardown);
}
