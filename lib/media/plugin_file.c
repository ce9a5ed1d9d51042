/* SPDX-License-Identifier: MIT
 * A file as the plug-in reads it. */
#include "media/plugin.h"

static int32_t read_bytes(void *self, uint64_t at, void *out, size_t size)
{
    mgi_plugin_file *f = self;
    if (f->failed == MGEN_OK)
        f->failed = mgi_reader_read(f->ctx, f->reader, at, out, size);
    return f->failed == MGEN_OK ? 0 : -1;
}

mgen_status mgi_plugin_file_open(mgen_context *ctx, const char *path, mgi_plugin_file *out)
{
    *out = (mgi_plugin_file){.ctx = ctx};
    MGI_TRY(mgi_reader_open(ctx, NULL, path, &out->reader));
    out->bytes = (mgi_ffmpeg_bytes){out, mgi_reader_size(out->reader), read_bytes};
    return MGEN_OK;
}

mgen_status mgi_plugin_said(const mgi_plugin_file *f, mgen_status status, char error[512])
{
    error[511] = '\0';
    if (f->failed != MGEN_OK) /* whatever the plug-in made of it */
        return f->failed;
    return status == MGEN_OK ? status : mgi_fail(f->ctx, status, "%s", error);
}

void mgi_plugin_file_close(mgi_plugin_file *f)
{
    mgi_reader_close(f->ctx, f->reader);
    f->reader = NULL;
}
