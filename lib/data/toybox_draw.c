/* SPDX-License-Identifier: MIT
 * How a toybox scene looks. Only + - * / and sqrtf, which round the same on every machine. */
#include "data/toybox.h"

#include <math.h>
#include <string.h>

enum { W = MGI_TOYBOX_WIDTH, H = MGI_TOYBOX_HEIGHT };

static const float palette[MGI_TOYBOX_COLOURS][3] = {
    {222.0f, 42.0f, 36.0f},  /* red */
    {250.0f, 204.0f, 32.0f}, /* yellow */
    {36.0f, 84.0f, 222.0f},  /* blue */
    {156.0f, 44.0f, 176.0f}, /* purple */
};

typedef struct rgb {
    float r, g, b;
} rgb;

static rgb mix(rgb a, rgb b, float t)
{
    return (rgb){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static rgb scale(rgb a, float s)
{
    return (rgb){a.r * s, a.g * s, a.b * s};
}

static float clamp01(float x)
{
    return x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x;
}

static float square(float x)
{
    return x * x;
}

/* Close to sin(2 pi u), from two parabolas. */
static float wave(float u)
{
    u -= floorf(u + 0.5f);
    return u * (8.0f - 16.0f * fabsf(u));
}

/* A soft hump of height 1 around 0 that ends at |x| = 1. */
static float hump(float x2)
{
    return x2 < 1.0f ? square(1.0f - x2) : 0.0f;
}

/* ---- backgrounds --------------------------------------------------------------------------- */

static rgb grass_at(float x, float y)
{
    const rgb top = {112, 178, 232}, low = {206, 231, 244}, cloud = {250, 252, 253};
    const rgb hill_far = {128, 176, 134}, near = {78, 142, 52}, far = {142, 196, 88};
    float hills = 23.0f + 2.5f * wave(x * (1.0f / 64.0f) + 0.10f) + wave(x * (1.0f / 29.0f) + 0.4f);
    float horizon = 29.0f + 1.2f * wave(x * (1.0f / 90.0f) + 0.55f);
    float clouds = hump(square((x - 15.0f) / 13.0f) + square((y - 8.0f) / 4.0f)) +
                   hump(square((x - 21.0f) / 9.0f) + square((y - 6.0f) / 4.0f)) +
                   hump(square((x - 51.0f) / 11.0f) + square((y - 12.0f) / 3.0f));
    rgb c = mix(top, low, clamp01(y / 27.0f));
    c = mix(c, cloud, 0.7f * clamp01(clouds));
    c = mix(c, hill_far, clamp01(y - hills));
    float depth = clamp01((y - horizon) / (64.0f - horizon));
    rgb ground = mix(far, near, depth * (1.6f - 0.6f * depth));
    float row = y / (0.35f + 0.65f * depth);
    ground = scale(ground, 1.0f + 0.030f * wave(row * 0.12f + x * 0.021f) +
                               0.022f * wave(x * 0.083f + row * 0.045f));
    return mix(c, ground, clamp01(y - horizon));
}

static rgb snow_at(float x, float y)
{
    const rgb top = {160, 196, 232}, low = {224, 234, 244};
    const rgb hill_far = {190, 206, 226}, near = {226, 234, 246}, far = {246, 248, 252};
    float peak = (1.0f - fabsf(wave(x * (1.0f / 74.0f) + 0.30f))) * 9.0f +
                 (1.0f - fabsf(wave(x * (1.0f / 31.0f) + 0.05f))) * 3.5f;
    float hills = 27.5f - peak;
    float horizon = 29.0f + 1.4f * wave(x * (1.0f / 80.0f) + 0.15f);
    rgb c = mix(top, low, clamp01(y / 27.0f));
    float cap = 0.6f * clamp01((hills + 5.0f - y) * 0.3f),
          haze = 0.4f * clamp01((y - 21.0f) / 8.0f);
    rgb hill = mix(hill_far, far, cap > haze ? cap : haze);
    c = mix(c, hill, clamp01(y - hills));
    float depth = clamp01((y - horizon) / (64.0f - horizon));
    rgb ground = mix(far, near, depth);
    float drift = wave(y * 0.037f - x * 0.011f + 0.2f) + 0.6f * wave(x * 0.031f + y * 0.061f);
    ground = mix(ground, (rgb){206, 220, 240}, 0.18f * (1.0f + drift) * depth);
    return mix(c, ground, clamp01(y - horizon));
}

void mgi_toybox_background(int background, float *out)
{
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++, out += 3) {
            rgb c = background == MGI_TOYBOX_SNOW ? snow_at((float)x + 0.5f, (float)y + 0.5f)
                                                  : grass_at((float)x + 0.5f, (float)y + 0.5f);
            out[0] = c.r;
            out[1] = c.g;
            out[2] = c.b;
        }
}

/* ---- objects ------------------------------------------------------------------------------- */

/* Sizes in radii. The triangle is equilateral; its bounding box has the object's centre. */
static const float cube_half = 0.86f;
static const float triangle_half = 1.16f, triangle_height = 2.009179f; /* sqrt(3) x 1.16 */

float mgi_toybox_half_width(int shape, float radius)
{
    return shape == MGI_TOYBOX_CUBE       ? cube_half * radius
           : shape == MGI_TOYBOX_TRIANGLE ? triangle_half * radius
                                          : radius;
}

float mgi_toybox_half_height(int shape, float radius)
{
    return shape == MGI_TOYBOX_CUBE       ? cube_half * radius
           : shape == MGI_TOYBOX_TRIANGLE ? 0.5f * triangle_height * radius
                                          : radius;
}

float mgi_toybox_height_at(const mgi_toybox_scene *scene, int frame)
{
    if (scene->motion != MGI_TOYBOX_BOUNCE || !(scene->period > 0.0f))
        return 0.0f;
    float u = (float)frame / scene->period + scene->phase;
    u -= floorf(u);
    return 4.0f * scene->amplitude * u * (1.0f - u);
}

void mgi_toybox_colour_rgb(int colour, float out[3])
{
    memcpy(out, palette[(unsigned)colour % MGI_TOYBOX_COLOURS], sizeof palette[0]);
}

/* Signed distances in pixels, negative inside; slightly rounded corners. */
static float cube_distance(float radius, float x, float y)
{
    const float corner = 1.0f;
    float half = cube_half * radius - corner;
    float qx = fabsf(x) - half, qy = fabsf(y) - half;
    float inside = qx > qy ? qx : qy;
    if (qx > 0.0f && qy > 0.0f)
        return sqrtf(qx * qx + qy * qy) - corner;
    return inside - corner;
}

static float triangle_distance(float radius, float x, float y)
{
    float half_height = 0.5f * triangle_height * radius;
    /* The slanted sides: normal (sqrt(3)/2, -1/2), through the apex. */
    float side = 0.8660254f * fabsf(x) - 0.5f * (y + half_height);
    float base = y - half_height;
    return side > base ? side : base;
}

float mgi_toybox_cover(int shape, float radius, float x, float y)
{
    float d = shape == MGI_TOYBOX_CUBE       ? cube_distance(radius, x, y)
              : shape == MGI_TOYBOX_TRIANGLE ? triangle_distance(radius, x, y)
                                             : sqrtf(x * x + y * y) - radius;
    return clamp01(0.5f - d);
}

/* The surface's colour; (u, v) from the centre in radii. */
static rgb shade(int shape, rgb colour, float u, float v)
{
    const rgb white = {255, 255, 255};
    float light = 0.0f, dark = 0.0f;
    if (shape == MGI_TOYBOX_BALL) {
        light = 0.42f * hump(square((u + 0.34f) / 0.62f) + square((v + 0.38f) / 0.58f));
        dark = 0.24f * square(clamp01(0.55f * (square(u - -0.25f) + square(v - -0.30f))));
    } else if (shape == MGI_TOYBOX_CUBE) {
        light = 0.20f * clamp01((-0.38f - v) * 6.0f);
        dark = 0.08f * clamp01(v + 0.4f);
    } else {
        light = 0.14f * clamp01((-0.06f - u) * 5.0f) * clamp01(0.9f - 0.6f * v);
        dark = 0.12f * clamp01((u + 0.06f) * 5.0f);
    }
    return mix(scale(colour, 1.0f - dark), white, light);
}

static void blend(float *p, rgb c, float a)
{
    p[0] += (c.r - p[0]) * a;
    p[1] += (c.g - p[1]) * a;
    p[2] += (c.b - p[2]) * a;
}

typedef struct box {
    int x0, y0, x1, y1; /* pixels, x1 and y1 excluded */
} box;

static int pixel_limit(float x, int size)
{
    return x > 0.0f ? x < (float)size ? (int)x : size : 0;
}

static box box_around(float x, float y, float half_width, float half_height)
{
    return (box){pixel_limit(x - half_width - 1.0f, W), pixel_limit(y - half_height - 1.0f, H),
                 pixel_limit(x + half_width + 2.0f, W), pixel_limit(y + half_height + 2.0f, H)};
}

/* The shadow keeps to the ground: smaller and paler the higher the object is. */
static void draw_shadow(float *image, box area, float x, float ground, float half_width,
                        float height)
{
    float near = 1.0f - height * (1.0f / 16.0f);
    float rx = half_width * (0.80f + 0.38f * near), ry = 0.26f * rx, depth = 0.24f + 0.16f * near;
    for (int py = area.y0; py < area.y1; py++)
        for (int px = area.x0; px < area.x1; px++) {
            float q =
                square(((float)px + 0.5f - x) / rx) + square(((float)py + 0.5f - ground) / ry);
            float k = 1.0f - depth * hump(q);
            float *p = image + 3 * (py * W + px);
            p[0] *= k;
            p[1] *= k;
            p[2] *= k;
        }
}

static void draw_object(float *image, box area, const mgi_toybox_scene *scene, float x, float y)
{
    const float *c = palette[(unsigned)scene->colour % MGI_TOYBOX_COLOURS];
    rgb colour = {c[0], c[1], c[2]};
    float per_radius = 1.0f / scene->radius;
    for (int py = area.y0; py < area.y1; py++)
        for (int px = area.x0; px < area.x1; px++) {
            float dx = (float)px + 0.5f - x, dy = (float)py + 0.5f - y;
            float a = mgi_toybox_cover(scene->shape, scene->radius, dx, dy);
            if (a > 0.0f)
                blend(image + 3 * (py * W + px),
                      shade(scene->shape, colour, dx * per_radius, dy * per_radius), a);
        }
}

static uint8_t to_byte(float x)
{
    return x > 0.0f ? x < 255.0f ? (uint8_t)(x + 0.5f) : 255 : 0;
}

static void store(const float *image, float light, box area, uint8_t *out)
{
    for (int y = area.y0; y < area.y1; y++)
        for (int i = 3 * (y * W + area.x0); i < 3 * (y * W + area.x1); i++)
            out[i] = to_byte(image[i] * light);
}

static void restore(float *image, const float *background, box area)
{
    for (int y = area.y0; y < area.y1; y++) {
        int i = 3 * (y * W + area.x0);
        memcpy(image + i, background + i, sizeof(float) * (size_t)(3 * (area.x1 - area.x0)));
    }
}

void mgi_toybox_draw(const mgi_toybox_scene *scene, int first, int count, uint8_t *out)
{
    float background[3 * W * H], image[3 * W * H];
    uint8_t empty[3 * W * H];
    mgi_toybox_background(scene->background, background);
    memcpy(image, background, sizeof image);
    store(background, scene->light, (box){0, 0, W, H}, empty);

    float half_width = mgi_toybox_half_width(scene->shape, scene->radius);
    float half_height = mgi_toybox_half_height(scene->shape, scene->radius);
    float rest = scene->y + mgi_toybox_height_at(scene, 0); /* centre while on the ground */
    float step = scene->motion == MGI_TOYBOX_ROLL_LEFT    ? -scene->speed
                 : scene->motion == MGI_TOYBOX_ROLL_RIGHT ? scene->speed
                                                          : 0.0f;
    for (int i = 0; i < count; i++, out += sizeof empty) {
        float height = mgi_toybox_height_at(scene, first + i);
        float x = scene->x + step * (float)(first + i), ground = rest + half_height - 1.0f;
        box shadow = box_around(x, ground, 1.2f * half_width, 0.32f * half_width);
        box object = box_around(x, rest - height, half_width, half_height);
        draw_shadow(image, shadow, x, ground, half_width, height);
        draw_object(image, object, scene, x, rest - height);
        memcpy(out, empty, sizeof empty);
        store(image, scene->light, shadow, out);
        store(image, scene->light, object, out);
        restore(image, background, shadow);
        restore(image, background, object);
    }
}
