/* SPDX-License-Identifier: MIT
 * A context without a device for a program's tests, and calls on it that must go right. */
#ifndef TESTS_UNIT_ONE_CONTEXT_H
#define TESTS_UNIT_ONE_CONTEXT_H

#include "core/context.h"
#include "ok.h"

static mgen_context *ctx;

static int setup(void **state)
{
    (void)state;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 2;
    return mgi_context_init(&ctx, &params) == MGEN_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    return 0;
}

#endif
