/* SPDX-License-Identifier: MIT
 * Training an editor on pairs of films of one's own, of a folder or a host: the samples that they become, what is kept of them,
 * that it learns, what is refused. */
#include "data/animate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "begun_models.h"
#include "kept_latents.h"
#include "pair_films.h"
#include "train/checkpoint_head.h"

enum { PAIRS = 20, HELD = 2, FRAMES = 9, BYTES = FRAMES * PAIR_FRAME };

static uint8_t both[2 * BYTES], want[2 * BYTES];

static mgi_edits only(int kind)
{
    mgi_edits e = {.fps_prefix = false};
    e.share[kind] = 1.5;
    return e;
}

/* ---- samples ------------------------------------------------------------------------------------------ */

/* What a sample of the folder is: the film to come, then the one that is edited. */
static void read_sample(mgi_dataset *ds, const mgi_edits *e, uint64_t element, bool held,
                        int64_t frames, mgi_edits_sample *s)
{
    mgi_edits_sample told;
    mgi_edits_own_of(e, ds, 11, element, held, frames, s);
    told = *s;
    OK(mgi_edits_read(ctx, ds, frames, s, both));
    OK(mgi_edits_tell(ctx, ds, &told)); /* the same without reading a film */
    assert_string_equal(told.text, s->text);
    assert_int_equal(told.task, s->task);
    assert_true(held ? s->index == PAIRS - HELD + element && s->first == 0
                     : s->index == mgi_dataset_element(ds, 11, element));
    assert_true(s->first >= 0 && s->first <= PAIR_FRAMES - frames);
}

static const char *const instructions[] = {"make the square white", "remove the square", "light",
                                           "add a square"};
static const int tasks[] = {MGI_EDIT_LOCAL, MGI_EDIT_REMOVAL, MGI_EDIT_STYLE, MGI_EDIT_ADDITION};

/* Of both films the same frames, from any on; of an image, one. */
static void check_pairs(mgi_dataset *ds, int64_t frames)
{
    const mgi_edits e = only(MGI_EDITS_PAIRS);
    bool seen[PAIRS] = {false}, begun[PAIR_FRAMES] = {false};
    int begins = 0;
    for (uint64_t i = 0; i < PAIRS - HELD; i++) {
        mgi_edits_sample s;
        read_sample(ds, &e, i, false, frames, &s);
        assert_film(both, frames, s.first, after_of((int)s.index));
        assert_film(both + frames * PAIR_FRAME, frames, s.first, before_of((int)s.index));
        assert_string_equal(s.text, instructions[s.index % 4]);
        assert_int_equal(s.task, tasks[s.index % 4]);
        seen[s.index] = begun[s.first] = true;
    }
    for (int i = 0; i < PAIRS; i++)
        assert_true(seen[i] == (i < PAIRS - HELD)); /* an epoch takes each once */
    for (int i = 0; i < PAIR_FRAMES; i++)
        begins += begun[i];
    assert_in_range(begins, 5, PAIR_FRAMES - frames + 1);
    for (uint64_t i = 0; i < HELD; i++) {
        mgi_edits_sample s;
        read_sample(ds, &e, i, true, frames, &s);
        assert_film(both, frames, 0, after_of((int)s.index));
    }
}

/* One frame of both, at the same moment, moved alike. */
static void check_animated(mgi_dataset *ds)
{
    const mgi_edits e = only(MGI_EDITS_ANIMATED);
    bool seen[FRAMES] = {false};
    int moments = 0;
    for (uint64_t i = 0; i < PAIRS - HELD; i++) {
        mgi_edits_sample s;
        mgi_edit_words words;
        read_sample(ds, &e, i, false, FRAMES, &s);
        OK(mgi_dataset_edit(ctx, ds, s.index, s.first + s.moment, 1, want + BYTES, want, &words));
        for (int k = 0; k < 2; k++)
            mgi_animate(want + k * BYTES, PAIR_SIDE, PAIR_SIDE, FRAMES, 11, i, want + k * BYTES);
        assert_memory_equal(both, want, sizeof both);
        assert_memory_not_equal(both, both + (FRAMES - 1) * PAIR_FRAME, PAIR_FRAME);
        assert_film(both, 1, s.first + s.moment, after_of((int)s.index));
        assert_string_equal(s.text, instructions[s.index % 4]);
        seen[s.moment] = true;
    }
    for (int i = 0; i < FRAMES; i++)
        moments += seen[i];
    assert_in_range(moments, FRAMES / 2, FRAMES);
}

