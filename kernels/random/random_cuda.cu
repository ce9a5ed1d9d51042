/* SPDX-License-Identifier: MIT
 * Random numbers: a thread makes the four of a counter. Box-Muller in double, from products and sums whose
 * rounding is written out (fma): the same bits on every device, and emulated. */
#include "core/philox.h"
#include "kernels/common/cuda_four.h"
#include "kernels/random/random.h"

MGK_DEVICE double from_bits(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

MGK_DEVICE uint64_t to_bits(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits;
}

/* log of u in (0, 1) = e ln 2 + log m, m within 0.707..1.414; log m = 2 artanh((m - 1) / (m + 1)) by its
 * series, whose first term left out is below 2^-60 of the whole. */
MGK_DEVICE double logarithm(double u)
{
    const uint64_t root_half = 0x3fe6a09e667f3bcd, one = 0x3ff0000000000000;
    uint64_t bits = to_bits(u) + (one - root_half);
    double e = (double)((int)(bits >> 52) - 1023);
    double m = from_bits((bits & 0x000fffffffffffff) + root_half);
    double f = m - 1.0, s = f / (2.0 + f), z = s * s;
    double p = fma(z, 2.0 / 23, 2.0 / 21);
    p = fma(p, z, 2.0 / 19);
    p = fma(p, z, 2.0 / 17);
    p = fma(p, z, 2.0 / 15);
    p = fma(p, z, 2.0 / 13);
    p = fma(p, z, 2.0 / 11);
    p = fma(p, z, 2.0 / 9);
    p = fma(p, z, 2.0 / 7);
    p = fma(p, z, 2.0 / 5);
    p = fma(p, z, 2.0 / 3);
    /* ln 2 in two parts, the first of 32 bits: e times it is exact. */
    double rest = fma(p * z, s, e * 1.9082149292705877e-10);
    return fma(e, 0.6931471803691238, fma(2.0, s, rest));
}

/* Both for an angle within 0..2 pi. q quarter turns are taken off in two parts, the first of 33 bits: what
 * remains, at least 3e-7 by the way units are made, is right to its last bit. Series on +-pi/4. */
MGK_DEVICE void cosine_sine(double angle, double *cosine, double *sine)
{
    double q = rint(angle * 0.6366197723675814);
    int quarter = (int)q;
    double r = fma(q, -6.077100506506192e-11, fma(q, -1.5707963267341256, angle));
    double z = r * r;
    double s = fma(z, 1.0 / 355687428096000, -1.0 / 1307674368000);
    s = fma(s, z, 1.0 / 6227020800);
    s = fma(s, z, -1.0 / 39916800);
    s = fma(s, z, 1.0 / 362880);
    s = fma(s, z, -1.0 / 5040);
    s = fma(s, z, 1.0 / 120);
    s = fma(s, z, -1.0 / 6);
    s = fma(s, z * r, r);
    double c = fma(z, -1.0 / 6402373705728000, 1.0 / 20922789888000);
    c = fma(c, z, -1.0 / 87178291200);
    c = fma(c, z, 1.0 / 479001600);
    c = fma(c, z, -1.0 / 3628800);
    c = fma(c, z, 1.0 / 40320);
    c = fma(c, z, -1.0 / 720);
    c = fma(c, z, 1.0 / 24);
    double half = 0.5 * z, head = 1.0 - half;
    c = head + fma(c, z * z, (1.0 - head) - half);
    double x = quarter & 1 ? s : c, y = quarter & 1 ? c : s;
    *cosine = (quarter + 1) & 2 ? -x : x;
    *sine = quarter & 2 ? -y : y;
}

/* mgi_u32_to_unit: exact in either precision. */
MGK_DEVICE double unit(uint32_t x)
{
    return ((double)(x >> 9) + 0.5) * (1.0 / 8388608.0);
}

MGK_DEVICE void box_muller(uint32_t a, uint32_t b, float *even, float *odd)
{
    double radius = sqrt(-2.0 * logarithm(unit(a))), cosine, sine;
    cosine_sine(6.283185307179586476925 * unit(b), &cosine, &sine);
    *even = (float)(radius * cosine);
    *odd = (float)(radius * sine);
}

template <typename T> MGK_KERNEL random_kernel(const mgk_random_args a)
{
    T *y = (T *)a.y.p;
    uint64_t first = a.base + (a.offset.p ? *(const uint64_t *)a.offset.p : 0);
    int64_t skip = (int64_t)(first & 3); /* numbers of the first counter that are left out */
    MGK_FOR4(at, a.count + skip)
    {
        /* counters are element numbers / 4 and wrap as these do */
        uint64_t counter = ((first >> 2) + (uint64_t)at / 4) & 0x3fffffffffffffff;
        uint32_t word[4];
        float v[4];
        mgi_philox(a.seed, a.stream, counter, word);
        if (a.kind == MGK_RANDOM_UNIFORM) {
#pragma unroll
            for (int k = 0; k < 4; k++)
                v[k] = mgi_u32_to_unit(word[k]);
        } else {
            box_muller(word[0], word[1], v, v + 1);
            box_muller(word[2], word[3], v + 2, v + 3);
        }
#pragma unroll
        for (int k = 0; k < 4; k++) {
            double scaled = (double)a.alpha * (double)v[k] + (double)a.beta;
            v[k] = (float)(a.kind == MGK_RANDOM_LOGIT_NORMAL ? 1 / (1 + exp(-scaled)) : scaled);
        }
        if (at >= skip) {
            mgk_store4(y + (at - skip), a.count - (at - skip), v);
            continue;
        }
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (k >= skip && k - skip < a.count)
                mgk_store(y + (k - skip), v[k]);
    }
}

MGK_CUDA_LAUNCHER(random)
{
    const mgk_random_args *a = (const mgk_random_args *)args;
    if (a->count == 0)
        return;
    int grid = mgk_grid4(a->count + 3, MGK_BLOCK);
    MGK_WITH_REAL(a->y.dtype, MGK_LAUNCH(x, random_kernel<T>, grid, MGK_BLOCK, 0, *a));
}
