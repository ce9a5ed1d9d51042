/* SPDX-License-Identifier: MIT
 * The protocol of distances between sets of films: what it reports against sets made here; datasets; ends. */
#include "eval/alignment.h"
#include "eval/film_sight.h"
#include "eval/films.h"
#include "eval/frechet_eval.h"
#include "failing_calls.h"
#include "tensor/device.h"
#include "tiny_networks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "random_values.h"

enum { CLIPS = 6, SIDE = 48, FRAMES = 4, STEPS = 2, SEED = 3, FRAME = SIDE * SIDE * 3 };
enum { BYTES = FRAMES * FRAME };

static const mgi_tae_config tae_config = {TINY_TAE};
static const mgi_text_config text_config = {.t5 = {TINY_T5, .tokens_max = 600}};
static const mgi_vt_config video_config = {TINY_VT,          .frames_max = 2,  .rows_max = 3,
                                           .columns_max = 3, .guidance = 2.0f, .fps_prefix = true};

typedef struct world {
    failing memory;
    mgen_context *ctx;
    mgi_tae tae;
    mgi_text_encoder text;
    mgi_vt video;
    mgi_networks n;
    int warnings;
} world;

static void on_log(void *user, int32_t level, const char *text)
{
    world *w = user;
    w->warnings += level == MGEN_LOG_WARN && strstr(text, "films are fewer than the 480") != NULL;
}

static void world_make(world *w)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    *w = (world){.ctx = NULL};
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &w->memory};
    params.log = on_log;
    params.log_user = w;
    assert_int_equal(mgen_context_create(&params, &w->ctx), MGEN_OK);
    assert_int_equal(mgi_tae_init(&w->tae, w->ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&w->text, w->ctx, NULL, &text_config, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&w->video, w->ctx, &video_config), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->tae.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(mgi_text_module(&w->text), 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&w->video, 1), MGEN_OK);
    randomise(&w->tae.module, 0.05f);
    randomise(&w->video.module, 0.1f);
    w->n = (mgi_networks){
        .tae = &w->tae, .text = {&w->text}, .video = &w->video, .clip = {SIDE, SIDE, FRAMES, 16}};
    assert_int_equal(mgi_networks_check(w->ctx, &w->n), MGEN_OK);
}

static void world_free(world *w)
{
    mgi_tae_finish(&w->tae);
    mgi_text_encoder_finish(&w->text);
    mgi_vt_finish(&w->video);
    mgen_context_destroy(w->ctx);
    assert_int_equal(w->memory.blocks, 0);
}

static mgi_eval_request request(void)
{
    return (mgi_eval_request){.n = CLIPS, .seed = SEED, .steps = STEPS, .guidance = 2.0f};
}

static mgen_report *measured(world *w, mgi_dataset *ds, const mgi_eval_request *r)
{
    mgen_report *report;
    assert_int_equal(mgi_report_create(w->ctx, &report), MGEN_OK);
    if (mgi_eval_frechet(w->ctx, &w->n, ds, r, report) != MGEN_OK)
        fail_msg("%s", mgen_last_error(w->ctx));
    return report;
}

/* -- the numbers --------------------------------------------------------------------------------- */

enum { MADE, FLOOR, CEILING, OTHERS, SETS };

/* What a test says of its true films: `other` is 1 of those that nothing is made for. */
typedef void truth(world *w, int64_t i, int64_t other, char text[MGI_CAPTION_SIZE], uint8_t *out);

static void scene(world *w, int64_t i, int64_t other, char text[MGI_CAPTION_SIZE], uint8_t *out)
{
    mgi_world_scene s;
    mgi_alignment_prompt(&w->n.clip, i + (other << 32), &s, text);
    mgi_world_draw(&s, SIDE, SIDE, 0, (int)w->n.clip.frames, out);
}

/* The films from `first` on that are made together, as those that are measured: texts of a batch are as long as its longest
 * one, by which values may be rounded otherwise than of a film alone. */
