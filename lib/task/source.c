/* SPDX-License-Identifier: MIT */
#include "task/source.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "task/ranks.h"

#include <string.h>

static int64_t round_up(int64_t size, int64_t to)
{
    return (size + to - 1) / to * to;
}

void mgi_source_sides(const mgi_networks *n, int64_t *width, int64_t *height)
{
    const mgi_vt_config *v = &n->video->config;
    int64_t f = mgi_tae_factor(&n->tae->config);
    *width = round_up(*width, f * v->patch_w);
    *height = round_up(*height, f * v->patch_h);
}

/* -- what is seen ------------------------------------------------------------------------------- */

/* A source, and the sides to which it is extended. */
typedef struct extended {
    const mgi_generate_request *r;
    int64_t width, height;
    mgen_context *
        ctx; /* where it is said that the film, seen frame by frame, is not to be seen any further */
} extended;

/* The rows that came, each behind its place in the longer ones, last first. */
static void spread_rows(float *rgb, int64_t from_width, int64_t rows, int64_t width)
{
    for (int64_t y = rows - 1; y >= 0 && width > from_width; y--) {
        float *row = rgb + y * width * 3;
        memmove(row, rgb + y * from_width * 3, (size_t)from_width * 3 * sizeof *row);
        for (int64_t x = from_width; x < width; x++)
            memcpy(row + x * 3, row + (from_width - 1) * 3, 3 * sizeof *row);
    }
}

static mgen_status read_extended(void *user, int64_t first, int64_t count, float *rgb)
{
    const extended *e = user;
    int64_t row = e->width * 3;
    for (int64_t i = 0; i < count; i++, rgb += e->height * row) {
        MGI_TRY(e->r->source(e->r->user, first + i, 1, rgb));
        spread_rows(rgb, e->r->width, e->r->height, e->width);
        for (int64_t y = e->r->height; y < e->height; y++)
            memcpy(rgb + y * row, rgb + (e->r->height - 1) * row, (size_t)row * sizeof *rgb);
    }
    return MGEN_OK;
}

static mgen_status read_asking(void *user, int64_t first, int64_t count, float *rgb)
{
    const extended *e = user;
    if (e->r->stop && e->r->stop(e->r->user))
        return mgi_fail(e->ctx, MGEN_E_CANCELLED, "cancelled before frame %lld was seen",
                        (long long)first);
    return read_extended(user, first, count, rgb);
}

/* As a whole: to its latents, the last of which fill a patch. Over a mesh the ranks share this work, and then have the
 * same latents, to the bit, even if their processors round differently: each part comes from one of them. */
static mgen_status encode_film(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r,
                               bool black, int64_t frames, const int64_t dims[5], float *latents)
{
    const int64_t f = mgi_tae_factor(&n->tae->config), each = dims[2] * dims[3] * dims[4];
    const int64_t film[3] = {frames, dims[2] * f, dims[3] * f};
    mgi_comm *ranks = mgi_ranks_of(n->video->mesh);
    extended e = {r, film[2], film[1], run->ctx};
    mgi_film_bytes size = {.height = film[1], .width = film[2]};
    mgi_frames_source *source = black ? mgi_film_black : read_extended;
    void *from = black ? (void *)&size : &e;
    mgen_status status = MGEN_OK;
    if (!run->dev->meta && r->stop && r->stop(r->user))
        status = mgi_fail(run->ctx, MGEN_E_CANCELLED, "cancelled before the film was seen");
    MGI_TRY(mgi_comm_together_in(run->ctx, ranks, status, NULL));
    MGI_TRY(ranks ? mgi_encode_ranks(run->ctx, ranks, n->tae, film, r->tile, source, from, latents)
                  : mgi_encode_film(run->ctx, n->tae, film, r->tile, source, from, latents));
    for (int64_t i = mgi_networks_latents(n, frames); i < dims[1]; i++)
        memcpy(latents + i * each, latents + (i - 1) * each, (size_t)each * sizeof *latents);
    return MGEN_OK;
}

/* Likewise. */
static mgen_status encode_frames(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r,
                                 const int64_t dims[5], float *latents)
{
    const int64_t f = mgi_tae_factor(&n->tae->config);
    const int64_t film[3] = {dims[1], dims[2] * f, dims[3] * f};
    mgi_comm *ranks = mgi_ranks_of(n->video->mesh);
    extended e = {r, film[2], film[1], run->ctx};
    return ranks ? mgi_encode_each_ranks(run->ctx, ranks, n->tae, film, r->tile, read_asking, &e,
                                         latents)
                 : mgi_encode_each(run->ctx, n->tae, film, r->tile, read_asking, &e, 0, film[0],
                                   latents);
}

