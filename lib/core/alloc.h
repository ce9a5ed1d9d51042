/* SPDX-License-Identifier: MIT
 * Host memory, through the context's allocator and under its limit. Any thread. Tier 0. */
#ifndef MGI_CORE_ALLOC_H
#define MGI_CORE_ALLOC_H

#include "core/context.h"

#define MGI_ALIGN 64 /* bytes: every block starts on a cache line */

/* size 0 gives a valid pointer. The memory is not cleared. On failure *out is NULL and the error
 * (NO_MEMORY or LIMIT, with the size asked for) is recorded. */
mgen_status mgi_alloc(mgen_context *ctx, size_t size, void *out);
/* count * size bytes, cleared; the product is checked. */
mgen_status mgi_alloc_zero(mgen_context *ctx, size_t count, size_t size, void *out);
/* Grow or shrink an array that mgi_alloc* made (or NULL); contents kept. */
mgen_status mgi_realloc(mgen_context *ctx, void *in_out, size_t count, size_t size);
mgen_status mgi_strdup(mgen_context *ctx, const char *text, char **out);
void mgi_free(mgen_context *ctx, void *ptr); /* NULL is fine */

/* The C library's, blocks aligned to MGI_ALIGN: what a context uses unless the host gave its own. */
extern const mgen_allocator mgi_libc_allocator;

#endif
