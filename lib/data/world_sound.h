/* SPDX-License-Identifier: MIT
 * What the toybox sounds like: impacts and motions, the place, music. Tier 6.
 *
 * A sample is a pure function of (scene, sound, its number), the same on every machine: any piece of a scene's sound is
 * the same bits as that piece of all of it. Sounds begin with the film and have no end. Nearly all is below 8 kHz.
 *
 * What touches the ground is heard at that moment: the shape is the timbre, the size the pitch, the ground how long it
 * rings. What rolls rumbles in step with its turning, what slides scrapes, what spins whirs and what orbits whooshes once a
 * turn, what rises or falls whistles at a pitch that tells its height. What stands still is silent. The place is
 * heard all the time. Colours, the sign and the camera are not heard. */
#ifndef MGI_DATA_WORLD_SOUND_H
#define MGI_DATA_WORLD_SOUND_H

#include "data/world.h"

enum {
    MGI_WORLD_SOUND_RATE = 48000,       /* samples a second */
    MGI_WORLD_SOUND_CAPTION_MAX = 1024, /* bytes with the NUL */
    MGI_WORLD_SOUND_WORDINGS = 4        /* of a caption; 0 is the plain one */
};

/* Of the music. Tempo, scale, register and timbre go with it. */
enum {
    MGI_WORLD_NO_MUSIC,
    MGI_WORLD_CALM,
    MGI_WORLD_HAPPY,
    MGI_WORLD_SAD,
    MGI_WORLD_TENSE,
    MGI_WORLD_MOODS
};

typedef struct mgi_world_sound {
    int mood;
    float tempo;    /* beats a minute */
    float phase;    /* of the music at time 0: beats that have gone, 0 to 16 */
    int key;        /* semitones up, -3 to 3 */
    float music;    /* the likelihood that captions tell */
    float quality;  /* 5 to 8, in tenths: less of it is hiss and a narrow band */
    float loudness; /* of all, around 1.5 */
    uint64_t seed;  /* of noises, and of when the place's sounds come */
    int wording;    /* of the caption */
} mgi_world_sound;

/* What has a moment: an object that touches the ground as it bounces, lands, stops at the top; the loudest moment of
 * a turn of what spins (whirs) or orbits (whooshes), the softer two. */
enum {
    MGI_WORLD_TOUCHES,
    MGI_WORLD_LANDS,
    MGI_WORLD_STOPS,
    MGI_WORLD_WHIRS,
    MGI_WORLD_WHOOSHES,
    MGI_WORLD_EVENTS
};

typedef struct mgi_world_event {
    float seconds, loudness; /* loudness: 0 to 1 */
    int kind, object;
} mgi_world_event;

/* Sound `index` of world `seed`, for scene `index` of it: music in about a third. */
void mgi_world_sound_random(mgi_world_sound *out, const mgi_world_scene *scene, uint64_t seed,
                            uint64_t index);

/* Those in [from, to) seconds, in order of time; returns how many there are, of which at most `most` are written. */
int mgi_world_sound_events(const mgi_world_scene *scene, double from, double to,
                           mgi_world_event *out, int most);
/* Whether a kind of event is an impact: it begins all at once. */
bool mgi_world_event_sharp(int kind);
/* When what rises or falls comes to rest, seconds; 0 of other motions. */
double mgi_world_motion_end(const mgi_world_object *object);

/* Samples [first, first + count) in -1..1, first >= 0. */
void mgi_world_sound_draw(const mgi_world_scene *scene, const mgi_world_sound *sound, int64_t first,
                          int64_t count, float *out);

/* Tempo's range of a mood, beats a minute. */
void mgi_world_mood_tempo(int mood, float *least, float *most);
/* "calm", ...; "no music". */
const char *mgi_world_mood_name(int mood);

/* The caption in a wording, in the report's form (text/audio_caption.h). */
void mgi_world_sound_caption(const mgi_world_scene *scene, const mgi_world_sound *sound,
                             int wording, char out[MGI_WORLD_SOUND_CAPTION_MAX]);
/* Its two descriptions by themselves, as one asks for a sound; music is "" if there is none. */
void mgi_world_sound_describe(const mgi_world_scene *scene, const mgi_world_sound *sound,
                              int wording, char sounds[MGI_WORLD_CAPTION_MAX],
                              char music[MGI_WORLD_CAPTION_MAX]);

/* What a caption, in any wording, says; -1 = nothing. No word about size means medium. Left and right are not heard: what rolls
 * or slides has the motion ROLL_LEFT. */
typedef struct mgi_world_heard {
    int count; /* objects that are heard */
    struct {
        int shape, size, motion;
    } objects[MGI_WORLD_OBJECTS];
    int background; /* the place */
    int mood;       /* NO_MUSIC if it says that there is none, or nothing of it */
    float tempo;    /* 0 = untold */
    float quality;  /* 0 = untold */
    float music;    /* likelihood */
} mgi_world_heard;
void mgi_world_sound_parse(const char *caption, mgi_world_heard *out);

#endif
