/* SPDX-License-Identifier: MIT
 * Training CLIP: a text encoder and an image encoder whose vectors of a caption and of a frame of its clip shall be alike, and
 * unlike those of others (report App. A.1: Long-prompt MetaCLIP).
 *
 *   l[i][j] = s cos(text(caption i), image(frame j)), s = min(100, scale q^2), q learned
 *   loss = half of the cross entropy of the rows of l, and half of that of its columns, with the right one at [i][i]
 * over the rows of a pass, those of all ranks: each compares its own with those of the others, which it gathers, and the
 * gradients of what it gathered go back to whose it is. What accumulates over passes is told apart by itself. Element i of
 * the dataset's training walk is told in a wording, and seen at a frame, that are drawn by (seed, i).
 */
#include "core/alloc.h"
#include "core/hash.h"
#include "core/philox.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "task/codec.h"
#include "train/stage.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Elements' wordings and frames, apart from what else is drawn by that stream. */
#define CHOICES (UINT64_C(1) << 62)

struct mgi_stage_run {
    mgen_context *ctx;
    mgi_stage stage;
    char dir[MGI_PATH_MAX + 1];
    uint64_t seed, parent,
        start; /* parent: hash of what does not learn; start: of all models of the folder */
    mgi_dataset *dataset;
    mgi_text_encoder text;
    mgi_clip_vision vision;
    mgi_module scale;
    mgi_param *q; /* (1,1) */
    mgi_module *trained[MGI_DP_MODULES];
    int trained_count;
    mgi_optimizer optimizer;
    mgi_data_parallel parallel;
    int64_t rows;    /* of this rank in a pass */
    uint8_t *pixels; /* of a pass */
    char (*captions)[MGI_CAPTION_SIZE];
    const char **prompts; /* these */
    int64_t *tokens;      /* of each role */
    double flops;         /* of the last step */
    int64_t updated;      /* steps whose update is in the weights */
    T *loss;              /* f32[1] of the last of them */
};

static void destroy(struct mgi_stage_run *r)
{
    mgi_optimizer_finish(&r->optimizer);
    mgi_text_encoder_finish(&r->text);
    mgi_clip_vision_finish(&r->vision);
    mgi_module_finish(&r->scale);
    mgi_tensor_release(r->loss);
    mgi_dataset_release(r->dataset);
    mgi_free(r->ctx, r->pixels);
    mgi_free(r->ctx, r->captions);
    mgi_free(r->ctx, r->prompts);
    mgi_free(r->ctx, r->tokens);
    mgi_free(r->ctx, r);
}

/* -- models ------------------------------------------------------------------------------------- */

static mgen_status open_text(struct mgi_stage_run *r, uint64_t *hash)
{
    const mgi_stage *s = &r->stage;
    mgi_text_recipe *recipe = &r->stage.text[MGI_ROLE_METACLIP];
    mgi_text_encoder *e = &r->text;
    if (!recipe->from[0]) {
        MGI_TRY(mgi_text_encoder_init(e, r->ctx, s->folder[0] ? s->folder : r->dir, &recipe->config,
                                      NULL));
        *hash = mgi_tokenizer_hash(e->tokenizer);
        return mgi_module_random(&e->clip.module, r->seed);
    }
    MGI_TRY(mgi_stage_needs(r->ctx, s,
                            mgi_text_encoder_open_pooled(r->ctx, r->dir, recipe->from, e, hash)));
    if (s->tokens_max)
        MGI_TRY(mgi_clip_text_stretch(&e->clip, s->tokens_max));
    e->config.clip = e->clip.config;
    recipe->config = e->config;
    return MGEN_OK;
}

