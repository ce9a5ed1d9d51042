/* SPDX-License-Identifier: MIT
 * Checkpoints of several ranks: resharded, overwritten, damaged, with ranks that fail at every call, and killed.
 * MOVIEGEN_DIST=1 runs what takes its time, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mpi_launch.h"
#include "shard_ranks.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/mgi-shards-XXXXXX";

/* It costs milliseconds, and this disk fails when it is told to: at the call after so many. */
static _Atomic int flushes_left = INT_MAX;

int fsync(int fd)
{
    (void)fd;
    if (atomic_fetch_sub(&flushes_left, 1) != 0)
        return 0;
    errno = EIO;
    return -1;
}

static const char *in_folder(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void assert_all_well(const shard_job *job)
{
    shard_rank ranks[SHARD_RANKS_MAX];
    shard_run(job, ranks);
    for (int i = 0; i < shard_count(job); i++) {
        if (ranks[i].status != MGEN_OK || ranks[i].wrong)
            fail_msg("rank %d of %d x %d x %d: %lld elements are wrong: %s", i, job->shape.dp,
                     job->shape.cp, job->shape.tp, (long long)ranks[i].wrong, ranks[i].said);
    }
}

static void save_on(mgi_mesh_shape shape, int64_t save, const char *to)
{
    assert_all_well(&(shard_job){.shape = shape, .body = shard_pass_on, .save = save, .to = to});
}

static void load_on(mgi_mesh_shape shape, int64_t save, const char *from)
{
    assert_all_well(
        &(shard_job){.shape = shape, .body = shard_pass_on, .save = save, .from = from});
}

static int64_t count_files(const char *path)
{
    mgen_context *ctx = shard_context();
    mgi_dir_file *files;
    int64_t count;
    assert_int_equal(mgi_dir_list(ctx, path, &files, &count), MGEN_OK);
    mgi_dir_free(ctx, files, count);
    mgi_context_free(ctx);
    return count;
}

static char *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*size + 1);
    assert_int_equal(fread(data, 1, *size, f), *size);
    data[*size] = 0;
    fclose(f);
    return data;
}

/* ---- resharding ----------------------------------------------------------------------------------- */

/* From one mesh to the next, in the end to one rank: the same file as in the beginning. */
static void test_reshard(void **state)
{
    static const mgi_mesh_shape shapes[] = {{1, 1, 1},    {1, 1, 8},    {2, 2, 2},    {8, 1, 1},
                                            {8, 1, 1, 8}, {1, 2, 4, 2}, {2, 2, 2, 4}, {3, 1, 2, 3},
                                            {4, 2, 1, 4}, {2, 2, 2, 2}, {1, 1, 1}};
    enum { SHAPES = sizeof shapes / sizeof shapes[0] };
    char names[SHAPES][128];
    size_t sizes[2];
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        snprintf(names[i], sizeof names[i], "%s/reshard-%d", folder, i);
        assert_all_well(&(shard_job){.shape = shapes[i],
                                     .body = shard_pass_on,
                                     .save = 5,
                                     .from = i ? names[i - 1] : NULL,
                                     .to = names[i]});
    }
    char *first = read_file(names[0], &sizes[0]), *last = read_file(names[SHAPES - 1], &sizes[1]);
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(first, last, sizes[0]);
    free(first);
    free(last);
    assert_int_equal(count_files(names[1]), 1 + 8);
    assert_int_equal(count_files(names[2]), 1 + 2); /* of equal copies the lowest rank writes one */
    assert_int_equal(count_files(names[3]), 1 + 1);
    assert_int_equal(count_files(names[8]), 1 + 4);
    for (int i = 1; i < SHAPES - 1; i++)
        load_on((mgi_mesh_shape){2, 1, 4}, 5, names[i]);
}

/* One over another, by as many ranks and by others; and by one, which keeps the form that is there. */
static void test_overwrite(void **state)
{
    static const mgi_mesh_shape shapes[] = {{1, 1, 4}, {1, 1, 4}, {2, 1, 2}, {1, 1, 1}, {1, 1, 8}};
    static const int64_t files[] = {5, 5, 3, 2, 9};
    const char *path = in_folder("overwrite");
    (void)state;
    for (int i = 0; i < 5; i++) {
        save_on(shapes[i], i + 1, path);
        assert_int_equal(count_files(path), files[i]);
        load_on((mgi_mesh_shape){1, 1, 1}, i + 1, path);
    }
}

