/* SPDX-License-Identifier: MIT
 * A model in a folder: <name>.json (what it is) beside <name>.safetensors (its weights). Tier 5. */
#ifndef MGI_MODEL_MODEL_FILE_H
#define MGI_MODEL_MODEL_FILE_H

#include "nn/module.h"

typedef struct mgi_model_file {
    mgi_json *root;
    const mgi_json *config; /* the "config" object */
    mgi_st_file weights;
    uint64_t hash; /* of the weights file */
    char json_name[MGI_NAME_MAX + 1], weights_name[MGI_NAME_MAX + 1];
} mgi_model_file;

/* Open both and check format, version and kind (NULL: of any kind). */
mgen_status mgi_model_file_open(mgen_context *ctx, const char *dir, const char *name,
                                const char *kind, mgi_model_file *out);
void mgi_model_file_close(mgen_context *ctx, mgi_model_file *file);

/* Whether there is no <name>.json but a folder of that name: a model in the form of another library. */
bool mgi_model_is_folder(mgen_context *ctx, const char *dir, const char *name);

/* The JSON file `name` of the folder `dir`, whose bytes go into *hash. */
mgen_status mgi_model_json(mgen_context *ctx, const char *dir, const char *name, mgi_json **root,
                           uint64_t *hash);
/* The same, if it is there; *root NULL: it is not. */
mgen_status mgi_model_json_if(mgen_context *ctx, const char *dir, const char *name, mgi_json **root,
                              uint64_t *hash);

/* What <name>.json tells without weights, which need not be there: `read` takes its object. Errors name the file. */
typedef mgen_status mgi_model_reader(mgen_context *ctx, const mgi_json *root, void *out);
mgen_status mgi_model_told(mgen_context *ctx, const char *dir, const char *name,
                           mgi_model_reader *read, void *out);

/* CORRUPT unless the file (what `check` takes for one) has the weights of the network that the configuration asks for.
 * `check` makes it on a context without memory of its own: nothing is allocated that a configuration promises and the
 * file does not fill. */
typedef mgen_status mgi_fit_check(mgen_context *shapes, const void *config, const void *file);
mgen_status mgi_model_file_fits(mgen_context *ctx, mgi_fit_check *check, const void *config,
                                const void *file);

/* Write weights (EMA where there is one), then the JSON; `config` writes the members. */
typedef void mgi_config_writer(mgi_json_writer *w, const void *config);
/* Where two configurations differ, as mgi_json_difference says it; "" if they do not. */
mgen_status mgi_config_difference(mgen_context *ctx, mgi_config_writer *write, const void *a,
                                  const void *b, char *out, size_t size);
mgen_status mgi_model_file_save(mgen_context *ctx, const char *dir, const char *name,
                                const char *kind, mgi_config_writer *write_config,
                                const void *config, mgi_module *module, mgi_st_dtype store);

#endif
