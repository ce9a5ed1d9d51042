/* SPDX-License-Identifier: MIT
 * Weights in files as FP8: what is written is what would be held, what is read is what was written, and what is not so is
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels/common/bf16.h"
#include "kernels/fp8/e4m3.h"
#include "kernels/fp8/quantize_fp8.h"
#include "networks.h"
#include "task/pipeline.h"
#include "ok.h"
#include "tiny_stages.h"
#include "train/average.h"
#include "train/convert.h"
#include "train/stage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[] = "/tmp/mgi-fp8-files-XXXXXX";
static mgen_context *ctx;

static void refuse(mgen_status status, mgen_status expected, const char *says)
{
    assert_int_equal(status, expected);
    if (!strstr(mgen_last_error(ctx), says))
        fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), says);
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    ctx = make_context();
    return 0;
}

static int tear_down(void **state)
{
    char command[64];
    (void)state;
    mgi_context_free(ctx);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* -- tensors ---------------------------------------------------------------------------------------- */

static mgen_status copy_values(const void *data, int64_t first, float *out, int64_t n)
{
    memcpy(out, (const float *)data + first, (size_t)n * sizeof *out);
    return MGEN_OK;
}

/* The file of one matrix has the codes and scales of the op, and is read as their product, whole and in pieces. */
static void check_matrix(const float *x, int64_t rows, int64_t cols, bool read)
{
    const int64_t n = rows * cols, some = n < 777 ? n : 777;
    const mgi_st_source source = {"w", MGI_ST_F8, 2, {rows, cols}, x};
    uint8_t *codes = malloc((size_t)n + 1);
    float *scale = malloc((size_t)rows * sizeof *scale + 1), *back = malloc((size_t)n * 4 + 1);
    mgi_st_file st;
    float one;
    assert_true(codes && scale && back);
    const mgk_quantize_fp8_args a = {.x = {(void *)(uintptr_t)x, MGK_F32},
                                     .codes = {codes, MGK_U8},
                                     .scale = {scale, MGK_F32},
                                     .rows = rows,
                                     .cols = cols,
                                     .ldx = cols,
                                     .ldc = cols};
    OK(mgi_launch(ctx->device, MGK_OP_quantize_fp8, &a));
    if (read)
        OK(mgi_st_write_read(ctx, path_of("w"), &source, 1, NULL, 0, copy_values));
    else
        OK(mgi_st_write(ctx, path_of("w"), &source, 1, NULL, 0));
    OK(mgi_st_open(ctx, folder, "w", &st));
    assert_int_equal(st.count, 1);
    const mgi_st_entry *e = mgi_st_find(&st, "w");
    assert_true(e && e->dtype == MGI_ST_F8 && e->scaled && e->bytes == (size_t)n);
    OK(mgi_st_read_bytes(ctx, e, 0, back, (size_t)n));
    assert_memory_equal(back, codes, (size_t)n);
    OK(mgi_st_read_f32(ctx, e, back, n));
    for (int64_t i = 0; i < n; i++) {
        assert_true(back[i] == mgk_from_e4m3(codes[i]) * scale[i / cols]);
        assert_true(mgk_from_bf16(mgk_to_bf16(back[i])) == back[i]);
    }
    for (int64_t at = 0; at < n; at += some) {
        const int64_t left = n - at < some ? n - at : some;
        float part[777];
        OK(mgi_st_read_part(ctx, e, at, part, left));
        assert_memory_equal(part, back + at, (size_t)left * sizeof *part);
    }
    for (int64_t i = 0; i < rows; i++) {
        OK(mgi_st_read_scales(ctx, e, i, &one, 1));
        assert_true(one == scale[i]);
    }
    mgi_st_close(ctx, &st);
    free(back);
    free(scale);
    free(codes);
}

