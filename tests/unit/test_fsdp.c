/* SPDX-License-Identifier: MIT
 * Sharded training (FSDP): loss, gradients, updates and latents are those of one rank, to rounding; collectives and
 * memory, counted; and what goes wrong is seen. MOVIEGEN_DIST=1 runs what takes its time, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dist/sharding_plan.h"
#include "mesh_training.h"
#include "model/clip_text.h"
#include "model/t5.h"

static bool all_of_it(void)
{
    return getenv("MOVIEGEN_DIST") != NULL;
}

/* ---- the video transformer --------------------------------------------------------------------------- */

static void assert_as_one(way w)
{
    char text[64];
    double most = run_way(w);
    if (most >= 2e-5 || fabsf(losses[0] - truth.loss) > 1e-6f * truth.loss)
        fail_msg("%s: %.3g apart, loss %.8g for %.8g", mgi_mesh_text(w.shape, text, sizeof text),
                 most, (double)losses[0], (double)truth.loss);
}

/* FSDP, hybrid; with TP and SP; with CP; with both. */
static const mgi_mesh_shape shapes[] = {
    {2, 1, 1, 2}, {4, 1, 1, 2}, {2, 1, 2, 2}, {2, 2, 2, 2}, /* these in short */
    {4, 1, 1, 4}, {1, 2, 1, 2}, {1, 4, 1, 4}, {1, 4, 1, 2}, {2, 2, 1, 4},
    {2, 2, 1, 2}, {1, 2, 2, 2}, {2, 1, 4, 2}, {2, 2, 2, 4}, {4, 2, 1, 8},
    {4, 2, 1, 2}, {4, 1, 2, 2}, {4, 2, 1, 4}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], SHORT = 4 };

static void test_parity(void **state)
{
    (void)state;
    for (int form = 0; form < (all_of_it() ? 2 : 1); form++) {
        assert_true(run_way((way){.shape = {1, 1, 1}, .form = form}) == 0.0);
        for (int i = 0; i < (all_of_it() ? SHAPES : SHORT); i++)
            assert_as_one((way){.shape = shapes[i], .form = form});
    }
}

static void test_parity_dit(void **state)
{
    (void)state;
    mgi_vt_config dit = config;
    dit.block = MGI_VT_DIT;
    run_way((way){.shape = {1, 1, 1}, .config = dit});
    for (int i = all_of_it() ? 0 : SHORT - 1; i < (all_of_it() ? SHAPES : SHORT); i++)
        assert_as_one((way){.shape = shapes[i], .config = dit});
}

/* Tokens exchanged for heads; blocks that run again; a batch in two passes; three layers: another slot is the last; a
 * condition and tasks. */
static void test_ways(void **state)
{
    (void)state;
    mgi_vt_config odd = config, seeing = config;
    odd.layers = 3;
    seeing.condition = 2;
    seeing.tasks = 3;
    seeing.task_dim = 6;
    run_way((way){.shape = {1, 1, 1}});
    assert_as_one((way){.shape = {1, 2, 2, 2}, .cp = MGI_CP_EXCHANGE});
    assert_as_one((way){.shape = {2, 2, 1, 4}, .recompute = MGI_RECOMPUTE_FULL});
    assert_as_one((way){.shape = {2, 1, 2, 2}, .passes = 2});
    for (int i = 0; all_of_it() && i < SHAPES; i++) {
        const mgi_mesh_shape s = shapes[i];
        assert_as_one((way){.shape = s, .cp = MGI_CP_EXCHANGE, .form = MGI_BLOCK_CHAINED});
        assert_as_one((way){.shape = s, .recompute = MGI_RECOMPUTE_SELECTIVE});
        assert_as_one((way){.shape = s, .recompute = MGI_RECOMPUTE_FULL});
        if (s.dp <= 2)
            assert_as_one((way){.shape = s, .passes = 2});
    }
    run_way((way){.shape = {1, 1, 1}, .config = odd});
    assert_as_one((way){.shape = {2, 1, 1, 2}, .config = odd});
    run_way((way){.shape = {1, 1, 1}, .config = seeing});
    for (int i = all_of_it() ? 0 : SHORT - 1; i < (all_of_it() ? SHAPES : SHORT); i++)
        assert_as_one((way){.shape = shapes[i], .config = seeing});
}