static mgen_status open_vision(struct mgi_stage_run *r, uint64_t *hash)
{
    const mgi_vision_recipe *recipe = &r->stage.vision;
    if (recipe->from[0])
        return mgi_stage_needs(
            r->ctx, &r->stage,
            mgi_clip_vision_open(r->ctx, r->dir, recipe->from, &r->vision, hash));
    MGI_TRY(mgi_clip_vision_init(&r->vision, r->ctx, &recipe->config));
    return mgi_module_random(&r->vision.module, r->seed);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* The report's: positions and biases of the text encoder alone. */
static void freeze_weights(mgi_clip_text *clip)
{
    for (int64_t k = 0; k < clip->module.count; k++) {
        mgi_param *p = clip->module.params[k];
        p->frozen = p != clip->position && !ends_with(p->name, ".bias");
    }
}

static mgen_status learn_by(struct mgi_stage_run *r, mgi_module *m)
{
    r->trained[r->trained_count++] = m;
    return mgi_module_train(m);
}

/* As the recipe says; else as `text` was left, whoever trained it; else as CLIP begins. */
static mgen_status open_scale(struct mgi_stage_run *r)
{
    const double left = r->text.config.clip.scale;
    if (r->stage.scale == 0.0)
        r->stage.scale = left > 0.0 ? left : 1.0 / 0.07;
    mgi_module_init(&r->scale, r->ctx);
    r->q =
        mgi_param_add(&r->scale, (mgi_param_spec){.init = MGI_INIT_ONE}, MGI_DIMS(1, 1), "scale");
    MGI_TRY(mgi_module_divide(&r->scale));
    return mgi_module_random(&r->scale, r->seed);
}

static int64_t text_vector(const mgi_clip_text_config *c)
{
    return c->projection ? c->projection : c->dim;
}

static mgen_status open_models(struct mgi_stage_run *r)
{
    const int32_t learn = r->stage.learn;
    uint64_t text = 0, vision = 0;
    mgen_status status = open_text(r, &text);
    if (status != MGEN_OK)
        return mgi_fail_context(r->ctx, status, "the text encoder");
    status = open_vision(r, &vision);
    if (status != MGEN_OK)
        return mgi_fail_context(r->ctx, status, "the image encoder");
    const int64_t told = text_vector(&r->text.config.clip),
                  seen = mgi_clip_vision_width(&r->vision.config);
    if (told != seen)
        return mgi_fail(
            r->ctx, MGEN_E_STATE,
            "stage \"%s\" compares vectors of texts, which are %lld wide, with those of "
            "pictures, which are %lld; the \"projection\" of both encoders must be as wide",
            r->stage.name, (long long)told, (long long)seen);
    r->start = mgi_hash64(&text, sizeof text, mgi_hash64(&vision, sizeof vision, 0));
    /* a checkpoint has all of what learns in part, too */
    r->parent = mgi_tokenizer_hash(r->text.tokenizer);
    if (learn != MGI_LEARN_ALL)
        r->parent = mgi_hash64(&vision, sizeof vision, r->parent);
    MGI_TRY(open_scale(r));
    if (learn == MGI_LEARN_POSITIONS_AND_BIASES)
        freeze_weights(&r->text.clip);
    MGI_TRY(learn_by(r, &r->text.clip.module));
    if (learn == MGI_LEARN_ALL)
        MGI_TRY(learn_by(r, &r->vision.module));
    MGI_TRY(learn_by(r, &r->scale));
    MGI_TRY(mgi_module_compute(&r->text.clip.module, r->stage.dtype));
    return mgi_module_compute(&r->vision.module, r->stage.dtype);
}

static mgen_status make_room(struct mgi_stage_run *r)
{
    const mgi_dataset *ds = r->dataset;
    const size_t rows = (size_t)r->rows;
    MGI_TRY(mgi_alloc(r->ctx, rows * (size_t)(ds->width * ds->height * 3), &r->pixels));
    MGI_TRY(mgi_alloc_zero(r->ctx, rows, sizeof *r->captions, &r->captions));
    MGI_TRY(mgi_alloc_zero(r->ctx, rows, sizeof *r->prompts, &r->prompts));
    for (size_t i = 0; i < rows; i++)
        r->prompts[i] = r->captions[i];
    return mgi_alloc_zero(r->ctx, rows * MGI_ROLES, sizeof *r->tokens, &r->tokens);
}

static mgen_status share(struct mgi_stage_run *r)
{
    int64_t first;
    return mgi_dp_share(&r->parallel, r->ctx, r->stage.batch, &first, &r->rows);
}

static mgen_status create(mgen_context *ctx, const mgi_stage_params *params,
                          struct mgi_stage_run **out)
{
    const mgi_stage *stage = params->stage;
    struct mgi_stage_run *r;
    mgen_status status;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *r, &r));
    r->ctx = ctx;
    r->stage = *stage;
    r->seed = params->seed;
    strcpy(r->dir, params->dir);
    MGI_TRY_GOTO(status, mgi_stage_dataset(ctx, params, 1, 1, &r->dataset), failed);
    MGI_TRY_GOTO(status, mgi_tensor_create(ctx->device, MGK_F32, MGI_DIMS(1), &r->loss), failed);
    MGI_TRY_GOTO(status, open_models(r), failed);
    MGI_TRY_GOTO(status, mgi_stage_agree(params, r->start), failed);
    MGI_TRY_GOTO(status,
                 mgi_optimizer_init(&r->optimizer, ctx, &stage->optimizer, stage->steps, r->trained,
                                    r->trained_count),
                 failed);
    mgi_dp_init(&r->parallel, params->comm, r->trained, r->trained_count);
    MGI_TRY_GOTO(status, share(r), failed);
    MGI_TRY_GOTO(status, make_room(r), failed);
    *out = r;
    return MGEN_OK;
