/* SPDX-License-Identifier: MIT */
#include "dist/comm_nccl.h"

#include "core/alloc.h"
#include "dist/comm_engine.h"
#include "dist/nccl_api.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { COMPARED = 64 /* calls of each handle */ };

/* What the handles of a world share. */
typedef struct nccl_world {
    mgi_nccl_api api;
    void *file;
    mgi_nccl_options options;
    int64_t timeout_ms;
    int handles;
    mgen_status broken;
    char why[512];
} nccl_world;

typedef struct nccl_handle {
    nccl_world *world;
    mgi_comm *host;
    mgi_nccl_comm *comm; /* NULL: not connected, or aborted */
    int compared;
} nccl_handle;

/* ---- the library ---- */

static mgen_status open_library(mgen_context *ctx, const char *name, nccl_world *w)
{
    mgi_nccl_api *api = &w->api;
    const struct {
        const char *name;
        void *at;
    } calls[] = {{"ncclGetVersion", &api->get_version},
                 {"ncclGetUniqueId", &api->get_id},
                 {"ncclCommInitRankConfig", &api->init},
                 {"ncclCommGetAsyncError", &api->async_error},
                 {"ncclCommFinalize", &api->finalize},
                 {"ncclCommDestroy", &api->destroy},
                 {"ncclCommAbort", &api->stop},
                 {"ncclGetErrorString", &api->error_string},
                 {"ncclGetLastError", &api->last_error},
                 {"ncclAllReduce", &api->all_reduce},
                 {"ncclReduceScatter", &api->reduce_scatter},
                 {"ncclAllGather", &api->all_gather},
                 {"ncclBroadcast", &api->broadcast},
                 {"ncclSend", &api->send},
                 {"ncclRecv", &api->recv},
                 {"ncclGroupStart", &api->group_start},
                 {"ncclGroupEnd", &api->group_end}};
    int version = 0;
    /* It stays mapped: a thread that it starts to make an id may outlive every communicator. */
    w->file = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!w->file)
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "NCCL was not found: %s; install libnccl2, or use one GPU", dlerror());
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        void *found = dlsym(w->file, calls[i].name);
        memcpy(calls[i].at, &found, sizeof(found));
        if (!found && version == 0)
            version = -(int)i - 1;
    }
    if (!api->get_version || api->get_version(&version) != MGI_NCCL_OK || version < MGI_NCCL_OLDEST)
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "NCCL %d.%d.%d is too old: 2.18 or later is needed", version / 10000,
                        version / 100 % 100, version % 100);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        void *found;
        memcpy(&found, calls[i].at, sizeof(found));
        if (!found)
            return mgi_fail(ctx, MGEN_E_UNSUPPORTED, "NCCL %d.%d.%d has no %s", version / 10000,
                            version / 100 % 100, version % 100, calls[i].name);
    }
    return MGEN_OK;
}

/* ---- failing ---- */

/* The first reason stays; the peers are told, too. */
static mgen_status __attribute__((format(printf, 3, 4)))
break_world(mgi_comm *comm, mgen_status code, const char *format, ...)
{
    nccl_handle *h = comm->state;
    if (h->world->broken == MGEN_OK) {
        va_list args;
        va_start(args, format);
        vsnprintf(h->world->why, sizeof(h->world->why), format, args);
        va_end(args);
        h->world->broken = code;
        mgi_comm_abort(h->host);
    }
    return mgi_fail(comm->ctx, h->world->broken, "%s", h->world->why);
}

static mgen_status check_world(mgi_comm *comm)
{
    const nccl_world *w = ((nccl_handle *)comm->state)->world;
    if (w->broken == MGEN_OK)
        return MGEN_OK;
    return mgi_fail(comm->ctx, w->broken == MGEN_E_DESYNC ? MGEN_E_DESYNC : MGEN_E_PEER_LOST,
                    "the group is broken: %s", w->why);
}

/* What NCCL calls an error in a call for `what`. */
static mgen_status nccl_error(mgi_comm *comm, int error, const char *what)
{
    const nccl_handle *h = comm->state;
    const mgi_nccl_api *api = &h->world->api;
    const char *more = api->last_error(h->comm), *text = api->error_string(error);
    return break_world(comm,
                       error == MGI_NCCL_REMOTE || error == MGI_NCCL_SYSTEM ? MGEN_E_PEER_LOST
                                                                            : MGEN_E_DEVICE,
                       "rank %d of %d, NCCL in %s: %s%s%.200s", comm->rank, comm->size, what,
                       text ? text : "unknown error", more && *more ? ": " : "", more ? more : "");
}

