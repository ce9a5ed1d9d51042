/* SPDX-License-Identifier: MIT
 * Prompts: any bytes up to a NUL, through all that a request does with its text. */
#include "fuzz.h"

#include "core/alloc.h"
#include "text/byte_tokenizer.h"
#include "text/edit_task.h"
#include "text/prompt.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

#include <string.h>

static mgi_tokenizer tokenizers[3];

static void open_tokenizers(mgen_context *ctx)
{
    static const mgi_tokenizer_files files[3] = {
        {{""}}, {{"nfkc.model"}}, {{"clip_vocab.json", "clip_merges.txt"}}};
    const char *source = getenv("MOVIEGEN_SOURCE");
    char dir[4096];
    snprintf(dir, sizeof dir, "%s/tests/unit/text", source ? source : ".");
    for (int i = 0; i < 3; i++)
        FUZZ_CHECK(mgi_tokenizer_open(ctx, i, dir, &files[i], &tokenizers[i]) == MGEN_OK);
}

static void check_quoted(mgen_context *ctx, const char *text)
{
    char *quoted, *rated;
    if (fuzz_must(ctx, mgi_prompt_quoted(ctx, text, &quoted))) {
        size_t bad;
        FUZZ_CHECK(strlen(quoted) <= strlen(text));
        FUZZ_CHECK(!mgi_utf8_valid(text, strlen(text), &bad) ||
                   mgi_utf8_valid(quoted, strlen(quoted), &bad));
        mgi_free(ctx, quoted);
    }
    if (fuzz_must(ctx, mgi_prompt_at_rate(ctx, text, 24, &rated))) {
        size_t head = strlen(rated) - strlen(text);
        FUZZ_CHECK(!strcmp(rated + head, text) && (!*text || !strncmp(rated, "FPS-", 4)));
        mgi_free(ctx, rated);
    }
}

/* The normal form of a normal form is itself. */
static void check_unicode(mgen_context *ctx, const char *text, size_t size)
{
    uint32_t *form, *again;
    size_t count, count_again, used = 0, bad = 0;
    bool valid = mgi_utf8_valid(text, size, &bad);
    FUZZ_CHECK(valid || bad < size);
    if (!fuzz_must(ctx, mgi_unicode_nfc(ctx, text, size, &form, &count)))
        return;
    char *written = malloc(4 * count + 1);
    FUZZ_CHECK(written);
    for (size_t i = 0; i < count; i++)
        used += mgi_unicode_put(form[i], written + used);
    FUZZ_CHECK(mgi_utf8_valid(written, used, &bad));
    if (fuzz_must(ctx, mgi_unicode_nfc(ctx, written, used, &again, &count_again))) {
        FUZZ_CHECK(count == count_again && !memcmp(form, again, count * sizeof *form));
        mgi_free(ctx, again);
    }
    free(written);
    mgi_free(ctx, form);
}

/* An instruction is the text, or what stands in it behind the name of a task. */
static void check_instruction(const char *text, size_t length)
{
    const char *instruction;
    const int task = mgi_edit_task_read(text, &instruction);
    FUZZ_CHECK(task >= 0 && task < MGI_EDIT_TEXT_TO_VIDEO);
    FUZZ_CHECK(instruction >= text && instruction <= text + length);
    FUZZ_CHECK(instruction == text || memchr(text, ':', (size_t)(instruction - text)));
}

static bool read_prompt(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    char *text = fuzz_text(data, size);
    size_t length = strlen(text);
    (void)path;
    check_quoted(ctx, text);
    check_unicode(ctx, text, length);
    check_instruction(text, length);
    for (int i = 0; i < 3; i++) {
        mgi_tokens tokens = {0};
        if (fuzz_must(ctx, mgi_tokenizer_encode(ctx, &tokenizers[i], text, &tokens)))
            for (size_t k = 0; k < tokens.count; k++)
                FUZZ_CHECK(tokens.ids[k] >= 0 && tokens.ids[k] < tokenizers[i].vocab);
        mgi_tokens_free(ctx, &tokens);
    }
    free(text);
    return true;
}

static const fuzz_seed seeds[] = {
    {.text = ""},
    {.text = "a red ball rolls over a table"},
    {.text = "style:  make it a \"pencil\" drawing: grey"},
    {.text = "a sign that says \"open\" and \xE2\x80\x9Cnow\xE2\x80\x9D, it's 3 o'clock"},
    {.text =
         "FPS-16 \xE6\x97\xA5\xE6\x9C\xAC e\xCC\x81\xCC\xA3 \xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8"
         " \xF0\x9F\x98\x80 \xEF\xBC\xA1"},
};

const fuzz_target fuzz_prompt = {.name = "prompt",
                                 .size_max = 2048,
                                 FUZZ_SEEDS(seeds),
                                 .open = open_tokenizers,
                                 .read = read_prompt};
