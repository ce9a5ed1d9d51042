/* SPDX-License-Identifier: MIT
 * Training an editor: the samples that it learns from, what is left out of them, where in time its images are, what it is
 * saved as, what it starts from, what is refused. */
#include "core/philox.h"
#include "data/animate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "editor_stages.h"
#include "kept_latents.h"
#include "train/checkpoint_head.h"

/* ---- samples ------------------------------------------------------------------------------------------ */

/* Its films are these. */
static void assert_films(const mgi_edits_sample *s, const mgi_dataset *ds, int64_t frames,
                         const uint8_t *target, const uint8_t *source)
{
    uint8_t *both = malloc(2 * (size_t)MOST);
    assert_non_null(both);
    mgi_edits_draw(s, ds, frames, both);
    assert_memory_equal(both, target, (size_t)(frames * FRAME));
    assert_memory_equal(both + frames * FRAME, source, (size_t)(frames * FRAME));
    free(both);
}

/* Two films that differ in an edit of the world, of the tasks of the benchmark or an object that is marked. */
static void check_pairs(mgi_dataset *ds, int64_t frames, int kind)
{
    uint8_t *target = malloc(MOST), *source = malloc(MOST);
    bool seen[MGI_EDIT_TASKS] = {false};
    mgi_edits edits = only(kind);
    assert_true(target && source);
    for (uint64_t i = 0; i < 60; i++) {
        char text[MGI_WORLD_CAPTION_MAX], told[MGI_WORLD_CAPTION_MAX + 16];
        const int task = kind == MGI_EDITS_SEGMENTATION ? MGI_EDIT_SEGMENTATION : -1;
        mgi_edits_sample s;
        mgi_world_edit e;
        edits.fps_prefix = i % 2;
        mgi_edits_sample_of(&edits, ds, 11, i, frames, &s);
        mgi_world_edit_random(&e, 11, i, task, &ds->world);
        mgi_world_edit_text(&e, text);
        snprintf(told, sizeof told, "%s%s", edits.fps_prefix && frames > 1 ? "FPS-16 " : "", text);
        assert_string_equal(s.text, told);
        assert_int_equal(s.task, e.task);
        assert_int_equal(s.kind, kind);
        seen[s.task] = true;
        if (i >= 6)
            continue;
        mgi_world_edit_draw(&e, true, SIDE, SIDE, 0, (int)frames, target);
        mgi_world_edit_draw(&e, false, SIDE, SIDE, 0, (int)frames, source);
        assert_films(&s, ds, frames, target, source);
        assert_memory_not_equal(target, source, (size_t)(frames * FRAME));
    }
    for (int i = 0; i < MGI_EDIT_TASKS; i++)
        assert_true(seen[i] == (kind == MGI_EDITS_SEGMENTATION
                                    ? i == MGI_EDIT_SEGMENTATION
                                    : i != MGI_EDIT_SEGMENTATION && i != MGI_EDIT_TEXT_TO_VIDEO));
    free(target);
    free(source);
}

/* A frame of such a pair, any but the same of both, and both moved alike. */
static void check_animated(mgi_dataset *ds)
{
    uint8_t *target = malloc(MOST), *source = malloc(MOST), *frame = malloc(FRAME);
    const mgi_edits animated = only(MGI_EDITS_ANIMATED), pairs = only(MGI_EDITS_PAIRS);
    bool seen[FRAMES] = {false};
    int moments = 0;
    assert_true(target && source && frame);
    for (uint64_t i = 0; i < 24; i++) {
        mgi_edits_sample s, p;
        mgi_edits_sample_of(&animated, ds, 11, i, FRAMES, &s);
        mgi_edits_sample_of(&pairs, ds, 11, i, FRAMES, &p);
        assert_string_equal(s.text, p.text);
        assert_int_equal(s.task, p.task);
        assert_in_range(s.moment, 0, FRAMES - 1);
        seen[s.moment] = true;
        if (i >= 6)
            continue;
        mgi_world_edit_draw(&s.edit, true, SIDE, SIDE, s.moment, 1, frame);
        mgi_animate(frame, SIDE, SIDE, FRAMES, 11, i, target);
        assert_memory_equal(frame, target, FRAME);
        mgi_world_edit_draw(&s.edit, false, SIDE, SIDE, s.moment, 1, frame);
        mgi_animate(frame, SIDE, SIDE, FRAMES, 11, i, source);
        assert_films(&s, ds, FRAMES, target, source);
        assert_memory_not_equal(source, source + (FRAMES - 1) * FRAME, FRAME);
    }
    for (int i = 0; i < FRAMES; i++)
        moments += seen[i];
    assert_in_range(moments, FRAMES / 2, FRAMES);
    free(target);
    free(source);
    free(frame);
}

