/* SPDX-License-Identifier: MIT
 * Who the people of the world are, how they are at a time, and portraits of them. */
#include "data/world_person.h"

#include "core/philox.h"

#include <math.h>

static const int values[MGI_PERSON_ATTRIBUTES] = {
    MGI_PERSON_SKINS, MGI_PERSON_HAIRS, MGI_PERSON_STYLES, MGI_PERSON_EYES, MGI_PERSON_EXTRAS};

/* ---- who they are ------------------------------------------------------------------------------- */

uint32_t mgi_world_identities(void)
{
    uint32_t n = 1;
    for (int k = 0; k < MGI_PERSON_ATTRIBUTES; k++)
        n *= (uint32_t)values[k];
    return n;
}

int mgi_world_attribute_values(int attribute)
{
    return values[attribute];
}

int mgi_world_attribute_of(const mgi_world_identity *p, int attribute)
{
    const int of[MGI_PERSON_ATTRIBUTES] = {p->skin, p->hair, p->style, p->eyes, p->extra};
    return of[attribute];
}

void mgi_world_attribute_set(mgi_world_identity *p, int attribute, int value)
{
    int *const of[MGI_PERSON_ATTRIBUTES] = {&p->skin, &p->hair, &p->style, &p->eyes, &p->extra};
    *of[attribute] = value;
}

void mgi_world_identity_of(uint32_t number, mgi_world_identity *out)
{
    for (int k = 0; k < MGI_PERSON_ATTRIBUTES; k++) {
        mgi_world_attribute_set(out, k, (int)(number % (uint32_t)values[k]));
        number /= (uint32_t)values[k];
    }
}

uint32_t mgi_world_identity_number(const mgi_world_identity *p)
{
    uint32_t number = 0;
    for (int k = MGI_PERSON_ATTRIBUTES - 1; k >= 0; k--)
        number = number * (uint32_t)values[k] + (uint32_t)mgi_world_attribute_of(p, k);
    return number;
}

bool mgi_world_identity_held_out(uint32_t number)
{
    mgi_world_identity p;
    mgi_world_identity_of(number, &p);
    return (p.skin + 3 * p.hair + 5 * p.style + 2 * p.eyes + 4 * p.extra) % 11 == 4;
}

/* ---- at a time ---------------------------------------------------------------------------------- */

static const float step_seconds = 0.8f; /* of two steps */
static const float bob_height = 0.9f;   /* units */
static const float look_seconds = 2.2f; /* of a look around */
static const float blink_seconds = 2.6f, blink_share = 0.06f;

static bool walks(const mgi_world_object *o)
{
    return o->motion == MGI_WORLD_ROLL_LEFT || o->motion == MGI_WORLD_ROLL_RIGHT;
}

static float step_at(const mgi_world_object *o, float seconds)
{
    return seconds * o->pace / step_seconds + o->phase;
}

float mgi_world_person_bob(const mgi_world_object *o, float seconds)
{
    float s = walks(o) ? mgi_world_sine(step_at(o, seconds)) : 0.0f;
    return bob_height * s * s;
}

void mgi_world_face_at(const mgi_world_scene *s, float seconds, mgi_world_face *out)
{
    const mgi_world_object *o = &s->objects[0];
    float blink = seconds / blink_seconds + s->camera_phase;
    *out = (mgi_world_face){.expression = s->expression, .yaw = s->yaw, .shirt = o->colour};
    mgi_world_identity_of(s->person > 0 ? (uint32_t)s->person - 1 : 0, &out->identity);
    out->closed = s->frames > 1 && blink - floorf(blink) > 1.0f - blink_share;
    out->walks = walks(o);
    if (out->walks)
        out->step = step_at(o, seconds);
    else if (o->motion == MGI_WORLD_SPIN)
        out->yaw = o->turn * mgi_world_sine(seconds * o->pace / look_seconds + o->phase);
}

/* ---- portraits ---------------------------------------------------------------------------------- */

enum { STRIP = 64, PHOTO_LOTS = 16 };
static const float grey = 128.0f, frame = 3.15f; /* of a portrait, in radii */

typedef struct lots {
    uint64_t seed, next;
} lots;

static float between(lots *l, float low, float high)
{
    return low + (high - low) * mgi_random_unit(l->seed, MGI_STREAM_PHOTO, l->next++);
}

/* Brightness from left to right. */
typedef struct light {
    float middle, slope;
} light;

static float light_at(const light *l, int x, int side)
{
    return l->middle + l->slope * (2.0f * ((float)x + 0.5f) / (float)side - 1.0f);
}

void mgi_world_photo(const mgi_world_scene *s, uint64_t seed, bool cross, int side, uint8_t *rgb)
{
    float image[3 * STRIP * STRIP];
    lots l = {seed, 0};
    mgi_world_face f;
    int frames = s->frames > 1 ? s->frames : 1, most = STRIP * STRIP / side;
    float when = floorf(between(&l, 0.0f, (float)frames));
    mgi_world_face_at(s, when / (float)s->fps, &f);
    mgi_world_pen pen = {.image = image, .width = side, .unit = (float)side / frame};
    light lit = {s->light, 0.0f};
    if (cross) {
        int other = (int)between(&l, 1.0f, (float)MGI_FACES);
        f.expression = (s->expression + other) % MGI_FACES;
        f.yaw = between(&l, -1.0f, 1.0f);
        f.closed = false;
        lit.middle = between(&l, 0.85f, 1.08f);
        lit.slope = between(&l, -0.14f, 0.14f);
        pen.unit *= between(&l, 0.92f, 1.04f);
    }
    pen.x = (float)side * (0.5f + (cross ? between(&l, -0.03f, 0.03f) : 0.0f));
    pen.y = (float)side * (0.5f + (cross ? between(&l, -0.03f, 0.03f) : 0.0f));
    for (int top = 0; top < side; top += most) {
        pen.first = top;
        pen.rows = side - top < most ? side - top : most;
        for (int i = 0; i < pen.rows * side; i++) {
            float v = grey / light_at(&lit, i % side, side);
            image[3 * i] = image[3 * i + 1] = image[3 * i + 2] = v;
        }
        mgi_world_draw_head(&pen, &f);
        uint8_t *out = rgb + (ptrdiff_t)3 * top * side;
        for (int i = 0; i < 3 * pen.rows * side; i++) {
            float v = image[i] * light_at(&lit, i / 3 % side, side) + 0.5f;
            out[i] = (uint8_t)(int)(v < 255.0f ? v : 255.0f);
        }
    }
}
