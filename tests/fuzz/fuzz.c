/* SPDX-License-Identifier: MIT
 * One input through a target, and the rules that every target is held to. */
#include "fuzz.h"

#include "core/alloc.h"
#include "core/hash.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const fuzz_target *current;
static mgen_context *context;
static char folder[256];
static bool scarce; /* memory runs out somewhere */

void fuzz_broken(const char *file, int line, const char *fact)
{
    fprintf(stderr, "%s: %s:%d: this does not hold: %s; last message: '%s'\n",
            current ? current->name : "fuzz", file, line, fact, context ? context->error_text : "");
    abort();
}

/* The C library's allocator: no byte that a sanitizer cannot see lies behind a block. */
static void start(const fuzz_target *target)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 1;
    params.host_memory_max = FUZZ_MEMORY_MAX;
    FUZZ_CHECK(mgi_context_init(&context, &params) == MGEN_OK);
    if (target->open)
        target->open(context);
}

/* *used: bytes that were in use at once, of those allowed beside what is in use already. */
static bool read_once(mgen_context *ctx, uint64_t allowed, const uint8_t *data, size_t size,
                      const char *path, uint64_t *used)
{
    mgi_heap *heap = ctx->heap;
    uint64_t now = heap->now;
    heap->peak = now;
    heap->max = now + allowed;
    bool good = current->read(ctx, data, size, path);
    FUZZ_CHECK(heap->now == now);
    FUZZ_CHECK(heap->peak <= heap->max);
    *used = heap->peak - now;
    return good;
}

/* A new file each time: some file systems flush one that is cut to nothing and written again. */
void fuzz_write(const char *path, const uint8_t *data, size_t size)
{
    unlink(path);
    FILE *file = fopen(path, "wb");
    FUZZ_CHECK(file && fwrite(data, 1, size, file) == size);
    FUZZ_CHECK(fclose(file) == 0);
}

bool fuzz_input(const fuzz_target *target, const uint8_t *data, size_t size)
{
    char path[sizeof folder + 32] = "";
    current = target;
    if (!context)
        start(target);
    if (size > target->size_max)
        return false;
    if (target->ending) {
        snprintf(path, sizeof path, "%s/input%s", folder, target->ending);
        fuzz_write(path, data, size);
    }
    uint64_t used, less;
    bool good = read_once(context, FUZZ_MEMORY_MAX, data, size, path, &used);
    scarce = true;
    if (used)
        read_once(context, 1 + mgi_hash64(data, size, 0) % used, data, size, path, &less);
    scarce = false;
    return good;
}

/* ---- statuses --------------------------------------------------------------------------------------- */

static bool allowed(mgen_status status)
{
    for (int i = 0; i < FUZZ_FAILURES_MAX; i++)
        if (status == current->failures[i])
            return true;
    return status == MGEN_E_CORRUPT || status == MGEN_E_LIMIT;
}

bool fuzz_ok(mgen_context *ctx, mgen_status status)
{
    if (status != MGEN_OK) {
        FUZZ_CHECK(allowed(status));
        FUZZ_CHECK(ctx->error_set == 1 && ctx->error_code == status && ctx->error_text[0]);
        ctx->error_set = 0;
        ctx->error_text[0] = '\0';
    }
    return status == MGEN_OK;
}

bool fuzz_must(mgen_context *ctx, mgen_status status)
{
    FUZZ_CHECK(status == MGEN_OK || (status == MGEN_E_LIMIT && scarce));
    return fuzz_ok(ctx, status);
}

/* ---- files ------------------------------------------------------------------------------------------ */

void fuzz_make_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/mgen_fuzz_XXXXXX", tmp ? tmp : "/tmp");
    FUZZ_CHECK(mkdtemp(folder));
}

void fuzz_remove_folder(void)
{
    static const char *const names[] = {"input.safetensors",
                                        "input.json",
                                        "input.y4m",
                                        "input.png",
                                        "input.bin",
                                        "model.safetensors.index.json",
                                        "a.safetensors",
                                        "b.safetensors",
                                        "input.txt",
                                        "input.jsonl",
                                        "input.csv",
                                        "input.jpg",
                                        "input.wav",
                                        "checkpoint.json",
                                        "0123456789abcdef-0.safetensors",
                                        "foreign/config.json",
                                        "foreign/model.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[sizeof folder + 32];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    char path[sizeof folder + 32];
    snprintf(path, sizeof path, "%s/foreign", folder);
    rmdir(path);
    rmdir(folder);
}

uint8_t *fuzz_source_file(const char *name, size_t *size)
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    char path[4096];
    struct stat about;
    snprintf(path, sizeof path, "%s/%s", source ? source : ".", name);
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &about) != 0) {
        fprintf(stderr, "cannot open %s: MOVIEGEN_SOURCE must name the folder of the sources\n",
                path);
        exit(2);
    }
    *size = (size_t)about.st_size;
    uint8_t *data = malloc(*size + 1);
    FUZZ_CHECK(data && fread(data, 1, *size, file) == *size);
    fclose(file);
    return data;
}

uint8_t *fuzz_seed_bytes(const fuzz_target *target, int seed, size_t *size)
{
    const fuzz_seed *s = &target->seeds[seed];
    if (s->make)
        return s->make(size);
    if (s->file)
        return fuzz_source_file(s->file, size);
    *size = strlen(s->text);
    return (uint8_t *)fuzz_text((const uint8_t *)s->text, *size);
}

char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_CHECK(text);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}
