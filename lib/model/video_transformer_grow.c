/* SPDX-License-Identifier: MIT
 * Longer position tables for a model that was trained with shorter ones, report section 3.2; smaller patches for one
 * that was trained with larger ones; channels of a condition,
 * features of frames, tasks and tokens of photos for one that was trained without; latents of other channels; fewer blocks. */
#include "core/alloc.h"
#include "core/philox.h"
#include "model/stretch.h"
#include "model/video_transformer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    mgi_stretch_rows(*values + m, rows, *values, table->dims[0], d);
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

/* Of a photo's tokens, to those of the text. */
#define PHOTO_LENGTH 0.25f

/* Parameters that a file knows nothing of: what a condition, features, tasks and photos begin with, and latents of other
 * channels. */
enum { RENEWED = 3, NEW_MOST = 8 + RENEWED };

/* Of those of the file, what latents of other channels go through: it begins anew. */
static int renewed_parameters(const mgi_vt *vt, const mgi_vt_config *theirs,
                              const mgi_param *out[RENEWED])
{
    int n = 0;
    if (vt->config.channels == theirs->channels)
        return 0;
    out[n++] = vt->patch;
    out[n++] = vt->head;
    if (vt->head_b)
        out[n++] = vt->head_b;
    return n;
}

static int new_parameters(const mgi_vt *vt, const mgi_vt_config *theirs,
                          const mgi_param *out[NEW_MOST])
{
    int n = renewed_parameters(vt, theirs, out);
    if (vt->config.condition && !theirs->condition)
        out[n++] = vt->patch_condition;
    if (vt->config.features && !theirs->features)
        out[n++] = vt->feature;
    if (vt->config.tasks && !theirs->tasks) {
        out[n++] = vt->task;
        out[n++] = vt->task_text;
        out[n++] = vt->task_time;
    }
    if (vt->config.reference && !theirs->reference) {
        out[n++] = vt->reference.proj;
        out[n++] = vt->reference.norm_w;
        out[n++] = vt->reference.norm_b;
    }
    return n;
}

/* Zeros: none of them has an effect yet; of features the gate alone is open. The tasks' own vectors differ, or they would stay alike: +1 or -1.
 * Tokens of photos are random vectors that are short beside those of the text: seen, and told apart, they change little. Latents
 * of other channels are seen at random, as in a new model, and nothing is predicted of them yet. */
static void begin(const mgi_vt *vt, const mgi_param *p, int64_t count, float *values)
{
    const float deviation = 1.0f / sqrtf((float)p->dims[p->rank - 1]);
    for (int64_t i = 0; p == vt->task && i < count; i++)
        values[i] = mgi_random_unit(0, MGI_STREAM_INIT, (uint64_t)i) < 0.5f ? -1.0f : 1.0f;
    for (int64_t i = 0; (p == vt->reference.proj || p == vt->patch) && i < count; i++)
        values[i] = deviation * mgi_random_normal(0, MGI_STREAM_INIT, (uint64_t)i);
    for (int64_t i = 0; p == vt->reference.norm_w && i < count; i++)
        values[i] = PHOTO_LENGTH;
}

/* An entry of what it begins with. */
static mgen_status add_new(const mgi_vt *vt, const mgi_param *p, const char *file, mgi_st_file *st,
                           float **values)
{
    mgen_context *ctx = vt->module.ctx;
    const int64_t count = p->dims[0] * (p->rank > 1 ? p->dims[1] : 1);
    if (mgi_st_find(st, p->name))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "%s: has tensor \"%s\", but its configuration %s",
                        file, p->name,
                        p == vt->patch_condition ? "no channels of a condition"
                        : p == vt->feature       ? "no features of frames"
                        : p->name[0] == 'r'      ? "no photos" /* reference.* */
                                                 : "no tasks");
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof **values, values));
    begin(vt, p, count, *values);
    st->entries[st->count++] = (mgi_st_entry){.name = p->name,
                                              .dtype = MGI_ST_F32,
                                              .rank = p->rank,
                                              .dims = {p->dims[0], p->rank > 1 ? p->dims[1] : 0},
                                              .data = *values,
                                              .bytes = (size_t)count * sizeof **values};
    return MGEN_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const mgi_st_entry *)a)->name, ((const mgi_st_entry *)b)->name);
}

/* The block of a deeper model that block `i` begins as: the first, the last, and those evenly between. */
static int64_t deeper(int64_t i, int64_t layers, int64_t theirs)
{
    return layers > 1 ? (2 * i * (theirs - 1) + layers - 1) / (2 * (layers - 1)) : 0;
}

