/* SPDX-License-Identifier: MIT
 * CLIP's byte pairs: the ids of another implementation, the rules of the files, files that are damaged.
 *
 * text/make_bpe.py made the vocabulary and asked transformers' CLIPTokenizer (5.24.0) for the ids. */
#include "text/bpe.h"
#include "text/fixture.h"
#include "text/unicode.h"

static mgi_file vocab, merges;

static int open_files(void **state)
{
    if (set_up(state))
        return -1;
    vocab = open_fixture("clip_vocab.json");
    merges = open_fixture("clip_merges.txt");
    return 0;
}

static int close_files(void **state)
{
    mgi_file_close(ctx, &vocab);
    mgi_file_close(ctx, &merges);
    return tear_down(state);
}

static mgen_status encode(const mgi_bpe *bpe, const char *text, mgi_tokens *tokens)
{
    return mgi_bpe_encode(ctx, bpe, text, strlen(text), tokens);
}

static mgen_status read_fixture(mgi_bpe *bpe)
{
    return mgi_bpe_read(ctx, (const char *)vocab.data, vocab.size, (const char *)merges.data,
                        merges.size, bpe);
}

static void assert_same(const mgi_bpe *bpe, const char *a, const char *b)
{
    mgi_tokens x = {0}, y = {0};
    assert_int_equal(encode(bpe, a, &x), MGEN_OK);
    assert_int_equal(encode(bpe, b, &y), MGEN_OK);
    if (x.count != y.count || memcmp(x.ids, y.ids, x.count * sizeof *x.ids))
        fail_msg("'%s' and '%s' differ", a, b);
    mgi_tokens_free(ctx, &x);
    mgi_tokens_free(ctx, &y);
}

static void test_ids(void **state)
{
    (void)state;
    mgi_bpe bpe;
    mgi_json *root = open_expected("bpe.json");
    assert_int_equal(read_fixture(&bpe), 0);
    assert_int_equal(bpe.start, bpe.vocab - 2);
    assert_int_equal(bpe.end, bpe.vocab - 1);
    for (const mgi_json *item = root->child; item; item = item->next) {
        mgi_tokens tokens = {0};
        assert_int_equal(encode(&bpe, mgi_json_find(item, "text")->s, &tokens), MGEN_OK);
        assert_ids(item, "clip", &tokens);
        mgi_tokens_free(ctx, &tokens);
    }
    /* bytes that are no UTF-8 are U+FFFD; special tokens are no words */
    assert_same(&bpe, "a\xff", "a\xEF\xBF\xBD");
    assert_same(&bpe, "\xf0\x9f\x8e", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_same(&bpe, "<|endoftext|>", "<| endoftext |>");
    mgi_bpe_finish(ctx, &bpe);
    mgi_json_free(ctx, root);
}

static void test_unicode(void **state)
{
    (void)state;
    size_t bytes;
    char out[4];
    for (uint32_t c = 1; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c < 0xE000)
            continue;
        size_t n = mgi_unicode_put(c, out);
        assert_int_equal(mgi_unicode_next(out, n, &bytes), c);
        assert_int_equal(bytes, n);
    }
    assert_true(mgi_unicode_letter('A') && mgi_unicode_letter('z') && mgi_unicode_letter(0x65E5));
    assert_false(mgi_unicode_letter('[') || mgi_unicode_letter('0') || mgi_unicode_letter(0x301));
    assert_true(mgi_unicode_number('0') && mgi_unicode_number(0xBD) && mgi_unicode_number(0x216B));
    assert_false(mgi_unicode_number('/') || mgi_unicode_number('a') ||
                 mgi_unicode_number(0x10FFFF));
    assert_int_equal(mgi_unicode_lower('A'), 'a');
    assert_int_equal(mgi_unicode_lower('['), '[');
    assert_int_equal(mgi_unicode_lower(0x100), 0x101);
    assert_int_equal(mgi_unicode_lower(0x101), 0x101);
    assert_int_equal(mgi_unicode_lower(0x212A), 'k');
    assert_int_equal(mgi_unicode_lower(0x10400), 0x10428);
}

static void test_normal_form(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t want[6]; /* ends with 0 */
    } all[] = {
        {"", {0}},
        {"ab", {'a', 'b'}},
        {"e\xcc\x81", {0xE9}},
        {"\xc3\xa9", {0xE9}},
        {"q\xcc\x87\xcc\xa3", {'q', 0x323, 0x307}},         /* by class */
        {"d\xcc\x87\xcc\xa3", {0x1E0D, 0x307}},             /* composed past another mark */
        {"\xe0\xa5\x98", {0x915, 0x93C}},                   /* is never composed again */
        {"\xe2\x84\xa6", {0x3A9}},                          /* another character */
        {"\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", {0xAC01}}, /* Hangul */
        {"\xcc\x81"
         "a",
         {0x301, 'a'}}, /* a mark that stands first */
        {"a\xff", {'a', 0xFFFD}},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        uint32_t *out;
        size_t count, want = 0;
        while (all[i].want[want])
            want++;
        assert_int_equal(mgi_unicode_nfc(ctx, all[i].text, strlen(all[i].text), &out, &count),
                         MGEN_OK);
        assert_int_equal(count, want);
        for (size_t k = 0; k < count; k++)
            assert_int_equal(out[k], all[i].want[k]);
        mgi_free(ctx, out);
    }
}

