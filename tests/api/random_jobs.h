/* SPDX-License-Identifier: MIT
 * Random requests: started, looked at, cancelled, waited for and destroyed in any order; some of a known result. */
#ifndef TESTS_API_RANDOM_JOBS_H
#define TESTS_API_RANDOM_JOBS_H

#include "random_driver.h"

enum { GENERATES, UPSAMPLES, EDITS, PERSONALIZES, SOUNDS, KINDS };
enum { CANONICAL = 6 };

/* What requests made before all others, on a context of their own: a hash of the result. */
static uint64_t canonical_hash[CANONICAL];
static mgen_clip *canonical_clip; /* that they see; read only */

static uint64_t hash_of(const void *data, size_t size)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < size; i++)
        h = (h ^ ((const uint8_t *)data)[i]) * UINT64_C(1099511628211);
    return h;
}

static uint64_t hash_of_clip(mgen_clip *clip)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip_get_info(clip, &info);
    return hash_of(mgen_clip_pixels(clip), (size_t)info.frames * info.height * info.width * 3);
}

static uint64_t hash_of_sound(mgen_sound *sound)
{
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    mgen_sound_get_info(sound, &info);
    return hash_of(mgen_sound_samples(sound), (size_t)info.samples * info.channels * sizeof(float));
}

static mgen_status start(driver *d, int kind, mgen_context *ctx, const mgen_pipeline *pipe,
                         const mgen_clip *clip, const void *params, mgen_job **out)
{
    switch (kind) {
    case GENERATES:
        return CALL(d, mgen_generate_start, ctx, pipe, params, out);
    case UPSAMPLES:
        return CALL(d, mgen_upsample_start, ctx, pipe, clip, params, out);
    case EDITS:
        return CALL(d, mgen_edit_start, ctx, pipe, clip, params, out);
    case PERSONALIZES:
        return CALL(d, mgen_personalize_start, ctx, pipe, clip, params, out);
    default:
        return CALL(d, mgen_sound_start, ctx, pipe, clip, params, out);
    }
}

static mgen_status estimate(driver *d, int kind, mgen_context *ctx, const mgen_pipeline *pipe,
                            const mgen_clip *clip, const void *params, mgen_estimate *out)
{
    switch (kind) {
    case GENERATES:
        return CALL(d, mgen_generate_estimate, ctx, pipe, params, out);
    case UPSAMPLES:
        return CALL(d, mgen_upsample_estimate, ctx, pipe, clip, params, out);
    case EDITS:
        return CALL(d, mgen_edit_estimate, ctx, pipe, clip, params, out);
    case PERSONALIZES:
        return CALL(d, mgen_personalize_estimate, ctx, pipe, clip, params, out);
    default:
        return CALL(d, mgen_sound_estimate, ctx, pipe, clip, params, out);
    }
}

/* -- callbacks, which come from the job's thread ---------------------------------------------------------------- */

static int32_t came(job *j)
{
    mgen_job_info info = MGEN_JOB_INFO_INIT;
    mgen_job *own = atomic_load(&j->of_callback);
    mgen_tae_release(mgen_tae_retain(j->held));
    j->calls++;
    if (own && mgen_job_get_info(own, &info) != MGEN_OK)
        return 1;
    if (own && j->calls == j->cancel_at)
        mgen_job_cancel(own);
    return j->calls == j->stop_at;
}

static int32_t on_job_progress(void *user, uint32_t done, uint32_t total)
{
    return done > total ? 1 : came(user);
}

static int32_t on_job_preview(void *user, uint32_t step, const mgen_latents *latents)
{
    (void)step;
    return latents->data[0] > 1e30f ? 1 : came(user);
}

static int32_t on_job_frames(void *user, uint64_t first, const mgen_frames *frames)
{
    return frames->count + first > 65536 ? 1 : came(user);
}

/* -- its end ------------------------------------------------------------------------------------------------------ */

