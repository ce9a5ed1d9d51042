/* SPDX-License-Identifier: MIT
 * Curation of a folder through the public interface: what it reports, writes and refuses; the protocol "curate". */
#include "../unit/reported.h"
#include "tiny.h"

enum { W = 96, H = 64, FRAMES = 40, BYTES = FRAMES * W * H * 3 };

static char folder[] = "/tmp/mgen-curate-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[2][256];
    static int turn;
    char *out = path[turn++ % 2];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

static void put_text(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "w");
    assert_true(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* A bright block on a checkered ground, which moves or not. */
static void put_film(mgen_context *ctx, const char *name, bool moves)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *clip;
    info.width = W;
    info.height = H;
    info.frames = FRAMES;
    info.fps_num = 16;
    info.fps_den = 1;
    assert_int_equal(mgen_clip_create(ctx, &info, &clip), MGEN_OK);
    uint8_t *p = mgen_clip_pixels(clip);
    for (int i = 0; i < BYTES; i++) {
        const int t = i / (W * H * 3), y = i / (W * 3) % H, x = i / 3 % W;
        const int at = 8 + (moves ? t : 0);
        const bool block = y >= 20 && y < 44 && x >= at && x < at + 24;
        p[i] = block ? 230 : (uint8_t)(90 + 20 * ((x / 9 + y / 7) % 2));
    }
    assert_int_equal(mgen_clip_write(ctx, clip, in_folder(name)), MGEN_OK);
    mgen_clip_destroy(clip);
}

static mgen_curate_params asked(void)
{
    mgen_curate_params p = MGEN_CURATE_PARAMS_INIT;
    p.dir = folder;
    p.rules = "toybox";
    return p;
}

static void refused(mgen_context *ctx, const mgen_curate_params *p, mgen_status want,
                    const char *said)
{
    mgen_report *report = NULL;
    mgen_status got = mgen_curate(ctx, p, &report);
    if (got != want || !strstr(mgen_last_error(ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(ctx), said);
    assert_null(report);
}

static int32_t stop_at(void *user, uint32_t done, uint32_t total)
{
    assert_int_equal(total, 2);
    return done == *(uint32_t *)user;
}

static void test_curate(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_curate_params p = asked();
    mgen_dataset_params size = MGEN_DATASET_PARAMS_INIT;
    mgen_dataset *data;
    mgen_report *report;
    mgen_clip *clip;
    uint32_t never = 3, first = 1;
    put_film(ctx, "moving.y4m", true);
    put_film(ctx, "still.y4m", false);
    put_text("moving.txt", "a block\n");
    p.on_progress = stop_at;
    p.user = &never;
    if (mgen_curate(ctx, &p, &report) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    assert_true(reported(report, "films") == 2.0 && reported(report, "films_motion") == 1.0);
    assert_true(reported(report, "clips_scene") == 2.0 && reported(report, "clips_still") == 1.0);
    assert_true(reported(report, "clips_resample") == 1.0 && reported(report, "clusters") == 1.0);
    assert_true(reported(report, "seconds") == 36.0 / 16.0);
    mgen_report_destroy(report);
    size.width = W;
    size.height = H;
    size.frames = 36;
    assert_int_equal(mgen_dataset_open(ctx, folder, &size, &data), MGEN_OK);
    assert_int_equal(mgen_dataset_count(data), 1);
    char caption[64];
    assert_int_equal(mgen_dataset_read(ctx, data, 0, caption, sizeof caption, &clip), MGEN_OK);
    assert_string_equal(caption, "a block");
    mgen_clip_destroy(clip);
    mgen_dataset_release(data);
    size.frames = 37; /* the clip begins with the fifth of 40 frames */
    assert_int_equal(mgen_dataset_open(ctx, folder, &size, &data), MGEN_E_INVALID);
    p.user = &first;
    refused(ctx, &p, MGEN_E_CANCELLED, "after 1 films; the same curation goes on from there");
    assert_int_equal(access(in_folder("clips.jsonl.seen"), F_OK), 0);
    p.user = &never;
    assert_int_equal(mgen_curate(ctx, &p, &report), MGEN_OK);
    assert_true(reported(report, "films") == 2.0 && reported(report, "films_motion") == 1.0);
    mgen_report_destroy(report);
    assert_int_not_equal(access(in_folder("clips.jsonl.seen"), F_OK), 0);
    assert_int_equal(remove(in_folder("clips.jsonl")), 0);
    mgen_context_destroy(ctx);
}

static void test_refused(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_report *report;
    mgen_curate_params p = asked();
    p.dir = NULL;
    refused(ctx, &p, MGEN_E_INVALID, "dir");
    p = asked();
    p.reserved0 = 1;
    refused(ctx, &p, MGEN_E_INVALID, "reserved0");
    p = asked();
    p.rules = "";
    refused(ctx, &p, MGEN_E_INVALID, "rules");
    p = asked();
    p.struct_size = 3;
    refused(ctx, &p, MGEN_E_INVALID, "curate params");
    struct {
        mgen_curate_params ours;
        uint64_t tail;
    } longer = {asked(), 1};
    longer.ours.struct_size = sizeof longer;
    refused(ctx, &longer.ours, MGEN_E_VERSION, "curate params");
    p = asked();
    p.dir = "/nowhere/at/all";
    refused(ctx, &p, MGEN_E_NOT_FOUND, "/nowhere/at/all");
    p = asked();
    p.rules = in_folder("rules.json");
    refused(ctx, &p, MGEN_E_NOT_FOUND, "rules.json");
    put_text("rules.json", "{\"text\": 1}");
    p.rules = in_folder("rules.json");
    refused(ctx, &p, MGEN_E_CORRUPT, "\"text\"");
    put_text("moving.json", "{\"aesthetic\": \"good\"}");
    p = asked();
    refused(ctx, &p, MGEN_E_CORRUPT, "moving.json");
    assert_int_equal(remove(in_folder("moving.json")), 0);
    p.out = "/nowhere/clips.jsonl";
    refused(ctx, &p, MGEN_E_NOT_FOUND, "/nowhere/clips.jsonl");
    assert_int_equal(remove(in_folder("moving.y4m")), 0);
    assert_int_equal(remove(in_folder("still.y4m")), 0);
    p = asked();
    refused(ctx, &p, MGEN_E_NOT_FOUND, "no film in");
    put_text("broken.y4m", "YUV4MPEG2");
    refused(ctx, &p, MGEN_E_UNSUPPORTED, "can be read");
    assert_int_equal(mgen_curate(NULL, &p, &report), MGEN_E_INVALID);
    assert_int_equal(mgen_curate(ctx, &p, NULL), MGEN_E_INVALID);
    mgen_context_destroy(ctx);
}

/* It needs no part of a pipeline. */
static void test_protocol(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_pipeline none = MGEN_PIPELINE_INIT;
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    mgen_report *report;
    p.protocol = "curate";
    p.n = 5;
    p.seed = 3;
    if (mgen_evaluate(ctx, &none, &p, &report) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    assert_true(reported(report, "n") == 5.0 && reported(report, "films") == 5.0);
    assert_true(reported(report, "text_recall") == 1.0);
    mgen_report_destroy(report);
    mgen_context_destroy(ctx);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"moving.txt", "rules.json", "broken.y4m"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        remove(in_folder(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curate),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_protocol),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
