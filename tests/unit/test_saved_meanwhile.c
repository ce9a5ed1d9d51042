/* SPDX-License-Identifier: MIT
 * Models that others save again and again: whoever reads them begins anew each time, and after twenty times says so, without
 * anything mixed or left behind. And several who save to one place at the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/args.h"
#include "core/alloc.h"
#include "logged.h"
#include "model/model_file.h"
#include "stage_runs.h"
#include "task/pipeline.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EVER = 1 << 20, TOGETHER = 3, TIMES = 6 };

static char mean[64];

/* ---- who saves meanwhile -------------------------------------------------------------------------- */

/* Whenever the file `when` is about to be opened, `what` becomes another one. */
static struct {
    const char *when, *what;
    int left, times;
} saver;

static void replace_it(void)
{
    char path[128];
    struct timespec at[2] = {{.tv_sec = 1000 + saver.times}, {.tv_sec = 1000 + saver.times}};
    snprintf(path, sizeof path, "%s/%s", folder, saver.what);
    assert_int_equal(utimensat(AT_FDCWD, path, at, 0), 0);
    saver.times++;
    saver.left--;
}

/* The program's own takes the place of the C library's. */
int openat(int dir, const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    int mode = flags & O_CREAT ? va_arg(list, int) : 0;
    va_end(list);
    if (saver.left > 0 && !(flags & O_CREAT) && !strcmp(path, saver.when))
        replace_it();
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

/* It costs milliseconds, and this disk does not fail. */
int fsync(int fd)
{
    (void)fd;
    return 0;
}

static void save_meanwhile(const char *when, const char *what, int times)
{
    saver.when = when;
    saver.what = what;
    saver.left = times;
    saver.times = 0;
    logged[0] = '\0';
}

/* Nobody could have read it. */
static void assert_given_up(mgen_status status, const char *said)
{
    saver.left = 0;
    if (status != MGEN_E_IO || !strstr(mgen_last_error(ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(status), mgen_last_error(ctx),
                 said);
    if (!*logged || strchr(logged, '\n') != logged + strlen(logged) - 1)
        fail_msg("logged is not one line: %s", logged);
}

/* It was read after all, and nothing is said of the tries before. */
static void assert_read(mgen_status status)
{
    OK(status);
    assert_string_equal(logged, "");
    assert_int_equal(saver.left, 0);
    assert_int_equal(saver.times, 7);
}

/* Entries of a folder whose names begin so. */
static int count_of(const char *dir, const char *begin)
{
    int count = 0;
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d));)
        count += !strncmp(e->d_name, begin, strlen(begin)) && strcmp(e->d_name, ".") != 0 &&
                 strcmp(e->d_name, "..") != 0;
    if (d)
        closedir(d);
    return count;
}

/* ---- models --------------------------------------------------------------------------------------- */

/* As it begins, in the folder. */
static void save_stage(mgi_stage stage, const char *set, uint64_t seed)
{
    strcpy(stage.save_as, set);
    if (stage.kind != MGI_STAGE_AUTOENCODER)
        stage.bucket[stage.bucket_count++] = /* quickly encoded */
            (mgi_bucket){.width = 64, .height = 64, .frames = 1, .weight = 1.0};
    struct mgi_stage_run *run = begin_seeded(&stage, seed);
    OK(mgi_stage_kind_of(&stage)->save(run));
    mgi_stage_kind_of(&stage)->destroy(run);
}

static uint64_t hash_of(const char *dir)
{
    mgen_pipeline p = MGEN_PIPELINE_INIT;
    OK(mgen_pipeline_open(ctx, dir, &p));
    uint64_t hash = mgen_pipeline_hash(&p);
    mgen_pipeline_close(&p);
    return hash;
}

static int setup(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 1;
    params.log = keep_warnings;
    if (make_folder(state) != 0 || mgi_context_init(&ctx, &params) != MGEN_OK ||
        mgi_device_create(ctx, NULL) != MGEN_OK)
        return -1;
    snprintf(mean, sizeof mean, "%s/mean", folder);
    save_stage(tiny_autoencoder(1, 1), "", 1);
    save_stage(tiny_text_to_video(1, 1), "a", 2);
    save_stage(tiny_text_to_video(1, 1), "b", 3);
    save_stage(tiny_text_to_video(1, 1), "", 1);
    return 0;
}

