/* SPDX-License-Identifier: MIT
 *
 *   tokens  x = Linear(patchify(latents)), patches of 1 x 2 x 2, the channels of a condition, if any, behind those of
 *           the latents: two matrices whose results add up
 *           features of frames, if any, are added to what becomes of them: sigmoid(W1 f) W2 f
 *   text    P = LayerNorm(Linear(text)), of each encoder's own, one behind the other
 *   photo   LayerNorm(Linear(its tokens)), beside those of P (a personalizer's)
 *   task    four vectors beside those of P, and one added to e, each a matrix times the task's own vector (an editor's)
 *   time    e = Linear(SiLU(Linear(sinusoid(1000 t))));  m = Linear(SiLU(e)), six vectors, shared
 *   block   (a1,b1,g1,a2,b2,g2) = m + the block's own six
 *           x <- x + positions
 *           x <- x + g1 SelfAttention(RMSNorm(x) (1 + a1) + b1)
 *           x <- x + CrossAttention(q = x, kv = P)
 *           x <- x + g2 SwiGLU(RMSNorm(x) (1 + a2) + b2)
 *   head    Linear(RMSNorm(x) (1 + a) + b), (a,b) = Linear(SiLU(e)); unpatchify
 *
 * positions = phi_t[frame] + phi_h[row] + phi_w[column], learned, added before every block.
 * No biases in the blocks' linear layers. A model of DiT blocks, the report's comparison (table 9), has LayerNorm
 * without weights (eps 1e-6) for RMSNorm, Linear(GELU or SiLU(Linear(x))) for SwiGLU, and biases everywhere. In bf16 the modulation, norm weights and tables stay f32.
 * The blocks are in video_transformer_block.c, the text in video_transformer_text.c.
 */
#include "model/video_transformer_block.h"

#include "core/alloc.h"
#include "dist/collective.h"
#include "dist/sharding_plan.h"
#include "flow/diffusion.h"
#include "kernels/glu/glu.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "tensor/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* -- parameters ------------------------------------------------------------------------------- */

/* A weight (out, in) with deviation gain / sqrt(in). Where tokens are split, each rank sees the gradient of
 * its own: all weights are partial over CP, and those that no tensor parallelism splits (their input is not
 * gathered) over SP. */
static mgi_param *weight(mgi_module *m, int64_t out, int64_t in, float gain, mgi_param_spec spec,
                         const char *name)
{
    spec.init = gain > 0 ? MGI_INIT_NORMAL : MGI_INIT_ZERO;
    spec.scale = gain / sqrtf((float)in);
    spec.decay = 1.0f;
    spec.partial = spec.tp == MGI_TP_REPLICATED ? MGI_PARTIAL_SP | MGI_PARTIAL_CP : MGI_PARTIAL_CP;
    spec.operand = true;
    return mgi_param_add(m, spec, MGI_DIMS(out, in), "%s", name);
}

static mgi_param *matrix(mgi_module *m, int64_t out, int64_t in, float gain, const char *name)
{
    return weight(m, out, in, gain, (mgi_param_spec){.tp = MGI_TP_REPLICATED}, name);
}

/* Learning rate of what features go through, to that of the rest. Much of a feature vector is the same for all pictures,
 * and all weights move along it together: at the full rate, gates are shut for good before the pictures tell anything. */
#define FEATURE_RATE 0.1f

static mgi_param *feature_matrix(mgi_module *m, int64_t out, int64_t in)
{
    mgi_param *p = matrix(m, out, in, 0.3f, "feature.weight");
    if (p)
        p->lr_scale = FEATURE_RATE;
    return p;
}

/* Vectors and tables; their gradients are sums over tokens, partial where tokens are split. */
static mgi_param *vector(mgi_module *m, mgi_param_spec spec, int rank, const int64_t *dims,
                         const char *name)
{
    spec.partial = MGI_PARTIAL_SP | MGI_PARTIAL_CP;
    return mgi_param_add(m, spec, rank, dims, "%s", name);
}

/* A linear layer of a block; of DiT's with a bias, which is split as the outputs are. */
static void block_linear(mgi_vt *vt, int64_t index, mgi_component of, int64_t out, int64_t in,
                         float gain, int tp, int parts, const char *name, mgi_param **w,
                         mgi_param **b)
{
    char text[96];
    tp = mgi_divided_by(of, MGI_BY_TP) ? tp : MGI_TP_REPLICATED;
    snprintf(text, sizeof text, "block%lld.%s.weight", (long long)index, name);
    *w = weight(&vt->module, out, in, gain,
                (mgi_param_spec){.tp = tp, .parts = parts, .codes = true}, text);
    if (vt->config.block != MGI_VT_DIT)
        return;
    bool split = tp == MGI_TP_COLUMN;
    *b = mgi_param_add(
        &vt->module,
        (mgi_param_spec){.init = MGI_INIT_ZERO,
                         .tp = split ? tp : MGI_TP_REPLICATED,
                         .parts = split ? parts : 1,
                         .partial = split ? MGI_PARTIAL_CP : MGI_PARTIAL_SP | MGI_PARTIAL_CP},
        1, &out, "block%lld.%s.bias", (long long)index, name);
}

