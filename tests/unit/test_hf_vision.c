/* SPDX-License-Identifier: MIT
 * CLIP's image tower in folders from Hugging Face: against what transformers makes of the same folders and pictures (the
 * fixtures of vision/make_vision.py), and damaged. */
#include "core/alloc.h"
#include "io/safetensors.h"
#include "kernels/pointwise/pointwise.h"
#include "model/clip_vision_hf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing_memory.h"
#include "golden_folder.h"

#define PREPARE "clip/preprocessor_config.json"

enum { PICTURES = 6 };

static const char *const names[] = {"clip", "tower", "bare"};
enum { NAMES = sizeof names / sizeof names[0] };

static int set_up(void **state)
{
    (void)state;
    return begin_golden("vision");
}

static mgi_clip_vision open_folder(const char *name)
{
    mgi_clip_vision clip;
    uint64_t hash;
    OK(mgi_clip_vision_open(ctx, folder, name, &clip, &hash));
    return clip;
}

/* -- goldens ---------------------------------------------------------------------------------- */

static const mgi_st_entry *golden_of(const char *name, int picture, const char *what)
{
    char key[64];
    snprintf(key, sizeof key, "%s.%d%s", name, picture, what);
    const mgi_st_entry *e = mgi_st_find(&golden, key);
    assert_non_null(e);
    return e;
}

/* The largest difference of a tensor's values from a golden one's. */
static double worst_of(mgi_run *run, T *x, const mgi_st_entry *want)
{
    double worst = 0.0;
    x = mgi_cast(run, x, MGK_F32);
    if (!x)
        fail_msg("%s", mgen_last_error(ctx));
    assert_int_equal(x->count * (int64_t)sizeof(float), want->bytes);
    for (int64_t i = 0; i < x->count; i++) {
        float value;
        OK(mgi_st_read_part(ctx, want, i, &value, 1));
        worst = fmax(worst, fabs((double)mgi_f32(x)[i] - (double)value));
    }
    return worst;
}

/* worst[0]: of the prepared pictures; [1]: of their vectors, made of these; [2]: made of the golden prepared ones. */
static void compare(const char *name, const mgi_clip_vision *clip, double worst[3])
{
    int64_t side = clip->config.image;
    mgi_run run;
    worst[0] = worst[1] = worst[2] = 0.0;
    mgi_run_init(&run, ctx, false);
    for (int i = 0; i < PICTURES; i++) {
        const mgi_st_entry *picture = golden_of("picture", i, ""),
                           *pixels = golden_of(name, i, ".pixels");
        T *frame = mgi_new(&run, MGK_U8, MGI_DIMS(1, picture->dims[0], picture->dims[1], 3));
        OK(mgi_st_read_bytes(ctx, picture, 0, mgi_data(frame), picture->bytes));
        T *x = mgi_clip_vision_frames(&run, clip, frame),
          *same = mgi_new(&run, MGK_F32, MGI_DIMS(1, side, side, 3));
        worst[0] = fmax(worst[0], worst_of(&run, x, pixels));
        OK(mgi_st_read_bytes(ctx, pixels, 0, mgi_data(same), pixels->bytes));
        T *y = mgi_clip_vision_forward(&run, clip, x),
          *z = mgi_clip_vision_forward(&run, clip, same);
        worst[1] = fmax(worst[1], worst_of(&run, y, golden_of(name, i, "")));
        worst[2] = fmax(worst[2], worst_of(&run, z, golden_of(name, i, "")));
    }
    mgi_run_finish(&run);
}

/* Vectors are of the order of 1. Saved in this library's own format an encoder is the same. */
static void test_goldens(void **state)
{
    (void)state;
    for (int i = 0; i < NAMES; i++) {
        double worst[3], saved[3];
        mgi_clip_vision clip = open_folder(names[i]);
        compare(names[i], &clip, worst);
        print_message("%s: pictures within %.1e of transformers, vectors %.1e\n", names[i],
                      worst[0], fmax(worst[1], worst[2]));
        assert_true(worst[0] <= 2e-6 && worst[1] <= 1e-5 && worst[2] <= 1e-5);
        OK(mgi_clip_vision_save(&clip, folder, "saved", MGI_ST_F32));
        mgi_clip_vision_finish(&clip);
        clip = open_folder("saved");
        compare(names[i], &clip, saved);
        assert_memory_equal(saved, worst, sizeof worst);
        mgi_clip_vision_finish(&clip);
    }
}

