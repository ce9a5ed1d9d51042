/* SPDX-License-Identifier: MIT
 * What the readers of a recipe's kinds of stages share: recipe.c and the recipe_*.c beside it. Tier 7. */
#ifndef MGI_TRAIN_RECIPE_PARTS_H
#define MGI_TRAIN_RECIPE_PARTS_H

#include "train/recipe.h"

/* A name of a model; an object, which must be there. CORRUPT. */
mgen_status mgi_recipe_name(mgen_context *ctx, const mgi_json *o, const char *key, bool required,
                            char out[64]);
mgen_status mgi_recipe_object(mgen_context *ctx, const mgi_json *o, const char *key,
                              const mgi_json **out);
/* First of all that a kind reads: CORRUPT for a key that is neither of every kind nor among `own`; then what all kinds that learn have. */
mgen_status mgi_recipe_common(mgen_context *ctx, const mgi_json *o, const char *const *own,
                              mgi_stage *s);
/* What stages of video models have in common, where their text encoders are the pipeline's. */
mgen_status mgi_recipe_frozen(mgen_context *ctx, const mgi_json *o, mgi_stage *s);
/* Of them, those that leave out what is seen, too: an editor's film, a personalizer's photo. */
mgen_status mgi_recipe_drops(mgen_context *ctx, const mgi_json *o, mgi_stage *s);
/* "precision" of an encoder: how it is held while others learn. CORRUPT unless it is frozen. */
mgen_status mgi_recipe_hold(mgen_context *ctx, const mgi_json *o, bool frozen, int32_t *hold);
/* An image encoder; `scaled`: that may learn at a rate of its own. */
mgen_status mgi_recipe_vision(mgen_context *ctx, const mgi_json *o, bool scaled,
                              mgi_vision_recipe *r);
/* "prefer": an object that may be absent; CORRUPT, too, where a stage that has it starts from nothing. */
mgen_status mgi_recipe_prefer(mgen_context *ctx, const mgi_json *o, mgi_stage *s);
/* "adapter": likewise; encoders are read before. */
mgen_status mgi_recipe_adapter(mgen_context *ctx, const mgi_json *o, mgi_stage *s);
/* "plan": an object that may be absent. */
mgen_status mgi_recipe_plan(mgen_context *ctx, const mgi_json *o, mgi_plan_recipe *r);
/* The same of a stage whose samples are not divided. */
mgen_status mgi_recipe_gpus(mgen_context *ctx, const mgi_json *o, mgi_plan_recipe *r);
mgen_status mgi_recipe_editor(mgen_context *ctx, const mgi_json *o, mgi_stage *s);
mgen_status mgi_recipe_personalizer(mgen_context *ctx, const mgi_json *o, mgi_stage *s);
mgen_status mgi_recipe_rewriter(mgen_context *ctx, const mgi_json *o, mgi_stage *s);
mgen_status mgi_recipe_clip(mgen_context *ctx, const mgi_json *o, mgi_stage *s);

#endif
