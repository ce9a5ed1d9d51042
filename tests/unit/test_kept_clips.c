/* SPDX-License-Identifier: MIT
 * Clips that are kept one by one while they are encoded: who is ended goes on from there, whatever became of the file, of the disk and
 * of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "latents_ranks.h"

#include <sys/file.h>

static int64_t fresh = CLIPS + BATCH; /* so many clips no test has kept: 36 to 58 */

/* The program's own call takes the place of the C library's: a file system without locks. */
static bool no_locks;

int flock(int fd, int operation)
{
    if (no_locks) {
        errno = ENOLCK;
        return -1;
    }
    return (int)syscall(SYS_flock, fd, operation);
}

static void flip(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    const int byte = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_not_equal(fputc(byte ^ 1, f), EOF);
    assert_int_equal(fclose(f), 0);
}

/* Whoever is stopped while clips are encoded goes on where he was, to the same bits: drawn; in tiles; edits; those held out; in
 * scratch. */
static void test_goes_on(void **state)
{
    (void)state;
    static const way ways[] = {{false, 0, RANKS, 0, false},
                               {false, 8, RANKS, 0, false},
                               {false, 0, RANKS, 0, true},
                               {false, 0, RANKS, 0, false, 0, false, "", 36},
                               {false, 0, RANKS, 0, false, 0, true}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        for (int size = 1; size <= (ways[i].stop_at ? 1 : 3); size += 2) {
            way w = ways[i];
            w.clips = fresh++ + (size > 1 ? MANY / 2 : 0); /* several batches a rank */
            w.has_cache = w.stopped = -1;
            run_to(w, 1, MGEN_OK);
            w.has_cache = RANKS;
            w.stopped = 0;
            run_to(w, size, MGEN_E_CANCELLED);
            const int64_t before = encoded[0];
            assert_true(*rows_left(0, size));
            w.stopped = -1;
            strcpy(w.where, size == 1 ? "k" : w.scratch ? "kss" : "kmm");
            run_to(w, size, MGEN_OK);
            assert_in_range(begun[0], before - BATCH, before + BATCH); /* whole batches of them */
            assert_true(encoded[0] > before);
            assert_only_kept();
            forget();
        }
}

/* The last row is torn, or another is not what was written; the file is of other rows, or none; all is well: what is not as it was is
 * made again. */
static void test_torn_rows(void **state)
{
    (void)state;
    enum { CUT, FLIP, HEAD, EMPTY, WHOLE, FAULTS };
    static const int64_t good[FAULTS] = {27, 9, 0, 0, 28}; /* rows of 28 */
    way w = {false, 0, -1, -1};
    for (int fault = 0; fault < FAULTS; fault++) {
        w.clips = fresh++;
        w.has_cache = w.stopped = -1;
        run_to(w, 1, MGEN_OK);
        w.has_cache = RANKS;
        w.stopped = 0;
        w.stop_at = 28;
        run_to(w, 1, MGEN_E_CANCELLED);
        const char *path = rows_left(0, 1);
        const long row = (long)(truth.step * (int64_t)sizeof(float) + 8);
        assert_int_equal(size_of(path), 32 + 28 * row);
        if (fault == CUT || fault == EMPTY)
            assert_int_equal(truncate(path, fault == CUT ? 32 + 28 * row - 1 : 0), 0);
        if (fault == FLIP || fault == HEAD)
            flip(path, fault == FLIP ? 32 + 9 * row + 100 : 16);
        w.stopped = -1;
        run_to(w, 1, MGEN_OK);
        assert_int_equal(begun[0], good[fault] / BATCH * BATCH + BATCH);
        assert_only_kept();
        forget();
    }
}

/* While another has the file, clips lie in memory, or scratch, and that is told. */
static void test_rows_taken(void **state)
{
    (void)state;
    way w = {false, 0, -1, -1, false, fresh++};
    mgen_context *own = make_context();
    mgi_writer other;
    world all;
    run_to(w, 1, MGEN_OK);
    w.has_cache = RANKS;
    w.stopped = 0;
    run_to(w, 1, MGEN_E_CANCELLED);
    const off_t size = size_of(rows_left(0, 1));
    assert_int_equal(mgi_writer_append(own, rows_left(0, 1), &other), MGEN_OK);
    w.stop_at = (uint64_t)w.clips; /* before they are kept */
    for (int scratch = 0; scratch < 2; scratch++) {
        w.scratch = scratch;
        run_way(w, 1, &all);
        assert_all(&all, MGEN_E_CANCELLED);
        assert_non_null(strstr(warned[0], "will begin anew"));
        assert_non_null(strstr(warned[0], "is in use by another process or context"));
        end_ranks(&all);
        assert_int_equal(begun[0], BATCH);
    }
    assert_int_equal(size_of(rows_left(0, 1)), size);
    mgi_writer_leave(&other, false);
    w.stopped = -1;
    strcpy(w.where, "k");
    run_to(w, 1, MGEN_OK);
    assert_true(begun[0] > BATCH);
    assert_only_kept();
    mgi_context_free(own);
    forget();
}

/* Where nobody can be kept from writing into it, too, there is no file: another's rows would be between. */
static void test_no_locks(void **state)
{
    (void)state;
    way w = {false, 0, -1, -1, false, fresh++};
    run_to(w, 1, MGEN_OK);
    w.has_cache = RANKS;
    w.stopped = 0;
    no_locks = true;
    for (int ends = 0; ends < 2; ends++) {
        run_to(w, 1, ends ? MGEN_OK : MGEN_E_CANCELLED);
        assert_int_equal(begun[0], BATCH);
        assert_non_null(strstr(warned[0], "will begin anew: cannot lock"));
        assert_string_equal(rows_left(0, 1), "");
        w.stopped = -1;
        strcpy(w.where, "k");
    }
    no_locks = false;
    assert_only_kept();
    forget();
}

/* Who encodes clips has their rows although another process removes the file, as whoever tidies the folder does, or a training that
 * kept the same clips once did; and who has kept them leaves the file of one that encodes them still. */
static void test_rows_gone(void **state)
{
    (void)state;
    mgen_context *own = make_context();
    mgi_writer other;
    for (int size = 1; size <= 3; size += 2) {
        way w = {false, 0, -1, -1, false, fresh++};
        run_to(w, 1, MGEN_OK);
        w.has_cache = RANKS;
        w.gone = true;
        strcpy(w.where, size == 1 ? "k" : "kmm");
        run_to(w, size, MGEN_OK);
        assert_int_equal(sum_encoded(size), truth.clips + truth.held);
        assert_only_kept();
        forget();
    }
    way w = {false, 0, -1, -1, false, fresh++};
    run_to(w, 1, MGEN_OK);
    w.has_cache = RANKS;
    w.stopped = 0;
    run_to(w, 1, MGEN_E_CANCELLED);
    assert_int_equal(mgi_writer_append(own, rows_left(0, 1), &other), MGEN_OK);
    w.stopped = -1;
    strcpy(w.where, "k");
    for (int again = 0; again < 2; again++) {
        run_to(w, 1, MGEN_OK);
        assert_int_equal(begun[0], again ? 0 : BATCH);
        assert_true(*rows_left(0, 1));
    }
    mgi_writer_leave(&other, false);
    run_to(w, 1, MGEN_OK);
    assert_only_kept();
    mgi_context_free(own);
    forget();
}

/* Another number of ranks begins anew, and what the others have left goes when all are kept. */
static void test_other_ranks(void **state)
{
    (void)state;
    way w = {false, 0, -1, -1, false, fresh++};
    run_to(w, 1, MGEN_OK);
    w.has_cache = RANKS;
    w.stopped = 0;
    run_to(w, 3, MGEN_E_CANCELLED);
    assert_true(*rows_left(0, 3) && *rows_left(2, 3));
    w.stopped = -1;
    run_to(w, 1, MGEN_OK);
    assert_int_equal(begun[0], BATCH);
    assert_only_kept();
    forget();
}

/* Where clips are all encoded and cannot be kept whole, they are read from the rows, which stay for the next time. */
static void test_not_kept(void **state)
{
    (void)state;
    way w = {false, 0, -1, -1, false, fresh++};
    char path[600];
    world all;
    run_to(w, 1, MGEN_OK);
    w.has_cache = RANKS;
    w.stopped = 0;
    run_to(w, 1, MGEN_E_CANCELLED);
    snprintf(path, sizeof path, "%s", rows_left(0, 1));
    strcpy(strstr(path, "-0of1.rows"), ".safetensors");
    assert_int_equal(mkdir(path, 0700), 0); /* in the way */
    w.stopped = -1;
    strcpy(w.where, "r");
    run_way(w, 1, &all);
    assert_all(&all, MGEN_OK);
    assert_non_null(strstr(warned[0], "the encoded clips are not kept"));
    end_ranks(&all);
    strcpy(w.where, "mmm"); /* those of several ranks likewise */
    run_to(w, 3, MGEN_OK);
    assert_int_equal(sum_encoded(3), truth.clips + truth.held);
    assert_int_equal(rmdir(path), 0);
    for (int size = 3; size > 0; size -= 2) {
        strcpy(w.where, size > 1 ? "kmm" : "k");
        run_to(w, size, MGEN_OK);
        assert_int_equal(sum_encoded(size), 0); /* none is encoded anew */
        assert_only_kept();
    }
    forget();
}

/* A disk that becomes full: few clips go on in memory, many, which may be more than that holds, end there, and go on once there is room. */
static void test_rows_full(void **state)
{
    (void)state;
    const struct rlimit some = {40000, RLIM_INFINITY};
    struct rlimit before;
    way w = {false, 0, -1, -1, false, fresh++};
    world all;
    run_to(w, 1, MGEN_OK);
    w.has_cache = RANKS;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (int many = 1; many >= 0; many--) {
        w.scratch = many;
        strcpy(w.where, many ? "" : "m");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &some), 0);
        run_way(w, 1, &all);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_all(&all, many ? MGEN_E_NO_SPACE : MGEN_OK);
        if (many)
            assert_says(&all.ranks[0], "cannot write");
        else
            assert_non_null(strstr(warned[0], "the encoded clips are not kept"));
        end_ranks(&all);
        assert_true(*rows_left(0, 1));
    }
    strcpy(w.where, "k");
    run_to(w, 1, MGEN_OK);
    assert_true(begun[0] > BATCH);
    assert_only_kept();
    forget();
}