static mgi_param *block_norm(mgi_vt *vt, int64_t index, const char *name)
{
    char text[96];
    snprintf(text, sizeof text, "block%lld.%s.weight", (long long)index, name);
    return vt->config.block == MGI_VT_DIT
               ? NULL
               : vector(&vt->module, (mgi_param_spec){.init = MGI_INIT_ONE}, 1, &vt->config.dim,
                        text);
}

static void block_make(mgi_vt *vt, int64_t i)
{
    mgi_module *m = &vt->module;
    mgi_vt_block *b = &vt->block[i];
    mgi_module_unit(m);
    int64_t d = vt->config.dim, f = vt->config.ff_dim;
    bool dit = vt->config.block == MGI_VT_DIT;
    const mgi_component self = MGI_COMPONENT_SELF_ATTENTION, cross = MGI_COMPONENT_CROSS_ATTENTION;
    /* Residual branches start at a third of their natural size, with open gates. */
    const float small = 0.3f;
    b->mod = mgi_param_add(m,
                           (mgi_param_spec){.init = MGI_INIT_NORMAL,
                                            .scale = 1.0f / sqrtf((float)d),
                                            .partial = MGI_PARTIAL_SP | MGI_PARTIAL_CP},
                           MGI_DIMS(1, MGI_VT_MODS, d), "block%lld.mod", (long long)i);
    b->norm1 = block_norm(vt, i, "norm1");
    block_linear(vt, i, self, 3 * d, d, 1.0f, MGI_TP_COLUMN, 3, "attn.qkv", &b->qkv, &b->qkv_b);
    block_linear(vt, i, self, d, d, small, MGI_TP_ROW, 1, "attn.out", &b->out, &b->out_b);
    block_linear(vt, i, cross, d, d, 1.0f, MGI_TP_COLUMN, 1, "cross.q", &b->cross_q, &b->cross_q_b);
    block_linear(vt, i, cross, 2 * d, d, 1.0f, MGI_TP_COLUMN, 2, "cross.kv", &b->cross_kv,
                 &b->cross_kv_b);
    block_linear(vt, i, cross, d, d, small, MGI_TP_ROW, 1, "cross.out", &b->cross_out,
                 &b->cross_out_b);
    b->norm2 = block_norm(vt, i, "norm2");
    block_linear(vt, i, MGI_COMPONENT_FFN, dit ? f : 2 * f, d, 1.0f, MGI_TP_COLUMN, dit ? 1 : 2,
                 dit ? "ffn.up" : "ffn.gate_up", &b->up, &b->up_b);
    block_linear(vt, i, MGI_COMPONENT_FFN, d, f, small, MGI_TP_ROW, 1, "ffn.down", &b->down,
                 &b->down_b);
}

bool mgi_vt_undivided(int64_t heads, int64_t ff_dim, int tp, char why[MGI_VT_WHY])
{
    char legal[128] = "";
    size_t used = 0;
    if (heads % tp == 0 && ff_dim % tp == 0)
        return false;
    for (int64_t n = 1; n <= heads && used < sizeof legal - 8; n++)
        if (heads % n == 0 && ff_dim % n == 0)
            used += (size_t)snprintf(legal + used, sizeof legal - used, "%s%lld", used ? ", " : "",
                                     (long long)n);
    snprintf(why, MGI_VT_WHY,
             "%lld heads and an FFN of %lld cannot be split over tp=%d ranks; legal are %s",
             (long long)heads, (long long)ff_dim, tp, legal);
    return true;
}

static mgen_status check_tp(mgen_context *ctx, const mgi_vt_config *c, int tp)
{
    char why[MGI_VT_WHY];
    return mgi_vt_undivided(c->heads, c->ff_dim, tp, why) ? mgi_fail(ctx, MGEN_E_INVALID, "%s", why)
                                                          : MGEN_OK;
}

mgen_status mgi_vt_init(mgi_vt *vt, mgen_context *ctx, const mgi_vt_config *config)
{
    return mgi_vt_init_mesh(vt, ctx, config, NULL);
}

