/* SPDX-License-Identifier: MIT
 * Photos: what a video transformer attends to beside its text is their tokens, projected and normalised; who has none gets
 * what a model without them gives; gradients, of the tokens too; what it begins with; its configuration. */
#include "model/personalizer.h"
#include "model/video_transformer_block.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "told_models.h"

enum { FRAMES = 2, SIDE = 4, C = 3, WIDTH = 12, OTHER = 8, D = 24, SEEN = 7, ROWS = 3 };
enum { VALUES = FRAMES * SIDE * SIDE * C };

static const mgi_vt_config seeing = {.layers = 2,
                                     .dim = D,
                                     .heads = 2,
                                     .ff_dim = 40,
                                     .channels = C,
                                     .reference = SEEN,
                                     .patch_t = 1,
                                     .patch_h = 2,
                                     .patch_w = 2,
                                     .frames_max = 5,
                                     .rows_max = SIDE,
                                     .columns_max = SIDE,
                                     .text = {WIDTH, OTHER},
                                     .time_dim = 16};

static mgi_vt_config blind(void)
{
    mgi_vt_config c = seeing;
    c.reference = 0;
    return c;
}

/* What a model is asked, of some samples from `first` on: texts of different lengths, and so many tokens of photos. */
typedef struct asked {
    T *x, *t;
    int64_t tokens[MGI_ROLES][N], references[N];
    mgi_vt_text text;
} asked;

static void ask(mgi_run *run, asked *a, bool streams, const int64_t references[N], int first, int n)
{
    static const float times[N] = {0.2f, 0.7f};
    static const int64_t lengths[MGI_ROLES][N] = {{3, 2}, {1, 4}};
    *a = (asked){.x = some(run, 1, MGI_DIMS(N, FRAMES, SIDE, SIDE, C), first, n)};
    a->t = mgi_new(run, MGK_F32, MGI_DIMS(n));
    mgi_tensor_write(a->t, 0, times + first, n);
    for (int i = 0; i < (streams ? 2 : 1); i++) {
        memcpy(a->tokens[i], lengths[i] + first, (size_t)n * sizeof **lengths);
        a->text.x[i] = some(run, 3 + (uint64_t)i, MGI_DIMS(N, 4, i ? OTHER : WIDTH), first, n);
        a->text.tokens[i] = a->tokens[i];
    }
    if (!references)
        return;
    memcpy(a->references, references + first, (size_t)n * sizeof *references);
    a->text.reference = some(run, 6, MGI_DIMS(N, ROWS, SEEN), first, n);
    a->text.references = a->references;
}

static T *answer(mgi_run *run, const mgi_vt *vt, const asked *a)
{
    T *u = mgi_vt_forward(run, vt, a->x, a->t, &a->text);
    if (!u)
        fail_msg("%s", mgen_last_error(run->ctx));
    return u;
}

/* -- the definition --------------------------------------------------------------------------------- */

/* What is attended to of a token. */
static void project(const mgi_vt *vt, const float *x, float *out)
{
    double y[D], mean = 0.0, square = 0.0;
    for (int i = 0; i < D; i++) {
        y[i] = 0.0;
        for (int k = 0; k < SEEN; k++)
            y[i] += (double)mgi_f32(vt->reference.proj->value)[i * SEEN + k] * (double)x[k];
        mean += y[i] / D;
    }
    for (int i = 0; i < D; i++)
        square += (y[i] - mean) * (y[i] - mean) / D;
    for (int i = 0; i < D; i++)
        out[i] = (float)((y[i] - mean) / sqrt(square + (double)MGI_VT_EPS) *
                             (double)mgi_f32(vt->reference.norm_w->value)[i] +
                         (double)mgi_f32(vt->reference.norm_b->value)[i]);
}

