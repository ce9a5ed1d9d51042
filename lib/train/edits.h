/* SPDX-License-Identifier: MIT
 * What an editor learns from, of the report's Movie Gen Edit: a film that is edited, an instruction, its task, and the
 * film that is to come of it. Tier 7.
 *
 * In the toybox's world all of it is drawn, and a function of (seed, element) and of the clips' size and length. Where a
 * dataset's samples are edits (data/dataset_edits.h), of what it has the kind and what is taken of it are such a function. */
#ifndef MGI_TRAIN_EDITS_H
#define MGI_TRAIN_EDITS_H

#include "data/dataset_edits.h"
#include "data/world_edit.h"

/* Where a sample comes from. Images are not animated: of them, the first two are the same. */
enum {
    MGI_EDITS_PAIRS, /* two films that differ in what is edited, by one of the six tasks of the benchmark */
    MGI_EDITS_ANIMATED, /* a frame of each at the same moment, both moved alike (data/animate.h) */
    MGI_EDITS_SEGMENTATION, /* an object is marked; of the world alone */
    MGI_EDITS_TEXT,         /* a black film, and a caption as the instruction */
    MGI_EDITS_BACK, /* an edit undone: of what an editor has made of a film, the film again (train/back.h); of the world alone */
    MGI_EDITS_KINDS
};
enum {
    MGI_EDITS_TEXT_SIZE = MGI_CAPTION_SIZE + 32
}; /* bytes of an instruction, with what stands before it */
extern const char *const mgi_edits_kind_name[MGI_EDITS_KINDS];

typedef struct mgi_edits {
    double share[MGI_EDITS_KINDS]; /* of the samples, to each other; not all 0 */
    bool unsaid[MGI_EDITS_KINDS];  /* nobody asked for that share: it may become 0 */
    bool fps_prefix;       /* instructions of films of the world begin with the frame rate */
    struct mgi_back *back; /* that makes those of MGI_EDITS_BACK; NULL: none have a share */
} mgi_edits;

typedef struct mgi_edits_sample {
    int kind;
    int32_t task; /* MGI_EDIT_* */
    uint64_t seed, element;
    int moment;           /* the frame that is animated */
    mgi_world_edit edit;  /* of a text, the scene before is the film */
    mgi_world_edit forth; /* of MGI_EDITS_BACK: the one that is undone */
    uint64_t index;       /* of a dataset's edits: the sample */
    int64_t first;        /* and the frame of it with which the films begin */
    char text[MGI_EDITS_TEXT_SIZE];
} mgi_edits_sample;

/* Shares that nobody asked for become 0 where the dataset's edits are not of that kind: of a folder whose films do not all have
 * captions, or of a host whose first sample has none, those are no texts. INVALID unless the dataset is drawn or its samples are
 * edits, all of them, of which the kinds that are left can be made. measured: how long its films are is known already. */
mgen_status mgi_edits_fit(mgen_context *ctx, mgi_edits *edits, mgi_dataset *ds, bool measured);

/* Sample `element` of the world `seed` that the dataset is, whose films have `frames` frames. */
void mgi_edits_sample_of(const mgi_edits *edits, const mgi_dataset *ds, uint64_t seed,
                         uint64_t element, int64_t frames, mgi_edits_sample *out);
/* Its films, frames x height x width x 3 RGB8: the one to come and, behind it, the one that is edited, as it is drawn. */
void mgi_edits_draw(const mgi_edits_sample *sample, const mgi_dataset *ds, int64_t frames,
                    uint8_t *out);

/* Element `element` of the walk `seed` through a dataset's edits or, of those held out, number `element`: what is taken of
 * which sample. Task and text come with the films, laid out as drawn ones, by the thread of the call; or, of a folder, alone. */
void mgi_edits_own_of(const mgi_edits *edits, const mgi_dataset *ds, uint64_t seed,
                      uint64_t element, bool held, int64_t frames, mgi_edits_sample *out);
mgen_status mgi_edits_read(mgen_context *ctx, mgi_dataset *ds, int64_t frames,
                           mgi_edits_sample *sample, uint8_t *out);
mgen_status mgi_edits_tell(mgen_context *ctx, const mgi_dataset *ds, mgi_edits_sample *sample);

/* Of all that decides on the films, but for the editor. */
uint64_t mgi_edits_hash(const mgi_edits *edits, uint64_t seed);

#endif
