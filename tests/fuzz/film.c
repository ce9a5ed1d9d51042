/* SPDX-License-Identifier: MIT
 * Films and pictures: all frames of what is accepted are read. A PNG is read a second time with its checksums put
 * right, without which no damage passes the first of them. Of JPEG and WebP what the library reads of them, their sizes. */
#include "fuzz.h"

#include "../unit/jpeg_bytes.h"

#include "core/alloc.h"
#include "media/film_read.h"

#include <string.h>
#include <zlib.h>

static bool read_film(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    uint8_t *pixels = NULL;
    mgi_film_info info;
    uint64_t sum = 0;
    (void)data;
    (void)size;
    if (!fuzz_ok(ctx, mgi_film_read(ctx, path, 0, 0, &pixels, &info))) {
        FUZZ_CHECK(!pixels);
        return false;
    }
    FUZZ_CHECK(info.width > 0 && info.height > 0 && info.frames > 0);
    for (int64_t i = 0; i < 3 * info.width * info.height * info.frames; i++)
        sum += pixels[i];
    FUZZ_CHECK(sum <= UINT64_MAX / 2);
    mgi_free(ctx, pixels);
    return true;
}

/* ---- y4m -------------------------------------------------------------------------------------------- */

static uint8_t *make_y4m(const char *header, size_t frame, size_t *size)
{
    static const char mark[] = "FRAME\n";
    size_t used = strlen(header);
    uint8_t *out = malloc(used + 2 * (sizeof mark + frame));
    FUZZ_CHECK(out);
    memcpy(out, header, used);
    for (int f = 0; f < 2; f++) {
        memcpy(out + used, mark, sizeof mark - 1);
        used += sizeof mark - 1;
        for (size_t i = 0; i < frame; i++)
            out[used++] = (uint8_t)(50 * i + (size_t)f);
    }
    *size = used;
    return out;
}

static uint8_t *make_420(size_t *size)
{
    return make_y4m("YUV4MPEG2 W5 H3 F25:1 Ip A1:1 C420jpeg XCOLORRANGE=FULL\n", 15 + 2 * 6, size);
}

static uint8_t *make_444(size_t *size)
{
    return make_y4m("YUV4MPEG2 W2 H2 F30000:1001 C444\n", 12, size);
}

static uint8_t *make_mono(size_t *size)
{
    return make_y4m("YUV4MPEG2 W3 H1 F0:0 Cmono\n", 3, size);
}

static const fuzz_seed films[] = {{.make = make_420}, {.make = make_444}, {.make = make_mono}};

const fuzz_target fuzz_y4m = {
    .name = "y4m",
    .size_max = 4096,
    .ending = ".y4m",
    .failures = {MGEN_E_UNSUPPORTED},
    FUZZ_SEEDS(films),
    .read = read_film,
};

/* ---- PNG -------------------------------------------------------------------------------------------- */

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint8_t *put_chunk(uint8_t *at, const char *type, const uint8_t *data, size_t size)
{
    put_u32(at, (uint32_t)size);
    memcpy(at + 4, type, 4);
    if (size)
        memcpy(at + 8, data, size);
    put_u32(at + 8 + size, (uint32_t)crc32(0, at + 4, (uInt)size + 4));
    return at + 12 + size;
}

/* 5 x 4 pixels, each row with a filter of its own. */
static uint8_t *make_png(int colour, int channels, size_t *size)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    static const uint8_t palette[9] = {255, 0, 0, 0, 255, 0, 0, 0, 255}, opacity[2] = {255, 9};
    uint8_t header[13] = {0, 0, 0, 5, 0, 0, 0, 4, 8, (uint8_t)colour, 0, 0, 0};
    uint8_t rows[4 * (1 + 5 * 4)], packed[256], *out = malloc(512), *at = out;
    size_t used = 0;
    uLongf packed_size = sizeof packed;
    FUZZ_CHECK(out);
    for (int y = 0; y < 4; y++) {
        rows[used++] = colour == 3 ? 0 : (uint8_t)(y + 1);
        for (int i = 0; i < 5 * channels; i++)
            rows[used++] = colour == 3 ? (uint8_t)(i % 3) : (uint8_t)(i * 31 + y);
    }
    FUZZ_CHECK(compress(packed, &packed_size, rows, used) == Z_OK);
    memcpy(at, signature, sizeof signature);
    at = put_chunk(at + sizeof signature, "IHDR", header, sizeof header);
    if (colour == 3) {
        at = put_chunk(at, "PLTE", palette, sizeof palette);
        at = put_chunk(at, "tRNS", opacity, sizeof opacity);
    }
    at = put_chunk(at, "IDAT", packed, 10);
    at = put_chunk(at, "IDAT", packed + 10, packed_size - 10);
    at = put_chunk(at, "tEXt", NULL, 0);
    at = put_chunk(at, "IEND", NULL, 0);
    *size = (size_t)(at - out);
    return out;
}

