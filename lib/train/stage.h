/* SPDX-License-Identifier: MIT
 * A stage under way: one object for each kind, behind one table. Tier 7. */
#ifndef MGI_TRAIN_STAGE_H
#define MGI_TRAIN_STAGE_H

#include "core/report.h"
#include "data/dataset.h"
#include "dist/mesh.h"
#include "task/pipeline.h"
#include "train/data_parallel.h"
#include "train/optimizer.h"

struct mgi_stage_run;

typedef struct mgi_stage_params {
    const mgi_stage *stage; /* copied */
    const char *dir; /* model folder: earlier stages are read from it, this one is saved to it */
    uint64_t seed;   /* of initial weights, noise and the order of the data */
    mgi_dataset *dataset;  /* retained; NULL = the stage's world, of `seed` */
    const char *cache_dir; /* folder for encoded clips, made if missing; NULL = no cache */
    /* This rank's handle among those that share each batch, which must outlive the run; NULL for one
     * rank. All ranks make the same calls. */
    mgi_comm *comm;
    /* NULL, or the mesh of which comm is the DP group: the video model is split over its cp and tp, and all ranks of a
     * sample make the same steps. It must outlive the run. */
    const mgi_mesh *mesh;
} mgi_stage_params;

/* What a checkpoint holds of a run, and what it must agree with. Pointers into the run. */
typedef struct mgi_stage_state {
    const mgi_stage *stage;
    uint64_t seed, parent; /* parent: hash of models and files that come from outside; 0 = none */
    int data; /* MGI_DATASET_*, what it learns from; 0: what the recipe says by itself */
    mgi_module *module[MGI_DP_MODULES]; /* in training */
    int modules;
    mgi_optimizer *optimizer, *second; /* of a discriminator, or NULL */
    int64_t *position;                 /* steps whose update is in the weights */
    mgi_comm *world;                   /* all ranks of the run; NULL: one */
    mgi_mesh_shape shape;              /* their mesh */
} mgi_stage_state;

struct mgi_stage_kind {
    /* STATE if the model of an earlier stage is missing; what reading the data answers. */
    mgen_status (*create)(mgen_context *ctx, const mgi_stage_params *params,
                          struct mgi_stage_run **out);
    /* Steps are 0, 1, ...; report may be NULL. A step that failed can be asked for again: weights
     * change only when all of it went well, and not twice. */
    mgen_status (*step)(struct mgi_stage_run *run, int64_t step, mgen_report *report);
    mgen_status (*save)(struct mgi_stage_run *run);
    void (*state)(struct mgi_stage_run *run, mgi_stage_state *out);
    void (*destroy)(struct mgi_stage_run *run);
};

extern const struct mgi_stage_kind mgi_stage_autoencoder, mgi_stage_text_to_video,
    mgi_stage_average, mgi_stage_audio_codec, mgi_stage_audio, mgi_stage_rewriter, mgi_stage_clip;
const struct mgi_stage_kind *mgi_stage_kind_of(const mgi_stage *stage);

/* Fills in the ranks: those of the mesh, or of comm where there is none; either may be NULL. */
void mgi_stage_ranks(mgi_stage_state *state, const mgi_mesh *mesh, mgi_comm *comm);

/* Collective: every rank has read the same weights to begin with. `hash`: of their files; 0: none. DESYNC. */
mgen_status mgi_stage_agree(const mgi_stage_params *params, uint64_t hash);

/* Saves models into `dir`, which all ranks call: `write` writes them into the folder that it is given, on the first rank,
 * to which the others send what they have of them. All ranks get the same status. */
typedef mgen_status mgi_stage_writer(struct mgi_stage_run *run, const char *dir);
mgen_status mgi_stage_save(mgen_context *ctx, const mgi_stage_state *state, const char *dir,
                           mgi_stage_writer *write, struct mgi_stage_run *run);

/* The dataset of a stage that needs `frames` frames of it and shrinks its sides by `factor`: one owner more.
 * INVALID if they do not fit. */
mgen_status mgi_stage_dataset(mgen_context *ctx, const mgi_stage_params *params, int64_t frames,
                              int64_t factor, mgi_dataset **out);
/* INVALID if the factor does not divide its sides. */
mgen_status mgi_stage_sides(mgen_context *ctx, const mgi_stage *stage, const mgi_dataset *ds,
                            int64_t factor);
