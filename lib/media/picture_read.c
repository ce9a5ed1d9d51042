/* SPDX-License-Identifier: MIT
 * Reading JPEG (ITU-T T.81) and WebP: what a file is, how large and how it is held, strictly; its pixels are the plug-in's.
 *
 * By their contents, not by the name's ending. All that the library or the plug-in allocates follows from the size that is read
 * here, which must be one that the file's bytes can fill. Cameras store pictures as the sensor lies, and EXIF says how they held
 * it; an EXIF that makes no sense says nothing. Behind a JPEG's end there may be anything: phones put films there. */
#include "media/film_read.h"

#include "core/alloc.h"
#include "io/path.h"
#include "media/plugin.h"

#include <string.h>

enum {
    JPEG_PIXELS_MAX = 512,  /* of one byte: each 8 x 8 pixels have at least a bit */
    WEBP_PIXELS_MAX = 4096, /* of one byte, of pictures larger than: */
    WEBP_PIXELS_FREE = 1 << 24
};
enum { DHT = 0xC4, SOI = 0xD8, EOI = 0xD9, SOS = 0xDA, DNL = 0xDC, APP1 = 0xE1 };
enum { ORIENTATION = 0x0112, SHORT = 3, ENTRY = 12 /* bytes of a field of EXIF */ };

typedef struct picture {
    mgi_file file;
    mgi_ffmpeg_picture is;
    mgi_plugin plugin;
    bool done;
} picture;

static mgen_status corrupt(mgi_film *film, size_t at, const char *what)
{
    return mgi_fail(film->ctx, MGEN_E_CORRUPT, "%s at byte %zu", what, at);
}

static bool begins(const uint8_t *data, size_t size, const char *with, size_t count)
{
    return size >= count && memcmp(data, with, count) == 0;
}

