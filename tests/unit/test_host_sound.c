/* SPDX-License-Identifier: MIT
 * The sound of samples that the host reads: in step with their pictures at any rate, silent behind its end; what is kept of it,
 * what it is told as, what is refused; and what an audio model's clips are of it, on several ranks too. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "failing_memory.h"
#include "one_context.h"
#include "onsets.h"
#include "text/audio_caption.h"
#include "text/byte_tokenizer.h"

/* What the callback does; sample k is heard k * 0.01 s later. */
typedef struct host {
    int fps, calls, released;
    double onset;
    mgen_status status;
    const char *caption, *sound_caption;
    int64_t bad_at; /* this sample of the sound is `bad`; -1: none */
    float bad;
    bool endless; /* the sound's caption does not end */
} host;

static mgen_status draw(void *user, uint64_t index, mgen_sample *s)
{
    host *h = user;
    const double onset = h->onset + 0.01 * (double)index;
    h->calls++;
    assert_int_equal(s->struct_size, sizeof *s);
    light_up(s->pixels, (int)s->frames, h->fps, onset);
    snprintf(s->caption, s->caption_size, "%s", h->caption);
    if (!s->sound) {
        assert_true(!s->sound_caption && s->sound_samples == 0);
        return h->status;
    }
    assert_string_equal(s->sound_caption, "");
    for (uint64_t i = 0; i < s->sound_samples; i++) {
        assert_true(s->sound[i] == 0.0f);
        s->sound[i] = (float)tone((double)i / RATE, onset);
    }
    if (h->bad_at >= 0)
        s->sound[h->bad_at] = h->bad;
    snprintf(s->sound_caption, s->caption_size, "%s", h->sound_caption);
    if (h->endless)
        memset(s->sound_caption, 'x', s->caption_size);
    return h->status;
}

static void released(void *user)
{
    ((host *)user)->released++;
}

static host make_host(int fps, double onset)
{
    return (host){.fps = fps, .onset = onset, .caption = "", .sound_caption = "", .bad_at = -1};
}

static mgen_dataset_params params_of(host *h, uint32_t frames, uint64_t sound)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = p.height = SIDE;
    p.frames = frames;
    p.count = 4;
    p.read = draw;
    p.released = released;
    p.user = h;
    p.fps = (uint32_t)h->fps;
    p.sound_samples = sound;
    return p;
}

static mgi_dataset *make_dataset(host *h, uint32_t frames, uint64_t sound)
{
    const mgen_dataset_params p = params_of(h, frames, sound);
    mgi_dataset *ds;
    OK(mgi_dataset_host(ctx, &p, &ds));
    return ds;
}

/* ---- sound and pictures --------------------------------------------------------------------------- */

static void test_in_step(void **state)
{
    static const int rates[] = {8, 16, 25, 60, 240};
    (void)state;
    for (int k = 0; k < 5; k++) {
        host h = make_host(rates[k], 0.25);
        mgi_dataset *ds = make_dataset(&h, (uint32_t)rates[k] / 2 + 1, RATE / 2);
        assert_int_equal(mgi_dataset_sound_fps(ds, 2), rates[k]);
        assert_int_equal(mgi_dataset_held_sound_fps(ds, 0), rates[k]);
        for (int fps = 8; fps <= 32; fps *= 2)
            for (uint64_t i = 0; i < 4; i++)
                assert_onsets(ds, i, rates[k], fps, 0.25 + 0.01 * (double)i);
        mgi_dataset_release(ds);
        assert_int_equal(h.released, 1);
    }
}

