/* SPDX-License-Identifier: MIT
 * Text encoders in folders from Hugging Face: against what transformers makes of the same folders (the fixtures of
 * text/make_hf.py), those in FP8 against torch's products of codes and scales (make_fp8.py), in recipes and pipelines, and
 * damaged. */
#include "core/alloc.h"
#include "io/safetensors_set.h"
#include "model/text_encoder_hf.h"
#include "task/codec.h"
#include "task/pipeline.h"
#include "train/average.h"
#include "train/stage.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tiny_stages.h"

#include "foreign_folders.h"

enum { PROMPTS = 4 };

static char *prompts[PROMPTS];

/* The folders as a user has them: each with its tokenizer, ul2 with the weights of flan. */
static void fresh_folders(void)
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    shell("t=%s s=%s/tests/unit/text && rm -rf $t/* && cp -r $s/hf/* $t && "
          "for d in t5 flan ul2 fp8 fp8_wide; do cp $s/nfkc.model $t/$d/spiece.model; done && "
          "for d in clip long; do cp $s/clip_vocab.json $t/$d/vocab.json && "
          "cp $s/clip_merges.txt $t/$d/merges.txt; done && cp $t/flan/model* $t/ul2/",
          folder, source ? source : ".");
}

static int set_up(void **state)
{
    mgi_file text;
    mgi_json *root = NULL;
    (void)state;
    if (!begin_foreign(NULL))
        return 1;
    fresh_folders();
    OK(mgi_file_open_in(ctx, folder, "prompts.json", &text));
    OK(mgi_json_parse(ctx, "prompts", (const char *)text.data, text.size, &root));
    int n = 0;
    for (const mgi_json *e = root->child; e; e = e->next)
        OK(mgi_strdup(ctx, e->s, &prompts[n++]));
    mgi_json_free(ctx, root);
    mgi_file_close(ctx, &text);
    return n != PROMPTS;
}

static int tear_down(void **state)
{
    for (int i = 0; i < PROMPTS; i++)
        mgi_free(ctx, prompts[i]);
    return end_foreign(state);
}

/* -- goldens ---------------------------------------------------------------------------------- */

static const mgi_st_entry *golden_of(const mgi_st_file *golden, const char *name, int prompt,
                                     const char *what)
{
    char key[64];
    snprintf(key, sizeof key, "%s.%d%s", name, prompt, what);
    const mgi_st_entry *e = mgi_st_find(golden, key);
    assert_non_null(e);
    return e;
}

static void assert_same_ids(const mgi_st_file *golden, const char *name, const mgi_text_encoder *e,
                            int prompt)
{
    const mgi_st_entry *want = golden_of(golden, name, prompt, ".ids");
    mgi_tokens tokens = {0};
    int32_t ids[512];
    uint8_t mask[512];
    OK(mgi_tokenizer_encode(ctx, e->tokenizer, prompts[prompt], &tokens));
    int64_t n = mgi_tokenizer_length(e->tokenizer, &tokens, mgi_text_tokens_max(e));
    assert_int_equal(n, want->dims[0]);
    mgi_tokens_row(&tokens, e->tokenizer->frame, n, ids, mask);
    int32_t told[512];
    OK(mgi_st_read_bytes(ctx, want, 0, told, (size_t)n * sizeof told[0]));
    assert_memory_equal(ids, told, (size_t)n * sizeof ids[0]);
    mgi_tokens_free(ctx, &tokens);
}

/* All prompts in one batch, so that shorter ones are padded. Returns the largest difference. */
static double worst_of(const mgi_st_file *golden, const char *name, const mgi_text_encoder *e)
{
    mgi_run run;
    int64_t tokens[PROMPTS];
    double worst = 0.0;
    mgi_run_init(&run, ctx, false);
    T *x = mgi_text_batch(&run, e, (const char *const *)prompts, PROMPTS, tokens);
    x = mgi_cast(&run, x, MGK_F32);
    if (!x)
        fail_msg("%s", mgen_last_error(ctx));
    for (int i = 0; i < PROMPTS; i++) {
        const mgi_st_entry *want = golden_of(golden, name, i, "");
        assert_same_ids(golden, name, e, i);
        assert_int_equal(tokens[i], want->dims[0]);
        for (int64_t k = 0; k < want->dims[0] * x->dims[2]; k++) {
            float value;
            OK(mgi_st_read_part(ctx, want, k, &value, 1));
            double d = fabs((double)(mgi_f32(x)[i * x->dims[1] * x->dims[2] + k] - value));
            worst = d > worst ? d : worst;
        }
    }
    mgi_run_finish(&run);
    return worst;
}

