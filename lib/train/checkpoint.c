/* SPDX-License-Identifier: MIT */
#include "train/checkpoint.h"

#include "core/alloc.h"
#include "train/checkpoint_shards.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static mgen_status write_parts(mgen_context *ctx, mgi_head *h, const mgi_parts *parts,
                               const char *path)
{
    const char *metadata[2 * MGI_HEAD_FIELDS];
    mgi_st_source *sources;
    uint64_t hash;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)parts->count, sizeof *sources, &sources));
    for (int64_t i = 0; i < parts->count; i++) {
        const mgi_part *p = &parts->part[i];
        sources[i] =
            (mgi_st_source){.name = p->name, .store = MGI_ST_F32, .rank = p->rank, .data = p};
        memcpy(sources[i].dims, p->dims, (size_t)p->rank * sizeof *p->dims);
    }
    mgen_status status = mgi_parts_hash(ctx, sources, parts->count, mgi_head_hash(h), &hash);
    snprintf(h->text[MGI_HEAD_CHECK], MGI_HEAD_TEXT, "%016" PRIx64, hash);
    for (int i = 0; i < MGI_HEAD_FIELDS; i++) {
        metadata[2 * i] = mgi_head_field[i];
        metadata[2 * i + 1] = h->text[i];
    }
    if (status == MGEN_OK)
        status = mgi_st_write_read(ctx, path, sources, parts->count, metadata, MGI_HEAD_FIELDS,
                                   mgi_part_values);
    mgi_free(ctx, sources);
    return status;
}

static mgen_status save_single(mgen_context *ctx, const mgi_stage_state *state, const char *path)
{
    mgi_head h;
    mgi_parts parts;
    mgi_path_tidy(ctx, path);
    MGI_TRY(mgi_head_make(ctx, state, &h));
    MGI_TRY(mgi_parts_list(ctx, state, &parts));
    mgen_status status = write_parts(ctx, &h, &parts, path);
    mgi_parts_free(ctx, &parts);
    return status;
}

mgen_status mgi_checkpoint_save(mgen_context *ctx, const struct mgi_stage_kind *kind,
                                struct mgi_stage_run *run, const char *path)
{
    mgi_stage_state state;
    kind->state(run, &state);
    bool several = state.world && mgi_comm_size(state.world) > 1;
    mgen_status status = several || mgi_dir_is(path) ? mgi_shards_save(ctx, &state, path)
                                                     : save_single(ctx, &state, path);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "the checkpoint");
}
