/* SPDX-License-Identifier: MIT
 * A job, generating, upsampling or editing: one thread that runs task/generate.c, and where its frames go. */
#include "api/enlarge.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "kernels/mgk.h"
#include "model/tae_stream.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

/* What requests had in their first headers. */
#define PARAMS_LEAST offsetof(mgen_generate_params, edit_task)

enum { STEPS_DEFAULT = 50, STEPS_MAX = 1000, FRAMES_MAX = 65536 };
static const float guidance_max = 100.0f, skip_max = 0.999f;

/* What a job does: of nothing, or of a film. */
typedef enum work_kind { GENERATES, UPSAMPLES, EDITS } work_kind;

struct mgen_job {
    mgen_context *ctx;
    work_kind kind;
    mgen_pipeline pipeline; /* retained */
    mgi_networks networks;
    mgen_generate_params params;
    mgi_generate_request request;
    const mgen_clip *source; /* the caller's film to upsample or edit; NULL: none */
    mgi_enlarge enlarge;     /* it, in the size wanted; on the heap only */
    char *prompt, *negative;
    mgen_estimate estimate;
    mgi_pixels into;      /* where the frames go: the caller's, */
    mgen_clip *clip;      /* or these, */
    uint8_t *kept;        /* or these, to be seen by on_frames */
    int64_t frames_bytes; /* of what the library makes for frames */
    bool in_parts;        /* frames come in tiles */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool over;   /* under lock: the thread has finished */
    bool joined; /* the caller's side */
    mgen_status status;
    _Atomic int cancel;
    _Atomic uint32_t done, total, frames_done;
};

/* -- callbacks of the work --------------------------------------------------------------------------- */

static bool on_progress(void *user, int done, int total)
{
    mgen_job *job = user;
    const mgen_generate_params *p = &job->params;
    atomic_store(&job->total, (uint32_t)total);
    atomic_store(&job->done, (uint32_t)done);
    bool stop = p->on_progress && p->on_progress(p->user, (uint32_t)done, (uint32_t)total) != 0;
    return stop || atomic_load(&job->cancel);
}

static bool on_preview(void *user, int done, const float *values, const int64_t dims[4])
{
    const mgen_job *job = user;
    mgen_latents latents = MGEN_LATENTS_INIT;
    latents.frames = (uint32_t)dims[0];
    latents.height = (uint32_t)dims[1];
    latents.width = (uint32_t)dims[2];
    latents.channels = (uint32_t)dims[3];
    latents.data = (float *)values;
    return job->params.on_preview(job->params.user, (uint32_t)done - 1, &latents) != 0;
}

/* Frames that on_frames gets at once, at most. */
static int64_t piece_frames(const mgen_job *job)
{
    return mgi_tae_piece(job->estimate.height, job->estimate.width);
}

/* Frames for on_frames that are kept: all, where they come in tiles, else those that it gets at once. */
static int64_t kept_frames(const mgen_job *job)
{
    return job->in_parts ? job->estimate.frames : piece_frames(job);
}

static mgen_status keep_frames(mgen_job *job)
{
    job->into = (mgi_pixels){.format = (int)job->params.frames_format,
                             .width = job->estimate.width,
                             .height = job->estimate.height,
                             .frames = kept_frames(job)};
    if (!job->kept)
        MGI_TRY(mgi_alloc(job->ctx, (size_t)job->frames_bytes, &job->kept));
    mgi_pixels_pack(&job->into, job->kept);
    return MGEN_OK;
}

/* Kept frames `at` and following, which are the clip's from `first` on. */
static mgen_status show(mgen_job *job, int64_t at, int64_t count, int64_t first)
{
    mgi_pixels piece = job->into;
    mgen_frames view;
    piece.frames = count;
    for (int k = 0; k < mgi_pixels_planes(piece.format); k++)
        piece.plane[k] = (uint8_t *)piece.plane[k] + at * piece.frame[k];
    mgi_frames_view(&piece, &view);
    if (job->params.on_frames(job->params.user, (uint64_t)first, &view) != 0)
        return mgi_fail(job->ctx, MGEN_E_CANCELLED, "cancelled by on_frames at frame %lld",
                        (long long)first);
    return MGEN_OK;
}

