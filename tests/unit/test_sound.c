/* SPDX-License-Identifier: MIT
 * Sound for a film: what a request makes is what a loop of the networks by themselves makes, written out here; windows, sound that
 * is there already, candidates; what is refused, and how much memory it needs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "flow/windows.h"
#include "task/film_features.h"
#include "tensor/device_cuda.h"
#include "tiny_audio.h"

enum { HOP = 6, C = 3, F = 5, SIDE = 10, FRAMES = 7, MOST = 40, SAMPLES = MOST * HOP };
#define FPS 9.0

static mgen_context *ctx;
static mgi_audio audio;

static mgen_context *context_on(const char *device)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *c;
    params.threads = 2;
    params.device = device;
    assert_int_equal(mgen_context_create(&params, &c), MGEN_OK);
    return c;
}

/* A film without end, each of whose pixels is another. */
static mgen_status film(void *user, int64_t first, int64_t count, float *rgb)
{
    (void)user;
    for (int64_t i = 0; i < count * SIDE * SIDE * 3; i++)
        rgb[i] = sinf((float)(first * SIDE * SIDE * 3 + i) * 0.37f);
    return MGEN_OK;
}

typedef struct heard {
    float samples[SAMPLES];
    int64_t count;
    int steps, total, stop;
} heard;

static mgen_status take(void *user, int64_t first, int64_t count, const float *samples)
{
    heard *h = user;
    assert_int_equal(first, h->count);
    assert_true(first + count <= SAMPLES);
    memcpy(h->samples + first, samples, (size_t)count * sizeof *samples);
    h->count += count;
    return MGEN_OK;
}

static bool progress(void *user, int done, int total)
{
    heard *h = user;
    h->total = total;
    assert_int_equal(done, ++h->steps);
    return h->stop && done >= h->stop;
}

static mgi_sound_request request(int64_t latents, heard *out)
{
    *out = (heard){.count = 0};
    return (mgi_sound_request){.caption = "a ball",
                               .negative = "hiss",
                               .seed = 7,
                               .steps = 3,
                               .schedule = MGI_SCHEDULE_LINEAR,
                               .samples = latents * HOP - 1,
                               .source = film,
                               .film = {FRAMES, SIDE, SIDE},
                               .fps = FPS,
                               .progress = progress,
                               .sink = take,
                               .user = out};
}

static void make(const mgi_sound_request *r)
{
    if (mgi_sound_make(ctx, &audio, r) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
}

/* -- the loop ----------------------------------------------------------------------------------- */

typedef struct known {
    int64_t before, latents;
    float features[MOST * F], condition[MOST * C];
} known;

static void know(const mgi_sound_request *r, known *k)
{
    float frames[FRAMES * F];
    memset(k, 0, sizeof *k);
    k->before = r->before ? r->before_count / HOP : 0;
    k->before = k->before < 3 ? k->before : 3;
    k->latents = k->before + (r->samples + HOP - 1) / HOP;
    if (r->source) {
        assert_int_equal(mgi_film_features(ctx, &audio.vision, r->film, film, NULL, frames),
                         MGEN_OK);
        for (int64_t i = k->before; i < k->latents; i++) {
            int64_t at = (int64_t)(((double)(i - k->before) + 0.5) / 25.0 * FPS);
            at = at < FRAMES ? at : FRAMES - 1;
            memcpy(k->features + i * F, frames + at * F, F * sizeof *frames);
        }
    }
    if (k->before) {
        mgi_run run;
        mgi_run_init(&run, ctx, false);
        const int64_t count = k->before * HOP;
        T *x = mgi_new(&run, MGK_F32, MGI_DIMS(1, count, 1));
        memcpy(mgi_f32(x), r->before + r->before_count - count, (size_t)count * sizeof(float));
        T *z = mgi_posterior(&run, mgi_audio_codec_encode(&run, &audio.codec, x), NULL, 0.0f, NULL);
        assert_int_equal(mgi_audio_codec_normalised(&audio.codec, z, k->condition), MGEN_OK);
        mgi_run_finish(&run);
    }
}

/* The velocity of one window, of one row: all that is known, or nothing. */
static void velocity(const mgi_sound_request *r, const known *k, const float *x, float time,
                     int64_t first, int64_t length, bool all, float *out)
{
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    const mgi_text_encoder *const text[MGI_ROLES] = {&audio.text};
    const char *captions[] = {all ? r->caption : r->negative ? r->negative : ""};
    int64_t tokens[MGI_ROLES];
    mgi_vt_text seen;
    mgi_text_streams(&run, text, 0, captions, 1, tokens, &seen);
    T *z = mgi_new(&run, MGK_F32, MGI_DIMS(1, length, 1, 1, C));
    seen.condition = mgi_new(&run, MGK_F32, MGI_DIMS(1, length, 1, 1, C));
    seen.features = mgi_new(&run, MGK_F32, MGI_DIMS(1, length, F));
    memcpy(mgi_f32(z), x + first * C, (size_t)(length * C) * sizeof *x);
    mgi_fill(&run, seen.condition, 0.0f);
    mgi_fill(&run, seen.features, 0.0f);
    if (all) {
        memcpy(mgi_f32(seen.condition), k->condition + first * C,
               (size_t)(length * C) * sizeof(float));
        memcpy(mgi_f32(seen.features), k->features + first * F,
               (size_t)(length * F) * sizeof(float));
    }
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(1));
    mgi_fill(&run, t, time);
    T *u = mgi_vt_velocity(&run, &audio.transformer, z, t, &seen);
    assert_non_null(u);
    memcpy(out, mgi_f32(u), (size_t)(length * C) * sizeof *out);
    mgi_run_finish(&run);
}

