/* SPDX-License-Identifier: MIT
 * Blocks of threads go through strips of output pixels: dy of a strip and what its pixels see of x are
 * copied to shared memory once, for all places of the kernel, while the strip before is multiplied. A warp
 * keeps the sums of 16 output and 16 input channels, at all places, in its registers from the first
 * strip to the last. Where channels are few, several warps share these and divide the pixels. */
#include "kernels/conv2d/conv2d_grad_weight_direct.h"

#include "kernels/common/cuda_async.h"
#include "kernels/common/cuda_wmma.h"
#include "kernels/conv2d/conv2d_cuda.h"

namespace
{

enum {
    WARPS = 8, /* of a block, at most */
    BLOCKS_A_SM = 2,
    BUFFER_BYTES = 47 * 1024, /* of a strip, of which a block has two */
    TILE = MGK_WMMA * MGK_WMMA,
    BATCH = 4 /* single values that a thread reads before it writes */
};

/* The pixels of a strip in one of the tensors, by rows, with the channels of a group of blocks of 16. */
struct window {
    const mgk_bf16 *p;
    int64_t image; /* values of one */
    int height, width, channels;
    int rows, columns, blocks;
    int pitch;         /* values from a pixel to the next in shared memory */
    int step, steps;   /* values that are read at once; how many times a pixel */
    divider row, each; /* by columns * steps, by steps */
    bool replicate;

