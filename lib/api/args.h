/* SPDX-License-Identifier: MIT
 * What the API's files share: copying versioned structs in, and the handles' insides. Tier 8. */
#ifndef MGI_API_ARGS_H
#define MGI_API_ARGS_H

#include "core/report.h"
#include "task/pipeline.h"

/* Copy a caller's struct that begins with struct_size: shorter than ours, the rest becomes 0; longer, its
 * unknown tail must be 0 (else VERSION); shorter than `least`, the first released size, INVALID. */
mgen_status mgi_struct_in(mgen_context *ctx, void *ours, size_t our_size, size_t least,
                          const void *theirs, const char *name);

/* STATE while a job runs on the context. */
mgen_status mgi_context_idle(mgen_context *ctx);

struct mgen_tae {
    mgen_context *ctx;
    int refs;
    uint64_t hash;
    mgi_clip_shape clip; /* of the pipeline it came from */
    mgi_tae net;
};

struct mgen_text_encoder {
    mgen_context *ctx;
    int refs;
    uint64_t hash;
    mgi_t5 net;
};

struct mgen_video_model {
    mgen_context *ctx;
    int refs;
    uint64_t hash;
    mgi_clip_shape clip;
    mgi_vt net;
};

struct mgen_clip {
    mgen_context *ctx;
    mgen_clip_info info;
    uint8_t *pixels;
};

/* Copy a pipeline struct in and retain its handles; mgen_pipeline_close releases them. */
mgen_status mgi_pipeline_in(mgen_context *ctx, const mgen_pipeline *theirs, mgen_pipeline *ours);
/* The networks of a whole pipeline: STATE naming the part that is missing. */
mgen_status mgi_pipeline_networks(mgen_context *ctx, const mgen_pipeline *p, mgi_networks *out);

mgen_status mgi_clip_make(mgen_context *ctx, int64_t width, int64_t height, int64_t frames,
                          int64_t fps, mgen_clip **out);

/* A name that is not NULL, not empty and not too long; INVALID names the argument. */
mgen_status mgi_check_text(mgen_context *ctx, const char *text, const char *name, size_t bytes_max);

#endif
