/* SPDX-License-Identifier: MIT
 * Clips spoiled for the spatial upsampler: each flaw by itself, against what its name and number say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "degrade_clips.h"

static const double pi = 3.14159265358979323846;

/* A frame or clip of its own size. */
static uint8_t *same_size(const mgi_degrade_options *o, uint64_t element, const uint8_t *from,
                          int64_t count, int64_t w, int64_t h)
{
    uint8_t *out = test_malloc((size_t)(count * w * h * 3));
    OK(mgi_degrade_clip(ctx, o, 1, element, from, count, w, h, w, h, out));
    return out;
}

static uint8_t *flat(uint8_t level, int64_t bytes)
{
    uint8_t *p = test_malloc((size_t)bytes);
    memset(p, level, (size_t)bytes);
    return p;
}

/* Grey: 128 + a wave of fx, fy cycles a pixel. */
static uint8_t *wave(int64_t w, int64_t h, double fx, double fy, double height)
{
    uint8_t *p = test_malloc((size_t)(w * h * 3));
    for (int64_t i = 0; i < w * h; i++) {
        double at = fx * (double)(i % w) + fy * (double)(i / w);
        memset(p + 3 * i, (int)floor(128.5 + height * cos(2.0 * pi * at)), 3);
    }
    return p;
}

/* What a frame has of that wave, `margin` pixels inside. Periods must fit into what is looked at. */
static double height_of(const uint8_t *p, int64_t w, int64_t h, double fx, double fy,
                        int64_t margin)
{
    double c = 0.0, s = 0.0, n = 0.0;
    for (int64_t y = margin; y < h - margin; y++)
        for (int64_t x = margin; x < w - margin; x++, n += 1.0) {
            double at = 2.0 * pi * (fx * (double)x + fy * (double)y);
            c += (p[3 * (y * w + x)] - 128.0) * cos(at);
            s += (p[3 * (y * w + x)] - 128.0) * sin(at);
        }
    return 2.0 * sqrt(c * c + s * s) / n;
}

/* ---- sizes ---------------------------------------------------------------------------------------- */

static void test_only_smaller(void **state)
{
    enum { W = 40, H = 24 };
    mgi_degrade_options o = nothing();
    uint8_t low[20 * 12 * 3];
    (void)state;
    uint8_t *p = picture(1, W, H), *same = same_size(&o, 0, p, 1, W, H);
    assert_memory_equal(same, p, W * H * 3);
    /* areas: the mean of four */
    o.clean = 1.0f;
    OK(mgi_degrade_clip(ctx, &o, 1, 0, p, 1, W, H, 20, 12, low));
    for (int y = 0; y < 12; y++)
        for (int x = 0; x < 20; x++)
            for (int c = 0; c < 3; c++) {
                const uint8_t *q = p + 3 * (2 * y * W + 2 * x) + c;
                int sum = q[0] + q[3] + q[3 * W] + q[3 * W + 3];
                assert_int_equal(low[3 * (20 * y + x) + c], (sum + 2) / 4);
            }
    /* of parts of pixels, too: 2/3 of one and 1/3 of the next */
    uint8_t row[] = {0, 0, 0, 90, 90, 90, 240, 240, 240};
    OK(mgi_degrade_clip(ctx, &o, 1, 0, row, 1, 3, 1, 2, 1, low));
    assert_int_equal(low[0], 30);
    assert_int_equal(low[3], 190);
    uint8_t thirds[] = {0, 0, 0, 90, 90, 90, 0, 0, 0, 60, 60, 60, 0, 0, 0, 0, 0, 0};
    OK(mgi_degrade_clip(ctx, &o, 1, 0, thirds, 1, 6, 1, 2, 1, low));
    assert_int_equal(low[0], 30);
    assert_int_equal(low[3], 20);
    /* linearly: a triangle of four pixels, 1 3 3 1 */
    o.clean = -1.0f;
    uint8_t line[8 * 3] = {0};
    memset(line + 9, 160, 3);
    OK(mgi_degrade_clip(ctx, &o, 1, 0, line, 1, 8, 1, 4, 1, low));
    assert_int_equal(low[0], 0);
    assert_int_equal(low[3], 60);
    assert_int_equal(low[6], 20);
    assert_int_equal(low[9], 0);
    test_free(same);
    test_free(p);
}

