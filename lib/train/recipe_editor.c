/* SPDX-License-Identifier: MIT
 * A recipe's stages of the kind "editor". */
#include "train/recipe_parts.h"

/* "edits": an object that may be absent, and so may each of its kinds. */
static mgen_status read_edits(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    const char *keys[MGI_EDITS_KINDS + 3] = {NULL};
    const mgi_json *part;
    double all = 0.0;
    s->edits[MGI_EDITS_PAIRS] = 3.0;
    s->edits[MGI_EDITS_SEGMENTATION] = s->edits[MGI_EDITS_TEXT] = 1.0;
    for (int i = 0; i < MGI_EDITS_KINDS; i++)
        s->edits_unsaid[i] = true;
    if (!mgi_json_find(o, "edits"))
        return MGEN_OK;
    for (int i = 0; i < MGI_EDITS_KINDS; i++)
        keys[i] = mgi_edits_kind_name[i];
    keys[MGI_EDITS_KINDS] = "back_from";
    keys[MGI_EDITS_KINDS + 1] = "back_steps";
    MGI_TRY(mgi_recipe_object(ctx, o, "edits", &part));
    MGI_TRY(mgi_json_only_keys(ctx, part, keys));
    for (int i = 0; i < MGI_EDITS_KINDS; i++) {
        MGI_TRY(mgi_json_get_real(ctx, part, keys[i], false, 0.0, 1e6, &s->edits[i]));
        s->edits_unsaid[i] = !mgi_json_find(part, keys[i]);
        all += s->edits[i];
    }
    s->back_steps = 20;
    MGI_TRY(mgi_recipe_name(ctx, part, "back_from", false, s->back_from));
    MGI_TRY(mgi_json_get_int(ctx, part, "back_steps", false, 1, 1000, &s->back_steps));
    if ((s->edits[MGI_EDITS_BACK] > 0.0) != (s->back_from[0] != '\0'))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"edits\": \"backtranslated\" has a share where \"back_from\" names an "
                        "editor, and only there");
    return all > 0.0 ? MGEN_OK
                     : mgi_fail(ctx, MGEN_E_CORRUPT,
                                "\"edits\" are all 0; at least one kind must have a share");
}

/* What a bucket is of must have a share: so it is said, or not, of the stage what it takes. */
static mgen_status check_buckets(mgen_context *ctx, const mgi_stage *s)
{
    for (int64_t i = 0; i < s->bucket_count; i++) {
        const int32_t kind = s->bucket[i].edits - 1;
        if (kind >= 0 && s->edits[kind] == 0.0)
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "bucket %lld is of \"%s\", to which \"edits\" give no share",
                            (long long)i + 1, mgi_edits_kind_name[kind]);
    }
    return MGEN_OK;
}

mgen_status mgi_recipe_editor(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {
        "tae",       "editor",      "edits",      "text_encoders", "clips",   "drop",
        "drop_both", "drop_source", "start_from", "save_as",       "buckets", "images",
        "recompute", "store",       "times",      "plan",          "adapter", NULL};
    const mgi_json *part;
    MGI_TRY(mgi_recipe_common(ctx, o, keys, s));
    MGI_TRY(mgi_recipe_frozen(ctx, o, s));
    MGI_TRY(mgi_recipe_drops(ctx, o, s));
    MGI_TRY(read_edits(ctx, o, s));
    MGI_TRY(check_buckets(ctx, s));
    MGI_TRY(mgi_recipe_adapter(ctx, o, s));
    if (s->adapter.rank && !mgi_json_find(o, "editor"))
        return MGEN_OK; /* that of the model which it is to change */
    MGI_TRY(mgi_recipe_object(ctx, o, "editor", &part));
    mgen_status status = mgi_editor_config_read(ctx, part, &s->editor);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"editor\"");
    s->video = s->editor.video;
    return MGEN_OK;
}