static void told(driver *d, seat *s, job *j, mgen_status status)
{
    if (j->told && status != j->end)
        complain(d, "%s, but %s before", mgen_status_name(status), mgen_status_name(j->end));
    if (j->told)
        return;
    if (s->running == j)
        s->running = NULL;
    const bool refused = atomic_load(&s->memory->refused) > 0; /* since the call that started it */
    if (status == MGEN_OK)
        d->job_depth[j->started] = atomic_load(&s->memory->made) - j->made_before;
    end_failures(s);
    if (refused && !s->starved && status != MGEN_E_NO_MEMORY && status != MGEN_E_CANCELLED)
        complain(d, "%s, though memory was refused to the job of %s: %s", mgen_status_name(status),
                 promises[j->started].name, mgen_last_error(s->ctx));
    if (status == MGEN_E_NO_MEMORY && !j->troubled && !refused)
        complain(d, "no memory without trouble: %s", mgen_last_error(s->ctx));
    if (status == MGEN_OK && !s->others && atomic_load(&s->errors) > 0)
        complain(d, "the job of %s, which succeeded, logged an error", promises[j->started].name);
    if (j->canonical >= 0 && status != MGEN_OK && status != MGEN_E_CANCELLED && !j->troubled &&
        !refused && !s->tight)
        complain(d, "a job ended with %s: %s", mgen_status_name(status), mgen_last_error(s->ctx));
    if (status != MGEN_OK && !sentence(mgen_last_error(s->ctx)))
        complain(d, "the job's end is no sentence: \"%s\"", mgen_last_error(s->ctx));
    if (status != MGEN_OK && mgen_last_status(s->ctx) != status)
        complain(d, "the job's end is %s, the last error's %s", mgen_status_name(status),
                 mgen_status_name(mgen_last_status(s->ctx)));
    j->told = true;
    j->end = status;
    if (j->sees)
        j->sees->locks--;
    j->sees = NULL;
}

static void drop_job(driver *d, seat *s, job *j)
{
    if (!j->job)
        return;
    const bool running = s->running == j;
    TOLD(d, mgen_job_destroy, j->job);
    if (running) {
        s->running = NULL;
        end_failures(s);
    }
    if (j->sees)
        j->sees->locks--;
    free(j->planes);
    mgen_tae_release(j->held);
    *j = (job){.canonical = -1};
}

static void take(driver *d, seat *s, job *j)
{
    mgen_clip *clip = POISON(mgen_clip);
    mgen_sound *sound = POISON(mgen_sound);
    const bool film = chance(d, 8) ? j->kind != CLIP : j->kind == CLIP;
    d->at = s->running ? NULL : s;
    d->unsure = true;
    const bool can =
        j->told && j->end == MGEN_OK && !j->taken && !j->kept && film == (j->kind == CLIP);
    mgen_status status;
    if (!j->told) /* which leaves no message */
        status = film ? SILENT(d, mgen_job_take_clip, j->job, &clip)
                      : SILENT(d, mgen_job_take_sound, j->job, &sound);
    else
        status = film ? CALL(d, mgen_job_take_clip, j->job, &clip)
                      : CALL(d, mgen_job_take_sound, j->job, &sound);
    check_out(d, status, film ? (void *)clip : (void *)sound);
    if (can != (status == MGEN_OK))
        complain(d, "%s of a job that %s", mgen_status_name(status),
                 can ? "has a result" : "has none");
    if (!can)
        return;
    j->taken = true;
    const uint64_t hash = film ? hash_of_clip(clip) : hash_of_sound(sound);
    if (j->canonical >= 0 && hash != canonical_hash[j->canonical])
        complain(d, "request %d made another result than before", j->canonical);
    add(d, film ? CLIP : SOUND, film ? (void *)clip : (void *)sound);
}

/* -- requests ------------------------------------------------------------------------------------------------------ */

