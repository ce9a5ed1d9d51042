/* SPDX-License-Identifier: MIT
 * Training a prompt rewriter.
 *
 *   loss = mean over the tokens of a caption, its end included, of -log p(token | those before, the prompt)
 *
 * Element i of the training is a pair of a prompt and its caption (train/prompt_pairs.h). A step is `accumulate` passes of
 * a batch each; a pass counts its own tokens.
 */
#include "core/alloc.h"
#include "core/hash.h"
#include "data/dataset.h"
#include "model/rewriter.h"
#include "train/prompt_pairs.h"
#include "train/stage.h"

#include <stddef.h>
#include <string.h>

enum { VALIDATION_BATCH = 16 };

static const char rewriter_name[] = "rewriter";

struct mgi_stage_run {
    mgen_context *ctx;
    mgi_stage stage;
    char dir[MGI_PATH_MAX + 1];
    uint64_t seed, parent;
    mgi_prompt_pairs pairs;
    mgi_rewriter rewriter;
    mgi_module *module[2];
    mgi_optimizer optimizer;
    mgi_data_parallel parallel;
    double flops;    /* of the last step */
    int64_t updated; /* steps whose update is in the weights */
    T *loss;         /* (1) of the last of them */
};

static void destroy(struct mgi_stage_run *r)
{
    mgi_optimizer_finish(&r->optimizer);
    mgi_rewriter_finish(&r->rewriter);
    mgi_prompt_pairs_close(r->ctx, &r->pairs);
    mgi_tensor_release(r->loss);
    mgi_free(r->ctx, r);
}

static void write_config(mgi_json_writer *w, const void *config)
{
    mgi_rewriter_config_write(w, config);
}

/* A new one, or one that is there already. *hash: of the weights that it starts from. */
static mgen_status make(struct mgi_stage_run *r, uint64_t *hash)
{
    mgi_stage *s = &r->stage;
    if (!s->start_from[0]) {
        MGI_TRY(mgi_rewriter_init(&r->rewriter, r->ctx, s->folder[0] ? s->folder : r->dir,
                                  &s->rewriter));
        MGI_TRY(mgi_module_random(mgi_text_module(&r->rewriter.text), r->seed));
        MGI_TRY(mgi_module_random(&r->rewriter.decoder.module, r->seed));
    } else {
        MGI_TRY(mgi_stage_needs(
            r->ctx, s, mgi_rewriter_open(r->ctx, r->dir, s->start_from, &r->rewriter, hash)));
        if (s->has_rewriter)
            MGI_TRY(mgi_stage_same_model(r->ctx, s, s->start_from, write_config,
                                         &r->rewriter.config, &s->rewriter));
        s->rewriter = r->rewriter.config;
    }
    r->parent = mgi_tokenizer_hash(r->rewriter.text.tokenizer);
    if (r->pairs.hash)
        r->parent = mgi_hash64(&r->pairs.hash, sizeof r->pairs.hash, r->parent);
    return MGEN_OK;
}

static mgen_status create(mgen_context *ctx, const mgi_stage_params *params,
                          struct mgi_stage_run **out)
{
    const mgi_stage *stage = params->stage;
    struct mgi_stage_run *r;
    mgen_status status;
    uint64_t start = 0;
    if (params->dataset)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "stage \"%s\" learns from pairs of prompts and captions, not from clips: "
                        "of the toybox or, with \"pairs\" in the recipe, of a file",
                        stage->name);
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *r, &r));
    r->ctx = ctx;
    r->stage = *stage;
    r->seed = params->seed;
    strcpy(r->dir, params->dir);
    MGI_TRY_GOTO(status, mgi_prompt_pairs_open(ctx, stage, r->seed, &r->pairs), failed);
    MGI_TRY_GOTO(status, mgi_tensor_create(ctx->device, MGK_F32, MGI_DIMS(1), &r->loss), failed);
    MGI_TRY_GOTO(status, make(r, &start), failed);
    MGI_TRY_GOTO(status, mgi_stage_agree(params, start), failed);
    r->module[0] = mgi_text_module(&r->rewriter.text);
    r->module[1] = &r->rewriter.decoder.module;
    for (int i = 0; i < 2; i++) {
        MGI_TRY_GOTO(status, mgi_module_train(r->module[i]), failed);
        MGI_TRY_GOTO(status, mgi_module_compute(r->module[i], stage->dtype), failed);
    }
    MGI_TRY_GOTO(
        status,
        mgi_optimizer_init(&r->optimizer, ctx, &stage->optimizer, stage->steps, r->module, 2),
        failed);
    mgi_dp_init(&r->parallel, params->comm, r->module, 2);
    *out = r;
    return MGEN_OK;
failed:
    destroy(r);
    return status;
}

/* -- a batch ------------------------------------------------------------------------------------ */

