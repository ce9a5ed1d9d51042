/* SPDX-License-Identifier: MIT
 * A stage under way on the disk: going on from it gives the bits of a run without a break. Tier 7.
 *
 * Of one rank, a safetensors file, version 1. Tensors, all f32: for each parameter <module>.<part>.<name>, part being
 * "value" and, unless it is frozen, "m", "v" and "ema"; "optimizer", the control words; and, with that
 * schedule, "plateau". Metadata, all text: format, version, kind, stage, recipe (a hash of everything the recipe says of the stage), seed,
 * parent (hash of the model that the stage builds on and leaves as it is), step (updates done) and check, a
 * hash of all of these and of every tensor. Data, noise and times are functions of (seed, step), so that
 * there is no other state. The data themselves are the caller's to keep the same.
 */
#ifndef MGI_TRAIN_CHECKPOINT_H
#define MGI_TRAIN_CHECKPOINT_H

#include "train/stage.h"

#define MGI_CHECKPOINT_VERSION 1

/* Both are collective: all ranks of the run call them with the same path, which they all see, and get the same status. */

/* Complete or not at all: after a failure, what was there before is there still. INVALID: there is a file, and there are
 * several ranks. */
mgen_status mgi_checkpoint_save(mgen_context *ctx, const struct mgi_stage_kind *kind,
                                struct mgi_stage_run *run, const char *path);
/* Into a run made for the same stage. All is checked before anything changes: STATE if it is of another
 * stage, recipe, seed or earlier model, CORRUPT if it is damaged, VERSION if it is newer than this. After IO some of its values may
 * have changed: the run is then to be destroyed. */
mgen_status mgi_checkpoint_load(mgen_context *ctx, const struct mgi_stage_kind *kind,
                                struct mgi_stage_run *run, const char *path);

#endif
