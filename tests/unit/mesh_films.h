/* SPDX-License-Identifier: MIT
 * Tests of films that many ranks make: models in a folder, as each rank opens them, and films compared. */
#ifndef TESTS_UNIT_MESH_FILMS_H
#define TESTS_UNIT_MESH_FILMS_H

#include "random_values.h"
#include "rank_device.h"
#include "task/generate.h"
#include "task/ranks.h"
#include "tiny_stages.h"

#include <math.h>

/* For latents and text of the two below, in up to 16 frames of 32 x 16 pixels. */
#define MESH_FILMS_VT                                                                              \
    .layers = 2, .dim = 32, .heads = 4, .ff_dim = 24, .channels = 3, .patch_t = 1, .patch_h = 2,   \
    .patch_w = 2, .frames_max = 4, .rows_max = 2, .columns_max = 4, .text = {12, 12, 0},           \
    .time_dim = 16

static char folder[] = "/tmp/mgi-mesh-XXXXXX";

static const mgi_tae_config tae_config = {
    .levels = 3, .channels = {4, 6, 8}, .latent_channels = 3, .blocks = 1, .temporal = true};
static const mgi_text_config text_config = {.t5 = {.vocab = 259,
                                                   .dim = 12,
                                                   .layers = 1,
                                                   .heads = 2,
                                                   .head_dim = 6,
                                                   .ff_dim = 16,
                                                   .buckets = 8,
                                                   .max_distance = 16,
                                                   .tokens_max = 40,
                                                   .eps = 1e-6f}};

static inline void write_tae(mgi_json_writer *w, const void *config)
{
    mgi_tae_config_write(w, config);
}

static inline mgen_context *folder_begin(void)
{
    mgen_context *ctx = make_context();
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    return ctx;
}

/* A transformer, in whatever its configuration is written by. */
static inline void save_transformer(mgen_context *ctx, const char *name, const char *kind,
                                    void (*write)(mgi_json_writer *w, const void *config),
                                    const void *config, const mgi_vt_config *video)
{
    mgi_vt vt;
    assert_int_equal(mgi_vt_init(&vt, ctx, video), MGEN_OK);
    assert_int_equal(mgi_vt_random(&vt, 1), MGEN_OK);
    randomise(&vt.module, 0.05f);
    assert_int_equal(
        mgi_model_file_save(ctx, folder, name, kind, write, config, &vt.module, MGI_ST_F32),
        MGEN_OK);
    mgi_vt_finish(&vt);
}

/* What films need beside it; then the context is gone. */
static inline void folder_end(mgen_context *ctx)
{
    mgi_text_encoder text;
    mgi_tae tae;
    assert_int_equal(mgi_tae_init(&tae, ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_module_random(&tae.module, 1), MGEN_OK);
    randomise(&tae.module, 0.05f);
    assert_int_equal(mgi_model_file_save(ctx, folder, "tae", "tae", write_tae, &tae_config,
                                         &tae.module, MGI_ST_F32),
                     MGEN_OK);
    mgi_tae_finish(&tae);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mgi_text_encoder_init(&text, ctx, NULL, &text_config, NULL), MGEN_OK);
        assert_int_equal(mgi_module_random(mgi_text_module(&text), 2 + (uint64_t)i), MGEN_OK);
        assert_int_equal(mgi_text_encoder_save(&text, folder, i ? "byt5" : "ul2", MGI_ST_F32),
                         MGEN_OK);
        mgi_text_encoder_finish(&text);
    }
    ctx->device_destroy(ctx->device);
    ctx->device = NULL;
    mgi_context_free(ctx);
}

static inline int remove_models(void **state)
{
    (void)state;
    return remove_all(folder);
}

/* Of a rank: text encoders only where they run. */
static inline mgen_status open_texts(mgen_context *ctx, const mgi_mesh *mesh,
                                     mgi_text_encoder text[2], mgi_networks *n)
{
    uint64_t hash;
    for (int i = 0; i < 2; i++)
        if (mgi_runs_text(mesh, i)) {
            MGI_TRY(mgi_text_encoder_open(ctx, folder, i ? "byt5" : "ul2", &text[i], &hash));
            n->text[i] = &text[i];
        }
    return mgi_networks_check(ctx, n);
}

static inline void assert_made(const world *all)
{
    for (int r = 0; r < all->size; r++)
        if (all->ranks[r].status != MGEN_OK)
            fail_msg("rank %d: %s", r, all->ranks[r].said);
}

static inline double apart(const float *a, const float *b, int64_t count)
{
    double most = 0.0;
    for (int64_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

#endif
