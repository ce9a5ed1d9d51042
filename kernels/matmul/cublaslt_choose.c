/* SPDX-License-Identifier: MIT
 * Which of cuBLASLt's algorithms multiplies a shape.
 *
 * By default the first that its heuristic offers, which depends on the shape, the GPU and the version of cuBLASLt alone.
 * Where a device has a timer, the fastest of some: each runs once to be loaded and once to see how long it takes, which
 * leaves out those that are far behind, and then in five rounds with all others, in turn, so that a clock that falls
 * meets all of them. The median counts, and the heuristic's first stays unless another is clearly faster: noise alone
 * chooses nothing.
 *
 * They are timed on the operands of the call. C is written by the call anyway; where it is added to, what is timed
 * writes to memory beside it. */
#include "kernels/matmul/cublaslt_api.h"
#include "kernels/matmul/matmul_cublaslt.h"

#include <string.h>

enum { PROBES = 32, ROUNDS = 5, REPEATS = 16 };

#define ROUND_MS                                                                                   \
    0.2f /* at least, of the shortest product: events and launches take some microseconds */
#define BEHIND  1.5f /* times the fastest: not measured further */
#define CLEARLY 0.98f

_Static_assert(sizeof(mgk_cublaslt_shape) == 10 * 8 + 8 * 4, "compared and kept as bytes");
_Static_assert(MGK_CUBLASLT_ROW == sizeof(mgk_cublaslt_shape) + sizeof(mgk_cublaslt_words), "");

/* ---- what is kept ---- */

static uint64_t hash(const mgk_cublaslt_shape *shape)
{
    const unsigned char *p = (const unsigned char *)shape;
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < sizeof *shape; i++)
        hash = (hash ^ p[i]) * 1099511628211u;
    return hash ^ hash >> 32;
}

/* Where the shape is kept, or the first of its places that is free; NULL: all are others'. */
static mgk_cublaslt_kept *find(mgk_cublaslt_api *l, const mgk_cublaslt_shape *shape)
{
    const uint64_t at = hash(shape);
    for (uint64_t i = 0; i < PROBES; i++) {
        mgk_cublaslt_kept *k = &l->kept[(at + i) % MGK_CUBLASLT_KEPT];
        if (!k->of.used || memcmp(&k->of, shape, sizeof *shape) == 0)
            return k;
    }
    return NULL;
}

static void begin(mgk_cublaslt_kept *k, const mgk_cublaslt_shape *shape)
{
    k->of = *shape;
    k->state = MGK_CUBLASLT_NEW;
}

/* Where the shape is kept from now on: if there is no place, what lies in its first is forgotten. */
static mgk_cublaslt_kept *place(mgk_cublaslt_api *l, const mgk_cublaslt_shape *shape)
{
    mgk_cublaslt_kept *k = find(l, shape), *first = &l->kept[hash(shape) % MGK_CUBLASLT_KEPT];
    if (!k || !k->of.used)
        begin(k ? k : first, shape);
    return k ? k : first;
}

size_t mgk_cublaslt_rows(const void *memory, void *rows)
{
    const mgk_cublaslt_api *l = memory;
    unsigned char *to = rows;
    size_t count = 0;
    for (size_t i = 0; i < MGK_CUBLASLT_KEPT; i++) {
        const mgk_cublaslt_kept *k = &l->kept[i];
        if (!k->of.used || k->state < MGK_CUBLASLT_TOLD)
            continue;
        if (to) {
            memcpy(to + count * MGK_CUBLASLT_ROW, &k->of, sizeof k->of);
            memcpy(to + count * MGK_CUBLASLT_ROW + sizeof k->of, &k->algorithm,
                   sizeof k->algorithm);
        }
        count++;
    }
    return count;
}

void mgk_cublaslt_learn(void *memory, const void *row)
{
    mgk_cublaslt_shape shape;
    memcpy(&shape, row, sizeof shape);
    if (!shape.used)
        return;
    mgk_cublaslt_kept *k = find(memory, &shape);
    if (!k || (k->of.used && k->state >= MGK_CUBLASLT_TOLD))
        return;
    begin(k, &shape);
    memcpy(&k->algorithm, (const unsigned char *)row + sizeof shape, sizeof k->algorithm);
    k->state = MGK_CUBLASLT_TOLD;
}

uint64_t mgk_cublaslt_chosen(const void *memory)
{
    return ((const mgk_cublaslt_api *)memory)->chosen;
}

