/* SPDX-License-Identifier: MIT
 * Shape, size and turn of an object: its cover in several frames against the outlines at every turn. */
#include "eval/world_look.h"

#include <math.h>
#include <string.h>

enum { REACH = 26, SIDE = 2 * REACH + 1, CELLS = SIDE * SIDE, FITS = 6 };

/* Tuned on true scenes blurred by 1 pixel (which must pass) and random blobs (which must not). */
static const float score_min = 0.90f, margin_min = 0.008f;

/* Turns after which a shape is the same (of what is round: no turn shows), and area in squared radii. */
static const float symmetry[MGI_WORLD_SHAPES] = {0.0f,        1.0f / 4.0f, 1.0f / 3.0f,
                                                 1.0f / 5.0f, 0.0f,        1.0f / 4.0f};
static const float area_of[MGI_WORLD_SHAPES] = {3.14f, 3.09f, 2.37f, 2.35f, 2.68f, 2.53f};

/* An object's cover around its centroid. */
typedef struct patch {
    int reach;
    float dx, dy; /* of the centroid from the middle cell */
    float cover[CELLS];
} patch;

typedef struct pose {
    float radius, x, y, angle;
} pose;

static void make_patch(const mgi_look *look, const mgi_look_object *o, int frame, patch *p)
{
    int cx = (int)floorf(o->x[frame]), cy = (int)floorf(o->y[frame]);
    float radius = sqrtf(o->area[frame] * (1.0f / 2.3f));
    p->reach = (int)(1.45f * radius) + 2;
    p->reach = p->reach > REACH ? REACH : p->reach;
    p->dx = o->x[frame] - (float)cx - 0.5f;
    p->dy = o->y[frame] - (float)cy - 0.5f;
    float *out = p->cover;
    for (int j = -p->reach; j <= p->reach; j++)
        for (int i = -p->reach; i <= p->reach; i++)
            *out++ = mgi_look_cover(look, o, frame, cx + i, cy + j);
}

/* Correlation with a shape's cover, whose edge is two pixels wide: as that of a blurred picture. */
static float match(const patch *p, int shape, const pose *at)
{
    float n = 0.0f, sa = 0.0f, sb = 0.0f, saa = 0.0f, sbb = 0.0f, sab = 0.0f;
    float c = mgi_world_sine(at->angle + 0.25f), s = mgi_world_sine(at->angle);
    float per_radius = 1.0f / at->radius, edge = 0.5f * at->radius;
    const float *in = p->cover;
    for (int j = -p->reach; j <= p->reach; j++)
        for (int i = -p->reach; i <= p->reach; i++) {
            float a = *in++;
            if (a < 0.0f)
                continue;
            float x = ((float)i - p->dx - at->x) * per_radius;
            float y = ((float)j - p->dy - at->y) * per_radius;
            float b = 0.5f - edge * mgi_world_shape_distance(shape, c * x + s * y, c * y - s * x);
            b = b < 0.0f ? 0.0f : b > 1.0f ? 1.0f : b;
            n += 1.0f;
            sa += a;
            sb += b;
            saa += a * a;
            sbb += b * b;
            sab += a * b;
        }
    float va = n * saa - sa * sa, vb = n * sbb - sb * sb;
    return va > 1.0f && vb > 1.0f ? (n * sab - sa * sb) / sqrtf(va * vb) : 0.0f;
}

/* The best of turns, then small steps from there. */
static float fit(const patch *p, int shape, float area, pose *best)
{
    const float period = symmetry[shape];
    int turns = period > 0.0f ? 10 : 1;
    float score = -1.0f;
    *best = (pose){.radius = sqrtf(area / area_of[shape])};
    pose start = *best;
    for (int k = 0; k < turns; k++) {
        pose at = start;
        at.angle = period * (float)k / (float)turns;
        float m = match(p, shape, &at);
        if (m > score) {
            score = m;
            *best = at;
        }
    }
    for (float step = 1.0f; step > 0.2f; step *= 0.5f)
        for (int k = 0, round = 0; k < 8 && round < 40; round++) {
            float way = k % 2 ? -step : step;
            pose at = *best;
            at.radius += k / 2 == 0 ? 0.7f * way : 0.0f;
            at.x += k / 2 == 1 ? 0.7f * way : 0.0f;
            at.y += k / 2 == 2 ? 0.7f * way : 0.0f;
            at.angle += k / 2 == 3 ? 0.05f * period * way : 0.0f;
            float m = at.radius > 3.0f ? match(p, shape, &at) : 0.0f;
            if (m > score + 1e-4f) {
                score = m;
                *best = at;
                k = 0;
            } else {
                k++;
            }
        }
    return score;
}

/* The best turn alone. */
static float fit_turn(const patch *p, int shape, float radius)
{
    enum { TURNS = 12 };
    float score = -1.0f, period = symmetry[shape], angle = 0.0f, step = period / TURNS;
    for (int k = 0; k < TURNS; k++) {
        float m = match(p, shape, &(pose){.radius = radius, .angle = step * (float)k});
        if (m > score) {
            score = m;
            angle = step * (float)k;
        }
    }
    for (int round = 0; round < 3; round++) {
        step *= 0.5f;
        for (int way = -1; way <= 1; way += 2) {
            pose at = {.radius = radius, .angle = angle + step * (float)way};
            float m = match(p, shape, &at);
            if (m > score) {
                score = m;
                angle = at.angle;
                break;
            }
        }
    }
    return angle;
}

