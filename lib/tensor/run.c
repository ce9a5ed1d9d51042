/* SPDX-License-Identifier: MIT */
#include "tensor/run.h"

#include "core/alloc.h"
#include "kernels/pointwise/pointwise.h"
#include "tensor/weights.h"

#include <string.h>

void mgi_run_init(mgi_run *run, mgen_context *ctx, bool record)
{
    memset(run, 0, sizeof *run);
    run->ctx = ctx;
    run->dev = ctx->device;
    run->record = record;
}

static void keep_free(mgi_run *run, mgi_keep *keep)
{
    for (int64_t i = 0; keep && i < keep->count; i++)
        mgi_tensor_release(keep->list[i]);
    if (keep)
        mgi_free(run->ctx, keep->list);
    mgi_free(run->ctx, keep);
}

static void node_free(mgi_run *run, mgi_node *node)
{
    keep_free(run, node->keep);
    for (int i = 0; i < MGI_NODE_SAVED; i++)
        mgi_tensor_release(node->saved[i]);
    for (int i = 0; i < MGI_NODE_INPUTS; i++)
        mgi_var_release(run->dev, node->in[i]);
    mgi_var_release(run->dev, node->out);
    mgi_free(run->ctx, node);
}

void mgi_run_rewind(mgi_run *run, int64_t scope_count, int64_t node_count)
{
    while (run->node_count > node_count)
        node_free(run, run->nodes[--run->node_count]);
    mgi_scope_pop(run, scope_count, NULL);
    run->status = MGEN_OK;
}

void mgi_run_finish(mgi_run *run)
{
    mgi_run_rewind(run, 0, 0);
    while (run->weights_open > 0)
        mgi_weights_end(run);
    mgi_free(run->ctx, run->nodes);
    mgi_free(run->ctx, run->scope);
    run->nodes = NULL;
    run->scope = NULL;
    run->scope_capacity = run->node_capacity = 0;
}

void mgi_run_deliver(mgi_run *run, const mgi_tensor *x, void *values)
{
    const bool good = run->status == MGEN_OK && x;
    const size_t bytes = good ? (size_t)x->count * mgi_dtype_size(x->dtype) : 0;
    void *room = NULL;
    if (good && run->dev->cuda) /* what fails there is known once it has been waited for */
        mgi_ok(run, mgi_alloc(run->ctx, bytes, &room));
    if (good && run->status == MGEN_OK)
        mgi_tensor_read(x, 0, room ? room : values, x->count);
    mgi_ok(run, mgi_device_wait(run->dev));
    if (room && run->status == MGEN_OK)
        memcpy(values, room, bytes);
    mgi_free(run->ctx, room);
}

int64_t mgi_scope_push(mgi_run *run)
{
    return run->scope_count;
}

mgi_tensor *mgi_scope_pop(mgi_run *run, int64_t mark, mgi_tensor *keep)
{
    int64_t kept = mark;
    for (int64_t i = mark; i < run->scope_count; i++) {
        if (keep && run->scope[i] == keep)
            run->scope[kept++] = keep;
        else
            mgi_tensor_release(run->scope[i]);
    }
    run->scope_count = kept;
    return keep;
}

void mgi_drop(mgi_run *run, mgi_tensor *t)
{
    for (int64_t i = run->scope_count - 1; t && i >= 0; i--) {
        if (run->scope[i] == t) {
            run->scope[i] = NULL;
            mgi_tensor_release(t);
            return;
        }
    }
}

static bool grow(mgi_run *run, void *array, int64_t count, int64_t *capacity)
{
    if (count < *capacity)
        return true;
    int64_t more = *capacity ? *capacity * 2 : 64;
    if (!mgi_ok(run, mgi_realloc(run->ctx, array, (size_t)more, sizeof(void *))))
        return false;
    *capacity = more;
    return true;
}

bool mgi_ok(mgi_run *run, mgen_status status)
{
    if (run->status == MGEN_OK)
        run->status = status;
    return status == MGEN_OK;
}

bool mgi_require(mgi_run *run, bool cond, const char *text)
{
    if (cond)
        return true;
    if (run->status == MGEN_OK)
        run->status = mgi_fail(run->ctx, MGEN_E_INTERNAL, "%s", text);
    return false;
}

void mgi_run_launch(mgi_run *run, int op, const void *args)
{
    if (run->status == MGEN_OK)
        mgi_ok(run, mgi_launch(run->dev, op, args));
}

