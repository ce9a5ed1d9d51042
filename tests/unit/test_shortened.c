/* SPDX-License-Identifier: MIT
 * Files that become shorter between being opened and read, or while they are read, and disks that fail: an error, for each kind
 * of file, and never the end of the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "find_plugin.h"
#include "io/safetensors_set.h"
#include "kept_latents.h"
#include "media/film_read.h"
#include "media/media.h"
#include "media/track.h"
#include "stage_runs.h"
#include "task/pipeline.h"
#include "train/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

/* ---- reads of one of the folder's files: the program's own system call takes the place of the C library's ---------------- */

enum { NOTHING, SHORTEN, FAIL, HALF };

static struct {
    const char *name;    /* of the file */
    int what, calls, at; /* SHORTEN and FAIL: before this call */
} fault;

static bool is_it(int fd, char path[512])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, 511);
    path[n > 0 ? n : 0] = '\0';
    const size_t length = strlen(folder);
    return !strncmp(path, folder, length) && !strcmp(path + length + 1, fault.name);
}

ssize_t pread(int fd, void *out, size_t size, off_t at)
{
    char path[512];
    if (fault.what != NOTHING && is_it(fd, path)) {
        const bool now = ++fault.calls == fault.at;
        if (fault.what == SHORTEN && now)
            assert_int_equal(truncate(path, 0), 0);
        if (fault.what == FAIL && now) {
            errno = EIO;
            return -1;
        }
        if (fault.what == HALF && fault.calls % 2) {
            errno = EINTR;
            return -1;
        }
        if (fault.what == HALF && size > 1)
            size /= 2;
    }
    return syscall(SYS_pread64, fd, out, size, at);
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const void *data, size_t size)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static uint8_t *get(const char *name, size_t *size)
{
    FILE *f = fopen(path_of(name), "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = test_malloc(*size + 1);
    assert_int_equal(fread(data, 1, *size, f), *size);
    fclose(f);
    return data;
}

static int open_files(void)
{
    int count = 0;
    DIR *list = opendir("/proc/self/fd");
    assert_non_null(list);
    while (readdir(list))
        count++;
    closedir(list);
    return count;
}

typedef mgen_status user(const char *name);

/* One use of a file whose k-th read fails. `again`: who looks at it again may find it damaged instead. */
static void use_once(const char *name, user *use, int what, int k, bool again)
{
    const char *said = what == SHORTEN ? "became shorter while it was read" : "cannot read '";
    mgi_device_trim(ctx->device);
    const uint64_t bytes = ctx->heap->now;
    const int files = open_files();
    fault.calls = 0;
    fault.at = k;
    fault.what = what;
    const mgen_status status = use(name);
    fault.what = NOTHING;
    mgi_device_trim(ctx->device);
    if (status == MGEN_OK ||
        ((status != MGEN_E_IO || !strstr(mgen_last_error(ctx), said)) && (!again || what == FAIL)))
        fail_msg("%s, read %d: %s: %s", name, k, mgen_status_name(status), mgen_last_error(ctx));
    assert_int_equal(open_files(), files);
    assert_int_equal(ctx->heap->now, bytes);
}

/* Each read fails in turn, and then all give half of what they are asked for, and are interrupted. */
static void each_read(const char *name, user *use, bool again)
{
    size_t size;
    uint8_t *data = get(name, &size);
    fault.name = name;
    fault.calls = 0;
    fault.at = -1;
    fault.what = SHORTEN;
    OK(use(name));
    fault.what = NOTHING;
    const int reads = fault.calls;
    assert_in_range(reads, 1, 5000);
    for (int k = 1; k <= reads; k += 1 + k / 16)
        for (int what = SHORTEN; what <= FAIL; what++) {
            use_once(name, use, what, k, again);
            put(name, data, size);
        }
    fault.what = HALF;
    OK(use(name));
    fault.what = NOTHING;
    test_free(data);
}

/* ---- kinds of files ----------------------------------------------------------------------------------- */

static mgen_status read_whole(const char *name)
{
    mgi_file file;
    MGI_TRY(mgi_file_open_in(ctx, folder, name, &file));
    mgi_file_close(ctx, &file);
    return MGEN_OK;
}

static void test_whole(void **state)
{
    enum { SIZE = 300000 };
    (void)state;
    uint8_t *data = test_calloc(SIZE, 1);
    put("whole", data, SIZE);
    test_free(data);
    each_read("whole", read_whole, false);
}

enum { ROWS = 300, COLS = 700 };

static mgen_status read_entries(const mgi_st_entry *entries, int64_t count)
{
    float *values = test_malloc(ROWS * COLS * sizeof *values);
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < count && status == MGEN_OK; i++) {
        status = mgi_st_read_f32(ctx, &entries[i], values, ROWS * COLS);
        for (int64_t k = 0; k < ROWS * COLS && status == MGEN_OK; k++)
            if (values[k] != (float)(k % 7))
                fail_msg("%s: value %d is %g", entries[i].name, (int)k, (double)values[k]);
    }
    test_free(values);
    return status;
}

