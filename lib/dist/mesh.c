/* SPDX-License-Identifier: MIT */
#include "dist/mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mgi_mesh_text(mgi_mesh_shape shape, char *buffer, size_t size)
{
    snprintf(buffer, size, "dp=%d,cp=%d,tp=%d", shape.dp, shape.cp, shape.tp);
    return buffer;
}

mgen_status mgi_mesh_parse(mgen_context *ctx, const char *text, mgi_mesh_shape *out)
{
    mgi_mesh_shape shape = {0, 0, 0};
    const char *at = text;
    while (at) {
        char *end;
        int *size = !strncmp(at, "dp=", 3)   ? &shape.dp
                    : !strncmp(at, "cp=", 3) ? &shape.cp
                    : !strncmp(at, "tp=", 3) ? &shape.tp
                                             : NULL;
        bool digit = size && at[3] >= '1' && at[3] <= '9';
        long value = digit ? strtol(at + 3, &end, 10) : 0;
        if (!digit || *size || value > 65536 || (*end && *end != ','))
            return mgi_fail(ctx, MGEN_E_INVALID,
                            "\"%s\" is no mesh: write sizes of its axes from 1 to 65536, each "
                            "once, as in dp=2,cp=1,tp=4",
                            text);
        *size = (int)value;
        at = *end ? end + 1 : NULL;
    }
    *out =
        (mgi_mesh_shape){shape.dp ? shape.dp : 1, shape.cp ? shape.cp : 1, shape.tp ? shape.tp : 1};
    return MGEN_OK;
}

typedef struct place {
    mgi_mesh_shape shape;
    mgi_axis axis;
} place;

static mgi_mesh_shape place_of(mgi_mesh_shape shape, int rank)
{
    return (mgi_mesh_shape){rank / shape.tp / shape.cp, rank / shape.tp % shape.cp,
                            rank % shape.tp};
}

/* A mgi_comm_place_fn: ranks of one group agree in all that the axis leaves fixed. */
static void group_of(void *user, int rank, int *color, int *key)
{
    const place *p = user;
    mgi_mesh_shape at = place_of(p->shape, rank);
    const int colors[] = {
        [MGI_AXIS_DP] = at.cp * p->shape.tp + at.tp,
        [MGI_AXIS_CP] = at.dp * p->shape.tp + at.tp,
        [MGI_AXIS_TP] = at.dp * p->shape.cp + at.cp,
        [MGI_AXIS_MODEL] = at.dp,
        [MGI_AXIS_FSDP] = at.tp,
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
