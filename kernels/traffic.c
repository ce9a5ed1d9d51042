/* SPDX-License-Identifier: MIT */
#include "kernels/traffic.h"

#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/embedding/embedding.h"
#include "kernels/fp8/matmul_fp8.h"
#include "kernels/fp8/quantize_fp8.h"
#include "kernels/flow/flow.h"
#include "kernels/glu/glu.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/layout/layout.h"
#include "kernels/layout/permute.h"
#include "kernels/loss/loss.h"
#include "kernels/loss/opl.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/position/position.h"
#include "kernels/posterior/posterior.h"
#include "kernels/random/random.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resize/resize.h"
#include "kernels/snake/snake.h"

/* Bytes of `count` values of b; 0 where it is not given. */
static double of(mgk_buf b, double count)
{
    static const double size[] = {
        [MGK_F32] = 4, [MGK_BF16] = 2, [MGK_I32] = 4, [MGK_U8] = 1, [MGK_U64] = 8};
    return b.p ? count * size[b.dtype] : 0.0;
}

static double matmul_traffic(const mgk_matmul_args *a)
{
    double m = (double)a->m, n = (double)a->n, k = (double)a->k, batch = (double)a->batch;
    double c =
        of(a->c, m * n) * (a->accumulate ? 2 : 1) + of(a->residual, m * n) + of(a->before, m * n);
    return batch * c + of(a->bias, n) + of(a->a, m * k) * (a->stride_a ? batch : 1) +
           of(a->b, n * k) * (a->stride_b ? batch : 1);
}

static double matmul_fp8_traffic(const mgk_matmul_fp8_args *a)
{
    double m = (double)a->m, n = (double)a->n, k = (double)a->k;
    return of(a->a, m * k) + of(a->a_scale, m) + of(a->b, n * k) + of(a->b_scale, n) +
           of(a->c, m * n) + of(a->bias, n) + of(a->residual, m * n) + of(a->before, m * n);
}

static double quantize_fp8_traffic(const mgk_quantize_fp8_args *a)
{
    double rows = (double)a->rows, all = rows * (double)a->cols;
    return of(a->x, all) + of(a->codes, all) + of(a->scale, rows);
}

static double attention_traffic(const mgk_attention_args *a)
{
    double heads = (double)(a->batch * a->heads), dim = (double)a->head_dim;
    double q = heads * (double)a->sq * dim;
    double k = (double)(a->batch * (a->kv_heads ? a->kv_heads : a->heads)) * (double)a->sk * dim;
    return of(a->q, q) + of(a->k, k) + of(a->v, k) + of(a->o, q) + of(a->d_o, q) + of(a->dq, q) +
           of(a->dk, k) + of(a->dv, k) + of(a->lse, heads * (double)a->sq);
}

static double norm_traffic(const mgk_norm_args *a)
{
    double rows = (double)a->rows, all = rows * (double)a->dim;
    return of(a->x, all) + of(a->y, all) + of(a->dy, all) +
           of(a->dx, all) * (a->accumulate_dx ? 2 : 1) + of(a->rstd, rows) + of(a->mean, rows);
}

static double glu_traffic(const mgk_glu_args *a)
{
    double all = (double)a->rows * (double)a->dim;
    return of(a->x, 2 * all) + of(a->y, all) + of(a->dy, all) + of(a->dx, 2 * all);
}

static double snake_traffic(const mgk_snake_args *a)
{
    double all = (double)a->rows * (double)a->dim;
    return of(a->x, all) + of(a->y, all) + of(a->dy, all) +
           of(a->dx, all) * (a->accumulate ? 2 : 1);
}

static double pointwise_traffic(int op, const mgk_pointwise_args *a)
{
    double all = a->count ? (double)a->count : (double)a->rows * (double)a->dim;
    bool twice = op == MGK_OP_axpby && a->beta != 0.0f;
    bool dx_twice = op == MGK_OP_unary_grad && a->accumulate;
    return of(a->x, all) + of(a->y, all) * (twice ? 2 : 1) + of(a->h, all) + of(a->dy, all) +
           of(a->dx, all) * (dx_twice ? 2 : 1) + of(a->dh, all) + of(a->scale, (double)a->dim) +
           of(a->shift, (double)a->dim) +
           of(a->table, (double)a->period * (double)a->dim) * (op == MGK_OP_reduce_rows ? 2 : 1);
}