/* The film that the caption tells, made of nothing. */
static void check_texts(mgi_dataset *ds, int64_t frames)
{
    const mgi_edits e = only(MGI_EDITS_TEXT);
    memset(want, 0, sizeof want);
    for (uint64_t i = 0; i < 6; i++) {
        char told[64];
        mgi_edits_sample s;
        read_sample(ds, &e, i, false, frames, &s);
        assert_film(both, frames, s.first, before_of((int)s.index));
        assert_memory_equal(both + frames * PAIR_FRAME, want, (size_t)(frames * PAIR_FRAME));
        snprintf(told, sizeof told, "make square %d on a ground", (int)s.index);
        assert_string_equal(s.text, told);
        assert_int_equal(s.task, MGI_EDIT_TEXT_TO_VIDEO);
    }
}

static void test_samples(void **state)
{
    (void)state;
    make_films(folder, "samples");
    put_pairs(PAIRS);
    mgi_dataset *ds = open_films();
    for (int64_t frames = 1; frames <= FRAMES; frames += FRAMES - 1) {
        check_pairs(ds, frames);
        check_texts(ds, frames);
    }
    check_animated(ds);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* The longest that there are, with all that stands before them, and rates of captions in front. */
static void test_texts(void **state)
{
    static const struct {
        const char *caption, *told;
    } cases[] = {{"FPS-24 a ball", "FPS-24 make a ball"}, {"FPS-24", "make FPS-24"}};
    const mgi_edits text = only(MGI_EDITS_TEXT), pairs = only(MGI_EDITS_PAIRS);
    char longest[MGI_CAPTION_SIZE];
    mgi_edits_sample s;
    mgi_dataset *ds;
    (void)state;
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    make_films(folder, "texts");
    put_pairs(1);
    put_text("00.edit.txt", longest);
    put_text("00.txt", longest);
    ds = open_films();
    mgi_edits_own_of(&text, ds, 11, 0, false, FRAMES, &s);
    OK(mgi_edits_tell(ctx, ds, &s));
    assert_memory_equal(s.text, "make ", 5);
    assert_string_equal(s.text + 5, longest);
    mgi_edits_own_of(&pairs, ds, 11, 0, false, FRAMES, &s);
    OK(mgi_edits_tell(ctx, ds, &s));
    assert_string_equal(s.text, longest);
    mgi_dataset_release(ds);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_text("00.txt", cases[i].caption);
        ds = open_films();
        mgi_edits_own_of(&text, ds, 11, 0, false, FRAMES, &s);
        OK(mgi_edits_tell(ctx, ds, &s));
        assert_string_equal(s.text, cases[i].told);
        mgi_dataset_release(ds);
    }
    assert_int_equal(remove_all(films), 0);
}

/* ---- latents ------------------------------------------------------------------------------------------ */

static int64_t encoded; /* clips, as was told last */
static bool stopped;    /* once some are */

static int32_t count_clips(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user, (void)total;
    if (!strcmp(what, "encoding clips"))
        encoded = (int64_t)done;
    return stopped;
}

static void assert_same(const mgi_latents *a, const mgi_latents *b)
{
    const int64_t all = a->clips + a->held;
    assert_int_equal(b->clips + b->held, all);
    assert_true(same_latents(ctx, a, b));
    assert_memory_equal(a->black, b->black, (size_t)a->size * sizeof *a->black);
    for (int64_t i = 0; i < all; i++) {
        assert_string_equal(a->captions[i], b->captions[i]);
        assert_int_equal(a->tasks[i], b->tasks[i]);
    }
}

