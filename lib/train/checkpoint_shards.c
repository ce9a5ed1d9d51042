/* SPDX-License-Identifier: MIT
 * Saving: what every rank writes, and in which order.
 *
 *   rank 0  makes the folder, opens the manifest's temporary file, by which others see that a save is under way, removes
 *           what saves left that were never published, and takes a number for this one
 *   all     find out who writes what: of ranks that have the same elements of a tensor, the lowest
 *   all     write and flush their shards, and tell how it went
 *   rank 0  writes the manifest over the one before, flushes, and removes the shards of that
 *
 * Only rank 0 publishes, when all have told that their shards are on the disk. */
#include "train/checkpoint_shards.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "core/quiet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 256 /* layouts about which ranks tell each other in one call */ };

/* What a rank has of a tensor. */
typedef struct holding {
    uint64_t hash; /* of its layout */
    int64_t elements;
} holding;

typedef struct saving {
    mgen_context *ctx;
    mgi_comm *comm; /* of all ranks, for the host's memory; NULL: one */
    int rank, ranks;
    const char *path;
    const mgi_stage_state *state;
    mgi_parts parts;
    bool *writes;           /* this rank, of each layout */
    holding *mine, *theirs; /* AT_ONCE of this rank, of each */
    mgi_manifest manifest;
    mgi_shard *reports;       /* of each rank; bytes 0: it writes nothing */
    mgi_writer file;          /* of rank 0: the manifest's */
    char before[MGI_SAVE_ID]; /* number of the save that is there, "": none */
} saving;

/* ---- the ranks ----------------------------------------------------------------------------------- */

/* `size` bytes of each rank, in order. */
static mgen_status gather(const saving *s, const char *what, const void *mine, void *all,
                          size_t size)
{
    if (!s->comm) {
        memcpy(all, mine, size);
        return MGEN_OK;
    }
    mgi_comm_note(s->comm, what, 0);
    return mgi_comm_all_gather(s->comm, MGK_U8, mine, all, (int64_t)size, NULL);
}

/* All ranks must be about to save the same. */
static mgen_status agree(const saving *s)
{
    char text[400];
    const mgi_head *h = &s->manifest.head;
    if (!s->comm)
        return MGEN_OK;
    snprintf(text, sizeof text, "step %s, recipe %.16s, seed %s, parent %s, '%.80s'",
             h->text[MGI_HEAD_STEP], h->text[MGI_HEAD_RECIPE], h->text[MGI_HEAD_SEED],
             h->text[MGI_HEAD_PARENT], s->path);
    return mgi_comm_agree(s->comm, "checkpoint", text);
}

