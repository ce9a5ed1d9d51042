/* SPDX-License-Identifier: MIT
 * Averages of models, and the stage of a recipe that makes one: of sets of models that earlier stages saved, or of models of
 * another kind than video models. */
#include "train/average.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/quiet.h"
#include "model/rewriter.h"
#include "task/pipeline.h"
#include "train/adapting.h"
#include "train/stage.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- one network ---------------------------------------------------------------------------------- */

typedef struct work {
    mgen_context *ctx;
    const mgi_average_request *q;
    mgi_model_file file[MGI_AVERAGE_MAX];
    mgi_adapter_set *set[MGI_AVERAGE_MAX];
    int64_t open;
} work;

/* Values of an entry; 0: of a dtype that models do not have. */
static int64_t values_of(const mgi_st_entry *e)
{
    size_t each = e->dtype == MGI_ST_F32 ? 4 : e->dtype == MGI_ST_BF16 ? 2 : e->scaled ? 1 : 0;
    return each ? (int64_t)(e->bytes / each) : 0;
}

/* The model behind those that are open against the first. */
static mgen_status check_one(const work *w, const mgi_model_file *f)
{
    const mgi_model_file *first = &w->file[0];
    const char *dir = w->q->dirs[0], *other = w->q->dirs[w->open];
    char difference[512];
    if (mgi_json_difference(first->root, f->root, difference, sizeof difference))
        return mgi_fail(w->ctx, MGEN_E_INVALID,
                        "%s/%s and %s/%s are of another kind or configuration (%s); only models of "
                        "the same network can be averaged",
                        dir, first->json_name, other, f->json_name, difference);
    bool same = f->weights.count == first->weights.count;
    for (int64_t k = 0; same && k < f->weights.count; k++) {
        const mgi_st_entry *a = &first->weights.entries[k], *b = &f->weights.entries[k];
        same = values_of(a) && !strcmp(a->name, b->name) && a->dtype == b->dtype &&
               a->rank == b->rank && !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims);
    }
    return same ? MGEN_OK
                : mgi_fail(w->ctx, MGEN_E_INVALID,
                           "%s/%s and %s/%s do not have the same tensors, shapes and dtypes; only "
                           "models of the same network can be averaged",
                           dir, first->weights_name, other, f->weights_name);
}

static mgen_status open_all(work *w)
{
    for (; w->open < w->q->count; w->open++) {
        mgi_model_file *f = &w->file[w->open];
        MGI_TRY(mgi_model_file_open(w->ctx, w->q->dirs[w->open], w->q->names[w->open], NULL, f));
        mgen_status status = check_one(w, f);
        if (status == MGEN_OK && w->q->adapters)
            status = mgi_adapter_set_open(w->ctx, w->q->dirs[w->open], w->q->adapters[w->open], f,
                                          &w->set[w->open]);
        if (status != MGEN_OK) {
            mgi_model_file_close(w->ctx, f);
            return status;
        }
    }
    return MGEN_OK;
}

static void close_all(work *w)
{
    while (w->open-- > 0) {
        mgi_adapter_set_close(w->set[w->open]);
        mgi_model_file_close(w->ctx, &w->file[w->open]);
    }
}

static mgen_status average_tensor(const work *w, int64_t k, int64_t count, double *sum, float *out)
{
    double total = 0.0;
    memset(sum, 0, (size_t)count * sizeof *sum);
    for (int64_t i = 0; i < w->q->count; i++)
        total += w->q->weights[i];
    for (int64_t i = 0; i < w->q->count; i++) {
        double share = w->q->weights[i] / total;
        const mgi_st_entry *e = &w->file[i].weights.entries[k];
        MGI_TRY(mgi_st_read_f32(w->ctx, e, out, count));
        if (w->set[i])
            MGI_TRY(mgi_adapter_set_add(w->set[i], e, out));
        for (int64_t j = 0; j < count; j++)
            sum[j] += share * (double)out[j];
    }
    for (int64_t j = 0; j < count; j++)
        out[j] = (float)sum[j];
    return MGEN_OK;
}

