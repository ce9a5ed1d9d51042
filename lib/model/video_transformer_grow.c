/* SPDX-License-Identifier: MIT
 * Longer position tables for a model that was trained with shorter ones, report section 3.2. */
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

mgen_status mgi_vt_load_grown(mgi_vt *vt, const mgi_vt_config *theirs, const mgi_st_file *st,
                              const char *file)
{
    const mgi_param *const tables[] = {vt->pos_t, vt->pos_h, vt->pos_w};
    const int64_t rows[] = {theirs->frames_max, theirs->rows_max, theirs->columns_max};
    mgen_context *ctx = vt->module.ctx;
    mgi_st_file grown = *st;
    float *values[3] = {NULL, NULL, NULL};
    size_t bytes = (size_t)st->count * sizeof *st->entries;
    MGI_TRY(mgi_alloc(ctx, bytes, &grown.entries));
    memcpy(grown.entries, st->entries, bytes);
    mgen_status status = MGEN_OK;
    for (int i = 0; i < 3 && status == MGEN_OK; i++) {
        const mgi_st_entry *e = mgi_st_find(&grown, tables[i]->name);
        if (e && rows[i] != tables[i]->dims[0])
            status = stretch(vt, tables[i], rows[i], file, grown.entries + (e - grown.entries),
                             &values[i]);
    }
    if (status == MGEN_OK)
        status = mgi_module_load(&vt->module, &grown, file, false);
    for (int i = 0; i < 3; i++)
        mgi_free(ctx, values[i]);
    mgi_free(ctx, grown.entries);
    return status;
}
