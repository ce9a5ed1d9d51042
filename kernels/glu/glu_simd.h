/* SPDX-License-Identifier: MIT
 * glu and glu_grad on vectors; included once a variant. Loops are compiled once for each kind and dtype. */
#include "kernels/common/real_simd.h"
#include "kernels/common/simd_math.h"
#include "kernels/glu/glu.h"

#define FOR_KIND(op_kind, type, body, ...)                                                         \
    do {                                                                                           \
        if ((op_kind) == MGK_GLU_SILU)                                                             \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_GLU_SILU);                                     \
        else if ((op_kind) == MGK_GLU_GELU_TANH)                                                   \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_GLU_GELU_TANH);                                \
        else if ((op_kind) == MGK_GLU_GELU_ERF)                                                    \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_GLU_GELU_ERF);                                 \
        else                                                                                       \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_GLU_SIGMOID);                                  \
    } while (0)

MGK_INLINE vf activate(vf v, int kind, bool brief)
{
    return kind == MGK_GLU_SILU        ? v_silu(v, brief)
           : kind == MGK_GLU_GELU_TANH ? v_gelu(v, brief)
           : kind == MGK_GLU_GELU_ERF  ? v_gelu_erf(v, brief)
                                       : v_sigmoid(v, brief);
}

MGK_INLINE vf activate_grad(vf v, vf *y, int kind, bool brief)
{
    if (kind == MGK_GLU_SIGMOID) {
        *y = v_sigmoid(v, brief);
        return *y * v_sigmoid(-v, brief);
    }
    return kind == MGK_GLU_SILU        ? v_silu_grad(v, y, brief)
           : kind == MGK_GLU_GELU_TANH ? v_gelu_grad(v, y, brief)
                                       : v_gelu_erf_grad(v, y, brief);
}

MGK_INLINE v_two activate_two(v_two v, int kind, bool brief)
{
    vf x[2] = {v.a, v.b};
    if (kind == MGK_GLU_SILU)
        v_silus(x, 2, brief);
    else if (kind == MGK_GLU_GELU_TANH)
        v_gelus(x, 2, brief);
    else
        return (v_two){activate(v.a, kind, brief), activate(v.b, kind, brief)};
    return (v_two){x[0], x[1]};
}

MGK_INLINE v_two activate_grad_two(v_two v, v_two *y, int kind, bool brief)
{
    vf x[2] = {v.a, v.b}, act[2];
    if (kind == MGK_GLU_SILU) {
        v_silus_grad(x, act, 2, brief);
    } else if (kind == MGK_GLU_GELU_TANH) {
        v_gelus_grad(x, act, 2, brief);
    } else {
        x[0] = activate_grad(x[0], act, kind, brief);
        x[1] = activate_grad(x[1], act + 1, kind, brief);
    }
    *y = (v_two){act[0], act[1]};
    return (v_two){x[0], x[1]};
}

/* Rows are fetched in the order of memory, this far beyond the next one: both halves in turns, at the places where they
 * are read, took 1.4 times as long on a Zen 5, which does not foresee them. */
enum {
    GLU_FETCH_BYTES = 4096,
    GLU_NEAR_BYTES = 2048, /* the same into the first-level cache of a Zen 4, past the caches */
    GLU_NEAR_DIM = 2048    /* where rows have so many values at most: longer ones are slower so */
};

MGK_INLINE void glu_loop(const mgk_glu_args *a, int64_t first, int64_t end, const bool near,
                         int kind, int32_t type)
{
    const int32_t stream = mgk_streams(a->y, a->rows, a->dim);
    const int64_t bytes = near ? GLU_NEAR_BYTES : GLU_FETCH_BYTES;
    const int64_t ahead = 2 * a->dim + bytes / mgk_real_size(type);
    const bool brief = type == MGK_BF16;
    for (int64_t r = first; r < end; r++) {
        v_real left = v_from(a->x, 2 * r * a->dim, type);
        v_real right = v_from(a->x, (2 * r + 1) * a->dim, type);
        v_real out = v_from(a->y, r * a->dim, type);
        out.stream = stream;
        int64_t done = 0;
        for (; done + 2 * MGK_WIDTH <= a->dim; done += 2 * MGK_WIDTH) {
            v_two l = v_read_two(left, done), m = v_read_two(right, done);
            v_prefetch_two(left, ahead + 2 * done, near);
            v_prefetch_two(left, ahead + 2 * done + 2 * MGK_WIDTH, near);
            const v_two act = activate_two(l, kind, brief);
            v_write_two(out, done, (v_two){act.a * m.a, act.b * m.b});
        }
        MGK_EACH_VECTOR_FROM(done, i, a->dim, {
            v_put(out, i, activate(v_get(left, i), kind, brief) * v_get(right, i));
        });
    }
    v_stream_end(stream);
}