/* By way of any other size a slope stays the slope it was, and nothing is cut off or moved. */
static void test_by_another_size(void **state)
{
    enum { W = 60, H = 40 };
    uint8_t *p = test_malloc(W * H * 3);
    (void)state;
    for (int i = 0; i < W * H; i++) {
        p[3 * i] = (uint8_t)(4 * (i % W));
        p[3 * i + 1] = (uint8_t)(6 * (i / W));
        p[3 * i + 2] = 77;
    }
    for (int pass = 0; pass < 2; pass++)
        for (int area = 0; area < 2; area++)
            for (int k = 0; k < 5; k++) {
                static const float factors[] = {0.5f, 0.63f, 0.9f, 1.17f, 2.0f};
                mgi_degrade_options o = nothing();
                mgi_degrade_sizes sizes = {W, H, W, H};
                mgi_degrade_draw draw;
                o.pass[pass].resize = 1.0f;
                o.pass[pass].factor = just(factors[k]);
                o.pass[pass].area = o.pass[1].area = area ? 1.0f : -1.0f;
                OK(mgi_degrade_draw_clip(ctx, &o, 1, 0, &sizes, &draw));
                assert_int_equal(draw.pass[pass].width, (int64_t)floorf(W * factors[k] + 0.5f));
                assert_int_equal(draw.pass[1].height, (int64_t)floorf(H * factors[k] + 0.5f));
                uint8_t *q = same_size(&o, 0, p, 1, W, H);
                for (int i = 0; i < W * H; i++) {
                    int x = i % W, y = i / W;
                    if (x < 4 || y < 4 || x >= W - 4 || y >= H - 4)
                        continue;
                    assert_near(q[3 * i], p[3 * i], 2.5); /* areas make steps: half a pixel is 2 */
                    assert_near(q[3 * i + 1], p[3 * i + 1], 3.5);
                    assert_int_equal(q[3 * i + 2], 77);
                }
                assert_true(q[0] < 10 && q[3 * (W - 1)] > 4 * (W - 3));
                test_free(q);
            }
    test_free(p);
}

/* ---- blur and ringing ----------------------------------------------------------------------------- */

/* A Gaussian of deviation s leaves exp(-2 pi^2 s^2 f^2) of a frequency of f cycles a pixel. */
static void test_blur(void **state)
{
    enum { W = 96 };
    static const float sigmas[] = {0.8f, 1.0f, 1.6f, 2.5f};
    static const double frequencies[] = {1.0 / 32.0, 1.0 / 16.0, 1.0 / 8.0};
    (void)state;
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < 4; k++)
            for (int f = 0; f < 3; f++)
                for (int down = 0; down < 2; down++) {
                    mgi_degrade_options o = nothing();
                    double fx = down ? 0.0 : frequencies[f], fy = down ? frequencies[f] : 0.0;
                    o.pass[pass].blur = 1.0f;
                    o.pass[pass].sigma = just(sigmas[k]);
                    uint8_t *p = wave(W, W, fx, fy, 100.0), *q = same_size(&o, 3, p, 1, W, W);
                    double s = 2.0 * pi * (double)sigmas[k] * frequencies[f];
                    /* what lies beyond three deviations is not there: 0.3 % of the weights */
                    assert_near(height_of(q, W, W, fx, fy, 16), 100.0 * exp(-0.5 * s * s), 0.9);
                    test_free(q);
                    test_free(p);
                }
}

/* Along the axis that was drawn one deviation counts, across it the other. */
static void test_anisotropic_blur(void **state)
{
    enum { W = 96 };
    const double f = 1.0 / 16.0;
    const double waves[][2] = {{f, 0.0}, {0.0, f}, {f, f}, {f, -f}};
    mgi_degrade_sizes sizes = {W, W, W, W};
    mgi_degrade_options o = nothing();
    double unlike = 0.0;
    (void)state;
    o.pass[0].blur = o.pass[0].anisotropic = 1.0f;
    o.pass[0].sigma = (mgi_degrade_range){0.8f, 3.0f};
    for (uint64_t element = 0; element < 12; element++) {
        mgi_degrade_draw draw;
        OK(mgi_degrade_draw_clip(ctx, &o, 1, element, &sizes, &draw));
        double s0 = (double)draw.pass[0].sigma[0], s1 = (double)draw.pass[0].sigma[1];
        double c = cos((double)draw.pass[0].angle), s = sin((double)draw.pass[0].angle);
        unlike = fmax(unlike, fabs(c * s * (s0 - s1)));
        for (int k = 0; k < 4; k++) {
            double along = s0 * (c * waves[k][0] + s * waves[k][1]);
            double across = s1 * (c * waves[k][1] - s * waves[k][0]);
            double want = 100.0 * exp(-2.0 * pi * pi * (along * along + across * across));
            uint8_t *p = wave(W, W, waves[k][0], waves[k][1], 100.0);
            uint8_t *q = same_size(&o, element, p, 1, W, W);
            assert_near(height_of(q, W, W, waves[k][0], waves[k][1], 16), want, 1.2);
            test_free(q);
            test_free(p);
        }
    }
    assert_true(unlike > 0.3); /* some were turned far enough to tell one diagonal from the other */
}

