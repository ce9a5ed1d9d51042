/* SPDX-License-Identifier: MIT
 * Training the video transformer and, along with it, text encoders that are not frozen, by flow matching.
 *
 *   clips are encoded once by the trained TAE (train/latents.h), those of a step of one size (train/buckets.h);
 *   X_t = t X_1 + (1 - (1 - sigma) t) X_0,  V = X_1 - (1 - sigma) X_0,  t = sigmoid(normal)
 *   loss = mean (u(X_t, text, t) - V)^2; a share of the captions is replaced by nothing.
 *
 * An upsampler sees another clip's latents, its condition, beside X_t (train/pairs.h): u(X_t, condition, text, t). So does
 * an editor (train/edits.h), which is told a task, too; text, condition or both are left out of some samples, where the
 * condition becomes a black film. A personalizer sees a photo (train/photos.c): u(X_t, tokens of it, text, t), which is left
 * out likewise; along with it, its image encoder may learn.
 *
 * A stage that learns preferences ("prefer") has the weights b that it starts from beside those that learn. Of a film with
 * the preference w, -1 to 1, the target is not V but b + strength w (V - b): towards films that are preferred, away from those
 * that are not, and where nothing is preferred or the text is left out, to stay (DiffusionNFT, Zheng et al. 2025). The films
 * are the dataset's, with their scores, or ones that b has made (train/prefer.h).
 *
 * A stage that trains an adapter ("adapter", model/adapter.h) runs its model with the matrices that this makes of those that it
 * starts from, made anew as a step begins; of their gradients, which become the adapter's, those of one block are there at a time.
 *
 * Or, of a model with "objective": "v_prediction", by diffusion (flow/diffusion.h): X_t = a X_1 + s X_0,
 *   V = a X_0 - s X_1, a and s of one of its levels, each as likely as the others.
 */
#include "core/alloc.h"
#include "core/hash.h"
#include "core/philox.h"
#include "data/folder_scores.h"
#include "dist/collective.h"
#include "flow/schedule.h"
#include "kernels/loss/loss.h"
#include "kernels/random/random.h"
#include "nn/partial.h"
#include "task/generate.h"
#include "train/video_stage.h"

#include <math.h>
#include <string.h>

enum { VALIDATION_BATCH = 32, TIMES = 10 };

/* Times of validation, report defaults: the means of ten equal shares of sigmoid(normal), by their quantiles.
 * Normal quantiles 0.05, 0.15, ... 0.45; the others are their mirror images. */
static const double quantiles[TIMES / 2] = {-1.6448536270, -1.0364333895, -0.6744897502,
                                            -0.3853204664, -0.1256613469};

/* What a loss is taken of. flow: the velocity of the flow is meant, whatever the model predicts. */
typedef struct inputs {
    T *x1, *x0, *t, *condition; /* condition: of an upsampler or an editor, else NULL */
    T *photos;                  /* of a personalizer */
    mgi_text_ids ids;
    mgi_vt_text places; /* no streams yet; with the task, and so many rows of photos' tokens */
    T *preferences;     /* strength w of each row; NULL: the target is V */
    bool flow;
    float weight;
} inputs;

static void destroy(struct mgi_stage_run *r)
{
    mgen_context *ctx = r->ctx;
    mgi_fsdp_destroy(r->fsdp);
    mgi_optimizer_finish(&r->optimizer);
    mgi_adapter_finish(&r->adapter);
    mgi_vt_finish(&r->video);
    mgi_vt_finish(&r->before);
    mgi_clip_vision_finish(&r->vision);
    for (int i = 0; i < MGI_ROLES; i++)
        mgi_text_encoder_finish(&r->text[i]);
    mgi_tae_finish(&r->tae);
    mgi_tae_finish(&r->artifacts);
    mgi_back_finish(&r->back);
    mgi_buckets_free(ctx, &r->buckets);
    mgi_dataset_release(r->dataset);
    mgi_free(ctx, r->captions);
    mgi_free(ctx, (void *)r->prompts);
    mgi_free(ctx, r->tokens);
    mgi_free(ctx, r->times);
    mgi_free(ctx, r->tasks);
    mgi_free(ctx, r->photos);
    mgi_free(ctx, r->references);
    mgi_free(ctx, r->preferences);
    mgi_prefer_free(ctx, &r->preferred);
    mgi_free(ctx, r->now.latents);
    mgi_text_rows_free(ctx, &r->now.text);
    mgi_tensor_release(r->loss);
    mgi_graph_finish(&r->graph);
    mgi_free(ctx, r);
}

