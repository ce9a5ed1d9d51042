/* SPDX-License-Identifier: MIT
 * Clips spoiled for the spatial upsampler: what is drawn, threads, what is refused, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/resize.h"
#include "degrade_clips.h"

/* Everything happens. */
static mgi_degrade_options everything(void)
{
    mgi_degrade_options o = nothing();
    o.ringing = o.jpeg_last = 1.0f;
    for (int i = 0; i < 2; i++) {
        o.pass[i].blur = o.pass[i].anisotropic = o.pass[i].resize = o.pass[i].noise = 1.0f;
        o.pass[i].shot = (float)i;
        o.pass[i].jpeg = o.pass[i].halved = 1.0f;
    }
    return o;
}

/* Memory that fails at a chosen call, with all later ones or alone. */
typedef struct memory {
    _Atomic int64_t blocks;
    int calls, fail_at;
    bool alone;
} memory;

static void *memory_alloc(void *user, size_t size)
{
    memory *m = user;
    if (m->fail_at && (++m->calls == m->fail_at || (m->calls > m->fail_at && !m->alone)))
        return NULL;
    m->blocks++;
    return malloc(size);
}

static void memory_free(void *user, void *ptr, size_t size)
{
    (void)size;
    ((memory *)user)->blocks--;
    free(ptr);
}

/* ---- whole clips ---------------------------------------------------------------------------------- */

/* A flat clip stays flat, whatever happens to it but noise: compression alone may move its level. */
static void test_flat(void **state)
{
    enum { W = 48, L = 24 };
    (void)state;
    for (int all = 0; all < 2; all++)
        for (uint64_t element = 0; element < 24; element++) {
            mgi_degrade_options o = all ? everything() : (mgi_degrade_options){0};
            const uint8_t colour[3] = {(uint8_t)(37 * element), 120, (uint8_t)(255 - 9 * element)};
            uint8_t p[W * W * 3], q[L * L * 3];
            o.pass[0].noise = o.pass[1].noise = -1.0f;
            for (int i = 0; i < W * W; i++)
                memcpy(p + 3 * i, colour, 3);
            OK(mgi_degrade_clip(ctx, &o, 5, element, p, 1, W, W, L, L, q));
            for (int i = 0; i < L * L; i++)
                for (int c = 0; c < 3; c++) {
                    assert_in_range(abs(q[3 * i + c] - q[c]), 0, 1);
                    /* quality 50: 16 / 8 and 17 / 8 levels, half of them, thrice and of two passes */
                    assert_in_range(abs(q[3 * i + c] - colour[c]), 0, 6);
                }
        }
}

static void test_one_draw(void **state)
{
    enum { W = 48, L = 24, FRAMES = 5, BIG = W * W * 3, SMALL = L * L * 3, ELEMENTS = 40 };
    uint8_t *p = picture(1, W, W), *clip = test_malloc(FRAMES * BIG);
    uint8_t *low = test_malloc(FRAMES * SMALL), *other = test_malloc(FRAMES * SMALL);
    uint8_t *all = test_malloc(ELEMENTS * SMALL);
    mgi_degrade_options quiet = {0}, noisy = {.clean = -1.0f};
    (void)state;
    quiet.pass[0].noise = quiet.pass[1].noise = -1.0f;
    noisy.pass[0].noise = 1.0f;
    for (int f = 0; f < FRAMES; f++)
        memcpy(clip + f * BIG, p, BIG);
    for (uint64_t element = 0; element < ELEMENTS; element++) {
        /* without noise, frames that are the same stay so */
        OK(mgi_degrade_clip(ctx, &quiet, 5, element, clip, FRAMES, W, W, L, L, low));
        for (int f = 1; f < FRAMES; f++)
            assert_memory_equal(low + f * SMALL, low, SMALL);
        /* with it no two do; and a frame does not depend on those behind it */
        OK(mgi_degrade_clip(ctx, &noisy, 5, element, clip, FRAMES, W, W, L, L, low));
        for (int f = 1; f < FRAMES; f++)
            for (int g = 0; g < f; g++)
                assert_memory_not_equal(low + f * SMALL, low + g * SMALL, SMALL);
        OK(mgi_degrade_clip(ctx, &noisy, 5, element, clip, 3, W, W, L, L, other));
        assert_memory_equal(other, low, 3 * SMALL);
        OK(mgi_degrade_clip(ctx, &noisy, 6, element, clip, 1, W, W, L, L, other));
        assert_memory_not_equal(other, low, SMALL); /* another seed */
        memcpy(all + element * SMALL, low, SMALL);
        for (uint64_t e = 0; e < element; e++)
            assert_memory_not_equal(all + e * SMALL, low, SMALL);
    }
    test_free(all);
    test_free(other);
    test_free(low);
    test_free(clip);
    test_free(p);
}

