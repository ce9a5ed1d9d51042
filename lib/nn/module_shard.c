/* SPDX-License-Identifier: MIT
 * The shares that a rank has of a module: of parameters that are split (TP), and of the ranges of sharding (FSDP). */
#include "nn/module_shard.h"

#include "core/alloc.h"
#include "kernels/pointwise/pointwise.h"

enum { ALIGN = 32 }; /* elements: 64 bytes, in bf16 too */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* -- which elements --------------------------------------------------------------------------- */

int mgi_split_axis(const mgi_module *m, const mgi_param *p)
{
    return m->tp_size < 2 || p->tp == MGI_TP_REPLICATED ? -1 : p->tp == MGI_TP_COLUMN ? 0 : 1;
}

int64_t mgi_param_local(const mgi_module *m, const mgi_param *p)
{
    int64_t count = 1;
    for (int k = 0; k < p->rank; k++)
        count *= p->dims[k];
    return mgi_split_axis(m, p) < 0 ? count : count / m->tp_size;
}

/* Elements [from, to) of the rank's tensor parallel share, which is made of pieces of `each`. */
typedef struct cut {
    int64_t from, to, each;
} cut;

static cut cut_of(const mgi_module *m, const mgi_param *p)
{
    int64_t local = mgi_param_local(m, p);
    int axis = mgi_split_axis(m, p);
    cut c = {0, local, local};
    if (axis >= 0)
        c.each = local / (p->parts * (axis ? p->dims[0] : 1));
    if (m->shard_size > 1) {
        int64_t share = m->ranges[p->range].share, first = m->shard_rank * share - p->first;
        c.from = least(most(first, 0), local);
        c.to = least(most(first + share, 0), local);
    }
    return c;
}

int64_t mgi_param_pieces(const mgi_module *m, const mgi_param *p)
{
    cut c = cut_of(m, p);
    return c.from == c.to ? 0 : (c.to - 1) / c.each - c.from / c.each + 1;
}

mgi_piece mgi_param_piece(const mgi_module *m, const mgi_param *p, int64_t index)
{
    cut c = cut_of(m, p);
    int64_t n = c.from / c.each + index, begin = n * c.each;
    int64_t from = most(begin, c.from), to = least(begin + c.each, c.to);
    int64_t whole = from;
    if (mgi_split_axis(m, p) >= 0) /* the ranks' pieces alternate */
        whole = (n * m->tp_size + m->tp_rank) * c.each + from - begin;
    return (mgi_piece){whole, from - c.from, to - from};
}

/* -- their memory ----------------------------------------------------------------------------- */

static mgen_status flat(mgi_module *m, int kind, int32_t dtype, int64_t count, mgi_tensor **out)
{
    int before = mgi_device_kind(m->dev, kind);
    mgen_status status = mgi_tensor_create(m->dev, dtype, 1, &count, out);
    mgi_device_kind(m->dev, before);
    return status;
}

/* A parameter's part of one of its range's tensors. */
static mgen_status part(const mgi_module *m, const mgi_param *p, mgi_tensor *of, mgi_tensor **out)
{
    cut c = cut_of(m, p);
    int64_t first = p->first + c.from - m->shard_rank * m->ranges[p->range].share;
    return mgi_tensor_rows(of, c.from < c.to ? first : 0, c.to - c.from, out);
}

static bool narrow(const mgi_module *m, const mgi_param *p)
{
    return p->narrow && m->hold != MGI_HOLD_F32;
}

static bool alike(const mgi_module *m, const mgi_range *r, const mgi_param *p)
{
    return r->unit == p->unit && r->operand == p->operand && r->lasting == p->lasting &&
           r->narrow == narrow(m, p) && r->partial == ((p->partial & MGI_PARTIAL_SP) != 0);
}

static void lay_out(mgi_module *m, mgi_param *p)
{
    int64_t i = 0;
    while (i < m->range_count && !alike(m, &m->ranges[i], p))
        i++;
    mgi_range *r = &m->ranges[i];
    if (i == m->range_count) {
        m->range_count++;
        *r = (mgi_range){.unit = p->unit,
                         .operand = p->operand,
                         .lasting = p->lasting,
                         .narrow = narrow(m, p),
                         .partial = (p->partial & MGI_PARTIAL_SP) != 0};
    }
    p->range = i;
    p->first = r->size;
    r->size += (mgi_param_local(m, p) + ALIGN - 1) / ALIGN * ALIGN;
}

