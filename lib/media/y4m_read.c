/* SPDX-License-Identifier: MIT
 * Reading YUV4MPEG2: 8 bits, 4:2:0, 4:2:2, 4:4:4 or luma alone, progressive.
 *
 * Strict: a header of known fields, each once, frames complete and nothing behind the last. BT.601, limited
 * range unless XCOLORRANGE=FULL says otherwise; chroma is taken as it lies over the pixels, not smoothed,
 * wherever exactly the variants of 4:2:0 put it. */
#include "media/film_read.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "io/read.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 1024 };

#define MAGIC "YUV4MPEG2"
#define MARK  "FRAME"

/* Shares of a channel in 1/65536. */
typedef struct range {
    int32_t black, y, r_cr, g_cb, g_cr, b_cb;
} range;
static const range limited = {16, 76309, 104597, -25675, -53279, 132201},
                   full = {0, 65536, 91881, -22554, -46802, 116130};

typedef struct y4m {
    mgi_reader *file;
    size_t size;          /* bytes of it */
    size_t at;            /* the next byte */
    uint8_t *planes;      /* of a frame; NULL until one is shown */
    int shift_x, shift_y; /* chroma is 2^shift smaller */
    bool mono;
    const range *range;
    size_t luma, chroma, row; /* bytes of a plane; of a row of chroma */
} y4m;

static mgen_status corrupt(mgi_film *film, size_t at, const char *what)
{
    return mgi_fail(film->ctx, MGEN_E_CORRUPT, "%s at byte %zu", what, at);
}

/* A whole number of 1 to 9 digits in text[0..size). */
static bool parse_number(const uint8_t *text, size_t size, int64_t *out)
{
    int64_t value = 0;
    if (size < 1 || size > 9)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = 10 * value + (text[i] - '0');
    }
    *out = value;
    return true;
}

static bool is(const uint8_t *text, size_t size, const char *word)
{
    return size == strlen(word) && memcmp(text, word, size) == 0;
}

static bool parse_rate(const uint8_t *text, size_t size, mgi_film_info *info)
{
    const uint8_t *colon = memchr(text, ':', size);
    int64_t num, den;
    if (!colon || !parse_number(text, (size_t)(colon - text), &num) ||
        !parse_number(colon + 1, size - (size_t)(colon - text) - 1, &den))
        return false;
    if (num == 0 && den == 0) /* unknown: what the film has already */
        return true;
    info->fps_num = (uint32_t)num;
    info->fps_den = (uint32_t)den;
    return num > 0 && den > 0;
}

static bool parse_colour(y4m *y, const uint8_t *text, size_t size)
{
    y->shift_x = y->shift_y = 1;
    if (is(text, size, "420") || is(text, size, "420jpeg") || is(text, size, "420mpeg2") ||
        is(text, size, "420paldv"))
        return true;
    y->shift_y = 0;
    if (is(text, size, "422"))
        return true;
    y->shift_x = 0;
    if (is(text, size, "444"))
        return true;
    y->mono = true;
    return is(text, size, "mono");
}

/* One field of the header, its letter, at byte `at`, first. */
static mgen_status read_field(mgi_film *film, size_t at, const uint8_t *text, size_t size,
                              int64_t sides[2])
{
    y4m *y = film->self;
    bool good = true;
    switch (text[0]) {
    case 'W':
    case 'H':
        good = parse_number(text + 1, size - 1, &sides[text[0] == 'H']);
        break;
    case 'F':
        good = parse_rate(text + 1, size - 1, &film->info);
        break;
    case 'A': /* the shape of a pixel: taken as square */
        break;
    case 'I':
        if (!is(text, size, "Ip") && !is(text, size, "I?"))
            return mgi_fail(film->ctx, MGEN_E_UNSUPPORTED, "interlaced frames are not read");
        break;
    case 'C':
        if (!parse_colour(y, text + 1, size - 1))
            return mgi_fail(film->ctx, MGEN_E_UNSUPPORTED,
                            "the pixel format '%.*s' is not read; 420, 422, 444 and mono of 8 bits "
                            "are",
                            size < 32 ? (int)size : 32, (const char *)text);
        break;
    case 'X':
        if (is(text, size, "XCOLORRANGE=FULL"))
            y->range = &full;
        break;
    default:
        good = false;
    }
    return good ? MGEN_OK : corrupt(film, at, "a field of the header that makes no sense");
}

