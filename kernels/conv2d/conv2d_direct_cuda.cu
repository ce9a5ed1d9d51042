/* SPDX-License-Identifier: MIT
 * Direct convolution on tensor cores. A block computes a tile of pixels of one picture: it keeps what the tile sees
 * of 16 channels in shared memory, and for each place of the kernel multiplies 16 pixels of a row, which lie there
 * one behind the other, with that place's weights. A warp has several rows below each other, so that what it reads
 * of a row serves all rows of the kernel.
 *
 * The gradient of the input is the same with the kernel turned round and the channels' roles swapped. The first and
 * last rows of a picture that stand for padding collect the padding's gradients: those of the rows above and below
 * them, were they part of the picture. */
#include "kernels/conv2d/conv2d_direct_cuda.h"
#include "kernels/common/cuda_vector.h"
#include "kernels/common/cuda_wmma.h"
#include "kernels/conv2d/conv2d_cuda.h"

enum {
    THREADS = 256,
    WARPS = THREADS / MGK_WARP,
    DEPTH = MGK_WMMA,    /* channels in shared memory */
    PIECES = DEPTH / 8,  /* of 16 bytes, a pixel */
    SUMS = MGK_WMMA + 4, /* floats of a row of a tile on its way out */
    SHARED_MAX = 48 * 1024
};

struct task {
    const mgk_bf16 *in, *weight;
    const float *bias;
    mgk_bf16 *out;
    int in_h, in_w, in_channels, out_h, out_w, out_channels, cin, cout;
    int top, left,
        stride_w;     /* pixel (i, j) sees from (i * stride_h - top, j * stride_w - left) on */
    int above, below; /* rows of padding which the first and the last row stand for */
    /* of the whole kernel: its places, the first one used, steps to the next one used */
    int places, place0, place_down, place_right;
    int out_down, out_right; /* steps between pixels written */
    int64_t out_pixels;      /* of a picture */
    int warps_across, tiles_down, tiles_across, channel_blocks;
    int64_t images;
    divider seen_w; /* columns that a tile sees */
    bool nearest, accumulate, in_vectors, weight_vectors, out_vectors;
};

/* KH x KW places; a warp has ROWS rows of 16 pixels and BLOCKS * 16 channels. */
template <int KH_, int KW_, int STRIDE_, int BLOCKS_, bool TURNED_, bool EDGES_> struct form {
    static constexpr int KH = KH_, KW = KW_, PLACES = KH * KW, STRIDE = STRIDE_, BLOCKS = BLOCKS_;
    static constexpr int ROWS = (BLOCKS == 1 ? 4 : 2) / STRIDE, CHANNELS = BLOCKS * MGK_WMMA;
    static constexpr int SEEN_ROWS = (ROWS - 1) * STRIDE + KH; /* of a warp */
    static constexpr bool TURNED = TURNED_, EDGES = EDGES_;
    /* of the weights in shared memory: a row for each channel of y, all places in it */
    static constexpr int WEIGHTS = TURNED ? DEPTH : CHANNELS, WIDTH = TURNED ? CHANNELS : DEPTH;
    static constexpr int PITCH = PLACES * WIDTH + 8; /* against bank conflicts */
};

struct weights_forward {
    typedef mgk_wmma_b_transposed matrix;
};
struct weights_turned {
    typedef mgk_wmma_b matrix;
};
template <bool TURNED> struct weights_of : weights_forward {
};
template <> struct weights_of<true> : weights_turned {
};

MGK_DEVICE uint32_t two(mgk_bf16 a, mgk_bf16 b)
{
    return a.bits | (uint32_t)b.bits << 16;
}

/* p[0..7], of which `count` exist */
MGK_DEVICE uint4 load_piece(const mgk_bf16 *p, int count)
{
    mgk_bf16 v[8];
#pragma unroll
    for (int c = 0; c < 8; c++) {
        v[c].bits = 0;
        if (c < count)
            v[c] = p[c];
    }
    return make_uint4(two(v[0], v[1]), two(v[2], v[3]), two(v[4], v[5]), two(v[6], v[7]));
}

