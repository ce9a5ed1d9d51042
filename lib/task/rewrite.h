/* SPDX-License-Identifier: MIT
 * Rewriting prompts. Tier 7. */
#ifndef MGI_TASK_REWRITE_H
#define MGI_TASK_REWRITE_H

#include "model/rewriter.h"

#define MGI_PROMPT_MAX 4096 /* bytes */

/* The prompt rewritten, token by token the likeliest. What was written is refused, and the prompt itself is the answer,
 * with a warning that is logged, if it is empty, not UTF-8, longer than MGI_PROMPT_MAX or as long as the model writes at
 * most, or if a text that the prompt has between quotation marks is not between such in it. The caller frees *out. INVALID
 * if the prompt is longer than the model reads; NUMERIC if logits are not finite. */
mgen_status mgi_rewrite(mgen_context *ctx, const mgi_rewriter *r, const char *prompt, char **out);

#endif
