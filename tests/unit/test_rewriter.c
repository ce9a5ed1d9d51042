/* SPDX-License-Identifier: MIT
 * The prompt rewriter: its files, what it reads, what it writes token by token against all at once, and what may not take a
 * prompt's place. Models that write a chosen text are made by hand: each token has a direction of its own, and the head
 * says which token follows. */
#include "core/alloc.h"
#include "core/philox.h"
#include "kernels/loss/loss.h"
#include "logged.h"
#include "task/rewrite.h"
#include "tensor/device_cuda.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing_memory.h"
#include "foreign_folders.h"
#include "random_values.h"

static failing memory;
/* -- models ------------------------------------------------------------------------------------ */

static mgi_rewriter_config bytes_config(void)
{
    return (mgi_rewriter_config){.text = {.kind = MGI_TEXT_T5_BYTES,
                                          .t5 = {.vocab = 259,
                                                 .dim = 12,
                                                 .layers = 1,
                                                 .heads = 2,
                                                 .head_dim = 4,
                                                 .ff_dim = 16,
                                                 .buckets = 8,
                                                 .max_distance = 20,
                                                 .tokens_max = 64,
                                                 .eps = 1e-6f}},
                                 .decoder = {.t5 = {.vocab = 259,
                                                    .dim = 10,
                                                    .layers = 2,
                                                    .heads = 3,
                                                    .head_dim = 4,
                                                    .ff_dim = 14,
                                                    .buckets = 8,
                                                    .max_distance = 20,
                                                    .tokens_max = 30,
                                                    .eps = 1e-6f},
                                             .told_dim = 12,
                                             .tied = true},
                                 .instruction = "say: "};
}

static void make_random(mgi_rewriter *r, const mgi_rewriter_config *config, uint64_t seed)
{
    OK(mgi_rewriter_init(r, ctx, folder, config));
    OK(mgi_module_random(&r->text.t5.module, seed));
    OK(mgi_module_random(&r->decoder.module, seed + 1));
    randomise(&r->text.t5.module, 0.2f);
    randomise(&r->decoder.module, 0.2f);
}

/* Writes the tokens of `chain`, each of which must be there once, behind the first token; then it goes on from the last. */
static void make_chain(mgi_rewriter *r, mgi_rewriter_config config, const int32_t *chain, int count)
{
    int64_t vocab = config.decoder.t5.vocab;
    config.decoder.t5.dim = vocab;
    config.decoder.t5.tokens_max = 20;
    config.decoder.tied = false;
    OK(mgi_rewriter_init(r, ctx, folder, &config));
    OK(mgi_module_random(&r->text.t5.module, 1));
    for (int64_t k = 0; k < r->decoder.module.count; k++) {
        T *t = r->decoder.module.params[k]->value;
        for (int64_t i = 0; i < t->count; i++)
            mgi_f32(t)[i] = t->rank == 1 ? 1.0f : 0.0f;
    }
    float *own = mgi_f32(r->decoder.embedding->value), *head = mgi_f32(r->decoder.head->value);
    int32_t before = mgi_rewriter_begin(r);
    for (int64_t i = 0; i < vocab; i++)
        own[i * vocab + i] = 1.0f;
    for (int i = 0; i < count; i++) {
        head[chain[i] * vocab + before] = 1.0f;
        before = chain[i];
    }
}

/* A SentencePiece model of few pieces, written as protocol buffers are: a key, a length, what it holds. */
static size_t put(uint8_t *to, uint8_t key, const void *bytes, size_t size)
{
    size_t n = 0;
    to[n++] = key;
    to[n++] = (uint8_t)(size % 128 | 128);
    to[n++] = (uint8_t)(size / 128);
    memcpy(to + n, bytes, size);
    return n + size;
}

enum { PIECES = 48, LONG = 5, LONG_SIZE = 1000, QUOTED = PIECES - LONG - 1, LETTERS = 26 };

/* 'A', 'B', ... as often as it fits. */
static const char *long_text(int which)
{
    static char text[LONG_SIZE + 1];
    memset(text, 'A' + which, LONG_SIZE);
    return text;
}

