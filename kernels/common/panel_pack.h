/* SPDX-License-Identifier: MIT
 * Packing for the panel engine: the part of panel_template.h that does no arithmetic. Included by it
 * alone, once per instruction set. */

#if PANEL_PAIRS
/* Units of two rows of bf16, lower half from lo; hi NULL: 0. */
MGK_INLINE void zip_vector(float *dst, const uint16_t *lo, const uint16_t *hi, __mmask16 lanes)
{
    const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, lo));
    __m512i high = _mm512_setzero_si512();
    if (hi)
        high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, hi)), 16);
    _mm512_mask_storeu_epi32(dst, lanes, _mm512_or_si512(low, high));
}

MGK_INLINE void zip_two(float *dst, const uint16_t *lo, const uint16_t *hi, int64_t count)
{
    int64_t j = 0;
    for (; j + 16 <= count; j += 16) {
        __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(lo + j)));
        if (hi) {
            const __m256i high = _mm256_loadu_si256((const void *)(hi + j));
            low = _mm512_or_si512(low, _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
        }
        _mm512_storeu_si512(dst + j, low);
    }
    if (j < count)
        zip_vector(dst + j, lo + j, hi ? hi + j : NULL, (__mmask16)((1u << (count - j)) - 1));
}
#endif

/* Four units in a row; `wide`: of bf16, as floats. */
MGK_INLINE v4 four(const char *src, const bool wide)
{
    if (!wide)
        return *(const v4u *)src;
    return (v4)(__builtin_convertvector(*(const h4u *)src, i4) << 16);
}

