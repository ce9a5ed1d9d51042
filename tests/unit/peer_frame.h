/* SPDX-License-Identifier: MIT
 * The frame of a message as a rank sends it over its connection; bytes may follow. */
#ifndef TESTS_UNIT_PEER_FRAME_H
#define TESTS_UNIT_PEER_FRAME_H

#include <stdint.h>

enum { PEER_MAGIC = 0x6e65676d };
enum { PEER_SMALL = 1, PEER_OFFER, PEER_ACCEPT, PEER_DATA, PEER_END };

typedef struct peer_frame {
    uint32_t magic, kind;
    int32_t tag;
    uint32_t bytes;
    uint64_t id;
    int64_t total;
} peer_frame;
_Static_assert(sizeof(peer_frame) == 32, "it travels as it is");

#endif
