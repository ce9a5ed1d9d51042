/* SPDX-License-Identifier: MIT
 * Ranks: how they meet, and what they tell each other beside their work. */
#include "api/args.h"

#include "core/alloc.h"
#include "dist/comm_nccl.h"
#include "kernels/mgk.h"
#include "task/ranks.h"
#include "tensor/device.h"

#include <stdio.h>

enum { TIMEOUT_MS = 600000 };

static int64_t timeout_of(int64_t wanted)
{
    return wanted ? wanted : TIMEOUT_MS;
}

/* -- threads ----------------------------------------------------------------------------------------- */

mgen_status mgen_ranks_create(mgen_context *ctx, uint32_t size, int64_t timeout_ms,
                              mgen_ranks **out)
{
    mgen_context *home;
    mgen_ranks *r;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_context_private(ctx, &home));
    mgen_status status = mgi_alloc_zero(home, 1, sizeof *r, &r);
    if (status == MGEN_OK)
        status = mgi_comm_group_create(home, size > INT32_MAX ? -1 : (int)size,
                                       timeout_of(timeout_ms), &r->group);
    if (status != MGEN_OK) {
        mgi_fail_from(ctx, status, home);
        mgi_free(home, r);
        mgi_context_free(home);
        return status;
    }
    r->home = home;
    atomic_init(&r->owners, 1);
    *out = r;
    return MGEN_OK;
}

static void ranks_release(mgen_ranks *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->owners, 1, memory_order_acq_rel) != 1)
        return;
    mgen_context *home = r->home;
    mgi_comm_group_release(r->group);
    mgi_free(home, r);
    mgi_context_free(home);
}

void mgen_ranks_destroy(mgen_ranks *ranks)
{
    ranks_release(ranks);
}

/* -- meeting ----------------------------------------------------------------------------------------- */

static mgen_status join(mgen_mesh *m, const mgen_mesh_params *p, mgi_comm **host)
{
    const mgi_comm_meeting how = {(int)p->rank, (int)p->size, p->meet,
                                  p->run,       p->exchange,  p->user};
    if (p->meet || p->exchange)
        return mgi_comm_sockets_create(m->ctx, &how, timeout_of(p->timeout_ms), host);
    if (!p->ranks)
        return mgi_comm_mpi_create(m->ctx, timeout_of(p->timeout_ms), host);
    MGI_TRY(mgi_comm_join(p->ranks->group, p->rank > INT32_MAX ? -1 : (int)p->rank, m->ctx, host));
    atomic_fetch_add_explicit(&p->ranks->owners, 1, memory_order_relaxed);
    m->ranks = p->ranks;
    return MGEN_OK;
}

static mgen_status divide(mgen_mesh *m, const mgen_mesh_params *p, mgi_comm *world)
{
    mgi_mesh_shape shape;
    char all[32];
    snprintf(all, sizeof all, "dp=%d", mgi_comm_size(world));
    mgen_status status = mgi_mesh_parse(m->ctx, p->axes ? p->axes : all, &shape);
    MGI_TRY(mgi_mesh_together(m, status));
    if (m->ctx->device->cuda && shape.cp * shape.tp > 1) /* what all compute is the same on all */
        mgi_cuda_settle(m->ctx->device->cuda);
    return mgi_mesh_create(world, shape, &m->mesh);
}

static bool by_nccl(const mgen_mesh *m, const mgen_mesh_params *p, const mgi_comm *host)
{
    return m->ctx->device->cuda && !p->by_host && mgi_comm_size(host) > 1;
}

/* All that is made is in m, or freed. */
static mgen_status meet(mgen_mesh *m, const mgen_mesh_params *p)
{
    mgi_comm *world;
    MGI_TRY(join(m, p, &world));
    mgen_status status = mgi_comm_agree(world, "version of libmoviegen", mgen_version());
    if (status == MGEN_OK && by_nccl(m, p, world)) {
        mgi_comm *host = world;
        status = mgi_comm_nccl_create(host, timeout_of(p->timeout_ms), &world);
        world = status == MGEN_OK ? world : host;
    }
    m->world = mgi_comm_host(world);
    if (status == MGEN_OK)
        status = divide(m, p, world);
    status = mgi_mesh_together(m, status);
    if (status == MGEN_OK)
        return MGEN_OK;
    m->mesh.group[MGI_AXIS_WORLD] = world;
    mgi_mesh_destroy(&m->mesh);
    ranks_release(m->ranks);
    return status;
}

static mgen_status check(mgen_context *ctx, const mgen_mesh_params *p)
{
    bool ways = p->meet || p->exchange;
    if (p->by_host > 1 || p->reserved0 || p->reserved1)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "mesh params: by_host must be 0 or 1, and what is reserved must be 0");
    if ((p->ranks != NULL) + (p->meet != NULL) + (p->exchange != NULL) > 1)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "mesh params: ranks, meet and exchange are three ways to meet; choose one");
    if (!ways && (p->size || p->run))
        return mgi_fail(ctx, MGEN_E_INVALID, "mesh params: size and run go with meet or exchange");
    if (ways && (p->size < 1 || p->size > MGI_COMM_RANKS_MAX || p->rank >= p->size))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "mesh params: rank %u of %u; size is 1..%d, and rank below it", p->rank,
                        p->size, MGI_COMM_RANKS_MAX);
    if (p->axes)
        MGI_TRY(mgi_check_text(ctx, p->axes, "the mesh", 63));
    if (p->meet)
        MGI_TRY(mgi_check_text(ctx, p->meet, "the address to meet at", 4096));
    if (p->run)
        MGI_TRY(mgi_check_text(ctx, p->run, "the name of the run", 255));
    return MGEN_OK;
}

