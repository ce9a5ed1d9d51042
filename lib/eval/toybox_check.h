/* SPDX-License-Identifier: MIT
 * The pixel checker: reads a toybox scene's attributes back from frames. Tier 7.
 *
 * It knows the world's palette and shapes, not the prompt. */
#ifndef MGI_EVAL_TOYBOX_CHECK_H
#define MGI_EVAL_TOYBOX_CHECK_H

#include "core/context.h"

typedef struct mgi_toybox_reading {
    int shape, colour, background, motion; /* -1 = cannot tell */
    float shape_score;                     /* correlation of the mean mask with the best template */
    float track_x, track_y;                /* movement of the centroid, pixels over the clip */
} mgi_toybox_reading;

/* frames x 64 x 64 x 3 RGB8, frames >= 8. Only MGEN_E_NO_MEMORY / LIMIT can fail. */
mgen_status mgi_toybox_check(mgen_context *ctx, const uint8_t *frames, int count,
                             mgi_toybox_reading *out);

#endif
