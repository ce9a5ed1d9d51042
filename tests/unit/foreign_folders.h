/* SPDX-License-Identifier: MIT
 * Models in folders as other libraries write them, copied into a folder of the test so that they can be damaged. */
#ifndef TESTS_UNIT_FOREIGN_FOLDERS_H
#define TESTS_UNIT_FOREIGN_FOLDERS_H

#include "core/context.h"
#include "tensor/device.h"
#include "ok.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[] = "/tmp/mgi-foreign-XXXXXX";
static mgen_context *ctx;

#include "said.h"

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[4000];
    va_list list;
    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    assert_int_equal(system(command), 0);
}

/* The folder, and a context that computes. False: they cannot be made. */
static inline bool begin_foreign(void (*log)(void *user, int32_t level, const char *text))
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 2;
    params.log = log;
    return mkdtemp(folder) && mgi_context_init(&ctx, &params) == MGEN_OK &&
           mgi_device_create(ctx, NULL) == MGEN_OK;
}

static inline int end_foreign(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    shell("rm -rf %s", folder);
    return 0;
}

/* Replace the first `old` in a file by `new`; in a safetensors file the length of the header follows. */
static void edit(const char *path, const char *old, const char *new)
{
    static char data[1 << 17];
    char name[700];
    snprintf(name, sizeof name, "%s/%s", folder, path);
    FILE *f = fopen(name, "rb");
    assert_non_null(f);
    size_t size = fread(data, 1, sizeof data / 2, f), cut = strlen(old), put = strlen(new), at = 0;
    fclose(f);
    while (at + cut <= size && memcmp(data + at, old, cut))
        at++;
    if (at + cut > size)
        fail_msg("%s does not hold %s", path, old);
    memmove(data + at + put, data + at + cut, size - at - cut);
    memcpy(data + at, new, put);
    if (strlen(path) > 12 && !strcmp(path + strlen(path) - 12, ".safetensors")) {
        uint64_t header;
        memcpy(&header, data, 8);
        header += put - cut;
        memcpy(data, &header, 8);
    }
    f = fopen(name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size + put - cut, f), size + put - cut);
    fclose(f);
}

#endif
