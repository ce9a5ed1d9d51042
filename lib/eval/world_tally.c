/* SPDX-License-Identifier: MIT */
#include "eval/world_tally.h"

#include <string.h>

/* The object seen in a colour, or -1. */
static int seen_in(const mgi_world_said *seen, int colour)
{
    for (int i = 0; i < seen->count; i++)
        if (seen->objects[i].colour == colour)
            return i;
    return -1;
}

static bool score(mgi_world_tally *t, int attribute, bool right)
{
    t->asked[attribute]++;
    t->right[attribute] += right;
    return right;
}

void mgi_world_tally_picture(mgi_world_said *asked)
{
    asked->camera = asked->fps = MGI_TALLY_ANY;
    for (int i = 0; i < asked->count; i++)
        asked->objects[i].motion = MGI_TALLY_ANY;
}

void mgi_world_tally_add(mgi_world_tally *t, const mgi_world_said *asked,
                         const mgi_world_said *seen)
{
    const bool filmed = asked->camera != MGI_TALLY_ANY;
    int camera = asked->camera < 0 ? MGI_WORLD_STATIC : asked->camera;
    bool moving = camera != MGI_WORLD_STATIC;
    bool all = score(t, MGI_TALLY_COUNT, asked->count == seen->count);
    if (asked->background != MGI_TALLY_ANY)
        all &= score(t, MGI_TALLY_BACKGROUND, asked->background == seen->background);
    for (int i = 0; i < asked->count; i++) {
        int k = seen_in(seen, asked->objects[i].colour);
        bool found = score(t, MGI_TALLY_COLOUR, k >= 0);
        all &= found;
        all &=
            score(t, MGI_TALLY_SHAPE, found && seen->objects[k].shape == asked->objects[i].shape);
        all &= score(t, MGI_TALLY_SIZE, found && seen->objects[k].size == asked->objects[i].size);
        int motion = asked->objects[i].motion;
        moving = moving || motion != MGI_WORLD_STILL;
        if (motion == MGI_TALLY_ANY)
            continue;
        bool moves = score(t, MGI_TALLY_MOTION, found && seen->objects[k].motion == motion);
        if (motion >= 0) { /* not of an image */
            t->motion_asked[motion]++;
            t->motion_right[motion] += moves;
        }
        all &= moves;
    }
    if (filmed)
        score(t, MGI_TALLY_CAMERA, camera == seen->camera);
    if (moving && asked->fps != MGI_TALLY_ANY)
        score(t, MGI_TALLY_FPS, asked->fps == seen->fps);
    if (asked->sign[0])
        score(t, MGI_TALLY_TEXT, !strcmp(asked->sign, seen->sign));
    if (asked->count > 0)
        score(t, MGI_TALLY_ALL_ONE + asked->count - 1, all);
}

double mgi_world_tally_share(const mgi_world_tally *t)
{
    int64_t asked = 0, right = 0;
    for (int i = 0; i < MGI_TALLY_ALL_ONE; i++) {
        asked += t->asked[i];
        right += t->right[i];
    }
    return asked ? (double)right / (double)asked : 0.0;
}

/* A report keeps the names. */
#define NAMES(prefix)                                                                              \
    {                                                                                              \
        prefix "colour", prefix "background", prefix "motion", prefix "count", prefix "shape",     \
            prefix "size", prefix "camera", prefix "fps", prefix "text", prefix "all_one",         \
            prefix "all_two", prefix "all_three"                                                   \
    }

#define MOTIONS(prefix)                                                                            \
    {                                                                                              \
        prefix "motion_bounces", prefix "motion_rolls_left", prefix "motion_rolls_right",          \
            prefix "motion_rises", prefix "motion_falls", prefix "motion_orbits",                  \
            prefix "motion_spins", prefix "motion_stays_still"                                     \
    }

void mgi_world_tally_report(const mgi_world_tally *t, int kind, mgen_report *report)
{
    static const char *const names[][MGI_TALLY_ENTRIES] = {NAMES(""),         NAMES("ceiling_"),
                                                           NAMES("control_"), NAMES("checker_"),
                                                           NAMES("plain_"),   NAMES("told_")};
    static const char *const motions[][MGI_WORLD_MOTIONS] = {MOTIONS(""), MOTIONS("checker_")};
    for (int i = 0; i < MGI_TALLY_ENTRIES; i++)
        if (t->asked[i])
            mgi_report_add(report, names[kind][i], (double)t->right[i] / (double)t->asked[i]);
    if (kind != MGI_TALLY_FILMS && kind != MGI_TALLY_CHECKER)
        return;
    for (int i = 0; i < MGI_WORLD_MOTIONS; i++)
        if (t->motion_asked[i])
            mgi_report_add(report, motions[kind == MGI_TALLY_CHECKER][i],
                           (double)t->motion_right[i] / (double)t->motion_asked[i]);
}
