/* SPDX-License-Identifier: MIT
 * The transformers of a model folder, stored anew. */
#include "train/convert.h"

#include "core/alloc.h"
#include "core/quiet.h"
#include "task/pipeline.h"

#include <string.h>

/* What the writer reads of a tensor. */
typedef struct source {
    mgen_context *ctx;
    const mgi_st_entry *entry;
    int64_t index, count; /* of those of its file */
} source;

/* A model's file, and its tensors on their way into another, in the order of parameters. */
typedef struct conversion {
    mgen_context *ctx;
    mgi_model_file file;
    mgi_st_dtype store;
    mgi_st_source *list;
    source *from;
} conversion;

/* Called with the network on shapes, which knows what may be codes. */
static mgen_status choose(mgen_context *shapes, const void *config, const void *data)
{
    const conversion *c = data;
    const mgi_st_file *st = &c->file.weights;
    mgi_vt network;
    MGI_TRY(mgi_vt_init(&network, shapes, config));
    mgen_status status = mgi_module_fits(&network.module, st, c->file.weights_name);
    for (int64_t k = 0; k < network.module.count && status == MGEN_OK; k++) {
        const mgi_param *p = network.module.params[k];
        const mgi_st_entry *e = mgi_st_find(st, p->name);
        c->from[k] = (source){c->ctx, e, k, network.module.count};
        c->list[k] = (mgi_st_source){.name = e->name,
                                     .store = p->codes ? c->store : MGI_ST_BF16,
                                     .rank = e->rank,
                                     .data = &c->from[k]};
        memcpy(c->list[k].dims, e->dims, (size_t)e->rank * sizeof *e->dims);
    }
    mgi_vt_finish(&network);
    return status;
}

static mgen_status values(const void *data, int64_t first, float *out, int64_t n)
{
    const source *of = data;
    if (first == 0)
        MGI_TRY(mgi_progress(of->ctx, "storing weights", (uint64_t)of->index, (uint64_t)of->count));
    return mgi_st_read_part(of->ctx, of->entry, first, out, n);
}

/* A video model is its transformer, the other kinds have one. */
static mgen_status convert_open(conversion *c, const char *dir, const char *staging)
{
    const mgi_json *part = mgi_json_find(c->file.config, "transformer");
    char path[MGI_PATH_MAX + 1];
    mgi_vt_config config;
    mgen_status status = mgi_vt_config_read(c->ctx, part ? part : c->file.config, &config);
    if (status != MGEN_OK)
        return mgi_fail_context(c->ctx, status, "%s/%s", dir, c->file.json_name);
    const size_t count = (size_t)c->file.weights.count;
    MGI_TRY(mgi_path_join(c->ctx, staging, c->file.weights_name, path, sizeof path));
    status = mgi_alloc_zero(c->ctx, count, sizeof *c->list, &c->list);
    if (status == MGEN_OK)
        status = mgi_alloc_zero(c->ctx, count, sizeof *c->from, &c->from);
    if (status == MGEN_OK)
        status = mgi_model_file_fits(c->ctx, choose, &config, c);
    if (status == MGEN_OK)
        status = mgi_st_write_read(c->ctx, path, c->list, (int64_t)count,
                                   (const char *const[]){"format", "moviegen"}, 1, values);
    mgi_free(c->ctx, c->list);
    mgi_free(c->ctx, c->from);
    return status;
}

static mgen_status convert_model(mgen_context *ctx, const char *dir, const char *name,
                                 mgi_st_dtype store, const char *staging)
{
    conversion c = {.ctx = ctx, .store = store};
    MGI_TRY(mgi_model_file_open(ctx, dir, name, NULL, &c.file));
    mgen_status status = convert_open(&c, dir, staging);
    mgi_model_file_close(ctx, &c.file);
    return status;
}

/* AGAIN where another save came between. */
static mgen_status convert_once(mgen_context *ctx, const char *dir, mgi_st_dtype store)
{
    enum { KINDS = 5 };
    mgi_pipeline_file p;
    mgi_save s;
    int count = 0;
    MGI_TRY(mgi_pipeline_file_read(ctx, dir, "pipeline", &p));
    const char *const names[KINDS] = {p.video, p.upsampler, p.editor, p.audio, p.personalizer};
    const uint64_t stamp = mgi_pipeline_stamp(dir, "pipeline", &p);
    for (int i = 0; i < KINDS; i++)
        count += names[i][0] != '\0';
    if (!count)
        return mgi_fail(ctx, MGEN_E_INVALID, "the models in '%s' have no transformer to convert",
                        dir);
    MGI_TRY(mgi_save_begin(ctx, dir, &s));
    mgen_status status = MGEN_OK;
    for (int i = 0; i < KINDS && status == MGEN_OK; i++)
        if (names[i][0])
            status = convert_model(ctx, dir, names[i], store, s.staging);
    if (mgi_may_be_replaced(status) && stamp != mgi_pipeline_stamp(dir, "pipeline", &p))
        status =
            mgi_fail(ctx, MGEN_E_AGAIN, "%s: the models were replaced while they were read", dir);
    return mgi_save_end(&s, status);
}

mgen_status mgi_convert_folder(mgen_context *ctx, const char *dir, mgi_st_dtype store)
{
    mgen_status status = MGEN_E_AGAIN;
    mgi_message before;
    mgi_quiet_begin(ctx, &before); /* earlier tries are nobody's business */
    for (int i = 0; i < MGI_READ_TRIES && status == MGEN_E_AGAIN; i++)
        status = convert_once(ctx, dir, store);
    if (status == MGEN_E_AGAIN)
        status = mgi_fail_context(ctx, MGEN_E_IO, "others keep saving them");
    mgi_quiet_end(ctx, &before, status == MGEN_OK);
    return status;
}
