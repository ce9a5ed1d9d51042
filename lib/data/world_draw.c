/* SPDX-License-Identifier: MIT
 * How a scene of the world looks: the background, the sign, shadows, objects. */
#include "data/world_parts.h"
#include "data/world_person.h"

#include <math.h>
#include <string.h>

/* Shapes are prepared on a grid, `CELLS` a radius, from which any size and turn is read. */
enum { CELLS = 16, SIDE = 2 * 23 + 1 };
/* A frame is made in bands of rows that fit here. */
enum { BAND = 3 * 64 * 64 };

typedef struct cell {
    float distance; /* from the outline, radii */
    float nx, ny;   /* the surface's normal, sideways */
    float mark;
} cell;

typedef struct sprite {
    cell cells[SIDE * SIDE];
} sprite;

/* A band of the frame in the making; `scale` pixels a unit. */
typedef struct canvas {
    float *image;
    int width, first, rows;
    float scale;
} canvas;

typedef struct box {
    int x0, y0, x1, y1; /* pixels, x1 and y1 excluded */
} box;

static float clamp01(float x)
{
    return x > 0.0f ? x < 1.0f ? x : 1.0f : 0.0f;
}

static float square(float x)
{
    return x * x;
}

static int pixel_limit(float x, int low, int high)
{
    return x > (float)low ? x < (float)high ? (int)x : high : low;
}

static float *pixel_at(const canvas *c, int x, int y)
{
    return c->image + 3 * ((y - c->first) * c->width + x);
}

/* The pixels around (x, y), units. */
static box box_around(const canvas *c, float x, float y, float half_width, float half_height)
{
    int low = c->first, high = c->first + c->rows;
    return (box){pixel_limit((x - half_width) * c->scale - 1.0f, 0, c->width),
                 pixel_limit((y - half_height) * c->scale - 1.0f, low, high),
                 pixel_limit((x + half_width) * c->scale + 2.0f, 0, c->width),
                 pixel_limit((y + half_height) * c->scale + 2.0f, low, high)};
}

static void blend(float *p, const float rgb[3], float a)
{
    for (int k = 0; k < 3; k++)
        p[k] += (rgb[k] - p[k]) * a;
}

/* ---- objects ------------------------------------------------------------------------------------ */

/* The normal of a rounded edge: full slope at the outline, flat from `width` radii inwards. */
static float slope_at(float distance)
{
    float inside = clamp01(-distance * (1.0f / 0.42f));
    return 0.9f * (1.0f - inside) * (1.0f - 0.4f * inside);
}

/* A texture, darker than marks are, takes their place. */
static const float texture_depth = 1.5f;

static void make_sprite(sprite *s, const mgi_world_object *o)
{
    const int middle = SIDE / 2, shape = o->shape;
    for (int j = 0; j < SIDE; j++)
        for (int i = 0; i < SIDE; i++) {
            cell *c = &s->cells[j * SIDE + i];
            float x = (float)(i - middle) / (float)CELLS, y = (float)(j - middle) / (float)CELLS;
            c->distance = mgi_world_shape_distance(shape, x, y);
            c->mark = o->texture ? texture_depth * mgi_world_texture(o->texture, x, y)
                                 : mgi_world_shape_mark(shape, x, y);
        }
    for (int j = 0; j < SIDE; j++)
        for (int i = 0; i < SIDE; i++) {
            cell *c = &s->cells[j * SIDE + i];
            int left = i ? -1 : 0, right = i < SIDE - 1, up = j ? -SIDE : 0;
            int down = j < SIDE - 1 ? SIDE : 0;
            float gx = c[right].distance - c[left].distance, gy = c[down].distance - c[up].distance;
            float length = sqrtf(gx * gx + gy * gy) + 1e-6f;
            float slope =
                shape == MGI_WORLD_BALL ? clamp01(1.0f + c->distance) : slope_at(c->distance);
            c->nx = slope * gx / length;
            c->ny = slope * gy / length;
        }
}

static cell read_sprite(const sprite *s, float x, float y)
{
    const float middle = (float)(SIDE / 2), last = (float)(SIDE - 1) - 0.001f;
    x = x * (float)CELLS + middle;
    y = y * (float)CELLS + middle;
    x = x < 0.0f ? 0.0f : x > last ? last : x;
    y = y < 0.0f ? 0.0f : y > last ? last : y;
    int ix = (int)x, iy = (int)y;
    float fx = x - (float)ix, fy = y - (float)iy;
    const cell *a = &s->cells[iy * SIDE + ix], *b = a + 1, *c = a + SIDE, *d = c + 1;
    float wa = (1.0f - fx) * (1.0f - fy), wb = fx * (1.0f - fy), wc = (1.0f - fx) * fy,
          wd = fx * fy;
    return (cell){wa * a->distance + wb * b->distance + wc * c->distance + wd * d->distance,
                  wa * a->nx + wb * b->nx + wc * c->nx + wd * d->nx,
                  wa * a->ny + wb * b->ny + wc * c->ny + wd * d->ny,
                  wa * a->mark + wb * b->mark + wc * c->mark + wd * d->mark};
}

