/* SPDX-License-Identifier: MIT */
#include "data/degrade_parts.h"

#include "core/philox.h"

#include <math.h>
#include <string.h>

enum {
    RINGING_RADIUS = 6, /* pixels */
    LANES = 16          /* floats that are summed together */
};

static const double pi = 3.14159265358979323846;

/* ---- blur and ringing ----------------------------------------------------------------------------- */

static void finish_kernel(mgi_degrade_kernel *k, const double *weight)
{
    int n = (2 * k->radius + 1) * (2 * k->radius + 1);
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += weight[i];
    for (int i = 0; i < n; i++)
        k->weight[i] = (float)(weight[i] / sum);
}

void mgi_degrade_blur(mgi_degrade_kernel *k, const float sigma[2], float angle)
{
    double weight[MGI_DEGRADE_KERNEL_MAX], c = cos((double)angle), d = sin((double)angle);
    float widest = sigma[0] > sigma[1] ? sigma[0] : sigma[1];
    int n = 0;
    k->radius = (int)ceil(3.0 * (double)widest);
    for (int y = -k->radius; y <= k->radius; y++)
        for (int x = -k->radius; x <= k->radius; x++) {
            double along = (c * x + d * y) / (double)sigma[0];
            double across = (c * y - d * x) / (double)sigma[1];
            weight[n++] = exp(-0.5 * (along * along + across * across));
        }
    finish_kernel(k, weight);
}

/* What becomes of a pixel when no frequency above `cutoff` passes, in any direction. It is cut short without
 * being faded out: edges are to ring. */
void mgi_degrade_ringing(mgi_degrade_kernel *k, float cutoff)
{
    double weight[MGI_DEGRADE_KERNEL_MAX], most = pi * (double)cutoff; /* radians a pixel */
    int n = 0;
    k->radius = RINGING_RADIUS;
    for (int y = -k->radius; y <= k->radius; y++)
        for (int x = -k->radius; x <= k->radius; x++) {
            double r = sqrt((double)(x * x + y * y));
            weight[n++] = r > 0.0 ? most * j1(most * r) / (2.0 * pi * r) : most * most / (4.0 * pi);
        }
    finish_kernel(k, weight);
}

static float clamped(float level)
{
    return level < 0.0f ? 0.0f : level < 255.0f ? level : 255.0f;
}

void mgi_degrade_convolve(const mgi_degrade_kernel *k, const float *from, int64_t w, int64_t h,
                          float *around, float *to)
{
    int64_t r = k->radius, side = 2 * r + 1, row = 3 * w, stride = 3 * (w + 2 * r) + LANES;
    for (int64_t y = 0; y < h + 2 * r; y++) {
        int64_t inside = y < r ? 0 : y - r < h ? y - r : h - 1;
        const float *p = from + inside * row;
        float *q = around + y * stride;
        for (int64_t x = 0; x < r; x++) {
            memcpy(q + 3 * x, p, 3 * sizeof(*q));
            memcpy(q + 3 * (r + w + x), p + row - 3, 3 * sizeof(*q));
        }
        memcpy(q + 3 * r, p, (size_t)row * sizeof(*q));
    }
    for (int64_t y = 0; y < h; y++)
        for (int64_t i = 0; i < row; i += LANES) {
            float sum[LANES] = {0.0f};
            const float *weight = k->weight;
            for (int64_t j = 0; j < side; j++) {
                const float *p = around + (y + j) * stride + i;
                for (int64_t x = 0; x < side; x++, p += 3, weight++)
                    for (int lane = 0; lane < LANES; lane++)
                        sum[lane] += *weight * p[lane];
            }
            int64_t n = row - i < LANES ? row - i : LANES;
            for (int64_t lane = 0; lane < n; lane++)
                to[y * row + i + lane] = clamped(sum[lane]); /* ringing leaves the range */
        }
}

/* ---- noise ---------------------------------------------------------------------------------------- */

/* Four standard normal numbers, those of mgi_random_normal at 4 * counter and on. */
static void normals(uint64_t key, uint64_t counter, float out[4])
{
    uint32_t r[4];
    mgi_philox(key, MGI_STREAM_DEGRADE, counter, r);
    for (int i = 0; i < 4; i += 2) {
        double radius = sqrt(-2.0 * log((double)mgi_u32_to_unit(r[i])));
        double angle = 2.0 * pi * (double)mgi_u32_to_unit(r[i + 1]);
        out[i] = (float)(radius * cos(angle));
        out[i + 1] = (float)(radius * sin(angle));
    }
}

/* A count of photons of which `mean` are expected, from a normal number: where they are few, the count at which the
 * chances of all up to it reach the normal's; else with the first correction of Cornish and Fisher for
 * the skew of counts: of a hundred, one is beside the former by one. */
static float photons_counted(float mean, float normal)
{
    if (mean >= 12.0f)
        return floorf(mean + sqrtf(mean) * normal + (normal * normal - 1.0f) / 6.0f + 0.5f);
    double reach = 0.5 * erfc(-(double)normal * 0.70710678118654752440);
    double part = exp(-(double)mean), sum = part;
    int n = 0;
    while (sum < reach && n < 100) {
        part *= (double)mean / ++n;
        sum += part;
    }
    return (float)n;
}

