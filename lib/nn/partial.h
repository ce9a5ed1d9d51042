/* SPDX-License-Identifier: MIT
 * Gradients that are partial sums where tokens are split. Tier 4. */
#ifndef MGI_NN_PARTIAL_H
#define MGI_NN_PARTIAL_H

#include "dist/mesh.h"
#include "nn/module.h"

/* The gradient of each parameter becomes its sum over the groups that the parameter's record names. After the
 * backward pass. */
void mgi_module_sum_partial(mgi_run *run, mgi_module *m, const mgi_mesh *mesh);

#endif