/* Edges are repeated outward: a corner as far from all else as the blur reaches stays what it is. */
static void test_edges(void **state)
{
    enum { W = 40, H = 36 };
    static const uint8_t corners[] = {20, 90, 160, 230};
    mgi_degrade_options o = nothing();
    uint8_t p[W * H * 3];
    (void)state;
    for (int i = 0; i < W * H; i++)
        memset(p + 3 * i, corners[2 * (i / W >= H / 2) + (i % W >= W / 2)], 3);
    o.pass[0].blur = 1.0f;
    o.pass[0].sigma = just(3.0f); /* 9 pixels */
    uint8_t *q = same_size(&o, 0, p, 1, W, H);
    for (int i = 0; i < W * H; i++) {
        int x = i % W, y = i / W;
        if ((x < W / 2 - 9 || x >= W / 2 + 9) && (y < H / 2 - 9 || y >= H / 2 + 9))
            assert_memory_equal(q + 3 * i, p + 3 * i, 3);
    }
    assert_in_range(q[3 * (W * 2 + W / 2)], 50, 70); /* midway between 20 and 90 */
    test_free(q);
    /* a bright line along a side counts with all that lies beyond it: half of the weights, and half of its own */
    double own = 0.0;
    for (int d = -9; d <= 9; d++)
        own += exp(-0.5 * d * d / 9.0);
    for (int side = 0; side < 4; side++) {
        const int at = side < 2 ? W / 2 : side == 2 ? 0 : W - 1;
        const int line = side == 0 ? 0 : side == 1 ? H - 1 : H / 2;
        for (int i = 0; i < W * H; i++)
            memset(p + 3 * i, side < 2 ? (i / W == line ? 250 : 100) : (i % W == at ? 250 : 100),
                   3);
        q = same_size(&o, 0, p, 1, W, H);
        assert_near(q[3 * (W * line + at)], 100.0 + 150.0 * (0.5 + 0.5 / own), 0.6);
        test_free(q);
    }
}

static void test_ringing(void **state)
{
    enum { W = 96 };
    mgi_degrade_options o = nothing();
    (void)state;
    o.ringing = 1.0f;
    o.cutoff = just(0.5f); /* a quarter of a cycle a pixel */
    const double waves[][2] = {{1.0 / 16.0, 0.0}, {0.0, 1.0 / 8.0}, {0.375, 0.0}, {0.25, 0.25}};
    for (int k = 0; k < 4; k++) {
        uint8_t *p = wave(W, W, waves[k][0], waves[k][1], 80.0);
        uint8_t *q = same_size(&o, 0, p, 1, W, W);
        double left = height_of(q, W, W, waves[k][0], waves[k][1], 16);
        assert_near(left, k < 2 ? 80.0 : 0.0,
                    10.0); /* the fourth lies above it along the diagonal */
        test_free(q);
        test_free(p);
    }
    /* an edge overshoots on both sides, and again the other way */
    uint8_t *p = test_malloc(W * W * 3);
    for (int i = 0; i < W * W; i++)
        memset(p + 3 * i, i % W < W / 2 ? 64 : 192, 3);
    uint8_t *q = same_size(&o, 0, p, 1, W, W);
    int low = 255, high = 0;
    for (int x = 0; x < W; x++) {
        low = q[3 * (W * 40 + x)] < low ? q[3 * (W * 40 + x)] : low;
        high = q[3 * (W * 40 + x)] > high ? q[3 * (W * 40 + x)] : high;
    }
    assert_in_range(64 - low, 5, 20);
    assert_in_range(high - 192, 5, 20);
    assert_in_range(abs(q[3 * (W * 40 + 5)] - 64), 0, 1); /* far away it is over */
    test_free(q);
    test_free(p);
}

