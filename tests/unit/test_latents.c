/* SPDX-License-Identifier: MIT
 * Clips encoded by ranks, each its part: the bits of one rank, its captions and its failures; and by who goes on from what was
 * encoded before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "failing_memory.h"
#include "kept_latents.h"
#include "rank_threads.h"
#include "tensor/device.h"
#include "test_folder.h"
#include "tiny_stages.h"
#include "train/latents.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FRAMES = 9, SIDE = 48, CLIPS = 29, HELD = 9 };

/* What is encoded, and how. */
typedef struct way {
    bool host;     /* samples of the host, with captions; else drawn */
    int64_t tile;  /* frames of the TAE's tiles */
    int has_cache; /* the rank that has a cache folder; -1: none, RANKS: all */
    int stopped;   /* the rank whose progress callback stops it; -1: none */
    bool edits;    /* instead of clips */
    int64_t clips; /* 0: CLIPS */
    bool scratch;  /* of any size */
    char where
        [4]; /* of each rank's values: m in memory, k in the file that is kept, r in that of rows, s in scratch; "": not looked at */
    uint64_t stop_at; /* clips of a rank after which it stops; 0: half of them */
    bool gone;        /* others remove files of rows after the first clips */
} way;

/* The program's own system call takes the place of the C library's: one read of a rank fails. */
static _Thread_local int reads = -1; /* of this rank while it makes latents; -1: it does not */
static int read_most, fails;         /* most of a rank; the read that fails, 0: none */

ssize_t pread(int fd, void *out, size_t size, off_t at)
{
    if (reads >= 0 && ++reads == fails) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, out, size, at);
}

static way now;
static const char *cache_dir = folder;
static mgi_latents truth;
static int64_t encoded[RANKS],
    begun[RANKS];                /* clips of each rank, as it was told at last, and first */
static char warned[RANKS][1024]; /* of what last */

static const char *rows_left(int rank, int size);

static mgen_status read_sample(void *user, uint64_t index, mgen_sample *sample)
{
    (void)user;
    for (size_t i = 0; i < (size_t)sample->width * sample->height * sample->frames * 3; i++)
        sample->pixels[i] = (uint8_t)((index * 37 + i * (index % 7 + 1)) % 251);
    snprintf(sample->caption, sample->caption_size, "clip %d", (int)index);
    if (!sample->edited)
        return MGEN_OK;
    for (size_t i = 0; i < (size_t)sample->width * sample->height * sample->frames * 3; i++)
        sample->edited[i] = (uint8_t)(255 - sample->pixels[i]);
    snprintf(sample->instruction, sample->caption_size, "edit clip %d", (int)index);
    sample->edit_task = (uint32_t)(1 + index % 7);
    return MGEN_OK;
}

static int32_t count_clips(void *user, const char *what, uint64_t done, uint64_t total)
{
    const rank_state *s = user;
    (void)what;
    encoded[s->rank] = (int64_t)done;
    if (!begun[s->rank])
        begun[s->rank] = (int64_t)done;
    if (now.gone && begun[s->rank] == (int64_t)done)
        unlink(rows_left(s->rank, mgi_comm_size(s->comm)));
    return s->rank == now.stopped && (now.stop_at ? done >= now.stop_at : done * 2 > total);
}

static void note_warning(void *user, int32_t level, const char *text)
{
    const rank_state *s = user;
    if (level == MGEN_LOG_WARN)
        snprintf(warned[s->rank], sizeof warned[s->rank], "%s", text);
}

static mgen_status make_dataset(mgen_context *ctx, mgi_dataset **out)
{
    const mgi_world_options options = {.width = SIDE, .height = SIDE, .frames = 16, .scale = 1.0f};
    mgen_dataset_params host = MGEN_DATASET_PARAMS_INIT;
    host.width = host.height = SIDE;
    host.frames = 16;
    host.count = 60;
    host.read = read_sample;
    host.edits = now.edits;
    return now.host ? mgi_dataset_host(ctx, &host, out) : mgi_dataset_world(ctx, 5, &options, out);
}

static void compare(rank_state *s, const mgi_latents *l)
{
    const int64_t all = l->clips + l->held;
    CHECK(l->clips == truth.clips && l->held == truth.held && l->size == truth.size);
    CHECK(l->step == (now.edits ? 2 : 1) * l->size);
    CHECK(same_latents(s->ctx, l, &truth));
    CHECK(!l->captions == !(now.host || now.edits) && !l->tasks == !now.edits);
    CHECK(!l->black == !now.edits);
    for (int64_t i = 0; l->captions && i < all; i++)
        CHECK(!strcmp(l->captions[i], truth.captions[i]));
    for (int64_t i = 0; l->tasks && i < all; i++)
        CHECK(l->tasks[i] == truth.tasks[i]);
    CHECK(!l->black || !memcmp(l->black, truth.black, (size_t)l->size * sizeof *l->black));
}

