/* SPDX-License-Identifier: MIT
 * The transformers of a model folder, stored anew: as FP8, half as large, or in bf16. Tier 7. */
#ifndef MGI_TRAIN_CONVERT_H
#define MGI_TRAIN_CONVERT_H

#include "io/safetensors.h"

/* Those that pipeline.json names, in their places, all or none: the layers that may be codes as F8 (`store`) and all else in
 * bf16, or everything in bf16. INVALID where there are none. */
mgen_status mgi_convert_folder(mgen_context *ctx, const char *dir, mgi_st_dtype store);

#endif
