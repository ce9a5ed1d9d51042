/* SPDX-License-Identifier: MIT
 * The pointwise ops on vectors; included once a variant. Here those without rows, whose blocks are
 * ranges of elements; loops are compiled once for each dtype and kind. */
#include "kernels/common/activation_four_simd.h"
#include "kernels/common/real_simd.h"
#include "kernels/common/simd_math.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/pointwise/pointwise_blocks.h"

static int64_t block_end(int64_t count, int64_t block)
{
    return mgk_min(count, (block + 1) * MGK_BLOCK_ELEMENTS);
}

static void run_elements(mgk_exec *x, int64_t count, int64_t cost, mgi_pool_fn *fn,
                         const void *args)
{
    mgk_for(x, mgk_div_up(count, MGK_BLOCK_ELEMENTS), count * cost, fn, (void *)args);
}

/* -- activations ------------------------------------------------------------------------------ */

/* for_kind(kind, body, args...): body(args..., kind, dtype), compiled once for each kind and dtype. */
#define FOR_KIND(op_kind, type, body, ...)                                                         \
    do {                                                                                           \
        switch (op_kind) {                                                                         \
        case MGK_UNARY_SILU:                                                                       \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_UNARY_SILU);                                   \
            break;                                                                                 \
        case MGK_UNARY_GELU_TANH:                                                                  \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_UNARY_GELU_TANH);                              \
            break;                                                                                 \
        case MGK_UNARY_GELU_ERF:                                                                   \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_UNARY_GELU_ERF);                               \
            break;                                                                                 \
        case MGK_UNARY_QUICK_GELU:                                                                 \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_UNARY_QUICK_GELU);                             \
            break;                                                                                 \
        case MGK_UNARY_SQUARE:                                                                     \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_UNARY_SQUARE);                                 \
            break;                                                                                 \
        case MGK_UNARY_LOG1P:                                                                      \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_UNARY_LOG1P);                                  \
            break;                                                                                 \
        case MGK_UNARY_TANH:                                                                       \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_UNARY_TANH);                                   \
            break;                                                                                 \
        default:                                                                                   \
            V_BY_DTYPE(type, body, __VA_ARGS__, MGK_UNARY_RELU);                                   \
        }                                                                                          \
    } while (0)

MGK_INLINE vf activate(vf v, int kind, bool brief)
{
    switch (kind) {
    case MGK_UNARY_SILU:
        return v_silu(v, brief);
    case MGK_UNARY_GELU_TANH:
        return v_gelu(v, brief);
    case MGK_UNARY_GELU_ERF:
        return v_gelu_erf(v, brief);
    case MGK_UNARY_QUICK_GELU:
        return v_quick_gelu(v, brief);
    case MGK_UNARY_SQUARE:
        return v * v;
    case MGK_UNARY_LOG1P:
        return v_log1p(v_select(v < 0, v_set(0), v));
    case MGK_UNARY_TANH:
        return v_tanh(v);
    default:
        return v_select(v < 0, v_set(0), v);
    }
}

MGK_INLINE vf activate_grad(vf v, int kind, bool brief)
{
    vf y, rest;
    switch (kind) {
    case MGK_UNARY_SILU:
        return v_silu_grad(v, &y, brief);
    case MGK_UNARY_GELU_TANH:
        return v_gelu_grad(v, &y, brief);
    case MGK_UNARY_GELU_ERF:
        return v_gelu_erf_grad(v, &y, brief);
    case MGK_UNARY_QUICK_GELU:
        return v_quick_gelu_grad(v, &y, brief);
    case MGK_UNARY_SQUARE:
        return v + v;
    case MGK_UNARY_LOG1P:
        return v_select(v < 0, v_set(0), 1.0f / (1.0f + v));
    case MGK_UNARY_TANH: /* (1 - tanh(v)) (1 + tanh(v)) */
        y = v_sigmoid_both(v_max(v_set(-40.0f), v + v), &rest, brief);
        return 4.0f * y * rest;
    default:
        return v_select(v > 0, v_set(1), v_set(0));
    }
}

MGK_INLINE void activate_all(vf *x, int count, int kind, bool brief)
{
    if (kind == MGK_UNARY_SILU)
        v_silus(x, count, brief);
    else if (kind == MGK_UNARY_GELU_TANH)
        v_gelus(x, count, brief);
    else if (kind == MGK_UNARY_QUICK_GELU)
        v_quick_gelus(x, count, brief);
    else
        MGK_UNROLL
    for (int k = 0; k < count; k++)
        x[k] = activate(x[k], kind, brief);
}