static mgen_status read_weights(const char *name)
{
    mgi_st_file st;
    uint64_t hash;
    MGI_TRY(mgi_st_open(ctx, folder, name, &st));
    mgen_status status = read_entries(st.entries, st.count);
    if (status == MGEN_OK)
        status = mgi_reader_hash(ctx, st.file, 1, &hash);
    mgi_st_close(ctx, &st);
    return status;
}

/* Three tensors in ways of their own, or one. */
static void put_weights(const char *name, const char *tensor)
{
    float *values = test_malloc(ROWS * COLS * sizeof *values);
    for (int i = 0; i < ROWS * COLS; i++)
        values[i] = (float)(i % 7);
    const mgi_st_source all[] = {{"f32", MGI_ST_F32, 2, {ROWS, COLS}, values},
                                 {"bf16", MGI_ST_BF16, 2, {ROWS, COLS}, values},
                                 {"f8", MGI_ST_F8, 2, {ROWS, COLS}, values}},
                        one = {tensor, MGI_ST_F32, 2, {ROWS, COLS}, values};
    OK(mgi_st_write(ctx, path_of(name), tensor ? &one : all, tensor ? 1 : 3, NULL, 0));
    test_free(values);
}

static void test_weights(void **state)
{
    (void)state;
    put_weights("w", NULL);
    each_read("w", read_weights, false);
}

/* Between being opened and read, and what was read before stays right. */
static void test_between(void **state)
{
    float few[10], many[ROWS * COLS];
    mgi_st_file st;
    (void)state;
    put_weights("w", NULL);
    OK(mgi_st_open(ctx, folder, "w", &st));
    const mgi_st_entry *e = mgi_st_find(&st, "f32");
    assert_int_equal(truncate(path_of("w"), (off_t)(e->at + 4096)), 0);
    OK(mgi_st_read_part(ctx, e, 7, few, 10));
    assert_true(few[3] == 3.0f);
    assert_int_equal(mgi_st_read_part(ctx, e, 1020, few, 10), MGEN_E_IO);
    assert_int_equal(mgi_st_read_f32(ctx, e, many, ROWS * COLS), MGEN_E_IO);
    assert_non_null(strstr(mgen_last_error(ctx), "w' became shorter while it was read"));
    mgi_st_close(ctx, &st);
}

static atomic_bool stop;

static void *shorten(void *arg)
{
    const off_t size = *(const off_t *)arg;
    while (!stop) {
        assert_int_equal(truncate(path_of("v"), size / 3), 0);
        assert_int_equal(truncate(path_of("v"), size), 0);
    }
    return NULL;
}

/* By another thread, all the time: what is given back to the file is zeros. */
static void test_all_the_time(void **state)
{
    float *values = test_malloc(ROWS * COLS * sizeof *values);
    int failed = 0;
    pthread_t other;
    mgi_st_file st;
    (void)state;
    put_weights("v", NULL);
    OK(mgi_st_open(ctx, folder, "v", &st));
    const off_t size = (off_t)mgi_reader_size(st.file);
    assert_int_equal(pthread_create(&other, NULL, shorten, (void *)(uintptr_t)&size), 0);
    for (int i = 0; i < 20000 && failed < 20; i++) {
        const mgi_st_entry *e = &st.entries[i % st.count];
        mgen_status status = mgi_st_read_f32(ctx, e, values, ROWS * COLS);
        failed += status == MGEN_E_IO;
        if (status != MGEN_OK && status != MGEN_E_IO && status != MGEN_E_CORRUPT)
            fail_msg("%s", mgen_last_error(ctx));
    }
    stop = true;
    pthread_join(other, NULL);
    assert_true(failed > 0);
    mgi_st_close(ctx, &st);
    test_free(values);
}

/* ---- many files --------------------------------------------------------------------------------------- */

enum { FILES = MGI_READERS_OPEN + 6 };

