/* SPDX-License-Identifier: MIT
 * What a test says to the cuDNN that the host plays, and asks of it. */
#ifndef FAKE_CUDNN_H
#define FAKE_CUDNN_H

#include <stddef.h>

typedef struct fake_cudnn {
    size_t version;
    int no_handle;     /* 1: none can be made */
    int configs;       /* that the heuristics offer */
    int random;        /* of them, those at the front that are not deterministic */
    size_t workspace;  /* that a plan wants */
    int fails;         /* 1: executing fails */
    int handles, made; /* that are alive; descriptors likewise */
    int plans, runs;   /* so far */
    void *stream;      /* of the last run */
    const char *wrong; /* the first thing that cuDNN would not take; NULL: nothing */
} fake_cudnn;

#endif
