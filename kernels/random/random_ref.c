/* SPDX-License-Identifier: MIT
 * The definition of random. */
#include "kernels/random/random.h"
#include "core/philox.h"
#include "kernels/common/check.h"
#include "kernels/common/real.h"

#include <math.h>
#include <string.h>

bool mgk_random_check(const void *args, const char **why)
{
    const mgk_random_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(a->kind >= MGK_RANDOM_NORMAL && a->kind <= MGK_RANDOM_LOGIT_NORMAL, "unknown kind");
    MGK_RULE(mgk_is_real_of(a->y, a->count), "y: f32 or bf16");
    MGK_RULE(!a->offset.p || a->offset.dtype == MGK_U64, "offset: u64");
    return true;
}

size_t mgk_random_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

void mgk_random_ref(const void *args, mgk_exec *x)
{
    const mgk_random_args *a = args;
    uint64_t offset = 0;
    (void)x;
    if (a->offset.p)
        memcpy(&offset, a->offset.p, sizeof offset);
    for (int64_t i = 0; i < a->count; i++) {
        uint64_t index = a->base + offset + (uint64_t)i;
        double v = a->kind == MGK_RANDOM_UNIFORM ? mgi_random_unit(a->seed, a->stream, index)
                                                 : mgi_random_normal(a->seed, a->stream, index);
        v = a->alpha * v + a->beta;
        mgk_real_set(a->y, i, a->kind == MGK_RANDOM_LOGIT_NORMAL ? 1 / (1 + exp(-v)) : v);
    }
}
