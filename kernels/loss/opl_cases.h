/* SPDX-License-Identifier: MIT */
#ifndef MGK_OPL_CASES_H
#define MGK_OPL_CASES_H

#include "kernels/cases.h"

bool mgk_opl_case(mgk_case *c, int index);

#endif