static void put_file(const char *path, const char *name, const char *text)
{
    char file[512];
    snprintf(file, sizeof file, "%s/%s", path, name);
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* What saves left that were killed goes with the next; what others put there stays. */
static void test_leftovers(void **state)
{
    const char *path = in_folder("leftovers");
    (void)state;
    assert_int_equal(mkdir(path, 0777), 0);
    put_file(path, "0123456789abcdef-0.safetensors", "");
    save_on((mgi_mesh_shape){1, 1, 2}, 1, path);
    assert_int_equal(count_files(path), 3);
    put_file(path, "0123456789abcdef-1.safetensors.tmp.77", "");
    put_file(path, "fedcba9876543210-1.safetensors", "");
    put_file(path, "checkpoint.json.tmp.1", "");
    put_file(path, "notes-1.safetensors", "");
    save_on((mgi_mesh_shape){1, 1, 2}, 2, path);
    assert_int_equal(count_files(path), 4);
    load_on((mgi_mesh_shape){1, 1, 1}, 2, path);
}

static void assert_all_fail(const shard_job *job, mgen_status status, const char *said)
{
    shard_rank ranks[SHARD_RANKS_MAX];
    shard_run(job, ranks);
    for (int i = 0; i < shard_count(job); i++)
        if (ranks[i].status != status || !strstr(ranks[i].said, said))
            fail_msg("rank %d: %s: '%s' does not say '%s'", i, mgen_status_name(ranks[i].status),
                     ranks[i].said, said);
}

/* A file where a folder must be, nothing, an empty folder, another process that saves. */
static void test_refused(void **state)
{
    const char *file = in_folder("file"), *path = in_folder("refused");
    shard_job job = {.shape = {1, 1, 4}, .body = shard_pass_on, .save = 1, .to = file};
    mgen_context *ctx = shard_context();
    mgi_writer other;
    char manifest[256];
    (void)state;
    save_on((mgi_mesh_shape){1, 1, 1}, 3, file);
    assert_all_fail(&job, MGEN_E_INVALID, "the checkpoint of several ranks is a folder");
    load_on((mgi_mesh_shape){1, 1, 4}, 3, file);
    job = (shard_job){.shape = {1, 1, 4}, .body = shard_pass_on, .from = in_folder("nothing")};
    assert_all_fail(&job, MGEN_E_NOT_FOUND, "nothing");
    assert_int_equal(mkdir(path, 0777), 0);
    job.from = path;
    assert_all_fail(&job, MGEN_E_NOT_FOUND, "nothing was published in it");
    snprintf(manifest, sizeof manifest, "%s/checkpoint.json", path);
    assert_int_equal(mgi_writer_open(ctx, manifest, &other), MGEN_OK);
    job = (shard_job){.shape = {1, 1, 4}, .body = shard_pass_on, .save = 1, .to = path};
    assert_all_fail(&job, MGEN_E_IO, "another process is saving to");
    mgi_writer_abort(&other);
    save_on((mgi_mesh_shape){1, 1, 4}, 1, path);
    mgi_context_free(ctx);
}

/* ---- models --------------------------------------------------------------------------------------- */

enum { EXPORTED = 3 }; /* files: the first module, the other, the first again */

static mgen_status write_fake(struct mgi_stage_run *run, const char *dir)
{
    char path[512];
    static const mgi_st_dtype store[] = {MGI_ST_BF16, MGI_ST_F32, MGI_ST_F8};
    for (int i = 0; i < EXPORTED; i++) {
        snprintf(path, sizeof path, "%s/%d", dir, i);
        MGI_TRY(mgi_module_save(&run->module[i % 2], path, i % 2 == 0, store[i]));
    }
    return MGEN_OK;
}

static mgen_status shard_export(shard_rank *r)
{
    mgi_stage_state state;
    fake_visit(&r->run, r->job->save, true);
    fake_state(&r->run, &state);
    return mgi_stage_save(r->ctx, &state, r->job->to, write_fake, &r->run);
}

/* Files are those of one rank, byte for byte. */
static void test_export(void **state)
{
    static const mgi_mesh_shape shapes[] = {{1, 1, 1},    {1, 1, 8},    {2, 1, 2},
                                            {4, 1, 1, 4}, {2, 2, 2, 2}, {2, 1, 2, 2}};
    char name[48], *first[EXPORTED] = {0}, *next;
    size_t sizes[EXPORTED], size;
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        snprintf(name, sizeof name, "export-%zu", i);
        const char *path = in_folder(name);
        assert_all_well(
            &(shard_job){.shape = shapes[i], .body = shard_export, .save = 9, .to = path});
        assert_int_equal(count_files(path), EXPORTED);
        for (int k = 0; k < EXPORTED; k++) {
            snprintf(name, sizeof name, "export-%zu/%d", i, k);
            next = read_file(in_folder(name), &size);
            if (i == 0) {
                first[k] = next;
                sizes[k] = size;
                continue;
            }
            assert_int_equal(size, sizes[k]);
            assert_memory_equal(next, first[k], size);
            free(next);
        }
    }
    for (int k = 0; k < EXPORTED; k++)
        free(first[k]);
}

