/* SPDX-License-Identifier: MIT */
#include "eval/image_quality.h"

#include <math.h>

enum { WINDOW = 8, STRIDE = 4 };

double mgi_psnr(const uint8_t *a, const uint8_t *b, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    double mse = count ? sum / (double)count : 0.0;
    return mse > 0.0 ? fmin(100.0, 10.0 * log10(255.0 * 255.0 / mse)) : 100.0;
}

static double luma(const uint8_t *p)
{
    return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
}

/* One window: (2 ma mb + c1)(2 cov + c2) / ((ma^2 + mb^2 + c1)(va + vb + c2)). */
static double ssim_window(const uint8_t *a, const uint8_t *b, int64_t width)
{
    const double c1 = 6.5025, c2 = 58.5225,
                 n = WINDOW * WINDOW; /* (0.01 * 255)^2, (0.03 * 255)^2 */
    double sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
    for (int64_t i = 0; i < WINDOW; i++) {
        for (int64_t j = 0; j < WINDOW; j++) {
            double x = luma(a + (i * width + j) * 3), y = luma(b + (i * width + j) * 3);
            sa += x;
            sb += y;
            saa += x * x;
            sbb += y * y;
            sab += x * y;
        }
    }
    double ma = sa / n, mb = sb / n;
    double va = (saa - sa * ma) / (n - 1), vb = (sbb - sb * mb) / (n - 1),
           cov = (sab - sa * mb) / (n - 1);
    return (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
}

double mgi_ssim_clip(const uint8_t *a, const uint8_t *b, int64_t frames, int64_t height,
                     int64_t width)
{
    double sum = 0.0;
    int64_t n = 0;
    for (int64_t t = 0; t < frames; t++) {
        for (int64_t i = 0; i + WINDOW <= height; i += STRIDE) {
            for (int64_t j = 0; j + WINDOW <= width; j += STRIDE, n++) {
                int64_t at = ((t * height + i) * width + j) * 3;
                sum += ssim_window(a + at, b + at, width);
            }
        }
    }
    return n ? sum / (double)n : 0.0;
}

double mgi_gradient_energy(const uint8_t *rgb, int64_t frames, int64_t height, int64_t width)
{
    double sum = 0.0;
    for (int64_t t = 0; t < frames; t++) {
        for (int64_t i = 0; i + 1 < height; i++) {
            for (int64_t j = 0; j + 1 < width; j++) {
                const uint8_t *p = rgb + ((t * height + i) * width + j) * 3;
                double here = luma(p), right = luma(p + 3) - here,
                       below = luma(p + width * 3) - here;
                sum += right * right + below * below;
            }
        }
    }
    return sum / (double)(frames * (height - 1) * (width - 1));
}