/* Euler's steps, from 0 to 1 evenly, of the request's candidate. */
static void define(const mgi_sound_request *r, int candidate, float *z, known *k)
{
    know(r, k);
    const int64_t n = k->latents * C;
    mgi_windows w = mgi_windows_make(k->latents, 8, 3);
    const float scale = r->guidance > 0.0f ? r->guidance : 3.0f;
    float total[MOST * C], u[MOST * C], v[MOST * C];
    for (int64_t i = 0; i < n; i++)
        z[i] =
            mgi_random_normal(r->seed + ((uint64_t)candidate << 48), MGI_STREAM_NOISE, (uint64_t)i);
    for (int step = 0; step < r->steps; step++) {
        const float time = (float)step / (float)r->steps;
        const float g = w.count > 1 ? 2.0f * scale * time : scale;
        memset(total, 0, sizeof total);
        for (int64_t i = 0; i < w.count; i++) {
            const int64_t first = mgi_window_first(&w, i);
            velocity(r, k, z, time, first, w.length, true, u);
            velocity(r, k, z, time, first, w.length, false, v);
            for (int64_t j = 0; j < w.length * C; j++)
                total[first * C + j] += mgi_window_share(&w, i, first + j / C) *
                                        (scale == 1.0f ? u[j] : v[j] + g * (u[j] - v[j]));
        }
        for (int64_t i = 0; i < n; i++)
            z[i] += total[i] / (float)r->steps;
    }
}

/* The same window by window: each hears what it shares with the one before, and is drawn to the path that that took. */
static void define_one_by_one(const mgi_sound_request *r, float *all, known *k)
{
    enum { L = 8, STEPS = 4 };
    know(r, k);
    mgi_windows w = mgi_windows_make(k->latents, L, 3);
    float path[STEPS][L * C] = {{0.0f}}, taken[STEPS][L * C], z[L * C], u[L * C], v[L * C];
    for (int64_t i = 0, end = 0; i < w.count; i++) {
        const int64_t first = mgi_window_first(&w, i), shared = i ? end - first : 0;
        memcpy(k->condition + first * C, all + first * C, (size_t)(shared * C) * sizeof *all);
        for (int64_t j = 0; j < L * C; j++)
            z[j] = mgi_random_normal(r->seed, MGI_STREAM_NOISE, (uint64_t)(first * C + j));
        for (int step = 0; step < r->steps; step++) {
            const float time = (float)step / (float)r->steps, g = 2.0f * 3.0f * time;
            /* velocity() reads points of all latents */
            memcpy(all + first * C, z, sizeof z);
            velocity(r, k, all, time, first, L, true, u);
            velocity(r, k, all, time, first, L, false, v);
            for (int64_t j = 0; j < L * C; j++)
                z[j] += (v[j] + g * (u[j] - v[j])) / (float)r->steps;
            for (int64_t j = 0; j < shared * C; j++) {
                const float own = (float)(j / C) / (float)shared;
                z[j] = own * z[j] + (1.0f - own) * path[step][(L - shared) * C + j];
            }
            memcpy(taken[step], z, sizeof z);
        }
        memcpy(path, taken, sizeof path);
        memcpy(all + first * C, z, sizeof z);
        end = first + L;
    }
}

static void assert_made(const mgi_sound_request *r, const heard *h, int candidate)
{
    float z[MOST * C];
    known k;
    if (r->extension == MGI_SOUND_ONE_BY_ONE)
        define_one_by_one(r, z, &k);
    else
        define(r, candidate, z, &k);
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    T *y = mgi_audio_codec_decode(&run, &audio.codec,
                                  mgi_audio_codec_latents(&run, &audio.codec, z, k.latents));
    assert_non_null(y);
    assert_int_equal(h->count, r->samples);
    double far = 0.0, most = 0.0;
    for (int64_t i = 0; i < r->samples; i++) {
        const double want = (double)mgi_f32(y)[k.before * HOP + i];
        far = fmax(far, fabs(want - (double)h->samples[i]));
        most = fmax(most, fabs(want));
    }
    mgi_run_finish(&run);
    if (!(far < 2e-5 * most))
        fail_msg("%g apart of %g", far, most);
}

