/* SPDX-License-Identifier: MIT
 * A text is normalised (the longest rule of a trie at each place, spaces made one and visible), then cut into the
 * pieces whose scores add up to the most (Viterbi). Details on which ids depend follow the original. */
#include "text/sentencepiece.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "io/json.h"

#include <string.h>

static const char visible_space[] = "\xE2\x96\x81"; /* U+2581 */
static const char replacement[] = "\xEF\xBF\xBD";   /* U+FFFD */
enum { RULE_MAX = 1024 }; /* bytes, of what a rule replaces and of what it puts there */
static const float unknown_penalty = 10.0f; /* below the least likely piece */

/* -- normalisation --------------------------------------------------------------------------------- */

typedef struct buffer {
    char *data;
    size_t size, capacity;
} buffer;

static mgen_status append(mgen_context *ctx, buffer *t, const char *data, size_t size)
{
    size_t need, more;
    if (!mgi_size_add(t->size, size, &need) || need > MGI_SP_TEXT_MAX)
        return mgi_fail(ctx, MGEN_E_LIMIT, "a text has more than %zu bytes after normalisation",
                        MGI_SP_TEXT_MAX);
    if (need > t->capacity) {
        if (!mgi_size_add(need, need / 2 + 64, &more))
            return mgi_fail(ctx, MGEN_E_LIMIT, "a text is too long");
        MGI_TRY(mgi_realloc(ctx, &t->data, more, 1));
        t->capacity = more;
    }
    memcpy(t->data + t->size, data, size);
    t->size = need;
    return MGEN_OK;
}

static mgen_status append_space(mgen_context *ctx, const mgi_sp *sp, buffer *t)
{
    return sp->escape_spaces ? append(ctx, t, visible_space, 3) : append(ctx, t, " ", 1);
}

/* One unit of the trie, a double array: 0x80000000 and the value, or
 *   bits 0..7 the byte that leads here, 8 whether a value hangs below, 9 whether the offset is 256 times as large,
 *   10..30 the offset to what is below. */
static bool unit_at(const mgi_sp *sp, uint32_t place, uint32_t *unit)
{
    if (place >= sp->trie.size / 4)
        return false;
    const uint8_t *at = sp->trie.data + 4 * (size_t)place;
    *unit = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    return true;
}

static uint32_t below(uint32_t unit)
{
    return (unit >> 10) << ((unit >> 6) & 8);
}

/* The longest rule that text[0..size) begins with: its bytes (0: none) and the place of what replaces them. False
 * if the trie leads out of its table. */
static bool find_rule(const mgi_sp *sp, const char *text, size_t size, size_t *length,
                      uint32_t *value)
{
    uint32_t place = 0, unit, leaf;
    *length = 0;
    if (!sp->trie.size)
        return true;
    if (!unit_at(sp, 0, &unit))
        return false;
    place = below(unit);
    for (size_t i = 0; i < size && i < RULE_MAX; i++) {
        uint8_t c = (uint8_t)text[i];
        place ^= c;
        if (!unit_at(sp, place, &unit))
            return false;
        if ((unit & 0x800000FFu) != c)
            return true;
        place ^= below(unit);
        if (unit & 0x100) {
            if (!unit_at(sp, place, &leaf))
                return false;
            *length = i + 1;
            *value = leaf & 0x7FFFFFFFu;
        }
    }
    return true;
}

/* The longest piece defined by the user that text[0..size) begins with, in bytes; 0: none. */
static size_t find_user(const mgi_sp *sp, const char *text, size_t size)
{
    size_t first = 0, end = sp->sorted_count, found = 0;
    for (size_t i = 0; sp->users && i < size; i++) {
        mgi_sp_narrow(sp, i, (uint8_t)text[i], &first, &end);
        if (first == end)
            break;
        const mgi_sp_piece *p = &sp->piece[sp->sorted[first]];
        if (p->text.size == i + 1 && p->type == MGI_SP_USER)
            found = i + 1;
    }
    return found;
}

/* What the beginning of text[0..size) becomes, and its own length. */
typedef struct prefix {
    const char *out;
    size_t out_size, size;
} prefix;

static mgen_status next_prefix(mgen_context *ctx, const mgi_sp *sp, const char *text, size_t size,
                               prefix *p)
{
    uint32_t value = 0;
    if ((p->size = find_user(sp, text, size))) {
        p->out = text;
        p->out_size = p->size;
        return MGEN_OK;
    }
    bool ok = find_rule(sp, text, size, &p->size, &value);
    if (ok && p->size) {
        /* a text begins behind the NUL of another */
        ok = value < sp->replaced.size && (!value || !sp->replaced.data[value - 1]);
        p->out = (const char *)sp->replaced.data + value;
        p->out_size = ok ? strnlen(p->out, RULE_MAX + 1) : 0; /* the last text ends in a NUL */
        ok = ok && p->out_size <= RULE_MAX;
    } else if (ok) {
        p->size = mgi_utf8_length(text, size);
        p->out = p->size ? text : replacement;
        p->out_size = p->size ? p->size : 3;
        p->size = p->size ? p->size : 1;
    }
    if (!ok)
        return mgi_fail(
            ctx, MGEN_E_CORRUPT,
            "a rule of the tokenizer's normaliser leads out of its tables or is too long");
    return MGEN_OK;
}