static T *see(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r, bool black,
              int64_t frames, const int64_t dims[5])
{
    T *seen = NULL;
    float *latents = NULL;
    const int64_t count = dims[1] * dims[2] * dims[3] * dims[4];
    mgen_status status = run->status;
    if (status == MGEN_OK)
        status = mgi_alloc_zero(run->ctx, (size_t)count, sizeof *latents, &latents);
    status = mgi_comm_together_in(run->ctx, mgi_ranks_of(n->video->mesh), status, NULL);
    if (mgi_ok(run, status) &&
        mgi_ok(run, n->upsampler ? encode_frames(run, n, r, dims, latents)
                                 : encode_film(run, n, r, black, frames, dims, latents))) {
        mgi_device_trim(run->dev); /* the encoder's tensors have other sizes than the sampler's */
        seen = mgi_new(run, MGK_F32, 5, dims);
    }
    if (seen)
        mgi_tensor_write(seen, 0, latents, count);
    mgi_ok(run, mgi_device_wait(run->dev));
    mgi_free(run->ctx, latents);
    return seen;
}

T *mgi_source_see(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r,
                  int64_t frames, const int64_t dims[5])
{
    return see(run, n, r, false, frames, dims);
}

T *mgi_source_black(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r,
                    int64_t frames, const int64_t dims[5])
{
    return see(run, n, r, true, frames, dims);
}

/* -- what is shown ------------------------------------------------------------------------------ */

/* Those of the box's pixels that the request has, moved together where they are: a copy would be memory that the estimate, for
 * which nothing is shown, does not see. */
static mgen_status show_part(void *user, const mgi_frames_box *box, float *rgb)
{
    const mgi_generate_request *r = user;
    mgi_frames_box part = *box;
    part.height = r->height - box->top < box->height ? r->height - box->top : box->height;
    part.width = r->width - box->left < box->width ? r->width - box->left : box->width;
    if (part.height < 1 || part.width < 1)
        return MGEN_OK;
    part.last = part.top + part.height == r->height && part.left + part.width == r->width;
    const int64_t rows = part.count * part.height, row = part.width * 3;
    for (int64_t i = 0; i < rows; i++) {
        int64_t from = i / part.height * box->height + i % part.height;
        memmove(rgb + i * row, rgb + from * box->width * 3, (size_t)row * sizeof *rgb);
    }
    return r->sink(r->user, &part, rgb);
}

static bool stops(void *user)
{
    const mgi_generate_request *r = user;
    return r->stop && r->stop(r->user);
}

void mgi_source_show(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r,
                     int64_t frames, T *z)
{
    mgi_comm *ranks = mgi_ranks_of(n->video->mesh);
    mgi_frames_sink *sink = r->sink ? show_part : NULL;
    void *user = (void *)r;
    if (run->status != MGEN_OK)
        return;
    if (n->upsampler && ranks)
        mgi_decode_each_ranks(run, ranks, n->tae, z, r->tile, sink, stops, user);
    else if (n->upsampler)
        mgi_decode_each(run, n->tae, z, 0, z->dims[1], r->tile, sink, user);
    else if (ranks)
        mgi_decode_ranks(run, ranks, n->tae, z, frames, 0, r->tile, sink, stops, user);
    else
        mgi_decode_run(run, n->tae, z, frames, 0, r->tile, sink, user);
}

/* -- what it is --------------------------------------------------------------------------------- */

mgen_status mgi_source_hash(mgen_context *ctx, const mgi_generate_request *r, int64_t frames,
                            uint64_t *hash)
{
    float *rgb;
    int64_t values;
    *hash = 0;
    if (!r->source)
        return MGEN_OK;
    if (!mgi_dims_count((int64_t[]){r->height, r->width, 3}, 3, &values))
        return mgi_fail(ctx, MGEN_E_NO_MEMORY, "a frame of the film is too large");
    MGI_TRY(mgi_alloc(ctx, (size_t)values * sizeof *rgb, &rgb));
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < frames && status == MGEN_OK; i++) {
        status = r->source(r->user, i, 1, rgb);
        if (status == MGEN_OK)
            *hash = mgi_hash_large(rgb, (size_t)values * sizeof *rgb, *hash);
    }
    mgi_free(ctx, rgb);
    return status;
}
