/* SPDX-License-Identifier: MIT
 * Weights of a network in files as Hugging Face's libraries write them, with names and layouts of theirs: each parameter is
 * taken from the tensors of its values, and no tensor may be left. Tier 5. */
#ifndef MGI_MODEL_HF_WEIGHTS_H
#define MGI_MODEL_HF_WEIGHTS_H

#include "io/safetensors_set.h"
#include "nn/module.h"

/* The first failure stays; after it nothing is done. */
typedef struct mgi_hf_weights {
    mgen_context *ctx;
    const mgi_module *module;
    const mgi_st_set *set;
    bool check;         /* that all is there, without reading it */
    const char *prefix; /* of every name */
    uint8_t *used;      /* of each entry */
    int64_t done;
    mgen_status status;
} mgi_hf_weights;

void mgi_hf_weights_init(mgi_hf_weights *r, mgen_context *ctx, const mgi_module *module,
                         const mgi_st_set *set, bool check);
/* Part `part` of `parts` of a parameter's rows, from the tensor of that name, of the same shape. CORRUPT if it is missing or
 * of another one. */
void mgi_hf_take(mgi_hf_weights *r, mgi_param *p, int64_t part, int64_t parts, const char *format,
                 ...) __attribute__((format(printf, 5, 6)));
/* A parameter from one tensor of another shape, `rank` and `dims`: what is [..][b][c] in the file is [..][c][b] here. */
void mgi_hf_take_turned(mgi_hf_weights *r, mgi_param *p, int rank, const int64_t *dims, int64_t b,
                        int64_t c, const char *name);
/* A parameter from one tensor of another shape: element i is element place(user, i) of the file's. */
typedef int64_t mgi_hf_place(const void *user, int64_t i);
void mgi_hf_take_placed(mgi_hf_weights *r, mgi_param *p, int rank, const int64_t *dims,
                        mgi_hf_place *place, const void *user, const char *name);
/* A tensor that is not looked at; false: it is not there. */
bool mgi_hf_pass(mgi_hf_weights *r, const char *name);
/* Frees what init made. CORRUPT if a tensor was neither taken nor is in `passed`, a list that ends in NULL, where a name
 * that ends in a dot is a beginning. `what`: "text encoder". */
mgen_status mgi_hf_weights_finish(mgi_hf_weights *r, const char *const *passed, const char *what);

/* Identity of all files of a set, after `hash`. */
mgen_status mgi_hf_hash(mgen_context *ctx, const mgi_st_set *set, uint64_t *hash);

#endif
