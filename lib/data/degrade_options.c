/* SPDX-License-Identifier: MIT */
#include "data/degrade_options.h"

#include <string.h>

/* A member of one of the structs; where range is NULL, a chance. */
typedef struct member {
    const char *key;
    float *chance;
    mgi_degrade_range *range;
} member;

static mgen_status read_chance(mgen_context *ctx, const mgi_json *o, const char *key, float *out)
{
    double value = 0.0;
    MGI_TRY(mgi_json_get_real(ctx, o, key, false, 0.0, 1.0, &value));
    if (mgi_json_find(o, key))
        *out = value > 0.0 ? (float)value : -1.0f; /* 0 would be the default */
    return MGEN_OK;
}

static bool is_number(const mgi_json *value)
{
    return value && (value->kind == MGI_JSON_INT || value->kind == MGI_JSON_REAL);
}

static mgen_status read_range(mgen_context *ctx, const mgi_json *o, const char *key,
                              mgi_degrade_range *out)
{
    const mgi_json *list = mgi_json_find(o, key);
    if (!list)
        return MGEN_OK;
    const mgi_json *low = list->kind == MGI_JSON_ARRAY && list->i == 2 ? list->child : NULL;
    if (!is_number(low) || !is_number(low->next) || !(low->next->d > 0.0))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"%s\" must be a list of two numbers, the lower end first and the other "
                        "one above 0",
                        key);
    *out = (mgi_degrade_range){(float)low->d, (float)low->next->d};
    return MGEN_OK;
}

/* Its members and two more keys, or NULL. */
static mgen_status read_members(mgen_context *ctx, const mgi_json *o, const member *members,
                                int count, const char *one, const char *two)
{
    const char *keys[32] = {NULL};
    int known = 0;
    for (int i = 0; i < count; i++)
        keys[known++] = members[i].key;
    keys[known++] = one;
    keys[known++] = two;
    MGI_TRY(mgi_json_only_keys(ctx, o, keys));
    for (int i = 0; i < count; i++)
        MGI_TRY(members[i].range ? read_range(ctx, o, members[i].key, members[i].range)
                                 : read_chance(ctx, o, members[i].key, members[i].chance));
    return MGEN_OK;
}

static mgen_status read_pass(mgen_context *ctx, const mgi_json *o, const char *key,
                             mgi_degrade_pass *p)
{
    const member members[] = {
        {"blur", &p->blur, NULL},       {"anisotropic", &p->anisotropic, NULL},
        {"resize", &p->resize, NULL},   {"area", &p->area, NULL},
        {"noise", &p->noise, NULL},     {"shot", &p->shot, NULL},
        {"grey", &p->grey, NULL},       {"jpeg", &p->jpeg, NULL},
        {"halved", &p->halved, NULL},   {"sigma", NULL, &p->sigma},
        {"factor", NULL, &p->factor},   {"deviation", NULL, &p->deviation},
        {"photons", NULL, &p->photons}, {"quality", NULL, &p->quality}};
    const mgi_json *pass = mgi_json_find(o, key);
    if (!pass)
        return MGEN_OK;
    if (pass->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" must be an object", key);
    mgen_status status =
        read_members(ctx, pass, members, (int)(sizeof members / sizeof members[0]), NULL, NULL);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "\"%s\"", key);
}

mgen_status mgi_degrade_options_read(mgen_context *ctx, const mgi_json *o, mgi_degrade_options *out)
{
    const mgi_degrade_sizes any = {.width = 64, .height = 64, .low_width = 32, .low_height = 32};
    const member members[] = {{"clean", &out->clean, NULL},
                              {"ringing", &out->ringing, NULL},
                              {"jpeg_last", &out->jpeg_last, NULL},
                              {"cutoff", NULL, &out->cutoff}};
    mgi_degrade_draw draw;
    memset(out, 0, sizeof *out);
    MGI_TRY(read_members(ctx, o, members, (int)(sizeof members / sizeof members[0]), "first",
                         "second"));
    MGI_TRY(read_pass(ctx, o, "first", &out->pass[0]));
    MGI_TRY(read_pass(ctx, o, "second", &out->pass[1]));
    mgen_status status = mgi_degrade_draw_clip(ctx, out, 0, 0, &any, &draw);
    return status == MGEN_E_INVALID ? mgi_fail_context(ctx, MGEN_E_CORRUPT, "options") : status;
}
