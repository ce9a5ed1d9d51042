/* SPDX-License-Identifier: MIT
 * Curation of a folder: what it keeps and drops, what it writes, and how a dataset reads that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "data/clip_list.h"
#include "data/curate_groups.h"
#include "data/dataset_sound.h"
#include "data/folder.h"
#include "folder_context.h"
#include "media/media.h"
#include "media/track.h"
#include "ok.h"
#include "raw_films.h"

#include <string.h>

enum { SEED = 7 };

static const char *in_folder(const char *name)
{
    static char path[4][256];
    static int turn;
    char *out = path[turn++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

static void put_file(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "w");
    assert_true(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* Film `index` of the world as <kind>.y4m. */
static void put_film(uint64_t index)
{
    mgi_world_raw raw;
    char name[64];
    mgi_world_raw_random(&raw, SEED, index);
    uint8_t *pixels = raw_frames(&raw);
    const mgi_frames frames = {pixels, raw.width, raw.height, raw.frames, MGI_RAW_FPS, 1};
    snprintf(name, sizeof name, "%s.y4m", mgi_raw_kind_name(raw.kind));
    OK(mgi_y4m_write(ctx, in_folder(name), &frames));
    free(pixels);
}

static int64_t called;

static bool progress(void *user, int64_t done, int64_t total)
{
    assert_true(done == ++called && total == MGI_RAW_KINDS + 2);
    return user && done == 2;
}

static char *read_text(const char *name)
{
    FILE *f = fopen(in_folder(name), "r");
    char *text = calloc(1, 1 << 16);
    assert_true(f && text);
    assert_true(fread(text, 1, (1 << 16) - 1, f) > 0);
    fclose(f);
    return text;
}

/* The first line of a film. */
static const char *line_of(const char *text, const char *film)
{
    static char line[2048];
    char key[64];
    snprintf(key, sizeof key, "{\"file\": \"%s.y4m\"", film);
    const char *at = strstr(text, key);
    assert_non_null(at);
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    return line;
}

static void test_folder(void **state)
{
    (void)state;
    static const struct {
        const char *film, *says;
    } lines[] = {
        {"broken", "\"dropped\": \"read\""},         {"short", "\"dropped\": \"duration\""},
        {"small", "\"dropped\": \"resolution\""},    {"portrait", "\"dropped\": \"aspect\""},
        {"text", "\"dropped\": \"text\""},           {"letterbox", "\"dropped\": \"border\""},
        {"pillarbox", "\"dropped\": \"border\""},    {"still", "\"dropped\": \"still\""},
        {"slides", "\"dropped\": \"still\""},        {"frozen", "\"dropped\": \"still\""},
        {"slow", "\"dropped\": \"motion\""},         {"fast", "\"dropped\": \"motion\""},
        {"shake", "\"dropped\": \"motion\""},        {"cuts", "\"dropped\": \"scene\""},
        {"duplicate", "\"dropped\": \"duplicate\""}, {"clean", "\"kept\": true, \"weight\": 1,"},
        {"both", "\"dropped\": \"duration\""}, /* and small: the funnel counts the first step */
        {"clean", "\"caption\": \"a film\""},        {"clean", "\"aesthetic\": 4.5"},
    };
    mgi_curate_funnel f;
    put_file("rules.json", "{\"base\": \"toybox\", \"portrait_max\": 0}");
    for (uint64_t i = 0; i < MGI_RAW_KINDS; i++)
        put_film(i);
    put_file("broken.y4m", "YUV4MPEG2 W64 H64 F16:1 C444\nFRAME\nshort");
    put_file("both.y4m", "YUV4MPEG2 W4 H2 F16:1 C444\nFRAME\n012345678901234567890123");
    put_file("clean.txt", " a film\n");
    put_file("clean.json", "{\"aesthetic\": 4.5, \"other\": []}");
    const char *rules = in_folder("rules.json"), *out = in_folder("clips.jsonl");
    called = 0;
    OK(mgi_curate_folder(ctx, folder, rules, out, progress, NULL, &f));
    assert_int_equal(called, MGI_RAW_KINDS + 2);
    char *text = read_text("clips.jsonl");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *line = line_of(text, lines[i].film);
        if (!strstr(line, lines[i].says))
            fail_msg("%s lacks %s", line, lines[i].says);
    }
    assert_int_equal(f.all_films, MGI_RAW_KINDS + 2);
    assert_int_equal(f.films[MGI_CURATE_READ], MGI_RAW_KINDS + 1);
    assert_int_equal(f.films[MGI_CURATE_DURATION], MGI_RAW_KINDS - 1);
    assert_int_equal(f.films[MGI_CURATE_RESOLUTION], MGI_RAW_KINDS - 2);
    assert_int_equal(f.films[MGI_CURATE_ASPECT], MGI_RAW_KINDS - 3);
    assert_int_equal(f.films[MGI_CURATE_SCENE], MGI_RAW_KINDS - 4);
    assert_int_equal(f.films[MGI_CURATE_TEXT], MGI_RAW_KINDS - 5);
    assert_int_equal(f.films[MGI_CURATE_BORDER], MGI_RAW_KINDS - 7);
    assert_int_equal(f.films[MGI_CURATE_STILL], MGI_RAW_KINDS - 10);
    assert_int_equal(f.films[MGI_CURATE_MOTION], MGI_RAW_KINDS - 13);
    assert_int_equal(f.films[MGI_CURATE_DUPLICATE], 1);
    assert_true(f.clips[MGI_CURATE_RESAMPLE] == 1 && f.clusters == 1 && f.seconds > 2.0);
    free(text);
    /* stopped: the list stays as it was; rules that ask for more than the host's rating */
    called = 0;
    assert_int_equal(mgi_curate_folder(ctx, folder, rules, out, progress, &f, &f),
                     MGEN_E_CANCELLED);
    put_file("rules.json", "{\"base\": \"toybox\", \"aesthetic_min\": 5, \"portrait_max\": 0.05}");
    OK(mgi_curate_folder(ctx, folder, in_folder("rules.json"), in_folder("rated.jsonl"), NULL, NULL,
                         &f));
    text = read_text("rated.jsonl");
    assert_non_null(strstr(line_of(text, "clean"), "\"dropped\": \"aesthetic\""));
    assert_non_null(
        strstr(line_of(text, "portrait"), "\"dropped\": \"aspect\"")); /* beside 13 wide ones */
    free(text);
}

