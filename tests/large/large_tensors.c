/* SPDX-License-Identifier: MIT
 * Tensors of more than 2^31 elements: a hidden layer of the 30B model at 73,728 tokens, 2.4 * 10^9 values. */
#include "kernels/common/bf16.h"
#include "kernels/glu/glu.h"
#include "tensor/ops.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { INNER = 2 };
static const int64_t tokens = 73728, wide = 32768;

static double available_gigabytes(void)
{
    char line[128];
    double kilobytes = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lf", &kilobytes) == 1)
            break;
    if (f)
        fclose(f);
    return kilobytes * 1e-6;
}

static double x_at(int64_t token, int k)
{
    return (double)(token % 7 - 3 + k) / 4;
}

static double w_at(int64_t column, int k)
{
    return (double)(column % 5 - 2 - k) / 2;
}

static double product_at(int64_t token, int64_t column)
{
    double sum = 0;
    for (int k = 0; k < INNER; k++)
        sum += x_at(token, k) * w_at(column, k);
    return sum;
}

static bool near(uint16_t got, double want)
{
    return fabs((double)mgk_from_bf16(got) - want) <= 0.008 * fabs(want) + 1e-6;
}

static T *filled(mgi_run *run, int64_t rows, double (*at)(int64_t, int))
{
    T *t = mgi_new(run, MGK_BF16, MGI_DIMS(rows, INNER));
    uint16_t *p = t ? mgi_data(t) : NULL;
    for (int64_t i = 0; p && i < rows * INNER; i++)
        p[i] = mgk_to_bf16((float)at(i / INNER, (int)(i % INNER)));
    return t;
}

/* The product that widens, and the gate that halves again: 4.8 and 2.4 GB in bf16. */
static void test_hidden_layer(void **state)
{
    (void)state;
    if (available_gigabytes() < 10) {
        print_message("less than 10 GB of memory are free\n");
        skip();
    }
    mgen_context *ctx;
    mgi_run run;
    assert_int_equal(mgen_context_create(NULL, &ctx), MGEN_OK);
    mgi_run_init(&run, ctx, false);
    T *u = mgi_linear(&run, filled(&run, tokens, x_at), filled(&run, wide, w_at), NULL);
    T *y = mgi_glu(&run, u, MGK_GLU_SILU);
    assert_non_null(y);
    assert_true(u->count > INT64_C(1) << 31);
    const uint16_t *pu = mgi_data(u), *py = mgi_data(y);
    for (int64_t i = 0; i < 4000; i++) { /* spread over all, the last values among them */
        int64_t token = tokens - 1 - i * 18, column = (wide - 1 + i * 977) % wide, half = wide / 2;
        assert_true(near(pu[token * wide + column], product_at(token, column)));
        double a = mgk_from_bf16(pu[token * wide + column % half]);
        double b = mgk_from_bf16(pu[token * wide + column % half + half]);
        assert_true(near(py[token * half + column % half], a / (1 + exp(-a)) * b));
    }
    mgi_run_finish(&run);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hidden_layer)};
    return cmocka_run_group_tests_name("large", tests, NULL, NULL);
}
