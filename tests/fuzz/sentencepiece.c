/* SPDX-License-Identifier: MIT
 * SentencePiece models: with what is accepted, texts are cut into pieces. */
#include "fuzz.h"

#include "core/alloc.h"
#include "text/sentencepiece.h"

#include <string.h>

static const char *const texts[] = {"",
                                    "a red ball",
                                    "  two  spaces ",
                                    "caf\xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC",
                                    "\xff\xc0\xaf",
                                    "\xEF\xBC\xA1\xE2\x91\xA0\xE2\x96\x81x",
                                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

/* Every piece, and ids that there are not. */
static void speak_all(mgen_context *ctx, const mgi_sp *sp)
{
    mgi_tokens tokens = {0};
    char *text;
    size_t most = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < sp->count + 2; i++)
        ok = fuzz_ok(ctx, mgi_tokens_push(ctx, &tokens, (int32_t)i - 1));
    for (size_t i = 0; i < sp->count; i++)
        most += sp->piece[i].text.size;
    if (ok && fuzz_ok(ctx, mgi_sp_decode(ctx, sp, tokens.ids, (int64_t)tokens.count, &text))) {
        FUZZ_CHECK(strlen(text) <= most);
        mgi_free(ctx, text);
    }
    mgi_tokens_free(ctx, &tokens);
}

static bool read_model(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_sp sp;
    (void)path;
    if (!fuzz_ok(ctx, mgi_sp_read(ctx, "input", data, size, &sp)))
        return false;
    FUZZ_CHECK(sp.count > 0 && sp.sorted_count <= sp.count);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        mgi_tokens tokens = {0};
        if (fuzz_ok(ctx, mgi_sp_encode(ctx, &sp, texts[i], strlen(texts[i]), &tokens)))
            for (size_t k = 0; k < tokens.count; k++)
                FUZZ_CHECK(tokens.ids[k] >= 0 && (size_t)tokens.ids[k] < sp.count);
        mgi_tokens_free(ctx, &tokens);
    }
    speak_all(ctx, &sp);
    mgi_sp_finish(ctx, &sp);
    return true;
}

/* "?" unknown; "a", "re", U+2581 "ball"; "red" by the user; "</s>"; a trainer; a normaliser without a table. */
static uint8_t *make_small(size_t *size)
{
    static const char model[] = "\x0a\x05\x0a\x01?\x18\x02"
                                "\x0a\x08\x0a\x01"
                                "a\x15\x00\x00\x80\xbf"
                                "\x0a\x09\x0a\x02re\x15\x00\x00\x00\xc0"
                                "\x0a\x0e\x0a\x07\xE2\x96\x81"
                                "ball\x15\x00\x00\x40\xc0"
                                "\x0a\x07\x0a\x03red\x18\x04"
                                "\x0a\x08\x0a\x04</s>\x18\x03"
                                "\x12\x02\x18\x01"
                                "\x1a\x06\x18\x01\x20\x01\x28\x01";
    *size = sizeof model - 1;
    return (uint8_t *)fuzz_text((const uint8_t *)model, *size);
}

static const fuzz_seed seeds[] = {
    {.make = make_small},
    {.file = "tests/unit/text/nfkc.model"},
    {.file = "tests/unit/text/identity.model"},
};

const fuzz_target fuzz_sentencepiece = {
    .name = "sentencepiece",
    .size_max = 16384,
    .failures = {MGEN_E_UNSUPPORTED},
    FUZZ_SEEDS(seeds),
    .read = read_model,
};
