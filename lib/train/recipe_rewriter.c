/* SPDX-License-Identifier: MIT
 * Recipes of a prompt rewriter's stage. */
#include "train/recipe_parts.h"

#include <string.h>

mgen_status mgi_recipe_rewriter(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {"rewriter",   "pairs",   "captions",
                                       "start_from", "save_as", NULL};
    const mgi_json *part;
    MGI_TRY(mgi_recipe_common(ctx, o, keys, s));
    MGI_TRY(mgi_recipe_name(ctx, o, "start_from", false, s->start_from));
    MGI_TRY(mgi_recipe_name(ctx, o, "save_as", false, s->save_as));
    MGI_TRY(mgi_recipe_name(ctx, o, "pairs", false, s->pairs));
    s->captions = 0.15;
    MGI_TRY(mgi_json_get_real(ctx, o, "captions", false, 0.0, 1.0, &s->captions));
    if (s->pairs[0] && (mgi_json_find(o, "world") || mgi_json_find(o, "captions")))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"pairs\" stands instead of \"world\" and \"captions\", which are of the "
                        "toybox's prompts");
    s->has_rewriter = mgi_json_find(o, "rewriter") != NULL;
    if (!s->has_rewriter && s->start_from[0])
        return MGEN_OK;
    MGI_TRY(mgi_recipe_object(ctx, o, "rewriter", &part));
    mgen_status status = mgi_rewriter_config_read(ctx, part, &s->rewriter);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "\"rewriter\"");
}
