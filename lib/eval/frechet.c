/* SPDX-License-Identifier: MIT */
#include "eval/frechet.h"

#include "core/alloc.h"
#include "core/checked.h"

#include <float.h>
#include <math.h>
#include <string.h>

mgen_status mgi_gaussian_init(mgen_context *ctx, int64_t dims, mgi_gaussian *out)
{
    int64_t count;
    memset(out, 0, sizeof *out);
    if (dims < 1 || !mgi_dims_count((int64_t[]){dims, dims + 2}, 2, &count))
        return mgi_fail(ctx, MGEN_E_INVALID, "there is no Gaussian of %lld dimensions",
                        (long long)dims);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof *out->mean, &out->mean));
    out->dims = dims;
    out->off = out->mean + dims;
    out->products = out->off + dims;
    return MGEN_OK;
}

void mgi_gaussian_finish(mgen_context *ctx, mgi_gaussian *g)
{
    mgi_free(ctx, g->mean);
    memset(g, 0, sizeof *g);
}

void mgi_gaussian_add(mgi_gaussian *g, const double *sample)
{
    const double share = (double)g->count / (double)(g->count + 1);
    g->count++;
    for (int64_t i = 0; i < g->dims; i++) {
        g->off[i] = sample[i] - g->mean[i];
        g->mean[i] += g->off[i] / (double)g->count;
    }
    for (int64_t i = 0; i < g->dims; i++) {
        double *row = g->products + i * g->dims;
        const double by = share * g->off[i];
        for (int64_t j = 0; j <= i; j++)
            row[j] += by * g->off[j];
    }
}

/* -- eigenvalues ------------------------------------------------------------------------------ */

/* Of the column x (n): the reflection 1 - v v^T that leaves its first value alone other than 0, which *left receives. v
 * replaces x; false: there is nothing to reflect. */
static bool reflection(double *x, int64_t n, double *left)
{
    double rest = 0.0, scale = 0.0;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(x[i]));
    for (int64_t i = 1; i < n; i++)
        rest += scale > 0.0 ? (x[i] / scale) * (x[i] / scale) : 0.0;
    *left = x[0];
    if (rest == 0.0)
        return false;
    const double first = x[0] / scale, length = sqrt(first * first + rest);
    const double head = first + copysign(length, first), by = sqrt(2.0 / (head * head + rest));
    *left = -copysign(length, first) * scale;
    x[0] = head * by;
    for (int64_t i = 1; i < n; i++)
        x[i] *= by / scale;
    return true;
}

/* a becomes R a R with R = 1 - v v^T, for rows and columns from `first` on: a - v w^T - w v^T. */
static void reflect(double *a, int64_t n, int64_t first, const double *v, double *w)
{
    double along = 0.0;
    for (int64_t i = first; i < n; i++) {
        const double *row = a + i * n;
        double sum = 0.0;
        for (int64_t j = first; j < n; j++)
            sum += row[j] * v[j];
        w[i] = sum;
        along += sum * v[i];
    }
    for (int64_t i = first; i < n; i++)
        w[i] -= 0.5 * along * v[i];
    for (int64_t i = first; i < n; i++) {
        double *row = a + i * n;
        const double vi = v[i], wi = w[i];
        for (int64_t j = first; j < n; j++)
            row[j] -= vi * w[j] + wi * v[j];
    }
}

/* One implicit step with Wilkinson's shift on rows first .. last of a tridiagonal matrix: diagonal d, e[i] between i and
 * i + 1. */
static void tridiagonal_step(double *d, double *e, int64_t first, int64_t last)
{
    const double half = 0.5 * (d[last - 1] - d[last]), edge = e[last - 1];
    double x = d[first] - d[last] + edge * (edge / (half + copysign(hypot(half, edge), half)));
    double z = e[first];
    for (int64_t k = first; k < last; k++) {
        const double length = hypot(x, z), c = length > 0.0 ? x / length : 1.0,
                     s = length > 0.0 ? z / length : 0.0;
        const double p = d[k], q = d[k + 1], b = e[k];
        if (k > first)
            e[k - 1] = length;
        d[k] = c * c * p + 2.0 * c * s * b + s * s * q;
        d[k + 1] = s * s * p - 2.0 * c * s * b + c * c * q;
        e[k] = (c * c - s * s) * b + c * s * (q - p);
        x = e[k];
        if (k + 1 < last) {
            z = s * e[k + 1];
            e[k + 1] *= c;
        }
    }
}

/* d becomes the eigenvalues. */
static bool tridiagonal_values(double *d, double *e, int64_t n)
{
    int64_t last = n - 1;
    for (int64_t steps = 0; last > 0; steps++) {
        int64_t first = last;
        for (int64_t i = 0; i < last; i++)
            if (fabs(e[i]) <= DBL_EPSILON * (fabs(d[i]) + fabs(d[i + 1])) || fabs(e[i]) < DBL_MIN)
                e[i] = 0.0;
        while (first > 0 && e[first - 1] != 0.0)
            first--;
        if (first == last)
            last--;
        else if (steps < 40 * n)
            tridiagonal_step(d, e, first, last);
        else
            return false;
    }
    return true;
}

