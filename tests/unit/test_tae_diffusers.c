/* SPDX-License-Identifier: MIT
 * Autoencoders of images in folders of diffusers: against what diffusers makes of the same folders (the fixtures of
 * vae/make_vae.py), inflated and trained on, and damaged. */
#include "core/alloc.h"
#include "model/tae_diffusers.h"
#include "task/pipeline.h"
#include "train/stage.h"

#include <math.h>
#include <moviegen.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tiny_stages.h"

#include "failing_memory.h"
#include "golden_folder.h"

static const char *const names[] = {"vae", "early"};

static int set_up(void **state)
{
    (void)state;
    return begin_golden("vae");
}

/* -- goldens ---------------------------------------------------------------------------------- */

/* One frame. */
static T *golden_tensor(mgi_run *run, const char *name, const char *what)
{
    char key[64];
    snprintf(key, sizeof key, "%s.%s", name, what);
    const mgi_st_entry *e = mgi_st_find(&golden, key);
    assert_non_null(e);
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(1, 1, e->dims[0], e->dims[1], e->dims[2]));
    assert_non_null(t);
    OK(mgi_st_read_f32(ctx, e, mgi_f32(t), t->count));
    return t;
}

/* Of frame `at` of a, and the largest there is. */
static double difference(T *a, int64_t at, const T *b)
{
    double most = 0.0;
    assert_non_null(a);
    assert_true(a->count >= (at + 1) * b->count && a->dims[4] == b->dims[4]);
    for (int64_t i = 0; i < b->count; i++)
        most = fmax(most, fabs((double)mgi_f32(a)[at * b->count + i] - mgi_f32(b)[i]));
    return most;
}

/* How far the network is from diffusers, which has values of the order of 1, on each frame that decoding gives. */
static double worst_of(const mgi_tae *tae, const char *name)
{
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    T *x = golden_tensor(&run, name, "x"), *moments = golden_tensor(&run, name, "moments");
    T *want = golden_tensor(&run, name, "y");
    double worst = difference(mgi_tae_encode(&run, tae, x), 0, moments);
    T *y = mgi_tae_decode(&run, tae, mgi_slice(&run, moments, 4, 0, 3));
    for (int64_t i = 0; y && i < y->dims[1]; i++)
        worst = fmax(worst, difference(y, i, want));
    OK(run.status);
    mgi_run_finish(&run);
    return worst;
}

static void write_config(mgi_json_writer *w, const void *config)
{
    mgi_tae_config_write(w, config);
}

static mgen_status save(mgi_tae *tae, const char *name)
{
    return mgi_model_file_save(ctx, folder, name, "tae", write_config, &tae->config, &tae->module,
                               MGI_ST_F32);
}

/* Saved in this library's own format an autoencoder is the same. */
static void test_goldens(void **state)
{
    static const float scale[] = {1.5305f, 0.18215f}, shift[] = {0.0609f, 0.0f};
    (void)state;
    for (int i = 0; i < 2; i++) {
        mgi_tae tae;
        uint64_t hash, again;
        OK(mgi_tae_open(ctx, folder, names[i], &tae, &hash));
        assert_int_equal(mgi_tae_factor(&tae.config), 4);
        assert_int_equal(mgi_tae_time_factor(&tae.config), 1);
        for (int c = 0; c < 3; c++) {
            assert_true(mgi_f32(tae.latent_scale->value)[c] == scale[i]);
            assert_true(mgi_f32(tae.latent_shift->value)[c] == shift[i]);
        }
        double worst = worst_of(&tae, names[i]);
        print_message("%s: within %.1e of diffusers\n", names[i], worst);
        assert_true(worst <= 2e-5);
        OK(save(&tae, "saved"));
        mgi_tae_finish(&tae);
        OK(mgi_tae_open(ctx, folder, "saved", &tae, &again));
        assert_true(worst_of(&tae, names[i]) == worst);
        mgi_tae_finish(&tae);
        OK(mgi_tae_open(ctx, folder, names[i], &tae, &again));
        assert_true(hash == again);
        mgi_tae_finish(&tae);
    }
}

static void test_held(void **state)
{
    (void)state;
    mgi_tae tae;
    uint64_t hash;
    ctx->device->hold = MGI_HOLD_BF16;
    OK(mgi_tae_open(ctx, folder, "vae", &tae, &hash));
    ctx->device->hold = MGI_HOLD_F32;
    double worst = worst_of(&tae, "vae");
    if (!(worst > 1e-4 && worst < 0.2))
        fail_msg("within %.1e of diffusers", worst);
    mgi_tae_finish(&tae);
}