static mgen_generate_params film_params(driver *d, int kind)
{
    static const uint32_t counts[] = {1, 2, 9, 40};
    static const float guidances[] = {0.0f, 1.0f, 3.0f, 100.0f};
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    p.prompt = odd_text(d, "a red ball");
    p.negative_prompt = chance(d, 4) ? odd_text(d, "rain") : NULL;
    p.steps = odd_u32(d, 1 + (uint32_t)below(d, 3));
    p.seed = draw(d);
    if (kind == GENERATES || kind == PERSONALIZES)
        p.frames = odd_u32(d, PICK(d, counts));
    p.width = odd_u32(d, 0);
    p.height = odd_u32(d, 0);
    p.guidance = odd_float(d, PICK(d, guidances));
    p.schedule = odd_u32(d, (uint32_t)below(d, 3));
    p.frames_format = odd_u32(d, (uint32_t)below(d, 3));
    p.solver = odd_u32(d, (uint32_t)below(d, 2));
    p.guidance_from = odd_float(d, 0.0f);
    p.guidance_to = odd_float(d, 1.0f);
    p.drop_text = odd_u32(d, 0);
    p.edit_task = odd_u32(d, kind == EDITS ? (uint32_t)below(d, 8) : 0);
    p.source_guidance = odd_float(d, 0.0f);
    p.strength = odd_float(d, 0.0f);
    p.noise_scale = odd_float(d, 0.0f);
    return p;
}

static mgen_sound_params sound_params(driver *d)
{
    mgen_sound_params p = MGEN_SOUND_PARAMS_INIT;
    p.prompt = odd_text(d, "a ball bounces");
    p.music = chance(d, 3) ? odd_text(d, "slow") : NULL;
    p.negative = chance(d, 4) ? odd_text(d, "wind") : NULL;
    p.steps = odd_u32(d, 1 + (uint32_t)below(d, 3));
    p.seed = draw(d);
    p.seconds = (double)odd_float(d, 0.3f + (float)below(d, 10) / 10.0f);
    p.guidance = odd_float(d, 0.0f);
    p.quality = odd_float(d, 0.0f);
    p.solver = odd_u32(d, (uint32_t)below(d, 2));
    p.extension = odd_u32(d, (uint32_t)below(d, 2));
    p.candidates = odd_u32(d, (uint32_t)below(d, 3));
    p.noise_scale = odd_float(d, 0.0f);
    if (chance(d, 4)) {
        p.context = pointer_of(find(d, SOUND, 0));
        d->unsure = true;
    }
    return p;
}

/* The caller's frames, which stay until the job is gone: of the right size, or not. */
static mgen_frames into(driver *d, job *j)
{
    mgen_frames f = MGEN_FRAMES_INIT;
    f.format = odd_u32(d, (uint32_t)below(d, 3));
    f.width = f.height = 64;
    f.count = odd_u32(d, 40);
    f.count = f.count > 64 ? 64 : f.count;
    j->planes = malloc(64 * 64 * 64 * 12);
    for (int i = 0; i < (f.format == MGEN_FORMAT_YUV420 ? 3 : 1); i++)
        f.plane[i] = (uint8_t *)j->planes + (size_t)i * 64 * 64 * 64 * 2;
    return f;
}

static void say_where(driver *d, job *j, int kind, mgen_generate_params *p)
{
    p->user = j;
    p->on_progress = chance(d, 2) ? on_job_progress : NULL;
    p->on_preview = chance(d, 4) ? on_job_preview : NULL;
    j->stop_at = chance(d, 4) ? 1 + (uint32_t)below(d, 4) : 0;
    j->cancel_at = chance(d, 4) ? 1 + (uint32_t)below(d, 4) : 0;
    if (chance(d, 4)) {
        p->on_frames = on_job_frames;
        j->kept = true;
    }
    if (chance(d, 6) && kind != SOUNDS) {
        mgen_frames f = into(d, j);
        p->into = SIZED(d, f, sizeof f);
        d->unsure = true;
        j->kept = true;
    }
}

static job *free_job(driver *d, seat *s)
{
    job *j = &s->jobs[below(d, JOBS)];
    for (int i = 0; i < JOBS; i++)
        j = s->jobs[i].job ? j : &s->jobs[i];
    drop_job(d, s, j);
    *j = (job){.canonical = -1};
    return j;
}

static void began(driver *d, seat *s, job *j, mgen_job *made, bool troubled)
{
    j->job = made;
    s->running = j;
    atomic_store(&j->of_callback, made);
    j->started = d->function;
    s->starved = s->others = false;
    j->made_before = atomic_load(&s->memory->made);
    j->troubled = troubled;
    if (troubled)
        fail_memory(d, s, PROMISES /* all jobs */, d->job_depth[j->started]);
}

/* `j` is a job that did not begin. */
static void forget(job *j)
{
    free(j->planes);
    mgen_tae_release(j->held);
    *j = (job){.canonical = -1};
}

