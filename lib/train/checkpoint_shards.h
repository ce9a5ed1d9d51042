/* SPDX-License-Identifier: MIT
 * A checkpoint of several ranks: a folder with a manifest and the shards that it names. Tier 7.
 *
 *   checkpoint.json          the manifest: what one rank's file says in its metadata; mesh, text; save, a number of its own
 *                            for every save; shards, of each its rank, bytes and hash; check, a hash of all this
 *   <save>-<rank>.safetensors  tensors of one dimension: the elements of a whole tensor that this rank wrote. Metadata:
 *                            format, version, save, rank, layout and check, a hash of these and of the tensors. layout
 *                            is JSON: {name: {"dims": of the whole, "ranges": [from, count, stride, times, ...]}}
 *
 * Shards are written under names that no other save has; the manifest, written last, takes the place of the one before
 * by a rename, at which moment the save is published. */
#ifndef MGI_TRAIN_CHECKPOINT_SHARDS_H
#define MGI_TRAIN_CHECKPOINT_SHARDS_H

#include "train/checkpoint_head.h"
#include "train/checkpoint_parts.h"

#define MGI_MANIFEST "checkpoint.json"

enum { MGI_SAVE_ID = 17, MGI_MESH_TEXT = 64, MGI_SHARD_NAME = 64 };

typedef struct mgi_shard {
    int64_t rank, bytes;
    char check[MGI_SAVE_ID];
} mgi_shard;

typedef struct mgi_manifest {
    mgi_head head;
    char save[MGI_SAVE_ID], mesh[MGI_MESH_TEXT];
    mgi_shard *shard; /* in the order of ranks */
    int64_t shards;
} mgi_manifest;

/* CORRUPT, VERSION. */
mgen_status mgi_manifest_parse(mgen_context *ctx, const char *text, size_t size, mgi_manifest *out);
/* Of the folder `path`. NOT_FOUND, too. */
mgen_status mgi_manifest_read(mgen_context *ctx, const char *path, mgi_manifest *out);
/* Its text, with the check. */
void mgi_manifest_write(mgi_json_writer *w, mgi_manifest *m);
void mgi_manifest_free(mgen_context *ctx, mgi_manifest *m);

void mgi_shard_name(const char *save, int64_t rank, char out[MGI_SHARD_NAME]);

enum {
    MGI_SHARD_FORMAT,
    MGI_SHARD_VERSION,
    MGI_SHARD_SAVE,
    MGI_SHARD_RANK,
    MGI_SHARD_LAYOUT,
    MGI_SHARD_CHECK,
    MGI_SHARD_FIELDS
};
extern const char *const mgi_shard_field[MGI_SHARD_FIELDS];
/* The hash of a shard's texts but the check. */
uint64_t mgi_shard_hash(const char *const text[MGI_SHARD_FIELDS]);

/* Collective over the run's ranks. */
mgen_status mgi_shards_save(mgen_context *ctx, const mgi_stage_state *state, const char *path);

#endif
