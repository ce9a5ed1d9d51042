/* SPDX-License-Identifier: MIT */
#include "data/dataset.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "core/philox.h"
#include "data/dataset_edits.h"
#include "data/folder.h"
#include "data/folder_photos.h"
#include "data/host_sound.h"
#include "data/loader.h"
#include "data/world_options.h"
#include "data/world_person.h"
#include "text/byte_tokenizer.h"

#include <math.h>
#include <string.h>

enum { SIDE_MIN = 8, SIDE_MAX = 4096, FRAMES_MAX = 4096, ROUNDS = 6 };
enum { PHOTO_MIN = 8, PHOTO_MAX = 1024 }; /* pixels a side */
#define COUNT_MAX (UINT64_C(1) << 48)     /* samples of a finite set */

/* ---- making ------------------------------------------------------------------------------------- */

static mgen_status check_params(mgen_context *ctx, const mgen_dataset_params *p)
{
    const struct {
        const char *name;
        uint32_t value;
    } sides[] = {{"width", p->width}, {"height", p->height}};
    for (int i = 0; i < 2; i++)
        if (sides[i].value < SIDE_MIN || sides[i].value > SIDE_MAX || sides[i].value % 8)
            return mgi_fail(ctx, MGEN_E_INVALID,
                            "dataset params: %s is %u; it must be a multiple of 8 from %d to %d",
                            sides[i].name, (unsigned)sides[i].value, SIDE_MIN, SIDE_MAX);
    if (p->frames < 1 || p->frames > FRAMES_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "dataset params: frames is %u; it must be 1..%d",
                        (unsigned)p->frames, FRAMES_MAX);
    return MGEN_OK;
}

static mgen_status make(mgen_context *ctx, int kind, int64_t width, int64_t height, int64_t frames,
                        mgi_dataset **out)
{
    const int64_t dims[] = {frames, height, width, 3};
    mgi_dataset *ds;
    int64_t bytes;
    if (!mgi_dims_count(dims, 4, &bytes) || (uint64_t)bytes > SIZE_MAX / 2)
        return mgi_fail(ctx, MGEN_E_INVALID, "samples of %lld x %lld x %lld pixels are too large",
                        (long long)frames, (long long)height, (long long)width);
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof(*ds), &ds));
    ds->heap = mgi_heap_retain(ctx->heap);
    ds->owners = 1;
    ds->kind = kind;
    ds->width = width;
    ds->height = height;
    ds->frames = frames;
    ds->fps = MGI_DATASET_FPS;
    ds->bytes = bytes;
    *out = ds;
    return MGEN_OK;
}

mgen_status mgi_dataset_world(mgen_context *ctx, uint64_t seed, const mgi_world_options *options,
                              mgi_dataset **out)
{
    mgi_world_options o = *options;
    *out = NULL;
    mgen_status status = mgi_world_options_complete(ctx, &o);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "world");
    double width = (double)o.width * (double)o.scale, height = (double)o.height * (double)o.scale;
    if (width != floor(width) || height != floor(height))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "world: a view of %d x %d at scale %g has no whole number of pixels",
                        o.width, o.height, (double)o.scale);
    MGI_TRY(make(ctx, MGI_DATASET_WORLD, (int64_t)width, (int64_t)height, o.frames, out));
    const int32_t what[] = {
        MGI_DATASET_WORLD, o.width,  o.height, o.frames, o.fps,   o.objects_min,
        o.objects_max,     o.camera, o.sign,   o.sizes,  o.split, (int32_t)(o.scale * 256.0f)};
    (*out)->world = o;
    (*out)->seed = seed;
    (*out)->count = UINT64_MAX;
    (*out)->fps = o.fps ? o.fps : MGI_DATASET_FPS;
    uint64_t hash = mgi_hash64(what, sizeof(what), seed);
    if (o.people > 0.0f)
        hash = mgi_hash64(&o.people, sizeof(o.people), hash);
    (*out)->identity = mgi_hash64(o.motion_weight, sizeof(o.motion_weight), hash) | 1;
    return MGEN_OK;
}

