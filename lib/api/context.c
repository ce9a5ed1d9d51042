/* SPDX-License-Identifier: MIT */
#include "api/args.h"

#include "core/alloc.h"
#include "tensor/device.h"

#include <string.h>

mgen_status mgi_struct_in(mgen_context *ctx, void *ours, size_t our_size, size_t least,
                          const void *theirs, const char *name)
{
    uint32_t size;
    if (!theirs)
        return mgi_fail(ctx, MGEN_E_INVALID, "%s is NULL", name);
    memcpy(&size, theirs, sizeof size);
    if (size < least || size > 65536)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "%s: struct_size is %u, expected %zu; fill the struct with its INIT macro",
                        name, size, our_size);
    for (size_t i = our_size; i < size; i++)
        if (((const unsigned char *)theirs)[i])
            return mgi_fail(ctx, MGEN_E_VERSION,
                            "%s: byte %zu is set, a field that this library (%s) does not know",
                            name, i, mgen_version());
    memset(ours, 0, our_size);
    memcpy(ours, theirs, size < our_size ? size : our_size);
    return MGEN_OK;
}

mgen_status mgi_context_idle(mgen_context *ctx)
{
    if (atomic_load(&ctx->busy))
        return mgi_fail(ctx, MGEN_E_STATE,
                        "a job is running on this context; wait for it or use another context");
    return MGEN_OK;
}

mgen_status mgi_check_text(mgen_context *ctx, const char *text, const char *name, size_t bytes_max)
{
    if (!text || !text[0])
        return mgi_fail(ctx, MGEN_E_INVALID, "%s is missing or empty", name);
    size_t bytes = strnlen(text, bytes_max + 1);
    if (bytes > bytes_max)
        return mgi_fail(ctx, MGEN_E_INVALID, "%s is longer than %zu bytes", name, bytes_max);
    return MGEN_OK;
}

mgen_status mgen_context_create(const mgen_context_params *params, mgen_context **out)
{
    static const mgen_context_params defaults = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context_params p;
    if (!out)
        return MGEN_E_INVALID;
    *out = NULL;
    MGI_TRY(mgi_struct_in(NULL, &p, sizeof p, offsetof(mgen_context_params, plugin_dir),
                          params ? params : &defaults, "context params"));
    if (p.threads > 256 || !p.allocator.alloc != !p.allocator.free)
        return MGEN_E_INVALID;
    mgen_context *ctx;
    MGI_TRY(mgi_context_init(&ctx, &p));
    mgen_status status = mgi_device_create(ctx, p.kernels);
    if (status != MGEN_OK) {
        mgi_context_free(ctx);
        return status;
    }
    *out = ctx;
    return MGEN_OK;
}

void mgen_context_destroy(mgen_context *ctx)
{
    if (ctx)
        mgi_context_free(ctx);
}

const char *mgen_last_error(const mgen_context *ctx)
{
    if (!ctx)
        return "no context: mgen_context_create() failed: struct_size, threads (0..256), the "
               "allocator "
               "(both functions or none), the kernels list, or memory";
    return atomic_load(&ctx->error_set) == 1 ? ctx->error_text : "";
}

void mgen_context_memory(const mgen_context *ctx, uint64_t *now, uint64_t *peak)
{
    if (now)
        *now = ctx ? atomic_load(&ctx->heap->now) : 0;
    if (peak)
        *peak = ctx ? atomic_load(&ctx->heap->peak) : 0;
}

const char *mgen_context_kernels(mgen_context *ctx)
{
    return ctx && ctx->device ? ctx->device->kernels_text : "";
}
