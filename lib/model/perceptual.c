/* SPDX-License-Identifier: MIT */
#include "model/perceptual.h"

#include "core/alloc.h"
#include "core/quiet.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/loss/loss.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define UNIT_EPS 1e-10f
enum { RANDOM_STAGES = 4, RANDOM_CONVS = 2, RANDOM_CHANNELS = 16, CHANNELS_MAX = 4096 };

/* Means and deviations of photographs' channels, for values in [-1,1], as LPIPS has them. */
static const float shift[3] = {-0.030f, -0.088f, -0.188f}, scale[3] = {0.458f, 0.448f, 0.450f};

/* -- the network ------------------------------------------------------------------------------ */

static void conv_add(mgi_perceptual *p, int i, int64_t from, int64_t to)
{
    int k = p->convs[i]++;
    mgi_param_spec spec = {.init = MGI_INIT_NORMAL, .operand = true, .frozen = true};
    spec.scale = sqrtf(2.0f / (9.0f * (float)from));
    p->conv[i][k].w =
        mgi_param_add(&p->module, spec, MGI_DIMS(to, 3, 3, from), "stage%d.conv%d.weight", i, k);
    p->conv[i][k].b =
        mgi_param_add(&p->module, (mgi_param_spec){.init = MGI_INIT_ZERO, .frozen = true},
                      MGI_DIMS(to), "stage%d.conv%d.bias", i, k);
}

static mgen_status make_random(mgi_perceptual *p)
{
    int64_t from = 3;
    for (p->stages = 0; p->stages < RANDOM_STAGES; p->stages++)
        for (int k = 0; k < RANDOM_CONVS; k++) {
            int64_t to = (int64_t)RANDOM_CHANNELS << p->stages;
            conv_add(p, p->stages, from, to);
            from = to;
        }
    if (p->module.status == MGEN_OK)
        p->module.status = mgi_module_random(&p->module, 0);
    return p->module.status;
}

/* LPIPS' usual one: VGG-16's convolutions, and factors. For sizes: nothing is in it. */
static mgen_status make_vgg(mgi_perceptual *p)
{
    static const int64_t widths[MGI_PERCEPTUAL_STAGES] = {64, 128, 256, 512, 512};
    int64_t from = 3;
    for (p->stages = 0; p->stages < MGI_PERCEPTUAL_STAGES; p->stages++) {
        const int i = p->stages;
        for (int k = 0; k < (i < 2 ? 2 : 3); k++) {
            conv_add(p, i, from, widths[i]);
            from = widths[i];
        }
        p->lin[i] =
            mgi_param_add(&p->module, (mgi_param_spec){.init = MGI_INIT_ONE, .frozen = true},
                          MGI_DIMS(from), "stage%d.lin.weight", i);
    }
    return p->module.status;
}

static const mgi_st_entry *find(const mgi_st_file *st, int stage, const char *part, int k,
                                const char *what)
{
    char name[64];
    if (k < 0)
        snprintf(name, sizeof name, "stage%d.%s.%s", stage, part, what);
    else
        snprintf(name, sizeof name, "stage%d.%s%d.%s", stage, part, k, what);
    return mgi_st_find(st, name);
}

/* (Cout,Cin,3,3) of the file as (Cout,3,3,Cin). */
static mgen_status read_weight(mgi_perceptual *p, const mgi_st_entry *e, const mgi_param *w)
{
    mgen_context *ctx = p->module.ctx;
    int64_t out = w->dims[0], in = w->dims[3], count = w->value->count;
    float *from, *to;
    MGI_TRY(mgi_alloc(ctx, 2 * (size_t)count * sizeof *from, &from));
    to = from + count;
    mgen_status status = mgi_st_read_f32(ctx, e, from, count);
    for (int64_t o = 0; status == MGEN_OK && o < out; o++)
        for (int64_t c = 0; c < in; c++)
            for (int64_t i = 0; i < 9; i++)
                to[(o * 9 + i) * in + c] = from[(o * in + c) * 9 + i];
    if (status == MGEN_OK)
        mgi_tensor_write(w->value, 0, to, count);
    mgi_free(ctx, from);
    return status;
}

