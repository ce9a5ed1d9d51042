/* SPDX-License-Identifier: MIT
 * What an image encoder makes of a film: a vector of each frame. Tier 7. */
#ifndef MGI_TASK_FILM_FEATURES_H
#define MGI_TASK_FILM_FEATURES_H

#include "model/clip_vision.h"
#include "task/codec.h"

/* film: frames, height, width; any of 1 or more. features: frames x mgi_clip_vision_width(), on the host. A few frames are
 * in memory at a time; the vectors do not depend on how many. On the meta device source and features are not looked at. */
mgen_status mgi_film_features(mgen_context *ctx, const mgi_clip_vision *clip, const int64_t film[3],
                              mgi_frames_source *source, void *user, float *features);

#endif
