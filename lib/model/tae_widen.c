/* SPDX-License-Identifier: MIT
 * A wider decoder that begins as the one that was trained.
 *
 * The channels that a layer had keep their weights and read nothing of new ones. New channels have the values that the
 * network was made with, so that they see all there is; what reads them learns to. */
#include "core/alloc.h"
#include "model/tae.h"

#include <string.h>

bool mgi_tae_widens(const mgi_tae_config *from, const mgi_tae_config *to)
{
    bool wider = false;
    if (from->levels != to->levels || from->ldm != to->ldm ||
        memcmp(from->channels, to->channels, sizeof to->channels) != 0)
        return false;
    for (int k = 0; k < to->levels; k++) {
        int64_t before = mgi_tae_width(from, false, k), after = mgi_tae_width(to, false, k);
        if (after < before)
            return false;
        wider = wider || after > before;
    }
    return wider;
}

/* Statistics of new channels together with old ones would change what comes of these. */
static mgen_status check_norms(mgen_context *ctx, const mgi_tae_config *from,
                               const mgi_tae_config *to)
{
    int last = to->levels - 1;
    if (to->ldm)
        return mgi_fail(
            ctx, MGEN_E_STATE,
            "a decoder of \"structure\": \"latent-diffusion\" cannot be widened; give it the "
            "\"decoder_channels\" of the model it starts from");
    if (to->groups)
        return mgi_fail(ctx, MGEN_E_STATE,
                        "a decoder with \"norm\": \"group\" cannot be widened: its groups would "
                        "be others; give it the \"decoder_channels\" of the model it starts from");
    if (to->attention && mgi_tae_width(from, false, last) != mgi_tae_width(to, false, last))
        return mgi_fail(ctx, MGEN_E_STATE,
                        "the last of \"decoder_channels\" must stay %lld: attention, which "
                        "normalises them, cannot be widened",
                        (long long)mgi_tae_width(from, false, last));
    return MGEN_OK;
}

/* y, weights (outputs, taps, inputs) or biases (outputs) of a layer, gets those of the narrower layer x. */
static void embed(float *y, const int64_t to[3], const float *x, const int64_t from[3])
{
    for (int64_t o = 0; o < from[0]; o++)
        for (int64_t t = 0; t < to[1]; t++) {
            float *row = y + (o * to[1] + t) * to[2];
            memset(row, 0, (size_t)to[2] * sizeof *row);
            memcpy(row, x + (o * to[1] + t) * from[2], (size_t)from[2] * sizeof *row);
        }
}

/* The entry of a parameter that is larger than it becomes one of as many values: *values, to be freed. */
static mgen_status widen(const mgi_tae *tae, const mgi_param *p, mgi_st_entry *e, float **values)
{
    mgen_context *ctx = tae->module.ctx;
    bool kernel = p->rank == 4;
    const int64_t to[3] = {p->dims[0], kernel ? p->dims[1] * p->dims[2] : 1,
                           kernel ? p->dims[3] : 1};
    const int64_t from[3] = {e->dims[0], to[1], kernel ? e->dims[3] : 1};
    int64_t n = from[0] * from[1] * from[2], m = p->value->count;
    MGI_TRY(mgi_alloc(ctx, (size_t)(n + m) * sizeof **values, values));
    MGI_TRY(mgi_st_read_f32(ctx, e, *values + m, n));
    MGI_TRY(mgi_tensor_values(p->value, 0, *values, m));
    embed(*values, to, *values + m, from);
    e->dtype = MGI_ST_F32;
    memcpy(e->dims, p->dims, sizeof p->dims[0] * (size_t)p->rank);
    e->data = *values;
    e->bytes = (size_t)m * sizeof **values;
    return MGEN_OK;
}

mgen_status mgi_tae_load_widened(mgi_tae *tae, const mgi_tae_config *theirs,
                                 const mgi_model_file *file)
{
    mgen_context *ctx = tae->module.ctx;
    mgi_module *m = &tae->module;
    mgi_st_file wide = file->weights;
    size_t bytes = (size_t)wide.count * sizeof *wide.entries;
    float **values;
    MGI_TRY(check_norms(ctx, theirs, &tae->config));
    MGI_TRY(mgi_model_file_fits(ctx, mgi_tae_fits, theirs, file));
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)m->count, sizeof *values, &values));
    mgen_status status = mgi_alloc(ctx, bytes, &wide.entries);
    if (status == MGEN_OK)
        memcpy(wide.entries, file->weights.entries, bytes);
    for (int64_t k = 0; k < m->count && status == MGEN_OK; k++) {
        const mgi_param *p = m->params[k];
        const mgi_st_entry *e = mgi_st_find(&wide, p->name);
        if (e && !strncmp(p->name, "decoder.", 8) &&
            memcmp(e->dims, p->dims, sizeof p->dims[0] * (size_t)p->rank))
            status = widen(tae, p, wide.entries + (e - wide.entries), &values[k]);
    }
    if (status == MGEN_OK)
        status = mgi_module_load(m, &wide, file->weights_name, true);
    for (int64_t k = 0; k < m->count; k++)
        mgi_free(ctx, values[k]);
    mgi_free(ctx, values);
    mgi_free(ctx, wide.entries);
    return status;
}
