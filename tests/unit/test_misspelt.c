/* SPDX-License-Identifier: MIT
 * Misspelt keys of the JSON files that users write: each is named with its place and the key that was meant, and none is
 * reported as the missing one. Every key of every recipe that comes with the library is misspelt once. */
#include "data/clip_list.h"
#include "data/curate_rules.h"
#include "io/json.h"
#include "model/audio.h"
#include "model/audio_codec.h"
#include "model/clip_vision.h"
#include "model/editor.h"
#include "model/model_file.h"
#include "model/personalizer.h"
#include "model/rewriter.h"
#include "model/tae.h"
#include "model/text_encoder.h"
#include "model/upsampler.h"
#include "model/video_transformer.h"
#include "task/pipeline.h"
#include "train/prompt_pairs.h"
#include "train/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static mgen_context *ctx;
static char folder[] = "/tmp/mgi-misspelt-XXXXXX";

static const char *in(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *path, const char *text, size_t size)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void assert_says(const char *part)
{
    if (!strstr(mgen_last_error(ctx), part))
        fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), part);
}

static char *text_of(const char *path, size_t *size)
{
    const char *root = getenv("MOVIEGEN_SOURCE");
    char full[1024];
    snprintf(full, sizeof full, "%s%s%s", root ? root : "", root ? "/" : "", path);
    FILE *f = fopen(full, "r");
    if (!f)
        fail_msg("cannot open %s", full);
    char *text = malloc(1 << 20);
    assert_non_null(text);
    *size = fread(text, 1, (1 << 20) - 1, f);
    text[*size] = '\0';
    fclose(f);
    return text;
}

/* All stages of a recipe, until one cannot be read. */
static mgen_status read_recipe(const char *path)
{
    static char names[MGI_RECIPE_STAGES_MAX][64];
    static mgi_stage stage;
    int64_t count;
    MGI_TRY(mgi_recipe_names(ctx, path, names, &count));
    for (int64_t i = 0; i < count; i++)
        MGI_TRY(mgi_recipe_stage(ctx, path, names[i], &stage));
    return MGEN_OK;
}

typedef struct key {
    const mgi_json *json, *object;
    char stage[96]; /* as messages have it; empty: none */
} key;

static int collect(const mgi_json *o, const char *stage, int depth, key *out, int count)
{
    int64_t number = 0;
    for (const mgi_json *x = o->child; x; x = x->next) {
        char own[96];
        snprintf(own, sizeof own, "%s", stage);
        if (depth == 1 && o->kind == MGI_JSON_ARRAY && !strcmp(o->key, "stages"))
            snprintf(own, sizeof own, "stage %lld \"%s\"", (long long)++number,
                     mgi_json_find(x, "name")->s);
        if (o->kind == MGI_JSON_OBJECT && strlen(x->key) > 1) {
            assert_true(count < 2000);
            out[count] = (key){.json = x, .object = o};
            /* who has no name has a number */
            snprintf(out[count++].stage, sizeof own, "%.*s",
                     depth == 2 && !strcmp(x->key, "name") ? (int)strcspn(own, "\"") - 1 : 95, own);
        }
        count = collect(x, own, depth + 1, out, count);
    }
    return count;
}

/* Two neighbouring letters that differ, swapped; the result is no key of the object. */
static bool misspell(char *text, const char *name)
{
    for (size_t i = strlen(name) - 1; i > 0; i--)
        if (name[i] != name[i - 1]) {
            text[i] = name[i - 1];
            text[i - 1] = name[i];
            return true;
        }
    return false;
}

