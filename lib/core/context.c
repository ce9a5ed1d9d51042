/* SPDX-License-Identifier: MIT
 * The context: birth, death, last error, log. */
#include "core/context.h"

#include "core/alloc.h"
#include "core/cpu.h"
#include "core/pool.h"
#include "core/quiet.h"

#include <stdio.h>
#include <string.h>

#define THREADS_MAX 256

enum { ERROR_NONE = 0, ERROR_VALID = 1, ERROR_BEING_WRITTEN = 2 };

/* Takes over one owner of the heap, also on failure. */
static mgen_status make(mgi_heap *heap, mgen_context **out)
{
    *out = NULL;
    if (!heap)
        return MGEN_E_NO_MEMORY;
    mgen_context *ctx = heap->allocator.alloc(heap->allocator.user, sizeof(*ctx));
    if (!ctx) {
        mgi_heap_release(heap);
        return MGEN_E_NO_MEMORY;
    }
    memset(ctx, 0, sizeof(*ctx));
    ctx->heap = heap;
    *out = ctx;
    return MGEN_OK;
}

mgen_status mgi_context_init(mgen_context **out, const mgen_context_params *params)
{
    mgen_context *ctx;
    mgen_status status;
    mgen_allocator allocator = params->allocator;
    if (!allocator.alloc || !allocator.free)
        allocator = mgi_libc_allocator;
    *out = NULL;
    MGI_TRY(make(mgi_heap_create(&allocator, params->host_memory_max), &ctx));
    ctx->log = params->log;
    ctx->log_user = params->log_user;
    ctx->progress = params->progress;
    ctx->progress_user = params->progress_user;
    ctx->autotune = params->autotune != 0;
    if (params->plugin_dir)
        MGI_TRY_GOTO(status, mgi_strdup(ctx, params->plugin_dir, &ctx->plugin_dir), fail);
    if (params->cache_dir)
        MGI_TRY_GOTO(status, mgi_strdup(ctx, params->cache_dir, &ctx->cache_dir), fail);
    int threads = params->threads ? (int)params->threads : mgi_cpu_count();
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    MGI_TRY_GOTO(status, mgi_pool_create(ctx, threads, &ctx->pool), fail);
    *out = ctx;
    return MGEN_OK;
fail:
    if (params->error_text && params->error_size > 0)
        snprintf(params->error_text, params->error_size, "%s", ctx->error_text);
    mgi_context_free(ctx);
    return status;
}

mgen_status mgi_context_private(mgen_context *ctx, mgen_context **out)
{
    mgen_status status = make(mgi_heap_retain(ctx->heap), out);
    if (status != MGEN_OK)
        return mgi_fail(ctx, status, "no memory for a context");
    status = mgi_pool_create(*out, 1, &(*out)->pool);
    if (status != MGEN_OK) {
        mgi_fail_from(ctx, status, *out);
        mgi_context_free(*out);
        *out = NULL;
    }
    return status;
}

void mgi_context_free(mgen_context *ctx)
{
    if (!ctx)
        return;
    if (ctx->device && ctx->device_destroy)
        ctx->device_destroy(ctx->device);
    mgi_pool_destroy(ctx, ctx->pool);
    mgi_free(ctx, ctx->plugin_dir);
    mgi_free(ctx, ctx->cache_dir);
    mgi_heap *heap = ctx->heap;
    heap->allocator.free(heap->allocator.user, ctx, sizeof(*ctx));
    mgi_heap_release(heap);
}

/* Bytes of the character of UTF-8 at `c`; 0 = it is none. */
static int character(const char *c)
{
    const unsigned char *u = (const unsigned char *)c;
    int more = u[0] < 0x80   ? 0
               : u[0] < 0xC2 ? -1
               : u[0] < 0xE0 ? 1
               : u[0] < 0xF0 ? 2
               : u[0] < 0xF5 ? 3
                             : -1;
    for (int i = 1; i <= more; i++)
        if ((u[i] & 0xC0) != 0x80)
            return 0;
    const bool wrong = (u[0] == 0xE0 && u[1] < 0xA0) || (u[0] == 0xED && u[1] > 0x9F) ||
                       (u[0] == 0xF0 && u[1] < 0x90) || (u[0] == 0xF4 && u[1] > 0x8F);
    return wrong ? 0 : more + 1;
}

/* Messages can quote names from hostile files: one line of UTF-8, no control characters, and no
 * half character at the end where it was cut. `length` is what snprintf wanted to write. */
static void tidy(char *text, size_t size, int length)
{
    if (length < 0) /* the C library refused the format: keep what is there */
        text[size - 1] = '\0';
    else if ((size_t)length >= size) {
        static const char dots[] = "...";
        size_t end = size - sizeof(dots);
        while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80)
            end--;
        memcpy(text + end, dots, sizeof(dots));
    }
    for (char *c = text; *c;) {
        const int bytes = character(c);
        if (!bytes || (unsigned char)*c < 0x20 || *c == 0x7F)
            *c = '?';
        c += bytes ? bytes : 1;
    }
}

