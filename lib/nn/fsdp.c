/* SPDX-License-Identifier: MIT */
#include "nn/fsdp.h"

#include "core/alloc.h"
#include "dist/collective.h"
#include "kernels/pointwise/pointwise.h"
#include "nn/module_shard.h"

#include <string.h>

enum {
    MODULES = 8,
    RANGES = 4, /* of a unit that lie in one slot: operands or not, partial or not */
    SUMS = 8
};

/* A range as it is in a slot: all ranks' shares of its values; the same of the gradients, and this rank's among them. */
typedef struct place {
    mgi_tensor *values, *grads, *own;
} place;

typedef struct sharded {
    mgi_module *module;
    int64_t first; /* the number of its unit 0 among those of all modules */
    place *places; /* of each range */
    bool trained;
} sharded;

/* What a slot holds, or what is on the way there: the parameters of a unit; and gradients on their way out. */
typedef struct slot {
    mgi_tensor *values, *grads; /* bytes; f32 */
    const sharded *of;          /* NULL: nothing */
    int64_t unit;
    mgi_flat_work gathers[RANGES], scatters[RANGES];
    const place *from[RANGES]; /* that are scattered */
    mgi_range *to[RANGES];
    int gather_count, scatter_count;
} slot;

/* A sum of a share's gradients on its way. */
typedef struct sum {
    mgi_range *range;
    bool replicas; /* else over the TP group */
    mgi_flat_work work;
} sum;

struct mgi_fsdp {
    mgen_context *ctx;
    const mgi_mesh *mesh;
    mgi_unit_hook hook;
    sharded modules[MODULES];
    int count;
    slot slots[2 + MODULES]; /* of units by even and odd number; of what is lasting, by module */
    sum sums[SUMS];          /* a ring */
    int sum_first, sum_count;
    bool last;
};

static int size_of(const mgi_mesh *mesh, mgi_axis axis)
{
    return mgi_comm_size(mesh->group[axis]);
}

static slot *slot_of(mgi_fsdp *f, const sharded *s, int64_t unit, bool lasting)
{
    return &f->slots[lasting ? 2 + (s - f->modules) : (s->first + unit) % 2];
}

static bool lies_there(const mgi_range *r, int64_t unit, bool lasting)
{
    return r->unit == unit && r->lasting == lasting;
}

/* -- life ------------------------------------------------------------------------------------- */

static int32_t dtype_of(const mgi_range *r)
{
    return (r->compute ? r->compute : r->value)->dtype;
}

/* Elements from byte `at` on of a buffer. */
static mgen_status view_make(mgi_tensor *buffer, int64_t at, int32_t dtype, int rank,
                             const int64_t *dims, mgi_tensor **out)
{
    int64_t count = 1, each = (int64_t)mgi_dtype_size(dtype);
    for (int k = 0; k < rank; k++)
        count *= dims[k];
    int64_t unit = (int64_t)mgi_dtype_size(buffer->dtype);
    MGI_TRY(mgi_tensor_rows(buffer, at / unit, count * each / unit, out));
    (*out)->dtype = dtype;
    (*out)->rank = rank;
    (*out)->count = count;
    memcpy((*out)->dims, dims, (size_t)rank * sizeof *dims);
    return MGEN_OK;
}

/* The most that a slot must hold, in bytes of values and elements of gradients. */
static void slot_room(mgi_fsdp *f, const slot *of, int64_t *bytes, int64_t *grads)
{
    const int64_t n = size_of(f->mesh, MGI_AXIS_SHARD);
    *bytes = *grads = 0;
    for (int i = 0; i < f->count; i++) {
        const sharded *s = &f->modules[i];
        for (int64_t u = 0; u < s->module->units; u++) {
            int64_t values = 0, elements = 0;
            for (int64_t k = 0; k < s->module->range_count; k++) {
                const mgi_range *r = &s->module->ranges[k];
                if (r->unit != u || slot_of(f, s, u, r->lasting) != of)
                    continue;
                values += n * r->share * (int64_t)mgi_dtype_size(dtype_of(r));
                elements += s->trained ? n * r->share : 0;
            }
            *bytes = values > *bytes ? values : *bytes;
            *grads = elements > *grads ? elements : *grads;
        }
    }
}

static mgen_status make(mgi_fsdp *f, int kind, int32_t dtype, int64_t count, mgi_tensor **out)
{
    mgi_device *dev = f->ctx->device;
    int before = mgi_device_kind(dev, kind);
    mgen_status status = count ? mgi_tensor_create(dev, dtype, 1, &count, out) : MGEN_OK;
    mgi_device_kind(dev, before);
    return status;
}

