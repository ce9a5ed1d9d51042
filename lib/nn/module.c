/* SPDX-License-Identifier: MIT */
#include "nn/module.h"

#include "nn/module_shard.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "core/philox.h"
#include "kernels/common/bf16.h"
#include "kernels/fp8/quantize_fp8.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/random/random.h"
#include "nn/gather.h"

#include <stdio.h>
#include <string.h>

enum { PIECE = 1 << 18 }; /* values of a tensor that are read or written at a time */

void mgi_module_init(mgi_module *m, mgen_context *ctx)
{
    memset(m, 0, sizeof *m);
    m->ctx = ctx;
    m->dev = ctx->device;
    m->hold = m->dev->hold;
    m->dtype = m->hold == MGI_HOLD_F32 ? MGK_F32 : MGK_BF16;
}

static void param_free(mgi_module *m, mgi_param *p)
{
    mgi_tensor_release(p->value);
    mgi_tensor_release(p->compute);
    mgi_tensor_release(p->m);
    mgi_tensor_release(p->v);
    mgi_tensor_release(p->ema);
    mgi_tensor_release(p->whole);
    mgi_free(m->ctx, p->name);
    mgi_free(m->ctx, p);
}

void mgi_module_finish(mgi_module *m)
{
    for (int64_t i = 0; i < m->count; i++)
        param_free(m, m->params[i]);
    for (int64_t u = 0; m->unit_grad && u < m->units; u++)
        mgi_tensor_release(m->unit_grad[u]);
    if (m->ctx) {
        mgi_shard_free(m);
        mgi_free(m->ctx, m->unit_grad);
        mgi_free(m->ctx, m->params);
    }
    memset(m, 0, sizeof *m);
}

int64_t mgi_module_unit(mgi_module *m)
{
    m->unit_size = 0;
    return m->units++;
}

/* A tensor that counts as memory of `kind`. */
static mgen_status create(mgi_module *m, int kind, int32_t dtype, const mgi_param *p,
                          mgi_tensor **out)
{
    int64_t dims[MGI_RANK_MAX];
    int before = mgi_device_kind(m->dev, kind), axis = mgi_split_axis(m, p);
    memcpy(dims, p->dims, sizeof dims);
    if (axis >= 0)
        dims[axis] /= m->tp_size;
    mgen_status status = mgi_tensor_create(m->dev, dtype, p->rank, dims, out);
    mgi_device_kind(m->dev, before);
    return status;
}

static mgen_status check_split(mgi_module *m, const mgi_param *p)
{
    int axis = mgi_split_axis(m, p);
    if (axis < 0 || p->dims[axis] % ((int64_t)p->parts * m->tp_size) == 0)
        return MGEN_OK;
    return mgi_fail(
        m->ctx, MGEN_E_INVALID,
        "tensor \"%s\": its %lld %s cannot be split over %d ranks; take a divisor of %lld", p->name,
        (long long)p->dims[axis], axis ? "columns" : "rows", m->tp_size,
        (long long)(p->dims[axis] / p->parts));
}

/* The parameter's own memory, as the module holds it. */
static mgen_status create_value(mgi_module *m, mgi_param *p)
{
    bool codes = p->codes && m->hold == MGI_HOLD_FP8, narrow = p->narrow && m->hold != MGI_HOLD_F32;
    MGI_TRY(create(m, MGI_MEM_PARAMETER,
                   codes    ? MGK_U8
                   : narrow ? MGK_BF16
                            : MGK_F32,
                   p, &p->value));
    if (!codes)
        return MGEN_OK;
    int before = mgi_device_kind(m->dev, MGI_MEM_PARAMETER);
    mgen_status status = mgi_tensor_create(m->dev, MGK_F32, 1, p->value->dims, &p->value->scale);
    mgi_device_kind(m->dev, before);
    return status;
}