static void request(driver *d)
{
    const int kind = (int)(d->asked++ % KINDS);
    thing *t = find(d, PIPELINE, 0), *seen_clip = find(d, CLIP, 0);
    mgen_job *made = POISON(mgen_job), **out;
    mgen_context *ctx = context_of(d);
    seat *s = d->at;
    const bool estimates = chance(d, 3), busy = s && s->running;
    job spare = {.canonical = -1}, *j = s && !busy && !estimates ? free_job(d, s) : &spare;
    d->at = s;
    if (t && t->seat >= 0 && s != &d->seats[t->seat])
        return;
    d->unsure = t && (!t->plain || t->seat >= 0);
    mgen_pipeline p = t ? t->pipe : (mgen_pipeline)MGEN_PIPELINE_INIT;
    mgen_clip *clip = pointer_of(seen_clip);
    if (kind != GENERATES && clip) {
        mgen_clip_info info = MGEN_CLIP_INFO_INIT;
        mgen_clip_get_info(clip, &info);
        if ((uint64_t)info.frames * info.height * info.width > 40 * 128 * 128)
            return; /* long work */
        d->unsure = d->unsure || info.width != 64 || info.height != 64 || kind == SOUNDS ||
                    kind == UPSAMPLES;
    }
    if (kind != GENERATES && kind != SOUNDS)
        clip = or_null(d, clip);
    mgen_generate_params film = film_params(d, kind);
    mgen_sound_params sound = sound_params(d);
    d->unsure = d->unsure || kind == SOUNDS;
    j->held = p.tae && s ? TOLD(d, mgen_tae_retain, p.tae) : NULL;
    say_where(d, j, kind, &film);
    if (kind == SOUNDS) {
        sound.on_progress = film.on_progress;
        sound.user = j;
        j->kept = false;
    }
    const void *params = kind == SOUNDS ? SIZED(d, sound, sizeof sound)
                                        : SIZED(d, film, offsetof(mgen_generate_params, edit_task));
    const mgen_pipeline *pipe =
        t ? SIZED(d, p, offsetof(mgen_pipeline, upsampler)) : or_null(d, NULL);
    if (estimates) {
        mgen_estimate e = MGEN_ESTIMATE_INIT;
        mgen_estimate *to = or_null(d, &e);
        const kept k = keep(d, &e, sizeof e);
        check_kept(d, estimate(d, kind, ctx, pipe, clip, params, to), k);
        forget(j);
        return;
    }
    out = or_null(d, &made);
    const mgen_status status = start(d, kind, ctx, pipe, clip, params, out);
    if (out)
        check_out(d, status, made);
    if (status != MGEN_OK) {
        forget(j);
        return;
    }
    j->kind = kind == SOUNDS ? SOUND : CLIP;
    if (kind != GENERATES && clip) {
        seen_clip->locks++;
        j->sees = seen_clip;
    }
    began(d, s, j, made, chance(d, 4));
    if (film.steps > 100 || film.frames > 100 || sound.steps > 100 || !(sound.seconds < 4.0) ||
        film.width > 128 || film.height > 128 || sound.candidates > 4 || film.steps == 0)
        TOLD(d, mgen_job_cancel, j->job);
}

static void use_job(driver *d)
{
    static const int64_t times[] = {0, 1, 5, -1, -1, INT64_MAX, INT64_MIN};
    seat *s = &d->seats[below(d, SEATS)];
    job *j = &s->jobs[below(d, JOBS)];
    mgen_job_info info = MGEN_JOB_INFO_INIT;
    j = s->running && chance(d, 2) ? s->running : j;
    if (!j->job) {
        d->illegal = true;
        mgen_clip *clip = POISON(mgen_clip);
        const mgen_status status = SILENT(d, mgen_job_take_clip, NULL, &clip);
        check_out(d, status, clip);
        SILENT(d, mgen_job_wait, NULL, -1);
        SILENT(d, mgen_job_poll, NULL);
        SILENT(d, mgen_job_get_info, NULL, &info);
        TOLD(d, mgen_job_cancel, NULL);
        return;
    }
    d->unsure = true;
    switch (below(d, 8)) {
    case 0: {
        const kept k = keep(d, &info, sizeof info);
        check_kept(d, SILENT(d, mgen_job_get_info, j->job, chance(d, 8) ? NULL : &info), k);
        if (info.done > info.total || info.frames_done > info.frames)
            complain(d, "%u of %u steps, %u of %u frames", info.done, info.total, info.frames_done,
                     info.frames);
        break;
    }
    case 1: {
        const mgen_status status = SILENT(d, mgen_job_poll, j->job);
        if (status != MGEN_E_AGAIN)
            told(d, s, j, status);
        break;
    }
    case 2:
        TOLD(d, mgen_job_cancel, j->job);
        break;
    case 3:
        drop_job(d, s, j);
        break;
    case 4:
        take(d, s, j);
        break;
    default: {
        const mgen_status status = SILENT(d, mgen_job_wait, j->job, PICK(d, times));
        if (status != MGEN_E_TIMEOUT)
            told(d, s, j, status);
        break;
    }
    }
}

