/* SPDX-License-Identifier: MIT
 * patchify, copy_rows and permute are one thing: values on a few axes, with strides where they come from and
 * where they go. Axes that stay together are joined first. What then remains are runs, moved in units of up
 * to 16 bytes, or matrices that are transposed, by tiles of shared memory. */
#include "kernels/common/cuda_divide.h"
#include "kernels/common/cuda_vector.h"
#include "kernels/layout/layout.h"
#include "kernels/layout/layout_types.h"
#include "kernels/layout/permute.h"

namespace
{

enum { RANK = MGK_PERMUTE_RANK, TILE = 2048 /* values */, TILE_LOG = 11, SIDE_LOG = 9 };
enum { COPY, ADD_F32, ADD_BF16 };

/* Axes, innermost (of the output) first, without those of extent 1; in values. */
struct plan {
    const void *from;
    void *to;
    int64_t size; /* bytes of a value */
    int how, rank;
    int64_t extent[RANK], in[RANK], out[RANK];
};

plan plan_make(mgk_buf from, mgk_buf to, int32_t accumulate)
{
    plan p = {};
    p.from = from.p;
    p.to = to.p;
    p.size = mgk_move_size(to.dtype);
    p.how = !accumulate ? COPY : to.dtype == MGK_BF16 ? ADD_BF16 : ADD_F32;
    return p;
}

void add_axis(plan *p, int64_t extent, int64_t in, int64_t out)
{
    int last = p->rank - 1;
    if (extent == 1)
        return;
    if (last >= 0 && in == p->in[last] * p->extent[last] && out == p->out[last] * p->extent[last]) {
        p->extent[last] *= extent;
        return;
    }
    p->extent[p->rank] = extent;
    p->in[p->rank] = in;
    p->out[p->rank++] = out;
}

/* ---- one unit, a vector of values or one ---- */

template <int HOW> struct real_of {
    typedef float type;
};
template <> struct real_of<ADD_BF16> {
    typedef mgk_bf16 type;
};

template <int HOW, typename U> MGK_DEVICE void put(U *to, U value)
{
    if constexpr (HOW != COPY) {
        typedef typename real_of<HOW>::type T;
        enum { N = sizeof(U) / sizeof(T) };
        mgk_vector<T, N> a, b;
        U old = *to;
        memcpy(&a, &old, sizeof old);
        memcpy(&b, &value, sizeof value);
        for (int i = 0; i < N; i++)
            mgk_store(a.v + i, mgk_load(a.v[i]) + mgk_load(b.v[i]));
        memcpy(&value, &a, sizeof value);
    }
    *to = value;
}

/* ---- runs: a thread is a unit ---- */

template <typename I> struct nest {
    int rank;
    mgk_divisor<I> extent[RANK];
    I in[RANK], out[RANK]; /* in units */
};

template <int HOW, typename U, typename I>
MGK_KERNEL move_kernel(const U *from, U *to, nest<I> n, int64_t count)
{
    MGK_FOR(i, count)
    {
        I rest = (I)i, in = 0, out = 0;
#pragma unroll
        for (int k = 0; k < RANK; k++)
            if (k < n.rank) {
                I at = mgk_take(&rest, n.extent[k]);
                in += at * n.in[k];
                out += at * n.out[k];
            }
        put<HOW>(to + out, from[in]);
    }
}

template <int HOW, typename U> void move_units(const plan &p, mgk_exec *x)
{
    const int64_t per = (int64_t)sizeof(U) / p.size;
    int64_t count = 1, in_span = 1, out_span = 1;
    for (int k = 0; k < p.rank; k++) {
        count *= p.extent[k];
        in_span += (p.extent[k] - 1) * p.in[k];
        out_span += (p.extent[k] - 1) * p.out[k];
    }
    count /= per;
    int64_t largest = count > in_span ? count : in_span;
    MGK_WITH_INDEX(largest > out_span ? largest : out_span, {
        nest<I> n = {};
        n.rank = p.rank;
        for (int k = 0; k < p.rank; k++) {
            mgk_divisor_set(&n.extent[k], k == 0 ? p.extent[0] / per : p.extent[k]);
            n.in[k] = (I)(per == 1 || k == 0 ? p.in[k] : p.in[k] / per);
            n.out[k] = (I)(per == 1 || k == 0 ? p.out[k] : p.out[k] / per);
        }
        MGK_LAUNCH(x, (move_kernel<HOW, U, I>), mgk_grid(count, MGK_BLOCK), MGK_BLOCK, 0,
                   (const U *)p.from, (U *)p.to, n, count);
    });
}

/* Whether the runs can be moved in units of so many bytes. */
bool fits(const plan &p, int64_t bytes)
{
    if (p.rank == 0 || p.in[0] != 1 || p.out[0] != 1 || p.extent[0] * p.size % bytes != 0)
        return false;
    for (int k = 1; k < p.rank; k++)
        if (p.in[k] * p.size % bytes != 0 || p.out[k] * p.size % bytes != 0)
            return false;
    return ((uintptr_t)p.from | (uintptr_t)p.to) % (uintptr_t)bytes == 0;
}

void move_runs(const plan &p, mgk_exec *x)
{
    int64_t unit = 16;
    while (unit > p.size && !fits(p, unit))
        unit /= 2;
    if (p.how == ADD_F32)
        unit == 16 ? move_units<ADD_F32, uint4>(p, x) : move_units<ADD_F32, uint32_t>(p, x);
    else if (p.how == ADD_BF16)
        unit == 16 ? move_units<ADD_BF16, uint4>(p, x) : move_units<ADD_BF16, uint16_t>(p, x);
    else if (unit == 16)
        move_units<COPY, uint4>(p, x);
    else if (unit == 8)
        move_units<COPY, uint2>(p, x);
    else if (unit == 4)
        move_units<COPY, uint32_t>(p, x);
    else if (unit == 2)
        move_units<COPY, uint16_t>(p, x);
    else
        move_units<COPY, uint8_t>(p, x);
}

/* ---- matrices: a block is a tile of 2^row_log rows by 2^column_log columns ---- */

/* Rows lie side by side in the output, columns in the input. */
struct matrices {
    int64_t rows, columns, row_in, column_out;
    int64_t row_tiles, column_tiles, tiles;
    int row_log, column_log, rank;
    int64_t extent[RANK], in[RANK], out[RANK]; /* of the axes around them */
};

template <int HOW, typename U>
MGK_KERNEL __launch_bounds__(MGK_BLOCK, 5) transpose_kernel(const U *from, U *to, matrices m)
{
    __shared__ U tile[TILE + (1 << SIDE_LOG)];
    const int rows = 1 << m.row_log, columns = 1 << m.column_log;
    for (int64_t at = blockIdx.x; at < m.tiles; at += gridDim.x) {
        int64_t rest = at / m.row_tiles, in = 0, out = 0;
        const int64_t row0 = at % m.row_tiles << m.row_log;
        const int64_t column0 = rest % m.column_tiles << m.column_log;
        rest /= m.column_tiles;
        for (int k = 0; k < m.rank; k++) {
            in += rest % m.extent[k] * m.in[k];
            out += rest % m.extent[k] * m.out[k];
            rest /= m.extent[k];
        }
#pragma unroll
        for (int k = (int)threadIdx.x; k < TILE; k += MGK_BLOCK) {
            int row = k >> m.column_log, column = k & (columns - 1);
            if (row0 + row < m.rows && column0 + column < m.columns)
                tile[row * (columns + 1) + column] =
                    from[in + (row0 + row) * m.row_in + column0 + column];
        }
        __syncthreads();
#pragma unroll
        for (int k = (int)threadIdx.x; k < TILE; k += MGK_BLOCK) {
            int column = k >> m.row_log, row = k & (rows - 1);
            if (row0 + row < m.rows && column0 + column < m.columns)
                put<HOW>(to + out + (column0 + column) * m.column_out + row0 + row,
                         tile[row * (columns + 1) + column]);
        }
        __syncthreads();
    }
}

template <int HOW, typename U> void transpose_as(const plan &p, const matrices &m, mgk_exec *x)
{
    MGK_LAUNCH(x, (transpose_kernel<HOW, U>), mgk_grid(m.tiles, 1), MGK_BLOCK, 0, (const U *)p.from,
               (U *)p.to, m);
}

int log_up(int64_t n)
{
    int log = 0;
    while (((int64_t)1 << log) < n)
        log++;
    return log;
}

void transpose(const plan &p, int other, mgk_exec *x)
{
    matrices m = {};
    m.rows = p.extent[0];
    m.columns = p.extent[other];
    m.row_in = p.in[0];
    m.column_out = p.out[other];
    m.column_log = log_up(m.columns) < 5 ? log_up(m.columns) : 5;
    if (TILE_LOG - m.column_log > log_up(m.rows)) /* few rows: more columns */
        m.column_log = TILE_LOG - log_up(m.rows);
    m.column_log = m.column_log > SIDE_LOG              ? (int)SIDE_LOG
                   : m.column_log < TILE_LOG - SIDE_LOG ? (int)(TILE_LOG - SIDE_LOG)
                                                        : m.column_log;
    m.row_log = TILE_LOG - m.column_log;
    m.row_tiles = (m.rows + (1 << m.row_log) - 1) >> m.row_log;
    m.column_tiles = (m.columns + (1 << m.column_log) - 1) >> m.column_log;
    m.tiles = m.row_tiles * m.column_tiles;
    for (int k = 1; k < p.rank; k++)
        if (k != other) {
            m.extent[m.rank] = p.extent[k];
            m.in[m.rank] = p.in[k];
            m.out[m.rank++] = p.out[k];
            m.tiles *= p.extent[k];
        }
    if (p.how == ADD_F32)
        transpose_as<ADD_F32, uint32_t>(p, m, x);
    else if (p.how == ADD_BF16)
        transpose_as<ADD_BF16, uint16_t>(p, m, x);
    else if (p.size == 8)
        transpose_as<COPY, uint64_t>(p, m, x);
    else if (p.size == 4)
        transpose_as<COPY, uint32_t>(p, m, x);
    else if (p.size == 2)
        transpose_as<COPY, uint16_t>(p, m, x);
    else
        transpose_as<COPY, uint8_t>(p, m, x);
}

/* A matrix of a quarter of a tile, or less, is read whole by neighbouring threads anyway. */
void move(const plan &p, mgk_exec *x)
{
    for (int k = 0; k < p.rank; k++)
        if (p.extent[k] == 0)
            return;
    for (int k = 1; k < p.rank; k++)
        if (p.in[k] == 1 && p.out[0] == 1 && p.extent[0] * p.extent[k] > TILE / 4) {
            transpose(p, k, x);
            return;
        }
    move_runs(p, x);
}

} // namespace