static mgen_status open_folder(mgen_context *ctx, const char *dir, const mgen_dataset_params *p,
                               bool tells, mgi_dataset **out)
{
    mgi_dataset *ds;
    *out = NULL;
    MGI_TRY(make(ctx, MGI_DATASET_FOLDER, p->width, p->height, p->frames, &ds));
    mgen_status status = mgi_folder_open(ctx, ds, dir, tells);
    if (status == MGEN_OK)
        *out = ds;
    else
        mgi_dataset_release(ds);
    return status;
}

/* The same films in another size: the folder is looked at again. */
static mgen_status open_sized(mgen_context *ctx, const mgi_dataset *ds, int64_t width,
                              int64_t height, mgi_dataset **out)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = (uint32_t)width;
    p.height = (uint32_t)height;
    p.frames = (uint32_t)ds->frames;
    MGI_TRY(check_params(ctx, &p));
    MGI_TRY(open_folder(ctx, ds->dir, &p, false, out));
    if ((*out)->count == ds->count)
        return MGEN_OK;
    mgi_dataset_release(*out);
    *out = NULL;
    return mgi_fail(
        ctx, MGEN_E_STATE,
        "the folder '%s' had %llu samples when it was opened and has others now; open it again",
        ds->dir, (unsigned long long)ds->count);
}

mgen_status mgi_dataset_sized(mgen_context *ctx, mgi_dataset *ds, int64_t width, int64_t height,
                              int64_t frames, int64_t fps, mgi_dataset **out)
{
    mgi_world_options o = ds->world;
    *out = NULL;
    if (ds->kind == MGI_DATASET_WORLD) {
        o.width = (int)((float)width / o.scale);
        o.height = (int)((float)height / o.scale);
        o.frames = (int)frames;
        o.fps = fps ? (int)fps : o.fps;
        if (width < 1 || width > SIDE_MAX || height < 1 || height > SIDE_MAX || frames < 1 ||
            frames > FRAMES_MAX || (float)o.width * o.scale != (float)width ||
            (float)o.height * o.scale != (float)height)
            return mgi_fail(ctx, MGEN_E_INVALID,
                            "the world has no clips of %lld x %lld x %lld frames at scale %g",
                            (long long)width, (long long)height, (long long)frames,
                            (double)o.scale);
        return mgi_dataset_world(ctx, ds->seed, &o, out);
    }
    const bool same = width == ds->width && height == ds->height;
    if ((!same && ds->kind != MGI_DATASET_FOLDER) || frames < 1 || frames > ds->frames)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "clips of %lld x %lld x %lld frames are not in a dataset of %lld x %lld x %lld",
            (long long)width, (long long)height, (long long)frames, (long long)ds->width,
            (long long)ds->height, (long long)ds->frames);
    if (!same)
        return open_sized(ctx, ds, width, height, out);
    *out = mgi_dataset_retain(ds);
    return MGEN_OK;
}

mgen_status mgi_dataset_part(mgen_context *ctx, const mgi_dataset *ds, int64_t width,
                             int64_t height, int64_t frames, const uint64_t *films, uint64_t count,
                             mgi_dataset **out)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgi_dataset *part;
    *out = NULL;
    p.width = (uint32_t)width;
    p.height = (uint32_t)height;
    p.frames = (uint32_t)frames;
    MGI_TRY(check_params(ctx, &p));
    MGI_TRY(make(ctx, MGI_DATASET_FOLDER, width, height, frames, &part));
    mgen_status status = mgi_folder_take_part(ctx, part, ds, films, count);
    if (status != MGEN_OK) {
        mgi_dataset_release(part);
        return status;
    }
    *out = part;
    return MGEN_OK;
}