/* The box's frames i .. i + count - 1, as the frames of `into` from `to` on. */
static void put(mgen_job *job, const mgi_frames_box *box, int64_t i, int64_t count, int64_t to,
                const float *rgb)
{
    const mgi_pixels part =
        mgi_pixels_part(&job->into, box->top, box->left, box->height, box->width);
    for (int64_t k = 0; k < count; k++)
        mgi_pixels_put_floats(&part, to + k, rgb + (i + k) * box->height * box->width * 3);
}

static mgen_status put_and_show(mgen_job *job, const mgi_frames_box *box, const float *rgb)
{
    int64_t most = piece_frames(job);
    for (int64_t i = 0; i < box->count; i += most) {
        int64_t n = box->count - i < most ? box->count - i : most, first = box->first + i;
        put(job, box, i, n, job->in_parts ? first : 0, rgb);
        if (box->last)
            MGI_TRY(show(job, job->in_parts ? first : 0, n, first));
    }
    return MGEN_OK;
}

static mgen_status on_frames(void *user, const mgi_frames_box *box, const float *rgb)
{
    mgen_job *job = user;
    int64_t done = box->first + box->count;
    if (job->params.on_frames) {
        MGI_TRY(keep_frames(job));
        MGI_TRY(put_and_show(job, box, rgb));
    } else {
        put(job, box, 0, box->count, box->first, rgb);
    }
    if (box->last)
        atomic_store(&job->frames_done, (uint32_t)done);
    if (atomic_load(&job->cancel))
        return mgi_fail(job->ctx, MGEN_E_CANCELLED, "cancelled after frame %lld%s", (long long)done,
                        box->last ? "" : " of a tile");
    return MGEN_OK;
}

static mgen_status on_source(void *user, int64_t first, int64_t count, float *rgb)
{
    mgen_job *job = user;
    for (int64_t i = 0; i < count; i++)
        mgi_enlarge_read(&job->enlarge, first + i, rgb + i * job->enlarge.size);
    return MGEN_OK;
}

/* Before frames of the source; on a mesh, beside frames that go to the first rank. */
static bool on_stop(void *user)
{
    return atomic_load(&((mgen_job *)user)->cancel);
}

/* Whether this rank gets the frames. */
static bool takes_frames(const mgen_job *job)
{
    return mgen_mesh_rank(job->pipeline.mesh) == 0;
}

static void *work(void *arg)
{
    mgen_job *job = arg;
    mgen_status status = mgi_generate(job->ctx, &job->networks, &job->request);
    pthread_mutex_lock(&job->lock);
    job->status = status;
    job->over = true;
    pthread_cond_broadcast(&job->ended);
    pthread_mutex_unlock(&job->lock);
    return NULL;
}

/* -- checking a request ------------------------------------------------------------------------------ */

static mgen_status check_edit(mgen_context *ctx, work_kind kind, const mgen_generate_params *p)
{
    const bool tells = p->edit_task || p->source_guidance != 0.0f;
    if (p->reserved0)
        return mgi_fail(ctx, MGEN_E_INVALID, "reserved0 is %u; it must be 0", p->reserved0);
    if (kind != EDITS && (tells || p->strength != 0.0f))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "edit_task, source_guidance and strength are of edits; they must be 0");
    if (p->edit_task > MGEN_EDIT_SEGMENTATION)
        return mgi_fail(ctx, MGEN_E_INVALID, "edit_task is %u; it must be a MGEN_EDIT_*",
                        p->edit_task);
    if (!(p->source_guidance >= 0.0f && p->source_guidance <= guidance_max))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "source_guidance is %g; it must be 0 (the editor's) to %g",
                        (double)p->source_guidance, (double)guidance_max);
    if (!(p->strength >= 0.0f && p->strength < 1.0f))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "strength is %g; it must be 0 (by the editor) or more, and below 1",
                        (double)p->strength);
    if (p->strength > 0.0f && tells)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "with a strength the video model edits, which is told neither edit_task "
                        "nor source_guidance; they must be 0");
    return MGEN_OK;
}