static mgen_status write_weights(const work *w, const char *path, mgi_st_source *list,
                                 float *values, double *sum)
{
    const mgi_st_file *st = &w->file[0].weights;
    for (int64_t k = 0; k < st->count; k++) {
        const mgi_st_entry *e = &st->entries[k];
        int64_t count = values_of(e);
        list[k] =
            (mgi_st_source){.name = e->name, .store = e->dtype, .rank = e->rank, .data = values};
        memcpy(list[k].dims, e->dims, (size_t)e->rank * sizeof *e->dims);
        MGI_TRY(average_tensor(w, k, count, sum, values));
        values += count;
    }
    return mgi_st_write(w->ctx, path, list, st->count, (const char *const[]){"format", "moviegen"},
                        1);
}

/* A file of the folder `dir`, byte by byte. */
static mgen_status copy_file(mgen_context *ctx, const char *dir, const char *name, const char *path)
{
    mgi_file file;
    mgi_writer writer;
    MGI_TRY(mgi_file_open_in(ctx, dir, name, &file));
    mgen_status status = mgi_writer_open(ctx, path, &writer);
    if (status == MGEN_OK)
        status = mgi_writer_write(&writer, file.data, file.size);
    if (status == MGEN_OK)
        status = mgi_writer_commit(&writer);
    mgi_file_close(ctx, &file);
    return status;
}

static mgen_status write_all(const work *w, const char *dir, const char *out)
{
    const mgi_st_file *st = &w->file[0].weights;
    char name[MGI_NAME_MAX + 1], path[MGI_PATH_MAX + 1];
    int64_t all = 0, largest = 0;
    mgi_st_source *list = NULL;
    float *values = NULL;
    double *sum = NULL;
    mgen_status status = MGEN_OK;
    for (int64_t k = 0; k < st->count; k++) {
        int64_t count = values_of(&st->entries[k]);
        largest = count > largest ? count : largest;
        if (!mgi_i64_add(all, count, &all))
            return mgi_fail(w->ctx, MGEN_E_INVALID, "%s is too large", w->file[0].weights_name);
    }
    MGI_TRY_GOTO(status, mgi_alloc_zero(w->ctx, (size_t)st->count, sizeof *list, &list), end);
    MGI_TRY_GOTO(status, mgi_alloc_zero(w->ctx, (size_t)all, sizeof *values, &values), end);
    MGI_TRY_GOTO(status, mgi_alloc_zero(w->ctx, (size_t)largest, sizeof *sum, &sum), end);
    snprintf(name, sizeof name, "%s.safetensors", out);
    MGI_TRY_GOTO(status, mgi_path_join(w->ctx, dir, name, path, sizeof path), end);
    MGI_TRY_GOTO(status, write_weights(w, path, list, values, sum), end);
    snprintf(name, sizeof name, "%s.json", out);
    MGI_TRY_GOTO(status, mgi_path_join(w->ctx, dir, name, path, sizeof path), end);
    status = copy_file(w->ctx, w->q->dirs[0], w->file[0].json_name, path);
end:
    mgi_free(w->ctx, list);
    mgi_free(w->ctx, values);
    mgi_free(w->ctx, sum);
    return status;
}

/* out NULL: they are only looked at. */
static mgen_status average(mgen_context *ctx, const mgi_average_request *request, const char *dir,
                           const char *out)
{
    work *w;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *w, &w));
    w->ctx = ctx;
    w->q = request;
    mgen_status status = open_all(w);
    if (status == MGEN_OK && out)
        status = write_all(w, dir, out);
    close_all(w);
    mgi_free(ctx, w);
    return status;
}

mgen_status mgi_average_check(mgen_context *ctx, const mgi_average_request *request)
{
    return average(ctx, request, NULL, NULL);
}

mgen_status mgi_average_models(mgen_context *ctx, const mgi_average_request *request,
                               const char *dir, const char *name)
{
    return average(ctx, request, dir, name);
}