    __host__ __device__ int size() const
    {
        return rows * columns * pitch;
    }
};

struct work {
    mgk_conv2d_args g;
    window x, y;
    int64_t strips, parts;
    divider across, down; /* strips of a picture */
    int groups, groups_in, splits;
    int chunks, segment, units; /* 16 columns by `segment` rows make a unit of work */
    int64_t columns;            /* sums an output channel */
};

/* Copies the pixels from (i0, j0) on, which may lie outside, and channels from c0 on. */
MGK_DEVICE void stage(const window &s, mgk_bf16 *to, int64_t image, int i0, int j0, int c0)
{
    const mgk_bf16 *from = s.p + image * s.image + c0;
    const int count = s.rows * (int)s.row.by, threads = (int)blockDim.x, t = (int)threadIdx.x;
    const auto find = [&](int at, int *source, int *place) {
        const int row = divide(at, s.row), rest = at - row * (int)s.row.by;
        const int column = divide(rest, s.each), c = (rest - column * s.steps) * s.step;
        int i = i0 + row, j = j0 + column;
        bool there = c0 + c < s.channels;
        if (s.replicate) {
            i = i < 0 ? 0 : i >= s.height ? s.height - 1 : i;
            j = j < 0 ? 0 : j >= s.width ? s.width - 1 : j;
        } else {
            there = there && i >= 0 && i < s.height && j >= 0 && j < s.width;
        }
        *source = there ? (i * s.width + j) * s.channels + c : 0;
        *place = (row * s.columns + column) * s.pitch + c;
        return there;
    };
    if (s.step > 1) {
        for (int at = t; at < count; at += threads) {
            int source, place;
            const bool there = find(at, &source, &place);
            mgk_async_copy16(to + place, from + source, there);
        }
        return;
    }
    for (int at = t; at < count; at += BATCH * threads) {
        mgk_bf16 value[BATCH];
        int place[BATCH];
#pragma unroll
        for (int n = 0; n < BATCH; n++) {
            int source;
            place[n] = -1;
            value[n].bits = 0;
            if (at + n * threads < count && find(at + n * threads, &source, &place[n]))
                value[n] = from[source];
        }
#pragma unroll
        for (int n = 0; n < BATCH; n++)
            if (place[n] >= 0)
                to[place[n]] = value[n];
    }
}

/* The first pixel of a strip. */
MGK_DEVICE pixel strip_pixel(const work &s, int strip)
{
    const int row = divide(strip, s.across), image = divide(row, s.down);
    return {image, (row - image * (int)s.down.by) * s.y.rows,
            (strip - row * (int)s.across.by) * s.y.columns};
}

/* Ends with a group of copies. */
MGK_DEVICE void stage_strip(const work &s, mgk_bf16 *y, int strip, int o0, int c0)
{
    const pixel at = strip_pixel(s, strip);
    stage(s.y, y, at.image, at.i, at.j, o0);
    stage(s.x, y + s.y.size(), at.image, at.i * (int)s.g.stride_h - (int)s.g.pad_top,
          at.j * (int)s.g.stride_w - (int)s.g.pad_left, c0);
    mgk_async_commit();
}

/* What a warp sums. */
template <int KH, int KW> struct sums {
    mgk_wmma_sum dw[KH * KW], db;
};

/* Adds a unit of work: `rows` rows of 16 pixels. y and x are those of its first row in shared memory. `ones`: a tile
 * of them, where the bias is summed, too. */
template <int KH, int KW>
MGK_DEVICE void add_unit(sums<KH, KW> &c, const work &s, const mgk_bf16 *y, const mgk_bf16 *x,
                         int rows, const mgk_bf16 *ones)
{
    const int y_row = s.y.columns * s.y.pitch, x_row = s.x.columns * s.x.pitch;
    for (int r = 0; r < rows; r++) {
        mgk_wmma_a_transposed a;
        mgk_wmma_b b;
        mgk_wmma_load(a, y + r * y_row, s.y.pitch);
#pragma unroll
        for (int p = 0; p < KH; p++)
#pragma unroll
            for (int q = 0; q < KW; q++) {
                mgk_wmma_load(b, x + (r * (int)s.g.stride_h + p) * x_row + q * s.x.pitch,
                              (int)s.g.stride_w * s.x.pitch);
                mgk_wmma_add(c.dw[p * KW + q], a, b);
            }
        if (ones) {
            mgk_wmma_load(b, ones, MGK_WMMA);
            mgk_wmma_add(c.db, a, b);
        }
    }
}

/* The same for stride_h 1, where a row of x is seen by KH rows of y, which stay in registers. */
template <int KH, int KW>
MGK_DEVICE void add_dense_unit(sums<KH, KW> &c, const work &s, const mgk_bf16 *y, const mgk_bf16 *x,
                               int rows, const mgk_bf16 *ones)
{
    const int y_row = s.y.columns * s.y.pitch, x_row = s.x.columns * s.x.pitch;
    mgk_wmma_a_transposed a[KH];
    for (int r = 0; r < rows + KH - 1; r++) {
        mgk_wmma_b b[KW];
#pragma unroll
        for (int p = KH - 1; p > 0; p--)
            a[p] = a[p - 1];
        if (r < rows)
            mgk_wmma_load(a[0], y + r * y_row, s.y.pitch);
#pragma unroll
        for (int q = 0; q < KW; q++)
            mgk_wmma_load(b[q], x + r * x_row + q * s.x.pitch, (int)s.g.stride_w * s.x.pitch);
#pragma unroll
        for (int p = 0; p < KH; p++)
            if (r >= p && r - p < rows)
#pragma unroll
                for (int q = 0; q < KW; q++)
                    mgk_wmma_add(c.dw[p * KW + q], a[p], b[q]);
        if (ones && r < rows) {
            mgk_wmma_load(b[0], ones, MGK_WMMA);
            mgk_wmma_add(c.db, a[0], b[0]);
        }
    }
}

/* The place of a warp: which channels, which share of the pixels. */
struct job {
    int split, o, c; /* blocks of channels in the group */
    bool idle, bias;