/* A scene of the world, told as an instruction, made of nothing. */
static void check_texts(mgi_dataset *ds, int64_t frames)
{
    uint8_t *target = malloc(MOST), *black = calloc(1, MOST);
    mgi_edits edits = only(MGI_EDITS_TEXT);
    assert_true(target && black);
    for (uint64_t i = 0; i < 12; i++) {
        char caption[MGI_WORLD_CAPTION_MAX], told[MGI_WORLD_CAPTION_MAX + 32];
        mgi_edits_sample s;
        mgi_world_scene scene;
        edits.fps_prefix = i % 2;
        mgi_edits_sample_of(&edits, ds, 11, i, frames, &s);
        mgi_world_scene_random(&scene, 11, i, &ds->world);
        mgi_world_caption(&scene, scene.wording, caption);
        if (frames > 1) {
            assert_memory_equal(caption, "FPS-16 ", 7);
            memmove(caption, caption + 7, strlen(caption + 7) + 1);
        }
        snprintf(told, sizeof told, "%smake %s", edits.fps_prefix && frames > 1 ? "FPS-16 " : "",
                 caption);
        assert_string_equal(s.text, told);
        assert_int_equal(s.task, MGI_EDIT_TEXT_TO_VIDEO);
        mgi_world_draw(&scene, SIDE, SIDE, 0, (int)frames, target);
        assert_films(&s, ds, frames, target, black);
    }
    free(target);
    free(black);
}

/* Of films and of images, which stand still: the animated ones are those of the first kind. */
static void test_samples(void **state)
{
    (void)state;
    for (int64_t frames = 1; frames <= FRAMES; frames += FRAMES - 1) {
        mgi_dataset *ds = world_of((int)frames, 2);
        check_pairs(ds, frames, MGI_EDITS_PAIRS);
        check_pairs(ds, frames, MGI_EDITS_SEGMENTATION);
        if (frames == 1)
            check_pairs(ds, frames, MGI_EDITS_ANIMATED);
        else
            check_animated(ds);
        check_texts(ds, frames);
        mgi_dataset_release(ds);
    }
}

/* Kinds are drawn by their shares, others with another seed. */
static void test_shares(void **state)
{
    enum { MANY = 2000 };
    const mgi_edits edits = {.share = {3.0, 0.0, 1.0, 1.0}};
    int found[MGI_EDITS_KINDS] = {0}, other = 0;
    mgi_dataset *ds = world_of(1, 1);
    (void)state;
    for (uint64_t i = 0; i < MANY; i++) {
        mgi_edits_sample s, t;
        mgi_edits_sample_of(&edits, ds, 1, i, 1, &s);
        mgi_edits_sample_of(&edits, ds, 2, i, 1, &t);
        found[s.kind]++;
        other += s.kind != t.kind;
    }
    assert_in_range(found[MGI_EDITS_PAIRS], MANY * 57 / 100, MANY * 63 / 100);
    assert_int_equal(found[MGI_EDITS_ANIMATED], 0);
    assert_in_range(found[MGI_EDITS_SEGMENTATION], MANY * 17 / 100, MANY * 23 / 100);
    assert_in_range(found[MGI_EDITS_TEXT], MANY * 17 / 100, MANY * 23 / 100);
    assert_in_range(other, MANY * 50 / 100, MANY * 62 / 100); /* 56 % */
    mgi_dataset_release(ds);
}

/* ---- latents ------------------------------------------------------------------------------------------ */

static int64_t encoded; /* clips, as was told last */