mgi_param *mgi_param_add(mgi_module *m, mgi_param_spec spec, int rank, const int64_t *dims,
                         const char *format, ...)
{
    char name[256];
    va_list list;
    mgi_param *p = NULL;
    if (m->status != MGEN_OK)
        return NULL;
    va_start(list, format);
    vsnprintf(name, sizeof name, format, list);
    va_end(list);
    if (m->count == m->capacity) {
        int64_t more = m->capacity ? 2 * m->capacity : 64;
        m->status = mgi_realloc(m->ctx, &m->params, (size_t)more, sizeof *m->params);
        if (m->status != MGEN_OK)
            return NULL;
        m->capacity = more;
    }
    MGI_TRY_GOTO(m->status, mgi_alloc_zero(m->ctx, 1, sizeof *p, &p), failed);
    MGI_TRY_GOTO(m->status, mgi_strdup(m->ctx, name, &p->name), failed);
    p->rank = rank;
    memcpy(p->dims, dims, (size_t)rank * sizeof *dims);
    p->tp = spec.tp;
    p->parts = spec.parts ? spec.parts : 1;
    p->operand = spec.operand;
    p->narrow = spec.operand || spec.table;
    p->codes = spec.codes;
    MGI_TRY_GOTO(m->status, check_split(m, p), failed);
    if (m->shard_size < 2)
        MGI_TRY_GOTO(m->status, create_value(m, p), failed);
    p->init = spec.init;
    p->init_scale = spec.scale;
    p->decay = spec.decay;
    p->lr_scale = 1.0f;
    p->partial = spec.partial | m->partial;
    p->frozen = spec.frozen;
    p->lasting = spec.lasting;
    if (m->units == 0)
        mgi_module_unit(m);
    p->unit = m->units - 1;
    p->first = m->unit_size;
    m->unit_size += (mgi_param_local(m, p) + 15) / 16 * 16;
    m->params[m->count++] = p;
    return p;
failed:
    if (p)
        param_free(m, p);
    return NULL;
}

/* Weight (Cout, 3, 1, Cin) of a convolution in time: the middle tap copies, the others are 0. */
static mgen_status identity_time(mgi_module *m, const mgi_param *p)
{
    int64_t taps = p->dims[1], cin = p->dims[3];
    float *w;
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)p->value->count, sizeof *w, &w));
    for (int64_t o = 0; o < p->dims[0] && o < cin; o++)
        w[(o * taps + taps / 2) * cin + o] = 1.0f;
    mgi_tensor_write(p->value, 0, w, p->value->count);
    mgi_free(m->ctx, w);
    return MGEN_OK;
}

mgen_status mgi_module_fill(const mgi_module *m, mgi_tensor *t, float value)
{
    mgk_pointwise_args a = {.y = mgi_buf(t), .count = t->count, .alpha = value};
    return mgi_launch(m->dev, MGK_OP_fill, &a);
}

static mgen_status init_one(mgi_module *m, const mgi_param *p, uint64_t seed)
{
    uint64_t base = mgi_hash64(p->name, strlen(p->name), 0) & ~(uint64_t)3;
    for (int64_t i = 0; p->init == MGI_INIT_NORMAL && i < mgi_param_pieces(m, p); i++) {
        mgi_piece piece = mgi_param_piece(m, p, i);
        mgk_random_args normal = {.y = {mgi_f32(p->value) + piece.own, MGK_F32},
                                  .count = piece.count,
                                  .seed = seed,
                                  .stream = MGI_STREAM_INIT,
                                  .base = base + (uint64_t)piece.whole,
                                  .kind = MGK_RANDOM_NORMAL,
                                  .alpha = p->init_scale};
        MGI_TRY(mgi_launch(m->dev, MGK_OP_random, &normal));
    }
    if (p->init == MGI_INIT_NORMAL)
        return MGEN_OK;
    if (p->init == MGI_INIT_IDENTITY_TIME)
        return identity_time(m, p);
    return mgi_module_fill(m, p->value, p->init == MGI_INIT_ONE ? 1.0f : 0.0f);
}

