/* SPDX-License-Identifier: MIT */
#include "tensor/device.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/cpu.h"
#include "core/quiet.h"
#include "kernels/flops.h"
#include "tensor/graph.h"

#include <stdio.h>
#include <string.h>

enum { META_ADDRESS = 4096 }; /* of all that the meta device holds */
enum { BLOCK_EXTRA = 96 };    /* bytes that core/alloc.c adds to a block, at most */

/* Size classes: eight steps a power of two, from 64 bytes on. */
static int size_class(size_t bytes, size_t *class_bytes)
{
    size_t step = 64, base = 64;
    int index = 0;
    while (bytes > base * 2 && base < ((size_t)1 << 62)) {
        base *= 2;
        index += 8;
    }
    step = base / 8 < 64 ? 64 : base / 8;
    size_t extra = bytes > base ? (bytes - base + step - 1) / step : 0;
    *class_bytes = base + extra * step;
    return index + (int)extra;
}

void mgi_device_count(mgi_device *dev, int kind, size_t bytes, bool taken)
{
    mgi_device_counts *c = &dev->counts;
    if (!taken) {
        c->now[kind] -= bytes;
        c->total -= bytes;
        return;
    }
    c->now[kind] += bytes;
    c->total += bytes;
    if (c->now[kind] > c->peak[kind])
        c->peak[kind] = c->now[kind];
    if (c->total > c->total_peak) {
        c->total_peak = c->total;
        memcpy(c->at_peak, c->now, sizeof c->at_peak);
    }
}

static void hold(mgi_device *dev, size_t bytes)
{
    mgi_device_counts *c = &dev->counts;
    c->held += bytes + BLOCK_EXTRA;
    if (c->held > c->held_peak)
        c->held_peak = c->held;
}

static void let_go(mgi_device *dev, size_t bytes)
{
    dev->counts.held -= bytes + BLOCK_EXTRA;
}

void mgi_device_make_meta(mgi_device *dev)
{
    dev->meta = true;
}

static bool all_done(mgi_device *dev, const uint64_t last[MGI_STREAMS])
{
    for (int i = 0; i < MGI_STREAMS; i++)
        if (atomic_load_explicit(&dev->stream[i].done, memory_order_acquire) < last[i])
            return false;
    return true;
}

static void give(mgi_device *dev, mgi_held *held);

/* Take back what no stream uses any more; everything if the streams have ended. */
static void collect(mgi_device *dev, bool ended)
{
    mgi_held **at = &dev->waiting;
    while (*at) {
        mgi_held *held = *at;
        if (ended || all_done(dev, held->last)) {
            *at = held->next;
            give(dev, held);
        } else {
            at = &held->next;
        }
    }
}

void mgi_device_release(mgi_device *dev, mgi_held *held)
{
    if (all_done(dev, held->last)) {
        give(dev, held);
        return;
    }
    held->next = dev->waiting;
    dev->waiting = held;
}

static bool capturing(const mgi_device *dev)
{
    return dev->cuda && mgi_cuda_capturing(dev->cuda);
}

static bool lost(mgen_status status)
{
    return status == MGEN_E_DEVICE || status == MGEN_E_DEVICE_LOST;
}

/* Memory that the device did not have before. `tells`: a failure is one of the call. */
static mgen_status take(mgi_device *dev, size_t bytes, bool tells, void **out)
{
    if (!dev->cuda)
        return tells ? mgi_alloc(dev->ctx, bytes, out) : mgi_alloc_silent(dev->ctx, bytes, out);
    if (dev->memory_max && bytes + dev->counts.held > dev->memory_max)
        return mgi_fail(tells ? dev->ctx : NULL, MGEN_E_LIMIT,
                        "%zu more bytes on cuda:%d would exceed the context's device_memory_max of "
                        "%llu; %llu are in use",
                        bytes, mgi_cuda_index(dev->cuda), (unsigned long long)dev->memory_max,
                        (unsigned long long)dev->counts.held);
    return mgi_cuda_alloc(dev->cuda, bytes, tells, out);
}

static void put_back(mgi_device *dev, void *ptr)
{
    if (dev->cuda)
        mgi_cuda_free(dev->cuda, ptr);
    else
        mgi_free(dev->ctx, ptr);
}