    __device__ __forceinline__ job(const work &s, int o0, int c0)
    {
        const int warp = (int)threadIdx.x / MGK_WARP, pairs = s.y.blocks * s.x.blocks;
        split = warp / pairs;
        o = warp % pairs / s.x.blocks;
        c = warp % pairs % s.x.blocks;
        idle = o0 + o * MGK_WMMA >= s.g.cout || c0 + c * MGK_WMMA >= s.g.cin;
        bias = s.g.bias.p && c0 + c == 0;
    }
};

template <int KH, int KW, bool DENSE>
MGK_DEVICE void add_strip(sums<KH, KW> &sum, const work &s, const job &j, const mgk_bf16 *y,
                          int strip, const mgk_bf16 *ones)
{
    const pixel at = strip_pixel(s, strip);
    const mgk_bf16 *x = y + s.y.size();
    for (int unit = j.split; unit < s.units; unit += s.splits) {
        const int segment = unit / s.chunks, row = segment * s.segment;
        const int column = (unit - segment * s.chunks) * MGK_WMMA;
        const int left = min(s.y.rows, (int)s.g.ho - at.i) - row, rows = min(s.segment, left);
        if (rows <= 0 || at.j + column >= s.g.wo)
            continue;
        const int x_row = row * (int)s.g.stride_h, x_column = column * (int)s.g.stride_w;
        const mgk_bf16 *from = y + (row * s.y.columns + column) * s.y.pitch + j.o * MGK_WMMA;
        const mgk_bf16 *seen = x + (x_row * s.x.columns + x_column) * s.x.pitch + j.c * MGK_WMMA;
        if (DENSE)
            add_dense_unit(sum, s, from, seen, rows, j.bias ? ones : NULL);
        else
            add_unit(sum, s, from, seen, rows, j.bias ? ones : NULL);
    }
}

/* Adds up what the warps that divide pixels have of one tile each, and writes it: those of the place `t` of the
 * kernel, or of the bias. scratch: a tile a warp. All threads of the block call it together. */
MGK_DEVICE void write_tiles(const work &s, const mgk_wmma_sum &sum, float *scratch, float *parts,
                            int o0, int c0, int64_t t, bool bias)
{
    const int pairs = s.y.blocks * s.x.blocks;
    mgk_wmma_store(scratch + (int)threadIdx.x / MGK_WARP * TILE, sum, MGK_WMMA);
    __syncthreads();
    for (int at = (int)threadIdx.x; at < pairs * TILE; at += (int)blockDim.x) {
        const int pair = at / TILE, m = at % TILE / MGK_WMMA, n = at % MGK_WMMA;
        const int64_t o = o0 + pair / s.x.blocks * MGK_WMMA + m;
        const int64_t c = c0 + pair % s.x.blocks * MGK_WMMA + n;
        if (o >= s.g.cout || (bias ? c > 0 : c >= s.g.cin))
            continue;
        float v = scratch[at];
        for (int split = 1; split < s.splits; split++)
            v += scratch[split * pairs * TILE + at];
        parts[o * s.columns + t * s.g.cin + c] = v;
    }
    __syncthreads();
}

template <int KH, int KW, bool DENSE>
__launch_bounds__(WARPS *MGK_WARP, BLOCKS_A_SM) MGK_KERNEL direct_kernel(const work s, float *parts)
{
    MGK_DYNAMIC_SHARED(mgk_bf16, shared);
    const int group = (int)blockIdx.x % s.groups;
    const int64_t part = (int)blockIdx.x / s.groups;
    const int o0 = group / s.groups_in * s.y.blocks * MGK_WMMA;
    const int c0 = group % s.groups_in * s.x.blocks * MGK_WMMA;
    const job j(s, o0, c0);
    const int end = (int)(s.strips * (part + 1) / s.parts);
    const int size = s.y.size() + s.x.size();
    mgk_bf16 *ones = shared + 2 * size;
    sums<KH, KW> sum;
    mgk_wmma_clear(sum.db);
#pragma unroll
    for (int t = 0; t < KH * KW; t++)
        mgk_wmma_clear(sum.dw[t]);
    for (int at = 8 * (int)threadIdx.x; at < 2 * size + TILE; at += 8 * (int)blockDim.x) {
        const uint32_t two = at < 2 * size ? 0 : 0x3f803f80; /* 0 or 1 */
        *(uint4 *)(shared + at) = make_uint4(two, two, two, two);
    }
    __syncthreads();
    int strip = (int)(s.strips * part / s.parts), now = 0;
    stage_strip(s, shared, strip, o0, c0);
    for (; strip < end; strip++) {
        if (strip + 1 < end)
            stage_strip(s, shared + (1 - now) * size, strip + 1, o0, c0);
        else
            mgk_async_commit();
        mgk_async_wait<1>();
        __syncthreads();
        if (!j.idle)
            add_strip<KH, KW, DENSE>(sum, s, j, shared + now * size, strip, ones);
        __syncthreads();
        now = 1 - now;
    }
    float *scratch = (float *)shared;
    parts += part * s.g.cout * s.columns;
#pragma unroll
    for (int t = 0; t < KH * KW; t++)
        write_tiles(s, sum.dw[t], scratch, parts, o0, c0, t, false);
    if (s.g.bias.p)
        write_tiles(s, sum.db, scratch, parts, o0, c0, KH * KW, true);
}

int up(int64_t a, int64_t b)
{
    return (int)((a + b - 1) / b);
}

/* The largest one up to `most`. */
int divisor(int a, int most)
{
    while (a % most != 0)
        most--;
    return most;
}

window make_window(mgk_buf b, int64_t height, int64_t width, int64_t channels, int blocks,
                   int64_t rows, int64_t columns)
{
    window s;
    s.p = (const mgk_bf16 *)b.p;
    s.image = height * width * channels;
    s.height = (int)height;
    s.width = (int)width;
    s.channels = (int)channels;
    s.rows = (int)rows;
    s.columns = (int)columns;
    s.blocks = blocks;
    s.pitch = (blocks | 1) * MGK_WMMA; /* odd: fewer bank conflicts */
    s.step = channels % 8 == 0 && (uintptr_t)b.p % 16 == 0 ? 8 : 1;
    s.steps = (int)(blocks * MGK_WMMA < channels ? blocks * MGK_WMMA : channels) / s.step;
    s.row = make_divider(columns * s.steps);
    s.each = make_divider(s.steps);
    s.replicate = false;
    return s;
}

/* For strips of rows x columns pixels. */
void make_windows(work *s, int y_blocks, int x_blocks, int rows, int columns)
{
    const mgk_conv2d_args &g = s->g;
    s->y = make_window(g.y, g.ho, g.wo, g.cout, y_blocks, rows, columns);
    s->x = make_window(g.x, g.h, g.w, g.cin, x_blocks, (rows - 1) * g.stride_h + g.kh,
                       (columns - 1) * g.stride_w + g.kw);
    s->x.replicate = g.pad_mode == MGK_PAD_REPLICATE;
}

/* The strips that make the least work, with what they see around them; false if none fits. */
bool choose_strips(work *s, int y_blocks, int x_blocks)
{
    const int overhead = 2048; /* bytes that the barriers of a strip are worth */
    int64_t least = INT64_MAX;
    int rows = 0, columns = 0;
    for (int c = MGK_WMMA; c <= 8 * MGK_WMMA && (c == MGK_WMMA || c < 2 * s->g.wo); c *= 2)
        for (int r = 1; r <= 32 && r < 2 * s->g.ho; r *= 2) {
            make_windows(s, y_blocks, x_blocks, r, c);
            const int64_t bytes = (int64_t)(s->y.size() + s->x.size()) * 2;
            const int64_t cost = (bytes + overhead) * up(s->g.ho, r) * up(s->g.wo, c);
            if (bytes <= BUFFER_BYTES && cost < least) {
                least = cost;
                rows = r;
                columns = c;
            }
        }
    if (rows == 0)
        return false;
    make_windows(s, y_blocks, x_blocks, rows, columns);
    s->chunks = columns / MGK_WMMA;
    const int segments = s->splits > s->chunks ? s->splits / s->chunks : 1;
    s->segment = up(rows, segments);
    s->units = s->chunks * segments;
    return true;
}

bool make_work(const mgk_conv2d_args *args, work *s)
{
    mgk_conv2d_args &g = s->g;
    g = *args;
    const bool shape = (g.kh == 3 && g.kw == 3) || ((g.kh == 3 || g.kh == 1) && g.kw == 1);
    const int64_t most = INT32_MAX / 2;
    if (g.x.dtype != MGK_BF16 || !shape || g.stride_h > 2 || g.stride_w > 2 || g.cin > 128 ||
        g.cout > 128 || g.n < 1 || g.h > most / g.cin / g.w || g.ho > most / g.cout / g.wo ||
        g.n > most / g.ho / g.wo || g.pad_top > most / 2 || g.pad_left > most / 2)
        return false;
    if (g.kh == 1 && g.kw == 1 && g.h == g.ho && g.w == g.wo && g.pad_top == 0 && g.pad_left == 0) {
        g.w = g.wo = g.h * g.w; /* one row */
        g.h = g.ho = 1;
    }
    const int outs = up(g.cout, MGK_WMMA), ins = up(g.cin, MGK_WMMA);
    const int y_blocks = divisor(outs, 4), x_blocks = divisor(ins, WARPS / y_blocks);
    const int pairs = y_blocks * x_blocks;
    s->splits = pairs == 1 ? 8 : pairs == 2 ? 4 : pairs <= 4 ? 2 : 1;
    s->groups_in = up(ins, x_blocks);
    s->groups = up(outs, y_blocks) * s->groups_in;
    s->columns = g.kh * g.kw * g.cin + (g.bias.p ? 1 : 0);
    if (!choose_strips(s, y_blocks, x_blocks))
        return false;
    s->across = make_divider(up(g.wo, s->y.columns));
    s->down = make_divider(up(g.ho, s->y.rows));
    s->strips = g.n * s->across.by * s->down.by;
    const int64_t wanted = MGK_GEMM_BLOCKS / s->groups > 0 ? MGK_GEMM_BLOCKS / s->groups : 1;
    const int64_t useful = (s->strips + 1) / 2; /* a strip is copied while another is multiplied */
    s->parts = useful < wanted ? useful : wanted;
    return true;
}

template <int KH, int KW, bool DENSE> void launch(const work &s, float *parts, mgk_exec *x)
{
    const int warps = s.y.blocks * s.x.blocks * s.splits;
    const size_t bytes = ((size_t)(s.y.size() + s.x.size()) * 2 + TILE) * sizeof(mgk_bf16);
    const size_t scratch = (size_t)warps * TILE * sizeof(float);
    const size_t shared = bytes > scratch ? bytes : scratch;
    MGK_ALLOW_SHARED((direct_kernel<KH, KW, DENSE>), shared);
    MGK_LAUNCH(x, (direct_kernel<KH, KW, DENSE>), (unsigned)(s.parts * s.groups), warps * MGK_WARP,
               shared, s, parts);
}

} // namespace

int64_t mgk_conv2d_grad_weight_direct_parts(const mgk_conv2d_args *g)
{
    work s;
    return make_work(g, &s) ? s.parts : 0;
}

void mgk_conv2d_grad_weight_direct(const mgk_conv2d_args *g, float *parts, mgk_exec *x)
{
    work s;
    if (!make_work(g, &s))
        return;
    if (s.g.kw == 3)
        s.g.stride_h == 1 ? launch<3, 3, true>(s, parts, x) : launch<3, 3, false>(s, parts, x);
    else if (s.g.kh == 3)
        s.g.stride_h == 1 ? launch<3, 1, true>(s, parts, x) : launch<3, 1, false>(s, parts, x);
    else
        launch<1, 1, false>(s, parts, x);
}