/* pad, end, unknown; letters a to z; some of them behind a space; a sign; LONG long ones. */
static void write_pieces(const char *name)
{
    static uint8_t file[16384], piece[1200];
    char path[700], text[LONG_SIZE + 1];
    size_t size = 0;
    for (int i = 0; i < PIECES; i++) {
        int letter = i - 3, type = i == 2 ? 2 : i < 2 ? 3 : 1;
        if (i < 3)
            strcpy(text, i == 0 ? "<pad>" : i == 1 ? "</s>" : "<unk>");
        else if (i >= PIECES - LONG)
            strcpy(text, long_text(i - (PIECES - LONG)));
        else if (i == QUOTED)
            strcpy(text, "\xE2\x96\x81\"A1\"");
        else if (letter < LETTERS)
            snprintf(text, sizeof text, "%c", 'a' + letter);
        else
            snprintf(text, sizeof text, "\xE2\x96\x81%c", 'a' + letter - LETTERS);
        size_t n = put(piece, 1 << 3 | 2, text, strlen(text));
        piece[n++] = 2 << 3 | 5;
        memcpy(piece + n, &(float){(float)-i}, sizeof(float));
        n += sizeof(float);
        piece[n++] = 3 << 3;
        piece[n++] = (uint8_t)type;
        size += put(file + size, 1 << 3 | 2, piece, n);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(file, 1, size, f), size);
    fclose(f);
}

static mgi_rewriter_config pieces_config(void)
{
    mgi_rewriter_config c = bytes_config();
    c.text.kind = MGI_TEXT_T5_SENTENCEPIECE;
    strcpy(c.text.files.name[0], "few.model");
    c.text.t5.vocab = c.decoder.t5.vocab = PIECES + 2; /* two that the tokenizer has not */
    return c;
}

static int set_up(void **state)
{
    (void)state;
    if (!begin_foreign(keep_warnings))
        return 1;
    write_pieces("few.model");
    return 0;
}

/* -- files ------------------------------------------------------------------------------------- */

/* Logits of one prompt and a few tokens told, on the rewriter's device. */
static void logits_of(const mgi_rewriter *r, float *out, int64_t count)
{
    mgen_context *on = r->decoder.module.ctx;
    mgi_tokens read;
    mgi_run run;
    OK(mgi_rewriter_read(ctx, r, "a ball", &read));
    int64_t n = (int64_t)read.count;
    uint8_t ones[64];
    mgi_run_init(&run, on, false);
    T *ids = mgi_new(&run, MGK_I32, MGI_DIMS(1, n)), *mask = mgi_new(&run, MGK_U8, MGI_DIMS(1, n)),
      *told = mgi_new(&run, MGK_I32, MGI_DIMS(1, 3));
    assert_true(ids && mask && told);
    memset(ones, 1, sizeof ones);
    mgi_tensor_write(ids, 0, read.ids, n);
    mgi_tensor_write(mask, 0, ones, n);
    mgi_tensor_write(told, 0, (const int32_t[]){mgi_rewriter_begin(r), 7, 9}, 3);
    T *y = mgi_rewriter_logits(&run, r, ids, mask, told);
    if (!y)
        fail_msg("%s", mgen_last_error(on));
    assert_int_equal(y->count, count);
    mgi_tensor_read(y, 0, out, count);
    assert_int_equal(mgi_device_wait(run.dev), MGEN_OK);
    mgi_run_finish(&run);
    mgi_tokens_free(ctx, &read);
}

