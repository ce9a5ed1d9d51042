/* SPDX-License-Identifier: MIT
 * Checkpoints: going on from one gives the bits of a run without a break, and a damaged one changes
 * nothing. */
#include "core/alloc.h"
#include "core/hash.h"
#include "io/safetensors.h"
#include "tensor/device.h"
#include "ok.h"
#include "tiny_stages.h"
#include "train/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { STEPS = 6, BREAK = 3 };

static char folder[] = "/tmp/mgi-resume-XXXXXX";
static mgen_context *ctx;
static mgi_dataset *learned; /* that is learned from; NULL: the toybox */

static mgi_stage changed(mgi_stage stage, int32_t dtype)
{
    stage.validate_every = 4;
    stage.validate_clips = 8;
    stage.dtype = dtype;
    stage.optimizer.warmup = 2;
    stage.optimizer.cosine_from = 0.5;
    stage.optimizer.weight_decay = 0.01;
    stage.optimizer.skip_factor = 8.0;
    return stage;
}

static mgi_stage autoencoder_stage(int32_t dtype)
{
    return changed(tiny_autoencoder(STEPS, 2), dtype);
}

static mgi_stage video_stage(int32_t dtype)
{
    return changed(tiny_text_to_video(STEPS, 4), dtype);
}

static const struct mgi_stage_kind *kind_of(const mgi_stage *stage)
{
    return mgi_stage_kind_of(stage);
}

#include "pair_films.h"

static mgen_context *new_context(int threads)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *made;
    params.threads = (uint32_t)threads;
    assert_int_equal(mgi_context_init(&made, &params), MGEN_OK);
    assert_int_equal(mgi_device_create(made, NULL), MGEN_OK);
    return made;
}

static struct mgi_stage_run *begin(const mgi_stage *stage, uint64_t seed)
{
    struct mgi_stage_run *run;
    mgi_stage_params params = {
        .stage = stage, .dir = folder, .seed = seed, .dataset = learned, .cache_dir = folder};
    OK(kind_of(stage)->create(ctx, &params, &run));
    return run;
}

static void steps(const mgi_stage *stage, struct mgi_stage_run *run, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++)
        OK(kind_of(stage)->step(run, i, NULL));
}

static int64_t position(const mgi_stage *stage, struct mgi_stage_run *run)
{
    mgi_stage_state state;
    kind_of(stage)->state(run, &state);
    return *state.position;
}

