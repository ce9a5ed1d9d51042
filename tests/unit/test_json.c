/* SPDX-License-Identifier: MIT
 * The JSON reader and writer: every rule with an input that breaks it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/philox.h"
#include "io/json.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failing_memory.h"

static failing memory;
static mgen_context *ctx;
static uint64_t empty_bytes;

static int set_up(void **state)
{
    (void)state;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
    if (mgi_context_init(&ctx, &params) != MGEN_OK)
        return -1;
    empty_bytes = ctx->heap->now;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    return memory.blocks == 0 ? 0 : -1;
}

/* Parses a copy that ends with its memory, so that a checker sees every read past the text. */
static mgen_status parse_bytes(const char *text, size_t size, mgi_json **out)
{
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    mgen_status status = mgi_json_parse(ctx, "test.json", copy, size, out);
    free(copy);
    if (status != MGEN_OK) {
        assert_null(*out);
        assert_int_equal(ctx->heap->now, empty_bytes);
    }
    return status;
}

static mgi_json *parse(const char *text)
{
    mgi_json *root;
    if (parse_bytes(text, strlen(text), &root) != MGEN_OK)
        fail_msg("%s: %s", text, ctx->error_text);
    return root;
}

static void assert_said(const char *part)
{
    if (!strstr(ctx->error_text, part))
        fail_msg("'%s' does not say '%s'", ctx->error_text, part);
}

static void refuse_bytes(const char *text, size_t size, const char *part)
{
    mgi_json *root;
    mgen_status status = parse_bytes(text, size, &root);
    if (status == MGEN_OK)
        fail_msg("accepted: %.*s", (int)size, text);
    assert_int_equal(status, MGEN_E_CORRUPT);
    assert_said("test.json: line ");
    assert_said(part);
}

static void test_values(void **state)
{
    (void)state;
    mgi_json *root = parse(" { \"a\" : [ 1 , -2.5e1 , true , false , null , \"x\" , { } , [ ] ] , "
                           "\"b\":{\"c\":-0}}\r\n\t ");
    assert_int_equal(root->kind, MGI_JSON_OBJECT);
    assert_int_equal(root->i, 2);
    assert_null(root->key);
    const mgi_json *a = mgi_json_find(root, "a");
    assert_int_equal(a->kind, MGI_JSON_ARRAY);
    assert_int_equal(a->i, 8);
    assert_string_equal(a->key, "a");
    assert_int_equal(a->offset, 3);
    static const mgi_json_kind kinds[] = {MGI_JSON_INT,    MGI_JSON_REAL, MGI_JSON_BOOL,
                                          MGI_JSON_BOOL,   MGI_JSON_NULL, MGI_JSON_STRING,
                                          MGI_JSON_OBJECT, MGI_JSON_ARRAY};
    const mgi_json *x = a->child;
    for (int i = 0; i < 8; i++, x = x->next) {
        assert_int_equal(x->kind, kinds[i]);
        assert_null(x->key);
    }
    assert_null(x);
    assert_int_equal(a->child->i, 1);
    assert_true(a->child->d == 1.0);
    assert_true(a->child->next->d == -25.0);
    assert_int_equal(a->child->next->next->i, 1);
    assert_int_equal(a->child->next->next->next->i, 0);
    assert_null(mgi_json_find(root, "c"));
    assert_null(mgi_json_find(a, "c"));
    assert_null(mgi_json_find(NULL, "c"));
    assert_int_equal(mgi_json_find(mgi_json_find(root, "b"), "c")->kind, MGI_JSON_INT);
    mgi_json_free(ctx, root);
    mgi_json_free(ctx, NULL);
    assert_int_equal(ctx->heap->now, empty_bytes);
}

