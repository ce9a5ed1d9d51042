/* SPDX-License-Identifier: MIT
 * Longer position tables for a model that was trained with shorter ones, report section 3.2; smaller patches for one
 * that was trained with larger ones; channels of a condition for one that was trained without. */
#include "core/alloc.h"
#include "model/video_transformer.h"

#include <math.h>
#include <string.h>

/* Rows of both tables divide the same length, each standing for the middle of its share; those of `to` lie on straight
 * lines between those of `from`, or, at the ends, are as the outermost. */
static void stretch_rows(const float *x, int64_t n, float *y, int64_t m, int64_t d)
{
    for (int64_t i = 0; i < m; i++) {
        double at = ((double)i + 0.5) * (double)n / (double)m - 0.5;
        at = fmin(fmax(at, 0.0), (double)(n - 1));
        int64_t low = (int64_t)at, high = low + 1 < n ? low + 1 : low;
        float share = (float)(at - (double)low);
        for (int64_t k = 0; k < d; k++)
            y[i * d + k] = x[low * d + k] + share * (x[high * d + k] - x[low * d + k]);
    }
}

/* The entry of a table that has fewer rows than the model's becomes one of as many: of `values`, to be freed. */
static mgen_status stretch(const mgi_vt *vt, const mgi_param *table, int64_t rows, const char *file,
                           mgi_st_entry *e, float **values)
{
    mgen_context *ctx = vt->module.ctx;
    int64_t d = table->dims[1], n = rows * d, m = table->dims[0] * d;
    if (e->rank != 2 || e->dims[0] != rows || e->dims[1] != d)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "%s: tensor \"%s\" has another shape than its configuration asks for", file,
                        table->name);
    MGI_TRY(mgi_alloc(ctx, (size_t)(n + m) * sizeof **values, values));
    MGI_TRY(mgi_st_read_f32(ctx, e, *values + m, n));
    stretch_rows(*values + m, rows, *values, table->dims[0], d);
    e->dtype = MGI_ST_F32;
    e->dims[0] = table->dims[0];
    e->data = *values;
    e->bytes = (size_t)m * sizeof **values;
    return MGEN_OK;
}

/* Patches of `theirs` consist of so many of the model's, of which each begins with what theirs had: with the sum of the
 * weights that their places had, which is right where these see the same, and with the mean of what was predicted for
 * them. x (outer, t, h, w, inner) of a large patch's places becomes y of a small one's. */
static void fold_places(const float *x, const int64_t large[3], float *y, const int64_t small[3],
                        int64_t outer, int64_t inner, float scale)
{
    const int64_t places = small[0] * small[1] * small[2];
    memset(y, 0, (size_t)(outer * places * inner) * sizeof *y);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t t = 0; t < large[0]; t++)
            for (int64_t h = 0; h < large[1]; h++)
                for (int64_t w = 0; w < large[2]; w++, x += inner) {
                    int64_t place =
                        (t % small[0] * small[1] + h % small[1]) * small[2] + w % small[2];
                    for (int64_t k = 0; k < inner; k++)
                        y[(o * places + place) * inner + k] += scale * x[k];
                }
}

/* The entry of a parameter whose dimension `axis` is a patch's places times channels becomes one of the model's patch. */
static mgen_status fold(const mgi_vt *vt, const mgi_param *param, int axis,
                        const mgi_vt_config *theirs, const char *file, mgi_st_entry *e,
                        float **values)
{
    mgen_context *ctx = vt->module.ctx;
    const mgi_vt_config *c = &vt->config;
    const int64_t large[] = {theirs->patch_t, theirs->patch_h, theirs->patch_w};
    const int64_t small[] = {c->patch_t, c->patch_h, c->patch_w};
    const int64_t times = large[0] * large[1] * large[2] / (small[0] * small[1] * small[2]);
    int64_t m = 1, outer = 1, inner = param->dims[axis] / (small[0] * small[1] * small[2]);
    bool same = e->rank == param->rank;
    for (int i = 0; i < param->rank && same; i++) {
        same = e->dims[i] == param->dims[i] * (i == axis ? times : 1);
        m *= param->dims[i];
        outer *= i < axis ? param->dims[i] : 1;
        inner *= i > axis ? param->dims[i] : 1;
    }
    if (!same)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "%s: tensor \"%s\" has another shape than its configuration asks for", file,
                        param->name);
    MGI_TRY(mgi_alloc(ctx, (size_t)(m + m * times) * sizeof **values, values));
    MGI_TRY(mgi_st_read_f32(ctx, e, *values + m, m * times));
    fold_places(*values + m, large, *values, small, outer, inner,
                axis ? 1.0f : 1.0f / (float)times);
    e->dtype = MGI_ST_F32;
    e->dims[axis] = param->dims[axis];
    e->data = *values;
    e->bytes = (size_t)m * sizeof **values;
    return MGEN_OK;
}