void mgk_cublaslt_time_by(void *memory, const mgk_cublaslt_timer *timer)
{
    mgk_cublaslt_api *l = memory;
    l->timer = timer;
    if (!timer)
        memset(l->kept, 0, sizeof l->kept);
}

/* ---- running and asking ---- */

static int run(const mgk_cublaslt_api *l, const mgk_cublaslt_call *c,
               const mgk_cublaslt_words *algorithm, void *d)
{
    mgk_cublaslt_call *call = (mgk_cublaslt_call *)c; /* descriptions are only read */
    return l->matmul(l->handle, &call->product, &c->alpha, c->a, &call->layout_a, c->b,
                     &call->layout_b, &c->beta, c->c, &call->layout_c, d, &call->layout_c,
                     algorithm, c->workspace, MGK_CUBLASLT_ROOM, c->stream);
}

static bool set_wish(const mgk_cublaslt_api *l, mgk_cublaslt_words *wish, int attribute,
                     uint32_t value)
{
    return !l->wish_set(wish, attribute, &value, sizeof value);
}

/* Up to `most` algorithms, the one that cuBLASLt takes for the fastest first. Returns their number. */
static int ask(const mgk_cublaslt_api *l, const mgk_cublaslt_shape *s, const mgk_cublaslt_call *c,
               mgk_cublaslt_words *out, int most)
{
    mgk_cublaslt_call *call = (mgk_cublaslt_call *)c;
    mgk_cublaslt_words wish;
    mgk_cublaslt_found found[MGK_CUBLASLT_CANDIDATES];
    const size_t room = MGK_CUBLASLT_ROOM;
    int count = 0, good = 0;
    if (l->wish_init(&wish, sizeof wish) ||
        l->wish_set(&wish, MGK_CUBLASLT_WORKSPACE, &room, sizeof room) ||
        !set_wish(l, &wish, MGK_CUBLASLT_REDUCTIONS,
                  s->out == MGK_CUBLASLT_F32 ? MGK_CUBLASLT_REDUCE_ANY : MGK_CUBLASLT_REDUCE_F32) ||
        !set_wish(l, &wish, MGK_CUBLASLT_ALIGNMENT_A, s->align_b) ||
        !set_wish(l, &wish, MGK_CUBLASLT_ALIGNMENT_A + 1, s->align_a) ||
        !set_wish(l, &wish, MGK_CUBLASLT_ALIGNMENT_A + 2, s->align_c) ||
        !set_wish(l, &wish, MGK_CUBLASLT_ALIGNMENT_A + 3, s->align_c) ||
        l->heuristic(l->handle, &call->product, &call->layout_a, &call->layout_b, &call->layout_c,
                     &call->layout_c, &wish, most, found, &count))
        return 0;
    for (int i = 0; i < count && i < most; i++)
        if (found[i].state == 0 && found[i].workspace <= MGK_CUBLASLT_ROOM)
            out[good++] = found[i].algorithm;
    return good;
}

/* Whether cuBLASLt takes the algorithm, which it did not offer here, for this product. */
static bool fits(const mgk_cublaslt_api *l, const mgk_cublaslt_call *c,
                 const mgk_cublaslt_words *algorithm)
{
    mgk_cublaslt_call *call = (mgk_cublaslt_call *)c;
    mgk_cublaslt_found found;
    memset(&found, 0, sizeof found);
    return !l->check(l->handle, &call->product, &call->layout_a, &call->layout_b, &call->layout_c,
                     &call->layout_c, algorithm, &found) &&
           found.state == 0 && found.workspace <= MGK_CUBLASLT_ROOM;
}

/* ---- timing ---- */

typedef struct contest {
    const mgk_cublaslt_api *l;
    const mgk_cublaslt_call *call;
    void *d; /* where the products go */
    mgk_cublaslt_words algorithm[MGK_CUBLASLT_CANDIDATES];
    bool out[MGK_CUBLASLT_CANDIDATES]; /* it failed, or is far behind */
    float ms[MGK_CUBLASLT_CANDIDATES];
    int count;
} contest;

static bool measure(contest *c, int i, int repeats, float *ms)
{
    const mgk_cublaslt_timer *t = c->l->timer;
    bool good = true;
    t->start(t->user);
    for (int r = 0; r < repeats && good; r++)
        good = run(c->l, c->call, &c->algorithm[i], c->d) == 0;
    if (!t->stop(t->user, good, ms))
        return false;
    *ms /= (float)repeats;
    return true;
}

