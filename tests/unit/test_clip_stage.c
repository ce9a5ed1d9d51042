/* SPDX-License-Identifier: MIT
 * Training CLIP: that captions and frames find each other, what learns and what stays, longer positions, the same bits after a
 * checkpoint, what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/stretch.h"
#include "stage_runs.h"
#include "train/checkpoint.h"

/* Both encoders of the folder, as the stage saved them. */
typedef struct pair {
    mgi_text_encoder text;
    mgi_clip_vision vision;
} pair;

static void open_pair(pair *p, const char *text, const char *vision)
{
    uint64_t hash;
    OK(mgi_text_encoder_open_pooled(ctx, folder, text, &p->text, &hash));
    OK(mgi_clip_vision_open(ctx, folder, vision, &p->vision, &hash));
}

static void close_pair(pair *p)
{
    mgi_text_encoder_finish(&p->text);
    mgi_clip_vision_finish(&p->vision);
}

static bool same_values(const mgi_param *a, const mgi_param *b)
{
    return a->value->count == b->value->count &&
           !memcmp(mgi_f32(a->value), mgi_f32(b->value), (size_t)a->value->count * sizeof(float));
}

static bool is_bias(const char *name)
{
    const size_t n = strlen(name);
    return n > 5 && !strcmp(name + n - 5, ".bias");
}

/* "clip_text" and "clip_vision", which what follows begins with. */
static mgi_stage begun(int32_t learn)
{
    mgi_stage s = tiny_clip(6, 4);
    strcpy(s.text[MGI_ROLE_METACLIP].from, "clip_text");
    strcpy(s.vision.from, "clip_vision");
    strcpy(s.save_as, "next");
    s.learn = learn;
    s.vision.frozen = learn != MGI_LEARN_ALL;
    return s;
}

static double step_of(struct mgi_stage_run *r, int64_t step, const char *name)
{
    mgen_report *report;
    OK(mgi_report_create(ctx, &report));
    OK(mgi_stage_clip.step(r, step, report));
    const double value = reported(report, name);
    mgen_report_destroy(report);
    return value;
}

/* -- learning ----------------------------------------------------------------------------------- */

/* From guessing on: of n that are held out, log(n) is what says nothing, and one in n is found. */
static void test_learns(void **state)
{
    mgi_stage s = tiny_clip(90, 12);
    pair p;
    double first = 0.0, last = 0.0, found = 0.0, scale = 0.0;
    (void)state;
    s.optimizer.lr = 0.004;
    s.validate_every = 10;
    struct mgi_stage_run *r = begin(&s);
    for (int64_t i = 0; i < s.steps; i++) {
        mgen_report *report;
        OK(mgi_report_create(ctx, &report));
        OK(mgi_stage_clip.step(r, i, report));
        scale = reported(report, "scale");
        if (i % 10 == 9) {
            last = reported(report, "val_loss");
            found = reported(report, "val_recall");
            first = i == 9 ? last : first;
        }
        mgen_report_destroy(report);
    }
    OK(mgi_stage_clip.save(r));
    mgi_stage_clip.destroy(r);
    if (!(last < 0.85 * first && last < log(MGI_HELD_OUT_MAX) && found > 2.0 / MGI_HELD_OUT_MAX))
        fail_msg("validation loss %g, then %g; %g are found", first, last, found);
    assert_true(scale > 1.0 && scale <= MGI_CLIP_SCALE_MAX && fabs(scale - s.scale) > 1e-3);
    open_pair(&p, "clip_text", "clip_vision");
    /* its average is saved, which follows what is learned */
    const double saved = p.text.config.clip.scale;
    assert_true(saved > 1.0 && fabs(saved - s.scale) > 1e-4 && fabs(saved - scale) < 0.1 * scale);
    assert_int_equal(p.text.config.clip.projection, 12);
    assert_int_equal(p.vision.config.projection, 12);
    close_pair(&p);
}

/* All that learns has a gradient, the scale too. */
static void test_gradients(void **state)
{
    mgi_stage s = tiny_clip(1, 6);
    struct mgi_stage_run *r = begin(&s);
    mgi_stage_state of;
    (void)state;
    step_of(r, 0, "loss");
    mgi_stage_clip.state(r, &of);
    assert_int_equal(of.modules, 3);
    for (int m = 0; m < of.modules; m++)
        for (int64_t k = 0; k < of.module[m]->count; k++) {
            const mgi_param *p = of.module[m]->params[k];
            double sum = 0.0;
            for (int64_t i = 0; i < p->value->count; i++)
                sum += fabs((double)mgi_f32(p->value->var->grad)[i]);
            if (!(sum > 0.0))
                fail_msg("%s has no gradient", p->name);
        }
    mgi_stage_clip.destroy(r);
}