static mgen_status read_set(const char *name)
{
    mgi_st_set set;
    (void)name;
    MGI_TRY(mgi_st_set_open(ctx, folder, "model", &set));
    mgen_status status = read_entries(set.entries, set.count);
    mgi_st_set_close(ctx, &set);
    return status;
}

/* Most rest, and take no descriptor. Nobody may put other files in their places. */
static void test_set(void **state)
{
    char name[64], index[FILES * 64] = "{\"weight_map\":{", *end = index + strlen(index);
    mgi_st_set set;
    float value;
    (void)state;
    for (int i = 0; i < FILES; i++) {
        char tensor[8];
        snprintf(tensor, sizeof tensor, "t%02d", i);
        snprintf(name, sizeof name, "part-%02d.safetensors", i);
        put_weights(name, tensor);
        end += sprintf(end, "%s\"%s\":\"%s\"", i ? "," : "", tensor, name);
    }
    strcpy(end, "}}");
    put("model.safetensors.index.json", index, strlen(index));
    each_read("model.safetensors.index.json", read_set, false);
    each_read("part-01.safetensors", read_set, false);
    each_read(name, read_set, true); /* one that rests */

    const int before = open_files();
    OK(mgi_st_set_open(ctx, folder, "model", &set));
    assert_int_equal(open_files(), before + MGI_READERS_OPEN);
    const mgi_st_entry *first = mgi_st_set_find(&set, "t00"), *last = &set.entries[set.count - 1];
    put_weights("part-00.safetensors", "other");
    OK(mgi_st_read_part(ctx, first, 3, &value, 1)); /* of the file that it opened */
    assert_true(value == 3.0f);
    OK(mgi_st_read_part(ctx, last, 3, &value, 1));
    put_weights(name, "other");
    assert_int_equal(mgi_st_read_part(ctx, last, 3, &value, 1), MGEN_E_IO);
    assert_non_null(strstr(mgen_last_error(ctx), "was replaced or changed while it was read"));
    assert_int_equal(unlink(path_of(name)), 0);
    assert_int_equal(mgi_st_read_part(ctx, last, 3, &value, 1), MGEN_E_IO);
    assert_non_null(strstr(mgen_last_error(ctx), "was replaced or changed while it was read"));
    assert_int_equal(open_files(), before + MGI_READERS_OPEN);
    mgi_st_set_close(ctx, &set);
    assert_int_equal(open_files(), before);
}

/* ---- films, pictures, sounds -------------------------------------------------------------------------- */

static mgen_status read_film(const char *name)
{
    uint8_t *pixels;
    mgi_film_info info;
    MGI_TRY(mgi_film_tell(ctx, path_of(name), &info));
    MGI_TRY(mgi_film_read(ctx, path_of(name), 0, 0, &pixels, &info));
    mgi_free(ctx, pixels);
    return MGEN_OK;
}

static mgen_status read_sound(const char *name)
{
    mgi_track track;
    MGI_TRY(mgi_track_read(ctx, path_of(name), &track));
    mgi_free(ctx, track.samples);
    return MGEN_OK;
}

static void test_films(void **state)
{
    enum { W = 96, H = 64, N = 40, SAMPLES = 100000 };
    (void)state;
    uint8_t *pixels = test_malloc(N * W * H * 3);
    for (int i = 0; i < N * W * H * 3; i++)
        pixels[i] = (uint8_t)((i * 2654435761u) >> 24);
    const mgi_frames film = {pixels, W, H, N, 25, 1};
    mgi_track track;
    OK(mgi_track_make(ctx, SAMPLES, 48000, 2, &track));
    for (int i = 0; i < 2 * SAMPLES; i++)
        track.samples[i] = (float)(i % 97) / 100.0f;
    OK(mgi_y4m_write(ctx, path_of("a.y4m"), &film));
    OK(mgi_png_write(ctx, path_of("a.png"), pixels, W, H));
    OK(mgi_track_write(ctx, path_of("a.wav"), &track));
    each_read("a.y4m", read_film, false);
    each_read("a.png", read_film, false);
    each_read("a.wav", read_sound, false);
    if (find_plugin(ctx)) {
        static const char *const names[] = {"a.mkv", "a.mp4", "a.avi"};
        for (int i = 0; i < 3; i++) {
            OK(mgi_movie_write(ctx, path_of(names[i]), &film, &track));
            each_read(names[i], read_film, false);
            each_read(names[i], read_sound, false);
        }
    }
    mgi_free(ctx, track.samples);
    test_free(pixels);
}