/* ---- noise ---------------------------------------------------------------------------------------- */

typedef struct moments {
    double mean, variance;
} moments;

static moments moments_of(const uint8_t *p, int64_t n, int step)
{
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += p[i * step];
    sum /= (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += (p[i * step] - sum) * (p[i * step] - sum);
    return (moments){sum, squares / (double)(n - 1)};
}

/* Of n pairs of values of one mean and variance. Without any it is within 4 / sqrt(n), all but never more. */
static double correlation(const uint8_t *a, const uint8_t *b, int64_t n, int step, moments m)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += (a[i * step] - m.mean) * (b[i * step] - m.mean);
    return sum / ((double)n * m.variance);
}

static void test_gaussian_noise(void **state)
{
    enum { W = 64, N = W * W, FRAMES = 4, ALL = N * FRAMES };
    uint8_t *p = flat(128, ALL * 3), *before = NULL;
    (void)state;
    for (int pass = 0; pass < 2; pass++)
        for (int grey = 0; grey < 2; grey++) {
            mgi_degrade_options o = nothing();
            o.pass[pass].noise = 1.0f;
            o.pass[pass].grey = grey ? 1.0f : -1.0f;
            o.pass[pass].deviation = just(6.0f);
            uint8_t *q = same_size(&o, 9, p, FRAMES, W, W);
            moments m = moments_of(q, ALL, 3);
            assert_near(m.mean, 128.0, 4.0 * 6.0 / sqrt(ALL));
            /* rounding adds 1/12; the variance of a variance is 2 / n of its square */
            assert_near(m.variance, 36.0 + 1.0 / 12.0, 4.0 * 36.0 * sqrt(2.0 / ALL));
            int64_t within = 0; /* one deviation: with the rounding to whole levels, 6.5 of 6 */
            for (int64_t i = 0; i < ALL; i++)
                within += abs(q[3 * i] - 128) <= 6;
            assert_near((double)within / ALL, erf(6.5 / 6.0 / sqrt(2.0)), 2.0 / sqrt(ALL));
            const double limit = 4.0 / sqrt(ALL);
            assert_near(correlation(q, q + 1, ALL, 3, m), grey ? 1.0 : 0.0, grey ? 1e-3 : limit);
            assert_near(correlation(q + 1, q + 2, ALL, 3, m), grey ? 1.0 : 0.0,
                        grey ? 1e-3 : limit);
            for (int far = 1; far <= 4; far++) /* pixels side by side, of one counter or two */
                assert_near(correlation(q, q + 3 * far, ALL - far, 3, m), 0.0, limit);
            assert_near(correlation(q, q + 3 * N, ALL - N, 3, m), 0.0, 4.0 / sqrt(ALL - N));
            if (grey && before) /* the passes have noise of their own */
                assert_near(correlation(q, before, ALL, 3, m), 0.0, limit);
            if (grey && !before)
                before = q;
            else
                test_free(q);
        }
    test_free(before);
    test_free(p);
}

/* Mean and variance of levels that Poisson's counts make, and the share of one count. */
static double poisson(double mean, int n)
{
    return exp(n * log(mean) - mean - lgamma(n + 1.0));
}

static moments counted(double mean, double photons)
{
    double sum = 0.0, squares = 0.0;
    for (int n = 0; n < 2000; n++) {
        double level = fmin(floor(n * 255.0 / photons + 0.5), 255.0);
        sum += level * poisson(mean, n);
        squares += level * level * poisson(mean, n);
    }
    return (moments){sum, squares - sum * sum};
}

