/* SPDX-License-Identifier: MIT
 * What was chosen for products on GPUs: a file is read a second time with its check sum put right, without which no
 * damage passes it. */
#include "fuzz.h"

#include "core/hash.h"
#include "kernels/matmul/matmul_cublaslt.h"
#include "tensor/tuned.h"

#include <string.h>

#define MACHINE "A GPU, 9.0, 132 multiprocessors, cuBLASLt 130100"
enum { HEAD = 8 + 2 * 4 + MGI_TUNED_MACHINE /* before the check sum */, ROW = MGK_CUBLASLT_ROW };

typedef struct told {
    uint64_t rows, sum;
} told;

static void tell(void *user, const void *row)
{
    told *t = user;
    t->rows++;
    for (int i = 0; i < ROW; i++)
        t->sum += ((const uint8_t *)row)[i];
}

static bool read_rows(mgen_context *ctx, size_t size, const char *path)
{
    told t = {0, 0};
    bool good = fuzz_ok(ctx, mgi_tuned_read(ctx, path, MACHINE, tell, &t));
    FUZZ_CHECK(t.rows == (good ? (size - HEAD - 8) / ROW : 0));
    return good;
}

static void put_check(uint8_t *data, size_t size)
{
    const uint64_t check = mgi_hash64(data + HEAD + 8, size - HEAD - 8, mgi_hash64(data, HEAD, 1));
    memcpy(data + HEAD, &check, sizeof check);
}

static bool read_file(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    bool good = read_rows(ctx, size, path);
    if (good || size < HEAD + 8)
        return good;
    uint8_t *copy = (uint8_t *)fuzz_text(data, size);
    put_check(copy, size);
    fuzz_write(path, copy, size);
    good = read_rows(ctx, size, path);
    free(copy);
    return good;
}

static uint8_t *make(uint32_t rows, size_t *size)
{
    const uint32_t numbers[2] = {1, rows};
    *size = HEAD + 8 + rows * ROW;
    uint8_t *out = calloc(1, *size);
    FUZZ_CHECK(out);
    memcpy(out, "mgenprod", 8);
    memcpy(out + 8, numbers, sizeof numbers);
    memcpy(out + 16, MACHINE, sizeof MACHINE);
    for (size_t i = HEAD + 8; i < *size; i++)
        out[i] = (uint8_t)(i * 29);
    put_check(out, *size);
    return out;
}

static uint8_t *make_none(size_t *size)
{
    return make(0, size);
}

static uint8_t *make_some(size_t *size)
{
    return make(3, size);
}

static const fuzz_seed files[] = {{.make = make_none}, {.make = make_some}};

const fuzz_target fuzz_tuned = {
    .name = "tuned",
    .size_max = 4096,
    .ending = ".bin",
    FUZZ_SEEDS(files),
    .read = read_file,
};
