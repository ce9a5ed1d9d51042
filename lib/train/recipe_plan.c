/* SPDX-License-Identifier: MIT
 * "plan" of a recipe's stages: the GPUs that they are meant for. */
#include "train/recipe_parts.h"

mgen_status mgi_recipe_plan(mgen_context *ctx, const mgi_json *o, mgi_plan_recipe *r)
{
    static const char *const keys[] = {"gpus", "cp", "tp", NULL};
    const mgi_json *part;
    if (!mgi_json_find(o, "plan"))
        return MGEN_OK;
    r->cp = r->tp = 1;
    MGI_TRY(mgi_recipe_object(ctx, o, "plan", &part));
    MGI_TRY(mgi_json_only_keys(ctx, part, keys));
    MGI_TRY(mgi_json_get_int(ctx, part, "gpus", true, 1, 65536, &r->gpus));
    MGI_TRY(mgi_json_get_int(ctx, part, "cp", false, 1, 65536, &r->cp));
    MGI_TRY(mgi_json_get_int(ctx, part, "tp", false, 1, 65536, &r->tp));
    return r->gpus % (r->cp * r->tp) == 0
               ? MGEN_OK
               : mgi_fail(
                     ctx, MGEN_E_CORRUPT,
                     "\"plan\": %lld \"gpus\" are no multiple of \"cp\" x \"tp\" (%lld x %lld)",
                     (long long)r->gpus, (long long)r->cp, (long long)r->tp);
}

mgen_status mgi_recipe_gpus(mgen_context *ctx, const mgi_json *o, mgi_plan_recipe *r)
{
    MGI_TRY(mgi_recipe_plan(ctx, o, r));
    return r->gpus == 0 || r->cp * r->tp == 1
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT,
                          "\"plan\" has \"cp\" or \"tp\", but its GPUs share batches and nothing "
                          "else");
}
