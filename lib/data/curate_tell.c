/* SPDX-License-Identifier: MIT */
#include "data/curate_tell.h"

#include "data/folder.h"

#include <stdio.h>
#include <string.h>

enum { NAMES = 3, TEXT = 640 /* bytes of a sentence's part */ };

/* What a step dropped: clips, films without any, and the first films of either. */
typedef struct loss {
    int64_t films, clips;
    int names;
    const char *name[NAMES];
} loss;

/* What a host changes to have a step drop less; NULL: nothing. */
static const char *const rules_of[MGI_CURATE_STEPS] = {
    [MGI_CURATE_DURATION] = "duration_min, duration_max",
    [MGI_CURATE_RESOLUTION] = "width_min, height_min",
    [MGI_CURATE_ASPECT] = "portrait_max",
    [MGI_CURATE_SCENE] = "clip_min, skip",
    [MGI_CURATE_TEXT] = "text_max",
    [MGI_CURATE_BORDER] = "border_max",
    [MGI_CURATE_AESTHETIC] = "aesthetic_min",
    [MGI_CURATE_STILL] = "still_max, still_seconds_max, still_difference",
    [MGI_CURATE_MOTION] = "motion_min, vector_min, vector_max",
    [MGI_CURATE_JITTER] = "shake_max, shots_max",
    [MGI_CURATE_DUPLICATE] = "duplicate_min",
    [MGI_CURATE_RESAMPLE] = "resample, clusters",
};

static void lose(loss *losses, const mgi_curate_film *f, const mgi_curate_clip *clip)
{
    const int step = mgi_curate_dropped(f, clip);
    if (step == MGI_CURATE_STEPS)
        return;
    loss *l = &losses[step];
    l->films += !clip;
    l->clips += clip != NULL;
    if (l->names < NAMES && (!l->names || l->name[l->names - 1] != f->name))
        l->name[l->names++] = f->name;
}

static void add_up(const mgi_curator *c, loss losses[MGI_CURATE_STEPS])
{
    memset(losses, 0, MGI_CURATE_STEPS * sizeof *losses);
    for (int64_t i = 0; i < c->count; i++) {
        const mgi_curate_film *f = &c->films[i];
        if (!f->count)
            lose(losses, f, NULL);
        for (int64_t k = 0; k < f->count; k++)
            lose(losses, f, &f->clips[k]);
    }
}

/* "3 clips", "1 film", or both. */
static void count_words(const loss *l, char *out, size_t size)
{
    char films[48] = "", clips[48] = "";
    if (l->films)
        snprintf(films, sizeof films, "%lld film%s", (long long)l->films, l->films > 1 ? "s" : "");
    if (l->clips)
        snprintf(clips, sizeof clips, "%lld clip%s", (long long)l->clips, l->clips > 1 ? "s" : "");
    snprintf(out, size, "%s%s%s", films, l->films && l->clips ? " and " : "", clips);
}

static void name_words(const loss *l, char *out, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < l->names && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s'%.100s'", i ? ", " : "", l->name[i]);
}

/* Which drops most, the first one of them. */
static int hardest(const loss losses[MGI_CURATE_STEPS])
{
    int most = 0;
    for (int s = 1; s < MGI_CURATE_STEPS; s++)
        if (losses[s].films + losses[s].clips > losses[most].films + losses[most].clips)
            most = s;
    return most;
}

static mgen_status nothing_kept(const mgi_curator *c, const mgi_curate_funnel *funnel,
                                const loss losses[MGI_CURATE_STEPS], const char *dir,
                                const char *list)
{
    const int most = hardest(losses);
    char count[128], names[TEXT], others[TEXT] = "", help[TEXT] = "warnings say why";
    size_t used = 0;
    count_words(&losses[most], count, sizeof count);
    name_words(&losses[most], names, sizeof names);
    for (int s = 0; s < MGI_CURATE_STEPS && used < sizeof others; s++)
        if (s != most && losses[s].films + losses[s].clips)
            used += (size_t)snprintf(others + used, sizeof others - used, "%s\"%s\" %lld",
                                     used ? ", " : "; ", mgi_curate_step_name(s),
                                     (long long)(losses[s].films + losses[s].clips));
    if (rules_of[most])
        snprintf(help, sizeof help,
                 "other rules (%s) drop less, and '%.200s' has what was measured", rules_of[most],
                 list);
    return mgi_fail(c->ctx, MGEN_E_NOT_FOUND,
                    "no clip of the %lld films in '%.150s' is kept: \"%s\" drops %s, first of "
                    "%.220s%.200s; %.300s",
                    (long long)funnel->all_films, dir, mgi_curate_step_name(most), count, names,
                    others, help);
}

static void tell_uneven(const mgi_curator *c, int64_t count)
{
    int64_t first = 0;
    while (first < c->count && !c->films[first].uneven)
        first++;
    if (first < c->count)
        mgi_folder_tell_of_uneven(c->ctx, count, c->films[first].name);
}

mgen_status mgi_curate_tell(const mgi_curator *c, const mgi_curate_funnel *funnel, const char *dir,
                            const char *list)
{
    loss losses[MGI_CURATE_STEPS];
    add_up(c, losses);
    tell_uneven(c, funnel->uneven);
    if (!funnel->clips[MGI_CURATE_RESAMPLE])
        return nothing_kept(c, funnel, losses, dir, list);
    mgi_log(c->ctx, MGEN_LOG_INFO, "%lld films: %lld can be read, %lld of %lld clips are kept",
            (long long)funnel->all_films, (long long)funnel->films[MGI_CURATE_READ],
            (long long)funnel->clips[MGI_CURATE_RESAMPLE], (long long)funnel->all_clips);
    for (int s = 0; s < MGI_CURATE_STEPS; s++) {
        const loss *l = &losses[s];
        char count[128], names[TEXT];
        if (!l->names)
            continue;
        count_words(l, count, sizeof count);
        name_words(l, names, sizeof names);
        mgi_log(c->ctx, MGEN_LOG_INFO, "\"%s\" drops %s, %s%s%s", mgi_curate_step_name(s), count,
                l->clips ? "of " : "", names, l->films + l->clips > l->names ? ", ..." : "");
    }
    return MGEN_OK;
}
