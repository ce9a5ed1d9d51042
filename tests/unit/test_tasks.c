/* SPDX-License-Identifier: MIT
 * Tasks: what a video transformer that is told one reads beside its text, and adds to its time, is what its parameters say;
 * their gradients; what it begins with; fewer blocks than the model it begins as; a place in time; the words of a task. */
#include "model/video_transformer_block.h"
#include "text/edit_task.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "told_models.h"

enum { FRAMES = 2, SIDE = 4, C = 3, TASKS = 3, TASK_DIM = 5, WIDTH = 12, OTHER = 8, D = 24 };
enum { VALUES = FRAMES * SIDE * SIDE * C, TOLD = MGI_VT_TASK_TOKENS };

static const mgi_vt_config told = {.layers = 2,
                                   .dim = D,
                                   .heads = 2,
                                   .ff_dim = 40,
                                   .channels = C,
                                   .tasks = TASKS,
                                   .task_dim = TASK_DIM,
                                   .patch_t = 1,
                                   .patch_h = 2,
                                   .patch_w = 2,
                                   .frames_max = 5,
                                   .rows_max = SIDE,
                                   .columns_max = SIDE,
                                   .text = {WIDTH, OTHER},
                                   .time_dim = 16};

static mgi_vt_config untold(void)
{
    mgi_vt_config c = told;
    c.tasks = c.task_dim = 0;
    return c;
}

/* What a model is asked, of some samples from `first` on: tasks 2 and 1, texts of different lengths. */
typedef struct asked {
    T *x, *t;
    int64_t tokens[MGI_ROLES][N];
    mgi_vt_text text;
} asked;

static void ask(mgi_run *run, asked *a, bool streams, int first, int n)
{
    static const int32_t tasks[N] = {2, 1};
    static const float times[N] = {0.2f, 0.7f};
    static const int64_t lengths[MGI_ROLES][N] = {{3, 2}, {1, 4}};
    *a = (asked){.x = some(run, 1, MGI_DIMS(N, FRAMES, SIDE, SIDE, C), first, n)};
    a->t = mgi_new(run, MGK_F32, MGI_DIMS(n));
    a->text.task = mgi_new(run, MGK_I32, MGI_DIMS(n));
    mgi_tensor_write(a->t, 0, times + first, n);
    mgi_tensor_write(a->text.task, 0, tasks + first, n);
    for (int i = 0; i < (streams ? 2 : 1); i++) {
        memcpy(a->tokens[i], lengths[i] + first, (size_t)n * sizeof **lengths);
        a->text.x[i] = some(run, 3 + (uint64_t)i, MGI_DIMS(N, 4, i ? OTHER : WIDTH), first, n);
        a->text.tokens[i] = a->tokens[i];
    }
}

static T *answer(mgi_run *run, const mgi_vt *vt, const asked *a)
{
    T *u = mgi_vt_forward(run, vt, a->x, a->t, &a->text);
    if (!u)
        fail_msg("%s", mgen_last_error(run->ctx));
    return u;
}

/* -- the definition --------------------------------------------------------------------------------- */

/* Row r of `w` times the vector of a task. */
static float row(const mgi_vt *vt, const mgi_param *w, int64_t r, int32_t task)
{
    double sum = 0.0;
    for (int k = 0; k < TASK_DIM; k++)
        sum += (double)mgi_f32(w->value)[r * TASK_DIM + k] *
               (double)mgi_f32(vt->task->value)[task * TASK_DIM + k];
    return (float)sum;
}

