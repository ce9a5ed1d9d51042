/* SPDX-License-Identifier: MIT
 * Which of cuBLASLt's algorithms multiplies a shape: the heuristic's first, or the fastest of some, with a cuBLASLt and a
 * clock that the host plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cublaslt_problem.h"

static void test_fastest(void **state)
{
    const struct problem before = problem;
    (void)state;
    mgk_cublaslt_time_by(library, &timer);
    fake->algorithms = 5;
    fake->ms[3] = 0.9;
    fake->ms[4] = 0.95;
    run();
    assert_int_equal(fake->most, MGK_CUBLASLT_CANDIDATES);
    assert_int_equal(mgk_cublaslt_chosen(library), 1);
    assert_int_equal(fake->by[0], fake->by[1]);
    assert_int_equal(fake->by[3], fake->by[1] + 1); /* and then it did the product */
    check_codes();
    assert_memory_equal(problem.a, before.a, sizeof before.a);
    assert_memory_equal(problem.b, before.b, sizeof before.b);
    const int products = fake->products;
    run();
    assert_int_equal(fake->products, products + 1);
    assert_int_equal(fake->by[3], fake->by[1] + 2);
    assert_int_equal(fake->asked, 1);
    check_codes();
}

/* Nothing is timed unless the host asks for it, whatever there is to choose from. */
static void test_default(void **state)
{
    (void)state;
    fake->algorithms = 5;
    fake->ms[3] = 0.1;
    run();
    run();
    assert_int_equal(fake->most, 1);
    assert_int_equal(fake->products, 2);
    assert_int_equal(fake->by[0], 2);
    assert_int_equal(clock_of.starts, 0);
}

/* What is captured is not timed; the shape is, as soon as it can be. */
static void test_captured(void **state)
{
    (void)state;
    mgk_cublaslt_time_by(library, &timer);
    fake->algorithms = 3;
    fake->ms[2] = 0.5;
    clock_of.captures = true;
    run();
    run();
    assert_int_equal(fake->products, 2);
    assert_int_equal(fake->by[0], 2);
    assert_int_equal(fake->asked, 1);
    assert_int_equal(mgk_cublaslt_rows(library, NULL), 0);
    clock_of.captures = false;
    run();
    assert_int_equal(mgk_cublaslt_chosen(library), 1);
    clock_of.captures = true; /* known now */
    const int products = fake->products, by = fake->by[2];
    run();
    assert_int_equal(fake->products, products + 1);
    assert_int_equal(fake->by[2], by + 1);
}

/* The heuristic's first stays where another is not clearly faster, and one slow or fast round decides nothing. */
static void test_noise(void **state)
{
    (void)state;
    mgk_cublaslt_time_by(library, &timer);
    fake->algorithms = 2;
    fake->ms[1] = 0.99;
    run();
    assert_int_equal(mgk_cublaslt_chosen(library), 1);
    assert_int_equal(fake->by[0], fake->by[1] + 1);
    /* two to load, two to qualify, in turn; then rounds of two */
    const int at = clock_of.starts;
    fake->ms[1] = 0.9;
    problem.g.m = 2;
    clock_of.noise[(at + 4 + 1) % 64] = 5;    /* the faster one, in the first round */
    clock_of.noise[(at + 4 + 2) % 64] = -0.5; /* the slower one, in the second */
    clock_of.noise[(at + 4 + 7) % 64] = 5;
    const int first = fake->by[0], second = fake->by[1];
    run();
    assert_int_equal(fake->by[1] - second, fake->by[0] - first + 1);
}

/* Short products are timed some at a time. */
static void test_short(void **state)
{
    (void)state;
    mgk_cublaslt_time_by(library, &timer);
    fake->algorithms = 2;
    fake->ms[0] = 0.004;
    fake->ms[1] = 0.003;
    run();
    assert_int_equal(fake->by[0], 2 + 5 * 16);
    assert_int_equal(fake->by[1], 2 + 5 * 16 + 1);
    fake->ms[0] = 0.06;
    fake->ms[1] = 0.05;
    problem.g.m = 3;
    run();
    assert_int_equal(fake->by[0], 2 + 5 * 16 + 2 + 5 * 5);
}

