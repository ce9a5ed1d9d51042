/* SPDX-License-Identifier: MIT
 * Reading PNG (RFC 2083): 8 bits a sample, grey, RGB or palette, with or without opacity, not interlaced.
 *
 * Strict: every checksum, the order of chunks, one stream of compressed rows of exactly the right size.
 * What is transparent is laid over black; gamma and colour profiles are left aside. */
#include "media/film_read.h"

#include "core/alloc.h"
#include "io/path.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { HEADER = 13, AROUND = 12 /* bytes of a chunk beside its data */, PALETTE_MAX = 256 };
enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };
enum { DEFLATE_MAX = 1032 /* bytes that one compressed byte can become */ };

typedef struct chunk {
    const uint8_t *type, *data;
    size_t size, next; /* next: offset of the chunk after it */
} chunk;

typedef struct png {
    mgi_file file;
    int colour, channels;
    size_t first;                    /* offset of the first IDAT */
    size_t packed;                   /* bytes in all of them */
    uint8_t palette[PALETTE_MAX][4]; /* RGB and opacity */
    int colours;                     /* in the palette */
    bool done;
} png;

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool is(const chunk *c, const char type[5])
{
    return memcmp(c->type, type, 4) == 0;
}

static mgen_status corrupt(mgi_film *film, size_t at, const char *what)
{
    return mgi_fail(film->ctx, MGEN_E_CORRUPT, "%s at byte %zu", what, at);
}

/* The chunk at `at`: within the file, with a right checksum. */
static mgen_status read_chunk(mgi_film *film, size_t at, chunk *out)
{
    const mgi_file *f = &((png *)film->self)->file;
    if (f->size - at < AROUND)
        return corrupt(film, at, "the file ends before its last chunk");
    const uint8_t *p = f->data + at;
    uint32_t size = get_u32(p);
    if (size > f->size - at - AROUND)
        return corrupt(film, at, "a chunk that passes the file's end");
    for (int i = 4; i < 8; i++)
        if ((p[i] | 0x20) < 'a' || (p[i] | 0x20) > 'z')
            return corrupt(film, at, "a chunk without a name");
    if (crc32(crc32(0, NULL, 0), p + 4, size + 4) != get_u32(p + 8 + size))
        return corrupt(film, at, "a chunk with a wrong checksum");
    *out = (chunk){p + 4, p + 8, size, at + AROUND + size};
    return MGEN_OK;
}

/* ---- chunks ------------------------------------------------------------------------------------- */

static mgen_status read_header(mgi_film *film, size_t at, size_t *next)
{
    png *p = film->self;
    chunk c;
    MGI_TRY(read_chunk(film, at, &c));
    if (!is(&c, "IHDR") || c.size != HEADER)
        return corrupt(film, at, "no IHDR chunk of 13 bytes");
    uint32_t width = get_u32(c.data), height = get_u32(c.data + 4);
    p->colour = c.data[9];
    bool known = p->colour == GREY || p->colour == RGB || p->colour == PALETTE ||
                 p->colour == GREY_ALPHA || p->colour == RGB_ALPHA;
    if (!known || c.data[10] || c.data[11] || c.data[12] > 1)
        return corrupt(film, at, "an IHDR chunk that makes no sense");
    if (c.data[8] != 8 || c.data[12])
        return mgi_fail(film->ctx, MGEN_E_UNSUPPORTED,
                        "a PNG of %d bits%s; those of 8 bits a sample, not interlaced, are read",
                        c.data[8], c.data[12] ? ", interlaced" : "");
    p->channels = p->colour == RGB          ? 3
                  : p->colour == RGB_ALPHA  ? 4
                  : p->colour == GREY_ALPHA ? 2
                                            : 1;
    *next = c.next;
    return mgi_film_check_size(film, width, height);
}

static mgen_status read_palette(mgi_film *film, size_t at, const chunk *c)
{
    png *p = film->self;
    if (p->colours || p->first || c->size == 0 || c->size % 3 || c->size / 3 > PALETTE_MAX ||
        p->colour == GREY || p->colour == GREY_ALPHA)
        return corrupt(film, at, "a PLTE chunk that makes no sense");
    p->colours = (int)(c->size / 3);
    for (int i = 0; i < p->colours; i++) {
        memcpy(p->palette[i], c->data + 3 * i, 3);
        p->palette[i][3] = 255;
    }
    return MGEN_OK;
}