/* A film that is shorter than it was when it was opened: its first frames are there. */
static void test_film_between(void **state)
{
    enum { W = 64, H = 64, N = 50, FRAME = W * H * 3 };
    (void)state;
    uint8_t *pixels = test_calloc(N, FRAME), rgb[FRAME];
    mgi_film *film;
    bool end;
    OK(mgi_y4m_write(ctx, path_of("b.y4m"), &(mgi_frames){pixels, W, H, N, 25, 1}));
    OK(mgi_film_open(ctx, path_of("b.y4m"), &film));
    OK(mgi_film_next(film, rgb, &end));
    assert_int_equal(truncate(path_of("b.y4m"), N * FRAME / 4), 0);
    mgen_status status = MGEN_OK;
    int frames = 0;
    for (; status == MGEN_OK && frames < N; frames++)
        status = mgi_film_next(film, rgb, &end);
    assert_int_equal(status, MGEN_E_IO);
    assert_in_range(frames, 2, N - 2);
    assert_non_null(strstr(mgen_last_error(ctx), "became shorter while it was read"));
    mgi_film_close(film);
    test_free(pixels);
}

/* ---- models, checkpoints, latents --------------------------------------------------------------------- */

static mgen_status read_model(const char *name)
{
    mgi_tae tae;
    uint64_t hash;
    (void)name;
    MGI_TRY(mgi_tae_open(ctx, folder, "tae", &tae, &hash));
    mgi_tae_finish(&tae);
    return MGEN_OK;
}

static void test_model(void **state)
{
    (void)state;
    save_new(tiny_autoencoder(1, 1));
    each_read("tae.safetensors", read_model, true);
    each_read("tae.json", read_model, true);
}

static mgen_status read_checkpoint(const char *name)
{
    const mgi_stage stage = tiny_autoencoder(4, 1);
    struct mgi_stage_run *run = begin(&stage);
    mgen_status status = mgi_checkpoint_load(ctx, &mgi_stage_autoencoder, run, path_of(name));
    mgi_stage_autoencoder.destroy(run);
    return status;
}

static void test_checkpoint(void **state)
{
    const mgi_stage stage = tiny_autoencoder(4, 1);
    (void)state;
    struct mgi_stage_run *run = begin(&stage);
    OK(mgi_checkpoint_save(ctx, &mgi_stage_autoencoder, run, path_of("half")));
    mgi_stage_autoencoder.destroy(run);
    each_read("half", read_checkpoint, false);
}

static void find_kept(char name[256])
{
    DIR *list = opendir(folder);
    assert_non_null(list);
    name[0] = '\0';
    for (const struct dirent *e; (e = readdir(list));)
        if (!strncmp(e->d_name, "latents-", 8))
            snprintf(name, 256, "%s", e->d_name);
    closedir(list);
    assert_true(name[0]);
}

static mgen_status step(struct mgi_stage_run *run, int64_t i)
{
    mgen_report *report;
    OK(mgi_report_create(ctx, &report));
    const mgen_status status = mgi_stage_text_to_video.step(run, i, report);
    mgen_report_destroy(report);
    return status;
}

/* Clips that are read from their file by each step. */
static void test_latents(void **state)
{
    mgi_stage stage = tiny_text_to_video(3, 4);
    const mgi_stage_params params = {
        .stage = &stage, .dir = folder, .seed = 5, .cache_dir = folder};
    struct mgi_stage_run *run;
    char name[256];
    size_t size;
    (void)state;
    save_new(tiny_autoencoder(1, 1));
    for (int what = SHORTEN; what <= FAIL; what++) {
        OK(mgi_stage_text_to_video.create(ctx, &params, &run));
        find_kept(name);
        fault.name = name;
        uint8_t *data = get(name, &size);
        OK(step(run, 0));
        fault.calls = 0;
        fault.at = 2;
        fault.what = what;
        assert_int_equal(step(run, 1), MGEN_E_IO);
        fault.what = NOTHING;
        assert_non_null(strstr(mgen_last_error(ctx), name));
        assert_non_null(
            strstr(mgen_last_error(ctx), what == FAIL ? "cannot read" : "became shorter"));
        put(name, data, size);
        OK(step(run, 1)); /* nothing was lost */
        mgi_stage_text_to_video.destroy(run);
        test_free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_between),      cmocka_unit_test(test_all_the_time),
        cmocka_unit_test(test_set),          cmocka_unit_test(test_films),
        cmocka_unit_test(test_film_between), cmocka_unit_test(test_model),
        cmocka_unit_test(test_checkpoint),   cmocka_unit_test(test_latents)};
    return cmocka_run_group_tests(tests, make_context_and_folder, free_context_and_folder);
}
