/* SPDX-License-Identifier: MIT */
#include "train/checkpoint.h"

#include "core/alloc.h"
#include "core/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 4, NAME_SIZE = 288, TEXT_SIZE = 80, PIECE = 65536 };
enum { FORMAT, VERSION, KIND, STAGE, RECIPE, SEED, PARENT, STEP, CHECK, FIELDS };

static const char *const fields[FIELDS] = {"format", "version", "kind", "stage", "recipe",
                                           "seed",   "parent",  "step", "check"};

/* What the file's metadata say, in their order. */
typedef struct head {
    char text[FIELDS][TEXT_SIZE];
} head;

/* ---- the recipe's hash ------------------------------------------------------------------------ */

/* Exact: the writer's numbers are those of a float. */
static void put_exact(mgi_json_writer *w, const char *key, double value)
{
    char text[32];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    snprintf(text, sizeof text, "%016" PRIx64, bits);
    mgi_json_put_string(w, key, text);
}

static void put_optimizer(mgi_json_writer *w, const mgi_optimizer_recipe *r)
{
    put_exact(w, "lr", r->lr);
    put_exact(w, "lr_final", r->lr_final);
    mgi_json_put_int(w, "warmup", r->warmup);
    put_exact(w, "cosine_from", r->cosine_from);
    if (r->schedule != MGI_LR_COSINE)
        mgi_json_put_int(w, "schedule", r->schedule);
    put_exact(w, "beta1", r->beta1);
    put_exact(w, "beta2", r->beta2);
    put_exact(w, "eps", r->eps);
    put_exact(w, "weight_decay", r->weight_decay);
    put_exact(w, "clip", r->clip);
    put_exact(w, "skip_factor", r->skip_factor);
    put_exact(w, "ema", r->ema);
}

static void put_buckets(mgi_json_writer *w, const mgi_stage *s)
{
    for (int64_t i = 0; i < s->bucket_count; i++) {
        const mgi_bucket *b = &s->bucket[i];
        mgi_json_open(w, "bucket", '{');
        mgi_json_put_int(w, "width", b->width);
        mgi_json_put_int(w, "height", b->height);
        mgi_json_put_int(w, "frames", b->frames);
        mgi_json_put_int(w, "fps", b->fps);
        mgi_json_put_int(w, "batch", b->batch);
        put_exact(w, "weight", b->weight);
        mgi_json_close(w, '}');
    }
    if (s->bucket_count)
        put_exact(w, "images", s->images);
}

static void put_autoencoder(mgi_json_writer *w, const mgi_stage *s)
{
    mgi_json_put_string(w, "start_from", s->start_from);
    mgi_json_put_int(w, "frames", s->frames);
    mgi_json_put_int(w, "image_every", s->image_every);
    mgi_json_put_int(w, "image_batch", s->image_batch);
    put_exact(w, "l1", s->l1);
    put_exact(w, "mse", s->mse);
    put_exact(w, "kl", s->kl);
    if (s->freeze_encoder)
        mgi_json_put_bool(w, "freeze_encoder", true);
    put_buckets(w, s);
    if (s->opl > 0.0) {
        put_exact(w, "opl", s->opl);
        put_exact(w, "opl_r", s->opl_r);
    }
    if (s->perceptual > 0.0)
        put_exact(w, "perceptual", s->perceptual);
    if (s->gan > 0.0) {
        put_exact(w, "gan", s->gan);
        mgi_json_put_int(w, "gan_start", s->gan_start);
        mgi_json_put_int(w, "gan_channels", s->gan_channels);
        mgi_json_open(w, "gan_optimizer", '{');
        put_optimizer(w, &s->gan_optimizer);
        mgi_json_close(w, '}');
    }
}

