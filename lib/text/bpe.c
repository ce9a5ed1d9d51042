/* SPDX-License-Identifier: MIT
 * Words are cut out of the text, and the tokens of each joined pair by pair, the lowest rank first, from the left: a
 * heap of pairs over a linked list, so that a long word costs n log n. */
#include "text/bpe.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "text/unicode.h"

#include <string.h>

/* A token of the word. */
typedef struct link {
    int32_t id; /* -1: joined to the one before */
    int32_t before, after;
} link;

/* A pair that can be joined; out of date if the tokens at its place are others by now. */
typedef struct pair {
    int32_t rank, place, left, right;
} pair;

typedef struct word {
    link *link;
    pair *heap;
    size_t pairs;
} word;

/* -- the pairs of a word ---------------------------------------------------------------------------- */

static bool sooner(const pair *a, const pair *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static void push(word *w, pair p)
{
    size_t i = w->pairs++;
    for (; i > 0 && sooner(&p, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = p;
}

static pair pop(word *w)
{
    pair top = w->heap[0], last = w->heap[--w->pairs];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < w->pairs) {
        child += child + 1 < w->pairs && sooner(&w->heap[child + 1], &w->heap[child]);
        if (!sooner(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

/* Offer the pair that begins at `place`, if there is a merge for it. */
static void offer(const mgi_bpe *bpe, word *w, int32_t place)
{
    if (place < 0 || w->link[place].after < 0)
        return;
    int32_t left = w->link[place].id, right = w->link[w->link[place].after].id;
    const mgi_bpe_merge *m = mgi_bpe_find(bpe, left, right);
    if (m)
        push(w, (pair){m->rank, place, left, right});
}

static void join(const mgi_bpe *bpe, word *w)
{
    while (w->pairs) {
        pair p = pop(w);
        link *a = &w->link[p.place];
        if (a->id != p.left || a->after < 0 || w->link[a->after].id != p.right)
            continue;
        link *b = &w->link[a->after];
        a->id = mgi_bpe_find(bpe, p.left, p.right)->joined;
        b->id = -1;
        a->after = b->after;
        if (a->after >= 0)
            w->link[a->after].before = p.place;
        offer(bpe, w, a->before);
        offer(bpe, w, p.place);
    }
}

static mgen_status encode_word(mgen_context *ctx, const mgi_bpe *bpe, word *w, const char *text,
                               size_t size, mgi_tokens *out)
{
    int32_t n = (int32_t)size;
    for (int32_t i = 0; i < n; i++)
        w->link[i] = (link){bpe->byte[i + 1 == n][(uint8_t)text[i]], i - 1, i + 1 < n ? i + 1 : -1};
    w->pairs = 0;
    for (int32_t i = 0; i < n; i++)
        offer(bpe, w, i);
    join(bpe, w);
    for (int32_t i = 0; i >= 0; i = w->link[i].after)
        MGI_TRY(mgi_tokens_push(ctx, out, w->link[i].id));
    return MGEN_OK;
}

/* -- words ------------------------------------------------------------------------------------------ */

/* Lower case as UTF-8; at most four bytes for a character. */
static size_t fold(const uint32_t *text, size_t count, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] == 0x130) { /* its lower case is "i" with a dot above */
            n += mgi_unicode_put('i', out + n);
            n += mgi_unicode_put(0x307, out + n);
        } else {
            n += mgi_unicode_put(mgi_unicode_lower(text[i]), out + n);
        }
    }
    return n;
}

enum { SPACE, LETTER, NUMBER, OTHER };

static int class_of(const char *text, size_t size, size_t *bytes)
{
    uint32_t c = mgi_unicode_next(text, size, bytes);
    return mgi_unicode_space(c)    ? SPACE
           : mgi_unicode_letter(c) ? LETTER
           : mgi_unicode_number(c) ? NUMBER
                                   : OTHER;
}

/* Bytes of 's, 't, ... that text begins with, or 0. */
static size_t contraction(const char *text, size_t size)
{
    static const char *const all[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        size_t n = strlen(all[i]);
        if (n <= size && !memcmp(text, all[i], n))
            return n;
    }
    return 0;
}

/* Bytes of the word, or of the single space, that text[0..size), size > 0, begins with. */
static size_t word_size(const char *text, size_t size, bool *space)
{
    size_t bytes, n = contraction(text, size);
    *space = false;
    if (n)
        return n;
    int class = class_of(text, size, &n);
    *space = class == SPACE;
    if (class == SPACE || class == NUMBER)
        return n;
    for (; n < size && class_of(text + n, size - n, &bytes) == class; n += bytes)
        ;
    return n;
}

static mgen_status encode_words(mgen_context *ctx, const mgi_bpe *bpe, word *w, const char *text,
                                size_t size, mgi_tokens *out)
{
    bool space;
    for (size_t i = 0, n; i < size; i += n) {
        n = word_size(text + i, size - i, &space);
        if (!space)
            MGI_TRY(encode_word(ctx, bpe, w, text + i, n, out));
    }
    return MGEN_OK;
}

/* Normal form C and lower case of a text. */
static mgen_status clean(mgen_context *ctx, const char *text, size_t size, char **out, size_t *n)
{
    uint32_t *characters = NULL;
    size_t count, room = 0;
    mgen_status status = mgi_unicode_nfc(ctx, text, size, &characters, &count);
    if (status == MGEN_OK && !mgi_size_mul(count, 4, &room))
        status = mgi_fail(ctx, MGEN_E_LIMIT, "a text is too long");
    if (status == MGEN_OK)
        status = mgi_alloc(ctx, room, out);
    if (status == MGEN_OK)
        *n = fold(characters, count, *out);
    mgi_free(ctx, characters);
    return status;
}

mgen_status mgi_bpe_encode(mgen_context *ctx, const mgi_bpe *bpe, const char *text, size_t size,
                           mgi_tokens *out)
{
    char *low = NULL;
    word w = {0};
    size_t pairs = 0, n = 0;
    if (size > MGI_BPE_TEXT_MAX)
        return mgi_fail(ctx, MGEN_E_LIMIT, "a text has more than %zu bytes", MGI_BPE_TEXT_MAX);
    MGI_TRY(clean(ctx, text, size, &low, &n));
    /* at first one pair at most for each place; each join takes out one and offers two */
    mgen_status status = MGEN_OK;
    if (!mgi_size_mul(n, 3, &pairs))
        status = mgi_fail(ctx, MGEN_E_LIMIT, "a text is too long");
    if (status == MGEN_OK)
        status = mgi_alloc_zero(ctx, n, sizeof *w.link, &w.link);
    if (status == MGEN_OK)
        status = mgi_alloc_zero(ctx, pairs, sizeof *w.heap, &w.heap);
    if (status == MGEN_OK)
        status = encode_words(ctx, bpe, &w, low, n, out);
    mgi_free(ctx, w.heap);
    mgi_free(ctx, w.link);
    mgi_free(ctx, low);
    return status;
}
