/* SPDX-License-Identifier: MIT
 * The video transformer over meshes of thread ranks: loss, gradients, updates and latents are those of one rank, to rounding;
 * its collectives, counted; and ranks that are processes. MOVIEGEN_DIST=1 runs what takes its time, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/hash.h"
#include "core/philox.h"
#include "dist/collective.h"
#include "dist/mesh.h"
#include "kernels/loss/loss.h"
#include "model/video_transformer.h"
#include "mpi_launch.h"
#include "nn/partial.h"
#include "rank_threads.h"
#include "train/optimizer.h"

#include <math.h>
#include <unistd.h>

enum { BATCH = 4, TEXT = 5, LAYERS = 2 };

static const mgi_vt_config config = {.layers = LAYERS,
                                     .dim = 32,
                                     .heads = 4,
                                     .ff_dim = 24,
                                     .channels = 3,
                                     .patch_t = 1,
                                     .patch_h = 2,
                                     .patch_w = 2,
                                     .frames_max = 4,
                                     .rows_max = 3,
                                     .columns_max = 5,
                                     .text = {12, 8, 0},
                                     .time_dim = 16};

/* What is run, and how it differs. */
typedef struct way {
    mgi_mesh_shape shape;
    mgi_vt_config config;
    int32_t dtype;
    int recompute, form, cp;
    const char *forget; /* a parameter whose partial gradients are not summed */
} way;

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

static void fill_values(mgi_module *m)
{
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        uint64_t stream = mgi_hash64(p->name, strlen(p->name), 7);
        for (int64_t i = 0; i < p->value->count; i++)
            mgi_f32(p->value)[i] +=
                0.1f * mgi_random_normal(5, stream, (uint64_t)whole_index(m, p, i));
    }
    mgi_module_refresh(m);
}

/* Rows first .. first + rows - 1 of a batch of random values. */
static T *batch_rows(mgi_run *run, uint64_t stream, int64_t first, int rank, const int64_t *dims)
{
    T *t = mgi_new(run, MGK_F32, rank, dims);
    for (int64_t i = 0; t && i < t->count; i++)
        mgi_f32(t)[i] = mgi_random_normal(3, stream, (uint64_t)(first * (t->count / dims[0]) + i));
    return t;
}

/* ---- one rank ---------------------------------------------------------------------------------------- */

static mgen_status step(rank_state *s, mgi_vt *vt, const mgi_mesh *mesh, mgi_optimizer *o)
{
    mgi_run run;
    int64_t rows = BATCH / now.shape.dp, first = rows * mesh->at.dp;
    mgi_run_init(&run, s->ctx, true);
    mgi_module_zero_grad(&vt->module, &run);
    T *x = batch_rows(&run, 1, first, MGI_DIMS(rows, 4, 4, 8, 3));
    T *v = batch_rows(&run, 2, first, MGI_DIMS(rows, 4, 4, 8, 3));
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(rows));
    for (int64_t i = 0; t && i < rows; i++)
        mgi_f32(t)[i] = 0.2f * (float)(first + i) + 0.1f;
    const int64_t tokens[BATCH] = {5, 3, 4, 1};
    mgi_vt_text text = {{batch_rows(&run, 4, first, MGI_DIMS(rows, TEXT, 12)),
                         batch_rows(&run, 5, first, MGI_DIMS(rows, TEXT, 8))},
                        {tokens + first}};
    T *u = mgi_vt_forward(&run, vt, x, t, &text);
    T *loss = mgi_loss(&run, MGK_LOSS_MSE, 1.0f / (float)now.shape.dp, u, v);
    mgen_status status = mgi_backward(&run, loss);
    if (status == MGEN_OK)
        mgi_sum_ranks(&run, mesh->group[MGI_AXIS_DP], loss);
    if (status == MGEN_OK && !o)
        losses[s->rank] = mgi_f32(loss)[0];
    for (int64_t k = 0; k < vt->module.count; k++)
        if (now.forget && !strcmp(vt->module.params[k]->name, now.forget))
            vt->module.params[k]->partial = MGI_PARTIAL_NONE;
    mgi_module_sum_partial(&run, &vt->module, mesh);
    for (int64_t k = 0; k < vt->module.count; k++)
        mgi_sum_ranks(&run, mesh->group[MGI_AXIS_DP], vt->module.params[k]->value->var->grad);
    if (o)
        mgi_optimizer_step(o, &run, 0);
    status = run.status;
    mgi_run_finish(&run);
    return status;
}

