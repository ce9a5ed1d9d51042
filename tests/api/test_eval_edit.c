/* SPDX-License-Identifier: MIT
 * The protocol "edit": what it needs, what it refuses, what it reports. */
#include "../unit/reported.h"
#include "data/world_edit.h"
#include "eval/edit_eval.h"
#include "eval/films.h"
#include "eval/image_quality.h"
#include "tiny_editor.h"
#include "eval_calls.h"

#include <math.h>

enum { SIDE = 64, FRAMES = 9, BYTES = FRAMES * SIDE * SIDE * 3, TASKS = MGI_EDIT_TEXT_TO_VIDEO };

static mgen_eval_params edits(uint32_t n, uint32_t steps)
{
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    p.protocol = "edit";
    p.n = n;
    p.steps = steps;
    p.seed = 5;
    return p;
}

static int32_t count_calls(void *user, uint32_t done, uint32_t total)
{
    assert_int_equal(done, ++*(uint32_t *)user);
    assert_int_equal(total, TASKS);
    return 0;
}

/* One edit of each task: every number that there should be, in its range, and no other. */
static void test_report(void **state)
{
    static const char *const ways[] = {"", "copy_", "ceiling_", "sdedit_"};
    static const char *const figures[] = {"psnr", "ssim", "kept_psnr", "changed_psnr", "applied"};
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe;
    mgen_eval_params p = edits(TASKS, 0);
    uint32_t calls = 0, found = 5;
    pipe = open_short(ctx, FRAMES);
    p.on_progress = count_calls;
    p.user = &calls;
    mgen_report *report = measured(ctx, &pipe, &p);
    assert_int_equal(calls, TASKS);
    assert_string_equal(mgen_report_name(report, 0), "n");
    assert_true(reported(report, "n") == TASKS);
    assert_true(reported(report, "steps") == 3.0); /* the editor's own */
    assert_true(reported(report, "guidance") == 2.0);
    assert_true(reported(report, "noise_scale") == 1.0);
    assert_true(reported(report, "source_guidance") == 1.5);
    for (int i = 0; i < 4 * 5 * (TASKS + 1); i++) {
        char name[64];
        int task = i / 20, figure = i % 5;
        snprintf(name, sizeof name, "%s%s%s%s", ways[i / 5 % 4],
                 task < TASKS ? mgi_edit_task_name[task] : "", task < TASKS ? "_" : "",
                 figures[figure]);
        double value = reported_or(report, name, -1.0);
        found += value != -1.0;
        if (figure == 4)
            assert_true(value >= 0.0 && value <= 1.0);
        else if (task == MGI_EDIT_ADDITION && figure != 2)
            assert_true(value == -1.0);
        else if (figure != 2 || task != MGI_EDIT_STYLE) /* of which little or nothing is kept */
            assert_true(figure == 1 ? value > -1.0 && value < 1.0 : value > 1.0 && value < 60.0);
    }
    assert_int_equal(mgen_report_count(report), found);
    mgen_report_destroy(report);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* What the copies and the ceilings are, from the pipeline's TAE by itself. */
static void test_bounds(void **state)
{
    static uint8_t before[BYTES], after[BYTES], made[BYTES];
    enum { CLIPS = 4 }; /* of tasks whose places are known */
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe;
    mgi_tae tae;
    uint64_t hash;
    const mgen_eval_params p = edits(CLIPS, 1);
    double psnr[2] = {0}, ssim[2] = {0}, kept[2] = {0};
    int sides = 0;
    pipe = open_short(ctx, FRAMES);
    assert_int_equal(mgi_tae_open(ctx, dir, "tae", &tae, &hash), MGEN_OK);
    mgen_report *report = measured(ctx, &pipe, &p);
    for (int i = 0; i < CLIPS; i++) {
        const mgi_clip_shape clip = {SIDE, SIDE, FRAMES, 16};
        mgi_world_edit e;
        mgi_edit_case(&clip, 5, i, &e);
        mgi_world_edit_draw(&e, false, SIDE, SIDE, 0, FRAMES, before);
        mgi_world_edit_draw(&e, true, SIDE, SIDE, 0, FRAMES, after);
        int same = 0;
        for (int way = 0; way < 2; way++) {
            double error = 0.0;
            assert_int_equal(
                mgi_eval_reconstruct(ctx, &tae, FRAMES, SIDE, SIDE, way ? after : before, made),
                MGEN_OK);
            psnr[way] += mgi_psnr(after, made, BYTES) / CLIPS;
            ssim[way] += mgi_ssim_clip(after, made, FRAMES, SIDE, SIDE) / CLIPS;
            same = 0;
            for (int k = 0; k < BYTES; k += 3)
                if (!memcmp(before + k, after + k, 3)) {
                    same++;
                    for (int c = 0; c < 3; c++)
                        error += pow((double)made[k + c] - after[k + c], 2.0);
                }
            if (same > BYTES / 3 / 1000)
                kept[way] -= 10.0 * log10(error / (3.0 * same) / (255.0 * 255.0));
        }
        sides += same > BYTES / 3 / 1000;
    }
    assert_in_range(sides, 2, CLIPS);
    assert_float_equal(reported(report, "copy_psnr"), psnr[0], 1e-4);
    assert_float_equal(reported(report, "ceiling_psnr"), psnr[1], 1e-4);
    assert_float_equal(reported(report, "copy_ssim"), ssim[0], 1e-6);
    assert_float_equal(reported(report, "ceiling_ssim"), ssim[1], 1e-6);
    assert_float_equal(reported(report, "copy_kept_psnr"), kept[0] / sides, 1e-4);
    assert_float_equal(reported(report, "ceiling_kept_psnr"), kept[1] / sides, 1e-4);
    assert_true(fabs(psnr[0] - psnr[1]) > 1e-3 && fabs(kept[0] - psnr[0]) > 1e-3);
    mgen_report_destroy(report);
    mgi_tae_finish(&tae);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* The request's own numbers change what is made, and only that. */
static void test_honoured(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe;
    mgen_eval_params p[5];
    mgen_report *own;
    pipe = open_short(ctx, FRAMES);
    for (int i = 0; i < 5; i++)
        p[i] = edits(1, 3);
    own = measured(ctx, &pipe, &p[0]);
    p[1].steps = 5;
    p[2].guidance = 5.0f;
    p[3].schedule = MGEN_SCHEDULE_LINEAR;
    p[4].solver = MGEN_SOLVER_MIDPOINT;
    for (int i = 1; i < 5; i++) {
        mgen_report *other = measured(ctx, &pipe, &p[i]);
        if (fabs(reported(own, "psnr") - reported(other, "psnr")) < 1e-9 ||
            fabs(reported(own, "sdedit_psnr") - reported(other, "sdedit_psnr")) < 1e-9)
            fail_msg("request %d changes nothing", i);
        assert_true(reported(own, "copy_psnr") == reported(other, "copy_psnr"));
        assert_true(reported(own, "ceiling_psnr") == reported(other, "ceiling_psnr"));
        mgen_report_destroy(other);
    }
    mgen_report_destroy(own);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

static void test_refused(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe, part;
    mgen_eval_params p = edits(1, 1);
    pipe = open_short(ctx, FRAMES);
    part = pipe;
    part.editor = NULL;
    refused(ctx, &part, &p, MGEN_E_STATE, "docs/recipes.md#editor");
    part = pipe;
    part.tae = NULL;
    refused(ctx, &part, &p, MGEN_E_STATE, "lacks its TAE");
    part = pipe;
    part.text[0] = NULL;
    refused(ctx, &part, &p, MGEN_E_STATE, "lacks its text encoder of role");
    part = pipe;
    part.width = 32;
    refused(ctx, &part, &p, MGEN_E_STATE, "at least 48 pixels");
    part = pipe;
    part.video = NULL; /* which is measured beside the editor if it is there */
    mgen_report *report = measured(ctx, &part, &p);
    assert_true(reported_or(report, "sdedit_psnr", -1.0) == -1.0 && reported(report, "psnr") > 0.0);
    mgen_report_destroy(report);
    p.on_progress = stop_now;
    refused(ctx, &pipe, &p, MGEN_E_CANCELLED, "stopped");
    p = edits(1, 1);
    p.protocol = "edits";
    refused(ctx, &pipe, &p, MGEN_E_INVALID, "\"personalize\", \"rewrite\" and \"curate\"");
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

static void test_memory(void **state)
{
    const mgen_eval_params p = edits(1, 1);
    (void)state;
    run_out_of_memory(&p, FRAMES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report),   cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_honoured), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, setup_editor, teardown);
}
