/* SPDX-License-Identifier: MIT
 * Low-rank adapters (LoRA, Hu et al. 2021) of a video transformer, be it that of an editor or of sound: beside each matrix W (out, in) of its blocks, A (rank, in)
 * and B (out, rank), by which W becomes W + alpha / rank B A. Tier 5.
 *
 * A model in a folder, of the kind that mgi_adapted says: <name>.json says rank, alpha and what it was trained beside;
 * <name>.safetensors has base_model.model.<matrix>.lora_A.weight and .lora_B.weight, <matrix> being a parameter's name
 * without its ".weight", as PEFT names them. */
#ifndef MGI_MODEL_ADAPTER_H
#define MGI_MODEL_ADAPTER_H

#include "model/model_file.h"
#include "model/video_transformer.h"

/* Models that adapters are of, in the order of pipeline.json. */
enum {
    MGI_ADAPTED_VIDEO,
    MGI_ADAPTED_UPSAMPLER,
    MGI_ADAPTED_EDITOR,
    MGI_ADAPTED_AUDIO,
    MGI_ADAPTED_PERSONALIZER,
    MGI_ADAPTED_KINDS
};
typedef struct mgi_adapted_kind {
    const char *model, *adapter; /* kinds of their files */
    const char *key, *list;      /* in pipeline.json: of the model's name, and of its adapters */
    const char *name;            /* of a model that is saved without a set's */
} mgi_adapted_kind;
extern const mgi_adapted_kind mgi_adapted[MGI_ADAPTED_KINDS];

enum { MGI_ADAPTER_RANK_MAX = 1024, MGI_ADAPTERS_MAX = 16 };

typedef struct mgi_adapter_config {
    int64_t rank;
    double alpha; /* a float's value */
    char base[MGI_NAME_MAX +
              1];       /* the model whose weights it was trained beside; "": nothing is said */
    uint64_t base_hash; /* of their file */
} mgi_adapter_config;
mgen_status mgi_adapter_config_read(mgen_context *ctx, const mgi_json *json,
                                    mgi_adapter_config *out);
void mgi_adapter_config_write(mgi_json_writer *w, const void *config);

/* ---- adapters that are used ----------------------------------------------------------------------- */

/* By name, and by what their alphas are multiplied. */
typedef struct mgi_adapters {
    int64_t count;
    struct {
        char name[MGI_NAME_MAX + 1];
        double scale;
    } list[MGI_ADAPTERS_MAX];
} mgi_adapters;

/* Those of the folder `dir`, open beside the file of a model; NULL: there are none. It is an error when they do not fit it, or are
 * of another kind of models. */
typedef struct mgi_adapter_set mgi_adapter_set;
mgen_status mgi_adapter_set_open(mgen_context *ctx, const char *dir, const mgi_adapters *adapters,
                                 const mgi_model_file *base, mgi_adapter_set **out);
void mgi_adapter_set_close(mgi_adapter_set *set);
/* All values of a tensor of that file become what the adapters make of them. */
mgen_status mgi_adapter_set_add(const mgi_adapter_set *set, const mgi_st_entry *of, float *values);

/* The matrices of a transformer that was loaded from `base`, split over a mesh or not, become what the adapters of the folder
 * `dir` make of those of the file: sums in f32, held as the module holds them. *hash: with the adapters'. */
mgen_status mgi_adapters_merge(mgen_context *ctx, const char *dir, const mgi_adapters *adapters,
                               const mgi_model_file *base, mgi_vt *vt, uint64_t *hash);

/* ---- an adapter that learns ----------------------------------------------------------------------- */

typedef struct mgi_adapter_pair {
    mgi_param *of, *a, *b;
    mgi_tensor *aside; /* what products read otherwise; NULL: they do */
} mgi_adapter_pair;

typedef struct mgi_adapter {
    mgi_module module; /* of all A and B */
    mgi_adapter_config config;
    mgi_adapter_pair *pair;
    int64_t pairs;
    mgi_vt *vt;
    mgi_unit_hook
        hook; /* what a run that records must have as mgi_run.left; it holds the adapter's address */
} mgi_adapter;

/* A transformer that an adapter is to learn beside, neither split nor sharded: its weights are only read, and are held as
 * products of `dtype` read them. */
mgen_status mgi_adapter_base(mgen_context *ctx, const mgi_vt_config *config, const mgi_mesh *mesh,
                             int32_t dtype, mgi_vt *out);
/* Beside such a transformer, whose weights are there, and which must outlive it: all else of it is frozen, and so are its
 * matrices, but what products read of them (mgi_param.compute) is the adapter's to write. Of their gradients those of one
 * block are there at a time. All is made that steps in `dtype` need. INVALID for a rank that is larger than a matrix. */
mgen_status mgi_adapter_init(mgi_adapter *a, mgi_vt *vt, const mgi_adapter_config *config,
                             int32_t dtype, uint64_t seed);
void mgi_adapter_finish(mgi_adapter *a);
/* What products read becomes W + alpha / rank B A. */
void mgi_adapter_apply(const mgi_adapter *a, mgi_run *run);
/* From here to the call with false products read the weights as they were: without the adapter, if there is one. Outside of what is
 * recorded. */
void mgi_adapter_aside(mgi_adapter *a, bool aside);
/* As a step begins, or nothing of an adapter that is not there: the same, with matrices' gradients of 0. Backward passes add to
 * those of A and B. */
void mgi_adapter_begin(const mgi_adapter *a, mgi_run *run);

#endif
