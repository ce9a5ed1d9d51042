/* SPDX-License-Identifier: MIT
 * Solver and schedule by name. */
#include "cli.h"

#include <string.h>

enum { NAMES = 3 };

/* In the order of MGEN_SOLVER_* and MGEN_SCHEDULE_*. */
static const char *const solvers[NAMES] = {"euler", "midpoint", "dopri5"};
static const char *const schedules[NAMES] = {"linear-quadratic", "linear", "linear-quadratic-1000"};

static bool number_of(const cli_command *command, const char *option, const char *name,
                      const char *const names[NAMES], uint32_t *out)
{
    *out = 0;
    if (!name)
        return true;
    for (uint32_t i = 0; i < NAMES; i++)
        if (!strcmp(name, names[i])) {
            *out = i;
            return true;
        }
    complain(command, "%s is '%s'; it must be %s, %s or %s", option, name, names[0], names[1],
             names[2]);
    return false;
}

bool sampling_numbers(const cli_command *command, const cli_sampling *s, uint32_t *solver,
                      uint32_t *schedule)
{
    return number_of(command, "--solver", s->solver, solvers, solver) &&
           number_of(command, "--schedule", s->schedule, schedules, schedule);
}