/* ---- ranks that fail ------------------------------------------------------------------------------ */

/* What is there is one save, whole; its number. */
static int64_t number_there(const char *path)
{
    mgen_context *ctx = shard_context();
    struct mgi_stage_run run;
    assert_int_equal(fake_make(ctx, NULL, NULL, &run), MGEN_OK);
    if (mgi_checkpoint_load(ctx, &fake_kind, &run, path) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    int64_t number = run.updated;
    assert_int_equal(fake_visit(&run, number, false), 0);
    fake_free(&run);
    mgi_context_free(ctx);
    return number;
}

/* At each call of the job, until there are no more: no rank's call ends well, and what is there is whole. */
static void fail_everywhere(shard_job job, fault what, int rank, int64_t before)
{
    shard_rank ranks[SHARD_RANKS_MAX];
    int count = shard_count(&job), at = 0;
    job.faulty = rank;
    for (;; at++) {
        fault now = what;
        now.at = at;
        job.fault = &now;
        shard_run(&job, ranks);
        if (now.calls <= now.at)
            break;
        for (int i = 0; i < count; i++)
            if (ranks[i].status == MGEN_OK)
                fail_msg("fault %d of rank %d in call %d: rank %d has not seen it", what.kind, rank,
                         at, i);
        if (before) {
            int64_t there = number_there(job.to);
            if (there != before && there != job.save)
                fail_msg("fault %d in call %d: save %lld is there", what.kind, at,
                         (long long)there);
            before = there;
        }
    }
    for (int i = 0; i < count; i++)
        if (ranks[i].status != MGEN_OK || at < 5)
            fail_msg("%d calls; rank %d: %s", at, i, ranks[i].said);
}

/* A rank tells pieces of a parameter that it has not, or rank 0 a number of a save that is none: a name with "../" in it. */
static void test_lies(void **state)
{
    (void)state;
    static const struct {
        fault lie;
        int rank;
        const char *says;
    } lies[] = {
        {{FAULT_WORD, .index = 0, .word = -1, .what = "layout of parameter"}, 1, ""},
        {{FAULT_WORD, .index = 0, .word = INT64_MAX, .what = "layout of parameter"}, 1, ""},
        {{FAULT_WORD, .index = 1, .word = -1, .what = "layout of parameter"}, 1, ""},
        {{FAULT_WORD, .index = 1, .word = INT64_MAX, .what = "layout of parameter"}, 1, ""},
        {{FAULT_WORD, .index = 3, .word = INT64_MAX, .what = "layout of parameter"}, 1, ""},
        {{FAULT_WORD, .index = 0, .word = 0x2e2e2f2e2e2f2e2e, .what = "number of the save"},
         0,
         "which is no number of a save"},
    };
    const char *path = in_folder("lies"), *models = in_folder("lies models");
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        shard_rank ranks[SHARD_RANKS_MAX];
        fault now = lies[i].lie;
        shard_job job = {.shape = {2, 1, 2, 2}, .save = 1, .fault = &now, .faulty = lies[i].rank};
        job.body = lies[i].rank ? shard_export : shard_pass_on;
        job.to = lies[i].rank ? models : path;
        shard_run(&job, ranks);
        for (int r = 0; r < shard_count(&job); r++)
            if (ranks[r].status != MGEN_E_DESYNC || !strstr(ranks[r].said, lies[i].says))
                fail_msg("lie %zu: rank %d ends with %s: '%s'", i, r,
                         mgen_status_name(ranks[r].status), ranks[r].said);
    }
}

