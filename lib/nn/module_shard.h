/* SPDX-License-Identifier: MIT
 * What module.c and module_shard.c share. Tier 4. */
#ifndef MGI_NN_MODULE_SHARD_H
#define MGI_NN_MODULE_SHARD_H

#include "nn/module.h"

/* The dimension that tensor parallelism splits, -1: none; and elements of all ranks' that shards are cut from. */
int mgi_split_axis(const mgi_module *m, const mgi_param *p);
int64_t mgi_param_local(const mgi_module *m, const mgi_param *p);

mgen_status mgi_module_fill(const mgi_module *m, mgi_tensor *t, float value);

/* Of a sharded module, the parts of what module.h says; of another, nothing. */
void mgi_shard_free(mgi_module *m);
mgen_status mgi_shard_compute(mgi_module *m);
void mgi_shard_refresh(mgi_module *m);
mgen_status mgi_shard_train(mgi_module *m);

#endif