static void keep(mgen_context *ctx, const mgi_latents *l)
{
    const int64_t all = l->clips + l->held;
    truth = *l;
    truth.rows = (mgi_rows){.size = l->step, .values = latents_values(ctx, l)};
    if (l->tasks) {
        truth.tasks = malloc((size_t)all * sizeof *l->tasks);
        memcpy(truth.tasks, l->tasks, (size_t)all * sizeof *l->tasks);
        truth.black = malloc((size_t)l->size * sizeof *l->black);
        memcpy(truth.black, l->black, (size_t)l->size * sizeof *l->black);
    }
    truth.captions = l->captions ? calloc((size_t)all, sizeof *truth.captions) : NULL;
    for (int64_t i = 0; truth.captions && i < all; i++)
        truth.captions[i] = strdup(l->captions[i]);
}

static void forget(void)
{
    for (int64_t i = 0; truth.captions && i < truth.clips + truth.held; i++)
        free(truth.captions[i]);
    free(truth.captions);
    free(truth.rows.values);
    free(truth.tasks);
    free(truth.black);
    memset(&truth, 0, sizeof truth);
}

static char where_of(const mgi_latents *l)
{
    return l->file.file ? 'k' : l->rows.file.open ? 'r' : l->rows.scratch ? 's' : 'm';
}

static mgen_status make_counted(const rank_state *s, const mgi_latents_request *q, mgi_latents *l)
{
    reads = q->cache_dir ? 0 : -1;
    const mgen_status status = mgi_latents_make(s->ctx, q, l);
    if (q->cache_dir)
        read_most = reads;
    reads = -1;
    return status;
}

static void encode_rank(rank_state *s)
{
    mgi_tae_config config = tiny_autoencoder(1, 1).tae;
    bool one = mgi_comm_size(s->comm) == 1;
    mgi_dataset *ds = NULL;
    mgi_latents l;
    mgi_tae tae;
    s->ctx->progress = count_clips;
    s->ctx->progress_user = s;
    s->ctx->log = note_warning;
    s->ctx->log_user = s;
    warned[s->rank][0] = '\0';
    config.tile_frames = now.tile;
    config.tile_overlap = now.tile / 2;
    CHECK(mgi_device_create(s->ctx, NULL) == MGEN_OK);
    CHECK(make_dataset(s->ctx, &ds) == MGEN_OK);
    CHECK(mgi_tae_init(&tae, s->ctx, &config) == MGEN_OK);
    CHECK(mgi_module_random(&tae.module, 1) == MGEN_OK);
    const mgi_edits edits = {.share = {1.0, 1.0, now.host ? 0.0 : 1.0, 1.0}, .fps_prefix = true};
    const mgi_latents_request q = {
        .tae = &tae,
        .dataset = ds,
        .seed = 3,
        .frames = FRAMES,
        .edits = now.edits ? &edits : NULL,
        .clips = now.clips ? now.clips : CLIPS,
        .held = HELD,
        .cache_dir = now.has_cache == RANKS || now.has_cache == s->rank ? cache_dir : NULL,
        .scratch_from = now.scratch,
        .ranks = s->comm};
    encoded[s->rank] = begun[s->rank] = 0;
    if (!s->wrong)
        s->status = make_counted(s, &q, &l);
    if (!s->wrong && s->status == MGEN_OK) {
        if (one && now.has_cache < 0) { /* the bits that all others must have */
            forget();
            keep(s->ctx, &l);
        }
        compare(s, &l);
        CHECK(!now.where[0] || where_of(&l) == now.where[s->rank]);
        mgi_latents_free(s->ctx, &l);
    }
    if (s->status != MGEN_OK)
        call_again(s);
    mgi_tae_finish(&tae);
    mgi_dataset_release(ds);
    s->ctx->device_destroy(s->ctx->device);
    s->ctx->device = NULL;
}

static void run_way(way w, int size, world *all)
{
    now = w;
    run_ranks(all, size, 60000, encode_rank);
}

static int64_t sum_encoded(int size)
{
    int64_t sum = 0;
    for (int r = 0; r < size; r++)
        sum += encoded[r];
    return sum;
}

