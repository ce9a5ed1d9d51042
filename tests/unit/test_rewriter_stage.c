/* SPDX-License-Identifier: MIT
 * Training a prompt rewriter: its pairs, what it learns of them, going on, and what is refused. */
#include "core/alloc.h"
#include "task/rewrite.h"
#include "train/checkpoint.h"
#include "train/prompt_pairs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "stage_runs.h"

static const char *const pairs[][2] = {
    {"BALL red, grass", "a red ball on grass"},
    {"a blue cube pls", "a blue cube on snow"},
    {"sign saying HI", "a sign that reads \"HI\""},
};

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void write_pairs(void)
{
    char text[1024];
    int used = 0;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        used += snprintf(text + used, sizeof text - (size_t)used,
                         "{\"prompt\":\"%s\",\"caption\":\"", pairs[i][0]);
        for (const char *p = pairs[i][1]; *p; p++)
            used +=
                snprintf(text + used, sizeof text - (size_t)used, *p == '"' ? "\\\"" : "%c", *p);
        used += snprintf(text + used, sizeof text - (size_t)used, "\"}\n \n");
    }
    write_file("pairs.jsonl", text);
}

/* A stage whose recipe has these members more. */
static mgen_status read_stage(const char *members, mgi_stage *out)
{
    char path[256], text[2048];
    snprintf(
        text, sizeof text,
        "{\"format\":\"moviegen-recipe\",\"version\":1,\"stages\":[{\"name\":\"rewrites\","
        "\"kind\":\"rewriter\",\"steps\":1500,\"batch\":3,\"validate_every\":50,"
        "\"optimizer\":{\"lr\":0.006,\"warmup\":20,\"ema\":0.95},\"rewriter\":{\"text\":{"
        "\"kind\":\"t5-bytes\",\"config\":{\"vocab\":259,\"dim\":32,\"layers\":1,\"heads\":2,"
        "\"head_dim\":16,\"ff_dim\":64,\"buckets\":16,\"max_distance\":64,\"tokens_max\":256}},"
        "\"decoder\":{\"dim\":32,\"layers\":1,\"heads\":2,\"head_dim\":16,\"ff_dim\":64,"
        "\"buckets\":16,\"max_distance\":64,\"tokens_max\":256}}%s}]}",
        members);
    write_file("recipe.json", text);
    snprintf(path, sizeof path, "%s/recipe.json", folder);
    return mgi_recipe_stage(ctx, path, "rewrites", out);
}

/* It learns a file of pairs by heart, and what is saved rewrites so. */
static void test_learns(void **state)
{
    (void)state;
    mgi_stage stage;
    mgi_rewriter r;
    double first, last;
    uint64_t hash;
    write_pairs();
    OK(read_stage(",\"pairs\":\"pairs.jsonl\"", &stage));
    train(&stage, &first, &last);
    if (!(last < 0.1 && last < 0.5 * first))
        fail_msg("validation loss %g -> %g", first, last);
    OK(mgi_rewriter_open(ctx, folder, "rewriter", &r, &hash));
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char *text;
        OK(mgi_rewrite(ctx, &r, pairs[i][0], &text));
        assert_string_equal(text, pairs[i][1]);
        mgi_free(ctx, text);
    }
    mgi_rewriter_finish(&r);

    /* from there on, as it is, and not with another network */
    struct mgi_stage_run *run;
    strcpy(stage.start_from, "rewriter");
    stage.steps = 1;
    stage.validate_every = 1;
    train(&stage, &first, &last);
    assert_true(last < 0.5);
    stage.rewriter.decoder.t5.ff_dim = 48;
    assert_int_equal(create_on(&stage, NULL, &run), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "ff_dim"));
    strcpy(stage.start_from, "nothing");
    assert_int_equal(create_on(&stage, NULL, &run), MGEN_E_STATE);
}

