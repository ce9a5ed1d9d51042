/* SPDX-License-Identifier: MIT */
#include "train/buckets.h"

#include "core/alloc.h"
#include "core/philox.h"
#include "core/report.h"
#include "text/prompt.h"
#include "train/bucket_films.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Shares of the steps: images together have the stage's share of them if it says one. */
static void divide_steps(const mgi_stage *stage, mgi_buckets *out)
{
    double sum[2] = {0.0}; /* of weights: videos, images */
    for (int64_t i = 0; i < out->count; i++)
        sum[out->list[i].bucket.frames == 1] += out->list[i].bucket.weight;
    out->mixed = sum[0] > 0.0 && sum[1] > 0.0;
    for (int64_t i = 0; i < out->count; i++) {
        bool image = out->list[i].bucket.frames == 1;
        double group = image ? stage->images : 1.0 - stage->images;
        if (stage->images < 0.0 || !out->mixed)
            group = sum[image] / (sum[0] + sum[1]);
        out->list[i].share = group * out->list[i].bucket.weight / sum[image];
    }
}

static void divide_clips(const mgi_stage *stage, const mgi_dataset *ds, int64_t held,
                         mgi_buckets *out)
{
    double samples = 0.0;
    uint64_t first = 0;
    bool endless = ds->count == UINT64_MAX;
    for (int64_t i = 0; i < out->count; i++)
        samples += out->list[i].share * (double)out->list[i].bucket.batch;
    for (int64_t i = 0; i < out->count; i++) {
        mgi_bucket_data *d = &out->list[i];
        double part = d->share * (double)d->bucket.batch / samples;
        d->clips = endless ? (int64_t)ceil((double)stage->clips * part) : stage->clips;
        d->clips = d->clips < 1 ? 1 : d->clips > stage->clips ? stage->clips : d->clips;
        d->held = (held + out->count - 1) / out->count;
        d->first = first;
        first += endless ? (uint64_t)d->clips : 0;
    }
}

/* Each of them has all of the dataset's samples. */
static mgen_status size_datasets(mgen_context *ctx, const mgi_stage *stage, mgi_dataset *ds,
                                 mgi_buckets *out)
{
    for (int64_t i = 0; i < out->count; i++) {
        const mgi_bucket *b = &out->list[i].bucket;
        mgen_status status = mgi_dataset_sized(ctx, ds, b->width, b->height, b->frames, b->fps,
                                               &out->list[i].dataset);
        if (status != MGEN_OK)
            return mgi_fail_context(ctx, status, "bucket %lld of stage \"%s\"", (long long)i + 1,
                                    stage->name);
    }
    return MGEN_OK;
}

mgen_status mgi_buckets_init(mgen_context *ctx, const mgi_stage *stage, mgi_dataset *ds,
                             int64_t held, mgi_buckets *out)
{
    memset(out, 0, sizeof *out);
    out->count = stage->bucket_count ? stage->bucket_count : 1;
    for (int64_t i = 0; i < out->count; i++) {
        mgi_bucket *b = &out->list[i].bucket;
        *b = stage->bucket_count ? stage->bucket[i]
                                 : (mgi_bucket){.width = ds->width,
                                                .height = ds->height,
                                                .frames = ds->frames,
                                                .weight = 1.0};
        b->batch = b->batch ? b->batch : stage->batch;
        out->list[i].number = i + 1;
    }
    out->divided = mgi_bucket_films_differ(ds, out);
    mgen_status status = out->divided ? mgi_bucket_films_divide(ctx, stage, ds, out)
                                      : size_datasets(ctx, stage, ds, out);
    if (status != MGEN_OK) {
        mgi_buckets_free(ctx, out);
        return status;
    }
    for (int64_t i = 0; i < out->count; i++)
        out->batch =
            out->list[i].bucket.batch > out->batch ? out->list[i].bucket.batch : out->batch;
    divide_steps(stage, out);
    divide_clips(stage, ds, held, out);
    return MGEN_OK;
}

mgen_status mgi_buckets_agree(const mgi_buckets *b, mgi_comm *world)
{
    char text[32];
    if (!b->divided || !world || mgi_comm_size(world) == 1)
        return MGEN_OK;
    snprintf(text, sizeof text, "%016" PRIx64, b->division);
    return mgi_comm_agree(world, "films of each bucket (their hash)", text);
}

