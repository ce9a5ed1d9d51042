/* SPDX-License-Identifier: MIT
 * Fronts and gradient rules of losses and of the autoencoder's posterior. */
#include "tensor/ops.h"

#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/loss/loss.h"
#include "kernels/loss/opl.h"
#include "kernels/posterior/posterior.h"

#include <string.h>

static T *result(mgi_run *run, T *y)
{
    return run->status == MGEN_OK ? y : NULL;
}

static void loss_backward(mgi_run *run, mgi_node *node)
{
    mgk_loss_args a = *(const mgk_loss_args *)(const void *)node->args.bytes;
    a.upstream = mgi_grad_in(node);
    a.dx = mgi_grad_out(run, node, 0, &a.accumulate);
    if (a.dx.p)
        mgi_run_launch(run, MGK_OP_loss_grad, &a);
}

T *mgi_loss(mgi_run *run, int32_t kind, float weight, T *x, T *target)
{
    bool hinge = kind >= MGK_LOSS_HINGE_REAL;
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && !target == hinge, "loss: an input is missing or too much") ||
        !mgi_require(run, hinge || x->count == target->count, "loss: the inputs differ in size"))
        return NULL;
    T *y = mgi_new(run, MGK_F32, MGI_DIMS(1));
    if (!y)
        return NULL;
    mgi_fill(run, y, 0.0f);
    mgk_loss_args a = {.x = mgi_buf(x),
                       .target = mgi_buf(target),
                       .out = mgi_buf(y),
                       .count = x->count,
                       .kind = kind,
                       .weight = weight};
    mgi_run_launch(run, MGK_OP_loss, &a);
    mgi_record(run, loss_backward, y, &x, 1, (T *[]){x, target}, 2, &a, sizeof a);
    return result(run, y);
}

T *mgi_loss_balance(mgi_run *run, float weight, float most, T *a, T *b)
{
    if (run->status != MGEN_OK || !mgi_require(run, a && b && a->count == 1 && b->count == 1,
                                               "loss_balance: an input is missing or no scalar"))
        return NULL;
    T *y = mgi_new(run, MGK_F32, MGI_DIMS(1));
    if (!y)
        return NULL;
    const mgk_loss_args args = {
        .x = mgi_buf(a), .target = mgi_buf(b), .out = mgi_buf(y), .weight = weight, .most = most};
    mgi_run_launch(run, MGK_OP_loss_balance, &args);
    return result(run, y);
}

static void loss_known_backward(mgi_run *run, mgi_node *node)
{
    mgi_grad_give(run, node, 0, node->saved[0]);
}

T *mgi_loss_known(mgi_run *run, T *y, T *value, T *grad)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, y && value && grad && value->count == 1 && grad->count == y->count,
                     "loss_known: an input is missing or has another size"))
        return NULL;
    T *loss = mgi_new(run, MGK_F32, MGI_DIMS(1));
    if (!loss)
        return NULL;
    mgi_copy(run, loss, 0, value, 0, 1);
    mgi_record(run, loss_known_backward, loss, &y, 1, &grad, 1, NULL, 0);
    return result(run, loss);
}

static void cross_entropy_backward(mgi_run *run, mgi_node *node)
{
    mgk_cross_entropy_args a = *(const mgk_cross_entropy_args *)(const void *)node->args.bytes;
    a.upstream = mgi_grad_in(node);
    a.dx = mgi_grad_out(run, node, 0, &a.accumulate);
    if (a.dx.p)
        mgi_run_launch(run, MGK_OP_cross_entropy_grad, &a);
}

T *mgi_cross_entropy(mgi_run *run, float weight, T *logits, T *target)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, logits && target, "cross_entropy: an input is missing") ||
        !mgi_require(run, logits->rank >= 1 && target->dtype == MGK_I32,
                     "cross_entropy: logits are not (...,classes) or the targets not i32"))
        return NULL;
    int64_t classes = logits->dims[logits->rank - 1];
    if (!mgi_require(run, target->count * classes == logits->count,
                     "cross_entropy: not one target for each row of logits"))
        return NULL;
    T *y = mgi_new(run, MGK_F32, MGI_DIMS(1)), *share = mgi_new(run, MGK_F32, MGI_DIMS(1)),
      *lse = mgi_new(run, MGK_F32, MGI_DIMS(target->count));
    if (run->status != MGEN_OK)
        return NULL;
    mgk_cross_entropy_args a = {.x = mgi_buf(logits),
                                .target = mgi_buf(target),
                                .lse = mgi_buf(lse),
                                .share = mgi_buf(share),
                                .out = mgi_buf(y),
                                .rows = target->count,
                                .classes = classes,
                                .weight = weight};
    mgi_run_launch(run, MGK_OP_cross_entropy, &a);
    mgi_record(run, cross_entropy_backward, y, &logits, 1, (T *[]){logits, target, lse, share}, 4,
               &a, sizeof a);
    return result(run, y);
}

