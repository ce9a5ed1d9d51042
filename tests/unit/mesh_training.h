/* SPDX-License-Identifier: MIT
 * A small video transformer trained over meshes of ranks, which are threads or processes, and compared with one rank. */
#ifndef MESH_TRAINING_H
#define MESH_TRAINING_H

#include "core/hash.h"
#include "core/philox.h"
#include "dist/collective.h"
#include "dist/mesh.h"
#include "kernels/loss/loss.h"
#include "model/video_transformer.h"
#include "mpi_launch.h"
#include "nn/fsdp.h"
#include "nn/partial.h"
#include "rank_device.h"
#include "tiny_networks.h"
#include "train/optimizer.h"

#include <math.h>
#include <unistd.h>

enum { BATCH = 4, TEXT = 5 };

static const mgi_vt_config config = {TINY_MESH_VT};

/* What is run, and how it differs. */
typedef struct way {
    mgi_mesh_shape shape;
    mgi_vt_config config;
    int32_t dtype;
    int recompute, form, cp;
    int passes;         /* of which the gradients are added; 0: 1 */
    const char *forget; /* a parameter whose partial gradients are not summed */
    int bug;            /* BUG_*: what goes wrong where parameters are sharded */
} way;

enum { BUG_NONE, BUG_REPLICAS, BUG_TP, BUG_GONE, BUG_GRADIENTS, BUG_STALE };

/* The gradients of one rank, whole; each rank compares with them. */
static struct {
    int64_t count;
    float *grad[256], *weight[256];
    float loss;
} truth;

static way now;
static double worst[RANKS]; /* of each rank, over its parameters */
static float losses[RANKS];

/* ---- where the elements of a share are in the whole: by the definition, one by one ------------------- */

/* Element i of the rank's tensor parallel share. */
static int64_t index_of_split(const mgi_module *m, const mgi_param *p, int64_t i)
{
    int64_t n = m->tp_size > 1 && p->tp != MGI_TP_REPLICATED ? m->tp_size : 1;
    int64_t rank = n > 1 ? m->tp_rank : 0;
    int axis = p->tp == MGI_TP_ROW ? 1 : 0;
    int64_t inner = 1;
    for (int k = axis + 1; k < p->rank; k++)
        inner *= p->dims[k];
    int64_t extent = p->dims[axis] / n, share = extent / p->parts;
    int64_t outer = i / (extent * inner), at = i / inner % extent, rest = i % inner;
    int64_t whole = at / share * (share * n) + rank * share + at % share;
    return (outer * p->dims[axis] + whole) * inner + rest;
}

/* Of a sharded parameter the first element is where the shard begins, or the parameter. */
static int64_t whole_index(const mgi_module *m, const mgi_param *p, int64_t own)
{
    int64_t begin = 0;
    if (m->shard_size > 1)
        begin = m->shard_rank * m->ranges[p->range].share - p->first;
    return index_of_split(m, p, (begin > 0 ? begin : 0) + own);
}

/* A copy on the host, to be freed. */
static float *values_of(mgi_tensor *t)
{
    float *values = calloc((size_t)t->count, sizeof *values);
    mgi_tensor_read(t, 0, values, t->count);
    return values;
}

static void fill_values(mgi_module *m)
{
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        uint64_t stream = mgi_hash64(p->name, strlen(p->name), 7);
        float *values = values_of(p->value);
        for (int64_t i = 0; i < p->value->count; i++)
            values[i] += 0.1f * mgi_random_normal(5, stream, (uint64_t)whole_index(m, p, i));
        mgi_tensor_write(p->value, 0, values, p->value->count);
        free(values);
    }
    mgi_module_refresh(m);
}

/* Rows first .. first + rows - 1 of a batch of random values. */
static T *batch_rows(mgi_run *run, uint64_t stream, int64_t first, int rank, const int64_t *dims)
{
    T *t = mgi_new(run, MGK_F32, rank, dims);
    float *values = t ? values_of(t) : NULL;
    for (int64_t i = 0; t && i < t->count; i++)
        values[i] = mgi_random_normal(3, stream, (uint64_t)(first * (t->count / dims[0]) + i));
    if (t)
        mgi_tensor_write(t, 0, values, t->count);
    free(values);
    return t;
}

