/* SPDX-License-Identifier: MIT */
#include "api/args.h"

#include "core/alloc.h"
#include "tensor/device.h"
#include "text/byte_tokenizer.h"
#include "text/prompt.h"

#include <stdio.h>
#include <string.h>

enum { STRUCT_MAX = 65536, STRUCT_UNIT = 8, THREADS_MAX = 256, PROMPT_MAX = 4096 };

/* Whether a struct ever had this size: one that ends amid a pointer is none. */
static bool size_ok(uint32_t size, size_t least)
{
    return size >= least && size <= STRUCT_MAX && size % STRUCT_UNIT == 0;
}

mgen_status mgi_struct_in(mgen_context *ctx, void *ours, size_t our_size, size_t least,
                          const void *theirs, const char *name)
{
    uint32_t size;
    if (!theirs)
        return mgi_fail(ctx, MGEN_E_INVALID, "%s is NULL", name);
    memcpy(&size, theirs, sizeof size);
    if (!size_ok(size, least))
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

mgen_status mgi_struct_out(void *theirs, const void *ours, size_t our_size, size_t least)
{
    uint32_t size;
    if (!theirs)
        return MGEN_E_INVALID;
    memcpy(&size, theirs, sizeof size);
    if (!size_ok(size, least))
        return MGEN_E_INVALID;
    memset(theirs, 0, size);
    memcpy(theirs, ours, size < our_size ? size : our_size);
    memcpy(theirs, &size, sizeof size);
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

mgen_status mgi_check_sampling(mgen_context *ctx, uint32_t schedule, uint32_t solver,
                               float guidance_from, float guidance_to, uint32_t drop_text)
{
    float to = guidance_to == 0.0f ? 1.0f : guidance_to;
    if (schedule > MGEN_SCHEDULE_LINEAR_QUADRATIC_1000)
        return mgi_fail(ctx, MGEN_E_INVALID, "schedule is %u; it must be a MGEN_SCHEDULE_*",
                        schedule);
    if (solver > MGEN_SOLVER_DOPRI5)
        return mgi_fail(ctx, MGEN_E_INVALID, "solver is %u; it must be a MGEN_SOLVER_*", solver);
    if (!(guidance_from >= 0.0f && guidance_from <= to && to <= 1.0f))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "guidance_from is %g and guidance_to %g; they must be times of 0..1, the "
                        "first no later than the second",
                        (double)guidance_from, (double)guidance_to);
    if (drop_text >> MGI_ROLES)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "drop_text is %u; it has a bit for each of the %d roles of text", drop_text,
                        MGI_ROLES);
    return MGEN_OK;
}

mgen_status mgi_check_noise_scale(mgen_context *ctx, float noise_scale)
{
    if (noise_scale >= 0.0f && noise_scale <= MGI_VT_NOISE_SCALE_MAX)
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID, "noise_scale is %g; it must be 0 (the model's) to %g",
                    (double)noise_scale, (double)MGI_VT_NOISE_SCALE_MAX);
}

mgen_status mgi_check_prompt(mgen_context *ctx, const char *text, const char *name)
{
    size_t bad, bytes = strnlen(text, PROMPT_MAX + 1);
    if (bytes > PROMPT_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "%s is longer than %d bytes", name, PROMPT_MAX);
    if (!mgi_utf8_valid(text, bytes, &bad))
        return mgi_fail(ctx, MGEN_E_INVALID, "%s is not UTF-8: byte %zu is malformed", name, bad);
    return MGEN_OK;
}

mgen_status mgi_take_prompt(mgen_context *ctx, const char **text, const char *name)
{
    if (!*text)
        return MGEN_OK;
    MGI_TRY(mgi_check_prompt(ctx, *text, name));
    if (mgi_prompt_blank(*text))
        *text = "";
    return MGEN_OK;
}

mgen_status mgi_need_prompt(mgen_context *ctx, const char *text, const char *name)
{
    if (!text || !text[0])
        return mgi_fail(ctx, MGEN_E_INVALID, "%s is missing or empty", name);
    MGI_TRY(mgi_check_prompt(ctx, text, name));
    if (mgi_prompt_blank(text))
        return mgi_fail(ctx, MGEN_E_INVALID, "%s is nothing but spaces; it needs words", name);
    return MGEN_OK;
}

/* The sentence of a context that did not come to be. */
static mgen_status refuse(const mgen_context_params *p, mgen_status status, const char *text)
{
    if (p->error_text && p->error_size > 0)
        snprintf(p->error_text, p->error_size, "%s", text);
    return status;
}

static mgen_status check_params(const mgen_context_params *p)
{
    if (p->threads > THREADS_MAX)
        return refuse(p, MGEN_E_INVALID, "context params: threads must be 0..256");
    if (!p->allocator.alloc != !p->allocator.free)
        return refuse(p, MGEN_E_INVALID, "context params: the allocator needs both functions");
    if (p->cache_dir && !p->cache_dir[0])
        return refuse(p, MGEN_E_INVALID, "context params: cache_dir is empty; NULL means none");
    if (p->autotune > 1 || p->reserved0)
        return refuse(p, MGEN_E_INVALID,
                      "context params: autotune must be 0 or 1, and what is reserved must be 0");
    return MGEN_OK;
}

mgen_status mgen_context_create(const mgen_context_params *params, mgen_context **out)
{
    static const mgen_context_params defaults = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context_params p;
    mgen_context *ctx;
    if (!out)
        return MGEN_E_INVALID;
    *out = NULL;
    MGI_TRY(mgi_struct_in(NULL, &p, sizeof p, offsetof(mgen_context_params, autotune),
                          params ? params : &defaults, "context params"));
    refuse(&p, MGEN_OK, "");
    MGI_TRY(check_params(&p));
    mgen_status status = mgi_context_init(&ctx, &p);
    if (status != MGEN_OK)
        return p.error_text && p.error_size && !p.error_text[0]
                   ? refuse(&p, status, "no memory for a context")
                   : status;
    status = mgi_device_open(ctx, p.device, p.kernels, p.device_memory_max);
    if (status != MGEN_OK) {
        refuse(&p, status, ctx->error_text);
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
    return ctx && atomic_load(&ctx->error_set) == 1 ? ctx->error_text : "";
}

mgen_status mgen_last_status(const mgen_context *ctx)
{
    return ctx && atomic_load(&ctx->error_set) == 1 ? ctx->error_code : MGEN_OK;
}

void mgen_context_memory(const mgen_context *ctx, uint64_t *now, uint64_t *peak)
{
    if (now)
        *now = ctx ? atomic_load(&ctx->heap->now) : 0;
    if (peak)
        *peak = ctx ? atomic_load(&ctx->heap->peak) : 0;
}

void mgen_context_trim(mgen_context *ctx)
{
    if (ctx && !atomic_load(&ctx->busy))
        mgi_device_trim(ctx->device);
}

const char *mgen_context_kernels(const mgen_context *ctx)
{
    return ctx ? ctx->device->kernels_text : "";
}