/* `piece(n)` for the thread's n below count, to shared memory at `at(n)`, several on the way at once */
template <typename Piece, typename At>
MGK_DEVICE void stage(int count, const Piece &piece, const At &at)
{
    enum { FLIGHT = 4 };
    for (int n = (int)threadIdx.x; n < count; n += FLIGHT * THREADS) {
        uint4 v[FLIGHT];
#pragma unroll
        for (int f = 0; f < FLIGHT; f++)
            v[f] = n + f * THREADS < count ? piece(n + f * THREADS) : make_uint4(0, 0, 0, 0);
#pragma unroll
        for (int f = 0; f < FLIGHT; f++)
            if (n + f * THREADS < count)
                *(uint4 *)at(n + f * THREADS) = v[f];
    }
}

/* What the tile sees of channels c0 .. c0 + 15, from row i0 and column j0 on. */
MGK_DEVICE void stage_picture(const task &s, const mgk_bf16 *image, int i0, int j0, int c0,
                              int pixels, mgk_bf16 *seen)
{
    stage(
        pixels * PIECES,
        [&](int n) {
            const int at = n / PIECES, c = c0 + n % PIECES * 8;
            const int row = divide(at, s.seen_w);
            int i = i0 + row, j = j0 + at - row * (int)s.seen_w.by;
            bool in = c < s.in_channels;
            if (s.nearest) {
                i = i < 0 ? 0 : i >= s.in_h ? s.in_h - 1 : i;
                j = j < 0 ? 0 : j >= s.in_w ? s.in_w - 1 : j;
            } else {
                in = in && i >= 0 && i < s.in_h && j >= 0 && j < s.in_w;
            }
            if (!in)
                return make_uint4(0, 0, 0, 0);
            const mgk_bf16 *p = image + (int64_t)(i * s.in_w + j) * s.in_channels + c;
            return s.in_vectors ? *(const uint4 *)p : load_piece(p, s.in_channels - c);
        },
        [&](int n) { return seen + n * 8; });
}

/* The weights between channels c0 .. of the picture read and o0 .. of the one written. */
template <typename F>
MGK_DEVICE void stage_weights(const task &s, int c0, int o0, mgk_bf16 *weights)
{
    const int row0 = F::TURNED ? c0 : o0, column0 = F::TURNED ? o0 : c0;
    constexpr int ACROSS = F::WIDTH / 8;
    stage(
        F::WEIGHTS * F::PLACES * ACROSS,
        [&](int n) {
            const int row = n / ACROSS, c = column0 + n % ACROSS * 8;
            const int o = row0 + row / F::PLACES, place = row % F::PLACES;
            if (o >= s.cout || c >= s.cin)
                return make_uint4(0, 0, 0, 0);
            const int at = s.place0 + place / F::KW * s.place_down + place % F::KW * s.place_right;
            const mgk_bf16 *p = s.weight + (o * s.places + at) * s.cin + c;
            return s.weight_vectors ? *(const uint4 *)p : load_piece(p, s.cin - c);
        },
        [&](int n) {
            const int row = n / ACROSS, place = row % F::PLACES;
            return weights + row / F::PLACES * F::PITCH + place * F::WIDTH + n % ACROSS * 8;
        });
}