static void save_and_open(const mgi_rewriter_config *config)
{
    enum { MOST = 3 * 259 };
    float before[MOST], after[MOST];
    int64_t count = 3 * config->decoder.t5.vocab;
    mgi_rewriter r, again;
    uint64_t hash = 0, other = 0;
    make_random(&r, config, 1);
    logits_of(&r, before, count);
    OK(mgi_rewriter_save(&r, folder, "mine", MGI_ST_F32));
    OK(mgi_rewriter_open(ctx, folder, "mine", &again, &hash));
    logits_of(&again, after, count);
    assert_memory_equal(before, after, (size_t)count * sizeof *before);
    assert_string_equal(again.config.instruction, config->instruction);
    assert_int_equal(again.config.decoder.tied, config->decoder.tied);
    assert_int_equal(again.config.decoder.told_dim, config->text.t5.dim);
    mgi_f32(again.decoder.norm->value)[0] += 1.0f;
    OK(mgi_rewriter_save(&again, folder, "other", MGI_ST_BF16));
    mgi_rewriter_finish(&again);
    OK(mgi_rewriter_open(ctx, folder, "other", &again, &other));
    assert_true(hash != other && hash != 0);
    mgi_rewriter_finish(&again);
    mgi_rewriter_finish(&r);
}

static void test_files(void **state)
{
    mgi_rewriter_config c = bytes_config();
    (void)state;
    save_and_open(&c);
    c.decoder.tied = false;
    c.instruction[0] = '\0';
    save_and_open(&c);
    c = pieces_config();
    save_and_open(&c);
}

static void test_bad_config(void **state)
{
#define TEXT(more)                                                                                 \
    "\"text\": {\"kind\": \"t5-bytes\", \"config\": {\"vocab\": 259, \"dim\": 8, \"layers\": 1, "  \
    "\"heads\": 2, \"head_dim\": 4, \"ff_dim\": 8, \"tokens_max\": 9" more "}}"
#define DECODER(more)                                                                              \
    "\"decoder\": {\"dim\": 8, \"layers\": 1, \"heads\": 2, \"head_dim\": 4, \"ff_dim\": 8, "      \
    "\"tokens_max\": 9" more "}"
    static const char *const bad[][2] = {
        {DECODER(""), "\"text\" must be an object"},
        {"\"text\": 1, " DECODER(""), "\"text\" must be an object"},
        {TEXT(""), "\"decoder\" must be an object"},
        {TEXT("") ", \"decoder\": []", "\"decoder\" must be an object"},
        {TEXT("") ", " DECODER("") ", \"more\": 1", "\"more\""},
        {TEXT("") ", " DECODER("") ", \"instruction\": 1", "\"instruction\""},
        {TEXT(", \"more\": 1") ", " DECODER(""), "\"more\""},
        {"\"text\": {\"kind\": \"t5-bytes\", \"more\": 1}, " DECODER(""), "\"text\": "},
        {"\"text\": {\"kind\": \"clip-bpe\", \"config\": {\"vocab\": 9, \"dim\": 8, \"layers\": 1, "
         "\"heads\": 2, \"ff_dim\": 8, \"tokens_max\": 9, \"tokenizer\": {\"vocab\": \"v\", "
         "\"merges\": \"m\"}}}, " DECODER(""),
         "a rewriter's encoder is a T5"},
        {TEXT(", \"buckets\": 6") ", " DECODER(""), "\"text\": \"buckets\" (6)"},
        {TEXT(", \"buckets\": 32, \"max_distance\": 8") ", " DECODER(""), "\"max_distance\" (8)"},
        {TEXT("") ", " DECODER(", \"vocab\": 259"), "\"vocab\""},
        {TEXT("") ", " DECODER(", \"tied\": 1"), "\"tied\""},
        {TEXT("") ", " DECODER(", \"ffn\": \"gelu\""), "\"ffn\""},
        {TEXT("") ", " DECODER(", \"buckets\": 5"), "\"decoder\": \"buckets\" (5)"},
        {TEXT("") ", " DECODER(", \"max_distance\": 16"), "\"max_distance\" (16)"},
        {TEXT("") ", " DECODER(", \"norm_eps\": 0"), "\"norm_eps\""},
    };
    char text[2048], instruction[300];
    mgi_rewriter_config c;
    mgi_json *root;
    (void)state;
    memset(instruction, 'x', sizeof instruction);
    for (int i = -2; i < (int)(sizeof bad / sizeof bad[0]); i++) {
        instruction[i == -2 ? 255 : 256] = '\0'; /* the longest one, and one more */
        if (i < 0)
            snprintf(text, sizeof text, "{" TEXT("") ", " DECODER("") ", \"instruction\": \"%s\"}",
                     instruction);
        else
            snprintf(text, sizeof text, "{%s}", bad[i][0]);
        OK(mgi_json_parse(ctx, "c", text, strlen(text), &root));
        if (i == -2)
            OK(mgi_rewriter_config_read(ctx, root, &c));
        else
            assert_said(mgi_rewriter_config_read(ctx, root, &c), MGEN_E_CORRUPT,
                        i == -1 ? "longer than 255 bytes" : bad[i][1]);
        mgi_json_free(ctx, root);
        instruction[255] = 'x';
    }
    assert_int_equal(c.decoder.t5.vocab, 259); /* of the one that was read */
    assert_int_equal(c.decoder.told_dim, 8);
    assert_int_equal(c.decoder.t5.buckets, 32);
    assert_false(c.decoder.tied);
}