static mgen_status slots_make(mgi_fsdp *f)
{
    for (int i = 0; i < 2 + f->count; i++) {
        int64_t bytes, grads;
        slot_room(f, &f->slots[i], &bytes, &grads);
        MGI_TRY(make(f, MGI_MEM_COMPUTE, MGK_U8, bytes, &f->slots[i].values));
        MGI_TRY(make(f, MGI_MEM_GRADIENT, MGK_F32, grads, &f->slots[i].grads));
    }
    return MGEN_OK;
}

/* Where the ranges of a unit are in the slot. */
static mgen_status places_make(mgi_fsdp *f, sharded *s, int64_t unit, bool lasting)
{
    slot *at = slot_of(f, s, unit, lasting);
    int64_t bytes = 0, grads = 0;
    for (int64_t k = 0; k < s->module->range_count; k++) {
        const mgi_range *r = &s->module->ranges[k];
        place *p = &s->places[k];
        int64_t all = size_of(f->mesh, MGI_AXIS_SHARD) * r->share;
        if (!lies_there(r, unit, lasting))
            continue;
        MGI_TRY(view_make(at->values, bytes, dtype_of(r), 1, &all, &p->values));
        bytes += all * (int64_t)mgi_dtype_size(dtype_of(r));
        if (!s->trained)
            continue;
        MGI_TRY(mgi_tensor_rows(at->grads, grads, all, &p->grads));
        MGI_TRY(mgi_tensor_rows(p->grads, f->mesh->at.shard * r->share, r->share, &p->own));
        grads += all;
    }
    return MGEN_OK;
}

/* What the network reads, and where its gradient goes. */
static mgen_status whole_make(const sharded *s, mgi_param *p)
{
    const place *at = &s->places[p->range];
    mgi_device *dev = s->module->dev;
    int64_t dims[MGI_RANK_MAX], local = mgi_param_local(s->module, p);
    int axis = mgi_split_axis(s->module, p);
    memcpy(dims, p->dims, sizeof dims);
    if (axis >= 0)
        dims[axis] /= s->module->tp_size;
    int64_t byte = p->first * (int64_t)mgi_dtype_size(at->values->dtype);
    mgi_tensor_release(p->whole);
    MGI_TRY(view_make(at->values, byte, at->values->dtype, p->rank, dims, &p->whole));
    if (!s->trained || p->frozen)
        return MGEN_OK;
    MGI_TRY(mgi_var_create(dev, MGK_F32, local, true, &p->whole->var));
    return mgi_tensor_rows(at->grads, p->first, local, &p->whole->var->grad);
}

/* A sum over the shard group is one over its dp and cp, a second one over the replicas and perhaps TP: the gradient of
 * each parameter must be such a sum. */
static mgen_status check(const mgi_fsdp *f, const sharded *s)
{
    const mgi_mesh_shape *shape = &f->mesh->shape;
    for (int64_t k = 0; k < s->module->count && s->trained; k++) {
        const mgi_param *p = s->module->params[k];
        bool whole = mgi_split_axis(s->module, p) < 0;
        if ((shape->cp > 1 && !(p->partial & MGI_PARTIAL_CP)) ||
            (shape->tp > 1 && whole && !(p->partial & MGI_PARTIAL_SP)))
            return mgi_fail(f->ctx, MGEN_E_INTERNAL,
                            "the gradient of \"%s\" is not a sum over the ranks of a sample",
                            p->name);
    }
    return MGEN_OK;
}

static mgen_status module_make(mgi_fsdp *f, sharded *s)
{
    mgi_module *m = s->module;
    MGI_TRY(check(f, s));
    MGI_TRY(mgi_alloc_zero(f->ctx, (size_t)m->range_count, sizeof *s->places, &s->places));
    for (int64_t u = 0; u < m->units; u++) {
        MGI_TRY(places_make(f, s, u, false));
        MGI_TRY(places_make(f, s, u, true));
    }
    for (int64_t k = 0; k < m->count; k++)
        MGI_TRY(whole_make(s, m->params[k]));
    return MGEN_OK;
}

static void on_unit(mgi_run *run, void *user, void *module, int64_t unit, int moment)
{
    mgi_fsdp_unit(user, run, module, unit, moment);
}

