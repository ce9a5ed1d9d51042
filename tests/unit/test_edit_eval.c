/* SPDX-License-Identifier: MIT
 * The protocol of editors: what it reports against films made here, and numbers computed here, from the networks by
 * themselves; what is seen in films; scenes; ends. */
#include "core/alloc.h"
#include "eval/edit_eval.h"
#include "eval/films.h"
#include "eval/image_quality.h"
#include "eval/world_check.h"
#include "failing_calls.h"
#include "random_values.h"
#include "tensor/device.h"
#include "tiny_networks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CLIPS = 16, SIDE = 48, FRAMES = 8, PIXELS = FRAMES * SIDE * SIDE, STEPS = 5, SEED = 3 };
enum { EDITED, COPY, CEILING, SDEDIT, WAYS };
enum { PSNR, SSIM, KEPT, CHANGED, APPLIED, FIGURES };
enum { TASKS = MGI_EDIT_TEXT_TO_VIDEO };

static const mgi_tae_config tae_config = {TINY_TAE};
static const mgi_text_config text_config = {.t5 = {TINY_T5, .tokens_max = 200}};
static const mgi_editor_config editor = {
    .video = {TINY_VT, .condition = 3, .tasks = MGI_EDIT_TASKS, .task_dim = 6, .frames_max = 2,
              .rows_max = 3, .columns_max = 3, .guidance = 3.0f, .fps_prefix = true},
    .source_guidance = 1.5f,
    .steps = STEPS};

typedef struct world {
    failing memory;
    mgen_context *ctx;
    mgi_tae tae;
    mgi_text_encoder text;
    mgi_vt video, plain;
    mgi_networks n, base;
} world;

static void world_make(world *w)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgi_vt_config video = editor.video;
    *w = (world){.ctx = NULL};
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &w->memory};
    video.condition = video.tasks = video.task_dim = 0;
    video.guidance = 2.0f;
    assert_int_equal(mgen_context_create(&params, &w->ctx), MGEN_OK);
    assert_int_equal(mgi_tae_init(&w->tae, w->ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&w->text, w->ctx, NULL, &text_config, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&w->video, w->ctx, &editor.video), MGEN_OK);
    assert_int_equal(mgi_vt_init(&w->plain, w->ctx, &video), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->tae.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->text.t5.module, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&w->video, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&w->plain, 2), MGEN_OK);
    randomise(&w->tae.module, 0.05f);
    randomise(&w->video.module, 0.1f);
    randomise(&w->plain.module, 0.1f);
    w->n = (mgi_networks){.tae = &w->tae, .text = {&w->text}, .video = &w->video};
    w->n.clip = (mgi_clip_shape){SIDE, SIDE, FRAMES, 16};
    w->base = w->n;
    w->base.video = &w->plain;
    w->n.editor = &editor;
    assert_int_equal(mgi_networks_check(w->ctx, &w->n), MGEN_OK);
    assert_int_equal(mgi_networks_check(w->ctx, &w->base), MGEN_OK);
}

static void world_free(world *w)
{
    mgi_tae_finish(&w->tae);
    mgi_text_encoder_finish(&w->text);
    mgi_vt_finish(&w->video);
    mgi_vt_finish(&w->plain);
    mgen_context_destroy(w->ctx);
    assert_int_equal(w->memory.blocks, 0);
}

static mgi_eval_request request(void)
{
    return (mgi_eval_request){.n = CLIPS, .seed = SEED, .steps = STEPS};
}

/* -1: not there. Nothing that is reported is negative but the similarity of noise, which is never -1. */
static double entry(const mgen_report *r, const char *name)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (!strcmp(r->entry[i].name, name))
            return r->entry[i].value;
    return -1.0;
}

static mgen_report *measured(world *w, const mgi_networks *plain, const mgi_eval_request *r)
{
    mgen_report *report;
    assert_int_equal(mgi_report_create(w->ctx, &report), MGEN_OK);
    if (mgi_eval_edit(w->ctx, &w->n, plain, r, report) != MGEN_OK)
        fail_msg("%s", mgen_last_error(w->ctx));
    return report;
}