MGK_INLINE void activate_grad_two(vf *x, int kind, bool brief)
{
    vf y[2];
    if (kind == MGK_UNARY_SILU) {
        v_silus_grad(x, y, 2, brief);
    } else if (kind == MGK_UNARY_GELU_TANH) {
        v_gelus_grad(x, y, 2, brief);
    } else if (kind == MGK_UNARY_QUICK_GELU) {
        v_quick_gelus_grad(x, y, 2, brief);
    } else {
        x[0] = activate_grad(x[0], kind, brief);
        x[1] = activate_grad(x[1], kind, brief);
    }
}

/* Elements to fetch ahead where v_far gives no distance: measured, as that the gradient's two inputs are then read
 * faster without. */
enum { AHEAD = 512 };

MGK_INLINE void unary_fetch(v_real in, int64_t at, int64_t far)
{
    if (far)
        v_fetch_two(in, at, far);
    else
        v_prefetch_two(in, at + AHEAD, true);
}

/* Four vectors at a time as long as there are, of activations that go by turns, or of bf16 and from pieces; returns where it ends. */
MGK_INLINE int64_t unary_fours(v_real in, v_real out, int64_t n, int64_t far, int kind)
{
    int64_t done = 0;
#if defined(V_BY_TURNS)
    const bool turns =
        kind == MGK_UNARY_SILU || kind == MGK_UNARY_GELU_TANH || kind == MGK_UNARY_QUICK_GELU;
    for (; turns && done + 4 * MGK_WIDTH <= n; done += 4 * MGK_WIDTH) {
        const int64_t next = done + 2 * MGK_WIDTH;
        const v_two a = v_read_two(in, done), b = v_read_two(in, next);
        vf x[4] = {a.a, a.b, b.a, b.b};
        unary_fetch(in, done, far);
        unary_fetch(in, next, far);
        activate_all(x, 4, kind, in.dtype == MGK_BF16);
        v_write_two(out, done, (v_two){x[0], x[1]});
        v_write_two(out, next, (v_two){x[2], x[3]});
    }
#elif defined(V_HAS_FOUR)
    const bool pieces = kind == MGK_UNARY_SILU || kind == MGK_UNARY_GELU_TANH ||
                        kind == MGK_UNARY_GELU_ERF || kind == MGK_UNARY_QUICK_GELU;
    for (; in.dtype == MGK_BF16 && pieces && done + 4 * MGK_WIDTH <= n; done += 4 * MGK_WIDTH) {
        const int64_t next = done + 2 * MGK_WIDTH;
        const v_two a = v_read_two(in, done), b = v_read_two(in, next);
        vf x[4] = {a.a, a.b, b.a, b.b};
        unary_fetch(in, done, far);
        unary_fetch(in, next, far);
        if (kind == MGK_UNARY_SILU)
            v_silu_four(x);
        else if (kind == MGK_UNARY_GELU_TANH)
            v_gelu_four(x);
        else if (kind == MGK_UNARY_GELU_ERF)
            v_gelu_erf_four(x);
        else
            v_quick_gelu_four(x);
        v_write_two(out, done, (v_two){x[0], x[1]});
        v_write_two(out, next, (v_two){x[2], x[3]});
    }
#else
    (void)in, (void)out, (void)n, (void)far, (void)kind;
#endif
    return done;
}

MGK_INLINE void unary_loop(const mgk_pointwise_args *a, int64_t at, int64_t n, int kind,
                           int32_t type)
{
    v_real in = v_from(a->x, at, type), out = v_from(a->y, at, type);
    out.stream = mgk_streams_flat(a->y, a->count);
    const bool brief = type == MGK_BF16;
    const int64_t far = v_far(out.stream);
    int64_t done = unary_fours(in, out, n, far, kind);
    for (; done + 2 * MGK_WIDTH <= n; done += 2 * MGK_WIDTH) {
        v_two v = v_read_two(in, done);
        unary_fetch(in, done, far);
        v = (v_two){activate(v.a, kind, brief), activate(v.b, kind, brief)};
        v_write_two(out, done, v);
    }
    MGK_EACH_VECTOR_FROM(done, i, n, { v_put(out, i, activate(v_get(in, i), kind, brief)); });
    v_stream_end(out.stream);
}