/* As far from the truth as one rank is that computes in bf16, and not more than twice that; the loss is the same bits. */
static void test_bf16(void **state)
{
    (void)state;
    run_way((way){.shape = {1, 1, 1}});
    double one = run_way((way){.shape = {1, 1, 1}, .dtype = MGK_BF16});
    float loss = losses[0];
    double many = run_way((way){.shape = {2, 1, 2, 2}, .dtype = MGK_BF16});
    assert_true(one > 1e-3 && many < 2.0 * one);
    many = run_way((way){.shape = {2, 1, 1, 2}, .dtype = MGK_BF16});
    assert_true(many < 2.0 * one && fabsf(losses[0] - loss) <= 1e-6f * loss);
}

/* That the comparison sees what would be forgotten most easily. */
static void test_bugs(void **state)
{
    (void)state;
    static const struct {
        int bug;
        mgi_mesh_shape shape;
    } bugs[] = {{BUG_REPLICAS, {4, 1, 1, 2}},
                {BUG_TP, {2, 1, 2, 2}},
                {BUG_GONE, {2, 1, 1, 2}},
                {BUG_GRADIENTS, {2, 1, 1, 2}},
                {BUG_STALE, {2, 1, 1, 2}}};
    run_way((way){.shape = {1, 1, 1}});
    for (size_t i = 0; i < sizeof bugs / sizeof bugs[0]; i++)
        if (run_way((way){.shape = bugs[i].shape, .bug = bugs[i].bug}) < 1e-3)
            fail_msg("bug %d is not seen", bugs[i].bug);
}

static void test_refused(void **state)
{
    (void)state;
    world all;
    now = (way){.shape = {4, 1, 1, 3}, .config = config};
    run_ranks(&all, 4, 60000, train_rank);
    for (int r = 0; r < all.size; r++) {
        assert_int_equal(all.ranks[r].status, MGEN_E_INVALID);
        assert_says(&all.ranks[r], "shard=3 parts over dp=4 x cp=1 ranks; legal are 1, 2, 4");
    }
    end_ranks(&all);
}

/* ---- text encoders ----------------------------------------------------------------------------------- */

enum { IDS = 6, LENGTH = 7, VECTORS = BATCH * LENGTH * 16 };
static const mgi_t5_config t5_config = {.vocab = 30,
                                        .dim = 16,
                                        .layers = 3,
                                        .heads = 2,
                                        .head_dim = 8,
                                        .ff_dim = 20,
                                        .buckets = 8,
                                        .max_distance = 16,
                                        .tokens_max = 16,
                                        .eps = 1e-6f};
static const mgi_clip_text_config clip_config = {
    .vocab = 30, .dim = 16, .layers = 2, .heads = 2, .ff_dim = 20, .tokens_max = 16, .eps = 1e-5f};
static bool of_clip, learns;
static float vectors[VECTORS], *text_grad[128];
static double text_apart[RANKS];

static T *encode(mgi_run *run, mgi_t5 *t5, mgi_clip_text *clip, int64_t first, int64_t rows)
{
    int32_t ids[BATCH * LENGTH];
    uint8_t mask[BATCH * LENGTH];
    T *x = mgi_new(run, MGK_I32, MGI_DIMS(rows, LENGTH));
    T *is = mgi_new(run, MGK_U8, MGI_DIMS(rows, LENGTH));
    for (int64_t i = 0; i < rows * LENGTH; i++) {
        ids[i] = (int32_t)((first * LENGTH + i) * 7 % 30);
        mask[i] = i % LENGTH < 3 + (first + i / LENGTH);
    }
    if (!x || !is)
        return NULL;
    mgi_tensor_write(x, 0, ids, x->count);
    mgi_tensor_write(is, 0, mask, is->count);
    return of_clip ? mgi_clip_text_encode(run, clip, x, is) : mgi_t5_encode(run, t5, x, is);
}

