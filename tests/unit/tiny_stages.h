/* SPDX-License-Identifier: MIT
 * The kinds of training stages, as small as they can be: what tests that train begin with and change. */
#ifndef TESTS_UNIT_TINY_STAGES_H
#define TESTS_UNIT_TINY_STAGES_H

#include "kernels/pointwise/pointwise.h"
#include "text/byte_tokenizer.h"
#include "train/recipe.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const mgi_optimizer_recipe tiny_optimizer = {.lr = 0.001,
                                                    .lr_final = 0.1,
                                                    .beta1 = 0.9,
                                                    .beta2 = 0.99,
                                                    .eps = 1e-8,
                                                    .clip = 1.0,
                                                    .ema = 0.9};

/* What they train on: little that is quickly drawn. */
static const mgi_world_options tiny_world = {.width = 48,
                                             .height = 48,
                                             .frames = 16,
                                             .fps = 16,
                                             .objects_max = 1,
                                             .camera = MGI_WORLD_NEVER,
                                             .sign = MGI_WORLD_NEVER,
                                             .sizes = MGI_WORLD_NEVER};

static inline mgi_stage tiny_autoencoder(int64_t steps, int64_t batch)
{
    return (mgi_stage){.name = "tae",
                       .kind = MGI_STAGE_AUTOENCODER,
                       .steps = steps,
                       .batch = batch,
                       .accumulate = 1,
                       .optimizer = tiny_optimizer,
                       .world = tiny_world,
                       .tae = {.levels = 4,
                               .channels = {4, 6, 8, 8},
                               .latent_channels = 4,
                               .blocks = 1,
                               .temporal = true},
                       .frames = 9,
                       .image_every = 2,
                       .image_batch = 2 * batch,
                       .l1 = 1,
                       .mse = 10,
                       .kl = 0.001};
}

/* With discriminators, from the third step on. */
static inline mgi_stage tiny_audio_codec(int64_t steps, int64_t batch)
{
    return (mgi_stage){.name = "codec",
                       .kind = MGI_STAGE_AUDIO_CODEC,
                       .steps = steps,
                       .batch = batch,
                       .accumulate = 1,
                       .optimizer = tiny_optimizer,
                       .world = tiny_world,
                       .sound = {.codec = {.levels = 2,
                                           .strides = {8, 6},
                                           .dim = 4,
                                           .decoder_dim = 16,
                                           .latent_channels = 4,
                                           .dilations = 2,
                                           .dilation = {1, 3},
                                           .hidden = 8,
                                           .rate = 48000},
                                 .mel = 1,
                                 .mel_window = {512, 64},
                                 .mel_windows = 2,
                                 .mel_bands = 320,
                                 .mel_highest = 12000,
                                 .mel_floor = 1e-6,
                                 .features = 1,
                                 .gan_window = {256, 128},
                                 .gan_windows = 2},
                       .frames = 40,
                       .l1 = 1,
                       .kl = 0.001,
                       .gan = 0.1,
                       .gan_start = 2,
                       .gan_channels = 4,
                       .gan_optimizer = tiny_optimizer};
}

static inline mgi_stage tiny_text_to_video(int64_t steps, int64_t batch)
{
    return (mgi_stage){.name = "video",
                       .kind = MGI_STAGE_TEXT_TO_VIDEO,
                       .steps = steps,
                       .batch = batch,
                       .accumulate = 1,
                       .optimizer = tiny_optimizer,
                       .world = tiny_world,
                       .tae_name = "tae",
                       .text = {{.name = "text_encoder",
                                 .config.t5 = {.vocab = MGI_BYTE_VOCAB,
                                               .dim = 24,
                                               .layers = 1,
                                               .heads = 2,
                                               .head_dim = 12,
                                               .ff_dim = 32,
                                               .buckets = 8,
                                               .max_distance = 16,
                                               .tokens_max = 96,
                                               .eps = 1e-6f}}},
                       .video = {.layers = 2,
                                 .dim = 24,
                                 .heads = 2,
                                 .ff_dim = 40,
                                 .channels = 4,
                                 .patch_t = 1,
                                 .patch_h = 2,
                                 .patch_w = 2,
                                 .frames_max = 8,
                                 .rows_max = 8,
                                 .columns_max = 8,
                                 .text = {24},
                                 .time_dim = 16},
                       .clips = 4,
                       .recompute = MGI_RECOMPUTE_SELECTIVE,
                       .drop = 0.2};
}

/* After the two others, whose models it takes. */
static inline mgi_stage tiny_upsampler(int64_t steps, int64_t batch)
{
    mgi_stage stage = tiny_text_to_video(steps, batch);
    strcpy(stage.name, "upsampler");
    stage.kind = MGI_STAGE_UPSAMPLER;
    strcpy(stage.text[0].from, "text_encoder");
    stage.text[0].frozen = true;
    stage.video.condition = stage.video.channels;
    stage.upsampler = (mgi_upsampler_config){.factor = 2, .frames = 4, .overlap = 2, .steps = 3};
    stage.bucket_count = 1;
    stage.bucket[0] = (mgi_bucket){.width = 64, .height = 48, .frames = 4, .weight = 1.0};
    stage.images = -1.0;
    strcpy(stage.artifacts, "tae");
    stage.artifacts_share = 0.5;
    return stage;
}

