/* SPDX-License-Identifier: MIT
 * A context without a device and an empty folder for files of all kinds, for a group of tests. */
#ifndef TESTS_UNIT_MEDIA_FOLDER_H
#define TESTS_UNIT_MEDIA_FOLDER_H

#include "core/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static mgen_context *ctx;
static char dir[256];

/* Both, of one thread; 0, or a failure. */
static inline int open_media_folder(void)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    const char *tmp = getenv("TMPDIR");
    params.threads = 1;
    snprintf(dir, sizeof dir, "%s/mgen_media_XXXXXX", tmp ? tmp : "/tmp");
    return mgi_context_init(&ctx, &params) == MGEN_OK && mkdtemp(dir) ? 0 : -1;
}

static inline const char *in_dir(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static inline void store(const char *name, const void *data, size_t size)
{
    unlink(in_dir(name)); /* a file system may wait for what is written over */
    FILE *f = fopen(in_dir(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* What a file has, which the caller frees. */
static inline uint8_t *load(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*size);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, f), *size);
    fclose(f);
    return data;
}

#endif