/* One sample by the model without photos: with keys and values of more tokens. */
static void define(const mgi_vt *vt, const mgi_vt *plain, bool streams, const int64_t *references,
                   int sample, float *out)
{
    const int64_t photo = references[sample];
    mgi_run run;
    asked a;
    mgi_vt_seen seen, more = {NULL};
    mgi_run_init(&run, vt->module.ctx, false);
    ask(&run, &a, streams, references, sample, 1);
    const float *tokens = mgi_f32(a.text.reference);
    a.text.reference = NULL;
    mgi_vt_see(&run, plain, &a.text, 1, &seen);
    assert_non_null(seen.p);
    const int64_t size = seen.p->dims[1];
    more.p = mgi_new(&run, MGK_F32, MGI_DIMS(1, photo + size, D));
    more.mask = mgi_new(&run, MGK_U8, MGI_DIMS(1, photo + size));
    for (int64_t i = 0; i < photo; i++)
        project(vt, tokens + i * SEEN, mgi_f32(more.p) + i * D);
    memcpy(mgi_f32(more.p) + photo * D, mgi_f32(seen.p), (size_t)(size * D) * sizeof(float));
    memset(mgi_data(more.mask), 1, (size_t)photo);
    memcpy((uint8_t *)mgi_data(more.mask) + photo, mgi_data(seen.mask), (size_t)size);
    for (int i = 0; i < seeing.layers; i++)
        more.kv[i] = mgi_vt_block_kv(&run, plain, &plain->block[i], more.p);
    a.text.seen = &more;
    memcpy(out, mgi_f32(answer(&run, plain, &a)), VALUES * sizeof *out);
    mgi_run_finish(&run);
}

static const int64_t shown[3][N] = {{0, 3}, {2, 0}, {3, 1}};

static void test_definition(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt vt, plain;
    float want[VALUES];
    (void)state;
    make(&vt, ctx, seeing);
    make(&plain, ctx, blind());
    for (int way = 0; way < 6; way++) {
        const int64_t *references = shown[way / 2];
        mgi_run run;
        asked a, without;
        mgi_run_init(&run, ctx, false);
        ask(&run, &a, way % 2, references, 0, N);
        ask(&run, &without, way % 2, NULL, 0, N);
        const float *got = mgi_f32(answer(&run, &vt, &a));
        const float *unseen = mgi_f32(answer(&run, &plain, &without));
        for (int i = 0; i < N; i++) {
            bool same = !memcmp(got + i * VALUES, unseen + i * VALUES, VALUES * sizeof *got);
            define(&vt, &plain, way % 2, references, i, want);
            double far = apart(got + i * VALUES, want, VALUES);
            if (!(far < 2e-6))
                fail_msg("sample %d, way %d: %g apart", i, way, far);
            if (same != !references[i])
                fail_msg("sample %d, way %d: %s without photos", i, way, same ? "as" : "not as");
        }
        assert_memory_equal(unseen, mgi_f32(answer(&run, &vt, &without)),
                            N * VALUES * sizeof *unseen); /* no photo at all */
        mgi_run_finish(&run);
    }
    mgi_vt_finish(&vt);
    mgi_vt_finish(&plain);
    mgen_context_destroy(ctx);
}

/* A sample gets the same alone, to the bit, with what was seen before, and with places that were made before the tokens
 * were there, padded. */
static void test_alone(void **state)
{
    static const int64_t rows[MGI_ROLES] = {4, 4};
    mgen_context *ctx = make_context();
    mgi_vt vt;
    mgi_run run;
    asked a;
    mgi_vt_seen seen, first;
    (void)state;
    make(&vt, ctx, seeing);
    mgi_run_init(&run, ctx, false);
    ask(&run, &a, true, shown[2], 0, N);
    const float *both = mgi_f32(answer(&run, &vt, &a));
    mgi_vt_text places = {
        .tokens = {a.tokens[0], a.tokens[1]}, .references = a.references, .reference_rows = ROWS};
    mgi_vt_text_places(&run, &places, N, rows, 9);
    assert_int_equal(places.mask->dims[1], 9); /* the longest have 7 */
    a.text.mask = places.mask;
    a.text.places = places.places;
    assert_memory_equal(both, mgi_f32(answer(&run, &vt, &a)), N * VALUES * sizeof(float));
    mgi_vt_see(&run, &vt, &a.text, N, &seen);
    a.text.seen = &seen;
    assert_memory_equal(both, mgi_f32(answer(&run, &vt, &a)), N * VALUES * sizeof(float));
    mgi_vt_seen_first(&run, &vt, &seen, 1, &first);
    for (int i = 0; i < N; i++) {
        ask(&run, &a, true, shown[2], i, 1);
        a.text.seen = i ? NULL : &first;
        assert_memory_equal(both + i * VALUES, mgi_f32(answer(&run, &vt, &a)),
                            VALUES * sizeof(float));
    }
    mgi_run_finish(&run);
    mgi_vt_finish(&vt);
    mgen_context_destroy(ctx);
}

/* -- gradients -------------------------------------------------------------------------------------- */