static void test_scalars(void **state)
{
    (void)state;
    mgi_json *root = parse("7");
    assert_int_equal(root->i, 7);
    mgi_json_free(ctx, root);
    root = parse(" null");
    assert_int_equal(root->kind, MGI_JSON_NULL);
    mgi_json_free(ctx, root);
    root = parse("\"\"");
    assert_int_equal(root->s_len, 0);
    assert_string_equal(root->s, "");
    mgi_json_free(ctx, root);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t i;
    } whole[] = {
        {"0", 0},
        {"-0", 0},
        {"9007199254740993", 9007199254740993},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    static const struct {
        const char *text;
        double d;
    } real[] = {
        {"0.1", 0.1},
        {"-0.0", -0.0},
        {"1e0", 1.0},
        {"1E+2", 100.0},
        {"1e-2", 0.01},
        {"9223372036854775808", 9223372036854775808.0},
        {"-9223372036854775809", -9223372036854775808.0},
        {"1e23", 1e23},
        {"2.2250738585072011e-308", 2.2250738585072011e-308},
        {"5e-324", 4.9406564584124654e-324},
        {"1e-400", 0.0},
        {"1.7976931348623157e308", DBL_MAX},
        {"0.30000000000000004440892098500626161694526672363281250", 0.30000000000000004},
    };
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        mgi_json *root = parse(whole[i].text);
        assert_int_equal(root->kind, MGI_JSON_INT);
        assert_true(root->i == whole[i].i);
        assert_true(root->d == (double)whole[i].i);
        mgi_json_free(ctx, root);
    }
    for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
        mgi_json *root = parse(real[i].text);
        assert_int_equal(root->kind, MGI_JSON_REAL);
        assert_memory_equal(&root->d, &real[i].d, sizeof(double));
        mgi_json_free(ctx, root);
    }
    char digits[400]; /* digits fill the whole text: no byte past it is read */
    memset(digits, '1', sizeof(digits));
    mgi_json *root;
    assert_int_equal(parse_bytes(digits, 300, &root), MGEN_OK);
    assert_true(root->d > 1e299 && root->d < 1e300);
    mgi_json_free(ctx, root);
    refuse_bytes(digits, 400, "too large");
    memcpy(digits, "0.", 2);
    assert_int_equal(parse_bytes(digits, 400, &root), MGEN_OK);
    assert_true(fabs(root->d - 1.0 / 9) < 1e-15);
    mgi_json_free(ctx, root);
}