static void make_films(world *w, truth *film_of, int64_t first, int64_t count, uint8_t *made)
{
    static uint8_t pixels[BYTES];
    char text[MGI_EVAL_BATCH][MGI_CAPTION_SIZE];
    const char *prompts[MGI_EVAL_BATCH];
    const int64_t left = count - first, n = left < MGI_EVAL_BATCH ? left : MGI_EVAL_BATCH;
    const mgi_eval_request r = request();
    for (int64_t i = 0; i < n; i++) {
        film_of(w, first + i, 0, text[i], pixels);
        prompts[i] = text[i];
    }
    assert_int_equal(mgi_eval_generate(w->ctx, &w->n, &r, prompts, NULL, first, n, made), MGEN_OK);
}

static void check(world *w, const mgen_report *report, truth *film_of, int64_t count)
{
    static const char *const names[6] = {"frechet_frames",         "frechet_films",
                                         "floor_frechet_frames",   "floor_frechet_films",
                                         "ceiling_frechet_frames", "ceiling_frechet_films"};
    static uint8_t pixels[BYTES], made[MGI_EVAL_BATCH * BYTES];
    const int64_t frames = w->n.clip.frames, film[3] = {frames, SIDE, SIDE};
    const size_t clip = (size_t)(frames * SIDE * SIDE * 3);
    mgi_film_sight sight;
    mgi_film_set set[SETS];
    assert_int_equal(mgi_film_sight_init(w->ctx, &sight), MGEN_OK);
    for (int k = 0; k < SETS; k++)
        assert_int_equal(mgi_film_set_init(w->ctx, &sight, &set[k]), MGEN_OK);
#define SEE(which)                                                                                 \
    assert_int_equal(mgi_film_sight_add(w->ctx, &sight, film, pixels, &set[which]), 0)
    for (int64_t i = 0; i < count; i++) {
        char text[MGI_CAPTION_SIZE];
        const int64_t of = i % MGI_EVAL_BATCH;
        if (!of)
            make_films(w, film_of, i, count, made);
        film_of(w, i, 1, text, pixels);
        SEE(OTHERS);
        film_of(w, i, 0, text, pixels);
        SEE(FLOOR);
        assert_int_equal(mgi_eval_reconstruct(w->ctx, &w->tae, frames, SIDE, SIDE, pixels, pixels),
                         MGEN_OK);
        SEE(CEILING);
        memcpy(pixels, made + (size_t)of * clip, clip);
        SEE(MADE);
    }
    assert_string_equal(report->entry[0].name, "n");
    assert_true(report->entry[0].value == (double)count);
    assert_string_equal(report->entry[1].name, "dims");
    assert_true(report->entry[1].value == 240.0);
    if (frames > 1) {
        assert_string_equal(report->entry[2].name, "film_dims");
        assert_true(report->entry[2].value == 480.0);
    }
    uint32_t at = frames > 1 ? 3 : 2;
    for (int k = 0; k < 6; k++) {
        double want;
        if (frames == 1 && k % 2)
            continue;
        assert_int_equal(k % 2
                             ? mgi_frechet(w->ctx, &set[k / 2].films, &set[OTHERS].films, &want)
                             : mgi_frechet(w->ctx, &set[k / 2].frames, &set[OTHERS].frames, &want),
                         MGEN_OK);
        assert_true(at < report->count);
        assert_string_equal(report->entry[at].name, names[k]);
        assert_true(want > 0.0);
        assert_float_equal(report->entry[at++].value, want, 1e-6 * want);
    }
    assert_int_equal(report->count, at);
    for (int k = 0; k < SETS; k++)
        mgi_film_set_finish(w->ctx, &set[k]);
    mgi_film_sight_finish(&sight);
}

static void test_toybox(void **state)
{
    (void)state;
    world w;
    mgi_eval_request r = request();
    world_make(&w);
    mgen_report *report = measured(&w, NULL, &r);
    check(&w, report, scene, CLIPS);
    assert_int_equal(w.warnings, 1);
    mgen_report_destroy(report);
    w.n.clip.frames = 1; /* pictures: nothing moves */
    report = measured(&w, NULL, &r);
    check(&w, report, scene, CLIPS);
    mgen_report_destroy(report);
    world_free(&w);
}

/* -- datasets ------------------------------------------------------------------------------------ */

enum { SAMPLES = 9 };

