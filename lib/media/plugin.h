/* SPDX-License-Identifier: MIT
 * The FFmpeg plug-in, loaded. Tier 6. */
#ifndef MGI_MEDIA_PLUGIN_H
#define MGI_MEDIA_PLUGIN_H

#include "core/context.h"
#include "plugins/ffmpeg.h"

typedef struct mgi_plugin {
    void *handle;
    const mgi_ffmpeg_table *table;
} mgi_plugin;

/* UNSUPPORTED if it is absent, broken or of another version. */
mgen_status mgi_plugin_load(mgen_context *ctx, mgi_plugin *out);
void mgi_plugin_unload(mgi_plugin *plugin); /* twice is nothing */

#endif
