/* SPDX-License-Identifier: MIT
 * Reading a toybox scene back from its pixels.
 *
 * 1. Background: the template, at the best brightness, that explains most pixels.
 * 2. Colour: pixels that no brightness of the background explains vote by hue. A shadow is the
 *    background made darker, so it has no vote.
 * 3. Mask: how far a pixel lies along the part of the object's colour that is orthogonal to the
 *    background there; a shadow again counts nothing.
 * 4. Motion: the track of the mask's centroid.
 * 5. Shape: the mask averaged along the track, against the three silhouettes at every size and
 *    several blurs.
 * Each answer is -1 unless it is clear. */
#include "eval/toybox_check.h"

#include "core/alloc.h"
#include "data/toybox.h"

#include <math.h>
#include <string.h>

enum { W = MGI_TOYBOX_WIDTH, H = MGI_TOYBOX_HEIGHT, PIXELS = W * H };
/* The window around the centroid, in pixels: holds the largest triangle with room to spare. */
enum { REACH = 24, SIDE = 2 * REACH + 1, CELLS = SIDE * SIDE };

/* Tuned on ground truth blurred by 1 pixel (which must pass) and random blobs (which must not). */
static const float shape_score_min = 0.955f, shape_margin_min = 0.012f;

typedef struct track {
    float x, y, area; /* centroid and sum of the mask; area 0 = no object in this frame */
    int cut;          /* the object touches the edge of the frame */
} track;

typedef struct checker {
    const uint8_t *frames;
    int count;
    float background[3 * PIXELS]; /* the template times the brightness found */
    float gain;
    float mask[PIXELS];
    float mean[CELLS], weight[CELLS]; /* the mask averaged along the track */
} checker;

static float clamp01(float x)
{
    return x > 0.0f ? x < 1.0f ? x : 1.0f : 0.0f;
}

