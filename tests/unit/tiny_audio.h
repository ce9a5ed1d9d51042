/* SPDX-License-Identifier: MIT
 * An audio model as small as it can be with all its parts: configurations, and one with random values. */
#ifndef TESTS_UNIT_TINY_AUDIO_H
#define TESTS_UNIT_TINY_AUDIO_H

#include "kernels/pointwise/pointwise.h"
#include "random_values.h"
#include "task/sound.h"
#include "tiny_networks.h"

/* A latent is 6 samples, and 25 of them a second. */
static const mgi_audio_codec_config tiny_codec = {.levels = 2,
                                                  .strides = {2, 3},
                                                  .dim = 4,
                                                  .decoder_dim = 8,
                                                  .latent_channels = 3,
                                                  .dilations = 1,
                                                  .dilation = {1},
                                                  .rate = 150};

static const mgi_clip_vision_config tiny_vision = {.image = 8,
                                                   .patch = 4,
                                                   .dim = 8,
                                                   .layers = 1,
                                                   .heads = 2,
                                                   .ff_dim = 12,
                                                   .projection = 5,
                                                   .activation = MGK_UNARY_QUICK_GELU,
                                                   .mean = {0.5f, 0.4f, 0.3f},
                                                   .deviation = {0.25f, 0.3f, 0.2f},
                                                   .eps = 1e-5f};

static const mgi_text_config tiny_audio_text = {.kind = MGI_TEXT_T5_BYTES,
                                                .t5 = {TINY_T5, .tokens_max = 64}};

/* Windows of 8 latents, 3 of them shared. */
static const mgi_audio_config tiny_audio = {.transformer = {.layers = 2,
                                                            .dim = 24,
                                                            .heads = 2,
                                                            .ff_dim = 40,
                                                            .channels = 3,
                                                            .condition = 3,
                                                            .features = 5,
                                                            .patch_t = 1,
                                                            .patch_h = 1,
                                                            .patch_w = 1,
                                                            .frames_max = 10,
                                                            .rows_max = 1,
                                                            .columns_max = 1,
                                                            .text = {24},
                                                            .time_dim = 16,
                                                            .block = MGI_VT_DIT,
                                                            .guidance = 3.0f},
                                            .codec = "codec",
                                            .text = "audio_text",
                                            .vision = "audio_vision",
                                            .window = 8,
                                            .overlap = 3,
                                            .steps = 4};

static inline void init_audio(mgi_audio *a, mgen_context *ctx)
{
    *a = (mgi_audio){.config = tiny_audio};
    assert_int_equal(mgi_audio_codec_init(&a->codec, ctx, &tiny_codec), MGEN_OK);
    assert_int_equal(mgi_module_random(&a->codec.module, 2), MGEN_OK);
    assert_int_equal(mgi_clip_vision_init(&a->vision, ctx, &tiny_vision), MGEN_OK);
    assert_int_equal(mgi_module_random(&a->vision.module, 3), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&a->text, ctx, ".", &tiny_audio_text, NULL), MGEN_OK);
    assert_int_equal(mgi_module_random(mgi_text_module(&a->text), 4), MGEN_OK);
    assert_int_equal(mgi_vt_init(&a->transformer, ctx, &tiny_audio.transformer), MGEN_OK);
    assert_int_equal(mgi_vt_random(&a->transformer, 1), MGEN_OK);
}

static inline void write_audio_codec(mgi_json_writer *w, const void *config)
{
    mgi_audio_codec_config_write(w, config);
}

static inline void write_audio(mgi_json_writer *w, const void *config)
{
    mgi_audio_config_write(w, config);
}

/* Its files, by the names that the configuration gives; its own is "audio". */
static inline void save_audio(mgi_audio *a, mgen_context *ctx, const char *dir)
{
    const mgi_audio_config *c = &a->config;
    assert_int_equal(mgi_model_file_save(ctx, dir, c->codec, "audio-codec", write_audio_codec,
                                         &a->codec.config, &a->codec.module, MGI_ST_F32),
                     MGEN_OK);
    assert_int_equal(mgi_text_encoder_save(&a->text, dir, c->text, MGI_ST_F32), MGEN_OK);
    assert_int_equal(mgi_clip_vision_save(&a->vision, dir, c->vision, MGI_ST_F32), MGEN_OK);
    assert_int_equal(mgi_model_file_save(ctx, dir, "audio", MGI_AUDIO_KIND, write_audio, c,
                                         &a->transformer.module, MGI_ST_F32),
                     MGEN_OK);
}

/* In the host's memory. */
static inline void make_audio(mgi_audio *a, mgen_context *ctx)
{
    init_audio(a, ctx);
    randomise(&a->transformer.module, 0.1f);
    assert_int_equal(mgi_audio_check(ctx, a), MGEN_OK);
}

/* With the values of one in the host's memory. */
static inline void make_audio_like(mgi_audio *a, mgen_context *ctx, const mgi_audio *as)
{
    init_audio(a, ctx);
    const mgi_module *const from[] = {&as->transformer.module, &as->codec.module,
                                      &as->text.t5.module, &as->vision.module};
    const mgi_module *const to[] = {&a->transformer.module, &a->codec.module, &a->text.t5.module,
                                    &a->vision.module};
    for (int i = 0; i < 4; i++)
        for (int64_t k = 0; k < to[i]->count; k++) {
            const mgi_tensor *values = from[i]->params[k]->value;
            mgi_tensor_write(to[i]->params[k]->value, 0, mgi_f32(values), values->count);
        }
    assert_int_equal(mgi_device_wait(ctx->device), MGEN_OK);
}

#endif
