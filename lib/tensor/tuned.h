/* SPDX-License-Identifier: MIT
 * What was chosen for products on a GPU, in a file of the host's cache folder: for later contexts and other processes on
 * the same kind of GPU with the same cuBLASLt. Tier 2.
 *
 * "products-<hash of the machine>.bin": a head, which names the machine and has a check sum, and the rows as
 * kernels/matmul/matmul_cublaslt.h has them. It is replaced as a whole: of several that write at once the last one's
 * stays. Anybody may delete it at any time. What is damaged, or of another machine, is refused before a row is told. */
#ifndef MGI_TENSOR_TUNED_H
#define MGI_TENSOR_TUNED_H

#include "io/path.h"

enum { MGI_TUNED_MACHINE = 352 /* bytes with the 0 at the end */ };

/* Where it is kept in the folder `dir`. INVALID: too long. */
mgen_status mgi_tuned_path(mgen_context *ctx, const char *dir, const char *machine,
                           char out[MGI_PATH_MAX + 1]);
/* Tells each row. NOT_FOUND: there is no such file. CORRUPT, IO, INVALID, NO_MEMORY, LIMIT: it cannot be used. */
mgen_status mgi_tuned_read(mgen_context *ctx, const char *path, const char *machine,
                           void (*tell)(void *user, const void *row), void *user);
/* At most MGK_CUBLASLT_KEPT rows. */
mgen_status mgi_tuned_write(mgen_context *ctx, const char *path, const char *machine,
                            const void *rows, size_t count);

#endif
