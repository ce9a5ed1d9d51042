/* SPDX-License-Identifier: MIT
 * The panel engine for AVX2 and FMA: tiles of 6 x 16. */
#define PANEL_NAME        avx2
#define MGK_WIDTH         8
#define PANEL_PAIRS       0
#define PANEL_MR1         12
#define PANEL_MR2         6
#define PANEL_HEIGHTS1(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#define PANEL_HEIGHTS2(X) X(1) X(2) X(3) X(4) X(5) X(6)
#include "kernels/common/panel_template.h"
