/* SPDX-License-Identifier: MIT
 * Random calls on clips, sounds, reports, datasets and raw films. */
#ifndef TESTS_API_RANDOM_MEDIA_H
#define TESTS_API_RANDOM_MEDIA_H

#include "random_driver.h"

/* -- clips ----------------------------------------------------------------------------------------------- */

static void paint(driver *d, mgen_clip *clip)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    d->at = NULL;
    d->illegal = d->unsure = false;
    SILENT(d, mgen_clip_get_info, clip, &info);
    uint8_t *pixels = TOLD(d, mgen_clip_pixels, clip);
    const size_t size = (size_t)info.frames * info.height * info.width * 3;
    if (size > 1 << 20)
        return;
    const uint64_t with = draw(d);
    for (size_t i = 0; i < size; i++)
        pixels[i] = (uint8_t)(with >> (i * 7 % 57));
}

static void make_clip(driver *d)
{
    static const uint32_t sides[] = {1, 2, 3, 16, 17, 64}, counts[] = {1, 2, 9, 32};
    mgen_clip *clip = POISON(mgen_clip), **out;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_context *ctx = context_of(d);
    const bool film = chance(d, 2); /* of the size that models take */
    info.width = odd_u32(d, film ? 64 : PICK(d, sides));
    info.height = odd_u32(d, film ? 64 : PICK(d, sides));
    info.frames = odd_u32(d, PICK(d, counts));
    info.fps_num = odd_u32(d, 16);
    info.fps_den = odd_u32(d, 1);
    out = or_null(d, &clip);
    const mgen_status status = CALL(d, mgen_clip_create, ctx, SIZED(d, info, sizeof info), out);
    if (out)
        check_out(d, status, clip);
    if (status != MGEN_OK)
        return;
    add(d, CLIP, clip);
    paint(d, clip);
}

static void look_at_clip(driver *d)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *clip = or_null(d, pointer_of(find(d, CLIP, 0)));
    mgen_clip_info *out = chance(d, 16) ? (d->illegal = true, NULL) : SIZED(d, info, sizeof info);
    uint32_t size = 0;
    kept k = {0};
    if (out) {
        memcpy(&size, out, sizeof size);
        k = keep(d, out, size >= sizeof info && size <= 65536 ? size : sizeof size);
    }
    if (size > sizeof info && size <= 65536)
        d->illegal = !clip; /* what is unknown becomes 0 */
    const mgen_status status = SILENT(d, mgen_clip_get_info, clip, out);
    if (out)
        check_kept(d, status, k);
    if ((TOLD(d, mgen_clip_pixels, clip) != NULL) != (clip != NULL))
        complain(d, "pixels of %s", clip ? "a clip are missing" : "no clip");
}

static const char *const films[] = {"film.y4m",      "film.png", "frame%d.png",
                                    "frame%03d.png", "film.mp4", "film.mkv"};

static void write_clip(driver *d)
{
    static const char *const odd[] = {"film",      ".y4m",     "film.",    "a%d%d.png",
                                      "%s.png",    "%99d.png", "%0d.png",  "%%.png",
                                      "film.json", "film.io",  "film.full"};
    const thing *t = find(d, CLIP, 0);
    mgen_context *ctx = context_of(d);
    const mgen_clip *clip = or_null(d, t ? t->p : NULL);
    const bool other = wrong(d);
    const char *path = path_of(d, other ? PICK(d, odd) : PICK(d, films));
    d->unsure =
        d->unsure || other || (path && strstr(path, ".m")); /* the plug-in may not be there */
    CALL(d, mgen_clip_write, ctx, clip, path);
}

