/* SPDX-License-Identifier: MIT
 * Models that are opened again and again while a stage saves: each time they are those of one save. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/args.h"
#include "core/alloc.h"
#include "tensor/device.h"
#include "test_folder.h"
#include "tiny_stages.h"
#include "train/stage.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { READS = 40 };

static _Atomic bool over;
static _Atomic int saves;
static _Atomic unsigned took = 2000; /* microseconds: what the last opening took, or more */

/* It costs milliseconds, and this disk does not fail. */
int fsync(int fd)
{
    (void)fd;
    return 0;
}

static mgen_context *make_context(void)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    params.threads = 1;
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    return ctx;
}

static struct mgi_stage_run *begin(mgen_context *ctx, const mgi_stage *stage)
{
    struct mgi_stage_run *run;
    const mgi_stage_params params = {.stage = stage, .dir = folder, .seed = 5, .cache_dir = folder};
    if (mgi_stage_kind_of(stage)->create(ctx, &params, &run) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    return run;
}

/* Every averaged value of every model of save n is n. */
static void set_all(struct mgi_stage_run *run, int n)
{
    mgi_stage_state s;
    mgi_stage_text_to_video.state(run, &s);
    for (int i = 0; i < s.modules; i++)
        for (int64_t k = 0; k < s.module[i]->count; k++) {
            mgi_tensor *t = s.module[i]->params[k]->ema;
            for (int64_t e = 0; e < t->count; e++)
                mgi_f32(t)[e] = (float)(n % 200);
        }
}

static unsigned now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned)(t.tv_sec * 1000000 + t.tv_nsec / 1000);
}

static void *save_all(void *run)
{
    for (int n = 1; !atomic_load(&over); n++) {
        set_all(run, n);
        if (mgi_stage_text_to_video.save(run) != MGEN_OK)
            return run;
        atomic_fetch_add(&saves, 1);
        usleep(now() % (2 * atomic_load(&took))); /* some openings get through, others do not */
    }
    return NULL;
}

static float value_of(const mgi_module *m)
{
    const mgi_param *last = m->params[m->count - 1];
    for (int64_t k = 0; k < m->count; k++)
        assert_true(mgi_f32(m->params[k]->value)[0] == mgi_f32(last->value)[0]);
    return mgi_f32(last->value)[0];
}

static void test_models(void **state)
{
    mgen_context *ctx = make_context(), *other = make_context();
    const mgi_stage tae = tiny_autoencoder(1, 1);
    mgi_stage stage = tiny_text_to_video(1, 1);
    pthread_t saver;
    void *failed;
    (void)state;
    stage.bucket[stage.bucket_count++] = /* quickly encoded */
        (mgi_bucket){.width = 64, .height = 64, .frames = 1, .weight = 1.0};
    struct mgi_stage_run *run = begin(other, &tae);
    assert_int_equal(mgi_stage_autoencoder.save(run), MGEN_OK);
    mgi_stage_autoencoder.destroy(run);
    run = begin(other, &stage);
    set_all(run, 0);
    assert_int_equal(mgi_stage_text_to_video.save(run), MGEN_OK);
    assert_int_equal(pthread_create(&saver, NULL, save_all, run), 0);
    int mixed = 0, unread = 0;
    for (int i = 0; i < READS || atomic_load(&saves) < READS; i++) {
        mgen_pipeline p = MGEN_PIPELINE_INIT;
        unsigned begun = now();
        if (mgen_pipeline_open(ctx, folder, &p) != MGEN_OK) {
            print_message("# %s\n", mgen_last_error(ctx));
            unread++;
            break;
        }
        atomic_store(&took, now() - begun + 100);
        mixed += value_of(&p.video->net.module) != value_of(mgi_text_module(&p.text[0]->net));
        mgen_pipeline_close(&p);
    }
    atomic_store(&over, true);
    pthread_join(saver, &failed);
    assert_int_equal(mixed, 0);
    assert_int_equal(unread, 0);
    assert_null(failed);
    mgi_stage_text_to_video.destroy(run);
    mgi_context_free(other);
    mgi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models)};
    return cmocka_run_group_tests_name("read_meanwhile", tests, make_folder, remove_folder);
}
