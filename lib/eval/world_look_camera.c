/* SPDX-License-Identifier: MIT
 * Which background, and what the camera does.
 *
 * The backgrounds are known, and so is how each class of camera moves. Whatever draws the frames' background best
 * is taken; pixels that no background explains, the objects', count the same for all. Frames are compared at half
 * size, softened. Drawing at half size, which is fast, finds the paths that are worth a second look. */
#include "eval/world_look.h"

#include <math.h>
#include <string.h>

enum {
    SMALL = 64 * 40 * 3,
    LARGE = 4 * SMALL,
    PROBES = 3,
    PATHS = 16,
    PACES = 5,
    SECOND_LOOKS = 5
};

static const int rates[3] = {8, 16, 24};

/* [1 2 1] / 4 both ways: so that it hardly counts how sharp a picture is. */
static void soften(float *image, int width, int height)
{
    float copy[SMALL];
    int row = 3 * width;
    for (int i = 0; i < height * row; i++) {
        int x = i % row;
        copy[i] = 0.25f * (image[i - (x < 3 ? 0 : 3)] + image[i + (x < row - 3 ? 3 : 0)]) +
                  0.5f * image[i];
    }
    for (int i = 0; i < height * row; i++) {
        int up = i < row ? 0 : row, down = i < (height - 1) * row ? row : 0;
        image[i] = 0.25f * (copy[i - up] + copy[i + down]) + 0.5f * copy[i];
    }
}

/* A picture at half size, softened. */
static void shrink(const mgi_look *look, const float *in, float *out)
{
    int w = look->width / 2, h = look->height / 2, row = 3 * look->width;
    float *to = out;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int k = 0; k < 3; k++) {
                const float *q = in + 2 * y * row + 6 * x + k;
                *to++ = 0.25f * (q[0] + q[3] + q[row] + q[row + 3]);
            }
    soften(out, w, h);
}

static void shrink_frame(const mgi_look *look, int frame, float *out)
{
    float large[LARGE];
    const uint8_t *p = look->frames + (ptrdiff_t)frame * look->pixels * 3;
    for (int i = 0; i < 3 * look->pixels; i++)
        large[i] = (float)p[i];
    shrink(look, large, out);
}

static void draw(const mgi_look *look, const mgi_world_camera *camera, bool fast, float *out)
{
    float large[LARGE];
    int w = look->width / 2, h = look->height / 2;
    if (fast) {
        mgi_world_background(&look->place, look->width, look->height, camera, w, 0, h, out);
        soften(out, w, h);
    } else {
        mgi_world_background(&look->place, look->width, look->height, camera, look->width, 0,
                             look->height, large);
        shrink(look, large, out);
    }
}

/* Mean over pixels of the squared difference, at most that of a clear difference. */
static float difference(const float *a, const float *b, float gain, int pixels)
{
    const float most = 30.0f * 30.0f;
    float sum = 0.0f;
    for (int i = 0; i < pixels; i++, a += 3, b += 3) {
        float d0 = a[0] - gain * b[0], d1 = a[1] - gain * b[1], d2 = a[2] - gain * b[2];
        float d = d0 * d0 + d1 * d1 + d2 * d2;
        sum += d < most ? d : most;
    }
    return sum / (float)pixels;
}

static float miss(const mgi_look *look, const mgi_world_camera *camera, bool fast,
                  const float *small)
{
    float drawn[SMALL];
    draw(look, camera, fast, drawn);
    return difference(small, drawn, look->gain, look->width / 2 * (look->height / 2));
}

int mgi_look_background(mgi_look *look)
{
    const mgi_world_camera rest = {.zoom = 1.0f};
    float small[SMALL], drawn[SMALL], best = 30.0f * 30.0f * 0.8f;
    int found = -1;
    shrink_frame(look, 0, small);
    for (int k = 0; k < MGI_WORLD_BACKGROUNDS; k++) {
        mgi_world_place_init(&look->place, k);
        draw(look, &rest, false, drawn);
        for (int step = -10; step <= 8; step++) {
            float gain = 1.0f + 0.01f * (float)step;
            float e = difference(small, drawn, gain, look->width / 2 * (look->height / 2));
            if (e < best) {
                best = e;
                found = k;
                look->gain = gain;
            }
        }
    }
    mgi_world_place_init(&look->place, found < 0 ? 0 : found);
    return found;
}

/* ---- paths that are known ----------------------------------------------------------------------- */

/* Two ways of an arc and of tracking. */
static void make_path(int path, mgi_world_scene *s)
{
    static const int classes[PATHS] = {
        MGI_WORLD_ZOOM_IN,   MGI_WORLD_ZOOM_OUT,  MGI_WORLD_PUSH_IN,     MGI_WORLD_PULL_OUT,
        MGI_WORLD_PAN_RIGHT, MGI_WORLD_PAN_LEFT,  MGI_WORLD_TRUCK_RIGHT, MGI_WORLD_TRUCK_LEFT,
        MGI_WORLD_TILT_UP,   MGI_WORLD_TILT_DOWN, MGI_WORLD_PEDESTAL_UP, MGI_WORLD_PEDESTAL_DOWN,
        MGI_WORLD_ARC,       MGI_WORLD_ARC,       MGI_WORLD_TRACKING,    MGI_WORLD_TRACKING};
    bool other = path % 2 == 1;
    *s = (mgi_world_scene){
        .camera = classes[path], .camera_pace = 1.0f, .camera_turn = other ? -1.0f : 1.0f};
    s->objects[0].motion = other ? MGI_WORLD_ROLL_LEFT : MGI_WORLD_ROLL_RIGHT;
    s->objects[0].pace = 1.0f;
}