/* No scale is above the largest, and beyond it has no gradient. */
static void test_scale(void **state)
{
    mgi_stage s = tiny_clip(2, 4);
    (void)state;
    s.scale = MGI_CLIP_SCALE_MAX;
    struct mgi_stage_run *r = begin(&s);
    mgi_stage_state of;
    mgi_stage_clip.state(r, &of);
    mgi_param *q = of.module[2]->params[0];
    assert_string_equal(q->name, "scale");
    *mgi_f32(q->value) = 2.0f;
    assert_true(step_of(r, 0, "scale") == MGI_CLIP_SCALE_MAX);
    assert_true(*mgi_f32(q->value->var->grad) == 0.0f);
    mgi_stage_clip.destroy(r);
}

static double begun_scale(const mgi_stage *s)
{
    struct mgi_stage_run *r = begin(s);
    mgi_stage_state of;
    mgi_stage_clip.state(r, &of);
    const double scale = of.stage->scale;
    mgi_stage_clip.destroy(r);
    return scale;
}

/* Where the recipe is silent training goes on with the scale that the text encoder was left with, and begins with CLIP's. */
static void test_goes_on_with_the_scale(void **state)
{
    mgi_stage s = tiny_clip(3, 4);
    double first, last;
    uint64_t hash;
    mgi_text_encoder e;
    (void)state;
    s.scale = 0.0;
    assert_true(fabs(begun_scale(&s) - 1.0 / 0.07) < 1e-12);
    s.scale = 33.0;
    s.optimizer.lr = 0.01;
    strcpy(s.save_as, "scaled");
    train(&s, &first, &last);
    OK(mgi_text_encoder_open_pooled(ctx, folder, "scaled_clip_text", &e, &hash));
    const double saved = e.config.clip.scale;
    mgi_text_encoder_finish(&e);
    assert_true(saved > 30.0 && saved < 36.0 && fabs(saved - 33.0) > 1e-3);
    mgi_stage next = begun(MGI_LEARN_TEXT);
    strcpy(next.text[MGI_ROLE_METACLIP].from, "scaled_clip_text");
    next.scale = 0.0;
    assert_true(begun_scale(&next) == saved);
    next.tokens_max = 48; /* stretched, it has the same */
    assert_true(begun_scale(&next) == saved);
    next.scale = 5.0;
    assert_true(begun_scale(&next) == 5.0);
}

/* -- what learns -------------------------------------------------------------------------------- */

/* Before and after training that saved "next_*": names of what moved are those that `moves` says. */
static void assert_moved(int32_t learn, bool (*moves)(const char *name), bool sees)
{
    mgi_stage s = begun(learn);
    pair before, after;
    double first, last;
    train(&s, &first, &last);
    open_pair(&before, "clip_text", "clip_vision");
    open_pair(&after, "next_clip_text", "next_clip_vision");
    const mgi_module *a = &before.text.clip.module, *b = &after.text.clip.module;
    assert_int_equal(a->count, b->count);
    for (int64_t k = 0; k < a->count; k++)
        if (same_values(a->params[k], b->params[k]) == moves(a->params[k]->name))
            fail_msg("%s %s", a->params[k]->name, moves(a->params[k]->name) ? "stayed" : "moved");
    a = &before.vision.module;
    b = &after.vision.module;
    for (int64_t k = 0; k < a->count; k++)
        if (same_values(a->params[k], b->params[k]) == sees)
            fail_msg("%s %s", a->params[k]->name, sees ? "stayed" : "moved");
    close_pair(&before);
    close_pair(&after);
}

static bool positions_and_biases(const char *name)
{
    return is_bias(name) || !strcmp(name, "position.weight");
}

static bool everything(const char *name)
{
    (void)name;
    return true;
}

static void test_parts(void **state)
{
    (void)state;
    assert_moved(MGI_LEARN_POSITIONS_AND_BIASES, positions_and_biases, false);
    assert_moved(MGI_LEARN_TEXT, everything, false);
    assert_moved(MGI_LEARN_ALL, everything, true);
}

