/* SPDX-License-Identifier: MIT */
#include "text/prompt.h"

#include "core/alloc.h"
#include "text/unicode.h"

#include <stdio.h>
#include <string.h>

const char *const mgi_role_key[MGI_ROLES] = {"ul2", "byt5", "metaclip"};
const char *const mgi_role_title[MGI_ROLES] = {"UL2", "ByT5", "MetaCLIP"};

static const struct {
    const char *open, *close;
} marks[] = {{"\"", "\""}, {"\xE2\x80\x9C", "\xE2\x80\x9D"}};

/* The kind of quotation mark that opens at `at`, or -1. */
static int mark_at(const char *at)
{
    for (int i = 0; i < (int)(sizeof marks / sizeof marks[0]); i++)
        if (!strncmp(at, marks[i].open, strlen(marks[i].open)))
            return i;
    return -1;
}

/* The next text in quotation marks from *at on, which moves behind it; false: there is none. */
static bool next_quoted(const char **at, const char **text, size_t *size)
{
    while (**at) {
        int kind = mark_at(*at);
        *text = kind < 0 ? *at + 1 : *at + strlen(marks[kind].open);
        const char *end = kind < 0 ? NULL : strstr(*text, marks[kind].close);
        *at = end ? end + strlen(marks[kind].close) : *text;
        *size = end ? (size_t)(end - *text) : 0;
        if (end)
            return true;
    }
    return false;
}

bool mgi_prompt_blank(const char *prompt)
{
    size_t left = strlen(prompt), bytes = 0;
    while (left && mgi_unicode_space(mgi_unicode_next(prompt, left, &bytes))) {
        prompt += bytes;
        left -= bytes;
    }
    return !left;
}

mgen_status mgi_prompt_quoted(mgen_context *ctx, const char *prompt, char **out)
{
    const char *text;
    size_t used = 0, size;
    MGI_TRY(mgi_alloc_zero(ctx, strlen(prompt) + 1, 1, out)); /* what is left out makes room */
    while (next_quoted(&prompt, &text, &size)) {
        if (size && used)
            (*out)[used++] = '\n';
        memcpy(*out + used, text, size);
        used += size;
    }
    return MGEN_OK;
}

bool mgi_prompt_quotes_kept(const char *prompt, const char *other)
{
    const char *text, *found;
    size_t size, n;
    while (next_quoted(&prompt, &text, &size)) {
        bool kept = size == 0;
        for (const char *at = other; !kept && next_quoted(&at, &found, &n);)
            kept = n == size && !memcmp(found, text, n);
        if (!kept)
            return false;
    }
    return true;
}

mgen_status mgi_prompt_at_rate(mgen_context *ctx, const char *prompt, int64_t fps, char **out)
{
    char rate[32] = "";
    if (*prompt && strncmp(prompt, "FPS-", 4))
        snprintf(rate, sizeof rate, "FPS-%lld ", (long long)fps);
    size_t size = strlen(rate);
    MGI_TRY(mgi_alloc_zero(ctx, size + strlen(prompt) + 1, 1, out));
    memcpy(*out, rate, size);
    strcpy(*out + size, prompt);
    return MGEN_OK;
}
