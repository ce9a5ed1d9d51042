/* SPDX-License-Identifier: MIT
 * The toybox's sounds, sample by sample.
 *
 * All is made of two things: voices, which are cosines with harmonics, a glide and an envelope; and noises, which are random
 * numbers a few samples apart with straight lines between them, so that the distance is the width of the band. Phases are
 * whole numbers and envelopes powers of what is left, so that a sample needs no other sample, and only + - * / are used.
 * Patches have a fixed length, for which the compiler makes vectors. */
#include "data/world_sound.h"

#include "core/philox.h"

#include <math.h>
#include <string.h>

enum { PATCH = 512, EVENTS_MAX = 64, HARMONICS = 4 };

static const double rate = MGI_WORLD_SOUND_RATE;

/* Whose random numbers. */
enum { LAYER_HISS, LAYER_PLACE, LAYER_GUST, LAYER_PLACE_EVENTS, LAYER_IMPACTS, LAYER_OBJECTS = 16 };

typedef struct patch {
    const mgi_world_scene *scene;
    const mgi_world_sound *sound;
    int64_t first;
    float out[PATCH];
} patch;

static uint64_t layer_seed(const patch *p, uint64_t layer)
{
    return p->sound->seed + layer * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t object_layer(int object)
{
    return LAYER_IMPACTS + (uint64_t)(object + 1) * LAYER_OBJECTS;
}

/* Lot k, which may be negative, of a layer: 0..1. */
static float lot(const patch *p, uint64_t layer, int64_t k, uint64_t which)
{
    return mgi_random_unit(layer_seed(p, layer), MGI_STREAM_SOUND, (uint64_t)k * 8 + which);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a >= 0 ? a / b : -((b - 1 - a) / b);
}

/* How much of a frequency the quality leaves. */
static float passed(const patch *p, double hertz)
{
    double edge = 3200.0 + (12000.0 - 3200.0) * ((double)p->sound->quality - 5.0) / 3.0;
    double x = hertz / edge;
    return (float)(1.0 / (1.0 + x * x * x * x));
}

/* ---- cosines ------------------------------------------------------------------------------------ */

/* 2^32 a turn. */
static uint32_t step_of(double hertz)
{
    return (uint32_t)(int64_t)(hertz * (4294967296.0 / rate));
}

static uint32_t turns_of(float turns)
{
    return (uint32_t)(int64_t)((double)turns * 4294967296.0);
}

static inline float cosine(uint32_t phase)
{
    float t = (float)(int32_t)phase * (1.0f / 4294967296.0f);
    t = 0.25f - fabsf(t);
    float q = t * t;
    return t *
           (6.2831853f + q * (-41.341702f + q * (81.605249f + q * (-76.705860f + q * 42.058694f))));
}

/* The phase, modulo 2^32, after n samples. */
static uint32_t phase_after(uint32_t start, uint32_t step, uint32_t glide, uint64_t n)
{
    return start + (uint32_t)n * step + (uint32_t)(n * (n - 1) / 2) * glide;
}

/* cos of start + i step + i (i - 1) / 2 glide, for i samples from `from` on. */
static void oscillate(uint32_t start, uint32_t step, uint32_t glide, int64_t from, float out[PATCH])
{
    const uint32_t phase = phase_after(start, step, glide, (uint64_t)from);
    step += (uint32_t)from * glide;
    for (uint32_t i = 0; i < PATCH; i++)
        out[i] = cosine(phase + i * step + (i * (i - 1) / 2) * glide);
}

/* ---- voices ------------------------------------------------------------------------------------- */

enum { FLAT, SLOPE, STEEP }; /* ends within `attack` samples; power 2; power 4 of what is left */

typedef struct voice {
    int64_t start; /* sample */
    int32_t length, attack;
    int decay;
    double hertz, glide; /* at the start; Hz a second */
    float level;
    float wave[HARMONICS]; /* amplitude of each harmonic */
} voice;

static void envelope(const voice *v, int64_t from, float out[PATCH])
{
    const float rise = 1.0f / (float)v->attack, length = (float)v->length, gone = 1.0f / length;
    const float begin = (float)from;
    for (int i = 0; i < PATCH; i++) {
        float m = begin + (float)i, up = m * rise, left = 1.0f - m * gone;
        up = up < 0.0f ? 0.0f : up > 1.0f ? 1.0f : up;
        left = left < 0.0f ? 0.0f : left > 1.0f ? 1.0f : left;
        out[i] = up * left;
    }
    if (v->decay == FLAT) {
        for (int i = 0; i < PATCH; i++) {
            float m = begin + (float)i, up = m * rise, down = (length - m) * rise;
            up = up < down ? up : down;
            out[i] = up < 0.0f ? 0.0f : up > 1.0f ? 1.0f : up;
        }
        return;
    }
    for (int i = 0; i < PATCH; i++) {
        float left = 1.0f - (begin + (float)i) * gone;
        out[i] *= v->decay == STEEP ? left * left * left : left;
    }
}

static bool heard(const patch *p, int64_t start, int64_t length)
{
    return start < p->first + PATCH && start + length > p->first;
}

/* w[i] becomes the sum of harmonics of the cosine c[i], by Chebyshev's polynomials. */
static void harmonics(const float wave[HARMONICS], const float c[PATCH], float w[PATCH])
{
    const float a = wave[3] - wave[1], b = wave[0] - 3.0f * wave[2];
    const float d = 2.0f * wave[1] - 8.0f * wave[3], e = 4.0f * wave[2], f = 8.0f * wave[3];
    for (int i = 0; i < PATCH; i++)
        w[i] = a + c[i] * (b + c[i] * (d + c[i] * (e + c[i] * f)));
}

static void add_voice(patch *p, const voice *v)
{
    float c[PATCH], g[PATCH], w[PATCH], wave[HARMONICS];
    if (v->length < 1 || !heard(p, v->start, v->length))
        return;
    const int64_t from = p->first - v->start;
    for (int k = 0; k < HARMONICS; k++)
        wave[k] = v->wave[k] != 0.0f ? v->level * v->wave[k] * passed(p, (double)(k + 1) * v->hertz)
                                     : 0.0f;
    envelope(v, from, g);
    /* From a quarter turn on: it begins at 0. */
    oscillate(UINT32_C(3) << 30, step_of(v->hertz), step_of(v->glide / rate), from, c);
    harmonics(wave, c, w);
    for (int i = 0; i < PATCH; i++)
        p->out[i] += g[i] * w[i];
}

/* One that always was and will be. */
static void add_hum(patch *p, double hertz, float start, float level)
{
    float c[PATCH];
    level *= passed(p, hertz);
    oscillate(turns_of(start), step_of(hertz), 0, p->first, c);
    for (int i = 0; i < PATCH; i++)
        p->out[i] += level * c[i];
}

/* ---- noises ------------------------------------------------------------------------------------- */

/* Random numbers in -1..1, `apart` samples apart, with straight lines between them: below rate / (2 apart). */
static void fill_noise(const patch *p, uint64_t layer, int64_t apart, int64_t origin,
                       float out[PATCH])
{
    const uint64_t seed = layer_seed(p, layer);
    const float part = 1.0f / (float)apart;
    int64_t from = p->first - origin, k = floor_div(from, apart), j = from - k * apart;
    uint64_t at = (uint64_t)k + (UINT64_C(1) << 40), block = 0;
    uint32_t lanes[4];
    float a = 0.0f, b = 0.0f;
    bool any = false;
    for (int i = 0; i < PATCH;) {
        for (uint64_t end = at; end <= at + 1; end++) {
            if (!any || end >> 2 != block)
                mgi_philox(seed, MGI_STREAM_SOUND, end >> 2, lanes);
            any = true;
            block = end >> 2;
            a = b;
            b = 2.0f * mgi_u32_to_unit(lanes[end & 3]) - 1.0f;
        }
        for (; j < apart && i < PATCH; j++, i++)
            out[i] = a + (b - a) * ((float)j * part);
        j = 0;
        at++;
    }
}

/* Around a frequency, if it is not 0. */
static void fill_band(const patch *p, uint64_t layer, int64_t apart, double hertz, float out[PATCH])
{
    float c[PATCH];
    const float level = passed(p, hertz + 0.3 * rate / (double)apart);
    fill_noise(p, layer, apart, 0, out);
    for (int i = 0; i < PATCH; i++)
        out[i] *= level;
    if (hertz <= 0.0)
        return;
    oscillate(0, step_of(hertz), 0, p->first, c);
    for (int i = 0; i < PATCH; i++)
        out[i] *= c[i];
}

static void add_noise(patch *p, uint64_t layer, int64_t apart, double hertz, float level,
                      const float *gain)
{
    float w[PATCH];
    fill_band(p, layer, apart, hertz, w);
    for (int i = 0; i < PATCH; i++)
        p->out[i] += level * (gain ? gain[i] : 1.0f) * w[i];
}

/* least..1, slowly. */
static void fill_gusts(const patch *p, int64_t apart, float least, float out[PATCH])
{
    fill_noise(p, LAYER_GUST, apart, 0, out);
    for (int i = 0; i < PATCH; i++)
        out[i] = least + (1.0f - least) * (0.5f + 0.5f * out[i]);
}

/* ---- places ------------------------------------------------------------------------------------- */

/* Three short pulses now and then. */
static void add_cricket(patch *p, int which, double hertz, double every, float level)
{
    const int64_t apart = (int64_t)(every * rate), length = 6000;
    for (int64_t k = floor_div(p->first - length, apart) - 1;
         k <= floor_div(p->first + PATCH, apart); k++) {
        float late = 0.15f * lot(p, LAYER_PLACE_EVENTS, k, (uint64_t)which);
        int64_t start = k * apart + (int64_t)(late * (float)apart);
        for (int pulse = 0; pulse < 3; pulse++)
            add_voice(p, &(voice){.start = start + 1700 * pulse,
                                  .length = 1300,
                                  .attack = 400,
                                  .decay = FLAT,
                                  .hertz = hertz,
                                  .level = level,
                                  .wave = {1.0f}});
    }
}

static void add_drips(patch *p)
{
    const int64_t apart = 26400, length = 4800, echo = 8200; /* samples */
    for (int64_t k = floor_div(p->first - length - 3 * echo, apart) - 1;
         k <= floor_div(p->first + PATCH, apart); k++) {
        int64_t start =
            k * apart + (int64_t)(0.5f * lot(p, LAYER_PLACE_EVENTS, k, 0) * (float)apart);
        double hertz = 2500.0 + 800.0 * (double)lot(p, LAYER_PLACE_EVENTS, k, 1);
        float level = 0.06f;
        for (int i = 0; i < 4; i++, level *= 0.5f)
            add_voice(p, &(voice){.start = start + i * echo,
                                  .length = (int32_t)length,
                                  .attack = 200,
                                  .decay = STEEP,
                                  .hertz = hertz,
                                  .glide = 4000.0,
                                  .level = level,
                                  .wave = {1.0f}});
    }
}

/* Short pulses, low and each a little sooner. */
static void add_creaks(patch *p)
{
    const int64_t apart = 40800;
    for (int64_t k = floor_div(p->first - apart, apart) - 1;
         k <= floor_div(p->first + PATCH, apart); k++) {
        float g[PATCH], c[PATCH];
        voice v = {.start = k * apart +
                            (int64_t)(0.35f * lot(p, LAYER_PLACE_EVENTS, k, 0) * (float)apart),
                   .length = 15000 + (int32_t)(6000.0f * lot(p, LAYER_PLACE_EVENTS, k, 1)),
                   .attack = 4000,
                   .decay = FLAT,
                   .hertz = 110.0 + 40.0 * (double)lot(p, LAYER_PLACE_EVENTS, k, 2)};
        if (!heard(p, v.start, v.length))
            continue;
        envelope(&v, p->first - v.start, g);
        oscillate(0, step_of(v.hertz), step_of(50.0 / rate), p->first - v.start, c);
        for (int i = 0; i < PATCH; i++) {
            float x = 0.5f + 0.5f * c[i], y = x * x;
            y *= y;
            y *= y;
            p->out[i] += 0.16f * g[i] * (y * y - 0.13995f); /* the mean of that power */
        }
    }
}

/* A wave comes in every so many seconds, and is never quite away. */
static void fill_swell(const patch *p, float out[PATCH])
{
    oscillate(turns_of(lot(p, LAYER_PLACE_EVENTS, 0, 0)), step_of(1.0 / 3.2), 0, p->first, out);
    for (int i = 0; i < PATCH; i++) {
        float x = 0.5f + 0.5f * out[i];
        out[i] = 0.3f + 0.7f * x * x;
    }
}

static void add_place(patch *p)
{
    float gain[PATCH];
    switch (p->scene->background) {
    case MGI_WORLD_GRASS:
        fill_gusts(p, 30000, 0.4f, gain);
        add_noise(p, LAYER_PLACE, 96, 0.0, 0.05f, gain);
        add_cricket(p, 1, 4200.0, 0.42, 0.05f);
        add_cricket(p, 2, 4750.0, 0.55, 0.03f);
        break;
    case MGI_WORLD_SNOW:
        fill_gusts(p, 30000, 0.25f, gain);
        add_noise(p, LAYER_PLACE, 160, 0.0, 0.07f, gain);
        add_noise(p, LAYER_PLACE + LAYER_OBJECTS, 400, 620.0, 0.05f, gain);
        break;
    case MGI_WORLD_SAND:
        fill_swell(p, gain);
        add_noise(p, LAYER_PLACE, 6, 0.0, 0.075f, gain);
        add_noise(p, LAYER_PLACE + LAYER_OBJECTS, 160, 0.0, 0.05f, gain);
        break;
    case MGI_WORLD_STONE:
        add_noise(p, LAYER_PLACE, 300, 0.0, 0.04f, NULL);
        add_drips(p);
        break;
    case MGI_WORLD_WOOD:
        add_noise(p, LAYER_PLACE, 220, 0.0, 0.02f, NULL);
        add_creaks(p);
        break;
    default:
        add_hum(p, 110.0, 0.0f, 0.03f);
        add_hum(p, 110.9, 0.3f, 0.024f);
        add_hum(p, 220.6, 0.6f, 0.016f);
        add_hum(p, 331.0, 0.1f, 0.010f);
        break;
    }
}

/* ---- impacts ------------------------------------------------------------------------------------ */

/* How the ground answers: how long things ring on it, and how it clicks. */
typedef struct ground {
    float ring;         /* of a shape's own time */
    int32_t click;      /* samples */
    int64_t apart;      /* of the click's noise */
    float level, drags; /* of the click; of what rolls or slides */
} ground;

static const ground grounds[MGI_WORLD_BACKGROUNDS] = {
    [MGI_WORLD_GRASS] = {0.50f, 1700, 11, 0.40f, 0.8f},
    [MGI_WORLD_SNOW] = {0.35f, 2600, 12, 0.42f, 0.7f},
    [MGI_WORLD_SAND] = {0.40f, 2000, 9, 0.40f, 1.0f},
    [MGI_WORLD_STONE] = {1.20f, 700, 6, 0.40f, 1.1f},
    [MGI_WORLD_WOOD] = {0.90f, 900, 8, 0.40f, 1.1f},
    [MGI_WORLD_MOON] = {0.70f, 1400, 12, 0.36f, 0.8f}};

typedef struct partial {
    float ratio, level, seconds;
} partial;

static const partial partials[MGI_WORLD_SHAPES][3] = {
    [MGI_WORLD_BALL] = {{1.0f, 1.0f, 0.24f}}, /* and glides down: see below */
    [MGI_WORLD_CUBE] = {{1.0f, 0.9f, 0.14f}, {2.7f, 0.5f, 0.09f}},
    [MGI_WORLD_TRIANGLE] = {{2.0f, 0.6f, 0.90f}, {5.4f, 0.35f, 0.70f}},
    [MGI_WORLD_STAR] = {{3.0f, 0.5f, 0.60f}, {4.5f, 0.4f, 0.50f}, {6.3f, 0.25f, 0.40f}},
    [MGI_WORLD_RING] = {{1.0f, 0.5f, 1.00f}, {1.02f, 0.35f, 1.00f}, {3.05f, 0.35f, 0.60f}},
    [MGI_WORLD_CROSS] = {{0.7f, 0.9f, 0.12f}, {1.9f, 0.5f, 0.08f}}};

static const double pitch[MGI_WORLD_SIZES] = {620.0, 440.0, 310.0}; /* Hz */

static int64_t sample_of(double seconds)
{
    return (int64_t)floor(seconds * rate + 0.5);
}

static void add_click(patch *p, int64_t start, const ground *g, uint64_t layer, float level)
{
    float gain[PATCH], w[PATCH];
    voice v = {.start = start, .length = g->click, .attack = 24, .decay = STEEP};
    if (!heard(p, start, g->click))
        return;
    envelope(&v, p->first - start, gain);
    fill_noise(p, layer, g->apart, start, w);
    level *= passed(p, 0.3 * rate / (double)g->apart);
    for (int i = 0; i < PATCH; i++)
        p->out[i] += level * gain[i] * w[i];
}

static void add_impact(patch *p, const mgi_world_event *e)
{
    const mgi_world_object *o = &p->scene->objects[e->object];
    const ground *g = &grounds[(unsigned)p->scene->background % MGI_WORLD_BACKGROUNDS];
    const int64_t start = sample_of((double)e->seconds);
    const double hertz = pitch[(unsigned)o->size % MGI_WORLD_SIZES];
    for (int k = 0; k < 3; k++) {
        const partial *s = &partials[(unsigned)o->shape % MGI_WORLD_SHAPES][k];
        bool ball = o->shape == MGI_WORLD_BALL;
        float seconds = s->seconds * g->ring;
        seconds = s->ratio > 0.0f && seconds < 0.06f ? 0.06f : seconds;
        add_voice(p, &(voice){.start = start,
                              .length = (int32_t)(seconds * (float)MGI_WORLD_SOUND_RATE),
                              .attack = 48,
                              .decay = s->seconds > 0.3f ? STEEP : SLOPE,
                              .hertz = (double)s->ratio * hertz,
                              .glide = ball ? -0.3 * hertz / (double)seconds : 0.0,
                              .level = 0.30f * e->loudness * s->level,
                              .wave = {1.0f, ball ? 0.25f : 0.0f}});
    }
    add_click(p, start, g, object_layer(e->object), g->level * e->loudness);
}

/* ---- motions ------------------------------------------------------------------------------------ */

/* (1 - x^2)^2 around the peak, which `half` samples reach to both sides. */
static void fill_hill(const patch *p, int64_t peak, float half, float out[PATCH])
{
    for (int i = 0; i < PATCH; i++) {
        float x = ((float)(p->first - peak) + (float)i) / half, y = 1.0f - x * x;
        y = y < 0.0f ? 0.0f : y;
        out[i] = y * y;
    }
}

static void add_whir(patch *p, const mgi_world_event *e)
{
    static const double hum[MGI_WORLD_SIZES] = {210.0, 165.0, 130.0};
    const mgi_world_object *o = &p->scene->objects[e->object];
    const float wave[HARMONICS] = {0.6f, 0.5f, 0.3f, 0.2f};
    float gain[PATCH], c[PATCH], w[PATCH], flutter[PATCH], half = 18000.0f;
    const int64_t peak = sample_of((double)e->seconds);
    if (!heard(p, peak - 18000, 36000))
        return;
    fill_hill(p, peak, half, gain);
    oscillate(0, step_of(hum[(unsigned)o->size % MGI_WORLD_SIZES]), 0, p->first - peak, c);
    oscillate(0, step_of(23.0 * (double)o->pace), 0, p->first - peak, flutter);
    harmonics(wave, c, w);
    for (int i = 0; i < PATCH; i++)
        p->out[i] += 0.12f * e->loudness * gain[i] * (0.5f + 0.5f * flutter[i]) * w[i];
}

static void add_whoosh(patch *p, const mgi_world_event *e)
{
    static const double middle[MGI_WORLD_SIZES] = {1500.0, 1150.0, 850.0};
    const mgi_world_object *o = &p->scene->objects[e->object];
    const int64_t peak = sample_of((double)e->seconds);
    float gain[PATCH];
    if (!heard(p, peak - 25000, 50000))
        return;
    fill_hill(p, peak, 25000.0f, gain);
    add_noise(p, object_layer(e->object), 60, middle[(unsigned)o->size % MGI_WORLD_SIZES],
              0.16f * e->loudness, gain);
}

/* What is round rumbles in lumps, so many a turn; the others scrape. */
static void add_roll(patch *p, int i)
{
    static const int64_t rumble[MGI_WORLD_SIZES] = {90, 130, 180};
    static const double scrape[MGI_WORLD_SIZES] = {1900.0, 1450.0, 1100.0};
    const mgi_world_object *o = &p->scene->objects[i];
    const unsigned size = (unsigned)o->size % MGI_WORLD_SIZES;
    const double speed = (double)MGI_WORLD_ROLL_SPEED * (double)o->pace, lumps = 24.0;
    const float drags = grounds[(unsigned)p->scene->background % MGI_WORLD_BACKGROUNDS].drags;
    const uint64_t layer = object_layer(i);
    float gain[PATCH];
    if (o->shape != MGI_WORLD_BALL && o->shape != MGI_WORLD_RING) {
        add_noise(p, layer, 70, scrape[size], 0.07f * drags * o->pace, NULL);
        return;
    }
    oscillate(0, step_of(lumps * speed / (6.283185307179586 * (double)o->radius)), 0, p->first,
              gain);
    for (int k = 0; k < PATCH; k++) {
        float x = 0.5f + 0.5f * gain[k];
        gain[k] = 0.2f + 0.8f * x * x;
    }
    add_noise(p, layer, rumble[size], 0.0, 0.22f * drags * o->pace, gain);
}

/* Higher is higher. */
static void add_whistle(patch *p, int i, double until)
{
    static const double ground_hertz[MGI_WORLD_SIZES] = {640.0, 500.0, 390.0};
    const mgi_world_object *o = &p->scene->objects[i];
    const double each = 14.0, glide = each * (double)MGI_WORLD_RISE_SPEED * (double)o->pace;
    add_voice(p, &(voice){.start = 0,
                          .length = (int32_t)(until * rate),
                          .attack = 2400,
                          .decay = FLAT,
                          .hertz = ground_hertz[(unsigned)o->size % MGI_WORLD_SIZES] +
                                   each * (double)o->height,
                          .glide = o->motion == MGI_WORLD_RISE ? glide : -glide,
                          .level = 0.05f,
                          .wave = {1.0f, 0.2f}});
}

static void add_motions(patch *p)
{
    const double from = (double)p->first / rate, to = from + (double)PATCH / rate;
    mgi_world_event e[EVENTS_MAX];
    /* Nothing is heard for longer than 1.3 s after its moment, or 0.6 s before. */
    int n = mgi_world_sound_events(p->scene, from - 1.3, to + 0.6, e, EVENTS_MAX);
    for (int i = 0; i < n && i < EVENTS_MAX; i++) {
        if (e[i].kind == MGI_WORLD_WHIRS)
            add_whir(p, &e[i]);
        else if (e[i].kind == MGI_WORLD_WHOOSHES)
            add_whoosh(p, &e[i]);
        else
            add_impact(p, &e[i]);
    }
    for (int i = 0; i < p->scene->count; i++) {
        const int motion = p->scene->objects[i].motion;
        if (motion == MGI_WORLD_ROLL_LEFT || motion == MGI_WORLD_ROLL_RIGHT)
            add_roll(p, i);
        else if (motion == MGI_WORLD_RISE || motion == MGI_WORLD_FALL)
            add_whistle(p, i, mgi_world_motion_end(&p->scene->objects[i]));
    }
}

/* ---- music -------------------------------------------------------------------------------------- */

/* Two notes a beat, the first of which is the stronger; a chord of three lasts a bar of four beats. */
typedef struct style {
    double hertz;      /* of the key */
    int bar[4];        /* the chord's root, semitones above the key */
    int third[4];      /* its third, above the root */
    int notes[8];      /* which of the chord: 0 root, 1 third, 2 fifth, 3 octave; -1 none */
    float length;      /* of a note, in halves of a beat */
    int32_t attack;    /* samples */
    float level, weak; /* of notes; of the second of a beat, of that */
    float pad;         /* level of the chord held below, or above */
    double pad_octave;
    float wave[HARMONICS];
} style;

static const style styles[MGI_WORLD_MOODS] = {
    [MGI_WORLD_CALM] = {.hertz = 261.63,
                        .bar = {0, 9, 5, 7},
                        .third = {4, 3, 4, 4},
                        .notes = {0, 1, 2, 1, 3, 2, 1, 2},
                        .length = 3.0f,
                        .attack = 1400,
                        .level = 0.07f,
                        .weak = 0.5f,
                        .pad = 0.012f,
                        .pad_octave = 0.5,
                        .wave = {1.0f, 0.15f}},
    [MGI_WORLD_HAPPY] = {.hertz = 392.0,
                         .bar = {0, 7, 9, 5},
                         .third = {4, 4, 3, 4},
                         .notes = {0, 2, 1, 2, 3, 2, 1, 2},
                         .length = 1.5f,
                         .attack = 600,
                         .level = 0.09f,
                         .weak = 0.5f,
                         .wave = {1.0f, 0.45f, 0.2f, 0.1f}},
    [MGI_WORLD_SAD] = {.hertz = 196.0,
                       .bar = {0, 8, 5, 7},
                       .third = {3, 4, 3, 3},
                       .notes = {3, 1, 2, 1, 1, 0, 2, 0},
                       .length = 2.6f,
                       .attack = 2000,
                       .level = 0.075f,
                       .weak = 0.45f,
                       .pad = 0.015f,
                       .pad_octave = 1.0,
                       .wave = {1.0f, 0.0f, 0.35f, 0.0f}},
    [MGI_WORLD_TENSE] = {.hertz = 98.0,
                         .bar = {0, 1, 0, 6},
                         .third = {3, 3, 3, 3},
                         .notes = {0, 0, 0, 0, 0, 0, 1, 0},
                         .length = 0.9f,
                         .attack = 500,
                         .level = 0.10f,
                         .weak = 0.55f,
                         .wave = {1.0f, 0.7f, 0.5f, 0.35f}}};

static const double semitones[12] = {1.0,
                                     1.0594630943592953,
                                     1.122462048309373,
                                     1.189207115002721,
                                     1.2599210498948732,
                                     1.3348398541700344,
                                     1.4142135623730951,
                                     1.4983070768766815,
                                     1.5874010519681994,
                                     1.681792830507429,
                                     1.7817974362806785,
                                     1.8877486253633868};

static double transposed(double hertz, int up)
{
    int octave = (up + 48) / 12 - 4;
    for (; octave > 0; octave--)
        hertz *= 2.0;
    for (; octave < 0; octave++)
        hertz *= 0.5;
    return hertz * semitones[(up + 48) % 12];
}

static int chord_note(const style *s, int bar, int note)
{
    return s->bar[bar] + (note == 1 ? s->third[bar] : note == 2 ? 7 : note == 3 ? 12 : 0);
}

static void add_music(patch *p)
{
    const mgi_world_sound *sound = p->sound;
    const style *s = &styles[(unsigned)sound->mood % MGI_WORLD_MOODS];
    if (sound->mood <= MGI_WORLD_NO_MUSIC || sound->mood >= MGI_WORLD_MOODS ||
        !(sound->tempo > 0.0f))
        return;
    const double half = 30.0 / (double)sound->tempo, zero = 2.0 * (double)sound->phase;
    const double from = (double)p->first / rate / half + zero;
    /* The longest note, the pad, lasts for eight halves and a little. */
    for (int64_t k = (int64_t)floor(from) - 9; (double)k <= from + (double)PATCH / rate / half;
         k++) {
        const int in_bar = (int)(k - 8 * floor_div(k, 8));
        const int bar = (int)(floor_div(k, 8) - 4 * floor_div(k, 32)), note = s->notes[in_bar];
        voice v = {.start = sample_of(((double)k - zero) * half),
                   .length = (int32_t)((double)s->length * half * rate),
                   .attack = s->attack,
                   .decay = SLOPE,
                   .hertz = transposed(s->hertz, sound->key + chord_note(s, bar, note)),
                   .level = in_bar % 2 ? s->weak * s->level : s->level};
        memcpy(v.wave, s->wave, sizeof v.wave);
        add_voice(p, &v);
        for (int i = 0; s->pad > 0.0f && in_bar == 0 && i < 3; i++)
            add_voice(p, &(voice){.start = v.start,
                                  .length = (int32_t)(8.3 * half * rate),
                                  .attack = 6000,
                                  .decay = FLAT,
                                  .hertz = s->pad_octave *
                                           transposed(s->hertz, sound->key + chord_note(s, bar, i)),
                                  .level = s->pad,
                                  .wave = {1.0f}});
    }
}

/* ---- all ---------------------------------------------------------------------------------------- */

/* What the quality lacks; the narrow band is of the other sounds. */
static void add_hiss(patch *p)
{
    float w[PATCH], level = 0.0035f * (8.0f - p->sound->quality);
    fill_noise(p, LAYER_HISS, 3, 0, w);
    for (int i = 0; i < PATCH; i++)
        p->out[i] += level * w[i];
}

static void draw_patch(patch *p)
{
    const float loudness = p->sound->loudness;
    memset(p->out, 0, sizeof p->out);
    add_place(p);
    add_motions(p);
    add_music(p);
    add_hiss(p);
    for (int i = 0; i < PATCH; i++) {
        float x = loudness * p->out[i];
        p->out[i] = x < -1.0f ? -1.0f : x > 1.0f ? 1.0f : x;
    }
}

void mgi_world_sound_draw(const mgi_world_scene *scene, const mgi_world_sound *sound, int64_t first,
                          int64_t count, float *out)
{
    patch p = {.scene = scene, .sound = sound};
    for (int64_t done = 0; done < count; done += PATCH) {
        int64_t n = count - done < PATCH ? count - done : PATCH;
        p.first = first + done;
        draw_patch(&p);
        memcpy(out + done, p.out, (size_t)n * sizeof *out);
    }
}