static mgen_status encode_all(struct mgi_stage_run *r, const mgi_stage_params *params)
{
    mgi_stage_state ranks;
    mgi_stage_ranks(&ranks, params->mesh, params->comm);
    const mgi_latents_request q = {.tae = &r->tae,
                                   .tae_hash = r->tae_hash,
                                   .dataset = r->dataset,
                                   .seed = r->seed,
                                   .cache_dir = params->cache_dir,
                                   .pairs = mgi_trains_upsampler(r) ? &r->pairs : NULL,
                                   .edits = mgi_trains_editor(r) ? &r->edits : NULL,
                                   .ranks = ranks.world};
    mgen_status status = mgi_buckets_encode(r->ctx, &r->buckets, &q);
    if (status == MGEN_OK && r->stage.video.fps_prefix)
        status = mgi_comm_together_in(r->ctx, ranks.world,
                                      mgi_buckets_tell_rates(r->ctx, &r->buckets, r->seed), NULL);
    if (r->back.made)
        mgi_log(r->ctx, MGEN_LOG_INFO,
                "of %lld films that \"%s\" made, %lld are what they were to become; the others "
                "gave way to true ones",
                (long long)r->back.made, r->stage.back_from, (long long)r->back.kept);
    r->edits.back = NULL;
    mgi_back_finish(&r->back); /* its memory is the training's */
    return status;
}

/* The model that preferences lead away from: a model's own copy, or an adapter's model without it, until that is back. */
static const mgi_vt *as_it_was(struct mgi_stage_run *r)
{
    mgi_adapter_aside(&r->adapter, true);
    return mgi_trains_adapter(r) ? &r->video : &r->before;
}

/* Of all that films are made by: what the model starts from, what it becomes by its configuration and the seed, the text
 * encoders and the autoencoder. */
static mgen_status hash_made_by(const struct mgi_stage_run *r, uint64_t *out)
{
    const uint64_t numbers[] = {r->parent, r->start, r->seed};
    mgi_json_writer w;
    const char *text;
    size_t size;
    mgi_json_writer_init(&w, r->ctx, 0);
    mgi_json_open(&w, NULL, '{');
    mgi_vt_config_write(&w, &r->video.config);
    mgi_json_close(&w, '}');
    mgen_status status = mgi_json_text(&w, &text, &size);
    if (status == MGEN_OK)
        *out = mgi_hash64(text, size, mgi_hash64(numbers, sizeof numbers, 0));
    mgi_json_writer_free(&w);
    return status;
}

/* Where the data tells no scores: films that are judged. */
static mgen_status make_preferred(struct mgi_stage_run *r, const mgi_stage_params *params)
{
    const mgi_bucket_data *b = &r->buckets.list[0];
    mgi_stage_state ranks;
    if (!r->stage.prefer.on || !mgi_dataset_drawn(r->dataset))
        return MGEN_OK;
    uint64_t made_by = 0;
    mgi_stage_ranks(&ranks, params->mesh, params->comm);
    MGI_TRY(mgi_comm_together_in(r->ctx, ranks.world, hash_made_by(r, &made_by), NULL));
    mgi_networks n = mgi_video_networks(r);
    n.video = as_it_was(r);
    n.clip =
        (mgi_clip_shape){b->bucket.width, b->bucket.height, b->bucket.frames, mgi_bucket_fps(b)};
    mgen_status status =
        mgi_prefer_make(r->ctx,
                        &(mgi_prefer_request){.networks = &n,
                                              .recipe = &r->stage.prefer,
                                              .captions = b->dataset,
                                              .first = b->first + (uint64_t)b->clips,
                                              .seed = r->seed,
                                              .made_by = made_by,
                                              .cache_dir = params->cache_dir,
                                              .ranks = ranks.world},
                        &r->preferred);
    mgi_adapter_aside(&r->adapter, false);
    return status;
}

/* Films that are divided have been looked at. */
static mgen_status check_films(const struct mgi_stage_run *r, const mgi_stage_params *params)
{
    mgi_stage_state ranks;
    mgi_stage_ranks(&ranks, params->mesh, params->comm);
    return r->buckets.divided ? mgi_buckets_agree(&r->buckets, ranks.world)
                              : mgi_stage_check_films(r->ctx, &r->stage, r->dataset);
}

