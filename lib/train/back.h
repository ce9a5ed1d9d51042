/* SPDX-License-Identifier: MIT
 * The report's backtranslation: films that an editor has made of true ones, from which another one learns to make the true
 * ones again. Tier 7. */
#ifndef MGI_TRAIN_BACK_H
#define MGI_TRAIN_BACK_H

#include "task/pipeline.h"
#include "train/edits.h"
#include "train/recipe.h"

typedef struct mgi_back {
    mgi_editor editor;
    mgi_text_encoder text[MGI_ROLES]; /* of its own: a stage's may be shared by ranks */
    mgi_networks networks;            /* NULL everywhere: there is none */
    int64_t steps;                    /* of its requests */
    uint64_t hash;                    /* of all that decides on what it makes, but for the TAE */
    int64_t made, kept;               /* films so far */
} mgi_back;

/* The editor of a stage's `back_from` in a folder, an editor or an adapter of one, with the encoders that its pipeline names, held as the stage's own of
 * their roles; products in the stage's dtype. The TAE must stay. */
mgen_status mgi_back_open(mgen_context *ctx, const char *dir, const mgi_stage *stage,
                          const mgi_pipeline_file *pipeline, const mgi_tae *tae, mgi_back *out);
void mgi_back_finish(mgi_back *back); /* zero is fine */

/* Of a sample of the kind MGI_EDITS_BACK that is drawn: the film that is to be edited becomes the editor's, if that is
 * what its instruction asked for, and stays the true one if not. Outside of a run. */
mgen_status mgi_back_make(mgen_context *ctx, mgi_back *back, const mgi_edits_sample *sample,
                          const mgi_dataset *ds, int64_t frames, uint8_t *both);

/* Whether a film is nearer to what it was to become than to what it was, by the squares of the differences where these two
 * differ, of `count` values. */
bool mgi_back_passes(const uint8_t *made, const uint8_t *wanted, const uint8_t *was, int64_t count);

#endif
