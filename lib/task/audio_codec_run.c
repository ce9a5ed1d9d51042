/* SPDX-License-Identifier: MIT */
#include "task/audio_codec_run.h"

#include "core/alloc.h"

#include <string.h>

/* Samples of a piece; and its latents, at the least and at the most. */
enum { PIECE_SAMPLES = 92160, PIECE_LEAST = 48, PIECE_MOST = 192 };

static int64_t piece_length(const mgi_audio_codec *codec)
{
    const int64_t fits = PIECE_SAMPLES / mgi_audio_codec_hop(&codec->config);
    return fits < PIECE_LEAST ? PIECE_LEAST : fits > PIECE_MOST ? PIECE_MOST : fits;
}

/* Latents first .. first + count - 1 of `all`, and what the network looks at around them. */
typedef struct piece {
    int64_t first, count, begin, end;
} piece;

static piece piece_at(int64_t first, int64_t length, int64_t all, int64_t reach)
{
    int64_t count = all - first < length ? all - first : length, end = first + count + reach;
    return (piece){first, count, first < reach ? 0 : first - reach, end < all ? end : all};
}

int64_t mgi_audio_frames(const mgi_audio_codec *codec, int64_t samples)
{
    const int64_t hop = mgi_audio_codec_hop(&codec->config);
    return samples / hop + (samples % hop != 0);
}

int64_t mgi_audio_pieces(const mgi_audio_codec *codec, int64_t frames)
{
    const int64_t length = piece_length(codec);
    return (frames + length - 1) / length;
}

/* -- encoding ----------------------------------------------------------------------------------- */

typedef struct encoding {
    const mgi_audio_codec *codec;
    int64_t samples;
    mgi_sound_source *source;
    void *user;
    float *latents;
} encoding;

/* Samples of a piece; what lies behind the last one is silence. */
static T *read_piece(mgi_run *run, const encoding *e, const piece *p)
{
    const int64_t hop = mgi_audio_codec_hop(&e->codec->config), first = p->begin * hop,
                  count = (p->end - p->begin) * hop, there = e->samples - first;
    T *x = mgi_new(run, MGK_F32, MGI_DIMS(1, count, 1));
    float *values;
    if (!x || !mgi_ok(run, mgi_alloc_zero(run->ctx, (size_t)count, sizeof *values, &values)))
        return NULL;
    if (!run->dev->meta && /* which counts the memory */
        mgi_ok(run, e->source(e->user, first, there < count ? there : count, values)))
        mgi_tensor_write(x, 0, values, count);
    mgi_free(run->ctx, values);
    return run->status == MGEN_OK ? x : NULL;
}

static void encode_piece(mgi_run *run, const encoding *e, const piece *p)
{
    const int64_t c = e->codec->config.latent_channels;
    T *h = mgi_audio_codec_encode(run, e->codec, read_piece(run, e, p));
    if (h)
        h = mgi_slice(run, h, 1, p->first - p->begin, p->count);
    T *z = mgi_posterior(run, h, NULL, 0.0f, NULL);
    if (z && !run->dev->meta)
        mgi_ok(run, mgi_audio_codec_normalised(e->codec, z, e->latents + p->first * c));
}

mgen_status mgi_audio_encode_sound(mgen_context *ctx, const mgi_audio_codec *codec, int64_t samples,
                                   mgi_sound_source *source, void *user, float *latents)
{
    const encoding e = {codec, samples, source, user, latents};
    const int64_t frames = mgi_audio_frames(codec, samples), length = piece_length(codec),
                  reach = mgi_audio_codec_reach(&codec->config, true);
    mgi_run run;
    if (samples < 1)
        return mgi_fail(ctx, MGEN_E_INVALID, "a sound of %lld samples cannot be encoded",
                        (long long)samples);
    mgi_run_init(&run, ctx, false);
    for (int64_t at = 0; at < frames && run.status == MGEN_OK; at += length) {
        int64_t mark = mgi_scope_push(&run);
        const piece p = piece_at(at, length, frames, reach);
        encode_piece(&run, &e, &p);
        mgi_scope_pop(&run, mark, NULL);
    }
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

/* -- decoding ----------------------------------------------------------------------------------- */

/* On the meta device the memory is counted. */
static mgen_status give(mgi_run *run, T *x, int64_t first, mgi_sound_sink *sink, void *user)
{
    float *values;
    MGI_TRY(mgi_alloc(run->ctx, (size_t)x->count * sizeof *values, &values));
    mgen_status status = MGEN_OK;
    if (!run->dev->meta) {
        mgi_tensor_read(x, 0, values, x->count);
        status = mgi_device_wait(run->dev);
        if (status == MGEN_OK)
            status = sink(user, first, x->count, values);
    }
    mgi_free(run->ctx, values);
    return status;
}

static void decode_piece(mgi_run *run, const mgi_audio_codec *codec, const float *latents,
                         const piece *p, mgi_sound_sink *sink, void *user)
{
    const int64_t c = codec->config.latent_channels, hop = mgi_audio_codec_hop(&codec->config);
    const float *from = run->dev->meta ? NULL : latents + p->begin * c;
    T *z = mgi_audio_codec_latents(run, codec, from, p->end - p->begin);
    T *x = mgi_audio_codec_decode_part(run, codec, z, p->first - p->begin, p->count);
    if (x)
        mgi_ok(run, give(run, x, p->first * hop, sink, user));
}

mgen_status mgi_audio_decode_sound(mgen_context *ctx, const mgi_audio_codec *codec,
                                   const float *latents, int64_t frames, mgi_sound_sink *sink,
                                   void *user)
{
    const int64_t length = piece_length(codec),
                  reach = mgi_audio_codec_reach(&codec->config, false);
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    for (int64_t at = 0; at < frames && run.status == MGEN_OK; at += length) {
        int64_t mark = mgi_scope_push(&run);
        const piece p = piece_at(at, length, frames, reach);
        decode_piece(&run, codec, latents, &p, sink, user);
        mgi_scope_pop(&run, mark, NULL);
    }
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}
