/* SPDX-License-Identifier: MIT
 * A personalizer of random weights beside the tiny models, for what needs one but not what it has learnt. */
#ifndef TESTS_API_TINY_PERSONALIZER_H
#define TESTS_API_TINY_PERSONALIZER_H

#include "kernels/pointwise/pointwise.h"
#include "tiny_editor.h"

/* Makes films of up to 64 x 64 pixels in windows of 32 frames; 3 steps, scales 2 and 1.5. */
static const mgi_personalizer_config tiny_personalizer = {.video = {.layers = 1,
                                                                    .dim = 16,
                                                                    .heads = 2,
                                                                    .ff_dim = 32,
                                                                    .channels = 4,
                                                                    .reference = 8,
                                                                    .patch_t = 1,
                                                                    .patch_h = 2,
                                                                    .patch_w = 2,
                                                                    .frames_max = 4,
                                                                    .rows_max = 4,
                                                                    .columns_max = 4,
                                                                    .text = {16},
                                                                    .time_dim = 16,
                                                                    .guidance = 2.0f},
                                                          .vision = "personalizer_vision",
                                                          .source_guidance = 1.5f,
                                                          .steps = 3};

static const mgi_clip_vision_config tiny_vision = {.image = 16,
                                                   .patch = 8,
                                                   .dim = 8,
                                                   .layers = 2,
                                                   .heads = 2,
                                                   .ff_dim = 16,
                                                   .activation = MGK_UNARY_GELU_ERF,
                                                   .mean = {0.5f, 0.5f, 0.5f},
                                                   .deviation = {0.25f, 0.25f, 0.25f},
                                                   .eps = 1e-5f};

SHARED void write_personalizer_config(mgi_json_writer *w, const void *config)
{
    mgi_personalizer_config_write(w, config);
}

/* Saved in the folder of the trained models as "personalizer", which the pipeline names. */
SHARED void save_personalizer(void)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgi_pipeline_file file;
    mgen_context *ctx;
    mgi_vt video;
    mgi_clip_vision vision;
    params.device = "cpu";
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    assert_int_equal(mgi_personalizer_config_check(ctx, &tiny_personalizer), MGEN_OK);
    assert_int_equal(mgi_vt_init(&video, ctx, &tiny_personalizer.video), MGEN_OK);
    assert_int_equal(mgi_vt_random(&video, 4), MGEN_OK);
    randomise(&video.module, 0.1f);
    assert_int_equal(mgi_clip_vision_init(&vision, ctx, &tiny_vision), MGEN_OK);
    assert_int_equal(mgi_module_random(&vision.module, 5), MGEN_OK);
    randomise(&vision.module, 0.1f);
    assert_int_equal(mgi_model_file_save(ctx, dir, "personalizer", MGI_PERSONALIZER_KIND,
                                         write_personalizer_config, &tiny_personalizer,
                                         &video.module, MGI_ST_BF16),
                     MGEN_OK);
    assert_int_equal(mgi_clip_vision_save(&vision, dir, tiny_personalizer.vision, MGI_ST_BF16),
                     MGEN_OK);
    mgi_vt_finish(&video);
    mgi_clip_vision_finish(&vision);
    assert_int_equal(mgi_pipeline_file_read(ctx, dir, "pipeline", &file), MGEN_OK);
    strcpy(file.personalizer, "personalizer");
    assert_int_equal(mgi_pipeline_file_write(ctx, dir, "pipeline", &file), MGEN_OK);
    mgen_context_destroy(ctx);
}

SHARED int setup_personalizer(void **state)
{
    int failed = setup_trained(state);
    if (!failed)
        save_personalizer();
    return failed;
}

/* With an upsampler and an editor, too. */
SHARED int setup_all(void **state)
{
    int failed = setup_upsampler_and_editor(state);
    if (!failed)
        save_personalizer();
    return failed;
}

#endif
