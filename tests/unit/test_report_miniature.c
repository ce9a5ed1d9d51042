/* SPDX-License-Identifier: MIT
 * The recipes of the report's size (examples/recipes), trained: every stage as it stands there, but for networks, clips, batches
 * and steps, which are made small. What they begin with, what grows, who is frozen and what is saved stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "stage_runs.h"
#include "task/pipeline.h"

#include <sys/stat.h>

/* In the order in which docs/report_recipes.md says that they are trained. */
static const char *const course[][2] = {
    {"video", "long_prompt"},
    {"video", "image_autoencoder"},
    {"video", "tae"},
    {"video", "tae_opl"},
    {"video", "images_256"},
    {"video", "joint_256_a"},
    {"video", "joint_256_b"},
    {"video", "joint_768_a"},
    {"video", "joint_768_b"},
    {"video", "joint_768_c"},
    {"video", "joint_768_d"},
    {"video", "tune_a"},
    {"video", "tune_b"},
    {"video", "tune_c"},
    {"pictures", "pictures_1024"},
    {"pictures", "pictures_tuned"},
    {"upsampler", "small_images_256"},
    {"upsampler", "small_images_1024"},
    {"video", "average"},
    {"upsampler", "upsampler"},
    {"personalize", "identity"},
    {"personalize", "long"},
    {"personalize", "natural"},
    {"personalize", "tune"},
    {"edit", "single_frames"},
    {"edit", "many_frames"},
    {"edit", "backtranslation"},
    {"audio", "audio_codec"},
    {"audio", "sound_pretrained"},
    {"audio", "sound_finetuned"},
};

/* -- what is there before -------------------------------------------------------------------------- */

enum { T5_WIDTH = 24, BYTES_WIDTH = 16 };
static const char clip_set[] = "downloaded"; /* MetaCLIP's towers */

static void save_t5(const char *name, int64_t dim)
{
    mgi_text_config c = {.kind = MGI_TEXT_T5_BYTES,
                         .t5 = {.vocab = MGI_BYTE_VOCAB,
                                .dim = dim,
                                .layers = 1,
                                .heads = 2,
                                .head_dim = 8,
                                .ff_dim = 16,
                                .buckets = 8,
                                .max_distance = 16,
                                .tokens_max = 96,
                                .eps = 1e-6f}};
    mgi_text_encoder e;
    OK(mgi_text_encoder_init(&e, ctx, NULL, &c, NULL));
    OK(mgi_module_random(mgi_text_module(&e), 3));
    OK(mgi_text_encoder_save(&e, folder, name, MGI_ST_F32));
    mgi_text_encoder_finish(&e);
}

static void save_downloads(void)
{
    mgi_stage clip = tiny_clip(1, 4);
    strcpy(clip.save_as, clip_set);
    save_new(clip);
    save_t5("ul2", T5_WIDTH);
    save_t5("byt5", BYTES_WIDTH);
    save_t5("t5", T5_WIDTH);
}

/* -- a stage made small ---------------------------------------------------------------------------- */

/* Multiples of 16 from 48 on: 256 pixels are 64, 768 are 64 too. */
static int64_t side_of(int64_t pixels)
{
    const int64_t by = pixels > 400 ? 12 : 4;
    const int64_t side = (pixels / by + 8) / 16 * 16;
    return side < 48 ? 48 : side;
}

static int64_t frames_of(int64_t frames)
{
    return frames >= 32 ? frames / 16 : frames;
}

/* A bucket of each kind: the first, one amid them, the last, which is of images if there are such. */
static void scale_buckets(mgi_stage *s)
{
    const int64_t at[] = {0, s->bucket_count / 2, s->bucket_count - 1};
    const int64_t count = s->bucket_count < 3 ? s->bucket_count : 3;
    mgi_bucket kept[3];
    for (int64_t i = 0; i < count; i++) {
        kept[i] = s->bucket[count < 3 ? i : at[i]];
        kept[i].width = side_of(kept[i].width);
        kept[i].height = side_of(kept[i].height);
        kept[i].frames =
            s->kind == MGI_STAGE_AUTOENCODER && kept[i].frames > 1 ? 16 : frames_of(kept[i].frames);
        kept[i].batch = 0;
    }
    memcpy(s->bucket, kept, (size_t)count * sizeof *kept);
    s->bucket_count = count;
}

/* Tables keep their proportions: a quarter of the places along each side. */
static void scale_transformer(mgi_vt_config *c, bool sound)
{
    c->layers = 2;
    c->dim = 24;
    c->heads = 2;
    c->ff_dim = 40;
    c->time_dim = 16;
    c->channels = 4;
    c->condition = c->condition ? 4 : 0;
    c->task_dim = c->tasks ? 12 : 0;
    c->features = c->features ? 12 : 0;   /* tiny_clip's projection */
    c->reference = c->reference ? 16 : 0; /* its width */
    c->rows_max = sound ? 1 : c->rows_max / 4;
    c->columns_max = sound ? 1 : c->columns_max / 4;
    c->text[MGI_ROLE_UL2] = T5_WIDTH;
    c->text[MGI_ROLE_BYT5] = sound ? 0 : BYTES_WIDTH;
    c->text[MGI_ROLE_METACLIP] = sound ? 0 : 16;
}

static void scale_autoencoder(mgi_stage *s)
{
    mgi_tae_config *c = &s->tae;
    for (int k = 0; k < c->levels; k++)
        c->channels[k] /= 32;
    c->latent_channels = 4;
    c->groups = 4;
    c->blocks = 1;
    c->tile_frames /= 2;
    c->tile_overlap /= 2;
    s->perceptual_file[0] = '\0'; /* features of random weights */
    s->gan_channels = 4;
    s->gan_start = s->gan_start ? 1 : 0; /* begins within the two steps */
}

