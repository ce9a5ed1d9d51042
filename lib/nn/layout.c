/* SPDX-License-Identifier: MIT */
#include "nn/layout.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"

#include <string.h>

/* Whether the piece goes on with the range. */
static bool extend(mgi_layout_range *r, const mgi_piece *p)
{
    if (r->times == 1 && p->count == r->count)
        r->stride = p->whole - r->whole;
    else if (p->count != r->count || p->whole != r->whole + r->times * r->stride)
        return false;
    r->times++;
    return true;
}

static mgen_status add_piece(mgi_layout *l, mgen_context *ctx, const mgi_piece *p, int64_t *room)
{
    if (l->ranges && extend(&l->range[l->ranges - 1], p))
        return MGEN_OK;
    if (l->ranges == MGI_LAYOUT_RANGES_MAX)
        return mgi_fail(ctx, MGEN_E_LIMIT, "more than %d ranges", MGI_LAYOUT_RANGES_MAX);
    if (l->ranges == *room) {
        MGI_TRY(mgi_realloc(ctx, &l->range, (size_t)(2 * *room + 4), sizeof *l->range));
        *room = 2 * *room + 4;
    }
    l->range[l->ranges++] = (mgi_layout_range){p->whole, p->count, p->count, 1};
    return MGEN_OK;
}

static mgen_status add_pieces(mgi_layout *l, mgen_context *ctx, const mgi_module *m,
                              const mgi_param *p)
{
    int64_t room = 0, end = 0;
    for (int64_t i = 0; i < mgi_param_pieces(m, p); i++) {
        mgi_piece piece = mgi_param_piece(m, p, i);
        if (piece.count == 0)
            continue;
        if (piece.own != l->elements || piece.whole < end)
            return mgi_fail(ctx, MGEN_E_INTERNAL, "tensor \"%s\": its pieces are not in order",
                            p->name);
        MGI_TRY(add_piece(l, ctx, &piece, &room));
        l->elements += piece.count;
        end = piece.whole + piece.count;
    }
    return MGEN_OK;
}

mgen_status mgi_layout_init(mgi_layout *l, mgen_context *ctx, const mgi_module *m,
                            const mgi_param *p, int64_t total)
{
    const mgi_piece all = {0, 0, total};
    int64_t room = 0;
    *l = (mgi_layout){.elements = 0};
    mgen_status status = p ? add_pieces(l, ctx, m, p) : add_piece(l, ctx, &all, &room);
    if (!p)
        l->elements = total;
    if (status != MGEN_OK)
        mgi_layout_free(l, ctx);
    return status;
}

mgen_status mgi_layout_check(mgen_context *ctx, const mgi_layout_range *list, int64_t ranges,
                             int64_t total, int64_t *elements)
{
    int64_t end = 0;
    *elements = 0;
    for (int64_t i = 0; i < ranges; i++) {
        const mgi_layout_range *r = &list[i];
        int64_t last, size;
        if (r->count < 1 || r->times < 1 || r->stride < r->count || r->whole < end ||
            !mgi_i64_mul(r->times - 1, r->stride, &last) || !mgi_i64_add(r->whole, last, &last) ||
            !mgi_i64_add(last, r->count, &end) || end > total ||
            !mgi_i64_mul(r->times, r->count, &size) || !mgi_i64_add(*elements, size, elements))
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "range %lld (%lld pieces of %lld from %lld on, each %lld behind the "
                            "one before) is not within the %lld elements and behind the others",
                            (long long)i, (long long)r->times, (long long)r->count,
                            (long long)r->whole, (long long)r->stride, (long long)total);
    }
    return MGEN_OK;
}

void mgi_layout_free(mgi_layout *l, mgen_context *ctx)
{
    mgi_free(ctx, l->range);
    *l = (mgi_layout){.elements = 0};
}

/* The first piece that ends behind element `at` of the whole. */
static bool seek(const mgi_layout *l, int64_t at, mgi_piece *out)
{
    int64_t own = 0;
    for (int64_t i = 0; i < l->ranges; i++) {
        const mgi_layout_range *r = &l->range[i];
        int64_t skip = at < r->whole + r->count ? 0 : (at - r->whole - r->count) / r->stride + 1;
        if (skip < r->times) {
            *out = (mgi_piece){r->whole + skip * r->stride, own + skip * r->count, r->count};
            return true;
        }
        own += r->times * r->count;
    }
    return false;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

bool mgi_layout_next(const mgi_layout *a, const mgi_layout *b, int64_t *at, mgi_stretch *out)
{
    mgi_piece x, y;
    while (seek(a, *at, &x) && seek(b, *at, &y)) {
        int64_t first = larger(larger(x.whole, y.whole), *at);
        int64_t end = x.whole + x.count < y.whole + y.count ? x.whole + x.count : y.whole + y.count;
        *at = larger(first, end);
        if (first >= end)
            continue;
        *out = (mgi_stretch){first, x.own + first - x.whole, y.own + first - y.whole, end - first};
        return true;
    }
    return false;
}

uint64_t mgi_layout_hash(const mgi_layout *l)
{
    return mgi_hash64(l->range, (size_t)l->ranges * sizeof *l->range, (uint64_t)l->ranges);
}
