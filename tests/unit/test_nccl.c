/* SPDX-License-Identifier: MIT
 * The engine of NCCL: all that an engine must do, and what goes wrong, with an NCCL that the host plays; and as far as
 * the real one goes without a GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "comm_cases.h"
#include "dist/comm_nccl.h"
#include "dist/nccl_api.h"
#include "fake_nccl.h"
#include "rank_threads.h"
#include "tensor/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#if __has_include(<nccl.h>)
#include <nccl.h>
_Static_assert((int)ncclSuccess == MGI_NCCL_OK && (int)ncclRemoteError == MGI_NCCL_REMOTE, "");
_Static_assert((int)ncclSystemError == MGI_NCCL_SYSTEM, "");
_Static_assert((int)ncclInProgress == MGI_NCCL_IN_PROGRESS && (int)ncclSum == MGI_NCCL_SUM, "");
_Static_assert((int)ncclUint8 == MGI_NCCL_U8 && (int)ncclInt32 == MGI_NCCL_I32, "");
_Static_assert((int)ncclUint64 == MGI_NCCL_U64 && (int)ncclFloat32 == MGI_NCCL_F32, "");
_Static_assert((int)ncclBfloat16 == MGI_NCCL_BF16, "");
_Static_assert(sizeof(ncclUniqueId) == sizeof(mgi_nccl_id), "");
#define SAME_PLACE(mine, theirs)                                                                   \
    _Static_assert(offsetof(mgi_nccl_config, mine) == offsetof(ncclConfig_t, theirs), "")
SAME_PLACE(magic, magic);
SAME_PLACE(version, version);
SAME_PLACE(blocking, blocking);
SAME_PLACE(net_name, netName);
SAME_PLACE(split_share, splitShare);
_Static_assert(NCCL_CONFIG_UNDEF_INT == INT_MIN, "");
#endif

static char fake_file[4096];
static fake_nccl *fake;

static bool stream_done(void *user)
{
    return atomic_load(&((fake_stream *)user)->pending) <= 0;
}

static int open_fake(void **state)
{
    (void)state;
    ssize_t length = readlink("/proc/self/exe", fake_file, sizeof fake_file - 32);
    if (length <= 0)
        return -1;
    fake_file[length] = 0;
    strcpy(strrchr(fake_file, '/'), "/fake_nccl.so");
    void *handle = dlopen(fake_file, RTLD_NOW | RTLD_LOCAL);
    fake = handle ? dlsym(handle, "fake_nccl_state") : NULL;
    return fake ? 0 : -1;
}

static void reset(void)
{
    memset(fake, 0, sizeof *fake);
}

static int64_t nccl_timeout_ms = 30000;

/* The rank's communicator becomes one over NCCL; false: s->status says why not. */
static bool connect_rank(rank_state *s, fake_stream *stream)
{
    const mgi_nccl_options options = {
        .file = fake_file, .stream = stream, .done = stream_done, .user = stream};
    mgi_comm *comm;
    atomic_init(&stream->pending, 0);
    s->status = mgi_comm_nccl_create_with(s->comm, &options, nccl_timeout_ms, &comm);
    if (s->status == MGEN_OK)
        s->comm = comm;
    return s->status == MGEN_OK;
}

static void cases(rank_state *s)
{
    fake_stream stream;
    if (connect_rank(s, &stream))
        s->wrong = comm_cases(s->comm);
    CHECK(s->status == MGEN_OK);
    mgi_comm_destroy(s->comm); /* before its stream */
    s->comm = NULL;
}

static void test_cases(void **state)
{
    (void)state;
    for (int size = 1; size <= 4; size += size) {
        world w;
        reset();
        atomic_store(&fake->polls, size == 2 ? 3 : 0); /* not taken at once */
        run_ranks(&w, size, 30000, cases);
        end_ranks(&w);
        assert_int_equal(atomic_load(&fake->alive), 0);
    }
}

static _Atomic int ended;

enum { CALLS = 70 }; /* more than are compared over the host's communicator */

/* The world is whole until the last call. */
static void train(rank_state *s)
{
    fake_stream stream;
    if (!connect_rank(s, &stream)) {
        ended++;
        return;
    }
    memset(s->a, 0, sizeof(float) * COUNT);
    for (int i = 0; i < CALLS && s->status == MGEN_OK; i++) {
        bool lost = s->rank == 1 && i == CALLS - 1 && nccl_timeout_ms < 30000;
        while (lost && ended < s->world->size - 1)
            sched_yield(); /* silent */
        s->status = mgi_comm_all_reduce(s->comm, MGK_F32, s->a, s->a, 100, NULL);
    }
    ended++;
    if (s->status != MGEN_OK)
        call_again(s);
    mgi_comm_destroy(s->comm);
    s->comm = NULL;
}

static void run_trouble(world *w, int64_t timeout_ms)
{
    ended = 0;
    nccl_timeout_ms = timeout_ms;
    run_ranks(w, 3, timeout_ms < 30000 ? 200 : 30000, train);
    nccl_timeout_ms = 30000;
    assert_int_equal(atomic_load(&fake->alive), 0);
}