static int32_t count_clips(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user, (void)what, (void)total;
    encoded = (int64_t)done;
    return 0;
}

/* The film to come and behind it the one that is edited, of scenes of the dataset's seed or, held out, of the
 * validation's; a film without a picture. */
static void test_latents(void **state)
{
    models m;
    mgi_latents l;
    uint8_t *both = malloc(2 * (size_t)MOST);
    (void)state;
    assert_non_null(both);
    open_models(&m);
    const mgi_latents_request q = request_of(&m);
    OK(mgi_latents_make(ctx, &q, &l));
    assert_int_equal(l.clips, CLIPS);
    assert_int_equal(l.held, HELD);
    assert_int_equal(l.dims[0], mgi_tae_latent_frames(&m.tae.config, FRAMES));
    assert_int_equal(l.step, 2 * l.size);
    for (int64_t i = 0; i < CLIPS + HELD; i++) {
        bool held = i >= CLIPS;
        mgi_edits_sample s;
        mgi_edits_sample_of(&m.edits, m.data, held ? MGI_VALIDATION_SEED : 3,
                            held ? (uint64_t)(i - CLIPS) : q.first + (uint64_t)i, FRAMES, &s);
        assert_string_equal(l.captions[i], s.text);
        assert_int_equal(l.tasks[i], s.task);
        mgi_edits_draw(&s, m.data, FRAMES, both);
        assert_encoded(&m.tae, both, l.rows.values + i * l.step, l.size);
        assert_encoded(&m.tae, both + MOST, l.rows.values + i * l.step + l.size, l.size);
    }
    memset(both, 0, MOST);
    assert_encoded(&m.tae, both, l.black, l.size);
    mgi_latents_free(ctx, &l);
    close_models(&m);
    free(both);
}

/* Found again with what belongs to them, and not taken for those of other edits, or of none. The frame rate is no part of
 * the films. */
static void test_cache(void **state)
{
    models m;
    mgi_latents l, again;
    (void)state;
    open_models(&m);
    mgi_latents_request q = request_of(&m);
    q.cache_dir = folder;
    ctx->progress = count_clips;
    OK(mgi_latents_make(ctx, &q, &l));
    for (int i = 0; i < 4 + MGI_EDITS_BACK; i++) {
        mgi_edits edits = m.edits;
        mgi_latents_request other = q;
        bool found = i < 2;
        other.edits = i == 2 ? NULL : &edits;
        other.seed += i == 3;
        edits.fps_prefix = i != 1;
        if (i > 3)
            edits.share[i - 4] = 0.0;
        encoded = 0;
        OK(mgi_latents_make(ctx, &other, &again));
        assert_int_equal(encoded, found ? 0 : CLIPS + HELD);
        for (int64_t k = 0; found && k < CLIPS + HELD; k++) {
            assert_string_equal(again.captions[k], l.captions[k] + (i ? 7 : 0));
            assert_int_equal(again.tasks[k], l.tasks[k]);
        }
        if (found) {
            assert_true(same_latents(ctx, &l, &again));
            assert_memory_equal(l.black, again.black, (size_t)l.size * sizeof *l.black);
        }
        mgi_latents_free(ctx, &again);
    }
    ctx->progress = NULL;
    mgi_latents_free(ctx, &l);
    close_models(&m);
}

/* ---- steps -------------------------------------------------------------------------------------------- */

/* The clip whose film to come is that of row i. */
static int64_t clip_of(const struct mgi_stage_run *run, int64_t i)
{
    const mgi_latents *l = &run->now.bucket->latents;
    for (int64_t k = 0; k < l->clips; k++)
        if (!memcmp(run->now.latents + i * l->size, l->rows.values + k * l->step,
                    (size_t)l->size * sizeof(float)))
            return k;
    fail_msg("row %d is no clip", (int)i);
    return -1;
}