static const char *in_folder(const char *name)
{
    static char path[4][128];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static uint8_t *load(const char *name, size_t *size)
{
    FILE *f = fopen(in_folder(name), "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = calloc(1, *size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, f), *size);
    fclose(f);
    return data;
}

static void store(const char *name, const uint8_t *data, size_t size)
{
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

static void assert_same_file(const char *name, const uint8_t *data, size_t size)
{
    size_t other_size;
    uint8_t *other = load(name, &other_size);
    assert_int_equal(other_size, size);
    assert_memory_equal(other, data, size);
    free(other);
}

/* All steps at once; then half of them, a checkpoint, a new context with another number of threads, and
 * the rest: the same model, and the same last checkpoint. */
static void straight_and_resumed(const mgi_stage *stage, const char *weights)
{
    const struct mgi_stage_kind *kind = kind_of(stage);
    size_t size, end_size;
    struct mgi_stage_run *run = begin(stage, 5);
    steps(stage, run, 0, STEPS);
    OK(mgi_checkpoint_save(ctx, kind, run, in_folder("end")));
    OK(kind->save(run));
    kind->destroy(run);
    uint8_t *model = load(weights, &size), *end = load("end", &end_size);

    run = begin(stage, 5);
    steps(stage, run, 0, BREAK);
    OK(mgi_checkpoint_save(ctx, kind, run, in_folder("half")));
    kind->destroy(run);

    mgi_context_free(ctx);
    ctx = new_context(2);
    run = begin(stage, 5);
    steps(stage, run, 0, 1); /* what it held before does not matter */
    OK(mgi_checkpoint_load(ctx, kind, run, in_folder("half")));
    assert_int_equal(position(stage, run), BREAK);
    OK(mgi_checkpoint_save(ctx, kind, run, in_folder("again")));
    steps(stage, run, BREAK, STEPS);
    OK(mgi_checkpoint_save(ctx, kind, run, in_folder("end")));
    OK(kind->save(run));
    kind->destroy(run);
    assert_same_file(weights, model, size);
    assert_same_file("end", end, end_size);
    free(model);
    free(end);
    uint8_t *half = load("half", &size);
    assert_same_file("again", half, size);
    free(half);
}

static void test_autoencoder(void **state)
{
    (void)state;
    for (int32_t dtype = MGK_F32; dtype <= MGK_BF16; dtype++) {
        const mgi_stage stage = autoencoder_stage(dtype);
        straight_and_resumed(&stage, "tae.safetensors");
    }
    mgi_stage stage = autoencoder_stage(MGK_F32);
    stage.frames = 1;
    stage.image_every = stage.image_batch = 0;
    stage.bucket_count = 2;
    stage.bucket[0] = (mgi_bucket){.width = 64, .height = 48, .frames = 9, .weight = 1.0};
    stage.bucket[1] =
        (mgi_bucket){.width = 48, .height = 64, .frames = 1, .batch = 3, .weight = 1.0};
    stage.images = 0.5;
    straight_and_resumed(&stage, "tae.safetensors");
    /* with a discriminator, which has an optimizer of its own */
    stage = autoencoder_stage(MGK_BF16);
    stage.frames = 1;
    stage.gan = 0.5;
    stage.gan_start = 2;
    stage.gan_channels = 4;
    stage.gan_optimizer = stage.optimizer;
    straight_and_resumed(&stage, "tae.safetensors");
}

static void test_audio_codec(void **state)
{
    (void)state;
    mgi_stage stage = changed(tiny_audio_codec(STEPS, 4), MGK_F32);
    straight_and_resumed(&stage, "codec.safetensors");
    stage = changed(tiny_audio_codec(STEPS, 2), MGK_BF16);
    stage.accumulate = 2;
    stage.gan = 0.0;
    straight_and_resumed(&stage, "codec.safetensors");
}

/* A decoder that learns alone: what its encoder makes of a clip does not change, with or without a break. */
static void test_frozen_encoder(void **state)
{
    (void)state;
    mgi_stage stage = autoencoder_stage(MGK_BF16);
    strcpy(stage.name, "first");
    struct mgi_stage_run *run = begin(&stage, 9);
    mgi_stage_state before, after;
    int64_t moved = 0;
    OK(kind_of(&stage)->save(run));
    kind_of(&stage)->destroy(run);
    strcpy(stage.name, "wide");
    strcpy(stage.start_from, "first");
    stage.freeze_encoder = true;
    memcpy(stage.tae.decoder_channels, (int64_t[]){8, 8, 12, 16}, 4 * sizeof(int64_t)); /* wider */
    straight_and_resumed(&stage, "wide.safetensors");

    run = begin(&stage, 9);
    struct mgi_stage_run *trained = begin(&stage, 9);
    steps(&stage, trained, 0, STEPS);
    kind_of(&stage)->state(run, &before);
    kind_of(&stage)->state(trained, &after);
    for (int64_t i = 0; i < before.module[0]->count; i++) {
        const mgi_param *a = before.module[0]->params[i], *b = after.module[0]->params[i];
        const float *x = mgi_f32(a->value), *y = mgi_f32(b->value);
        bool same = !memcmp(x, y, (size_t)a->value->count * sizeof *x);
        if (!strncmp(a->name, "decoder.", 8))
            moved += !same;
        else if (!same)
            fail_msg("%s has changed", a->name);
    }
    assert_true(moved > 0);
    kind_of(&stage)->destroy(trained);
    kind_of(&stage)->destroy(run);
}

/* Everything that has a state of its own or draws one more number. */
static mgi_stage full_stage(int64_t steps)
{
    mgi_stage stage = tiny_text_to_video(steps, 2);
    stage.accumulate = 2;
    stage.bucket_count = 3;
    stage.bucket[0] = (mgi_bucket){.width = 64, .height = 64, .frames = 32, .weight = 1.0};
    stage.bucket[1] = (mgi_bucket){.width = 64, .height = 64, .frames = 9, .weight = 1.0};
    stage.bucket[2] =
        (mgi_bucket){.width = 64, .height = 64, .frames = 1, .batch = 3, .weight = 1.0};
    stage.images = 0.5;
    stage.validate_every = 2;
    stage.validate_clips = 6;
    stage.optimizer.schedule = MGI_LR_PLATEAU;
    stage.optimizer.patience = 1;
    return stage;
}

/* After the autoencoder, whose model it needs. */
static void test_video(void **state)
{
    (void)state;
    for (int32_t dtype = MGK_F32; dtype <= MGK_BF16; dtype++) {
        const mgi_stage stage = video_stage(dtype);
        straight_and_resumed(&stage, "video_model.safetensors");
    }
    const mgi_stage stage = full_stage(STEPS);
    straight_and_resumed(&stage, "video_model.safetensors");
}

/* After both, whose models it needs. */
static void test_upsampler(void **state)
{
    (void)state;
    mgi_stage stage = changed(tiny_upsampler(STEPS, 4), MGK_F32);
    straight_and_resumed(&stage, "upsampler.safetensors");
    stage = changed(tiny_upsampler(STEPS, 2), MGK_BF16);
    stage.accumulate = 2;
    stage.bucket_count = 2;
    stage.bucket[1] = (mgi_bucket){.width = 48, .height = 48, .frames = 1, .weight = 1.0};
    straight_and_resumed(&stage, "upsampler.safetensors");
}

static void assert_refused(const mgi_stage *stage, uint64_t seed, mgen_status status,
                           const char *said)
{
    struct mgi_stage_run *run = begin(stage, seed);
    mgen_status got = mgi_checkpoint_load(ctx, kind_of(stage), run, in_folder("half"));
    if (got != status || !strstr(mgen_last_error(ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(ctx), said);
    assert_int_equal(position(stage, run), 0);
    kind_of(stage)->destroy(run);
}

static void test_editor(void **state)
{
    (void)state;
    mgi_stage stage = changed(tiny_editor(STEPS, 4), MGK_F32);
    straight_and_resumed(&stage, "editor.safetensors");
    stage = changed(tiny_editor(STEPS, 2), MGK_BF16);
    stage.accumulate = 2;
    stage.recompute = MGI_RECOMPUTE_FULL;
    strcpy(stage.save_as, "maker");
    straight_and_resumed(&stage, "maker_editor.safetensors");
    stage = changed(tiny_editor(STEPS, 2), MGK_F32);
    stage.edits[MGI_EDITS_BACK] = 4.0;
    stage.back_steps = 2;
    strcpy(stage.back_from, "maker_editor");
    straight_and_resumed(&stage, "editor.safetensors");
}

/* On pairs of films of a folder. */
static void test_own_edits(void **state)
{
    (void)state;
    make_films(folder, "pairs");
    put_pairs(6);
    learned = open_films();
    mgi_stage stage = changed(tiny_editor(STEPS, 2), MGK_F32);
    stage.edits[MGI_EDITS_SEGMENTATION] = 0.0;
    stage.accumulate = 2;
    straight_and_resumed(&stage, "editor.safetensors");
    struct mgi_stage_run *run = begin(&stage, 5);
    OK(mgi_checkpoint_save(ctx, kind_of(&stage), run, in_folder("half")));
    kind_of(&stage)->destroy(run);
    mgi_dataset_release(learned);
    learned = NULL;
    assert_refused(&stage, 5, MGEN_E_STATE, "\"editor, films of a folder\", but here");
    assert_int_equal(remove_all(films), 0);
}

/* Photos are drawn by (seed, element), whoever goes on. */
static void test_personalizer(void **state)
{
    (void)state;
    mgi_stage stage = changed(tiny_personalizer(STEPS, 2), MGK_BF16);
    stage.accumulate = 2;
    stage.vision.lr_scale = 0.5;
    straight_and_resumed(&stage, "personalizer_vision.safetensors");
    stage = changed(tiny_personalizer(STEPS, 4), MGK_F32);
    strcpy(stage.vision.from, stage.personalizer.vision);
    stage.vision.frozen = true;
    straight_and_resumed(&stage, "personalizer.safetensors");
}

/* A hundred steps, each in a run of its own that goes on from the checkpoint of the one before: after every step the
 * same checkpoint as without a break. */
static void test_every_step(void **state)
{
    enum { ALL = 100 };
    (void)state;
    mgi_stage stage = full_stage(ALL);
    const struct mgi_stage_kind *kind = kind_of(&stage);
    size_t size;
    stage.bucket[0].frames = 16;
    stage.validate_every = 12;
    stage.optimizer.lr = 0.1; /* too much: the plateau schedule has something to do */
    struct mgi_stage_run *whole = begin(&stage, 5);
    OK(mgi_checkpoint_save(ctx, kind, whole, in_folder("again")));
    for (int64_t i = 0; i < ALL; i++) {
        struct mgi_stage_run *run = begin(&stage, 5);
        OK(mgi_checkpoint_load(ctx, kind, run, in_folder("again")));
        steps(&stage, run, i, i + 1);
        OK(mgi_checkpoint_save(ctx, kind, run, in_folder("again")));
        kind->destroy(run);
        steps(&stage, whole, i, i + 1);
        OK(mgi_checkpoint_save(ctx, kind, whole, in_folder("half")));
        uint8_t *half = load("half", &size);
        assert_same_file("again", half, size);
        free(half);
    }
    mgi_stage_state end;
    kind->state(whole, &end);
    assert_true(end.optimizer->plateau[MGI_PLATEAU_HALVINGS] > 1.0f);
    kind->destroy(whole);
}

static mgen_status grey(void *user, uint64_t index, mgen_sample *sample)
{
    (void)user;
    memset(sample->pixels, (int)(index % 200),
           (size_t)sample->width * sample->height * sample->frames * 3);
    return MGEN_OK;
}

/* On the toybox nobody goes on with what was learned from samples of the host, or the other way round: data that one forgot to
 * name. */
static void test_other_data(void **state)
{
    (void)state;
    const mgen_dataset_params params = {.struct_size = sizeof params,
                                        .width = 48,
                                        .height = 48,
                                        .frames = 16,
                                        .count = 8,
                                        .read = grey};
    const mgi_stage stage = autoencoder_stage(MGK_F32);
    OK(mgi_dataset_host(ctx, &params, &learned));
    struct mgi_stage_run *run = begin(&stage, 5);
    steps(&stage, run, 0, 1);
    OK(mgi_checkpoint_save(ctx, kind_of(&stage), run, in_folder("half")));
    kind_of(&stage)->destroy(run);
    run = begin(&stage, 5);
    OK(mgi_checkpoint_load(ctx, kind_of(&stage), run, in_folder("half")));
    assert_int_equal(position(&stage, run), 1);
    kind_of(&stage)->destroy(run);
    mgi_dataset_release(learned);
    learned = NULL;
    assert_refused(&stage, 5, MGEN_E_STATE,
                   "\"autoencoder, samples of a host\", but here it is \"autoencoder\"");
    run = begin(&stage, 5);
    OK(mgi_checkpoint_save(ctx, kind_of(&stage), run, in_folder("half")));
    kind_of(&stage)->destroy(run);
    OK(mgi_dataset_host(ctx, &params, &learned));
    assert_refused(&stage, 5, MGEN_E_STATE,
                   "\"autoencoder\", but here it is \"autoencoder, samples of a host\"");
    mgi_dataset_release(learned);
    learned = NULL;
}

/* Of another stage, recipe, seed, kind or earlier model. */
static void test_other(void **state)
{
    (void)state;
    mgi_stage stage = autoencoder_stage(MGK_F32);
    struct mgi_stage_run *run = begin(&stage, 5);
    OK(mgi_checkpoint_save(ctx, kind_of(&stage), run, in_folder("half")));
    kind_of(&stage)->destroy(run);
    assert_refused(&stage, 6, MGEN_E_STATE, "seed \"5\", but here it is \"6\"");
    stage.optimizer.lr *= 1.0 + 1e-15;
    assert_refused(&stage, 5, MGEN_E_STATE, "recipe");
    stage = autoencoder_stage(MGK_F32);
    strcpy(stage.name, "other");
    assert_refused(&stage, 5, MGEN_E_STATE, "stage \"tae\", but here it is \"other\"");
    stage = autoencoder_stage(MGK_BF16);
    assert_refused(&stage, 5, MGEN_E_STATE, "recipe");
    stage = video_stage(MGK_F32);
    assert_refused(&stage, 5, MGEN_E_STATE, "kind");

    run = begin(&stage, 5);
    OK(mgi_checkpoint_save(ctx, kind_of(&stage), run, in_folder("half")));
    kind_of(&stage)->destroy(run);
    mgi_stage earlier = autoencoder_stage(MGK_F32);
    run = begin(&earlier, 7);
    OK(kind_of(&earlier)->save(run));
    kind_of(&earlier)->destroy(run);
    assert_refused(&stage, 5, MGEN_E_STATE, "earlier stage's model");
}

/* A checkpoint is refused before a step is made: how much there is to learn from does not matter. */
static mgi_stage few_clips(mgi_stage stage)
{
    stage = changed(stage, MGK_F32);
    stage.clips = 2;
    stage.bucket_count = 1;
    stage.bucket[0].frames = 1;
    return stage;
}

/* What the recipe says of an upsampler is of its recipe. */
static void test_other_upsampler(void **state)
{
    (void)state;
    mgi_stage stage = few_clips(tiny_upsampler(STEPS, 1));
    stage.bucket[0].width = stage.bucket[0].height = 64;
    struct mgi_stage_run *run = begin(&stage, 5);
    OK(mgi_checkpoint_save(ctx, kind_of(&stage), run, in_folder("half")));
    OK(mgi_checkpoint_load(ctx, kind_of(&stage), run, in_folder("half")));
    kind_of(&stage)->destroy(run);
    for (int i = 0; i < 7; i++) {
        mgi_stage other = stage;
        other.degrade.pass[1].noise = i == 6 ? 0.3f : 0.0f;
        other.upsampler.factor += 2 * (i == 0);
        other.upsampler.frames += i == 1;
        other.upsampler.overlap -= i == 2;
        other.upsampler.steps += i == 3;
        other.artifacts_share *= i == 4 ? 0.5 : 1.0;
        other.artifacts[0] = i == 5 ? '\0' : other.artifacts[0];
        assert_refused(&other, 5, MGEN_E_STATE, "recipe");
    }
}

static void test_other_editor(void **state)
{
    (void)state;
    mgi_stage stage = few_clips(tiny_editor(STEPS, 1));
    stage.edits[MGI_EDITS_BACK] = 4.0;
    stage.back_steps = 1;
    strcpy(stage.back_from, "maker_editor");
    struct mgi_stage_run *run = begin(&stage, 5);
    OK(mgi_checkpoint_save(ctx, kind_of(&stage), run, in_folder("half")));
    OK(mgi_checkpoint_load(ctx, kind_of(&stage), run, in_folder("half")));
    kind_of(&stage)->destroy(run);
    for (int i = 0; i < 6 + MGI_EDITS_KINDS; i++) {
        mgi_stage other = stage;
        other.drop_source *= i == 0 ? 0.5 : 1.0;
        other.drop_both *= i == 1 ? 0.5 : 1.0;
        other.editor.steps += i == 2;
        other.editor.source_guidance += i == 3 ? 0.5f : 0.0f;
        other.back_steps += i == 4;
        if (i == 5)
            strcpy(other.back_from, "editor");
        if (i > 5)
            other.edits[i - 6] = 2.0;
        assert_refused(&other, 5, MGEN_E_STATE, "recipe");
    }
}

static void test_other_personalizer(void **state)
{
    (void)state;
    mgi_stage stage = few_clips(tiny_personalizer(STEPS, 1));
    struct mgi_stage_run *run = begin(&stage, 5);
    OK(mgi_checkpoint_save(ctx, kind_of(&stage), run, in_folder("half")));
    OK(mgi_checkpoint_load(ctx, kind_of(&stage), run, in_folder("half")));
    kind_of(&stage)->destroy(run);
    for (int i = 0; i < 9; i++) {
        mgi_stage other = stage;
        other.drop_source *= i == 0 ? 0.5 : 1.0;
        other.drop_both *= i == 1 ? 0.5 : 1.0;
        other.personalizer.steps += i == 2;
        other.personalizer.source_guidance += i == 3 ? 0.5f : 0.0f;
        other.photos[0] *= i == 4 ? 0.5 : 1.0;
        other.photos[1] *= i == 5 ? 0.5 : 1.0;
        other.vision.lr_scale *= i == 6 ? 0.5 : 1.0;
        other.vision.config.ff_dim += i == 7;
        other.vision.config.mean[1] += i == 8 ? 0.25f : 0.0f;
        assert_refused(&other, 5, MGEN_E_STATE, "recipe");
    }
}

/* The statuses that a damaged file may give; the run is as it was. */
static void assert_damage_seen(const mgi_stage *stage, struct mgi_stage_run *run,
                               const uint8_t *before, size_t before_size, size_t where)
{
    mgen_status got = mgi_checkpoint_load(ctx, kind_of(stage), run, in_folder("bad"));
    if (got != MGEN_E_CORRUPT && got != MGEN_E_VERSION)
        fail_msg("byte %zu: %s: %s", where, mgen_status_name(got), mgen_last_error(ctx));
    assert_int_equal(position(stage, run), 1);
    if (where % 256 == 0) {
        OK(mgi_checkpoint_save(ctx, kind_of(stage), run, in_folder("again")));
        assert_same_file("again", before, before_size);
    }
}

/* Cut at many lengths; bits turned in each byte of the metadata, and in some of the header and the data. */
static void test_damaged(void **state)
{
    (void)state;
    mgi_stage stage = autoencoder_stage(MGK_F32);
    size_t size, before_size;
    uint64_t header;
    struct mgi_stage_run *run = begin(&stage, 5);
    steps(&stage, run, 0, 2);
    OK(mgi_checkpoint_save(ctx, kind_of(&stage), run, in_folder("half")));
    kind_of(&stage)->destroy(run);
    uint8_t *file = load("half", &size);
    memcpy(&header, file, 8);
    header += 8;
    run = begin(&stage, 5);
    steps(&stage, run, 0, 1);
    OK(mgi_checkpoint_save(ctx, kind_of(&stage), run, in_folder("again")));
    uint8_t *before = load("again", &before_size);

    for (size_t n = 0; n < size; n += n < 100 ? 1 : n < 2000 ? 61 : 1 + size / 61) {
        store("bad", file, n);
        assert_damage_seen(&stage, run, before, before_size, n);
    }
    for (size_t at = 0; at < size; at += at < 560 ? 1 : at < header ? 131 : 1 + size / 41) {
        static const uint8_t flips[] = {1, 0x20, 0xFF};
        file[at] ^= flips[at % 3];
        store("bad", file, size);
        assert_damage_seen(&stage, run, before, before_size, at);
        file[at] ^= flips[at % 3];
    }
    char *version = strstr((char *)file + 8, "\"version\": \"1\"");
    assert_non_null(version);
    version[12] = '2';
    store("bad", file, size);
    assert_int_equal(mgi_checkpoint_load(ctx, kind_of(&stage), run, in_folder("bad")),
                     MGEN_E_VERSION);
    assert_non_null(strstr(mgen_last_error(ctx), "version \"2\""));
    assert_int_equal(
        mgi_checkpoint_load(ctx, kind_of(&stage), run, in_folder("nothing.safetensors")),
        MGEN_E_NOT_FOUND);
    OK(mgi_checkpoint_load(ctx, kind_of(&stage), run, in_folder("half")));
    assert_int_equal(position(&stage, run), 2);
    kind_of(&stage)->destroy(run);
    free(file);
    free(before);
}

/* ---- hand-made files ------------------------------------------------------------------------------ */

enum {
    PAIRS = 9,
    TENSORS_MAX = 1000,
    LAST = 7
}; /* metadata; tensors; what the hash covers ends with the step */

static const char *const names[PAIRS] = {"format", "version", "kind", "stage", "recipe",
                                         "seed",   "parent",  "step", "check"};

/* The tensors of "half" and its metadata, to be changed. */
typedef struct hand_made {
    mgi_st_file good;
    const char *text[PAIRS]; /* NULL: left out */
    const char *more;        /* one more name */
    mgi_st_source list[TENSORS_MAX];
    float *values[TENSORS_MAX];
    int64_t count;
} hand_made;

static void begin_hand_made(hand_made *h)
{
    memset(h, 0, sizeof *h);
    OK(mgi_st_open(ctx, folder, "half", &h->good));
    assert_true(h->good.count < TENSORS_MAX);
    for (int i = 0; i < PAIRS; i++)
        h->text[i] = mgi_json_find(h->good.metadata, names[i])->s;
    for (h->count = 0; h->count < h->good.count; h->count++) {
        const mgi_st_entry *e = &h->good.entries[h->count];
        float *values = h->values[h->count] = test_malloc(e->bytes + 1);
        OK(mgi_st_read_bytes(ctx, e, 0, values, e->bytes));
        h->list[h->count] =
            (mgi_st_source){.name = e->name, .store = MGI_ST_F32, .rank = e->rank, .data = values};
        memcpy(h->list[h->count].dims, e->dims, (size_t)e->rank * sizeof *e->dims);
    }
}

static void end_hand_made(hand_made *h)
{
    for (int64_t i = 0; i < h->good.count; i++)
        test_free(h->values[i]);
    mgi_st_close(ctx, &h->good);
}

static void write_hand_made(const hand_made *h)
{
    const char *pairs[2 * PAIRS + 2];
    int n = 0;
    for (int i = 0; i < PAIRS; i++) {
        if (!h->text[i])
            continue;
        pairs[2 * n] = names[i];
        pairs[2 * n++ + 1] = h->text[i];
    }
    if (h->more) {
        pairs[2 * n] = h->more;
        pairs[2 * n++ + 1] = "x";
    }
    OK(mgi_st_write(ctx, in_folder("bad"), h->list, h->count, pairs, n));
}

/* With the hash of what it holds: as the library would have written it. */
static void sign_hand_made(hand_made *h, char check[20])
{
    mgi_st_file st;
    uint64_t hash = 0;
    write_hand_made(h);
    OK(mgi_st_open(ctx, folder, "bad", &st));
    for (int i = 0; i <= LAST; i++)
        hash = mgi_hash64(h->text[i] ? h->text[i] : "", strlen(h->text[i] ? h->text[i] : "") + 1,
                          hash);
    for (int64_t k = 0; k < st.count; k++) {
        const mgi_st_entry *e = &st.entries[k];
        hash = mgi_hash64(e->name, strlen(e->name) + 1, hash);
        hash = mgi_hash64(e->dims, (size_t)e->rank * sizeof *e->dims, hash);
        hash = mgi_hash64_begin(hash);
        OK(mgi_st_hash_piece(ctx, e, &hash));
        hash = mgi_hash64_end(hash);
    }
    mgi_st_close(ctx, &st);
    snprintf(check, 20, "%016llx", (unsigned long long)hash);
    h->text[PAIRS - 1] = check;
    write_hand_made(h);
}

/* One rule broken each, in a file whose hash is right. */
static void test_hand_made(void **state)
{
    static const char long_text[] =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaa";
    enum {
        RIGHT = -1,
        FEWER = -2,
        MORE = -3,
        NAME = -4,
        SHAPE = -5,
        RANK = -6,
        DTYPE = -7,
        EXTRA = -8
    };
    static const struct {
        int what; /* a metadata text, or one of the above */
        const char *to;
        mgen_status status;
        const char *said;
    } bad[] = {
        {RIGHT, NULL, MGEN_OK, ""},
        {0, NULL, MGEN_E_CORRUPT, "is no checkpoint: its \"format\" is missing"},
        {0, "moviegen", MGEN_E_CORRUPT, "is no checkpoint: its \"format\" is \"moviegen\""},
        {1, "2", MGEN_E_VERSION, "is of version \"2\"; this library reads 1"},
        {1, "01", MGEN_E_CORRUPT, "is of version \"01\""},
        {1, "0", MGEN_E_CORRUPT, "is of version \"0\""},
        {1, "", MGEN_E_CORRUPT, "is of version \"\""},
        {2, "average", MGEN_E_STATE, "kind \"average\""},
        {3, long_text, MGEN_E_CORRUPT, "its \"stage\" is too long"},
        {5, NULL, MGEN_E_CORRUPT, "its \"seed\" is missing"},
        {7, "7", MGEN_E_CORRUPT, "its \"step\" is \"7\", which is not within 0..6"},
        {7, "01", MGEN_E_CORRUPT, "its \"step\" is \"01\""},
        {7, "-1", MGEN_E_CORRUPT, "its \"step\" is \"-1\""},
        {7, "", MGEN_E_CORRUPT, "its \"step\" is \"\""},
        {7, "99999999999999999999", MGEN_E_CORRUPT, "its \"step\" is \"9999"},
        {EXTRA, NULL, MGEN_E_CORRUPT, "has metadata that no checkpoint has"},
        {FEWER, NULL, MGEN_E_CORRUPT, "tensors, not"},
        {MORE, NULL, MGEN_E_CORRUPT, "tensors, not"},
        {NAME, NULL, MGEN_E_CORRUPT, "lacks the tensor \""},
        {SHAPE, NULL, MGEN_E_CORRUPT, "has another shape or dtype"},
        {RANK, NULL, MGEN_E_CORRUPT, "has another shape or dtype"},
        {DTYPE, NULL, MGEN_E_CORRUPT, "has another shape or dtype"},
    };
    mgi_stage stage = autoencoder_stage(MGK_F32);
    char check[20];
    float one = 1.0f;
    static hand_made h;
    (void)state;
    struct mgi_stage_run *run = begin(&stage, 5);
    OK(mgi_checkpoint_save(ctx, kind_of(&stage), run, in_folder("half")));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        begin_hand_made(&h);
        mgi_st_source *last = &h.list[h.count - 1];
        if (bad[i].what >= 0)
            h.text[bad[i].what] = bad[i].to;
        h.more = bad[i].what == EXTRA ? "more" : NULL;
        h.count -= bad[i].what == FEWER;
        if (bad[i].what == MORE)
            h.list[h.count++] = (mgi_st_source){.name = "~", .rank = 1, .dims = {1}, .data = &one};
        if (bad[i].what == NAME)
            last->name = "~";
        if (bad[i].what == SHAPE)
            last->dims[0]--;
        if (bad[i].what == RANK)
            last->dims[last->rank++] = 1;
        if (bad[i].what == DTYPE)
            last->store = MGI_ST_BF16;
        sign_hand_made(&h, check);
        mgen_status got = mgi_checkpoint_load(ctx, kind_of(&stage), run, in_folder("bad"));
        if (got != bad[i].status || (got != MGEN_OK && !strstr(mgen_last_error(ctx), bad[i].said)))
            fail_msg("%zu: %s: '%s' does not say '%s'", i, mgen_status_name(got),
                     mgen_last_error(ctx), bad[i].said);
        assert_int_equal(position(&stage, run), 0);
        end_hand_made(&h);
    }
    begin_hand_made(&h);
    h.text[PAIRS - 1] = "0123456789abcdef";
    write_hand_made(&h);
    assert_int_equal(mgi_checkpoint_load(ctx, kind_of(&stage), run, in_folder("bad")),
                     MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "is damaged: what it holds"));
    end_hand_made(&h);
    kind_of(&stage)->destroy(run);
}

static int make_folder(void **state)
{
    (void)state;
    ctx = new_context(1);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    return remove_all(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_autoencoder),    cmocka_unit_test(test_audio_codec),
        cmocka_unit_test(test_frozen_encoder), cmocka_unit_test(test_video),
        cmocka_unit_test(test_upsampler),      cmocka_unit_test(test_editor),
        cmocka_unit_test(test_own_edits),      cmocka_unit_test(test_personalizer),
        cmocka_unit_test(test_other_editor),   cmocka_unit_test(test_other_personalizer),
        cmocka_unit_test(test_every_step),     cmocka_unit_test(test_other),
        cmocka_unit_test(test_other_data),     cmocka_unit_test(test_other_upsampler),
        cmocka_unit_test(test_hand_made),      cmocka_unit_test(test_damaged)};
    return cmocka_run_group_tests_name("resume", tests, make_folder, remove_folder);
}
