/* SPDX-License-Identifier: MIT */
#include "model/audio.h"

#include <string.h>

static const char *const keys[] = {"window", "overlap", "steps",  "transformer",
                                   "codec",  "text",    "vision", NULL};
enum { OWN_KEYS = 4 }; /* the others name models */

/* Where a file is silent: the report's windows are of 30 s, and a third of one is shared. */
#define WINDOW   750
#define GUIDANCE 3.0f

static mgen_status read_members(mgen_context *ctx, const mgi_json *json, mgi_audio_config *c)
{
    const mgi_json *transformer = mgi_json_find(json, "transformer");
    c->steps = 64;
    if (!transformer || transformer->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"transformer\" must be an object");
    mgen_status status = mgi_vt_config_read(ctx, transformer, &c->transformer);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"transformer\"");
    if (!mgi_json_find(transformer, "guidance"))
        c->transformer.guidance = GUIDANCE;
    int64_t most = c->transformer.frames_max;
    c->window = most < WINDOW ? most : WINDOW;
    MGI_TRY(mgi_json_get_int(ctx, json, "window", false, 1, 65536, &c->window));
    c->overlap = c->window / 3;
    MGI_TRY(mgi_json_get_int(ctx, json, "overlap", false, 0, 65535, &c->overlap));
    MGI_TRY(mgi_json_get_int(ctx, json, "steps", false, 1, 1000, &c->steps));
    return mgi_audio_config_check(ctx, c);
}

static mgen_status read_name(mgen_context *ctx, const mgi_json *json, const char *key, bool needed,
                             char out[MGI_NAME_MAX + 1])
{
    const char *name = "";
    MGI_TRY(mgi_json_get_string(ctx, json, key, needed, &name));
    if ((needed || *name) && (strlen(name) > MGI_NAME_MAX - 16 || !mgi_name_ok(name)))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"%s\" is \"%.40s\"; it must name a model of the same folder", key, name);
    strcpy(out, name);
    return MGEN_OK;
}

mgen_status mgi_audio_config_read(mgen_context *ctx, const mgi_json *json, mgi_audio_config *out)
{
    mgi_audio_config c = {.steps = 0};
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(read_name(ctx, json, "codec", true, c.codec));
    MGI_TRY(read_name(ctx, json, "text", true, c.text));
    MGI_TRY(read_name(ctx, json, "vision", false, c.vision));
    MGI_TRY(read_members(ctx, json, &c));
    *out = c;
    return MGEN_OK;
}

mgen_status mgi_audio_config_read_with(mgen_context *ctx, const mgi_json *json,
                                       mgi_audio_config *out)
{
    const char *own[OWN_KEYS + 1] = {NULL};
    mgi_audio_config c = *out;
    memcpy(own, keys, OWN_KEYS * sizeof *keys);
    MGI_TRY(mgi_json_only_keys(ctx, json, own));
    MGI_TRY(read_members(ctx, json, &c));
    *out = c;
    return MGEN_OK;
}

mgen_status mgi_audio_config_check(mgen_context *ctx, const mgi_audio_config *c)
{
    const mgi_vt_config *v = &c->transformer;
    if (v->condition != v->channels)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "an audio model sees as many channels as it makes: \"condition_channels\" "
                        "is %lld and \"channels\" %lld",
                        (long long)v->condition, (long long)v->channels);
    if (v->tasks || v->reference || v->patch_t != 1 || v->patch_h != 1 || v->patch_w != 1 ||
        v->rows_max != 1 || v->columns_max != 1)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "an audio model's frames are one patch of 1 x 1 x 1 (\"patch\", "
                        "\"rows_max\", \"columns_max\"), and it has no \"tasks\" and no "
                        "\"reference_width\"");
    if (!v->text[MGI_ROLE_UL2] || v->text[MGI_ROLE_BYT5] || v->text[MGI_ROLE_METACLIP])
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "an audio model reads one text encoder, a T5, which stands under \"text\" "
                        "as \"%s\"",
                        mgi_role_key[MGI_ROLE_UL2]);
    if (!v->features != !c->vision[0])
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"frame_features\" of the transformer and \"vision\", the image encoder "
                        "that they are of, need each other");
    if (c->window > v->frames_max || 2 * c->overlap > c->window)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "a \"window\" of %lld latents, %lld of them shared (\"overlap\"), does "
                        "not fit a transformer of %lld (\"frames_max\"), or more than half is "
                        "shared",
                        (long long)c->window, (long long)c->overlap, (long long)v->frames_max);
    return MGEN_OK;
}

void mgi_audio_config_write(mgi_json_writer *w, const mgi_audio_config *c)
{
    mgi_json_put_string(w, "codec", c->codec);
    mgi_json_put_string(w, "text", c->text);
    if (c->vision[0])
        mgi_json_put_string(w, "vision", c->vision);
    mgi_json_put_int(w, "window", c->window);
    mgi_json_put_int(w, "overlap", c->overlap);
    mgi_json_put_int(w, "steps", c->steps);
    mgi_json_open(w, "transformer", '{');
    mgi_vt_config_write(w, &c->transformer);
    if (c->transformer.guidance == MGI_VT_GUIDANCE) /* which a video model need not say */
        mgi_json_put_real(w, "guidance", (double)c->transformer.guidance);
    mgi_json_close(w, '}');
}
