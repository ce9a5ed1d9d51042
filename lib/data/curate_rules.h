/* SPDX-License-Identifier: MIT
 * What a clip must be to be trained on: the thresholds of curation. Tier 6.
 *
 * Two sets of them are built in: the report's (6.2, table 38), for films of 768 pixels and more, and the toybox's, whose
 * films are small and short and move little. A file of rules names one of them as its "base" and changes what it
 * names. */
#ifndef MGI_DATA_CURATE_RULES_H
#define MGI_DATA_CURATE_RULES_H

#include "io/json.h"

/* What becomes of the volume of a cluster of like clips: each counts by its weight, or some go. */
enum { MGI_RESAMPLE_WEIGHT, MGI_RESAMPLE_DROP, MGI_RESAMPLE_NONE };

/* Each number has the name of its field in the file. */
typedef struct mgi_curate_rules {
    double duration_min, duration_max; /* of a film, seconds */
    double width_min, height_min;      /* pixels */
    double portrait_max;       /* share of films that are higher than wide; 0: none, 1: any */
    double text_max;           /* share of a frame that lines of text cover */
    double border_max;         /* share of a side that a border takes */
    double clip_min, clip_max; /* seconds; of a scene the first clip_max are taken */
    double skip;               /* seconds that the first clip of a film begins late */
    double cut_difference;     /* grey levels that frames of two scenes differ by, at least */
    double cut_share;          /* share of blocks that the frame before does not explain */
    double cut_sudden;    /* or half as many, if so many times as many as in the frames before */
    double join_ratio;    /* of joins: share of blocks that are new to share off the way; 0: none */
    double aesthetic_min; /* of the scores that stand beside films */
    double still_difference;       /* grey levels below which a frame is the one before */
    double still_max;              /* share of such frames */
    double still_seconds_max;      /* that a clip may stand still at a stretch */
    double motion_min;             /* mean difference of blurred frames, grey levels */
    double vector_min, vector_max; /* mean motion a frame, pixels of a frame 256 wide (or high) */
    double shots_max;              /* of a film, a second */
    double shake_max;              /* mean change of the whole frame's motion, as vectors */
    double duplicate_min;          /* cosine from which on two clips are the same */
    double duplicate_pairs;        /* clips up to which all pairs are compared */
    double clusters;               /* 0: as many as the root of half the clips */
    double weight_max;             /* of a clip: how often it comes */
    double seed;                   /* of all that is drawn by lot */
    int64_t resample;              /* MGI_RESAMPLE_* */
} mgi_curate_rules;

void mgi_curate_rules_report(mgi_curate_rules *rules);
void mgi_curate_rules_toybox(mgi_curate_rules *rules);

/* {"base": "report" or "toybox", "resample": "weight", "drop" or "none", and numbers by name}, each optional. CORRUPT
 * names what is wrong. `what` names the source in messages. */
mgen_status mgi_curate_rules_read(mgen_context *ctx, const char *what, const char *text,
                                  size_t size, mgi_curate_rules *out);
/* Of a file; NULL or "report", "toybox": those that are built in. */
mgen_status mgi_curate_rules_open(mgen_context *ctx, const char *path, mgi_curate_rules *out);

#endif
