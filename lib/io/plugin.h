/* SPDX-License-Identifier: MIT
 * Finding and loading plug-ins: modules that link what the library itself does not. Tier 1. */
#ifndef MGI_IO_PLUGIN_H
#define MGI_IO_PLUGIN_H

#include "core/context.h"

typedef struct mgi_plugin_kind {
    const char *name, *file;        /* "FFmpeg", "mgen_ffmpeg.so" */
    const char *symbol;             /* of its table, which begins with a uint32_t */
    uint32_t version;               /* that must be there */
    const char *if_absent, *if_bad; /* what to do about it */
} mgi_plugin_kind;

/* Load it from the context's plug-in folder, or from beside the library. UNSUPPORTED if it is absent, broken
 * or of another version. */
mgen_status mgi_plugin_open(mgen_context *ctx, const mgi_plugin_kind *kind, void **handle,
                            const void **table);
void mgi_plugin_close(void *handle); /* NULL is fine */

#endif
