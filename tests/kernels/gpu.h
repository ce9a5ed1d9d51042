/* SPDX-License-Identifier: MIT
 * Copies of a case's buffers on the GPU, guard zones included. Where there is none, or where the GPU's kernels
 * run emulated on memory of the host, nothing of this is needed. */
#ifndef CHECKKERNEL_GPU_H
#define CHECKKERNEL_GPU_H

#include "run.h"

/* A GPU is there and this build has kernels for it. */
bool gpu_present(void);
bool gpu_is_hopper(void); /* of compute capability 9.0 */
/* Whether the variant takes what was the fastest: with another alignment that may be another algorithm. */
bool gpu_times(const mgk_variant_info *v);
void *gpu_dnn(void); /* cuDNN, opened by the first call; NULL: it is not there */

/* Let the case's arguments point to copies of `a`'s buffers; false: no memory. */
bool gpu_lend(mgk_case *c, const arena *a);
/* Run the variant, with a workspace of `bytes` filled with ones, and wait; false after an error, which is
 * blamed on the case. */
bool gpu_launch(const mgk_variant_info *v, mgk_case *c, size_t bytes);
/* Bring back what the GPU wrote, and let the arguments point to the host's buffers again. */
void gpu_return(mgk_case *c, arena *a);

/* Seconds of one launch of a lent case: the median of many, each timed by events of the GPU. */
double gpu_time(const mgk_variant_info *v, mgk_case *c, size_t workspace_bytes);

#endif