/* From outside: the handle, and a pipeline that names the folder. */
static void test_interface(void **state)
{
    (void)state;
    mgen_tae *tae;
    mgen_model_info info = MGEN_MODEL_INFO_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    OK(mgen_tae_open(ctx, folder, "early", &tae));
    assert_int_equal(mgen_tae_get_info(tae, &info), MGEN_OK);
    assert_true(info.channels == 3 && info.spatial_factor == 4 && info.temporal_factor == 1);
    mgen_tae_release(tae);
    const mgi_pipeline_file file = {.tae = "vae", .clip = {16, 16, 4, 16}};
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &file));
    OK(mgen_pipeline_open(ctx, folder, &pipe));
    assert_non_null(pipe.tae);
    mgen_pipeline_close(&pipe);
}

/* -- training --------------------------------------------------------------------------------- */

/* A stage that inflates the folder's network. */
static mgi_stage inflating(const char *from)
{
    mgi_stage s = tiny_autoencoder(2, 1);
    mgi_tae_diffusers d;
    OK(mgi_tae_diffusers_open(ctx, folder, from, &d));
    s.tae = d.config;
    s.tae.temporal = true;
    strcpy(s.start_from, from);
    mgi_tae_diffusers_close(ctx, &d);
    return s;
}

static mgen_status begin(const mgi_stage *stage, struct mgi_stage_run **run)
{
    const mgi_stage_params params = {.stage = stage, .dir = folder, .seed = 5};
    return mgi_stage_autoencoder.create(ctx, &params, run);
}

/* An inflated one makes of a picture what diffusers makes of it, on every frame; trained, something else. */
static void test_training(void **state)
{
    struct mgi_stage_run *run;
    (void)state;
    for (int i = 0; i < 2; i++) {
        mgi_stage stage = inflating(names[i]);
        mgi_tae tae;
        uint64_t hash;
        OK(begin(&stage, &run));
        OK(mgi_stage_autoencoder.save(run));
        OK(mgi_tae_open(ctx, folder, "tae", &tae, &hash));
        assert_true(tae.config.temporal && tae.config.ldm);
        double worst = worst_of(&tae, names[i]);
        if (worst > (i ? 2e-5 : 5e-2)) /* saved in bf16, of which the weights of "early" are */
            fail_msg("%s: inflated within %.1e of diffusers", names[i], worst);
        mgi_tae_finish(&tae);
        for (int k = 0; k < 2; k++)
            OK(mgi_stage_autoencoder.step(run, k, NULL));
        OK(mgi_stage_autoencoder.save(run));
        mgi_stage_autoencoder.destroy(run);
        OK(mgi_tae_open(ctx, folder, "tae", &tae, &hash));
        assert_true(worst_of(&tae, names[i]) > worst);
        mgi_tae_finish(&tae);
    }
}

static void test_other_configuration(void **state)
{
    struct mgi_stage_run *run;
    (void)state;
    mgi_stage stage = inflating("vae");
    stage.tae.channels[1] = 16;
    assert_int_equal(begin(&stage, &run), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "config.json is another than the recipe's"));
    assert_non_null(strstr(mgen_last_error(ctx), "channels"));
    stage = inflating("vae");
    memcpy(stage.tae.decoder_channels, (const int64_t[]){8, 8, 8}, 3 * sizeof(int64_t));
    assert_int_equal(begin(&stage, &run), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "cannot be widened"));
    strcpy(stage.start_from, "nowhere");
    assert_int_equal(begin(&stage, &run), MGEN_E_STATE);
}

/* -- bad folders ------------------------------------------------------------------------------ */