static mgen_status check_params(mgen_context *ctx, work_kind kind, mgen_generate_params *p)
{
    if (kind == UPSAMPLES && !p->prompt)
        p->prompt = "";
    if (!p->prompt || (!p->prompt[0] && kind != UPSAMPLES))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        kind == EDITS ? "the prompt, which is what to edit, is missing "
                                        "or empty"
                                      : "the prompt is missing or empty");
    MGI_TRY(mgi_check_prompt(ctx, p->prompt, "the prompt"));
    if (p->negative_prompt)
        MGI_TRY(mgi_check_prompt(ctx, p->negative_prompt, "the negative prompt"));
    if (p->steps > STEPS_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "steps is %u; it must be 1..%d", p->steps, STEPS_MAX);
    if (!(p->guidance >= 0.0f && p->guidance <= guidance_max))
        return mgi_fail(ctx, MGEN_E_INVALID, "guidance is %g; it must be 0 (the model's) to %g",
                        (double)p->guidance, (double)guidance_max);
    MGI_TRY(mgi_check_sampling(ctx, p->schedule, p->solver, p->guidance_from, p->guidance_to,
                               p->drop_text));
    if (p->frames > FRAMES_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "frames is %u; it must be 1..%d", p->frames,
                        FRAMES_MAX);
    if (p->frames_format > MGEN_FORMAT_YUV420)
        return mgi_fail(ctx, MGEN_E_INVALID, "frames_format is %u; it must be a MGEN_FORMAT_*",
                        p->frames_format);
    if (p->on_frames && p->into)
        return mgi_fail(ctx, MGEN_E_INVALID, "on_frames and into exclude each other");
    return check_edit(ctx, kind, p);
}

/* The caller's frames: room for the clip, in its size. */
static mgen_status check_into(mgen_job *job)
{
    const mgen_estimate *e = &job->estimate;
    const mgi_pixels *p = &job->into;
    MGI_TRY(mgi_frames_in(job->ctx, job->params.into, &job->into));
    if (p->width == e->width && p->height == e->height && p->frames >= e->frames)
        return MGEN_OK;
    return mgi_fail(job->ctx, MGEN_E_INVALID,
                    "into has %lld frames of %lld x %lld; the clip has %u of %u x %u",
                    (long long)p->frames, (long long)p->width, (long long)p->height, e->frames,
                    e->width, e->height);
}

/* What the frames need where they go, beyond what the work itself does. */
static mgen_status count_frames(mgen_job *job)
{
    const mgen_generate_params *p = &job->params;
    const mgen_estimate *e = &job->estimate;
    int64_t count = p->into || !takes_frames(job) ? 0 : p->on_frames ? kept_frames(job) : e->frames;
    mgi_pixels view = {.format = p->on_frames ? (int)p->frames_format : MGI_PIXELS_RGB8,
                       .width = e->width,
                       .height = e->height,
                       .frames = count};
    int64_t values;
    if (!mgi_dims_count((int64_t[]){e->height, e->width, 3}, 3, &values) ||
        !mgi_dims_count((int64_t[]){mgi_pixels_frame_bytes(&view), count}, 2, &job->frames_bytes))
        return mgi_fail(job->ctx, MGEN_E_NO_MEMORY, "the clip is too large");
    return MGEN_OK;
}

