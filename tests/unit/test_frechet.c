/* SPDX-License-Identifier: MIT
 * The Frechet distance of Gaussians: against closed forms, and against numbers of SciPy. */
#include "eval/frechet.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "one_context.h"

enum { DIMS = 5 };

static double distance(mgi_gaussian *a, mgi_gaussian *b)
{
    double d;
    OK(mgi_frechet(ctx, a, b, &d));
    mgi_gaussian_finish(ctx, a);
    mgi_gaussian_finish(ctx, b);
    return d;
}

/* Mean m, and covariance of deviations s along the columns of an orthogonal matrix (NULL: 1). */
static mgi_gaussian spread(const double m[DIMS], const double s[DIMS], double (*columns)[DIMS])
{
    mgi_gaussian g;
    OK(mgi_gaussian_init(ctx, DIMS, &g));
    for (int k = 0; k < 2 * DIMS; k++) {
        double x[DIMS], by = (k % 2 ? -1.0 : 1.0) * s[k / 2] * sqrt((2.0 * DIMS - 1.0) / 2.0);
        for (int i = 0; i < DIMS; i++)
            x[i] = m[i] + by * (columns ? columns[i][k / 2] : i == k / 2);
        mgi_gaussian_add(&g, x);
    }
    assert_int_equal(g.count, 2 * DIMS);
    return g;
}

/* 1 - 2 u u^T */
static void mirror(const double u[DIMS], double out[DIMS][DIMS])
{
    double square = 0.0;
    for (int i = 0; i < DIMS; i++)
        square += u[i] * u[i];
    for (int i = 0; i < DIMS; i++)
        for (int j = 0; j < DIMS; j++)
            out[i][j] = (i == j) - 2.0 * u[i] * u[j] / square;
}

static const double none[DIMS], s1[DIMS] = {1, 2, 0.5, 3, 0.25}, s2[DIMS] = {2, 2, 1, 0.5, 4};

static void test_moments(void **state)
{
    const double x[4][2] = {{1, 5}, {2, 3}, {4, 8}, {5, 4}};
    mgi_gaussian g;
    (void)state;
    OK(mgi_gaussian_init(ctx, 2, &g));
    for (int i = 0; i < 4; i++)
        mgi_gaussian_add(&g, x[i]);
    assert_float_equal(g.mean[0], 3.0, 1e-15);
    assert_float_equal(g.mean[1], 5.0, 1e-15);
    assert_float_equal(g.products[0], 10.0, 1e-14);
    assert_float_equal(g.products[2], 3.0, 1e-14);
    assert_float_equal(g.products[3], 14.0, 1e-14);
    mgi_gaussian_finish(ctx, &g);
}

static void test_closed_forms(void **state)
{
    const double shift[DIMS] = {1, -2, 0, 0.5, 3}, u[DIMS] = {1, 2, -1, 0.5, 3};
    const double still[DIMS] = {0};
    double turned[DIMS][DIMS];
    (void)state;
    mirror(u, turned);
    /* the same; moved; wider along the axes; both, in other axes; none at all on one side */
    double want = 0.0, moved = 0.0, wide = 0.0;
    for (int i = 0; i < DIMS; i++) {
        want += (s1[i] - s2[i]) * (s1[i] - s2[i]);
        moved += shift[i] * shift[i];
        wide += s1[i] * s1[i];
    }
    mgi_gaussian a = spread(none, s1, NULL), b = spread(none, s1, NULL);
    assert_float_equal(distance(&a, &b), 0.0, 1e-12);
    a = spread(none, s1, turned), b = spread(none, s1, turned);
    assert_float_equal(distance(&a, &b), 0.0, 1e-12);
    a = spread(none, s1, NULL), b = spread(shift, s1, NULL);
    assert_float_equal(distance(&a, &b), moved, 1e-12);
    a = spread(none, s1, NULL), b = spread(none, s2, NULL);
    assert_float_equal(distance(&a, &b), want, 1e-12);
    a = spread(shift, s1, turned), b = spread(none, s2, turned);
    assert_float_equal(distance(&a, &b), want + moved, 1e-12);
    a = spread(none, s1, turned), b = spread(shift, still, NULL);
    assert_float_equal(distance(&a, &b), wide + moved, 1e-12);
    a = spread(none, still, NULL), b = spread(none, still, NULL);
    assert_float_equal(distance(&a, &b), 0.0, 0.0);
}

/* In two dimensions tr (C1 C2)^(1/2) is the root of tr C1 C2 + 2 (det C1 det C2)^(1/2). */
static void test_turned(void **state)
{
    (void)state;
    for (int k = 0; k <= 8; k++) {
        const double p = cos(k * 0.4), q = sin(k * 0.4), a[DIMS] = {3, 1}, b[DIMS] = {0.5, 2};
        double turned[DIMS][DIMS] = {{p, -q}, {q, p}, {0, 0, 1}, {0, 0, 0, 1}, {0, 0, 0, 0, 1}};
        const double c00 = p * p * 0.25 + q * q * 4.0, c11 = q * q * 0.25 + p * p * 4.0;
        const double root = sqrt(9.0 * c00 + c11 + 2.0 * 3.0 * 1.0);
        mgi_gaussian x = spread(none, a, NULL), y = spread(none, b, turned);
        assert_float_equal(distance(&x, &y), 10.0 + 4.25 - 2.0 * root, 1e-10);
        x = spread(none, b, turned), y = spread(none, a, NULL); /* it is the same both ways */
        assert_float_equal(distance(&x, &y), 10.0 + 4.25 - 2.0 * root, 1e-10);
    }
}