/* Entries of blocks that are taken get the model's names, in `names`; the others go. */
static void thin_blocks(const mgi_vt *vt, const mgi_vt_config *theirs, mgi_st_file *st,
                        char (*names)[MGI_ST_NAME_MAX + 1])
{
    static const char prefix[] = "block";
    int64_t kept = 0;
    for (int64_t k = 0; k < st->count; k++) {
        mgi_st_entry e = st->entries[k];
        char *rest;
        int64_t own = -1;
        if (strncmp(e.name, prefix, sizeof prefix - 1)) {
            st->entries[kept++] = e;
            continue;
        }
        int64_t block = strtol(e.name + sizeof prefix - 1, &rest, 10);
        for (int64_t i = 0; i < vt->config.layers; i++)
            own = deeper(i, vt->config.layers, theirs->layers) == block ? i : own;
        if (own < 0)
            continue;
        snprintf(names[kept], sizeof *names, "%s%lld%s", prefix, (long long)own, rest);
        e.name = names[kept];
        st->entries[kept++] = e;
    }
    st->count = kept;
}

/* Entries of what begins anew go. */
static void forget(const mgi_vt *vt, const mgi_vt_config *theirs, mgi_st_file *st)
{
    const mgi_param *old[RENEWED];
    const int count = renewed_parameters(vt, theirs, old);
    int64_t kept = 0;
    for (int64_t k = 0; k < st->count; k++) {
        bool goes = false;
        for (int i = 0; i < count; i++)
            goes = goes || !strcmp(st->entries[k].name, old[i]->name);
        if (!goes)
            st->entries[kept++] = st->entries[k];
    }
    st->count = kept;
}

/* All entries as the model has them: `grown` has room for its new ones. */
static mgen_status grow(mgi_vt *vt, const mgi_vt_config *theirs, const char *file,
                        mgi_st_file *grown, float **values)
{
    enum { TABLES = 3, PATCHES = 4 };
    const mgi_param *const tables[TABLES] = {vt->pos_t, vt->pos_h, vt->pos_w};
    const int64_t rows[TABLES] = {theirs->frames_max, theirs->rows_max, theirs->columns_max};
    const mgi_param *const patches[PATCHES] = {vt->patch, vt->patch_condition, vt->head,
                                               vt->head_b};
    const mgi_param *added[NEW_MOST];
    const bool finer = theirs->patch_t != vt->config.patch_t ||
                       theirs->patch_h != vt->config.patch_h ||
                       theirs->patch_w != vt->config.patch_w;
    const int count = new_parameters(vt, theirs, added);
    forget(vt, theirs, grown);
    for (int i = 0; i < TABLES; i++) {
        const mgi_st_entry *e = mgi_st_find(grown, tables[i]->name);
        if (e && rows[i] != tables[i]->dims[0])
            MGI_TRY(stretch(vt, tables[i], rows[i], file, grown->entries + (e - grown->entries),
                            values++));
    }
    for (int i = 0; i < PATCHES && finer; i++) {
        const mgi_st_entry *e = patches[i] ? mgi_st_find(grown, patches[i]->name) : NULL;
        if (e)
            MGI_TRY(fold(vt, patches[i], i < 2, theirs, file, grown->entries + (e - grown->entries),
                         values++));
    }
    for (int i = 0; i < count; i++) {
        MGI_TRY(add_new(vt, added[i], file, grown, values++));
        qsort(grown->entries, (size_t)grown->count, sizeof *grown->entries, by_name);
    }
    return MGEN_OK;
}

mgen_status mgi_vt_load_grown(mgi_vt *vt, const mgi_vt_config *theirs, const mgi_st_file *st,
                              const char *file)
{
    enum { VALUES = 3 + 4 + NEW_MOST };
    mgen_context *ctx = vt->module.ctx;
    mgi_st_file grown = *st;
    char(*names)[MGI_ST_NAME_MAX + 1] = NULL;
    float *values[VALUES] = {NULL};
    MGI_TRY(mgi_alloc(ctx, ((size_t)st->count + NEW_MOST) * sizeof *st->entries, &grown.entries));
    memcpy(grown.entries, st->entries, (size_t)st->count * sizeof *st->entries);
    mgen_status status = MGEN_OK;
    if (theirs->layers > vt->config.layers)
        status = mgi_alloc_zero(ctx, (size_t)st->count, sizeof *names, &names);
    if (names) {
        thin_blocks(vt, theirs, &grown, names);
        qsort(grown.entries, (size_t)grown.count, sizeof *grown.entries, by_name);
    }
    if (status == MGEN_OK)
        status = grow(vt, theirs, file, &grown, values);
    if (status == MGEN_OK)
        status = mgi_module_load(&vt->module, &grown, file, false);
    for (int i = 0; i < VALUES; i++)
        mgi_free(ctx, values[i]);
    mgi_free(ctx, names);
    mgi_free(ctx, grown.entries);
    return status;
}
