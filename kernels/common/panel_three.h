/* SPDX-License-Identifier: MIT
 * Products of pixels of three channels with 3 x 3 weights, as in a convolution in time of RGB, for which tiles would be nearly
 * empty: a vector holds one channel of as many pixels as it has lanes. Included by panel_template.h alone, once per
 * instruction set. */

/* Lane l of channel o out of three vectors of pixels: from the first two, then with the third. */
#define THREE_FIRST(l, o) (3 * (l) + (o) < 2 * PANEL_VL ? 3 * (l) + (o) : (l))
#define THREE_THEN(l, o)  (3 * (l) + (o) < 2 * PANEL_VL ? (l) : 3 * (l) + (o)-PANEL_VL)
/* Lane l of vector k of pixels out of three channels: of the first two, then of the third. */
#define THREE_AT(l, k)   (PANEL_VL * (k) + (l))
#define THREE_BOTH(l, k) (THREE_AT(l, k) % 3 * PANEL_VL % (2 * PANEL_VL) + THREE_AT(l, k) / 3)
#define THREE_LAST(l, k) (THREE_AT(l, k) % 3 == 2 ? PANEL_VL + THREE_AT(l, k) / 3 : (l))

#if PANEL_VL == 16
#define THREE_MIX(a, b, F, o)                                                                      \
    __builtin_shufflevector(a, b, F(0, o), F(1, o), F(2, o), F(3, o), F(4, o), F(5, o), F(6, o),   \
                            F(7, o), F(8, o), F(9, o), F(10, o), F(11, o), F(12, o), F(13, o),     \
                            F(14, o), F(15, o))
#elif PANEL_VL == 8
#define THREE_MIX(a, b, F, o)                                                                      \
    __builtin_shufflevector(a, b, F(0, o), F(1, o), F(2, o), F(3, o), F(4, o), F(5, o), F(6, o),   \
                            F(7, o))
#else
#define THREE_MIX(a, b, F, o) __builtin_shufflevector(a, b, F(0, o), F(1, o), F(2, o), F(3, o))
#endif
#define THREE_APART(v, o)                                                                          \
    THREE_MIX(THREE_MIX((v)[0], (v)[1], THREE_FIRST, o), (v)[2], THREE_THEN, o)
#define THREE_TOGETHER(c, k)                                                                       \
    THREE_MIX(THREE_MIX((c)[0], (c)[1], THREE_BOTH, k), (c)[2], THREE_LAST, k)

/* Up to PANEL_VL pixels, from pixel `at` of each row on. Sums as the tiles make them: over rows, then channels, then the bias. */
MGK_INLINE void three_pixels(v_real y, const value *const *rows, int64_t count, int64_t at,
                             int64_t pixels, const float *w, const float *bias)
{
    vf sum[3] = {v_set(0.0f), v_set(0.0f), v_set(0.0f)};
    int64_t lanes[3];
    for (int i = 0; i < 3; i++)
        lanes[i] = mgk_max64(mgk_min64(3 * pixels - i * PANEL_VL, PANEL_VL), 0);
    for (int64_t s = 0; s < count; s++, w += 9) {
        if (!rows[s])
            continue;
        const v_real row = {(void *)(uintptr_t)rows[s], PANEL_PAIRS ? MGK_BF16 : MGK_F32};
        vf v[3];
        MGK_UNROLL
        for (int i = 0; i < 3; i++)
            v[i] = v_read(row, 3 * at + i * PANEL_VL, lanes[i]);
        const vf x[3] = {THREE_APART(v, 0), THREE_APART(v, 1), THREE_APART(v, 2)};
        MGK_UNROLL
        for (int i = 0; i < 3; i++)
            for (int o = 0; o < 3; o++)
                sum[o] = v_fma(x[i], v_set(w[3 * i + o]), sum[o]);
    }
    for (int o = 0; o < 3 && bias; o++)
        sum[o] += v_set(bias[o]);
    v_write(y, 3 * at, lanes[0], THREE_TOGETHER(sum, 0));
    v_write(y, 3 * at + PANEL_VL, lanes[1], THREE_TOGETHER(sum, 1));
    v_write(y, 3 * at + 2 * PANEL_VL, lanes[2], THREE_TOGETHER(sum, 2));
}

MGK_INLINE void three_row(v_real y, const value *const *rows, int64_t count, int64_t pixels,
                          const float *w, const float *bias)
{
    int64_t at = 0;
    for (; at + PANEL_VL <= pixels; at += PANEL_VL)
        three_pixels(y, rows, count, at, PANEL_VL, w, bias);
    if (at < pixels)
        three_pixels(y, rows, count, at, pixels - at, w, bias);
}

static void three(mgk_buf y, const void *const *rows, int64_t count, int64_t pixels, const float *w,
                  const float *bias)
{
    const value *const *from = (const value *const *)rows;
    if (y.dtype == MGK_BF16)
        three_row((v_real){y.p, MGK_BF16}, from, count, pixels, w, bias);
    else
        three_row((v_real){y.p, MGK_F32}, from, count, pixels, w, bias);
}
