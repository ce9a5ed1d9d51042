/* SPDX-License-Identifier: MIT
 * SentencePiece: the ids of spm_encode, the rules of the file, files that are damaged.
 *
 * text/make_sentencepiece.py made the models and asked spm_encode (0.1.97) for the ids. */
#include "text/fixture.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"

static const char *const models[] = {"nfkc", "identity"};

static mgi_file open_model(const char *name)
{
    char file[64];
    snprintf(file, sizeof file, "%s.model", name);
    return open_fixture(file);
}

static mgen_status read_fixture(const char *name, mgi_sp *sp)
{
    mgi_file file = open_fixture(name);
    mgen_status status = mgi_sp_read(ctx, name, file.data, file.size, sp);
    mgi_file_close(ctx, &file);
    return status;
}

static void test_ids(void **state)
{
    (void)state;
    mgi_json *root = open_expected("sentencepiece.json");
    for (int m = 0; m < 2; m++) {
        char file[64];
        mgi_sp sp;
        snprintf(file, sizeof file, "%s.model", models[m]);
        assert_int_equal(read_fixture(file, &sp), MGEN_OK);
        for (const mgi_json *item = root->child; item; item = item->next) {
            const mgi_json *text = mgi_json_find(item, "text");
            mgi_tokens tokens = {0};
            assert_int_equal(mgi_sp_encode(ctx, &sp, text->s, text->s_len, &tokens), MGEN_OK);
            assert_ids(item, models[m], &tokens);
            mgi_tokens_free(ctx, &tokens);
        }
        mgi_sp_finish(ctx, &sp);
    }
    mgi_json_free(ctx, root);
}

static void test_symbols_and_rows(void **state)
{
    (void)state;
    mgi_sp sp;
    mgi_tokens tokens = {0};
    int32_t ids[6];
    uint8_t mask[6];
    assert_int_equal(read_fixture("nfkc.model", &sp), MGEN_OK);
    assert_int_equal(sp.start, -1);
    assert_int_equal(sp.end, 1);
    assert_int_equal(sp.pad, 0);
    assert_int_equal(sp.unknown, 2);
    assert_int_equal(mgi_sp_encode(ctx, &sp, "a red", 5, &tokens), MGEN_OK);
    size_t n = tokens.count;
    assert_true(n >= 2 && n < 5);
    mgi_tokens_frame frame = {sp.start, sp.end, sp.pad};
    assert_int_equal(mgi_tokens_row(&tokens, frame, 6, ids, mask), n + 1);
    assert_int_equal(ids[0], tokens.ids[0]);
    assert_int_equal(ids[n], 1);
    assert_int_equal(ids[5], 0);
    assert_true(mask[n] == 1 && (n == 5 || mask[n + 1] == 0));
    assert_int_equal(mgi_tokens_row(&tokens, frame, 2, ids, mask), 2); /* cut */
    assert_int_equal(ids[0], tokens.ids[0]);
    assert_int_equal(ids[1], 1);
    assert_int_equal(mgi_tokens_row(&tokens, (mgi_tokens_frame){7, 8, -1}, 1, ids, mask), 1);
    assert_int_equal(ids[0], 7);
    mgi_tokens_free(ctx, &tokens);
    mgi_sp_finish(ctx, &sp);
}

/* Bytes that are no UTF-8 are U+FFFD, each by itself. */
static void test_not_utf8(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"a\xff", "a\xEF\xBF\xBD"},
        {"\xc0\xaf", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xed\xa0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"ball\xe6\x97", "ball\xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    for (int m = 0; m < 2; m++) {
        mgi_file file = open_model(models[m]);
        mgi_sp sp;
        assert_int_equal(mgi_sp_read(ctx, "memory", file.data, file.size, &sp), MGEN_OK);
        for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
            mgi_tokens a = {0}, b = {0};
            assert_int_equal(mgi_sp_encode(ctx, &sp, pairs[i][0], strlen(pairs[i][0]), &a), 0);
            assert_int_equal(mgi_sp_encode(ctx, &sp, pairs[i][1], strlen(pairs[i][1]), &b), 0);
            assert_int_equal(a.count, b.count);
            assert_memory_equal(a.ids, b.ids, a.count * sizeof *a.ids);
            mgi_tokens_free(ctx, &a);
            mgi_tokens_free(ctx, &b);
        }
        mgi_sp_finish(ctx, &sp);
        mgi_file_close(ctx, &file);
    }
}

