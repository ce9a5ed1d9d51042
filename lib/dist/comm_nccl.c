/* SPDX-License-Identifier: MIT */
#include "dist/comm_nccl.h"

#include "core/alloc.h"
#include "dist/comm_engine.h"
#include "dist/mesh.h"
#include "dist/nccl_api.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { COMPARED = 64 /* calls of each handle */ };

typedef struct nccl_handle nccl_handle;

/* What the handles of a world share. */
typedef struct nccl_world {
    mgen_context *ctx;
    mgi_nccl_api api;
    void *file;
    mgi_nccl_options options;
    mgi_cuda_watch watch;
    int64_t timeout_ms;
    int64_t since; /* the host waits, and no call has ended */
    nccl_handle *handles;
    mgen_status broken;
    bool told; /* by the rank that saw it */
    char why[512];
} nccl_world;

struct nccl_handle {
    nccl_handle *next;
    nccl_world *world;
    mgi_comm *self, *host;
    mgi_nccl_comm *comm; /* NULL: not connected, or aborted */
    void *side;
    uint64_t issued, ended; /* calls */
    mgi_comm_op ops[MGI_CUDA_MARKS];
    mgi_comm_work *pairs[MGI_COMM_PENDING]; /* sends and recvs that NCCL was not given yet */
    int pair_count;
    int compared;
};

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

/* The first reason stays; the peers are told, and what is on the GPU ends. */
static mgen_status __attribute__((format(printf, 3, 4)))
break_world(mgi_comm *comm, mgen_status code, const char *format, ...)
{
    nccl_handle *h = comm->state;
    nccl_world *w = h->world;
    if (w->broken == MGEN_OK) {
        va_list args;
        va_start(args, format);
        vsnprintf(w->why, sizeof(w->why), format, args);
        va_end(args);
        w->broken = code;
        mgi_comm_abort(h->host);
        for (nccl_handle *each = w->handles; each; each = each->next) {
            if (each->comm)
                (void)w->api.stop(each->comm);
            each->comm = NULL;
        }
    }
    w->told = true;
    return mgi_fail(comm->ctx, w->broken, "%s", w->why);
}

static mgen_status check_world(void *world)
{
    nccl_world *w = world;
    if (w->broken == MGEN_OK)
        return MGEN_OK;
    if (w->told)
        return mgi_fail(w->ctx, w->broken == MGEN_E_DESYNC ? MGEN_E_DESYNC : MGEN_E_PEER_LOST,
                        "the group is broken: %s", w->why);
    w->told = true;
    return mgi_fail(w->ctx, w->broken, "%s", w->why);
}

