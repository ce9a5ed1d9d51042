/* SPDX-License-Identifier: MIT
 * A film that is damaged after training began, or a sound that cannot be read any more: the autoencoder or audio codec that
 * learned from it is saved all the same, and the same on all ranks. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing_memory.h"
#include "logged.h"
#include "rank_context.h"
#include "run_threads.h"
#include "stage_runs.h"

#include "pair_films.h"
#include "task/pipeline.h"

enum { FILMS = 4, CHANNELS = 4 };

/* What latents are normalised by, as it was saved: shift, then scale. */
static void read_saved(float out[2 * CHANNELS])
{
    mgi_tae tae;
    uint64_t hash;
    OK(mgi_tae_open(ctx, folder, "tae", &tae, &hash));
    for (int i = 0; i < CHANNELS; i++) {
        out[i] = mgi_f32(tae.latent_shift->value)[i];
        out[CHANNELS + i] = mgi_f32(tae.latent_scale->value)[i];
        assert_true(isfinite(out[i]) && isfinite(out[CHANNELS + i]) && out[CHANNELS + i] > 0.0f);
    }
    mgi_tae_finish(&tae);
}

static void put_all(void)
{
    char name[32];
    for (int i = 0; i < FILMS; i++) {
        snprintf(name, sizeof name, "%c.y4m", 'a' + i);
        put_film(name, 20 + 40 * i);
    }
}

static void test_autoencoder(void **state)
{
    static float all[2 * CHANNELS], some[2 * CHANNELS], none[2 * CHANNELS];
    const mgi_stage stage = tiny_autoencoder(2, 2);
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(&stage);
    struct mgi_stage_run *run;
    double first, last;
    (void)state;
    make_films(folder, "films");
    put_all();
    mgi_dataset *ds = open_films();
    OK(create_on(&stage, ds, &run));
    steps_of(&stage, run, &first, &last);
    ctx->log = keep_warnings;
    OK(kind->save(run));
    read_saved(all);
    assert_string_equal(logged, "");
    put_text("b.y4m", "YUV4MPEG2 W48 H48 F16:1 C444\nBRAKE");
    assert_int_equal(remove(in_films("d.y4m")), 0);
    OK(kind->save(run));
    read_saved(some);
    assert_non_null(strstr(logged, "2 of 4 samples by which latents are normalised cannot be read "
                                   "and are passed over; the first: cannot read '"));
    assert_ptr_equal(strchr(logged, '\n'), logged + strlen(logged) - 1);
    assert_string_equal(mgen_last_error(ctx), "");
    assert_non_null(strstr(logged, "b.y4m"));
    assert_memory_not_equal(some, all, sizeof all);
    logged[0] = '\0';
    for (int i = 0; i < FILMS; i++)
        if (i != 3)
            put_text((char[]){(char)('a' + i), '.', 'y', '4', 'm', 0}, "nothing");
    OK(kind->save(run));
    read_saved(none);
    assert_non_null(strstr(logged, "4 of 4 samples"));
    assert_non_null(strstr(logged, "mean and deviation stay what they were"));
    assert_memory_equal(none, some, sizeof some);
    logged[0] = '\0';
    put_all(); /* they are whole again */
    OK(kind->save(run));
    read_saved(none);
    assert_memory_equal(none, all, sizeof all);
    assert_string_equal(logged, "");
    ctx->log = NULL;
    kind->destroy(run);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* -- ranks ---------------------------------------------------------------------------------------------- */

enum { RANKS = 2, SAVES = 3, TIMEOUT_MS = 20000 };

typedef struct rank {
    rank_body *work;
    mgi_comm_group *group;
    int index;
    char films[300]; /* its own folder of them */
    int64_t lost;    /* this sample cannot be read by its host; -1: none */
    failing memory;
    bool twice;   /* it saves */
    int fails_at; /* this allocation of the first time; 0: none */
    mgen_status status, failed;
    char error[300], logged[SAVES][600];
    float saved[SAVES][2 * CHANNELS];
    int saves;
} rank;

static void keep_rank_log(void *user, int32_t level, const char *text)
{
    rank *r = user;
    if (level == MGEN_LOG_WARN && r->saves < SAVES)
        snprintf(r->logged[r->saves], sizeof r->logged[0], "%s", text);
}

static void *rank_main(void *arg)
{
    rank *r = arg;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.log = keep_rank_log;
    params.log_user = r;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &r->memory};
    r->status = run_as_rank(params, r->group, r->index, r->work, r, r->error, sizeof r->error);
    return NULL;
}

