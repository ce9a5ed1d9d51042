/* SPDX-License-Identifier: MIT
 * What path.c does for its neighbours in this folder. Tier 1. */
#ifndef MGI_IO_PATH_PARTS_H
#define MGI_IO_PATH_PARTS_H

#include "core/context.h"

/* By errno: "cannot WHAT 'PATH': why", and what helps. Leaves errno alone. */
mgen_status mgi_path_fail(mgen_context *ctx, const char *what, const char *path);
/* The host's own folder, to be listed; the caller closes it. NOT_FOUND, IO, INVALID. */
mgen_status mgi_dir_open(mgen_context *ctx, const char *path, int *out);

#endif
