/* SPDX-License-Identifier: MIT
 * Training an audio model: what it learns from, that it learns, what is left out of its samples; what it is saved as and starts
 * from; the same bits after a checkpoint, and over ranks the same to rounding; what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "audio_stages.h"
#include "data/dataset_sound.h"
#include "stage_runs.h"
#include "train/audio_stage.h"
#include "train/checkpoint.h"

static int make_codec(void **state)
{
    if (make_context_and_folder(state) != 0)
        return -1;
    save_stage_codec(ctx, folder);
    return 0;
}

static void end(struct mgi_stage_run *r)
{
    mgi_stage_audio.destroy(r);
}

/* -- clips -------------------------------------------------------------------------------------- */

/* Latents of clip i, by the codec alone. */
static void assert_latents(const struct mgi_stage_run *r, const mgi_audio_clips *c, int64_t i)
{
    float *x = malloc((size_t)c->samples * sizeof *x), want[LONG * C];
    mgi_run run;
    const uint64_t index = mgi_audio_clip_index(c, r->seed, i);
    assert_non_null(x);
    if (i < c->clips)
        OK(mgi_dataset_hear(ctx, c->dataset, index, 0, c->samples, x));
    else
        OK(mgi_dataset_held_hear(ctx, c->dataset, (int64_t)index, 0, c->samples, x));
    mgi_run_init(&run, ctx, false);
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(1, c->samples, 1));
    memcpy(mgi_f32(t), x, (size_t)c->samples * sizeof *x);
    T *z = mgi_posterior(&run, mgi_audio_codec_encode(&run, &r->models.codec, t), NULL, 0.0f, NULL);
    OK(mgi_audio_codec_normalised(&r->models.codec, z, want));
    mgi_run_finish(&run);
    free(x);
    for (int64_t k = 0; k < c->latents * C; k++)
        assert_true(fabsf(want[k] - c->values[i * c->latents * C + k]) < 1e-4f);
}

static void test_clips(void **state)
{
    mgi_stage s = tiny_audio_stage(1, 2);
    struct mgi_stage_run *r = begin(&s);
    (void)state;
    assert_int_equal(r->lengths, 2);
    assert_int_equal(r->length[0].latents, LATENTS);
    assert_int_equal(r->length[1].latents, LONG);
    assert_int_equal(r->length[0].frames, 5);
    assert_int_equal(r->length[1].frames, 8);
    assert_int_equal(r->length[0].clips, 6);
    assert_int_equal(r->length[1].clips, 2);
    assert_int_equal(r->length[1].first, 6); /* other clips than those before */
    for (int k = 0; k < 2; k++) {
        const mgi_audio_clips *c = &r->length[k];
        assert_latents(r, c, 0);
        assert_latents(r, c, c->clips - 1);
        assert_latents(r, c, c->clips);
        assert_null(c->features);
    }
    end(r);
}

/* -- what is kept ------------------------------------------------------------------------------- */

static int encoded, begun; /* sounds of a length, as was told last, and first of all */
static int stop_at;        /* sounds; 0: no */

static int32_t count_sounds(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user;
    (void)total;
    if (strcmp(what, "encoding sounds"))
        return 0;
    encoded = (int)done;
    begun = begun ? begun : encoded;
    return encoded == stop_at;
}

/* Begun with a folder to keep sounds in; how many it encoded. */
static int begin_kept(const mgi_stage *stage, const char *dir, struct mgi_stage_run **run)
{
    const mgi_stage_params params = {.stage = stage, .dir = folder, .seed = 5, .cache_dir = dir};
    encoded = begun = 0;
    const mgen_status status = mgi_stage_audio.create(ctx, &params, run);
    assert_int_equal(status, stop_at ? MGEN_E_CANCELLED : MGEN_OK);
    return encoded;
}