static uint32_t get_be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t get_le24(const uint8_t *p)
{
    return (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static uint32_t get_le32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | get_le24(p);
}

/* ---- EXIF --------------------------------------------------------------------------------------- */

static uint32_t get16(const uint8_t *p, bool little)
{
    return little ? (uint32_t)p[1] << 8 | p[0] : get_be16(p);
}

static uint32_t get32(const uint8_t *p, bool little)
{
    return little ? get_le32(p) : get_be16(p) << 16 | get_be16(p + 2);
}

/* 1..8, of the fields of its first folder; 1 where nothing tells. */
int32_t mgi_exif_orientation(const uint8_t *exif, size_t size)
{
    if (begins(exif, size, "Exif\0\0", 6)) {
        exif += 6;
        size -= 6;
    }
    const bool little = begins(exif, size, "II*\0", 4);
    if (size < 8 || (!little && !begins(exif, size, "MM\0*", 4)))
        return 1;
    const size_t at = get32(exif + 4, little);
    if (at < 8 || at > size || size - at < 2)
        return 1;
    const uint8_t *field = exif + at + 2;
    const size_t room = (size - at - 2) / ENTRY, told = get16(exif + at, little);
    for (size_t i = 0; i < told && i < room; i++, field += ENTRY) {
        if (get16(field, little) != ORIENTATION)
            continue;
        const uint32_t way = get16(field + 8, little);
        const bool good = get16(field + 2, little) == SHORT && get32(field + 4, little) == 1;
        return good && way >= 1 && way <= 8 ? (int32_t)way : 1;
    }
    return 1;
}

/* ---- JPEG --------------------------------------------------------------------------------------- */

typedef struct jpeg {
    size_t at;         /* of the marker that comes next */
    bool sized, shown; /* a frame's header was there; a scan */
    bool told;         /* EXIF */
} jpeg;

/* The size, of a kind that is read. `data`: what the segment holds. */
static mgen_status read_frame(mgi_film *film, jpeg *j, uint8_t marker, const uint8_t *data,
                              size_t size)
{
    picture *p = film->self;
    if (j->sized || size < 6 || size != 6 + 3 * (size_t)data[5])
        return corrupt(film, j->at, "a frame's header that makes no sense");
    if (marker > 0xC2 || data[0] != 8)
        return mgi_fail(film->ctx, MGEN_E_UNSUPPORTED,
                        "a JPEG of process %d and %d bits; baseline, extended and progressive ones "
                        "of 8 bits a sample are read",
                        marker - 0xC0, data[0]);
    if (get_be16(data + 1) == 0)
        return mgi_fail(film->ctx, MGEN_E_UNSUPPORTED, "a JPEG that tells its height at its end");
    j->sized = true;
    p->is.height = get_be16(data + 1);
    p->is.width = get_be16(data + 3);
    return mgi_film_check_size(film, p->is.width, p->is.height);
}

/* Tables of codes, which no length has more of than there can be: FFmpeg would print that they have. */
static mgen_status check_tables(mgi_film *film, const jpeg *j, const uint8_t *data, size_t size)
{
    while (size) {
        uint32_t room = 1, codes = 0;
        bool good = size >= 17 && (data[0] & ~0x13) == 0;
        for (int i = 1; good && i <= 16; i++) {
            room *= 2;
            good = data[i] <= room;
            room -= good ? data[i] : 0;
            codes += data[i];
        }
        if (!good || codes > size - 17)
            return corrupt(film, j->at, "a table of codes that makes no sense");
        data += 17 + codes;
        size -= 17 + codes;
    }
    return MGEN_OK;
}

/* Behind a scan's header: to the next marker that is not within it. */
static mgen_status skip_scan(mgi_film *film, jpeg *j)
{
    const mgi_file *f = &((picture *)film->self)->file;
    for (;;) {
        const uint8_t *mark = memchr(f->data + j->at, 0xFF, f->size - j->at);
        j->at = mark ? (size_t)(mark - f->data) : f->size;
        if (f->size - j->at < 2)
            return corrupt(film, f->size, "the file ends within the picture");
        if (mark[1] != 0 && mark[1] != 0xFF && (mark[1] < 0xD0 || mark[1] > 0xD7))
            return MGEN_OK;
        j->at += mark[1] == 0xFF ? 1 : 2;
    }
}

/* A segment, and behind a scan's header its data. */
static mgen_status read_segment(mgi_film *film, jpeg *j, uint8_t marker)
{
    picture *p = film->self;
    const size_t left = p->file.size - j->at;
    if (marker < 0xC0 || (marker >= 0xD0 && marker <= SOI))
        return corrupt(film, j->at, "a marker that makes no sense");
    const size_t size = left < 4 ? 2 : get_be16(p->file.data + j->at + 2);
    if (left < 4 || size > left - 2)
        return corrupt(film, j->at, "a segment that passes the file's end");
    if (size < 2)
        return corrupt(film, j->at, "a segment of no size");
    const uint8_t *data = p->file.data + j->at + 4;
    if (marker < 0xD0 && marker != DHT && marker != 0xC8 && marker != 0xCC)
        MGI_TRY(read_frame(film, j, marker, data, size - 2));
    if (marker == DHT)
        MGI_TRY(check_tables(film, j, data, size - 2));
    if (marker == DNL)
        return mgi_fail(film->ctx, MGEN_E_UNSUPPORTED, "a JPEG that tells its height at its end");
    if (marker == APP1 && !j->told && begins(data, size - 2, "Exif\0\0", 6)) {
        j->told = true;
        p->is.orientation = mgi_exif_orientation(data, size - 2);
    }
    if (marker == SOS && !j->sized)
        return corrupt(film, j->at, "a scan before the frame's header");
    j->at += 2 + size;
    if (marker != SOS)
        return MGEN_OK;
    j->shown = true;
    return skip_scan(film, j);
}

static mgen_status read_jpeg(mgi_film *film)
{
    picture *p = film->self;
    const mgi_file *f = &p->file;
    jpeg j = {.at = 2};
    p->is.kind = MGI_FFMPEG_JPEG;
    p->is.opaque = 1;
    for (;;) {
        if (f->size - j.at < 2)
            return corrupt(film, f->size, "the file ends before the picture's end");
        if (f->data[j.at] != 0xFF)
            return corrupt(film, j.at, "no marker");
        const uint8_t marker = f->data[j.at + 1];
        if (marker == EOI)
            break;
        if (marker == 0xFF) /* markers may be filled up before */
            j.at++;
        else
            MGI_TRY(read_segment(film, &j, marker));
    }
    if (!j.shown)
        return corrupt(film, j.at, "the end of a JPEG without a picture");
    p->is.data = f->data;
    p->is.size = j.at + 2;
    if (p->is.width * p->is.height / JPEG_PIXELS_MAX > (int64_t)p->is.size)
        return mgi_fail(film->ctx, MGEN_E_CORRUPT, "%zu bytes are too few for %lld x %lld pixels",
                        p->is.size, (long long)p->is.width, (long long)p->is.height);
    return MGEN_OK;
}

/* ---- WebP --------------------------------------------------------------------------------------- */

enum { CHUNK = 8 /* bytes before a chunk's own */, ANIMATED = 0x02, TRANSPARENT = 0x10 };

typedef struct webp {
    size_t end;
    int64_t width, height; /* of the canvas; 0: none was told */
    bool shown, transparent;
} webp;

/* The picture's own header, of both kinds. */
static mgen_status read_image(mgi_film *film, webp *w, size_t at, bool lossless)
{
    picture *p = film->self;
    const uint8_t *data = p->file.data + at + CHUNK;
    const size_t size = get_le32(data - 4);
    const bool good = lossless
                          ? size > 5 && data[0] == 0x2F && data[4] >> 5 == 0
                          : size > 10 && !(data[0] & 1) && !memcmp(data + 3, "\x9d\x01\x2a", 3);
    if (w->shown || !good)
        return corrupt(film, at, "a picture's header that makes no sense");
    if (lossless) {
        const uint32_t bits = get_le32(data + 1);
        p->is.width = 1 + (bits & 0x3FFF);
        p->is.height = 1 + (bits >> 14 & 0x3FFF);
        p->is.opaque = !(bits >> 28 & 1);
    } else {
        p->is.width = (int64_t)(get_le24(data + 6) & 0x3FFF);
        p->is.height = (int64_t)((data[9] & 0x3Fu) << 8 | data[8]);
        p->is.opaque = !w->transparent;
    }
    w->shown = true;
    if (w->width && (w->width != p->is.width || w->height != p->is.height))
        return corrupt(film, at, "a picture of another size than the file's");
    return mgi_film_check_size(film, p->is.width, p->is.height);
}

static mgen_status read_chunk(mgi_film *film, webp *w, size_t at, size_t *next)
{
    picture *p = film->self;
    if (w->end - at < CHUNK)
        return corrupt(film, at, "the file ends within a chunk");
    const uint8_t *data = p->file.data + at + CHUNK;
    const size_t size = get_le32(data - 4), left = w->end - at - CHUNK;
    const bool padded = size % 2 && size < left;
    if (size > left)
        return corrupt(film, at, "a chunk that passes the file's end");
    *next = at + CHUNK + size + padded;
    if (memcmp(data - CHUNK, "VP8X", 4) == 0) {
        if (w->width || w->shown || size < 10)
            return corrupt(film, at, "a VP8X chunk that makes no sense");
        if (data[0] & ANIMATED)
            return mgi_fail(film->ctx, MGEN_E_UNSUPPORTED,
                            "a WebP that moves is not read; make it a film");
        w->transparent = data[0] & TRANSPARENT;
        w->width = 1 + (int64_t)get_le24(data + 4);
        w->height = 1 + (int64_t)get_le24(data + 7);
    } else if (memcmp(data - CHUNK, "VP8 ", 4) == 0) {
        return read_image(film, w, at, false);
    } else if (memcmp(data - CHUNK, "VP8L", 4) == 0) {
        return read_image(film, w, at, true);
    } else if (memcmp(data - CHUNK, "EXIF", 4) == 0) {
        p->is.orientation = mgi_exif_orientation(data, size);
    }
    return MGEN_OK;
}

static mgen_status read_webp(mgi_film *film)
{
    picture *p = film->self;
    const mgi_file *f = &p->file;
    const size_t told = get_le32(f->data + 4);
    webp w = {.end = told};
    p->is.kind = MGI_FFMPEG_WEBP;
    if (told > f->size - CHUNK)
        return corrupt(film, f->size, "the file ends before the picture's end");
    w.end += CHUNK;
    for (size_t at = 12; at < w.end;)
        MGI_TRY(read_chunk(film, &w, at, &at));
    if (!w.shown)
        return corrupt(film, w.end, "the end of a WebP without a picture");
    p->is.data = f->data;
    p->is.size = w.end;
    const int64_t pixels = p->is.width * p->is.height;
    if (pixels > WEBP_PIXELS_FREE && pixels / WEBP_PIXELS_MAX > (int64_t)p->is.size)
        return mgi_fail(film->ctx, MGEN_E_CORRUPT, "%zu bytes are too few for %lld x %lld pixels",
                        p->is.size, (long long)p->is.width, (long long)p->is.height);
    return MGEN_OK;
}

/* ---- both --------------------------------------------------------------------------------------- */

static mgen_status next(mgi_film *film, uint8_t *rgb, bool *end)
{
    picture *p = film->self;
    char error[512] = "";
    *end = p->done;
    if (*end || !rgb) {
        p->done = true;
        return MGEN_OK;
    }
    mgen_status status = p->plugin.table->read_picture(&p->is, rgb, error, sizeof(error));
    error[sizeof(error) - 1] = '\0';
    p->done = status == MGEN_OK;
    return status == MGEN_OK ? status : mgi_fail(film->ctx, status, "%s", error);
}

static void close_film(mgi_film *film)
{
    picture *p = film->self;
    mgi_plugin_unload(&p->plugin);
    mgi_file_close(film->ctx, &p->file);
    mgi_free(film->ctx, p);
}

bool mgi_is_heif(const uint8_t *data, size_t size)
{
    static const char *const brands[] = {"mif1", "msf1", "heic", "heix", "hevc", "avif"};
    for (size_t i = 0; i < sizeof(brands) / sizeof(brands[0]); i++)
        if (size >= 12 && !memcmp(data + 4, "ftyp", 4) && !memcmp(data + 8, brands[i], 4))
            return true;
    return false;
}

/* By its first bytes; *png: it is one, whatever it is called. */
static mgen_status read_any(mgi_film *film, bool *png)
{
    const mgi_file *f = &((picture *)film->self)->file;
    *png = begins(f->data, f->size, "\x89PNG\r\n\x1A\n", 8);
    if (*png)
        return MGEN_OK;
    if (begins(f->data, f->size, "\xFF\xD8\xFF", 3))
        return read_jpeg(film);
    if (begins(f->data, f->size, "RIFF", 4) && f->size >= 12 && !memcmp(f->data + 8, "WEBP", 4))
        return read_webp(film);
    if (mgi_is_heif(f->data, f->size))
        return mgi_fail(film->ctx, MGEN_E_UNSUPPORTED,
                        "by its first bytes it is HEIF, as some phones store photos; save it as "
                        "JPEG or PNG");
    return mgi_fail(film->ctx, MGEN_E_CORRUPT,
                    "by its first bytes it is no JPEG, WebP or PNG picture");
}

mgen_status mgi_picture_open(mgi_film *film)
{
    mgen_context *ctx = film->ctx;
    picture *p;
    bool png;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof(*p), &p));
    p->is.orientation = 1;
    film->self = p;
    film->next = next;
    film->close = close_film;
    MGI_TRY(mgi_file_open_large(ctx, film->path, &p->file));
    MGI_TRY(read_any(film, &png));
    if (png) {
        close_film(film);
        film->close = NULL;
        return mgi_png_open(film);
    }
    film->info.frames = 1;
    film->info.width = p->is.orientation < 5 ? p->is.width : p->is.height;
    film->info.height = p->is.orientation < 5 ? p->is.height : p->is.width;
    if (film->only_told)
        return MGEN_OK;
    mgen_status status = mgi_plugin_load(ctx, &p->plugin);
    return status == MGEN_OK
               ? status
               : mgi_fail_context(
                     ctx, status,
                     "%s pictures are read by a plug-in; convert it to PNG, or install that",
                     p->is.kind == MGI_FFMPEG_JPEG ? "JPEG" : "WebP");
}
