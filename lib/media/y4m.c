/* SPDX-License-Identifier: MIT
 * YUV4MPEG2: uncompressed 4:2:0 that every video tool reads. Pixels as in media/pixels.h;
 * 420jpeg names where the chroma lies. */
#include "media/media.h"

#include "core/alloc.h"
#include "io/path.h"
#include "media/pixels.h"

#include <stdio.h>
#include <string.h>

mgen_status mgi_y4m_write(mgen_context *ctx, const char *path, const mgi_frames *frames)
{
    static const char mark[] = "FRAME\n";
    MGI_TRY(mgi_frames_check(ctx, frames));
    mgi_pixels picture = {MGI_PIXELS_YUV420, frames->width, frames->height, 1};
    int64_t each = mgi_pixels_frame_bytes(&picture), rgb = 3 * frames->width * frames->height;
    char header[160];
    int length = snprintf(header, sizeof(header),
                          "YUV4MPEG2 W%lld H%lld F%u:%u Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n",
                          (long long)frames->width, (long long)frames->height,
                          (unsigned)frames->fps_num, (unsigned)frames->fps_den);

    mgen_status status;
    mgi_writer writer;
    uint8_t *planes;
    MGI_TRY(mgi_alloc(ctx, (size_t)each, &planes));
    mgi_pixels_pack(&picture, planes);
    MGI_TRY_GOTO(status, mgi_writer_open(ctx, path, &writer), free_planes);
    MGI_TRY_GOTO(status, mgi_writer_write(&writer, header, (size_t)length), abort_writer);
    for (int64_t i = 0; i < frames->frames; i++) {
        mgi_pixels_put_bytes(&picture, 0, frames->pixels + i * rgb);
        MGI_TRY_GOTO(status, mgi_writer_write(&writer, mark, sizeof(mark) - 1), abort_writer);
        MGI_TRY_GOTO(status, mgi_writer_write(&writer, planes, (size_t)each), abort_writer);
    }
    status = mgi_writer_commit(&writer);
abort_writer:
    mgi_writer_abort(&writer);
free_planes:
    mgi_free(ctx, planes);
    return status;
}