/* Encoded once, though in two goes, and found again with their instructions and tasks; encoded again when a film after an edit or an instruction is
 * another one. */
static void test_cache(void **state)
{
    const mgi_tae_config config = tiny_autoencoder(1, 1).tae;
    const mgi_edits edits = {.share = {1.0, 1.0, 0.0, 1.0}};
    mgi_edits_sample s;
    mgi_latents l, again;
    mgi_tae tae;
    (void)state;
    make_films(folder, "kept");
    put_pairs(PAIRS);
    mgi_dataset *ds = open_films();
    OK(mgi_tae_init(&tae, ctx, &config));
    OK(mgi_module_random(&tae.module, 1));
    mgi_latents_request q = {.tae = &tae,
                             .tae_hash = 1,
                             .dataset = ds,
                             .seed = 11,
                             .frames = FRAMES,
                             .clips = 100,
                             .held = 64,
                             .cache_dir = folder,
                             .edits = &edits};
    ctx->progress = count_clips;
    stopped = true;
    assert_int_equal(mgi_latents_make(ctx, &q, &l), MGEN_E_CANCELLED);
    assert_in_range(encoded, 1, PAIRS - 1);
    stopped = false;
    OK(mgi_latents_make(ctx, &q, &l));
    assert_int_equal(l.clips, PAIRS - HELD);
    assert_int_equal(l.held, HELD);
    assert_int_equal(l.step, 2 * l.size);
    for (int64_t i = 0; i < PAIRS; i++) {
        const bool held = i >= PAIRS - HELD;
        mgi_edits_own_of(&edits, ds, 11, (uint64_t)(held ? i - (PAIRS - HELD) : i), held, FRAMES,
                         &s);
        OK(mgi_edits_tell(ctx, ds, &s));
        assert_string_equal(l.captions[i], s.text);
        assert_int_equal(l.tasks[i], s.task);
    }
    for (int i = 0; i < 5;
         i++) { /* the same; tiles of the same; another film; another text; that again */
        mgi_dataset *other;
        if (i == 2)
            put_film("03.edited.y4m", 200);
        if (i == 3)
            put_text("03.edit.txt", "darken the square");
        other = open_films();
        q.dataset = other;
        q.cache_dir = i == 1 ? NULL : folder;
        encoded = 0;
        OK(mgi_latents_make(ctx, &q, &again));
        assert_int_equal(encoded, i == 0 || i == 4 ? 0 : PAIRS);
        if (i < 2)
            assert_same(&l, &again);
        mgi_latents_free(ctx, &again);
        mgi_dataset_release(other);
    }
    ctx->progress = NULL;
    mgi_latents_free(ctx, &l);
    mgi_dataset_release(ds);
    mgi_tae_finish(&tae);
    assert_int_equal(remove_all(films), 0);
}

/* ---- steps -------------------------------------------------------------------------------------------- */

/* Of films and of images. */
static mgi_stage own_editor(int64_t steps, int64_t batch)
{
    mgi_stage stage = tiny_editor(steps, batch);
    stage.edits[MGI_EDITS_SEGMENTATION] = 0.0;
    stage.clips = PAIRS;
    stage.validate_every = steps; /* without it one pair is held out of each bucket */
    return stage;
}

/* Validates first and last; what it saved is an editor. */
static void check_learns(mgi_dataset *ds, const mgi_stage *stage)
{
    struct mgi_stage_run *run;
    mgi_editor ed;
    uint64_t hash;
    double first, last;
    OK(create_on(stage, ds, &run));
    assert_int_equal(run->buckets.count, 2);
    steps_of(stage, run, &first, &last);
    OK(mgi_stage_text_to_video.save(run));
    end(run);
    print_message("%.4f, then %.4f\n", first, last);
    if (!(last < 0.85 * first))
        fail_msg("%g after %g", last, first);
    OK(mgi_editor_open(ctx, folder, "editor", &ed, &hash));
    assert_int_equal(ed.config.video.tasks, MGI_EDIT_TASKS);
    mgi_editor_finish(&ed);
}