static void test_threads(void **state)
{
    enum { W = 50, H = 38, LW = 25, LH = 19, FRAMES = 7, SMALL = FRAMES * LW * LH * 3 };
    uint8_t *p = picture(FRAMES, W, H), low[SMALL], again[SMALL];
    mgen_context *one = new_context(1, NULL), *three = new_context(3, NULL);
    const mgi_degrade_options all = everything();
    (void)state;
    for (uint64_t element = 0; element < 16; element++) {
        const mgi_degrade_options *o = element % 2 ? &all : NULL;
        assert_int_equal(mgi_degrade_clip(one, o, 1, element, p, FRAMES, W, H, LW, LH, low),
                         MGEN_OK);
        for (int k = 0; k < 3; k++) {
            memset(again, 0, SMALL);
            assert_int_equal(mgi_degrade_clip(three, o, 1, element, p, FRAMES, W, H, LW, LH, again),
                             MGEN_OK);
            assert_memory_equal(again, low, SMALL);
        }
    }
    mgi_context_free(three);
    mgi_context_free(one);
    test_free(p);
}

/* Sides that are no multiple of a block, down to single pixels; nothing is written behind the clip. */
static void test_small_sides(void **state)
{
    static const int sizes[][4] = {
        {1, 1, 1, 1},  {2, 1, 1, 1},     {3, 5, 1, 1},   {7, 1, 3, 1},   {1, 9, 1, 4},
        {17, 9, 9, 5}, {16, 16, 15, 16}, {33, 31, 8, 8}, {8, 64, 8, 16}, {65, 20, 64, 19}};
    const mgi_degrade_options all = everything();
    (void)state;
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        const int *s = sizes[k];
        size_t bytes = (size_t)(2 * 3 * s[2] * s[3]);
        uint8_t *p = picture(2, s[0], s[1]), *low = test_malloc(bytes + 64);
        for (uint64_t element = 0; element < 8; element++) {
            memset(low, 0xA5, bytes + 64);
            OK(mgi_degrade_clip(ctx, &all, 1, element, p, 2, s[0], s[1], s[2], s[3], low));
            for (size_t i = 0; i < 64; i++)
                assert_int_equal(low[bytes + i], 0xA5);
        }
        test_free(low);
        test_free(p);
    }
}

/* ---- draws ---------------------------------------------------------------------------------------- */

