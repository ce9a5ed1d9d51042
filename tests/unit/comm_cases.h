/* SPDX-License-Identifier: MIT
 * What every engine of communicators must do, against plain loops; run on each rank of a group. */
#ifndef COMM_CASES_H
#define COMM_CASES_H

#include "dist/comm.h"
#include "kernels/common/bf16.h"
#include "kernels/mgk.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { COMM_COUNT = 2503 /* of no rank count a multiple, and more than one block of sums */ };

/* Values whose sum depends on the order of adding. */
static float comm_value(int rank, int64_t i)
{
    float v = (float)((rank * 7919 + i * 104729) % 1000 - 500) * (rank % 3 ? 1e-3f : 1e4f) / 7.0f;
    return mgk_from_bf16(mgk_to_bf16(v)); /* exact in both dtypes */
}

static float comm_sum(int size, int64_t i)
{
    float sum = comm_value(0, i);
    for (int r = 1; r < size; r++)
        sum += comm_value(r, i);
    return sum;
}

/* A group's rank with buffers of f32 or bf16 values. */
typedef struct comm_case {
    mgi_comm *c;
    int32_t dtype;
    int n, me;
    void *a, *b;
    bool later; /* works are waited for at the end */
    mgi_comm_work *work;
    const char *wrong;
} comm_case;

#define COMM_CHECK(expr)                                                                           \
    do {                                                                                           \
        if (!(expr) && !s->wrong)                                                                  \
            s->wrong = #expr;                                                                      \
    } while (0)

static void comm_put(const comm_case *s, void *to, int64_t i, float value)
{
    if (s->dtype == MGK_BF16)
        ((uint16_t *)to)[i] = mgk_to_bf16(value);
    else
        ((float *)to)[i] = value;
}

static bool comm_is(const comm_case *s, const void *in, int64_t i, float value)
{
    if (s->dtype == MGK_BF16)
        return ((const uint16_t *)in)[i] == mgk_to_bf16(value);
    return ((const float *)in)[i] == value;
}

static void comm_fill(const comm_case *s, void *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        comm_put(s, to, i, comm_value(s->me, i));
}

static void *comm_at(const comm_case *s, void *p, int64_t i)
{
    return (char *)p + i * (s->dtype == MGK_BF16 ? 2 : 4);
}

static mgi_comm_work **comm_work(comm_case *s)
{
    return s->later ? &s->work : NULL;
}

/* The call went well, now or when it is waited for. */
static void comm_went(comm_case *s, mgen_status status)
{
    COMM_CHECK(status == MGEN_OK);
    COMM_CHECK(mgi_comm_wait(&s->work) == MGEN_OK);
    COMM_CHECK(s->work == NULL);
}

static void comm_sums(comm_case *s)
{
    const int64_t count = COMM_COUNT;
    comm_fill(s, s->a, count);
    comm_went(s, mgi_comm_all_reduce(s->c, s->dtype, s->a, s->b, count, comm_work(s)));
    for (int64_t i = 0; i < count; i++)
        COMM_CHECK(comm_is(s, s->b, i, comm_sum(s->n, i)));
    for (int64_t few = 0; few <= 9; few += 3) { /* in place; fewer elements than ranks */
        comm_fill(s, s->a, 10);
        comm_went(s, mgi_comm_all_reduce(s->c, s->dtype, s->a, s->a, few, comm_work(s)));
        for (int64_t i = 0; i < 10; i++)
            COMM_CHECK(comm_is(s, s->a, i, i < few ? comm_sum(s->n, i) : comm_value(s->me, i)));
    }
    for (int in_place = 0; in_place < 2; in_place++) {
        comm_fill(s, s->a, s->n * count);
        void *own = in_place ? comm_at(s, s->a, s->me * count) : s->b;
        comm_went(s, mgi_comm_reduce_scatter(s->c, s->dtype, s->a, own, count, comm_work(s)));
        for (int64_t i = 0; i < count; i++)
            COMM_CHECK(comm_is(s, own, i, comm_sum(s->n, s->me * count + i)));
    }
}

