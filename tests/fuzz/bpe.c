/* SPDX-License-Identifier: MIT
 * The two files of byte pairs. An input is a vocabulary, a NUL and merges, or merges alone for a vocabulary that is
 * fixed; with what is accepted, texts are encoded. */
#include "fuzz.h"

#include "text/bpe.h"
#include "text/unicode.h"

#include <string.h>

static const char *const texts[] = {"",
                                    "the then",
                                    "It's 3 balls",
                                    "caf\xC3\xA9 \xE6\x97\xA5",
                                    "\xff<|endoftext|>",
                                    "thththththththththe",
                                    "\n\t"};

static char *vocab; /* of inputs without a NUL */

/* Each byte, alone and at the end of a word; what the merges below make; the two special ones. */
static char *make_vocab(void)
{
    static const char *const more[] = {"th",   "the</w>",         "ba",           "ll",
                                       "ball", "<|startoftext|>", "<|endoftext|>"};
    char *out = malloc(16384);
    size_t used = 0, id = 0;
    uint32_t moved = 0x100;
    FUZZ_CHECK(out);
    for (int b = 0; b < 256; b++) {
        bool itself = (b >= '!' && b <= '~') || (b >= 0xA1 && b != 0xAD);
        char text[8] = "";
        text[mgi_unicode_put(itself ? (uint32_t)b : moved++, text)] = '\0';
        const char *escape = b == '"' || b == '\\' ? "\\" : "";
        used += (size_t)sprintf(out + used, "%s\"%s%s\":%zu,\"%s%s</w>\":%zu", b ? "," : "{",
                                escape, text, id, escape, text, id + 1);
        id += 2;
    }
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        used += (size_t)sprintf(out + used, ",\"%s\":%zu", more[i], id++);
    sprintf(out + used, "}");
    return out;
}

static const char merges[] = "#version: 0.2\nt h\nth e</w>\nb a\nl l\nba ll\n";

static uint8_t *make_both(size_t *size)
{
    char *out = make_vocab();
    size_t used = strlen(out) + 1;
    memcpy(out + used, merges, sizeof merges - 1);
    *size = used + sizeof merges - 1;
    return (uint8_t *)out;
}

static void open_vocab(mgen_context *ctx)
{
    (void)ctx;
    vocab = make_vocab();
}

static bool read_bpe(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_bpe bpe;
    const char *text = (const char *)data, *end = size ? memchr(data, 0, size) : NULL;
    const char *first = end ? text : vocab, *second = end ? end + 1 : text;
    size_t first_size = end ? (size_t)(end - text) : strlen(vocab);
    (void)path;
    if (!fuzz_ok(ctx, mgi_bpe_read(ctx, first, first_size, second, (size_t)(text + size - second),
                                   &bpe)))
        return false;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        mgi_tokens tokens = {0};
        if (fuzz_must(ctx, mgi_bpe_encode(ctx, &bpe, texts[i], strlen(texts[i]), &tokens)))
            for (size_t k = 0; k < tokens.count; k++)
                FUZZ_CHECK(tokens.ids[k] >= 0 && tokens.ids[k] < bpe.vocab);
        mgi_tokens_free(ctx, &tokens);
    }
    mgi_bpe_finish(ctx, &bpe);
    return true;
}

static const fuzz_seed seeds[] = {{.text = merges}, {.text = ""}, {.make = make_both}};

const fuzz_target fuzz_bpe = {
    .name = "bpe", .size_max = 16384, FUZZ_SEEDS(seeds), .open = open_vocab, .read = read_bpe};
