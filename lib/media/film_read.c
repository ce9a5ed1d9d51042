/* SPDX-License-Identifier: MIT
 * Which reader a file name asks for, the plug-in's reader, and frames in one piece. */
#include "media/film_read.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "io/path.h"
#include "media/plugin.h"

#include <string.h>
#include <strings.h>

enum { FRAMES_FIRST = 32 /* room for so many where the file does not tell */ };

mgen_status mgi_film_check_size(mgi_film *film, int64_t width, int64_t height)
{
    if (width < 1 || height < 1 || width > MGI_FILM_SIDE_MAX || height > MGI_FILM_SIDE_MAX ||
        width * height > MGI_FILM_PIXELS_MAX)
        return mgi_fail(film->ctx, MGEN_E_CORRUPT,
                        "frames of %lld x %lld pixels; sides of 1..%d and %lld pixels at most are "
                        "read",
                        (long long)width, (long long)height, MGI_FILM_SIDE_MAX,
                        (long long)MGI_FILM_PIXELS_MAX);
    film->info.width = width;
    film->info.height = height;
    return MGEN_OK;
}

/* ---- the plug-in -------------------------------------------------------------------------------- */

typedef struct plugin_film {
    mgi_plugin_file file;
    mgi_plugin plugin;
    void *film;
    bool jumped;
} plugin_film;

static mgen_status plugin_open(mgi_film *film, mgi_ffmpeg_info *info)
{
    plugin_film *p = film->self;
    char error[512] = "";
    mgen_status status = p->plugin.table->read_open(&p->file.bytes, MGI_FILM_PIXELS_MAX, &p->film,
                                                    info, error, sizeof(error));
    if (status != MGEN_OK)
        p->film = NULL;
    return mgi_plugin_said(&p->file, status, error);
}

static mgen_status plugin_next_once(mgi_film *film, uint8_t *rgb, bool *end)
{
    plugin_film *p = film->self;
    char error[512] = "";
    int32_t over = 0;
    if (!p->film)
        return mgi_fail(film->ctx, MGEN_E_STATE, "it did not open again");
    mgen_status status = p->plugin.table->read_next(p->film, rgb, &over, error, sizeof(error));
    *end = over != 0;
    return mgi_plugin_said(&p->file, status, error);
}

/* From its beginning up to frame film->at. */
static mgen_status plugin_begin_anew(mgi_film *film, bool *end)
{
    plugin_film *p = film->self;
    mgi_ffmpeg_info info;
    p->plugin.table->read_close(p->film);
    p->film = NULL;
    p->jumped = false;
    *end = false;
    MGI_TRY(plugin_open(film, &info));
    for (int64_t i = 0; i < film->at && !*end; i++)
        MGI_TRY(plugin_next_once(film, NULL, end));
    return MGEN_OK;
}

static mgen_status plugin_next(mgi_film *film, uint8_t *rgb, bool *end)
{
    plugin_film *p = film->self;
    mgen_status status = plugin_next_once(film, rgb, end);
    if (status != MGEN_E_AGAIN || !p->jumped)
        return status;
    MGI_TRY(plugin_begin_anew(film, end));
    return *end ? MGEN_OK : plugin_next_once(film, rgb, end);
}

static void plugin_known(mgi_film *film, mgi_film_known *out)
{
    plugin_film *p = film->self;
    mgi_ffmpeg_known known;
    p->plugin.table->read_known(p->film, &known);
    *out = (mgi_film_known){known.base, known.frames};
}

static bool plugin_uneven(mgi_film *film)
{
    plugin_film *p = film->self;
    return p->film && p->plugin.table->read_uneven(p->film) != 0;
}

static bool plugin_bears_out(mgi_film *film, const mgi_film_known *said)
{
    plugin_film *p = film->self;
    const mgi_ffmpeg_known k = {said->base, said->frames};
    return p->plugin.table->read_bears_out(&p->file.bytes, &k) != 0 && p->file.failed == MGEN_OK;
}

static mgen_status plugin_jump(mgi_film *film, const mgi_film_known *known, int64_t frame)
{
    plugin_film *p = film->self;
    const mgi_ffmpeg_known k = {known->base, known->frames};
    char error[512] = "";
    bool end;
    if (p->plugin.table->read_jump(p->film, &k, frame, &film->at, error, sizeof(error)) != MGEN_OK)
        return plugin_begin_anew(film, &end);
    p->jumped = true;
    return MGEN_OK;
}

