/* SPDX-License-Identifier: MIT
 * How the sound of a scene of the world is told, and what a text says of one. */
#include "data/world_sound.h"

#include "text/audio_caption.h"
#include "text/say.h"

#include <stdio.h>
#include <string.h>

enum { DENSE = 3 }; /* the wording in sentences */

/* The place, as a clause. Each has a word that no other text has: see `place_words`. */
static const char *const places[MGI_WORLD_BACKGROUNDS] = {"crickets chirp in a light breeze",
                                                          "a soft wind blows",
                                                          "waves of surf wash ashore",
                                                          "drips echo",
                                                          "boards creak",
                                                          "a deep hum sounds"};
static const char *const place_words[MGI_WORLD_BACKGROUNDS] = {"crickets", "wind",  "surf",
                                                               "drips",    "creak", "hum"};

typedef struct verb {
    const char *says, *noun; /* "a ball bounces", "the bouncing of a ball" */
    int motion;
} verb;
enum { VERBS = 7 };
static const verb verbs[VERBS] = {
    {"bounces", "bouncing", MGI_WORLD_BOUNCE},  {"rolls", "rolling", MGI_WORLD_ROLL_LEFT},
    {"slides", "sliding", MGI_WORLD_ROLL_LEFT}, {"rises", "rising", MGI_WORLD_RISE},
    {"falls", "falling", MGI_WORLD_FALL},       {"whooshes", "whooshing", MGI_WORLD_ORBIT},
    {"whirs", "whirring", MGI_WORLD_SPIN}};

/* NULL: it is not heard. */
static const verb *verb_of(const mgi_world_object *o)
{
    bool round = o->shape == MGI_WORLD_BALL || o->shape == MGI_WORLD_RING;
    int motion = o->motion == MGI_WORLD_ROLL_RIGHT ? MGI_WORLD_ROLL_LEFT : o->motion;
    if (motion == MGI_WORLD_ROLL_LEFT)
        return &verbs[round ? 1 : 2];
    for (int i = 0; i < VERBS; i++)
        if (verbs[i].motion == motion)
            return &verbs[i];
    return NULL;
}

/* ---- telling ------------------------------------------------------------------------------------ */

static void say_object(mgi_saying *t, const mgi_world_object *o, const char *article)
{
    mgi_say(t, article);
    if (o->size != MGI_WORLD_MEDIUM) {
        mgi_say(t, mgi_world_size_name(o->size));
        mgi_say(t, " ");
    }
    mgi_say(t, mgi_world_shape_name(o->shape));
}

static void say_ground(mgi_saying *t, const mgi_world_scene *s)
{
    mgi_say(t, s->background == MGI_WORLD_MOON ? "the moon"
                                               : mgi_world_background_name(s->background));
}

/* "a small ball bounces, a cube slides and a ring whirs", or "the bouncing of a small ball, ..."; how many. */
static int say_objects(mgi_saying *t, const mgi_world_scene *s, bool nouns)
{
    const mgi_world_object *loud[MGI_WORLD_OBJECTS];
    int n = 0;
    for (int i = 0; i < s->count; i++)
        if (verb_of(&s->objects[i]))
            loud[n++] = &s->objects[i];
    for (int i = 0; i < n; i++) {
        const verb *v = verb_of(loud[i]);
        mgi_say(t, i == 0 ? "" : i < n - 1 ? ", " : " and ");
        if (nouns) {
            mgi_say(t, "the ");
            mgi_say(t, v->noun);
            mgi_say(t, " of ");
        }
        say_object(t, loud[i], "a ");
        if (!nouns) {
            mgi_say(t, " ");
            mgi_say(t, v->says);
        }
    }
    return n;
}

static void say_dense(mgi_saying *t, const mgi_world_scene *s)
{
    mgi_say(t, "The sound of ");
    say_ground(t, s);
    mgi_say(t, ": ");
    mgi_say(t, places[s->background]);
    mgi_say(t, ".");
    for (int i = 0; i < s->count; i++) {
        const verb *v = verb_of(&s->objects[i]);
        if (!v)
            continue;
        mgi_say(t, " ");
        say_object(t, &s->objects[i], "A ");
        mgi_say(t, " ");
        mgi_say(t, v->says);
        mgi_say(t, ".");
    }
}

static void say_sounds(mgi_saying *t, const mgi_world_scene *s, int wording)
{
    if (wording == DENSE) {
        say_dense(t, s);
        return;
    }
    if (wording == 1) { /* the place first */
        mgi_say(t, places[s->background]);
        mgi_say(t, " on ");
        say_ground(t, s);
        size_t before = t->used;
        mgi_say(t, " while ");
        if (say_objects(t, s, false) == 0)
            t->out[t->used = before] = '\0';
        return;
    }
    bool any = say_objects(t, s, wording == 2) > 0;
    if (any) {
        mgi_say(t, " on ");
        say_ground(t, s);
        mgi_say(t, "; ");
    }
    mgi_say(t, places[s->background]);
    if (!any) {
        mgi_say(t, " on ");
        say_ground(t, s);
    }
}