static void test_faults(void **state)
{
    static const fault faults[] = {{.kind = FAULT_STATUS, .status = MGEN_E_PEER_LOST},
                                   {.kind = FAULT_COUNT}};
    const char *path = in_folder("faults"), *models = in_folder("fault models");
    shard_job job = {.shape = {2, 1, 2, 2}, .body = shard_pass_on, .to = path};
    (void)state;
    save_on((mgi_mesh_shape){2, 1, 2}, 1, path);
    for (int rank = 0; rank < 4; rank += 2) {
        for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
            job.save = number_there(path) + 1;
            fail_everywhere(job, faults[i], rank, job.save - 1);
            assert_int_equal(number_there(path), job.save);
        }
        job = (shard_job){.shape = job.shape, .body = shard_export, .save = 1, .to = models};
        fail_everywhere(job, faults[0], rank, 0);
        assert_int_equal(count_files(models), EXPORTED);
        job =
            (shard_job){.shape = job.shape, .body = shard_pass_on, .save = job.save, .from = path};
        job.save = number_there(path);
        fail_everywhere(job, faults[0], rank, 0);
        job = (shard_job){.shape = job.shape, .body = shard_pass_on, .to = path};
    }
    if (getenv("MOVIEGEN_DIST")) {
        _Atomic bool released = true;
        job.save = number_there(path) + 1;
        job.timeout_ms = 300;
        fail_everywhere(job, (fault){.kind = FAULT_SILENT, .released = &released}, 1, job.save - 1);
    }
}

/* The disk fails at each flush: every rank says so, with the number of the rank whose it was. */
static void test_disk(void **state)
{
    const char *path = in_folder("disk");
    shard_rank ranks[SHARD_RANKS_MAX];
    shard_job job = {.shape = {1, 1, 4}, .body = shard_pass_on, .save = 2, .to = path};
    int at = 0, told = 0;
    (void)state;
    save_on(job.shape, 1, path);
    for (;; at++) {
        atomic_store(&flushes_left, at);
        shard_run(&job, ranks);
        bool over = atomic_load(&flushes_left) >= 0;
        atomic_store(&flushes_left, INT_MAX);
        if (over)
            break;
        for (int i = 0; i < 4; i++) {
            assert_int_equal(ranks[i].status, MGEN_E_IO);
            told += strstr(ranks[i].said, "rank ") != NULL;
        }
        assert_true(number_there(path) == 1 || at >= 9);
    }
    assert_int_equal(at, 4 * 2 + 2);
    assert_int_equal(told, 3 * at); /* the others */
    assert_int_equal(number_there(path), 2);
}

static mgen_status starve(shard_rank *r)
{
    if (r->index == 2) {
        fake_visit(&r->run, 2, true);
        r->ctx->heap->max = r->ctx->heap->now + (uint64_t)r->job->save;
    }
    return shard_pass_on(r);
}

/* One rank lacks memory. */
static void test_memory(void **state)
{
    const char *path = in_folder("memory");
    shard_rank ranks[SHARD_RANKS_MAX];
    int64_t room = 1;
    (void)state;
    save_on((mgi_mesh_shape){1, 1, 4}, 1, path);
    for (;; room *= 3) {
        const shard_job job = {.shape = {1, 1, 4}, .body = starve, .save = room, .to = path};
        shard_run(&job, ranks);
        if (ranks[0].status == MGEN_OK)
            break;
        assert_int_equal(ranks[2].status, MGEN_E_LIMIT);
        for (int i = 0; i < 4; i++) /* without room to say so, it breaks the world */
            assert_int_equal(ranks[i].status,
                             i == 2 || room > 1000 ? MGEN_E_LIMIT : MGEN_E_PEER_LOST);
        assert_int_equal(number_there(path), 1);
    }
    assert_true(room > 10000);
    assert_int_equal(number_there(path), room);
}