static void test_strings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *value;
    } good[] = {
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e4\\u20AC\"", "A\xc3\xa4\xe2\x82\xac"},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
        {"\"\\ud800\\udc00\\uDBFF\\uDFFF\"", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
        {"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\"\xed\x9f\xbf\xee\x80\x80\x7f\"", "\xed\x9f\xbf\xee\x80\x80\x7f"},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        mgi_json *root = parse(good[i].text);
        assert_int_equal(root->kind, MGI_JSON_STRING);
        assert_string_equal(root->s, good[i].value);
        assert_int_equal(root->s_len, strlen(good[i].value));
        mgi_json_free(ctx, root);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } bad[] = {
        {"", "expected a value (the text ends here)"},
        {"  ", "column 3: expected a value"},
        {"{", "expected a key"},
        {"[", "expected a value"},
        {"[1", "expected ',' or ']'"},
        {"[1,", "expected a value"},
        {"[1,]", "column 4: expected a value"},
        {"[,1]", "expected a value"},
        {"[1 2]", "expected ',' or ']'"},
        {"[1}", "expected ',' or ']'"},
        {"{\"a\"}", "expected ':'"},
        {"{\"a\":}", "expected a value"},
        {"{\"a\":1,}", "expected a key"},
        {"{\"a\":1 \"b\":2}", "expected ',' or '}'"},
        {"{a:1}", "expected a key"},
        {"{1:1}", "expected a key"},
        {"1 2", "something follows"},
        {"{} x", "something follows"},
        {"true1", "something follows"},
        {"tru", "expected a value"},
        {"True", "expected a value"},
        {"nan", "expected a value"},
        {"NaN", "expected a value"},
        {"Infinity", "expected a value"},
        {"-Infinity", "expected a digit"},
        {"'a'", "expected a value"},
        {"// x\n1", "expected a value"},
        {"\xef\xbb\xbf{}", "expected a value, not a byte order mark"},
        {"\xef\xbb", "expected a value"},
        {"[1,\n 2,\n  x]", "line 3, column 3: expected a value"},
        /* numbers */
        {"01", "leading zero"},
        {"-01", "leading zero"},
        {"00", "leading zero"},
        {"-", "expected a digit"},
        {"+1", "expected a value"},
        {".5", "expected a value"},
        {"1.", "decimal point"},
        {"1.e3", "decimal point"},
        {"1e", "exponent"},
        {"1e+", "exponent"},
        {"0x10", "something follows"},
        {"1e400", "too large"},
        {"-1e400", "too large"},
        {"1,5", "something follows"},
        /* strings */
        {"\"", "closing quote"},
        {"\"a", "closing quote"},
        {"\"a\\", "escape"},
        {"\"a\nb\"", "control character"},
        {"\"a\tb\"", "control character"},
        {"\"\\x41\"", "unknown escape"},
        {"\"\\u12\"", "four hexadecimal"},
        {"\"\\u12g4\"", "four hexadecimal"},
        {"\"\\u", "four hexadecimal"},
        {"\"\\u0000\"", "\\u0000"},
        {"{\"a\\u0000\":1}", "\\u0000"},
        {"\"\\ud800\"", "high surrogate"},
        {"\"\\ud800x\"", "high surrogate"},
        {"\"\\ud800\\u0041\"", "high surrogate"},
        {"\"\\ud800\\ud800\"", "high surrogate"},
        {"\"\\udc00\"", "low surrogate"},
        {"\"\\ud800\\u\"", "high surrogate"},
        /* UTF-8 */
        {"\"\x80\"", "not UTF-8"},
        {"\"\xc0\xaf\"", "not UTF-8"},
        {"\"\xc1\xbf\"", "not UTF-8"},
        {"\"\xc3\"", "not UTF-8"},
        {"\"\xe0\x80\xaf\"", "not UTF-8"},
        {"\"\xe2\x82\"", "not UTF-8"},
        {"\"\xed\xa0\x80\"", "not UTF-8"},
        {"\"\xf0\x80\x80\xaf\"", "not UTF-8"},
        {"\"\xf4\x90\x80\x80\"", "not UTF-8"},
        {"\"\xf5\x80\x80\x80\"", "not UTF-8"},
        {"\"\xff\"", "not UTF-8"},
        {"\"\xe2\x82", "not UTF-8"},
        /* keys */
        {"{\"a\":1,\"a\":2}", "twice the key 'a'"},
        {"{\"a\":1,\"\\u0061\":2}", "twice the key 'a'"},
        {"{\"\":1,\"\":2}", "twice the key ''"},
        {"[{\"x\":{\"k\":1,\n\"j\":0,\"k\":2}}]", "line 2, column 7: an object has twice"},
        {"{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\n\"c\":1}",
         "line 2, column 1: an object has twice the key 'c'"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refuse_bytes(bad[i].text, strlen(bad[i].text), bad[i].part);
    refuse_bytes("\"a\0b\"", 5, "control character");
    refuse_bytes("[1,\0 2]", 7, "expected a value");
    refuse_bytes("{}\0", 3, "something follows");
}

static void test_caps(void **state)
{
    (void)state;
    enum { DEPTH = MGI_JSON_DEPTH_MAX };
    char text[2 * DEPTH + 3];
    mgi_json *root;
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    assert_int_equal(parse_bytes(text, 2 * DEPTH, &root), MGEN_OK);
    mgi_json_free(ctx, root);
    memset(text, '[', DEPTH + 1);
    memset(text + DEPTH + 1, ']', DEPTH + 1);
    refuse_bytes(text, 2 * DEPTH + 2, "nested too deeply");
    size_t many = 1000000;
    char *open = malloc(many);
    assert_non_null(open);
    memset(open, '[', many);
    refuse_bytes(open, many, "nested too deeply");
    free(open);

    assert_int_equal(mgi_json_parse(ctx, "big", "", (size_t)MGI_JSON_SIZE_MAX + 1, &root),
                     MGEN_E_CORRUPT);
    assert_said("at most 100000000");

    size_t values = MGI_JSON_NODES_MAX + 8;
    char *list = malloc(2 * values + 1);
    assert_non_null(list);
    for (size_t i = 0; i < values; i++)
        memcpy(list + 2 * i, ",0", 2);
    list[0] = '[';
    refuse_bytes(list, 2 * values, "more values");
    free(list);
}

/* Memory follows what was read, not what the text might hold. */
static void test_memory(void **state)
{
    (void)state;
    size_t size = 1 << 20;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, ',', size);
    uint64_t peak = ctx->heap->peak;
    assert_true(peak > 0);
    ctx->heap->peak = ctx->heap->now;
    refuse_bytes(text, size, "expected a value");
    assert_true(ctx->heap->peak - empty_bytes < size + (64 << 10));
    free(text);
}