/* The largest difference of a parameter's values, relative to the largest. */
static double apart(const mgi_module *m, const mgi_param *p, const float *own, const float *all)
{
    double most = 0.0, largest = 1e-30;
    int64_t count = 1;
    for (int k = 0; k < p->rank; k++)
        count *= p->dims[k];
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)all[i]));
    for (int64_t i = 0; i < p->value->count; i++)
        most = fmax(most, fabs((double)own[i] - (double)all[whole_index(m, p, i)]));
    return most / largest;
}

static void keep(float **to, const mgi_tensor *t)
{
    size_t bytes = (size_t)t->count * sizeof(float);
    free(*to);
    *to = malloc(bytes);
    memcpy(*to, mgi_f32(t), bytes);
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
        worst[s->rank] =
            fmax(worst[s->rank],
                 apart(m, m->params[k], mgi_f32(m->params[k]->value->var->grad), truth.grad[k]));
}

/* Three updates, clipped by the norm of all gradients: the weights are one rank's, too. */
static mgen_status update(rank_state *s, mgi_vt *vt, const mgi_mesh *mesh)
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
    mgi_optimizer_split(&o, mesh->group[MGI_AXIS_TP]);
    mgen_status status = MGEN_OK;
    for (int i = 0; i < 3 && status == MGEN_OK; i++)
        status = step(s, vt, mesh, &o);
    mgi_tensor_read(o.control, MGK_CONTROL_NORM, &norm, 1);
    CHECK(norm > 2.0f * (float)recipe.clip);
    mgi_optimizer_finish(&o);
    bool one = mgi_comm_size(s->comm) == 1;
    for (int64_t k = 0; k < m->count && status == MGEN_OK; k++) {
        if (one)
            keep(&truth.weight[k], m->params[k]->value);
        worst[s->rank] = fmax(
            worst[s->rank], apart(m, m->params[k], mgi_f32(m->params[k]->value), truth.weight[k]));
    }
    return status;
}

enum { LATENTS = BATCH * 4 * 4 * 8 * 3 };
static float first_latents[LATENTS]; /* of one rank */
static double worst_latent[RANKS];

/* A few steps along the flow: every rank has all of the latents. */
static mgen_status sample(rank_state *s, const mgi_vt *vt)
{
    mgi_run run;
    mgi_run_init(&run, s->ctx, false);
    T *x = batch_rows(&run, 6, 0, MGI_DIMS(BATCH, 4, 4, 8, 3)), *u = NULL;
    mgi_vt_text text = {{batch_rows(&run, 4, 0, MGI_DIMS(BATCH, TEXT, 12))}, {NULL}};
    for (int k = 0; k < 3; k++) {
        T *t = mgi_new(&run, MGK_F32, MGI_DIMS(BATCH)), *dt = mgi_new(&run, MGK_F32, MGI_DIMS(1));
        mgi_fill(&run, t, 0.3f * (float)k);
        mgi_fill(&run, dt, 0.3f);
        u = mgi_vt_velocity(&run, vt, x, t, 0.3f * (float)k, &text);
        mgi_euler_step(&run, x, u, dt);
    }
    mgen_status status = run.status;
    worst_latent[s->rank] = 0.0;
    for (int64_t i = 0; i < LATENTS && status == MGEN_OK; i++) {
        if (mgi_comm_size(s->comm) == 1)
            first_latents[i] = mgi_f32(x)[i];
        worst_latent[s->rank] =
            fmax(worst_latent[s->rank], fabs((double)mgi_f32(x)[i] - (double)first_latents[i]));
    }
    mgi_run_finish(&run);
    return status;
}