static void test_loop(void **state)
{
    static const int64_t lengths[] = {1, 5, 8, 9, 21, 33};
    heard h;
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        mgi_sound_request r = request(lengths[i], &h);
        make(&r);
        assert_int_equal(h.steps, 3);
        assert_int_equal(h.total, 3);
        assert_made(&r, &h, 0);
    }
    mgi_sound_request r = request(8, &h);
    r.guidance = 1.0f;
    make(&r);
    assert_made(&r, &h, 0);
    r = request(8, &h); /* without a film, and with a negative that says nothing */
    r.source = NULL;
    r.negative = NULL;
    make(&r);
    assert_made(&r, &h, 0);
}

/* What stands before is heard, its last part, and goes on. */
static void test_before(void **state)
{
    static const int64_t counts[] = {HOP - 1, HOP, 2 * HOP + 3, 50 * HOP};
    float before[50 * HOP];
    heard h, other;
    (void)state;
    for (int i = 0; i < 50 * HOP; i++)
        before[i] = 0.3f * sinf((float)i * 0.7f);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (int64_t latents = 4; latents <= 16; latents += 12) {
            mgi_sound_request r = request(latents, &h);
            r.before = before;
            r.before_count = counts[i];
            make(&r);
            assert_made(&r, &h, 0);
            r = request(latents, &other);
            make(&r);
            if (counts[i] >= HOP)
                assert_memory_not_equal(h.samples, other.samples, 3 * HOP * sizeof(float));
            else
                assert_memory_equal(h.samples, other.samples, (size_t)h.count * sizeof(float));
        }
}

static void test_one_by_one(void **state)
{
    static const int64_t lengths[] = {9, 13, 14, 33};
    float before[4 * HOP];
    heard h, other;
    (void)state;
    for (int i = 0; i < 4 * HOP; i++)
        before[i] = 0.3f * sinf((float)i * 0.7f);
    for (int i = 0; i < 8; i++) {
        mgi_sound_request r = request(lengths[i / 2], &h);
        r.extension = MGI_SOUND_ONE_BY_ONE;
        r.before = i % 2 ? before : NULL;
        r.before_count = i % 2 ? 4 * HOP : 0;
        make(&r);
        assert_int_equal(h.steps, h.total);
        assert_int_equal(h.total,
                         3 * mgi_windows_make(lengths[i / 2] + (i % 2 ? 3 : 0), 8, 3).count);
        assert_made(&r, &h, 0);
    }
    mgi_sound_request r = request(8, &h), s = request(8, &other); /* in one window it is the same */
    r.extension = MGI_SOUND_ONE_BY_ONE;
    make(&r);
    make(&s);
    assert_memory_equal(h.samples, other.samples, (size_t)h.count * sizeof(float));
    r = request(20, &h); /* candidates of each window */
    r.extension = MGI_SOUND_ONE_BY_ONE;
    r.candidates = 2;
    make(&r);
    assert_int_equal(h.steps, 3 * 2 * mgi_windows_make(20, 8, 3).count);
}

/* One of them is taken, whole: not always the first, and with one it is that. */
static void test_candidates(void **state)
{
    heard h, one;
    int taken[3] = {0};
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        mgi_sound_request r = request(9, &h);
        r.seed = seed;
        r.candidates = 3;
        make(&r);
        assert_int_equal(h.steps, 9);
        assert_int_equal(h.total, 9);
        int same = 0;
        for (int i = 0; i < 3; i++) {
            mgi_sound_request single = request(9, &one);
            single.seed = seed + ((uint64_t)i << 48);
            make(&single);
            if (memcmp(one.samples, h.samples, (size_t)h.count * sizeof(float)))
                continue;
            same++;
            taken[i]++;
        }
        assert_int_equal(same, 1);
    }
    assert_true(taken[0] < 6);
}

/* Longer than the model's window: what does not see it is as before. The seed alone says what comes. */
static void test_seeds(void **state)
{
    heard a, b;
    (void)state;
    mgi_sound_request r = request(20, &a), s = request(20, &b);
    make(&r);
    make(&s);
    assert_memory_equal(a.samples, b.samples, (size_t)a.count * sizeof(float));
    s = request(20, &b);
    s.seed = 8;
    make(&s);
    assert_memory_not_equal(a.samples, b.samples, (size_t)a.count * sizeof(float));
}

