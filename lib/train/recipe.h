/* SPDX-License-Identifier: MIT
 * A recipe: the stages by which models are trained, as JSON. Tier 7. */
#ifndef MGI_TRAIN_RECIPE_H
#define MGI_TRAIN_RECIPE_H

#include "model/tae.h"
#include "data/degrade_options.h"
#include "data/world_options.h"
#include "model/audio.h"
#include "model/audio_codec.h"
#include "model/clip_vision.h"
#include "model/editor.h"
#include "model/personalizer.h"
#include "model/rewriter.h"
#include "model/sound_discriminator.h"
#include "model/text_encoder.h"
#include "model/upsampler.h"
#include "train/average.h"
#include "train/edits.h"

enum {
    MGI_STAGE_AUTOENCODER,
    MGI_STAGE_TEXT_TO_VIDEO,
    MGI_STAGE_AVERAGE,
    MGI_STAGE_UPSAMPLER,
    MGI_STAGE_EDITOR,
    MGI_STAGE_AUDIO_CODEC,
    MGI_STAGE_AUDIO,
    MGI_STAGE_PERSONALIZER,
    MGI_STAGE_REWRITER,
    MGI_STAGE_CLIP,
    MGI_STAGE_KINDS
};
extern const char *const mgi_stage_kind_name[MGI_STAGE_KINDS];
const char *mgi_stage_kind_article(int32_t kind); /* before its name: "a" or "an" */

/* What a CLIP stage trains: of the text encoder the positions and all biases; all of it; and the image encoder. */
enum { MGI_LEARN_POSITIONS_AND_BIASES, MGI_LEARN_TEXT, MGI_LEARN_ALL };

/* What follows the warm-up: a flat part and a cosine to the end; the peak; the peak, halved whenever the
 * validation has not become better `patience` times in a row; a straight line to the end. */
enum { MGI_LR_COSINE, MGI_LR_CONSTANT, MGI_LR_PLATEAU, MGI_LR_LINEAR };

/* AdamW. */
typedef struct mgi_optimizer_recipe {
    double lr, lr_final; /* peak; last (plateau: least), as a share of the peak */
    int64_t warmup;      /* steps */
    int32_t schedule;    /* MGI_LR_* */
    int64_t patience;    /* validations */
    double cosine_from;  /* share of all steps after which the cosine begins */
    double beta1, beta2, eps, weight_decay, clip, skip_factor, ema;
} mgi_optimizer_recipe;

/* A kind of clips. */
typedef struct mgi_bucket {
    int64_t width, height, frames; /* pixels; 1 frame: images */
    int64_t fps;                   /* 0: as the dataset has it */
    int64_t batch;                 /* 0: the stage's */
    double weight;                 /* in the choice of a step's bucket */
    int32_t
        edits; /* of an editor: 1 + the kind that its samples are of; 0: as the stage's shares say */
} mgi_bucket;
#define MGI_BUCKETS_MAX 32

enum { MGI_PREFER_FILMS_MAX = 64 };

/* A stage that learns preferences: from scores of the films of a folder, or of films that the model it starts from has made. */
typedef struct mgi_prefer_recipe {
    bool on;
    double strength; /* how far a preferred film leads away from that model; 1: to the film */
    int64_t prompts, films; /* to be made: films of each prompt */
    int64_t steps;          /* of their requests */
    double guidance_to;
} mgi_prefer_recipe;

/* A stage that trains an adapter (model/adapter.h) in the place of a model. */
typedef struct mgi_adapter_recipe {
    int64_t rank; /* 0: there is none */
    double alpha;
} mgi_adapter_recipe;

/* One text encoder. */
typedef struct mgi_text_recipe {
    char name[64]; /* of the model that it becomes; "": there is none */
    char from[64]; /* a model of the same folder to start from; "" = random, by the configuration */
    bool frozen;   /* as it is in `from`, which is its name too */
    int32_t hold;  /* of a frozen one: MGI_HOLD_F32, which runs in the stage's dtype, or BF16 */
    mgi_text_config config;
} mgi_text_recipe;

