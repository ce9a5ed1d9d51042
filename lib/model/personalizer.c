/* SPDX-License-Identifier: MIT */
#include "model/personalizer.h"

#include <string.h>

static const char *const keys[] = {"transformer", "source_guidance", "steps", "vision", NULL};
enum { OWN_KEYS = 3 }; /* the last one names a model */

/* Where the report is silent: as an editor's towards its film; the report's 7.5 towards the text stays. */
#define SOURCE_GUIDANCE 1.5

static mgen_status read_members(mgen_context *ctx, const mgi_json *json, mgi_personalizer_config *c)
{
    const mgi_json *video = mgi_json_find(json, "transformer");
    double guidance = SOURCE_GUIDANCE;
    c->steps = 50;
    MGI_TRY(mgi_json_get_int(ctx, json, "steps", false, 1, 1000, &c->steps));
    MGI_TRY(mgi_json_get_real(ctx, json, "source_guidance", false, 0.001, 100.0, &guidance));
    c->source_guidance = (float)guidance;
    if (!video || video->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"transformer\" must be an object");
    mgen_status status = mgi_vt_config_read(ctx, video, &c->video);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"transformer\"");
    return mgi_personalizer_config_check(ctx, c);
}

mgen_status mgi_personalizer_config_read(mgen_context *ctx, const mgi_json *json,
                                         mgi_personalizer_config *out)
{
    mgi_personalizer_config c = {.steps = 0};
    const char *name = "";
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(mgi_json_get_string(ctx, json, "vision", true, &name));
    if (strlen(name) > MGI_NAME_MAX - 16 || !mgi_name_ok(name))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"vision\" is \"%.40s\"; it must name an image encoder of the same folder",
                        name);
    strcpy(c.vision, name);
    MGI_TRY(read_members(ctx, json, &c));
    *out = c;
    return MGEN_OK;
}

mgen_status mgi_personalizer_config_read_with(mgen_context *ctx, const mgi_json *json,
                                              mgi_personalizer_config *out)
{
    const char *own[OWN_KEYS + 1] = {NULL};
    mgi_personalizer_config c = *out;
    memcpy(own, keys, OWN_KEYS * sizeof *keys);
    MGI_TRY(mgi_json_only_keys(ctx, json, own));
    MGI_TRY(read_members(ctx, json, &c));
    *out = c;
    return MGEN_OK;
}

mgen_status mgi_personalizer_config_check(mgen_context *ctx, const mgi_personalizer_config *c)
{
    const mgi_vt_config *v = &c->video;
    if (!v->reference)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "a personalizer sees photos: \"reference_width\" must be the width of "
                        "its image encoder (\"dim\")");
    return v->condition || v->tasks || v->features
               ? mgi_fail(ctx, MGEN_E_CORRUPT,
                          "a personalizer sees photos alone: it has no \"condition_channels\", "
                          "\"frame_features\" or \"tasks\"")
               : MGEN_OK;
}

void mgi_personalizer_config_write(mgi_json_writer *w, const mgi_personalizer_config *c)
{
    mgi_json_put_string(w, "vision", c->vision);
    mgi_json_put_real(w, "source_guidance", (double)c->source_guidance);
    mgi_json_put_int(w, "steps", c->steps);
    mgi_json_open(w, "transformer", '{');
    mgi_vt_config_write(w, &c->video);
    mgi_json_close(w, '}');
}