/* The sums of a warp's rows from row i on += what `seen` (of its first pixel) and the weights give. */
template <typename F>
MGK_DEVICE void multiply(const task &s, int i, const mgk_bf16 *seen, const mgk_bf16 *weights,
                         mgk_wmma_sum (*sums)[F::BLOCKS])
{
#pragma unroll 1
    for (int q = 0; q < F::KW; q++) {
        typename weights_of<F::TURNED>::matrix w[F::KH][F::BLOCKS];
#pragma unroll
        for (int p = 0; p < F::KH; p++)
#pragma unroll
            for (int b = 0; b < F::BLOCKS; b++) {
                if (F::TURNED)
                    mgk_wmma_load(w[p][b],
                                  weights + (F::PLACES - 1 - p * F::KW - q) * F::WIDTH +
                                      b * MGK_WMMA,
                                  F::PITCH);
                else
                    mgk_wmma_load(w[p][b],
                                  weights + b * MGK_WMMA * F::PITCH + (p * F::KW + q) * F::WIDTH,
                                  F::PITCH);
            }
#pragma unroll
        for (int r = 0; r < F::SEEN_ROWS; r++) {
            mgk_wmma_a a;
            mgk_wmma_load(a, seen + (r * (int)s.seen_w.by + q) * DEPTH, s.stride_w * DEPTH);
#pragma unroll
            for (int row = 0; row < F::ROWS; row++) {
                const int here = r - row * F::STRIDE;
                if (here < 0 || here >= F::KH)
                    continue;
#pragma unroll
                for (int p = 0; p < F::KH; p++) {
                    bool wanted = p == here;
                    if (F::EDGES && p > here)
                        wanted = i + row == 0 && p - here <= s.above;
                    else if (F::EDGES && p < here)
                        wanted = i + row == s.out_h - 1 && here - p <= s.below;
                    if (wanted)
#pragma unroll
                        for (int b = 0; b < F::BLOCKS; b++)
                            mgk_wmma_add(sums[row][b], a, w[p][b]);
                }
            }
        }
    }
}

/* Eight values of a pixel, of which `count` exist, from channel c on. */
MGK_DEVICE void finish(const task &s, float *v, mgk_bf16 *out, int c, int count)
{
    if (s.bias)
#pragma unroll
        for (int e = 0; e < 8; e++)
            if (e < count)
                v[e] += s.bias[c + e];
    if (s.accumulate) {
        float before[8];
        mgk_load_part(out, before, s.out_vectors, count);
#pragma unroll
        for (int e = 0; e < 8; e++)
            v[e] += before[e];
    }
    mgk_store_part(out, v, s.out_vectors, count);
}

/* A warp's sums, whose first pixel is (i, j) and first channel c0, by way of its part of shared memory. */
template <typename F>
MGK_DEVICE void write(const task &s, mgk_bf16 *image, int i, int j, int c0, float *scratch,
                      mgk_wmma_sum (*sums)[F::BLOCKS])
{
    const int lane = (int)threadIdx.x % MGK_WARP, at = lane / 2, half = lane % 2 * 8;
#pragma unroll
    for (int row = 0; row < F::ROWS; row++)
#pragma unroll
        for (int b = 0; b < F::BLOCKS; b++) {
            mgk_wmma_store(scratch, sums[row][b], SUMS);
            __syncwarp();
            const int c = c0 + b * MGK_WMMA + half;
            if (i + row < s.out_h && j + at < s.out_w && c < s.out_channels) {
                float v[8];
#pragma unroll
                for (int e = 0; e < 8; e++)
                    v[e] = scratch[at * SUMS + half + e];
                const int64_t pixel = (int64_t)(i + row) * s.out_down + (j + at) * s.out_right;
                finish(s, v, image + pixel * s.out_channels + c, c, s.out_channels - c);
            }
            __syncwarp();
        }
}