/* One sample by the model without tasks: with a time of other biases, and keys and values of more tokens. */
static void define(const mgi_vt *vt, const mgi_vt *plain, bool streams, int sample, float *out)
{
    mgi_run run;
    asked a;
    mgi_vt_seen seen, more = {NULL};
    mgi_run_init(&run, vt->module.ctx, false);
    ask(&run, &a, streams, sample, 1);
    const int32_t task = ((const int32_t *)mgi_data(a.text.task))[0];
    a.text.task = NULL;
    mgi_vt_see(&run, plain, &a.text, 1, &seen);
    assert_non_null(seen.p);
    const int64_t size = seen.p->dims[1];
    more.p = mgi_new(&run, MGK_F32, MGI_DIMS(1, TOLD + size, D));
    more.mask = mgi_new(&run, MGK_U8, MGI_DIMS(1, TOLD + size));
    for (int i = 0; i < TOLD * D; i++)
        mgi_f32(more.p)[i] = row(vt, vt->task_text, i, task);
    memcpy(mgi_f32(more.p) + TOLD * D, mgi_f32(seen.p), (size_t)(size * D) * sizeof(float));
    memset(mgi_data(more.mask), 1, TOLD);
    memcpy((uint8_t *)mgi_data(more.mask) + TOLD, mgi_data(seen.mask), (size_t)size);
    for (int i = 0; i < told.layers; i++)
        more.kv[i] = mgi_vt_block_kv(&run, plain, &plain->block[i], more.p);
    float *bias = mgi_f32(plain->time2_b->value), before[D];
    memcpy(before, bias, sizeof before);
    for (int i = 0; i < D; i++)
        bias[i] += row(vt, vt->task_time, i, task);
    a.text.seen = &more;
    memcpy(out, mgi_f32(answer(&run, plain, &a)), VALUES * sizeof *out);
    memcpy(bias, before, sizeof before);
    mgi_run_finish(&run);
}

static void test_definition(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt vt, plain;
    float want[VALUES];
    (void)state;
    make(&vt, ctx, told);
    make(&plain, ctx, untold());
    for (int streams = 0; streams < 2; streams++) {
        mgi_run run;
        asked a;
        mgi_run_init(&run, ctx, false);
        ask(&run, &a, streams, 0, N);
        const float *got = mgi_f32(answer(&run, &vt, &a));
        for (int i = 0; i < N; i++) {
            define(&vt, &plain, streams, i, want);
            double far = apart(got + i * VALUES, want, VALUES);
            if (!(far < 2e-6))
                fail_msg("sample %d with %d streams: %g apart", i, streams + 1, far);
        }
        mgi_run_finish(&run);
    }
    mgi_vt_finish(&vt);
    mgi_vt_finish(&plain);
    mgen_context_destroy(ctx);
}

/* A sample gets the same alone, to the bit, and with what was seen of text and task before. */
static void test_alone(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt vt;
    mgi_run run;
    asked a;
    mgi_vt_seen seen;
    (void)state;
    make(&vt, ctx, told);
    mgi_run_init(&run, ctx, false);
    ask(&run, &a, true, 0, N);
    const float *both = mgi_f32(answer(&run, &vt, &a));
    mgi_vt_see(&run, &vt, &a.text, N, &seen);
    a.text.seen = &seen;
    assert_memory_equal(both, mgi_f32(answer(&run, &vt, &a)), N * VALUES * sizeof(float));
    for (int i = 0; i < N; i++) {
        ask(&run, &a, true, i, 1);
        assert_memory_equal(both + i * VALUES, mgi_f32(answer(&run, &vt, &a)),
                            VALUES * sizeof(float));
        ((int32_t *)mgi_data(a.text.task))[0] = 0; /* another task is something else */
        assert_true(apart(both + i * VALUES, mgi_f32(answer(&run, &vt, &a)), VALUES) > 0.01);
    }
    mgi_run_finish(&run);
    mgi_vt_finish(&vt);
    mgen_context_destroy(ctx);
}

/* -- gradients -------------------------------------------------------------------------------------- */

static double loss_of(mgen_context *ctx, mgi_vt *vt, bool record)
{
    mgi_run run;
    asked a;
    mgi_run_init(&run, ctx, record);
    if (record)
        mgi_module_zero_grad(&vt->module, &run);
    ask(&run, &a, true, 0, N);
    return end_with_loss(&run, answer(&run, vt, &a), record);
}

