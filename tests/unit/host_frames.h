/* SPDX-License-Identifier: MIT
 * A source of frames (mgi_frames_source), whose user is host_frames: in memory
 * without gaps, floats or else bytes. */
#ifndef TESTS_UNIT_HOST_FRAMES_H
#define TESTS_UNIT_HOST_FRAMES_H

#include "media/pixels.h"
#include "task/codec.h"

#include <string.h>

typedef struct host_frames {
    const float *floats;
    const uint8_t *bytes;
    int64_t size; /* values of a frame */
} host_frames;

static inline mgen_status host_frames_read(void *user, int64_t first, int64_t count, float *rgb)
{
    const host_frames *f = user;
    if (f->floats)
        memcpy(rgb, f->floats + first * f->size, (size_t)(count * f->size) * sizeof *rgb);
    else
        mgi_floats_from_bytes(rgb, f->bytes + first * f->size, count * f->size);
    return MGEN_OK;
}

#endif