template <typename F>
__launch_bounds__(THREADS, F::BLOCKS == 3 ? 2 : 3) MGK_KERNEL conv2d_direct_kernel(const task s)
{
    MGK_DYNAMIC_SHARED(mgk_bf16, seen);
    const int down = WARPS / s.warps_across * F::ROWS, across = s.warps_across * MGK_WMMA;
    const int pixels = ((down - 1) * F::STRIDE + F::KH) * (int)s.seen_w.by;
    mgk_bf16 *const weights = seen + pixels * DEPTH;

    unsigned block = blockIdx.x;
    const int c0 = (int)(block % (unsigned)s.channel_blocks) * F::CHANNELS;
    block /= (unsigned)s.channel_blocks;
    const int j0 = (int)(block % (unsigned)s.tiles_across) * across;
    block /= (unsigned)s.tiles_across;
    const int i0 = (int)(block % (unsigned)s.tiles_down) * down;
    const int64_t image = block / (unsigned)s.tiles_down;
    const mgk_bf16 *const in = s.in + image * s.in_h * s.in_w * s.in_channels;
    mgk_bf16 *const out = s.out + image * s.out_pixels * s.out_channels;

    const int warp = (int)threadIdx.x / MGK_WARP;
    const int row = warp / s.warps_across * F::ROWS, column = warp % s.warps_across * MGK_WMMA;
    const bool active = i0 + row < s.out_h && j0 + column < s.out_w;
    const mgk_bf16 *const mine =
        seen + (row * F::STRIDE * (int)s.seen_w.by + column * s.stride_w) * DEPTH;

    mgk_wmma_sum sums[F::ROWS][F::BLOCKS];
#pragma unroll
    for (int r = 0; r < F::ROWS; r++)
#pragma unroll
        for (int b = 0; b < F::BLOCKS; b++)
            mgk_wmma_clear(sums[r][b]);
    for (int c = 0; c < s.in_channels; c += DEPTH) {
        stage_picture(s, in, i0 * F::STRIDE - s.top, j0 * s.stride_w - s.left, c, pixels, seen);
        stage_weights<F>(s, c, c0, weights);
        __syncthreads();
        if (active)
            multiply<F>(s, i0 + row, mine, weights, sums);
        __syncthreads();
    }
    if (active)
        write<F>(s, out, i0 + row, j0 + column, c0, (float *)seen + warp * MGK_WMMA * SUMS, sums);
}

/* Pixels that a tile sees if it is `warps` warps wide. */
template <typename F> static int seen_columns(const task &s, int warps)
{
    return (warps * MGK_WMMA - 1) * s.stride_w + F::KW;
}

template <typename F> static int seen_pixels(const task &s, int warps)
{
    return ((WARPS / warps * F::ROWS - 1) * F::STRIDE + F::KH) * seen_columns<F>(s, warps);
}

template <typename F> static int shared_bytes(const task &s, int warps)
{
    const int bytes =
        (seen_pixels<F>(s, warps) * DEPTH + F::WEIGHTS * F::PITCH) * (int)sizeof(mgk_bf16);
    const int sums = WARPS * MGK_WMMA * SUMS * (int)sizeof(float);
    return bytes > sums ? bytes : sums;
}

/* With tiles of the shape that sees the fewest pixels in all. Small pictures, of which a tile would be
 * a small part, are better served by products, unless it `must`. */
template <typename F> static bool launch(task s, bool must, mgk_exec *x)
{
    int64_t least = 0;
    for (int warps = 1; warps <= WARPS; warps *= 2) {
        const int down = WARPS / warps * F::ROWS, across = warps * MGK_WMMA;
        const int64_t tiles =
            (int64_t)((s.out_h + down - 1) / down) * ((s.out_w + across - 1) / across);
        const int64_t pixels = tiles * seen_pixels<F>(s, warps);
        if (shared_bytes<F>(s, warps) > SHARED_MAX || (least && pixels >= least))
            continue;
        least = pixels;
        s.warps_across = warps;
        s.tiles_down = (s.out_h + down - 1) / down;
        s.tiles_across = (s.out_w + across - 1) / across;
    }
    if (!least)
        return false;
    s.seen_w = make_divider(seen_columns<F>(s, s.warps_across));
    s.channel_blocks = (s.out_channels + F::CHANNELS - 1) / F::CHANNELS;
    const double blocks = (double)s.images * s.tiles_down * s.tiles_across * s.channel_blocks;
    const double seen = (double)s.in_h * s.in_w;
    if (blocks > INT32_MAX || (!must && F::KW > 1 && (double)least > 4 * seen))
        return false;
    MGK_LAUNCH(x, conv2d_direct_kernel<F>, (unsigned)blocks, THREADS,
               (unsigned)shared_bytes<F>(s, s.warps_across), s);
    return true;
}