typedef struct batch {
    int64_t rows, read,
        written; /* pairs; tokens of the longest prompt, and of the longest caption with its end */
    mgi_tokens *prompt, *caption;
    int32_t *ids, *told, *target;
    uint8_t *mask;
} batch;

static void free_batch(mgen_context *ctx, batch *b)
{
    for (int64_t i = 0; i < b->rows; i++) {
        if (b->prompt)
            mgi_tokens_free(ctx, &b->prompt[i]);
        if (b->caption)
            mgi_tokens_free(ctx, &b->caption[i]);
    }
    mgi_free(ctx, b->prompt);
    mgi_free(ctx, b->caption);
    mgi_free(ctx, b->ids);
    mgi_free(ctx, b->told);
    mgi_free(ctx, b->target);
    mgi_free(ctx, b->mask);
}

static mgen_status take_pair(const struct mgi_stage_run *r, const mgi_prompt_pair *pair, batch *b,
                             int64_t i)
{
    const mgi_rewriter *w = &r->rewriter;
    mgi_tokens *caption = &b->caption[i];
    MGI_TRY(mgi_rewriter_read(r->ctx, w, pair->prompt, &b->prompt[i]));
    MGI_TRY(mgi_tokenizer_encode(r->ctx, w->text.tokenizer, pair->caption, caption));
    MGI_TRY(mgi_tokens_push(r->ctx, caption, mgi_rewriter_end(w)));
    if ((int64_t)caption->count > w->config.decoder.t5.tokens_max)
        return mgi_fail(r->ctx, MGEN_E_INVALID,
                        "stage \"%s\": the caption \"%.60s\" has %zu tokens, but the decoder's "
                        "\"tokens_max\" is %lld",
                        r->stage.name, pair->caption, caption->count,
                        (long long)w->config.decoder.t5.tokens_max);
    if ((int64_t)b->prompt[i].count > b->read)
        b->read = (int64_t)b->prompt[i].count;
    if ((int64_t)caption->count > b->written)
        b->written = (int64_t)caption->count;
    return MGEN_OK;
}

/* Rows of ids: what is written begins with the decoder's first token and lacks its last; what is not there counts in
 * neither the attention nor the loss. */
static mgen_status fill(const struct mgi_stage_run *r, batch *b)
{
    const size_t read = (size_t)(b->rows * b->read), written = (size_t)(b->rows * b->written);
    MGI_TRY(mgi_alloc_zero(r->ctx, read, sizeof *b->ids, &b->ids));
    MGI_TRY(mgi_alloc_zero(r->ctx, read, sizeof *b->mask, &b->mask));
    MGI_TRY(mgi_alloc_zero(r->ctx, written, sizeof *b->told, &b->told));
    MGI_TRY(mgi_alloc(r->ctx, written * sizeof *b->target, &b->target));
    memset(b->target, -1, written * sizeof *b->target);
    for (int64_t i = 0; i < b->rows; i++) {
        const mgi_tokens *p = &b->prompt[i], *c = &b->caption[i];
        memcpy(b->ids + i * b->read, p->ids, p->count * sizeof *p->ids);
        memset(b->mask + i * b->read, 1, p->count);
        memcpy(b->target + i * b->written, c->ids, c->count * sizeof *c->ids);
        b->told[i * b->written] = mgi_rewriter_begin(&r->rewriter);
        memcpy(b->told + i * b->written + 1, c->ids, (c->count - 1) * sizeof *c->ids);
    }
    return MGEN_OK;
}

/* Pairs first .. first + rows - 1, of those that are held out or of the training's elements. */
static mgen_status take_batch(const struct mgi_stage_run *r, bool held, uint64_t first,
                              int64_t rows, batch *b)
{
    mgi_prompt_pair *pair;
    *b = (batch){.rows = rows};
    MGI_TRY(mgi_alloc_zero(r->ctx, (size_t)rows, sizeof *b->prompt, &b->prompt));
    MGI_TRY(mgi_alloc_zero(r->ctx, (size_t)rows, sizeof *b->caption, &b->caption));
    MGI_TRY(mgi_alloc(r->ctx, sizeof *pair, &pair));
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < rows && status == MGEN_OK; i++) {
        if (held)
            mgi_prompt_pairs_hold(&r->pairs, (int64_t)first + i, pair);
        else
            mgi_prompt_pairs_take(&r->pairs, first + (uint64_t)i, pair);
        status = take_pair(r, pair, b, i);
    }
    mgi_free(r->ctx, pair);
    return status == MGEN_OK ? fill(r, b) : status;
}

static T *rows_of(mgi_run *run, int32_t dtype, int64_t rows, int64_t tokens, const void *values)
{
    T *x = mgi_new(run, dtype, MGI_DIMS(rows, tokens));
    if (x)
        mgi_tensor_write(x, 0, values, x->count);
    return x;
}