/* With fps_prefix the instructions of films, not of images, begin with the rate of their bucket, or that of the films. */
static void test_rates(void **state)
{
    static const char *const rates[] = {"FPS-30 ", "FPS-25 "};
    (void)state;
    make_films(folder, "rates");
    put_pairs(2);
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "%02d.%sy4m", i / 2, i % 2 ? "edited." : "");
        put_film_of(name, PAIR_SIDE, PAIR_SIDE, PAIR_FRAMES, 2997, 20);
    }
    mgi_dataset *ds = open_films();
    mgi_stage stage = own_editor(1, 2);
    stage.video.fps_prefix = true;
    for (int k = 0; k < 2; k++) {
        struct mgi_stage_run *run;
        stage.bucket[0].fps = k ? 25 : 0;
        OK(create_on(&stage, ds, &run));
        const mgi_latents *of = &run->buckets.list[0].latents,
                          *images = &run->buckets.list[1].latents;
        for (int64_t i = 0; i < of->clips + of->held; i++) {
            assert_memory_equal(of->captions[i], rates[k], 7);
            assert_memory_not_equal(images->captions[i], "FPS-", 4);
        }
        end(run);
    }
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

static void test_learns(void **state)
{
    (void)state;
    make_films(folder, "learned");
    put_pairs(PAIRS);
    mgi_dataset *ds = open_films();
    mgi_stage stage = own_editor(120, 8);
    stage.validate_every = 20;
    stage.optimizer.lr = 0.01;
    check_learns(ds, &stage);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* ---- hosts -------------------------------------------------------------------------------------------- */

/* What a folder of pairs holds, read from it, told as a host has it. */
typedef struct host {
    mgi_dataset *films;
    int calls;
    int bad; /* a sample without instruction; 0: none */
    bool silent, fails;
} host;

static mgen_status read_pair(void *user, uint64_t index, mgen_sample *s)
{
    host *h = user;
    mgi_edit_words words;
    h->calls++;
    if (h->fails)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_dataset_edit(ctx, h->films, index, 0, s->frames, s->pixels, s->edited, &words));
    snprintf(s->caption, s->caption_size, "%s", h->silent ? "" : words.caption);
    snprintf(s->instruction, s->caption_size, "%s",
             h->bad && (int)index == h->bad ? "" : words.instruction);
    s->edit_task = (uint32_t)words.task - MGI_EDIT_LOCAL + MGEN_EDIT_LOCAL;
    return MGEN_OK;
}

static mgi_dataset *open_host(host *h)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgi_dataset *ds;
    p.width = p.height = PAIR_SIDE;
    p.frames = PAIR_FRAMES;
    p.count = PAIRS;
    p.edits = 1;
    p.read = read_pair;
    p.user = h;
    OK(mgi_dataset_host(ctx, &p, &ds));
    return ds;
}

/* The same pairs from a host are the same samples: the model has the same bits. Each is read once for each bucket. */
static void test_host(void **state)
{
    float *weights[2];
    int64_t count = 0;
    (void)state;
    make_films(folder, "hosted");
    put_pairs(PAIRS);
    host h = {.films = open_films()};
    mgi_dataset *ds = open_host(&h);
    mgi_stage stage = own_editor(3, 4);
    for (int k = 0; k < 2; k++) {
        struct mgi_stage_run *run;
        OK(create_on(&stage, k ? ds : h.films, &run));
        for (int64_t i = 0; i < stage.steps; i++)
            OK(mgi_stage_text_to_video.step(run, i, NULL));
        const T *head = run->video.patch_condition->value;
        count = head->count;
        weights[k] = malloc((size_t)count * sizeof *weights[k]);
        assert_non_null(weights[k]);
        memcpy(weights[k], mgi_f32(head), (size_t)count * sizeof *weights[k]);
        end(run);
    }
    assert_memory_equal(weights[0], weights[1], (size_t)count * sizeof *weights[0]);
    assert_int_equal(h.calls, 2 * PAIRS);
    free(weights[0]);
    free(weights[1]);
    h.bad = 7;
    assert_refused_on(&stage, ds, MGEN_E_INVALID, "sample 7: its instruction is \"\"");
    h.bad = 0;
    h.silent = true;
    assert_refused_on(&stage, ds, MGEN_E_INVALID, "has no caption, which \"text\" of \"edits\"");
    stage.edits[MGI_EDITS_TEXT] = 0.0;
    struct mgi_stage_run *run;
    OK(create_on(&stage, ds, &run));
    end(run);
    mgi_dataset_release(ds);
    mgi_dataset_release(h.films);
    assert_int_equal(remove_all(films), 0);
}