static void read_clip(driver *d)
{
    static const char *const names[] = {"film.y4m",    "film.y4m",    "film.y4m",   "film.png",
                                        "frame1.png",  "sound.wav",   "film.mp4",   "recipe.json",
                                        "nothing.y4m", "damaged.y4m", "damaged.png"};
    mgen_clip *clip = POISON(mgen_clip), **out;
    mgen_context *ctx = context_of(d);
    const char *path = path_of(d, PICK(d, names));
    const uint64_t first = odd_u64(d, below(d, 3)), count = odd_u64(d, below(d, 4));
    out = or_null(d, &clip);
    d->unsure = true; /* files that are there or not */
    const mgen_status status = CALL(d, mgen_clip_read, ctx, path, first, count, out);
    if (out)
        check_out(d, status, clip);
    if (status == MGEN_OK)
        add(d, CLIP, clip);
}

/* A file that was written, cut short or changed. */
static void damage_file(driver *d)
{
    static const char *const from[] = {"film.y4m", "film.png", "sound.wav"};
    static const char *const to[] = {"damaged.y4m", "damaged.png", "damaged.wav"};
    static uint8_t bytes[DRIVERS][1 << 18];
    uint8_t *b = bytes[d->number];
    char path[300];
    const uint64_t i = below(d, 3);
    snprintf(path, sizeof path, "%s/%s", d->folder, from[i]);
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(b, 1, sizeof bytes[0], f) : 0;
    if (f)
        fclose(f);
    if (!n)
        return;
    for (uint64_t k = below(d, 6); k > 0; k--)
        b[below(d, chance(d, 2) && n > 64 ? 64 : n)] = (uint8_t)draw(d);
    n = chance(d, 2) ? n : below(d, n);
    snprintf(path, sizeof path, "%s/%s", d->folder, to[i]);
    f = fopen(path, "wb");
    if (!f || fwrite(b, 1, n, f) != n || fclose(f))
        complain(d, "the test cannot write %s", path);
}

/* -- sounds ------------------------------------------------------------------------------------------------ */

static void make_sound(driver *d)
{
    static const uint32_t rates[] = {1, 8000, 48000, 768000};
    mgen_sound *sound = POISON(mgen_sound), **out;
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    mgen_context *ctx = context_of(d);
    info.rate = odd_u32(d, PICK(d, rates));
    info.channels = odd_u32(d, 1 + (uint32_t)below(d, 8));
    info.samples =
        odd_u64(d, 1 + below(d, info.rate == 1 ? 5 : 5000)); /* seconds: not hours to resample */
    info.reserved0 = reserved(d);
    out = or_null(d, &sound);
    const mgen_status status = CALL(d, mgen_sound_create, ctx, SIZED(d, info, sizeof info), out);
    if (out)
        check_out(d, status, sound);
    if (status != MGEN_OK)
        return;
    add(d, SOUND, sound);
    float *samples = TOLD(d, mgen_sound_samples, sound);
    const bool wild = chance(d, 12);
    for (uint64_t i = 0; i < info.samples * info.channels && i < 5000; i++)
        samples[i] =
            wild && i % 100 == 7 ? (float)NAN : (float)((int)below(d, 2001) - 1000) / 900.0f;
}

static void look_at_sound(driver *d)
{
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    mgen_sound *sound = or_null(d, pointer_of(find(d, SOUND, 0)));
    mgen_sound_info *out = or_null(d, &info);
    const kept k = keep(d, &info, sizeof info);
    check_kept(d, SILENT(d, mgen_sound_get_info, sound, out), k);
    if ((TOLD(d, mgen_sound_samples, sound) != NULL) != (sound != NULL))
        complain(d, "samples of %s", sound ? "a sound are missing" : "no sound");
}

static void write_sound(driver *d)
{
    static const char *const names[] = {"sound.wav",  "sound.wav", "sound.m4a", "sound.ogg",
                                        "sound.mute", "sound",     "film.y4m"};
    static const char *const heard[] = {"film.mp4", "film.mkv", "film.mp4",
                                        "film.mov", "film.mp4", "film.mute"};
    const thing *t = find(d, SOUND, 0), *c = find(d, CLIP, 0);
    mgen_context *ctx = context_of(d);
    const mgen_sound *sound = or_null(d, t ? t->p : NULL);
    const bool alone = chance(d, 2);
    const char *path = path_of(d, alone ? PICK(d, names) : PICK(d, heard));
    d->unsure = true;
    if (alone) {
        CALL(d, mgen_sound_write, ctx, sound, path);
        return;
    }
    const mgen_clip *clip = or_null(d, c ? c->p : NULL);
    CALL(d, mgen_movie_write, ctx, clip, sound, path);
}