static void test_tensors(void **state)
{
    /* rows of a piece of the writer's and of more, one column, none */
    static const int64_t sizes[][2] = {{1, 1},     {7, 1},     {5, 33}, {300, 256},
                                       {2, 70000}, {3, 65536}, {0, 5},  {4, 0}};
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const int64_t rows = sizes[s][0], cols = sizes[s][1], n = rows * cols;
        float *x = malloc((size_t)n * sizeof *x + 1);
        assert_non_null(x);
        for (int64_t i = 0; i < n; i++) /* rows of all sizes, and one of zeros */
            x[i] = i / cols == 2
                       ? 0.0f
                       : ldexpf(mgi_random_normal(1, 0, (uint64_t)i), (int)(i / cols % 230) - 115);
        if (n > 4) {
            x[1] = -0.0f;
            x[2] = 0x1p-140f;
        }
        check_matrix(x, rows, cols, s % 2);
        free(x);
    }
}

static void test_write_refused(void **state)
{
    float x[8] = {1.0f, 2.0f, 3.0f, 4.0f};
    const mgi_st_source vector = {"w", MGI_ST_F8, 1, {4}, x},
                        matrix = {"w", MGI_ST_F8, 2, {2, 2}, x};
    const mgi_st_source two[] = {{"w_scale", MGI_ST_F32, 1, {2}, x}, matrix};
    const mgi_st_source huge = {"w", MGI_ST_F8, 2, {INT64_MAX / 2, 1}, x};
    char name[MGI_ST_NAME_MAX + 1];
    const mgi_st_source longest = {name, MGI_ST_F8, 2, {2, 2}, x};
    (void)state;
    memset(name, 'n', MGI_ST_NAME_MAX);
    name[MGI_ST_NAME_MAX] = '\0';
    refuse(mgi_st_write(ctx, path_of("no"), &vector, 1, NULL, 0), MGEN_E_INVALID, "a matrix");
    refuse(mgi_st_write(ctx, path_of("no"), two, 2, NULL, 0), MGEN_E_INVALID,
           "two tensors are named 'w_scale'");
    refuse(mgi_st_write(ctx, path_of("no"), &longest, 1, NULL, 0), MGEN_E_INVALID, "longer than");
    refuse(mgi_st_write(ctx, path_of("no"), &huge, 1, NULL, 0), MGEN_E_INVALID, "too large");
    static const float none[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 4; i++) {
        x[i] = none[i];
        refuse(mgi_st_write(ctx, path_of("no"), &matrix, 1, NULL, 0), MGEN_E_NUMERIC,
               "'w' has values that are not finite");
        x[i] = 1.0f;
    }
    mgi_st_file st;
    assert_int_equal(mgi_st_open(ctx, folder, "no", &st), MGEN_E_NOT_FOUND);
}

/* -- files that are not what they say ----------------------------------------------------------------- */

/* A file of `header` and 64 bytes of data: codes of 1, 2^-9, ... and, from byte 8 on, scales of 1. */
static void put_file(const char *header, int byte, uint8_t value, float scale)
{
    uint8_t data[64];
    const uint64_t length = strlen(header);
    for (int i = 0; i < 64; i++)
        data[i] = (uint8_t)i;
    for (int i = 8; i < 64; i += 4)
        memcpy(data + i, &scale, sizeof scale);
    if (byte >= 0)
        data[byte] = value;
    FILE *f = fopen(path_of("bad"), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(&length, sizeof length, 1, f), 1);
    assert_int_equal(fwrite(header, length, 1, f), 1);
    assert_int_equal(fwrite(data, sizeof data, 1, f), 1);
    assert_int_equal(fclose(f), 0);
}

#define W(shape)    "\"w\":{\"dtype\":\"F8_E4M3\",\"shape\":" shape ",\"data_offsets\":[0,8]}"
#define REST(from)  ",\"rest\":{\"dtype\":\"U8\",\"shape\":[" from "],\"data_offsets\":["
#define SCALE(of)   ",\"w_scale\":{\"dtype\":" of ",\"data_offsets\":[8,16]}" REST("48") "16,64]}"
#define OURS        "{\"__metadata__\":{\"format\":\"moviegen\"},"
#define GOOD        OURS W("[2,4]") SCALE("\"F32\",\"shape\":[2,1]") "}"
#define OTHER(more) OURS W("[2,4]") more "}"

