/* SPDX-License-Identifier: MIT
 * The mesh: how the ranks of a run are divided into groups. Tier 3.
 *
 * dp x cp x tp ranks; rank = (dp * CP + cp) * TP + tp, so that the ranks of a tensor parallel group,
 * which exchange most, are neighbours (in one node), then those of a context parallel group.
 *
 * Training may divide the parameters over `shard` of the dp x cp ranks (FSDP; hybrid, where these are not all of
 * them): of rank f = dp * CP + cp, shard f % SHARD. Those with the same shard are its replicas.
 */
#ifndef MGI_DIST_MESH_H
#define MGI_DIST_MESH_H

#include "dist/comm.h"

/* Groups of the ranks that differ only in: one axis; cp and tp, which share each sample; dp and cp, of which those
 * that have all shards of the parameters between them, and those that have the same one; anything. */
typedef enum mgi_axis {
    MGI_AXIS_DP,
    MGI_AXIS_CP,
    MGI_AXIS_TP,
    MGI_AXIS_MODEL,
    MGI_AXIS_SHARD,
    MGI_AXIS_REPLICA,
    MGI_AXIS_WORLD,
    MGI_AXES
} mgi_axis;

typedef struct mgi_mesh_shape {
    int dp, cp, tp;
    int shard; /* a divisor of dp x cp; 0 and 1: every rank has whole parameters, or their tp share */
} mgi_mesh_shape;

typedef struct mgi_mesh {
    mgi_mesh_shape shape, at; /* its size, and this rank's place in it */
    mgi_comm *group[MGI_AXES];
} mgi_mesh;

/* "dp=2,cp=1,tp=4", and ",shard=2" where there are shards: 64 bytes are enough. Returns buffer. */
const char *mgi_mesh_text(mgi_mesh_shape shape, char *buffer, size_t size);
/* The same read; what is not named is 1. INVALID, with what is legal. */
mgen_status mgi_mesh_parse(mgen_context *ctx, const char *text, mgi_mesh_shape *out);

/* Collective: makes the groups; the mesh owns `world`, if it is made, and them. INVALID if the shape
 * does not make up the world, DESYNC if the ranks were given different ones. */
mgen_status mgi_mesh_create(mgi_comm *world, mgi_mesh_shape shape, mgi_mesh *out);
void mgi_mesh_destroy(mgi_mesh *mesh); /* twice is nothing */

#endif
