/* SPDX-License-Identifier: MIT
 * How people of the world are drawn: parts laid over one another, each with a darker outline. */
#include "data/world_person.h"

#include "data/world_parts.h"

#include <math.h>
#include <string.h>

static const float skins[MGI_PERSON_SKINS][3] = {{255.0f, 216.0f, 186.0f},
                                                 {226.0f, 166.0f, 112.0f},
                                                 {158.0f, 100.0f, 60.0f},
                                                 {92.0f, 58.0f, 42.0f}};
static const float lips[MGI_PERSON_SKINS][3] = {
    {168.0f, 40.0f, 44.0f}, {136.0f, 26.0f, 30.0f}, {84.0f, 14.0f, 22.0f}, {206.0f, 92.0f, 96.0f}};
static const float hairs[MGI_PERSON_HAIRS][3] = {{38.0f, 34.0f, 44.0f},    /* black */
                                                 {124.0f, 66.0f, 26.0f},   /* brown */
                                                 {240.0f, 112.0f, 24.0f},  /* ginger */
                                                 {250.0f, 218.0f, 84.0f},  /* blond */
                                                 {236.0f, 238.0f, 246.0f}, /* white */
                                                 {44.0f, 84.0f, 226.0f},   /* blue */
                                                 {36.0f, 164.0f, 80.0f},   /* green */
                                                 {246.0f, 98.0f, 176.0f}}; /* pink */
static const float irises[MGI_PERSON_EYES][3] = {
    {70.0f, 36.0f, 18.0f}, {30.0f, 104.0f, 244.0f}, {18.0f, 160.0f, 66.0f}};
static const float white[3] = {252.0f, 252.0f, 252.0f}, ink[3] = {26.0f, 22.0f, 30.0f};
static const float trousers[3] = {58.0f, 64.0f, 96.0f}, shoes[3] = {44.0f, 36.0f, 40.0f};
static const float band[3] = {236.0f, 40.0f, 60.0f}, tear[3] = {70.0f, 170.0f, 250.0f};

/* ---- parts -------------------------------------------------------------------------------------- */

enum {
    ELLIPSE, /* a, b: half axes */
    CAP,     /* an ellipse above y = c + d x^2, from its middle */
    FRINGE,  /* the same, with an outline at its lower edge only */
    JAW,     /* an ellipse below it */
    RING,    /* an ellipse's line, c wide to each side */
    BOX,     /* a, b: half sides; c: its corners' radius */
    LINE,    /* to (x + a, y + b), c wide to each side */
    CURVE,   /* y = b x^2 from x = -a to a, c wide to each side */
    SMILE    /* below the line y = 0, above y = b (1 - (x / a)^2) */
};

typedef struct part {
    int kind;
    float x, y, a, b, c, d;
} part;

static float clamp01(float x)
{
    return x > 0.0f ? x < 1.0f ? x : 1.0f : 0.0f;
}

/* About the distance: exact where it is 0. */
static float ellipse(float x, float y, float a, float b)
{
    float u = x / a, v = y / b, k = sqrtf(u * u + v * v);
    float g = sqrtf(u * u / (a * a) + v * v / (b * b));
    return g > 1e-4f ? k * (k - 1.0f) / g : a < b ? -a : -b;
}