static void compare_text(rank_state *s, const mgi_module *m, const T *y, int64_t first)
{
    bool one = mgi_comm_size(s->comm) == 1;
    text_apart[s->rank] = 0.0;
    for (int64_t i = 0; i < y->count; i++) {
        float *is = &vectors[first * LENGTH * 16 + i];
        if (one)
            *is = mgi_f32(y)[i];
        CHECK(mgi_f32(y)[i] == *is); /* the same bits */
    }
    for (int64_t k = 0; k < m->count && learns; k++) {
        const mgi_param *p = m->params[k];
        if (one)
            keep(&text_grad[k], p->value->var->grad);
        text_apart[s->rank] =
            fmax(text_apart[s->rank], apart(m, p, p->value->var->grad, text_grad[k]));
    }
}

static void encode_rank(rank_state *s)
{
    mgi_mesh mesh;
    mgi_t5 t5 = {0};
    mgi_clip_text clip = {0};
    mgi_module *m = of_clip ? &clip.module : &t5.module;
    mgi_fsdp *fsdp = NULL;
    mgi_run run;
    CHECK(mgi_device_create(s->ctx, NULL) == MGEN_OK);
    s->status = mgi_mesh_create(s->comm, now.shape, &mesh);
    if (s->status != MGEN_OK)
        return;
    int64_t rows = BATCH / now.shape.dp, first = rows * mesh.at.dp;
    CHECK((of_clip ? mgi_clip_text_init(&clip, s->ctx, &clip_config, &mesh)
                   : mgi_t5_init(&t5, s->ctx, &t5_config, &mesh)) == MGEN_OK);
    CHECK(mgi_module_random(m, 4) == MGEN_OK);
    if (learns)
        CHECK(mgi_module_train(m) == MGEN_OK);
    if (now.shape.shard > 1)
        CHECK(mgi_fsdp_create(s->ctx, &mesh, &m, 1, &fsdp) == MGEN_OK);
    fill_values(m);
    mgi_run_init(&run, s->ctx, learns);
    if (fsdp)
        mgi_fsdp_begin(fsdp, &run, true);
    T *y = encode(&run, &t5, &clip, first, rows);
    T *v = batch_rows(&run, 8, first, MGI_DIMS(rows, LENGTH, 16));
    /* Each rank of a sample has a part of the loss. */
    float share = 1.0f / (float)(now.shape.dp * now.shape.cp * now.shape.tp);
    if (learns)
        mgi_backward(&run, mgi_loss(&run, MGK_LOSS_MSE, share, y, v));
    if (fsdp)
        mgi_fsdp_end(fsdp, &run);
    s->status = run.status;
    if (s->status == MGEN_OK)
        compare_text(s, m, y, first);
    mgi_run_finish(&run);
    mgi_fsdp_destroy(fsdp);
    mgi_t5_finish(&t5);
    mgi_clip_text_finish(&clip);
    mesh.group[MGI_AXIS_WORLD] = NULL;
    mgi_mesh_destroy(&mesh);
    s->ctx->device_destroy(s->ctx->device);
    s->ctx->device = NULL;
}

static void test_text(void **state)
{
    (void)state;
    static const mgi_mesh_shape meshes[] = {{1, 1, 1, 1}, {2, 1, 1, 2}, {4, 1, 1, 2},
                                            {2, 1, 2, 2}, {2, 2, 2, 4}, {4, 2, 1, 8}};
    for (int way_of = 0; way_of < 4; way_of++) {
        of_clip = way_of % 2;
        learns = way_of / 2;
        for (int i = 0; i < (all_of_it() ? 6 : 5); i++) {
            world all;
            now = (way){.shape = meshes[i]};
            run_ranks(&all, meshes[i].dp * meshes[i].cp * meshes[i].tp, 60000, encode_rank);
            for (int r = 0; r < all.size; r++)
                if (all.ranks[r].status != MGEN_OK || text_apart[r] > 1e-5)
                    fail_msg("mesh %d, rank %d: %.3g apart (%s)", i, r, text_apart[r],
                             all.ranks[r].said);
            end_ranks(&all);
        }
    }
    for (int k = 0; k < 128; k++)
        free(text_grad[k]);
}

