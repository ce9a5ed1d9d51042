/* SPDX-License-Identifier: MIT
 * safetensors: round trips, and every rule with a file that breaks it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/philox.h"
#include "io/safetensors.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "failing_memory.h"

static failing memory;
static mgen_context *ctx;
static uint64_t empty_bytes;
static char dir[256], path[512];

static int set_up(void **state)
{
    (void)state;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
    const char *top = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/mgen-st-XXXXXX", top && *top ? top : "/tmp");
    if (!mkdtemp(dir) || mgi_context_init(&ctx, &params) != MGEN_OK)
        return -1;
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    empty_bytes = ctx->heap->now;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    unlink(path);
    /* nothing but the file was ever left there */
    return rmdir(dir) == 0 && memory.blocks == 0 ? 0 : -1;
}

static void assert_said(const char *part)
{
    if (!strstr(ctx->error_text, part))
        fail_msg("'%s' does not say '%s'", ctx->error_text, part);
}

static void put(const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* A file of the given header and `data_size` bytes of data. */
static void put_header(const char *header, size_t data_size)
{
    static uint8_t bytes[16384];
    uint64_t length = strlen(header);
    assert_true(8 + length + data_size <= sizeof(bytes));
    memset(bytes, 0x5A, sizeof(bytes));
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, (size_t)length);
    put(bytes, 8 + (size_t)length + data_size);
}

static mgen_status open_file(mgi_st_file *st)
{
    mgen_status status = mgi_st_open(ctx, dir, "model.safetensors", st);
    if (status != MGEN_OK) {
        assert_null(st->file);
        assert_null(st->entries);
        assert_null(st->header);
        assert_int_equal(ctx->heap->now, empty_bytes);
        assert_int_equal(ctx->error_code, status);
    }
    return status;
}