/* Films are judged, or come with scores. */
static mgen_status check_preferences(struct mgi_stage_run *r)
{
    mgi_stage *s = &r->stage;
    if (!s->prefer.on)
        return MGEN_OK;
    if (!mgi_dataset_drawn(r->dataset))
        return mgi_dataset_check_scores(r->ctx, r->dataset);
    if (s->bucket_count > 1 || s->world.people > 0.0f)
        return mgi_fail(r->ctx, MGEN_E_INVALID,
                        "stage \"%s\" has films of one kind made and judged: \"prefer\" wants one "
                        "bucket and, of \"world\", no \"people\", or a folder of films with scores",
                        s->name);
    if (r->mesh && r->mesh->shape.shard > 1)
        return mgi_fail(
            r->ctx, MGEN_E_UNSUPPORTED,
            "stage \"%s\" has films made, of which \"prefer\" learns, by a model that is "
            "not sharded; use a mesh without \"shard\", or a folder of films with scores",
            s->name);
    s->clips = s->batch; /* of the dataset's none is learnt from */
    return MGEN_OK;
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
    mgi_graph_init(&r->graph, ctx->device);
    strcpy(r->dir, params->dir);
    r->mesh = params->mesh;
    mgi_diffusion_times(r->levels);
    MGI_TRY_GOTO(status, mgi_video_open_taes(r), failed);
    MGI_TRY_GOTO(status,
                 mgi_stage_dataset(ctx, params, 1, mgi_tae_factor(&r->stage.tae), &r->dataset),
                 failed);
    MGI_TRY_GOTO(status, check_preferences(r), failed);
    MGI_TRY_GOTO(
        status,
        mgi_buckets_init(ctx, &r->stage, r->dataset, mgi_stage_held(&r->stage), &r->buckets),
        failed);
    MGI_TRY_GOTO(status, mgi_video_open_models(r, params), failed);
    MGI_TRY_GOTO(status, check_films(r, params), failed);
    size_t rows =
        (size_t)(r->buckets.batch > VALIDATION_BATCH ? r->buckets.batch : VALIDATION_BATCH);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, rows, sizeof *r->captions, &r->captions), failed);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, rows, sizeof *r->prompts, &r->prompts), failed);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, rows, MGI_ROLES * sizeof *r->tokens, &r->tokens),
                 failed);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, rows, sizeof *r->times, &r->times), failed);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, rows, sizeof *r->tasks, &r->tasks), failed);
    if (mgi_trains_personalizer(r))
        MGI_TRY_GOTO(status, mgi_photos_alloc(r, rows), failed);
    MGI_TRY_GOTO(status, mgi_tensor_create(ctx->device, MGK_F32, MGI_DIMS(1), &r->loss), failed);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, rows, sizeof *r->preferences, &r->preferences),
                 failed);
    MGI_TRY_GOTO(status, encode_all(r, params), failed);
    MGI_TRY_GOTO(status, make_preferred(r, params), failed);
    mgi_dp_init(&r->parallel, params->comm, r->trained, r->trained_count);
    r->parallel.fsdp = r->fsdp;
    *out = r;
    return MGEN_OK;
failed:
    destroy(r);
    return status;
}

/* Room for clips and, where there are such, for conditions. */
static bool latent_batch(mgi_run *run, const mgi_latents *l, int64_t rows, inputs *b)
{
    const int64_t *d = l->dims, dims[] = {rows, d[0], d[1], d[2], d[3]};
    b->x1 = mgi_new(run, MGK_F32, 5, dims);
    if (l->step > l->size)
        b->condition = mgi_new(run, MGK_F32, 5, dims);
    return run->status == MGEN_OK;
}

/* The prompt of row i: of what is drawn, in a wording drawn anew each time. */
static void take_prompt(struct mgi_stage_run *r, const mgi_bucket_data *b, int64_t clip, int64_t i,
                        const uint32_t pick[4])
{
    if (b->latents.captions) {
        r->prompts[i] = b->latents.captions[clip];
        return;
    }
    mgi_dataset_told(b->dataset, b->first + (uint64_t)clip, pick[1], r->captions[i]);
    r->prompts[i] = r->captions[i];
}

/* Of row i some parts are left out: the text, what is seen or both. */
static void drop_parts(struct mgi_stage_run *r, const mgi_latents *l, int64_t i)
{
    const mgi_stage *s = &r->stage;
    float lot = mgi_random_unit(r->seed, MGI_STREAM_DROP, r->now.first + (uint64_t)i);
    if (lot < (float)(s->drop + s->drop_both))
        r->prompts[i] = "";
    if (lot < (float)s->drop || lot >= (float)(s->drop + s->drop_both + s->drop_source))
        return;
    if (mgi_trains_personalizer(r))
        r->references[i] = 0;
    else
        memcpy(r->now.latents + (r->now.rows + i) * l->size, l->black,
               (size_t)l->size * sizeof(float));
}

