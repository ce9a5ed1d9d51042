/* SPDX-License-Identifier: MIT
 * The .model file. Fields that a tokenizer does not need are passed over, but must be well formed.
 *
 *   1 pieces (1 text, 2 score, 3 type)
 *   2 trainer (3 model type, 24 spaces last, 35 byte fallback, 46..48 names of the start, end and pad symbols)
 *   3 normaliser (2 table, 3 dummy space, 4 remove spaces, 5 escape spaces)
 */
#include "text/sentencepiece.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "io/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_32 = 5 };
enum { MODEL_UNIGRAM = 1, FIELD_MAX = (1 << 29) - 1 };

typedef struct cursor {
    mgen_context *ctx;
    const uint8_t *at, *end;
} cursor;

typedef struct field {
    uint32_t number;
    int wire;
    uint64_t value; /* VARINT, 64, 32 */
    mgi_sp_bytes bytes;
} field;

static cursor inside(mgen_context *ctx, mgi_sp_bytes bytes)
{
    return (cursor){ctx, bytes.data, bytes.data + bytes.size};
}

static mgen_status cut_off(cursor *c)
{
    return mgi_fail(c->ctx, MGEN_E_CORRUPT, "a field is cut off by the end of the part it is in");
}

static mgen_status read_varint(cursor *c, uint64_t *out)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (c->at == c->end)
            return cut_off(c);
        uint8_t byte = *c->at++;
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            *out = value;
            return MGEN_OK;
        }
    }
    return mgi_fail(c->ctx, MGEN_E_CORRUPT, "a number has more than 64 bits");
}

static mgen_status read_fixed(cursor *c, int bytes, uint64_t *out)
{
    if (c->end - c->at < bytes)
        return cut_off(c);
    *out = 0;
    for (int i = 0; i < bytes; i++)
        *out |= (uint64_t)c->at[i] << 8 * i;
    c->at += bytes;
    return MGEN_OK;
}

static mgen_status read_field(cursor *c, field *out)
{
    uint64_t key;
    MGI_TRY(read_varint(c, &key));
    if (key >> 3 == 0 || key >> 3 > FIELD_MAX)
        return mgi_fail(c->ctx, MGEN_E_CORRUPT, "a field has a number outside 1 to %d", FIELD_MAX);
    *out = (field){.number = (uint32_t)(key >> 3), .wire = (int)(key & 7)};
    switch (out->wire) {
    case WIRE_VARINT:
        return read_varint(c, &out->value);
    case WIRE_64:
        return read_fixed(c, 8, &out->value);
    case WIRE_32:
        return read_fixed(c, 4, &out->value);
    case WIRE_BYTES:
        MGI_TRY(read_varint(c, &out->value));
        if (out->value > (uint64_t)(c->end - c->at))
            return cut_off(c);
        out->bytes = (mgi_sp_bytes){c->at, (size_t)out->value};
        c->at += out->value;
        return MGEN_OK;
    default:
        return mgi_fail(c->ctx, MGEN_E_CORRUPT, "field %u has wire type %d, which does not exist",
                        out->number, out->wire);
    }
}

static mgen_status need_wire(cursor *c, const field *f, int wire)
{
    if (f->wire == wire)
        return MGEN_OK;
    return mgi_fail(c->ctx, MGEN_E_CORRUPT, "field %u has wire type %d instead of %d", f->number,
                    f->wire, wire);
}

static mgen_status read_bool(cursor *c, const field *f, bool *out)
{
    MGI_TRY(need_wire(c, f, WIRE_VARINT));
    *out = f->value != 0;
    return MGEN_OK;
}

static bool is_utf8(mgi_sp_bytes bytes)
{
    for (size_t i = 0, n; i < bytes.size; i += n)
        if (!(n = mgi_utf8_length((const char *)bytes.data + i, bytes.size - i)))
            return false;
    return true;
}

/* -- pieces --------------------------------------------------------------------------------------- */