static mgen_status read_conv(mgi_perceptual *p, const mgi_st_file *st, int stage, int k,
                             int64_t *channels)
{
    const mgi_st_entry *w = find(st, stage, "conv", k, "weight"),
                       *b = find(st, stage, "conv", k, "bias");
    if (w->rank != 4 || w->dims[0] < 1 || w->dims[0] > CHANNELS_MAX || w->dims[1] != *channels ||
        w->dims[2] != 3 || w->dims[3] != 3 || !b || b->rank != 1 || b->dims[0] != w->dims[0])
        return mgi_fail(p->module.ctx, MGEN_E_CORRUPT,
                        "\"stage%d.conv%d\" needs a \"weight\" of (C,%lld,3,3), C up to %d, and a "
                        "\"bias\" of (C)",
                        stage, k, (long long)*channels, CHANNELS_MAX);
    conv_add(p, stage, *channels, w->dims[0]);
    MGI_TRY(p->module.status);
    *channels = w->dims[0];
    MGI_TRY(read_weight(p, w, p->conv[stage][k].w));
    return mgi_tensor_load(p->conv[stage][k].b->value, b);
}

/* The factors' roots. */
static mgen_status read_roots(mgen_context *ctx, const mgi_st_entry *e, int stage, float *v,
                              int64_t channels)
{
    MGI_TRY(mgi_st_read_f32(ctx, e, v, channels));
    for (int64_t c = 0; c < channels; c++) {
        if (!(v[c] >= 0.0f))
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"stage%d.lin.weight\" has a value below 0",
                            stage);
        v[c] = sqrtf(v[c]);
    }
    return MGEN_OK;
}

static mgen_status read_lin(mgi_perceptual *p, const mgi_st_entry *e, int stage, int64_t channels)
{
    mgen_context *ctx = p->module.ctx;
    if (e->rank != 1 || e->dims[0] != channels)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"stage%d.lin.weight\" is not of (%lld)", stage,
                        (long long)channels);
    p->lin[stage] =
        mgi_param_add(&p->module, (mgi_param_spec){.init = MGI_INIT_ONE, .frozen = true},
                      MGI_DIMS(channels), "stage%d.lin.weight", stage);
    MGI_TRY(p->module.status);
    float *v;
    MGI_TRY(mgi_alloc(ctx, (size_t)channels * sizeof *v, &v));
    mgen_status status = read_roots(ctx, e, stage, v, channels);
    if (status == MGEN_OK)
        mgi_tensor_write(p->lin[stage]->value, 0, v, channels);
    mgi_free(ctx, v);
    return status;
}

static mgen_status read_stages(mgi_perceptual *p, const mgi_st_file *st)
{
    int64_t channels = 3, lins = 0;
    while (p->stages < MGI_PERCEPTUAL_STAGES && find(st, p->stages, "conv", 0, "weight")) {
        int i = p->stages++;
        for (int k = 0; k < MGI_PERCEPTUAL_CONVS && find(st, i, "conv", k, "weight"); k++)
            MGI_TRY(read_conv(p, st, i, k, &channels));
        const mgi_st_entry *lin = find(st, i, "lin", -1, "weight");
        if (lin)
            MGI_TRY(read_lin(p, lin, i, channels));
        lins += lin != NULL;
    }
    if (!p->stages || (lins && lins != p->stages) || p->module.count != st->count)
        return mgi_fail(p->module.ctx, MGEN_E_CORRUPT,
                        "is no network of \"stage<i>.conv<k>\", with a \"lin\" for all stages or "
                        "none, or has more than that");
    return MGEN_OK;
}

static mgen_status read_file(mgi_perceptual *p, const char *dir, const char *name)
{
    mgi_st_file st;
    mgen_context *ctx = p->module.ctx;
    MGI_TRY(mgi_st_open(ctx, dir, name, &st));
    mgen_status status = read_stages(p, &st);
    if (status == MGEN_OK)
        status = mgi_reader_hash(ctx, st.file, 0, &p->hash);
    mgi_st_close(ctx, &st);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s/%s", dir, name);
}

mgen_status mgi_perceptual_init(mgi_perceptual *p, mgen_context *ctx, const char *dir,
                                const char *name)
{
    static const int64_t three = 3;
    memset(p, 0, sizeof *p);
    mgi_module_init(&p->module, ctx);
    mgi_message before;
    mgi_quiet_begin(ctx, &before);
    mgen_status status = *name ? read_file(p, dir, name) : make_random(p);
    const bool planned = status == MGEN_E_NOT_FOUND && ctx->device->meta;
    mgi_quiet_end(ctx, &before, planned || status == MGEN_OK);
    if (planned)
        status = make_vgg(p);
    if (status == MGEN_OK)
        status = mgi_tensor_create(ctx->device, MGK_F32, 1, &three, &p->scale);
    if (status == MGEN_OK)
        status = mgi_tensor_create(ctx->device, MGK_F32, 1, &three, &p->shift);
    for (int c = 0; status == MGEN_OK && c < 3; c++) {
        mgi_tensor_write(p->scale, c, &(float){1.0f / scale[c]}, 1);
        mgi_tensor_write(p->shift, c, &(float){-shift[c] / scale[c]}, 1);
    }
    if (status != MGEN_OK)
        mgi_perceptual_finish(p);
    return status;
}