mgen_status mgi_vt_init_mesh(mgi_vt *vt, mgen_context *ctx, const mgi_vt_config *config,
                             const mgi_mesh *mesh)
{
    static const mgi_param_spec zero = {.init = MGI_INIT_ZERO}, one = {.init = MGI_INIT_ONE};
    static const mgi_param_spec table = {.init = MGI_INIT_NORMAL, .scale = 0.02f, .lasting = true};
    const mgi_vt_config *c = config;
    memset(vt, 0, sizeof *vt);
    mgi_module *m = &vt->module;
    mgi_module_init(m, ctx);
    vt->config = *config;
    if (mesh) {
        MGI_TRY(check_tp(ctx, c, mesh->shape.tp));
        vt->mesh = mesh;
        m->tp_rank = mesh->at.tp;
        m->tp_size = mesh->shape.tp;
        m->shard_rank = mesh->at.shard;
        m->shard_size = mesh->shape.shard;
    }
    bool dit = c->block == MGI_VT_DIT;
    int64_t d = c->dim, token = c->patch_t * c->patch_h * c->patch_w * c->channels;
    m->status = mgi_alloc_zero(ctx, (size_t)c->layers, sizeof *vt->block, &vt->block);
    vt->patch = matrix(m, d, token, 1.0f, "patch.weight");
    vt->patch_b = dit ? vector(m, zero, 1, &d, "patch.bias") : NULL;
    if (c->condition)
        vt->patch_condition = matrix(m, d, c->patch_t * c->patch_h * c->patch_w * c->condition,
                                     0.0f, "patch_condition.weight");
    if (c->features)
        vt->feature = feature_matrix(m, 2 * d, c->features);
    vt->pos_t = vector(m, table, MGI_DIMS(c->frames_max, d), "pos.frame");
    vt->pos_h = vector(m, table, MGI_DIMS(c->rows_max, d), "pos.row");
    vt->pos_w = vector(m, table, MGI_DIMS(c->columns_max, d), "pos.column");
    mgi_vt_text_init(vt);
    vt->time1_w = matrix(m, d, c->time_dim, 1.0f, "time.in.weight");
    vt->time1_b = vector(m, zero, 1, &d, "time.in.bias");
    vt->time2_w = matrix(m, d, d, 1.0f, "time.out.weight");
    vt->time2_b = vector(m, zero, 1, &d, "time.out.bias");
    vt->mod_w = matrix(m, MGI_VT_MODS * d, d, 0.0f, "time.mod.weight");
    vt->mod_b = vector(m, zero, MGI_DIMS(MGI_VT_MODS * d), "time.mod.bias");
    for (int64_t i = 0; i < c->layers && m->status == MGEN_OK; i++)
        block_make(vt, i);
    mgi_module_unit(m);
    vt->head_norm = dit ? NULL : vector(m, one, 1, &d, "head.norm.weight");
    vt->head_mod_w = matrix(m, 2 * d, d, 0.0f, "head.mod.weight");
    vt->head_mod_b = vector(m, zero, MGI_DIMS(2 * d), "head.mod.bias");
    vt->head = matrix(m, token, d, 0.0f, "head.weight");
    vt->head_b = dit ? vector(m, zero, 1, &token, "head.bias") : NULL;
    mgen_status status = mgi_module_divide(m);
    if (status != MGEN_OK)
        mgi_vt_finish(vt);
    return status;
}

void mgi_vt_finish(mgi_vt *vt)
{
    if (vt->module.ctx)
        mgi_free(vt->module.ctx, vt->block);
    vt->block = NULL;
    mgi_module_finish(&vt->module);
}

/* Add 1 to elements [first, first + count) of a parameter, those of them that the rank has. */
static mgen_status add_one(mgi_module *m, const mgi_param *p, int64_t first, int64_t count)
{
    float *x;
    MGI_TRY(mgi_alloc(m->ctx, (size_t)count * sizeof *x, &x));
    for (int64_t i = 0; i < mgi_param_pieces(m, p); i++) {
        mgi_piece own = mgi_param_piece(m, p, i);
        int64_t from = own.whole > first ? own.whole : first;
        int64_t to = own.whole + own.count < first + count ? own.whole + own.count : first + count;
        if (from >= to)
            continue;
        mgi_tensor_read(p->value, own.own + from - own.whole, x, to - from);
        for (int64_t k = 0; k < to - from; k++)
            x[k] += 1.0f;
        mgi_tensor_write(p->value, own.own + from - own.whole, x, to - from);
    }
    mgi_free(m->ctx, x);
    return MGEN_OK;
}

mgen_status mgi_vt_random(mgi_vt *vt, uint64_t seed)
{
    static const int gates[] = {MGI_VT_GATE1, MGI_VT_GATE2};
    int64_t d = vt->config.dim;
    MGI_TRY(mgi_module_random(&vt->module, seed));
    for (int64_t i = 0; i < 2 * vt->config.layers; i++)
        MGI_TRY(add_one(&vt->module, vt->block[i / 2].mod, gates[i % 2] * d, d));
    return MGEN_OK;
}

/* -- forward ---------------------------------------------------------------------------------- */

static T *linear(mgi_run *run, T *x, const mgi_param *w, const mgi_param *b)
{
    return mgi_linear(run, x, mgi_value(w), mgi_value(b));
}

static T *silu(mgi_run *run, T *x)
{
    return mgi_unary(run, x, MGK_UNARY_SILU);
}

