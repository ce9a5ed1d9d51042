/* SPDX-License-Identifier: MIT
 * What an upsampler is beside its transformer: its configuration, its files, its autoencoder. Files that break a rule:
 * test_bad_models.c. */
#include "core/alloc.h"
#include "model/upsampler.h"
#include "task/pipeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing_memory.h"
#include "networks.h"

#include "folder_context.h"
#include "ok.h"
#include "tiny_networks.h"

/* As the report's, small: windows of 14 frames, of which 4 are shared. */
static const mgi_upsampler_config small = {
    .video = {TINY_VT, .condition = 3, .frames_max = 14, .rows_max = 4, .columns_max = 4},
    .tae = "t",
    .factor = 2,
    .frames = 14,
    .overlap = 4,
    .steps = 20};
static const mgi_tae_config frame_wise = {TINY_TAE};

static void refuse(mgen_status got, mgen_status want, const char *said)
{
    if (got != want || !strstr(mgen_last_error(ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(ctx), said);
}

static void write_config(mgi_json_writer *w, const void *config)
{
    mgi_upsampler_config_write(w, config);
}

static void write_tae(mgi_json_writer *w, const void *config)
{
    mgi_tae_config_write(w, config);
}

/* -- configuration -------------------------------------------------------------------------------- */

static void read_back(const mgi_upsampler_config *config, mgi_upsampler_config *out)
{
    mgi_json_writer w;
    mgi_json *json;
    const char *text;
    size_t size;
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_open(&w, NULL, '{');
    mgi_upsampler_config_write(&w, config);
    mgi_json_close(&w, '}');
    OK(mgi_json_text(&w, &text, &size));
    OK(mgi_json_parse(ctx, "test", text, size, &json));
    OK(mgi_upsampler_config_read(ctx, json, out));
    mgi_json_free(ctx, json);
    mgi_json_writer_free(&w);
}

static void assert_same(const mgi_upsampler_config *a, const mgi_upsampler_config *b)
{
    char difference[256];
    OK(mgi_config_difference(ctx, write_config, a, b, difference, sizeof difference));
    assert_string_equal(difference, "");
    assert_string_equal(a->tae, b->tae);
    assert_true(a->factor == b->factor && a->frames == b->frames && a->overlap == b->overlap &&
                a->steps == b->steps);
    assert_true(a->video.guidance == b->video.guidance);
    assert_int_equal(a->video.condition, b->video.condition);
    assert_int_equal(a->video.precision, b->video.precision);
}

/* What is written is read, also where it is what another model would begin with. */
static void test_round_trip(void **state)
{
    static const float guidance[] = {1.0f, 2.5f, MGI_VT_GUIDANCE};
    (void)state;
    for (size_t i = 0; i < sizeof guidance / sizeof guidance[0]; i++) {
        mgi_upsampler_config c = small, back;
        c.video.guidance = guidance[i];
        read_back(&c, &back);
        assert_same(&c, &back);
        c.factor = 4;
        c.frames = 12;
        c.overlap = 6; /* half of a window may be shared */
        c.steps = 7;
        c.video.precision = MGI_HOLD_BF16;
        strcpy(c.tae, "another_one");
        read_back(&c, &back);
        assert_same(&c, &back);
    }
}

static mgen_status read_text(const char *members, mgi_upsampler_config *out)
{
    char text[1024];
    mgi_json *json;
    snprintf(text, sizeof text,
             "{%s\"tae\": \"t\", \"transformer\": {\"layers\": 1, \"dim\": 8, \"heads\": 2, "
             "\"ff_dim\": 8, \"channels\": 2, \"condition_channels\": 2, \"patch\": [1, 2, 2], "
             "\"frames_max\": 4096, \"rows_max\": 2, \"columns_max\": 2, \"text\": {\"ul2\": 8}}}",
             members);
    OK(mgi_json_parse(ctx, "test", text, strlen(text), &json));
    mgen_status status = mgi_upsampler_config_read(ctx, json, out);
    mgi_json_free(ctx, json);
    return status;
}

/* The report's, where nothing is said; and as far as they go. */
static void test_defaults_and_ends(void **state)
{
    mgi_upsampler_config c;
    (void)state;
    OK(read_text("", &c));
    assert_true(c.factor == 2 && c.frames == 14 && c.overlap == 4 && c.steps == 20);
    OK(read_text("\"factor\": 64, \"frames\": 4096, \"overlap\": 2048, \"steps\": 1000, ", &c));
    assert_true(c.factor == 64 && c.frames == 4096 && c.overlap == 2048 && c.steps == 1000);
    OK(read_text("\"factor\": 1, \"frames\": 1, \"overlap\": 0, \"steps\": 1, ", &c));
    assert_true(c.factor == 1 && c.frames == 1 && c.overlap == 0 && c.steps == 1);
    refuse(read_text("\"frames\": 4095, \"overlap\": 2048, ", &c), MGEN_E_CORRUPT,
           "\"overlap\" is 2048, more than half of a window's \"frames\" (4095)");
    /* the preset of the report's size is an upsampler's, with the windows that nobody names */
    c = small;
    OK(mgi_vt_preset(ctx, "7b", &c.video));
    OK(mgi_upsampler_config_check(ctx, &c, &c));
    c.video.condition = 0;
    refuse(mgi_upsampler_config_check(ctx, &c, &c), MGEN_E_CORRUPT,
           "\"condition_channels\" is 0 and \"channels\" 16");
}

/* -- files ---------------------------------------------------------------------------------------- */

/* Both models, of values that differ by the seed, under these names. */
static void save_tae(const char *name, int64_t latent_channels, uint64_t seed)
{
    mgi_tae_config config = frame_wise;
    mgi_tae tae;
    config.latent_channels = latent_channels;
    OK(mgi_tae_init(&tae, ctx, &config));
    OK(mgi_module_random(&tae.module, seed));
    OK(mgi_model_file_save(ctx, folder, name, "tae", write_tae, &config, &tae.module, MGI_ST_F32));
    mgi_tae_finish(&tae);
}

static void save_upsampler(const mgi_upsampler_config *config, uint64_t seed)
{
    mgi_vt vt;
    OK(mgi_vt_init(&vt, ctx, &config->video));
    OK(mgi_vt_random(&vt, seed));
    randomise(&vt.module, 0.1f);
    OK(mgi_model_file_save(ctx, folder, "u", MGI_UPSAMPLER_KIND, write_config, config, &vt.module,
                           MGI_ST_F32));
    mgi_vt_finish(&vt);
}

static uint64_t hash_of(void)
{
    mgi_upsampler u;
    uint64_t hash = 0;
    OK(mgi_upsampler_open(ctx, folder, "u", &u, &hash));
    mgi_upsampler_finish(&u);
    return hash;
}

static void test_open(void **state)
{
    mgi_upsampler u;
    mgi_vt vt;
    uint64_t hash, first;
    (void)state;
    save_tae("t", 3, 1);
    save_upsampler(&small, 1);
    OK(mgi_upsampler_open(ctx, folder, "u", &u, &first));
    mgi_upsampler_config want = small;
    want.video.guidance = u.config.video.guidance; /* nothing was said of it */
    assert_same(&u.config, &want);
    assert_int_equal(u.video.config.condition, 3);
    assert_int_equal(u.tae.config.latent_channels, 3);
    /* with the weights of the file */
    OK(mgi_vt_init(&vt, ctx, &small.video));
    OK(mgi_vt_random(&vt, 1));
    randomise(&vt.module, 0.1f);
    assert_int_equal(u.video.module.count, vt.module.count);
    for (int64_t k = 0; k < vt.module.count; k++)
        assert_memory_equal(mgi_f32(u.video.module.params[k]->value),
                            mgi_f32(vt.module.params[k]->value),
                            (size_t)vt.module.params[k]->value->count * sizeof(float));
    mgi_vt_finish(&vt);
    mgi_upsampler_finish(&u);
    /* its identity is that of both */
    assert_true(hash_of() == first);
    save_tae("t", 3, 2);
    hash = hash_of();
    assert_true(hash != first);
    save_tae("t", 3, 1);
    assert_true(hash_of() == first);
    save_upsampler(&small, 2);
    assert_true(hash_of() != first && hash_of() != hash);
}

/* As the transformer's configuration says, if the host leaves it to that; else as the host does. The autoencoder, too. */
static void test_precision(void **state)
{
    static const int asked[] = {MGI_HOLD_AS_FILE, MGI_HOLD_F32, MGI_HOLD_BF16};
    const int before = ctx->device->hold;
    (void)state;
    for (int said = MGI_HOLD_F32; said <= MGI_HOLD_BF16; said++) {
        mgi_upsampler_config config = small;
        config.video.precision = said;
        save_tae("t", 3, 1);
        save_upsampler(&config, 1);
        for (int i = 0; i < 3; i++) {
            mgi_upsampler u;
            uint64_t hash;
            int want = asked[i] == MGI_HOLD_AS_FILE ? said : asked[i];
            ctx->device->hold = asked[i];
            OK(mgi_upsampler_open(ctx, folder, "u", &u, &hash));
            assert_int_equal(u.video.module.hold, want);
            assert_int_equal(u.tae.module.hold, want);
            mgi_upsampler_finish(&u);
            ctx->device->hold = before;
        }
    }
}

/* No autoencoder, one of other latents, one that is no autoencoder: it is said which; nothing is kept. */
static void test_other_autoencoder(void **state)
{
    mgi_upsampler u;
    mgi_upsampler_config config = small;
    uint64_t hash;
    (void)state;
    save_tae("t", 4, 1);
    save_upsampler(&small, 1);
    mgi_device_trim(ctx->device);
    uint64_t before = ctx->heap->now;
    refuse(mgi_upsampler_open(ctx, folder, "u", &u, &hash), MGEN_E_CORRUPT,
           "/u.json: the autoencoder \"t\" has 4 latent channels, but the upsampler takes 3");
    mgi_device_trim(ctx->device);
    assert_int_equal(ctx->heap->now, before);
    strcpy(config.tae, "none");
    save_upsampler(&config, 1);
    refuse(mgi_upsampler_open(ctx, folder, "u", &u, &hash), MGEN_E_NOT_FOUND, "none.json");
    strcpy(config.tae, "u");
    save_upsampler(&config, 1);
    refuse(mgi_upsampler_open(ctx, folder, "u", &u, &hash), MGEN_E_CORRUPT,
           "\"kind\" is \"upsampler\", not \"tae\"");
    refuse(mgi_upsampler_open(ctx, folder, "t", &u, &hash), MGEN_E_CORRUPT,
           "\"kind\" is \"tae\", not \"upsampler\"");
    refuse(mgi_upsampler_open(ctx, folder, "no", &u, &hash), MGEN_E_NOT_FOUND, "no.json");
    mgi_upsampler_finish(&u); /* which failing leaves as if it had not been */
    mgi_device_trim(ctx->device);
    assert_int_equal(ctx->heap->now, before);
}

/* Every allocation fails, with all after it or alone. */
static void fail_open(bool alone)
{
    failing memory = {0};
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *own;
    mgen_status status = MGEN_E_NO_MEMORY;
    int failures = 0;
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
    for (int k = 1; status == MGEN_E_NO_MEMORY; k++) {
        mgi_upsampler u;
        uint64_t hash;
        memory.fail_at = 0;
        assert_int_equal(mgen_context_create(&params, &own), MGEN_OK);
        memory = (failing){.blocks = memory.blocks, .fail_at = k, .alone = alone};
        status = mgi_upsampler_open(own, folder, "u", &u, &hash);
        failures += status == MGEN_E_NO_MEMORY;
        assert_true(memory.calls >= k || status == MGEN_OK);
        mgi_upsampler_finish(&u);
        mgen_context_destroy(own);
        assert_int_equal(memory.blocks, 0);
    }
    assert_int_equal(status, MGEN_OK);
    assert_true(failures > 50);
}

static void test_no_memory(void **state)
{
    (void)state;
    save_tae("t", 3, 1);
    save_upsampler(&small, 1);
    fail_open(false);
    fail_open(true);
}

/* -- in a pipeline -------------------------------------------------------------------------------- */

/* It is named there, and belongs to what a save is. */
static void test_pipeline_file(void **state)
{
    const mgi_pipeline_file file = {
        .tae = "t", .video = "v", .upsampler = "u", .rewriter = "r", .clip = {64, 48, 9, 16}};
    mgi_pipeline_file back, none = file;
    char path[64];
    (void)state;
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &file));
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &back));
    assert_string_equal(back.upsampler, "u");
    assert_string_equal(back.rewriter, "r");
    save_tae("t", 3, 1);
    save_upsampler(&small, 1);
    uint64_t stamp = mgi_pipeline_stamp(folder, "pipeline", &back);
    assert_true(stamp == mgi_pipeline_stamp(folder, "pipeline", &back));
    snprintf(path, sizeof path, "%s/u.json", folder);
    assert_int_equal(truncate(path, 7), 0);
    assert_true(stamp != mgi_pipeline_stamp(folder, "pipeline", &back));
    stamp = mgi_pipeline_stamp(folder, "pipeline", &back);
    save_tae("r", 3, 1); /* so is a rewriter, whatever it is */
    assert_true(stamp != mgi_pipeline_stamp(folder, "pipeline", &back));
    none.upsampler[0] = none.rewriter[0] = '\0';
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &none));
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &back));
    assert_string_equal(back.upsampler, "");
    assert_string_equal(back.rewriter, "");
}

/* Latent frames of an upsampler are its frames, and windows are its own. */
static void test_windows(void **state)
{
    const mgi_tae tae = {.config = frame_wise};
    mgi_networks n = {.tae = &tae, .clip = {.frames = 32}};
    int64_t overlap;
    (void)state;
    assert_int_equal(mgi_networks_latents(&n, 14), 2);
    assert_int_equal(mgi_networks_window(&n, &overlap), 4);
    assert_int_equal(overlap, 2);
    n.upsampler = &small;
    assert_int_equal(mgi_networks_latents(&n, 14), 14);
    assert_int_equal(mgi_networks_window(&n, &overlap), 14);
    assert_int_equal(overlap, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_defaults_and_ends),
                                       cmocka_unit_test(test_open),
                                       cmocka_unit_test(test_precision),
                                       cmocka_unit_test(test_other_autoencoder),
                                       cmocka_unit_test(test_no_memory),
                                       cmocka_unit_test(test_pipeline_file),
                                       cmocka_unit_test(test_windows)};
    return cmocka_run_group_tests_name("upsampler", tests, make_folder_context,
                                       remove_folder_context);
}
