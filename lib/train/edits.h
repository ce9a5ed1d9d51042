/* SPDX-License-Identifier: MIT
 * What an editor learns from, of the report's Movie Gen Edit: a film that is edited, an instruction, its task, and the
 * film that is to come of it. Tier 7.
 *
 * All of it is drawn in the toybox's world and a function of (seed, element) and of the clips' size and length. */
#ifndef MGI_TRAIN_EDITS_H
#define MGI_TRAIN_EDITS_H

#include "data/dataset.h"
#include "data/world_edit.h"

/* Where a sample comes from. Images are not animated: of them, the first two are the same. */
enum {
    MGI_EDITS_PAIRS, /* two films that differ in what is edited, by one of the six tasks of the benchmark */
    MGI_EDITS_ANIMATED, /* a frame of each at the same moment, both moved alike (data/animate.h) */
    MGI_EDITS_SEGMENTATION, /* an object is marked */
    MGI_EDITS_TEXT,         /* a black film, and a caption as the instruction */
    MGI_EDITS_BACK, /* an edit undone: of what an editor has made of a film, the film again (train/back.h) */
    MGI_EDITS_KINDS
};
extern const char *const mgi_edits_kind_name[MGI_EDITS_KINDS];

typedef struct mgi_edits {
    double share[MGI_EDITS_KINDS]; /* of the samples, to each other; not all 0 */
    bool fps_prefix;               /* instructions of films begin with the frame rate */
    struct mgi_back *back;         /* that makes those of MGI_EDITS_BACK; NULL: none have a share */
} mgi_edits;

typedef struct mgi_edits_sample {
    int kind;
    int32_t task; /* MGI_EDIT_* */
    uint64_t seed, element;
    int moment;           /* the frame that is animated */
    mgi_world_edit edit;  /* of a text, the scene before is the film */
    mgi_world_edit forth; /* of MGI_EDITS_BACK: the one that is undone */
    char text[MGI_CAPTION_SIZE];
} mgi_edits_sample;

/* INVALID unless the dataset is drawn. */
mgen_status mgi_edits_check(mgen_context *ctx, const mgi_dataset *ds);

/* Sample `element` of the world `seed` that the dataset is, whose films have `frames` frames. */
void mgi_edits_sample_of(const mgi_edits *edits, const mgi_dataset *ds, uint64_t seed,
                         uint64_t element, int64_t frames, mgi_edits_sample *out);
/* Its films, frames x height x width x 3 RGB8: the one to come and, behind it, the one that is edited, as it is drawn. */
void mgi_edits_draw(const mgi_edits_sample *sample, const mgi_dataset *ds, int64_t frames,
                    uint8_t *out);

/* Of all that decides on the films, but for the editor. */
uint64_t mgi_edits_hash(const mgi_edits *edits, uint64_t seed);

#endif