/* -- the same films and numbers, made here ------------------------------------------------------- */

typedef struct film {
    const uint8_t *in;
    uint8_t *out;
} film;

static mgen_status give(void *user, int64_t first, int64_t count, float *rgb)
{
    const uint8_t *in = ((film *)user)->in + first * SIDE * SIDE * 3;
    for (int64_t i = 0; i < count * SIDE * SIDE * 3; i++)
        rgb[i] = (float)in[i] / 127.5f - 1.0f;
    return MGEN_OK;
}

static mgen_status take(void *user, const mgi_frames_box *box, float *rgb)
{
    uint8_t *out = ((film *)user)->out + box->first * SIDE * SIDE * 3;
    for (int64_t i = 0; i < box->count * SIDE * SIDE * 3; i++) {
        double v = nearbyint((double)rgb[i] * 127.5 + 127.5);
        out[i] = (uint8_t)(v < 0.0 ? 0.0 : v > 255.0 ? 255.0 : v);
    }
    return MGEN_OK;
}

/* As one would ask for it: of the editor the instruction and its kind, at 1.5 and 3; of the model of films the film after,
 * at 2, from the second of five steps on. */
static void made(world *w, int way, int64_t i, const mgi_world_edit *e, const uint8_t *before,
                 uint8_t *out)
{
    char text[MGI_WORLD_CAPTION_MAX];
    const char *prompt = text;
    const uint64_t seed = SEED + (uint64_t)i;
    film f = {before, out};
    mgi_networks n = way == EDITED ? w->n : w->base;
    mgi_generate_request g = {.prompts = &prompt,
                              .count = 1,
                              .seeds = &seed,
                              .steps = STEPS,
                              .width = SIDE,
                              .height = SIDE,
                              .frames = FRAMES,
                              .source = give,
                              .sink = take,
                              .user = &f};
    n.clip.fps = e->before.fps;
    if (way == EDITED) {
        mgi_world_edit_text(e, text);
        g.task = e->task;
        g.guidance = 3.0f;
        g.source_guidance = 1.5f;
    } else {
        mgi_world_caption(&e->after, 0, text);
        g.guidance = 2.0f;
        g.skip = 0.4f;
    }
    if (mgi_generate(w->ctx, &n, &g) != MGEN_OK)
        fail_msg("%s", mgen_last_error(w->ctx));
}

typedef struct numbers {
    double sum[WAYS][TASKS + 1][FIGURES];
    int count[WAYS][TASKS + 1][FIGURES];
} numbers;

static void add(numbers *q, int way, int task, int figure, double value)
{
    q->sum[way][task][figure] += value;
    q->sum[way][TASKS][figure] += value;
    q->count[way][task][figure]++;
    q->count[way][TASKS][figure]++;
}

static double decibels(double squares, double values)
{
    return -10.0 * log10(squares / values / 65025.0);
}

static void judge(world *w, numbers *q, int way, const mgi_world_edit *e, const uint8_t *before,
                  const uint8_t *after, const uint8_t *out)
{
    double kept = 0.0, changed = 0.0, undone = 0.0;
    int equal = 0, differ = 0;
    for (int i = 0; i < PIXELS * 3; i++) {
        int p = i - i % 3;
        bool same =
            before[p] == after[p] && before[p + 1] == after[p + 1] && before[p + 2] == after[p + 2];
        *(same ? &kept : &changed) += pow((double)out[i] - after[i], 2.0);
        undone += same ? 0.0 : pow((double)out[i] - before[i], 2.0);
        *(same ? &equal : &differ) += 1;
    }
    if (e->task != MGI_EDIT_ADDITION) {
        add(q, way, e->task, PSNR, decibels(kept + changed, 3.0 * PIXELS));
        add(q, way, e->task, SSIM, mgi_ssim_clip(after, out, FRAMES, SIDE, SIDE));
    }
    if (equal / 3 * 1000 > PIXELS)
        add(q, way, e->task, KEPT, decibels(kept, equal));
    if (differ / 3 * 1000 > PIXELS && e->task != MGI_EDIT_ADDITION)
        add(q, way, e->task, CHANGED, decibels(changed, differ));
    if (e->task == MGI_EDIT_STYLE || e->task == MGI_EDIT_TEXTURE ||
        e->task == MGI_EDIT_SEGMENTATION) {
        add(q, way, e->task, APPLIED, changed < undone ? 1.0 : 0.0);
    } else {
        mgi_world_said seen;
        assert_int_equal(mgi_world_check(w->ctx, out, SIDE, SIDE, FRAMES, &seen), MGEN_OK);
        add(q, way, e->task, APPLIED, mgi_edit_seen(e, &seen) ? 1.0 : 0.0);
    }
}

