/* SPDX-License-Identifier: MIT
 * Random sequences of public calls, legal and not, in one thread and in two that share models: each call returns what the header
 * allows it, sets what the header says that it sets, and leaves all objects usable; requests made in between have the bits that they
 * had before; nothing is left in the end.
 *
 *     MOVIEGEN_SEED=7 MOVIEGEN_CALLS=20000 test_random_calls      another sequence, or more of it
 *     MOVIEGEN_TELL=1                                             each call is told on stderr before it is made
 *
 * A sequence runs in a process of its own. One that fails says its seed and the number of the call. */
#include "../unit/reported.h"
#include "tiny_personalizer.h"
#include "tiny_rewriter.h"

#include "random_context.h"
#include "random_jobs.h"
#include "random_models.h"
#include "random_training.h"
#include "tiny_audio.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
    SEED = 2,
    CALLS = 2000 /* of each thread, beside those that are made again because memory failed */
};

typedef void action(driver *d);

/* Each comes as often as it stands here. */
static action *const actions[] = {renew_context, odd_context,    look_at_context, ask_statuses,
                                  make_ranks,    make_mesh,      use_mesh,        make_clip,
                                  make_clip,     look_at_clip,   write_clip,      read_clip,
                                  damage_file,   make_sound,     look_at_sound,   write_sound,
                                  read_sound,    look_at_report, make_dataset,    read_dataset,
                                  curate,        open_any_model, open_any_model,  look_at_model,
                                  look_at_model, open_pipeline,  make_pipeline,   look_at_pipeline,
                                  average,       convert,        rewrite,         encode_text,
                                  code_film,     code_film,      ask_velocity,    make_noise,
                                  request,       request,        request,         request,
                                  request,       request,        use_job,         use_job,
                                  use_job,       use_job,        use_job,         use_job,
                                  use_job,       ask_canonical,  ask_canonical,   make_trainer,
                                  make_trainer,  use_trainer,    use_trainer,     use_trainer,
                                  use_trainer,   plan,           evaluate};
enum { ACTIONS = sizeof actions / sizeof *actions };

static void drop_thing(driver *d, thing *t)
{
    switch (t->kind) {
    case CLIP:
        TOLD(d, mgen_clip_destroy, t->p);
        break;
    case SOUND:
        TOLD(d, mgen_sound_destroy, t->p);
        break;
    case DATASET:
        TOLD(d, mgen_dataset_release, t->p);
        break;
    case REPORT:
        TOLD(d, mgen_report_destroy, t->p);
        break;
    case RANKS:
        TOLD(d, mgen_ranks_destroy, t->p);
        break;
    case PIPELINE:
        TOLD(d, mgen_pipeline_close, &t->pipe);
        if (t->pipe.tae || t->pipe.video || t->pipe.text[0] || t->pipe.rewriter)
            complain(d, "a handle is left");
        break;
    case MODEL:
        release_model(d, t->model, t->p);
        break;
    default:
        break;
    }
    *t = (thing){.seat = -1};
}

/* A pipeline whose handles it owns, too. */
static void share(driver *d, const mgen_pipeline *p)
{
    void *parts[MODELS] = {p->tae,    p->text[0], p->video,        p->upsampler,
                           p->editor, p->audio,   p->personalizer, p->rewriter};
    for (int i = 0; i < MODELS; i++) {
        retain_model(d, i, parts[i]);
        thing *t = add(d, MODEL, retain_model(d, i, parts[i]));
        t->model = i;
        t->plain = true;
    }
    thing *t = add(d, PIPELINE, &t);
    t->pipe = *p;
    t->p = &t->pipe;
    t->plain = true;
}

