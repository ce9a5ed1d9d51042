/* SPDX-License-Identifier: MIT */
#include "task/generate.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "core/philox.h"
#include "flow/diffusion.h"
#include "flow/schedule.h"
#include "flow/solver.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/random/random.h"
#include "task/flow_ranks.h"
#include "task/guidance.h"
#include "task/ranks.h"
#include "task/shape.h"
#include "task/source.h"
#include "tensor/graph.h"
#include "tensor/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PIECE = 65536 };

/* What one call of the network takes. */
typedef struct batch {
    int64_t rows;
    T *in, *t;        /* latents and their time, */
    T *beside;        /* and what is seen beside them */
    mgi_vt_text text; /* prompts, with tasks, */
    mgi_vt_seen seen; /* and what the network reads of them at every step */
    int64_t runs;     /* on the meta device: of the network so far, */
    double flops;     /* and what one of them takes */
} batch;

typedef struct sampler {
    mgi_run *run;
    const mgi_networks *n;
    const mgi_generate_request *r;
    mgi_flow_ranks flow;
    mgi_comm *ranks; /* all of them; NULL: one */
    int64_t frames;  /* of a clip */
    int64_t dims[5]; /* of the latents: clips, frames, rows, columns, channels */
    int64_t rows;    /* of a batch: one a clip and part (task/guidance.h) */
    mgi_windows windows;
    float *times;
    int skipped, steps; /* of the times: steps that are left out, and those that are taken */
    T *x;               /* the latents */
    T *beside,
        *black; /* those of the source that is seen, and of none, where that is guided from; or NULL */
    T *total;            /* their velocity, where windows are blended */
    mgi_vt_text text;    /* of all rows */
    int64_t *tokens;     /* of each role and row, */
    int64_t *references; /* and of a photo, of each row */
    batch all;           /* with what guidance leads away from, */
    batch prompted;      /* and without: its first rows, for times without guidance */
    mgi_guidance guidance;
    float noise_scale;
    T *dt;           /* one value */
    bool counted;    /* on the meta device: a velocity since the last step was run, not stood for */
    mgi_graph graph; /* of a velocity, */
    T *u;            /* which is left here */
} sampler;

/* A loop of equal rounds. On the meta device the first two and the last stand for all. */
typedef struct rounds {
    int64_t count, at;
    double flops;
} rounds;

static rounds rounds_of(int64_t count)
{
    return (rounds){.count = count, .at = -1};
}

static bool next_round(const mgi_run *run, rounds *r)
{
    double *flops = &run->dev->counts.flops;
    r->at++;
    if (run->dev->meta && r->at == 1)
        r->flops = *flops;
    if (run->dev->meta && r->at == 2 && r->count > 3) {
        *flops += (*flops - r->flops) * (double)(r->count - 3);
        r->at = r->count - 1;
    }
    return run->status == MGEN_OK && r->at < r->count;
}

/* -- the request ------------------------------------------------------------------------------ */

/* Noise of each clip from its own seed and of each frame from its place: the same whatever is made beside
 * it, and however long the clip is. */
static void make_noise(sampler *s)
{
    mgi_run *run = s->run;
    s->x = mgi_new(run, MGK_F32, 5, s->dims);
    for (int64_t i = 0; s->x && i < s->r->count; i++) {
        int64_t mark = mgi_scope_push(run), each = s->x->count / s->r->count;
        T *one = mgi_random(run, MGK_RANDOM_NORMAL, s->r->seeds[i], MGI_STREAM_NOISE, 0,
                            s->noise_scale, 0.0f, 1, &each);
        mgi_copy(run, s->x, i * each, one, 0, each);
        mgi_scope_pop(run, mark, NULL);
    }
}

/* From a film on. */
static void begin_at(sampler *s, T *film)
{
    mgi_run *run = s->run;
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(1)), *point, *v;
    mgi_fill(run, t, s->times[s->skipped]);
    if (run->status == MGEN_OK && film)
        mgi_flow_path(run, film, s->x, t, MGI_FLOW_SIGMA_MIN, &point, &v);
    if (run->status == MGEN_OK && film) {
        mgi_drop(run, s->x);
        mgi_drop(run, v);
        s->x = point;
    }
    mgi_drop(run, t);
    mgi_drop(run, film);
}