/* -- requests whose result is known ----------------------------------------------------------------------------------- */

static mgen_status begin_canonical(driver *d, int i, mgen_context *ctx, const mgen_pipeline *pipe,
                                   mgen_job **out)
{
    static const int kinds[CANONICAL] = {GENERATES,    GENERATES, EDITS,
                                         PERSONALIZES, SOUNDS,    UPSAMPLES};
    mgen_generate_params p = film_request(i == 0 ? 1 : i == 3 ? 9 : 0);
    mgen_sound_params sp = MGEN_SOUND_PARAMS_INIT;
    p.steps = 1;
    p.frames = i == 1 ? 12 : p.frames;
    sp.prompt = "a ball bounces";
    sp.steps = 1;
    sp.seconds = 0.6;
    if (d)
        return start(d, kinds[i], ctx, pipe, kinds[i] == SOUNDS ? NULL : canonical_clip,
                     kinds[i] == SOUNDS ? (void *)&sp : (void *)&p, out);
    switch (kinds[i]) {
    case GENERATES:
        return mgen_generate_start(ctx, pipe, &p, out);
    case UPSAMPLES:
        return mgen_upsample_start(ctx, pipe, canonical_clip, &p, out);
    case EDITS:
        return mgen_edit_start(ctx, pipe, canonical_clip, &p, out);
    case PERSONALIZES:
        return mgen_personalize_start(ctx, pipe, canonical_clip, &p, out);
    default:
        return mgen_sound_start(ctx, pipe, NULL, &sp, out);
    }
}

static thing *plain_pipeline(driver *d, const seat *s)
{
    const uint64_t from = below(d, THINGS);
    for (uint64_t i = 0; i < THINGS; i++) {
        thing *t = &d->things[(from + i) % THINGS];
        if (t->kind == PIPELINE && t->plain && (t->seat < 0 || s == &d->seats[t->seat]) &&
            !s->lost && t->pipe.upsampler && t->pipe.editor && t->pipe.audio &&
            t->pipe.personalizer)
            return t;
    }
    return NULL;
}

/* Begun, for use_job to end it; or waited for, and asked for again as long as memory fails, each time elsewhere. */
static void ask_canonical(driver *d)
{
    seat *s = &d->seats[below(d, SEATS)];
    const thing *t = plain_pipeline(d, s);
    const int i = (int)below(d, CANONICAL);
    const bool waits = chance(d, 2);
    if (!t || s->running)
        return;
    job *j = free_job(d, s);
    d->mean = false;
    for (int k = 0; k <= AGAIN / 2; k++) {
        mgen_job *made = POISON(mgen_job);
        d->at = s;
        d->unsure = false;
        const mgen_status status = begin_canonical(d, i, s->ctx, &t->pipe, &made);
        check_out(d, status, made);
        if (status != MGEN_OK)
            return;
        *j = (job){.canonical = i, .kind = i == 4 ? SOUND : CLIP};
        began(d, s, j, made, k ? k < AGAIN / 2 : chance(d, 2));
        if (!waits)
            return;
        d->unsure = true;
        told(d, s, j, SILENT(d, mgen_job_wait, j->job, -1));
        take(d, s, j);
        if (j->end != MGEN_E_NO_MEMORY)
            return;
        drop_job(d, s, j);
    }
}

#endif
