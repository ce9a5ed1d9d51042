/* SPDX-License-Identifier: MIT
 * The films that protocols look at: what a pipeline makes of prompts, what a TAE makes of films. Tier 7. */
#ifndef MGI_EVAL_FILMS_H
#define MGI_EVAL_FILMS_H

#include "eval/evaluate.h"

/* What is asked of the model: the protocol adds what the films are, and where they go. */
mgi_generate_request mgi_eval_asks(const mgi_eval_request *request, const char *const *prompts,
                                   const uint64_t *seeds, int64_t count);

/* Clips of the model's shape for `count` prompts and, of a personalizer, photos (or NULL), one behind the other in pixels (RGB8), as the request asks; clip i
 * has the seed request->seed + first + i. count is at most MGI_EVAL_BATCH. */
enum { MGI_EVAL_BATCH = 4 };
mgen_status mgi_eval_generate(mgen_context *ctx, const mgi_networks *n,
                              const mgi_eval_request *request, const char *const *prompts,
                              const mgi_photo *photos, int64_t first, int64_t count,
                              uint8_t *pixels);

/* One clip (frames x height x width x 3, RGB8) through the TAE, by the mean of its latents; out may be in. */
mgen_status mgi_eval_reconstruct(mgen_context *ctx, const mgi_tae *tae, int64_t frames,
                                 int64_t height, int64_t width, const uint8_t *in, uint8_t *out);

#endif
