/* SPDX-License-Identifier: MIT */
#include "api/args.h"

static mgen_status not_yet(mgen_context *ctx)
{
    return mgi_fail(ctx, MGEN_E_UNSUPPORTED, "datasets are not in this build");
}

mgen_status mgen_dataset_toybox(mgen_context *ctx, uint64_t seed, mgen_dataset **out)
{
    (void)seed;
    *out = NULL;
    return not_yet(ctx);
}

mgen_status mgen_dataset_create(mgen_context *ctx, const mgen_dataset_params *params,
                                mgen_dataset **out)
{
    (void)params;
    *out = NULL;
    return not_yet(ctx);
}

mgen_status mgen_dataset_open(mgen_context *ctx, const char *dir, const mgen_dataset_params *params,
                              mgen_dataset **out)
{
    (void)dir;
    return mgen_dataset_create(ctx, params, out);
}

mgen_dataset *mgen_dataset_retain(mgen_dataset *dataset)
{
    return dataset;
}

void mgen_dataset_release(mgen_dataset *dataset)
{
    (void)dataset;
}

uint64_t mgen_dataset_count(const mgen_dataset *dataset)
{
    (void)dataset;
    return 0;
}

mgen_status mgen_dataset_read(mgen_context *ctx, mgen_dataset *dataset, uint64_t index,
                              char *caption, uint64_t caption_size, mgen_clip **out)
{
    (void)dataset;
    (void)index;
    (void)caption;
    (void)caption_size;
    *out = NULL;
    return not_yet(ctx);
}