/* The bytes at `at` in which a line must end. */
static mgen_status read_bytes(mgi_film *film, size_t at, uint8_t bytes[LINE_MAX_BYTES],
                              size_t *count)
{
    const y4m *y = film->self;
    const size_t left = y->size - at;
    *count = left < LINE_MAX_BYTES ? left : LINE_MAX_BYTES;
    return mgi_reader_read(film->ctx, y->file, at, bytes, *count);
}

/* The line that begins with these: its size without the newline, or a failure. */
static mgen_status find_line(mgi_film *film, size_t at, const uint8_t *bytes, size_t count,
                             size_t *size)
{
    const uint8_t *end = memchr(bytes, '\n', count);
    if (!end)
        return corrupt(film, at,
                       count < LINE_MAX_BYTES ? "the file ends within a line"
                                              : "a line that does not end");
    *size = (size_t)(end - bytes);
    return MGEN_OK;
}

static mgen_status read_header(mgi_film *film)
{
    y4m *y = film->self;
    const size_t magic = sizeof(MAGIC) - 1;
    int64_t sides[2] = {0, 0};
    uint8_t line[LINE_MAX_BYTES];
    uint32_t seen = 0;
    size_t count, size = 0;
    MGI_TRY(read_bytes(film, 0, line, &count));
    if (count < magic || memcmp(line, MAGIC, magic) != 0)
        return corrupt(film, 0, "no 'YUV4MPEG2'");
    MGI_TRY(find_line(film, 0, line, count, &size));
    for (size_t at = magic; at < size;) {
        const uint8_t *text = line + at + 1, *space = memchr(text, ' ', size - at - 1);
        size_t length = space ? (size_t)(space - text) : size - at - 1;
        if (text[-1] != ' ' || length == 0)
            return corrupt(film, at, "no single space between the header's fields");
        uint32_t bit = text[0] >= 'A' && text[0] <= 'W' ? 1u << (text[0] - 'A') : 0;
        if (seen & bit)
            return corrupt(film, at + 1, "a field of the header that was there before");
        seen |= bit;
        MGI_TRY(read_field(film, at + 1, text, length, sides));
        at += 1 + length;
    }
    y->at = size + 1;
    return mgi_film_check_size(film, sides[0], sides[1]);
}

/* Step over a frame's mark; y->at is then at its luma, and all of it is in the file. */
static mgen_status read_mark(mgi_film *film, int64_t frame, size_t *at)
{
    const y4m *y = film->self;
    const size_t mark = sizeof(MARK) - 1;
    uint8_t text[LINE_MAX_BYTES];
    size_t count, size = 0;
    MGI_TRY(read_bytes(film, *at, text, &count));
    if (count < mark || memcmp(text, MARK, mark) != 0)
        return mgi_fail(film->ctx, MGEN_E_CORRUPT,
                        "no 'FRAME' at byte %zu, where frame %lld begins", *at, (long long)frame);
    MGI_TRY(find_line(film, *at, text, count, &size));
    if (size > mark && text[mark] != ' ')
        return corrupt(film, *at, "no 'FRAME'");
    *at += size + 1;
    if (y->size - *at < y->luma || y->size - *at - y->luma < 2 * y->chroma)
        return mgi_fail(film->ctx, MGEN_E_CORRUPT, "the file ends at byte %zu, within frame %lld",
                        y->size, (long long)frame);
    return MGEN_OK;
}