/* In an order that the header permits. */
static void drop_all(driver *d)
{
    for (int left = SEATS; left > 0; left--) {
        for (int k = 0; k < THINGS; k++) {
            thing *t = &d->things[below(d, THINGS)];
            if (!t->locks && chance(d, 3))
                drop_thing(d, t);
        }
        seat *s = &d->seats[0];
        for (int i = (int)below(d, SEATS), k = 0; k < SEATS && (!s->ctx || k == 0); k++)
            s = &d->seats[(i + k) % SEATS];
        empty_seat(d, s);
    }
    for (int i = 0; i < THINGS; i++)
        drop_thing(d, &d->things[i]);
    for (int i = 0; i < d->memory_count; i++) {
        d->function = -1;
        if (atomic_load(&d->memories[i]->blocks) || atomic_load(&d->memories[i]->bytes))
            complain(d, "%lld blocks of %lld bytes are left of context %d",
                     (long long)atomic_load(&d->memories[i]->blocks),
                     (long long)atomic_load(&d->memories[i]->bytes), i);
        free(d->memories[i]);
    }
}

/* All requests of a known result, when all is over, on each context. */
static void compare_all(driver *d, const mgen_pipeline *pipe)
{
    for (int i = 0; i < SEATS; i++) {
        seat *s = &d->seats[i];
        for (int k = 0; k < CANONICAL; k++) {
            mgen_job *made = POISON(mgen_job);
            job *j = free_job(d, s);
            if (s->running)
                drop_job(d, s, s->running);
            begin_action(d, UINT64_MAX - (uint64_t)k);
            d->mean = false;
            d->at = s;
            const mgen_status status = begin_canonical(d, k, s->ctx, pipe, &made);
            check_out(d, status, made);
            if (status != MGEN_OK)
                continue;
            *j = (job){.canonical = k, .kind = k == 4 ? SOUND : CLIP};
            began(d, s, j, made, false);
            d->unsure = true;
            told(d, s, j, SILENT(d, mgen_job_wait, made, -1));
            take(d, s, j);
        }
    }
}

static void *drive(void *user)
{
    driver *d = user;
    int deck[ACTIONS];
    begin_action(d, 0);
    for (int i = 0; i < SEATS; i++)
        fill_seat(d, &d->seats[i]);
    for (uint64_t a = 1; d->n < d->calls; a++) {
        const uint64_t at = (a - 1) % ACTIONS;
        begin_action(d, a);
        if (at == 0)
            for (int i = 0; i < ACTIONS; i++) {
                const int k = (int)below(d, (uint64_t)i + 1);
                deck[i] = i;
                deck[i] = deck[k];
                deck[k] = i;
            }
        actions[deck[at]](d);
        free_temps(d);
    }
    begin_action(d, UINT64_MAX);
    return NULL;
}

static void *finish(void *user)
{
    driver *d = user;
    drop_all(d);
    return NULL;
}

/* What crashes end with, before cmocka goes on after them: a sequence ends where it crashes. */
static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
enum { CRASHES = sizeof crashes / sizeof *crashes };
static struct sigaction crash_usual[CRASHES];

static void let_crash(void)
{
    for (int i = 0; i < CRASHES; i++)
        sigaction(crashes[i], &crash_usual[i], NULL);
}

/* In a process of its own; the caller has made the folder. */
static void sequence(uint64_t seed, uint64_t calls, int count)
{
    static driver drivers[DRIVERS];
    static counter memory;
    pthread_t thread[DRIVERS];
    char command[700];
    mgen_context *home = NULL;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    let_crash();
    p.threads = 1;
    p.device = "cpu";
    p.allocator = (mgen_allocator){count_alloc, count_free, &memory};
    if (mgen_context_create(&p, &home) || mgen_pipeline_open(home, dir, &pipe))
        _exit(4);
    for (int i = 0; i < count; i++) {
        driver *d = &drivers[i];
        *d = (driver){.number = i, .seed = seed, .calls = calls, .function = -1};
        snprintf(d->folder, sizeof d->folder, "%.40s/a/b/%d", dir, i);
        snprintf(command, sizeof command,
                 "mkdir -p %s && rm -rf %s && mkdir %s && cp -r %.40s/*.json %.40s/*.safetensors "
                 "%.40s/files/* %s",
                 d->folder, d->folder, d->folder, dir, dir, dir, d->folder);
        if (system(command))
            _exit(5);
        for (int k = 0; k < THINGS; k++)
            d->things[k].seat = -1;
        share(d, &pipe);
    }
    snprintf(command, sizeof command, "%.40s/a/b", dir);
    if (chdir(command))
        _exit(6);
    mgen_context_destroy(home);
    for (int i = 1; i < count; i++)
        if (pthread_create(&thread[i], NULL, drive, &drivers[i]))
            _exit(7);
    drive(&drivers[0]);
    for (int i = 1; i < count; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < count; i++)
        compare_all(&drivers[i], &pipe);
    mgen_pipeline_close(&pipe);
    for (int i = 1; i < count; i++)
        if (pthread_create(&thread[i], NULL, finish, &drivers[i]))
            _exit(7);
    finish(&drivers[0]);
    for (int i = 1; i < count; i++)
        pthread_join(thread[i], NULL);
    if (atomic_load(&memory.blocks))
        complain(&drivers[0], "%d blocks of the models are left", (int)atomic_load(&memory.blocks));
    exit(0); /* where leaks are looked for */
}

