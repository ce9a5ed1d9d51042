/* SPDX-License-Identifier: MIT
 * Which writer a file name asks for. */
#include "media/media.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "io/path.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SIZE_MOST = 65536, STRIP_MOST = 8, DIGITS_MOST = 20 };

mgen_status mgi_frames_check(mgen_context *ctx, const mgi_frames *f)
{
    const int64_t dims[] = {f->frames, f->height, f->width, 3};
    int64_t size;
    for (int i = 0; i < 3; i++)
        if (dims[i] < 1 || dims[i] > SIZE_MOST)
            return mgi_fail(ctx, MGEN_E_INVALID, "%s %lld is not within 1..%d",
                            i == 0   ? "the number of frames"
                            : i == 1 ? "the height"
                                     : "the width",
                            (long long)dims[i], SIZE_MOST);
    if (!mgi_dims_count(dims, 4, &size) || (uint64_t)size > SIZE_MAX / 2)
        return mgi_fail(ctx, MGEN_E_INVALID, "%lld frames of %lld x %lld pixels are too many",
                        (long long)f->frames, (long long)f->width, (long long)f->height);
    if (!f->pixels)
        return mgi_fail(ctx, MGEN_E_INVALID, "the frames have no pixels");
    if (f->fps_num == 0 || f->fps_den == 0)
        return mgi_fail(ctx, MGEN_E_INVALID, "%u/%u frames per second is not a rate",
                        (unsigned)f->fps_num, (unsigned)f->fps_den);
    return MGEN_OK;
}

static size_t frame_size(const mgi_frames *f)
{
    return 3 * (size_t)f->width * (size_t)f->height;
}

/* Where the file's name begins in a path, and its last '.', or NULL. A name may not begin with it. */
static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *ending_of(const char *path)
{
    const char *name = name_of(path), *dot = strrchr(name, '.');
    return dot && dot != name && dot[1] ? dot : NULL;
}

/* ---- numbered names ------------------------------------------------------------------------ */

typedef struct pattern {
    const char *begin, *end; /* the pattern inside the path; begin NULL = none */
    int digits;              /* at least this many, filled with zeros */
} pattern;

/* %d or %0Nd at `p`: one past it and *digits, or NULL. */
static const char *parse_pattern(const char *p, int *digits)
{
    *digits = 1;
    if (*p++ != '%')
        return NULL;
    if (*p == '0') {
        p++;
        if (*p < '1' || *p > '9')
            return NULL;
        for (*digits = 0; *p >= '0' && *p <= '9'; p++) {
            *digits = *digits * 10 + (*p - '0');
            if (*digits > DIGITS_MOST)
                return NULL;
        }
    }
    return *p == 'd' ? p + 1 : NULL;
}

static mgen_status find_pattern(mgen_context *ctx, const char *path, pattern *out)
{
    *out = (pattern){NULL, NULL, 0};
    for (const char *p = name_of(path); *p; p++) {
        int digits;
        const char *end = parse_pattern(p, &digits);
        if (!end)
            continue;
        if (out->begin)
            return mgi_fail(ctx, MGEN_E_INVALID,
                            "'%s' has two number patterns; one %%d or %%0Nd is allowed", path);
        *out = (pattern){p, end, digits};
    }
    return MGEN_OK;
}

static mgen_status write_numbered(mgen_context *ctx, const char *path, pattern at,
                                  const mgi_frames *f)
{
    for (int64_t i = 0; i < f->frames; i++) {
        char name[MGI_PATH_MAX + 1];
        int length = snprintf(name, sizeof(name), "%.*s%0*lld%s", (int)(at.begin - path), path,
                              at.digits, (long long)i, at.end);
        if (length < 0 || (size_t)length >= sizeof(name))
            return mgi_fail(ctx, MGEN_E_INVALID, "the path '%.40s...' is too long", path);
        MGI_TRY(
            mgi_png_write(ctx, name, f->pixels + (size_t)i * frame_size(f), f->width, f->height));
    }
    return MGEN_OK;
}

/* ---- a strip of frames --------------------------------------------------------------------- */

static mgen_status write_strip(mgen_context *ctx, const char *path, const mgi_frames *f)
{
    int64_t count = f->frames < STRIP_MOST ? f->frames : STRIP_MOST;
    size_t row = 3 * (size_t)f->width, strip_row = row * (size_t)count;
    uint8_t *strip;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)f->height, strip_row, &strip));
    for (int64_t k = 0; k < count; k++) {
        int64_t frame = count > 1 ? k * (f->frames - 1) / (count - 1) : 0;
        const uint8_t *from = f->pixels + (size_t)frame * frame_size(f);
        for (size_t y = 0; y < (size_t)f->height; y++)
            memcpy(strip + y * strip_row + (size_t)k * row, from + y * row, row);
    }
    mgen_status status = mgi_png_write(ctx, path, strip, f->width * count, f->height);
    mgi_free(ctx, strip);
    return status;
}

static mgen_status write_png(mgen_context *ctx, const char *path, const mgi_frames *f)
{
    pattern at;
    MGI_TRY(find_pattern(ctx, path, &at));
    if (at.begin)
        return write_numbered(ctx, path, at, f);
    if (f->frames == 1)
        return mgi_png_write(ctx, path, f->pixels, f->width, f->height);
    return write_strip(ctx, path, f);
}

mgen_status mgi_frames_write(mgen_context *ctx, const char *path, const mgi_frames *frames)
{
    if (!path || !*path)
        return mgi_fail(ctx, MGEN_E_INVALID, "the path is %s", path ? "empty" : "NULL");
    if (strnlen(path, MGI_PATH_MAX + 1) > MGI_PATH_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "the path '%.40s...' is longer than %d bytes", path,
                        MGI_PATH_MAX);
    MGI_TRY(mgi_frames_check(ctx, frames));
    const char *ending = ending_of(path);
    if (!ending)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "'%s' has no ending that tells its format, such as .mp4, .y4m or .png",
                        path);
    if (strcasecmp(ending, ".png") == 0)
        return write_png(ctx, path, frames);
    if (strcasecmp(ending, ".y4m") == 0)
        return mgi_y4m_write(ctx, path, frames);
    return mgi_film_write(ctx, path, frames);
}