static void train_rank(rank_state *s)
{
    mgi_mesh mesh;
    mgi_vt vt;
    CHECK(mgi_device_create(s->ctx, NULL) == MGEN_OK);
    s->status = mgi_mesh_create(s->comm, now.shape, &mesh);
    if (s->status != MGEN_OK)
        return;
    s->status = mgi_vt_init_mesh(&vt, s->ctx, &now.config, &mesh);
    if (s->status == MGEN_OK) {
        vt.recompute = now.recompute;
        vt.form = now.form;
        vt.cp = now.cp;
        CHECK(mgi_vt_random(&vt, 1) == MGEN_OK);
        CHECK(mgi_module_train(&vt.module) == MGEN_OK);
        CHECK(mgi_module_compute(&vt.module, now.dtype) == MGEN_OK);
        fill_values(&vt.module);
        s->status = step(s, &vt, &mesh, NULL);
        if (s->status == MGEN_OK)
            compare(s, &vt.module);
        if (s->status == MGEN_OK && now.dtype == MGK_F32)
            s->status = sample(s, &vt);
        if (s->status == MGEN_OK && now.dtype == MGK_F32 && !now.forget)
            s->status = update(s, &vt, &mesh);
        mgi_vt_finish(&vt);
    }
    mesh.group[MGI_AXIS_WORLD] = NULL; /* the harness's */
    mgi_mesh_destroy(&mesh);
    s->ctx->device_destroy(s->ctx->device);
    s->ctx->device = NULL;
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

static const mgi_mesh_shape shapes[] = {{2, 1, 1}, {1, 1, 2}, {1, 1, 4}, {1, 2, 1}, {1, 4, 1},
                                        {1, 2, 2}, {2, 1, 2}, {2, 2, 1}, {2, 2, 2}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void compare_all(mgi_vt_config of, int form)
{
    assert_true(run_way((way){.shape = {1, 1, 1}, .config = of, .form = form}) == 0.0);
    for (int i = 0; i < SHAPES; i++) {
        double most = run_way((way){.shape = shapes[i], .config = of, .form = form});
        if (most >= 2e-5 || fabsf(losses[0] - truth.loss) > 1e-6f * truth.loss)
            fail_msg("dp=%d,cp=%d,tp=%d: gradients %.3g apart, loss %.8g for %.8g", shapes[i].dp,
                     shapes[i].cp, shapes[i].tp, most, (double)losses[0], (double)truth.loss);
    }
}

static void test_parity(void **state)
{
    (void)state;
    compare_all(config, MGI_BLOCK_COMPOSITE);
    compare_all(config, MGI_BLOCK_CHAINED);
}

static void test_parity_dit(void **state)
{
    (void)state;
    mgi_vt_config dit = config;
    dit.block = MGI_VT_DIT;
    compare_all(dit, MGI_BLOCK_CHAINED);
}

/* Tokens exchanged for heads. */
static void test_exchange(void **state)
{
    (void)state;
    static const mgi_mesh_shape some[] = {{1, 2, 1}, {1, 4, 1}, {1, 2, 2}, {2, 2, 2}};
    run_way((way){.shape = {1, 1, 1}});
    for (int i = 0; i < 8; i++) {
        way w = {.shape = some[i / 2], .cp = MGI_CP_EXCHANGE, .form = i % 2};
        double most = run_way(w);
        if (most >= 2e-5 || fabsf(losses[0] - truth.loss) > 1e-6f * truth.loss)
            fail_msg("mesh %d, form %d: %.3g apart", i / 2, i % 2, most);
    }
    assert_true(run_way((way){.shape = {1, 2, 2},
                              .cp = MGI_CP_EXCHANGE,
                              .recompute = MGI_RECOMPUTE_SELECTIVE}) < 2e-5);
}

/* As far from the truth as one rank is that computes in bf16, and not more than twice that. */
static void test_bf16(void **state)
{
    (void)state;
    run_way((way){.shape = {1, 1, 1}});
    double one = run_way((way){.shape = {1, 1, 1}, .dtype = MGK_BF16});
    double many = run_way((way){.shape = {1, 2, 2}, .dtype = MGK_BF16});
    print_message("bf16 gradients: one rank %.3g from f32, four ranks %.3g\n", one, many);
    assert_true(one > 1e-3 && many < 2.0 * one);
}

/* Blocks run again in the backward pass: with the same collectives. */
static void test_recompute(void **state)
{
    (void)state;
    run_way((way){.shape = {1, 1, 1}});
    assert_true(run_way((way){.shape = {1, 2, 2}, .recompute = MGI_RECOMPUTE_SELECTIVE}) < 2e-5);
    assert_true(run_way((way){.shape = {1, 2, 2}, .recompute = MGI_RECOMPUTE_FULL}) < 2e-5);
}

/* That the comparison sees what is forgotten most easily: a gradient of which each rank has a part only. */
static void test_forgotten(void **state)
{
    (void)state;
    static const char *const names[] = {"block0.norm1.weight", "block1.mod",      "pos.row",
                                        "text.proj.weight",    "time.mod.weight", "head.weight"};
    run_way((way){.shape = {1, 1, 1}});
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_true(run_way((way){.shape = {1, 1, 2}, .forget = names[i]}) > 0.01);
        assert_true(run_way((way){.shape = {1, 2, 1}, .forget = names[i]}) > 0.01);
    }
    assert_true(run_way((way){.shape = {1, 2, 1}, .forget = "block0.attn.qkv.weight"}) > 0.01);
}

static void assert_refused(way w, const char *says)
{
    world all;
    now = w;
    run_ranks(&all, w.shape.dp * w.shape.cp * w.shape.tp, 60000, train_rank);
    for (int r = 0; r < all.size; r++) {
        assert_int_equal(all.ranks[r].status, MGEN_E_INVALID);
        assert_says(&all.ranks[r], says);
    }
    end_ranks(&all);
}

static void test_refused(void **state)
{
    (void)state;
    assert_refused((way){.shape = {1, 1, 3}, .config = config},
                   "4 heads and an FFN of 24 cannot be split over tp=3 ranks; legal are 1, 2, 4");
    assert_refused((way){.shape = {1, 3, 1}, .config = config},
                   "32 tokens cannot be split over cp=3 x tp=1 ranks");
    assert_refused((way){.shape = {1, 2, 4}, .config = config, .cp = MGI_CP_EXCHANGE},
                   "4 heads cannot be split over tp=4 x cp=2 ranks");
}

/* The values of a share are those of the whole; and what the ranks have, element by element. */
static void assert_share(const mgi_module *share, const mgi_module *whole, int *had)
{
    for (int64_t k = 0; k < share->count; k++) {
        const mgi_param *p = share->params[k], *all = whole->params[k];
        int64_t pieces = mgi_param_pieces(share, p), count = 0;
        for (int64_t i = 0; i < p->value->count; i++)
            assert_true(mgi_f32(p->value)[i] == mgi_f32(all->value)[whole_index(share, p, i)]);
        for (int64_t i = 0; i < pieces; i++) {
            mgi_piece piece = mgi_param_piece(share, p, i);
            assert_true(piece.count > 0);
            assert_int_equal(piece.own, count);
            for (int64_t e = 0; e < piece.count; e++)
                assert_int_equal(piece.whole + e, whole_index(share, p, piece.own + e));
            for (int64_t e = 0; e < piece.count && (p->tp != MGI_TP_REPLICATED || !share->tp_rank);
                 e++)
                had[piece.whole + e]++;
            count += piece.count;
        }
        assert_int_equal(count, p->value->count);
        had += all->value->count;
    }
}

static void assert_shares(mgen_context *ctx, const char *dir, const char *file, const mgi_vt *whole,
                          mgi_mesh_shape shape)
{
    mgi_comm *comm;
    mgi_mesh mesh;
    mgi_st_file st;
    mgi_vt share;
    int ranks = shape.dp * shape.tp;
    int64_t size = mgi_module_size(&whole->module);
    int *had = calloc((size_t)size, sizeof *had);
    assert_non_null(had);
    for (int r = 0; r < ranks; r++) {
        assert_int_equal(mgi_comm_counting_create(ctx, r, ranks, &comm), MGEN_OK);
        assert_int_equal(mgi_mesh_create(comm, shape, &mesh), MGEN_OK);
        assert_int_equal(mgi_vt_init_mesh(&share, ctx, &config, &mesh), MGEN_OK);
        assert_int_equal(mgi_vt_random(&share, 9), MGEN_OK);
        assert_share(&share.module, &whole->module, had);
        for (int64_t k = 0; k < share.module.count; k++)
            memset(mgi_f32(share.module.params[k]->value), 0,
                   (size_t)share.module.params[k]->value->count * sizeof(float));
        assert_int_equal(mgi_st_open(ctx, dir, "shares.safetensors", &st), MGEN_OK);
        assert_int_equal(mgi_module_load(&share.module, &st, file, false), MGEN_OK);
        mgi_st_close(ctx, &st);
        assert_share(&share.module, &whole->module, had);
        assert_int_equal(mgi_module_save(&share.module, file, false, MGI_ST_F32),
                         MGEN_E_UNSUPPORTED);
        mgi_vt_finish(&share);
        mgi_mesh_destroy(&mesh);
    }
    for (int64_t i = 0; i < size; i++) /* both times, by one shard each, or by each replica */
        assert_int_equal(had[i], 2 * shape.dp / (shape.shard > 1 ? shape.shard : 1));
    free(had);
}

/* Initial values and those from a file: of each share, those of the whole. */
static void test_shares(void **state)
{
    (void)state;
    static const mgi_mesh_shape meshes[] = {
        {1, 1, 4, 1}, {4, 1, 1, 4}, {4, 1, 1, 2}, {3, 1, 2, 3}, {7, 1, 4, 7}};
    char dir[] = "/tmp/mgi-shares-XXXXXX", file[64];
    mgen_context *ctx = make_context();
    mgi_vt whole;
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/shares.safetensors", dir);
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&whole, ctx, &config), MGEN_OK);
    assert_int_equal(mgi_vt_random(&whole, 9), MGEN_OK);
    assert_int_equal(mgi_module_save(&whole.module, file, false, MGI_ST_F32), MGEN_OK);
    for (size_t i = 0; i < sizeof meshes / sizeof meshes[0]; i++)
        assert_shares(ctx, dir, file, &whole, meshes[i]);
    remove(file);
    rmdir(dir);
    mgi_vt_finish(&whole);
    mgi_context_free(ctx);
}

