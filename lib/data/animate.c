/* SPDX-License-Identifier: MIT */
#include "data/animate.h"

#include "core/philox.h"

#include <stddef.h>
#include <string.h>

enum { TURN, GROW, SHIFT_X, SHIFT_Y, PACES };
enum { LOT_BITS = 16 }; /* lots of an element: of PACES at each knot */

static const float most[PACES] = {0.0087266463f, 0.005f, 0.005f, 0.005f}; /* radians; of sides */

/* From pixels of a frame, counted from its middle, to those of the first: x' = a x + b y + c, y' = d x + e y + f. */
typedef struct affine {
    float a, b, c, d, e, f;
} affine;

/* Of step `step`, between its maximum and minus that: knots at random, smoothly joined. */
static float pace_at(uint64_t seed, uint64_t element, int kind, int step)
{
    int knot = PACES * (step / MGI_ANIMATE_KNOT) + kind;
    uint64_t lot = (element << LOT_BITS) + (uint64_t)knot;
    float from = mgi_random_unit(seed, MGI_STREAM_ANIMATE, lot);
    float to = mgi_random_unit(seed, MGI_STREAM_ANIMATE, lot + PACES);
    float t = (float)(step % MGI_ANIMATE_KNOT) / (float)MGI_ANIMATE_KNOT;
    t = t * t * (3.0f - 2.0f * t);
    return most[kind] * (2.0f * (from + (to - from) * t) - 1.0f);
}

/* Where a frame's pixels come from in the frame before it. */
static affine step_at(uint64_t seed, uint64_t element, int step, int width, int height)
{
    float turn = pace_at(seed, element, TURN, step);
    float scale = 1.0f + pace_at(seed, element, GROW, step);
    float cosine = scale * (1.0f - 0.5f * turn * turn); /* to 1e-9 of such small turns */
    float sine = scale * (turn - turn * turn * turn / 6.0f);
    return (affine){cosine, -sine,  (float)width * pace_at(seed, element, SHIFT_X, step),
                    sine,   cosine, (float)height * pace_at(seed, element, SHIFT_Y, step)};
}

/* First n, then m. */
static affine after(const affine *m, const affine *n)
{
    return (affine){m->a * n->a + m->b * n->d,        m->a * n->b + m->b * n->e,
                    m->a * n->c + m->b * n->f + m->c, m->d * n->a + m->e * n->d,
                    m->d * n->b + m->e * n->e,        m->d * n->c + m->e * n->f + m->f};
}

/* Pixels around x of a side: the first of them and how far x is beyond it. */
static int pixel_before(float x, int side, float *beyond)
{
    float last = (float)(side - 1);
    x = x > 0.0f ? x < last ? x : last : 0.0f;
    int i = (int)x;
    i = i < side - 1 || i == 0 ? i : i - 1;
    *beyond = x - (float)i;
    return i;
}

static void sample(const uint8_t *frame, int width, int height, float x, float y, uint8_t out[3])
{
    float fx, fy;
    int ix = pixel_before(x, width, &fx), iy = pixel_before(y, height, &fy);
    ptrdiff_t right = width > 1 ? 3 : 0, down = height > 1 ? 3 * (ptrdiff_t)width : 0;
    const uint8_t *p = frame + 3 * ((ptrdiff_t)iy * width + ix);
    for (int k = 0; k < 3; k++, p++) {
        float upper = (float)p[0] + ((float)p[right] - (float)p[0]) * fx;
        float lower = (float)p[down] + ((float)p[down + right] - (float)p[down]) * fx;
        out[k] = (uint8_t)(upper + (lower - upper) * fy + 0.5f);
    }
}

void mgi_animate(const uint8_t *frame, int width, int height, int count, uint64_t seed,
                 uint64_t element, uint8_t *out)
{
    float middle_x = 0.5f * (float)(width - 1), middle_y = 0.5f * (float)(height - 1);
    affine m = {1.0f, 0.0f, 0.0f, 0.0f, 1.0f, 0.0f};
    for (int i = 0; i < count; i++) {
        if (i == 0) {
            if (out != frame)
                memcpy(out, frame, (size_t)width * (size_t)height * 3);
            out += (size_t)width * (size_t)height * 3;
            continue;
        }
        const affine step = step_at(seed, element, i - 1, width, height);
        m = after(&m, &step);
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++, out += 3) {
                float dx = (float)x - middle_x, dy = (float)y - middle_y;
                sample(frame, width, height, m.a * dx + m.b * dy + m.c + middle_x,
                       m.d * dx + m.e * dy + m.f + middle_y, out);
            }
    }
}