/* Most is dropped by one step, which is named with its rules and its first films; what is no film of its own is counted. */
static void test_nothing_kept(void **state)
{
    (void)state;
    static const char *const says[] = {"no clip of the 17 films",
                                       "\"resolution\" drops ",
                                       "first of 'clean.y4m', 'cuts.y4m', 'duplicate.y4m'",
                                       "; \"read\" 1, \"duration\" 3",
                                       "(width_min, height_min)",
                                       "all.jsonl"};
    mgi_curate_funnel kept;
    mgen_status status;
    put_file("rules.json", "{\"base\": \"toybox\", \"width_min\": 4000, \"duration_max\": 7}");
    put_file("old.mts", "");
    put_file("clean.edited.y4m", "");
    status = mgi_curate_folder(ctx, folder, in_folder("rules.json"), in_folder("all.jsonl"), NULL,
                               NULL, &kept);
    assert_int_equal(status, MGEN_E_NOT_FOUND);
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++)
        if (!strstr(mgen_last_error(ctx), says[i]))
            fail_msg("%s lacks %s", mgen_last_error(ctx), says[i]);
    assert_true(kept.others == 1 && kept.edited == 1 && kept.all_films == MGI_RAW_KINDS + 2);
    assert_true(kept.clips[MGI_CURATE_RESAMPLE] == 0);
    assert_int_equal(remove(in_folder("all.jsonl")), 0);
    assert_int_equal(remove(in_folder("old.mts")), 0);
    assert_int_equal(remove(in_folder("clean.edited.y4m")), 0);
}

/* ---- several films at a time -------------------------------------------------------------------- */

typedef struct outcome {
    mgen_status status;
    char *list, error[1024];
    char log[16384];
    int64_t told;
    uint64_t peak;
    mgi_curate_funnel funnel;
} outcome;

static void keep_log(void *user, int32_t level, const char *text)
{
    outcome *o = user;
    const size_t used = strlen(o->log);
    snprintf(o->log + used, sizeof o->log - used, "%d %s\n", level, text);
}

static bool count_told(void *user, int64_t done, int64_t total)
{
    outcome *o = user;
    assert_true(done == o->told + 1 && total > 0);
    o->told = done;
    return false;
}

static void curate_by(uint32_t threads, uint64_t memory, outcome *o)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *own;
    *o = (outcome){.told = 0};
    params.threads = threads;
    params.host_memory_max = memory;
    params.log = keep_log;
    params.log_user = o;
    assert_int_equal(mgi_context_init(&own, &params), MGEN_OK);
    o->status =
        mgi_curate_folder(own, folder, "toybox", in_folder("by.jsonl"), count_told, o, &o->funnel);
    o->peak = own->heap->peak;
    if (o->status == MGEN_OK)
        o->list = read_text("by.jsonl");
    snprintf(o->error, sizeof o->error, "%s", mgen_last_error(own));
    remove(in_folder("by.jsonl"));
    remove(in_folder("by.jsonl.seen")); /* of those that failed */
    mgi_context_free(own);
}