MGK_INLINE void glu_rows(const mgk_glu_args *a, int64_t first, int64_t end, int kind, int32_t type)
{
    if (v_zen4() && a->dim <= GLU_NEAR_DIM && mgk_streams(a->y, a->rows, a->dim))
        glu_loop(a, first, end, true, kind, type);
    else
        glu_loop(a, first, end, false, kind, type);
}

static void glu_block(void *arg, int64_t block, int thread)
{
    const mgk_glu_args *a = arg;
    (void)thread;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    FOR_KIND(a->kind, a->x.dtype, glu_rows, a, block * rows, end);
}

MGK_LAUNCH(glu)
{
    const mgk_glu_args *a = args;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), 4 * a->rows * a->dim, glu_block,
                (void *)args);
}

enum {
    PART = 1024,        /* values of a row at once; whole pairs of vectors */
    FETCH_BYTES = 1024, /* how far ahead x is fetched: measured; its halves follow each other */
    NEAR_BYTES = 4096   /* the same on a Zen 5 past the caches, into the first-level cache */
};

/* Past the caches parts of a row are worked on in two passes, so that one half of the row at a time is read and
 * written: both in turns are slower in memory. */
MGK_INLINE void glu_grad_loop(const mgk_glu_args *a, int64_t first, int64_t end,
                              const int32_t stream, int kind, int32_t type)
{
    const bool near = stream && v_zen5();
    const int64_t far = v_far(stream);
    const int64_t ahead = far ? far : (near ? NEAR_BYTES : FETCH_BYTES) / mgk_real_size(type);
    const int64_t pairs = a->dim / (2 * MGK_WIDTH) * 2 * MGK_WIDTH;
    const bool brief = type == MGK_BF16;
    float slopes[PART]; /* times dy */
    const v_real kept = {slopes, MGK_F32, 0};
    for (int64_t r = first; r < end; r++) {
        v_real left = v_from(a->x, 2 * r * a->dim, type);
        v_real right = v_from(a->x, (2 * r + 1) * a->dim, type);
        v_real dy = v_from(a->dy, r * a->dim, type);
        v_real d_left = v_from(a->dx, 2 * r * a->dim, type);
        v_real d_right = v_from(a->dx, (2 * r + 1) * a->dim, type);
        d_left.stream = d_right.stream = stream;
        for (int64_t at = 0; at < pairs; at += PART) {
            const int64_t to = mgk_min(pairs, at + PART);
            for (int64_t i = at; i < to; i += 2 * MGK_WIDTH) {
                v_two act, slope, l = v_read_two(left, i), d = v_read_two(dy, i);
                v_prefetch_two(left, ahead + i, near);
                v_fetch_two(dy, i, far);
                slope = activate_grad_two(l, &act, kind, brief);
                slope = (v_two){d.a * slope.a, d.b * slope.b};
                if (stream) {
                    v_write_two(kept, i - at, slope);
                } else {
                    v_two m = v_read_two(right, i);
                    v_prefetch_two(right, ahead + i, near);
                    v_write_two(d_left, i, (v_two){slope.a * m.a, slope.b * m.b});
                }
                v_write_two(d_right, i, (v_two){d.a * act.a, d.b * act.b});
            }
            for (int64_t i = at; stream && i < to; i += 2 * MGK_WIDTH) {
                v_two slope = v_read_two(kept, i - at), m = v_read_two(right, i);
                v_prefetch_two(right, ahead + i, near);
                v_write_two(d_left, i, (v_two){slope.a * m.a, slope.b * m.b});
            }
        }
        MGK_EACH_VECTOR_FROM(pairs, i, a->dim, {
            vf act;
            vf slope = activate_grad(v_get(left, i), &act, kind, brief);
            vf d = v_get(dy, i);
            v_put(d_left, i, d * slope * v_get(right, i));
            v_put(d_right, i, d * act);
        });
    }
    v_stream_end(stream);
}

MGK_INLINE void glu_grad_rows(const mgk_glu_args *a, int64_t first, int64_t end, int kind,
                              int32_t type)
{
    if (mgk_streams(a->dx, 2 * a->rows, a->dim))
        glu_grad_loop(a, first, end, 1, kind, type);
    else
        glu_grad_loop(a, first, end, 0, kind, type);
}

static void glu_grad_block(void *arg, int64_t block, int thread)
{
    const mgk_glu_args *a = arg;
    (void)thread;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    FOR_KIND(a->kind, a->x.dtype, glu_grad_rows, a, block * rows, end);
}

MGK_LAUNCH(glu_grad)
{
    const mgk_glu_args *a = args;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), 4 * a->rows * a->dim,
                glu_grad_block, (void *)args);
}
