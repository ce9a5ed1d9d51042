/* SPDX-License-Identifier: MIT
 * Raw films to the clips that are worth training on. */
#include "api/args.h"

#include "data/clip_list.h"
#include "data/curate.h"
#include "io/path.h"

static bool forward_progress(void *user, int64_t done, int64_t total)
{
    const mgen_curate_params *p = user;
    return p->on_progress && p->on_progress(p->user, (uint32_t)done, (uint32_t)total) != 0;
}

/* A report keeps the names. */
static const char *const film_names[MGI_CURATE_STEPS] = {
    "films_read",   "films_duration",  "films_resolution", "films_aspect", "films_scene",
    "films_text",   "films_border",    "films_aesthetic",  "films_still",  "films_motion",
    "films_jitter", "films_duplicate", "films_resample"};
static const char *const clip_names[MGI_CURATE_STEPS] = {
    [MGI_CURATE_SCENE] = "clips_scene",      [MGI_CURATE_TEXT] = "clips_text",
    [MGI_CURATE_BORDER] = "clips_border",    [MGI_CURATE_AESTHETIC] = "clips_aesthetic",
    [MGI_CURATE_STILL] = "clips_still",      [MGI_CURATE_MOTION] = "clips_motion",
    [MGI_CURATE_JITTER] = "clips_jitter",    [MGI_CURATE_DUPLICATE] = "clips_duplicate",
    [MGI_CURATE_RESAMPLE] = "clips_resample"};

static void report_funnel(mgen_report *report, const mgi_curate_funnel *f)
{
    mgi_report_add(report, "films", (double)f->all_films);
    mgi_report_add(report, "clips", (double)f->all_clips);
    for (int i = 0; i < MGI_CURATE_STEPS; i++) {
        mgi_report_add(report, film_names[i], (double)f->films[i]);
        if (clip_names[i])
            mgi_report_add(report, clip_names[i], (double)f->clips[i]);
    }
    mgi_report_add(report, "seconds", f->seconds);
    mgi_report_add(report, "clusters", (double)f->clusters);
    mgi_report_add(report, "others", (double)f->others);
    mgi_report_add(report, "edited", (double)f->edited);
    mgi_report_add(report, "before", (double)f->before);
    mgi_report_add(report, "uneven", (double)f->uneven);
}

static mgen_status check(mgen_context *ctx, const mgen_curate_params *p)
{
    MGI_TRY(mgi_check_text(ctx, p->dir, "dir", MGI_PATH_MAX - MGI_NAME_MAX - 1));
    if (p->rules)
        MGI_TRY(mgi_check_text(ctx, p->rules, "rules", MGI_PATH_MAX));
    if (p->out)
        MGI_TRY(mgi_check_text(ctx, p->out, "out", MGI_PATH_MAX));
    if (p->reserved0)
        return mgi_fail(ctx, MGEN_E_INVALID, "reserved0 is %u; it must be 0", p->reserved0);
    return MGEN_OK;
}

mgen_status mgen_curate(mgen_context *ctx, const mgen_curate_params *params, mgen_report **out)
{
    char path[MGI_PATH_MAX + 1];
    mgen_curate_params p;
    mgi_curate_funnel funnel;
    mgi_message before;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_struct_in(ctx, &p, sizeof p, sizeof p, params, "curate params"));
    MGI_TRY(check(ctx, &p));
    if (!p.out)
        MGI_TRY(mgi_path_join(ctx, p.dir, MGI_CLIP_LIST, path, sizeof path));
    MGI_TRY(mgi_report_create(ctx, out));
    mgi_quiet_begin(ctx, &before);
    mgen_status status =
        mgi_curate_folder(ctx, p.dir, p.rules, p.out ? p.out : path, forward_progress, &p, &funnel);
    status = mgi_quiet_told(ctx, &before, status);
    if (status == MGEN_OK) {
        report_funnel(*out, &funnel);
    } else {
        mgen_report_destroy(*out);
        *out = NULL;
    }
    return status;
}
