/* SPDX-License-Identifier: MIT
 *
 * With s = alpha / rank and W' = W + s B A, of the loss's gradient dW' are made dA = s B^T dW' and dB = s dW' A^T. B begins as
 * zeros, so that W' begins as W; A as a linear layer does.
 */
#include "model/adapter.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "kernels/matmul/matmul.h"
#include "kernels/pointwise/pointwise.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const mgi_adapted_kind mgi_adapted[MGI_ADAPTED_KINDS] = {
    [MGI_ADAPTED_VIDEO] = {"video-transformer", "video-adapter", "video", "video_adapters",
                           "video_model"},
    [MGI_ADAPTED_UPSAMPLER] = {"upsampler", "upsampler-adapter", "upsampler", "upsampler_adapters",
                               "upsampler"},
    [MGI_ADAPTED_EDITOR] = {"editor", "editor-adapter", "editor", "editor_adapters", "editor"},
    [MGI_ADAPTED_AUDIO] = {"audio", "audio-adapter", "audio", "audio_adapters", "audio"},
    [MGI_ADAPTED_PERSONALIZER] = {"personalizer", "personalizer-adapter", "personalizer",
                                  "personalizer_adapters", "personalizer"},
};

static const char prefix[] = "base_model.model.";
static const char *const half_name[2] = {".lora_A.weight", ".lora_B.weight"};

/* The name of a half of what a matrix has, of the name of that. */
static void name_half(const char *of, int half, char out[MGI_ST_NAME_MAX + 1])
{
    const size_t length = strlen(of) - strlen(".weight");
    snprintf(out, MGI_ST_NAME_MAX + 1, "%s%.*s%s", prefix, (int)length, of, half_name[half]);
}

/* Of a transformer: the matrices of its blocks, which alone may be codes. */
static bool adapted(const mgi_param *p)
{
    return p->codes;
}

/* ---- configuration -------------------------------------------------------------------------------- */

mgen_status mgi_adapter_config_read(mgen_context *ctx, const mgi_json *json,
                                    mgi_adapter_config *out)
{
    static const char *const keys[] = {"rank", "alpha", "base", "base_hash", NULL};
    static const char digits[] = "0123456789abcdef";
    const char *base = "", *hash = "";
    *out = (mgi_adapter_config){.rank = 0};
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(mgi_json_get_int(ctx, json, "rank", true, 1, MGI_ADAPTER_RANK_MAX, &out->rank));
    out->alpha = (double)out->rank;
    MGI_TRY(mgi_json_get_real(ctx, json, "alpha", false, 1e-6, 1e6, &out->alpha));
    out->alpha = (double)(float)out->alpha;
    MGI_TRY(mgi_json_get_string(ctx, json, "base", false, &base));
    MGI_TRY(mgi_json_get_string(ctx, json, "base_hash", false, &hash));
    if (strlen(base) > MGI_NAME_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"base\" names a model of more than %d bytes",
                        MGI_NAME_MAX);
    strcpy(out->base, base);
    if (*hash && (strlen(hash) != 16 || strspn(hash, digits) != 16))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"base_hash\" is \"%.40s\"; it has 16 hexadecimal digits", hash);
    for (; *hash; hash++)
        out->base_hash = out->base_hash << 4 | (uint64_t)(strchr(digits, *hash) - digits);
    return MGEN_OK;
}

void mgi_adapter_config_write(mgi_json_writer *w, const void *config)
{
    const mgi_adapter_config *c = config;
    char hash[24];
    snprintf(hash, sizeof hash, "%016" PRIx64, c->base_hash);
    mgi_json_put_int(w, "rank", c->rank);
    mgi_json_put_real(w, "alpha", c->alpha);
    if (c->base[0]) {
        mgi_json_put_string(w, "base", c->base);
        mgi_json_put_string(w, "base_hash", hash);
    }
}

static float factor(const mgi_adapter_config *c, double scale)
{
    return (float)(scale * c->alpha / (double)c->rank);
}

/* W += s B A, all f32 and whole. */
static mgk_matmul_args product(const mgi_tensor *w, const mgi_tensor *b, const mgi_tensor *a,
                               float s)
{
    const int64_t rank = a->dims[0], in = a->dims[1];
    return (mgk_matmul_args){.a = mgi_buf(b),
                             .b = mgi_buf(a),
                             .c = mgi_buf(w),
                             .m = b->dims[0],
                             .n = in,
                             .k = rank,
                             .batch = 1,
                             .lda = rank,
                             .ldb = in,
                             .ldc = in,
                             .accumulate = 1,
                             .alpha = s};
}

