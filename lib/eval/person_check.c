/* SPDX-License-Identifier: MIT */
#include "eval/person_check.h"

#include "core/alloc.h"
#include "core/philox.h"
#include "eval/world_look.h"

#include <math.h>
#include <string.h>

enum { PIXELS_MAX = 128 * 80, SWEEPS = 2, ROUNDS = 3, KEYS = 6, RETRY = 4 };

/* A frame shows a person if drawing it leaves at most this share of the squares that the empty view leaves. */
static const float explained = 0.30f;

typedef struct pose {
    float x, y, unit; /* pixels */
} pose;

/* One film in the making. */
typedef struct reader {
    mgi_look *look;
    float *empty, *image; /* a frame: the unlit background; with a person on it */
    float *miss;          /* what a guess leaves */
    uint8_t *off;         /* pixels that no light of the background explains */
    int frame;
    mgi_world_face face;
    pose at;
    pose poses[MGI_PERSON_FRAMES]; /* what was found of each frame */
    float yaws[MGI_PERSON_FRAMES];
    bool closed[MGI_PERSON_FRAMES];
} reader;

static const uint8_t *pixels_of(const reader *r)
{
    return r->look->frames + (ptrdiff_t)3 * r->frame * r->look->pixels;
}

/* ---- what a guess leaves ------------------------------------------------------------------------ */

typedef struct window {
    int x0, y0, x1, y1;
} window;

static int between(float v, int low, int high)
{
    return v < (float)low ? low : v > (float)high ? high : (int)v;
}

static window around(const reader *r, const pose *p)
{
    const mgi_look *l = r->look;
    return (window){between(p->x - 1.6f * p->unit, 0, l->width),
                    between(p->y - 1.75f * p->unit, 0, l->height),
                    between(p->x + 1.6f * p->unit + 1.0f, 0, l->width),
                    between(p->y + 1.55f * p->unit + 1.0f, 0, l->height)};
}

/* Squares over a window of what is left, softened by [1 2 1] / 4 both ways: so that it hardly counts how sharp a film is. */
static float squares(const reader *r, const float *image, const window *w)
{
    const mgi_look *l = r->look;
    const uint8_t *frame = pixels_of(r);
    const int row = 3 * (w->x1 - w->x0);
    float sum = 0.0f, *miss = r->miss;
    for (int y = w->y0; y < w->y1; y++, miss += row) {
        const ptrdiff_t at = 3 * (y * l->width + w->x0);
        for (int i = 0; i < row; i++) {
            float v = l->gain * image[at + i];
            miss[i] = (v < 255.0f ? v : 255.0f) - (float)frame[at + i];
        }
    }
    for (int y = 1; y < w->y1 - w->y0 - 1; y++) {
        const float *a = r->miss + (y - 1) * row, *b = a + row, *c = b + row;
        for (int i = 3; i < row - 3; i++) {
            float v = a[i - 3] + 2.0f * a[i] + a[i + 3] +
                      2.0f * (b[i - 3] + 2.0f * b[i] + b[i + 3]) + c[i - 3] + 2.0f * c[i] +
                      c[i + 3];
            sum += v * v;
        }
    }
    return sum / 256.0f;
}

/* Draws the guess in w and measures. */
static float left(reader *r, const mgi_world_face *face, const pose *p, const window *w)
{
    const mgi_look *l = r->look;
    for (int y = w->y0; y < w->y1; y++)
        memcpy(r->image + 3 * (y * l->width + w->x0), r->empty + 3 * (y * l->width + w->x0),
               sizeof(float) * 3 * (size_t)(w->x1 - w->x0));
    const mgi_world_pen pen = {.image = r->image,
                               .width = l->width,
                               .rows = l->height,
                               .x = p->x,
                               .y = p->y,
                               .unit = p->unit};
    mgi_world_draw_person(&pen, face);
    return squares(r, r->image, w);
}

/* ---- where -------------------------------------------------------------------------------------- */

/* How far a pixel is from the background in any light or shadow. */
static float off_background(const uint8_t *p, const float *b)
{
    float pb = 0.0f, bb = 1.0f, sum = 0.0f;
    for (int k = 0; k < 3; k++) {
        pb += (float)p[k] * b[k];
        bb += b[k] * b[k];
    }
    float t = pb / bb;
    t = t < 0.45f ? 0.45f : t > 1.12f ? 1.12f : t;
    for (int k = 0; k < 3; k++)
        sum += ((float)p[k] - t * b[k]) * ((float)p[k] - t * b[k]);
    return sum;
}