static mgi_edits of_kind(const mgi_edits *all, int kind)
{
    mgi_edits one = *all;
    memset(one.share, 0, sizeof one.share);
    one.share[kind] = 1.0;
    return one;
}

mgen_status mgi_buckets_encode(mgen_context *ctx, mgi_buckets *b,
                               const mgi_latents_request *request)
{
    mgi_latents_request q = *request;
    mgi_edits edits;
    for (int64_t i = 0; i < b->count; i++) {
        mgi_bucket_data *d = &b->list[i];
        q.edits = request->edits;
        if (d->bucket.edits) {
            edits = of_kind(request->edits, d->bucket.edits - 1);
            q.edits = &edits;
        }
        q.dataset = d->dataset;
        q.frames = d->bucket.frames;
        q.first = d->first;
        q.clips = d->clips;
        q.held = d->held;
        MGI_TRY(mgi_latents_make(ctx, &q, &d->latents));
        b->size = d->latents.size > b->size ? d->latents.size : b->size;
    }
    return MGEN_OK;
}

int64_t mgi_bucket_fps(const mgi_bucket_data *d)
{
    return d->bucket.fps ? d->bucket.fps : d->fps ? d->fps : d->dataset->fps;
}

/* Of clip i. */
static mgen_status find_rate(mgen_context *ctx, const mgi_bucket_data *d, uint64_t seed, int64_t i,
                             int64_t *fps)
{
    const mgi_dataset *ds = d->dataset;
    const int64_t held = i - d->latents.clips;
    *fps = d->bucket.fps;
    if (*fps)
        return MGEN_OK;
    return mgi_dataset_rate(ctx, ds,
                            held < 0 ? mgi_dataset_element(ds, seed, d->first + (uint64_t)i)
                                     : mgi_dataset_held_first(ds) + (uint64_t)held,
                            fps);
}

static mgen_status tell_rate(mgen_context *ctx, mgi_bucket_data *d, uint64_t seed)
{
    int64_t clips_of[MGI_DATASET_FPS_MAX + 1] = {0}, most = 0;
    char **captions = d->latents.captions;
    for (int64_t i = 0; i < d->latents.clips + d->latents.held; i++) {
        int64_t fps;
        char *told;
        MGI_TRY(find_rate(ctx, d, seed, i, &fps));
        MGI_TRY(mgi_prompt_at_rate(ctx, captions[i], fps, &told));
        mgi_free(ctx, captions[i]);
        captions[i] = told;
        clips_of[fps] += i < d->latents.clips;
    }
    for (int64_t fps = 1; fps <= MGI_DATASET_FPS_MAX; fps++)
        most = clips_of[fps] > clips_of[most] ? fps : most;
    d->fps = most;
    return MGEN_OK;
}

/* What is drawn says it already, where that is told; a picture has none. */
mgen_status mgi_buckets_tell_rates(mgen_context *ctx, mgi_buckets *b, uint64_t seed)
{
    for (int64_t i = 0; i < b->count; i++)
        if (!mgi_dataset_drawn(b->list[i].dataset) && b->list[i].bucket.frames > 1)
            MGI_TRY(tell_rate(ctx, &b->list[i], seed));
    return MGEN_OK;
}

void mgi_buckets_free(mgen_context *ctx, mgi_buckets *b)
{
    for (int64_t i = 0; i < b->count; i++) {
        mgi_latents_free(ctx, &b->list[i].latents);
        mgi_dataset_release(b->list[i].dataset);
    }
    memset(b, 0, sizeof *b);
}

const mgi_bucket_data *mgi_buckets_draw(const mgi_buckets *b, uint64_t seed, int64_t step)
{
    double left = (double)mgi_random_unit(seed, MGI_STREAM_BUCKET, (uint64_t)step);
    int64_t i = 0;
    while (i < b->count - 1 && left >= b->list[i].share)
        left -= b->list[i++].share;
    return &b->list[i];
}

void mgi_bucket_report(const mgi_bucket *b, mgen_report *report)
{
    mgi_report_add(report, "width", (double)b->width);
    mgi_report_add(report, "height", (double)b->height);
    mgi_report_add(report, "frames", (double)b->frames);
    mgi_report_add(report, "batch", (double)b->batch);
}
