/* SPDX-License-Identifier: MIT
 * What a request asks for, before anything of its size is there: frames, latents and windows that its model can make.
 * Tier 7. */
#ifndef MGI_TASK_SHAPE_H
#define MGI_TASK_SHAPE_H

#include "flow/windows.h"
#include "task/generate.h"

typedef struct mgi_request_shape {
    int64_t frames;  /* of a clip */
    int64_t dims[5]; /* of the latents: clips, frames, rows, columns, channels */
    mgi_windows windows;
} mgi_request_shape;

/* INVALID for a film or photos that the model does not take, and without a
 * stream of text; UNSUPPORTED, with what is possible, for sizes that it cannot make. */
mgen_status mgi_request_shape_of(mgen_context *ctx, const mgi_networks *n,
                                 const mgi_generate_request *r, mgi_request_shape *out);

#endif
