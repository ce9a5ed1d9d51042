/* SPDX-License-Identifier: MIT
 * Sums of two products, of which a compiler may make one rounding of either: what the kernels do is fixed, element by element,
 * whatever compiler they were made by. Exactly computed, by each variant that the processor has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/cpu.h"
#include "kernels/common/bf16.h"
#include "kernels/flow/diffusion_factors.h"
#include "kernels/flow/flow.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pointwise/pointwise.h"

#include <math.h>
#include <string.h>

enum { BATCH = 3, DIM = 16 * 5 + 7, N = BATCH * DIM };

static const float times[BATCH] = {0.3f, 0.71f, 0.9f};
static float in[2][N], out[N], out_v[N];
static uint16_t in_bf[2][N], out_bf[N], out_v_bf[N];

/* Of numbers that differ in all their bits; what bf16 holds of them, if so. */
static void make_values(int32_t dtype)
{
    uint64_t state = 88172645463325252u;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < N; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            const float value = (float)((double)(state >> 11) / 4503599627370496.0 - 1.0);
            in_bf[k][i] = mgk_to_bf16(value);
            in[k][i] = dtype == MGK_BF16 ? mgk_from_bf16(in_bf[k][i]) : value;
        }
}

static mgk_buf buffer(int32_t dtype, float *f32, uint16_t *bf16)
{
    return (mgk_buf){dtype == MGK_BF16 ? (void *)bf16 : (void *)f32, dtype};
}

/* a * b + c * d: the first product is not rounded where the variant has an instruction for that. */
static float sum(bool fused, float a, float b, float c, float d)
{
    const float rest = c * d;
    if (fused)
        return fmaf(a, b, rest);
    const float first = a * b;
    return first + rest;
}

static void assert_bits(const char *op, const char *variant, int32_t dtype, int i, float want,
                        const float *f32, const uint16_t *bf16)
{
    const float got = dtype == MGK_BF16 ? mgk_from_bf16(bf16[i]) : f32[i],
                exact = dtype == MGK_BF16 ? mgk_from_bf16(mgk_to_bf16(want)) : want;
    if (memcmp(&got, &exact, sizeof got) != 0)
        fail_msg("%s, %s, %s: element %d is %a, not %a", op, variant,
                 dtype == MGK_BF16 ? "bf16" : "f32", i, (double)got, (double)exact);
}

static bool fused_in(const mgk_variant_info *v)
{
#ifdef __FP_FAST_FMAF
    return strcmp(v->name, "ref") != 0;
#else
    return v->needs != 0;
#endif
}

static bool usable(const mgk_variant_info *v, int op)
{
    return v->op == op && v->launch && strcmp(v->name, "ref") != 0 &&
           !(v->needs & ~mgi_cpu_features());
}

static void path(const mgk_variant_info *v, int32_t dtype)
{
    mgk_exec x = {0};
    const mgk_flow_args a = {.x0 = buffer(dtype, in[0], in_bf[0]),
                             .x1 = buffer(dtype, in[1], in_bf[1]),
                             .xt = buffer(dtype, out, out_bf),
                             .v = buffer(dtype, out_v, out_v_bf),
                             .time = {(void *)(uintptr_t)times, MGK_F32},
                             .batch = BATCH,
                             .dim = DIM,
                             .sigma = 1e-3f};
    const double keep = 1 - (double)a.sigma;
    v->launch(&a, &x);
    for (int i = 0; i < N; i++) {
        const float t = times[i / DIM], rest = (float)(1 - keep * (double)t), k = (float)keep;
        assert_bits("flow_path", v->name, dtype, i, sum(fused_in(v), t, in[1][i], rest, in[0][i]),
                    out, out_bf);
        assert_bits("flow_path's v", v->name, dtype, i,
                    sum(fused_in(v), -k, in[0][i], 1.0f, in[1][i]), out_v, out_v_bf);
    }
}

static void euler(const mgk_variant_info *v, int32_t dtype)
{
    float step = 0.02f;
    mgk_exec x = {0};
    const mgk_flow_args a = {.xt = buffer(dtype, out, out_bf),
                             .v = buffer(dtype, in[1], in_bf[1]),
                             .dt = {&step, MGK_F32},
                             .batch = BATCH,
                             .dim = DIM};
    memcpy(out, in[0], sizeof out);
    memcpy(out_bf, in_bf[0], sizeof out_bf);
    v->launch(&a, &x);
    for (int i = 0; i < N; i++)
        assert_bits("euler_step", v->name, dtype, i,
                    sum(fused_in(v), step, in[1][i], 1.0f, in[0][i]), out, out_bf);
}

static void diffusion(const mgk_variant_info *v, int32_t dtype)
{
    static const int32_t kinds[] = {MGK_DIFFUSION_POINT, MGK_DIFFUSION_V, MGK_DIFFUSION_VELOCITY};
    mgk_exec x = {0};
    mgk_flow_args a = {.x0 = buffer(dtype, in[0], in_bf[0]),
                       .x1 = buffer(dtype, in[1], in_bf[1]),
                       .xt = buffer(dtype, out, out_bf),
                       .time = {(void *)(uintptr_t)times, MGK_F32},
                       .batch = BATCH,
                       .dim = DIM};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        a.kind = kinds[k];
        v->launch(&a, &x);
        for (int i = 0; i < N; i++) {
            double f1, f0;
            mgk_diffusion_factors(a.kind, (double)times[i / DIM], &f1, &f0);
            assert_bits("diffusion", v->name, dtype, i,
                        sum(fused_in(v), (float)f1, in[1][i], (float)f0, in[0][i]), out, out_bf);
        }
    }
}

