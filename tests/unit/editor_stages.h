/* SPDX-License-Identifier: MIT
 * What the tests of an editor's training have in common: small clips, and what they are encoded to. */
#ifndef EDITOR_STAGES_H
#define EDITOR_STAGES_H

#include "begun_models.h"
#include "train/latents.h"

#include <math.h>

enum { FRAMES = 9, SIDE = 48, FRAME = SIDE * SIDE * 3, MOST = FRAMES * FRAME, CLIPS = 7, HELD = 5 };

static mgi_edits only(int kind)
{
    mgi_edits e = {.fps_prefix = true};
    e.share[kind] = 2.5;
    return e;
}

static mgi_dataset *world_of(int frames, int objects)
{
    mgi_world_options options = tiny_world;
    mgi_dataset *ds;
    options.frames = frames;
    options.objects_max = objects;
    OK(mgi_dataset_world(ctx, 3, &options, &ds));
    return ds;
}

/* A film as a whole. */
static void assert_encoded(const mgi_tae *tae, const uint8_t *film, const float *latents,
                           int64_t size)
{
    float *rgb = malloc(MOST * sizeof *rgb), *one = malloc((size_t)size * sizeof *one);
    mgi_run run;
    assert_true(rgb && one);
    for (int64_t i = 0; i < MOST; i++)
        rgb[i] = (float)film[i] * (1.0f / 127.5f) - 1.0f;
    mgi_run_init(&run, ctx, false);
    T *x = mgi_new(&run, MGK_F32, MGI_DIMS(1, FRAMES, SIDE, SIDE, 3));
    mgi_tensor_write(x, 0, rgb, x->count);
    T *z = mgi_posterior(&run, mgi_tae_encode(&run, tae, x), NULL, 0.0f, NULL);
    OK(run.status);
    assert_int_equal(z->count, size);
    OK(mgi_tae_normalised(tae, z, one));
    mgi_run_finish(&run);
    for (int64_t i = 0; i < size; i++)
        assert_true(fabs((double)one[i] - (double)latents[i]) < 1e-4);
    free(rgb);
    free(one);
}

typedef struct models {
    mgi_tae tae;
    mgi_dataset *data;
    mgi_edits edits;
} models;

static void open_models(models *m)
{
    const mgi_tae_config config = tiny_autoencoder(1, 1).tae;
    m->data = world_of(FRAMES, 2);
    m->edits = (mgi_edits){.share = {1.0, 1.0, 1.0, 1.0}, .fps_prefix = true};
    OK(mgi_tae_init(&m->tae, ctx, &config));
    OK(mgi_module_random(&m->tae.module, 1));
}

static void close_models(models *m)
{
    mgi_tae_finish(&m->tae);
    mgi_dataset_release(m->data);
}

static mgi_latents_request request_of(const models *m)
{
    return (mgi_latents_request){.tae = &m->tae,
                                 .tae_hash = 1,
                                 .dataset = m->data,
                                 .seed = 4,
                                 .first = 2,
                                 .frames = FRAMES,
                                 .clips = CLIPS,
                                 .held = HELD,
                                 .edits = &m->edits};
}

#endif
