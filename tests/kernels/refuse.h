/* SPDX-License-Identifier: MIT
 * What the check functions must refuse, tried on changed copies of legal arguments. */
#ifndef CHECKKERNEL_REFUSE_H
#define CHECKKERNEL_REFUSE_H

#include "kernels/cases.h"

/* Change the arguments of a legal case, whose buffers are made, one field at a time and at random. */
void refuse_try(mgk_case *c);
/* What op never refused though it must; 0: nothing. Prints it. `whole`: all cases were tried. */
int refuse_report(int op, bool whole);
int refuse_count(int op); /* kinds of changes that were refused */

/* A legal copy of the case, whose buffers are made, with a size of 0 or 1, without a buffer, or with
 * another dtype of one; false: no more of them. *at counts from 0. */
bool derive_case(mgk_case *d, const mgk_case *c, int *at);
/* Remember whether a case that is run has no element, or a single one. Each op needs both. */
void note_sizes(const mgk_case *c);

#endif