static void plugin_close(mgi_film *film)
{
    plugin_film *p = film->self;
    if (p->film)
        p->plugin.table->read_close(p->film);
    mgi_plugin_unload(&p->plugin);
    mgi_plugin_file_close(&p->file);
    mgi_free(film->ctx, p);
}

static mgen_status plugin_told(mgi_film *film, mgi_ffmpeg_info *info)
{
    plugin_film *p = film->self;
    char error[512] = "";
    mgen_status status =
        p->plugin.table->read_told(&p->file.bytes, film->even, info, error, sizeof(error));
    return mgi_plugin_said(&p->file, status, error);
}

static bool begins_as_heif(const mgi_reader *file)
{
    uint8_t head[12];
    return mgi_reader_size(file) >= sizeof(head) &&
           mgi_reader_read(NULL, file, 0, head, sizeof(head)) == MGEN_OK &&
           mgi_is_heif(head, sizeof(head));
}

mgen_status mgi_plugin_film_open(mgi_film *film)
{
    mgen_context *ctx = film->ctx;
    mgi_ffmpeg_info info;
    plugin_film *p;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof(*p), &p));
    film->self = p;
    film->close = plugin_close;
    film->next = plugin_next;
    film->known = plugin_known;
    film->uneven = plugin_uneven;
    film->bears_out = plugin_bears_out;
    film->jump = plugin_jump;
    MGI_TRY(mgi_plugin_file_open(ctx, film->path, &p->file));
    MGI_TRY(mgi_plugin_load(ctx, &p->plugin));
    mgen_status status = film->only_told ? plugin_told(film, &info) : plugin_open(film, &info);
    if (status != MGEN_OK)
        return p->file.failed == MGEN_OK && begins_as_heif(p->file.reader)
                   ? mgi_fail_context(ctx, status,
                                      "it is a picture in HEIF, as some phones store photos; save "
                                      "it as JPEG or PNG")
                   : status;
    film->info.frames = info.frames > 0 ? info.frames : 0;
    film->info.fps_num = info.fps_num;
    film->info.fps_den = info.fps_den;
    film->told_uneven = film->only_told && info.uneven;
    if (film->only_told && (info.width < 1 || info.height < 1))
        return MGEN_OK;
    return mgi_film_check_size(film, info.width, info.height);
}

double mgi_film_rate(const mgi_film_info *info)
{
    return info->fps_num && info->fps_den ? (double)info->fps_num / (double)info->fps_den : 25.0;
}

/* ---- any film ------------------------------------------------------------------------------------ */

static bool ends_with(const char *path, const char *ending)
{
    size_t length = strlen(path), tail = strlen(ending);
    return length > tail && strcasecmp(path + length - tail, ending) == 0;
}

bool mgi_is_picture_name(const char *path)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".webp"};
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        if (ends_with(path, endings[i]))
            return true;
    return false;
}

static mgen_status open_film(mgen_context *ctx, const char *path, bool only_told, int64_t even,
                             mgi_film **out)
{
    mgi_film *film;
    *out = NULL;
    if (!path || !*path)
        return mgi_fail(ctx, MGEN_E_INVALID, "the path is %s", path ? "empty" : "NULL");
    size_t length = strnlen(path, MGI_PATH_MAX + 1);
    if (length > MGI_PATH_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "the path '%.40s...' is longer than %d bytes", path,
                        MGI_PATH_MAX);
    MGI_TRY(mgi_alloc_zero(ctx, sizeof(*film) + length + 1, 1, &film));
    memcpy(film + 1, path, length);
    film->ctx = ctx;
    film->path = (const char *)(film + 1);
    film->info.fps_num = 25;
    film->info.fps_den = 1;
    film->only_told = only_told;
    film->even = even;
    mgen_status status = ends_with(path, ".y4m")     ? mgi_y4m_open(film)
                         : ends_with(path, ".png")   ? mgi_png_open(film)
                         : mgi_is_picture_name(path) ? mgi_picture_open(film)
                                                     : mgi_plugin_film_open(film);
    if (status != MGEN_OK) {
        mgi_fail_context(ctx, status, "cannot read '%s'", path);
        mgi_film_close(film);
        return status;
    }
    *out = film;
    return MGEN_OK;
}

mgen_status mgi_film_open(mgen_context *ctx, const char *path, mgi_film **out)
{
    return open_film(ctx, path, false, 0, out);
}

mgen_status mgi_film_tell(mgen_context *ctx, const char *path, mgi_film_info *info)
{
    bool uneven;
    return mgi_film_tell_even(ctx, path, 0, info, &uneven);
}

