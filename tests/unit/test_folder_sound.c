/* SPDX-License-Identifier: MIT
 * The sound of a folder's films: in step with their pictures at any rate of either, at the models' rate, silent behind its end;
 * what is kept of it, what it is told as, what is missing; and the stages that learn from it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "data/dataset_sound.h"
#include "data/world_sound.h"
#include "find_plugin.h"
#include "logged.h"
#include "media/track.h"
#include "stage_runs.h"
#include "films_folder.h"
#include "onsets.h"
#include "text/audio_caption.h"
#include "text/byte_tokenizer.h"
#include "kernels/pointwise/pointwise.h"
#include "tiny_networks.h"
#include "train/audio_stage.h"

static uint8_t *light_frames(int frames, int fps, double onset)
{
    uint8_t *rgb = malloc((size_t)frames * FRAME);
    assert_non_null(rgb);
    light_up(rgb, frames, fps, onset);
    return rgb;
}

static void put_film(const char *name, int frames, int fps, double onset)
{
    uint8_t *rgb = light_frames(frames, fps, onset);
    const mgi_frames f = {rgb, SIDE, SIDE, frames, (uint32_t)fps, 1};
    OK(mgi_frames_write(ctx, in_films(name), &f));
    free(rgb);
}

/* The two channels have 0.6 and 0.2 of the tone. */
static mgi_track make_tone(double length, uint32_t rate, double onset)
{
    mgi_track t;
    OK(mgi_track_make(ctx, (int64_t)(length * rate), rate, 2, &t));
    for (int64_t i = 0; i < t.count; i++) {
        t.samples[2 * i] = (float)(1.5 * tone((double)i / rate, onset));
        t.samples[2 * i + 1] = (float)(0.5 * tone((double)i / rate, onset));
    }
    return t;
}

static void put_sound(const char *name, double length, uint32_t rate, double onset)
{
    mgi_track t = make_tone(length, rate, onset);
    OK(mgi_track_write(ctx, in_films(name), &t));
    mgi_free(ctx, t.samples);
}

static mgi_dataset *open_films(void)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgi_dataset *ds;
    p.width = p.height = SIDE;
    p.frames = FRAMES;
    OK(mgi_dataset_folder(ctx, films, &p, &ds));
    return ds;
}

static int make_films(void **state)
{
    (void)state;
    snprintf(films, sizeof films, "%.40s/films", folder);
    return mkdir(films, 0700);
}

static int remove_films(void **state)
{
    (void)state;
    return remove_all(films);
}

/* ---- sound and pictures --------------------------------------------------------------------------- */

static void test_in_step(void **state)
{
    static const struct {
        const char *film, *sound;
        int fps;
        uint32_t rate;
    } kinds[] = {{"a.y4m", "a.wav", 16, 48000},
                 {"b.y4m", "b.wav", 25, 44100},
                 {"c.y4m", "c.wav", 60, 22050},
                 {"d.y4m", "d.wav", 8, 96000}};
    (void)state;
    for (int k = 0; k < 4; k++) {
        put_film(kinds[k].film, kinds[k].fps / 2 + 1, kinds[k].fps, 0.25);
        put_sound(kinds[k].sound, 0.5, kinds[k].rate, 0.25);
    }
    mgi_dataset *ds = open_films();
    assert_true(mgi_dataset_sounds(ds));
    for (uint64_t k = 0; k < 4; k++)
        for (int fps = 8; fps <= 32; fps *= 2)
            assert_onsets(ds, k, kinds[k].fps, fps, 0.25);
    /* at the film's own rate, its frames; at half of it, every other one; at twice it, each two times */
    uint8_t own[FRAMES * FRAME], seen[FRAMES * FRAME];
    OK(mgi_dataset_piece(ctx, ds, 0, 0, 8, own, NULL));
    OK(mgi_dataset_watch(ctx, ds, 0, 16.0, 8, seen));
    assert_memory_equal(own, seen, 8 * FRAME);
    OK(mgi_dataset_watch(ctx, ds, 0, 32.0, 16, seen));
    for (int i = 0; i < 16; i++)
        assert_memory_equal(own + i / 2 * FRAME, seen + i * FRAME, FRAME);
    OK(mgi_dataset_watch(ctx, ds, 0, 8.0, 4, seen));
    for (int i = 0; i < 4; i++)
        assert_memory_equal(own + (2 * i + 1) * FRAME, seen + i * FRAME, FRAME);
    /* the last of four is the one that is held out */
    OK(mgi_dataset_watch(ctx, ds, 3, 16.0, 8, own));
    OK(mgi_dataset_held_watch(ctx, ds, 0, 16.0, 8, seen));
    assert_memory_equal(own, seen, 8 * FRAME);
    assert_said(mgi_dataset_watch(ctx, ds, 1, 16.0, 16, seen), MGEN_E_INVALID, "b.y4m");
    assert_said(mgi_dataset_watch(ctx, ds, 1, 16.0, FRAMES + 1, seen), MGEN_E_INVALID, "up to 16");
    assert_said(mgi_dataset_watch(ctx, ds, 4, 16.0, 1, seen), MGEN_E_INVALID, "there are 4");
    mgi_dataset_release(ds);
}

