/* SPDX-License-Identifier: MIT
 * The module registry: one record for every parameter of a network. Tier 4.
 *
 * Loading, saving, initialising, the optimizer, gradient clearing and averaging all walk this list.
 */
#ifndef MGI_NN_MODULE_H
#define MGI_NN_MODULE_H

#include "io/safetensors.h"
#include "tensor/ops.h"

enum { MGI_INIT_ZERO, MGI_INIT_ONE, MGI_INIT_NORMAL, MGI_INIT_IDENTITY_TIME };

/* How tensor parallelism places a parameter. */
enum { MGI_TP_REPLICATED, MGI_TP_COLUMN, MGI_TP_ROW };

/* Groups over which a parameter's gradient is a partial sum, when tokens are split. */
enum { MGI_PARTIAL_NONE = 0, MGI_PARTIAL_SP = 1, MGI_PARTIAL_CP = 2 };

typedef struct mgi_param {
    char *name; /* in the file */
    int rank;
    int64_t dims[MGI_RANK_MAX];
    int init;
    float init_scale; /* NORMAL: standard deviation */
    float decay;      /* factor on the weight decay: 1 for matrices, 0 for vectors and tables */
    float lr_scale;
    int tp, partial;
    bool frozen;
    mgi_tensor *value;       /* f32 master; value->var is its gradient's place while training */
    mgi_tensor *m, *v, *ema; /* optimizer state, while training */
} mgi_param;

typedef struct mgi_module {
    mgen_context *ctx;
    mgi_device *dev;
    mgi_param **params;
    int64_t count, capacity;
    mgen_status status; /* the first failure while building; later adds do nothing */
} mgi_module;

void mgi_module_init(mgi_module *m, mgen_context *ctx);
void mgi_module_finish(mgi_module *m);

typedef struct mgi_param_spec {
    int init;
    float scale, decay;
    int tp, partial;
    bool frozen;
} mgi_param_spec;

/* Add a parameter (uninitialised memory) named by the format. Returns its tensor's holder or NULL. */
mgi_param *mgi_param_add(mgi_module *m, mgi_param_spec spec, int rank, const int64_t *dims,
                         const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Initial values: Philox of (seed, hash of the name, element): the same whatever the order. */
mgen_status mgi_module_random(mgi_module *m, uint64_t seed);
/* Read all parameters. A missing or misshapen tensor is CORRUPT with its name; with `partial`, missing
 * ones keep their values (inflation). Tensors that no parameter claims are CORRUPT too. */
mgen_status mgi_module_load(mgi_module *m, const mgi_st_file *st, const char *file, bool partial);
/* Write all parameters, or their EMA, as bf16 or f32. */
mgen_status mgi_module_save(mgi_module *m, const char *path, bool ema, mgi_st_dtype store);
int64_t mgi_module_size(const mgi_module *m); /* parameters, in elements */

/* Training: make gradients, moments and EMA for all that is not frozen; EMA starts as the value. */
mgen_status mgi_module_train(mgi_module *m);
void mgi_module_zero_grad(mgi_module *m, mgi_run *run);

static inline mgi_tensor *mgi_value(const mgi_param *p)
{
    return p ? p->value : NULL;
}

#endif