static void put_text_to_video(mgi_json_writer *w, const mgi_stage *s)
{
    mgi_json_put_string(w, "tae_name", s->tae_name);
    for (int i = 0; i < MGI_ROLES; i++) {
        const mgi_text_recipe *t = &s->text[i];
        if (!t->name[0])
            continue;
        mgi_json_open(w, mgi_role_key[i], '{');
        mgi_json_put_string(w, "name", t->name);
        mgi_json_put_string(w, "from", t->from);
        mgi_json_put_bool(w, "frozen", t->frozen);
        mgi_json_put_string(w, "kind", mgi_text_kind(&t->config));
        mgi_text_config_write(w, &t->config);
        mgi_json_close(w, '}');
    }
    mgi_json_open(w, "video", '{');
    mgi_vt_config_write(w, &s->video);
    mgi_json_close(w, '}');
    mgi_json_put_int(w, "clips", s->clips);
    put_exact(w, "drop", s->drop);
    if (s->start_from[0])
        mgi_json_put_string(w, "start_from", s->start_from);
    put_buckets(w, s);
}

static void put_world(mgi_json_writer *w, const mgi_world_options *o)
{
    const int32_t numbers[] = {o->width,       o->height, o->frames, o->fps,   o->objects_min,
                               o->objects_max, o->camera, o->sign,   o->sizes, o->split};
    mgi_json_open(w, "world", '[');
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        mgi_json_put_int(w, NULL, numbers[i]);
    mgi_json_close(w, ']');
    put_exact(w, "scale", (double)o->scale);
    for (int i = 0; i < MGI_WORLD_MOTIONS; i++)
        if (o->motion_weight[i] > 0.0f)
            put_exact(w, mgi_world_motion_name(i), (double)o->motion_weight[i]);
}

static void put_average(mgi_json_writer *w, const mgi_stage *s)
{
    for (int64_t i = 0; i < s->average_count; i++) {
        mgi_json_put_string(w, "set", s->average[i]);
        put_exact(w, "weight", s->average_weight[i]);
    }
}

/* Of everything that decides on the weights: how often one validates does so with the plateau schedule only, and
 * what is computed again instead of kept does not. What is as it was before there was a choice is left out. */
static mgen_status recipe_hash(mgen_context *ctx, const mgi_stage *s, char out[TEXT_SIZE])
{
    mgi_json_writer w;
    const char *text;
    size_t size;
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_open(&w, NULL, '{');
    mgi_json_put_int(&w, "steps", s->steps);
    mgi_json_put_int(&w, "batch", s->batch);
    if (s->accumulate != 1)
        mgi_json_put_int(&w, "accumulate", s->accumulate);
    mgi_json_put_int(&w, "dtype", s->dtype);
    put_optimizer(&w, &s->optimizer);
    put_world(&w, &s->world);
    if (s->optimizer.schedule == MGI_LR_PLATEAU) {
        mgi_json_put_int(&w, "patience", s->optimizer.patience);
        mgi_json_put_int(&w, "validate_every", s->validate_every);
    }
    mgi_json_open(&w, "tae", '{');
    mgi_tae_config_write(&w, &s->tae);
    mgi_json_close(&w, '}');
    if (s->kind == MGI_STAGE_AUTOENCODER)
        put_autoencoder(&w, s);
    else if (s->kind == MGI_STAGE_TEXT_TO_VIDEO)
        put_text_to_video(&w, s);
    else
        put_average(&w, s);
    mgi_json_close(&w, '}');
    mgen_status status = mgi_json_text(&w, &text, &size);
    if (status == MGEN_OK) {
        uint8_t digest[32];
        mgi_sha256(text, size, digest);
        for (int i = 0; i < 32; i++)
            snprintf(out + 2 * i, 3, "%02x", digest[i]);
    }
    mgi_json_writer_free(&w);
    return status;
}

static mgen_status make_head(mgen_context *ctx, const mgi_stage_state *s, head *out)
{
    const mgi_stage *stage = s->stage;
    memset(out, 0, sizeof *out);
    snprintf(out->text[FORMAT], TEXT_SIZE, "moviegen-checkpoint");
    snprintf(out->text[VERSION], TEXT_SIZE, "%d", MGI_CHECKPOINT_VERSION);
    snprintf(out->text[KIND], TEXT_SIZE, "%s", mgi_stage_kind_name[stage->kind]);
    snprintf(out->text[STAGE], TEXT_SIZE, "%s", stage->name);
    snprintf(out->text[SEED], TEXT_SIZE, "%" PRIu64, s->seed);
    snprintf(out->text[PARENT], TEXT_SIZE, "%016" PRIx64, s->parent);
    snprintf(out->text[STEP], TEXT_SIZE, "%" PRId64, *s->position);
    return recipe_hash(ctx, stage, out->text[RECIPE]);
}