/* The fastest that is not out, or -1. */
static int fastest(const contest *c)
{
    int best = -1;
    for (int i = 0; i < c->count; i++)
        if (!c->out[i] && (best < 0 || c->ms[i] < c->ms[best]))
            best = i;
    return best;
}

static void qualify(contest *c)
{
    for (int i = 0; i < c->count; i++)
        c->out[i] = !measure(c, i, 1, &c->ms[i]) || !measure(c, i, 1, &c->ms[i]);
    const int best = fastest(c);
    for (int i = 0; i < c->count; i++)
        c->out[i] = c->out[i] || c->ms[i] > BEHIND * c->ms[best];
}

static float median(float *values)
{
    for (int i = 1; i < ROUNDS; i++)
        for (int j = i; j > 0 && values[j] < values[j - 1]; j--) {
            const float v = values[j];
            values[j] = values[j - 1];
            values[j - 1] = v;
        }
    return values[ROUNDS / 2];
}

static void compete(contest *c)
{
    float ms[MGK_CUBLASLT_CANDIDATES][ROUNDS] = {{0}};
    const float one = c->ms[fastest(c)];
    const int repeats = one * REPEATS <= ROUND_MS ? REPEATS
                        : one < ROUND_MS          ? (int)(ROUND_MS / one) + 1
                                                  : 1;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < c->count; i++)
            c->out[i] = c->out[i] || !measure(c, i, repeats, &ms[i][round]);
    for (int i = 0; i < c->count; i++)
        if (!c->out[i])
            c->ms[i] = median(ms[i]);
}

/* The one to take, or -1: all failed. */
static int winner(contest *c)
{
    int first = 0, best;
    qualify(c);
    if (fastest(c) >= 0)
        compete(c);
    best = fastest(c);
    while (first < best && c->out[first])
        first++;
    return best > first && c->ms[best] > CLEARLY * c->ms[first] ? first : best;
}

static size_t bytes_of_c(const mgk_cublaslt_shape *s)
{
    const size_t values = (size_t)((s->batch - 1) * s->stride_c + (s->m - 1) * s->ldc + s->n);
    return values * (s->out == MGK_CUBLASLT_F32 ? 4 : 2);
}

/* The algorithms that are left are timed, if that can be done without touching what the caller has. */
static void choose_best(mgk_cublaslt_api *l, mgk_cublaslt_kept *k, contest *c)
{
    const mgk_cublaslt_timer *t = l->timer;
    const bool beside = c->call->beta != 0;
    c->d = beside ? t->take(t->user, bytes_of_c(&k->of)) : c->call->c;
    if (!c->d)
        return;
    const int best = winner(c);
    if (beside)
        t->give(t->user, c->d);
    if (best < 0)
        return;
    k->state = MGK_CUBLASLT_BEST;
    k->algorithm = c->algorithm[best];
    l->chosen++;
}

static void choose(mgk_cublaslt_api *l, mgk_cublaslt_kept *k, const mgk_cublaslt_call *call)
{
    const mgk_cublaslt_timer *t = l->timer;
    const bool timed = t && t->ready(t->user);
    contest c;
    memset(&c, 0, sizeof c);
    c.l = l;
    c.call = call;
    c.count = ask(l, &k->of, call, c.algorithm, timed ? MGK_CUBLASLT_CANDIDATES : 1);
    k->state = c.count == 0  ? MGK_CUBLASLT_NONE
               : t && !timed ? MGK_CUBLASLT_LATER
                             : MGK_CUBLASLT_FIRST;
    k->algorithm = c.algorithm[0];
    if (timed && c.count > 1)
        choose_best(l, k, &c);
}

bool mgk_cublaslt_multiply(mgk_cublaslt_api *l, const mgk_cublaslt_shape *shape,
                           const mgk_cublaslt_call *call)
{
    mgk_cublaslt_kept *k = place(l, shape);
    if (k->state == MGK_CUBLASLT_TOLD)
        k->state = fits(l, call, &k->algorithm) ? MGK_CUBLASLT_BEST : MGK_CUBLASLT_NEW;
    if (k->state == MGK_CUBLASLT_NEW ||
        (k->state == MGK_CUBLASLT_LATER && l->timer && l->timer->ready(l->timer->user)))
        choose(l, k, call);
    return k->state != MGK_CUBLASLT_NONE && !run(l, call, &k->algorithm, call->c);
}
