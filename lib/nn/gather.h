/* SPDX-License-Identifier: MIT
 * Modules of which ranks hold parts, read whole by the first of them, to be written to files. Tier 4.
 *
 * Rank 0 reads, as mgi_module_save() does; the others send what it asks for, until it ends. Memory on each rank is
 * bounded: a block of so many values. */
#ifndef MGI_NN_GATHER_H
#define MGI_NN_GATHER_H

#include "dist/comm.h"
#include "nn/layout.h"

typedef struct mgi_gather mgi_gather;

/* Of all ranks, that have the same modules, which stay. On rank 0 the modules read through it from now on. */
mgen_status mgi_gather_create(mgen_context *ctx, mgi_comm *comm, mgi_module *const *modules,
                              int count, mgi_gather **out);
/* n values from element `first` of the whole parameter on, or of its average. Rank 0. */
mgen_status mgi_gather_read(mgi_gather *g, const mgi_module *m, const mgi_param *p, bool ema,
                            int64_t first, float *out, int64_t n);
/* The other ranks, until rank 0 ends. */
mgen_status mgi_gather_serve(mgi_gather *g);
/* Rank 0 ends: after it the others return. */
mgen_status mgi_gather_end(mgi_gather *g);
void mgi_gather_free(mgi_gather *g); /* NULL is fine */

#endif