/* The way back leads to the same ids, unless something was unknown, a byte of 0 or U+2581; to the text, where nothing is normalised. */
static void test_there_and_back(void **state)
{
    (void)state;
    mgi_json *root = open_expected("sentencepiece.json");
    int same = 0, exact = 0;
    for (int m = 0; m < 2; m++) {
        char file[64], *text;
        mgi_sp sp;
        snprintf(file, sizeof file, "%s.model", models[m]);
        assert_int_equal(read_fixture(file, &sp), MGEN_OK);
        for (const mgi_json *item = root->child; item; item = item->next) {
            const mgi_json *from = mgi_json_find(item, "text");
            mgi_tokens tokens = {0}, again = {0};
            bool lost = strstr(from->s, "\xE2\x96\x81"); /* no longer told from a space */
            assert_int_equal(mgi_sp_encode(ctx, &sp, from->s, from->s_len, &tokens), MGEN_OK);
            for (size_t i = 0; i < tokens.count; i++)
                lost = lost || tokens.ids[i] == sp.unknown ||
                       (sp.byte_fallback && tokens.ids[i] == sp.byte[0]);
            assert_int_equal(mgi_sp_decode(ctx, &sp, tokens.ids, (int64_t)tokens.count, &text),
                             MGEN_OK);
            assert_int_equal(mgi_sp_encode(ctx, &sp, text, strlen(text), &again), MGEN_OK);
            if (!lost &&
                (tokens.count != again.count ||
                 (tokens.count && memcmp(tokens.ids, again.ids, tokens.count * sizeof *again.ids))))
                fail_msg("%s: '%s' becomes '%s'", models[m], from->s, text);
            same += !lost;
            exact += !strcmp(text, from->s);
            mgi_free(ctx, text);
            mgi_tokens_free(ctx, &tokens);
            mgi_tokens_free(ctx, &again);
        }
        mgi_sp_finish(ctx, &sp);
    }
    print_message("%d the same ids, %d to the letter\n", same, exact);
    assert_true(same > 40 && exact > 20);
    mgi_json_free(ctx, root);
}

/* Texts of ids as sentencepiece (0.2.3) decodes them, but for what is unknown (" \u2047 " there) and bytes that are no
 * UTF-8 (U+FFFD there). */
static void test_decode(void **state)
{
    enum { SPACE = 260, PERCENT = 0x25 + 3, AND, FIELD = 301 /* U+2581 "field" */ };
    static const struct {
        int32_t ids[8];
        int count;
        const char *text;
    } cases[] = {
        {{0}, 0, ""},
        {{SPACE, SPACE, SPACE, PERCENT}, 4, "%"},
        {{PERCENT, SPACE, SPACE, AND}, 4, "%  &"},
        {{1, SPACE, PERCENT, 0, AND, 1}, 6, "%&"},
        {{2, PERCENT, 2, AND}, 4, "%&"},
        {{0xC3 + 3, 0xA9 + 3}, 2, "\xC3\xA9"},
        {{0xC3 + 3, PERCENT}, 2, "\xC3%"},
        {{0xE2 + 3, 0x96 + 3, 0x81 + 3, 'A' + 3},
         4,
         "\xE2\x96\x81"
         "A"},
        {{3, PERCENT, 3}, 3, "%"},
        {{FIELD, FIELD}, 2, "field field"},
        {{-1, 440, PERCENT, INT32_MAX, INT32_MIN, 441}, 6, "%"},
    };
    char *text;
    mgi_sp sp;
    (void)state;
    assert_int_equal(read_fixture("nfkc.model", &sp), MGEN_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(mgi_sp_decode(ctx, &sp, cases[i].ids, cases[i].count, &text), MGEN_OK);
        assert_string_equal(text, cases[i].text);
        mgi_free(ctx, text);
    }
    sp.space_last = true; /* texts of such models have their space behind */
    const int32_t ids[] = {PERCENT, SPACE, AND, SPACE};
    assert_int_equal(mgi_sp_decode(ctx, &sp, ids, 4, &text), MGEN_OK);
    assert_string_equal(text, "% &");
    mgi_free(ctx, text);
    mgi_sp_finish(ctx, &sp);
}