/* 40 positions become 64: those between lie on lines between their neighbours. */
static void test_longer(void **state)
{
    enum { LONGER = 64, DIM = 16 };
    mgi_stage s = begun(MGI_LEARN_POSITIONS_AND_BIASES);
    pair before, after;
    float want[LONGER * DIM];
    (void)state;
    s.tokens_max = LONGER;
    s.optimizer.lr = 1e-9;
    s.steps = 1;
    double first, last;
    train(&s, &first, &last);
    open_pair(&before, "clip_text", "clip_vision");
    open_pair(&after, "next_clip_text", "next_clip_vision");
    assert_int_equal(after.text.config.clip.tokens_max, LONGER);
    mgi_stretch_rows(mgi_f32(before.text.clip.position->value), 40, want, LONGER, DIM);
    for (int i = 0; i < LONGER * DIM; i++)
        assert_float_equal(mgi_f32(after.text.clip.position->value)[i], want[i], 1e-6);
    for (int k = 0; k < DIM; k++) { /* the ends are as they were */
        assert_float_equal(want[k], mgi_f32(before.text.clip.position->value)[k], 0.0);
        assert_float_equal(want[(LONGER - 1) * DIM + k],
                           mgi_f32(before.text.clip.position->value)[39 * DIM + k], 0.0);
    }
    close_pair(&before);
    close_pair(&after);
    /* not of one that learns */
    mgi_text_encoder e;
    uint64_t hash;
    OK(mgi_text_encoder_open_pooled(ctx, folder, "next_clip_text", &e, &hash));
    OK(mgi_module_train(&e.clip.module));
    assert_int_equal(mgi_clip_text_stretch(&e.clip, 80), MGEN_E_INTERNAL);
    mgi_text_encoder_finish(&e);
}

/* -- going on ----------------------------------------------------------------------------------- */

static void test_resumes(void **state)
{
    char path[512];
    (void)state;
    snprintf(path, sizeof path, "%.400s/checkpoint", folder);
    for (int32_t learn = 0; learn <= MGI_LEARN_ALL; learn++) {
        mgi_stage s = begun(learn);
        s.accumulate = 2;
        s.validate_every = 1;
        s.dtype = learn == MGI_LEARN_TEXT ? MGK_BF16 : MGK_F32;
        struct mgi_stage_run *a = begin(&s), *b = begin(&s);
        for (int64_t i = 0; i < 3; i++)
            step_of(a, i, "loss");
        OK(mgi_checkpoint_save(ctx, &mgi_stage_clip, a, path));
        OK(mgi_checkpoint_load(ctx, &mgi_stage_clip, b, path));
        for (int64_t i = 3; i < 6; i++)
            assert_true(step_of(a, i, "val_loss") == step_of(b, i, "val_loss"));
        mgi_stage_clip.destroy(b);
        s.scale = 5.0; /* another recipe */
        b = begin(&s);
        assert_int_equal(mgi_checkpoint_load(ctx, &mgi_stage_clip, b, path), MGEN_E_STATE);
        unlink(path);
        mgi_stage_clip.destroy(a);
        mgi_stage_clip.destroy(b);
    }
}

/* -- refused ------------------------------------------------------------------------------------ */

