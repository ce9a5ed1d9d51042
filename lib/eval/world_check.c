/* SPDX-License-Identifier: MIT
 * Reading a scene of the world back from its pixels.
 *
 * 1. Background and the camera's path (world_look_camera.c): then the empty view is known in every frame.
 * 2. Pixels that no brightness of the background explains, shadows being the background made darker, have a colour
 *    of the palette by their hue. Each colour that has a solid patch is an object.
 * 3. How much of a pixel an object covers: how far it lies along the part of the object's colour that is orthogonal
 *    to the background there; a shadow again counts nothing.
 * 4. Shapes, sizes and turns from covers (world_look_shape.c), motions and the frame rate from their tracks
 *    (world_look_motion.c), the sign (world_look_sign.c). */
#include "eval/world_check.h"

#include "core/alloc.h"
#include "core/pool.h"
#include "eval/world_look.h"

#include <math.h>
#include <string.h>

enum { PIXELS_MAX = 128 * 80 };

/* An object's solid part has at least so many pixels. */
static const float solid_min = 8.0f;

static float dot3(const float *a, const float *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static void load_pixel(const mgi_look *look, int frame, int i, float p[3])
{
    const uint8_t *q = look->frames + 3 * ((ptrdiff_t)frame * look->pixels + i);
    for (int k = 0; k < 3; k++)
        p[k] = (float)q[k];
}

static const float *background_at(const mgi_look *look, int frame, int i)
{
    return look->background + 3 * ((ptrdiff_t)frame * look->pixels + i);
}

static int8_t *labels(const mgi_look *look, int frame)
{
    return look->label + (ptrdiff_t)frame * look->pixels;
}

/* ---- colours ------------------------------------------------------------------------------------ */

/* Hue as a direction: two coordinates, not normalised. */
static void chroma(const float p[3], float out[2])
{
    out[0] = p[0] - 0.5f * (p[1] + p[2]);
    out[1] = 0.8660254f * (p[1] - p[2]);
}

/* The palette's colour whose hue is nearest and within 24 degrees; -1 = none, or grey. */
static int nearest_hue(const float p[3])
{
    float u[2], best = 0.9135f, most = p[0] > p[1] ? p[0] : p[1];
    int found = -1;
    most = p[2] > most ? p[2] : most;
    chroma(p, u);
    float length = sqrtf(u[0] * u[0] + u[1] * u[1]);
    if (length < 36.0f || length < 0.3f * most)
        return -1;
    for (int k = 0; k < MGI_WORLD_COLOURS; k++) {
        float rgb[3], v[2];
        mgi_world_colour_rgb(k, rgb);
        chroma(rgb, v);
        float c = (u[0] * v[0] + u[1] * v[1]) / (length * sqrtf(v[0] * v[0] + v[1] * v[1]));
        if (c > best) {
            best = c;
            found = k;
        }
    }
    return found;
}

/* How far p is from the background b in any light or shadow. */
static float off_background(const float p[3], const float b[3])
{
    float t = dot3(p, b) / (dot3(b, b) + 1.0f);
    t = t < 0.45f ? 0.45f : t > 1.12f ? 1.12f : t;
    float r[3] = {p[0] - t * b[0], p[1] - t * b[1], p[2] - t * b[2]};
    return sqrtf(dot3(r, r));
}

static void label_frame(mgi_look *look, int frame)
{
    int8_t *out = labels(look, frame);
    for (int i = 0; i < look->pixels; i++) {
        float p[3];
        load_pixel(look, frame, i, p);
        out[i] =
            off_background(p, background_at(look, frame, i)) < 30.0f ? -1 : (int8_t)nearest_hue(p);
    }
}

/* ---- patches ------------------------------------------------------------------------------------ */

typedef struct part {
    float x, y, area; /* centroid and number of a colour's solid pixels */
} part;

/* A pixel is solid if all its neighbours have its colour; mixed pixels along edges are not. */
static bool solid(const mgi_look *look, const int8_t *label, int x, int y)
{
    const int8_t *p = label + y * look->width + x;
    for (int j = -1; j <= 1; j++)
        for (int i = -1; i <= 1; i++)
            if (p[j * look->width + i] != p[0])
                return false;
    return p[0] >= 0;
}

/* In the second pass, of those only that are near where the first found them. */
static void find_parts(const mgi_look *look, int frame, part out[MGI_WORLD_COLOURS])
{
    const float near = 20.0f;
    const int8_t *label = labels(look, frame);
    part before[MGI_WORLD_COLOURS];
    for (int pass = 0; pass < 2; pass++) {
        memcpy(before, out, sizeof before);
        memset(out, 0, sizeof before);
        for (int y = 1; y < look->height - 1; y++)
            for (int x = 1; x < look->width - 1; x++) {
                if (!solid(look, label, x, y))
                    continue;
                int k = label[y * look->width + x];
                if (pass &&
                    (fabsf((float)x - before[k].x) > near || fabsf((float)y - before[k].y) > near))
                    continue;
                out[k].x += (float)x + 0.5f;
                out[k].y += (float)y + 0.5f;
                out[k].area += 1.0f;
            }
        for (int k = 0; k < MGI_WORLD_COLOURS; k++)
            if (out[k].area > 0.0f) {
                out[k].x /= out[k].area;
                out[k].y /= out[k].area;
            }
    }
}

float mgi_look_cover(const mgi_look *look, const mgi_look_object *o, int frame, int x, int y)
{
    int w = look->width, i = y * w + x;
    float p[3], c[3];
    if (x < 0 || y < 0 || x >= w || y >= look->height)
        return -1.0f;
    const int8_t *label = labels(look, frame);
    if (label[i] == o->colour)
        return 1.0f;
    for (int k = 0; k < look->objects; k++) /* beside or in another object: not known */
        if (look->object[k].colour != o->colour) {
            int other = look->object[k].colour;
            if (label[i] == other || (x > 0 && label[i - 1] == other) ||
                (x < w - 1 && label[i + 1] == other) || (y > 0 && label[i - w] == other) ||
                (y < look->height - 1 && label[i + w] == other))
                return label[i] == other ? 0.0f : -1.0f;
        }
    const float *b = background_at(look, frame, i);
    load_pixel(look, frame, i, p);
    mgi_world_colour_rgb(o->colour, c);
    float bb = dot3(b, b) + 1.0f, t = dot3(c, b) / bb;
    float side[3] = {c[0] - t * b[0], c[1] - t * b[1], c[2] - t * b[2]};
    float cover = 1.25f * dot3(p, side) / dot3(c, side);
    return cover < 0.0f ? 0.0f : cover > 1.0f ? 1.0f : cover;
}

/* Centroid and area of the cover around the solid part. */
static void measure(const mgi_look *look, mgi_look_object *o, int frame, const part *p)
{
    float reach = 1.1f * sqrtf(p->area) + 6.0f, sx = 0.0f, sy = 0.0f, area = 0.0f;
    bool whole = true;
    for (int y = (int)(p->y - reach); y <= (int)(p->y + reach); y++)
        for (int x = (int)(p->x - reach); x <= (int)(p->x + reach); x++) {
            float a = mgi_look_cover(look, o, frame, x, y);
            if (a < 0.35f)
                continue;
            sx += a * ((float)x + 0.5f);
            sy += a * ((float)y + 0.5f);
            area += a;
            if (x == 0 || y == 0 || x == look->width - 1 || y == look->height - 1)
                whole = false;
        }
    o->seen[frame] = area > 20.0f;
    o->whole[frame] = o->seen[frame] && whole;
    o->area[frame] = area;
    o->x[frame] = area > 0.0f ? sx / area : p->x;
    o->y[frame] = area > 0.0f ? sy / area : p->y;
}

/* Solid pixels of a colour, mean over the third of the frames that have most: a camera may leave the object. */
static float solidity(const mgi_look *look, part (*parts)[MGI_WORLD_COLOURS], int colour)
{
    float areas[MGI_LOOK_FRAMES], sum = 0.0f;
    int n = (look->count + 2) / 3;
    for (int f = 0; f < look->count; f++) {
        int i = f;
        for (; i > 0 && areas[i - 1] < parts[f][colour].area; i--)
            areas[i] = areas[i - 1];
        areas[i] = parts[f][colour].area;
    }
    for (int i = 0; i < n; i++)
        sum += areas[i];
    return sum / (float)n;
}

/* The colours with the largest solid parts, at most three that are large enough. */
static void find_objects(mgi_look *look, part (*parts)[MGI_WORLD_COLOURS])
{
    float mean[MGI_WORLD_COLOURS];
    for (int f = 0; f < look->count; f++) {
        label_frame(look, f);
        find_parts(look, f, parts[f]);
    }
    for (int k = 0; k < MGI_WORLD_COLOURS; k++)
        mean[k] = solidity(look, parts, k);
    while (look->objects < MGI_WORLD_OBJECTS) {
        int best = 0;
        for (int k = 1; k < MGI_WORLD_COLOURS; k++)
            best = mean[k] > mean[best] ? k : best;
        if (mean[best] < solid_min)
            break;
        look->object[look->objects++].colour = best;
        mean[best] = 0.0f;
    }
    for (int i = 0; i < look->objects; i++)
        for (int f = 0; f < look->count; f++) {
            const part *p = &parts[f][look->object[i].colour];
            if (p->area >= 4.0f)
                measure(look, &look->object[i], f, p);
        }
}

/* ---- all ---------------------------------------------------------------------------------------- */

static void draw_backgrounds(mgi_look *look)
{
    for (int f = 0; f < look->count; f++) {
        float *out = look->background + 3 * (ptrdiff_t)f * look->pixels;
        mgi_world_background(&look->place, look->width, look->height, &look->path[f], look->width,
                             0, look->height, out);
        for (int i = 0; i < 3 * look->pixels; i++)
            out[i] *= look->gain;
    }
}

static void tell(mgi_look *look, mgi_world_said *out)
{
    int motions[MGI_WORLD_OBJECTS] = {-1, -1, -1};
    for (int i = 0; i < look->objects; i++)
        mgi_look_shape(look, &look->object[i]);
    if (look->count > 1)
        mgi_look_motion(look, &out->camera, motions, &out->fps);
    out->count = look->objects;
    for (int i = 0; i < look->objects; i++) {
        const mgi_look_object *o = &look->object[i];
        out->objects[i].shape = o->shape;
        out->objects[i].colour = o->colour;
        out->objects[i].motion = motions[i];
        out->objects[i].size = o->shape < 0        ? -1
                               : o->radius < 9.5f  ? MGI_WORLD_SMALL
                               : o->radius < 12.5f ? MGI_WORLD_MEDIUM
                                                   : MGI_WORLD_LARGE;
    }
    mgi_look_sign(look, out->sign);
}

bool mgi_world_checkable(int64_t width, int64_t height, int64_t frames)
{
    return width >= 48 && height >= 48 && width <= PIXELS_MAX / height && frames <= MGI_LOOK_FRAMES;
}

/* What reading a film takes. */
typedef struct room {
    mgi_look look;
    part (*parts)[MGI_WORLD_COLOURS]; /* of each frame */
} room;

static void room_free(mgen_context *ctx, room *r)
{
    mgi_free(ctx, r->parts);
    mgi_free(ctx, r->look.label);
    mgi_free(ctx, r->look.background);
}

static mgen_status room_make(mgen_context *ctx, int width, int height, int count, room *r)
{
    mgi_look *look = &r->look;
    look->width = width;
    look->height = height;
    look->pixels = width * height;
    look->count = count < MGI_LOOK_FRAMES ? count : MGI_LOOK_FRAMES;
    const size_t pixels = (size_t)(look->count * look->pixels);
    MGI_TRY(mgi_alloc(ctx, pixels * 3 * sizeof(float), &look->background));
    MGI_TRY(mgi_alloc(ctx, pixels, &look->label));
    return mgi_alloc_zero(ctx, (size_t)look->count, sizeof *r->parts, &r->parts);
}

static void read_film(room *r, const uint8_t *frames, int count, mgi_world_said *out)
{
    mgi_look *look = &r->look;
    *out = (mgi_world_said){.background = -1, .camera = -1};
    look->frames = frames;
    out->background = mgi_look_background(look);
    if (out->background < 0)
        return;
    look->path[0].zoom = 1.0f;
    if (count > 1)
        out->camera = mgi_look_camera(look);
    draw_backgrounds(look);
    find_objects(look, r->parts);
    tell(look, out);
}

typedef struct reading {
    room *rooms; /* of each film */
    const uint8_t *frames;
    int count;
    mgi_world_said *out;
} reading;

static void read_one(void *arg, int64_t i, int thread)
{
    const reading *w = arg;
    room *r = &w->rooms[i];
    (void)thread;
    read_film(r, w->frames + (size_t)i * (size_t)w->count * (size_t)r->look.pixels * 3, w->count,
              &w->out[i]);
}

mgen_status mgi_world_check_films(mgen_context *ctx, const uint8_t *frames, int64_t films,
                                  int width, int height, int count, mgi_world_said *out)
{
    reading w = {.frames = frames, .count = count, .out = out};
    mgen_status status = MGEN_OK;
    if (width < 16 || height < 16 || count < 1 || width > PIXELS_MAX / height)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the checker reads frames of 16 x 16 to %d pixels, not %d x %d", PIXELS_MAX,
                        width, height);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)films, sizeof *w.rooms, &w.rooms));
    for (int64_t i = 0; i < films && status == MGEN_OK; i++)
        status = room_make(ctx, width, height, count, &w.rooms[i]);
    if (status == MGEN_OK)
        mgi_pool_run(ctx->pool, films, read_one, &w);
    for (int64_t i = 0; i < films; i++)
        room_free(ctx, &w.rooms[i]);
    mgi_free(ctx, w.rooms);
    return status;
}

mgen_status mgi_world_check(mgen_context *ctx, const uint8_t *frames, int width, int height,
                            int count, mgi_world_said *out)
{
    return mgi_world_check_films(ctx, frames, 1, width, height, count, out);
}