static void refuse(const char *header, size_t data_size, mgen_status code, const char *part)
{
    mgi_st_file st;
    put_header(header, data_size);
    mgen_status status = open_file(&st);
    if (status != code)
        fail_msg("%s instead of %s: %s", mgen_status_name(status), mgen_status_name(code), header);
    assert_said("model.safetensors");
    assert_said(part);
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void test_round_trip(void **state)
{
    (void)state;
    enum { N = 5000 };
    float *values = malloc(N * sizeof(float)), *back = malloc(N * sizeof(float));
    assert_non_null(values);
    assert_non_null(back);
    for (uint64_t i = 0; i < N; i++) /* any bits at all, not-a-numbers too */
        values[i] = float_of(mgi_random_u32(9, 0, i));
    float scalar = 2.5f;
    mgi_st_source sources[] = {
        {"z.weight", MGI_ST_F32, 2, {50, 100}, values},
        {"a.weight", MGI_ST_BF16, 3, {10, 5, 100}, values},
        {"empty", MGI_ST_F32, 2, {0, 7}, NULL},
        {"scalar", MGI_ST_F32, 0, {0}, &scalar},
        {"odd \xc3\xa4 \"name\"", MGI_ST_BF16, 1, {3}, values},
        {"full rank", MGI_ST_F32, 8, {1, 1, 2, 1, 1, 3, 1, 1}, values},
    };
    const char *metadata[] = {"format", "mgen", "quote\"", "line\nbreak"};
    assert_int_equal(mgi_st_write(ctx, path, sources, 6, metadata, 2), MGEN_OK);

    mgi_st_file st;
    assert_int_equal(open_file(&st), MGEN_OK);
    assert_int_equal(st.count, 6);
    for (int64_t i = 1; i < st.count; i++)
        assert_true(strcmp(st.entries[i - 1].name, st.entries[i].name) < 0);
    assert_int_equal(st.entries[st.count - 1].at % 8, 0); /* the data begins at a multiple of 8 */
    assert_string_equal(mgi_json_find(st.metadata, "format")->s, "mgen");
    assert_string_equal(mgi_json_find(st.metadata, "quote\"")->s, "line\nbreak");
    for (int i = 0; i < 6; i++) {
        const mgi_st_entry *e = mgi_st_find(&st, sources[i].name);
        assert_non_null(e);
        assert_int_equal(e->dtype, sources[i].store);
        assert_int_equal(e->rank, sources[i].rank);
        int64_t n = 1;
        for (int d = 0; d < e->rank; d++) {
            assert_int_equal(e->dims[d], sources[i].dims[d]);
            n *= e->dims[d];
        }
        assert_int_equal(mgi_st_read_f32(ctx, e, back, n), MGEN_OK);
        if (e->dtype == MGI_ST_F32 && n > 0)
            assert_memory_equal(back, sources[i].data, (size_t)n * sizeof(float));
        if (e->dtype == MGI_ST_BF16)
            for (int64_t k = 0; k < n; k++) {
                double x = (double)values[k], y = (double)back[k];
                if (isnan(x))
                    assert_true(isnan(y));
                else if (isfinite(y)) /* at most half a unit of 8 bits */
                    assert_true(fabs(x - y) <= fabs(x) / 256 + 0x1p-133);
                else
                    assert_true(fabs(x) > 0x1.fep127);
            }
        assert_int_equal(mgi_st_read_f32(ctx, e, back, n + 1), MGEN_E_INVALID);
    }
    assert_null(mgi_st_find(&st, "none"));
    assert_null(mgi_st_find(&st, ""));
    mgi_st_close(ctx, &st);
    mgi_st_close(ctx, &st);
    assert_int_equal(ctx->heap->now, empty_bytes);

    /* the host's own path, and the same file again */
    assert_int_equal(mgi_st_open(ctx, NULL, path, &st), MGEN_OK);
    assert_int_equal(st.count, 6);
    mgi_st_close(ctx, &st);
    assert_int_equal(mgi_st_write(ctx, path, NULL, 0, NULL, 0), MGEN_OK);
    assert_int_equal(open_file(&st), MGEN_OK);
    assert_int_equal(st.count, 0);
    assert_null(st.metadata);
    assert_null(mgi_st_find(&st, "scalar"));
    mgi_st_close(ctx, &st);
    free(values);
    free(back);
}

/* Values that only a reader can read, and an entry read in parts. */
static mgen_status count_up(const void *data, int64_t first, float *out, int64_t n)
{
    const float *start = data;
    if (first == *start)
        return mgi_fail(ctx, MGEN_E_NUMERIC, "value %lld cannot be read", (long long)first);
    for (int64_t i = 0; i < n; i++)
        out[i] = *start + (float)(first + i);
    return MGEN_OK;
}

static void test_in_pieces(void **state)
{
    (void)state;
    enum { N = 150000 }; /* more than two pieces of the writer's */
    float start = -1.0f, fails = 0.0f, part[100];
    mgi_st_source sources[] = {{"whole", MGI_ST_F32, 1, {N}, &start},
                               {"half", MGI_ST_BF16, 1, {N}, &start}};
    assert_int_equal(mgi_st_write_read(ctx, path, sources, 2, NULL, 0, count_up), MGEN_OK);
    mgi_st_file st;
    assert_int_equal(open_file(&st), MGEN_OK);
    for (int64_t at = 0; at < N; at += 49999) {
        for (int i = 0; i < 2; i++) {
            int64_t n = N - at < 100 ? N - at : 100;
            const mgi_st_entry *e = mgi_st_find(&st, sources[i].name);
            assert_int_equal(mgi_st_read_part(ctx, e, at, part, n), MGEN_OK);
            for (int64_t k = 0; k < n; k++) /* half: 8 bits */
                assert_true(fabsf(part[k] - (float)(at + k - 1)) <= (i ? (float)at / 256 : 0.0f));
        }
    }
    mgi_st_close(ctx, &st);
    sources[1].data = &fails;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mgi_st_write_read(ctx, path, sources, 2, NULL, 0, count_up), MGEN_E_NUMERIC);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void test_bf16(void **state)
{
    (void)state;
    static const struct {
        uint32_t from, to; /* bits of floats */
    } known[] = {
        {0x00000000, 0x00000000}, {0x80000000, 0x80000000}, {0x3F800000, 0x3F800000},
        {0x3F808000, 0x3F800000}, /* a tie, to even */
        {0x3F818000, 0x3F820000}, /* a tie, to even */
        {0x3F808001, 0x3F810000}, {0x3F807FFF, 0x3F800000}, {0xBF808001, 0xBF810000},
        {0x3FFFFFFF, 0x40000000}, /* carries into the exponent */
        {0x7F7FFFFF, 0x7F800000}, /* rounds to infinity */
        {0x7F7F7FFF, 0x7F7F0000}, {0x7F800000, 0x7F800000}, {0xFF800000, 0xFF800000},
        {0x7F800001, 0x7FC00000}, /* not-a-number whose low bits go: still not infinity */
        {0xFFC12345, 0xFFC10000}, {0x00000001, 0x00000000}, {0x00018000, 0x00020000},
    };
    enum { N = sizeof(known) / sizeof(known[0]) };
    float values[N], back[N];
    for (int i = 0; i < N; i++)
        values[i] = float_of(known[i].from);
    mgi_st_source source = {"x", MGI_ST_BF16, 1, {N}, values};
    assert_int_equal(mgi_st_write(ctx, path, &source, 1, NULL, 0), MGEN_OK);
    mgi_st_file st;
    assert_int_equal(open_file(&st), MGEN_OK);
    assert_int_equal(mgi_st_read_f32(ctx, &st.entries[0], back, N), MGEN_OK);
    for (int i = 0; i < N; i++)
        assert_int_equal(bits_of(back[i]), known[i].to);
    mgi_st_close(ctx, &st);
}

/* Halves of every kind, at an odd place in the file. */
static void test_f16_unaligned(void **state)
{
    (void)state;
    static const struct {
        uint16_t half;
        uint32_t bits;
    } known[] = {
        {0x0000, 0x00000000}, {0x8000, 0x80000000}, {0x3C00, 0x3F800000}, {0xC000, 0xC0000000},
        {0x7BFF, 0x477FE000}, {0x0400, 0x38800000}, {0x03FF, 0x387FC000}, {0x0001, 0x33800000},
        {0x8001, 0xB3800000}, {0x7C00, 0x7F800000}, {0xFC00, 0xFF800000}, {0x3555, 0x3EAAA000},
        {0x7E00, 0x7FC00000},
    };
    enum { N = sizeof(known) / sizeof(known[0]) };
    static const char header[] =
        "{\"pad\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
        "\"half\":{\"dtype\":\"F16\",\"shape\":[13],\"data_offsets\":[1,27]},"
        "\"whole\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[27,35]},"
        "\"brain\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[35,37]}}";
    uint8_t bytes[8 + sizeof(header) + 40];
    uint64_t length = sizeof(header) - 1;
    float whole[2] = {1.5f, -3.0f};
    uint16_t brain = 0x4049;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, (size_t)length);
    uint8_t *data = bytes + 8 + length;
    data[0] = 7;
    for (size_t i = 0; i < N; i++)
        memcpy(data + 1 + 2 * i, &known[i].half, 2);
    memcpy(data + 27, whole, 8);
    memcpy(data + 35, &brain, 2);
    put(bytes, 8 + (size_t)length + 37);
    mgi_st_file st;
    float back[N];
    assert_int_equal(N, 13);
    assert_int_equal(open_file(&st), MGEN_OK);
    assert_int_equal(mgi_st_read_f32(ctx, mgi_st_find(&st, "half"), back, N), MGEN_OK);
    for (int i = 0; i < N; i++)
        assert_int_equal(bits_of(back[i]), known[i].bits);
    assert_int_equal(mgi_st_read_f32(ctx, mgi_st_find(&st, "whole"), back, 2), MGEN_OK);
    assert_memory_equal(back, whole, 8);
    assert_int_equal(mgi_st_read_f32(ctx, mgi_st_find(&st, "brain"), back, 1), MGEN_OK);
    assert_int_equal(bits_of(back[0]), 0x40490000);
    assert_int_equal(mgi_st_read_f32(ctx, mgi_st_find(&st, "pad"), back, 1), MGEN_E_UNSUPPORTED);
    assert_said("'pad'");
    mgi_st_close(ctx, &st);
}

