/* SPDX-License-Identifier: MIT
 * Host memory: every block carries a header that remembers what the allocator gave, so that it is
 * given back with the same size and counted against the context's limit. */
#include "core/alloc.h"

#include "core/checked.h"
#include "core/quiet.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Stands right before the memory that the caller sees. */
typedef struct block_header {
    uint64_t magic;
    void *base;   /* what the allocator returned */
    size_t total; /* and the size it was asked for */
    size_t size;  /* what the caller asked for */
} block_header;

#define MAGIC_LIVE 0x6D67695F6C697665u
#define MAGIC_DEAD 0x6D67695F64656164u

_Static_assert(sizeof(block_header) <= MGI_ALIGN, "the header fits before an aligned block");

enum {
    HUGE_PAGE = 2 << 20,       /* bytes, on the processors that this is for */
    HUGE_FROM = 2 * HUGE_PAGE, /* smaller blocks have no room for one, or little */
    MAP_UNIT = 64 << 10        /* a page, of any size that systems have */
};

/* Large tensors lie on huge pages where the system leaves that to the program: each is one fault instead of
 * 512, and the processor finds it with one entry. Parts of a huge page stay on small ones, so that a block
 * takes no more memory than it has bytes. */
void mgi_use_huge_pages(void *block, size_t size)
{
#ifdef MADV_HUGEPAGE
    uintptr_t begin = ((uintptr_t)block + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uintptr_t end = ((uintptr_t)block + size) / HUGE_PAGE * HUGE_PAGE;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_HUGEPAGE); /* refused: as it was */
#else
    (void)block, (void)size;
#endif
}

/* Large blocks come from the system and go back to it: of those of many sizes the C library keeps what lies between them.
 * Sanitizers watch the C library's alone. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MAPPED 0
#elif defined(__has_feature)
#define MAPPED                                                                                     \
    (!__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer) &&                      \
     !__has_feature(memory_sanitizer))
#else
#define MAPPED 1
#endif

static size_t mapped_size(size_t size)
{
    return (size + MAP_UNIT - 1) / MAP_UNIT * MAP_UNIT;
}

/* From the beginning of a huge page on. */
static void *map_large(size_t size)
{
    const size_t all = mapped_size(size) + HUGE_PAGE;
    if (all < size)
        return NULL;
    char *base = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    const size_t before = -(uintptr_t)base & (HUGE_PAGE - 1), after = HUGE_PAGE - before;
    if (before)
        munmap(base, before);
    munmap(base + before + mapped_size(size), after);
    return base + before;
}

static void *libc_alloc(void *user, size_t size)
{
    (void)user;
    void *ptr = NULL;
    const bool large = size >= HUGE_FROM;
    if (large && MAPPED)
        ptr = map_large(size);
    else if (posix_memalign(&ptr, large ? HUGE_PAGE : MGI_ALIGN, size) != 0)
        return NULL;
    if (large && ptr)
        mgi_use_huge_pages(ptr, size);
    return ptr;
}

static void libc_free(void *user, void *ptr, size_t size)
{
    (void)user;
    if (size >= HUGE_FROM && MAPPED)
        munmap(ptr, mapped_size(size));
    else
        free(ptr);
}

const mgen_allocator mgi_libc_allocator = {libc_alloc, libc_free, NULL};

/* Room for the header and for moving up to the next multiple of MGI_ALIGN. Our own allocator is
 * aligned already: no slack at the end, so that checkers see the first byte past a block. */
static size_t overhead_of(const mgi_heap *heap)
{
    return heap->allocator.alloc == libc_alloc ? MGI_ALIGN : sizeof(block_header) + MGI_ALIGN;
}

static block_header *header_of(void *ptr)
{
    return (block_header *)((char *)ptr - sizeof(block_header));
}

mgi_heap *mgi_heap_create(const mgen_allocator *allocator, uint64_t max)
{
    mgi_heap *heap = allocator->alloc(allocator->user, sizeof *heap);
    if (!heap)
        return NULL;
    memset(heap, 0, sizeof *heap);
    heap->allocator = *allocator;
    heap->max = max;
    atomic_init(&heap->owners, 1);
    return heap;
}

mgi_heap *mgi_heap_retain(mgi_heap *heap)
{
    atomic_fetch_add_explicit(&heap->owners, 1, memory_order_relaxed);
    return heap;
}

void mgi_heap_release(mgi_heap *heap)
{
    if (!heap || atomic_fetch_sub_explicit(&heap->owners, 1, memory_order_acq_rel) != 1)
        return;
    mgen_allocator allocator = heap->allocator;
    allocator.free(allocator.user, heap, sizeof *heap);
}

