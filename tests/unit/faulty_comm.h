/* SPDX-License-Identifier: MIT
 * A communicator that goes wrong: an engine around another one, whose n-th call on this rank (counted over all
 * groups that are split from it) fails, comes late, is lost or differs. */
#ifndef FAULTY_COMM_H
#define FAULTY_COMM_H

#include "clock.h"
#include "core/alloc.h"
#include "dist/comm_engine.h"

#include <stdlib.h>
#include <string.h>

enum {
    FAULT_NONE,
    FAULT_STATUS, /* the call is not made, and returns `status` */
    FAULT_LATE,   /* it is made `late_ms` later */
    FAULT_SILENT, /* it is not made, nor any later one, until `*released`; then TIMEOUT */
    FAULT_COUNT,  /* one element fewer */
    FAULT_DTYPE,  /* f32 for bf16, and the other way round */
    FAULT_NAN,    /* what is sent begins with a value that is not a number */
    FAULT_WORD /* word `index`, of 64 bits, of what is sent for `what` is `word`; what NULL: of words sent to one rank, or
                     from one to all */
};

typedef struct fault {
    int kind;
    int64_t at; /* which call */
    mgen_status status;
    int64_t late_ms;
    _Atomic bool *released;
    int64_t calls; /* so far */
    const char *what;
    int64_t index, word;
} fault;

typedef struct faulty {
    mgi_comm base;
    mgi_comm *inner;
    fault *fault;
    mgi_comm_work *works[MGI_COMM_PENDING];
} faulty;

/* Is it one of those calls in which a word differs? */
static bool fault_lies(const faulty *f, const mgi_comm_call *call)
{
    bool root = call->op == MGI_COMM_BROADCAST && call->peer == f->base.rank;
    if (f->fault->what ? !call->what || strcmp(call->what, f->fault->what)
                       : call->dtype != MGK_U64 || (!root && call->op != MGI_COMM_SEND))
        return false;
    return (size_t)f->fault->index * 8 + 8 <= mgi_comm_bytes(call);
}

/* Before a call: what is left of it to do. */
static mgen_status fault_strike(faulty *f, mgi_comm_call *call)
{
    static const float nan = __builtin_nanf("");
    bool now = f->fault->calls++ == f->fault->at;
    if (f->fault->kind == FAULT_SILENT && f->fault->calls > f->fault->at) {
        while (!atomic_load(f->fault->released))
            sleep_ms(1);
        return mgi_fail(f->base.ctx, MGEN_E_TIMEOUT, "this rank was silent");
    }
    if (f->fault->kind == FAULT_WORD && fault_lies(f, call))
        memcpy((char *)(uintptr_t)call->send + f->fault->index * 8, &f->fault->word, 8);
    if (!now)
        return MGEN_OK;
    if (f->fault->kind == FAULT_STATUS)
        return mgi_fail(f->base.ctx, f->fault->status, "injected");
    if (f->fault->kind == FAULT_LATE)
        sleep_ms(f->fault->late_ms);
    if (f->fault->kind == FAULT_COUNT && call->count > 0)
        call->count--;
    if (f->fault->kind == FAULT_DTYPE)
        call->dtype = call->dtype == MGK_F32 ? MGK_BF16 : MGK_F32;
    if (f->fault->kind == FAULT_NAN && call->dtype == MGK_F32 && call->count > 0 && call->send)
        memcpy((void *)(uintptr_t)call->send, &nan, sizeof nan);
    return MGEN_OK;
}

static mgen_status faulty_start(mgi_comm *comm, mgi_comm_work *work)
{
    faulty *f = (faulty *)comm;
    mgi_comm_call c = work->call;
    mgi_comm_work **w = &f->works[work - comm->works];
    MGI_TRY(fault_strike(f, &c));
    mgi_comm_note(f->inner, c.what, c.index);
    switch (c.op) {
    case MGI_COMM_ALL_REDUCE:
        return mgi_comm_all_reduce(f->inner, c.dtype, c.send, c.recv, c.count, w);
    case MGI_COMM_ALL_GATHER:
        return mgi_comm_all_gather(f->inner, c.dtype, c.send, c.recv, c.count, w);
    case MGI_COMM_REDUCE_SCATTER:
        return mgi_comm_reduce_scatter(f->inner, c.dtype, c.send, c.recv, c.count, w);
    case MGI_COMM_BROADCAST:
        return mgi_comm_broadcast(f->inner, c.dtype, c.recv, c.count, c.peer, w);
    case MGI_COMM_ALL_TO_ALL:
        return mgi_comm_all_to_all(f->inner, c.dtype, c.send, c.recv, c.count, w);
    case MGI_COMM_SEND:
        return mgi_comm_send(f->inner, c.dtype, c.send, c.count, c.peer, w);
    case MGI_COMM_RECV:
        return mgi_comm_recv(f->inner, c.dtype, c.recv, c.count, c.peer, w);
    default:
        return mgi_comm_barrier(f->inner);
    }
}

static mgen_status faulty_wait(mgi_comm *comm, mgi_comm_work *work)
{
    faulty *f = (faulty *)comm;
    return mgi_comm_wait(&f->works[work - comm->works]);
}

static mgen_status faulty_check(mgi_comm *comm)
{
    return mgi_comm_check(((faulty *)comm)->inner);
}

static void faulty_interrupt(mgi_comm *comm)
{
    mgi_comm_abort(((faulty *)comm)->inner);
}

static void faulty_leave(mgi_comm *comm)
{
    mgi_comm_destroy(((faulty *)comm)->inner);
}

static mgen_status faulty_create(mgi_comm *inner, fault *what, mgi_comm **out);

static mgen_status faulty_split(mgi_comm *comm, int color, int key, mgi_comm **out)
{
    faulty *f = (faulty *)comm;
    mgi_comm_call call = {.op = MGI_COMM_SPLIT, .dtype = MGK_U8};
    mgi_comm *inner;
    MGI_TRY(fault_strike(f, &call));
    MGI_TRY(mgi_comm_split(f->inner, color, key, &inner));
    return inner ? faulty_create(inner, f->fault, out) : MGEN_OK;
}

/* Takes `inner`; `what` is shared with what is split from it, and must stay. */
static mgen_status faulty_create(mgi_comm *inner, fault *what, mgi_comm **out)
{
    static const mgi_comm_engine engine = {.moves_data = true,
                                           .start = faulty_start,
                                           .wait = faulty_wait,
                                           .check = faulty_check,
                                           .split = faulty_split,
                                           .interrupt = faulty_interrupt,
                                           .leave = faulty_leave};
    faulty *f;
    MGI_TRY(mgi_alloc_zero(inner->ctx, 1, sizeof *f, &f));
    f->base =
        (mgi_comm){.engine = &engine, .ctx = inner->ctx, .rank = inner->rank, .size = inner->size};
    f->inner = inner;
    f->fault = what;
    *out = &f->base;
    return MGEN_OK;
}

#endif
