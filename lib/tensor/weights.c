/* SPDX-License-Identifier: MIT */
#include "tensor/weights.h"

#include "core/alloc.h"

typedef struct kept_weight {
    mgi_tensor *w, *space;
    int32_t trans;
    mgk_matmul_kept kept;
} kept_weight;

struct mgi_weights {
    kept_weight *list;
    int64_t count, capacity;
    int64_t next; /* where the search begins: the same products come in the same order */
};

void mgi_weights_begin(mgi_run *run)
{
    run->weights_open++;
}

void mgi_weights_end(mgi_run *run)
{
    struct mgi_weights *all = run->weights;
    if (--run->weights_open > 0 || !all)
        return;
    for (int64_t i = 0; i < all->count; i++) {
        mgi_tensor_release(all->list[i].space);
        mgi_tensor_release(all->list[i].w);
    }
    mgi_free(run->ctx, all->list);
    mgi_free(run->ctx, all);
    run->weights = NULL;
}

static kept_weight *found(struct mgi_weights *all, const mgi_tensor *w, int32_t trans)
{
    for (int64_t i = 0; i < all->count; i++) {
        int64_t at = (all->next + i) % all->count;
        if (all->list[at].w != w || all->list[at].trans != trans)
            continue;
        all->next = at + 1;
        return &all->list[at];
    }
    return NULL;
}

static mgen_status add(mgi_run *run, mgi_tensor *w, const mgk_matmul_args *args)
{
    struct mgi_weights *all = run->weights;
    const int64_t bytes = (int64_t)mgk_matmul_kept_bytes(args);
    if (all->count == all->capacity) {
        int64_t more = all->capacity ? 2 * all->capacity : 16;
        MGI_TRY(mgi_realloc(run->ctx, &all->list, (size_t)more, sizeof *all->list));
        all->capacity = more;
    }
    kept_weight *k = &all->list[all->count];
    int kind = mgi_device_kind(run->dev, MGI_MEM_WORKSPACE);
    mgen_status status = mgi_tensor_create(run->dev, MGK_U8, 1, &bytes, &k->space);
    mgi_device_kind(run->dev, kind);
    MGI_TRY(status);
    k->trans = args->trans_b;
    k->w = mgi_tensor_retain(w); /* no other tensor gets its address */
    k->kept = (mgk_matmul_kept){.space = mgi_data(k->space)};
    all->next = ++all->count;
    return MGEN_OK;
}

mgk_matmul_kept *mgi_weights_kept(mgi_run *run, mgi_tensor *w, const mgk_matmul_args *args)
{
    bool host = !(run->dev->kernel[MGK_OP_matmul]->needs & MGK_NEEDS_CUDA);
    if (run->weights_open == 0 || run->record || run->hook || !host || args->m < 1 || args->n < 1 ||
        args->k < 1 || args->m > MGI_WEIGHTS_ROWS || run->status != MGEN_OK)
        return NULL;
    if (!run->weights &&
        !mgi_ok(run, mgi_alloc_zero(run->ctx, 1, sizeof *run->weights, &run->weights)))
        return NULL;
    kept_weight *k = found(run->weights, w, args->trans_b);
    if (!k && mgi_ok(run, add(run, w, args)))
        k = &run->weights->list[run->weights->count - 1];
    return k ? &k->kept : NULL;
}
