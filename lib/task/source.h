/* SPDX-License-Identifier: MIT
 * What a request with a film adds to generating: the latents of the film, which an upsampler or an editor sees, or from
 * which a video model begins (SDEdit). Tier 7.
 *
 * An upsampler codes frames one by one (report, "Spatial Upsampling"), the others the film as a whole. */
#ifndef MGI_TASK_SOURCE_H
#define MGI_TASK_SOURCE_H

#include "task/generate.h"

/* Sides that the transformer and its autoencoder can take: those of the request, rounded up. */
void mgi_source_sides(const mgi_networks *n, int64_t *width, int64_t *height);

/* What tells the request's film, of `frames` frames, from others; 0: there is none. */
mgen_status mgi_source_hash(mgen_context *ctx, const mgi_generate_request *r, int64_t frames,
                            uint64_t *hash);

/* Over a mesh, all of these are collective, and end alike on all ranks; the frames go to rank 0's sink. */
/* Latents (1,T,H,W,C) of `frames` frames of the request's source; dims: (1,T,H,W,C). Rows and columns that round its
 * sides up repeat the last one, as do latent frames that fill a patch. On the meta device the source is not called. */
T *mgi_source_see(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r,
                  int64_t frames, const int64_t dims[5]);
/* The same of a black film, which stands for none. */
T *mgi_source_black(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r,
                    int64_t frames, const int64_t dims[5]);
/* Frames of latents z (1,T,H,W,C) to the request's sink, without what rounded its sides up. */
void mgi_source_show(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r,
                     int64_t frames, T *z);

#endif
