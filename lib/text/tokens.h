/* SPDX-License-Identifier: MIT
 * A growing list of token ids, and the row of a batch that it fills. Tier 5. */
#ifndef MGI_TEXT_TOKENS_H
#define MGI_TEXT_TOKENS_H

#include "core/context.h"

typedef struct mgi_tokens {
    int32_t *ids;
    size_t count, capacity;
} mgi_tokens;

mgen_status mgi_tokens_push(mgen_context *ctx, mgi_tokens *tokens, int32_t id);
void mgi_tokens_free(mgen_context *ctx, mgi_tokens *tokens);

/* What surrounds the text in a row; -1: nothing. */
typedef struct mgi_tokens_frame {
    int32_t start, end, pad;
} mgi_tokens_frame;

/* Fill `size` ids and mask entries: start, tokens, end, padding (a pad of -1 is written as 0). Too many tokens are
 * cut, start and end stay. Returns how many count: the end token, if any, is the last of them. */
int64_t mgi_tokens_row(const mgi_tokens *tokens, mgi_tokens_frame frame, int64_t size, int32_t *ids,
                       uint8_t *mask);

#endif
