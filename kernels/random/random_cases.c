/* SPDX-License-Identifier: MIT
 * Test cases of random. */
#include "kernels/common/case_tools.h"
#include "kernels/random/random.h"

static const int64_t counts[] = {0, 1, 6, 65, 1000, 16384, 40001};
enum { BASES = 3, ILLEGAL = 6 };
enum { COUNTS = sizeof counts / sizeof counts[0], LEGAL = COUNTS * 3 * 2 * BASES * 2 };
static const uint64_t bases[BASES] = {3, 0x3fffffffcull /* counters of 33 bits */,
                                      0xfffffffffffffff0ull /* elements that wrap */};

static bool illegal(mgk_case *c, mgk_random_args *a, int bad)
{
    static const char *const what[ILLEGAL] = {"unknown kind", "count negative", "no y",
                                              "y of i32",     "offset of f32",  "count too large"};
    if (bad >= ILLEGAL)
        return false;
    MGK_CASE_BEGIN(c, MGK_OP_random, "illegal: %s", what[bad]);
    c->illegal = true;
    a->kind = bad == 0 ? 9 : 0;
    a->count = bad == 1 ? -1 : bad == 5 ? INT64_MAX / 32 : 8;
    if (bad != 2)
        mgk_case_out(c, &a->y, 8);
    if (bad == 3)
        c->bufs[0].dtype = MGK_I32;
    if (bad == 4)
        mgk_case_in_f32(c, &a->offset, 2, 1);
    return true;
}

MGK_CASES(random)
{
    mgk_random_args *a = (void *)&c->args;
    if (index >= LEGAL)
        return illegal(c, a, index - LEGAL);
    a->count = counts[mgk_case_take(&index, COUNTS)];
    a->kind = mgk_case_take(&index, 3);
    bool offset = mgk_case_take(&index, 2);
    a->base = bases[mgk_case_take(&index, BASES)];
    a->seed = seed;
    a->stream = 77;
    a->alpha = 1.5f;
    a->beta = -0.25f;
    c->real = index ? MGK_BF16 : MGK_F32;
    MGK_CASE_BEGIN(c, MGK_OP_random, "count %ld kind %d base %llx offset %d %s", (long)a->count,
                   a->kind, (unsigned long long)a->base, offset, index ? "bf16" : "f32");
    /* One unit in the last place of the largest, which hardly any number needs: see random.h. */
    c->tolerance = 1.2e-7f;
    mgk_case_out(c, &a->y, a->count);
    if (offset)
        mgk_case_add(c, &a->offset, MGK_CASE_IN, MGK_FILL_IDS, MGK_U64, 1, 1000, 1);
    return true;
}