static void opl_backward(mgi_run *run, mgi_node *node)
{
    mgk_opl_args a = *(const mgk_opl_args *)(const void *)node->args.bytes;
    a.upstream = mgi_grad_in(node);
    a.dx = mgi_grad_out(run, node, 0, &a.accumulate);
    if (a.dx.p)
        mgi_run_launch(run, MGK_OP_opl_grad, &a);
}

T *mgi_opl(mgi_run *run, float r, float weight, T *z)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, z && z->rank >= 3, "opl: z is not (frames,...,C)"))
        return NULL;
    T *y = mgi_new(run, MGK_F32, MGI_DIMS(1));
    if (!y)
        return NULL;
    mgi_fill(run, y, 0.0f);
    int64_t frames = z->dims[0], c = z->dims[z->rank - 1];
    mgk_opl_args a = {.x = mgi_buf(z),
                      .out = mgi_buf(y),
                      .frames = frames,
                      .positions = frames && c ? z->count / frames / c : 0,
                      .c = c,
                      .r = r,
                      .weight = weight};
    mgi_run_launch(run, MGK_OP_opl, &a);
    mgi_record(run, opl_backward, y, &z, 1, &z, 1, &a, sizeof a);
    return result(run, y);
}

/* Two outputs, z and kl: z's node carries the rule and reads kl's gradient, which is complete by
 * then, because kl is made at the same time and used later. saved[2] is kl (for its var). */
static void posterior_backward(mgi_run *run, mgi_node *node)
{
    mgk_posterior_args a = *(const mgk_posterior_args *)(const void *)node->args.bytes;
    int32_t accumulate;
    a.dz = mgi_grad_in(node);
    if (node->saved[2] && node->saved[2]->var)
        a.kl_upstream = mgi_buf(node->saved[2]->var->grad);
    a.dh = mgi_grad_out(run, node, 0, &accumulate);
    if (mgi_require(run, !accumulate, "posterior: its input has one use") && a.dh.p)
        mgi_run_launch(run, MGK_OP_posterior_grad, &a);
}

T *mgi_posterior(mgi_run *run, T *h, T *noise, float weight, T **kl)
{
    int64_t dims[MGI_RANK_MAX];
    if (kl)
        *kl = NULL;
    if (run->status != MGEN_OK ||
        !mgi_require(run, h && h->dims[h->rank - 1] % 2 == 0, "posterior: h is not (...,2C)"))
        return NULL;
    memcpy(dims, h->dims, sizeof dims);
    int64_t dim = dims[h->rank - 1] /= 2;
    T *z = mgi_new(run, h->dtype, h->rank, dims),
      *k = kl ? mgi_new(run, MGK_F32, MGI_DIMS(1)) : NULL;
    if (run->status != MGEN_OK || !mgi_require(run, !noise || noise->count == z->count,
                                               "posterior: the noise has another size"))
        return NULL;
    if (k)
        mgi_fill(run, k, 0.0f);
    mgk_posterior_args a = {.h = mgi_buf(h),
                            .noise = mgi_buf(noise),
                            .z = mgi_buf(z),
                            .kl = mgi_buf(k),
                            .rows = dim ? z->count / dim : 0,
                            .dim = dim,
                            .weight = weight};
    mgi_run_launch(run, MGK_OP_posterior, &a);
    if (run->status == MGEN_OK && run->record && h->var && k)
        mgi_ok(run, mgi_var_create(run->dev, MGK_F32, 1, false, &k->var));
    mgi_record(run, posterior_backward, z, &h, 1, (T *[]){h, noise, k}, 3, &a, sizeof a);
    if (kl)
        *kl = result(run, k);
    return result(run, z);
}
