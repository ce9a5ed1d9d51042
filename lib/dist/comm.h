/* SPDX-License-Identifier: MIT
 * Collectives between the ranks of a run. Tier 3.
 *
 * A communicator is one rank's handle on a group of ranks. Every rank of the group makes the same
 * calls in the same order. A rank's handles, those on groups split off included, are used by one
 * thread at a time; only mgi_comm_abort() may come from any thread.
 *
 * Every call takes a `work`. NULL: it blocks until this rank's buffers are its own again. Else it
 * returns once it has been posted, and they are the rank's again when mgi_comm_wait() has returned,
 * whatever that says. At most MGI_COMM_PENDING works of a handle may be under way. Where buffers are a GPU's memory, it
 * is what the context computes that waits, in both cases, and not the host (comm_nccl.h).
 *
 * Engines: one rank (copies); ranks as threads of one process; as processes, through MPI or sockets; and
 * counting, which moves nothing and is for the meta device. Buffers are host memory. Counts are in
 * elements.
 *
 * Errors, beside INVALID for arguments that are wrong on this rank alone (it does not join the
 * call, so that its peers wait for it until they time out):
 *   DESYNC     ranks disagree on what is called, or wait for each other; both calls are named
 *   TIMEOUT    ranks did not arrive within the world's time; the message names them. A rank that is
 *              itself kept waiting, in whatever group, is not named: those that it waits for are
 *   PEER_LOST  a peer aborted or left
 * After any of these three the world, the group that all others were split from, is broken: every
 * call that waits returns with that error, and every later one fails at once, with DESYNC if that
 * was the cause and with PEER_LOST otherwise. What the buffers hold is then undefined. Messages
 * number ranks as the world does.
 */
#ifndef MGI_DIST_COMM_H
#define MGI_DIST_COMM_H

#include "core/context.h"

typedef struct mgi_comm mgi_comm;
typedef struct mgi_comm_group mgi_comm_group;
typedef struct mgi_comm_work mgi_comm_work;

enum { MGI_COMM_PENDING = 32 };
#define MGI_COMM_RANKS_MAX 65536

typedef enum mgi_comm_op {
    MGI_COMM_ALL_REDUCE,
    MGI_COMM_ALL_GATHER,
    MGI_COMM_REDUCE_SCATTER,
    MGI_COMM_BROADCAST,
    MGI_COMM_ALL_TO_ALL,
    MGI_COMM_SEND,
    MGI_COMM_RECV,
    MGI_COMM_BARRIER,
    MGI_COMM_SPLIT,
    MGI_COMM_OPS
} mgi_comm_op;

/* Calls of one kind that succeeded on this handle. */
typedef struct mgi_comm_count {
    int64_t calls;
    int64_t payload; /* bytes of the larger of the two buffers */
    int64_t sent; /* bytes this rank puts on the wire with ring algorithms; see comm_counting.c */
} mgi_comm_count;

/* ---- making and freeing ---- */

/* A group of one: every collective is a copy. */
mgen_status mgi_comm_single_create(mgen_context *ctx, mgi_comm **out);

/* Rank `rank` of `size`, alone: calls are checked and counted, data pointers are never touched and
 * may be NULL. Splits with mgi_comm_split_by() only: there are no peers to ask for their colours. */
mgen_status mgi_comm_counting_create(mgen_context *ctx, int rank, int size, mgi_comm **out);

/* Told of each call of a counting communicator and of those split off afterwards: when it is posted and when it was
 * waited for. `work` is the same for both; group: that of the call; sent: bytes that this rank sends for it. The
 * watch must stay. */
typedef struct mgi_comm_watch {
    void (*call)(void *user, const mgi_comm *group, const mgi_comm_work *work, mgi_comm_op op,
                 int64_t sent, bool waited);
    void *user;
} mgi_comm_watch;
void mgi_comm_counting_watch(mgi_comm *comm, const mgi_comm_watch *watch);

/* A group of `size` threads, which each join it once. timeout_ms is how long a call waits for its
 * peers: > 0, or negative for no limit. What the ranks share, groups split off included, is `owner`
 * memory, so the owner must outlive every handle. A rank that has not joined yet is only late. */
mgen_status mgi_comm_group_create(mgen_context *owner, int size, int64_t timeout_ms,
                                  mgi_comm_group **out);
/* Give up the creator's hold; handles stay valid. NULL is fine. */
void mgi_comm_group_release(mgi_comm_group *group);
/* This thread's handle, in ctx's memory; errors are recorded there. STATE if the rank was taken. */
mgen_status mgi_comm_join(mgi_comm_group *group, int rank, mgen_context *ctx, mgi_comm **out);

/* This process's rank among those of an mpirun, through the MPI plug-in (one rank without mpirun); once a
 * process, unless the host starts MPI. UNSUPPORTED: there is no plug-in. TIMEOUT: ranks did not come; they are
 * named. When a rank is lost, calls return within timeout_ms and a second, and at once where its process
 * ended on this machine; mpirun itself ends all ranks then, unless it is told --enable-recovery. Broken,
 * MPI is not ended in order. */
mgen_status mgi_comm_mpi_create(mgen_context *ctx, int64_t timeout_ms, mgi_comm **out);

/* How processes meet without MPI: rank 0 is found by an address, or the host has its own way. */
typedef struct mgi_comm_meeting {
    int rank, size;
    /* "tcp://host:port": rank 0 listens there. "file:///path": it writes there where it listens. NULL: by exchange */
    const char *address;
    const char *run; /* its name: who gives another is not of this run; NULL: "" */
    /* `bytes` bytes of each rank, in rank order, to all; 0: done */
    int32_t (*exchange)(void *user, const void *mine, void *all, uint64_t bytes);
    void *user;
} mgi_comm_meeting;