mgen_status mgi_vt_check_tokens(mgen_context *ctx, const mgi_vt *vt, int64_t tokens)
{
    int64_t cp = vt->mesh ? vt->mesh->shape.cp : 1, tp = vt->mesh ? vt->mesh->shape.tp : 1;
    if (tokens % (cp * tp))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "video transformer: %lld tokens cannot be split over cp=%lld x tp=%lld "
                        "ranks; choose a size, length or mesh so that they can",
                        (long long)tokens, (long long)cp, (long long)tp);
    if (mgi_vt_exchanges(vt) && vt->config.heads / tp % cp)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "video transformer: %lld heads cannot be split over tp=%lld x cp=%lld "
                        "ranks; take another mesh, or gather keys and values",
                        (long long)vt->config.heads, (long long)tp, (long long)cp);
    return MGEN_OK;
}

int64_t mgi_vt_padded(const mgi_vt *vt, int64_t tokens)
{
    int64_t ranks = vt->mesh ? (int64_t)vt->mesh->shape.cp * vt->mesh->shape.tp : 1;
    return (tokens + ranks - 1) / ranks * ranks;
}

/* Of the tokens (B,S,C) of a sample, this rank's. */
static T *own_tokens(mgi_run *run, const mgi_vt *vt, T *x)
{
    mgi_comm *model = mgi_vt_group(vt, MGI_AXIS_MODEL);
    int64_t ranks = model ? mgi_comm_size(model) : 1, rows = x ? x->dims[1] / ranks : 0;
    if (!x || ranks == 1)
        return x;
    return mgi_ok(run, mgi_vt_check_tokens(run->ctx, vt, x->dims[1]))
               ? mgi_slice(run, x, 1, mgi_comm_rank(model) * rows, rows)
               : NULL;
}

enum { PART_TOKENS = 512 }; /* of a thread; of 256, 512, 768, 1024 and all, measured */

/* Samples that a block computes at a time: all; or so many that what arises of them stays in the caches, where nothing
 * is kept for a gradient and no rank waits. */
static int64_t samples_at_once(const mgi_run *run, const mgi_vt *vt, const T *x)
{
    int64_t tokens = PART_TOKENS * run->dev->threads, part = tokens / x->dims[1];
    bool host = !(run->dev->kernel[MGK_OP_matmul]->needs & MGK_NEEDS_CUDA);
    if (run->record || run->hook || vt->mesh || !host)
        return x->dims[0];
    return part < 1 ? 1 : part;
}

T *mgi_vt_samples(mgi_run *run, T *t, int64_t first, int64_t samples)
{
    T *view;
    return t && run->status == MGEN_OK && mgi_ok(run, mgi_tensor_rows(t, first, samples, &view))
               ? mgi_scope_add(run, view)
               : NULL;
}

void mgi_vt_see(mgi_run *run, const mgi_vt *vt, const mgi_vt_text *text, int64_t samples,
                mgi_vt_seen *seen)
{
    *seen = (mgi_vt_seen){NULL};
    if (!mgi_require(run, !run->record && !vt->mesh,
                     "video transformer: a text is seen once without a tape and a mesh only"))
        return;
    int64_t mark = mgi_scope_push(run);
    T *mask, *view = NULL, *p = mgi_vt_text_forward(run, vt, text, samples, &mask);
    if (p && !mgi_ok(run, mgi_tensor_view(mask, mask->rank, mask->dims, &view)))
        p = NULL;
    seen->p = mgi_scope_pop(run, mark, p);
    seen->mask = mgi_scope_add(run, view);
    for (int64_t i = 0; i < vt->config.layers && seen->p; i++)
        seen->kv[i] = mgi_vt_block_kv(run, vt, &vt->block[i], seen->p);
}

void mgi_vt_seen_first(mgi_run *run, const mgi_vt *vt, const mgi_vt_seen *seen, int64_t samples,
                       mgi_vt_seen *first)
{
    *first = (mgi_vt_seen){mgi_vt_samples(run, seen->p, 0, samples),
                           mgi_vt_samples(run, seen->mask, 0, samples),
                           {NULL}};
    for (int64_t i = 0; i < vt->config.layers; i++)
        first->kv[i] = mgi_vt_samples(run, seen->kv[i], 0, samples);
}

void mgi_vt_seen_drop(mgi_run *run, mgi_vt_seen *seen)
{
    mgi_drop(run, seen->p);
    mgi_drop(run, seen->mask);
    for (int i = 0; i < MGI_VT_LAYERS_MAX; i++)
        mgi_drop(run, seen->kv[i]);
    *seen = (mgi_vt_seen){NULL};
}

