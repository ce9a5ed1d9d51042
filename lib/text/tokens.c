/* SPDX-License-Identifier: MIT */
#include "text/tokens.h"

#include "core/alloc.h"
#include "core/checked.h"

#include <string.h>

mgen_status mgi_tokens_push(mgen_context *ctx, mgi_tokens *tokens, int32_t id)
{
    if (tokens->count == tokens->capacity) {
        size_t more;
        if (!mgi_size_add(tokens->capacity, tokens->capacity / 2 + 32, &more))
            return mgi_fail(ctx, MGEN_E_LIMIT, "a text of too many tokens");
        MGI_TRY(mgi_realloc(ctx, &tokens->ids, more, sizeof *tokens->ids));
        tokens->capacity = more;
    }
    tokens->ids[tokens->count++] = id;
    return MGEN_OK;
}

void mgi_tokens_free(mgen_context *ctx, mgi_tokens *tokens)
{
    mgi_free(ctx, tokens->ids);
    memset(tokens, 0, sizeof *tokens);
}

int64_t mgi_tokens_row(const mgi_tokens *tokens, mgi_tokens_frame frame, int64_t size, int32_t *ids,
                       uint8_t *mask)
{
    int64_t around = (frame.start >= 0) + (frame.end >= 0), n = 0, count;
    int64_t room = size > around ? size - around : 0;
    if (frame.start >= 0 && n < size)
        ids[n++] = frame.start;
    for (int64_t i = 0; i < room && (size_t)i < tokens->count; i++)
        ids[n++] = tokens->ids[i];
    if (frame.end >= 0 && n < size)
        ids[n++] = frame.end;
    count = n;
    for (; n < size; n++)
        ids[n] = frame.pad >= 0 ? frame.pad : 0;
    for (int64_t i = 0; i < size; i++)
        mask[i] = i < count;
    return count;
}
