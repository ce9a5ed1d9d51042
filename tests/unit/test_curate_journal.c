/* SPDX-License-Identifier: MIT
 * A curation that was ended goes on where it was, to the same list; and its file is believed only as far as it is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "data/curate_journal.h"
#include "folder_context.h"
#include "logged.h"
#include "media/media.h"
#include "ok.h"
#include "raw_films.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEED = 11, FILMS = 7, BROKEN = 1 /* of them, which is watched each time */ };
static const int kinds[FILMS - BROKEN] = {MGI_RAW_CLEAN, MGI_RAW_SHORT, MGI_RAW_STILL,
                                          MGI_RAW_SMALL, MGI_RAW_SHORT, MGI_RAW_SMALL};

static const char usual[] = "{\"base\": \"toybox\", \"width_min\": 0, \"portrait_max\": 1}";

static const char *in_folder(const char *name)
{
    static char path[4][256];
    static int turn;
    char *out = path[turn++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

static void put_bytes(const char *name, const void *data, size_t size)
{
    FILE *f = fopen(in_folder(name), "w");
    assert_true(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
}

static char *get_bytes(const char *name, size_t *size)
{
    FILE *f = fopen(in_folder(name), "r");
    char *data = calloc(1, 1 << 20);
    if (!f || !data)
        fail_msg("no %s", name);
    *size = fread(data, 1, (1 << 20) - 1, f);
    fclose(f);
    return data;
}

static bool is_there(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

static const char *usual_rules(void)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/usual.json", folder);
    return path;
}

/* A film of the world, of a name that stands before or behind others. */
static void put_film(const char *name, uint64_t index)
{
    mgi_world_raw raw;
    mgi_world_raw_random(&raw, SEED, index);
    uint8_t *pixels = raw_frames(&raw);
    const mgi_frames frames = {pixels, raw.width, raw.height, raw.frames, MGI_RAW_FPS, 1};
    OK(mgi_y4m_write(ctx, in_folder(name), &frames));
    free(pixels);
}

static void put_films(void)
{
    char name[32];
    for (int i = 0; i < FILMS - BROKEN; i++) {
        snprintf(name, sizeof name, "%c.y4m", 'a' + i);
        put_film(name, (uint64_t)(MGI_RAW_KINDS * (i / 4) + kinds[i]));
    }
    static char narrow[36 + 3 * 1000] = "YUV4MPEG2 W1 H1000 F16:1 C444\nFRAME\n";
    put_bytes("broken.y4m", narrow, sizeof narrow); /* it opens, but cannot be looked at */
    put_bytes("usual.json", usual, sizeof usual - 1);
    put_bytes("a.txt", "first", 5);
}

/* ---- curation ----------------------------------------------------------------------------------- */

typedef struct run {
    const char *rules;
    int64_t stop, kill; /* when so many films are done, if ever */
    int64_t first, told;
    mgen_status status;
    mgi_curate_funnel funnel;
} run;

static bool told(void *user, int64_t done, int64_t total)
{
    run *r = user;
    assert_int_equal(total, FILMS);
    r->first = r->told ? r->first : done;
    assert_true(!r->told++ || done == r->first + r->told - 1);
    if (done == r->kill)
        raise(SIGKILL);
    return done == r->stop;
}

static void curate(run *r, uint32_t threads)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *own;
    params.threads = threads;
    params.log = keep_log;
    logged[0] = '\0';
    assert_int_equal(mgi_context_init(&own, &params), MGEN_OK);
    r->first = r->told = 0;
    r->status = mgi_curate_folder(own, folder, r->rules ? r->rules : usual_rules(),
                                  in_folder("list.jsonl"), told, r, &r->funnel);
    if (r->status != MGEN_OK)
        snprintf(logged, sizeof logged, "%s", mgen_last_error(own));
    mgi_context_free(own);
}

static void curate_and_die(int64_t films, uint32_t threads)
{
    int how;
    pid_t pid = fork();
    if (!pid) {
        run r = {.kill = films};
        curate(&r, threads);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    assert_true(is_there("list.jsonl.seen") && !is_there("list.jsonl"));
}

/* The list of a curation that nobody ends. */
static char *whole_list(const char *rules, size_t *size)
{
    run r = {.rules = rules};
    remove(in_folder("list.jsonl.seen"));
    curate(&r, 1);
    assert_int_equal(r.status, MGEN_OK);
    assert_true(r.first == 1 && r.told == FILMS && !is_there("list.jsonl.seen"));
    char *list = get_bytes("list.jsonl", size);
    assert_int_equal(remove(in_folder("list.jsonl")), 0);
    return list;
}

/* Curation comes to an end, to this list; the number of films that were not watched again. */
static int64_t ends_as(const char *list, size_t size, const char *rules, uint32_t threads)
{
    run r = {.rules = rules};
    size_t got;
    curate(&r, threads);
    if (r.status != MGEN_OK)
        fail_msg("%s", logged);
    assert_false(is_there("list.jsonl.seen"));
    char *text = get_bytes("list.jsonl", &got);
    assert_int_equal(got, size);
    assert_memory_equal(text, list, size);
    free(text);
    assert_int_equal(remove(in_folder("list.jsonl")), 0);
    assert_int_equal(r.funnel.all_films, FILMS);
    assert_int_equal(r.first + r.told - 1, FILMS);
    return r.funnel.before;
}

static void test_killed(void **state)
{
    (void)state;
    size_t size;
    char *list = whole_list(NULL, &size);
    for (uint32_t threads = 1; threads <= 3; threads += 2)
        for (int64_t films = 1; films < FILMS; films += 2) {
            curate_and_die(films, threads);
            /* of a.y4m to f.y4m, and broken.y4m behind b.y4m, which is tried anew */
            const int64_t seen = films > 2 ? films - BROKEN : films;
            const int64_t got = ends_as(list, size, NULL, threads);
            /* other threads may have been further */
            assert_true(threads == 1 ? got == seen : got >= seen && got <= FILMS - BROKEN);
        }
    curate_and_die(2, 1); /* twice in one curation */
    curate_and_die(5, 1);
    assert_int_equal(ends_as(list, size, NULL, 3), 5 - BROKEN);
    free(list);
}

/* A film that takes as long as all others together and more. */
static void put_long(const char *name)
{
    enum { TURNS = 25 };
    mgi_world_raw raw;
    mgi_world_raw_random(&raw, SEED, MGI_RAW_CLEAN);
    uint8_t *once = raw_frames(&raw);
    const size_t size = (size_t)raw.width * (size_t)raw.height * 3 * (size_t)raw.frames;
    uint8_t *all = malloc(TURNS * size);
    assert_true(once && all);
    for (int i = 0; i < TURNS; i++)
        memcpy(all + (size_t)i * size, once, size);
    const mgi_frames frames = {all, raw.width, raw.height, TURNS * raw.frames, MGI_RAW_FPS, 1};
    OK(mgi_y4m_write(ctx, in_folder(name), &frames));
    free(once);
    free(all);
}

static bool over_first(void *user, int64_t done, int64_t total)
{
    (void)user, (void)done, (void)total;
    _exit(3); /* the long film */
}

static void *die_when_kept(void *path)
{
    struct stat st;
    while (stat(path, &st) != 0 || st.st_size < 160) /* head and record */
        usleep(500);
    raise(SIGKILL);
    return NULL;
}

/* What a thread has watched is kept at once, though a longer film before it is not over. */
static void test_ahead(void **state)
{
    (void)state;
    size_t size;
    int how;
    put_long("a.y4m");
    put_film("b.y4m", MGI_RAW_KINDS + MGI_RAW_CLEAN); /* of which a clip is kept */
    char *list = whole_list(NULL, &size);
    pid_t pid = fork();
    if (!pid) {
        pthread_t thread;
        mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
        mgen_context *own;
        mgi_curate_funnel funnel;
        params.threads = 2;
        if (mgi_context_init(&own, &params) == MGEN_OK &&
            !pthread_create(&thread, NULL, die_when_kept,
                            (void *)(uintptr_t)in_folder("list.jsonl.seen")))
            mgi_curate_folder(own, folder, usual_rules(), in_folder("list.jsonl"), over_first, NULL,
                              &funnel);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &how, 0), pid);
    if (!WIFSIGNALED(how) || WTERMSIG(how) != SIGKILL)
        fail_msg("it ended by itself: %d", WEXITSTATUS(how));
    assert_true(ends_as(list, size, NULL, 2) >= 1);
    free(list);
    put_films();
}

static void test_stopped(void **state)
{
    (void)state;
    size_t size;
    char *list = whole_list(NULL, &size);
    run r = {.stop = 4};
    curate(&r, 1);
    assert_int_equal(r.status, MGEN_E_CANCELLED);
    assert_non_null(strstr(logged, "after 4 films; the same curation goes on"));
    r.stop = 3; /* as far as it was */
    curate(&r, 1);
    assert_int_equal(r.status, MGEN_E_CANCELLED);
    assert_true(r.first == 3 && r.told == 1);
    assert_int_equal(ends_as(list, size, NULL, 1), 3);
    free(list);
}

static void test_changed(void **state)
{
    (void)state;
    size_t size;
    char *list;
    curate_and_die(6, 1);
    put_film("a.y4m", 2 * MGI_RAW_KINDS + MGI_RAW_SLOW); /* other films, one under a known name */
    assert_int_equal(remove(in_folder("d.y4m")), 0);
    put_film("g.y4m", MGI_RAW_CLEAN);
    put_bytes("a.txt", "another", 7);
    assert_int_equal(rename(in_folder("list.jsonl.seen"), in_folder("kept")), 0);
    list = whole_list(NULL, &size);
    assert_int_equal(rename(in_folder("kept"), in_folder("list.jsonl.seen")), 0);
    assert_non_null(strstr(list, "another"));
    assert_int_equal(ends_as(list, size, NULL, 1), 3); /* b, c, e */
    free(list);
    assert_int_equal(remove(in_folder("g.y4m")), 0);
    put_films();

    list = whole_list(NULL, &size);
    curate_and_die(6, 1);
    struct timespec times[2] = {{0, UTIME_OMIT}, {1000000000, 5}};
    assert_int_equal(utimensat(AT_FDCWD, in_folder("b.y4m"), times, 0), 0);
    assert_int_equal(ends_as(list, size, NULL, 1), 4);
    free(list);
}

static void test_rules(void **state)
{
    (void)state;
    static const char text[] = "{\"base\": \"toybox\", \"width_min\": 0, \"portrait_max\": 1, "
                               "\"clip_max\": 2.5, \"still_max\": 1,"
                               " \"still_seconds_max\": 100, \"motion_min\": 0, \"vector_min\": 0}";
    static const char same[] =
        "{\"portrait_max\": 1, \"clip_max\": 4, \"width_min\": 0, \"base\": \"toybox\"}";
    size_t size, toybox_size;
    char rules[256];
    put_bytes("rules.json", text, sizeof text - 1);
    snprintf(rules, sizeof rules, "%s", in_folder("rules.json"));
    char *toybox = whole_list(NULL, &toybox_size), *list = whole_list(rules, &size);
    assert_true(size != toybox_size || memcmp(list, toybox, size) != 0);
    curate_and_die(6, 1);
    run r = {.rules = rules, .stop = 5};
    curate(&r, 1); /* both in one file */
    assert_true(r.status == MGEN_E_CANCELLED && r.first == 1);
    assert_int_equal(rename(in_folder("list.jsonl.seen"), in_folder("kept")), 0);
    size_t kept_size;
    char *kept = get_bytes("kept", &kept_size);
    put_bytes("list.jsonl.seen", kept, kept_size);
    assert_int_equal(ends_as(list, size, rules, 1), 4);
    put_bytes("list.jsonl.seen", kept, kept_size);
    assert_int_equal(ends_as(toybox, toybox_size, NULL, 1), 5);
    put_bytes("rules.json", same, sizeof same - 1); /* what counts is what they say */
    put_bytes("list.jsonl.seen", kept, kept_size);
    assert_int_equal(ends_as(toybox, toybox_size, rules, 1), 5);
    assert_int_equal(remove(in_folder("kept")), 0);
    assert_int_equal(remove(in_folder("rules.json")), 0);
    free(kept);
    free(list);
    free(toybox);
}

/* Cut anywhere, or with a byte changed: what is before counts. */
static void test_torn(void **state)
{
    (void)state;
    size_t size, full, reached = 0;
    char *list = whole_list(NULL, &size);
    curate_and_die(6, 1);
    char *file = get_bytes("list.jsonl.seen", &full);
    const size_t cuts[] = {0, 5, 15, 16, 17, 130, full / 2, full - 1, full};
    int64_t most = 0;
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        put_bytes("list.jsonl.seen", file, cuts[i]);
        const int64_t seen = ends_as(list, size, NULL, 1);
        assert_true(seen >= most);
        most = seen;
        assert_int_equal(cuts[i] > 0 && cuts[i] < full && cuts[i] != 16,
                         strstr(logged, "is damaged from byte") != NULL);
    }
    assert_int_equal(most, 5);
    put_bytes("list.jsonl.seen", file, full - 1); /* what is added to a torn file is found, too */
    curate_and_die(6, 1);
    assert_int_equal(ends_as(list, size, NULL, 1), 5);
    for (size_t at = 0; at < full; at += full / 4) {
        file[at + 8 < full ? at + 8 : at] ^= 4;
        put_bytes("list.jsonl.seen", file, full);
        file[at + 8 < full ? at + 8 : at] ^= 4;
        const int64_t seen = ends_as(list, size, NULL, 1);
        assert_true(seen < 5 && seen >= (int64_t)reached);
        assert_non_null(strstr(logged, "is damaged from byte"));
        reached = (size_t)seen;
    }
    free(file);
    free(list);
}

/* ---- a file with checksums that are right ------------------------------------------------------- */

/* Of each record the checksum, as the file has it: bytes of all, hash of the rest, the rest. */
static void seal(uint8_t *data, size_t size)
{
    for (size_t at = 16; at + 16 < size;) {
        uint64_t all;
        memcpy(&all, data + at, sizeof all);
        if (all < 16 || all > size - at)
            return;
        const uint64_t hash = mgi_hash_large(data + at + 16, (size_t)all - 16, 0);
        memcpy(data + at + 8, &hash, sizeof hash);
        at += (size_t)all;
    }
}

static int64_t believed(const uint8_t *data, size_t size, const mgi_dir_file *file,
                        mgi_curate_film *out)
{
    mgi_curate_rules rules;
    mgi_curate_film *seen = NULL;
    size_t good;
    int64_t records;
    OK(mgi_curate_rules_open(ctx, usual_rules(), &rules));
    OK(mgi_curate_journal_read(ctx, data, size, mgi_curate_journal_key(&rules), &file, 1, &seen,
                               &good, &records));
    assert_true(good <= size && (records == 0) == (good <= 16));
    if (seen && out) {
        *out = *seen;
    } else if (seen) {
        mgi_curate_film_free(ctx, seen);
    }
    mgi_free(ctx, seen);
    return records;
}

/* One record, of a film with two clips that are viewed. Any of its numbers may be a lie. */
static void test_lies(void **state)
{
    (void)state;
    enum { HEAD = 16, NAME = HEAD + 136, CLIP = NAME + 5, VIEW = CLIP + 80 };
    static const double not_a_number = NAN;
    static const int64_t minus = -1, much = INT64_MAX;
    static const uint32_t bits = UINT32_MAX, none = 0, one = 1, long_name = 65536;
    static const float endless = INFINITY;
    static const struct {
        int at;
        const void *lie;
        size_t size;
    } lies[] = {
        {HEAD + 40, &minus, 8},        /* width */
        {HEAD + 40, &much, 8},         /* */
        {HEAD + 48, &minus, 8},        /* height */
        {HEAD + 56, &minus, 8},        /* frames */
        {HEAD + 64, &minus, 8},        /* shots */
        {HEAD + 72, &minus, 8},        /* clips */
        {HEAD + 72, &much, 8},         /* */
        {HEAD + 80, &not_a_number, 8}, /* rate */
        {HEAD + 88, &not_a_number, 8}, /* seconds */
        {HEAD + 104, &bits, 4},        /* what it fails */
        {HEAD + 104, &one, 4},         /* with a clip that is viewed */
        {HEAD + 108, &none, 4},        /* bytes of the name */
        {HEAD + 108, &long_name, 4},   /* */
        {HEAD + 112, &bits, 4},        /* uneven */
        {HEAD + 116, &one, 4},         /* what is 0 */
        {HEAD + 120, &much, 8},        /* when the first frame stands */
        {HEAD + 128, &minus, 8},       /* frames that are where they should be */
        {HEAD + 128, &much, 8},        /* */
        {CLIP, &minus, 8},             /* first */
        {CLIP, &much, 8},              /* */
        {CLIP + 8, &much, 8},          /* frames */
        {CLIP + 16, &not_a_number, 8}, /* text */
        {CLIP + 64, &not_a_number, 8}, /* shake */
        {CLIP + 72, &bits, 4},         /* what it fails */
        {CLIP + 76, &none, 4},         /* viewed */
        {CLIP + 76, &bits, 4},         /* */
        {VIEW, &endless, 4},           /* */
        {VIEW + (int)sizeof(mgi_curate_view) - 4, &endless, 4},
    };
    size_t size;
    mgi_dir_file *files;
    int64_t count;
    mgi_curate_film film;
    curate_and_die(1, 1);
    uint8_t *data = (uint8_t *)get_bytes("list.jsonl.seen", &size);
    assert_int_equal(size, CLIP + 2 * (80 + sizeof(mgi_curate_view)));
    OK(mgi_dir_list(ctx, folder, &files, &count));
    const mgi_dir_file *file = &files[1];
    assert_string_equal(file->name, "a.y4m");
    assert_int_equal(believed(data, size, file, &film), 1);
    assert_true(film.count == 2 && film.clips[0].first == 4 && film.clips[0].same == -1 &&
                film.clips[0].view && film.shots >= 1 && !film.fails && isnan(film.aesthetic));
    mgi_curate_film_free(ctx, &film);
    seal(data, size);
    assert_int_equal(believed(data, size, file, NULL), 1);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint8_t *copy = malloc(size);
        memcpy(copy, data, size);
        memcpy(copy + lies[i].at, lies[i].lie, lies[i].size);
        seal(copy, size);
        if (believed(copy, size, file, NULL))
            fail_msg("number %d at byte %d is believed", (int)i, lies[i].at);
        free(copy);
    }
    const uint64_t shorter = size - 16 - 4; /* its view is cut off */
    memcpy(data + HEAD, &shorter, sizeof shorter);
    seal(data, size);
    assert_int_equal(believed(data, size, file, NULL), 0);
    mgi_dir_free(ctx, files, count);
    free(data);
    assert_int_equal(remove(in_folder("list.jsonl.seen")), 0);
}

