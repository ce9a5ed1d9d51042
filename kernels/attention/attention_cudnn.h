/* SPDX-License-Identifier: MIT
 * cuDNN, opened at run time: what a device keeps of it between calls of attention. */
#ifndef MGK_ATTENTION_CUDNN_H
#define MGK_ATTENTION_CUDNN_H

#include "kernels/attention/attention.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mgk_cudnn_options {
    const char *file; /* NULL: where the loader finds it */
    const char *
        device; /* cuDNN's description of a GPU, in JSON, to plan for without having it; NULL: the calling
                           thread's */
} mgk_cudnn_options;

/* Bytes of the memory that the caller gives, zeroed, and keeps until it has closed. */
size_t mgk_cudnn_bytes(void);
/* 0 if the library cannot be had; `why` then says why. */
int mgk_cudnn_open(void *memory, const mgk_cudnn_options *options, char *why, size_t size);
void mgk_cudnn_close(void *memory);
/* Whether it has a plan for these arguments, which may be made by that; `why` says why not. */
int mgk_cudnn_plans(void *memory, const mgk_attention_args *a, char *why, size_t size);

#ifdef __cplusplus
}
#endif

#endif
