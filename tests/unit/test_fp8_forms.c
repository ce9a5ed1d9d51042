/* SPDX-License-Identifier: MIT
 * FP8 in safetensors as others write it: codes and scales of each form against products by hand, bad ones, and what may be held as
 * codes. */
#include "core/context.h"
#include "io/safetensors_set.h"
#include "tensor/device.h"

#include "ok.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/mgi-fp8-forms-XXXXXX";
static mgen_context *ctx;

static int set_up(void **state)
{
    const mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    (void)state;
    return !mkdtemp(folder) || mgi_context_init(&ctx, &params) != MGEN_OK;
}

static int tear_down(void **state)
{
    char command[64];
    (void)state;
    mgi_context_free(ctx);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static void refuse(mgen_status status, mgen_status expected, const char *says)
{
    if (status != expected || !strstr(mgen_last_error(ctx), says))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(status), mgen_last_error(ctx),
                 says);
}

/* ---- files by hand ---------------------------------------------------------------------------- */

typedef struct tensor {
    const char *name, *dtype, *shape;
    const void *data;
    size_t bytes;
} tensor;

static void put(const char *name, const tensor *list, int count)
{
    char header[4096] = "{", path[128];
    size_t at = 0, used = 1;
    for (int i = 0; i < count; i++) {
        used += (size_t)snprintf(
            header + used, sizeof header - used,
            "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", i ? "," : "",
            list[i].name, list[i].dtype, list[i].shape, at, at + list[i].bytes);
        at += list[i].bytes;
    }
    used += (size_t)snprintf(header + used, sizeof header - used, "}");
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    const uint64_t length = used;
    assert_non_null(f);
    assert_int_equal(fwrite(&length, sizeof length, 1, f), 1);
    assert_int_equal(fwrite(header, used, 1, f), 1);
    for (int i = 0; i < count; i++)
        assert_int_equal(fwrite(list[i].data, 1, list[i].bytes, f), list[i].bytes);
    assert_int_equal(fclose(f), 0);
}

/* Codes as their formats are defined: a sign, then exponent and mantissa of so many bits. */
static double decoded(uint8_t code, int mantissa_bits)
{
    const int bias = mantissa_bits == 3 ? 7 : 15;
    const int exponent = (code & 0x7f) >> mantissa_bits,
              mantissa = code & ((1 << mantissa_bits) - 1);
    const double size = exponent
                            ? ldexp(1.0 + (double)mantissa / (1 << mantissa_bits), exponent - bias)
                            : ldexp((double)mantissa / (1 << mantissa_bits), 1 - bias);
    return code & 0x80 ? -size : size;
}

static bool is_number(uint8_t code, int mantissa_bits)
{
    return mantissa_bits == 3 ? (code & 0x7f) != 0x7f : (code & 0x7f) < 0x7c;
}

/* ---- codes ------------------------------------------------------------------------------------ */

/* Every code of both kinds, alone and times a scale: one rounding of the product, to f32. */
static void test_codes(void **state)
{
    static const char *const dtypes[] = {[2] = "F8_E5M2", [3] = "F8_E4M3"};
    const float scale = 0.3f;
    (void)state;
    for (int bits = 2; bits <= 3; bits++)
        for (int scaled = 0; scaled < 2; scaled++) {
            uint8_t codes[256];
            char shape[16];
            float out[256];
            mgi_st_file st;
            int n = 0;
            for (int i = 0; i < 256; i++)
                if (is_number((uint8_t)i, bits))
                    codes[n++] = (uint8_t)i;
            assert_int_equal(n, bits == 3 ? 254 : 248);
            snprintf(shape, sizeof shape, "[2,%d]", n / 2);
            const tensor list[] = {{"a.weight", dtypes[bits], shape, codes, (size_t)n},
                                   {"a.weight_scale", "F32", "[]", &scale, 4}};
            put("codes", list, 1 + scaled);
            OK(mgi_st_open(ctx, folder, "codes", &st));
            assert_int_equal(st.count, 1);
            OK(mgi_st_read_f32(ctx, &st.entries[0], out, n));
            for (int i = 0; i < n; i++) {
                const double value = decoded(codes[i], bits);
                const float wanted =
                    scaled ? (float)(value * (double)scale) : (float)value; /* exact in double */
                if (memcmp(&out[i], &wanted, sizeof wanted))
                    fail_msg("%s %02x is %g, not %g", dtypes[bits], codes[i], (double)out[i],
                             (double)wanted);
            }
            mgi_st_close(ctx, &st);
        }
}

