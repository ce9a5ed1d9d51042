/* SPDX-License-Identifier: MIT
 * The protocol of rewritten prompts: which texts are exact; what it reports against films and counts made here, with a
 * rewriter of which is known what it writes; ends. */
#include "../api/tiny_rewriter.h"
#include "core/alloc.h"
#include "data/world_prompt.h"
#include "eval/alignment.h"
#include "eval/films.h"
#include "eval/rewrite_eval.h"
#include "eval/world_check.h"
#include "failing_calls.h"
#include "tensor/device.h"
#include "tiny_networks.h"

#include <math.h>

enum { CLIPS = 12, SIDE = 48, FRAMES = 4, STEPS = 2, SEED = 3 };
/* of the shipped model, whose films show something */
enum { SHIPPED_SIDE = 48, SHIPPED_FRAMES = 16, SHIPPED_STEPS = 3 };
enum { BYTES = SHIPPED_FRAMES * SHIPPED_SIDE * SHIPPED_SIDE * 3 };
enum { REWRITTEN, PLAIN, TOLD, WAYS };

/* What the rewriter writes whatever it is asked, but where quoted text would be lost: there the prompt stays. */
static const char written[] = "pink cube";

static const mgi_tae_config tae_config = {TINY_TAE};
static const mgi_text_config text_config = {.t5 = {TINY_T5, .tokens_max = 600}};
static const mgi_vt_config video_config = {TINY_VT,          .frames_max = 2,  .rows_max = 3,
                                           .columns_max = 3, .guidance = 2.0f, .fps_prefix = true};

typedef struct world {
    failing memory;
    mgen_context *ctx;
    mgi_tae tae;
    mgi_text_encoder text[MGI_ROLES];
    mgi_vt video;
    mgi_rewriter rewriter;
    mgi_networks n;
} world;

static void begin(world *w)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgi_rewriter_config config = tiny_rewriter();
    *w = (world){.ctx = NULL};
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &w->memory};
    config.text.t5.tokens_max = 600;
    assert_int_equal(mgen_context_create(&params, &w->ctx), MGEN_OK);
    assert_int_equal(mgi_rewriter_init(&w->rewriter, w->ctx, NULL, &config), MGEN_OK);
    assert_int_equal(mgi_module_random(mgi_text_module(&w->rewriter.text), 1), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->rewriter.decoder.module, 1), MGEN_OK);
    teach_rewriter(&w->rewriter, written);
}

static void world_make(world *w)
{
    begin(w);
    assert_int_equal(mgi_tae_init(&w->tae, w->ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&w->text[0], w->ctx, NULL, &text_config, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&w->video, w->ctx, &video_config), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->tae.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(mgi_text_module(&w->text[0]), 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&w->video, 1), MGEN_OK);
    randomise(&w->tae.module, 0.05f);
    randomise(&w->video.module, 0.1f);
    w->n = (mgi_networks){.tae = &w->tae,
                          .text = {&w->text[0]},
                          .video = &w->video,
                          .clip = {SIDE, SIDE, FRAMES, 16}};
    assert_int_equal(mgi_networks_check(w->ctx, &w->n), MGEN_OK);
}

static void world_open(world *w)
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    char folder[4096];
    uint64_t hash;
    begin(w);
    snprintf(folder, sizeof folder, "%s/examples/models/toybox", source ? source : ".");
    if (mgi_tae_open(w->ctx, folder, "tae", &w->tae, &hash) != MGEN_OK)
        fail_msg("%s (MOVIEGEN_SOURCE names the folder of the sources)", mgen_last_error(w->ctx));
    assert_int_equal(mgi_vt_open(w->ctx, folder, "video_model", &w->video, &hash), MGEN_OK);
    w->n = (mgi_networks){.tae = &w->tae,
                          .video = &w->video,
                          .clip = {SHIPPED_SIDE, SHIPPED_SIDE, SHIPPED_FRAMES, 16}};
    for (int i = 0; i < MGI_ROLES; i++) {
        assert_int_equal(mgi_text_encoder_open(w->ctx, folder, mgi_role_key[i], &w->text[i], &hash),
                         MGEN_OK);
        w->n.text[i] = &w->text[i];
    }
    assert_int_equal(mgi_networks_check(w->ctx, &w->n), MGEN_OK);
}