/* Drawn; read from the host, with captions; in tiles, one by one; edits, and in tiles; both of the host's. */
static void test_shared(void **state)
{
    (void)state;
    static const way ways[] = {{false, 0, -1, -1},       {true, 0, -1, -1},
                               {false, 8, -1, -1},       {false, 0, -1, -1, true},
                               {false, 8, -1, -1, true}, {true, 0, -1, -1, true},
                               {true, 8, -1, -1, true}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        world all;
        run_way(ways[i], 1, &all);
        assert_int_equal(all.ranks[0].status, MGEN_OK);
        end_ranks(&all);
        int64_t total = truth.clips + truth.held;
        assert_int_equal(encoded[0], total);
        for (int size = 2; size <= 4; size += 2) {
            run_way(ways[i], size, &all);
            for (int r = 0; r < size; r++) {
                assert_int_equal(all.ranks[r].status, MGEN_OK);
                assert_in_range(encoded[r], 1, total * 2 / size);
            }
            end_ranks(&all);
            assert_int_equal(sum_encoded(size), total);
        }
        forget();
    }
}

/* The first rank keeps them; whoever has them sends them to the others. */
static void test_cache(void **state)
{
    (void)state;
    world all;
    static const int has[] = {RANKS, RANKS, 2, 0};
    for (int edits = 0; edits < 2; edits++) {
        run_way((way){false, 0, -1, -1, edits}, 1, &all);
        end_ranks(&all);
        for (size_t i = 0; i < sizeof has / sizeof has[0]; i++) {
            run_way((way){false, 0, has[i], -1, edits}, 4, &all);
            for (int r = 0; r < 4; r++)
                assert_int_equal(all.ranks[r].status, MGEN_OK);
            end_ranks(&all);
            assert_int_equal(sum_encoded(4), i ? 0 : truth.clips + truth.held);
        }
        forget();
    }
}

/* Who has them reads them for the others, until that fails: all are told, and are good for more. */
static void test_send_fails(void **state)
{
    (void)state;
    world all;
    const way w = {false, 0, 1, -1};
    run_way((way){false, 0, -1, -1}, 1, &all);
    end_ranks(&all);
    run_way((way){false, 0, 0, -1}, 1, &all); /* keeps them */
    end_ranks(&all);
    run_way(w, 3, &all);
    end_ranks(&all);
    const int most = read_most;
    for (fails = most; fails > most - 10; fails -= 9) {
        run_way(w, 3, &all);
        for (int r = 0; r < 3; r++) {
            assert_int_equal(all.ranks[r].status, MGEN_E_IO);
            assert_int_equal(all.ranks[r].later, MGEN_OK);
            assert_says(&all.ranks[r], "cannot read");
        }
        end_ranks(&all);
    }
    fails = 0;
    forget();
}

/* No file but those that are kept whole. */
static void assert_only_kept(void)
{
    DIR *d = opendir(folder);
    int others = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        others += strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
                  (strncmp(e->d_name, "latents-", 8) || !strstr(e->d_name, ".safetensors") ||
                   strstr(e->d_name, ".tmp"));
    closedir(d);
    assert_int_equal(others, 0);
}

enum { MANY = 100, BATCH = 7 /* clips of 9 frames that are encoded at a time */ };

/* What is kept is read from its file; what others sent, or what the host reads, stays in scratch; both are the bits that
 * lie in memory without a folder. */
static void test_where(void **state)
{
    (void)state;
    static const struct {
        way way;
        int ranks;
        bool encoded;
    } steps[] = {{{false, 0, -1, -1, false, MANY, true, "m"}, 1, true},
                 {{false, 0, 0, -1, false, MANY, false, "k"}, 1, true},
                 {{false, 0, 0, -1, false, MANY, true, "k"}, 1, false},
                 {{false, 0, 0, -1, false, MANY, true, "km"}, 2, false},
                 {{false, 0, RANKS, -1, false, MANY, true, "kk"}, 2, false},
                 {{false, 8, RANKS, -1, false, MANY, true, "ks"}, 2, true},
                 {{true, 0, RANKS, -1, false, MANY, false, "mm"}, 2, true},
                 {{true, 0, RANKS, -1, false, MANY, true, "ss"}, 2, true}};
    world all;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (steps[i].ranks > 1 && steps[i].encoded) {
            way alone = steps[i].way;
            alone.has_cache = -1;
            strcpy(alone.where, "m");
            run_way(alone, 1, &all);
            end_ranks(&all);
        }
        run_way(steps[i].way, steps[i].ranks, &all);
        for (int r = 0; r < steps[i].ranks; r++)
            assert_int_equal(all.ranks[r].status, MGEN_OK);
        end_ranks(&all);
        assert_int_equal(sum_encoded(steps[i].ranks) > 0, steps[i].encoded);
        assert_only_kept();
    }
}

