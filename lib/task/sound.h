/* SPDX-License-Identifier: MIT
 * Sound for a film or of a caption alone, report section "Movie Gen Audio": caption, film, sound that is there already, flow,
 * audio model, codec, samples. Tier 7.
 *
 * Sounds longer than the model's window are made in overlapping windows: all at once, their velocities blended at every step
 * by triangles (multi-diffusion, the report's choice), or one after the other, each hearing the last of the one before and held
 * to the path that it took (context conditioning and trajectory regularisation). Only latents grow with the length. */
#ifndef MGI_TASK_SOUND_H
#define MGI_TASK_SOUND_H

#include "task/audio_codec_run.h"
#include "task/generate.h"

enum { MGI_SOUND_CANDIDATES = 64 };
enum { MGI_SOUND_BLENDED, MGI_SOUND_ONE_BY_ONE };

typedef struct mgi_sound_request {
    const char *caption;  /* the whole of it (text/audio_caption.h), checked UTF-8 */
    const char *negative; /* what guidance leads away from; NULL: nothing */
    uint64_t seed;
    int steps, schedule, solver; /* MGI_SCHEDULE_*, MGI_SOLVER_* */
    float guidance;              /* 1: none; 0: the model's */
    float noise_scale;           /* deviation of the noise; 0: the model's */
    int64_t samples;             /* that are made */
    mgi_frames_source *source;   /* the film that is heard; NULL: none */
    int64_t film[3];             /* its frames, height, width */
    double fps;                  /* of it */
    uint64_t film_hash; /* on a mesh: what stands for its pixels; 0: they are the first rank's */
    const float
        *before; /* samples that are heard before, of which the last are listened to; NULL: none */
    int64_t before_count;
    uint64_t before_hash; /* on a mesh: what stands for them, or for what they were made of */
    int extension; /* MGI_SOUND_*, of what is longer than a window; one by one not with DOPRI5 */
    int candidates; /* of which the one is taken that the model finds the best, of windows one by one each time; 0: 1 */
    /* After each step; all of these may be NULL. true asks to stop: CANCELLED. */
    bool (*progress)(void *user, int done, int total);
    bool (*stop)(void *user); /* on a mesh, on ranks but the first: between pieces of the samples */
    mgi_sound_sink *sink;     /* the samples, in order */
    void *user;
} mgi_sound_request;

/* Where the transformer is split over a mesh, all its ranks call this with the same request (DESYNC if it differs), but for the
 * callbacks: source and sink are called on rank 0 alone, which looks at the film and makes the samples. The rest is shared and ends as
 * in mgi_generate(), windows and what guidance leads away from along dp. A window whose latents cp x tp do not divide gets more
 * behind them, which nobody attends to; INVALID if the transformer takes no such length. */
/* UNSUPPORTED for a film that the model does not see; CANCELLED; NUMERIC; the source's and the sink's status. */
mgen_status mgi_sound_make(mgen_context *ctx, const mgi_audio *audio,
                           const mgi_sound_request *request);
/* Steps that `progress` is told. */
int mgi_sound_steps(const mgi_audio *audio, const mgi_sound_request *request);
/* As mgi_generate_estimate(). */
mgen_status mgi_sound_estimate(mgen_context *ctx, const mgi_audio *audio,
                               const mgi_sound_request *request, mgi_generate_needs *out);

/* Features (latents x width) at 1 / latents_rate seconds a latent, each of the nearest frame of the film; past its end of the
 * last one. */
void mgi_sound_nearest(const float *of_frames, int64_t frames, double fps, int64_t width,
                       int64_t latents, double latents_rate, float *out);

#endif