/* Codes of no numbers, wherever they are. */
static void test_no_numbers(void **state)
{
    static const struct {
        const char *dtype;
        uint8_t code;
        bool number;
    } all[] = {{"F8_E4M3", 0x7f, false}, {"F8_E4M3", 0xff, false}, {"F8_E4M3", 0x7c, true},
               {"F8_E4M3", 0x7e, true},  {"F8_E5M2", 0x7c, false}, {"F8_E5M2", 0xfc, false},
               {"F8_E5M2", 0x7d, false}, {"F8_E5M2", 0xff, false}, {"F8_E5M2", 0x7b, true}};
    (void)state;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        for (int place = 0; place < 19; place++) {
            uint8_t codes[19];
            char says[64];
            float out[19];
            mgi_st_file st;
            memset(codes, 0x39, sizeof codes);
            codes[place] = all[k].code;
            const tensor w = {"w", all[k].dtype, "[19]", codes, sizeof codes};
            put("bad", &w, 1);
            OK(mgi_st_open(ctx, folder, "bad", &st));
            mgen_status status = mgi_st_read_f32(ctx, &st.entries[0], out, 19);
            snprintf(says, sizeof says, "'w': value %d is the code of no number", place);
            if (all[k].number)
                OK(status);
            else
                refuse(status, MGEN_E_CORRUPT, says);
            mgi_st_close(ctx, &st);
        }
}

/* ---- scales ----------------------------------------------------------------------------------- */

enum { ROWS = 260, COLS = 130, GRID_ROWS = 3, GRID_COLS = 2, ALL = ROWS * COLS };

static uint8_t codes[ALL];
static float scales[ROWS];
static uint16_t halves[2][ROWS]; /* of the same numbers: bf16, f16 */

/* 1.25, 1.5, ... in order: numbers of bf16 and f16, most of them no powers of two. */
static void make_numbers(void)
{
    for (int i = 0; i < ALL; i++)
        codes[i] = (uint8_t)((i * 37 + i / 251) % 0x7c + (i % 3 ? 0 : 0x80));
    for (int i = 0; i < ROWS; i++) {
        uint32_t bits;
        scales[i] = ldexpf(1.0f + (float)(i % 127 + 1) / 128.0f, -(i % 5));
        memcpy(&bits, &scales[i], sizeof bits);
        halves[0][i] = (uint16_t)(bits >> 16);
        halves[1][i] = (uint16_t)(((bits >> 23) - 127 + 15) << 10 | (bits >> 13 & 0x3ff));
    }
}

typedef enum form { NONE, ONE, EACH_ROW, EACH_BLOCK } form;

static int place_of(form f, int i)
{
    return f == EACH_ROW     ? i / COLS
           : f == EACH_BLOCK ? i / COLS / 128 * GRID_COLS + i % COLS / 128
                             : 0;
}

static const struct {
    const char *name, *scale, *dtype, *scale_shape;
    form form;
    int count;
} forms[] = {
    {"l.weight", NULL, NULL, NULL, NONE, 0},
    {"l.weight", "l.weight_scale", "F32", "[]", ONE, 1},
    {"l.weight", "l.weight_scale", "F32", "[1]", ONE, 1},
    {"l.weight", "l.weight_scale", "BF16", "[1,1]", ONE, 1},
    {"l.weight", "l.weight_scale_inv", "F32", "[]", ONE, 1},
    {"l.weight", "l.scale_weight", "F32", "[]", ONE, 1},
    {"l.weight", "l.scale_weight", "F16", "[1]", ONE, 1},
    {"l.weight", "l.weight_scale", "F32", "[260,1]", EACH_ROW, ROWS},
    {"l.weight", "l.weight_scale", "BF16", "[260,1]", EACH_ROW, ROWS},
    {"l.weight", "l.weight_scale", "F32", "[260]", EACH_ROW, ROWS},
    {"l.weight", "l.scale_weight", "F16", "[260]", EACH_ROW, ROWS},
    {"l.weight", "l.weight_scale_inv", "F32", "[3,2]", EACH_BLOCK, GRID_ROWS *GRID_COLS},
    {"l.weight", "l.weight_scale_inv", "BF16", "[3,2]", EACH_BLOCK, GRID_ROWS *GRID_COLS},
    {"l.weight", "l.weight_scale", "F32", "[3,2]", EACH_BLOCK, GRID_ROWS *GRID_COLS},
    {"matrix", "matrix_scale", "F32", "[260,1]", EACH_ROW, ROWS},
};

