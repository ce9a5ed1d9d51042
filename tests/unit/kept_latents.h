/* SPDX-License-Identifier: MIT
 * The values of latents, wherever they are. */
#ifndef KEPT_LATENTS_H
#define KEPT_LATENTS_H

#include "train/latents.h"

#include <stdlib.h>
#include <string.h>

/* All of them, to be freed; NULL: they cannot be read. */
static inline float *latents_values(mgen_context *of, const mgi_latents *l)
{
    const int64_t all = l->clips + l->held;
    float *values = malloc((size_t)(all * l->step) * sizeof *values + 1);
    for (int64_t i = 0; values && i < all; i++)
        if (mgi_latents_read(of, l, i, 0, values + i * l->step, l->step) != MGEN_OK) {
            free(values);
            return NULL;
        }
    return values;
}

static inline bool same_latents(mgen_context *of, const mgi_latents *a, const mgi_latents *b)
{
    float *x = latents_values(of, a), *y = latents_values(of, b);
    const size_t bytes = (size_t)((a->clips + a->held) * a->step) * sizeof *x;
    const bool same = x && y && a->clips == b->clips && a->held == b->held && a->step == b->step &&
                      !memcmp(x, y, bytes);
    free(x);
    free(y);
    return same;
}

#endif