static void axpby(const mgk_variant_info *v, int32_t dtype)
{
    mgk_exec x = {0};
    const mgk_pointwise_args a = {.x = buffer(dtype, in[0], in_bf[0]),
                                  .y = buffer(dtype, out, out_bf),
                                  .count = N,
                                  .alpha = 0.7f,
                                  .beta = -1.3f};
    memcpy(out, in[1], sizeof out);
    memcpy(out_bf, in_bf[1], sizeof out_bf);
    v->launch(&a, &x);
    for (int i = 0; i < N; i++)
        assert_bits("axpby", v->name, dtype, i,
                    sum(fused_in(v), a.alpha, in[0][i], a.beta, in[1][i]), out, out_bf);
}

static void adamw(const mgk_variant_info *v, int32_t dtype)
{
    static float weight[N], m[N], square[N], ema[N];
    float control[MGK_CONTROL_COUNT] = {
        [MGK_CONTROL_SCALE] = 0.83f, [MGK_CONTROL_STEP] = 7.0f, [MGK_CONTROL_LR] = 0.01f};
    mgk_optimizer_item item = {.weight = weight,
                               .grad = buffer(dtype, in[0], in_bf[0]).p,
                               .m = m,
                               .v = square,
                               .ema = ema,
                               .count = N,
                               .decay = 1.0f,
                               .lr_scale = 0.9f,
                               .grad_dtype = dtype};
    const mgk_optimizer_args a = {.items = &item,
                                  .item_count = 1,
                                  .control = {control, MGK_F32},
                                  .beta1 = 0.9f,
                                  .beta2 = 0.95f,
                                  .eps = 1e-8f,
                                  .decay = 0.1f,
                                  .ema_decay = 0.999f,
                                  .fuse_ema = 1};
    _Alignas(64) char room[4096];
    mgk_exec x = {.workspace = room, .workspace_bytes = sizeof room};
    const bool fused = fused_in(v);
    const float lr = control[MGK_CONTROL_LR] * item.lr_scale, decay = lr * a.decay,
                rate = lr * (float)(1 / (1 - pow((double)a.beta1, 7.0))),
                root = (float)(1 / sqrt(1 - pow((double)a.beta2, 7.0))),
                keep = (float)(1 - fmin((double)a.ema_decay, 8.0 / 17.0));
    assert_true(mgk_ops[v->op].workspace(&a, 1) <= sizeof room);
    for (int i = 0; i < N; i++) {
        weight[i] = in[1][i];
        m[i] = 0.1f * in[1][N - 1 - i];
        square[i] = 0.01f * in[0][N - 1 - i] * in[0][N - 1 - i];
        ema[i] = in[0][(i + 11) % N];
    }
    float m0[N], v0[N], w0[N], e0[N];
    memcpy(m0, m, sizeof m);
    memcpy(v0, square, sizeof square);
    memcpy(w0, weight, sizeof weight);
    memcpy(e0, ema, sizeof ema);
    v->launch(&a, &x);
    for (int i = 0; i < N; i++) {
        const float g = control[MGK_CONTROL_SCALE] * in[0][i],
                    next_m = sum(fused, a.beta1, m0[i], 1 - a.beta1, g),
                    next_v = sum(fused, a.beta2, v0[i], (1 - a.beta2) * g, g),
                    below = sum(fused, sqrtf(next_v), root, 1.0f, a.eps),
                    w = w0[i] - sum(fused, decay, w0[i], 1.0f, rate * next_m / below);
        assert_bits("adamw's m", v->name, MGK_F32, i, next_m, m, NULL);
        assert_bits("adamw's v", v->name, MGK_F32, i, next_v, square, NULL);
        assert_bits("adamw", v->name, MGK_F32, i, w, weight, NULL);
        assert_bits("adamw's average", v->name, MGK_F32, i,
                    sum(fused, keep, w - e0[i], 1.0f, e0[i]), ema, NULL);
    }
}

static void test_sums(void **state)
{
    static const struct {
        int op;
        void (*check)(const mgk_variant_info *v, int32_t dtype);
    } ops[] = {{MGK_OP_flow_path, path},
               {MGK_OP_diffusion, diffusion},
               {MGK_OP_axpby, axpby},
               {MGK_OP_euler_step, euler},
               {MGK_OP_adamw, adamw}};
    (void)state;
    for (size_t k = 0; k < sizeof ops / sizeof ops[0]; k++) {
        int variants = 0;
        for (int i = 0; i < mgk_variant_count; i++)
            if (usable(&mgk_variants[i], ops[k].op)) {
                variants++;
                make_values(MGK_F32);
                ops[k].check(&mgk_variants[i], MGK_F32);
                make_values(MGK_BF16);
                ops[k].check(&mgk_variants[i], MGK_BF16);
            }
        assert_true(variants > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums)};
    return cmocka_run_group_tests_name("rounding", tests, NULL, NULL);
}
