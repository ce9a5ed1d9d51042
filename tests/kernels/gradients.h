/* SPDX-License-Identifier: MIT
 * Gradient references against finite differences of their forward references. */
#ifndef CHECKKERNEL_GRADIENTS_H
#define CHECKKERNEL_GRADIENTS_H

#include "kernels/cases.h"

bool is_gradient(int op); /* by its name: it must be in the table then */

/* Compare on a legal case of an op in the table, if it is small and f32; else do nothing. */
void gradient_try(const mgk_case *c);
/* The op's cases and failures; cases 0: none was fit. False: the op is not in the table. */
bool gradient_result(int op, int *cases, int *failures);

#endif
