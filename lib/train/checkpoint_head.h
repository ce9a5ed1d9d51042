/* SPDX-License-Identifier: MIT
 * What a checkpoint says of itself: the metadata of one rank's file, the manifest of several ranks'. Tier 7. */
#ifndef MGI_TRAIN_CHECKPOINT_HEAD_H
#define MGI_TRAIN_CHECKPOINT_HEAD_H

#include "train/checkpoint.h"

enum { MGI_HEAD_TEXT = 80 };
enum {
    MGI_HEAD_FORMAT,
    MGI_HEAD_VERSION,
    MGI_HEAD_KIND,
    MGI_HEAD_STAGE,
    MGI_HEAD_RECIPE,
    MGI_HEAD_SEED,
    MGI_HEAD_PARENT,
    MGI_HEAD_STEP,
    MGI_HEAD_CHECK,
    MGI_HEAD_FIELDS
};
extern const char *const mgi_head_field[MGI_HEAD_FIELDS];

/* In this order. */
typedef struct mgi_head {
    char text[MGI_HEAD_FIELDS][MGI_HEAD_TEXT];
} mgi_head;

/* Of all that a recipe says of a stage and that decides on the weights. */
mgen_status mgi_stage_hash(mgen_context *ctx, const mgi_stage *s, char out[MGI_HEAD_TEXT]);
/* Of a run as it is; all but the check. */
mgen_status mgi_head_make(mgen_context *ctx, const mgi_stage_state *s, mgi_head *out);
/* Of a JSON object, NULL for none, that has `more` members beside these. CORRUPT, VERSION. */
mgen_status mgi_head_read(mgen_context *ctx, const mgi_json *object, int more, mgi_head *out);
/* STATE where a file is of another run than ours. */
mgen_status mgi_head_fits(mgen_context *ctx, const mgi_head *file, const mgi_head *ours);
/* Of all but the check. */
uint64_t mgi_head_hash(const mgi_head *h);
/* A whole number from 0 to `most`, as it is printed. */
bool mgi_head_number(const char *text, int64_t most, int64_t *out);

#endif
