/* SPDX-License-Identifier: MIT
 * What the stages of a recipe need on a mesh of GPUs: each stage's buckets, planned one by one. Tier 7. */
#ifndef MGI_TRAIN_PLAN_RECIPE_H
#define MGI_TRAIN_PLAN_RECIPE_H

#include "train/plan_mesh.h"
#include "train/recipe.h"

/* On what a recipe is planned; 0 leaves each to the stage, its "plan" or what is found. */
typedef struct mgi_recipe_machine {
    mgi_gpu gpu;
    int gpus;
    mgi_mesh_shape
        mesh;        /* dp 0: that of "plan", if the GPUs and the batch allow it, else the best */
    int64_t samples; /* of a dp rank in a pass; 0: as many as on the GPUs of "plan" */
    int64_t text_tokens; /* 0: 1024, of sounds 512 */
    int recompute;       /* MGI_RECOMPUTE_*; -1: the stage's, or the next that fits */
} mgi_recipe_machine;

enum { MGI_STAGE_WHY = 256 };
typedef struct mgi_stage_plan {
    char name[64];
    int32_t kind; /* MGI_STAGE_* */
    bool planned; /* else `why` says why not */
    char why[MGI_STAGE_WHY];
    char text[MGI_ROLES][64]; /* its frozen text encoders */
    bool counted[MGI_ROLES];  /* they run in the step; else it is not known what they are */
    char vision[64];          /* its image encoder; "": it has none */
    bool vision_known, vision_counted;
    int gpus;
    int64_t parameters, tokens; /* tokens: of the longest sample */
    mgi_mesh_plan
        longest; /* of it; memory, recompute and fits are of the bucket that needs the most */
    double global_batch;      /* samples of a step, the mean over the buckets as they are drawn */
    double step_seconds, mfu; /* likewise */
    double steps, samples, days;
    /* Of clips that are encoded, if the dataset has so many: in the cache folder, or in each rank's memory. */
    double latent_bytes;
} mgi_stage_plan;

/* CORRUPT, INVALID for a stage that cannot be read; what keeps one from being planned stands in `why`. */
mgen_status mgi_stage_plan_make(mgen_context *ctx, const char *recipe, const char *stage,
                                const mgi_recipe_machine *machine, mgi_stage_plan *out);

/* As a table or a line of JSON. *out: the caller frees. */
mgen_status mgi_recipe_plan_table(mgen_context *ctx, const char *recipe, const mgi_gpu *gpu,
                                  const mgi_stage_plan *list, int64_t count, char **out);
mgen_status mgi_recipe_plan_json(mgen_context *ctx, const char *recipe, const mgi_gpu *gpu,
                                 const mgi_stage_plan *list, int64_t count, char **out);

#endif