static double conv2d_traffic(int op, const mgk_conv2d_args *a)
{
    double x = (double)a->n * (double)a->h * (double)a->w * (double)a->cin,
           y = (double)a->n * (double)a->ho * (double)a->wo * (double)a->cout,
           weight = (double)a->cout * (double)a->kh * (double)a->kw * (double)a->cin;
    int more = a->accumulate ? 2 : 1;
    return of(a->x, x) * (op == MGK_OP_conv2d_grad_input ? more : 1) +
           of(a->weight, weight) * (op == MGK_OP_conv2d_grad_weight ? more : 1) + of(a->y, y) +
           of(a->bias, (double)a->cout);
}

/* Statistics of groups are few. */
static double group_norm_traffic(const mgk_group_norm_args *a)
{
    double all = (double)a->n * (double)a->rows * (double)a->c;
    return of(a->x, all) + of(a->y, all) + of(a->dy, all) +
           of(a->dx, all) * (a->accumulate ? 2 : 1);
}

static double posterior_traffic(const mgk_posterior_args *a)
{
    double all = (double)a->rows * (double)a->dim;
    return of(a->h, 2 * all) + of(a->noise, all) + of(a->z, all) + of(a->dz, all) +
           of(a->dh, 2 * all);
}

static double resize_traffic(const mgk_resize_args *a, bool nearest)
{
    double plane = (double)a->n * (double)a->c, from = plane * (double)a->h * (double)a->w;
    double to =
        nearest ? from * (double)a->fh * (double)a->fw : plane * (double)a->oh * (double)a->ow;
    return of(a->x, from) * (a->accumulate ? 2 : 1) + of(a->y, to);
}

static double reduce_traffic(const mgk_reduce_args *a, bool to_one)
{
    double rows = (double)a->rows, all = rows * (double)a->dim;
    return of(a->x, all) + of(a->y, to_one ? rows : all) + of(a->dy, all) +
           of(a->dx, all) * (a->accumulate ? 2 : 1);
}

static double patchify_traffic(const mgk_layout_args *a)
{
    double all = (double)a->b * (double)a->t * (double)a->h * (double)a->w * (double)a->c;
    return of(a->x, all) + of(a->y, all);
}

static double copy_traffic(const mgk_layout_args *a)
{
    double all = (double)a->rows * (double)a->dim;
    return of(a->x, all) + of(a->y, all) * (a->accumulate ? 2 : 1);
}

static double permute_traffic(const mgk_permute_args *a)
{
    double all = 1.0;
    for (int i = 0; i < a->rank; i++)
        all *= (double)a->extent[i];
    return of(a->x, all) + of(a->y, all) * (a->accumulate ? 2 : 1);
}

static double embedding_traffic(const mgk_embedding_args *a, bool grad)
{
    double all = (double)a->rows * (double)a->dim, table = (double)a->vocab * (double)a->dim;
    return of(a->ids, (double)a->rows) + of(a->y, all) +
           of(a->table, grad && table < all ? table : all) * (grad ? 2 : 1);
}

static double position_traffic(const mgk_position_args *a)
{
    double all = (double)a->batch * (double)a->tokens * (double)a->dim;
    return of(a->x, all) + of(a->y, all) + of(a->dy, all);
}

static double loss_traffic(const mgk_loss_args *a)
{
    double all = (double)a->count;
    return of(a->x, all) + of(a->target, all) + of(a->dx, all) * (a->accumulate ? 2 : 1);
}

static double opl_traffic(const mgk_opl_args *a)
{
    double all = (double)a->frames * (double)a->positions * (double)a->c;
    return of(a->x, all) + of(a->dx, all) * (a->accumulate ? 2 : 1);
}

static double euler_traffic(const mgk_flow_args *a)
{
    double all = (double)a->batch * (double)a->dim;
    return 2 * of(a->xt, all) + of(a->v, all);
}

/* Logits once: the second pass over a row finds it in a cache. */
static double cross_entropy_traffic(const mgk_cross_entropy_args *a)
{
    double rows = (double)a->rows, all = rows * (double)a->classes;
    return of(a->x, all) + of(a->dx, all) * (a->accumulate ? 2 : 1) + of(a->target, rows) +
           of(a->lse, rows);
}