/* ---- killed, and read all the while --------------------------------------------------------------- */

/* Saves one number after the other, and tells when each is there. */
static int acknowledge[2];

static mgen_status save_on_and_on(shard_rank *r)
{
    for (int64_t n = r->job->save; n < SHARD_STEPS; n++) {
        fake_visit(&r->run, n, true);
        MGI_TRY(mgi_checkpoint_save(r->ctx, &fake_kind, &r->run, r->job->to));
        if (r->index == 0 && write(acknowledge[1], &n, sizeof n) != sizeof n)
            return MGEN_E_IO;
    }
    return MGEN_OK;
}

/* All ranks are killed at once, at random moments. */
static void test_kills(void **state)
{
    const char *path = in_folder("kills");
    const int kills = getenv("MOVIEGEN_DIST") ? 500 : 10;
    int64_t there = 1, told = 1;
    (void)state;
    save_on((mgi_mesh_shape){2, 1, 2, 2}, 1, path);
    srand(1);
    for (int i = 0; i < kills; i++) {
        assert_int_equal(pipe(acknowledge), 0);
        pid_t pid = fork();
        if (pid == 0) {
            shard_rank ranks[SHARD_RANKS_MAX];
            shard_run(&(shard_job){.shape = {2, 1, 2, i % 2 ? 2 : 1},
                                   .body = save_on_and_on,
                                   .save = there + 1,
                                   .to = path},
                      ranks);
            _exit(1);
        }
        assert_true(pid > 0);
        close(acknowledge[1]);
        bool begun = read(acknowledge[0], &told, sizeof told) == sizeof told;
        assert_true(begun);
        sleep_ms(rand() % 20);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (read(acknowledge[0], &told, sizeof told) == sizeof told)
            continue;
        close(acknowledge[0]);
        there = number_there(path);
        if (there != told && there != told + 1)
            fail_msg("kill %d: save %lld was told of, %lld is there", i, (long long)told,
                     (long long)there);
    }
    save_on((mgi_mesh_shape){2, 1, 2}, there + 1, path);
    assert_int_equal(count_files(path), 3); /* nothing is left over */
}

static mgen_status save_many(shard_rank *r)
{
    for (int64_t n = 2; n < 60; n++) {
        fake_visit(&r->run, n, true);
        MGI_TRY(mgi_checkpoint_save(r->ctx, &fake_kind, &r->run, r->job->to));
        sleep_ms(2); /* or a slow reader never gets through */
    }
    return MGEN_OK;
}

static void *save_many_main(void *arg)
{
    shard_run(arg, (shard_rank[SHARD_RANKS_MAX]){{0}});
    return NULL;
}

/* Read again and again while ranks save: each time it is one save, and never an older one. */
static void test_read_meanwhile(void **state)
{
    static char path[128]; /* a test that fails leaves the thread behind */
    static shard_job job = {.shape = {1, 1, 2}, .body = save_many, .to = path};
    int64_t last = 1;
    pthread_t saver;
    (void)state;
    strcpy(path, in_folder("meanwhile"));
    save_on(job.shape, 1, path);
    assert_int_equal(pthread_create(&saver, NULL, save_many_main, &job), 0);
    while (last < 59) {
        int64_t now = number_there(path);
        assert_true(now >= last);
        last = now;
    }
    pthread_join(saver, NULL);
}

/* ---- ranks that are processes --------------------------------------------------------------------- */

static void *die(void *ms)
{
    sleep_ms(*(int *)ms);
    kill(getpid(), SIGKILL);
    return NULL;
}