/* Where no scratch file can be made, clips lie in memory. */
static void test_no_scratch(void **state)
{
    (void)state;
    const struct rlimit small = {4096, RLIM_INFINITY};
    struct rlimit before;
    char nowhere[200];
    world all;
    run_way((way){false, 0, -1, -1, false, 60, true, "m"}, 1, &all);
    end_ranks(&all);
    snprintf(nowhere, sizeof nowhere, "%s/none/cache", folder);
    cache_dir = nowhere;
    run_way((way){false, 0, RANKS, -1, false, 60, true, "mm"}, 2, &all);
    for (int r = 0; r < 2; r++)
        assert_int_equal(all.ranks[r].status, MGEN_OK);
    end_ranks(&all);
    cache_dir = folder;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    run_way((way){false, 0, RANKS, -1, false, 60, true, "mm"}, 2, &all);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    for (int r = 0; r < 2; r++)
        assert_int_equal(all.ranks[r].status, MGEN_OK);
    end_ranks(&all);
    run_way((way){false, 0, RANKS, -1, false, 60, true, "ks"}, 2,
            &all); /* what is left of that goes */
    end_ranks(&all);
    assert_only_kept();
    forget();
}

static int64_t fresh = CLIPS + 1; /* so many clips no test has kept: 30 to 47 */

/* The file of rows that a rank has left; "": none. */
static const char *rows_left(int rank, int size)
{
    static _Thread_local char path[512];
    char end[32];
    DIR *d = opendir(folder);
    snprintf(end, sizeof end, "-%dof%d.rows", rank, size);
    path[0] = '\0';
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strstr(e->d_name, end))
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    closedir(d);
    return path;
}

static off_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
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

