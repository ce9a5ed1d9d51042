/* SPDX-License-Identifier: MIT
 * The fields of the argument structs, and which ops of a folder do not read which. */
#include "fields.h"

#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/embedding/embedding.h"
#include "kernels/flow/flow.h"
#include "kernels/fp8/matmul_fp8.h"
#include "kernels/fp8/quantize_fp8.h"
#include "kernels/glu/glu.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/layout/layout.h"
#include "kernels/layout/pad.h"
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

#include <stdio.h>
#include <string.h>

#define F(name, kind) {#name, (int)offsetof(ARGS, name), FIELD_##kind},

#define ARGS mgk_matmul_args
static const field matmul_fields[] = {
    F(a, BUF) F(b, BUF) F(c, BUF) F(bias, BUF) F(m, EXTENT) F(n, EXTENT) F(k, EXTENT)
        F(batch, EXTENT) F(lda, STRIDE) F(ldb, STRIDE) F(ldc, STRIDE) F(stride_a, STRIDE)
            F(stride_b, STRIDE) F(stride_c, STRIDE) F(trans_a, FLAG) F(trans_b, FLAG)
                F(accumulate, FLAG) F(act, ENUM) F(alpha, FLOAT) F(residual, BUF) F(gate, BUF)
                    F(before, BUF) F(rows_per_sample, DIVISOR) F(gate_stride, STRIDE)
                        F(kept, POINTER)};
#undef ARGS
#define ARGS mgk_matmul_fp8_args
static const field matmul_fp8_fields[] = {
    F(a, BUF) F(a_scale, BUF) F(b, BUF) F(b_scale, BUF) F(c, BUF) F(bias, BUF) F(m, EXTENT)
        F(n, EXTENT) F(k, EXTENT) F(lda, STRIDE) F(ldb, STRIDE) F(ldc, STRIDE) F(act, ENUM)
            F(residual, BUF) F(gate, BUF) F(before, BUF) F(rows_per_sample, DIVISOR)
                F(gate_stride, STRIDE)};
#undef ARGS
#define ARGS mgk_quantize_fp8_args
static const field quantize_fp8_fields[] = {F(x, BUF) F(codes, BUF) F(scale, BUF) F(rows, EXTENT)
                                                F(cols, EXTENT) F(ldx, STRIDE) F(ldc, STRIDE)};
#undef ARGS
#define ARGS mgk_conv2d_args
static const field conv2d_fields[] = {
    F(x, BUF) F(weight, BUF) F(bias, BUF) F(y, BUF) F(n, EXTENT) F(h, EXTENT) F(w, EXTENT)
        F(cin, EXTENT) F(ho, EXTENT) F(wo, EXTENT) F(cout, EXTENT) F(kh, EXTENT) F(kw, EXTENT)
            F(stride_h, DIVISOR) F(stride_w, DIVISOR) F(pad_top, DIVISOR) F(pad_bottom, DIVISOR)
                F(pad_left, DIVISOR) F(pad_right, DIVISOR) F(pad_mode, ENUM) F(accumulate, FLAG)
                    F(y_pixel, STRIDE) F(y_row, STRIDE)};
#undef ARGS
#define ARGS mgk_attention_args
static const field attention_fields[] = {
    F(q, BUF) F(k, BUF) F(v, BUF) F(o, BUF) F(lse, BUF) F(mask, BUF) F(bias, BUF) F(d_o, BUF)
        F(dq, BUF) F(dk, BUF) F(dv, BUF) F(d_bias, BUF) F(batch, EXTENT) F(heads, EXTENT)
            F(head_dim, EXTENT) F(sq, EXTENT) F(sk, EXTENT) F(q_row, STRIDE) F(q_batch, STRIDE)
                F(k_row, STRIDE) F(k_batch, STRIDE) F(v_row, STRIDE) F(v_batch, STRIDE)
                    F(o_row, STRIDE) F(o_batch, STRIDE) F(scale, FLOAT) F(kv_heads, DIVISOR)
                        F(q_offset, EXTENT) F(k_offset, EXTENT) F(bias_span, DIVISOR)
                            F(block_start, BUF) F(block_index, BUF) F(block_q, DIVISOR)
                                F(block_k, DIVISOR) F(block_count, DIVISOR)};
