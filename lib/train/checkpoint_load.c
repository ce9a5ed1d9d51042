/* SPDX-License-Identifier: MIT
 * Reading a checkpoint, of one rank or of several, onto any mesh.
 *
 * A rank opens the shards that have elements which it needs, and its share of all of them, whose hashes it checks. What
 * those hold is summed up over the ranks: the pieces of each tensor must make up the whole, once. Only when all ranks
 * have found nothing wrong are values changed, for which files stay open until then: of one that cannot be read any more, the run
 * has some values and not others, and is of no use. */
#include "core/alloc.h"
#include "core/hash.h"
#include "core/quiet.h"
#include "train/checkpoint_shards.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { AT_ONCE = 256, NUMBERS = 4 /* of a range */, WINDOW = 1 << 16 /* values */ };

/* A tensor of an open file. */
typedef struct stored {
    const mgi_part *part;
    mgi_layout layout;
} stored;

typedef struct opened {
    mgi_st_file st; /* entries NULL: not open */
    stored *tensor; /* of each entry */
    bool open;
} opened;

/* Of pieces: elements, and over all of them the hash of where each ends less that of where it begins. */
typedef struct sum {
    int64_t elements;
    uint64_t ends;
} sum;

typedef struct loading {
    mgen_context *ctx;
    mgi_comm *comm; /* of all ranks, for the host's memory; NULL: one */
    int rank, ranks;
    const char *path;
    const mgi_stage_state *state;
    mgi_parts parts;
    mgi_head ours;
    mgi_manifest manifest; /* of one file: with one shard, itself */
    opened *shard;
    int64_t open;                /* of them */
    char tried[MGI_HEAD_TEXT];   /* check of the manifest that was looked at before */
    int64_t step, wanted, found; /* elements of this rank: all, in open files */
    sum *mine, *theirs, *total;
} loading;

/* ---- where pieces end ---------------------------------------------------------------------------- */

static uint64_t place_hash(int64_t at)
{
    return mgi_hash64(&at, sizeof at, 0);
}

/* Pieces make up 0..n once if and only if each place but 0 and n ends as many as it begins, 0 begins one and n ends one:
 * then what is left of the hashes is that of n less that of 0. */
static void add_ends(sum *s, const mgi_layout *l)
{
    for (int64_t i = 0; i < l->ranges; i++) {
        const mgi_layout_range *r = &l->range[i];
        for (int64_t k = 0; k < r->times; k++) {
            int64_t from = r->whole + k * r->stride;
            s->ends += place_hash(from + r->count) - place_hash(from);
        }
    }
    s->elements += l->elements;
}

static mgen_status check_sum(const loading *l, const mgi_part *p, const sum *s)
{
    if (s->elements == 0)
        return mgi_fail(l->ctx, MGEN_E_CORRUPT, "lacks the tensor \"%s\"", p->name);
    if (s->elements != p->count)
        return mgi_fail(l->ctx, MGEN_E_CORRUPT,
                        "tensor \"%s\": its shards hold %lld elements of %lld", p->name,
                        (long long)s->elements, (long long)p->count);
    if (s->ends != place_hash(p->count) - place_hash(0))
        return mgi_fail(l->ctx, MGEN_E_CORRUPT,
                        "tensor \"%s\": some of its elements stand in two shards, others in none",
                        p->name);
    return MGEN_OK;
}

/* Over all ranks: the same answer on each. */
static mgen_status check_sums(loading *l)
{
    for (int64_t first = 0; first < l->parts.count; first += AT_ONCE) {
        int64_t n = l->parts.count - first < AT_ONCE ? l->parts.count - first : AT_ONCE;
        const sum *all = l->mine + first;
        if (l->comm) {
            mgi_comm_note(l->comm, "pieces", 0);
            MGI_TRY(mgi_comm_all_gather(l->comm, MGK_U8, l->mine + first, l->theirs,
                                        n * (int64_t)sizeof *l->mine, NULL));
            all = l->theirs;
        }
        for (int64_t i = 0; i < n; i++) {
            sum s = {0, 0};
            for (int r = 0; r < l->ranks; r++) {
                s.elements += all[r * n + i].elements;
                s.ends += all[r * n + i].ends;
            }
            MGI_TRY(check_sum(l, &l->parts.part[first + i], &s));
        }
    }
    return MGEN_OK;
}