/* Far from zero, where sums of squares would have lost the spread. */
static void test_far(void **state)
{
    const double far[DIMS] = {1e7, -1e7, 1e7, 1e7, 1e7};
    double want = 0.0;
    (void)state;
    for (int i = 0; i < DIMS; i++)
        want += (s1[i] - s2[i]) * (s1[i] - s2[i]);
    mgi_gaussian a = spread(far, s1, NULL), b = spread(far, s2, NULL);
    assert_float_equal(distance(&a, &b), want, 1e-7);
}

/* Sample i of a set, dimension j: ((i i p + j q + 13 i j) mod 97) / 97. */
static mgi_gaussian numbers(int64_t count, int64_t dims, int64_t p, int64_t q)
{
    mgi_gaussian g;
    double x[64];
    OK(mgi_gaussian_init(ctx, dims, &g));
    for (int64_t i = 0; i < count; i++) {
        for (int64_t j = 0; j < dims; j++)
            x[j] = (double)((i * i * p + j * q + i * j * 13) % 97) / 97.0;
        mgi_gaussian_add(&g, x);
    }
    return g;
}

/* SciPy 1.17, NumPy 2.4: with a and b of those numbers, C = numpy.cov(x.T) and m = x.mean(0),
 *     ((ma - mb) ** 2).sum() + trace(Ca) + trace(Cb) - 2 * trace(scipy.linalg.sqrtm(Ca @ Cb)).real
 * Of the last two, with fewer samples than dimensions, whose roots of what should be 0 are 1e-8, the like with
 * numpy.linalg.eigh instead of sqrtm. */
static void test_scipy(void **state)
{
    static const struct {
        int64_t a, b, dims;
        double want, within;
    } cases[] = {{40, 31, 12, 0.1511857174710305, 1e-13},
                 {200, 150, 33, 0.49256607851924183, 1e-13},
                 {6, 40, 12, 0.9622266079742354, 1e-8},
                 {5, 7, 12, 1.3166991518807687, 1e-8}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mgi_gaussian a = numbers(cases[i].a, cases[i].dims, 37, 101),
                     b = numbers(cases[i].b, cases[i].dims, 41, 59);
        assert_float_equal(distance(&a, &b), cases[i].want, cases[i].within);
    }
}

/* min(i, j) + 1 has the eigenvalues 1 / (4 sin^2((2 k + 1) pi / (4 n + 2))). */
static void test_eigenvalues(void **state)
{
    enum { MOST = 70 };
    static double a[MOST * MOST], values[MOST];
    const double pi = acos(-1.0);
    (void)state;
    for (int64_t n = 0; n <= MOST; n += 1 + n / 3) {
        for (int64_t i = 0; i < n * n; i++)
            a[i] = (double)(i / n < i % n ? i / n : i % n) + 1.0;
        OK(mgi_eigenvalues(ctx, a, n, values));
        for (int64_t k = 0; k < n; k++) {
            const double half = sin((double)(2 * k + 1) * pi / (double)(4 * n + 2));
            const double want = 0.25 / (half * half);
            int64_t found = 0;
            for (int64_t i = 0; i < n; i++)
                found += fabs(values[i] - want) < 1e-11 * (double)(n * n);
            assert_int_equal(found, 1);
        }
    }
    for (int64_t i = 0; i < 9; i++) /* one value three times; none */
        a[i] = i % 4 == 0 ? 7.0 : 0.0;
    OK(mgi_eigenvalues(ctx, a, 3, values));
    for (int64_t i = 0; i < 3; i++)
        assert_true(values[i] == 7.0);
    a[1] = a[3] = NAN;
    assert_int_equal(mgi_eigenvalues(ctx, a, 3, values), MGEN_E_NUMERIC);
}

static void refused(const mgi_gaussian *a, const mgi_gaussian *b, mgen_status status,
                    const char *why)
{
    double d = -3.0;
    assert_int_equal(mgi_frechet(ctx, a, b, &d), status);
    assert_non_null(strstr(mgen_last_error(ctx), why));
    assert_true(d == -3.0);
}

static void test_refused(void **state)
{
    mgi_gaussian none_yet, good = spread(none, s1, NULL), other = numbers(4, 6, 1, 2);
    double x[DIMS] = {0};
    (void)state;
    assert_int_equal(mgi_gaussian_init(ctx, 0, &none_yet), MGEN_E_INVALID);
    assert_int_equal(mgi_gaussian_init(ctx, INT64_C(1) << 40, &none_yet), MGEN_E_INVALID);
    OK(mgi_gaussian_init(ctx, DIMS, &none_yet));
    refused(&good, &none_yet, MGEN_E_INVALID, "2 samples or more in each set; one has 0");
    mgi_gaussian_add(&none_yet, x);
    refused(&none_yet, &good, MGEN_E_INVALID, "one has 1");
    refused(&good, &other, MGEN_E_INVALID, "5 and of 6 dimensions");
    x[2] = 1e100;
    mgi_gaussian_add(&none_yet, x);
    refused(&none_yet, &none_yet, MGEN_E_NUMERIC, "out of range");
    x[3] = INFINITY;
    mgi_gaussian_add(&none_yet, x);
    refused(&good, &none_yet, MGEN_E_NUMERIC, "dimension 3");
    mgi_gaussian_finish(ctx, &none_yet);
    mgi_gaussian_finish(ctx, &other);
    mgi_gaussian_finish(ctx, &good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments), cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_turned),  cmocka_unit_test(test_far),
        cmocka_unit_test(test_scipy),   cmocka_unit_test(test_eigenvalues),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
