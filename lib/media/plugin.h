/* SPDX-License-Identifier: MIT
 * The FFmpeg plug-in, loaded. Tier 6. */
#ifndef MGI_MEDIA_PLUGIN_H
#define MGI_MEDIA_PLUGIN_H

#include "core/context.h"
#include "io/read.h"
#include "plugins/ffmpeg.h"

typedef struct mgi_plugin {
    void *handle;
    const mgi_ffmpeg_table *table;
} mgi_plugin;

/* UNSUPPORTED if it is absent, broken or of another version. */
mgen_status mgi_plugin_load(mgen_context *ctx, mgi_plugin *out);
void mgi_plugin_unload(mgi_plugin *plugin); /* twice is nothing */

/* A file that the plug-in reads. It stays where it is while it is open. */
typedef struct mgi_plugin_file {
    mgen_context *ctx;
    mgi_reader *reader;
    mgi_ffmpeg_bytes bytes;
    mgen_status failed; /* the first read that did */
} mgi_plugin_file;

mgen_status mgi_plugin_file_open(mgen_context *ctx, const char *path, mgi_plugin_file *out);
/* What a call of the plug-in answered, with its sentence; of one whose reading failed, that: the plug-in may have taken it for the
 * file's end. */
mgen_status mgi_plugin_said(const mgi_plugin_file *f, mgen_status status, char error[512]);
void mgi_plugin_file_close(mgi_plugin_file *f); /* twice is nothing */

#endif
