/* SPDX-License-Identifier: MIT
 * A recipe's stages of the kind "clip". */
#include "train/recipe_parts.h"

#include <string.h>

/* A model of the folder, or a new one. */
static mgen_status read_text(mgen_context *ctx, const mgi_json *o, mgi_text_recipe *r)
{
    static const char *const keys[] = {"kind", "config", "from", NULL};
    static const char *const new_keys[] = {"kind", "config", NULL};
    static const char *const from_keys[] = {"from", NULL};
    const bool from = mgi_json_find(o, "from") != NULL;
    MGI_TRY(mgi_json_only_keys(ctx, o, keys));
    MGI_TRY(mgi_json_only_keys(ctx, o, from ? from_keys : new_keys));
    if (from) {
        MGI_TRY(mgi_recipe_name(ctx, o, "from", true, r->from));
        return r->from[0] ? MGEN_OK
                          : mgi_fail(ctx, MGEN_E_CORRUPT,
                                     "\"from\" is empty; it names a model of the folder");
    }
    MGI_TRY(mgi_text_config_read(ctx, o, &r->config));
    return r->config.kind == MGI_TEXT_CLIP_BPE
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT,
                          "\"kind\" is \"%s\", which has no vector of a whole text; \"clip-bpe\" "
                          "has",
                          mgi_text_kind(&r->config));
}

/* What is new must learn; who has positions of the recipe's own number needs no other. */
static mgen_status check(mgen_context *ctx, const mgi_stage *s)
{
    const mgi_text_recipe *text = &s->text[MGI_ROLE_METACLIP];
    if (s->batch < 2)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"batch\" is %lld; captions are told from those of the others, so there "
                        "must be 2",
                        (long long)s->batch);
    if (!text->from[0] && s->learn == MGI_LEARN_POSITIONS_AND_BIASES)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"text\" is new: most of it would stay random; \"learn\" must be \"text\" "
                        "or \"all\"");
    if (!s->vision.from[0] && s->learn != MGI_LEARN_ALL)
        return mgi_fail(
            ctx, MGEN_E_CORRUPT,
            "\"vision\" is new and would stay random; \"learn\" must be \"all\", or \"from\" "
            "name a model of the folder");
    return !s->tokens_max || text->from[0]
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT,
                          "\"tokens_max\" stretches the positions of a model of the folder; a new "
                          "one's \"config\" says how many it has");
}

mgen_status mgi_recipe_clip(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {"text",  "vision",  "learn", "tokens_max",
                                       "scale", "save_as", "plan",  NULL};
    static const char *const learn[] = {[MGI_LEARN_POSITIONS_AND_BIASES] = "positions_and_biases",
                                        [MGI_LEARN_TEXT] = "text",
                                        [MGI_LEARN_ALL] = "all"};
    static const char *const not_here[] = {"frozen", "precision"};
    mgi_text_recipe *text = &s->text[MGI_ROLE_METACLIP];
    const mgi_json *part;
    MGI_TRY(mgi_recipe_common(ctx, o, keys, s));
    MGI_TRY(mgi_recipe_gpus(ctx, o, &s->plan));
    MGI_TRY(mgi_json_get_choice(ctx, o, "learn", learn, 3, &s->learn));
    MGI_TRY(mgi_json_get_int(ctx, o, "tokens_max", false, 2, 8192, &s->tokens_max));
    MGI_TRY(mgi_json_get_real(ctx, o, "scale", false, MGI_CLIP_SCALE_MIN, MGI_CLIP_SCALE_MAX,
                              &s->scale));
    MGI_TRY(mgi_recipe_name(ctx, o, "save_as", false, s->save_as));
    MGI_TRY(mgi_recipe_object(ctx, o, "text", &part));
    strcpy(text->name, "clip_text");
    mgen_status status = read_text(ctx, part, text);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"text\"");
    MGI_TRY(mgi_recipe_object(ctx, o, "vision", &part));
    for (int i = 0; i < 2; i++)
        if (mgi_json_find(part, not_here[i]))
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "\"vision\" has \"%s\"; here \"learn\" says what learns, and all is "
                            "held in f32",
                            not_here[i]);
    status = mgi_recipe_vision(ctx, part, false, &s->vision);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"vision\"");
    s->vision.frozen = s->learn != MGI_LEARN_ALL;
    return check(ctx, s);
}
