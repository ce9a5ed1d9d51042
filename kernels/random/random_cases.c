/* SPDX-License-Identifier: MIT
 * Test cases of random. */
#include "kernels/common/case_tools.h"
#include "kernels/random/random.h"

static const int64_t counts[] = {0, 1, 6, 1000, 16384, 40001};
enum { COUNTS = sizeof counts / sizeof counts[0], LEGAL = COUNTS * 3 * 2, ILLEGAL = 3 };

MGK_CASES(random)
{
    mgk_random_args *a = (void *)&c->args;
    if (index >= LEGAL + ILLEGAL)
        return false;
    int bad = index - LEGAL;
    int64_t n = bad < 0 ? counts[mgk_case_take(&index, COUNTS)] : 8;
    a->kind = bad < 0 ? mgk_case_take(&index, 3) : bad == 0 ? 9 : 0;
    a->count = bad == 1 ? -1 : n;
    a->seed = seed;
    a->stream = 77;
    a->base = 3;
    a->alpha = 1.5f;
    a->beta = -0.25f;
    MGK_CASE_BEGIN(c, MGK_OP_random, "count %ld kind %d", (long)a->count, a->kind);
    c->illegal = bad >= 0;
    c->tolerance = 0;
    if (bad != 2)
        mgk_case_out(c, &a->y, n);
    if (bad < 0 && index == 1)
        mgk_case_add(c, &a->offset, MGK_CASE_IN, MGK_FILL_IDS, MGK_U64, 1, 1000, 1);
    return true;
}
