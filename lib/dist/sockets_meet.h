/* SPDX-License-Identifier: MIT
 * How processes find each other: what the two files of it share. Only for sockets_*.c. Tier 3. */
#ifndef MGI_DIST_SOCKETS_MEET_H
#define MGI_DIST_SOCKETS_MEET_H

#include "dist/sockets.h"

#include <sys/socket.h>

enum { MGI_CARD_ADDRESSES = 8, MGI_HOST_MAX = 255 /* bytes */ };

/* Where a rank listens. The bytes of it travel. */
typedef struct mgi_card {
    uint64_t machine; /* a hash of its name */
    uint16_t port, count;
    uint32_t unused;
    struct mgi_card_address {
        uint8_t family, unused[3], bytes[16]; /* 4 or 6 */
    } at[MGI_CARD_ADDRESSES];
} mgi_card;

int64_t mgi_meet_now(void); /* ms */
void mgi_meet_pause(int64_t ms);

/* "host:port", "[1::2]:port". */
mgen_status mgi_meet_parse(mgen_context *ctx, const char *address, const char *text,
                           char host[MGI_HOST_MAX + 1], uint16_t *port);
/* Is it this machine and no other, whoever reads it? */
bool mgi_meet_host_is_local(const char *host);

/* A socket that listens, at any free port if port is 0; local: for this machine only. */
mgen_status mgi_meet_listen(mgen_context *ctx, bool local, uint16_t port, int64_t end, int *out);
/* How others reach `listener`. */
mgen_status mgi_meet_card(mgen_context *ctx, int listener, bool local, mgi_card *out);
/* The address that the other end of a connection has for this one goes first. */
void mgi_meet_add_seen(mgi_card *card, int fd);

/* Connect, until `end` (ms): a descriptor that does not block, or -1, "not now". */
int mgi_meet_connect(const struct sockaddr *to, socklen_t length, int64_t end);
int mgi_meet_connect_card(const mgi_card *card, int64_t end);

/* A connection that is waiting at a listener; -1: there is none. */
int mgi_meet_accept(int listener);

/* All bytes until `end`; false: the other end has gone, or the time has. */
bool mgi_meet_write(int fd, const void *data, size_t bytes, int64_t end);
bool mgi_meet_read(int fd, void *data, size_t bytes, int64_t end);

#endif
