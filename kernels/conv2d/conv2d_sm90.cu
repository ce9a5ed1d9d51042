/* SPDX-License-Identifier: MIT
 * conv2d and the gradient of its input by warpgroups (sm_90a): bf16, sums in f32, as a product of pixels of the result and
 * places of the kernel x channels with the weights (cuda_products.h), which is nowhere written down.
 *
 * The rows of a tile are a patch of pixels. For each place of the kernel and each 64 channels one bulk copy brings what
 * the patch sees there, zeros outside the picture; where the nearest row stands for those outside, a patch has one row.
 * The weights are copied as they lie: the gradient reads them by columns. */
#include "kernels/common/cuda_products.h"
#include "kernels/common/cuda_vector.h"
#include "kernels/conv2d/conv2d_sm90.h"

namespace
{

struct conv_maps {
    mgk_tensor_map in, weight;
};

struct conv {
    mgk_conv_form form;
    mgk_conv_tiles tiles;
    mgk_bf16 *out;
    const float *bias;
    int panels; /* of channels that are read */
    bool accumulate;
};

template <typename S> struct conv_work : mgk_product_block<S> {
    const conv &c;

    __device__ __forceinline__ conv_work(const conv &what, unsigned char *memory)
        : mgk_product_block<S>(memory), c(what)
    {
    }

    __device__ __forceinline__ int64_t tasks() const
    {
        return c.tiles.m * c.tiles.n;
    }

    __device__ __forceinline__ mgk_matrix_place place_of(int64_t task) const
    {
        return mgk_matrix_place_of(task, c.tiles.m, c.tiles.n);
    }

    __device__ __forceinline__ mgk_conv_pixel patch(const mgk_matrix_place &at, uint32_t rank) const
    {
        return mgk_conv_patch(&c.tiles.patches, (int32_t)(at.i * S::CLUSTER + rank));
    }

    /* Of a task; the blocks of a cluster, which share the weights, make the same number of steps. */
    __device__ __forceinline__ int rows(const mgk_matrix_place &at) const
    {
        int most = 1;
        if (c.form.gradient && c.form.edges)
            for (uint32_t rank = 0; rank < S::CLUSTER; rank++) {
                const int count = mgk_conv_rows_of(&c.form, patch(at, rank).i).count;
                most = count > most ? count : most;
            }
        return most;
    }

    __device__ __forceinline__ int64_t steps(const mgk_matrix_place &at) const
    {
        return (int64_t)rows(at) * c.form.kh * c.form.kw * c.panels;
    }

    /* By one thread: 64 channels of what the patch sees from a pixel on, and the weights of a place of the kernel. */
    __device__ __forceinline__ void load(const conv_maps &maps, int32_t image, int32_t i, int32_t j,
                                         int32_t channel, int place, int32_t column,
                                         uint32_t stage) const
    {
        const uint32_t full = this->barrier(S::FULL, stage);
        mgk_barrier_expect(full, S::A_BYTES + S::B_BYTES);
        mgk_tma_load(this->a(stage), &maps.in, full, channel, j, i, image);
        this->load_b(&maps.weight, stage, column, channel, place, 0);
    }

    __device__ __forceinline__ void copy_task(const conv_maps &maps, const mgk_matrix_place &at,
                                              mgk_stage *s) const
    {
        const mgk_conv_form &f = c.form;
        const mgk_conv_pixel to = patch(at, this->rank);
        const mgk_conv_rows own = mgk_conv_rows_of(&f, to.i);
        const int most = rows(at), places = f.kh * f.kw;
        for (int row = 0; row < most; row++)
            for (int place = 0; place < places; place++) {
                const int p = place / f.kw, q = place - p * f.kw;
                const int32_t i = mgk_conv_row(&f, own.first + row + p);
                const int32_t j = to.j * f.step_w + q - f.left;
                /* zeros, behind the last picture, for a row that only the other block has */
                const int32_t image = row < own.count ? to.image : (int32_t)f.images;
                for (int panel = 0; panel < c.panels; panel++, mgk_stage_next(s, S::STAGES)) {
                    mgk_barrier_wait(this->barrier(S::EMPTY, s->index), s->parity ^ 1);
                    if (threadIdx.x == 0)
                        load(maps, image, i, j, panel * MGK_PANEL,
                             S::TB ? place : places - 1 - place, (int32_t)at.j * S::N, s->index);
                }
            }
    }

    __device__ __forceinline__ void copy(const conv_maps &maps) const
    {
        mgk_stage s = {0, 0};
        for (int64_t task = this->first_task(); task < tasks(); task += this->task_step())
            copy_task(maps, place_of(task), &s);
    }
};

template <typename S> struct conv_group : mgk_product_sums<S> {
    const conv_work<S> &w;

    __device__ __forceinline__ conv_group(const conv_work<S> &work)
        : mgk_product_sums<S>(work), w(work)
    {
    }

    /* Channels from `channel` on of the pixels of four rows of the tile, from `row` on. */
    __device__ __forceinline__ void put(const mgk_conv_pixel &first, int row, int64_t channel) const
    {
        const conv &c = w.c;
        const int in_warp = this->me.lane / 8, column = this->me.lane % 8 * 8;
        float bias[8];
#pragma unroll
        for (int e = 0; e < 8; e++)
            bias[e] = c.bias ? c.bias[channel + e] : 0;
#pragma unroll
        for (int r = 0; r < 16; r += 4) {
            const mgk_conv_pixel to = mgk_conv_pixel_of(&c.tiles.patches, first, row + in_warp + r);
            if (to.image >= c.form.images || to.i >= c.form.out_h || to.j >= c.form.out_w)
                continue;
            mgk_bf16 *out =
                c.out +
                ((to.image * c.form.out_h + to.i) * c.form.out_w + to.j) * c.form.out_channels +
                channel;
            float v[8], before[8];
            mgk_load_vector<8>(this->shared_sums(in_warp + r, column), v);
            if (c.accumulate)
                mgk_load_vector<8>(out, before);
#pragma unroll
            for (int e = 0; e < 8; e++)
                v[e] += c.accumulate ? before[e] : bias[e];
            mgk_store_vector<8>(out, v);
        }
    }

    __device__ __forceinline__ void finish_tile(const mgk_matrix_place &at) const
    {
        const mgk_conv_pixel first = w.patch(at, w.rank);
#pragma unroll 1
        for (int piece = 0; piece < S::PIECES; piece++)
#pragma unroll 1
            for (int panel = 0; panel < S::N / MGK_PANEL; panel++) {
                const int64_t channel = at.j * S::N + panel * MGK_PANEL + this->me.lane % 8 * 8;
                this->share(piece, panel);
                if (channel < w.c.form.out_channels)
                    put(first, this->first_row(piece), channel);
            }
    }

    __device__ __forceinline__ void run()
    {
        mgk_stage stage = {0, 0};
        for (int64_t task = w.first_task(); task < w.tasks(); task += w.task_step()) {
            const mgk_matrix_place at = w.place_of(task);
            this->walk(&stage, w.steps(at));
            finish_tile(at);
        }
    }
};

template <typename S>
MGK_KERNEL __launch_bounds__(S::THREADS, 1)
    conv_kernel(const __grid_constant__ conv_maps maps, const __grid_constant__ conv c)
{
#if MGK_HOPPER
    MGK_DYNAMIC_SHARED(unsigned char, memory);
    const conv_work<S> w(c, memory);
    mgk_copy_and_compute<S, conv_group<S>, S::CLUSTER>(w, maps);
#endif
}

/* ---- the host's part ---- */

bool map_pictures(mgk_tensor_map *map, mgk_buf in, const mgk_conv_form *f,
                  const mgk_conv_patches *p)
{
    const int box[] = {1 << p->log_w, 1 << p->log_h, 1 << p->log_n},
              step[] = {f->step_w, f->step_h};
    mgk_tensor_layout t;
    return mgk_pictures_layout(&t, f->images, f->in_h, f->in_w, f->in_channels, box, step) &&
           mgk_make_tensor_map(map, in.p, &t);
}

/* (cout, places, cin) */
bool map_weight(mgk_tensor_map *map, const mgk_conv2d_args *g, uint32_t box)
{
    const int64_t places = g->kh * g->kw;
    mgk_tensor_layout t;
    return mgk_heads_layout(&t, 1, g->cout, places, g->cin, places * g->cin, 0, box) &&
           mgk_make_tensor_map(map, g->weight.p, &t);
}

template <typename S> bool start(const mgk_conv2d_args *g, const conv &c, mgk_exec *x)
{
    conv_maps maps;
    if (!mgk_has_hopper_code(conv_kernel<S>) ||
        !map_pictures(&maps.in, c.form.gradient ? g->y : g->x, &c.form, &c.tiles.patches) ||
        !map_weight(&maps.weight, g, S::B_ROWS))
        return false;
    const int bytes = S::BYTES;
    MGK_ALLOW_SHARED(conv_kernel<S>, bytes);
    MGK_LAUNCH_CLUSTERS(x, conv_kernel<S>, mgk_product_grid<S>(c.tiles.m * c.tiles.n), S::CLUSTER,
                        S::THREADS, bytes, maps, c);
    return true;
}

template <bool TB> bool start_tiles(const mgk_conv2d_args *g, const conv &c, mgk_exec *x)
{
    return c.tiles.columns == 256   ? start<mgk_product_shape<256, 2, 4, false, TB>>(g, c, x)
           : c.tiles.columns == 128 ? start<mgk_product_shape<128, 2, 4, false, TB, 2>>(g, c, x)
                                    : start<mgk_product_shape<64, 1, 6, false, TB>>(g, c, x);
}

/* false: another variant must do it. */
bool by_warpgroups(const mgk_conv2d_args *g, bool gradient, mgk_exec *x)
{
    conv c;
    memset(&c, 0, sizeof c);
    if (!mgk_conv_form_of(&c.form, g, gradient))
        return false;
    c.tiles = mgk_conv_tiles_of(&c.form);
    if (!mgk_conv_by_warpgroups(&c.form, &c.tiles) || !mgk_is_aligned(gradient ? g->x : g->y))
        return false;
    c.out = (mgk_bf16 *)(gradient ? g->x : g->y).p;
    c.bias = gradient ? NULL : (const float *)g->bias.p;
    c.panels = (int)mgk_tiles_of(c.form.in_channels, MGK_PANEL);
    c.accumulate = gradient && g->accumulate;
    return gradient ? start_tiles<false>(g, c, x) : start_tiles<true>(g, c, x);
}

} // namespace

extern "C" void mgk_conv2d_sm80(const void *args, mgk_exec *x);
extern "C" void mgk_conv2d_grad_input_sm80(const void *args, mgk_exec *x);

MGK_LAUNCHER(conv2d, sm90)
{
    const mgk_conv2d_args *g = (const mgk_conv2d_args *)args;
    if (g->y_row || !by_warpgroups(g, false, x))
        mgk_conv2d_sm80(args, x);
}

MGK_LAUNCHER(conv2d_grad_input, sm90)
{
    if (!by_warpgroups((const mgk_conv2d_args *)args, true, x))
        mgk_conv2d_grad_input_sm80(args, x);
}
