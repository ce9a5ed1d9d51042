/* SPDX-License-Identifier: MIT
 * What was chosen for products on GPUs: the file that keeps it, which may be anything; and, where a GPU is emulated,
 * contexts on it that choose, with a cuBLASLt that the host plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/hash.h"
#include "io/path.h"
#include "kernels/matmul/matmul_cublaslt.h"
#include "tensor/tuned.h"
#include "test_folder.h"

#ifdef MGK_CUDA_EMULATED
#include "find_cublaslt.h"
#include "kernels/emulated/cuda_runtime_emulated.h"
#include "kernels/fp8/e4m3.h"
#include "kernels/fp8/matmul_fp8.h"
#include "tensor/device.h"
#include "tensor/tensor.h"

#include <pthread.h>
#endif

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS_MAX = 64, ROW = MGK_CUBLASLT_ROW };
#define MACHINE "Some GPU, 9.0, 132 multiprocessors, cuBLASLt 130100"

static mgen_context *ctx;
static unsigned char rows[ROWS_MAX * ROW], told[ROWS_MAX * ROW];
static size_t told_count;

static void tell(void *user, const void *row)
{
    assert_ptr_equal(user, told);
    assert_true(told_count < ROWS_MAX);
    memcpy(told + told_count++ * ROW, row, ROW);
}

static mgen_status read_in(const char *dir, const char *machine)
{
    char path[MGI_PATH_MAX + 1];
    told_count = 0;
    assert_int_equal(mgi_tuned_path(ctx, dir, machine, path), MGEN_OK);
    return mgi_tuned_read(ctx, path, machine, tell, told);
}

static mgen_status read_rows(const char *machine)
{
    return read_in(folder, machine);
}

static mgen_status write_rows(const char *machine, const void *values, size_t count)
{
    char path[MGI_PATH_MAX + 1];
    assert_int_equal(mgi_tuned_path(ctx, folder, machine, path), MGEN_OK);
    return mgi_tuned_write(ctx, path, machine, values, count);
}

/* Files that are kept; the path of the first. */
static int kept_files(char path[512])
{
    DIR *dir = opendir(folder);
    int count = 0;
    for (const struct dirent *e; dir && (e = readdir(dir));) {
        if (!strncmp(e->d_name, "products-", 9) && count++ == 0)
            snprintf(path, 512, "%s/%.200s", folder, e->d_name);
        if (strstr(e->d_name, ".tmp."))
            fail_msg("%s is left", e->d_name);
    }
    if (dir)
        closedir(dir);
    return count;
}

static void clear(void)
{
    char path[512];
    while (kept_files(path) > 0)
        assert_int_equal(unlink(path), 0);
}

static int open_all(void **state)
{
    static const mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    for (size_t i = 0; i < sizeof rows; i++)
        rows[i] = (unsigned char)(i * 31 + i / 7);
    return make_folder(state) || mgi_context_init(&ctx, &params) != MGEN_OK;
}

static int close_all(void **state)
{
    mgi_context_free(ctx);
    return remove_folder(state);
}

/* ---- the file ---- */

static void test_kept(void **state)
{
    char path[512];
    (void)state;
    assert_int_equal(read_rows(MACHINE), MGEN_E_NOT_FOUND);
    for (size_t count = 0; count < 4; count++) {
        assert_int_equal(write_rows(MACHINE, rows + count, count), MGEN_OK);
        assert_int_equal(read_rows(MACHINE), MGEN_OK);
        assert_int_equal(told_count, count);
        assert_memory_equal(told, rows + count, count * ROW);
    }
    assert_int_equal(kept_files(path), 1);
    assert_int_equal(read_rows(MACHINE "0"), MGEN_E_NOT_FOUND);
    assert_int_equal(write_rows(MACHINE "0", rows, 1), MGEN_OK);
    assert_int_equal(kept_files(path), 2);
    clear();
}

static size_t slurp(const char *path, unsigned char *bytes, size_t room)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t size = fread(bytes, 1, room, f);
    fclose(f);
    assert_true(size < room);
    return size;
}