static void check_numbers(const mgen_report *report, const numbers *q)
{
    static const char *const ways[WAYS] = {"", "copy_", "ceiling_", "sdedit_"};
    static const char *const figures[FIGURES] = {"psnr", "ssim", "kept_psnr", "changed_psnr",
                                                 "applied"};
    uint32_t count = 0;
    for (int way = 0; way < WAYS; way++)
        for (int row = 0; row <= TASKS; row++)
            for (int k = 0; k < FIGURES; k++) {
                char name[64];
                snprintf(name, sizeof name, "%s%s%s%s", ways[way],
                         row < TASKS ? mgi_edit_task_name[row] : "", row < TASKS ? "_" : "",
                         figures[k]);
                double got = entry(report, name);
                int n = q->count[way][row][k];
                count += n > 0;
                if (!n && got != -1.0)
                    fail_msg("there should be no %s", name);
                /* halves may be rounded either way */
                if (n && !(fabs(got - q->sum[way][row][k] / n) < (k == SSIM ? 0.001 : 0.02)))
                    fail_msg("%s is %g, not %g", name, got, q->sum[way][row][k] / n);
            }
    assert_int_equal(report->count, count);
    assert_true(entry(report, "addition_psnr") == -1.0 && entry(report, "addition_kept_psnr") > 0);
    assert_true(entry(report, "copy_local_applied") == 0.0);
}

static void test_protocol(void **state)
{
    (void)state;
    static uint8_t before[PIXELS * 3], after[PIXELS * 3], out[PIXELS * 3];
    static numbers q;
    world w;
    const mgi_eval_request r = request();
    world_make(&w);
    mgen_report *report = measured(&w, &w.base, &r);
    for (int64_t i = 0; i < CLIPS; i++) {
        mgi_world_edit e;
        mgi_edit_case(&w.n.clip, SEED, i, &e);
        mgi_world_edit_draw(&e, false, SIDE, SIDE, 0, FRAMES, before);
        mgi_world_edit_draw(&e, true, SIDE, SIDE, 0, FRAMES, after);
        for (int way = 0; way < WAYS; way++) {
            if (way == COPY || way == CEILING)
                assert_int_equal(mgi_eval_reconstruct(w.ctx, &w.tae, FRAMES, SIDE, SIDE,
                                                      way == COPY ? before : after, out),
                                 MGEN_OK);
            else
                made(&w, way, i, &e, before, out);
            judge(&w, &q, way, &e, before, after, out);
        }
    }
    check_numbers(report, &q);
    mgen_report_destroy(report);
    world_free(&w);
}

/* Without a model of films its numbers are missing and the others the same; a request's guidance is for both. */
static void test_what_is_asked(void **state)
{
    (void)state;
    world w;
    mgi_eval_request r = request();
    r.n = 2;
    world_make(&w);
    mgen_report *both = measured(&w, &w.base, &r), *alone = measured(&w, NULL, &r);
    r.guidance = 5.0f;
    mgen_report *guided = measured(&w, &w.base, &r);
    assert_true(entry(alone, "sdedit_psnr") == -1.0);
    assert_true(entry(both, "sdedit_psnr") > 0.0);
    assert_true(entry(both, "psnr") == entry(alone, "psnr"));
    assert_true(entry(both, "psnr") != entry(guided, "psnr"));
    assert_true(entry(both, "sdedit_psnr") != entry(guided, "sdedit_psnr"));
    assert_true(entry(both, "copy_psnr") == entry(guided, "copy_psnr"));
    mgen_report_destroy(both);
    mgen_report_destroy(alone);
    mgen_report_destroy(guided);
    world_free(&w);
}

