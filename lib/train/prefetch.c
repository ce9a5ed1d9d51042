/* SPDX-License-Identifier: MIT */
#include "train/prefetch.h"

#include "core/alloc.h"
#include "core/thread.h"
#include "tensor/device.h"

#include <string.h>

typedef struct batch {
    mgi_prefetch_clips clips;
    mgen_status status;
    size_t bytes;
    uint8_t *pixels;
} batch;

struct mgi_prefetch {
    mgen_context *ctx;
    uint64_t seed;
    bool ahead, made; /* made: `next` is complete, or being made by the thread */
    bool running;
    pthread_t thread;
    batch now, next;
};

mgen_status mgi_prefetch_create(mgen_context *ctx, uint64_t seed, bool ahead, mgi_prefetch **out)
{
    mgi_prefetch *p;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *p, &p));
    p->ctx = ctx;
    p->seed = seed;
    p->ahead = ahead;
    *out = p;
    return MGEN_OK;
}

void mgi_prefetch_rest(mgi_prefetch *p)
{
    if (p->running)
        pthread_join(p->thread, NULL);
    p->running = false;
}

void mgi_prefetch_destroy(mgi_prefetch *p)
{
    if (!p)
        return;
    mgi_prefetch_rest(p);
    mgi_free(p->ctx, p->now.pixels);
    mgi_free(p->ctx, p->next.pixels);
    mgi_free(p->ctx, p);
}

static void make(mgi_prefetch *p, batch *b)
{
    b->status = mgi_dataset_clips(p->ctx, b->clips.dataset, p->seed, b->clips.first, b->clips.count,
                                  b->clips.frames, b->pixels);
}

static void *make_next(void *user)
{
    mgi_prefetch *p = user;
    make(p, &p->next);
    return NULL;
}

static mgen_status make_room(mgi_prefetch *p, batch *b, mgi_prefetch_clips clips)
{
    const mgi_dataset *ds = clips.dataset;
    size_t need = (size_t)(clips.count * clips.frames * ds->height * ds->width * 3);
    b->clips = clips;
    if (need <= b->bytes)
        return MGEN_OK;
    mgi_free(p->ctx, b->pixels);
    b->pixels = NULL;
    b->bytes = 0;
    MGI_TRY(mgi_alloc(p->ctx, need, &b->pixels));
    b->bytes = need;
    return MGEN_OK;
}

static void begin(mgi_prefetch *p, mgi_prefetch_clips clips)
{
    p->made =
        p->ahead && mgi_dataset_drawn(clips.dataset) && make_room(p, &p->next, clips) == MGEN_OK;
    if (!p->made)
        return;
    p->running = mgi_thread_start(&p->thread, make_next, p) == 0;
    p->made = p->running;
}

mgen_status mgi_prefetch_take(mgi_prefetch *p, mgi_prefetch_clips clips, mgi_prefetch_clips next,
                              const uint8_t **pixels)
{
    *pixels = NULL;
    if (p->ctx->device->meta) /* which looks at nothing */
        return MGEN_OK;
    mgi_prefetch_rest(p);
    if (p->made && !memcmp(&p->next.clips, &clips, sizeof clips)) {
        batch other = p->now;
        p->now = p->next;
        p->next = other;
    } else {
        MGI_TRY(make_room(p, &p->now, clips));
        make(p, &p->now);
    }
    p->made = false;
    *pixels = p->now.pixels;
    MGI_TRY(p->now.status);
    if (next.count > 0)
        begin(p, next);
    return MGEN_OK;
}
