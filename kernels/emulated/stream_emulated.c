/* SPDX-License-Identifier: MIT */
#include "kernels/emulated/stream_emulated.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 6 /* at most, by the way */ };

typedef struct op {
    struct op *next;
    mgk_queue_fn *fn;
    uint64_t number; /* over all queues */
    _Alignas(MGK_QUEUE_ALIGN) unsigned char what[];
} op;

struct mgk_queue {
    op *first, **end;
    bool busy; /* its first is being called */
    int device;
    mgk_queue *next;
};

struct mgk_queue_event {
    uint64_t recorded, passed;
    mgk_queue *on; /* recorded there last */
    double time;
    int owners;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all that follows */
static mgk_queue *queues;
static uint64_t numbers, noise = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
    noise ^= noise << 13;
    noise ^= noise >> 7;
    noise ^= noise << 17;
    return (noise >> 11) % below;
}

/* ---- what is put ---- */

static op *op_of(void *kept)
{
    return (op *)(void *)((unsigned char *)kept - offsetof(op, what));
}

void *mgk_queue_keep(mgk_queue_fn *fn, size_t bytes)
{
    const size_t a = MGK_QUEUE_ALIGN;
    op *made = aligned_alloc(a, (sizeof *made + bytes + a - 1) / a * a);
    if (!made)
        __builtin_trap();
    made->next = NULL;
    made->fn = fn;
    return made->what;
}

void mgk_queue_drop(void *kept)
{
    free(op_of(kept));
}

bool mgk_queue_call(void *kept)
{
    return op_of(kept)->fn(kept);
}

/* ---- getting on; all with the lock ---- */

static bool advance(mgk_queue *q)
{
    op *now = q->first;
    if (!now || q->busy)
        return false;
    q->busy = true;
    pthread_mutex_unlock(&lock);
    bool done = now->fn(now->what);
    pthread_mutex_lock(&lock);
    q->busy = false;
    if (!done)
        return false;
    q->first = now->next;
    if (!q->first)
        q->end = &q->first;
    free(now);
    return true;
}

/* One step of some queue. */
static bool advance_some(void)
{
    mgk_queue *list[256];
    int count = 0;
    for (mgk_queue *q = queues; q && count < 256; q = q->next)
        if (q->first && !q->busy)
            list[count++] = q;
    for (int from = count ? (int)draw((uint64_t)count) : 0, i = 0; i < count; i++) {
        mgk_queue *q = list[(from + i) % count], *known = queues;
        while (known && known != q) /* freed meanwhile? */
            known = known->next;
        if (known && advance(q))
            return true;
    }
    return false;
}

static void pause_a_little(void)
{
    pthread_mutex_unlock(&lock);
    sched_yield();
    pthread_mutex_lock(&lock);
}

static void by_the_way(void)
{
    for (uint64_t steps = draw(4) ? 0 : draw(STEPS); steps > 0; steps--)
        advance_some();
}

static void until(bool (*done)(const void *of, uint64_t number), const void *of, mgk_queue *first,
                  uint64_t number)
{
    while (!done(of, number))
        if ((!first || draw(8) == 0 || !advance(first)) && !advance_some())
            pause_a_little();
}

void mgk_queue_put(mgk_queue *queue, void *kept)
{
    op *made = op_of(kept);
    pthread_mutex_lock(&lock);
    made->number = ++numbers;
    *queue->end = made;
    queue->end = &made->next;
    by_the_way();
    pthread_mutex_unlock(&lock);
}

/* ---- queues ---- */

mgk_queue *mgk_queue_new(int device)
{
    mgk_queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->end = &q->first;
    q->device = device;
    pthread_mutex_lock(&lock);
    q->next = queues;
    queues = q;
    pthread_mutex_unlock(&lock);
    return q;
}

static bool is_empty(const void *of, uint64_t number)
{
    const mgk_queue *q = of;
    (void)number;
    return !q->first;
}

