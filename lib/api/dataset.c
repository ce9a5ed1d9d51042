/* SPDX-License-Identifier: MIT
 * Datasets: captioned clips by number. */
#include "api/args.h"

#include "data/dataset.h"

#include <stddef.h>
#include <stdio.h>

mgen_status mgen_dataset_toybox(mgen_context *ctx, uint64_t seed, mgen_dataset **out)
{
    MGI_OUT(ctx, out);
    return mgi_dataset_world(ctx, seed, &(mgi_world_options){0}, out);
}

mgen_status mgen_dataset_create(mgen_context *ctx, const mgen_dataset_params *params,
                                mgen_dataset **out)
{
    mgen_dataset_params p;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_struct_in(ctx, &p, sizeof p, offsetof(mgen_dataset_params, fps), params,
                          "dataset params"));
    return mgi_dataset_host(ctx, &p, out);
}

mgen_status mgen_dataset_open(mgen_context *ctx, const char *dir, const mgen_dataset_params *params,
                              mgen_dataset **out)
{
    mgen_dataset_params p;
    mgi_message before;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_check_text(ctx, dir, "the folder", MGI_PATH_MAX - MGI_NAME_MAX - 1));
    MGI_TRY(mgi_struct_in(ctx, &p, sizeof p, offsetof(mgen_dataset_params, fps), params,
                          "dataset params"));
    mgi_quiet_begin(ctx, &before);
    return mgi_quiet_told(ctx, &before, mgi_dataset_folder(ctx, dir, &p, out));
}

mgen_dataset *mgen_dataset_retain(mgen_dataset *dataset)
{
    return dataset ? mgi_dataset_retain(dataset) : NULL;
}

void mgen_dataset_release(mgen_dataset *dataset)
{
    mgi_dataset_release(dataset);
}

uint64_t mgen_dataset_count(const mgen_dataset *dataset)
{
    return dataset ? dataset->count : 0;
}

mgen_status mgen_dataset_read(mgen_context *ctx, mgen_dataset *dataset, uint64_t index,
                              char *caption, uint64_t caption_size, mgen_clip **out)
{
    char text[MGI_CAPTION_SIZE];
    mgi_message before;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    if (!dataset || (caption && !caption_size))
        return mgi_fail(ctx, MGEN_E_INVALID, "the dataset is NULL, or caption_size is 0");
    MGI_TRY(mgi_clip_make(ctx, dataset->width, dataset->height, dataset->frames,
                          (uint32_t)dataset->fps, 1, out));
    mgi_quiet_begin(ctx, &before);
    mgen_status status =
        mgi_quiet_told(ctx, &before, mgi_dataset_sample(ctx, dataset, index, (*out)->pixels, text));
    if (status != MGEN_OK) {
        mgen_clip_destroy(*out);
        *out = NULL;
    } else if (caption) {
        snprintf(caption, caption_size, "%s", text);
    }
    return status;
}
