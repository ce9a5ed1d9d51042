/* SPDX-License-Identifier: MIT
 * Low-rank adapters: what their files, pipeline.json and recipes may say, and what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter_stage.h"
#include "failing_memory.h"
#include "io/safetensors.h"
#include "stage_runs.h"
#include "said.h"
#include "train/video_stage.h"

static int make_base(void **state)
{
    if (make_context_and_folder(state) != 0)
        return -1;
    save_new(tiny_autoencoder(1, 2));
    save_new(tiny_text_to_video(1, 2));
    return 0;
}

static void put_json(const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_true(f && fwrite(text, 1, strlen(text), f) == strlen(text) && fclose(f) == 0);
}

/* A half of a made-up adapter of rank 2: its values are 0.01, but the last, which is `last`. */
typedef struct half {
    const char *name;
    int64_t rows, columns;
    float last;
} half;

#define QKV_A "base_model.model.block0.attn.qkv.lora_A.weight"
#define QKV_B "base_model.model.block0.attn.qkv.lora_B.weight"

static void put_adapter(const char *json, const half *halves, int count)
{
    static float values[4][1 << 12];
    mgi_st_source list[4];
    char path[400];
    for (int i = 0; i < count; i++) {
        const int64_t n = halves[i].rows * halves[i].columns;
        for (int64_t k = 0; k < n; k++)
            values[i][k] = k == n - 1 ? halves[i].last : 0.01f;
        list[i] = (mgi_st_source){.name = halves[i].name,
                                  .store = MGI_ST_F32,
                                  .rank = 2,
                                  .dims = {halves[i].rows, halves[i].columns},
                                  .data = values[i]};
    }
    snprintf(path, sizeof path, "%s/hand.safetensors", folder);
    OK(mgi_st_write(ctx, path, list, count, NULL, 0));
    put_json("hand.json", json);
}

#define HAND(config)                                                                               \
    "{\"format\": \"moviegen-model\", \"version\": 1, \"kind\": \"video-adapter\", \"config\": "   \
    "{" config "}}"

static void test_bad_files(void **state)
{
    static const half good[] = {{QKV_A, 2, 24, 0.01f}, {QKV_B, 72, 2, 0.01f}};
    static const struct {
        const char *json, *said;
        half halves[3];
        int count;
    } cases[] = {
        {HAND("\"rank\": 2"), NULL, {{QKV_A, 2, 24, 0.01f}, {QKV_B, 72, 2, 0.01f}}, 2},
        {HAND("\"rank\": 0"), "hand.json: ", {{0}}, 0},
        {HAND("\"rank\": 1025"), "hand.json: ", {{0}}, 0},
        {HAND("\"alpha\": 2"), "hand.json: ", {{0}}, 0},
        {HAND("\"rank\": 2, \"alpha\": 0"), "\"alpha\"", {{0}}, 0},
        {HAND("\"rank\": 2, \"alpha\": 1e400"), "hand.json", {{0}}, 0},
        {HAND("\"rank\": 2, \"dropout\": 0"), "\"dropout\"", {{0}}, 0},
        {HAND("\"rank\": 2, \"base_hash\": \"12\""), "16 hexadecimal digits", {{0}}, 0},
        {"{\"format\": \"moviegen-model\", \"version\": 1, \"kind\": \"video-transformer\", "
         "\"config\": {}}",
         "\"kind\" is \"video-transformer\", not \"video-adapter\"",
         {{0}},
         0},
        {HAND("\"rank\": 2"), "hand.safetensors: has no tensors", {{0}}, 0},
        {HAND("\"rank\": 2"), "lora_B.weight\" is missing", {{QKV_A, 2, 24, 0.01f}}, 1},
        {HAND("\"rank\": 2"), "lora_A.weight\" is missing", {{QKV_B, 72, 2, 0.01f}}, 1},
        {HAND("\"rank\": 2"),
         "has another shape than 2 x 24",
         {{QKV_A, 24, 2, 0.01f}, {QKV_B, 72, 2, 0.01f}},
         2},
        {HAND("\"rank\": 2"),
         "has another shape than 72 x 2",
         {{QKV_A, 2, 24, 0.01f}, {QKV_B, 72, 3, 0.01f}},
         2},
        {HAND("\"rank\": 3"),
         "has another shape than 3 x 24",
         {{QKV_A, 2, 24, 0.01f}, {QKV_B, 72, 2, 0.01f}},
         2},
        {HAND("\"rank\": 2"),
         "tensor \"base_model.model.block2.attn.qkv.lora_A.weight\" is of no matrix",
         {{QKV_A, 2, 24, 0.01f},
          {QKV_B, 72, 2, 0.01f},
          {"base_model.model.block2.attn.qkv.lora_A.weight", 2, 24, 0.01f}},
         3},
        {HAND("\"rank\": 2"),
         "tensor \"base_model.model.patch.lora_A.weight\" is of no matrix",
         {{QKV_A, 2, 24, 0.01f},
          {QKV_B, 72, 2, 0.01f},
          {"base_model.model.patch.lora_A.weight", 2, 16, 0.01f}},
         3},
        {HAND("\"rank\": 2"), "is of no matrix", {{"block0.attn.qkv.weight", 72, 24, 0.01f}}, 1},
        {HAND("\"rank\": 2"),
         "lora_A.weight\" has values that are not finite",
         {{QKV_A, 2, 24, NAN}, {QKV_B, 72, 2, 0.01f}},
         2},
        {HAND("\"rank\": 2"),
         "lora_B.weight\" has values that are not finite",
         {{QKV_A, 2, 24, 0.01f}, {QKV_B, 72, 2, INFINITY}},
         2},
        {HAND("\"rank\": 2"),
         "hand.safetensors: what it adds to the matrix \"block0.attn.qkv.weight\" is too large",
         {{QKV_A, 2, 24, 1e30f}, {QKV_B, 72, 2, 1e30f}},
         2},
    };
    mgi_adapters hand = {.count = 1, .list = {{.name = "hand", .scale = 1.0}}};
    mgi_vt vt;
    uint64_t hash;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_adapter(cases[i].json, cases[i].halves, cases[i].count);
        mgen_status status = mgi_vt_open_mesh(ctx, folder, "video_model", &hand, NULL, &vt, &hash);
        if (cases[i].said)
            assert_said(status, MGEN_E_CORRUPT, cases[i].said);
        else
            OK(status);
        mgi_vt_finish(&vt);
    }
    /* a file that is cut off, or is not there */
    put_adapter(HAND("\"rank\": 2"), good, 2);
    char path[400];
    snprintf(path, sizeof path, "%s/hand.safetensors", folder);
    assert_int_equal(truncate(path, 500), 0);
    assert_said(mgi_vt_open_mesh(ctx, folder, "video_model", &hand, NULL, &vt, &hash),
                MGEN_E_CORRUPT, "hand.safetensors");
    assert_int_equal(remove(path), 0);
    assert_said(mgi_vt_open_mesh(ctx, folder, "video_model", &hand, NULL, &vt, &hash),
                MGEN_E_NOT_FOUND, "hand.safetensors");
}