static void test_bad_files(void **state)
{
    static const struct {
        const char *file, *old, *new, *said;
    } bad[] = {
        {"m.json", "\"rewriter\"", "\"editor\"", "\"kind\" is \"editor\", not \"rewriter\""},
        {"m.json", "\"tied\": true", "\"tied\": false", "\"decoder.head.weight\" is missing"},
        {"m.json", "\"tied\": true", "\"tied\": null", "m.json: \"decoder\": \"tied\""},
        {"m.json", "\"layers\": 2", "\"layers\": 1", "names only"},
        {"m.json", "\"layers\": 2", "\"layers\": 3", "\"decoder.layer2.norm1.weight\" is missing"},
        {"m.json", "\"vocab\": 259", "\"vocab\": 258", "another shape"},
        {"m.json", "\"ff_dim\": 14", "\"ff_dim\": 15", "another shape"},
        {"m.json", "\"dim\": 10", "\"dim\": 100000", "\"dim\""},
        {"m.safetensors", "decoder.layer1.cross_out", "decoder.layer1.cross_Out",
         "\"decoder.layer1.cross_out.weight\" is missing"},
        {"m.safetensors", "\"layer0.qkv", "\"layer0.QKV", "\"layer0.qkv.weight\" is missing"},
    };
    mgi_rewriter_config c = bytes_config();
    mgi_rewriter r;
    uint64_t hash;
    (void)state;
    make_random(&r, &c, 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        OK(mgi_rewriter_save(&r, folder, "m", MGI_ST_F32));
        edit(bad[i].file, bad[i].old, bad[i].new);
        mgi_rewriter other;
        assert_said(mgi_rewriter_open(ctx, folder, "m", &other, &hash), MGEN_E_CORRUPT,
                    bad[i].said);
    }
    mgi_rewriter_finish(&r);
    assert_said(mgi_rewriter_open(ctx, folder, "none", &r, &hash), MGEN_E_NOT_FOUND, "none.json");
    c = pieces_config();
    c.text.t5.vocab = PIECES - 1;
    assert_said(mgi_rewriter_init(&r, ctx, folder, &c), MGEN_E_CORRUPT, "the tokenizer needs 48");
    c.decoder.t5.buckets = 5;
    assert_said(mgi_rewriter_init(&r, ctx, folder, &c), MGEN_E_CORRUPT, "\"buckets\" (5)");
}

/* -- reading ----------------------------------------------------------------------------------- */

