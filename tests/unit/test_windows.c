/* SPDX-License-Identifier: MIT
 * Windows in time: cover, overlap, shares. */
#include "flow/windows.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_known(void **state)
{
    (void)state;
    mgi_windows w = mgi_windows_make(10, 4, 2);
    assert_int_equal(w.count, 4);
    for (int64_t i = 0; i < 4; i++)
        assert_int_equal(mgi_window_first(&w, i), 2 * i);
    assert_true(mgi_window_share(&w, 0, 0) == 1.0f);
    assert_true(mgi_window_share(&w, 0, 1) == 1.0f);
    assert_float_equal(mgi_window_share(&w, 0, 2), 2.0f / 3.0f, 1e-7f);
    assert_float_equal(mgi_window_share(&w, 1, 2), 1.0f / 3.0f, 1e-7f);
    assert_float_equal(mgi_window_share(&w, 0, 3), 1.0f / 3.0f, 1e-7f);
    assert_true(mgi_window_share(&w, 0, 4) == 0.0f);
    assert_true(mgi_window_share(&w, 2, 3) == 0.0f);
    /* eight frames of which four are shared: four fifths, three fifths, ... */
    w = mgi_windows_make(12, 8, 4);
    assert_int_equal(w.count, 2);
    for (int64_t f = 4; f < 8; f++)
        assert_float_equal(mgi_window_share(&w, 0, f), (float)(8 - f) / 5.0f, 1e-7f);
    /* the last is moved back to end with the last frame */
    w = mgi_windows_make(9, 4, 2);
    assert_int_equal(w.count, 4);
    assert_int_equal(mgi_window_first(&w, 2), 4);
    assert_int_equal(mgi_window_first(&w, 3), 5);
    /* the upsampler's: fourteen frames, four of them shared */
    w = mgi_windows_make(34, 14, 4);
    assert_int_equal(w.count, 3);
    for (int64_t i = 0; i < 3; i++)
        assert_int_equal(mgi_window_first(&w, i), 10 * i);
    for (int64_t f = 0; f < 10; f++)
        assert_true(mgi_window_share(&w, 0, f) == 1.0f);
    for (int64_t f = 10; f < 14; f++)
        assert_float_equal(mgi_window_share(&w, 0, f), (float)(14 - f) / 5.0f, 1e-7f);
    /* none shared, but where the last is moved back */
    w = mgi_windows_make(10, 4, 0);
    assert_int_equal(w.count, 3);
    assert_int_equal(mgi_window_first(&w, 1), 4);
    assert_int_equal(mgi_window_first(&w, 2), 6);
}

/* One window that holds everything, alone: nothing is blended. */
static void test_short(void **state)
{
    (void)state;
    for (int64_t frames = 1; frames <= 4; frames++) {
        mgi_windows w = mgi_windows_make(frames, 4, 2);
        assert_int_equal(w.count, 1);
        assert_int_equal(w.length, frames);
        assert_int_equal(mgi_window_first(&w, 0), 0);
        for (int64_t f = 0; f < frames; f++)
            assert_true(mgi_window_share(&w, 0, f) == 1.0f);
    }
}

static void check_windows(int64_t frames, int64_t length, int64_t overlap)
{
    mgi_windows w = mgi_windows_make(frames, length, overlap);
    for (int64_t i = 0; i < w.count; i++) {
        int64_t first = mgi_window_first(&w, i);
        int64_t next = i + 1 < w.count ? mgi_window_first(&w, i + 1) : first + 1;
        assert_true(first >= 0 && first + w.length <= frames);
        assert_true(next > first && next <= first + w.length);
        if (w.length > 1 && i + 1 < w.count) /* so many are shared, or more */
            assert_true(next - first <= w.length - overlap);
    }
    assert_int_equal(mgi_window_first(&w, w.count - 1) + w.length, frames);
    for (int64_t f = 0; f < frames; f++) {
        double sum = 0.0;
        for (int64_t i = 0; i < w.count; i++) {
            float share = mgi_window_share(&w, i, f);
            int64_t at = f - mgi_window_first(&w, i);
            assert_true((share > 0.0f) == (at >= 0 && at < w.length));
            sum += (double)share;
        }
        assert_true(fabs(sum - 1.0) < 1e-6);
    }
}

static void test_all(void **state)
{
    (void)state;
    for (int64_t length = 1; length <= 17; length++)
        for (int64_t frames = 1; frames <= 90; frames++)
            for (int64_t overlap = 0; overlap <= length / 2; overlap++)
                check_windows(frames, length, overlap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_short),
        cmocka_unit_test(test_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