/* ---- sets of models ----------------------------------------------------------------------------- */

/* What is averaged, and the stamps of its files, since when they must not have changed: parts of one set are of one
 * save. */
typedef struct sets {
    mgi_pipeline_file set[MGI_AVERAGE_MAX];
    uint64_t stamp[MGI_AVERAGE_MAX];
} sets;

static mgen_status replaced(mgen_context *ctx, const char *dir, const char *name)
{
    return mgi_fail(ctx, MGEN_E_AGAIN, "%s/%s.json: the models were replaced while they were read",
                    dir, name);
}

/* As same_set(). */
static mgen_status read_set(mgen_context *ctx, sets *s, int64_t i, const char *dir,
                            const char *name)
{
    mgi_pipeline_file again;
    MGI_TRY(mgi_pipeline_file_read(ctx, dir, name, &s->set[i]));
    s->stamp[i] = mgi_pipeline_stamp(dir, name, &s->set[i]);
    MGI_TRY(mgi_pipeline_file_read(ctx, dir, name, &again));
    return memcmp(&again, &s->set[i], sizeof again) ? replaced(ctx, dir, name) : MGEN_OK;
}

/* AGAIN if another one was saved since. */
static mgen_status same_set(mgen_context *ctx, const sets *s, int64_t i, const char *dir,
                            const char *name)
{
    return s->stamp[i] == mgi_pipeline_stamp(dir, name, &s->set[i]) ? MGEN_OK
                                                                    : replaced(ctx, dir, name);
}

/* What remains when it was tried often enough since mgi_quiet_begin(): earlier tries are nobody's business. */
static mgen_status not_again(mgen_context *ctx, const mgi_message *before, mgen_status status)
{
    if (status == MGEN_E_AGAIN)
        status = mgi_fail_context(ctx, MGEN_E_IO, "others keep saving them");
    mgi_quiet_end(ctx, before, status == MGEN_OK);
    return status;
}

/* ---- model folders ------------------------------------------------------------------------------ */

typedef struct folders {
    mgen_context *ctx;
    const char *const *dirs;
    const double *weights;
    int64_t count;
    sets in;
} folders;

static mgen_status differ(const folders *f, int64_t i, const char *what)
{
    return mgi_fail(f->ctx, MGEN_E_INVALID,
                    "the models in '%s' and '%s' have different %s; they cannot be averaged",
                    f->dirs[0], f->dirs[i], what);
}

static mgen_status tae_hash(const folders *f, int64_t i, uint64_t *hash)
{
    mgi_model_file file;
    MGI_TRY(mgi_model_file_open(f->ctx, f->dirs[i], f->in.set[i].tae, "tae", &file));
    *hash = file.hash;
    mgi_model_file_close(f->ctx, &file);
    return MGEN_OK;
}

/* Latents of one TAE mean nothing to a model of another's. */
static mgen_status check_tae(const folders *f, int64_t i)
{
    uint64_t first = 0, hash = 0;
    bool one = f->in.set[0].tae[0], other = f->in.set[i].tae[0];
    if (one && other) {
        MGI_TRY(tae_hash(f, 0, &first));
        MGI_TRY(tae_hash(f, i, &hash));
    }
    return one == other && first == hash ? MGEN_OK : differ(f, i, "TAEs");
}

static mgen_status read_folders(folders *f)
{
    for (int64_t i = 0; i < f->count; i++) {
        const mgi_pipeline_file *a = &f->in.set[0], *b = &f->in.set[i];
        MGI_TRY(read_set(f->ctx, &f->in, i, f->dirs[i], "pipeline"));
        if (!b->video[0])
            return mgi_fail(f->ctx, MGEN_E_INVALID, "there is no video model in '%s'", f->dirs[i]);
        if (memcmp(&a->clip, &b->clip, sizeof a->clip))
            return differ(f, i, "clips");
        for (int k = 0; k < MGI_ROLES; k++)
            if (!a->text[k][0] != !b->text[k][0])
                return differ(f, i, "text encoders");
        MGI_TRY(check_tae(f, i));
    }
    return MGEN_OK;
}