static uint64_t from_environment(const char *name, uint64_t usual)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : usual;
}

static void run(int count)
{
    const uint64_t seed = from_environment("MOVIEGEN_SEED", SEED);
    const uint64_t calls = from_environment("MOVIEGEN_CALLS", CALLS);
    int end = 0;
    atomic_flag_clear(&seen->told);
    atomic_store(&seen->complained, false);
    printf("# seed %llu, %llu calls in each of %d threads\n", (unsigned long long)seed,
           (unsigned long long)calls, count);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0)
        sequence(seed, calls, count);
    assert_true(child > 0 && waitpid(child, &end, 0) == child);
    if (end == 0)
        return;
    for (int i = 0; i < count; i++)
        print_error("thread %d: call %llu, %s\n", i,
                    (unsigned long long)atomic_load(&seen->call[i]),
                    atomic_load(&seen->under_way[i]));
    fail_msg("MOVIEGEN_SEED=%llu MOVIEGEN_CALLS=%llu: it ended with status %d, signal %d. %s",
             (unsigned long long)seed, (unsigned long long)calls,
             WIFEXITED(end) ? WEXITSTATUS(end) : 0, WIFSIGNALED(end) ? WTERMSIG(end) : 0,
             atomic_load(&seen->complained) ? seen->complaint : "");
}

static void test_one_thread(void **state)
{
    (void)state;
    run(1);
}

static void test_two_threads(void **state)
{
    (void)state;
    run(2);
}

/* All that a sequence can call was called, with success. */
static void test_all_called(void **state)
{
    int missing = 0;
    uint64_t made = 0, good = 0;
    (void)state;
    for (int i = 0; i < (int)PROMISES; i++) {
        made += atomic_load(&seen->made[i]);
        good += atomic_load(&seen->good[i]);
        if (atomic_load(&seen->good[i]))
            continue;
        missing++;
        printf("# never with success: %s (%llu calls)\n", promises[i].name,
               (unsigned long long)atomic_load(&seen->made[i]));
    }
    printf("# %llu calls, %llu with success\n", (unsigned long long)made, (unsigned long long)good);
    if (!getenv("MOVIEGEN_CALLS"))
        assert_int_equal(missing, 0);
}

/* -- what the sequences find ------------------------------------------------------------------------------ */

static void know_losses(mgen_context *ctx)
{
    char path[300], folder[300];
    snprintf(folder, sizeof folder, "%s/losses", dir);
    for (int i = 0; i < 2; i++) {
        mgen_trainer *t;
        mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
        snprintf(path, sizeof path, "%s/%s", dir, all_stages[i].recipe);
        p.recipe = path;
        p.stage = all_stages[i].name;
        p.dir = folder;
        p.seed = 7;
        assert_int_equal(mgen_trainer_create(ctx, &p, &t), MGEN_OK);
        for (uint64_t k = 0; k < mgen_trainer_steps(t) && k < LOSSES; k++) {
            mgen_report *r;
            assert_int_equal(mgen_trainer_step(t, &r), MGEN_OK);
            known_loss[i][k] = reported(r, "loss");
            mgen_report_destroy(r);
        }
        mgen_trainer_destroy(t);
    }
}

