/* SPDX-License-Identifier: MIT
 * Fully sharded data parallelism: what a rank has of a module is gathered where it is used. Tier 4.
 *
 * A module whose shard_size is over 1 (nn/module.h) keeps this rank's share of its parameters, gradients and optimizer
 * state. Before a unit runs, forward and backward, its parameters are gathered over the mesh's shard group, and those
 * of the next unit meanwhile; after it has run backward, its gradients are summed and scattered meanwhile:
 *
 *   forward of unit u     wait for u; begin to gather u + 1
 *   backward of unit u    wait for u; begin to gather u - 1; gradients of u + 2 into the shares; then u's are begun
 *
 * Units are those of all modules, in the order in which they run: the first one of the transformer is gathered while the
 * last one of a text encoder runs, and the other way round. Two slots, each as large as the largest unit of all, take what
 * is gathered, of units with even and odd numbers, and two more their gradients: a unit's parameters stay at one place, to which the tape may point, and are gone when the slot is the
 * next but one's. What is `lasting` has a place of its own, from the first unit's forward to its backward. Operands are
 * gathered in the module's compute dtype, everything else and the gradients in f32: the bits that one rank has.
 *
 * A share's gradient is then summed over its replicas (hybrid sharding) and, where it is partial over the TP group,
 * there, up to eight of these calls at a time.
 */
#ifndef MGI_NN_FSDP_H
#define MGI_NN_FSDP_H

#include "dist/mesh.h"
#include "nn/module.h"

typedef struct mgi_fsdp mgi_fsdp;

/* For modules, in the order in which they run; those that are not sharded over the mesh are left alone. In their compute
 * dtype, and those that train after mgi_module_train(). They and the mesh outlive it. */
mgen_status mgi_fsdp_create(mgen_context *ctx, const mgi_mesh *mesh, mgi_module *const *modules,
                            int count, mgi_fsdp **out);
void mgi_fsdp_destroy(mgi_fsdp *fsdp); /* NULL is fine */

/* A run begins, recorded or not, or one more pass of it whose gradients are added: values may be others than before.
 * `last`: of those that make one update. The run gets the hook, mgi_fsdp_unit() for the sharded modules. */
void mgi_fsdp_begin(mgi_fsdp *fsdp, mgi_run *run, bool last);
void mgi_fsdp_unit(mgi_fsdp *fsdp, mgi_run *run, const void *module, int64_t unit, int moment);
/* After it, or its backward pass, and whatever has failed: nothing is under way any more, and the gradients of the
 * shares are those of the mesh. */
void mgi_fsdp_end(mgi_fsdp *fsdp, mgi_run *run);

#endif
