/* SPDX-License-Identifier: MIT
 * What the tests of the public interface share: a folder with the recipe of a tiny model, an allocator that
 * counts and fails, and the short way to a clip. */
#ifndef TESTS_API_TINY_H
#define TESTS_API_TINY_H

#include "moviegen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SHARED static __attribute__((unused))

enum { TINY_BYTES = 32 * 64 * 64 * 3 }; /* of its clip */

SHARED char dir[] = "/tmp/mgen-api-XXXXXX";
SHARED char recipe[256];

SHARED const char recipe_text[] =
    "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": ["
    "{\"name\": \"image\", \"kind\": \"autoencoder\", \"steps\": 2, \"batch\": 2, \"frames\": 1,"
    " \"tae\": {\"channels\": [2, 4, 4, 8], \"latent_channels\": 4, \"blocks\": 1, \"temporal\": "
    "false},"
    " \"mse\": 10, \"kl\": 0.0003, \"optimizer\": {\"lr\": 0.001}},"
    "{\"name\": \"tae\", \"kind\": \"autoencoder\", \"steps\": 2, \"batch\": 1, \"frames\": 9,"
    " \"start_from\": \"image\", \"image_every\": 2, \"image_batch\": 2, \"validate_every\": 2,"
    " \"tae\": {\"channels\": [2, 4, 4, 8], \"latent_channels\": 4, \"blocks\": 1, \"temporal\": "
    "true},"
    " \"mse\": 10, \"kl\": 0.0003, \"optimizer\": {\"lr\": 0.001}},"
    "{\"name\": \"video\", \"kind\": \"text_to_video\", \"steps\": 3, \"batch\": 4, \"clips\": 4,"
    " \"tae\": \"tae\", \"validate_every\": 3, \"validate_clips\": 4,"
    " \"text_encoder\": {\"vocab\": 259, \"dim\": 16, \"layers\": 1, \"heads\": 2, \"head_dim\": 8,"
    " \"ff_dim\": 16, \"tokens_max\": 64},"
    " \"video_model\": {\"layers\": 1, \"dim\": 16, \"heads\": 2, \"ff_dim\": 32, \"channels\": 4,"
    " \"patch\": [1, 2, 2], \"frames_max\": 4, \"rows_max\": 4, \"columns_max\": 4, \"text_dim\": "
    "16},"
    " \"optimizer\": {\"lr\": 0.01}},"
    "{\"name\": \"upsampler\", \"kind\": \"upsampler\", \"steps\": 4, \"batch\": 1, \"clips\": 2,"
    " \"tae\": \"tae\", \"world\": {\"scale\": 2},"
    " \"buckets\": [{\"width\": 128, \"height\": 128, \"frames\": 2}],"
    " \"text_encoders\": {\"ul2\": {\"from\": \"text_encoder\", \"frozen\": true}},"
    " \"upsampler\": {\"factor\": 2, \"frames\": 6, \"overlap\": 2, \"steps\": 3, \"transformer\": "
    "{"
    "\"layers\": 1, \"dim\": 16, \"heads\": 2, \"ff_dim\": 32, \"channels\": 4,"
    " \"condition_channels\": 4, \"patch\": [1, 2, 2], \"frames_max\": 6, \"rows_max\": 8,"
    " \"columns_max\": 8, \"text_dim\": 16, \"guidance\": 2}},"
    " \"optimizer\": {\"lr\": 0.02, \"ema\": 0.5}}]}";

/* By which curation keeps a film of one colour. */
SHARED const char lenient_rules[] =
    "{\"base\": \"toybox\", \"skip\": 0, \"still_max\": 1, \"still_seconds_max\": 100,"
    " \"motion_min\": 0, \"vector_min\": 0}";

/* A file of the folder, made if it is not there yet; its path, until the next call. */
SHARED const char *write_text(const char *name, const char *text)
{
    static char path[256];
    snprintf(path, sizeof path, "%.200s/%.50s", dir, name);
    if (access(path, F_OK) != 0) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
    }
    return path;
}

SHARED mgen_context *make_context(uint32_t threads)
{
    mgen_context *ctx = NULL;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.threads = threads;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    return ctx;
}

SHARED int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return 1;
    snprintf(recipe, sizeof recipe, "%s/recipe.json", dir);
    FILE *f = fopen(recipe, "w");
    if (!f)
        return 1;
    fputs(recipe_text, f);
    return fclose(f);
}

