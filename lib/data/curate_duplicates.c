/* SPDX-License-Identifier: MIT
 * Clips that look the same, among few by comparing all pairs, among many by an index.
 *
 * The index is of random planes (Charikar 2002): of two clips at angle a, each plane has both on one side with a probability of
 * 1 - a / pi. A table has a key of some planes' sides for each clip that is kept; what differs from a clip in one side of them at most is
 * compared with it. There are so many tables that two clips that are just alike are missed by all of them once in ten thousand
 * times, the more alike the less. The planes are rows of H D H D, where H is Hadamard's matrix and D are random signs. */
#include "data/curate_groups.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/philox.h"
#include "core/pool.h"
#include "data/curate.h"

#include <math.h>
#include <string.h>

enum {
    PLANES = 2048, /* a power of 2, not below MGI_LIKE_SIZE */
    TABLES_MAX = 256,
    SIDES_MAX = 30,  /* of a key */
    SPARE_SIDES = 3, /* so that keys are more than clips: most are nobody's */
    BATCH = 512,     /* clips that are looked for at once, and then among each other */
    EACH = 8,        /* of them by a thread at a time */
    KNOWN = 256      /* clips of which it is remembered that they are not alike */
};
static const double missed = 1e-4;

typedef struct entry {
    uint32_t key;
    int32_t next; /* a clip that was kept before it and shares its slot, or -1 */
} entry;

typedef struct query {
    bool lone; /* it cannot be like anything */
    int64_t found;
    uint32_t key[TABLES_MAX];
} query;

typedef struct search {
    const mgi_curate_rules *rules;
    mgi_curate_member *members;
    int64_t kept;          /* the first members */
    int64_t batch, queued; /* the first member that is looked for, and how many */
    query *query;
    int tables, sides, slots_log; /* no tables: all pairs */
    int32_t *slot;                /* of each table: the clip that was kept last */
    entry *entry;                 /* of each clip, one of each table */
    float sign[2][PLANES];
} search;

/* ---- likeness ----------------------------------------------------------------------------------- */

static double frame_alike(const mgi_curate_view *a, const mgi_curate_view *b, int frame)
{
    enum { N = MGI_LIKE_SIZE / MGI_LIKE_FRAMES };
    const float *p = a->like + frame * N, *q = b->like + frame * N;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int i = 0; i < N; i += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += p[i + k] * q[i + k];
    return (double)((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

double mgi_curate_alike(const mgi_curate_view *a, const mgi_curate_view *b)
{
    double sum = 0.0;
    for (int k = 0; k < MGI_LIKE_FRAMES; k++)
        sum += frame_alike(a, b, k);
    return sum / MGI_LIKE_FRAMES;
}

/* Frames are of length 1: as soon as the rest could not make up for what is missing, the answer is known. */
static bool alike(const mgi_curate_view *a, const mgi_curate_view *b, double least)
{
    double sum = 0.0;
    for (int k = 0; k < MGI_LIKE_FRAMES; k++) {
        sum += frame_alike(a, b, k);
        if (sum + (double)(MGI_LIKE_FRAMES - 1 - k) < least * MGI_LIKE_FRAMES)
            return false;
    }
    return true;
}

/* ---- the index ---------------------------------------------------------------------------------- */

/* How many tables it takes, if keys have so many sides. */
static int64_t tables_for(double cosine, int sides)
{
    const double angle = acos(fmin(cosine, 1.0)) / acos(-1.0);
    const double side = 1.0 - angle; /* that both have */
    const double met = pow(side, sides) + sides * pow(side, sides - 1) * angle;
    return met < 1.0 ? (int64_t)ceil(log(missed) / log1p(-met)) : 1;
}

/* The longest keys of which there are enough, up to those that are more than clips; none if an index would compare nearly all. */
static void lay_out(search *s, int64_t count)
{
    int log = 1;
    while (log < SIDES_MAX - SPARE_SIDES && INT64_C(1) << log < count)
        log++;
    for (s->sides = log + SPARE_SIDES; s->sides > 1; s->sides--) {
        const int64_t tables = tables_for(s->rules->duplicate_min, s->sides);
        if (tables > TABLES_MAX || tables * s->sides > PLANES)
            continue;
        if (4 * tables * (s->sides + 1) < INT64_C(1) << s->sides)
            s->tables = (int)tables;
        s->slots_log = log < s->sides ? log : s->sides;
        return;
    }
}

static mgen_status make_room(mgen_context *ctx, search *s, int64_t count)
{
    MGI_TRY(mgi_alloc_zero(ctx, BATCH, sizeof *s->query, &s->query));
    if (!s->tables)
        return MGEN_OK;
    const size_t slots = (size_t)s->tables << s->slots_log;
    MGI_TRY(mgi_alloc_zero(ctx, slots, sizeof *s->slot, &s->slot));
    memset(s->slot, 0xff, slots * sizeof *s->slot);
    const int64_t all[] = {count, s->tables};
    int64_t entries;
    if (!mgi_dims_count(all, 2, &entries))
        return mgi_fail(ctx, MGEN_E_NO_MEMORY, "an index of %lld clips", (long long)count);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)entries, sizeof *s->entry, &s->entry));
    for (int i = 0; i < 2 * PLANES; i++)
        s->sign[i / PLANES][i % PLANES] =
            mgi_random_unit((uint64_t)s->rules->seed, MGI_STREAM_CURATE,
                            (UINT64_C(1) << 48) + (uint64_t)i) < 0.5f
                ? -1.0f
                : 1.0f;
    return MGEN_OK;
}