/* The networks whose names are at `offset`, under the first one's name; `adapted`: with their adapters of that kind, or -1. */
static mgen_status average_part(const folders *f, size_t offset, int adapted, const char *dir)
{
    const char *names[MGI_AVERAGE_MAX];
    const mgi_adapters *adapters[MGI_AVERAGE_MAX];
    const mgi_average_request q = {.dirs = f->dirs,
                                   .names = names,
                                   .weights = f->weights,
                                   .adapters = adapted >= 0 ? adapters : NULL,
                                   .count = f->count};
    for (int64_t i = 0; i < f->count; i++) {
        names[i] = (const char *)&f->in.set[i] + offset;
        adapters[i] = adapted >= 0 ? &f->in.set[i].adapters[adapted] : NULL;
    }
    return mgi_average_models(f->ctx, &q, dir, names[0]);
}

static mgen_status average_adapted(const folders *f, int adapted, const char *dir)
{
    mgi_pipeline_file p;
    const size_t offset = (size_t)(mgi_pipeline_model(&p, adapted) - (char *)&p);
    return average_part(f, offset, adapted, dir);
}

/* A model of the first folder; "": none. */
static mgen_status copy_model(const folders *f, const char *model, const char *dir)
{
    static const char *const endings[] = {"json", "safetensors"};
    char name[MGI_NAME_MAX + 1], path[MGI_PATH_MAX + 1];
    for (int i = 0; i < 2 && *model; i++) {
        snprintf(name, sizeof name, "%.200s.%s", model, endings[i]);
        MGI_TRY(mgi_path_join(f->ctx, dir, name, path, sizeof path));
        MGI_TRY(copy_file(f->ctx, f->dirs[0], name, path));
    }
    return MGEN_OK;
}

/* What must be one in all folders, and is saved with the rest: the tokenizer of a role or, where the text encoder is a folder
 * of another library, which nobody trained, all of it, in this library's form. */
static mgen_status copy_text(const folders *f, int role, bool foreign, const char *dir)
{
    uint64_t first = 0;
    for (int64_t i = 0; i < f->count; i++) {
        mgi_text_encoder e;
        uint64_t hash;
        mgen_status status = MGEN_OK;
        MGI_TRY(mgi_text_encoder_open(f->ctx, f->dirs[i], f->in.set[i].text[role], &e, &hash));
        if (!foreign)
            hash = mgi_tokenizer_hash(e.tokenizer);
        if (i == 0)
            status = foreign ? mgi_text_encoder_save(&e, dir, f->in.set[0].text[role], MGI_ST_F32)
                             : mgi_tokenizer_save(f->ctx, e.tokenizer, dir);
        mgi_text_encoder_finish(&e);
        MGI_TRY(status);
        first = i ? first : hash;
        if (hash != first)
            return differ(f, i, foreign ? "text encoders" : "tokenizers");
    }
    return MGEN_OK;
}

/* The first one's, which knows nothing of video models; where it is a folder of another library, in this one's form. */
static mgen_status copy_rewriter(const folders *f, const char *dir)
{
    const char *name = f->in.set[0].rewriter;
    const bool foreign = *name && mgi_model_is_folder(f->ctx, f->dirs[0], name);
    mgi_rewriter r;
    uint64_t hash;
    if (!*name)
        return MGEN_OK;
    MGI_TRY(mgi_rewriter_open(f->ctx, f->dirs[0], name, &r, &hash));
    mgen_status status = foreign ? mgi_rewriter_save(&r, dir, name, MGI_ST_F32)
                                 : mgi_tokenizer_save(f->ctx, r.text.tokenizer, dir);
    mgi_rewriter_finish(&r);
    return status == MGEN_OK && !foreign ? copy_model(f, name, dir) : status;
}

