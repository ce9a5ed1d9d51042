/* SPDX-License-Identifier: MIT
 * Barriers, bulk copies and products of warpgroups for the fibres of cuda_emulated.cpp. */
#include "kernels/emulated/hopper_emulated.h"

#include <stdlib.h>

namespace
{

enum {
    THREADS_MAX = 1024,
    PRODUCTS_MAX = 64, /* of a thread, not waited for yet */
    COPIES_MAX = 256,
    NAMED_MAX = 16,
    SHARED_BEGIN = 64,
    BLOCK_SHIFT = 24, /* an address in a block of the cluster: its rank + 1, the address there */
    BLOCKS_MAX = 8,
    COMMON = (1 << BLOCK_SHIFT) - 1,
    VALUES_MAX = 256,
    KEPT_BITS = 14, /* of the sums of codes */
    LOG = 256       /* products that the warps of a warpgroup may be apart */
};

struct product {
    float *sums;
    const uint32_t *left;
    uint64_t a, b;
    int n;
    bool a_by_rows, b_by_rows, add, codes;
};

struct thread_products {
    product queue[PRODUCTS_MAX];
    int count, committed;                  /* in the queue; of them, in groups that are closed */
    int groups[PRODUCTS_MAX], group_count; /* products of each closed group */
    int64_t issued;
    bool fenced;
};

struct copy {
    uint32_t to, barrier;
    mgk_emulated_map map; /* the thread that began the copy may have ended */
    int32_t at[MGK_TENSOR_MAP_DIMS];
};

struct named_barrier {
    int threads, arrived;
    uint64_t generation;
};

struct logged {
    int64_t number;
    product p;
};

struct model {
    thread_products threads[THREADS_MAX];
    copy copies[COPIES_MAX];
    int copy_count;
    named_barrier named[BLOCKS_MAX][NAMED_MAX];
    named_barrier cluster;
    logged log[THREADS_MAX / MGK_WARPGROUP][LOG];
};

/* In the 8 bytes that a barrier has in shared memory. */
struct barrier_word {
    uint64_t parity : 1, count : 20, pending : 20, made : 2;
    int64_t bytes : 21;
};
static_assert(sizeof(barrier_word) == 8, "a barrier has 8 bytes");

thread_local model *m; /* of a cluster that uses it */

model *need_model(void)
{
    if (!m)
        m = (model *)calloc(1, sizeof *m);
    if (!m)
        mgk_emulated_abort("no memory");
    return m;
}

thread_products *products_of_thread(void)
{
    return &need_model()->threads[mgk_emulated_thread()];
}

/* Any five launches, each so many after the last one (1 to 4), have all four pairs of the first two. */
enum { LATE_PRODUCTS = 1, LATE_COPIES = 2, NEWEST_COPY_FIRST = 4 };

bool this_time(unsigned what)
{
    return mgk_emulated_launches() * 2654435761u >> 11 & what;
}

/* The address, with the calling thread's block if it says none. */
uint32_t with_block(uint32_t address)
{
    return address >> BLOCK_SHIFT ? address
                                  : mgk_emulated_address_of(address, (uint32_t)mgk_emulated_rank());
}

unsigned char *shared_at(uint32_t address, uint32_t bytes)
{
    unsigned char *shared = address >> BLOCK_SHIFT
                                ? mgk_emulated_shared_of((int)(address >> BLOCK_SHIFT) - 1)
                                : mgk_emulated_shared;
    if (!shared)
        mgk_emulated_abort("an instruction reaches into a block that has ended");
    address &= COMMON;
    if (address < SHARED_BEGIN || address - SHARED_BEGIN + bytes > mgk_emulated_shared_bytes)
        mgk_emulated_abort("an instruction reaches outside the block's shared memory");
    return shared + (address - SHARED_BEGIN);
}

float bf16_at(uint32_t address)
{
    uint16_t bits;
    memcpy(&bits, shared_at(address, 2), 2);
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

float bf16_half(uint32_t pair, int half)
{
    uint32_t wide = half ? pair & 0xffff0000u : pair << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* A float of 4 exponent bits and 3 of mantissa, without infinities. */
float e4m3_at(uint32_t address)
{
    const uint8_t code = *shared_at(address, 1);
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    if ((code & 0x7f) == 0x7f)
        return NAN;
    const float value =
        exponent ? ldexpf((float)(8 + mantissa), exponent - 10) : ldexpf((float)mantissa, -9);
    return code & 0x80 ? -value : value;
}

/* ---- barriers ---- */

barrier_word barrier_at(uint32_t address)
{
    barrier_word b;
    if (address % 8)
        mgk_emulated_abort("a barrier is not aligned");
    memcpy(&b, shared_at(address, 8), 8);
    if (b.made != 1)
        mgk_emulated_abort("a barrier is used before it is made");
    return b;
}

/* Keep b, whose phase ends if all have arrived and all bytes are there. */
void put_barrier(uint32_t address, barrier_word b)
{
    if (b.pending == 0 && b.bytes == 0) {
        b.parity ^= 1;
        b.pending = b.count;
    }
    memcpy(shared_at(address, 8), &b, 8);
}

struct phase {
    uint32_t barrier, parity;
};

bool phase_ended(const void *what)
{
    const phase *p = (const phase *)what;
    return barrier_at(p->barrier).parity != p->parity;
}

/* ---- bulk copies ---- */

void do_copy(const copy &c)
{
    const mgk_tensor_layout &t = c.map.layout;
    uint32_t row_bytes = t.box[0] * t.value, bytes = 0;
    for (uint32_t b = 0; b < t.box[3]; b++)
        for (uint32_t r = 0; r < t.box[2]; r++)
            for (uint32_t h = 0; h < t.box[1]; h++)
                for (uint32_t d = 0; d < t.box[0]; d++, bytes += t.value) {
                    const int64_t at[] = {
                        c.at[0] + (int64_t)d * t.step[0], c.at[1] + (int64_t)h * t.step[1],
                        c.at[2] + (int64_t)r * t.step[2], c.at[3] + (int64_t)b * t.step[3]};
                    uint64_t offset = (uint64_t)at[0] * t.value;
                    bool inside = true;
                    for (int i = 0; i < MGK_TENSOR_MAP_DIMS; i++) {
                        inside = inside && at[i] >= 0 && (uint64_t)at[i] < t.dims[i];
                        if (i > 0)
                            offset += (uint64_t)at[i] * t.strides[i - 1];
                    }
                    static const uint16_t zero = 0;
                    memcpy(shared_at(mgk_swizzle128(c.to + bytes), t.value),
                           inside ? (const void *)(c.map.base + offset) : &zero, t.value);
                }
    if (row_bytes != MGK_PANEL_ROW)
        mgk_emulated_abort("a box is not as wide as the swizzle");
    barrier_word b = barrier_at(c.barrier);
    b.bytes -= bytes;
    put_barrier(c.barrier, b);
}

/* ---- products ---- */

/* sum + the products of codes, of which a tensor core keeps the bits down to KEPT_BITS of the largest of them; of the
 * result it keeps as many. So published measurements explain the sums of Hopper's tensor cores (products aligned and cut
 * off, accumulators of 22 bits); NVIDIA does not say. */
float add_codes(float sum, const float *a, const float *b)
{
    double terms[MGK_WGMMA_CODES + 1], largest = 0, total = 0;
    int exponent;
    for (int i = 0; i <= MGK_WGMMA_CODES; i++) {
        terms[i] = i < MGK_WGMMA_CODES ? (double)a[i] * (double)b[i] : (double)sum;
        largest = fmax(largest, fabs(terms[i]));
        total += terms[i];
    }
    if (!isfinite(total) || largest == 0)
        return (float)total;
    frexp(largest, &exponent);
    const double units = ldexp(1, KEPT_BITS - exponent);
    total = 0;
    for (int i = 0; i <= MGK_WGMMA_CODES; i++)
        total += (double)(int32_t)(terms[i] * units);
    frexp(total, &exponent);
    const double kept = exponent > KEPT_BITS ? ldexp(1, exponent - KEPT_BITS) : 1;
    return (float)((double)(int32_t)(total / kept) * kept / units);
}

/* Of the 16 rows of a warp. */
thread_local float sums[16][VALUES_MAX];

void multiply_codes(const product &p, int warp)
{
    static thread_local float a[16][MGK_WGMMA_CODES], b[VALUES_MAX][MGK_WGMMA_CODES];
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < MGK_WGMMA_CODES; k++)
            a[row][k] =
                e4m3_at(mgk_wgmma_code_address(p.a, (uint32_t)(warp % 4 * 16 + row), (uint32_t)k));
    for (int n = 0; n < p.n; n++)
        for (int k = 0; k < MGK_WGMMA_CODES; k++)
            b[n][k] = e4m3_at(mgk_wgmma_code_address(p.b, (uint32_t)n, (uint32_t)k));
    for (int row = 0; row < 16; row++)
        for (int n = 0; n < p.n; n++)
            sums[row][n] = add_codes(sums[row][n], a[row], b[n]);
}

void multiply_bf16(const product *const *of, int warp)
{
    const product &p = *of[0];
    static thread_local float a[16][MGK_WGMMA_DEPTH], b[MGK_WGMMA_DEPTH][VALUES_MAX];
    for (int row = 0; row < 16 && !p.left; row++)
        for (int k = 0; k < MGK_WGMMA_DEPTH; k++)
            a[row][k] = bf16_at(
                mgk_wgmma_address(p.a, p.a_by_rows, (uint32_t)(warp % 4 * 16 + row), (uint32_t)k));
    for (int lane = 0; lane < 32 && p.left; lane++)
        for (int i = 0; i < 8; i++)
            a[mgk_left_row(lane, i)][mgk_left_column(lane, i)] =
                bf16_half(of[lane]->left[i / 2], i % 2);
    for (int k = 0; k < MGK_WGMMA_DEPTH; k++)
        for (int n = 0; n < p.n; n++)
            b[k][n] = bf16_at(mgk_wgmma_address(p.b, p.b_by_rows, (uint32_t)n, (uint32_t)k));
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < MGK_WGMMA_DEPTH; k++)
            for (int n = 0; n < p.n; n++)
                sums[row][n] += a[row][k] * b[k][n];
}

void multiply(const product *const *of, int warp)
{
    const product &p = *of[0];
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < p.n / 2; i++)
            sums[mgk_sum_row(lane, i)][mgk_sum_column(lane, i)] = p.add ? of[lane]->sums[i] : 0;
    if (p.codes)
        multiply_codes(p, warp);
    else
        multiply_bf16(of, warp);
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < p.n / 2; i++)
            of[lane]->sums[i] = sums[mgk_sum_row(lane, i)][mgk_sum_column(lane, i)];
}