static void test_read(void **state)
{
    mgi_rewriter_config c = bytes_config();
    mgi_rewriter r;
    mgi_tokens read;
    char prompt[80];
    (void)state;
    make_random(&r, &c, 1);
    OK(mgi_rewriter_read(ctx, &r, "a b", &read));
    static const char want[] = "say: a b";
    assert_int_equal(read.count, sizeof want);
    for (size_t i = 0; want[i]; i++)
        assert_int_equal(read.ids[i], want[i] + 3);
    assert_int_equal(read.ids[read.count - 1], 1);
    mgi_tokens_free(ctx, &read);
    assert_int_equal(mgi_rewriter_begin(&r), 0);
    assert_int_equal(mgi_rewriter_end(&r), 1);
    memset(prompt, 'x', sizeof prompt);
    prompt[64 - 5 - 1] = '\0';
    OK(mgi_rewriter_read(ctx, &r, prompt, &read));
    assert_int_equal(read.count, 64);
    mgi_tokens_free(ctx, &read);
    prompt[64 - 5 - 1] = 'x';
    prompt[64 - 5] = '\0';
    assert_said(mgi_rewriter_read(ctx, &r, prompt, &read), MGEN_E_INVALID, "reads at most 64");
    char *out = NULL;
    assert_said(mgi_rewrite(ctx, &r, prompt, &out), MGEN_E_INVALID, "has 65 tokens");
    assert_null(out);
    mgi_rewriter_finish(&r);
}

/* -- writing ----------------------------------------------------------------------------------- */

/* All that was written so far, again, for each token: the text, or NULL if it does not end. */
static char *write_slowly(const mgi_rewriter *r, const char *prompt)
{
    int64_t most = r->config.decoder.t5.tokens_max, vocab = r->config.decoder.t5.vocab, n = 1;
    int32_t told[64] = {mgi_rewriter_begin(r)};
    bool ended = false;
    char *text = NULL;
    mgi_tokens read;
    OK(mgi_rewriter_read(ctx, r, prompt, &read));
    for (; n <= most && !ended; n++) {
        int64_t se = (int64_t)read.count;
        mgi_run run;
        mgi_run_init(&run, ctx, false);
        T *ids = mgi_new(&run, MGK_I32, MGI_DIMS(1, se)),
          *mask = mgi_new(&run, MGK_U8, MGI_DIMS(1, se)),
          *so_far = mgi_new(&run, MGK_I32, MGI_DIMS(1, n));
        assert_true(ids && mask && so_far);
        memcpy(mgi_data(ids), read.ids, read.count * sizeof *read.ids);
        memset(mgi_data(mask), 1, read.count);
        memcpy(mgi_data(so_far), told, (size_t)n * sizeof *told);
        T *y = mgi_rewriter_logits(&run, r, ids, mask, so_far);
        assert_non_null(y);
        const float *last = mgi_f32(y) + (n - 1) * vocab;
        told[n] = 0;
        for (int32_t i = 1; i < vocab; i++)
            told[n] = last[i] > last[told[n]] ? i : told[n];
        ended = told[n] == mgi_rewriter_end(r);
        mgi_run_finish(&run);
    }
    if (ended)
        OK(mgi_tokenizer_decode(ctx, r->text.tokenizer, told + 1, n - 2, &text));
    mgi_tokens_free(ctx, &read);
    return text;
}

static void test_same_as_slowly(void **state)
{
    static const char *const prompts[] = {"a", "b c", "dog", "abcdefghijk"};
    int ended = 0, letters = 0, unended = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        mgi_rewriter_config c = pieces_config();
        mgi_rewriter r;
        c.decoder.tied = seed % 2;
        c.instruction[0] = '\0';
        make_random(&r, &c, 20 + 2 * seed);
        for (int i = 0; i < 4; i++) {
            char *slow = write_slowly(&r, prompts[i]), *text;
            *logged = '\0';
            OK(mgi_rewrite(ctx, &r, prompts[i], &text));
            bool empty = slow && strspn(slow, " ") == strlen(slow);
            assert_string_equal(text, slow && !empty ? slow : prompts[i]);
            assert_int_equal(*logged != '\0', !slow || empty);
            ended += slow && !empty;
            unended += !slow;
            letters += slow ? (int)strlen(slow) : 0;
            mgi_free(ctx, slow);
            mgi_free(ctx, text);
        }
        mgi_rewriter_finish(&r);
    }
    print_message("%d texts of %d letters end, %d do not\n", ended, letters, unended);
    assert_true(ended > 4 && letters > 4 * ended && unended > 4);
}