/* What the request needs, with frames in such tiles as it says. */
static mgen_status estimate(mgen_job *job)
{
    mgen_estimate *e = &job->estimate;
    mgi_generate_needs needs;
    job->in_parts = mgi_decodes_parts(job->networks.tae, e->height, e->width, job->request.tile);
    MGI_TRY(mgi_generate_estimate(job->ctx, &job->networks, &job->request, &needs));
    MGI_TRY(count_frames(job));
    e->device_bytes = needs.device_bytes;
    e->flops = needs.flops;
    e->host_bytes = needs.host_bytes + (uint64_t)job->frames_bytes + sizeof(mgen_job) +
                    2 * 4096; /* and the prompts */
    if (job->source)
        e->host_bytes += (uint64_t)mgi_enlarge_bytes(job->source, e->width, e->height);
    return MGEN_OK;
}

static bool fits(const mgen_job *job)
{
    return mgi_fits_host(job->ctx, job->estimate.host_bytes) &&
           mgi_fits_device(job->ctx, job->estimate.device_bytes);
}

/* Decode in tiles, as large as the context's limits allow. If none are small enough, the request is as it was. */
static mgen_status try_tiles(mgen_job *job)
{
    const mgen_estimate *e = &job->estimate;
    int64_t *tile = &job->request.tile;
    while ((*tile = mgi_tile_after(job->networks.tae, e->height, e->width, *tile))) {
        MGI_TRY(estimate(job));
        if (fits(job))
            return MGEN_OK;
    }
    return estimate(job);
}

/* The networks and what the pipeline and they say where the request says nothing. */
static mgen_status take_networks(mgen_job *job)
{
    mgen_context *ctx = job->ctx;
    mgen_generate_params *p = &job->params;
    mgen_estimate *e = &job->estimate;
    const mgen_pipeline *pipe = &job->pipeline;
    MGI_TRY(mgi_pipeline_networks(ctx, pipe, &job->networks));
    p->steps = p->steps ? p->steps : STEPS_DEFAULT;
    e->width = p->width ? p->width : pipe->width;
    e->height = p->height ? p->height : pipe->height;
    e->frames = p->frames ? p->frames : pipe->frames;
    return MGEN_OK;
}

/* The size and the steps of what is made of a film, which is `factor` times as large unless the request says otherwise. */
static mgen_status take_film(mgen_job *job, int64_t factor, int64_t steps)
{
    mgen_context *ctx = job->ctx;
    mgen_generate_params *p = &job->params;
    mgen_estimate *e = &job->estimate;
    const mgen_clip_info *clip = &job->source->info;
    if (p->frames && p->frames != clip->frames)
        return mgi_fail(ctx, MGEN_E_INVALID, "frames is %u, but the clip has %u (0 = as many)",
                        p->frames, clip->frames);
    p->steps = p->steps ? p->steps : (uint32_t)steps;
    int64_t width = p->width ? p->width : clip->width * factor;
    int64_t height = p->height ? p->height : clip->height * factor;
    if (width > MGI_SIDE_MAX || height > MGI_SIDE_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "%lld x %lld pixels; sides are 1..%d",
                        (long long)width, (long long)height, MGI_SIDE_MAX);
    e->width = (uint32_t)width;
    e->height = (uint32_t)height;
    e->frames = clip->frames;
    return MGEN_OK;
}

static mgen_status take_upsampler(mgen_job *job)
{
    mgi_networks *n = &job->networks;
    MGI_TRY(mgi_pipeline_upsampler(job->ctx, &job->pipeline, &job->source->info, n));
    return take_film(job, n->upsampler->factor, n->upsampler->steps);
}

static mgen_status take_editor(mgen_job *job)
{
    mgi_networks *n = &job->networks;
    const mgen_clip_info *clip = &job->source->info;
    MGI_TRY(job->params.strength > 0.0f ? mgi_pipeline_begins(job->ctx, &job->pipeline, clip, n)
                                        : mgi_pipeline_editor(job->ctx, &job->pipeline, clip, n));
    return take_film(job, 1, n->editor ? n->editor->steps : STEPS_DEFAULT);
}

