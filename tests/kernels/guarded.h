/* SPDX-License-Identifier: MIT
 * Buffers that notice when a kernel leaves them, for checkkernel. */
#ifndef CHECKKERNEL_GUARDED_H
#define CHECKKERNEL_GUARDED_H

#include "kernels/cases.h"

/* A zone of known bytes before the data, another behind it, then a page that cannot be touched. */
typedef struct guarded {
    uint8_t *map, *data;
    size_t map_bytes, bytes;
} guarded;

typedef enum {
    GUARDED_ALIGNED, /* data starts on a cache line; writes behind it hit the zone */
    GUARDED_TIGHT    /* data ends at the forbidden page: reads behind it crash */
} guarded_place;

bool guarded_make(guarded *g, size_t bytes, guarded_place place);
bool guarded_intact(const guarded *g);
size_t guarded_readable(const guarded *g); /* bytes of map before the forbidden page */
void guarded_free(guarded *g);

size_t dtype_size(int32_t dtype);
double value_at(const void *data, int32_t dtype, int64_t i);

/* What an output holds before the kernel writes it: for floats not-a-number with a mark. */
void poison(void *data, int32_t dtype, int64_t count);
bool is_poison(const void *data, int32_t dtype, int64_t i);

/* Values as the case asks for; `stream` keeps the buffers of a case apart. A widened buffer gets what
 * its bf16 form would hold. */
void fill_values(void *data, const mgk_case_buf *b, uint64_t seed, uint64_t stream);

/* The same for buffer i of a case, with stream 100 + i. Every run of a case fills its buffers alike, and random numbers
 * take longer than most kernels: the values are kept, and copied while i and its declaration stay the same. */
void fill_case_buf(void *data, const mgk_case_buf *b, uint64_t seed, int i);

#endif