/* ---- reading -------------------------------------------------------------------------------------- */

/* One that is used. */
typedef struct use {
    mgi_model_file file;
    mgi_adapter_config config;
    float factor;
} use;

struct mgi_adapter_set {
    mgen_context *ctx;
    int64_t count;
    use use[];
};

/* The same in a model's file. */
static bool is_matrix(const mgi_st_entry *e)
{
    const char *end = strrchr(e->name, '.');
    return e->rank == 2 && !strncmp(e->name, "block", 5) && end && !strcmp(end, ".weight");
}

static const mgi_st_entry *find_half(const use *u, const mgi_st_entry *of, int half)
{
    char name[MGI_ST_NAME_MAX + 1];
    name_half(of->name, half, name);
    return mgi_st_find(&u->file.weights, name);
}

/* Both halves of a matrix, or neither. */
static mgen_status check_halves(mgen_context *ctx, const use *u, const mgi_st_entry *of,
                                int64_t *found)
{
    const int64_t dims[2][2] = {{u->config.rank, of->dims[1]}, {of->dims[0], u->config.rank}};
    const mgi_st_entry *e[2];
    for (int i = 0; i < 2; i++)
        *found += (e[i] = find_half(u, of, i)) != NULL;
    if (!e[0] != !e[1]) {
        char name[MGI_ST_NAME_MAX + 1];
        name_half(of->name, e[0] != NULL, name);
        return mgi_fail(
            ctx, MGEN_E_CORRUPT,
            "tensor \"%.200s\" is missing: the matrix \"%s\" has one half of an adapter", name,
            of->name);
    }
    for (int i = 0; i < 2 && e[0]; i++) {
        if (e[i]->rank != 2 || e[i]->dims[0] != dims[i][0] || e[i]->dims[1] != dims[i][1])
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "tensor \"%.200s\" has another shape than %lld x %lld, which the "
                            "matrix \"%s\" and \"rank\" %lld ask for",
                            e[i]->name, (long long)dims[i][0], (long long)dims[i][1], of->name,
                            (long long)u->config.rank);
        if (e[i]->dtype != MGI_ST_F32 && e[i]->dtype != MGI_ST_BF16 && e[i]->dtype != MGI_ST_F16)
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "tensor \"%.200s\" is of another type than F32, F16 or BF16",
                            e[i]->name);
    }
    return MGEN_OK;
}

/* Whether a tensor is a half of one of the matrices. */
static bool is_half(const mgi_st_file *base, const char *name)
{
    char half[MGI_ST_NAME_MAX + 1];
    for (int64_t k = 0; k < base->count; k++)
        for (int i = 0; i < 2 && is_matrix(&base->entries[k]); i++) {
            name_half(base->entries[k].name, i, half);
            if (!strcmp(half, name))
                return true;
        }
    return false;
}

static mgen_status check_tensors(mgen_context *ctx, const use *u, const mgi_st_file *base)
{
    const mgi_st_file *st = &u->file.weights;
    int64_t found = 0;
    for (int64_t k = 0; k < base->count; k++)
        if (is_matrix(&base->entries[k]))
            MGI_TRY(check_halves(ctx, u, &base->entries[k], &found));
    for (int64_t i = 0; i < st->count && found != st->count; i++)
        if (!is_half(base, st->entries[i].name))
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "tensor \"%.200s\" is of no matrix of the model; they are named "
                            "as \"%sblock0.attn.qkv%s\"",
                            st->entries[i].name, prefix, half_name[0]);
    return found ? MGEN_OK : mgi_fail(ctx, MGEN_E_CORRUPT, "has no tensors");
}

/* The kind of a model's adapters, by what its file says that it is. */
static const char *adapter_kind(const mgi_model_file *base)
{
    const mgi_json *kind = base->root ? mgi_json_find(base->root, "kind") : NULL;
    int i = MGI_ADAPTED_KINDS - 1;
    while (i > 0 && (!kind || strcmp(kind->s, mgi_adapted[i].model)))
        i--;
    return mgi_adapted[i].adapter;
}

static mgen_status open_use(mgen_context *ctx, const char *dir, const char *name, double scale,
                            const mgi_model_file *base, use *u)
{
    MGI_TRY(mgi_model_file_open(ctx, dir, name, adapter_kind(base), &u->file));
    mgen_status status = mgi_adapter_config_read(ctx, u->file.config, &u->config);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "%s/%s", dir, u->file.json_name);
    u->factor = factor(&u->config, scale);
    status = check_tensors(ctx, u, &base->weights);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "%s/%s", dir, u->file.weights_name);
    if (u->config.base_hash && u->config.base_hash != base->hash)
        mgi_log(ctx, MGEN_LOG_WARN,
                "%s/%s: was trained beside other weights (of \"%s\", with the hash %016" PRIx64
                ") than those of %s (%016" PRIx64 "): what it makes may be worse",
                dir, u->file.json_name, u->config.base, u->config.base_hash, base->weights_name,
                base->hash);
    return MGEN_OK;
}

