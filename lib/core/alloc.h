/* SPDX-License-Identifier: MIT
 * Host memory, through an allocator and under a limit. Any thread. Tier 0.
 *
 * A heap is an allocator with its accounting. A context has one, shared by all that is made from it: what
 * outlives the context (model handles, clips, reports) owns the heap along with it. */
#ifndef MGI_CORE_ALLOC_H
#define MGI_CORE_ALLOC_H

#include "core/context.h"

#define MGI_ALIGN 64 /* bytes: every block starts on a cache line */

typedef struct mgi_heap {
    mgen_allocator allocator;
    uint64_t max;               /* bytes; 0 = no limit */
    _Atomic uint64_t now, peak; /* bytes, as asked of the allocator */
    _Atomic uint64_t owners;
} mgi_heap;

/* One owner; NULL when the allocator has nothing left. Its own few bytes are not counted. */
mgi_heap *mgi_heap_create(const mgen_allocator *allocator, uint64_t max);
mgi_heap *mgi_heap_retain(mgi_heap *heap);
void mgi_heap_release(mgi_heap *heap);
/* Free a block of mgi_alloc* without a context; false if it was freed before or overwritten. */
bool mgi_heap_free(mgi_heap *heap, void *ptr);

/* size 0 gives a valid pointer. The memory is not cleared. On failure *out is NULL and the error
 * (NO_MEMORY or LIMIT, with the size asked for) is recorded. */
mgen_status mgi_alloc(mgen_context *ctx, size_t size, void *out);
/* count * size bytes, cleared; the product is checked. */
mgen_status mgi_alloc_zero(mgen_context *ctx, size_t count, size_t size, void *out);
/* Grow or shrink an array that mgi_alloc* made (or NULL); contents kept. */
mgen_status mgi_realloc(mgen_context *ctx, void *in_out, size_t count, size_t size);
mgen_status mgi_strdup(mgen_context *ctx, const char *text, char **out);
void mgi_free(mgen_context *ctx, void *ptr); /* NULL is fine */

/* Asks for huge pages where they fit whole into this memory, which nobody has touched yet. */
void mgi_use_huge_pages(void *block, size_t size);

/* The C library's, blocks aligned to MGI_ALIGN: what a context uses unless the host gave its own. */
extern const mgen_allocator mgi_libc_allocator;

#endif