/* As often as the chances say, over all of each range. */
static void test_draws(void **state)
{
    enum { N = 6000 };
    const mgi_degrade_sizes sizes = {1280, 640, 640, 320};
    int clean = 0, ringing = 0, last = 0, blur[2] = {0}, other[2] = {0}, resize[2] = {0};
    int gauss[2] = {0}, shot[2] = {0}, jpeg_[2] = {0}, halved[2] = {0}, upper[2] = {0};
    double least = 9.0, most = 0.0, few = 1e9, many = 0.0;
    int poor = 100, good = 0, blurred_twice = 0, compressed_twice = 0;
    (void)state;
    for (uint64_t element = 0; element < N; element++) {
        mgi_degrade_draw d;
        OK(mgi_degrade_draw_clip(ctx, NULL, 3, element, &sizes, &d));
        bool nothing_ = !d.cutoff && !d.jpeg_last;
        for (int i = 0; i < 2; i++) {
            const mgi_degrade_step *s = &d.pass[i];
            int64_t was = i ? d.pass[0].width : sizes.width;
            int64_t base = i ? sizes.low_width : sizes.width;
            nothing_ = nothing_ && !s->sigma[0] && s->width == was && !s->deviation &&
                       !s->photons && !s->quality;
            blur[i] += s->sigma[0] > 0.0f;
            other[i] += s->sigma[0] != s->sigma[1];
            resize[i] += s->width != was;
            if (s->width != was) {
                assert_in_range(s->width, (int64_t)((i ? 0.75 : 0.6) * (double)base),
                                (int64_t)(1.2 * (double)base) + 1);
                assert_in_range(llabs(s->width - 2 * s->height), 0, 1);
                upper[i] += (double)s->width > sqrt((i ? 0.75 : 0.6) * 1.2) * (double)base;
            }
            gauss[i] += s->deviation > 0.0f;
            shot[i] += s->photons > 0.0f;
            assert_true(!s->deviation || !s->photons);
            jpeg_[i] += s->quality > 0;
            halved[i] += s->halved;
        }
        blurred_twice += d.pass[0].sigma[0] > 0.0f && d.pass[1].sigma[0] > 0.0f;
        compressed_twice += d.pass[0].quality && d.pass[1].quality;
        if (d.pass[0].sigma[0] > 0.0f) {
            least = fmin(least, (double)d.pass[0].sigma[0]);
            most = fmax(most, (double)d.pass[0].sigma[1]);
        }
        if (d.pass[1].photons > 0.0f) {
            few = fmin(few, (double)d.pass[1].photons);
            many = fmax(many, (double)d.pass[1].photons);
        }
        if (d.pass[0].quality) {
            poor = d.pass[0].quality < poor ? d.pass[0].quality : poor;
            good = d.pass[0].quality > good ? d.pass[0].quality : good;
        }
        clean += nothing_;
        ringing += d.cutoff > 0.0f;
        last += d.jpeg_last;
    }
    const double each = 4.0 * 0.5 * sqrt(N), spoiled = 0.9 * N; /* four deviations, at most */
    assert_near(clean, 0.1 * N, each); /* that no chance of ten hits is rare enough */
    assert_near(ringing, 0.4 * spoiled, each);
    assert_near(last, 0.5 * spoiled, each);
    for (int i = 0; i < 2; i++) {
        double noise = i ? 0.4 : 0.6;
        assert_near(blur[i], (i ? 0.5 : 0.8) * spoiled, each);
        assert_near(other[i], 0.4 * (i ? 0.5 : 0.8) * spoiled, each);
        assert_near(resize[i], 0.8 * spoiled, each);
        assert_near(upper[i], 0.5 * 0.8 * spoiled, each);
        assert_near(gauss[i], 0.6 * noise * spoiled, each);
        assert_near(shot[i], 0.4 * noise * spoiled, each);
        assert_near(jpeg_[i], 0.7 * spoiled, each);
        assert_near(halved[i], 0.5 * 0.7 * spoiled, each);
    }
    assert_near(blurred_twice, 0.8 * 0.5 * spoiled,
                each); /* the passes know nothing of each other */
    assert_near(compressed_twice, 0.7 * 0.7 * spoiled, each);
    assert_true(least >= 0.2 && least < 0.21 && most <= 1.2001 && most > 1.19);
    assert_true(few >= 999.0 && few < 1010.0 && many <= 8001.0 && many > 7900.0);
    assert_int_equal(poor, 50);
    assert_int_equal(good, 95);
}