static mgi_block *pop(mgi_block **list)
{
    mgi_block *block = *list;
    *list = block->next;
    return block;
}

static void push(mgi_block **list, mgi_block *block)
{
    block->next = *list;
    *list = block;
}

/* ---- few free blocks ---- */

enum {
    SHARES = 2,             /* free blocks are at most so much of what was in use */
    LARGER = 8,             /* size classes: twice as large */
    GIVEN_FROM = (64 << 10) /* bytes; less is not worth giving back */
};

void mgi_device_thrifty(mgi_device *dev)
{
    dev->thrifty = !dev->meta && !dev->cuda;
}

static void now_busy(mgi_device *dev, size_t bytes)
{
    dev->busy += bytes;
    if (dev->busy > dev->busy_peak)
        dev->busy_peak = dev->busy;
}

/* Whether with so many bytes more there would be too many. */
static bool too_much(const mgi_device *dev, size_t bytes)
{
    uint64_t most = dev->busy + bytes > dev->busy_peak ? dev->busy + bytes : dev->busy_peak;
    return dev->counts.held + bytes > most + most / SHARES;
}

static int longest_free(const mgi_device *dev)
{
    int found = -1;
    for (int i = 0; i < MGI_DEVICE_CLASSES; i++)
        if (dev->own.cached[i] && dev->own.cached[i]->bytes >= GIVEN_FROM &&
            (found < 0 || dev->asked[i] < dev->asked[found]))
            found = i;
    return found;
}

/* A free block that is larger than class `index`; else NULL, and there is room for a new one. */
static mgi_block *make_do(mgi_device *dev, int index, size_t bytes)
{
    int i;
    if (!too_much(dev, bytes))
        return NULL;
    for (i = index + 1; i <= index + LARGER && i < MGI_DEVICE_CLASSES; i++)
        if (dev->own.cached[i])
            return pop(&dev->own.cached[i]);
    while (too_much(dev, bytes) && (i = longest_free(dev)) >= 0) {
        mgi_block *block = pop(&dev->own.cached[i]);
        let_go(dev, block->bytes);
        put_back(dev, block->ptr);
    }
    return NULL;
}

/* A block and, on a GPU, the record for when it is kept. */
static mgen_status fresh(mgi_device *dev, size_t bytes, bool tells, void **out)
{
    mgi_block *record = NULL;
    if (dev->cuda)
        MGI_TRY(tells ? mgi_alloc(dev->ctx, sizeof *record, &record)
                      : mgi_alloc_silent(dev->ctx, sizeof *record, &record));
    mgen_status status = take(dev, bytes, tells, out);
    if (status != MGEN_OK) {
        mgi_free(dev->ctx, record);
        return status;
    }
    if (record)
        push(&dev->spare, record);
    return MGEN_OK;
}

mgen_status mgi_device_alloc(mgi_device *dev, size_t bytes, mgi_held *out)
{
    size_t rounded;
    mgi_blocks *home = dev->home;
    if (bytes > ((size_t)1 << 60))
        return mgi_fail(dev->ctx, MGEN_E_NO_MEMORY, "a tensor of %zu bytes cannot exist", bytes);
    int index = size_class(bytes, &rounded);
    out->bytes = out->wanted = rounded;
    out->home = home;
    if (dev->meta) {
        out->ptr = (void *)(uintptr_t)META_ADDRESS;
        if (index < MGI_DEVICE_CLASSES && dev->idle[index])
            dev->idle[index]--;
        else
            hold(dev, rounded);
        return MGEN_OK;
    }
    if (dev->waiting)
        collect(dev, false);
    mgi_block *block = NULL;
    if (index < MGI_DEVICE_CLASSES) {
        dev->asked[index] = ++dev->turn;
        if (home->cached[index])
            block = pop(&home->cached[index]);
        else if (dev->thrifty && home == &dev->own)
            block = make_do(dev, index, rounded);
    }
    if (block) {
        out->ptr = block->ptr;
        out->bytes = block->bytes;
        if (dev->cuda)
            push(&dev->spare, block);
        home->out++;
        now_busy(dev, rounded);
        return MGEN_OK;
    }
    if (capturing(dev))
        return mgi_cuda_refuse(dev->cuda, "taking memory that no earlier step took");
    mgen_status status = fresh(dev, rounded, false, &out->ptr);
    if (status != MGEN_OK && !lost(status)) {
        mgi_device_trim(dev);
        status = fresh(dev, rounded, true, &out->ptr);
    }
    if (status == MGEN_OK) {
        hold(dev, rounded);
        home->out++;
        now_busy(dev, rounded);
    }
    return status;
}