mgen_status mgi_eigenvalues(mgen_context *ctx, double *a, int64_t n, double *values)
{
    double *e;
    MGI_TRY(mgi_alloc_zero(ctx, 3 * (size_t)n, sizeof *e, &e));
    double *v = e + n, *w = v + n;
    for (int64_t k = 0; k + 1 < n; k++) {
        for (int64_t i = k + 1; i < n; i++)
            v[i] = a[i * n + k];
        if (reflection(v + k + 1, n - k - 1, &e[k]))
            reflect(a, n, k + 1, v, w);
    }
    for (int64_t i = 0; i < n; i++)
        values[i] = a[i * n + i];
    const bool done = tridiagonal_values(values, e, n);
    mgi_free(ctx, e);
    return done ? MGEN_OK
                : mgi_fail(ctx, MGEN_E_NUMERIC,
                           "the eigenvalues of a %lld x %lld matrix were not "
                           "found: it is not finite, or not symmetric",
                           (long long)n, (long long)n);
}

/* -- the distance ----------------------------------------------------------------------------- */

/* The symmetric matrix of which `a` (n x n) has the lower half is taken apart as L L^T, largest pivots first, until nothing
 * is left but rounding. l (n x n) receives L's columns as rows; returns how many: the rank. */
static int64_t root_of(double *a, int64_t n, double *l)
{
    double most = 0.0;
    int64_t rank = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++)
            a[i * n + j] = a[j * n + i];
    for (; rank < n; rank++) {
        int64_t at = 0;
        for (int64_t i = 1; i < n; i++)
            at = a[i * n + i] > a[at * n + at] ? i : at;
        const double pivot = a[at * n + at];
        most = rank ? most : pivot;
        if (!(pivot > most * DBL_EPSILON * (double)n))
            break;
        double *column = l + rank * n;
        for (int64_t i = 0; i < n; i++)
            column[i] = a[at * n + i] / sqrt(pivot);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                a[i * n + j] -= column[i] * column[j];
        for (int64_t i = 0; i < n; i++)
            a[i * n + at] = a[at * n + i] = 0.0;
    }
    return rank;
}

/* m (rank x rank) = L^T b L, with L's columns as the rows of l and the lower half of b (n x n). `room`: n. */
static void between(const double *l, int64_t rank, const double *b, int64_t n, double *room,
                    double *m)
{
    for (int64_t r = 0; r < rank; r++) {
        const double *column = l + r * n;
        memset(room, 0, (size_t)n * sizeof *room);
        for (int64_t i = 0; i < n; i++) {
            const double *row = b + i * n, x = column[i];
            double sum = 0.0;
            for (int64_t j = 0; j < i; j++) {
                sum += row[j] * column[j];
                room[j] += x * row[j];
            }
            room[i] += sum + x * row[i];
        }
        for (int64_t q = 0; q <= r; q++) {
            double sum = 0.0;
            for (int64_t i = 0; i < n; i++)
                sum += l[q * n + i] * room[i];
            m[r * rank + q] = m[q * rank + r] = sum;
        }
    }
}

static mgen_status check(mgen_context *ctx, const mgi_gaussian *g)
{
    if (g->count < 2)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "a Frechet distance needs 2 samples or more in each set; one has %lld",
                        (long long)g->count);
    for (int64_t i = 0; i < g->dims; i++)
        if (!isfinite(g->mean[i]) || !isfinite(g->products[i * g->dims + i]))
            return mgi_fail(ctx, MGEN_E_NUMERIC,
                            "a Frechet distance was asked of samples that are not finite, or too "
                            "large to be squared: dimension %lld",
                            (long long)i);
    return MGEN_OK;
}

mgen_status mgi_frechet(mgen_context *ctx, const mgi_gaussian *a, const mgi_gaussian *b,
                        double *out)
{
    const int64_t n = a->dims, square = n * n;
    const double in_a = (double)(a->count - 1), in_b = (double)(b->count - 1);
    double sum = 0.0, roots = 0.0, *room;
    if (n != b->dims)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "no distance is between vectors of %lld and of %lld dimensions",
                        (long long)n, (long long)b->dims);
    MGI_TRY(check(ctx, a));
    MGI_TRY(check(ctx, b));
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)(2 * square + 2 * n), sizeof *room, &room));
    double *m = room, *l = m + square, *values = l + square, *more = values + n;
    for (int64_t i = 0; i < n; i++) {
        const double d = a->mean[i] - b->mean[i];
        sum += d * d + a->products[i * n + i] / in_a + b->products[i * n + i] / in_b;
    }
    /* L^T C2 L has the eigenvalues of C1 C2 that are not 0 */
    memcpy(m, a->products, (size_t)square * sizeof *m);
    const int64_t rank = root_of(m, n, l);
    between(l, rank, b->products, n, more, m);
    mgen_status status = mgi_eigenvalues(ctx, m, rank, values);
    for (int64_t i = 0; i < rank; i++)
        roots += values[i] > 0.0 ? sqrt(values[i]) : 0.0;
    mgi_free(ctx, room);
    MGI_TRY(status);
    sum -= 2.0 * roots / sqrt(in_a * in_b);
    if (!isfinite(sum))
        return mgi_fail(ctx, MGEN_E_NUMERIC,
                        "a Frechet distance is out of range: samples are too large");
    *out = fmax(0.0, sum);
    return MGEN_OK;
}
