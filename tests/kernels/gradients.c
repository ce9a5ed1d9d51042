/* SPDX-License-Identifier: MIT
 * With random weights g on the outputs y of an op, L(x) = <g, y(x)>. Along a random direction u,
 *   <dx, u>  =  dL/dh of L(x + h u)
 * where dx is what the gradient op gives for dy = g. The right side comes from the forward reference at
 * x +- h u and x +- 2 h u. The references sum in double and round their outputs to f32: with
 * h = 1/32, the error of four values is that of f32 / h; terms of h^4 are below it. Where they are not, as norms of few
 * values close to 0 turn sharply, h is halved until two differences agree with each other.
 *
 * The table names the buffers by their place in the argument struct, which forward and gradient op
 * share. Statistics that the forward op saves (rstd, lse, ...) are taken from its run, not from the
 * case. A case of the gradient op gives shapes, options and values. */
#include "gradients.h"

#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/embedding/embedding.h"
#include "kernels/glu/glu.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/layout/pad.h"
#include "kernels/loss/loss.h"
#include "kernels/loss/opl.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/position/position.h"
#include "kernels/posterior/posterior.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resize/resize.h"
#include "kernels/snake/snake.h"
#include "run.h"

#include "core/philox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NONE = -1,
    CASES_EACH = 24,
    ELEMENTS_MAX = 20000,
    DIRECTIONS = 2,
    STREAM = 7000,
    HALVINGS = 8
};
static const double first_step = 1.0 / 32;

typedef struct pair {
    size_t value, gradient; /* places of two buffers of equal layout */
} pair;

typedef struct rule {
    int op;                      /* whose cases are used */
    int forward[2], backward[2]; /* run one after the other; [1] may be NONE */
    pair inputs[8];              /* x and dx */
    int input_count;
    pair outputs[2]; /* y and dy */
    int output_count;
    size_t extra; /* an input that only the forward op reads: its place + 1; 0: none */
    /* Make the case fit, and the arguments of both directions; false: it does not fit. */
    bool (*prepare)(void *forward, void *backward);
} rule;

/* ---- what the struct alone does not say ---- */

static bool smooth_unary(void *forward, void *backward)
{
    (void)forward;
    ((mgk_pointwise_args *)backward)->accumulate = 0;
    return true;
}

/* Where alpha is 0, what keeps the quotient finite makes the slope 0, too, which no step is short enough to see. */
static bool snake_turns(void *forward, void *backward)
{
    ((mgk_snake_args *)backward)->accumulate = 0;
    return fabsf(*MGK_F(((mgk_snake_args *)forward)->alpha)) > 0.0f;
}

static bool plain_sum(void *forward, void *backward)
{
    (void)forward;
    return ((mgk_pointwise_args *)backward)->kind == MGK_REDUCE_SUM;
}

static bool overwrite_softmax(void *forward, void *backward)
{
    (void)forward;
    ((mgk_reduce_args *)backward)->accumulate = 0;
    return true;
}

static bool same_gate_stride(void *forward, void *backward)
{
    const mgk_pointwise_args *f = forward;
    (void)backward;
    return f->gate_stride == f->d_gate_stride;
}

static bool same_mod_stride(void *forward, void *backward)
{
    mgk_norm_args *f = forward, *b = backward;
    f->mod_stride = b->mod_stride = b->d_mod_stride; /* the smaller ones */
    f->gate_stride = b->gate_stride = b->d_gate_stride;
    b->accumulate_dx = 0;
    return true;
}

/* One tile: all values of a group are those of the case. */
static bool one_tile(void *forward, void *backward)
{
    mgk_group_norm_args *f = forward, *b = backward;
    b->accumulate = f->accumulate = 0;
    f->count = 0;
    b->count = b->groups > 0 ? b->rows * (b->c / b->groups) : 0;
    return b->count > 1 && b->n > 0; /* of one value nothing remains but rounding errors */
}

/* Through mean and deviation, and with nearly all positions beyond the bend. */
static bool through_opl(void *forward, void *backward)
{
    mgk_opl_args *f = forward, *b = backward;
    b->through = 1;
    f->r = b->r = 0.2f;
    return b->c >= 8;
}

static bool overwrite_pad(void *forward, void *backward)
{
    ((mgk_pad_args *)forward)->accumulate = ((mgk_pad_args *)backward)->accumulate = 0;
    return true;
}

static bool overwrite_cross_entropy(void *forward, void *backward)
{
    (void)forward;
    ((mgk_cross_entropy_args *)backward)->accumulate = 0;
    return true;
}