SHARED int teardown(void **state)
{
    char command[300];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* Train the stages named, in order, and save them. */
SHARED void train_tiny(mgen_context *ctx, const char *const *stages, int count)
{
    for (int i = 0; i < count; i++) {
        mgen_trainer *trainer = NULL;
        mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
        p.recipe = recipe;
        p.stage = stages[i];
        p.dir = dir;
        p.seed = 7;
        if (mgen_trainer_create(ctx, &p, &trainer) != MGEN_OK)
            fail_msg("%s", mgen_last_error(ctx));
        assert_int_equal(mgen_trainer_run(trainer, 0), MGEN_OK);
        assert_int_equal(mgen_trainer_save(trainer), MGEN_OK);
        mgen_trainer_destroy(trainer);
    }
}

/* The same, and the model trained. */
SHARED int setup_trained(void **state)
{
    static const char *const stages[] = {"image", "tae", "video"};
    int failed = setup(state);
    if (failed)
        return failed;
    mgen_context *ctx = make_context(2);
    train_tiny(ctx, stages, 3);
    mgen_context_destroy(ctx);
    return 0;
}

/* The same, with an upsampler. */
SHARED int setup_upsampler(void **state)
{
    static const char *const stages[] = {"upsampler"};
    int failed = setup_trained(state);
    if (failed)
        return failed;
    mgen_context *ctx = make_context(2);
    train_tiny(ctx, stages, 1);
    mgen_context_destroy(ctx);
    return 0;
}

/* -- an allocator that counts and fails -------------------------------------------------------------- */

typedef struct counter {
    _Atomic int64_t blocks, bytes, made,
        fail_at;             /* fail_at: the number of the call that fails; 0 = none */
    _Atomic bool lasting;    /* all after it fail too */
    _Atomic int64_t refused; /* that failed; not those that were made again at once, with success */
    _Atomic int64_t round;   /* set_failure() was called */
    bool (*refuses)(void *of, size_t size); /* or NULL: another reason to fail */
    void *of;
} counter;

/* Of this thread: the allocation that failed just now. */
static _Thread_local struct {
    const counter *of;
    int64_t round;
    size_t size;
} last_refusal;

SHARED void *count_alloc(void *user, size_t size)
{
    counter *c = user;
    int64_t call = atomic_fetch_add(&c->made, 1) + 1;
    int64_t fail_at = atomic_load(&c->fail_at);
    if ((fail_at && (call == fail_at || (call > fail_at && atomic_load(&c->lasting)))) ||
        (c->refuses && c->refuses(c->of, size))) {
        last_refusal.of = c;
        last_refusal.round = atomic_load(&c->round);
        last_refusal.size = size;
        atomic_fetch_add(&c->refused, 1);
        return NULL;
    }
    if (last_refusal.of == c && last_refusal.round == atomic_load(&c->round) &&
        last_refusal.size == size)
        atomic_fetch_sub(&c->refused, 1);
    last_refusal.of = NULL;
    void *p = NULL;
    if (posix_memalign(&p, 64, size ? size : 1))
        return NULL;
    atomic_fetch_add(&c->blocks, 1);
    atomic_fetch_add(&c->bytes, (int64_t)size);
    return p;
}

SHARED void count_free(void *user, void *ptr, size_t size)
{
    counter *c = user;
    if (!ptr)
        return;
    atomic_fetch_sub(&c->blocks, 1);
    atomic_fetch_sub(&c->bytes, (int64_t)size);
    free(ptr);
}

SHARED void set_failure(counter *c, int64_t k, bool lasting)
{
    atomic_store(&c->lasting, lasting);
    atomic_store(&c->made, 0);
    atomic_store(&c->refused, 0);
    atomic_fetch_add(&c->round, 1);
    atomic_store(&c->fail_at, k);
}

/* The same from now on, counting on: for when the library's threads may be between a refusal and asking again. */
SHARED void set_failure_ahead(counter *c, int64_t k, bool lasting)
{
    atomic_store(&c->lasting, lasting);
    atomic_store(&c->fail_at, k ? atomic_load(&c->made) + k : 0);
}

SHARED mgen_context *counted_context(counter *c)
{
    mgen_context *ctx = NULL;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.threads = 2;
    p.allocator = (mgen_allocator){count_alloc, count_free, c};
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    return ctx;
}

SHARED mgen_generate_params film_request(uint32_t frames)
{
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    p.prompt = "a red ball rolls left on grass";
    p.steps = 2;
    p.seed = 5;
    p.frames = frames;
    return p;
}

/* Frames go where the request says, or nowhere. */
SHARED mgen_status run_job(mgen_context *ctx, const mgen_pipeline *pipe,
                           const mgen_generate_params *p)
{
    mgen_job *job = NULL;
    mgen_status status = mgen_generate_start(ctx, pipe, p, &job);
    if (status == MGEN_OK)
        status = mgen_job_wait(job, -1);
    mgen_job_destroy(job);
    return status;
}

SHARED mgen_status generate(mgen_context *ctx, const mgen_pipeline *pipe,
                            const mgen_generate_params *p, mgen_clip **clip)
{
    mgen_job *job = NULL;
    mgen_status status = mgen_generate_start(ctx, pipe, p, &job);
    *clip = NULL;
    if (status != MGEN_OK) {
        assert_null(job);
        return status;
    }
    status = mgen_job_wait(job, -1);
    if (status == MGEN_OK) {
        assert_int_equal(mgen_job_take_clip(job, clip), MGEN_OK);
        mgen_clip *again = NULL;
        assert_int_equal(mgen_job_take_clip(job, &again), MGEN_E_STATE);
        assert_null(again);
    }
    mgen_job_destroy(job);
    return status;
}

#endif