static void world_free(world *w)
{
    mgi_tae_finish(&w->tae);
    for (int i = 0; i < MGI_ROLES; i++)
        if (w->n.text[i])
            mgi_text_encoder_finish(&w->text[i]);
    mgi_vt_finish(&w->video);
    mgi_rewriter_finish(&w->rewriter);
    mgen_context_destroy(w->ctx);
    assert_int_equal(w->memory.blocks, 0);
}

static mgi_eval_request request(void)
{
    return (mgi_eval_request){.n = CLIPS, .seed = SEED, .steps = STEPS, .guidance = 2.0f};
}

/* -- words --------------------------------------------------------------------------------------- */

static void assert_exact(const mgi_world_said *says, const char *text, bool want)
{
    if (mgi_rewrite_exact(says, text) != want)
        fail_msg("\"%s\" is %sexact", text, want ? "not " : "");
}

static void test_exact(void **state)
{
    (void)state;
    mgi_world_said says;
    mgi_world_parse("zoom in. a red ball spins and a large blue cube bounces on snow, with a sign "
                    "that reads \"K9\"",
                    &says);
#define SIGN ", with a sign that reads \"K9\""
    assert_exact(&says, "zoom in. a red ball spins and a large blue cube bounces on snow" SIGN, 1);
    assert_exact(&says, "on snow, a red ball spins and a large blue cube bounces; zoom in" SIGN, 1);
    assert_exact(&says, "a red ball spins and a large blue cube bounces on snow" SIGN, 0);
    assert_exact(&says, "pan left. a red ball spins and a large blue cube bounces on snow" SIGN, 0);
    assert_exact(&says, "zoom in. a red ball spins and a blue cube bounces on snow" SIGN, 0);
    assert_exact(&says, "zoom in. a red ball spins and a large blue star bounces on snow" SIGN, 0);
    assert_exact(&says, "zoom in. a red ball spins and a large pink cube bounces on snow" SIGN, 0);
    assert_exact(&says, "zoom in. a red ball spins and a large blue cube rises on snow" SIGN, 0);
    assert_exact(&says, "zoom in. a red ball spins and a large blue cube bounces on sand" SIGN, 0);
    assert_exact(&says, "zoom in. a red ball spins and a large blue cube bounces" SIGN, 0);
    assert_exact(&says, "zoom in. a red ball and a large blue cube bounces on snow" SIGN, 0);
    assert_exact(&says, "zoom in. a red ball spins and a large blue cube bounces on snow", 0);
    assert_exact(&says, "zoom in. a red ball spins on snow" SIGN, 0);
    assert_exact(&says,
                 "zoom in. a red ball spins, a large blue cube bounces and a pink star falls on "
                 "snow" SIGN,
                 0);
    assert_exact(&says, "zoom in. a red ball spins and a large blue pink cube bounces on snow" SIGN,
                 0);
    assert_exact(&says,
                 "FPS-8 zoom in. a red ball spins and a large blue cube bounces on snow" SIGN, 0);
    assert_exact(&says, "zoom in. a red ball spins and a large blue cube bounces on snow, \"K8\"",
                 0);
#undef SIGN
    /* what is left open has one value, whichever */
    mgi_world_parse("static shot. a red ball and a blue cube on snow", &says);
    assert_exact(&says, "a red ball spins and a blue cube bounces on snow", 1);
    assert_exact(&says, "static shot. a red ball stays still and a blue cube rises on snow", 1);
    assert_exact(&says, "a red ball spins and a blue cube on snow", 0);
    assert_exact(&says, "a red ball spins, rises and a blue cube bounces on snow", 0);
    assert_exact(&says, "handheld shot. a red ball spins and a blue cube rises on snow", 0);
    mgi_world_parse("static shot. a red ball rises", &says);
    assert_exact(&says, "a red ball rises on snow", 1);
    assert_exact(&says, "a red ball rises on the moon", 1);
    assert_exact(&says, "a red ball rises", 0);
    assert_exact(&says, "a red ball falls on the moon", 0);
    /* nothing moves in an image */
    says.camera = says.objects[0].motion = -1;
    assert_exact(&says, "a red ball on sand", 1);
    assert_exact(&says, "a red ball rises on sand", 0);
    assert_exact(&says, "", 0);
}

