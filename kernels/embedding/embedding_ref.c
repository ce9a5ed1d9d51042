/* SPDX-License-Identifier: MIT
 * The definition of the embedding ops. Times and relative positions are few: there it is what
 * runs. */
#include "kernels/embedding/embedding.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/common/real.h"
#include "kernels/embedding/relative_bucket.h"

#include <math.h>

static bool lookup_check(const mgk_embedding_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim) && MGK_EXTENTS_OK(a->vocab, a->dim),
             "rows, dim, vocab out of range");
    MGK_RULE(a->vocab > 0 || a->rows == 0, "vocab must be positive");
    MGK_RULE(a->ids.dtype == MGK_I32 && (a->ids.p || a->rows == 0), "ids: i32");
    MGK_RULE(mgk_is_real_of(a->y, a->rows * a->dim), "y: f32 or bf16");
    return true;
}

bool mgk_embedding_check(const void *args, const char **why)
{
    const mgk_embedding_args *a = args;
    if (!lookup_check(a, why))
        return false;
    MGK_RULE(mgk_is_real_of(a->table, a->rows * a->dim), "table: f32 or bf16");
    return true;
}

bool mgk_embedding_grad_check(const void *args, const char **why)
{
    const mgk_embedding_args *a = args;
    if (!lookup_check(a, why))
        return false;
    MGK_RULE(mgk_is_f32_of(a->table, a->rows * a->dim), "d_table: f32");
    return true;
}

bool mgk_timestep_embed_check(const void *args, const char **why)
{
    const mgk_embedding_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    MGK_RULE(a->dim % 2 == 0, "dim must be even");
    MGK_RULE(mgk_is_f32_of(a->time, a->rows), "time: f32");
    MGK_RULE(mgk_is_real_of(a->y, a->rows * a->dim), "y: f32 or bf16");
    return true;
}

static bool bias_check(const mgk_embedding_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->heads, a->sq) && MGK_EXTENTS_OK(a->heads, a->sk) &&
                 MGK_EXTENTS_OK(a->heads, a->vocab) && a->sq < INT32_MAX && a->sk < INT32_MAX,
             "heads, sq, sk, vocab out of range");
    MGK_RULE(a->sq > 0 && a->sk > 0, "sq, sk must be positive");
    MGK_RULE(a->vocab >= 4 && a->vocab % 4 == 0, "vocab must be a multiple of 4");
    MGK_RULE(a->max_distance > a->vocab / 4, "max_distance must exceed vocab / 4");
    MGK_RULE(mgk_is_f32_of(a->table, a->heads) && mgk_is_f32_of(a->y, a->heads), "table, y: f32");
    return true;
}

bool mgk_relative_bias_check(const void *args, const char **why)
{
    return bias_check(args, why);
}

bool mgk_relative_bias_grad_check(const void *args, const char **why)
{
    return bias_check(args, why);
}

#define NO_WORKSPACE(op)                                                                           \
    size_t mgk_##op##_workspace(const void *args, int threads)                                     \
    {                                                                                              \
        (void)args;                                                                                \
        (void)threads;                                                                             \
        return 0;                                                                                  \
    }
NO_WORKSPACE(embedding)
NO_WORKSPACE(embedding_grad)
NO_WORKSPACE(timestep_embed)
NO_WORKSPACE(relative_bias)
NO_WORKSPACE(relative_bias_grad)

/* Where the row of an id begins. */
static int64_t table_at(const mgk_embedding_args *a, int64_t r)
{
    int64_t id = MGK_I(a->ids)[r];
    return (id >= 0 && id < a->vocab ? id : 0) * a->dim;
}

void mgk_embedding_ref(const void *args, mgk_exec *x)
{
    const mgk_embedding_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < a->dim; j++)
            mgk_real_set(a->y, r * a->dim + j, mgk_real_at(a->table, table_at(a, r) + j));
}

/* The order of rows is part of the definition: sums of floats depend on it. */
void mgk_embedding_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_embedding_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < a->dim; j++)
            MGK_F(a->table)[table_at(a, r) + j] += (float)mgk_real_at(a->y, r * a->dim + j);
}

void mgk_timestep_embed_ref(const void *args, mgk_exec *x)
{
    const mgk_embedding_args *a = args;
    (void)x;
    int64_t half = a->dim / 2;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t i = 0; i < half; i++) {
            double f = pow(10000, -(double)i / (double)half);
            double angle = 1000.0 * MGK_F(a->time)[r] * f;
            mgk_real_set(a->y, r * a->dim + i, cos(angle));
            mgk_real_set(a->y, r * a->dim + half + i, sin(angle));
        }
}

/* The bucket of key - query: half of them serve keys behind the query, half those ahead. */
static int64_t bucket_of(const mgk_embedding_args *a, int64_t distance)
{
    return distance > 0 ? a->vocab / 2 + mgk_relative_bucket(a, distance)
                        : mgk_relative_bucket(a, -distance);
}

void mgk_relative_bias_ref(const void *args, mgk_exec *x)
{
    const mgk_embedding_args *a = args;
    (void)x;
    int64_t count = a->sq + a->sk - 1;
    for (int64_t at = 0; at < count; at++) {
        int64_t bucket = bucket_of(a, at - (a->sq - 1));
        for (int64_t h = 0; h < a->heads; h++)
            MGK_F(a->y)[h * count + at] = MGK_F(a->table)[bucket * a->heads + h];
    }
}

void mgk_relative_bias_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_embedding_args *a = args;
    (void)x;
    int64_t count = a->sq + a->sk - 1;
    for (int64_t at = 0; at < count; at++) {
        int64_t bucket = bucket_of(a, at - (a->sq - 1));
        for (int64_t h = 0; h < a->heads; h++)
            MGK_F(a->table)[bucket * a->heads + h] += MGK_F(a->y)[h * count + at];
    }
}
