/* SPDX-License-Identifier: MIT
 * Addresses, and sockets that listen, connect and wait no longer than they may. */
#include "dist/sockets_meet.h"

#include "core/hash.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TRY_MS = 2000 /* for one address */, BUSY_MS = 2000 /* until a port is free again */ };

int64_t mgi_meet_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void mgi_meet_pause(int64_t ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* ---- addresses ---- */

mgen_status mgi_meet_parse(mgen_context *ctx, const char *address, const char *text,
                           char host[MGI_HOST_MAX + 1], uint16_t *port)
{
    const char *colon = strrchr(text, ':'), *from = text, *to = colon;
    unsigned long number = 0;
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    if (colon && *text == '[' && colon > text + 1 && colon[-1] == ']') {
        from++;
        to--;
    }
    if (digits > 0 && digits < 6 && colon[1 + digits] == 0)
        for (size_t i = 0; i < digits; i++)
            number = 10 * number + (unsigned long)(colon[1 + i] - '0');
    if (number < 1 || number > 65535 || to <= from || to - from > MGI_HOST_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "'%.300s' is no address to meet at; as in tcp://host:29500", address);
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = 0;
    *port = (uint16_t)number;
    return MGEN_OK;
}

bool mgi_meet_host_is_local(const char *host)
{
    return !strcmp(host, "localhost") || !strcmp(host, "::1") || !strncmp(host, "127.", 4);
}

static socklen_t any_address(int family, bool local, uint16_t port, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (family == AF_INET6) {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)out;
        a->sin6_family = AF_INET6;
        a->sin6_port = htons(port);
        return sizeof(*a); /* :: is all bits 0 */
    }
    struct sockaddr_in *a = (struct sockaddr_in *)out;
    a->sin_family = AF_INET;
    a->sin_port = htons(port);
    a->sin_addr.s_addr = htonl(local ? INADDR_LOOPBACK : INADDR_ANY);
    return sizeof(*a);
}

static bool card_address(const mgi_card *card, int i, struct sockaddr_storage *out,
                         socklen_t *length)
{
    const struct mgi_card_address *from = &card->at[i];
    memset(out, 0, sizeof(*out));
    if (from->family == 4) {
        struct sockaddr_in *a = (struct sockaddr_in *)out;
        a->sin_family = AF_INET;
        a->sin_port = htons(card->port);
        memcpy(&a->sin_addr, from->bytes, 4);
        *length = sizeof(*a);
        return true;
    }
    struct sockaddr_in6 *a = (struct sockaddr_in6 *)out;
    a->sin6_family = AF_INET6;
    a->sin6_port = htons(card->port);
    memcpy(&a->sin6_addr, from->bytes, 16);
    *length = sizeof(*a);
    return from->family == 6;
}

/* False: it is no address at which another machine can come. */
static bool to_card(const struct sockaddr *from, struct mgi_card_address *out)
{
    memset(out, 0, sizeof(*out));
    if (from && from->sa_family == AF_INET) {
        const struct in_addr *a = &((const struct sockaddr_in *)(const void *)from)->sin_addr;
        out->family = 4;
        memcpy(out->bytes, a, 4);
        return ntohl(a->s_addr) >> 24 != 127;
    }
    if (!from || from->sa_family != AF_INET6)
        return false;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(a)) {
        out->family = 4;
        memcpy(out->bytes, (const char *)a + 12, 4);
        return out->bytes[0] != 127;
    }
    out->family = 6;
    memcpy(out->bytes, a, 16);
    return !IN6_IS_ADDR_LOOPBACK(a) && !IN6_IS_ADDR_LINKLOCAL(a);
}

static uint64_t this_machine(void)
{
    char name[256] = "";
    (void)gethostname(name, sizeof(name) - 1);
    return mgi_hash64(name, strlen(name), 0);
}

mgen_status mgi_meet_card(mgen_context *ctx, int listener, bool local, mgi_card *out)
{
    struct sockaddr_storage at = {0};
    socklen_t length = sizeof(at);
    struct ifaddrs *all = NULL;
    char text[128];
    memset(out, 0, sizeof(*out));
    out->machine = this_machine();
    if (getsockname(listener, (struct sockaddr *)&at, &length))
        return mgi_fail(ctx, MGEN_E_IO, "a socket has no address: %s",
                        mgi_errno_text(errno, text, sizeof(text)));
    out->port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                               : ((struct sockaddr_in *)&at)->sin_port);
    if (local || getifaddrs(&all))
        return MGEN_OK;
    for (const struct ifaddrs *a = all; a && out->count < MGI_CARD_ADDRESSES; a = a->ifa_next)
        if (a->ifa_flags & IFF_UP)
            out->count += to_card(a->ifa_addr, &out->at[out->count]);
    freeifaddrs(all);
    return MGEN_OK;
}

