/* SPDX-License-Identifier: MIT */
#include "eval/sound_eval.h"

#include "core/alloc.h"
#include "data/dataset.h"
#include "eval/sound_check.h"

#include <math.h>
#include <string.h>

enum {
    SIDE_MIN = 48, /* pixels, of what scenes are laid out for */
    SIDE_MAX = 1024,
    FRAMES_MAX = 4096,
    SIDE = 64 /* where the clip has none */
};

/* World of this protocol; no training or validation seed. */
static const uint64_t eval_world = UINT64_C(0x736f756e64206576);

typedef struct measurement {
    mgen_context *ctx;
    const mgi_audio *audio;
    const mgi_eval_request *r;
    mgi_clip_shape clip; /* frames: as long as the sound */
    int64_t samples;
    double seconds;
    uint8_t *film;
    float *truth, *made, *latents;
    mgi_sound_found *found;
    mgi_sound_tally of[MGI_SOUND_TALLIES];
    double signal, noise; /* of the codec */
} measurement;

void mgi_sound_case(const mgi_clip_shape *clip, uint64_t seed, int64_t i, mgi_world_scene *scene,
                    mgi_world_sound *sound)
{
    const mgi_world_options o = {.width = (int)clip->width,
                                 .height = (int)clip->height,
                                 .frames = (int)clip->frames,
                                 .fps = (int)clip->fps,
                                 .split = MGI_WORLD_HELD_OUT};
    const uint64_t index = (seed << 32) + (uint64_t)i;
    mgi_world_scene_random(scene, eval_world, index, &o);
    mgi_world_sound_random(sound, scene, eval_world, index);
}

/* -- sounds ------------------------------------------------------------------------------------ */

static mgen_status give_film(void *user, int64_t first, int64_t count, float *rgb)
{
    const measurement *m = user;
    mgi_film_bytes film = {m->film, NULL, m->clip.height, m->clip.width};
    return mgi_film_give(&film, first, count, rgb);
}

static mgen_status give_truth(void *user, int64_t first, int64_t count, float *samples)
{
    const measurement *m = user;
    memcpy(samples, m->truth + first, (size_t)count * sizeof *samples);
    return MGEN_OK;
}

/* A codec's last latent may reach beyond the sound. */
static mgen_status take_made(void *user, int64_t first, int64_t count, const float *samples)
{
    measurement *m = user;
    const int64_t room = m->samples - first;
    if (room > 0)
        memcpy(m->made + first, samples, (size_t)(count < room ? count : room) * sizeof *samples);
    return MGEN_OK;
}

static mgen_status make(measurement *m, int64_t i, const char *caption, bool seen)
{
    const mgi_sound_request g = {.caption = caption,
                                 .seed = m->r->seed + (uint64_t)i,
                                 .steps = m->r->steps,
                                 .schedule = m->r->schedule,
                                 .solver = m->r->solver,
                                 .guidance = m->r->guidance,
                                 .noise_scale = m->r->noise_scale,
                                 .samples = m->samples,
                                 .source = seen ? give_film : NULL,
                                 .film = {m->clip.frames, m->clip.height, m->clip.width},
                                 .fps = (double)m->clip.fps,
                                 .sink = take_made,
                                 .user = m};
    return mgi_sound_make(m->ctx, m->audio, &g);
}

static mgen_status recode(measurement *m)
{
    const mgi_audio_codec *codec = &m->audio->codec;
    MGI_TRY(mgi_audio_encode_sound(m->ctx, codec, m->samples, give_truth, m, m->latents));
    MGI_TRY(mgi_audio_decode_sound(m->ctx, codec, m->latents, mgi_audio_frames(codec, m->samples),
                                   take_made, m));
    for (int64_t i = 0; i < m->samples; i++) {
        double x = (double)m->truth[i], e = (double)m->made[i] - x;
        m->signal += x * x;
        m->noise += e * e;
    }
    return MGEN_OK;
}

/* -- measuring --------------------------------------------------------------------------------- */

static mgen_status judge(measurement *m, int way, const mgi_world_scene *scene,
                         const mgi_world_sound *sound)
{
    MGI_TRY(mgi_sound_check(m->ctx, m->made, m->samples, m->found));
    mgi_sound_tally_add(&m->of[way], scene, sound, m->seconds, m->found);
    return MGEN_OK;
}

