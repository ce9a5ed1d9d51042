/* SPDX-License-Identifier: MIT
 * Networks whose every parameter counts: those that begin as 0 or 1 do nothing that could be compared. */
#ifndef TESTS_UNIT_RANDOM_VALUES_H
#define TESTS_UNIT_RANDOM_VALUES_H

#include "core/philox.h"
#include "nn/module.h"

static inline void randomise(mgi_module *m, float scale)
{
    for (int64_t k = 0; k < m->count; k++)
        for (int64_t i = 0; i < m->params[k]->value->count; i++)
            mgi_f32(m->params[k]->value)[i] +=
                scale * mgi_random_normal(8, 100 + (uint64_t)k, (uint64_t)i);
}

#endif
