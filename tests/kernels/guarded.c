/* SPDX-License-Identifier: MIT
 * Guarded buffers, their poison and their contents. */
#include "guarded.h"

#include "core/alloc.h"
#include "core/philox.h"
#include "kernels/fp8/e4m3.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ZONE_BYTES = 512, ZONE_VALUE = 0x5a, POISON_BYTE = 0xa5 };
#define POISON_F32  0xffc0deadu
#define POISON_BF16 0xffdeu

static size_t round_up(size_t value, size_t step)
{
    return (value + step - 1) / step * step;
}

bool guarded_make(guarded *g, size_t bytes, guarded_place place)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t usable = round_up(bytes + 2 * ZONE_BYTES, page);
    g->bytes = bytes;
    g->map_bytes = usable + page;
    g->map = mmap(NULL, g->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g->map == MAP_FAILED) {
        *g = (guarded){0};
        return false;
    }
    mprotect(g->map + usable, page, PROT_NONE);
    mgi_use_huge_pages(g->map, usable); /* as the library's own memory */
    g->data = place == GUARDED_TIGHT ? g->map + usable - bytes : g->map + ZONE_BYTES;
    memset(g->map, ZONE_VALUE, usable);
    return true;
}

size_t guarded_readable(const guarded *g)
{
    return g->map_bytes - (size_t)sysconf(_SC_PAGESIZE);
}

bool guarded_intact(const guarded *g)
{
    size_t usable = guarded_readable(g);
    for (const uint8_t *p = g->map; p < g->data; p++)
        if (*p != ZONE_VALUE)
            return false;
    for (const uint8_t *p = g->data + g->bytes; p < g->map + usable; p++)
        if (*p != ZONE_VALUE)
            return false;
    return true;
}

void guarded_free(guarded *g)
{
    if (g->map)
        munmap(g->map, g->map_bytes);
    *g = (guarded){0};
}

size_t dtype_size(int32_t dtype)
{
    switch (dtype) {
    case MGK_F32:
    case MGK_I32:
        return 4;
    case MGK_BF16:
        return 2;
    case MGK_U64:
        return 8;
    default:
        return 1;
    }
}

double value_at(const void *data, int32_t dtype, int64_t i)
{
    switch (dtype) {
    case MGK_F32:
        return ((const float *)data)[i];
    case MGK_I32:
        return ((const int32_t *)data)[i];
    case MGK_U64:
        return (double)((const uint64_t *)data)[i];
    case MGK_BF16: {
        uint32_t bits = (uint32_t)((const uint16_t *)data)[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    default:
        return ((const uint8_t *)data)[i];
    }
}

/* To the nearest, a tie to the even one. No fill makes a value that is not finite. */
static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void store(void *data, int32_t dtype, int64_t i, double value)
{
    switch (dtype) {
    case MGK_F32:
        ((float *)data)[i] = (float)value;
        break;
    case MGK_I32:
        ((int32_t *)data)[i] = (int32_t)value;
        break;
    case MGK_U64:
        ((uint64_t *)data)[i] = (uint64_t)value;
        break;
    case MGK_BF16:
        ((uint16_t *)data)[i] = to_bf16((float)value);
        break;
    default:
        ((uint8_t *)data)[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

void poison(void *data, int32_t dtype, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (dtype == MGK_F32)
            ((uint32_t *)data)[i] = POISON_F32;
        else if (dtype == MGK_BF16)
            ((uint16_t *)data)[i] = POISON_BF16;
        else
            memset((uint8_t *)data + (size_t)i * dtype_size(dtype), POISON_BYTE, dtype_size(dtype));
}

/* A byte may be written with the poison's value; wider values are not, in practice. */
bool is_poison(const void *data, int32_t dtype, int64_t i)
{
    if (dtype == MGK_F32)
        return ((const uint32_t *)data)[i] == POISON_F32;
    return dtype == MGK_BF16 && ((const uint16_t *)data)[i] == POISON_BF16;
}

void fill_values(void *data, const mgk_case_buf *b, uint64_t seed, uint64_t stream)
{
    uint64_t limit = b->limit > 0 ? (uint64_t)b->limit : 1;
    const bool given = b->fill == MGK_FILL_GIVEN;
    for (int64_t i = 0; i < b->count && given && b->widened; i++)
        ((float *)data)[i] = (float)value_at(b->given, MGK_BF16, i);
    if (given && !b->widened && b->count > 0)
        memcpy(data, b->given, (size_t)b->count * dtype_size(b->dtype));
    for (int64_t i = 0; i < b->count && !given; i++) {
        uint32_t bits = mgi_random_u32(seed, stream, (uint64_t)i);
        double value = 0;
        switch (b->fill) {
        case MGK_FILL_NORMAL:
            value = (double)(mgi_random_normal(seed, stream, (uint64_t)i) * b->scale);
            break;
        case MGK_FILL_POSITIVE:
            value = (0.1 + (double)mgi_u32_to_unit(bits)) * (double)b->scale;
            break;
        case MGK_FILL_IDS:
            value = (double)(bits % limit);
            break;
        case MGK_FILL_MASK: {
            uint64_t run = (uint64_t)i / limit;
            uint64_t sure = mgi_random_u32(seed, stream + 1000, run) % limit;
            value = (uint64_t)i % limit == sure || (bits >> 8 & 1);
            break;
        }
        case MGK_FILL_E4M3:
            value = mgk_to_e4m3(mgi_random_normal(seed, stream, (uint64_t)i) * b->scale);
            break;
        case MGK_FILL_POWER_OF_TWO:
            value = (double)mgk_power_of_two((int)(bits % (2 * limit + 1)) - (int)limit);
            break;
        default:
            break;
        }
        if (b->widened) {
            uint16_t narrow = to_bf16((float)value);
            value = value_at(&narrow, MGK_BF16, 0);
        }
        store(data, b->dtype, i, value);
    }
}

/* What a buffer of a case was filled with last, as it is and widened. */
static struct kept {
    mgk_case_buf of;
    uint64_t seed;
    void *values;
} kept[MGK_CASE_BUFS][2];

static bool is_kept(const struct kept *k, const mgk_case_buf *b, uint64_t seed)
{
    const mgk_case_buf *of = &k->of;
    return k->values && k->seed == seed && of->fill == b->fill && of->dtype == b->dtype &&
           of->count == b->count && of->limit == b->limit && of->scale == b->scale &&
           of->widened == b->widened;
}

void fill_case_buf(void *data, const mgk_case_buf *b, uint64_t seed, int i)
{
    struct kept *k = &kept[i][b->widened];
    const size_t bytes = (size_t)b->count * dtype_size(b->dtype);
    const bool drawn = b->fill != MGK_FILL_GIVEN && bytes > 0;
    if (drawn && is_kept(k, b, seed)) {
        memcpy(data, k->values, bytes);
        return;
    }
    fill_values(data, b, seed, 100 + (uint64_t)i);
    if (!drawn)
        return;
    free(k->values);
    *k = (struct kept){.of = *b, .seed = seed, .values = malloc(bytes)};
    if (k->values) /* else it is made anew each time */
        memcpy(k->values, data, bytes);
}
