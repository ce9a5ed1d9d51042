/* SPDX-License-Identifier: MIT
 * Stages that train an adapter beside a model of a folder, as small as they can be. */
#ifndef TESTS_UNIT_ADAPTER_STAGE_H
#define TESTS_UNIT_ADAPTER_STAGE_H

#include "tiny_stages.h"

/* A stage as one that trains an adapter of a model. */
static inline mgi_stage adapting(mgi_stage stage, const char *start_from)
{
    strcpy(stage.start_from, start_from);
    strcpy(stage.save_as, "mine");
    stage.adapter = (mgi_adapter_recipe){.rank = 3, .alpha = 6.0};
    stage.optimizer.lr = 0.01;
    stage.validate_every = stage.steps;
    stage.validate_clips = 8;
    return stage;
}

/* Beside the folder's video model. */
static inline mgi_stage adapter_stage(int64_t steps, int64_t batch)
{
    mgi_stage stage = adapting(tiny_text_to_video(steps, batch), "video_model");
    strcpy(stage.text[0].name, "text_encoder");
    strcpy(stage.text[0].from, "text_encoder");
    stage.text[0].frozen = true;
    stage.clips = 4 * batch;
    return stage;
}

#endif
