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
#include "played_gpu.h"
#include "rank_threads.h"
#include "tensor/tensor.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>

#ifdef MGK_CUDA_EMULATED
#include "rank_device.h"
#endif

#if __has_include(<nccl.h>) && !defined(MGK_CUDA_EMULATED)
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

static int64_t nccl_timeout_ms = 30000;

static int open_fake(void **state)
{
    (void)state;
    return find_nccl() ? 0 : -1;
}

static void reset(void)
{
    played_reset();
    planted = NOTHING;
}

/* The rank's communicator becomes one over NCCL; false: s->status says why not. */
static bool connect_played(rank_state *s, played_gpu *gpu)
{
    const mgi_nccl_options options = played_options(gpu);
    mgi_comm *comm;
    s->status = mgi_comm_nccl_create_with(s->comm, &options, nccl_timeout_ms, &comm);
    if (s->status == MGEN_OK)
        s->comm = comm;
    return s->status == MGEN_OK;
}

static void cases(rank_state *s)
{
    played_gpu gpu = {0}; /* the host computes */
    if (connect_played(s, &gpu))
        s->wrong = comm_cases(s->comm);
    CHECK(s->status == MGEN_OK);
    CHECK(atomic_load(&fake->blocks) == 16);
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
    played_gpu gpu = {0};
    if (!connect_played(s, &gpu)) {
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
    played_gpu gpu = {0};
    mgi_comm *host, *comm;
    mgi_nccl_options options = played_options(&gpu);
    options.file = "/nowhere/libnccl.so.2";
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

/* ---- beside what the GPU computes ---- */

enum { STEPS = 40, WIDE = 24 };

/* y = a x + y of WIDE elements, which the GPU does when it comes to it. */
typedef struct kernel {
    float *y;
    const float *x;
    float a;
} kernel;

static bool run_kernel(void *what)
{
    const kernel *k = what;
    for (int i = 0; i < WIDE; i++)
        k->y[i] += k->a * k->x[i];
    return true;
}

static void compute(const played_gpu *gpu, float *y, const float *x, float a)
{
    kernel *k = mgk_queue_keep(run_kernel, sizeof *k);
    *k = (kernel){y, x, a};
    mgk_queue_put(gpu->compute, k);
}

/* Small whole numbers, so that every sum is exact. */
static void begin_values(float *x, int rank)
{
    for (int i = 0; i < WIDE; i++)
        x[i] = (float)((rank * 31 + i * 7) % 5);
}

/* What the steps below leave in `x` of each rank, by loops: s = sum of all x; h = sum of x of the half; x += s - 2 h,
 * then taken down to where it began. */
static void steps_by_loops(int size, int rank, float *x)
{
    float all[RANKS][WIDE], sum[WIDE] = {0}, half[2][WIDE] = {{0}};
    for (int r = 0; r < size; r++)
        begin_values(all[r], r);
    for (int r = 0; r < size; r++)
        for (int i = 0; i < WIDE; i++) {
            sum[i] += all[r][i];
            half[r % 2][i] += 2.0f * all[r][i];
        }
    for (int i = 0; i < WIDE; i++)
        x[i] = all[rank][i] + sum[i] - 2.0f * half[rank % 2][i];
}

static _Atomic int differ;

/* Two collectives of two groups are under way while the GPU computes, with the same memory again and again; the host
 * waits only at the end. */
static void overlap(rank_state *s)
{
    played_gpu gpu = {.compute = mgk_queue_new(0)};
    float x[WIDE], start[WIDE], twice[WIDE] = {0}, sum[WIDE] = {0}, half[WIDE] = {0}, truth[WIDE];
    mgi_comm *group = NULL;
    begin_values(start, s->rank);
    memset(x, 0, sizeof x);
    if (connect_played(s, &gpu))
        s->status = mgi_comm_split(s->comm, s->rank % 2, s->rank, &group);
    for (int i = 0; i < STEPS && s->status == MGEN_OK; i++) {
        mgi_comm_work *of_all = NULL, *of_half = NULL;
        compute(&gpu, x, x, -1.0f);
        compute(&gpu, x, start, 1.0f);
        s->status = mgi_comm_all_reduce(s->comm, MGK_F32, x, sum, WIDE, &of_all);
        compute(&gpu, twice, twice, -1.0f);
        compute(&gpu, twice, x, 2.0f);
        if (s->status == MGEN_OK)
            s->status = mgi_comm_all_reduce(group, MGK_F32, twice, half, WIDE, &of_half);
        if (s->status == MGEN_OK)
            s->status = mgi_comm_wait(&of_all);
        compute(&gpu, x, sum, 1.0f);
        if (s->status == MGEN_OK)
            s->status = mgi_comm_wait(&of_half);
        compute(&gpu, x, half, -2.0f);
    }
    played_wait(&gpu);
    CHECK(s->status == MGEN_OK);
    steps_by_loops(s->world->size, s->rank, truth);
    if (memcmp(x, truth, sizeof x))
        differ++;
    mgi_comm_destroy(group);
    mgi_comm_destroy(s->comm);
    s->comm = NULL;
    mgk_queue_free(gpu.compute);
}

/* Both waits are needed: a collective's for the GPU's work, and the other way round. */
static void test_overlap(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    const int last = NOTHING; /* a wait that is left out is a race, and would be told */
#else
    const int last = NO_JOIN;
#endif
    for (int what = NOTHING; what <= last; what++) {
        differ = 0;
        for (int times = 0; times < (what == NOTHING ? 4 : 20); times++) {
            world w;
            if (what == NOTHING || !differ) {
                reset();
                planted = what;
                run_ranks(&w, times % 2 ? 4 : 2, 30000, overlap);
                end_ranks(&w);
            }
        }
        assert_int_equal(differ > 0, what != NOTHING);
    }
    planted = NOTHING;
}

/* Ranks that call what is not the same, on handles of their own. */
static void in_other_order(rank_state *s)
{
    played_gpu gpu = {0};
    float x[2] = {1.0f, 1.0f};
    mgi_comm *group = NULL;
    mgi_comm_work *works[2] = {NULL, NULL};
    if (connect_played(s, &gpu))
        s->status = mgi_comm_split(s->comm, 0, s->rank, &group);
    for (int i = 0; i < 2 && s->status == MGEN_OK; i++)
        s->status = mgi_comm_all_reduce((i + s->rank) % 2 ? group : s->comm, MGK_F32, x + i, x + i,
                                        1, &works[i]);
    for (int i = 0; i < 2; i++)
        (void)mgi_comm_wait(&works[i]);
    if (s->status != MGEN_OK)
        call_again(s);
    mgi_comm_destroy(group);
    mgi_comm_destroy(s->comm);
    s->comm = NULL;
}

/* A rank that calls its group's collective before that of all ranks, as the others do not: refused before it hangs. */
static void test_order(void **state)
{
    (void)state;
    world w;
    reset();
    run_ranks(&w, 2, 30000, in_other_order);
    for (int r = 0; r < 2; r++)
        assert_int_equal(w.ranks[r].status, MGEN_E_DESYNC);
    end_ranks(&w);
}

/* The host waits for its GPU, and there for a rank that never comes: not longer than it may, and it says for whom. */
static void left_alone(rank_state *s)
{
    played_gpu gpu = {.compute = mgk_queue_new(0)};
    float x[WIDE] = {0}, sum[WIDE];
    if (connect_played(s, &gpu)) {
        for (int i = 0; i < CALLS && s->status == MGEN_OK; i++)
            if (s->rank == 0 || i < CALLS - 1)
                s->status = mgi_comm_all_reduce(s->comm, MGK_F32, x, sum, WIDE, NULL);
        while (s->rank && !ended)
            sched_yield(); /* silent */
        CHECK(s->status == MGEN_OK);
        if (s->rank == 0) {
            CHECK(!played_wait(&gpu));
            s->status = mgi_comm_check(s->comm);
            call_again(s);
        }
    }
    ended++;
    mgi_comm_destroy(s->comm);
    s->comm = NULL;
    mgk_queue_free(gpu.compute);
}

static void test_left_alone(void **state)
{
    (void)state;
    world w;
    reset();
    ended = 0;
    nccl_timeout_ms = 100;
    run_ranks(&w, 2, 200, left_alone);
    nccl_timeout_ms = 30000;
    assert_int_equal(w.ranks[0].status, MGEN_E_TIMEOUT);
    assert_int_equal(w.ranks[0].later, MGEN_E_PEER_LOST);
    assert_says(&w.ranks[0], "all_reduce: ");
    assert_says(&w.ranks[0], "rank(s) 1 did not arrive within 200 ms");
    assert_int_equal(atomic_load(&fake->alive), 0);
    end_ranks(&w);
}

/* As far as it goes without a GPU: found, its version asked, an id made; then it says that there is no driver. */
static void test_real(void **state)
{
    (void)state;
    void *there = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    mgen_context *ctx = make_context();
    played_gpu gpu = {0};
    mgi_comm *host, *comm;
    mgi_nccl_options options = played_options(&gpu);
    options.file = NULL;
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

#ifdef MGK_CUDA_EMULATED

/* The context of a GPU waits for its stream, and there for a rank that never comes: a read, a wait, memory given back to
 * the driver all return, and it can be used afterwards. */
static void lost_on_gpu(rank_state *s)
{
    const int64_t count = 100;
    mgi_tensor *t = NULL, *u = NULL;
    float values[100];
    rank_device_open(s);
    mgi_device *dev = s->ctx->device;
    CHECK(s->status == MGEN_OK && !s->wrong);
    CHECK(mgi_tensor_create(dev, MGK_F32, 1, &count, &t) == MGEN_OK);
    CHECK(mgi_tensor_create(dev, MGK_F32, 1, &count, &u) == MGEN_OK);
    memset(values, 0, sizeof values);
    if (!s->wrong)
        mgi_tensor_write(t, 0, values, count);
    for (int i = 0; i < CALLS && s->status == MGEN_OK && !s->wrong; i++)
        if (s->rank == 0 || i < CALLS - 1)
            s->status =
                mgi_comm_all_reduce(s->comm, MGK_F32, mgi_data(t), mgi_data(t), count, NULL);
    while (s->rank && !ended)
        sched_yield(); /* silent */
    CHECK(s->status == MGEN_OK);
    if (s->rank == 0 && !s->wrong) {
        if (s->world->size == 2)
            mgi_tensor_read(t, 0, values, count);
        s->status = mgi_device_wait(dev);
        snprintf(s->said, sizeof s->said, "%s", s->ctx->error_text);
        s->later = mgi_comm_check(s->comm);
        mgi_tensor_write(u, 0, values, count);
        mgi_tensor_read(u, 0, values, count);
        CHECK(mgi_device_wait(dev) == MGEN_OK);
    }
    ended++;
    mgi_tensor_release(t);
    mgi_tensor_release(u);
    mgi_device_trim(dev);
    rank_device_close(s);
}

static void test_lost_on_gpu(void **state)
{
    (void)state;
    setenv("MOVIEGEN_MESH_DEVICE", "nccl", 1);
    mgk_emulated_machine(RANKS, 9);
    for (int size = 2; size <= 3; size++) {
        world w;
        reset();
        fake->put = mgk_emulated_put;
        fake->open = mgk_emulated_open;
        fake->close = mgk_emulated_close;
        ended = 0;
        rank_timeout_ms = 100;
        run_ranks(&w, size, 200, lost_on_gpu);
        rank_timeout_ms = 60000;
        assert_int_equal(w.ranks[0].status, MGEN_E_TIMEOUT);
        assert_int_equal(w.ranks[0].later, MGEN_E_PEER_LOST);
        assert_says(&w.ranks[0], size == 2 ? "rank(s) 1 did not arrive" : "did not arrive");
        assert_int_equal(atomic_load(&fake->alive), 0);
        end_ranks(&w);
    }
    mgk_emulated_machine(1, 9);
    unsetenv("MOVIEGEN_MESH_DEVICE");
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),       cmocka_unit_test(test_async_error),
        cmocka_unit_test(test_silent),      cmocka_unit_test(test_start),
        cmocka_unit_test(test_absent),      cmocka_unit_test(test_real),
        cmocka_unit_test(test_overlap),     cmocka_unit_test(test_order),
        cmocka_unit_test(test_left_alone),
#ifdef MGK_CUDA_EMULATED
        cmocka_unit_test(test_lost_on_gpu),
#endif
    };
    return cmocka_run_group_tests_name("nccl", tests, open_fake, NULL);
}