static void scale_codec(mgi_stage *s)
{
    mgi_audio_codec_config *c = &s->sound.codec;
    c->dim = 4;
    c->decoder_dim = 32;
    c->latent_channels = 4;
    c->dilations = 1;
    c->hidden = 8;
    s->gan_channels = 2;
    s->frames = 4;
}

static void scale(mgi_stage *s)
{
    const bool clip = s->kind == MGI_STAGE_CLIP, sound = s->kind == MGI_STAGE_AUDIO;
    if (s->kind == MGI_STAGE_AVERAGE)
        return;
    s->steps = 2;
    s->batch = 2;
    s->validate_every = 0;
    s->optimizer.warmup = 1;
    s->clips = 6;
    s->back_steps = 1;
    if (clip)
        snprintf(s->text[MGI_ROLE_METACLIP].from, 64, "%s_clip_text", clip_set);
    if (s->vision.from[0] && strcmp(s->vision.from, "personalizer_vision"))
        snprintf(s->vision.from, 64, "%s_clip_vision", clip_set);
    if (s->vision.frozen && sound)
        strcpy(s->audio.vision, s->vision.from);
    if (s->vision.frozen && s->kind == MGI_STAGE_PERSONALIZER)
        strcpy(s->personalizer.vision, s->vision.from);
    scale_transformer(&s->video, false);
    scale_transformer(&s->audio.transformer, true);
    scale_buckets(s);
    if (s->kind == MGI_STAGE_AUTOENCODER)
        scale_autoencoder(s);
    if (s->kind == MGI_STAGE_AUDIO_CODEC)
        scale_codec(s);
    for (int64_t i = 0; i < s->lengths; i++)
        s->length[i].seconds /= 15.0;
    s->world.camera = s->world.sign = MGI_WORLD_NEVER;
    if (s->kind == MGI_STAGE_AUDIO_CODEC || sound)
        s->world = tiny_world;
}

/* -- the tests --------------------------------------------------------------------------------------- */

static char cache[64]; /* of clips that several stages share */

static void train_stage(const char *file, const char *name)
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    char path[512];
    mgi_stage s;
    struct mgi_stage_run *run;
    snprintf(path, sizeof path, "%.300s/examples/recipes/%s.json", source ? source : ".", file);
    OK(mgi_recipe_stage(ctx, path, name, &s));
    scale(&s);
    const mgi_stage_params p = {.stage = &s, .dir = folder, .seed = 5, .cache_dir = cache};
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(&s);
    if (kind->create(ctx, &p, &run) != MGEN_OK)
        fail_msg("%s: %s", name, mgen_last_error(ctx));
    for (int64_t i = 0; i < s.steps; i++)
        if (kind->step(run, i, NULL) != MGEN_OK)
            fail_msg("%s, step %d: %s", name, (int)i, mgen_last_error(ctx));
    if (kind->save(run) != MGEN_OK)
        fail_msg("%s: %s", name, mgen_last_error(ctx));
    kind->destroy(run);
}

/* After the last stage the folder has all the models of the report, in one pipeline. */
static void test_course(void **state)
{
    mgi_pipeline_file p;
    (void)state;
    save_downloads();
    for (size_t i = 0; i < sizeof course / sizeof course[0]; i++)
        train_stage(course[i][0], course[i][1]);
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    assert_string_equal(p.tae, "tae_opl");
    assert_string_equal(p.video, "video_model");
    assert_string_equal(p.text[MGI_ROLE_METACLIP], "long_prompt_clip_text");
    assert_string_equal(p.upsampler, "upsampler");
    assert_string_equal(p.editor, "editor");
    assert_string_equal(p.personalizer, "personalizer");
    assert_string_equal(p.audio, "audio");
    assert_int_equal(p.clip.frames, 16);
    OK(mgi_pipeline_file_read(ctx, folder, "pictures_tuned_pipeline", &p));
    assert_string_equal(p.tae, "image_autoencoder");
    assert_int_equal(p.clip.frames, 1);
}

/* Tables of positions grew twofold and threefold on the way, in time from one frame to 32. */
static void test_growth(void **state)
{
    static const struct {
        const char *model;
        int64_t frames, rows;
    } grown[] = {{"images_256_video_model", 1, 4},
                 {"joint_256_a_video_model", 32, 8},
                 {"joint_768_a_video_model", 32, 24}};
    (void)state;
    for (size_t i = 0; i < sizeof grown / sizeof grown[0]; i++) {
        mgi_vt vt;
        uint64_t hash;
        OK(mgi_vt_open(ctx, folder, grown[i].model, &vt, &hash));
        assert_int_equal(vt.config.frames_max, grown[i].frames);
        assert_int_equal(vt.config.rows_max, grown[i].rows);
        assert_int_equal(vt.pos_h->dims[0], grown[i].rows);
        mgi_vt_finish(&vt);
    }
}

static int make_all(void **state)
{
    if (make_context_and_folder(state) != 0)
        return -1;
    snprintf(cache, sizeof cache, "%s-cache", folder);
    return mkdir(cache, 0700);
}

static int drop_all(void **state)
{
    return remove_all(cache) | free_context_and_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_course),
                                       cmocka_unit_test(test_growth)};
    return cmocka_run_group_tests_name("report miniature", tests, make_all, drop_all);
}
