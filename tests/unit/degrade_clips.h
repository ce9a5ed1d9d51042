/* SPDX-License-Identifier: MIT
 * Clips to be spoiled, and options that say with what. */
#ifndef TESTS_UNIT_DEGRADE_CLIPS_H
#define TESTS_UNIT_DEGRADE_CLIPS_H

#include "core/context.h"
#include "data/degrade.h"
#include "ok.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static mgen_context *ctx;

static mgen_context *new_context(uint32_t threads, const mgen_allocator *allocator)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *made;
    params.threads = threads;
    if (allocator)
        params.allocator = *allocator;
    assert_int_equal(mgi_context_init(&made, &params), MGEN_OK);
    return made;
}

static int setup(void **state)
{
    (void)state;
    ctx = new_context(2, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    return 0;
}

static mgi_degrade_range just(float value)
{
    return (mgi_degrade_range){value, value};
}

/* Nothing happens, but for the size, which linear weights change. */
static mgi_degrade_options nothing(void)
{
    const mgi_degrade_pass pass = {.blur = -1.0f,
                                   .anisotropic = -1.0f,
                                   .resize = -1.0f,
                                   .area = -1.0f,
                                   .noise = -1.0f,
                                   .shot = -1.0f,
                                   .grey = -1.0f,
                                   .jpeg = -1.0f,
                                   .halved = -1.0f};
    return (mgi_degrade_options){
        .clean = -1.0f, .ringing = -1.0f, .jpeg_last = -1.0f, .pass = {pass, pass}};
}

/* Some picture with edges, slopes and all levels. */
static uint8_t *picture(int64_t count, int64_t w, int64_t h)
{
    uint8_t *p = test_malloc((size_t)(count * w * h * 3)), *q = p;
    for (int64_t f = 0; f < count; f++)
        for (int64_t y = 0; y < h; y++)
            for (int64_t x = 0; x < w; x++) {
                bool in =
                    (x - w / 2 - f) * (x - w / 2 - f) + (y - h / 2) * (y - h / 2) < w * h / 12;
                *q++ = (uint8_t)(in ? 230 : x * 255 / w);
                *q++ = (uint8_t)(in ? 40 : y * 255 / h);
                *q++ = (uint8_t)(in ? 30 + 3 * (x % 7) : 255 - x * 128 / w);
            }
    return p;
}

static void assert_near(double got, double want, double within)
{
    if (!(fabs(got - want) <= within))
        fail_msg("%g, wanted %g +- %g", got, want, within);
}

#endif
