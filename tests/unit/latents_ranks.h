/* SPDX-License-Identifier: MIT
 * Clips encoded by ranks that are threads: how, what came out, and what the cache folder has then. */
#ifndef TESTS_UNIT_LATENTS_RANKS_H
#define TESTS_UNIT_LATENTS_RANKS_H

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
    int fail_at;      /* the small allocation of rank 1 that fails; 0: none */
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

static inline const char *rows_left(int rank, int size);

static inline mgen_status read_sample(void *user, uint64_t index, mgen_sample *sample)
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

static inline int32_t count_clips(void *user, const char *what, uint64_t done, uint64_t total)
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

static inline void note_warning(void *user, int32_t level, const char *text)
{
    const rank_state *s = user;
    if (level == MGEN_LOG_WARN)
        snprintf(warned[s->rank], sizeof warned[s->rank], "%s", text);
}

static inline mgen_status make_dataset(mgen_context *ctx, mgi_dataset **out)
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

static inline void compare(rank_state *s, const mgi_latents *l)
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

static inline void keep(mgen_context *ctx, const mgi_latents *l)
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

static inline void forget(void)
{
    for (int64_t i = 0; truth.captions && i < truth.clips + truth.held; i++)
        free(truth.captions[i]);
    free(truth.captions);
    free(truth.rows.values);
    free(truth.tasks);
    free(truth.black);
    memset(&truth, 0, sizeof truth);
}

static inline char where_of(const mgi_latents *l)
{
    return l->file.file ? 'k' : l->rows.file.open ? 'r' : l->rows.scratch ? 's' : 'm';
}

/* Small ones are counted alone: those of what ranks send each other, which break their group, are larger. */
static int small_calls, small_fails;

static inline void *alloc_small(void *user, size_t size)
{
    (void)user;
    return size < 256 && ++small_calls == small_fails ? NULL : malloc(size);
}

static inline void free_small(void *user, void *ptr, size_t size)
{
    (void)user, (void)size;
    free(ptr);
}

static inline mgen_status make_counted(const rank_state *s, const mgi_latents_request *q,
                                       mgi_latents *l)
{
    reads = q->cache_dir ? 0 : -1;
    if (now.fail_at && s->rank == 1) {
        s->ctx->heap->allocator = (mgen_allocator){alloc_small, free_small, NULL};
        small_calls = 0;
        small_fails = now.fail_at;
    }
    const mgen_status status = mgi_latents_make(s->ctx, q, l);
    if (s->rank == 1)
        small_fails = 0;
    if (q->cache_dir)
        read_most = reads;
    reads = -1;
    return status;
}

static inline void encode_rank(rank_state *s)
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

static inline void run_way(way w, int size, world *all)
{
    now = w;
    run_ranks(all, size, 60000, encode_rank);
}

static inline int64_t sum_encoded(int size)
{
    int64_t sum = 0;
    for (int r = 0; r < size; r++)
        sum += encoded[r];
    return sum;
}

/* No file but those that are kept whole. */
static inline void assert_only_kept(void)
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

/* The file of rows that a rank has left; "": none. */
static inline const char *rows_left(int rank, int size)
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

static inline off_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static inline void assert_all(const world *all, mgen_status status)
{
    for (int r = 0; r < all->size; r++)
        assert_int_equal(all->ranks[r].status, status);
}

/* From the first rank to the last, which all end so. */
static inline void run_to(way w, int size, mgen_status status)
{
    world all;
    run_way(w, size, &all);
    assert_all(&all, status);
    end_ranks(&all);
}

#endif
