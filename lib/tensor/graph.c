/* SPDX-License-Identifier: MIT */
#include "tensor/graph.h"

#include "core/hash.h"

#include <string.h>

enum { ATTEMPTS = 3 };

void mgi_graph_init(mgi_graph *g, mgi_device *dev)
{
    memset(g, 0, sizeof *g);
    g->dev = dev;
    g->next = dev->graphs;
    dev->graphs = g;
}

static void forget(mgi_graph *g, mgi_graph_entry *e)
{
    if (e->exec)
        mgi_cuda_graph_free(g->dev->cuda, e->exec);
    memset(e, 0, sizeof *e);
}

void mgi_graph_drop(mgi_graph *g)
{
    for (int i = 0; i < MGI_GRAPH_ENTRIES; i++)
        forget(g, &g->entry[i]);
    mgi_blocks_trim(g->dev, &g->blocks);
}

void mgi_graph_finish(mgi_graph *g)
{
    if (!g->dev)
        return;
    mgi_graph **at = &g->dev->graphs;
    mgi_graph_drop(g);
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    g->dev = NULL;
}

static bool usable(const mgi_graph *g)
{
    return g->dev->cuda && !g->dev->graphs_off;
}

void mgi_graph_enter(mgi_graph *g)
{
    if (!usable(g))
        return;
    if (g->clock++ == 0) /* what the device keeps would be there beside the graph's own */
        mgi_device_trim(g->dev);
    g->dev->home = &g->blocks;
    g->entered = true;
}

void mgi_graph_leave(mgi_graph *g)
{
    if (g->entered)
        g->dev->home = &g->dev->own;
    g->entered = false;
}

uint64_t mgi_graph_key(uint64_t key, const mgi_tensor *t)
{
    if (!t)
        return mgi_hash64(&key, sizeof key, 1);
    const uint64_t what[] = {key, (uint64_t)(uintptr_t)mgi_data(t), (uint64_t)t->dtype,
                             (uint64_t)t->rank};
    return mgi_hash64(t->dims, (size_t)t->rank * sizeof *t->dims, mgi_hash64(what, sizeof what, 0));
}

/* The entry of a key; a new one takes the place of that which was used longest ago. */
static mgi_graph_entry *find(mgi_graph *g, uint64_t key, bool *known)
{
    mgi_graph_entry *oldest = &g->entry[0];
    for (int i = 0; i < MGI_GRAPH_ENTRIES; i++) {
        mgi_graph_entry *e = &g->entry[i];
        *known = e->used && e->key == key;
        if (*known)
            return e;
        oldest = e->used < oldest->used ? e : oldest;
    }
    forget(g, oldest);
    oldest->key = key;
    return oldest;
}

/* Whether the workspace was given back, or another op has needed a larger one. */
static bool moved(const mgi_graph_entry *e, const mgi_device *dev)
{
    return e->scratch != dev->workspace || e->scratch_bytes > dev->workspace_bytes;
}

static void once(mgi_run *run, mgi_graph_fn *body, void *user)
{
    int64_t mark = mgi_scope_push(run);
    body(run, user);
    mgi_scope_pop(run, mark, NULL);
}

/* Launches of the body as one graph. */
static mgen_status record(mgi_graph *g, mgi_graph_entry *e, mgi_run *run, mgi_graph_fn *body,
                          void *user)
{
    mgi_device *dev = g->dev;
    int64_t out = g->blocks.out;
    MGI_TRY(mgi_cuda_capture_begin(dev->cuda));
    once(run, body, user);
    if (run->status == MGEN_OK && g->blocks.out != out)
        mgi_ok(run, mgi_cuda_refuse(dev->cuda, "leaving a tensor behind"));
    mgen_status status = mgi_cuda_capture_end(dev->cuda, &e->exec);
    return run->status != MGEN_OK ? run->status : status;
}

static void capture(mgi_graph *g, mgi_graph_entry *e, mgi_run *run, mgi_graph_fn *body, void *user)
{
    mgi_device_counts *c = &g->dev->counts;
    int64_t scope = run->scope_count, nodes = run->node_count;
    uint64_t launches = c->launches;
    double flops = c->flops;
    mgen_status status = record(g, e, run, body, user);
    e->launches = c->launches - launches;
    e->flops = c->flops - flops;
    e->scratch = g->dev->workspace;
    e->scratch_bytes = g->dev->workspace_bytes;
    c->launches = launches;
    c->flops = flops;
    if (status == MGEN_OK) {
        g->captures++;
        return;
    }
    if (++e->attempts == ATTEMPTS)
        mgi_log(run->ctx, MGEN_LOG_WARN,
                "a step is not captured as a CUDA graph but launched piece by piece: %s",
                mgen_last_error(run->ctx));
    if (e->exec)
        mgi_cuda_graph_free(g->dev->cuda, e->exec);
    e->exec = NULL;
    mgi_run_rewind(run, scope, nodes);
}

static void replay(mgi_graph *g, const mgi_graph_entry *e, mgi_run *run)
{
    mgi_device *dev = g->dev;
    if (!mgi_ok(run, mgi_cuda_graph_launch(dev->cuda, e->exec)))
        return;
    dev->counts.launches += e->launches;
    dev->counts.flops += e->flops;
    g->replays++;
}

void mgi_graph_run(mgi_graph *g, mgi_run *run, uint64_t key, mgi_graph_fn *body, void *user)
{
    bool known;
    if (run->status != MGEN_OK)
        return;
    if (!usable(g) || !mgi_require(run, g->entered, "a graph runs where it was not entered")) {
        once(run, body, user);
        return;
    }
    mgi_graph_entry *e = find(g, key, &known);
    e->used = ++g->clock;
    if (e->exec && moved(e, g->dev)) {
        mgi_cuda_graph_free(g->dev->cuda, e->exec);
        e->exec = NULL;
    }
    if (known && !e->exec && e->attempts < ATTEMPTS)
        capture(g, e, run, body, user);
    if (e->exec)
        replay(g, e, run);
    else
        once(run, body, user);
}
