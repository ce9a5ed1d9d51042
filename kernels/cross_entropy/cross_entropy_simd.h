/* SPDX-License-Identifier: MIT
 * cross_entropy and cross_entropy_grad on vectors; included once a variant. A block is a few rows. */
#include "kernels/common/rows_simd.h"
#include "kernels/cross_entropy/cross_entropy.h"

/* What a block leaves: the sum of its rows' losses, and how many are counted. */
typedef struct rows_loss {
    double sum, counted;
} rows_loss;

typedef struct loss_job {
    const mgk_cross_entropy_args *a;
    rows_loss *blocks;
} loss_job;

/* The rows of a block. */
static int64_t block_rows(const mgk_cross_entropy_args *a, int64_t block, int64_t *end)
{
    int64_t rows = mgk_rows_a_block(a->classes);
    *end = mgk_min(a->rows, (block + 1) * rows);
    return block * rows;
}

/* The right class of a row; -1 if the row is not counted. */
static int64_t class_of(const mgk_cross_entropy_args *a, int64_t r)
{
    int64_t target = MGK_I(a->target)[r];
    return target < a->classes ? target : -1;
}

/* Exponentials are added in float for at most 8192 classes, then in double. */
MGK_INLINE void loss_rows(const mgk_cross_entropy_args *a, int64_t r, int64_t end, rows_loss *out,
                          int32_t type)
{
    enum { PIECE = 8192 };
    *out = (rows_loss){0, 0};
    for (; r < end; r++) {
        int64_t target = class_of(a, r), at = r * a->classes;
        MGK_F(a->lse)[r] = 0;
        if (target < 0)
            continue;
        v_real x = v_from(a->x, at, type);
        float largest = v_row_walk(x, x, a->classes, V_ROW_LARGEST_NUMBER, 0);
        double sum = 0;
        for (int64_t j = 0; j < a->classes; j += PIECE) {
            v_real piece = v_from(a->x, at + j, type);
            int64_t n = mgk_min(PIECE, a->classes - j);
            sum += v_row_walk(piece, piece, n, V_ROW_EXP_SUM, largest);
        }
        double rest = log(sum);
        MGK_F(a->lse)[r] = (float)(largest + rest);
        out->sum += largest - mgk_real_at(a->x, at + target) + rest;
        out->counted++;
    }
}

static void loss_block(void *arg, int64_t block, int thread)
{
    const loss_job *job = arg;
    (void)thread;
    int64_t end, first = block_rows(job->a, block, &end);
    V_BY_DTYPE(job->a->x.dtype, loss_rows, job->a, first, end, &job->blocks[block]);
}

static int64_t blocks_of(const mgk_cross_entropy_args *a)
{
    return mgk_div_up(a->rows, mgk_rows_a_block(a->classes));
}

MGK_LAUNCH(cross_entropy)
{
    loss_job job = {args, x->workspace};
    const mgk_cross_entropy_args *a = job.a;
    double sum = 0, counted = 0;
    mgk_for(x, blocks_of(a), 4 * a->rows * a->classes, loss_block, &job);
    for (int64_t b = 0; b < blocks_of(a); b++) {
        sum += job.blocks[b].sum;
        counted += job.blocks[b].counted;
    }
    MGK_F(a->share)[0] = counted > 0 ? (float)(1 / counted) : 0;
    MGK_F(a->out)[0] = counted > 0 ? (float)(a->weight * sum / counted) : 0;
}

/* The right class is seen to after the row, from what was there before. */
MGK_INLINE void grad_rows(const mgk_cross_entropy_args *a, int64_t r, int64_t end, int32_t type)
{
    const double factor = (double)MGK_F(a->upstream)[0] * a->weight * MGK_F(a->share)[0];
    const float f = (float)factor;
    const bool add = a->accumulate;
    int32_t stream = !add && mgk_streams(a->dx, a->rows, a->classes);
    for (; r < end; r++) {
        int64_t target = class_of(a, r), at = r * a->classes, right = at + target;
        float lse = MGK_F(a->lse)[r];
        v_real x = v_from(a->x, at, type), dx = v_from(a->dx, at, type);
        dx.stream = stream;
        if (target < 0) {
            if (!add)
                MGK_EACH_VECTOR(i, a->classes, v_put(dx, i, v_set(0)););
            continue;
        }
        double before = add ? mgk_real_at(a->dx, right) : 0;
        MGK_EACH_VECTOR(i, a->classes, {
            vf v = v_get(x, i) - lse;
            v = f * (type == MGK_BF16 ? v_exp_brief(v) : v_exp(v));
            v_put(dx, i, add ? v_get(dx, i) + v : v);
        });
        v_stream_end(stream);
        mgk_real_set(a->dx, right, before + factor * expm1(mgk_real_at(a->x, right) - lse));
    }
    v_stream_end(stream);
}

static void grad_block(void *arg, int64_t block, int thread)
{
    const mgk_cross_entropy_args *a = arg;
    (void)thread;
    int64_t end, first = block_rows(a, block, &end);
    V_BY_DTYPE(a->x.dtype, grad_rows, a, first, end);
}

MGK_LAUNCH(cross_entropy_grad)
{
    const mgk_cross_entropy_args *a = args;
    mgk_for(x, blocks_of(a), 4 * a->rows * a->classes, grad_block, (void *)args);
}
