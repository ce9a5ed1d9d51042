/* SPDX-License-Identifier: MIT
 * A stage that trains an adapter beside the video model of a folder, as small as it can be. */
#ifndef TESTS_UNIT_ADAPTER_STAGE_H
#define TESTS_UNIT_ADAPTER_STAGE_H

#include "tiny_stages.h"

/* Beside the folder's video model. */
static inline mgi_stage adapter_stage(int64_t steps, int64_t batch)
{
    mgi_stage stage = tiny_text_to_video(steps, batch);
    strcpy(stage.text[0].name, "text_encoder");
    strcpy(stage.text[0].from, "text_encoder");
    stage.text[0].frozen = true;
    strcpy(stage.start_from, "video_model");
    strcpy(stage.save_as, "mine");
    stage.adapter = (mgi_adapter_recipe){.rank = 3, .alpha = 6.0};
    stage.clips = 4 * batch;
    stage.optimizer.lr = 0.01;
    stage.validate_every = steps;
    stage.validate_clips = 8;
    return stage;
}

#endif
