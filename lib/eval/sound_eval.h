/* SPDX-License-Identifier: MIT
 * What an audio model makes the toybox's films sound like, of which the true sound is known. Tier 7. */
#ifndef MGI_EVAL_SOUND_EVAL_H
#define MGI_EVAL_SOUND_EVAL_H

#include "data/world_sound.h"
#include "eval/evaluate.h"
#include "task/sound.h"

/* Film and sound i of this protocol, laid out for the clip's shape: combinations of objects that are held out. */
void mgi_sound_case(const mgi_clip_shape *clip, uint64_t seed, int64_t i, mgi_world_scene *scene,
                    mgi_world_sound *sound);

/* Of request->n films of the clip's shape, as long as the model's window is, and their captions in the plain wording: what the
 * checker of sounds (sound_check.h) hears in the sounds that the model makes for them, against what is true:
 * onset_precision, onset_recall and onset_error_ms of impacts, place, music, mood, tempo. With "ceiling_" the same of the true
 * sounds through the codec; with "control_" of the sound made for one film, held against the next one; and, of a model
 * that sees films, with "unseen_" of sounds made of the captions alone. Also ceiling_snr: the codec's signal to noise, dB.
 *
 * Sound i has the noise of seed + i. Of the request, drop_text and the guidance interval are not looked at. A clip without a
 * shape is 64 x 64 at MGI_DATASET_FPS. STATE if the model's sounds are not the checker's or scenes cannot have that shape. */
mgen_status mgi_eval_sound(mgen_context *ctx, const mgi_audio *audio, const mgi_clip_shape *clip,
                           const mgi_eval_request *request, mgen_report *report);

#endif