/* What the film that is given is for. */
static void take_source(sampler *s)
{
    const mgi_generate_request *r = s->r;
    T *film = r->source ? mgi_source_see(s->run, s->n, r, s->frames, s->dims) : NULL;
    if (s->n->editor && s->guidance.parts > 2)
        s->black = mgi_source_black(s->run, s->n, r, s->frames, s->dims);
    make_noise(s);
    if (s->n->upsampler || s->n->editor)
        s->beside = film;
    else if (r->source)
        begin_at(s, film);
}

static const char *prompt_of(const mgi_generate_request *r, int64_t row)
{
    const char *negative =
        row >= r->count && row < 2 * r->count && r->negatives ? r->negatives[row - r->count] : NULL;
    return row < r->count ? r->prompts[row] : negative ? negative : "";
}

static void tell_task(sampler *s)
{
    const int32_t task = s->r->task;
    T *t = s->n->editor ? mgi_new(s->run, MGK_I32, 1, &s->rows) : NULL;
    for (int64_t i = 0; t && i < s->rows; i++)
        mgi_tensor_write(t, i, &task, 1);
    s->text.task = t;
}

/* Of each clip in every part but the third, which is of none. */
static void see_photos(sampler *s)
{
    mgi_run *run = s->run;
    const mgi_generate_request *r = s->r;
    if (!r->photos)
        return;
    T *one = mgi_ranks_photos(run, s->ranks, s->n->vision, r->photos, r->count);
    T *all = one ? mgi_new(run, MGK_F32, MGI_DIMS(s->rows, one->dims[1], one->dims[2])) : NULL;
    for (int64_t part = 0; all && part < s->guidance.parts; part++)
        mgi_copy(run, all, part * one->count, one, 0, one->count);
    for (int64_t i = 0; all && i < s->rows; i++)
        s->references[i] = i < 2 * r->count ? one->dims[1] : 0;
    mgi_drop(run, one);
    mgi_device_trim(run->dev); /* the image encoder's tensors have other sizes than the sampler's */
    s->text.reference = all;
    s->text.references = s->references;
}

/* As the captions of the training were. */
static void encode_prompts(sampler *s)
{
    mgen_context *ctx = s->run->ctx;
    char **prompts = NULL;
    bool rate = s->n->video->config.fps_prefix && s->frames > 1;
    mgi_ok(s->run, mgi_alloc_zero(ctx, (size_t)s->rows, sizeof *prompts, &prompts));
    for (int64_t i = 0; i < s->rows && s->run->status == MGEN_OK; i++) {
        const char *text = prompt_of(s->r, i);
        mgi_ok(s->run, rate ? mgi_prompt_at_rate(ctx, text, s->n->clip.fps, &prompts[i])
                            : mgi_strdup(ctx, text, &prompts[i]));
    }
    mgi_ranks_text(s->run, s->ranks, s->n, s->r->drop_text, (const char *const *)prompts, s->rows,
                   s->tokens, &s->text);
    for (int64_t i = 0; i < s->rows && prompts; i++)
        mgi_free(ctx, prompts[i]);
    mgi_free(ctx, prompts);
    tell_task(s);
    see_photos(s);
}

static T *first_rows(mgi_run *run, T *t, int64_t rows)
{
    T *view;
    return run->status == MGEN_OK && mgi_ok(run, mgi_tensor_rows(t, 0, rows, &view))
               ? mgi_scope_add(run, view)
               : NULL;
}

/* Whether a velocity is always the same launches: over a mesh ranks wait for each other. */
static bool captures(const sampler *s)
{
    const mgi_device *dev = s->run->dev;
    return (dev->cuda || dev->meta) && !s->n->video->mesh;
}