static mgen_status divide(mgi_module *m)
{
    const int64_t block = (int64_t)ALIGN * m->shard_size;
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)m->count, sizeof *m->ranges, &m->ranges));
    for (int64_t k = 0; k < m->count; k++)
        lay_out(m, m->params[k]);
    for (int64_t i = 0; i < m->range_count; i++) {
        mgi_range *r = &m->ranges[i];
        r->share = (r->size + block - 1) / block * ALIGN;
        MGI_TRY(flat(m, MGI_MEM_PARAMETER, r->narrow ? MGK_BF16 : MGK_F32, r->share, &r->value));
        MGI_TRY(mgi_module_fill(m, r->value, 0.0f));
    }
    for (int64_t k = 0; k < m->count; k++)
        MGI_TRY(part(m, m->params[k], m->ranges[m->params[k]->range].value, &m->params[k]->value));
    return MGEN_OK;
}

mgen_status mgi_module_divide(mgi_module *m)
{
    if (m->status == MGEN_OK && m->shard_size > 1)
        m->status = divide(m);
    return m->status;
}

void mgi_shard_free(mgi_module *m)
{
    for (int64_t i = 0; i < m->range_count; i++) {
        mgi_range *r = &m->ranges[i];
        mgi_tensor_release(r->value);
        mgi_tensor_release(r->compute);
        mgi_tensor_release(r->m);
        mgi_tensor_release(r->v);
        mgi_tensor_release(r->ema);
        mgi_tensor_release(r->grad);
    }
    mgi_free(m->ctx, m->ranges);
}

mgen_status mgi_shard_compute(mgi_module *m)
{
    for (int64_t k = 0; k < m->count; k++) {
        mgi_tensor_release(m->params[k]->compute);
        m->params[k]->compute = NULL;
    }
    for (int64_t i = 0; i < m->range_count; i++) {
        mgi_range *r = &m->ranges[i];
        mgi_tensor_release(r->compute);
        r->compute = NULL;
        if (r->operand && m->dtype != r->value->dtype)
            MGI_TRY(flat(m, MGI_MEM_COMPUTE, m->dtype, r->share, &r->compute));
    }
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        if (m->ranges[p->range].compute)
            MGI_TRY(part(m, p, m->ranges[p->range].compute, &p->compute));
    }
    mgi_shard_refresh(m);
    return MGEN_OK;
}

void mgi_shard_refresh(mgi_module *m)
{
    for (int64_t i = 0; i < m->range_count; i++) {
        const mgi_range *r = &m->ranges[i];
        mgk_pointwise_args a = {
            .x = mgi_buf(r->value), .y = mgi_buf(r->compute), .count = r->share, .alpha = 1.0f};
        if (r->compute)
            mgi_launch(m->dev, MGK_OP_convert, &a); /* needs no workspace */
    }
}

static mgen_status train_range(mgi_module *m, mgi_range *r)
{
    MGI_TRY(flat(m, MGI_MEM_OPTIMIZER, MGK_F32, r->share, &r->m));
    MGI_TRY(flat(m, MGI_MEM_OPTIMIZER, MGK_F32, r->share, &r->v));
    MGI_TRY(flat(m, MGI_MEM_OPTIMIZER, MGK_F32, r->share, &r->ema));
    MGI_TRY(flat(m, MGI_MEM_GRADIENT, MGK_F32, r->share, &r->grad));
    MGI_TRY(mgi_module_fill(m, r->m, 0.0f));
    MGI_TRY(mgi_module_fill(m, r->v, 0.0f));
    MGI_TRY(mgi_module_fill(m, r->grad, 0.0f));
    return mgi_tensor_copy(r->ema, r->value);
}

mgen_status mgi_shard_train(mgi_module *m)
{
    for (int64_t i = 0; i < m->range_count; i++)
        if (!m->ranges[i].grad)
            MGI_TRY(train_range(m, &m->ranges[i]));
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        const mgi_range *r = &m->ranges[p->range];
        if (p->m)
            continue;
        MGI_TRY(part(m, p, r->m, &p->m));
        MGI_TRY(part(m, p, r->v, &p->v));
        MGI_TRY(part(m, p, r->ema, &p->ema));
        MGI_TRY(mgi_var_create(m->dev, MGK_F32, p->value->count, true, &p->value->var));
        MGI_TRY(part(m, p, r->grad, &p->value->var->grad));
    }
    return MGEN_OK;
}