static void run_ranks(rank *ranks)
{
    mgi_comm_group *group;
    OK(mgi_comm_group_create(ctx, RANKS, TIMEOUT_MS, &group));
    for (int i = 0; i < RANKS; i++) {
        ranks[i].group = group;
        ranks[i].index = i;
    }
    run_threads(rank_main, ranks, sizeof *ranks, RANKS);
    mgi_comm_group_release(group);
    for (int i = 0; i < RANKS; i++) {
        assert_string_equal(ranks[i].error, "");
        assert_int_equal(ranks[i].memory.blocks, 0);
    }
}

/* -- films, which each rank has for itself -------------------------------------------------------------- */

/* Before each save a film of one rank goes. */
static const struct {
    int rank;
    const char *film;
} lost[SAVES] = {{-1, NULL}, {1, "b.y4m"}, {0, "c.y4m"}};

static mgen_status save_each(rank *r, const struct mgi_stage_kind *kind, struct mgi_stage_run *run)
{
    char path[400];
    mgi_stage_state state;
    kind->state(run, &state);
    const mgi_tae *tae =
        (const mgi_tae *)(void *)((char *)state.module[0] - offsetof(mgi_tae, module));
    for (; r->saves < SAVES; r->saves++) {
        float *out = r->saved[r->saves];
        if (lost[r->saves].rank == r->index) {
            snprintf(path, sizeof path, "%s/%s", r->films, lost[r->saves].film);
            remove(path);
        }
        MGI_TRY(kind->save(run));
        mgi_tensor_read(tae->latent_shift->value, 0, out, CHANNELS);
        mgi_tensor_read(tae->latent_scale->value, 0, out + CHANNELS, CHANNELS);
    }
    return MGEN_OK;
}

static mgen_status train_rank(void *user, mgen_context *own, mgi_comm *comm)
{
    rank *r = user;
    const mgi_stage stage = tiny_autoencoder(1, RANKS);
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(&stage);
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    struct mgi_stage_run *run;
    mgi_dataset *ds;
    p.width = p.height = PAIR_SIDE;
    p.frames = PAIR_FRAMES;
    MGI_TRY(mgi_dataset_folder(own, r->films, &p, &ds));
    const mgi_stage_params params = {
        .stage = &stage, .dir = folder, .seed = 5, .dataset = ds, .comm = comm};
    mgen_status status = kind->create(own, &params, &run);
    mgi_dataset_release(ds);
    MGI_TRY(status);
    mgen_report *report;
    status = mgi_report_create(own, &report);
    if (status == MGEN_OK)
        status = kind->step(run, 0, report);
    mgen_report_destroy(report);
    if (status == MGEN_OK)
        status = save_each(r, kind, run);
    kind->destroy(run);
    return status;
}

/* What one rank alone cannot read does not make ranks differ: they have what rank 0 measured. */
static void test_ranks(void **state)
{
    static rank ranks[RANKS];
    (void)state;
    for (int i = 0; i < RANKS; i++) {
        char name[32];
        snprintf(name, sizeof name, "films%d", i);
        make_films(folder, name);
        put_all();
        ranks[i].work = train_rank;
        snprintf(ranks[i].films, sizeof ranks[i].films, "%s", films);
    }
    run_ranks(ranks);
    for (int s = 0; s < SAVES; s++) {
        const char *said = ranks[0].logged[s];
        assert_memory_equal(ranks[1].saved[s], ranks[0].saved[s], sizeof ranks[0].saved[s]);
        assert_string_equal(ranks[1].logged[s], said);
        assert_true(s == 2 ? strstr(said, "1 of 4 samples") && strstr(said, "films0/c.y4m")
                           : !*said);
    }
    assert_memory_equal(ranks[0].saved[1], ranks[0].saved[0], sizeof ranks[0].saved[0]);
    assert_memory_not_equal(ranks[0].saved[2], ranks[0].saved[0], sizeof ranks[0].saved[0]);
    for (int i = 0; i < RANKS; i++)
        assert_int_equal(remove_all(ranks[i].films), 0);
}

/* -- sounds, which each rank's host reads --------------------------------------------------------------- */

enum { SOUNDS = 4, SAMPLES = 4800 };