static mgen_status append_visible(mgen_context *ctx, const mgi_sp *sp, buffer *t, const char *data,
                                  size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] == ' ')
            MGI_TRY(append_space(ctx, sp, t));
        else
            MGI_TRY(append(ctx, t, data + i, 1));
    }
    return MGEN_OK;
}

static void trim_end(const mgi_sp *sp, buffer *t)
{
    const char *space = sp->escape_spaces ? visible_space : " ";
    size_t n = sp->escape_spaces ? 3 : 1;
    while (t->size >= n && !memcmp(t->data + t->size - n, space, n))
        t->size -= n;
}

static mgen_status normalise(mgen_context *ctx, const mgi_sp *sp, const char *in, size_t size,
                             buffer *out)
{
    bool behind_space = sp->remove_spaces;
    size_t i = 0;
    prefix p;
    while (sp->remove_spaces && i < size) {
        MGI_TRY(next_prefix(ctx, sp, in + i, size - i, &p));
        if (p.out_size != 1 || p.out[0] != ' ')
            break;
        i += p.size;
    }
    if (i == size)
        return MGEN_OK;
    if (!sp->space_last && sp->dummy_space)
        MGI_TRY(append_space(ctx, sp, out));
    for (; i < size; i += p.size) {
        MGI_TRY(next_prefix(ctx, sp, in + i, size - i, &p));
        for (; behind_space && p.out_size && p.out[0] == ' '; p.out++)
            p.out_size--;
        if (p.out_size) {
            MGI_TRY(append_visible(ctx, sp, out, p.out, p.out_size));
            behind_space = p.out[p.out_size - 1] == ' ';
        }
        behind_space = behind_space && sp->remove_spaces;
    }
    if (sp->remove_spaces)
        trim_end(sp, out);
    if (sp->space_last && sp->dummy_space)
        MGI_TRY(append_space(ctx, sp, out));
    return MGEN_OK;
}

/* -- the best path --------------------------------------------------------------------------------- */

/* The best way to the end of a piece. */
typedef struct node {
    float score;
    int32_t id;     /* of the piece */
    int64_t before; /* where it begins; -1: nothing ends here */
} node;

/* Of equal ones the first stays. Pieces are compared before their sum is rounded to float, the unknown one after. */
static void offer(node *n, double score, int32_t id, size_t before)
{
    if (n->before < 0 || score > (double)n->score)
        *n = (node){(float)score, id, (int64_t)before};
}

/* All pieces that begin at `at`; an unknown one if none is the single character. */
static void offer_pieces(const mgi_sp *sp, const buffer *t, node *best, size_t at)
{
    size_t first = 0, end = sp->sorted_count, one = mgi_utf8_length(t->data + at, t->size - at);
    double here = (double)best[at].score;
    bool single = false;
    for (size_t i = at; i < t->size; i++) {
        size_t length = i + 1 - at;
        mgi_sp_narrow(sp, i - at, (uint8_t)t->data[i], &first, &end);
        if (first == end)
            break;
        uint32_t id = sp->sorted[first];
        const mgi_sp_piece *p = &sp->piece[id];
        if (p->text.size != length || p->type == MGI_SP_UNUSED)
            continue;
        double score = p->type == MGI_SP_USER ? (double)((float)length * sp->score_max) - 0.1
                                              : (double)p->score;
        offer(&best[i + 1], score + here, (int32_t)id, at);
        single = single || length == one;
    }
    if (!single)
        offer(&best[at + one], (double)(sp->score_min - unknown_penalty + best[at].score),
              sp->unknown, at);
}

/* The path read backwards: best[i].before becomes where the piece that begins at i ends, .id its id. */
static bool turn_round(node *best, size_t size)
{
    int64_t at = (int64_t)size, end = -1;
    int32_t id = -1;
    while (at > 0) {
        node n = best[at];
        if (n.before < 0 || n.before >= at)
            return false;
        best[at].before = end;
        best[at].id = id;
        end = at;
        id = n.id;
        at = n.before;
    }
    best[0].before = end;
    best[0].id = id;
    return true;
}