/* Read as numbers and as codes. */
static mgen_status read_bad(void)
{
    mgi_st_file st;
    float out[8], one;
    uint8_t codes[8];
    MGI_TRY(mgi_st_open(ctx, folder, "bad", &st));
    const mgi_st_entry *e = mgi_st_find(&st, "w");
    assert_non_null(e);
    mgen_status status = mgi_st_read_f32(ctx, e, out, 8), again = MGEN_OK;
    for (int64_t i = 0; i < 2 && again == MGEN_OK; i++)
        again = mgi_st_read_scales(ctx, e, i, &one, 1);
    if (again == MGEN_OK)
        again = mgi_st_read_codes(ctx, e, 0, codes, 8);
    assert_int_equal(again, status);
    mgi_st_close(ctx, &st);
    return status;
}

/* What this library writes, and whoever says that he writes the same. */
static void test_refused(void **state)
{
    static const char *const headers[] = {
        OTHER(REST("56") "8,64]}"), /* no scales */
        OTHER(SCALE("\"F32\",\"shape\":[2]")),
        OTHER(SCALE("\"F32\",\"shape\":[1,2]")),
        OTHER(SCALE("\"F32\",\"shape\":[2,1,1]")),
        OTHER(SCALE("\"BF16\",\"shape\":[4,1]")),
        OTHER(SCALE("\"I32\",\"shape\":[2,1]")),
        OURS W("[4,2]") SCALE("\"F32\",\"shape\":[2,1]") "}",
        OURS W("[8]") SCALE("\"F32\",\"shape\":[2,1]") "}",
        OURS W("[2,2,2]") SCALE("\"F32\",\"shape\":[2,1]") "}",
        OURS "\"w\":{\"dtype\":\"F8_E5M2\",\"shape\":[2,4],\"data_offsets\":[0,8]}" SCALE(
            "\"F32\",\"shape\":[2,1]") "}",
    };
    static const float scales[] = {0.0f,          -0.0f,     -1.0f,     3.0f,
                                   0x1.000002p0f, 0x1p101f,  0x1p-101f, 0x1p-149f,
                                   INFINITY,      -INFINITY, NAN,       -0x1p-100f};
    (void)state;
    put_file(GOOD, -1, 0, 1.0f);
    OK(read_bad());
    put_file(GOOD, -1, 0, 0x1p100f);
    OK(read_bad());
    put_file(GOOD, -1, 0, 0x1p-100f);
    OK(read_bad());
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        put_file(headers[i], -1, 0, 1.0f);
        refuse(read_bad(), MGEN_E_CORRUPT,
               "tensor 'w' is of FP8 and in a file of the format \"moviegen\"");
    }
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        put_file(GOOD, -1, 0, scales[i]);
        refuse(read_bad(), MGEN_E_CORRUPT, "tensor 'w': the scale of row 0 is");
    }
    put_file(GOOD, 12 + 2, 0x01, 1.0f); /* the second scale's mantissa */
    refuse(read_bad(), MGEN_E_CORRUPT, "the scale of row 1 is");
    for (int i = 0; i < 8; i++) {
        char says[64];
        put_file(GOOD, i, i % 2 ? 0xff : 0x7f, 1.0f);
        snprintf(says, sizeof says, "value %d is the code of no number", i);
        refuse(read_bad(), MGEN_E_CORRUPT, says);
    }
}

/* -- models ------------------------------------------------------------------------------------------- */

static const mgi_vt_config config = {.layers = 3,
                                     .dim = 64,
                                     .heads = 4,
                                     .ff_dim = 96,
                                     .channels = 3,
                                     .patch_t = 1,
                                     .patch_h = 2,
                                     .patch_w = 2,
                                     .frames_max = 4,
                                     .rows_max = 4,
                                     .columns_max = 4,
                                     .text = {24, 0, 0},
                                     .time_dim = 16};

static void write_vt(mgi_json_writer *w, const void *c)
{
    mgi_vt_config_write(w, c);
}

static void save(const char *name, const mgi_vt *vt, mgi_st_dtype store)
{
    mgi_module *m = (mgi_module *)(uintptr_t)&vt->module;
    OK(mgi_model_file_save(ctx, folder, name, "video-transformer", write_vt, &vt->config, m,
                           store));
}