static bool overwrite_conv(void *forward, void *backward)
{
    ((mgk_conv2d_args *)forward)->accumulate = 0;
    ((mgk_conv2d_args *)backward)->accumulate = 0;
    return true;
}

#define AT(folder, name) offsetof(mgk_##folder##_args, name)
#define PAIR(folder, x, dx)                                                                        \
    {                                                                                              \
        AT(folder, x), AT(folder, dx)                                                              \
    }
#define INPUTS(n, ...)   .inputs = {__VA_ARGS__}, .input_count = n
#define OUTPUTS(n, ...)  .outputs = {__VA_ARGS__}, .output_count = n
#define EXTRA(folder, x) .extra = AT(folder, x) + 1
#define OPS(first, grad)                                                                           \
    .op = MGK_OP_##grad, .forward = {MGK_OP_##first, NONE}, .backward = {MGK_OP_##grad, NONE}

static const rule rules[] = {
    {OPS(unary, unary_grad), INPUTS(1, PAIR(pointwise, x, dx)), OUTPUTS(1, PAIR(pointwise, y, dy)),
     .prepare = smooth_unary},
    {OPS(gated_residual, gated_residual_grad),
     INPUTS(2, PAIR(pointwise, h, dh), PAIR(pointwise, gate, d_gate)),
     OUTPUTS(1, PAIR(pointwise, y, dy)), EXTRA(pointwise, x), .prepare = same_gate_stride},
    {OPS(add_rows, reduce_rows), INPUTS(1, PAIR(pointwise, table, table)),
     OUTPUTS(1, PAIR(pointwise, y, x)), .prepare = plain_sum},
    {OPS(softmax, softmax_grad), INPUTS(1, PAIR(reduce, x, dx)), OUTPUTS(1, PAIR(reduce, y, dy)),
     .prepare = overwrite_softmax},
    {OPS(glu, glu_grad), INPUTS(1, PAIR(glu, x, dx)), OUTPUTS(1, PAIR(glu, y, dy))},
    {OPS(snake, snake_grad), INPUTS(2, PAIR(snake, x, dx), PAIR(snake, alpha, d_alpha)),
     OUTPUTS(1, PAIR(snake, y, dy)), .prepare = snake_turns},
    {OPS(loss, loss_grad), INPUTS(1, PAIR(loss, x, dx)), OUTPUTS(1, PAIR(loss, out, upstream))},
    {OPS(opl, opl_grad), INPUTS(1, PAIR(opl, x, dx)), OUTPUTS(1, PAIR(opl, out, upstream)),
     .prepare = through_opl},
    {OPS(cross_entropy, cross_entropy_grad), INPUTS(1, PAIR(cross_entropy, x, dx)),
     OUTPUTS(1, PAIR(cross_entropy, out, upstream)), .prepare = overwrite_cross_entropy},
    {OPS(posterior, posterior_grad), INPUTS(1, PAIR(posterior, h, dh)),
     OUTPUTS(2, PAIR(posterior, z, dz), PAIR(posterior, kl, kl_upstream))},
    {OPS(resize_nearest, resize_nearest_grad), INPUTS(1, PAIR(resize, x, x)),
     OUTPUTS(1, PAIR(resize, y, y))},
    {OPS(embedding, embedding_grad), INPUTS(1, PAIR(embedding, table, table)),
     OUTPUTS(1, PAIR(embedding, y, y))},
    {OPS(relative_bias, relative_bias_grad), INPUTS(1, PAIR(embedding, table, table)),
     OUTPUTS(1, PAIR(embedding, y, y))},
    {OPS(position_add, position_add_grad),
     INPUTS(3, PAIR(position, frame, d_frame), PAIR(position, row, d_row),
            PAIR(position, column, d_column)),
     OUTPUTS(1, PAIR(position, y, dy)), EXTRA(position, x)},
    {OPS(pad, pad_grad), INPUTS(1, PAIR(pad, x, x)), OUTPUTS(1, PAIR(pad, y, y)),
     .prepare = overwrite_pad},
    {OPS(conv2d, conv2d_grad_input), INPUTS(1, PAIR(conv2d, x, x)), OUTPUTS(1, PAIR(conv2d, y, y)),
     .prepare = overwrite_conv},
    {OPS(conv2d, conv2d_grad_weight),
     INPUTS(2, PAIR(conv2d, weight, weight), PAIR(conv2d, bias, bias)),
     OUTPUTS(1, PAIR(conv2d, y, y)), .prepare = overwrite_conv},
    {OPS(residual_norm, residual_norm_grad),
     INPUTS(7, PAIR(norm, x, dx), PAIR(norm, h, dh), PAIR(norm, gate, d_gate),
            PAIR(norm, weight, d_weight), PAIR(norm, bias, d_bias), PAIR(norm, scale, d_scale),
            PAIR(norm, shift, d_shift)),
     OUTPUTS(2, PAIR(norm, y, dy), PAIR(norm, r, dr)), .prepare = same_mod_stride},
    {OPS(resize_bilinear, resize_bilinear_grad), INPUTS(1, PAIR(resize, x, x)),
     OUTPUTS(1, PAIR(resize, y, y))},
    {OPS(norm, norm_grad),
     INPUTS(5, PAIR(norm, x, dx), PAIR(norm, weight, d_weight), PAIR(norm, bias, d_bias),
            PAIR(norm, scale, d_scale), PAIR(norm, shift, d_shift)),
     OUTPUTS(1, PAIR(norm, y, dy)), .prepare = same_mod_stride},
    {.op = MGK_OP_group_norm_grad_stats,
     .forward = {MGK_OP_group_norm_stats, MGK_OP_group_norm_apply},
     .backward = {MGK_OP_group_norm_grad_stats, NONE},
     INPUTS(2, PAIR(group_norm, weight, d_weight), PAIR(group_norm, bias, d_bias)),
     OUTPUTS(1, PAIR(group_norm, y, dy)),
     .prepare = one_tile},
    {.op = MGK_OP_group_norm_grad_apply,
     .forward = {MGK_OP_group_norm_stats, MGK_OP_group_norm_apply},
     .backward = {MGK_OP_group_norm_grad_stats, MGK_OP_group_norm_grad_apply},
     INPUTS(1, PAIR(group_norm, x, dx)),
     OUTPUTS(1, PAIR(group_norm, y, dy)),
     .prepare = one_tile},
    {OPS(attention, attention_grad),
     INPUTS(4, PAIR(attention, q, dq), PAIR(attention, k, dk), PAIR(attention, v, dv),
            PAIR(attention, bias, d_bias)),
     OUTPUTS(1, PAIR(attention, o, d_o))},
};
enum { RULES = sizeof rules / sizeof rules[0] };