mgen_status mgi_adapter_set_open(mgen_context *ctx, const char *dir, const mgi_adapters *adapters,
                                 const mgi_model_file *base, mgi_adapter_set **out)
{
    mgi_adapter_set *set;
    *out = NULL;
    if (!adapters || !adapters->count)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *set + (size_t)adapters->count * sizeof *set->use, &set));
    set->ctx = ctx;
    for (int64_t i = 0; i < adapters->count; i++) {
        set->count++;
        mgen_status status =
            open_use(ctx, dir, adapters->list[i].name, adapters->list[i].scale, base, &set->use[i]);
        if (status != MGEN_OK) {
            mgi_adapter_set_close(set);
            return status;
        }
    }
    *out = set;
    return MGEN_OK;
}

void mgi_adapter_set_close(mgi_adapter_set *set)
{
    for (int64_t i = 0; set && i < set->count; i++)
        mgi_model_file_close(set->ctx, &set->use[i].file);
    if (set)
        mgi_free(set->ctx, set);
}

static bool all_finite(const float *x, int64_t n)
{
    bool finite = true;
    for (int64_t i = 0; i < n; i++)
        finite = finite && isfinite(x[i]);
    return finite;
}

/* A tensor of an entry's values, which must be numbers. */
static mgen_status read_half(mgen_context *ctx, const use *u, const mgi_st_entry *e,
                             mgi_tensor **out)
{
    const int64_t n = e->dims[0] * e->dims[1];
    float *x;
    MGI_TRY(mgi_alloc(ctx, (size_t)n * sizeof *x, &x));
    mgen_status status = mgi_st_read_f32(ctx, e, x, n);
    if (status == MGEN_OK && !all_finite(x, n))
        status =
            mgi_fail(ctx, MGEN_E_CORRUPT, "%s: tensor \"%.200s\" has values that are not finite",
                     u->file.weights_name, e->name);
    if (status == MGEN_OK)
        status = mgi_tensor_create(ctx->device, MGK_F32, 2, e->dims, out);
    if (status == MGEN_OK)
        mgi_tensor_write(*out, 0, x, n);
    mgi_free(ctx, x);
    return status;
}

static mgen_status add_use(mgen_context *ctx, const use *u, const mgi_st_entry *of, mgi_tensor *w)
{
    mgi_tensor *half[2] = {NULL};
    mgen_status status = MGEN_OK;
    for (int i = 0; i < 2 && status == MGEN_OK; i++)
        status = read_half(ctx, u, find_half(u, of, i), &half[i]);
    if (status == MGEN_OK) {
        const mgk_matmul_args a = product(w, half[1], half[0], u->factor);
        status = mgi_launch(ctx->device, MGK_OP_matmul, &a);
    }
    mgi_tensor_release(half[0]);
    mgi_tensor_release(half[1]);
    return status;
}

static bool has(const mgi_adapter_set *set, const mgi_st_entry *of)
{
    bool any = false;
    for (int64_t i = 0; set && i < set->count && is_matrix(of); i++)
        any = any || find_half(&set->use[i], of, 0);
    return any;
}

mgen_status mgi_adapter_set_add(const mgi_adapter_set *set, const mgi_st_entry *of, float *values)
{
    mgi_tensor *w;
    if (!has(set, of))
        return MGEN_OK;
    MGI_TRY(mgi_tensor_create(set->ctx->device, MGK_F32, 2, of->dims, &w));
    mgi_tensor_write(w, 0, values, w->count);
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < set->count && status == MGEN_OK; i++)
        if (find_half(&set->use[i], of, 0))
            status = add_use(set->ctx, &set->use[i], of, w);
    mgi_tensor_read(w, 0, values, w->count);
    if (status == MGEN_OK)
        status = mgi_device_wait(set->ctx->device);
    if (status == MGEN_OK && !all_finite(values, w->count))
        status =
            mgi_fail(set->ctx, MGEN_E_CORRUPT, "%s: what it adds to the matrix \"%s\" is too large",
                     set->use[set->count - 1].file.weights_name, of->name);
    mgi_tensor_release(w);
    return status;
}

