/* SPDX-License-Identifier: MIT
 * An editor of random weights beside the tiny models, for what needs one but not what it has learnt. */
#ifndef TESTS_API_TINY_EDITOR_H
#define TESTS_API_TINY_EDITOR_H

#include "../unit/random_values.h"
#include "task/pipeline.h"
#include "tiny.h"

/* Sees films of up to 64 x 64 pixels in windows of 32 frames; 3 steps, scales 2 and 1.5. */
static const mgi_editor_config tiny_editor = {.video = {.layers = 1,
                                                        .dim = 16,
                                                        .heads = 2,
                                                        .ff_dim = 32,
                                                        .channels = 4,
                                                        .condition = 4,
                                                        .tasks = MGI_EDIT_TASKS,
                                                        .task_dim = 8,
                                                        .patch_t = 1,
                                                        .patch_h = 2,
                                                        .patch_w = 2,
                                                        .frames_max = 4,
                                                        .rows_max = 4,
                                                        .columns_max = 4,
                                                        .text = {16},
                                                        .time_dim = 16,
                                                        .guidance = 2.0f},
                                              .source_guidance = 1.5f,
                                              .steps = 3};

SHARED void write_editor_config(mgi_json_writer *w, const void *config)
{
    mgi_editor_config_write(w, config);
}

/* Saved in the folder of the trained models. */
SHARED void save_editor_as(const char *name, const mgi_editor_config *config)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    mgi_vt video;
    params.device = "cpu";
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    assert_int_equal(mgi_editor_config_check(ctx, config), MGEN_OK);
    assert_int_equal(mgi_vt_init(&video, ctx, &config->video), MGEN_OK);
    assert_int_equal(mgi_vt_random(&video, 3), MGEN_OK);
    randomise(&video.module, 0.1f);
    assert_int_equal(mgi_model_file_save(ctx, dir, name, MGI_EDITOR_KIND, write_editor_config,
                                         config, &video.module, MGI_ST_BF16),
                     MGEN_OK);
    mgi_vt_finish(&video);
    mgen_context_destroy(ctx);
}

/* As "editor", which the pipeline names. */
SHARED void save_editor(void)
{
    mgi_pipeline_file file;
    mgen_context *ctx = make_context(1);
    save_editor_as("editor", &tiny_editor);
    assert_int_equal(mgi_pipeline_file_read(ctx, dir, "pipeline", &file), MGEN_OK);
    strcpy(file.editor, "editor");
    assert_int_equal(mgi_pipeline_file_write(ctx, dir, "pipeline", &file), MGEN_OK);
    mgen_context_destroy(ctx);
}

SHARED int setup_editor(void **state)
{
    int failed = setup_trained(state);
    if (!failed)
        save_editor();
    return failed;
}

/* With an upsampler, too. */
SHARED int setup_upsampler_and_editor(void **state)
{
    int failed = setup_upsampler(state);
    if (!failed)
        save_editor();
    return failed;
}

#endif