mgen_status mgi_dataset_host(mgen_context *ctx, const mgen_dataset_params *params,
                             mgi_dataset **out)
{
    mgi_dataset *ds;
    *out = NULL;
    MGI_TRY(check_params(ctx, params));
    if (!params->read)
        return mgi_fail(ctx, MGEN_E_INVALID, "dataset params: read is NULL");
    if (params->count < 1 || params->count > COUNT_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "dataset params: count is %llu; it must be 1..%llu",
                        (unsigned long long)params->count, (unsigned long long)COUNT_MAX);
    if (params->fps > MGI_DATASET_FPS_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "dataset params: fps is %u; it must be 1..%d, or 0",
                        (unsigned)params->fps, MGI_DATASET_FPS_MAX);
    if (params->edits > 1)
        return mgi_fail(ctx, MGEN_E_INVALID, "dataset params: edits is %u; it must be 0 or 1",
                        (unsigned)params->edits);
    MGI_TRY(mgi_host_sound_check_length(ctx, params->sound_samples));
    MGI_TRY(make(ctx, MGI_DATASET_HOST, params->width, params->height, params->frames, &ds));
    ds->count = params->count;
    ds->fps = params->fps ? params->fps : MGI_DATASET_FPS;
    ds->sound_samples = (int64_t)params->sound_samples;
    ds->edits = params->edits == 1;
    ds->read = params->read;
    mgen_status status =
        ds->sound_samples ? mgi_kept_sounds_create(ctx, ds->count, mgi_host_read_sound, &ds->sounds)
                          : MGEN_OK;
    if (status != MGEN_OK) {
        mgi_dataset_release(ds);
        return status;
    }
    ds->released = params->released;
    ds->user = params->user;
    *out = ds;
    return MGEN_OK;
}

mgen_status mgi_dataset_folder(mgen_context *ctx, const char *dir,
                               const mgen_dataset_params *params, mgi_dataset **out)
{
    *out = NULL;
    MGI_TRY(check_params(ctx, params));
    if (params->read || params->count)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "dataset params: a folder has its own samples; read and count must be 0");
    if (params->fps || params->sound_samples)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "dataset params: a folder's films have their own rates and sounds; fps and "
                        "sound_samples must be 0");
    if (params->edits)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "dataset params: a folder's films are edits where the edited ones are "
                        "beside them; edits must be 0");
    MGI_TRY(open_folder(ctx, dir, params, true, out));
    (*out)->released = params->released;
    (*out)->user = params->user;
    return MGEN_OK;
}

mgi_dataset *mgi_dataset_retain(mgi_dataset *ds)
{
    if (ds)
        atomic_fetch_add(&ds->owners, 1);
    return ds;
}

static void give_back(mgi_heap *heap, void *ptr)
{
    if (ptr)
        mgi_heap_free(heap, ptr);
}

void mgi_dataset_release(mgi_dataset *ds)
{
    if (!ds || atomic_fetch_sub(&ds->owners, 1) != 1)
        return;
    mgi_heap *heap = ds->heap;
    if (ds->released)
        ds->released(ds->user);
    for (uint64_t i = 0; ds->films && i < ds->count; i++) {
        give_back(heap, ds->films[i].name);
        give_back(heap, ds->films[i].caption);
        give_back(heap, ds->films[i].sound);
        give_back(heap, ds->films[i].sound_caption);
        give_back(heap, ds->films[i].edited);
        give_back(heap, ds->films[i].instruction);
        for (int64_t k = 0; k < ds->films[i].photos; k++)
            give_back(heap, ds->films[i].photo_names[k]);
        give_back(heap, ds->films[i].photo_names);
    }
    mgi_kept_sounds_destroy(heap, ds->sounds);
    give_back(heap, ds->films);
    give_back(heap, ds->walk);
    give_back(heap, ds->dir);
    give_back(heap, ds);
    mgi_heap_release(heap);
}

/* ---- samples ------------------------------------------------------------------------------------ */

/* Whether a text that the callback wrote is one. */
static mgen_status check_text(mgen_context *ctx, uint64_t index, const char *what, const char *text)
{
    const size_t length = strnlen(text, MGI_CAPTION_SIZE);
    size_t bad;
    if (length < MGI_CAPTION_SIZE && mgi_utf8_valid(text, length, &bad))
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID, "sample %llu: its %s %s", (unsigned long long)index, what,
                    length == MGI_CAPTION_SIZE ? "does not end within its room"
                                               : "is no UTF-8 text");
}

/* The callback, on room that is made for it. */
static mgen_status call_host(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                             mgen_sample *sample)
{
    mgen_status status = ds->read(ds->user, index, sample);
    if (status == MGEN_OK)
        return status;
    return mgi_fail(ctx, status < 0 ? status : MGEN_E_CANCELLED,
                    "sample %llu: the dataset's callback answered %s", (unsigned long long)index,
                    status < 0 ? mgen_status_name(status) : "what is no status");
}