/* ---- one rank ---------------------------------------------------------------------------------------- */

/* Latents that the model sees beside its own; NULL: it sees none. */
static T *condition_rows(mgi_run *run, const mgi_vt *vt, int64_t first, int64_t rows)
{
    int64_t channels = vt->config.condition;
    return channels ? batch_rows(run, 7, first, MGI_DIMS(rows, 4, 4, 8, channels)) : NULL;
}

/* Features of the frames, which are a token each; NULL: it sees none. */
static T *feature_rows(mgi_run *run, const mgi_vt *vt, int64_t first, int64_t rows)
{
    int64_t features = vt->config.features;
    return features ? batch_rows(run, 8, first, MGI_DIMS(rows, 4, features)) : NULL;
}

/* What the model is told of each sample; NULL: it has no tasks. */
static T *task_rows(mgi_run *run, const mgi_vt *vt, int64_t first, int64_t rows)
{
    T *t = vt->config.tasks ? mgi_new(run, MGK_I32, 1, &rows) : NULL;
    for (int64_t i = 0; t && i < rows; i++) {
        int32_t task = (int32_t)((first + i) % vt->config.tasks);
        mgi_tensor_write(t, i, &task, 1);
    }
    return t;
}

/* Tokens of photos; NULL: it sees none. */
enum { PHOTO = 2 };
static const int64_t photo_tokens[BATCH] = {2, 0, 1, 2};

static T *reference_rows(mgi_run *run, const mgi_vt *vt, int64_t first, int64_t rows)
{
    int64_t width = vt->config.reference;
    return width ? batch_rows(run, 9, first, MGI_DIMS(rows, PHOTO, width)) : NULL;
}

/* Rows first .. first + rows - 1 of the batch, whose loss counts `weight`. */
static T *pass(mgi_run *run, const mgi_vt *vt, int64_t first, int64_t rows, float weight)
{
    T *x = batch_rows(run, 1, first, MGI_DIMS(rows, 4, 4, 8, 3));
    T *v = batch_rows(run, 2, first, MGI_DIMS(rows, 4, 4, 8, 3));
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(rows));
    float times[BATCH];
    for (int64_t i = 0; i < rows; i++)
        times[i] = 0.2f * (float)(first + i) + 0.1f;
    if (t)
        mgi_tensor_write(t, 0, times, rows);
    const int64_t tokens[BATCH] = {5, 3, 4, 1};
    mgi_vt_text text = {{batch_rows(run, 4, first, MGI_DIMS(rows, TEXT, 12)),
                         batch_rows(run, 5, first, MGI_DIMS(rows, TEXT, 8))},
                        {tokens + first},
                        .reference = reference_rows(run, vt, first, rows),
                        .references = photo_tokens + first,
                        .task = task_rows(run, vt, first, rows),
                        .condition = condition_rows(run, vt, first, rows),
                        .features = feature_rows(run, vt, first, rows)};
    T *u = mgi_vt_forward(run, vt, x, t, &text);
    T *loss = mgi_loss(run, MGK_LOSS_MSE, weight, u, v);
    mgi_backward(run, loss);
    return loss;
}

/* Gradients that are whole on each rank, or its tensor parallel share. */
static void sum_gradients(mgi_run *run, mgi_module *m, const mgi_mesh *mesh)
{
    for (int64_t k = 0; k < m->count; k++)
        if (now.forget && !strcmp(m->params[k]->name, now.forget))
            m->params[k]->partial = MGI_PARTIAL_NONE;
    mgi_module_sum_partial(run, m, mesh);
    for (int64_t k = 0; k < m->count; k++)
        mgi_sum_ranks(run, mesh->group[MGI_AXIS_DP], m->params[k]->value->var->grad);
}

/* What happens to a sharded unit. Bugs: block 0's gradients are not sent; its parameters are gone when it runs back. */
static void unit_hook(mgi_run *run, void *fsdp, void *module, int64_t unit, int moment)
{
    const mgi_module *m = module;
    if (now.bug == BUG_GRADIENTS && unit == 1 && moment == MGI_EXIT_BACKWARD)
        return;
    mgi_fsdp_unit(fsdp, run, module, unit, moment);
    for (int64_t k = 0; now.bug == BUG_GONE && moment == MGI_ENTER_BACKWARD && k < m->count; k++)
        if (m->params[k]->unit == 1 && unit == 1)
            mgi_fill(run, m->params[k]->whole, 0.0f);
}