mgen_status mgen_mesh_create(mgen_context *ctx, const mgen_mesh_params *params, mgen_mesh **out)
{
    mgen_mesh_params p;
    mgen_mesh *m;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(
        mgi_struct_in(ctx, &p, sizeof p, offsetof(mgen_mesh_params, meet), params, "mesh params"));
    MGI_TRY(check(ctx, &p));
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *m, &m));
    m->ctx = ctx;
    mgen_status status = meet(m, &p);
    if (status != MGEN_OK)
        mgi_free(ctx, m);
    else
        *out = m;
    return status;
}

void mgen_mesh_destroy(mgen_mesh *mesh)
{
    if (!mesh)
        return;
    mgi_mesh_destroy(&mesh->mesh);
    ranks_release(mesh->ranks);
    mgi_free(mesh->ctx, mesh);
}

uint32_t mgen_mesh_rank(const mgen_mesh *mesh)
{
    return mesh ? (uint32_t)mgi_comm_rank(mesh->world) : 0;
}

uint32_t mgen_mesh_size(const mgen_mesh *mesh)
{
    return mesh ? (uint32_t)mgi_comm_size(mesh->world) : 1;
}

mgen_status mgen_mesh_barrier(mgen_mesh *mesh)
{
    if (!mesh)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(mesh->ctx));
    return mgi_comm_barrier(mesh->world);
}

void mgen_mesh_abort(mgen_mesh *mesh)
{
    if (mesh)
        mgi_comm_abort(mesh->world);
}

/* -- for trainers and jobs --------------------------------------------------------------------------- */

mgen_status mgi_mesh_in(mgen_context *ctx, const mgen_mesh *mesh)
{
    if (mesh && mesh->ctx != ctx)
        return mgi_fail(ctx, MGEN_E_INVALID, "the mesh was made with another context");
    return MGEN_OK;
}

const mgi_mesh *mgi_mesh_split(const mgen_mesh *mesh)
{
    return mgen_mesh_size(mesh) > 1 ? &mesh->mesh : NULL;
}

mgen_status mgi_mesh_together(mgen_mesh *mesh, mgen_status status)
{
    bool apart = status == MGEN_E_PEER_LOST || status == MGEN_E_TIMEOUT || status == MGEN_E_DESYNC;
    return mesh && !apart ? mgi_comm_together_in(mesh->ctx, mesh->world, status, NULL) : status;
}

mgen_status mgi_mesh_end(mgen_mesh *mesh, mgen_status status)
{
    if (mesh)
        mgi_comm_give_up(mesh->world, mesh->ctx->error_text);
    return status;
}

mgen_status mgi_mesh_words(mgen_mesh *mesh, const char *what, uint64_t mine, uint64_t **all)
{
    mgen_context *ctx = mesh->ctx;
    mgen_status status = mgi_alloc_zero(ctx, mgen_mesh_size(mesh), sizeof **all, all);
    status = mgi_mesh_together(mesh, status);
    if (status == MGEN_OK) {
        mgi_comm_note(mesh->world, what, 0);
        status = mgi_comm_all_gather(mesh->world, MGK_U64, &mine, *all, 1, NULL);
    }
    if (status != MGEN_OK) {
        mgi_free(ctx, *all);
        *all = NULL;
    }
    return status;
}

/* Rank 0's clip to a rank that lacks one, which takes it into `own`. */
static mgen_status pass_clip(mgen_mesh *mesh, int to, const mgen_clip *clip, mgen_clip *own)
{
    const int rank = mgi_comm_rank(mesh->world);
    const mgen_clip_info *i = rank == to ? &own->info : &clip->info;
    const int64_t bytes = (int64_t)i->frames * i->height * i->width * 3;
    if (rank == to)
        return mgi_comm_recv(mesh->world, MGK_U8, own->pixels, bytes, 0, NULL);
    return rank ? MGEN_OK : mgi_comm_send(mesh->world, MGK_U8, clip->pixels, bytes, to, NULL);
}

mgen_status mgi_mesh_clip(mgen_mesh *mesh, const mgen_clip **clip, mgen_clip **own)
{
    mgen_clip_info i = {0};
    uint64_t *has;
    *own = NULL;
    if (!mgi_mesh_split(mesh))
        return MGEN_OK;
    if (*clip)
        i = (*clip)->info;
    MGI_TRY(mgi_mesh_words(mesh, "clips that are given", *clip != NULL, &has));
    mgen_status status = MGEN_OK;
    const int size = has[0] ? mgi_comm_size(mesh->world) : 0; /* else there is none to pass */
    if (size)
        status = mgi_comm_broadcast(mesh->world, MGK_U8, &i, sizeof i, 0, NULL);
    if (size && status == MGEN_OK && !*clip)
        status = mgi_clip_make(mesh->ctx, i.width, i.height, i.frames, i.fps_num, i.fps_den, own);
    if (size)
        status = mgi_mesh_together(mesh, status);
    for (int r = 1; r < size && status == MGEN_OK; r++)
        status = has[r] ? MGEN_OK : pass_clip(mesh, r, *clip, *own);
    mgi_free(mesh->ctx, has);
    if (status != MGEN_OK) {
        mgen_clip_destroy(*own);
        *own = NULL;
    }
    *clip = *own ? *own : *clip;
    return status;
}