static void comm_copies(comm_case *s)
{
    const int64_t count = COMM_COUNT;
    for (int in_place = 0; in_place < 2; in_place++) {
        void *own = in_place ? comm_at(s, s->b, s->me * count) : s->a;
        comm_fill(s, own, count);
        comm_went(s, mgi_comm_all_gather(s->c, s->dtype, own, s->b, count, comm_work(s)));
        for (int64_t i = 0; i < s->n * count; i++)
            COMM_CHECK(comm_is(s, s->b, i, comm_value((int)(i / count), i % count)));
    }
    for (int root = 0; root < s->n; root++) {
        comm_fill(s, s->a, count);
        comm_went(s, mgi_comm_broadcast(s->c, s->dtype, s->a, count, root, comm_work(s)));
        for (int64_t i = 0; i < count; i++)
            COMM_CHECK(comm_is(s, s->a, i, comm_value(root, i)));
    }
    comm_fill(s, s->a, s->n * count);
    comm_went(s, mgi_comm_all_to_all(s->c, s->dtype, s->a, s->b, count, comm_work(s)));
    for (int64_t i = 0; i < s->n * count; i++)
        COMM_CHECK(comm_is(s, s->b, i, comm_value((int)(i / count), s->me * count + i % count)));
}

static void comm_pairs(comm_case *s)
{
    const int64_t count = COMM_COUNT;
    mgi_comm_work *to = NULL, *from = NULL;
    comm_fill(s, s->a, count);
    for (int r = 0; r < s->n && s->n > 1; r++) { /* around the ring, one after the other */
        int next = (r + 1) % s->n;
        if (s->me == r)
            comm_went(s, mgi_comm_send(s->c, s->dtype, s->a, count, next, comm_work(s)));
        if (s->me != next)
            continue;
        comm_went(s, mgi_comm_recv(s->c, s->dtype, s->b, count, r, comm_work(s)));
        for (int64_t i = 0; i < count; i++)
            COMM_CHECK(comm_is(s, s->b, i, comm_value(r, i)));
    }
    for (int i = 0; i < 3 && s->n > 1; i++) { /* all at the same time, twice and in order */
        int next = (s->me + 1) % s->n, before = (s->me + s->n - 1) % s->n;
        mgi_comm_work *to2 = NULL, *from2 = NULL;
        void *b2 = comm_at(s, s->b, count), *a2 = comm_at(s, s->a, 1);
        COMM_CHECK(mgi_comm_send(s->c, s->dtype, s->a, count - 1, next, &to) == MGEN_OK);
        COMM_CHECK(mgi_comm_send(s->c, s->dtype, a2, count - 1, next, &to2) == MGEN_OK);
        COMM_CHECK(mgi_comm_recv(s->c, s->dtype, s->b, count - 1, before, &from) == MGEN_OK);
        COMM_CHECK(mgi_comm_recv(s->c, s->dtype, b2, count - 1, before, &from2) == MGEN_OK);
        COMM_CHECK(mgi_comm_wait(&from2) == MGEN_OK && mgi_comm_wait(&to) == MGEN_OK);
        COMM_CHECK(mgi_comm_wait(&to2) == MGEN_OK && mgi_comm_wait(&from) == MGEN_OK);
        for (int64_t k = 0; k < count - 1; k++) {
            COMM_CHECK(comm_is(s, s->b, k, comm_value(before, k)));
            COMM_CHECK(comm_is(s, b2, k, comm_value(before, k + 1)));
        }
    }
}

/* Many works under way, waited for in another order than that of their calls. */
static void comm_many(comm_case *s)
{
    mgi_comm_work *works[MGI_COMM_PENDING], *more;
    const int64_t step = 16;
    for (int times = 0; times < 2; times++) {
        comm_fill(s, s->a, step * MGI_COMM_PENDING);
        for (int k = 0; k < MGI_COMM_PENDING; k++) {
            mgi_comm_note(s->c, "piece", k);
            COMM_CHECK(mgi_comm_all_reduce(s->c, s->dtype, comm_at(s, s->a, k * step),
                                           comm_at(s, s->b, k * step), step, &works[k]) == MGEN_OK);
        }
        COMM_CHECK(mgi_comm_all_reduce(s->c, s->dtype, s->a, s->b, 1, &more) == MGEN_E_STATE);
        for (int k = 0; k < MGI_COMM_PENDING; k++) /* 7 and 32 have no common factor */
            COMM_CHECK(mgi_comm_wait(&works[k * 7 % MGI_COMM_PENDING]) == MGEN_OK);
        for (int64_t i = 0; i < step * MGI_COMM_PENDING; i++)
            COMM_CHECK(comm_is(s, s->b, i, comm_sum(s->n, i)));
    }
}