static float segment(float x, float y, float ax, float ay)
{
    float t = clamp01((x * ax + y * ay) / (ax * ax + ay * ay + 1e-9f));
    x -= t * ax;
    y -= t * ay;
    return sqrtf(x * x + y * y);
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

static float distance_to(const part *p, float x, float y)
{
    float u, v;
    x -= p->x;
    y -= p->y;
    switch (p->kind) {
    case CAP:
    case FRINGE:
        return larger(ellipse(x, y, p->a, p->b), y - p->c - p->d * x * x);
    case JAW:
        return larger(ellipse(x, y, p->a, p->b), p->c + p->d * x * x - y);
    case RING:
        return fabsf(ellipse(x, y, p->a, p->b)) - p->c;
    case BOX:
        u = fabsf(x) - p->a + p->c;
        v = fabsf(y) - p->b + p->c;
        if (u > 0.0f && v > 0.0f)
            return sqrtf(u * u + v * v) - p->c;
        return larger(u, v) - p->c;
    case LINE:
        return segment(x, y, p->a, p->b) - p->c;
    case CURVE:
        u = fabsf(x) > p->a ? p->a : fabsf(x);
        v = y - p->b * u * u;
        u = fabsf(x) - u;
        return sqrtf(u * u + v * v / (1.0f + 2.0f * p->b * p->b * x * x)) - p->c;
    case SMILE:
        u = x / p->a;
        return larger(-y, 0.7f * (y - p->b * (1.0f - u * u)));
    default:
        return ellipse(x, y, p->a, p->b);
    }
}

/* Of what its outline surrounds. */
static float outlined(const part *p, float x, float y, float edge)
{
    x -= p->x;
    y -= p->y;
    return larger(ellipse(x, y, p->a, p->b) + edge, y - p->c - p->d * x * x);
}

/* How far a part reaches from (x, y): left, up, right, down. */
static void reach_of(const part *p, float out[4])
{
    float a = p->a, b = p->b;
    switch (p->kind) {
    case RING:
        a += p->c;
        b += p->c;
        break;
    case LINE:
        out[0] = p->c + larger(-a, 0.0f);
        out[1] = p->c + larger(-b, 0.0f);
        out[2] = p->c + larger(a, 0.0f);
        out[3] = p->c + larger(b, 0.0f);
        return;
    case CURVE:
        b = fabsf(p->b) * a * a + p->c;
        a += p->c;
        break;
    default:
        break;
    }
    out[0] = out[2] = a;
    out[1] = out[3] = b;
}

static int limited(float x, int low, int high)
{
    return x > (float)low ? x < (float)high ? (int)x : high : low;
}

/* Its outline is as wide, its light side up and left by `relief`. */
typedef struct look {
    const float *rgb;
    float outline, relief;
} look;

static void draw(const mgi_world_pen *c, part p, look l)
{
    const float edge = l.outline;
    float reach[4], inverse = 1.0f / c->unit;
    reach_of(&p, reach);
    int x0 = limited(c->x + (p.x - reach[0] - edge) * c->unit - 1.0f, 0, c->width);
    int x1 = limited(c->x + (p.x + reach[2] + edge) * c->unit + 2.0f, 0, c->width);
    int low = c->first, high = c->first + c->rows;
    int y0 = limited(c->y + (p.y - reach[1] - edge) * c->unit - 1.0f, low, high);
    int y1 = limited(c->y + (p.y + reach[3] + edge) * c->unit + 2.0f, low, high);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) {
            float dx = ((float)x + 0.5f - c->x) * inverse, dy = ((float)y + 0.5f - c->y) * inverse;
            float d = distance_to(&p, dx, dy);
            float far = p.kind == FRINGE ? outlined(&p, dx, dy, edge) : d;
            float outer = clamp01(0.5f - (far - edge) * c->unit);
            if (outer <= 0.0f)
                continue;
            float inner = clamp01(0.5f - d * c->unit);
            float light = 1.0f - l.relief * (0.5f * (dx - p.x) + 0.8f * (dy - p.y));
            float *pixel = c->image + 3 * ((y - c->first) * c->width + x);
            for (int k = 0; k < 3; k++) {
                float line = 0.42f * l.rgb[k], fill = l.rgb[k] * light;
                float v = pixel[k] + (line - pixel[k]) * outer;
                pixel[k] = v + ((fill < 255.0f ? fill : 255.0f) - v) * inner;
            }
        }
}

static const float outline = 0.07f;

/* ---- hair --------------------------------------------------------------------------------------- */

static void draw_hair_behind(const mgi_world_pen *c, const mgi_world_face *f)
{
    const look hair = {hairs[f->identity.hair], outline, 0.12f};
    const float s = -0.10f * f->yaw;
    switch (f->identity.style) {
    case MGI_PERSON_LONG:
        draw(c, (part){BOX, s, 0.22f, 1.14f, 1.14f, 0.55f}, hair);
        break;
    case MGI_PERSON_AFRO:
        draw(c, (part){ELLIPSE, s, -0.26f, 1.32f, 1.20f}, hair);
        break;
    case MGI_PERSON_PIGTAILS:
        for (int side = -1; side <= 1; side += 2)
            draw(c, (part){ELLIPSE, s + 1.10f * (float)side, 0.30f, 0.34f, 0.52f}, hair);
        break;
    case MGI_PERSON_BUN:
        draw(c, (part){ELLIPSE, s, -1.14f, 0.44f, 0.36f}, hair);
        break;
    default:
        break;
    }
}