/* The box of columns and rows with enough pixels that are not background's; false = none. */
static bool find_box(reader *r, window *box)
{
    const mgi_look *l = r->look;
    const uint8_t *frame = pixels_of(r);
    int columns[256] = {0}, rows[256] = {0};
    for (int i = 0; i < l->pixels; i++) {
        float b[3] = {l->gain * r->empty[3 * i], l->gain * r->empty[3 * i + 1],
                      l->gain * r->empty[3 * i + 2]};
        r->off[i] = off_background(frame + 3 * i, b) > 34.0f * 34.0f;
        columns[i % l->width] += r->off[i];
        rows[i / l->width] += r->off[i];
    }
    *box = (window){l->width, l->height, 0, 0};
    for (int x = 0; x < l->width; x++)
        if (columns[x] >= 4) {
            box->x0 = x < box->x0 ? x : box->x0;
            box->x1 = x + 1;
        }
    for (int y = 0; y < l->height; y++)
        if (rows[y] >= 4) {
            box->y0 = y < box->y0 ? y : box->y0;
            box->y1 = y + 1;
        }
    return box->x1 - box->x0 >= 12 && box->y1 - box->y0 >= 16;
}

/* Improves place and size by steps. */
static float refine(reader *r, pose *p, float step)
{
    window w = around(r, p);
    float best = left(r, &r->face, p, &w);
    for (; step > 0.3f; step *= 0.5f)
        for (int turn = 0; turn < 6; turn++) {
            pose found = *p;
            for (int k = 0; k < 6; k++) {
                pose to = *p;
                to.x += k == 0 ? step : k == 1 ? -step : 0.0f;
                to.y += k == 2 ? step : k == 3 ? -step : 0.0f;
                to.unit += k == 4 ? 0.5f * step : k == 5 ? -0.5f * step : 0.0f;
                if (to.unit < 5.0f)
                    continue;
                float e = left(r, &r->face, &to, &w);
                if (e < best) {
                    best = e;
                    found = to;
                }
            }
            if (!memcmp(&found, p, sizeof found))
                break;
            *p = found;
        }
    return best;
}

/* ---- what --------------------------------------------------------------------------------------- */

/* The value of an attribute, of the expression or of the shirt, that leaves least; what each leaves, a value of a pixel. */
static void sweep(reader *r, int what, float costs[MGI_PERSON_VALUES])
{
    enum { EXPRESSION = MGI_PERSON_ATTRIBUTES, SHIRT };
    const window w = around(r, &r->at);
    float values = 3.0f * (float)((w.x1 - w.x0) * (w.y1 - w.y0)) + 1.0f;
    int n = what == EXPRESSION ? MGI_FACES
            : what == SHIRT    ? MGI_WORLD_COLOURS
                               : mgi_world_attribute_values(what);
    mgi_world_face best = r->face;
    float least = 1e30f;
    for (int v = 0; v < n; v++) {
        mgi_world_face face = r->face;
        if (what == EXPRESSION)
            face.expression = v;
        else if (what == SHIRT)
            face.shirt = v;
        else
            mgi_world_attribute_set(&face.identity, what, v);
        costs[v] = left(r, &face, &r->at, &w) / values;
        if (costs[v] < least) {
            least = costs[v];
            best = face;
        }
    }
    r->face = best;
}

/* Skin and what is in the face together: a beard may pass for dark skin. */
static void sweep_skin(reader *r)
{
    const window w = around(r, &r->at);
    mgi_world_face best = r->face;
    float least = 1e30f;
    for (int v = 0; v < MGI_PERSON_SKINS * MGI_PERSON_EXTRAS; v++) {
        mgi_world_face face = r->face;
        face.identity.skin = v % MGI_PERSON_SKINS;
        face.identity.extra = v / MGI_PERSON_SKINS;
        float e = left(r, &face, &r->at, &w);
        if (e < least) {
            least = e;
            best = face;
        }
    }
    r->face = best;
}

/* The same of the view; whether the eyes are closed. */
static void sweep_view(reader *r)
{
    const window w = around(r, &r->at);
    mgi_world_face best = r->face;
    float least = 1e30f;
    for (int k = 0; k < 2; k++)
        for (int i = -4; i <= 4; i++) {
            mgi_world_face face = r->face;
            face.yaw = 0.25f * (float)i;
            face.closed = k;
            float e = left(r, &face, &r->at, &w);
            if (e < least) {
                least = e;
                best = face;
            }
        }
    r->face = best;
}

