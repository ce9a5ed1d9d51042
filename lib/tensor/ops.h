/* SPDX-License-Identifier: MIT
 * The typed front of each op: shapes in, a new tensor out, gradients recorded. Tier 2.
 *
 * Every function returns a tensor of the run's innermost scope, or NULL after a failure (run->status
 * says which). NULL tensors are accepted where a comment says "or NULL", and wherever the run has
 * already failed. Definitions of the mathematics stand in the kernels' headers.
 */
#ifndef MGI_TENSOR_OPS_H
#define MGI_TENSOR_OPS_H

#include "kernels/attention/attention.h"
#include "tensor/run.h"

typedef mgi_tensor T;

/* -- dense ------------------------------------------------------------------------------------ */

/* x (..., K), w (N, K), b (N) or NULL -> (..., N). w of x's dtype, or E4M3 codes with their scales, for which the rows of x
 * are quantised: then nothing is recorded. */
T *mgi_linear(mgi_run *run, T *x, T *w, T *b);
/* The same with a result in another dtype than that of the operands: f32 from bf16. */
T *mgi_linear_as(mgi_run *run, T *x, T *w, T *b, int32_t dtype);

/* For composite nodes, not recorded: residual + mod[:, gate] * (x W^T) in one pass; mod (B,n,N) f32, or NULL
 * for a gate of 1; residual (B,...,N). h, not NULL: x W^T as well. */
T *mgi_linear_gated(mgi_run *run, T *x, T *w, T *residual, T *mod, int64_t gate, T **h);

typedef struct mgi_conv_options {
    int64_t stride_h, stride_w;
    int64_t pad_top, pad_bottom, pad_left, pad_right;
    int32_t pad_mode; /* MGK_PAD_* */
} mgi_conv_options;
/* x (N, H, W, Cin), w (Cout, kh, kw, Cin), b (Cout) or NULL. */
T *mgi_conv2d(mgi_run *run, T *x, T *w, T *b, mgi_conv_options options);
/* The same into `to`, not recorded. */
T *mgi_conv2d_to(mgi_run *run, T *to, T *x, T *w, T *b, mgi_conv_options options);
/* Nearest-neighbour enlargement of (N, H, W, C) by whole factors. */
T *mgi_resize_nearest(mgi_run *run, T *x, int64_t fh, int64_t fw);
/* (N, H, W, C) -> (N, h, w, C), centres of pixels aligned. */
T *mgi_resize_bilinear(mgi_run *run, T *x, int64_t h, int64_t w);

/* qkv (B, S, 3, H, Dh) -> (B, S, H*Dh). mask (B, S) u8 or NULL; bias (H, 2S-1) or NULL. */
T *mgi_self_attention(mgi_run *run, T *qkv, T *mask, T *bias, float scale);
/* q (B, Sq, H, Dh), kv (B, Sk, 2, H, Dh), mask (B, Sk) u8 or NULL -> (B, Sq, H*Dh). */
T *mgi_cross_attention(mgi_run *run, T *q, T *kv, T *mask, float scale);

/* For composite nodes: the arguments of both kinds, the launch with its result (B,Sq,H*Dh) and
 * log-sum-exp (or what a checkpointed block kept of them under `tag`; lse NULL: not wanted), unrecorded; and where the
 * gradients go: to one buffer like qkv, or to those of q and kv. */
mgk_attention_args mgi_self_attention_args(T *qkv, float scale);
mgk_attention_args mgi_cross_attention_args(T *q, T *kv, T *mask, float scale);
T *mgi_attention(mgi_run *run, unsigned tag, mgk_attention_args *a, T **lse);
void mgi_attention_grad_to(mgk_attention_args *a, mgk_buf d_q, mgk_buf d_kv, bool self);

/* -- rows and elements -------------------------------------------------------------------------- */

typedef struct mgi_norm_options {
    int32_t kind; /* MGK_NORM_* */
    float eps;
    T *weight, *bias;     /* (D) or NULL */
    T *mod;               /* (B, n, D): vectors by which samples are modulated, or NULL */
    int64_t scale, shift; /* their indices within n */
} mgi_norm_options;
/* x (B, ..., D). */
T *mgi_norm(mgi_run *run, T *x, mgi_norm_options options);
/* x (N, ..., C), weight, bias (C) or NULL; each sample's C / groups channels are one group. silu: the
 * activation follows at once. */
T *mgi_group_norm(mgi_run *run, T *x, int64_t groups, float eps, T *weight, T *bias, bool silu);
/* Statistics of samples that come in tiles: mean, var (samples, groups), f32. Collect: x (n,...,C), a tile of samples
 * first .. first + n - 1, of which `count` values a group are in the table already. Shared: group norm of such a tile
 * by what the table has; no gradient. */
typedef struct mgi_norm_table {
    T *mean, *var;
} mgi_norm_table;
void mgi_group_norm_collect(mgi_run *run, T *x, const mgi_norm_table *table, int64_t first,
                            int64_t count);
T *mgi_group_norm_shared(mgi_run *run, T *x, const mgi_norm_table *table, int64_t first, float eps,
                         T *weight, T *bias, bool silu);