static mgen_status read_piece(mgen_context *ctx, mgi_sp_bytes bytes, mgi_sp_piece *out)
{
    cursor c = inside(ctx, bytes);
    field f;
    *out = (mgi_sp_piece){.type = MGI_SP_NORMAL};
    while (c.at < c.end) {
        MGI_TRY(read_field(&c, &f));
        if (f.number == 1) {
            MGI_TRY(need_wire(&c, &f, WIRE_BYTES));
            out->text = f.bytes;
        } else if (f.number == 2) {
            MGI_TRY(need_wire(&c, &f, WIRE_32));
            uint32_t bits = (uint32_t)f.value;
            memcpy(&out->score, &bits, sizeof out->score);
        } else if (f.number == 3) {
            MGI_TRY(need_wire(&c, &f, WIRE_VARINT));
            if (f.value < MGI_SP_NORMAL || f.value > MGI_SP_BYTE)
                return mgi_fail(ctx, MGEN_E_CORRUPT, "a type of piece outside 1 to %d",
                                MGI_SP_BYTE);
            out->type = (int32_t)f.value;
        }
    }
    if (out->text.size < 1 || out->text.size > MGI_SP_PIECE_MAX || !is_utf8(out->text))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "a piece is empty, longer than %d bytes or not UTF-8",
                        MGI_SP_PIECE_MAX);
    if (!isfinite(out->score))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "the score of a piece is not finite");
    return MGEN_OK;
}

/* "<0xE4>" -> 0xE4, or -1. */
static int byte_of_piece(mgi_sp_bytes text)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *high, *low;
    if (text.size != 6 || memcmp(text.data, "<0x", 3) || text.data[5] != '>')
        return -1;
    if (!(high = memchr(digits, text.data[3], 16)) || !(low = memchr(digits, text.data[4], 16)))
        return -1;
    return (int)(16 * (high - digits) + (low - digits));
}

/* What the pieces say together. */
static mgen_status use_pieces(mgen_context *ctx, mgi_sp *sp)
{
    sp->unknown = -1;
    sp->score_min = 3.402823466e+38f;
    sp->score_max = 1.175494351e-38f; /* the smallest positive one: so it is in the original */
    memset(sp->byte, -1, sizeof sp->byte);
    for (size_t i = 0; i < sp->count; i++) {
        const mgi_sp_piece *p = &sp->piece[i];
        if (p->type == MGI_SP_UNKNOWN) {
            if (sp->unknown >= 0)
                return mgi_fail(ctx, MGEN_E_CORRUPT, "pieces %d and %zu are both the unknown one",
                                sp->unknown, i);
            sp->unknown = (int32_t)i;
        } else if (p->type == MGI_SP_BYTE) {
            int byte = byte_of_piece(p->text);
            if (!sp->byte_fallback || byte < 0 || sp->byte[byte] >= 0)
                return mgi_fail(ctx, MGEN_E_CORRUPT,
                                "piece %zu stands for a byte, but in the wrong way", i);
            sp->byte[byte] = (int32_t)i;
        } else if (p->type == MGI_SP_NORMAL) {
            sp->score_min = p->score < sp->score_min ? p->score : sp->score_min;
            sp->score_max = p->score > sp->score_max ? p->score : sp->score_max;
        }
    }
    if (sp->unknown < 0)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "no piece is the unknown one");
    for (int b = 0; sp->byte_fallback && b < 256; b++)
        if (sp->byte[b] < 0)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "no piece stands for the byte 0x%02X", b);
    return MGEN_OK;
}

/* -- order ---------------------------------------------------------------------------------------- */