/* Opacity of a palette's colours. The one transparent colour that other kinds can name stays as it is. */
static mgen_status read_opacity(mgi_film *film, size_t at, const chunk *c)
{
    png *p = film->self;
    if (p->colour != PALETTE)
        return MGEN_OK;
    if (p->first || c->size > (size_t)p->colours)
        return corrupt(film, at, "a tRNS chunk that makes no sense");
    for (size_t i = 0; i < c->size; i++)
        p->palette[i][3] = c->data[i];
    return MGEN_OK;
}

/* All chunks after the header, to the end of the file. */
static mgen_status read_chunks(mgi_film *film, size_t at)
{
    png *p = film->self;
    bool behind = false; /* the compressed rows */
    chunk c;
    for (;; at = c.next) {
        MGI_TRY(read_chunk(film, at, &c));
        if (is(&c, "IDAT")) {
            if (behind)
                return corrupt(film, at, "an IDAT chunk apart from the others");
            p->first = p->first ? p->first : at;
            p->packed += c.size;
            continue;
        }
        behind = p->first > 0;
        if (is(&c, "IEND"))
            break;
        if (is(&c, "PLTE"))
            MGI_TRY(read_palette(film, at, &c));
        else if (is(&c, "tRNS"))
            MGI_TRY(read_opacity(film, at, &c));
        else if (!(c.type[0] & 0x20))
            return mgi_fail(film->ctx, MGEN_E_UNSUPPORTED,
                            "the chunk '%.4s' is unknown and cannot be left aside",
                            (const char *)c.type);
    }
    if (c.size || c.next != p->file.size)
        return corrupt(film, at, "an IEND chunk that is not the end");
    if (!p->first)
        return corrupt(film, at, "no IDAT chunk");
    if (p->colour == PALETTE && !p->colours)
        return corrupt(film, at, "no PLTE chunk");
    return MGEN_OK;
}

/* ---- rows --------------------------------------------------------------------------------------- */

/* The compressed rows, read as one stream. */
typedef struct source {
    mgi_film *film;
    z_stream stream;
    size_t at;          /* offset of the next IDAT */
    bool over;          /* the stream came to its end */
    mgen_status memory; /* why zlib got none */
} source;

static voidpf zlib_alloc(voidpf user, uInt count, uInt size)
{
    source *s = user;
    void *ptr;
    s->memory = mgi_alloc_zero(s->film->ctx, count, size, &ptr);
    return s->memory == MGEN_OK ? ptr : Z_NULL;
}

static void zlib_free(voidpf user, voidpf ptr)
{
    mgi_free(((source *)user)->film->ctx, ptr);
}

/* Exactly `size` bytes; with size 0, the end of the stream. */
static mgen_status inflate_bytes(source *s, uint8_t *out, size_t size)
{
    uint8_t beyond;
    bool ending = size == 0;
    chunk c;
    s->stream.next_out = ending ? &beyond : out;
    s->stream.avail_out = ending ? 1 : (uInt)size;
    while (ending ? !s->over : s->stream.avail_out > 0) {
        if (s->stream.avail_in == 0 && !s->over) {
            MGI_TRY(read_chunk(s->film, s->at, &c));
            if (!is(&c, "IDAT"))
                return corrupt(s->film, s->at, "the compressed rows end too early");
            s->stream.next_in = (Bytef *)(uintptr_t)c.data;
            s->stream.avail_in = (uInt)c.size;
            s->at = c.next;
            if (c.size == 0)
                continue;
        }
        int code = s->over ? Z_DATA_ERROR : inflate(&s->stream, Z_NO_FLUSH);
        s->over = s->over || code == Z_STREAM_END;
        if (s->memory != MGEN_OK)
            return s->memory;
        if ((code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) ||
            (ending && s->stream.avail_out == 0))
            return corrupt(s->film, s->at, "compressed rows that make no sense before");
    }
    return MGEN_OK;
}

static int paeth(int left, int up, int corner)
{
    int by_left = abs(up - corner), by_up = abs(left - corner);
    int by_corner = abs(left + up - 2 * corner);
    if (by_left <= by_up && by_left <= by_corner)
        return left;
    return by_up <= by_corner ? up : corner;
}

static void unfilter(int filter, uint8_t *row, const uint8_t *before, size_t size, size_t bpp)
{
    for (size_t i = 0; i < size; i++) {
        int left = i >= bpp ? row[i - bpp] : 0, up = before[i];
        int corner = i >= bpp ? before[i - bpp] : 0;
        int guess = filter == 0   ? 0
                    : filter == 1 ? left
                    : filter == 2 ? up
                    : filter == 3 ? (left + up) / 2
                                  : paeth(left, up, corner);
        row[i] = (uint8_t)(row[i] + guess);
    }
}

