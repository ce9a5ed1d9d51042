/* SPDX-License-Identifier: MIT
 * A layer of CLIP's towers in double precision, and its parts. Of the program: DIM, HEADS of HEAD values each, FF, at most S
 * tokens. */
#ifndef TESTS_UNIT_CLIP_REFERENCE_H
#define TESTS_UNIT_CLIP_REFERENCE_H

#include "core/philox.h"
#include "nn/module.h"

#include <math.h>

/* Random values for every parameter, those of norms and biases too. */
static void make_values(mgi_module *m)
{
    assert_int_equal(mgi_module_random(m, 1), MGEN_OK);
    for (int64_t k = 0; k < m->count; k++) {
        T *w = m->params[k]->value;
        float scale = w->rank == 1 ? 0.3f : 0.5f / sqrtf((float)w->dims[w->rank - 1]);
        for (int64_t i = 0; i < w->count; i++)
            mgi_f32(w)[i] += scale * mgi_random_normal(8, 100 + (uint64_t)k, (uint64_t)i);
    }
}

static const float *values(const mgi_param *p)
{
    return mgi_f32(p->value);
}

static void ref_linear(const double *x, const mgi_param *w, const mgi_param *bias, int out, int in,
                       double *y)
{
    for (int n = 0; n < out; n++) {
        double sum = bias ? (double)values(bias)[n] : 0.0;
        for (int k = 0; k < in; k++)
            sum += x[k] * (double)values(w)[n * in + k];
        y[n] = sum;
    }
}

static void ref_norm(const double *x, const mgi_param *w, const mgi_param *bias, double *y)
{
    double mean = 0.0, square = 0.0;
    for (int i = 0; i < DIM; i++)
        mean += x[i] / DIM;
    for (int i = 0; i < DIM; i++)
        square += (x[i] - mean) * (x[i] - mean) / DIM;
    for (int i = 0; i < DIM; i++)
        y[i] = (x[i] - mean) / sqrt(square + 1e-5) * (double)values(w)[i] + (double)values(bias)[i];
}

/* What query `s` sees of the first `keys` keys. */
static void ref_attention(double qkv[S][3 * DIM], int s, int keys, double *y)
{
    for (int h = 0; h < HEADS; h++) {
        double p[S], sum = 0.0;
        for (int k = 0; k < keys; k++) {
            double score = 0.0;
            for (int i = 0; i < HEAD; i++)
                score += qkv[s][h * HEAD + i] * qkv[k][DIM + h * HEAD + i];
            sum += p[k] = exp(score / sqrt(HEAD));
        }
        for (int i = 0; i < HEAD; i++) {
            y[h * HEAD + i] = 0.0;
            for (int k = 0; k < keys; k++)
                y[h * HEAD + i] += p[k] / sum * qkv[k][2 * DIM + h * HEAD + i];
        }
    }
}

typedef struct ref_params {
    const mgi_param *norm1, *norm1_bias, *qkv, *qkv_bias, *out, *out_bias, *norm2, *norm2_bias, *up,
        *up_bias, *down, *down_bias;
} ref_params;

/* Those of a layer of either tower. */
#define REF_PARAMS(l)                                                                              \
    ((ref_params){(l)->norm1, (l)->norm1_bias, (l)->qkv, (l)->qkv_bias, (l)->out, (l)->out_bias,   \
                  (l)->norm2, (l)->norm2_bias, (l)->up, (l)->up_bias, (l)->down, (l)->down_bias})

/* causal: a token sees those before it and itself, else all. quick: the GELU of CLIP's first models. */
static void ref_layer(ref_params l, bool causal, bool quick, int tokens, double x[S][DIM])
{
    double qkv[S][3 * DIM], n[DIM], h[DIM], f[FF];
    for (int s = 0; s < tokens; s++) {
        ref_norm(x[s], l.norm1, l.norm1_bias, n);
        ref_linear(n, l.qkv, l.qkv_bias, 3 * DIM, DIM, qkv[s]);
    }
    for (int s = 0; s < tokens; s++) {
        ref_attention(qkv, s, causal ? s + 1 : tokens, n);
        ref_linear(n, l.out, l.out_bias, DIM, DIM, h);
        for (int i = 0; i < DIM; i++)
            x[s][i] += h[i];
        ref_norm(x[s], l.norm2, l.norm2_bias, n);
        ref_linear(n, l.up, l.up_bias, FF, DIM, f);
        for (int i = 0; i < FF; i++)
            f[i] = quick ? f[i] / (1.0 + exp(-1.702 * f[i]))
                         : 0.5 * f[i] * (1.0 + erf(f[i] / sqrt(2.0)));
        ref_linear(f, l.down, l.down_bias, DIM, FF, h);
        for (int i = 0; i < DIM; i++)
            x[s][i] += h[i];
    }
}

#endif