/* What the request says of an edit. */
static void tell_edit(mgen_job *job)
{
    const mgen_generate_params *p = &job->params;
    mgi_generate_request *r = &job->request;
    if (p->strength > 0.0f) { /* of at most 1000 steps one is taken in any case */
        r->skip = 1.0f - p->strength < skip_max ? 1.0f - p->strength : skip_max;
        return;
    }
    r->task = p->edit_task ? (int)p->edit_task - MGEN_EDIT_LOCAL + MGI_EDIT_LOCAL
                           : mgi_edit_task_guess(p->prompt);
    r->source_guidance = p->source_guidance;
}

/* All that can be refused is refused here, before anything of the request's size is allocated. The job
 * may be on the caller's stack. */
static mgen_status prepare(mgen_job *job, const mgen_pipeline *pipeline,
                           const mgen_generate_params *params)
{
    mgen_context *ctx = job->ctx;
    mgen_generate_params *p = &job->params;
    mgi_generate_request *r = &job->request;
    mgen_estimate *e = &job->estimate;
    MGI_TRY(mgi_struct_in(ctx, p, sizeof *p, PARAMS_LEAST, params, "generate params"));
    MGI_TRY(check_params(ctx, job->kind, p));
    MGI_TRY(mgi_pipeline_in(ctx, pipeline, &job->pipeline));
    MGI_TRY(job->kind == UPSAMPLES ? take_upsampler(job)
            : job->kind == EDITS   ? take_editor(job)
                                   : take_networks(job));
    *r = (mgi_generate_request){.prompts = (const char *const *)&job->prompt,
                                .negatives = (const char *const *)&job->negative,
                                .count = 1,
                                .seeds = &p->seed,
                                .steps = (int)p->steps,
                                .guidance = p->guidance,
                                .schedule = (int)p->schedule,
                                .solver = (int)p->solver,
                                .guidance_from = p->guidance_from,
                                .guidance_to = p->guidance_to,
                                .drop_text = p->drop_text,
                                .width = e->width,
                                .height = e->height,
                                .frames = e->frames,
                                .progress = on_progress,
                                .preview = p->on_preview ? on_preview : NULL,
                                .source = job->source ? on_source : NULL,
                                .stop = on_stop,
                                .sink = on_frames,
                                .user = job};
    if (job->kind == EDITS)
        tell_edit(job);
    job->prompt = (char *)p->prompt; /* until the job has its own */
    job->negative = (char *)p->negative_prompt;
    MGI_TRY(estimate(job));
    if (p->into)
        MGI_TRY(check_into(job));
    return fits(job) ? MGEN_OK : try_tiles(job);
}

/* Ranks decode in the smallest tiles that one of them needs. */
static mgen_status share_tile(mgen_job *job)
{
    mgen_mesh *mesh = job->pipeline.mesh;
    uint64_t own = (uint64_t)job->request.tile, least = 0, *all;
    if (!mgi_mesh_split(mesh))
        return MGEN_OK;
    mgen_status status = mgi_alloc_zero(job->ctx, mgen_mesh_size(mesh), sizeof *all, &all);
    MGI_TRY(mgi_mesh_together(mesh, status));
    mgi_comm_note(mesh->world, "tiles", 0);
    status = mgi_comm_all_gather(mesh->world, MGK_U64, &own, all, 1, NULL);
    for (uint32_t r = 0; r < mgen_mesh_size(mesh); r++)
        least = all[r] && (!least || all[r] < least) ? all[r] : least;
    mgi_free(job->ctx, all);
    if (status != MGEN_OK || least == own)
        return status;
    job->request.tile = (int64_t)least;
    return estimate(job);
}