/* ByT5's: every byte but 0 and back, and ids that are none; byte pairs have no way back. */
static void test_decode_bytes(void **state)
{
    mgi_tokenizer t = {.kind = MGI_TOKENIZER_BYTES};
    char every[256], *text;
    mgi_tokens tokens = {0};
    (void)state;
    for (int i = 0; i < 256; i++)
        every[i] = (char)(i + 1);
    assert_int_equal(mgi_tokenizer_encode(ctx, &t, every, &tokens), MGEN_OK);
    assert_int_equal(tokens.count, 255);
    assert_int_equal(mgi_tokenizer_decode(ctx, &t, tokens.ids, 255, &text), MGEN_OK);
    assert_string_equal(text, every);
    mgi_free(ctx, text);
    mgi_tokens_free(ctx, &tokens);
    const int32_t ids[] = {0, 'a' + 3, -1, 1, 2, 3, 259, 'b' + 3, 383, INT32_MAX, INT32_MIN};
    assert_int_equal(mgi_tokenizer_decode(ctx, &t, ids, 11, &text), MGEN_OK);
    assert_string_equal(text, "ab");
    mgi_free(ctx, text);
    assert_int_equal(mgi_tokenizer_decode(ctx, &t, ids, 0, &text), MGEN_OK);
    assert_string_equal(text, "");
    mgi_free(ctx, text);
    t.kind = MGI_TOKENIZER_BPE;
    assert_int_equal(mgi_tokenizer_decode(ctx, &t, ids, 1, &text), MGEN_E_UNSUPPORTED);
    assert_non_null(strstr(ctx->error_text, "byte pairs"));
}

static void test_limits(void **state)
{
    (void)state;
    mgi_sp sp;
    mgi_tokens tokens = {0};
    char *text = test_malloc(MGI_SP_TEXT_MAX + 1);
    memset(text, 'a', MGI_SP_TEXT_MAX + 1);
    assert_int_equal(read_fixture("nfkc.model", &sp), MGEN_OK);
    assert_int_equal(mgi_sp_encode(ctx, &sp, text, MGI_SP_TEXT_MAX + 1, &tokens), MGEN_E_LIMIT);
    assert_int_equal(mgi_sp_encode(ctx, &sp, text, MGI_SP_TEXT_MAX, &tokens), MGEN_E_LIMIT);
    assert_int_equal(tokens.count, 0);
    assert_int_equal(mgi_sp_encode(ctx, &sp, text, MGI_SP_TEXT_MAX - 3, &tokens), MGEN_OK);
    assert_true(tokens.count > 1000);
    test_free(text);
    mgi_tokens_free(ctx, &tokens);
    mgi_sp_finish(ctx, &sp);
}

/* -- bad files -------------------------------------------------------------------------------------- */

#define UNKNOWN "\x0a\x05\x0a\x01?\x18\x02"
#define PIECE_A                                                                                    \
    "\x0a\x08\x0a\x01"                                                                             \
    "a\x15\x00\x00\x80\xbf"

typedef struct bad {
    const char *data;
    size_t size;
    mgen_status code;
    const char *say;
} bad;
#define BAD(text, code, say)                                                                       \
    {                                                                                              \
        text, sizeof(text) - 1, code, say                                                          \
    }

