/* SPDX-License-Identifier: MIT
 * A port at which ranks of a test meet. */
#ifndef TESTS_UNIT_FREE_PORT_H
#define TESTS_UNIT_FREE_PORT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

/* Below those that the system gives to whoever asks for any. */
static inline uint16_t free_port(void)
{
    static unsigned next;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    next = next ? next : (unsigned)getpid() * 7;
    do
        at.sin_port = htons((uint16_t)(20000 + next++ % 12000));
    while (bind(fd, (struct sockaddr *)&at, sizeof at));
    close(fd);
    return ntohs(at.sin_port);
}

#endif