/* `warning`: what is said if the text does not take the prompt's place; NULL: it does. */
static void assert_written(const mgi_rewriter *r, const char *prompt, const char *want,
                           const char *warning)
{
    char *text;
    *logged = '\0';
    OK(mgi_rewrite(ctx, r, prompt, &text));
    assert_string_equal(text, warning ? prompt : want);
    if (warning ? !strstr(logged, warning) : *logged)
        fail_msg("'%s' instead of '%s'", logged, warning ? warning : "");
    mgi_free(ctx, text);
}

static void chain_writes(mgi_rewriter_config c, const int32_t *chain, int count, const char *prompt,
                         const char *want, const char *warning)
{
    mgi_rewriter r;
    make_chain(&r, c, chain, count);
    assert_written(&r, prompt, want, warning);
    mgi_rewriter_finish(&r);
}

#define CHAIN(...)                                                                                 \
    (const int32_t[]){__VA_ARGS__}, (int)(sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void test_unfit(void **state)
{
    const mgi_rewriter_config bytes = bytes_config(), pieces = pieces_config();
    enum { END = 1, FIRST = 3, A = 3 /* pieces: the letter a */ };
    (void)state;
    chain_writes(bytes, CHAIN('o' + FIRST, 'k' + FIRST, END), "x", "ok", NULL);
    chain_writes(bytes, CHAIN('o' + FIRST, FIRST, 2, 'k' + FIRST, END), "x", "ok", NULL);
    chain_writes(bytes, CHAIN(END), "x", NULL, "is empty");
    chain_writes(bytes, CHAIN(' ' + FIRST, END), "x", NULL, "is empty");
    chain_writes(bytes, CHAIN('o' + FIRST, 0xC3 + FIRST, END), "x", NULL, "is not UTF-8");
    chain_writes(bytes, CHAIN(0xC3 + FIRST, 0xA9 + FIRST, END), "x", "\xC3\xA9", NULL);
    chain_writes(bytes, CHAIN('o' + FIRST, 'k' + FIRST), "x", NULL, "does not end");
    /* of 20 tokens the end may be the last */
    int32_t chain[20];
    for (int32_t i = 0; i < 20; i++)
        chain[i] = i == 19 ? END : FIRST + 'a' + i;
    chain_writes(bytes, chain, 20, "x", "abcdefghijklmnopqrs", NULL);
    chain[19] = FIRST + 'z';
    chain_writes(bytes, chain, 20, "x", NULL, "does not end");

    static char four[4 * LONG_SIZE + 1];
    for (int i = 0; i < 4 * LONG_SIZE; i++)
        four[i] = (char)('A' + i / LONG_SIZE);
    int32_t first = PIECES - LONG;
    chain_writes(pieces, CHAIN(first, first + 1, first + 2, first + 3, END), "x", four, NULL);
    chain_writes(pieces, CHAIN(first, first + 1, first + 2, first + 3, first + 4, END), "x", NULL,
                 "is longer than prompts may be");

    chain_writes(pieces, CHAIN(A, QUOTED, END), "\"A1\"", "a \"A1\"", NULL);
    chain_writes(pieces, CHAIN(A, QUOTED, END), "x", "a \"A1\"", NULL);
    chain_writes(pieces, CHAIN(A, QUOTED, END),
                 "a \xE2\x80\x9C"
                 "A1\xE2\x80\x9D",
                 "a \"A1\"", NULL);
    chain_writes(pieces, CHAIN(A, QUOTED, END), "\"A1\" and \"A2\"", NULL, "lacks a text");
    chain_writes(pieces, CHAIN(A, QUOTED, END), "\"A\"", NULL, "lacks a text");
    chain_writes(pieces, CHAIN(A, END), "\"A1\"", NULL, "lacks a text");
    chain_writes(pieces, CHAIN(A, END), "\"\" and \"open", "a", NULL);
    chain_writes(pieces, CHAIN(A, PIECES, PIECES + 1, A + 1, END), "x", "ab", NULL);
}

static void test_not_finite(void **state)
{
    mgi_rewriter_config c = bytes_config();
    mgi_rewriter r;
    char *text = NULL;
    (void)state;
    make_random(&r, &c, 1);
    mgi_f32(r.decoder.norm->value)[3] = INFINITY;
    assert_said(mgi_rewrite(ctx, &r, "x", &text), MGEN_E_NUMERIC, "damaged");
    mgi_f32(r.decoder.norm->value)[3] = NAN;
    assert_said(mgi_rewrite(ctx, &r, "x", &text), MGEN_E_NUMERIC, "damaged");
    assert_null(text);
    mgi_rewriter_finish(&r);
}

/* -- on a GPU ---------------------------------------------------------------------------------- */

/* On a GPU, or one that the host plays: the CPU's logits, to other roundings, and its texts. */
static void test_gpu(void **state)
{
    enum { COUNT = 3 * (PIECES + 2) };
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *gpu;
    int written = 0;
    (void)state;
    if (mgi_cuda_count(NULL, 0) == 0)
        skip();
    params.threads = 1;
    params.device = "cuda:0";
    assert_int_equal(mgen_context_create(&params, &gpu), MGEN_OK);
    for (uint64_t seed = 0; seed < 40; seed++) {
        float here[COUNT], there[COUNT];
        mgi_rewriter_config c = pieces_config();
        mgi_rewriter r, other;
        uint64_t hash;
        char *want, *text;
        c.decoder.tied = seed % 2;
        make_random(&r, &c, 20 + 2 * seed);
        *logged = '\0';
        OK(mgi_rewrite(ctx, &r, "b c", &want));
        if (!*logged || seed == 0) { /* else the text is the prompt */
            written += !*logged;
            OK(mgi_rewriter_save(&r, folder, "there", MGI_ST_F32));
            assert_int_equal(mgi_rewriter_open(gpu, folder, "there", &other, &hash), MGEN_OK);
            logits_of(&r, here, COUNT);
            logits_of(&other, there, COUNT);
            for (int i = 0; i < COUNT; i++)
                if (!(fabsf(here[i] - there[i]) < 1e-4f))
                    fail_msg("logit %d is %g, on the CPU %g", i, (double)there[i], (double)here[i]);
            assert_int_equal(mgi_rewrite(gpu, &other, "b c", &text), MGEN_OK);
            assert_string_equal(text, want);
            mgi_free(gpu, text);
            mgi_rewriter_finish(&other);
        }
        mgi_free(ctx, want);
        mgi_rewriter_finish(&r);
    }
    print_message("%d texts\n", written);
    assert_true(written > 1);
    mgen_context_destroy(gpu);
}

/* -- training, memory, the meta device --------------------------------------------------------- */

/* One step's loss and its gradients, on any device. */
static void train_once(mgen_context *on, mgi_rewriter *r)
{
    mgi_run run;
    mgi_run_init(&run, on, true);
    T *ids = mgi_new(&run, MGK_I32, MGI_DIMS(2, 7)), *mask = mgi_new(&run, MGK_U8, MGI_DIMS(2, 7)),
      *told = mgi_new(&run, MGK_I32, MGI_DIMS(2, 5)),
      *target = mgi_new(&run, MGK_F32, MGI_DIMS(2, 5, r->config.decoder.t5.vocab));
    assert_true(ids && mask && told && target);
    int32_t values[14];
    uint8_t counts[14];
    for (int i = 0; i < 14; i++) {
        values[i] = 3 + 5 * i;
        counts[i] = i != 6;
    }
    mgi_tensor_write(ids, 0, values, 14);
    mgi_tensor_write(mask, 0, counts, 14);
    mgi_tensor_write(told, 0, values, 10);
    mgi_fill(&run, target, 0.5f);
    T *y = mgi_rewriter_logits(&run, r, ids, mask, told);
    T *loss = mgi_loss(&run, MGK_LOSS_MSE, 1.0f, y, target);
    assert_non_null(loss);
    assert_int_equal(mgi_backward(&run, loss), MGEN_OK);
    mgi_run_finish(&run);
}

/* The loss reaches every parameter of both networks. */
static void test_gradients(void **state)
{
    mgi_rewriter_config c = bytes_config();
    mgi_rewriter r;
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        c.decoder.tied = tied;
        make_random(&r, &c, 1);
        mgi_module *const modules[] = {&r.text.t5.module, &r.decoder.module};
        for (int m = 0; m < 2; m++)
            OK(mgi_module_train(modules[m]));
        train_once(ctx, &r);
        for (int m = 0; m < 2; m++)
            for (int64_t k = 0; k < modules[m]->count; k++) {
                const mgi_param *p = modules[m]->params[k];
                const mgi_tensor *g = p->value->var->grad;
                double sum = 0.0;
                for (int64_t i = 0; g && i < g->count; i++)
                    sum += fabs((double)mgi_f32(g)[i]);
                if (!(sum > 1e-4 && isfinite(sum)))
                    fail_msg("%s: gradients of %g in all", p->name, sum);
            }
        mgi_rewriter_finish(&r);
    }
}