/* 200,000 keys, also with long equal beginnings: no quadratic work. */
static void test_many_keys(void **state)
{
    (void)state;
    enum { KEYS = 200000, LINE = 48 };
    char *text = malloc((size_t)KEYS * LINE + 64);
    assert_non_null(text);
    for (int twice = 0; twice < 2; twice++) {
        size_t at = 0;
        text[at++] = '{';
        for (int i = 0; i < KEYS; i++)
            at += (size_t)snprintf(text + at, LINE, "%s\"the.same.long.beginning.%d\":%d",
                                   i ? "," : "", i * 7919 % KEYS, i);
        if (twice)
            at += (size_t)snprintf(text + at, LINE, ",\"the.same.long.beginning.%d\":0", 777);
        text[at++] = '}';
        mgi_json *root;
        mgen_status status = parse_bytes(text, at, &root);
        assert_int_equal(status, twice ? MGEN_E_CORRUPT : MGEN_OK);
        if (twice)
            assert_said("twice the key 'the.same.long.beginning.777'");
        else
            assert_int_equal(root->i, KEYS);
        mgi_json_free(ctx, root);
    }
    free(text);
}

static const char sample[] =
    "{\"name\": \"tae\\u00e9\", \"dims\": [1, 2, 3.5e-3], \"nested\": {\"on\": true, \"off\": null,"
    " \"deep\": [[[{\"a\": \"\\ud83d\\ude00\"}]]]}, \"k1\":1,\"k2\":2,\"k3\":3,\"k4\":4,\"k5\":5,"
    "\"k6\":6,\"k7\":7}";

static void test_truncated(void **state)
{
    (void)state;
    mgi_json_free(ctx, parse(sample));
    for (size_t size = 0; size < sizeof(sample) - 1; size++)
        refuse_bytes(sample, size, "");
}

static void test_changed(void **state)
{
    (void)state;
    char text[sizeof(sample)];
    mgi_json *root;
    for (size_t at = 0; at < sizeof(sample) - 1; at++)
        for (int value = 0; value < 256; value++) {
            memcpy(text, sample, sizeof(sample));
            text[at] = (char)value;
            mgen_status status = parse_bytes(text, sizeof(sample) - 1, &root);
            assert_true(status == MGEN_OK || status == MGEN_E_CORRUPT);
            mgi_json_free(ctx, root);
        }
    static const char pieces[] = "[]{}\",:\\u0dD8c-+.eE19tfn \n\xc3\xa4\xff";
    for (uint64_t i = 0; i < 50000; i++) {
        char soup[24];
        size_t size = mgi_random_u32(1, i, 100) % sizeof(soup);
        for (size_t k = 0; k < size; k++)
            soup[k] = pieces[mgi_random_u32(1, i, k) % (sizeof(pieces) - 1)];
        mgen_status status = parse_bytes(soup, size, &root);
        assert_true(status == MGEN_OK || status == MGEN_E_CORRUPT);
        mgi_json_free(ctx, root);
    }
    assert_int_equal(ctx->heap->now, empty_bytes);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int k = 1;; k++) {
        mgi_json *root;
        memory.calls = 0;
        memory.fail_at = k;
        mgen_status status = mgi_json_parse(ctx, "x", sample, sizeof(sample) - 1, &root);
        memory.fail_at = 0;
        if (status == MGEN_OK) {
            assert_true(k > 3);
            mgi_json_free(ctx, root);
            break;
        }
        assert_int_equal(status, MGEN_E_NO_MEMORY);
        assert_null(root);
        assert_int_equal(ctx->heap->now, empty_bytes);
    }
}

