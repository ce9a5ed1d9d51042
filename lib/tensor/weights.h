/* SPDX-License-Identifier: MIT
 * Matrices that stay as they are while a run multiplies by them again and again: what a product on the CPU arranges of
 * them is kept from one product to the next. Tier 2. */
#ifndef MGI_TENSOR_WEIGHTS_H
#define MGI_TENSOR_WEIGHTS_H

#include "kernels/matmul/matmul.h"
#include "tensor/run.h"

/* Rows from which on arranging a matrix is a small part of the product: it is not kept then, as that takes its size in
 * memory once more. */
enum { MGI_WEIGHTS_ROWS = 1024 };

/* From here to the matching end the second operands of mgi_linear(), mgi_linear_gated() and of products that ask for
 * what is kept do not change. Nested; the outermost end lets go of what was kept. Nothing is kept where the tape
 * records, where parameters are gathered from other ranks, and on GPUs. */
void mgi_weights_begin(mgi_run *run);
void mgi_weights_end(mgi_run *run);

/* What is kept of w for this product; NULL: nothing. */
mgk_matmul_kept *mgi_weights_kept(mgi_run *run, mgi_tensor *w, const mgk_matmul_args *args);

#endif
