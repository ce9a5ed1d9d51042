/* SPDX-License-Identifier: MIT */
#include "tensor/device.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/cpu.h"
#include "kernels/flops.h"

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

static void give(mgi_device *dev, mgi_held *held)
{
    mgi_device_free(dev, held->ptr, held->bytes);
    mgi_free(dev->ctx, held);
}

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

mgen_status mgi_device_alloc(mgi_device *dev, size_t bytes, void **out, size_t *class_bytes)
{
    size_t rounded;
    if (bytes > ((size_t)1 << 60))
        return mgi_fail(dev->ctx, MGEN_E_NO_MEMORY, "a tensor of %zu bytes cannot exist", bytes);
    int index = size_class(bytes, &rounded);
    *class_bytes = rounded;
    if (dev->meta) {
        *out = (void *)(uintptr_t)META_ADDRESS;
        if (index < MGI_DEVICE_CLASSES && dev->idle[index])
            dev->idle[index]--;
        else
            hold(dev, rounded);
        return MGEN_OK;
    }
    if (dev->waiting)
        collect(dev, false);
    if (index < MGI_DEVICE_CLASSES && dev->cached[index]) {
        mgi_block *block = dev->cached[index];
        dev->cached[index] = block->next;
        *out = block;
        return MGEN_OK;
    }
    mgen_status status = mgi_alloc(dev->ctx, rounded, out);
    if (status != MGEN_OK) {
        mgi_device_trim(dev);
        status = mgi_alloc(dev->ctx, rounded, out);
    }
    if (status == MGEN_OK)
        hold(dev, rounded);
    return status;
}

void mgi_device_free(mgi_device *dev, void *ptr, size_t class_bytes)
{
    size_t rounded;
    if (!ptr)
        return;
    int index = size_class(class_bytes, &rounded);
    if (index >= MGI_DEVICE_CLASSES) {
        let_go(dev, class_bytes);
        if (!dev->meta)
            mgi_free(dev->ctx, ptr);
        return;
    }
    if (dev->meta) {
        dev->idle[index]++;
        return;
    }
    mgi_block *block = ptr;
    block->bytes = class_bytes;
    block->next = dev->cached[index];
    dev->cached[index] = block;
}

/* Bytes of a size class. */
static size_t class_size(int index)
{
    size_t base = (size_t)64 << index / 8, step = base / 8 < 64 ? 64 : base / 8;
    return base + (size_t)(index % 8) * step;
}

void mgi_device_trim(mgi_device *dev)
{
    for (int i = 0; i < MGI_DEVICE_CLASSES; i++) {
        for (; dev->idle[i]; dev->idle[i]--)
            let_go(dev, class_size(i));
        while (dev->cached[i]) {
            mgi_block *block = dev->cached[i];
            dev->cached[i] = block->next;
            let_go(dev, block->bytes);
            mgi_free(dev->ctx, block);
        }
    }
}

static void device_destroy(mgi_device *dev)
{
    mgen_context *ctx = dev->ctx;
    collect(dev, true);
    mgi_device_trim(dev);
    mgi_free(ctx, dev->workspace);
    mgi_free(ctx, dev->kernels_text);
    mgi_free(ctx, dev);
}

/* Is `name` one of the comma-separated names in `list`? */
static bool listed(const char *list, const char *name)
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

mgen_status mgi_device_create(mgen_context *ctx, const char *kernels)
{
    mgi_device *dev;
    uint32_t features = mgi_cpu_features();
    if (kernels)
        MGI_TRY(check_list(ctx, kernels));
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *dev, &dev));
    dev->ctx = ctx;
    dev->threads = mgi_pool_threads(ctx->pool);
    dev->kind = MGI_MEM_ACTIVATION;
    for (int i = 0; i < mgk_variant_count; i++) {
        const mgk_variant_info *v = &mgk_variants[i];
        bool usable = v->launch && (v->needs & ~features) == 0;
        bool allowed = !kernels || !dev->kernel[v->op] || listed(kernels, v->name);
        if (usable && allowed)
            dev->kernel[v->op] = v;
    }
    ctx->device = dev;
    ctx->device_destroy = device_destroy;
    return describe(dev);
}

mgen_status mgi_launch_prepare(mgi_device *dev, int op, const void *args)
{
    const char *why = "";
    if (!mgk_ops[op].check(args, &why))
        return mgi_fail(dev->ctx, MGEN_E_INTERNAL, "op %s was given illegal arguments: %s",
                        mgk_ops[op].name, why);
    size_t need = mgk_ops[op].workspace(args, dev->threads);
    if (need <= dev->workspace_bytes)
        return MGEN_OK;
    if (!dev->meta) {
        mgi_free(dev->ctx, dev->workspace);
        dev->workspace = NULL;
    }
    mgi_device_count(dev, MGI_MEM_WORKSPACE, dev->workspace_bytes, false);
    if (dev->workspace_bytes)
        let_go(dev, dev->workspace_bytes);
    dev->workspace_bytes = 0;
    if (!dev->meta)
        MGI_TRY(mgi_alloc(dev->ctx, need, &dev->workspace));
    dev->workspace_bytes = need;
    hold(dev, need);
    mgi_device_count(dev, MGI_MEM_WORKSPACE, need, true);
    return MGEN_OK;
}

mgen_status mgi_launch(mgi_device *dev, int op, const void *args)
{
    MGI_TRY(mgi_launch_prepare(dev, op, args));
    mgk_exec x = {dev->ctx->pool, dev->workspace, dev->workspace_bytes};
    dev->counts.launches++;
    dev->counts.flops += mgk_flops(op, args);
    if (!dev->meta)
        dev->kernel[op]->launch(args, &x);
    return MGEN_OK;
}