/* The text, the source or both are left out of their shares of the rows, but not the task. */
static void test_drops(void **state)
{
    enum { ROWS = 400 };
    (void)state;
    mgi_stage stage = tiny_editor(1, ROWS);
    stage.bucket_count = 1;
    stage.bucket[0].frames = 1;
    stage.edits[MGI_EDITS_TEXT] = 0.0; /* whose sources are black already */
    stage.drop = 0.1;
    stage.drop_source = 0.2;
    stage.drop_both = 0.3;
    struct mgi_stage_run *run = begin(&stage);
    int left[2][2] = {{0}};
    OK(mgi_stage_text_to_video.step(run, 0, NULL));
    const mgi_latents *l = &run->now.bucket->latents;
    const size_t bytes = (size_t)l->size * sizeof(float);
    assert_int_equal(run->now.rows, ROWS);
    for (int64_t i = 0; i < ROWS; i++) {
        const float *source = run->now.latents + (ROWS + i) * l->size;
        int64_t clip = clip_of(run, i);
        bool text = !*run->prompts[i], black = !memcmp(source, l->black, bytes);
        assert_int_equal(run->tasks[i], l->tasks[clip]);
        if (!text)
            assert_string_equal(run->prompts[i], l->captions[clip]);
        if (!black)
            assert_memory_equal(source, l->rows.values + clip * l->step + l->size, bytes);
        left[text][black]++;
    }
    assert_in_range(left[0][0], ROWS * 34 / 100, ROWS * 46 / 100);
    assert_in_range(left[1][0], ROWS * 6 / 100, ROWS * 14 / 100);
    assert_in_range(left[0][1], ROWS * 15 / 100, ROWS * 25 / 100);
    assert_in_range(left[1][1], ROWS * 24 / 100, ROWS * 36 / 100);
    end(run);
}

/* Rows of the table of places in time that steps 1 .. steps - 1 move: bit i, row i. The first step moves none, since the
 * head is 0 then. */
static unsigned moved_places(mgi_stage stage, uint64_t *starts)
{
    struct mgi_stage_run *run = begin(&stage);
    OK(mgi_stage_text_to_video.step(run, 0, NULL));
    const T *table = run->video.pos_t->value;
    const int64_t rows = table->dims[0], each = table->count / rows;
    float *before = malloc((size_t)table->count * sizeof *before);
    unsigned moved = 0;
    assert_non_null(before);
    memcpy(before, mgi_f32(table), (size_t)table->count * sizeof *before);
    for (int64_t i = 1; i < stage.steps; i++)
        OK(mgi_stage_text_to_video.step(run, i, NULL));
    for (int64_t i = 0; i < rows; i++)
        if (memcmp(before + i * each, mgi_f32(table) + i * each, (size_t)each * sizeof *before))
            moved |= 1U << i;
    *starts = (uint64_t)(stage.accumulate * run->buckets.batch);
    free(before);
    end(run);
    return moved;
}

/* An image has any place in time, the same for a step; a film begins at the first one. */
static void test_places(void **state)
{
    uint64_t each;
    unsigned drawn = 0;
    int places = 0;
    (void)state;
    mgi_stage stage = tiny_editor(7, 2);
    stage.bucket_count = 1;
    assert_int_equal(moved_places(stage, &each), 3); /* 16 frames are two of latents */
    stage.bucket[0].frames = 1;
    stage.accumulate = 2;
    unsigned moved = moved_places(stage, &each);
    for (uint64_t i = 1; i < 7; i++)
        drawn |= 1U << (mgi_random_u32(5, MGI_STREAM_PLACE, i * each) >> 29); /* of 8 */
    for (unsigned i = 0; i < 8; i++)
        places += drawn >> i & 1;
    assert_int_equal(moved, drawn);
    assert_in_range(places, 3, 6);
    stage.kind = MGI_STAGE_TEXT_TO_VIDEO; /* whose images are first frames */
    stage.text[0].frozen = false;
    stage.text[0].from[0] = '\0';
    stage.video = tiny_text_to_video(1, 1).video;
    stage.drop_source = stage.drop_both = 0.0;
    assert_int_equal(moved_places(stage, &each), 1);
}

static int count_text(const mgi_latents *l)
{
    int count = 0;
    for (int64_t i = 0; i < l->clips + l->held; i++)
        count += l->tasks[i] == MGI_EDIT_TEXT_TO_VIDEO;
    return count;
}