static uint8_t over_black(uint8_t value, uint8_t opacity)
{
    return (uint8_t)((value * opacity + 127) / 255);
}

/* False: a colour that the palette does not have. */
static bool make_rgb(const png *p, const uint8_t *row, int64_t width, uint8_t *rgb)
{
    for (int64_t x = 0; x < width; x++, row += p->channels, rgb += 3) {
        const uint8_t *from = row;
        uint8_t opacity = 255;
        if (p->colour == PALETTE) {
            if (row[0] >= p->colours)
                return false;
            from = p->palette[row[0]];
            opacity = from[3];
        } else if (p->colour == GREY_ALPHA || p->colour == RGB_ALPHA)
            opacity = row[p->channels - 1];
        bool grey = p->colour == GREY || p->colour == GREY_ALPHA;
        for (int k = 0; k < 3; k++)
            rgb[k] = over_black(from[grey ? 0 : k], opacity);
    }
    return true;
}

/* Two rows, each behind its filter's number. */
static mgen_status read_rows(source *s, uint8_t *lines, size_t row, uint8_t *rgb)
{
    mgi_film *film = s->film;
    const png *p = film->self;
    uint8_t *line = lines, *before = lines + row + 1;
    for (int64_t y = 0; y < film->info.height; y++, rgb += 3 * film->info.width) {
        MGI_TRY(inflate_bytes(s, line, row + 1));
        if (line[0] > 4)
            return mgi_fail(film->ctx, MGEN_E_CORRUPT, "row %lld has the filter %d, not 0..4",
                            (long long)y, line[0]);
        unfilter(line[0], line + 1, before + 1, row, (size_t)p->channels);
        if (!make_rgb(p, line + 1, film->info.width, rgb))
            return mgi_fail(film->ctx, MGEN_E_CORRUPT,
                            "row %lld has a colour that the palette does not have", (long long)y);
        uint8_t *swap = line;
        line = before;
        before = swap;
    }
    MGI_TRY(inflate_bytes(s, NULL, 0));
    return s->stream.avail_in == 0
               ? MGEN_OK
               : corrupt(film, s->at, "bytes behind the compressed rows, before");
}

static mgen_status next(mgi_film *film, uint8_t *rgb, bool *end)
{
    png *p = film->self;
    source s = {.film = film, .at = p->first};
    size_t row = (size_t)film->info.width * (size_t)p->channels; /* sides are at most 65536 */
    uint8_t *lines;
    *end = p->done;
    p->done = true;
    if (*end || !rgb)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(film->ctx, 2, row + 1, &lines));
    s.stream.zalloc = zlib_alloc;
    s.stream.zfree = zlib_free;
    s.stream.opaque = &s;
    mgen_status status;
    if (inflateInit(&s.stream) != Z_OK) {
        status = s.memory != MGEN_OK ? s.memory
                                     : mgi_fail(film->ctx, MGEN_E_INTERNAL, "zlib does not start");
    } else {
        status = read_rows(&s, lines, row, rgb);
        inflateEnd(&s.stream);
    }
    mgi_free(film->ctx, lines);
    p->done = status == MGEN_OK;
    return status;
}

static void close_film(mgi_film *film)
{
    png *p = film->self;
    mgi_file_close(film->ctx, &p->file);
    mgi_free(film->ctx, p);
}

mgen_status mgi_png_open(mgi_film *film)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    size_t at = sizeof(signature);
    png *p;
    MGI_TRY(mgi_alloc_zero(film->ctx, 1, sizeof(*p), &p));
    film->self = p;
    film->next = next;
    film->close = close_film;
    film->info.frames = 1;
    MGI_TRY(mgi_file_open_large(film->ctx, film->path, &p->file));
    if (p->file.size >= 3 && memcmp(p->file.data, "\xFF\xD8\xFF", 3) == 0)
        return mgi_fail(film->ctx, MGEN_E_CORRUPT,
                        "it is a JPEG, whatever its name says; name it .jpg, or convert it to PNG");
    if (p->file.size < at || memcmp(p->file.data, signature, at) != 0)
        return corrupt(film, 0, "no signature of a PNG");
    MGI_TRY(read_header(film, at, &at));
    MGI_TRY(read_chunks(film, at));
    /* No room for pixels is asked for that the file cannot fill. */
    int64_t rows = film->info.height * (film->info.width * p->channels + 1);
    if ((uint64_t)rows / DEFLATE_MAX > p->packed)
        return mgi_fail(film->ctx, MGEN_E_CORRUPT,
                        "%zu compressed bytes are too few for %lld x %lld pixels", p->packed,
                        (long long)film->info.width, (long long)film->info.height);
    return MGEN_OK;
}