/* ---- shares that the recipe leaves to the data -------------------------------------------------------- */

/* A recipe's that says nothing of them. */
static mgi_stage default_editor(void)
{
    mgi_stage stage = tiny_editor(1, 2);
    for (int i = 0; i < MGI_EDITS_KINDS; i++) {
        stage.edits[i] = 0.0;
        stage.edits_unsaid[i] = true;
    }
    stage.edits[MGI_EDITS_PAIRS] = 3.0;
    stage.edits[MGI_EDITS_SEGMENTATION] = stage.edits[MGI_EDITS_TEXT] = 1.0;
    stage.clips = PAIRS;
    stage.validate_every = 1;
    return stage;
}

/* It is trained with these shares, and its checkpoints are those of a stage that says them. */
static void check_shares(mgi_dataset *ds, double segmentation, double text)
{
    const mgi_stage stage = default_editor();
    mgi_stage says = stage;
    char hash[2][MGI_HEAD_TEXT];
    struct mgi_stage_run *run;
    mgi_stage_state s;
    says.edits[MGI_EDITS_SEGMENTATION] = segmentation;
    says.edits[MGI_EDITS_TEXT] = text;
    OK(create_on(&stage, ds, &run));
    assert_memory_equal(run->edits.share, says.edits, sizeof says.edits);
    mgi_stage_text_to_video.state(run, &s);
    says.tae = s.stage->tae;
    OK(mgi_stage_hash(ctx, s.stage, hash[0]));
    OK(mgi_stage_hash(ctx, &says, hash[1]));
    assert_string_equal(hash[0], hash[1]);
    for (int64_t i = 0; i < run->buckets.list[0].latents.clips; i++) {
        const int32_t task = run->buckets.list[0].latents.tasks[i];
        assert_true(task != MGI_EDIT_SEGMENTATION || segmentation > 0.0);
        assert_true(task != MGI_EDIT_TEXT_TO_VIDEO || text > 0.0);
    }
    end(run);
}