/* A training that goes on has the bits of one without a break. */
static void test_resume(void **state)
{
    (void)state;
    mgi_stage stage;
    char path[256];
    OK(read_stage("", &stage));
    stage.steps = 4;
    struct mgi_stage_run *a = begin(&stage), *b = begin(&stage);
    for (int64_t i = 0; i < 2; i++)
        OK(mgi_stage_rewriter.step(a, i, NULL));
    snprintf(path, sizeof path, "%s/state", folder);
    OK(mgi_checkpoint_save(ctx, &mgi_stage_rewriter, a, path));
    OK(mgi_checkpoint_load(ctx, &mgi_stage_rewriter, b, path));
    for (int64_t i = 2; i < stage.steps; i++) {
        OK(mgi_stage_rewriter.step(a, i, NULL));
        OK(mgi_stage_rewriter.step(b, i, NULL));
    }
    mgi_stage_state of_a, of_b;
    mgi_stage_rewriter.state(a, &of_a);
    mgi_stage_rewriter.state(b, &of_b);
    for (int m = 0; m < 2; m++)
        for (int64_t k = 0; k < of_a.module[m]->count; k++) {
            const T *x = of_a.module[m]->params[k]->value, *y = of_b.module[m]->params[k]->value;
            assert_memory_equal(mgi_f32(x), mgi_f32(y), (size_t)x->count * sizeof(float));
        }
    mgi_stage_rewriter.destroy(a);
    mgi_stage_rewriter.destroy(b);
}

/* The toybox's: the same for the same number, captions as often as asked, held out what training never says. */
static void test_toybox(void **state)
{
    (void)state;
    enum { N = 400 };
    mgi_prompt_pairs p;
    mgi_stage stage;
    static mgi_prompt_pair one, other;
    int captions = 0, same = 0;
    OK(read_stage(",\"captions\":0.25", &stage));
    OK(mgi_prompt_pairs_open(ctx, &stage, 7, &p));
    for (uint64_t i = 0; i < N; i++) {
        mgi_world_said said, told;
        mgi_prompt_pairs_take(&p, i, &one);
        mgi_prompt_pairs_take(&p, i, &other);
        assert_string_equal(one.prompt, other.prompt);
        assert_string_equal(one.caption, other.caption);
        assert_true(strncmp(one.caption, "FPS-", 4) && strncmp(one.prompt, "FPS-", 4));
        mgi_world_parse(one.prompt, &said);
        mgi_world_parse(one.caption, &told);
        captions += said.count == told.count &&
                    !memcmp(said.objects, told.objects, sizeof said.objects) &&
                    said.background == told.background;
        mgi_prompt_pairs_take(&p, i + 1, &other);
        same += !strcmp(one.caption, other.caption);
        for (int k = 0; k < told.count; k++)
            assert_false(mgi_world_held_out(told.objects[k].shape, told.objects[k].colour,
                                            told.objects[k].motion, told.background));
    }
    assert_true(captions > N / 6 && captions < N / 2);
    assert_true(same < N / 10);
    assert_int_equal(mgi_prompt_pairs_held(&p, 64), 64);
    for (int64_t i = 0; i < 64; i++) {
        mgi_world_said told;
        bool held = false;
        mgi_prompt_pairs_hold(&p, i, &one);
        mgi_world_parse(one.caption, &told);
        for (int k = 0; k < told.count; k++)
            held |= mgi_world_held_out(told.objects[k].shape, told.objects[k].colour,
                                       told.objects[k].motion, told.background);
        assert_true(held);
    }
    mgi_prompt_pairs_close(ctx, &p);
}

