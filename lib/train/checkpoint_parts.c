/* SPDX-License-Identifier: MIT */
#include "train/checkpoint_parts.h"

#include "core/alloc.h"
#include "core/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KINDS = 4, PIECE = 65536 };

static mgi_part *add_part(mgi_parts *parts, int64_t layout)
{
    mgi_part *p = &parts->part[parts->count++];
    p->layout = layout;
    return p;
}

/* Value, moments and average of a parameter, which are divided alike. */
static mgen_status add_param(mgen_context *ctx, mgi_parts *parts, int number, const mgi_module *m,
                             const mgi_param *p)
{
    static const char *const names[KINDS] = {"value", "m", "v", "ema"};
    mgi_tensor *const tensors[KINDS] = {p->value, p->m, p->v, p->ema};
    int64_t total = 1;
    for (int k = 0; k < p->rank; k++)
        total *= p->dims[k];
    MGI_TRY(mgi_layout_init(&parts->layout[parts->layouts], ctx, m, p, total));
    parts->total[parts->layouts] = total;
    for (int j = 0; j < KINDS; j++) {
        if (!tensors[j] || (j > 0 && p->frozen)) /* sharded, it has them, too */
            continue;
        mgi_part *part = add_part(parts, parts->layouts);
        snprintf(part->name, sizeof part->name, "%d.%s.%s", number, names[j], p->name);
        part->tensor = tensors[j];
        part->rank = p->rank;
        part->count = total;
        memcpy(part->dims, p->dims, sizeof part->dims);
    }
    parts->layouts++;
    return MGEN_OK;
}

/* What every rank has whole. */
static mgen_status add_whole(mgen_context *ctx, mgi_parts *parts, const char *name, mgi_tensor *t,
                             float *host, int64_t count)
{
    MGI_TRY(mgi_layout_init(&parts->layout[parts->layouts], ctx, NULL, NULL, count));
    parts->total[parts->layouts] = count;
    mgi_part *part = add_part(parts, parts->layouts++);
    snprintf(part->name, sizeof part->name, "%s", name);
    part->tensor = t;
    part->host = host;
    part->rank = 1;
    part->count = part->dims[0] = count;
    return MGEN_OK;
}

static mgen_status add_all(mgen_context *ctx, mgi_parts *parts, const mgi_stage_state *s)
{
    for (int i = 0; i < s->modules; i++)
        for (int64_t k = 0; k < s->module[i]->count; k++)
            MGI_TRY(add_param(ctx, parts, i, s->module[i], s->module[i]->params[k]));
    MGI_TRY(add_whole(ctx, parts, "optimizer", s->optimizer->control, NULL, MGK_CONTROL_COUNT));
    if (s->second)
        MGI_TRY(add_whole(ctx, parts, "second", s->second->control, NULL, MGK_CONTROL_COUNT));
    if (s->optimizer->recipe.schedule == MGI_LR_PLATEAU)
        MGI_TRY(add_whole(ctx, parts, "plateau", NULL, s->optimizer->plateau, MGI_PLATEAU_COUNT));
    return MGEN_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const mgi_part *)a)->name, ((const mgi_part *)b)->name);
}

mgen_status mgi_parts_list(mgen_context *ctx, const mgi_stage_state *s, mgi_parts *out)
{
    size_t params = 0;
    mgen_status status;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < s->modules; i++)
        params += (size_t)s->module[i]->count;
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, KINDS * params + 3, sizeof *out->part, &out->part),
                 failed);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, params + 3, sizeof *out->layout, &out->layout),
                 failed);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, params + 3, sizeof *out->total, &out->total), failed);
    MGI_TRY_GOTO(status, add_all(ctx, out, s), failed);
    qsort(out->part, (size_t)out->count, sizeof *out->part, compare_names);
    return MGEN_OK;
failed:
    mgi_parts_free(ctx, out);
    return status;
}

void mgi_parts_free(mgen_context *ctx, mgi_parts *parts)
{
    for (int64_t i = 0; i < parts->layouts; i++)
        mgi_layout_free(&parts->layout[i], ctx);
    mgi_free(ctx, parts->layout);
    mgi_free(ctx, parts->total);
    mgi_free(ctx, parts->part);
    memset(parts, 0, sizeof *parts);
}

static int compare_name(const void *name, const void *part)
{
    return strcmp(name, ((const mgi_part *)part)->name);
}

const mgi_part *mgi_parts_find(const mgi_parts *parts, const char *name)
{
    return bsearch(name, parts->part, (size_t)parts->count, sizeof *parts->part, compare_name);
}

mgen_status mgi_part_values(const void *data, int64_t first, float *out, int64_t n)
{
    const mgi_part *p = data;
    if (p->tensor)
        return mgi_tensor_values(p->tensor, first, out, n);
    memcpy(out, p->host + first, (size_t)n * sizeof *out);
    return MGEN_OK;
}

void mgi_part_write(const mgi_part *p, int64_t own, const void *values, int64_t n)
{
    if (p->tensor)
        mgi_tensor_write(p->tensor, own, values, n);
    else
        memcpy(p->host + own, values, (size_t)n * sizeof *p->host);
}

static uint64_t shape_hash(const char *name, int rank, const int64_t *dims, uint64_t hash)
{
    hash = mgi_hash64(name, strlen(name) + 1, hash);
    return mgi_hash64(dims, (size_t)rank * sizeof *dims, hash);
}

mgen_status mgi_parts_hash(mgen_context *ctx, const mgi_st_source *list, int64_t count,
                           uint64_t hash, uint64_t *out)
{
    mgen_status status = MGEN_OK;
    float *piece;
    MGI_TRY(mgi_alloc_zero(ctx, PIECE, sizeof *piece, &piece));
    for (int64_t i = 0; i < count && status == MGEN_OK; i++) {
        const mgi_st_source *s = &list[i];
        int64_t values = 1;
        for (int k = 0; k < s->rank; k++)
            values *= s->dims[k];
        hash = mgi_hash64_begin(shape_hash(s->name, s->rank, s->dims, hash));
        for (int64_t at = 0; at < values && status == MGEN_OK; at += PIECE) {
            int64_t n = values - at < PIECE ? values - at : PIECE;
            status = mgi_part_values(s->data, at, piece, n);
            hash = mgi_hash64_piece(hash, piece, (size_t)n * sizeof *piece);
        }
        hash = mgi_hash64_end(hash);
    }
    mgi_free(ctx, piece);
    *out = hash;
    return status;
}

mgen_status mgi_file_hash(mgen_context *ctx, const mgi_st_file *st, uint64_t *hash)
{
    for (int64_t i = 0; i < st->count; i++) {
        const mgi_st_entry *e = &st->entries[i];
        *hash = mgi_hash64_begin(shape_hash(e->name, e->rank, e->dims, *hash));
        MGI_TRY(mgi_st_hash_piece(ctx, e, hash));
        *hash = mgi_hash64_end(*hash);
    }
    return MGEN_OK;
}