mgen_status mgi_dataset_ask_host(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                 uint8_t *pixels, char caption[MGI_CAPTION_SIZE],
                                 mgi_host_sound *sound, mgi_host_edit *edit)
{
    char text[MGI_CAPTION_SIZE] = "";
    mgi_host_sound unheard = {.samples = NULL}, *heard = sound ? sound : &unheard;
    mgi_host_edit unseen = {.pixels = NULL}, *seen = edit ? edit : &unseen;
    mgen_sample sample = {.struct_size = (uint32_t)sizeof(sample),
                          .width = (uint32_t)ds->width,
                          .height = (uint32_t)ds->height,
                          .frames = (uint32_t)ds->frames,
                          .pixels = pixels,
                          .caption = text,
                          .caption_size = sizeof(text)};
    memset(pixels, 0, (size_t)ds->bytes);
    mgen_status status = mgi_host_sound_offer(ctx, ds, heard, &sample);
    if (status == MGEN_OK)
        status = mgi_host_edit_offer(ctx, ds, seen, &sample);
    if (status == MGEN_OK)
        status = call_host(ctx, ds, index, &sample);
    if (status == MGEN_OK)
        status = check_text(ctx, index, "caption", text);
    if (status == MGEN_OK)
        status = check_text(ctx, index, "sound_caption", heard->caption);
    if (status == MGEN_OK)
        status = mgi_host_sound_check(ctx, ds, index, heard);
    if (status == MGEN_OK && ds->edits)
        status = check_text(ctx, index, "instruction", seen->instruction);
    if (status == MGEN_OK)
        status = mgi_host_edit_check(ctx, ds, index, &sample, seen);
    mgi_free(ctx, unheard.samples);
    mgi_free(ctx, unseen.pixels);
    if (status == MGEN_OK && caption)
        strcpy(caption, text);
    return status;
}

static mgen_status host_piece(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                              int64_t frames, uint8_t *pixels, char caption[MGI_CAPTION_SIZE])
{
    int64_t each = ds->bytes / ds->frames;
    uint8_t *whole;
    if (frames == ds->frames)
        return mgi_dataset_ask_host(ctx, ds, index, pixels, caption, NULL, NULL);
    MGI_TRY(mgi_alloc(ctx, (size_t)ds->bytes, &whole));
    mgen_status status = mgi_dataset_ask_host(ctx, ds, index, whole, caption, NULL, NULL);
    if (status == MGEN_OK)
        memcpy(pixels, whole + first * each, (size_t)(frames * each));
    mgi_free(ctx, whole);
    return status;
}

/* A scene of the world in a wording; -1 = its own. */
static void tell(const mgi_dataset *ds, uint64_t seed, uint64_t index, int wording,
                 char caption[MGI_CAPTION_SIZE])
{
    _Static_assert((int)MGI_WORLD_CAPTION_MAX <= (int)MGI_CAPTION_SIZE, "a caption fits");
    mgi_world_scene scene;
    mgi_world_scene_random(&scene, seed, index, &ds->world);
    mgi_world_caption(&scene, wording < 0 ? scene.wording : wording, caption);
}

void mgi_dataset_caption(const mgi_dataset *ds, uint64_t index, char caption[MGI_CAPTION_SIZE])
{
    caption[0] = '\0';
    if (ds->kind == MGI_DATASET_WORLD)
        tell(ds, ds->seed, index, -1, caption);
    else if (ds->kind == MGI_DATASET_FOLDER)
        strcpy(caption, ds->films[index].caption);
}

mgen_status mgi_dataset_rate(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, int64_t *fps)
{
    *fps = mgi_dataset_drawn(ds) ? ds->world.fps : ds->fps;
    return ds->kind == MGI_DATASET_FOLDER ? mgi_folder_rate(ctx, ds, index, fps) : MGEN_OK;
}

bool mgi_dataset_drawn(const mgi_dataset *ds)
{
    return ds->kind == MGI_DATASET_WORLD;
}

void mgi_dataset_told(const mgi_dataset *ds, uint64_t index, uint32_t pick,
                      char caption[MGI_CAPTION_SIZE])
{
    if (mgi_dataset_drawn(ds))
        tell(ds, ds->seed, index, pick & 1 ? 0 : (int)(pick >> 1 & 0xFFFF), caption);
    else
        mgi_dataset_caption(ds, index, caption);
}