static int64_t drawn_of(uint32_t pick, int64_t count)
{
    return (int64_t)(((uint64_t)pick * (uint64_t)count) >> 32);
}

/* Of row i, whose prompt may have been left out: what does not follow the text has no preference. */
static void weigh(struct mgi_stage_run *r, int64_t i, float preference)
{
    r->preferences[i] = r->prompts[i][0] ? (float)r->stage.prefer.strength * preference : 0.0f;
}

/* How reading a row of the batch went. */
static void note(struct mgi_stage_run *r, mgen_status status)
{
    if (status != MGEN_OK)
        r->failed = status;
}

/* Row i: a film that was made. */
static void take_preferred(struct mgi_stage_run *r, const mgi_latents *l, int64_t i, uint32_t pick)
{
    const mgi_preferred *p = &r->preferred;
    const int64_t film = drawn_of(pick, p->count);
    memcpy(r->now.latents + i * p->size, p->latents + film * p->size,
           (size_t)p->size * sizeof(float));
    r->prompts[i] = p->captions[film];
    drop_parts(r, l, i);
    weigh(r, i, p->preference[film]);
}

/* Row i of latents and of the prompts: the clip of a global element. */
static void take_sample(struct mgi_stage_run *r, int64_t i)
{
    const mgi_bucket_data *b = r->now.bucket;
    const mgi_latents *l = &b->latents;
    uint64_t element = r->now.first + (uint64_t)i;
    uint32_t pick[4];
    mgi_philox(r->seed, MGI_STREAM_SAMPLE, (UINT64_C(1) << 40) + element, pick);
    if (r->preferred.count) {
        take_preferred(r, l, i, pick[0]);
        return;
    }
    int64_t clip = drawn_of(pick[0], l->clips);
    for (int64_t at = 0; at < l->step; at += l->size) /* clips, then their conditions */
        note(r, mgi_latents_read(r->ctx, l, clip, at,
                                 r->now.latents + at * r->now.rows + i * l->size, l->size));
    take_prompt(r, b, clip, i, pick);
    if (l->tasks)
        r->tasks[i] = l->tasks[clip];
    if (mgi_trains_personalizer(r))
        mgi_photos_take(r, b, clip, i, pick + 2);
    drop_parts(r, l, i);
    if (l->scores)
        weigh(r, i, l->scores[clip]);
}

static bool predicts_v(const struct mgi_stage_run *r)
{
    return r->stage.video.objective == MGI_VT_V_PREDICTION;
}

/* Several ranks wait for each other between the launches of a step, which are therefore not captured. */
static bool alone(const struct mgi_stage_run *r)
{
    return !r->mesh && !r->parallel.comm;
}

/* On a GPU each length of text is another graph, and they differ from batch to batch. */
enum { TEXT_MULTIPLE = 32 };

/* Of r->prompts. */
static mgen_status split_text(struct mgi_stage_run *r, int64_t rows)
{
    return mgi_text_rows_make(r->ctx, mgi_video_networks(r).text, 0, r->prompts, rows,
                              &r->now.text);
}

static void take_text(mgi_run *run, struct mgi_stage_run *r, inputs *b)
{
    const mgi_networks n = mgi_video_networks(r);
    int64_t samples = b->x1 ? b->x1->dims[0] : 0, rows[MGI_ROLES] = {0};
    int64_t multiple = run->dev->cuda && alone(r) ? TEXT_MULTIPLE : 1;
    mgi_text_ids_make(run, n.text, &r->now.text, multiple, r->tokens, &b->ids);
    for (int i = 0; i < MGI_ROLES; i++) {
        rows[i] = b->ids.ids[i] ? b->ids.ids[i]->dims[1] : 0;
        b->places.tokens[i] = b->ids.tokens[i];
    }
    if (mgi_trains_editor(r))
        b->places.task = mgi_new(run, MGK_I32, 1, &samples);
    if (mgi_trains_personalizer(r)) {
        b->photos = mgi_photos_write(run, r, samples);
        b->places.references = r->references;
        b->places.reference_rows = mgi_clip_vision_token_count(&r->vision.config);
    }
    if (b->places.task)
        mgi_tensor_write(b->places.task, 0, r->tasks, samples);
    if (run->status == MGEN_OK)
        mgi_vt_text_places(run, &b->places, samples, rows, multiple);
}

static T *predicted(mgi_run *run, const mgi_vt *vt, const inputs *b, T *xt, const mgi_vt_text *text)
{
    return b->flow ? mgi_vt_velocity(run, vt, xt, b->t, text)
                   : mgi_vt_forward(run, vt, xt, b->t, text);
}

