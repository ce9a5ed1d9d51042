/* SPDX-License-Identifier: MIT
 * A device: memory and the kernel chosen for each op. Tier 2. The CPU or a GPU as a context uses it, or the
 * meta device: nothing is stored and nothing computed there, but shapes are checked and memory, products and
 * launches are counted, so that a network of any size can be walked through.
 *
 * Freed blocks are kept by size class and handed out again: a training step asks for the same
 * sizes every time, and fresh pages cost more than most ops.
 */
#ifndef MGI_TENSOR_DEVICE_H
#define MGI_TENSOR_DEVICE_H

#include "core/context.h"
#include "kernels/mgk.h"
#include "tensor/device_cuda.h"

#define MGI_DEVICE_CLASSES 512

/* A block that is kept: at its own beginning on the CPU; on a GPU a record of the host's for each block, which
 * waits in `spare` while the block is in use. */
typedef struct mgi_block {
    struct mgi_block *next;
    void *ptr;
    size_t bytes;
} mgi_block;

/* Free blocks by size class: at the front the one that was freed last; on a GPU the one with the lowest address, so
 * that the same requests get the same addresses each time that they start from the same free blocks. */
typedef struct mgi_blocks {
    mgi_block *cached[MGI_DEVICE_CLASSES];
    int64_t out; /* in use */
} mgi_blocks;

/* How networks that are made on a device hold the weights of their products: f32, which may be trained; or for inference
 * only, bf16; or E4M3 codes with a scale for each output, of the layers that allow it, and bf16. AS_FILE: who opens one
 * decides by its configuration. */
enum { MGI_HOLD_F32, MGI_HOLD_BF16, MGI_HOLD_FP8, MGI_HOLD_AS_FILE };

/* What memory is for. */
enum {
    MGI_MEM_PARAMETER, /* f32 masters; or all that is held for inference */
    MGI_MEM_COMPUTE,   /* their copies in the dtype of the products */
    MGI_MEM_GRADIENT,  /* of parameters */
    MGI_MEM_OPTIMIZER, /* moments and averages */
    MGI_MEM_ACTIVATION,
    MGI_MEM_FLOW, /* gradients of activations, while they flow back */
    MGI_MEM_WORKSPACE,
    MGI_MEM_KINDS
};

/* Counted on every device: bytes as asked for (not as rounded), floating point operations of products
 * (2 for a multiply and add; see mgk_flops). */
typedef struct mgi_device_counts {
    uint64_t now[MGI_MEM_KINDS], peak[MGI_MEM_KINDS];
    uint64_t total, total_peak, at_peak[MGI_MEM_KINDS]; /* by kind when the total was highest */
    uint64_t held,
        held_peak; /* taken from the host: whole size classes, those kept for later too */
    uint64_t launches;
    double flops;
} mgi_device_counts;

/* A queue of work that runs in order. Stream 0 computes; on the CPU its work is done when the call
 * returns. What other streams (communication) run is numbered when it is issued, and `done` follows. */
enum { MGI_STREAM_COMPUTE, MGI_STREAM_COMM, MGI_STREAMS };

typedef struct mgi_stream {
    uint64_t issued;
    _Atomic uint64_t done;
} mgi_stream;

/* A piece of memory, and the number of the last work on each stream that uses it. */
typedef struct mgi_held {
    struct mgi_held *next; /* in the list of those whose last owner is gone */
    void *ptr;
    size_t bytes;     /* of the block */
    size_t wanted;    /* as mgi_device_alloc rounded them: the block may be a larger one */
    mgi_blocks *home; /* where it goes when it is free */
    uint64_t last[MGI_STREAMS];
} mgi_held;

/* Told of each launch on the meta device, in order. */
typedef struct mgi_device_watch {
    void (*launch)(void *user, int op, const void *args);
    void *user;
} mgi_device_watch;

typedef struct mgi_device {
    mgen_context *ctx;
    bool meta;
    const mgi_device_watch *watch; /* of the meta device; NULL: nobody */
    mgi_cuda *cuda;                /* NULL: not a GPU */
    uint64_t memory_max;           /* of a GPU, in bytes; 0 = no limit */
    int kind;                      /* MGI_MEM_* of what is allocated now; set by mgi_device_kind */
    int hold;                      /* MGI_HOLD_*, of networks made from now on */
    mgi_device_counts counts;
    mgi_stream stream[MGI_STREAMS];
    mgi_held *waiting; /* released, but a stream may still use it */
    const mgk_variant_info *kernel[MGK_OP_COUNT];
    mgi_blocks own, *home; /* `own`, or those of the graph under way (tensor/graph.h) */
    /* Of `own`, where tensors have other sizes from step to step (mgi_device_thrifty): */
    bool thrifty;
    uint64_t busy, busy_peak;           /* bytes wanted of blocks in use, now and at the most */
    uint64_t turn;                      /* requests so far */
    uint64_t asked[MGI_DEVICE_CLASSES]; /* the last one for each class */
    struct mgi_graph *graphs;
    bool graphs_off; /* all work is launched piece by piece */
    mgi_block *spare;
    uint32_t idle[MGI_DEVICE_CLASSES]; /* the same on the meta device: their number */
    int threads;                       /* that workspace is made for: those of the pool */
    void *workspace;
    size_t workspace_bytes;
    char *kernels_text; /* for mgen_context_kernels */
} mgi_device;

