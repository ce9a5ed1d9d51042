/* SPDX-License-Identifier: MIT */
#include "data/curate_groups.h"

#include "core/alloc.h"
#include "core/philox.h"
#include "core/pool.h"
#include "data/curate.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { ROUNDS = 32, CLUSTERS_MAX = 4096, EACH = 256 /* clips that a thread takes at a time */ };

/* ---- clusters ----------------------------------------------------------------------------------- */

typedef struct centre {
    double at[MGI_THEME_SIZE];
} centre;

typedef struct clustering {
    mgi_curate_member *members;
    int64_t count, clusters;
    centre *centre;  /* of each cluster */
    double *nearest; /* of each member: squared distance to its centre */
    int64_t *size;
    int64_t last; /* the cluster that was begun last */
    _Atomic bool changed;
} clustering;

/* Four sums: an addition need not wait for the one before. */
static double distance(const float *theme, const centre *c)
{
    double sum[4] = {0.0, 0.0, 0.0, 0.0};
    int i = 0;
    for (; i + 4 <= MGI_THEME_SIZE; i += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += ((double)theme[i + k] - c->at[i + k]) * ((double)theme[i + k] - c->at[i + k]);
    for (; i < MGI_THEME_SIZE; i++)
        sum[0] += ((double)theme[i] - c->at[i]) * ((double)theme[i] - c->at[i]);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static int64_t end_of(const clustering *g, int64_t block)
{
    return (block + 1) * EACH < g->count ? (block + 1) * EACH : g->count;
}

static void share_out(mgen_context *ctx, clustering *g, mgi_pool_fn *fn)
{
    mgi_pool_run(ctx->pool, (g->count + EACH - 1) / EACH, fn, g);
}

static void put_centre(clustering *g, int64_t cluster, int64_t member)
{
    for (int i = 0; i < MGI_THEME_SIZE; i++)
        g->centre[cluster].at[i] = (double)g->members[member].clip->view->theme[i];
}

static void come_nearer(void *arg, int64_t block, int thread)
{
    clustering *g = arg;
    (void)thread;
    for (int64_t i = block * EACH; i < end_of(g, block); i++) {
        const double d = distance(g->members[i].clip->view->theme, &g->centre[g->last]);
        g->nearest[i] = d < g->nearest[i] ? d : g->nearest[i];
    }
}

/* k-means++: a clip becomes a centre by a lot that its distance to those before weighs. */
static void begin(mgen_context *ctx, clustering *g, uint64_t seed)
{
    for (int64_t i = 0; i < g->count; i++)
        g->nearest[i] = DBL_MAX;
    for (int64_t k = 0; k < g->clusters; k++) {
        const double lot = (double)mgi_random_unit(seed, MGI_STREAM_CURATE, (uint64_t)k);
        double all = 0.0, passed = 0.0;
        int64_t at = k ? 0 : (int64_t)(lot * (double)g->count);
        for (int64_t i = 0; k && i < g->count; i++)
            all += g->nearest[i];
        for (int64_t i = 0; k && i < g->count; i++) {
            passed += g->nearest[i];
            at = i;
            if (passed > lot * all)
                break;
        }
        put_centre(g, k, at);
        g->last = k;
        share_out(ctx, g, come_nearer);
    }
}

static void choose_centre(void *arg, int64_t block, int thread)
{
    clustering *g = arg;
    (void)thread;
    for (int64_t i = block * EACH; i < end_of(g, block); i++) {
        mgi_curate_clip *c = g->members[i].clip;
        int64_t best = 0;
        double least = DBL_MAX;
        for (int64_t k = 0; k < g->clusters; k++) {
            const double d = distance(c->view->theme, &g->centre[k]);
            if (d < least) {
                least = d;
                best = k;
            }
        }
        if (c->cluster != best)
            g->changed = true;
        c->cluster = best;
    }
}

static bool assign(mgen_context *ctx, clustering *g)
{
    g->changed = false;
    share_out(ctx, g, choose_centre);
    memset(g->size, 0, (size_t)g->clusters * sizeof *g->size);
    for (int64_t i = 0; i < g->count; i++)
        g->size[g->members[i].clip->cluster]++;
    return g->changed;
}

static void move_centres(clustering *g)
{
    for (int64_t k = 0; k < g->clusters; k++)
        if (g->size[k])
            g->centre[k] = (centre){{0.0}};
    for (int64_t i = 0; i < g->count; i++) {
        const mgi_curate_clip *c = g->members[i].clip;
        for (int j = 0; j < MGI_THEME_SIZE; j++)
            g->centre[c->cluster].at[j] += (double)c->view->theme[j] / (double)g->size[c->cluster];
    }
}

static void weigh(clustering *g, const mgi_curate_rules *r)
{
    int64_t largest = 1, smallest = g->count;
    for (int64_t k = 0; k < g->clusters; k++) {
        largest = g->size[k] > largest ? g->size[k] : largest;
        smallest = g->size[k] && g->size[k] < smallest ? g->size[k] : smallest;
    }
    for (int64_t i = 0; i < g->count; i++) {
        mgi_curate_clip *c = g->members[i].clip;
        const double size = (double)g->size[c->cluster];
        const double lot =
            (double)mgi_random_unit((uint64_t)r->seed, MGI_STREAM_CURATE,
                                    (UINT64_C(1) << 32) + (uint64_t)g->members[i].order);
        c->weight = 1.0;
        if (r->resample == MGI_RESAMPLE_WEIGHT)
            c->weight = fmin(sqrt((double)largest / size), r->weight_max);
        else if (r->resample == MGI_RESAMPLE_DROP && lot >= sqrt((double)smallest / size))
            c->fails |= UINT32_C(1) << MGI_CURATE_RESAMPLE;
    }
}

mgen_status mgi_curate_resample(mgen_context *ctx, const mgi_curate_rules *rules,
                                mgi_curate_member *members, int64_t count, int64_t *clusters)
{
    clustering g = {.members = members, .count = count};
    mgen_status status;
    *clusters = 0;
    if (!count)
        return MGEN_OK;
    g.clusters = rules->clusters >= 1.0 ? (int64_t)rules->clusters
                                        : (int64_t)ceil(sqrt(0.5 * (double)count));
    g.clusters = g.clusters > CLUSTERS_MAX ? CLUSTERS_MAX : g.clusters;
    g.clusters = g.clusters > count ? count : g.clusters;
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, (size_t)g.clusters, sizeof *g.centre, &g.centre), end);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, (size_t)count, sizeof *g.nearest, &g.nearest), end);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, (size_t)g.clusters, sizeof *g.size, &g.size), end);
    begin(ctx, &g, (uint64_t)rules->seed);
    for (int i = 0; i < ROUNDS && assign(ctx, &g); i++)
        move_centres(&g);
    weigh(&g, rules);
    for (int64_t k = 0; k < g.clusters; k++)
        *clusters += g.size[k] > 0;
end:
    mgi_free(ctx, g.centre);
    mgi_free(ctx, g.nearest);
    mgi_free(ctx, g.size);
    return status;
}
