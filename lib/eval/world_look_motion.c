/* SPDX-License-Identifier: MIT
 * Motion and frame rate: the tracks of the objects, freed from the camera's movement, against the world's laws.
 *
 * The laws are functions of seconds, so that a track also tells how many frames a second has. All objects and the
 * camera must agree on that. */
#include "eval/world_look.h"

#include <math.h>
#include <string.h>

enum { DEPTHS = 5, PHASES = 40, PACES = 5 };

static const int rates[3] = {8, 16, 24};

/* An object's way in the undisturbed view, as if it stood at `depth`; n frames of it. */
typedef struct track {
    int n, frame[MGI_LOOK_FRAMES];
    float x[MGI_LOOK_FRAMES], y[MGI_LOOK_FRAMES];
} track;

static void make_track(const mgi_look *look, const mgi_look_object *o, float depth, track *t)
{
    float cx = 0.5f * (float)look->width, cy = 0.5f * (float)look->height;
    float horizon = mgi_world_horizon(look->height), reach = mgi_world_near(look->height) - horizon;
    int whole = 0;
    for (int f = 0; f < look->count; f++)
        whole += o->whole[f];
    t->n = 0;
    for (int f = 0; f < look->count; f++) {
        const mgi_world_camera *c = &look->path[f];
        if (!(whole >= look->count / 3 ? o->whole[f] : o->seen[f]))
            continue;
        float nearer = depth - c->push;
        nearer = nearer < 0.2f ? 0.2f : nearer;
        float gx = (o->x[f] - cx) / c->zoom + c->pan_x,
              gy = (o->y[f] - cy) / c->zoom + cy + c->pan_y;
        float ground = horizon + (reach + c->rise) / nearer;
        t->frame[t->n] = f;
        t->x[t->n] = cx + (gx * nearer + c->truck) / depth;
        t->y[t->n++] = horizon + reach / depth - (ground - gy) * nearer / depth;
    }
}

static float mean(const float *v, int n)
{
    float sum = 0.0f;
    for (int i = 0; i < n; i++)
        sum += v[i];
    return n ? sum / (float)n : 0.0f;
}

/* Mean squared distance of v from the way, each freed from its mean; one point counts 9 at most. */
static float apart(const float *v, const float *way, int n)
{
    float m = mean(v, n) - mean(way, n), sum = 0.0f;
    for (int i = 0; i < n; i++) {
        float d = v[i] - way[i] - m;
        sum += d * d < 9.0f ? d * d : 9.0f;
    }
    return sum / (float)n;
}

/* ---- the laws ----------------------------------------------------------------------------------- */

static float law_still(const track *t)
{
    float zero[MGI_LOOK_FRAMES] = {0};
    return apart(t->x, zero, t->n) + apart(t->y, zero, t->n);
}

static float law_roll(const track *t, float rate, float way)
{
    float x[MGI_LOOK_FRAMES], zero[MGI_LOOK_FRAMES] = {0};
    for (int i = 0; i < t->n; i++)
        x[i] = way * MGI_WORLD_ROLL_SPEED * rate * (float)t->frame[i];
    return apart(t->x, x, t->n) + apart(t->y, zero, t->n);
}

/* Up or down at constant speed until a moment, then at rest. */
static float law_rise(const track *t, float rate, float way)
{
    float y[MGI_LOOK_FRAMES], zero[MGI_LOOK_FRAMES] = {0}, best = 1e30f;
    float x = apart(t->x, zero, t->n);
    for (int end = t->n / 6; end <= t->n; end++) {
        float last = end < t->n ? (float)t->frame[end] : 1e6f;
        for (int i = 0; i < t->n; i++) {
            float f = (float)t->frame[i] < last ? (float)t->frame[i] : last;
            y[i] = way * MGI_WORLD_RISE_SPEED * rate * f;
        }
        float e = apart(t->y, y, t->n);
        best = e < best ? e : best;
    }
    return best + x;
}