static mgen_status step(rank_state *s, mgi_vt *vt, const mgi_mesh *mesh, mgi_fsdp *fsdp,
                        mgi_optimizer *o)
{
    mgi_run run;
    const mgi_unit_hook hook = {unit_hook, fsdp};
    int64_t passes = now.passes ? now.passes : 1;
    int64_t all = BATCH / now.shape.dp, rows = all / passes, first = all * mesh->at.dp;
    float sum = 0.0f;
    mgi_run_init(&run, s->ctx, true);
    mgi_module_zero_grad(&vt->module, &run);
    for (int64_t i = 0; i < passes; i++) {
        if (fsdp && !(now.bug == BUG_STALE && o))
            mgi_fsdp_begin(fsdp, &run, i == passes - 1);
        if (fsdp)
            run.hook = &hook;
        T *loss = pass(&run, vt, first + i * rows, rows, 1.0f / (float)(now.shape.dp * passes));
        if (run.status == MGEN_OK)
            mgi_sum_ranks(&run, mesh->group[MGI_AXIS_DP], loss);
        float value = 0.0f;
        if (run.status == MGEN_OK)
            mgi_tensor_read(loss, 0, &value, 1);
        sum += value;
    }
    if (!o)
        losses[s->rank] = sum;
    if (fsdp)
        mgi_fsdp_end(fsdp, &run);
    else
        sum_gradients(&run, &vt->module, mesh);
    if (o)
        mgi_optimizer_step(o, &run, 0);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

/* The largest difference of a parameter's values, relative to the largest. */
static double apart(const mgi_module *m, const mgi_param *p, mgi_tensor *share, const float *all)
{
    double most = 0.0, largest = 1e-30;
    float *own = values_of(share);
    int64_t count = 1;
    for (int k = 0; k < p->rank; k++)
        count *= p->dims[k];
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)all[i]));
    for (int64_t i = 0; i < p->value->count; i++)
        most = fmax(most, fabs((double)own[i] - (double)all[whole_index(m, p, i)]));
    free(own);
    return most / largest;
}

static void keep(float **to, mgi_tensor *t)
{
    free(*to);
    *to = values_of(t);
}

static void compare(rank_state *s, const mgi_module *m)
{
    if (mgi_comm_size(s->comm) == 1 && now.dtype == MGK_F32) { /* the truth */
        truth.count = m->count;
        truth.loss = losses[0];
        for (int64_t k = 0; k < m->count; k++)
            keep(&truth.grad[k], m->params[k]->value->var->grad);
    }
    CHECK(m->count == truth.count);
    worst[s->rank] = 0.0;
    for (int64_t k = 0; k < m->count && m->count == truth.count; k++)
        worst[s->rank] = fmax(
            worst[s->rank], apart(m, m->params[k], m->params[k]->value->var->grad, truth.grad[k]));
}

/* Three updates, clipped by the norm of all gradients: the weights are one rank's, too. */
static mgen_status update(rank_state *s, mgi_vt *vt, const mgi_mesh *mesh, mgi_fsdp *fsdp)
{
    const mgi_optimizer_recipe recipe = {.lr = 1e-2,
                                         .beta1 = 0.9,
                                         .beta2 = 0.95,
                                         .eps = 1e-3, /* gradients around 0 count little */
                                         .weight_decay = 0.1,
                                         .clip = 0.1,
                                         .ema = 0.9,
                                         .schedule = MGI_LR_CONSTANT};
    mgi_module *m = &vt->module;
    mgi_optimizer o;
    float norm;
    MGI_TRY(mgi_optimizer_init(&o, s->ctx, &recipe, 3, &m, 1));
    mgi_optimizer_split(&o, mesh);
    mgen_status status = MGEN_OK;
    for (int i = 0; i < 3 && status == MGEN_OK; i++)
        status = step(s, vt, mesh, fsdp, &o);
    mgi_tensor_read(o.control, MGK_CONTROL_NORM, &norm, 1);
    CHECK(norm > 2.0f * (float)recipe.clip);
    mgi_optimizer_finish(&o);
    bool one = mgi_comm_size(s->comm) == 1;
    for (int64_t k = 0; k < m->count && status == MGEN_OK; k++) {
        if (one)
            keep(&truth.weight[k], m->params[k]->value);
        worst[s->rank] =
            fmax(worst[s->rank], apart(m, m->params[k], m->params[k]->value, truth.weight[k]));
    }
    return status;
}

