/* SPDX-License-Identifier: MIT
 * How a scene of the world sounds, drawn by lot; and when what is heard of its motions happens. */
#include "data/world_sound.h"

#include "core/philox.h"

#include <math.h>
#include <string.h>

enum { LOTS = 16 }; /* of a sound */

static const struct {
    const char *name;
    float least, most; /* beats a minute: no two moods have a tempo in common */
} moods[MGI_WORLD_MOODS] = {{"no music", 0.0f, 0.0f},
                            {"calm", 70.0f, 86.0f},
                            {"happy", 112.0f, 138.0f},
                            {"sad", 50.0f, 62.0f},
                            {"tense", 150.0f, 180.0f}};

void mgi_world_mood_tempo(int mood, float *least, float *most)
{
    unsigned i = (unsigned)mood % MGI_WORLD_MOODS;
    *least = moods[i].least;
    *most = moods[i].most;
}

const char *mgi_world_mood_name(int mood)
{
    return mood >= 0 && mood < MGI_WORLD_MOODS ? moods[mood].name : "unknown";
}

void mgi_world_sound_random(mgi_world_sound *s, const mgi_world_scene *scene, uint64_t seed,
                            uint64_t index)
{
    float u[LOTS];
    for (uint64_t i = 0; i < LOTS; i++)
        u[i] = mgi_random_unit(seed, MGI_STREAM_SOUND, index * LOTS + i);
    memset(s, 0, sizeof *s);
    if (u[0] < 1.0f / 3.0f)
        s->mood = 1 + (int)((float)(MGI_WORLD_MOODS - 1) * u[1]);
    if (s->mood != MGI_WORLD_NO_MUSIC)
        s->tempo = moods[s->mood].least + (moods[s->mood].most - moods[s->mood].least) * u[2];
    s->phase = 16.0f * u[3];
    s->key = (int)(7.0f * u[4]) - 3;
    s->music = s->mood != MGI_WORLD_NO_MUSIC ? 0.80f + 0.19f * u[5] : 0.01f + 0.14f * u[5];
    s->quality = 5.0f + 0.1f * (float)(int)(31.0f * u[6]);
    s->loudness = 1.3f + 0.4f * u[7];
    s->wording = u[8] < 0.4f ? 0 : 1 + (int)((float)(MGI_WORLD_SOUND_WORDINGS - 1) * u[9]);
    s->seed = (uint64_t)mgi_random_u32(seed, MGI_STREAM_SOUND, index * LOTS + 10) << 32 |
              mgi_random_u32(seed, MGI_STREAM_SOUND, index * LOTS + 11);
    if (scene->frames == 1) /* nothing of an image lasts long enough to tell more of it */
        s->wording = 0;
}

/* ---- moments ------------------------------------------------------------------------------------ */

bool mgi_world_event_sharp(int kind)
{
    return kind == MGI_WORLD_TOUCHES || kind == MGI_WORLD_LANDS || kind == MGI_WORLD_STOPS;
}

double mgi_world_motion_end(const mgi_world_object *o)
{
    double tall = (double)mgi_world_shape_foot(o->shape) + (double)mgi_world_shape_top(o->shape);
    double way = (double)o->height;
    if (o->motion == MGI_WORLD_RISE)
        way = (double)o->base - tall * (double)o->radius - 1.0 - (double)o->height;
    else if (o->motion != MGI_WORLD_FALL)
        return 0.0;
    return way > 0.0 ? way / ((double)MGI_WORLD_RISE_SPEED * (double)o->pace) : 0.0;
}

/* The first moment of an object's event, and from one to the next; 0 = there is but one. false: there is none. */
static bool rhythm(const mgi_world_object *o, double *first, double *each, int *kind)
{
    double pace = o->pace, turns;
    *each = 0.0;
    switch (o->motion) {
    case MGI_WORLD_BOUNCE:
        *each = (double)MGI_WORLD_BOUNCE_PERIOD / pace;
        *first = (1.0 - (double)o->phase) * *each;
        *kind = MGI_WORLD_TOUCHES;
        return true;
    case MGI_WORLD_RISE:
    case MGI_WORLD_FALL:
        *first = mgi_world_motion_end(o);
        *kind = o->motion == MGI_WORLD_RISE ? MGI_WORLD_STOPS : MGI_WORLD_LANDS;
        return *first > 0.0;
    case MGI_WORLD_SPIN:
        *each = (double)MGI_WORLD_SPIN_PERIOD / pace;
        *first = 0.25 * *each;
        *kind = MGI_WORLD_WHIRS;
        return true;
    case MGI_WORLD_ORBIT: /* where it is lowest */
        *each = (double)MGI_WORLD_ORBIT_PERIOD / pace;
        turns = o->turn > 0.0f ? 0.25 - (double)o->phase : (double)o->phase - 0.25;
        *first = (turns - floor(turns)) * *each;
        *kind = MGI_WORLD_WHOOSHES;
        return true;
    default:
        return false;
    }
}

/* What is larger is louder. */
static float loudness_of(const mgi_world_object *o, int kind)
{
    static const float by_size[MGI_WORLD_SIZES] = {0.7f, 0.85f, 1.0f};
    float loudness = by_size[(unsigned)o->size % MGI_WORLD_SIZES];
    return kind == MGI_WORLD_STOPS ? 0.6f * loudness : loudness;
}

static void insert(mgi_world_event *out, int most, int *count, mgi_world_event event)
{
    int at = *count < most ? *count : most;
    while (at > 0 && out[at - 1].seconds > event.seconds) {
        if (at < most)
            out[at] = out[at - 1];
        at--;
    }
    if (at < most)
        out[at] = event;
    ++*count;
}

int mgi_world_sound_events(const mgi_world_scene *s, double from, double to, mgi_world_event *out,
                           int most)
{
    int count = 0;
    for (int i = 0; i < s->count; i++) {
        double first, each;
        int kind;
        if (!rhythm(&s->objects[i], &first, &each, &kind))
            continue;
        double k = each > 0.0 && from > first ? ceil((from - first) / each) : 0.0;
        for (double at = first + k * each; at < to; k += 1.0, at = first + k * each) {
            if (at >= from)
                insert(out, most, &count,
                       (mgi_world_event){.seconds = (float)at,
                                         .loudness = loudness_of(&s->objects[i], kind),
                                         .kind = kind,
                                         .object = i});
            if (each <= 0.0)
                break;
        }
    }
    return count;
}