static void test_samples(void **state)
{
    enum { PIECE = 6000 };
    static float x[PIECE];
    int64_t length;
    (void)state;
    put_film("a.y4m", 4, 16, 0.0);
    put_sound("a.wav", 0.25, 44100, -0.1);
    mgi_dataset *ds = open_films();
    OK(mgi_dataset_sound_length(ctx, ds, 0, &length));
    assert_int_equal(length, RATE / 4);
    OK(mgi_dataset_hear(ctx, ds, 0, 1000, PIECE, x));
    for (int i = 0; i < PIECE; i++)
        assert_float_equal(x[i], tone((1000.0 + i) / RATE, -0.1), 2e-3);
    OK(mgi_dataset_held_hear(ctx, ds, 0, 9000, PIECE, x)); /* a single film is both */
    for (int i = 0; i < 2900; i++)                         /* and at its end there is a jump */
        assert_float_equal(x[i], tone((9000.0 + i) / RATE, -0.1), 2e-3);
    for (int i = 3000; i < PIECE; i++)
        assert_true(x[i] == 0.0f);
    OK(mgi_dataset_hear(ctx, ds, 0, INT64_C(1) << 39, PIECE, x));
    for (int i = 0; i < PIECE; i++)
        assert_true(x[i] == 0.0f);
    assert_said(mgi_dataset_hear(ctx, ds, 1, 0, PIECE, x), MGEN_E_INVALID, "sample 1");
    mgi_dataset_release(ds);
}

/* Of clips of one film, that a curation has listed, each has its own part of the sound, silent behind the film's end. */
static void test_listed_clips(void **state)
{
    enum { PIECE = 400 };
    float x[PIECE];
    int64_t length;
    (void)state;
    put_film("a.y4m", 40, 16, 0.375);
    put_sound("a.wav", 1.5, 44100, 0.375);
    put_text("clips.jsonl", "{\"file\":\"a.y4m\",\"first\":0,\"frames\":16}\r\n \r\n"
                            "{\"file\":\"a.y4m\",\"first\":2,\"frames\":16}\n"
                            "{\"file\":\"a.y4m\",\"first\":20,\"frames\":16}\n"
                            "{\"file\":\"a.y4m\",\"first\":24,\"frames\":16}\n");
    mgi_dataset *ds = open_films();
    assert_int_equal(ds->count, 4);
    for (int fps = 8; fps <= 32; fps *= 2) {
        assert_onsets(ds, 0, 16, fps, 0.375);
        assert_onsets(ds, 1, 16, fps, 0.25);
    }
    static const int64_t wanted[] = {RATE, RATE, RATE / 4, 0}; /* the sound has 1.5 seconds */
    for (uint64_t i = 0; i < 4; i++) {
        OK(mgi_dataset_sound_length(ctx, ds, i, &length));
        assert_int_equal(length, wanted[i]);
    }
    OK(mgi_dataset_hear(ctx, ds, 2, 1000, PIECE, x));
    for (int i = 0; i < PIECE; i++)
        assert_float_equal(x[i], tone(1.25 + (1000.0 + i) / RATE, 0.375), 2e-3);
    OK(mgi_dataset_hear(ctx, ds, 3, 0, PIECE, x));
    for (int i = 0; i < PIECE; i++)
        assert_true(x[i] == 0.0f);
    mgi_dataset_release(ds);
}

