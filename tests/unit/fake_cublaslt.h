/* SPDX-License-Identifier: MIT
 * What tests ask of the cuBLASLt that the host plays, fake_cublaslt.c: found by dlsym. */
#ifndef FAKE_CUBLASLT_H
#define FAKE_CUBLASLT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAKE_ALGORITHMS = 8 };

typedef struct fake_cublaslt {
    size_t version;
    bool no_start;              /* no handle is made */
    int algorithms;             /* of each shape; 0: there is none */
    double ms[FAKE_ALGORITHMS]; /* that a product by each takes */
    unsigned broken,
        unfit; /* bits: those that fail when they run; that are not allowed for a shape */
    size_t workspace[FAKE_ALGORITHMS];
    /* what was asked */
    int asked, most, checked, products, by[FAKE_ALGORITHMS], handles;
    uint32_t aligned[4], reductions;
    size_t room;
    void *stream;
    const char *refused;      /* what broke NVIDIA's rules, NULL: nothing */
    void (*spend)(double ms); /* NULL: products take no time */
    bool spends_first;        /* also if they fail */
    /* Work of streams, as mgk_queue_keep and mgk_queue_put, NULL: it is done at once; and what is around it where memory is
     * a GPU's, or NULL. */
    void *(*keep)(bool (*fn)(void *what), size_t bytes);
    void (*put)(void *stream, void *kept);
    void (*open)(void), (*close)(void);
} fake_cublaslt;

#endif