/* ---- the tensors -------------------------------------------------------------------------------- */

typedef struct part {
    char name[NAME_SIZE];
    mgi_tensor *tensor;
    float *host; /* where there is no tensor */
    int rank;
    int64_t dims[MGI_RANK_MAX], count;
} part;

static void put_tensor(part *p, mgi_tensor *t)
{
    p->tensor = t;
    p->rank = t->rank;
    p->count = t->count;
    memcpy(p->dims, t->dims, sizeof p->dims);
}

static void put_host(part *p, float *values, int64_t count)
{
    p->host = values;
    p->rank = 1;
    p->count = p->dims[0] = count;
}

static mgen_status part_values(const void *data, int64_t first, float *out, int64_t n)
{
    const part *p = data;
    if (p->tensor)
        return mgi_tensor_values(p->tensor, first, out, n);
    memcpy(out, p->host + first, (size_t)n * sizeof *out);
    return MGEN_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const part *)a)->name, ((const part *)b)->name);
}

/* Everything that a step changes, by name as in an open file. */
static mgen_status list_parts(mgen_context *ctx, const mgi_stage_state *s, part **out,
                              int64_t *count)
{
    static const char *const names[PARTS] = {"value", "m", "v", "ema"};
    int64_t most = 3, n = 0;
    part *list;
    for (int i = 0; i < s->modules; i++)
        most += PARTS * s->module[i]->count;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)most, sizeof *list, &list));
    for (int i = 0; i < s->modules; i++) {
        for (int64_t k = 0; k < s->module[i]->count; k++) {
            const mgi_param *p = s->module[i]->params[k];
            mgi_tensor *const tensors[PARTS] = {p->value, p->m, p->v, p->ema};
            for (int j = 0; j < PARTS; j++) {
                if (!tensors[j])
                    continue;
                snprintf(list[n].name, NAME_SIZE, "%d.%s.%s", i, names[j], p->name);
                put_tensor(&list[n++], tensors[j]);
            }
        }
    }
    snprintf(list[n].name, NAME_SIZE, "optimizer");
    put_tensor(&list[n++], s->optimizer->control);
    if (s->second) {
        snprintf(list[n].name, NAME_SIZE, "second");
        put_tensor(&list[n++], s->second->control);
    }
    if (s->optimizer->recipe.schedule == MGI_LR_PLATEAU) {
        snprintf(list[n].name, NAME_SIZE, "plateau");
        put_host(&list[n++], s->optimizer->plateau, MGI_PLATEAU_COUNT);
    }
    qsort(list, (size_t)n, sizeof *list, compare_names);
    *out = list;
    *count = n;
    return MGEN_OK;
}

static uint64_t check_head(const head *h)
{
    uint64_t hash = 0;
    for (int i = 0; i < CHECK; i++)
        hash = mgi_hash64(h->text[i], strlen(h->text[i]) + 1, hash);
    return hash;
}

static uint64_t check_shape(const char *name, int rank, const int64_t *dims, uint64_t hash)
{
    hash = mgi_hash64(name, strlen(name) + 1, hash);
    return mgi_hash64(dims, (size_t)rank * sizeof *dims, hash);
}

/* The hash of what is about to be written. */
static mgen_status check_list(mgen_context *ctx, const head *h, const part *list, int64_t count,
                              uint64_t *out)
{
    uint64_t hash = check_head(h);
    mgen_status status = MGEN_OK;
    float *piece;
    MGI_TRY(mgi_alloc_zero(ctx, PIECE, sizeof *piece, &piece));
    for (int64_t i = 0; i < count && status == MGEN_OK; i++) {
        const part *p = &list[i];
        hash = mgi_hash64_begin(check_shape(p->name, p->rank, p->dims, hash));
        for (int64_t at = 0; at < p->count && status == MGEN_OK; at += PIECE) {
            int64_t n = p->count - at < PIECE ? p->count - at : PIECE;
            status = part_values(p, at, piece, n);
            hash = mgi_hash64_piece(hash, piece, (size_t)n * sizeof *piece);
        }
        hash = mgi_hash64_end(hash);
    }
    mgi_free(ctx, piece);
    *out = hash;
    return status;
}