/* What is changed of one parameter leaves the others as they are. */
static void test_draws_apart(void **state)
{
    const mgi_degrade_sizes sizes = {128, 128, 64, 64};
    (void)state;
    for (uint64_t element = 0; element < 50; element++) {
        mgi_degrade_options o = {0};
        mgi_degrade_draw a, b;
        OK(mgi_degrade_draw_clip(ctx, NULL, 3, element, &sizes, &a));
        OK(mgi_degrade_draw_clip(ctx, &o, 3, element, &sizes, &b)); /* zeros are the defaults */
        assert_memory_equal(&a.pass[1].sigma, &b.pass[1].sigma, sizeof(a.pass[1].sigma));
        assert_int_equal(a.pass[0].quality, b.pass[0].quality);
        assert_int_equal(a.pass[0].width, b.pass[0].width);
        o.pass[0].blur = o.pass[0].noise = -1.0f;
        o.pass[0].quality = just(33.0f);
        OK(mgi_degrade_draw_clip(ctx, &o, 3, element, &sizes, &b));
        assert_true(b.pass[0].sigma[0] == 0.0f && b.pass[0].deviation == 0.0f &&
                    b.pass[0].photons == 0.0f);
        assert_int_equal(b.pass[0].quality, a.pass[0].quality ? 33 : 0);
        assert_int_equal(b.pass[0].width, a.pass[0].width);
        assert_int_equal(b.pass[0].halved, a.pass[0].halved);
        assert_true(b.pass[1].sigma[0] == a.pass[1].sigma[0] && b.cutoff == a.cutoff);
        assert_int_equal(b.pass[1].quality, a.pass[1].quality);
    }
}

/* ---- what is refused ------------------------------------------------------------------------------ */

static void assert_refused(const mgi_degrade_options *o, int64_t count, int64_t w, int64_t h,
                           int64_t lw, int64_t lh, const char *part)
{
    uint8_t frame[16 * 16 * 3] = {0}, low[16 * 16 * 3];
    mgen_status got = mgi_degrade_clip(ctx, o, 1, 0, frame, count, w, h, lw, lh, low);
    if (got != MGEN_E_INVALID || !strstr(mgen_last_error(ctx), part))
        fail_msg("%s '%s', wanted '%s'", mgen_status_name(got), mgen_last_error(ctx), part);
}

static void test_refused_sizes(void **state)
{
    (void)state;
    assert_refused(NULL, 0, 16, 16, 8, 8, "0 frames");
    assert_refused(NULL, -1, 16, 16, 8, 8, "-1 frames");
    assert_refused(NULL, (1 << 20) + 1, 16, 16, 8, 8, "1048577 frames");
    assert_refused(NULL, 1, 0, 16, 0, 8, "1 to 16384");
    assert_refused(NULL, 1, 16, 16, 0, 8, "1 to 16384");
    assert_refused(NULL, 1, 16, 16, 8, 0, "1 to 16384");
    assert_refused(NULL, 1, 16, 16, 8, -8, "1 to 16384");
    assert_refused(NULL, 1, 0, 16, 8, 8, "cannot enlarge");
    assert_refused(NULL, 1, 16385, 16, 8, 8, "1 to 16384");
    assert_refused(NULL, 1, 16, INT64_MAX, 8, 8, "1 to 16384");
    assert_refused(NULL, 1, 16, 16, 17, 8, "cannot enlarge");
    assert_refused(NULL, 1, 16, 16, 8, 17, "cannot enlarge");
}

