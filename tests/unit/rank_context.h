/* SPDX-License-Identifier: MIT
 * A rank that is a thread: it has a context and a device of its own, and is joined to the others. */
#ifndef TESTS_UNIT_RANK_CONTEXT_H
#define TESTS_UNIT_RANK_CONTEXT_H

#include "core/context.h"
#include "dist/comm.h"
#include "tensor/device.h"

#include <stdio.h>

typedef mgen_status rank_body(void *user, mgen_context *own, mgi_comm *comm);

/* What `body` answers, or what came before it; group NULL: alone, comm NULL. said: the message of a failure, else "". */
static inline mgen_status run_as_rank(mgen_context_params params, mgi_comm_group *group, int index,
                                      rank_body *body, void *user, char *said, size_t size)
{
    mgen_context *own;
    mgi_comm *comm = NULL;
    said[0] = '\0';
    params.threads = 1;
    mgen_status status = mgi_context_init(&own, &params);
    if (status != MGEN_OK)
        return status;
    status = mgi_device_create(own, NULL);
    if (status == MGEN_OK && group)
        status = mgi_comm_join(group, index, own, &comm);
    if (status == MGEN_OK)
        status = body(user, own, comm);
    if (status != MGEN_OK)
        snprintf(said, size, "%s", mgen_last_error(own));
    mgi_comm_destroy(comm);
    mgi_context_free(own);
    return status;
}

#endif