/* x + mod[:, gate] * h; x, h (B, ..., D), mod (B, n, D). */
T *mgi_gated_residual(mgi_run *run, T *x, T *h, T *mod, int64_t gate);
/* x (..., 2F) -> (..., F). */
T *mgi_glu(mgi_run *run, T *x, int32_t kind);
T *mgi_unary(mgi_run *run, T *x, int32_t kind);
/* x + sin(alpha x)^2 / (alpha + 1e-9); x (..., C), alpha (C) f32. */
T *mgi_snake(mgi_run *run, T *x, T *alpha);
T *mgi_softmax(mgi_run *run, T *x); /* over the last dimension */
T *mgi_add(mgi_run *run, T *a, T *b);
/* x (..., D) + table (P, D) repeated along the rows. */
T *mgi_add_rows(mgi_run *run, T *x, T *table);
/* x (..., C) * scale (C) + shift (C); no gradient for scale and shift. */
T *mgi_channel_affine(mgi_run *run, T *x, T *scale, T *shift);
/* x * alpha + beta in another dtype; no gradient. */
T *mgi_convert(mgi_run *run, T *x, int32_t dtype, float alpha, float beta);
/* x in another dtype, with its gradient; x itself if it has that dtype. */
T *mgi_cast(mgi_run *run, T *x, int32_t dtype);
void mgi_fill(mgi_run *run, T *x, float value); /* in place; no gradient */
/* The same memory in another shape. */
T *mgi_reshape(mgi_run *run, T *x, int rank, const int64_t *dims);
/* x[..., first : first + size] along axis (a copy). */
T *mgi_slice(mgi_run *run, T *x, int axis, int64_t first, int64_t size);
/* Tensors (n_i, ...) of one dtype, alike but for n_i, one behind the other: (n_0 + n_1 + ..., ...). */
T *mgi_concat(mgi_run *run, T *const *parts, int count);
/* `count` elements of x from x_first on into y from y_first on, of one dtype; no gradient. */
void mgi_copy(mgi_run *run, T *y, int64_t y_first, T *x, int64_t x_first, int64_t count);

/* -- embeddings and layout ---------------------------------------------------------------------- */

/* ids (...) i32, table (V, D) -> (..., D). */
T *mgi_embedding(mgi_run *run, T *ids, T *table);
/* t (B) -> (B, dim): cos | sin of 1000 t. No gradient. */
T *mgi_timestep_embed(mgi_run *run, T *t, int64_t dim);
/* table (buckets, H) -> (H, 2S-1), the bias of self-attention over S tokens. */
T *mgi_relative_bias(mgi_run *run, T *table, int64_t tokens, int64_t max_distance);
/* x (B, S, D) + positions of S tokens of a grid, from number `first` on, from tables (frames, D), (rows, D),
 * (columns, D). */
T *mgi_position_add(mgi_run *run, T *x, T *frame, T *row, T *column, const int64_t grid[3],
                    int64_t first);
/* Axis k of the result is axis axis[k] of x. */
T *mgi_permute(mgi_run *run, T *x, const int32_t *axis);
/* (B,T,H,W,C) -> (B, T/pt*H/ph*W/pw, pt*ph*pw*C), and back (`dims`: the five of the video). */
T *mgi_patchify(mgi_run *run, T *x, int64_t pt, int64_t ph, int64_t pw);
T *mgi_unpatchify(mgi_run *run, T *x, const int64_t dims[5], int64_t pt, int64_t ph, int64_t pw);

/* -- training and sampling ---------------------------------------------------------------------- */

/* weight * mean penalty -> (1). target gets no gradient; the hinge kinds have none (NULL). */
T *mgi_loss(mgi_run *run, int32_t kind, float weight, T *x, T *target);
/* weight * the mean over rows of -log softmax(logits)[target] -> (1): logits (..., classes), target (...) i32. Rows whose
 * target is negative, or no class, are not counted; 0 if none is. target gets no gradient. */
T *mgi_cross_entropy(mgi_run *run, float weight, T *logits, T *target);
/* weight * the outlier penalty of latents z (frames, ..., C), r standard deviations from the mean -> (1). */
T *mgi_opl(mgi_run *run, float r, float weight, T *z);
/* (1) weight times the square root of a / b (1), at most `most`; 0 if b is. No gradient. */
T *mgi_loss_balance(mgi_run *run, float weight, float most, T *a, T *b);
/* A loss that was differentiated already: `value` (1), whose gradient with respect to y is `grad`, like y. It counts
 * once in what is differentiated. */
T *mgi_loss_known(mgi_run *run, T *y, T *value, T *grad);
/* h (..., 2C) -> z (..., C); noise like z or NULL; *kl receives weight * mean KL (1) if kl. */
T *mgi_posterior(mgi_run *run, T *h, T *noise, float weight, T **kl);
T *mgi_random(mgi_run *run, int32_t kind, uint64_t seed, uint64_t stream, uint64_t base,
              float alpha, float beta, int rank, const int64_t *dims);
/* x1, x0 (B, ...), t (B): *xt, *v receive the point of the path and its velocity. */
void mgi_flow_path(mgi_run *run, T *x1, T *x0, T *t, float sigma, T **xt, T **v);
/* uncond + guidance[0] * (cond - uncond). */
T *mgi_cfg_combine(mgi_run *run, T *cond, T *uncond, T *guidance);
void mgi_euler_step(mgi_run *run, T *x, T *u, T *dt); /* x += dt[0] * u, in place */

#endif