/* Counts of photons: level x of p photons a white pixel has the variance 255 x / p, but for what counts make of bytes. */
static void test_shot_noise(void **state)
{
    enum { W = 128, ALL = W * W };
    static const uint8_t levels[] = {2, 6, 64, 128, 200};
    (void)state;
    for (int k = 0; k < 5; k++)
        for (int grey = 0; grey < 2; grey++) {
            mgi_degrade_options o = nothing();
            o.pass[0].noise = o.pass[0].shot = 1.0f;
            o.pass[0].grey = grey ? 1.0f : -1.0f;
            o.pass[0].photons = just(900.0f);
            uint8_t *p = flat(levels[k], ALL * 3), *q = same_size(&o, 2, p, 1, W, W);
            moments m = moments_of(q, ALL, 3), want = counted(levels[k] * 900.0 / 255.0, 900.0);
            assert_near(want.variance, 255.0 * levels[k] / 900.0, 0.3);
            assert_near(m.mean, want.mean, 4.0 * sqrt(want.variance / ALL));
            /* large counts are rounded from a normal number, whose correction has a variance: 1/12 + 1/18 */
            assert_near(m.variance, want.variance,
                        4.0 * want.variance * sqrt(2.0 / ALL) + 0.14 * pow(255.0 / 900.0, 2));
            assert_near(correlation(q, q + 1, ALL, 3, m), grey ? 1.0 : 0.0, 4.0 / sqrt(ALL));
            test_free(q);
            test_free(p);
        }
}

/* Few photons: each count as often as Poisson says, by both ways of drawing them. */
static void test_few_photons(void **state)
{
    enum { W = 128, ALL = W * W * 3 };
    static const double means[] = {0.5, 4.0, 11.5, 14.0};
    (void)state;
    for (int k = 0; k < 4; k++) {
        mgi_degrade_options o = nothing();
        int counts[64] = {0}, most = 0;
        o.pass[0].noise = o.pass[0].shot = 1.0f;
        o.pass[0].photons = just((float)(255.0 / 100.0 * means[k])); /* of level 100 */
        uint8_t *p = flat(100, ALL), *q = same_size(&o, 4, p, 1, W, W);
        for (int64_t i = 0; i < ALL; i++)
            if (q[i] < 255) /* more than white is cut off */
                counts[(int)floor(q[i] / 100.0 * means[k] + 0.5)]++;
        for (int n = 0; n * 100.0 / means[k] < 254.0; most = ++n) {
            double want = ALL * poisson(means[k], n);
            /* of a normal number one count in a hundred is the one beside it, which half makes up for */
            assert_near(counts[n], want, 4.0 * sqrt(want) + 1.0 + (k == 3 ? 0.002 * ALL : 0.0));
        }
        assert_true(most >= 2);
        test_free(q);
        test_free(p);
    }
}

/* ---- compression ---------------------------------------------------------------------------------- */

static mgi_degrade_options jpeg(int pass, int quality)
{
    mgi_degrade_options o = nothing();
    o.pass[pass].jpeg = 1.0f;
    o.pass[pass].quality = just((float)quality);
    return o;
}

/* A flat block is its mean: the level less 128 in steps of an eighth of the table's first entry. */
static void test_jpeg_levels(void **state)
{
    static const int qualities[] = {10, 25, 50, 75, 100};
    static const double steps[] = {80.0, 32.0, 16.0, 8.0, 1.0};
    (void)state;
    for (int k = 0; k < 5; k++)
        for (int level = 0; level < 256; level += 3) {
            mgi_degrade_options o = jpeg(level % 2, qualities[k]);
            uint8_t *p = flat((uint8_t)level, 16 * 16 * 3), *q = same_size(&o, 0, p, 1, 16, 16);
            double at = 8.0 * (level - 128) / steps[k];
            if (fabs(fabs(at - floor(at)) - 0.5) > 0.01) { /* halves may go either way */
                double want = 128.0 + steps[k] / 8.0 * floor(at + 0.5);
                want = want < 0.0 ? 0.0 : want < 255.0 ? want : 255.0;
                for (int i = 0; i < 16 * 16 * 3; i++)
                    assert_near(q[i], want, 0.51);
            }
            test_free(q);
            test_free(p);
        }
}

/* The same of colours, whose table begins with 17. */
static void test_jpeg_colour_levels(void **state)
{
    static const int qualities[] = {10, 25, 50, 75};
    static const double steps[] = {85.0, 34.0, 17.0, 9.0};
    (void)state;
    for (int k = 0; k < 4; k++)
        for (int colour = -44; colour <= 44; colour += 4) {
            mgi_degrade_options o = jpeg(0, qualities[k]);
            o.pass[0].halved = k % 2 ? 1.0f : -1.0f;
            uint8_t p[16 * 16 * 3];
            for (int i = 0; i < 16 * 16; i++) {
                p[3 * i] = 128;
                p[3 * i + 1] = (uint8_t)floor(128.5 - 0.344136 * colour);
                p[3 * i + 2] = (uint8_t)floor(128.5 + 1.772 * colour);
            }
            uint8_t *q = same_size(&o, 0, p, 1, 16, 16);
            double at = 8.0 * colour / steps[k];
            if (fabs(fabs(at - floor(at)) - 0.5) > 0.05) {
                double want = steps[k] / 8.0 * floor(at + 0.5);
                for (int i = 0; i < 16 * 16; i++) {
                    assert_in_range(q[3 * i], 127, 129);
                    assert_near(q[3 * i + 1], 128.0 - 0.344136 * want, 0.6);
                    assert_near(q[3 * i + 2], fmin(128.0 + 1.772 * want, 255.0), 0.6);
                }
            }
            test_free(q);
        }
}

