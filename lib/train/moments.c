/* SPDX-License-Identifier: MIT */
#include "train/moments.h"

#include "core/alloc.h"

#include <math.h>
#include <stdio.h>

mgen_status mgi_moments_init(mgen_context *ctx, int64_t channels, mgi_moments *out)
{
    *out = (mgi_moments){.channels = channels};
    return mgi_alloc_zero(ctx, 2 * (size_t)channels, sizeof *out->sum, &out->sum);
}

void mgi_moments_free(mgen_context *ctx, mgi_moments *m)
{
    mgi_free(ctx, m->sum);
    m->sum = NULL;
}

void mgi_moments_add(mgi_run *run, mgi_moments *m, const T *z)
{
    const int64_t c = m->channels;
    float *values;
    if (!z || !mgi_ok(run, mgi_alloc(run->ctx, (size_t)z->count * sizeof *values, &values)))
        return;
    mgi_tensor_read(z, 0, values, z->count);
    for (int64_t k = 0; k < z->count; k++) {
        double v = values[k];
        m->sum[k % c] += v;
        m->sum[c + k % c] += v * v;
    }
    m->count += z->count / c;
    mgi_free(run->ctx, values);
}

bool mgi_moments_read(mgi_run *run, mgi_moments *m, const mgi_message *before, mgen_status status)
{
    const bool ends =
        status == MGEN_E_NO_MEMORY || status == MGEN_E_LIMIT || status == MGEN_E_CANCELLED;
    m->read += status == MGEN_OK;
    if (status != MGEN_OK && !ends && m->unread++ == 0)
        snprintf(m->why, sizeof m->why, "%s", mgen_last_error(run->ctx));
    mgi_quiet_end(run->ctx, before, !ends);
    return mgi_ok(run, ends ? status : MGEN_OK) && status == MGEN_OK;
}

mgen_status mgi_moments_share(mgi_comm *comm, mgi_moments *m)
{
    int64_t counts[3] = {m->count, m->read, m->unread};
    if (!comm)
        return MGEN_OK;
    comm = mgi_comm_host(comm);
    mgi_comm_note(comm, "moments of latents", 0);
    MGI_TRY(mgi_comm_broadcast(comm, MGK_U8, m->sum, 2 * m->channels * (int64_t)sizeof *m->sum, 0,
                               NULL));
    MGI_TRY(mgi_comm_broadcast(comm, MGK_U8, counts, sizeof counts, 0, NULL));
    MGI_TRY(mgi_comm_broadcast(comm, MGK_U8, m->why, sizeof m->why, 0, NULL));
    m->count = counts[0];
    m->read = counts[1];
    m->unread = counts[2];
    return MGEN_OK;
}

static void tell_of_unread(mgen_context *ctx, const mgi_moments *m)
{
    if (m->unread)
        mgi_log(
            ctx, MGEN_LOG_WARN,
            "%lld of %lld samples by which latents are normalised cannot be read and are passed "
            "over%s; the first: %.400s",
            (long long)m->unread, (long long)(m->read + m->unread),
            m->count ? "" : ": mean and deviation stay what they were, so save again once they can",
            m->why);
}

mgen_status mgi_moments_write(mgen_context *ctx, const mgi_moments *m, T *shift, T *scale)
{
    const int64_t c = m->channels;
    float *values;
    tell_of_unread(ctx, m);
    if (!m->count)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, 2 * (size_t)c, sizeof *values, &values));
    for (int64_t k = 0; k < c; k++) {
        double mean = m->sum[k] / (double)m->count;
        double var = m->sum[c + k] / (double)m->count - mean * mean;
        values[k] = (float)mean;
        values[c + k] = (float)(1.0 / sqrt(fmax(var, 1e-8)));
    }
    mgi_tensor_write(shift, 0, values, c);
    mgi_tensor_write(scale, 0, values + c, c);
    mgi_free(ctx, values);
    return MGEN_OK;
}