/* The second harmonic of the brightness around the middle: it turns twice as fast as the marks of what is round.
 * The world's light adds the same to all frames. */
static void read_mark(const mgi_look *look, mgi_look_object *o, int frame, float radius)
{
    const uint8_t *p = look->frames + (ptrdiff_t)frame * look->pixels * 3;
    float rgb[3], n = 0.0f, sv = 0.0f, sc = 0.0f, ss = 0.0f, svc = 0.0f, svs = 0.0f;
    int r = (int)radius + 1, cx = (int)floorf(o->x[frame]), cy = (int)floorf(o->y[frame]);
    mgi_world_colour_rgb(o->colour, rgb);
    float norm = 1.0f / (rgb[0] * rgb[0] + rgb[1] * rgb[1] + rgb[2] * rgb[2]);
    for (int y = cy - r; y <= cy + r; y++)
        for (int x = cx - r; x <= cx + r; x++) {
            float dx = (float)x + 0.5f - o->x[frame], dy = (float)y + 0.5f - o->y[frame];
            float d2 = dx * dx + dy * dy;
            if (d2 < 1.0f || d2 > 0.92f * radius * radius ||
                mgi_look_cover(look, o, frame, x, y) < 0.5f)
                continue;
            const uint8_t *q = p + 3 * (y * look->width + x);
            float v = norm * ((float)q[0] * rgb[0] + (float)q[1] * rgb[1] + (float)q[2] * rgb[2]);
            float c = (dx * dx - dy * dy) / d2, sine = 2.0f * dx * dy / d2;
            n += 1.0f;
            sv += v;
            sc += c;
            ss += sine;
            svc += v * c;
            svs += v * sine;
        }
    o->mark_x[frame] = n > 0.0f ? (svc - sv * sc / n) / n : 0.0f;
    o->mark_y[frame] = n > 0.0f ? (svs - sv * ss / n) / n : 0.0f;
}

/* Up to FITS frames in which the object is whole (or, if there are none, seen), spread over the clip. */
static int choose_frames(const mgi_look *look, const mgi_look_object *o, int out[FITS])
{
    int list[MGI_LOOK_FRAMES], n = 0;
    for (int pass = 0; pass < 2 && n == 0; pass++)
        for (int f = 0; f < look->count; f++)
            if (pass ? o->seen[f] : o->whole[f])
                list[n++] = f;
    int count = n < FITS ? n : FITS;
    for (int i = 0; i < count; i++)
        out[i] = list[count > 1 ? i * (n - 1) / (count - 1) : 0];
    return count;
}

static void read_turns(const mgi_look *look, mgi_look_object *o)
{
    for (int f = 0; f < look->count; f++) {
        patch p;
        float radius = sqrtf(o->area[f] / area_of[o->shape]);
        if (!o->seen[f])
            continue;
        make_patch(look, o, f, &p);
        if (symmetry[o->shape] > 0.0f)
            o->angle[f] = fit_turn(&p, o->shape, radius);
        else
            read_mark(look, o, f, radius);
    }
}

void mgi_look_shape(const mgi_look *look, mgi_look_object *o)
{
    float sum[MGI_WORLD_SHAPES] = {0}, best = 0.0f, second = 0.0f;
    int frames[FITS], n = choose_frames(look, o, frames);
    o->shape = -1;
    o->radius = 0.0f;
    for (int i = 0; i < n; i++) {
        patch p;
        make_patch(look, o, frames[i], &p);
        for (int k = 0; k < MGI_WORLD_SHAPES; k++) {
            pose at;
            sum[k] += fit(&p, k, o->area[frames[i]], &at) / (float)n;
        }
    }
    for (int k = 0; k < MGI_WORLD_SHAPES; k++)
        if (sum[k] > best) {
            second = best;
            best = sum[k];
            o->shape = k;
        } else if (sum[k] > second) {
            second = sum[k];
        }
    o->score = best;
    if (best < score_min || best < second + margin_min)
        o->shape = -1;
    if (o->shape < 0)
        return;
    /* The camera changes no size at time 0, and little soon after. */
    float radius = 0.0f;
    int used = 0;
    for (int i = 0; i < n && (i == 0 || frames[i] <= look->count / 8); i++, used++) {
        patch p;
        pose at;
        mgi_world_pose seen;
        make_patch(look, o, frames[i], &p);
        fit(&p, o->shape, o->area[frames[i]], &at);
        mgi_world_see(look->width, look->height, &look->path[frames[i]], 0.0f,
                      mgi_world_near(look->height), 0.0f, &seen);
        radius += at.radius / seen.scale;
    }
    o->radius = radius / (float)used;
    if (look->count > 1)
        read_turns(look, o);
}
