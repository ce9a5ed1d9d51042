/* SPDX-License-Identifier: MIT
 * A prompt as users type it becomes one as the captions of training are. */
#include "api/args.h"

#include "core/alloc.h"
#include "task/rewrite.h"

#include <string.h>

static mgen_status rewrite(mgen_context *ctx, const mgen_pipeline *p, const char *prompt, char *out,
                           uint64_t size)
{
    char *made;
    MGI_TRY(mgi_pipeline_rewriter(ctx, p));
    MGI_TRY(mgi_rewrite(ctx, &p->rewriter->net, prompt, &made));
    const size_t bytes = strlen(made) + 1;
    mgen_status status = MGEN_OK;
    if (bytes <= size)
        memcpy(out, made, bytes);
    else
        status = mgi_fail(ctx, MGEN_E_INVALID,
                          "size is %llu bytes; the prompt rewritten takes %zu with its NUL (%d are "
                          "always enough)",
                          (unsigned long long)size, bytes, MGI_PROMPT_MAX + 1);
    mgi_free(ctx, made);
    return status;
}

mgen_status mgen_rewrite(mgen_context *ctx, const mgen_pipeline *pipe, const char *prompt,
                         char *out, uint64_t size)
{
    mgen_pipeline p = MGEN_PIPELINE_INIT;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    if (!out || !size)
        return mgi_fail(ctx, MGEN_E_INVALID, "out is NULL or size is 0: %d bytes are always enough",
                        MGI_PROMPT_MAX + 1);
    MGI_TRY(mgi_need_prompt(ctx, prompt, "the prompt"));
    MGI_TRY(mgi_pipeline_in(ctx, pipe, &p));
    mgen_status status = rewrite(ctx, &p, prompt, out, size);
    mgen_pipeline_close(&p);
    return status;
}