/* What is held for inference is too narrow for anything but being loaded and run. */
static mgen_status need_masters(const mgi_module *m)
{
    return m->hold == MGI_HOLD_F32
               ? MGEN_OK
               : mgi_fail(m->ctx, MGEN_E_INTERNAL, "a network for inference has no f32 masters");
}

mgen_status mgi_module_random(mgi_module *m, uint64_t seed)
{
    MGI_TRY(need_masters(m));
    for (int64_t k = 0; k < m->count && !m->dev->meta; k++)
        MGI_TRY(init_one(m, m->params[k], seed));
    return MGEN_OK;
}

static mgen_status load_piece(mgi_tensor *t, const mgi_st_entry *entry, mgi_piece p)
{
    mgen_context *ctx = t->storage->dev->ctx;
    int64_t most = p.count < PIECE ? p.count : PIECE;
    mgen_status status = MGEN_OK;
    float *piece;
    MGI_TRY(mgi_alloc(ctx, (size_t)most * (sizeof *piece + sizeof(uint16_t)), &piece));
    uint16_t *narrow = (uint16_t *)(void *)(piece + most);
    for (int64_t at = 0; at < p.count && status == MGEN_OK; at += PIECE) {
        int64_t n = p.count - at < PIECE ? p.count - at : PIECE;
        bool rounds = t->dtype == MGK_BF16;
        status = mgi_st_read_part(ctx, entry, p.whole + at, piece, n);
        for (int64_t i = 0; i < n && rounds && status == MGEN_OK; i++)
            narrow[i] = mgk_to_bf16(piece[i]);
        if (status == MGEN_OK)
            mgi_tensor_write(t, p.own + at, rounds ? (void *)narrow : piece, n);
    }
    mgi_free(ctx, piece);
    return status;
}

mgen_status mgi_tensor_load(mgi_tensor *t, const mgi_st_entry *entry)
{
    return load_piece(t, entry, (mgi_piece){0, 0, t->count});
}

/* What this rank has of the entry's values, which are those from element `first` of the whole on. */
static mgen_status load_own(const mgi_module *m, const mgi_param *p, const mgi_st_entry *entry,
                            int64_t first, mgi_tensor *to)
{
    int64_t end = first, count = 1;
    for (int k = 0; k < entry->rank; k++)
        count *= entry->dims[k];
    end += count;
    for (int64_t i = 0; i < mgi_param_pieces(m, p); i++) {
        mgi_piece x = mgi_param_piece(m, p, i);
        int64_t from = x.whole > first ? x.whole : first;
        int64_t until = x.whole + x.count < end ? x.whole + x.count : end;
        if (from < until)
            MGI_TRY(load_piece(to, entry,
                               (mgi_piece){from - first, x.own + from - x.whole, until - from}));
    }
    return MGEN_OK;
}

/* The same as codes, of a whole parameter: its f32 values are there for the moment only. */
static mgen_status load_codes(const mgi_module *m, const mgi_param *p, const mgi_st_entry *entry)
{
    mgi_tensor *value = p->value, *wide;
    MGI_TRY(mgi_tensor_create(m->dev, MGK_F32, value->rank, value->dims, &wide));
    mgen_status status = load_own(m, p, entry, 0, wide);
    if (status == MGEN_OK) {
        const mgk_quantize_fp8_args a = {.x = mgi_buf(wide),
                                         .codes = mgi_buf(value),
                                         .scale = mgi_buf(value->scale),
                                         .rows = value->dims[0],
                                         .cols = value->dims[1],
                                         .ldx = value->dims[1],
                                         .ldc = value->dims[1]};
        status = mgi_launch(m->dev, MGK_OP_quantize_fp8, &a);
    }
    mgi_tensor_release(wide);
    return status;
}

/* One of the parameter's pieces of an entry's codes, as they are, and the scales of their rows; `codes` has room for
 * PIECE. */
