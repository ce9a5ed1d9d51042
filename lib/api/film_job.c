/* SPDX-License-Identifier: MIT
 * Jobs that make films, generating, upsampling, editing or personalizing: what runs task/generate.c, and where its frames go. */
#include "api/enlarge.h"
#include "api/job.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "kernels/mgk.h"
#include "model/tae_stream.h"

#include <inttypes.h>
#include <string.h>

/* What requests had in their first headers. */
#define PARAMS_LEAST offsetof(mgen_generate_params, edit_task)

enum { STEPS_DEFAULT = 50, STEPS_MAX = 1000, FRAMES_MAX = 65536 };
static const float guidance_max = 100.0f, skip_max = 0.999f;

/* What a job does: of nothing, of a film, or of a photo. */
typedef enum work_kind { GENERATES, UPSAMPLES, EDITS, PERSONALIZES } work_kind;

typedef struct film_job {
    mgen_job job; /* first */
    work_kind kind;
    mgi_networks networks;
    mgen_generate_params params;
    mgi_generate_request request;
    const mgen_clip *source; /* the caller's film to upsample or edit; NULL: none */
    mgen_clip *passed;       /* it, or the photo, of rank 0, where the caller gives none; or NULL */
    mgi_enlarge enlarge;     /* it, in the size wanted; on the heap only */
    mgi_photo photo;         /* the caller's */
    char *prompt, *negative;
    mgi_pixels into;      /* where the frames go: the caller's, */
    uint8_t *kept;        /* or the job's clip, or these, to be seen by on_frames */
    int64_t frames_bytes; /* of what the library makes for frames */
    bool in_parts;        /* frames come in tiles */
} film_job;

/* -- callbacks of the work --------------------------------------------------------------------------- */

static bool on_progress(void *user, int done, int total)
{
    film_job *f = user;
    const mgen_generate_params *p = &f->params;
    atomic_store(&f->job.total, (uint32_t)total);
    atomic_store(&f->job.done, (uint32_t)done);
    bool stop = p->on_progress && p->on_progress(p->user, (uint32_t)done, (uint32_t)total) != 0;
    return stop || atomic_load(&f->job.cancel);
}

static bool on_preview(void *user, int done, const float *values, const int64_t dims[4])
{
    const film_job *f = user;
    mgen_latents latents = MGEN_LATENTS_INIT;
    latents.frames = (uint32_t)dims[0];
    latents.height = (uint32_t)dims[1];
    latents.width = (uint32_t)dims[2];
    latents.channels = (uint32_t)dims[3];
    latents.data = (float *)values;
    return f->params.on_preview(f->params.user, (uint32_t)done - 1, &latents) != 0;
}

/* Frames that on_frames gets at once, at most. */
static int64_t piece_frames(const film_job *f)
{
    return mgi_tae_piece(f->job.estimate.height, f->job.estimate.width);
}

/* Frames for on_frames that are kept: all, where they come in tiles, else those that it gets at once. */
static int64_t kept_frames(const film_job *f)
{
    return f->in_parts ? f->job.estimate.frames : piece_frames(f);
}

static mgen_status keep_frames(film_job *f)
{
    f->into = (mgi_pixels){.format = (int)f->params.frames_format,
                           .width = f->job.estimate.width,
                           .height = f->job.estimate.height,
                           .frames = kept_frames(f)};
    if (!f->kept)
        MGI_TRY(mgi_alloc(f->job.ctx, (size_t)f->frames_bytes, &f->kept));
    mgi_pixels_pack(&f->into, f->kept);
    return MGEN_OK;
}

/* Kept frames `at` and following, which are the clip's from `first` on. */
static mgen_status show(film_job *f, int64_t at, int64_t count, int64_t first)
{
    mgi_pixels piece = f->into;
    mgen_frames view;
    piece.frames = count;
    for (int k = 0; k < mgi_pixels_planes(piece.format); k++)
        piece.plane[k] = (uint8_t *)piece.plane[k] + at * piece.frame[k];
    mgi_frames_view(&piece, &view);
    if (f->params.on_frames(f->params.user, (uint64_t)first, &view) != 0)
        return mgi_fail(f->job.ctx, MGEN_E_CANCELLED, "cancelled by on_frames at frame %lld",
                        (long long)first);
    return MGEN_OK;
}