static void know_results(mgen_context *ctx)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    info.width = info.height = 64;
    info.frames = 3;
    info.fps_num = 16;
    info.fps_den = 1;
    assert_int_equal(mgen_clip_create(ctx, &info, &canonical_clip), MGEN_OK);
    for (int i = 0; i < 3 * 64 * 64 * 3; i++)
        mgen_clip_pixels(canonical_clip)[i] = (uint8_t)(i * 7 + i / 1000 * 31);
    for (int i = 0; i < CANONICAL; i++) {
        mgen_job *asked;
        mgen_clip *clip;
        mgen_sound *sound;
        if (begin_canonical(NULL, i, ctx, &pipe, &asked) || mgen_job_wait(asked, -1))
            fail_msg("%s", mgen_last_error(ctx));
        if (i == 4) {
            assert_int_equal(mgen_job_take_sound(asked, &sound), MGEN_OK);
            canonical_hash[i] = hash_of_sound(sound);
            mgen_sound_destroy(sound);
        } else {
            assert_int_equal(mgen_job_take_clip(asked, &clip), MGEN_OK);
            canonical_hash[i] = hash_of_clip(clip);
            mgen_clip_destroy(clip);
        }
        mgen_job_destroy(asked);
    }
    mgen_pipeline_close(&pipe);
}

/* What calls read, before they write it themselves: copied into each driver's folder. */
static void make_files(mgen_context *ctx)
{
    static const char *const names[] = {"files/film.y4m", "files/film.png", "files/films/one.y4m",
                                        "files/films/two.y4m"};
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_sound_info heard = MGEN_SOUND_INFO_INIT;
    mgen_clip *film;
    mgen_sound *sound;
    char path[300];
    snprintf(path, sizeof path, "%s/files", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/files/films", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    info.width = info.height = 64;
    info.frames = 33;
    info.fps_num = 16;
    info.fps_den = 1;
    assert_int_equal(mgen_clip_create(ctx, &info, &film), MGEN_OK);
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
        memset(mgen_clip_pixels(film), 60 + 40 * i, (size_t)info.frames * 64 * 64 * 3);
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        assert_int_equal(mgen_clip_write(ctx, film, path), MGEN_OK);
    }
    mgen_clip_destroy(film);
    heard.rate = 48000;
    heard.channels = 2;
    heard.samples = 4000;
    assert_int_equal(mgen_sound_create(ctx, &heard, &sound), MGEN_OK);
    snprintf(path, sizeof path, "%s/files/sound.wav", dir);
    assert_int_equal(mgen_sound_write(ctx, sound, path), MGEN_OK);
    mgen_sound_destroy(sound);
    write_text("rules.json", lenient_rules);
}

static int begin(void **state)
{
    static const char in_memory[] = "/dev/shm/mgen-XXXXXX";
    const size_t size = sizeof(page);
    _Static_assert(sizeof in_memory <= sizeof dir, "the folder's name has room");
    if (access("/dev/shm", W_OK) == 0) /* files come and go by the thousand */
        memcpy(dir, in_memory, sizeof in_memory);
    int failed = setup_all(state);
    if (failed)
        return failed;
    find_plugins();
    save_rewriter(dir);
    mgen_context *ctx = make_context(2);
    train_audio(ctx);
    know_losses(ctx);
    know_results(ctx);
    make_files(ctx);
    mgen_context_destroy(ctx);
    seen = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return seen == MAP_FAILED;
}

static int end(void **state)
{
    mgen_clip_destroy(canonical_clip);
    munmap(seen, sizeof *seen);
    return teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_thread),
        cmocka_unit_test(test_two_threads),
        cmocka_unit_test(test_all_called),
    };
    for (int i = 0; i < CRASHES; i++)
        sigaction(crashes[i], NULL, &crash_usual[i]);
    return cmocka_run_group_tests(tests, begin, end);
}