static void make_places(mgi_run *run, batch *b)
{
    int64_t rows[MGI_ROLES];
    for (int i = 0; i < MGI_ROLES; i++)
        rows[i] = b->text.x[i] ? b->text.x[i]->dims[1] : 0;
    if (run->status == MGEN_OK)
        mgi_vt_text_places(run, &b->text, b->rows, rows, 1);
}

/* What the network reads of the text is the same at every step. It is kept on the CPU, on one rank: there all rows of a
 * batch are computed together, and no graph is captured. */
static void see_text(sampler *s)
{
    mgi_run *run = s->run;
    const mgi_vt *vt = s->n->video;
    if ((run->dev->kernel[MGK_OP_matmul]->needs & MGK_NEEDS_CUDA) || vt->mesh)
        return;
    mgi_vt_see(run, vt, &s->all.text, s->rows, &s->all.seen);
    if (s->prompted.in)
        mgi_vt_seen_first(run, vt, &s->all.seen, s->prompted.rows, &s->prompted.seen);
}

static void make_captured(sampler *s)
{
    mgi_run *run = s->run;
    if (!captures(s))
        return;
    make_places(run, &s->all);
    if (s->prompted.in)
        make_places(run, &s->prompted);
    s->u = s->total ? s->total : mgi_new(run, MGK_F32, 5, s->dims);
    mgi_graph_init(&s->graph, run->dev);
}

static void make_buffers(sampler *s)
{
    mgi_run *run = s->run;
    const int64_t *d = s->dims;
    batch *all = &s->all;
    s->dt = mgi_new(run, MGK_F32, MGI_DIMS(1));
    *all = (batch){.rows = s->rows, .text = s->text};
    all->t = mgi_new(run, MGK_F32, 1, &s->rows);
    all->in = mgi_new(run, MGK_F32, MGI_DIMS(s->rows, s->windows.length, d[2], d[3], d[4]));
    if (s->beside)
        all->beside =
            mgi_new(run, MGK_F32, all->in ? all->in->rank : 0, all->in ? all->in->dims : NULL);
    if (s->windows.count > 1)
        s->total = mgi_new(run, MGK_F32, 5, d);
    mgi_guidance_make(run, &s->guidance);
    if (!mgi_guidance_partial(&s->guidance))
        return;
    s->prompted = (batch){.rows = s->r->count,
                          .in = first_rows(run, all->in, s->r->count),
                          .t = first_rows(run, all->t, s->r->count),
                          .beside = all->beside ? first_rows(run, all->beside, s->r->count) : NULL,
                          .text = all->text};
    if (all->text.task)
        s->prompted.text.task = first_rows(run, all->text.task, s->r->count);
    if (all->text.reference)
        s->prompted.text.reference = first_rows(run, all->text.reference, s->r->count);
    for (int i = 0; i < MGI_ROLES; i++)
        if (all->text.x[i])
            s->prompted.text.x[i] = first_rows(run, all->text.x[i], s->r->count);
}

/* -- the flow --------------------------------------------------------------------------------- */

typedef struct evaluation {
    sampler *s;
    batch *b;
    T *x;
} evaluation;

/* What the network answers for some rows of a batch in one window. */
static T *evaluate(void *user, int64_t window, int64_t first, int64_t rows)
{
    const evaluation *e = user;
    sampler *s = e->s;
    batch *b = e->b;
    mgi_run *run = s->run;
    int64_t clips = s->r->count, frame = s->dims[2] * s->dims[3] * s->dims[4];
    int64_t each = s->windows.length * frame, from = mgi_window_first(&s->windows, window) * frame;
    mgi_vt_text text = b->text;
    for (int64_t i = 0; i < rows; i++) {
        int64_t at = (first + i) % clips * s->dims[1] * frame + from;
        mgi_copy(run, b->in, i * each, e->x, at, each);
        if (b->beside)
            mgi_copy(run, b->beside, i * each, first + i < 2 * clips ? s->beside : s->black, at,
                     each);
    }
    for (int i = 0; i < MGI_ROLES; i++) {
        text.x[i] = mgi_flow_rows(run, text.x[i], first, rows);
        text.tokens[i] = text.tokens[i] ? text.tokens[i] + first : NULL;
    }
    text.reference = mgi_flow_rows(run, text.reference, first, rows);
    text.references = text.references ? text.references + first : NULL;
    text.task = mgi_flow_rows(run, text.task, first, rows);
    text.seen = b->seen.p ? &b->seen : NULL;
    text.condition = mgi_flow_rows(run, b->beside, 0, rows);
    return mgi_vt_velocity(run, s->n->video, mgi_flow_rows(run, b->in, 0, rows),
                           mgi_flow_rows(run, b->t, 0, rows), &text);
}