static void read_sound(driver *d)
{
    static const char *const names[] = {"sound.wav", "sound.wav", "damaged.wav", "film.mp4",
                                        "film.y4m",  "sound.m4a", "nothing.wav"};
    mgen_sound *sound = POISON(mgen_sound), **out;
    mgen_context *ctx = context_of(d);
    const char *path = path_of(d, PICK(d, names));
    const uint32_t rate = odd_u32(d, chance(d, 2) ? 0 : 16000);
    const uint32_t channels = odd_u32(d, (uint32_t)below(d, 3));
    out = or_null(d, &sound);
    d->unsure = true;
    const mgen_status status = CALL(d, mgen_sound_read, ctx, path, rate, channels, out);
    if (out)
        check_out(d, status, sound);
    if (status == MGEN_OK)
        add(d, SOUND, sound);
}

/* -- reports ------------------------------------------------------------------------------------------------ */

static void look_at_report(driver *d)
{
    const mgen_report *r = chance(d, 16) ? NULL : pointer_of(find(d, REPORT, 0));
    const uint32_t count = TOLD(d, mgen_report_count, r);
    const uint32_t i = chance(d, 4) ? (uint32_t)draw(d) : (uint32_t)below(d, count + 1);
    const char *name = TOLD(d, mgen_report_name, r, i);
    if ((name != NULL) != (i < count))
        complain(d, "entry %u of %u", i, count);
    const double value = TOLD(d, mgen_report_value, r, i);
    if (!name && value != 0.0)
        complain(d, "a value past the end");
    TOLD(d, mgen_report_text, r);
}

/* -- datasets ------------------------------------------------------------------------------------------------ */

/* What a host's samples do; freed when the last owner of the dataset is gone. */
typedef struct host {
    _Atomic mgen_status answer;
    uint64_t asked;
} host;

static mgen_status read_sample(void *user, uint64_t index, mgen_sample *s)
{
    host *h = user;
    const mgen_status answer = atomic_load(&h->answer);
    h->asked++;
    if (answer != MGEN_OK && index % 2 == 0)
        return answer;
    memset(s->pixels, (int)(index * 40), (size_t)s->frames * s->height * s->width * 3);
    snprintf(s->caption, s->caption_size, "sample %d", (int)index);
    if (s->edited) {
        memset(s->edited, 200, (size_t)s->frames * s->height * s->width * 3);
        snprintf(s->instruction, s->caption_size, "make it bright");
    }
    return MGEN_OK;
}

static void released(void *user)
{
    free(user);
}

static void keep_dataset(driver *d, mgen_status status, mgen_dataset **out, mgen_dataset *dataset,
                         host *h)
{
    if (out)
        check_out(d, status, dataset);
    if (status == MGEN_OK)
        add(d, DATASET, dataset)->user = h;
}

static void make_dataset(driver *d)
{
    mgen_dataset *dataset = POISON(mgen_dataset), **out;
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgen_context *ctx = context_of(d);
    if (chance(d, 3)) {
        out = or_null(d, &dataset);
        const mgen_status made = CALL(d, mgen_dataset_toybox, ctx, draw(d), out);
        keep_dataset(d, made, out, dataset, NULL);
        return;
    }
    p.width = odd_u32(d, chance(d, 2) ? 64 : 16);
    p.height = odd_u32(d, p.width);
    p.frames = odd_u32(d, chance(d, 2) ? 32 : 1);
    const bool folder = chance(d, 2);
    p.fps = odd_u32(d, folder ? 0 : (uint32_t)below(d, 30));
    host *h = folder ? NULL : calloc(1, sizeof *h);
    if (h) {
        p.count = odd_u64(d, 1 + below(d, 9));
        p.read = or_null(d, &p) ? read_sample : NULL;
        p.released = released;
        p.user = h;
        p.edits = odd_u32(d, (uint32_t)below(d, 2));
        p.sound_samples = odd_u64(d, chance(d, 4) ? 1000 : 0);
    }
    out = or_null(d, &dataset);
    const mgen_dataset_params *params = SIZED(d, p, offsetof(mgen_dataset_params, fps));
    mgen_status status;
    if (folder) {
        d->unsure = true; /* films that are there or not; which have a rate of their own */
        const char *path = path_of(d, chance(d, 8) ? "missing" : chance(d, 2) ? "films" : ".");
        status = CALL(d, mgen_dataset_open, ctx, path, params, out);
    } else {
        status = CALL(d, mgen_dataset_create, ctx, params, out);
    }
    if (status != MGEN_OK) {
        free(h);
        h = NULL;
    }
    keep_dataset(d, status, out, dataset, h);
}