/* A part that one of the other models names in its file; *foreign where it is a folder of another library, which is not copied. */
static mgen_status copy_named(const folders *f, const mgi_json *config, const char *key,
                              const char *dir, bool *foreign)
{
    const char *name = "";
    MGI_TRY(mgi_json_get_string(f->ctx, config, key, false, &name));
    *foreign = *foreign || (*name && mgi_model_is_folder(f->ctx, f->dirs[0], name));
    if (!*name || *foreign)
        return MGEN_OK;
    if (!strcmp(key, "text")) {
        mgi_text_encoder e;
        uint64_t hash;
        MGI_TRY(mgi_text_encoder_open(f->ctx, f->dirs[0], name, &e, &hash));
        mgen_status status = mgi_tokenizer_save(f->ctx, e.tokenizer, dir);
        mgi_text_encoder_finish(&e);
        MGI_TRY(status);
    }
    return copy_model(f, name, dir);
}

static mgen_status copy_parts(const folders *f, const char *model, const char *dir, bool *foreign)
{
    static const char *const keys[] = {"tae", "vision", "codec", "text"};
    mgi_model_file file;
    MGI_TRY(mgi_model_file_open(f->ctx, f->dirs[0], model, NULL, &file));
    mgen_status status = MGEN_OK;
    for (int i = 0; i < 4 && status == MGEN_OK && !*foreign; i++)
        status = copy_named(f, file.config, keys[i], dir, foreign);
    mgi_model_file_close(f->ctx, &file);
    return status;
}

/* Upsamplers, editors, personalizers and models of sound learned beside one video model: of a single folder they come along with
 * their adapters in their weights, of several none does. */
static mgen_status write_others(const folders *f, const char *dir, mgi_pipeline_file *result)
{
    for (int i = 0; i < MGI_ADAPTED_KINDS; i++) {
        char *model = mgi_pipeline_model(result, i);
        bool left_out = f->count > 1;
        if (i == MGI_ADAPTED_VIDEO || !*model)
            continue;
        if (!left_out) {
            MGI_TRY(copy_parts(f, model, dir, &left_out));
            if (left_out)
                mgi_log(f->ctx, MGEN_LOG_WARN,
                        "%s: the model \"%s\" is left out: it has a part that is another "
                        "library's folder",
                        f->dirs[0], model);
        }
        if (left_out)
            *model = '\0';
        else
            MGI_TRY(average_adapted(f, i, dir));
    }
    memset(result->adapters, 0, sizeof result->adapters); /* they are in the weights */
    return MGEN_OK;
}

static mgen_status write_folder(const folders *f, const char *dir)
{
    mgi_pipeline_file result = f->in.set[0];
    MGI_TRY(copy_model(f, f->in.set[0].tae, dir));
    MGI_TRY(copy_rewriter(f, dir));
    for (int k = 0; k < MGI_ROLES; k++) {
        const char *name = f->in.set[0].text[k];
        if (!*name)
            continue;
        bool foreign = mgi_model_is_folder(f->ctx, f->dirs[0], name);
        MGI_TRY(copy_text(f, k, foreign, dir));
        if (!foreign)
            MGI_TRY(average_part(f, offsetof(mgi_pipeline_file, text[k]), -1, dir));
    }
    MGI_TRY(average_adapted(f, MGI_ADAPTED_VIDEO, dir));
    MGI_TRY(write_others(f, dir, &result));
    for (int64_t i = 0; i < f->count; i++)
        MGI_TRY(same_set(f->ctx, &f->in, i, f->dirs[i], "pipeline"));
    return mgi_pipeline_file_write(f->ctx, dir, "pipeline", &result);
}