/* Velocities of all rows of some windows. */
static T *windows_velocity(sampler *s, batch *b, T *x, int64_t window, int64_t windows)
{
    evaluation e = {s, b, x};
    const mgi_flow_batch rows = {.rows = b->rows,
                                 .dims = {s->windows.length, s->dims[2], s->dims[3], s->dims[4]},
                                 .evaluate = evaluate,
                                 .user = &e};
    return mgi_flow_velocities(s->run, &s->flow, &rows, window, windows);
}

/* total += the window's share of its velocity u, frame by frame. */
static void blend(sampler *s, int64_t window, const T *u)
{
    int64_t frame = s->dims[2] * s->dims[3] * s->dims[4], length = s->windows.length;
    int64_t first = mgi_window_first(&s->windows, window);
    for (int64_t i = 0; u && i < s->r->count * length; i++) {
        int64_t clip = i / length, at = first + i % length;
        mgk_pointwise_args a = {
            .count = frame, .alpha = mgi_window_share(&s->windows, window, at), .beta = 1.0f};
        a.x = (mgk_buf){mgi_f32(u) + i * frame, MGK_F32};
        a.y = (mgk_buf){mgi_f32(s->total) + (clip * s->dims[1] + at) * frame, MGK_F32};
        mgi_run_launch(s->run, MGK_OP_axpby, &a);
    }
}

/* The velocity of all clips from rows `first` and following, with guidance if the batch has its parts. */
static T *guided(sampler *s, const batch *b, T *u, int64_t first)
{
    const int64_t clips = s->r->count;
    return mgi_guided(s->run, &s->guidance, u, first, clips, (int)(b->rows / clips));
}

static T *batch_velocity(sampler *s, batch *b, T *x)
{
    int64_t count = s->windows.count, once = mgi_flow_windows(&s->flow, count, b->rows);
    if (count == 1)
        return guided(s, b, windows_velocity(s, b, x, 0, 1), 0);
    mgi_fill(s->run, s->total, 0.0f);
    for (rounds w = rounds_of((count + once - 1) / once); next_round(s->run, &w);) {
        int64_t mark = mgi_scope_push(s->run), first = w.at * once;
        int64_t n = count - first < once ? count - first : once;
        T *u = windows_velocity(s, b, x, first, n);
        for (int64_t k = 0; k < n; k++)
            blend(s, first + k, guided(s, b, u, k * b->rows));
        mgi_scope_pop(s->run, mark, NULL);
    }
    return s->total;
}

/* On the meta device: the same, of which the first two times stand for all. */
static T *counted_velocity(sampler *s, batch *b, T *x)
{
    double *flops = &s->run->dev->counts.flops, before = *flops;
    if (b->runs == 2) {
        *flops += b->flops;
        return s->total ? s->total : mgi_new(s->run, MGK_F32, x->rank, x->dims);
    }
    T *u = batch_velocity(s, b, x);
    b->flops = *flops - before;
    b->runs++;
    s->counted = true;
    return u;
}

static batch *batch_at(sampler *s, float time)
{
    const mgi_generate_request *r = s->r;
    bool chosen_later = s->run->dev->meta && r->solver == MGI_SOLVER_DOPRI5;
    bool guides = !mgi_guidance_partial(&s->guidance) || mgi_guidance_at(&s->guidance, time);
    return guides || chosen_later ? &s->all : &s->prompted;
}

