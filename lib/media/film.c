/* SPDX-License-Identifier: MIT
 * The FFmpeg plug-in, and films written through it. The library itself does not link FFmpeg and works without
 * it. */
#include "media/media.h"

#include "io/path.h"
#include "io/plugin.h"
#include "media/plugin.h"

mgen_status mgi_plugin_load(mgen_context *ctx, mgi_plugin *out)
{
    static const mgi_plugin_kind kind = {
        .name = "FFmpeg",
        .file = "mgen_ffmpeg.so",
        .symbol = "mgi_ffmpeg_plugin",
        .version = MGI_FFMPEG_PLUGIN_VERSION,
        .if_absent = "build libmoviegen with -Dffmpeg=enabled (Debian: libavformat-dev "
                     "libavcodec-dev libavutil-dev libswscale-dev), or use .y4m, .png or .wav, "
                     "which need no plug-in",
        .if_bad = "install FFmpeg's libraries, or use .y4m, .png or .wav, which need no plug-in"};
    const void *table = NULL;
    out->handle = NULL;
    MGI_TRY(mgi_plugin_open(ctx, &kind, &out->handle, &table));
    out->table = table;
    return MGEN_OK;
}

void mgi_plugin_unload(mgi_plugin *plugin)
{
    mgi_plugin_close(plugin->handle);
    *plugin = (mgi_plugin){NULL, NULL};
}

mgen_status mgi_film_write(mgen_context *ctx, const char *path, const mgi_frames *frames)
{
    mgen_status status;
    mgi_plugin ffmpeg;
    char temp[MGI_PATH_MAX + 64], error[512] = "";
    MGI_TRY(mgi_frames_check(ctx, frames));
    status = mgi_plugin_load(ctx, &ffmpeg);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "cannot write '%s'", path);
    mgi_path_tidy(ctx, path);
    MGI_TRY_GOTO(status, mgi_path_temp(ctx, path, temp, sizeof(temp)), unload);
    const mgi_ffmpeg_film film = {frames->pixels, frames->width,   frames->height,
                                  frames->frames, frames->fps_num, frames->fps_den};
    status = ffmpeg.table->write(temp, path, &film, NULL, error, sizeof(error));
    if (status != MGEN_OK) {
        mgi_path_discard(temp);
        error[sizeof(error) - 1] = 0;
        mgi_fail(ctx, status, "cannot write '%s': %s", path, error);
        goto unload;
    }
    status = mgi_path_publish(ctx, temp, path);
unload:
    mgi_plugin_unload(&ffmpeg);
    return status;
}