failed:
    destroy(r);
    return status;
}

/* By q, or by its average. */
static double scale_of(const struct mgi_stage_run *r, const T *q)
{
    const double value = (double)mgi_stage_value(q);
    return fmin(r->stage.scale * value * value, MGI_CLIP_SCALE_MAX);
}

/* -- vectors ------------------------------------------------------------------------------------ */

/* Of captions -> (N,D) in the module's dtype. */
static T *of_texts(mgi_run *run, struct mgi_stage_run *r, const char *const *prompts, int64_t count)
{
    const mgi_text_encoder *const text[MGI_ROLES] = {[MGI_ROLE_METACLIP] = &r->text};
    int32_t *place;
    mgi_text_rows rows = {0};
    mgi_text_ids ids;
    mgi_ok(run, mgi_text_rows_make(run->ctx, text, 0, prompts, count, &rows));
    mgi_text_ids_make(run, text, &rows, 1, r->tokens, &ids);
    mgi_text_rows_free(run->ctx, &rows);
    T *id = ids.ids[MGI_ROLE_METACLIP], *last = id ? mgi_new(run, MGK_I32, MGI_DIMS(count)) : NULL;
    if (!last || !mgi_ok(run, mgi_alloc(run->ctx, (size_t)count * sizeof *place, &place)))
        return NULL;
    for (int64_t i = 0; i < count; i++) /* the end is the last token that counts */
        place[i] = (int32_t)(i * id->dims[1] + ids.tokens[MGI_ROLE_METACLIP][i] - 1);
    mgi_tensor_write(last, 0, place, count);
    mgi_free(run->ctx, place);
    T *x = mgi_text_encoder_forward(run, &r->text, id, ids.mask[MGI_ROLE_METACLIP]);
    return mgi_clip_text_pool(run, &r->text.clip, x, last);
}

/* Of frames (N,H,W,3) -> (N,D) in the module's dtype. */
static T *of_frames(mgi_run *run, struct mgi_stage_run *r, const uint8_t *pixels, int64_t count)
{
    T *x = mgi_new(run, MGK_U8, MGI_DIMS(count, r->dataset->height, r->dataset->width, 3));
    if (!x)
        return NULL;
    mgi_tensor_write(x, 0, pixels, x->count);
    return mgi_clip_vision_forward(run, &r->vision, mgi_clip_vision_frames(run, &r->vision, x));
}

/* x (N,D), f32, each as long as the square root of D. */
static T *directions(mgi_run *run, T *x)
{
    return mgi_norm(run, mgi_cast(run, x, MGK_F32),
                    (mgi_norm_options){.kind = MGK_NORM_RMS, .eps = 1e-12f});
}

static T *constant(mgi_run *run, int64_t rows, float value)
{
    T *x = mgi_new(run, MGK_F32, MGI_DIMS(rows, 1));
    if (x)
        mgi_fill(run, x, value);
    return x;
}