static void leave_velocity(mgi_run *run, void *user)
{
    const evaluation *e = user;
    T *u = batch_velocity(e->s, e->b, e->x);
    if (u && u != e->s->u)
        mgi_copy(run, e->s->u, 0, u, 0, u->count);
}

static T *captured_velocity(sampler *s, batch *b, T *x)
{
    evaluation e = {s, b, x};
    mgi_graph_enter(&s->graph);
    mgi_graph_run(&s->graph, s->run, mgi_graph_key(mgi_graph_key(0, x), b->in), leave_velocity, &e);
    mgi_graph_leave(&s->graph);
    return s->run->status == MGEN_OK ? s->u : NULL;
}

static T *velocity(void *user, T *x, float time)
{
    sampler *s = user;
    batch *b = batch_at(s, time);
    if (s->run->status != MGEN_OK)
        return NULL;
    mgi_fill(s->run, b->t, time);
    T *u = s->run->dev->meta ? counted_velocity(s, b, x)
           : captures(s)     ? captured_velocity(s, b, x)
                             : batch_velocity(s, b, x);
    mgi_flow_evaluated(s->run, &s->flow);
    return u;
}

/* Along u to the end of the flow, from where the step has led. */
static mgen_status preview(sampler *s, const mgi_solver_step *k)
{
    mgi_run *run = s->run;
    float *latents, rest = 1.0f - k->time;
    int64_t count = s->x->count / s->r->count, mark = mgi_scope_push(run);
    T *z = mgi_new(run, MGK_F32, 1, &count), *v = mgi_new(run, MGK_F32, 1, &count);
    mgi_copy(run, z, 0, s->x, 0, count);
    mgi_copy(run, v, 0, k->u, 0, count);
    if (run->status == MGEN_OK)
        mgi_tensor_write(s->dt, 0, &rest, 1);
    mgi_euler_step(run, z, v, s->dt);
    MGI_TRY(run->status);
    MGI_TRY(mgi_alloc_zero(run->ctx, (size_t)count, sizeof *latents, &latents));
    mgi_tensor_read(z, 0, latents, count);
    mgi_ok(run, mgi_device_wait(run->dev));
    bool stop = !run->dev->meta && run->status == MGEN_OK &&
                s->r->preview(s->r->user, k->done, latents, s->dims + 1);
    mgi_free(run->ctx, latents);
    mgi_scope_pop(run, mark, NULL);
    return stop ? mgi_fail(run->ctx, MGEN_E_CANCELLED, "cancelled after step %d of %d", k->done,
                           s->steps)
                : run->status;
}

/* What this rank's callbacks say of a step. */
static mgen_status ask(sampler *s, const mgi_solver_step *k)
{
    const mgi_generate_request *r = s->r;
    bool meta = s->run->dev->meta, counted = s->counted;
    s->counted = false;
    if (r->preview && k->u && mgi_flow_first(&s->flow) && (!meta || counted))
        MGI_TRY(preview(s, k));
    if (r->progress && !meta && r->progress(r->user, k->done, s->steps))
        return mgi_fail(s->run->ctx, MGEN_E_CANCELLED, "cancelled after step %d of %d", k->done,
                        s->steps);
    return MGEN_OK;
}

static mgen_status stepped(void *user, const mgi_solver_step *k)
{
    sampler *s = user;
    return mgi_flow_together(s->run, &s->flow, ask(s, k));
}

/* DOPRI5: ranks take the same steps. */
static mgen_status same_norms(void *user, float *norms, int count)
{
    const sampler *s = user;
    return mgi_flow_same(s->run, &s->flow, MGK_F32, norms, count);
}

/* An estimate cannot know the times that DOPRI5 will choose: it counts guidance at all of them, and the
 * memory of both. */
static void count_both(sampler *s)
{
    double *flops = &s->run->dev->counts.flops, before = *flops;
    int64_t mark = mgi_scope_push(s->run);
    batch_velocity(s, &s->prompted, s->x);
    mgi_scope_pop(s->run, mark, NULL);
    *flops = before;
}

