/* SPDX-License-Identifier: MIT
 * The definition of quantize_fp8. */
#include "kernels/common/check.h"
#include "kernels/common/real.h"
#include "kernels/fp8/e4m3.h"
#include "kernels/fp8/quantize_fp8.h"

#include <math.h>

bool mgk_quantize_fp8_check(const void *args, const char **why)
{
    const mgk_quantize_fp8_args *a = args;
    MGK_RULE(a->rows >= 0 && a->cols >= 0, "a size is negative");
    MGK_RULE(a->ldx >= a->cols && a->ldc >= a->cols, "ldx or ldc is smaller than a row");
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->ldx) && MGK_EXTENTS_OK(a->rows, a->ldc),
             "a size overflows");
    const bool empty = a->rows == 0 || a->cols == 0;
    MGK_RULE(mgk_is_real_of(a->x, !empty), "x: f32 or bf16");
    MGK_RULE(a->codes.dtype == MGK_U8 && (a->codes.p || empty), "codes: u8");
    MGK_RULE(mgk_is_f32_of(a->scale, a->rows), "scale: f32");
    return true;
}

size_t mgk_quantize_fp8_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

void mgk_quantize_fp8_ref(const void *args, mgk_exec *x)
{
    const mgk_quantize_fp8_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->rows; i++) {
        double largest = 0;
        for (int64_t j = 0; j < a->cols; j++) {
            const double v = fabs(mgk_real_at(a->x, i * a->ldx + j));
            largest = isfinite(v) ? fmax(largest, v) : largest;
        }
        int e = largest > 0 ? -MGK_E4M3_SCALE_LOG2 : 0;
        while (e < MGK_E4M3_SCALE_LOG2 && ldexp(largest, -e) > 448)
            e++;
        MGK_F(a->scale)[i] = (float)ldexp(1, e);
        for (int64_t j = 0; j < a->cols; j++)
            MGK_B(a->codes)
        [i * a->ldc + j] = mgk_to_e4m3((float)ldexp(mgk_real_at(a->x, i * a->ldx + j), -e));
    }
}