static void assert_refused(const mgi_stage *stage, mgen_status status, const char *said)
{
    struct mgi_stage_run *run = NULL;
    mgen_status got = create_on(stage, NULL, &run);
    if (got == MGEN_OK)
        mgi_stage_clip.destroy(run);
    if (got != status || !strstr(mgen_last_error(ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(ctx), said);
}

static void test_refused(void **state)
{
    mgi_stage s = tiny_clip(1, 2);
    (void)state;
    s.vision.config.projection = 10;
    assert_refused(&s, MGEN_E_STATE, "12 wide");
    s = begun(MGI_LEARN_TEXT);
    strcpy(s.vision.from, "nothing");
    assert_refused(&s, MGEN_E_STATE, "nothing");
    s = begun(MGI_LEARN_TEXT);
    strcpy(s.text[MGI_ROLE_METACLIP].from, "bytes");
    mgi_text_encoder t5;
    mgi_text_config config = {.kind = MGI_TEXT_T5_BYTES,
                              .t5 = tiny_text_to_video(1, 1).text[0].config.t5};
    OK(mgi_text_encoder_init(&t5, ctx, folder, &config, NULL));
    OK(mgi_module_random(&t5.t5.module, 1));
    OK(mgi_text_encoder_save(&t5, folder, "bytes", MGI_ST_F32));
    mgi_text_encoder_finish(&t5);
    assert_refused(&s, MGEN_E_INVALID, "no vector of a whole text");
}

static mgen_status read_recipe(const char *batch, const char *members, mgi_stage *out)
{
    char path[256];
    snprintf(path, sizeof path, "%s/recipe.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "{\"format\":\"moviegen-recipe\",\"version\":1,\"stages\":[{\"name\":\"long\","
            "\"kind\":\"clip\",\"steps\":5,\"batch\":%s,\"optimizer\":{\"lr\":0.001}%s}]}",
            batch, members);
    fclose(f);
    return mgi_recipe_stage(ctx, path, "long", out);
}

#define FROM ",\"text\":{\"from\":\"metaclip\"},\"vision\":{\"from\":\"metaclip\"}"
#define NEW_TEXT                                                                                   \
    ",\"text\":{\"kind\":\"clip-bpe\",\"config\":{\"vocab\":831,\"dim\":8,\"layers\":1,"           \
    "\"heads\":1,\"ff_dim\":8,\"tokens_max\":20,\"tokenizer\":{\"vocab\":\"a\",\"merges\":\"b\"}}" \
    "}"
#define NEW_VISION                                                                                 \
    ",\"vision\":{\"config\":{\"image\":8,\"patch\":4,\"dim\":8,\"layers\":1,\"heads\":1,"         \
    "\"ff_dim\":8}}"

static void test_recipe(void **state)
{
    static const struct {
        const char *members, *said;
    } refused[] = {
        {"", "\"text\" must be an object"},
        {",\"text\":{\"from\":\"a\"}", "\"vision\" must be an object"},
        {",\"text\":{\"from\":\"\"},\"vision\":{\"from\":\"a\"}", "\"from\" is empty"},
        {",\"text\":{\"from\":\"a\",\"frozen\":true},\"vision\":{\"from\":\"a\"}", "\"frozen\""},
        {",\"text\":{\"from\":\"a\"},\"vision\":{\"from\":\"a\",\"frozen\":true}",
         "\"learn\" says what learns"},
        {FROM ",\"learn\":\"vision\"", "\"learn\""},
        {FROM ",\"scale\":101", "\"scale\""},
        {FROM ",\"tokens_max\":1", "\"tokens_max\""},
        {FROM ",\"tae\":\"tae\"", "\"tae\""},
        {NEW_TEXT ",\"vision\":{\"from\":\"a\"}", "\"text\" is new"},
        {NEW_TEXT ",\"vision\":{\"from\":\"a\"},\"learn\":\"text\",\"tokens_max\":30",
         "\"tokens_max\" stretches"},
        {NEW_TEXT NEW_VISION ",\"learn\":\"text\"", "\"vision\" is new"},
        {",\"text\":{\"kind\":\"t5-bytes\",\"config\":{\"vocab\":259,\"dim\":8,\"layers\":1,"
         "\"heads\":1,"
         "\"head_dim\":8,\"ff_dim\":8,\"buckets\":8,\"max_distance\":16,\"tokens_max\":8}},"
         "\"vision\":{\"from\":\"a\"},\"learn\":\"text\"",
         "no vector of a whole text"},
    };
    mgi_stage s;
    (void)state;
    OK(read_recipe("4", FROM ",\"tokens_max\":256,\"scale\":100,\"save_as\":\"long\"", &s));
    assert_int_equal(s.kind, MGI_STAGE_CLIP);
    assert_int_equal(s.learn, MGI_LEARN_POSITIONS_AND_BIASES);
    assert_int_equal(s.tokens_max, 256);
    assert_true(s.scale == 100.0 && s.vision.frozen);
    assert_string_equal(s.text[MGI_ROLE_METACLIP].from, "metaclip");
    assert_string_equal(s.save_as, "long");
    OK(read_recipe("2", NEW_TEXT NEW_VISION ",\"learn\":\"all\"", &s));
    assert_true(s.learn == MGI_LEARN_ALL && !s.vision.frozen && s.scale == 0.0);
    assert_int_equal(s.text[MGI_ROLE_METACLIP].config.clip.tokens_max, 20);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(read_recipe("2", refused[i].members, &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), refused[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), refused[i].said);
    }
    assert_int_equal(read_recipe("1", FROM, &s), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "there must be 2"));
}

/* With the encoders that the others begin with. */
static int start(void **state)
{
    if (make_context_and_folder(state) != 0)
        return -1;
    save_new(tiny_clip(1, 2));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recipe),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_longer),
        cmocka_unit_test(test_resumes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_goes_on_with_the_scale),
    };
    return cmocka_run_group_tests(tests, start, free_context_and_folder);
}