mgen_status mgi_average_folders(mgen_context *ctx, const char *const *dirs, const double *weights,
                                int64_t count, const char *out)
{
    folders *f;
    mgi_save s;
    mgen_status status = MGEN_E_AGAIN;
    mgi_message before;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *f, &f));
    f->ctx = ctx;
    f->dirs = dirs;
    f->weights = weights;
    f->count = count;
    mgi_quiet_begin(ctx, &before);
    for (int i = 0; i < MGI_READ_TRIES && status == MGEN_E_AGAIN; i++) {
        status = read_folders(f);
        if (status == MGEN_OK)
            status = mgi_save_begin(ctx, out, &s);
        if (status == MGEN_OK)
            status = mgi_save_end(&s, write_folder(f, s.staging));
    }
    mgi_free(ctx, f);
    return not_again(ctx, &before, status);
}

/* ---- the stage ------------------------------------------------------------------------------------ */

/* Its one step looks at the models; saving averages them. There is nothing else to keep of it. */
struct mgi_stage_run {
    mgen_context *ctx;
    mgi_stage stage;
    char dir[MGI_PATH_MAX + 1];
    uint64_t seed;
    mgi_optimizer optimizer; /* of nothing: a checkpoint has one */
    int64_t updated;
    int kind; /* MGI_ADAPTED_*: of what; of video models, sets with their text encoders */
    sets in;
    char model[MGI_AVERAGE_MAX][MGI_NAME_MAX + 1]; /* of other kinds the models, */
    mgi_adapters with[MGI_AVERAGE_MAX];            /* and the adapters that stand for them */
};

static void destroy(struct mgi_stage_run *r)
{
    mgi_optimizer_finish(&r->optimizer);
    mgi_free(r->ctx, r);
}

/* The sets that the stage names, which must have the same parts. */
static mgen_status read_sets(struct mgi_stage_run *r)
{
    const mgi_stage *s = &r->stage;
    for (int64_t i = 0; i < s->average_count; i++) {
        const mgi_pipeline_file *a = &r->in.set[0], *b = &r->in.set[i];
        char name[MGI_NAME_MAX + 1];
        mgi_model_name(name, s->average[i], "pipeline");
        MGI_TRY(read_set(r->ctx, &r->in, i, r->dir, name));
        bool same = !strcmp(a->tae, b->tae) && !memcmp(&a->clip, &b->clip, sizeof a->clip);
        for (size_t k = 0; k < sizeof a->text / sizeof a->text[0]; k++)
            same = same && !a->text[k][0] == !b->text[k][0];
        if (!same)
            return mgi_fail(r->ctx, MGEN_E_STATE,
                            "the models of \"%s\" and \"%s\" have another TAE, clip or text "
                            "encoders; stage \"%s\" cannot average them",
                            s->average[0], s->average[i], s->name);
    }
    return MGEN_OK;
}

static mgen_status look_at(struct mgi_stage_run *r, int64_t i, int *kind)
{
    return mgi_adapting_named(r->ctx, r->dir, r->stage.average[i], r->model[i], &r->with[i], kind);
}

/* Of video models, unless the first entry is no set, but a model of another kind, or an adapter of one. */
static void find_kind(struct mgi_stage_run *r)
{
    mgi_pipeline_file p;
    mgi_message before;
    char name[MGI_NAME_MAX + 1];
    int kind;
    mgi_model_name(name, r->stage.average[0], "pipeline");
    mgi_quiet_begin(r->ctx, &before);
    if (mgi_pipeline_file_read(r->ctx, r->dir, name, &p) == MGEN_E_NOT_FOUND &&
        look_at(r, 0, &kind) == MGEN_OK && kind < MGI_ADAPTED_KINDS)
        r->kind = kind;
    mgi_quiet_end(r->ctx, &before, true); /* who needs it says what is missing */
}

/* What models of another kind than video models are saved as. */
static void name_result(const struct mgi_stage_run *r, char out[MGI_NAME_MAX + 1])
{
    mgi_model_name(out, r->stage.save_as, mgi_adapted[r->kind].name);
}