/* INVALID, with the name of a film that is too short, where it is known before films are read (mgi_dataset_check_frames). */
mgen_status mgi_stage_check_films(mgen_context *ctx, const mgi_stage *stage, const mgi_dataset *ds);
/* A missing model is the caller's mistake in the order of stages. */
mgen_status mgi_stage_needs(mgen_context *ctx, const mgi_stage *stage, mgen_status status);

/* Encoders of the folder `dir`, held as a recipe says: MGI_HOLD_*. */
mgen_status mgi_stage_open_text(mgen_context *ctx, const char *dir, const char *name, int32_t hold,
                                const mgi_mesh *mesh, mgi_text_encoder *out, uint64_t *hash);
mgen_status mgi_stage_open_vision(mgen_context *ctx, const char *dir, const char *name,
                                  int32_t hold, mgi_clip_vision *out, uint64_t *hash);
/* Products in the stage's dtype; what is held for inference runs as it is held. */
mgen_status mgi_stage_compute(const mgi_stage *stage, mgi_module *m);

/* STATE, with where they differ, unless the configuration that `file` has of what the stage starts from is its own. */
mgen_status mgi_stage_same(mgen_context *ctx, const mgi_stage *stage, const char *file,
                           mgi_config_writer *write, const void *theirs, const void *ours);
/* The same of the model `name`. */
mgen_status mgi_stage_same_model(mgen_context *ctx, const mgi_stage *stage, const char *name,
                                 mgi_config_writer *write, const void *theirs, const void *ours);
/* Of an autoencoder only the decoder learns. */
void mgi_stage_freeze_encoder(mgi_module *m);

/* A stage's models as a pipeline, into `to`: that of the folder `dir`, whose rewriter stays, as prompts are the same for all
 * video models, and one that is there when a later stage takes that place, by which the set is found. */
mgen_status mgi_stage_save_set(mgen_context *ctx, const char *dir, const char *to, const char *set,
                               const mgi_pipeline_file *pipeline);

/* The pipeline of the folder `dir`, if it has one, written into `to` with this model's name in a field, by its offset, with that
 * adapter alone (NULL: none). */
mgen_status mgi_stage_name_model(mgen_context *ctx, const char *dir, const char *to, size_t field,
                                 const char *name, const char *adapter);

/* A step whose passes are alike and not captured: gradients cleared, left by `pass` of each of them, whose loss counts
 * `weight` in the step's and is added to `loss`, added over the ranks and applied. *flops: of all that. */
typedef void mgi_stage_pass(mgi_run *run, struct mgi_stage_run *r, int64_t index, int64_t i,
                            float weight);
typedef struct mgi_stage_step {
    const mgi_stage *stage;
    mgi_optimizer *optimizer;
    mgi_data_parallel *parallel;
    mgi_module *const *trained;
    int count;
    mgi_tensor *loss; /* (1) */
} mgi_stage_step;
mgen_status mgi_stage_update(mgen_context *ctx, const mgi_stage_step *s, mgi_stage_pass *pass,
                             struct mgi_stage_run *r, int64_t index, double *flops);

/* Report what every kind has: loss, norm, rate, skipped steps. Reads the device if there is a report. */
void mgi_stage_report(const mgi_optimizer *o, int64_t step, float loss, mgen_report *report);
/* sums[first + i] += scalar i: sums stay on the device until the step is over. */
void mgi_stage_sum(mgi_run *run, mgi_tensor *const *scalars, int count, mgi_tensor *sums,
                   int64_t first);
/* (rows): times of the flow of elements first .. first + rows - 1, as the stage draws them. */
mgi_tensor *mgi_stage_times(mgi_run *run, const mgi_stage *stage, uint64_t seed, uint64_t first,
                            int64_t rows);
/* A scalar's value; 0 where a failure left none. Waits for the device: outside of a step's passes. */
float mgi_stage_value(const mgi_tensor *scalar);
/* NUMERIC if the loss is not finite. */
mgen_status mgi_stage_check_loss(mgen_context *ctx, int64_t step, float loss);
/* Clips held out that are kept for validations, in all: one where there are none. */
int64_t mgi_stage_held(const mgi_stage *stage);
/* Whether step `step` ends with a validation: every validate_every-th does, and the last. */
bool mgi_stage_validates(const mgi_stage *stage, int64_t step);
/* Exchange weights and EMA; twice is nothing. */
void mgi_module_swap_ema(mgi_module *m);

#endif