/* At a clip's own rate, its frames; at half of it, every other one; at twice it, each two times. */
static void test_seen(void **state)
{
    uint8_t own[FRAMES * FRAME], seen[FRAMES * FRAME];
    host h = make_host(16, 0.2);
    (void)state;
    mgi_dataset *ds = make_dataset(&h, 8, RATE / 2), *same;
    OK(mgi_dataset_piece(ctx, ds, 0, 0, 8, own, NULL));
    OK(mgi_dataset_watch(ctx, ds, 0, 16.0, 8, seen));
    assert_memory_equal(own, seen, 8 * FRAME);
    OK(mgi_dataset_watch(ctx, ds, 0, 32.0, 16, seen));
    for (int i = 0; i < 16; i++)
        assert_memory_equal(own + i / 2 * FRAME, seen + i * FRAME, FRAME);
    OK(mgi_dataset_watch(ctx, ds, 0, 8.0, 4, seen));
    for (int i = 0; i < 4; i++)
        assert_memory_equal(own + (2 * i + 1) * FRAME, seen + i * FRAME, FRAME);
    /* the last of four is the one that is held out */
    OK(mgi_dataset_watch(ctx, ds, 3, 16.0, 8, own));
    OK(mgi_dataset_held_watch(ctx, ds, 0, 16.0, 8, seen));
    assert_memory_equal(own, seen, 8 * FRAME);
    assert_said(mgi_dataset_watch(ctx, ds, 1, 16.0, 9, seen), MGEN_E_INVALID,
                "samples of 8 frames, 16 a second, end before the 9 that are seen in 0.5625 s");
    assert_said(mgi_dataset_watch(ctx, ds, 4, 16.0, 1, seen), MGEN_E_INVALID, "there are 4");
    /* as long as it must be for so much of a stage's time */
    OK(mgi_dataset_sound_sized(ctx, ds, 16, 32, &same));
    assert_ptr_equal(same, ds);
    mgi_dataset_release(same);
    assert_said(mgi_dataset_sound_sized(ctx, ds, 17, 32, &same), MGEN_E_INVALID,
                "make them longer");
    assert_null(same);
    mgi_dataset_release(ds);
}

/* ---- what is heard, and what is kept of it -------------------------------------------------------- */

static void test_samples(void **state)
{
    enum { PIECE = 6000 };
    static float x[PIECE];
    int64_t length;
    host h = make_host(16, -0.1);
    (void)state;
    mgi_dataset *ds = make_dataset(&h, 4, RATE / 4);
    assert_true(mgi_dataset_sounds(ds));
    OK(mgi_dataset_sound_length(ctx, ds, 0, &length));
    assert_int_equal(length, RATE / 4);
    assert_int_equal(h.calls, 0); /* that is known without reading any */
    OK(mgi_dataset_hear(ctx, ds, 0, 1000, PIECE, x));
    for (int i = 0; i < PIECE; i++)
        assert_true(x[i] == (float)tone((1000.0 + i) / RATE, -0.1));
    OK(mgi_dataset_hear(ctx, ds, 0, 9000, PIECE, x));
    for (int i = 0; i < PIECE; i++)
        assert_true(x[i] == (i < 3000 ? (float)tone((9000.0 + i) / RATE, -0.1) : 0.0f));
    OK(mgi_dataset_hear(ctx, ds, 0, INT64_C(1) << 39, PIECE, x));
    for (int i = 0; i < PIECE; i++)
        assert_true(x[i] == 0.0f);
    assert_int_equal(h.calls, 1);
    OK(mgi_dataset_held_hear(ctx, ds, 0, 0, 10, x));
    assert_true(x[5] == (float)tone(5.0 / RATE, -0.1 + 0.01 * 3.0));
    assert_said(mgi_dataset_hear(ctx, ds, 4, 0, PIECE, x), MGEN_E_INVALID, "sample 4");
    assert_said(mgi_dataset_hear(ctx, ds, 0, -1, PIECE, x), MGEN_E_INVALID, "from -1 on");
    h.status = MGEN_E_IO;
    assert_said(mgi_dataset_hear(ctx, ds, 2, 0, PIECE, x), MGEN_E_IO, "sample 2");
    h.status = MGEN_OK;
    OK(mgi_dataset_hear(ctx, ds, 2, 0, PIECE, x)); /* what failed is asked for again */
    mgi_dataset_release(ds);
}