void mgi_perceptual_finish(mgi_perceptual *p)
{
    mgi_tensor_release(p->scale);
    mgi_tensor_release(p->shift);
    p->scale = p->shift = NULL;
    mgi_module_finish(&p->module);
}

/* -- the loss --------------------------------------------------------------------------------- */

/* The larger of each two along axis 2 of x (a,b,2,c): p + max(q - p, 0). */
static T *larger(mgi_run *run, T *x)
{
    if (!x)
        return NULL;
    int64_t c = x->dims[3];
    T *p = mgi_slice(run, x, 2, 0, 1), *q = mgi_slice(run, x, 2, 1, 1);
    T *minus = mgi_new(run, MGK_F32, 1, &c), *none = mgi_new(run, MGK_F32, 1, &c);
    if (run->status != MGEN_OK)
        return NULL;
    mgi_fill(run, minus, -1.0f);
    mgi_fill(run, none, 0.0f);
    T *d = mgi_add(run, q, mgi_channel_affine(run, p, minus, none));
    return mgi_add(run, p, mgi_unary(run, d, MGK_UNARY_RELU));
}

/* (n,H,W,C) -> (n,H/2,W/2,C), the largest of 2 x 2. */
static T *pooled(mgi_run *run, T *x)
{
    if (!x)
        return NULL;
    int64_t n = x->dims[0], h = x->dims[1], w = x->dims[2], c = x->dims[3];
    T *y = larger(run, mgi_reshape(run, x, MGI_DIMS(n, h / 2, 2, w * c)));
    y = y ? larger(run, mgi_reshape(run, y, MGI_DIMS(n * (h / 2), w / 2, 2, c))) : NULL;
    return y ? mgi_reshape(run, y, MGI_DIMS(n, h / 2, w / 2, c)) : NULL;
}

T *mgi_perceptual_normal(mgi_run *run, const mgi_perceptual *p, T *x)
{
    return mgi_cast(run, mgi_channel_affine(run, x, p->scale, p->shift), p->module.dtype);
}

T *mgi_perceptual_stage(mgi_run *run, const mgi_perceptual *p, int i, T *x)
{
    if (i > 0)
        x = pooled(run, x);
    for (int k = 0; k < p->convs[i]; k++) {
        x = mgi_conv2d(run, x, mgi_value(p->conv[i][k].w), mgi_value(p->conv[i][k].b),
                       (mgi_conv_options){.stride_h = 1,
                                          .stride_w = 1,
                                          .pad_top = 1,
                                          .pad_bottom = 1,
                                          .pad_left = 1,
                                          .pad_right = 1,
                                          .pad_mode = MGK_PAD_ZERO});
        x = mgi_unary(run, x, MGK_UNARY_RELU);
    }
    return x;
}

/* Root mean square 1 over the channels, times the factors' roots: the mean of the squared differences is that of
 * vectors of length 1, summed over the channels. */
static T *unit(mgi_run *run, const mgi_perceptual *p, int i, T *x)
{
    return mgi_norm(run, x,
                    (mgi_norm_options){.kind = MGK_NORM_RMS,
                                       .eps = UNIT_EPS,
                                       .weight = p->lin[i] ? p->lin[i]->value : NULL});
}

T *mgi_perceptual_loss(mgi_run *run, const mgi_perceptual *p, float weight, T *x, T *target)
{
    int64_t factor = (int64_t)1 << (p->stages - 1);
    T *sum = NULL;
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && target && x->rank == 4 && x->count == target->count,
                     "perceptual: x and the target are not both (frames,H,W,3)") ||
        !mgi_require(run, x->dims[1] % factor == 0 && x->dims[2] % factor == 0,
                     "perceptual: height and width must be multiples of the stages' factor"))
        return NULL;
    T *a = mgi_perceptual_normal(run, p, x), *b = mgi_perceptual_normal(run, p, target);
    for (int i = 0; i < p->stages && run->status == MGEN_OK; i++) {
        a = mgi_perceptual_stage(run, p, i, a);
        b = mgi_perceptual_stage(run, p, i, b);
        T *part = mgi_loss(run, MGK_LOSS_MSE, weight, unit(run, p, i, a), unit(run, p, i, b));
        sum = sum ? mgi_add(run, sum, part) : part;
    }
    return run->status == MGEN_OK ? sum : NULL;
}