/* Scenes are alignment's; of what is typed for them, captions say all and the prompts as they are hardly ever. */
static void test_cases(void **state)
{
    (void)state;
    const mgi_clip_shape clip = {64, 64, 32, 16};
    int plain = 0, two = 0;
    for (int64_t i = 0; i < 300; i++) {
        mgi_world_scene s, aligned;
        mgi_world_said says;
        char typed[MGI_WORLD_CAPTION_MAX], caption[MGI_WORLD_CAPTION_MAX];
        mgi_rewrite_case(&clip, i, &s, typed, &says);
        mgi_alignment_prompt(&clip, i, &aligned, caption);
        assert_memory_equal(&s, &aligned, sizeof s);
        two += s.count == 2;
        mgi_world_told(&s, caption);
        assert_exact(&says, caption, true);
        plain += mgi_rewrite_exact(&says, typed);
    }
    assert_int_equal(two, 150);
    assert_in_range(plain, 0, 15);
}

/* -- the same films and counts, made here -------------------------------------------------------- */

static mgen_status take(void *user, const mgi_frames_box *box, float *rgb)
{
    enum { FRAME = SHIPPED_SIDE * SHIPPED_SIDE * 3 };
    uint8_t *out = (uint8_t *)user + box->first * FRAME;
    for (int64_t i = 0; i < box->count * FRAME; i++) {
        double v = nearbyint((double)rgb[i] * 127.5 + 127.5);
        out[i] = (uint8_t)(v < 0.0 ? 0.0 : v > 255.0 ? 255.0 : v);
    }
    return MGEN_OK;
}

static void film_of(world *w, int64_t i, const char *prompt, mgi_world_said *seen)
{
    static uint8_t pixels[BYTES];
    const uint64_t seed = SEED + (uint64_t)i;
    const mgi_generate_request g = {.prompts = &prompt,
                                    .count = 1,
                                    .seeds = &seed,
                                    .steps = SHIPPED_STEPS,
                                    .guidance = 2.0f,
                                    .sink = take,
                                    .user = pixels};
    if (mgi_generate(w->ctx, &w->n, &g) != MGEN_OK)
        fail_msg("%s", mgen_last_error(w->ctx));
    assert_int_equal(
        mgi_world_check(w->ctx, pixels, SHIPPED_SIDE, SHIPPED_SIDE, SHIPPED_FRAMES, seen), MGEN_OK);
}

/* In the order of the report. */
static const char *const names[] = {"colour", "background", "motion", "count",   "shape",
                                    "size",   "camera",     "text",   "all_one", "all_two"};
enum { COLOUR, BACKGROUND, MOTION, COUNT, SHAPE, SIZE, CAMERA, TEXT, ALL_ONE, ALL_TWO, NAMES };
static const char *const ways[WAYS] = {"", "plain_", "told_"};

typedef struct counts {
    int right[WAYS][NAMES], asked[WAYS][NAMES];
    int exact, plain_exact, quoted, signs;
} counts;

static bool count(counts *c, int way, int name, bool right)
{
    c->asked[way][name]++;
    c->right[way][name] += right;
    return right;
}