static void test_configs(void **state)
{
    uint64_t hash[2];
    mgi_clip_vision clip;
    (void)state;
    clip = open_folder("clip");
    assert_int_equal(clip.config.projection, 6);
    assert_int_equal(clip.config.activation, MGK_UNARY_QUICK_GELU);
    assert_true(clip.config.mean[2] == 0.25f && clip.config.deviation[1] == 0.3f);
    mgi_clip_vision_finish(&clip);
    clip = open_folder("tower");
    assert_int_equal(clip.config.projection, 5);
    assert_int_equal(clip.config.activation, MGK_UNARY_GELU_ERF);
    assert_true(clip.config.eps == 1e-3f && clip.config.mean[0] == 0.48145466f);
    mgi_clip_vision_finish(&clip);
    clip = open_folder("bare");
    assert_int_equal(mgi_clip_vision_width(&clip.config), 8);
    assert_true(!clip.projection && clip.config.deviation[2] == 0.27577711f);
    mgi_clip_vision_finish(&clip);
    OK(mgi_clip_vision_open(ctx, folder, "clip", &clip, &hash[0]));
    mgi_clip_vision_finish(&clip);
    /* sizes as early versions wrote them; the identity is that of all that was read */
    edit(PREPARE, "{\n    \"shortest_edge\": 12\n  }", "12");
    edit(PREPARE, "{\n    \"height\": 12,\n    \"width\": 12\n  }", "12");
    OK(mgi_clip_vision_open(ctx, folder, "clip", &clip, &hash[1]));
    mgi_clip_vision_finish(&clip);
    assert_true(hash[0] != hash[1]);
    fresh_folders();
    OK(mgi_clip_vision_open(ctx, folder, "clip", &clip, &hash[1]));
    mgi_clip_vision_finish(&clip);
    assert_true(hash[0] == hash[1]);
}

/* Products in bf16, and weights held in bf16 alone: of values around 1, each step rounded to 8 bits. */
static void test_bf16(void **state)
{
    (void)state;
    for (int k = 0; k < 2 * NAMES; k++) {
        const char *name = names[k / 2];
        double worst[3];
        ctx->device->hold = k % 2 ? MGI_HOLD_BF16 : MGI_HOLD_F32;
        mgi_clip_vision clip = open_folder(name);
        ctx->device->hold = MGI_HOLD_F32;
        const mgi_module *m = &clip.module;
        if (k % 2)
            for (int64_t i = 0; i < m->count; i++)
                assert_int_equal(m->params[i]->value->dtype,
                                 m->params[i]->operand ? MGK_BF16 : MGK_F32);
        else
            OK(mgi_module_compute(&clip.module, MGK_BF16));
        assert_int_equal(m->dtype, MGK_BF16);
        compare(name, &clip, worst);
        print_message("%s%s: vectors within %.1e of transformers\n", name, k % 2 ? ", held" : "",
                      fmax(worst[1], worst[2]));
        assert_true(worst[0] <= 2e-6);
        for (int i = 1; i < 3; i++)
            assert_true(worst[i] > 1e-4 && worst[i] < 0.1);
        mgi_clip_vision_finish(&clip);
    }
}

/* -- bad folders ------------------------------------------------------------------------------ */

static void refuse(const char *name, mgen_status status, const char *said)
{
    mgi_clip_vision clip;
    uint64_t hash;
    assert_said(mgi_clip_vision_open(ctx, folder, name, &clip, &hash), status, said);
    assert_null(clip.layer);
}

