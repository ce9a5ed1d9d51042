/* SPDX-License-Identifier: MIT
 * What a call answered, and what `ctx`, the program's context, says of it. */
#ifndef SAID_H
#define SAID_H

#include "core/context.h"

#include <string.h>

static inline void assert_said(mgen_status got, mgen_status wanted, const char *part)
{
    if (got != wanted || !strstr(mgen_last_error(ctx), part))
        fail_msg("%s '%s', wanted %s '%s'", mgen_status_name(got), mgen_last_error(ctx),
                 mgen_status_name(wanted), part);
}

#endif