static void test_refused_options(void **state)
{
    mgi_degrade_options o;
    (void)state;
#define REFUSED(field, value, part)                                                                \
    do {                                                                                           \
        o = (mgi_degrade_options){0};                                                              \
        o.field = value;                                                                           \
        assert_refused(&o, 1, 16, 16, 8, 8, part);                                                 \
    } while (0)
#define RANGE(low, high) ((mgi_degrade_range){low, high})
    REFUSED(clean, 1.01f, "'clean' is 1.01");
    REFUSED(ringing, NAN, "'ringing'");
    REFUSED(jpeg_last, 2.0f, "'jpeg_last'");
    REFUSED(cutoff, RANGE(0.09f, 0.5f), "'cutoff'");
    REFUSED(cutoff, RANGE(0.5f, 1.01f), "'cutoff'");
    for (int i = 0; i < 2; i++) {
        REFUSED(pass[i].blur, 1.5f, "'blur'");
        REFUSED(pass[i].anisotropic, 1.5f, "'anisotropic'");
        REFUSED(pass[i].resize, 1.5f, "'resize'");
        REFUSED(pass[i].area, 1.5f, "'area'");
        REFUSED(pass[i].noise, 1.5f, "'noise'");
        REFUSED(pass[i].shot, 1.5f, "'shot'");
        REFUSED(pass[i].grey, 1.5f, "'grey'");
        REFUSED(pass[i].jpeg, 1.5f, "'jpeg'");
        REFUSED(pass[i].halved, 1.5f, "'halved'");
        REFUSED(pass[i].sigma, RANGE(0.04f, 1.0f), "'sigma' is 0.04 to 1");
        REFUSED(pass[i].sigma, RANGE(0.5f, 8.01f), "'sigma'");
        REFUSED(pass[i].sigma, RANGE(0.0f, 1.0f), "'sigma'");
        REFUSED(pass[i].sigma, RANGE(2.0f, 1.0f), "the lower end first");
        REFUSED(pass[i].factor, RANGE(0.09f, 1.0f), "'factor'");
        REFUSED(pass[i].factor, RANGE(0.5f, 2.01f), "'factor'");
        REFUSED(pass[i].deviation, RANGE(-1.0f, 1.0f), "'deviation'");
        REFUSED(pass[i].deviation, RANGE(1.0f, 256.0f), "'deviation'");
        REFUSED(pass[i].photons, RANGE(0.9f, 100.0f), "'photons'");
        REFUSED(pass[i].photons, RANGE(1.0f, NAN), "'photons'");
        REFUSED(pass[i].quality, RANGE(0.9f, 50.0f), "'quality'");
        REFUSED(pass[i].quality, RANGE(50.0f, 101.0f), "'quality'");
    }
}

static void test_no_memory(void **state)
{
    enum { W = 20, L = 10 };
    uint8_t *p = picture(2, W, W), low[2 * L * L * 3];
    const mgi_degrade_options all = everything();
    int longest = 0;
    (void)state;
    for (int alone = 0; alone < 2; alone++)
        for (int k = 1;; k++) {
            memory m = {.alone = alone};
            const mgen_allocator allocator = {memory_alloc, memory_free, &m};
            mgen_context *c = new_context(3, &allocator);
            int64_t before = m.blocks;
            m.fail_at = k;
            mgen_status got = mgi_degrade_clip(c, &all, 1, 0, p, 2, W, W, L, L, low);
            m.fail_at = 0;
            assert_int_equal(m.blocks, before);
            if (got != MGEN_OK)
                assert_int_equal(got, MGEN_E_NO_MEMORY);
            mgi_context_free(c);
            assert_int_equal(m.blocks, 0);
            longest = k;
            if (got == MGEN_OK)
                break;
        }
    for (int k = 1; k <= 2; k++) { /* a side by itself leaves nothing behind, either */
        memory m = {.blocks = 0};
        const mgen_allocator allocator = {memory_alloc, memory_free, &m};
        mgen_context *c = new_context(1, &allocator);
        int64_t before = m.blocks;
        mgi_resize_side side;
        m.fail_at = k;
        assert_int_equal(mgi_resize_side_init(&side, c, 9, 4, MGI_RESIZE_AREA), MGEN_E_NO_MEMORY);
        assert_int_equal(m.blocks, before);
        mgi_context_free(c);
    }
    assert_true(longest > 13); /* the clip's own, twelve of three changes of size, the threads' */
    test_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flat),          cmocka_unit_test(test_one_draw),
        cmocka_unit_test(test_threads),       cmocka_unit_test(test_small_sides),
        cmocka_unit_test(test_draws),         cmocka_unit_test(test_draws_apart),
        cmocka_unit_test(test_refused_sizes), cmocka_unit_test(test_refused_options),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
