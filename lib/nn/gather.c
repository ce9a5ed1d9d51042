/* SPDX-License-Identifier: MIT */
#include "nn/gather.h"

#include "core/alloc.h"

#include <string.h>

enum { BLOCK = 1 << 20 /* values */, MODULES = 8 /* of a stage, at most */ };

/* What rank 0 asks for: a block of a parameter; module -1: nothing more. */
typedef struct request {
    int32_t module, ema;
    int64_t param, first, count;
} request;

struct mgi_gather {
    mgen_context *ctx;
    mgi_comm *comm; /* for the host's memory */
    mgi_module *module[MODULES];
    int modules, rank, ranks;
    request now;        /* of the block that is held; count 0: none */
    mgi_layout *layout; /* of the parameter, of each rank; their ranges are in `range` */
    mgi_layout_range *range;
    float *block, *packed;
    mgen_status status; /* of reading what was sent */
};

mgen_status mgi_gather_create(mgen_context *ctx, mgi_comm *comm, mgi_module *const *modules,
                              int count, mgi_gather **out)
{
    mgi_gather *g;
    mgen_status status;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *g, &g));
    g->ctx = ctx;
    g->comm = mgi_comm_host(comm);
    g->rank = mgi_comm_rank(comm);
    g->ranks = mgi_comm_size(comm);
    g->now.module = -1;
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, (size_t)g->ranks, sizeof *g->layout, &g->layout),
                 failed);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, BLOCK, sizeof *g->block, &g->block), failed);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, BLOCK, sizeof *g->packed, &g->packed), failed);
    for (g->modules = 0; g->modules < count && g->modules < MODULES; g->modules++) {
        g->module[g->modules] = modules[g->modules];
        modules[g->modules]->gather = g->rank == 0 ? g : NULL;
    }
    *out = g;
    return MGEN_OK;
failed:
    mgi_gather_free(g);
    return status;
}

void mgi_gather_free(mgi_gather *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->modules; i++)
        g->module[i]->gather = NULL;
    mgi_free(g->ctx, g->layout);
    mgi_free(g->ctx, g->range);
    mgi_free(g->ctx, g->block);
    mgi_free(g->ctx, g->packed);
    mgi_free(g->ctx, g);
}

static mgen_status all_gather(const mgi_gather *g, const void *mine, void *all, size_t size)
{
    mgi_comm_note(g->comm, "layout of parameter", g->now.param);
    return mgi_comm_all_gather(g->comm, MGK_U8, mine, all, (int64_t)size, NULL);
}

static bool same(const mgi_layout *a, const mgi_layout *b)
{
    return a->ranges == b->ranges &&
           !memcmp(a->range, b->range, (size_t)a->ranges * sizeof *a->range);
}

/* Room for as many ranges of each rank as any has, this rank's in their place. */
static mgen_status make_room(mgi_gather *g, const mgi_layout *own, int64_t most)
{
    mgi_free(g->ctx, g->range);
    g->range = NULL;
    MGI_TRY(mgi_alloc_zero(g->ctx, (size_t)(g->ranks * most + 1), sizeof *g->range, &g->range));
    for (int r = 0; r < g->ranks; r++)
        g->layout[r].range = g->range + r * most;
    if (own->ranges)
        memcpy(g->layout[g->rank].range, own->range, (size_t)own->ranges * sizeof *own->range);
    return MGEN_OK;
}

static mgen_status impossible(mgi_gather *g, int rank, const mgi_param *p)
{
    return mgi_fail(g->ctx, MGEN_E_DESYNC, "tensor \"%s\": rank %d tells pieces that it has not",
                    p->name, rank);
}

/* Every rank's layout of the parameter, of `total` elements. */
static mgen_status exchange(mgi_gather *g, const mgi_layout *own, const mgi_param *p, int64_t total)
{
    int64_t mine[2] = {own->ranges, own->elements}, most = 0, elements;
    int64_t *all = (int64_t *)(void *)g->packed;
    MGI_TRY(all_gather(g, mine, all, sizeof mine));
    for (int r = 0; r < g->ranks; r++) {
        g->layout[r] = (mgi_layout){NULL, all[2 * r], all[2 * r + 1]};
        if (all[2 * r] < 0 || all[2 * r] > MGI_LAYOUT_RANGES_MAX)
            return impossible(g, r, p);
        most = all[2 * r] > most ? all[2 * r] : most;
    }
    MGI_TRY(mgi_comm_together(g->comm, make_room(g, own, most)));
    MGI_TRY(all_gather(g, g->layout[g->rank].range, g->range, (size_t)most * sizeof *g->range));
    for (int r = 0; r < g->ranks; r++) {
        const mgi_layout *l = &g->layout[r];
        if (mgi_layout_check(g->ctx, l->range, l->ranges, total, &elements) != MGEN_OK ||
            elements != l->elements)
            return impossible(g, r, p);
    }
    return MGEN_OK;
}

/* Of ranks that have the same elements the lowest sends them; together they have the whole. */
static mgen_status choose(mgi_gather *g, const mgi_param *p, int64_t total)
{
    int64_t sum = 0;
    for (int r = 0; r < g->ranks; r++) {
        for (int lower = 0; lower < r && g->layout[r].elements; lower++)
            if (same(&g->layout[lower], &g->layout[r]))
                g->layout[r].ranges = g->layout[r].elements = 0;
        sum += g->layout[r].elements;
    }
    return sum == total ? MGEN_OK
                        : mgi_fail(g->ctx, MGEN_E_INTERNAL,
                                   "tensor \"%s\": the ranks send %lld elements of %lld", p->name,
                                   (long long)sum, (long long)total);
}

