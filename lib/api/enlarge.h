/* SPDX-License-Identifier: MIT
 * The film that an upsampler or an editor is given: a clip in the size wanted. Tier 8. */
#ifndef MGI_API_ENLARGE_H
#define MGI_API_ENLARGE_H

#include "api/args.h"
#include "data/resize.h"

typedef struct mgi_enlarge {
    mgen_context *ctx;
    const mgen_clip *clip;
    mgi_resize resize;
    uint8_t *frame; /* one, enlarged */
    int64_t size;   /* values of it */
} mgi_enlarge;

/* Bytes that it holds beside the clip. */
int64_t mgi_enlarge_bytes(const mgen_clip *clip, int64_t width, int64_t height);
/* The clip must stay. */
mgen_status mgi_enlarge_init(mgi_enlarge *e, mgen_context *ctx, const mgen_clip *clip,
                             int64_t width, int64_t height);
void mgi_enlarge_finish(mgi_enlarge *e);
/* Frame `index`, height x width x 3 values in [-1,1]. */
void mgi_enlarge_read(mgi_enlarge *e, int64_t index, float *rgb);

#endif
