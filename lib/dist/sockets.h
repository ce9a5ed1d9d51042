/* SPDX-License-Identifier: MIT
 * Messages over stream sockets: a transport between processes that met without MPI. Tier 3. */
#ifndef MGI_DIST_SOCKETS_H
#define MGI_DIST_SOCKETS_H

#include "dist/comm.h"
#include "dist/transport.h"

typedef struct mgi_sockets mgi_sockets;

/* All but begin(), which is NULL; `self` is a mgi_sockets, which end() frees. */
extern const mgi_transport mgi_sockets_transport;

/* fds[r]: a connected stream socket to rank r, this rank's own unused. They are the transport's from now on, also
 * after a failure. */
mgen_status mgi_sockets_create(mgen_context *ctx, int rank, int size, const int *fds,
                               mgi_sockets **out);

/* ---- sockets_meet.c ---- */

/* Connect this rank to all others: fds[size], which the caller closes; -1 for its own, and all after a failure. */
mgen_status mgi_sockets_meet(mgen_context *ctx, const mgi_comm_meeting *how, int64_t timeout_ms,
                             int *fds);

#endif