static mgen_status merge_one(mgen_context *ctx, const mgi_adapter_set *set, const mgi_st_entry *of,
                             const mgi_module *m, mgi_param *p)
{
    const int64_t n = p->dims[0] * p->dims[1];
    float *values;
    if (!has(set, of))
        return MGEN_OK;
    MGI_TRY(mgi_alloc(ctx, (size_t)n * sizeof *values, &values));
    const mgi_st_entry whole = {.name = of->name,
                                .dtype = MGI_ST_F32,
                                .rank = 2,
                                .dims = {p->dims[0], p->dims[1]},
                                .data = values,
                                .bytes = (size_t)n * sizeof *values};
    mgen_status status = mgi_st_read_f32(ctx, of, values, n);
    if (status == MGEN_OK)
        status = mgi_adapter_set_add(set, of, values);
    if (status == MGEN_OK)
        status = mgi_param_load(m, p, &whole, 0);
    mgi_free(ctx, values);
    return status;
}

mgen_status mgi_adapters_merge(mgen_context *ctx, const char *dir, const mgi_adapters *adapters,
                               const mgi_model_file *base, mgi_vt *vt, uint64_t *hash)
{
    const mgi_module *m = &vt->module;
    mgi_adapter_set *set;
    mgen_status status = MGEN_OK;
    MGI_TRY(mgi_adapter_set_open(ctx, dir, adapters, base, &set));
    for (int64_t i = 0; set && i < set->count; i++) {
        const use *u = &set->use[i];
        *hash = mgi_hash64(&u->factor, sizeof u->factor,
                           mgi_hash64(&u->file.hash, sizeof u->file.hash, *hash));
    }
    for (int64_t k = 0; set && k < m->count && status == MGEN_OK; k++)
        if (adapted(m->params[k]))
            status = merge_one(ctx, set, mgi_st_find(&base->weights, m->params[k]->name), m,
                               m->params[k]);
    mgi_adapter_set_close(set);
    return status;
}

/* ---- learning ------------------------------------------------------------------------------------- */

/* A half: f32, and read as such. */
static mgi_param *add_half(mgi_module *m, const mgi_param *of, int half, int64_t rows,
                           int64_t columns)
{
    char name[MGI_ST_NAME_MAX + 1];
    const mgi_param_spec spec = {.init = half ? MGI_INIT_ZERO : MGI_INIT_NORMAL,
                                 .scale = 1.0f / sqrtf((float)columns),
                                 .decay = 1.0f};
    name_half(of->name, half, name);
    return mgi_param_add(m, spec, MGI_DIMS(rows, columns), "%s", name);
}

static mgen_status check_rank(const mgi_vt *vt, const mgi_adapter_config *c)
{
    const int64_t dim = vt->config.dim, ff = vt->config.ff_dim, least = dim < ff ? dim : ff;
    return c->rank <= least
               ? MGEN_OK
               : mgi_fail(vt->module.ctx, MGEN_E_INVALID,
                          "an adapter of \"rank\" %lld for matrices with a side of %lld; take less",
                          (long long)c->rank, (long long)least);
}

mgen_status mgi_adapter_base(mgen_context *ctx, const mgi_vt_config *config, const mgi_mesh *mesh,
                             int32_t dtype, mgi_vt *out)
{
    const int hold = ctx->device->hold;
    ctx->device->hold = dtype == MGK_BF16 ? MGI_HOLD_BF16 : MGI_HOLD_F32;
    mgen_status status = mgi_vt_init_mesh(out, ctx, config, mesh);
    ctx->device->hold = hold;
    return status;
}

/* dA += s B^T dW and dB += s dW A^T, of a matrix. */
static void learn_pair(mgi_run *run, const mgi_adapter_pair *p, float s)
{
    const int64_t out = p->of->dims[0], in = p->of->dims[1], rank = p->a->dims[0];
    const mgk_buf dw = mgi_buf(p->of->value->var->grad);
    const mgk_matmul_args da = {.a = mgi_buf(p->b->value),
                                .b = dw,
                                .c = mgi_buf(p->a->value->var->grad),
                                .m = rank,
                                .n = in,
                                .k = out,
                                .batch = 1,
                                .lda = rank,
                                .ldb = in,
                                .ldc = in,
                                .trans_a = 1,
                                .accumulate = 1,
                                .alpha = s};
    const mgk_matmul_args db = {.a = dw,
                                .b = mgi_buf(p->a->value),
                                .c = mgi_buf(p->b->value->var->grad),
                                .m = out,
                                .n = rank,
                                .k = in,
                                .batch = 1,
                                .lda = in,
                                .ldb = in,
                                .ldc = rank,
                                .trans_b = 1,
                                .accumulate = 1,
                                .alpha = s};
    mgi_run_launch(run, MGK_OP_matmul, &da);
    mgi_run_launch(run, MGK_OP_matmul, &db);
}

