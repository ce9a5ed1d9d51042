/* SPDX-License-Identifier: MIT
 * Ranks that are processes: this program again under mpirun, four times on however many cores there are; what
 * becomes of the others when one is killed, stopped or silent. MOVIEGEN_DIST=1 runs what takes its time, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mpi_launch.h"
#include "rank_cases.h"

static int rank_main(const char *what)
{
    mgen_context *ctx = make_context();
    mgi_comm *comm = NULL;
    if (!ctx)
        return 1;
    uint64_t before = atomic_load(&ctx->heap->now);
    mgen_status status = mgi_comm_mpi_create(ctx, patience_for(what), &comm);
    return rank_work(ctx, comm, status, before, what);
}

static void test_cases(void **state)
{
    (void)state;
    need_mpi();
    expect_cases(launch);
}

static void test_desync(void **state)
{
    (void)state;
    need_mpi();
    expect_desync(launch);
}

static void test_lost(void **state)
{
    (void)state;
    need_mpi();
    expect_lost(launch);
}

static void test_absent(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_comm *comm;
    mgi_free(ctx, ctx->plugin_dir);
    assert_int_equal(mgi_strdup(ctx, "/nowhere", &ctx->plugin_dir), MGEN_OK);
    assert_int_equal(mgi_comm_mpi_create(ctx, 1000, &comm), MGEN_E_UNSUPPORTED);
    assert_null(comm);
    assert_non_null(strstr(ctx->error_text, "mgen_mpi.so is not in '/nowhere'"));
    assert_non_null(strstr(ctx->error_text, "-Dmpi=enabled (Debian: libopenmpi-dev)"));
    assert_int_equal(mgi_comm_mpi_create(ctx, 0, &comm), MGEN_E_INVALID);
    mgi_context_free(ctx);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_desync),
                                       cmocka_unit_test(test_lost), cmocka_unit_test(test_absent)};
    if (argc == 3 && !strcmp(argv[1], "--rank"))
        return rank_main(argv[2]);
    return cmocka_run_group_tests_name("mpi", tests, NULL, NULL);
}
