/* SPDX-License-Identifier: MIT
 * The protocol of personalizers: how films are judged; what it reports against films made here; scenes; ends. */
#include "core/alloc.h"
#include "eval/films.h"
#include "eval/personalize_eval.h"
#include "failing_memory.h"
#include "kernels/pointwise/pointwise.h"
#include "random_values.h"
#include "tensor/device.h"
#include "tiny_networks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CLIPS = 2, SIDE = 48, FRAMES = 8, BYTES = FRAMES * SIDE * SIDE * 3, STEPS = 2, SEED = 3 };
enum { FIGURES = MGI_PERSONALIZE_FIGURES, SEEN = 12 };

static const mgi_tae_config tae_config = {TINY_TAE};
static const mgi_text_config text_config = {.t5 = {TINY_T5, .tokens_max = 200}};
static const mgi_clip_vision_config vision_config = {TINY_VISION};
static const mgi_personalizer_config config = {
    .video = {TINY_VT, .reference = SEEN, .frames_max = 2, .rows_max = 3, .columns_max = 3,
              .guidance = 3.0f, .fps_prefix = true},
    .vision = "vision",
    .source_guidance = 1.5f,
    .steps = STEPS};

typedef struct world {
    failing memory;
    mgen_context *ctx;
    mgi_tae tae;
    mgi_text_encoder text;
    mgi_vt video;
    mgi_clip_vision vision;
    mgi_networks n;
} world;

static void world_make(world *w)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    *w = (world){.ctx = NULL};
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &w->memory};
    assert_int_equal(mgen_context_create(&params, &w->ctx), MGEN_OK);
    assert_int_equal(mgi_tae_init(&w->tae, w->ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&w->text, w->ctx, NULL, &text_config, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&w->video, w->ctx, &config.video), MGEN_OK);
    assert_int_equal(mgi_clip_vision_init(&w->vision, w->ctx, &vision_config), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->tae.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->text.t5.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->vision.module, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&w->video, 1), MGEN_OK);
    randomise(&w->tae.module, 0.05f);
    randomise(&w->video.module, 0.1f);
    randomise(&w->vision.module, 0.2f);
    w->n = (mgi_networks){.tae = &w->tae,
                          .text = {&w->text},
                          .video = &w->video,
                          .clip = {SIDE, SIDE, FRAMES, 16},
                          .personalizer = &config,
                          .vision = &w->vision};
    assert_int_equal(mgi_networks_check(w->ctx, &w->n), MGEN_OK);
}

static void world_free(world *w)
{
    mgi_tae_finish(&w->tae);
    mgi_text_encoder_finish(&w->text);
    mgi_vt_finish(&w->video);
    mgi_clip_vision_finish(&w->vision);
    mgen_context_destroy(w->ctx);
    assert_int_equal(w->memory.blocks, 0);
}

static const mgi_eval_request asked = {.n = CLIPS, .seed = SEED, .steps = STEPS};

/* -1: not there. */
static double entry(const mgen_report *r, const char *name)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (!strcmp(r->entry[i].name, name))
            return r->entry[i].value;
    return -1.0;
}

/* -- judging ------------------------------------------------------------------------------------- */

/* What is seen of a scene exactly as it should be, as the checker would tell it. */
static void see(const mgi_world_scene *s, mgi_person_seen *out)
{
    mgi_world_identity p;
    mgi_world_identity_of((uint32_t)s->person - 1, &p);
    *out = (mgi_person_seen){.frames = FRAMES,
                             .person = true,
                             .identity = p,
                             .expression = s->expression,
                             .shirt = s->objects[0].colour,
                             .motion = s->objects[0].motion,
                             .background = s->background};
    for (int a = 0; a < MGI_PERSON_ATTRIBUTES; a++)
        for (int v = 0; v < MGI_PERSON_VALUES; v++)
            out->film.of[a][v] = v == mgi_world_attribute_of(&p, a) ? 1.0f : 5.0f;
    for (int f = 0; f < FRAMES; f++) {
        out->seen[f] = true;
        out->frame[f] = out->film;
    }
}