mgen_status mgi_film_tell_even(mgen_context *ctx, const char *path, int64_t even,
                               mgi_film_info *info, bool *uneven)
{
    mgi_film *film;
    MGI_TRY(open_film(ctx, path, true, even, &film));
    *info = film->info;
    *uneven = film->told_uneven;
    mgi_film_close(film);
    return MGEN_OK;
}

const mgi_film_info *mgi_film_about(const mgi_film *film)
{
    return &film->info;
}

mgen_status mgi_film_next(mgi_film *film, uint8_t *rgb, bool *end)
{
    mgen_status status = film->next(film, rgb, end);
    if (status != MGEN_OK)
        return mgi_fail_context(film->ctx, status, "cannot read '%s'", film->path);
    if (!*end)
        film->at++;
    return MGEN_OK;
}

void mgi_film_what_is_known(mgi_film *film, mgi_film_known *out)
{
    *out = (mgi_film_known){0, 0};
    if (film->known)
        film->known(film, out);
}

bool mgi_film_is_uneven(mgi_film *film)
{
    return film->uneven && film->uneven(film);
}

bool mgi_film_bears_out(mgi_film *film, const mgi_film_known *said)
{
    return film->bears_out && said->frames > 0 && film->bears_out(film, said);
}

mgen_status mgi_film_jump(mgi_film *film, const mgi_film_known *known, int64_t frame)
{
    mgen_status status = film->at == 0 && film->jump && frame > 0 && frame < known->frames
                             ? film->jump(film, known, frame)
                             : MGEN_OK;
    return status == MGEN_OK ? status
                             : mgi_fail_context(film->ctx, status, "cannot read '%s'", film->path);
}

int64_t mgi_film_at(const mgi_film *film)
{
    return film->at;
}

void mgi_film_close(mgi_film *film)
{
    if (!film)
        return;
    if (film->close)
        film->close(film);
    mgi_free(film->ctx, film);
}

/* Room for `frames` frames. */
static mgen_status make_room(mgi_film *film, int64_t frames, uint8_t **pixels)
{
    const int64_t dims[] = {film->info.width, film->info.height, 3};
    int64_t size;
    if (!mgi_dims_count(dims, 3, &size))
        return mgi_fail(film->ctx, MGEN_E_INTERNAL, "a frame's size was not checked");
    return mgi_realloc(film->ctx, pixels, (size_t)frames, (size_t)size);
}

static mgen_status read_frames(mgi_film *film, uint64_t first, uint64_t count, uint8_t **pixels,
                               int64_t *frames)
{
    const mgi_film_info *info = &film->info;
    int64_t room = 0, n = 0, most = count < MGI_FILM_FRAMES_MAX ? (int64_t)count : 0;
    bool end = false;
    for (uint64_t i = 0; i < first && !end; i++)
        MGI_TRY(mgi_film_next(film, NULL, &end));
    while (!end && (!most || n < most)) {
        if (n == MGI_FILM_FRAMES_MAX) {
            MGI_TRY(mgi_film_next(film, NULL, &end));
            if (!end)
                return mgi_fail(film->ctx, MGEN_E_INVALID,
                                "'%s' has more than the %d frames that are read at once; ask for "
                                "fewer",
                                film->path, MGI_FILM_FRAMES_MAX);
            break;
        }
        if (n == room) {
            room = room ? 2 * room : most && most < FRAMES_FIRST ? most : FRAMES_FIRST;
            MGI_TRY(make_room(film, room, pixels));
        }
        MGI_TRY(mgi_film_next(film, *pixels + n * info->width * info->height * 3, &end));
        n += !end;
    }
    *frames = n;
    if (n == 0)
        return mgi_fail(film->ctx, MGEN_E_INVALID, "'%s' has no frame %llu", film->path,
                        (unsigned long long)first);
    return n < room ? make_room(film, n, pixels) : MGEN_OK;
}

mgen_status mgi_film_read(mgen_context *ctx, const char *path, uint64_t first, uint64_t count,
                          uint8_t **pixels, mgi_film_info *info)
{
    mgi_film *film;
    uint8_t *made = NULL;
    int64_t frames = 0;
    *pixels = NULL;
    MGI_TRY(mgi_film_open(ctx, path, &film));
    mgen_status status = read_frames(film, first, count, &made, &frames);
    *info = film->info;
    info->frames = frames;
    mgi_film_close(film);
    if (status != MGEN_OK)
        mgi_free(ctx, made);
    else
        *pixels = made;
    return status;
}