/* Weight, moments, average and compute copy; or the gradient alone. */
static double optimizer_traffic(const mgk_optimizer_args *a, bool all)
{
    double bytes = 0.0;
    for (int64_t i = 0; i < a->item_count; i++) {
        const mgk_optimizer_item *item = &a->items[i];
        double each = item->grad_dtype == MGK_F32 ? 4 : 2;
        if (all)
            each += 3 * 8 + (a->fuse_ema && item->ema ? 8 : 0) +
                    (item->compute ? (item->compute_f32 ? 4 : 2) : 0);
        bytes += each * (double)item->count;
    }
    return bytes;
}

double mgk_traffic(int op, const void *args)
{
    switch (op) {
    case MGK_OP_matmul:
        return matmul_traffic(args);
    case MGK_OP_matmul_fp8:
        return matmul_fp8_traffic(args);
    case MGK_OP_quantize_fp8:
        return quantize_fp8_traffic(args);
    case MGK_OP_attention:
    case MGK_OP_attention_grad:
        return attention_traffic(args);
    case MGK_OP_norm:
    case MGK_OP_norm_grad:
        return norm_traffic(args);
    case MGK_OP_glu:
    case MGK_OP_glu_grad:
        return glu_traffic(args);
    case MGK_OP_snake:
    case MGK_OP_snake_grad:
        return snake_traffic(args);
    case MGK_OP_unary:
    case MGK_OP_unary_grad:
    case MGK_OP_axpby:
    case MGK_OP_add:
    case MGK_OP_gated_residual:
    case MGK_OP_gated_residual_grad:
    case MGK_OP_channel_affine:
    case MGK_OP_add_rows:
    case MGK_OP_reduce_rows:
    case MGK_OP_convert:
    case MGK_OP_fill:
        return pointwise_traffic(op, args);
    case MGK_OP_patchify:
        return patchify_traffic(args);
    case MGK_OP_copy_rows:
        return copy_traffic(args);
    case MGK_OP_permute:
        return permute_traffic(args);
    case MGK_OP_embedding:
    case MGK_OP_embedding_grad:
        return embedding_traffic(args, op == MGK_OP_embedding_grad);
    case MGK_OP_position_add:
    case MGK_OP_position_add_grad:
        return position_traffic(args);
    case MGK_OP_loss:
    case MGK_OP_loss_grad:
        return loss_traffic(args);
    case MGK_OP_opl:
    case MGK_OP_opl_grad:
        return opl_traffic(args);
    case MGK_OP_euler_step:
        return euler_traffic(args);
    case MGK_OP_cross_entropy:
    case MGK_OP_cross_entropy_grad:
        return cross_entropy_traffic(args);
    case MGK_OP_conv2d:
    case MGK_OP_conv2d_grad_input:
    case MGK_OP_conv2d_grad_weight:
        return conv2d_traffic(op, args);
    case MGK_OP_group_norm_stats:
    case MGK_OP_group_norm_apply:
    case MGK_OP_group_norm_grad_stats:
    case MGK_OP_group_norm_grad_apply:
        return group_norm_traffic(args);
    case MGK_OP_posterior:
    case MGK_OP_posterior_grad:
        return posterior_traffic(args);
    case MGK_OP_resize_nearest:
    case MGK_OP_resize_nearest_grad:
    case MGK_OP_resize_bilinear:
    case MGK_OP_resize_bilinear_grad:
        return resize_traffic(args,
                              op == MGK_OP_resize_nearest || op == MGK_OP_resize_nearest_grad);
    case MGK_OP_softmax:
    case MGK_OP_softmax_grad:
    case MGK_OP_reduce:
        return reduce_traffic(args, op == MGK_OP_reduce);
    case MGK_OP_random:
        return of(((const mgk_random_args *)args)->y,
                  (double)((const mgk_random_args *)args)->count);
    case MGK_OP_grad_norm:
        return optimizer_traffic(args, false);
    case MGK_OP_adamw:
        return optimizer_traffic(args, true);
    case MGK_OP_loss_balance:
    case MGK_OP_relative_bias:
    case MGK_OP_relative_bias_grad:
    case MGK_OP_timestep_embed:
    case MGK_OP_step_control:
        return 0.0; /* a few values */
    default:
        return -1.0;
    }
}