static int end(void **state)
{
    char command[64];
    (void)state;
    mgi_context_free(ctx);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* ---- readers -------------------------------------------------------------------------------------- */

static mgen_status open_tae(void)
{
    mgen_tae *tae = NULL;
    mgen_status status = mgen_tae_open(ctx, folder, "tae", &tae);
    assert_true((status == MGEN_OK) == (tae != NULL));
    mgen_tae_release(tae);
    return status;
}

/* One network's two files. */
static void test_network(void **state)
{
    (void)state;
    save_meanwhile("tae.json", "tae.json", EVER);
    assert_given_up(open_tae(), "others keep saving it");
    assert_true(saver.times >= 20);
    save_meanwhile("tae.safetensors", "tae.safetensors", 7);
    assert_read(open_tae());
}

static mgen_status open_upsampler(void)
{
    mgi_upsampler u;
    uint64_t hash;
    mgen_status status = mgi_upsampler_open(ctx, folder, "upsampler", &u, &hash);
    if (status == MGEN_OK)
        mgi_upsampler_finish(&u);
    return status;
}

/* One that consists of several networks: of the other's file it is told when its own were read. */
static void test_networks(void **state)
{
    (void)state;
    mgi_stage stage = tiny_upsampler(1, 1);
    struct mgi_stage_run *run = begin_seeded(&stage, 1);
    OK(mgi_stage_kind_of(&stage)->save(run));
    mgi_stage_kind_of(&stage)->destroy(run);
    save_meanwhile("tae.json", "upsampler.json", EVER);
    assert_given_up(open_upsampler(), "others keep saving it");
    save_meanwhile("tae.json", "upsampler.json", 7);
    assert_read(open_upsampler());
}

static mgen_status open_pipeline(void)
{
    mgen_pipeline p = MGEN_PIPELINE_INIT;
    mgen_status status = mgen_pipeline_open(ctx, folder, &p);
    assert_true((status == MGEN_OK) == (p.video != NULL));
    mgen_pipeline_close(&p);
    return status;
}

static void test_pipeline(void **state)
{
    (void)state;
    save_meanwhile("pipeline.json", "pipeline.json", EVER);
    assert_given_up(open_pipeline(), "others keep saving to it");
    save_meanwhile("pipeline.json", "pipeline.json", 7);
    assert_read(open_pipeline());
}

/* ---- those who read and write --------------------------------------------------------------------- */

static mgen_status average(void)
{
    const char *const dirs[] = {folder, folder};
    return mgen_pipeline_average(ctx, dirs, NULL, 2, mean);
}

static void test_average(void **state)
{
    (void)state;
    save_meanwhile("pipeline.json", "pipeline.json", EVER);
    assert_given_up(average(), "others keep saving them");
    assert_int_equal(count_of(mean, ""), 0);
    save_meanwhile("pipeline.json", "pipeline.json", 7);
    assert_read(average());
    uint64_t before = hash_of(mean);
    save_meanwhile("pipeline.json", "pipeline.json", EVER);
    assert_given_up(average(), "others keep saving them");
    assert_true(hash_of(mean) == before);
    assert_int_equal(count_of(mean, ".save"), 0);
}

static void test_convert(void **state)
{
    (void)state;
    const uint64_t before = hash_of(folder);
    save_meanwhile("pipeline.json", "pipeline.json", EVER);
    assert_given_up(mgen_pipeline_convert(ctx, folder, MGEN_PRECISION_FP8),
                    "others keep saving them");
    assert_true(hash_of(folder) == before);
    assert_int_equal(count_of(folder, ".save"), 0);
    save_meanwhile("pipeline.json", "pipeline.json", 7);
    assert_read(mgen_pipeline_convert(ctx, folder, MGEN_PRECISION_FP8));
    assert_true(hash_of(folder) != before);
}

/* A stage that averages what others of the same recipe save. */
static void test_average_stage(void **state)
{
    mgi_stage stage = {.name = "average",
                       .kind = MGI_STAGE_AVERAGE,
                       .steps = 1,
                       .average = {"a", "b"},
                       .average_weight = {1.0, 1.0},
                       .average_count = 2,
                       .save_as = "c"};
    const mgi_stage_params params = {.stage = &stage, .dir = folder, .seed = 1};
    struct mgi_stage_run *run = NULL;
    (void)state;
    OK(mgi_stage_average.create(ctx, &params, &run));
    OK(mgi_stage_average.step(run, 0, NULL));
    save_meanwhile("b_pipeline.json", "b_pipeline.json", EVER);
    assert_given_up(mgi_stage_average.save(run), "others keep saving them");
    assert_int_equal(count_of(folder, "c_") + count_of(folder, ".save"), 0);
    save_meanwhile("b_pipeline.json", "b_pipeline.json", 7);
    assert_read(mgi_stage_average.save(run));
    assert_int_equal(count_of(folder, "c_pipeline.json"), 1);
    mgi_stage_average.destroy(run);
}

/* ---- several savers ------------------------------------------------------------------------------- */

typedef struct other {
    mgen_context *ctx;
    const char *from;
    pthread_t thread;
    mgen_status status;
    char said[256];
} other;

/* Averages of one model to one place, which others save to as well; each opens what it finds there. */
static void *save_there(void *user)
{
    other *o = user;
    for (int i = 0; i < TIMES && o->status == MGEN_OK; i++) {
        mgen_pipeline p = MGEN_PIPELINE_INIT;
        o->status = mgen_pipeline_average(o->ctx, &o->from, NULL, 1, mean);
        if (o->status == MGEN_OK)
            o->status = mgen_pipeline_open(o->ctx, mean, &p);
        mgen_pipeline_close(&p);
    }
    snprintf(o->said, sizeof o->said, "%s", mgen_last_error(o->ctx));
    return NULL;
}

/* What is there in the end is one of the models, whole. */
static void test_many(void **state)
{
    static char dirs[TOGETHER][96];
    static uint64_t hash[TOGETHER];
    static other saves[TOGETHER];
    (void)state;
    for (int i = 0; i < TOGETHER; i++) {
        char command[700];
        snprintf(dirs[i], sizeof dirs[i], "%s/from%d", folder, i);
        save_stage(tiny_text_to_video(1, 1), "", 20 + (uint64_t)i);
        snprintf(command, sizeof command, "mkdir %s && cp %s/*.json %s/*.safetensors %s", dirs[i],
                 folder, folder, dirs[i]);
        assert_int_equal(system(command), 0);
        OK(mgen_pipeline_average(ctx, (const char *const[]){dirs[i]}, NULL, 1, mean));
        hash[i] = hash_of(mean);
    }
    for (int i = 0; i < TOGETHER; i++) {
        mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
        params.threads = 1;
        saves[i] = (other){.from = dirs[i]};
        assert_int_equal(mgi_context_init(&saves[i].ctx, &params), MGEN_OK);
        assert_int_equal(mgi_device_create(saves[i].ctx, NULL), MGEN_OK);
    }
    for (int i = 0; i < TOGETHER; i++)
        assert_int_equal(pthread_create(&saves[i].thread, NULL, save_there, &saves[i]), 0);
    for (int i = 0; i < TOGETHER; i++)
        pthread_join(saves[i].thread, NULL);
    uint64_t now = hash_of(mean);
    bool found = false;
    for (int i = 0; i < TOGETHER; i++) {
        if (saves[i].status != MGEN_OK)
            fail_msg("%s", saves[i].said);
        mgi_context_free(saves[i].ctx);
        found = found || hash[i] == now;
    }
    assert_true(found && hash[0] != hash[1] && hash[1] != hash[2]);
    assert_int_equal(count_of(mean, ".save"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network), cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_average), cmocka_unit_test(test_networks),
        cmocka_unit_test(test_convert), cmocka_unit_test(test_average_stage),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests_name("saved_meanwhile", tests, setup, end);
}