static mgen_status write_parts(mgen_context *ctx, head *h, const part *list, int64_t count,
                               const char *path)
{
    const char *metadata[2 * FIELDS];
    mgi_st_source *sources;
    uint64_t hash;
    MGI_TRY(check_list(ctx, h, list, count, &hash));
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof *sources, &sources));
    for (int64_t i = 0; i < count; i++) {
        const part *p = &list[i];
        sources[i] =
            (mgi_st_source){.name = p->name, .store = MGI_ST_F32, .rank = p->rank, .data = p};
        memcpy(sources[i].dims, p->dims, (size_t)p->rank * sizeof *p->dims);
    }
    snprintf(h->text[CHECK], TEXT_SIZE, "%016" PRIx64, hash);
    for (int i = 0; i < FIELDS; i++) {
        metadata[2 * i] = fields[i];
        metadata[2 * i + 1] = h->text[i];
    }
    mgen_status status =
        mgi_st_write_read(ctx, path, sources, count, metadata, FIELDS, part_values);
    mgi_free(ctx, sources);
    return status;
}

mgen_status mgi_checkpoint_save(mgen_context *ctx, const struct mgi_stage_kind *kind,
                                struct mgi_stage_run *run, const char *path)
{
    mgi_stage_state state;
    head h;
    part *list;
    int64_t count;
    kind->state(run, &state);
    mgi_path_tidy(ctx, path);
    MGI_TRY(make_head(ctx, &state, &h));
    MGI_TRY(list_parts(ctx, &state, &list, &count));
    mgen_status status = write_parts(ctx, &h, list, count, path);
    mgi_free(ctx, list);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "the checkpoint");
}

/* ---- reading ------------------------------------------------------------------------------------ */

static mgen_status read_head(mgen_context *ctx, const mgi_st_file *st, head *out)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < FIELDS; i++) {
        const mgi_json *value = st->metadata ? mgi_json_find(st->metadata, fields[i]) : NULL;
        if (!value || value->s_len >= TEXT_SIZE)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "is no checkpoint: its \"%s\" %s", fields[i],
                            value ? "is too long" : "is missing");
        memcpy(out->text[i], value->s, value->s_len);
        if (i == FORMAT && strcmp(out->text[i], "moviegen-checkpoint"))
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "is no checkpoint: its \"format\" is \"%s\", not "
                            "\"moviegen-checkpoint\"",
                            out->text[i]);
        if (i == VERSION && strcmp(out->text[i], "1")) {
            bool newer = strspn(out->text[i], "0123456789") == value->s_len && value->s_len > 0 &&
                         out->text[i][0] != '0';
            return mgi_fail(ctx, newer ? MGEN_E_VERSION : MGEN_E_CORRUPT,
                            "is of version \"%s\"; this library reads %d", out->text[i],
                            MGI_CHECKPOINT_VERSION);
        }
    }
    return st->metadata->i == FIELDS
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT, "has metadata that no checkpoint has");
}

/* Any change of the file shows here, before it is asked whose it is. */
static mgen_status check_hash(mgen_context *ctx, const mgi_st_file *st, const head *h)
{
    uint64_t hash = check_head(h);
    char text[TEXT_SIZE];
    for (int64_t i = 0; i < st->count; i++) {
        const mgi_st_entry *e = &st->entries[i];
        hash = mgi_hash64(e->data, e->bytes, check_shape(e->name, e->rank, e->dims, hash));
    }
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    if (strcmp(text, h->text[CHECK]))
        return mgi_fail(
            ctx, MGEN_E_CORRUPT,
            "is damaged: what it holds does not have the hash that it gives; go on from "
            "an older one");
    return MGEN_OK;
}