static void free_block(mgi_device *dev, const mgi_held *held)
{
    size_t rounded;
    int index = size_class(held->bytes, &rounded);
    if (!held->ptr)
        return;
    if (dev->meta && index < MGI_DEVICE_CLASSES) {
        dev->idle[index]++;
        return;
    }
    held->home->out--;
    dev->busy -= held->wanted;
    if (index >= MGI_DEVICE_CLASSES) {
        let_go(dev, held->bytes);
        if (dev->cuda)
            mgi_free(dev->ctx, pop(&dev->spare));
        if (!dev->meta)
            put_back(dev, held->ptr);
        return;
    }
    mgi_block *block = dev->cuda ? pop(&dev->spare) : held->ptr;
    mgi_block **at = &held->home->cached[index];
    while (dev->cuda && *at && (*at)->ptr < held->ptr)
        at = &(*at)->next;
    block->ptr = held->ptr;
    block->bytes = held->bytes;
    push(at, block);
}

static void give(mgi_device *dev, mgi_held *held)
{
    free_block(dev, held);
    mgi_free(dev->ctx, held);
}

/* Bytes of a size class. */
static size_t class_size(int index)
{
    size_t base = (size_t)64 << index / 8, step = base / 8 < 64 ? 64 : base / 8;
    return base + (size_t)(index % 8) * step;
}

void mgi_blocks_trim(mgi_device *dev, mgi_blocks *blocks)
{
    for (int i = 0; i < MGI_DEVICE_CLASSES; i++)
        while (blocks->cached[i]) {
            mgi_block *block = pop(&blocks->cached[i]);
            let_go(dev, block->bytes);
            put_back(dev, block->ptr);
            if (dev->cuda)
                mgi_free(dev->ctx, block);
        }
}

void mgi_device_trim(mgi_device *dev)
{
    if (capturing(dev)) {
        mgi_cuda_refuse(dev->cuda, "giving memory back");
        return;
    }
    for (mgi_graph *g = dev->graphs; g; g = g->next)
        mgi_graph_drop(g);
    for (int i = 0; i < MGI_DEVICE_CLASSES; i++)
        for (; dev->idle[i]; dev->idle[i]--)
            let_go(dev, class_size(i));
    mgi_blocks_trim(dev, &dev->own);
}

static void device_destroy(mgi_device *dev)
{
    mgen_context *ctx = dev->ctx;
    collect(dev, true);
    mgi_device_trim(dev);
    if (dev->workspace && !dev->meta)
        put_back(dev, dev->workspace);
    mgi_cuda_close(dev->cuda);
    mgi_free(ctx, dev->kernels_text);
    mgi_free(ctx, dev);
}

bool mgi_kernel_listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (!strncmp(p, name, length) && (p[length] == ',' || !p[length]))
            return true;
    return false;
}

static mgen_status check_list(mgen_context *ctx, const char *list)
{
    const char *p = list;
    while (*p) {
        size_t length = strcspn(p, ",");
        bool known = false;
        for (int i = 0; i < mgk_variant_count && !known; i++)
            known =
                strlen(mgk_variants[i].name) == length && !strncmp(mgk_variants[i].name, p, length);
        if (!known)
            return mgi_fail(ctx, MGEN_E_INVALID,
                            "kernels: no variant is named \"%.*s\"; known are ref, portable, "
                            "packed, avx2, avx512",
                            (int)length, p);
        p += length;
        if (*p == ',')
            p++;
    }
    return MGEN_OK;
}

static mgen_status describe(mgi_device *dev)
{
    size_t size = 1;
    for (int i = 0; i < MGK_OP_COUNT; i++)
        size += strlen(mgk_ops[i].name) + strlen(dev->kernel[i]->name) + 2;
    MGI_TRY(mgi_alloc(dev->ctx, size, &dev->kernels_text));
    char *p = dev->kernels_text;
    for (int i = 0; i < MGK_OP_COUNT; i++)
        p += sprintf(p, "%s %s\n", mgk_ops[i].name, dev->kernel[i]->name);
    p[0] = '\0';
    return MGEN_OK;
}

