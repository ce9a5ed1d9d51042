/* SPDX-License-Identifier: MIT
 * Samples that are edits: films of a folder beside which lie what they are to become and an instruction, and what hosts read so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "data/dataset_edits.h"
#include "data/folder.h"
#include "failing_memory.h"
#include "folder_context.h"

#include "ok.h"
#include "pair_films.h"

static uint8_t before[PAIR_FRAMES * PAIR_FRAME], after[PAIR_FRAMES * PAIR_FRAME];
static mgi_edit_words words;

static mgen_status open_status(void)
{
    mgi_dataset *ds = NULL;
    mgen_status status = open_films_of(PAIR_SIDE, PAIR_FRAMES, &ds);
    mgi_dataset_release(ds);
    return status;
}

/* What checking all of them answers. */
static mgen_status check_status(bool captions)
{
    mgi_dataset *ds = open_films();
    mgen_status status = mgi_dataset_check_edits(ctx, ds, captions);
    mgi_dataset_release(ds);
    return status;
}

static void assert_words(const char *instruction, int task)
{
    assert_string_equal(words.instruction, instruction);
    assert_int_equal(words.task, task);
}

/* ---- folders -------------------------------------------------------------------------------------- */

/* Films after an edit are no films of their own; both are cut at the same frames, and the larger one is scaled. */
static void test_pairs(void **state)
{
    (void)state;
    make_films(folder, "pairs");
    put_film("b c.y4m", 30);
    put_film_of("b c.edited.Y4M", 2 * PAIR_SIDE, 2 * PAIR_SIDE, PAIR_FRAMES + 3, 1600, 90);
    put_text("b c.edit.txt", "\xEF\xBB\xBF  Remove the ball \xC3\xA4\r\n\n");
    put_film("a.y4m", 10);
    put_film("a.edited.y4m", 100);
    put_text("a.edit.txt", "texture:  make it blue");
    put_text("a.txt", "a square");
    mgi_dataset *ds = open_films();
    assert_int_equal(ds->count, 2);
    assert_true(mgi_dataset_has_edits(ds));
    OK(mgi_dataset_check_edits(ctx, ds, false));
    OK(mgi_dataset_edit(ctx, ds, 0, 5, 7, before, after, &words));
    assert_film(before, 7, 5, 10);
    assert_film(after, 7, 5, 100);
    assert_words("make it blue", MGI_EDIT_TEXTURE);
    assert_string_equal(words.caption, "a square");
    OK(mgi_dataset_edit(ctx, ds, 1, 0, PAIR_FRAMES, before, after, &words));
    assert_film(before, PAIR_FRAMES, 0, 30);
    for (int64_t i = 0; i < PAIR_FRAMES; i++) /* away from the square's edge */
        assert_true(abs(after[i * PAIR_FRAME] - shade_of(90, 48, 48, 0, 0, i)) <= 1);
    assert_words("Remove the ball \xC3\xA4", MGI_EDIT_REMOVAL);
    assert_string_equal(words.caption, "");
    memset(after, 7, sizeof after);
    OK(mgi_dataset_edit(ctx, ds, 0, PAIR_FRAMES - 1, 1, before, NULL, &words));
    assert_film(before, 1, PAIR_FRAMES - 1, 10);
    OK(mgi_dataset_edit_words(ctx, ds, 0, &words));
    assert_words("make it blue", MGI_EDIT_TEXTURE);
    OK(mgi_dataset_sample(ctx, ds, 1, before, NULL)); /* as any film */
    assert_film(before, PAIR_FRAMES, 0, 30);
    assert_said(mgi_dataset_edit(ctx, ds, 0, 14, 7, before, after, &words), MGEN_E_INVALID,
                "frames 14 to 20");
    assert_said(mgi_dataset_edit(ctx, ds, 2, 0, 1, before, after, &words), MGEN_E_INVALID,
                "sample 2");
    assert_said(mgi_dataset_check_edits(ctx, ds, true), MGEN_E_INVALID, "'b c.y4m' in '");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Names of tasks as requests have them, and only as a whole; else the words tell. */
static void test_tasks(void **state)
{
    static const struct {
        const char *text, *instruction;
        int task;
    } cases[] = {{"local: remove it", "remove it", MGI_EDIT_LOCAL},
                 {"style:make it dark", "make it dark", MGI_EDIT_STYLE},
                 {"background: a wall", "a wall", MGI_EDIT_BACKGROUND},
                 {"removal: no ball", "no ball", MGI_EDIT_REMOVAL},
                 {"addition: a ball: red", "a ball: red", MGI_EDIT_ADDITION},
                 {"texture: :", ":", MGI_EDIT_TEXTURE},
                 {"segmentation: the ball", "the ball", MGI_EDIT_SEGMENTATION},
                 {"auto: add a ball", "add a ball", MGI_EDIT_ADDITION},
                 {"auto: style: sepia", "style: sepia", MGI_EDIT_STYLE},
                 {"text_to_video: a ball", "text_to_video: a ball", MGI_EDIT_LOCAL},
                 {"Removal: a ball", "Removal: a ball", MGI_EDIT_LOCAL},
                 {"removals: a ball", "removals: a ball", MGI_EDIT_LOCAL},
                 {"remov: a ball", "remov: a ball", MGI_EDIT_LOCAL},
                 {"please, style: a ball", "please, style: a ball", MGI_EDIT_STYLE},
                 {": a ball", ": a ball", MGI_EDIT_LOCAL},
                 {"removal", "removal", MGI_EDIT_LOCAL}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *instruction;
        int task = mgi_edit_task_read(cases[i].text, &instruction);
        if (task != cases[i].task || strcmp(instruction, cases[i].instruction) != 0)
            fail_msg("\"%s\" is \"%s\", %s", cases[i].text, instruction, mgi_edit_task_name[task]);
    }
}

/* Each is refused when the folder is opened, by its name. */
static void test_bad_texts(void **state)
{
    static const struct {
        const char *text, *said;
        size_t size;
    } cases[] = {{"", "a.edit.txt' in '", 0},
                 {" \n\t", "is empty", 3},
                 {"style: \n", "is empty", 8},
                 {"auto:", "is empty", 5},
                 {"remove it\nadd it", "a.edit.txt' has more than one line", 16},
                 {"remove it\radd it", "has more than one line", 16},
                 {"remove\0it", "a.edit.txt' is no UTF-8", 9},
                 {"remove it\0", "is no UTF-8", 10},
                 {"remove \xFF", "is no UTF-8", 8},
                 {"remove \xC3", "is no UTF-8", 8}};
    char text[MGI_CAPTION_SIZE + 1];
    (void)state;
    make_films(folder, "texts");
    put_film("a.y4m", 10);
    put_film("a.edited.y4m", 100);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_bytes("a.edit.txt", cases[i].text, cases[i].size);
        assert_said(open_status(), MGEN_E_CORRUPT, cases[i].said);
        assert_non_null(strstr(mgen_last_error(ctx), "the instruction '"));
    }
    memset(text, 'x', sizeof text);
    put_bytes("a.edit.txt", text, MGI_CAPTION_SIZE);
    assert_said(open_status(), MGEN_E_CORRUPT, "a.edit.txt' is longer than 1023");
    put_bytes("a.edit.txt", text, MGI_CAPTION_SIZE - 1);
    OK(check_status(false));
    assert_int_equal(remove_all(films), 0);
}