/* Training and rewriting, walked through; a text never ends there. */
static void test_meta(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgi_rewriter_config c = bytes_config();
    mgen_context *shapes;
    mgi_rewriter r;
    char *text;
    (void)state;
    params.threads = 1;
    assert_int_equal(mgen_context_create(&params, &shapes), MGEN_OK);
    mgi_device_make_meta(shapes->device);
    assert_int_equal(mgi_rewriter_init(&r, shapes, folder, &c), MGEN_OK);
    int64_t before = shapes->device->counts.now[MGI_MEM_ACTIVATION];
    assert_int_equal(mgi_rewrite(shapes, &r, "a", &text), MGEN_OK);
    assert_string_equal(text, "a");
    mgi_free(shapes, text);
    assert_int_equal(shapes->device->counts.now[MGI_MEM_ACTIVATION], before);
    assert_int_equal(mgi_module_train(&r.text.t5.module), MGEN_OK);
    assert_int_equal(mgi_module_train(&r.decoder.module), MGEN_OK);
    train_once(shapes, &r);
    assert_int_equal(shapes->device->counts.now[MGI_MEM_ACTIVATION], before);
    mgi_rewriter_finish(&r);
    mgen_context_destroy(shapes);
}

/* Opened and used with memory that fails from call k on, or at call k only. */
static mgen_status open_and_rewrite(int fail_at, bool alone, const char *name)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *own;
    mgi_rewriter r;
    uint64_t hash;
    char *text;
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
    memory = (failing){.alone = alone};
    assert_int_equal(mgen_context_create(&params, &own), MGEN_OK);
    memory.calls = 0;
    memory.fail_at = fail_at;
    mgen_status status = mgi_rewriter_open(own, folder, name, &r, &hash);
    if (status == MGEN_OK) {
        status = mgi_rewrite(own, &r, "a", &text);
        if (status == MGEN_OK)
            mgi_free(own, text);
        mgi_rewriter_finish(&r);
    }
    memory.fail_at = 0;
    mgen_context_destroy(own);
    assert_int_equal(memory.blocks, 0);
    return status;
}

static void test_no_memory(void **state)
{
    mgi_rewriter_config c = pieces_config();
    mgi_rewriter r;
    (void)state;
    make_chain(&r, c, CHAIN(3, 4, 1));
    OK(mgi_rewriter_save(&r, folder, "poor", MGI_ST_F32));
    mgi_rewriter_finish(&r);
    for (int alone = 0; alone < 2; alone++) {
        int failures = 0;
        for (int k = 1;; k++) {
            mgen_status status = open_and_rewrite(k, alone, "poor");
            if (status == MGEN_OK && memory.calls < k)
                break;
            if (status != MGEN_OK)
                assert_int_equal(status, MGEN_E_NO_MEMORY);
            failures += status != MGEN_OK;
        }
        print_message("%d failures\n", failures);
        assert_true(failures > 40);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_bad_config),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_same_as_slowly),
        cmocka_unit_test(test_unfit),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_gpu),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, end_foreign);
}