static T *run_block(mgi_run *run, const mgi_vt_block_of *of, T *const in[MGI_VT_INS])
{
    T *x = in[MGI_VT_IN_X];
    if (run->status != MGEN_OK || !x)
        return NULL;
    int64_t all = x->dims[0], once = samples_at_once(run, of->vt, x);
    if (once >= all)
        return mgi_vt_block_forward(run, of, in);
    T *y = mgi_new(run, x->dtype, x->rank, x->dims);
    mgi_weights_begin(run);
    for (int64_t first = 0; first < all && run->status == MGEN_OK; first += once) {
        int64_t n = all - first < once ? all - first : once, mark = mgi_scope_push(run);
        mgi_vt_block_of part = *of;
        T *some[MGI_VT_INS];
        for (int i = 0; i < MGI_VT_INS; i++)
            some[i] = mgi_vt_samples(run, in[i], first, n);
        part.kv = mgi_vt_samples(run, of->kv, first, n);
        part.counts = mgi_vt_samples(run, of->counts, first, n);
        T *z = mgi_vt_block_forward(run, &part, some);
        mgi_copy(run, y, first * (x->count / all), z, 0, n * (x->count / all));
        mgi_scope_pop(run, mark, NULL);
    }
    mgi_weights_end(run);
    return run->status == MGEN_OK ? y : NULL;
}

/* This rank's patches of a video (B,T,H,W,C), through a matrix. */
static T *patches(mgi_run *run, const mgi_vt *vt, T *video, const mgi_param *w, const mgi_param *b)
{
    const mgi_vt_config *c = &vt->config;
    T *x = own_tokens(run, vt, mgi_patchify(run, video, c->patch_t, c->patch_h, c->patch_w));
    return linear(run, mgi_cast(run, x, vt->module.dtype), w, b);
}

static bool condition_fits(mgi_run *run, const mgi_vt_config *c, const T *x, const T *condition)
{
    if (!c->condition || !condition)
        return mgi_require(run, !c->condition == !condition,
                           "video transformer: it has channels of a condition and gets none, or "
                           "the other way round");
    return mgi_require(run,
                       condition->rank == 5 &&
                           !memcmp(condition->dims, x->dims, 4 * sizeof *x->dims) &&
                           condition->dims[4] == c->condition,
                       "video transformer: the condition has another shape than x");
}

static bool features_fit(mgi_run *run, const mgi_vt_config *c, const T *x, const T *f)
{
    if (!c->features || !f)
        return mgi_require(run, !c->features == !f,
                           "video transformer: it has features of frames and gets none, or the "
                           "other way round");
    return mgi_require(run,
                       f->rank == 3 && f->dims[0] == x->dims[0] &&
                           f->dims[1] == x->dims[1] / c->patch_t && f->dims[2] == c->features &&
                           x->dims[2] == c->patch_h && x->dims[3] == c->patch_w,
                       "video transformer: the features are not one vector for each token");
}

/* What the features of this rank's frames add to them. */
static T *gated_features(mgi_run *run, const mgi_vt *vt, T *f)
{
    f = mgi_cast(run, own_tokens(run, vt, f), vt->module.dtype);
    return mgi_glu(run, linear(run, f, vt->feature, NULL), MGK_GLU_SIGMOID);
}