static void fill(uint64_t index, char *text, size_t size, uint8_t *pixels)
{
    snprintf(text, size, "film %u", (unsigned)index);
    for (int64_t i = 0; i < BYTES; i++)
        pixels[i] =
            (uint8_t)((uint64_t)i * (index + 3) / 7 + index * index * 31 + (uint64_t)i / FRAME);
}

static mgen_status sample_of(void *user, uint64_t index, mgen_sample *sample)
{
    ((int *)user)[index]++;
    fill(index, sample->caption, sample->caption_size, sample->pixels);
    return MGEN_OK;
}

static void sample(world *w, int64_t i, int64_t other, char text[MGI_CAPTION_SIZE], uint8_t *out)
{
    (void)w;
    fill((uint64_t)(2 * i + other), text, MGI_CAPTION_SIZE, out);
}

static mgi_dataset *dataset(world *w, uint64_t count, uint32_t side, int *asked)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgi_dataset *ds;
    p.width = p.height = side;
    p.frames = FRAMES;
    p.count = count;
    p.read = sample_of;
    p.user = asked;
    assert_int_equal(mgi_dataset_host(w->ctx, &p, &ds), MGEN_OK);
    return ds;
}

static void test_dataset(void **state)
{
    (void)state;
    world w;
    int asked[SAMPLES] = {0};
    mgi_eval_request r = request();
    world_make(&w);
    mgi_dataset *ds = dataset(&w, SAMPLES, SIDE, asked);
    mgen_report *report = measured(&w, ds, &r); /* half of the samples, at most */
    check(&w, report, sample, SAMPLES / 2);
    for (int i = 0; i < SAMPLES; i++)
        assert_int_equal(asked[i], i < SAMPLES - 1);
    mgen_report_destroy(report);
    r.n = 2;
    report = measured(&w, ds, &r);
    check(&w, report, sample, 2);
    mgen_report_destroy(report);
    mgi_dataset_release(ds);
    world_free(&w);
}

/* -- ends ---------------------------------------------------------------------------------------- */

static void refused(world *w, mgi_dataset *ds, const mgi_eval_request *r, mgen_status status,
                    const char *why)
{
    assert_int_equal(mgi_eval_frechet(w->ctx, &w->n, ds, r, NULL), status);
    assert_non_null(strstr(mgen_last_error(w->ctx), why));
}

static void test_refused(void **state)
{
    (void)state;
    world w;
    int asked[SAMPLES] = {0};
    mgi_eval_request r = request();
    world_make(&w);
    mgi_dataset *few = dataset(&w, 3, SIDE, asked), *small = dataset(&w, SAMPLES, 32, asked);
    refused(&w, few, &r, MGEN_E_INVALID, "twice as many samples");
    refused(&w, small, &r, MGEN_E_INVALID,
            "clips of 48 x 48 x 4 frames are not in a dataset of 32");
    mgi_dataset_release(small);
    mgi_dataset_release(few);
    r.n = 1;
    refused(&w, NULL, &r, MGEN_E_INVALID, "n of 2 or more");
    r.n = 2;
    w.n.clip.frames = 65;
    refused(&w, NULL, &r, MGEN_E_STATE, "the frechet protocol needs a model of clips");
    world_free(&w);
}

static bool stop(void *user, int done, int total)
{
    assert_int_equal(total, CLIPS);
    assert_int_equal(done, ++*(int *)user == 1 ? MGI_EVAL_BATCH : CLIPS);
    return done == CLIPS;
}

static void test_stops(void **state)
{
    (void)state;
    world w;
    int calls = 0;
    mgi_eval_request r = request();
    world_make(&w);
    r.progress = stop;
    r.user = &calls;
    refused(&w, NULL, &r, MGEN_E_CANCELLED, "stopped");
    assert_int_equal(calls, 2);
    world_free(&w);
}

/* Whatever allocation fails, nothing stays. */
static void test_memory(void **state)
{
    (void)state;
    world w;
    mgi_eval_request r = request();
    world_make(&w);
    w.n.clip.frames = 1;
    r.n = 2;
    r.steps = 1;
    ASSERT_NOTHING_STAYS(w.ctx, w.memory, mgi_eval_frechet(w.ctx, &w.n, NULL, &r, NULL));
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_toybox),  cmocka_unit_test(test_dataset),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_stops),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