/* Instead of v, where there are preferences. */
static T *preferred_target(mgi_run *run, struct mgi_stage_run *r, const inputs *b, T *xt,
                           const mgi_vt_text *text, T *v)
{
    T *target, *unused;
    const bool record = run->record;
    run->record = false;
    T *before = predicted(run, as_it_was(r), b, xt, text);
    mgi_adapter_aside(&r->adapter, false);
    mgi_flow_path(run, v, before, b->preferences, 0.0f, &target, &unused);
    run->record = record;
    return target;
}

static T *batch_loss(mgi_run *run, struct mgi_stage_run *r, const inputs *b)
{
    T *xt, *v;
    mgi_vt_text text;
    const mgi_networks n = mgi_video_networks(r);
    mgi_text_ids_encode(run, n.text, &b->ids, &text);
    text.task = b->places.task;
    text.mask = b->places.mask;
    text.places = b->places.places;
    text.first_frame = b->places.first_frame;
    text.condition = b->condition;
    if (b->photos) {
        text.reference = mgi_clip_vision_tokens(run, &r->vision, b->photos);
        text.references = b->places.references;
    }
    if (b->flow) {
        mgi_flow_path(run, b->x1, b->x0, b->t, MGI_FLOW_SIGMA_MIN, &xt, &v);
    } else {
        xt = mgi_diffusion_point(run, b->x1, b->x0, b->t);
        v = mgi_diffusion_v(run, b->x1, b->x0, b->t);
    }
    if (b->preferences)
        v = preferred_target(run, r, b, xt, &text, v);
    return mgi_loss(run, MGK_LOSS_MSE, b->weight, predicted(run, &r->video, b, xt, &text), v);
}

/* What reading the rows of a batch answered. */
static mgen_status taken(struct mgi_stage_run *r)
{
    mgen_status status = r->failed;
    r->failed = MGEN_OK;
    return status;
}

/* The loss of held-out clips first .. first + rows - 1 of a bucket at a time of the flow. */
static T *held_loss(mgi_run *run, struct mgi_stage_run *r, const mgi_bucket_data *b, int64_t first,
                    int64_t rows, bool flow, float time)
{
    const mgi_latents *l = &b->latents;
    inputs all = {.t = mgi_new(run, MGK_F32, 1, &rows), .flow = flow, .weight = 1.0f};
    float *values; /* of a clip */
    if (!latent_batch(run, l, rows, &all))
        return NULL;
    all.x0 = mgi_random(run, MGK_RANDOM_NORMAL, MGI_VALIDATION_SEED, MGI_STREAM_NOISE,
                        (uint64_t)(first * l->size), 1.0f, 0.0f, all.x1->rank, all.x1->dims);
    if (!all.x0)
        return NULL;
    if (!mgi_ok(run, mgi_alloc_zero(r->ctx, (size_t)l->step, sizeof *values, &values)))
        return NULL;
    for (int64_t i = 0; i < rows; i++) {
        note(r, mgi_latents_read(r->ctx, l, l->clips + first + i, 0, values, l->step));
        mgi_tensor_write(all.x1, i * l->size, values, l->size);
        if (all.condition)
            mgi_tensor_write(all.condition, i * l->size, values + l->size, l->size);
        if (l->tasks)
            r->tasks[i] = l->tasks[l->clips + first + i];
        r->prompts[i] = l->captions ? l->captions[l->clips + first + i] : r->captions[i];
        if (!l->captions)
            mgi_dataset_held_caption(b->dataset, first + i, r->captions[i]);
        if (mgi_trains_personalizer(r))
            mgi_photos_hold(r, b, first + i, i);
    }
    mgi_free(r->ctx, values);
    mgi_fill(run, all.t, time);
    mgi_ok(run, taken(r));
    mgi_ok(run, split_text(r, rows));
    take_text(run, r, &all);
    return batch_loss(run, r, &all);
}

/* The flow's times stand for ten equal shares of its own, as the levels do of the levels. */
static float validation_time(const struct mgi_stage_run *r, bool flow, int64_t i)
{
    if (!flow)
        return r->levels[(2 * i + 1) * MGI_DIFFUSION_LEVELS / (2 * TIMES)];
    double q = i < TIMES / 2 ? quantiles[i] : -quantiles[TIMES - 1 - i];
    return (float)(1.0 / (1.0 + exp(-q)));
}

