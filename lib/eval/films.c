/* SPDX-License-Identifier: MIT */
#include "eval/films.h"

static mgen_status put_frames(const mgi_pixels *out, const mgi_frames_box *box, const float *rgb)
{
    const mgi_pixels p = mgi_pixels_part(out, box->top, box->left, box->height, box->width);
    for (int64_t i = 0; i < box->count; i++)
        mgi_pixels_put_floats(&p, box->first + i, rgb + i * box->height * box->width * 3);
    return MGEN_OK;
}

static mgen_status take_frames(void *user, const mgi_frames_box *box, const float *rgb)
{
    return put_frames(user, box, rgb);
}

mgi_pixels mgi_eval_pixels(int64_t frames, int64_t width, int64_t height, uint8_t *film)
{
    mgi_pixels p = {.format = MGI_PIXELS_RGB8, .width = width, .height = height, .frames = frames};
    mgi_pixels_pack(&p, film);
    return p;
}

mgen_status mgi_eval_give(void *user, int64_t first, int64_t count, float *rgb)
{
    const mgi_pixels *p = &((mgi_eval_passage *)user)->in;
    for (int64_t i = 0; i < count; i++)
        mgi_pixels_get_floats(p, first + i, rgb + i * p->height * p->width * 3);
    return MGEN_OK;
}

mgen_status mgi_eval_take(void *user, const mgi_frames_box *box, const float *rgb)
{
    return put_frames(&((mgi_eval_passage *)user)->out, box, rgb);
}

mgen_status mgi_eval_generate(mgen_context *ctx, const mgi_networks *n, const mgi_eval_request *r,
                              const char *const *prompts, int64_t first, int64_t count,
                              uint8_t *pixels)
{
    uint64_t seeds[MGI_EVAL_BATCH];
    mgi_pixels out = mgi_eval_pixels(count * n->clip.frames, n->clip.width, n->clip.height, pixels);
    for (int64_t i = 0; i < count; i++)
        seeds[i] = r->seed + (uint64_t)(first + i);
    const mgi_generate_request g = {.prompts = prompts,
                                    .count = count,
                                    .seeds = seeds,
                                    .steps = r->steps,
                                    .guidance = r->guidance,
                                    .schedule = r->schedule,
                                    .solver = r->solver,
                                    .guidance_from = r->guidance_from,
                                    .guidance_to = r->guidance_to,
                                    .drop_text = r->drop_text,
                                    .sink = take_frames,
                                    .user = &out};
    return mgi_generate(ctx, n, &g);
}

mgen_status mgi_eval_reconstruct(mgen_context *ctx, const mgi_tae *tae, int64_t frames,
                                 int64_t height, int64_t width, const uint8_t *in, uint8_t *out)
{
    const int64_t film[3] = {frames, height, width};
    return mgi_recode_film(ctx, tae, film, in, out);
}