static void open_as(const char *name, int hold, mgi_vt *vt)
{
    uint64_t hash;
    ctx->device->hold = hold;
    OK(mgi_vt_open(ctx, folder, name, vt, &hash));
    ctx->device->hold = MGI_HOLD_F32;
}

/* "plain": a model in bf16; "fp8": the same with the layers of its blocks as FP8. */
static void make_models(mgi_vt_config c)
{
    mgi_vt vt, plain;
    OK(mgi_vt_init(&vt, ctx, &c));
    OK(mgi_vt_random(&vt, 1));
    randomise(&vt.module, 0.05f);
    save("plain", &vt, MGI_ST_BF16);
    open_as("plain", MGI_HOLD_F32, &plain);
    save("fp8", &plain, MGI_ST_F8);
    mgi_vt_finish(&plain);
    mgi_vt_finish(&vt);
}

static void assert_same_tensor(const mgi_tensor *a, const mgi_tensor *b)
{
    assert_true(a->dtype == b->dtype && a->count == b->count);
    assert_memory_equal(mgi_data(a), mgi_data(b), (size_t)a->count * mgi_dtype_size(a->dtype));
}

static void assert_same(const mgi_module *a, const mgi_module *b)
{
    assert_int_equal(a->count, b->count);
    for (int64_t k = 0; k < a->count; k++) {
        const mgi_tensor *x = a->params[k]->value, *y = b->params[k]->value;
        assert_same_tensor(x, y);
        assert_true(!x->scale == !y->scale);
        if (x->scale)
            assert_same_tensor(x->scale, y->scale);
    }
}

static int64_t size_of(const char *name)
{
    mgi_file f;
    OK(mgi_file_open_in(ctx, folder, name, &f));
    int64_t size = (int64_t)f.size;
    mgi_file_close(ctx, &f);
    return size;
}

/* A file of FP8 gives the very codes that are held of the file in bf16, and its own values in f32 and bf16. */
static void test_held(void **state)
{
    (void)state;
    for (int block = MGI_VT_LLAMA; block <= MGI_VT_DIT; block++) {
        mgi_vt held, codes, full, narrow;
        mgi_vt_config c = config;
        c.block = block;
        make_models(c);
        assert_true(size_of("fp8.safetensors") * 10 < size_of("plain.safetensors") * 7);
        open_as("plain", MGI_HOLD_FP8, &held);
        open_as("fp8", MGI_HOLD_FP8, &codes);
        assert_same(&held.module, &codes.module);
        open_as("fp8", MGI_HOLD_F32, &full);
        open_as("fp8", MGI_HOLD_BF16, &narrow);
        int with_codes = 0;
        for (int64_t k = 0; k < full.module.count; k++) {
            const mgi_tensor *f = full.module.params[k]->value, *t = codes.module.params[k]->value;
            const mgi_tensor *n = narrow.module.params[k]->value;
            assert_int_equal(f->dtype, MGK_F32);
            assert_true(!n->scale && !f->scale);
            for (int64_t i = 0; t->scale && i < f->count; i++) {
                const uint8_t code = ((const uint8_t *)mgi_data(t))[i];
                const float value = mgk_from_e4m3(code) * mgi_f32(t->scale)[i / t->dims[1]];
                assert_true(mgi_f32(f)[i] == value);
                assert_true(mgk_from_bf16(((const uint16_t *)mgi_data(n))[i]) == value);
            }
            with_codes += t->scale != NULL;
        }
        assert_int_equal(with_codes, 7 * 3);
        mgi_vt_finish(&narrow);
        mgi_vt_finish(&full);
        mgi_vt_finish(&codes);
        mgi_vt_finish(&held);
    }
}