static void say_music(mgi_saying *t, const mgi_world_sound *sound, int wording)
{
    static const char *const looks[MGI_WORLD_MOODS] = {
        "", "calm, slow music of soft notes", "happy, fast music in a major key",
        "sad, slow music in a minor key", "tense, fast music of low pulses"};
    char tempo[64];
    if (sound->mood == MGI_WORLD_NO_MUSIC)
        return;
    snprintf(tempo, sizeof tempo, " at %d beats a minute", (int)(sound->tempo + 0.5f));
    if (wording == 1) {
        mgi_say(t, looks[sound->mood]);
    } else {
        mgi_say(t, wording == DENSE ? looks[sound->mood] : mgi_world_mood_name(sound->mood));
        mgi_say(t, wording == DENSE ? "" : " music");
        mgi_say(t, wording == 2 ? "" : tempo);
    }
}

void mgi_world_sound_describe(const mgi_world_scene *scene, const mgi_world_sound *sound,
                              int wording, char sounds[MGI_WORLD_CAPTION_MAX],
                              char music[MGI_WORLD_CAPTION_MAX])
{
    mgi_saying a = {sounds, 0, MGI_WORLD_CAPTION_MAX}, b = {music, 0, MGI_WORLD_CAPTION_MAX};
    sounds[0] = music[0] = '\0';
    wording = (int)((unsigned)wording % MGI_WORLD_SOUND_WORDINGS);
    say_sounds(&a, scene, wording);
    say_music(&b, sound, wording);
}

void mgi_world_sound_caption(const mgi_world_scene *scene, const mgi_world_sound *sound,
                             int wording, char out[MGI_WORLD_SOUND_CAPTION_MAX])
{
    char sounds[MGI_WORLD_CAPTION_MAX], music[MGI_WORLD_CAPTION_MAX];
    mgi_world_sound_describe(scene, sound, wording, sounds, music);
    const mgi_audio_words words = {.quality = sound->quality,
                                   .description = sounds,
                                   .music = sound->music,
                                   .music_description = music};
    mgi_audio_caption(&words, out, MGI_WORLD_SOUND_CAPTION_MAX);
}

/* ---- understanding ------------------------------------------------------------------------------ */

static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_word(const char *p, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++) {
        char c = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] - 'A' + 'a') : p[i];
        if (!word[i] || c != word[i])
            return false;
    }
    return !word[n];
}

/* Of positive numbers as captions have them: "76", "0.90". */
static float number_at(const char *p)
{
    float value = 0.0f, place = 1.0f;
    for (; *p >= '0' && *p <= '9' && value < 1e6f; p++)
        value = 10.0f * value + (float)(*p - '0');
    if (*p == '.')
        for (p++; *p >= '0' && *p <= '9' && place < 1e6f; p++)
            value += (float)(*p - '0') / (place *= 10.0f);
    return value;
}

static float number_after(const char *caption, const char *phrase)
{
    const char *at = strstr(caption, phrase);
    return at ? number_at(at + strlen(phrase)) : 0.0f;
}

/* The i-th motion is the i-th object's, before or behind its shape; a size stands before its object's shape. */
typedef struct reader {
    mgi_world_heard *heard;
    int motions, size;
} reader;

static void read_word(reader *r, const char *p, size_t n)
{
    mgi_world_heard *h = r->heard;
    for (int i = 0; i < MGI_WORLD_SIZES; i++)
        if (is_word(p, n, mgi_world_size_name(i)))
            r->size = i;
    for (int i = 0; i < MGI_WORLD_SHAPES && h->count < MGI_WORLD_OBJECTS; i++)
        if (is_word(p, n, mgi_world_shape_name(i))) {
            h->objects[h->count].shape = i;
            h->objects[h->count++].size = r->size;
            r->size = MGI_WORLD_MEDIUM;
        }
    for (int i = 0; i < VERBS && r->motions < MGI_WORLD_OBJECTS; i++)
        if (is_word(p, n, verbs[i].says) || is_word(p, n, verbs[i].noun))
            h->objects[r->motions++].motion = verbs[i].motion;
    for (int i = 0; i < MGI_WORLD_BACKGROUNDS; i++)
        if (is_word(p, n, mgi_world_background_name(i)) || is_word(p, n, place_words[i]))
            h->background = i;
    for (int i = 1; i < MGI_WORLD_MOODS; i++)
        if (is_word(p, n, mgi_world_mood_name(i)))
            h->mood = i;
}

void mgi_world_sound_parse(const char *caption, mgi_world_heard *out)
{
    reader r = {.heard = out, .size = MGI_WORLD_MEDIUM};
    *out = (mgi_world_heard){.background = -1};
    for (int i = 0; i < MGI_WORLD_OBJECTS; i++) {
        out->objects[i].shape = out->objects[i].motion = -1;
        out->objects[i].size = MGI_WORLD_MEDIUM;
    }
    for (const char *p = caption; *p;) {
        size_t n = 0;
        while (in_word(p[n]))
            n++;
        if (n > 0)
            read_word(&r, p, n);
        if (n > 0 && strncmp(p + n, " beats", 6) == 0)
            out->tempo = number_at(p);
        p += n > 0 ? n : 1;
    }
    out->quality = number_after(caption, "quality: ");
    out->music = number_after(caption, "music with a ");
}