static mgen_status check_limit(const mgen_job *job)
{
    const mgi_heap *heap = job->ctx->heap;
    mgi_device *dev = job->ctx->device;
    uint64_t need = job->estimate.host_bytes, device = job->estimate.device_bytes;
    if (!mgi_fits_device(job->ctx, device))
        return mgi_fail(job->ctx, MGEN_E_LIMIT,
                        "%u frames of %u x %u need up to %" PRIu64
                        " bytes of the device beside the %" PRIu64
                        " in use; device_memory_max is %" PRIu64 ": raise it or ask for less",
                        job->estimate.frames, job->estimate.width, job->estimate.height, device,
                        dev->counts.held, dev->memory_max);
    if (mgi_fits_host(job->ctx, need))
        return MGEN_OK;
    return mgi_fail(job->ctx, MGEN_E_LIMIT,
                    "%u frames of %u x %u need up to %" PRIu64 " bytes beside the %" PRIu64
                    " in use; host_memory_max is %" PRIu64
                    ": raise it, ask for less, or take the frames by on_frames",
                    job->estimate.frames, job->estimate.width, job->estimate.height, need,
                    atomic_load(&heap->now), heap->max);
}

static mgen_status check_call(mgen_context *ctx, work_kind kind, const mgen_clip *source)
{
    MGI_TRY(mgi_context_idle(ctx));
    return source || kind == GENERATES ? MGEN_OK
                                       : mgi_fail(ctx, MGEN_E_INVALID, "the clip is NULL");
}

static mgen_status tell(mgen_context *ctx, const mgen_pipeline *pipeline, work_kind kind,
                        const mgen_clip *source, const mgen_generate_params *params,
                        mgen_estimate *out)
{
    mgen_estimate theirs;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(check_call(ctx, kind, source));
    MGI_TRY(mgi_struct_in(ctx, &theirs, sizeof theirs, sizeof theirs, out, "estimate"));
    mgen_job job = {.ctx = ctx, .kind = kind, .source = source};
    mgen_status status = prepare(&job, pipeline, params);
    mgen_pipeline_close(&job.pipeline);
    return status == MGEN_OK
               ? mgi_struct_out(out, &job.estimate, sizeof job.estimate, sizeof job.estimate)
               : status;
}

mgen_status mgen_generate_estimate(mgen_context *ctx, const mgen_pipeline *pipeline,
                                   const mgen_generate_params *params, mgen_estimate *out)
{
    return tell(ctx, pipeline, GENERATES, NULL, params, out);
}

mgen_status mgen_upsample_estimate(mgen_context *ctx, const mgen_pipeline *pipeline,
                                   const mgen_clip *clip, const mgen_generate_params *params,
                                   mgen_estimate *out)
{
    return tell(ctx, pipeline, UPSAMPLES, clip, params, out);
}

mgen_status mgen_edit_estimate(mgen_context *ctx, const mgen_pipeline *pipeline,
                               const mgen_clip *clip, const mgen_generate_params *params,
                               mgen_estimate *out)
{
    return tell(ctx, pipeline, EDITS, clip, params, out);
}

/* -- life -------------------------------------------------------------------------------------------- */

static void job_free(mgen_job *job)
{
    mgen_context *ctx = job->ctx;
    mgen_pipeline_close(&job->pipeline);
    mgen_clip_destroy(job->clip);
    mgi_enlarge_finish(&job->enlarge);
    mgi_free(ctx, job->kept);
    mgi_free(ctx, job->prompt);
    mgi_free(ctx, job->negative);
    pthread_mutex_destroy(&job->lock);
    pthread_cond_destroy(&job->ended);
    mgi_free(ctx, job);
}

static void init_waiting(mgen_job *job)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&job->ended, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&job->lock, NULL);
}

