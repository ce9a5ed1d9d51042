/* SPDX-License-Identifier: MIT
 * permute in vectors; included once a variant. Axes that stay together are joined first. What then
 * remains is either a permutation of runs, or of matrices that are transposed by tiles. */
#include "kernels/layout/move_simd.h"
#include "kernels/layout/permute.h"

enum { R = MGK_PERMUTE_RANK, TILE = 64 /* of source rows and columns: stays in the first cache */ };

/* Axes of y, last first, without those of extent 1; in elements. */
typedef struct plan {
    const mgk_permute_args *a;
    int rank;
    int64_t extent[R], from[R], to[R]; /* strides in x and y */
    int other;                         /* transposed: the axis that is the last of x. Else 0 */
    int64_t parts;   /* tasks along the last axis of y (and the other, if transposed) */
    int64_t columns; /* tasks along the other axis */
} plan;

static plan plan_make(const mgk_permute_args *a)
{
    plan p = {.a = a};
    int64_t stride[R], from = 1, to = 1;
    for (int i = a->rank - 1; i >= 0; i--) {
        stride[i] = from;
        from *= a->extent[i];
    }
    for (int k = a->rank - 1; k >= 0; k--) {
        int64_t extent = a->extent[a->axis[k]], s = stride[a->axis[k]];
        int last = p.rank - 1;
        if (extent == 1)
            continue;
        if (p.rank > 0 && s == p.from[last] * p.extent[last]) {
            p.extent[last] *= extent;
        } else {
            p.extent[p.rank] = extent;
            p.from[p.rank] = s;
            p.to[p.rank++] = to;
        }
        to *= extent;
    }
    if (p.rank == 0) { /* one value */
        p.extent[0] = p.from[0] = p.to[0] = 1;
        p.rank = 1;
    }
    for (int i = 1; i < p.rank; i++)
        if (p.from[i] == 1)
            p.other = i;
    return p;
}

/* Offsets of combination `index` of the axes from `first` on, without the other one. */
static void offsets(const plan *p, int first, int64_t index, int64_t *from, int64_t *to)
{
    *from = *to = 0;
    for (int i = first; i < p->rank; i++) {
        if (p->other && i == p->other)
            continue;
        *from += index % p->extent[i] * p->from[i];
        *to += index % p->extent[i] * p->to[i];
        index /= p->extent[i];
    }
}

/* --- runs: a task is a part of the second last axis, or of one long run --- */

enum { LONG_RUN = 4 * MGK_BLOCK_ELEMENTS };

static int64_t runs_a_block(const plan *p)
{
    return mgk_max(1, MGK_BLOCK_ELEMENTS / p->extent[0]);
}

static void run_block(void *arg, int64_t block, int thread)
{
    const plan *p = arg;
    const mgk_permute_args *a = p->a;
    const int64_t size = mgk_move_size(a->x.dtype), part = block % p->parts;
    int64_t from, to, first = 0, end = 1, at = 0, n = p->extent[0];
    (void)thread;
    offsets(p, 2, block / p->parts, &from, &to);
    if (p->rank == 1 || n > LONG_RUN) { /* parts of a run; its number is in what remains */
        int64_t cuts = mgk_div_up(n, LONG_RUN);
        first = part / cuts;
        end = first + 1;
        at = part % cuts * LONG_RUN;
        n = mgk_min(LONG_RUN, n - at);
    } else {
        first = part * runs_a_block(p);
        end = mgk_min(p->extent[1], first + runs_a_block(p));
    }
    for (int64_t i = first; i < end; i++)
        move_run((char *)a->y.p + (to + i * p->to[1] + at) * size,
                 (const char *)a->x.p + (from + i * p->from[1] + at) * size, n, size, a->x.dtype,
                 a->accumulate);
}

/* --- transposed: a task is some TILE columns by some TILEs of rows --- */

#define V_LEFT(l, s)  ((l) & (s) ? MGK_WIDTH + (l) - (s) : (l))
#define V_RIGHT(l, s) ((l) & (s) ? MGK_WIDTH + (l) : (l) + (s))
#if MGK_WIDTH == 16
#define V_MIX(a, b, F, s)                                                                          \
    __builtin_shufflevector(a, b, F(0, s), F(1, s), F(2, s), F(3, s), F(4, s), F(5, s), F(6, s),   \
                            F(7, s), F(8, s), F(9, s), F(10, s), F(11, s), F(12, s), F(13, s),     \
                            F(14, s), F(15, s))
#elif MGK_WIDTH == 8
#define V_MIX(a, b, F, s)                                                                          \
    __builtin_shufflevector(a, b, F(0, s), F(1, s), F(2, s), F(3, s), F(4, s), F(5, s), F(6, s),   \
                            F(7, s))