static int compare(mgi_sp_bytes a, mgi_sp_bytes b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_pieces(const void *a, const void *b)
{
    const mgi_sp_piece *const *p = a, *const *q = b;
    return compare((*p)->text, (*q)->text);
}

static bool in_texts(const mgi_sp_piece *p)
{
    return p->type == MGI_SP_NORMAL || p->type == MGI_SP_USER || p->type == MGI_SP_UNUSED;
}

/* All of one sort (in texts or not) in order; a text twice is CORRUPT. */
static mgen_status sort_pieces(mgen_context *ctx, const mgi_sp *sp, bool texts,
                               const mgi_sp_piece **list, size_t *count)
{
    size_t n = 0;
    for (size_t i = 0; i < sp->count; i++)
        if (in_texts(&sp->piece[i]) == texts)
            list[n++] = &sp->piece[i];
    if (n)
        qsort(list, n, sizeof *list, compare_pieces);
    for (size_t i = 1; i < n; i++)
        if (!compare(list[i - 1]->text, list[i]->text))
            return mgi_fail(ctx, MGEN_E_CORRUPT, "pieces %zu and %zu are the same",
                            (size_t)(list[i - 1] - sp->piece), (size_t)(list[i] - sp->piece));
    *count = n;
    return MGEN_OK;
}

static mgen_status order_pieces(mgen_context *ctx, mgi_sp *sp)
{
    const mgi_sp_piece **list;
    size_t n = 0;
    MGI_TRY(mgi_alloc_zero(ctx, sp->count, sizeof *list, &list));
    mgen_status status = sort_pieces(ctx, sp, false, list, &n);
    if (status == MGEN_OK)
        status = sort_pieces(ctx, sp, true, list, &n);
    if (status == MGEN_OK)
        status = mgi_alloc_zero(ctx, n, sizeof *sp->sorted, &sp->sorted);
    for (size_t i = 0; status == MGEN_OK && i < n; i++) {
        sp->sorted[i] = (uint32_t)(list[i] - sp->piece);
        sp->users += list[i]->type == MGI_SP_USER;
        sp->sorted_count = n;
    }
    mgi_free(ctx, list);
    return status;
}

/* The byte of a sorted piece at `depth`, + 1; 0 where it ends before. */
static unsigned byte_at(const mgi_sp *sp, size_t i, size_t depth)
{
    const mgi_sp_bytes *text = &sp->piece[sp->sorted[i]].text;
    return depth < text->size ? text->data[depth] + 1u : 0;
}

static size_t first_from(const mgi_sp *sp, size_t depth, unsigned byte, size_t first, size_t end)
{
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (byte_at(sp, middle, depth) < byte)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

void mgi_sp_narrow(const mgi_sp *sp, size_t depth, uint8_t c, size_t *first, size_t *end)
{
    *first = first_from(sp, depth, c + 1u, *first, *end);
    *end = first_from(sp, depth, c + 2u, *first, *end);
}

/* -- the two specifications ------------------------------------------------------------------------ */

/* Names of the start, end and pad symbols. */
typedef struct symbols {
    mgi_sp_bytes name[3];
} symbols;

static mgen_status read_trainer(mgen_context *ctx, mgi_sp_bytes bytes, mgi_sp *sp, symbols *names)
{
    cursor c = inside(ctx, bytes);
    field f;
    while (c.at < c.end) {
        MGI_TRY(read_field(&c, &f));
        if (f.number == 3) {
            MGI_TRY(need_wire(&c, &f, WIRE_VARINT));
            if (f.value != MODEL_UNIGRAM)
                return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                                "is a model of type %llu; only unigram models (1) are read",
                                (unsigned long long)f.value);
        } else if (f.number == 24) {
            MGI_TRY(read_bool(&c, &f, &sp->space_last));
        } else if (f.number == 35) {
            MGI_TRY(read_bool(&c, &f, &sp->byte_fallback));
        } else if (f.number >= 46 && f.number <= 48) {
            MGI_TRY(need_wire(&c, &f, WIRE_BYTES));
            names->name[f.number - 46] = f.bytes;
        }
    }
    return MGEN_OK;
}

/* The table: bytes of the trie (u32), the trie, the texts that replace. */
static mgen_status read_table(mgen_context *ctx, mgi_sp_bytes table, mgi_sp *sp)
{
    cursor c = inside(ctx, table);
    uint64_t size = 0;
    sp->trie = sp->replaced = (mgi_sp_bytes){NULL, 0};
    if (table.size == 0)
        return MGEN_OK;
    MGI_TRY(read_fixed(&c, 4, &size));
    if (size < 4 || size % 4 || size >= (uint64_t)(c.end - c.at))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "the normaliser's trie of %llu bytes does not fit",
                        (unsigned long long)size);
    sp->trie = (mgi_sp_bytes){c.at, (size_t)size};
    sp->replaced = (mgi_sp_bytes){c.at + size, (size_t)(c.end - c.at) - (size_t)size};
    if (sp->replaced.data[sp->replaced.size - 1] || !is_utf8(sp->replaced))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "the normaliser's texts are not UTF-8 or lack their last NUL");
    return MGEN_OK;
}