/* Marked objects are the toybox's, texts those whose clips are told: of a folder all, of a host the first. */
static void test_defaults(void **state)
{
    (void)state;
    check_shares(NULL, 1.0, 1.0);
    make_films(folder, "defaults");
    put_pairs(PAIRS);
    host h = {.films = open_films()};
    mgi_dataset *ds = open_host(&h);
    check_shares(h.films, 0.0, 1.0);
    check_shares(ds, 0.0, 1.0);
    assert_int_equal(h.calls, 1 + 2 * PAIRS);
    h.silent = true;
    check_shares(ds, 0.0, 0.0);
    mgi_stage stage = default_editor();
    stage.bucket[0].edits = 1 + MGI_EDITS_TEXT; /* which nobody tells */
    assert_refused_on(&stage, ds, MGEN_E_INVALID,
                      "is of \"text\", of which the dataset has nothing");
    stage.bucket[0].edits = 0;
    stage.edits[MGI_EDITS_PAIRS] = 0.0;
    stage.edits_unsaid[MGI_EDITS_PAIRS] = false;
    assert_refused_on(&stage, ds, MGEN_E_INVALID, "give \"pairs\" or \"animated\" a share");
    h.fails = true;
    assert_refused_on(&stage, ds, MGEN_E_INVALID, "sample 0: the dataset's callback answered");
    mgi_dataset_release(ds);
    mgi_dataset_release(h.films);
    assert_int_equal(unlink(in_films("07.txt")), 0);
    ds = open_films();
    check_shares(ds, 0.0, 0.0);
    for (int kind = MGI_EDITS_SEGMENTATION; kind <= MGI_EDITS_TEXT; kind++) {
        stage = default_editor();
        stage.edits_unsaid[kind] = false; /* what is asked for is refused */
        assert_refused_on(&stage, ds, MGEN_E_INVALID,
                          kind == MGI_EDITS_TEXT ? "has no caption, '07.txt'"
                                                 : "\"edits\" ask for \"segmentation\"");
    }
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* ---- refused ------------------------------------------------------------------------------------------ */

static void refuse(const mgi_stage *stage, mgen_status status, const char *said)
{
    mgi_dataset *ds = open_films();
    encoded = 0;
    assert_refused_on(stage, ds, status, said);
    assert_int_equal(encoded, 0); /* before training begins */
    mgi_dataset_release(ds);
}

/* Kinds that are the toybox's, by name; a folder that is not all pairs; one without any; clips that are not there. */
static void test_refused(void **state)
{
    (void)state;
    make_films(folder, "refused");
    ctx->progress = count_clips;
    mgi_stage stage = own_editor(1, 2);
    put_film("00.y4m", 20);
    refuse(&stage, MGEN_E_INVALID, "clip.edited.mp4, clip.edit.txt");
    refuse(&stage, MGEN_E_INVALID, "trained without a dataset");
    put_pairs(2);
    stage.edits[MGI_EDITS_SEGMENTATION] = 0.5;
    refuse(&stage, MGEN_E_INVALID, "\"edits\" ask for \"segmentation\"");
    stage = own_editor(1, 2);
    stage.edits[MGI_EDITS_BACK] = 0.5;
    strcpy(stage.back_from, "maker_editor");
    stage.back_steps = 1;
    refuse(&stage, MGEN_E_INVALID, "\"edits\" ask for \"backtranslated\"");
    stage = own_editor(1, 2);
    assert_int_equal(unlink(in_films("01.txt")), 0);
    refuse(&stage, MGEN_E_INVALID, "has no caption, '01.txt'");
    stage.edits[MGI_EDITS_TEXT] = 0.0;
    assert_int_equal(unlink(in_films("01.edit.txt")), 0);
    refuse(&stage, MGEN_E_INVALID, "'01.edit.txt' is missing");
    assert_int_equal(unlink(in_films("00.edited.y4m")), 0);
    refuse(&stage, MGEN_E_INVALID, "'00.edited.y4m' is missing");
    put_pairs(2);
    stage.bucket[0].frames = PAIR_FRAMES + 1;
    refuse(&stage, MGEN_E_INVALID, "are not in a dataset of");
    stage = own_editor(1, 2);
    put_film_of("01.edited.y4m", PAIR_SIDE, PAIR_SIDE, 3, 1600, 90); /* found when it is read */
    mgi_dataset *ds = open_films();
    assert_refused_on(&stage, ds, MGEN_E_INVALID, "01.edited.y4m' has 3 frames");
    ctx->progress = NULL;
    mgi_dataset_release(ds);
    /* other stages see the films before the edits */
    stage = tiny_text_to_video(1, 2);
    put_pairs(2);
    ds = open_films();
    struct mgi_stage_run *run;
    OK(create_on(&stage, ds, &run));
    assert_int_equal(run->buckets.list[0].latents.clips + run->buckets.list[0].latents.held, 2);
    end(run);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),  cmocka_unit_test(test_texts),
        cmocka_unit_test(test_cache),    cmocka_unit_test(test_learns),
        cmocka_unit_test(test_rates),    cmocka_unit_test(test_host),
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("own_edits", tests, make_models, free_context_and_folder);
}