static void test_judge(void **state)
{
    (void)state;
    const mgi_clip_shape clip = {64, 64, FRAMES, 16};
    static mgi_person_seen seen;
    mgi_world_scene s, other;
    uint64_t photo;
    float got[FIGURES];
    mgi_personalize_case(&clip, SEED, 0, &s, &photo);
    see(&s, &seen);
    mgi_personalize_judge(&seen, &s, 1, got);
    for (int k = 0; k < FIGURES; k++)
        assert_true(got[k] == 1.0f);
    /* all else than what the prompt asks for: only that is lost */
    other = s;
    other.expression = (s.expression + 1) % MGI_FACES;
    other.background = (s.background + 1) % MGI_WORLD_BACKGROUNDS;
    other.objects[0].colour = (s.objects[0].colour + 1) % MGI_WORLD_COLOURS;
    other.objects[0].motion = (s.objects[0].motion + 1) % MGI_WORLD_MOTIONS;
    mgi_personalize_judge(&seen, &other, 1, got);
    for (int k = 0; k < FIGURES; k++)
        assert_true(got[k] == (k < MGI_PERSONALIZE_EXPRESSION ? 1.0f : 0.0f));
    /* one frame of another person: the worst, and no longer all agree */
    int hair = seen.identity.hair;
    seen.frame[2].of[MGI_PERSON_HAIR][hair] = 5.0f;
    seen.frame[2].of[MGI_PERSON_HAIR][(hair + 1) % MGI_PERSON_HAIRS] = 0.0f;
    uint32_t number = (uint32_t)s.person - 1;
    bool near = false; /* whether the gallery has somebody whom that frame suits better */
    uint32_t gallery[MGI_PERSON_GALLERY];
    mgi_person_gallery(number, 1, gallery);
    for (int i = 1; i < MGI_PERSON_GALLERY; i++)
        near = near || mgi_person_distance(&seen.frame[2], gallery[i]) <=
                           mgi_person_distance(&seen.frame[2], number);
    mgi_personalize_judge(&seen, &s, 1, got);
    assert_true(got[MGI_PERSONALIZE_IDENTITY] == 1.0f && got[MGI_PERSONALIZE_BEST] == 1.0f);
    assert_int_equal(got[MGI_PERSONALIZE_WORST] == 1.0f, !near);
    assert_true(got[MGI_PERSONALIZE_CONSISTENCY] == 1.0f - 1.0f / FRAMES);
    /* a frame without anybody is the worst */
    see(&s, &seen);
    seen.seen[3] = false;
    mgi_personalize_judge(&seen, &s, 1, got);
    assert_true(got[MGI_PERSONALIZE_BEST] == 1.0f && got[MGI_PERSONALIZE_WORST] == 0.0f);
    /* somebody else, who shares no attribute; nobody */
    see(&s, &seen);
    for (int a = 0; a < MGI_PERSON_ATTRIBUTES; a++)
        seen.film.of[a][mgi_world_attribute_of(&seen.identity, a)] = 9.0f;
    mgi_personalize_judge(&seen, &s, 1, got);
    assert_true(got[MGI_PERSONALIZE_IDENTITY] == 0.0f && got[MGI_PERSONALIZE_SIMILARITY] == 0.0f);
    seen.person = false;
    mgi_personalize_judge(&seen, &s, 1, got);
    for (int k = 0; k < FIGURES; k++)
        assert_true(got[k] == (k == MGI_PERSONALIZE_BACKGROUND ? 1.0f : 0.0f));
}

static void test_cases(void **state)
{
    (void)state;
    const mgi_clip_shape clip = {64, 48, FRAMES, 16};
    for (int64_t i = 0; i < 60; i++) {
        mgi_world_scene s, other;
        uint64_t photo, another;
        mgi_personalize_case(&clip, SEED, i, &s, &photo);
        assert_true(s.width == 64 && s.height == 48 && s.frames == FRAMES && s.person > 0);
        assert_int_equal(s.camera, MGI_WORLD_STATIC);
        assert_true(mgi_world_identity_held_out((uint32_t)s.person - 1));
        assert_true(mgi_world_held_out(MGI_WORLD_PERSON, s.objects[0].colour, s.objects[0].motion,
                                       s.background));
        mgi_personalize_case(&clip, SEED + 1, i, &other, &another);
        assert_memory_not_equal(&s, &other, sizeof s);
        assert_true(photo != another);
    }
}

/* -- the report against films made here ---------------------------------------------------------- */

static mgen_status take(void *user, const mgi_frames_box *box, float *rgb)
{
    uint8_t *out = (uint8_t *)user + box->first * SIDE * SIDE * 3;
    for (int64_t i = 0; i < box->count * SIDE * SIDE * 3; i++) {
        double v = nearbyint((double)rgb[i] * 127.5 + 127.5);
        out[i] = (uint8_t)(v < 0.0 ? 0.0 : v > 255.0 ? 255.0 : v);
    }
    return MGEN_OK;
}

static void made(world *w, int64_t i, const mgi_world_scene *s, const mgi_photo *photo,
                 uint8_t *out)
{
    char text[MGI_WORLD_CAPTION_MAX];
    const char *prompt = text;
    const uint64_t seed = SEED + (uint64_t)i;
    mgi_networks n = w->n;
    const mgi_generate_request g = {.prompts = &prompt,
                                    .count = 1,
                                    .seeds = &seed,
                                    .steps = STEPS,
                                    .photos = photo,
                                    .sink = take,
                                    .user = out};
    n.clip.fps = s->fps;
    mgi_world_caption(s, 0, text);
    if (mgi_generate(w->ctx, &n, &g) != MGEN_OK)
        fail_msg("%s", mgen_last_error(w->ctx));
}

