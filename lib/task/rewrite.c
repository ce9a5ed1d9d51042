/* SPDX-License-Identifier: MIT */
#include "task/rewrite.h"

#include "core/alloc.h"
#include "tensor/weights.h"
#include "text/byte_tokenizer.h"
#include "text/prompt.h"

#include <math.h>
#include <string.h>

/* -- writing ---------------------------------------------------------------------------------- */

/* The prompt, encoded: (1,Se,told_dim), and its mask (1,Se). */
static T *tell(mgi_run *run, const mgi_rewriter *r, const mgi_tokens *read, T **mask)
{
    int64_t n = (int64_t)read->count;
    T *ids = mgi_new(run, MGK_I32, MGI_DIMS(1, n));
    uint8_t *ones = NULL;
    *mask = mgi_new(run, MGK_U8, MGI_DIMS(1, n));
    if (run->status != MGEN_OK || !mgi_ok(run, mgi_alloc(run->ctx, read->count, &ones)))
        return NULL;
    memset(ones, 1, read->count);
    mgi_tensor_write(ids, 0, read->ids, n);
    mgi_tensor_write(*mask, 0, ones, n);
    mgi_free(run->ctx, ones);
    return mgi_text_encoder_forward(run, &r->text, ids, *mask);
}

/* The likeliest token by logits (vocab), the first of equal ones. */
static int32_t likeliest(mgi_run *run, const T *logits, float *values)
{
    int32_t best = 0;
    bool finite = true;
    mgi_tensor_read(logits, 0, values, logits->count);
    if (!mgi_ok(run, mgi_device_wait(run->dev)))
        return 0;
    for (int64_t i = 0; i < logits->count; i++) {
        finite = finite && isfinite(values[i]);
        best = values[i] > values[best] ? (int32_t)i : best;
    }
    if (!finite)
        mgi_ok(run, mgi_fail(run->ctx, MGEN_E_NUMERIC,
                             "the rewriter's logits are not finite; its weights are damaged"));
    return best;
}

/* Appends what follows the first token, up to the end. False: it did not end. */
static bool write_all(mgi_run *run, const mgi_rewriter *r, mgi_t5_writing *w, float *values,
                      mgi_tokens *out)
{
    int64_t most = r->config.decoder.t5.tokens_max;
    int32_t token = mgi_rewriter_begin(r);
    T *id = mgi_new(run, MGK_I32, MGI_DIMS(1, 1));
    for (int64_t i = 0; i < most && run->status == MGEN_OK; i++) {
        int64_t mark = mgi_scope_push(run);
        mgi_ok(run, mgi_progress(run->ctx, "rewriting the prompt", (uint64_t)i, (uint64_t)most));
        if (run->status == MGEN_OK)
            mgi_tensor_write(id, 0, &token, 1);
        T *logits = mgi_t5_write(run, w, id);
        token = logits ? likeliest(run, logits, values) : 0;
        mgi_scope_pop(run, mark, NULL);
        if (run->status == MGEN_OK && token == mgi_rewriter_end(r))
            return true;
        if (run->status == MGEN_OK)
            mgi_ok(run, mgi_tokens_push(run->ctx, out, token));
    }
    return false;
}

static mgen_status write_tokens(mgen_context *ctx, const mgi_rewriter *r, const mgi_tokens *read,
                                mgi_tokens *out, bool *ends)
{
    mgi_t5_writing w;
    mgi_run run;
    float *values;
    T *mask;
    MGI_TRY(mgi_alloc(ctx, (size_t)r->config.decoder.t5.vocab * sizeof *values, &values));
    mgi_run_init(&run, ctx, false);
    mgi_weights_begin(&run);
    T *told = tell(&run, r, read, &mask);
    mgi_t5_write_begin(&run, &w, &r->decoder, told, mask);
    *ends = write_all(&run, r, &w, values, out);
    mgi_t5_write_end(&w);
    mgi_weights_end(&run);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    mgi_free(ctx, values);
    return status;
}

/* -- what comes of it ------------------------------------------------------------------------- */

/* Why it cannot take the prompt's place; NULL: it can. */
static const char *unfit(const char *prompt, const char *text, bool ends)
{
    size_t size = strlen(text), bad;
    return !ends                                   ? "does not end"
           : mgi_prompt_blank(text)                ? "is empty"
           : size > MGI_PROMPT_MAX                 ? "is longer than prompts may be"
           : !mgi_utf8_valid(text, size, &bad)     ? "is not UTF-8"
           : !mgi_prompt_quotes_kept(prompt, text) ? "lacks a text in quotation marks"
                                                   : NULL;
}

mgen_status mgi_rewrite(mgen_context *ctx, const mgi_rewriter *r, const char *prompt, char **out)
{
    mgi_tokens read, written = {0};
    char *text = NULL;
    bool ends = false;
    MGI_TRY(mgi_rewriter_read(ctx, r, prompt, &read));
    mgen_status status = write_tokens(ctx, r, &read, &written, &ends);
    if (status == MGEN_OK)
        status = mgi_tokenizer_decode(ctx, r->text.tokenizer, written.ids, (int64_t)written.count,
                                      &text);
    const char *why = status == MGEN_OK ? unfit(prompt, text, ends) : NULL;
    if (why) {
        mgi_log(ctx, MGEN_LOG_WARN, "the prompt stays as it is: what was written for it %s", why);
        mgi_free(ctx, text);
        status = mgi_strdup(ctx, prompt, &text);
    }
    if (status == MGEN_OK)
        *out = text;
    mgi_tokens_free(ctx, &read);
    mgi_tokens_free(ctx, &written);
    return status;
}
