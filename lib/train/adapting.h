/* SPDX-License-Identifier: MIT
 * What stages that train an adapter (model/adapter.h) have in common, whatever its transformer is part of. Tier 7. */
#ifndef MGI_TRAIN_ADAPTING_H
#define MGI_TRAIN_ADAPTING_H

#include "model/adapter.h"
#include "train/stage.h"

static inline bool mgi_adapts(const mgi_stage *s)
{
    return s->adapter.rank > 0;
}

/* A mgi_config_writer of a transformer's configuration, a mgi_vt_config. */
void mgi_adapting_write(mgi_json_writer *w, const void *config);

/* A model of the folder or, where the name is that of an adapter, the one that this changes, and the adapter. *kind: MGI_ADAPTED_*, or
 * MGI_ADAPTED_KINDS if it is a model that has none. */
mgen_status mgi_adapting_named(mgen_context *ctx, const char *dir, const char *name,
                               char model[MGI_NAME_MAX + 1], mgi_adapters *with, int *kind);
/* MGI_ADAPTED_* of what a stage with a transformer trains, or an adapter of which. */
int mgi_adapting_of(const mgi_stage *s);

/* Before anything is opened, of stages that train an adapter and of others: UNSUPPORTED for a mesh that divides the model; STATE if
 * the pipeline of the folder `dir` has an adapter of that name of another kind of models. */
mgen_status mgi_adapting_check(mgen_context *ctx, const mgi_stage *s, const char *dir,
                               const mgi_mesh *mesh);
/* Of the model `name`, whose adapter it trains, a part that both name: what the stage leaves out becomes that; STATE if it is another. */
mgen_status mgi_adapting_part(mgen_context *ctx, const mgi_stage *s, const char *name,
                              const char *what, char ours[64], const char *theirs);
/* The weights of an open model into a transformer of mgi_adapter_base(), and what its adapter is to say of it. STATE unless it is
 * the one that the stage has, but for how it is held and guided, which stays the model's. */
mgen_status mgi_adapting_load(mgen_context *ctx, const mgi_stage *s, const char *name,
                              const mgi_model_file *file, const mgi_vt_config *theirs, mgi_vt *to,
                              mgi_adapter_config *out);
/* Into the folder `dir`, under the name that it has there. */
mgen_status mgi_adapting_save(mgen_context *ctx, const mgi_stage *s, const char *dir,
                              mgi_adapter *adapter, char name[MGI_NAME_MAX + 1]);

#endif
