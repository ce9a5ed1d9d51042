/* SPDX-License-Identifier: MIT
 * The gradient of the weights by warpgroups (sm_90a): bf16, sums in f32, for each place of the kernel a product of dy,
 * transposed, with what its pixels saw of x there (cuda_products.h).
 *
 * A stage is a patch of 64 pixels: both factors lie by columns, channels along the 128 bytes. The sum over the patches is
 * divided into parts. That of the bias is added up from the stages by the blocks of the first place and channels. */
#include "kernels/common/cuda_products.h"
#include "kernels/common/cuda_vector.h"
#include "kernels/conv2d/conv2d_grad_weight_sm90.h"
#include "kernels/conv2d/conv2d_sm90.h"

namespace
{

struct weight_maps {
    mgk_tensor_map dy, x;
};

struct weights {
    mgk_conv_form form;
    mgk_conv_weight_tiles tiles;
    int64_t columns; /* kh * kw * cin, and one for the bias if it is given */
    float *parts;
    bool bias;
};

/* What a cluster does at a time. */
struct weight_task {
    int32_t part, first, steps; /* patches */
    int32_t i, j, place;        /* channels of y and of x */
};

template <typename S> struct weight_work : mgk_product_block<S> {
    const weights &c;

    __device__ __forceinline__ weight_work(const weights &what, unsigned char *memory)
        : mgk_product_block<S>(memory), c(what)
    {
    }

    __device__ __forceinline__ int32_t tasks() const
    {
        return (int32_t)(c.tiles.count * c.tiles.parts);
    }

    /* All tiles of a part follow one another: they read the same pixels. */
    __device__ __forceinline__ weight_task task_of(int32_t at) const
    {
        const int32_t count = (int32_t)c.tiles.count, m = (int32_t)c.tiles.m;
        const int32_t n = (int32_t)c.tiles.n, patches = (int32_t)c.tiles.patches_a_part;
        weight_task t;
        t.part = at / count;
        t.first = t.part * patches;
        t.steps = (int32_t)c.tiles.patches.count - t.first;
        t.steps = t.steps < patches ? t.steps : patches;
        int32_t tile = at % count;
        t.i = (tile % m * S::CLUSTER + (int32_t)this->rank) * S::M;
        tile /= m;
        t.j = tile % n * S::N;
        t.place = tile / n;
        return t;
    }

    /* By one thread. Place (0, 0) of the patch reads x at (top, left). */
    __device__ __forceinline__ void load(const weight_maps &maps, const weight_task &t,
                                         const mgk_conv_pixel &at, int32_t top, int32_t left,
                                         uint32_t stage) const
    {
        const uint32_t full = this->barrier(S::FULL, stage);
        mgk_barrier_expect(full, S::A_BYTES + S::B_BYTES);
#pragma unroll
        for (int panel = 0; panel < S::M / MGK_PANEL; panel++)
            mgk_tma_load(this->a(stage) + panel * S::K * MGK_PANEL_ROW, &maps.dy, full,
                         t.i + panel * MGK_PANEL, at.j, at.i, at.image);
        this->load_b(&maps.x, stage, t.j, top, left, at.image);
    }

    __device__ __forceinline__ void copy(const weight_maps &maps) const
    {
        const mgk_conv_form &f = c.form;
        mgk_stage s = {0, 0};
        for (int32_t at = (int32_t)this->first_task(); at < tasks();
             at += (int32_t)this->task_step()) {
            weight_task t = task_of(at);
            const int32_t p = t.place / f.kw, q = t.place - p * f.kw;
            mgk_conv_pixel patch = mgk_conv_patch(&c.tiles.patches, t.first);
            for (; t.steps > 0; t.steps--, mgk_stage_next(&s, S::STAGES)) {
                mgk_barrier_wait(this->barrier(S::EMPTY, s.index), s.parity ^ 1);
                if (threadIdx.x == 0)
                    load(maps, t, patch, mgk_conv_row(&f, patch.i * f.step_h + p - f.top),
                         patch.j * f.step_w + q - f.left, s.index);
                mgk_conv_next_patch(&c.tiles.patches, &patch);
            }
        }
    }
};

/* Of the bias: a warp has 16 channels, a thread two of them and each fourth pixel. */
template <typename S> struct bias_sums {
    const mgk_product_sums<S> &of;
    bool wanted;
    float sums[2];

    __device__ __forceinline__ bias_sums(const mgk_product_sums<S> &group, bool bias)
        : of(group), wanted(bias), sums{0, 0}
    {
    }

    __device__ __forceinline__ int channel() const
    {
        return of.me.thread / MGK_WARP * 16 + of.me.lane % 8 * 2;
    }

    __device__ __forceinline__ void operator()(uint32_t stage)
    {
        if (!wanted)
            return;
        const unsigned char *panel =
            of.block.bytes + S::A + stage * S::A_BYTES + of.me.group * S::K * MGK_PANEL_ROW;
#pragma unroll 4
        for (int row = of.me.lane / 8; row < S::K; row += 4) {
            float v[2];
            mgk_load_vector<2>(
                (const mgk_bf16 *)(const void *)(panel + mgk_tile_byte(S::K, row, channel())), v);
            sums[0] += v[0];
            sums[1] += v[1];
        }
    }

    /* The first eight threads of a warp have all pixels. */
    __device__ __forceinline__ void together()
    {
#pragma unroll
        for (int e = 0; e < 2; e++)
#pragma unroll
            for (int step = 8; step < MGK_WARP; step *= 2)
                sums[e] += __shfl_xor_sync(0xffffffffu, sums[e], step);
    }
};

template <typename S> struct weight_group : mgk_product_sums<S> {
    const weight_work<S> &w;

    __device__ __forceinline__ weight_group(const weight_work<S> &work)
        : mgk_product_sums<S>(work), w(work)
    {
    }

    /* Sum of channel i of y, in a part. */
    __device__ __forceinline__ float *row(const weight_task &t, int64_t i) const
    {
        return w.c.parts + ((int64_t)t.part * w.c.form.out_channels + i) * w.c.columns;
    }

    __device__ __forceinline__ void finish_tile(const weight_task &t) const
    {
        const mgk_conv_form &f = w.c.form;
        const int in_warp = this->me.lane / 8, column = this->me.lane % 8 * 8;
#pragma unroll 1
        for (int panel = 0; panel < S::N / MGK_PANEL; panel++) {
            const int64_t j = t.j + panel * MGK_PANEL + column;
            this->share(0, panel);
#pragma unroll 1
            for (int r = in_warp; r < 16; r += 4) {
                const int64_t i = t.i + this->first_row(0) + r;
                if (i >= f.out_channels || j >= f.in_channels)
                    continue;
                float v[8], *to = row(t, i) + t.place * f.in_channels + j;
                mgk_load_vector<8>(this->shared_sums(r, column), v);
#pragma unroll
                for (int e = 0; e < 8; e++)
                    to[e] = v[e];
            }
        }
    }

    __device__ __forceinline__ void run()
    {
        mgk_stage stage = {0, 0};
        for (int32_t at = (int32_t)w.first_task(); at < w.tasks(); at += (int32_t)w.task_step()) {
            const weight_task t = w.task_of(at);
            bias_sums<S> bias(*this, w.c.bias && t.place == 0 && t.j == 0);
            this->walk(&stage, t.steps, bias);
            finish_tile(t);
            bias.together();
            const int64_t i = t.i + this->me.group * MGK_WGMMA_ROWS + bias.channel();
            if (bias.wanted && this->me.lane < 8 && i < w.c.form.out_channels) {
                row(t, i)[w.c.columns - 1] = bias.sums[0];
                row(t, i + 1)[w.c.columns - 1] = bias.sums[1];
            }
        }
    }
};

template <typename S>
MGK_KERNEL __launch_bounds__(S::THREADS, 1)
    weight_kernel(const __grid_constant__ weight_maps maps, const __grid_constant__ weights c)
{
#if MGK_HOPPER
    MGK_DYNAMIC_SHARED(unsigned char, memory);
    const weight_work<S> w(c, memory);
    mgk_copy_and_compute<S, weight_group<S>, S::CLUSTER>(w, maps);
#endif
}

/* ---- the host's part ---- */

bool map_patches(mgk_tensor_map *map, mgk_buf b, const mgk_conv_patches *p, int64_t images,
                 int64_t h, int64_t w, int64_t channels, int step_h, int step_w)
{
    const int box[] = {1 << p->log_w, 1 << p->log_h, 1 << p->log_n}, step[] = {step_w, step_h};
    mgk_tensor_layout t;
    return mgk_pictures_layout(&t, images, h, w, channels, box, step) &&
           mgk_make_tensor_map(map, b.p, &t);
}

template <typename S> bool start(const mgk_conv2d_args *g, const weights &c, mgk_exec *x)
{
    const mgk_conv_form *f = &c.form;
    weight_maps maps;
    if (!mgk_has_hopper_code(weight_kernel<S>) ||
        !map_patches(&maps.dy, g->y, &c.tiles.patches, f->images, f->out_h, f->out_w,
                     f->out_channels, 1, 1) ||
        !map_patches(&maps.x, g->x, &c.tiles.patches, f->images, f->in_h, f->in_w, f->in_channels,
                     f->step_h, f->step_w))
        return false;
    const int bytes = S::BYTES;
    MGK_ALLOW_SHARED(weight_kernel<S>, bytes);
    MGK_LAUNCH_CLUSTERS(x, weight_kernel<S>, mgk_product_grid<S>(c.tiles.count * c.tiles.parts),
                        S::CLUSTER, S::THREADS, bytes, maps, c);
    return true;
}

} // namespace

int64_t mgk_conv2d_grad_weight_warpgroups_parts(const mgk_conv2d_args *g)
{
    mgk_conv_form f;
    if (!mgk_conv_form_of(&f, g, false))
        return 0;
    const mgk_conv_weight_tiles t = mgk_conv_weight_tiles_of(&f);
    return mgk_conv_weights_by_warpgroups(&f, &t) ? t.parts : 0;
}

bool mgk_conv2d_grad_weight_warpgroups(const mgk_conv2d_args *g, float *parts, mgk_exec *x)
{
    weights c;
    memset(&c, 0, sizeof c);
    if (!mgk_conv_form_of(&c.form, g, false))
        return false;
    c.tiles = mgk_conv_weight_tiles_of(&c.form);
    c.bias = g->bias.p;
    c.columns = g->kh * g->kw * g->cin + (c.bias ? 1 : 0);
    c.parts = parts;
    return c.tiles.cluster == 2 ? start<mgk_product_shape<256, 2, 4, true, false>>(g, c, x)
                                : start<mgk_product_shape<128, 1, 6, true, false>>(g, c, x);
}