/* Whichever allocation fails, all memory is given back. */
static void test_memory(void **state)
{
    static const half good[] = {{QKV_A, 2, 24, 0.01f}, {QKV_B, 72, 2, 0.01f}};
    const mgi_adapters hand = {.count = 1, .list = {{.name = "hand", .scale = 1.0}}};
    mgen_status status = MGEN_E_NO_MEMORY;
    (void)state;
    put_adapter(HAND("\"rank\": 2"), good, 2);
    for (int fail_at = 1; status != MGEN_OK; fail_at += 1 + fail_at / 40) {
        failing memory = {.alone = true};
        mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
        mgen_context *c;
        mgi_vt vt = {.block = NULL};
        uint64_t hash;
        params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
        params.threads = 1;
        assert_int_equal(mgi_context_init(&c, &params), MGEN_OK);
        assert_int_equal(mgi_device_create(c, NULL), MGEN_OK);
        memory.fail_at = fail_at;
        memory.calls = 0;
        status = mgi_vt_open_mesh(c, folder, "video_model", &hand, NULL, &vt, &hash);
        assert_true(status == MGEN_OK || (status == MGEN_E_NO_MEMORY && memory.calls >= fail_at));
        mgi_vt_finish(&vt);
        mgi_context_free(c);
        assert_int_equal(memory.blocks, 0);
    }
}

/* What pipeline.json says of adapters. */
static void test_pipeline(void **state)
{
    static const struct {
        const char *list, *said;
    } cases[] = {
        {"[]", NULL},
        {"[{\"name\": \"a\"}, {\"name\": \"b\", \"scale\": -0.5}]", NULL},
        {"{\"name\": \"a\"}", "must be a list of objects"},
        {"[\"a\"]", "has an entry that is not an object"},
        {"[{\"name\": \"a\"}, {\"scale\": 1}]", "entry 2 of \"video_adapters\" has no \"name\""},
        {"[{\"name\": \"a\", \"scale\": 101}]", "\"scale\""},
        {"[{\"name\": \"a\", \"scale\": \"1\"}]", "\"scale\""},
        {"[{\"name\": \"a\", \"alpha\": 1}]", "\"alpha\""},
        {"[{\"name\": \"a\"}, {\"name\": \"a\"}, {\"name\": \"a\"}, {\"name\": \"a\"}, {\"name\": "
         "\"a\"}, {\"name\": \"a\"}, {\"name\": \"a\"}, {\"name\": \"a\"}, {\"name\": \"a\"}, "
         "{\"name\": \"a\"}, {\"name\": \"a\"}, {\"name\": \"a\"}, {\"name\": \"a\"}, {\"name\": "
         "\"a\"}, {\"name\": \"a\"}, {\"name\": \"a\"}, {\"name\": \"a\"}]",
         "has more than 16 entries"},
    };
    mgi_pipeline_file p, again;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "{\"format\": \"moviegen-pipeline\", \"version\": 1, \"tae\": \"tae\", "
                 "\"video\": \"video_model\", \"video_adapters\": %s, \"width\": 48, \"height\": "
                 "48, \"frames\": 16, \"fps\": 16}",
                 cases[i].list);
        put_json("listed.json", text);
        mgen_status status = mgi_pipeline_file_read(ctx, folder, "listed", &p);
        if (cases[i].said) {
            assert_said(status, MGEN_E_CORRUPT, cases[i].said);
            continue;
        }
        OK(status);
        OK(mgi_pipeline_file_write(ctx, folder, "listed", &p));
        OK(mgi_pipeline_file_read(ctx, folder, "listed", &again));
        assert_memory_equal(&p, &again, sizeof p);
    }
}