mgen_status mgi_fsdp_create(mgen_context *ctx, const mgi_mesh *mesh, mgi_module *const *modules,
                            int count, mgi_fsdp **out)
{
    mgi_fsdp *f;
    int64_t units = 0;
    *out = NULL;
    if (count > MODULES)
        return mgi_fail(ctx, MGEN_E_INTERNAL, "fsdp: %d modules; there is room for %d", count,
                        MODULES);
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *f, &f));
    f->ctx = ctx;
    f->mesh = mesh;
    f->hook = (mgi_unit_hook){on_unit, f};
    for (int i = 0; i < count; i++)
        if (modules[i]->shard_size > 1) {
            f->modules[f->count++] = (sharded){.module = modules[i],
                                               .first = units,
                                               .trained = modules[i]->ranges[0].grad != NULL};
            units += modules[i]->units;
        }
    mgen_status status = slots_make(f);
    for (int i = 0; i < f->count && status == MGEN_OK; i++)
        status = module_make(f, &f->modules[i]);
    if (status != MGEN_OK) {
        mgi_fsdp_destroy(f);
        return status;
    }
    *out = f;
    return MGEN_OK;
}

static void module_free(mgi_fsdp *f, sharded *s)
{
    mgi_module *m = s->module;
    for (int64_t k = 0; k < m->count; k++) {
        mgi_tensor_release(m->params[k]->whole);
        m->params[k]->whole = NULL;
    }
    for (int64_t k = 0; s->places && k < m->range_count; k++) {
        mgi_tensor_release(s->places[k].values);
        mgi_tensor_release(s->places[k].grads);
        mgi_tensor_release(s->places[k].own);
    }
    mgi_free(f->ctx, s->places);
}

void mgi_fsdp_destroy(mgi_fsdp *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->count; i++)
        module_free(f, &f->modules[i]);
    for (int i = 0; i < 2 + MODULES; i++) {
        mgi_tensor_release(f->slots[i].values);
        mgi_tensor_release(f->slots[i].grads);
    }
    mgi_free(f->ctx, f);
}

/* -- parameters ------------------------------------------------------------------------------- */

static void gathers_end(mgi_run *run, slot *at)
{
    for (int i = 0; i < at->gather_count; i++)
        mgi_flat_end(run, &at->gathers[i]);
    at->gather_count = 0;
}

/* A unit's parameters are there, or on their way. */
static void fetch(mgi_fsdp *f, mgi_run *run, const sharded *s, int64_t unit, bool lasting)
{
    mgi_comm *group = f->mesh->group[MGI_AXIS_SHARD];
    slot *at = slot_of(f, s, unit, lasting);
    if (at->of == s && at->unit == unit)
        return;
    gathers_end(run, at);
    at->of = s;
    at->unit = unit;
    for (int64_t k = 0; k < s->module->range_count; k++) {
        const mgi_range *r = &s->module->ranges[k];
        if (!lies_there(r, unit, lasting))
            continue;
        mgi_comm_note(group, "parameters of unit", unit);
        mgi_flat_gather_begin(run, group, r->compute ? r->compute : r->value, s->places[k].values,
                              &at->gathers[at->gather_count++]);
    }
}

/* -- gradients -------------------------------------------------------------------------------- */

static void sum_begin(mgi_fsdp *f, mgi_run *run, mgi_range *r, bool replicas);

static void sum_end(mgi_fsdp *f, mgi_run *run)
{
    sum done = f->sums[f->sum_first];
    mgi_flat_end(run, &done.work);
    f->sum_first = (f->sum_first + 1) % SUMS;
    f->sum_count--;
    if (done.replicas)
        sum_begin(f, run, done.range, false);
}

static void sum_begin(mgi_fsdp *f, mgi_run *run, mgi_range *r, bool replicas)
{
    if (replicas && size_of(f->mesh, MGI_AXIS_REPLICA) == 1)
        replicas = false;
    if (!replicas && (!r->partial || size_of(f->mesh, MGI_AXIS_TP) == 1))
        return;
    while (f->sum_count == SUMS)
        sum_end(f, run);
    sum *s = &f->sums[(f->sum_first + f->sum_count++) % SUMS];
    mgi_comm *group = f->mesh->group[replicas ? MGI_AXIS_REPLICA : MGI_AXIS_TP];
    *s = (sum){.range = r, .replicas = replicas};
    mgi_comm_note(group, "gradients of unit", r->unit);
    mgi_flat_sum_begin(run, group, r->grad, &s->work);
}