static mgen_status check_host(mgi_comm *comm)
{
    mgen_status status = mgi_comm_check(((nccl_handle *)comm->state)->host);
    return status == MGEN_OK ? MGEN_OK : break_world(comm, status, "%s", comm->ctx->error_text);
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

/* What NCCL says of a handle; *busy: it has not taken its last call. */
static mgen_status ask(mgi_comm *comm, const char *what, bool *busy)
{
    const nccl_handle *h = comm->state;
    int error = MGI_NCCL_OK;
    MGI_TRY(check_world(h->world));
    int asked = h->world->api.async_error(h->comm, &error);
    *busy = error == MGI_NCCL_IN_PROGRESS;
    if (asked != MGI_NCCL_OK || (error != MGI_NCCL_OK && !*busy))
        return nccl_error(comm, asked != MGI_NCCL_OK ? asked : error, what);
    return MGEN_OK;
}

static bool has_passed(nccl_handle *h)
{
    while (h->ended < h->issued && h->world->options.passed(h->side, h->ended + 1))
        h->ended++;
    return h->ended == h->issued;
}

static void rest(int times)
{
    if (times < 1000)
        sched_yield();
    else
        nanosleep(&(struct timespec){0, 50000}, NULL);
}

/* Until NCCL has taken what it was given last and, with `done`, the GPU has done all of it. */
static mgen_status settle(mgi_comm *comm, const char *what, bool done)
{
    nccl_handle *h = comm->state;
    int64_t begun = now_ms();
    for (int times = 0;; times++) {
        bool busy;
        MGI_TRY(ask(comm, what, &busy));
        if (!busy && (!done || has_passed(h)))
            return MGEN_OK;
        if (times % 64 == 0)
            MGI_TRY(check_host(comm));
        if (h->world->timeout_ms >= 0 && now_ms() - begun > h->world->timeout_ms)
            return late(comm, what);
        rest(times);
    }
}

/* One of the calls under way: has it ended, can it still? */
static mgen_status look(nccl_handle *h, int times, bool *waits)
{
    nccl_world *w = h->world;
    uint64_t ended = h->ended;
    bool busy;
    if (has_passed(h))
        return MGEN_OK;
    const char *what = mgi_comm_op_name(h->ops[(h->ended + 1) % MGI_CUDA_MARKS]);
    *waits = true;
    if (h->ended > ended)
        w->since = now_ms();
    MGI_TRY(ask(h->self, what, &busy));
    if (times % 64 == 0)
        MGI_TRY(check_host(h->self));
    if (w->timeout_ms >= 0 && now_ms() - w->since > w->timeout_ms)
        return late(h->self, what);
    return MGEN_OK;
}

/* While the context waits for its GPU. */
static bool poll(void *world, int times, bool *busy)
{
    nccl_world *w = world;
    bool waits = false, whole = w->broken == MGEN_OK; /* else it was told, and all is aborted */
    if (times == 0)
        w->since = now_ms();
    for (nccl_handle *h = w->handles; h && w->broken == MGEN_OK; h = h->next)
        if (look(h, times, &waits) != MGEN_OK)
            w->told = false; /* here nobody hears it */
    if (!waits)
        w->since = now_ms();
    *busy = *busy || waits;
    if (whole && w->broken != MGEN_OK)
        return false;
    rest(times);
    return true;
}

/* ---- calls ---- */

static bool is_taken(int error)
{
    return error == MGI_NCCL_OK || error == MGI_NCCL_IN_PROGRESS;
}

static bool is_pair(mgi_comm_op op)
{
    return op == MGI_COMM_SEND || op == MGI_COMM_RECV;
}

static mgen_status compare(mgi_comm *comm, const mgi_comm_call *call)
{
    nccl_handle *h = comm->state;
    char text[160];
    if (h->compared >= COMPARED)
        return MGEN_OK;
    h->compared++;
    mgi_comm_describe(call, NULL, text, sizeof(text));
    mgen_status status = mgi_comm_agree(h->host, "call", text);
    return status == MGEN_OK ? MGEN_OK : break_world(comm, status, "%s", comm->ctx->error_text);
}

/* Sends and recvs of all to all, inside a group of calls. */
static int exchange(const nccl_handle *h, const mgi_comm_call *call, int size, int dtype)
{
    const mgi_nccl_api *api = &h->world->api;
    void *stream = h->world->options.stream(h->side);
    size_t bytes = mgi_comm_bytes(call), count = (size_t)call->count;
    int error = MGI_NCCL_OK;
    for (int r = 0; r < size && is_taken(error); r++) {
        error = api->send((const char *)call->send + (size_t)r * bytes, count, dtype, r, h->comm,
                          stream);
        if (is_taken(error))
            error =
                api->recv((char *)call->recv + (size_t)r * bytes, count, dtype, r, h->comm, stream);
    }
    return error;
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
    void *stream = h->world->options.stream(h->side);
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

/* Give NCCL works that run together. */
static mgen_status put(mgi_comm *comm, mgi_comm_work *const *works, int count)
{
    nccl_handle *h = comm->state;
    const mgi_nccl_options *gpu = &h->world->options;
    const char *name = mgi_comm_op_name(works[0]->call.op);
    MGI_TRY(check_world(h->world));
    MGI_TRY(gpu->begin(h->side));
    int error = h->world->api.group_start();
    for (int i = 0; i < count && is_taken(error); i++)
        error = issue(comm, &works[i]->call);
    int ended = h->world->api.group_end();
    if (!is_taken(error) || !is_taken(ended))
        return nccl_error(comm, is_taken(error) ? ended : error, name);
    MGI_TRY(settle(comm, name, false)); /* only then is it on the stream */
    h->ops[++h->issued % MGI_CUDA_MARKS] = works[0]->call.op;
    gpu->mark(h->side, h->issued);
    for (int i = 0; i < count; i++)
        works[i]->round = h->issued;
    return MGEN_OK;
}

static mgen_status put_pairs(mgi_comm *comm)
{
    nccl_handle *h = comm->state;
    int count = h->pair_count;
    h->pair_count = 0;
    return count ? put(comm, h->pairs, count) : MGEN_OK;
}

/* Sends and recvs wait until one of them is waited for: those that a rank makes before meet together, in any order. */
static mgen_status nccl_start(mgi_comm *comm, mgi_comm_work *work)
{
    nccl_handle *h = comm->state;
    const mgi_comm_call *call = &work->call;
    MGI_TRY(check_world(h->world));
    if (is_pair(call->op)) {
        if (call->count > 0)
            h->pairs[h->pair_count++] = work;
        return MGEN_OK;
    }
    MGI_TRY(put_pairs(comm));
    MGI_TRY(compare(comm, call));
    return call->op == MGI_COMM_BARRIER || call->count == 0 ? MGEN_OK : put(comm, &work, 1);
}

static mgen_status nccl_wait(mgi_comm *comm, mgi_comm_work *work)
{
    nccl_handle *h = comm->state;
    const char *name = mgi_comm_op_name(work->call.op);
    bool busy;
    if (is_pair(work->call.op))
        MGI_TRY(put_pairs(comm));
    if (work->round) /* also when all is lost: what was aborted ends, and then memory is free */
        h->world->options.join(h->side, work->round);
    if (work->call.op != MGI_COMM_BARRIER) {
        MGI_TRY(ask(comm, name, &busy));
        return check_host(comm);
    }
    MGI_TRY(settle(comm, name, true));
    mgen_status status = mgi_comm_barrier(h->host);
    return status == MGEN_OK ? MGEN_OK : break_world(comm, status, "%s", comm->ctx->error_text);
}

static mgen_status nccl_check(mgi_comm *comm)
{
    MGI_TRY(check_world(((nccl_handle *)comm->state)->world));
    return check_host(comm);
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

static void world_free(nccl_world *w)
{
    w->options.watch(w->options.gpu, &w->watch, false);
    if (w->file)
        dlclose(w->file);
    mgi_free(w->ctx, w);
}

/* `keeps`: the world goes on without handles. */
static void handle_free(mgi_comm *comm, bool keeps)
{
    nccl_handle *h = comm->state, **at = &h->world->handles;
    nccl_world *w = h->world;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    w->options.drop(h->side);
    mgi_free(comm->ctx, h);
    if (!w->handles && !keeps)
        world_free(w);
}

static void nccl_leave(mgi_comm *comm)
{
    nccl_handle *h = comm->state;
    const mgi_nccl_api *api = &h->world->api;
    if (h->comm && nccl_check(comm) == MGEN_OK && settle(comm, "the end", true) == MGEN_OK) {
        int error = api->finalize(h->comm);
        if (is_taken(error))
            (void)settle(comm, "the end", false);
    }
    if (h->comm)
        (void)api->destroy(h->comm);
    mgi_comm_destroy(h->host);
    handle_free(comm, false);
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

static mgen_status handle_make(nccl_world *w, mgi_comm *host, mgi_comm **out)
{
    mgi_comm *comm;
    nccl_handle *h = NULL;
    MGI_TRY(mgi_comm_alloc(host->ctx, &nccl_engine, host->rank, host->size, &comm));
    mgen_status status = mgi_alloc_zero(host->ctx, 1, sizeof(*h), &h);
    if (status == MGEN_OK)
        status = w->options.make(w->options.gpu, &h->side);
    if (status != MGEN_OK) {
        mgi_free(host->ctx, h);
        mgi_free(host->ctx, comm);
        return status;
    }
    comm->state = h;
    h->world = w;
    h->self = comm;
    h->host = host;
    h->next = w->handles;
    w->handles = h;
    *out = comm;
    return MGEN_OK;
}

/* A handle on `host`; it is host's owner when all went well. */
static mgen_status connect(nccl_world *w, mgi_comm *host, mgi_comm **out)
{
    mgi_comm *comm;
    mgi_nccl_id id;
    mgi_nccl_config config = MGI_NCCL_CONFIG;
    mgen_status status = handle_make(w, host, &comm);
    if (status != MGEN_OK) {
        mgi_comm_abort(host);
        return status;
    }
    nccl_handle *h = comm->state;
    if (w->options.blocks > 0)
        config.max_ctas = w->options.blocks;
    status = share_id(comm, &id);
    if (status == MGEN_OK) {
        int error = w->api.init(&h->comm, comm->size, id, comm->rank, &config);
        status = is_taken(error) ? settle(comm, "start", false) : nccl_error(comm, error, "start");
    }
    if (status == MGEN_OK) {
        *out = comm;
        return MGEN_OK;
    }
    mgi_comm_abort(host);
    if (h->comm)
        (void)w->api.stop(h->comm);
    handle_free(comm, true);
    mgi_free(host->ctx, comm);
    return status;
}

static mgen_status nccl_split(mgi_comm *comm, int color, int key, mgi_comm **out)
{
    nccl_handle *h = comm->state;
    mgi_comm *host;
    MGI_TRY(check_world(h->world));
    MGI_TRY(put_pairs(comm));
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
    w->ctx = host->ctx;
    w->options = *options;
    w->timeout_ms = timeout_ms;
    w->watch = (mgi_cuda_watch){.poll = poll, .check = check_world, .user = w};
    options->watch(options->gpu, &w->watch, true);
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
    if (status != MGEN_OK)
        world_free(w);
    return status;
}

/* ---- the context's GPU ---- */

static mgen_status side_make(void *gpu, void **side)
{
    mgi_cuda_side *made;
    mgen_status status = mgi_cuda_side_open(gpu, &made);
    *side = made;
    return status;
}

static void side_drop(void *side)
{
    mgi_cuda_side_close(side);
}

static void *side_stream(void *side)
{
    return mgi_cuda_side_stream(side);
}

static mgen_status side_begin(void *side)
{
    return mgi_cuda_side_begin(side);
}

static void side_mark(void *side, uint64_t n)
{
    mgi_cuda_side_mark(side, n);
}

static void side_join(void *side, uint64_t n)
{
    mgi_cuda_side_join(side, n);
}

static bool side_passed(void *side, uint64_t n)
{
    return mgi_cuda_side_passed(side, n);
}

static void gpu_watch(void *gpu, mgi_cuda_watch *watch, bool on)
{
    if (on)
        mgi_cuda_watch_add(gpu, watch);
    else
        mgi_cuda_watch_remove(gpu, watch);
}

mgi_nccl_options mgi_nccl_gpu(mgi_cuda *cuda)
{
    return (mgi_nccl_options){.blocks = mgi_cuda_processors(cuda) /
                                        MGI_AXES, /* a mesh's, one beside the other */
                              .make = side_make,
                              .drop = side_drop,
                              .stream = side_stream,
                              .begin = side_begin,
                              .mark = side_mark,
                              .join = side_join,
                              .passed = side_passed,
                              .watch = gpu_watch,
                              .gpu = cuda};
}

mgen_status mgi_comm_nccl_create(mgi_comm *host, int64_t timeout_ms, mgi_comm **out)
{
    const mgi_device *dev = host->ctx->device;
    *out = NULL;
    if (!dev || !dev->cuda)
        return mgi_fail(host->ctx, MGEN_E_UNSUPPORTED,
                        "NCCL is for GPUs, and this context has none; use the host's communicator");
    const mgi_nccl_options gpu = mgi_nccl_gpu(dev->cuda);
    return mgi_comm_nccl_create_with(host, &gpu, timeout_ms, out);
}