enum { MGI_SOUND_WINDOWS_MAX = 8, MGI_MEL_WINDOW = 2048 };

/* What an audio codec's stage has beside an autoencoder's. */
typedef struct mgi_audio_codec_recipe {
    mgi_audio_codec_config codec;
    double mel,
        mel_squares; /* weights of differences and of their squares; mel 0: there is neither */
    int64_t mel_window[MGI_SOUND_WINDOWS_MAX]; /* samples */
    int mel_windows;
    int64_t mel_bands; /* of a window of MGI_MEL_WINDOW samples; of others in proportion */
    double mel_highest, mel_floor; /* Hz; power that counts as 1 */
    double features;               /* weight of what the discriminators see, beside `gan` */
    int64_t gan_window[MGI_SOUND_SCALES_MAX];
    int gan_windows;
} mgi_audio_codec_recipe;

/* The image encoder of an audio model or of a personalizer. */
typedef struct mgi_vision_recipe {
    char from[64];   /* a model of the same folder; "" = random, by the configuration */
    bool frozen;     /* as it is in `from` */
    int32_t hold;    /* as a text encoder's */
    double lr_scale; /* factor on the learning rate; a personalizer's */
    mgi_clip_vision_config config;
} mgi_vision_recipe;

/* A length of sounds. */
typedef struct mgi_audio_length {
    double seconds;
    int64_t fps;   /* of the films that they are of */
    double weight; /* in the choice of a step's length */
} mgi_audio_length;
#define MGI_AUDIO_LENGTHS_MAX 8

/* The GPUs that a stage is meant for, and how many of them share a sample: what the planner takes unless it is told. Training
 * heeds none of it. */
typedef struct mgi_plan_recipe {
    int64_t gpus, cp, tp; /* gpus 0: nothing is said */
} mgi_plan_recipe;

