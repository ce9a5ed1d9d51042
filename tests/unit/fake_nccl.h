/* SPDX-License-Identifier: MIT
 * What tests ask of the NCCL that the host plays, fake_nccl.c: found by dlsym. */
#ifndef FAKE_NCCL_H
#define FAKE_NCCL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "kernels/emulated/stream_emulated.h"

typedef struct fake_nccl {
    _Atomic int version;         /* 0: a recent one */
    _Atomic int polls;           /* how often each call is in progress before it is taken */
    _Atomic int no_id, no_start; /* these fail */
    _Atomic int
        fails_at; /* the call, counted over all ranks from 1, that ends in an error later; 0: none */
    _Atomic int calls;
    _Atomic int alive;  /* communicators */
    _Atomic int blocks; /* that the last one may have; 0: any number */
    /* Work of streams: as mgk_queue_keep and mgk_queue_put; and what is around it where memory is a GPU's, or NULL. */
    void *(*keep)(mgk_queue_fn *fn, size_t bytes);
    void (*put)(void *stream, void *kept);
    void (*open)(void), (*close)(void);
} fake_nccl;

#endif