/* One of four, which goes on from what is there and saves on; one of them is killed meanwhile. */
static mgen_status rank_saves(shard_rank *r, int dice, int64_t *told)
{
    static int delay;
    pthread_t killer;
    const char *path = getenv("SHARDS_PATH");
    mgi_comm *world;
    MGI_TRY(mgi_comm_mpi_create(r->ctx, 5000, &world));
    r->index = mgi_comm_rank(world);
    const mgi_mesh_shape shape = {2, 1, 2, dice % 3 ? 2 : 1};
    MGI_TRY(mgi_mesh_create(world, shape, &r->mesh));
    MGI_TRY(fake_make(r->ctx, world, &r->mesh, &r->run));
    MGI_TRY(mgi_checkpoint_load(r->ctx, &fake_kind, &r->run, path));
    if (fake_visit(&r->run, r->run.updated, false))
        return mgi_fail(r->ctx, MGEN_E_INTERNAL, "what was loaded is not one save");
    srand((unsigned)dice);
    delay = rand() % 300;
    if (rand() % 4 == r->index && pthread_create(&killer, NULL, die, &delay))
        return MGEN_E_INTERNAL;
    for (*told = r->run.updated;; ++*told) {
        fake_visit(&r->run, *told + 1, true);
        MGI_TRY(mgi_checkpoint_save(r->ctx, &fake_kind, &r->run, path));
    }
}

static int rank_main(const char *what)
{
    shard_rank r = {.ctx = shard_context()};
    int64_t told = 0;
    if (!r.ctx)
        return 1;
    mgen_status status = rank_saves(&r, atoi(what), &told);
    printf("rank %d: %lld saved, then %s: %s\n", r.index, (long long)told, mgen_status_name(status),
           mgen_last_error(r.ctx));
    fflush(stdout);
    _exit(0); /* MPI would wait for the one that is gone */
}

static void test_killed_ranks(void **state)
{
    const char *path = in_folder("processes");
    const int kills = 200;
    (void)state;
    if (!getenv("MOVIEGEN_DIST"))
        return;
    need_mpi();
    save_on((mgi_mesh_shape){1, 1, 2}, 1, path);
    assert_int_equal(setenv("SHARDS_PATH", path, 1), 0);
    for (int i = 1; i <= kills; i++) {
        char dice[16];
        int survivors = 0;
        int64_t told = 0, there;
        snprintf(dice, sizeof dice, "%d", i);
        launch(4, dice);
        for (const char *at = output; (at = strstr(at, "rank ")); at++) {
            long long number;
            char status[32];
            if (sscanf(at, "rank %*d: %lld saved, then %31[A-Z_]", &number, status) != 2)
                continue;
            assert_said(atoi(at + 5), strstr(status, "TIMEOUT") ? "did not arrive" : "PEER_LOST");
            survivors++;
            told = number > told ? number : told;
        }
        there = number_there(path);
        if (survivors != 3 || (there != told && there != told + 1))
            fail_msg("kill %d: save %lld is there: %s", i, (long long)there, output);
    }
}

/* ---- training that goes on ------------------------------------------------------------------------ */

enum { STEPS = 3 };

typedef struct training {
    mgi_mesh_shape shape;
    int cp; /* MGI_CP_* */
} training;

/* Everything that this rank has. */
static uint64_t hash_of(struct mgi_stage_run *run)
{
    mgi_stage_state s;
    uint64_t hash = 0;
    mgi_stage_text_to_video.state(run, &s);
    for (int i = 0; i < s.modules; i++)
        for (int64_t k = 0; k < s.module[i]->count; k++) {
            const mgi_param *p = s.module[i]->params[k];
            mgi_tensor *const tensors[] = {p->value, p->m, p->v, p->ema};
            for (int j = 0; j < 4 && p->value->count; j++)
                hash =
                    mgi_hash64(mgi_f32(tensors[j]), (size_t)p->value->count * sizeof(float), hash);
        }
    hash = mgi_hash64(mgi_f32(s.optimizer->control), MGK_CONTROL_COUNT * sizeof(float), hash);
    return mgi_hash64(s.position, sizeof *s.position, hash);
}

static mgen_status begin_training(shard_rank *r, struct mgi_stage_run **out)
{
    const training *t = r->job->user;
    mgi_stage stage = tiny_text_to_video(STEPS, 4);
    mgi_stage_state s;
    stage.images = -1.0;
    stage.bucket_count = 1;
    stage.bucket[0] = (mgi_bucket){.width = 64, .height = 64, .frames = 9, .weight = 1.0};
    stage.optimizer.lr = 0.1; /* the head is 0 at first: then there are gradients behind it */
    MGI_TRY(mgi_stage_text_to_video.create(r->ctx,
                                           &(mgi_stage_params){.stage = &stage,
                                                               .dir = folder,
                                                               .seed = 5,
                                                               .cache_dir = folder,
                                                               .comm = r->mesh.group[MGI_AXIS_DP],
                                                               .mesh = &r->mesh},
                                           out));
    mgi_stage_text_to_video.state(*out, &s);
    mgi_vt *video = (mgi_vt *)(void *)((char *)s.module[s.modules - 1] - offsetof(mgi_vt, module));
    video->cp = t->cp;
    return MGEN_OK;
}