static void test_refused(void **state)
{
    heard h;
    mgi_audio blind = audio;
    (void)state;
    mgi_sound_request r = request(8, &h);
    r.samples = 0;
    assert_int_equal(mgi_sound_make(ctx, &audio, &r), MGEN_E_INVALID);
    r = request(8, &h);
    r.steps = 0;
    assert_int_equal(mgi_sound_make(ctx, &audio, &r), MGEN_E_INVALID);
    r = request(8, &h);
    r.fps = 0.0;
    assert_int_equal(mgi_sound_make(ctx, &audio, &r), MGEN_E_INVALID);
    r = request(8, &h);
    r.candidates = 65;
    assert_int_equal(mgi_sound_make(ctx, &audio, &r), MGEN_E_INVALID);
    r = request(20, &h);
    r.extension = MGI_SOUND_ONE_BY_ONE;
    r.solver = MGI_SOLVER_DOPRI5;
    assert_int_equal(mgi_sound_make(ctx, &audio, &r), MGEN_E_INVALID);
    r.extension = 2;
    assert_int_equal(mgi_sound_make(ctx, &audio, &r), MGEN_E_INVALID);
    blind.config.vision[0] = '\0';
    r = request(8, &h);
    assert_int_equal(mgi_sound_make(ctx, &blind, &r), MGEN_E_UNSUPPORTED);
    assert_non_null(strstr(mgen_last_error(ctx), "sees no films"));
    r = request(8, &h);
    h.stop = 2;
    assert_int_equal(mgi_sound_make(ctx, &audio, &r), MGEN_E_CANCELLED);
    assert_int_equal(h.steps, 2);
    assert_int_equal(h.count, 0);
    float *damaged = mgi_f32(audio.transformer.head->value), before = *damaged;
    *damaged = NAN;
    r = request(8, &h);
    assert_int_equal(mgi_sound_make(ctx, &audio, &r), MGEN_E_NUMERIC);
    *damaged = before;
}

/* No more than an estimate says, and not much less. */
static void test_estimate(void **state)
{
    static const int64_t lengths[] = {4, 8, 36};
    heard h;
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (int before = 0; before < 2; before++) {
            float earlier[4 * HOP] = {0.1f};
            mgi_generate_needs needs;
            uint64_t now, peak;
            mgi_sound_request r = request(lengths[i], &h);
            r.before = before ? earlier : NULL;
            r.before_count = before ? 4 * HOP : 0;
            r.candidates = before ? 2 : 0;
            r.extension = before;
            assert_int_equal(mgi_sound_estimate(ctx, &audio, &r, &needs), MGEN_OK);
            assert_int_equal(h.steps, 0);
            mgen_context_trim(ctx);
            mgen_context_memory(ctx, &now, NULL);
            atomic_store(&ctx->heap->peak, now);
            make(&r);
            mgen_context_memory(ctx, NULL, &peak);
            /* what the meta device keeps for itself is counted, too */
            if (peak - now > needs.host_bytes || needs.host_bytes > peak - now + 200000)
                fail_msg("%d latents: %llu bytes of %llu", (int)lengths[i],
                         (unsigned long long)(peak - now), (unsigned long long)needs.host_bytes);
            assert_true(needs.flops > 0.0);
        }
}

/* On a GPU what it is on the processor, windows, sound before, candidates and all. */
static void test_gpu(void **state)
{
    float before[4 * HOP] = {0.2f, -0.1f};
    mgen_context *cpu = ctx;
    mgi_audio own = audio;
    heard h[2];
    (void)state;
    if (mgi_cuda_count(NULL, 0) == 0)
        skip();
    for (int way = 0; way < 2; way++) {
        for (int i = 0; i < 2; i++) {
            mgi_sound_request r = request(20, &h[i]);
            r.before = before;
            r.before_count = 4 * HOP;
            r.extension = way;
            r.candidates = 2;
            if (i) {
                ctx = context_on("cuda:0");
                make_audio_like(&audio, ctx, &own);
            }
            make(&r);
        }
        double far = 0.0, most = 0.0;
        for (int64_t i = 0; i < h[0].count; i++) {
            far = fmax(far, fabs((double)h[0].samples[i] - (double)h[1].samples[i]));
            most = fmax(most, fabs((double)h[0].samples[i]));
        }
        mgi_audio_finish(&audio);
        mgen_context_destroy(ctx);
        audio = own;
        ctx = cpu;
        assert_int_equal(h[0].count, h[1].count);
        assert_true(most > 0.01 && far < 1e-3 * most);
    }
}

static int begin(void **state)
{
    (void)state;
    ctx = context_on("cpu");
    make_audio(&audio, ctx);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mgi_audio_finish(&audio);
    mgen_context_destroy(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop),       cmocka_unit_test(test_before),
        cmocka_unit_test(test_one_by_one), cmocka_unit_test(test_candidates),
        cmocka_unit_test(test_seeds),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_estimate),   cmocka_unit_test(test_gpu),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