static void test_bad_folders(void **state)
{
#define CONFIG  "vae/config.json"
#define WEIGHTS "vae/diffusion_pytorch_model.safetensors"
    static const struct {
        const char *file, *old, *new;
        mgen_status status;
        const char *said;
    } bad[] = {
        {CONFIG, "AutoencoderKL", "AutoencoderDC", MGEN_E_UNSUPPORTED, "AutoencoderDC"},
        {CONFIG, "_class_name", "_class", MGEN_E_CORRUPT, "_class_name"},
        {CONFIG, "{", "[{", MGEN_E_CORRUPT, "config.json"},
        {CONFIG, "\"use_quant_conv\": false", "\"use_quant_conv\": true", MGEN_E_UNSUPPORTED,
         "\"use_quant_conv\" is true and"},
        {CONFIG, "\"use_post_quant_conv\": false", "\"sample\": 1", MGEN_E_UNSUPPORTED,
         "\"use_post_quant_conv\" true"},
        {CONFIG, "\"mid_block_add_attention\": true", "\"mid_block_add_attention\": false",
         MGEN_E_UNSUPPORTED, "mid_block_add_attention"},
        {CONFIG, "\"latents_mean\": null", "\"latents_mean\": [1]", MGEN_E_UNSUPPORTED,
         "latents_mean"},
        {CONFIG, "DownEncoderBlock2D", "AttnDownEncoderBlock2D", MGEN_E_UNSUPPORTED,
         "down_block_types"},
        {CONFIG, "\"up_block_types\"", "\"up_blocks\"", MGEN_E_CORRUPT, "up_block_types"},
        {CONFIG, "\"in_channels\": 3", "\"in_channels\": 1", MGEN_E_UNSUPPORTED, "in_channels"},
        {CONFIG, "\"norm_num_groups\": 2", "\"norm_num_groups\": 3", MGEN_E_CORRUPT,
         "block_out_channels"},
        {CONFIG, "\"layers_per_block\": 1", "\"layers_per_block\": 9", MGEN_E_CORRUPT,
         "layers_per_block"},
        {CONFIG, "\"layers_per_block\": 1", "\"layers_per_block\": 2", MGEN_E_CORRUPT,
         "resnets.1.norm1.weight\" is missing"},
        {CONFIG, "\"latent_channels\": 3", "\"latent_channels\": 4", MGEN_E_CORRUPT,
         "conv_out.weight\" has another shape"},
        {CONFIG, "\"scaling_factor\": 1.5305", "\"scaling_factor\": 0", MGEN_E_CORRUPT,
         "scaling_factor"},
        {CONFIG, "\"shift_factor\": 0.0609", "\"shift_factor\": \"\"", MGEN_E_CORRUPT,
         "shift_factor"},
        {WEIGHTS, "decoder.conv_in.bias", "decoder.conv_in.bios", MGEN_E_CORRUPT,
         "\"decoder.conv_in.bias\" is missing"},
        {"early/diffusion_pytorch_model.safetensors.index.json", "00002-of", "00009-of",
         MGEN_E_NOT_FOUND, "00009"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mgi_tae tae;
        uint64_t hash;
        const char *name = names[bad[i].file[0] == 'e'];
        fresh_folders();
        edit(bad[i].file, bad[i].old, bad[i].new);
        mgen_status status = mgi_tae_open(ctx, folder, name, &tae, &hash);
        const char *said = mgen_last_error(ctx);
        if (status != bad[i].status || !strstr(said, bad[i].said) || !strstr(said, name))
            fail_msg("%s: '%s' does not say '%s'", mgen_status_name(status), said, bad[i].said);
    }
    fresh_folders();
    shell("rm %s/%s", folder, WEIGHTS);
    mgi_tae tae;
    uint64_t hash;
    assert_int_equal(mgi_tae_open(ctx, folder, "vae", &tae, &hash), MGEN_E_NOT_FOUND);
    assert_non_null(strstr(mgen_last_error(ctx), "diffusion_pytorch_model.safetensors"));
    shell("rm %s/vae/config.json", folder);
    assert_int_equal(mgi_tae_open(ctx, folder, "vae", &tae, &hash), MGEN_E_NOT_FOUND);
    fresh_folders();
}

/* A tensor that is no part of it. */
static void test_more_tensors(void **state)
{
    (void)state;
    mgi_tae tae;
    uint64_t hash;
    edit(CONFIG, "\"layers_per_block\": 1", "\"layers_per_block\": 2");
    edit("early/config.json", "\"layers_per_block\": 2", "\"layers_per_block\": 1");
    assert_int_equal(mgi_tae_open(ctx, folder, "early", &tae, &hash), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "is no part of the autoencoder"));
    fresh_folders();
}

/* Every allocation fails in turn, with all after it. */
static void test_no_memory(void **state)
{
    failing memory = {0};
    mgen_status status = MGEN_E_NO_MEMORY;
    mgen_context *own;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    (void)state;
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
    for (int k = 1; status == MGEN_E_NO_MEMORY; k++) {
        mgen_tae *tae = NULL;
        memory.fail_at = 0;
        OK(mgen_context_create(&params, &own));
        memory = (failing){.blocks = memory.blocks, .fail_at = k};
        status = mgen_tae_open(own, folder, "vae", &tae);
        assert_true(!tae == (status != MGEN_OK));
        assert_true(k > 20 || status != MGEN_OK);
        mgen_tae_release(tae);
        mgen_context_destroy(own);
        assert_int_equal(memory.blocks, 0);
    }
    assert_int_equal(status, MGEN_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_interface),
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_other_configuration),
        cmocka_unit_test(test_bad_folders),
        cmocka_unit_test(test_more_tensors),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, end_golden);
}