static void record(mgen_context *ctx, mgen_status code, const char *text)
{
    int before = atomic_load_explicit(&ctx->error_set, memory_order_relaxed);
    if (before == ERROR_BEING_WRITTEN ||
        !atomic_compare_exchange_strong(&ctx->error_set, &before, ERROR_BEING_WRITTEN))
        return; /* another thread fails right now: its message is as good */
    ctx->error_code = code;
    snprintf(ctx->error_text, sizeof(ctx->error_text), "%s", text);
    atomic_store(&ctx->error_set, ERROR_VALID);
}

mgen_status mgi_fail_at(mgen_context *ctx, mgen_status code, const char *file, int line,
                        const char *format, ...)
{
    if (!ctx)
        return code;
    char text[sizeof(ctx->error_text)] = ""; /* the arguments may point into error_text */
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    tidy(text, sizeof(text), length);
    if (code == MGEN_E_INTERNAL) {
        size_t used = strlen(text);
        length = snprintf(text + used, sizeof(text) - used, " (%s:%d)", file, line);
        tidy(text + used, sizeof(text) - used, length < 0 ? length : 0);
    }
    record(ctx, code, text);
    if (!atomic_load(&ctx->quiet))
        mgi_log(ctx, MGEN_LOG_ERROR, "%s", text);
    return code;
}

/* The state before, which is left by setting another one: for a moment the message is this thread's alone. */
static int seize(mgen_context *ctx)
{
    int before = atomic_load(&ctx->error_set);
    while (before == ERROR_BEING_WRITTEN ||
           !atomic_compare_exchange_weak(&ctx->error_set, &before, ERROR_BEING_WRITTEN))
        before = atomic_load(&ctx->error_set);
    return before;
}

void mgi_message_get(mgen_context *ctx, mgi_message *out)
{
    int before = seize(ctx);
    out->code = before == ERROR_VALID ? ctx->error_code : MGEN_OK;
    snprintf(out->text, sizeof(out->text), "%s", before == ERROR_VALID ? ctx->error_text : "");
    atomic_store(&ctx->error_set, before);
}

void mgi_message_set(mgen_context *ctx, const mgi_message *message)
{
    seize(ctx);
    ctx->error_code = message->code;
    snprintf(ctx->error_text, sizeof(ctx->error_text), "%s", message->text);
    atomic_store(&ctx->error_set, message->code == MGEN_OK ? ERROR_NONE : ERROR_VALID);
}

void mgi_quiet_begin(mgen_context *ctx, mgi_message *before)
{
    mgi_message_get(ctx, before);
    atomic_fetch_add(&ctx->quiet, 1);
}

void mgi_quiet_end(mgen_context *ctx, const mgi_message *before, bool good)
{
    const bool outer = atomic_fetch_sub(&ctx->quiet, 1) == 1;
    mgi_message said;
    if (good) {
        mgi_message_set(ctx, before);
    } else if (outer) {
        mgi_message_get(ctx, &said);
        mgi_log(ctx, MGEN_LOG_ERROR, "%s", said.text);
    }
}

mgen_status mgi_fail_from(mgen_context *ctx, mgen_status code, const mgen_context *from)
{
    bool known = from && atomic_load(&from->error_set) == ERROR_VALID;
    return mgi_fail(ctx, code, "%s", known ? from->error_text : mgen_status_name(code));
}

mgen_status mgi_fail_context(mgen_context *ctx, mgen_status code, const char *format, ...)
{
    if (!ctx)
        return code;
    char text[sizeof(ctx->error_text)] = "";
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < sizeof(text)) {
        mgi_message said;
        mgi_message_get(ctx, &said);
        int more = snprintf(text + length, sizeof(text) - (size_t)length, ": %s",
                            said.text[0] ? said.text : mgen_status_name(code));
        length = more < 0 ? more : length + more;
    }
    tidy(text, sizeof(text), length);
    record(ctx, code, text);
    return code;
}

mgen_status mgi_progress(mgen_context *ctx, const char *what, uint64_t done, uint64_t total)
{
    if (ctx->progress && ctx->progress(ctx->progress_user, what, done, total) != 0)
        return mgi_fail(ctx, MGEN_E_CANCELLED, "%s: cancelled", what);
    return MGEN_OK;
}

void mgi_log(mgen_context *ctx, int32_t level, const char *format, ...)
{
    if (!ctx || !ctx->log)
        return;
    char text[sizeof(ctx->error_text)] = "";
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    tidy(text, sizeof(text), length);
    ctx->log(ctx->log_user, level, text);
}