/* The box's frames i .. i + count - 1, as the frames of `into` from `to` on. */
static void put(film_job *f, const mgi_frames_box *box, int64_t i, int64_t count, int64_t to,
                const float *rgb)
{
    const mgi_pixels part = mgi_pixels_part(&f->into, box->top, box->left, box->height, box->width);
    for (int64_t k = 0; k < count; k++)
        mgi_pixels_put_floats(&part, to + k, rgb + (i + k) * box->height * box->width * 3);
}

static mgen_status put_and_show(film_job *f, const mgi_frames_box *box, const float *rgb)
{
    int64_t most = piece_frames(f);
    for (int64_t i = 0; i < box->count; i += most) {
        int64_t n = box->count - i < most ? box->count - i : most, first = box->first + i;
        put(f, box, i, n, f->in_parts ? first : 0, rgb);
        if (box->last)
            MGI_TRY(show(f, f->in_parts ? first : 0, n, first));
    }
    return MGEN_OK;
}

static mgen_status on_frames(void *user, const mgi_frames_box *box, float *rgb)
{
    film_job *f = user;
    int64_t done = box->first + box->count;
    if (f->params.on_frames) {
        MGI_TRY(keep_frames(f));
        MGI_TRY(put_and_show(f, box, rgb));
    } else {
        put(f, box, 0, box->count, box->first, rgb);
    }
    if (box->last)
        atomic_store(&f->job.frames_done, (uint32_t)done);
    if (atomic_load(&f->job.cancel))
        return mgi_fail(f->job.ctx, MGEN_E_CANCELLED, "cancelled after frame %lld%s",
                        (long long)done, box->last ? "" : " of a tile");
    return MGEN_OK;
}

static mgen_status on_source(void *user, int64_t first, int64_t count, float *rgb)
{
    film_job *f = user;
    for (int64_t i = 0; i < count; i++)
        mgi_enlarge_read(&f->enlarge, first + i, rgb + i * f->enlarge.size);
    return MGEN_OK;
}

/* Before frames of the source; on a mesh, beside frames that go to the first rank. */
static bool on_stop(void *user)
{
    return atomic_load(&((mgen_job *)user)->cancel);
}

/* Whether this rank gets the frames. */
static bool takes_frames(const film_job *f)
{
    return mgen_mesh_rank(f->job.pipeline.mesh) == 0;
}

static mgen_status work(mgen_job *job)
{
    film_job *f = (film_job *)job;
    return mgi_generate(job->ctx, &f->networks, &f->request);
}

/* -- checking a request ------------------------------------------------------------------------------ */

static mgen_status check_edit(mgen_context *ctx, work_kind kind, const mgen_generate_params *p)
{
    const bool tells = p->edit_task || p->source_guidance != 0.0f;
    if (kind == PERSONALIZES && (p->edit_task || p->strength != 0.0f))
        return mgi_fail(ctx, MGEN_E_INVALID, "edit_task and strength are of edits; they must be 0");
    if (kind < EDITS && (tells || p->strength != 0.0f))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "edit_task, source_guidance and strength are of edits; they must be 0");
    if (p->edit_task > MGEN_EDIT_SEGMENTATION)
        return mgi_fail(ctx, MGEN_E_INVALID, "edit_task is %u; it must be a MGEN_EDIT_*",
                        p->edit_task);
    if (!(p->source_guidance >= 0.0f && p->source_guidance <= guidance_max))
        return mgi_fail(ctx, MGEN_E_INVALID, "source_guidance is %g; it must be 0 (the %s's) to %g",
                        (double)p->source_guidance, kind == EDITS ? "editor" : "personalizer",
                        (double)guidance_max);
    if (!(p->strength >= 0.0f && p->strength < 1.0f))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "strength is %g; it must be 0 (by the editor) or more, and below 1",
                        (double)p->strength);
    if (p->strength > 0.0f && tells)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "with a strength the video model edits, which is told neither edit_task "
                        "nor source_guidance; they must be 0");
    if (p->strength > 0.0f && p->noise_scale != 0.0f)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "with a strength a clip is noised as in the training; noise_scale must be 0");
    return MGEN_OK;
}

