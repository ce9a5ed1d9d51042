/* SPDX-License-Identifier: MIT */
#ifndef MGK_PAD_CASES_H
#define MGK_PAD_CASES_H

#include "kernels/cases.h"

bool mgk_pad_case(mgk_case *c, int index);

#endif
