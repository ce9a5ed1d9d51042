/* SPDX-License-Identifier: MIT
 * What the ranks of a request do together, beside the video transformer: they agree on how a step ended, and share text
 * and frames. Tier 7. */
#ifndef MGI_TASK_RANKS_H
#define MGI_TASK_RANKS_H

#include "task/codec.h"
#include "task/photo.h"
#include "task/pipeline.h"

/* The ranks of a mesh; NULL where there is one. */
mgi_comm *mgi_ranks_of(const mgi_mesh *mesh);

/* Collective: values in the host's memory from rank `root` to all. */
mgen_status mgi_ranks_share(mgen_context *ctx, mgi_comm *ranks, int32_t dtype, void *values,
                            int64_t count, int root);

/* Text as mgi_text_streams() has it, by the encoders of n->text that this rank runs, and from the other ranks. Collective, also for a rank
 * whose run has failed, which all are told; what fails at its very end is this rank's to tell.
 * `ranks` NULL: one rank. */
void mgi_ranks_text(mgi_run *run, mgi_comm *ranks, const mgi_networks *n, uint32_t drop,
                    const char *const *prompts, int64_t count, int64_t *tokens, mgi_vt_text *out);

/* Tokens as mgi_photo_tokens() has them: rank 0's, as the vectors of a text are those of one rank, so that all ranks have the
 * same even if their processors round differently. Collective, as above. */
T *mgi_ranks_photos(mgi_run *run, mgi_comm *ranks, const mgi_clip_vision *vision,
                    const mgi_photo *photos, int64_t count);

/* mgi_decode_run() by all ranks: each its rows of all frames, or a part in time of the film (codec_ranks.c). To the same
 * bits, or to rounding where rows are shared and there is group norm. The frames go to rank 0's sink, in order; tiles of
 * them, from part to part. z is the same on all ranks. `stop`: asked on every rank, between pieces; may be NULL.
 * Collective; they end alike, and can go on unless it says PEER_LOST, TIMEOUT or DESYNC. */
mgen_status mgi_decode_ranks(mgi_run *run, mgi_comm *ranks, const mgi_tae *tae, T *z,
                             int64_t frames, int64_t first, int64_t tile, mgi_frames_sink *sink,
                             bool (*stop)(void *user), void *user);

/* mgi_decode_each() of all of z in the same way: each rank some of the frames, to the same bits. Collective, as above. */
mgen_status mgi_decode_each_ranks(mgi_run *run, mgi_comm *ranks, const mgi_tae *tae, T *z,
                                  int64_t tile, mgi_frames_sink *sink, bool (*stop)(void *user),
                                  void *user);

/* mgi_encode_film() in the same way: all ranks get all latents. Each calls its source for all frames, or for those of
 * its own part and around it. Collective, as above. */
mgen_status mgi_encode_ranks(mgen_context *ctx, mgi_comm *ranks, const mgi_tae *tae,
                             const int64_t film[3], int64_t tile, mgi_frames_source *source,
                             void *user, float *latents);
/* mgi_encode_each() of all frames: each rank some of them. Collective, as above. */
mgen_status mgi_encode_each_ranks(mgen_context *ctx, mgi_comm *ranks, const mgi_tae *tae,
                                  const int64_t film[3], int64_t tile, mgi_frames_source *source,
                                  void *user, float *latents);

#endif