/* There is room for two: what was not heard for the longest time is read again. */
static void test_kept(void **state)
{
    enum { BYTES = RATE / 2 * sizeof(float) };
    float x[10];
    host h = make_host(16, 0.0);
    const uint64_t limit = ctx->heap->max;
    (void)state;
    mgi_dataset *ds = make_dataset(&h, 4, RATE / 2);
    const uint64_t before = ctx->heap->now;
    ctx->heap->max = 10 * BYTES; /* of which a quarter is for sounds */
    assert_true(before + 4 * BYTES < ctx->heap->max);
    OK(mgi_dataset_hear(ctx, ds, 0, 0, 10, x));
    OK(mgi_dataset_hear(ctx, ds, 1, 0, 10, x));
    OK(mgi_dataset_hear(ctx, ds, 0, 50, 10, x));
    assert_int_equal(h.calls, 2);
    OK(mgi_dataset_hear(ctx, ds, 2, 0, 10, x));
    assert_int_equal(h.calls, 3);
    OK(mgi_dataset_hear(ctx, ds, 0, 50, 10, x));
    OK(mgi_dataset_hear(ctx, ds, 2, 50, 10, x));
    assert_int_equal(h.calls, 3);
    OK(mgi_dataset_hear(ctx, ds, 1, 50, 10, x));
    assert_int_equal(h.calls, 4);
    assert_in_range(ctx->heap->now - before, 2 * BYTES, 2 * BYTES + 4096);
    ctx->heap->max = limit;
    mgi_dataset_release(ds);
    assert_true(ctx->heap->now < before);
}

/* ---- what is told --------------------------------------------------------------------------------- */

static void test_told(void **state)
{
    char caption[MGI_CAPTION_SIZE], want[MGI_CAPTION_SIZE], text[MGI_CAPTION_SIZE];
    mgi_audio_words words = {.quality = 7.0f, .description = "a 'red' ball"};
    size_t bad;
    host h = make_host(16, 0.0);
    (void)state;
    mgi_dataset *ds = make_dataset(&h, 4, 100);
    assert_true(mgi_dataset_sound_unknown(ds));
    h.caption = "what is seen";
    h.sound_caption = "This audio is loud.";
    OK(mgi_dataset_sound_told(ctx, ds, 0, caption));
    assert_string_equal(caption, "This audio is loud.");
    h.sound_caption = "";
    OK(mgi_dataset_sound_told(ctx, ds, 0, caption)); /* it is kept with the sound */
    assert_string_equal(caption, "This audio is loud.");
    mgi_dataset_sound_caption(ds, 0, 0, caption);
    assert_string_equal(caption, "");
    h.caption = "a \"red\" ball";
    OK(mgi_dataset_sound_told(ctx, ds, 1, caption));
    mgi_audio_caption(&words, want, sizeof want);
    assert_string_equal(caption, want);
    for (int i = 0; i < MGI_CAPTION_SIZE - 3; i += 2)
        memcpy(text + i, "\xC3\xA4", 3);
    h.caption = text;
    OK(mgi_dataset_held_sound_told(ctx, ds, 0, caption));
    assert_true(mgi_utf8_valid(caption, strlen(caption), &bad));
    assert_in_range(strlen(caption), MGI_CAPTION_SIZE - 2, MGI_CAPTION_SIZE - 1);
    h.caption = "";
    h.endless = true;
    assert_said(mgi_dataset_sound_told(ctx, ds, 2, caption), MGEN_E_INVALID,
                "sample 2: its sound_caption does not end");
    assert_string_equal(caption, "");
    h.endless = false;
    h.sound_caption = "\xC3(";
    assert_said(mgi_dataset_sound_told(ctx, ds, 2, caption), MGEN_E_INVALID,
                "sample 2: its sound_caption is no UTF-8");
    assert_said(mgi_dataset_sound_told(ctx, ds, 4, caption), MGEN_E_INVALID, "sample 4");
    mgi_dataset_release(ds);
}

/* ---- what is refused ------------------------------------------------------------------------------ */

static void test_bad_sounds(void **state)
{
    static const struct {
        float value;
        const char *said;
    } kinds[] = {{NAN, "nan at 17 of 100"},
                 {INFINITY, "inf at 17 of 100"},
                 {-1.5f, "-1.5 at 17 of 100"},
                 {1.0001f, "sounds are of -1 to 1"}};
    uint8_t pixels[4 * FRAME];
    float x[10];
    host h = make_host(16, 0.0);
    (void)state;
    mgi_dataset *ds = make_dataset(&h, 4, 100);
    h.bad_at = 17;
    for (int i = 0; i < 4; i++) {
        h.bad = kinds[i].value;
        assert_said(mgi_dataset_hear(ctx, ds, 2, 0, 10, x), MGEN_E_INVALID, kinds[i].said);
        assert_non_null(strstr(mgen_last_error(ctx), "sample 2: its sound is "));
        assert_said(mgi_dataset_sample(ctx, ds, 2, pixels, NULL), MGEN_E_INVALID, kinds[i].said);
    }
    for (int sign = -1; sign <= 1; sign += 2) {
        h.bad = (float)sign;
        h.bad_at = 0;
        OK(mgi_dataset_sample(ctx, ds, 2, pixels, NULL));
        OK(mgi_dataset_hear(ctx, ds, sign + 1 ? 1 : 0, 0, 10, x));
        assert_true(x[0] == h.bad);
    }
    mgi_dataset_release(ds);
}