static struct {
    int fit[RULES], cases[RULES], failures[RULES];
} state;

/* ---- one case ---- */

typedef struct buffer {
    size_t place;
    float *data; /* or another type of 4 bytes at most */
    int64_t count;
} buffer;

/* The arguments of both directions, and all buffers. */
typedef struct trial {
    const mgk_case *c;
    const rule *r;
    mgk_case forward, backward; /* of which only the arguments are used */
    buffer owned[2 * MGK_CASE_BUFS];
    int owned_count;
} trial;

static mgk_buf *slot_at(mgk_case *c, size_t place)
{
    return (mgk_buf *)(void *)(c->args.bytes + place);
}

static float *add_buffer(trial *t, size_t place, int64_t count)
{
    float *data = calloc((size_t)count + 1, sizeof *data);
    if (data)
        t->owned[t->owned_count++] = (buffer){place, data, count};
    return data;
}

static int64_t count_at(const trial *t, size_t place)
{
    for (int i = 0; i < t->c->buf_count; i++)
        if ((const uint8_t *)t->c->bufs[i].slot == t->c->args.bytes + place)
            return t->c->bufs[i].count;
    return -1;
}

static void fill_normal(const trial *t, float *data, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        data[i] =
            mgi_random_normal(checker_state.seed, STREAM + (uint64_t)t->owned_count, (uint64_t)i);
}

static bool is_gradient_slot(const rule *r, size_t place)
{
    for (int i = 0; i < r->input_count; i++)
        if (r->inputs[i].gradient == place)
            return true;
    return false;
}

/* The case's buffers, for both directions; gradients begin with 0. */
static bool share_buffers(trial *t)
{
    for (int i = 0; i < t->c->buf_count; i++) {
        const mgk_case_buf *b = &t->c->bufs[i];
        size_t place = (size_t)((uint8_t *)b->slot - t->c->args.bytes);
        float *data = add_buffer(t, place, b->count);
        if (!data)
            return false;
        if (!is_gradient_slot(t->r, place))
            fill_case_buf(data, b, checker_state.seed, i);
        *slot_at(&t->forward, place) = *slot_at(&t->backward, place) = (mgk_buf){data, b->dtype};
    }
    return true;
}

/* A buffer of the forward op alone. */
static bool give_forward(trial *t, size_t place, int64_t count)
{
    float *data = add_buffer(t, place, count);
    if (!data)
        return false;
    fill_normal(t, data, count);
    *slot_at(&t->forward, place) = (mgk_buf){data, MGK_F32};
    return true;
}

