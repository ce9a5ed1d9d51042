/* SPDX-License-Identifier: MIT
 * A recipe's stages of the kind "personalizer". */
#include "train/recipe_parts.h"

#include <string.h>

mgen_status mgi_recipe_hold(mgen_context *ctx, const mgi_json *o, bool frozen, int32_t *hold)
{
    static const char *const held[] = {[MGI_HOLD_F32] = "f32", [MGI_HOLD_BF16] = "bf16"};
    MGI_TRY(mgi_json_get_choice(ctx, o, "precision", held, 2, hold));
    return frozen || !mgi_json_find(o, "precision")
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT,
                          "\"precision\" stands without \"frozen\": what learns is held in f32; "
                          "leave it out, or make the encoder \"frozen\"");
}

mgen_status mgi_recipe_vision(mgen_context *ctx, const mgi_json *o, bool scaled,
                              mgi_vision_recipe *r)
{
    const char *const more = scaled ? "lr_scale" : NULL;
    const char *const keys[] = {"config", "from", "frozen", "precision", more, NULL};
    const char *const new_keys[] = {"config", more, NULL};
    const char *const from_keys[] = {"from", "frozen", "precision", more, NULL};
    bool from = mgi_json_find(o, "from") != NULL;
    const mgi_json *part;
    MGI_TRY(mgi_json_only_keys(ctx, o, keys));
    MGI_TRY(mgi_json_get_bool(ctx, o, "frozen", false, &r->frozen));
    MGI_TRY(mgi_recipe_hold(ctx, o, r->frozen, &r->hold));
    MGI_TRY(mgi_json_only_keys(ctx, o, from ? from_keys : new_keys));
    r->lr_scale = 1.0;
    MGI_TRY(mgi_json_get_real(ctx, o, "lr_scale", false, 1e-6, 1e3, &r->lr_scale));
    if (!from) {
        MGI_TRY(mgi_recipe_object(ctx, o, "config", &part));
        return mgi_clip_vision_config_read(ctx, part, &r->config);
    }
    MGI_TRY(mgi_recipe_name(ctx, o, "from", true, r->from));
    if (r->frozen && mgi_json_find(o, "lr_scale"))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"lr_scale\" stands beside \"frozen\": what is frozen has no rate");
    return r->from[0]
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT, "\"from\" is empty; it names a model of the folder");
}

/* "photos": an object that may be absent, and so may each of its kinds. */
static mgen_status read_photos(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {"paired", "cross", NULL};
    const mgi_json *part;
    s->photos[0] = s->photos[1] = 1.0;
    if (!mgi_json_find(o, "photos"))
        return MGEN_OK;
    MGI_TRY(mgi_recipe_object(ctx, o, "photos", &part));
    MGI_TRY(mgi_json_only_keys(ctx, part, keys));
    for (int i = 0; i < 2; i++) {
        s->photos[i] = 0.0;
        MGI_TRY(mgi_json_get_real(ctx, part, keys[i], false, 0.0, 1e6, &s->photos[i]));
    }
    return s->photos[0] + s->photos[1] > 0.0
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT,
                          "\"photos\" are all 0; \"paired\" or \"cross\" must have a share");
}

/* Of an adapter's stage it may be left out. */
static mgen_status read_vision(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    const mgi_json *part;
    if (mgi_json_find(o, "adapter") && !mgi_json_find(o, "vision")) {
        s->vision = (mgi_vision_recipe){.frozen = true, .lr_scale = 1.0};
        return MGEN_OK;
    }
    MGI_TRY(mgi_recipe_object(ctx, o, "vision", &part));
    mgen_status status = mgi_recipe_vision(ctx, part, true, &s->vision);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"vision\"");
    if (s->vision.frozen)
        strcpy(s->personalizer.vision, s->vision.from);
    else
        mgi_model_name(s->personalizer.vision, s->save_as, "personalizer_vision");
    return MGEN_OK;
}

mgen_status mgi_recipe_personalizer(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {"tae",        "vision",        "photos",    "personalizer",
                                       "clips",      "drop",          "drop_both", "images",
                                       "start_from", "text_encoders", "save_as",   "drop_source",
                                       "buckets",    "recompute",     "store",     "times",
                                       "plan",       "adapter",       NULL};
    const mgi_json *part;
    MGI_TRY(mgi_recipe_common(ctx, o, keys, s));
    MGI_TRY(mgi_recipe_frozen(ctx, o, s));
    MGI_TRY(mgi_recipe_drops(ctx, o, s));
    MGI_TRY(read_photos(ctx, o, s));
    MGI_TRY(read_vision(ctx, o, s));
    MGI_TRY(mgi_recipe_adapter(ctx, o, s));
    if (s->adapter.rank && !mgi_json_find(o, "personalizer"))
        return MGEN_OK; /* that of the model which it is to change */
    MGI_TRY(mgi_recipe_object(ctx, o, "personalizer", &part));
    mgen_status status = mgi_personalizer_config_read_with(ctx, part, &s->personalizer);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"personalizer\"");
    s->video = s->personalizer.video;
    return MGEN_OK;
}