static mgen_status load_coded(const mgi_module *m, const mgi_param *p, const mgi_st_entry *entry,
                              mgi_piece x, uint8_t *codes, float *scale)
{
    const int64_t own = p->value->dims[1], whole = entry->dims[1];
    for (int64_t at = 0; at < x.count; at += PIECE) {
        const int64_t n = x.count - at < PIECE ? x.count - at : PIECE;
        MGI_TRY(mgi_st_read_codes(m->ctx, entry, x.whole + at, codes, n));
        mgi_tensor_write(p->value, x.own + at, codes, n);
    }
    const int64_t first = x.own / own, last = (x.own + x.count - 1) / own;
    return mgi_st_read_scales(m->ctx, entry, x.whole / whole, &scale[first], last - first + 1);
}

/* A file's codes as codes: nothing is rounded again, and all shares of a row have the row's scale. */
static mgen_status keep_codes(const mgi_module *m, const mgi_param *p, const mgi_st_entry *entry)
{
    const int64_t rows = p->value->dims[0];
    float *scale;
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)rows * sizeof *scale + PIECE, 1, &scale));
    uint8_t *codes = (uint8_t *)(scale + rows);
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < mgi_param_pieces(m, p) && status == MGEN_OK; i++)
        status = load_coded(m, p, entry, mgi_param_piece(m, p, i), codes, scale);
    if (status == MGEN_OK)
        mgi_tensor_write(p->value->scale, 0, scale, rows);
    mgi_free(m->ctx, scale);
    return status;
}

mgen_status mgi_param_load(const mgi_module *m, const mgi_param *p, const mgi_st_entry *entry,
                           int64_t first)
{
    return !p->value->scale            ? load_own(m, p, entry, first, p->value)
           : entry->dtype == MGI_ST_F8 ? keep_codes(m, p, entry)
                                       : load_codes(m, p, entry);
}

mgen_status mgi_tensor_copy(mgi_tensor *y, const mgi_tensor *x)
{
    mgk_pointwise_args a = {.x = mgi_buf(x), .y = mgi_buf(y), .count = x->count, .alpha = 1.0f};
    return mgi_launch(y->storage->dev, MGK_OP_axpby, &a);
}

mgen_status mgi_tensor_values(const void *data, int64_t first, float *out, int64_t n)
{
    const mgi_tensor *t = data;
    mgi_tensor_read(t, first, out, n);
    return mgi_device_wait(t->storage->dev);
}

/* The parameter in a file. */
static mgen_status find_entry(const mgi_module *m, const mgi_param *p, const mgi_st_file *st,
                              const char *file, const mgi_st_entry **out)
{
    const mgi_st_entry *e = *out = mgi_st_find(st, p->name);
    if (!e)
        return mgi_fail(m->ctx, MGEN_E_CORRUPT,
                        "%s: tensor \"%s\" is missing; the file does not fit its configuration",
                        file, p->name);
    if (p->rank != e->rank || memcmp(p->dims, e->dims, (size_t)p->rank * sizeof *p->dims))
        return mgi_fail(m->ctx, MGEN_E_CORRUPT,
                        "%s: tensor \"%s\" has another shape than its configuration asks for", file,
                        p->name);
    return MGEN_OK;
}

static mgen_status refuse_more(const mgi_module *m, const mgi_st_file *st, const char *file,
                               int64_t claimed)
{
    if (claimed == st->count)
        return MGEN_OK;
    return mgi_fail(m->ctx, MGEN_E_CORRUPT,
                    "%s: holds %lld tensors, but its configuration names only %lld of them", file,
                    (long long)st->count, (long long)claimed);
}

mgen_status mgi_module_fits(const mgi_module *m, const mgi_st_file *st, const char *file)
{
    const mgi_st_entry *e;
    for (int64_t k = 0; k < m->count; k++)
        MGI_TRY(find_entry(m, m->params[k], st, file, &e));
    return refuse_more(m, st, file, m->count);
}