/* (1,1,D), each s / D: what is over the largest s is taken off. */
static T *factors(mgi_run *run, const struct mgi_stage_run *r, int64_t d)
{
    T *minus = constant(run, 1, -1.0f), *most = constant(run, 1, (float)MGI_CLIP_SCALE_MAX);
    most = most ? mgi_reshape(run, most, MGI_DIMS(1)) : NULL;
    T *s = mgi_linear(run, mgi_unary(run, mgi_value(r->q), MGK_UNARY_SQUARE),
                      constant(run, 1, (float)r->stage.scale), NULL);
    s = mgi_unary(run, mgi_linear(run, s, minus, most), MGK_UNARY_RELU);
    s = mgi_linear(run, s, minus, most);
    return s ? mgi_reshape(run, mgi_linear(run, constant(run, d, 1.0f / (float)d), s, NULL),
                           MGI_DIMS(1, 1, d))
             : NULL;
}

/* a (N,D), b (M,D), both directions -> (N,M). */
static T *logits_of(mgi_run *run, T *a, T *b, T *factors)
{
    if (!a || !b)
        return NULL;
    const int64_t n = a->dims[0], d = a->dims[1];
    T *zero = mgi_new(run, MGK_F32, MGI_DIMS(1, n, d));
    if (!zero)
        return NULL;
    mgi_fill(run, zero, 0.0f);
    a = mgi_gated_residual(run, zero, mgi_reshape(run, a, MGI_DIMS(1, n, d)), factors, 0);
    return mgi_linear(run, mgi_reshape(run, a, MGI_DIMS(n, d)), b, NULL);
}

/* x (N,D) of each rank -> those of all of them, in their order. */
static T *of_ranks(mgi_run *run, const struct mgi_stage_run *r, T *x)
{
    T *all = x ? mgi_reshape(run, x, MGI_DIMS(1, x->dims[0], x->dims[1])) : NULL;
    all = all ? mgi_gather_rows(run, r->parallel.comm, all) : NULL;
    return all ? mgi_reshape(run, all, MGI_DIMS(all->dims[1], all->dims[2])) : NULL;
}

/* -- steps -------------------------------------------------------------------------------------- */

/* Element `element` of the training walk, into row i. */
static mgen_status take(struct mgi_stage_run *r, uint64_t element, int64_t i)
{
    mgi_dataset *ds = r->dataset;
    const uint64_t index = mgi_dataset_element(ds, r->seed, element);
    const double lot = (double)mgi_random_unit(r->seed, MGI_STREAM_SAMPLE, CHOICES + 2 * element);
    const uint32_t pick = mgi_random_u32(r->seed, MGI_STREAM_SAMPLE, CHOICES + 2 * element + 1);
    const int64_t frame = (int64_t)(lot * (double)ds->frames);
    MGI_TRY(mgi_dataset_piece(r->ctx, ds, index, frame, 1,
                              r->pixels + i * ds->width * ds->height * 3, r->captions[i]));
    if (mgi_dataset_drawn(ds))
        mgi_dataset_told(ds, index, pick, r->captions[i]);
    return MGEN_OK;
}

static mgen_status take_all(struct mgi_stage_run *r, uint64_t first)
{
    for (int64_t i = 0; i < r->rows; i++)
        MGI_TRY(take(r, first + (uint64_t)i, i));
    return MGEN_OK;
}

/* (N): first, first + 1, ... */
static T *numbers(mgi_run *run, int64_t first, int64_t count)
{
    int32_t *n;
    T *x = mgi_new(run, MGK_I32, MGI_DIMS(count));
    if (!x || !mgi_ok(run, mgi_alloc(run->ctx, (size_t)count * sizeof *n, &n)))
        return NULL;
    for (int64_t i = 0; i < count; i++)
        n[i] = (int32_t)(first + i);
    mgi_tensor_write(x, 0, n, count);
    mgi_free(run->ctx, n);
    return x;
}