/* Blocks that reach past the frame repeat its edge: a flat one stays flat. */
static void test_jpeg_edges(void **state)
{
    enum { W = 21, H = 37 };
    mgi_degrade_options o = jpeg(0, 10);
    uint8_t p[W * H * 3];
    (void)state;
    for (int i = 0; i < W * H; i++)
        memset(p + 3 * i, i % W < 16 && i / W < 32 ? 30 : i % W < 16 ? 90 : 200, 3);
    uint8_t *q = same_size(&o, 0, p, 1, W, H);
    for (int i = 0; i < W * H; i++) /* 128 less 100, less 40; and 70 more */
        assert_int_equal(q[3 * i], i % W < 16 && i / W < 32 ? 28 : i % W < 16 ? 88 : 198);
    test_free(q);
}

/* One wave of a block: kept if it is above half the step of its place in the table, else gone. */
static void test_jpeg_waves(void **state)
{
    static const struct {
        int across, down, quality;
        double height, want;
    } cases[] = {
        {7, 7, 50, 11.0, 0.0},   /* 4 x 11 = 44 of 99 */
        {7, 7, 50, 14.0, 24.75}, /* 56: 99 / 4 */
        {2, 0, 10, 5.3, 8.839},  /* 8 / sqrt(2) x 5.3 = 30 of 50: 50 sqrt(2) / 8 */
        {0, 2, 10, 5.3, 0.0},    /* of 70 */
        {4, 1, 50, 6.0, 6.5},    /* 24 of 26 */
        {1, 4, 50, 2.0, 0.0},    /* 8 of 22 */
        {1, 4, 50, 6.0, 5.5},    /* 24 of 22 */
        {3, 5, 100, 20.0, 20.0}, /* 80 of 1 */
    };
    (void)state;
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        mgi_degrade_options o = jpeg(0, cases[k].quality);
        uint8_t p[16 * 16 * 3];
        double shape[256];
        for (int i = 0; i < 256; i++) {
            int x = i % 8, y = i / 16 % 8;
            shape[i] = cos((2 * x + 1) * cases[k].across * pi / 16.0) *
                       cos((2 * y + 1) * cases[k].down * pi / 16.0);
            memset(p + 3 * i, (int)floor(128.5 + cases[k].height * shape[i]), 3);
        }
        uint8_t *q = same_size(&o, 0, p, 1, 16, 16);
        for (int i = 0; i < 256;
             i++) /* at the best quality, what rounding made of it is kept, too */
            assert_near(q[3 * i], 128.0 + cases[k].want * shape[i],
                        cases[k].quality == 100 ? 1.5 : 0.51);
        test_free(q);
    }
}

/* Mean difference of neighbours in a row at every eighth place from `at` on. */
static double steps_at(const uint8_t *p, int w, int at)
{
    double sum = 0.0;
    int count = 0;
    for (int y = 0; y < w; y++)
        for (int x = at ? at : 8; x < w; x += 8, count++)
            sum += abs(p[3 * (y * w + x)] - p[3 * (y * w + x) - 3]);
    return sum / count;
}

/* A slope of one level a pixel: at the best quality it stays, at a bad one a block is flat, and eight levels, in steps of
 * ten, are between it and the next. */
static void test_jpeg_blocks(void **state)
{
    enum { W = 64, ALL = W * W * 3 };
    mgi_degrade_options best = jpeg(0, 100), worst = jpeg(0, 10);
    uint8_t *p = test_malloc(ALL);
    (void)state;
    for (int i = 0; i < W * W; i++)
        memset(p + 3 * i, 60 + i % W + i / W, 3);
    uint8_t *q = same_size(&best, 0, p, 1, W, W), *r = same_size(&worst, 0, p, 1, W, W);
    for (int i = 0; i < ALL; i++)
        assert_in_range(abs(q[i] - p[i]), 0, 1);
    for (int at = 0; at < 8; at++) {
        assert_near(steps_at(q, W, at), 1.0, 0.2);
        assert_near(steps_at(r, W, at), at ? 0.0 : 8.0, at ? 1e-9 : 2.0);
    }
    test_free(r);
    test_free(q);
    test_free(p);
}