#else
#define V_MIX(a, b, F, s) __builtin_shufflevector(a, b, F(0, s), F(1, s), F(2, s), F(3, s))
#endif

/* Exchanges the blocks of s by s values off the diagonal. */
#define V_EXCHANGE(r, s)                                                                           \
    MGK_UNROLL                                                                                     \
    for (int i = 0; i < MGK_WIDTH; i++)                                                            \
        if (!(i & (s))) {                                                                          \
            vu upper = r[i], lower = r[(i + (s)) % MGK_WIDTH];                                     \
            r[i] = V_MIX(upper, lower, V_LEFT, s);                                                 \
            r[(i + (s)) % MGK_WIDTH] = V_MIX(upper, lower, V_RIGHT, s);                            \
        }

MGK_INLINE void transpose(vu r[MGK_WIDTH])
{
#if MGK_WIDTH == 16
    V_EXCHANGE(r, 8)
#endif
#if MGK_WIDTH >= 8
    V_EXCHANGE(r, 4)
#endif
    V_EXCHANGE(r, 2)
    V_EXCHANGE(r, 1)
}

/* n values of `size` bytes as 32-bit lanes, and back. */
typedef uint16_t short_lanes __attribute__((vector_size(2 * MGK_WIDTH)));
typedef uint8_t byte_lanes __attribute__((vector_size(MGK_WIDTH)));

MGK_INLINE vu read_lanes(const char *p, int64_t n, int size)
{
    if (size == 4)
        return (vu)v_load_lanes((const float *)(const void *)p, n);
    short_lanes s = {0};
    byte_lanes b = {0};
    if (size == 2) {
        if (n == MGK_WIDTH)
            memcpy(&s, p, sizeof s);
        else
            memcpy(&s, p, (size_t)n * 2);
        return __builtin_convertvector(s, vu);
    }
    if (n == MGK_WIDTH)
        memcpy(&b, p, sizeof b);
    else
        memcpy(&b, p, (size_t)n);
    return __builtin_convertvector(b, vu);
}

MGK_INLINE void write_lanes(char *p, int64_t n, vu v, int size)
{
    if (size == 4) {
        v_store_lanes((float *)(void *)p, n, (vf)v);
        return;
    }
    short_lanes s = __builtin_convertvector(v, short_lanes);
    byte_lanes b = __builtin_convertvector(v, byte_lanes);
    const void *from = size == 2 ? (const void *)&s : (const void *)&b;
    if (n == MGK_WIDTH)
        memcpy(p, from, (size_t)(MGK_WIDTH * size));
    else
        memcpy(p, from, (size_t)(n * size));
}

MGK_INLINE vu added(const char *p, int64_t n, vu v, int size)
{
    if (size == 4)
        return (vu)(v_load_lanes((const float *)(const void *)p, n) + (vf)v);
    uint16_t sum[MGK_WIDTH] = {0};
    v_to_bf16(sum, MGK_WIDTH, v_from_bf16((const uint16_t *)(const void *)p, n) + (vf)(v << 16));
    return read_lanes((const char *)sum, MGK_WIDTH, 2);
}

/* y[j * to + i] = x[i * from + j], i < rows, j < columns, both at most MGK_WIDTH. */
MGK_INLINE void move_tile(char *y, int64_t to, const char *x, int64_t from, int64_t rows,
                          int64_t columns, bool add, int size)
{
    vu r[MGK_WIDTH];
    MGK_UNROLL
    for (int i = 0; i < MGK_WIDTH; i++)
        r[i] = i < rows ? read_lanes(x + i * from * size, columns, size) : (vu){0};
    transpose(r);
    MGK_UNROLL
    for (int j = 0; j < MGK_WIDTH; j++)
        if (j < columns) {
            char *at = y + j * to * size;
            write_lanes(at, rows, add ? added(at, rows, r[j], size) : r[j], size);
        }
}

MGK_INLINE void move_matrix(char *y, int64_t to, const char *x, int64_t from, int64_t rows,
                            int64_t columns, bool add, int size)
{
    for (int64_t top = 0; top < rows; top += TILE)
        for (int64_t j = 0; j < columns; j += MGK_WIDTH)
            for (int64_t i = top; i < mgk_min(rows, top + TILE); i += MGK_WIDTH) {
                const int64_t m = mgk_min(MGK_WIDTH, rows - i), n = mgk_min(MGK_WIDTH, columns - j);
                char *t = y + (j * to + i) * size;
                const char *f = x + (i * from + j) * size;
                if (m == MGK_WIDTH && n == MGK_WIDTH)
                    move_tile(t, to, f, from, MGK_WIDTH, MGK_WIDTH, add, size);
                else
                    move_tile(t, to, f, from, m, n, add, size);
            }
}

