/* SPDX-License-Identifier: MIT */
#include "task/film_features.h"

#include "core/alloc.h"
#include "core/checked.h"

/* Frames at a time: enough for products of a useful size, as long as they are not large themselves. */
enum { FRAMES = 16, VALUES = 1 << 23 };

static int64_t piece_of(const int64_t film[3])
{
    int64_t frame = film[1] * film[2] * 3, fit = VALUES / frame,
            piece = fit < FRAMES ? fit : FRAMES;
    piece = piece > 1 ? piece : 1;
    return piece < film[0] ? piece : film[0];
}

static void put_piece(mgi_run *run, const mgi_clip_vision *clip, T *frames, float *out)
{
    T *y = mgi_clip_vision_forward(run, clip, mgi_clip_vision_frames(run, clip, frames));
    y = mgi_cast(run, y, MGK_F32);
    if (y && !run->dev->meta)
        mgi_tensor_read(y, 0, out, y->count);
}

mgen_status mgi_film_features(mgen_context *ctx, const mgi_clip_vision *clip, const int64_t film[3],
                              mgi_frames_source *source, void *user, float *features)
{
    int64_t width = mgi_clip_vision_width(&clip->config), count;
    float *rgb;
    mgi_run run;
    if (film[0] < 1 || film[1] < 1 || film[2] < 1 ||
        !mgi_dims_count((int64_t[]){film[1], film[2], 3 * sizeof(float)}, 3, &count) ||
        !mgi_dims_count((int64_t[]){film[0], width, sizeof(float)}, 3, &count))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "%lld frames of %lld x %lld have no features: there must be a frame, of a "
                        "size that can be held",
                        (long long)film[0], (long long)film[2], (long long)film[1]);
    int64_t piece = piece_of(film);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)(piece * film[1] * film[2]), 3 * sizeof *rgb, &rgb));
    mgi_run_init(&run, ctx, false);
    for (int64_t at = 0; at < film[0] && run.status == MGEN_OK; at += piece) {
        int64_t mark = mgi_scope_push(&run), n = film[0] - at < piece ? film[0] - at : piece;
        T *x = mgi_new(&run, MGK_F32, MGI_DIMS(n, film[1], film[2], 3));
        if (x && (run.dev->meta || mgi_ok(&run, source(user, at, n, rgb)))) {
            mgi_tensor_write(x, 0, rgb, x->count);
            put_piece(&run, clip, x, run.dev->meta ? NULL : features + at * width);
        }
        mgi_scope_pop(&run, mark, NULL);
    }
    mgen_status status = run.status;
    mgi_run_finish(&run);
    mgi_free(ctx, rgb);
    return status;
}