/* Move a prepared job to the heap, with copies of what the caller keeps. Takes over its handles. */
static mgen_status make(mgen_job *prepared, mgen_job **out)
{
    mgen_context *ctx = prepared->ctx;
    const mgen_estimate *e = &prepared->estimate;
    mgen_job *job;
    mgen_status status = mgi_alloc_zero(ctx, 1, sizeof *job, &job);
    if (status != MGEN_OK) {
        mgen_pipeline_close(&prepared->pipeline);
        return status;
    }
    memcpy(job, prepared, sizeof *job);
    init_waiting(job);
    const char *negative = job->negative;
    job->prompt = job->negative = NULL;
    job->request.prompts = (const char *const *)&job->prompt;
    job->request.negatives = (const char *const *)&job->negative;
    job->request.seeds = &job->params.seed;
    job->request.user = job;
    MGI_TRY_GOTO(status, mgi_strdup(ctx, job->params.prompt, &job->prompt), failed);
    if (negative)
        MGI_TRY_GOTO(status, mgi_strdup(ctx, negative, &job->negative), failed);
    if (job->source)
        MGI_TRY_GOTO(status, mgi_enlarge_init(&job->enlarge, ctx, job->source, e->width, e->height),
                     failed);
    if (!job->params.into && !job->params.on_frames && takes_frames(job))
        MGI_TRY_GOTO(status,
                     mgi_clip_make(ctx, e->width, e->height, e->frames,
                                   job->source ? job->source->info.fps_num : job->pipeline.fps,
                                   job->source ? job->source->info.fps_den : 1, &job->clip),
                     failed);
    if (job->clip) {
        job->into = (mgi_pixels){
            .format = MGI_PIXELS_RGB8, .width = e->width, .height = e->height, .frames = e->frames};
        mgi_pixels_pack(&job->into, job->clip->pixels);
    }
    atomic_init(&job->total, (uint32_t)mgi_generate_steps(&job->request));
    *out = job;
    return MGEN_OK;
failed:
    job_free(job);
    return status;
}

/* The library installs no signal handlers; its thread takes none of the host's signals either. */
static mgen_status start_thread(mgen_job *job)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&job->thread, NULL, work, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc)
        return mgi_fail(job->ctx, MGEN_E_NO_MEMORY,
                        "no thread could be started for the job: error %d", rc);
    return MGEN_OK;
}

/* The mesh of a pipeline that may be wrong otherwise. */
static mgen_mesh *pipeline_mesh(mgen_context *ctx, const mgen_pipeline *theirs)
{
    bool whole = theirs && theirs->struct_size >= offsetof(mgen_pipeline, upsampler);
    return whole && mgi_mesh_in(ctx, theirs->mesh) == MGEN_OK ? theirs->mesh : NULL;
}

static mgen_status start(mgen_context *ctx, const mgen_pipeline *pipeline, work_kind kind,
                         const mgen_clip *source, const mgen_generate_params *params,
                         mgen_job **out)
{
    mgen_job *job, prepared = {.ctx = ctx, .kind = kind, .source = source};
    if (!ctx || !out)
        return MGEN_E_INVALID;
    *out = NULL;
    MGI_TRY(check_call(ctx, kind, source));
    mgen_status status = prepare(&prepared, pipeline, params);
    mgen_mesh *mesh = pipeline_mesh(ctx, pipeline);
    status = mgi_mesh_together(mesh, status);
    if (status == MGEN_OK)
        status = share_tile(&prepared);
    if (status == MGEN_OK)
        status = mgi_mesh_together(mesh, check_limit(&prepared));
    if (status != MGEN_OK) {
        mgen_pipeline_close(&prepared.pipeline);
        return status;
    }
    status = make(&prepared, &job);
    if (status != MGEN_OK)
        return mgi_mesh_end(mesh, status);
    atomic_store(&ctx->busy, 1);
    status = start_thread(job);
    if (status != MGEN_OK) {
        (void)mgi_mesh_end(mesh, status);
        atomic_store(&ctx->busy, 0);
        job_free(job);
        return status;
    }
    *out = job;
    return MGEN_OK;
}

mgen_status mgen_generate_start(mgen_context *ctx, const mgen_pipeline *pipeline,
                                const mgen_generate_params *params, mgen_job **out)
{
    return start(ctx, pipeline, GENERATES, NULL, params, out);
}