static void comm_refused(comm_case *s)
{
    mgi_comm *c = s->c;
    float *a = s->a, *b = s->b;
    COMM_CHECK(mgi_comm_all_reduce(c, MGK_F32, a, a + 1, 5, NULL) == MGEN_E_INVALID);
    COMM_CHECK(mgi_comm_all_reduce(c, MGK_F32, NULL, a, 5, NULL) == MGEN_E_INVALID);
    COMM_CHECK(mgi_comm_all_reduce(c, MGK_F32, a, b, -1, NULL) == MGEN_E_INVALID);
    COMM_CHECK(mgi_comm_all_reduce(c, MGK_F32, a, b, INT64_MAX / 8, NULL) == MGEN_E_INVALID);
    COMM_CHECK(mgi_comm_all_reduce(c, MGK_I32, a, b, 5, NULL) == MGEN_E_INVALID);
    COMM_CHECK(mgi_comm_all_gather(c, 5, a, b, 5, NULL) == MGEN_E_INVALID);
    COMM_CHECK(mgi_comm_send(c, MGK_F32, a, 1, s->me, NULL) == MGEN_E_INVALID);
    COMM_CHECK(mgi_comm_broadcast(c, MGK_F32, a, 1, s->n, NULL) == MGEN_E_INVALID);
    COMM_CHECK(mgi_comm_barrier(c) == MGEN_OK); /* arguments refused here break nothing */
}

/* Ranks in reverse order, in groups of even and odd; and all but the first. */
static void comm_splits(comm_case *s)
{
    mgi_comm *half = NULL, *rest = NULL;
    float mine = (float)s->me, sum = 0.0f;
    COMM_CHECK(mgi_comm_split(s->c, s->me % 2, -s->me, &half) == MGEN_OK);
    COMM_CHECK(mgi_comm_split(s->c, s->me ? 5 : -1, 0, &rest) == MGEN_OK);
    COMM_CHECK((rest == NULL) == (s->me == 0));
    if (rest) {
        COMM_CHECK(mgi_comm_size(rest) == s->n - 1 && mgi_comm_rank(rest) == s->me - 1);
        COMM_CHECK(mgi_comm_all_reduce(rest, MGK_F32, &mine, &sum, 1, NULL) == MGEN_OK);
        COMM_CHECK(sum == (float)(s->n * (s->n - 1) / 2));
    }
    if (half) {
        int size = (s->n + 1 - s->me % 2) / 2, last = 2 * (size - 1) + s->me % 2;
        COMM_CHECK(mgi_comm_size(half) == size && mgi_comm_rank(half) == (last - s->me) / 2);
        COMM_CHECK(mgi_comm_broadcast(half, MGK_F32, &mine, 1, 0, NULL) == MGEN_OK);
        COMM_CHECK(mine == (float)last);
    }
    mgi_comm_destroy(half);
    mgi_comm_destroy(rest);
}

static void comm_agrees(comm_case *s)
{
    COMM_CHECK(mgi_comm_agree(s->c, "mesh", "dp=2,tp=2") == MGEN_OK);
    if (s->n > 1)
        COMM_CHECK(mgi_comm_agree(s->c, "mesh", s->me == s->n - 1 ? "dp=4" : "dp=2,tp=2") ==
                   MGEN_E_DESYNC);
    COMM_CHECK(mgi_comm_barrier(s->c) == MGEN_OK); /* the group is still good */
    COMM_CHECK(mgi_comm_check(s->c) == MGEN_OK);
}

/* NULL, or what is wrong. */
static const char *comm_cases(mgi_comm *c)
{
    comm_case state = {.c = c, .n = mgi_comm_size(c), .me = mgi_comm_rank(c)}, *s = &state;
    size_t most = sizeof(float) * COMM_COUNT * (size_t)(s->n > 2 ? s->n : 2);
    s->a = malloc(most);
    s->b = malloc(most);
    for (int k = 0; k < 4 && s->a && s->b; k++) {
        s->dtype = k % 2 ? MGK_BF16 : MGK_F32;
        s->later = k / 2;
        comm_sums(s);
        comm_copies(s);
        comm_pairs(s);
        if (k == 0 || k == 3)
            comm_many(s);
    }
    comm_refused(s);
    comm_splits(s);
    comm_agrees(s);
    free(s->a);
    free(s->b);
    return s->wrong;
}

#endif