bool same(const product &x, const product &y)
{
    return x.a == y.a && x.b == y.b && x.n == y.n && x.a_by_rows == y.a_by_rows &&
           x.b_by_rows == y.b_by_rows && x.add == y.add && x.codes == y.codes && !x.left == !y.left;
}

/* All 4 warps take part in the same product. */
void must_agree(int warp, int64_t number, const product &p)
{
    logged *l = &m->log[warp / 4][number % LOG];
    if (l->number == number + 1 && !same(l->p, p))
        mgk_emulated_abort("the warps of a warpgroup multiply different factors");
    l->number = number + 1;
    l->p = p;
}

/* The first `count` products of the warp's threads. */
void do_products(int count)
{
    int thread = mgk_emulated_thread(), warp = thread / 32;
    thread_products *t = &m->threads[thread];
    __syncwarp();
    for (int i = 0; i < count && thread % 32 == 0; i++) {
        const product *of[32];
        for (int lane = 0; lane < 32; lane++) {
            of[lane] = &t[lane].queue[i];
            if (t[lane].count != t->count || !same(*of[lane], *of[0]))
                mgk_emulated_abort("the threads of a warp multiply different factors");
        }
        must_agree(warp, t->issued - t->count + i, *of[0]);
        multiply(of, warp);
    }
    __syncwarp();
    memmove(t->queue, t->queue + count, (size_t)(t->count - count) * sizeof *t->queue);
    t->count -= count;
    t->committed -= count;
}

} // namespace