static float law_bounce(const track *t, float rate)
{
    float y[MGI_LOOK_FRAMES], zero[MGI_LOOK_FRAMES] = {0}, best = 1e30f;
    for (int k = 0; k < PHASES; k++) {
        for (int i = 0; i < t->n; i++) {
            float u = rate * (float)t->frame[i] / MGI_WORLD_BOUNCE_PERIOD + (float)k / PHASES;
            u -= floorf(u);
            y[i] = -4.0f * MGI_WORLD_BOUNCE_HEIGHT * u * (1.0f - u);
        }
        float e = apart(t->y, y, t->n);
        best = e < best ? e : best;
    }
    return best + apart(t->x, zero, t->n);
}

static float law_orbit(const track *t, float rate, float way)
{
    float x[MGI_LOOK_FRAMES], y[MGI_LOOK_FRAMES], best = 1e30f;
    for (int k = 0; k < PHASES; k++) {
        for (int i = 0; i < t->n; i++) {
            float u = way * rate * (float)t->frame[i] / MGI_WORLD_ORBIT_PERIOD + (float)k / PHASES;
            x[i] = MGI_WORLD_ORBIT_WIDTH * mgi_world_sine(u + 0.25f);
            y[i] = MGI_WORLD_ORBIT_HEIGHT * mgi_world_sine(u);
        }
        float e = apart(t->x, x, t->n) + apart(t->y, y, t->n);
        best = e < best ? e : best;
    }
    return best;
}

static float law(const track *t, int motion, float rate)
{
    switch (motion) {
    case MGI_WORLD_BOUNCE:
        return law_bounce(t, rate);
    case MGI_WORLD_ROLL_LEFT:
        return law_roll(t, rate, -1.0f);
    case MGI_WORLD_ROLL_RIGHT:
        return law_roll(t, rate, 1.0f);
    case MGI_WORLD_RISE:
        return law_rise(t, rate, -1.0f);
    case MGI_WORLD_FALL:
        return law_rise(t, rate, 1.0f);
    case MGI_WORLD_ORBIT: {
        float a = law_orbit(t, rate, 1.0f), b = law_orbit(t, rate, -1.0f);
        return a < b ? a : b;
    }
    default:
        return law_still(t);
    }
}

/* ---- turning ------------------------------------------------------------------------------------ */

/* Copies of a shape's outline, or of its marks, in one turn. */
static const float per_turn[MGI_WORLD_SHAPES] = {2.0f, 4.0f, 3.0f, 5.0f, 2.0f, 4.0f};

static bool is_round(const mgi_look_object *o)
{
    return o->shape == MGI_WORLD_BALL || o->shape == MGI_WORLD_RING;
}

/* How much of the outline's turns is explained by `step` turns a frame, 0..1. */
static float outline_turning(const mgi_look *look, const mgi_look_object *o, float step)
{
    float c = 0.0f, s = 0.0f, n = 1e-9f;
    for (int f = 0; f < look->count; f++)
        if (o->seen[f]) {
            float turns = per_turn[o->shape] * (o->angle[f] - step * (float)f);
            c += mgi_world_sine(turns + 0.25f);
            s += mgi_world_sine(turns);
            n += 1.0f;
        }
    return sqrtf(c * c + s * s) / n;
}

/* The same of marks: of what is left of them around their mean, which is the light's and, if they rest, theirs. The
 * part that turns, v = a + b e^(i w f), is found by least squares. `size` is |b|. */