#undef ARGS
#define ARGS mgk_norm_args
static const field norm_fields[] = {
    F(x, BUF) F(y, BUF) F(weight, BUF) F(bias, BUF) F(scale, BUF) F(shift, BUF) F(rstd, BUF)
        F(mean, BUF) F(dy, BUF) F(dx, BUF) F(d_weight, BUF) F(d_bias, BUF) F(d_scale, BUF)
            F(d_shift, BUF) F(rows, EXTENT) F(dim, EXTENT) F(rows_per_sample, DIVISOR)
                F(mod_stride, STRIDE) F(d_mod_stride, STRIDE) F(kind, ENUM) F(accumulate_dx, FLAG)
                    F(eps, FLOAT) F(h, BUF) F(gate, BUF) F(r, BUF) F(dr, BUF) F(dh, BUF)
                        F(d_gate, BUF) F(gate_stride, STRIDE) F(d_gate_stride, STRIDE)
                            F(row_offset, EXTENT)};
#undef ARGS
#define ARGS mgk_group_norm_args
static const field group_norm_fields[] = {
    F(x, BUF) F(y, BUF) F(mean, BUF) F(var, BUF) F(weight, BUF) F(bias, BUF) F(dy, BUF) F(dx, BUF)
        F(sums, BUF) F(d_weight, BUF) F(d_bias, BUF) F(n, EXTENT) F(rows, EXTENT) F(c, EXTENT)
            F(groups, EXTENT) F(count, EXTENT) F(silu, FLAG) F(accumulate, FLAG) F(eps, FLOAT)};
#undef ARGS
#define ARGS mgk_glu_args
static const field glu_fields[] = {F(x, BUF) F(y, BUF) F(dy, BUF) F(dx, BUF) F(rows, EXTENT)
                                       F(dim, EXTENT) F(kind, ENUM)};
#undef ARGS
#define ARGS mgk_snake_args
static const field snake_fields[] = {F(x, BUF) F(y, BUF) F(alpha, BUF) F(dy, BUF) F(dx, BUF) F(
    d_alpha, BUF) F(rows, EXTENT) F(dim, EXTENT) F(accumulate, FLAG)};
#undef ARGS
#define ARGS mgk_pointwise_args
static const field pointwise_fields[] = {
    F(x, BUF) F(y, BUF) F(h, BUF) F(gate, BUF) F(scale, BUF) F(shift, BUF) F(table, BUF) F(dy, BUF)
        F(dx, BUF) F(dh, BUF) F(d_gate, BUF) F(count, EXTENT) F(rows, EXTENT) F(dim, EXTENT)
            F(rows_per_sample, DIVISOR) F(gate_stride, STRIDE) F(d_gate_stride, STRIDE)
                F(period, EXTENT) F(kind, ENUM) F(accumulate, FLAG) F(alpha, FLOAT) F(beta, FLOAT)
                    F(row_offset, EXTENT)};
#undef ARGS
#define ARGS mgk_reduce_args
static const field reduce_fields[] = {F(x, BUF) F(y, BUF) F(dy, BUF) F(dx, BUF) F(rows, EXTENT)
                                          F(dim, EXTENT) F(kind, ENUM) F(accumulate, FLAG)};
#undef ARGS
#define ARGS mgk_embedding_args
static const field embedding_fields[] = {
    F(ids, BUF) F(table, BUF) F(y, BUF) F(time, BUF) F(rows, EXTENT) F(dim, EXTENT) F(vocab, EXTENT)
        F(heads, EXTENT) F(sq, EXTENT) F(sk, EXTENT) F(max_distance, DIVISOR)};
#undef ARGS
#define ARGS mgk_position_args
static const field position_fields[] = {
    F(x, BUF) F(y, BUF) F(frame, BUF) F(row, BUF) F(column, BUF) F(dy, BUF) F(d_frame, BUF)
        F(d_row, BUF) F(d_column, BUF) F(batch, EXTENT) F(tokens, EXTENT) F(dim, EXTENT)
            F(grid_t, DIVISOR) F(grid_h, DIVISOR) F(grid_w, DIVISOR) F(token_offset, EXTENT)};
#undef ARGS
#define ARGS mgk_layout_args
static const field layout_fields[] = {
    F(x, BUF) F(y, BUF) F(b, EXTENT) F(t, EXTENT) F(h, EXTENT) F(w, EXTENT) F(c, EXTENT)
        F(pt, EXTENT) F(ph, EXTENT) F(pw, EXTENT) F(rows, EXTENT) F(dim, EXTENT) F(x_stride, STRIDE)
            F(y_stride, STRIDE) F(inverse, FLAG) F(accumulate, FLAG)};
#undef ARGS
#define ARGS mgk_resize_args
static const field resize_fields[] = {F(x, BUF) F(y, BUF) F(n, EXTENT) F(h, EXTENT) F(w, EXTENT) F(
    c, EXTENT) F(fh, EXTENT) F(fw, EXTENT) F(accumulate, FLAG) F(oh, EXTENT) F(ow, EXTENT)};