mgen_status mgi_module_load(mgi_module *m, const mgi_st_file *st, const char *file, bool partial)
{
    int64_t claimed = 0;
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        const mgi_st_entry *e;
        MGI_TRY(mgi_progress(m->ctx, "reading weights", (uint64_t)k, (uint64_t)m->count));
        if (partial && !mgi_st_find(st, p->name))
            continue;
        MGI_TRY(find_entry(m, p, st, file, &e));
        MGI_TRY(mgi_param_load(m, p, e, 0));
        claimed++;
    }
    MGI_TRY(mgi_progress(m->ctx, "reading weights", (uint64_t)m->count, (uint64_t)m->count));
    return refuse_more(m, st, file, claimed);
}

/* A parameter on its way to a file. */
typedef struct saved {
    const mgi_module *module;
    const mgi_param *param;
    bool ema;
} saved;

static mgen_status saved_values(const void *data, int64_t first, float *out, int64_t n)
{
    const saved *s = data;
    const mgi_param *p = s->param;
    if (s->module->gather)
        return mgi_gather_read(s->module->gather, s->module, p, s->ema, first, out, n);
    return mgi_tensor_values(mgi_param_final(p, s->ema), first, out, n);
}

mgen_status mgi_module_save(mgi_module *m, const char *path, bool ema, mgi_st_dtype store)
{
    mgi_st_source *list;
    saved *params;
    MGI_TRY(need_masters(m));
    if (!m->gather && (m->tp_size > 1 || m->shard_size > 1))
        return mgi_fail(
            m->ctx, MGEN_E_UNSUPPORTED,
            "%s: a model that is split over %d ranks cannot be written by one of them", path,
            (m->tp_size > 1 ? m->tp_size : 1) * (m->shard_size > 1 ? m->shard_size : 1));
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)m->count, sizeof *list, &list));
    mgen_status status = mgi_alloc_zero(m->ctx, (size_t)m->count, sizeof *params, &params);
    for (int64_t k = 0; k < m->count && status == MGEN_OK; k++) {
        const mgi_param *p = m->params[k];
        params[k] = (saved){m, p, ema};
        list[k].name = p->name;
        list[k].store = store == MGI_ST_F8 && !p->codes ? MGI_ST_BF16 : store;
        list[k].rank = p->rank;
        memcpy(list[k].dims, p->dims, (size_t)p->rank * sizeof *p->dims);
        list[k].data = &params[k];
    }
    if (status == MGEN_OK)
        status = mgi_st_write_read(m->ctx, path, list, m->count,
                                   (const char *const[]){"format", "moviegen"}, 1, saved_values);
    mgi_free(m->ctx, params);
    mgi_free(m->ctx, list);
    return status;
}

int64_t mgi_module_size(const mgi_module *m)
{
    int64_t size = 0;
    for (int64_t k = 0; k < m->count; k++)
        size += m->params[k]->value->count;
    return size;
}

mgen_status mgi_module_compute(mgi_module *m, int32_t dtype)
{
    m->dtype = dtype;
    if (m->shard_size > 1)
        return mgi_shard_compute(m);
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        mgi_tensor_release(p->compute);
        p->compute = NULL;
        if (!p->operand || (dtype == p->value->dtype && !p->adapted))
            continue;
        MGI_TRY(create(m, MGI_MEM_COMPUTE, dtype, p, &p->compute));
        p->compute->var = p->value->var;
        if (p->value->var)
            p->value->var->refs++;
    }
    mgi_module_refresh(m);
    return MGEN_OK;
}

void mgi_module_settle(mgi_module *m)
{
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        if (!p->compute || m->shard_size > 1)
            continue;
        mgi_tensor_release(p->value);
        p->value = p->compute;
        p->compute = NULL;
        m->hold = MGI_HOLD_BF16;
    }
}

void mgi_module_refresh(mgi_module *m)
{
    mgi_shard_refresh(m);
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        mgk_pointwise_args a = {.x = mgi_buf(p->value),
                                .y = mgi_buf(p->compute),
                                .count = p->value->count,
                                .alpha = 1.0f};
        if (p->compute && m->shard_size < 2)
            mgi_launch(m->dev, MGK_OP_convert, &a); /* needs no workspace */
    }
}