enum { LATENTS = BATCH * 4 * 4 * 8 * 3 };
static float first_latents[LATENTS]; /* of one rank */
static double worst_latent[RANKS];

/* A few steps along the flow: every rank has all of the latents. */
static mgen_status sample(rank_state *s, const mgi_vt *vt, mgi_fsdp *fsdp)
{
    mgi_run run;
    mgi_run_init(&run, s->ctx, false);
    if (fsdp)
        mgi_fsdp_begin(fsdp, &run, false);
    T *x = batch_rows(&run, 6, 0, MGI_DIMS(BATCH, 4, 4, 8, 3)), *u = NULL;
    mgi_vt_text text = {{batch_rows(&run, 4, 0, MGI_DIMS(BATCH, TEXT, 12))},
                        {NULL},
                        .reference = reference_rows(&run, vt, 0, BATCH),
                        .references = photo_tokens,
                        .task = task_rows(&run, vt, 0, BATCH),
                        .condition = condition_rows(&run, vt, 0, BATCH),
                        .features = feature_rows(&run, vt, 0, BATCH)};
    for (int k = 0; k < 3; k++) {
        T *t = mgi_new(&run, MGK_F32, MGI_DIMS(BATCH)), *dt = mgi_new(&run, MGK_F32, MGI_DIMS(1));
        mgi_fill(&run, t, 0.3f * (float)k);
        mgi_fill(&run, dt, 0.3f);
        u = mgi_vt_velocity(&run, vt, x, t, &text);
        mgi_euler_step(&run, x, u, dt);
    }
    if (fsdp)
        mgi_fsdp_end(fsdp, &run);
    mgen_status status = run.status;
    worst_latent[s->rank] = 0.0;
    float *values = status == MGEN_OK ? values_of(x) : NULL;
    for (int64_t i = 0; i < LATENTS && status == MGEN_OK; i++) {
        if (mgi_comm_size(s->comm) == 1)
            first_latents[i] = values[i];
        worst_latent[s->rank] =
            fmax(worst_latent[s->rank], fabs((double)values[i] - (double)first_latents[i]));
    }
    free(values);
    mgi_run_finish(&run);
    return status;
}

/* Bugs that are there before anything runs. */
static void plant(mgi_module *m, mgi_mesh *mesh)
{
    if (now.bug == BUG_REPLICAS)
        mesh->group[MGI_AXIS_REPLICA] = mesh->group[MGI_AXIS_TP];
    for (int64_t i = 0; now.bug == BUG_TP && i < m->range_count; i++)
        m->ranges[i].partial = false;
}

/* Of a sharded module a rank has its share, and a step takes no more memory of these kinds. */
static void check_memory(rank_state *s, const mgi_module *m)
{
    const mgi_device_counts *c = &m->dev->counts;
    uint64_t kept = 0;
    for (int64_t i = 0; i < m->range_count; i++)
        kept += 4 * (uint64_t)m->ranges[i].share;
    CHECK(c->now[MGI_MEM_PARAMETER] == kept && c->now[MGI_MEM_OPTIMIZER] == 3 * kept);
    for (int kind = MGI_MEM_PARAMETER; kind <= MGI_MEM_OPTIMIZER; kind++)
        CHECK(c->peak[kind] == c->now[kind]);
}

