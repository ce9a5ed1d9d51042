/* SPDX-License-Identifier: MIT
 * Backtranslation: films that an editor has made, which of them are kept, and that they are made once. */
#include "core/hash.h"
#include "media/pixels.h"
#include "task/generate.h"

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

static void test_passes(void **state)
{
    static const uint8_t was[6] = {10, 20, 200, 7, 0, 255}, wanted[6] = {10, 40, 100, 7, 255, 0};
    uint8_t made[6];
    (void)state;
    assert_true(mgi_back_passes(wanted, wanted, was, 6));
    assert_false(mgi_back_passes(was, wanted, was, 6));
    for (int i = 0; i < 6; i++)
        made[i] = (uint8_t)((was[i] + wanted[i]) / 2);
    made[4] = 120; /* 127 and 128 are as far from both */
    made[5] = 128;
    assert_false(mgi_back_passes(made, wanted, was, 6));
    made[4] = 140;
    assert_true(mgi_back_passes(made, wanted, was, 6));
    made[0] = made[3] = 255; /* where nothing was to change, nothing is looked at */
    assert_true(mgi_back_passes(made, wanted, was, 6));
    assert_false(mgi_back_passes(made, was, was, 6));
}

static uint8_t made_film[MOST];

static mgen_status read_drawn(void *user, int64_t first, int64_t count, float *rgb)
{
    mgi_floats_from_bytes(rgb, (const uint8_t *)user + first * FRAME, count * FRAME);
    return MGEN_OK;
}

static mgen_status keep_made(void *user, const mgi_frames_box *box, float *rgb)
{
    (void)user;
    assert_true(box->width == SIDE && box->height == SIDE);
    mgi_bytes_from_floats(made_film + box->first * FRAME, rgb, box->count * FRAME);
    return MGEN_OK;
}

static void open_back(const models *m, int64_t steps, mgi_back *out)
{
    mgi_pipeline_file p;
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    const mgi_stage s = {.back_from = "maker_editor", .back_steps = steps, .dtype = MGK_F32};
    OK(mgi_back_open(ctx, folder, &s, &p, &m->tae, out));
}

/* An edit that is undone; of its films, the one before is what the editor makes by the instruction, or the true one. *kept:
 * which. */
static void check_back(const models *m, mgi_back *back, uint64_t seed, uint64_t element, bool *kept,
                       uint8_t *both)
{
    uint8_t *drawn = malloc(2 * (size_t)MOST);
    char text[MGI_WORLD_CAPTION_MAX], told[MGI_WORLD_CAPTION_MAX + 16];
    const uint64_t numbers[] = {seed, element}, noise = mgi_hash64(numbers, sizeof numbers, 1);
    const char *prompt = text;
    const int64_t before = back->kept;
    mgi_edits_sample s;
    mgi_world_edit undone;
    mgi_networks n = back->networks;
    assert_non_null(drawn);
    mgi_edits_sample_of(&m->edits, m->data, seed, element, FRAMES, &s);
    assert_int_equal(s.kind, MGI_EDITS_BACK);
    assert_true(mgi_world_edit_reverse(&s.forth, &undone));
    assert_int_equal(s.task, undone.task);
    mgi_world_edit_text(&undone, text);
    snprintf(told, sizeof told, "FPS-16 %s", text);
    assert_string_equal(s.text, told);
    mgi_world_edit_draw(&s.forth, false, SIDE, SIDE, 0, FRAMES, drawn);
    mgi_world_edit_draw(&s.forth, true, SIDE, SIDE, 0, FRAMES, drawn + MOST);
    mgi_edits_draw(&s, m->data, FRAMES, both);
    assert_memory_equal(both, drawn, 2 * (size_t)MOST);

    n.clip = (mgi_clip_shape){SIDE, SIDE, FRAMES, 16};
    mgi_world_edit_text(&s.forth, text);
    const mgi_generate_request r = {.prompts = &prompt,
                                    .count = 1,
                                    .seeds = &noise,
                                    .steps = (int)back->steps,
                                    .width = SIDE,
                                    .height = SIDE,
                                    .frames = FRAMES,
                                    .source = read_drawn,
                                    .task = s.forth.task,
                                    .sink = keep_made,
                                    .user = drawn};
    OK(mgi_generate(ctx, &n, &r));
    OK(mgi_back_make(ctx, back, &s, m->data, FRAMES, both));
    assert_memory_equal(both, drawn, MOST);
    *kept = mgi_back_passes(made_film, drawn + MOST, drawn, MOST);
    assert_memory_equal(both + MOST, *kept ? made_film : drawn + MOST, MOST);
    assert_int_equal(back->kept - before, *kept);
    free(drawn);
}