/* Light from above, left and in front; a gloss where it is mirrored. */
static void shade(const float colour[3], float nx, float ny, float mark, float out[3])
{
    float flat = nx * nx + ny * ny, nz = sqrtf(flat < 0.98f ? 1.0f - flat : 0.02f);
    float light = -0.42f * nx - 0.58f * ny + 0.70f * nz;
    float gloss = -0.23f * nx - 0.32f * ny + 0.92f * nz;
    gloss *= gloss;
    gloss *= gloss;
    gloss *= gloss;
    gloss = 0.5f * gloss * gloss * gloss;
    light = (0.50f + 0.62f * clamp01(light)) * (1.0f - 0.38f * mark);
    gloss *= flat > 0.01f ? 1.0f : 100.0f * flat;
    for (int k = 0; k < 3; k++) {
        float v = colour[k] * light;
        out[k] = v + (255.0f - v) * gloss;
    }
}

static void draw_shadow(const canvas *c, const mgi_world_object *o, const mgi_world_pose *p)
{
    float above = (p->ground - p->y) / p->scale - mgi_world_shape_foot(o->shape) * o->radius;
    float near = 1.0f / (1.0f + 0.06f * (above > 0.0f ? above : 0.0f));
    float rx = mgi_world_shape_width(o->shape) * o->radius * p->scale * (0.75f + 0.40f * near);
    float ry = 0.27f * rx, depth = 0.18f + 0.26f * near;
    box area = box_around(c, p->x, p->ground, rx, ry);
    for (int y = area.y0; y < area.y1; y++)
        for (int x = area.x0; x < area.x1; x++) {
            float q = square((((float)x + 0.5f) / c->scale - p->x) / rx) +
                      square((((float)y + 0.5f) / c->scale - p->ground + 0.5f) / ry);
            float k = q < 1.0f ? 1.0f - depth * (1.0f - q * q) : 1.0f;
            float *pixel = pixel_at(c, x, y);
            for (int i = 0; i < 3; i++)
                pixel[i] *= k;
        }
}

static void draw_object(const canvas *c, const mgi_world_object *o, const mgi_world_pose *p,
                        const sprite *s, float brightness)
{
    float radius = o->radius * p->scale, reach = 1.4f * radius, colour[3], rgb[3];
    float cosine = mgi_world_sine(p->angle + 0.25f), sine = mgi_world_sine(p->angle);
    box area = box_around(c, p->x, p->y, reach, reach);
    mgi_world_colour_rgb(o->paint ? o->paint - 1 : o->colour, colour);
    for (int k = 0; k < 3; k++)
        rgb[k] = o->paint ? colour[k] / brightness : 0.0f;
    for (int y = area.y0; y < area.y1; y++)
        for (int x = area.x0; x < area.x1; x++) {
            float dx = (((float)x + 0.5f) / c->scale - p->x) / radius;
            float dy = (((float)y + 0.5f) / c->scale - p->y) / radius;
            if (dx * dx + dy * dy > 2.0f)
                continue;
            cell at = read_sprite(s, cosine * dx + sine * dy, cosine * dy - sine * dx);
            float cover = clamp01(0.5f - at.distance * radius * c->scale);
            if (cover <= 0.0f)
                continue;
            if (!o->paint)
                shade(colour, cosine * at.nx - sine * at.ny, cosine * at.ny + sine * at.nx, at.mark,
                      rgb);
            blend(pixel_at(c, x, y), rgb, cover);
        }
}

/* ---- the sign ----------------------------------------------------------------------------------- */

static void draw_post(const canvas *c, float x, float top, float bottom, float half)
{
    static const float grey[3] = {104.0f, 106.0f, 116.0f};
    box area = box_around(c, x, 0.5f * (top + bottom), half, 0.5f * (bottom - top));
    for (int y = area.y0; y < area.y1; y++)
        for (int px = area.x0; px < area.x1; px++) {
            float dx = half - fabsf(((float)px + 0.5f) / c->scale - x);
            float dy = bottom - ((float)y + 0.5f) / c->scale;
            float a = clamp01(dx * c->scale + 0.5f) * clamp01(dy * c->scale + 0.5f);
            blend(pixel_at(c, px, y), grey, a);
        }
}