static mgen_status read_normaliser(mgen_context *ctx, mgi_sp_bytes bytes, mgi_sp *sp)
{
    cursor c = inside(ctx, bytes);
    field f;
    while (c.at < c.end) {
        MGI_TRY(read_field(&c, &f));
        if (f.number == 2) {
            MGI_TRY(need_wire(&c, &f, WIRE_BYTES));
            MGI_TRY(read_table(ctx, f.bytes, sp));
        } else if (f.number >= 3 && f.number <= 5) {
            bool *switches[] = {&sp->dummy_space, &sp->remove_spaces, &sp->escape_spaces};
            MGI_TRY(read_bool(&c, &f, switches[f.number - 3]));
        }
    }
    return MGEN_OK;
}

static int32_t find_control(const mgi_sp *sp, mgi_sp_bytes name)
{
    for (size_t i = 0; i < sp->count; i++)
        if (sp->piece[i].type == MGI_SP_CONTROL && !compare(sp->piece[i].text, name))
            return (int32_t)i;
    return -1;
}

/* -- the whole ------------------------------------------------------------------------------------- */

static mgen_status count_pieces(mgen_context *ctx, mgi_sp_bytes file, size_t *count)
{
    cursor c = inside(ctx, file);
    field f;
    while (c.at < c.end) {
        MGI_TRY(read_field(&c, &f));
        *count += f.number == 1;
    }
    if (*count < 1 || *count > MGI_SP_PIECES_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "has %zu pieces; 1 to %zu are read", *count,
                        MGI_SP_PIECES_MAX);
    return MGEN_OK;
}

static mgen_status read_model(mgen_context *ctx, mgi_sp_bytes file, mgi_sp *sp)
{
#define NAME(text) ((mgi_sp_bytes){(const uint8_t *)(text), sizeof(text) - 1})
    symbols names = {{NAME("<s>"), NAME("</s>"), NAME("<pad>")}};
    size_t pieces = 0;
    cursor c = inside(ctx, file);
    field f;
    MGI_TRY(count_pieces(ctx, file, &pieces));
    MGI_TRY(mgi_alloc_zero(ctx, pieces, sizeof *sp->piece, &sp->piece));
    while (c.at < c.end) {
        MGI_TRY(read_field(&c, &f));
        if (f.number > 3)
            continue;
        MGI_TRY(need_wire(&c, &f, WIRE_BYTES));
        if (f.number == 1) {
            mgen_status status = read_piece(ctx, f.bytes, &sp->piece[sp->count]);
            if (status != MGEN_OK)
                return mgi_fail_context(ctx, status, "piece %zu", sp->count);
            sp->count++;
        } else if (f.number == 2) {
            MGI_TRY(read_trainer(ctx, f.bytes, sp, &names));
        } else {
            MGI_TRY(read_normaliser(ctx, f.bytes, sp));
        }
    }
    MGI_TRY(use_pieces(ctx, sp));
    MGI_TRY(order_pieces(ctx, sp));
    sp->start = find_control(sp, names.name[0]);
    sp->end = find_control(sp, names.name[1]);
    sp->pad = find_control(sp, names.name[2]);
    return MGEN_OK;
}

mgen_status mgi_sp_read(mgen_context *ctx, const char *what, const uint8_t *data, size_t size,
                        mgi_sp *out)
{
    memset(out, 0, sizeof *out);
    out->dummy_space = out->remove_spaces = out->escape_spaces = true;
    if (size > MGI_SP_FILE_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "%s: is larger than %zu bytes", what, MGI_SP_FILE_MAX);
    MGI_TRY(mgi_alloc(ctx, size, &out->file));
    if (size)
        memcpy(out->file, data, size);
    mgen_status status = read_model(ctx, (mgi_sp_bytes){out->file, size}, out);
    if (status != MGEN_OK) {
        mgi_sp_finish(ctx, out);
        return mgi_fail_context(ctx, status, "%s", what);
    }
    return MGEN_OK;
}

void mgi_sp_finish(mgen_context *ctx, mgi_sp *sp)
{
    mgi_free(ctx, sp->sorted);
    mgi_free(ctx, sp->piece);
    mgi_free(ctx, sp->file);
    memset(sp, 0, sizeof *sp);
}
