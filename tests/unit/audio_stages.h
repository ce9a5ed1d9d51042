/* SPDX-License-Identifier: MIT
 * A stage that trains an audio model, as small as it can be, and the codec that it needs. */
#ifndef TESTS_UNIT_AUDIO_STAGES_H
#define TESTS_UNIT_AUDIO_STAGES_H

#include "data/world_sound.h"
#include "model/audio_codec.h"
#include "tiny_networks.h"
#include "tiny_stages.h"

enum { C = 4, LATENTS = 8, LONG = 12, WIDTH = 5 }; /* of its latents and features */

static const mgi_audio_codec_config audio_stage_codec = {.levels = 2,
                                                         .strides = {40, 48},
                                                         .dim = 4,
                                                         .decoder_dim = 8,
                                                         .latent_channels = C,
                                                         .dilations = 1,
                                                         .dilation = {1},
                                                         .rate = MGI_WORLD_SOUND_RATE};

/* Sounds of 0.32 s and of 0.48 s, and films of them of 6 and 8 frames. */
static inline mgi_stage tiny_audio_stage(int64_t steps, int64_t batch)
{
    mgi_stage s = {
        .name = "sound",
        .kind = MGI_STAGE_AUDIO,
        .steps = steps,
        .batch = batch,
        .accumulate = 1,
        .optimizer = tiny_optimizer,
        .world = tiny_world,
        .codec = "codec",
        .text = {{.name = "audio_text",
                  .config = {.kind = MGI_TEXT_T5_BYTES, .t5 = {TINY_T5, .tokens_max = 48}}}},
        .vision.config = {.image = 12,
                          .patch = 6,
                          .dim = 8,
                          .layers = 1,
                          .heads = 2,
                          .ff_dim = 12,
                          .projection = WIDTH,
                          .activation = 0,
                          .mean = {0.5f, 0.5f, 0.5f},
                          .deviation = {0.25f, 0.25f, 0.25f},
                          .eps = 1e-5f},
        .audio = {.transformer = {.layers = 2,
                                  .dim = 24,
                                  .heads = 2,
                                  .ff_dim = 40,
                                  .channels = C,
                                  .condition = C,
                                  .features = WIDTH,
                                  .patch_t = 1,
                                  .patch_h = 1,
                                  .patch_w = 1,
                                  .frames_max = 16,
                                  .rows_max = 1,
                                  .columns_max = 1,
                                  .text = {24},
                                  .time_dim = 16,
                                  .block = MGI_VT_DIT,
                                  .guidance = 3.0f},
                  .vision = "audio_vision",
                  .window = 12,
                  .overlap = 4,
                  .steps = 8},
        .lengths = 2,
        .length = {{0.32, 16, 3.0}, {0.48, 16, 1.0}},
        .clips = 8,
        .drop = 0.2,
        .drop_film = 0.1,
        .drop_text = 0.1,
        .nothing_heard = 0.5};
    s.optimizer.lr = 0.003;
    return s;
}

static inline void write_stage_codec(mgi_json_writer *w, const void *config)
{
    mgi_audio_codec_config_write(w, config);
}

/* Into a folder, as "codec". */
static inline void save_stage_codec(mgen_context *ctx, const char *dir)
{
    mgi_audio_codec codec;
    assert_int_equal(mgi_audio_codec_init(&codec, ctx, &audio_stage_codec), MGEN_OK);
    assert_int_equal(mgi_module_random(&codec.module, 2), MGEN_OK);
    assert_int_equal(mgi_model_file_save(ctx, dir, "codec", "audio-codec", write_stage_codec,
                                         &audio_stage_codec, &codec.module, MGI_ST_F32),
                     MGEN_OK);
    mgi_audio_codec_finish(&codec);
}

#endif