/* ---- what is kept --------------------------------------------------------------------------------- */

static void test_kept(void **state)
{
    enum { PIECE = 100 };
    float x[PIECE], again[PIECE];
    const uint64_t limit = ctx->heap->max;
    (void)state;
    put_film("a.y4m", 4, 16, 0.0);
    put_film("b.y4m", 4, 16, 0.0);
    put_film("c.y4m", 4, 16, 0.0);
    mgi_dataset *ds = open_films();
    const uint64_t identity = ds->identity;
    assert_false(mgi_dataset_sounds(ds));
    mgi_dataset_release(ds);
    put_sound("a.wav", 0.5, 48000, 0.0);
    put_sound("b.wav", 0.5, 48000, 0.1);
    put_sound("c.wav", 0.5, 48000, 0.2);
    ds = open_films();
    assert_true(mgi_dataset_sounds(ds) && ds->identity != identity);
    OK(mgi_dataset_hear(ctx, ds, 0, 50, PIECE, x));
    OK(mgi_dataset_hear(ctx, ds, 1, 0, PIECE, again));
    unlink(in_films("a.wav"));
    OK(mgi_dataset_hear(ctx, ds, 0, 50, PIECE, again)); /* it is not read again */
    assert_memory_equal(x, again, sizeof x);
    /* there is room for two: of b, which was not heard for the longest time, nothing is left */
    ctx->heap->max = 4 * 2 * RATE / 2 * sizeof(float) + 4;
    unlink(in_films("b.wav"));
    mgen_status status = mgi_dataset_hear(ctx, ds, 2, 0, PIECE, again);
    ctx->heap->max = limit;
    OK(status);
    assert_said(mgi_dataset_hear(ctx, ds, 1, 0, PIECE, again), MGEN_E_NOT_FOUND, "b.wav");
    OK(mgi_dataset_hear(ctx, ds, 0, 50, PIECE, again));
    assert_memory_equal(x, again, sizeof x);
    OK(mgi_dataset_hear(ctx, ds, 2, 0, PIECE, again));
    mgi_dataset_release(ds);
}

/* ---- what is missing, what is told ---------------------------------------------------------------- */

static void test_missing(void **state)
{
    float x[10];
    int64_t length;
    (void)state;
    put_film("a.y4m", 4, 16, 0.0);
    put_film("quiet one.y4m", 4, 16, 0.0);
    put_sound("a.wav", 0.1, 48000, 0.0);
    mgi_dataset *ds = open_films();
    OK(mgi_dataset_hear(ctx, ds, 0, 0, 10, x));
    assert_said(mgi_dataset_hear(ctx, ds, 1, 0, 10, x), MGEN_E_INVALID, "'quiet one.wav'");
    assert_said(mgi_dataset_sound_length(ctx, ds, 1, &length), MGEN_E_INVALID, "quiet one.y4m");
    mgi_dataset_release(ds);
    put_text("a.wav", "RIFF but no sound");
    ds = open_films();
    assert_said(mgi_dataset_hear(ctx, ds, 0, 0, 10, x), MGEN_E_CORRUPT, "a.wav");
    mgi_dataset_release(ds);
}

