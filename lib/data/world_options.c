/* SPDX-License-Identifier: MIT */
#include "data/world_options.h"

#include <stdio.h>
#include <string.h>

enum { VIEW_MIN = 48, VIEW_MAX = 1024, FRAMES_MAX = 4096 }; /* units; frames */

static mgen_status check_range(mgen_context *ctx, const char *name, int64_t value, int64_t least,
                               int64_t most)
{
    return value >= least && value <= most
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_INVALID, "%s is %lld; it must be %lld to %lld", name,
                          (long long)value, (long long)least, (long long)most);
}

mgen_status mgi_world_options_complete(mgen_context *ctx, mgi_world_options *o)
{
    o->width = o->width ? o->width : 64;
    o->height = o->height ? o->height : 64;
    o->frames = o->frames ? o->frames : 32;
    o->objects_min = o->objects_min ? o->objects_min : 1;
    o->objects_max = o->objects_max ? o->objects_max : MGI_WORLD_OBJECTS;
    o->scale = o->scale != 0.0f ? o->scale : 1.0f;
    MGI_TRY(check_range(ctx, "the width of the view", o->width, VIEW_MIN, VIEW_MAX));
    MGI_TRY(check_range(ctx, "the height of the view", o->height, VIEW_MIN, VIEW_MAX));
    MGI_TRY(check_range(ctx, "frames", o->frames, 1, FRAMES_MAX));
    MGI_TRY(check_range(ctx, "objects_max", o->objects_max, 1, MGI_WORLD_OBJECTS));
    MGI_TRY(check_range(ctx, "objects_min", o->objects_min, 1, o->objects_max));
    MGI_TRY(check_range(ctx, "camera", o->camera, MGI_WORLD_SOMETIMES, MGI_WORLD_ALWAYS));
    MGI_TRY(check_range(ctx, "sign", o->sign, MGI_WORLD_SOMETIMES, MGI_WORLD_ALWAYS));
    MGI_TRY(check_range(ctx, "sizes", o->sizes, MGI_WORLD_SOMETIMES, MGI_WORLD_NEVER));
    MGI_TRY(check_range(ctx, "split", o->split, MGI_WORLD_TRAIN, MGI_WORLD_ALL));
    if (o->fps && o->fps != 8 && o->fps != 16 && o->fps != 24)
        return mgi_fail(ctx, MGEN_E_INVALID, "fps is %d; it must be 8, 16 or 24", o->fps);
    if (!(o->scale >= 0.25f && o->scale <= 4.0f))
        return mgi_fail(ctx, MGEN_E_INVALID, "scale is %g; it must be 0.25 to 4", (double)o->scale);
    if (!(o->people >= 0.0f && o->people <= 1.0f))
        return mgi_fail(ctx, MGEN_E_INVALID, "people is %g; it must be 0 to 1", (double)o->people);
    return MGEN_OK;
}

static mgen_status read_int(mgen_context *ctx, const mgi_json *o, const char *key, int *out)
{
    int64_t value = *out;
    MGI_TRY(mgi_json_get_int(ctx, o, key, false, 0, FRAMES_MAX, &value));
    *out = (int)value;
    return MGEN_OK;
}

/* One of `words`, of which the third may be NULL. */
static mgen_status read_word(mgen_context *ctx, const mgi_json *o, const char *key,
                             const char *const words[3], int *out)
{
    const char *text = words[0];
    MGI_TRY(mgi_json_get_string(ctx, o, key, false, &text));
    for (int i = 0; i < 3 && words[i]; i++)
        if (!strcmp(text, words[i])) {
            *out = i;
            return MGEN_OK;
        }
    return words[2]
               ? mgi_fail(ctx, MGEN_E_CORRUPT,
                          "\"%s\" is \"%.40s\"; known are \"%s\", \"%s\" and \"%s\"", key, text,
                          words[0], words[1], words[2])
               : mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" is \"%.40s\"; known are \"%s\" and \"%s\"",
                          key, text, words[0], words[1]);
}

/* {"spins": 3, ...}: the others weigh 1. */
static mgen_status read_motion_weights(mgen_context *ctx, const mgi_json *o,
                                       float out[MGI_WORLD_MOTIONS])
{
    const mgi_json *weights = mgi_json_find(o, "motion_weights");
    const char *keys[MGI_WORLD_MOTIONS + 1] = {NULL};
    double sum = 0.0;
    if (!weights)
        return MGEN_OK;
    if (weights->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"motion_weights\" must be an object");
    for (int i = 0; i < MGI_WORLD_MOTIONS; i++)
        keys[i] = mgi_world_motion_name(i);
    MGI_TRY(mgi_json_only_keys(ctx, weights, keys));
    for (int i = 0; i < MGI_WORLD_MOTIONS; i++) {
        double value = 1.0;
        MGI_TRY(mgi_json_get_real(ctx, weights, keys[i], false, 0.0, 1000.0, &value));
        out[i] = (float)value;
        sum += value;
    }
    if (!(sum > 0.0))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"motion_weights\" leaves no motion");
    return MGEN_OK;
}

mgen_status mgi_world_options_read(mgen_context *ctx, const mgi_json *o, mgi_world_options *out)
{
    static const char *const keys[] = {"width",       "height",         "scale",  "frames", "fps",
                                       "objects_min", "objects_max",    "camera", "sign",   "sizes",
                                       "split",       "motion_weights", "people", NULL};
    static const char *const when[3] = {"sometimes", "never", "always"};
    static const char *const seldom[3] = {"sometimes", "never", NULL};
    static const char *const split[3] = {"train", "held_out", "all"};
    double scale = 1.0, people = 0.0;
    if (o->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"world\" must be an object");
    *out = (mgi_world_options){0};
    MGI_TRY(mgi_json_only_keys(ctx, o, keys));
    MGI_TRY(read_int(ctx, o, "width", &out->width));
    MGI_TRY(read_int(ctx, o, "height", &out->height));
    MGI_TRY(mgi_json_get_real(ctx, o, "scale", false, 0.25, 4.0, &scale));
    MGI_TRY(mgi_json_get_real(ctx, o, "people", false, 0.0, 1.0, &people));
    MGI_TRY(read_int(ctx, o, "frames", &out->frames));
    MGI_TRY(read_int(ctx, o, "fps", &out->fps));
    MGI_TRY(read_int(ctx, o, "objects_min", &out->objects_min));
    MGI_TRY(read_int(ctx, o, "objects_max", &out->objects_max));
    MGI_TRY(read_word(ctx, o, "camera", when, &out->camera));
    MGI_TRY(read_word(ctx, o, "sign", when, &out->sign));
    MGI_TRY(read_word(ctx, o, "sizes", seldom, &out->sizes));
    MGI_TRY(read_word(ctx, o, "split", split, &out->split));
    MGI_TRY(read_motion_weights(ctx, o, out->motion_weight));
    out->scale = (float)scale;
    out->people = (float)people;
    mgen_status status = mgi_world_options_complete(ctx, out);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, MGEN_E_CORRUPT, "\"world\"");
}