static const bad bad_files[] = {
    BAD("", MGEN_E_CORRUPT, "0 pieces"),
    BAD(UNKNOWN PIECE_A, MGEN_OK, ""),
    BAD(UNKNOWN PIECE_A "\x0a", MGEN_E_CORRUPT, "cut off"),
    BAD(UNKNOWN PIECE_A "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", MGEN_E_CORRUPT, "cut off"),
    BAD(UNKNOWN "\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", MGEN_E_CORRUPT, "64 bits"),
    BAD(UNKNOWN "\x02\x00", MGEN_E_CORRUPT, "number outside"),
    BAD(UNKNOWN "\x23", MGEN_E_CORRUPT, "wire type 3"),
    BAD(UNKNOWN "\x10\x00", MGEN_E_CORRUPT, "instead of 2"),
    BAD(UNKNOWN "\x21\x00\x00\x00", MGEN_E_CORRUPT, "cut off"),
    BAD(UNKNOWN "\x0a\x00", MGEN_E_CORRUPT, "piece 1: a piece is empty"),
    BAD(UNKNOWN "\x0a\x03\x0a\x01\xff", MGEN_E_CORRUPT, "not UTF-8"),
    BAD(UNKNOWN "\x0a\x05\x0a\x01z\x18\x07", MGEN_E_CORRUPT, "type of piece"),
    BAD(UNKNOWN "\x0a\x08\x0a\x01z\x15\x00\x00\xc0\x7f", MGEN_E_CORRUPT, "not finite"),
    BAD(UNKNOWN "\x0a\x05\x0a\x01z\x10\x00", MGEN_E_CORRUPT, "wire type 0 instead of 5"),
    BAD(UNKNOWN UNKNOWN, MGEN_E_CORRUPT, "both the unknown"),
    BAD(UNKNOWN PIECE_A PIECE_A, MGEN_E_CORRUPT, "pieces 1 and 2 are the same"),
    BAD(PIECE_A, MGEN_E_CORRUPT, "no piece is the unknown"),
    BAD(UNKNOWN "\x0a\x0a\x0a\x06<0xE4>\x18\x06", MGEN_E_CORRUPT, "in the wrong way"),
    BAD(UNKNOWN "\x12\x03\x98\x02\x01", MGEN_E_CORRUPT, "no piece stands for the byte 0x00"),
    BAD(UNKNOWN "\x12\x02\x18\x02", MGEN_E_UNSUPPORTED, "type 2"),
    BAD(UNKNOWN "\x12\x03\x18\x80\x02", MGEN_E_UNSUPPORTED, "type 256"),
    BAD(UNKNOWN "\x1a\x05\x12\x03"
                "abc",
        MGEN_E_CORRUPT, "cut off"),
    BAD(UNKNOWN "\x1a\x0a\x12\x08\x08\x00\x00\x00\x00\x00\x00\x00", MGEN_E_CORRUPT,
        "trie of 8 bytes"),
    BAD(UNKNOWN "\x1a\x0b\x12\x09\x04\x00\x00\x00\x00\x00\x00\x00x", MGEN_E_CORRUPT, "last NUL"),
    BAD(UNKNOWN "\x1a\x0b\x12\x09\x03\x00\x00\x00\x00\x00\x00\x00\x00", MGEN_E_CORRUPT,
        "trie of 3 bytes"),
    BAD(UNKNOWN "\x1a\x0b\x12\x09\x04\x00\x00\x00\x00\x00\x00\x00\x00", MGEN_OK, ""),
};

static void test_bad_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        const bad *b = &bad_files[i];
        mgi_sp sp;
        mgen_status status = mgi_sp_read(ctx, "bad.model", (const uint8_t *)b->data, b->size, &sp);
        if (status != b->code)
            fail_msg("file %zu: %s instead of %s (%s)", i, mgen_status_name(status),
                     mgen_status_name(b->code), ctx->error_text);
        if (status != MGEN_OK) {
            if (!strstr(ctx->error_text, b->say) || !strstr(ctx->error_text, "bad.model"))
                fail_msg("file %zu: '%s' does not say '%s'", i, ctx->error_text, b->say);
            assert_null(sp.file);
        }
        mgi_sp_finish(ctx, &sp);
        assert_int_equal(ctx->heap->now, empty_bytes);
    }
    mgi_sp sp; /* by its size alone */
    assert_int_equal(mgi_sp_read(ctx, "bad.model", (const uint8_t *)"", MGI_SP_FILE_MAX + 1, &sp),
                     MGEN_E_CORRUPT);
    assert_non_null(strstr(ctx->error_text, "is larger than"));
}

/* A trie whose first step leads out of it, and one whose value lies outside of the texts or inside of one. */
static void test_bad_tries(void **state)
{
    (void)state;
    static const struct {
        uint32_t unit0, unit1, value;
        mgen_status status;
    } tries[] = {
        {0x1000u << 10, 0, 0, MGEN_E_CORRUPT},
        {0, 'a' | 0x100 | (uint32_t)('a' ^ 'b') << 10, 0x80000000u, MGEN_OK},
        {0, 'a' | 0x100 | (uint32_t)('a' ^ 'b') << 10, 0x80000001u, MGEN_E_CORRUPT},
        {0, 'a' | 0x100 | (uint32_t)('a' ^ 'b') << 10, 0x80000003u, MGEN_OK},
        {0, 'a' | 0x100 | (uint32_t)('a' ^ 'b') << 10, 0x80000004u, MGEN_E_CORRUPT},
        {0, 'a' | 0x100 | (uint32_t)('a' ^ 'b') << 10, 0xFFFFFFFFu, MGEN_E_CORRUPT},
        {0, 'a' | 0x100 | 0x1000u << 10, 0, MGEN_E_CORRUPT},
    };
    enum { UNITS = 100, TABLE = 4 + 4 * UNITS + 4 };
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        uint8_t file[8 + 6 + TABLE] = UNKNOWN "\x1a\x9b\x03\x12\x98\x03";
        uint32_t units[1 + UNITS] = {4 * UNITS};
        mgi_sp sp;
        mgi_tokens tokens = {0};
        _Static_assert(TABLE == 0x198, "the two lengths above");
        units[1] = tries[i].unit0;
        units[1 + 'a'] = tries[i].unit1;
        units[1 + 'b'] = tries[i].value;
        memcpy(file + 13, units, sizeof units);
        memcpy(file + 13 + sizeof units, "xy\0", 4);
        assert_int_equal(mgi_sp_read(ctx, "trie", file, 13 + TABLE, &sp), MGEN_OK);
        mgen_status status = mgi_sp_encode(ctx, &sp, "a", 1, &tokens);
        if (status != tries[i].status)
            fail_msg("trie %zu: %s", i, mgen_status_name(status));
        mgi_tokens_free(ctx, &tokens);
        mgi_sp_finish(ctx, &sp);
    }
}

