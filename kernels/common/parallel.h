/* SPDX-License-Identifier: MIT
 * Fixed blocks of work, handed to the pool. Block sizes depend on the shape only, never on the
 * number of threads. */
#ifndef MGK_COMMON_PARALLEL_H
#define MGK_COMMON_PARALLEL_H

#include "kernels/mgk.h"

enum {
    MGK_SERIAL_WORK = 16384,    /* less than this many elements: not worth waking a thread */
    MGK_BLOCK_ELEMENTS = 16384, /* elements a block of an elementwise loop */
    /* An output of this size or more does not stay in a cache until it is read: it is written past
     * them, which saves reading its lines first. */
    MGK_STREAM_BYTES = 16 << 20
};

static inline int64_t mgk_div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t mgk_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t mgk_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Round up to whole cache lines of floats. */
static inline int64_t mgk_pad16(int64_t n)
{
    return (n + 15) / 16 * 16;
}

/* Run all blocks; `work` estimates the elements of all together. */
static inline void mgk_for(mgk_exec *x, int64_t blocks, int64_t work, mgi_pool_fn *fn, void *arg)
{
    if (blocks > 1 && work >= MGK_SERIAL_WORK && x->pool) {
        mgi_pool_run(x->pool, blocks, fn, arg);
        return;
    }
    for (int64_t b = 0; b < blocks; b++)
        fn(arg, b, 0);
}

/* Whether `rows` rows of `dim` reals are to be written past the caches: there are many, and each
 * begins on a cache line. */
static inline int32_t mgk_streams(mgk_buf out, int64_t rows, int64_t dim)
{
    int64_t bytes = dim * (out.dtype == MGK_BF16 ? 2 : 4);
    return ((uintptr_t)out.p | (uint64_t)bytes) % 64 == 0 && rows * bytes >= MGK_STREAM_BYTES;
}

/* The same for ops without rows, whose blocks begin on cache lines if the buffer does. */
static inline int32_t mgk_streams_flat(mgk_buf out, int64_t count)
{
    int64_t bytes = count * (out.dtype == MGK_BF16 ? 2 : 4);
    return (uintptr_t)out.p % 64 == 0 && bytes >= MGK_STREAM_BYTES;
}

/* Rows a block, for rows of `dim` values. */
static inline int64_t mgk_rows_a_block(int64_t dim)
{
    return mgk_max(1, MGK_BLOCK_ELEMENTS / mgk_max(1, dim));
}

/* Rows split so that no block holds part of one sample and part of another: a block is a chunk of
 * one sample or a few whole samples. Where the rows are a slice of a longer sequence, `skip` rows of
 * the first sample came before them; blocks that lie there are empty. */
typedef struct mgk_row_split {
    int64_t rows, sample, chunk, chunks, group, blocks; /* group: samples a block, if chunks is 1 */
    int64_t skip, first_sample; /* the sample of row r is first_sample + (r + skip) / sample */
} mgk_row_split;

static inline mgk_row_split mgk_split_rows_from(int64_t rows, int64_t row_offset,
                                                int64_t rows_per_sample, int64_t dim)
{
    enum { MANY_ROWS = 65536, ROWS_MAX = 256 };
    mgk_row_split s = {.rows = rows, .sample = rows_per_sample, .group = 1};
    /* Many rows, as each block leaves sums as long as a row, which go through memory if there are many of
     * them; not too many, which bounds the rounding error of its sums. */
    int64_t least = rows >= MANY_ROWS ? ROWS_MAX : 64;
    int64_t target = mgk_min(mgk_max(least, 2 * mgk_rows_a_block(dim)), ROWS_MAX);
    if (s.sample > 0) {
        s.skip = row_offset % s.sample;
        s.first_sample = row_offset / s.sample;
    }
    if (s.sample <= 0 || s.sample - s.skip >= rows) { /* all of one sample */
        s.skip = 0;
        s.sample = mgk_max(1, rows);
    }
    s.chunk = mgk_min(s.sample, target);
    s.chunks = mgk_div_up(s.sample, s.chunk);
    if (s.chunks == 1)
        s.group = mgk_max(1, target / s.sample);
    int64_t samples = mgk_div_up(s.skip + rows, s.sample);
    s.blocks = s.chunks == 1 ? mgk_div_up(samples, s.group) : samples * s.chunks;
    return s;
}

static inline mgk_row_split mgk_split_rows(int64_t rows, int64_t rows_per_sample, int64_t dim)
{
    return mgk_split_rows_from(rows, 0, rows_per_sample, dim);
}

/* Rows of a block: first .. end - 1 (possibly none). */
static inline void mgk_split_range(const mgk_row_split *s, int64_t block, int64_t *first,
                                   int64_t *end)
{
    int64_t rows = s->skip + s->rows;
    if (s->chunks == 1) {
        *first = block * s->group * s->sample;
        *end = mgk_min(rows, *first + s->group * s->sample);
    } else {
        int64_t start = block / s->chunks * s->sample;
        *first = start + block % s->chunks * s->chunk;
        *end = mgk_min(mgk_min(rows, start + s->sample), *first + s->chunk);
    }
    *first = mgk_max(0, *first - s->skip);
    *end = mgk_max(*first, *end - s->skip);
}

#endif
