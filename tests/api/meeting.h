/* SPDX-License-Identifier: MIT
 * Ranks as a host makes them that has them all in one process, here in threads of a test. */
#ifndef TESTS_API_MEETING_H
#define TESTS_API_MEETING_H

#include "../unit/run_threads.h"
#include "tiny.h"

/* What the struct of each rank begins with, as "at". */
typedef struct seat {
    mgen_ranks *ranks; /* NULL: it is alone */
    uint32_t index;
} seat;

/* All ranks at once, to their ends. */
#define MEET(body, structs, count, patience_ms)                                                    \
    do {                                                                                           \
        _Static_assert(offsetof(__typeof__(*(structs)), at) == 0, "it begins with its seat");      \
        meet_(body, structs, sizeof *(structs), count, patience_ms);                               \
    } while (0)

SHARED void meet_(void *(*body)(void *), void *structs, size_t size, uint32_t count,
                  int64_t patience_ms)
{
    mgen_ranks *ranks = NULL;
    mgen_context *ctx = make_context(1);
    if (count > 1)
        assert_int_equal(mgen_ranks_create(ctx, count, patience_ms, &ranks), MGEN_OK);
    mgen_context_destroy(ctx);
    for (uint32_t i = 0; i < count; i++)
        *(seat *)((char *)structs + i * size) = (seat){ranks, i};
    run_threads(body, structs, size, (int)count);
    mgen_ranks_destroy(ranks);
}

/* Not of a rank that is alone: it has no mesh. */
SHARED mgen_status take_seat(mgen_context *ctx, const seat *at, const char *axes, mgen_mesh **mesh)
{
    mgen_mesh_params p = MGEN_MESH_PARAMS_INIT;
    p.ranks = at->ranks;
    p.rank = at->index;
    p.axes = axes;
    return at->ranks ? mgen_mesh_create(ctx, &p, mesh) : MGEN_OK;
}

#endif