/* Count `total` bytes, or refuse. */
static bool reserve(mgi_heap *heap, uint64_t total)
{
    uint64_t now = atomic_load_explicit(&heap->now, memory_order_relaxed), then;
    do {
        if (__builtin_add_overflow(now, total, &then) || (heap->max && then > heap->max))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&heap->now, &now, then, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static void note_peak(mgi_heap *heap)
{
    uint64_t now = atomic_load_explicit(&heap->now, memory_order_relaxed);
    uint64_t peak = atomic_load_explicit(&heap->peak, memory_order_relaxed);
    while (peak < now && !atomic_compare_exchange_weak_explicit(
                             &heap->peak, &peak, now, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* `told`: receives the message, or NULL. */
static mgen_status allocate(mgi_heap *heap, mgen_context *told, size_t size, void **out)
{
    *out = NULL;
    size_t total;
    if (!mgi_size_add(size, overhead_of(heap), &total))
        return mgi_fail(told, MGEN_E_NO_MEMORY, "cannot allocate %zu bytes: more than there can be",
                        size);
    if (!reserve(heap, total))
        return mgi_fail(told, MGEN_E_LIMIT,
                        "cannot allocate %zu bytes: %" PRIu64 " of host_memory_max %" PRIu64
                        " are in use; raise the limit or ask for less",
                        size, atomic_load(&heap->now), heap->max);
    char *base = heap->allocator.alloc(heap->allocator.user, total);
    if (!base) {
        atomic_fetch_sub_explicit(&heap->now, total, memory_order_relaxed);
        return mgi_fail(told, MGEN_E_NO_MEMORY,
                        "cannot allocate %zu bytes of host memory; %" PRIu64 " are in use", size,
                        atomic_load(&heap->now));
    }
    note_peak(heap);
    uintptr_t past = (uintptr_t)base + sizeof(block_header);
    char *ptr = base + sizeof(block_header) + (-past & (MGI_ALIGN - 1));
    *header_of(ptr) = (block_header){MAGIC_LIVE, base, total, size};
    *out = ptr;
    return MGEN_OK;
}

mgen_status mgi_alloc(mgen_context *ctx, size_t size, void *out)
{
    void *ptr;
    mgen_status status = allocate(ctx->heap, ctx, size, &ptr);
    memcpy(out, &ptr, sizeof(ptr)); /* out is a T ** of any T */
    return status;
}

mgen_status mgi_alloc_silent(mgen_context *ctx, size_t size, void *out)
{
    void *ptr;
    mgen_status status = allocate(ctx->heap, NULL, size, &ptr);
    memcpy(out, &ptr, sizeof(ptr));
    return status;
}

mgen_status mgi_alloc_zero(mgen_context *ctx, size_t count, size_t size, void *out)
{
    void *ptr = NULL;
    size_t bytes = 0;
    mgen_status status;
    if (!mgi_size_mul(count, size, &bytes))
        status = mgi_fail(ctx, MGEN_E_NO_MEMORY,
                          "cannot allocate %zu x %zu bytes: more than there can be", count, size);
    else
        status = allocate(ctx->heap, ctx, bytes, &ptr);
    if (status == MGEN_OK)
        memset(ptr, 0, bytes);
    memcpy(out, &ptr, sizeof(ptr));
    return status;
}

mgen_status mgi_realloc(mgen_context *ctx, void *in_out, size_t count, size_t size)
{
    void *old, *grown;
    size_t bytes;
    memcpy(&old, in_out, sizeof(old));
    if (!mgi_size_mul(count, size, &bytes))
        return mgi_fail(ctx, MGEN_E_NO_MEMORY,
                        "cannot allocate %zu x %zu bytes: more than there can be", count, size);
    MGI_TRY(allocate(ctx->heap, ctx, bytes, &grown)); /* on failure the array stays as it was */
    if (old) {
        size_t kept = header_of(old)->size;
        memcpy(grown, old, kept < bytes ? kept : bytes);
        mgi_free(ctx, old);
    }
    memcpy(in_out, &grown, sizeof(grown));
    return MGEN_OK;
}

mgen_status mgi_strdup(mgen_context *ctx, const char *text, char **out)
{
    size_t length = strlen(text) + 1;
    MGI_TRY(mgi_alloc(ctx, length, out));
    memcpy(*out, text, length);
    return MGEN_OK;
}

bool mgi_heap_free(mgi_heap *heap, void *ptr)
{
    if (!ptr)
        return true;
    block_header *header = header_of(ptr);
    if (header->magic != MAGIC_LIVE)
        return false; /* losing the block is the harmless way out */
    header->magic = MAGIC_DEAD;
    size_t total = header->total;
    heap->allocator.free(heap->allocator.user, header->base, total);
    atomic_fetch_sub_explicit(&heap->now, total, memory_order_relaxed);
    return true;
}

void mgi_free(mgen_context *ctx, void *ptr)
{
    if (ptr && !mgi_heap_free(ctx->heap, ptr))
        mgi_fail(ctx, MGEN_E_INTERNAL, "a block of memory was freed twice or overwritten");
}
