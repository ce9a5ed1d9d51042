/* SPDX-License-Identifier: MIT
 * Crashes while a checkpoint or a model is saved: every disk that they may leave must hold
 * a checkpoint that loads, the old one or the new one; of models, all files of one save; once a save has returned, the new one. The recording with
 * planted mistakes must fail, or this test would not see them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/model_file.h"
#include "task/pipeline.h"
#include "tiny_stages.h"
#include "train/checkpoint.h"

#include "crash_disk.h" /* names of its own */

/* ---- planted mistakes ---------------------------------------------------------------------------- */

enum {
    RENAME_FIRST = OTHERS, /* before the file is flushed */
    IN_PLACE,              /* written under its name, not beside it */
    DELETE_FIRST,          /* the old one, before the rename */
    PUBLISH_FIRST,         /* the folder of a save before its files are written */
    ONE_BY_ONE             /* a save's files each by itself: it is never published as a whole */
};

/* The final name of what is written under a temporary one. */
static const char *final_name(const char *name)
{
    for (int i = 0; i < tape.count; i++)
        if (tape.event[i].kind == RENAME && !strcmp(tape.event[i].name, name))
            return tape.event[i].to;
    return name;
}

static bool in_staging(const char *name)
{
    return !strncmp(name, ".save", 5);
}

/* Takes the place of `from` before the slash. */
static void put_folder_name(char name[NAME_MAX_BYTES], const char *from, const char *to)
{
    char rest[NAME_MAX_BYTES];
    size_t n = strlen(from);
    if (strncmp(name, from, n) || (name[n] && name[n] != '/'))
        return;
    strcpy(rest, name + n);
    snprintf(name, NAME_MAX_BYTES, "%.100s%.150s", to, rest);
}

/* A save's folder is published by a rename to ".save". */
static bool publishes(const event *e)
{
    return e->kind == RENAME && !strcmp(e->to, ".save");
}

static const event *publishing(void)
{
    for (int i = 0; i < tape.count; i++)
        if (publishes(&tape.event[i]))
            return &tape.event[i];
    return NULL;
}

/* The event in the course that the mistake gives. */
static void plant_event(int mistake, int i)
{
    const event *e = &tape.event[i], *whole = publishing();
    event other = *e;
    if ((mistake == NO_FLUSH && e->kind == FLUSH) ||
        (mistake == NO_FOLDER_FLUSH && e->kind == FLUSH_FOLDER) ||
        (mistake == RENAME_FIRST && e->kind == FLUSH))
        return;
    if (mistake == IN_PLACE && e->kind != REMOVE && strstr(e->name, ".tmp.") && !publishes(e) &&
        !(e->kind == FOLDER) && !(e->kind == FLUSH_FOLDER)) {
        if (e->kind == RENAME)
            return;
        strcpy(other.name, final_name(e->name));
    }
    if (mistake == PUBLISH_FIRST && whole) {
        if (publishes(e))
            return;
        if (e->kind != FOLDER) {
            put_folder_name(other.name, whole->name, whole->to);
            put_folder_name(other.to, whole->name, whole->to);
        }
    }
    if (mistake == ONE_BY_ONE && whole) {
        if (publishes(e))
            return;
        put_folder_name(other.name, whole->to, whole->name);
    }
    if (mistake == DELETE_FIRST && e->kind == RENAME && !publishes(e)) {
        event gone = {.kind = REMOVE};
        strcpy(gone.name, e->to);
        keep(&gone);
    }
    keep(&other);
    if (mistake == PUBLISH_FIRST && whole && e->kind == FOLDER)
        keep(whole);
    if (mistake == RENAME_FIRST && e->kind == RENAME && !in_staging(e->to)) {
        event late = {.kind = FLUSH};
        strcpy(late.name, e->to);
        keep(&late);
    }
}

static void plant(int mistake, int before)
{
    (void)before;
    for (int i = 0; i < tape.count; i++)
        plant_event(mistake, i);
}

/* ---- checkpoints --------------------------------------------------------------------------------- */

static struct mgi_stage_run *begin(const mgi_stage *stage)
{
    struct mgi_stage_run *run;
    const mgi_stage_params params = {.stage = stage, .dir = folder, .seed = 5, .cache_dir = folder};
    OK(mgi_stage_kind_of(stage)->create(ctx, &params, &run));
    return run;
}