static float dot3(const float *a, const float *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static const uint8_t *frame_at(const checker *c, int i)
{
    return c->frames + (size_t)i * (3 * PIXELS);
}

static void load_pixel(const uint8_t *frame, int i, float p[3])
{
    for (int k = 0; k < 3; k++)
        p[k] = (float)frame[3 * i + k];
}

/* ---- background ---------------------------------------------------------------------------- */

/* Fraction of sampled pixels within `limit` of the template times `gain`. */
static float explained(const checker *c, const float *template, float gain, float limit)
{
    int hits = 0, all = 0;
    for (int f = 0; f < c->count; f += 4)
        for (int y = 1; y < H; y += 3)
            for (int x = 1; x < W; x += 3) {
                float p[3];
                load_pixel(frame_at(c, f), y * W + x, p);
                const float *b = template + 3 * (y * W + x);
                float d0 = p[0] - gain * b[0], d1 = p[1] - gain * b[1], d2 = p[2] - gain * b[2];
                hits += d0 * d0 + d1 * d1 + d2 * d2 < limit * limit;
                all++;
            }
    return (float)hits / (float)all;
}

static int read_background(checker *c)
{
    float template[3 * PIXELS], best = 0.0f, second = 0.0f;
    int found = -1;
    for (int k = 0; k < MGI_TOYBOX_BACKGROUNDS; k++) {
        float fit = 0.0f, gain = 1.0f;
        mgi_toybox_background(k, template);
        for (int step = -7; step <= 6; step++) {
            float g = 1.0f + 0.02f * (float)step;
            float e = explained(c, template, g, 24.0f) + 0.2f * explained(c, template, g, 10.0f);
            if (e > fit) {
                fit = e;
                gain = g;
            }
        }
        if (fit > best) {
            second = best;
            best = fit;
            found = k;
            c->gain = gain;
            for (int i = 0; i < 3 * PIXELS; i++)
                c->background[i] = template[i] * gain;
        } else if (fit > second) {
            second = fit;
        }
    }
    return best >= 0.6f && best >= 1.2f * second ? found : -1;
}

/* ---- colour -------------------------------------------------------------------------------- */

/* Hue as a direction: two chroma coordinates, not normalised. */
static void chroma(const float p[3], float out[2])
{
    out[0] = p[0] - 0.5f * (p[1] + p[2]);
    out[1] = 0.8660254f * (p[1] - p[2]);
}

/* The palette's colour whose hue is within 22 degrees of p's; -1 = none, or grey. */
static int nearest_hue(const float p[3])
{
    float u[2];
    chroma(p, u);
    float length = sqrtf(u[0] * u[0] + u[1] * u[1]);
    if (length < 50.0f)
        return -1;
    for (int k = 0; k < MGI_TOYBOX_COLOURS; k++) {
        float rgb[3], v[2];
        mgi_toybox_colour_rgb(k, rgb);
        chroma(rgb, v);
        float cosine = (u[0] * v[0] + u[1] * v[1]) / (length * sqrtf(v[0] * v[0] + v[1] * v[1]));
        if (cosine > 0.927f)
            return k;
    }
    return -1;
}

/* How far p is from every brightness of background colour b. */
static float off_background(const float p[3], const float b[3])
{
    float t = dot3(p, b) / (dot3(b, b) + 1.0f);
    float r[3] = {p[0] - t * b[0], p[1] - t * b[1], p[2] - t * b[2]};
    return sqrtf(dot3(r, r));
}

static int read_colour(const checker *c)
{
    int votes[MGI_TOYBOX_COLOURS] = {0}, all = 0, best = 0;
    for (int f = 0; f < c->count; f++)
        for (int i = 0; i < PIXELS; i++) {
            float p[3];
            load_pixel(frame_at(c, f), i, p);
            if (off_background(p, c->background + 3 * i) < 45.0f)
                continue;
            int k = nearest_hue(p);
            if (k >= 0)
                votes[k]++;
            all++;
        }
    for (int k = 1; k < MGI_TOYBOX_COLOURS; k++)
        if (votes[k] > votes[best])
            best = k;
    /* An object has 60 pixels at the very least and never fills half of the frame. */
    if (votes[best] < 60 * c->count || all > PIXELS / 2 * c->count)
        return -1;
    return votes[best] * 2 > all ? best : -1;
}

/* ---- mask and track ------------------------------------------------------------------------ */

static void make_mask(checker *c, int frame, int colour)
{
    float rgb[3];
    mgi_toybox_colour_rgb(colour, rgb);
    for (int k = 0; k < 3; k++)
        rgb[k] *= c->gain;
    for (int i = 0; i < PIXELS; i++) {
        const float *b = c->background + 3 * i;
        float p[3], t = dot3(rgb, b) / (dot3(b, b) + 1.0f);
        float q[3] = {rgb[0] - t * b[0], rgb[1] - t * b[1], rgb[2] - t * b[2]};
        load_pixel(frame_at(c, frame), i, p);
        c->mask[i] = clamp01((dot3(q, p) / (dot3(q, rgb) + 1.0f) - 0.2f) * 2.0f);
    }
}

static track measure(const float *mask)
{
    float area = 0.0f, x_sum = 0.0f, y_sum = 0.0f, edge = 0.0f;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            float m = mask[y * W + x];
            area += m;
            x_sum += m * (float)x;
            y_sum += m * (float)y;
            if (x == 0 || y == 0 || x == W - 1 || y == H - 1)
                edge += m;
        }
    if (area < 60.0f)
        return (track){0};
    return (track){x_sum / area, y_sum / area, area, edge > 1.5f};
}

static float sample(const float *image, float x, float y)
{
    int x0 = (int)floorf(x), y0 = (int)floorf(y);
    if (x0 < 0 || y0 < 0 || x0 >= W - 1 || y0 >= H - 1)
        return -1.0f;
    float u = x - (float)x0, v = y - (float)y0;
    const float *p = image + y0 * W + x0;
    return (p[0] * (1.0f - u) + p[1] * u) * (1.0f - v) + (p[W] * (1.0f - u) + p[W + 1] * u) * v;
}

static void add_to_mean(checker *c, track t)
{
    for (int j = 0; j < SIDE; j++)
        for (int i = 0; i < SIDE; i++) {
            float m = sample(c->mask, t.x + (float)(i - REACH), t.y + (float)(j - REACH));
            if (m >= 0.0f) {
                c->mean[j * SIDE + i] += m;
                c->weight[j * SIDE + i] += 1.0f;
            }
        }
}