/* A block is left: the gradients of its matrices are used up, and those of the next one come in their place. */
static void on_unit(mgi_run *run, void *user, void *module, int64_t unit, int moment)
{
    const mgi_adapter *a = user;
    const mgi_module *m = &a->vt->module;
    (void)moment;
    if (module != (const void *)m || !m->unit_grad[unit])
        return;
    for (int64_t i = 0; i < a->pairs; i++)
        if (a->pair[i].of->unit == unit)
            learn_pair(run, &a->pair[i], factor(&a->config, 1.0));
    mgi_fill(run, m->unit_grad[unit], 0.0f);
}

static mgen_status add_pairs(mgi_adapter *a)
{
    mgi_module *m = &a->module, *of = &a->vt->module;
    const int64_t rank = a->config.rank;
    int64_t unit = -1;
    MGI_TRY(mgi_alloc_zero(of->ctx, (size_t)of->count, sizeof *a->pair, &a->pair));
    for (int64_t k = 0; k < of->count; k++) {
        mgi_param *p = of->params[k];
        p->frozen = !adapted(p);
        p->adapted = adapted(p);
        if (!p->adapted)
            continue;
        if (p->unit != unit)
            mgi_module_unit(m);
        unit = p->unit;
        a->pair[a->pairs++] = (mgi_adapter_pair){p, add_half(m, p, 0, rank, p->dims[1]),
                                                 add_half(m, p, 1, p->dims[0], rank), NULL};
    }
    return mgi_module_divide(m);
}

mgen_status mgi_adapter_init(mgi_adapter *a, mgi_vt *vt, const mgi_adapter_config *config,
                             int32_t dtype, uint64_t seed)
{
    mgi_module *of = &vt->module;
    memset(a, 0, sizeof *a);
    a->config = *config;
    a->config.alpha = (double)(float)config->alpha;
    a->vt = vt;
    a->hook = (mgi_unit_hook){on_unit, a};
    MGI_TRY(check_rank(vt, config));
    mgi_module_init(&a->module, of->ctx);
    mgen_status status = add_pairs(a);
    of->one_grad = true;
    if (status == MGEN_OK)
        status = mgi_module_train(of);
    if (status == MGEN_OK)
        status = mgi_module_compute(of, dtype);
    if (status == MGEN_OK)
        status = mgi_module_random(&a->module, seed);
    if (status == MGEN_OK)
        status = mgi_module_train(&a->module);
    if (status != MGEN_OK)
        mgi_adapter_finish(a);
    return status;
}

void mgi_adapter_aside(mgi_adapter *a, bool aside)
{
    for (int64_t i = 0; i < a->pairs; i++) {
        mgi_adapter_pair *p = &a->pair[i];
        if (aside == (p->aside != NULL))
            continue;
        mgi_tensor *other = p->of->compute;
        p->of->compute = p->aside;
        p->aside = other;
    }
}

void mgi_adapter_finish(mgi_adapter *a)
{
    mgi_adapter_aside(a, false);
    if (a->module.ctx)
        mgi_free(a->module.ctx, a->pair);
    a->pair = NULL;
    a->pairs = 0;
    mgi_module_finish(&a->module);
}

static void copy(mgi_run *run, const mgi_tensor *x, const mgi_tensor *y)
{
    const mgk_pointwise_args a = {
        .x = mgi_buf(x), .y = mgi_buf(y), .count = x->count, .alpha = 1.0f};
    mgi_run_launch(run, MGK_OP_convert, &a);
}

void mgi_adapter_apply(const mgi_adapter *a, mgi_run *run)
{
    for (int64_t i = 0; i < a->pairs && run->status == MGEN_OK; i++) {
        const mgi_adapter_pair *p = &a->pair[i];
        T *to = p->of->compute;
        T *sum = to->dtype == MGK_F32 ? to : mgi_new(run, MGK_F32, 2, to->dims);
        if (!sum)
            return;
        const mgk_matmul_args w = product(sum, p->b->value, p->a->value, factor(&a->config, 1.0));
        copy(run, p->of->value, sum);
        mgi_run_launch(run, MGK_OP_matmul, &w);
        if (sum != to) {
            copy(run, sum, to);
            mgi_drop(run, sum);
        }
    }
}

void mgi_adapter_begin(const mgi_adapter *a, mgi_run *run)
{
    if (!a->pairs)
        return;
    mgi_module_zero_grad(&a->vt->module, run);
    mgi_adapter_apply(a, run);
}
