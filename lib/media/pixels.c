/* SPDX-License-Identifier: MIT */
#include "media/pixels.h"

#include "core/checked.h"

#include <math.h>
#include <string.h>

enum { SIZE_MOST = 65536, TILE = 128 /* pixels of a row that are turned to bytes at once; even */ };

/* -- values ----------------------------------------------------------------------------------- */

static uint8_t byte_of(float x)
{
    float v = fmaf(x, 127.5f, 127.5f);
    v = v > 0.0f ? v : 0.0f; /* not-a-number too */
    return (uint8_t)lrintf(v < 255.0f ? v : 255.0f);
}

void mgi_bytes_from_floats(uint8_t *to, const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = byte_of(from[i]);
}

void mgi_floats_from_bytes(float *to, const uint8_t *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = fmaf((float)from[i], 1.0f / 127.5f, -1.0f);
}

static void unit_from_floats(float *to, const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        float v = 0.5f * from[i] + 0.5f;
        v = v > 0.0f ? v : 0.0f;
        to[i] = v < 1.0f ? v : 1.0f;
    }
}

/* -- layout ----------------------------------------------------------------------------------- */

int mgi_pixels_planes(int format)
{
    return format == MGI_PIXELS_YUV420 ? 3 : 1;
}

int64_t mgi_pixels_row_bytes(int format, int plane, int64_t width)
{
    if (format == MGI_PIXELS_YUV420)
        return plane ? (width + 1) / 2 : width;
    return width * (format == MGI_PIXELS_RGBF32 ? 3 * (int64_t)sizeof(float) : 3);
}

int64_t mgi_pixels_rows(int format, int plane, int64_t height)
{
    return format == MGI_PIXELS_YUV420 && plane ? (height + 1) / 2 : height;
}

int64_t mgi_pixels_frame_bytes(const mgi_pixels *p)
{
    int64_t all = 0;
    for (int k = 0; k < mgi_pixels_planes(p->format); k++)
        all +=
            mgi_pixels_row_bytes(p->format, k, p->width) * mgi_pixels_rows(p->format, k, p->height);
    return all;
}

void mgi_pixels_pack(mgi_pixels *p, void *memory)
{
    uint8_t *next = memory;
    for (int k = 0; k < mgi_pixels_planes(p->format); k++) {
        p->row[k] = mgi_pixels_row_bytes(p->format, k, p->width);
        p->frame[k] = mgi_pixels_frame_bytes(p);
        p->plane[k] = next;
        next += p->row[k] * mgi_pixels_rows(p->format, k, p->height);
    }
}

static mgen_status check_plane(mgen_context *ctx, const mgi_pixels *p, int k)
{
    int64_t least = mgi_pixels_row_bytes(p->format, k, p->width), extent, all;
    int64_t rows = mgi_pixels_rows(p->format, k, p->height),
            frame = p->frames > 1 ? p->frame[k] : 0;
    if (!p->plane[k])
        return mgi_fail(ctx, MGEN_E_INVALID, "plane %d of the frames is NULL", k);
    if (p->row[k] < least)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "plane %d: a row stride of %lld bytes is less than a row, %lld", k,
                        (long long)p->row[k], (long long)least);
    if (!mgi_i64_mul(rows - 1, p->row[k], &extent) || !mgi_i64_add(extent, least, &extent) ||
        !mgi_i64_mul(p->frames - 1, frame, &all) || !mgi_i64_add(all, extent, &all))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "plane %d: strides of %lld and %lld bytes are too large", k,
                        (long long)p->row[k], (long long)frame);
    if (p->frames > 1 && frame < extent)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "plane %d: a frame stride of %lld bytes is less than a frame, %lld", k,
                        (long long)frame, (long long)extent);
    if (p->format == MGI_PIXELS_RGBF32 &&
        ((uintptr_t)p->plane[k] % sizeof(float) || p->row[k] % (int64_t)sizeof(float) ||
         frame % (int64_t)sizeof(float)))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "float frames: address and strides must be multiples of %zu",
                        sizeof(float));
    return MGEN_OK;
}

