/* SPDX-License-Identifier: MIT */
#include "eval/clips_eval.h"

#include "core/alloc.h"
#include "eval/films.h"
#include "eval/image_quality.h"
#include "task/codec.h"

#include <math.h>

typedef struct quality {
    double psnr, ssim, psnr_min, ssim_min;
} quality;

/* One sample; `room` is that of two. */
static mgen_status measure(mgen_context *ctx, const mgi_tae *tae, mgi_dataset *ds, uint64_t index,
                           uint8_t *room, quality *q)
{
    uint8_t *made = room + ds->bytes;
    MGI_TRY(mgi_dataset_sample(ctx, ds, index, room, NULL));
    MGI_TRY(mgi_eval_reconstruct(ctx, tae, ds->frames, ds->height, ds->width, room, made));
    double psnr = mgi_psnr(room, made, (size_t)ds->bytes);
    double ssim = mgi_ssim_clip(room, made, ds->frames, ds->height, ds->width);
    q->psnr += psnr;
    q->ssim += ssim;
    q->psnr_min = fmin(q->psnr_min, psnr);
    q->ssim_min = fmin(q->ssim_min, ssim);
    return MGEN_OK;
}

mgen_status mgi_eval_tae_clips(mgen_context *ctx, const mgi_tae *tae, mgi_dataset *ds,
                               const mgi_eval_request *r, mgen_report *report)
{
    const int64_t film[3] = {ds->frames, ds->height, ds->width};
    int64_t dims[4], n = (uint64_t)r->n < ds->count ? r->n : (int64_t)ds->count;
    quality q = {.psnr_min = INFINITY, .ssim_min = INFINITY};
    uint8_t *room;
    MGI_TRY(mgi_latent_dims(ctx, tae, film, dims));
    MGI_TRY(mgi_alloc_zero(ctx, 2, (size_t)ds->bytes, &room));
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < n && status == MGEN_OK; i++) {
        status = measure(ctx, tae, ds, (uint64_t)i, room, &q);
        if (status == MGEN_OK && r->progress && r->progress(r->user, (int)i + 1, (int)n))
            status = mgi_fail(ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
    mgi_free(ctx, room);
    MGI_TRY(status);
    mgi_report_add(report, "n", (double)n);
    mgi_report_add(report, "psnr", q.psnr / (double)n);
    mgi_report_add(report, "ssim", q.ssim / (double)n);
    mgi_report_add(report, "psnr_min", q.psnr_min);
    mgi_report_add(report, "ssim_min", q.ssim_min);
    return MGEN_OK;
}