typedef struct mgi_stage {
    char name[64];
    int32_t kind;                         /* MGI_STAGE_* */
    int64_t steps, batch, validate_every; /* validate_every 0 = never */
    int64_t validate_clips; /* held out, of all buckets or lengths; 0: as many as its kind takes */
    int64_t accumulate;     /* passes whose gradients make one update, each of a batch of its own */
    int32_t dtype; /* of products and activations: "precision", "f32" or "bf16"; weights are f32 */
    int32_t fp8;   /* "store": 1 = its transformer is saved as "fp8", 0 = in "bf16" */
    mgi_optimizer_recipe optimizer;
    mgi_plan_recipe plan;    /* of a transformer */
    mgi_world_options world; /* what is trained on where no dataset is given */
    /* A model of the same folder to start from (or, of an autoencoder, to inflate); "" = random. */
    char start_from[64];
    char save_as[64]; /* what its models' names begin with, for later stages; "" = nothing */
    /* autoencoder */
    mgi_tae_config tae;
    bool freeze_encoder; /* and with it what latents mean: only the decoder learns */
    int64_t frames, image_every, image_batch;   /* every n-th step takes single frames; 0 = never */
    double l1, mse, kl, opl, opl_r, perceptual; /* weights; opl_r: standard deviations */
    char perceptual_file[64];                   /* in the models' folder; "" = random features */
    double gan;                                 /* the discriminator's weight; 0: there is none */
    int64_t gan_start, gan_channels;            /* step from which on; of its first layer */
    mgi_optimizer_recipe gan_optimizer;
    /* audio codec: `frames` are the latents of a piece; l1, mse, kl, freeze_encoder and gan are above */
    mgi_audio_codec_recipe sound;
    /* text to video, upsampler, editor, personalizer */
    char tae_name[64];
    mgi_text_recipe text[MGI_ROLES];
    char folder[MGI_PATH_MAX + 1]; /* of the recipe, and its tokenizers; "" = of the models */
    mgi_vt_config video;
    int64_t clips;                      /* encoded once, before the first step, in all buckets */
    int64_t bucket_count;               /* 0: one, of the dataset's samples */
    mgi_bucket bucket[MGI_BUCKETS_MAX]; /* the first is the clip that the pipeline makes */
    double images;     /* share of the steps that take images; below 0: as the weights say */
    int32_t recompute; /* MGI_RECOMPUTE_* of the video model: "none", "selective" or "full" */
    double drop;       /* share of captions replaced by nothing */
    double time_mean,
        time_deviation;       /* t = sigmoid(normal of these), of audio, too; deviation 0: 1 */
    mgi_prefer_recipe prefer; /* of text to video, as is: */
    mgi_adapter_recipe adapter;
    /* upsampler: its autoencoder is tae_name's, its transformer `video`; clips have the size that it makes */
    mgi_upsampler_config upsampler;
    char artifacts[64];     /* the autoencoder through which small clips went; "" = none */
    double artifacts_share; /* of the clips; the others are degraded */
    mgi_degrade_options degrade;
    /* editor: its transformer is `video`, too */
    mgi_editor_config editor;
    double edits[MGI_EDITS_KINDS];      /* shares of the clips, to each other */
    bool edits_unsaid[MGI_EDITS_KINDS]; /* the recipe leaves them to what the data can give */
    char back_from[64];                 /* the editor of MGI_EDITS_BACK; "" = none */
    int64_t back_steps;                 /* that it takes for a film */
    double drop_source,
        drop_both; /* shares of the clips: the source alone becomes black; and the text nothing */
    /* personalizer: its transformer is `video`, its image encoder `vision`; of the shares above, the photo's */
    mgi_personalizer_config personalizer;
    double photos
        [2]; /* shares of what is shown, to each other: a frame of the film; another picture of the person */
    /* audio: its text encoder is the first of `text` */
    char codec[64]; /* the model of its codec */
    mgi_audio_config audio;
    mgi_vision_recipe vision;
    int64_t lengths;
    mgi_audio_length length[MGI_AUDIO_LENGTHS_MAX];
    double drop_film,
        drop_text;        /* shares of the clips without them, beside `drop`, without anything */
    double nothing_heard; /* share of those that hear nothing of what is there */
    /* rewriter */
    mgi_rewriter_config rewriter;
    bool has_rewriter; /* it is said; else, with start_from, as that has it */
    char pairs[64];    /* a file of pairs in `folder`; "" = the toybox's */
    double captions;   /* share of the toybox's prompts that are captions already */
    /* clip: its text encoder is that of the role MetaCLIP, its image encoder `vision` */
    int32_t learn;      /* MGI_LEARN_* */
    int64_t tokens_max; /* positions that the text encoder gets; 0: as many as it has */
    double
        scale; /* by which similarities are multiplied at first; 0: as `text` says, else CLIP's */
    /* average */
    char average[MGI_AVERAGE_MAX][64]; /* what the models were saved as */
    double average_weight[MGI_AVERAGE_MAX];
    int64_t average_count;
} mgi_stage;

/* How a stage's transformer is saved. */
static inline mgi_st_dtype mgi_stage_store(const mgi_stage *s)
{
    return s->fp8 ? MGI_ST_F8 : MGI_ST_BF16;
}

/* Under which name a stage saves a model or finds that of an earlier one: `part`, or "<set>_<part>". */
void mgi_model_name(char out[MGI_NAME_MAX + 1], const char *set, const char *part);

mgen_status mgi_recipe_stage(mgen_context *ctx, const char *path, const char *name, mgi_stage *out);
/* The names of all stages, in order. */
enum { MGI_RECIPE_STAGES_MAX = 64 };
mgen_status mgi_recipe_names(mgen_context *ctx, const char *path,
                             char names[MGI_RECIPE_STAGES_MAX][64], int64_t *count);

/* Of a stage of text to video: CORRUPT if its video model sees what the stage has not, or learns otherwise than it says. */
mgen_status mgi_recipe_video_ok(mgen_context *ctx, const mgi_stage *s);

#endif
