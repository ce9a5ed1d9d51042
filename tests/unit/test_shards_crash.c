/* SPDX-License-Identifier: MIT
 * Crashes while several ranks save a checkpoint, the first of a folder or another over it: every disk that they may leave
 * must hold one save, whole, the old one or the new one, and once the save has returned, the new one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shard_ranks.h"
#include "train/checkpoint_shards.h"

#include "crash_disk.h" /* names of its own */

enum {
    MANIFEST_FIRST = OTHERS, /* before the shards are written */
    DELETE_FIRST,            /* the old shards, before the manifest is renamed */
    IN_PLACE                 /* the manifest written under its name, not beside it */
};

static bool is_shard(const event *e)
{
    return strstr(e->name, ".safetensors") != NULL;
}

static bool of_manifest(const event *e)
{
    return strstr(e->name, MGI_MANIFEST) != NULL;
}

static void plant_event(int mistake, const event *e)
{
    event other = *e;
    if ((mistake == NO_FLUSH && e->kind == FLUSH) ||
        (mistake == NO_FOLDER_FLUSH && e->kind == FLUSH_FOLDER))
        return;
    if (mistake == IN_PLACE && of_manifest(e)) {
        if (e->kind == RENAME)
            return;
        *strstr(other.name, ".tmp") = '\0';
    }
    keep(&other);
}

/* Once more the events from `before` on that are shards' or removals of them, and those that are not. */
static void plant_half(int before, bool shards, bool removals)
{
    for (int i = before; i < tape.count; i++) {
        const event *e = &tape.event[i];
        if ((is_shard(e) && (e->kind == REMOVE) == removals) == shards)
            keep(e);
    }
}

static void plant(int mistake, int before)
{
    for (int i = 0; i < tape.count; i++)
        if (i < before || mistake < MANIFEST_FIRST || mistake == IN_PLACE)
            plant_event(i < before ? NONE : mistake, &tape.event[i]);
    if (mistake == MANIFEST_FIRST || mistake == DELETE_FIRST) {
        plant_half(before, mistake == DELETE_FIRST, mistake == DELETE_FIRST);
        plant_half(before, mistake != DELETE_FIRST, mistake == DELETE_FIRST);
    }
}

/* Save number 1 or 2, as *user says at most; 0: nothing is there yet. */
static bool whole(const char *dir, bool done, void *user)
{
    struct mgi_stage_run run;
    int64_t newest = *(int64_t *)user;
    char path[256];
    snprintf(path, sizeof path, "%s/checkpoint", dir);
    OK(fake_make(ctx, NULL, NULL, &run));
    mgen_status status = mgi_checkpoint_load(ctx, &fake_kind, &run, path);
    bool right = status == MGEN_OK ? fake_visit(&run, run.updated, false) == 0 &&
                                         run.updated >= newest - !done && run.updated <= newest
                                   : status == MGEN_E_NOT_FOUND && newest == 1 && !done;
    fake_free(&run);
    return right;
}

static void save(int64_t number, const char *path)
{
    shard_rank ranks[SHARD_RANKS_MAX];
    const shard_job job = {.shape = {1, 1, 2}, .body = shard_pass_on, .save = number, .to = path};
    shard_run(&job, ranks);
    for (int i = 0; i < 2; i++)
        if (ranks[i].status != MGEN_OK)
            fail_msg("%s", ranks[i].said);
}

static void test_saves(void **state)
{
    static const int first[] = {NONE, NO_FLUSH, NO_FOLDER_FLUSH, MANIFEST_FIRST},
                     second[] = {NONE,           NO_FLUSH,     NO_FOLDER_FLUSH,
                                 MANIFEST_FIRST, DELETE_FIRST, IN_PLACE};
    char path[64];
    int64_t number = 1;
    (void)state;
    fake_params = 3; /* small */
    snprintf(path, sizeof path, "%s/checkpoint", folder);
    start_tape();
    save(number, path);
    int before = tape.count;
    assert_true(before > 12);
    ASSERT_SEEN(first, 0, whole, &number);
    number = 2;
    tape.on = true;
    save(number, path);
    ASSERT_SEEN(second, before, whole, &number);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_saves)};
    return cmocka_run_group_tests_name("shards_crash", tests, open_all, close_all);
}
