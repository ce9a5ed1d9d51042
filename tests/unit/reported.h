/* SPDX-License-Identifier: MIT
 * The numbers of a report, by their names. */
#ifndef TESTS_UNIT_REPORTED_H
#define TESTS_UNIT_REPORTED_H

#include "moviegen.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* `otherwise`: where it has none. */
static inline double reported_or(const mgen_report *report, const char *name, double otherwise)
{
    for (uint32_t i = 0; i < mgen_report_count(report); i++)
        if (!strcmp(mgen_report_name(report, i), name))
            return mgen_report_value(report, i);
    return otherwise;
}

static inline double reported(const mgen_report *report, const char *name)
{
    const double value = reported_or(report, name, NAN);
    if (isnan(value))
        fail_msg("no number is reported as \"%s\"", name);
    return value;
}

#endif
