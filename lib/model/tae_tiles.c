/* SPDX-License-Identifier: MIT */
#include "model/tae_tiles.h"

#include "model/tae_spatial.h"

#include "kernels/pointwise/pointwise.h"

void mgi_tae_stream_tile(mgi_tae_stream *s, int64_t frames, int64_t overlap)
{
    int64_t each = mgi_tae_time_factor(&s->tae->config);
    bool encodes = s->direction == MGI_TAE_ENCODES;
    s->tile = encodes ? frames : frames / each;
    s->tile_step = encodes ? frames : (frames - overlap) / each;
    s->fade = encodes ? 0 : overlap;
}

/* Frames in which the last tile ends, faded into those in which y begins: the share of the later tile rises
 * from 0 by equal steps that would reach 1 where the earlier one has ended. */
static void fade(mgi_tae_stream *s, T *y)
{
    mgi_run *run = s->run;
    T *before = mgi_tae_recall(run, &s->faded);
    for (int64_t j = 0; before && y && j < s->fade; j++) {
        float share = (float)j / (float)s->fade;
        T *a = mgi_tae_frames(run, before, j, 1), *b = mgi_tae_frames(run, y, j, 1);
        mgk_pointwise_args args = {
            .x = mgi_buf(a), .y = mgi_buf(b), .count = b ? b->count : 0, .alpha = 1.0f - share};
        args.beta = share;
        if (a && b)
            mgi_run_launch(run, MGK_OP_axpby, &args);
    }
}

static void run_tile(mgi_tae_stream *s, T *x, bool last)
{
    mgi_run *run = s->run;
    int64_t mark = mgi_scope_push(run);
    T *y =
        x ? mgi_reshape(run, x, MGI_DIMS(1, x->dims[0], x->dims[1], x->dims[2], x->dims[3])) : NULL;
    if (s->space_tile)
        y = mgi_tae_in_space(run, s->tae, s->direction, y, s->space_tile);
    else
        y = s->direction == MGI_TAE_ENCODES ? mgi_tae_encode(run, s->tae, y)
                                            : mgi_tae_decode(run, s->tae, y);
    if (y)
        y = mgi_reshape(run, y, MGI_DIMS(y->dims[1], y->dims[2], y->dims[3], y->dims[4]));
    if (y) {
        int64_t ready = y->dims[0] - (last ? 0 : s->fade);
        fade(s, y);
        if (!last)
            mgi_tae_keep(run, &s->faded, y, ready);
        mgi_tae_emit(s, mgi_tae_frames(run, y, 0, ready));
    }
    mgi_scope_pop(run, mark, NULL);
}

/* The last tile is what is left when it ends the film; all others are followed by something. */
void mgi_tae_tiles_push(mgi_tae_stream *s, T *x, bool last)
{
    mgi_run *run = s->run;
    int64_t mark = mgi_scope_push(run), at = 0;
    T *all = mgi_tae_joined(run, mgi_tae_recall(run, &s->kept), x);
    int64_t count = all ? all->dims[0] : 0;
    for (; count - at > s->tile && run->status == MGEN_OK; at += s->tile_step)
        run_tile(s, mgi_tae_frames(run, all, at, s->tile), false);
    if (last)
        run_tile(s, mgi_tae_frames(run, all, at, count - at), true);
    else
        mgi_tae_keep(run, &s->kept, all, at);
    mgi_scope_pop(run, mark, NULL);
}
