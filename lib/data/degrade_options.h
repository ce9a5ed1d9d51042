/* SPDX-License-Identifier: MIT
 * How clips are spoiled, read from a recipe. Tier 6. */
#ifndef MGI_DATA_DEGRADE_OPTIONS_H
#define MGI_DATA_DEGRADE_OPTIONS_H

#include "data/degrade.h"
#include "io/json.h"

/* {"clean", "ringing", "jpeg_last", "cutoff", "first", "second"}, the last two the passes, each member optional and named
 * as in the structs: chances are 0 (never) to 1, ranges [low, high]. CORRUPT if something is out of range. */
mgen_status mgi_degrade_options_read(mgen_context *ctx, const mgi_json *o,
                                     mgi_degrade_options *out);

#endif