/* Images that are edited and films of captions, by turns, as the report has them; a bucket without a kind takes all. It is part
 * of what a checkpoint is told apart by. */
static void test_kinds_of_buckets(void **state)
{
    char hash[2][MGI_HEAD_TEXT];
    mgi_stage stage = tiny_editor(2, 2);
    (void)state;
    stage.clips = 32;
    stage.validate_every = 1; /* without it one clip is held out */
    stage.bucket_count = 3;
    stage.bucket[2] = stage.bucket[1];
    OK(mgi_stage_hash(ctx, &stage, hash[0]));
    stage.bucket[0].edits = 1 + MGI_EDITS_TEXT;
    stage.bucket[1].edits = 1 + MGI_EDITS_PAIRS;
    OK(mgi_stage_hash(ctx, &stage, hash[1]));
    assert_string_not_equal(hash[0], hash[1]);
    struct mgi_stage_run *run = begin(&stage);
    const mgi_bucket_data *list = run->buckets.list;
    for (int b = 0; b < 3; b++) {
        const mgi_latents *l = &list[b].latents;
        const int text = count_text(l), all = (int)(l->clips + l->held);
        assert_true(all > 16);
        assert_true(b == 0 ? text == all : b == 1 ? text == 0 : text > 0 && text < all);
        for (int64_t i = 0; i < all && b == 1; i++)
            assert_true(l->tasks[i] != MGI_EDIT_SEGMENTATION);
    }
    for (int64_t i = 0; i < stage.steps; i++)
        OK(mgi_stage_text_to_video.step(run, i, NULL));
    end(run);
}

static void assert_names(const char *editor)
{
    mgi_pipeline_file p;
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    assert_string_equal(p.editor, editor);
    assert_string_equal(p.tae, "tae");
    assert_string_equal(p.video, "video_model");
    assert_string_equal(p.text[0], "text_encoder");
    assert_int_equal(p.clip.width, 48);
    assert_int_equal(p.clip.frames, 16);
}

static double weight_of(const mgi_param *p)
{
    const float *w = mgi_f32(p->value);
    double sum = 0.0;
    for (int64_t i = 0; i < p->value->count; i++)
        sum += fabs((double)w[i]);
    return sum;
}

/* It learns, and what is saved is an editor, beside the models that the folder's pipeline had. */
static void test_learns(void **state)
{
    mgi_editor ed;
    uint64_t hash;
    double first, last;
    (void)state;
    mgi_stage stage = tiny_editor(120, 8);
    stage.clips = 32;
    stage.validate_every = 20;
    stage.optimizer.lr = 0.01;
    train(&stage, &first, &last);
    if (!(last < 0.85 * first))
        fail_msg("%g after %g", last, first);
    assert_names("editor");
    OK(mgi_editor_open(ctx, folder, "editor", &ed, &hash));
    assert_int_equal(ed.config.steps, 3);
    assert_true(ed.config.source_guidance == 1.5f);
    assert_int_equal(ed.config.video.tasks, MGI_EDIT_TASKS);
    assert_true(weight_of(ed.video.patch_condition) > 0.1); /* zero at first */
    assert_true(weight_of(ed.video.task_text) > 0.1);
    assert_true(weight_of(ed.video.task_time) > 0.1);
    mgi_editor_finish(&ed);
}

/* ---- starting ----------------------------------------------------------------------------------------- */

/* From a video model, of the same size or smaller, by its own name or its set's; from an editor. */
static void test_start(void **state)
{
    static const char *const names[] = {"video_model", "set", "set_video_model", "ed_editor"};
    double first, last;
    (void)state;
    mgi_stage stage = tiny_editor(1, 4);
    stage.validate_every = 1;
    strcpy(stage.save_as, "ed");
    train(&stage, &first, &last);
    assert_names("ed_editor");
    stage.save_as[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        strcpy(stage.start_from, names[i]);
        train(&stage, &first, &last);
        stage.video.columns_max += i == 1; /* grown from then on */
    }
    assert_names("editor");
    strcpy(stage.start_from, "tae");
    assert_refused(&stage, MGEN_E_STATE, "tae.json is a tae");
    strcpy(stage.start_from, "nobody");
    assert_refused(&stage, MGEN_E_STATE, "needs the model of an earlier stage");
    strcpy(stage.start_from, "video_model");
    stage.video.layers = 3; /* it has two */
    assert_refused(&stage, MGEN_E_STATE, "\"layers\"");
    strcpy(stage.start_from, "ed_editor");
    stage.video.layers = 2;
    stage.video.task_dim = 13;
    assert_refused(&stage, MGEN_E_STATE, "\"task_dim\"");
}