static int compare_holdings(const void *a, const void *b)
{
    const holding *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* Of one layout: the lowest of ranks that have the same writes it; all together must have the whole. */
static mgen_status choose(saving *s, int64_t layout, holding *all)
{
    const holding mine = all[s->rank];
    int64_t sum = 0;
    s->writes[layout] = mine.elements > 0;
    for (int r = 0; r < s->rank; r++)
        if (all[r].hash == mine.hash && all[r].elements == mine.elements)
            s->writes[layout] = false;
    qsort(all, (size_t)s->ranks, sizeof *all, compare_holdings);
    for (int r = 0; r < s->ranks; r++)
        if (r == 0 || all[r].hash != all[r - 1].hash)
            sum += all[r].elements;
    return sum == s->parts.total[layout]
               ? MGEN_OK
               : mgi_fail(s->ctx, MGEN_E_INTERNAL,
                          "the ranks have %lld elements of a tensor that has %lld", (long long)sum,
                          (long long)s->parts.total[layout]);
}

static mgen_status choose_all(saving *s)
{
    holding *all = s->theirs + (size_t)AT_ONCE * (size_t)s->ranks;
    for (int64_t first = 0; first < s->parts.layouts; first += AT_ONCE) {
        int64_t n = s->parts.layouts - first < AT_ONCE ? s->parts.layouts - first : AT_ONCE;
        for (int64_t i = 0; i < n; i++) {
            const mgi_layout *l = &s->parts.layout[first + i];
            s->mine[i] = (holding){mgi_layout_hash(l), l->elements};
        }
        MGI_TRY(gather(s, "layouts", s->mine, s->theirs, (size_t)n * sizeof *s->mine));
        for (int64_t i = 0; i < n; i++) {
            for (int r = 0; r < s->ranks; r++)
                all[r] = s->theirs[r * n + i];
            MGI_TRY(choose(s, first + i, all));
        }
    }
    return MGEN_OK;
}

/* ---- the folder ---------------------------------------------------------------------------------- */

static bool begins_with(const char *name, const char *begin)
{
    return !strncmp(name, begin, strlen(begin));
}

/* A shard, or what became of writing one. */
static bool is_shard(const char *name)
{
    return strspn(name, "0123456789abcdef") == MGI_SAVE_ID - 1 && name[MGI_SAVE_ID - 1] == '-';
}

static void remove_file(const saving *s, const char *name)
{
    char path[MGI_PATH_MAX + 1];
    if (mgi_path_join(s->ctx, s->path, name, path, sizeof path) == MGEN_OK)
        mgi_path_discard(path);
}

/* Remove shards: those of one save, or all but those. What cannot be removed stays. */
static void remove_shards(const saving *s, const mgi_dir_file *files, int64_t count,
                          const char *save, bool others)
{
    for (int64_t i = 0; i < count; i++)
        if (is_shard(files[i].name) && begins_with(files[i].name, save) != others)
            remove_file(s, files[i].name);
}

static void remove_save(const saving *s, const char *save)
{
    mgi_dir_file *files;
    int64_t count;
    if (!*save || mgi_dir_list(s->ctx, s->path, &files, &count) != MGEN_OK)
        return;
    remove_shards(s, files, count, save, false);
    mgi_dir_free(s->ctx, files, count);
}

/* Manifests that others are about to write; those of processes that have ended go. */
static mgen_status refuse_others(const saving *s, const mgi_dir_file *files, int64_t count)
{
    const char *own = strrchr(s->file.temp, '/') + 1;
    char path[MGI_PATH_MAX + 1];
    for (int64_t i = 0; i < count; i++) {
        if (!begins_with(files[i].name, MGI_MANIFEST ".tmp.") || !strcmp(files[i].name, own))
            continue;
        MGI_TRY(mgi_path_join(s->ctx, s->path, files[i].name, path, sizeof path));
        if (mgi_path_locked(path))
            return mgi_fail(s->ctx, MGEN_E_IO,
                            "another process is saving to '%s' (or left %s there: remove it)",
                            s->path, files[i].name);
        mgi_path_discard(path);
    }
    return MGEN_OK;
}

/* What saves left that were not published; others must not be under way. */
static mgen_status tidy(saving *s)
{
    mgi_manifest before;
    mgi_dir_file *files;
    int64_t count;
    mgi_message said;
    mgi_quiet_begin(s->ctx, &said);
    mgen_status known = mgi_manifest_read(s->ctx, s->path, &before);
    mgi_quiet_end(s->ctx, &said, true);
    if (known == MGEN_OK) {
        memcpy(s->before, before.save, sizeof s->before);
        mgi_manifest_free(s->ctx, &before);
    }
    MGI_TRY(mgi_dir_list(s->ctx, s->path, &files, &count));
    mgen_status status = refuse_others(s, files, count);
    if (status == MGEN_OK && known == MGEN_OK)
        remove_shards(s, files, count, s->before, true);
    else if (status == MGEN_OK && known == MGEN_E_NOT_FOUND)
        remove_shards(s, files, count, "-", true); /* begins none: all */
    mgi_dir_free(s->ctx, files, count);
    return status;
}

/* A number that no other save has. */
static void take_number(saving *s)
{
    struct timespec now[2];
    clock_gettime(CLOCK_REALTIME, &now[0]);
    clock_gettime(CLOCK_MONOTONIC, &now[1]);
    const uint64_t from[] = {(uint64_t)now[0].tv_sec, (uint64_t)now[0].tv_nsec,
                             (uint64_t)now[1].tv_sec, (uint64_t)now[1].tv_nsec,
                             (uint64_t)getpid(),      (uint64_t)(uintptr_t)s};
    snprintf(s->manifest.save, MGI_SAVE_ID, "%016" PRIx64, mgi_hash64(from, sizeof from, 0));
}

static mgen_status begin_folder(saving *s)
{
    char path[MGI_PATH_MAX + 1];
    mgen_status status = mgi_dir_make(s->ctx, s->path);
    if (status == MGEN_E_INVALID)
        return mgi_fail_context(s->ctx, status, "the checkpoint of several ranks is a folder");
    MGI_TRY(status);
    MGI_TRY(mgi_path_join(s->ctx, s->path, MGI_MANIFEST, path, sizeof path));
    MGI_TRY(mgi_writer_open(s->ctx, path, &s->file));
    MGI_TRY(tidy(s));
    take_number(s);
    return MGEN_OK;
}

/* ---- a shard ------------------------------------------------------------------------------------- */

static void put_layout(mgi_json_writer *w, const mgi_part *p, const mgi_layout *l)
{
    mgi_json_open(w, p->name, '{');
    mgi_json_open(w, "dims", '[');
    for (int k = 0; k < p->rank; k++)
        mgi_json_put_int(w, NULL, p->dims[k]);
    mgi_json_close(w, ']');
    mgi_json_open(w, "ranges", '[');
    for (int64_t i = 0; i < l->ranges; i++) {
        const mgi_layout_range *r = &l->range[i];
        const int64_t numbers[] = {r->whole, r->count, r->stride, r->times};
        for (int k = 0; k < 4; k++)
            mgi_json_put_int(w, NULL, numbers[k]);
    }
    mgi_json_close(w, ']');
    mgi_json_close(w, '}');
}

/* The tensors that this rank writes, and where their elements stand in the whole. */
static int64_t list_sources(const saving *s, mgi_st_source *sources, mgi_json_writer *w)
{
    int64_t count = 0;
    mgi_json_open(w, NULL, '{');
    for (int64_t i = 0; i < s->parts.count; i++) {
        const mgi_part *p = &s->parts.part[i];
        const mgi_layout *l = &s->parts.layout[p->layout];
        if (!s->writes[p->layout])
            continue;
        put_layout(w, p, l);
        sources[count++] = (mgi_st_source){
            .name = p->name, .store = MGI_ST_F32, .rank = 1, .dims = {l->elements}, .data = p};
    }
    mgi_json_close(w, '}');
    return count;
}

static mgen_status write_file(saving *s, const mgi_st_source *sources, int64_t count,
                              const char *layout, mgi_shard *out)
{
    char rank[24], name[MGI_SHARD_NAME], path[MGI_PATH_MAX + 1];
    const char *text[MGI_SHARD_FIELDS] = {"moviegen-shard", "1",       s->manifest.save, rank,
                                          layout,           out->check};
    const char *metadata[2 * MGI_SHARD_FIELDS];
    uint64_t hash, bytes;
    snprintf(rank, sizeof rank, "%d", s->rank);
    MGI_TRY(mgi_parts_hash(s->ctx, sources, count, mgi_shard_hash(text), &hash));
    snprintf(out->check, sizeof out->check, "%016" PRIx64, hash);
    for (int i = 0; i < MGI_SHARD_FIELDS; i++) {
        metadata[2 * i] = mgi_shard_field[i];
        metadata[2 * i + 1] = text[i];
    }
    mgi_shard_name(s->manifest.save, s->rank, name);
    MGI_TRY(mgi_path_join(s->ctx, s->path, name, path, sizeof path));
    MGI_TRY(mgi_st_write_read(s->ctx, path, sources, count, metadata, MGI_SHARD_FIELDS,
                              mgi_part_values));
    MGI_TRY(mgi_file_size(s->ctx, s->path, name, &bytes));
    out->bytes = (int64_t)bytes;
    return MGEN_OK;
}

static mgen_status write_shard(saving *s, mgi_shard *out)
{
    mgi_json_writer w;
    mgi_st_source *sources;
    const char *layout;
    size_t size;
    *out = (mgi_shard){.rank = s->rank};
    MGI_TRY(mgi_alloc_zero(s->ctx, (size_t)s->parts.count, sizeof *sources, &sources));
    mgi_json_writer_init(&w, s->ctx, 0);
    int64_t count = list_sources(s, sources, &w);
    mgen_status status = mgi_json_text(&w, &layout, &size);
    if (status == MGEN_OK && count)
        status = write_file(s, sources, count, layout, out);
    mgi_json_writer_free(&w);
    mgi_free(s->ctx, sources);
    return status;
}

/* ---- all of it ----------------------------------------------------------------------------------- */

static mgen_status write_manifest(saving *s)
{
    mgi_json_writer w;
    const char *text;
    size_t size;
    mgi_manifest *m = &s->manifest;
    for (int r = 0; r < s->ranks; r++)
        if (s->reports[r].bytes)
            m->shard[m->shards++] = s->reports[r];
    mgi_json_writer_init(&w, s->ctx, 2);
    mgi_manifest_write(&w, m);
    mgen_status status = mgi_json_text(&w, &text, &size);
    if (status == MGEN_OK)
        status = mgi_writer_write(&s->file, text, size);
    if (status == MGEN_OK)
        status = mgi_writer_write(&s->file, "\n", 1);
    mgi_json_writer_free(&w);
    return status;
}

/* From the commit on, the new shards may be what a manifest names. */
static mgen_status publish(saving *s)
{
    mgen_status status = write_manifest(s);
    if (status != MGEN_OK) {
        remove_save(s, s->manifest.save);
        return status;
    }
    MGI_TRY(mgi_writer_commit(&s->file));
    remove_save(s, s->before);
    return MGEN_OK;
}

/* Room for all that is exchanged: later only writing can fail. */
static mgen_status prepare(saving *s)
{
    mgen_context *ctx = s->ctx;
    size_t ranks = (size_t)s->ranks;
    mgi_mesh_text(s->state->shape, s->manifest.mesh, sizeof s->manifest.mesh);
    MGI_TRY(mgi_head_make(ctx, s->state, &s->manifest.head));
    MGI_TRY(mgi_parts_list(ctx, s->state, &s->parts));
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)s->parts.layouts, sizeof *s->writes, &s->writes));
    MGI_TRY(mgi_alloc_zero(ctx, AT_ONCE, sizeof *s->mine, &s->mine));
    MGI_TRY(mgi_alloc_zero(ctx, (AT_ONCE + 1) * ranks, sizeof *s->theirs, &s->theirs));
    MGI_TRY(mgi_alloc_zero(ctx, ranks, sizeof *s->reports, &s->reports));
    return mgi_alloc_zero(ctx, ranks, sizeof *s->manifest.shard, &s->manifest.shard);
}