static mgen_status collect(mgen_context *ctx, const mgi_sp *sp, const buffer *t, const node *best,
                           mgi_tokens *out)
{
    bool after_unknown = false;
    for (int64_t at = 0; at < (int64_t)t->size; at = best[at].before) {
        bool unknown = best[at].id == sp->unknown;
        if (unknown && sp->byte_fallback) {
            for (int64_t i = at; i < best[at].before; i++)
                MGI_TRY(mgi_tokens_push(ctx, out, sp->byte[(uint8_t)t->data[i]]));
        } else if (!unknown || !after_unknown) { /* a run of unknown ones is one */
            MGI_TRY(mgi_tokens_push(ctx, out, best[at].id));
        }
        after_unknown = unknown;
    }
    return MGEN_OK;
}

static mgen_status find_path(mgen_context *ctx, const mgi_sp *sp, const buffer *t, node *best,
                             mgi_tokens *out)
{
    for (size_t i = 0; i <= t->size; i++)
        best[i].before = -1;
    for (size_t i = 0, n; i < t->size; i += n) {
        n = mgi_utf8_length(t->data + i, t->size - i);
        if (!n)
            return mgi_fail(ctx, MGEN_E_INTERNAL, "a normalised text is not UTF-8");
        offer_pieces(sp, t, best, i);
    }
    if (!turn_round(best, t->size))
        return mgi_fail(ctx, MGEN_E_INTERNAL, "no path leads through a normalised text");
    return collect(ctx, sp, t, best, out);
}

mgen_status mgi_sp_encode(mgen_context *ctx, const mgi_sp *sp, const char *in, size_t size,
                          mgi_tokens *out)
{
    buffer t = {0};
    node *best = NULL;
    if (size > MGI_SP_TEXT_MAX)
        return mgi_fail(ctx, MGEN_E_LIMIT, "a text has more than %zu bytes", MGI_SP_TEXT_MAX);
    mgen_status status = normalise(ctx, sp, in, size, &t);
    if (status == MGEN_OK && t.size)
        status = mgi_alloc_zero(ctx, t.size + 1, sizeof *best, &best);
    if (status == MGEN_OK && t.size)
        status = find_path(ctx, sp, &t, best, out);
    mgi_free(ctx, best);
    mgi_free(ctx, t.data);
    return status;
}

/* -- the way back ---------------------------------------------------------------------------------- */

/* The text of a token; NULL: it has none. */
static const mgi_sp_piece *spoken(const mgi_sp *sp, int32_t id)
{
    const mgi_sp_piece *p = id >= 0 && (size_t)id < sp->count ? &sp->piece[id] : NULL;
    return p && p->type != MGI_SP_CONTROL && p->type != MGI_SP_UNKNOWN ? p : NULL;
}

/* Writes what a piece stands for, at most as many bytes as it has. */
static size_t speak(const mgi_sp *sp, int32_t id, const mgi_sp_piece *p, char *to)
{
    const char *text = (const char *)p->text.data;
    size_t n = 0;
    if (p->type == MGI_SP_BYTE) {
        for (int b = 1; b < 256; b++)
            if (sp->byte[b] == id)
                to[n++] = (char)b;
        return n;
    }
    for (size_t i = 0; i < p->text.size; i++) {
        bool space = p->text.size - i >= 3 && !memcmp(text + i, visible_space, 3);
        if (space || text[i])
            to[n++] = space ? ' ' : text[i];
        i += space ? 2 : 0;
    }
    return n;
}

/* Without the spaces that encoding adds, and those it would not keep. */
static void trim(const mgi_sp *sp, char *text, size_t size)
{
    size_t first = 0, end = size;
    if (sp->dummy_space && !sp->space_last && first < end && text[first] == ' ')
        first++;
    if (sp->dummy_space && sp->space_last && first < end && text[end - 1] == ' ')
        end--;
    while (sp->remove_spaces && first < end && text[first] == ' ')
        first++;
    memmove(text, text + first, end - first);
    text[end - first] = '\0';
}

mgen_status mgi_sp_decode(mgen_context *ctx, const mgi_sp *sp, const int32_t *ids, int64_t count,
                          char **out)
{
    size_t most = 1, size = 0;
    const mgi_sp_piece *p;
    char *text;
    for (int64_t i = 0; i < count; i++)
        if ((p = spoken(sp, ids[i])) && !mgi_size_add(most, p->text.size, &most))
            return mgi_fail(ctx, MGEN_E_LIMIT, "a text of too many tokens");
    MGI_TRY(mgi_alloc(ctx, most, &text));
    for (int64_t i = 0; i < count; i++)
        if ((p = spoken(sp, ids[i])))
            size += speak(sp, ids[i], p, text + size);
    trim(sp, text, size);
    *out = text;
    return MGEN_OK;
}