/* The gradients of pass `i` of step `index`, of which it is `weight`. */
static void pass(mgi_run *run, struct mgi_stage_run *r, int64_t index, int64_t i, float weight)
{
    static const int32_t turned[] = {1, 0};
    const mgi_stage *s = &r->stage;
    int64_t first, count;
    if (!mgi_ok(run, mgi_dp_share(&r->parallel, r->ctx, s->batch, &first, &count)) ||
        !mgi_ok(run, take_all(r, (uint64_t)((index * s->accumulate + i) * s->batch + first))))
        return;
    T *t = directions(run, of_texts(run, r, r->prompts, count)),
      *v = directions(run, of_frames(run, r, r->pixels, count));
    T *f = v ? factors(run, r, v->dims[1]) : NULL, *right = numbers(run, first, count);
    const bool alone = count == s->batch; /* then the one is the other, turned */
    T *seen = logits_of(run, t, alone ? v : of_ranks(run, r, v), f);
    T *told = alone ? mgi_permute(run, seen, turned) : logits_of(run, v, of_ranks(run, r, t), f);
    T *images = mgi_cross_entropy(run, 0.5f * weight, seen, right);
    T *texts = mgi_cross_entropy(run, 0.5f * weight, told, right);
    T *loss = mgi_add(run, images, texts);
    if (run->status == MGEN_OK)
        mgi_ok(run, mgi_backward(run, loss));
    mgi_stage_sum(run, &loss, 1, r->loss, 0);
}

static mgen_status update(struct mgi_stage_run *r, int64_t index)
{
    const mgi_stage_step s = {&r->stage,  &r->optimizer,    &r->parallel,
                              r->trained, r->trained_count, r->loss};
    MGI_TRY(mgi_stage_update(r->ctx, &s, pass, r, index, &r->flops));
    r->updated = index + 1;
    return MGEN_OK;
}

/* -- validation --------------------------------------------------------------------------------- */

static double scale_now(const struct mgi_stage_run *r)
{
    return scale_of(r, r->q->value);
}

/* The vectors of clip i that is held out, by its plain caption and the frame in its middle: `each` values, of length 1. */
static void held_vectors(mgi_run *run, struct mgi_stage_run *r, int64_t i, uint8_t *film,
                         float *text, float *image)
{
    const mgi_dataset *ds = r->dataset;
    const int64_t frames = ds->frames / 2 + 1, bytes = ds->width * ds->height * 3;
    const char *prompt = r->captions[0];
    if (!mgi_ok(run, mgi_dataset_held(r->ctx, r->dataset, i, frames, film, r->captions[0])))
        return;
    T *const made[] = {directions(run, of_texts(run, r, &prompt, 1)),
                       directions(run, of_frames(run, r, film + (frames - 1) * bytes, 1))};
    float *const out[] = {text, image};
    for (int k = 0; k < 2 && run->status == MGEN_OK; k++) {
        const int64_t each = made[k]->count;
        mgi_tensor_read(made[k], 0, out[k], each);
        for (int64_t j = 0; j < each; j++)
            out[k][j] /= sqrtf((float)each);
    }
}

/* From line `at` of n similarities, `step` apart, -log of the softmax at the right one; *first: whether that is the largest. */
static double unlikely(const double *l, int64_t at, int64_t step, int64_t n, int64_t right,
                       bool *first)
{
    double most = l[at], sum = 0.0;
    int64_t where = 0;
    for (int64_t j = 1; j < n; j++)
        if (l[at + j * step] > most) {
            most = l[at + j * step];
            where = j;
        }
    for (int64_t j = 0; j < n; j++)
        sum += exp(l[at + j * step] - most);
    *first = where == right;
    return most + log(sum) - l[at + right * step];
}

static mgen_status compare_held(struct mgi_stage_run *r, const float *text, const float *image,
                                int64_t n, int64_t each, mgen_report *report)
{
    const double scale = scale_now(r);
    double *l, loss = 0.0, found = 0.0;
    MGI_TRY(mgi_alloc(r->ctx, (size_t)(n * n) * sizeof *l, &l));
    for (int64_t k = 0; k < n * n; k++) {
        double sum = 0.0;
        for (int64_t j = 0; j < each; j++)
            sum += (double)text[k / n * each + j] * (double)image[k % n * each + j];
        l[k] = scale * sum;
    }
    for (int64_t i = 0; i < n; i++) {
        bool image_first, text_first;
        loss += unlikely(l, i * n, 1, n, i, &image_first) + unlikely(l, i, n, n, i, &text_first);
        found += image_first;
    }
    mgi_free(r->ctx, l);
    loss /= 2.0 * (double)n;
    mgi_report_add(report, "val_loss", loss);
    mgi_report_add(report, "val_recall", found / (double)n);
    mgi_optimizer_validated(&r->optimizer, loss);
    return MGEN_OK;
}