mgen_status mgi_pixels_check(mgen_context *ctx, const mgi_pixels *p)
{
    if (p->format < MGI_PIXELS_RGB8 || p->format > MGI_PIXELS_YUV420)
        return mgi_fail(ctx, MGEN_E_INVALID, "%d is no pixel format; they are %d to %d", p->format,
                        MGI_PIXELS_RGB8, MGI_PIXELS_YUV420);
    if (p->width < 1 || p->width > SIZE_MOST || p->height < 1 || p->height > SIZE_MOST ||
        p->frames < 1)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "%lld frames of %lld x %lld pixels: sizes are 1..%d, frames 1 or more",
                        (long long)p->frames, (long long)p->width, (long long)p->height, SIZE_MOST);
    for (int k = 0; k < mgi_pixels_planes(p->format); k++)
        MGI_TRY(check_plane(ctx, p, k));
    return MGEN_OK;
}

/* Row `y` of plane k, from byte `x` on. */
static uint8_t *at(const mgi_pixels *p, int k, int64_t frame, int64_t y, int64_t x)
{
    int64_t offset = y * p->row[k] + x;
    if (p->frames > 1)
        offset += frame * p->frame[k];
    return (uint8_t *)p->plane[k] + offset;
}

/* -- YUV -------------------------------------------------------------------------------------- */

/* RGB 0..255 to YCbCr in 16-bit fixed point. Each chroma row sums to 0, so grey stays grey. */
enum { Y_R = 16829, Y_G = 33039, Y_B = 6416 };
enum { CB_R = -9714, CB_G = -19070, CB_B = 28784 };
enum { CR_R = 28784, CR_G = -24103, CR_B = -4681 };
/* And back. */
enum { R_CR = 104597, G_CB = -25675, G_CR = -53279, B_CB = 132201, RGB_Y = 76309 };

static void make_luma(const uint8_t *rgb, int64_t count, uint8_t *out)
{
    for (int64_t i = 0; i < count; i++, rgb += 3)
        out[i] =
            (uint8_t)((Y_R * rgb[0] + Y_G * rgb[1] + Y_B * rgb[2] + (16 << 16) + 0x8000) >> 16);
}

static void make_chroma(const uint8_t *above, const uint8_t *below, int64_t width, uint8_t *cb,
                        uint8_t *cr)
{
    const int32_t bias = (128 << 18) + (1 << 17); /* of four pixels, with rounding */
    for (int64_t x = 0; x < width; x += 2) {
        int64_t left = 3 * x, right = x + 1 < width ? left + 3 : left;
        int32_t sum[3];
        for (int k = 0; k < 3; k++)
            sum[k] = above[left + k] + above[right + k] + below[left + k] + below[right + k];
        *cb++ = (uint8_t)((CB_R * sum[0] + CB_G * sum[1] + CB_B * sum[2] + bias) >> 18);
        *cr++ = (uint8_t)((CR_R * sum[0] + CR_G * sum[1] + CR_B * sum[2] + bias) >> 18);
    }
}