/* ---- what cuda_emulated.cpp calls ---- */

bool mgk_emulated_hopper_idle(void)
{
    if (!m || m->copy_count == 0)
        return false;
    int i = this_time(NEWEST_COPY_FIRST) ? m->copy_count - 1 : 0;
    copy c = m->copies[i];
    m->copy_count--;
    memmove(m->copies + i, m->copies + i + 1, (size_t)(m->copy_count - i) * sizeof c);
    do_copy(c);
    return true;
}

void mgk_emulated_hopper_end(int threads)
{
    if (m && m->copy_count)
        mgk_emulated_abort("a block ended before its copies did");
    for (int i = 0; m && i < threads; i++)
        if (m->threads[i].count)
            mgk_emulated_abort("a block ended before its products did");
    free(m);
    m = NULL;
}

/* ---- what kernels call ---- */

uint32_t mgk_emulated_shared_address(const void *p)
{
    return (uint32_t)((const unsigned char *)p - mgk_emulated_shared) + SHARED_BEGIN;
}

uint32_t mgk_emulated_address_of(uint32_t address, uint32_t rank)
{
    return (address & COMMON) | (rank + 1) << BLOCK_SHIFT;
}

void mgk_emulated_barrier_init(uint32_t barrier, uint32_t count)
{
    barrier_word b;
    memset(&b, 0, sizeof b);
    b.count = b.pending = count;
    b.made = 1;
    memcpy(shared_at(barrier, 8), &b, 8);
}