static void assert_same_clips(const struct mgi_stage_run *a, const struct mgi_stage_run *b)
{
    for (int k = 0; k < 2; k++) {
        const mgi_audio_clips *p = &a->length[k], *q = &b->length[k];
        const int64_t all = p->clips + p->held;
        assert_true(p->features && q->features && all == q->clips + q->held);
        assert_memory_equal(p->values, q->values,
                            (size_t)(all * p->latents * p->channels) * sizeof *p->values);
        assert_memory_equal(p->features, q->features,
                            (size_t)(all * p->frames * p->width) * sizeof *p->features);
    }
}

/* What was encoded once is read, whole, by whoever would encode the same; what is damaged is encoded anew; and who was stopped goes
 * on. */
static void test_kept(void **state)
{
    mgi_stage s = tiny_audio_stage(2, 2);
    struct mgi_stage_run *plain, *r;
    char dir[64], command[200];
    double first, last;
    (void)state;
    snprintf(dir, sizeof dir, "%.40s/kept", folder);
    train(&s, &first, &last); /* whose image encoder is frozen below */
    strcpy(s.vision.from, "audio_vision");
    s.vision.frozen = true;
    ctx->progress = count_sounds;
    const int all = begin_kept(&s, NULL, &plain);
    assert_true(all > 0);
    stop_at = 3;
    assert_int_equal(begin_kept(&s, dir, &r), 3);
    stop_at = 0;
    assert_int_equal(begin_kept(&s, dir, &r), all);
    assert_int_equal(begun, 4);
    assert_same_clips(plain, r);
    end(r);
    snprintf(command, sizeof command, "! ls %s | grep -q rows", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(begin_kept(&s, dir, &r), 0);
    assert_same_clips(plain, r);
    end(r);
    mgi_stage other = s; /* films that are seen at another rate */
    other.length[1].fps = 8;
    assert_true(begin_kept(&other, dir, &r) > 0);
    end(r);
    snprintf(command, sizeof command, "truncate -s -4 %s/audio-*.safetensors", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(begin_kept(&s, dir, &r), all);
    assert_same_clips(plain, r);
    end(r);
    assert_int_equal(begin_kept(&s, dir, &r), 0);
    assert_same_clips(plain, r);
    end(r);
    ctx->progress = NULL;
    end(plain);
    assert_int_equal(remove_all(dir), 0);
}

/* -- learning ----------------------------------------------------------------------------------- */

static void test_learns(void **state)
{
    mgi_stage s = tiny_audio_stage(24, 4);
    mgi_audio a;
    uint64_t hash;
    double first, last;
    (void)state;
    s.validate_every = 8;
    train(&s, &first, &last);
    if (!(last < 0.9 * first))
        fail_msg("validation loss %g, then %g", first, last);
    OK(mgi_audio_open(ctx, folder, "audio", NULL, NULL, &a, &hash));
    assert_string_equal(a.config.codec, "codec");
    assert_string_equal(a.config.text, "audio_text");
    assert_string_equal(a.config.vision, "audio_vision");
    mgi_audio_finish(&a);
    /* what it starts from */
    strcpy(s.start_from, "");
    strcpy(s.save_as, "set");
    save_new(s);
    strcpy(s.start_from, "set");
    strcpy(s.save_as, "");
    s.audio.transformer.frames_max = 20;
    struct mgi_stage_run *r = begin(&s);
    end(r);
    s.start_from[0] = '\0'; /* one that has seen no films begins to */
    s.audio.vision[0] = '\0';
    s.audio.transformer.features = 0;
    strcpy(s.save_as, "blind");
    save_new(s);
    mgi_stage seeing = tiny_audio_stage(2, 2);
    strcpy(seeing.start_from, "blind");
    seeing.audio.transformer.frames_max = s.audio.transformer.frames_max;
    r = begin(&seeing);
    assert_int_equal(r->trained_count, 3);
    for (int64_t i = 0; i < r->models.transformer.feature->value->count; i++)
        assert_true(mgi_f32(r->models.transformer.feature->value)[i] == 0.0f);
    end(r);
    /* frozen encoders: their features are kept */
    s = tiny_audio_stage(2, 2);
    strcpy(s.text[0].from, "audio_text");
    strcpy(s.text[0].name, "audio_text");
    s.text[0].frozen = true;
    strcpy(s.vision.from, "audio_vision");
    s.vision.frozen = true;
    s.validate_every = 2;
    train(&s, &first, &last);
    r = begin(&s);
    assert_non_null(r->length[0].features);
    assert_int_equal(r->trained_count, 1);
    end(r);
}

/* All parts have a gradient. */
static void test_gradients(void **state)
{
    mgi_stage s = tiny_audio_stage(4, 12);
    struct mgi_stage_run *r;
    (void)state;
    s.drop = s.drop_film = s.drop_text = s.nothing_heard = 0.0;
    r = begin(&s);
    for (int64_t i = 0; i < 4; i++) { /* the first ones open what begins closed */
        mgen_report *report;
        OK(mgi_report_create(ctx, &report));
        OK(mgi_stage_audio.step(r, i, report));
        mgen_report_destroy(report);
    }
    assert_int_equal(r->trained_count, 3);
    for (int m = 0; m < 3; m++)
        for (int64_t k = 0; k < r->trained[m]->count; k++) {
            const mgi_param *p = r->trained[m]->params[k];
            double sum = 0.0;
            for (int64_t i = 0; i < p->value->count; i++)
                sum += fabs((double)mgi_f32(p->value->var->grad)[i]);
            if (!(sum > 0.0))
                fail_msg("%s has no gradient", p->name);
        }
    end(r);
}

/* -- what is left out --------------------------------------------------------------------------- */

/* Over many samples: rows of zeros where nothing is heard, one span elsewhere; films and captions that are gone. */
static void test_left_out(void **state)
{
    enum { STEPS = 60, BATCH = 4, ALL = STEPS * BATCH };
    mgi_stage s = tiny_audio_stage(STEPS, BATCH);
    int blind = 0, mute = 0, both = 0, deaf = 0, nothing = 0;
    (void)state;
    s.lengths = 1;
    s.text[0].config.t5.layers = 1;
    s.audio.transformer.layers = 1;
    struct mgi_stage_run *r = begin(&s);
    const mgi_audio_clips *c = &r->length[0];
    for (int64_t i = 0; i < STEPS; i++) {
        mgen_report *report;
        OK(mgi_report_create(ctx, &report));
        OK(mgi_stage_audio.step(r, i, report));
        mgen_report_destroy(report);
        for (int64_t row = 0; row < BATCH; row++) {
            const mgi_audio_rows *rows = &r->rows;
            const bool film = rows->pictures[row * c->latents] < BATCH * c->frames;
            const bool text = rows->prompts[row][0] != '\0';
            int64_t from = c->latents, to = 0, zeros = 0;
            for (int64_t k = 0; k < c->latents; k++) {
                const float *heard = rows->condition + (row * c->latents + k) * C;
                const float *is = rows->latents + (row * c->latents + k) * C;
                assert_true(film == (rows->pictures[row * c->latents + k] < BATCH * c->frames));
                if (film)
                    assert_int_equal(rows->pictures[row * c->latents + k] - row * c->frames,
                                     (2 * k + 1) * c->frames / (2 * c->latents));
                if (heard[0] == 0.0f) {
                    from = k < from ? k : from;
                    to = k + 1;
                    zeros++;
                } else {
                    assert_memory_equal(heard, is, C * sizeof *is);
                }
            }
            assert_int_equal(zeros, to - from);
            assert_true(4 * zeros >= 3 * c->latents);
            both += !film && !text;
            blind += !film && text;
            mute += film && !text;
            deaf += zeros == c->latents;
            nothing += !film && !text && zeros == c->latents;
        }
    }
    end(r);
    /* who is told nothing at all hears nothing either; a few lose film and text by themselves */
    assert_in_range(both - nothing, 0, 6);
    /* 0.2 + 0.8 * 0.01; 0.8 * 0.09; of three standard deviations */
    assert_in_range(both, ALL * 0.208 - 19, ALL * 0.208 + 19);
    assert_in_range(blind, ALL * 0.072 - 12, ALL * 0.072 + 12);
    assert_in_range(mute, ALL * 0.072 - 12, ALL * 0.072 + 12);
    assert_in_range(deaf, ALL / 2, ALL * 0.85);
}

/* -- going on ----------------------------------------------------------------------------------- */

static double loss_of(struct mgi_stage_run *r, int64_t step)
{
    mgen_report *report;
    OK(mgi_report_create(ctx, &report));
    OK(mgi_stage_audio.step(r, step, report));
    const double loss = reported(report, "loss");
    mgen_report_destroy(report);
    return loss;
}

static void test_resumes(void **state)
{
    mgi_stage s = tiny_audio_stage(6, 2);
    struct mgi_stage_run *a = begin(&s), *b = begin(&s);
    char path[512];
    (void)state;
    snprintf(path, sizeof path, "%.400s/checkpoint", folder);
    for (int64_t i = 0; i < 3; i++)
        loss_of(a, i);
    OK(mgi_checkpoint_save(ctx, &mgi_stage_audio, a, path));
    OK(mgi_checkpoint_load(ctx, &mgi_stage_audio, b, path));
    for (int64_t i = 3; i < 6; i++)
        assert_true(loss_of(a, i) == loss_of(b, i));
    unlink(path);
    end(a);
    end(b);
}

/* -- refused ------------------------------------------------------------------------------------ */

static void assert_refused(const mgi_stage *stage, mgen_status status, const char *said)
{
    struct mgi_stage_run *run = NULL;
    mgen_status got = create_on(stage, NULL, &run);
    if (got == MGEN_OK)
        end(run);
    if (got != status || !strstr(mgen_last_error(ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(ctx), said);
}

static void test_refused(void **state)
{
    mgi_stage s = tiny_audio_stage(1, 2);
    (void)state;
    strcpy(s.codec, "other");
    assert_refused(&s, MGEN_E_STATE, "other");
    s = tiny_audio_stage(1, 2);
    s.length[0].seconds = 1.0;
    assert_refused(&s, MGEN_E_INVALID, "\"frames_max\"");
    s = tiny_audio_stage(1, 2);
    s.audio.transformer.channels = s.audio.transformer.condition = C + 1;
    assert_refused(&s, MGEN_E_INVALID, "latent channels");
    s = tiny_audio_stage(1, 2);
    s.audio.transformer.features = WIDTH + 1;
    assert_refused(&s, MGEN_E_INVALID, "image encoder");
    s = tiny_audio_stage(1, 2);
    s.audio.transformer.text[0] = 20;
    assert_refused(&s, MGEN_E_INVALID, "text encoder");
    s = tiny_audio_stage(1, 2);
    strcpy(s.start_from, "nothing");
    assert_refused(&s, MGEN_E_STATE, "nothing");
}

/* What a recipe says of the lengths. */
static void test_lengths_refused(void **state)
{
    static const char *const refused[][2] = {
        {"3", "\"lengths\" must be a list of objects"},
        {"[]", "\"lengths\" must be a list of objects"},
        {"[{\"seconds\":1},3]", "\"lengths\" has an entry that is not an object"},
        {"[{\"seconds\":1},{\"seconds\":1},{\"seconds\":1},{\"seconds\":1},{\"seconds\":1},"
         "{\"seconds\":1},{\"seconds\":1},{\"seconds\":1},{\"seconds\":1}]",
         "\"lengths\" has more than 8 entries"},
        {"[{\"fps\":1}]", "\"seconds\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char path[64];
        mgi_stage s;
        snprintf(path, sizeof path, "%.40s/recipe.json", folder);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fprintf(f,
                "{\"format\":\"moviegen-recipe\",\"version\":1,\"stages\":[{\"name\":\"a\","
                "\"kind\":\"audio\",\"steps\":1,\"batch\":1,"
                "\"optimizer\":{\"lr\":0.1},\"codec\":\"c\",\"clips\":1,\"lengths\":%s}]}",
                refused[i][0]);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(mgi_recipe_stage(ctx, path, "a", &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), refused[i][1]))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), refused[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clips),     cmocka_unit_test(test_kept),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_learns),    cmocka_unit_test(test_resumes),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_lengths_refused),
    };
    return cmocka_run_group_tests(tests, make_codec, free_context_and_folder);
}