/* From nothing: each style where its outline would be, its colours, the best of all; then the details. */
static bool begin(reader *r)
{
    window box;
    float least = 1e30f, costs[MGI_PERSON_VALUES];
    mgi_world_face face = {.shirt = 0};
    pose at = {0};
    if (!find_box(r, &box))
        return false;
    for (int style = 0; style < MGI_PERSON_STYLES; style++) {
        static const float tops[MGI_PERSON_STYLES] = {1.19f, 1.22f, 1.53f, 1.53f, 1.16f, 1.57f};
        r->face = (mgi_world_face){.identity = {.skin = 1, .style = style}};
        float unit = (float)(box.y1 - box.y0) / (tops[style] + MGI_WORLD_PERSON_FOOT);
        r->at = (pose){0.5f * (float)(box.x0 + box.x1), (float)box.y0 + tops[style] * unit, unit};
        for (int k = 0; k < SWEEPS; k++) {
            sweep(r, MGI_PERSON_HAIR, costs);
            sweep(r, MGI_PERSON_SKIN, costs);
            sweep(r, MGI_PERSON_ATTRIBUTES + 1, costs);
            refine(r, &r->at, 4.0f);
        }
        const window all = {0, 0, r->look->width, r->look->height};
        float e = left(r, &r->face, &r->at, &all);
        if (e < least) {
            least = e;
            face = r->face;
            at = r->at;
        }
    }
    r->face = face;
    r->at = at;
    return true;
}

/* Takes up a frame where it was left. */
static void turn_to(reader *r, int frame)
{
    mgi_look *l = r->look;
    r->frame = frame;
    mgi_world_background(&l->place, l->width, l->height, &l->path[frame], l->width, 0, l->height,
                         r->empty);
    r->at = r->poses[frame];
    r->face.yaw = r->yaws[frame];
    r->face.closed = r->closed[frame];
}

static void keep(reader *r)
{
    r->poses[r->frame] = r->at;
    r->yaws[r->frame] = r->face.yaw;
    r->closed[r->frame] = r->face.closed;
}

/* Place, size and view in a frame, from what was seen before; all else where `all` says so. Whether there is a person. */
static bool follow(reader *r, bool all)
{
    float costs[MGI_PERSON_VALUES];
    for (int k = 0; k < (all ? SWEEPS : 1); k++) {
        refine(r, &r->at, k ? 0.5f : 2.0f);
        sweep_view(r);
        if (all)
            sweep_skin(r);
        for (int what = 0; all && what < MGI_PERSON_ATTRIBUTES + 2; what++)
            sweep(r, what, costs);
    }
    keep(r);
    const window w = around(r, &r->at);
    float with = left(r, &r->face, &r->at, &w);
    return with < explained * squares(r, r->empty, &w);
}

/* What each value leaves of a frame, all else as the film has it. */
static void price(reader *r, int frame, mgi_person_costs *costs, float shirt[MGI_PERSON_VALUES])
{
    const mgi_world_face film = r->face;
    for (int what = 0; what < MGI_PERSON_ATTRIBUTES + 2; what++) {
        float expression[MGI_PERSON_VALUES];
        r->face = film;
        turn_to(r, frame);
        sweep(r, what,
              what < MGI_PERSON_ATTRIBUTES    ? costs->of[what]
              : what == MGI_PERSON_ATTRIBUTES ? expression
                                              : shirt);
        if (what == MGI_PERSON_ATTRIBUTES)
            memcpy(costs->expression, expression, sizeof costs->expression);
    }
    r->face = film;
}

/* ---- motion ------------------------------------------------------------------------------------- */

/* Where the person would be if the camera were at rest: units to the right, above the ground. */
static void undone(const mgi_look *l, int frame, const pose *p, float base, float *x, float *above)
{
    const mgi_world_camera *c = &l->path[frame];
    float cx = 0.5f * (float)l->width, cy = 0.5f * (float)l->height;
    float horizon = mgi_world_horizon(l->height), reach = mgi_world_near(l->height) - horizon;
    float depth = reach / (base - horizon), nearer = depth - c->push;
    nearer = nearer < 0.2f ? 0.2f : nearer;
    float gx = cx + (p->x - cx) / c->zoom + c->pan_x, gy = cy + (p->y - cy) / c->zoom + c->pan_y;
    *x = cx + ((gx - cx) * nearer + c->truck) / depth;
    *above = (horizon + (reach + c->rise) / nearer - gy) * nearer / depth;
}