/* -- what is seen -------------------------------------------------------------------------------- */

/* In films as they are drawn: an edit is seen after it and not before. */
static void test_seen(void **state)
{
    enum { VIEW = 64, LENGTH = 32, BYTES = VIEW * VIEW * 3 * LENGTH };
    static const int tasks[] = {MGI_EDIT_LOCAL, MGI_EDIT_BACKGROUND, MGI_EDIT_REMOVAL,
                                MGI_EDIT_ADDITION};
    const char *text = getenv("MGEN_TEST_SCENES");
    int n = text && atoi(text) > 0 ? atoi(text) : 5;
    (void)state;
    world w;
    world_make(&w);
    uint8_t *pixels = test_malloc(BYTES);
    for (int t = 0; t < 4; t++) {
        int right[2] = {0, 0};
        for (int i = 0; i < n; i++) {
            mgi_world_edit e;
            mgi_world_said seen;
            const mgi_clip_shape clip = {VIEW, VIEW, LENGTH, 16};
            mgi_edit_case(&clip, SEED, (int64_t)i * TASKS + tasks[t], &e);
            assert_int_equal(e.task, tasks[t]);
            for (int after = 0; after < 2; after++) {
                mgi_world_edit_draw(&e, after, VIEW, VIEW, 0, LENGTH, pixels);
                assert_int_equal(mgi_world_check(w.ctx, pixels, VIEW, VIEW, LENGTH, &seen),
                                 MGEN_OK);
                right[after] += mgi_edit_seen(&e, &seen) == after;
            }
        }
        print_message("%-12s %4d edits: %.4f not seen before, %.4f seen after\n",
                      mgi_edit_task_name[tasks[t]], n, (double)right[0] / n, (double)right[1] / n);
        assert_true(n - right[0] <= n / 33 && n - right[1] <= n / 33);
    }
    test_free(pixels);
    world_free(&w);
}

static void assert_seen(const mgi_world_edit *e, const char *caption, bool want)
{
    mgi_world_said seen;
    mgi_world_parse(caption, &seen);
    if (mgi_edit_seen(e, &seen) != want)
        fail_msg("an edit of kind %s is %sseen in \"%s\"", mgi_edit_task_name[e->task],
                 want ? "not " : "", caption);
}

/* Of the edited thing everything counts, of the others nothing. */
static void test_seen_in_words(void **state)
{
    (void)state;
    mgi_world_edit e = {.task = MGI_EDIT_LOCAL, .changed = MGI_WORLD_EDIT_COLOUR};
    e.before = (mgi_world_scene){.count = 2, .background = MGI_WORLD_SNOW};
    e.before.objects[0] = (mgi_world_object){MGI_WORLD_BALL, MGI_WORLD_RED, MGI_WORLD_SMALL, 0};
    e.before.objects[1] = (mgi_world_object){MGI_WORLD_CUBE, MGI_WORLD_GREEN, MGI_WORLD_MEDIUM, 0};
    e.after = e.before;
    e.after.objects[0].colour = MGI_WORLD_BLUE;
    assert_seen(&e, "a small blue ball", true);
    assert_seen(&e, "a small blue ball and a star that is pink on sand", true);
    assert_seen(&e, "a small blue ball and a red ring", false);
    assert_seen(&e, "a blue ball", false);
    assert_seen(&e, "a small blue cube", false);
    assert_seen(&e, "a small red ball", false);
    e.after.objects[0] = e.before.objects[0];
    e.after.objects[0].shape = MGI_WORLD_CROSS;
    assert_seen(&e, "a small red cross", true);
    assert_seen(&e, "a small red ball", false);
    e.task = MGI_EDIT_BACKGROUND;
    e.object = -1;
    assert_seen(&e, "a small red cross on snow", true);
    assert_seen(&e, "a small red ball on sand", false);
    assert_seen(&e, "a small red ball", false);
    e.task = MGI_EDIT_ADDITION;
    e.object = 0;
    assert_seen(&e, "a red cross", true);
    assert_seen(&e, "a red cross, a small green cube and a pink ball", true);
    assert_seen(&e, "a red ball", false);
    assert_seen(&e, "a blue cross", false);
    e.object = -1;
    memcpy(e.after.sign, "AB3", 4);
    assert_seen(&e, "a sign that reads \"AB3\"", true);
    assert_seen(&e, "a sign that reads \"AB\"", false);
    assert_seen(&e, "", false);
    e.task = MGI_EDIT_REMOVAL;
    assert_seen(&e, "a red cross", true);
    assert_seen(&e, "a sign that reads \"A\"", false);
    e.object = 1;
    e.after.count = 1;
    assert_seen(&e, "a red cross", true);
    assert_seen(&e, "a pink star", true);
    assert_seen(&e, "a green cube", false);
    assert_seen(&e, "a red cross and a green ball", false);
    assert_seen(&e, "a red cross and a pink ball", false);
    assert_seen(&e, "", false);
    e.task = MGI_EDIT_TEXTURE;
    assert_seen(&e, "a red cross", false);
}