/* ---- pixels --------------------------------------------------------------------------------------- */

static uint8_t clamped(int32_t v)
{
    v = (v + 0x8000) >> 16;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void make_row(const y4m *y, const uint8_t *luma, const uint8_t *cb, const uint8_t *cr,
                     int64_t width, uint8_t *rgb)
{
    const range *k = y->range;
    for (int64_t x = 0; x < width; x++, rgb += 3) {
        int32_t v = k->y * (luma[x] - k->black);
        int32_t b = cb ? cb[x >> y->shift_x] - 128 : 0, r = cr ? cr[x >> y->shift_x] - 128 : 0;
        rgb[0] = clamped(v + k->r_cr * r);
        rgb[1] = clamped(v + k->g_cb * b + k->g_cr * r);
        rgb[2] = clamped(v + k->b_cb * b);
    }
}

static mgen_status read_planes(mgi_film *film)
{
    y4m *y = film->self;
    const size_t size = y->luma + y->chroma + y->chroma; /* read_mark() found them in the file */
    if (!y->planes)
        MGI_TRY(mgi_alloc(film->ctx, size, &y->planes));
    return mgi_reader_read(film->ctx, y->file, y->at, y->planes, size);
}

static mgen_status next(mgi_film *film, uint8_t *rgb, bool *end)
{
    y4m *y = film->self;
    const mgi_film_info *info = &film->info;
    *end = y->at == y->size;
    if (*end)
        return MGEN_OK;
    MGI_TRY(read_mark(film, film->at, &y->at));
    if (rgb)
        MGI_TRY(read_planes(film));
    for (int64_t row = 0; rgb && row < info->height; row++) {
        const uint8_t *cb = y->planes + y->luma, *cr = cb + y->chroma;
        size_t first = (size_t)(row >> y->shift_y) * y->row;
        make_row(y, y->planes + row * info->width, y->mono ? NULL : cb + first,
                 y->mono ? NULL : cr + first, info->width, rgb + 3 * row * info->width);
    }
    y->at += y->luma + 2 * y->chroma;
    return MGEN_OK;
}

static void close_film(mgi_film *film)
{
    y4m *y = film->self;
    mgi_reader_close(film->ctx, y->file);
    mgi_free(film->ctx, y->planes);
    mgi_free(film->ctx, y);
}

mgen_status mgi_y4m_open(mgi_film *film)
{
    y4m *y;
    MGI_TRY(mgi_alloc_zero(film->ctx, 1, sizeof(*y), &y));
    *y = (y4m){.range = &limited, .shift_x = 1, .shift_y = 1};
    film->self = y;
    film->next = next;
    film->close = close_film;
    MGI_TRY(mgi_reader_open(film->ctx, NULL, film->path, &y->file));
    y->size = (size_t)mgi_reader_size(y->file);
    MGI_TRY(read_header(film));
    int64_t w = film->info.width, h = film->info.height;
    int64_t cw = (w + y->shift_x) >> y->shift_x, ch = (h + y->shift_y) >> y->shift_y;
    int64_t luma, chroma;
    if (!mgi_i64_mul(w, h, &luma) || !mgi_i64_mul(cw, ch, &chroma))
        return corrupt(film, 0, "frames of an impossible size");
    y->luma = (size_t)luma;
    y->chroma = y->mono ? 0 : (size_t)chroma;
    y->row = (size_t)cw;
    if (film->only_told) {
        const size_t each = strlen(MARK "\n") + y->luma + y->chroma + y->chroma; /* at least */
        film->info.frames = (int64_t)((y->size - y->at) / each);
        return MGEN_OK;
    }
    /* Complete to its end, before anything is read. */
    for (size_t at = y->at; at < y->size; film->info.frames++) {
        MGI_TRY(read_mark(film, film->info.frames, &at));
        at += y->luma + 2 * y->chroma;
    }
    return film->info.frames ? MGEN_OK : corrupt(film, y->at, "no frame");
}