static void draw_world(const mgi_dataset *ds, uint64_t seed, uint64_t index, int first, int frames,
                       uint8_t *pixels)
{
    mgi_world_scene scene;
    mgi_world_scene_random(&scene, seed, index, &ds->world);
    mgi_world_draw(&scene, (int)ds->width, (int)ds->height, first, frames, pixels);
}

mgen_status mgi_dataset_piece(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                              int64_t frames, uint8_t *pixels, char caption[MGI_CAPTION_SIZE])
{
    if (index >= ds->count)
        return mgi_fail(ctx, MGEN_E_INVALID, "sample %llu of a dataset that has %llu",
                        (unsigned long long)index, (unsigned long long)ds->count);
    if (first < 0 || frames < 1 || frames > ds->frames || first > ds->frames - frames)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "frames %lld to %lld of samples that have %lld of them", (long long)first,
                        (long long)(first + frames - 1), (long long)ds->frames);
    if (ds->kind == MGI_DATASET_HOST)
        return host_piece(ctx, ds, index, first, frames, pixels, caption);
    if (caption)
        mgi_dataset_caption(ds, index, caption);
    if (ds->kind == MGI_DATASET_FOLDER)
        return mgi_folder_read(ctx, ds, index, first, frames, pixels);
    draw_world(ds, ds->seed, index, (int)first, (int)frames, pixels);
    return MGEN_OK;
}

mgen_status mgi_dataset_sample(mgen_context *ctx, mgi_dataset *ds, uint64_t index, uint8_t *pixels,
                               char caption[MGI_CAPTION_SIZE])
{
    return mgi_dataset_piece(ctx, ds, index, 0, ds->frames, pixels, caption);
}

mgen_status mgi_dataset_check_frames(mgen_context *ctx, const mgi_dataset *ds)
{
    return ds->kind == MGI_DATASET_FOLDER ? mgi_folder_check_frames(ctx, ds, 0.0, ds->frames, false)
                                          : MGEN_OK;
}

/* ---- training and validation -------------------------------------------------------------------- */

int64_t mgi_dataset_held_count(const mgi_dataset *ds, int64_t most)
{
    uint64_t held = ds->count / 10;
    held = held < 1 ? 1 : held > MGI_HELD_OUT_MAX ? MGI_HELD_OUT_MAX : held;
    return ds->count == UINT64_MAX || held > (uint64_t)most ? most : (int64_t)held;
}

uint64_t mgi_dataset_held_first(const mgi_dataset *ds)
{
    return ds->count - (uint64_t)mgi_dataset_held_count(ds, MGI_HELD_OUT_MAX);
}

uint64_t mgi_dataset_train_count(const mgi_dataset *ds)
{
    return ds->count == UINT64_MAX || ds->count == 1 ? ds->count : mgi_dataset_held_first(ds);
}

/* A permutation of 0..n-1: a Feistel network on the smallest square of a power of two that holds n, walked
 * until it comes back into the range. */