static void test_back(void **state)
{
    models m;
    mgi_back back;
    mgi_latents l;
    uint8_t *both = malloc(2 * (size_t)MOST);
    bool kept[CLIPS + HELD];
    int all = 0;
    (void)state;
    assert_non_null(both);
    open_models(&m);
    open_back(&m, 2, &back);
    m.edits = only(MGI_EDITS_BACK);
    m.edits.back = &back;
    mgi_latents_request q = request_of(&m);
    OK(mgi_latents_make(ctx, &q, &l));
    assert_int_equal(back.made, CLIPS + HELD);
    for (int64_t i = 0; i < CLIPS + HELD; i++) {
        bool held = i >= CLIPS;
        check_back(&m, &back, held ? MGI_VALIDATION_SEED : 3,
                   held ? (uint64_t)(i - CLIPS) : q.first + (uint64_t)i, &kept[i], both);
        assert_encoded(&m.tae, both, l.rows.values + i * l.step, l.size);
        assert_encoded(&m.tae, both + MOST, l.rows.values + i * l.step + l.size, l.size);
        all += kept[i];
    }
    assert_in_range(all, 1, CLIPS + HELD - 1); /* an editor that has learned nothing */
    mgi_latents_free(ctx, &l);
    mgi_back_finish(&back);
    close_models(&m);
    free(both);
}

/* Made once, and again by another editor. */
static void test_back_cache(void **state)
{
    models m;
    mgi_back back;
    mgi_latents l, again;
    (void)state;
    open_models(&m);
    m.edits = only(MGI_EDITS_BACK);
    m.edits.back = &back;
    mgi_latents_request q = request_of(&m);
    q.cache_dir = folder;
    open_back(&m, 2, &back);
    OK(mgi_latents_make(ctx, &q, &l));
    for (int i = 0; i < 3; i++) {
        mgi_back_finish(&back);
        open_back(&m, i == 2 ? 3 : 2, &back);
        back.hash += i == 1;
        OK(mgi_latents_make(ctx, &q, &again));
        assert_int_equal(back.made, i ? CLIPS + HELD : 0);
        if (i < 2)
            assert_true(same_latents(ctx, &l, &again));
        for (int64_t k = 0; k < CLIPS + HELD; k++)
            assert_string_equal(again.captions[k], l.captions[k]);
        mgi_latents_free(ctx, &again);
    }
    mgi_latents_free(ctx, &l);
    mgi_back_finish(&back);
    close_models(&m);
}

/* A stage that learns from them; what it cannot take them from. */
static void test_back_stage(void **state)
{
    double first, last;
    mgi_pipeline_file p, other;
    (void)state;
    mgi_stage stage = tiny_editor(2, 4);
    stage.validate_every = 1;
    stage.edits[MGI_EDITS_BACK] = 4.0;
    stage.back_steps = 2;
    strcpy(stage.back_from, "maker_editor");
    strcpy(stage.save_as, "back");
    train(&stage, &first, &last);
    stage.bucket[0].width = 176; /* 11 columns of patches */
    assert_refused(&stage, MGEN_E_CORRUPT, "do not fit");
    stage.video.columns_max = 11;
    assert_refused(&stage, MGEN_E_CORRUPT, "the editor \"maker_editor\"");
    stage = tiny_editor(2, 4);
    stage.edits[MGI_EDITS_BACK] = 4.0;
    stage.back_steps = 2;
    strcpy(stage.back_from, "nobody");
    assert_refused(&stage, MGEN_E_STATE, "needs the model of an earlier stage");
    strcpy(stage.back_from, "video_model");
    assert_refused(&stage, MGEN_E_CORRUPT, "\"kind\" is \"video-transformer\"");
    strcpy(stage.back_from, "maker_editor");
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    other = p;
    other.text[0][0] = '\0';
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &other));
    assert_refused(&stage, MGEN_E_STATE, "names no encoder");
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_passes), cmocka_unit_test(test_back),
                                       cmocka_unit_test(test_back_cache),
                                       cmocka_unit_test(test_back_stage)};
    return cmocka_run_group_tests_name("back", tests, make_models, free_context_and_folder);
}