/* A call ends in an error at some rank: it says which, and the others are told that it left. */
static void test_async_error(void **state)
{
    (void)state;
    world w;
    int failed = 0;
    reset();
    atomic_store(&fake->fails_at, 3 * (CALLS - 2));
    run_trouble(&w, 30000);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(w.ranks[r].status, MGEN_E_PEER_LOST);
        assert_int_equal(w.ranks[r].later, MGEN_E_PEER_LOST);
        failed += strstr(w.ranks[r].said, "NCCL in all_reduce: remote process exited: as the "
                                          "test asked") != NULL;
        assert_non_null(strstr(w.ranks[r].said, "rank "));
    }
    assert_int_equal(failed, 1);
    end_ranks(&w);
}

static void test_silent(void **state)
{
    (void)state;
    world w;
    reset();
    run_trouble(&w, 100);
    for (int r = 0; r < 3; r += 2) {
        assert_int_equal(w.ranks[r].status, MGEN_E_TIMEOUT);
        assert_int_equal(w.ranks[r].later, MGEN_E_PEER_LOST);
        assert_says(&w.ranks[r], "rank(s) 1 did not arrive within 200 ms");
    }
    end_ranks(&w);
}

static void test_start(void **state)
{
    (void)state;
    const struct {
        _Atomic int *what;
        int value;
        mgen_status status[3];
        const char *says[3];
    } troubles[] = {
        {&fake->version, 21604, {-12, -12, -12}, {"NCCL 2.16.4 is too old: 2.18 or later", "", ""}},
        {&fake->no_id, 1, {-40, -40, -40}, {"rank 0, NCCL makes no id", "rank 0", "rank 0"}},
        {&fake->no_start,
         3,
         {-50, -50, -40},
         {"rank 2 aborted", "rank 2 aborted", "NCCL in start"}},
    };
    for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++) {
        world w;
        reset();
        atomic_store(troubles[i].what, troubles[i].value);
        run_trouble(&w, 30000);
        for (int r = 0; r < 3; r++) {
            if (i > 0 || r == 0) /* the first to see an old one aborts */
                assert_says(&w.ranks[r], i > 0 ? troubles[i].says[r] : "");
            if (i > 0)
                assert_int_equal(w.ranks[r].status, troubles[i].status[r]);
            else
                assert_true(w.ranks[r].status == -12 || w.ranks[r].status == -50);
        }
        end_ranks(&w);
    }
}

static void test_absent(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    fake_stream stream;
    mgi_comm *host, *comm;
    mgi_nccl_options options = {
        .file = "/nowhere/libnccl.so.2", .stream = &stream, .done = stream_done, .user = &stream};
    assert_int_equal(mgi_comm_single_create(ctx, &host), MGEN_OK);
    assert_int_equal(mgi_comm_nccl_create(host, 1000, &comm), MGEN_E_UNSUPPORTED);
    assert_non_null(strstr(ctx->error_text, "for GPUs, and this context has none"));
    assert_int_equal(mgi_comm_nccl_create_with(host, &options, 1000, &comm), MGEN_E_UNSUPPORTED);
    assert_non_null(strstr(ctx->error_text, "NCCL was not found: /nowhere/libnccl.so.2"));
    mgi_comm_destroy(host);
    assert_int_equal(mgi_comm_single_create(ctx, &host), MGEN_OK);
    options.file = "libc.so.6"; /* a library, but none of NCCL */
    assert_int_equal(mgi_comm_nccl_create_with(host, &options, 1000, &comm), MGEN_E_UNSUPPORTED);
    mgi_comm_destroy(host);
    mgi_context_free(ctx);
}

/* As far as it goes without a GPU: found, its version asked, an id made; then it says that there is no driver. */
static void test_real(void **state)
{
    (void)state;
    void *there = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    mgen_context *ctx = make_context();
    fake_stream stream;
    mgi_comm *host, *comm;
    const mgi_nccl_options options = {.stream = &stream, .done = stream_done, .user = &stream};
#if defined(__SANITIZE_THREAD__)
    const bool watched = true; /* NCCL's threads are not */
#else
    const bool watched = false;
#endif
    if (!there || watched || mgi_cuda_count(NULL, 0) > 0) {
        print_message("skipped: no NCCL here, or a GPU, or ThreadSanitizer\n");
        mgi_context_free(ctx);
        if (there)
            dlclose(there);
        skip();
    }
    assert_int_equal(mgi_comm_single_create(ctx, &host), MGEN_OK);
    assert_int_equal(mgi_comm_nccl_create_with(host, &options, 10000, &comm), MGEN_E_DEVICE);
    assert_non_null(strstr(ctx->error_text, "rank 0 of 1, NCCL in start: unhandled cuda error"));
    mgi_comm_destroy(host);
    mgi_context_free(ctx);
    dlclose(there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),  cmocka_unit_test(test_async_error),
        cmocka_unit_test(test_silent), cmocka_unit_test(test_start),
        cmocka_unit_test(test_absent), cmocka_unit_test(test_real),
    };
    return cmocka_run_group_tests_name("nccl", tests, open_fake, NULL);
}