/* A link is followed, as the owner of the folder meant; one that leads nowhere and a folder are no file. */
static void test_links(void **state)
{
    char path[1000];
    (void)state;
    make_films(folder, "links");
    put_film("a.y4m", 10);
    put_film("a.edited.y4m", 100);
    put_text("words", "remove it");
    snprintf(path, sizeof path, "%s", in_films("a.edit.txt"));
    assert_int_equal(symlink("words", path), 0);
    OK(check_status(false));
    assert_int_equal(unlink(in_films("words")), 0);
    assert_said(check_status(false), MGEN_E_INVALID, "'a.edit.txt' is missing");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_said(check_status(false), MGEN_E_INVALID, "'a.edit.txt' is missing");
    assert_int_equal(rmdir(path), 0);
    put_text("a.edit.txt", "remove it");
    snprintf(path, sizeof path, "%s", in_films("a.edited.y4m"));
    assert_int_equal(rename(path, in_films("film")), 0);
    assert_int_equal(symlink("film", path), 0);
    mgi_dataset *ds = open_films();
    OK(mgi_dataset_check_edits(ctx, ds, false));
    OK(mgi_dataset_edit(ctx, ds, 0, 0, 2, before, after, &words));
    assert_film(after, 2, 0, 100);
    assert_int_equal(unlink(in_films("film")), 0); /* gone since the folder was opened */
    assert_said(mgi_dataset_edit(ctx, ds, 0, 0, 2, before, after, &words), MGEN_E_NOT_FOUND,
                "a.edited.y4m");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* What is missing is said by its name, and by that of what it belongs to. */
static void test_incomplete(void **state)
{
    (void)state;
    make_films(folder, "incomplete");
    put_film("a.y4m", 10);
    mgi_dataset *ds = open_films();
    assert_false(mgi_dataset_has_edits(ds));
    assert_said(mgi_dataset_edit(ctx, ds, 0, 0, 1, before, after, &words), MGEN_E_INVALID,
                "sample 0 of the dataset is no edit");
    mgi_dataset_release(ds);

    put_film("a.edited.y4m", 100);
    assert_said(check_status(false), MGEN_E_INVALID, "the films 'a.y4m' and 'a.edited.y4m' in '");
    assert_said(check_status(false), MGEN_E_INVALID, "'a.edit.txt' is missing");
    put_text("a.edit.txt", "make it light");
    OK(check_status(false));
    assert_said(check_status(true), MGEN_E_INVALID, "'a.y4m' in '");
    assert_said(check_status(true), MGEN_E_INVALID, "has no caption, 'a.txt'");
    put_text("a.txt", "a square");
    OK(check_status(true));

    put_film("b.y4m", 10);
    assert_said(check_status(false), MGEN_E_INVALID, "the film 'b.y4m' in '");
    assert_said(check_status(false), MGEN_E_INVALID, "'b.edited.y4m' is missing");
    put_text("b.edit.txt", "make it light");
    assert_said(check_status(false), MGEN_E_INVALID, "'b.edited.y4m' is missing");
    ds = open_films();
    assert_said(mgi_dataset_edit(ctx, ds, 1, 0, 1, before, after, &words), MGEN_E_INVALID,
                "'b.edited.y4m' is missing");
    assert_said(mgi_dataset_edit_words(ctx, ds, 1, &words), MGEN_E_INVALID,
                "'b.edited.y4m' is missing");
    mgi_dataset_release(ds);
    put_film("b.edited.y4m", 100);
    OK(check_status(false));

    put_film("c.edited.y4m", 100); /* of no film: one of its own, unless edits are learned */
    ds = open_films();
    assert_int_equal(ds->count, 3);
    assert_said(mgi_dataset_check_edits(ctx, ds, false), MGEN_E_INVALID, "'c.edited.y4m' in '");
    assert_said(mgi_dataset_check_edits(ctx, ds, false), MGEN_E_INVALID, "'c' and an ending");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Two films after the edit of one; names that only begin or end like one. */
static void test_names(void **state)
{
    static const char *const own[] = {"a.editor.y4m", "a-edited.y4m", "a.edited2.y4m",
                                      "aa.edited.y4m", "edited.y4m"};
    mgi_dataset *ds;
    (void)state;
    make_films(folder, "names");
    put_film("a.y4m", 10);
    put_film("a.edited.y4m", 100);
    put_text("a.edit.txt", "make it light");
    put_text("a.edited.txt", "no film");
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        put_film(own[i], 20);
    ds = open_films();
    assert_int_equal(ds->count, 6);
    for (uint64_t i = 0; i < ds->count; i++)
        assert_true(!strcmp(ds->films[i].name, "a.y4m") == (ds->films[i].edited != NULL));
    mgi_dataset_release(ds);
    put_text("a.edited.mkv", "another film");
    assert_said(open_status(), MGEN_E_INVALID, "'a.edited.mkv' and 'a.edited.y4m'");
    assert_int_equal(remove_all(films), 0);
}

/* Films that do not go together, or cannot be read, are found when they are read. */
static void test_bad_films(void **state)
{
    (void)state;
    make_films(folder, "bad");
    put_pairs(1);
    mgi_dataset *ds = open_films();
    put_film_of("00.edited.y4m", PAIR_SIDE, PAIR_SIDE, PAIR_FRAMES - 1, 1600, 100);
    OK(mgi_dataset_edit(ctx, ds, 0, 0, PAIR_FRAMES - 1, before, after, &words));
    assert_said(mgi_dataset_edit(ctx, ds, 0, 0, PAIR_FRAMES, before, after, &words), MGEN_E_INVALID,
                "00.edited.y4m' has 19 frames, fewer than the 20");
    put_film_of("00.edited.y4m", PAIR_SIDE, PAIR_SIDE, PAIR_FRAMES, 1500, 100);
    assert_said(mgi_dataset_edit(ctx, ds, 0, 0, 1, before, after, &words), MGEN_E_INVALID,
                "'00.y4m' and '00.edited.y4m'");
    assert_said(mgi_dataset_edit(ctx, ds, 0, 0, 1, before, after, &words), MGEN_E_INVALID,
                "16 and 15 frames a second");
    put_film_of("00.edited.y4m", PAIR_SIDE, PAIR_SIDE, PAIR_FRAMES, 1602, 100);
    OK(mgi_dataset_edit(ctx, ds, 0, 0, 1, before, after, &words));
    put_film_of("00.edited.y4m", 64, 48, PAIR_FRAMES, 1600, 100);
    assert_said(mgi_dataset_edit(ctx, ds, 0, 0, 1, before, after, &words), MGEN_E_INVALID,
                "48 x 48 and 64 x 48 pixels");
    put_text("00.edited.y4m", "YUV4MPEG2 but no film\n");
    assert_said(mgi_dataset_edit(ctx, ds, 0, 0, 1, before, after, &words), MGEN_E_CORRUPT,
                "00.edited.y4m");
    put_film_of("00.y4m", PAIR_SIDE, PAIR_SIDE, 3, 1600, 100);
    assert_said(mgi_dataset_edit(ctx, ds, 0, 0, 4, before, after, &words), MGEN_E_INVALID,
                "00.y4m' has 3 frames");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

static uint64_t identity(void)
{
    mgi_dataset *ds = open_films();
    const uint64_t is = ds->identity;
    mgi_dataset_release(ds);
    return is;
}

/* The dataset is another one when a film after an edit or an instruction is. */
static void test_identity(void **state)
{
    uint64_t is[6];
    (void)state;
    make_films(folder, "identity");
    put_pairs(2);
    is[0] = identity();
    assert_true(is[0] && is[0] == identity());
    put_film_of("01.edited.y4m", PAIR_SIDE, PAIR_SIDE, PAIR_FRAMES + 1, 1600, 100);
    is[1] = identity();
    put_film_of("01.edited.y4m", PAIR_SIDE, PAIR_SIDE, PAIR_FRAMES + 1, 1600, 101); /* later */
    is[2] = identity();
    put_text("00.edit.txt", "make the square blue");
    is[3] = identity();
    put_text("00.edit.txt", "make the square pink");
    is[4] = identity();
    assert_int_equal(rename(in_films("01.edit.txt"), films), -1); /* a folder */
    assert_int_equal(unlink(in_films("01.edit.txt")), 0);
    is[5] = identity();
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < i; k++)
            assert_true(is[i] != is[k]);
    assert_int_equal(remove_all(films), 0);
}

/* A list of clips cuts both films, and keeps none after an edit by itself. */
static void test_clips(void **state)
{
    mgi_dataset *ds;
    (void)state;
    make_films(folder, "clips");
    put_pairs(1);
    put_text("clips.jsonl",
             "{\"file\": \"00.y4m\", \"first\": 4, \"frames\": 10, \"kept\": true}\n"
             "{\"file\": \"00.y4m\", \"first\": 9, \"frames\": 9, \"kept\": true}\n");
    OK(open_films_of(PAIR_SIDE, 8, &ds));
    assert_int_equal(ds->count, 2);
    OK(mgi_dataset_check_edits(ctx, ds, true));
    OK(mgi_dataset_edit(ctx, ds, 1, 1, 5, before, after, &words));
    assert_film(before, 5, 10, before_of(0));
    assert_film(after, 5, 10, after_of(0));
    mgi_dataset_release(ds);
    put_text("clips.jsonl",
             "{\"file\": \"00.edited.y4m\", \"first\": 0, \"frames\": 10, \"kept\": true}\n");
    assert_said(open_films_of(PAIR_SIDE, 8, &ds), MGEN_E_NOT_FOUND,
                "keeps a clip of '00.edited.y4m'");
    assert_int_equal(remove_all(films), 0);
}

/* ---- hosts ---------------------------------------------------------------------------------------- */

typedef struct host {
    const char *instruction;
    uint32_t task;
    bool endless; /* its instruction has no end */
    bool edits;   /* what it expects */
    int calls;
} host;

static mgen_status read_pair(void *user, uint64_t index, mgen_sample *s)
{
    host *h = user;
    const size_t frame = (size_t)s->width * s->height * 3;
    assert_int_equal(s->struct_size, sizeof *s);
    assert_true(!s->edited == !h->edits && !s->instruction == !h->edits);
    assert_int_equal(s->edit_task, MGEN_EDIT_AUTO);
    h->calls++;
    snprintf(s->caption, s->caption_size, "sample %d", (int)index);
    for (uint32_t i = 0; i < s->frames; i++)
        memset(s->pixels + i * frame, (int)(10 * index + i), frame);
    if (!h->edits)
        return MGEN_OK;
    assert_true(s->instruction[0] == '\0' && s->edited[0] == 0);
    for (uint32_t i = 0; i < s->frames; i++)
        memset(s->edited + i * frame, (int)(100 + 10 * index + i), frame);
    s->edit_task = h->task;
    if (h->endless)
        memset(s->instruction, 'x', s->caption_size);
    else
        snprintf(s->instruction, s->caption_size, "%s", h->instruction);
    return MGEN_OK;
}

static mgen_dataset_params host_params(host *h)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = p.height = 16;
    p.frames = 6;
    p.count = 10;
    p.edits = h->edits;
    p.read = read_pair;
    p.user = h;
    return p;
}

static void test_host(void **state)
{
    enum { FRAME = 16 * 16 * 3 };
    host h = {.instruction = "remove it", .edits = true};
    mgen_dataset_params p = host_params(&h);
    mgi_dataset *ds;
    char caption[MGI_CAPTION_SIZE];
    (void)state;
    OK(mgi_dataset_host(ctx, &p, &ds));
    assert_true(mgi_dataset_has_edits(ds) && ds->identity == 0);
    OK(mgi_dataset_check_edits(ctx, ds, true));
    OK(mgi_dataset_edit(ctx, ds, 7, 2, 3, before, after, &words));
    for (int i = 0; i < 3 * FRAME; i++)
        assert_true(before[i] == 72 + i / FRAME && after[i] == 172 + i / FRAME);
    assert_words("remove it", MGI_EDIT_REMOVAL);
    assert_string_equal(words.caption, "sample 7");
    for (uint32_t task = MGEN_EDIT_LOCAL; task <= MGEN_EDIT_SEGMENTATION; task++) {
        h.task = task;
        OK(mgi_dataset_edit(ctx, ds, 1, 0, 1, before, NULL, &words));
        assert_int_equal(words.task, (int)task - MGEN_EDIT_LOCAL + MGI_EDIT_LOCAL);
    }
    h.task = MGEN_EDIT_SEGMENTATION + 1;
    assert_said(mgi_dataset_edit(ctx, ds, 3, 0, 1, before, after, &words), MGEN_E_INVALID,
                "sample 3: its edit_task is 8");
    h.task = MGEN_EDIT_AUTO;
    h.instruction = "";
    assert_said(mgi_dataset_edit(ctx, ds, 4, 0, 1, before, after, &words), MGEN_E_INVALID,
                "sample 4: its instruction is \"\"");
    h.instruction = "\xC3(";
    assert_said(mgi_dataset_edit(ctx, ds, 5, 0, 1, before, after, &words), MGEN_E_INVALID,
                "sample 5: its instruction is no UTF-8");
    h.endless = true;
    assert_said(mgi_dataset_edit(ctx, ds, 6, 0, 1, before, after, &words), MGEN_E_INVALID,
                "sample 6: its instruction does not end");
    /* a plain sample of it is an edit, too */
    assert_said(mgi_dataset_sample(ctx, ds, 6, before, caption), MGEN_E_INVALID, "sample 6");
    h.endless = false;
    h.instruction = "add it";
    OK(mgi_dataset_sample(ctx, ds, 6, before, caption));
    assert_string_equal(caption, "sample 6");
    assert_true(before[5 * FRAME] == 65);
    h.calls = 0;
    assert_said(mgi_dataset_edit_words(ctx, ds, 6, &words), MGEN_E_INVALID, "only its host knows");
    assert_said(mgi_dataset_edit(ctx, ds, 10, 0, 1, before, after, &words), MGEN_E_INVALID,
                "sample 10");
    assert_int_equal(h.calls, 0);
    mgi_dataset_release(ds);
}

/* Samples that are no edits have no room for one; what else `edits` may be. */
static void test_params(void **state)
{
    static const uint32_t bad[] = {2, UINT32_MAX};
    host h = {.edits = false};
    mgen_dataset_params p = host_params(&h);
    mgi_dataset *ds;
    (void)state;
    OK(mgi_dataset_host(ctx, &p, &ds));
    assert_false(mgi_dataset_has_edits(ds));
    OK(mgi_dataset_sample(ctx, ds, 2, before, NULL));
    assert_said(mgi_dataset_edit(ctx, ds, 2, 0, 1, before, after, &words), MGEN_E_INVALID,
                "is no edit");
    mgi_dataset_release(ds);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        p.edits = bad[i];
        assert_said(mgi_dataset_host(ctx, &p, &ds), MGEN_E_INVALID, "it must be 0 or 1");
    }
    make_films(folder, "params");
    put_pairs(1);
    p = (mgen_dataset_params)MGEN_DATASET_PARAMS_INIT;
    p.width = p.height = 16;
    p.frames = 6;
    p.edits = 1;
    assert_said(mgi_dataset_folder(ctx, films, &p, &ds), MGEN_E_INVALID, "edits must be 0");
    assert_int_equal(remove_all(films), 0);
    OK(mgi_dataset_world(ctx, 1, &(mgi_world_options){0}, &ds));
    assert_false(mgi_dataset_has_edits(ds));
    mgi_dataset_release(ds);
}

