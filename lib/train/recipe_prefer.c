/* SPDX-License-Identifier: MIT
 * What a recipe's stages say of preferences, of the kind "text_to_video", and of an adapter, which are learnt beside the model
 * that they start from. */
#include "model/adapter.h"
#include "train/recipe_parts.h"

/* `why`: that model must be as it is. */
static mgen_status needs_start(mgen_context *ctx, const mgi_stage *s, const char *key,
                               const char *why)
{
    for (int i = 0; i < MGI_ROLES; i++)
        if (s->text[i].name[0] && !s->text[i].frozen)
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "\"%s\" stands where a text encoder learns; what is learnt is %s with "
                            "the same text: make them \"frozen\"",
                            key, why);
    return s->start_from[0] ? MGEN_OK
                            : mgi_fail(ctx, MGEN_E_CORRUPT,
                                       "\"%s\" stands where there is no \"start_from\": what is "
                                       "learnt is %s",
                                       key, why);
}

mgen_status mgi_recipe_prefer(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {"strength", "prompts",     "films",
                                       "steps",    "guidance_to", NULL};
    mgi_prefer_recipe *p = &s->prefer;
    const mgi_json *part;
    if (!mgi_json_find(o, "prefer"))
        return MGEN_OK;
    *p = (mgi_prefer_recipe){
        .on = true, .strength = 1.0, .prompts = 48, .films = 8, .steps = 20, .guidance_to = 1.0};
    MGI_TRY(mgi_recipe_object(ctx, o, "prefer", &part));
    MGI_TRY(mgi_json_only_keys(ctx, part, keys));
    MGI_TRY(mgi_json_get_real(ctx, part, "strength", false, 1e-3, 1e3, &p->strength));
    MGI_TRY(mgi_json_get_int(ctx, part, "prompts", false, 1, 1 << 16, &p->prompts));
    MGI_TRY(mgi_json_get_int(ctx, part, "films", false, 2, MGI_PREFER_FILMS_MAX, &p->films));
    MGI_TRY(mgi_json_get_int(ctx, part, "steps", false, 1, 1000, &p->steps));
    MGI_TRY(mgi_json_get_real(ctx, part, "guidance_to", false, 0.01, 1.0, &p->guidance_to));
    return needs_start(ctx, s, "prefer", "how to be better than that model");
}

mgen_status mgi_recipe_adapter(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {"rank", "alpha", NULL};
    mgi_adapter_recipe *a = &s->adapter;
    const mgi_json *part;
    if (!mgi_json_find(o, "adapter"))
        return MGEN_OK;
    MGI_TRY(mgi_recipe_object(ctx, o, "adapter", &part));
    MGI_TRY(mgi_json_only_keys(ctx, part, keys));
    MGI_TRY(mgi_json_get_int(ctx, part, "rank", true, 1, MGI_ADAPTER_RANK_MAX, &a->rank));
    a->alpha = (double)a->rank;
    MGI_TRY(mgi_json_get_real(ctx, part, "alpha", false, 1e-6, 1e6, &a->alpha));
    if (s->fp8)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"store\" stands beside \"adapter\", which is saved in f32");
    if ((s->vision.from[0] || s->vision.config.dim) && !s->vision.frozen)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"adapter\" stands where an image encoder learns; what is learnt is a "
                        "change of one model: make it \"frozen\"");
    return needs_start(ctx, s, "adapter", "a change of that model");
}