static mgen_status all_finite(mgen_context *ctx, const T *x)
{
    float *values;
    bool finite = true;
    MGI_TRY(mgi_alloc(ctx, PIECE * sizeof *values, &values));
    for (int64_t at = 0; at < x->count && finite && !ctx->device->meta; at += PIECE) {
        int64_t n = x->count - at < PIECE ? x->count - at : PIECE;
        mgi_tensor_read(x, at, values, n);
        for (int64_t i = 0; i < n && finite; i++)
            finite = isfinite(values[i]);
    }
    mgi_free(ctx, values);
    MGI_TRY(mgi_device_wait(ctx->device));
    return finite ? MGEN_OK
                  : mgi_fail(
                        ctx, MGEN_E_NUMERIC,
                        "the latents became infinite or not-a-number; the weights may be damaged");
}

static mgen_status sample(sampler *s)
{
    const mgi_generate_request *r = s->r;
    const mgi_solver solver = {.kind = r->solver,
                               .steps = s->steps,
                               .times = s->times + s->skipped,
                               .velocity = velocity,
                               .stepped = stepped,
                               .norms = same_norms,
                               .user = s};
    take_source(s);
    encode_prompts(s);
    if (s->run->status == MGEN_OK)
        make_buffers(s);
    if (s->run->status == MGEN_OK)
        make_captured(s);
    if (s->run->status == MGEN_OK)
        see_text(s);
    MGI_TRY(mgi_flow_together(s->run, &s->flow, s->run->status));
    mgi_weights_begin(s->run);
    if (s->run->dev->meta && mgi_guidance_partial(&s->guidance) && r->solver == MGI_SOLVER_DOPRI5)
        count_both(s);
    mgen_status status = mgi_solve(s->run, s->x, &solver);
    mgi_weights_end(s->run);
    mgi_vt_seen_drop(s->run, &s->prompted.seen);
    mgi_vt_seen_drop(s->run, &s->all.seen);
    if (status == MGEN_OK)
        status = all_finite(s->run->ctx, s->x);
    return mgi_flow_end(s->run, &s->flow, status);
}

/* -- the frames ------------------------------------------------------------------------------- */

static void decode_clip(sampler *s, T *z, int64_t first)
{
    const mgi_generate_request *r = s->r;
    if (r->source)
        mgi_source_show(s->run, s->n, r, s->frames, z);
    else if (s->ranks)
        mgi_decode_ranks(s->run, s->ranks, s->n->tae, z, s->frames, first, r->tile, r->sink,
                         r->stop, r->user);
    else
        mgi_decode_run(s->run, s->n->tae, z, s->frames, first, r->tile, r->sink, r->user);
}

static mgen_status decode(sampler *s)
{
    mgi_run *run = s->run;
    if (s->r->latents) {
        mgi_tensor_read(s->x, 0, s->r->latents, s->x->count);
        mgi_ok(run, mgi_device_wait(run->dev));
    }
    mgi_device_trim(run->dev); /* the decoder's tensors have other sizes than the sampler's */
    for (rounds i = rounds_of(s->r->count); next_round(run, &i);) {
        T *one;
        int64_t mark = mgi_scope_push(run);
        if (mgi_ok(run, mgi_tensor_rows(s->x, i.at, 1, &one)))
            decode_clip(s, mgi_scope_add(run, one), i.at * s->frames);
        mgi_scope_pop(run, mark, NULL);
    }
    return run->status;
}

/* -- all of it -------------------------------------------------------------------------------- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return mgi_hash64(text ? text : "", text ? strlen(text) + 1 : 0, hash);
}

/* What a request is given beside texts, which each rank has for itself. */
static mgen_status same_given(sampler *s)
{
    const mgi_generate_request *r = s->r;
    uint64_t hash;
    char text[200];
    mgen_status status = mgi_source_hash(s->run->ctx, r, s->frames, &hash);
    MGI_TRY(mgi_flow_together(s->run, &s->flow, status));
    if (r->photos)
        hash = mgi_photos_hash(r->photos, r->count);
    snprintf(text, sizeof text, "%s %016llx, task %d, skip %g, guidance towards it %g",
             r->photos   ? "photos"
             : r->source ? "film"
                         : "none",
             (unsigned long long)hash, r->task, (double)r->skip, (double)s->guidance.source_scale);
    return mgi_comm_agree(s->ranks, "film or photos given", text);
}