/* dst[k * width + j] = unit k of row j of src, 4 x 4 units; rows are ld bytes apart */
MGK_INLINE void transpose4(float *dst, int64_t width, const char *src, int64_t ld, const bool wide)
{
    const v4 r0 = four(src, wide), r1 = four(src + ld, wide);
    const v4 r2 = four(src + 2 * ld, wide), r3 = four(src + 3 * ld, wide);
    const v4 a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    const v4 b = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    const v4 c = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    const v4 d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    *(v4u *)dst = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    *(v4u *)(dst + width) = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    *(v4u *)(dst + 2 * width) = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    *(v4u *)(dst + 3 * width) = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

/* The unit of row j at value k. */
MGK_INLINE float unit_of(const value *row, int64_t k, int64_t count)
{
    return k + UNIT <= count ? *(const unit_any *)(row + k) : splat_unit(row + k, true)[0];
}

static void pack_across(float *dst, const value *src, int64_t ld, int64_t k, int64_t n,
                        int64_t width)
{
    const int64_t units = (k + UNIT - 1) / UNIT, whole = k / UNIT & ~(int64_t)3;
    const int64_t n4 = n & ~(int64_t)3, bytes = ld * (int64_t)sizeof(value);
    for (int64_t r = 0; r < whole; r += 4)
        for (int64_t j = 0; j < n4; j += 4)
            transpose4(dst + r * width + j, width, (const char *)(src + r * UNIT) + j * bytes,
                       bytes, false);
    for (int64_t r = 0; r < units; r++)
        for (int64_t j = r < whole ? n4 : 0; j < width; j++)
            dst[r * width + j] = j < n ? unit_of(src + j * ld, r * UNIT, k) : 0.0f;
}

#if !PANEL_PAIRS
static void widen_across(float *dst, const uint16_t *src, int64_t ld, int64_t k, int64_t n,
                         int64_t width)
{
    const int64_t k4 = k & ~(int64_t)3, n4 = n & ~(int64_t)3;
    for (int64_t r = 0; r < k4; r += 4)
        for (int64_t j = 0; j < n4; j += 4)
            transpose4(dst + r * width + j, width, (const char *)(src + j * ld + r), ld * 2, true);
    for (int64_t r = 0; r < k; r++)
        for (int64_t j = r < k4 ? n4 : 0; j < width; j++)
            dst[r * width + j] = j < n ? mgk_from_bf16(src[j * ld + r]) : 0.0f;
}
#endif

static void widen(float *dst, const uint16_t *src, int64_t count)
{
    MGK_EACH_VECTOR(i, count, v_out(dst + i, v_from_bf16(src + i, v_lanes)););
}

/* count values of row k of B (bf16 pairs: and of row k + 1, if it is below end). */
MGK_INLINE void pack_row(float *dst, mgk_buf src, int64_t ld, int64_t k, int64_t end, int64_t count)
{
#if PANEL_PAIRS
    const uint16_t *lo = MGK_H(src) + k * ld;
    zip_two(dst, lo, k + 1 < end ? lo + ld : NULL, count);
#else
    (void)end;
    if (src.dtype == MGK_BF16)
        widen(dst, MGK_H(src) + k * ld, count);
    else
        memcpy(dst, MGK_F(src) + k * ld, (size_t)count * sizeof(float));
#endif
}

static void pack(float *dst, mgk_buf src, int64_t ld, bool trans, int64_t k, int64_t n,
                 int64_t width)
{
#if !PANEL_PAIRS
    if (trans && src.dtype == MGK_BF16) {
        widen_across(dst, src.p, ld, k, n, width);
        return;
    }
#endif
    if (trans) {
        pack_across(dst, src.p, ld, k, n, width);
        return;
    }
    for (int64_t r = 0; r < k; r += UNIT, dst += width) {
        if (n == 2 * PANEL_VL) { /* sizes that the compiler knows */
            pack_row(dst, src, ld, r, k, 2 * PANEL_VL);
            continue;
        }
        pack_row(dst, src, ld, r, k, n);
        memset(dst + n, 0, (size_t)(width - n) * sizeof(float));
    }
}

/* Columns are read in whole vectors where so many values exist. */
static void pack_a(float *dst, mgk_buf src, int64_t ld, int64_t k, int64_t m, int64_t readable)
{
    const int64_t tile_units = (k + UNIT - 1) / UNIT * PANEL_MA + 48;
    for (int64_t c = 0; c < k; c += UNIT, dst += PANEL_MA) {
        float *d = dst;
        int64_t i = 0;
        for (; i < m && i + PANEL_MA <= readable; i += PANEL_MR2, d += tile_units)
            pack_row(d, mgk_buf_at(src, i), ld, c, k, PANEL_MA);
        for (; i < m; i += PANEL_MR2, d += tile_units)
            pack_row(d, mgk_buf_at(src, i), ld, c, k, mgk_min64(m - i, PANEL_MR2));
    }
}

static void copy(float *dst, mgk_buf src, int64_t count)
{
    if (!PANEL_PAIRS && src.dtype == MGK_BF16) {
        widen(dst, src.p, count);
        return;
    }
    memcpy(dst, src.p, (size_t)count * sizeof(value));
    if (count % UNIT)
        memset((value *)(void *)dst + count, 0, sizeof(value));
}

#if PANEL_PAIRS
static void zip(float *dst, const void *src, int64_t step, int64_t pixels, int64_t count)
{
    const uint16_t *lo = src;
    for (int64_t u = 0; u < pixels; u += 2, lo += 2 * step, dst += count)
        zip_two(dst, lo, u + 1 < pixels ? lo + step : NULL, count);
}
#endif

static void add_columns(float *sum, mgk_buf src, int64_t rows, int64_t count)
{
    const v_real from = {src.p, src.dtype};
    MGK_EACH_VECTOR(j, count, {
        vf s0 = v_in(sum + j), s1 = v_set(0.0f), s2 = s1, s3 = s1;
        int64_t i = 0;
        for (; i + 4 <= rows; i += 4) {
            s0 += v_get(from, i * count + j);
            s1 += v_get(from, (i + 1) * count + j);
            s2 += v_get(from, (i + 2) * count + j);
            s3 += v_get(from, (i + 3) * count + j);
        }
        for (; i < rows; i++)
            s0 += v_get(from, i * count + j);
        v_out(sum + j, (s0 + s1) + (s2 + s3));
    });
}

MGK_INLINE void put_as(v_real to, const float *src, int64_t count, bool add)
{
    if (add)
        MGK_EACH_VECTOR(j, count, v_put(to, j, v_get(to, j) + v_in(src + j)););
    else
        MGK_EACH_VECTOR(j, count, v_put(to, j, v_in(src + j)););
}

static void put(mgk_buf dst, const float *src, int64_t count, bool add)
{
    if (dst.dtype == MGK_BF16)
        put_as((v_real){dst.p, MGK_BF16}, src, count, add);
    else
        put_as((v_real){dst.p, MGK_F32}, src, count, add);
}