static void draw_sign(const canvas *c, const mgi_world_scene *s, const mgi_world_camera *camera)
{
    float board[3], ink[3], half_height = MGI_WORLD_SIGN_HALF_HEIGHT;
    int n = (int)strlen(s->sign);
    float half = mgi_world_sign_half_width(n);
    mgi_world_pose p;
    mgi_world_sign_at(s, camera, &p);
    mgi_world_sign_rgb(board, ink);
    for (int side = -1; side <= 1; side += 2)
        draw_post(c, p.x + (float)side * 0.6f * half * p.scale, p.y + half_height * p.scale,
                  p.ground, 0.8f * p.scale);
    box area = box_around(c, p.x, p.y, half * p.scale, half_height * p.scale);
    for (int y = area.y0; y < area.y1; y++)
        for (int x = area.x0; x < area.x1; x++) {
            float dx = (((float)x + 0.5f) / c->scale - p.x) / p.scale;
            float dy = (((float)y + 0.5f) / c->scale - p.y) / p.scale, sharp = c->scale * p.scale;
            float qx = fabsf(dx) - half, qy = fabsf(dy) - half_height, edge = qx > qy ? qx : qy;
            float *pixel = pixel_at(c, x, y);
            float column = dx / MGI_WORLD_GLYPH_STEP + 0.5f * (float)n;
            int k = (int)floorf(column);
            blend(pixel, ink, clamp01(0.5f - edge * sharp));
            blend(pixel, board, clamp01(0.5f - (edge + 1.0f) * sharp));
            if (k >= 0 && k < n) {
                float d = mgi_world_glyph_distance(
                    s->sign[k], (column - (float)k - 0.5f) * MGI_WORLD_GLYPH_STEP, dy);
                blend(pixel, ink, clamp01(0.5f - (d - 0.5f * MGI_WORLD_STROKE) * sharp));
            }
        }
}

static void draw_person(const canvas *c, const mgi_world_scene *s, float seconds,
                        const mgi_world_pose *p)
{
    const mgi_world_pen pen = {.image = c->image,
                               .width = c->width,
                               .first = c->first,
                               .rows = c->rows,
                               .x = p->x * c->scale,
                               .y = p->y * c->scale,
                               .unit = s->objects[0].radius * p->scale * c->scale};
    mgi_world_face face;
    mgi_world_face_at(s, seconds, &face);
    mgi_world_draw_person(&pen, &face);
}

/* ---- a frame ------------------------------------------------------------------------------------ */

static void draw_things(const canvas *c, const mgi_world_scene *s, float seconds,
                        const mgi_world_camera *camera, const sprite *sprites)
{
    mgi_world_pose pose[MGI_WORLD_OBJECTS];
    int order[MGI_WORLD_OBJECTS]; /* what stands further away is drawn first */
    for (int i = 0; i < s->count; i++) {
        int k = i;
        for (; k > 0 && s->objects[order[k - 1]].base > s->objects[i].base; k--)
            order[k] = order[k - 1];
        order[k] = i;
        mgi_world_object_at(s, i, seconds, &pose[i]);
    }
    if (s->sign[0])
        draw_sign(c, s, camera);
    for (int k = 0; k < s->count; k++)
        draw_shadow(c, &s->objects[order[k]], &pose[order[k]]);
    if (s->person) {
        draw_person(c, s, seconds, &pose[0]);
        return;
    }
    for (int k = 0; k < s->count; k++)
        draw_object(c, &s->objects[order[k]], &pose[order[k]], &sprites[order[k]], s->light);
}

static void store(const float *image, float light, int count, uint8_t *out)
{
    for (int i = 0; i < count; i++) {
        float v = image[i] * light + 0.5f;
        v = v < 255.0f ? v : 255.0f;
        out[i] = (uint8_t)(int)(v > 0.0f ? v : 0.0f);
    }
}

void mgi_world_draw(const mgi_world_scene *s, int width, int height, int first, int count,
                    uint8_t *out)
{
    float background[BAND], image[BAND];
    sprite sprites[MGI_WORLD_OBJECTS];
    mgi_world_place place;
    mgi_world_camera camera;
    ptrdiff_t row = 3 * width, frame = row * height;
    int most = BAND / (3 * width);
    mgi_world_place_init(&place, s->background);
    for (int i = 0; i < s->count && !s->person; i++)
        make_sprite(&sprites[i], &s->objects[i]);
    for (int top = 0; top < height; top += most) {
        int rows = height - top < most ? height - top : most, values = 3 * width * rows;
        canvas c = {image, width, top, rows, (float)width / (float)s->width};
        for (int i = 0; i < count; i++) {
            float seconds = (float)(first + i) / (float)s->fps;
            mgi_world_camera_at(s, seconds, &camera);
            if (i == 0 || s->camera != MGI_WORLD_STATIC)
                mgi_world_background(&place, s->width, s->height, &camera, width, top, rows,
                                     background);
            memcpy(image, background, sizeof(float) * (size_t)values);
            draw_things(&c, s, seconds, &camera, sprites);
            store(image, s->light, values, out + i * frame + top * row);
        }
    }
}