static int64_t largest_count(const mgk_case *c)
{
    int64_t n = 1;
    for (int i = 0; i < c->buf_count; i++)
        n = c->bufs[i].count > n ? c->bufs[i].count : n;
    return n;
}

static bool make_trial(trial *t, const mgk_case *c, const rule *r)
{
    memset(t, 0, sizeof *t);
    t->c = c;
    t->r = r;
    t->forward.args = t->backward.args = c->args;
    if (!share_buffers(t))
        return false;
    for (int i = 0; i < r->input_count; i++) {
        const pair *p = &r->inputs[i];
        bool own = p->value == p->gradient || !slot_at(&t->forward, p->value)->p;
        if (own && count_at(t, p->gradient) >= 0 &&
            !give_forward(t, p->value, count_at(t, p->gradient)))
            return false;
    }
    for (int i = 0; i < r->output_count; i++) { /* a saved one is read by the gradient, too */
        const pair *p = &r->outputs[i];
        bool saved = p->value != p->gradient && slot_at(&t->backward, p->value)->p;
        if (!saved && !give_forward(t, p->value, largest_count(c)))
            return false;
    }
    return r->extra == 0 || slot_at(&t->forward, r->extra - 1)->p ||
           give_forward(t, r->extra - 1, largest_count(c));
}

static void free_trial(trial *t)
{
    for (int i = 0; i < t->owned_count; i++)
        free(t->owned[i].data);
}

static bool legal(const int *ops, const mgk_case *c, const char **why)
{
    for (int i = 0; i < 2 && ops[i] != NONE; i++)
        if (!mgk_ops[ops[i]].check(c->args.bytes, why))
            return false;
    return true;
}

static void run(const int *ops, mgk_case *c)
{
    for (int i = 0; i < 2 && ops[i] != NONE; i++) {
        size_t bytes = mgk_ops[ops[i]].workspace(c->args.bytes, 1);
        mgk_exec x = {.workspace = aligned_alloc(64, (bytes + 64) / 64 * 64),
                      .workspace_bytes = bytes};
        if (!x.workspace)
            exit(1);
        mgk_variants[first_variant(ops[i])].launch(c->args.bytes, &x);
        free(x.workspace);
    }
}

/* <g, y>, and the size of its terms. */
static double forward_value(trial *t, double *size)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < t->r->output_count; i++) {
        const pair *p = &t->r->outputs[i];
        const float *g = slot_at(&t->backward, p->gradient)->p;
        if (g) /* ops that add to their output begin with 0 */
            memset(slot_at(&t->forward, p->value)->p, 0,
                   sizeof(float) * (size_t)count_at(t, p->gradient));
    }
    run(t->r->forward, &t->forward);
    for (int i = 0; i < t->r->output_count; i++) {
        const pair *p = &t->r->outputs[i];
        const float *y = slot_at(&t->forward, p->value)->p;
        const float *g = slot_at(&t->backward, p->gradient)->p;
        for (int64_t j = 0; g && j < count_at(t, p->gradient); j++) {
            sum += (double)y[j] * (double)g[j];
            squares += (double)y[j] * (double)y[j] * (double)g[j] * (double)g[j];
        }
    }
    *size = sqrt(squares);
    return sum;
}

static double at_step(trial *t, float *x, const float *base, const float *u, int64_t n, double h,
                      double *size)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)((double)base[i] + h * (double)u[i]);
    return forward_value(t, size);
}

/* dL/dh by differences of one step, and what values of this size leave uncertain of it. */
static double slope_at(trial *t, float *x, const float *base, const float *u, int64_t n, double h,
                       double *rounding)
{
    double size = 0;
    double near = at_step(t, x, base, u, n, h, &size) - at_step(t, x, base, u, n, -h, &size);
    double far = at_step(t, x, base, u, n, 2 * h, &size) - at_step(t, x, base, u, n, -2 * h, &size);
    *rounding = 1e-6 * size / h;
    return (8 * near - far) / (12 * h);
}