/* Mean over the held-out clips of a bucket and all times, each clip with one noise. */
static double validate_bucket(mgi_run *run, struct mgi_stage_run *r, const mgi_bucket_data *b,
                              bool flow)
{
    const mgi_latents *l = &b->latents;
    double sum = 0.0;
    for (int64_t i = 0; i < TIMES; i++) {
        float time = validation_time(r, flow, i);
        for (int64_t first = 0; first < l->held; first += VALIDATION_BATCH) {
            int64_t rows = l->held - first < VALIDATION_BATCH ? l->held - first : VALIDATION_BATCH;
            int64_t mark = mgi_scope_push(run);
            T *loss = held_loss(run, r, b, first, rows, flow, time);
            sum += mgi_stage_value(loss) * (double)rows / (double)(l->held * TIMES);
            mgi_scope_pop(run, mark, NULL);
        }
    }
    return sum;
}

/* The same clips, noise and times on each occasion, by the averaged weights; buckets count as they do in
 * training. */
static mgen_status validate(struct mgi_stage_run *r, mgen_report *report)
{
    mgi_run run;
    double sum[2] = {0.0}, shares[2] = {0.0}; /* videos, images */
    double as_flow = 0.0;
    r->now.rows = 0; /* the text is another then */
    mgi_run_init(&run, r->ctx, false);
    for (int i = 0; i < r->trained_count; i++)
        mgi_module_swap_ema(r->trained[i]);
    mgi_adapter_apply(&r->adapter, &run); /* and by the weights again as the next step begins */
    mgi_dp_begin(&r->parallel, &run, false);
    for (int64_t i = 0; i < r->buckets.count; i++) {
        const mgi_bucket_data *b = &r->buckets.list[i];
        bool image = b->bucket.frames == 1;
        sum[image] += b->share * validate_bucket(&run, r, b, !predicts_v(r));
        if (predicts_v(r))
            as_flow += b->share * validate_bucket(&run, r, b, true);
        shares[image] += b->share;
    }
    mgi_dp_end(&r->parallel, &run, NULL);
    for (int i = 0; i < r->trained_count; i++)
        mgi_module_swap_ema(r->trained[i]);
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    mgi_run_finish(&run);
    if (status != MGEN_OK)
        return status;
    mgi_report_add(report, "val_loss", sum[0] + sum[1]);
    if (predicts_v(r)) /* comparable with that of flow matching */
        mgi_report_add(report, "val_loss_flow", as_flow);
    if (shares[0] > 0.0 && shares[1] > 0.0) {
        mgi_report_add(report, "val_loss_videos", sum[0] / shares[0]);
        mgi_report_add(report, "val_loss_images", sum[1] / shares[1]);
    }
    mgi_optimizer_validated(&r->optimizer, sum[0] + sum[1]);
    return MGEN_OK;
}

/* Times of elements first .. first + rows - 1. */
static T *random_levels(mgi_run *run, struct mgi_stage_run *r, uint64_t first, int64_t rows)
{
    T *t = mgi_new(run, MGK_F32, 1, &rows);
    for (int64_t i = 0; i < rows; i++) {
        float u = mgi_random_unit(r->seed, MGI_STREAM_TIME, first + (uint64_t)i);
        r->times[i] = r->levels[(int)(u * MGI_DIFFUSION_LEVELS)];
    }
    if (t)
        mgi_tensor_write(t, 0, r->times, rows);
    return t;
}

/* Clips of elements first .. first + rows - 1, and their prompts. */
enum { TAKEN_TOGETHER = 8 }; /* rows, by one thread */

static void take_rows(void *arg, int64_t block, int thread)
{
    struct mgi_stage_run *r = arg;
    int64_t end = (block + 1) * TAKEN_TOGETHER;
    (void)thread;
    for (int64_t i = block * TAKEN_TOGETHER; i < end && i < r->now.rows; i++)
        take_sample(r, i);
}

/* Elements first .. first + rows - 1 of a bucket into r->now. */
static mgen_status take_batch(struct mgi_stage_run *r, const mgi_bucket_data *b, uint64_t first,
                              int64_t rows)
{
    taken_batch *now = &r->now;
    size_t need = (size_t)(rows * b->latents.step);
    if (now->bucket == b && now->first == first && now->rows == rows)
        return MGEN_OK;
    now->rows = 0;
    if (need > now->room) {
        mgi_free(r->ctx, now->latents);
        now->latents = NULL;
        now->room = 0;
        MGI_TRY(mgi_alloc(r->ctx, need * sizeof *now->latents, &now->latents));
        now->room = need;
    }
    now->bucket = b;
    now->first = first;
    now->rows = rows;
    const int64_t blocks = (rows + TAKEN_TOGETHER - 1) / TAKEN_TOGETHER;
    const bool files = mgi_trains_personalizer(r) && !mgi_dataset_drawn(b->dataset); /* photos */
    if (!files)
        mgi_pool_run(r->ctx->pool, blocks, take_rows, r);
    for (int64_t i = 0; i < blocks && files; i++)
        take_rows(r, i, 0);
    mgen_status status = taken(r);
    if (status == MGEN_OK)
        status = split_text(r, rows);
    now->rows = status == MGEN_OK ? rows : 0;
    return status;
}

