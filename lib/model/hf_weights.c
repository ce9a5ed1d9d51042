/* SPDX-License-Identifier: MIT */
#include "model/hf_weights.h"

#include "core/alloc.h"

#include <stdio.h>
#include <string.h>

void mgi_hf_weights_init(mgi_hf_weights *r, mgen_context *ctx, const mgi_module *module,
                         const mgi_st_set *set, bool check)
{
    *r = (mgi_hf_weights){.ctx = ctx, .module = module, .set = set, .check = check, .prefix = ""};
    r->status = mgi_alloc_zero(ctx, (size_t)set->count, 1, &r->used);
}

static void shape_text(char out[128], int rank, const int64_t *dims)
{
    size_t n = 0;
    out[0] = '\0';
    for (int i = 0; i < rank && n < 100; i++)
        n += (size_t)snprintf(out + n, 128 - n, "%s%lld", i ? " x " : "", (long long)dims[i]);
}

/* The tensor of that name, which must have that shape; NULL after a failure. */
static const mgi_st_entry *find(mgi_hf_weights *r, const char *name, int rank, const int64_t *dims)
{
    char is[128], asked[128];
    const mgi_st_entry *e = mgi_st_set_find(r->set, name);
    if (!e) {
        r->status = mgi_fail(r->ctx, MGEN_E_CORRUPT, "tensor \"%s\" is missing", name);
        return NULL;
    }
    r->used[e - r->set->entries] = 1;
    if (e->rank == rank && !memcmp(e->dims, dims, (size_t)rank * sizeof *dims))
        return e;
    shape_text(is, e->rank, e->dims);
    shape_text(asked, rank, dims);
    r->status = mgi_fail(r->ctx, MGEN_E_CORRUPT, "tensor \"%s\" is %s; config.json asks for %s",
                         e->name, is, asked);
    return NULL;
}

static void one_more(mgi_hf_weights *r)
{
    if (r->status == MGEN_OK)
        r->status = mgi_progress(r->ctx, "reading weights", (uint64_t)++r->done,
                                 (uint64_t)r->module->count);
}

void mgi_hf_take(mgi_hf_weights *r, mgi_param *p, int64_t part, int64_t parts, const char *format,
                 ...)
{
    char name[256];
    int64_t want[MGI_RANK_MAX], row = 1;
    va_list list;
    if (r->status != MGEN_OK)
        return;
    size_t n = strlen(r->prefix);
    memcpy(name, r->prefix, n);
    va_start(list, format);
    vsnprintf(name + n, sizeof name - n, format, list);
    va_end(list);
    memcpy(want, p->dims, sizeof want);
    want[0] /= parts;
    const mgi_st_entry *e = find(r, name, p->rank, want);
    if (!e || r->check)
        return;
    for (int k = 1; k < p->rank; k++)
        row *= p->dims[k];
    r->status = mgi_param_load(r->module, p, e, part * want[0] * row);
    if (part + 1 == parts)
        one_more(r);
}

void mgi_hf_take_placed(mgi_hf_weights *r, mgi_param *p, int rank, const int64_t *dims,
                        mgi_hf_place *place, const void *user, const char *name)
{
    char whole[256];
    int64_t count = p->value->count, theirs = 1;
    mgi_st_entry own = {.name = p->name, .dtype = MGI_ST_F32, .rank = p->rank};
    float *values;
    if (r->status != MGEN_OK)
        return;
    snprintf(whole, sizeof whole, "%s%s", r->prefix, name);
    const mgi_st_entry *e = find(r, whole, rank, dims);
    if (!e || r->check)
        return;
    for (int i = 0; i < rank; i++)
        theirs *= dims[i];
    r->status = mgi_alloc(r->ctx, (size_t)(count + theirs) * sizeof *values, &values);
    if (r->status != MGEN_OK)
        return;
    r->status = mgi_st_read_f32(r->ctx, e, values + count, theirs);
    for (int64_t i = 0; r->status == MGEN_OK && i < count; i++)
        values[i] = values[count + place(user, i)];
    memcpy(own.dims, p->dims, sizeof p->dims[0] * (size_t)p->rank);
    own.data = (const void *)values;
    own.bytes = (size_t)count * sizeof *values;
    if (r->status == MGEN_OK)
        r->status = mgi_param_load(r->module, p, &own, 0);
    one_more(r);
    mgi_free(r->ctx, values);
}

/* [..][c][b] here, [..][b][c] there; sides: b, c. */
static int64_t turned(const void *user, int64_t i)
{
    const int64_t *sides = user, b = sides[0], c = sides[1];
    return (i / (b * c) * b + i % b) * c + i / b % c;
}

void mgi_hf_take_turned(mgi_hf_weights *r, mgi_param *p, int rank, const int64_t *dims, int64_t b,
                        int64_t c, const char *name)
{
    mgi_hf_take_placed(r, p, rank, dims, turned, (const int64_t[]){b, c}, name);
}

bool mgi_hf_pass(mgi_hf_weights *r, const char *name)
{
    const mgi_st_entry *e = r->status == MGEN_OK ? mgi_st_set_find(r->set, name) : NULL;
    if (e)
        r->used[e - r->set->entries] = 1;
    return e != NULL;
}

static bool in_list(const char *const *list, const char *name)
{
    for (; *list; list++) {
        size_t size = strlen(*list);
        if (!strncmp(name, *list, size) && ((*list)[size - 1] == '.' || !name[size]))
            return true;
    }
    return false;
}

mgen_status mgi_hf_weights_finish(mgi_hf_weights *r, const char *const *passed, const char *what)
{
    for (int64_t i = 0; i < r->set->count && r->status == MGEN_OK; i++)
        if (!r->used[i] && !in_list(passed, r->set->entries[i].name))
            r->status =
                mgi_fail(r->ctx, MGEN_E_CORRUPT,
                         "tensor \"%.100s\" is no part of the %s that config.json describes",
                         r->set->entries[i].name, what);
    mgi_free(r->ctx, r->used);
    r->used = NULL;
    return r->status;
}

mgen_status mgi_hf_hash(mgen_context *ctx, const mgi_st_set *set, uint64_t *hash)
{
    for (int64_t i = 0; i < set->file_count; i++)
        MGI_TRY(mgi_reader_hash(ctx, set->files[i].file, *hash, hash));
    return MGEN_OK;
}
