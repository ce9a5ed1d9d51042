/* SPDX-License-Identifier: MIT
 * A run: the scope in which ops make tensors, and the tape that records them. Tier 2.
 *
 * Ops (ops.h) return a tensor that belongs to the run's innermost scope, or NULL after a failure;
 * they accept NULL and pass it on, and run->status keeps the first error: a network is written
 * without a check on every line, and its caller checks once.
 *
 * While the tape records, an op whose inputs carry gradients pushes a node: the arguments of its
 * kernel, the tensors that its gradient needs, and the rule. mgi_backward() walks the nodes from
 * last to first. A node can be a whole block with a rule of its own (a composite node).
 */
#ifndef MGI_TENSOR_RUN_H
#define MGI_TENSOR_RUN_H

#include "tensor/tensor.h"

#define MGI_NODE_INPUTS 20
#define MGI_NODE_SAVED  24
#define MGI_NODE_ARGS   512

struct mgi_run;
struct mgi_node;

/* What a checkpointed block keeps besides its inputs: results of the ops whose tag is in `save`, in the
 * order in which the block makes them. On replay they are handed out again instead of computed. */
enum { MGI_SAVE_ATTENTION = 1, MGI_SAVE_CROSS_ATTENTION = 2 };

typedef struct mgi_keep {
    mgi_tensor **list;
    int64_t count, capacity, next;
    unsigned save;
    bool replay;
} mgi_keep;

typedef void mgi_backward_fn(struct mgi_run *run, struct mgi_node *node);

typedef struct mgi_node {
    mgi_backward_fn *backward;
    mgi_var *out;                 /* its gradient is there when the rule runs; NULL: always run */
    mgi_var *in[MGI_NODE_INPUTS]; /* NULL: that input wants no gradient */
    mgi_tensor *saved[MGI_NODE_SAVED]; /* keeps what args points to alive */
    mgi_keep *keep;                    /* of a checkpointed block, or what saved has no room for */
    union {
        uint8_t bytes[MGI_NODE_ARGS]; /* the forward kernel's arguments */
        int64_t align;
    } args;
} mgi_node;

/* Units (blocks, as a rule) are entered and left in both directions: the places where sharded parameters
 * are gathered and freed, gradients sent, memory looked at. */
enum { MGI_ENTER_FORWARD, MGI_EXIT_FORWARD, MGI_ENTER_BACKWARD, MGI_EXIT_BACKWARD };

typedef struct mgi_unit_hook {
    void (*call)(struct mgi_run *run, void *user, void *module, int64_t unit, int moment);
    void *user;
} mgi_unit_hook;

typedef struct mgi_run {
    mgen_context *ctx;
    mgi_device *dev;
    mgen_status status; /* the first failure; ops do nothing after it */
    bool record;
    const mgi_unit_hook *hook; /* NULL: none */
    const mgi_unit_hook
        *left;          /* NULL, or called only when the backward pass leaves a unit, after hook */
    mgi_keep *keep;     /* of the checkpointed block under way, or NULL */
    mgi_tensor **scope; /* tensors of all open scopes */
    int64_t scope_count, scope_capacity;
    mgi_node **nodes;
    int64_t node_count, node_capacity;
    struct mgi_weights *weights; /* tensor/weights.h */
    int weights_open;
} mgi_run;

void mgi_run_init(mgi_run *run, mgen_context *ctx, bool record);
void mgi_run_finish(mgi_run *run); /* frees scopes and tape; returns nothing to check */
/* The values of x, which may be NULL after a failure, into memory of the caller's, which is written only when all of the run, and
 * on a GPU the copy, is known to have gone well: waits for the device. */
void mgi_run_deliver(mgi_run *run, const mgi_tensor *x, void *values);
/* Back to where there were so many tensors and nodes, and to a status of OK. */
void mgi_run_rewind(mgi_run *run, int64_t scope_count, int64_t node_count);