/* The number of the first element of a step. */
static uint64_t start_of(const struct mgi_stage_run *r, int64_t index)
{
    return (uint64_t)(index * r->stage.accumulate * r->buckets.batch);
}

/* What the next step begins with, while a GPU is busy with this one. */
static mgen_status take_ahead(struct mgi_stage_run *r, int64_t index)
{
    int64_t first, rows;
    if (!r->ctx->device->cuda)
        return MGEN_OK;
    const mgi_bucket_data *b = mgi_buckets_draw(&r->buckets, r->seed, index + 1);
    MGI_TRY(mgi_dp_share(&r->parallel, r->ctx, b->bucket.batch, &first, &rows));
    return take_batch(r, b, start_of(r, index + 1) + (uint64_t)first, rows);
}

static void take_samples(mgi_run *run, struct mgi_stage_run *r, const mgi_bucket_data *b,
                         uint64_t first, int64_t rows, inputs *to)
{
    if (!latent_batch(run, &b->latents, rows, to) || !mgi_ok(run, take_batch(r, b, first, rows)))
        return;
    mgi_tensor_write(to->x1, 0, r->now.latents, to->x1->count);
    if (to->condition)
        mgi_tensor_write(to->condition, 0, r->now.latents + to->x1->count, to->x1->count);
}

/* One rank's pass begins the step with the first one and ends it with the last one. */
typedef struct pass_work {
    struct mgi_stage_run *r;
    const inputs *in;
    bool begins, ends;
} pass_work;

static void begin_sums(mgi_run *run, struct mgi_stage_run *r)
{
    for (int i = 0; i < r->trained_count; i++)
        mgi_module_zero_grad(r->trained[i], run);
    mgi_adapter_begin(&r->adapter, run);
    mgi_fill(run, r->loss, 0.0f);
}

static void learn(mgi_run *run, void *user)
{
    const pass_work *w = user;
    if (w->begins)
        begin_sums(run, w->r);
    T *loss = batch_loss(run, w->r, w->in);
    mgi_backward(run, loss);
    mgi_stage_sum(run, &loss, 1, w->r->loss, 0);
    if (w->ends)
        mgi_optimizer_apply(&w->r->optimizer, run);
}

static void learn_captured(mgi_run *run, pass_work w)
{
    struct mgi_stage_run *r = w.r;
    const inputs *b = w.in;
    T *const of[] = {b->x1,        b->x0,          b->t,      b->places.mask, b->places.places,
                     b->condition, b->places.task, b->photos, b->preferences};
    uint32_t bits;
    memcpy(&bits, &b->weight, sizeof bits);
    uint64_t key = bits | (uint64_t)w.begins << 32 | (uint64_t)w.ends << 33 |
                   (uint64_t)b->places.first_frame << 34;
    if (run->status != MGEN_OK)
        return;
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++)
        key = mgi_graph_key(key, of[i]);
    for (int i = 0; i < MGI_ROLES; i++)
        key = mgi_graph_key(mgi_graph_key(key, b->ids.ids[i]), b->ids.mask[i]);
    mgi_graph_run(&r->graph, run, key, learn, &w);
}

/* The place in time of an editor's images, of the step that begins with element `start`: any that the model knows. What is
 * learnt of images that are always the first frame spoils the editing of films (report). */
static int64_t place_of(const struct mgi_stage_run *r, const mgi_bucket_data *b, uint64_t start)
{
    int64_t places = r->stage.video.frames_max;
    if (!mgi_trains_editor(r) || b->bucket.frames > 1)
        return 0;
    return (
        int64_t)(((uint64_t)mgi_random_u32(r->seed, MGI_STREAM_PLACE, start) * (uint64_t)places) >>
                 32);
}

/* Pass `i` of a step that begins with element `start`: the gradients of its elements first .. first + rows - 1, whose
 * loss counts `weight` in the step's and is added to r->loss. A step's noise lies side by side, whoever computes which
 * of its elements. */
