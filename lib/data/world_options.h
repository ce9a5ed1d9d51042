/* SPDX-License-Identifier: MIT
 * What a dataset of the world shows: checked, and read from a recipe. Tier 6. */
#ifndef MGI_DATA_WORLD_OPTIONS_H
#define MGI_DATA_WORLD_OPTIONS_H

#include "data/world.h"
#include "io/json.h"

/* Fill in the defaults; INVALID if something is out of range. */
mgen_status mgi_world_options_complete(mgen_context *ctx, mgi_world_options *options);
/* {"width", "height", "scale", "frames", "fps", "objects_min", "objects_max", "camera", "sign", "sizes", "split",
 * "motion_weights", "people"}, each optional and named as in the struct; complete afterwards. */
mgen_status mgi_world_options_read(mgen_context *ctx, const mgi_json *o, mgi_world_options *out);

#endif