static void test_typed(void **state)
{
    (void)state;
    mgi_json *o = parse("{\"i\": 5, \"r\": 0.5, \"b\": true, \"s\": \"text\", \"a\": [1], \"n\": "
                        "null, \"o\": {}}");
    int64_t i = -1;
    double d = -1;
    bool b = false;
    const char *s = NULL;
    assert_int_equal(mgi_json_get_int(ctx, o, "i", true, 0, 5, &i), MGEN_OK);
    assert_int_equal(i, 5);
    assert_int_equal(mgi_json_get_real(ctx, o, "r", true, 0, 1, &d), MGEN_OK);
    assert_true(d == 0.5);
    assert_int_equal(mgi_json_get_real(ctx, o, "i", true, 0, 10, &d), MGEN_OK);
    assert_true(d == 5.0);
    assert_int_equal(mgi_json_get_bool(ctx, o, "b", true, &b), MGEN_OK);
    assert_true(b);
    assert_int_equal(mgi_json_get_string(ctx, o, "s", true, &s), MGEN_OK);
    assert_string_equal(s, "text");

    /* missing: the default stays */
    assert_int_equal(mgi_json_get_int(ctx, o, "x", false, 0, 1, &i), MGEN_OK);
    assert_int_equal(mgi_json_get_real(ctx, o, "x", false, 0, 1, &d), MGEN_OK);
    assert_int_equal(mgi_json_get_bool(ctx, o, "x", false, &b), MGEN_OK);
    assert_int_equal(mgi_json_get_string(ctx, o, "x", false, &s), MGEN_OK);
    assert_true(i == 5 && d == 5.0 && b && strcmp(s, "text") == 0);
    assert_int_equal(mgi_json_get_int(ctx, o, "x", true, 0, 1, &i), MGEN_E_CORRUPT);
    assert_said("\"x\" is missing");

    assert_int_equal(mgi_json_get_int(ctx, o, "i", true, 6, 9, &i), MGEN_E_CORRUPT);
    assert_said("\"i\" is 5");
    assert_said("6 to 9");
    assert_int_equal(mgi_json_get_int(ctx, o, "r", true, 0, 9, &i), MGEN_E_CORRUPT);
    assert_said("\"r\" is 0.5");
    assert_int_equal(mgi_json_get_int(ctx, o, "s", true, 0, 9, &i), MGEN_E_CORRUPT);
    assert_said("\"s\" is \"text\"");
    assert_int_equal(mgi_json_get_real(ctx, o, "r", true, 1, 9, &d), MGEN_E_CORRUPT);
    assert_said("\"r\" is 0.5");
    assert_int_equal(mgi_json_get_real(ctx, o, "n", true, 1, 9, &d), MGEN_E_CORRUPT);
    assert_said("\"n\" is null");
    assert_int_equal(mgi_json_get_bool(ctx, o, "i", true, &b), MGEN_E_CORRUPT);
    assert_said("true or false");
    assert_int_equal(mgi_json_get_string(ctx, o, "a", true, &s), MGEN_E_CORRUPT);
    assert_said("\"a\" is an array");
    assert_int_equal(mgi_json_get_string(ctx, o, "o", true, &s), MGEN_E_CORRUPT);
    assert_said("\"o\" is an object");
    assert_int_equal(mgi_json_get_string(ctx, o, "b", true, &s), MGEN_E_CORRUPT);
    assert_said("\"b\" is true");
    assert_int_equal(mgi_json_get_int(ctx, o->child, "i", true, 0, 9, &i), MGEN_E_CORRUPT);
    assert_said("expected an object");
    assert_true(i == 5 && d == 5.0 && b && strcmp(s, "text") == 0);

    static const char *const all[] = {"i", "r", "b", "s", "a", "n", "o", NULL};
    static const char *const some[] = {"i", "r", "b", "a", "n", "o", NULL};
    assert_int_equal(mgi_json_only_keys(ctx, o, all), MGEN_OK);
    assert_int_equal(mgi_json_only_keys(ctx, o, some), MGEN_E_CORRUPT);
    assert_said("unknown key \"s\"");
    assert_int_equal(mgi_json_only_keys(ctx, o->child, all), MGEN_E_CORRUPT);
    mgi_json_free(ctx, o);
}

/* ---- writer ----------------------------------------------------------------------------------- */

static void write_sample(mgi_json_writer *w, int indent)
{
    mgi_json_writer_init(w, ctx, indent);
    mgi_json_open(w, NULL, '{');
    mgi_json_put_int(w, "i", INT64_MIN);
    mgi_json_put_real(w, "r", 0.1);
    mgi_json_put_bool(w, "b", true);
    mgi_json_put_string(w, "s", "q\"\\\n\x01\xc3\xa4");
    mgi_json_put_string(w, "none", NULL);
    mgi_json_open(w, "empty", '[');
    mgi_json_close(w, ']');
    mgi_json_open(w, "list", '[');
    mgi_json_put_int(w, NULL, 1);
    mgi_json_put_bool(w, NULL, false);
    mgi_json_open(w, NULL, '{');
    mgi_json_close(w, '}');
    mgi_json_close(w, ']');
    mgi_json_close(w, '}');
}

