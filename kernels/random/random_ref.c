/* SPDX-License-Identifier: MIT
 * Random numbers of a stream, in blocks. */
#include "kernels/random/random.h"
#include "core/philox.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"

#include <math.h>

bool mgk_random_check(const void *args, const char **why)
{
    const mgk_random_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(a->kind >= MGK_RANDOM_NORMAL && a->kind <= MGK_RANDOM_LOGIT_NORMAL, "unknown kind");
    MGK_RULE(mgk_is_f32_of(a->y, a->count), "y: f32");
    MGK_RULE(!a->offset.p || a->offset.dtype == MGK_U64, "offset: u64");
    return true;
}

size_t mgk_random_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

static void random_block(void *arg, int64_t block, int thread)
{
    const mgk_random_args *a = arg;
    (void)thread;
    uint64_t base = a->base + (a->offset.p ? *(const uint64_t *)a->offset.p : 0);
    int64_t end = mgk_min(a->count, (block + 1) * MGK_BLOCK_ELEMENTS);
    for (int64_t i = block * MGK_BLOCK_ELEMENTS; i < end; i++) {
        uint64_t index = base + (uint64_t)i;
        double v = a->kind == MGK_RANDOM_UNIFORM ? mgi_random_unit(a->seed, a->stream, index)
                                                 : mgi_random_normal(a->seed, a->stream, index);
        v = (double)a->alpha * v + a->beta;
        MGK_F(a->y)[i] = (float)(a->kind == MGK_RANDOM_LOGIT_NORMAL ? 1 / (1 + exp(-v)) : v);
    }
}

void mgk_random_ref(const void *args, mgk_exec *x)
{
    const mgk_random_args *a = args;
    mgk_for(x, mgk_div_up(a->count, MGK_BLOCK_ELEMENTS), 16 * a->count, random_block, (void *)args);
}