static void assert_all(const world *all, mgen_status status)
{
    for (int r = 0; r < all->size; r++)
        assert_int_equal(all->ranks[r].status, status);
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
    world all;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        for (int size = 1; size <= (ways[i].stop_at ? 1 : 3); size += 2) {
            way w = ways[i];
            w.clips = fresh++ + (size > 1 ? MANY / 2 : 0); /* several batches a rank */
            w.has_cache = w.stopped = -1;
            run_way(w, 1, &all);
            end_ranks(&all);
            w.has_cache = RANKS;
            w.stopped = 0;
            run_way(w, size, &all);
            assert_all(&all, MGEN_E_CANCELLED);
            end_ranks(&all);
            const int64_t before = encoded[0];
            assert_true(*rows_left(0, size));
            w.stopped = -1;
            strcpy(w.where, size == 1 ? "k" : w.scratch ? "kss" : "kmm");
            run_way(w, size, &all);
            assert_all(&all, MGEN_OK);
            end_ranks(&all);
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
    world all;
    for (int fault = 0; fault < FAULTS; fault++) {
        w.clips = fresh++;
        w.has_cache = w.stopped = -1;
        run_way(w, 1, &all);
        end_ranks(&all);
        w.has_cache = RANKS;
        w.stopped = 0;
        w.stop_at = 28;
        run_way(w, 1, &all);
        assert_all(&all, MGEN_E_CANCELLED);
        end_ranks(&all);
        const char *path = rows_left(0, 1);
        const long row = (long)(truth.step * (int64_t)sizeof(float) + 8);
        assert_int_equal(size_of(path), 32 + 28 * row);
        if (fault == CUT || fault == EMPTY)
            assert_int_equal(truncate(path, fault == CUT ? 32 + 28 * row - 1 : 0), 0);
        if (fault == FLIP || fault == HEAD)
            flip(path, fault == FLIP ? 32 + 9 * row + 100 : 16);
        w.stopped = -1;
        run_way(w, 1, &all);
        assert_all(&all, MGEN_OK);
        end_ranks(&all);
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
    run_way(w, 1, &all);
    end_ranks(&all);
    w.has_cache = RANKS;
    w.stopped = 0;
    run_way(w, 1, &all);
    end_ranks(&all);
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
    run_way(w, 1, &all);
    assert_all(&all, MGEN_OK);
    end_ranks(&all);
    assert_true(begun[0] > BATCH);
    assert_only_kept();
    mgi_context_free(own);
    forget();
}

/* Who encodes clips has their rows although another process removes the file, as whoever tidies the folder does, or a training that
 * kept the same clips once did; and who has kept them leaves the file of one that encodes them still. */
static void test_rows_gone(void **state)
{
    (void)state;
    mgen_context *own = make_context();
    mgi_writer other;
    world all;
    for (int size = 1; size <= 3; size += 2) {
        way w = {false, 0, -1, -1, false, fresh++};
        run_way(w, 1, &all);
        end_ranks(&all);
        w.has_cache = RANKS;
        w.gone = true;
        strcpy(w.where, size == 1 ? "k" : "kmm");
        run_way(w, size, &all);
        assert_all(&all, MGEN_OK);
        end_ranks(&all);
        assert_int_equal(sum_encoded(size), truth.clips + truth.held);
        assert_only_kept();
        forget();
    }
    way w = {false, 0, -1, -1, false, fresh++};
    run_way(w, 1, &all);
    end_ranks(&all);
    w.has_cache = RANKS;
    w.stopped = 0;
    run_way(w, 1, &all);
    end_ranks(&all);
    assert_int_equal(mgi_writer_append(own, rows_left(0, 1), &other), MGEN_OK);
    w.stopped = -1;
    strcpy(w.where, "k");
    for (int again = 0; again < 2; again++) {
        run_way(w, 1, &all);
        assert_all(&all, MGEN_OK);
        end_ranks(&all);
        assert_int_equal(begun[0], again ? 0 : BATCH);
        assert_true(*rows_left(0, 1));
    }
    mgi_writer_leave(&other, false);
    run_way(w, 1, &all);
    assert_all(&all, MGEN_OK);
    end_ranks(&all);
    assert_only_kept();
    mgi_context_free(own);
    forget();
}

/* Another number of ranks begins anew, and what the others have left goes when all are kept. */
static void test_other_ranks(void **state)
{
    (void)state;
    way w = {false, 0, -1, -1, false, fresh++};
    world all;
    run_way(w, 1, &all);
    end_ranks(&all);
    w.has_cache = RANKS;
    w.stopped = 0;
    run_way(w, 3, &all);
    assert_all(&all, MGEN_E_CANCELLED);
    end_ranks(&all);
    assert_true(*rows_left(0, 3) && *rows_left(2, 3));
    w.stopped = -1;
    run_way(w, 1, &all);
    assert_all(&all, MGEN_OK);
    end_ranks(&all);
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
    run_way(w, 1, &all);
    end_ranks(&all);
    w.has_cache = RANKS;
    w.stopped = 0;
    run_way(w, 1, &all);
    end_ranks(&all);
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
    run_way(w, 3, &all);
    assert_all(&all, MGEN_OK);
    end_ranks(&all);
    assert_int_equal(sum_encoded(3), truth.clips + truth.held);
    assert_int_equal(rmdir(path), 0);
    for (int size = 3; size > 0; size -= 2) {
        strcpy(w.where, size > 1 ? "kmm" : "k");
        run_way(w, size, &all);
        assert_all(&all, MGEN_OK);
        end_ranks(&all);
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
    run_way(w, 1, &all);
    end_ranks(&all);
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
    run_way(w, 1, &all);
    assert_all(&all, MGEN_OK);
    end_ranks(&all);
    assert_true(begun[0] > BATCH);
    assert_only_kept();
    forget();
}

/* Whichever allocation fails, memory is given back, and what is made is what it would have been: of clips some of which were encoded
 * before, others are encoded and all kept. */
static void test_memory(void **state)
{
    (void)state;
    way w = {false, 0, -1, -1, false, fresh++};
    char path[512], kept[512];
    static char rows[1 << 17];
    world all;
    run_way(w, 1, &all);
    end_ranks(&all);
    w.has_cache = RANKS;
    w.stopped = 0;
    run_way(w, 1, &all);
    end_ranks(&all);
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

/* One that is stopped stops all, and they are good for more. */
static void test_stopped(void **state)
{
    (void)state;
    world all;
    run_way((way){false, 0, -1, 1}, 3, &all);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(all.ranks[r].status, MGEN_E_CANCELLED);
        assert_int_equal(all.ranks[r].later, MGEN_OK);
        if (r != 1)
            assert_says(&all.ranks[r], "rank 1: ");
    }
    end_ranks(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared),     cmocka_unit_test(test_cache),
        cmocka_unit_test(test_where),      cmocka_unit_test(test_no_scratch),
        cmocka_unit_test(test_send_fails), cmocka_unit_test(test_goes_on),
        cmocka_unit_test(test_torn_rows),  cmocka_unit_test(test_rows_taken),
        cmocka_unit_test(test_rows_gone),  cmocka_unit_test(test_other_ranks),
        cmocka_unit_test(test_not_kept),   cmocka_unit_test(test_rows_full),
        cmocka_unit_test(test_memory),     cmocka_unit_test(test_stopped)};
    return cmocka_run_group_tests_name("latents", tests, make_folder, remove_folder);
}