static void test_write(void **state)
{
    (void)state;
    mgi_json_writer w;
    const char *text;
    size_t size;
    write_sample(&w, 0);
    assert_int_equal(mgi_json_text(&w, &text, &size), MGEN_OK);
    assert_string_equal(text, "{\"i\": -9223372036854775808, \"r\": 0.1, \"b\": true, "
                              "\"s\": \"q\\\"\\\\\\u000a\\u0001\xc3\xa4\", \"none\": null, "
                              "\"empty\": [], \"list\": [1, false, {}]}");
    assert_int_equal(size, strlen(text));
    mgi_json_free(ctx, parse(text));
    mgi_json_writer_free(&w);

    write_sample(&w, 2);
    assert_int_equal(mgi_json_text(&w, &text, NULL), MGEN_OK);
    assert_non_null(strstr(text, "{\n  \"i\": -9223372036854775808,\n  \"r\": 0.1,\n"));
    assert_non_null(
        strstr(text, "  \"empty\": [],\n  \"list\": [\n    1,\n    false,\n    {}\n  ]\n}\n"));
    mgi_json *root = parse(text);
    assert_string_equal(mgi_json_find(root, "s")->s, "q\"\\\n\x01\xc3\xa4");
    mgi_json_free(ctx, root);
    mgi_json_writer_free(&w);
    mgi_json_writer_free(&w);

    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_put_string(&w, NULL, "\xff");
    assert_int_equal(mgi_json_text(&w, &text, NULL), MGEN_E_INVALID);
    assert_said("not UTF-8");
    mgi_json_writer_free(&w);
    mgi_json_writer_init(&w, ctx, 0);
    assert_int_equal(mgi_json_text(&w, &text, NULL), MGEN_E_INTERNAL);
    mgi_json_open(&w, NULL, '[');
    mgi_json_writer_free(&w);
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_open(&w, NULL, '[');
    assert_int_equal(mgi_json_text(&w, &text, NULL), MGEN_E_INTERNAL);
    assert_said("still open");
    mgi_json_writer_free(&w);
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_close(&w, ']');
    assert_int_equal(mgi_json_text(&w, &text, NULL), MGEN_E_INTERNAL);
    mgi_json_writer_free(&w);
    assert_int_equal(ctx->heap->now, empty_bytes);
}

static void assert_written(double value, const char *expected)
{
    mgi_json_writer w;
    const char *text;
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_put_real(&w, NULL, value);
    assert_int_equal(mgi_json_text(&w, &text, NULL), MGEN_OK);
    if (expected)
        assert_string_equal(text, expected);
    mgi_json *root = parse(text);
    if (isfinite(value)) {
        float read = (float)root->d, wanted = (float)value;
        assert_memory_equal(&read, &wanted, sizeof(read));
    } else
        assert_int_equal(root->kind, MGI_JSON_NULL);
    mgi_json_free(ctx, root);
    mgi_json_writer_free(&w);
}

static void test_write_real(void **state)
{
    (void)state;
    assert_written(0, "0");
    assert_written(-0.0, "-0.0");
    assert_written(100, "100");
    assert_written(-7, "-7");
    assert_written(1e20, "1e+20");
    assert_written((double)0.1f, "0.1");
    assert_written(7.5, "7.5");
    assert_written(1e-4, "0.0001");
    assert_written(1.0 / 3, "0.33333333");
    assert_written((double)FLT_MAX, "3.4028235e+38");
    assert_written((double)FLT_TRUE_MIN, "1e-45");
    assert_written(NAN, "null");
    assert_written(INFINITY, "null");
    assert_written(-INFINITY, "null");
    mgi_json_writer w;
    const char *text;
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_put_real(&w, NULL, 1.2345678901234567e300);
    assert_int_equal(mgi_json_text(&w, &text, NULL), MGEN_OK);
    mgi_json *root = parse(text);
    assert_true(root->d == 1.2345678901234567e300);
    mgi_json_free(ctx, root);
    mgi_json_writer_free(&w);
    for (uint64_t i = 0; i < 20000; i++) {
        uint32_t bits = mgi_random_u32(3, 0, i);
        float value;
        memcpy(&value, &bits, sizeof(value));
        if (isfinite(value))
            assert_written((double)value, NULL);
    }
}

