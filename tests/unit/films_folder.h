/* SPDX-License-Identifier: MIT
 * A folder of films and of texts beside them, as a test fills it. `ctx` is that of the program. */
#ifndef FILMS_FOLDER_H
#define FILMS_FOLDER_H

#include "said.h"

#include <stdio.h>
#include <string.h>

static char films[300];

static inline const char *in_films(const char *name)
{
    static char path[1000];
    snprintf(path, sizeof path, "%s/%s", films, name);
    return path;
}

static inline void put_bytes(const char *name, const char *text, size_t size)
{
    FILE *f = fopen(in_films(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static inline void put_text(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

#endif