static void test_params(void **state)
{
    host h = make_host(16, 0.0);
    mgi_dataset *ds;
    (void)state;
    for (int i = 0; i < 3; i++) {
        static const char *const said[] = {"fps is 241", "sound_samples is 2147483648",
                                           "sound_samples is 18446744073709551615"};
        mgen_dataset_params p = params_of(&h, 4, 100);
        p.fps = i == 0 ? 241 : 16;
        p.sound_samples = i == 0 ? 0 : i == 1 ? UINT64_C(1) << 31 : UINT64_MAX;
        assert_said(mgi_dataset_host(ctx, &p, &ds), MGEN_E_INVALID, said[i]);
        assert_null(ds);
        p = (mgen_dataset_params){
            .struct_size = sizeof p, .width = SIDE, .height = SIDE, .frames = 4};
        p.fps = i == 0 ? 16 : 0;
        p.sound_samples = i == 1 ? 1 : 0;
        if (i < 2)
            assert_said(mgi_dataset_folder(ctx, "/nowhere", &p, &ds), MGEN_E_INVALID,
                        "fps and sound_samples must be 0");
        assert_null(ds);
    }
    assert_int_equal(h.released, 0);
    h.fps = 0; /* what clips are taken to have */
    ds = make_dataset(&h, 4, 0);
    assert_int_equal(mgi_dataset_sound_fps(ds, 0), 16);
    mgi_dataset_release(ds);
    /* more than memory holds is an error when it is read, not before */
    const uint64_t limit = ctx->heap->max;
    float x[10];
    ds = make_dataset(&h, 4, INT32_MAX);
    ctx->heap->max = ctx->heap->now + (64 << 20);
    mgen_status status = mgi_dataset_hear(ctx, ds, 0, 0, 10, x);
    ctx->heap->max = limit;
    assert_int_equal(status, MGEN_E_LIMIT);
    assert_int_equal(h.calls, 0);
    mgi_dataset_release(ds);
}

/* Each allocation fails, of making such a dataset and of reading it; nothing is left behind. */
static void test_no_memory(void **state)
{
    failing memory = {0};
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *other;
    mgen_status status = MGEN_E_NO_MEMORY;
    uint8_t pixels[4 * FRAME];
    char caption[MGI_CAPTION_SIZE];
    host h = make_host(16, 0.0);
    int failures = 0, made = 0;
    (void)state;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
    assert_int_equal(mgi_context_init(&other, &params), MGEN_OK);
    const int64_t blocks = memory.blocks;
    for (int k = 1; status == MGEN_E_NO_MEMORY; k++) {
        const mgen_dataset_params p = params_of(&h, 4, 100);
        float x[10];
        mgi_dataset *ds;
        memory = (failing){.blocks = memory.blocks, .fail_at = k};
        status = mgi_dataset_host(other, &p, &ds);
        made += status == MGEN_OK;
        if (status == MGEN_OK)
            status = mgi_dataset_hear(other, ds, 0, 0, 10, x);
        if (status == MGEN_OK)
            status = mgi_dataset_sound_told(other, ds, 0, caption);
        if (status == MGEN_OK)
            status = mgi_dataset_watch(other, ds, 0, 8.0, 2, pixels);
        memory.fail_at = 0;
        failures += status == MGEN_E_NO_MEMORY;
        mgi_dataset_release(ds);
        assert_int_equal(memory.blocks, blocks);
    }
    assert_int_equal(status, MGEN_OK);
    assert_in_range(failures, 8, 20);
    assert_int_equal(h.released,
                     made); /* of what was not made, the host keeps what it is made of */
    mgi_context_free(other);
    assert_int_equal(memory.blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_step), cmocka_unit_test(test_seen),
        cmocka_unit_test(test_samples), cmocka_unit_test(test_kept),
        cmocka_unit_test(test_told),    cmocka_unit_test(test_bad_sounds),
        cmocka_unit_test(test_params),  cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