/* Whole and in pieces that begin and end anywhere. */
static void test_forms(void **state)
{
    float *out = malloc(ALL * sizeof *out);
    (void)state;
    assert_non_null(out);
    make_numbers();
    for (size_t k = 0; k < sizeof forms / sizeof *forms; k++)
        for (int bits = 2; bits <= 3; bits++) {
            const bool wide = forms[k].dtype && !strcmp(forms[k].dtype, "F32");
            const void *data =
                wide ? (void *)scales : halves[forms[k].dtype && !strcmp(forms[k].dtype, "F16")];
            const tensor list[] = {
                {forms[k].name, bits == 3 ? "F8_E4M3" : "F8_E5M2", "[260,130]", codes, ALL},
                {forms[k].scale, forms[k].dtype, forms[k].scale_shape, data,
                 (size_t)forms[k].count * (wide ? 4 : 2)}};
            mgi_st_file st;
            put("form", list, forms[k].scale ? 2 : 1);
            OK(mgi_st_open(ctx, folder, "form", &st));
            assert_int_equal(st.count, 1);
            const mgi_st_entry *e = mgi_st_find(&st, forms[k].name);
            for (int64_t from = 0, n; from < ALL; from += n) {
                n = from ? 7001 : 1;
                n = ALL - from < n ? ALL - from : n;
                OK(mgi_st_read_part(ctx, e, from, out + from, n));
            }
            for (int i = 0; i < ALL; i++) {
                const float scale = forms[k].scale ? scales[place_of(forms[k].form, i)] : 1.0f;
                const float wanted = (float)(decoded(codes[i], bits) * (double)scale);
                if (out[i] != wanted)
                    fail_msg("%zu: element %d is %g, not %g", k, i, (double)out[i], (double)wanted);
            }
            OK(mgi_st_read_f32(ctx, e, out, ALL));
            assert_true(out[ALL - 1] ==
                        (float)(decoded(codes[ALL - 1], bits) *
                                (double)(forms[k].scale ? scales[place_of(forms[k].form, ALL - 1)]
                                                        : 1.0f)));
            mgi_st_close(ctx, &st);
        }
    free(out);
}

/* Biases and tables of convolutions, of which a plain cast has codes, too; and scales of the rows of the latter. */
static void test_ranks(void **state)
{
    const uint8_t c[12] = {0x38, 0x40, 0xb8, 0x30, 0x44, 0x39, 0x01, 0x80, 0x7e, 0x3c, 0x34, 0x48};
    const float two[2] = {0.75f, 3.0f};
    const tensor list[] = {{"n.bias", "F8_E4M3", "[12]", c, 12},
                           {"n.one", "F8_E4M3", "[]", c + 5, 1},
                           {"n.weight", "F8_E4M3", "[2,3,1,2]", c, 12},
                           {"n.weight_scale", "F32", "[2]", two, 8},
                           {"none", "F8_E5M2", "[0,4]", c, 0}};
    float out[12];
    mgi_st_file st;
    (void)state;
    put("ranks", list, 5);
    OK(mgi_st_open(ctx, folder, "ranks", &st));
    assert_int_equal(st.count, 4);
    OK(mgi_st_read_f32(ctx, mgi_st_find(&st, "n.bias"), out, 12));
    for (int i = 0; i < 12; i++)
        assert_true(out[i] == (float)decoded(c[i], 3));
    OK(mgi_st_read_f32(ctx, mgi_st_find(&st, "n.one"), out, 1));
    assert_true(out[0] == 1.125f);
    OK(mgi_st_read_f32(ctx, mgi_st_find(&st, "n.weight"), out, 12));
    for (int i = 0; i < 12; i++)
        assert_true(out[i] == (float)decoded(c[i], 3) * two[i / 6]);
    OK(mgi_st_read_f32(ctx, mgi_st_find(&st, "none"), out, 0));
    mgi_st_close(ctx, &st);
}