/* ---- one file ------------------------------------------------------------------------------------ */

/* Takes in what is said of a tensor that is there. */
static void take_in(loading *l, stored *t, const mgi_part *p, bool mine)
{
    mgi_stretch s;
    int64_t at = 0;
    t->part = p;
    while (mgi_layout_next(&t->layout, &l->parts.layout[p->layout], &at, &s))
        l->found += s.count;
    if (mine)
        add_ends(&l->mine[p - l->parts.part], &t->layout);
}

static mgen_status check_hash(mgen_context *ctx, const mgi_st_file *st, uint64_t hash,
                              const char *check)
{
    char text[MGI_SAVE_ID];
    MGI_TRY(mgi_file_hash(ctx, st, &hash));
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    if (strcmp(text, check))
        return mgi_fail(
            ctx, MGEN_E_CORRUPT,
            "is damaged: what it holds does not have the hash that it gives; go on from "
            "an older one");
    return MGEN_OK;
}

static mgen_status check_parts(mgen_context *ctx, const mgi_st_file *st, const mgi_parts *parts)
{
    if (st->count != parts->count)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "has %lld tensors, not %lld", (long long)st->count,
                        (long long)parts->count);
    for (int64_t i = 0; i < parts->count; i++) {
        const mgi_part *p = &parts->part[i];
        const mgi_st_entry *e = &st->entries[i];
        if (strcmp(e->name, p->name))
            return mgi_fail(ctx, MGEN_E_CORRUPT, "lacks the tensor \"%s\"", p->name);
        if (e->dtype != MGI_ST_F32 || e->rank != p->rank ||
            memcmp(e->dims, p->dims, (size_t)p->rank * sizeof *p->dims))
            return mgi_fail(ctx, MGEN_E_CORRUPT, "tensor \"%s\" has another shape or dtype",
                            p->name);
    }
    return MGEN_OK;
}

static mgen_status check_step(loading *l)
{
    const mgi_head *h = &l->manifest.head;
    if (!mgi_head_number(h->text[MGI_HEAD_STEP], l->state->stage->steps, &l->step))
        return mgi_fail(l->ctx, MGEN_E_CORRUPT,
                        "its \"step\" is \"%s\", which is not within 0..%lld",
                        h->text[MGI_HEAD_STEP], (long long)l->state->stage->steps);
    return MGEN_OK;
}

static mgen_status open_st(loading *l, const char *dir, const char *name, opened *o)
{
    mgen_status status = mgi_st_open(l->ctx, dir, name, &o->st);
    if (status == MGEN_E_UNSUPPORTED)
        status = mgi_fail_context(l->ctx, MGEN_E_CORRUPT, "a dtype that no checkpoint has");
    MGI_TRY(status);
    o->open = true;
    return mgi_alloc_zero(l->ctx, (size_t)o->st.count, sizeof *o->tensor, &o->tensor);
}

static mgen_status check_single(loading *l, opened *o)
{
    mgi_head *h = &l->manifest.head;
    MGI_TRY(mgi_head_read(l->ctx, o->st.metadata, 0, h));
    if (l->rank == 0)
        MGI_TRY(check_hash(l->ctx, &o->st, mgi_head_hash(h), h->text[MGI_HEAD_CHECK]));
    MGI_TRY(mgi_head_fits(l->ctx, h, &l->ours));
    MGI_TRY(check_parts(l->ctx, &o->st, &l->parts));
    return check_step(l);
}