/* Over the time: who is not there is for the host's communicator to say. */
static mgen_status late(mgi_comm *comm, const char *what)
{
    nccl_handle *h = comm->state;
    mgen_status status = mgi_comm_barrier(h->host);
    if (status != MGEN_OK)
        return break_world(comm, status, "%s: %s", what, comm->ctx->error_text);
    return break_world(comm, MGEN_E_TIMEOUT,
                       "%s did not end within %lld ms, although all ranks are there", what,
                       (long long)h->world->timeout_ms);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until NCCL has taken what it was given last and, with `done`, the stream has done it. */
static mgen_status settle(mgi_comm *comm, const char *what, bool done)
{
    nccl_handle *h = comm->state;
    nccl_world *w = h->world;
    int64_t begun = now_ms();
    for (int times = 0;; times++) {
        int error = MGI_NCCL_OK;
        MGI_TRY(check_world(comm));
        int asked = w->api.async_error(h->comm, &error);
        if (asked != MGI_NCCL_OK || (error != MGI_NCCL_OK && error != MGI_NCCL_IN_PROGRESS))
            return nccl_error(comm, asked != MGI_NCCL_OK ? asked : error, what);
        if (error == MGI_NCCL_OK && (!done || w->options.done(w->options.user)))
            return MGEN_OK;
        if (times % 64 == 0) {
            mgen_status status = mgi_comm_check(h->host);
            if (status != MGEN_OK)
                return break_world(comm, status, "%s", comm->ctx->error_text);
        }
        if (w->timeout_ms >= 0 && now_ms() - begun > w->timeout_ms)
            return late(comm, what);
        if (times < 1000)
            sched_yield();
        else
            nanosleep(&(struct timespec){0, 50000}, NULL);
    }
}

/* ---- calls ---- */

static mgen_status compare(mgi_comm *comm, const mgi_comm_call *call)
{
    nccl_handle *h = comm->state;
    char text[160];
    if (call->op == MGI_COMM_SEND || call->op == MGI_COMM_RECV || h->compared >= COMPARED)
        return MGEN_OK;
    h->compared++;
    mgi_comm_describe(call, NULL, text, sizeof(text));
    mgen_status status = mgi_comm_agree(h->host, "call", text);
    return status == MGEN_OK ? MGEN_OK : break_world(comm, status, "%s", comm->ctx->error_text);
}

static int exchange(const nccl_handle *h, const mgi_comm_call *call, int size, int dtype)
{
    const mgi_nccl_api *api = &h->world->api;
    void *stream = h->world->options.stream;
    size_t bytes = mgi_comm_bytes(call), count = (size_t)call->count;
    int error = api->group_start();
    for (int r = 0; r < size && error == MGI_NCCL_OK; r++) {
        error = api->send((const char *)call->send + (size_t)r * bytes, count, dtype, r, h->comm,
                          stream);
        if (error == MGI_NCCL_OK || error == MGI_NCCL_IN_PROGRESS)
            error =
                api->recv((char *)call->recv + (size_t)r * bytes, count, dtype, r, h->comm, stream);
        if (error == MGI_NCCL_IN_PROGRESS)
            error = MGI_NCCL_OK;
    }
    int ended = api->group_end();
    return error != MGI_NCCL_OK ? error : ended;
}

static int issue(const mgi_comm *comm, const mgi_comm_call *call)
{
    static const int dtypes[] = {[MGK_F32] = MGI_NCCL_F32,
                                 [MGK_BF16] = MGI_NCCL_BF16,
                                 [MGK_I32] = MGI_NCCL_I32,
                                 [MGK_U8] = MGI_NCCL_U8,
                                 [MGK_U64] = MGI_NCCL_U64};
    const nccl_handle *h = comm->state;
    const mgi_nccl_api *api = &h->world->api;
    void *stream = h->world->options.stream;
    size_t count = (size_t)call->count;
    int dtype = dtypes[call->dtype];
    switch (call->op) {
    case MGI_COMM_ALL_REDUCE:
        return api->all_reduce(call->send, call->recv, count, dtype, MGI_NCCL_SUM, h->comm, stream);
    case MGI_COMM_REDUCE_SCATTER:
        return api->reduce_scatter(call->send, call->recv, count, dtype, MGI_NCCL_SUM, h->comm,
                                   stream);
    case MGI_COMM_ALL_GATHER:
        return api->all_gather(call->send, call->recv, count, dtype, h->comm, stream);
    case MGI_COMM_BROADCAST:
        return api->broadcast(call->send, call->recv, count, dtype, call->peer, h->comm, stream);
    case MGI_COMM_SEND:
        return api->send(call->send, count, dtype, call->peer, h->comm, stream);
    case MGI_COMM_RECV:
        return api->recv(call->recv, count, dtype, call->peer, h->comm, stream);
    default:
        return exchange(h, call, comm->size, dtype);
    }
}

static mgen_status nccl_start(mgi_comm *comm, mgi_comm_work *work)
{
    const mgi_comm_call *call = &work->call;
    const char *name = mgi_comm_op_name(call->op);
    MGI_TRY(check_world(comm));
    MGI_TRY(compare(comm, call));
    if (call->op == MGI_COMM_BARRIER || call->count == 0)
        return MGEN_OK;
    int error = issue(comm, call);
    if (error != MGI_NCCL_OK && error != MGI_NCCL_IN_PROGRESS)
        return nccl_error(comm, error, name);
    return settle(comm, name, false);
}

static mgen_status nccl_wait(mgi_comm *comm, mgi_comm_work *work)
{
    const nccl_handle *h = comm->state;
    const char *name = mgi_comm_op_name(work->call.op);
    MGI_TRY(settle(comm, name, true));
    if (work->call.op != MGI_COMM_BARRIER)
        return MGEN_OK;
    mgen_status status = mgi_comm_barrier(h->host);
    return status == MGEN_OK ? MGEN_OK : break_world(comm, status, "%s", comm->ctx->error_text);
}

static mgen_status nccl_check(mgi_comm *comm)
{
    nccl_handle *h = comm->state;
    MGI_TRY(check_world(comm));
    mgen_status status = mgi_comm_check(h->host);
    return status == MGEN_OK ? MGEN_OK : break_world(comm, status, "%s", comm->ctx->error_text);
}

static void nccl_abort(mgi_comm *comm)
{
    mgi_comm_abort(((nccl_handle *)comm->state)->host);
}

static void nccl_give_up(mgi_comm *comm, const char *why)
{
    mgi_comm_give_up(((nccl_handle *)comm->state)->host, why);
}

/* ---- groups ---- */

static void handle_free(mgi_comm *comm)
{
    nccl_handle *h = comm->state;
    nccl_world *w = h->world;
    if (--w->handles == 0) {
        if (w->file)
            dlclose(w->file);
        mgi_free(comm->ctx, w);
    }
    mgi_free(comm->ctx, h);
}

static void nccl_leave(mgi_comm *comm)
{
    nccl_handle *h = comm->state;
    const mgi_nccl_api *api = &h->world->api;
    if (h->comm && h->world->broken == MGEN_OK && mgi_comm_check(h->host) == MGEN_OK) {
        int error = api->finalize(h->comm);
        if (error == MGI_NCCL_OK || error == MGI_NCCL_IN_PROGRESS)
            (void)settle(comm, "the end", false);
    }
    if (h->comm && h->world->broken == MGEN_OK)
        (void)api->destroy(h->comm);
    else if (h->comm)
        (void)api->stop(h->comm);
    mgi_comm_destroy(h->host);
    handle_free(comm);
}

static mgen_status nccl_split(mgi_comm *comm, int color, int key, mgi_comm **out);

static mgi_comm *nccl_host(mgi_comm *comm)
{
    return ((nccl_handle *)comm->state)->host;
}

static const mgi_comm_engine nccl_engine = {
    .moves_data = true,
    .on_gpu = true,
    .start = nccl_start,
    .wait = nccl_wait,
    .check = nccl_check,
    .split = nccl_split,
    .host = nccl_host,
    .interrupt = nccl_abort,
    .give_up = nccl_give_up,
    .leave = nccl_leave,
};

/* The id that rank 0 makes reaches all, or its failure does. */
static mgen_status share_id(mgi_comm *comm, mgi_nccl_id *id)
{
    const nccl_handle *h = comm->state;
    struct {
        mgi_nccl_id id;
        char ok, why[255];
    } first = {.ok = 1};
    if (comm->rank == 0 && h->world->api.get_id(&first.id) != MGI_NCCL_OK) {
        const char *why = h->world->api.last_error(NULL);
        first.ok = 0;
        snprintf(first.why, sizeof(first.why), "%s", why ? why : "");
    }
    mgi_comm_note(h->host, "NCCL id", 0);
    MGI_TRY(mgi_comm_broadcast(h->host, MGK_U8, &first, sizeof(first), 0, NULL));
    *id = first.id;
    first.why[sizeof(first.why) - 1] = 0;
    return first.ok ? MGEN_OK
                    : mgi_fail(comm->ctx, MGEN_E_DEVICE, "rank 0, NCCL makes no id: %s", first.why);
}

/* A handle on `host`; it is host's owner when all went well. */
static mgen_status connect(nccl_world *w, mgi_comm *host, mgi_comm **out)
{
    mgi_comm *comm;
    nccl_handle *h;
    mgi_nccl_id id;
    mgi_nccl_config config = MGI_NCCL_CONFIG;
    MGI_TRY(mgi_comm_alloc(host->ctx, &nccl_engine, host->rank, host->size, &comm));
    mgen_status status = mgi_alloc_zero(host->ctx, 1, sizeof(*h), &h);
    if (status != MGEN_OK) {
        mgi_free(host->ctx, comm);
        return status;
    }
    comm->state = h;
    h->world = w;
    h->host = host;
    w->handles++;
    status = share_id(comm, &id);
    if (status == MGEN_OK) {
        int error = w->api.init(&h->comm, comm->size, id, comm->rank, &config);
        status = error == MGI_NCCL_OK || error == MGI_NCCL_IN_PROGRESS
                     ? settle(comm, "start", false)
                     : nccl_error(comm, error, "start");
    }
    if (status == MGEN_OK) {
        *out = comm;
        return MGEN_OK;
    }
    mgi_comm_abort(host);
    if (h->comm)
        (void)w->api.stop(h->comm);
    handle_free(comm);
    mgi_free(host->ctx, comm);
    return status;
}

static mgen_status nccl_split(mgi_comm *comm, int color, int key, mgi_comm **out)
{
    nccl_handle *h = comm->state;
    mgi_comm *host;
    MGI_TRY(check_world(comm));
    mgi_comm_note(h->host, comm->what, comm->index);
    mgi_comm_note(comm, NULL, 0);
    MGI_TRY(mgi_comm_split(h->host, color, key, &host));
    if (!host)
        return MGEN_OK;
    mgen_status status = connect(h->world, host, out);
    if (status != MGEN_OK)
        mgi_comm_destroy(host);
    return status;
}

mgen_status mgi_comm_nccl_create_with(mgi_comm *host, const mgi_nccl_options *options,
                                      int64_t timeout_ms, mgi_comm **out)
{
    nccl_world *w;
    int version = 0;
    char text[32];
    *out = NULL;
    MGI_TRY(mgi_alloc_zero(host->ctx, 1, sizeof(*w), &w));
    w->options = *options;
    w->timeout_ms = timeout_ms;
    w->handles = 1; /* until the first one is there */
    mgen_status status = open_library(host->ctx, options->file ? options->file : "libnccl.so.2", w);
    if (status == MGEN_OK) {
        (void)w->api.get_version(&version);
        snprintf(text, sizeof(text), "%d.%d.%d", version / 10000, version / 100 % 100,
                 version % 100);
        status = mgi_comm_agree(host, "version of NCCL", text);
    } else {
        mgi_comm_abort(host); /* they need not wait for this rank */
    }
    if (status == MGEN_OK)
        status = connect(w, host, out);
    if (status == MGEN_OK) {
        w->handles--;
        return MGEN_OK;
    }
    if (w->file)
        dlclose(w->file);
    mgi_free(host->ctx, w);
    return status;
}

static bool gpu_done(void *user)
{
    return mgi_cuda_done(user);
}

mgen_status mgi_comm_nccl_create(mgi_comm *host, int64_t timeout_ms, mgi_comm **out)
{
    mgi_device *dev = host->ctx->device;
    *out = NULL;
    if (!dev || !dev->cuda)
        return mgi_fail(host->ctx, MGEN_E_UNSUPPORTED,
                        "NCCL is for GPUs, and this context has none; use the host's communicator");
    const mgi_nccl_options options = {
        .stream = mgi_cuda_stream(dev->cuda), .done = gpu_done, .user = dev->cuda};
    return mgi_comm_nccl_create_with(host, &options, timeout_ms, out);
}
