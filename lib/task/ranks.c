/* SPDX-License-Identifier: MIT */
#include "task/ranks.h"

#include "core/alloc.h"

enum {
    TOKENS_ELSEWHERE = 512, /* in an estimate, of an encoder that is not here */
    TOKENS_MOST = 8192      /* of any encoder */
};

mgi_comm *mgi_ranks_of(const mgi_mesh *mesh)
{
    mgi_comm *world = mesh ? mesh->group[MGI_AXIS_WORLD] : NULL;
    return world && mgi_comm_size(world) > 1 ? world : NULL;
}

/* What a communicator says stands in its own context. */
static mgen_status told(mgen_context *ctx, mgi_comm *comm, mgen_status status)
{
    mgen_context *own = mgi_comm_context(comm);
    return status != MGEN_OK && own != ctx ? mgi_fail_from(ctx, status, own) : status;
}

mgen_status mgi_ranks_share(mgen_context *ctx, mgi_comm *ranks, int32_t dtype, void *values,
                            int64_t count, int root)
{
    mgi_comm *host = mgi_comm_host(ranks);
    return told(ctx, host, mgi_comm_broadcast(host, dtype, values, count, root, NULL));
}

/* Values of x, which has the same shape on all ranks, from one of them. NULL on all of them if that fails on one before
 * they are sent. */
static T *share_values(mgi_run *run, mgi_comm *ranks, int root, T *x)
{
    mgi_comm *host = mgi_comm_host(ranks);
    const bool has = mgi_comm_rank(host) == root;
    void *values = NULL;
    if (run->status == MGEN_OK &&
        mgi_ok(run, mgi_alloc(run->ctx, (size_t)x->count * mgi_dtype_size(x->dtype), &values)) &&
        has)
        mgi_tensor_read(x, 0, values, x->count);
    if (run->status == MGEN_OK)
        mgi_ok(run, mgi_device_wait(run->dev));
    mgen_status status = mgi_comm_together_in(run->ctx, ranks, run->status, NULL);
    if (mgi_ok(run, status))
        mgi_ok(run, mgi_ranks_share(run->ctx, host, x->dtype, values, x->count, root));
    if (run->status == MGEN_OK && !has)
        mgi_tensor_write(x, 0, values, x->count);
    mgi_ok(run, mgi_device_wait(run->dev));
    mgi_free(run->ctx, values);
    return run->status == MGEN_OK ? x : NULL;
}

/* -- text ------------------------------------------------------------------------------------- */

/* What stands in the head of a role's text, from another rank. */
static mgen_status check_head(mgen_context *ctx, int root, const int64_t *head, int64_t count)
{
    bool ok = head[0] >= 1 && head[0] <= TOKENS_MOST && (head[1] == MGK_F32 || head[1] == MGK_BF16);
    for (int64_t i = 0; i < count; i++)
        ok = ok && head[2 + i] >= 0 && head[2 + i] <= head[0];
    return ok ? MGEN_OK
              : mgi_fail(ctx, MGEN_E_DESYNC,
                         "rank %d tells a text of %lld tokens in dtype %lld, as none can be", root,
                         (long long)head[0], (long long)head[1]);
}

/* (count,S,width) of a role from the rank that has it to all. S, the dtype and the tokens of each row go first. */
static T *share_role(mgi_run *run, mgi_comm *ranks, int root, int64_t width, int64_t count,
                     int64_t *tokens, T *own)
{
    bool has = mgi_comm_rank(ranks) == root, meta = run->dev->meta;
    int64_t *head = NULL;
    T *x = own;
    if (run->status == MGEN_OK)
        mgi_ok(run, mgi_alloc_zero(run->ctx, (size_t)count + 2, sizeof *head, &head));
    if (!mgi_ok(run, mgi_comm_together_in(run->ctx, ranks, run->status, NULL))) {
        mgi_free(run->ctx, head);
        return NULL;
    }
    head[0] = own ? own->dims[1] : meta ? TOKENS_ELSEWHERE : 0;
    head[1] = own ? own->dtype : MGK_F32;
    for (int64_t i = 0; i < count; i++)
        head[2 + i] = has ? tokens[i] : head[0];
    mgi_ok(run, mgi_ranks_share(run->ctx, ranks, MGK_U64, head, count + 2, root));
    if (run->status == MGEN_OK && !meta)
        mgi_ok(run, check_head(run->ctx, root, head, count));
    for (int64_t i = 0; i < count; i++)
        tokens[i] = head[2 + i];
    if (!own && run->status == MGEN_OK)
        x = mgi_new(run, (int32_t)head[1], MGI_DIMS(count, head[0], width));
    mgi_free(run->ctx, head);
    return share_values(run, ranks, root, x);
}

void mgi_ranks_text(mgi_run *run, mgi_comm *ranks, const mgi_networks *n, uint32_t drop,
                    const char *const *prompts, int64_t count, int64_t *tokens, mgi_vt_text *out)
{
    const mgi_mesh *mesh = n->video->mesh;
    const mgi_text_encoder *own[MGI_ROLES];
    for (int i = 0; i < MGI_ROLES; i++)
        own[i] = !ranks || mgi_runs_text(mesh, i) ? n->text[i] : NULL;
    mgi_text_streams(run, own, drop, prompts, count, tokens, out);
    /* What fails on one rank does not keep it from what the others do together. */
    for (int i = 0; i < MGI_ROLES && ranks; i++) {
        if (!n->video->config.text[i] || (drop >> i & 1))
            continue;
        out->x[i] = share_role(run, ranks, mgi_text_rank(mesh, i), n->video->config.text[i], count,
                               tokens + i * count, out->x[i]);
        out->tokens[i] = tokens + i * count;
    }
}

/* -- photos ----------------------------------------------------------------------------------- */

T *mgi_ranks_photos(mgi_run *run, mgi_comm *ranks, const mgi_clip_vision *vision,
                    const mgi_photo *photos, int64_t count)
{
    if (!ranks || mgi_comm_rank(ranks) == 0) {
        T *x = mgi_photo_tokens(run, vision, photos, count);
        return ranks ? share_values(run, ranks, 0, x) : x;
    }
    const mgi_clip_vision_config *c = &vision->config;
    return share_values(
        run, ranks, 0,
        mgi_new(run, MGK_F32, MGI_DIMS(count, mgi_clip_vision_token_count(c), c->dim)));
}