/* The gradients of a unit: one tensor, of which each parameter's is a part. */
static mgen_status unit_grad_make(mgi_module *m, int64_t unit)
{
    int64_t size = 0;
    for (int64_t k = 0; k < m->count; k++) {
        const mgi_param *p = m->params[k];
        if (p->unit == unit && !p->frozen)
            size = p->first + p->value->count;
    }
    if (!size || m->unit_grad[unit])
        return MGEN_OK;
    for (int64_t u = 0; u < unit && m->one_grad; u++) {
        if (m->unit_grad[u] && m->unit_grad[u]->count == size) {
            m->unit_grad[unit] = mgi_tensor_retain(m->unit_grad[u]);
            return MGEN_OK;
        }
    }
    int before = mgi_device_kind(m->dev, MGI_MEM_GRADIENT);
    mgen_status status = mgi_tensor_create(m->dev, MGK_F32, 1, &size, &m->unit_grad[unit]);
    mgi_device_kind(m->dev, before);
    return status == MGEN_OK ? mgi_module_fill(m, m->unit_grad[unit], 0.0f) : status;
}

static mgen_status train_one(mgi_module *m, mgi_param *p)
{
    mgi_tensor *made[4] = {0};
    mgi_var *var = NULL;
    mgen_status status = MGEN_OK;
    const int states = p->adapted ? 0 : 3;
    for (int i = 0; i < states && status == MGEN_OK; i++)
        status = create(m, MGI_MEM_OPTIMIZER, MGK_F32, p, &made[i]);
    if (status == MGEN_OK)
        status = mgi_tensor_rows(m->unit_grad[p->unit], p->first, p->value->count, &made[3]);
    if (status == MGEN_OK)
        status = mgi_var_create(m->dev, MGK_F32, p->value->count, true, &var);
    for (int i = 0; i < 2 && states && status == MGEN_OK; i++)
        status = mgi_module_fill(m, made[i], 0.0f);
    if (status == MGEN_OK && states)
        status = mgi_tensor_copy(made[2], p->value);
    if (status != MGEN_OK) {
        for (int i = 0; i < 4; i++)
            mgi_tensor_release(made[i]);
        mgi_var_release(m->dev, var);
        return status;
    }
    p->m = made[0];
    p->v = made[1];
    p->ema = made[2];
    p->value->var = var;
    var->grad = made[3];
    if (p->compute) {
        p->compute->var = var;
        var->refs++;
    }
    return MGEN_OK;
}

mgen_status mgi_module_train(mgi_module *m)
{
    bool steps = false;
    for (int64_t k = 0; k < m->count; k++)
        steps = steps || !(m->params[k]->frozen || m->params[k]->adapted);
    if (steps)
        MGI_TRY(need_masters(m));
    if (m->shard_size > 1)
        return mgi_shard_train(m);
    if (!m->unit_grad)
        MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)m->units, sizeof(mgi_tensor *), &m->unit_grad));
    for (int64_t u = 0; u < m->units; u++)
        MGI_TRY(unit_grad_make(m, u));
    for (int64_t k = 0; k < m->count; k++)
        if (!m->params[k]->frozen && !m->params[k]->value->var)
            MGI_TRY(train_one(m, m->params[k]));
    return MGEN_OK;
}

void mgi_module_zero_grad(mgi_module *m, mgi_run *run)
{
    for (int64_t i = 0; i < m->range_count; i++)
        mgi_fill(run, m->ranges[i].grad, 0.0f);
    for (int64_t u = 0; m->unit_grad && u < m->units; u++)
        if (m->unit_grad[u] && (u == 0 || m->unit_grad[u] != m->unit_grad[u - 1]))
            mgi_fill(run, m->unit_grad[u], 0.0f);
}
