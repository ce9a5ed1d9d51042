/* SPDX-License-Identifier: MIT
 * Failures that are told later, or never: for who has another way, and for who hears of them before the host does. Tier 0. */
#ifndef MGI_CORE_QUIET_H
#define MGI_CORE_QUIET_H

#include "core/context.h"

/* The last error of a context. */
typedef struct mgi_message {
    mgen_status code; /* MGEN_OK: there is none */
    char text[sizeof(((struct mgen_context *)0)->error_text)];
} mgi_message;

/* As mgi_alloc(), without a message. */
mgen_status mgi_alloc_silent(mgen_context *ctx, size_t size, void *out);

/* What it is, whole, though another thread fails meanwhile. */
void mgi_message_get(mgen_context *ctx, mgi_message *out);
/* It is that again: what failed since then has been made good, or what failed then is told once more. */
void mgi_message_set(mgen_context *ctx, const mgi_message *message);

/* Around what may fail though its caller goes on: failures in between are not logged. `good`: it did well, or the caller has
 * another way, and the last error is what it was; else what failed last is logged. They nest. */
void mgi_quiet_begin(mgen_context *ctx, mgi_message *before);
void mgi_quiet_end(mgen_context *ctx, const mgi_message *before, bool good);
/* At the end of a call that was quiet from its beginning: what failed is one line of the log, with all that was said of it on the way
 * (mgi_fail_context). Not while a job runs on the context, whose failures would be kept back. */
static inline mgen_status mgi_quiet_told(mgen_context *ctx, const mgi_message *before,
                                         mgen_status status)
{
    mgi_quiet_end(ctx, before, status == MGEN_OK);
    return status;
}

#endif