static void test_gradients(void **state)
{
    mgen_context *ctx = make_context();
    (void)state;
    for (int form = 0; form < 2; form++) {
        mgi_vt vt;
        make(&vt, ctx, told);
        vt.form = form ? MGI_BLOCK_CHAINED : MGI_BLOCK_COMPOSITE;
        assert_int_equal(mgi_module_train(&vt.module), MGEN_OK);
        loss_of(ctx, &vt, true);
        const mgi_param *const params[] = {vt.task, vt.task_text, vt.task_time};
        for (int k = 0; k < 3; k++)
            for (int64_t i = 0; i < params[k]->value->count; i += k == 1 ? 37 : 3) {
                float *x = mgi_f32(params[k]->value) + i, before = *x;
                double got = (double)mgi_f32(params[k]->value->var->grad)[i];
                *x = before + 0.02f;
                double up = loss_of(ctx, &vt, false);
                *x = before - 0.02f;
                double want = (up - loss_of(ctx, &vt, false)) / 0.04;
                *x = before;
                if (!(fabs(got - want) < 2e-4 + 0.02 * fabs(want)))
                    fail_msg("%s[%lld]: gradient %g, by differences %g", params[k]->name,
                             (long long)i, got, want);
            }
        /* task 0 was not asked for */
        for (int i = 0; i < TASK_DIM; i++)
            assert_true(mgi_f32(vt.task->value->var->grad)[i] == 0.0f &&
                        mgi_f32(vt.task->value->var->grad)[TASK_DIM + i] != 0.0f);
        mgi_vt_finish(&vt);
    }
    mgen_context_destroy(ctx);
}

/* -- beginnings ------------------------------------------------------------------------------------- */

static mgi_param *param(const mgi_vt *vt, const char *format, int64_t block)
{
    char name[96];
    snprintf(name, sizeof name, format, (long long)block);
    for (int64_t k = 0; k < vt->module.count; k++)
        if (!strcmp(vt->module.params[k]->name, name))
            return vt->module.params[k];
    fail_msg("no parameter %s", name);
    return NULL;
}

static void assert_same(const mgi_param *a, const mgi_param *b)
{
    assert_int_equal(a->value->count, b->value->count);
    if (memcmp(mgi_f32(a->value), mgi_f32(b->value), (size_t)a->value->count * sizeof(float)))
        fail_msg("%s is not what %s was", a->name, b->name);
}

/* A model without tasks and with more blocks: those that lie evenly; tasks that do nothing yet and can be learned. */
static void test_grown(void **state)
{
    static const struct {
        int64_t layers, taken[4];
    } ways[] = {{1, {0}}, {2, {0, 6}}, {3, {0, 3, 6}}, {4, {0, 2, 4, 6}}};
    mgen_context *ctx = make_context();
    mgi_vt_config c = untold();
    mgi_vt deep;
    (void)state;
    c.layers = 7;
    make(&deep, ctx, c);
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        mgi_vt vt;
        c = told;
        c.layers = ways[w].layers;
        make(&vt, ctx, c);
        grow(&vt, &deep);
        for (int64_t i = 0; i < c.layers; i++) {
            assert_same(param(&vt, "block%lld.attn.qkv.weight", i),
                        param(&deep, "block%lld.attn.qkv.weight", ways[w].taken[i]));
            assert_same(param(&vt, "block%lld.mod", i),
                        param(&deep, "block%lld.mod", ways[w].taken[i]));
        }
        assert_same(param(&vt, "head.weight", 0), param(&deep, "head.weight", 0));
        for (int64_t i = 0; i < vt.task_text->value->count; i++)
            assert_true(mgi_f32(vt.task_text->value)[i] == 0.0f);
        for (int64_t i = 0; i < vt.task_time->value->count; i++)
            assert_true(mgi_f32(vt.task_time->value)[i] == 0.0f);
        const float *v = mgi_f32(vt.task->value);
        for (int a = 0; a < TASKS; a++)
            for (int b = 0; b < a; b++)
                assert_true(memcmp(v + a * TASK_DIM, v + b * TASK_DIM, TASK_DIM * sizeof *v));
        mgi_vt_finish(&vt);
    }
    mgi_vt_finish(&deep);
    mgen_context_destroy(ctx);
}

/* -- a place in time -------------------------------------------------------------------------------- */

