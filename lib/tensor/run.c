/* SPDX-License-Identifier: MIT */
#include "tensor/run.h"

#include "core/alloc.h"
#include "kernels/pointwise/pointwise.h"

#include <string.h>

void mgi_run_init(mgi_run *run, mgen_context *ctx, bool record)
{
    memset(run, 0, sizeof *run);
    run->ctx = ctx;
    run->dev = ctx->device;
    run->record = record;
}

static void node_free(mgi_run *run, mgi_node *node)
{
    for (int i = 0; i < MGI_NODE_SAVED; i++)
        mgi_tensor_release(node->saved[i]);
    for (int i = 0; i < MGI_NODE_INPUTS; i++)
        mgi_var_release(run->dev, node->in[i]);
    mgi_var_release(run->dev, node->out);
    mgi_free(run->ctx, node);
}

void mgi_run_finish(mgi_run *run)
{
    while (run->node_count > 0)
        node_free(run, run->nodes[--run->node_count]);
    mgi_scope_pop(run, 0, NULL);
    mgi_free(run->ctx, run->nodes);
    mgi_free(run->ctx, run->scope);
    run->nodes = NULL;
    run->scope = NULL;
    run->scope_capacity = run->node_capacity = 0;
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

mgi_node *mgi_record(mgi_run *run, mgi_backward_fn *rule, mgi_tensor *out,
                     mgi_tensor *const *inputs, int input_count, mgi_tensor *const *saved,
                     int saved_count, const void *args, size_t args_size)
{
    bool wanted = false;
    for (int i = 0; i < input_count; i++)
        wanted = wanted || (inputs[i] && inputs[i]->var);
    if (!run->record || !wanted || run->status != MGEN_OK || !out)
        return NULL;
    mgi_node *node;
    if (!mgi_require(run, args_size <= MGI_NODE_ARGS, "a tape node's arguments are too large") ||
        !grow(run, &run->nodes, run->node_count, &run->node_capacity) ||
        !mgi_ok(run, mgi_alloc_zero(run->ctx, 1, sizeof *node, &node)))
        return NULL;
    if (!out->var && !mgi_ok(run, mgi_var_create(run->dev, out->count, false, &out->var))) {
        mgi_free(run->ctx, node);
        return NULL;
    }
    node->backward = rule;
    node->out = out->var;
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

static void clear(mgi_run *run, mgi_tensor *t, float value)
{
    mgk_pointwise_args a = {.y = mgi_buf(t), .count = t->count, .alpha = value};
    mgi_run_launch(run, MGK_OP_fill, &a);
}

mgk_buf mgi_grad_out(mgi_run *run, mgi_node *node, int i, int32_t *accumulate)
{
    mgi_var *var = node->in[i];
    *accumulate = 0;
    if (!var || run->status != MGEN_OK)
        return (mgk_buf){0, 0};
    if (var->grad)
        *accumulate = 1;
    else if (!mgi_ok(run, mgi_tensor_create(run->dev, MGK_F32, 1, &var->count, &var->grad)))
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

mgen_status mgi_backward(mgi_run *run, mgi_tensor *loss)
{
    if (run->status != MGEN_OK)
        return run->status;
    if (!mgi_require(run, loss && loss->count == 1 && loss->var,
                     "backward needs a loss of one element that depends on a parameter"))
        return run->status;
    if (!loss->var->grad) {
        if (!mgi_ok(run, mgi_tensor_create(run->dev, MGK_F32, 1, (int64_t[]){1}, &loss->var->grad)))
            return run->status;
    }
    clear(run, loss->var->grad, 1.0f);
    while (run->node_count > 0) {
        mgi_node *node = run->nodes[--run->node_count];
        if (run->status == MGEN_OK && node->out->grad) {
            int64_t mark = mgi_scope_push(run);
            node->backward(run, node);
            mgi_scope_pop(run, mark, NULL);
        }
        node_free(run, node);
    }
    return run->status;
}
