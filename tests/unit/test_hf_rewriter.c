/* SPDX-License-Identifier: MIT
 * Rewriters in folders from Hugging Face: against what transformers makes of the same folders (the fixtures of
 * text/make_rewriter.py), and damaged. */
#include "core/alloc.h"
#include "model/rewriter.h"
#include "task/rewrite.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "foreign_folders.h"

static const struct {
    const char *name;
    int kind;
    bool tied;
    int64_t layers, tokens_max;
} models[] = {{"t5", MGI_TEXT_T5_SENTENCEPIECE, true, 2, 512},
              {"flan", MGI_TEXT_T5_SENTENCEPIECE, false, 2, 512},
              {"byt5", MGI_TEXT_T5_BYTES, false, 1, 1024}};
enum { MODELS = sizeof models / sizeof models[0], EACH = 5 /* of whose logits are kept */ };

/* The folders as a user has them: each with its tokenizer. */
static void fresh_folders(void)
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    shell("t=%s s=%s/tests/unit/text && rm -rf $t/* && cp -r $s/rewriter/* $t && "
          "for d in t5 flan; do cp $s/nfkc.model $t/$d/spiece.model; done",
          folder, source ? source : ".");
}

static int set_up(void **state)
{
    (void)state;
    if (!begin_foreign(NULL))
        return 1;
    fresh_folders();
    return 0;
}

/* -- goldens ---------------------------------------------------------------------------------- */

static T *golden(mgi_run *run, const mgi_st_file *st, const char *name, const char *what,
                 int32_t dtype)
{
    char key[64];
    snprintf(key, sizeof key, "%s.%s", name, what);
    const mgi_st_entry *e = mgi_st_find(st, key);
    assert_non_null(e);
    T *t = mgi_new(run, dtype, e->rank, e->dims);
    assert_non_null(t);
    OK(mgi_st_read_bytes(ctx, e, 0, mgi_data(t), e->bytes));
    return t;
}

/* Logits of all prompts in one batch, so that shorter ones are padded. Returns the largest difference. */
static double worst_of(const char *name, const mgi_rewriter *r)
{
    mgi_st_file st;
    mgi_run run;
    double worst = 0.0;
    OK(mgi_st_open(ctx, folder, "golden.safetensors", &st));
    mgi_run_init(&run, ctx, false);
    T *want = golden(&run, &st, name, "logits", MGK_F32);
    T *y = mgi_rewriter_logits(&run, r, golden(&run, &st, name, "ids", MGK_I32),
                               golden(&run, &st, name, "mask", MGK_U8),
                               golden(&run, &st, name, "told", MGK_I32));
    if (!y)
        fail_msg("%s", mgen_last_error(ctx));
    int64_t kept = want->dims[1], vocab = want->dims[2], tokens = y->dims[1];
    assert_true(y->dims[2] == vocab && kept == (tokens + EACH - 1) / EACH);
    for (int64_t i = 0; i < want->count; i++) {
        int64_t row = i / vocab / kept * tokens + i / vocab % kept * EACH;
        worst = fmax(worst, fabs((double)(mgi_f32(want)[i] - mgi_f32(y)[row * vocab + i % vocab])));
    }
    mgi_run_finish(&run);
    mgi_st_close(ctx, &st);
    return worst;
}

/* What is written for each prompt is what transformers writes. */
static void assert_texts(const char *name, const mgi_rewriter *r)
{
    mgi_json *root = NULL;
    mgi_file text;
    OK(mgi_file_open_in(ctx, folder, "texts.json", &text));
    OK(mgi_json_parse(ctx, "texts", (const char *)text.data, text.size, &root));
    mgi_file_close(ctx, &text);
    const mgi_json *prompt = mgi_json_find(root, "prompts")->child;
    int count = 0;
    for (const mgi_json *want = mgi_json_find(root, name)->child; want; want = want->next) {
        char *out;
        OK(mgi_rewrite(ctx, r, prompt->s, &out));
        assert_string_equal(out, want->s);
        assert_string_not_equal(out, prompt->s);
        mgi_free(ctx, out);
        prompt = prompt->next;
        count++;
    }
    assert_int_equal(count, 3);
    mgi_json_free(ctx, root);
}

