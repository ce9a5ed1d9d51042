/* SPDX-License-Identifier: MIT
 * What carries messages between processes: the table that the MPI plug-in exports. Tier 3.
 *
 * Messages of one sender with one tag arrive in order. Nothing blocks but begin() and end(). Calls
 * answer 0, or a negative mgen_status with a sentence in error[0..error_size).
 */
#ifndef MGI_DIST_TRANSPORT_H
#define MGI_DIST_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#define MGI_MPI_PLUGIN_VERSION 1

typedef struct mgi_transport {
    uint32_t version; /* MGI_MPI_PLUGIN_VERSION; the library refuses another */
    /* Starts MPI, unless the host has. One at a time a process; where MPI was started here, once. */
    int32_t (*begin)(int32_t *rank, int32_t *size, int32_t *tag_max, char *error,
                     size_t error_size);
    /* Begin to send, or to receive as many bytes; peer -1: from anyone. *request: never 0. */
    int32_t (*send)(const void *data, int64_t bytes, int32_t peer, int32_t tag, int64_t *request,
                    char *error, size_t error_size);
    int32_t (*receive)(void *data, int64_t bytes, int32_t peer, int32_t tag, int64_t *request,
                       char *error, size_t error_size);
    /* Done: *request is 0. */
    int32_t (*test)(int64_t *request, char *error, size_t error_size);
    void (*drop)(int64_t *request); /* whatever becomes of it; *request is 0 */
    /* orderly: MPI that was started here ends, when all ranks have come to this. */
    void (*end)(int32_t orderly);
} mgi_transport;

#endif
