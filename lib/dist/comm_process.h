/* SPDX-License-Identifier: MIT
 * The engine whose ranks are processes: what its two files share. Only for comm_process*.c. Tier 3. */
#ifndef MGI_DIST_COMM_PROCESS_H
#define MGI_DIST_COMM_PROCESS_H

#include "dist/comm_engine.h"
#include "dist/transport.h"

/* Messages of a group are apart by tag; tags below MGI_PROCESS_TAGS are the world's. */
enum {
    MGI_TAG_CONTROL,
    MGI_TAG_HELLO,
    MGI_TAG_HEAD = 0, /* of a group */
    MGI_TAG_DATA,
    MGI_TAG_MORE,
    MGI_TAG_SEND_HEAD,
    MGI_TAG_RECV_HEAD,
    MGI_TAG_PAIR,
    MGI_PROCESS_TAGS = 8
};

/* A call as peers tell it each other, before any data. */
typedef struct mgi_process_head {
    int32_t op, dtype, peer, unused; /* peer: a member of the group, or -1 */
    int64_t count, index;
    char what[40];
} mgi_process_head;

/* HEAD: the calls are compared. DATA: blocks are on their way. MORE: the second half of an all_reduce. */
enum { MGI_STAGE_FREE, MGI_STAGE_HEAD, MGI_STAGE_DATA, MGI_STAGE_MORE, MGI_STAGE_DONE };

typedef struct mgi_process_work {
    mgi_comm_work *work;
    int stage;
    uint64_t order; /* in its group */
    mgi_process_head mine, *theirs;
    int64_t *requests; /* of each member: head in, head out, data in, data out */
    char *blocks;      /* to be added; one for each member */
} mgi_process_work;

typedef struct mgi_process_world mgi_process_world;

typedef struct mgi_process_group {
    mgi_process_world *world;
    mgi_comm *comm;
    int id;
    uint64_t posted;
    int *members;                                 /* ranks in the world */
    int64_t *left;                                /* when each member left, in ms; 0: it has not */
    mgi_process_work works[MGI_COMM_PENDING + 1]; /* the last: of splits */
    struct mgi_process_group *next;
} mgi_process_group;

enum { MGI_PROCESS_NAMED = 32 };

enum { MGI_CONTROL_BROKEN, MGI_CONTROL_LEFT, MGI_CONTROL_ASK, MGI_CONTROL_ANSWER };

/* What processes tell each other beside calls. */
typedef struct mgi_process_control {
    int32_t kind, from;
    int32_t code;                           /* BROKEN */
    int32_t group;                          /* LEFT */
    int32_t count, rank[MGI_PROCESS_NAMED]; /* ANSWER: whom the rank waits for */
    char text[512];                         /* BROKEN: why; ANSWER: in which call */
} mgi_process_control;

typedef struct mgi_process_out mgi_process_out;

struct mgi_process_world {
    mgen_context *ctx;
    const mgi_transport *transport;
    void *carrier; /* its own */
    void *plugin;  /* NULL: sockets */
    int rank, size, tag_max, next_id;
    int64_t timeout_ms;
    mgen_status broken;
    char why[512];
    _Atomic bool aborted;
    mgi_process_group *groups;
    mgi_process_control in; /* being received */
    int64_t in_request;
    mgi_process_out *out;          /* being sent */
    const mgi_process_work *waits; /* the call that this rank is blocked in */
    const mgi_process_group *waits_in;
    bool *asked, *answered; /* when the time is over: who was asked what it waits for */
    char answer[512];       /* the last one */
    int *process;   /* descriptors of peers on this machine, that tell their end; -1: none */
    int64_t looked; /* at them, in ms */
};

static inline int mgi_process_tag(const mgi_process_group *g, int kind)
{
    return g->id * MGI_PROCESS_TAGS + kind;
}

/* ---- comm_process_world.c ---- */

/* Start the transport, MPI (NULL) or sockets, and meet the others. */
mgen_status mgi_process_world_open(mgen_context *ctx, const mgi_comm_meeting *how,
                                   int64_t timeout_ms, mgi_process_world **out);
/* The last handle goes. */
void mgi_process_world_close(mgi_process_world *w);

int64_t mgi_process_now(void); /* ms */
/* Let others run: the longer, the more often in a row. */
void mgi_process_idle(const mgi_process_world *w, int times);

/* The first reason stays; all others are told. Returns the status, recorded. */
mgen_status mgi_process_break(mgi_process_world *w, mgen_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* For a call that was waiting when the world broke; or comes later. */
mgen_status mgi_process_broken(mgi_process_world *w, bool later);
mgen_status mgi_process_check(mgi_process_world *w, int32_t status, const char *error);

void mgi_process_tell(mgi_process_world *w, int rank, const mgi_process_control *what);
/* Control messages in and out. */
void mgi_process_listen(mgi_process_world *w);
/* Ranks whose process has ended. Breaks the world if `g`'s call still needs one. */
void mgi_process_look(mgi_process_world *w, const mgi_process_group *g, const mgi_process_work *pw);
/* The time of a call is over: break the world, naming those at the ends of the chains of ranks that wait. */
void mgi_process_late(mgi_process_world *w, const mgi_process_group *g, const mgi_process_work *pw);

/* ---- comm_process.c ---- */

/* Does a call still wait for a member? */
bool mgi_process_misses(const mgi_process_group *g, const mgi_process_work *pw, int member);
void mgi_process_progress(mgi_process_world *w);
const char *mgi_process_describe(const mgi_process_group *g, const mgi_process_head *head,
                                 char *buffer, size_t size);

#endif