static mgen_status check_params(mgen_context *ctx, work_kind kind, mgen_generate_params *p)
{
    if (kind == UPSAMPLES && !p->prompt)
        p->prompt = "";
    if (kind == UPSAMPLES)
        MGI_TRY(mgi_take_prompt(ctx, &p->prompt, "the prompt"));
    else
        MGI_TRY(mgi_need_prompt(
            ctx, p->prompt, kind == EDITS ? "the prompt, which is what to edit," : "the prompt"));
    MGI_TRY(mgi_take_prompt(ctx, &p->negative_prompt, "the negative prompt"));
    if (p->steps > STEPS_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "steps is %u; it must be 1..%d", p->steps, STEPS_MAX);
    if (!(p->guidance >= 0.0f && p->guidance <= guidance_max))
        return mgi_fail(ctx, MGEN_E_INVALID, "guidance is %g; it must be 0 (the model's) to %g",
                        (double)p->guidance, (double)guidance_max);
    MGI_TRY(mgi_check_sampling(ctx, p->schedule, p->solver, p->guidance_from, p->guidance_to,
                               p->drop_text));
    MGI_TRY(mgi_check_noise_scale(ctx, p->noise_scale));
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
static mgen_status check_into(film_job *f)
{
    const mgen_estimate *e = &f->job.estimate;
    const mgi_pixels *p = &f->into;
    MGI_TRY(mgi_frames_in(f->job.ctx, f->params.into, &f->into));
    if (p->width == e->width && p->height == e->height && p->frames >= e->frames)
        return MGEN_OK;
    return mgi_fail(f->job.ctx, MGEN_E_INVALID,
                    "into has %lld frames of %lld x %lld; the clip has %u of %u x %u",
                    (long long)p->frames, (long long)p->width, (long long)p->height, e->frames,
                    e->width, e->height);
}

/* What the frames need where they go, beyond what the work itself does. */
static mgen_status count_frames(film_job *f)
{
    const mgen_generate_params *p = &f->params;
    const mgen_estimate *e = &f->job.estimate;
    int64_t count = p->into || !takes_frames(f) ? 0 : p->on_frames ? kept_frames(f) : e->frames;
    mgi_pixels view = {.format = p->on_frames ? (int)p->frames_format : MGI_PIXELS_RGB8,
                       .width = e->width,
                       .height = e->height,
                       .frames = count};
    int64_t values;
    if (!mgi_dims_count((int64_t[]){e->height, e->width, 3}, 3, &values) ||
        !mgi_dims_count((int64_t[]){mgi_pixels_frame_bytes(&view), count}, 2, &f->frames_bytes))
        return mgi_fail(f->job.ctx, MGEN_E_NO_MEMORY, "the clip is too large");
    return MGEN_OK;
}

/* What the request needs, with frames in such tiles as it says. */
static mgen_status estimate(film_job *f)
{
    mgen_estimate *e = &f->job.estimate;
    mgi_generate_needs needs;
    f->in_parts = mgi_decodes_parts(f->networks.tae, e->height, e->width, f->request.tile);
    MGI_TRY(mgi_generate_estimate(f->job.ctx, &f->networks, &f->request, &needs));
    MGI_TRY(count_frames(f));
    e->device_bytes = needs.device_bytes;
    e->flops = needs.flops;
    e->host_bytes = needs.host_bytes + (uint64_t)f->frames_bytes + sizeof(film_job) +
                    2 * 4096; /* and the prompts */
    if (f->source)
        e->host_bytes += (uint64_t)mgi_enlarge_bytes(f->source, e->width, e->height);
    return MGEN_OK;
}

static bool fits(const film_job *f)
{
    return mgi_fits_host(f->job.ctx, f->job.estimate.host_bytes) &&
           mgi_fits_device(f->job.ctx, f->job.estimate.device_bytes);
}

/* Decode in tiles, as large as the context's limits allow. If none are small enough, the request is as it was. */
static mgen_status try_tiles(film_job *f)
{
    const mgen_estimate *e = &f->job.estimate;
    int64_t *tile = &f->request.tile;
    while ((*tile = mgi_tile_after(f->networks.tae, e->height, e->width, *tile))) {
        MGI_TRY(estimate(f));
        if (fits(f))
            return MGEN_OK;
    }
    return estimate(f);
}

/* What the pipeline and the model say where the request says nothing. */
static void take_pipeline(film_job *f, int64_t steps)
{
    mgen_generate_params *p = &f->params;
    mgen_estimate *e = &f->job.estimate;
    const mgen_pipeline *pipe = &f->job.pipeline;
    p->steps = p->steps ? p->steps : (uint32_t)steps;
    e->width = p->width ? p->width : pipe->width;
    e->height = p->height ? p->height : pipe->height;
    e->frames = p->frames ? p->frames : pipe->frames;
}

static mgen_status take_networks(film_job *f)
{
    MGI_TRY(mgi_pipeline_networks(f->job.ctx, &f->job.pipeline, &f->networks));
    take_pipeline(f, STEPS_DEFAULT);
    return MGEN_OK;
}

static mgen_status take_personalizer(film_job *f)
{
    MGI_TRY(mgi_pipeline_personalizer(f->job.ctx, &f->job.pipeline, &f->networks));
    take_pipeline(f, f->networks.personalizer->steps);
    return MGEN_OK;
}

/* The size and the steps of what is made of a film, which is `factor` times as large unless the request says otherwise. */
static mgen_status take_film(film_job *f, int64_t factor, int64_t steps)
{
    mgen_context *ctx = f->job.ctx;
    mgen_generate_params *p = &f->params;
    mgen_estimate *e = &f->job.estimate;
    const mgen_clip_info *clip = &f->source->info;
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

static mgen_status take_upsampler(film_job *f)
{
    mgi_networks *n = &f->networks;
    MGI_TRY(mgi_pipeline_upsampler(f->job.ctx, &f->job.pipeline, &f->source->info, n));
    return take_film(f, n->upsampler->factor, n->upsampler->steps);
}

static mgen_status take_editor(film_job *f)
{
    mgi_networks *n = &f->networks;
    const mgen_clip_info *clip = &f->source->info;
    MGI_TRY(f->params.strength > 0.0f ? mgi_pipeline_begins(f->job.ctx, &f->job.pipeline, clip, n)
                                      : mgi_pipeline_editor(f->job.ctx, &f->job.pipeline, clip, n));
    return take_film(f, 1, n->editor ? n->editor->steps : STEPS_DEFAULT);
}

/* What the request says of an edit. */
static void tell_edit(film_job *f)
{
    const mgen_generate_params *p = &f->params;
    mgi_generate_request *r = &f->request;
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
static mgen_status prepare(film_job *f, const mgen_pipeline *pipeline,
                           const mgen_generate_params *params)
{
    mgen_context *ctx = f->job.ctx;
    mgen_generate_params *p = &f->params;
    mgi_generate_request *r = &f->request;
    mgen_estimate *e = &f->job.estimate;
    MGI_TRY(mgi_struct_in(ctx, p, sizeof *p, PARAMS_LEAST, params, "generate params"));
    MGI_TRY(check_params(ctx, f->kind, p));
    MGI_TRY(mgi_pipeline_in(ctx, pipeline, &f->job.pipeline));
    MGI_TRY(f->kind == UPSAMPLES      ? take_upsampler(f)
            : f->kind == EDITS        ? take_editor(f)
            : f->kind == PERSONALIZES ? take_personalizer(f)
                                      : take_networks(f));
    *r = (mgi_generate_request){.prompts = (const char *const *)&f->prompt,
                                .negatives = (const char *const *)&f->negative,
                                .count = 1,
                                .seeds = &p->seed,
                                .steps = (int)p->steps,
                                .guidance = p->guidance,
                                .noise_scale = p->noise_scale,
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
                                .source = f->source ? on_source : NULL,
                                .photos = f->photo.rgb ? &f->photo : NULL,
                                .stop = on_stop,
                                .sink = on_frames,
                                .user = f};
    if (f->kind == EDITS)
        tell_edit(f);
    else
        r->source_guidance = p->source_guidance;
    f->prompt = (char *)p->prompt; /* until the job has its own */
    f->negative = (char *)p->negative_prompt;
    MGI_TRY(estimate(f));
    if (p->into)
        MGI_TRY(check_into(f));
    return fits(f) ? MGEN_OK : try_tiles(f);
}

/* Ranks decode in the smallest tiles that one of them needs. */
static mgen_status share_tile(film_job *f)
{
    mgen_mesh *mesh = f->job.pipeline.mesh;
    uint64_t own = (uint64_t)f->request.tile, least = 0, *all;
    if (!mgi_mesh_split(mesh))
        return MGEN_OK;
    MGI_TRY(mgi_mesh_words(mesh, "tiles", own, &all));
    for (uint32_t r = 0; r < mgen_mesh_size(mesh); r++)
        least = all[r] && (!least || all[r] < least) ? all[r] : least;
    mgi_free(f->job.ctx, all);
    if (least == own)
        return MGEN_OK;
    f->request.tile = (int64_t)least;
    return estimate(f);
}

static mgen_status check_limit(const film_job *f)
{
    const mgi_heap *heap = f->job.ctx->heap;
    mgi_device *dev = f->job.ctx->device;
    uint64_t need = f->job.estimate.host_bytes, device = f->job.estimate.device_bytes;
    if (!mgi_fits_device(f->job.ctx, device))
        return mgi_fail(f->job.ctx, MGEN_E_LIMIT,
                        "%u frames of %u x %u need up to %" PRIu64
                        " bytes of the device beside the %" PRIu64
                        " in use; device_memory_max is %" PRIu64 ": raise it or ask for less",
                        f->job.estimate.frames, f->job.estimate.width, f->job.estimate.height,
                        device, dev->counts.held, dev->memory_max);
    if (mgi_fits_host(f->job.ctx, need))
        return MGEN_OK;
    return mgi_fail(f->job.ctx, MGEN_E_LIMIT,
                    "%u frames of %u x %u need up to %" PRIu64 " bytes beside the %" PRIu64
                    " in use; host_memory_max is %" PRIu64
                    ": raise it, ask for less, or take the frames by on_frames",
                    f->job.estimate.frames, f->job.estimate.width, f->job.estimate.height, need,
                    atomic_load(&heap->now), heap->max);
}

static mgen_status check_given(mgen_context *ctx, work_kind kind, const mgen_clip *given)
{
    return given || kind == GENERATES ? MGEN_OK
                                      : mgi_fail(ctx, MGEN_E_INVALID, "the %s is NULL",
                                                 kind == PERSONALIZES ? "photo" : "clip");
}

/* Of an estimate, which a rank may ask for alone: nobody can pass it the clip. */
static mgen_status check_own(mgen_context *ctx, const mgen_pipeline *pipeline, work_kind kind,
                             const mgen_clip *given)
{
    const char *what = kind == PERSONALIZES ? "photo" : "clip";
    if (given || kind == GENERATES || !mgen_mesh_rank(mgi_pipeline_mesh(ctx, pipeline)))
        return check_given(ctx, kind, given);
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "the %s is NULL; a request takes that of rank 0, but an estimate asks no other "
                    "rank: give the %s, or a black one of its size (mgen_clip_create)",
                    what, what);
}

/* Before it is prepared. `given`: a film, or a photo. */
static film_job job_of(mgen_context *ctx, work_kind kind, const mgen_clip *given)
{
    film_job f = {.job = {.ctx = ctx}, .kind = kind};
    if (kind == PERSONALIZES && given)
        f.photo = (mgi_photo){given->pixels, given->info.height, given->info.width};
    else
        f.source = given;
    return f;
}

static mgen_status tell(mgen_context *ctx, const mgen_pipeline *pipeline, work_kind kind,
                        const mgen_clip *given, const mgen_generate_params *params,
                        mgen_estimate *out)
{
    mgen_estimate theirs;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(check_own(ctx, pipeline, kind, given));
    MGI_TRY(mgi_struct_in(ctx, &theirs, sizeof theirs, sizeof theirs, out, "estimate"));
    film_job f = job_of(ctx, kind, given);
    mgen_status status = prepare(&f, pipeline, params);
    mgen_pipeline_close(&f.job.pipeline);
    const mgen_estimate *e = &f.job.estimate;
    return status == MGEN_OK ? mgi_struct_out(out, e, sizeof *e, sizeof *e) : status;
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

mgen_status mgen_personalize_estimate(mgen_context *ctx, const mgen_pipeline *pipeline,
                                      const mgen_clip *photo, const mgen_generate_params *params,
                                      mgen_estimate *out)
{
    return tell(ctx, pipeline, PERSONALIZES, photo, params, out);
}

/* -- life -------------------------------------------------------------------------------------------- */

static void finish(mgen_job *job)
{
    film_job *f = (film_job *)job;
    mgi_enlarge_finish(&f->enlarge);
    mgen_clip_destroy(f->passed);
    mgi_free(job->ctx, f->kept);
    mgi_free(job->ctx, f->prompt);
    mgi_free(job->ctx, f->negative);
}

/* What the job gives its frames to, if not to the host. */
static mgen_status make_clip(film_job *f)
{
    const mgen_estimate *e = &f->job.estimate;
    const mgen_clip *source = f->source;
    f->job.soundless = "made no sound";
    f->job.clipless = !takes_frames(f)                        ? "gave its clip to rank 0"
                      : f->params.into || f->params.on_frames ? "gave its frames elsewhere"
                                                              : NULL;
    if (f->job.clipless)
        return MGEN_OK;
    MGI_TRY(mgi_clip_make(f->job.ctx, e->width, e->height, e->frames,
                          source ? source->info.fps_num : f->job.pipeline.fps,
                          source ? source->info.fps_den : 1, &f->job.clip));
    f->into = (mgi_pixels){
        .format = MGI_PIXELS_RGB8, .width = e->width, .height = e->height, .frames = e->frames};
    mgi_pixels_pack(&f->into, f->job.clip->pixels);
    return MGEN_OK;
}

/* What a job has that does not come to the heap. */
static void drop(film_job *prepared)
{
    mgen_pipeline_close(&prepared->job.pipeline);
    mgen_clip_destroy(prepared->passed);
}

/* Move a prepared job to the heap, with copies of what the caller keeps. Takes over its handles. */
static mgen_status make(film_job *prepared, film_job **out)
{
    mgen_context *ctx = prepared->job.ctx;
    const mgen_estimate *e = &prepared->job.estimate;
    film_job *f;
    mgen_status status = mgi_alloc_zero(ctx, 1, sizeof *f, &f);
    if (status != MGEN_OK) {
        drop(prepared);
        return status;
    }
    memcpy(f, prepared, sizeof *f);
    f->job.work = work;
    f->job.finish = finish;
    mgi_job_init(&f->job);
    const char *negative = f->negative;
    f->prompt = f->negative = NULL;
    f->request.prompts = (const char *const *)&f->prompt;
    f->request.negatives = (const char *const *)&f->negative;
    f->request.seeds = &f->params.seed;
    f->request.photos = f->photo.rgb ? &f->photo : NULL;
    f->request.user = f;
    MGI_TRY_GOTO(status, mgi_strdup(ctx, f->params.prompt, &f->prompt), failed);
    if (negative)
        MGI_TRY_GOTO(status, mgi_strdup(ctx, negative, &f->negative), failed);
    if (f->source)
        MGI_TRY_GOTO(status, mgi_enlarge_init(&f->enlarge, ctx, f->source, e->width, e->height),
                     failed);
    MGI_TRY_GOTO(status, make_clip(f), failed);
    atomic_init(&f->job.total, (uint32_t)mgi_generate_steps(&f->request));
    *out = f;
    return MGEN_OK;
failed:
    mgi_job_free(&f->job);
    return status;
}

/* All that ranks tell each other before the work. */
static mgen_status prepare_together(film_job *f, mgen_mesh *mesh, const mgen_pipeline *pipeline,
                                    const mgen_generate_params *params, mgen_status status)
{
    if (status == MGEN_OK)
        status = prepare(f, pipeline, params);
    MGI_TRY(mgi_mesh_together(mesh, status));
    status = share_tile(f);
    if (status == MGEN_OK)
        status = check_limit(f);
    return mgi_mesh_together(mesh, status);
}

static mgen_status start(mgen_context *ctx, const mgen_pipeline *pipeline, work_kind kind,
                         const mgen_clip *given, const mgen_generate_params *params, mgen_job **out)
{
    film_job *f;
    mgen_clip *passed = NULL;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    mgen_mesh *mesh = mgi_pipeline_mesh(ctx, pipeline);
    if (kind != GENERATES)
        MGI_TRY(mgi_mesh_clip(mesh, &given, &passed));
    film_job prepared = job_of(ctx, kind, given);
    prepared.passed = passed;
    mgen_status status = check_given(ctx, kind, given);
    status = prepare_together(&prepared, mesh, pipeline, params, status);
    if (status != MGEN_OK) {
        drop(&prepared);
        return status;
    }
    status = make(&prepared, &f);
    if (status != MGEN_OK)
        return mgi_mesh_end(mesh, status);
    status = mgi_job_begin(&f->job);
    if (status != MGEN_OK) {
        (void)mgi_mesh_end(mesh, status);
        mgi_job_free(&f->job);
        return status;
    }
    *out = &f->job;
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

mgen_status mgen_personalize_start(mgen_context *ctx, const mgen_pipeline *pipeline,
                                   const mgen_clip *photo, const mgen_generate_params *params,
                                   mgen_job **out)
{
    return start(ctx, pipeline, PERSONALIZES, photo, params, out);
}