T *mgi_vt_forward(mgi_run *run, const mgi_vt *vt, T *x, T *t, const mgi_vt_text *text)
{
    const mgi_vt_config *c = &vt->config;
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->rank == 5 && x->dims[4] == c->channels,
                     "video transformer: x is not (B,T,H,W,C)") ||
        !mgi_require(run, t && t->count == x->dims[0],
                     "video transformer: x and t differ in batch") ||
        !condition_fits(run, c, x, text->condition) || !features_fit(run, c, x, text->features) ||
        !mgi_vt_task_fits(run, vt, text, x->dims[0]))
        return NULL;
    int64_t video[5], n = x->dims[0], d = c->dim, mark = mgi_scope_push(run);
    memcpy(video, x->dims, sizeof video);
    int64_t grid[3] = {text->first_frame + video[1] / c->patch_t, video[2] / c->patch_h,
                       video[3] / c->patch_w};
    if (!mgi_require(run,
                     text->first_frame >= 0 && grid[0] <= c->frames_max && grid[1] <= c->rows_max &&
                         grid[2] <= c->columns_max,
                     "video transformer: the video is larger than the position tables"))
        return NULL;

    int64_t tokens = (grid[0] - text->first_frame) * grid[1] * grid[2];
    if (!mgi_require(run,
                     !text->counts ||
                         (!run->record && text->counts->rank == 2 && text->counts->dims[0] == n &&
                          text->counts->dims[1] == tokens),
                     "video transformer: which tokens count is of another shape, or with a tape"))
        return NULL;

    int32_t dtype = vt->module.dtype;
    mgi_unit_enter(run, (void *)&vt->module, 0);
    T *time = mgi_cast(run, mgi_timestep_embed(run, t, c->time_dim), dtype);
    time = linear(run, time, vt->time1_w, vt->time1_b);
    time = linear(run, silu(run, time), vt->time2_w, vt->time2_b);
    if (text->task)
        time = mgi_add(run, time, mgi_vt_task(run, vt, text, vt->task_time));
    time = silu(run, time);
    T *shared = mgi_linear_as(run, time, mgi_value(vt->mod_w), mgi_value(vt->mod_b), MGK_F32);
    const mgi_vt_seen *seen = text->seen;
    T *mask = seen ? seen->mask : NULL, *p = seen ? seen->p : NULL;
    if (!seen)
        p = mgi_vt_text_forward(run, vt, text, n, &mask);
    if (!mgi_require(run, !seen || (p && mask && p->dims[0] == n && !run->record),
                     "video transformer: what was seen of the text is of other samples"))
        return NULL;
    x = patches(run, vt, x, vt->patch, vt->patch_b);
    if (text->condition)
        x = mgi_add(run, x, patches(run, vt, text->condition, vt->patch_condition, NULL));
    if (text->features)
        x = mgi_add(run, x, gated_features(run, vt, text->features));
    mgi_unit_exit(run, (void *)&vt->module, 0);
    for (int64_t i = 0; i < c->layers; i++) {
        mgi_unit_enter(run, (void *)&vt->module, i + 1);
        const mgi_vt_block_of of = {vt,
                                    &vt->block[i],
                                    {grid[0], grid[1], grid[2]},
                                    text->first_frame * grid[1] * grid[2],
                                    seen ? seen->kv[i] : NULL,
                                    text->counts};
        T *y = run_block(run, &of, (T *[]){x, shared, p, mask});
        mgi_unit_exit(run, (void *)&vt->module, i + 1);
        mgi_drop(run, x);
        x = y;
    }
    mgi_unit_enter(run, (void *)&vt->module, c->layers + 1);
    T *mod =
        mgi_linear_as(run, time, mgi_value(vt->head_mod_w), mgi_value(vt->head_mod_b), MGK_F32);
    x = mgi_norm(run, x,
                 (mgi_norm_options){.kind = mgi_vt_norm_kind(c),
                                    .eps = mgi_vt_norm_eps(c),
                                    .weight = mgi_value(vt->head_norm),
                                    .mod = mgi_reshape(run, mod, MGI_DIMS(n, 2, d)),
                                    .scale = 0,
                                    .shift = 1});
    x = mgi_linear_as(run, x, mgi_value(vt->head), mgi_value(vt->head_b), MGK_F32);
    x = mgi_gather_rows_alike(run, mgi_vt_group(vt, MGI_AXIS_MODEL), x);
    x = mgi_unpatchify(run, x, video, c->patch_t, c->patch_h, c->patch_w);
    mgi_unit_exit(run, (void *)&vt->module, c->layers + 1);
    return mgi_scope_pop(run, mark, x);
}

T *mgi_vt_velocity(mgi_run *run, const mgi_vt *vt, T *x, T *t, const mgi_vt_text *text)
{
    if (vt->config.objective == MGI_VT_FLOW)
        return mgi_vt_forward(run, vt, x, t, text);
    T *v = mgi_vt_forward(run, vt, mgi_diffusion_scaled(run, x, t), t, text);
    return mgi_diffusion_velocity(run, x, v, t);
}

/* -- configuration ---------------------------------------------------------------------------- */

mgen_status mgi_vt_preset(mgen_context *ctx, const char *name, mgi_vt_config *out)
{
    /* Tables: 768 x 768 is 48 x 48 tokens a frame and 1024 x 576 is 64 x 36; 96 leaves the same room that
     * the report's threefold growth does. 256 frames are 32 latent ones. The toybox's
     * clips have 128 x 128 pixels and 64 frames. The upsampler's have 1920 x 1088 and 14, each of which is coded by
     * itself; the report gives its size, 7B, and not its layers. The audio model's latents are 25 a second: 1,024 are 41
     * seconds, where the report trains on 30; its text is T5-base's, in the place of the report's UL2. */
    static const struct {
        const char *name;
        int64_t layers, dim, heads, ff_dim, channels, condition, features, patch;
        int64_t frames, rows, columns, text[MGI_ROLES];
    } presets[] = {{"toybox", 8, 256, 8, 704, 16, 0, 0, 2, 8, 8, 8, {128, 96, 128}},
                   {"1b", 24, 1536, 16, 4096, 16, 0, 0, 2, 32, 96, 96, {4096, 1472, 1280}},
                   {"5b", 32, 3072, 24, 8192, 16, 0, 0, 2, 32, 96, 96, {4096, 1472, 1280}},
                   {"7b", 26, 4096, 32, 11008, 16, 16, 0, 2, 14, 68, 120, {4096, 1472, 1280}},
                   {"13b", 36, 4608, 36, 18432, 128, 128, 1024, 1, 1024, 1, 1, {768, 0, 0}},
                   {"30b", 48, 6144, 48, 16384, 16, 0, 0, 2, 32, 96, 96, {4096, 1472, 1280}}};
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (strcmp(presets[i].name, name))
            continue;
        bool sound = presets[i].features > 0;
        *out = (mgi_vt_config){.layers = presets[i].layers,
                               .dim = presets[i].dim,
                               .heads = presets[i].heads,
                               .ff_dim = presets[i].ff_dim,
                               .channels = presets[i].channels,
                               .condition = presets[i].condition,
                               .features = presets[i].features,
                               .patch_t = 1,
                               .patch_h = presets[i].patch,
                               .patch_w = presets[i].patch,
                               .frames_max = presets[i].frames,
                               .rows_max = presets[i].rows,
                               .columns_max = presets[i].columns,
                               .fps_prefix = !sound,
                               .time_dim = 256,
                               .block = sound ? MGI_VT_DIT : MGI_VT_LLAMA,
                               .activation = MGI_VT_GELU,
                               .guidance = sound ? 3.0f : 0.0f};
        memcpy(out->text, presets[i].text, sizeof out->text);
        return MGEN_OK;
    }
    return mgi_fail(
        ctx, MGEN_E_INVALID,
        "no video transformer preset is named \"%.40s\"; there are toybox, 1b, 5b, 7b, 13b and 30b",
        name);
}