static void hadamard(float *v)
{
    for (int half = 1; half < PLANES; half *= 2)
        for (int i = 0; i < PLANES; i += 2 * half)
            for (int k = i; k < i + half; k++) {
                const float a = v[k], b = v[k + half];
                v[k] = a + b;
                v[k + half] = a - b;
            }
}

static void make_keys(const search *s, const mgi_curate_view *view, query *q)
{
    float v[PLANES];
    double squares = 0.0;
    for (int i = 0; i < MGI_LIKE_SIZE; i++)
        squares += (double)view->like[i] * (double)view->like[i];
    /* of frames of one colour nothing is known, and others are of length 1 */
    q->lone = sqrt(squares / MGI_LIKE_FRAMES) < s->rules->duplicate_min - 1e-3;
    if (q->lone)
        return;
    for (int i = 0; i < PLANES; i++)
        v[i] = i < MGI_LIKE_SIZE ? view->like[i] * s->sign[0][i] : 0.0f;
    hadamard(v);
    for (int i = 0; i < PLANES; i++)
        v[i] *= s->sign[1][i];
    hadamard(v);
    for (int t = 0; t < s->tables; t++) {
        q->key[t] = 0;
        for (int i = 0; i < s->sides; i++)
            q->key[t] = q->key[t] << 1 | (v[t * s->sides + i] > 0.0f);
    }
}

static int32_t *slot_of(const search *s, int table, uint32_t key)
{
    uint32_t mixed = key;
    mixed *= UINT32_C(2654435761); /* a prime near 2^32 over the golden ratio */
    return s->slot + ((size_t)table << s->slots_log) + (mixed >> (32 - s->slots_log));
}

static void add_entry(search *s, int64_t clip, const query *q)
{
    for (int t = 0; t < s->tables && !q->lone; t++) {
        int32_t *slot = slot_of(s, t, q->key[t]);
        s->entry[clip * s->tables + t] = (entry){q->key[t], *slot};
        *slot = (int32_t)clip;
    }
}

/* ---- looking for one clip ----------------------------------------------------------------------- */

typedef struct seeker {
    const search *search;
    const mgi_curate_view *view;
    int64_t from, found; /* among clips from there on; the first that is alike, or -1 */
    int32_t known[KNOWN];
} seeker;

/* Clips of a key: those that were kept last come first. */
static void seek_key(seeker *k, int table, uint32_t key)
{
    const search *s = k->search;
    int64_t at = *slot_of(s, table, key);
    for (; at >= k->from; at = s->entry[at * s->tables + table].next) {
        if (s->entry[at * s->tables + table].key != key || (k->found >= 0 && at >= k->found) ||
            k->known[at % KNOWN] == at)
            continue;
        if (alike(s->members[at].clip->view, k->view, s->rules->duplicate_min))
            k->found = at;
        else
            k->known[at % KNOWN] = (int32_t)at;
    }
}

/* The first of the kept clips, from `from` on, that this one is like; -1: there is none. */
static int64_t seek(const search *s, const mgi_curate_view *view, const query *q, int64_t from)
{
    seeker k = {.search = s, .view = view, .from = from, .found = -1};
    if (!s->tables) {
        for (int64_t at = from; at < s->kept; at++)
            if (alike(s->members[at].clip->view, view, s->rules->duplicate_min))
                return at;
        return -1;
    }
    if (q->lone)
        return -1;
    memset(k.known, 0xff, sizeof k.known);
    for (int t = 0; t < s->tables; t++) {
        seek_key(&k, t, q->key[t]);
        for (int i = 0; i < s->sides; i++)
            seek_key(&k, t, q->key[t] ^ UINT32_C(1) << i);
    }
    return k.found;
}

/* ---- all of them -------------------------------------------------------------------------------- */

static void seek_some(void *arg, int64_t block, int thread)
{
    const search *s = arg;
    (void)thread;
    for (int64_t i = block * EACH; i < (block + 1) * EACH && i < s->queued; i++) {
        const mgi_curate_view *view = s->members[s->batch + i].clip->view;
        if (s->tables)
            make_keys(s, view, &s->query[i]);
        s->query[i].found = seek(s, view, &s->query[i], 0);
    }
}

/* What is like none of those before the batch may be like one within. */
static void keep_some(search *s)
{
    const int64_t before = s->kept;
    for (int64_t i = 0; i < s->queued; i++) {
        const mgi_curate_member m = s->members[s->batch + i];
        query *q = &s->query[i];
        if (q->found < 0)
            q->found = seek(s, m.clip->view, q, before);
        if (q->found >= 0) {
            m.clip->same = s->members[q->found].order;
            m.clip->fails |= UINT32_C(1) << MGI_CURATE_DUPLICATE;
            continue;
        }
        s->members[s->kept] = m; /* at or before where it was */
        if (s->tables)
            add_entry(s, s->kept, q);
        s->kept++;
    }
}

mgen_status mgi_curate_find_duplicates(mgen_context *ctx, const mgi_curate_rules *rules,
                                       mgi_curate_member *members, int64_t *count)
{
    search *s;
    mgen_status status;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *s, &s));
    s->rules = rules;
    s->members = members;
    if ((double)*count > rules->duplicate_pairs && *count <= INT32_MAX)
        lay_out(s, *count);
    MGI_TRY_GOTO(status, make_room(ctx, s, *count), end);
    for (; s->batch < *count; s->batch += s->queued) {
        s->queued = *count - s->batch < BATCH ? *count - s->batch : BATCH;
        mgi_pool_run(ctx->pool, (s->queued + EACH - 1) / EACH, seek_some, s);
        keep_some(s);
    }
    *count = s->kept;
end:
    mgi_free(ctx, s->entry);
    mgi_free(ctx, s->slot);
    mgi_free(ctx, s->query);
    mgi_free(ctx, s);
    return status;
}