mgen_status mgen_upsample_start(mgen_context *ctx, const mgen_pipeline *pipeline,
                                const mgen_clip *clip, const mgen_generate_params *params,
                                mgen_job **out)
{
    return start(ctx, pipeline, UPSAMPLES, clip, params, out);
}

mgen_status mgen_edit_start(mgen_context *ctx, const mgen_pipeline *pipeline, const mgen_clip *clip,
                            const mgen_generate_params *params, mgen_job **out)
{
    return start(ctx, pipeline, EDITS, clip, params, out);
}

static bool wait_end(mgen_job *job, int64_t timeout_ms)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (timeout_ms > 0) {
        int64_t limit = timeout_ms < INT64_C(1) << 40 ? timeout_ms : INT64_C(1) << 40;
        end.tv_sec += (time_t)(limit / 1000);
        end.tv_nsec += (long)(limit % 1000) * 1000000;
        if (end.tv_nsec >= 1000000000) {
            end.tv_sec++;
            end.tv_nsec -= 1000000000;
        }
    }
    pthread_mutex_lock(&job->lock);
    int rc = 0;
    while (!job->over && timeout_ms != 0 && rc != ETIMEDOUT)
        rc = timeout_ms < 0 ? pthread_cond_wait(&job->ended, &job->lock)
                            : pthread_cond_timedwait(&job->ended, &job->lock, &end);
    bool over = job->over;
    pthread_mutex_unlock(&job->lock);
    return over;
}

/* The job's end, or `running`; no message for that: the job's thread owns the error meanwhile. */
static mgen_status end_of(mgen_job *job, int64_t timeout_ms, mgen_status running)
{
    if (!job)
        return MGEN_E_INVALID;
    if (job->joined)
        return job->status;
    if (!wait_end(job, timeout_ms))
        return running;
    pthread_join(job->thread, NULL);
    job->joined = true;
    atomic_store(&job->ctx->busy, 0);
    return job->status;
}

mgen_status mgen_job_wait(mgen_job *job, int64_t timeout_ms)
{
    return end_of(job, timeout_ms, MGEN_E_TIMEOUT);
}

mgen_status mgen_job_poll(mgen_job *job)
{
    return end_of(job, 0, MGEN_E_AGAIN);
}

void mgen_job_cancel(mgen_job *job)
{
    if (job)
        atomic_store(&job->cancel, 1);
}

mgen_status mgen_job_get_info(const mgen_job *job, mgen_job_info *info)
{
    if (!job)
        return MGEN_E_INVALID;
    mgen_job_info ours = {.done = atomic_load(&job->done),
                          .total = atomic_load(&job->total),
                          .width = job->estimate.width,
                          .height = job->estimate.height,
                          .frames = job->estimate.frames,
                          .frames_done = atomic_load(&job->frames_done),
                          .host_bytes = job->estimate.host_bytes};
    return mgi_struct_out(info, &ours, sizeof ours, sizeof ours);
}

mgen_status mgen_job_take_clip(mgen_job *job, mgen_clip **out)
{
    if (!job || !out)
        return MGEN_E_INVALID;
    *out = NULL;
    if (!job->joined)
        return MGEN_E_STATE; /* the error text belongs to the job's thread until the wait */
    if (job->status != MGEN_OK || !job->clip)
        return mgi_fail(job->ctx, MGEN_E_STATE, "the job %s",
                        job->status != MGEN_OK                      ? "failed: it has no clip"
                        : !takes_frames(job)                        ? "gave its clip to rank 0"
                        : job->params.into || job->params.on_frames ? "gave its frames elsewhere"
                                                                    : "gave its clip away already");
    *out = job->clip;
    job->clip = NULL;
    return MGEN_OK;
}

void mgen_job_destroy(mgen_job *job)
{
    if (!job)
        return;
    mgen_job_cancel(job);
    mgen_job_wait(job, -1);
    job_free(job);
}
