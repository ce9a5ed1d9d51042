/* SPDX-License-Identifier: MIT
 * Random calls on model handles, pipelines and the parts of a request. */
#ifndef TESTS_API_RANDOM_MODELS_H
#define TESTS_API_RANDOM_MODELS_H

#include "random_driver.h"

enum { MODELS = 8 };
static const char *const model_names[MODELS] = {"tae",          "text_encoder", "video_model",
                                                "upsampler",    "editor",       "audio",
                                                "personalizer", "rewriter"};

/* -- handles, whatever their kind ---------------------------------------------------------------------------- */

#define EACH_MODEL(X)                                                                              \
    X(TAE, tae)                                                                                    \
    X(TEXT_ENCODER, text_encoder)                                                                  \
    X(VIDEO_MODEL, video_model)                                                                    \
    X(UPSAMPLER, upsampler)                                                                        \
    X(EDITOR, editor)                                                                              \
    X(AUDIO_MODEL, audio_model)                                                                    \
    X(PERSONALIZER, personalizer)                                                                  \
    X(REWRITER, rewriter)

/* Into *out, whose type is not told to the compiler here. */
#define OPEN(number, kind)                                                                         \
    case number: {                                                                                 \
        mgen_##kind *made = POISON(mgen_##kind);                                                   \
        status = CALL(d, mgen_##kind##_open, ctx, folder, name, out ? &made : NULL);               \
        if (out)                                                                                   \
            *out = made;                                                                           \
        break;                                                                                     \
    }
static mgen_status open_model(driver *d, int model, mgen_context *ctx, const char *folder,
                              const char *name, void **out)
{
    mgen_status status = MGEN_E_INTERNAL;
    switch (model) {
        EACH_MODEL(OPEN)
    default:
        break;
    }
    return status;
}

#define RETAIN(number, kind)                                                                       \
    case number:                                                                                   \
        return TOLD(d, mgen_##kind##_retain, p);
static void *retain_model(driver *d, int model, void *p)
{
    switch (model) {
        EACH_MODEL(RETAIN)
    default:
        return NULL;
    }
}

#define RELEASE(number, kind)                                                                      \
    case number:                                                                                   \
        TOLD(d, mgen_##kind##_release, p);                                                         \
        break;
static void release_model(driver *d, int model, void *p)
{
    switch (model) {
        EACH_MODEL(RELEASE)
    default:
        break;
    }
}

#define GET_INFO(number, kind)                                                                     \
    case number:                                                                                   \
        return SILENT(d, mgen_##kind##_get_info, p, info);
static mgen_status get_info(driver *d, int model, const void *p, mgen_model_info *info)
{
    switch (model) {
        EACH_MODEL(GET_INFO)
    default:
        return MGEN_OK;
    }
}

static void open_next_model(driver *d)
{
    const int model = (int)(d->opened++ % MODELS);
    const bool plain = chance(d, 2);
    void *made = NULL, **out;
    mgen_context *ctx = context_of(d);
    const char *folder = plain ? dir : path_of(d, ".");
    const char *name = odd_text(d, model_names[wrong(d) ? (int)below(d, MODELS) : model]);
    out = or_null(d, &made);
    d->unsure = d->unsure || !plain || !name || strcmp(name, model_names[model]) != 0;
    const mgen_status status = open_model(d, model, ctx, folder, name, out);
    if (out)
        check_out(d, status, made);
    if (status != MGEN_OK)
        return;
    thing *t = add(d, MODEL, made);
    t->model = model;
    t->plain = plain && !strcmp(name, model_names[model]);
}

static void open_any_model(driver *d)
{
    for (int i = 0; i < 2; i++) {
        d->illegal = d->unsure = false;
        open_next_model(d);
    }
}

static void look_at_one_model(driver *d, int model)
{
    d->illegal = false;
    const thing *t = find(d, MODEL, model);
    mgen_model_info info = MGEN_MODEL_INFO_INIT;
    void *p = or_null(d, t ? t->p : NULL);
    mgen_model_info *out = SIZED(d, info, offsetof(mgen_model_info, guidance));
    uint32_t size;
    memcpy(&size, out, sizeof size);
    d->unsure = true; /* how long it ever was */
    if (size > sizeof info && size <= 65536)
        d->illegal = !p;
    const kept k = keep(d, out, size > 65536 ? sizeof info : size < 4 ? 4 : size);
    const mgen_status status = get_info(d, model, p, out);
    check_kept(d, status, k);
    if (retain_model(d, model, p) != p)
        complain(d, "another handle");
    release_model(d, model, p);
}

static void look_at_model(driver *d)
{
    for (int i = 0; i < MODELS; i += 1 + (int)below(d, 3))
        look_at_one_model(d, i);
}

/* -- pipelines ------------------------------------------------------------------------------------------------- */

static void open_pipeline(driver *d)
{
    mgen_pipeline p = MGEN_PIPELINE_INIT;
    mgen_context *ctx = context_of(d);
    const bool plain = chance(d, 3) || !d->mean;
    const char *folder = plain ? dir : path_of(d, chance(d, 4) ? "missing" : ".");
    p.precision = odd_u32(d, plain ? 0 : (uint32_t)below(d, 4));
    const bool meshed = d->at && d->at->mesh && !d->at->lost && chance(d, 2);
    p.mesh = meshed ? d->at->mesh : NULL;
    d->unsure = d->unsure || !plain;
    mgen_pipeline *in = SIZED(d, p, offsetof(mgen_pipeline, upsampler));
    const size_t room = in->struct_size > 65536 ? sizeof p
                        : in->struct_size < 4   ? 4
                                                : in->struct_size;
    const kept k = keep(d, in, room);
    if (chance(d, 40)) {
        d->illegal = true;
        CALL(d, mgen_pipeline_open, ctx, folder, NULL);
        return;
    }
    const mgen_status status = CALL(d, mgen_pipeline_open, ctx, folder, in);
    check_kept(d, status, k);
    if (status != MGEN_OK)
        return;
    memcpy(&p, in, room < sizeof p ? room : sizeof p);
    p.struct_size = sizeof p;
    const int home = meshed ? (int)(d->at - d->seats) : -1;
    thing *t = add(d, PIPELINE, &p);
    t->pipe = p;
    t->p = &t->pipe;
    t->seat = home;
    t->plain = plain && p.precision == 0;
    TOLD(d, mgen_pipeline_hash, &p);
}

/* One made by hand of handles, whole or not. */
static void make_pipeline(driver *d)
{
    const thing *t = find(d, PIPELINE, 0);
    if (!t)
        return;
    mgen_pipeline p = t->pipe;
    const int home = t->seat;
    const uint64_t without = below(d, 12);
    p.tae = without == 0 ? NULL : p.tae;
    p.video = without == 1 ? NULL : p.video;
    p.text[0] = without == 2 ? NULL : p.text[0];
    p.upsampler = without == 3 ? NULL : p.upsampler;
    p.editor = without == 4 ? NULL : p.editor;
    p.audio = without == 5 ? NULL : p.audio;
    p.personalizer = without == 6 ? NULL : p.personalizer;
    p.rewriter = without == 7 ? NULL : p.rewriter;
    p.text[1] = without == 8 ? p.text[0] : p.text[1];
    p.width = without == 9 ? 0 : p.width;
    p.fps = without == 10 ? UINT32_MAX : p.fps;
    p.precision = without == 11 ? 4 : p.precision;
    void *parts[MODELS] = {p.tae,    p.text[0], p.video,        p.upsampler,
                           p.editor, p.audio,   p.personalizer, p.rewriter};
    for (int i = 0; i < MODELS; i++)
        if (parts[i] && retain_model(d, i, parts[i]) != parts[i])
            complain(d, "another handle");
    for (int i = 1; i < 3; i++)
        if (p.text[i])
            retain_model(d, TEXT_ENCODER, p.text[i]);
    thing *made = add(d, PIPELINE, &p);
    made->pipe = p;
    made->p = &made->pipe;
    made->seat = home;
}

static void look_at_pipeline(driver *d)
{
    thing *t = find(d, PIPELINE, 0);
    if (t) {
        const uint64_t hash = TOLD(d, mgen_pipeline_hash, &t->pipe);
        if (hash != TOLD(d, mgen_pipeline_hash, &t->pipe))
            complain(d, "two hashes");
    }
    if (TOLD(d, mgen_pipeline_hash, NULL))
        complain(d, "a hash of nothing");
    TOLD(d, mgen_pipeline_close, NULL);
}

static void average(driver *d)
{
    const char *dirs[17];
    double weights[17];
    mgen_context *ctx = context_of(d);
    const uint32_t count = odd_u32(d, 1 + (uint32_t)below(d, 3));
    const double odd[] = {0.0, -1.0, (double)NAN, (double)INFINITY, DBL_MAX, 1e-320};
    for (int i = 0; i < 17; i++) {
        dirs[i] = i && wrong(d) ? path_of(d, "missing") : chance(d, 2) ? dir : path_of(d, ".");
        weights[i] = wrong(d) ? (d->unsure = true, PICK(d, odd)) : 1.0 + (double)below(d, 3);
    }
    d->unsure = true;
    const char *out = path_of(d, "mean");
    CALL(d, mgen_pipeline_average, ctx, or_null(d, dirs), chance(d, 2) ? weights : NULL, count,
         out);
}

static void convert(driver *d)
{
    mgen_context *ctx = context_of(d);
    const uint32_t precision = odd_u32(d, chance(d, 2) ? MGEN_PRECISION_BF16 : MGEN_PRECISION_FP8);
    d->unsure = true;
    CALL(d, mgen_pipeline_convert, ctx, path_of(d, chance(d, 2) ? "mean" : "."), precision);
}

static void rewrite(driver *d)
{
    thing *t = find(d, PIPELINE, 0);
    mgen_context *ctx = context_of(d);
    const uint64_t size = odd_u64(d, chance(d, 2) ? 4097 : 12), room = size > 5000 ? 5000 : size;
    char *out = memset(temp(d, room), 7, room);
    const kept k = keep(d, out, room);
    if (t && t->seat >= 0 && d->at != &d->seats[t->seat])
        return;
    mgen_pipeline p = t ? t->pipe : (mgen_pipeline)MGEN_PIPELINE_INIT;
    d->unsure = true;
    const char *prompt = odd_text(d, "a fox");
    char *to = or_null(d, out);
    const mgen_status status =
        CALL(d, mgen_rewrite, ctx, t ? SIZED(d, p, offsetof(mgen_pipeline, upsampler)) : NULL,
             prompt, to, room);
    check_kept(d, status, k);
}

/* -- the parts ---------------------------------------------------------------------------------------------------- */

enum { VALUES = 9 * 8 * 8 * 4, WORDS = 64 * 16, FILM = 32 * 64 * 64 * 3 };

static mgen_latents latents_of(driver *d, uint32_t frames, size_t *room)
{
    mgen_latents x = MGEN_LATENTS_INIT;
    x.frames = odd_u32(d, frames);
    x.height = odd_u32(d, 8);
    x.width = odd_u32(d, 8);
    x.channels = odd_u32(d, 4);
    x.reserved0 = reserved(d);
    const double count = (double)x.frames * x.height * x.width * x.channels;
    *room = count < 4 * VALUES ? (size_t)count : 0;
    if (*room == 0 && count > 0.0) { /* more than the test has */
        x.channels = 0;
        *room = 0;
    }
    x.data = temp(d, (*room + 1) * sizeof(float));
    for (size_t i = 0; i < *room; i++)
        x.data[i] = (float)((int)(i * 37 % 101) - 50) / 25.0f;
    if (d->mean && chance(d, 12)) {
        d->illegal = true;
        x.data = chance(d, 2) ? NULL : (float *)(void *)((char *)x.data + 2);
    }
    d->illegal = d->illegal || !*room;
    return x;
}

static mgen_frames frames_of(driver *d, uint32_t count)
{
    mgen_frames f = MGEN_FRAMES_INIT;
    f.format = (uint32_t)below(d, 3);
    f.width = odd_u32(d, 64);
    f.height = odd_u32(d, 64);
    f.count = odd_u32(d, count);
    f.reserved0 = reserved(d);
    if (f.width > 200 || f.height > 200 || f.count > 64)
        f.format = 3; /* more than the test has */
    d->illegal = d->illegal || f.format > MGEN_FORMAT_YUV420;
    const uint64_t each = f.format == MGEN_FORMAT_RGBF32 ? 12 : 3,
                   pad = chance(d, 3) ? 4 * below(d, 9) : 0;
    const uint64_t side = (f.width + 1) / 2;
    for (int i = 0; i < (f.format == MGEN_FORMAT_YUV420 ? 3 : f.format > 2 ? 0 : 1); i++) {
        const uint64_t row = f.format < 2 ? f.width * each : i ? side : f.width;
        const uint64_t rows = i ? (f.height + 1) / 2 : f.height;
        f.row_stride[i] = pad ? row + pad : 0;
        f.frame_stride[i] = pad ? (row + pad) * rows + pad : 0;
        const size_t size = pad ? f.frame_stride[i] * f.count : row * rows * f.count;
        f.plane[i] = memset(temp(d, size), 60, size);
        if (d->mean && chance(d, 16)) {
            f.plane[i] = NULL;
            d->illegal = true;
        } else if (d->mean && chance(d, 16)) {
            const uint64_t odd[] = {
                1, row - 1, INT64_MAX, UINT64_MAX, UINT64_MAX / 2 + 1, (uint64_t)1 << 62};
            (chance(d, 2) ? f.row_stride : f.frame_stride)[i] = PICK(d, odd);
            d->unsure = true;
        }
    }
    return f;
}

/* Outside of what the strides say. */
static bool too_far(const mgen_frames *f)
{
    for (int i = 0; i < 3; i++)
        if ((f->row_stride[i] > 8192 || f->frame_stride[i] > (1 << 20)) && f->count == 1 &&
            f->height == 1)
            return true;
    return false;
}

static void encode_text(driver *d)
{
    mgen_context *ctx = context_of(d);
    const mgen_text_encoder *encoder = or_null(d, pointer_of(find(d, MODEL, TEXT_ENCODER)));
    mgen_text text = MGEN_TEXT_INIT;
    text.tokens = odd_u32(d, 64);
    text.width = odd_u32(d, 16);
    text.tokens = text.tokens > 4096 ? 4096 : text.tokens;
    text.width = text.width > 4096 ? 17 : text.width;
    text.reserved0 = reserved(d);
    const size_t size = (size_t)text.tokens * text.width * sizeof(float);
    text.data = memset(temp(d, size), 0, size);
    const kept k = keep(d, text.data, size);
    d->unsure = true; /* prompts that are longer than there is room */
    const char *prompt = odd_text(d, chance(d, 2) ? "a red ball" : "\"says\" much");
    mgen_text *in = SIZED(d, text, sizeof text);
    const kept head = keep(d, in,
                           in->struct_size > 65536 ? sizeof text
                           : in->struct_size < 4   ? 4
                                                   : in->struct_size);
    const mgen_status status = CALL(d, mgen_text_encode, ctx, encoder, prompt, in);
    check_kept(d, status, k);
    check_kept(d, status, head);
}

static void code_film(driver *d)
{
    static const uint32_t counts[] = {1, 8, 9, 32};
    size_t room;
    mgen_context *ctx = context_of(d);
    const mgen_tae *tae = or_null(d, pointer_of(find(d, MODEL, TAE)));
    const uint32_t count = PICK(d, counts);
    mgen_frames f = frames_of(d, count);
    mgen_latents x = latents_of(d, (count + 7) / 8, &room);
    if (too_far(&f))
        return;
    d->unsure = true; /* shapes that do not fit; strides that are too short */
    const mgen_frames *frames = SIZED(d, f, sizeof f);
    const mgen_latents *latents = SIZED(d, x, sizeof x);
    const kept in = keep(d, x.data, room * sizeof(float)), out = keep(d, f.plane[0], 1);
    if (chance(d, 2)) {
        check_kept(d, CALL(d, mgen_tae_encode, ctx, tae, frames, latents), in);
        return;
    }
    const mgen_status status = CALL(d, mgen_tae_decode, ctx, tae, latents, frames);
    if (mgen_status_class(status) == MGEN_CLASS_UNCHANGED) /* others: frames, as they come */
        check_kept(d, status, out);
}

static void ask_velocity(driver *d)
{
    static const float at[] = {0.0f, 0.5f, 1.0f};
    size_t room, more;
    float words[WORDS];
    mgen_text text = MGEN_TEXT_INIT;
    mgen_context *ctx = context_of(d);
    const mgen_video_model *model = or_null(d, pointer_of(find(d, MODEL, VIDEO_MODEL)));
    text.tokens = 1 + (uint32_t)below(d, 64);
    text.width = odd_u32(d, 16);
    text.data = words;
    for (int i = 0; i < WORDS; i++)
        words[i] = (float)(i % 7) - 3.0f;
    const mgen_text *texts[3] = {SIZED(d, text, sizeof text), NULL, NULL};
    if (wrong(d)) {
        texts[0] = NULL;
        d->illegal = true;
    }
    mgen_latents x = latents_of(d, 1 + (uint32_t)below(d, 4), &room), y = x;
    more = room;
    if (chance(d, 2))
        y = latents_of(d, x.frames, &more);
    const float time = odd_float(d, PICK(d, at));
    d->unsure = true;
    const mgen_latents *in = SIZED(d, x, sizeof x), *out = SIZED(d, y, sizeof y);
    const void *const given = or_null(d, texts);
    const kept k = keep(d, y.data, more * sizeof(float));
    check_kept(d, CALL(d, mgen_video_velocity, ctx, model, in, time, given, out), k);
}

static void make_noise(driver *d)
{
    size_t room;
    mgen_context *ctx = context_of(d);
    mgen_latents x = latents_of(d, 4, &room);
    const bool data = x.data && !((uintptr_t)x.data % 4);
    const kept k = keep(d, data ? (void *)x.data : (void *)&x, data ? room * sizeof(float) : 0);
    check_kept(d, CALL(d, mgen_noise, ctx, draw(d), SIZED(d, x, sizeof x)), k);
    float times[1001];
    const uint32_t steps = odd_u32(d, 1 + (uint32_t)below(d, 1000)),
                   schedule = odd_u32(d, (uint32_t)below(d, 3));
    d->illegal = steps < 1 || steps > 1000 || schedule > 2;
    d->unsure = false;
    float *out = or_null(d, times);
    times[0] = times[1] = -1.0f;
    const kept untouched = keep(d, times, 2 * sizeof *times);
    const mgen_status status = SILENT(d, mgen_schedule, schedule, steps, out);
    check_kept(d, status, untouched);
    if (status == MGEN_OK && !(times[0] == 0.0f && times[steps] == 1.0f))
        complain(d, "%g .. %g", (double)times[0], (double)times[steps]);
}

#endif
