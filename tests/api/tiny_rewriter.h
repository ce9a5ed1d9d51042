/* SPDX-License-Identifier: MIT
 * A rewriter beside the tiny models that writes the same text whatever it is asked, for what is around one: its decoder looks
 * at the last token alone, whose embedding tells it apart, and the row of the head that answers to that is the next token's. */
#ifndef TESTS_API_TINY_REWRITER_H
#define TESTS_API_TINY_REWRITER_H

#include "../unit/random_values.h"
#include "model/rewriter.h"
#include "task/pipeline.h"
#include "tiny.h"

#define TINY_REWRITTEN "jumping fox" /* no byte comes twice */

enum { TINY_REWRITER_READS = 64, TINY_REWRITER_DIM = 16, TINY_BYTE = 3 /* of its token */ };

SHARED mgi_rewriter_config tiny_rewriter(void)
{
    const mgi_t5_config t5 = {.vocab = 259,
                              .dim = TINY_REWRITER_DIM,
                              .layers = 1,
                              .heads = 2,
                              .head_dim = 8,
                              .ff_dim = 16,
                              .buckets = 8,
                              .max_distance = 16,
                              .tokens_max = TINY_REWRITER_READS,
                              .eps = 1e-6f};
    mgi_rewriter_config c = {.text = {.kind = MGI_TEXT_T5_BYTES, .t5 = t5},
                             .decoder = {.t5 = t5, .told_dim = TINY_REWRITER_DIM}};
    c.decoder.t5.tokens_max = 32;
    return c;
}

SHARED void fill_param(mgi_param *p, float value)
{
    for (int64_t i = 0; i < p->value->count; i++)
        mgi_f32(p->value)[i] = value;
}

/* What it writes; the rest of its weights stay as they are. */
SHARED void teach_rewriter(mgi_rewriter *r, const char *text)
{
    mgi_t5_decoder *d = &r->decoder;
    float *embedding = mgi_f32(d->embedding->value), *head = mgi_f32(d->head->value);
    int32_t token = mgi_rewriter_begin(r);
    fill_param(d->embedding, 0.0f);
    fill_param(d->head, 0.0f);
    fill_param(d->layer[0].out, 0.0f);
    fill_param(d->layer[0].cross_out, 0.0f);
    fill_param(d->layer[0].wo, 0.0f);
    for (int64_t i = 0; i <= (int64_t)strlen(text); i++) {
        int32_t next = text[i] ? (uint8_t)text[i] + TINY_BYTE : mgi_rewriter_end(r);
        assert_true(i < TINY_REWRITER_DIM);
        embedding[token * TINY_REWRITER_DIM + i] = 1.0f;
        head[next * TINY_REWRITER_DIM + i] = 1.0f;
        token = next;
    }
}

/* Into a folder; `text` NULL: values at random, which end with a warning and the prompt. */
SHARED void save_rewriter_as(const char *folder, const char *name, const char *text)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    const mgi_rewriter_config config = tiny_rewriter();
    mgen_context *ctx;
    mgi_rewriter r;
    params.device = "cpu";
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    assert_int_equal(mgi_rewriter_init(&r, ctx, folder, &config), MGEN_OK);
    assert_int_equal(mgi_module_random(mgi_text_module(&r.text), 6), MGEN_OK);
    assert_int_equal(mgi_module_random(&r.decoder.module, 7), MGEN_OK);
    if (text)
        teach_rewriter(&r, text);
    assert_int_equal(mgi_rewriter_save(&r, folder, name, MGI_ST_BF16), MGEN_OK);
    mgi_rewriter_finish(&r);
    mgen_context_destroy(ctx);
}

/* As "rewriter", which the folder's pipeline names. */
SHARED void save_rewriter(const char *folder)
{
    mgi_pipeline_file file;
    mgen_context *ctx = make_context(1);
    save_rewriter_as(folder, "rewriter", TINY_REWRITTEN);
    assert_int_equal(mgi_pipeline_file_read(ctx, folder, "pipeline", &file), MGEN_OK);
    strcpy(file.rewriter, "rewriter");
    assert_int_equal(mgi_pipeline_file_write(ctx, folder, "pipeline", &file), MGEN_OK);
    mgen_context_destroy(ctx);
}

SHARED int setup_rewriter(void **state)
{
    int failed = setup_trained(state);
    if (!failed)
        save_rewriter(dir);
    return failed;
}

#endif
