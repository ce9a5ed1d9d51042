/* SPDX-License-Identifier: MIT */
#include "data/curate_rules.h"

#include "io/path.h"

#include <string.h>

void mgi_curate_rules_report(mgi_curate_rules *r)
{
    *r = (mgi_curate_rules){.duration_min = 4.0,
                            .duration_max = 120.0,
                            .width_min = 768.0,
                            .height_min = 768.0,
                            .portrait_max = 0.0,
                            .text_max = 0.004,
                            .border_max = 0.01,
                            .clip_min = 4.0,
                            .clip_max = 16.0,
                            .skip = 1.0,
                            .cut_difference = 8.0,
                            .cut_share = 0.3,
                            .cut_sudden = 6.0,
                            .join_ratio = 1.25,
                            .aesthetic_min = 4.0,
                            .still_difference = 0.3,
                            .still_max = 0.5,
                            .still_seconds_max = 1.0,
                            .motion_min = 2.0,
                            .vector_min = 0.5,
                            .vector_max = 7.0,
                            .shots_max = 0.85,
                            .shake_max = 6.0,
                            .duplicate_min = 0.9,
                            .duplicate_pairs = 8192.0,
                            .clusters = 0.0,
                            .weight_max = 8.0,
                            .seed = 1.0,
                            .resample = MGI_RESAMPLE_WEIGHT};
}

void mgi_curate_rules_toybox(mgi_curate_rules *r)
{
    mgi_curate_rules_report(r);
    r->duration_min = 2.0;
    r->duration_max = 30.0;
    r->width_min = 64.0;
    r->height_min = 64.0;
    r->portrait_max = 0.4;
    r->clip_min = 2.0;
    r->clip_max = 4.0;
    r->skip = 0.25;
    r->still_difference = 0.05;
    r->still_seconds_max = 0.5;
    r->motion_min = 0.2;
    r->vector_min = 0.05;
}

/* Where each number stands, and what it may be. */
static const struct {
    const char *name;
    size_t offset;
    double min, max;
} numbers[] = {
#define NUMBER(name, min, max)                                                                     \
    {                                                                                              \
#name, offsetof(mgi_curate_rules, name), min, max                                          \
    }
    NUMBER(duration_min, 0.0, 1e6),     NUMBER(duration_max, 0.0, 1e6),
    NUMBER(width_min, 0.0, 65536.0),    NUMBER(height_min, 0.0, 65536.0),
    NUMBER(portrait_max, 0.0, 1.0),     NUMBER(text_max, 0.0, 1.0),
    NUMBER(border_max, 0.0, 1.0),       NUMBER(clip_min, 0.0, 1e6),
    NUMBER(clip_max, 0.01, 1e6),        NUMBER(skip, 0.0, 1e6),
    NUMBER(cut_difference, 0.0, 256.0), NUMBER(cut_share, 0.0, 1.0),
    NUMBER(cut_sudden, 1.0, 1e6),       NUMBER(join_ratio, 0.0, 1e6),
    NUMBER(aesthetic_min, -1e6, 1e6),   NUMBER(still_difference, 0.0, 256.0),
    NUMBER(still_max, 0.0, 1.0),        NUMBER(still_seconds_max, 0.0, 1e6),
    NUMBER(motion_min, 0.0, 256.0),     NUMBER(vector_min, 0.0, 256.0),
    NUMBER(vector_max, 0.0, 256.0),     NUMBER(shots_max, 0.0, 1000.0),
    NUMBER(shake_max, 0.0, 256.0),      NUMBER(duplicate_min, 0.0, 2.0),
    NUMBER(clusters, 0.0, 4096.0),      NUMBER(weight_max, 1.0, 64.0),
    NUMBER(seed, 0.0, 4294967295.0),    NUMBER(duplicate_pairs, 0.0, 1e12),
#undef NUMBER
};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

static mgen_status take(mgen_context *ctx, const mgi_json *o, mgi_curate_rules *r)
{
    static const char *const bases[] = {"report", "toybox"};
    static const char *const ways[] = {"weight", "drop", "none"};
    const char *keys[NUMBERS + 3] = {"base", "resample"};
    int32_t base, resample;
    if (o->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "rules must be a JSON object");
    for (int i = 0; i < NUMBERS; i++)
        keys[2 + i] = numbers[i].name;
    MGI_TRY(mgi_json_only_keys(ctx, o, keys));
    MGI_TRY(mgi_json_get_choice(ctx, o, "base", bases, 2, &base));
    if (base)
        mgi_curate_rules_toybox(r);
    else
        mgi_curate_rules_report(r);
    MGI_TRY(mgi_json_get_choice(ctx, o, "resample", ways, 3, &resample));
    r->resample = resample;
    for (int i = 0; i < NUMBERS; i++)
        MGI_TRY(mgi_json_get_real(ctx, o, numbers[i].name, false, numbers[i].min, numbers[i].max,
                                  (double *)(void *)((char *)r + numbers[i].offset)));
    if (r->duration_min > r->duration_max || r->clip_min > r->clip_max ||
        r->vector_min > r->vector_max)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"%s_min\" is above \"%s_max\": nothing would be left",
                        r->duration_min > r->duration_max ? "duration"
                        : r->clip_min > r->clip_max       ? "clip"
                                                          : "vector",
                        r->duration_min > r->duration_max ? "duration"
                        : r->clip_min > r->clip_max       ? "clip"
                                                          : "vector");
    return MGEN_OK;
}

mgen_status mgi_curate_rules_read(mgen_context *ctx, const char *what, const char *text,
                                  size_t size, mgi_curate_rules *out)
{
    mgi_json *root;
    MGI_TRY(mgi_json_parse(ctx, what, text, size, &root));
    mgen_status status = take(ctx, root, out);
    mgi_json_free(ctx, root);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "the rules '%s'", what);
}

mgen_status mgi_curate_rules_open(mgen_context *ctx, const char *path, mgi_curate_rules *out)
{
    mgi_file file;
    if (!path || !strcmp(path, "report")) {
        mgi_curate_rules_report(out);
        return MGEN_OK;
    }
    if (!strcmp(path, "toybox")) {
        mgi_curate_rules_toybox(out);
        return MGEN_OK;
    }
    MGI_TRY(mgi_file_open(ctx, path, &file));
    mgen_status status = mgi_curate_rules_read(ctx, path, (const char *)file.data, file.size, out);
    mgi_file_close(ctx, &file);
    return status;
}