static uint8_t clamped(int32_t v)
{
    v = (v + 0x8000) >> 16;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void make_rgb(const uint8_t *luma, const uint8_t *cb, const uint8_t *cr, int64_t width,
                     uint8_t *rgb)
{
    for (int64_t x = 0; x < width; x++, rgb += 3) {
        int32_t y = RGB_Y * (luma[x] - 16), u = cb[x / 2] - 128, v = cr[x / 2] - 128;
        rgb[0] = clamped(y + R_CR * v);
        rgb[1] = clamped(y + G_CB * u + G_CR * v);
        rgb[2] = clamped(y + B_CB * u);
    }
}

/* -- frames ----------------------------------------------------------------------------------- */

/* Values without gaps: bytes or floats. */
typedef struct values {
    const uint8_t *bytes;
    const float *floats;
} values;

static const uint8_t *bytes_at(const values *v, int64_t first, int64_t count, uint8_t *tile)
{
    if (v->bytes)
        return v->bytes + first;
    mgi_bytes_from_floats(tile, v->floats + first, count);
    return tile;
}

static void put_yuv(const mgi_pixels *p, int64_t frame, const values *v)
{
    uint8_t tile[2][3 * TILE];
    for (int64_t y = 0; y < p->height; y += 2) {
        bool two = y + 1 < p->height;
        for (int64_t x = 0; x < p->width; x += TILE) {
            int64_t n = p->width - x < TILE ? p->width - x : TILE, first = 3 * (y * p->width + x);
            const uint8_t *above = bytes_at(v, first, 3 * n, tile[0]), *below = above;
            make_luma(above, n, at(p, 0, frame, y, x));
            if (two) {
                below = bytes_at(v, first + 3 * p->width, 3 * n, tile[1]);
                make_luma(below, n, at(p, 0, frame, y + 1, x));
            }
            make_chroma(above, below, n, at(p, 1, frame, y / 2, x / 2),
                        at(p, 2, frame, y / 2, x / 2));
        }
    }
}

static void put(const mgi_pixels *p, int64_t frame, const values *v)
{
    int64_t n = 3 * p->width;
    if (p->format == MGI_PIXELS_YUV420) {
        put_yuv(p, frame, v);
        return;
    }
    for (int64_t y = 0; y < p->height; y++) {
        void *to = at(p, 0, frame, y, 0);
        float *unit = to;
        if (p->format == MGI_PIXELS_RGBF32 && v->floats)
            unit_from_floats(unit, v->floats + y * n, n);
        else if (p->format == MGI_PIXELS_RGBF32)
            for (int64_t i = 0; i < n; i++)
                unit[i] = (float)v->bytes[y * n + i] / 255.0f;
        else if (v->floats)
            mgi_bytes_from_floats(to, v->floats + y * n, n);
        else
            memcpy(to, v->bytes + y * n, (size_t)n);
    }
}

void mgi_pixels_put_bytes(const mgi_pixels *p, int64_t frame, const uint8_t *rgb)
{
    put(p, frame, &(values){.bytes = rgb});
}

void mgi_pixels_put_floats(const mgi_pixels *p, int64_t frame, const float *rgb)
{
    put(p, frame, &(values){.floats = rgb});
}

mgi_pixels mgi_pixels_part(const mgi_pixels *p, int64_t top, int64_t left, int64_t height,
                           int64_t width)
{
    mgi_pixels part = *p;
    part.height = height;
    part.width = width;
    for (int k = 0; k < mgi_pixels_planes(p->format); k++) {
        int64_t row = k ? top / 2 : top;
        part.plane[k] =
            (uint8_t *)p->plane[k] + row * p->row[k] + mgi_pixels_row_bytes(p->format, k, left);
    }
    return part;
}

/* A row as bytes, of the formats that hold bytes. */
static void get_row(const mgi_pixels *p, int64_t frame, int64_t y, int64_t x, int64_t n,
                    uint8_t *rgb)
{
    if (p->format == MGI_PIXELS_YUV420)
        make_rgb(at(p, 0, frame, y, x), at(p, 1, frame, y / 2, x / 2),
                 at(p, 2, frame, y / 2, x / 2), n, rgb);
    else
        memcpy(rgb, at(p, 0, frame, y, 3 * x), (size_t)(3 * n));
}

void mgi_pixels_get_bytes(const mgi_pixels *p, int64_t frame, uint8_t *rgb)
{
    for (int64_t y = 0; y < p->height; y++, rgb += 3 * p->width) {
        const float *unit = (const void *)at(p, 0, frame, y, 0);
        if (p->format != MGI_PIXELS_RGBF32)
            get_row(p, frame, y, 0, p->width, rgb);
        else
            for (int64_t i = 0; i < 3 * p->width; i++)
                rgb[i] = byte_of(2.0f * unit[i] - 1.0f);
    }
}

void mgi_pixels_get_floats(const mgi_pixels *p, int64_t frame, float *rgb)
{
    uint8_t tile[3 * TILE];
    for (int64_t y = 0; y < p->height; y++, rgb += 3 * p->width) {
        const float *unit = (const void *)at(p, 0, frame, y, 0);
        if (p->format == MGI_PIXELS_RGBF32) {
            for (int64_t i = 0; i < 3 * p->width; i++)
                rgb[i] = 2.0f * unit[i] - 1.0f;
            continue;
        }
        for (int64_t x = 0; x < p->width; x += TILE) {
            int64_t n = p->width - x < TILE ? p->width - x : TILE;
            get_row(p, frame, y, x, n, tile);
            mgi_floats_from_bytes(rgb + 3 * x, tile, 3 * n);
        }
    }
}
