/* SPDX-License-Identifier: MIT
 * What tests of networks begin with. */
#ifndef TESTS_UNIT_NETWORKS_H
#define TESTS_UNIT_NETWORKS_H

#include "core/philox.h"
#include "nn/module.h"
#include "random_values.h"

static inline mgen_context *make_context(void)
{
    mgen_context *ctx;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 2;
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    return ctx;
}

static inline T *random_tensor(mgi_run *run, uint64_t stream, int rank, const int64_t *dims)
{
    T *t = mgi_new(run, MGK_F32, rank, dims);
    assert_non_null(t);
    for (int64_t i = 0; i < t->count; i++)
        mgi_f32(t)[i] = 0.5f * mgi_random_normal(3, stream, (uint64_t)i);
    return t;
}

#endif