static void test_bad_files(void **state)
{
#define INDEX "tower/model.safetensors.index.json"
#define ONE   "tower/model-00001-of-00002.safetensors"
#define PATCH "vision_model.embeddings.patch_embedding.weight"
    static const struct {
        const char *file, *old, *new;
        mgen_status status;
        const char *said;
    } bad[] = {
        {"clip/config.json", "\"clip\"", "\"siglip\"", MGEN_E_UNSUPPORTED, "siglip"},
        {"clip/config.json", "\"vision_config\"", "\"pictures\"", MGEN_E_CORRUPT, "vision_config"},
        {"clip/config.json", "{", "[{", MGEN_E_CORRUPT, "config.json"},
        {"clip/config.json", "\"projection_dim\": 6", "\"projection_dim\": 0", MGEN_E_CORRUPT,
         "projection_dim"},
        {"clip/config.json", "\"projection_dim\": 6", "\"projection_dim\": 7", MGEN_E_CORRUPT,
         "\"visual_projection.weight\" is 6 x 8; config.json asks for 7 x 8"},
        {"clip/model.safetensors", "visual_projection.weight", "virtual_projection.weight",
         MGEN_E_CORRUPT, "\"visual_projection.weight\" is missing"},
        {"clip/model.safetensors", "logit_scale", "logit_scole", MGEN_E_CORRUPT,
         "\"logit_scole\" is no part of the image encoder"},
        {"clip/model.safetensors", "vision_model.embeddings.class_embedding",
         "vision_model.embeddings.class_embodiment", MGEN_E_CORRUPT,
         "\"embeddings.class_embedding\" is missing"},
        {PREPARE, "{", "[{", MGEN_E_CORRUPT, "preprocessor_config.json"},
        {PREPARE, "\"do_center_crop\": true", "\"do_center_crop\": false", MGEN_E_UNSUPPORTED,
         "do_center_crop"},
        {PREPARE, "\"do_resize\": true", "\"do_resize\": 1", MGEN_E_CORRUPT, "do_resize"},
        {PREPARE, "\"resample\": 3", "\"resample\": 2", MGEN_E_UNSUPPORTED, "\"resample\" is 2"},
        {PREPARE, "0.00392156862745098", "0.0078", MGEN_E_UNSUPPORTED, "rescale_factor"},
        {PREPARE, "\"shortest_edge\": 12", "\"shortest_edge\": 14", MGEN_E_UNSUPPORTED,
         "\"size\" is not 12"},
        {PREPARE, "\"shortest_edge\": 12", "\"height\": 12, \"width\": 12", MGEN_E_UNSUPPORTED,
         "shortest_edge"},
        {PREPARE, "\"width\": 12", "\"width\": 16", MGEN_E_UNSUPPORTED, "crop_size"},
        {PREPARE, "0.25,", "", MGEN_E_CORRUPT, "image_std"},
        {PREPARE, "0.4,", "\"0.4\",", MGEN_E_CORRUPT, "image_mean"},
        {PREPARE, "0.3,", "0,", MGEN_E_CORRUPT, "image_std"},
        {"tower/config.json", "\"clip_vision_model\"", "\"clip_text_model\"", MGEN_E_UNSUPPORTED,
         "clip_text_model"},
        {"tower/config.json", "\"model_type\"", "\"type\"", MGEN_E_CORRUPT, "model_type"},
        {"tower/config.json", "\"gelu\"", "\"gelu_new\"", MGEN_E_UNSUPPORTED, "gelu_new"},
        {"tower/config.json", "\"num_channels\": 3", "\"num_channels\": 4", MGEN_E_UNSUPPORTED,
         "num_channels"},
        {"tower/config.json", "\"num_attention_heads\": 2", "\"num_attention_heads\": 3",
         MGEN_E_CORRUPT, "\"num_attention_heads\" (3) does not divide \"hidden_size\" (8)"},
        {"tower/config.json", "\"image_size\": 12", "\"image_size\": 14", MGEN_E_CORRUPT,
         "\"patch_size\" (4) does not divide \"image_size\" (14)"},
        {"tower/config.json", "\"patch_size\": 4", "\"patch_size\": 0", MGEN_E_CORRUPT,
         "patch_size"},
        {"tower/config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3",
         MGEN_E_CORRUPT, "encoder.layers.2."},
        {"tower/config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1",
         MGEN_E_CORRUPT, "encoder.layers.1."},
        {"tower/config.json", "\"hidden_size\": 8", "\"hidden_size\": \"8\"", MGEN_E_CORRUPT,
         "hidden_size"},
        {"tower/config.json", "\"patch_size\": 4", "\"patch_size\": 6", MGEN_E_CORRUPT,
         PATCH "\" is 8 x 3 x 4 x 4; config.json asks for 8 x 3 x 6 x 6"},
        {"tower/config.json", "0.001", "0", MGEN_E_CORRUPT, "layer_norm_eps"},
        {ONE, "BF16", "I16", MGEN_E_UNSUPPORTED, "not F32, BF16 or F16"},
        {INDEX, "-00001-", "-00003-", MGEN_E_NOT_FOUND, "model-00003-of-00002"},
        {"bare/config.json", "\"image_size\": 12", "\"image_size\": 16", MGEN_E_CORRUPT,
         "position_embedding.weight\" is 10 x 8; config.json asks for 17 x 8"},
        {"bare/model.safetensors", "pre_layrnorm.bias", "pre_layernorm.bias", MGEN_E_CORRUPT,
         "\"pre_layrnorm.bias\" is missing"},
        {"bare/model.safetensors", "k_proj.bias", "k_poem.bias", MGEN_E_CORRUPT,
         "k_proj.bias\" is missing"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char name[8];
        fresh_folders();
        snprintf(name, sizeof name, "%.*s", (int)strcspn(bad[i].file, "/"), bad[i].file);
        edit(bad[i].file, bad[i].old, bad[i].new);
        refuse(name, bad[i].status, bad[i].said);
    }
    fresh_folders();
    shell(
        "cd %s && mkdir empty && rm bare/model.safetensors && rm tower/preprocessor_config.json && "
        "ln -s ../" PREPARE " tower/preprocessor_config.json",
        folder);
    refuse("empty", MGEN_E_NOT_FOUND, "config.json");
    refuse("absent", MGEN_E_NOT_FOUND, "absent.json");
    refuse("bare", MGEN_E_NOT_FOUND, "neither model.safetensors nor");
    refuse("tower", MGEN_E_CORRUPT, "symbolic link");
    refuse("../clip", MGEN_E_CORRUPT, "../clip");
    fresh_folders();
#undef ONE
#undef INDEX
#undef PATCH
}

/* What config.json promises and the weights do not fill costs no memory: it would be over the limit. */
static void test_promises(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *kept = ctx;
    (void)state;
    edit("tower/config.json", "\"intermediate_size\": 20", "\"intermediate_size\": 1048576");
    params.threads = 1;
    params.host_memory_max = 8 << 20;
    OK(mgi_context_init(&ctx, &params));
    OK(mgi_device_create(ctx, NULL));
    refuse("tower", MGEN_E_CORRUPT, "config.json asks for 1048576 x 8");
    mgi_context_free(ctx);
    ctx = kept;
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
        mgi_clip_vision clip;
        uint64_t hash;
        memory.fail_at = 0;
        OK(mgi_context_init(&own, &params));
        OK(mgi_device_create(own, NULL));
        memory = (failing){.blocks = memory.blocks, .fail_at = k};
        status = mgi_clip_vision_open(own, folder, "clip", &clip, &hash);
        assert_true(k > 20 || status != MGEN_OK);
        mgi_clip_vision_finish(&clip);
        mgi_context_free(own);
        assert_int_equal(memory.blocks, 0);
    }
    assert_int_equal(status, MGEN_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),  cmocka_unit_test(test_configs),
        cmocka_unit_test(test_bf16),     cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_promises), cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests_name("hf_vision", tests, set_up, end_golden);
}
