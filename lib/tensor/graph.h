/* SPDX-License-Identifier: MIT
 * Work that a GPU does again and again with the same arguments: a step of sampling, a pass of training. Tier 2.
 *
 * Launching ops one by one takes the host longer than small ones take the GPU. A part of a step that depends on
 * nothing but memory whose addresses do not change is therefore captured as a CUDA graph, and from then on one
 * launch runs all of it:
 *
 *     mgi_graph_enter(&g);                          allocations come from the graph's own memory
 *     x = ...; t = ...;                             what changes from step to step is made and written here,
 *     key = mgi_graph_key(mgi_graph_key(0, x), t);  and read from device memory by
 *     mgi_graph_run(&g, run, key, body, user);      what is captured
 *     ...
 *     mgi_graph_leave(&g);
 *
 * The first time that a key is seen the body runs plainly, by which all its memory is there; the second time it is
 * captured, and replayed from then on, to the same bits. Other shapes have other keys. The graph's free blocks
 * are handed to nothing else, and always in the same order, so that what is made before the body lies where it
 * lay when the body was captured; if it does not, its key is another one.
 *
 * The body must leave behind no tensor that it made, run no callback and change nothing of the host's: it may run
 * twice in one call. What cannot be captured (copies from and to the host, waiting, memory that was not there
 * before) is refused while capturing; then, as after any failure of the capture, nothing of it remains, the log
 * says why, and the body runs plainly. On the CPU and the meta device it always does. */
#ifndef MGI_TENSOR_GRAPH_H
#define MGI_TENSOR_GRAPH_H

#include "tensor/run.h"

/* As many as a recipe may have kinds of clips, times lengths of text. */
enum { MGI_GRAPH_ENTRIES = 128 };

/* What is known of one key. */
typedef struct mgi_graph_entry {
    uint64_t key;
    int64_t used;  /* the graph's clock then; 0: the entry is free */
    int attempts;  /* to capture it, that failed */
    void *exec;    /* NULL: not captured */
    void *scratch; /* the device's workspace, as captured */
    size_t scratch_bytes;
    uint64_t launches;
    double flops;
} mgi_graph_entry;

typedef struct mgi_graph {
    mgi_device *dev;
    struct mgi_graph *next; /* of the device */
    mgi_blocks blocks;
    bool entered;
    int64_t clock;
    uint64_t captures, replays; /* so far */
    mgi_graph_entry entry[MGI_GRAPH_ENTRIES];
} mgi_graph;

typedef void mgi_graph_fn(mgi_run *run, void *user);

void mgi_graph_init(mgi_graph *g, mgi_device *dev);
/* After all tensors that were made inside have been released. A graph that is all 0 is fine. */
void mgi_graph_finish(mgi_graph *g);

void mgi_graph_enter(mgi_graph *g);
void mgi_graph_leave(mgi_graph *g);

/* Of what a body reads and writes: where it lies, its dtype and its shape; t may be NULL. */
uint64_t mgi_graph_key(uint64_t key, const mgi_tensor *t);
void mgi_graph_run(mgi_graph *g, mgi_run *run, uint64_t key, mgi_graph_fn *body, void *user);

/* Forget what was captured and give free memory back. */
void mgi_graph_drop(mgi_graph *g);

#endif
