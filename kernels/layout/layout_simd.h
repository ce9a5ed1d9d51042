/* SPDX-License-Identifier: MIT
 * patchify and copy_rows in vectors; included once a variant. */
#include "kernels/common/real_simd.h"
#include "kernels/layout/layout.h"
#include "kernels/layout/move_simd.h"

/* Rows of patches a task: a row is h/ph lines of one time patch. */
static int64_t lines_a_block(const mgk_layout_args *a)
{
    return mgk_max(1, MGK_BLOCK_ELEMENTS / (a->pt * a->ph * a->w * a->c));
}

/* One line of patches; `line` counts over b, time patches and lines. */
static void patch_line(const mgk_layout_args *a, int64_t line)
{
    const int64_t lines = a->h / a->ph, across = a->w / a->pw, run = a->pw * a->c;
    const int64_t size = mgk_move_size(a->x.dtype), row = a->w * a->c;
    const int64_t pt = a->pt, ph = a->ph, next = a->h * row * size; /* a frame further */
    const int32_t dtype = a->x.dtype;
    const bool add = a->accumulate, inverse = a->inverse;
    char *token = (char *)a->y.p + line * a->pt * a->ph * row * size;
    char *first =
        (char *)a->x.p + (line / lines * a->pt * a->h + line % lines * a->ph) * row * size;
    for (int64_t p = 0; p < across; p++, first += run * size)
        for (int64_t i = 0; i < pt; i++)
            for (int64_t j = 0; j < ph; j++, token += run * size) {
                char *pixels = first + i * next + j * row * size;
                if (inverse)
                    move_run(pixels, token, run, size, dtype, add);
                else
                    move_run(token, pixels, run, size, dtype, add);
            }
}

static void patchify_block(void *arg, int64_t block, int thread)
{
    const mgk_layout_args *a = arg;
    int64_t lines = lines_a_block(a), all = a->b * (a->t / a->pt) * (a->h / a->ph);
    (void)thread;
    for (int64_t i = block * lines; i < mgk_min(all, (block + 1) * lines); i++)
        patch_line(a, i);
}

MGK_LAUNCH(patchify)
{
    const mgk_layout_args *a = args;
    int64_t n = a->b * a->t * a->h * a->w * a->c;
    if (n > 0)
        mgk_for(x, mgk_div_up(a->b * (a->t / a->pt) * (a->h / a->ph), lines_a_block(a)), n,
                patchify_block, (void *)args);
}

enum { PART = 4 * MGK_BLOCK_ELEMENTS }; /* long rows are cut into parts of so many elements */

static void copy_block(void *arg, int64_t block, int thread)
{
    const mgk_layout_args *a = arg;
    const int64_t size = mgk_move_size(a->x.dtype), parts = mgk_div_up(a->dim, PART);
    (void)thread;
    if (parts > 1) {
        int64_t r = block / parts, j = block % parts * PART;
        move_run((char *)a->y.p + (r * a->y_stride + j) * size,
                 (const char *)a->x.p + (r * a->x_stride + j) * size, mgk_min(PART, a->dim - j),
                 size, a->x.dtype, a->accumulate);
        return;
    }
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    for (int64_t r = block * rows; r < end; r++)
        move_run((char *)a->y.p + r * a->y_stride * size,
                 (const char *)a->x.p + r * a->x_stride * size, a->dim, size, a->x.dtype,
                 a->accumulate);
}

MGK_LAUNCH(copy_rows)
{
    mgk_layout_args a = *(const mgk_layout_args *)args;
    if (a.rows == 0 || a.dim == 0)
        return;
    if (a.x_stride == a.dim && a.y_stride == a.dim) { /* one long row */
        a.dim *= a.rows;
        a.rows = 1;
    }
    int64_t parts = mgk_div_up(a.dim, PART);
    int64_t blocks = parts > 1 ? a.rows * parts : mgk_div_up(a.rows, mgk_rows_a_block(a.dim));
    mgk_for(x, blocks, a.rows * a.dim, copy_block, &a);
}