static void unary_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    FOR_KIND(a->kind, a->x.dtype, unary_loop, a, at, n);
}

MGK_LAUNCH(unary)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 4, unary_block, args);
}

MGK_INLINE void unary_grad_loop(const mgk_pointwise_args *a, int64_t at, int64_t n, int kind,
                                int32_t type)
{
    v_real in = v_from(a->x, at, type), dy = v_from(a->dy, at, type);
    v_real dx = v_from(a->dx, at, type);
    const bool brief = type == MGK_BF16;
    if (a->accumulate) {
        MGK_EACH_VECTOR(i, n, {
            vf d = activate_grad(v_get(in, i), kind, brief) * v_get(dy, i);
            v_put(dx, i, v_get(dx, i) + d);
        });
        return;
    }
    dx.stream = mgk_streams_flat(a->dx, a->count);
    int64_t done = 0;
    const int64_t far = v_far(dx.stream);
    for (; done + 2 * MGK_WIDTH <= n; done += 2 * MGK_WIDTH) {
        v_two v = v_read_two(in, done), d = v_read_two(dy, done);
        v_fetch_two(in, done, far);
        v_fetch_two(dy, done, far);
        vf x[2] = {v.a, v.b};
        activate_grad_two(x, kind, brief);
        v_write_two(dx, done, (v_two){x[0] * d.a, x[1] * d.b});
    }
    MGK_EACH_VECTOR_FROM(
        done, i, n, { v_put(dx, i, activate_grad(v_get(in, i), kind, brief) * v_get(dy, i)); });
    v_stream_end(dx.stream);
}

static void unary_grad_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    FOR_KIND(a->kind, a->x.dtype, unary_grad_loop, a, at, n);
}

MGK_LAUNCH(unary_grad)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 4, unary_grad_block, args);
}

/* -- sums ------------------------------------------------------------------------------------- */

MGK_INLINE void axpby_loop(const mgk_pointwise_args *a, int64_t at, int64_t n, int32_t from,
                           int32_t to)
{
    v_real in = v_from(a->x, at, from), out = v_from(a->y, at, to);
    float alpha = a->alpha, beta = a->beta;
    if (beta != 0) {
        /* which of the products is rounded is not the compiler's choice */
        MGK_EACH_VECTOR(
            i, n, { v_put(out, i, v_fma(v_set(alpha), v_get(in, i), beta * v_get(out, i))); });
        return;
    }
    out.stream = mgk_streams_flat(a->y, a->count);
    MGK_EACH_VECTOR(i, n, { v_put(out, i, alpha * v_get(in, i)); });
    v_stream_end(out.stream);
}

static void axpby_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    if (a->x.dtype == MGK_BF16)
        V_BY_DTYPE(a->y.dtype, axpby_loop, a, at, n, MGK_BF16);
    else
        V_BY_DTYPE(a->y.dtype, axpby_loop, a, at, n, MGK_F32);
}

MGK_LAUNCH(axpby)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 1, axpby_block, args);
}

MGK_INLINE void add_loop(const mgk_pointwise_args *a, int64_t at, int64_t n, int32_t type)
{
    v_real left = v_from(a->x, at, type), right = v_from(a->h, at, type);
    v_real out = v_from(a->y, at, type);
    out.stream = mgk_streams_flat(a->y, a->count);
    const int64_t far = v_far(out.stream);
    int64_t done = 0;
    for (; done + 2 * MGK_WIDTH <= n; done += 2 * MGK_WIDTH) {
        v_two l = v_read_two(left, done), r = v_read_two(right, done);
        v_fetch_two(left, done, far);
        v_fetch_two(right, done, far);
        v_write_two(out, done, (v_two){l.a + r.a, l.b + r.b});
    }
    MGK_EACH_VECTOR_FROM(done, i, n, { v_put(out, i, v_get(left, i) + v_get(right, i)); });
    v_stream_end(out.stream);
}

static void add_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    V_BY_DTYPE(a->x.dtype, add_loop, a, at, n);
}

MGK_LAUNCH(add)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 1, add_block, args);
}

#include "kernels/pointwise/pointwise_convert.h"
#include "kernels/pointwise/pointwise_rows.h"
#include "kernels/pointwise/pointwise_reduce.h"
