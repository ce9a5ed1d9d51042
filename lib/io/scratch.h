/* SPDX-License-Identifier: MIT
 * A file without a name, which nobody else can open or shorten, in a folder of the host's: for what is larger than memory. Tier 1.
 *
 * It is not mapped: a disk that fails, or is full where a file system takes room only when it writes, is an error. */
#ifndef MGI_IO_SCRATCH_H
#define MGI_IO_SCRATCH_H

#include "core/context.h"

typedef struct mgi_scratch mgi_scratch;
/* `size` bytes, all 0, for which the disk has room: NO_SPACE now, if it can know. NOT_FOUND, IO. */
mgen_status mgi_scratch_open(mgen_context *ctx, const char *dir, uint64_t size, mgi_scratch **out);
/* From byte `at` on. NO_SPACE, IO. Several threads may. */
mgen_status mgi_scratch_write(mgen_context *ctx, const mgi_scratch *s, uint64_t at,
                              const void *data, size_t size);
mgen_status mgi_scratch_read(mgen_context *ctx, const mgi_scratch *s, uint64_t at, void *out,
                             size_t size);
void mgi_scratch_close(mgen_context *ctx, mgi_scratch *s); /* NULL is fine */

#endif
