/* SPDX-License-Identifier: MIT
 * What tests ask of the NCCL that the host plays, fake_nccl.c: found by dlsym. */
#ifndef FAKE_NCCL_H
#define FAKE_NCCL_H

#include <stdatomic.h>
#include <stdbool.h>

/* A stream: how much of what was put onto it is not done. */
typedef struct fake_stream {
    _Atomic int pending;
} fake_stream;

typedef struct fake_nccl {
    _Atomic int version;         /* 0: a recent one */
    _Atomic int polls;           /* how often each call is in progress before it is taken */
    _Atomic int no_id, no_start; /* these fail */
    _Atomic int
        fails_at; /* the call, counted over all ranks from 1, that ends in an error later; 0: none */
    _Atomic int calls;
    _Atomic int alive; /* communicators */
} fake_nccl;

#endif