/* A damaged file of a model is refused however it is held, and nothing else is. */
static void test_damaged(void **state)
{
    mgi_st_file st;
    uint64_t hash;
    mgi_vt vt;
    (void)state;
    make_models(config);
    OK(mgi_st_open(ctx, folder, "fp8.safetensors", &st));
    const mgi_st_entry *e = mgi_st_find(&st, "block1.attn.qkv.weight");
    assert_true(e && e->scaled);
    const int64_t code = (int64_t)e->at + 17;
    const int64_t scale = (int64_t)e->scale_at + 4 * 5;
    mgi_st_close(ctx, &st);
    for (int way = 0; way < 2; way++) {
        const int64_t at = way ? scale : code;
        FILE *f = fopen(path_of("fp8.safetensors"), "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        const int before = fgetc(f);
        for (int back = 0; back < 2; back++) {
            assert_int_equal(fseek(f, at, SEEK_SET), 0);
            assert_true(fputc(back ? before : way ? 1 : 0x7f, f) != EOF);
            assert_int_equal(fflush(f), 0);
            for (int hold = 0; hold < 3; hold++) {
                ctx->device->hold = hold;
                mgen_status status = mgi_vt_open(ctx, folder, "fp8", &vt, &hash);
                ctx->device->hold = MGI_HOLD_F32;
                if (back)
                    OK(status);
                else
                    refuse(status, MGEN_E_CORRUPT,
                           way ? "the scale of row 5 is" : "value 17 is the code of no number");
                if (back)
                    mgi_vt_finish(&vt);
            }
        }
        fclose(f);
    }
}

/* A file that says of itself nothing may have any scales, but codes are held as they are with powers of two alone. */
static void test_others(void **state)
{
    static const char mark[] = "\"moviegen\"", other[] = "\"pt\"      ";
    const float scale = 0.3f;
    char header[64];
    mgi_st_file st;
    uint64_t hash;
    mgi_vt vt;
    (void)state;
    make_models(config);
    OK(mgi_st_open(ctx, folder, "fp8.safetensors", &st));
    const mgi_st_entry *e = mgi_st_find(&st, "block1.attn.qkv.weight");
    assert_true(e && e->scaled && e->own);
    const long at = (long)e->scale_at + 4 * 5;
    mgi_st_close(ctx, &st);
    FILE *f = fopen(path_of("fp8.safetensors"), "r+b");
    assert_non_null(f);
    assert_int_equal(fread(header, 1, sizeof header, f), sizeof header);
    long place = 8;
    while (place + (long)strlen(mark) < (long)sizeof header &&
           memcmp(header + place, mark, strlen(mark)))
        place++;
    assert_memory_equal(header + place, mark, strlen(mark));
    assert_int_equal(fseek(f, place, SEEK_SET), 0);
    assert_int_equal(fwrite(other, 1, strlen(other), f), strlen(mark));
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fwrite(&scale, sizeof scale, 1, f), 1);
    fclose(f);
    for (int hold = MGI_HOLD_F32; hold <= MGI_HOLD_FP8; hold++) {
        mgi_device_hold(ctx->device, hold);
        mgen_status status = mgi_vt_open(ctx, folder, "fp8", &vt, &hash);
        mgi_device_hold(ctx->device, MGI_HOLD_F32);
        if (hold == MGI_HOLD_FP8)
            refuse(status, MGEN_E_CORRUPT,
                   "'block1.attn.qkv.weight_scale': scale 5 is 0.3, no power of two");
        else if (status != MGEN_OK)
            fail_msg("%s", mgen_last_error(ctx));
        if (status == MGEN_OK)
            mgi_vt_finish(&vt);
    }
}

