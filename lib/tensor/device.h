/* SPDX-License-Identifier: MIT
 * A device: memory and the kernel chosen for each op. Tier 2. The CPU device of a context.
 *
 * Freed blocks are kept by size class and handed out again: a training step asks for the same
 * sizes every time, and fresh pages cost more than most ops.
 */
#ifndef MGI_TENSOR_DEVICE_H
#define MGI_TENSOR_DEVICE_H

#include "core/context.h"
#include "kernels/mgk.h"

#define MGI_DEVICE_CLASSES 512

typedef struct mgi_block {
    struct mgi_block *next;
    size_t bytes;
} mgi_block;

typedef struct mgi_device {
    mgen_context *ctx;
    const mgk_variant_info *kernel[MGK_OP_COUNT];
    mgi_block *cached[MGI_DEVICE_CLASSES]; /* free blocks by size class */
    void *workspace;
    size_t workspace_bytes;
    char *kernels_text; /* for mgen_context_kernels */
} mgi_device;

/* Make the context's CPU device. `kernels`: comma-separated variants allowed, NULL = all; the
 * reference is always allowed. INVALID for a name that no op has. */
mgen_status mgi_device_create(mgen_context *ctx, const char *kernels);

/* bytes of uninitialised device memory, 64-byte aligned. NO_MEMORY, LIMIT. */
mgen_status mgi_device_alloc(mgi_device *dev, size_t bytes, void **out, size_t *class_bytes);
void mgi_device_free(mgi_device *dev, void *ptr, size_t class_bytes);
void mgi_device_trim(mgi_device *dev); /* give cached blocks back */

/* Check the arguments and run the op's chosen kernel. INTERNAL if the arguments break a rule: the
 * typed fronts in ops.h check what a caller can get wrong. */
mgen_status mgi_launch(mgi_device *dev, int op, const void *args);
/* All of that but the running: makes sure that the same launch cannot fail for want of memory. */
mgen_status mgi_launch_prepare(mgi_device *dev, int op, const void *args);

#endif