static const struct {
    const char *name;
    int kind;
    int64_t tokens_max;
} encoders[] = {{"t5", MGI_TEXT_T5_SENTENCEPIECE, 512},  {"flan", MGI_TEXT_T5_SENTENCEPIECE, 512},
                {"ul2", MGI_TEXT_T5_SENTENCEPIECE, 512}, {"byt5", MGI_TEXT_T5_BYTES, 256},
                {"clip", MGI_TEXT_CLIP_BPE, 24},         {"long", MGI_TEXT_CLIP_BPE, 256}};
enum { ENCODERS = sizeof encoders / sizeof encoders[0] };

/* Values are of the order of 1. Saved in this library's own format an encoder is the same. */
static void test_goldens(void **state)
{
    mgi_st_file golden;
    (void)state;
    OK(mgi_st_open(ctx, folder, "golden.safetensors", &golden));
    for (int i = 0; i < ENCODERS; i++) {
        mgi_text_encoder e;
        uint64_t hash, again;
        OK(mgi_text_encoder_open(ctx, folder, encoders[i].name, &e, &hash));
        assert_int_equal(e.config.kind, encoders[i].kind);
        assert_int_equal(mgi_text_tokens_max(&e), encoders[i].tokens_max);
        double worst = worst_of(&golden, encoders[i].name, &e);
        print_message("%s: within %.1e of transformers\n", encoders[i].name, worst);
        assert_true(worst <= 1e-5);
        OK(mgi_text_encoder_save(&e, folder, "saved", MGI_ST_F32));
        mgi_text_encoder_finish(&e);
        OK(mgi_text_encoder_open(ctx, folder, "saved", &e, &again));
        assert_true(worst_of(&golden, encoders[i].name, &e) == worst);
        mgi_text_encoder_finish(&e);
        OK(mgi_text_encoder_open(ctx, folder, encoders[i].name, &e, &again));
        assert_true(hash == again);
        mgi_text_encoder_finish(&e);
    }
    mgi_st_close(ctx, &golden);
}

/* For comparing texts with pictures CLIP has a projection, which is left out elsewhere. */
static void test_pooled(void **state)
{
    mgi_st_file golden, file;
    mgi_text_encoder e;
    uint64_t hash;
    float want[32];
    char path[512];
    (void)state;
    OK(mgi_st_open(ctx, folder, "golden.safetensors", &golden));
    OK(mgi_text_encoder_open(ctx, folder, "clip", &e, &hash));
    assert_null(e.clip.projection);
    mgi_text_encoder_finish(&e);
    OK(mgi_text_encoder_open_pooled(ctx, folder, "clip", &e, &hash));
    assert_true(worst_of(&golden, "clip", &e) <= 1e-5);
    assert_non_null(e.clip.projection);
    assert_int_equal(e.config.clip.projection, 4);
    snprintf(path, sizeof path, "%s/clip/model.safetensors", folder);
    OK(mgi_st_open(ctx, NULL, path, &file));
    const mgi_st_entry *entry = mgi_st_find(&file, "text_projection.weight");
    assert_non_null(entry);
    OK(mgi_st_read_f32(ctx, entry, want, 32));
    assert_int_equal(e.clip.projection->value->count, 32);
    assert_memory_equal(mgi_f32(e.clip.projection->value), want, sizeof want);
    /* its logarithm is there */
    entry = mgi_st_find(&file, "logit_scale");
    assert_non_null(entry);
    OK(mgi_st_read_f32(ctx, entry, want, 1));
    const double scale = e.config.clip.scale;
    assert_true(fabs(scale - exp((double)want[0])) < 1e-6 && scale > 0.01 && scale != 1.0);
    OK(mgi_st_read_f32(ctx, mgi_st_find(&file, "text_projection.weight"), want, 32));
    mgi_st_close(ctx, &file);
    OK(mgi_text_encoder_save(&e, folder, "saved", MGI_ST_F32));
    mgi_text_encoder_finish(&e);
    OK(mgi_text_encoder_open_pooled(ctx, folder, "saved", &e, &hash));
    assert_memory_equal(mgi_f32(e.clip.projection->value), want, sizeof want);
    assert_true(fabs(e.config.clip.scale - scale) < 1e-6 * scale);
    mgi_text_encoder_finish(&e);
    OK(mgi_text_encoder_open_pooled(ctx, folder, "long", &e, &hash)); /* has none */
    assert_null(e.clip.projection);
    assert_true(e.config.clip.scale == 0.0);
    mgi_text_encoder_finish(&e);
    assert_int_equal(mgi_text_encoder_open_pooled(ctx, folder, "t5", &e, &hash), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "no vector of a whole text"));
    mgi_st_close(ctx, &golden);
}