static void same_outcome(const outcome *a, const outcome *b)
{
    assert_int_equal(a->status, b->status);
    assert_string_equal(a->log, b->log);
    assert_int_equal(a->told, b->told);
    assert_true(!a->list == !b->list);
    if (a->list) {
        assert_string_equal(a->list, b->list);
        assert_memory_equal(&a->funnel, &b->funnel, sizeof a->funnel);
    } else {
        assert_string_equal(a->error, b->error);
    }
}

/* The list, the log and what is told do not depend on how many films are watched at once; what cannot be read is one film's affair, and
 * what is wrong with the folder is said when it was always said. */
static void test_threads(void **state)
{
    (void)state;
    static const uint32_t threads[] = {2, 5};
    outcome one, more;
    put_file("broken2.y4m", "YUV4MPEG2 W64 H64 F16:1 C444\nFRAMX\nshort");
    curate_by(1, 0, &one);
    assert_int_equal(one.status, MGEN_OK);
    assert_non_null(strstr(one.log, "broken.y4m"));
    assert_non_null(strstr(one.log, "\"read\" drops 2 films, 'broken.y4m', 'broken2.y4m'"));
    assert_non_null(strstr(one.log, " can be read, "));
    assert_non_null(strstr(one.log, "broken2.y4m"));
    assert_true(strstr(one.log, "broken.y4m") < strstr(one.log, "broken2.y4m"));
    assert_int_equal(one.told, MGI_RAW_KINDS + 3);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        /* with 5: memory for one film at a time, and for what each thread has beside it */
        curate_by(threads[i], i == 0 ? 0 : one.peak + threads[i] * 64 * 1024, &more);
        same_outcome(&one, &more);
        free(more.list);
    }
    free(one.list);
    curate_by(1, one.peak / 2, &one);
    assert_int_equal(one.status, MGEN_E_LIMIT);
    put_file("frozen.json", "{\"aesthetic\": false}");
    curate_by(1, 0, &one);
    assert_int_equal(one.status, MGEN_E_CORRUPT);
    assert_non_null(strstr(one.error, "frozen.json"));
    assert_true(one.told > 3 && one.told < MGI_RAW_KINDS);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        curate_by(threads[i], 0, &more);
        same_outcome(&one, &more);
    }
    put_file("frozen.json", "{\"aesthetic\": 5,}");
    curate_by(1, 0, &one);
    assert_int_equal(one.status, MGEN_E_CORRUPT);
    assert_non_null(strstr(one.error, "frozen.json': its JSON: line 1, column 17"));
    assert_int_equal(remove(in_folder("frozen.json")), 0);
    assert_int_equal(remove(in_folder("broken2.y4m")), 0);
}

/* Curated, then opened: the clip that is kept, from its first frame on. */
static void test_dataset(void **state)
{
    (void)state;
    const mgen_dataset_params params = {sizeof params, 96, 64, 16, 0, NULL, NULL, NULL};
    mgi_dataset *ds;
    mgi_film_info info;
    char caption[MGI_CAPTION_SIZE];
    uint8_t *film, *sample = malloc(16 * 96 * 64 * 3);
    mgi_clip_line *lines;
    int64_t n;
    char *text = read_text("clips.jsonl");
    OK(mgi_clip_list_read(ctx, "clips.jsonl", text, strlen(text), &lines, &n));
    assert_true(n == 1 && !strcmp(lines[0].file, "clean.y4m") && lines[0].first == 4);
    OK(mgi_dataset_folder(ctx, folder, &params, &ds));
    assert_true(ds->count == 1 && mgi_dataset_train_count(ds) == 1);
    OK(mgi_dataset_piece(ctx, ds, 0, 3, 13, sample, caption));
    assert_string_equal(caption, "a film");
    OK(mgi_film_read(ctx, in_folder("clean.y4m"), 4 + 3, 13, &film, &info));
    assert_memory_equal(sample, film, 13 * 96 * 64 * 3);
    OK(mgi_dataset_watch(ctx, ds, 0, 8.0, 4, sample)); /* every second one, from the second on */
    for (int i = 1; i < 4; i++)
        assert_memory_equal(sample + i * 96 * 64 * 3, film + (2 * i + 1 - 3) * 96 * 64 * 3,
                            96 * 64 * 3);
    assert_int_equal(mgi_dataset_watch(ctx, ds, 0, 0.5, 16, sample), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "ends at frame"));
    mgi_free(ctx, film);
    mgi_clip_list_free(ctx, lines, n);
    mgi_dataset_release(ds);
    free(sample);
    free(text);
}

