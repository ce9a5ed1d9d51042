/* SPDX-License-Identifier: MIT
 * Text to video: prompt, text encoder, flow, video transformer, TAE, frames. Tier 7. */
#ifndef MGI_TASK_GENERATE_H
#define MGI_TASK_GENERATE_H

#include "flow/schedule.h"
#include "flow/solver.h"
#include "task/codec.h"
#include "task/photo.h"
#include "task/pipeline.h"

typedef struct mgi_generate_request {
    const char *const *prompts; /* checked UTF-8, one a clip */
    const char *const
        *negatives;        /* what guidance leads away from; NULL, or an entry NULL: nothing */
    int64_t count;         /* clips made together, a batch: memory grows with it */
    const uint64_t *seeds; /* one a clip */
    int steps;
    float guidance;                   /* 1: none; 0: the model's */
    float noise_scale;                /* deviation of the noise; 0: the model's */
    int schedule;                     /* MGI_SCHEDULE_* */
    int solver;                       /* MGI_SOLVER_* */
    float guidance_from, guidance_to; /* times of the flow with guidance; to = 0: 1 */
    int64_t width, height, frames;    /* 0: the model's own */
    uint32_t drop_text;               /* bit i: the stream of role i is left out; one stays */
    /* An upsampler's or an editor's: the film in the clip's size. Of a model that sees none: where the flow begins (SDEdit). */
    mgi_frames_source *source;
    int task;                /* MGI_EDIT_*, an editor's */
    const mgi_photo *photos; /* a personalizer's: one a clip; NULL: none */
    float source_guidance;   /* towards the film or the photos; 1: none; 0: as is configured */
    float
        skip; /* with a source that the model does not see: share of the steps that are left out, 0 < skip < 1 */
    int64_t tile; /* pixels: larger frames are decoded in tiles; 0: as the TAE is configured */
    /* All of these may be NULL. true asks to stop: CANCELLED. On a mesh any rank may ask. */
    bool (*progress)(void *user, int done, int total); /* after each step, and attempt */
    /* After each step (taken, not refused), before progress: the clip that the flow now leads to, as normalised latents of
     * dims (frames, rows, columns, channels); of the first clip. */
    bool (*preview)(void *user, int done, const float *latents, const int64_t dims[4]);
    bool (*stop)(
        void *
            user); /* between frames of the source; on a mesh, between pieces of what a rank decodes */
    float *latents; /* NULL, or room for those of all clips, normalised, before they are decoded */
    /* The frames, or tiles of them, as soon as they are decoded; those of the second clip follow on those of the first. */
    mgi_frames_sink *sink;
    void *user;
} mgi_generate_request;

/* A clip longer than the model's own is made in overlapping windows of that length, whose velocities are
 * blended at every step. Only its latents grow with its length. UNSUPPORTED, with what is possible, for
 * sizes that the model cannot make; CANCELLED; NUMERIC if the latents are not finite; the sink's status. */
/* Where the video model is split over a mesh, all its ranks call this with the same request (DESYNC if it differs), but
 * for the callbacks: preview and sink are called on rank 0 alone, progress and stop on every rank. The ranks of one
 * sample share the work of the model as it is split; those along dp share the clips, windows and, of guidance, what
 * leads to the prompt and what leads away; all of them share the frames to decode. A rank's failure is told by all.
 * CANCELLED comes at the same step everywhere, and the ranks can go on; so they can after what failed before
 * the first step or between steps. What fails on one rank inside a step aborts the communicators: PEER_LOST on the
 * others, as where a rank is lost. */
mgen_status mgi_generate(mgen_context *ctx, const mgi_networks *n,
                         const mgi_generate_request *request);

/* Of the request's steps those that are taken: one at least. */
int mgi_generate_steps(const mgi_generate_request *request);

/* What a request needs beyond the weights: bytes at the most, on a context that keeps nothing from earlier work,
 * of the host and of a GPU; floating point operations of products, with DOPRI5 at the most too. On a mesh it is
 * this rank's, without the copies that a communicator for the host's memory makes of what a GPU has; text that comes from
 * another rank counts as 512 tokens. */
typedef struct mgi_generate_needs {
    uint64_t host_bytes, device_bytes;
    double flops;
} mgi_generate_needs;

/* Whether they are there: within the context's limits beside what is held now. What earlier work has left is given back
 * where that may help. */
bool mgi_fits_host(mgen_context *ctx, uint64_t bytes);
bool mgi_fits_device(mgen_context *ctx, uint64_t bytes);

/* Tiles to try for frames too large for a context's limit, each smaller than the one before: after `tile` (0: the first)
 * for frames of height x width; 0: no other. */
int64_t mgi_tile_after(const mgi_tae *tae, int64_t height, int64_t width, int64_t tile);
/* The tile, as mgi_encode_film() and mgi_decode_film() take it, with which the context's limits hold for a film of
 * frames, height, width; 0 also if none is enough. direction: MGI_TAE_ENCODES or _DECODES. */
mgen_status mgi_tae_tile(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                         int direction, int64_t *tile);

/* Found by running the same code on shapes alone, in milliseconds. The callbacks are not called. */
mgen_status mgi_generate_estimate(mgen_context *ctx, const mgi_networks *n,
                                  const mgi_generate_request *request, mgi_generate_needs *out);

#endif
