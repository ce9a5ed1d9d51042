/* SPDX-License-Identifier: MIT
 * convert and fill on vectors; a part of pointwise_simd.h. */

/* Vectors of u8. Values are clamped to 0..255 before they come here. */
#if MGK_WIDTH == 16 && defined(__AVX512BW__)
MGK_INLINE vf v_from_u8(const uint8_t *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b));
}

MGK_INLINE void v_to_u8(uint8_t *p, vf v)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32((__m512)v)));
}
#elif MGK_WIDTH == 8 && defined(__AVX2__)
MGK_INLINE vf v_from_u8(const uint8_t *p)
{
    __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return (vf)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b));
}

MGK_INLINE void v_to_u8(uint8_t *p, vf v)
{
    __m256i w = _mm256_cvtps_epi32((__m256)v);
    __m128i h = _mm_packus_epi32(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packus_epi16(h, h));
}
#else
MGK_INLINE vf v_from_u8(const uint8_t *p)
{
    vf v;
    for (int i = 0; i < MGK_WIDTH; i++)
        v[i] = p[i];
    return v;
}

MGK_INLINE void v_to_u8(uint8_t *p, vf v)
{
    vi whole = (vi)(v + 12582912.0f); /* 1.5 * 2^23: rounds, the number is in the low bits */
    for (int i = 0; i < MGK_WIDTH; i++)
        p[i] = (uint8_t)whole[i];
}
#endif

/* One vector of any dtype; the part at the end goes through a full one. */
MGK_INLINE vf any_read(v_real b, int64_t at, int64_t lanes)
{
    if (b.dtype != MGK_U8)
        return v_read(b, at, lanes);
    const uint8_t *p = (const uint8_t *)b.p + at;
    uint8_t part[MGK_WIDTH] = {0};
    if (lanes == MGK_WIDTH)
        return v_from_u8(p);
    for (int64_t i = 0; i < lanes; i++)
        part[i] = p[i];
    return v_from_u8(part);
}

MGK_INLINE void any_write(v_real b, int64_t at, int64_t lanes, vf v)
{
    if (b.dtype != MGK_U8) {
        v_write(b, at, lanes, v);
        return;
    }
    uint8_t *p = (uint8_t *)b.p + at, part[MGK_WIDTH];
    v = v_select(v > 0, v, v_set(0)); /* NaN gives 0 */
    v = v_min(v, v_set(255));
    v_to_u8(lanes == MGK_WIDTH ? p : part, v);
    for (int64_t i = 0; i < lanes && lanes < MGK_WIDTH; i++)
        p[i] = part[i];
}

MGK_INLINE v_real any_from(mgk_buf b, int64_t at, int32_t dtype)
{
    if (dtype == MGK_U8)
        return (v_real){(uint8_t *)b.p + at, MGK_U8, 0};
    return v_from(b, at, dtype);
}

MGK_INLINE void convert_loop(const mgk_pointwise_args *a, int64_t at, int64_t n, int32_t from,
                             int32_t to)
{
    v_real in = any_from(a->x, at, from), out = any_from(a->y, at, to);
    vf alpha = v_set(a->alpha), beta = v_set(a->beta);
    if (to != MGK_U8)
        out.stream = mgk_streams_flat(a->y, a->count);
    const int64_t far = from == MGK_U8 ? 0 : v_far(out.stream);
    int64_t done = 0;
    for (; to != MGK_U8 && done + 2 * MGK_WIDTH <= n; done += 2 * MGK_WIDTH) {
        v_two v = {any_read(in, done, MGK_WIDTH), any_read(in, done + MGK_WIDTH, MGK_WIDTH)};
        v_fetch_two(in, done, far);
        v_write_plain(out, done, (v_two){v_fma(v.a, alpha, beta), v_fma(v.b, alpha, beta)});
    }
    MGK_EACH_VECTOR_FROM(
        done, i, n, { any_write(out, i, v_lanes, v_fma(any_read(in, i, v_lanes), alpha, beta)); });
    v_stream_end(out.stream);
}

MGK_INLINE void convert_from(const mgk_pointwise_args *a, int64_t at, int64_t n, int32_t from)
{
    if (a->y.dtype == MGK_U8)
        convert_loop(a, at, n, from, MGK_U8);
    else
        V_BY_DTYPE(a->y.dtype, convert_loop, a, at, n, from);
}

static void convert_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    if (a->x.dtype == MGK_U8)
        convert_from(a, at, n, MGK_U8);
    else
        V_BY_DTYPE(a->x.dtype, convert_from, a, at, n);
}

MGK_LAUNCH(convert)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 1, convert_block, args);
}

MGK_INLINE void fill_loop(const mgk_pointwise_args *a, int64_t at, int64_t n, int32_t type)
{
    v_real out = v_from(a->y, at, type);
    vf value = v_set(a->alpha);
    out.stream = mgk_streams_flat(a->y, a->count);
    MGK_EACH_VECTOR(i, n, { v_put(out, i, value); });
    v_stream_end(out.stream);
}

static void fill_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t at = block * MGK_BLOCK_ELEMENTS, n = block_end(a->count, block) - at;
    V_BY_DTYPE(a->y.dtype, fill_loop, a, at, n);
}

MGK_LAUNCH(fill)
{
    run_elements(x, ((const mgk_pointwise_args *)args)->count, 1, fill_block, args);
}