void mgi_meet_add_seen(mgi_card *card, int fd)
{
    struct sockaddr_storage at = {0};
    struct mgi_card_address seen;
    socklen_t length = sizeof(at);
    if (getpeername(fd, (struct sockaddr *)&at, &length) || !to_card((struct sockaddr *)&at, &seen))
        return;
    int i = 0;
    while (i < card->count && memcmp(&card->at[i], &seen, sizeof(seen)) != 0)
        i++;
    if (i == card->count && card->count < MGI_CARD_ADDRESSES)
        card->count++;
    if (i == MGI_CARD_ADDRESSES)
        i--;
    memmove(card->at + 1, card->at, (size_t)i * sizeof(seen));
    card->at[0] = seen;
}

/* ---- sockets ---- */

static int make_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static void prepare(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* -1: errno says why. */
static int try_listen(int family, bool local, uint16_t port)
{
    struct sockaddr_storage at;
    int on = 1, off = 0, fd = make_socket(family);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    socklen_t length = any_address(family, local, port, &at);
    if (bind(fd, (struct sockaddr *)&at, length) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

mgen_status mgi_meet_listen(mgen_context *ctx, bool local, uint16_t port, int64_t end, int *out)
{
    int64_t patience = mgi_meet_now() + BUSY_MS;
    char text[128];
    do {
        *out = local ? -1 : try_listen(AF_INET6, false, port);
        if (*out < 0 && (local || errno != EADDRINUSE))
            *out = try_listen(AF_INET, local, port);
        if (*out >= 0)
            return MGEN_OK;
        if (errno != EADDRINUSE)
            break;
        mgi_meet_pause(20);
    } while (mgi_meet_now() < patience && mgi_meet_now() < end);
    return mgi_fail(ctx, MGEN_E_IO, "nobody can listen at port %u: %s; choose another", port,
                    mgi_errno_text(errno, text, sizeof(text)));
}

/* Connected, and not with itself, which happens at a port that nobody listens at. */
static bool is_connected(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t a = sizeof(here), b = sizeof(there), size = sizeof(int);
    int error = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) || error)
        return false;
    if (getsockname(fd, (struct sockaddr *)&here, &a) ||
        getpeername(fd, (struct sockaddr *)&there, &b))
        return false;
    return a != b || memcmp(&here, &there, a) != 0;
}

int mgi_meet_connect(const struct sockaddr *to, socklen_t length, int64_t end)
{
    int64_t now = mgi_meet_now(), left = end - now < TRY_MS ? end - now : TRY_MS;
    int fd = left > 0 ? make_socket(to->sa_family) : -1, on = 1;
    const struct linger at_once = {.l_onoff = 1};
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (connect(fd, to, length) == 0 || errno == EINPROGRESS) {
        struct pollfd wait = {fd, POLLOUT, 0};
        if (poll(&wait, 1, (int)left) == 1 && is_connected(fd)) {
            prepare(fd);
            return fd;
        }
    }
    /* What was connected with itself must not keep the port from who is to listen there. */
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
    return -1;
}

int mgi_meet_connect_card(const mgi_card *card, int64_t end)
{
    struct sockaddr_storage to;
    socklen_t length = any_address(AF_INET, true, card->port, &to);
    int fd = card->machine == this_machine() ? mgi_meet_connect((struct sockaddr *)&to, length, end)
                                             : -1;
    for (int i = 0; fd < 0 && i < card->count && i < MGI_CARD_ADDRESSES; i++)
        if (card_address(card, i, &to, &length))
            fd = mgi_meet_connect((struct sockaddr *)&to, length, end);
    return fd;
}

int mgi_meet_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        prepare(fd);
    return fd;
}

static bool ready(int fd, short events, int64_t end)
{
    int64_t left = end - mgi_meet_now();
    struct pollfd wait = {fd, events, 0};
    if (left <= 0)
        return false;
    (void)poll(&wait, 1, left > 1000 ? 1000 : (int)left);
    return true;
}

bool mgi_meet_write(int fd, const void *data, size_t bytes, int64_t end)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            at += n;
            bytes -= (size_t)n;
        } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) ||
                   !ready(fd, POLLOUT, end)) {
            return false;
        }
    }
    return true;
}

bool mgi_meet_read(int fd, void *data, size_t bytes, int64_t end)
{
    char *at = data;
    while (bytes > 0) {
        ssize_t n = recv(fd, at, bytes, MSG_DONTWAIT);
        if (n > 0) {
            at += n;
            bytes -= (size_t)n;
        } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) ||
                   !ready(fd, POLLIN, end)) {
            return false;
        }
    }
    return true;
}
