/* SPDX-License-Identifier: MIT
 * Floating point operations of the ops that are products: 2 for each multiply and add.
 *
 * They are those of the model: what a kernel computes again to save memory (the scores in
 * attention_grad) does not count, as is usual for the utilization of a device. Other ops: 0.
 */
#ifndef MGK_FLOPS_H
#define MGK_FLOPS_H

double mgk_flops(int op, const void *args);

#endif
