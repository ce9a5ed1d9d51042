/* SPDX-License-Identifier: MIT
 * What a context logs, a line behind the other: its log is keep_log() or, for warnings and errors, keep_warnings(). */
#ifndef TESTS_UNIT_LOGGED_H
#define TESTS_UNIT_LOGGED_H

#include "moviegen.h"

#include <stdio.h>
#include <string.h>

static char logged[8192];

static inline void keep_log(void *user, int32_t level, const char *text)
{
    const size_t used = strlen(logged);
    (void)user, (void)level;
    snprintf(logged + used, sizeof logged - used, "%s\n", text);
}

static inline void keep_warnings(void *user, int32_t level, const char *text)
{
    if (level == MGEN_LOG_WARN || level == MGEN_LOG_ERROR)
        keep_log(user, level, text);
}

#endif