static void judge(counts *c, int way, const mgi_world_said *says, const mgi_world_said *seen)
{
    bool all = count(c, way, COUNT, says->count == seen->count);
    if (says->background != -1 && !count(c, way, BACKGROUND, says->background == seen->background))
        all = false;
    for (int i = 0; i < says->count; i++) {
        int k = 0;
        while (k < seen->count && seen->objects[k].colour != says->objects[i].colour)
            k++;
        const bool found = k < seen->count;
        const bool parts[] = {
            count(c, way, COLOUR, found),
            count(c, way, SHAPE, found && seen->objects[k].shape == says->objects[i].shape),
            count(c, way, SIZE, found && seen->objects[k].size == says->objects[i].size),
            says->objects[i].motion == -1 ||
                count(c, way, MOTION, found && seen->objects[k].motion == says->objects[i].motion)};
        all = all && parts[0] && parts[1] && parts[2] && parts[3];
    }
    count(c, way, CAMERA, says->camera == seen->camera);
    if (says->sign[0])
        count(c, way, TEXT, !strcmp(says->sign, seen->sign));
    count(c, way, says->count == 1 ? ALL_ONE : ALL_TWO, all);
}

static void check_counts(const mgen_report *report, const counts *c)
{
    const struct {
        const char *name;
        double value;
    } words[] = {{"exact", (double)c->exact / CLIPS},
                 {"plain_exact", (double)c->plain_exact / CLIPS},
                 {"quoted", (double)c->quoted / c->signs}};
    uint32_t at = 0;
    for (int i = 0; i < 3; i++, at++) {
        assert_string_equal(report->entry[at].name, words[i].name);
        assert_true(report->entry[at].value == words[i].value);
    }
    for (int way = 0; way < WAYS; way++)
        for (int k = 0; k < NAMES; k++, at++) {
            char name[64];
            snprintf(name, sizeof name, "%s%s", ways[way], names[k]);
            assert_true(at < report->count);
            assert_string_equal(report->entry[at].name, name);
            const double want = (double)c->right[way][k] / c->asked[way][k];
            if (report->entry[at].value != want)
                fail_msg("%s is %g, not %g", name, report->entry[at].value, want);
        }
    assert_int_equal(report->count, at);
}

static mgen_report *measured(world *w, const mgi_eval_request *r)
{
    mgen_report *report;
    assert_int_equal(mgi_report_create(w->ctx, &report), MGEN_OK);
    if (mgi_eval_rewrite(w->ctx, &w->n, &w->rewriter, r, report) != MGEN_OK)
        fail_msg("%s", mgen_last_error(w->ctx));
    return report;
}

static void test_protocol(void **state)
{
    (void)state;
    static counts c;
    world w;
    mgi_eval_request r = request();
    int open = 0;
    r.steps = SHIPPED_STEPS;
    world_open(&w);
    mgen_report *report = measured(&w, &r);
    for (int64_t i = 0; i < CLIPS; i++) {
        mgi_world_scene s;
        mgi_world_said says, seen;
        char typed[MGI_WORLD_CAPTION_MAX], told[MGI_WORLD_CAPTION_MAX];
        mgi_rewrite_case(&w.n.clip, i, &s, typed, &says);
        mgi_world_told(&s, told);
        open += says.background == -1 || says.objects[0].motion == -1;
        const bool kept = strchr(typed, '"') != NULL;
        const char *prompts[WAYS] = {kept ? typed : written, typed, told};
        c.signs += says.sign[0] != '\0';
        c.quoted += says.sign[0] && kept;
        c.exact += mgi_rewrite_exact(&says, prompts[REWRITTEN]);
        c.plain_exact += mgi_rewrite_exact(&says, typed);
        for (int way = 0; way < WAYS; way++) {
            film_of(&w, i, prompts[way], &seen);
            judge(&c, way, &says, &seen);
        }
    }
    assert_true(c.quoted > 0 && c.quoted < c.signs && open > 1);
    check_counts(report, &c);
    mgen_report_destroy(report);
    world_free(&w);
}

/* Images, for which users now and then type just what a caption says: what is written is exact never, or, by a rewriter that
 * never ends and so leaves prompts as they are, as often as they were. */