/* dL/dh along a direction, against <dx, u>. */
static bool compare(trial *t, const pair *p, const float *dx, int64_t n, int direction)
{
    float *x = slot_at(&t->forward, p->value)->p;
    float *base = malloc(sizeof(float) * (size_t)(2 * n + 1)), *u = base + n;
    double step = first_step, got = 0, before = 0, limit = 0, want = 0, squares = 0;
    bool good = false, settled = false;
    if (!base)
        return false;
    memcpy(base, x, sizeof(float) * (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        u[i] =
            mgi_random_u32(checker_state.seed, STREAM + 100 + (uint64_t)direction, (uint64_t)i) & 1
                ? 1
                : -1;
        want += (double)dx[i] * (double)u[i];
        squares += (double)dx[i] * (double)dx[i];
    }
    for (int i = 0; i <= HALVINGS && !good && !settled; i++, step /= 2, before = got) {
        got = slope_at(t, x, base, u, n, step, &limit);
        limit += 1e-3 * sqrt(squares);
        good = fabs(got - want) <= limit;
        settled = i > 0 && fabs(got - before) <= limit;
    }
    memcpy(x, base, sizeof(float) * (size_t)n);
    free(base);
    if (!good)
        blame(t->c, "ref",
              "gradient at byte %zu along a direction: %.9g, by differences %.9g +- %.2g",
              p->gradient, want, got, limit);
    return good;
}

/* Where a function has a bend, move its argument away from it by more than the steps: activations bend
 * at 0, distances where both arguments are equal, hinges at 1 and -1. */
static void avoid_kinks(trial *t)
{
    const float *target = NULL;
    mgk_buf *x;
    if (t->c->op == MGK_OP_unary_grad) {
        x = slot_at(&t->forward, AT(pointwise, x));
    } else if (t->c->op == MGK_OP_loss_grad) {
        x = slot_at(&t->forward, AT(loss, x));
        target = slot_at(&t->forward, AT(loss, target))->p;
    } else {
        return;
    }
    float *values = x->p;
    for (int64_t i = 0; i < largest_count(t->c) && values; i++)
        for (int bend = target ? 0 : -1; bend <= (target ? 0 : 1); bend++) {
            float middle = target ? target[i] : (float)bend;
            if (fabs((double)(values[i] - middle)) < 3 * first_step)
                values[i] = middle + (values[i] < middle ? -3.5f : 3.5f) * (float)first_step;
        }
}

static bool run_trial(trial *t)
{
    bool good = true;
    double size;
    avoid_kinks(t);
    forward_value(t, &size); /* the saved statistics */
    run(t->r->backward, &t->backward);
    for (int i = 0; i < t->r->input_count; i++) {
        const pair *p = &t->r->inputs[i];
        int64_t n = count_at(t, p->gradient);
        const float *dx = slot_at(&t->backward, p->gradient)->p;
        for (int d = 0; dx && n > 0 && d < DIRECTIONS; d++)
            good = compare(t, p, dx, n, d) && good;
    }
    return good;
}

/* Values beyond this lie where ops are cut off (posterior's logvar), which differences step over. */
#define SCALE_MAX 8

static bool small_f32(const mgk_case *c)
{
    int64_t elements = 0;
    if (c->finish) /* it sets pointers that this file would not know */
        return false;
    for (int i = 0; i < c->buf_count; i++) {
        if (c->bufs[i].dtype == MGK_BF16 || c->bufs[i].scale > SCALE_MAX)
            return false;
        elements += c->bufs[i].count;
    }
    return elements > 0 && elements <= ELEMENTS_MAX;
}

void gradient_try(const mgk_case *c)
{
    static trial t;
    for (int i = 0; i < RULES; i++) {
        const char *why = "";
        if (rules[i].op != c->op || !small_f32(c) || state.cases[i] >= CASES_EACH)
            continue;
        bool fits =
            make_trial(&t, c, &rules[i]) &&
            (!rules[i].prepare || rules[i].prepare(t.forward.args.bytes, t.backward.args.bytes));
        /* The first one and about every third of them, so that all options come up. */
        fits = fits && (state.fit[i]++ == 0 || state.fit[i] % 3 == (int)(checker_state.seed % 3));
        if (fits && !(legal(rules[i].forward, &t.forward, &why) &&
                      legal(rules[i].backward, &t.backward, &why))) {
            blame(c, "check", "does not fit its forward op: %s", why);
            fits = false;
            state.failures[i]++;
        }
        if (fits) {
            snprintf(checker_state.now, sizeof checker_state.now, "%s ref, case '%s', differences",
                     mgk_ops[c->op].name, c->label);
            state.cases[i]++;
            state.failures[i] += !run_trial(&t);
        }
        free_trial(&t);
    }
}

bool is_gradient(int op)
{
    const char *grad = strstr(mgk_ops[op].name, "_grad");
    return grad && (grad[5] == '_' || grad[5] == 0);
}

bool gradient_result(int op, int *cases, int *failures)
{
    for (int i = 0; i < RULES; i++)
        if (rules[i].op == op) {
            *cases = state.cases[i];
            *failures = state.failures[i];
            return true;
        }
    return false;
}
