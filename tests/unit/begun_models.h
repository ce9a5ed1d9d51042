/* SPDX-License-Identifier: MIT
 * Models that stages of editors and personalizers begin with, in a folder. */
#ifndef BEGUN_MODELS_H
#define BEGUN_MODELS_H

#include "stage_runs.h"
#include "train/video_stage.h"

static void end(struct mgi_stage_run *run)
{
    mgi_stage_text_to_video.destroy(run);
}

static int make_models(void **state)
{
    if (make_context_and_folder(state) != 0)
        return -1;
    save_new(tiny_autoencoder(1, 2));
    mgi_stage video = tiny_text_to_video(1, 2);
    strcpy(video.save_as, "deep");
    video.video.layers = 5;
    save_new(video);
    video.video.layers = 2;
    strcpy(video.save_as, "set");
    save_new(video);
    strcpy(video.save_as, "");
    save_new(video); /* the folder's pipeline has its plain names again */
    mgi_stage maker = tiny_editor(1, 2);
    strcpy(maker.save_as, "maker");
    save_new(maker);
    return 0;
}

static void assert_refused_on(const mgi_stage *stage, mgi_dataset *data, mgen_status status,
                              const char *said)
{
    struct mgi_stage_run *run = NULL;
    mgen_status got = create_on(stage, data, &run);
    if (got == MGEN_OK)
        end(run);
    if (got != status || !strstr(mgen_last_error(ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(ctx), said);
}

static inline void assert_refused(const mgi_stage *stage, mgen_status status, const char *said)
{
    assert_refused_on(stage, NULL, status, said);
}

#endif