/* A mesh makes one request. */
static mgen_status same_request(sampler *s)
{
    const mgi_generate_request *r = s->r;
    uint64_t hash = 0;
    char text[200];
    if (!s->ranks || s->run->dev->meta)
        return MGEN_OK;
    for (int64_t i = 0; i < r->count; i++) {
        hash = mgi_hash64(&r->seeds[i], sizeof r->seeds[i], hash_text(hash, r->prompts[i]));
        hash = hash_text(hash, r->negatives ? r->negatives[i] : NULL);
    }
    snprintf(text, sizeof text,
             "%lldx%lldx%lldx%lld, %d steps, noise %g, guidance %g %g..%g, schedule %d, solver %d, "
             "drop %u, "
             "tile %lld, texts and seeds %llx",
             (long long)s->dims[0], (long long)s->frames, (long long)s->dims[2],
             (long long)s->dims[3], r->steps, (double)s->noise_scale, (double)s->guidance.scale,
             (double)r->guidance_from, (double)r->guidance_to, r->schedule, r->solver, r->drop_text,
             (long long)r->tile, (unsigned long long)hash);
    MGI_TRY(mgi_flow_agree(s->run, &s->flow, text));
    return same_given(s);
}

/* A film that the flow begins with (SDEdit) is noised as in the training. */
static float noise_scale_of(const mgi_networks *n, const mgi_generate_request *r)
{
    bool begins = r->source && !n->upsampler && !n->editor;
    return begins ? 1.0f : mgi_vt_noise_scale(&n->video->config, r->noise_scale);
}

int mgi_generate_steps(const mgi_generate_request *r)
{
    int skipped = (int)(r->skip * (float)r->steps + 0.5f);
    return skipped < r->steps ? r->steps - skipped : 1;
}

/* Nothing of the request's size yet. */
static mgen_status prepare(sampler *s)
{
    mgen_context *ctx = s->run->ctx;
    const mgi_generate_request *r = s->r;
    mgi_request_shape shape;
    MGI_TRY(mgi_request_shape_of(ctx, s->n, r, &shape));
    s->frames = shape.frames;
    s->windows = shape.windows;
    memcpy(s->dims, shape.dims, sizeof s->dims);
    s->guidance = mgi_guidance_of(s->n, r);
    s->noise_scale = noise_scale_of(s->n, r);
    s->rows = s->guidance.parts * r->count;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)r->steps + 1, sizeof *s->times, &s->times));
    s->steps = mgi_generate_steps(r);
    s->skipped = r->steps - s->steps;
    if (s->n->video->config.objective == MGI_VT_FLOW)
        mgi_schedule(r->schedule, r->steps, s->times);
    else
        mgi_diffusion_schedule(r->schedule, r->steps, s->times);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)s->rows, sizeof *s->references, &s->references));
    return mgi_alloc_zero(ctx, (size_t)s->rows, MGI_ROLES * sizeof *s->tokens, &s->tokens);
}

mgen_status mgi_generate(mgen_context *ctx, const mgi_networks *n, const mgi_generate_request *r)
{
    mgi_run run;
    sampler s = {.run = &run, .n = n, .r = r, .flow = mgi_flow_ranks_of(n->video->mesh)};
    s.ranks = s.flow.all;
    mgi_run_init(&run, ctx, false);
    mgen_status status = mgi_flow_together(&run, &s.flow, prepare(&s));
    if (status == MGEN_OK)
        status = same_request(&s);
    if (status == MGEN_OK)
        status = sample(&s);
    if (status == MGEN_OK)
        status = decode(&s);
    mgi_run_finish(&run);
    mgi_graph_finish(&s.graph);
    mgi_free(ctx, s.references);
    mgi_free(ctx, s.tokens);
    mgi_free(ctx, s.times);
    return mgi_flow_said(ctx, &s.flow, status);
}