mgi_tensor *mgi_scope_add(mgi_run *run, mgi_tensor *t)
{
    if (!t || !grow(run, &run->scope, run->scope_count, &run->scope_capacity)) {
        mgi_tensor_release(t);
        return NULL;
    }
    run->scope[run->scope_count++] = t;
    return t;
}

mgi_tensor *mgi_new(mgi_run *run, int32_t dtype, int rank, const int64_t *dims)
{
    mgi_tensor *t = NULL;
    if (run->status != MGEN_OK || !mgi_ok(run, mgi_tensor_create(run->dev, dtype, rank, dims, &t)))
        return NULL;
    return mgi_scope_add(run, t);
}

static mgi_node *push(mgi_run *run, mgi_backward_fn *rule, mgi_tensor *out,
                      mgi_tensor *const *inputs, int input_count, mgi_tensor *const *saved,
                      int saved_count, const void *args, size_t args_size)
{
    mgi_node *node;
    if (!mgi_require(run, args_size <= MGI_NODE_ARGS, "a tape node's arguments are too large") ||
        !grow(run, &run->nodes, run->node_count, &run->node_capacity) ||
        !mgi_ok(run, mgi_alloc_zero(run->ctx, 1, sizeof *node, &node)))
        return NULL;
    if (out && !out->var &&
        !mgi_ok(run, mgi_var_create(run->dev, out->dtype, out->count, false, &out->var))) {
        mgi_free(run->ctx, node);
        return NULL;
    }
    node->backward = rule;
    node->out = out ? out->var : NULL;
    if (out)
        node->out->refs++;
    for (int i = 0; i < input_count; i++) {
        if (inputs[i] && inputs[i]->var) {
            node->in[i] = inputs[i]->var;
            node->in[i]->refs++;
        }
    }
    for (int i = 0; i < saved_count; i++)
        node->saved[i] = mgi_tensor_retain(saved[i]);
    if (args_size)
        memcpy(node->args.bytes, args, args_size);
    run->nodes[run->node_count++] = node;
    return node;
}

mgi_node *mgi_record(mgi_run *run, mgi_backward_fn *rule, mgi_tensor *out,
                     mgi_tensor *const *inputs, int input_count, mgi_tensor *const *saved,
                     int saved_count, const void *args, size_t args_size)
{
    bool wanted = false;
    for (int i = 0; i < input_count; i++)
        wanted = wanted || (inputs[i] && inputs[i]->var);
    if (!run->record || !wanted || run->status != MGEN_OK || !out)
        return NULL;
    return push(run, rule, out, inputs, input_count, saved, saved_count, args, args_size);
}

void mgi_node_keep(mgi_run *run, mgi_node *node, mgi_tensor *const *list, int64_t count)
{
    if (!node || !mgi_ok(run, mgi_alloc_zero(run->ctx, 1, sizeof *node->keep, &node->keep)) ||
        !mgi_ok(run, mgi_alloc_zero(run->ctx, (size_t)count, sizeof *list, &node->keep->list)))
        return;
    for (int64_t i = 0; i < count; i++)
        node->keep->list[i] = mgi_tensor_retain(list[i]);
    node->keep->count = count;
}

static void clear(mgi_run *run, mgi_tensor *t, float value)
{
    mgk_pointwise_args a = {.y = mgi_buf(t), .count = t->count, .alpha = value};
    mgi_run_launch(run, MGK_OP_fill, &a);
}

static bool grad_create(mgi_run *run, mgi_var *var)
{
    return mgi_ok(run, mgi_tensor_create(run->dev, var->dtype, 1, &var->count, &var->grad));
}

mgk_buf mgi_grad_out(mgi_run *run, mgi_node *node, int i, int32_t *accumulate)
{
    mgi_var *var = node->in[i];
    *accumulate = 0;
    if (!var || run->status != MGEN_OK)
        return (mgk_buf){0, 0};
    if (var->grad)
        *accumulate = 1;
    else if (!grad_create(run, var))
        return (mgk_buf){0, 0};
    return mgi_buf(var->grad);
}

mgk_buf mgi_grad_add(mgi_run *run, mgi_node *node, int i)
{
    int32_t accumulate;
    mgk_buf buf = mgi_grad_out(run, node, i, &accumulate);
    if (buf.p && !accumulate)
        clear(run, node->in[i]->grad, 0.0f);
    return buf;
}