uint32_t mgi_kernels_pick(const mgk_variant_info **kernel, const char *kernels, uint32_t features)
{
    uint32_t needs = 0;
    memset(kernel, 0, MGK_OP_COUNT * sizeof(const mgk_variant_info *));
    for (int i = 0; i < mgk_variant_count; i++) {
        const mgk_variant_info *v = &mgk_variants[i];
        uint32_t missing = v->needs & ~features;
        bool usable = v->launch && (missing & ~MGI_CPU_BF16_DOTS) == 0 &&
                      (v->needs & MGK_NEEDS_CUDA) == (features & MGK_NEEDS_CUDA);
        bool allowed = kernels ? mgi_kernel_listed(kernels, v->name) : missing == 0;
        if (usable && (allowed || !kernel[v->op]))
            kernel[v->op] = v;
    }
    for (int i = 0; i < MGK_OP_COUNT; i++)
        needs |= kernel[i] ? kernel[i]->needs : 0;
    return needs;
}

/* cuDNN is large: it is opened only if a variant that needs it would be the one. */
static mgen_status choose(mgi_device *dev, const char *kernels, mgi_cuda *gpu)
{
    uint32_t features = gpu ? mgi_cuda_features(gpu) : mgi_cpu_features();
    uint32_t needs = mgi_kernels_pick(dev->kernel, kernels, features | (gpu ? MGK_NEEDS_CUDNN : 0));
    if ((needs & MGK_NEEDS_CUDNN) && !mgi_cuda_open_dnn(gpu))
        mgi_kernels_pick(dev->kernel, kernels, features);
    for (int i = 0; i < MGK_OP_COUNT; i++)
        if (!dev->kernel[i])
            return mgi_fail(dev->ctx, MGEN_E_UNSUPPORTED, "op %s has no kernel for this device",
                            mgk_ops[i].name);
    return describe(dev);
}

/* -1: the CPU. */
static mgen_status parse_name(mgen_context *ctx, const char *name, int *index)
{
    *index = -1;
    if (!strcmp(name, "cpu"))
        return MGEN_OK;
    const char *digits = name + 5;
    if (!strcmp(name, "cuda"))
        *index = 0;
    else if (!strncmp(name, "cuda:", 5) && digits[0] >= '0' && digits[0] <= '9' &&
             (!digits[1] || (digits[1] >= '0' && digits[1] <= '9' && !digits[2])))
        *index = digits[1] ? (digits[0] - '0') * 10 + digits[1] - '0' : digits[0] - '0';
    else
        return mgi_fail(
            ctx, MGEN_E_UNSUPPORTED,
            "there is no device \"%.40s\"; devices are \"cpu\", \"cuda\", which is the first of "
            "\"cuda:0\", \"cuda:1\" and so on",
            name);
    return MGEN_OK;
}

static mgen_status create(mgen_context *ctx, mgi_cuda *gpu, const char *kernels, mgi_device **out)
{
    mgi_device *dev;
    if (kernels)
        MGI_TRY(check_list(ctx, kernels));
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *dev, &dev));
    dev->ctx = ctx;
    dev->threads = mgi_pool_threads(ctx->pool);
    dev->kind = MGI_MEM_ACTIVATION;
    dev->home = &dev->own;
    mgen_status status = choose(dev, kernels, gpu);
    if (status != MGEN_OK) {
        device_destroy(dev);
        return status;
    }
    *out = dev;
    return MGEN_OK;
}

mgen_status mgi_device_open(mgen_context *ctx, const char *name, const char *kernels,
                            uint64_t memory_max)
{
    int gpu = -1;
    mgi_device *dev;
    mgi_cuda *cuda = NULL;
#ifdef MGK_CUDA_EMULATED
    name = name ? name : "cpu";
#endif
    if (!name)
        gpu = mgi_cuda_count(NULL, 0) > 0 ? 0 : -1;
    else
        MGI_TRY(parse_name(ctx, name, &gpu));
    if (gpu >= 0)
        MGI_TRY(mgi_cuda_open(ctx, gpu, &cuda));
    mgen_status status = create(ctx, cuda, kernels, &dev);
    if (status != MGEN_OK) {
        mgi_cuda_close(cuda);
        return status;
    }
    dev->cuda = cuda;
    dev->memory_max = memory_max;
    ctx->device = dev;
    ctx->device_destroy = device_destroy;
    return MGEN_OK;
}