static mgen_status find_models(struct mgi_stage_run *r)
{
    char name[MGI_NAME_MAX + 1];
    int kind;
    name_result(r, name);
    for (int64_t i = 0; i < r->stage.average_count; i++) {
        MGI_TRY(look_at(r, i, &kind));
        if (kind != r->kind)
            return mgi_fail(r->ctx, MGEN_E_STATE,
                            "\"%s\" is no %s, as \"%s\" is; stage \"%s\" averages models of one "
                            "kind",
                            r->stage.average[i], mgi_adapted[r->kind].key, r->stage.average[0],
                            r->stage.name);
        if (r->with[i].count && !strcmp(name, r->model[i]))
            return mgi_fail(r->ctx, MGEN_E_STATE,
                            "stage \"%s\" would save its average as \"%s\", the model that \"%s\" "
                            "changes; give it another \"save_as\"",
                            r->stage.name, name, r->stage.average[i]);
    }
    return MGEN_OK;
}

/* Such models, averaged in the folder `dir` or, if that is NULL, looked at. */
static mgen_status average_others(struct mgi_stage_run *r, const char *dir)
{
    const char *dirs[MGI_AVERAGE_MAX], *names[MGI_AVERAGE_MAX];
    const mgi_adapters *adapters[MGI_AVERAGE_MAX];
    const mgi_average_request q = {.dirs = dirs,
                                   .names = names,
                                   .weights = r->stage.average_weight,
                                   .adapters = adapters,
                                   .count = r->stage.average_count};
    char name[MGI_NAME_MAX + 1];
    for (int64_t i = 0; i < q.count; i++) {
        dirs[i] = r->dir;
        names[i] = r->model[i];
        adapters[i] = &r->with[i];
    }
    name_result(r, name);
    return dir ? mgi_average_models(r->ctx, &q, dir, name) : mgi_average_check(r->ctx, &q);
}

/* The average, which pipeline.json names from now on. */
static mgen_status write_other(struct mgi_stage_run *r, const char *dir)
{
    mgi_pipeline_file p;
    char name[MGI_NAME_MAX + 1];
    MGI_TRY(find_models(r));
    MGI_TRY(average_others(r, dir));
    name_result(r, name);
    return mgi_stage_name_model(r->ctx, r->dir, dir,
                                (size_t)(mgi_pipeline_model(&p, r->kind) - (char *)&p), name, NULL);
}

static mgen_status create(mgen_context *ctx, const mgi_stage_params *params,
                          struct mgi_stage_run **out)
{
    struct mgi_stage_run *r;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *r, &r));
    r->ctx = ctx;
    r->stage = *params->stage;
    r->seed = params->seed;
    strcpy(r->dir, params->dir);
    mgen_status status = MGEN_E_AGAIN;
    mgi_message before;
    find_kind(r);
    mgi_quiet_begin(ctx, &before);
    for (int i = 0; i < MGI_READ_TRIES && status == MGEN_E_AGAIN; i++)
        status = r->kind ? find_models(r) : read_sets(r);
    status = mgi_stage_needs(ctx, &r->stage, not_again(ctx, &before, status));
    if (status == MGEN_OK)
        status = mgi_optimizer_init(&r->optimizer, ctx, &r->stage.optimizer, 1, NULL, 0);
    if (status != MGEN_OK)
        destroy(r);
    else
        *out = r;
    return status;
}

/* The name by which one network of the average is saved, `offset` being where names are: that of the first set's without the set's
 * own, with which those that the set has learned begin; an adapter's model has that of another stage. */
static void name_average(const struct mgi_stage_run *r, size_t offset, bool adapted,
                         char out[MGI_NAME_MAX + 1])
{
    const char *name = (const char *)&r->in.set[0] + offset, *first = r->stage.average[0];
    const size_t set = strlen(first); /* "<set>_<part>" */
    if (adapted)
        name = "video_model";
    else if (!strncmp(name, first, set) && name[set] == '_')
        name += set + 1;
    mgi_model_name(out, r->stage.save_as, name);
}

/* One network of each set, averaged in the folder `dir` under the name that takes the place of its own in *result, or,
 * if that is NULL, looked at; `offset` is where names are. */
