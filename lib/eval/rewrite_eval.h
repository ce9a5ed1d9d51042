/* SPDX-License-Identifier: MIT
 * What rewriting does to prompts as users type them, and to films that are made of them. Tier 7. */
#ifndef MGI_EVAL_REWRITE_EVAL_H
#define MGI_EVAL_REWRITE_EVAL_H

#include "data/world.h"
#include "eval/evaluate.h"
#include "model/rewriter.h"

/* The scene of film i, that of alignment's prompt i; what a user types for it, and what this determines. */
void mgi_rewrite_case(const mgi_clip_shape *clip, int64_t i, mgi_world_scene *scene,
                      char typed[MGI_WORLD_CAPTION_MAX], mgi_world_said *says);
/* Whether a text, read as a caption, says all that was typed, nothing else, and one thing where the prompt left a background
 * or motions open. */
bool mgi_rewrite_exact(const mgi_world_said *says, const char *text);

/* Of request->n films of the clip that the networks have, made of rewritten prompts, what the checker sees of what was typed:
 * rates named as those of alignment, but for the frame rate, which nobody types. What a prompt leaves open is not counted.
 * The same of the same noise with "plain_" for films of prompts as they were typed and with "told_" for those of the caption
 * that the rewriter should have answered. exact: share of rewritten prompts that are (mgi_rewrite_exact()); plain_exact: of
 * those that were typed; quoted: share of the prompts with a sign whose text stands in quotation marks once they are
 * rewritten, left out where none has.
 *
 * Film i has the noise of seed + i. STATE if the checker cannot read clips of that shape; as mgi_rewrite(). */
mgen_status mgi_eval_rewrite(mgen_context *ctx, const mgi_networks *n, const mgi_rewriter *rewriter,
                             const mgi_eval_request *request, mgen_report *report);

#endif
