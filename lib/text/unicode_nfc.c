/* SPDX-License-Identifier: MIT
 * Normal form C (UAX 15): every character taken apart, marks put in the order of their classes, put together again. */
#include "text/unicode.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "text/unicode_pair_tables.h"
#include "text/unicode_single_tables.h"

#include <stdlib.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* Syllables of Hangul are counted out, not listed. */
enum {
    SYLLABLE = 0xAC00,
    LEAD = 0x1100,
    VOWEL = 0x1161,
    TAIL = 0x11A7, /* one before the first */
    LEADS = 19,
    VOWELS = 21,
    TAILS = 28,
    SYLLABLES = LEADS * VOWELS * TAILS
};
enum {
    PARTS_MAX = 4,
    DEPTH_MAX = 4
}; /* characters that one consists of; steps until it is taken apart */

static int compare_numbers(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int compare_pairs(const void *a, const void *b)
{
    return compare_numbers(((const unicode_pair *)a)->whole, ((const unicode_pair *)b)->whole);
}

static int compare_singles(const void *a, const void *b)
{
    return compare_numbers(((const unicode_single *)a)->whole, ((const unicode_single *)b)->whole);
}

static int compare_parts(const void *key, const void *place)
{
    const unicode_pair *a = key, *b = &pairs[*(const uint16_t *)place];
    int order = compare_numbers(a->first, b->first);
    return order ? order : compare_numbers(a->second, b->second);
}

static int compare_class(const void *key, const void *row)
{
    const uint32_t c = *(const uint32_t *)key;
    const unicode_class *r = row;
    return c < r->first ? -1 : c > r->last;
}

/* 0: it stands for itself. */
static uint32_t combining(uint32_t c)
{
    const unicode_class *row = bsearch(&c, classes, COUNT(classes), sizeof *classes, compare_class);
    return row ? row->combining : 0;
}

/* Writes at most PARTS_MAX characters. */
static size_t take_apart(uint32_t c, int depth, uint32_t *out)
{
    const unicode_pair pair_key = {.whole = c};
    const unicode_single single_key = {.whole = c};
    uint32_t s = c - SYLLABLE;
    if (c >= SYLLABLE && s < SYLLABLES) {
        out[0] = LEAD + s / (VOWELS * TAILS);
        out[1] = VOWEL + s / TAILS % VOWELS;
        out[2] = TAIL + s % TAILS;
        return s % TAILS ? 3 : 2;
    }
    const unicode_pair *p = bsearch(&pair_key, pairs, COUNT(pairs), sizeof *pairs, compare_pairs);
    if (p && depth < DEPTH_MAX) {
        size_t n = take_apart(p->first, depth + 1, out);
        if (n < PARTS_MAX)
            out[n++] = p->second; /* never taken apart further: a mark */
        return n;
    }
    const unicode_single *one =
        bsearch(&single_key, singles, COUNT(singles), sizeof *singles, compare_singles);
    if (one && depth < DEPTH_MAX)
        return take_apart(one->same, depth + 1, out);
    out[0] = c;
    return 1;
}

/* The character of two, or 0. */
static uint32_t put_together(uint32_t a, uint32_t b)
{
    if (a >= LEAD && a < LEAD + LEADS && b >= VOWEL && b < VOWEL + VOWELS)
        return SYLLABLE + ((a - LEAD) * VOWELS + (b - VOWEL)) * TAILS;
    if (a >= SYLLABLE && a < SYLLABLE + SYLLABLES && (a - SYLLABLE) % TAILS == 0 && b > TAIL &&
        b < TAIL + TAILS)
        return a + (b - TAIL);
    const unicode_pair key = {.first = a, .second = b};
    const uint16_t *place =
        bsearch(&key, composed, COUNT(composed), sizeof *composed, compare_parts);
    return place ? pairs[*place].whole : 0;
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t p = *(const uint64_t *)a, q = *(const uint64_t *)b;
    return (p > q) - (p < q);
}

/* Runs of marks by class; equal ones stay in their order. keys: class, place, character, in 8, 32 and 24 bits. */
static void put_in_order(uint64_t *keys, size_t count)
{
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i; end < count && keys[end] >> 56; end++)
            ;
        if (end - i > 1)
            qsort(keys + i, end - i, sizeof *keys, compare_keys);
        end += end == i;
    }
}

static size_t compose(const uint64_t *keys, size_t count, uint32_t *out)
{
    size_t n = 0, starter = 0;
    uint32_t before = 0; /* class of the last one written */
    bool any = false;    /* a starter was seen */
    for (size_t i = 0; i < count; i++) {
        uint32_t c = (uint32_t)(keys[i] & 0xFFFFFF), class = (uint32_t)(keys[i] >> 56), whole = 0;
        if (any && (n == starter + 1 || before < class))
            whole = put_together(out[starter], c);
        if (whole) {
            out[starter] = whole;
            continue;
        }
        if (!class) {
            any = true;
            starter = n;
        }
        before = class;
        out[n++] = c;
    }
    return n;
}

mgen_status mgi_unicode_nfc(mgen_context *ctx, const char *text, size_t size, uint32_t **out,
                            size_t *count)
{
    uint64_t *keys = NULL;
    uint32_t parts[PARTS_MAX];
    size_t n = 0, room = 0, bytes;
    *out = NULL;
    *count = 0;
    if (size > UINT32_MAX / PARTS_MAX || !mgi_size_mul(size, PARTS_MAX, &room))
        return mgi_fail(ctx, MGEN_E_LIMIT, "a text is too long");
    MGI_TRY(mgi_alloc_zero(ctx, room, sizeof *keys, &keys));
    for (size_t i = 0; i < size; i += bytes) {
        size_t some = take_apart(mgi_unicode_next(text + i, size - i, &bytes), 0, parts);
        for (size_t k = 0; k < some; k++, n++)
            keys[n] = (uint64_t)combining(parts[k]) << 56 | (uint64_t)n << 24 | parts[k];
    }
    put_in_order(keys, n);
    mgen_status status = mgi_alloc_zero(ctx, n, sizeof **out, out);
    if (status == MGEN_OK)
        *count = compose(keys, n, *out);
    mgi_free(ctx, keys);
    return status;
}
