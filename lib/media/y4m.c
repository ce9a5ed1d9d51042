/* SPDX-License-Identifier: MIT
 * YUV4MPEG2: uncompressed 4:2:0 that every video tool reads. BT.601, limited range (luma 16..235),
 * chroma in the middle of its four pixels (420jpeg). An odd last row or column stands for two. */
#include "media/media.h"

#include "core/alloc.h"
#include "io/path.h"

#include <stdio.h>
#include <string.h>

/* RGB 0..255 to YCbCr in 16-bit fixed point. Each chroma row sums to 0, so grey stays grey. */
enum { Y_R = 16829, Y_G = 33039, Y_B = 6416 };
enum { CB_R = -9714, CB_G = -19070, CB_B = 28784 };
enum { CR_R = 28784, CR_G = -24103, CR_B = -4681 };

static void make_luma(const uint8_t *rgb, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++, rgb += 3)
        out[i] =
            (uint8_t)((Y_R * rgb[0] + Y_G * rgb[1] + Y_B * rgb[2] + (16 << 16) + 0x8000) >> 16);
}

static void make_chroma(const uint8_t *rgb, size_t width, size_t height, uint8_t *cb, uint8_t *cr)
{
    const int32_t bias = (128 << 18) + (1 << 17); /* of four pixels, with rounding */
    for (size_t y = 0; y < height; y += 2) {
        const uint8_t *above = rgb + 3 * width * y;
        const uint8_t *below = y + 1 < height ? above + 3 * width : above;
        for (size_t x = 0; x < width; x += 2) {
            size_t left = 3 * x, right = x + 1 < width ? left + 3 : left;
            int32_t sum[3];
            for (int k = 0; k < 3; k++)
                sum[k] = above[left + k] + above[right + k] + below[left + k] + below[right + k];
            *cb++ = (uint8_t)((CB_R * sum[0] + CB_G * sum[1] + CB_B * sum[2] + bias) >> 18);
            *cr++ = (uint8_t)((CR_R * sum[0] + CR_G * sum[1] + CR_B * sum[2] + bias) >> 18);
        }
    }
}

mgen_status mgi_y4m_write(mgen_context *ctx, const char *path, const mgi_frames *frames)
{
    static const char mark[] = "FRAME\n";
    MGI_TRY(mgi_frames_check(ctx, frames));
    size_t width = (size_t)frames->width, height = (size_t)frames->height;
    size_t luma = width * height, chroma = ((width + 1) / 2) * ((height + 1) / 2);
    char header[160];
    int length = snprintf(header, sizeof(header),
                          "YUV4MPEG2 W%zu H%zu F%u:%u Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n",
                          width, height, (unsigned)frames->fps_num, (unsigned)frames->fps_den);

    mgen_status status;
    mgi_writer writer;
    uint8_t *planes;
    MGI_TRY(mgi_alloc(ctx, luma + 2 * chroma, &planes));
    MGI_TRY_GOTO(status, mgi_writer_open(ctx, path, &writer), free_planes);
    MGI_TRY_GOTO(status, mgi_writer_write(&writer, header, (size_t)length), abort_writer);
    for (int64_t i = 0; i < frames->frames; i++) {
        const uint8_t *rgb = frames->pixels + (size_t)i * 3 * luma;
        make_luma(rgb, luma, planes);
        make_chroma(rgb, width, height, planes + luma, planes + luma + chroma);
        MGI_TRY_GOTO(status, mgi_writer_write(&writer, mark, sizeof(mark) - 1), abort_writer);
        MGI_TRY_GOTO(status, mgi_writer_write(&writer, planes, luma + 2 * chroma), abort_writer);
    }
    status = mgi_writer_commit(&writer);
abort_writer:
    mgi_writer_abort(&writer);
free_planes:
    mgi_free(ctx, planes);
    return status;
}