/* Nested scopes: pop releases what was made since push, except `keep`, which moves outward. */
int64_t mgi_scope_push(mgi_run *run);
mgi_tensor *mgi_scope_pop(mgi_run *run, int64_t mark, mgi_tensor *keep);
/* Release one tensor before its scope ends. */
void mgi_drop(mgi_run *run, mgi_tensor *t);

/* Put a tensor (refs passes to the scope) into the scope. Returns it, or NULL on failure. */
mgi_tensor *mgi_scope_add(mgi_run *run, mgi_tensor *t);
mgi_tensor *mgi_new(mgi_run *run, int32_t dtype, int rank, const int64_t *dims);
#define MGI_DIMS(...)                                                                              \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[])                         \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* Record the failure of a status-returning call; true if all is well. */
bool mgi_ok(mgi_run *run, mgen_status status);
/* A shape rule of an op's front: records INTERNAL with the text if cond is false. */
bool mgi_require(mgi_run *run, bool cond, const char *text);
void mgi_run_launch(mgi_run *run, int op, const void *args);

/* Make `out` carry a gradient and push a node with a copy of args. Does nothing (returns NULL) if
 * the tape does not record or none of the inputs carries a gradient. inputs/saved end with NULL
 * entries where unused. */
mgi_node *mgi_record(mgi_run *run, mgi_backward_fn *rule, mgi_tensor *out,
                     mgi_tensor *const *inputs, int input_count, mgi_tensor *const *saved,
                     int saved_count, const void *args, size_t args_size);

/* What a recorded node needs besides, in node->keep; NULL entries are allowed. Nothing for a node of NULL. */
void mgi_node_keep(mgi_run *run, mgi_node *node, mgi_tensor *const *list, int64_t count);

/* Inside rules: the buffer that the gradient of node->in[i] goes to. *accumulate says whether to add
 * to it (something is there) or to write. A NULL p: not wanted. */
mgk_buf mgi_grad_out(mgi_run *run, mgi_node *node, int i, int32_t *accumulate);
/* The same for kernels that always add: a fresh gradient is cleared first. */
mgk_buf mgi_grad_add(mgi_run *run, mgi_node *node, int i);
static inline mgk_buf mgi_grad_in(const mgi_node *node)
{
    return mgi_buf(node->out->grad);
}
/* The node's incoming gradient as a tensor of the scope that the rule may overwrite. */
mgi_tensor *mgi_grad_take(mgi_run *run, mgi_node *node);
/* `grad` (flat, of the dtype of the input's gradient, not used afterwards) becomes the gradient of input
 * i, or is added to it. */
void mgi_grad_give(mgi_run *run, mgi_node *node, int i, mgi_tensor *grad);

/* Around the part of a network that is unit `unit` of `module`. */
void mgi_unit_enter(mgi_run *run, void *module, int64_t unit);
void mgi_unit_exit(mgi_run *run, void *module, int64_t unit);

/* A checkpointed block. Forward it runs unrecorded, so that of its insides only what `save` (MGI_SAVE_*)
 * names stays; backward it runs again, recorded, and is differentiated then. fn must depend on nothing but
 * its inputs and parameters; `user` is copied. Without a recording tape it is fn itself. */
typedef mgi_tensor *mgi_block_fn(struct mgi_run *run, const void *user, mgi_tensor *const *in);
mgi_tensor *mgi_checkpoint(mgi_run *run, mgi_block_fn *fn, const void *user, size_t user_size,
                           mgi_tensor *const *in, int count, unsigned save);

/* Inside ops with a tag: keep a result, if a block under way wants it; and, on replay, take the next kept
 * one instead of computing (NULL: compute). */
void mgi_keep_result(mgi_run *run, unsigned tag, mgi_tensor *t);
mgi_tensor *mgi_kept_result(mgi_run *run, unsigned tag);

/* The same values as a variable of their own, whatever they come from: gradients that reach it stay there. */
mgi_tensor *mgi_cut(mgi_run *run, mgi_tensor *x);

/* d loss / d everything; loss has one element. Consumes the tape. */
mgen_status mgi_backward(mgi_run *run, mgi_tensor *loss);

#endif