#undef ARGS
#define ARGS mgk_flow_args
static const field flow_fields[] = {F(x0, BUF) F(x1, BUF) F(xt, BUF) F(v, BUF) F(time, BUF)
                                        F(cond, BUF) F(uncond, BUF) F(guidance, BUF) F(dt, BUF)
                                            F(batch, EXTENT) F(dim, EXTENT) F(sigma, FLOAT)};
#undef ARGS
#define ARGS mgk_loss_args
static const field loss_fields[] = {F(x, BUF) F(target, BUF) F(out, BUF) F(upstream, BUF) F(
    dx, BUF) F(count, EXTENT) F(kind, ENUM) F(accumulate, FLAG) F(weight, FLOAT)};
#undef ARGS
#define ARGS mgk_pad_args
static const field pad_fields[] = {
    F(x, BUF) F(y, BUF) F(n, EXTENT) F(t, EXTENT) F(h, EXTENT) F(w, EXTENT) F(c, EXTENT)
        F(before[0], EXTENT) F(before[1], EXTENT) F(before[2], EXTENT) F(after[0], EXTENT)
            F(after[1], EXTENT) F(after[2], EXTENT) F(mode, ENUM) F(accumulate, FLAG)};
#undef ARGS
#define ARGS mgk_permute_args
static const field permute_fields[] = {
    F(x, BUF) F(y, BUF) F(extent[0], EXTENT) F(extent[1], EXTENT) F(extent[2], EXTENT)
        F(extent[3], EXTENT) F(extent[4], EXTENT) F(extent[5], EXTENT) F(axis[0], ENUM)
            F(axis[1], ENUM) F(axis[2], ENUM) F(axis[3], ENUM) F(axis[4], ENUM) F(axis[5], ENUM)
                F(rank, ENUM) F(accumulate, FLAG)};
#undef ARGS
#define ARGS mgk_opl_args
static const field opl_fields[] = {
    F(x, BUF) F(out, BUF) F(upstream, BUF) F(dx, BUF) F(frames, EXTENT) F(positions, EXTENT)
        F(c, EXTENT) F(r, FLOAT) F(weight, FLOAT) F(accumulate, FLAG) F(through, FLAG)};
#undef ARGS
#define ARGS mgk_cross_entropy_args
static const field cross_entropy_fields[] = {
    F(x, BUF) F(target, BUF) F(lse, BUF) F(share, BUF) F(out, BUF) F(upstream, BUF) F(dx, BUF)
        F(rows, EXTENT) F(classes, EXTENT) F(accumulate, FLAG) F(weight, FLOAT)};
#undef ARGS
#define ARGS mgk_posterior_args
static const field posterior_fields[] = {F(h, BUF) F(noise, BUF) F(z, BUF) F(kl, BUF) F(dz, BUF) F(
    dh, BUF) F(kl_upstream, BUF) F(rows, EXTENT) F(dim, EXTENT) F(weight, FLOAT)};
#undef ARGS
#define ARGS mgk_optimizer_args
static const field optimizer_fields[] = {F(items, POINTER) F(item_count, LENGTH) F(control, BUF) F(
    beta1, FLOAT) F(beta2, FLOAT) F(eps, FLOAT) F(decay, FLOAT) F(clip, FLOAT) F(skip_factor, FLOAT)
                                             F(ema_decay, FLOAT) F(fuse_ema, FLAG)};
#undef ARGS
#define ARGS mgk_random_args
static const field random_fields[] = {F(y, BUF) F(offset, BUF) F(count, EXTENT) F(seed, WORD) F(
    stream, WORD) F(base, WORD) F(kind, ENUM) F(alpha, FLOAT) F(beta, FLOAT)};
#undef ARGS