static void pass(mgi_run *run, struct mgi_stage_run *r, const mgi_bucket_data *data, int64_t i,
                 uint64_t start, uint64_t first, int64_t rows, float weight)
{
    uint64_t noise =
        start * (uint64_t)r->buckets.size + (first - start) * (uint64_t)data->latents.size;
    inputs b = {
        .flow = !predicts_v(r), .places.first_frame = place_of(r, data, start), .weight = weight};
    if (alone(r))
        mgi_graph_enter(&r->graph);
    take_samples(run, r, data, first, rows, &b);
    if (run->status == MGEN_OK)
        b.x0 = mgi_random(run, MGK_RANDOM_NORMAL, r->seed, MGI_STREAM_NOISE, noise, 1.0f, 0.0f,
                          b.x1->rank, b.x1->dims);
    b.t = b.flow ? mgi_stage_times(run, &r->stage, r->seed, first, rows)
                 : random_levels(run, r, first, rows);
    take_text(run, r, &b);
    if (r->stage.prefer.on) {
        b.preferences = mgi_new(run, MGK_F32, 1, &rows);
        if (b.preferences)
            mgi_tensor_write(b.preferences, 0, r->preferences, rows);
    }
    if (alone(r))
        learn_captured(run, (pass_work){r, &b, i == 0, i == r->stage.accumulate - 1});
    else
        learn(run, &(pass_work){r, &b, false, false});
    mgi_graph_leave(&r->graph);
}

/* The gradients of one sample's ranks. Text encoders are whole on each of them, and of what they make a rank has the
 * gradient of its own tokens and heads. */
static void sum_model(mgi_run *run, struct mgi_stage_run *r)
{
    for (int i = 0; r->mesh && i < r->trained_count; i++) {
        mgi_module *m = r->trained[i];
        if (m->shard_size > 1)
            continue;
        if (m == &r->video.module) {
            mgi_module_sum_partial(run, m, r->mesh);
            continue;
        }
        for (int64_t u = 0; u < m->units; u++)
            if (m->unit_grad[u])
                mgi_sum_ranks(run, r->mesh->group[MGI_AXIS_MODEL], m->unit_grad[u]);
    }
}

static mgen_status update(struct mgi_stage_run *r, int64_t index)
{
    const mgi_stage *s = &r->stage;
    mgi_run run;
    double flops = r->ctx->device->counts.flops;
    mgi_run_init(&run, r->ctx, true);
    run.left = mgi_trains_adapter(r) ? &r->adapter.hook : NULL;
    mgi_optimizer_begin(&r->optimizer, &run, index);
    if (!alone(r))
        begin_sums(&run, r);
    const mgi_bucket_data *b = mgi_buckets_draw(&r->buckets, r->seed, index);
    int64_t batch = b->bucket.batch, first = 0, rows = 0;
    uint64_t start = start_of(r, index);
    mgi_ok(&run, mgi_dp_share(&r->parallel, r->ctx, batch, &first, &rows));
    for (int64_t i = 0; i < s->accumulate; i++) {
        int64_t mark = mgi_scope_push(&run);
        mgi_dp_begin(&r->parallel, &run, i == s->accumulate - 1);
        pass(&run, r, b, i, start, start + (uint64_t)(i * batch + first), rows,
             mgi_dp_weight(&r->parallel) / (float)s->accumulate);
        mgi_scope_pop(&run, mark, NULL);
    }
    if (!alone(r)) {
        mgi_dp_end(&r->parallel, &run, r->loss);
        sum_model(&run, r);
        mgi_optimizer_apply(&r->optimizer, &run);
    }
    mgi_ok(&run, take_ahead(r, index));
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    if (status == MGEN_OK) {
        r->updated = index + 1;
        r->flops = r->ctx->device->counts.flops - flops;
        r->taken = b;
    }
    mgi_run_finish(&run);
    return status;
}

static mgen_status step(struct mgi_stage_run *r, int64_t index, mgen_report *report)
{
    if (r->updated <= index)
        MGI_TRY(update(r, index));
    float loss = mgi_stage_value(r->loss);
    mgi_stage_report(&r->optimizer, index, loss, report);
    mgi_report_add(report, "flops", r->flops);
    if (r->buckets.count > 1 && r->taken)
        mgi_bucket_report(&r->taken->bucket, report);
    MGI_TRY(mgi_stage_check_loss(r->ctx, index, loss));
    return mgi_stage_validates(&r->stage, index) ? validate(r, report) : MGEN_OK;
}

const struct mgi_stage_kind mgi_stage_text_to_video = {create, step, mgi_video_save,
                                                       mgi_video_state, destroy};