/* The logarithm is a finite number; where no vector of a whole text is asked for, it is not read. */
static void test_bad_scale(void **state)
{
    static const uint8_t bad[] = {0x00, 0x7e}; /* not a number, of F16 */
    mgi_text_encoder e;
    mgi_st_file file;
    uint64_t hash;
    char path[512];
    (void)state;
    snprintf(path, sizeof path, "%s/clip/model.safetensors", folder);
    OK(mgi_st_open(ctx, NULL, path, &file));
    const mgi_st_entry *entry = mgi_st_find(&file, "logit_scale");
    assert_non_null(entry);
    const long at = (long)entry->at;
    mgi_st_close(ctx, &file);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fwrite(bad, 1, sizeof bad, f), sizeof bad);
    assert_int_equal(fclose(f), 0);
    assert_said(mgi_text_encoder_open_pooled(ctx, folder, "clip", &e, &hash), MGEN_E_CORRUPT,
                "clip: tensor \"logit_scale\" is nan");
    OK(mgi_text_encoder_open(ctx, folder, "clip", &e, &hash));
    mgi_text_encoder_finish(&e);
    fresh_folders();
    edit("clip/model.safetensors", "logit_scale\":{\"dtype\":\"F16\",\"shape\":[]",
         "logit_scale\":{\"dtype\":\"I8\",\"shape\":[2]");
    assert_said(mgi_text_encoder_open_pooled(ctx, folder, "clip", &e, &hash), MGEN_E_CORRUPT,
                "tensor \"logit_scale\" is no single number");
    fresh_folders();
}

/* Held in bf16 alone, tables of tokens too. */
static void test_held(void **state)
{
    mgi_st_file golden;
    (void)state;
    OK(mgi_st_open(ctx, folder, "golden.safetensors", &golden));
    for (int i = 0; i < ENCODERS; i++) {
        mgi_text_encoder e;
        uint64_t hash;
        ctx->device->hold = MGI_HOLD_BF16;
        OK(mgi_text_encoder_open(ctx, folder, encoders[i].name, &e, &hash));
        ctx->device->hold = MGI_HOLD_F32;
        const mgi_module *m = mgi_text_module(&e);
        for (int64_t k = 0; k < m->count; k++)
            assert_int_equal(m->params[k]->value->dtype, m->params[k]->narrow ? MGK_BF16 : MGK_F32);
        double worst = worst_of(&golden, encoders[i].name, &e);
        if (!(worst > 1e-4 && worst < 0.15))
            fail_msg("%s: within %.1e of transformers", encoders[i].name, worst);
        mgi_text_encoder_finish(&e);
    }
    mgi_st_close(ctx, &golden);
}

