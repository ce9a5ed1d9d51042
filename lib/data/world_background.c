/* SPDX-License-Identifier: MIT
 * The world's backgrounds: a sky, something very far, something far, and the ground.
 *
 * Sky and ridge 0 are infinitely far: only turning and zooming the camera moves them. Ridge 1 stands at depth
 * MGI_WORLD_FAR. The ground is a plane in perspective, its texture in units along both axes. */
#include "data/world_parts.h"

#include <math.h>

typedef struct rgb {
    float r, g, b;
} rgb;

static inline rgb mix(rgb a, rgb b, float t)
{
    return (rgb){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static inline rgb scaled(rgb a, float s)
{
    return (rgb){a.r * s, a.g * s, a.b * s};
}

static inline float clamp01(float x)
{
    return x > 0.0f ? x < 1.0f ? x : 1.0f : 0.0f;
}

static inline float square(float x)
{
    return x * x;
}

static inline int floor_int(float x)
{
    int i = (int)x;
    return i - (x < (float)i);
}

/* A soft hump of height 1 that ends at x2 = 1. */
static inline float hump(float x2)
{
    return x2 < 1.0f ? square(1.0f - x2) : 0.0f;
}

/* ---- random numbers on a grid ------------------------------------------------------------------- */

static uint32_t hash(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

/* -1..1, of a whole point. */
static inline float lattice(const mgi_world_place *p, int x, int y)
{
    return p->noise[(y & (MGI_WORLD_NOISE - 1)) * MGI_WORLD_NOISE + (x & (MGI_WORLD_NOISE - 1))];
}

/* Smooth between whole points. */
static inline float noise(const mgi_world_place *p, float x, float y)
{
    int ix = floor_int(x), iy = floor_int(y);
    float fx = x - (float)ix, fy = y - (float)iy;
    fx = fx * fx * (3.0f - 2.0f * fx);
    fy = fy * fy * (3.0f - 2.0f * fy);
    float a = lattice(p, ix, iy), b = lattice(p, ix + 1, iy);
    float c = lattice(p, ix, iy + 1), d = lattice(p, ix + 1, iy + 1);
    a += (b - a) * fx;
    c += (d - c) * fx;
    return a + (c - a) * fy;
}

/* Round spots, at most one in a cell, in `share` of the cells: 1 in a spot's middle, below 0 outside. */
static inline float spot(const mgi_world_place *p, float x, float y, float share)
{
    int ix = floor_int(x), iy = floor_int(y);
    float kind = lattice(p, ix + 17, iy + 5);
    if (kind > 2.0f * share - 1.0f)
        return -1.0f;
    float r = 0.30f + 0.12f * lattice(p, ix + 3, iy + 29);
    float dx = x - (float)ix - 0.5f - 0.12f * lattice(p, ix + 41, iy + 11);
    float dy = y - (float)iy - 0.5f - 0.12f * lattice(p, ix + 23, iy + 37);
    return 1.0f - (dx * dx + dy * dy) / (r * r);
}

static inline float ridge(const mgi_world_place *p, int layer, float u)
{
    u *= 4.0f;
    int i = floor_int(u);
    float f = u - (float)i, a = p->ridge[layer][i & (MGI_WORLD_RIDGE - 1)];
    return a + (p->ridge[layer][(i + 1) & (MGI_WORLD_RIDGE - 1)] - a) * f;
}

/* ---- outlines ----------------------------------------------------------------------------------- */

enum { ROUND = MGI_WORLD_RIDGE / 4 }; /* units until a ridge repeats */

/* Humps or peaks side by side, one every `step` units (a divisor of ROUND) and moved by up to a third of it. */
enum outline { ROUNDED, POINTED, LEVEL };

static float bumps(const mgi_world_place *p, float u, float step, float low, float high, int row,
                   enum outline outline)
{
    int n = (int)((float)ROUND / step), first = floor_int(u / step);
    float best = 0.0f;
    for (int i = first - 1; i <= first + 1; i++) {
        int k = ((i % n) + n) % n;
        float h = low + (high - low) * 0.5f * (1.0f + lattice(p, k, row));
        float at = ((float)i + 0.5f + 0.3f * lattice(p, k, row + 1)) * step;
        float x = fabsf(u - at) / (0.75f * step), y = 0.0f;
        if (outline == ROUNDED && x < 1.0f)
            y = h * sqrtf(1.0f - x * x);
        else if (outline == POINTED && x < 1.0f)
            y = h * (1.0f - x);
        else if (outline == LEVEL && x < 0.62f)
            y = h;
        best = y > best ? y : best;
    }
    return best;
}

static float roof(float u, float step, float high)
{
    float x = u / step - floorf(u / step);
    return high * (1.0f - 2.0f * fabsf(x - 0.5f));
}

/* The stone place's houses stand side by side. */
#define HOUSE 16.0f

static float outline(const mgi_world_place *p, int layer, float u)
{
    float wave = 2.0f * mgi_world_sine(u * (3.0f / ROUND)) + mgi_world_sine(u * (7.0f / ROUND));
    switch (p->background) {
    case MGI_WORLD_GRASS:
        return layer ? bumps(p, u, 8.0f, 0.5f, 7.0f, 2, ROUNDED) : 9.0f + 1.5f * wave;
    case MGI_WORLD_SNOW:
        return layer ? bumps(p, u, 4.0f, 2.0f, 8.0f, 2, POINTED)
                     : 4.0f + bumps(p, u, 32.0f, 8.0f, 17.0f, 6, POINTED);
    case MGI_WORLD_SAND:
        return layer ? bumps(p, u, 32.0f, 4.0f, 13.0f, 2, POINTED) : 5.0f + wave;
    case MGI_WORLD_STONE: {
        int house = floor_int(u / HOUSE) & (ROUND / (int)HOUSE - 1);
        return layer ? 10.0f + 2.5f * lattice(p, house, 9) + roof(u, HOUSE, 4.0f)
                     : 4.0f + bumps(p, u, 16.0f, 6.0f, 16.0f, 6, LEVEL);
    }
    case MGI_WORLD_WOOD:
        return layer ? 200.0f : 0.0f; /* a wall */
    default:
        return layer ? bumps(p, u, 16.0f, 0.0f, 4.0f, 2, ROUNDED)
                     : 3.0f + bumps(p, u, 32.0f, 3.0f, 9.0f, 6, POINTED);
    }
}

void mgi_world_place_init(mgi_world_place *place, int background)
{
    place->background = background;
    for (uint32_t i = 0; i < MGI_WORLD_NOISE * MGI_WORLD_NOISE; i++)
        place->noise[i] =
            (float)(hash(i + 4096u * (uint32_t)background) >> 8) * (2.0f / 16777215.0f) - 1.0f;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < MGI_WORLD_RIDGE; i++)
            place->ridge[k][i] = outline(place, k, 0.25f * (float)i);
}

/* ---- what is far -------------------------------------------------------------------------------- */

/* A direction (u, v), units from the point straight ahead on the horizon, v upwards; where it meets the far
 * layer: `far` sideways and `a` above the ground there; pixels per unit. */
typedef struct ray {
    float u, v, far, a, sharp;
} ray;

static rgb clouds(const mgi_world_place *p, const ray *r, rgb sky, float most)
{
    if (r->v < 4.0f)
        return sky;
    float n = noise(p, r->u * 0.055f + 3.3f, r->v * 0.14f) +
              0.5f * noise(p, r->u * 0.13f, r->v * 0.30f + 7.5f);
    return mix(sky, (rgb){253, 253, 253}, most * clamp01(2.2f * n) * clamp01(0.2f * (r->v - 4.0f)));
}

static rgb layer(rgb behind, rgb front, float height, float a, float sharp)
{
    return mix(behind, front, clamp01((height - a) * sharp + 0.5f));
}

static rgb grass_far(const mgi_world_place *p, const ray *r)
{
    rgb c = mix((rgb){208, 232, 244}, (rgb){92, 164, 234}, clamp01(r->v * 0.035f));
    c = clouds(p, r, c, 0.95f);
    float hill = ridge(p, 0, r->u), bush = ridge(p, 1, r->far);
    c = layer(c, mix((rgb){122, 176, 150}, (rgb){150, 198, 176}, clamp01(r->v / hill)), hill, r->v,
              r->sharp);
    float lit = clamp01(r->a / (bush + 0.5f)), leaf = noise(p, r->far * 0.6f, r->a * 0.6f);
    rgb tree = mix((rgb){40, 92, 58}, (rgb){96, 150, 74}, clamp01(0.9f * lit + 0.25f * leaf));
    return layer(c, tree, bush, r->a, r->sharp);
}

static rgb snow_far(const mgi_world_place *p, const ray *r)
{
    rgb c = mix((rgb){232, 238, 246}, (rgb){140, 184, 230}, clamp01(r->v * 0.035f));
    c = clouds(p, r, c, 0.5f);
    float peak = ridge(p, 0, r->u), pine = ridge(p, 1, r->far);
    float slope = ridge(p, 0, r->u + 1.0f) - peak, jag = 2.0f * noise(p, r->u * 0.4f, 9.0f);
    rgb rock = slope > 0.0f ? (rgb){150, 166, 198} : (rgb){122, 138, 176};
    rgb cap = slope > 0.0f ? (rgb){250, 251, 254} : (rgb){214, 224, 240};
    c = layer(c, mix(rock, cap, clamp01((r->v - 9.0f + jag) * 0.6f)), peak, r->v, r->sharp);
    rgb tree = mix((rgb){48, 82, 86}, (rgb){108, 142, 142}, clamp01(0.14f * r->a));
    return layer(c, tree, pine, r->a, r->sharp);
}

static rgb sand_far(const mgi_world_place *p, const ray *r)
{
    rgb c = mix((rgb){254, 238, 206}, (rgb){120, 194, 226}, clamp01(r->v * 0.034f));
    float sun = sqrtf(square(r->u + 17.0f) + square(r->v - 17.0f));
    c = mix(c, (rgb){255, 244, 200}, 0.6f * hump(square(sun / 13.0f)));
    c = layer(c, (rgb){255, 250, 226}, 4.5f, sun, r->sharp);
    float dune = ridge(p, 0, r->u), stone = ridge(p, 1, r->far);
    c = layer(c, mix((rgb){232, 190, 134}, (rgb){246, 216, 166}, clamp01(r->v / dune)), dune, r->v,
              r->sharp);
    rgb side = ridge(p, 1, r->far + 1.0f) > stone ? (rgb){236, 196, 128} : (rgb){186, 140, 92};
    float course = r->a - 2.0f * (float)floor_int(0.5f * r->a);
    return layer(c, scaled(side, course < 0.6f ? 0.93f : 1.0f), stone, r->a, r->sharp);
}

static rgb stone_far(const mgi_world_place *p, const ray *r)
{
    static const rgb walls[4] = {
        {232, 206, 178}, {196, 208, 196}, {222, 186, 174}, {214, 214, 226}};
    rgb c = mix((rgb){240, 240, 238}, (rgb){156, 198, 236}, clamp01(r->v * 0.035f));
    c = clouds(p, r, c, 0.8f);
    c = layer(c, (rgb){186, 194, 216}, ridge(p, 0, r->u), r->v, r->sharp);
    int house = floor_int(r->far * (1.0f / HOUSE)) & (ROUND / (int)HOUSE - 1);
    float at = r->far - HOUSE * (float)floor_int(r->far * (1.0f / HOUSE));
    float top = ridge(p, 1, r->far);
    float wall = 10.0f + 2.5f * lattice(p, house, 9);
    rgb front = walls[(int)(2.0f + 1.99f * lattice(p, house, 3))];
    float column = at - 8.0f * (float)floor_int(0.125f * at);
    if (fabsf(column - 4.0f) < 1.5f && fabsf(r->a - 6.5f) < 1.9f) /* two windows */
        front = (rgb){104, 124, 154};
    front = layer((rgb){186, 104, 82}, front, wall, r->a, r->sharp);
    return layer(c, front, top, r->a, r->sharp);
}

static rgb wood_far(const mgi_world_place *p, const ray *r)
{
    (void)p;
    float at = r->far - 64.0f * (float)floor_int((r->far + 32.0f) * (1.0f / 64.0f));
    float stripe = r->far - 8.0f * (float)floor_int(0.125f * r->far);
    rgb c = stripe < 4.0f ? (rgb){186, 210, 204} : (rgb){200, 221, 214};
    float wx = fabsf(at - 9.0f) - 9.0f, wy = fabsf(r->a - 15.0f) - 7.5f; /* a window */
    float out = wx > wy ? wx : wy;
    if (out < 0.0f) {
        rgb sky = mix((rgb){226, 240, 250}, (rgb){126, 186, 238}, clamp01(r->v * 0.045f));
        float bar = fabsf(at - 9.0f);
        bar = fabsf(r->a - 15.0f) < bar ? fabsf(r->a - 15.0f) : bar;
        c = layer(sky, (rgb){250, 248, 242}, 0.7f, bar, r->sharp);
    }
    c = layer(c, (rgb){250, 248, 242}, 0.8f, fabsf(out), r->sharp);
    float px = fabsf(at + 17.0f) - 5.0f, py = fabsf(r->a - 16.0f) - 4.0f; /* a picture */
    float frame = px > py ? px : py;
    if (frame < 0.0f)
        c = r->a < 15.0f + 0.5f * (at + 17.0f) ? (rgb){120, 150, 134} : (rgb){236, 222, 196};
    c = layer(c, (rgb){138, 104, 72}, 0.8f, fabsf(frame), r->sharp);
    return layer(c, (rgb){244, 240, 232}, 2.2f, r->a, r->sharp);
}

static rgb moon_far(const mgi_world_place *p, const ray *r)
{
    rgb c = mix((rgb){84, 74, 122}, (rgb){34, 32, 66}, clamp01(r->v * 0.05f));
    float star = spot(p, r->u * 0.16f, r->v * 0.16f, 0.45f);
    c = mix(c, (rgb){255, 250, 230},
            clamp01(2.0f * (star - 0.72f)) * clamp01(0.3f * (r->v - 8.0f)));
    float x = (r->u - 15.0f) * (1.0f / 7.5f), y = (r->v - 16.0f) * (1.0f / 7.5f);
    float q = x * x + y * y;
    if (q < 1.3f) { /* the earth */
        float land = noise(p, x * 2.2f + 8.0f, y * 2.2f);
        rgb e = land > 0.1f ? (rgb){120, 176, 130} : (rgb){96, 150, 214};
        e = mix(e, (rgb){250, 250, 252},
                clamp01(2.0f * noise(p, x * 1.5f, y * 4.0f + 20.0f) - 0.4f));
        e = scaled(e, 0.45f + 0.55f * clamp01(0.75f - 0.7f * x + 0.5f * y));
        c = layer(c, e, 7.5f, 7.5f * sqrtf(q), r->sharp);
    }
    float peak = ridge(p, 0, r->u), rock = ridge(p, 1, r->far);
    rgb far = ridge(p, 0, r->u + 1.0f) > peak ? (rgb){146, 142, 164} : (rgb){106, 102, 132};
    c = layer(c, far, peak, r->v, r->sharp);
    return layer(c, mix((rgb){118, 116, 132}, (rgb){176, 174, 184}, clamp01(0.3f * r->a)), rock,
                 r->a, r->sharp);
}

/* ---- the ground --------------------------------------------------------------------------------- */

/* A point of it, units; how deep, 0 near and 1 at the far layer; how much detail can be seen there; units that
 * a pixel covers. */
typedef struct point {
    float x, z, deep, detail, pixel_x, pixel_z;
} point;

/* A joint of a width that begins at 0. */
static inline float joint(float at, float width, float pixel)
{
    return clamp01((0.5f * width - fabsf(at - 0.5f * width)) / pixel + 0.5f);
}

static rgb grass_ground(const mgi_world_place *p, const point *g)
{
    rgb c = mix((rgb){96, 160, 60}, (rgb){166, 206, 108}, g->deep);
    float n = noise(p, g->x * 0.055f, g->z * 0.028f) + 0.5f * noise(p, g->x * 0.14f, g->z * 0.07f);
    c = scaled(c, 1.0f + g->detail * 0.10f * n);
    float flower = spot(p, g->x * 0.11f, g->z * 0.055f, 0.30f);
    float kind = noise(p, g->x * 0.02f + 9.0f, g->z * 0.02f);
    rgb petal = kind > 0.0f ? (rgb){250, 248, 236} : (rgb){252, 226, 120};
    return mix(c, petal, g->detail * clamp01(3.0f * (flower - 0.5f)));
}

static rgb snow_ground(const mgi_world_place *p, const point *g)
{
    rgb c = mix((rgb){230, 238, 250}, (rgb){250, 251, 254}, g->deep);
    float n = noise(p, g->x * 0.05f, g->z * 0.03f) + 0.4f * noise(p, g->x * 0.11f, g->z * 0.08f);
    c = mix(c, (rgb){190, 208, 236}, g->detail * clamp01(0.4f + 0.6f * n) * 0.7f);
    float hole = spot(p, g->x * 0.06f, g->z * 0.035f, 0.28f);
    return mix(c, (rgb){158, 186, 224}, g->detail * 0.8f * clamp01(3.0f * hole));
}

static rgb sand_ground(const mgi_world_place *p, const point *g)
{
    rgb c = mix((rgb){226, 188, 126}, (rgb){244, 220, 168}, g->deep);
    float bend = noise(p, g->x * 0.04f, g->z * 0.02f);
    c = scaled(c, 1.0f + g->detail *
                             (0.05f * mgi_world_sine(g->z * 0.045f + 1.2f * bend) + 0.05f * bend));
    float pebble = spot(p, g->x * 0.07f, g->z * 0.045f, 0.22f);
    return mix(c, (rgb){170, 128, 88}, g->detail * 0.85f * clamp01(3.0f * (pebble - 0.3f)));
}

static rgb stone_ground(const mgi_world_place *p, const point *g)
{
    int row = floor_int(g->z * 0.045f);
    float shift = (row & 1) ? 7.0f : 0.0f;
    int slab = floor_int((g->x + shift) * (1.0f / 14.0f));
    float x = (g->x + shift) - 14.0f * (float)slab, z = g->z * 0.045f - (float)row;
    float tint = 0.09f * lattice(p, slab, row);
    rgb c =
        scaled(mix((rgb){176, 174, 180}, (rgb){206, 204, 206}, g->deep), 1.0f + tint * g->detail);
    float dark = joint(x, 1.1f, g->pixel_x), across = joint(z, 0.09f, g->pixel_z * 0.045f);
    return scaled(c, 1.0f - 0.24f * g->detail * (dark > across ? dark : across));
}

static rgb wood_ground(const mgi_world_place *p, const point *g)
{
    int plank = floor_int(g->x * 0.1f);
    float x = g->x - 10.0f * (float)plank;
    float along = g->z * 0.016f + 3.0f * lattice(p, plank, 7);
    int piece = floor_int(along);
    float tint = 0.09f * lattice(p, plank, piece);
    float grain = 0.03f * noise(p, g->x * 0.5f, g->z * 0.02f);
    rgb c = scaled(mix((rgb){204, 160, 110}, (rgb){228, 196, 152}, g->deep),
                   1.0f + tint + grain * g->detail);
    float dark = joint(x, 0.9f, g->pixel_x);
    float across = joint(along - (float)piece, 0.03f, g->pixel_z * 0.016f);
    return scaled(c, 1.0f - 0.28f * g->detail * (dark > across ? dark : across));
}

static rgb moon_ground(const mgi_world_place *p, const point *g)
{
    rgb c = mix((rgb){164, 162, 172}, (rgb){132, 130, 146}, g->deep);
    float n = noise(p, g->x * 0.06f, g->z * 0.04f) + 0.4f * noise(p, g->x * 0.2f, g->z * 0.1f);
    c = scaled(c, 1.0f + g->detail * 0.09f * n);
    float crater = spot(p, g->x * 0.05f, g->z * 0.03f, 0.45f);
    c = scaled(c, 1.0f + g->detail * 0.22f * hump(square(crater * 2.2f)));
    return mix(c, (rgb){104, 102, 120}, g->detail * 0.85f * clamp01(2.5f * (crater - 0.12f)));
}

/* ---- a view ------------------------------------------------------------------------------------- */

typedef rgb far_fn(const mgi_world_place *p, const ray *r);
typedef rgb ground_fn(const mgi_world_place *p, const point *g);

static far_fn *const far_of[MGI_WORLD_BACKGROUNDS] = {grass_far, snow_far, sand_far,
                                                      stone_far, wood_far, moon_far};
static ground_fn *const ground_of[MGI_WORLD_BACKGROUNDS] = {grass_ground, snow_ground, sand_ground,
                                                            stone_ground, wood_ground, moon_ground};

/* Depth in units along the ground is this times mgi_world_see's. */
static const float along = 64.0f;

void mgi_world_background(const mgi_world_place *p, int view_width, int view_height,
                          const mgi_world_camera *camera, int width, int first, int rows,
                          float *out)
{
    far_fn *far = far_of[(unsigned)p->background % MGI_WORLD_BACKGROUNDS];
    ground_fn *ground = ground_of[(unsigned)p->background % MGI_WORLD_BACKGROUNDS];
    float scale = (float)width / (float)view_width, per_zoom = 1.0f / camera->zoom;
    float cx = 0.5f * (float)view_width, cy = 0.5f * (float)view_height;
    float horizon = mgi_world_horizon(view_height), reach = mgi_world_near(view_height) - horizon;
    float far_depth = MGI_WORLD_FAR - camera->push, sharp = scale * camera->zoom;
    float far_row = horizon + (reach + camera->rise) / far_depth;
    float far_scale = far_depth / MGI_WORLD_FAR, far_x = camera->truck / MGI_WORLD_FAR;
    for (int y = first; y < first + rows; y++) {
        float row = cy + (((float)y + 0.5f) / scale - cy) * per_zoom + camera->pan_y;
        float below = clamp01((row - far_row) * sharp + 0.5f);
        float depth = (reach + camera->rise) / (row > far_row ? row - horizon : far_row - horizon);
        ray r = {.v = horizon - row, .a = (far_row - row) * far_scale, .sharp = sharp};
        point g = {.z = (depth + camera->push) * along, .deep = depth / MGI_WORLD_FAR};
        g.pixel_x = depth / sharp;
        g.pixel_z = along * depth * depth / ((reach + camera->rise) * sharp);
        g.detail = 1.0f / (1.0f + square(g.pixel_z * (1.0f / 30.0f)));
        g.deep = clamp01(1.25f * (g.deep - 0.15f));
        for (int x = 0; x < width; x++, out += 3) {
            r.u = (((float)x + 0.5f) / scale - cx) * per_zoom + camera->pan_x;
            rgb c = {0, 0, 0};
            if (below < 1.0f) {
                r.far = r.u * far_scale + far_x;
                c = far(p, &r);
            }
            if (below > 0.0f) {
                g.x = r.u * depth + camera->truck;
                c = below < 1.0f ? mix(c, ground(p, &g), below) : ground(p, &g);
            }
            out[0] = c.r;
            out[1] = c.g;
            out[2] = c.b;
        }
    }
}