static float mark_turning(const mgi_look *look, const mgi_look_object *o, float step, float *size)
{
    float n = 0.0f, ex = 0.0f, ey = 0.0f, vx = 0.0f, vy = 0.0f, wx = 0.0f, wy = 0.0f, vv = 0.0f;
    for (int f = 0; f < look->count; f++) {
        if (!o->seen[f])
            continue;
        float turns = 2.0f * step * (float)f, x = o->mark_x[f], y = o->mark_y[f];
        float c = mgi_world_sine(turns + 0.25f), s = mgi_world_sine(turns);
        n += 1.0f;
        ex += c;
        ey += s;
        vx += x;
        vy += y;
        vv += x * x + y * y;
        wx += x * c + y * s;
        wy += y * c - x * s;
    }
    float det = n * n - ex * ex - ey * ey, rest = vv - (vx * vx + vy * vy) / n;
    *size = 0.0f;
    if (n < 4.0f || det < 0.05f * n * n || rest <= 0.0f)
        return 0.0f;
    float bx = (n * wx - (ex * vx + ey * vy)) / det, by = (n * wy - (ex * vy - ey * vx)) / det;
    float ax = (vx - (bx * ex - by * ey)) / n, ay = (vy - (bx * ey + by * ex)) / n;
    float left = vv - (ax * vx + ay * vy) - (bx * wx + by * wy);
    *size = sqrtf(bx * bx + by * by);
    return 1.0f - left / rest;
}

/* Whether an object spins, at each rate: how well its turns agree, 0 if it does not. */
static void read_spin(const mgi_look *look, const mgi_look_object *o, float spin[3])
{
    for (int r = 0; r < 3; r++) {
        spin[r] = 0.0f;
        for (int k = 0; k < 2 * PACES; k++) {
            float pace = 1.0f + MGI_WORLD_PACE * (float)(k / 2 - PACES / 2) / (float)(PACES / 2);
            float step = (k % 2 ? -pace : pace) / (MGI_WORLD_SPIN_PERIOD * (float)rates[r]),
                  size = 0.0f;
            float q =
                is_round(o) ? mark_turning(look, o, step, &size) : outline_turning(look, o, step);
            if (is_round(o) && size < 0.02f)
                q = 0.0f;
            spin[r] = q > spin[r] ? q : spin[r];
        }
    }
    float best = spin[0] > spin[1] ? spin[0] : spin[1];
    best = best > spin[2] ? best : spin[2];
    bool spins =
        is_round(o) ? best > 0.6f : best > 0.75f && best > outline_turning(look, o, 0.0f) + 0.1f;
    for (int r = 0; r < 3; r++)
        spin[r] = spins ? spin[r] : 0.0f;
}

/* ---- all ---------------------------------------------------------------------------------------- */

/* How far an object's track is from each law at each rate, square units; whether it spins. */
typedef struct verdict {
    float miss[MGI_WORLD_MOTIONS][3], spin[3];
    bool spins;
} verdict;

static bool moves_along(const mgi_look *look)
{
    const mgi_world_camera *c = &look->path[look->count - 1];
    return c->truck != 0.0f || c->rise != 0.0f || c->push != 0.0f;
}

static void judge(const mgi_look *look, const mgi_look_object *o, verdict *v)
{
    static const float depths[DEPTHS] = {1.0f, 0.8f, 0.9f, 1.15f, 1.35f};
    int count = moves_along(look) ? DEPTHS : 1;
    for (int m = 0; m < MGI_WORLD_MOTIONS; m++)
        for (int r = 0; r < 3; r++)
            v->miss[m][r] = 1e6f;
    for (int d = 0; d < count; d++) {
        track t;
        make_track(look, o, depths[d], &t);
        if (t.n < 3)
            break;
        for (int m = 0; m < MGI_WORLD_MOTIONS; m++)
            for (int r = 0; r < 3; r++)
                for (int k = 0; k < PACES; k++) {
                    float pace =
                        1.0f + MGI_WORLD_PACE * (float)(k - PACES / 2) / (float)(PACES / 2);
                    float e = law(&t, m, pace / (float)rates[r]);
                    v->miss[m][r] = e < v->miss[m][r] ? e : v->miss[m][r];
                    if (m == MGI_WORLD_SPIN || m == MGI_WORLD_STILL)
                        break;
                }
    }
    memset(v->spin, 0, sizeof v->spin);
    if (o->shape >= 0)
        read_spin(look, o, v->spin);
    v->spins = v->spin[0] + v->spin[1] + v->spin[2] > 0.0f;
    for (int r = 0; r < 3; r++) /* only what spins can be told from what is still */
        v->miss[v->spins ? MGI_WORLD_STILL : MGI_WORLD_SPIN][r] = 1e6f;
}

