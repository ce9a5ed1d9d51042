/* SPDX-License-Identifier: MIT
 * What upsampling adds to generating (report, "Spatial Upsampling"): the film enlarged, which the transformer sees, and
 * frames that are coded one by one. Tier 7. */
#ifndef MGI_TASK_UPSAMPLE_H
#define MGI_TASK_UPSAMPLE_H

#include "task/generate.h"

/* Sides that the transformer and its autoencoder can take: those of the request, rounded up. */
void mgi_upsample_sides(const mgi_networks *n, int64_t *width, int64_t *height);

/* Latents (1,T,H,W,C) of T frames of the request's source, each by itself; dims: (1,T,H,W,C). Rows and columns
 * that round its sides up repeat the last one. On the meta device the source is not called. */
T *mgi_upsample_see(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r,
                    const int64_t dims[5]);
/* Latents z (1,T,H,W,C) to the request's sink, frame by frame, without what rounded its sides up. */
void mgi_upsample_show(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r, T *z);

#endif