static bool loads(const char *dir, bool done, void *user)
{
    mgi_stage_state state;
    char path[256];
    snprintf(path, sizeof path, "%s/checkpoint", dir);
    if (mgi_checkpoint_load(ctx, &mgi_stage_autoencoder, user, path) != MGEN_OK)
        return false;
    mgi_stage_autoencoder.state(user, &state);
    return *state.position == 2 || (*state.position == 1 && !done);
}

/* One over another. */
static void test_checkpoint(void **state)
{
    static const int mistakes[] = {NONE,         NO_FLUSH, NO_FOLDER_FLUSH,
                                   RENAME_FIRST, IN_PLACE, DELETE_FIRST};
    const struct mgi_stage_kind *kind = &mgi_stage_autoencoder;
    mgi_stage stage = tiny_autoencoder(2, 1);
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "%s/checkpoint", folder);
    struct mgi_stage_run *run = begin(&stage);
    OK(kind->step(run, 0, NULL));
    start_tape();
    OK(mgi_checkpoint_save(ctx, kind, run, path));
    int before = tape.count;
    tape.on = false;
    OK(kind->step(run, 1, NULL));
    tape.on = true;
    OK(mgi_checkpoint_save(ctx, kind, run, path));
    assert_true(tape.count > before + 4);
    ASSERT_SEEN(mistakes, before, loads, run);
    kind->destroy(run);
}

/* ---- models -------------------------------------------------------------------------------------- */

/* Of the weights of the two networks, one after the other; 0: none. */
typedef struct sets {
    uint64_t hash[2][2]; /* of the first save, of the second */
} sets;

static uint64_t hash_of(const char *dir, const char *name)
{
    mgi_model_file f;
    if (mgi_model_file_open(ctx, dir, name, NULL, &f) != MGEN_OK)
        return 0;
    uint64_t hash = f.hash;
    mgi_model_file_close(ctx, &f);
    return hash;
}

static mgen_status hashes(const char *dir, uint64_t out[2])
{
    mgi_pipeline_file p;
    MGI_TRY(mgi_pipeline_file_read(ctx, dir, "pipeline", &p));
    out[0] = hash_of(dir, p.video);
    out[1] = hash_of(dir, p.text[0]);
    return MGEN_OK;
}

/* All of one save; when the second is over, of that. */
static bool whole(const char *dir, bool done, void *user)
{
    const sets *s = user;
    uint64_t found[2];
    return hashes(dir, found) == MGEN_OK && (!memcmp(found, s->hash[1], sizeof found) ||
                                             (!done && !memcmp(found, s->hash[0], sizeof found)));
}

/* There is no model, or a whole one; when the save is over there is one. */
static bool whole_or_none(const char *dir, bool done, void *user)
{
    uint64_t found[2];
    mgen_status status = hashes(dir, found);
    (void)user;
    return status == MGEN_E_NOT_FOUND ? !done : status == MGEN_OK && found[0] && found[1];
}

/* The first of a folder, and another over it. */
static void test_model(void **state)
{
    static const int first[] = {NONE, NO_FLUSH},
                     second[] = {NONE, NO_FOLDER_FLUSH, PUBLISH_FIRST, ONE_BY_ONE};
    const struct mgi_stage_kind *kind = &mgi_stage_text_to_video;
    const mgi_stage tae = tiny_autoencoder(1, 1);
    mgi_stage stage = tiny_text_to_video(4, 1);
    sets s;
    (void)state;
    stage.optimizer.lr = 0.1; /* so that a step is seen in bf16 */
    stage.optimizer.ema = 0.0;
    stage.bucket[stage.bucket_count++] = /* quickly encoded */
        (mgi_bucket){.width = 64, .height = 64, .frames = 1, .weight = 1.0};
    struct mgi_stage_run *run = begin(&tae);
    OK(mgi_stage_autoencoder.save(run));
    mgi_stage_autoencoder.destroy(run);
    run = begin(&stage);
    start_tape();
    OK(kind->save(run));
    int before = tape.count;
    OK(hashes(folder, s.hash[0]));
    ASSERT_SEEN(first, 0, whole_or_none, NULL);
    for (int64_t i = 0; i < 3;
         i++) /* the first does not reach the text encoder: what it leads to begins at 0 */
        OK(kind->step(run, i, NULL));
    tape.on = true;
    OK(kind->save(run));
    OK(hashes(folder, s.hash[1]));
    assert_true(s.hash[0][0] != s.hash[1][0] && s.hash[0][1] != s.hash[1][1]);
    ASSERT_SEEN(second, before, whole, &s);
    kind->destroy(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_checkpoint),
                                       cmocka_unit_test(test_model)};
    return cmocka_run_group_tests_name("crash", tests, open_all, close_all);
}
