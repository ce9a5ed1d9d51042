/* SPDX-License-Identifier: MIT */
#include "eval/films.h"

mgi_generate_request mgi_eval_asks(const mgi_eval_request *r, const char *const *prompts,
                                   const uint64_t *seeds, int64_t count)
{
    return (mgi_generate_request){.prompts = prompts,
                                  .count = count,
                                  .seeds = seeds,
                                  .steps = r->steps,
                                  .guidance = r->guidance,
                                  .noise_scale = r->noise_scale,
                                  .schedule = r->schedule,
                                  .solver = r->solver,
                                  .guidance_from = r->guidance_from,
                                  .guidance_to = r->guidance_to,
                                  .drop_text = r->drop_text};
}

mgen_status mgi_eval_generate(mgen_context *ctx, const mgi_networks *n, const mgi_eval_request *r,
                              const char *const *prompts, const mgi_photo *photos, int64_t first,
                              int64_t count, uint8_t *pixels)
{
    uint64_t seeds[MGI_EVAL_BATCH];
    mgi_film_bytes film = {.out = pixels, .height = n->clip.height, .width = n->clip.width};
    for (int64_t i = 0; i < count; i++)
        seeds[i] = r->seed + (uint64_t)(first + i);
    mgi_generate_request g = mgi_eval_asks(r, prompts, seeds, count);
    g.photos = photos;
    g.sink = mgi_film_take;
    g.user = &film;
    return mgi_generate(ctx, n, &g);
}

mgen_status mgi_eval_reconstruct(mgen_context *ctx, const mgi_tae *tae, int64_t frames,
                                 int64_t height, int64_t width, const uint8_t *in, uint8_t *out)
{
    const int64_t film[3] = {frames, height, width};
    return mgi_recode_film(ctx, tae, film, in, out);
}
