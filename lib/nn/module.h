/* SPDX-License-Identifier: MIT
 * The module registry: one record for every parameter of a network. Tier 4.
 *
 * Loading, saving, initialising, the optimizer, gradient clearing, averaging, sharding and the planner all
 * walk this list. A network declares its parameters in the order of use, divided into units (its blocks;
 * what comes before and after them are units too): the pieces that are gathered and freed as a whole.
 */
#ifndef MGI_NN_MODULE_H
#define MGI_NN_MODULE_H

#include "io/safetensors.h"
#include "tensor/ops.h"

enum { MGI_INIT_ZERO, MGI_INIT_ONE, MGI_INIT_NORMAL, MGI_INIT_IDENTITY_TIME };

/* How tensor parallelism places a parameter: whole on every rank; a share of its outputs, dimension 0; or of its
 * inputs, dimension 1. */
enum { MGI_TP_REPLICATED, MGI_TP_COLUMN, MGI_TP_ROW };

/* Groups over which a parameter's gradient is a partial sum, when tokens are split. */
enum { MGI_PARTIAL_NONE = 0, MGI_PARTIAL_SP = 1, MGI_PARTIAL_CP = 2 };

typedef struct mgi_param {
    char *name; /* in the file */
    int rank;
    int64_t dims
        [MGI_RANK_MAX]; /* of the whole parameter; those of value, and all beside it, are this rank's */
    int init;
    float init_scale; /* NORMAL: standard deviation */
    float decay;      /* factor on the weight decay: 1 for matrices, 0 for vectors and tables */
    float lr_scale;   /* factor on the learning rate */
    int tp;           /* MGI_TP_* */
    int parts; /* of the dimension that is split: each is, so that of q, k and v a rank has the same heads */
    int partial;   /* MGI_PARTIAL_* */
    int64_t unit;  /* which unit it belongs to */
    int64_t first; /* its first element in the unit's flat range, a multiple of 16; or in `range` */
    int64_t range; /* of the module's, where it is sharded */
    bool operand;  /* of products: read in the module's compute dtype */
    bool narrow;   /* an operand, or a table of rows: bf16 where weights are held so */
    bool codes;    /* an operand that may be E4M3 codes, with a scale for each of its rows */
    bool lasting;  /* read by later units, too */
    bool frozen;
    bool
        adapted; /* its gradient is made, but its value stays: what products read, an adapter writes (model/adapter.h) */
    /* f32 master, or as the module holds it; value->var->grad, a part of unit_grad, while training */
    mgi_tensor *value;
    mgi_tensor *compute;     /* copy in the compute dtype, with the same var; NULL: value serves */
    mgi_tensor *m, *v, *ema; /* optimizer state, while training */
    mgi_tensor
        *whole; /* where the module is sharded: the values gathered (nn/fsdp.h), with a variable of
                          their own; the five above are flat then, of this rank's elements, maybe of none */
} mgi_param;

/* Sharding (FSDP). The parameters of a unit that are treated alike (gathered in one dtype, their gradients summed over
 * the same groups) lie one behind the other in a range of elements, which is padded and divided evenly over the ranks:
 * share `shard_rank` of it is this rank's, and nothing else is kept. */
typedef struct mgi_range {
    int64_t unit;
    bool operand, lasting;
    bool narrow;         /* of a module that is held for inference: its values are bf16 */
    bool partial;        /* gradients are partial sums over the TP group (SP) */
    int64_t size, share; /* elements of all parameters; of each rank, a multiple of 32 */
    mgi_tensor *value, *compute, *m, *v, *ema, *grad; /* flat; the parameters' are parts of them */
} mgi_range;

typedef struct mgi_module {
    mgen_context *ctx;
    mgi_device *dev;
    mgi_param **params;
    int64_t count, capacity;
    int32_t dtype; /* of products and activations: f32 or bf16 */
    int hold;      /* MGI_HOLD_*, as the device said; but for f32 it can only be loaded and run */
    int tp_rank,
        tp_size; /* set before parameters are added: this rank's share; 0, 0: all of everything */
    int shard_rank, shard_size; /* the same of sharding, which then takes mgi_module_divide() */
    mgi_range *ranges;          /* of a sharded module, in the order of units */
    int64_t range_count;
    int partial;              /* MGI_PARTIAL_*, of all parameters that are added from now on */
    int64_t units, unit_size; /* begun so far; elements in the last one */
    mgi_tensor **unit_grad; /* while training: the gradients of each unit, one flat tensor f32; NULL
                                 where all is frozen, and of a module that is sharded */
    bool one_grad;          /* units of one size share theirs: it is used as each is left */
    mgen_status status;     /* the first failure while building; later adds do nothing */
    struct mgi_gather *gather; /* while it is saved: the other ranks' parts (nn/gather.h) */
} mgi_module;