/* ---- what is no such file ----------------------------------------------------------------------- */

static void test_others(void **state)
{
    (void)state;
    size_t size, got;
    char *list = whole_list(NULL, &size);
    run r = {.rules = NULL};
    mgi_writer other;
    put_bytes("list.jsonl.seen", "what somebody wrote", 19); /* it stays */
    curate(&r, 1);
    assert_true(r.status == MGEN_OK && r.first == 1);
    assert_non_null(strstr(logged, "is no file of curation; remove it"));
    char *text = get_bytes("list.jsonl.seen", &got);
    assert_true(got == 19 && !memcmp(text, "what somebody wrote", 19));
    free(text);
    assert_int_equal(rename(in_folder("list.jsonl.seen"), in_folder("theirs")), 0);
    assert_int_equal(symlink("theirs", in_folder("list.jsonl.seen")), 0);
    curate(&r, 1);
    assert_int_equal(r.status, MGEN_OK);
    assert_non_null(strstr(logged, "a symbolic link"));
    assert_int_equal(remove(in_folder("list.jsonl.seen")), 0);
    assert_int_equal(mkfifo(in_folder("list.jsonl.seen"), 0600), 0);
    curate(&r, 1);
    assert_int_equal(r.status, MGEN_OK);
    assert_non_null(strstr(logged, "a named pipe"));
    assert_int_equal(remove(in_folder("list.jsonl.seen")), 0);
    assert_int_equal(mkdir(in_folder("list.jsonl.seen"), 0700), 0);
    curate(&r, 1);
    assert_int_equal(r.status, MGEN_OK);
    assert_non_null(strstr(logged, "it will begin anew"));
    assert_int_equal(rmdir(in_folder("list.jsonl.seen")), 0);
    OK(mgi_writer_append(ctx, in_folder("list.jsonl.seen"), &other));
    curate(&r, 1);
    assert_int_equal(r.status, MGEN_E_STATE);
    assert_non_null(strstr(logged, "this list is being made already"));
    mgi_writer_leave(&other, true);
    assert_int_equal(remove(in_folder("list.jsonl")), 0);
    /* a list that cannot be written is no news of tomorrow; nor is anything left */
    assert_int_equal(mkdir(in_folder("list.jsonl"), 0700), 0);
    curate(&r, 1);
    assert_true(r.status == MGEN_E_INVALID && !r.told && !is_there("list.jsonl.seen"));
    assert_int_equal(rmdir(in_folder("list.jsonl")), 0);
    put_bytes("a.json", "{\"aesthetic\": []}", 17); /* before anything was found */
    curate(&r, 1);
    assert_true(r.status == MGEN_E_CORRUPT && !is_there("list.jsonl.seen"));
    assert_int_equal(remove(in_folder("a.json")), 0);
    assert_int_equal(remove(in_folder("theirs")), 0);
    free(list);
}

static int make(void **state)
{
    int failed = make_folder_context(state);
    if (!failed)
        put_films();
    return failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed),  cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_torn),    cmocka_unit_test(test_rules),
        cmocka_unit_test(test_lies),    cmocka_unit_test(test_others),
        cmocka_unit_test(test_changed), cmocka_unit_test(test_ahead),
    };
    return cmocka_run_group_tests(tests, make, remove_folder_context);
}