static int64_t total_of(const mgi_param *p)
{
    int64_t total = 1;
    for (int k = 0; k < p->rank; k++)
        total *= p->dims[k];
    return total;
}

static mgen_status learn(mgi_gather *g, const mgi_module *m, const mgi_param *p)
{
    mgi_layout own;
    int64_t total = total_of(p);
    mgen_status status = mgi_layout_init(&own, g->ctx, m, p, 0);
    status = mgi_comm_together(g->comm, status);
    if (status == MGEN_OK)
        status = exchange(g, &own, p, total);
    mgi_layout_free(&own, g->ctx);
    return status == MGEN_OK ? choose(g, p, total) : status;
}

/* What a rank has of the block, packed: how many values; `out` NULL: this rank's own are read there, else they are put
 * where they belong. */
static int64_t pack(mgi_gather *g, int rank, mgi_tensor *own, float *out)
{
    mgi_layout_range all = {g->now.first, g->now.count, g->now.count, 1};
    const mgi_layout block = {&all, 1, g->now.count};
    mgi_stretch s;
    int64_t at = 0, n = 0;
    while (mgi_layout_next(&g->layout[rank], &block, &at, &s)) {
        if (own && g->status == MGEN_OK)
            g->status = mgi_tensor_values(own, s.a, g->packed + n, s.count);
        if (out)
            memcpy(out + s.b, g->packed + n, (size_t)s.count * sizeof *out);
        n += s.count;
    }
    return n;
}

/* On every rank, when rank 0 has asked: the block comes to be there. */
static mgen_status fetch(mgi_gather *g, const request *r)
{
    const mgi_module *m = g->module[r->module];
    const mgi_param *p = m->params[r->param];
    bool known = g->now.module == r->module && g->now.param == r->param;
    g->now = *r;
    if (!known)
        MGI_TRY(learn(g, m, p));
    int64_t n = pack(g, g->rank, mgi_param_final(p, r->ema), g->rank == 0 ? g->block : NULL);
    if (g->rank != 0)
        return n ? mgi_comm_send(g->comm, MGK_F32, g->packed, n, 0, NULL) : MGEN_OK;
    for (int k = 1; k < g->ranks; k++) {
        n = pack(g, k, NULL, NULL);
        if (n)
            MGI_TRY(mgi_comm_recv(g->comm, MGK_F32, g->packed, n, k, NULL));
        (void)pack(g, k, NULL, g->block);
    }
    return g->status;
}

static mgen_status ask(mgi_gather *g, request *r)
{
    mgi_comm_note(g->comm, "what to gather", 0);
    return mgi_comm_broadcast(g->comm, MGK_U8, r, sizeof *r, 0, NULL);
}

/* The block that begins with or holds element `at`. */
static mgen_status hold(mgi_gather *g, int module, int64_t param, bool ema, int64_t at,
                        int64_t total)
{
    request r = {.module = module, .ema = ema, .param = param, .first = at - at % BLOCK};
    const request *n = &g->now;
    r.count = total - r.first < BLOCK ? total - r.first : BLOCK;
    if (!memcmp(&r, n, sizeof r))
        return MGEN_OK;
    MGI_TRY(ask(g, &r));
    mgen_status status = fetch(g, &r);
    if (status != MGEN_OK)
        g->now.count = 0;
    return status;
}

mgen_status mgi_gather_read(mgi_gather *g, const mgi_module *m, const mgi_param *p, bool ema,
                            int64_t first, float *out, int64_t n)
{
    int64_t total = total_of(p), param = 0;
    int module = 0;
    if (p->value->count == total) /* as ever */
        return mgi_tensor_values(mgi_param_final(p, ema), first, out, n);
    while (module < g->modules && g->module[module] != m)
        module++;
    while (param < m->count && m->params[param] != p)
        param++;
    for (int64_t done = 0; done < n;) {
        MGI_TRY(hold(g, module, param, ema, first + done, total));
        int64_t in = first + done - g->now.first, left = g->now.count - in;
        int64_t some = n - done < left ? n - done : left;
        memcpy(out + done, g->block + in, (size_t)some * sizeof *out);
        done += some;
    }
    return MGEN_OK;
}

/* What rank 0 asks for, as other ranks hear it. */
static mgen_status check_request(const mgi_gather *g, const request *r)
{
    const mgi_module *m = r->module < g->modules ? g->module[r->module] : NULL;
    bool known = m && r->param >= 0 && r->param < m->count;
    int64_t total = known ? total_of(m->params[r->param]) : 0;
    if (!known || r->first < 0 || r->first >= total || r->count < 1 || r->count > BLOCK ||
        r->count > total - r->first)
        return mgi_fail(g->ctx, MGEN_E_DESYNC,
                        "rank 0 asks for %lld elements from %lld on of parameter %lld of module "
                        "%d, which there are not",
                        (long long)r->count, (long long)r->first, (long long)r->param, r->module);
    return MGEN_OK;
}

mgen_status mgi_gather_serve(mgi_gather *g)
{
    request r;
    for (;;) {
        MGI_TRY(ask(g, &r));
        if (r.module < 0)
            return g->status;
        MGI_TRY(check_request(g, &r));
        MGI_TRY(fetch(g, &r));
    }
}

mgen_status mgi_gather_end(mgi_gather *g)
{
    request r = {.module = -1};
    return ask(g, &r);
}