/* A host with a decimal comma. Without such a locale on the machine there is nothing to see. */
static void test_locale(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ru_RU.UTF-8",
                                        "de_DE"};
    bool found = false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !found; i++)
        found = setlocale(LC_NUMERIC, names[i]) && *localeconv()->decimal_point == ',';
    if (!found)
        skip();
    assert_written(0.1, "0.1");
    assert_written(1.5e-30, "1.5e-30");
    mgi_json *root = parse("2.5");
    double d = root->d;
    mgi_json_free(ctx, root);
    setlocale(LC_NUMERIC, "C");
    assert_true(d == 2.5);
}

static void test_write_no_memory(void **state)
{
    (void)state;
    for (int k = 1;; k++) {
        mgi_json_writer w;
        const char *text;
        memory.calls = 0;
        memory.fail_at = k;
        write_sample(&w, 40);
        mgen_status status = mgi_json_text(&w, &text, NULL);
        memory.fail_at = 0;
        mgi_json_writer_free(&w);
        assert_int_equal(ctx->heap->now, empty_bytes);
        if (status == MGEN_OK) {
            assert_true(k > 1);
            break;
        }
        assert_int_equal(status, MGEN_E_NO_MEMORY);
    }
}

static void test_utf8_length(void **state)
{
    (void)state;
    assert_int_equal(mgi_utf8_length("", 0), 0);
    assert_int_equal(mgi_utf8_length("a", 1), 1);
    assert_int_equal(mgi_utf8_length("\xc3\xa4", 2), 2);
    assert_int_equal(mgi_utf8_length("\xc3\xa4", 1), 0);
    assert_int_equal(mgi_utf8_length("\xf0\x9f\x98\x80", 4), 4);
}

static void test_difference(void **state)
{
    static const struct {
        const char *a, *b, *said; /* "": the same */
    } all[] = {
        {"{}", "{}", ""},
        {"{\"a\": 1, \"b\": [1, {\"c\": 2, \"d\": 3}]}",
         "{\"b\": [1, {\"d\": 3, \"c\": 2}], \"a\": 1}", ""},
        {"{\"a\": 1}", "{\"a\": 2}", "\"a\": 1 and 2"},
        {"{\"a\": 1}", "{\"a\": 1.5}", "\"a\": 1 and 1.5"},
        {"{\"a\": \"x\", \"b\": 1}", "{\"b\": 1, \"a\": null}", "\"a\": \"x\" and null"},
        {"{\"a\": true}", "{}", "\"a\": true and absent"},
        {"{}", "{\"a\": {}}", "\"a\": absent and an object"},
        {"{\"a\": [1, 2]}", "{\"a\": [1, 3]}", "\"a\": [1, 2] and [1, 3]"},
        {"{\"a\": []}", "{\"a\": [false]}", "\"a\": [] and [false]"},
        {"{\"a\": [{\"b\": 1}]}", "{\"a\": [{\"b\": 2}]}", "\"a\": [an object] and [an object]"},
        {"{\"a\": {\"b\": {\"c\": 1}}}", "{\"a\": {\"b\": {\"c\": 2}}}", "\"a.b.c\": 1 and 2"},
        {"{\"a\": {}}", "{\"a\": {\"b\": 1}}", "\"a.b\": absent and 1"},
    };
    char out[64], small[8];
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        mgi_json *a = parse(all[i].a), *b = parse(all[i].b);
        assert_int_equal(mgi_json_difference(a, b, out, sizeof out), *all[i].said != '\0');
        assert_string_equal(out, all[i].said);
        mgi_json_difference(a, b, small, sizeof small);
        assert_true(strlen(small) < sizeof small && !strncmp(small, all[i].said, strlen(small)));
        mgi_json_free(ctx, a);
        mgi_json_free(ctx, b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),      cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_strings),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_caps),
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_truncated),   cmocka_unit_test(test_changed),
        cmocka_unit_test(test_no_memory),   cmocka_unit_test(test_typed),
        cmocka_unit_test(test_write),       cmocka_unit_test(test_write_real),
        cmocka_unit_test(test_locale),      cmocka_unit_test(test_write_no_memory),
        cmocka_unit_test(test_utf8_length), cmocka_unit_test(test_difference),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