/* One rank's file: every tensor whole. */
static mgen_status open_single(loading *l)
{
    MGI_TRY(mgi_alloc_zero(l->ctx, 1, sizeof *l->shard, &l->shard));
    l->manifest.shards = 1;
    MGI_TRY(open_st(l, NULL, l->path, &l->shard[0]));
    MGI_TRY(check_single(l, &l->shard[0]));
    for (int64_t i = 0; i < l->parts.count; i++) {
        stored *t = &l->shard[0].tensor[i];
        const mgi_part *p = &l->parts.part[i];
        MGI_TRY(mgi_layout_init(&t->layout, l->ctx, NULL, NULL, p->count));
        take_in(l, t, p, l->rank == 0);
    }
    return MGEN_OK;
}

/* ---- shards -------------------------------------------------------------------------------------- */

static mgen_status read_texts(mgen_context *ctx, const mgi_json *metadata,
                              const char *text[MGI_SHARD_FIELDS])
{
    for (int i = 0; i < MGI_SHARD_FIELDS; i++) {
        const mgi_json *value = metadata ? mgi_json_find(metadata, mgi_shard_field[i]) : NULL;
        if (!value)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "is no shard: its \"%s\" is missing",
                            mgi_shard_field[i]);
        text[i] = value->s;
    }
    return metadata->i == MGI_SHARD_FIELDS
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT, "has metadata that no shard has");
}

/* It must be the one that the manifest means. */
static mgen_status check_texts(const loading *l, const mgi_shard *s, const opened *o,
                               const char *const text[MGI_SHARD_FIELDS])
{
    char rank[24];
    snprintf(rank, sizeof rank, "%" PRId64, s->rank);
    const char *const must[MGI_SHARD_FIELDS] = {
        "moviegen-shard", "1", l->manifest.save, rank, text[MGI_SHARD_LAYOUT], s->check};
    for (int i = 0; i < MGI_SHARD_FIELDS; i++)
        if (strcmp(text[i], must[i]))
            return mgi_fail(l->ctx, MGEN_E_CORRUPT,
                            "its \"%s\" is \"%.40s\", but the manifest's is \"%s\"",
                            mgi_shard_field[i], text[i], must[i]);
    const uint64_t bytes = mgi_reader_size(o->st.file);
    if ((uint64_t)s->bytes != bytes)
        return mgi_fail(l->ctx, MGEN_E_CORRUPT, "has %llu bytes, but in the manifest %lld",
                        (unsigned long long)bytes, (long long)s->bytes);
    return MGEN_OK;
}

static mgen_status check_dims(const loading *l, const mgi_part *p, const mgi_json *object)
{
    const mgi_json *dims = mgi_json_find(object, "dims");
    bool same = dims && dims->kind == MGI_JSON_ARRAY && dims->i == p->rank;
    const mgi_json *d = same ? dims->child : NULL;
    for (int k = 0; same && k < p->rank; k++, d = d->next)
        same = d->kind == MGI_JSON_INT && d->i == p->dims[k];
    return same ? MGEN_OK
                : mgi_fail(l->ctx, MGEN_E_CORRUPT, "tensor \"%s\" is of a whole of another shape",
                           p->name);
}

static mgen_status read_ranges(const loading *l, const mgi_json *object, const mgi_part *p,
                               mgi_layout *out)
{
    const mgi_json *list = mgi_json_find(object, "ranges");
    if (!list || list->kind != MGI_JSON_ARRAY || list->i < NUMBERS || list->i % NUMBERS)
        return mgi_fail(l->ctx, MGEN_E_CORRUPT,
                        "tensor \"%s\": its \"ranges\" must be a list of four numbers each",
                        p->name);
    if (list->i / NUMBERS > MGI_LAYOUT_RANGES_MAX)
        return mgi_fail(l->ctx, MGEN_E_CORRUPT, "tensor \"%s\": it has %lld ranges, more than %d",
                        p->name, (long long)(list->i / NUMBERS), MGI_LAYOUT_RANGES_MAX);
    MGI_TRY(mgi_alloc_zero(l->ctx, (size_t)(list->i / NUMBERS), sizeof *out->range, &out->range));
    out->ranges = list->i / NUMBERS;
    const mgi_json *n = list->child;
    for (int64_t i = 0; i < list->i; i++, n = n->next) {
        mgi_layout_range *r = &out->range[i / NUMBERS];
        int64_t *const number[NUMBERS] = {&r->whole, &r->count, &r->stride, &r->times};
        if (n->kind != MGI_JSON_INT || n->i < 0)
            return mgi_fail(l->ctx, MGEN_E_CORRUPT,
                            "tensor \"%s\": its \"ranges\" has what is no number", p->name);
        *number[i % NUMBERS] = n->i;
    }
    mgen_status status =
        mgi_layout_check(l->ctx, out->range, out->ranges, p->count, &out->elements);
    return status == MGEN_OK ? status : mgi_fail_context(l->ctx, status, "tensor \"%s\"", p->name);
}