static T *batch_loss(mgi_run *run, const struct mgi_stage_run *r, bool held, uint64_t first,
                     int64_t rows, float weight)
{
    batch b = {0};
    T *loss = NULL;
    if (run->status == MGEN_OK && mgi_ok(run, take_batch(r, held, first, rows, &b))) {
        T *ids = rows_of(run, MGK_I32, rows, b.read, b.ids);
        T *mask = rows_of(run, MGK_U8, rows, b.read, b.mask);
        T *told = rows_of(run, MGK_I32, rows, b.written, b.told);
        T *target = rows_of(run, MGK_I32, rows, b.written, b.target);
        loss = mgi_cross_entropy(run, weight,
                                 mgi_rewriter_logits(run, &r->rewriter, ids, mask, told), target);
    }
    free_batch(r->ctx, &b);
    return loss;
}

/* -- steps -------------------------------------------------------------------------------------- */

static void swap_ema(struct mgi_stage_run *r)
{
    mgi_module_swap_ema(r->module[0]);
    mgi_module_swap_ema(r->module[1]);
}

/* By the averaged weights: the mean of batches of pairs that are held out. */
static mgen_status validate(struct mgi_stage_run *r, mgen_report *report)
{
    const int64_t count = mgi_prompt_pairs_held(&r->pairs, mgi_stage_held(&r->stage));
    double sum = 0.0;
    mgi_run run;
    mgi_run_init(&run, r->ctx, false);
    swap_ema(r);
    for (int64_t first = 0; first < count && run.status == MGEN_OK; first += VALIDATION_BATCH) {
        const int64_t rows = count - first < VALIDATION_BATCH ? count - first : VALIDATION_BATCH;
        int64_t mark = mgi_scope_push(&run);
        T *loss = batch_loss(&run, r, true, (uint64_t)first, rows, 1.0f);
        sum += (double)mgi_stage_value(loss) * (double)rows / (double)count;
        mgi_scope_pop(&run, mark, NULL);
    }
    swap_ema(r);
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    mgi_run_finish(&run);
    if (status != MGEN_OK)
        return status;
    mgi_report_add(report, "val_loss", sum);
    mgi_optimizer_validated(&r->optimizer, sum);
    return MGEN_OK;
}

/* The gradients of pass `i` of a step, whose loss counts `weight` in it. */
static void pass(mgi_run *run, struct mgi_stage_run *r, int64_t index, int64_t i, float weight)
{
    const mgi_stage *s = &r->stage;
    int64_t first, rows;
    if (!mgi_ok(run, mgi_dp_share(&r->parallel, r->ctx, s->batch, &first, &rows)))
        return;
    T *loss = batch_loss(run, r, false, (uint64_t)((index * s->accumulate + i) * s->batch + first),
                         rows, weight);
    mgi_backward(run, loss);
    mgi_stage_sum(run, &loss, 1, r->loss, 0);
}

static mgen_status update(struct mgi_stage_run *r, int64_t index)
{
    const mgi_stage_step s = {&r->stage, &r->optimizer, &r->parallel, r->module, 2, r->loss};
    MGI_TRY(mgi_stage_update(r->ctx, &s, pass, r, index, &r->flops));
    r->updated = index + 1;
    return MGEN_OK;
}

static mgen_status step(struct mgi_stage_run *r, int64_t index, mgen_report *report)
{
    if (r->updated <= index)
        MGI_TRY(update(r, index));
    const float loss = mgi_stage_value(r->loss);
    mgi_stage_report(&r->optimizer, index, loss, report);
    mgi_report_add(report, "flops", r->flops);
    MGI_TRY(mgi_stage_check_loss(r->ctx, index, loss));
    return mgi_stage_validates(&r->stage, index) ? validate(r, report) : MGEN_OK;
}

/* -- what is saved ------------------------------------------------------------------------------ */

static mgen_status write_model(struct mgi_stage_run *r, const char *dir)
{
    char name[MGI_NAME_MAX + 1];
    mgi_model_name(name, r->stage.save_as, rewriter_name);
    MGI_TRY(mgi_rewriter_save(&r->rewriter, dir, name, MGI_ST_BF16));
    return mgi_stage_name_model(r->ctx, r->dir, dir, offsetof(mgi_pipeline_file, rewriter), name,
                                NULL);
}

static void state(struct mgi_stage_run *r, mgi_stage_state *out)
{
    *out = (mgi_stage_state){.stage = &r->stage,
                             .seed = r->seed,
                             .parent = r->parent,
                             .module = {r->module[0], r->module[1]},
                             .modules = 2,
                             .optimizer = &r->optimizer,
                             .position = &r->updated};
    mgi_stage_ranks(out, NULL, r->parallel.comm);
}

static mgen_status save(struct mgi_stage_run *r)
{
    mgi_stage_state s;
    state(r, &s);
    return mgi_stage_save(r->ctx, &s, r->dir, write_model, r);
}

const struct mgi_stage_kind mgi_stage_rewriter = {create, step, save, state, destroy};