static void test_told(void **state)
{
    char caption[MGI_CAPTION_SIZE], want[MGI_CAPTION_SIZE], text[MGI_CAPTION_SIZE];
    mgi_audio_words words = {.quality = 7.0f, .description = "a 'red' ball"};
    size_t bad;
    (void)state;
    put_film("a.y4m", 4, 16, 0.0);
    put_film("b.y4m", 4, 16, 0.0);
    put_film("c.y4m", 4, 16, 0.0);
    put_film("d.y4m", 4, 16, 0.0);
    put_sound("a.wav", 0.1, 48000, 0.0);
    put_text("a.txt", "what is seen");
    put_text("a.sound.txt", "This audio is\nloud.\n");
    put_text("b.txt", "a \"red\" ball\n");
    for (int i = 0; i < MGI_CAPTION_SIZE - 3; i += 2)
        memcpy(text + i, "\xC3\xA4", 3);
    put_text("d.txt", text);
    mgi_dataset *ds = open_films();
    mgi_dataset_sound_caption(ds, 0, 5, caption);
    assert_string_equal(caption, "This audio is loud.");
    mgi_dataset_caption(ds, 0, caption);
    assert_string_equal(caption, "what is seen");
    mgi_dataset_sound_caption(ds, 1, 2, caption);
    mgi_audio_caption(&words, want, sizeof want);
    assert_string_equal(caption, want);
    mgi_dataset_sound_caption(ds, 2, 0, caption);
    words.description = "";
    mgi_audio_caption(&words, want, sizeof want);
    assert_string_equal(caption, want);
    mgi_dataset_held_sound_caption(
        ds, 0, caption); /* of d: all of the form, as much as fits of the text */
    assert_true(mgi_utf8_valid(caption, strlen(caption), &bad));
    assert_in_range(strlen(caption), MGI_CAPTION_SIZE - 2, MGI_CAPTION_SIZE - 1);
    const char *tail = strstr(want, "\". This audio contains music");
    assert_non_null(tail);
    assert_string_equal(caption + strlen(caption) - strlen(tail), tail);
    mgi_dataset_release(ds);
}

/* ---- a real container ----------------------------------------------------------------------------- */

/* Its own track; not that of a film beside which there is a .wav, nor of one that has none. */
static void test_container(void **state)
{
    double seconds[2];
    float x[10];
    (void)state;
    if (!find_plugin(ctx))
        return;
    uint8_t *rgb = light_frames(13, 25, 0.24);
    const mgi_frames f = {rgb, SIDE, SIDE, 13, 25, 1};
    mgi_track t = make_tone(0.52, 48000, 0.24);
    mgen_status status = mgi_movie_write(ctx, in_films("a.mkv"), &f, &t);
    if (status == MGEN_OK)
        status = mgi_movie_write(ctx, in_films("b.mkv"), &f, &t);
    if (status == MGEN_OK)
        status = mgi_frames_write(ctx, in_films("c.mkv"), &f);
    mgi_free(ctx, t.samples);
    free(rgb);
    if (status == MGEN_E_UNSUPPORTED) { /* a build of FFmpeg without that encoder */
        print_message("skipped: %s\n", mgen_last_error(ctx));
        return;
    }
    OK(status);
    put_sound("b.wav", 0.5, 48000, 0.4);
    mgi_dataset *ds = open_films();
    find_onsets(ds, 0, 25, seconds);
    assert_float_equal(seconds[0], 0.24, 0.001);
    assert_float_equal(seconds[1], 0.24, 0.025); /* what lossy codecs smear */
    find_onsets(ds, 1, 25, seconds);
    assert_float_equal(seconds[1], 0.4, 0.001);
    assert_said(mgi_dataset_hear(ctx, ds, 2, 0, 10, x), MGEN_E_UNSUPPORTED, "'c.wav'");
    assert_said(mgi_dataset_check_sounds(ctx, ds), MGEN_E_UNSUPPORTED, "'c.wav'");
    mgi_dataset_release(ds);
    put_sound("c.wav", 0.5, 48000, 0.4);
    ds = open_films();
    OK(mgi_dataset_check_sounds(ctx, ds));
    mgi_dataset_release(ds);
}

/* ---- stages --------------------------------------------------------------------------------------- */

/* Two films of other rates, and one that is held out. */
static mgi_dataset *films_to_learn(void)
{
    put_film("a.y4m", 16, 25, 0.2);
    put_film("b.y4m", 30, 50, 0.3);
    put_film("c.y4m", 12, 16, 0.1);
    put_sound("a.wav", 0.7, 44100, 0.2);
    put_sound("b.wav", 0.3, 48000, 0.3);
    put_sound("c.wav", 0.6, 48000, 0.1);
    put_text("a.txt", "it is light");
    return open_films();
}