static uint64_t permute(uint64_t seed, uint64_t epoch, uint64_t i, uint64_t n)
{
    int half = 1;
    while (UINT64_C(1) << 2 * half < n)
        half++;
    uint64_t mask = (UINT64_C(1) << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            const uint64_t key[] = {seed, epoch, round, right};
            uint64_t swap = left ^ (mgi_hash64(key, sizeof(key), 0) & mask);
            left = right;
            right = swap;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

uint64_t mgi_dataset_element(const mgi_dataset *ds, uint64_t seed, uint64_t element)
{
    uint64_t n = ds->walk ? ds->walks : mgi_dataset_train_count(ds);
    if (n == UINT64_MAX)
        return element;
    uint64_t at = permute(seed, element / n, element % n, n);
    return ds->walk ? ds->walk[at] : at;
}

int64_t mgi_dataset_begin(const mgi_dataset *ds, uint64_t seed, uint64_t element, int64_t frames)
{
    const int64_t spare = ds->frames - frames;
    const int64_t begin =
        (int64_t)(mgi_random_unit(seed, MGI_STREAM_SAMPLE, element) * (float)(spare + 1));
    return begin > spare ? spare : begin;
}

mgen_status mgi_dataset_clips(mgen_context *ctx, mgi_dataset *ds, uint64_t seed, uint64_t first,
                              int64_t count, int64_t frames, uint8_t *pixels)
{
    int64_t each = ds->bytes / ds->frames;
    if (mgi_dataset_drawn(ds)) {
        mgi_loader_clips(ctx, &ds->world, ds->seed, first, count, (int)frames, pixels);
        return MGEN_OK;
    }
    for (int64_t i = 0; i < count; i++) {
        uint64_t element = first + (uint64_t)i;
        MGI_TRY(mgi_dataset_piece(ctx, ds, mgi_dataset_element(ds, seed, element),
                                  mgi_dataset_begin(ds, seed, element, frames), frames,
                                  pixels + i * frames * each, NULL));
    }
    return MGEN_OK;
}

void mgi_dataset_held_caption(const mgi_dataset *ds, int64_t i, char caption[MGI_CAPTION_SIZE])
{
    if (mgi_dataset_drawn(ds))
        tell(ds, MGI_VALIDATION_SEED, (uint64_t)i, 0, caption);
    else
        mgi_dataset_caption(ds, mgi_dataset_held_first(ds) + (uint64_t)i, caption);
}

mgen_status mgi_dataset_held(mgen_context *ctx, mgi_dataset *ds, int64_t i, int64_t frames,
                             uint8_t *pixels, char caption[MGI_CAPTION_SIZE])
{
    if (!mgi_dataset_drawn(ds))
        return mgi_dataset_piece(ctx, ds, mgi_dataset_held_first(ds) + (uint64_t)i, 0, frames,
                                 pixels, caption);
    draw_world(ds, MGI_VALIDATION_SEED, (uint64_t)i, 0, (int)frames, pixels);
    if (caption)
        mgi_dataset_held_caption(ds, i, caption);
    return MGEN_OK;
}

/* ---- photos ------------------------------------------------------------------------------------- */

bool mgi_dataset_has_photos(const mgi_dataset *ds)
{
    if (ds->kind == MGI_DATASET_FOLDER)
        return mgi_folder_has_photos(ds);
    return mgi_dataset_drawn(ds) && ds->world.people >= 1.0f;
}

mgen_status mgi_dataset_check_photos(mgen_context *ctx, const mgi_dataset *ds)
{
    return ds->kind == MGI_DATASET_FOLDER ? mgi_folder_check_photos(ctx, ds) : MGEN_OK;
}

static mgen_status check_side(mgen_context *ctx, int64_t side)
{
    return side >= PHOTO_MIN && side <= PHOTO_MAX
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_INVALID, "photos of %lld pixels a side; they have %d to %d",
                          (long long)side, PHOTO_MIN, PHOTO_MAX);
}

/* Of the person of a scene of the world. */
static mgen_status photo(mgen_context *ctx, const mgi_dataset *ds, uint64_t seed, uint64_t index,
                         uint32_t pick, bool cross, int64_t side, uint8_t *rgb)
{
    const uint64_t key[] = {seed, index, pick};
    mgi_world_scene scene;
    MGI_TRY(check_side(ctx, side));
    if (mgi_dataset_drawn(ds))
        mgi_world_scene_random(&scene, seed, index, &ds->world);
    if (!mgi_dataset_drawn(ds) || !scene.person)
        return mgi_fail(ctx, MGEN_E_INVALID, "sample %llu of the dataset has no photo of a person",
                        (unsigned long long)index);
    mgi_world_photo(&scene, mgi_hash64(key, sizeof(key), 0), cross, (int)side, rgb);
    return MGEN_OK;
}

mgen_status mgi_dataset_photo(mgen_context *ctx, mgi_dataset *ds, uint64_t index, uint32_t pick,
                              bool cross, int64_t side, uint8_t *rgb)
{
    if (ds->kind != MGI_DATASET_FOLDER)
        return photo(ctx, ds, ds->seed, index, pick, cross, side, rgb);
    MGI_TRY(check_side(ctx, side));
    return mgi_folder_photo(ctx, ds, index, pick, side, rgb);
}

mgen_status mgi_dataset_held_photo(mgen_context *ctx, mgi_dataset *ds, int64_t i, uint32_t pick,
                                   bool cross, int64_t side, uint8_t *rgb)
{
    if (!mgi_dataset_drawn(ds))
        return mgi_dataset_photo(ctx, ds, mgi_dataset_held_first(ds) + (uint64_t)i, pick, cross,
                                 side, rgb);
    return photo(ctx, ds, MGI_VALIDATION_SEED, (uint64_t)i, pick, cross, side, rgb);
}