static void train_vt(rank_state *s, mgi_vt *vt, mgi_mesh *mesh)
{
    mgi_fsdp *fsdp = NULL;
    mgi_module *m = &vt->module;
    mgi_comm *replicas = mesh->group[MGI_AXIS_REPLICA];
    vt->recompute = now.recompute;
    vt->form = now.form;
    vt->cp = now.cp;
    plant(m, mesh);
    CHECK(mgi_vt_random(vt, 1) == MGEN_OK);
    CHECK(mgi_module_train(m) == MGEN_OK);
    CHECK(mgi_module_compute(m, now.dtype) == MGEN_OK);
    if (mesh->shape.shard > 1)
        CHECK(mgi_fsdp_create(s->ctx, mesh, &m, 1, &fsdp) == MGEN_OK);
    fill_values(m);
    if (!s->wrong)
        s->status = step(s, vt, mesh, fsdp, NULL);
    if (s->status == MGEN_OK)
        compare(s, m);
    if (s->status == MGEN_OK && now.dtype == MGK_F32)
        s->status = sample(s, vt, fsdp);
    if (s->status == MGEN_OK && now.dtype == MGK_F32 && !now.forget)
        s->status = update(s, vt, mesh, fsdp);
    if (fsdp && s->status == MGEN_OK)
        check_memory(s, m);
    mgi_fsdp_destroy(fsdp);
    mesh->group[MGI_AXIS_REPLICA] = replicas;
}

static void train_rank(rank_state *s)
{
    mgi_mesh mesh;
    mgi_vt vt;
    rank_device_open(s);
    if (s->status == MGEN_OK)
        s->status = mgi_mesh_create(s->comm, now.shape, &mesh);
    if (s->status == MGEN_OK) {
        s->status = mgi_vt_init_mesh(&vt, s->ctx, &now.config, &mesh);
        if (s->status == MGEN_OK) {
            train_vt(s, &vt, &mesh);
            mgi_vt_finish(&vt);
        }
        mesh.group[MGI_AXIS_WORLD] = NULL; /* the harness's */
        mgi_mesh_destroy(&mesh);
    }
    if (s->status != MGEN_OK)
        snprintf(s->said, sizeof s->said, "%s", s->ctx->error_text);
    rank_device_close(s);
}

/* The largest difference on any rank. */
static double run_way(way w)
{
    world all;
    double most = 0.0;
    now = w;
    if (!now.config.layers)
        now.config = config;
    int size = w.shape.dp * w.shape.cp * w.shape.tp;
    run_ranks(&all, size, 60000, train_rank);
    for (int r = 0; r < size; r++) {
        if (all.ranks[r].status != MGEN_OK)
            fail_msg("rank %d: %s", r, all.ranks[r].said);
        most = fmax(most, worst[r]);
        assert_true(losses[r] == losses[0] || w.shape.dp > 1);
        if (w.dtype == MGK_F32 && worst_latent[r] >= 1e-5)
            fail_msg("rank %d of %d: sampled latents %.3g apart", r, size, worst_latent[r]);
    }
    end_ranks(&all);
    return most;
}

static int free_truth(void **state)
{
    (void)state;
    for (int64_t k = 0; k < truth.count; k++) {
        free(truth.grad[k]);
        free(truth.weight[k]);
    }
    return 0;
}

/* A rank that is a process: how far its gradients are from those that it has alone. */
static int process_main(const char *mesh)
{
    rank_state s = {.ctx = make_context()};
    mgi_comm *alone, *all;
    mgen_status status = mgi_comm_single_create(s.ctx, &alone);
    now = (way){.shape = {1, 1, 1}, .config = config};
    s.comm = alone;
    if (status == MGEN_OK)
        train_rank(&s);
    float loss = losses[0];
    if (status == MGEN_OK)
        status = mgi_comm_mpi_create(s.ctx, 60000, &all);
    if (status == MGEN_OK) {
        s.rank = mgi_comm_rank(all);
        s.comm = all;
        status = mgi_mesh_parse(s.ctx, mesh, &now.shape);
        if (status == MGEN_OK)
            train_rank(&s);
        mgi_comm_destroy(all);
    }
    status = status == MGEN_OK ? s.status : status;
    printf("rank %d: %s, %s, loss %s\n", s.rank,
           status == MGEN_OK ? "trained" : mgen_status_name(status),
           !s.wrong && worst[s.rank] < 2e-5 ? "as one rank" : "apart",
           fabsf(losses[s.rank] - loss) <= 1e-6f * loss ? "too" : "apart");
    mgi_comm_destroy(alone);
    mgi_context_free(s.ctx);
    for (int64_t k = 0; k < truth.count; k++) {
        free(truth.grad[k]);
        free(truth.weight[k]);
    }
    return 0;
}

#endif