/* T5's table of tokens has two names, and CLIP's tensors may have the prefix of a larger model. */
static void test_names(void **state)
{
    mgi_st_file golden;
    mgi_text_encoder e;
    uint64_t hash;
    (void)state;
    OK(mgi_st_open(ctx, folder, "golden.safetensors", &golden));
    edit("byt5/model.safetensors", "shared.weight", "encoder.embed_tokens.weight");
    OK(mgi_text_encoder_open(ctx, folder, "byt5", &e, &hash));
    assert_true(worst_of(&golden, "byt5", &e) <= 1e-5);
    mgi_text_encoder_finish(&e);
    edit("t5/model.safetensors", "decoder.final_layer_norm.weight", "lm_head.weight");
    OK(mgi_text_encoder_open(ctx, folder, "t5", &e, &hash));
    mgi_text_encoder_finish(&e);
    mgi_st_close(ctx, &golden);
}

/* -- in recipes ------------------------------------------------------------------------------- */

static struct mgi_stage_run *begin(const mgi_stage *stage, const struct mgi_stage_kind *kind)
{
    struct mgi_stage_run *run;
    mgi_stage_params params = {.stage = stage, .dir = folder, .seed = 5};
    OK(kind->create(ctx, &params, &run));
    return run;
}

static void train(const mgi_stage *stage, const struct mgi_stage_kind *kind)
{
    struct mgi_stage_run *run = begin(stage, kind);
    for (int64_t i = 0; i < stage->steps; i++)
        OK(kind->step(run, i, NULL));
    OK(kind->save(run));
    kind->destroy(run);
}

static mgi_text_recipe from(const char *name, bool frozen, const char *becomes)
{
    mgi_text_recipe r = {.frozen = frozen};
    strcpy(r.from, name);
    strcpy(r.name, becomes);
    return r;
}

/* FP8 in all its forms, of several files, is to the bit what torch makes of it, held in f32 or bf16; as FP8 a text encoder is held
 * in bf16. */
static void test_fp8(void **state)
{
    (void)state;
    for (int hold = MGI_HOLD_F32; hold <= MGI_HOLD_FP8; hold++) {
        mgi_text_encoder e, wide;
        uint64_t hash;
        mgi_device_hold(ctx->device, hold);
        OK(mgi_text_encoder_open(ctx, folder, "fp8", &e, &hash));
        OK(mgi_text_encoder_open(ctx, folder, "fp8_wide", &wide, &hash));
        mgi_device_hold(ctx->device, MGI_HOLD_F32);
        const mgi_module *a = mgi_text_module(&e), *b = mgi_text_module(&wide);
        assert_int_equal(a->count, b->count);
        for (int64_t k = 0; k < a->count; k++) {
            const mgi_tensor *x = a->params[k]->value, *y = b->params[k]->value;
            assert_true(x->dtype == y->dtype && x->count == y->count);
            if (memcmp(mgi_data(x), mgi_data(y), (size_t)x->count * mgi_dtype_size(x->dtype)))
                fail_msg("%s is not torch's", a->params[k]->name);
        }
        mgi_text_encoder_finish(&wide);
        mgi_text_encoder_finish(&e);
    }
}

