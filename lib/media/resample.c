/* SPDX-License-Identifier: MIT
 * Sound at another rate, by a table of the weights, interpolated between its points: for any two rates. */
#include "media/resample.h"

#include "core/alloc.h"

#include <math.h>

/* The weights reach over HALF samples of the lower rate to both sides; points of the table for each of them. A Kaiser window
 * of this beta is 100 dB down outside of a band of about (100 - 8) / (2.285 * 2 pi * 2 HALF) = 0.1 of the rate around the cut. */
enum { HALF = 32, POINTS = 2048, TABLE = HALF * POINTS + 2 };
static const double beta = 10.06, pi = 3.14159265358979323846;

/* The modified Bessel function of order 0, by its series. */
static double bessel(double x)
{
    double sum = 1.0, term = 1.0;
    for (int k = 1; term > 1e-17 * sum; k++) {
        term *= (x / (2 * k)) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

static void fill(float *table)
{
    const double whole = bessel(beta);
    table[0] = 1.0f;
    for (int i = 1; i < HALF * POINTS; i++) {
        double t = (double)i / POINTS, r = t / HALF;
        table[i] = (float)(sin(pi * t) / (pi * t) * bessel(beta * sqrt(1.0 - r * r)) / whole);
    }
    table[HALF * POINTS] = table[HALF * POINTS + 1] = 0.0f;
}

/* The weight of a sample at a distance of `t` samples of the lower rate. */
static double weight(const float *table, double t)
{
    double at = t * POINTS;
    if (at >= HALF * POINTS)
        return 0.0;
    int i = (int)at;
    return table[i] + (at - i) * ((double)table[i + 1] - table[i]);
}

int64_t mgi_resample_count(int64_t count, uint32_t from, uint32_t to)
{
    /* count < 2^31 and rates < 2^20: no overflow */
    return (count * to + from - 1) / from;
}

mgen_status mgi_resample(mgen_context *ctx, const float *in, int64_t count, uint32_t channels,
                         uint32_t from, uint32_t to, float *out)
{
    const double scale = to < from ? (double)to / from : 1.0; /* lower rate / that of `in` */
    const int64_t made = mgi_resample_count(count, from, to);
    float *table;
    MGI_TRY(mgi_alloc_zero(ctx, TABLE, sizeof *table, &table));
    fill(table);
    for (int64_t n = 0; n < made; n++) {
        /* Where it lies among the samples of `in`: a whole one and a share of the next, exactly. */
        const int64_t whole = n * from / to;
        const double share = (double)(n * from % to) / to;
        const int64_t reach = (int64_t)ceil(HALF / scale);
        double sum[8] = {0}, all = 0.0;
        for (int64_t i = whole - reach; i <= whole + reach + 1; i++) {
            double w = weight(table, fabs((double)(i - whole) - share) * scale);
            all += w;
            for (uint32_t c = 0; c < channels && i >= 0 && i < count; c++)
                sum[c] += w * (double)in[i * channels + c];
        }
        for (uint32_t c = 0; c < channels; c++)
            out[n * channels + c] = (float)(sum[c] / all);
    }
    mgi_free(ctx, table);
    return MGEN_OK;
}