/* Headers that are fine though not as we would write them. */
static void test_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data_size;
        int64_t count;
    } good[] = {
        {"{}", 0, 0},
        {"{}      ", 0, 0},
        {"{\"__metadata__\":{}}", 0, 0},
        /* order of keys and of data is free; an empty tensor fits anywhere */
        {"{\"b\":{\"data_offsets\":[4,8],\"shape\":[1],\"dtype\":\"F32\"},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"e\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[4,4]},"
         "\"f\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[8,8]}}",
         8, 4},
        {"{\"s\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, 1},
        /* types we only pass by */
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[8,16]},"
         "\"c\":{\"dtype\":\"U64\",\"shape\":[1],\"data_offsets\":[16,24]},"
         "\"d\":{\"dtype\":\"U32\",\"shape\":[1],\"data_offsets\":[24,28]},"
         "\"e\":{\"dtype\":\"I16\",\"shape\":[1],\"data_offsets\":[28,30]},"
         "\"f\":{\"dtype\":\"U16\",\"shape\":[1],\"data_offsets\":[30,32]},"
         "\"g\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[32,33]},"
         "\"h\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[33,34]},"
         "\"i\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[34,35]},"
         "\"j\":{\"dtype\":\"F8_E5M2\",\"shape\":[1],\"data_offsets\":[35,36]}}",
         36, 10},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        mgi_st_file st;
        put_header(good[i].header, good[i].data_size);
        if (open_file(&st) != MGEN_OK)
            fail_msg("%s: %s", good[i].header, ctx->error_text);
        assert_int_equal(st.count, good[i].count);
        if (st.count == 10)
            assert_int_equal(st.entries[0].dtype, MGI_ST_OTHER);
        mgi_st_close(ctx, &st);
    }
}