void mgi_module_init(mgi_module *m, mgen_context *ctx);
void mgi_module_finish(mgi_module *m);

typedef struct mgi_param_spec {
    int init;
    float scale, decay;
    int tp, parts, partial; /* parts 0: 1 */
    bool operand, frozen, lasting;
    bool table; /* of rows that are looked up */
    bool codes;
} mgi_param_spec;

/* What is added from now on belongs to a new unit. Returns its number. */
int64_t mgi_module_unit(mgi_module *m);

/* Add a parameter (uninitialised memory) named by the format. Returns its tensor's holder or NULL; INVALID where
 * tp_size does not divide what is split. */
mgi_param *mgi_param_add(mgi_module *m, mgi_param_spec spec, int rank, const int64_t *dims,
                         const char *format, ...) __attribute__((format(printf, 5, 6)));

/* After the last parameter: this rank's shares of a sharded module, zeros; of another, nothing. Returns m->status. */
mgen_status mgi_module_divide(mgi_module *m);

/* Of a parameter that may be split or sharded: `count` elements, from `whole` on in all of it, are those from `own` on
 * in this rank's value (and m, v, ema, gradient). Piece `index` of so many; of a sharded one there may be none, and
 * those of all ranks (of one replica; any TP rank's where it is not split) make up the whole. In rising order. */
typedef struct mgi_piece {
    int64_t whole, own, count;
} mgi_piece;
int64_t mgi_param_pieces(const mgi_module *m, const mgi_param *p);
mgi_piece mgi_param_piece(const mgi_module *m, const mgi_param *p, int64_t index);
/* Read a tensor's values (f32, or rounded to bf16), as many as the entry has, or let a file's writer take them (f32): a
 * tensor's memory need not be the host's. */
mgen_status mgi_tensor_load(mgi_tensor *t, const mgi_st_entry *entry);
/* What the rank has of an entry's values, which are those from element `first` of the whole on. */
mgen_status mgi_param_load(const mgi_module *m, const mgi_param *p, const mgi_st_entry *entry,
                           int64_t first);
mgi_st_reader mgi_tensor_values;
/* y = x, f32 tensors of as many values. */
mgen_status mgi_tensor_copy(mgi_tensor *y, const mgi_tensor *x);

/* Initial values: Philox of (seed, hash of the name, element): the same whatever the order. */
mgen_status mgi_module_random(mgi_module *m, uint64_t seed);
/* Read all parameters. A missing or misshapen tensor is CORRUPT with its name; with `partial`, missing
 * ones keep their values (inflation). Tensors that no parameter claims are CORRUPT too. */
mgen_status mgi_module_load(mgi_module *m, const mgi_st_file *st, const char *file, bool partial);
/* Whether the file has exactly the parameters: CORRUPT as in loading, with no need of memory for them. */
mgen_status mgi_module_fits(const mgi_module *m, const mgi_st_file *st, const char *file);
/* Write all parameters, or their EMA, as bf16 or f32, or those that may be codes as F8 and the others as bf16, to the bits
 * of what would be held of the values. UNSUPPORTED where they are split or sharded, and nothing gathers
 * them. */
mgen_status mgi_module_save(mgi_module *m, const char *path, bool ema, mgi_st_dtype store);
int64_t mgi_module_size(const mgi_module *m); /* this rank's parameters, in elements */

/* Products read bf16 copies of the parameters (or f32 masters again). NO_MEMORY. */
mgen_status mgi_module_compute(mgi_module *m, int32_t dtype);
/* It will only be run: what has a bf16 copy is held as that alone, as by a device that holds weights so. What is sharded stays. */
void mgi_module_settle(mgi_module *m);
/* Write the masters to the copies: after a change that the optimizer did not make. Cannot fail. */
void mgi_module_refresh(mgi_module *m);

/* Training: make gradients, moments and EMA for all that is not frozen; EMA starts as the value. */
mgen_status mgi_module_train(mgi_module *m);
void mgi_module_zero_grad(mgi_module *m, mgi_run *run);

/* What files get: with `ema` the average, where there is one. A sharded module has them of frozen parameters, too. */
static inline mgi_tensor *mgi_param_final(const mgi_param *p, bool ema)
{
    return ema && p->ema && !p->frozen ? p->ema : p->value;
}

/* What the network reads. */
static inline mgi_tensor *mgi_value(const mgi_param *p)
{
    return !p ? NULL : p->whole ? p->whole : p->compute ? p->compute : p->value;
}

#endif