/* Frames from a place on are those of a model whose table begins there. */
static void test_first_frame(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt vt;
    mgi_run run;
    asked a;
    (void)state;
    make(&vt, ctx, told);
    mgi_run_init(&run, ctx, false);
    ask(&run, &a, true, 0, N);
    a.text.first_frame = told.frames_max - FRAMES;
    const float *got = mgi_f32(answer(&run, &vt, &a));
    float *table = mgi_f32(vt.pos_t->value);
    memmove(table, table + (told.frames_max - FRAMES) * D, FRAMES * D * sizeof *table);
    a.text.first_frame = 0;
    assert_memory_equal(got, mgi_f32(answer(&run, &vt, &a)), N * VALUES * sizeof *got);
    a.text.first_frame = told.frames_max - FRAMES + 1;
    assert_null(mgi_vt_forward(&run, &vt, a.x, a.t, &a.text));
    assert_non_null(strstr(mgen_last_error(ctx), "larger than the position tables"));
    mgi_run_finish(&run);
    mgi_vt_finish(&vt);
    mgen_context_destroy(ctx);
}

/* -- refused ---------------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt vt, plain;
    mgi_run run;
    asked a;
    (void)state;
    make(&vt, ctx, told);
    make(&plain, ctx, untold());
    for (int i = 0; i < 3; i++) {
        mgi_run_init(&run, ctx, false);
        ask(&run, &a, true, 0, N);
        if (i == 0)
            a.text.task = NULL;
        if (i == 2)
            a.text.task = mgi_new(&run, MGK_I32, MGI_DIMS(N + 1));
        assert_null(mgi_vt_forward(&run, i == 1 ? &plain : &vt, a.x, a.t, &a.text));
        assert_non_null(strstr(mgen_last_error(ctx), i == 2 ? "not a task for each sample"
                                                            : "it has tasks and is told none"));
        mgi_run_finish(&run);
    }
    mgi_vt_finish(&vt);
    mgi_vt_finish(&plain);
    mgen_context_destroy(ctx);
}

/* -- words ------------------------------------------------------------------------------------------ */

static void test_words(void **state)
{
    static const struct {
        const char *text;
        int task;
    } cases[] = {
        {"make the red ball blue", MGI_EDIT_LOCAL},
        {"turn the red ball into a cube", MGI_EDIT_LOCAL},
        {"", MGI_EDIT_LOCAL},
        {"Remove the small blue cube", MGI_EDIT_REMOVAL},
        {"REMOVE", MGI_EDIT_REMOVAL},
        {"removes", MGI_EDIT_LOCAL},
        {"take away the ring", MGI_EDIT_REMOVAL},
        {"add a green star that bounces", MGI_EDIT_ADDITION},
        {"make it madder", MGI_EDIT_LOCAL},
        {"change the background to snow", MGI_EDIT_BACKGROUND},
        {"remove the background", MGI_EDIT_BACKGROUND},
        {"give the red ball stripes", MGI_EDIT_TEXTURE},
        {"add stripes to it", MGI_EDIT_TEXTURE},
        {"turn it into a black and white film", MGI_EDIT_STYLE},
        {"mark the red ball in green", MGI_EDIT_SEGMENTATION},
        {"a remarkable ball", MGI_EDIT_LOCAL},
        {"add a sign that reads \"MARK\"", MGI_EDIT_ADDITION},
        {"make the sign \"PUT\" yellow", MGI_EDIT_LOCAL},
        {"\"add", MGI_EDIT_LOCAL},
        {"ajoute une balle \xc3\xa0 add\xc3\xa9", MGI_EDIT_LOCAL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (mgi_edit_task_guess(cases[i].text) != cases[i].task)
            fail_msg("\"%s\" is taken for %s", cases[i].text,
                     mgi_edit_task_name[mgi_edit_task_guess(cases[i].text)]);
    for (int i = 0; i < MGI_EDIT_TASKS; i++)
        assert_true(mgi_edit_task_name[i] && mgi_edit_task_name[i][0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),  cmocka_unit_test(test_alone),
        cmocka_unit_test(test_gradients),   cmocka_unit_test(test_grown),
        cmocka_unit_test(test_first_frame), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