static void test_plain(void **state)
{
    (void)state;
    enum { MANY = 60 };
    world w;
    mgi_eval_request r = request();
    int exact = 0;
    world_make(&w);
    w.n.clip.frames = 1;
    r.n = MANY;
    r.steps = 1;
    for (int64_t i = 0; i < MANY; i++) {
        mgi_world_scene s;
        mgi_world_said says;
        char typed[MGI_WORLD_CAPTION_MAX];
        mgi_rewrite_case(&w.n.clip, i, &s, typed, &says);
        exact += mgi_rewrite_exact(&says, typed);
    }
    assert_true(exact > 0);
    for (int endless = 0; endless < 2; endless++) {
        if (endless)
            assert_int_equal(mgi_module_random(&w.rewriter.decoder.module, 1), MGEN_OK);
        mgen_report *report = measured(&w, &r);
        assert_true(report->entry[0].value == (endless ? (double)exact / MANY : 0.0));
        assert_true(report->entry[1].value == (double)exact / MANY);
        mgen_report_destroy(report);
    }
    world_free(&w);
}

/* Where no prompt has a sign, nothing is said of them. */
static void test_no_sign(void **state)
{
    (void)state;
    world w;
    mgi_eval_request r = request();
    mgi_world_scene s;
    mgi_world_said says;
    char typed[MGI_WORLD_CAPTION_MAX];
    world_make(&w);
    r.n = 1;
    mgi_rewrite_case(&w.n.clip, 0, &s, typed, &says);
    assert_string_equal(says.sign, "");
    mgen_report *report = measured(&w, &r);
    for (uint32_t i = 0; i < report->count; i++) {
        assert_string_not_equal(report->entry[i].name, "quoted");
        assert_null(strstr(report->entry[i].name, "text"));
    }
    mgen_report_destroy(report);
    world_free(&w);
}

/* -- ends ---------------------------------------------------------------------------------------- */

static bool stop(void *user, int done, int total)
{
    assert_int_equal(total, CLIPS);
    assert_int_equal(done, MGI_EVAL_BATCH * ++*(int *)user);
    return done == 2 * MGI_EVAL_BATCH;
}

static void test_stops(void **state)
{
    (void)state;
    world w;
    int calls = 0;
    mgi_eval_request r = request();
    world_make(&w);
    r.progress = stop;
    r.user = &calls;
    assert_int_equal(mgi_eval_rewrite(w.ctx, &w.n, &w.rewriter, &r, NULL), MGEN_E_CANCELLED);
    assert_int_equal(calls, 2);
    world_free(&w);
}

/* Shapes that the checker cannot read; prompts that the rewriter cannot. */
static void test_refused(void **state)
{
    static const mgi_clip_shape shapes[] = {
        {46, 48, 2, 16}, {48, 46, 2, 16}, {48, 214, 2, 16}, {48, 48, 65, 16}};
    (void)state;
    world w;
    const mgi_eval_request r = request();
    world_make(&w);
    const mgi_clip_shape clip = w.n.clip;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        w.n.clip = shapes[i];
        assert_int_equal(mgi_eval_rewrite(w.ctx, &w.n, &w.rewriter, &r, NULL), MGEN_E_STATE);
        assert_non_null(strstr(mgen_last_error(w.ctx), "the rewrite protocol needs"));
    }
    w.n.clip = clip;
    w.rewriter.config.text.t5.tokens_max = w.rewriter.text.config.t5.tokens_max = 4;
    assert_int_equal(mgi_eval_rewrite(w.ctx, &w.n, &w.rewriter, &r, NULL), MGEN_E_INVALID);
    world_free(&w);
}

/* Whatever allocation fails, nothing stays. */
static void test_memory(void **state)
{
    (void)state;
    world w;
    mgi_eval_request r = request();
    mgen_report *report;
    world_make(&w);
    w.n.clip.frames = 1;
    r.n = 2;
    r.steps = 1;
    assert_int_equal(mgi_report_create(w.ctx, &report), MGEN_OK);
    ASSERT_NOTHING_STAYS(w.ctx, w.memory, mgi_eval_rewrite(w.ctx, &w.n, &w.rewriter, &r, report));
    mgen_report_destroy(report);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),    cmocka_unit_test(test_cases),
        cmocka_unit_test(test_protocol), cmocka_unit_test(test_no_sign),
        cmocka_unit_test(test_plain),    cmocka_unit_test(test_stops),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
