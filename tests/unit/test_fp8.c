/* SPDX-License-Identifier: MIT
 * E4M3 (kernels/fp8/e4m3.h), every code and every value of bf16, against what the format says of sign, exponent and
 * mantissa. */
#include "kernels/common/bf16.h"
#include "kernels/fp8/e4m3.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* (-1)^s 2^(e - 7) 1.mmm, or 2^-6 0.mmm where the exponent's bits are 0 */
static double value_of(int code)
{
    const int e = code >> 3 & 15, m = code & 7;
    const double size = e ? ldexp(1 + m / 8.0, e - 7) : ldexp(m / 8.0, -6);
    return code & 0x80 ? -size : size;
}

static void test_decode(void **state)
{
    (void)state;
    for (int code = 0; code < 256; code++) {
        const float v = mgk_from_e4m3((uint8_t)code);
        if ((code & 0x7f) == 0x7f) {
            assert_true(isnan(v));
            continue;
        }
        assert_true((double)v == value_of(code));
        assert_int_equal(signbit(v) != 0, code >> 7);
        assert_int_equal(mgk_to_e4m3(v), code);
    }
    assert_true(mgk_from_e4m3(MGK_E4M3_LARGEST) == 448);
}

/* The nearest code of v >= 0, the even one of two, tried one by one. */
static int nearest(double v)
{
    int best = 0;
    for (int code = 1; code <= MGK_E4M3_LARGEST; code++) {
        const double was = fabs(v - value_of(best)), is = fabs(v - value_of(code));
        if (is < was || (is == was && code % 2 == 0))
            best = code;
    }
    return best;
}

static void expect(float v)
{
    const int sign = signbit(v) ? 0x80 : 0;
    const int want = isfinite(v) ? sign | nearest(fabs((double)v)) : MGK_E4M3_NAN;
    if (mgk_to_e4m3(v) != want)
        fail_msg("%a becomes code %#x, not %#x", (double)v, mgk_to_e4m3(v), want);
}

static void test_every_bf16(void **state)
{
    (void)state;
    for (int bits = 0; bits < 65536; bits++)
        expect(mgk_from_bf16((uint16_t)bits));
}

/* Each middle between two codes, and the floats beside it. */
static void test_ties(void **state)
{
    (void)state;
    for (int code = 0; code <= MGK_E4M3_LARGEST; code++) {
        const float next = code < MGK_E4M3_LARGEST ? (float)value_of(code + 1) : 480;
        const float middle = ((float)value_of(code) + next) / 2;
        const float beside[] = {middle, nextafterf(middle, 0), nextafterf(middle, INFINITY)};
        for (int i = 0; i < 3; i++) {
            expect(beside[i]);
            expect(-beside[i]);
        }
    }
    expect(0x1.fffffep127f);
    expect(0x1p-149f);
}

/* The smallest exponent whose scale brings the value to 448 or below. */
static void expect_exponent(float largest)
{
    int e = -100;
    while (e < 100 && ldexp((double)largest, -e) > 448)
        e++;
    assert_int_equal(mgk_e4m3_exponent(largest), largest > 0 ? e : 0);
    assert_true(mgk_power_of_two(e) == ldexpf(1, e));
}

static void test_exponents(void **state)
{
    (void)state;
    expect_exponent(0);
    for (int bits = 0; bits < 0x7f80; bits++) { /* all finite bf16, and the float below each */
        const float v = mgk_from_bf16((uint16_t)bits);
        expect_exponent(v);
        if (v > 0)
            expect_exponent(nextafterf(v, 0));
    }
}

/* What products by way of bf16 rest on. */
static void test_scaled_codes_are_bf16(void **state)
{
    (void)state;
    for (int code = 0; code < 256; code++)
        for (int e = -MGK_E4M3_SCALE_LOG2; e <= MGK_E4M3_SCALE_LOG2; e++) {
            const float v = mgk_from_e4m3((uint8_t)code) * mgk_power_of_two(e);
            if ((code & 0x7f) != 0x7f)
                assert_true(isfinite(v) && (double)v == ldexp(value_of(code), e) &&
                            mgk_from_bf16(mgk_to_bf16(v)) == v);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_every_bf16),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_exponents),
        cmocka_unit_test(test_scaled_codes_are_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
