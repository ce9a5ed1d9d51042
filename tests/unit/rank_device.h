/* SPDX-License-Identifier: MIT
 * What ranks compute on: MOVIEGEN_MESH_DEVICE=cuda: all on one GPU, and they meet over the host; nccl: each on one of its
 * own, and they meet by NCCL, all of it played by the host; else the CPU. */
#ifndef RANK_DEVICE_H
#define RANK_DEVICE_H

#include "dist/mesh.h"
#include "rank_threads.h"
#include "tensor/device.h"

#ifdef MGK_CUDA_EMULATED
#include "dist/comm_nccl.h"
#include "find_nccl.h"
#include "kernels/emulated/cuda_runtime_emulated.h"

static pthread_mutex_t found_lock = PTHREAD_MUTEX_INITIALIZER;

static bool nccl_is_there(void)
{
    pthread_mutex_lock(&found_lock);
    if (!fake && find_nccl()) {
        mgk_emulated_machine(RANKS, 9);
        memset(fake, 0, sizeof *fake);
        fake->keep = mgk_queue_keep;
        fake->put = mgk_emulated_put;
        fake->open = mgk_emulated_open;
        fake->close = mgk_emulated_close;
    }
    bool there = fake != NULL;
    pthread_mutex_unlock(&found_lock);
    return there;
}

static int64_t rank_timeout_ms = 60000;

static void connect_rank(rank_state *s, mgi_nccl_options gpu)
{
    mgi_comm *comm;
    gpu.file = fake_file;
    s->status = mgi_comm_nccl_create_with(s->comm, &gpu, rank_timeout_ms, &comm);
    if (s->status == MGEN_OK)
        s->comm = comm;
}
#endif

static bool by_nccl(void)
{
    const char *wanted = getenv("MOVIEGEN_MESH_DEVICE");
    return wanted && !strcmp(wanted, "nccl");
}

static void rank_device_open(rank_state *s)
{
    const char *wanted = getenv("MOVIEGEN_MESH_DEVICE");
    if (!by_nccl()) {
        CHECK(mgi_device_open(s->ctx, wanted ? wanted : "cpu", NULL, 0) == MGEN_OK);
        return;
    }
#ifdef MGK_CUDA_EMULATED
    char name[16];
    CHECK(nccl_is_there());
    snprintf(name, sizeof name, "cuda:%d", s->rank);
    CHECK(!s->wrong && mgi_device_open(s->ctx, name, NULL, 0) == MGEN_OK);
    if (!s->wrong && mgi_comm_size(s->comm) > 1)
        connect_rank(s, mgi_nccl_gpu(s->ctx->device->cuda));
#else
    CHECK(!"this build plays no GPU");
#endif
}

/* Over a mesh of this shape; dp 0: by itself, mesh NULL. What `make` answers is the rank's, with its message. */
typedef mgen_status rank_work(rank_state *s, const mgi_mesh *mesh);
static inline void rank_over_mesh(rank_state *s, mgi_mesh_shape shape, rank_work *make)
{
    mgi_mesh mesh;
    if (!shape.dp) {
        s->status = make(s, NULL);
    } else {
        s->status = mgi_mesh_create(s->comm, shape, &mesh);
        if (s->status == MGEN_OK) {
            s->status = make(s, &mesh);
            mesh.group[MGI_AXIS_WORLD] = NULL; /* the harness's */
            mgi_mesh_destroy(&mesh);
        }
    }
    if (s->status != MGEN_OK)
        snprintf(s->said, sizeof s->said, "%s", s->ctx->error_text);
}

/* Before the harness's end, of which it takes the communicator. */
static void rank_device_close(rank_state *s)
{
    if (by_nccl()) {
        mgi_comm_destroy(s->comm);
        s->comm = NULL;
    }
    s->ctx->device_destroy(s->ctx->device);
    s->ctx->device = NULL;
}

#endif