/* Average the masks of whole objects where there are enough of those, else of all. */
static void make_mean(checker *c, const track *tracks, int colour)
{
    int whole = 0;
    for (int i = 0; i < c->count; i++)
        whole += tracks[i].area > 0.0f && !tracks[i].cut;
    memset(c->mean, 0, sizeof c->mean);
    memset(c->weight, 0, sizeof c->weight);
    for (int i = 0; i < c->count; i++)
        if (tracks[i].area > 0.0f && (4 * whole < c->count || !tracks[i].cut)) {
            make_mask(c, i, colour);
            add_to_mean(c, tracks[i]);
        }
    for (int i = 0; i < CELLS; i++)
        if (c->weight[i] > 0.0f)
            c->mean[i] /= c->weight[i];
}

/* ---- motion -------------------------------------------------------------------------------- */

/* Up and down again (or the other way) by at least `least` pixels each. */
static int swings(const track *tracks, int count, float least)
{
    float low = 1e9f, high = -1e9f, fall = 0.0f, rise = 0.0f;
    for (int i = 0; i < count; i++) {
        if (!(tracks[i].area > 0.0f))
            continue;
        float y = tracks[i].y;
        low = y < low ? y : low;
        high = y > high ? y : high;
        rise = y - low > rise ? y - low : rise;
        fall = high - y > fall ? high - y : fall;
    }
    return rise >= least && fall >= least;
}

static int read_motion(const track *tracks, int count, mgi_toybox_reading *out)
{
    float n = 0.0f, st = 0.0f, sx = 0.0f, sy = 0.0f, stt = 0.0f, stx = 0.0f, sty = 0.0f;
    for (int i = 0; i < count; i++) {
        if (!(tracks[i].area > 0.0f))
            continue;
        float t = (float)i;
        n += 1.0f;
        st += t;
        sx += tracks[i].x;
        sy += tracks[i].y;
        stt += t * t;
        stx += t * tracks[i].x;
        sty += t * tracks[i].y;
    }
    float spread = n * stt - st * st;
    if (n < 0.7f * (float)count || spread <= 0.0f)
        return -1;
    float vx = (n * stx - st * sx) / spread, vy = (n * sty - st * sy) / spread;
    out->track_x = vx * (float)(count - 1);
    out->track_y = vy * (float)(count - 1);

    float sway = 0.0f; /* root mean square of the height around its mean */
    for (int i = 0; i < count; i++)
        if (tracks[i].area > 0.0f)
            sway += (tracks[i].y - sy / n) * (tracks[i].y - sy / n);
    sway = sqrtf(sway / n);
    if (fabsf(vx) > 0.3f && sway < 2.0f)
        return vx < 0.0f ? MGI_TOYBOX_ROLL_LEFT : MGI_TOYBOX_ROLL_RIGHT;
    if (fabsf(vx) < 0.2f && sway >= 1.5f && swings(tracks, count, 3.0f))
        return MGI_TOYBOX_BOUNCE;
    return -1;
}

/* ---- shape --------------------------------------------------------------------------------- */

/* The silhouette with its centroid at (dx, dy) from the window's middle. */
static void make_template(int shape, float radius, float dx, float dy, float *out)
{
    /* The triangle's centroid lies a sixth of its height below its centre. */
    float drop = shape == MGI_TOYBOX_TRIANGLE ? mgi_toybox_half_height(shape, radius) / 3.0f : 0.0f;
    for (int j = 0; j < SIDE; j++)
        for (int i = 0; i < SIDE; i++)
            *out++ = mgi_toybox_cover(shape, radius, (float)(i - REACH) - dx,
                                      (float)(j - REACH) - dy + drop);
}