static mgen_status check_parts(mgen_context *ctx, const mgi_st_file *st, const part *list,
                               int64_t count)
{
    if (st->count != count)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "has %lld tensors, not %lld", (long long)st->count,
                        (long long)count);
    for (int64_t i = 0; i < count; i++) {
        const part *p = &list[i];
        const mgi_st_entry *e = &st->entries[i];
        if (strcmp(e->name, list[i].name))
            return mgi_fail(ctx, MGEN_E_CORRUPT, "lacks the tensor \"%s\"", list[i].name);
        if (e->dtype != MGI_ST_F32 || e->rank != p->rank ||
            memcmp(e->dims, p->dims, (size_t)p->rank * sizeof *p->dims))
            return mgi_fail(ctx, MGEN_E_CORRUPT, "tensor \"%s\" has another shape or dtype",
                            list[i].name);
    }
    return MGEN_OK;
}

/* A whole number from 0 to `most`, as it is printed. */
static bool parse_step(const char *text, int64_t most, int64_t *out)
{
    char again[TEXT_SIZE];
    int64_t value = 0;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9' || value > most)
            return false;
        value = 10 * value + (*c - '0'); /* most < 10^9 */
    }
    snprintf(again, sizeof again, "%" PRId64, value);
    *out = value;
    return value <= most && !strcmp(again, text);
}

static mgen_status check_fits(mgen_context *ctx, const head *file, const head *ours)
{
    static const struct {
        int field;
        const char *what;
    } must[] = {{KIND, "a stage of the kind"},
                {STAGE, "the stage"},
                {RECIPE, "a recipe with the hash"},
                {SEED, "the seed"},
                {PARENT, "an earlier stage's model with the hash"}};
    for (size_t i = 0; i < sizeof must / sizeof must[0]; i++) {
        const char *theirs = file->text[must[i].field], *mine = ours->text[must[i].field];
        if (strcmp(theirs, mine))
            return mgi_fail(ctx, MGEN_E_STATE,
                            "was made with %s \"%s\", but here it is \"%s\"; go on with what it "
                            "was made with, or begin anew",
                            must[i].what, theirs, mine);
    }
    return MGEN_OK;
}

static mgen_status check_all(mgen_context *ctx, const mgi_st_file *st, const mgi_stage_state *s,
                             const part *list, int64_t count, int64_t *step)
{
    head file, ours;
    MGI_TRY(read_head(ctx, st, &file));
    MGI_TRY(make_head(ctx, s, &ours));
    MGI_TRY(check_hash(ctx, st, &file));
    MGI_TRY(check_fits(ctx, &file, &ours));
    MGI_TRY(check_parts(ctx, st, list, count));
    if (!parse_step(file.text[STEP], s->stage->steps, step))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "its \"step\" is \"%s\", which is not within 0..%lld",
                        file.text[STEP], (long long)s->stage->steps);
    return MGEN_OK;
}

mgen_status mgi_checkpoint_load(mgen_context *ctx, const struct mgi_stage_kind *kind,
                                struct mgi_stage_run *run, const char *path)
{
    mgi_stage_state state;
    mgi_st_file st;
    part *list;
    int64_t count, step = 0;
    mgen_status status;
    kind->state(run, &state);
    status = mgi_st_open(ctx, NULL, path, &st);
    if (status == MGEN_E_UNSUPPORTED) /* a dtype that no checkpoint has */
        status = mgi_fail_context(ctx, MGEN_E_CORRUPT, "the checkpoint");
    MGI_TRY(status);
    MGI_TRY_GOTO(status, list_parts(ctx, &state, &list, &count), close);
    status = check_all(ctx, &st, &state, list, count, &step);
    if (status != MGEN_OK) {
        mgi_fail_context(ctx, status, "the checkpoint '%s'", path);
        goto free;
    }
    for (int64_t i = 0; i < count; i++) {
        if (list[i].tensor)
            mgi_tensor_write(list[i].tensor, 0, st.entries[i].data, list[i].count);
        else
            memcpy(list[i].host, st.entries[i].data, st.entries[i].bytes);
    }
    for (int i = 0; i < state.modules; i++)
        mgi_module_refresh(state.module[i]);
    *state.position = step;
free:
    mgi_free(ctx, list);
close:
    mgi_st_close(ctx, &st);
    return status;
}