static mgen_status open_list(const char *text, mgi_dataset **ds)
{
    const mgen_dataset_params params = {sizeof params, 96, 64, 16, 0, NULL, NULL, NULL};
    put_file("clips.jsonl", text);
    return mgi_dataset_folder(ctx, folder, &params, ds);
}

/* Weights are how often a clip comes in an epoch; captions of lines win; what is wrong is said. */
static void test_list(void **state)
{
    (void)state;
    mgi_dataset *ds, *other;
    char text[2048] = "", caption[MGI_CAPTION_SIZE];
    int met[20] = {0};
    for (int i = 0; i < 20; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "{\"file\": \"fast.y4m\", \"first\": %d, \"frames\": 16, \"weight\": %d}\r\n%s", i,
                 i % 3, i == 7 ? "\n  \n{\"file\": \"x\", \"kept\": false}\n" : "");
    OK(open_list(text, &ds));
    assert_true(ds->count == 20 && mgi_dataset_train_count(ds) == 18 && ds->walks == 18);
    for (uint64_t i = 0; i < 18; i++)
        met[mgi_dataset_element(ds, 3, i)]++;
    for (int i = 0; i < 20; i++)
        assert_int_equal(met[i], i < 18 ? i % 3 : 0);
    OK(open_list("{\"file\": \"fast.y4m\", \"frames\": 16, \"weight\": 2.5, \"caption\": \"c\"}\n",
                 &other));
    assert_true(other->walks == 2 || other->walks == 3);
    assert_true(other->identity != ds->identity);
    mgi_dataset_caption(other, 0, caption);
    assert_string_equal(caption, "c");
    assert_int_equal(mgi_dataset_element(other, 3, 5), 0);
    mgi_dataset_release(other);
    mgi_dataset_release(ds);
    static const struct {
        const char *text, *says;
        mgen_status status;
    } bad[] = {
        {"{\"file\": \"fast.y4m\", \"frames\": 16}\n[]\n", "line 2", MGEN_E_CORRUPT},
        {"{\"file\": \"fast.y4m\"}\n", "frames", MGEN_E_CORRUPT},
        {"{\"frames\": 16}\n", "file", MGEN_E_CORRUPT},
        {"{\"file\": \"fast.y4m\", \"frames\": 16", "line 1: its JSON: ", MGEN_E_CORRUPT},
        {"{\"file\": \"../fast.y4m\", \"frames\": 16}", "must be the name", MGEN_E_CORRUPT},
        {"{\"file\": \"fast.y4m\", \"frames\": 16, \"first\": -1}", "first", MGEN_E_CORRUPT},
        {"{\"file\": \"fast.y4m\", \"frames\": 15}", "fewer than the 16", MGEN_E_INVALID},
        {"{\"file\": \"gone.y4m\", \"frames\": 16}", "no film there", MGEN_E_NOT_FOUND},
        {"{\"file\": \"clean.txt\", \"frames\": 16}", "no film there", MGEN_E_NOT_FOUND},
        {"{\"file\": \"fast.y4m\", \"frames\": 16, \"kept\": false}", "keeps no clip",
         MGEN_E_NOT_FOUND},
        {"{\"file\": \"fast.y4m\", \"frames\": 16, \"weight\": 0}", "leave no clip",
         MGEN_E_CORRUPT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(open_list(bad[i].text, &ds), bad[i].status);
        if (!strstr(mgen_last_error(ctx), bad[i].says))
            fail_msg("%s: %s", bad[i].text, mgen_last_error(ctx));
    }
    assert_int_equal(remove(in_folder("clips.jsonl")), 0);
}

/* A clip is heard from its beginning on, and no longer than it is. */
static void test_sound(void **state)
{
    (void)state;
    enum { RATE = 16000, SECONDS = 3 };
    static float samples[RATE * SECONDS];
    mgi_dataset *ds;
    int64_t length;
    float heard[8];
    for (int i = 0; i < RATE * SECONDS; i++)
        samples[i] = (float)(i / (RATE / 16)) / 64.0f; /* in which frame it is heard */
    const mgi_track track = {
        .samples = samples, .count = RATE * SECONDS, .rate = RATE, .channels = 1};
    OK(mgi_track_write(ctx, in_folder("fast.wav"), &track));
    OK(open_list("{\"file\": \"fast.y4m\", \"first\": 8, \"frames\": 24}\n", &ds));
    OK(mgi_dataset_sound_length(ctx, ds, 0, &length));
    const int64_t second = length * 2 / 3; /* 24 frames of 16 a second */
    OK(mgi_dataset_hear(ctx, ds, 0, second / 32, 1, heard));
    OK(mgi_dataset_hear(ctx, ds, 0, second + second / 32, 1, heard + 1));
    OK(mgi_dataset_hear(ctx, ds, 0, length, 1, heard + 2));
    assert_true(fabsf(heard[0] - 8.0f / 64.0f) < 0.005f);
    assert_true(fabsf(heard[1] - 24.0f / 64.0f) < 0.005f);
    assert_true(heard[2] == 0.0f);
    mgi_dataset_release(ds);
    assert_int_equal(remove(in_folder("clips.jsonl")), 0);
    assert_int_equal(remove(in_folder("fast.wav")), 0);
}

/* ---- clips together ----------------------------------------------------------------------------- */

enum { CLIPS = 12 };

/* Nine clips of one colour and three of another, which look different from each other. */
static void make_group(mgi_curate_film *film, mgi_curate_clip *clips, mgi_curate_view *views,
                       mgi_curate_member *members)
{
    *film = (mgi_curate_film){.info = {.width = 8, .height = 8}};
    memset(views, 0, CLIPS * sizeof *views);
    for (int i = 0; i < CLIPS; i++) {
        clips[i] = (mgi_curate_clip){.same = -1, .cluster = -1, .view = &views[i]};
        members[i] = (mgi_curate_member){film, &clips[i], i};
        for (int k = 0; k < MGI_LIKE_FRAMES; k++)
            views[i].like[k * (MGI_LIKE_SIZE / MGI_LIKE_FRAMES) + i] = 1.0f;
        views[i].theme[i < 9 ? 0 : 1] = 1.0f;
        views[i].theme[2] = 0.01f * (float)i;
    }
}

static void test_groups(void **state)
{
    (void)state;
    mgi_curate_rules rules;
    mgi_curate_film film;
    mgi_curate_clip clips[CLIPS];
    static mgi_curate_view views[CLIPS];
    mgi_curate_member members[CLIPS];
    int64_t count = CLIPS, clusters;
    mgi_curate_rules_toybox(&rules);
    make_group(&film, clips, views, members);
    views[5] = views[2]; /* the same, and one that is nearly so */
    memcpy(views[7].like, views[0].like, sizeof views[0].like);
    views[7].like[100] = 0.3f;
    OK(mgi_curate_find_duplicates(ctx, &rules, members, &count));
    assert_int_equal(count, CLIPS - 2);
    assert_true(clips[5].same == 2 && clips[7].same == 0 && clips[0].same == -1);
    assert_true(clips[5].fails == UINT32_C(1) << MGI_CURATE_DUPLICATE && !clips[2].fails);

    make_group(&film, clips, views, members);
    rules.clusters = 2;
    OK(mgi_curate_resample(ctx, &rules, members, CLIPS, &clusters));
    assert_int_equal(clusters, 2);
    for (int i = 0; i < CLIPS; i++) {
        assert_int_equal(clips[i].cluster, clips[i < 9 ? 0 : 9].cluster);
        assert_true(fabs(clips[i].weight - (i < 9 ? 1.0 : sqrt(3.0))) < 1e-9 && !clips[i].fails);
    }
    rules.resample = MGI_RESAMPLE_DROP;
    int dropped = 0;
    for (int seed = 1; seed <= 40; seed++) { /* 9 of one kind are as many as the root of 9 x 3 */
        make_group(&film, clips, views, members);
        rules.seed = seed;
        OK(mgi_curate_resample(ctx, &rules, members, CLIPS, &clusters));
        for (int i = 0; i < CLIPS; i++) {
            dropped += clips[i].fails != 0;
            assert_true(!clips[i].fails || i < 9);
        }
    }
    assert_true(fabs(dropped / 40.0 - (9.0 - sqrt(27.0))) < 0.7);
    OK(mgi_curate_resample(ctx, &rules, members, 0, &clusters));
    assert_int_equal(clusters, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder),  cmocka_unit_test(test_nothing_kept),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_dataset),
        cmocka_unit_test(test_list),    cmocka_unit_test(test_sound),
        cmocka_unit_test(test_groups),
    };
    return cmocka_run_group_tests(tests, make_folder_context, remove_folder_context);
}
