/* SPDX-License-Identifier: MIT
 * What a personalizer's stage shows beside a text: photos of whom a clip is of, drawn anew each time that it is taken. The
 * report's two kinds: paired ones are of the film itself, cross-paired ones other pictures of the same person. A folder's are
 * what its files show. */
#include "core/alloc.h"
#include "core/philox.h"
#include "train/video_stage.h"

enum { PAIRED, CROSS };

static int64_t side_of(const struct mgi_stage_run *r)
{
    return r->vision.config.image;
}

static int64_t bytes_of(const struct mgi_stage_run *r)
{
    return side_of(r) * side_of(r) * 3;
}

mgen_status mgi_photos_check(const struct mgi_stage_run *r)
{
    if (!mgi_dataset_has_photos(r->dataset))
        return mgi_fail(r->ctx, MGEN_E_INVALID,
                        "stage \"%s\" needs photos of who is in its clips, and the dataset has "
                        "none; the toybox's world has where \"world\" has \"people\": 1, and "
                        "folders have with pictures beside films (clip.face.png)",
                        r->stage.name);
    mgen_status status = mgi_dataset_check_photos(r->ctx, r->dataset);
    return status == MGEN_OK ? status
                             : mgi_fail_context(r->ctx, status, "stage \"%s\"", r->stage.name);
}

mgen_status mgi_photos_alloc(struct mgi_stage_run *r, size_t rows)
{
    MGI_TRY(mgi_alloc_zero(r->ctx, rows, (size_t)bytes_of(r), &r->photos));
    return mgi_alloc_zero(r->ctx, rows, sizeof *r->references, &r->references);
}

static void see(struct mgi_stage_run *r, int64_t i, mgen_status status)
{
    r->references[i] = mgi_clip_vision_token_count(&r->vision.config);
    if (status != MGEN_OK)
        r->failed = status;
}

void mgi_photos_take(struct mgi_stage_run *r, const mgi_bucket_data *b, int64_t clip, int64_t i,
                     const uint32_t pick[2])
{
    const double *share = r->stage.photos;
    const bool cross =
        (double)mgi_u32_to_unit(pick[1]) * (share[PAIRED] + share[CROSS]) >= share[PAIRED];
    const uint64_t index = mgi_dataset_element(b->dataset, r->seed, b->first + (uint64_t)clip);
    see(r, i,
        mgi_dataset_photo(r->ctx, b->dataset, index, pick[0], cross, side_of(r),
                          r->photos + i * bytes_of(r)));
}

void mgi_photos_hold(struct mgi_stage_run *r, const mgi_bucket_data *b, int64_t held, int64_t i)
{
    see(r, i,
        mgi_dataset_held_photo(r->ctx, b->dataset, held, 0, r->stage.photos[CROSS] > 0.0,
                               side_of(r), r->photos + i * bytes_of(r)));
}

T *mgi_photos_write(mgi_run *run, struct mgi_stage_run *r, int64_t rows)
{
    T *x = mgi_new(run, MGK_U8, MGI_DIMS(rows, side_of(r), side_of(r), 3));
    if (!x)
        return NULL;
    mgi_tensor_write(x, 0, r->photos, x->count);
    return mgi_clip_vision_frames(run, &r->vision, x);
}
