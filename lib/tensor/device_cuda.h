/* SPDX-License-Identifier: MIT
 * One context's share of an NVIDIA GPU: a stream, memory, copies, errors. Tier 2.
 *
 * All computing of a context is put on its one stream and runs in order, so that memory may be handed on as soon as
 * the host lets go of it. Beside it collectives run, on streams of their own (mgi_cuda_side), each between a point of
 * the first stream that it waits for and one that waits for it. Only reads and mgi_cuda_wait() wait for the GPU. The
 * CUDA runtime is part of the library; the driver is looked for when the first context of a GPU is made.
 */
#ifndef MGI_TENSOR_DEVICE_CUDA_H
#define MGI_TENSOR_DEVICE_CUDA_H

#include "core/context.h"

typedef struct mgi_cuda mgi_cuda;

/* GPUs that can be used; 0 if there is none, in which case `why` (may be NULL) has the reason. */
int mgi_cuda_count(char *why, size_t size);

/* UNSUPPORTED: built without CUDA, no driver, no such GPU, or one that is too old. */
mgen_status mgi_cuda_open(mgen_context *ctx, int index, mgi_cuda **out);
void mgi_cuda_close(mgi_cuda *cuda);
int mgi_cuda_index(const mgi_cuda *cuda);
/* MGK_NEEDS_* bits that it fulfils; MGK_NEEDS_CUDNN once that is open */
uint32_t mgi_cuda_features(const mgi_cuda *cuda);
/* Whether cuDNN is open: opened by the first call, which logs why if it cannot be. */
bool mgi_cuda_open_dnn(mgi_cuda *cuda);

/* NO_MEMORY if the GPU has no more, with a message if it `tells`. */
mgen_status mgi_cuda_alloc(mgi_cuda *cuda, size_t bytes, bool tells, void **out);
void mgi_cuda_free(mgi_cuda *cuda, void *ptr);

/* Copies to the GPU return when `from` may be changed; those from it when `to` has the values. */
void mgi_cuda_write(mgi_cuda *cuda, void *to, const void *from, size_t bytes);
void mgi_cuda_read(mgi_cuda *cuda, void *to, const void *from, size_t bytes);
void mgi_cuda_wait(mgi_cuda *cuda);

/* The first error of a copy or launch so far: DEVICE, or DEVICE_LOST once the GPU takes no more work. */
mgen_status mgi_cuda_status(mgi_cuda *cuda);

/* From begin to end what is launched is not run but becomes a graph, which end returns, to be launched as often as
 * wanted. In between, copies from and to the host, waiting and new memory are refused: mgi_cuda_status() says so from
 * then on, and there is no graph. UNSUPPORTED, DEVICE, DEVICE_LOST. */
mgen_status mgi_cuda_capture_begin(mgi_cuda *cuda);
mgen_status mgi_cuda_capture_end(mgi_cuda *cuda, void **graph);
bool mgi_cuda_capturing(const mgi_cuda *cuda);
/* `what`, of which there can be no graph, was asked for. UNSUPPORTED. */
mgen_status mgi_cuda_refuse(mgi_cuda *cuda, const char *what);
mgen_status mgi_cuda_graph_launch(mgi_cuda *cuda, void *graph);
void mgi_cuda_graph_free(mgi_cuda *cuda, void *graph);

/* A stream beside that on which the context computes. */
typedef struct mgi_cuda_side mgi_cuda_side;
enum { MGI_CUDA_MARKS = 32 };
mgen_status mgi_cuda_side_open(mgi_cuda *cuda, mgi_cuda_side **out);
void mgi_cuda_side_close(mgi_cuda_side *side); /* what is on it goes on to its end; NULL is fine */
void *mgi_cuda_side_stream(const mgi_cuda_side *side);
/* What is put onto it from now on comes after all that the context has computed so far. UNSUPPORTED: while capturing. */
mgen_status mgi_cuda_side_begin(mgi_cuda_side *side);
/* Moment number n, after all that is on it now. Of numbers that are the same modulo MGI_CUDA_MARKS only the last is
 * known, and stands for the earlier ones. */
void mgi_cuda_side_mark(mgi_cuda_side *side, uint64_t n);
/* What the context computes from now on comes after moment n. */
void mgi_cuda_side_join(mgi_cuda_side *side, uint64_t n);
bool mgi_cuda_side_passed(mgi_cuda_side *side, uint64_t n);

/* Work beside the context's own that others may never end. Before the host waits for the GPU it polls until there is
 * nothing to wait for; false: it has ended the work itself, and `check` says why. *busy: there is some on the GPU. */
typedef struct mgi_cuda_watch {
    struct mgi_cuda_watch *next;
    bool (*poll)(void *user, int times, bool *busy);
    mgen_status (*check)(void *user);
    void *user;
} mgi_cuda_watch;
void mgi_cuda_watch_add(mgi_cuda *cuda, mgi_cuda_watch *watch);
void mgi_cuda_watch_remove(mgi_cuda *cuda, mgi_cuda_watch *watch);
int mgi_cuda_processors(const mgi_cuda *cuda); /* multiprocessors */

/* What autotune has chosen for products, if anything new: to the context's cache folder. */
void mgi_cuda_keep_choices(mgi_cuda *cuda);
/* No autotune from now on: products on ranks that must round alike. */
void mgi_cuda_settle(mgi_cuda *cuda);

/* For mgk_exec. Makes the GPU the current one of the calling thread. */
void *mgi_cuda_stream(mgi_cuda *cuda);
void *mgi_cuda_blas(const mgi_cuda *cuda);
void *mgi_cuda_dnn(const mgi_cuda *cuda);

#endif
