/* SPDX-License-Identifier: MIT
 * The video transformer over meshes of thread ranks: loss, gradients, updates and latents are those of one rank, to rounding;
 * its collectives, counted; and ranks that are processes. MOVIEGEN_DIST=1 runs what takes its time, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mesh_training.h"

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

/* Channels of a condition: each rank sees those of its own tokens. */
static void test_condition(void **state)
{
    (void)state;
    mgi_vt_config seeing = config;
    seeing.condition = 2;
    compare_all(seeing, MGI_BLOCK_COMPOSITE);
    static const char name[] = "patch_condition.weight";
    assert_true(run_way((way){.shape = {1, 1, 2}, .config = seeing, .forget = name}) > 0.01);
    assert_true(run_way((way){.shape = {1, 2, 1}, .config = seeing, .forget = name}) > 0.01);
}

/* Features of frames: each rank sees those of its own. */
static void test_features(void **state)
{
    (void)state;
    static const char name[] = "feature.weight";
    mgi_vt_config seeing = config;
    seeing.features = 5;
    seeing.block = MGI_VT_DIT;
    seeing.patch_h = 4;
    seeing.patch_w = 8;
    seeing.rows_max = seeing.columns_max = 1;
    compare_all(seeing, MGI_BLOCK_CHAINED);
    assert_true(run_way((way){.shape = {1, 1, 2}, .config = seeing, .forget = name}) > 0.01);
    assert_true(run_way((way){.shape = {1, 2, 1}, .config = seeing, .forget = name}) > 0.01);
}

/* Tasks: what tells them is read by all tokens, and moves the time of all. */
static void test_tasks(void **state)
{
    (void)state;
    static const char *const names[] = {"task.embedding.weight", "task.text.weight",
                                        "task.time.weight"};
    mgi_vt_config told = config;
    told.tasks = 3;
    told.task_dim = 6;
    compare_all(told, MGI_BLOCK_COMPOSITE);
    compare_all(told, MGI_BLOCK_CHAINED);
    for (int i = 0; i < 3; i++) {
        assert_true(run_way((way){.shape = {1, 1, 2}, .config = told, .forget = names[i]}) > 1e-3);
        assert_true(run_way((way){.shape = {1, 2, 1}, .config = told, .forget = names[i]}) > 1e-3);
    }
}

/* Tokens of photos are read by all tokens, too; some samples have none. */
static void test_references(void **state)
{
    (void)state;
    static const char name[] = "reference.proj.weight";
    mgi_vt_config seeing = config;
    seeing.reference = 6;
    compare_all(seeing, MGI_BLOCK_COMPOSITE);
    assert_true(run_way((way){.shape = {1, 1, 2}, .config = seeing, .forget = name}) > 1e-3);
    assert_true(run_way((way){.shape = {1, 2, 1}, .config = seeing, .forget = name}) > 1e-3);
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
        cmocka_unit_test(test_parity_dit), cmocka_unit_test(test_condition),
        cmocka_unit_test(test_features),   cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_references), cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_bf16),       cmocka_unit_test(test_recompute),
        cmocka_unit_test(test_forgotten),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_counts),     cmocka_unit_test(test_processes)};
    if (argc == 3 && !strcmp(argv[1], "--rank"))
        return process_main(argv[2]);
    return cmocka_run_group_tests_name("mesh", tests, NULL, free_truth);
}