/* Logits are of the order of 10. Saved in this library's own format a rewriter is the same. */
static void test_goldens(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        const char *name = models[i].name;
        mgi_rewriter r;
        uint64_t hash, again;
        OK(mgi_rewriter_open(ctx, folder, name, &r, &hash));
        assert_int_equal(r.config.text.kind, models[i].kind);
        assert_int_equal(r.config.decoder.tied, models[i].tied);
        assert_int_equal(r.config.decoder.t5.layers, models[i].layers);
        assert_int_equal(r.config.decoder.t5.tokens_max, models[i].tokens_max);
        assert_int_equal(mgi_text_tokens_max(&r.text), models[i].tokens_max);
        assert_string_equal(r.config.instruction, "");
        double worst = worst_of(name, &r);
        print_message("%s: within %.1e of transformers\n", name, worst);
        assert_true(worst > 0.0 && worst <= 1e-4);
        assert_texts(name, &r);
        OK(mgi_rewriter_save(&r, folder, "saved", MGI_ST_F32));
        mgi_rewriter_finish(&r);
        OK(mgi_rewriter_open(ctx, folder, "saved", &r, &again));
        assert_true(worst_of(name, &r) == worst);
        assert_texts(name, &r);
        mgi_rewriter_finish(&r);
        OK(mgi_rewriter_open(ctx, folder, name, &r, &again));
        assert_true(hash == again);
        mgi_rewriter_finish(&r);
    }
}

/* Held in bf16 alone, tables of tokens too. */
static void test_held(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        mgi_rewriter r;
        uint64_t hash;
        ctx->device->hold = MGI_HOLD_BF16;
        OK(mgi_rewriter_open(ctx, folder, models[i].name, &r, &hash));
        ctx->device->hold = MGI_HOLD_F32;
        const mgi_module *m = &r.decoder.module;
        for (int64_t k = 0; k < m->count; k++)
            assert_int_equal(m->params[k]->value->dtype, m->params[k]->narrow ? MGK_BF16 : MGK_F32);
        double worst = worst_of(models[i].name, &r);
        print_message("%s: held in bf16 within %.1e of transformers\n", models[i].name, worst);
        assert_true(worst > 1e-3 && worst < 1.5);
        mgi_rewriter_finish(&r);
    }
}

/* -- what folders may say otherwise ----------------------------------------------------------- */

static void opens(const char *name, double most)
{
    mgi_rewriter r;
    uint64_t hash;
    OK(mgi_rewriter_open(ctx, folder, name, &r, &hash));
    double worst = worst_of(name, &r);
    if (!(worst <= most))
        fail_msg("%s: within %.1e of transformers", name, worst);
    mgi_rewriter_finish(&r);
}

/* Names of what is one and the same, and fields that may be left out. */
static void test_names(void **state)
{
    (void)state;
    edit("byt5/model.safetensors", "shared.weight", "decoder.embed_tokens.weight");
    edit("byt5/model.safetensors", "decoder.embed_tokens.weight", "encoder.embed_tokens.weight");
    opens("byt5", 1e-4);
    edit("t5/config.json", "\"num_decoder_layers\": 2,", "");
    edit("t5/config.json", "\"tie_word_embeddings\": true,", "");
    edit("t5/config.json", "\"scale_decoder_outputs\": true,", "");
    edit("t5/config.json", "\"decoder_start_token_id\": 0,", "");
    edit("t5/config.json", "\"eos_token_id\": 1,", "");
    opens("t5", 1e-4);
    edit("byt5/config.json", "\"scale_decoder_outputs\": false,", "");
    edit("byt5/config.json", "\"t5\"", "\"mt5\""); /* never scaled */
    opens("byt5", 1e-4);
    fresh_folders();
}

static void refuse(const char *name, mgen_status status, const char *said)
{
    mgi_rewriter r;
    uint64_t hash;
    assert_said(mgi_rewriter_open(ctx, folder, name, &r, &hash), status, said);
}