/* What a rank has of a mesh's model is the whole's, codes and scales too. */
static void check_share(const mgi_vt *whole, mgi_mesh_shape shape, int rank, int hold)
{
    mgi_comm *comm;
    mgi_mesh mesh;
    mgi_st_file st;
    mgi_vt share;
    ctx->device->hold = hold;
    OK(mgi_comm_counting_create(ctx, rank, shape.dp * shape.tp, &comm));
    OK(mgi_mesh_create(comm, shape, &mesh));
    OK(mgi_vt_init_mesh(&share, ctx, &config, &mesh));
    OK(mgi_st_open(ctx, folder, "fp8.safetensors", &st));
    OK(mgi_module_load(&share.module, &st, "fp8", false));
    for (int64_t k = 0; k < share.module.count; k++) {
        const mgi_param *p = share.module.params[k], *all = whole->module.params[k];
        const size_t each = mgi_dtype_size(p->value->dtype);
        assert_int_equal(p->value->dtype, all->value->dtype);
        for (int64_t i = 0; i < mgi_param_pieces(&share.module, p); i++) {
            mgi_piece x = mgi_param_piece(&share.module, p, i);
            assert_memory_equal((char *)mgi_data(p->value) + (size_t)x.own * each,
                                (char *)mgi_data(all->value) + (size_t)x.whole * each,
                                (size_t)x.count * each);
            if (p->value->scale)
                for (int64_t n = 0; n < x.count; n++)
                    assert_true(mgi_f32(p->value->scale)[(x.own + n) / p->value->dims[1]] ==
                                mgi_f32(all->value->scale)[(x.whole + n) / p->dims[1]]);
        }
    }
    mgi_st_close(ctx, &st);
    mgi_vt_finish(&share);
    mgi_mesh_destroy(&mesh);
    ctx->device->hold = MGI_HOLD_F32;
}

static void test_mesh(void **state)
{
    static const mgi_mesh_shape shapes[] = {{1, 1, 2, 1}, {1, 1, 4, 1}, {4, 1, 1, 4}, {3, 1, 2, 3}};
    mgi_vt whole;
    (void)state;
    make_models(config);
    for (int hold = 0; hold < 3; hold++) {
        open_as("fp8", hold, &whole);
        for (int i = 0; i < 4; i++)
            for (int r = 0; r < shapes[i].dp * shapes[i].tp; r++)
                if (shapes[i].shard < 2 || hold == MGI_HOLD_F32) /* shards are for training */
                    check_share(&whole, shapes[i], r, hold);
        mgi_vt_finish(&whole);
    }
}

/* A model begins as one of FP8 with more blocks and shorter tables as it does as one with those values in f32. */
static void test_grown(void **state)
{
    mgi_vt_config c = config;
    mgi_vt whole, grown[2];
    static const char *const files[] = {"fp8.safetensors", "wide.safetensors"};
    (void)state;
    make_models(config);
    open_as("fp8", MGI_HOLD_F32, &whole);
    save("wide", &whole, MGI_ST_F32);
    mgi_vt_finish(&whole);
    c.layers = 2;
    c.frames_max = 8;
    for (int i = 0; i < 2; i++) {
        mgi_st_file st;
        OK(mgi_vt_init(&grown[i], ctx, &c));
        OK(mgi_vt_random(&grown[i], (uint64_t)i));
        OK(mgi_st_open(ctx, folder, files[i], &st));
        OK(mgi_vt_load_grown(&grown[i], &config, &st, files[i]));
        mgi_st_close(ctx, &st);
    }
    assert_same(&grown[0].module, &grown[1].module);
    OK(mgi_module_train(&grown[0].module));
    mgi_vt_finish(&grown[0]);
    mgi_vt_finish(&grown[1]);
}

/* -- averages, folders, stages ------------------------------------------------------------------------- */

static void test_average(void **state)
{
    static const double weights[] = {1.0, 1.0};
    const char *const dirs[] = {folder, folder};
    const char *const same[] = {"fp8", "fp8"}, *const apart[] = {"fp8", "plain"};
    mgi_average_request q = {dirs, same, weights, 2};
    mgi_vt before, after;
    mgi_st_file st;
    (void)state;
    make_models(config);
    OK(mgi_average_models(ctx, &q, folder, "mean"));
    OK(mgi_st_open(ctx, folder, "mean.safetensors", &st));
    assert_true(mgi_st_find(&st, "block0.attn.out.weight")->scaled);
    mgi_st_close(ctx, &st);
    open_as("fp8", MGI_HOLD_F32, &before);
    open_as("mean", MGI_HOLD_F32, &after);
    assert_same(&before.module, &after.module); /* the values; codes may be others of the same */
    mgi_vt_finish(&before);
    mgi_vt_finish(&after);
    q.names = apart;
    refuse(mgi_average_models(ctx, &q, folder, "wrong"), MGEN_E_INVALID,
           "do not have the same tensors, shapes and dtypes");
}