/* Collectives of a training step of the report's largest model, a few layers of it, counted on the meta device: calls and
 * bytes that a rank sends are those of the formulas, for every mesh. */
static void count_step(mgen_context *ctx, int cp, int tp, int mode)
{
    enum { LAYERS_COUNTED = 2, SAMPLES = 2, TOKENS = 32 * 48 * 48, WIDTH = 6144, BF16 = 2 };
    mgi_vt_config large;
    mgi_comm *all;
    mgi_mesh mesh;
    mgi_vt vt;
    mgi_run run;
    assert_int_equal(mgi_vt_preset(ctx, "30b", &large), MGEN_OK);
    large.layers = LAYERS_COUNTED;
    assert_int_equal(mgi_comm_counting_create(ctx, cp * tp - 1, cp * tp, &all), MGEN_OK);
    assert_int_equal(mgi_mesh_create(all, (mgi_mesh_shape){1, cp, tp}, &mesh), MGEN_OK);
    assert_int_equal(mgi_vt_init_mesh(&vt, ctx, &large, &mesh), MGEN_OK);
    vt.cp = mode;
    assert_int_equal(mgi_module_train(&vt.module), MGEN_OK);
    assert_int_equal(mgi_module_compute(&vt.module, MGK_BF16), MGEN_OK);
    int64_t before[MGI_AXES] = {0};
    for (int a = 0; a < MGI_AXES; a++)
        before[a] = mgi_comm_counted(mesh.group[a], MGI_COMM_ALL_GATHER).calls;
    mgi_run_init(&run, ctx, true);
    T *x = mgi_new(&run, MGK_F32, MGI_DIMS(SAMPLES, 32, 96, 96, 16));
    T *v = mgi_new(&run, MGK_F32, MGI_DIMS(SAMPLES, 32, 96, 96, 16));
    mgi_vt_text text = {{mgi_new(&run, MGK_F32, MGI_DIMS(SAMPLES, 512, 4096))}, {NULL}};
    T *u = mgi_vt_forward(&run, &vt, x, mgi_new(&run, MGK_F32, MGI_DIMS(SAMPLES)), &text);
    assert_int_equal(mgi_backward(&run, mgi_loss(&run, MGK_LOSS_MSE, 1.0f, u, v)), MGEN_OK);
    mgi_run_finish(&run);

    const int64_t own = (int64_t)SAMPLES * TOKENS / (cp * tp) * WIDTH * BF16;
    const int64_t keys = (int64_t)SAMPLES * TOKENS / cp * 2 * WIDTH / tp * BF16;
    const int64_t head = (int64_t)SAMPLES * TOKENS / (cp * tp) * 64 * 4;
    const int gathers = mode == MGI_CP_GATHER ? LAYERS_COUNTED : 0;
    const struct {
        mgi_axis axis;
        mgi_comm_op op;
        int ranks;
        int64_t calls, sent; /* sent: of a call, to each other rank */
    } formulas[] = {
        /* n1, x1, n2; dh2, n2, dx, x1, dh1, n1 */
        {MGI_AXIS_TP, MGI_COMM_ALL_GATHER, tp, 9 * LAYERS_COUNTED, own},
        /* three products; the inputs' gradients of three */
        {MGI_AXIS_TP, MGI_COMM_REDUCE_SCATTER, tp, 6 * LAYERS_COUNTED, own},
        {MGI_AXIS_CP, MGI_COMM_ALL_GATHER, cp, 2 * gathers, keys},
        {MGI_AXIS_CP, MGI_COMM_REDUCE_SCATTER, cp, gathers, keys},
        {MGI_AXIS_MODEL, MGI_COMM_ALL_GATHER, cp * tp, 1, head},
    };
    for (size_t i = 0; i < sizeof formulas / sizeof formulas[0]; i++) {
        mgi_comm_count n = mgi_comm_counted(mesh.group[formulas[i].axis], formulas[i].op);
        int64_t calls = formulas[i].ranks > 1 ? formulas[i].calls : 0;
        if (formulas[i].op == MGI_COMM_ALL_GATHER)
            n.calls -= before[formulas[i].axis];
        if (n.calls != calls || n.sent != calls * (formulas[i].ranks - 1) * formulas[i].sent)
            fail_msg("cp=%d,tp=%d, formula %zu: %lld calls for %lld, %lld bytes", cp, tp, i,
                     (long long)n.calls, (long long)calls, (long long)n.sent);
    }
    /* qkv there, a back; a back, da there, dqkv back: 3 + 1 + 1 + 1 + 3 tensors as large as a */
    mgi_comm_count n = mgi_comm_counted(mesh.group[MGI_AXIS_CP], MGI_COMM_ALL_TO_ALL);
    assert_int_equal(n.calls, mode == MGI_CP_EXCHANGE && cp > 1 ? 5 * LAYERS_COUNTED : 0);
    assert_int_equal(n.sent, n.calls / 5 * 9 * (cp - 1) * (keys / 2 / cp));
    mgi_vt_finish(&vt);
    mgi_mesh_destroy(&mesh);
}

