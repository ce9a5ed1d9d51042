/* SPDX-License-Identifier: MIT
 * Memory of a context that fails at a chosen call, and counts what was not given back. */
#ifndef TESTS_UNIT_FAILING_MEMORY_H
#define TESTS_UNIT_FAILING_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct failing {
    int64_t blocks;
    int calls, fail_at; /* this call and all later ones fail; 0 = none */
    bool alone;         /* this call only */
} failing;

static inline void *failing_alloc(void *user, size_t size)
{
    failing *f = user;
    if (f->fail_at && ++f->calls >= f->fail_at && (!f->alone || f->calls == f->fail_at))
        return NULL;
    f->blocks++;
    return malloc(size);
}

static inline void failing_free(void *user, void *ptr, size_t size)
{
    (void)size;
    ((failing *)user)->blocks--;
    free(ptr);
}

#endif