/* Of the tokens `moved`, a parameter's values in this test, where it is not NULL. */
static double loss_of(mgen_context *ctx, mgi_vt *vt, mgi_param *tokens, bool record)
{
    mgi_run run;
    asked a;
    mgi_run_init(&run, ctx, record);
    if (record)
        mgi_module_zero_grad(&vt->module, &run);
    ask(&run, &a, true, shown[0], 0, N);
    a.text.reference = mgi_reshape(&run, mgi_value(tokens), MGI_DIMS(N, ROWS, SEEN));
    return end_with_loss(&run, answer(&run, vt, &a), record);
}

static void test_gradients(void **state)
{
    mgen_context *ctx = make_context();
    (void)state;
    for (int form = 0; form < 2; form++) {
        mgi_vt vt;
        mgi_module more;
        make(&vt, ctx, seeing);
        vt.form = form ? MGI_BLOCK_CHAINED : MGI_BLOCK_COMPOSITE;
        mgi_module_init(&more, ctx);
        mgi_param *tokens =
            mgi_param_add(&more, (mgi_param_spec){.init = MGI_INIT_NORMAL, .scale = 1},
                          MGI_DIMS(N * ROWS, SEEN), "tokens");
        assert_int_equal(mgi_module_random(&more, 2), MGEN_OK);
        assert_int_equal(mgi_module_train(&vt.module), MGEN_OK);
        assert_int_equal(mgi_module_train(&more), MGEN_OK);
        loss_of(ctx, &vt, tokens, true);
        const mgi_param *const params[] = {vt.reference.proj, vt.reference.norm_w,
                                           vt.reference.norm_b, tokens};
        for (int k = 0; k < 4; k++)
            for (int64_t i = 0; i < params[k]->value->count; i += k == 0 ? 19 : 5) {
                float *x = mgi_f32(params[k]->value) + i, before = *x;
                double got = (double)mgi_f32(params[k]->value->var->grad)[i];
                *x = before + 0.02f;
                double up = loss_of(ctx, &vt, tokens, false);
                *x = before - 0.02f;
                double want = (up - loss_of(ctx, &vt, tokens, false)) / 0.04;
                *x = before;
                if (!(fabs(got - want) < 2e-4 + 0.02 * fabs(want)))
                    fail_msg("%s[%lld]: gradient %g, by differences %g", params[k]->name,
                             (long long)i, got, want);
            }
        /* the first sample sees no photo */
        for (int i = 0; i < ROWS * SEEN; i++)
            assert_true(mgi_f32(tokens->value->var->grad)[i] == 0.0f &&
                        mgi_f32(tokens->value->var->grad)[ROWS * SEEN + i] != 0.0f);
        mgi_module_finish(&more);
        mgi_vt_finish(&vt);
    }
    mgen_context_destroy(ctx);
}

/* -- beginnings ------------------------------------------------------------------------------------- */

/* From a deeper model without photos: it gives without them what a model of those blocks does; with them, nearer to that than
 * if their tokens were like those of a text. */
static void test_grown(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt_config c = blind();
    mgi_vt deep, vt, thin;
    mgi_run run;
    asked with, without;
    (void)state;
    c.layers = 5;
    make(&deep, ctx, c);
    make(&vt, ctx, seeing);
    make(&thin, ctx, blind());
    grow(&vt, &deep);
    grow(&thin, &deep);
    mgi_run_init(&run, ctx, false);
    ask(&run, &with, true, shown[2], 0, N);
    ask(&run, &without, true, NULL, 0, N);
    const float *want = mgi_f32(answer(&run, &thin, &without));
    assert_memory_equal(want, mgi_f32(answer(&run, &vt, &without)), N * VALUES * sizeof *want);
    double near = apart(mgi_f32(answer(&run, &vt, &with)), want, N * VALUES);
    for (int i = 0; i < D; i++) /* as long as those of the text */
        mgi_f32(vt.reference.norm_w->value)[i] = 1.0f;
    double far = apart(mgi_f32(answer(&run, &vt, &with)), want, N * VALUES);
    print_message("with photos that are new to it: %.3g apart, and would be %.3g\n", near, far);
    assert_true(near > 1e-4 && near < 0.7 * far);
    mgi_run_finish(&run);
    const mgi_vt *const all[] = {&deep, &vt, &thin};
    for (int i = 0; i < 3; i++)
        mgi_vt_finish((mgi_vt *)all[i]);
    mgen_context_destroy(ctx);
}

