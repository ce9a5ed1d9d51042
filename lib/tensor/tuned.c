/* SPDX-License-Identifier: MIT */
#include "tensor/tuned.h"

#include "core/checked.h"
#include "core/hash.h"
#include "kernels/matmul/matmul_cublaslt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { FORMAT = 1 }; /* of the rows, too: a shape and an algorithm */

typedef struct head {
    char magic[8];
    uint32_t format, rows;
    char machine[MGI_TUNED_MACHINE];
    uint64_t check; /* of all before it, and the rows */
} head;

static const char magic[8] = {'m', 'g', 'e', 'n', 'p', 'r', 'o', 'd'};

static void name_machine(head *h, const char *machine)
{
    memset(h, 0, sizeof *h);
    snprintf(h->machine, sizeof h->machine, "%s", machine);
}

static uint64_t check_of(const head *h, const void *rows)
{
    return mgi_hash64(rows, (size_t)h->rows * MGK_CUBLASLT_ROW,
                      mgi_hash64(h, offsetof(head, check), FORMAT));
}

mgen_status mgi_tuned_path(mgen_context *ctx, const char *dir, const char *machine,
                           char out[MGI_PATH_MAX + 1])
{
    char name[64];
    head h;
    name_machine(&h, machine);
    snprintf(name, sizeof name, "products-%016" PRIx64 ".bin",
             mgi_hash64(h.machine, sizeof h.machine, FORMAT));
    return mgi_path_join(ctx, dir, name, out, MGI_PATH_MAX + 1);
}

/* The rows of the file, NULL: it is not as it was written for this machine. */
static const uint8_t *rows_of(const mgi_file *file, const head *ours, head *h)
{
    size_t bytes;
    if (file->size < sizeof *h)
        return NULL;
    memcpy(h, file->data, sizeof *h);
    bool fits = !memcmp(h->magic, magic, sizeof magic) && h->format == FORMAT &&
                !memcmp(h->machine, ours->machine, sizeof h->machine) &&
                h->rows <= MGK_CUBLASLT_KEPT && mgi_size_mul(h->rows, MGK_CUBLASLT_ROW, &bytes) &&
                mgi_size_add(bytes, sizeof *h, &bytes) && file->size == bytes;
    const uint8_t *rows = file->data + sizeof *h;
    return fits && h->check == check_of(h, rows) ? rows : NULL;
}

mgen_status mgi_tuned_read(mgen_context *ctx, const char *path, const char *machine,
                           void (*tell)(void *user, const void *row), void *user)
{
    mgi_file file;
    head ours, h;
    name_machine(&ours, machine);
    MGI_TRY(mgi_file_open(ctx, path, &file));
    const uint8_t *rows = rows_of(&file, &ours, &h);
    for (size_t i = 0; rows && i < h.rows; i++)
        tell(user, rows + i * MGK_CUBLASLT_ROW);
    mgi_file_close(ctx, &file);
    return rows ? MGEN_OK
                : mgi_fail(ctx, MGEN_E_CORRUPT, "'%s' is damaged, or of another machine", path);
}

mgen_status mgi_tuned_write(mgen_context *ctx, const char *path, const char *machine,
                            const void *rows, size_t count)
{
    mgi_writer w;
    head h;
    name_machine(&h, machine);
    memcpy(h.magic, magic, sizeof magic);
    h.format = FORMAT;
    h.rows = (uint32_t)count;
    h.check = check_of(&h, rows);
    MGI_TRY(mgi_writer_open(ctx, path, &w));
    mgen_status status = mgi_writer_write(&w, &h, sizeof h);
    if (status == MGEN_OK)
        status = mgi_writer_write(&w, rows, count * MGK_CUBLASLT_ROW);
    if (status == MGEN_OK)
        return mgi_writer_commit(&w);
    mgi_writer_abort(&w);
    return status;
}