/* The second compression meets the frames as the pass leaves them, or the low frames, and none meets it twice. */
static void test_jpeg_last(void **state)
{
    enum { W = 64, H = 48, L = 32, M = 24 };
    mgi_degrade_options small = nothing(), bad = jpeg(0, 10);
    uint8_t *tiny = picture(1, L, M), *p = test_malloc(W * H * 3), low[L * M * 3], want[L * M * 3];
    (void)state;
    for (int i = 0; i < W * H; i++) /* each pixel four times: their mean is exact */
        memcpy(p + 3 * i, tiny + 3 * (i / W / 2 * L + i % W / 2), 3);
    small.clean = 1.0f;
    for (int last = 0; last < 2; last++) {
        mgi_degrade_options o = jpeg(1, 10);
        o.pass[1].area = 1.0f;
        o.jpeg_last = last ? 1.0f : -1.0f;
        OK(mgi_degrade_clip(ctx, &o, 1, 0, p, 1, W, H, L, M, low));
        uint8_t *q = last ? same_size(&bad, 0, tiny, 1, L, M) : same_size(&bad, 0, p, 1, W, H);
        if (last)
            memcpy(want, q, sizeof(want));
        else
            OK(mgi_degrade_clip(ctx, &small, 1, 0, q, 1, W, H, L, M, want));
        assert_memory_equal(low, want, sizeof(want));
        assert_memory_not_equal(low, tiny, sizeof(want));
        test_free(q);
    }
    test_free(p);
    test_free(tiny);
}

/* Colours: exact enough at the best quality; of 2 x 2 pixels one where they are halved, brightness of each. */
static void test_jpeg_colours(void **state)
{
    enum { W = 32 };
    mgi_degrade_options o = jpeg(0, 100);
    uint8_t p[W * W * 3];
    (void)state;
    for (int i = 0; i < W * W; i++) { /* columns of red and of green, as bright as each other */
        p[3 * i] = i % 2 ? 200 : 61;
        p[3 * i + 1] = i % 2 ? 60 : 131;
        p[3 * i + 2] = 90;
    }
    uint8_t *q = same_size(&o, 0, p, 1, W, W);
    for (int i = 0; i < W * W * 3; i++)
        assert_in_range(abs(q[i] - p[i]), 0, 3);
    test_free(q);
    o.pass[0].halved = 1.0f;
    q = same_size(&o, 0, p, 1, W, W);
    for (int i = 0; i < W * W; i++) {
        assert_near(q[3 * i], 130.5, 4.0); /* between both */
        assert_near(0.299 * q[3 * i] + 0.587 * q[3 * i + 1] + 0.114 * q[3 * i + 2],
                    0.299 * p[3 * i] + 0.587 * p[3 * i + 1] + 0.114 * p[3 * i + 2], 2.0);
    }
    test_free(q);
    for (int i = 0; i < W * W; i++) /* pairs of columns that share a colour keep it */
        memcpy(p + 3 * i, i / 2 % 2 ? "\xC8\x3C\x5A" : "\x3D\x83\x5A", 3);
    q = same_size(&o, 0, p, 1, W, W);
    for (int i = 0; i < W * W * 3; i++)
        assert_in_range(abs(q[i] - p[i]), 0, 3);
    test_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_smaller),
        cmocka_unit_test(test_by_another_size),
        cmocka_unit_test(test_blur),
        cmocka_unit_test(test_anisotropic_blur),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_ringing),
        cmocka_unit_test(test_gaussian_noise),
        cmocka_unit_test(test_shot_noise),
        cmocka_unit_test(test_few_photons),
        cmocka_unit_test(test_jpeg_levels),
        cmocka_unit_test(test_jpeg_colour_levels),
        cmocka_unit_test(test_jpeg_edges),
        cmocka_unit_test(test_jpeg_waves),
        cmocka_unit_test(test_jpeg_blocks),
        cmocka_unit_test(test_jpeg_last),
        cmocka_unit_test(test_jpeg_colours),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