/* What tells how activations were quantised goes with the scales, beside codes alone. */
static void test_beside(void **state)
{
    const uint8_t c[4] = {0x38, 0x40, 0x44, 0x48};
    const float one = 0.5f, wide[4] = {1, 2, 3, 4};
    const tensor list[] = {
        {"a.comfy_quant", "U8", "[4]", c, 4},     {"a.input_scale", "F32", "[]", &one, 4},
        {"a.scale_input", "F32", "[1]", &one, 4}, {"a.weight", "F8_E4M3", "[2,2]", c, 4},
        {"a.weight_scale", "F32", "[]", &one, 4}, {"b.input_scale", "F32", "[]", &one, 4},
        {"b.scale_weight", "F32", "[]", &one, 4}, {"b.weight", "F32", "[2,2]", wide, 16},
        {"b.weight_scale", "F32", "[]", &one, 4}, {"scaled_fp8", "F8_E4M3", "[2]", c, 2},
        {"t.scaled_fp8", "F8_E5M2", "[0]", c, 0}, {"u.scaled_fp8", "F8_E5M2", "[4]", c, 4}};
    static const char *const left[] = {"a.weight", "b.input_scale",  "b.scale_weight",
                                       "b.weight", "b.weight_scale", "u.scaled_fp8"};
    mgi_st_file st;
    (void)state;
    put("beside", list, 12);
    OK(mgi_st_open(ctx, folder, "beside", &st));
    assert_int_equal(st.count, 6);
    for (int i = 0; i < 6; i++)
        assert_string_equal(st.entries[i].name, left[i]);
    mgi_st_close(ctx, &st);
}

/* Scales in another file than their codes, and all of them named by the index. */
static void test_set(void **state)
{
    const uint8_t c[4] = {0x38, 0x40, 0x44, 0x48};
    const float half = 0.3f;
    const tensor first[] = {{"a.weight", "F8_E4M3", "[2,2]", c, 4},
                            {"b.weight_scale_inv", "F32", "[1,1]", &half, 4}},
                 second[] = {{"a.weight_scale", "F32", "[]", &half, 4},
                             {"b.weight", "F8_E5M2", "[2,2]", c, 4}};
    static const char index[] =
        "{\"weight_map\": {\"a.weight\": \"1.safetensors\", \"a.weight_scale\": \"2.safetensors\", "
        "\"b.weight\": \"2.safetensors\", \"b.weight_scale_inv\": \"1.safetensors\"}}";
    float out[4];
    char path[128];
    mgi_st_set set;
    (void)state;
    put("1.safetensors", first, 2);
    put("2.safetensors", second, 2);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(index, f);
    fclose(f);
    OK(mgi_st_set_open(ctx, folder, "model", &set));
    assert_int_equal(set.count, 2);
    for (int k = 0; k < 2; k++) {
        OK(mgi_st_read_f32(ctx, mgi_st_set_find(&set, k ? "b.weight" : "a.weight"), out, 4));
        for (int i = 0; i < 4; i++)
            assert_true(out[i] == (float)(decoded(c[i], k ? 2 : 3) * (double)half));
    }
    mgi_st_set_close(ctx, &set);
}

/* ---- what is refused -------------------------------------------------------------------------- */

static mgen_status read_it(const tensor *list, int count, const char *name, bool as_codes)
{
    mgi_st_file st;
    float out[300];
    put("bad", list, count);
    MGI_TRY(mgi_st_open(ctx, folder, "bad", &st));
    const mgi_st_entry *e = mgi_st_find(&st, name);
    assert_non_null(e);
    int64_t n = 1;
    for (int i = 0; i < e->rank; i++)
        n *= e->dims[i];
    mgen_status status =
        as_codes ? mgi_st_read_scales(ctx, e, 0, out, e->dims[0]) : mgi_st_read_f32(ctx, e, out, n);
    mgi_st_close(ctx, &st);
    return status;
}