template <int KH, int KW, int STRIDE, bool TURNED, bool EDGES>
static bool launch_form(const task &s, mgk_exec *x, bool must = false)
{
    if (s.out_channels <= 16)
        return launch<form<KH, KW, STRIDE, 1, TURNED, EDGES>>(s, must, x);
    if (s.out_channels > 32 && (s.out_channels + 47) / 48 * 48 <= (s.out_channels + 31) / 32 * 32)
        return launch<form<KH, KW, STRIDE, 3, TURNED, EDGES>>(s, must, x);
    return launch<form<KH, KW, STRIDE, 2, TURNED, EDGES>>(s, must, x);
}

static bool launch_forward(const mgk_conv2d_args *g, const task &s, mgk_exec *x)
{
    if (g->kh == 3 && g->kw == 3)
        return g->stride_h == 1 ? launch_form<3, 3, 1, false, false>(s, x)
                                : launch_form<3, 3, 2, false, false>(s, x);
    if (g->kh == 3 && g->kw == 1)
        return g->stride_h == 1 ? launch_form<3, 1, 1, false, false>(s, x)
                                : launch_form<3, 1, 2, false, false>(s, x);
    if (g->kh == 2 && g->kw == 2 && g->stride_h == 1)
        return launch_form<2, 2, 1, false, false>(s, x);
    if (g->kh == 2 && g->kw == 1 && g->stride_h == 1)
        return launch_form<2, 1, 1, false, false>(s, x);
    if (g->kh == 1 && g->kw == 1 && g->stride_h == 1)
        return launch_form<1, 1, 1, false, false>(s, x);
    return false;
}

/* The rows (columns) of x that find the same places of the kernel: each `stride`-th from `first` on sees dy
 * from its own number - before on, at `places` places of the kernel from `place` on, `stride` apart. */
struct phase {
    int first, count, place, places, before;
};

static phase make_phase(int place, int64_t size, int64_t kernel, int64_t stride, int64_t pad)
{
    phase f;
    const int skipped = pad > place ? (int)((pad - place + stride - 1) / stride) : 0;
    f.first = (int)(place + skipped * stride - pad);
    f.count = f.first < size ? (int)((size - f.first + stride - 1) / stride) : 0;
    f.place = place;
    f.places = (int)((kernel - place + stride - 1) / stride);
    f.before = f.places - 1 - skipped;
    return f;
}

/* With strides, only some places of the kernel reach a pixel, the same for each stride-th pixel: as many
 * convolutions without strides, each of which writes part of x. */
static bool launch_strided(const mgk_conv2d_args *g, const task &whole, mgk_exec *x)
{
    const bool in_space = g->kw == 3 && g->stride_w == 2, in_time = g->kw == 1 && g->stride_w == 1;
    if (g->kh != 3 || g->stride_h != 2 || !(in_space || in_time) || g->pad_top > 2 ||
        g->pad_left > 2 || g->w / g->stride_w < 8 ||
        (double)g->n * (double)g->h * (double)g->w > INT32_MAX / 32)
        return false;
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < g->stride_w; b++) {
            const phase down = make_phase(a, g->h, g->kh, g->stride_h, g->pad_top);
            const phase right = make_phase(b, g->w, g->kw, g->stride_w, g->pad_left);
            if (down.count == 0 || right.count == 0)
                continue;
            task s = whole;
            s.out += (down.first * g->w + right.first) * g->cin;
            s.out_h = down.count;
            s.out_w = right.count;
            s.out_down = (int)(g->stride_h * g->w);
            s.out_right = (int)g->stride_w;
            s.top = down.before;
            s.left = right.before;
            s.stride_w = 1;
            s.place0 = down.place * (int)g->kw + right.place;
            s.place_down = (int)(g->stride_h * g->kw);
            s.place_right = (int)g->stride_w;
            if (down.places == 2)
                right.places == 2 ? launch_form<2, 2, 1, true, false>(s, x, true)
                                  : launch_form<2, 1, 1, true, false>(s, x, true);
            else
                right.places == 2 ? launch_form<1, 2, 1, true, false>(s, x, true)
                                  : launch_form<1, 1, 1, true, false>(s, x, true);
        }
    return true;
}