static const char *const blocks[] = {[MGI_VT_LLAMA] = "llama", [MGI_VT_DIT] = "dit"};
static const char *const objectives[] = {
    [MGI_VT_FLOW] = "flow", [MGI_VT_V_PREDICTION] = "v_prediction"};
static const char *const precisions[] = {
    [MGI_HOLD_F32] = "f32", [MGI_HOLD_BF16] = "bf16", [MGI_HOLD_FP8] = "fp8"};
static const char *const activations[] = {[MGI_VT_GELU] = "gelu", [MGI_VT_SILU] = "silu"};

static mgen_status read_preset(mgen_context *ctx, const mgi_json *json, mgi_vt_config *c)
{
    const char *name = "";
    MGI_TRY(mgi_json_get_string(ctx, json, "preset", true, &name));
    mgen_status status = mgi_vt_preset(ctx, name, c);
    return status == MGEN_OK ? MGEN_OK : mgi_fail_context(ctx, MGEN_E_CORRUPT, "\"preset\"");
}

static mgen_status read_patch(mgen_context *ctx, const mgi_json *json, mgi_vt_config *c)
{
    int64_t *patch[3] = {&c->patch_t, &c->patch_h, &c->patch_w};
    const mgi_json *list = mgi_json_find(json, "patch");
    int axis = 0;
    if (!list || list->kind != MGI_JSON_ARRAY || list->i != 3)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"patch\" must be a list of 3 numbers: time, height, width");
    for (const mgi_json *e = list->child; e; e = e->next) {
        if (e->kind != MGI_JSON_INT || e->i < 1 || e->i > 64)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"patch\" has an entry that is not 1..64");
        *patch[axis++] = e->i;
    }
    return MGEN_OK;
}

/* One of `count` names; if the key is absent, what a preset says stays, or the first. */
static mgen_status read_choice(mgen_context *ctx, const mgi_json *json, const char *key,
                               const char *const *names, int count, int32_t *out)
{
    return mgi_json_find(json, key) ? mgi_json_get_choice(ctx, json, key, names, count, out)
                                    : MGEN_OK;
}