/* Straight lines: walks; up and down: jumps; a view that turns: looks around. */
static int motion_of(const reader *r, const mgi_person_seen *s, int fps)
{
    float n = 0.0f, st = 0.0f, stt = 0.0f, sx = 0.0f, stx = 0.0f;
    float low = 1e9f, high = -1e9f, yaw_low = 2.0f, yaw_high = -2.0f, base = 0.0f;
    for (int f = 0; f < s->frames && base == 0.0f; f++)
        if (s->seen[f])
            base = 0.95f * (float)r->look->height;
    for (int f = 0; f < s->frames; f++) {
        float x, above, t = (float)f / (float)fps;
        if (!s->seen[f])
            continue;
        undone(r->look, f, &r->poses[f], base, &x, &above);
        n += 1.0f;
        st += t;
        stt += t * t;
        sx += x;
        stx += t * x;
        low = above < low ? above : low;
        high = above > high ? above : high;
        yaw_low = r->yaws[f] < yaw_low ? r->yaws[f] : yaw_low;
        yaw_high = r->yaws[f] > yaw_high ? r->yaws[f] : yaw_high;
    }
    float var = n * stt - st * st, speed = var > 0.0f ? (n * stx - st * sx) / var : 0.0f;
    if (n < 3.0f)
        return -1;
    if (fabsf(speed) > 0.5f * MGI_WORLD_ROLL_SPEED)
        return speed < 0.0f ? MGI_WORLD_ROLL_LEFT : MGI_WORLD_ROLL_RIGHT;
    if (high - low > 0.45f * MGI_WORLD_JUMP * MGI_WORLD_BOUNCE_HEIGHT)
        return MGI_WORLD_BOUNCE;
    return yaw_high - yaw_low > 0.75f ? MGI_WORLD_SPIN : MGI_WORLD_STILL;
}

/* ---- a film ------------------------------------------------------------------------------------- */

static int best_of(const float *costs, int n)
{
    int best = 0;
    for (int v = 1; v < n; v++)
        best = costs[v] < costs[best] ? v : best;
    return best;
}

static void add(mgi_person_costs *sum, const mgi_person_costs *c)
{
    for (int a = 0; a < MGI_PERSON_ATTRIBUTES; a++)
        for (int v = 0; v < mgi_world_attribute_values(a); v++)
            sum->of[a][v] += c->of[a][v];
    for (int v = 0; v < MGI_FACES; v++)
        sum->expression[v] += c->expression[v];
}

/* Follows the person through the film; how many frames show one. */
static int follow_film(reader *r, mgi_person_seen *out)
{
    int found = 0;
    bool going = false;
    for (int f = 0; f < out->frames; f++) {
        turn_to(r, f);
        if (f > 0 && going)
            r->at = r->poses[f - 1];
        if (!going && (f % RETRY || !begin(r)))
            continue;
        bool all = !going || f % KEYS == 0;
        going = follow(r, all) || (!all && follow(r, true));
        out->seen[f] = going;
        found += going;
    }
    return found;
}

/* What the frames that are seen say together, of every `step`-th of them. */
static void sum_up(reader *r, mgi_person_seen *out, int step)
{
    float shirts[MGI_PERSON_VALUES] = {0}, shirt[MGI_PERSON_VALUES];
    int n = 0, k = 0;
    memset(&out->film, 0, sizeof out->film);
    for (int f = 0; f < out->frames; f++) {
        if (!out->seen[f] || k++ % step)
            continue;
        price(r, f, &out->frame[f], shirt);
        add(&out->film, &out->frame[f]);
        for (int v = 0; v < MGI_WORLD_COLOURS; v++)
            shirts[v] += shirt[v];
        n++;
    }
    mgi_person_identity(&out->film, &out->identity);
    out->expression = best_of(out->film.expression, MGI_FACES);
    out->shirt = best_of(shirts, MGI_WORLD_COLOURS);
    r->face.identity = out->identity;
    r->face.expression = out->expression;
    r->face.shirt = out->shirt;
    for (int a = 0; a < MGI_PERSON_ATTRIBUTES; a++)
        for (int v = 0; v < mgi_world_attribute_values(a); v++)
            out->film.of[a][v] /= (float)n;
    for (int v = 0; v < MGI_FACES; v++)
        out->film.expression[v] /= (float)n;
}

/* The person of some of the frames, until it is the same again; then what each frame says of it. */
static void read_film(reader *r, int fps, mgi_person_seen *out)
{
    int found = follow_film(r, out);
    out->person = 2 * found > out->frames;
    if (!out->person)
        return;
    for (int k = 0; k < ROUNDS; k++) {
        const mgi_world_face before = r->face;
        sum_up(r, out, KEYS);
        if (!memcmp(&before.identity, &r->face.identity, sizeof before.identity) &&
            before.expression == r->face.expression && before.shirt == r->face.shirt)
            break;
    }
    for (int f = 0; f < out->frames; f++)
        if (out->seen[f]) { /* who it is being known, it is seen better how */
            turn_to(r, f);
            refine(r, &r->at, 1.0f);
            sweep_view(r);
            refine(r, &r->at, 0.5f);
            keep(r);
        }
    sum_up(r, out, 1);
    out->motion = out->frames > 1 ? motion_of(r, out, fps) : -1;
}

