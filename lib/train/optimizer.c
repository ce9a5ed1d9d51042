/* SPDX-License-Identifier: MIT */
#include "train/optimizer.h"

#include "core/alloc.h"
#include "dist/collective.h"

#include <math.h>
#include <string.h>

static int kind_of(const mgi_module *m, const mgi_param *p)
{
    bool split = m->tp_size > 1 && p->tp != MGI_TP_REPLICATED, sharded = m->shard_size > 1;
    if (split)
        return sharded ? MGI_ITEMS_BOTH : MGI_ITEMS_SPLIT;
    return sharded ? MGI_ITEMS_SHARDED : MGI_ITEMS_WHOLE;
}

static void add_items(mgi_optimizer *o, const mgi_module *m, int kind)
{
    for (int64_t k = 0; k < m->count; k++) {
        const mgi_param *p = m->params[k];
        if (p->frozen || p->adapted || p->value->count == 0 || kind_of(m, p) != kind)
            continue;
        o->items[o->item_count++] = (mgk_optimizer_item){.weight = mgi_f32(p->value),
                                                         .grad = mgi_f32(p->value->var->grad),
                                                         .m = mgi_f32(p->m),
                                                         .v = mgi_f32(p->v),
                                                         .ema = mgi_f32(p->ema),
                                                         .compute = mgi_buf(p->compute).p,
                                                         .count = p->value->count,
                                                         .decay = p->decay,
                                                         .lr_scale = p->lr_scale};
    }
}

static mgen_status collect(mgi_optimizer *o, mgi_module *const *modules, int module_count)
{
    int64_t count = 0;
    for (int i = 0; i < module_count; i++)
        count += modules[i]->count;
    MGI_TRY(mgi_alloc_zero(o->ctx, (size_t)count, sizeof *o->items, &o->items));
    for (int kind = 0; kind <= MGI_ITEMS_SPLIT; kind++) {
        for (int i = 0; i < module_count; i++)
            add_items(o, modules[i], kind);
        o->item_end[kind] = o->item_count;
    }
    return MGEN_OK;
}

mgen_status mgi_optimizer_init(mgi_optimizer *o, mgen_context *ctx,
                               const mgi_optimizer_recipe *recipe, int64_t steps,
                               mgi_module *const *modules, int module_count)
{
    int64_t words = MGK_CONTROL_COUNT;
    memset(o, 0, sizeof *o);
    o->ctx = ctx;
    o->recipe = *recipe;
    o->steps = steps;
    o->plateau[MGI_PLATEAU_BEST] = INFINITY;
    mgen_status status = collect(o, modules, module_count);
    if (status == MGEN_OK)
        status = mgi_tensor_create(ctx->device, MGK_F32, 1, &words, &o->control);
    if (status != MGEN_OK) {
        mgi_optimizer_finish(o);
        return status;
    }
    mgi_tensor_write(o->control, 0, (const float[MGK_CONTROL_COUNT]){0}, MGK_CONTROL_COUNT);
    return MGEN_OK;
}

void mgi_optimizer_finish(mgi_optimizer *o)
{
    if (o->ctx)
        mgi_free(o->ctx, o->items);
    mgi_tensor_release(o->control);
    memset(o, 0, sizeof *o);
}

void mgi_optimizer_split(mgi_optimizer *o, const mgi_mesh *mesh)
{
    o->mesh = mesh && (mesh->shape.tp > 1 || mesh->shape.shard > 1) ? mesh : NULL;
}

double mgi_optimizer_lr(const mgi_optimizer *o, int64_t step)
{
    const mgi_optimizer_recipe *r = &o->recipe;
    double flat_end = r->cosine_from * (double)o->steps;
    if (step < r->warmup)
        return r->lr * (double)(step + 1) / (double)r->warmup;
    if (r->schedule == MGI_LR_PLATEAU)
        return r->lr * fmax(r->lr_final, ldexp(1.0, -(int)o->plateau[MGI_PLATEAU_HALVINGS]));
    if (r->schedule == MGI_LR_CONSTANT)
        return r->lr;
    if (r->schedule == MGI_LR_LINEAR) {
        int64_t all = o->steps - r->warmup;
        double left = step < o->steps ? (double)(o->steps - step) / (double)all : 0.0;
        return r->lr * (r->lr_final + (1.0 - r->lr_final) * left);
    }
    if ((double)step <= flat_end || flat_end >= (double)o->steps)
        return r->lr;
    double x = ((double)step - flat_end) / ((double)o->steps - flat_end);
    return r->lr * (r->lr_final + (1.0 - r->lr_final) * 0.5 * (1.0 + cos(3.14159265358979 * x)));
}