static void step(const mgi_stage *s, struct mgi_stage_run *run)
{
    mgen_report *report;
    int losses = 0;
    OK(mgi_report_create(ctx, &report));
    OK(mgi_stage_kind_of(s)->step(run, 0, report));
    for (uint32_t k = 0; k < mgen_report_count(report); k++) {
        assert_true(isfinite(mgen_report_value(report, k)));
        losses += strstr(mgen_report_name(report, k), "loss") != NULL;
    }
    assert_true(losses > 0);
    mgen_report_destroy(report);
}

static void test_audio_codec_stage(void **state)
{
    mgi_stage s = tiny_audio_codec(1, 2);
    struct mgi_stage_run *run;
    (void)state;
    mgi_dataset *ds = films_to_learn();
    s.validate_every = 1;
    OK(create_on(&s, ds, &run));
    step(&s, run);
    mgi_stage_kind_of(&s)->destroy(run);
    mgi_dataset_release(ds);
    unlink(in_films("c.wav"));
    ds = open_films(); /* what validation hears; no step is taken before it is missed */
    assert_said(create_on(&s, ds, &run), MGEN_E_INVALID, "c.y4m");
    mgi_dataset_release(ds);
    put_text("c.wav", "RIFF but no sound");
    ds = open_films();
    OK(create_on(&s, ds, &run));
    mgen_report *report;
    OK(mgi_report_create(ctx, &report));
    assert_said(mgi_stage_kind_of(&s)->step(run, 0, report), MGEN_E_CORRUPT, "c.wav");
    mgen_report_destroy(report);
    mgi_stage_kind_of(&s)->destroy(run);
    mgi_dataset_release(ds);
}

/* Sounds that are damaged when the codec is to be saved do not keep it from that. */
static void test_codec_is_saved(void **state)
{
    const mgi_stage s = tiny_audio_codec(1, 2);
    struct mgi_stage_run *run;
    (void)state;
    mgi_dataset *ds = films_to_learn();
    OK(create_on(&s, ds, &run));
    ctx->log = keep_warnings;
    put_text("a.wav", "RIFF but no sound");
    OK(mgi_stage_kind_of(&s)->save(run));
    assert_non_null(strstr(logged, "samples by which latents are normalised cannot be read and are "
                                   "passed over; the first: "));
    assert_non_null(strstr(logged, "a.wav"));
    mgi_stage_kind_of(&s)->destroy(run);
    mgi_dataset_release(ds);
    put_sound("a.wav", 0.7, 44100, 0.2);
    ds = open_films(); /* of which nothing was heard */
    OK(create_on(&s, ds, &run));
    put_text("a.wav", "RIFF but no sound");
    unlink(in_films("b.wav"));
    logged[0] = '\0';
    OK(mgi_stage_kind_of(&s)->save(run));
    assert_non_null(strstr(logged, "mean and deviation stay what they were"));
    ctx->log = NULL;
    mgi_stage_kind_of(&s)->destroy(run);
    mgi_dataset_release(ds);
}

static void write_codec(mgi_json_writer *w, const void *config)
{
    mgi_audio_codec_config_write(w, config);
}