bool mgi_vt_patch_divides(const mgi_vt_config *large, const mgi_vt_config *small)
{
    return large->patch_t % small->patch_t == 0 && large->patch_h % small->patch_h == 0 &&
           large->patch_w % small->patch_w == 0;
}

/* A condition that the file knows nothing of: an entry of zeros, at its place in the order of names. */
static mgen_status add_unseen(const mgi_vt *vt, const char *file, mgi_st_file *st, float **values)
{
    mgen_context *ctx = vt->module.ctx;
    const mgi_param *p = vt->patch_condition;
    const int64_t count = p->dims[0] * p->dims[1];
    int64_t at = 0;
    if (mgi_st_find(st, p->name))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "%s: has tensor \"%s\", but its configuration no channels of a condition",
                        file, p->name);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof **values, values));
    while (at < st->count && strcmp(st->entries[at].name, p->name) < 0)
        at++;
    memmove(st->entries + at + 1, st->entries + at, (size_t)(st->count - at) * sizeof *st->entries);
    st->entries[at] = (mgi_st_entry){.name = p->name,
                                     .dtype = MGI_ST_F32,
                                     .rank = 2,
                                     .dims = {p->dims[0], p->dims[1]},
                                     .data = *values,
                                     .bytes = (size_t)count * sizeof **values};
    st->count++;
    return MGEN_OK;
}

mgen_status mgi_vt_load_grown(mgi_vt *vt, const mgi_vt_config *theirs, const mgi_st_file *st,
                              const char *file)
{
    enum { TABLES = 3, PATCHES = 4, ALL = TABLES + PATCHES };
    const mgi_param *const tables[TABLES] = {vt->pos_t, vt->pos_h, vt->pos_w};
    const int64_t rows[TABLES] = {theirs->frames_max, theirs->rows_max, theirs->columns_max};
    mgen_context *ctx = vt->module.ctx;
    mgi_st_file grown = *st;
    const mgi_param *const patches[PATCHES] = {vt->patch, vt->patch_condition, vt->head,
                                               vt->head_b};
    const bool finer = theirs->patch_t != vt->config.patch_t ||
                       theirs->patch_h != vt->config.patch_h ||
                       theirs->patch_w != vt->config.patch_w;
    const bool unseen = vt->config.condition && !theirs->condition;
    float *values[ALL] = {NULL};
    size_t bytes = (size_t)st->count * sizeof *st->entries;
    MGI_TRY(mgi_alloc(ctx, bytes + sizeof *st->entries, &grown.entries));
    memcpy(grown.entries, st->entries, bytes);
    mgen_status status = MGEN_OK;
    for (int i = 0; i < TABLES && status == MGEN_OK; i++) {
        const mgi_st_entry *e = mgi_st_find(&grown, tables[i]->name);
        if (e && rows[i] != tables[i]->dims[0])
            status = stretch(vt, tables[i], rows[i], file, grown.entries + (e - grown.entries),
                             &values[i]);
    }
    for (int i = 0; i < PATCHES && finer && status == MGEN_OK; i++) {
        const mgi_st_entry *e = patches[i] ? mgi_st_find(&grown, patches[i]->name) : NULL;
        if (e)
            status = fold(vt, patches[i], i < 2, theirs, file, grown.entries + (e - grown.entries),
                          &values[TABLES + i]);
    }
    if (status == MGEN_OK && unseen)
        status = add_unseen(vt, file, &grown, &values[TABLES + 1]);
    if (status == MGEN_OK)
        status = mgi_module_load(&vt->module, &grown, file, false);
    for (int i = 0; i < ALL; i++)
        mgi_free(ctx, values[i]);
    mgi_free(ctx, grown.entries);
    return status;
}