/* One is frozen, so that the pipeline names its folder; one is trained along and becomes a model like any other. */
static void test_training(void **state)
{
    mgi_stage tae = tiny_autoencoder(1, 1), stage = tiny_text_to_video(1, 2);
    mgi_pipeline_file file;
    mgi_text_encoder e;
    uint64_t hash;
    (void)state;
    train(&tae, &mgi_stage_autoencoder);
    stage.text[MGI_ROLE_UL2] = from("ul2", true, "ul2");
    stage.text[MGI_ROLE_METACLIP] = from("long", false, "metaclip");
    memcpy(stage.video.text, (const int64_t[]){8, 0, 8}, sizeof stage.video.text);
    train(&stage, &mgi_stage_text_to_video);
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &file));
    assert_string_equal(file.text[MGI_ROLE_UL2], "ul2");
    assert_string_equal(file.text[MGI_ROLE_METACLIP], "metaclip");
    mgen_pipeline pipeline = MGEN_PIPELINE_INIT;
    OK(mgen_pipeline_open(ctx, folder, &pipeline));
    assert_true(pipeline.text[MGI_ROLE_UL2] && !pipeline.text[MGI_ROLE_BYT5]);
    mgen_pipeline_close(&pipeline);
    OK(mgi_text_encoder_open(ctx, folder, "metaclip", &e, &hash));
    assert_string_equal(e.config.files.name[0], "long_vocab.json");
    assert_true(e.config.clip.eps == 1e-3f);
    mgi_text_encoder_finish(&e);

    /* averaged, the frozen one is saved in this library's form; another one is refused */
    char out[300], other[300];
    snprintf(out, sizeof out, "%s/average", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    shell("mkdir %s && cp -r %s/*.json %s/*.safetensors %s/*.txt %s/ul2 %s", other, folder, folder,
          folder, folder, other);
    const char *const dirs[] = {folder, other};
    OK(mgi_average_folders(ctx, dirs, (const double[]){1.0, 3.0}, 2, out));
    mgi_st_file golden;
    OK(mgi_st_open(ctx, folder, "golden.safetensors", &golden));
    OK(mgi_text_encoder_open(ctx, out, "ul2", &e, &hash));
    assert_true(worst_of(&golden, "ul2", &e) <= 1e-5);
    mgi_text_encoder_finish(&e);
    mgi_st_close(ctx, &golden);
    OK(mgen_pipeline_open(ctx, out, &pipeline));
    mgen_pipeline_close(&pipeline);
    shell("cp %s/flan/config.json %s/ul2", folder, other);
    assert_said(mgi_average_folders(ctx, dirs, (const double[]){1.0, 3.0}, 2, out), MGEN_E_INVALID,
                "different text encoders");
}

/* -- bad folders ------------------------------------------------------------------------------ */

static void refuse(const char *name, mgen_status status, const char *said)
{
    mgi_text_encoder e;
    uint64_t hash;
    assert_said(mgi_text_encoder_open(ctx, folder, name, &e, &hash), status, said);
}