/* What a recipe may say of an adapter. */
static void test_recipe(void **state)
{
    static const struct {
        const char *adapter, *encoder, *start, *more, *said;
        double alpha;
    } cases[] = {
        {"{\"rank\": 8}", "true", "\"start_from\": \"a\",", "", NULL, 8.0},
        {"{\"rank\": 8, \"alpha\": 0.5}", "true", "\"start_from\": \"a\",", "", NULL, 0.5},
        {"{}", "true", "\"start_from\": \"a\",", "", "\"rank\"", 0},
        {"{\"rank\": 0}", "true", "\"start_from\": \"a\",", "", "\"rank\"", 0},
        {"{\"rank\": 1025}", "true", "\"start_from\": \"a\",", "", "\"rank\"", 0},
        {"{\"rank\": 8, \"alpha\": 0}", "true", "\"start_from\": \"a\",", "", "\"alpha\"", 0},
        {"{\"rank\": 8, \"dropout\": 0}", "true", "\"start_from\": \"a\",", "", "\"dropout\"", 0},
        {"8", "true", "\"start_from\": \"a\",", "", "\"adapter\"", 0},
        {"{\"rank\": 8}", "false", "\"start_from\": \"a\",", "",
         "\"adapter\" stands where a text encoder learns", 0},
        {"{\"rank\": 8}", "true", "", "", "\"adapter\" stands where there is no \"start_from\"", 0},
        {"{\"rank\": 8}", "true", "\"start_from\": \"a\",", "\"store\": \"fp8\",",
         "\"store\" stands beside \"adapter\"", 0},
    };
    mgi_stage stage;
    char path[400];
    (void)state;
    snprintf(path, sizeof path, "%s/recipe.json", folder);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[2048];
        snprintf(
            text, sizeof text,
            "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": \"own\", "
            "\"kind\": \"text_to_video\", %s %s \"adapter\": %s, \"tae\": \"tae\", \"steps\": "
            "4, \"batch\": 2, \"clips\": 4, \"text_encoders\": {\"ul2\": {\"from\": \"ul2\", "
            "\"frozen\": %s}}, \"video_model\": {\"preset\": \"toybox\"}, \"optimizer\": "
            "{\"lr\": 0.001}}]}",
            cases[i].start, cases[i].more, cases[i].adapter, cases[i].encoder);
        put_json("recipe.json", text);
        mgen_status status = mgi_recipe_stage(ctx, path, "own", &stage);
        if (cases[i].said) {
            assert_said(status, MGEN_E_CORRUPT, cases[i].said);
            continue;
        }
        OK(status);
        assert_int_equal(stage.adapter.rank, 8);
        assert_true(stage.adapter.alpha == cases[i].alpha);
    }
}

static void assert_refused(const mgi_stage *stage, mgen_status wanted, const char *said)
{
    struct mgi_stage_run *run = NULL;
    assert_said(create_on(stage, NULL, &run), wanted, said);
}

/* What a stage cannot be. */
static void test_refused(void **state)
{
    (void)state;
    mgi_stage stage = adapter_stage(2, 8);
    stage.adapter.rank = 25;
    assert_refused(&stage, MGEN_E_INVALID, "\"rank\" 25 for matrices with a side of 24");
    stage = adapter_stage(2, 8);
    stage.video.frames_max++;
    assert_refused(&stage, MGEN_E_STATE, "cannot start from \"video_model\"");
    stage = adapter_stage(2, 8);
    strcpy(stage.start_from, "nothing");
    assert_refused(&stage, MGEN_E_STATE, "needs the model of an earlier stage");
    assert_refused(&stage, MGEN_E_STATE,
                   "\"nothing_video_model\" is not there, nor is \"nothing\"");
    assert_refused(&stage, MGEN_E_STATE, "/nothing.json'");
    stage = adapter_stage(2, 8);
    stage.video.guidance = 3.0f; /* of requests: the model's own stays */
    mgi_stage_text_to_video.destroy(begin(&stage));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_files), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_pipeline), cmocka_unit_test(test_recipe),
        cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("adapter_files", tests, make_base, free_context_and_folder);
}
