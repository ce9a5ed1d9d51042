/* SPDX-License-Identifier: MIT
 * Solver, schedule and others by name. */
#include "cli.h"

#include <string.h>

enum { NAMES = 3 };

/* In the order of MGEN_SOLVER_* and MGEN_SCHEDULE_*. */
static const char *const solvers[NAMES] = {"euler", "midpoint", "dopri5"};
static const char *const schedules[NAMES] = {"linear-quadratic", "linear", "linear-quadratic-1000"};

/* Of MGEN_PRECISION_*, from F32 on. */
static const char *const precisions[NAMES] = {"f32", "bf16", "fp8"};

/* As bits of drop_text. */
static const char *const roles[NAMES] = {"ul2", "byt5", "metaclip"};

bool name_number(const cli_command *command, const char *option, const char *name,
                 const char *const *names, uint32_t count, uint32_t *out)
{
    char list[256] = "";
    size_t used = 0;
    *out = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!name || !strcmp(name, names[i])) {
            *out = i;
            return true;
        }
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s",
                                 !i              ? ""
                                 : i < count - 1 ? ", "
                                                 : " or ",
                                 names[i]);
    }
    complain(command, "%s is '%s'; it must be %s", option, name, list);
    return false;
}

/* "ul2,byt5": a bit for each. */
static bool roles_of(const cli_command *command, const char *list, uint32_t *out)
{
    *out = 0;
    for (const char *at = list ? list : "", *end; *at; at = *end ? end + 1 : end) {
        uint32_t bit = 0;
        end = at + strcspn(at, ",");
        for (uint32_t i = 0; i < NAMES; i++)
            if (strlen(roles[i]) == (size_t)(end - at) && !strncmp(at, roles[i], strlen(roles[i])))
                bit = UINT32_C(1) << i;
        if (!bit) {
            complain(command, "--drop-text is '%s'; it must be a list of %s, %s and %s", list,
                     roles[0], roles[1], roles[2]);
            return false;
        }
        *out |= bit;
    }
    return true;
}

bool sampling_numbers(cli_session *session, const cli_sampling *s, uint32_t *solver,
                      uint32_t *schedule, uint32_t *drop_text)
{
    const cli_command *command = session->command;
    uint32_t precision;
    if (!roles_of(command, s->drop_text, drop_text) ||
        !name_number(command, "--solver", s->solver, solvers, NAMES, solver) ||
        !name_number(command, "--schedule", s->schedule, schedules, NAMES, schedule) ||
        !name_number(command, "--precision", s->precision, precisions, NAMES, &precision))
        return false;
    session->pipe.precision =
        s->precision ? MGEN_PRECISION_F32 + precision : MGEN_PRECISION_DEFAULT;
    return true;
}

bool sampling_set(cli_session *session, const cli_sampling *s, mgen_generate_params *params)
{
    params->guidance_from = (float)s->guidance_from;
    params->guidance_to = (float)s->guidance_to;
    params->noise_scale = (float)s->noise_scale;
    return sampling_numbers(session, s, &params->solver, &params->schedule, &params->drop_text);
}
