/* SPDX-License-Identifier: MIT
 * CLIP's image tower in folders as Hugging Face's transformers write them. For clip_vision.c. Tier 5. */
#ifndef MGI_MODEL_CLIP_VISION_HF_H
#define MGI_MODEL_CLIP_VISION_HF_H

#include "model/clip_vision.h"

/* config.json, of the type "clip" or "clip_vision_model"; what it leaves out is as transformers has it. CORRUPT names the
 * field; UNSUPPORTED: another network. */
mgen_status mgi_hf_clip_vision_config_read(mgen_context *ctx, const mgi_json *root,
                                           mgi_clip_vision_config *out);
/* preprocessor_config.json, of which means and deviations go into *config. UNSUPPORTED if pictures are prepared in another
 * way than by mgi_clip_vision_frames(), or for another size than the network's. */
mgen_status mgi_hf_clip_vision_frames_read(mgen_context *ctx, const mgi_json *root,
                                           mgi_clip_vision_config *config);

/* config.json, preprocessor_config.json, if it is there, and the weights (io/safetensors_set.h) of the folder
 * `dir`/`name`. The tower for text is passed over; every other tensor must be the network's. Alone (of the type
 * "clip_vision_model") it may have no projection. */
mgen_status mgi_hf_clip_vision_open(mgen_context *ctx, const char *dir, const char *name,
                                    mgi_clip_vision *out, uint64_t *hash);

/* The configuration alone. A projection is what config.json says, which a tower alone need not have. */
mgen_status mgi_hf_clip_vision_config_of(mgen_context *ctx, const char *dir, const char *name,
                                         mgi_clip_vision_config *out);

#endif
