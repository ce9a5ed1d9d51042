/* SPDX-License-Identifier: MIT
 * Times oneDNN (2.x) on the shapes of `checkkernel --bench`, for compare.py:
 *
 *   onednn version | matmul CASE... | conv2d CASE...     prints "case <tab> seconds"
 *
 * Matrices lie as in our cases. Pictures do too, weights of convolutions as oneDNN likes them, put so
 * before the clock runs. */
#include <dnnl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS_MIN = 3, RUNS_MAX = 200, ARGS_MAX = 4 };
static const double seconds_each = 0.12;

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void need(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success)
        return;
    fprintf(stderr, "onednn: %s: status %d\n", what, (int)status);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Memory for a description, filled with the bits of 1 of its type. */
static dnnl_memory_t make(const dnnl_memory_desc_t *d)
{
    dnnl_memory_t memory;
    size_t bytes = dnnl_memory_desc_get_size(d);
    uint8_t *data = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!data)
        exit(1);
    for (size_t i = 0; i + 4 <= bytes; i += 4)
        memcpy(data + i, d->data_type == dnnl_bf16 ? "\x80\x3f\x80\x3f" : "\0\0\x80\x3f", 4);
    need(dnnl_memory_create(&memory, d, engine, data), "memory");
    return memory;
}

static void release(dnnl_memory_t memory)
{
    void *data;
    dnnl_memory_get_data_handle(memory, &data);
    dnnl_memory_destroy(memory);
    free(data);
}

static void time_primitive(const char *label, const_dnnl_primitive_desc_t pd, dnnl_exec_arg_t *args,
                           int count)
{
    dnnl_primitive_t primitive;
    need(dnnl_primitive_create(&primitive, pd), "primitive");
    double best = 1e30, start = now();
    for (int i = -1; i < RUNS_MAX && (i < RUNS_MIN || now() - start < seconds_each); i++) {
        double before = now();
        need(dnnl_primitive_execute(primitive, stream, count, args), "execution");
        dnnl_stream_wait(stream);
        if (i >= 0 && now() - before < best)
            best = now() - before;
    }
    printf("%s\t%.9g\n", label, best);
    dnnl_primitive_destroy(primitive);
    for (int i = 0; i < count; i++)
        release(args[i].memory);
}

static void plain(dnnl_memory_desc_t *d, dnnl_data_type_t type, int64_t rows, int64_t columns,
                  bool transposed)
{
    dnnl_dims_t dims = {rows, columns};
    need(dnnl_memory_desc_init_by_tag(d, 2, dims, type, transposed ? dnnl_ba : dnnl_ab), "matrix");
}

/* False where this processor, or the instructions that may be used, have none, as bf16 without AVX-512. */
static bool has_primitive(dnnl_primitive_desc_t *pd, const_dnnl_op_desc_t desc)
{
    dnnl_status_t status = dnnl_primitive_desc_create(pd, desc, NULL, engine, NULL);
    if (status == dnnl_unimplemented)
        return false;
    need(status, "primitive");
    return true;
}

static void matmul(const char *label, dnnl_data_type_t type)
{
    long m, n, k;
    dnnl_memory_desc_t a, b, c;
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t pd;
    if (sscanf(label, "%ldx%ldx%ld", &m, &n, &k) != 3)
        return;
    plain(&a, type, m, k, strstr(label, "A'"));
    plain(&b, type, k, n, strstr(label, "B'"));
    plain(&c, type, m, n, false);
    need(dnnl_matmul_desc_init(&desc, &a, &b, NULL, &c), "matmul");
    if (!has_primitive(&pd, &desc))
        return;
    dnnl_exec_arg_t args[ARGS_MAX] = {
        {DNNL_ARG_SRC, make(&a)}, {DNNL_ARG_WEIGHTS, make(&b)}, {DNNL_ARG_DST, make(&c)}};
    time_primitive(label, pd, args, 3);
    dnnl_primitive_desc_destroy(pd);
}

static void conv2d(const char *label, dnnl_data_type_t type)
{
    long n, h, w, channels;
    dnnl_memory_desc_t x, weight, bias, y;
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t pd;
    if (sscanf(label, "%ldx%ldx%ldx%ld", &n, &h, &w, &channels) != 4)
        return;
    dnnl_dims_t picture = {n, channels, h, w}, kernel = {channels, channels, 3, 3};
    dnnl_dims_t ones = {1, 1}, one_row = {channels};
    need(dnnl_memory_desc_init_by_tag(&x, 4, picture, type, dnnl_nhwc), "pictures");
    need(dnnl_memory_desc_init_by_tag(&y, 4, picture, type, dnnl_nhwc), "pictures");
    need(dnnl_memory_desc_init_by_tag(&weight, 4, kernel, type, dnnl_format_tag_any), "weights");
    need(dnnl_memory_desc_init_by_tag(&bias, 1, one_row, dnnl_f32, dnnl_a), "bias");
    need(dnnl_convolution_forward_desc_init(&desc, dnnl_forward_inference, dnnl_convolution_direct,
                                            &x, &weight, &bias, &y, ones, ones, ones),
         "convolution");
    if (!has_primitive(&pd, &desc))
        return;
    dnnl_exec_arg_t args[ARGS_MAX] = {
        {DNNL_ARG_SRC, make(&x)},
        {DNNL_ARG_WEIGHTS, make(dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0))},
        {DNNL_ARG_BIAS, make(&bias)},
        {DNNL_ARG_DST, make(&y)}};
    time_primitive(label, pd, args, 4);
    dnnl_primitive_desc_destroy(pd);
}

int main(int argc, char **argv)
{
    const dnnl_version_t *version = dnnl_version();
    if (argc == 2 && !strcmp(argv[1], "version")) {
        printf("%d.%d.%d\n", version->major, version->minor, version->patch);
        return 0;
    }
    need(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine");
    need(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "stream");
    for (int i = 2; i < argc; i++) {
        const char *end = strrchr(argv[i], ' ');
        dnnl_data_type_t type = end && !strcmp(end, " bf16") ? dnnl_bf16 : dnnl_f32;
        if (!strcmp(argv[1], "matmul"))
            matmul(argv[i], type);
        else
            conv2d(argv[i], type);
    }
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    return 0;
}
