/* SPDX-License-Identifier: MIT */
#include "model/editor.h"

/* Where the report is silent: Emu Edit's scales. */
#define SOURCE_GUIDANCE 1.5
#define GUIDANCE        5.0f

mgen_status mgi_editor_config_read(mgen_context *ctx, const mgi_json *json, mgi_editor_config *out)
{
    static const char *const keys[] = {"transformer", "source_guidance", "steps", NULL};
    const mgi_json *video = mgi_json_find(json, "transformer");
    mgi_editor_config c = {.steps = 50};
    double guidance = SOURCE_GUIDANCE;
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(mgi_json_get_int(ctx, json, "steps", false, 1, 1000, &c.steps));
    MGI_TRY(mgi_json_get_real(ctx, json, "source_guidance", false, 0.001, 100.0, &guidance));
    c.source_guidance = (float)guidance;
    if (!video || video->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"transformer\" must be an object");
    mgen_status status = mgi_vt_config_read(ctx, video, &c.video);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"transformer\"");
    if (!mgi_json_find(video, "guidance"))
        c.video.guidance = GUIDANCE;
    MGI_TRY(mgi_editor_config_check(ctx, &c));
    *out = c;
    return MGEN_OK;
}

mgen_status mgi_editor_config_check(mgen_context *ctx, const mgi_editor_config *c)
{
    const mgi_vt_config *v = &c->video;
    if (v->condition != v->channels)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "an editor sees as many channels as it makes: \"condition_channels\" is "
                        "%lld and \"channels\" %lld",
                        (long long)v->condition, (long long)v->channels);
    if (v->tasks != MGI_EDIT_TASKS)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "an editor has %d \"tasks\", not %lld", MGI_EDIT_TASKS,
                        (long long)v->tasks);
    return MGEN_OK;
}

void mgi_editor_config_write(mgi_json_writer *w, const mgi_editor_config *c)
{
    mgi_json_put_real(w, "source_guidance", (double)c->source_guidance);
    mgi_json_put_int(w, "steps", c->steps);
    mgi_json_open(w, "transformer", '{');
    mgi_vt_config_write(w, &c->video);
    if (c->video.guidance == MGI_VT_GUIDANCE) /* which a video model need not say */
        mgi_json_put_real(w, "guidance", (double)c->video.guidance);
    mgi_json_close(w, '}');
}