/* Make the context's device: "cpu", "cuda" (the first GPU) or "cuda:N"; NULL = the best that there is.
 * `kernels`: comma-separated variants allowed, NULL = all; the first of an op is always allowed. INVALID for
 * a name that no op has, or no such kind of device. UNSUPPORTED: there is no such GPU. */
mgen_status mgi_device_open(mgen_context *ctx, const char *name, const char *kernels,
                            uint64_t memory_max);
/* The same on the CPU. */
mgen_status mgi_device_create(mgen_context *ctx, const char *kernels);
/* The same on the device that `like` is on, with all kernels. */
mgen_status mgi_device_create_like(mgen_context *ctx, const mgi_device *like);

/* Is the variant `name` one of the comma-separated names in `list`? */
bool mgi_kernel_listed(const char *list, const char *name);
/* For each op the last variant that runs where there is what `features` says, and is allowed: listed in
 * `kernels`, or with NULL faster than those before it there. The first that runs is always allowed; NULL if none does.
 * The needs of all of them. */
uint32_t mgi_kernels_pick(const mgk_variant_info **kernel, const char *kernels, uint32_t features);

/* Make the device, which must be unused, the meta device. Memory there has addresses that nobody may
 * follow. */
void mgi_device_make_meta(mgi_device *dev);
/* Make a meta device for walking through what `like` would do: its kernels ask for the same workspace. */
mgen_status mgi_device_create_meta(mgen_context *ctx, const mgi_device *like);

/* What follows is allocated as `kind`; returns the kind until now. */
static inline int mgi_device_kind(mgi_device *dev, int kind)
{
    int before = dev->kind;
    dev->kind = kind;
    return before;
}

/* Networks that are made from now on are held as MGI_HOLD_* says; returns how until now. */
static inline int mgi_device_hold(mgi_device *dev, int hold)
{
    int before = dev->hold;
    dev->hold = hold;
    return before;
}

/* bytes of uninitialised device memory, 64-byte aligned. NO_MEMORY, LIMIT. */
mgen_status mgi_device_alloc(mgi_device *dev, size_t bytes, mgi_held *out);
/* The block is handed out again when each stream has done its last work with it. Takes `held` itself, which
 * mgi_alloc made. */
void mgi_device_release(mgi_device *dev, mgi_held *held);
/* `held` is used by the work that was issued last on `stream`. */
static inline void mgi_held_used(const mgi_device *dev, mgi_held *held, int stream)
{
    held->last[stream] = dev->stream[stream].issued;
}
/* From now on free blocks are kept up to a half of what was in use at the most. One that is wanted beyond that is a larger one
 * that is free, of up to twice the size, or those go that were longest of no use. Without, each size class keeps as many as it
 * ever had in use at a time, which steps of many sizes add up to several times what any of them needs. Not on GPUs, whose
 * blocks are part of captured steps, nor on the meta device. */
void mgi_device_thrifty(mgi_device *dev);
void mgi_device_trim(mgi_device *dev); /* give cached blocks back, those of graphs too */
void mgi_blocks_trim(mgi_device *dev, mgi_blocks *blocks);
void mgi_device_drop_workspace(mgi_device *dev); /* the next op that needs one takes it anew */
void mgi_device_count(mgi_device *dev, int kind, size_t bytes, bool taken);

/* Copy between the host and memory of the device, after all work so far; done when the call returns, except
 * that a GPU may still be writing its own memory. Errors are told by the next launch or mgi_device_wait(). */
void mgi_device_write(mgi_device *dev, void *to, const void *from, size_t bytes);
void mgi_device_read(mgi_device *dev, void *to, const void *from, size_t bytes);
/* Until all work is done. DEVICE, DEVICE_LOST. */
mgen_status mgi_device_wait(mgi_device *dev);

/* Check the arguments and run the op's chosen kernel. INTERNAL if the arguments break a rule: the
 * typed fronts in ops.h check what a caller can get wrong. */
mgen_status mgi_launch(mgi_device *dev, int op, const void *args);
/* All of that but the running: makes sure that the same launch cannot fail for want of memory. */
mgen_status mgi_launch_prepare(mgi_device *dev, int op, const void *args);

#endif
