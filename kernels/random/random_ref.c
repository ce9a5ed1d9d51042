/* SPDX-License-Identifier: MIT
 * Random numbers of a stream, in blocks. */
#include "kernels/random/random.h"
#include "core/philox.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"

#include <math.h>
#include <string.h>

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

/* The four elements of one counter: mgi_random_normal or mgi_random_unit of each, with the common
 * work done once. */
static void four_numbers(const mgk_random_args *a, uint64_t counter, float out[4])
{
    uint32_t r[4];
    mgi_philox(a->seed, a->stream, counter, r);
    if (a->kind == MGK_RANDOM_UNIFORM) {
        for (int i = 0; i < 4; i++)
            out[i] = mgi_u32_to_unit(r[i]);
        return;
    }
    for (int i = 0; i < 4; i += 2) {
        double radius = sqrt(-2.0 * log((double)mgi_u32_to_unit(r[i])));
        double angle = 6.283185307179586476925 * (double)mgi_u32_to_unit(r[i + 1]);
        out[i] = (float)(radius * cos(angle));
        out[i + 1] = (float)(radius * sin(angle));
    }
}

static void random_block(void *arg, int64_t block, int thread)
{
    const mgk_random_args *a = arg;
    (void)thread;
    uint64_t offset = 0;
    if (a->offset.p)
        memcpy(&offset, a->offset.p, sizeof offset);
    int64_t i = block * MGK_BLOCK_ELEMENTS, end = mgk_min(a->count, i + MGK_BLOCK_ELEMENTS);
    for (uint64_t index = a->base + offset + (uint64_t)i; i < end;) {
        float four[4];
        four_numbers(a, index >> 2, four);
        do {
            double v = (double)a->alpha * four[index & 3] + a->beta;
            MGK_F(a->y)[i++] = (float)(a->kind == MGK_RANDOM_LOGIT_NORMAL ? 1 / (1 + exp(-v)) : v);
            index++;
        } while (i < end && (index & 3));
    }
}

void mgk_random_ref(const void *args, mgk_exec *x)
{
    const mgk_random_args *a = args;
    mgk_for(x, mgk_div_up(a->count, MGK_BLOCK_ELEMENTS), 16 * a->count, random_block, (void *)args);
}
