/* SPDX-License-Identifier: MIT */
#include "eval/sound_check.h"

#include "eval/sound_look.h"
#include "eval/sound_weights.h"

#include <math.h>

enum { SECONDS_MAX = 60 };

_Static_assert((int)MGI_SOUND_ONSETS == (int)MGI_LOOK_ONSETS, "all onsets are told");

/* The class whose sum is the largest. */
static int best_class(const float features[MGI_LOOK_FEATURES], int classes,
                      const float weights[][MGI_LOOK_FEATURES + 1])
{
    float most = 0.0f;
    int best = -1;
    for (int c = 0; c < classes; c++) {
        float sum = weights[c][MGI_LOOK_FEATURES];
        for (int i = 0; i < MGI_LOOK_FEATURES; i++)
            sum += weights[c][i] * features[i];
        if (best < 0 || sum > most) {
            most = sum;
            best = c;
        }
    }
    return best;
}

mgen_status mgi_sound_check(mgen_context *ctx, const float *samples, int64_t count,
                            mgi_sound_found *out)
{
    float features[MGI_LOOK_FEATURES] = {0.0f}, tempo[MGI_WORLD_MOODS];
    const int64_t most = (int64_t)SECONDS_MAX * MGI_WORLD_SOUND_RATE;
    *out = (mgi_sound_found){.background = -1};
    if (count < MGI_WORLD_SOUND_RATE)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the checker of sounds needs a second of them, %d samples; there are %lld",
                        (int)MGI_WORLD_SOUND_RATE, (long long)count);
    count = count < most ? count : most;
    MGI_TRY(mgi_look_onsets(ctx, samples, count, out->onset, &out->onsets));
    MGI_TRY(mgi_look_features(ctx, samples, count, out->onset, out->onsets, features, tempo));
    out->background = best_class(features, MGI_WORLD_BACKGROUNDS, place_weights);
    out->mood = best_class(features, MGI_WORLD_MOODS, mood_weights);
    out->tempo = tempo[out->mood];
    return MGEN_OK;
}

/* ---- against what is true ----------------------------------------------------------------------- */

enum { EVENTS = 4 * MGI_SOUND_ONSETS };

/* True impacts as they can be heard. */
static int impacts_of(const mgi_world_scene *scene, double seconds, float out[EVENTS])
{
    mgi_world_event event[EVENTS];
    int all = mgi_world_sound_events(scene, (double)MGI_SOUND_EDGE,
                                     seconds - (double)MGI_SOUND_EDGE, event, EVENTS);
    int n = 0;
    for (int i = 0; i < all && i < EVENTS; i++)
        if (mgi_world_event_sharp(event[i].kind) &&
            (n == 0 || event[i].seconds - out[n - 1] >= MGI_SOUND_APART))
            out[n++] = event[i].seconds;
    return n;
}

/* The nearest pairs first, each impact and each onset in one of them. */
static void match(mgi_sound_tally *t, const float *impacts, int count, const mgi_sound_found *found,
                  double seconds)
{
    bool met[EVENTS] = {false}, used[MGI_SOUND_ONSETS] = {false};
    t->impacts += count;
    for (int i = 0; i < found->onsets; i++) {
        used[i] = found->onset[i] < MGI_SOUND_EDGE ||
                  (double)found->onset[i] >= seconds - (double)MGI_SOUND_EDGE;
        t->found += !used[i];
    }
    for (;;) {
        float least = MGI_SOUND_TOLERANCE;
        int a = -1, b = -1;
        for (int i = 0; i < count; i++)
            for (int k = 0; k < found->onsets && !met[i]; k++)
                if (!used[k] && fabsf(found->onset[k] - impacts[i]) <= least) {
                    least = fabsf(found->onset[k] - impacts[i]);
                    a = i;
                    b = k;
                }
        if (a < 0)
            return;
        met[a] = used[b] = true;
        t->right++;
        t->error += (double)least;
    }
}

void mgi_sound_tally_add(mgi_sound_tally *t, const mgi_world_scene *scene,
                         const mgi_world_sound *sound, double seconds, const mgi_sound_found *found)
{
    float impacts[EVENTS];
    const bool music = sound->mood != MGI_WORLD_NO_MUSIC;
    match(t, impacts, impacts_of(scene, seconds, impacts), found, seconds);
    t->sounds++;
    t->place += found->background == scene->background;
    t->music += (found->mood != MGI_WORLD_NO_MUSIC) == music;
    t->mood += found->mood == sound->mood;
    if (music && found->mood != MGI_WORLD_NO_MUSIC) {
        t->tempos++;
        t->tempo += fabsf(found->tempo - sound->tempo) <= MGI_SOUND_TEMPO * sound->tempo;
    }
}

enum { PRECISION, RECALL, ERROR, PLACE, MUSIC, MOOD, TEMPO, RATES };

void mgi_sound_tally_report(const mgi_sound_tally *t, int kind, mgen_report *report)
{
#define NAMES(prefix)                                                                              \
    {                                                                                              \
        prefix "onset_precision", prefix "onset_recall", prefix "onset_error_ms", prefix "place",  \
            prefix "music", prefix "mood", prefix "tempo"                                          \
    }
    static const char *const names[MGI_SOUND_TALLIES][RATES] = {
        NAMES(""), NAMES("ceiling_"), NAMES("control_"), NAMES("unseen_")};
    const double of[RATES][2] = {
        {(double)t->right, (double)t->found},  {(double)t->right, (double)t->impacts},
        {1000.0 * t->error, (double)t->right}, {(double)t->place, (double)t->sounds},
        {(double)t->music, (double)t->sounds}, {(double)t->mood, (double)t->sounds},
        {(double)t->tempo, (double)t->tempos}};
    for (int i = 0; i < RATES; i++)
        if (of[i][1] > 0.0)
            mgi_report_add(report, names[kind][i], of[i][0] / of[i][1]);
}