static mgen_status validate_with(struct mgi_stage_run *r, uint8_t *film, float *vectors, int64_t n,
                                 int64_t each, mgen_report *report)
{
    mgi_run run;
    mgi_run_init(&run, r->ctx, false);
    for (int64_t i = 0; i < n && run.status == MGEN_OK; i++) {
        int64_t mark = mgi_scope_push(&run);
        held_vectors(&run, r, i, film, vectors + i * each, vectors + (n + i) * each);
        mgi_scope_pop(&run, mark, NULL);
    }
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status == MGEN_OK ? compare_held(r, vectors, vectors + n * each, n, each, report)
                             : status;
}

/* By the averaged weights. */
static mgen_status validate(struct mgi_stage_run *r, mgen_report *report)
{
    const mgi_dataset *ds = r->dataset;
    const int64_t n = mgi_dataset_held_count(ds, mgi_stage_held(&r->stage)),
                  each = mgi_clip_vision_width(&r->vision.config);
    uint8_t *film = NULL;
    float *vectors = NULL;
    mgen_status status =
        mgi_alloc(r->ctx, (size_t)((ds->frames / 2 + 1) * ds->width * ds->height * 3), &film);
    if (status == MGEN_OK)
        status = mgi_alloc(r->ctx, (size_t)(2 * n * each) * sizeof *vectors, &vectors);
    for (int k = 0; k < r->trained_count; k++)
        mgi_module_swap_ema(r->trained[k]);
    if (status == MGEN_OK)
        status = validate_with(r, film, vectors, n, each, report);
    for (int k = 0; k < r->trained_count; k++)
        mgi_module_swap_ema(r->trained[k]);
    mgi_free(r->ctx, film);
    mgi_free(r->ctx, vectors);
    return status;
}

static mgen_status step(struct mgi_stage_run *r, int64_t index, mgen_report *report)
{
    if (r->updated <= index)
        MGI_TRY(update(r, index));
    const float loss = mgi_stage_value(r->loss);
    mgi_stage_report(&r->optimizer, index, loss, report);
    mgi_report_add(report, "scale", scale_now(r));
    mgi_report_add(report, "flops", r->flops);
    MGI_TRY(mgi_stage_check_loss(r->ctx, index, loss));
    return mgi_stage_validates(&r->stage, index) ? validate(r, report) : MGEN_OK;
}

/* -- what is saved ------------------------------------------------------------------------------ */

/* What does not learn is saved to the bit. */
static mgen_status write_models(struct mgi_stage_run *r, const char *dir)
{
    const mgi_stage *s = &r->stage;
    char name[MGI_NAME_MAX + 1];
    const double scale = scale_of(r, r->q->ema ? r->q->ema : r->q->value);
    r->text.config.clip.scale = fmax(scale, MGI_CLIP_SCALE_MIN);
    mgi_model_name(name, s->save_as, "clip_text");
    MGI_TRY(mgi_text_encoder_save(&r->text, dir, name,
                                  s->learn == MGI_LEARN_POSITIONS_AND_BIASES ? MGI_ST_F32
                                                                             : MGI_ST_BF16));
    mgi_model_name(name, s->save_as, "clip_vision");
    return mgi_clip_vision_save(&r->vision, dir, name,
                                s->learn == MGI_LEARN_ALL ? MGI_ST_BF16 : MGI_ST_F32);
}

static void state(struct mgi_stage_run *r, mgi_stage_state *out)
{
    *out = (mgi_stage_state){.stage = &r->stage,
                             .seed = r->seed,
                             .data = r->dataset->kind,
                             .parent = r->parent,
                             .modules = r->trained_count,
                             .optimizer = &r->optimizer,
                             .position = &r->updated};
    memcpy(out->module, r->trained, sizeof out->module);
    mgi_stage_ranks(out, NULL, r->parallel.comm);
}

static mgen_status save(struct mgi_stage_run *r)
{
    mgi_stage_state s;
    state(r, &s);
    return mgi_stage_save(r->ctx, &s, r->dir, write_models, r);
}

const struct mgi_stage_kind mgi_stage_clip = {create, step, save, state, destroy};