static void test_protocol(void **state)
{
    (void)state;
    static const char *const ways[3] = {"", "unseen_", "ceiling_"};
    static const char *const figures[FIGURES] = {"identity",   "identity_best", "identity_worst",
                                                 "similarity", "consistency",   "expression",
                                                 "shirt",      "motion",        "background"};
    static uint8_t film[BYTES], face[16 * 16 * 3];
    static mgi_person_seen seen;
    double sum[3][FIGURES] = {{0}};
    world w;
    mgen_report *report;
    world_make(&w);
    assert_int_equal(mgi_report_create(w.ctx, &report), MGEN_OK);
    if (mgi_eval_personalize(w.ctx, &w.n, &asked, report) != MGEN_OK)
        fail_msg("%s", mgen_last_error(w.ctx));
    for (int64_t i = 0; i < CLIPS; i++) {
        const mgi_photo photo = {face, 16, 16};
        mgi_world_scene s;
        uint64_t drawn;
        mgi_personalize_case(&w.n.clip, SEED, i, &s, &drawn);
        mgi_world_photo(&s, drawn, true, 16, face);
        for (int way = 0; way < 3; way++) {
            float got[FIGURES];
            if (way < 2) {
                made(&w, i, &s, way ? NULL : &photo, film);
            } else {
                mgi_world_draw(&s, SIDE, SIDE, 0, FRAMES, film);
                assert_int_equal(
                    mgi_eval_reconstruct(w.ctx, &w.tae, FRAMES, SIDE, SIDE, film, film), MGEN_OK);
            }
            assert_int_equal(mgi_person_check(w.ctx, film, SIDE, SIDE, FRAMES, s.fps, &seen),
                             MGEN_OK);
            mgi_personalize_judge(&seen, &s, (uint64_t)i, got);
            for (int k = 0; k < FIGURES; k++)
                sum[way][k] += got[k] / (double)CLIPS;
        }
    }
    assert_int_equal(report->count, 3 * FIGURES + MGI_PERSONALIZE_CONSISTENCY);
    for (int way = 0; way < 3; way++)
        for (int k = 0; k < FIGURES; k++) {
            char name[64];
            snprintf(name, sizeof name, "%s%s", ways[way], figures[k]);
            if (!(fabs(entry(report, name) - sum[way][k]) < 1e-6))
                fail_msg("%s is %g, not %g", name, entry(report, name), sum[way][k]);
        }
    assert_true(entry(report, "control_identity") >= 0.0);
    assert_true(entry(report, "control_shirt") == -1.0);
    mgen_report_destroy(report);
    world_free(&w);
}

/* -- ends ---------------------------------------------------------------------------------------- */

static bool stop(void *user, int done, int total)
{
    assert_int_equal(total, CLIPS);
    return ++*(int *)user == 1 && done == 1;
}

static void test_ends(void **state)
{
    static const mgi_clip_shape shapes[] = {
        {46, 48, 8, 16}, {48, 0, 8, 16}, {48, 214, 8, 16}, {48, 48, 1, 16}, {48, 48, 65, 16}};
    (void)state;
    world w;
    int calls = 0;
    mgi_eval_request r = asked;
    mgen_status status = MGEN_E_NO_MEMORY;
    world_make(&w);
    r.progress = stop;
    r.user = &calls;
    assert_int_equal(mgi_eval_personalize(w.ctx, &w.n, &r, NULL), MGEN_E_CANCELLED);
    assert_int_equal(calls, 1);
    const mgi_clip_shape clip = w.n.clip;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        w.n.clip = shapes[i];
        assert_int_equal(mgi_eval_personalize(w.ctx, &w.n, &asked, NULL), MGEN_E_STATE);
        assert_non_null(strstr(mgen_last_error(w.ctx), "even sides of at least 48"));
    }
    /* whatever allocation of the protocol itself fails, nothing stays */
    w.n.clip = clip;
    mgi_device_trim(w.ctx->device);
    int64_t before = w.memory.blocks;
    for (int k = 1; k <= 3; k++) {
        w.memory.calls = 0;
        w.memory.fail_at = k;
        status = mgi_eval_personalize(w.ctx, &w.n, &asked, NULL);
        w.memory.fail_at = 0;
        assert_int_equal(status, MGEN_E_NO_MEMORY);
        mgi_device_trim(w.ctx->device);
        assert_int_equal(w.memory.blocks, before);
    }
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_protocol),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