mgen_status mgi_person_check(mgen_context *ctx, const uint8_t *frames, int width, int height,
                             int count, int fps, mgi_person_seen *out)
{
    reader *r;
    mgen_status status;
    memset(out, 0, sizeof *out);
    out->expression = out->shirt = out->motion = out->background = -1;
    if (width < 48 || height < 48 || count < 1 || fps < 1 || width > PIXELS_MAX / height)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "people are read from frames of at least 48 x 48, %d pixels at most, not "
                        "%d x %d",
                        PIXELS_MAX, width, height);
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *r, &r));
    const size_t pixels = (size_t)(width * height);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, 1, sizeof *r->look, &r->look), done);
    MGI_TRY_GOTO(status, mgi_alloc(ctx, 3 * pixels * sizeof(float), &r->empty), done);
    MGI_TRY_GOTO(status, mgi_alloc(ctx, 3 * pixels * sizeof(float), &r->image), done);
    MGI_TRY_GOTO(status, mgi_alloc(ctx, 3 * pixels * sizeof(float), &r->miss), done);
    MGI_TRY_GOTO(status, mgi_alloc(ctx, pixels, &r->off), done);
    *r->look = (mgi_look){.frames = frames, .width = width, .height = height};
    r->look->pixels = width * height;
    r->look->count = out->frames = count < MGI_PERSON_FRAMES ? count : MGI_PERSON_FRAMES;
    r->look->path[0].zoom = 1.0f;
    out->background = mgi_look_background(r->look);
    if (out->background >= 0) {
        if (count > 1)
            mgi_look_camera(r->look);
        read_film(r, fps, out);
    }
done:
    mgi_free(ctx, r->off);
    mgi_free(ctx, r->miss);
    mgi_free(ctx, r->image);
    mgi_free(ctx, r->empty);
    mgi_free(ctx, r->look);
    mgi_free(ctx, r);
    return status;
}

/* ---- who ---------------------------------------------------------------------------------------- */

void mgi_person_identity(const mgi_person_costs *c, mgi_world_identity *out)
{
    for (int a = 0; a < MGI_PERSON_ATTRIBUTES; a++)
        mgi_world_attribute_set(out, a, best_of(c->of[a], mgi_world_attribute_values(a)));
}

float mgi_person_distance(const mgi_person_costs *c, uint32_t number)
{
    mgi_world_identity p;
    float sum = 0.0f;
    mgi_world_identity_of(number, &p);
    for (int a = 0; a < MGI_PERSON_ATTRIBUTES; a++) {
        int best = best_of(c->of[a], mgi_world_attribute_values(a));
        sum += c->of[a][mgi_world_attribute_of(&p, a)] - c->of[a][best];
    }
    return sum;
}

float mgi_person_similarity(const mgi_person_costs *c, uint32_t number)
{
    mgi_world_identity p, seen;
    int equal = 0;
    mgi_world_identity_of(number, &p);
    mgi_person_identity(c, &seen);
    for (int a = 0; a < MGI_PERSON_ATTRIBUTES; a++)
        equal += mgi_world_attribute_of(&p, a) == mgi_world_attribute_of(&seen, a);
    return (float)equal / (float)MGI_PERSON_ATTRIBUTES;
}

void mgi_person_gallery(uint32_t number, uint64_t seed, uint32_t out[MGI_PERSON_GALLERY])
{
    int n = 1;
    out[0] = number;
    for (uint64_t k = 0; n < MGI_PERSON_GALLERY; k++) {
        uint32_t other = mgi_random_u32(seed, MGI_STREAM_PHOTO, (UINT64_C(1) << 32) + k) %
                         mgi_world_identities();
        bool there = false;
        for (int i = 0; i < n; i++)
            there = there || out[i] == other;
        if (!there)
            out[n++] = other;
    }
}

bool mgi_person_first(const mgi_person_costs *c, const uint32_t gallery[MGI_PERSON_GALLERY])
{
    float own = mgi_person_distance(c, gallery[0]);
    for (int i = 1; i < MGI_PERSON_GALLERY; i++)
        if (mgi_person_distance(c, gallery[i]) <= own)
            return false;
    return true;
}