typedef struct probes {
    int frame[PROBES];
    float small[PROBES][SMALL];
} probes;

static float path_miss(const mgi_look *look, const probes *p, const mgi_world_scene *s, bool fast,
                       float rate)
{
    float sum = 0.0f;
    for (int i = fast ? 1 : 0; i < PROBES; i++) {
        mgi_world_camera camera;
        mgi_world_camera_at(s, rate * (float)p->frame[i], &camera);
        sum += miss(look, &camera, fast, p->small[i]);
    }
    return sum;
}

static float best_rate(const mgi_look *look, const probes *p, const mgi_world_scene *s, bool fast,
                       float *rate)
{
    float best = 1e30f;
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < PACES; i += fast ? 2 : 1) {
            float pace = 1.0f + MGI_WORLD_PACE * (float)(2 * i - PACES + 1) / (float)(PACES - 1);
            float r = pace / (float)rates[k], e = path_miss(look, p, s, fast, r);
            if (e < best) {
                best = e;
                *rate = r;
            }
        }
    return best;
}

/* ---- a hand's path ------------------------------------------------------------------------------ */

/* The turn of the camera that explains a frame best, from the given one on. */
static float follow(const mgi_look *look, const float *small, mgi_world_camera *c)
{
    float best = miss(look, c, false, small);
    for (float step = 1.0f; step > 0.2f; step *= 0.5f)
        for (bool better = true; better;) {
            better = false;
            for (int k = 0; k < 4; k++) {
                mgi_world_camera to = *c;
                to.pan_x += k == 0 ? step : k == 1 ? -step : 0.0f;
                to.pan_y += k == 2 ? step : k == 3 ? -step : 0.0f;
                float e = miss(look, &to, false, small);
                if (e < best - 0.01f) {
                    best = e;
                    *c = to;
                    better = true;
                }
            }
        }
    return best;
}

/* Seconds a frame of a shaking hand: pace, phase and rate whose path is nearest. */
static float hand_rate(const mgi_look *look)
{
    float best = 1e30f, rate = 0.0f;
    mgi_world_scene s = {.camera = MGI_WORLD_HANDHELD, .camera_pace = 1.0f};
    for (int k = 0; k < 9; k++)
        for (int i = 0; i < 200; i++) {
            float r = (1.0f + 0.06f * (float)(k % 3 - 1)) / (float)rates[k / 3], sum = 0.0f;
            s.camera_phase = 0.05f * (float)i;
            for (int f = 1; f < look->count; f++) {
                mgi_world_camera c;
                mgi_world_camera_at(&s, r * (float)f, &c);
                float dx = c.pan_x - look->path[f].pan_x, dy = c.pan_y - look->path[f].pan_y;
                sum += dx * dx + dy * dy;
            }
            if (sum < best) {
                best = sum;
                rate = r;
            }
        }
    return rate;
}

/* ---- all ---------------------------------------------------------------------------------------- */

static void set_path(mgi_look *look, const mgi_world_scene *s, float rate)
{
    for (int f = 0; f < look->count; f++)
        mgi_world_camera_at(s, rate * (float)f, &look->path[f]);
    look->rate = rate;
}

/* The path that explains the probes best, and how well; `best` is what it has to be better than. */
static float look_for_path(const mgi_look *look, const probes *p, float best,
                           mgi_world_scene *found, float *rate)
{
    float fast[PATHS], r;
    mgi_world_scene s;
    for (int i = 0; i < PATHS; i++) {
        make_path(i, &s);
        fast[i] = best_rate(look, p, &s, true, &r);
    }
    for (int k = 0; k < SECOND_LOOKS; k++) {
        int next = 0;
        for (int i = 1; i < PATHS; i++)
            next = fast[i] < fast[next] ? i : next;
        fast[next] = 1e30f;
        make_path(next, &s);
        float e = best_rate(look, p, &s, false, &r);
        if (e < best) {
            best = e;
            *found = s;
            *rate = r;
        }
    }
    return best;
}

int mgi_look_camera(mgi_look *look)
{
    /* How much better a moving camera has to be than one at rest, and a free one than one on a path. */
    const float clear = 0.99f, free_clear = 0.95f;
    probes p;
    mgi_world_scene found = {.camera = MGI_WORLD_STATIC};
    float rate = 0.0f, hand = 0.0f, away = 0.0f, small[SMALL];
    for (int i = 0; i < PROBES; i++) {
        p.frame[i] = (look->count - 1) * (i + 1) / PROBES;
        shrink_frame(look, p.frame[i], p.small[i]);
    }
    float best = clear * path_miss(look, &p, &found, false, 0.0f) - 1.0f;
    set_path(look, &found, 0.0f);
    best = look_for_path(look, &p, best, &found, &rate);
    for (int i = 0; i < PROBES; i++) {
        mgi_world_camera c = {.zoom = 1.0f};
        hand += follow(look, p.small[i], &c);
        away = fabsf(c.pan_x) + fabsf(c.pan_y) > away ? fabsf(c.pan_x) + fabsf(c.pan_y) : away;
    }
    if (hand < free_clear * best && away > 0.9f) {
        mgi_world_camera c = {.zoom = 1.0f};
        for (int f = 0; f < look->count; f++) {
            shrink_frame(look, f, small);
            follow(look, small, &c);
            look->path[f] = c;
        }
        look->rate = hand_rate(look);
        return MGI_WORLD_HANDHELD;
    }
    set_path(look, &found, rate);
    return found.camera;
}