static mgen_status take_tensor(loading *l, const mgi_st_entry *e, const mgi_json *layout, bool mine,
                               stored *out)
{
    static const char *const keys[] = {"dims", "ranges", NULL};
    const mgi_part *p = mgi_parts_find(&l->parts, e->name);
    const mgi_json *object = mgi_json_find(layout, e->name);
    if (!p)
        return mgi_fail(l->ctx, MGEN_E_CORRUPT,
                        "has the tensor \"%.200s\", which the stage has not", e->name);
    if (!object || object->kind != MGI_JSON_OBJECT)
        return mgi_fail(l->ctx, MGEN_E_CORRUPT, "does not say where \"%s\" stands", e->name);
    MGI_TRY(mgi_json_only_keys(l->ctx, object, keys));
    MGI_TRY(check_dims(l, p, object));
    MGI_TRY(read_ranges(l, object, p, &out->layout));
    if (e->dtype != MGI_ST_F32 || e->rank != 1 || e->dims[0] != out->layout.elements)
        return mgi_fail(l->ctx, MGEN_E_CORRUPT,
                        "tensor \"%s\" has another shape or dtype than its %lld elements", e->name,
                        (long long)out->layout.elements);
    take_in(l, out, p, mine);
    return MGEN_OK;
}

static mgen_status take_shard(loading *l, const mgi_shard *s, opened *o, bool mine)
{
    const char *text[MGI_SHARD_FIELDS];
    mgi_json *layout = NULL;
    MGI_TRY(read_texts(l->ctx, o->st.metadata, text));
    MGI_TRY(check_texts(l, s, o, text));
    if (mine)
        MGI_TRY(check_hash(l->ctx, &o->st, mgi_shard_hash(text), s->check));
    MGI_TRY(mgi_json_parse(l->ctx, "layout", text[MGI_SHARD_LAYOUT], strlen(text[MGI_SHARD_LAYOUT]),
                           &layout));
    mgen_status status = MGEN_OK;
    if (layout->kind != MGI_JSON_OBJECT || layout->i != o->st.count)
        status = mgi_fail(l->ctx, MGEN_E_CORRUPT, "its \"layout\" is not that of %lld tensors",
                          (long long)o->st.count);
    for (int64_t k = 0; k < o->st.count && status == MGEN_OK; k++)
        status = take_tensor(l, &o->st.entries[k], layout, mine, &o->tensor[k]);
    mgi_json_free(l->ctx, layout);
    return status;
}

/* AGAIN: it is gone, as when a newer save has just been published. */
static mgen_status open_shard(loading *l, int64_t i)
{
    const mgi_shard *s = &l->manifest.shard[i];
    opened *o = &l->shard[i];
    char name[MGI_SHARD_NAME];
    if (o->open)
        return MGEN_OK;
    mgi_shard_name(l->manifest.save, s->rank, name);
    mgen_status status = open_st(l, l->path, name, o);
    if (status == MGEN_E_NOT_FOUND)
        return !strcmp(l->tried, l->manifest.head.text[MGI_HEAD_CHECK])
                   ? mgi_fail(l->ctx, MGEN_E_CORRUPT, "lacks its shard %s", name)
                   : mgi_fail(l->ctx, MGEN_E_AGAIN, "shard %s is gone", name);
    if (status == MGEN_OK)
        status = take_shard(l, s, o, i % l->ranks == l->rank);
    if (status == MGEN_OK && ++l->open > MGI_READERS_OPEN)
        mgi_reader_rest(o->st.file);
    return status == MGEN_OK ? status : mgi_fail_context(l->ctx, status, "shard %s", name);
}