static void spill(const char *path, const unsigned char *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void refused(const char *machine, const char *what, size_t at)
{
    mgen_status status = read_rows(machine);
    if (status != MGEN_E_CORRUPT || told_count > 0)
        fail_msg("%s %zu: %s, %zu rows told", what, at, mgen_status_name(status), told_count);
}

/* Every byte changed, every length, and one too many: not a row of it is told. */
static void test_damaged(void **state)
{
    static unsigned char whole[4096], bad[4096];
    char path[512];
    (void)state;
    assert_int_equal(write_rows(MACHINE, rows, 3), MGEN_OK);
    assert_int_equal(kept_files(path), 1);
    const size_t size = slurp(path, whole, sizeof whole);
    assert_true(size > 3 * ROW);
    for (size_t i = 0; i < size; i++) {
        memcpy(bad, whole, size);
        bad[i] ^= (unsigned char)(1u << i % 8);
        spill(path, bad, size);
        refused(MACHINE, "byte", i);
    }
    for (size_t length = 0; length < size; length++) {
        spill(path, whole, length);
        refused(MACHINE, "length", length);
    }
    memcpy(bad, whole, size);
    bad[size] = 0;
    spill(path, bad, size + 1);
    refused(MACHINE, "length", size + 1);
    assert_non_null(strstr(mgen_last_error(ctx), "damaged"));
    spill(path, whole, size);
    assert_int_equal(read_rows(MACHINE), MGEN_OK);
    clear();
}

/* Another machine's under this one's name. */
static void test_foreign(void **state)
{
    char path[512], other[512];
    (void)state;
    assert_int_equal(write_rows(MACHINE, rows, 1), MGEN_OK);
    assert_int_equal(kept_files(path), 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(write_rows("Another GPU", rows, 1), MGEN_OK);
    assert_int_equal(kept_files(other), 1);
    assert_int_equal(rename(other, path), 0);
    refused(MACHINE, "another machine's", 0);
    clear();
}

/* A sound file of more rows than are ever kept, and one of another format. */
static void test_too_many(void **state)
{
    const size_t head = sizeof(char[8]) + 2 * sizeof(uint32_t) + MGI_TUNED_MACHINE, most = 8192;
    char path[512];
    (void)state;
    unsigned char *file = calloc(1, head + 8 + most * ROW);
    assert_non_null(file);
    assert_int_equal(write_rows(MACHINE, rows, 0), MGEN_OK);
    assert_int_equal(kept_files(path), 1);
    for (int i = 0; i < 2; i++) {
        const uint32_t count = i ? (uint32_t)most : 2;
        assert_int_equal(slurp(path, file, 4096), head + 8 + (i ? 2 * ROW : 0));
        memcpy(file + 12, &count, sizeof count);
        const uint64_t check = mgi_hash64(file + head + 8, count * ROW, mgi_hash64(file, head, 1));
        memcpy(file + head, &check, sizeof check);
        spill(path, file, head + 8 + count * ROW);
        if (i)
            refused(MACHINE, "rows", count);
        else
            assert_int_equal(read_rows(MACHINE), MGEN_OK); /* so these are the bytes that count */
    }
    const uint32_t other[2] = {2, 2}; /* format, rows */
    memcpy(file + 8, other, sizeof other);
    const uint64_t check = mgi_hash64(file + head + 8, 2 * ROW, mgi_hash64(file, head, 1));
    memcpy(file + head, &check, sizeof check);
    spill(path, file, head + 8 + 2 * ROW);
    refused(MACHINE, "format", 2);
    free(file);
    clear();
}

static void test_no_file(void **state)
{
    char path[512];
    (void)state;
    assert_int_equal(write_rows(MACHINE, rows, 1), MGEN_OK);
    assert_int_equal(kept_files(path), 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(read_rows(MACHINE), MGEN_E_INVALID);
    assert_int_not_equal(write_rows(MACHINE, rows, 1), MGEN_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(read_in("/nonexistent/folder", MACHINE), MGEN_E_NOT_FOUND);
    assert_int_equal(mgi_tuned_write(ctx, "/nonexistent/folder/a", MACHINE, rows, 1),
                     MGEN_E_NOT_FOUND);
    char long_dir[MGI_PATH_MAX], long_path[MGI_PATH_MAX + 1];
    memset(long_dir, 'a', sizeof long_dir);
    long_dir[sizeof long_dir - 1] = 0;
    assert_int_equal(mgi_tuned_path(ctx, long_dir, MACHINE, long_path), MGEN_E_INVALID);
    clear();
}

/* Processes that write at once: whoever reads meanwhile has one of them, whole. */
static void test_together(void **state)
{
    enum { WRITERS = 3, TIMES = 40 };
    char path[512];
    (void)state;
    pid_t pids[WRITERS];
    for (int w = 0; w < WRITERS; w++) {
        pids[w] = fork();
        assert_true(pids[w] >= 0);
        if (pids[w] == 0) {
            mgen_status status = MGEN_OK;
            for (int i = 0; i < TIMES && status == MGEN_OK; i++)
                status = write_rows(MACHINE, rows + w, (size_t)(w + 1) * 3);
            _exit(status != MGEN_OK);
        }
    }
    int left = WRITERS, seen = 0;
    while (left > 0) {
        int how;
        mgen_status status = read_rows(MACHINE);
        if (status == MGEN_OK) {
            assert_true(told_count % 3 == 0 && told_count > 0);
            assert_memory_equal(told, rows + told_count / 3 - 1, told_count * ROW);
            seen++;
        } else {
            assert_int_equal(status, MGEN_E_NOT_FOUND);
        }
        if (waitpid(-1, &how, WNOHANG) > 0) {
            assert_int_equal(how, 0);
            left--;
        }
    }
    assert_true(seen > 0);
    assert_int_equal(kept_files(path), 1);
    clear();
}

#ifdef MGK_CUDA_EMULATED

/* ---- contexts ---- */

enum { M = 5, N = 32, K = 48 };

static struct {
    uint8_t a[M * K], b[N * K];
    float a_scale[M], b_scale[N], c[M * N];
} host;

static char warned[512];
static int warnings;
static void on_log(void *user, int32_t level, const char *text)
{
    (void)user;
    if (level != MGEN_LOG_WARN)
        return;
    warnings++;
    snprintf(warned, sizeof warned, "%s", text);
}

static int reset(void **state)
{
    (void)state;
    if (!find_cublaslt())
        return -1;
    reset_cublaslt();
    fake->algorithms = 3;
    fake->ms[0] = fake->ms[1] = 1;
    fake->ms[2] = 0.5;
    fake->spend = mgk_emulated_spend;
    fake->keep = mgk_queue_keep;
    fake->put = mgk_emulated_put;
    fake->open = mgk_emulated_open;
    fake->close = mgk_emulated_close;
    mgk_emulated_set_cublaslt(fake_file);
    warnings = 0;
    for (int i = 0; i < M * K; i++)
        host.a[i] = (uint8_t)(i * 37 % 251 % 0x7f);
    for (int i = 0; i < N * K; i++)
        host.b[i] = (uint8_t)(0x80 | i * 53 % 241 % 0x7f);
    for (int i = 0; i < M; i++)
        host.a_scale[i] = 1.0f / (float)(1 << i);
    for (int i = 0; i < N; i++)
        host.b_scale[i] = (float)(1 << i % 7);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mgk_emulated_set_cublaslt(NULL);
    mgk_emulated_name("Emulated GPU");
    clear();
    if (fake->refused)
        printf("# refused: %s\n", fake->refused);
    return fake->handles == 0 && !fake->refused ? 0 : -1;
}

static mgen_context *open_on(bool autotune, const char *cache)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *gpu;
    char why[256];
    params.device = "cuda:0";
    params.threads = 1;
    params.autotune = autotune;
    params.cache_dir = cache;
    params.log = on_log;
    params.error_text = why;
    params.error_size = sizeof why;
    if (mgen_context_create(&params, &gpu) != MGEN_OK)
        fail_msg("%s", why);
    return gpu;
}

/* The product of the first m rows, in the GPU's memory. */
typedef struct product {
    mgi_tensor *t[5];
    mgk_matmul_fp8_args g;
} product;

static void put(mgi_device *dev, mgi_tensor **t, int32_t dtype, int64_t count, const void *values)
{
    assert_int_equal(mgi_tensor_create(dev, dtype, MGI_DIMS(count), t), MGEN_OK);
    mgi_tensor_write(*t, 0, values, count);
}

static void make(mgi_device *dev, product *p, int64_t m)
{
    put(dev, &p->t[0], MGK_U8, M * K, host.a);
    put(dev, &p->t[1], MGK_U8, N * K, host.b);
    put(dev, &p->t[2], MGK_F32, M, host.a_scale);
    put(dev, &p->t[3], MGK_F32, N, host.b_scale);
    put(dev, &p->t[4], MGK_F32, M * N, host.c);
    p->g = (mgk_matmul_fp8_args){.a = {mgi_data(p->t[0]), MGK_U8},
                                 .b = {mgi_data(p->t[1]), MGK_U8},
                                 .a_scale = {mgi_data(p->t[2]), MGK_F32},
                                 .b_scale = {mgi_data(p->t[3]), MGK_F32},
                                 .c = {mgi_data(p->t[4]), MGK_F32},
                                 .m = m,
                                 .n = N,
                                 .k = K,
                                 .lda = K,
                                 .ldb = K,
                                 .ldc = N};
}

static void drop(product *p)
{
    for (int i = 0; i < 5; i++)
        mgi_tensor_release(p->t[i]);
}

static void check(mgen_context *gpu, product *p)
{
    mgi_device_read(gpu->device, host.c, p->g.c.p, sizeof host.c);
    assert_int_equal(mgi_device_wait(gpu->device), MGEN_OK);
    for (int i = 0; i < p->g.m; i++)
        for (int j = 0; j < N; j++) {
            float sum = 0;
            for (int k = 0; k < K; k++)
                sum += mgk_from_e4m3(host.a[i * K + k]) * mgk_from_e4m3(host.b[j * K + k]);
            assert_true(host.c[i * N + j] == sum * host.a_scale[i] * host.b_scale[j]);
        }
}

/* A product, whose result nobody reads. */
static void launch(mgen_context *gpu, int m)
{
    product p;
    make(gpu->device, &p, m);
    assert_int_equal(mgi_launch(gpu->device, MGK_OP_matmul_fp8, &p.g), MGEN_OK);
    drop(&p);
}

/* Products of `first` to `last` rows, each right. */
static void multiply(mgen_context *gpu, int first, int last)
{
    for (int m = first; m <= last; m++) {
        product p;
        memset(host.c, 0, sizeof host.c);
        make(gpu->device, &p, m);
        assert_int_equal(mgi_launch(gpu->device, MGK_OP_matmul_fp8, &p.g), MGEN_OK);
        check(gpu, &p);
        drop(&p);
    }
}

static void one_context(bool autotune, const char *cache, int first, int last)
{
    mgen_context *gpu = open_on(autotune, cache);
    multiply(gpu, first, last);
    mgen_context_destroy(gpu);
}

/* Measured with the GPU's events, to the right one; by default nothing is. */
static void test_context(void **state)
{
    char path[512];
    (void)state;
    one_context(false, folder, 1, 3);
    assert_int_equal(fake->most, 1);
    assert_int_equal(fake->products, 3);
    assert_int_equal(fake->by[0], 3);
    mgen_context *gpu = open_on(true, NULL);
    multiply(gpu, 1, 3);
    assert_int_equal(fake->most, MGK_CUBLASLT_CANDIDATES);
    const int products = fake->products, by = fake->by[2];
    assert_true(products > 3 * 7);
    multiply(gpu, 1, 3);
    assert_int_equal(fake->products, products + 3);
    assert_int_equal(fake->by[2], by + 3);
    mgen_context_destroy(gpu);
    assert_int_equal(kept_files(path), 0);
    assert_int_equal(warnings, 0);
}

/* A step that is captured times nothing, and does its product when it is replayed. */
static void test_capture(void **state)
{
    mgen_context *gpu = open_on(true, NULL);
    mgi_device *dev = gpu->device;
    product p;
    void *graph;
    (void)state;
    make(dev, &p, M);
    assert_int_equal(mgi_launch_prepare(dev, MGK_OP_matmul_fp8, &p.g), MGEN_OK);
    assert_int_equal(mgi_device_wait(dev), MGEN_OK);
    assert_int_equal(mgi_cuda_capture_begin(dev->cuda), MGEN_OK);
    assert_int_equal(mgi_launch(dev, MGK_OP_matmul_fp8, &p.g), MGEN_OK);
    assert_int_equal(mgi_cuda_capture_end(dev->cuda, &graph), MGEN_OK);
    assert_int_equal(fake->products, 1);
    assert_int_equal(fake->by[0], 1);
    assert_int_equal(mgi_cuda_graph_launch(dev->cuda, graph), MGEN_OK);
    check(gpu, &p);
    mgi_cuda_graph_free(dev->cuda, graph);
    multiply(gpu, M, M);
    assert_true(fake->products > 8);
    const int products = fake->products, by = fake->by[2];
    assert_int_equal(mgi_cuda_capture_begin(dev->cuda), MGEN_OK);
    assert_int_equal(mgi_launch(dev, MGK_OP_matmul_fp8, &p.g), MGEN_OK);
    assert_int_equal(mgi_cuda_capture_end(dev->cuda, &graph), MGEN_OK);
    assert_int_equal(fake->products, products + 1);
    assert_int_equal(fake->by[2], by + 1);
    mgi_cuda_graph_free(dev->cuda, graph);
    drop(&p);
    mgen_context_destroy(gpu);
}

/* An algorithm that fails leaves an error of the runtime behind, which is nobody else's. */
static void leave_error(double ms)
{
    mgk_emulated_spend(ms);
    if (ms == 0.5) {
        mgk_emulated_fail(cudaErrorLaunchOutOfResources);
        assert_false(mgk_emulated_may_launch());
    }
}

static void test_failing_algorithm(void **state)
{
    (void)state;
    fake->broken = 1 << 2;
    fake->spend = leave_error;
    fake->spends_first = true;
    one_context(true, NULL, 1, 2);
    assert_int_equal(fake->by[2], 2);
}

/* A second context times nothing that the first has; another GPU or cuBLASLt does. */
static void test_cache(void **state)
{
    char path[512];
    (void)state;
    one_context(true, folder, 1, 3);
    assert_int_equal(kept_files(path), 1);
    fake->ms[2] = 2; /* would not be chosen again */
    int asked = fake->asked, by = fake->by[2];
    one_context(true, folder, 1, 3);
    assert_int_equal(fake->asked, asked);
    assert_int_equal(fake->checked, 3);
    assert_int_equal(fake->by[2], by + 3);
    one_context(false, folder, 1, 3); /* the default is the same whatever lies there */
    assert_int_equal(fake->asked, asked + 3);
    assert_int_equal(fake->by[2], by + 3);

    mgk_emulated_name("Another GPU");
    asked = fake->asked;
    one_context(true, folder, 1, 3);
    assert_int_equal(fake->asked, asked + 3);
    assert_int_equal(kept_files(path), 2);
    fake->version++;
    one_context(true, folder, 1, 3);
    assert_int_equal(fake->asked, asked + 6);
    assert_int_equal(kept_files(path), 3);
    assert_int_equal(warnings, 0);
}

/* Written when there is something new, and only then: by reads, at the end, and before autotune is given up. */
static void test_when_kept(void **state)
{
    char path[512];
    (void)state;
    mgen_context *gpu = open_on(true, folder);
    launch(gpu, 1);
    assert_int_equal(kept_files(path), 0);
    multiply(gpu, 1, 1);
    assert_int_equal(kept_files(path), 1);
    clear();
    multiply(gpu, 1, 1);
    assert_int_equal(kept_files(path), 0);
    launch(gpu, 2);
    mgi_cuda_settle(gpu->device->cuda);
    assert_int_equal(kept_files(path), 1);
    clear();
    mgen_context_destroy(gpu);
    assert_int_equal(kept_files(path), 0);
    gpu = open_on(true, folder);
    launch(gpu, 1);
    mgen_context_destroy(gpu);
    assert_int_equal(kept_files(path), 1);
}

/* What others have kept meanwhile stays, and a process that is killed loses little. */
static void test_merged(void **state)
{
    char path[512];
    (void)state;
    mgen_context *one = open_on(true, folder), *two = open_on(true, folder);
    multiply(one, 1, 2);
    multiply(one, 2, 2); /* reads, by which the second shape is kept, too */
    assert_int_equal(kept_files(path), 1);
    multiply(two, 3, 4);
    mgen_context_destroy(two);
    int asked = fake->asked;
    one_context(true, folder, 1, 4);
    assert_int_equal(fake->asked, asked);
    mgen_context_destroy(one);
    one_context(true, folder, 1, 4);
    assert_int_equal(fake->asked, asked);
}

static void test_damaged_cache(void **state)
{
    static unsigned char bytes[4096];
    char path[512];
    (void)state;
    one_context(true, folder, 1, 2);
    assert_int_equal(kept_files(path), 1);
    const size_t size = slurp(path, bytes, sizeof bytes);
    bytes[size - 5] ^= 4;
    spill(path, bytes, size);
    int asked = fake->asked;
    one_context(true, folder, 1, 2);
    assert_int_equal(fake->asked, asked + 2);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(warned, "damaged"));
    assert_non_null(strstr(warned, "timed again"));
    one_context(true, folder, 1, 2); /* it was written anew */
    assert_int_equal(fake->asked, asked + 2);
    assert_int_equal(warnings, 1);
    /* an algorithm that this cuBLASLt does not take */
    fake->unfit = 1 << 2;
    one_context(true, folder, 1, 2);
    assert_int_equal(fake->asked, asked + 4);
}

/* A folder that cannot be: said once, and all else is as without one. */
static void test_no_folder(void **state)
{
    (void)state;
    one_context(true, "/nonexistent/folder", 1, 3);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(warned, "is not kept"));
    assert_non_null(strstr(warned, "/nonexistent/folder"));
}

/* What is lent keeps to the context's limit and to what the GPU has, and its want is nobody's failure. */
static void test_lent(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    const size_t before = mgk_emulated_used();
    mgen_context *gpu;
    (void)state;
    params.device = "cuda:0";
    params.threads = params.autotune = 1;
    params.device_memory_max = 100 << 20;
    assert_int_equal(mgen_context_create(&params, &gpu), MGEN_OK);
    const mgk_cublaslt_timer *t =
        ((const mgk_cublaslt_api *)mgi_cuda_blas(gpu->device->cuda))->timer;
    assert_null(t->take(t->user, (size_t)101 << 20));
    void *memory = t->take(t->user, 90 << 20);
    assert_non_null(memory);
    assert_true(mgk_emulated_used() >= before + (90 << 20));
    t->give(t->user, memory);
    assert_int_equal(mgk_emulated_used(), before);
    mgk_emulated_memory(before + (10 << 20));
    assert_null(t->take(t->user, 20 << 20));
    mgk_emulated_memory((size_t)-1);
    assert_int_equal(mgi_device_wait(gpu->device), MGEN_OK);
    assert_string_equal(mgen_last_error(gpu), "");
    mgen_context_destroy(gpu);
}

/* ---- ranks ---- */

typedef struct rank {
    mgen_ranks *ranks;
    const char *axes;
    uint32_t index;
    bool timed, good;
} rank;

static void *be_rank(void *of)
{
    rank *r = of;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_mesh_params p = MGEN_MESH_PARAMS_INIT;
    mgen_context *gpu;
    mgen_mesh *mesh = NULL;
    params.device = "cuda:0";
    params.threads = 1;
    params.autotune = 1;
    if (mgen_context_create(&params, &gpu) != MGEN_OK)
        return NULL;
    p.ranks = r->ranks;
    p.rank = r->index;
    p.axes = r->axes;
    p.by_host = 1;
    r->good = mgen_mesh_create(gpu, &p, &mesh) == MGEN_OK;
    r->timed = ((const mgk_cublaslt_api *)mgi_cuda_blas(gpu->device->cuda))->timer != NULL;
    mgen_mesh_destroy(mesh);
    mgen_context_destroy(gpu);
    return NULL;
}

static bool timed_on(const char *axes)
{
    rank r[2];
    pthread_t threads[2];
    mgen_ranks *ranks;
    assert_int_equal(mgen_ranks_create(ctx, 2, 0, &ranks), MGEN_OK);
    for (uint32_t i = 0; i < 2; i++) {
        r[i] = (rank){.ranks = ranks, .axes = axes, .index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, be_rank, &r[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    mgen_ranks_destroy(ranks);
    assert_true(r[0].good && r[1].good && r[0].timed == r[1].timed);
    return r[0].timed;
}

static void test_ranks(void **state)
{
    (void)state;
    assert_true(timed_on("dp=2"));
    assert_false(timed_on("tp=2"));
    assert_false(timed_on("cp=2"));
}

/* From then on it is as if the host had not asked for it, and what was chosen is kept for others. */
static void test_settled(void **state)
{
    mgen_context *gpu = open_on(true, folder);
    char path[512];
    (void)state;
    multiply(gpu, 1, 2);
    mgi_cuda_settle(gpu->device->cuda);
    assert_int_equal(kept_files(path), 1);
    const int products = fake->products, by = fake->by[0];
    multiply(gpu, 1, 3);
    assert_int_equal(fake->products, products + 3);
    assert_int_equal(fake->by[0], by + 3);
    mgen_context_destroy(gpu);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, reset, end)
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_together),
#ifdef MGK_CUDA_EMULATED
        TEST(test_context),
        TEST(test_capture),
        TEST(test_failing_algorithm),
        TEST(test_cache),
        TEST(test_when_kept),
        TEST(test_merged),
        TEST(test_damaged_cache),
        TEST(test_no_folder),
        TEST(test_lent),
        TEST(test_ranks),
        TEST(test_settled),
#endif
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