static void test_counts(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    mgi_device_make_meta(ctx->device);
    for (int cp = 1; cp <= 8; cp *= 2)
        for (int tp = 1; tp <= 16; tp *= 2)
            for (int mode = MGI_CP_GATHER; mode <= MGI_CP_EXCHANGE; mode++)
                if (mode == MGI_CP_GATHER || 48 / tp % cp == 0)
                    count_step(ctx, cp, tp, mode);
    mgi_context_free(ctx);
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

static void test_processes(void **state)
{
    (void)state;
    static const char *const meshes[] = {"cp=2,tp=2", "dp=2,tp=2", "tp=4"};
    need_mpi();
    for (int i = 0; i < (getenv("MOVIEGEN_DIST") ? 3 : 1); i++) {
        launch(4, meshes[i]);
        for (int r = 0; r < 4; r++)
            assert_said(r, "trained, as one rank, loss too");
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),     cmocka_unit_test(test_parity),
        cmocka_unit_test(test_parity_dit), cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_bf16),       cmocka_unit_test(test_recompute),
        cmocka_unit_test(test_forgotten),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_counts),     cmocka_unit_test(test_processes)};
    if (argc == 3 && !strcmp(argv[1], "--rank"))
        return process_main(argv[2]);
    return cmocka_run_group_tests_name("mesh", tests, NULL, free_truth);
}
