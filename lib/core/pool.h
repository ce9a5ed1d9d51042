/* SPDX-License-Identifier: MIT
 * Thread pool of a context: parallel loops over blocks. Tier 0.
 *
 * Workers block after a short spin. The caller works too. Results must not depend on which thread
 * runs a block or on how many threads there are: reductions use fixed blocks and combine in order.
 */
#ifndef MGI_CORE_POOL_H
#define MGI_CORE_POOL_H

#include "core/context.h"

typedef struct mgi_pool mgi_pool;

/* threads includes the caller: 1 makes no thread. */
mgen_status mgi_pool_create(mgen_context *ctx, int threads, mgi_pool **out);
void mgi_pool_destroy(mgen_context *ctx, mgi_pool *pool);
int mgi_pool_threads(const mgi_pool *pool);

/* Runs one block; `thread` is 0..threads-1 and unique among those running now. */
typedef void mgi_pool_fn(void *arg, int64_t block, int thread);

/* Call fn for every block 0..blocks-1, handed out dynamically; returns when all are done. One loop
 * at a time a pool; a loop started inside a block runs serially in that block. NULL pool: serial.
 */
void mgi_pool_run(mgi_pool *pool, int64_t blocks, mgi_pool_fn *fn, void *arg);

#endif
