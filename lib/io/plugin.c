/* SPDX-License-Identifier: MIT */
#include "io/plugin.h"

#include "io/path.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Load `file`. The code stays mapped after dlclose(): the libraries that plug-ins link start threads and
 * keep thread-local data, which do not survive being unloaded. */
static mgen_status load_file(mgen_context *ctx, const mgi_plugin_kind *kind, const char *file,
                             void **out, const void **table)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        const char *why = dlerror();
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED, "the %s plug-in '%s' does not load: %s; %s",
                        kind->name, file, why ? why : "unknown reason", kind->if_bad);
    }
    const uint32_t *version = dlsym(handle, kind->symbol);
    if (!version || *version != kind->version) {
        dlclose(handle);
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "the %s plug-in '%s' belongs to another version of libmoviegen; install "
                        "the one that came with this library",
                        kind->name, file);
    }
    *out = handle;
    *table = version;
    return MGEN_OK;
}

/* The plug-in in `folder`/`inside`, if there is such a file: *found. */
static mgen_status try_folder(mgen_context *ctx, const mgi_plugin_kind *kind, const char *folder,
                              const char *inside, void **handle, const void **table, bool *found)
{
    char file[MGI_PATH_MAX + 1];
    int length = snprintf(file, sizeof(file), "%s%s/%s", folder, inside, kind->file);
    *found = length > 0 && (size_t)length < sizeof(file) && access(file, F_OK) == 0;
    return *found ? load_file(ctx, kind, file, handle, table) : MGEN_OK;
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

mgen_status mgi_plugin_open(mgen_context *ctx, const mgi_plugin_kind *kind, void **handle,
                            const void **table)
{
    /* Installed, beside the library; in the build tree; and where it was meant to be installed. */
    static const char *const inside[] = {"/moviegen", "/plugins", "/lib/plugins",
                                         "/../lib/plugins"};
    char folder[MGI_PATH_MAX + 1];
    bool found;
    if (ctx->plugin_dir) {
        MGI_TRY(try_folder(ctx, kind, ctx->plugin_dir, "", handle, table, &found));
        if (found)
            return MGEN_OK;
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED, "the %s plug-in %s is not in '%s'; %s", kind->name,
                        kind->file, ctx->plugin_dir, kind->if_absent);
    }
    if (own_folder(folder, sizeof(folder)))
        for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
            MGI_TRY(try_folder(ctx, kind, folder, inside[i], handle, table, &found));
            if (found)
                return MGEN_OK;
        }
    MGI_TRY(try_folder(ctx, kind, MGI_PLUGIN_DIR, "", handle, table, &found));
    if (found)
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                    "the %s plug-in %s is neither beside the library nor in '" MGI_PLUGIN_DIR
                    "'; %s",
                    kind->name, kind->file, kind->if_absent);
}

void mgi_plugin_close(void *handle)
{
    if (handle)
        dlclose(handle);
}
