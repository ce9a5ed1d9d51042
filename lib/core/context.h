/* SPDX-License-Identifier: MIT
 * The context: what every call that can fail is given. Tier 0.
 *
 * Holds the last error, the heap, the thread pool and the host's callbacks.
 * Internal functions return mgen_status and, on failure, have already recorded the message with
 * mgi_fail(); callers forward it with MGI_TRY or MGI_TRY_GOTO.
 */
#ifndef MGI_CORE_CONTEXT_H
#define MGI_CORE_CONTEXT_H

#include "moviegen.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mgi_heap;
struct mgi_pool;
struct mgi_device;

struct mgen_context {
    struct mgi_heap *heap;
    void (*log)(void *user, int32_t level, const char *text);
    void *log_user;
    int32_t (*progress)(void *user, const char *what, uint64_t done, uint64_t total);
    void *progress_user;
    struct mgi_pool *pool;
    struct mgi_device *device; /* made by tier 2, owned by the context */
    void (*device_destroy)(struct mgi_device *device);
    char *plugin_dir;      /* NULL = installed place */
    char *cache_dir;       /* NULL = no cache */
    bool autotune;         /* products on a GPU: see moviegen.h */
    _Atomic int busy;      /* 1 while a job's thread uses the context */
    _Atomic int error_set; /* 1: error_* below are valid; 2: being written */
    mgen_status error_code;
    char error_text[1024];
    _Atomic int quiet; /* not 0: what fails may be made good, and is not logged (core/quiet.h) */
};

/* Everything but the device, which the API layer adds. params must be complete and checked. */
mgen_status mgi_context_init(mgen_context **out, const mgen_context_params *params);
void mgi_context_free(mgen_context *ctx);
/* A private context on the heap of `ctx`, with one thread and without callbacks: the home of what may
 * outlive `ctx`, or of shapes that are walked through. No device yet. */
mgen_status mgi_context_private(mgen_context *ctx, mgen_context **out);

/* Record the error and return `code`. The text says what, where and what to do; source place is
 * appended for MGEN_E_INTERNAL only. ctx NULL: only returns code. Any thread; of several that fail
 * at the same moment one message is kept. */
mgen_status mgi_fail_at(mgen_context *ctx, mgen_status code, const char *file, int line,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));
#define mgi_fail(ctx, code, ...) mgi_fail_at((ctx), (code), __FILE__, __LINE__, __VA_ARGS__)

/* What failed on `from` failed here: its message becomes that of `ctx`. Returns code. */
mgen_status mgi_fail_from(mgen_context *ctx, mgen_status code, const mgen_context *from);

/* Put "prefix: " in front of the recorded message: a caller adds where it was. Returns code. */
mgen_status mgi_fail_context(mgen_context *ctx, mgen_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define MGI_TRY(expr)                                                                              \
    do {                                                                                           \
        mgen_status mgi_try_status_ = (expr);                                                      \
        if (mgi_try_status_ != MGEN_OK)                                                            \
            return mgi_try_status_;                                                                \
    } while (0)

/* For functions with one cleanup ladder: `status` is the function's result variable. */
#define MGI_TRY_GOTO(status, expr, label)                                                          \
    do {                                                                                           \
        (status) = (expr);                                                                         \
        if ((status) != MGEN_OK)                                                                   \
            goto label;                                                                            \
    } while (0)

/* The system's text for an errno value; may use buffer. Any thread. */
const char *mgi_errno_text(int error, char *buffer, size_t size);

/* Tell the host how far a blocking call is. CANCELLED if it wants no more of it. */
mgen_status mgi_progress(mgen_context *ctx, const char *what, uint64_t done, uint64_t total);

void mgi_log(mgen_context *ctx, int32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