void mgk_queue_free(mgk_queue *queue)
{
    if (!queue)
        return;
    pthread_mutex_lock(&lock);
    until(is_empty, queue, queue, 0);
    mgk_queue **at = &queues;
    while (*at != queue)
        at = &(*at)->next;
    *at = queue->next;
    pthread_mutex_unlock(&lock);
    free(queue);
}

bool mgk_queue_done(mgk_queue *queue)
{
    pthread_mutex_lock(&lock);
    advance_some();
    bool done = !queue->first;
    pthread_mutex_unlock(&lock);
    return done;
}

/* Nothing of what was there at `number`. */
static bool is_past(const void *of, uint64_t number)
{
    const mgk_queue *q = of;
    return !q->first || q->first->number > number;
}

void mgk_queue_wait(mgk_queue *queue)
{
    pthread_mutex_lock(&lock);
    until(is_past, queue, queue, numbers);
    pthread_mutex_unlock(&lock);
}

static bool all_past(const void *of, uint64_t number)
{
    for (const mgk_queue *q = queues; q; q = q->next)
        if (q->device == *(const int *)of && !is_past(q, number))
            return false;
    return true;
}

void mgk_queue_wait_device(int device)
{
    pthread_mutex_lock(&lock);
    until(all_past, &device, NULL, numbers);
    pthread_mutex_unlock(&lock);
}

/* ---- events ---- */

typedef struct moment {
    mgk_queue_event *event;
    uint64_t number;
} moment;

mgk_queue_event *mgk_queue_event_new(void)
{
    mgk_queue_event *event = calloc(1, sizeof *event);
    if (event)
        event->owners = 1;
    return event;
}

double *mgk_queue_event_time(mgk_queue_event *event)
{
    return &event->time;
}

/* With the lock. */
static void let_go(mgk_queue_event *event)
{
    if (--event->owners == 0)
        free(event);
}

void mgk_queue_event_free(mgk_queue_event *event)
{
    pthread_mutex_lock(&lock);
    if (event)
        let_go(event);
    pthread_mutex_unlock(&lock);
}

static bool pass(void *what)
{
    moment *m = what;
    pthread_mutex_lock(&lock);
    if (m->event->passed < m->number)
        m->event->passed = m->number;
    let_go(m->event);
    pthread_mutex_unlock(&lock);
    return true;
}

static bool come(void *what)
{
    moment *m = what;
    pthread_mutex_lock(&lock);
    bool there = m->event->passed >= m->number;
    if (there)
        let_go(m->event);
    pthread_mutex_unlock(&lock);
    return there;
}

static void put_moment(mgk_queue *queue, mgk_queue_event *event, mgk_queue_fn *fn, bool records)
{
    moment *m = mgk_queue_keep(fn, sizeof *m);
    pthread_mutex_lock(&lock);
    if (records) {
        event->recorded++;
        event->on = queue;
    }
    event->owners++;
    *m = (moment){event, event->recorded};
    pthread_mutex_unlock(&lock);
    mgk_queue_put(queue, m);
}

void mgk_queue_record(mgk_queue *queue, mgk_queue_event *event)
{
    put_moment(queue, event, pass, true);
}

void mgk_queue_follow(mgk_queue *queue, mgk_queue_event *event)
{
    put_moment(queue, event, come, false);
}

static bool has_passed(const void *of, uint64_t number)
{
    return ((const mgk_queue_event *)of)->passed >= number;
}

bool mgk_queue_event_done(mgk_queue_event *event)
{
    pthread_mutex_lock(&lock);
    advance_some();
    bool done = event->passed >= event->recorded;
    pthread_mutex_unlock(&lock);
    return done;
}

void mgk_queue_event_wait(mgk_queue_event *event)
{
    pthread_mutex_lock(&lock);
    mgk_queue *on = event->passed < event->recorded ? event->on : NULL;
    until(has_passed, event, on, event->recorded);
    pthread_mutex_unlock(&lock);
}
