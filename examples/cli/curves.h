/* SPDX-License-Identifier: MIT
 * Curves out of training logs (JSON lines), for moviegen plot. */
#ifndef CLI_CURVES_H
#define CLI_CURVES_H

#include "cli.h"

typedef struct curve_point {
    double x, y;
} curve_point;

typedef struct curve {
    char name[96]; /* "stage key" */
    curve_point *points;
    size_t count, capacity;
} curve;

enum { CURVES_MAX = 24 };

typedef struct curve_set {
    curve curves[CURVES_MAX];
    int count;
} curve_set;

/* Add the numbers named in `keys` (separated by commas) of a log to the set. A status; mistakes are
 * explained. */
int curves_read(const cli_command *command, const char *path, const char *keys, curve_set *set);
void curves_free(curve_set *set);

#endif