static mgen_status each_network(struct mgi_stage_run *r, size_t offset, const char *dir,
                                mgi_pipeline_file *result)
{
    const bool video = offset == offsetof(mgi_pipeline_file, video);
    const char *dirs[MGI_AVERAGE_MAX], *names[MGI_AVERAGE_MAX] = {NULL};
    const mgi_adapters *adapters[MGI_AVERAGE_MAX];
    const mgi_average_request q = {.dirs = dirs,
                                   .names = names,
                                   .weights = r->stage.average_weight,
                                   .adapters = video ? adapters : NULL,
                                   .count = r->stage.average_count};
    bool own = false, any = false;
    for (int64_t i = 0; i < q.count; i++) {
        dirs[i] = r->dir;
        names[i] = (const char *)&r->in.set[i] + offset;
        adapters[i] = &r->in.set[i].adapters[MGI_ADAPTED_VIDEO];
        own = own || strcmp(names[i], names[0]) != 0;
        any = any || adapters[i]->count;
    }
    const bool shared = !own && (video ? !any && q.count > 1 : any || q.count > 1);
    if (!names[0][0] || shared) /* a frozen network that all of them share */
        return MGEN_OK;
    if (!result)
        return mgi_average_check(r->ctx, &q);
    char name[MGI_NAME_MAX + 1];
    name_average(r, offset, video && any, name);
    MGI_TRY(mgi_average_models(r->ctx, &q, dir, name));
    strcpy((char *)result + offset, name);
    return MGEN_OK;
}

static mgen_status all_networks(struct mgi_stage_run *r, const char *dir, mgi_pipeline_file *result)
{
    for (size_t k = 0; k < sizeof r->in.set[0].text / sizeof r->in.set[0].text[0]; k++)
        MGI_TRY(each_network(r, offsetof(mgi_pipeline_file, text[k]), dir, result));
    return each_network(r, offsetof(mgi_pipeline_file, video), dir, result);
}

static mgen_status step(struct mgi_stage_run *r, int64_t index, mgen_report *report)
{
    MGI_TRY(r->kind ? average_others(r, NULL) : all_networks(r, NULL, NULL));
    mgi_report_add(report, "step", (double)index);
    mgi_report_add(report, "models", (double)r->stage.average_count);
    r->updated = index + 1;
    return MGEN_OK;
}

static mgen_status write_models(struct mgi_stage_run *r, const char *dir)
{
    if (r->kind)
        return write_other(r, dir);
    MGI_TRY(read_sets(r));
    mgi_pipeline_file result = r->in.set[0];
    MGI_TRY(all_networks(r, dir, &result));
    memset(&result.adapters[MGI_ADAPTED_VIDEO], 0, sizeof result.adapters[0]); /* in its weights */
    for (int64_t i = 0; i < r->stage.average_count; i++) {
        char name[MGI_NAME_MAX + 1];
        mgi_model_name(name, r->stage.average[i], "pipeline");
        MGI_TRY(same_set(r->ctx, &r->in, i, r->dir, name));
    }
    return mgi_stage_save_set(r->ctx, r->dir, dir, r->stage.save_as, &result);
}

static void state(struct mgi_stage_run *r, mgi_stage_state *out)
{
    *out = (mgi_stage_state){
        .stage = &r->stage, .seed = r->seed, .optimizer = &r->optimizer, .position = &r->updated};
    mgi_stage_ranks(out, NULL, NULL);
}

static mgen_status save(struct mgi_stage_run *r)
{
    mgi_stage_state s;
    mgen_status status = MGEN_E_AGAIN;
    mgi_message before;
    state(r, &s);
    mgi_quiet_begin(r->ctx, &before);
    for (int i = 0; i < MGI_READ_TRIES && status == MGEN_E_AGAIN; i++)
        status = mgi_stage_save(r->ctx, &s, r->dir, write_models, r);
    return not_again(r->ctx, &before, status);
}

const struct mgi_stage_kind mgi_stage_average = {create, step, save, state, destroy};