/* The number that rank 0 took. */
static mgen_status tell_number(saving *s)
{
    if (!s->comm)
        return MGEN_OK;
    mgi_comm_note(s->comm, "number of the save", 0);
    MGI_TRY(mgi_comm_broadcast(s->comm, MGK_U8, s->manifest.save, MGI_SAVE_ID, 0, NULL));
    s->manifest.save[MGI_SAVE_ID - 1] = '\0';
    if (strspn(s->manifest.save, "0123456789abcdef") != MGI_SAVE_ID - 1) /* it names a file */
        return mgi_fail(s->ctx, MGEN_E_DESYNC, "rank 0 tells '%s', which is no number of a save",
                        s->manifest.save);
    return MGEN_OK;
}

static mgen_status write_all(saving *s)
{
    mgi_shard mine;
    MGI_TRY(tell_number(s));
    MGI_TRY(choose_all(s));
    MGI_TRY(mgi_comm_together(s->comm, write_shard(s, &mine)));
    return gather(s, "shards", &mine, s->reports, sizeof mine);
}

static mgen_status save(saving *s)
{
    MGI_TRY(mgi_comm_together(s->comm, prepare(s)));
    MGI_TRY(agree(s));
    MGI_TRY(mgi_comm_together(s->comm, s->rank == 0 ? begin_folder(s) : MGEN_OK));
    mgen_status status = write_all(s);
    if (status != MGEN_OK) {
        if (s->rank == 0)
            remove_save(s, s->manifest.save);
        return status;
    }
    return mgi_comm_together(s->comm, s->rank == 0 ? publish(s) : MGEN_OK);
}

mgen_status mgi_shards_save(mgen_context *ctx, const mgi_stage_state *state, const char *path)
{
    saving s = {.ctx = ctx, .path = path, .state = state, .ranks = 1, .file = {.fd = -1}};
    if (state->world && mgi_comm_size(state->world) > 1) {
        s.comm = mgi_comm_host(state->world);
        s.rank = mgi_comm_rank(s.comm);
        s.ranks = mgi_comm_size(s.comm);
    }
    mgen_status status = save(&s);
    mgi_writer_abort(&s.file);
    mgi_manifest_free(ctx, &s.manifest);
    mgi_parts_free(ctx, &s.parts);
    mgi_free(ctx, s.writes);
    mgi_free(ctx, s.mine);
    mgi_free(ctx, s.theirs);
    mgi_free(ctx, s.reports);
    return status;
}
