/* SPDX-License-Identifier: MIT
 * A folder, and a context with a device, that last as long as a group of tests. */
#ifndef TESTS_UNIT_FOLDER_CONTEXT_H
#define TESTS_UNIT_FOLDER_CONTEXT_H

#include "core/context.h"
#include "tensor/device.h"
#include "test_folder.h"

static mgen_context *ctx;

static int make_folder_context(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    return make_folder(state) || mgi_context_init(&ctx, &params) != MGEN_OK ||
           mgi_device_create(ctx, NULL) != MGEN_OK;
}

static int remove_folder_context(void **state)
{
    mgi_context_free(ctx);
    return remove_folder(state);
}

#endif
