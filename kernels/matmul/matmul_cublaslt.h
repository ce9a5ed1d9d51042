/* SPDX-License-Identifier: MIT
 * cuBLASLt, opened at run time: what a device keeps of it between products. */
#ifndef MGK_MATMUL_CUBLASLT_H
#define MGK_MATMUL_CUBLASLT_H

#include "kernels/matmul/cublaslt_api.h"

/* Bytes of the memory that the caller gives, zeroed, and keeps until it has closed: it begins with a mgk_cublaslt_api. */
size_t mgk_cublaslt_bytes(void);
/* On the calling thread's GPU, from `file`; NULL: where the loader finds it. 0 if the library cannot be had; `why` then says
 * why: matmul does without. */
int mgk_cublaslt_open(void *memory, const char *file, char *why, size_t size);
void mgk_cublaslt_close(void *memory);

/* From now on algorithms are timed where a shape is new. NULL: none is, and all that was chosen is forgotten. */
void mgk_cublaslt_time_by(void *memory, const mgk_cublaslt_timer *timer);
/* How often one was chosen so: when that grows, there is something new to keep. */
uint64_t mgk_cublaslt_chosen(const void *memory);

/* What was chosen, a row for each shape: good for the same GPU and version of cuBLASLt. */
enum { MGK_CUBLASLT_ROW = 176 /* bytes */ };
/* Returns the number of rows, at most MGK_CUBLASLT_KEPT, and writes them; `rows` NULL: only that. */
size_t mgk_cublaslt_rows(const void *memory, void *rows);
/* A row of anybody's: it is taken for a shape that was not timed here, if there is room, and cuBLASLt allows it there. */
void mgk_cublaslt_learn(void *memory, const void *row);

#endif
