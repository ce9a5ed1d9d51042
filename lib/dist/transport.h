/* SPDX-License-Identifier: MIT
 * What carries messages between processes: MPI, by the plug-in that exports this table, or sockets. Tier 3.
 *
 * Messages of one sender with one tag arrive in order. Nothing blocks but begin() and end(). Calls
 * answer 0, or a negative mgen_status with a sentence in error[0..error_size).
 */
#ifndef MGI_DIST_TRANSPORT_H
#define MGI_DIST_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#define MGI_MPI_PLUGIN_VERSION 2

typedef struct mgi_transport {
    uint32_t version; /* of the plug-in, MGI_MPI_PLUGIN_VERSION; the library refuses another */
    /* Starts MPI, unless the host has. One at a time a process; where MPI was started here, once. NULL: sockets,
     * which were connected before. *self is given to all others. */
    int32_t (*begin)(void **self, int32_t *rank, int32_t *size, int32_t *tag_max, char *error,
                     size_t error_size);
    /* Begin to send, or to receive as many bytes; peer -1: from anyone. *request: never 0. */
    int32_t (*send)(void *self, const void *data, int64_t bytes, int32_t peer, int32_t tag,
                    int64_t *request, char *error, size_t error_size);
    int32_t (*receive)(void *self, void *data, int64_t bytes, int32_t peer, int32_t tag,
                       int64_t *request, char *error, size_t error_size);
    /* Done, or failed: *request is 0. */
    int32_t (*test)(void *self, int64_t *request, char *error, size_t error_size);
    void (*drop)(void *self, int64_t *request); /* whatever becomes of it; *request is 0 */
    /* Will nothing more come from a peer than what is here? NULL: one cannot know. */
    int32_t (*ended)(void *self, int32_t peer);
    /* Sleep until something can move, at most so long. NULL: it cannot. */
    void (*wait)(void *self, int32_t microseconds);
    /* orderly: MPI that was started here ends, when all ranks have come to this. */
    void (*end)(void *self, int32_t orderly);
} mgi_transport;

#endif
