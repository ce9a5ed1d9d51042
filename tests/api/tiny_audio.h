/* SPDX-License-Identifier: MIT
 * A tiny audio model, beside the tiny model of tiny.h or alone: a codec of 25 latents a second, and a transformer that sees films
 * and makes windows of 12 latents, 0.48 s, 4 of which they share. */
#ifndef TESTS_API_TINY_AUDIO_H
#define TESTS_API_TINY_AUDIO_H

#include "tiny.h"

enum { TINY_RATE = 48000 };

#define TINY_AUDIO(seconds, lr, vision, features)                                                  \
    "\"batch\": 2, \"clips\": 4, \"codec\": \"codec\", " vision                                    \
    "\"text\": {\"kind\": \"t5-bytes\", \"config\": {\"vocab\": 259, \"dim\": 16, \"layers\": 1, " \
    "\"heads\": 2,"                                                                                \
    " \"head_dim\": 8, \"ff_dim\": 16, \"tokens_max\": 320}}, \"lengths\": "                       \
    "[{\"seconds\": " seconds "}],"                                                                \
    " \"audio\": {\"window\": 12, \"overlap\": 4, \"steps\": 3, \"transformer\": {\"block\": "     \
    "\"dit\","                                                                                     \
    " \"layers\": 1, \"dim\": 24, \"heads\": 2, \"ff_dim\": 40, \"channels\": 4, "                 \
    "\"condition_channels\": 4, " features                                                         \
    " \"patch\": [1, 1, 1], \"frames_max\": 12, \"rows_max\": 1, \"columns_max\": 1, \"text\": "   \
    "{\"ul2\": 16},"                                                                               \
    " \"guidance\": 3}}, \"optimizer\": {\"lr\": " lr ", \"ema\": 0.5}"

#define TINY_VISION                                                                                \
    "\"vision\": {\"config\": {\"image\": 12, \"patch\": 6, \"dim\": 8, \"layers\": 1, "           \
    "\"heads\": 2,"                                                                                \
    " \"ff_dim\": 12, \"projection\": 5}},"

/* The second one is told by its text alone; the third one is the pipeline's; the last one has 10 latents. */
SHARED const char audio_recipe[] =
    "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": ["
    "{\"name\": \"codec\", \"kind\": \"audio_codec\", \"steps\": 2, \"batch\": 1, \"frames\": 8, "
    "\"l1\": 1,"
    " \"mel\": {\"weight\": 1, \"windows\": [64], \"bands\": 8},"
    " \"codec\": {\"strides\": [40, 48], \"dim\": 4, \"decoder_dim\": 8, \"latent_channels\": 4,"
    " \"dilations\": [1]}, \"optimizer\": {\"lr\": 0.001}},"
    "{\"name\": \"blind\", \"kind\": \"audio\", \"save_as\": \"blind\", \"steps\": 1, " TINY_AUDIO(
        "0.32", "0.05", "",
        "") "},"
            "{\"name\": \"audio\", \"kind\": \"audio\", \"steps\": 2, " TINY_AUDIO(
                "0.32", "0.05", TINY_VISION,
                "\"frame_features\": 5,") "},"
                                          "{\"name\": \"uneven\", \"kind\": \"audio\", \"steps\": "
                                          "1, " TINY_AUDIO("0.4", "0.05", TINY_VISION,
                                                           "\"frame_features\": 5,") "}]}";

/* The recipe's stages, trained into the folder. */
SHARED void train_audio(mgen_context *ctx)
{
    static const char *const stages[] = {"codec", "blind", "audio"};
    char before[sizeof recipe];
    memcpy(before, recipe, sizeof recipe);
    snprintf(recipe, sizeof recipe, "%s/audio_recipe.json", dir);
    FILE *f = fopen(recipe, "w");
    assert_non_null(f);
    fputs(audio_recipe, f);
    assert_int_equal(fclose(f), 0);
    train_tiny(ctx, stages, 3);
    memcpy(recipe, before, sizeof recipe);
}

/* The tiny model with all its parts but an upsampler and an editor. */
SHARED int setup_audio(void **state)
{
    int failed = setup_trained(state);
    if (failed)
        return failed;
    mgen_context *ctx = make_context(2);
    train_audio(ctx);
    mgen_context_destroy(ctx);
    return 0;
}

#endif