static int misspell_all(const char *file, mgen_status (*read)(const char *path))
{
    static key keys[2000];
    size_t size;
    char *text = text_of(file, &size), said[256];
    const char *path = in("file.json");
    mgi_json *root;
    put(path, text, size);
    if (read(path) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    assert_int_equal(mgi_json_parse(ctx, file, text, size, &root), MGEN_OK);
    const int count = collect(root, "", 0, keys, 0);
    for (int i = 0; i < count; i++) {
        const mgi_json *k = keys[i].json;
        char *at = text + k->offset + 1, wrong[64];
        const size_t length = strlen(k->key);
        uint32_t line = 1;
        for (const char *c = text; c < at; c++)
            line += *c == '\n';
        assert_int_equal(k->line, line);
        assert_true(misspell(at, k->key));
        snprintf(wrong, sizeof wrong, "%.*s", (int)length, at);
        put(path, text, size);
        assert_int_equal(read(path), MGEN_E_CORRUPT);
        assert_says(keys[i].stage);
        snprintf(said, sizeof said, "\"%s\"", wrong);
        assert_says(said);
        snprintf(said, sizeof said, "(line %u)", (unsigned)line);
        assert_says(said);
        /* what says of which kind the rest is, is missed before the rest can be judged */
        snprintf(said, sizeof said, "unknown key \"%s\"", wrong);
        if (strstr(mgen_last_error(ctx), said)) {
            snprintf(said, sizeof said, "did you mean \"%s\"?", k->key);
        } else {
            assert_true(!strcmp(k->key, "name") || !strcmp(k->key, "kind"));
            snprintf(said, sizeof said, "the key \"%s\" is missing; is it \"%s\"", k->key, wrong);
        }
        assert_says(said);
        memcpy(at, k->key, length);
    }
    mgi_json_free(ctx, root);
    free(text);
    return count;
}

static void test_recipes(void **state)
{
    static const char *const recipes[] = {
        "examples/models/toybox/recipe.json",
        "examples/models/toybox/recipe_edit.json",
        "examples/models/toybox/recipe_gpu.json",
        "examples/models/toybox/recipe_personalize.json",
        "examples/models/toybox/recipe_rewrite.json",
        "examples/models/toybox/recipe_sound.json",
        "examples/recipes/audio.json",
        "examples/recipes/edit.json",
        "examples/recipes/personalize.json",
        "examples/recipes/pictures.json",
        "examples/recipes/upsampler.json",
        "examples/recipes/video.json",
        "examples/05_recipe.json",
    };
    int all = 0;
    (void)state;
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        all += misspell_all(recipes[i], read_recipe);
    assert_true(all > 500);
}

/* What a model's file says of its network. */
static mgen_status read_config(const char *kind, const mgi_json *root, const mgi_json *c)
{
    static union {
        mgi_tae_config tae;
        mgi_vt_config video;
        mgi_upsampler_config upsampler;
        mgi_editor_config editor;
        mgi_personalizer_config personalizer;
        mgi_audio_config audio;
        mgi_audio_codec_config codec;
        mgi_rewriter_config rewriter;
        mgi_clip_vision_config vision;
        mgi_text_config text;
    } out;
    return !strcmp(kind, "tae")                 ? mgi_tae_config_read(ctx, c, &out.tae)
           : !strcmp(kind, "video-transformer") ? mgi_vt_config_read(ctx, c, &out.video)
           : !strcmp(kind, "upsampler")         ? mgi_upsampler_config_read(ctx, c, &out.upsampler)
           : !strcmp(kind, "editor")            ? mgi_editor_config_read(ctx, c, &out.editor)
           : !strcmp(kind, "personalizer") ? mgi_personalizer_config_read(ctx, c, &out.personalizer)
           : !strcmp(kind, "audio")        ? mgi_audio_config_read(ctx, c, &out.audio)
           : !strcmp(kind, "audio-codec")  ? mgi_audio_codec_config_read(ctx, c, &out.codec)
           : !strcmp(kind, "rewriter")     ? mgi_rewriter_config_read(ctx, c, &out.rewriter)
           : !strcmp(kind, "clip-vision")  ? mgi_clip_vision_config_read(ctx, c, &out.vision)
                                           : mgi_text_config_read(ctx, root, &out.text);
}

static mgen_status read_model(const char *path)
{
    mgi_model_file file;
    (void)path;
    MGI_TRY(mgi_model_file_open(ctx, folder, "file", NULL, &file));
    mgen_status status = read_config(mgi_json_find(file.root, "kind")->s, file.root, file.config);
    mgi_model_file_close(ctx, &file);
    return status;
}

static mgen_status read_pipeline(const char *path)
{
    mgi_pipeline_file p;
    (void)path;
    return mgi_pipeline_file_read(ctx, folder, "file", &p);
}

static void test_models(void **state)
{
    static const char *const models[] = {
        "audio",    "audio_text", "audio_vision", "byt5",        "editor",
        "metaclip", "rewriter",   "personalizer", "sound_codec", "tae",
        "ul2",      "upsampler",  "video_model",
    };
    static const char none[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'}; /* weights: no tensor */
    char path[128];
    int all = 0;
    (void)state;
    put(in("file.safetensors"), none, sizeof none);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        snprintf(path, sizeof path, "examples/models/toybox/%s.json", models[i]);
        all += misspell_all(path, read_model);
    }
    assert_true(all > 150);
    assert_true(misspell_all("examples/models/toybox/pipeline.json", read_pipeline) > 10);
}

static mgen_status read_pairs(const char *text)
{
    static mgi_stage stage;
    mgi_prompt_pairs pairs;
    put(in("pairs.jsonl"), text, strlen(text));
    snprintf(stage.folder, sizeof stage.folder, "%s", folder);
    strcpy(stage.pairs, "pairs.jsonl");
    mgen_status status = mgi_prompt_pairs_open(ctx, &stage, 1, &pairs);
    if (status == MGEN_OK)
        mgi_prompt_pairs_close(ctx, &pairs);
    return status;
}

static void test_lists(void **state)
{
    static const char rules[] = "{\n  \"base\": \"toybox\",\n  \"motion_mni\": 2\n}",
                      clips[] = "{\"file\": \"a.y4m\", \"frames\": 9}\n"
                                "{\"flie\": \"a.y4m\", \"frames\": 9}\n";
    mgi_curate_rules read;
    mgi_clip_line *lines;
    int64_t count;
    (void)state;
    assert_int_equal(mgi_curate_rules_read(ctx, "rules.json", rules, sizeof rules - 1, &read),
                     MGEN_E_CORRUPT);
    assert_says("rules.json");
    assert_says("unknown key \"motion_mni\" (line 3); did you mean \"motion_min\"?");
    assert_int_equal(
        mgi_clip_list_read(ctx, "clips.jsonl", clips, sizeof clips - 1, &lines, &count),
        MGEN_E_CORRUPT);
    assert_says("line 2");
    assert_says("\"file\" is missing; is it \"flie\"");
    assert_int_equal(read_pairs("{\"prompt\":\"a\",\"caption\":\"b\"}\n"
                                "{\"prompt\":\"a\",\"captoin\":\"b\"}\n"),
                     MGEN_E_CORRUPT);
    assert_says("line 2");
    assert_says("did you mean \"caption\"?");
}

static mgen_status read_text(const char *stages)
{
    char text[1024];
    snprintf(text, sizeof text,
             "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [\n%s\n]}", stages);
    put(in("text.json"), text, strlen(text));
    return read_recipe(in("text.json"));
}

/* Where nothing is near, nothing is proposed; and nothing that stands there already. */
static void test_words(void **state)
{
    static const struct {
        const char *stages, *said;
    } bad[] = {
        {"{\"name\": \"one\", \"kind\": \"average\", \"models\": [{\"start_from\": \"a\"}]},\n"
         "{\"name\": \"base\", \"kind\": \"clip\", \"stpes\": 5, \"batch\": 2}",
         "text.json: stage 2 \"base\": unknown key \"stpes\" (line 3); did you mean \"steps\"?"},
        {"{\"name\": \"one\", \"kind\": \"clip\",\n\"Steps\": 5}",
         "unknown key \"Steps\" (line 3); did you mean \"steps\"?"},
        {"{\"name\": \"one\", \"kind\": \"clip\", \"step\": 5}", "did you mean \"steps\"?"},
        {"{\"name\": \"one\", \"kind\": \"clip\", \"colour\": 5}",
         "stage 1 \"one\": unknown key \"colour\" (line 2)"},
        {"{\"name\": \"one\", \"kind\": \"clip\", \"steps\": 5, \"stepss\": 5}",
         "stage 1 \"one\": unknown key \"stepss\" (line 2)"},
        {"{\"name\": \"one\", \"kind\": \"clip\", \"steps\": 5, \"batch\": 2,\n\n"
         "\"optimizer\": {\"lr\": 1e-3,\n \"betal\": 0.5}}",
         "stage 1 \"one\": unknown key \"betal\" in \"optimizer\" (line 5); did you mean "
         "\"beta1\"?"},
        {"{\"name\": \"one\", \"kind\": \"clip\", \"steps\": 5, \"batch\": 2, \"optimizer\": {}}",
         "stage 1 \"one\": the key \"lr\" is missing in \"optimizer\""},
        {"{\"name\": \"one\", \"kind\": \"clip\", \"steps\": 5, \"batch\": 2}",
         "stage 1 \"one\": \"optimizer\" must be an object and is missing"},
        {"{\"name\": \"one\", \"kind\": \"clip\",\n\"steps\": 0}",
         "stage 1 \"one\": \"steps\" is 0 (line 3), not within 1 to"},
        {"{\"name\": \"one\", \"kind\": \"average\", \"models\": [{\"start_from\": \"a\"}]},\n"
         "{\"kind\": \"clip\", \"nmae\": \"two\"}",
         "stage 2: the key \"name\" is missing; is it \"nmae\" (line 3)?"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(read_text(bad[i].stages), MGEN_E_CORRUPT);
        assert_says(bad[i].said);
        if (!strchr(bad[i].said, '?') && strchr(mgen_last_error(ctx), '?'))
            fail_msg("'%s' proposes something", mgen_last_error(ctx));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recipes),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_words),
    };
    if (!mkdtemp(folder) || mgen_context_create(NULL, &ctx) != MGEN_OK)
        return 99;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    const char *const files[] = {"file.json", "file.safetensors", "pairs.jsonl", "text.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(in(files[i]));
    rmdir(folder);
    mgen_context_destroy(ctx);
    return failed;
}
