/* SPDX-License-Identifier: MIT */
#include "text/prompt.h"

#include "core/alloc.h"

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

mgen_status mgi_prompt_quoted(mgen_context *ctx, const char *prompt, char **out)
{
    size_t used = 0;
    MGI_TRY(mgi_alloc_zero(ctx, strlen(prompt) + 1, 1, out)); /* what is left out makes room */
    for (const char *at = prompt; *at;) {
        int kind = mark_at(at);
        const char *text = kind < 0 ? at + 1 : at + strlen(marks[kind].open);
        const char *end = kind < 0 ? NULL : strstr(text, marks[kind].close);
        at = text;
        if (!end)
            continue;
        size_t size = (size_t)(end - text);
        if (size && used)
            (*out)[used++] = '\n';
        memcpy(*out + used, text, size);
        used += size;
        at = end + strlen(marks[kind].close);
    }
    return MGEN_OK;
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