static float brightness(const float rgb[3])
{
    return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

void mgi_degrade_noise(const mgi_degrade_step *s, uint64_t key, uint64_t first, float *rgb,
                       int64_t pixels)
{
    int64_t together = s->grey ? 3 : 1, count = 3 * pixels / together;
    float normal[4];
    for (int64_t i = 0; i < count; i++, rgb += together) {
        float noise, level = s->grey ? brightness(rgb) : rgb[0];
        if (i % 4 == 0)
            normals(key, first + (uint64_t)i / 4, normal);
        if (s->photons > 0.0f)
            noise =
                photons_counted(level * s->photons / 255.0f, normal[i % 4]) * 255.0f / s->photons -
                level;
        else
            noise = s->deviation * normal[i % 4];
        for (int64_t c = 0; c < together; c++)
            rgb[c] = clamped(rgb[c] + noise);
    }
}

/* ---- compression ---------------------------------------------------------------------------------- */

/* The example tables of the JPEG standard (ITU-T T.81, annex K), which nearly all encoders scale. */
static const uint8_t steps[2][64] = {
    {16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,
     14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,
     18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,
     49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99},
    {17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99,
     99, 99, 47, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
     99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99}};

void mgi_degrade_jpeg_init(mgi_degrade_jpeg *j, int quality)
{
    int percent = quality < 50 ? 5000 / quality : 200 - 2 * quality;
    for (int i = 0; i < 64; i++) {
        int frequency = i / 8, x = i % 8;
        double wave = 0.5 * cos((2 * x + 1) * frequency * pi / 16.0);
        j->waves[i] = (float)(frequency ? wave : sqrt(0.125));
        j->turned[8 * x + frequency] = j->waves[i];
        for (int k = 0; k < 2; k++) {
            int step = (steps[k][i] * percent + 50) / 100;
            j->step[k][i] = (float)(step < 1 ? 1 : step < 255 ? step : 255);
        }
    }
}

/* To the nearest whole number, of |x| < 2^22: above 2^23 floats have no fraction. */
static float whole(float x)
{
    return x + 12582912.0f - 12582912.0f;
}

static void multiply(const float a[64], const float b[64], float out[64])
{
    for (int i = 0; i < 64; i += 8) {
        float sum[8] = {0.0f};
        for (int k = 0; k < 8; k++)
            for (int x = 0; x < 8; x++)
                sum[x] += a[i + k] * b[8 * k + x];
        memcpy(out + i, sum, sizeof(sum));
    }
}

/* Sides are multiples of 8. */
static void compress_plane(const mgi_degrade_jpeg *j, const float step[64], float *plane, int64_t w,
                           int64_t h)
{
    float block[64], half[64];
    for (int64_t i = 0; i < w * h / 64; i++) {
        float *corner = plane + i / (w / 8) * 8 * w + i % (w / 8) * 8;
        for (int y = 0; y < 8; y++)
            memcpy(block + 8 * y, corner + y * w, 8 * sizeof(*block));
        multiply(j->waves, block, half);
        multiply(half, j->turned, block);
        for (int k = 0; k < 64; k++)
            block[k] = step[k] * whole(block[k] / step[k]);
        multiply(j->turned, block, half);
        multiply(half, j->waves, block);
        for (int y = 0; y < 8; y++)
            memcpy(corner + y * w, block + 8 * y, 8 * sizeof(*block));
    }
}

static int64_t to_sixteen(int64_t n)
{
    return (n + 15) / 16 * 16;
}

/* Planes have sides rounded up to 16, so that colours of half the sides have whole blocks, too. */
void mgi_degrade_compress(const mgi_degrade_jpeg *j, bool halved, float *rgb, int64_t w, int64_t h,
                          float *planes)
{
    int64_t wide = to_sixteen(w), high = to_sixteen(h), size = wide * high;
    float *blue = planes + size, *red = blue + size;
    for (int64_t i = 0; i < size; i++) {
        int64_t x = i % wide, y = i / wide;
        const float *p = rgb + 3 * ((y < h ? y : h - 1) * w + (x < w ? x : w - 1));
        float level[3] = {whole(p[0]), whole(p[1]), whole(p[2])}, bright = brightness(level);
        planes[i] = whole(bright) - 128.0f;
        blue[i] = whole((level[2] - bright) / 1.772f);
        red[i] = whole((level[0] - bright) / 1.402f);
    }
    int64_t by = halved ? 2 : 1, cw = wide / by, ch = high / by;
    for (int64_t i = 0; halved && i < cw * ch; i++) { /* in place: what is read lies ahead */
        int64_t at = 2 * (i / cw * wide + i % cw);
        blue[i] = whole(0.25f * (blue[at] + blue[at + 1] + blue[at + wide] + blue[at + wide + 1]));
        red[i] = whole(0.25f * (red[at] + red[at + 1] + red[at + wide] + red[at + wide + 1]));
    }
    compress_plane(j, j->step[0], planes, wide, high);
    compress_plane(j, j->step[1], blue, cw, ch);
    compress_plane(j, j->step[1], red, cw, ch);
    for (int64_t i = 0; i < w * h; i++, rgb += 3) {
        int64_t x = i % w, y = i / w, c = y / by * cw + x / by;
        float bright = planes[y * wide + x] + 128.0f;
        rgb[0] = clamped(whole(bright + 1.402f * red[c]));
        rgb[1] = clamped(whole(bright - 0.344136f * blue[c] - 0.714136f * red[c]));
        rgb[2] = clamped(whole(bright + 1.772f * blue[c]));
    }
}
