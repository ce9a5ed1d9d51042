/* SPDX-License-Identifier: MIT
 * The MPI plug-in: messages between the processes of an mpirun. Tier 6.
 *
 * Only point to point, in a communicator of our own: MPI's collectives and splits cannot be given up when a
 * rank is silent, and do not say which. MPI is one a process, and so is what is kept here. */
#include "moviegen.h"
#include "dist/transport.h"

#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(MPI_Request) <= sizeof(int64_t), "a request fits");

static struct {
    MPI_Comm comm;
    int open, started_here, ended;
} mpi;

static int32_t fail(int code, const char *what, char *error, size_t size)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, text, &length);
    snprintf(error, size, "MPI fails to %s: %s", what, text);
    return MGEN_E_PEER_LOST;
}

static int32_t start(char *error, size_t size)
{
    int begun = 0, over = 0, level = 0;
    MPI_Initialized(&begun);
    MPI_Finalized(&over);
    if (mpi.open || over || mpi.ended) {
        snprintf(error, size,
                 mpi.open ? "this process has a communicator over MPI already"
                          : "MPI has ended in this process, and does not start a second time");
        return MGEN_E_STATE;
    }
    if (!begun) {
        int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
        if (code != MPI_SUCCESS)
            return fail(code, "start", error, size);
        mpi.started_here = 1;
    } else {
        MPI_Query_thread(&level);
    }
    if (level < MPI_THREAD_SERIALIZED) {
        snprintf(error, size,
                 "MPI was started for one thread only (level %d); start it with "
                 "MPI_Init_thread(MPI_THREAD_SERIALIZED) or leave it to libmoviegen",
                 level);
        return MGEN_E_STATE;
    }
    return 0;
}

static int32_t open_mpi(void **self, int32_t *rank, int32_t *size, int32_t *tag_max, char *error,
                        size_t error_size)
{
    int *limit = NULL, found = 0;
    int32_t status = start(error, error_size);
    if (status)
        return status;
    int code = MPI_Comm_dup(MPI_COMM_WORLD, &mpi.comm);
    if (code != MPI_SUCCESS)
        return fail(code, "make a communicator", error, error_size);
    MPI_Comm_set_errhandler(mpi.comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(mpi.comm, rank);
    MPI_Comm_size(mpi.comm, size);
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &limit, &found);
    *tag_max = found ? *limit : 32767;
    mpi.open = 1;
    *self = &mpi;
    return 0;
}

/* What `bytes` of them are, in one piece, where an int cannot count them. */
static MPI_Datatype large_type(int64_t bytes)
{
    enum { BLOCK = 1 << 20 };
    MPI_Datatype blocks, all;
    int lengths[2] = {1, (int)(bytes % BLOCK)};
    MPI_Aint places[2] = {0, (MPI_Aint)(bytes - bytes % BLOCK)};
    MPI_Datatype block, parts[2] = {MPI_DATATYPE_NULL, MPI_BYTE};
    MPI_Type_contiguous(BLOCK, MPI_BYTE, &block);
    MPI_Type_contiguous((int)(bytes / BLOCK), block, &blocks);
    parts[0] = blocks;
    MPI_Type_create_struct(2, lengths, places, parts, &all);
    MPI_Type_commit(&all);
    MPI_Type_free(&block);
    MPI_Type_free(&blocks);
    return all;
}

static int32_t begin(void *data, int64_t bytes, int32_t peer, int32_t tag, int receives,
                     int64_t *out, char *error, size_t error_size)
{
    MPI_Request request;
    int large = bytes > INT_MAX, count = large ? 1 : (int)bytes;
    MPI_Datatype type = large ? large_type(bytes) : MPI_BYTE;
    int source = peer < 0 ? MPI_ANY_SOURCE : peer;
    int code = receives ? MPI_Irecv(data, count, type, source, tag, mpi.comm, &request)
                        : MPI_Isend(data, count, type, peer, tag, mpi.comm, &request);
    if (large)
        MPI_Type_free(&type); /* lives on until the message is done */
    *out = 0;
    if (code != MPI_SUCCESS)
        return fail(code, receives ? "receive" : "send", error, error_size);
    memcpy(out, &request, sizeof request);
    return 0;
}

static int32_t send_mpi(void *self, const void *data, int64_t bytes, int32_t peer, int32_t tag,
                        int64_t *request, char *error, size_t error_size)
{
    (void)self;
    return begin((void *)(uintptr_t)data, bytes, peer, tag, 0, request, error, error_size);
}

static int32_t receive_mpi(void *self, void *data, int64_t bytes, int32_t peer, int32_t tag,
                           int64_t *request, char *error, size_t error_size)
{
    (void)self;
    return begin(data, bytes, peer, tag, 1, request, error, error_size);
}

static int32_t test_mpi(void *self, int64_t *request, char *error, size_t error_size)
{
    MPI_Request r;
    int done = 0;
    (void)self;
    memcpy(&r, request, sizeof r);
    int code = MPI_Test(&r, &done, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS || done)
        *request = 0;
    return code == MPI_SUCCESS ? 0 : fail(code, "carry a message", error, error_size);
}

static void drop_mpi(void *self, int64_t *request)
{
    MPI_Request r;
    (void)self;
    memcpy(&r, request, sizeof r);
    MPI_Cancel(&r);
    MPI_Request_free(&r);
    *request = 0;
}

static void close_mpi(void *self, int32_t orderly)
{
    (void)self;
    if (orderly) {
        MPI_Comm_free(&mpi.comm);
        if (mpi.started_here)
            MPI_Finalize();
    }
    mpi.ended = mpi.started_here;
    mpi.open = 0;
}

extern const mgi_transport mgi_mpi_plugin;
MGEN_API const mgi_transport mgi_mpi_plugin = {MGI_MPI_PLUGIN_VERSION,
                                               open_mpi,
                                               send_mpi,
                                               receive_mpi,
                                               test_mpi,
                                               drop_mpi,
                                               NULL,
                                               NULL,
                                               close_mpi};
