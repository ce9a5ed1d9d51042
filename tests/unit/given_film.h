/* SPDX-License-Identifier: MIT
 * Films that requests are given, and what came of them. */
#ifndef GIVEN_FILM_H
#define GIVEN_FILM_H

#include "nn/module.h"
#include "task/generate.h"

#include <math.h>
#include <string.h>

/* A film that a request is given, and what became of it. */
typedef struct film {
    int64_t width, height, frames;
    int64_t edge_width, edge_height; /* beyond these pixels the edge repeats; 0: nowhere */
    int64_t came, parts;             /* whole frames, and parts of them */
    int asked, steps, total, stop_asked, stop_step;
    float *rgb;
} film;

static float pixel(int64_t frame, int64_t y, int64_t x, int64_t c)
{
    return sinf(0.3f * (float)x + 0.2f * (float)y + 0.7f * (float)frame + (float)c);
}

static mgen_status source(void *user, int64_t first, int64_t count, float *rgb)
{
    film *f = user;
    assert_true(first >= 0 && count == 1 && first < f->frames);
    for (int64_t y = 0; y < f->height; y++)
        for (int64_t x = 0; x < f->width; x++)
            for (int64_t c = 0; c < 3; c++, rgb++) {
                bool right = f->edge_width && x >= f->edge_width;
                bool below = f->edge_height && y >= f->edge_height;
                *rgb =
                    pixel(first, below ? f->edge_height - 1 : y, right ? f->edge_width - 1 : x, c);
            }
    return MGEN_OK;
}

static inline bool stop(void *user)
{
    film *f = user;
    return ++f->asked == f->stop_asked;
}

/* Whole frames, in order. */
static inline mgen_status take_frames(void *user, const mgi_frames_box *box, float *rgb)
{
    film *f = user;
    assert_int_equal(box->width, f->width);
    assert_int_equal(box->height, f->height);
    assert_int_equal(box->first, f->came);
    memcpy(f->rgb + box->first * f->height * f->width * 3, rgb,
           (size_t)(box->count * f->height * f->width * 3) * sizeof *rgb);
    f->came += box->count;
    return MGEN_OK;
}

static inline bool count_step(void *user, int done, int total)
{
    film *f = user;
    f->total = total;
    assert_int_equal(done, ++f->steps);
    return f->stop_step == done;
}

static film film_of(int64_t width, int64_t height, int64_t frames)
{
    film f = {.width = width, .height = height, .frames = frames};
    f.rgb = test_calloc((size_t)(width * height * frames), 3 * sizeof *f.rgb);
    return f;
}

static float largest(const float *a, const float *b, int64_t count)
{
    float most = 0.0f;
    for (int64_t i = 0; i < count; i++)
        most = fmaxf(most, b ? fabsf(a[i] - b[i]) : fabsf(a[i]));
    return most;
}

static inline void copy_values(const mgi_module *from, mgi_module *to)
{
    for (int64_t i = 0; i < from->count; i++) {
        const T *x = from->params[i]->value;
        mgi_tensor_write(to->params[i]->value, 0, mgi_f32(x), x->count);
    }
}

#endif
