/* SPDX-License-Identifier: MIT */
#include "dist/mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int shards(mgi_mesh_shape shape)
{
    return shape.shard > 1 ? shape.shard : 1;
}

const char *mgi_mesh_text(mgi_mesh_shape shape, char *buffer, size_t size)
{
    char shard[24] = "";
    if (shape.shard > 1)
        snprintf(shard, sizeof shard, ",shard=%d", shape.shard);
    snprintf(buffer, size, "dp=%d,cp=%d,tp=%d%s", shape.dp, shape.cp, shape.tp, shard);
    return buffer;
}

/* Shards are as many as divide the ranks that have the same part of the parameters. */
static mgen_status check_shards(mgen_context *ctx, mgi_mesh_shape shape)
{
    char legal[128] = "";
    size_t used = 0;
    int64_t ranks = (int64_t)shape.dp * shape.cp;
    if (shape.shard >= 0 && ranks % shards(shape) == 0)
        return MGEN_OK;
    for (int64_t n = 1; n <= ranks && used < sizeof legal - 12; n++)
        if (ranks % n == 0)
            used += (size_t)snprintf(legal + used, sizeof legal - used, "%s%lld", used ? ", " : "",
                                     (long long)n);
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "parameters cannot be divided into shard=%d parts over dp=%d x cp=%d ranks; "
                    "legal are %s",
                    shape.shard, shape.dp, shape.cp, legal);
}

mgen_status mgi_mesh_parse(mgen_context *ctx, const char *text, mgi_mesh_shape *out)
{
    static const char *const names[] = {"dp=", "cp=", "tp=", "shard="};
    mgi_mesh_shape shape = {0};
    int *const sizes[] = {&shape.dp, &shape.cp, &shape.tp, &shape.shard};
    const char *at = text;
    while (at) {
        char *end;
        int *size = NULL;
        for (int i = 0; i < 4 && !size; i++)
            if (!strncmp(at, names[i], strlen(names[i]))) {
                size = sizes[i];
                at += strlen(names[i]);
            }
        bool digit = size && *at >= '1' && *at <= '9';
        long value = digit ? strtol(at, &end, 10) : 0;
        if (!digit || *size || value > 65536 || (*end && *end != ','))
            return mgi_fail(ctx, MGEN_E_INVALID,
                            "\"%s\" is no mesh: write sizes of its axes from 1 to 65536, each "
                            "once, as in dp=2,cp=1,tp=4 or dp=4,tp=2,shard=2",
                            text);
        *size = (int)value;
        at = *end ? end + 1 : NULL;
    }
    for (int i = 0; i < 4; i++)
        *sizes[i] = *sizes[i] ? *sizes[i] : 1; /* what is not named */
    MGI_TRY(check_shards(ctx, shape));
    *out = shape;
    return MGEN_OK;
}

typedef struct place {
    mgi_mesh_shape shape;
    mgi_axis axis;
} place;

static mgi_mesh_shape place_of(mgi_mesh_shape shape, int rank)
{
    return (mgi_mesh_shape){rank / shape.tp / shape.cp, rank / shape.tp % shape.cp, rank % shape.tp,
                            rank / shape.tp % shards(shape)};
}

/* A mgi_comm_place_fn: ranks of one group agree in all that the axis leaves fixed. */
static void group_of(void *user, int rank, int *color, int *key)
{
    const place *p = user;
    mgi_mesh_shape at = place_of(p->shape, rank);
    int replica = rank / p->shape.tp / shards(p->shape);
    const int colors[] = {
        [MGI_AXIS_DP] = at.cp * p->shape.tp + at.tp,
        [MGI_AXIS_CP] = at.dp * p->shape.tp + at.tp,
        [MGI_AXIS_TP] = at.dp * p->shape.cp + at.cp,
        [MGI_AXIS_MODEL] = at.dp,
        [MGI_AXIS_SHARD] = replica * p->shape.tp + at.tp,
        [MGI_AXIS_REPLICA] = at.shard * p->shape.tp + at.tp,
    };
    *color = colors[p->axis];
    *key = rank;
}

mgen_status mgi_mesh_create(mgi_comm *world, mgi_mesh_shape shape, mgi_mesh *out)
{
    char text[64];
    place p = {shape, 0};
    mgen_context *ctx = mgi_comm_context(world);
    memset(out, 0, sizeof *out);
    mgi_mesh_text(shape, text, sizeof text);
    MGI_TRY(mgi_comm_agree(world, "mesh", text));
    if (shape.dp < 1 || shape.cp < 1 || shape.tp < 1 ||
        (int64_t)shape.dp * shape.cp != mgi_comm_size(world) / shape.tp ||
        mgi_comm_size(world) % shape.tp)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "a mesh of %s has not as many places as there are ranks, %d", text,
                        mgi_comm_size(world));
    MGI_TRY(check_shards(ctx, shape));
    out->shape = shape;
    out->at = place_of(shape, mgi_comm_rank(world));
    for (int axis = 0; axis < MGI_AXIS_WORLD; axis++) {
        p.axis = (mgi_axis)axis;
        mgen_status status = mgi_comm_split_by(world, group_of, &p, &out->group[axis]);
        if (status != MGEN_OK) {
            mgi_mesh_destroy(out);
            return status;
        }
    }
    out->group[MGI_AXIS_WORLD] = world;
    return MGEN_OK;
}

void mgi_mesh_destroy(mgi_mesh *mesh)
{
    for (int axis = 0; axis < MGI_AXES; axis++)
        mgi_comm_destroy(mesh->group[axis]);
    memset(mesh, 0, sizeof *mesh);
}