static void test_bad_files(void **state)
{
#define ONE "flan/model-00001-of-00003.safetensors"
#define TWO "flan/model-00002-of-00003.safetensors"
    static const struct {
        const char *file, *old, *new;
        mgen_status status;
        const char *said;
    } bad[] = {
        {"t5/config.json", "\"t5\"", "\"umt5\"", MGEN_E_UNSUPPORTED, "umt5"},
        {"t5/config.json", "{", "[{", MGEN_E_CORRUPT, "config.json"},
        {"t5/config.json", "\"num_decoder_layers\": 2", "\"num_decoder_layers\": 0", MGEN_E_CORRUPT,
         "num_decoder_layers"},
        {"t5/config.json", "\"num_decoder_layers\": 2", "\"num_decoder_layers\": 3", MGEN_E_CORRUPT,
         "tensor \"decoder.block.2.layer.0.layer_norm.weight\" is missing"},
        {"t5/config.json", "\"num_decoder_layers\": 2", "\"num_decoder_layers\": 1", MGEN_E_CORRUPT,
         "is no part of the rewriter that config.json describes"},
        {"t5/config.json", "\"scale_decoder_outputs\": true", "\"scale_decoder_outputs\": 1",
         MGEN_E_CORRUPT, "scale_decoder_outputs"},
        {"t5/config.json", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": null",
         MGEN_E_CORRUPT, "tie_word_embeddings"},
        {"t5/config.json", "\"decoder_start_token_id\": 0", "\"decoder_start_token_id\": 2",
         MGEN_E_UNSUPPORTED, "\"decoder_start_token_id\" is 2; the filling is token 0"},
        {"t5/config.json", "\"eos_token_id\": 1", "\"eos_token_id\": 5", MGEN_E_UNSUPPORTED,
         "\"eos_token_id\" is 5; the end of a text is token 1"},
        {"t5/config.json", "\"relative_attention_num_buckets\": 8",
         "\"relative_attention_num_buckets\": 12", MGEN_E_CORRUPT, "relative_attention_bias"},
        {"t5/config.json", "\"relative_attention_num_buckets\": 8",
         "\"relative_attention_num_buckets\": 6", MGEN_E_CORRUPT,
         "\"relative_attention_max_distance\": \"buckets\" (6)"},
        {"t5/config.json", "\"relative_attention_max_distance\": 20",
         "\"relative_attention_max_distance\": 4", MGEN_E_CORRUPT, "\"max_distance\" (4)"},
        {"t5/model.safetensors", "decoder.final_layer_norm.weight",
         "decoder.first_layer_norm.weight", MGEN_E_CORRUPT,
         "tensor \"decoder.final_layer_norm.weight\" is missing"},
        {"t5/model.safetensors", "decoder.block.1.layer.1.EncDecAttention.k.weight",
         "decoder.block.1.layer.1.SelfAttention.k.weight", MGEN_E_CORRUPT,
         "tensor \"decoder.block.1.layer.1.EncDecAttention.k.weight\" is missing"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        edit(bad[i].file, bad[i].old, bad[i].new);
        if (*bad[i].said)
            refuse("t5", bad[i].status, bad[i].said);
        fresh_folders();
    }
    edit("flan/config.json", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    refuse("flan", MGEN_E_UNSUPPORTED, "\"lm_head.weight\" is not \"shared.weight\"");
    fresh_folders();
    shell("rm %s/t5/spiece.model", folder);
    refuse("t5", MGEN_E_NOT_FOUND, "T5's tokenizer is spiece.model");
    fresh_folders();
}

/* An image and text model is none that writes. */
static void test_clip(void **state)
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    (void)state;
    shell("t=%s s=%s/tests/unit/text && cp -r $s/hf/clip $t && cp $s/clip_vocab.json "
          "$t/clip/vocab.json && cp $s/clip_merges.txt $t/clip/merges.txt",
          folder, source ? source : ".");
    refuse("clip", MGEN_E_UNSUPPORTED, "T5ForConditionalGeneration, not CLIP");
    fresh_folders();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),   cmocka_unit_test(test_held), cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad_files), cmocka_unit_test(test_clip),
    };
    return cmocka_run_group_tests(tests, set_up, end_foreign);
}