static void draw_hair_before(const mgi_world_pen *c, const mgi_world_face *f)
{
    const look hair = {hairs[f->identity.hair], outline, 0.12f};
    const float s = 0.10f * f->yaw;
    switch (f->identity.style) {
    case MGI_PERSON_LONG:
        draw(c, (part){FRINGE, 0.0f, -0.04f, 1.06f, 1.10f, -0.40f, 0.35f}, hair);
        break;
    case MGI_PERSON_AFRO:
        draw(c, (part){FRINGE, 0.0f, -0.04f, 1.06f, 1.10f, -0.50f, 0.10f}, hair);
        break;
    case MGI_PERSON_MOHAWK:
        draw(c, (part){BOX, s, -0.98f, 0.27f, 0.48f, 0.22f}, hair);
        break;
    case MGI_PERSON_PIGTAILS:
        draw(c, (part){CAP, 0.0f, -0.04f, 0.98f, 1.05f, -0.56f, 0.45f}, hair);
        break;
    case MGI_PERSON_BUN:
        draw(c, (part){CAP, 0.0f, -0.04f, 0.97f, 1.04f, -0.62f, 0.10f}, hair);
        break;
    default:
        draw(c, (part){CAP, 0.0f, -0.04f, 1.0f, 1.08f, -0.34f, -0.20f}, hair);
        break;
    }
}

/* ---- faces -------------------------------------------------------------------------------------- */

static void draw_eyes(const mgi_world_pen *c, const mgi_world_face *f, float shift)
{
    const look eyeball = {white, 0.045f, 0.0f}, iris = {irises[f->identity.eyes], 0.0f, 0.0f};
    const look pupil = {ink, 0.0f, 0.0f}, shine = {white, 0.0f, 0.0f};
    float open = f->expression == MGI_FACE_SURPRISED ? 0.38f
                 : f->expression == MGI_FACE_SAD     ? 0.27f
                                                     : 0.32f;
    for (int side = -1; side <= 1; side += 2) {
        float x = 0.39f * (float)side + shift, y = 0.0f;
        if (f->closed) {
            draw(c, (part){LINE, x - 0.20f, y + 0.06f, 0.40f, 0.0f, 0.045f}, pupil);
            continue;
        }
        draw(c, (part){ELLIPSE, x, y, 0.29f, open}, eyeball);
        x += 0.06f * f->yaw;
        draw(c, (part){ELLIPSE, x, y + 0.01f, 0.21f, 0.24f}, iris);
        draw(c, (part){ELLIPSE, x, y + 0.01f, 0.08f, 0.09f}, pupil);
        draw(c, (part){ELLIPSE, x - 0.07f, y - 0.08f, 0.05f, 0.05f}, shine);
    }
}

static void draw_brows(const mgi_world_pen *c, const mgi_world_face *f, float shift)
{
    const float *hair = hairs[f->identity.hair];
    const float rgb[3] = {0.6f * hair[0], 0.6f * hair[1], 0.6f * hair[2]};
    float y = -0.44f, inner = 0.0f;
    if (f->expression == MGI_FACE_SURPRISED)
        y = -0.56f;
    else if (f->expression == MGI_FACE_SAD)
        inner = -0.16f;
    for (int side = -1; side <= 1; side += 2)
        draw(c,
             (part){LINE, shift + 0.20f * (float)side, y + inner, 0.38f * (float)side,
                    -1.3f * inner, 0.055f},
             (look){rgb, 0.0f, 0.0f});
}

static void draw_mouth(const mgi_world_pen *c, const mgi_world_face *f, float shift)
{
    const look lip = {lips[f->identity.skin], 0.0f, 0.0f}, teeth = {white, 0.0f, 0.0f};
    const look drop = {tear, 0.03f, 0.0f},
               open = {(const float[3]){92.0f, 14.0f, 24.0f}, 0.05f, 0.0f};
    switch (f->expression) {
    case MGI_FACE_SMILING:
        draw(c, (part){SMILE, shift, 0.44f, 0.48f, 0.42f}, open);
        draw(c, (part){SMILE, shift, 0.45f, 0.40f, 0.18f}, teeth);
        break;
    case MGI_FACE_SAD:
        draw(c, (part){CURVE, shift, 0.52f, 0.36f, 1.6f, 0.08f}, lip);
        draw(c, (part){ELLIPSE, shift - 0.56f, 0.46f, 0.12f, 0.20f}, drop);
        break;
    case MGI_FACE_SURPRISED:
        draw(c, (part){ELLIPSE, shift, 0.63f, 0.22f, 0.27f}, open);
        break;
    default:
        draw(c, (part){LINE, shift - 0.28f, 0.60f, 0.56f, 0.0f, 0.07f}, lip);
        break;
    }
}