/* A deeper model gives the blocks that it begins with, in their order, and all else; neither source nor task is seen yet. */
static void test_deeper(void **state)
{
    mgi_vt deep;
    uint64_t hash;
    int64_t at = 0;
    (void)state;
    mgi_stage stage = tiny_editor(1, 4);
    strcpy(stage.start_from, "deep");
    struct mgi_stage_run *run = begin(&stage);
    const mgi_vt *vt = &run->video;
    OK(mgi_vt_open(ctx, folder, "deep_video_model", &deep, &hash));
    assert_memory_equal(mgi_f32(vt->patch->value), mgi_f32(deep.patch->value),
                        (size_t)vt->patch->value->count * sizeof(float));
    for (int64_t i = 0; i < 2; i++) {
        const T *qkv = vt->block[i].qkv->value;
        size_t bytes = (size_t)qkv->count * sizeof(float);
        while (at < 5 && memcmp(mgi_f32(qkv), mgi_f32(deep.block[at].qkv->value), bytes))
            at++;
        assert_true(at < 5);
        at++;
    }
    assert_true(weight_of(vt->patch_condition) == 0.0);
    assert_true(weight_of(vt->task_text) == 0.0 && weight_of(vt->task_time) == 0.0);
    mgi_vt_finish(&deep);
    end(run);
    stage = tiny_text_to_video(1, 4); /* which begins with models of its own depth only */
    strcpy(stage.start_from, "deep");
    assert_refused(&stage, MGEN_E_STATE, "\"layers\"");
}

static mgen_status no_sample(void *user, uint64_t index, mgen_sample *sample)
{
    (void)user, (void)index, (void)sample;
    return MGEN_E_IO;
}

static void test_refused(void **state)
{
    mgen_dataset_params host = MGEN_DATASET_PARAMS_INIT;
    mgi_pipeline_file p;
    mgi_dataset *data;
    char path[128];
    (void)state;
    mgi_stage stage = tiny_editor(1, 4);
    host.width = host.height = 48;
    host.frames = 16;
    host.count = 20;
    host.read = no_sample;
    OK(mgi_dataset_host(ctx, &host, &data));
    assert_refused_on(&stage, data, MGEN_E_INVALID, "trained without a dataset");
    mgi_dataset_release(data);
    stage.video.channels = stage.video.condition = 6;
    assert_refused(&stage, MGEN_E_CORRUPT, "the TAE has 4 latent channels");
    stage = tiny_editor(1, 4);
    stage.video.frames_max = 1;
    assert_refused(&stage, MGEN_E_CORRUPT, "do not fit the video model");

    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    mgi_pipeline_file other = p;
    stage = tiny_editor(1, 4);
    strcpy(other.text[0], "another");
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &other));
    assert_refused(&stage, MGEN_E_STATE, "names \"another\"");
    other = p;
    strcpy(other.tae, "third");
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &other));
    assert_refused(&stage, MGEN_E_STATE, "an editor takes the same");
    snprintf(path, sizeof path, "%s/pipeline.json", folder);
    assert_int_equal(unlink(path), 0);
    assert_refused(&stage, MGEN_E_STATE, "adds an editor to the models");
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_samples),
                                       cmocka_unit_test(test_shares),
                                       cmocka_unit_test(test_latents),
                                       cmocka_unit_test(test_cache),

                                       cmocka_unit_test(test_kinds_of_buckets),
                                       cmocka_unit_test(test_drops),
                                       cmocka_unit_test(test_places),
                                       cmocka_unit_test(test_learns),
                                       cmocka_unit_test(test_start),
                                       cmocka_unit_test(test_deeper),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("editor_stage", tests, make_models, free_context_and_folder);
}