static void read_dataset(driver *d)
{
    static const mgen_status answers[] = {MGEN_E_IO, MGEN_E_CORRUPT, MGEN_E_NUMERIC, MGEN_E_DEVICE,
                                          MGEN_E_CANCELLED};
    thing *t = find(d, DATASET, 0);
    mgen_clip *clip = POISON(mgen_clip), **out;
    mgen_context *ctx = context_of(d);
    mgen_dataset *dataset = or_null(d, pointer_of(t));
    char *caption = chance(d, 4) ? NULL : memset(temp(d, 300), 1, 300);
    const kept k = keep(d, caption, 300);
    const uint64_t size = caption ? odd_u64(d, 300) : 0;
    const uint64_t count = TOLD(d, mgen_dataset_count, dataset);
    const uint64_t index = odd_u64(d, count ? below(d, count) : 0);
    out = or_null(d, &clip);
    d->unsure = true;
    if (t && t->user) {
        d->also = chance(d, 2) ? PICK(d, answers) : MGEN_OK;
        atomic_store(&((host *)t->user)->answer, d->also);
    }
    const mgen_status status =
        CALL(d, mgen_dataset_read, ctx, dataset, index, caption, size > 300 ? 300 : size, out);
    check_kept(d, status, k);
    if (out)
        check_out(d, status, clip);
    if (t && t->user)
        atomic_store(&((host *)t->user)->answer, MGEN_OK);
    if (dataset && chance(d, 4)) {
        if (TOLD(d, mgen_dataset_retain, dataset) != dataset)
            complain(d, "another dataset");
        TOLD(d, mgen_dataset_release, dataset);
    }
    if (status == MGEN_OK)
        add(d, CLIP, clip);
}

/* -- raw films ----------------------------------------------------------------------------------------------- */

typedef struct stops_after {
    uint32_t calls, last;
} stops_after;

static int32_t on_films(void *user, uint32_t done, uint32_t total)
{
    stops_after *s = user;
    return done > total || (s->last && ++s->calls >= s->last);
}

static void curate(driver *d)
{
    static const char *const rules[] = {"report", "toybox", "recipe.json", "rules.json",
                                        "missing.json"};
    mgen_report *report = POISON(mgen_report), **out;
    mgen_curate_params p = MGEN_CURATE_PARAMS_INIT;
    mgen_context *ctx = context_of(d);
    stops_after after = {0, (uint32_t)below(d, 3)};
    p.dir = chance(d, 8) ? path_of(d, "missing") : path_of(d, "films");
    p.rules = chance(d, 3) ? path_of(d, PICK(d, rules)) : path_of(d, "rules.json");
    if (chance(d, 8))
        p.rules = odd_text(d, PICK(d, rules));
    p.out = chance(d, 2) ? path_of(d, "list.jsonl") : NULL;
    p.reserved0 = reserved(d);
    p.on_progress = on_films;
    p.user = &after;
    out = or_null(d, &report);
    d->unsure = true;
    const mgen_status status = CALL(d, mgen_curate, ctx, SIZED(d, p, sizeof p), out);
    if (out)
        check_out(d, status, report);
    if (status == MGEN_OK)
        add(d, REPORT, report);
}

#endif