static mgen_status read_sound(void *user, uint64_t index, mgen_sample *s)
{
    const rank *r = user;
    for (uint64_t i = 0; s->sound && i < s->sound_samples; i++)
        s->sound[i] = 0.3f * sinf(0.01f * (float)(i * (index + 1)));
    return (int64_t)index == r->lost ? MGEN_E_IO : MGEN_OK;
}

static mgen_status open_sounds(rank *r, mgen_context *own, mgi_dataset **out)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = p.height = PAIR_SIDE;
    p.frames = 1;
    p.count = SOUNDS;
    p.read = read_sound;
    p.user = r;
    p.sound_samples = SAMPLES;
    return mgi_dataset_host(own, &p, out);
}

static mgen_status save_codec(rank *r, const struct mgi_stage_kind *kind, struct mgi_stage_run *run)
{
    mgi_stage_state state;
    kind->state(run, &state);
    const mgi_audio_codec *codec =
        (const mgi_audio_codec *)(void *)((char *)state.module[0] -
                                          offsetof(mgi_audio_codec, module));
    r->memory.calls = 0;
    r->memory.fail_at = r->fails_at;
    if (r->twice)
        r->failed = kind->save(run);
    r->memory.fail_at = 0;
    MGI_TRY(kind->save(run));
    mgi_tensor_read(codec->latent_shift->value, 0, r->saved[0], CHANNELS);
    mgi_tensor_read(codec->latent_scale->value, 0, r->saved[0] + CHANNELS, CHANNELS);
    return MGEN_OK;
}

static mgen_status begin_codec(void *user, mgen_context *own, mgi_comm *comm)
{
    rank *r = user;
    const mgi_stage stage = tiny_audio_codec(1, RANKS);
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(&stage);
    struct mgi_stage_run *run;
    mgi_dataset *ds;
    MGI_TRY(open_sounds(r, own, &ds));
    const mgi_stage_params params = {
        .stage = &stage, .dir = folder, .seed = 5, .dataset = ds, .comm = comm};
    mgen_status status = kind->create(own, &params, &run);
    mgi_dataset_release(ds);
    MGI_TRY(status);
    status = save_codec(r, kind, run);
    kind->destroy(run);
    return status;
}

static void run_codec(rank *ranks)
{
    for (int i = 0; i < RANKS; i++)
        ranks[i].work = begin_codec;
    run_ranks(ranks);
    assert_memory_equal(ranks[1].saved, ranks[0].saved, sizeof ranks[0].saved);
    assert_string_equal(ranks[1].logged[0], ranks[0].logged[0]);
}

static void test_sounds_of_ranks(void **state)
{
    static rank all[RANKS] = {{.lost = -1}, {.lost = -1}}, one[RANKS] = {{.lost = -1}, {.lost = 1}},
                first[RANKS] = {{.lost = 2}, {.lost = -1}};
    (void)state;
    run_codec(all);
    run_codec(one);
    run_codec(first);
    assert_memory_equal(one[0].saved, all[0].saved, sizeof all[0].saved);
    assert_memory_not_equal(first[0].saved, all[0].saved, sizeof all[0].saved);
    for (int c = 0; c < CHANNELS; c++)
        assert_true(isfinite(first[0].saved[0][c]) && first[0].saved[0][CHANNELS + c] > 0.0f);
    assert_string_equal(all[0].logged[0], "");
    assert_string_equal(one[0].logged[0], "");
    assert_non_null(
        strstr(first[0].logged[0], "samples by which latents are normalised cannot be read"));
    assert_non_null(strstr(first[0].logged[0], "sample 2"));
}

/* A rank that has no memory to begin with, or to go on, is the failure of all; none waits for it, and all can save once it has. */
static void test_ranks_without_memory(void **state)
{
    (void)state;
    for (int at = 1; at < 8; at++) {
        for (int k = 0; k < RANKS; k++) {
            rank ranks[RANKS] = {{.lost = -1}, {.lost = -1}};
            ranks[k].fails_at = at;
            ranks[k].memory.alone = true;
            ranks[0].twice = ranks[1].twice = true;
            run_codec(ranks);
            assert_int_equal(ranks[0].failed, ranks[1].failed);
            assert_true(ranks[0].failed == MGEN_E_NO_MEMORY || (at > 1 && !ranks[0].failed));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_autoencoder),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_sounds_of_ranks),
        cmocka_unit_test(test_ranks_without_memory),
    };
    return cmocka_run_group_tests_name("unread", tests, make_context_and_folder,
                                       free_context_and_folder);
}