/* [1 2 1] / 4 in both directions; the window's rim stays as it is, which is empty. */
static void blur(float *image)
{
    float copy[CELLS];
    memcpy(copy, image, sizeof copy);
    for (int j = 0; j < SIDE; j++)
        for (int i = 1; i < SIDE - 1; i++) {
            const float *p = image + j * SIDE + i;
            copy[j * SIDE + i] = 0.25f * (p[-1] + p[1]) + 0.5f * p[0];
        }
    memcpy(image, copy, sizeof copy);
    for (int j = 1; j < SIDE - 1; j++)
        for (int i = 0; i < SIDE; i++) {
            const float *p = copy + j * SIDE + i;
            image[j * SIDE + i] = 0.25f * (p[-SIDE] + p[SIDE]) + 0.5f * p[0];
        }
}

/* Correlation over the cells that at least a quarter of the frames saw. */
static float correlation(const checker *c, const float *template, float seen)
{
    float n = 0.0f, sa = 0.0f, sb = 0.0f, saa = 0.0f, sbb = 0.0f, sab = 0.0f;
    for (int i = 0; i < CELLS; i++) {
        if (c->weight[i] < seen)
            continue;
        float a = c->mean[i], b = template[i];
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

/* Best correlation over blurs; `radius` and the offset are given. */
static float match(const checker *c, int shape, float radius, float dx, float dy, float seen)
{
    float template[CELLS], best = 0.0f;
    make_template(shape, radius, dx, dy, template);
    for (int k = 0; k < 4; k++) {
        float r = correlation(c, template, seen);
        best = r > best ? r : best;
        blur(template);
        if (k > 0)
            blur(template);
    }
    return best;
}

static float best_match(const checker *c, int shape, float seen)
{
    float best = 0.0f, radius = 0.0f;
    for (int r = 7; r <= 18; r++) {
        float m = match(c, shape, (float)r, 0.0f, 0.0f, seen);
        if (m > best) {
            best = m;
            radius = (float)r;
        }
    }
    float dx = 0.0f, dy = 0.0f;
    for (int halving = 0; halving < 2; halving++) {
        const float step = halving ? 0.25f : 0.5f;
        const float moves[6][3] = {{step, 0, 0},  {-step, 0, 0}, {0, step, 0},
                                   {0, -step, 0}, {0, 0, step},  {0, 0, -step}};
        for (int round = 0, k = 0; k < 6 && round < 24; round++) {
            float m =
                match(c, shape, radius + moves[k][0], dx + moves[k][1], dy + moves[k][2], seen);
            if (m > best) {
                best = m;
                radius += moves[k][0];
                dx += moves[k][1];
                dy += moves[k][2];
                k = 0;
            } else {
                k++;
            }
        }
    }
    return best;
}

static int read_shape(const checker *c, mgi_toybox_reading *out)
{
    float most = 0.0f, best = 0.0f, second = 0.0f;
    int found = -1;
    for (int i = 0; i < CELLS; i++)
        most = c->weight[i] > most ? c->weight[i] : most;
    if (most < 1.0f)
        return -1;
    for (int k = 0; k < MGI_TOYBOX_SHAPES; k++) {
        float m = best_match(c, k, 0.25f * most);
        if (m > best) {
            second = best;
            best = m;
            found = k;
        } else if (m > second) {
            second = m;
        }
    }
    out->shape_score = best;
    return best >= shape_score_min && best >= second + shape_margin_min ? found : -1;
}

/* ---- all ----------------------------------------------------------------------------------- */

mgen_status mgi_toybox_check(mgen_context *ctx, const uint8_t *frames, int count,
                             mgi_toybox_reading *out)
{
    checker *c;
    track *tracks = NULL;
    mgen_status status;
    *out = (mgi_toybox_reading){-1, -1, -1, -1, 0.0f, 0.0f, 0.0f};
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *c, &c));
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, (size_t)count, sizeof *tracks, &tracks), done);
    c->frames = frames;
    c->count = count;

    out->background = read_background(c);
    if (out->background < 0)
        goto done;
    out->colour = read_colour(c);
    if (out->colour < 0)
        goto done;
    for (int i = 0; i < count; i++) {
        make_mask(c, i, out->colour);
        tracks[i] = measure(c->mask);
    }
    out->motion = read_motion(tracks, count, out);
    make_mean(c, tracks, out->colour);
    out->shape = read_shape(c, out);
done:
    mgi_free(ctx, tracks);
    mgi_free(ctx, c);
    return status;
}