/* Of 40 pairs the last two are held out. */
static void test_held(void **state)
{
    (void)state;
    char text[4096] = "";
    mgi_prompt_pairs p;
    mgi_stage stage;
    static mgi_prompt_pair pair;
    for (int i = 0; i < 40; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "{\"prompt\":\"p%d\",\"caption\":\"c%d\"}\n", i, i);
    write_file("many.jsonl", text);
    OK(read_stage(",\"pairs\":\"many.jsonl\"", &stage));
    OK(mgi_prompt_pairs_open(ctx, &stage, 7, &p));
    assert_int_equal(p.count, 40);
    assert_int_equal(mgi_prompt_pairs_held(&p, 64), 2);
    mgi_prompt_pairs_hold(&p, 1, &pair);
    assert_string_equal(pair.prompt, "p39");
    assert_string_equal(pair.caption, "c39");
    bool seen[40] = {false};
    for (uint64_t i = 0; i < 2000; i++) {
        mgi_prompt_pairs_take(&p, i, &pair);
        seen[atoi(pair.prompt + 1)] = true;
        assert_int_equal(atoi(pair.prompt + 1), atoi(pair.caption + 1));
    }
    for (int i = 0; i < 40; i++)
        assert_int_equal(seen[i], i < 38);
    mgi_prompt_pairs_close(ctx, &p);
}

static void test_bad_files(void **state)
{
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"", "has no pairs"},
        {"[]\n", "line 1: a line must be an object"},
        {"{\"prompt\":\"a\",\"caption\":\"b\"}\n{\"prompt\":\"a\"}\n",
         "line 2: the key \"caption\" is missing"},
        {"{\"prompt\":\"\",\"caption\":\"b\"}\n", "line 1: \"prompt\" has 0 bytes"},
        {"\n\n{\"prompt\":\"a\",\"caption\":\"b\",\"c\":1}", "line 3: "},
        {"{\"prompt\":\"a\",\"caption\":3}", "\"caption\""},
        {"{\"prompt\":\"a\",", "line 1: its JSON: line 1, "},
    };
    (void)state;
    mgi_stage stage;
    struct mgi_stage_run *run;
    OK(read_stage(",\"pairs\":\"bad.jsonl\"", &stage));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file("bad.jsonl", bad[i].text);
        assert_int_equal(create_on(&stage, NULL, &run), MGEN_E_CORRUPT);
        assert_null(run);
        if (!strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), bad[i].said);
    }
    OK(read_stage(",\"pairs\":\"none.jsonl\"", &stage));
    assert_int_equal(create_on(&stage, NULL, &run), MGEN_E_NOT_FOUND);
    write_pairs();
    OK(read_stage(",\"pairs\":\"pairs.jsonl\"", &stage));
    stage.rewriter.decoder.t5.tokens_max = 8;
    run = begin(&stage);
    assert_int_equal(mgi_stage_rewriter.step(run, 0, NULL), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "\"tokens_max\" is 8"));
    mgi_stage_rewriter.destroy(run);
}

static void test_recipes(void **state)
{
    static const char *const refused[][2] = {
        {",\"pairs\":\"../p\"", "\"pairs\""},
        {",\"pairs\":\"p\",\"captions\":0.5", "\"pairs\" stands instead of"},
        {",\"pairs\":\"p\",\"world\":{}", "\"pairs\" stands instead of"},
        {",\"captions\":2", "\"captions\""},
        {",\"tae\":\"tae\"", "\"tae\""},
        {",\"store\":\"fp8\"", "\"store\""},
    };
    (void)state;
    mgi_stage s;
    OK(read_stage("", &s));
    assert_int_equal(s.kind, MGI_STAGE_REWRITER);
    assert_true(s.captions > 0.14 && s.captions < 0.16 && s.has_rewriter && !s.pairs[0]);
    assert_int_equal(s.rewriter.decoder.told_dim, 32);
    assert_int_equal(s.rewriter.decoder.t5.vocab, 259);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(read_stage(refused[i][0], &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), refused[i][1]))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), refused[i][1]);
    }
    /* clips are no pairs of prompts */
    mgi_dataset *world;
    struct mgi_stage_run *run;
    OK(read_stage("", &s));
    OK(mgi_dataset_world(ctx, 1, &s.world, &world));
    assert_int_equal(create_on(&s, world, &run), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "not from clips"));
    mgi_dataset_release(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),    cmocka_unit_test(test_resume),
        cmocka_unit_test(test_toybox),    cmocka_unit_test(test_held),
        cmocka_unit_test(test_bad_files), cmocka_unit_test(test_recipes),
    };
    return cmocka_run_group_tests(tests, make_context_and_folder, free_context_and_folder);
}