static void test_refused(void **state)
{
    static const float values[] = {0.0f, -0.0f, -1.5f, INFINITY, -INFINITY, NAN, 0x1.8p100f};
    static const struct {
        const char *name, *dtype, *shape, *says;
        size_t bytes;
    } bad[] = {
        {"w_scale", "I32", "[]", "scales that are not F32, BF16 or F16", 4},
        {"w_scale", "F8_E4M3", "[]", "scales that are not F32, BF16 or F16", 1},
        {"w_scale", "F64", "[1]", "scales that are not F32, BF16 or F16", 8},
        {"w_scale", "F32", "[3]", "neither one number, nor one for each row", 12},
        {"w_scale", "F32", "[4]", "neither one number, nor one for each row", 16},
        {"w_scale", "F32", "[1,2]", "neither one number, nor one for each row", 8},
        {"w_scale", "F32", "[2,2]", "neither one number, nor one for each row", 16},
        {"w_scale", "F32", "[2,1,1]", "neither one number, nor one for each row", 8},
        {"w_scale_inv", "F32", "[2,4]", "neither one number, nor one for each row", 32},
        {"w_scale", "F32", "[0]", "neither one number, nor one for each row", 0},
    };
    const uint8_t c[8] = {0x38, 0x40, 0x44, 0x48, 1, 2, 3, 4};
    const float many[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const tensor list[] = {{"w", "F8_E4M3", "[2,4]", c, 8},
                               {bad[i].name, bad[i].dtype, bad[i].shape, many, bad[i].bytes}};
        refuse(read_it(list, 2, "w", false), MGEN_E_CORRUPT, bad[i].says);
        refuse(read_it(list, 2, "w", true), MGEN_E_CORRUPT, bad[i].says);
    }
    const tensor two[] = {{"w.weight", "F8_E4M3", "[2,4]", c, 8},
                          {"w.weight_scale", "F32", "[]", many, 4},
                          {"w.scale_weight", "F32", "[]", many, 4}};
    refuse(read_it(two, 3, "w.weight", false), MGEN_E_CORRUPT, "has several tensors of scales");
    /* a vector has no rows */
    const tensor vector[] = {{"w", "F8_E4M3", "[8]", c, 8}, {"w_scale", "F32", "[8]", many, 32}};
    refuse(read_it(vector, 2, "w", false), MGEN_E_CORRUPT, "neither one number");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        float each[2] = {0.3f, values[i]};
        const tensor rows[] = {{"w", "F8_E5M2", "[2,4]", c, 8},
                               {"w_scale", "F32", "[2,1]", each, 8}};
        refuse(read_it(rows, 2, "w", false), MGEN_E_CORRUPT, "tensor 'w_scale': scale 1 is ");
        const tensor one[] = {{"w.weight", "F8_E4M3", "[2,4]", c, 8},
                              {"w.scale_weight", "F32", "[]", &values[i], 4}};
        refuse(read_it(one, 2, "w.weight", false), MGEN_E_CORRUPT,
               "tensor 'w.scale_weight': scale 0 is ");
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        const uint16_t half = (uint16_t)(bits >> 16);
        const tensor narrow[] = {{"w", "F8_E4M3", "[2,4]", c, 8},
                                 {"w_scale_inv", "BF16", "[1,1]", &half, 2}};
        refuse(read_it(narrow, 2, "w", false), MGEN_E_CORRUPT, "tensor 'w_scale_inv': scale 0 is ");
    }
}

/* Codes that are held as they are have powers of two, of rows. */
static void test_as_codes(void **state)
{
    static const struct {
        const char *name, *shape;
        float scale;
        const char *says; /* NULL: it can be held */
    } all[] = {
        {NULL, NULL, 1.0f, NULL},
        {"w_scale", "[]", 0.25f, NULL},
        {"w_scale", "[1]", 0x1p100f, NULL},
        {"w_scale", "[]", 0.3f, "scale 0 is 0.3, no power of two"},
        {"w_scale", "[]", 0x1p-101f, "no power of two from 2^-100"},
        {"w_scale", "[260,1]", 0.5f, NULL},
        {"w_scale", "[260]", 0.5f, NULL},
        {"w_scale", "[260]", 0.75f, "open the model in bf16 or f32"},
        {"w_scale_inv", "[3,1]", 0.5f, "one for each block of 128 x 128; open the model in bf16"}};
    float each[ROWS], out[ROWS];
    (void)state;
    make_numbers();
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        mgi_st_file st;
        for (int i = 0; i < ROWS; i++)
            each[i] = all[k].scale;
        const int n = !all[k].shape || strlen(all[k].shape) < 5 ? 1
                      : all[k].shape[1] == '3'                  ? 3
                                                                : ROWS;
        const tensor list[] = {{"w", "F8_E4M3", "[260,1]", codes, ROWS},
                               {all[k].name, "F32", all[k].shape, each, 4 * (size_t)n}};
        put("held", list, all[k].name ? 2 : 1);
        OK(mgi_st_open(ctx, folder, "held", &st));
        mgen_status status = mgi_st_read_scales(ctx, mgi_st_find(&st, "w"), 0, out, ROWS);
        if (all[k].says) {
            refuse(status, MGEN_E_CORRUPT, all[k].says);
            OK(mgi_st_read_f32(ctx, mgi_st_find(&st, "w"), out, ROWS));
        } else {
            OK(status);
            for (int i = 0; i < ROWS; i++)
                assert_true(out[i] == all[k].scale);
        }
        mgi_st_close(ctx, &st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),   cmocka_unit_test(test_no_numbers),
        cmocka_unit_test(test_forms),   cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_beside),  cmocka_unit_test(test_set),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_as_codes)};
    return cmocka_run_group_tests_name("fp8_forms", tests, set_up, tear_down);
}