static void test_left_out(void **state)
{
    (void)state;
    mgk_cublaslt_time_by(library, &timer);
    fake->algorithms = 8;
    fake->broken = 1 << 0 | 1 << 4; /* the first, too */
    fake->ms[2] = 1.6;              /* far behind */
    fake->ms[5] = 0.8;
    fake->ms[6] = 0.1;
    fake->workspace[6] = MGK_CUBLASLT_ROOM + 1; /* needs more than there is */
    run();
    assert_int_equal(mgk_cublaslt_chosen(library), 1);
    assert_int_equal(fake->by[0], 1);
    assert_int_equal(fake->by[4], 1);
    assert_int_equal(fake->by[6], 0);
    assert_int_equal(fake->by[2], 2);
    assert_int_equal(fake->by[5], fake->by[1] + 1);
    check_codes();
}

#ifndef MGI_HAVE_CUDA
/* All fail: the library's own kernel, each time, and nothing is kept for others. */
static void test_all_fail(void **state)
{
    (void)state;
    mgk_cublaslt_time_by(library, &timer);
    fake->algorithms = 2;
    fake->broken = 3;
    run();
    run();
    assert_int_equal(fallbacks, 2);
    assert_int_equal(fake->asked, 1);
    assert_int_equal(mgk_cublaslt_rows(library, NULL), 0);
    fake->broken = 0;
    clock_of.lost = true; /* while it is measured */
    problem.g.m = 2;
    run();
    assert_int_equal(mgk_cublaslt_chosen(library), 0);
}

/* What is added to is read, but written only once: the rest goes beside it. */
static void test_added_to(void **state)
{
    mgk_matmul_args g = product_of(true, false);
    (void)state;
    mgk_cublaslt_time_by(library, &timer);
    fake->algorithms = 3;
    fake->ms[1] = 0.5;
    fill();
    g.accumulate = 1;
    compare(g);
    assert_int_equal(mgk_cublaslt_chosen(library), 1);
    assert_int_equal(clock_of.taken, 1);
    assert_int_equal(clock_of.bytes, (2 * 130 + 6 * 16 + 9) * sizeof(float));
    compare(g);
    assert_int_equal(clock_of.taken, 1);
    /* where there is no memory, the heuristic's stays, without trying again and again */
    clock_of.poor = true;
    g.m = 6;
    const int products = fake->products;
    compare(g);
    compare(g);
    assert_int_equal(fake->products, products + 2);
    assert_int_equal(fake->asked, 2);
    assert_int_equal(mgk_cublaslt_chosen(library), 1);
}
#endif

/* ---- what is kept for others ---- */

static void learn_all(const void *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mgk_cublaslt_learn(library, (const char *)rows + i * MGK_CUBLASLT_ROW);
}

static void test_told(void **state)
{
    static unsigned char rows[4 * MGK_CUBLASLT_ROW];
    (void)state;
    mgk_cublaslt_time_by(library, &timer);
    fake->algorithms = 3;
    fake->ms[2] = 0.5;
    for (problem.g.m = 1; problem.g.m <= 3; problem.g.m++)
        run();
    assert_int_equal(mgk_cublaslt_rows(library, NULL), 3);
    assert_int_equal(mgk_cublaslt_rows(library, rows), 3);

    mgk_cublaslt_time_by(library, NULL); /* all is forgotten */
    assert_int_equal(mgk_cublaslt_rows(library, NULL), 0);
    mgk_cublaslt_time_by(library, &timer);
    fake->ms[2] = 2;    /* it would not be chosen now */
    learn_all(rows, 4); /* the last is all 0: nothing */
    assert_int_equal(mgk_cublaslt_rows(library, NULL), 3);
    const int asked = fake->asked, starts = clock_of.starts, by = fake->by[2];
    clock_of.captures = true;
    for (int times = 0; times < 2; times++)
        for (problem.g.m = 1; problem.g.m <= 2; problem.g.m++)
            run();
    clock_of.captures = false;
    assert_int_equal(fake->by[2], by + 4);
    assert_int_equal(fake->asked, asked);
    assert_int_equal(fake->checked, 2); /* once each */
    assert_int_equal(clock_of.starts, starts);
    fake->unfit =
        1 << 2; /* the third shape's is not taken here: it is timed as if nobody had told */
    problem.g.m = 3;
    run();
    assert_int_equal(fake->checked, 3);
    assert_int_equal(fake->asked, asked + 1);
    assert_true(clock_of.starts > starts);
    fake->unfit = 0;
    learn_all(rows, 3); /* what is known is known better */
    run();
    assert_int_equal(fake->checked, 3);
    assert_true(fake->by[0] > 0);
    problem.g.m = M;
}

