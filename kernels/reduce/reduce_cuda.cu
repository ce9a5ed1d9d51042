/* SPDX-License-Identifier: MIT
 * Rows to one number each, and softmax along them: a warp for each row, or a block if rows are long. */
#include "kernels/common/cuda_rows.h"
#include "kernels/reduce/reduce.h"

namespace
{

enum { PIECE = 16384 /* of a row, summed by one block */ };

template <typename T, int TEAM>
MGK_KERNEL softmax_kernel(const T *x, T *y, int64_t rows, int64_t dim)
{
    __shared__ float scratch[MGK_WARP];
    MGK_EACH_ROW(r, rows)
    {
        const T *from = x + r * dim;
        float largest = -INFINITY, sum = 0;
        for (int64_t j = lane; j < dim; j += TEAM)
            largest = mgk_larger(mgk_load(from[j]), largest);
        largest = mgk_team_largest<TEAM>(largest, scratch);
        for (int64_t j = lane; j < dim; j += TEAM)
            sum += expf(mgk_load(from[j]) - largest);
        sum = mgk_team_sum<TEAM>(sum, scratch);
        for (int64_t j = lane; j < dim; j += TEAM)
            mgk_store(y + r * dim + j, expf(mgk_load(from[j]) - largest) / sum);
    }
}

template <typename T, int TEAM>
MGK_KERNEL softmax_grad_kernel(const T *y, const T *dy, T *dx, int64_t rows, int64_t dim,
                               bool accumulate)
{
    __shared__ float scratch[MGK_WARP];
    MGK_EACH_ROW(r, rows)
    {
        float sum = 0;
        for (int64_t i = r * dim + lane; i < (r + 1) * dim; i += TEAM)
            sum += mgk_load(dy[i]) * mgk_load(y[i]);
        sum = mgk_team_sum<TEAM>(sum, scratch);
        for (int64_t i = r * dim + lane; i < (r + 1) * dim; i += TEAM) {
            float v = mgk_load(y[i]) * (mgk_load(dy[i]) - sum);
            mgk_store(dx + i, accumulate ? mgk_load(dx[i]) + v : v);
        }
    }
}

MGK_DEVICE double number(double x)
{
    return x;
}

template <typename T> MGK_DEVICE double number(T x)
{
    return mgk_load(x);
}

/* Pieces of rows to one number each; sums are divided by `count`. In double, for a sum may be far smaller than
 * what it is made of. */
template <typename T, typename V, int TEAM>
MGK_KERNEL reduce_kernel(const T *x, V *y, int64_t rows, int64_t dim, int64_t pieces, int64_t piece,
                         bool largest, double count)
{
    __shared__ double scratch[MGK_WARP];
    MGK_EACH_ROW(r, rows * pieces)
    {
        int64_t first = r % pieces * piece, n = dim - first < piece ? dim - first : piece;
        const T *from = x + r / pieces * dim + first;
        double result = largest ? -INFINITY : 0;
        for (int64_t j = lane; j < n; j += TEAM) {
            double v = number(from[j]);
            result = largest ? mgk_larger(v, result) : result + v;
        }
        result = largest ? mgk_team_largest<TEAM>(result, scratch)
                         : mgk_team_sum<TEAM>(result, scratch) / count;
        if (lane == 0)
            y[r] = (V)result;
    }
}

template <typename T, typename V>
void reduce_pieces(mgk_exec *x, const T *from, V *to, int64_t rows, int64_t dim, int64_t piece,
                   bool largest, double count)
{
    int64_t pieces = dim > piece ? (dim + piece - 1) / piece : 1;
    if (dim < MGK_LONG_ROW)
        MGK_LAUNCH(x, (reduce_kernel<T, V, MGK_WARP>), mgk_grid(rows, MGK_BLOCK / MGK_WARP),
                   MGK_BLOCK, 0, from, to, rows, dim, pieces, piece, largest, count);
    else
        MGK_LAUNCH(x, (reduce_kernel<T, V, MGK_BLOCK>), mgk_grid(rows * pieces, 1), MGK_BLOCK, 0,
                   from, to, rows, dim, pieces, piece, largest, count);
}

int64_t pieces_of(const mgk_reduce_args *a)
{
    return (a->dim + PIECE - 1) / PIECE;
}

} // namespace

MGK_CUDA_LAUNCHER(softmax)
{
    const mgk_reduce_args *a = (const mgk_reduce_args *)args;
    MGK_WITH_REAL(a->x.dtype, {
        const T *from = (const T *)a->x.p;
        if (a->dim < MGK_LONG_ROW)
            MGK_LAUNCH(x, (softmax_kernel<T, MGK_WARP>), mgk_grid(a->rows, MGK_BLOCK / MGK_WARP),
                       MGK_BLOCK, 0, from, (T *)a->y.p, a->rows, a->dim);
        else
            MGK_LAUNCH(x, (softmax_kernel<T, MGK_BLOCK>), mgk_grid(a->rows, 1), MGK_BLOCK, 0, from,
                       (T *)a->y.p, a->rows, a->dim);
    });
}

MGK_CUDA_LAUNCHER(softmax_grad)
{
    const mgk_reduce_args *a = (const mgk_reduce_args *)args;
    bool accumulate = a->accumulate;
    MGK_WITH_REAL(a->y.dtype, {
        const T *y = (const T *)a->y.p, *dy = (const T *)a->dy.p;
        if (a->dim < MGK_LONG_ROW)
            MGK_LAUNCH(x, (softmax_grad_kernel<T, MGK_WARP>),
                       mgk_grid(a->rows, MGK_BLOCK / MGK_WARP), MGK_BLOCK, 0, y, dy, (T *)a->dx.p,
                       a->rows, a->dim, accumulate);
        else
            MGK_LAUNCH(x, (softmax_grad_kernel<T, MGK_BLOCK>), mgk_grid(a->rows, 1), MGK_BLOCK, 0,
                       y, dy, (T *)a->dx.p, a->rows, a->dim, accumulate);
    });
}

MGK_CUDA_WORKSPACE(reduce)
{
    const mgk_reduce_args *a = (const mgk_reduce_args *)args;
    (void)threads;
    return pieces_of(a) > 1 ? sizeof(double) * (size_t)(a->rows * pieces_of(a)) : 0;
}

/* Long rows in two steps, the second over their pieces. */
MGK_CUDA_LAUNCHER(reduce)
{
    const mgk_reduce_args *a = (const mgk_reduce_args *)args;
    bool largest = a->kind == MGK_REDUCE_MAX;
    double count = a->kind == MGK_REDUCE_MEAN ? (double)a->dim : 1, *sums = (double *)x->workspace;
    int64_t pieces = pieces_of(a);
    MGK_WITH_REAL(a->x.dtype, {
        const T *from = (const T *)a->x.p;
        if (pieces > 1)
            reduce_pieces(x, from, sums, a->rows, a->dim, PIECE, largest, 1);
        else
            reduce_pieces(x, from, MGK_F(a->y), a->rows, a->dim, PIECE, largest, count);
    });
    if (pieces > 1)
        reduce_pieces(x, (const double *)sums, MGK_F(a->y), a->rows, pieces, pieces, largest,
                      count);
}
