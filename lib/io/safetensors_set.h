/* SPDX-License-Identifier: MIT
 * The tensors of a model in one safetensors file, or in several that an index names, as Hugging Face's libraries
 * write them. Tier 1. */
#ifndef MGI_IO_SAFETENSORS_SET_H
#define MGI_IO_SAFETENSORS_SET_H

#include "io/safetensors.h"

#define MGI_ST_FILES_MAX 1024

typedef struct mgi_st_set {
    mgi_st_file *files;
    int64_t file_count;
    mgi_st_entry *entries; /* of all files, sorted by name */
    int64_t count;
} mgi_st_set;

/* <stem>.safetensors of a folder; where that is not there, the files of <stem>.safetensors.index.json, whose
 * "weight_map" must name each tensor of each file once. The stem: "model" as transformers has it,
 * "diffusion_pytorch_model" as diffusers. CORRUPT, NOT_FOUND, UNSUPPORTED and what opening says. */
mgen_status mgi_st_set_open(mgen_context *ctx, const char *dir, const char *stem, mgi_st_set *out);
void mgi_st_set_close(mgen_context *ctx, mgi_st_set *set);
const mgi_st_entry *mgi_st_set_find(const mgi_st_set *set, const char *name); /* NULL: absent */

#endif