static mgen_status open_folder(loading *l)
{
    mgi_manifest *m = &l->manifest;
    mgen_status status = mgi_manifest_read(l->ctx, l->path, m);
    if (status == MGEN_E_NOT_FOUND)
        return mgi_fail_context(l->ctx, status, "nothing was published in it");
    MGI_TRY(status);
    MGI_TRY(mgi_head_fits(l->ctx, &m->head, &l->ours));
    MGI_TRY(check_step(l));
    MGI_TRY(mgi_alloc_zero(l->ctx, (size_t)m->shards, sizeof *l->shard, &l->shard));
    int64_t own = 0;
    for (int64_t i = l->rank; i < m->shards; i += l->ranks) /* to check them */
        MGI_TRY(open_shard(l, i));
    while (own < m->shards - 1 && m->shard[own].rank < l->rank)
        own++;
    /* On a mesh like that which saved, what this rank needs is in its own shard and in lower ones. */
    for (int64_t k = 0; k < m->shards && l->found < l->wanted; k++)
        MGI_TRY(open_shard(l, k <= own ? own - k : k));
    return MGEN_OK;
}

static void close_all(loading *l)
{
    for (int64_t i = 0; l->shard && i < l->manifest.shards; i++) {
        opened *o = &l->shard[i];
        for (int64_t k = 0; o->tensor && k < o->st.count; k++)
            mgi_layout_free(&o->tensor[k].layout, l->ctx);
        mgi_free(l->ctx, o->tensor);
        if (o->open)
            mgi_st_close(l->ctx, &o->st);
    }
    mgi_free(l->ctx, l->shard);
    l->shard = NULL;
    l->open = 0;
    mgi_manifest_free(l->ctx, &l->manifest);
}

/* ---- all of it ----------------------------------------------------------------------------------- */

static mgen_status open_this(loading *l)
{
    close_all(l);
    memset(&l->manifest, 0, sizeof l->manifest);
    memset(l->mine, 0, (size_t)l->parts.count * sizeof *l->mine);
    l->found = 0;
    mgen_status status = mgi_dir_is(l->path) ? open_folder(l) : open_single(l);
    memcpy(l->tried, l->manifest.head.text[MGI_HEAD_CHECK], sizeof l->tried);
    return status;
}

/* All ranks must have opened the same save. */
static mgen_status compare(const loading *l)
{
    char check[MGI_HEAD_TEXT];
    if (!l->comm)
        return MGEN_OK;
    memcpy(check, l->manifest.head.text[MGI_HEAD_CHECK], sizeof check);
    mgi_comm_note(l->comm, "save that is read", 0);
    MGI_TRY(mgi_comm_broadcast(l->comm, MGK_U8, check, sizeof check, 0, NULL));
    bool same = !memcmp(check, l->manifest.head.text[MGI_HEAD_CHECK], sizeof check);
    return mgi_comm_together(
        l->comm, same ? MGEN_OK
                      : mgi_fail(l->ctx, MGEN_E_AGAIN, "its hash is %s, but rank 0 read %s",
                                 l->manifest.head.text[MGI_HEAD_CHECK], check));
}

/* While it is read, a newer save may take its place: then again from the beginning. */
static mgen_status open_all(loading *l)
{
    mgen_status status = MGEN_OK;
    mgi_message before;
    mgi_quiet_begin(l->ctx, &before); /* earlier tries are nobody's business */
    for (int i = 0; i < MGI_READ_TRIES; i++) {
        status = mgi_comm_together(l->comm, open_this(l));
        if (status == MGEN_OK)
            status = compare(l);
        if (status != MGEN_E_AGAIN)
            break;
    }
    if (status == MGEN_E_AGAIN)
        status = mgi_fail_context(l->ctx, MGEN_E_IO, "others keep saving to it");
    mgi_quiet_end(l->ctx, &before, status == MGEN_OK);
    MGI_TRY(status);
    return check_sums(l);
}