/* What came out of a slot is added to the shares. */
static void scatters_end(mgi_fsdp *f, mgi_run *run, slot *at)
{
    for (int i = 0; i < at->scatter_count; i++) {
        mgi_range *r = at->to[i];
        mgi_flat_end(run, &at->scatters[i]);
        mgk_pointwise_args a = {.x = mgi_buf(at->from[i]->own),
                                .y = mgi_buf(r->grad),
                                .count = r->share,
                                .alpha = 1.0f,
                                .beta = 1.0f};
        mgi_run_launch(run, MGK_OP_axpby, &a);
        if (f->last)
            sum_begin(f, run, r, true);
    }
    at->scatter_count = 0;
}

static void grads_clear(mgi_fsdp *f, mgi_run *run, const sharded *s, int64_t unit, bool lasting)
{
    scatters_end(f, run, slot_of(f, s, unit, lasting));
    for (int64_t k = 0; k < s->module->range_count; k++)
        if (lies_there(&s->module->ranges[k], unit, lasting))
            mgi_fill(run, s->places[k].grads, 0.0f);
}

static void grads_scatter(mgi_fsdp *f, mgi_run *run, const sharded *s, int64_t unit, bool lasting)
{
    slot *at = slot_of(f, s, unit, lasting);
    mgi_comm *group = f->mesh->group[MGI_AXIS_SHARD];
    for (int64_t k = 0; k < s->module->range_count; k++) {
        mgi_range *r = &s->module->ranges[k];
        const place *p = &s->places[k];
        if (!lies_there(r, unit, lasting))
            continue;
        int i = at->scatter_count++;
        at->from[i] = p;
        at->to[i] = r;
        mgi_comm_note(group, "gradients of unit", unit);
        mgi_flat_scatter_begin(run, group, p->grads, p->own, &at->scatters[i]);
    }
}

/* -- the run ---------------------------------------------------------------------------------- */

/* The unit that runs before or after, perhaps another module's. */
static void fetch_next(mgi_fsdp *f, mgi_run *run, int64_t number, bool backward)
{
    for (int i = 0; i < f->count; i++) {
        const sharded *s = &f->modules[i];
        int64_t unit = number - s->first;
        if (unit < 0 || unit >= s->module->units || (backward && !s->trained))
            continue;
        if (unit == 0)
            fetch(f, run, s, unit, true);
        fetch(f, run, s, unit, false);
    }
}

static void enter(mgi_fsdp *f, mgi_run *run, const sharded *s, int64_t unit, bool backward)
{
    if (unit == 0)
        fetch(f, run, s, unit, true);
    fetch(f, run, s, unit, false);
    gathers_end(run, slot_of(f, s, unit, false));
    gathers_end(run, slot_of(f, s, unit, true));
    fetch_next(f, run, s->first + unit + (backward ? -1 : 1), backward);
    if (backward)
        grads_clear(f, run, s, unit, false);
}

void mgi_fsdp_unit(mgi_fsdp *f, mgi_run *run, const void *module, int64_t unit, int moment)
{
    const sharded *s = NULL;
    for (int i = 0; i < f->count; i++)
        if (f->modules[i].module == module)
            s = &f->modules[i];
    if (!s || (moment >= MGI_ENTER_BACKWARD && !s->trained))
        return;
    if (moment == MGI_ENTER_FORWARD || moment == MGI_ENTER_BACKWARD)
        enter(f, run, s, unit, moment == MGI_ENTER_BACKWARD);
    if (moment != MGI_EXIT_BACKWARD)
        return;
    grads_scatter(f, run, s, unit, false);
    if (unit == 0)
        grads_scatter(f, run, s, unit, true);
}

static void settle(mgi_fsdp *f, mgi_run *run)
{
    for (int i = 0; i < 2 + f->count; i++) {
        gathers_end(run, &f->slots[i]);
        scatters_end(f, run, &f->slots[i]);
    }
}

void mgi_fsdp_begin(mgi_fsdp *f, mgi_run *run, bool last)
{
    settle(f, run);
    f->last = last;
    run->hook = &f->hook;
    for (int i = 0; i < 2 + f->count; i++)
        f->slots[i].of = NULL;
    for (int i = 0; i < f->count && run->record; i++)
        if (f->modules[i].trained)
            grads_clear(f, run, &f->modules[i], 0, true);
}

void mgi_fsdp_end(mgi_fsdp *f, mgi_run *run)
{
    settle(f, run);
    while (f->sum_count)
        sum_end(f, run);
}