/* Steps on, of a run that begins where the checkpoint was left, if there is one. */
static mgen_status train(shard_rank *r, const char *from, int64_t first, int64_t end,
                         const char *to)
{
    const struct mgi_stage_kind *kind = &mgi_stage_text_to_video;
    struct mgi_stage_run *run;
    MGI_TRY(begin_training(r, &run));
    mgen_status status = from ? mgi_checkpoint_load(r->ctx, kind, run, from) : MGEN_OK;
    for (int64_t i = first; i < end && status == MGEN_OK; i++)
        status = kind->step(run, i, NULL);
    if (status == MGEN_OK && to)
        status = mgi_checkpoint_save(r->ctx, kind, run, to);
    r->hash = hash_of(run);
    kind->destroy(run);
    return status;
}

/* Without a break, and with one after each step. */
static mgen_status train_twice(shard_rank *r)
{
    const char *path = r->job->to;
    MGI_TRY(train(r, NULL, 0, STEPS, NULL));
    uint64_t straight = r->hash;
    MGI_TRY(train(r, NULL, 0, 0, path));
    for (int64_t i = 0; i < STEPS; i++)
        MGI_TRY(train(r, path, i, i + 1, path));
    r->wrong = r->hash != straight;
    return MGEN_OK;
}

static void save_autoencoder(void)
{
    mgen_context *ctx = shard_context();
    struct mgi_stage_run *run;
    const mgi_stage stage = tiny_autoencoder(1, 1);
    assert_int_equal(mgi_stage_autoencoder.create(
                         ctx, &(mgi_stage_params){.stage = &stage, .dir = folder, .seed = 5}, &run),
                     MGEN_OK);
    assert_int_equal(mgi_stage_autoencoder.save(run), MGEN_OK);
    mgi_stage_autoencoder.destroy(run);
    mgi_context_free(ctx);
}

static void test_training(void **state)
{
    static const training ways[] = {{{2, 1, 2, 2}, MGI_CP_GATHER}, {{2, 1, 1}, MGI_CP_GATHER},
                                    {{1, 1, 2}, MGI_CP_GATHER},    {{1, 2, 1}, MGI_CP_GATHER},
                                    {{1, 2, 1}, MGI_CP_EXCHANGE},  {{2, 1, 1, 2}, MGI_CP_GATHER},
                                    {{4, 1, 1, 2}, MGI_CP_GATHER}, {{2, 2, 1, 4}, MGI_CP_EXCHANGE},
                                    {{2, 2, 2, 2}, MGI_CP_GATHER}, {{2, 2, 2, 4}, MGI_CP_GATHER}};
    char name[32];
    (void)state;
    save_autoencoder();
    for (size_t i = 0; i < (getenv("MOVIEGEN_DIST") ? sizeof ways / sizeof ways[0] : 1); i++) {
        snprintf(name, sizeof name, "training-%zu", i);
        assert_all_well(&(shard_job){
            .shape = ways[i].shape, .body = train_twice, .to = in_folder(name), .user = &ways[i]});
    }
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reshard),        cmocka_unit_test(test_overwrite),
        cmocka_unit_test(test_leftovers),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_export),         cmocka_unit_test(test_lies),
        cmocka_unit_test(test_faults),         cmocka_unit_test(test_disk),
        cmocka_unit_test(test_memory),         cmocka_unit_test(test_kills),
        cmocka_unit_test(test_read_meanwhile), cmocka_unit_test(test_training),
        cmocka_unit_test(test_killed_ranks)};
    if (argc == 3 && !strcmp(argv[1], "--rank"))
        return rank_main(argv[2]);
    return cmocka_run_group_tests_name("shards", tests, make_folder, remove_folder);
}
