/* SPDX-License-Identifier: MIT
 * How well a personalizer makes films of people of the toybox whom it never saw, each from one photo. Tier 7. */
#ifndef MGI_EVAL_PERSONALIZE_EVAL_H
#define MGI_EVAL_PERSONALIZE_EVAL_H

#include "eval/evaluate.h"
#include "eval/person_check.h"

/* Film i of this protocol, of the clip's shape: of a person whom no training film shows, in a combination of shirt, motion
 * and background that none has; the camera rests, so that all that moves is the person. Its photo is drawn by *photo. */
void mgi_personalize_case(const mgi_clip_shape *clip, uint64_t seed, int64_t i,
                          mgi_world_scene *scene, uint64_t *photo);

/* What is told of a film, each 0..1; the first of them go by the person. */
enum {
    MGI_PERSONALIZE_IDENTITY,
    MGI_PERSONALIZE_BEST,
    MGI_PERSONALIZE_WORST,
    MGI_PERSONALIZE_SIMILARITY,
    MGI_PERSONALIZE_CONSISTENCY, /* here begins what does not */
    MGI_PERSONALIZE_EXPRESSION,
    MGI_PERSONALIZE_SHIRT,
    MGI_PERSONALIZE_MOTION,
    MGI_PERSONALIZE_BACKGROUND,
    MGI_PERSONALIZE_FIGURES
};
/* Of what was seen, if the film should show `asked`; the gallery that its person is sought in is drawn by `gallery`. */
void mgi_personalize_judge(const mgi_person_seen *seen, const mgi_world_scene *asked,
                           uint64_t gallery, float out[MGI_PERSONALIZE_FIGURES]);

/* Of request->n films of the clip that the networks have, made from a photo with another expression, view and light than the
 * prompt asks for, as the checker (person_check.h) reads them, means over all: identity, whether the person of the photo is
 * the first among 256, by the whole film; identity_best and identity_worst, by the frame that is nearest to that person and
 * the one that is furthest; similarity, the share of attributes that are that person's; consistency, the share of frames in which
 * all attributes are those of the whole film; expression, shirt, motion and background, whether they are what the prompt asks for.
 * A film without a person has nothing right but, perhaps, the background.
 *
 * The same with "ceiling_" for true films through the TAE; with "unseen_" for films made of the same noise and prompt without
 * a photo; and, as far as it goes by the person, with "control_" for the films made from photos, against the person of the
 * next one.
 *
 * Film i has the noise of seed + i. STATE if the checker cannot read clips of that shape. */
mgen_status mgi_eval_personalize(mgen_context *ctx, const mgi_networks *personalizer,
                                 const mgi_eval_request *request, mgen_report *report);

#endif