void mgi_grad_give(mgi_run *run, mgi_node *node, int i, mgi_tensor *grad)
{
    mgi_var *var = node->in[i];
    if (!grad || !var || run->status != MGEN_OK)
        return;
    if (!var->grad) {
        var->grad = mgi_tensor_retain(grad);
        return;
    }
    mgk_pointwise_args a = {.x = mgi_buf(grad),
                            .y = mgi_buf(var->grad),
                            .count = grad->count,
                            .alpha = 1.0f,
                            .beta = 1.0f};
    mgi_run_launch(run, MGK_OP_axpby, &a);
}

mgi_tensor *mgi_grad_take(mgi_run *run, mgi_node *node)
{
    mgi_tensor *grad = node->out->grad;
    if (run->status != MGEN_OK)
        return NULL;
    if (grad->refs == 1 && grad->storage->refs == 1 && !node->out->leaf)
        return mgi_scope_add(run, mgi_tensor_retain(grad));
    mgi_tensor *copy = mgi_new(run, grad->dtype, 1, &grad->count);
    if (!copy)
        return NULL;
    mgk_pointwise_args a = {
        .x = mgi_buf(grad), .y = mgi_buf(copy), .count = grad->count, .alpha = 1.0f};
    mgi_run_launch(run, MGK_OP_axpby, &a);
    return copy;
}

/* Nodes from the last down to number `base`. */
static void walk(mgi_run *run, int64_t base)
{
    while (run->node_count > base) {
        mgi_node *node = run->nodes[--run->node_count];
        if (run->status == MGEN_OK && (!node->out || node->out->grad)) {
            int64_t mark = mgi_scope_push(run);
            int kind = mgi_device_kind(run->dev, MGI_MEM_FLOW);
            node->backward(run, node);
            mgi_device_kind(run->dev, kind);
            mgi_scope_pop(run, mark, NULL);
        }
        node_free(run, node);
    }
}

mgen_status mgi_backward(mgi_run *run, mgi_tensor *loss)
{
    if (run->status != MGEN_OK)
        return run->status;
    if (!mgi_require(run, loss && loss->count == 1 && loss->var,
                     "backward needs a loss of one element that depends on a parameter"))
        return run->status;
    if (!loss->var->grad && !grad_create(run, loss->var))
        return run->status;
    clear(run, loss->var->grad, 1.0f);
    walk(run, 0);
    return run->status;
}

/* -- units ------------------------------------------------------------------------------------ */

typedef struct unit_args {
    void *module;
    int64_t unit;
} unit_args;

static void call_hook(mgi_run *run, const unit_args *a, int moment)
{
    if (run->hook && run->status == MGEN_OK)
        run->hook->call(run, run->hook->user, a->module, a->unit, moment);
}

static void enter_backward(mgi_run *run, mgi_node *node)
{
    call_hook(run, (const void *)node->args.bytes, MGI_ENTER_BACKWARD);
}

static void exit_backward(mgi_run *run, mgi_node *node)
{
    const unit_args *a = (const void *)node->args.bytes;
    call_hook(run, a, MGI_EXIT_BACKWARD);
    if (run->left && run->status == MGEN_OK)
        run->left->call(run, run->left->user, a->module, a->unit, MGI_EXIT_BACKWARD);
}

void mgi_unit_enter(mgi_run *run, void *module, int64_t unit)
{
    unit_args a = {module, unit};
    call_hook(run, &a, MGI_ENTER_FORWARD);
    if ((run->hook || run->left) && run->record && run->status == MGEN_OK)
        push(run, exit_backward, NULL, NULL, 0, NULL, 0, &a, sizeof a);
}

void mgi_unit_exit(mgi_run *run, void *module, int64_t unit)
{
    unit_args a = {module, unit};
    call_hook(run, &a, MGI_EXIT_FORWARD);
    if (run->hook && run->record && run->status == MGEN_OK)
        push(run, enter_backward, NULL, NULL, 0, NULL, 0, &a, sizeof a);
}

/* -- checkpointed blocks ---------------------------------------------------------------------- */

void mgi_keep_result(mgi_run *run, unsigned tag, mgi_tensor *t)
{
    mgi_keep *k = run->keep;
    if (!k || k->replay || !(k->save & tag) || !t || run->status != MGEN_OK ||
        !grow(run, &k->list, k->count, &k->capacity))
        return;
    k->list[k->count++] = mgi_tensor_retain(t);
}