/* ---- memory --------------------------------------------------------------------------------------- */

/* A folder and a host's samples, opened, checked and read. */
static mgen_status use_all(mgen_context *c, host *h)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT, ours = host_params(h);
    mgi_dataset *ds = NULL, *other = NULL;
    p.width = p.height = 16;
    p.frames = 6;
    mgen_status status = mgi_dataset_folder(c, films, &p, &ds);
    if (status == MGEN_OK)
        status = mgi_dataset_check_edits(c, ds, true);
    if (status == MGEN_OK)
        status = mgi_dataset_edit(c, ds, 0, 1, 2, before, after, &words);
    if (status == MGEN_OK)
        status = mgi_dataset_host(c, &ours, &other);
    if (status == MGEN_OK)
        status = mgi_dataset_edit(c, other, 0, 1, 2, before, after, &words);
    if (status == MGEN_OK)
        status = mgi_dataset_sample(c, other, 0, before, NULL);
    mgi_dataset_release(ds);
    mgi_dataset_release(other);
    return status;
}

/* Whichever allocation fails, all comes back. */
static void test_memory(void **state)
{
    host h = {.instruction = "remove it", .edits = true};
    (void)state;
    make_films(folder, "memory");
    put_pairs(2);
    for (int fail_at = 1;; fail_at++) {
        failing memory = {.alone = true};
        mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
        mgen_context *c;
        params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
        params.threads = 1;
        assert_int_equal(mgi_context_init(&c, &params), MGEN_OK);
        memory.fail_at = fail_at;
        memory.calls = 0;
        mgen_status status = use_all(c, &h);
        const bool failed = memory.calls >= fail_at;
        assert_int_equal(status, failed ? MGEN_E_NO_MEMORY : MGEN_OK);
        mgi_context_free(c);
        assert_int_equal(memory.blocks, 0);
        if (!failed) {
            assert_true(fail_at > 20);
            break;
        }
    }
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),      cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_bad_texts),  cmocka_unit_test(test_links),
        cmocka_unit_test(test_incomplete), cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad_films),  cmocka_unit_test(test_identity),
        cmocka_unit_test(test_clips),      cmocka_unit_test(test_host),
        cmocka_unit_test(test_params),     cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests_name("folder_edits", tests, make_folder_context,
                                       remove_folder_context);
}
