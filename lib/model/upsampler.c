/* SPDX-License-Identifier: MIT */
#include "model/upsampler.h"

#include <string.h>

static const char *const keys[] = {"factor",      "frames", "overlap", "steps",
                                   "transformer", "tae",    NULL};

static mgen_status read_members(mgen_context *ctx, const mgi_json *json, const char *tae,
                                mgi_upsampler_config *out)
{
    mgi_upsampler_config c = {.factor = 2, .frames = 14, .overlap = 4, .steps = 20};
    const mgi_json *video = mgi_json_find(json, "transformer");
    if (strlen(tae) > MGI_NAME_MAX - 16 || !mgi_name_ok(tae))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"tae\" is \"%.40s\"; it must name a model of the same folder", tae);
    strcpy(c.tae, tae);
    MGI_TRY(mgi_json_get_int(ctx, json, "factor", false, 1, 64, &c.factor));
    MGI_TRY(mgi_json_get_int(ctx, json, "frames", false, 1, 4096, &c.frames));
    MGI_TRY(mgi_json_get_int(ctx, json, "overlap", false, 0, 4095, &c.overlap));
    MGI_TRY(mgi_json_get_int(ctx, json, "steps", false, 1, 1000, &c.steps));
    if (2 * c.overlap > c.frames)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"overlap\" is %lld, more than half of a window's \"frames\" (%lld)",
                        (long long)c.overlap, (long long)c.frames);
    if (!video || video->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"transformer\" must be an object");
    mgen_status status = mgi_vt_config_read(ctx, video, &c.video);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"transformer\"");
    if (!mgi_json_find(video, "guidance"))
        c.video.guidance = 1.0f; /* none: the film says nearly all */
    return mgi_upsampler_config_check(ctx, &c, out);
}

mgen_status mgi_upsampler_config_read(mgen_context *ctx, const mgi_json *json,
                                      mgi_upsampler_config *out)
{
    const char *tae = "";
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(mgi_json_get_string(ctx, json, "tae", true, &tae));
    return read_members(ctx, json, tae, out);
}

mgen_status mgi_upsampler_config_read_with(mgen_context *ctx, const mgi_json *json, const char *tae,
                                           mgi_upsampler_config *out)
{
    enum { MEMBERS = sizeof keys / sizeof keys[0] - 2 };
    const char *without[MEMBERS + 1] = {NULL};
    memcpy(without, keys, MEMBERS * sizeof *keys);
    MGI_TRY(mgi_json_only_keys(ctx, json, without));
    return read_members(ctx, json, tae, out);
}

mgen_status mgi_upsampler_config_check(mgen_context *ctx, const mgi_upsampler_config *c,
                                       mgi_upsampler_config *out)
{
    const mgi_vt_config *v = &c->video;
    if (v->condition != v->channels)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "an upsampler sees as many channels as it makes: \"condition_channels\" "
                        "is %lld and \"channels\" %lld",
                        (long long)v->condition, (long long)v->channels);
    if (c->frames % v->patch_t || c->overlap % v->patch_t || c->frames / v->patch_t > v->frames_max)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "windows of %lld \"frames\", %lld of them shared, do not fit a "
                        "transformer of %lld x %lld frames (\"frames_max\" x \"patch\")",
                        (long long)c->frames, (long long)c->overlap, (long long)v->frames_max,
                        (long long)v->patch_t);
    *out = *c;
    return MGEN_OK;
}

void mgi_upsampler_config_write(mgi_json_writer *w, const mgi_upsampler_config *c)
{
    mgi_json_put_string(w, "tae", c->tae);
    mgi_json_put_int(w, "factor", c->factor);
    mgi_json_put_int(w, "frames", c->frames);
    mgi_json_put_int(w, "overlap", c->overlap);
    mgi_json_put_int(w, "steps", c->steps);
    mgi_json_open(w, "transformer", '{');
    mgi_vt_config_write(w, &c->video);
    if (c->video.guidance == MGI_VT_GUIDANCE) /* which a video model need not say */
        mgi_json_put_real(w, "guidance", (double)c->video.guidance);
    mgi_json_close(w, '}');
}