/* -- refused ---------------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    static const char *const said[] = {"or it has none", "or it has none", "more tokens than rows",
                                       "more tokens than rows", "but no photos"};
    mgen_context *ctx = make_context();
    mgi_vt vt, plain;
    mgi_run run;
    asked a;
    (void)state;
    make(&vt, ctx, seeing);
    make(&plain, ctx, blind());
    for (int i = 0; i < 5; i++) {
        mgi_run_init(&run, ctx, false);
        ask(&run, &a, true, shown[0], 0, N);
        if (i == 1)
            a.text.reference = mgi_new(&run, MGK_F32, MGI_DIMS(N, ROWS, SEEN + 1));
        if (i == 2 || i == 3)
            a.references[1] = i == 2 ? ROWS + 1 : -1;
        if (i == 4) {
            a.text.reference = NULL;
            a.text.reference_rows = ROWS;
        }
        assert_null(mgi_vt_forward(&run, i == 0 ? &plain : &vt, a.x, a.t, &a.text));
        if (!strstr(mgen_last_error(ctx), said[i]))
            fail_msg("%s", mgen_last_error(ctx));
        mgi_run_finish(&run);
    }
    mgi_vt_finish(&vt);
    mgi_vt_finish(&plain);
    mgen_context_destroy(ctx);
}

static mgen_status read_config(mgen_context *ctx, const char *text, bool named,
                               mgi_personalizer_config *out)
{
    mgi_json *root;
    if (mgi_json_parse(ctx, "text", text, strlen(text), &root) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    mgen_status status = named ? mgi_personalizer_config_read(ctx, root, out)
                               : mgi_personalizer_config_read_with(ctx, root, out);
    mgi_json_free(ctx, root);
    return status;
}

#define VIDEO                                                                                      \
    "\"layers\": 1, \"dim\": 8, \"heads\": 1, \"ff_dim\": 8, \"channels\": 4, \"patch\": "         \
    "[1,1,1], "                                                                                    \
    "\"frames_max\": 2, \"rows_max\": 2, \"columns_max\": 2, \"text_dim\": 5"

static void test_config(void **state)
{
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"{\"transformer\": {" VIDEO ", \"reference_width\": 3}}", "\"vision\""},
        {"{\"vision\": \"../a\", \"transformer\": {" VIDEO ", \"reference_width\": 3}}", "../a"},
        {"{\"vision\": \"a\", \"transformer\": {" VIDEO "}}", "\"reference_width\" must be"},
        {"{\"vision\": \"a\", \"transformer\": 3}", "must be an object"},
        {"{\"vision\": \"a\", \"transformer\": {" VIDEO ", \"reference_width\": -1}}", "reference"},
        {"{\"vision\": \"a\", \"transformer\": {" VIDEO ", \"reference_width\": 3, "
         "\"condition_channels\": 4}}",
         "photos alone"},
        {"{\"vision\": \"a\", \"transformer\": {" VIDEO ", \"reference_width\": 3, \"tasks\": 4}}",
         "photos alone"},
        {"{\"vision\": \"a\", \"more\": 1}", "more"},
    };
    mgen_context *ctx = make_context();
    mgi_personalizer_config c = {.steps = 1}, other = {.vision = "kept"};
    mgi_json_writer w;
    const char *text;
    size_t size;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (read_config(ctx, bad[i].text, true, &c) != MGEN_E_CORRUPT ||
            !strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("%s: %s", bad[i].text, mgen_last_error(ctx));
    assert_int_equal(read_config(ctx,
                                 "{\"vision\": \"a\", \"steps\": 7, \"transformer\": {" VIDEO
                                 ", \"reference_width\": 3}}",
                                 true, &c),
                     MGEN_OK);
    assert_int_equal(c.video.reference, 3);
    assert_true(c.source_guidance == 1.5f && c.video.guidance == MGI_VT_GUIDANCE);
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_open(&w, NULL, '{');
    mgi_personalizer_config_write(&w, &c);
    mgi_json_close(&w, '}');
    assert_int_equal(mgi_json_text(&w, &text, &size), MGEN_OK);
    assert_int_equal(read_config(ctx, text, false, &other), MGEN_E_CORRUPT); /* which names none */
    assert_int_equal(read_config(ctx, text, true, &other), MGEN_OK);
    mgi_json_writer_free(&w);
    assert_memory_equal(&c, &other, sizeof c);
    strcpy(other.vision, "kept");
    assert_int_equal(
        read_config(ctx, "{\"transformer\": {" VIDEO ", \"reference_width\": 4}}", false, &other),
        MGEN_OK);
    assert_string_equal(other.vision, "kept");
    assert_int_equal(other.video.reference, 4);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition), cmocka_unit_test(test_alone),
        cmocka_unit_test(test_gradients),  cmocka_unit_test(test_grown),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_config),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
