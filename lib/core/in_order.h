/* SPDX-License-Identifier: MIT
 * Items worked on by several threads, and delivered on the caller's, one after the other in their order. Tier 0.
 *
 * What comes of it does not depend on how many threads there are, as long as an item's work depends on that item alone. */
#ifndef MGI_CORE_IN_ORDER_H
#define MGI_CORE_IN_ORDER_H

#include "core/pool.h"

typedef struct mgi_in_order mgi_in_order;

typedef struct mgi_in_order_calls {
    /* Any thread. `place`, 0 .. places - 1, is the item's alone until it has been delivered. */
    void (*work)(void *user, mgi_in_order *run, int64_t item, int64_t place);
    /* The caller's thread, items in their order; false: that is all. */
    bool (*deliver)(void *user, int64_t item, int64_t place);
    void *user;
} mgi_in_order_calls;

/* How many places there are for items that are begun and not delivered. */
int64_t mgi_in_order_places(const mgi_pool *pool);
/* Items first .. count - 1, on all threads of the pool or (`alone`) on the caller's. Those that were begun when delivery ended stay in
 * their places; nothing of them is at work any more. */
mgen_status mgi_in_order_run(mgen_context *ctx, const mgi_in_order_calls *calls, int64_t first,
                             int64_t count, bool alone);
/* For long work, now and then: delivers what is there, on the caller's thread; false: nobody wants this item any more. */
bool mgi_in_order_goes_on(mgi_in_order *run);

#endif