void mgk_emulated_barrier_arrive(uint32_t barrier, uint32_t bytes)
{
    barrier_word b = barrier_at(barrier);
    if (b.pending == 0)
        mgk_emulated_abort("more threads arrive at a barrier than it was made for");
    b.bytes += bytes;
    b.pending--;
    put_barrier(barrier, b);
}

void mgk_emulated_barrier_wait(uint32_t barrier, uint32_t parity)
{
    phase p = {with_block(barrier), parity};
    if (!phase_ended(&p))
        mgk_emulated_wait_until(phase_ended, &p);
}

void mgk_emulated_tma_load(uint32_t to, const mgk_emulated_map *map, uint32_t barrier,
                           const int32_t *at, uint32_t blocks)
{
    if (to % 128)
        mgk_emulated_abort("a bulk copy goes to an address that is not aligned");
    if (!blocks)
        blocks = 1u << mgk_emulated_rank();
    for (uint32_t rank = 0; blocks >> rank; rank++) {
        if (!(blocks >> rank & 1))
            continue;
        copy c = {mgk_emulated_address_of(to, rank),
                  mgk_emulated_address_of(barrier, rank),
                  *map,
                  {at[0], at[1], at[2], at[3]}};
        if (!this_time(LATE_COPIES)) {
            do_copy(c);
            continue;
        }
        if (need_model()->copy_count == COPIES_MAX)
            mgk_emulated_abort("too many bulk copies at a time");
        m->copies[m->copy_count++] = c;
    }
}

struct turn {
    const named_barrier *of;
    uint64_t generation;
};

static bool turn_over(const void *what)
{
    const turn *t = (const turn *)what;
    return t->of->generation != t->generation;
}

static void come_to(named_barrier *b, int threads, bool wait)
{
    turn t = {b, b->generation};
    if (b->arrived && b->threads != threads)
        mgk_emulated_abort("threads come to a named barrier with different counts");
    b->threads = threads;
    if (++b->arrived == threads) {
        b->arrived = 0;
        b->generation++;
    } else if (wait) {
        mgk_emulated_wait_until(turn_over, &t);
    }
}

void mgk_emulated_named_barrier(int id, int threads, bool wait)
{
    come_to(&need_model()->named[mgk_emulated_rank()][id], threads, wait);
}

void mgk_emulated_cluster_sync(void)
{
    come_to(&need_model()->cluster,
            (int)(blockDim.x * blockDim.y * blockDim.z) * mgk_emulated_blocks(), true);
}

void mgk_emulated_wgmma_fence(void)
{
    products_of_thread()->fenced = true;
}

static void begin_product(const product &p)
{
    thread_products *t = products_of_thread();
    if (!t->fenced)
        mgk_emulated_abort("a product without a fence before it");
    if (t->count == PRODUCTS_MAX)
        mgk_emulated_abort("too many products at a time");
    if (p.a >> 62 != (p.left ? 0 : 1) || p.b >> 62 != 1)
        mgk_emulated_abort("a factor is not of the 128-byte swizzle");
    t->queue[t->count++] = p;
    t->issued++;
    for (int i = 0; i < p.n / 2 && !p.add; i++)
        p.sums[i] = NAN;
}

void mgk_emulated_wgmma(float *sums, int n, uint64_t a, bool a_by_rows, const uint32_t *left,
                        uint64_t b, bool b_by_rows, bool add)
{
    const product p = {sums, left, a, b, n, a_by_rows, b_by_rows, add, false};
    begin_product(p);
}

void mgk_emulated_wgmma_codes(float *sums, int n, uint64_t a, uint64_t b, bool add)
{
    const product p = {sums, NULL, a, b, n, true, true, add, true};
    begin_product(p);
}

void mgk_emulated_wgmma_commit(void)
{
    thread_products *t = products_of_thread();
    t->fenced = false;
    if (!this_time(LATE_PRODUCTS)) {
        t->committed = t->count;
        do_products(t->count);
        return;
    }
    t->groups[t->group_count++] = t->count - t->committed;
    t->committed = t->count;
}

void mgk_emulated_wgmma_wait(int most)
{
    thread_products *t = products_of_thread();
    int groups = t->group_count - most, products = 0;
    if (groups <= 0)
        return;
    for (int i = 0; i < groups; i++)
        products += t->groups[i];
    do_products(products);
    t->group_count = most;
    memmove(t->groups, t->groups + groups, (size_t)most * sizeof *t->groups);
}