/* One struct a folder; ops with another one are named. */
static const field_list lists[] = {
#define LIST(name, ops)                                                                            \
    {                                                                                              \
        ops, (int)sizeof(mgk_##name##_args), (int)(sizeof name##_fields / sizeof(field)),          \
            name##_fields                                                                          \
    }
    LIST(matmul, "matmul"),
    LIST(matmul_fp8, "matmul_fp8"),
    LIST(quantize_fp8, "quantize_fp8"),
    LIST(conv2d, "conv2d"),
    LIST(attention, "attention"),
    LIST(norm, "norm"),
    LIST(group_norm, "group_norm"),
    LIST(glu, "glu"),
    LIST(snake, "snake"),
    LIST(pointwise, "pointwise"),
    LIST(embedding, "embedding"),
    LIST(position, "position"),
    LIST(layout, "layout"),
    LIST(reduce, "reduce"),
    LIST(resize, "resize"),
    LIST(flow, "flow"),
    LIST(loss, "loss"),
    LIST(cross_entropy, "cross_entropy"),
    LIST(posterior, "posterior"),
    LIST(optimizer, "optimizer"),
    LIST(random, "random"),
    LIST(opl, "opl"),
    LIST(pad, "pad"),
    LIST(permute, "permute"),
    LIST(pad, "pad_grad"),
    LIST(opl, "opl_grad"),
#undef LIST
};
enum { LISTS = sizeof lists / sizeof lists[0] };

/* Fields that cases set for ops which do not read them, or whose values are all legal. */
static const struct {
    const char *op, *fields;
} unread[] = {
    {"timestep_embed", " vocab "},
    {"add", " rows dim rows_per_sample gate_stride d_gate_stride period row_offset "},
    {"gated_residual", " count d_gate_stride period "},
    {"gated_residual_grad", " count period "},
    {"channel_affine", " count rows_per_sample gate_stride d_gate_stride period row_offset "},
    {"add_rows", " count rows_per_sample gate_stride d_gate_stride "},
    {"reduce_rows", " count rows_per_sample gate_stride d_gate_stride "},
    {"norm", " gate_stride d_gate_stride d_mod_stride "},
    {"norm_grad", " gate_stride d_gate_stride "},
    {"residual_norm", " d_gate_stride d_mod_stride "},
    {"group_norm_grad_apply", " count "}, /* only divided by */
};

const field_list *fields_of(int op)
{
    const field_list *found = NULL;
    for (int i = 0; i < LISTS; i++) {
        if (!strcmp(lists[i].ops, mgk_ops[op].name))
            return &lists[i];
        if (!strcmp(lists[i].ops, mgk_ops[op].folder))
            found = &lists[i];
    }
    return found;
}

bool field_unread(int op, const field *f)
{
    char word[64];
    snprintf(word, sizeof word, " %s ", f->name);
    for (size_t i = 0; i < sizeof unread / sizeof unread[0]; i++)
        if (!strcmp(unread[i].op, mgk_ops[op].name) && strstr(unread[i].fields, word))
            return true;
    return false;
}

/* A check that reads an array of the host relies on what says how long it is. */
bool field_sizes_array(int op, const void *args, const field *f)
{
    const mgk_attention_args *a = args;
    static const char *const names[] = {"sq", "sk", "block_q", "block_k", "block_count"};
    if (op != MGK_OP_attention && op != MGK_OP_attention_grad)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && a->block_start.p; i++)
        if (!strcmp(f->name, names[i]))
            return true;
    return false;
}

/* Where 1 is too small for a size. */
int64_t field_smallest(int op, const field *f)
{
    if (op == MGK_OP_timestep_embed && !strcmp(f->name, "dim"))
        return 2;
    bool buckets = op == MGK_OP_relative_bias || op == MGK_OP_relative_bias_grad;
    return buckets && !strcmp(f->name, "vocab") ? 32 : 1;
}

static int field_bytes(field_kind kind)
{
    switch (kind) {
    case FIELD_BUF:
        return (int)sizeof(mgk_buf);
    case FIELD_ENUM:
    case FIELD_FLAG:
    case FIELD_FLOAT:
        return 4;
    default:
        return 8;
    }
}

bool fields_complete(void)
{
    bool good = true;
    for (int op = 0; op < MGK_OP_COUNT; op++)
        if (!fields_of(op)) {
            printf("# tests/kernels/fields.c does not list the arguments of %s\n",
                   mgk_ops[op].name);
            good = false;
        }
    for (int i = 0; i < LISTS; i++) {
        const field_list *l = &lists[i];
        int end = 0;
        for (int j = 0; j <= l->count; j++) {
            int next = j < l->count ? l->fields[j].offset : l->bytes;
            if (next - end >= 8 || next < end) {
                printf("# tests/kernels/fields.c: %s: bytes %d to %d are not listed in order\n",
                       l->ops, end, next);
                good = false;
            }
            if (j < l->count)
                end = next + field_bytes(l->fields[j].kind);
        }
    }
    return good;
}

int64_t field_get(const void *args, const field *f)
{
    int64_t wide;
    int32_t narrow;
    if (field_bytes(f->kind) == 4) {
        memcpy(&narrow, (const char *)args + f->offset, sizeof narrow);
        return narrow;
    }
    memcpy(&wide, (const char *)args + f->offset, sizeof wide);
    return wide;
}

void field_set(void *args, const field *f, int64_t value)
{
    int32_t narrow = (int32_t)value;
    if (field_bytes(f->kind) == 4)
        memcpy((char *)args + f->offset, &narrow, sizeof narrow);
    else
        memcpy((char *)args + f->offset, &value, sizeof value);
}
