/* SPDX-License-Identifier: MIT */
#include "tensor/device.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/cpu.h"

#include <stdio.h>
#include <string.h>

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

mgen_status mgi_device_alloc(mgi_device *dev, size_t bytes, void **out, size_t *class_bytes)
{
    size_t rounded;
    if (bytes > ((size_t)1 << 60))
        return mgi_fail(dev->ctx, MGEN_E_NO_MEMORY, "a tensor of %zu bytes cannot exist", bytes);
    int index = size_class(bytes, &rounded);
    *class_bytes = rounded;
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
    return status;
}

void mgi_device_free(mgi_device *dev, void *ptr, size_t class_bytes)
{
    size_t rounded;
    if (!ptr)
        return;
    int index = size_class(class_bytes, &rounded);
    if (index >= MGI_DEVICE_CLASSES) {
        mgi_free(dev->ctx, ptr);
        return;
    }
    mgi_block *block = ptr;
    block->bytes = class_bytes;
    block->next = dev->cached[index];
    dev->cached[index] = block;
}

void mgi_device_trim(mgi_device *dev)
{
    for (int i = 0; i < MGI_DEVICE_CLASSES; i++) {
        while (dev->cached[i]) {
            mgi_block *block = dev->cached[i];
            dev->cached[i] = block->next;
            mgi_free(dev->ctx, block);
        }
    }
}

static void device_destroy(mgi_device *dev)
{
    mgen_context *ctx = dev->ctx;
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
    size_t need = mgk_ops[op].workspace(args, mgi_pool_threads(dev->ctx->pool));
    if (need <= dev->workspace_bytes)
        return MGEN_OK;
    mgi_free(dev->ctx, dev->workspace);
    dev->workspace = NULL;
    dev->workspace_bytes = 0;
    MGI_TRY(mgi_alloc(dev->ctx, need, &dev->workspace));
    dev->workspace_bytes = need;
    return MGEN_OK;
}

mgen_status mgi_launch(mgi_device *dev, int op, const void *args)
{
    MGI_TRY(mgi_launch_prepare(dev, op, args));
    mgk_exec x = {dev->ctx->pool, dev->workspace, dev->workspace_bytes};
    dev->kernel[op]->launch(args, &x);
    return MGEN_OK;
}
