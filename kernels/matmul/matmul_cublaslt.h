/* SPDX-License-Identifier: MIT
 * cuBLASLt, opened at run time: what a device keeps of it between products. */
#ifndef MGK_MATMUL_CUBLASLT_H
#define MGK_MATMUL_CUBLASLT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of the memory that the caller gives, zeroed, and keeps until it has closed. */
size_t mgk_cublaslt_bytes(void);
/* On the calling thread's GPU. 0 if the library cannot be had; `why` then says why: matmul does without. */
int mgk_cublaslt_open(void *memory, char *why, size_t size);
void mgk_cublaslt_close(void *memory);

#ifdef __cplusplus
}
#endif

#endif
