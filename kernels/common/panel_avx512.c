/* SPDX-License-Identifier: MIT
 * The panel engine for AVX-512: tiles of 14 x 32 (28 accumulators, 2 columns of B, 1 broadcast) and 24 x 16. */
#define PANEL_NAME        avx512
#define MGK_WIDTH         16
#define PANEL_PAIRS       0
#define PANEL_MR1         24
#define PANEL_MR2         14
#define PANEL_HEIGHTS1(X) PANEL_HEIGHTS2(X) PANEL_TALL(X)
#define PANEL_HEIGHTS2(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define PANEL_TALL(X)     X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24)
#include "kernels/common/panel_template.h"