/* ---- counted on the meta device ---------------------------------------------------------------------- */

/* The ranges of the report's largest model, a few layers of it: elements of a TP rank. */
enum { COUNTED = 3, UNITS = COUNTED + 2, WIDE = 6144, FFN = 16384, ROWS = 32 + 96 + 96 };
typedef struct formula {
    int64_t unit, elements;
    bool operand, lasting, partial;
} formula;

static int formulas(int tp, formula *out)
{
    const int64_t d = WIDE, f = FFN, token = 64, text = 4096 + 1472 + 1280, time = 256;
    int n = 0;
    out[n++] = (formula){0, d * (token + text + time + d + 6 * d), true, false, true};
    out[n++] = (formula){0, ROWS * d, false, true, true};
    out[n++] = (formula){0, 3 * 2 * d + d + d + 6 * d, false, false, true};
    for (int i = 1; i <= COUNTED; i++) {
        out[n++] = (formula){i, (8 * d * d + 3 * f * d) / tp, true, false, false};
        out[n++] = (formula){i, 8 * d, false, false, true};
    }
    out[n++] = (formula){UNITS - 1, 2 * d * d + token * d, true, false, true};
    out[n++] = (formula){UNITS - 1, d + 2 * d, false, false, true};
    return n;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

typedef struct totals {
    int64_t gathers, gathered, scatters, scattered; /* calls; bytes that a rank sends */
    int64_t replicas, replicated, partials, summed;
    int64_t kept, operands, slots[UNITS], slots_grad[UNITS], lasting; /* memory: elements; bytes */
} totals;

static totals expect(mgi_mesh_shape shape)
{
    formula list[2 * UNITS + 1];
    totals t = {0};
    int n = formulas(shape.tp, list), s = shape.shard, copies = shape.dp * shape.cp / s;
    for (int i = 0; i < n; i++) {
        int64_t block = 32 * s, share = (list[i].elements + block - 1) / block * 32;
        int64_t bytes = list[i].operand ? 2 : 4;
        /* Forward; and backward, but for the last two, which are still there. */
        int64_t times = list[i].lasting || list[i].unit >= UNITS - 2 ? 1 : 2;
        t.gathers += times;
        t.gathered += times * (s - 1) * share * bytes;
        t.scatters++;
        t.scattered += (s - 1) * share * 4;
        t.replicas += copies > 1;
        t.replicated += 2 * (copies - 1) * share * 4 / copies;
        t.partials += shape.tp > 1 && list[i].partial;
        t.summed += list[i].partial ? 2 * (shape.tp - 1) * share * 4 / shape.tp : 0;
        t.kept += share;
        t.operands += list[i].operand ? share : 0;
        if (list[i].lasting) {
            t.lasting += s * share;
            continue;
        }
        t.slots[list[i].unit] += s * share * bytes;
        t.slots_grad[list[i].unit] += s * share;
    }
    return t;
}

static void assert_memory(const mgi_device_counts *c, const totals *t)
{
    int64_t values = 0, grads = 0;
    for (int parity = 0; parity < 2; parity++) {
        int64_t largest = 0, largest_grad = 0;
        for (int u = parity; u < UNITS; u += 2) {
            largest = most(largest, t->slots[u]);
            largest_grad = most(largest_grad, t->slots_grad[u]);
        }
        values += largest;
        grads += largest_grad;
    }
    assert_int_equal(c->now[MGI_MEM_PARAMETER], 4 * t->kept);
    assert_int_equal(c->now[MGI_MEM_OPTIMIZER], 3 * 4 * t->kept);
    assert_int_equal(c->now[MGI_MEM_COMPUTE], 2 * t->operands + values + 4 * t->lasting);
    assert_int_equal(c->now[MGI_MEM_GRADIENT], 4 * (t->kept + grads + t->lasting));
    for (int kind = MGI_MEM_PARAMETER; kind <= MGI_MEM_OPTIMIZER; kind++)
        assert_int_equal(c->peak[kind], c->now[kind]); /* a step takes no more of it */
}

static void assert_counted(const mgi_mesh *mesh, mgi_axis axis, mgi_comm_op op, int64_t before,
                           int64_t calls, int64_t sent)
{
    char text[64];
    mgi_comm_count c = mgi_comm_counted(mesh->group[axis], op);
    c.calls -= before;
    if (c.calls != calls || c.sent != sent)
        fail_msg("%s, %s over group %d: %lld calls for %lld, %lld bytes for %lld",
                 mgi_mesh_text(mesh->shape, text, sizeof text), mgi_comm_op_name(op), axis,
                 (long long)c.calls, (long long)calls, (long long)c.sent, (long long)sent);
}

/* A forward and a backward pass. */
static void walk(mgen_context *ctx, mgi_vt *vt, mgi_fsdp *fsdp)
{
    mgi_run run;
    mgi_run_init(&run, ctx, true);
    mgi_fsdp_begin(fsdp, &run, true);
    T *x = mgi_new(&run, MGK_F32, MGI_DIMS(1, 32, 96, 96, 16));
    T *v = mgi_new(&run, MGK_F32, MGI_DIMS(1, 32, 96, 96, 16));
    mgi_vt_text text = {{mgi_new(&run, MGK_F32, MGI_DIMS(1, 512, 4096))}, {NULL}};
    T *u = mgi_vt_forward(&run, vt, x, mgi_new(&run, MGK_F32, MGI_DIMS(1)), &text);
    assert_int_equal(mgi_backward(&run, mgi_loss(&run, MGK_LOSS_MSE, 1.0f, u, v)), MGEN_OK);
    mgi_fsdp_end(fsdp, &run);
    assert_int_equal(run.status, MGEN_OK);
    mgi_run_finish(&run);
}

static void count_step(mgi_mesh_shape shape)
{
    mgi_vt_config large;
    mgi_comm *all;
    mgi_mesh mesh;
    mgi_vt vt;
    mgi_fsdp *fsdp;
    mgi_module *m = &vt.module;
    mgen_context *ctx = make_context();
    int ranks = shape.dp * shape.cp * shape.tp;
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    mgi_device_make_meta(ctx->device);
    assert_int_equal(mgi_vt_preset(ctx, "30b", &large), MGEN_OK);
    large.layers = COUNTED;
    assert_int_equal(mgi_comm_counting_create(ctx, ranks - 1, ranks, &all), MGEN_OK);
    assert_int_equal(mgi_mesh_create(all, shape, &mesh), MGEN_OK);
    assert_int_equal(mgi_vt_init_mesh(&vt, ctx, &large, &mesh), MGEN_OK);
    vt.recompute = MGI_RECOMPUTE_SELECTIVE;
    assert_int_equal(mgi_module_train(m), MGEN_OK);
    assert_int_equal(mgi_module_compute(m, MGK_BF16), MGEN_OK);
    assert_int_equal(mgi_fsdp_create(ctx, &mesh, &m, 1, &fsdp), MGEN_OK);
    walk(ctx, &vt, fsdp);
    const totals t = expect(shape);
    assert_counted(&mesh, MGI_AXIS_SHARD, MGI_COMM_ALL_GATHER, 0, t.gathers, t.gathered);
    assert_counted(&mesh, MGI_AXIS_SHARD, MGI_COMM_REDUCE_SCATTER, 0, t.scatters, t.scattered);
    assert_counted(&mesh, MGI_AXIS_REPLICA, MGI_COMM_ALL_REDUCE, 0, t.replicas, t.replicated);
    assert_counted(&mesh, MGI_AXIS_TP, MGI_COMM_ALL_REDUCE, 0, t.partials, t.summed);
    assert_memory(&ctx->device->counts, &t);
    mgi_fsdp_destroy(fsdp);
    mgi_vt_finish(&vt);
    mgi_mesh_destroy(&mesh);
    mgi_context_free(ctx);
}

/* Every mesh of powers of two up to 128 ranks, each with all its shards; and some with other sizes. */
static void test_counts(void **state)
{
    (void)state;
    for (int dp = 1; dp <= 128; dp *= 2)
        for (int cp = 1; cp <= 8 && dp * cp <= 128; cp *= 2)
            for (int tp = 1; tp <= 16 && dp * cp * tp <= 128; tp *= 2)
                for (int shard = 2; shard <= dp * cp; shard *= 2)
                    count_step((mgi_mesh_shape){dp, cp, tp, shard});
    count_step((mgi_mesh_shape){6, 1, 2, 3});
    count_step((mgi_mesh_shape){5, 1, 1, 5});
    count_step((mgi_mesh_shape){7, 2, 4, 14});
}

/* ---- from one module to the next ---------------------------------------------------------------------- */

static int64_t posted; /* gathers */

static void on_call(void *user, const mgi_comm *group, const mgi_comm_work *work, mgi_comm_op op,
                    int64_t sent, bool waited)
{
    (void)user;
    (void)group;
    (void)work;
    (void)sent;
    posted += op == MGI_COMM_ALL_GATHER && !waited;
}

/* Ranges of a unit and, of the first, those that last. */
static int64_t ranges_of(const mgi_module *m, int64_t unit)
{
    int64_t n = 0;
    for (int64_t k = 0; k < m->range_count; k++)
        n += m->ranges[k].unit == unit;
    return n;
}

static int64_t lasting_of(const mgi_module *m)
{
    int64_t n = 0;
    for (int64_t k = 0; k < m->range_count; k++)
        n += m->ranges[k].lasting;
    return n;
}

/* Two slots, of even and odd numbers over both modules: the largest unit of each. */
static void assert_slots(const mgi_device_counts *c, mgi_module *const m[2], int64_t shards)
{
    int64_t slot[2] = {0, 0}, largest = 0, lasting = 0, operands = 0, number = 0;
    for (int i = 0; i < 2; i++)
        for (int64_t u = 0; u < m[i]->units; u++, number++) {
            int64_t bytes = 0;
            for (int64_t k = 0; k < m[i]->range_count; k++) {
                const mgi_range *r = &m[i]->ranges[k];
                int64_t own = r->unit == u ? r->share * (r->compute ? 2 : 4) : 0;
                bytes += r->lasting ? 0 : shards * own;
                lasting += r->lasting ? shards * own : 0;
                operands += r->compute ? own : 0;
            }
            slot[number % 2] = most(slot[number % 2], bytes);
            largest = most(largest, bytes);
        }
    assert_int_equal(c->now[MGI_MEM_COMPUTE], operands + lasting + slot[0] + slot[1]);
    assert_true(slot[0] + slot[1] <= 2 * largest);
}

static void walk_both(mgen_context *ctx, mgi_module *const m[2], mgi_fsdp *fsdp, bool learns_too)
{
    const int64_t units = m[0]->units + m[1]->units;
    int64_t expected = 0;
    mgi_run run;
    posted = 0;
    mgi_run_init(&run, ctx, true);
    mgi_fsdp_begin(fsdp, &run, true);
    for (int64_t n = 0; n < units; n++) { /* one ahead, whosever it is */
        bool second = n >= m[0]->units, ends = n + 1 == units;
        int64_t next = n + 1 >= m[0]->units ? n + 1 - m[0]->units : n + 1;
        expected += n == 0 ? ranges_of(m[0], 0) : 0;
        expected += ends ? 0 : ranges_of(m[n + 1 >= m[0]->units], next);
        mgi_fsdp_unit(fsdp, &run, m[second], n - second * m[0]->units, MGI_ENTER_FORWARD);
        assert_int_equal(posted, expected);
    }
    for (int64_t n = units - 1; n >= (learns_too ? 0 : m[0]->units); n--) {
        bool second = n >= m[0]->units, before = n > m[0]->units;
        int64_t previous = before ? n - 1 - m[0]->units : n - 1;
        bool there = n == units - 1 || n == 0 || (!before && !learns_too);
        expected += there ? 0 : ranges_of(m[before], previous);
        expected -= !there && previous == 0 ? lasting_of(m[before]) : 0;
        mgi_fsdp_unit(fsdp, &run, m[second], n - second * m[0]->units, MGI_ENTER_BACKWARD);
        assert_int_equal(posted, expected);
        mgi_fsdp_unit(fsdp, &run, m[second], n - second * m[0]->units, MGI_EXIT_BACKWARD);
    }
    mgi_fsdp_end(fsdp, &run);
    assert_int_equal(run.status, MGEN_OK);
    mgi_run_finish(&run);
}

/* A text encoder of 1 to 4 layers before the transformer: what comes next is on its way at the border, too. */
static void test_across(void **state)
{
    (void)state;
    const mgi_comm_watch watch = {on_call, NULL};
    for (int layers = 1; layers <= 4; layers++)
        for (int learns_too = 0; learns_too < 2; learns_too++) {
            mgi_t5_config text = t5_config;
            mgi_vt_config large;
            mgi_comm *all;
            mgi_mesh mesh;
            mgi_t5 t5;
            mgi_vt vt;
            mgi_fsdp *fsdp;
            mgi_module *const m[2] = {&t5.module, &vt.module};
            mgen_context *ctx = make_context();
            text.layers = layers;
            assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
            mgi_device_make_meta(ctx->device);
            assert_int_equal(mgi_vt_preset(ctx, "30b", &large), MGEN_OK);
            large.layers = COUNTED;
            assert_int_equal(mgi_comm_counting_create(ctx, 3, 4, &all), MGEN_OK);
            mgi_comm_counting_watch(all, &watch);
            assert_int_equal(mgi_mesh_create(all, (mgi_mesh_shape){4, 1, 1, 4}, &mesh), MGEN_OK);
            assert_int_equal(mgi_t5_init(&t5, ctx, &text, &mesh), MGEN_OK);
            assert_int_equal(mgi_vt_init_mesh(&vt, ctx, &large, &mesh), MGEN_OK);
            for (int i = 0; i < 2; i++) {
                if (i || learns_too)
                    assert_int_equal(mgi_module_train(m[i]), MGEN_OK);
                assert_int_equal(mgi_module_compute(m[i], MGK_BF16), MGEN_OK);
            }
            assert_int_equal(mgi_fsdp_create(ctx, &mesh, m, 2, &fsdp), MGEN_OK);
            assert_slots(&ctx->device->counts, m, 4);
            walk_both(ctx, m, fsdp, learns_too);
            assert_slots(&ctx->device->counts, m, 4);
            mgi_fsdp_destroy(fsdp);
            mgi_vt_finish(&vt);
            mgi_t5_finish(&t5);
            mgi_mesh_destroy(&mesh);
            mgi_context_free(ctx);
        }
}

/* ---- the plan ---------------------------------------------------------------------------------------- */

static void test_plan(void **state)
{
    (void)state;
    char text[2048];
    mgi_sharding_text(text, sizeof text);
    assert_non_null(strstr(text, "self-attention    FSDP+TP+SP+CP  FSDP+TP+SP+CP"));
    assert_non_null(strstr(text, "UL2               FSDP           FSDP"));
    assert_non_null(strstr(text, "ByT5              whole          whole"));
    assert_true(strlen(text) < sizeof text - 1);
    assert_true(mgi_divided_by(MGI_COMPONENT_FFN, MGI_BY_FSDP | MGI_BY_TP));
    assert_false(mgi_divided_by(MGI_COMPONENT_METACLIP, MGI_BY_FSDP));
}

/* ---- ranks that are processes ------------------------------------------------------------------------ */

static void test_processes(void **state)
{
    (void)state;
    static const char *const meshes[] = {"dp=2,tp=2,shard=2", "dp=4,shard=2", "dp=2,cp=2,shard=4"};
    need_mpi();
    for (int i = 0; i < (all_of_it() ? 3 : 1); i++) {
        launch(4, meshes[i]);
        for (int r = 0; r < 4; r++)
            assert_said(r, "trained, as one rank, loss too");
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parity),   cmocka_unit_test(test_parity_dit),
        cmocka_unit_test(test_ways),     cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_bugs),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_text),     cmocka_unit_test(test_counts),
        cmocka_unit_test(test_across),   cmocka_unit_test(test_plan),
        cmocka_unit_test(test_processes)};
    if (argc == 3 && !strcmp(argv[1], "--rank"))
        return process_main(argv[2]);
    return cmocka_run_group_tests_name("fsdp", tests, NULL, free_truth);
}
