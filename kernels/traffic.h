/* SPDX-License-Identifier: MIT
 * Bytes that a launch must read and write at least, each value of its operands once.
 *
 * For the ops of training steps, whose time is that of memory where it is not that of arithmetic
 * (kernels/flops.h). Other ops: -1.
 */
#ifndef MGK_TRAFFIC_H
#define MGK_TRAFFIC_H

double mgk_traffic(int op, const void *args);

#endif
