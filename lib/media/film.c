/* SPDX-License-Identifier: MIT
 * The FFmpeg plug-in: found and loaded here, and films written through it. The library itself does not link
 * FFmpeg and works without it. */
#include "media/media.h"

#include "io/path.h"
#include "media/plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef MGI_PLUGIN_DIR
#define MGI_PLUGIN_DIR "/usr/local/lib/moviegen"
#endif

#define PLUGIN_FILE "mgen_ffmpeg.so"

#define HOW_TO_GET_IT                                                                              \
    "build libmoviegen with -Dffmpeg=enabled (Debian: libavformat-dev libavcodec-dev "             \
    "libavutil-dev libswscale-dev), or use .y4m or .png, which need no plug-in"

/* Load `file`. The code stays mapped after dlclose(): FFmpeg's own libraries start threads and keep
 * thread-local data, which do not survive being unloaded. */
static mgen_status load_file(mgen_context *ctx, const char *file, mgi_plugin *out)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        const char *why = dlerror();
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "the FFmpeg plug-in '%s' does not load: %s; install FFmpeg's libraries, or "
                        "use .y4m or .png, which need no plug-in",
                        file, why ? why : "unknown reason");
    }
    const mgi_ffmpeg_table *table = dlsym(handle, "mgi_ffmpeg_plugin");
    if (!table || table->version != MGI_FFMPEG_PLUGIN_VERSION || !table->write ||
        !table->read_open || !table->read_next || !table->read_close) {
        dlclose(handle);
        return mgi_fail(
            ctx, MGEN_E_UNSUPPORTED,
            "the FFmpeg plug-in '%s' belongs to another version of libmoviegen; install "
            "the one that came with this library",
            file);
    }
    *out = (mgi_plugin){handle, table};
    return MGEN_OK;
}

/* The plug-in at `folder`/`inside`/PLUGIN_FILE, if there is such a file: *found. */
static mgen_status try_folder(mgen_context *ctx, const char *folder, const char *inside,
                              mgi_plugin *out, bool *found)
{
    char file[MGI_PATH_MAX + 1];
    int length = snprintf(file, sizeof(file), "%s%s/" PLUGIN_FILE, folder, inside);
    *found = length > 0 && (size_t)length < sizeof(file) && access(file, F_OK) == 0;
    return *found ? load_file(ctx, file, out) : MGEN_OK;
}

/* The folder that holds this code: of libmoviegen.so, or of a program that has it inside. */
static bool own_folder(char *out, size_t size)
{
    static const char here;
    Dl_info info;
    if (!dladdr(&here, &info) || !info.dli_fname)
        return false;
    const char *slash = strrchr(info.dli_fname, '/');
    int length = slash ? snprintf(out, size, "%.*s", (int)(slash - info.dli_fname), info.dli_fname)
                       : snprintf(out, size, ".");
    return length >= 0 && (size_t)length < size;
}

mgen_status mgi_plugin_load(mgen_context *ctx, mgi_plugin *out)
{
    /* Installed, beside the library; in the build tree; and where it was meant to be installed. */
    static const char *const inside[] = {"/moviegen", "/plugins", "/lib/plugins"};
    char folder[MGI_PATH_MAX + 1];
    bool found;
    if (ctx->plugin_dir) {
        MGI_TRY(try_folder(ctx, ctx->plugin_dir, "", out, &found));
        if (found)
            return MGEN_OK;
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "the FFmpeg plug-in " PLUGIN_FILE " is not in '%s'; " HOW_TO_GET_IT,
                        ctx->plugin_dir);
    }
    if (own_folder(folder, sizeof(folder)))
        for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
            MGI_TRY(try_folder(ctx, folder, inside[i], out, &found));
            if (found)
                return MGEN_OK;
        }
    MGI_TRY(try_folder(ctx, MGI_PLUGIN_DIR, "", out, &found));
    if (found)
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                    "the FFmpeg plug-in " PLUGIN_FILE " is neither beside the library nor in "
                    "'" MGI_PLUGIN_DIR "'; " HOW_TO_GET_IT);
}

void mgi_plugin_unload(mgi_plugin *plugin)
{
    if (plugin->handle)
        dlclose(plugin->handle);
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
    MGI_TRY_GOTO(status, mgi_path_temp(ctx, path, temp, sizeof(temp)), unload);
    status =
        ffmpeg.table->write(temp, path, frames->pixels, frames->width, frames->height,
                            frames->frames, frames->fps_num, frames->fps_den, error, sizeof(error));
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