/* A few rows or columns, as between pictures with their colours apart and together, and values of 8
 * bytes: tiles would be mostly empty. The shorter loop is the inner one and of constant length. */
#define MOVE_THIN(type)                                                                            \
    MGK_INLINE void move_wide_##type(type *y, int64_t to, const type *x, int64_t from,             \
                                     int64_t rows, int64_t columns)                                \
    {                                                                                              \
        for (int64_t j = 0; j < columns; j++)                                                      \
            for (int64_t i = 0; i < rows; i++)                                                     \
                y[j * to + i] = x[i * from + j];                                                   \
    }                                                                                              \
    MGK_INLINE void move_tall_##type(type *y, int64_t to, const type *x, int64_t from,             \
                                     int64_t rows, int64_t columns)                                \
    {                                                                                              \
        for (int64_t i = 0; i < rows; i++)                                                         \
            for (int64_t j = 0; j < columns; j++)                                                  \
                y[j * to + i] = x[i * from + j];                                                   \
    }                                                                                              \
    static void move_few_##type(void *y, int64_t to, const void *x, int64_t from, int64_t rows,    \
                                int64_t columns)                                                   \
    {                                                                                              \
        if (columns == 3)                                                                          \
            move_tall_##type(y, to, x, from, rows, 3);                                             \
        else if (rows == 3 && to == 3)                                                             \
            move_wide_##type(y, 3, x, from, 3, columns);                                           \
        else if (columns <= rows)                                                                  \
            move_tall_##type(y, to, x, from, rows, columns);                                       \
        else                                                                                       \
            move_wide_##type(y, to, x, from, rows, columns);                                       \
    }
MOVE_THIN(uint8_t)
MOVE_THIN(uint16_t)
MOVE_THIN(uint32_t)
MOVE_THIN(uint64_t)

static void move_few(char *y, int64_t to, const char *x, int64_t from, int64_t rows,
                     int64_t columns, int64_t size)
{
    if (size == 1)
        move_few_uint8_t(y, to, x, from, rows, columns);
    else if (size == 2)
        move_few_uint16_t(y, to, x, from, rows, columns);
    else if (size == 4)
        move_few_uint32_t(y, to, x, from, rows, columns);
    else
        move_few_uint64_t(y, to, x, from, rows, columns);
}

enum { ROWS = 16 * TILE }; /* a task's part of the last axis of y */

static void matrix_block(void *arg, int64_t block, int thread)
{
    const plan *p = arg;
    const mgk_permute_args *a = p->a;
    const int64_t size = mgk_move_size(a->x.dtype);
    int64_t from, to;
    (void)thread;
    offsets(p, 1, block / p->parts, &from, &to);
    int64_t row = block % p->parts / p->columns * ROWS, column = block % p->columns * TILE;
    int64_t rows = mgk_min(ROWS, p->extent[0] - row);
    int64_t columns = mgk_min(TILE, p->extent[p->other] - column);
    char *y = (char *)a->y.p + (to + column * p->to[p->other] + row) * size;
    const char *x = (const char *)a->x.p + (from + row * p->from[0] + column) * size;
    const int64_t few = mgk_min(p->extent[0], p->extent[p->other]);
    if (size == 8 || (few <= MGK_WIDTH / 2 && !a->accumulate))
        move_few(y, p->to[p->other], x, p->from[0], rows, columns, size);
    else if (size == 4)
        move_matrix(y, p->to[p->other], x, p->from[0], rows, columns, a->accumulate, 4);
    else if (size == 2)
        move_matrix(y, p->to[p->other], x, p->from[0], rows, columns, a->accumulate, 2);
    else
        move_matrix(y, p->to[p->other], x, p->from[0], rows, columns, false, 1);
}

MGK_LAUNCH(permute)
{
    plan p = plan_make(args);
    int64_t count = 1, blocks = 1;
    for (int i = 0; i < p.rank; i++)
        count *= p.extent[i];
    if (count == 0)
        return;
    if (p.other) {
        p.columns = mgk_div_up(p.extent[p.other], TILE);
        p.parts = p.columns * mgk_div_up(p.extent[0], ROWS);
        for (int i = 1; i < p.rank; i++)
            blocks *= i == p.other ? 1 : p.extent[i];
        mgk_for(x, blocks * p.parts, count, matrix_block, &p);
        return;
    }
    if (p.rank == 1 || p.extent[0] > LONG_RUN)
        p.parts = mgk_div_up(p.extent[0], LONG_RUN) * (p.rank > 1 ? p.extent[1] : 1);
    else
        p.parts = mgk_div_up(p.extent[1], runs_a_block(&p));
    for (int i = 2; i < p.rank; i++)
        blocks *= p.extent[i];
    mgk_for(x, blocks * p.parts, count, run_block, &p);
}