/* Read and, if it can be read, use a file that may be damaged. */
static void try_file(const uint8_t *data, size_t size, int64_t counts[3])
{
    static const char text[] =
        "a red  ball \xff e\xcc\x81 \xef\xac\x81 <fps> \xe6\x97\xa5\xe6\x9c\xac "
        "\xf0\x9f\x8e\xac\xef\xbd\x81";
    mgi_sp sp;
    mgi_tokens tokens = {0};
    mgen_status status = mgi_sp_read(ctx, "damaged", data, size, &sp);
    if (status == MGEN_OK)
        status = mgi_sp_encode(ctx, &sp, text, sizeof text - 1, &tokens);
    for (size_t i = 0; i < tokens.count; i++)
        assert_in_range(tokens.ids[i], 0, sp.count - 1);
    mgi_tokens_free(ctx, &tokens);
    mgi_sp_finish(ctx, &sp);
    assert_int_equal(ctx->heap->now, empty_bytes);
    if (status != MGEN_OK && status != MGEN_E_CORRUPT && status != MGEN_E_UNSUPPORTED)
        fail_msg("%s: %s", mgen_status_name(status), ctx->error_text);
    counts[status == MGEN_OK ? 0 : status == MGEN_E_CORRUPT ? 1 : 2]++;
}

static void test_damaged(void **state)
{
    (void)state;
    for (int m = 0; m < 2; m++) {
        int64_t counts[3] = {0};
        mgi_file file = open_model(models[m]);
        uint64_t kept = empty_bytes;
        for (size_t size = 0; size < file.size; size++) {
            uint8_t *copy =
                malloc(size ? size : 1); /* not a byte more: sanitizers see what is read behind */
            assert_non_null(copy);
            memcpy(copy, file.data, size);
            empty_bytes = ctx->heap->now;
            try_file(copy, size, counts);
            free(copy);
        }
        uint8_t *copy = malloc(file.size);
        assert_non_null(copy);
        for (uint64_t round = 0; round < 3000; round++) {
            damage(copy, &file, round);
            try_file(copy, file.size, counts);
        }
        free(copy);
        empty_bytes = kept;
        print_message("%s: %lld read, %lld corrupt, %lld unsupported\n", models[m],
                      (long long)counts[0], (long long)counts[1], (long long)counts[2]);
        assert_true(counts[0] > 100 && counts[1] > 100);
        mgi_file_close(ctx, &file);
    }
}

static mgi_file model;

static mgen_status use_once(void)
{
    mgi_sp sp;
    mgi_tokens tokens = {0};
    mgen_status status = mgi_sp_read(ctx, "nfkc", model.data, model.size, &sp);
    if (status == MGEN_OK)
        status = mgi_sp_encode(ctx, &sp, "a red ball's way", 16, &tokens);
    char *text = NULL;
    if (status == MGEN_OK)
        status = mgi_sp_decode(ctx, &sp, tokens.ids, (int64_t)tokens.count, &text);
    mgi_free(ctx, text);
    mgi_tokens_free(ctx, &tokens);
    mgi_sp_finish(ctx, &sp);
    return status;
}

static void test_no_memory(void **state)
{
    (void)state;
    model = open_model("nfkc");
    fail_each(use_once);
    mgi_file_close(ctx, &model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ids, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_symbols_and_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_utf8, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_there_and_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_decode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_decode_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_tries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("sentencepiece", tests, NULL, NULL);
}