/* Rank `rank` of `size` processes, connected by sockets. Beside what MPI's can return: INVALID (the address), NOT_FOUND
 * (no such host or folder), IO (nobody can listen there), CANCELLED (exchange failed), DESYNC (another size, the same
 * rank twice). Deadlines as with MPI; that a process has ended is seen on any machine. */
mgen_status mgi_comm_sockets_create(mgen_context *ctx, const mgi_comm_meeting *how,
                                    int64_t timeout_ms, mgi_comm **out);

/* Not while a call on this handle runs. Peers that still need this rank get PEER_LOST; works that
 * were not waited for abort the world. NULL is fine. */
void mgi_comm_destroy(mgi_comm *comm);

/* Break the world: calls blocked on any rank return PEER_LOST. A call for which all ranks have
 * arrived still ends well. Any thread. */
void mgi_comm_abort(mgi_comm *comm);
/* The same because of what happened on this rank: its peers are told. By the thread that uses the handle. */
void mgi_comm_give_up(mgi_comm *comm, const char *why);

/* Is the world still whole? Returns at once; for what takes long between calls. */
mgen_status mgi_comm_check(mgi_comm *comm);

int mgi_comm_rank(const mgi_comm *comm);
int mgi_comm_size(const mgi_comm *comm);
mgen_context *mgi_comm_context(const mgi_comm *comm);
bool mgi_comm_on_gpu(const mgi_comm *comm); /* where buffers are */
/* The same ranks' communicator for the host's memory: itself, or what it stands on. */
mgi_comm *mgi_comm_host(mgi_comm *comm);
mgi_comm_count mgi_comm_counted(const mgi_comm *comm, mgi_comm_op op);
const char *mgi_comm_op_name(mgi_comm_op op);

/* What the next call on this handle is for, such as "keys of block", 3: ranks that make like calls
 * for different ends disagree, too. `what` must stay. */
void mgi_comm_note(mgi_comm *comm, const char *what, int64_t index);

/* ---- collectives; n is the group's size, dtype an MGK_* ---- */

/* recv[i] = sum over ranks of send[i], f32 or bf16, added in f32 in rank order and rounded once:
 * the same bits on every rank and in every run. In place if send == recv; any other overlap is
 * INVALID. */
mgen_status mgi_comm_all_reduce(mgi_comm *comm, int32_t dtype, const void *send, void *recv,
                                int64_t count, mgi_comm_work **work);

/* recv, n blocks of `count` elements, = every rank's `count` elements in rank order. In place if
 * send is this rank's block of recv. */
mgen_status mgi_comm_all_gather(mgi_comm *comm, int32_t dtype, const void *send, void *recv,
                                int64_t count, mgi_comm_work **work);

/* recv, `count` elements, = this rank's block of the sum of all ranks' n blocks, as all_reduce
 * adds. In place if recv is this rank's block of send. */
mgen_status mgi_comm_reduce_scatter(mgi_comm *comm, int32_t dtype, const void *send, void *recv,
                                    int64_t count, mgi_comm_work **work);

/* data of rank `root` to every rank. */
mgen_status mgi_comm_broadcast(mgi_comm *comm, int32_t dtype, void *data, int64_t count, int root,
                               mgi_comm_work **work);

/* Block j of `count` elements of send goes to rank j, where it is block `rank` of recv. The buffers
 * may not overlap. */
mgen_status mgi_comm_all_to_all(mgi_comm *comm, int32_t dtype, const void *send, void *recv,
                                int64_t count, mgi_comm_work **work);

/* Point to point; those between two ranks meet in order. Nothing is buffered: a send ends when its
 * peer has received. */
mgen_status mgi_comm_send(mgi_comm *comm, int32_t dtype, const void *data, int64_t count, int peer,
                          mgi_comm_work **work);
mgen_status mgi_comm_recv(mgi_comm *comm, int32_t dtype, void *data, int64_t count, int peer,
                          mgi_comm_work **work);

mgen_status mgi_comm_barrier(mgi_comm *comm);

/* The end of a call; sets *work to NULL. NULL in it is fine. In any order. */
mgen_status mgi_comm_wait(mgi_comm_work **work);

/* Collective: ranks that give the same colour form a new group, ordered by key and then by rank. A
 * negative colour joins none: *out is NULL. If memory is short on one rank, every rank gets
 * NO_MEMORY or LIMIT, nothing was made, and `comm` is still good. */
mgen_status mgi_comm_split(mgi_comm *comm, int color, int key, mgi_comm **out);

/* The same where colour and key are a function of the rank, as in a mesh. */
typedef void mgi_comm_place_fn(void *user, int rank, int *color, int *key);
mgen_status mgi_comm_split_by(mgi_comm *comm, mgi_comm_place_fn *place, void *user, mgi_comm **out);

/* Collective: the first rank's failure, if there is any, is that of all ranks: with its status and, on the others, its
 * number and message; `comm` is still good. NULL: one rank. On the meta device the others give OK. */
mgen_status mgi_comm_together(mgi_comm *comm, mgen_status status);
/* The same of what stands in another context than the communicator's. *agreed, where it is not NULL: whether the ranks
 * have told each other; false where that failed, which a rank that has failed itself does not say. */
mgen_status mgi_comm_together_in(mgen_context *ctx, mgi_comm *comm, mgen_status status,
                                 bool *agreed);

/* Collective: is `value` (up to 200 bytes are compared) the same on all ranks? DESYNC on each of
 * them if not, with the name and both values; `comm` is still good. */
mgen_status mgi_comm_agree(mgi_comm *comm, const char *name, const char *value);

#endif