/* A word of a million letters takes moments, a text that is longer is refused. */
static void test_long(void **state)
{
    (void)state;
    mgi_bpe bpe;
    mgi_tokens tokens = {0};
    char *text = test_malloc(MGI_BPE_TEXT_MAX + 1);
    for (size_t i = 0; i <= MGI_BPE_TEXT_MAX; i++)
        text[i] = "theball"[i % 7];
    assert_int_equal(read_fixture(&bpe), 0);
    assert_int_equal(mgi_bpe_encode(ctx, &bpe, text, MGI_BPE_TEXT_MAX + 1, &tokens), MGEN_E_LIMIT);
    assert_int_equal(mgi_bpe_encode(ctx, &bpe, text, MGI_BPE_TEXT_MAX, &tokens), MGEN_OK);
    assert_true(tokens.count > MGI_BPE_TEXT_MAX / 7 && tokens.count < MGI_BPE_TEXT_MAX);
    mgi_tokens_free(ctx, &tokens);
    for (size_t i = 0; i + 3 < MGI_BPE_TEXT_MAX; i += 4) /* marks that must change places */
        memcpy(text + i, "\xcc\x87\xcc\xa3", 4);
    assert_int_equal(mgi_bpe_encode(ctx, &bpe, text, MGI_BPE_TEXT_MAX, &tokens), MGEN_OK);
    assert_int_equal(tokens.count, MGI_BPE_TEXT_MAX);
    mgi_tokens_free(ctx, &tokens);
    mgi_bpe_finish(ctx, &bpe);
    test_free(text);
}

/* -- bad files -------------------------------------------------------------------------------------- */

static mgen_status read_with(const char *new_vocab, size_t vocab_size, const char *new_merges,
                             size_t merges_size, const char *say)
{
    mgi_bpe bpe;
    uint64_t before = ctx->heap->now;
    mgen_status status = mgi_bpe_read(ctx, new_vocab, vocab_size, new_merges, merges_size, &bpe);
    if (status != MGEN_OK && !strstr(ctx->error_text, say))
        fail_msg("'%s' does not say '%s'", ctx->error_text, say);
    if (status != MGEN_OK)
        assert_null(bpe.merges);
    mgi_bpe_finish(ctx, &bpe);
    assert_int_equal(ctx->heap->now, before);
    return status;
}

static void test_bad_merges(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        mgen_status status;
        const char *say;
    } all[] = {
        {"", MGEN_OK, ""},
        {"#version: 0.2\n", MGEN_OK, ""},
        {"t h\n", MGEN_OK, ""},
        {"t h", MGEN_OK, ""},
        {"\n", MGEN_E_CORRUPT, "line 1"},
        {"t h\n\n", MGEN_E_CORRUPT, "line 2"},
        {"t h\nt h\n", MGEN_E_CORRUPT, "twice"},
        {"th\n", MGEN_E_CORRUPT, "line 1: is not two tokens"},
        {"t  h\n", MGEN_E_CORRUPT, "not two tokens"},
        {"t h \n", MGEN_E_CORRUPT, "not two tokens"},
        {" th\n", MGEN_E_CORRUPT, "not two tokens"},
        {"t q\n", MGEN_E_CORRUPT, "lacks"},
        {"th e</w>\n", MGEN_E_CORRUPT, "made above"},
        {"t h\nth e</w>\n", MGEN_OK, ""},
        {"#version: 0.2\nt h\r\n", MGEN_E_CORRUPT, "line 2"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (read_with((const char *)vocab.data, vocab.size, all[i].text, strlen(all[i].text),
                      all[i].say) != all[i].status)
            fail_msg("merges %zu: %s", i, ctx->error_text);
    size_t lines = (size_t)MGI_BPE_VOCAB_MAX + 1;
    char *text = test_malloc(lines);
    memset(text, '\n', lines);
    assert_int_equal(
        read_with((const char *)vocab.data, vocab.size, text, lines, "more than 1048576 lines"),
        MGEN_E_CORRUPT);
    test_free(text);
    /* by their sizes alone */
    assert_int_equal(read_with("", 0, "", MGI_BPE_FILE_MAX + 1, "is larger than"), MGEN_E_CORRUPT);
    assert_int_equal(read_with("", MGI_BPE_FILE_MAX + 1, "", 0, "is larger than"), MGEN_E_CORRUPT);
}

static void test_bad_vocab(void **state)
{
    (void)state;
    static const struct {
        const char *find, *put, *say; /* of equal length */
    } all[] = {
        {"\"!\": 0", "\"!\": 1", "have the id 1"},
        {"\"!\": 0", "\"!\":-1", "not within 0 to"},
        {"\"!\": 0", "\"!\":.5", "vocabulary"},
        {"\"!\": 0", "\"q\": 0", "vocabulary"}, /* a key twice */
        {"<|startoftext|>", "<|startoftexx|>", "\"<|startoftext|>\""},
        {"<|endoftext|>", "<|endoftexx|>", "\"<|endoftext|>\""},
        {"\"!</w>\"", "\"!</x>\"", "byte 0x21 at the end"},
        {"\"#\"", "\"\\\"", "vocabulary"},
        {"{", "[", "vocabulary"},
    };
    char *copy = test_malloc(vocab.size);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        memcpy(copy, vocab.data, vocab.size);
        char *at = memmem(copy, vocab.size, all[i].find, strlen(all[i].find));
        assert_non_null(at);
        memcpy(at, all[i].put, strlen(all[i].put));
        if (read_with(copy, vocab.size, "", 0, all[i].say) != MGEN_E_CORRUPT)
            fail_msg("vocabulary %zu was read", i);
    }
    test_free(copy);
    assert_int_equal(read_with("{}", 2, "", 0, "1 to"), MGEN_E_CORRUPT);
    assert_int_equal(read_with("[]", 2, "", 0, "not an object"), MGEN_E_CORRUPT);
    assert_int_equal(read_with("{\"\": 0}", 7, "", 0, "empty"), MGEN_E_CORRUPT);
}