mgen_status mgi_vt_config_read(mgen_context *ctx, const mgi_json *json, mgi_vt_config *out)
{
    static const char *const keys[] = {
        "layers",      "dim",        "heads",    "ff_dim",         "channels",
        "patch",       "frames_max", "rows_max", "columns_max",    "text",
        "text_dim",    "fps_prefix", "time_dim", "block",          "activation",
        "objective",   "preset",     "guidance", "precision",      "condition_channels",
        "noise_scale", "tasks",      "task_dim", "frame_features", "reference_width",
        NULL};
    mgi_vt_config c = {.time_dim = 256};
    bool all = mgi_json_find(json, "preset") == NULL; /* must be said */
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    if (!all)
        MGI_TRY(read_preset(ctx, json, &c));
    double guidance = (double)mgi_vt_guidance(&c, 0.0f), noise_scale = 0.0;
    MGI_TRY(mgi_json_get_int(ctx, json, "layers", all, 1, MGI_VT_LAYERS_MAX, &c.layers));
    MGI_TRY(mgi_json_get_int(ctx, json, "dim", all, 1, 65536, &c.dim));
    MGI_TRY(mgi_json_get_int(ctx, json, "heads", all, 1, 1024, &c.heads));
    MGI_TRY(mgi_json_get_int(ctx, json, "ff_dim", all, 1, 1 << 20, &c.ff_dim));
    MGI_TRY(mgi_json_get_int(ctx, json, "channels", all, 1, 4096, &c.channels));
    MGI_TRY(mgi_json_get_int(ctx, json, "condition_channels", false, 0, 4096, &c.condition));
    MGI_TRY(mgi_json_get_int(ctx, json, "frame_features", false, 0, 65536, &c.features));
    MGI_TRY(mgi_json_get_int(ctx, json, "reference_width", false, 0, 65536, &c.reference));
    MGI_TRY(mgi_json_get_int(ctx, json, "tasks", false, 0, 4096, &c.tasks));
    c.task_dim = c.tasks ? 1024 : 0;
    MGI_TRY(mgi_json_get_int(ctx, json, "task_dim", false, 1, 65536, &c.task_dim));
    if (!c.tasks && c.task_dim)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"task_dim\" needs \"tasks\"");
    MGI_TRY(mgi_json_get_int(ctx, json, "frames_max", all, 1, 65536, &c.frames_max));
    MGI_TRY(mgi_json_get_int(ctx, json, "rows_max", all, 1, 65536, &c.rows_max));
    MGI_TRY(mgi_json_get_int(ctx, json, "columns_max", all, 1, 65536, &c.columns_max));
    if (all || mgi_json_find(json, "patch"))
        MGI_TRY(read_patch(ctx, json, &c));
    MGI_TRY(mgi_vt_text_read(ctx, json, &c));
    MGI_TRY(mgi_json_get_int(ctx, json, "time_dim", false, 2, 65536, &c.time_dim));
    MGI_TRY(read_choice(ctx, json, "block", blocks, 2, &c.block));
    MGI_TRY(read_choice(ctx, json, "activation", activations, 2, &c.activation));
    MGI_TRY(read_choice(ctx, json, "objective", objectives, 2, &c.objective));
    MGI_TRY(read_choice(ctx, json, "precision", precisions, 3, &c.precision));
    MGI_TRY(mgi_json_get_real(ctx, json, "guidance", false, 0.001, 100.0, &guidance));
    c.guidance = (float)guidance;
    MGI_TRY(mgi_json_get_real(ctx, json, "noise_scale", false, 0.001,
                              (double)MGI_VT_NOISE_SCALE_MAX, &noise_scale));
    c.noise_scale = (float)noise_scale;
    if (c.features && (c.rows_max != 1 || c.columns_max != 1))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"frame_features\" are for frames of one patch: \"rows_max\" and "
                        "\"columns_max\" must be 1");
    if (c.block != MGI_VT_DIT && mgi_json_find(json, "activation"))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"activation\" needs \"block\": \"dit\"");
    if (c.dim % c.heads || c.dim / c.heads > 256 || c.time_dim % 2)
        return mgi_fail(
            ctx, MGEN_E_CORRUPT,
            "\"dim\" (%lld) must be a multiple of \"heads\" (%lld) of at most 256 times, and "
            "\"time_dim\" even",
            (long long)c.dim, (long long)c.heads);
    *out = c;
    return MGEN_OK;
}

void mgi_vt_config_write(mgi_json_writer *w, const mgi_vt_config *c)
{
    mgi_json_put_int(w, "layers", c->layers);
    mgi_json_put_int(w, "dim", c->dim);
    mgi_json_put_int(w, "heads", c->heads);
    mgi_json_put_int(w, "ff_dim", c->ff_dim);
    mgi_json_put_int(w, "channels", c->channels);
    if (c->condition)
        mgi_json_put_int(w, "condition_channels", c->condition);
    if (c->features)
        mgi_json_put_int(w, "frame_features", c->features);
    if (c->reference)
        mgi_json_put_int(w, "reference_width", c->reference);
    if (c->tasks) {
        mgi_json_put_int(w, "tasks", c->tasks);
        mgi_json_put_int(w, "task_dim", c->task_dim);
    }
    mgi_json_open(w, "patch", '[');
    mgi_json_put_int(w, NULL, c->patch_t);
    mgi_json_put_int(w, NULL, c->patch_h);
    mgi_json_put_int(w, NULL, c->patch_w);
    mgi_json_close(w, ']');
    mgi_json_put_int(w, "frames_max", c->frames_max);
    mgi_json_put_int(w, "rows_max", c->rows_max);
    mgi_json_put_int(w, "columns_max", c->columns_max);
    mgi_vt_text_write(w, c);
    mgi_json_put_int(w, "time_dim", c->time_dim);
    if (c->block == MGI_VT_DIT) { /* else as it was before there was a choice */
        mgi_json_put_string(w, "block", blocks[c->block]);
        mgi_json_put_string(w, "activation", activations[c->activation]);
    }
    if (c->objective != MGI_VT_FLOW)
        mgi_json_put_string(w, "objective", objectives[c->objective]);
    if (c->guidance > 0.0f && c->guidance != MGI_VT_GUIDANCE)
        mgi_json_put_real(w, "guidance", (double)c->guidance);
    if (c->noise_scale > 0.0f)
        mgi_json_put_real(w, "noise_scale", (double)c->noise_scale);
    if (c->precision != MGI_HOLD_F32)
        mgi_json_put_string(w, "precision", precisions[c->precision]);
}