/* Values of a tensor of a file that were read: n from `first` on. Of stretches that lie close together one is enough. */
typedef struct window {
    float *values; /* room for WINDOW */
    int64_t first, n;
} window;

static mgen_status write_stretch(mgen_context *ctx, const mgi_st_entry *e, const mgi_part *p,
                                 mgi_stretch s, window *w)
{
    int64_t some;
    for (int64_t done = 0; done < s.count; done += some) {
        const int64_t from = s.a + done, left = (int64_t)(e->bytes / sizeof(float)) - from;
        if (from < w->first || from >= w->first + w->n) {
            w->first = from;
            w->n = 0;
            const int64_t n = left < WINDOW ? left : WINDOW;
            MGI_TRY(mgi_st_read_part(ctx, e, from, w->values, n));
            w->n = n;
        }
        some = w->first + w->n - from;
        some = some < s.count - done ? some : s.count - done;
        mgi_part_write(p, s.b + done, w->values + (from - w->first), some);
    }
    return MGEN_OK;
}

static mgen_status write_tensor(const loading *l, const mgi_st_entry *e, const stored *t, window *w)
{
    mgi_stretch s;
    int64_t at = 0;
    w->n = 0;
    while (mgi_layout_next(&t->layout, &l->parts.layout[t->part->layout], &at, &s))
        MGI_TRY(write_stretch(l->ctx, e, t->part, s, w));
    return MGEN_OK;
}

static mgen_status apply(loading *l)
{
    window w = {.n = 0};
    MGI_TRY(mgi_alloc(l->ctx, WINDOW * sizeof *w.values, &w.values));
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < l->manifest.shards; i++) {
        const opened *o = &l->shard[i];
        for (int64_t k = 0; o->open && k < o->st.count && status == MGEN_OK; k++)
            status = write_tensor(l, &o->st.entries[k], &o->tensor[k], &w);
    }
    mgi_free(l->ctx, w.values);
    MGI_TRY(status);
    for (int i = 0; i < l->state->modules; i++)
        mgi_module_refresh(l->state->module[i]);
    *l->state->position = l->step;
    return MGEN_OK;
}

static mgen_status prepare(loading *l)
{
    mgen_context *ctx = l->ctx;
    MGI_TRY(mgi_head_make(ctx, l->state, &l->ours));
    MGI_TRY(mgi_parts_list(ctx, l->state, &l->parts));
    for (int64_t i = 0; i < l->parts.count; i++)
        l->wanted += l->parts.layout[l->parts.part[i].layout].elements;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)l->parts.count, sizeof *l->mine, &l->mine));
    return mgi_alloc_zero(ctx, (size_t)l->ranks * AT_ONCE, sizeof *l->theirs, &l->theirs);
}

mgen_status mgi_checkpoint_load(mgen_context *ctx, const struct mgi_stage_kind *kind,
                                struct mgi_stage_run *run, const char *path)
{
    mgi_stage_state state;
    kind->state(run, &state);
    loading l = {.ctx = ctx, .path = path, .state = &state, .ranks = 1};
    if (state.world && mgi_comm_size(state.world) > 1) {
        l.comm = mgi_comm_host(state.world);
        l.rank = mgi_comm_rank(l.comm);
        l.ranks = mgi_comm_size(l.comm);
    }
    mgen_status status = mgi_comm_together(l.comm, prepare(&l));
    if (status == MGEN_OK)
        status = open_all(&l);
    if (status == MGEN_OK)
        status = mgi_comm_together(l.comm, apply(&l));
    if (status != MGEN_OK)
        mgi_fail_context(ctx, status, "the checkpoint '%s'", path);
    close_all(&l);
    mgi_parts_free(ctx, &l.parts);
    mgi_free(ctx, l.mine);
    mgi_free(ctx, l.theirs);
    return status;
}