static int best_motion(const verdict *v, int rate)
{
    int best = 0;
    for (int m = 1; m < MGI_WORLD_MOTIONS; m++)
        if (v->miss[m][rate] < v->miss[best][rate])
            best = m;
    return best;
}

/* A trucking camera before which an object keeps its place is tracking it. */
static void tell_tracking(mgi_look *look, int *camera)
{
    if (*camera != MGI_WORLD_TRUCK_LEFT && *camera != MGI_WORLD_TRUCK_RIGHT &&
        *camera != MGI_WORLD_TRACKING)
        return;
    float way = look->path[look->count - 1].truck / (float)(look->count - 1); /* a frame */
    bool tracked = false;
    for (int i = 0; i < look->objects; i++) {
        const mgi_look_object *o = &look->object[i];
        float n = 0.0f, sf = 0.0f, sff = 0.0f, sx = 0.0f, sfx = 0.0f;
        for (int f = 0; f < look->count; f++)
            if (o->seen[f]) {
                n += 1.0f;
                sf += (float)f;
                sff += (float)f * (float)f;
                sx += o->x[f];
                sfx += (float)f * o->x[f];
            }
        float var = n * sff - sf * sf;
        tracked = tracked ||
                  (n > 3.0f && var > 0.0f && fabsf((n * sfx - sf * sx) / var) < 0.15f * fabsf(way));
    }
    if (tracked) {
        *camera = MGI_WORLD_TRACKING;
        look->rate = fabsf(way) / MGI_WORLD_ROLL_SPEED;
    } else {
        *camera = way > 0.0f ? MGI_WORLD_TRUCK_RIGHT : MGI_WORLD_TRUCK_LEFT;
        look->rate = fabsf(way) / 5.0f;
    }
}

void mgi_look_motion(mgi_look *look, int *camera, int motions[MGI_WORLD_OBJECTS], int *fps)
{
    /* Square units by which a track may miss its law, and how much a bad rate of turning or of the camera adds. */
    const float miss_max = 2.5f, turn_cost = 4.0f, camera_cost = 100.0f;
    verdict v[MGI_WORLD_OBJECTS];
    float best = 1e30f;
    bool moving = look->rate > 0.0f;
    int rate = 1;
    tell_tracking(look, camera);
    for (int i = 0; i < look->objects; i++)
        judge(look, &look->object[i], &v[i]);
    for (int r = 0; r < 3; r++) {
        float cost = 0.0f;
        if (look->rate > 0.0f) {
            float off = fabsf(look->rate * (float)rates[r] - 1.0f);
            cost += camera_cost * off * off;
        }
        for (int i = 0; i < look->objects; i++) {
            int m = best_motion(&v[i], r);
            cost += v[i].miss[m][r] < 9.0f ? v[i].miss[m][r] : 9.0f;
            if (m == MGI_WORLD_SPIN)
                cost += turn_cost * (1.0f - v[i].spin[r]);
        }
        if (cost < best) {
            best = cost;
            rate = r;
        }
    }
    for (int i = 0; i < look->objects; i++) {
        motions[i] = best_motion(&v[i], rate);
        if (v[i].miss[motions[i]][rate] > miss_max)
            motions[i] = -1;
        moving = moving || (motions[i] >= 0 && motions[i] != MGI_WORLD_STILL);
    }
    *fps = moving ? rates[rate] : 0;
}