static void check_equal_files(const char *a, const char *b)
{
    mgi_file x, y;
    OK(mgi_file_open_in(ctx, folder, a, &x));
    OK(mgi_file_open_in(ctx, folder, b, &y));
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    mgi_file_close(ctx, &x);
    mgi_file_close(ctx, &y);
}

/* A folder's model converted is that which is saved so, byte by byte; values that FP8 has stay when it is left. */
static void test_convert(void **state)
{
    mgi_pipeline_file p = {.clip = {.width = 16, .height = 16, .frames = 4, .fps = 8}};
    mgi_vt before, after;
    (void)state;
    make_models(config);
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &p));
    refuse(mgi_convert_folder(ctx, folder, MGI_ST_F8), MGEN_E_INVALID, "no transformer to convert");
    strcpy(p.video, "plain");
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &p));
    OK(mgi_convert_folder(ctx, folder, MGI_ST_F8));
    check_equal_files("plain.safetensors", "fp8.safetensors");
    OK(mgi_convert_folder(ctx, folder, MGI_ST_BF16));
    open_as("fp8", MGI_HOLD_F32, &before);
    open_as("plain", MGI_HOLD_F32, &after);
    assert_same(&before.module, &after.module);
    mgi_vt_finish(&after);
    OK(mgi_convert_folder(ctx, folder, MGI_ST_F8));
    OK(mgi_convert_folder(ctx, folder, MGI_ST_F8));
    open_as("plain", MGI_HOLD_F32, &after);
    assert_same(&before.module, &after.module);
    mgi_vt_finish(&before);
    mgi_vt_finish(&after);
    strcpy(p.editor, "none");
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &p));
    refuse(mgi_convert_folder(ctx, folder, MGI_ST_BF16), MGEN_E_NOT_FOUND, "none.json");
    open_as("plain", MGI_HOLD_FP8, &after); /* none was replaced */
    mgi_vt_finish(&after);
    check_equal_files("plain.json", "fp8.json");
}

/* A stage saves its transformer so, and nothing else. */
static void test_stage(void **state)
{
    mgi_stage stage = tiny_autoencoder(1, 1);
    struct mgi_stage_run *run;
    const mgi_stage_params params = {
        .stage = &stage, .dir = folder, .seed = 1, .cache_dir = folder};
    mgi_st_file st;
    (void)state;
    OK(mgi_stage_kind_of(&stage)->create(ctx, &params, &run));
    OK(mgi_stage_autoencoder.save(run));
    mgi_stage_autoencoder.destroy(run);
    stage = tiny_text_to_video(1, 1);
    strcpy(stage.save_as, "coded");
    stage.fp8 = 1;
    stage.bucket[stage.bucket_count++] = /* quickly encoded */
        (mgi_bucket){.width = 64, .height = 64, .frames = 1, .weight = 1.0};
    OK(mgi_stage_kind_of(&stage)->create(ctx, &params, &run));
    OK(mgi_stage_text_to_video.save(run));
    mgi_stage_text_to_video.destroy(run);
    for (int i = 0; i < 2; i++) {
        int codes = 0;
        OK(mgi_st_open(ctx, folder,
                       i ? "coded_text_encoder.safetensors" : "coded_video_model.safetensors",
                       &st));
        for (int64_t k = 0; k < st.count; k++) {
            bool coded = st.entries[k].dtype == MGI_ST_F8;
            assert_int_equal(coded, !i && st.entries[k].rank == 2 &&
                                        !strncmp(st.entries[k].name, "block", 5));
            codes += coded;
        }
        assert_int_equal(codes > 0, !i);
        mgi_st_close(ctx, &st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors), cmocka_unit_test(test_write_refused),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_held),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_others),
        cmocka_unit_test(test_mesh),    cmocka_unit_test(test_grown),
        cmocka_unit_test(test_average), cmocka_unit_test(test_convert),
        cmocka_unit_test(test_stage)};
    return cmocka_run_group_tests_name("fp8_files", tests, set_up, tear_down);
}