void mgi_optimizer_validated(mgi_optimizer *o, double figure)
{
    float *state = o->plateau;
    if (o->recipe.schedule != MGI_LR_PLATEAU)
        return;
    if ((float)figure < state[MGI_PLATEAU_BEST]) {
        state[MGI_PLATEAU_BEST] = (float)figure;
        state[MGI_PLATEAU_SINCE] = 0.0f;
    } else if (++state[MGI_PLATEAU_SINCE] >= (float)o->recipe.patience) {
        state[MGI_PLATEAU_SINCE] = 0.0f;
        state[MGI_PLATEAU_HALVINGS] += 1.0f;
    }
}

static const int step_ops[] = {MGK_OP_grad_norm, MGK_OP_step_control, MGK_OP_adamw};
enum { STEP_OPS = 3 };

static mgk_optimizer_args step_args(const mgi_optimizer *o)
{
    const mgi_optimizer_recipe *r = &o->recipe;
    return (mgk_optimizer_args){.items = o->items,
                                .item_count = o->item_count,
                                .control = mgi_buf(o->control),
                                .beta1 = (float)r->beta1,
                                .beta2 = (float)r->beta2,
                                .eps = (float)r->eps,
                                .decay = (float)r->weight_decay,
                                .clip = (float)r->clip,
                                .skip_factor = (float)r->skip_factor,
                                .ema_decay = (float)r->ema,
                                .fuse_ema = 1};
}

void mgi_optimizer_begin(mgi_optimizer *o, mgi_run *run, int64_t step)
{
    mgk_optimizer_args a = step_args(o);
    float lr = (float)mgi_optimizer_lr(o, step);
    mgi_tensor_write(o->control, MGK_CONTROL_LR, &lr, 1);
    for (int i = 0; i < STEP_OPS && run->status == MGEN_OK; i++)
        mgi_ok(run, mgi_launch_prepare(run->dev, step_ops[i], &a));
}

/* What several ranks have counts on the first of them: on those with the first TP share, of a shard or not; on those with
 * the first shard. */
static void norm_of_all(const mgi_optimizer *o, mgi_run *run, mgk_optimizer_args a)
{
    const mgi_mesh *mesh = o->mesh;
    const int64_t *end = o->item_end;
    int64_t from = 0, to = mesh->at.shard ? end[MGI_ITEMS_BOTH] : end[MGI_ITEMS_SPLIT];
    float square = 0.0f;
    if (mesh->at.tp)
        from = end[MGI_ITEMS_SHARDED];
    else if (mesh->at.shard)
        from = end[MGI_ITEMS_WHOLE];
    a.items += from;
    a.item_count = to - from;
    mgi_run_launch(run, MGK_OP_grad_norm, &a);
    if (run->status != MGEN_OK)
        return;
    mgi_tensor_read(o->control, MGK_CONTROL_NORM, &square, 1);
    square *= square;
    mgi_tensor *t = mgi_new(run, MGK_F32, MGI_DIMS(1));
    if (!t)
        return;
    mgi_tensor_write(t, 0, &square, 1);
    mgi_sum_ranks(run, mesh->group[MGI_AXIS_SHARD], t);
    mgi_sum_ranks(run, mesh->group[MGI_AXIS_TP], t);
    mgi_tensor_read(t, 0, &square, 1);
    square = sqrtf(square);
    mgi_tensor_write(o->control, MGK_CONTROL_NORM, &square, 1);
    mgi_drop(run, t);
}

void mgi_optimizer_apply(mgi_optimizer *o, mgi_run *run)
{
    mgk_optimizer_args a = step_args(o);
    for (int i = 0; i < STEP_OPS; i++) {
        if (step_ops[i] == MGK_OP_grad_norm && o->mesh)
            norm_of_all(o, run, a);
        else
            mgi_run_launch(run, step_ops[i], &a);
    }
}

void mgi_optimizer_step(mgi_optimizer *o, mgi_run *run, int64_t step)
{
    mgi_optimizer_begin(o, run, step);
    mgi_optimizer_apply(o, run);
}