#define T(dtype, shape, offsets)                                                                   \
    "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data_size;
        mgen_status code;
        const char *part;
    } bad[] = {
        {"", 0, MGEN_E_CORRUPT, "begin with '{'"},
        {" {}", 0, MGEN_E_CORRUPT, "begin with '{'"},
        {"[]", 0, MGEN_E_CORRUPT, "begin with '{'"},
        {"{", 0, MGEN_E_CORRUPT, "line 1, column 2"},
        {"{}x", 0, MGEN_E_CORRUPT, "something follows"},
        {"{}", 1, MGEN_E_CORRUPT, "1 bytes after the last tensor"},
        {"{\"t\":1}", 0, MGEN_E_CORRUPT, "tensor 't': expected an object"},
        {"{\"t\":{}}", 0, MGEN_E_CORRUPT, "\"dtype\" is missing"},
        {"{\"t\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, MGEN_E_CORRUPT, "\"dtype\""},
        {"{\"t\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, MGEN_E_CORRUPT,
         "shape is missing"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, MGEN_E_CORRUPT, "data_offsets is missing"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
         MGEN_E_CORRUPT, "unknown key \"x\""},
        {"{\"t\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
         MGEN_E_CORRUPT, "twice the key 'dtype'"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         2, MGEN_E_CORRUPT, "twice the key 't'"},
        /* names */
        {"{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MGEN_E_CORRUPT,
         "without a name"},
        {"{\"a\\n\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MGEN_E_CORRUPT,
         "control character"},
        {"{\"a\\u0000\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
         MGEN_E_CORRUPT, "\\u0000"},
        {"{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MGEN_E_CORRUPT,
         "not UTF-8"},
        /* dtype */
        {T("4", "[1]", "[0,4]"), 4, MGEN_E_CORRUPT, "\"dtype\" is 4"},
        {T("\"\"", "[1]", "[0,4]"), 4, MGEN_E_UNSUPPORTED, "dtype ''"},
        {T("\"f32\"", "[1]", "[0,4]"), 4, MGEN_E_UNSUPPORTED, "dtype 'f32'"},
        {T("\"F4\"", "[2]", "[0,1]"), 1, MGEN_E_UNSUPPORTED, "dtype 'F4'"},
        {T("\"F6_E2M3\"", "[4]", "[0,3]"), 3, MGEN_E_UNSUPPORTED, "tensor 't': unknown dtype"},
        /* shape */
        {T("\"U8\"", "1", "[0,1]"), 1, MGEN_E_CORRUPT, "shape is not an array"},
        {T("\"U8\"", "null", "[0,1]"), 1, MGEN_E_CORRUPT, "shape is not an array"},
        {T("\"U8\"", "[-1]", "[0,1]"), 1, MGEN_E_CORRUPT, "shape[0]"},
        {T("\"U8\"", "[1,1.0]", "[0,1]"), 1, MGEN_E_CORRUPT, "shape[1]"},
        {T("\"U8\"", "[1,1,\"1\"]", "[0,1]"), 1, MGEN_E_CORRUPT, "shape[2]"},
        {T("\"U8\"", "[18446744073709551617]", "[0,1]"), 1, MGEN_E_CORRUPT, "shape[0]"},
        {T("\"U8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, MGEN_E_CORRUPT, "9 dimensions"},
        {T("\"U8\"", "[4294967296,4294967296]", "[0,1]"), 1, MGEN_E_CORRUPT, "overflows"},
        {T("\"F32\"", "[4611686018427387904]", "[0,4]"), 4, MGEN_E_CORRUPT, "overflows"},
        {T("\"F32\"", "[4611686018427387904,4,0]", "[0,0]"), 0, MGEN_E_CORRUPT, "overflows"},
        {T("\"F32\"", "[2]", "[0,4]"), 4, MGEN_E_CORRUPT, "make 8 bytes, data_offsets 4"},
        {T("\"F32\"", "[1]", "[0,8]"), 8, MGEN_E_CORRUPT, "make 4 bytes, data_offsets 8"},
        {T("\"F32\"", "[0]", "[0,4]"), 4, MGEN_E_CORRUPT, "make 0 bytes"},
        /* data_offsets */
        {T("\"U8\"", "[1]", "1"), 1, MGEN_E_CORRUPT, "data_offsets is not a pair"},
        {T("\"U8\"", "[1]", "[]"), 1, MGEN_E_CORRUPT, "data_offsets is not a pair"},
        {T("\"U8\"", "[1]", "[0]"), 1, MGEN_E_CORRUPT, "data_offsets is not a pair"},
        {T("\"U8\"", "[1]", "[0,1,2]"), 1, MGEN_E_CORRUPT, "data_offsets is not a pair"},
        {T("\"U8\"", "[1]", "[0,1.0]"), 1, MGEN_E_CORRUPT, "data_offsets is not a pair"},
        {T("\"U8\"", "[1]", "[\"0\",1]"), 1, MGEN_E_CORRUPT, "data_offsets is not a pair"},
        {T("\"U8\"", "[1]", "[-1,0]"), 1, MGEN_E_CORRUPT, "data_offsets [-1, 0] leave"},
        {T("\"U8\"", "[1]", "[1,0]"), 1, MGEN_E_CORRUPT, "data_offsets [1, 0] leave"},
        {T("\"U8\"", "[2]", "[0,2]"), 1, MGEN_E_CORRUPT, "data_offsets [0, 2] leave"},
        {T("\"U8\"", "[1]", "[9223372036854775806,9223372036854775807]"), 1, MGEN_E_CORRUPT,
         "leave the 1 bytes"},
        {T("\"U8\"", "[1]", "[1,2]"), 2, MGEN_E_CORRUPT, "tensor 't': data_offsets leave a hole"},
        {T("\"U8\"", "[1]", "[0,1]"), 2, MGEN_E_CORRUPT, "1 bytes after the last tensor"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
         3, MGEN_E_CORRUPT, "tensor 'b': data_offsets overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
         2, MGEN_E_CORRUPT, "data_offsets overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
         3, MGEN_E_CORRUPT, "tensor 'b': data_offsets leave a hole"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]}}",
         3, MGEN_E_CORRUPT, "tensor 'b': data_offsets overlap"},
        /* metadata */
        {"{\"__metadata__\":[]}", 0, MGEN_E_CORRUPT, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, MGEN_E_CORRUPT, "__metadata__: 'a' is not a string"},
        {"{\"__metadata__\":{\"a\":\"x\",\"b\":null}}", 0, MGEN_E_CORRUPT,
         "__metadata__: 'b' is not a string"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refuse(bad[i].header, bad[i].data_size, bad[i].code, bad[i].part);

    char header[MGI_ST_NAME_MAX + 100], name[MGI_ST_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[MGI_ST_NAME_MAX + 1] = '\0';
    snprintf(header, sizeof(header),
             "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", name);
    refuse(header, 1, MGEN_E_CORRUPT, "longer than 1024 bytes");
}

/* More members than there may be tensors. */
static void test_many(void **state)
{
    (void)state;
    size_t room = 8 + 16 * ((size_t)MGI_ST_TENSORS_MAX + 2), at = 8;
    char *text = malloc(room);
    mgi_st_file st;
    assert_non_null(text);
    for (int i = 0; i <= MGI_ST_TENSORS_MAX; i++)
        at += (size_t)snprintf(text + at, room - at, "%s\"%d\":0", i ? "," : "{", i);
    text[at++] = '}';
    uint64_t length = at - 8;
    memcpy(text, &length, 8);
    put(text, at);
    free(text);
    assert_int_equal(open_file(&st), MGEN_E_CORRUPT);
    assert_said("1000001 tensors; at most 1000000 are read");
}

static void test_refused_length(void **state)
{
    (void)state;
    static const struct {
        uint64_t length;
        size_t size;
        const char *part;
    } bad[] = {
        {0, 0, "0 bytes are too few"},
        {2, 7, "7 bytes are too few"},
        {0, 8, "begin with '{'"},
        {0, 10, "begin with '{'"},
        {3, 10, "passes the file's end at 10"},
        {100000000, 10, "passes the file's end"},
        {100000001, 10, "header length 100000001"},
        {UINT64_MAX, 10, "header length 18446744073709551615"},
        {UINT64_MAX - 7, 10, "header length"},
        {(uint64_t)1 << 63, 10, "header length"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t bytes[16];
        mgi_st_file st;
        memcpy(bytes, &bad[i].length, 8);
        memcpy(bytes + 8, "{}", 2);
        put(bytes, bad[i].size);
        assert_int_equal(open_file(&st), MGEN_E_CORRUPT);
        assert_said(bad[i].part);
    }
    mgi_st_file st;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_file(&st), MGEN_E_NOT_FOUND);
    assert_int_equal(mgi_st_open(ctx, dir, "../x", &st), MGEN_E_CORRUPT);
    assert_int_equal(mgi_st_open(ctx, NULL, "", &st), MGEN_E_INVALID);
}

/* A small file with everything in it. Returns its size. */
static size_t write_small(uint8_t *bytes, size_t room)
{
    static const float values[6] = {1, -2, 3.5f, 0, 1e30f, -1e-30f};
    static const char *const metadata[] = {"format", "mgen"};
    mgi_st_source sources[] = {
        {"blocks.0.weight", MGI_ST_F32, 2, {2, 3}, values},
        {"blocks.0.bias", MGI_ST_BF16, 1, {3}, values},
        {"empty", MGI_ST_F32, 1, {0}, NULL},
    };
    assert_int_equal(mgi_st_write(ctx, path, sources, 3, metadata, 1), MGEN_OK);
    mgi_file file;
    assert_int_equal(mgi_file_open(ctx, path, &file), MGEN_OK);
    size_t size = file.size;
    assert_true(size <= room);
    memcpy(bytes, file.data, size);
    mgi_file_close(ctx, &file);
    return size;
}

static void test_truncated(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    size_t size = write_small(bytes, sizeof(bytes));
    mgi_st_file st;
    for (size_t cut = 0; cut < size; cut++) {
        put(bytes, cut);
        assert_int_equal(open_file(&st), MGEN_E_CORRUPT);
        assert_said("model.safetensors");
    }
    bytes[size] = 0;
    put(bytes, size + 1);
    assert_int_equal(open_file(&st), MGEN_E_CORRUPT);
    put(bytes, size);
    assert_int_equal(open_file(&st), MGEN_OK);
    mgi_st_close(ctx, &st);
}

/* What is accepted must be usable: read all of it. */
static void use(mgi_st_file *st)
{
    float values[64];
    for (int64_t i = 0; i < st->count; i++) {
        const mgi_st_entry *e = &st->entries[i];
        int64_t n = 1;
        for (int d = 0; d < e->rank; d++)
            n *= e->dims[d];
        assert_true(n >= 0 && n <= 64);
        assert_ptr_equal(mgi_st_find(st, e->name), e);
        mgen_status status = mgi_st_read_f32(ctx, e, values, n);
        assert_true(status == MGEN_OK || status == MGEN_E_UNSUPPORTED);
        assert_true(e->bytes <= sizeof values);
        assert_int_equal(mgi_st_read_bytes(ctx, e, 0, values, e->bytes), MGEN_OK);
    }
}

static void test_changed(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    size_t size = write_small(bytes, sizeof(bytes));
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    int accepted = 0;
    for (size_t at = 0; at < size; at++) {
        for (int change = 1; change < 256; change++) {
            uint8_t byte = (uint8_t)(bytes[at] ^ change);
            mgi_st_file st;
            assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
            mgen_status status = open_file(&st);
            assert_true(status == MGEN_OK || status == MGEN_E_CORRUPT ||
                        status == MGEN_E_UNSUPPORTED);
            if (status == MGEN_OK) {
                accepted++;
                use(&st);
                mgi_st_close(ctx, &st);
            }
        }
        assert_int_equal(pwrite(fd, &bytes[at], 1, (off_t)at), 1);
    }
    close(fd);
    assert_true(accepted > 0); /* data and letters of names may change */
    assert_int_equal(ctx->heap->now, empty_bytes);
}

static void test_memory(void **state)
{
    (void)state;
    /* a header that promises much and holds nothing */
    enum { SIZE = 1000000 };
    char *text = malloc(SIZE + 8);
    assert_non_null(text);
    uint64_t length = SIZE;
    memcpy(text, &length, 8);
    memset(text + 8, ' ', SIZE);
    memcpy(text + 8, "{\"a\":{\"shape\":[9999999999999]", 29);
    put(text, SIZE + 8);
    free(text);
    ctx->heap->peak = ctx->heap->now;
    mgi_st_file st;
    assert_int_equal(open_file(&st), MGEN_E_CORRUPT);
    assert_true(ctx->heap->peak - empty_bytes < 4 * SIZE + (1 << 20));
}

static void test_no_memory(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    size_t size = write_small(bytes, sizeof(bytes));
    mgi_st_file st;
    for (int k = 1;; k++) {
        memory.calls = 0;
        memory.fail_at = k;
        mgen_status status = mgi_st_open(ctx, NULL, path, &st);
        memory.fail_at = 0;
        if (status == MGEN_OK) {
            assert_true(k > 4);
            mgi_st_close(ctx, &st);
            break;
        }
        assert_int_equal(status, MGEN_E_NO_MEMORY);
        assert_int_equal(ctx->heap->now, empty_bytes);
    }
    float value = 1;
    const mgi_st_source sources[] = {{"x", MGI_ST_F32, 1, {1}, &value},
                                     {"y", MGI_ST_F8, 2, {1, 1}, &value}};
    for (int k = 1;; k++) {
        memory.calls = 0;
        memory.fail_at = k;
        mgen_status status = mgi_st_write(ctx, path, sources, 2, NULL, 0);
        memory.fail_at = 0;
        assert_int_equal(ctx->heap->now, empty_bytes);
        if (status == MGEN_OK) {
            assert_true(k > 4);
            break;
        }
        assert_int_equal(status, MGEN_E_NO_MEMORY);
        mgi_file file; /* the old file is untouched */
        assert_int_equal(mgi_file_open(ctx, path, &file), MGEN_OK);
        assert_int_equal(file.size, size);
        assert_memory_equal(file.data, bytes, size);
        mgi_file_close(ctx, &file);
    }
}

static void test_write_refused(void **state)
{
    (void)state;
    static const float value[4] = {1, 2, 3, 4};
    static const struct {
        mgi_st_source source;
        const char *part;
    } bad[] = {
        {{"", MGI_ST_F32, 1, {1}, value}, "without a name"},
        {{NULL, MGI_ST_F32, 1, {1}, value}, "without a name"},
        {{"a\n", MGI_ST_F32, 1, {1}, value}, "control character"},
        {{"\xff", MGI_ST_F32, 1, {1}, value}, "not UTF-8"},
        {{"__metadata__", MGI_ST_F32, 1, {1}, value}, "__metadata__"},
        {{"t", MGI_ST_F16, 1, {1}, value}, "'t' can be stored"},
        {{"t", MGI_ST_F32, 9, {1}, value}, "'t' has an impossible shape"},
        {{"t", MGI_ST_F32, -1, {1}, value}, "'t' has an impossible shape"},
        {{"t", MGI_ST_F32, 1, {-1}, value}, "'t' has an impossible shape"},
        {{"t", MGI_ST_F32, 2, {INT64_MAX, 2}, value}, "'t' has an impossible shape"},
        {{"t", MGI_ST_F32, 1, {1}, NULL}, "'t' has no data"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mgi_st_write(ctx, path, &bad[i].source, 1, NULL, 0), MGEN_E_INVALID);
        assert_said(bad[i].part);
    }
    mgi_st_source twice[] = {{"t", MGI_ST_F32, 1, {1}, value},
                             {"u", MGI_ST_F32, 1, {1}, value},
                             {"t", MGI_ST_F32, 1, {1}, value}};
    assert_int_equal(mgi_st_write(ctx, path, twice, 3, NULL, 0), MGEN_E_INVALID);
    assert_said("two tensors are named 't'");
    const char *same[] = {"k", "1", "k", "2"}, *half[] = {"k", NULL};
    assert_int_equal(mgi_st_write(ctx, path, twice, 1, same, 2), MGEN_E_INVALID);
    assert_said("named 'k'");
    assert_int_equal(mgi_st_write(ctx, path, twice, 1, half, 1), MGEN_E_INVALID);
    assert_int_equal(mgi_st_write(ctx, path, twice, -1, NULL, 0), MGEN_E_INVALID);
    mgi_st_source huge[] = {{"a", MGI_ST_F32, 1, {INT64_MAX / 4}, value},
                            {"b", MGI_ST_F32, 1, {INT64_MAX / 4}, value}};
    assert_int_equal(mgi_st_write(ctx, path, huge, 2, NULL, 0), MGEN_E_INVALID);
    assert_said("too large for one file");
    char there[600];
    snprintf(there, sizeof(there), "%s/none/x.safetensors", dir);
    assert_int_equal(mgi_st_write(ctx, there, twice, 1, NULL, 0), MGEN_E_NOT_FOUND);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(ctx->heap->now, empty_bytes);
}

static void test_write_no_space(void **state)
{
    (void)state;
    float *values = calloc(10000, sizeof(float));
    assert_non_null(values);
    mgi_st_source source = {"x", MGI_ST_BF16, 1, {10000}, values};
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (rlim_t room = 0; room < 20000; room += 1999) {
        small.rlim_cur = room;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        mgen_status status = mgi_st_write(ctx, path, &source, 1, NULL, 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, MGEN_E_NO_SPACE);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    signal(SIGXFSZ, handler);
    free(values);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),     TEST(test_in_pieces),      TEST(test_bf16),
        TEST(test_f16_unaligned),  TEST(test_accepted),       TEST(test_refused),
        TEST(test_refused_length), TEST(test_many),           TEST(test_truncated),
        TEST(test_changed),        TEST(test_memory),         TEST(test_no_memory),
        TEST(test_write_refused),  TEST(test_write_no_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