static void test_bad_files(void **state)
{
#define ONE   "flan/model-00001-of-00002.safetensors"
#define INDEX "flan/model.safetensors.index.json"
    static const struct {
        const char *file, *old, *new;
        mgen_status status;
        const char *said;
    } bad[] = {
        {"t5/config.json", "\"t5\"", "\"umt5\"", MGEN_E_UNSUPPORTED, "umt5"},
        {"t5/config.json", "\"model_type\"", "\"type\"", MGEN_E_CORRUPT, "model_type"},
        {"t5/config.json", "{", "[{", MGEN_E_CORRUPT, "config.json"},
        {"t5/config.json", "\"d_model\": 8", "\"d_model\": 0", MGEN_E_CORRUPT, "d_model"},
        {"t5/config.json", "\"d_model\": 8", "\"d_model\": 9", MGEN_E_CORRUPT,
         "\"shared.weight\" is 512 x 8; config.json asks for 512 x 9"},
        {"t5/config.json", "\"d_kv\": 4", "\"d_kv\": 1000", MGEN_E_CORRUPT, "d_kv"},
        {"t5/config.json", "\"d_kv\": 4", "\"d_kv\": 5", MGEN_E_CORRUPT, "SelfAttention.q.weight"},
        {"t5/config.json", "\"num_heads\"", "\"heads\"", MGEN_E_CORRUPT, "num_heads"},
        {"t5/config.json", "\"num_layers\": 2", "\"num_layers\": 3", MGEN_E_CORRUPT,
         "encoder.block.2."},
        {"t5/config.json", "\"num_layers\": 2", "\"num_layers\": 1", MGEN_E_CORRUPT,
         "\"encoder.block.1."},
        {"t5/config.json", "\"num_layers\": 2", "\"num_layers\": 100000", MGEN_E_CORRUPT,
         "num_layers"},
        {"t5/config.json", "\"relative_attention_num_buckets\": 8",
         "\"relative_attention_num_buckets\": 16", MGEN_E_CORRUPT, "relative_attention_bias"},
        {"t5/config.json", "1e-06", "-1", MGEN_E_CORRUPT, "layer_norm_epsilon"},
        {"t5/config.json", "\"feed_forward_proj\": \"relu\"",
         "\"feed_forward_proj\": \"gated-relu\"", MGEN_E_UNSUPPORTED, "gated-relu"},
        {"t5/config.json", "\"feed_forward_proj\": \"relu\"",
         "\"feed_forward_proj\": \"gated-gelu\"", MGEN_E_CORRUPT, "wi_0.weight\" is missing"},
        {"t5/config.json", "\"vocab_size\": 512", "\"vocab_size\": 300", MGEN_E_CORRUPT,
         "config.json asks for 300 x 8"},
        {"t5/model.safetensors", "shared.weight", "shaded.weight", MGEN_E_CORRUPT,
         "\"shared.weight\" is missing"},
        {"t5/model.safetensors", "decoder.block", "decodes.block", MGEN_E_CORRUPT,
         "\"decodes.block"},
        {"t5/model.safetensors",
         "encoder.block.0.layer.0.SelfAttention.k.weight\":{\"dtype\":\"F32\",\"shape\":[12,8]",
         "encoder.block.0.layer.0.SelfAttention.k.weight\":{\"dtype\":\"F32\",\"shape\":[8,12]",
         MGEN_E_CORRUPT, "is 8 x 12"},
        {"t5/spiece.model", "\n", "", MGEN_E_CORRUPT, "spiece.model"},
        {ONE, "BF16", "F8_E4M3", MGEN_E_CORRUPT, "model-00001"},
        {ONE, "BF16", "I16", MGEN_E_UNSUPPORTED, "not F32, BF16 or F16"},
        {"fp8/model-00001-of-00002.safetensors", "\"BF16\",\"shape\":[8,1]",
         "\"BF16\",\"shape\":[2,4]", MGEN_E_CORRUPT, "neither one number, nor one for each row"},
        {"fp8/model-00001-of-00002.safetensors", ".v.scale_weight", ".v.scale_wei8ht",
         MGEN_E_CORRUPT,
         "\"encoder.block.0.layer.0.SelfAttention.v.scale_weight\" is not in the file"},
        {"fp8/model.safetensors.index.json", "k.weight_scale\"", "k.weight_scala\"", MGEN_E_CORRUPT,
         "weight_scala\" is not in the file"},
        {INDEX, "\"weight_map\"", "\"map\"", MGEN_E_CORRUPT, "weight_map"},
        {INDEX, "-00001-", "-00003-", MGEN_E_NOT_FOUND, "model-00003-of-00002"},
        {INDEX, "\"model-00001-of", "\"../flan/model-00001-of", MGEN_E_CORRUPT, "../flan"},
        {INDEX, "\"model-00001-of-00002.safetensors\"", "1", MGEN_E_CORRUPT, "not a string"},
        {INDEX, "\"shared.weight\"", "\"shaded.weight\"", MGEN_E_CORRUPT,
         "\"shaded.weight\" is not in the file"},
        {INDEX, "\"shared.weight\": \"model-00001-of-00002.safetensors\"",
         "\"shared.weight\": \"model-00002-of-00002.safetensors\"", MGEN_E_CORRUPT,
         "\"shared.weight\" is not in the file"},
        {INDEX, ",\n    \"shared.weight\": \"model-00001-of-00002.safetensors\"", "",
         MGEN_E_CORRUPT, "names 36 tensors, its files hold 37"},
        {"byt5/config.json", "\"ByT5Tokenizer\"", "\"T5Tokenizer\"", MGEN_E_NOT_FOUND,
         "spiece.model"},
        {"clip/config.json", "\"text_config\"", "\"texts\"", MGEN_E_CORRUPT, "text_config"},
        {"clip/config.json", "\"quick_gelu\"", "\"gelu_new\"", MGEN_E_UNSUPPORTED, "gelu_new"},
        {"clip/config.json", "\"num_attention_heads\": 2", "\"num_attention_heads\": 3",
         MGEN_E_CORRUPT, "num_attention_heads"},
        {"clip/config.json", "\"max_position_embeddings\": 24", "\"max_position_embeddings\": 256",
         MGEN_E_CORRUPT, "position_embedding.weight\" is 24 x 8; config.json asks for 256 x 8"},
        {"clip/model.safetensors", "logit_scale", "logit_scole", MGEN_E_CORRUPT, "logit_scole"},
        {"clip/model.safetensors", "k_proj.bias", "k_poem.bias", MGEN_E_CORRUPT,
         "k_proj.bias\" is missing"},
        {"clip/merges.txt", "\n", "\nx y z\n", MGEN_E_CORRUPT, "merges.txt"},
        {"long/config.json", "\"hidden_size\": 8", "\"hidden_size\": \"8\"", MGEN_E_CORRUPT,
         "hidden_size"},
        {"long/model.safetensors", "final_layer_norm.bias", "final_layer_norm.base", MGEN_E_CORRUPT,
         "final_layer_norm.bias\" is missing"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char name[8];
        fresh_folders();
        snprintf(name, sizeof name, "%.*s", (int)strcspn(bad[i].file, "/"), bad[i].file);
        edit(bad[i].file, bad[i].old, bad[i].new);
        refuse(name, bad[i].status, bad[i].said);
    }
#undef ONE
#undef INDEX
}

static void test_bad_folders(void **state)
{
    mgi_text_encoder e;
    uint64_t hash;
    (void)state;
    fresh_folders();
    refuse("absent", MGEN_E_NOT_FOUND, "absent.json");
    refuse("../t5", MGEN_E_CORRUPT, "../t5");
    shell("cd %s && mkdir empty && ln -s t5 linked && rm t5/model.safetensors && rm "
          "flan/spiece.model && "
          "rm clip/merges.txt && mv long/config.json . && ln -s ../config.json long/config.json && "
          "touch file",
          folder);
    refuse("empty", MGEN_E_NOT_FOUND, "config.json");
    refuse("linked", MGEN_E_CORRUPT, "symbolic link, not a folder");
    refuse("file", MGEN_E_CORRUPT, "a file, not a folder");
    refuse("t5", MGEN_E_NOT_FOUND, "neither model.safetensors nor model.safetensors.index.json");
    refuse("flan", MGEN_E_NOT_FOUND, "ByT5Tokenizer");
    refuse("clip", MGEN_E_NOT_FOUND, "merges.txt");
    refuse("long", MGEN_E_CORRUPT, "symbolic link");
    /* the tokenizer's own file may name it too */
    fresh_folders();
    edit("byt5/config.json", "\"tokenizer_class\": \"ByT5Tokenizer\",", "");
    refuse("byt5", MGEN_E_NOT_FOUND, "ByT5Tokenizer");
    shell("echo '{\"tokenizer_class\": \"ByT5Tokenizer\"}' > %s/byt5/tokenizer_config.json",
          folder);
    OK(mgi_text_encoder_open(ctx, folder, "byt5", &e, &hash));
    mgi_text_encoder_finish(&e);
}

/* What config.json promises and the weights do not fill costs no memory: it would be over the limit. */
static void test_promises(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *kept = ctx;
    (void)state;
    fresh_folders();
    edit("t5/config.json", "\"vocab_size\": 512", "\"vocab_size\": 1048576");
    edit("clip/config.json", "\"intermediate_size\": 20", "\"intermediate_size\": 1048576");
    params.threads = 1;
    params.host_memory_max = 8 << 20;
    OK(mgi_context_init(&ctx, &params));
    OK(mgi_device_create(ctx, NULL));
    refuse("t5", MGEN_E_CORRUPT, "is 512 x 8; config.json asks for 1048576 x 8");
    refuse("clip", MGEN_E_CORRUPT, "config.json asks for 1048576 x 8");
    mgi_context_free(ctx);
    ctx = kept;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),     cmocka_unit_test(test_pooled),
        cmocka_unit_test(test_bad_scale),   cmocka_unit_test(test_held),
        cmocka_unit_test(test_names),       cmocka_unit_test(test_fp8),
        cmocka_unit_test(test_training),    cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_bad_folders), cmocka_unit_test(test_promises)};
    return cmocka_run_group_tests_name("hf_text", tests, set_up, tear_down);
}