static void test_audio_stage(void **state)
{
    const mgi_audio_codec_config config = {.levels = 2,
                                           .strides = {40, 48},
                                           .dim = 4,
                                           .decoder_dim = 8,
                                           .latent_channels = 3,
                                           .dilations = 1,
                                           .dilation = {1},
                                           .rate = RATE};
    mgi_stage s = {
        .name = "sound",
        .kind = MGI_STAGE_AUDIO,
        .steps = 1,
        .batch = 2,
        .accumulate = 1,
        .optimizer = tiny_optimizer,
        .codec = "codec",
        .text = {{.name = "audio_text",
                  .config = {.kind = MGI_TEXT_T5_BYTES, .t5 = {TINY_T5, .tokens_max = 64}}}},
        .vision.config = {.image = 8,
                          .patch = 4,
                          .dim = 8,
                          .layers = 1,
                          .heads = 2,
                          .ff_dim = 12,
                          .projection = 5,
                          .activation = MGK_UNARY_QUICK_GELU,
                          .mean = {0.5f, 0.4f, 0.3f},
                          .deviation = {0.25f, 0.3f, 0.2f},
                          .eps = 1e-5f},
        .audio = {.transformer = {.layers = 1,
                                  .dim = 24,
                                  .heads = 2,
                                  .ff_dim = 40,
                                  .channels = 3,
                                  .condition = 3,
                                  .features = 5,
                                  .patch_t = 1,
                                  .patch_h = 1,
                                  .patch_w = 1,
                                  .frames_max = 10,
                                  .rows_max = 1,
                                  .columns_max = 1,
                                  .text = {24},
                                  .time_dim = 16,
                                  .block = MGI_VT_DIT,
                                  .guidance = 3.0f},
                  .vision = "audio_vision",
                  .window = 8,
                  .overlap = 3,
                  .steps = 4},
        .lengths = 1,
        .length = {{0.4, 16, 1.0}},
        .clips = 8,
        .validate_every = 1};
    struct mgi_stage_run *run;
    mgi_audio_codec codec;
    uint8_t seen[6 * FRAME], want[6 * FRAME];
    char caption[MGI_CAPTION_SIZE];
    (void)state;
    OK(mgi_audio_codec_init(&codec, ctx, &config));
    OK(mgi_module_random(&codec.module, 2));
    OK(mgi_model_file_save(ctx, folder, "codec", "audio-codec", write_codec, &config, &codec.module,
                           MGI_ST_F32));
    mgi_dataset *ds = films_to_learn();
    OK(create_on(&s, ds, &run));
    const mgi_audio_clips *c = &run->length[0];
    assert_int_equal(c->clips, 2); /* and one is held out */
    assert_int_equal(c->held, 1);
    assert_int_equal(c->frames, 6);
    for (int64_t i = 0; i < 3; i++) {
        const uint64_t index = i < 2 ? mgi_audio_clip_index(c, 5, i) : 2;
        float x[10 * 1920], latents[10 * 3];
        mgi_run r;
        OK(mgi_audio_clip_frames(ctx, c, 5, i, seen));
        OK(mgi_dataset_watch(ctx, ds, index, 16.0, 6, want));
        assert_memory_equal(seen, want, sizeof seen);
        mgi_audio_clip_caption(c, 5, i, 0, caption);
        assert_true((index == 0) == (strstr(caption, "\"it is light\"") != NULL));
        OK(mgi_dataset_hear(ctx, ds, index, 0, 10 * 1920, x));
        mgi_run_init(&r, ctx, false);
        T *t = mgi_new(&r, MGK_F32, MGI_DIMS(1, 10 * 1920, 1));
        memcpy(mgi_f32(t), x, sizeof x);
        T *z = mgi_posterior(&r, mgi_audio_codec_encode(&r, &codec, t), NULL, 0.0f, NULL);
        OK(mgi_audio_codec_normalised(&codec, z, latents));
        mgi_run_finish(&r);
        for (int k = 0; k < 10 * 3; k++)
            assert_float_equal(c->values[i * 10 * 3 + k], latents[k], 1e-4);
    }
    step(&s, run);
    mgi_stage_audio.destroy(run);
    mgi_dataset_release(ds);
    mgi_audio_codec_finish(&codec);
    /* films without sound */
    unlink(in_films("a.wav"));
    unlink(in_films("b.wav"));
    unlink(in_films("c.wav"));
    ds = open_films();
    assert_said(create_on(&s, ds, &run), MGEN_E_INVALID, "films with sound");
    mgi_dataset_release(ds);
}

#define WITH_FILMS(test) cmocka_unit_test_setup_teardown(test, make_films, remove_films)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILMS(test_in_step),        WITH_FILMS(test_samples),
        WITH_FILMS(test_listed_clips),   WITH_FILMS(test_kept),
        WITH_FILMS(test_missing),        WITH_FILMS(test_told),
        WITH_FILMS(test_container),      WITH_FILMS(test_audio_codec_stage),
        WITH_FILMS(test_codec_is_saved), WITH_FILMS(test_audio_stage),
    };
    return cmocka_run_group_tests(tests, make_context_and_folder, free_context_and_folder);
}