static uint8_t *make_rgb(size_t *size)
{
    return make_png(2, 3, size);
}

static uint8_t *make_palette(size_t *size)
{
    return make_png(3, 1, size);
}

static uint8_t *make_grey_alpha(size_t *size)
{
    return make_png(4, 2, size);
}

static bool read_png(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    bool good = read_film(ctx, data, size, path), changed = false;
    uint8_t *copy = (uint8_t *)fuzz_text(data, size);
    for (size_t at = 8, length; at + 12 <= size; at += 12 + length) {
        uint8_t was[4], *chunk = copy + at;
        length = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3];
        if (length > size - at - 12)
            break;
        memcpy(was, chunk + 8 + length, 4);
        put_u32(chunk + 8 + length, (uint32_t)crc32(0, chunk + 4, (uInt)length + 4));
        changed = changed || memcmp(was, chunk + 8 + length, 4);
    }
    if (changed) {
        fuzz_write(path, copy, size);
        good = read_film(ctx, copy, size, path);
    }
    free(copy);
    return good;
}

static const fuzz_seed pictures[] = {
    {.make = make_rgb}, {.make = make_palette}, {.make = make_grey_alpha}};

const fuzz_target fuzz_png = {
    .name = "png",
    .size_max = 4096,
    .ending = ".png",
    .failures = {MGEN_E_UNSUPPORTED},
    FUZZ_SEEDS(pictures),
    .read = read_png,
};

/* ---- JPEG and WebP ------------------------------------------------------------------------------------ */

static uint8_t value_of(int component, int x, int y)
{
    return (uint8_t)(60 + 40 * component + 30 * x + 20 * y);
}

static uint8_t *make_jpeg(size_t *size)
{
    const jpeg_made made = {.width = 21,
                            .height = 13,
                            .components = 3,
                            .across = 2,
                            .down = 2,
                            .orientation = 6,
                            .value = value_of};
    return jpeg_make(&made, size);
}

static uint8_t *make_progressive(size_t *size)
{
    const jpeg_made made = {.width = 9,
                            .height = 17,
                            .components = 1,
                            .progressive = true,
                            .orientation = 3,
                            .little = true,
                            .value = value_of};
    return jpeg_make(&made, size);
}

/* VP8X, of which the picture's chunk is as far as it is read here, and EXIF. */
static uint8_t *make_webp(const char *kind, const void *picture, size_t picture_size, size_t *size)
{
    jpeg_writer w = {.data = malloc(256)};
    FUZZ_CHECK(w.data);
    jpeg_put(&w, "RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x18\0\0\0\x04\0\0\x02\0\0", 30);
    jpeg_put(&w, kind, 4);
    jpeg_put_number(&w, (uint32_t)picture_size, 4, true);
    jpeg_put(&w, picture, picture_size);
    jpeg_put(&w, "EXIF", 4);
    jpeg_put_number(&w, JPEG_TIFF, 4, true);
    jpeg_put_tiff(&w, 8, false);
    w.data[4] = (uint8_t)(w.size - 8);
    *size = w.size;
    return w.data;
}

static uint8_t *make_lossy(size_t *size)
{
    return make_webp("VP8 ", "\x10\0\0\x9d\x01\x2a\x05\0\x03\0\0\0", 12, size);
}

static uint8_t *make_lossless(size_t *size)
{
    return make_webp("VP8L", "\x2f\x04\x80\0\x10\0", 6, size);
}

static bool read_picture(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_film_info info;
    (void)data;
    (void)size;
    if (!fuzz_ok(ctx, mgi_film_tell(ctx, path, &info)))
        return false;
    FUZZ_CHECK(info.width > 0 && info.height > 0 && info.frames == 1);
    FUZZ_CHECK(info.width * info.height <= MGI_FILM_PIXELS_MAX);
    return true;
}

static const fuzz_seed others[] = {
    {.make = make_jpeg}, {.make = make_progressive}, {.make = make_lossy}, {.make = make_lossless}};

const fuzz_target fuzz_picture = {
    .name = "picture",
    .size_max = 4096,
    .ending = ".jpg",
    .failures = {MGEN_E_UNSUPPORTED},
    FUZZ_SEEDS(others),
    .read = read_picture,
};
