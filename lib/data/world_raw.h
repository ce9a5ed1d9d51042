/* SPDX-License-Identifier: MIT
 * Raw films of the toybox: as films are before they are curated. Tier 6.
 *
 * Scenes of the world, cut together, some with a defect that curation should find. A film is a pure function of (seed,
 * index), a frame one of (film, number); what is wrong with it is known. */
#ifndef MGI_DATA_WORLD_RAW_H
#define MGI_DATA_WORLD_RAW_H

#include "data/world.h"

/* Films come in rounds of one of each kind, in this order. */
enum {
    MGI_RAW_CLEAN,     /* one to three scenes of 2.5 to 4 seconds */
    MGI_RAW_SHORT,     /* of less than 2 seconds */
    MGI_RAW_SMALL,     /* of less than 64 pixels */
    MGI_RAW_PORTRAIT,  /* clean, but higher than wide */
    MGI_RAW_TEXT,      /* a line or two of text over the picture */
    MGI_RAW_LETTERBOX, /* bars above and below */
    MGI_RAW_PILLARBOX, /* bars at the sides */
    MGI_RAW_STILL,     /* one picture all the time */
    MGI_RAW_SLIDES,    /* pictures, one after the other */
    MGI_RAW_FROZEN,    /* stands still for a second */
    MGI_RAW_SLOW,      /* ten times slower than the world */
    MGI_RAW_FAST,      /* swept over */
    MGI_RAW_SHAKE,     /* jumps about from frame to frame */
    MGI_RAW_CUTS,      /* a cut every few frames */
    MGI_RAW_DUPLICATE, /* the round's clean film: brighter, larger, coarsely coded, or cropped */
    MGI_RAW_KINDS,
    /* Beside the rounds (mgi_world_raw_joined): two or three scenes that pass into each other. */
    MGI_RAW_DISSOLVES = MGI_RAW_KINDS, /* mixed for 0.4 to 1.5 seconds */
    MGI_RAW_FADES,                     /* by way of black or, of every fourth film, white */
    /* And (mgi_world_raw_slow): */
    MGI_RAW_WIPES, /* a border travels over the picture for 0.4 to 1.5 seconds, sharp or soft */
    MGI_RAW_SLOWS, /* mixed for 1.6 to 3 seconds */
    MGI_RAW_ALL_KINDS
};
/* What became of a duplicate. */
enum { MGI_RAW_BRIGHTER, MGI_RAW_LARGER, MGI_RAW_CODED, MGI_RAW_CROPPED, MGI_RAW_COPIES };

enum { MGI_RAW_SCENES = 24, MGI_RAW_TEXT_MAX = 12, MGI_RAW_FPS = 16 };

typedef struct mgi_world_raw {
    int kind, width, height, frames;       /* pixels; the rate is MGI_RAW_FPS */
    int scenes, first[MGI_RAW_SCENES + 1]; /* frames at which scenes begin, and the end */
    int join
        [MGI_RAW_SCENES], /* of the frame at which a scene begins to be seen, in the one before */
        joined[MGI_RAW_SCENES]; /* where that one is gone; both 0: it is cut */
    int hold;                   /* frames of one colour within a fade */
    int wipe[MGI_RAW_SCENES];   /* to where the border travels, in eighths of a turn */
    float soft;                 /* its width, as a share of the way */
    mgi_world_scene scene[MGI_RAW_SCENES];
    int view_width, view_height; /* of the scenes as drawn, pixels */
    int copy;                    /* MGI_RAW_BRIGHTER, ... of a duplicate */
    int bar[2];                  /* widths of bars, pixels */
    uint8_t bar_colour[3];
    int freeze, freeze_end; /* frames that are frame `freeze` */
    int sweep;              /* pixels a frame */
    int lines;              /* of text */
    char text[2][MGI_RAW_TEXT_MAX + 1];
    float text_x, text_y, text_scale;
    int text_style;
    uint64_t seed, index;
} mgi_world_raw;

const char *mgi_raw_kind_name(int kind); /* "clean", ... */
/* Film `index` of world `seed`. */
void mgi_world_raw_random(mgi_world_raw *raw, uint64_t seed, uint64_t index);
/* Film `index` of another sequence, of MGI_RAW_DISSOLVES and MGI_RAW_FADES in turn. */
void mgi_world_raw_joined(mgi_world_raw *raw, uint64_t seed, uint64_t index);
/* Likewise of a third one, of MGI_RAW_WIPES and MGI_RAW_SLOWS. */
void mgi_world_raw_slow(mgi_world_raw *raw, uint64_t seed, uint64_t index);
/* How many bytes mgi_world_raw_frame() needs for itself. */
size_t mgi_world_raw_room(const mgi_world_raw *raw);
/* Frame `i`, height x width x 3 RGB8. */
void mgi_world_raw_frame(const mgi_world_raw *raw, int i, uint8_t *room, uint8_t *out);

#endif