static void try_files(const uint8_t *v, size_t v_size, const uint8_t *m, size_t m_size,
                      int64_t counts[2])
{
    mgi_bpe bpe;
    mgi_tokens tokens = {0};
    uint64_t before = ctx->heap->now;
    mgen_status status = mgi_bpe_read(ctx, (const char *)v, v_size, (const char *)m, m_size, &bpe);
    if (status == MGEN_OK) {
        assert_int_equal(encode(&bpe, "A dark ball's \xff towards 12 \xe6\x97\xa5!", &tokens), 0);
        for (size_t i = 0; i < tokens.count; i++)
            assert_in_range(tokens.ids[i], 0, bpe.vocab - 1);
    } else if (status != MGEN_E_CORRUPT) {
        fail_msg("%s: %s", mgen_status_name(status), ctx->error_text);
    }
    mgi_tokens_free(ctx, &tokens);
    mgi_bpe_finish(ctx, &bpe);
    assert_int_equal(ctx->heap->now, before);
    counts[status != MGEN_OK]++;
}

static void test_damaged(void **state)
{
    (void)state;
    int64_t counts[2][2] = {{0}};
    for (int which = 0; which < 2; which++) {
        const mgi_file *file = which ? &merges : &vocab;
        for (uint64_t round = 0; round < file->size + 2000; round++) {
            bool cut = round < file->size;
            size_t size = cut ? (size_t)round : file->size;
            uint8_t *copy = malloc(size ? size : 1); /* not a byte more */
            assert_non_null(copy);
            if (cut)
                memcpy(copy, file->data, size);
            else
                damage(copy, file, round);
            if (which)
                try_files(vocab.data, vocab.size, copy, size, counts[1]);
            else
                try_files(copy, size, merges.data, merges.size, counts[0]);
            free(copy);
        }
    }
    print_message("vocabulary: %lld read, %lld corrupt; merges: %lld read, %lld corrupt\n",
                  (long long)counts[0][0], (long long)counts[0][1], (long long)counts[1][0],
                  (long long)counts[1][1]);
    assert_true(counts[0][1] > 10000 && counts[1][0] > 100 && counts[1][1] > 1000);
}

static mgen_status use_once(void)
{
    mgi_bpe bpe;
    mgi_tokens tokens = {0};
    mgen_status status = read_fixture(&bpe);
    if (status == MGEN_OK)
        status = mgi_bpe_encode(ctx, &bpe, "a red ball's way", 16, &tokens);
    mgi_tokens_free(ctx, &tokens);
    mgi_bpe_finish(ctx, &bpe);
    return status;
}

static void test_no_memory(void **state)
{
    (void)state;
    fail_each(use_once);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ids, open_files, close_files),
        cmocka_unit_test_setup_teardown(test_unicode, open_files, close_files),
        cmocka_unit_test_setup_teardown(test_normal_form, open_files, close_files),
        cmocka_unit_test_setup_teardown(test_long, open_files, close_files),
        cmocka_unit_test_setup_teardown(test_bad_merges, open_files, close_files),
        cmocka_unit_test_setup_teardown(test_bad_vocab, open_files, close_files),
        cmocka_unit_test_setup_teardown(test_no_memory, open_files, close_files),
        cmocka_unit_test_setup_teardown(test_damaged, open_files, close_files),
    };
    return cmocka_run_group_tests_name("bpe", tests, NULL, NULL);
}