mgen_status mgi_device_create(mgen_context *ctx, const char *kernels)
{
    return mgi_device_open(ctx, "cpu", kernels, 0);
}

mgen_status mgi_device_create_like(mgen_context *ctx, const mgi_device *like)
{
    char name[32];
    if (!like->cuda)
        return mgi_device_create(ctx, NULL);
    snprintf(name, sizeof name, "cuda:%d", mgi_cuda_index(like->cuda));
    return mgi_device_open(ctx, name, NULL, like->memory_max);
}

mgen_status mgi_device_create_meta(mgen_context *ctx, const mgi_device *like)
{
    mgi_device *dev;
    MGI_TRY(create(ctx, like->cuda, NULL, &dev));
    dev->threads = like->threads;
    mgi_device_make_meta(dev);
    ctx->device = dev;
    ctx->device_destroy = device_destroy;
    return MGEN_OK;
}

void mgi_device_write(mgi_device *dev, void *to, const void *from, size_t bytes)
{
    if (dev->cuda)
        mgi_cuda_write(dev->cuda, to, from, bytes);
    else if (!dev->meta)
        memcpy(to, from, bytes);
}

void mgi_device_read(mgi_device *dev, void *to, const void *from, size_t bytes)
{
    if (dev->cuda) {
        mgi_cuda_keep_choices(dev->cuda); /* the host waits anyway */
        mgi_cuda_read(dev->cuda, to, from, bytes);
    } else if (dev->meta)
        memset(to, 0, bytes);
    else
        memcpy(to, from, bytes);
}

mgen_status mgi_device_wait(mgi_device *dev)
{
    if (!dev->cuda)
        return MGEN_OK;
    mgi_cuda_wait(dev->cuda);
    return mgi_cuda_status(dev->cuda);
}

void mgi_device_drop_workspace(mgi_device *dev)
{
    if (!dev->meta && dev->workspace)
        put_back(dev, dev->workspace);
    dev->workspace = NULL;
    mgi_device_count(dev, MGI_MEM_WORKSPACE, dev->workspace_bytes, false);
    if (dev->workspace_bytes)
        let_go(dev, dev->workspace_bytes);
    dev->workspace_bytes = 0;
}

mgen_status mgi_launch_prepare(mgi_device *dev, int op, const void *args)
{
    const char *why = "";
    if (!mgk_ops[op].check(args, &why))
        return mgi_fail(dev->ctx, MGEN_E_INTERNAL, "op %s was given illegal arguments: %s",
                        mgk_ops[op].name, why);
    const mgk_variant_info *v = dev->kernel[op];
    size_t need = (v->workspace ? v->workspace : mgk_ops[op].workspace)(args, dev->threads);
    if (need <= dev->workspace_bytes)
        return MGEN_OK;
    if (capturing(dev))
        return mgi_cuda_refuse(dev->cuda, "taking more workspace");
    mgi_device_drop_workspace(dev);
    if (!dev->meta)
        MGI_TRY(take(dev, need, true, &dev->workspace));
    dev->workspace_bytes = need;
    hold(dev, need);
    mgi_device_count(dev, MGI_MEM_WORKSPACE, need, true);
    return MGEN_OK;
}

mgen_status mgi_launch(mgi_device *dev, int op, const void *args)
{
    MGI_TRY(mgi_launch_prepare(dev, op, args));
    mgk_exec x = {.pool = dev->ctx->pool,
                  .workspace = dev->workspace,
                  .workspace_bytes = dev->workspace_bytes};
    dev->counts.launches++;
    dev->counts.flops += mgk_flops(op, args);
    if (dev->meta) {
        if (dev->watch)
            dev->watch->launch(dev->watch->user, op, args);
        return MGEN_OK;
    }
    if (dev->cuda) {
        x.stream = mgi_cuda_stream(dev->cuda);
        x.blas = mgi_cuda_blas(dev->cuda);
        x.dnn = mgi_cuda_dnn(dev->cuda);
    }
    dev->kernel[op]->launch(args, &x);
    return dev->cuda ? mgi_cuda_status(dev->cuda) : MGEN_OK;
}