static bool launch_turned(const mgk_conv2d_args *g, const task &s, mgk_exec *x)
{
    const bool edges = g->pad_mode == MGK_PAD_REPLICATE &&
                       (g->pad_top || g->pad_bottom || g->pad_left || g->pad_right);
    if (g->stride_h != 1 || g->stride_w != 1)
        return !edges && launch_strided(g, s, x);
    if (edges) {
        const bool in_time = g->kh == 3 && g->kw == 1 && g->pad_left == 0 && g->pad_right == 0;
        return in_time && g->pad_top <= 2 && g->pad_bottom <= 2 &&
               launch_form<3, 1, 1, true, true>(s, x);
    }
    if (g->kh == 3 && g->kw == 3)
        return launch_form<3, 3, 1, true, false>(s, x);
    if (g->kh == 3 && g->kw == 1)
        return launch_form<3, 1, 1, true, false>(s, x);
    if (g->kh == 1 && g->kw == 1)
        return launch_form<1, 1, 1, true, false>(s, x);
    return false;
}

static bool fits(const mgk_conv2d_args *g)
{
    const int64_t pixels_max = INT32_MAX / 2;
    return g->x.dtype == MGK_BF16 && g->h > 0 && g->w > 0 && g->ho > 0 && g->wo > 0 &&
           g->cin <= 1024 && g->cout <= 1024 && g->stride_h <= 2 && g->stride_w <= 2 &&
           g->h <= pixels_max / g->w && g->ho <= pixels_max / g->wo && g->pad_top < 1024 &&
           g->pad_left < 1024;
}

bool mgk_conv2d_direct(const mgk_conv2d_args *args, bool grad_input, mgk_exec *x)
{
    mgk_conv2d_args g = *args;
    if (!fits(&g))
        return false;
    const bool padded = g.pad_top || g.pad_bottom || g.pad_left || g.pad_right;
    if (g.kh == 1 && g.kw == 1 && g.stride_h == 1 && g.stride_w == 1 && !padded &&
        g.n <= INT32_MAX / 2 / (g.h * g.w)) { /* one picture, of a row for each of them */
        g.w = g.wo = g.h * g.w;
        g.h = g.ho = g.n;
        g.n = 1;
    }
    const mgk_buf in = grad_input ? g.y : g.x, out = grad_input ? g.x : g.y;
    task s;
    memset(&s, 0, sizeof s);
    s.in = (const mgk_bf16 *)in.p;
    s.weight = (const mgk_bf16 *)g.weight.p;
    s.bias = grad_input ? NULL : (const float *)g.bias.p;
    s.out = (mgk_bf16 *)out.p;
    s.in_h = (int)(grad_input ? g.ho : g.h);
    s.in_w = (int)(grad_input ? g.wo : g.w);
    s.in_channels = (int)(grad_input ? g.cout : g.cin);
    s.out_h = (int)(grad_input ? g.h : g.ho);
    s.out_w = (int)(grad_input ? g.w : g.wo);
    s.out_channels = (int)(grad_input ? g.cin : g.cout);
    s.cin = (int)g.cin;
    s.cout = (int)g.cout;
    s.top = (int)(grad_input ? g.kh - 1 - g.pad_top : g.pad_top);
    s.left = (int)(grad_input ? g.kw - 1 - g.pad_left : g.pad_left);
    s.stride_w = (int)g.stride_w;
    s.above = (int)g.pad_top;
    s.below = (int)g.pad_bottom;
    s.places = (int)(g.kh * g.kw);
    s.place_down = (int)g.kw;
    s.place_right = 1;
    s.out_down = s.out_w;
    s.out_right = 1;
    s.out_pixels = (int64_t)s.out_h * s.out_w;
    s.images = g.n;
    s.nearest = !grad_input && g.pad_mode == MGK_PAD_REPLICATE;
    s.accumulate = grad_input && g.accumulate;
    s.in_vectors = s.in_channels % 8 == 0 && mgk_is_aligned(in);
    s.weight_vectors = s.cin % 8 == 0 && mgk_is_aligned(g.weight);
    s.out_vectors = s.out_channels % 8 == 0 && mgk_is_aligned(out);
    return grad_input ? launch_turned(&g, s, x) : launch_forward(&g, s, x);
}