/* As an upsampler's. Of films and of images, all kinds of edits but those that an editor makes. */
static inline mgi_stage tiny_editor(int64_t steps, int64_t batch)
{
    mgi_stage stage = tiny_text_to_video(steps, batch);
    strcpy(stage.name, "editor");
    stage.kind = MGI_STAGE_EDITOR;
    strcpy(stage.text[0].from, "text_encoder");
    stage.text[0].frozen = true;
    stage.video.condition = stage.video.channels;
    stage.video.tasks = MGI_EDIT_TASKS;
    stage.video.task_dim = 12;
    stage.editor = (mgi_editor_config){.source_guidance = 1.5f, .steps = 3};
    stage.bucket_count = 2;
    stage.bucket[0] = (mgi_bucket){.width = 48, .height = 48, .frames = 16, .weight = 1.0};
    stage.bucket[1] = (mgi_bucket){.width = 48, .height = 48, .frames = 1, .weight = 1.0};
    stage.images = -1.0;
    stage.clips = 8;
    for (int i = 0; i < MGI_EDITS_BACK; i++)
        stage.edits[i] = 1.0;
    stage.drop = stage.drop_source = stage.drop_both = 0.1;
    return stage;
}

/* As an upsampler's, of people. Its image encoder is new, and has 5 tokens. */
static inline mgi_stage tiny_personalizer(int64_t steps, int64_t batch)
{
    mgi_stage stage = tiny_text_to_video(steps, batch);
    strcpy(stage.name, "personalizer");
    stage.kind = MGI_STAGE_PERSONALIZER;
    strcpy(stage.text[0].from, "text_encoder");
    stage.text[0].frozen = true;
    stage.world.people = 1.0f;
    stage.video.reference = 12;
    stage.personalizer = (mgi_personalizer_config){
        .vision = "personalizer_vision", .source_guidance = 1.5f, .steps = 3};
    stage.vision = (mgi_vision_recipe){.lr_scale = 1.0,
                                       .config = {.image = 16,
                                                  .patch = 8,
                                                  .dim = 12,
                                                  .layers = 3,
                                                  .heads = 2,
                                                  .ff_dim = 16,
                                                  .activation = MGK_UNARY_GELU_ERF,
                                                  .mean = {0.5f, 0.5f, 0.5f},
                                                  .deviation = {0.25f, 0.25f, 0.25f},
                                                  .eps = 1e-5f}};
    stage.bucket_count = 2;
    stage.bucket[0] = (mgi_bucket){.width = 48, .height = 48, .frames = 16, .weight = 1.0};
    stage.bucket[1] = (mgi_bucket){.width = 48, .height = 48, .frames = 1, .weight = 1.0};
    stage.images = -1.0;
    stage.clips = 8;
    stage.photos[0] = stage.photos[1] = 1.0;
    stage.drop = stage.drop_source = stage.drop_both = 0.1;
    return stage;
}

/* Both encoders new, of a vocabulary of the tests; all of them learns. */
static inline mgi_stage tiny_clip(int64_t steps, int64_t batch)
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    mgi_stage stage = {.name = "clip",
                       .kind = MGI_STAGE_CLIP,
                       .steps = steps,
                       .batch = batch,
                       .accumulate = 1,
                       .optimizer = tiny_optimizer,
                       .world = tiny_world,
                       .text = {[MGI_ROLE_METACLIP] = {.name = "clip_text",
                                                       .config = {.kind = MGI_TEXT_CLIP_BPE,
                                                                  .files.name = {"clip_vocab.json",
                                                                                 "clip_merges.txt"},
                                                                  .clip = {.vocab = 831,
                                                                           .dim = 16,
                                                                           .layers = 2,
                                                                           .heads = 2,
                                                                           .ff_dim = 24,
                                                                           .tokens_max = 40,
                                                                           .projection = 12,
                                                                           .eps = 1e-5f}}}},
                       .vision.config = {.image = 24,
                                         .patch = 8,
                                         .dim = 16,
                                         .layers = 2,
                                         .heads = 2,
                                         .ff_dim = 24,
                                         .projection = 12,
                                         .activation = MGK_UNARY_GELU_ERF,
                                         .mean = {0.5f, 0.5f, 0.5f},
                                         .deviation = {0.25f, 0.25f, 0.25f},
                                         .eps = 1e-5f},
                       .learn = MGI_LEARN_ALL,
                       .scale = 1.0 / 0.07};
    snprintf(stage.folder, sizeof stage.folder, "%s/tests/unit/text", source ? source : ".");
    return stage;
}

/* A folder of files, and these. */
static inline int remove_all(const char *folder)
{
    DIR *dir = opendir(folder);
    char path[512];
    for (const struct dirent *e; dir && (e = readdir(dir));) {
        snprintf(path, sizeof path, "%.200s/%.256s", folder, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    if (dir)
        closedir(dir);
    return rmdir(folder);
}

#endif
