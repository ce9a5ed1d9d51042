/* SPDX-License-Identifier: MIT
 * What an audio model learns from: latents of the sound of a dataset's clips, encoded once, and their pictures. Tier 7.
 *
 * All clips of one length in time. Features of their frames are kept where the image encoder is frozen; where it learns, it sees
 * the frames anew in each step. With a cache folder latents and features are kept as audio-<key>.safetensors, as train/latents.h
 * keeps those of films. Ranks that share the work send each other what they have encoded. */
#ifndef MGI_TRAIN_AUDIO_CLIPS_H
#define MGI_TRAIN_AUDIO_CLIPS_H

#include "data/dataset.h"
#include "dist/comm.h"
#include "model/clip_vision.h"
#include "task/audio_codec_run.h"
#include "train/recipe.h"

typedef struct mgi_audio_clips {
    mgi_dataset *dataset;
    double fps;
    int64_t latents, samples, frames; /* of a clip; frames 0: none are seen */
    int64_t channels, width;          /* of a latent; of a frame's features */
    int64_t clips, held;              /* to train on and to validate with */
    uint64_t first;                   /* element of the dataset with which the clips begin */
    double share;                     /* of the steps */
    float *values;                    /* clips + held of latents x channels, normalised */
    float *features;                  /* the same of frames x width, or NULL */
    char (*captions)
        [MGI_CAPTION_SIZE]; /* of what only reading tells (data/dataset_sound.h); else NULL */
} mgi_audio_clips;

typedef struct mgi_audio_clips_request {
    const mgi_audio_codec *codec;
    const mgi_clip_vision *vision; /* that is frozen; NULL: no features are kept */
    uint64_t codec_hash, vision_hash;
    uint64_t seed; /* of the order of the data */
    const char *cache_dir;
    mgi_comm *ranks; /* NULL: one */
} mgi_audio_clips_request;

/* Clip i's place among the dataset's samples; of one that is held out, which of these it is. */
uint64_t mgi_audio_clip_index(const mgi_audio_clips *c, uint64_t seed, int64_t i);
/* What is seen of it in the length's time: frames x height x width x 3, RGB8. */
mgen_status mgi_audio_clip_frames(mgen_context *ctx, const mgi_audio_clips *c, uint64_t seed,
                                  int64_t i, uint8_t *pixels);
/* In a wording that `pick` says; of clips that are made, where only reading tells it. */
void mgi_audio_clip_caption(const mgi_audio_clips *c, uint64_t seed, int64_t i, uint32_t pick,
                            char caption[MGI_CAPTION_SIZE]);

/* Fills in values, features and captions; the other members are there. CANCELLED by the context's progress callback; what reading
 * the data answers. Collective. */
mgen_status mgi_audio_clips_make(mgen_context *ctx, const mgi_audio_clips_request *request,
                                 mgi_audio_clips *clips);
void mgi_audio_clips_free(mgen_context *ctx, mgi_audio_clips *clips);

#endif