/* Whichever allocation fails, memory is given back, and what is made is what it would have been: of clips some of which were encoded
 * before, others are encoded and all kept. */
static void test_memory(void **state)
{
    (void)state;
    way w = {false, 0, -1, -1, false, 16};
    char path[512], kept[512];
    static char rows[1 << 17];
    run_to(w, 1, MGEN_OK);
    w.has_cache = RANKS;
    w.stopped = 0;
    run_to(w, 1, MGEN_E_CANCELLED);
    snprintf(path, sizeof path, "%s", rows_left(0, 1));
    const off_t size = size_of(path);
    assert_in_range(size, 1, sizeof rows);
    snprintf(kept, sizeof kept, "%s", path);
    strcpy(strstr(kept, "-0of1.rows"), ".safetensors");
    FILE *f = fopen(path, "rb");
    assert_int_equal(fread(rows, 1, (size_t)size, f), size);
    fclose(f);
    failing memory = {.alone = true};
    int well = 0;
    for (int k = 1; !memory.fail_at || memory.calls >= memory.fail_at; k += 1 + k / 40) {
        mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
        mgi_tae_config config = tiny_autoencoder(1, 1).tae;
        mgen_context *c;
        mgi_dataset *ds = NULL;
        mgi_latents l;
        mgi_tae tae;
        params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
        params.threads = 2;
        memory.fail_at = 0;
        f = fopen(path, "wb");
        assert_int_equal(fwrite(rows, 1, (size_t)size, f), size);
        fclose(f);
        remove(kept);
        assert_int_equal(mgi_context_init(&c, &params), MGEN_OK);
        assert_int_equal(mgi_device_create(c, NULL), MGEN_OK);
        assert_int_equal(make_dataset(c, &ds), MGEN_OK);
        assert_int_equal(mgi_tae_init(&tae, c, &config), MGEN_OK);
        assert_int_equal(mgi_module_random(&tae.module, 1), MGEN_OK);
        const mgi_latents_request q = {.tae = &tae,
                                       .dataset = ds,
                                       .seed = 3,
                                       .frames = FRAMES,
                                       .clips = w.clips,
                                       .held = HELD,
                                       .cache_dir = folder};
        memory.calls = 0;
        memory.fail_at = k;
        const mgen_status status = mgi_latents_make(c, &q, &l);
        const int calls = memory.calls;
        memory.fail_at = 0;
        assert_true(status == MGEN_OK || (status == MGEN_E_NO_MEMORY && calls >= k));
        well += status == MGEN_OK && calls >= k;
        if (status == MGEN_OK) {
            assert_true(same_latents(c, &l, &truth));
            mgi_latents_free(c, &l);
        }
        mgi_tae_finish(&tae);
        mgi_dataset_release(ds);
        mgi_context_free(c);
        assert_int_equal(memory.blocks, 0);
        memory.fail_at = k;
        memory.calls = calls;
    }
    assert_true(well > 0); /* what cannot be kept is told, and no more */
    remove(path);
    forget();
}