static mgen_status measure(measurement *m, int64_t i)
{
    const bool sees = m->audio->config.vision[0] != '\0';
    char caption[MGI_WORLD_SOUND_CAPTION_MAX];
    mgi_world_scene scene, other;
    mgi_world_sound sound, others;
    mgi_sound_case(&m->clip, m->r->seed, i, &scene, &sound);
    mgi_sound_case(&m->clip, m->r->seed, i + 1, &other, &others);
    mgi_world_sound_caption(&scene, &sound, 0, caption);
    mgi_world_sound_draw(&scene, &sound, 0, m->samples, m->truth);
    if (sees)
        mgi_world_draw(&scene, (int)m->clip.width, (int)m->clip.height, 0, (int)m->clip.frames,
                       m->film);
    MGI_TRY(make(m, i, caption, sees));
    MGI_TRY(judge(m, MGI_SOUND_TALLY_MADE, &scene, &sound));
    mgi_sound_tally_add(&m->of[MGI_SOUND_TALLY_CONTROL], &other, &others, m->seconds, m->found);
    MGI_TRY(recode(m));
    MGI_TRY(judge(m, MGI_SOUND_TALLY_CEILING, &scene, &sound));
    if (!sees)
        return MGEN_OK;
    MGI_TRY(make(m, i, caption, false));
    return judge(m, MGI_SOUND_TALLY_UNSEEN, &scene, &sound);
}

/* -- the protocol ------------------------------------------------------------------------------ */

/* Also how long all is: a window of the model, whole latents. */
static mgen_status check_shape(measurement *m, const mgi_clip_shape *clip)
{
    const mgi_audio_codec_config *c = &m->audio->codec.config;
    m->clip = *clip;
    if (!m->clip.width || !m->clip.height)
        m->clip.width = m->clip.height = SIDE;
    m->clip.fps = m->clip.fps ? m->clip.fps : MGI_DATASET_FPS;
    m->samples = m->audio->config.window * mgi_audio_codec_hop(c);
    m->seconds = (double)m->samples / (double)MGI_WORLD_SOUND_RATE;
    m->clip.frames = (int64_t)ceil(m->seconds * (double)m->clip.fps);
    if (c->rate != MGI_WORLD_SOUND_RATE || m->samples < MGI_WORLD_SOUND_RATE)
        return mgi_fail(m->ctx, MGEN_E_STATE,
                        "the sound protocol needs an audio model with windows of a second or more "
                        "at %d samples a second; its are %lld samples at %lld",
                        (int)MGI_WORLD_SOUND_RATE, (long long)m->samples, (long long)c->rate);
    if (m->clip.width < SIDE_MIN || m->clip.height < SIDE_MIN || m->clip.width > SIDE_MAX ||
        m->clip.height > SIDE_MAX || m->clip.width % 2 || m->clip.height % 2 ||
        m->clip.frames > FRAMES_MAX || (m->clip.fps != 8 && m->clip.fps != 16 && m->clip.fps != 24))
        return mgi_fail(
            m->ctx, MGEN_E_STATE,
            "the sound protocol needs clips with even sides of %d to %d pixels at 8, 16 "
            "or 24 frames a second; the pipeline's are %lld x %lld at %lld",
            SIDE_MIN, SIDE_MAX, (long long)m->clip.width, (long long)m->clip.height,
            (long long)m->clip.fps);
    return MGEN_OK;
}

static mgen_status make_room(measurement *m)
{
    const int64_t pixels = m->clip.width * m->clip.height;
    const int64_t latents = mgi_audio_frames(&m->audio->codec, m->samples);
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)m->samples, sizeof *m->truth, &m->truth));
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)m->samples, sizeof *m->made, &m->made));
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)(latents * m->audio->codec.config.latent_channels),
                           sizeof *m->latents, &m->latents));
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)(m->clip.frames * pixels), 3, &m->film));
    return mgi_alloc_zero(m->ctx, 1, sizeof *m->found, &m->found);
}

static mgen_status measure_all(measurement *m)
{
    const mgi_eval_request *r = m->r;
    MGI_TRY(make_room(m));
    for (int64_t i = 0; i < r->n; i++) {
        MGI_TRY(measure(m, i));
        if (r->progress && r->progress(r->user, (int)i + 1, (int)r->n))
            return mgi_fail(m->ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
    return MGEN_OK;
}

mgen_status mgi_eval_sound(mgen_context *ctx, const mgi_audio *audio, const mgi_clip_shape *clip,
                           const mgi_eval_request *r, mgen_report *report)
{
    measurement m = {.ctx = ctx, .audio = audio, .r = r};
    MGI_TRY(check_shape(&m, clip));
    mgen_status status = measure_all(&m);
    mgi_free(ctx, m.truth);
    mgi_free(ctx, m.made);
    mgi_free(ctx, m.latents);
    mgi_free(ctx, m.film);
    mgi_free(ctx, m.found);
    if (status != MGEN_OK)
        return status;
    for (int way = 0; way < MGI_SOUND_TALLIES; way++)
        mgi_sound_tally_report(&m.of[way], way, report);
    if (m.signal > 0.0 && m.noise > 0.0)
        mgi_report_add(report, "ceiling_snr", 10.0 * log10(m.signal / m.noise));
    return MGEN_OK;
}