static void test_cases(void **state)
{
    (void)state;
    const mgi_clip_shape clip = {64, 48, FRAMES, 16};
    mgi_world_edit e, other;
    for (int64_t i = 0; i < 70; i++) {
        mgi_edit_case(&clip, SEED, i, &e);
        assert_int_equal(e.task, i % TASKS);
        assert_true(e.after.width == 64 && e.after.height == 48 && e.after.frames == FRAMES);
        for (int k = 0; k < e.after.count; k++)
            assert_true(mgi_world_held_out(e.after.objects[k].shape, e.after.objects[k].colour,
                                           e.after.objects[k].motion, e.after.background));
        mgi_edit_case(&clip, SEED + 1, i, &other);
        assert_memory_not_equal(&e.after, &other.after, sizeof e.after);
    }
}

/* -- ends ---------------------------------------------------------------------------------------- */

static bool stop(void *user, int done, int total)
{
    assert_int_equal(total, CLIPS);
    assert_int_equal(done, ++*(int *)user);
    return done == 2;
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
    assert_int_equal(mgi_eval_edit(w.ctx, &w.n, NULL, &r, NULL), MGEN_E_CANCELLED);
    assert_int_equal(calls, 2);
    world_free(&w);
}

static void test_refused(void **state)
{
    static const mgi_clip_shape shapes[] = {{46, 48, 2, 16},  {48, 0, 2, 16},   {49, 48, 2, 16},
                                            {48, 49, 2, 16},  {48, 214, 2, 16}, {48, 48, 0, 16},
                                            {48, 48, 65, 16}, {0, 48, 2, 16}};
    (void)state;
    world w;
    const mgi_eval_request r = request();
    world_make(&w);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        w.n.clip = shapes[i];
        assert_int_equal(mgi_eval_edit(w.ctx, &w.n, NULL, &r, NULL), MGEN_E_STATE);
        assert_non_null(strstr(mgen_last_error(w.ctx), "even sides of at least 48"));
    }
    world_free(&w);
}

/* Whatever allocation fails, nothing stays. */
static void test_memory(void **state)
{
    (void)state;
    world w;
    mgi_eval_request r = request();
    world_make(&w);
    w.n.clip.frames = w.base.clip.frames = 1;
    r.n = 1;
    r.steps = 2;
    ASSERT_NOTHING_STAYS(w.ctx, w.memory, mgi_eval_edit(w.ctx, &w.n, &w.base, &r, NULL));
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocol), cmocka_unit_test(test_what_is_asked),
        cmocka_unit_test(test_seen),     cmocka_unit_test(test_seen_in_words),
        cmocka_unit_test(test_cases),    cmocka_unit_test(test_stops),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