/* What others have timed is better than what could not be timed here; and it pushes nothing out. */
static void test_told_later(void **state)
{
    unsigned char row[MGK_CUBLASLT_ROW], other[MGK_CUBLASLT_ROW];
    mgk_cublaslt_shape shape;
    (void)state;
    mgk_cublaslt_time_by(library, &timer);
    fake->algorithms = 2;
    fake->ms[1] = 0.5;
    run();
    assert_int_equal(mgk_cublaslt_rows(library, row), 1);
    mgk_cublaslt_time_by(library, NULL);
    mgk_cublaslt_time_by(library, &timer);
    clock_of.captures = true;
    run();
    mgk_cublaslt_learn(library, row);
    const int by = fake->by[1];
    run();
    assert_int_equal(fake->by[1], by + 1);
    clock_of.captures = false;
    memcpy(&shape, row, sizeof shape);
    for (int i = 0; i < 2 * MGK_CUBLASLT_KEPT; i++) {
        shape.m = 1000 + i;
        memcpy(other, row, sizeof other);
        memcpy(other, &shape, sizeof shape);
        mgk_cublaslt_learn(library, other);
    }
    assert_true(mgk_cublaslt_rows(library, NULL) > MGK_CUBLASLT_KEPT / 2);
    assert_true(mgk_cublaslt_rows(library, NULL) <= MGK_CUBLASLT_KEPT);
    const int checked = fake->checked, asked = fake->asked;
    run();
    assert_int_equal(fake->by[1], by + 2);
    assert_int_equal(fake->checked, checked);
    assert_int_equal(fake->asked, asked);
}

/* An algorithm that nobody made. */
static void test_told_nonsense(void **state)
{
    unsigned char row[MGK_CUBLASLT_ROW];
    (void)state;
    mgk_cublaslt_time_by(library, &timer);
    fake->algorithms = 2;
    run();
    assert_int_equal(mgk_cublaslt_rows(library, row), 1);
    for (size_t i = sizeof(mgk_cublaslt_shape); i < sizeof row; i++)
        row[i] = 0xa5;
    mgk_cublaslt_time_by(library, NULL);
    mgk_cublaslt_time_by(library, &timer);
    mgk_cublaslt_learn(library, row);
    run();
    assert_int_equal(fake->checked, 1);
    assert_int_equal(mgk_cublaslt_chosen(library), 2);
    check_codes();
}

/* More shapes than are kept: the right products all the same. */
static void test_many_shapes(void **state)
{
    const int shapes = MGK_CUBLASLT_KEPT + 500;
    (void)state;
    fake->algorithms = 1;
    problem.g.m = 1;
    problem.g.k = 16;
    problem.g.n = 16;
    for (int i = 0; i < shapes; i++) {
        problem.g.lda = 64 + 16 * i; /* one row: nothing lies there */
        run();
    }
    assert_int_equal(fake->asked, shapes);
    for (int i = 0; i < 100; i++) {
        problem.g.lda = 64 + 16 * i;
        run();
    }
    assert_true(fake->asked < shapes + 60); /* of the first ones, most are still there */
    assert_int_equal(fake->products, shapes + 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fastest),     TEST(test_default),    TEST(test_captured),
        TEST(test_noise),       TEST(test_short),      TEST(test_left_out),
        TEST(test_told),        TEST(test_told_later), TEST(test_told_nonsense),
        TEST(test_many_shapes),
#ifndef MGI_HAVE_CUDA
        TEST(test_all_fail),    TEST(test_added_to),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