/* Of small allocations of rank 1 of two, such as captions, each fails once: both end with that, or well. Clips drawn, the host's with
 * captions, and edits; encoded, and then sent from the first rank's cache. */
static void test_memory_of_a_rank(void **state)
{
    (void)state;
    world all;
    for (int kind = 0; kind < 3; kind++) {
        way w = {kind == 1, 0, -1, -1, kind == 2, 7 + kind};
        run_to(w, 1, MGEN_OK);
        for (int sent = 0; sent < 2; sent++) {
            w.has_cache = sent ? 0 : -1;
            w.fail_at = 0;
            if (sent)
                run_to(w, 1, MGEN_OK);
            do {
                w.fail_at += 1 + w.fail_at / 10;
                run_way(w, 2, &all);
                assert_all(&all, all.ranks[1].status);
                assert_true(all.ranks[0].status == MGEN_OK ||
                            all.ranks[0].status == MGEN_E_NO_MEMORY);
                end_ranks(&all);
            } while (small_calls >= w.fail_at);
            assert_true(w.fail_at > 2);
        }
        forget();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_on),    cmocka_unit_test(test_torn_rows),
        cmocka_unit_test(test_rows_taken), cmocka_unit_test(test_no_locks),
        cmocka_unit_test(test_rows_gone),  cmocka_unit_test(test_other_ranks),
        cmocka_unit_test(test_not_kept),   cmocka_unit_test(test_rows_full),
        cmocka_unit_test(test_memory),     cmocka_unit_test(test_memory_of_a_rank)};
    return cmocka_run_group_tests_name("kept clips", tests, make_folder, remove_folder);
}