static void draw_extra(const mgi_world_pen *c, const mgi_world_face *f, float shift)
{
    const look hair = {hairs[f->identity.hair], 0.05f, 0.1f}, line = {ink, 0.0f, 0.0f};
    switch (f->identity.extra) {
    case MGI_PERSON_GLASSES:
        for (int side = -1; side <= 1; side += 2) {
            draw(c, (part){RING, shift + 0.40f * (float)side, 0.01f, 0.37f, 0.40f, 0.07f}, line);
            draw(c,
                 (part){LINE, shift + 0.80f * (float)side, -0.04f,
                        (0.92f * (float)side - shift - 0.80f * (float)side), 0.0f, 0.05f},
                 line);
        }
        draw(c, (part){LINE, shift - 0.06f, -0.06f, 0.12f, 0.0f, 0.06f}, line);
        break;
    case MGI_PERSON_MOUSTACHE:
        for (int side = -1; side <= 1; side += 2)
            draw(
                c,
                (part){LINE, shift + 0.08f * (float)side, 0.36f, 0.26f * (float)side, 0.05f, 0.09f},
                hair);
        break;
    default:
        break;
    }
}

void mgi_world_draw_head(const mgi_world_pen *c, const mgi_world_face *f)
{
    const float *skin = skins[f->identity.skin], shift = 0.26f * f->yaw;
    const float nose[3] = {0.8f * skin[0], 0.74f * skin[1], 0.72f * skin[2]};
    const look flesh = {skin, outline, 0.10f}, hair = {hairs[f->identity.hair], outline, 0.1f};
    draw_hair_behind(c, f);
    bool covered = f->identity.style == MGI_PERSON_LONG || f->identity.style == MGI_PERSON_AFRO;
    for (int side = -1; side <= 1 && !covered; side += 2) /* ears */
        draw(c, (part){ELLIPSE, 0.90f * (float)side - 0.08f * f->yaw, 0.10f, 0.17f, 0.22f}, flesh);
    draw(c, (part){ELLIPSE, 0.0f, 0.0f, 0.92f, 0.98f}, flesh);
    if (f->identity.extra == MGI_PERSON_BEARD) {
        draw(c, (part){JAW, 0.0f, 0.0f, 0.95f, 1.04f, 0.30f, -0.25f}, hair);
        draw(c, (part){ELLIPSE, shift, 0.60f, 0.46f, 0.28f}, (look){skin, 0.0f, 0.1f});
    }
    draw_hair_before(c, f);
    if (f->identity.extra == MGI_PERSON_HEADBAND)
        draw(c, (part){CURVE, 0.0f, -0.56f, 0.90f, 0.06f, 0.13f}, (look){band, 0.05f, 0.0f});
    draw(c, (part){ELLIPSE, 1.3f * shift, 0.27f, 0.09f, 0.10f}, (look){nose, 0.0f, 0.0f});
    draw_eyes(c, f, shift);
    draw_brows(c, f, shift);
    draw_mouth(c, f, 1.1f * shift);
    draw_extra(c, f, shift);
}

/* ---- bodies ------------------------------------------------------------------------------------- */

void mgi_world_draw_person(const mgi_world_pen *c, const mgi_world_face *f)
{
    float shirt[3], swing = f->walks ? 0.20f * mgi_world_sine(f->step) : 0.0f;
    mgi_world_colour_rgb(f->shirt, shirt);
    const look cloth = {shirt, outline, 0.16f}, leg = {trousers, outline, 0.0f};
    const look flesh = {skins[f->identity.skin], 0.05f, 0.0f}, shoe = {shoes, 0.03f, 0.0f};
    for (int side = -1; side <= 1; side += 2) {
        float way = swing * (float)side, lift = f->walks && way > 0.0f ? 0.4f * way : 0.0f;
        draw(c, (part){LINE, 0.26f * (float)side, 1.42f, way, 0.22f - lift, 0.16f}, leg);
        draw(c, (part){ELLIPSE, 0.29f * (float)side + way, 1.69f - lift, 0.22f, 0.10f}, shoe);
    }
    for (int side = -1; side <= 1; side += 2) {
        float way = -0.7f * swing * (float)side;
        draw(c, (part){ELLIPSE, 0.80f * (float)side + way, 1.38f, 0.13f, 0.13f}, flesh);
        draw(c, (part){LINE, 0.54f * (float)side, 1.04f, 0.22f * (float)side + way, 0.22f, 0.16f},
             cloth);
    }
    draw(c, (part){BOX, 0.0f, 1.14f, 0.60f, 0.42f, 0.22f}, cloth);
    mgi_world_draw_head(c, f);
}