MGK_CUDA_LAUNCHER(patchify)
{
    const mgk_layout_args *a = (const mgk_layout_args *)args;
    const int64_t line = a->w * a->c, run = a->pw * a->c, patch = a->pt * a->ph * run;
    const int64_t across = a->w / a->pw, down = a->h / a->ph;
    enum { C, PW, PH, PT, W, H, T };
    static const int tokens[] = {C, PW, PH, PT, W, H, T}, pixels[] = {C, PW, W, PH, H, PT, T};
    const int64_t extent[] = {a->c, a->pw, a->ph, a->pt, across, down, a->b * (a->t / a->pt)};
    const int64_t in[] = {1, a->c, line, a->h * line, run, a->ph * line, a->pt * a->h * line};
    const int64_t out[] = {1, a->c, run, a->ph * run, patch, across * patch, down * across * patch};
    plan p =
        a->inverse ? plan_make(a->y, a->x, a->accumulate) : plan_make(a->x, a->y, a->accumulate);
    for (int i = 0; i < 7; i++) {
        int k = a->inverse ? pixels[i] : tokens[i];
        add_axis(&p, extent[k], a->inverse ? out[k] : in[k], a->inverse ? in[k] : out[k]);
    }
    move(p, x);
}

MGK_CUDA_LAUNCHER(copy_rows)
{
    const mgk_layout_args *a = (const mgk_layout_args *)args;
    plan p = plan_make(a->x, a->y, a->accumulate);
    add_axis(&p, a->dim, 1, 1);
    add_axis(&p, a->rows, a->x_stride, a->y_stride);
    move(p, x);
}

MGK_CUDA_LAUNCHER(permute)
{
    const mgk_permute_args *a = (const mgk_permute_args *)args;
    int64_t stride[RANK], in = 1, out = 1;
    for (int i = a->rank - 1; i >= 0; i--) {
        stride[i] = in;
        in *= a->extent[i];
    }
    plan p = plan_make(a->x, a->y, a->accumulate);
    for (int k = a->rank - 1; k >= 0; k--) {
        add_axis(&p, a->extent[a->axis[k]], stride[a->axis[k]], out);
        out *= a->extent[a->axis[k]];
    }
    move(p, x);
}