mgi_tensor *mgi_kept_result(mgi_run *run, unsigned tag)
{
    mgi_keep *k = run->keep;
    mgi_tensor *view = NULL;
    if (!k || !k->replay || !(k->save & tag) || run->status != MGEN_OK ||
        !mgi_require(run, k->next < k->count,
                     "a checkpointed block ran differently the second time"))
        return NULL;
    mgi_tensor *t = k->list[k->next++];
    if (!mgi_ok(run, mgi_tensor_view(t, t->rank, t->dims, &view)))
        return NULL;
    return mgi_scope_add(run, view);
}

/* Another view of x, with a variable of its own or none. */
static mgi_tensor *cut(mgi_run *run, mgi_tensor *x, bool variable)
{
    mgi_tensor *view = NULL;
    if (run->status != MGEN_OK || !x || !mgi_ok(run, mgi_tensor_view(x, x->rank, x->dims, &view)))
        return NULL;
    mgi_var_release(run->dev, view->var);
    view->var = NULL;
    if (!mgi_scope_add(run, view))
        return NULL;
    if (variable)
        mgi_ok(run, mgi_var_create(run->dev, x->dtype, x->count, false, &view->var));
    return run->status == MGEN_OK ? view : NULL;
}

mgi_tensor *mgi_cut(mgi_run *run, mgi_tensor *x)
{
    return cut(run, x, true);
}

typedef struct checkpoint_args {
    mgi_block_fn *fn;
    int count;
    union {
        uint8_t bytes[MGI_NODE_ARGS - 2 * sizeof(void *)];
        int64_t align;
    } user;
} checkpoint_args;

static void checkpoint_backward(mgi_run *run, mgi_node *node)
{
    const checkpoint_args *a = (const void *)node->args.bytes;
    mgi_tensor *in[MGI_NODE_INPUTS] = {0};
    mgi_keep *outer = run->keep;
    int64_t base = run->node_count;
    for (int i = 0; i < a->count; i++) {
        if (!node->saved[i])
            continue;
        /* A variable of its own: its gradient is the block's, whatever else uses the input. */
        in[i] = cut(run, node->saved[i], node->in[i] != NULL);
        if (!in[i])
            return;
    }
    node->keep->replay = true;
    node->keep->next = 0;
    run->keep = node->keep;
    int kind = mgi_device_kind(run->dev, MGI_MEM_ACTIVATION);
    mgi_tensor *y = run->status == MGEN_OK ? a->fn(run, a->user.bytes, in) : NULL;
    mgi_device_kind(run->dev, kind);
    run->keep = outer;
    if (y && y->var)
        y->var->grad = mgi_tensor_retain(node->out->grad);
    walk(run, base);
    for (int i = 0; i < a->count; i++)
        if (in[i] && in[i]->var)
            mgi_grad_give(run, node, i, in[i]->var->grad);
}

mgi_tensor *mgi_checkpoint(mgi_run *run, mgi_block_fn *fn, const void *user, size_t user_size,
                           mgi_tensor *const *in, int count, unsigned save)
{
    checkpoint_args a = {.fn = fn, .count = count};
    mgi_keep *keep, *outer = run->keep;
    if (run->status != MGEN_OK)
        return NULL;
    if (!run->record)
        return fn(run, user, in);
    if (!mgi_require(run, user_size <= sizeof a.user.bytes && count <= MGI_NODE_INPUTS,
                     "a checkpointed block has too many inputs or too large arguments") ||
        !mgi_ok(run, mgi_alloc_zero(run->ctx, 1, sizeof *keep, &keep)))
        return NULL;
    if (user_size)
        memcpy(a.user.bytes, user, user_size);
    keep->save = save;
    int64_t mark = mgi_scope_push(run);
    run->record = false;
    run->keep = keep;
    mgi_tensor *y = fn(run, a.user.bytes, in);
    run->keep = outer;
    run->record = true;
    mgi_scope_pop(run, mark, y);
    /* Parameters inside want gradients even where no input does. */
    mgi_node *node = run->status == MGEN_OK && y
                         ? push(run, checkpoint_backward, y, in, count, in, count, &a, sizeof a)
                         : NULL;
    if (!node) {
        keep_free(run, keep);
        return NULL;
    }
    node->keep = keep;
    return y;
}
