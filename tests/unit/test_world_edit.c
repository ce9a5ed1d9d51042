/* SPDX-License-Identifier: MIT
 * Edits change what they name and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/hash.h"
#include "data/world_edit.h"
#include "data/world_parts.h"
#include "eval/world_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int views[][2] = {{64, 64}, {80, 48}, {48, 80}, {64, 48}, {48, 64}};
enum { VIEWS = sizeof views / sizeof views[0], TASKS = MGI_EDIT_TEXT_TO_VIDEO, FRAMES = 16 };
enum { CLIP = 80 * 64 * 3 * 32 };

static uint8_t *before, *after;

static int setup(void **state)
{
    (void)state;
    before = malloc(CLIP);
    after = malloc(CLIP);
    return before && after ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(before);
    free(after);
    return 0;
}

static mgi_world_options options_of(uint64_t i, int split)
{
    return (mgi_world_options){.width = views[i % VIEWS][0],
                               .height = views[i % VIEWS][1],
                               .frames = FRAMES,
                               .split = split};
}

static void draw_both(const mgi_world_edit *e)
{
    const mgi_world_scene *s = &e->before;
    mgi_world_edit_draw(e, false, s->width, s->height, 0, s->frames, before);
    mgi_world_edit_draw(e, true, s->width, s->height, 0, s->frames, after);
}

/* ---- scenes ------------------------------------------------------------------------------------- */

static bool same_object(const mgi_world_object *a, const mgi_world_object *b)
{
    return !memcmp(a, b, sizeof *a); /* no padding: four-byte members */
}

static bool same_frame(const mgi_world_scene *a, const mgi_world_scene *b)
{
    return a->width == b->width && a->height == b->height && a->frames == b->frames &&
           a->fps == b->fps && a->camera == b->camera && a->camera_pace == b->camera_pace &&
           a->camera_phase == b->camera_phase && a->camera_turn == b->camera_turn &&
           a->light == b->light && a->sign_x == b->sign_x;
}

static bool same_scene(const mgi_world_scene *a, const mgi_world_scene *b)
{
    if (!same_frame(a, b) || a->background != b->background || a->count != b->count ||
        strcmp(a->sign, b->sign) != 0)
        return false;
    for (int i = 0; i < a->count; i++)
        if (!same_object(&a->objects[i], &b->objects[i]))
            return false;
    return true;
}

static bool same_edit(const mgi_world_edit *a, const mgi_world_edit *b)
{
    return a->task == b->task && a->style == b->style && a->changed == b->changed &&
           a->object == b->object && a->wording == b->wording &&
           same_scene(&a->before, &b->before) && same_scene(&a->after, &b->after);
}

/* The scene with more in it is the other with one thing put in. */
static void assert_one_more(const mgi_world_scene *more, const mgi_world_scene *less, int object)
{
    assert_int_equal(more->background, less->background);
    if (object < 0) {
        assert_true(more->sign[0] && !less->sign[0] && more->count == less->count);
    } else {
        assert_string_equal(more->sign, less->sign);
        assert_int_equal(more->count, less->count + 1);
        assert_true(object < more->count && (object > 0 || more->camera != MGI_WORLD_TRACKING));
    }
    for (int i = 0; i < less->count; i++)
        assert_true(
            same_object(&less->objects[i], &more->objects[i + (object >= 0 && i >= object)]));
}

static void assert_local(const mgi_world_edit *e)
{
    const mgi_world_object *a = &e->before.objects[e->object], *b = &e->after.objects[e->object];
    assert_true(a->motion == b->motion && a->x == b->x && a->base == b->base &&
                a->phase == b->phase && a->turn == b->turn && a->pace == b->pace);
    assert_int_equal(a->colour != b->colour, e->changed == MGI_WORLD_EDIT_COLOUR);
    assert_int_equal(a->shape != b->shape, e->changed == MGI_WORLD_EDIT_SHAPE);
    assert_int_equal(a->size != b->size, e->changed == MGI_WORLD_EDIT_SIZE);
    assert_true((a->radius != b->radius) == (a->size != b->size));
    assert_true(fabsf(b->radius - mgi_world_radius(b->size)) < 0.501f);
    for (int k = 0; k < 2; k++) {
        const mgi_world_scene *s = k ? &e->after : &e->before;
        for (int i = 0; i < s->count; i++)
            for (int j = 0; j < i; j++)
                assert_int_not_equal(s->objects[i].colour, s->objects[j].colour);
    }
}

/* Of each task, before and after differ in one thing; what the options promise of scenes still holds. */
static void test_one_thing_changes(void **state)
{
    int clear = 0, all = 0, changed[3] = {0}, signs = 0, additions = 0;
    (void)state;
    for (uint64_t i = 0; i < 2100; i++) {
        const mgi_world_options o = options_of(i, (int)(i % 3));
        mgi_world_edit e;
        mgi_world_edit_random(&e, 5, i, (int)(i % TASKS), &o);
        const mgi_world_scene *a = &e.before, *b = &e.after;
        assert_int_equal(e.task, (int)(i % TASKS));
        assert_true(same_frame(a, b));
        assert_in_range(e.wording, 0, MGI_WORLD_EDIT_WORDINGS - 1);
        assert_int_equal(e.style != 0, e.task == MGI_EDIT_STYLE);
        if (e.task != MGI_EDIT_BACKGROUND)
            assert_int_equal(a->background, b->background);
        switch (e.task) {
        case MGI_EDIT_STYLE:
            assert_true(same_scene(a, b) && e.style < MGI_WORLD_STYLES && e.object == -1);
            break;
        case MGI_EDIT_BACKGROUND: {
            mgi_world_scene other = *b;
            assert_int_not_equal(a->background, b->background);
            other.background = a->background;
            assert_true(same_scene(a, &other) && e.object == -1);
            break;
        }
        case MGI_EDIT_REMOVAL:
            assert_one_more(a, b, e.object);
            break;
        case MGI_EDIT_ADDITION:
            assert_one_more(b, a, e.object);
            additions += b->sign[0] != 0;
            signs += e.object < 0;
            break;
        default: {
            mgi_world_scene other = *b;
            other.objects[e.object] = a->objects[e.object];
            assert_true(same_scene(a, &other));
            if (e.task == MGI_EDIT_LOCAL) {
                assert_local(&e);
                changed[e.changed]++;
                clear += mgi_world_clear(a) && mgi_world_clear(b);
                all++;
                break;
            }
            mgi_world_object plain = b->objects[e.object];
            assert_int_equal(plain.texture != 0, e.task == MGI_EDIT_TEXTURE);
            assert_int_equal(plain.paint != 0, e.task == MGI_EDIT_SEGMENTATION);
            assert_int_not_equal(plain.paint, 1 + plain.colour);
            plain.texture = plain.paint = 0;
            assert_true(same_object(&plain, &a->objects[e.object]));
            break;
        }
        }
    }
    assert_true(clear >= all * 95 / 100);
    assert_in_range(changed[MGI_WORLD_EDIT_COLOUR], all * 40 / 100, all * 60 / 100);
    assert_in_range(changed[MGI_WORLD_EDIT_SHAPE], all * 15 / 100, all * 35 / 100);
    assert_in_range(changed[MGI_WORLD_EDIT_SIZE], all * 15 / 100, all * 35 / 100);
    assert_in_range(signs, additions / 20 + 1, additions / 2);
}

/* The same edit for the same numbers; without a task, one of six, each as often; the scene is the world's own. */
static void test_lots(void **state)
{
    int tasks[MGI_EDIT_TASKS] = {0}, wordings[MGI_WORLD_EDIT_WORDINGS] = {0};
    (void)state;
    for (uint64_t i = 0; i < 3000; i++) {
        mgi_world_edit e, again;
        mgi_world_scene s;
        mgi_world_edit_random(&e, 6, i, -1, NULL);
        mgi_world_edit_random(&again, 6, i, e.task, NULL);
        assert_true(same_edit(&e, &again));
        mgi_world_scene_random(&s, 6, i, NULL);
        const mgi_world_scene *base = e.task == MGI_EDIT_ADDITION ? &e.after : &e.before;
        if (e.task == MGI_EDIT_REMOVAL || e.task == MGI_EDIT_ADDITION)
            assert_true(base->count > 1 || (e.task == MGI_EDIT_REMOVAL && base->sign[0]));
        if (s.count > 1 || base == &e.before)
            assert_true(same_scene(&s, base) || (e.task == MGI_EDIT_REMOVAL && s.count == 1));
        tasks[e.task]++;
        wordings[e.wording]++;
    }
    for (int k = 0; k < MGI_EDIT_SEGMENTATION; k++)
        assert_in_range(tasks[k], 430, 570);
    assert_int_equal(tasks[MGI_EDIT_SEGMENTATION] + tasks[MGI_EDIT_TEXT_TO_VIDEO], 0);
    for (int k = 0; k < MGI_WORLD_EDIT_WORDINGS; k++)
        assert_in_range(wordings[k], 680, 820);
}

static bool held_out(const mgi_world_scene *s, int i)
{
    const mgi_world_object *o = &s->objects[i];
    return mgi_world_held_out(o->shape, o->colour, o->motion, s->background);
}

/* Training meets no combination that is held out, before or after; what the edited film of the other split shows is held
 * out, and of what is removed that. */
static void test_split(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 7000; i++) {
        mgi_world_options o = options_of(i / TASKS, MGI_WORLD_TRAIN);
        mgi_world_edit e;
        mgi_world_edit_random(&e, 7, i, (int)(i % TASKS), &o);
        for (int k = 0; k < e.before.count; k++)
            assert_false(held_out(&e.before, k));
        for (int k = 0; k < e.after.count; k++)
            assert_false(held_out(&e.after, k));
        o.split = MGI_WORLD_HELD_OUT;
        mgi_world_edit_random(&e, 7, i, (int)(i % TASKS), &o);
        for (int k = 0; k < e.after.count; k++)
            assert_true(held_out(&e.after, k));
        if (e.task == MGI_EDIT_REMOVAL && e.object >= 0)
            assert_true(held_out(&e.before, e.object));
        if (e.task == MGI_EDIT_BACKGROUND ||
            (e.task == MGI_EDIT_LOCAL && e.changed != MGI_WORLD_EDIT_SIZE))
            assert_false(held_out(&e.before, e.object < 0 ? 0 : e.object));
    }
}

/* Also where options leave little room: images, a single object, no sizes, no sign. */
static void test_options(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 700; i++) {
        const mgi_world_options image = {.frames = 1};
        const mgi_world_options one = {.objects_max = 1,
                                       .sizes = MGI_WORLD_NEVER,
                                       .sign = MGI_WORLD_NEVER,
                                       .width = 48,
                                       .height = 48};
        mgi_world_edit e;
        char text[MGI_WORLD_CAPTION_MAX];
        mgi_world_edit_random(&e, 8, i, (int)(i % TASKS), &image);
        assert_true(e.before.frames == 1 && e.after.frames == 1);
        mgi_world_edit_text(&e, text);
        assert_null(strstr(text, "stays"));
        mgi_world_edit_random(&e, 8, i, (int)(i % TASKS), &one);
        if (e.task == MGI_EDIT_REMOVAL || e.task == MGI_EDIT_ADDITION)
            assert_one_more(e.task == MGI_EDIT_REMOVAL ? &e.before : &e.after,
                            e.task == MGI_EDIT_REMOVAL ? &e.after : &e.before, e.object);
        else
            assert_true(e.before.count == 1 && e.after.count == 1);
        for (int k = 0; k < e.after.count; k++)
            assert_int_equal(e.after.objects[k].size, MGI_WORLD_MEDIUM);
    }
}

static void test_reverse(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 700; i++) {
        mgi_world_edit e, undone, again;
        int task = (int)(i % TASKS);
        mgi_world_edit_random(&e, 9, i, task, NULL);
        bool can = mgi_world_edit_reverse(&e, &undone);
        assert_int_equal(can, task != MGI_EDIT_STYLE && task != MGI_EDIT_SEGMENTATION);
        if (!can)
            continue;
        assert_true(same_scene(&undone.before, &e.after) && same_scene(&undone.after, &e.before));
        assert_int_equal(undone.task, task == MGI_EDIT_REMOVAL    ? MGI_EDIT_ADDITION
                                      : task == MGI_EDIT_ADDITION ? MGI_EDIT_REMOVAL
                                                                  : task);
        assert_true(mgi_world_edit_reverse(&undone, &again) && same_edit(&again, &e));
    }
}

/* ---- texts -------------------------------------------------------------------------------------- */

static void assert_says(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("\"%s\" does not say \"%s\"", text, words);
}

static void assert_names(const char *text, const mgi_world_object *o)
{
    char name[64];
    snprintf(name, sizeof name, "%s %s", mgi_world_colour_name(o->colour),
             mgi_world_shape_name(o->shape));
    assert_says(text, name);
}

static void assert_told(const mgi_world_edit *e, const char *text)
{
    static const char *const textures[MGI_WORLD_TEXTURES] = {"", "stripe", "dot", "check"};
    static const char *const styles[MGI_WORLD_STYLES] = {"", "black and white", "sepia", "negative",
                                                         "night"};
    const mgi_world_object *o = &e->after.objects[e->object < 0 ? 0 : e->object];
    const mgi_world_object *from = &e->before.objects[e->object < 0 ? 0 : e->object];
    if (e->task == MGI_EDIT_LOCAL || e->task == MGI_EDIT_TEXTURE ||
        e->task == MGI_EDIT_SEGMENTATION || (e->task == MGI_EDIT_REMOVAL && e->object >= 0))
        assert_names(text, from);
    switch (e->task) {
    case MGI_EDIT_LOCAL:
        assert_says(text, e->changed == MGI_WORLD_EDIT_COLOUR  ? mgi_world_colour_name(o->colour)
                          : e->changed == MGI_WORLD_EDIT_SHAPE ? mgi_world_shape_name(o->shape)
                                                               : mgi_world_size_name(o->size));
        break;
    case MGI_EDIT_STYLE:
        assert_says(text, styles[e->style]);
        break;
    case MGI_EDIT_BACKGROUND:
        assert_says(text, mgi_world_background_name(e->after.background));
        break;
    case MGI_EDIT_REMOVAL:
        if (e->object < 0)
            assert_says(text, "sign");
        break;
    case MGI_EDIT_ADDITION:
        if (e->object < 0) {
            assert_says(text, "sign");
            assert_says(text, e->after.sign);
            break;
        }
        assert_names(text, o);
        assert_says(text, mgi_world_motion_name(o->motion));
        if (o->size != MGI_WORLD_MEDIUM)
            assert_says(text, mgi_world_size_name(o->size));
        break;
    case MGI_EDIT_TEXTURE:
        assert_says(text, textures[o->texture]);
        break;
    default:
        assert_says(text, mgi_world_colour_name(o->paint - 1));
        break;
    }
}

/* Texts name what is edited and what becomes of it, and their words tell the task. */
static void test_texts(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 2800; i++) {
        mgi_world_edit e, undone;
        char text[MGI_WORLD_CAPTION_MAX], other[MGI_WORLD_CAPTION_MAX];
        mgi_world_edit_random(&e, 10, i, (int)(i % TASKS), NULL);
        mgi_world_edit_text(&e, other);
        for (e.wording = 0; e.wording < MGI_WORLD_EDIT_WORDINGS; e.wording++) {
            mgi_world_edit_text(&e, text);
            assert_told(&e, text);
            if (mgi_edit_task_guess(text) != e.task)
                fail_msg("\"%s\" is taken for %s", text,
                         mgi_edit_task_name[mgi_edit_task_guess(text)]);
            if (mgi_world_edit_reverse(&e, &undone)) {
                mgi_world_edit_text(&undone, other);
                if (mgi_edit_task_guess(other) != undone.task)
                    fail_msg("\"%s\" is taken for %s", other,
                             mgi_edit_task_name[mgi_edit_task_guess(other)]);
                if (undone.task != MGI_EDIT_TEXTURE)
                    assert_told(&undone, other);
                else
                    assert_true(strstr(other, "plain") || strstr(other, "take the ") ||
                                strstr(other, "remove the "));
            }
        }
    }
}

static void assert_text(mgi_world_edit *e, const char *const expected[MGI_WORLD_EDIT_WORDINGS])
{
    char text[MGI_WORLD_CAPTION_MAX];
    for (e->wording = 0; e->wording < MGI_WORLD_EDIT_WORDINGS; e->wording++) {
        mgi_world_edit_text(e, text);
        assert_string_equal(text, expected[e->wording]);
    }
}

static void test_words(void **state)
{
    (void)state;
    mgi_world_edit e = {.task = MGI_EDIT_LOCAL, .changed = MGI_WORLD_EDIT_COLOUR};
    e.before = (mgi_world_scene){.frames = 32, .background = MGI_WORLD_GRASS, .count = 1};
    e.before.objects[0] =
        (mgi_world_object){MGI_WORLD_BALL, MGI_WORLD_RED, MGI_WORLD_SMALL, MGI_WORLD_BOUNCE};
    e.after = e.before;
    e.after.objects[0].colour = MGI_WORLD_BLUE;
    assert_text(&e, (const char *const[]){
                        "make the red ball blue", "change the colour of the small red ball to blue",
                        "turn the red ball blue", "the small red ball should be blue"});
    e.changed = MGI_WORLD_EDIT_SHAPE;
    e.after.objects[0].shape = MGI_WORLD_CUBE;
    assert_text(&e, (const char *const[]){
                        "turn the red ball into a cube", "make the small red ball a cube",
                        "change the red ball into a cube", "the small red ball should be a cube"});
    e.changed = MGI_WORLD_EDIT_SIZE;
    e.after.objects[0].size = MGI_WORLD_LARGE;
    assert_text(&e, (const char *const[]){"make the red ball large",
                                          "change the size of the small red ball to large",
                                          "turn the red ball into a large one",
                                          "the small red ball should be large"});
    e.task = MGI_EDIT_ADDITION;
    e.after.objects[0].colour = MGI_WORLD_ORANGE;
    e.after.objects[0].size = MGI_WORLD_MEDIUM;
    assert_text(&e, (const char *const[]){"add an orange cube that bounces",
                                          "insert an orange cube that bounces",
                                          "put an orange cube that bounces into it",
                                          "add an orange cube, which bounces"});
    e.task = MGI_EDIT_REMOVAL;
    assert_text(&e,
                (const char *const[]){"remove the red ball", "take away the small red ball",
                                      "delete the red ball", "show it without the small red ball"});
    e.task = MGI_EDIT_TEXTURE;
    e.after.objects[0].texture = MGI_WORLD_CHECKS;
    assert_text(&e, (const char *const[]){"give the red ball checks",
                                          "make the small red ball checkered",
                                          "cover the red ball with checks",
                                          "change the texture of the small red ball to checks"});
    e.before.objects[0].texture = MGI_WORLD_CHECKS;
    e.after.objects[0].texture = MGI_WORLD_PLAIN;
    assert_text(&e, (const char *const[]){"take the checks off the red ball",
                                          "make the small red ball plain",
                                          "remove the checks from the red ball",
                                          "change the texture of the small red ball to plain"});
    e.task = MGI_EDIT_SEGMENTATION;
    e.after.objects[0].paint = 1 + MGI_WORLD_GREEN;
    assert_text(&e, (const char *const[]){"mark the red ball in green",
                                          "highlight the small red ball in green",
                                          "mark all of the red ball in green",
                                          "segment the small red ball in green"});
    e.task = MGI_EDIT_BACKGROUND;
    e.object = -1;
    e.after.background = MGI_WORLD_MOON;
    assert_text(&e, (const char *const[]){
                        "change the background to the moon", "replace the background with the moon",
                        "make the background the moon", "the background should be the moon"});
    e.task = MGI_EDIT_ADDITION;
    memcpy(e.after.sign, "AB3", 4);
    assert_text(&e, (const char *const[]){"add a sign that reads \"AB3\"",
                                          "insert a sign that reads \"AB3\"",
                                          "put a sign that reads \"AB3\" into it",
                                          "add a sign with the text \"AB3\""});
    e.task = MGI_EDIT_REMOVAL;
    memcpy(e.before.sign, "AB3", 4);
    assert_text(&e, (const char *const[]){
                        "remove the sign", "take away the sign that reads \"AB3\"",
                        "delete the sign", "show it without the sign that reads \"AB3\""});
}

/* ---- pixels ------------------------------------------------------------------------------------- */

/* Whether a pixel may show an object, or what stands under it in its shadow. */
static bool near_object(const mgi_world_scene *s, int i, float seconds, float x, float y)
{
    mgi_world_pose p;
    mgi_world_object_at(s, i, seconds, &p);
    float reach = 1.42f * s->objects[i].radius * p.scale + 2.0f;
    return fabsf(x - p.x) < reach && y > p.y - reach &&
           y < (p.y + reach > p.ground + 0.3f * reach ? p.y + reach : p.ground + 0.3f * reach);
}

static bool near_sign(const mgi_world_scene *s, float seconds, float x, float y)
{
    mgi_world_camera camera;
    mgi_world_pose p;
    mgi_world_camera_at(s, seconds, &camera);
    mgi_world_sign_at(s, &camera, &p);
    float half = mgi_world_sign_half_width((int)strlen(s->sign)) * p.scale + 2.0f;
    return fabsf(x - p.x) < half && y > p.y - MGI_WORLD_SIGN_HALF_HEIGHT * p.scale - 2.0f &&
           y < p.ground + 2.0f;
}

static bool near_edit(const mgi_world_edit *e, float seconds, float x, float y)
{
    const mgi_world_scene *more = e->task == MGI_EDIT_ADDITION ? &e->after : &e->before;
    if (e->object < 0)
        return near_sign(more, seconds, x, y);
    return near_object(more, e->object, seconds, x, y) ||
           (e->task == MGI_EDIT_LOCAL && near_object(&e->after, e->object, seconds, x, y));
}

/* Films before and after are equal bit by bit where the edited thing is not, and differ where it is. */
static void test_the_rest_stays(void **state)
{
    static const int tasks[] = {MGI_EDIT_LOCAL, MGI_EDIT_REMOVAL, MGI_EDIT_ADDITION,
                                MGI_EDIT_TEXTURE, MGI_EDIT_SEGMENTATION};
    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        const mgi_world_options o = options_of(i / 5, MGI_WORLD_ALL);
        mgi_world_edit e;
        int differ = 0;
        mgi_world_edit_random(&e, 11, i, tasks[i % 5], &o);
        draw_both(&e);
        for (int k = 0; k < FRAMES * o.width * o.height; k++) {
            float seconds = (float)(k / (o.width * o.height)) / (float)e.before.fps;
            float x = (float)(k % o.width) + 0.5f, y = (float)(k / o.width % o.height) + 0.5f;
            if (!memcmp(before + 3 * k, after + 3 * k, 3))
                continue;
            differ++;
            if (!near_edit(&e, seconds, x, y))
                fail_msg("edit %d, frame %d: (%g, %g)", (int)i, k / (o.width * o.height), (double)x,
                         (double)y);
        }
        assert_true(differ > FRAMES * 20);
    }
}

static void test_backgrounds_and_styles_reach_far(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 24; i++) {
        mgi_world_edit e;
        mgi_world_edit_random(&e, 12, i, i % 2 ? MGI_EDIT_STYLE : MGI_EDIT_BACKGROUND,
                              &(mgi_world_options){.frames = FRAMES});
        draw_both(&e);
        int differ = 0, all = FRAMES * 64 * 64;
        for (int k = 0; k < all; k++)
            differ += memcmp(before + 3 * k, after + 3 * k, 3) != 0;
        assert_true(differ > all * 6 / 10);
    }
}

/* A style is a map of each pixel: applied to the film before it gives the film after, to the bit. */
static void test_styles(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 12; i++) {
        mgi_world_edit e;
        mgi_world_edit_random(&e, 13, i, MGI_EDIT_STYLE, &(mgi_world_options){.frames = FRAMES});
        draw_both(&e);
        mgi_world_style(e.style, FRAMES * 64 * 64, before);
        assert_memory_equal(before, after, FRAMES * 64 * 64 * 3);
    }
    static const uint8_t expected[MGI_WORLD_STYLES][6] = {{200, 100, 50, 0, 255, 128},
                                                          {124, 124, 124, 164, 164, 164},
                                                          {144, 123, 89, 178, 155, 117},
                                                          {55, 155, 205, 255, 0, 127},
                                                          {40, 31, 69, 7, 68, 101}};
    for (int style = 0; style < MGI_WORLD_STYLES; style++) {
        uint8_t pixels[6] = {200, 100, 50, 0, 255, 128};
        mgi_world_style(style, 2, pixels);
        assert_memory_equal(pixels, expected[style], sizeof pixels);
    }
    for (int style = 0; style < MGI_WORLD_STYLES; style++) { /* no level leaves its range */
        int last = style == MGI_WORLD_NEGATIVE ? 256 : -1;
        for (int v = 0; v < 256; v++) {
            uint8_t p[3] = {(uint8_t)v, (uint8_t)v, (uint8_t)v};
            mgi_world_style(style, 1, p);
            assert_true(style == MGI_WORLD_NEGATIVE ? p[1] < last : p[1] >= last);
            last = p[1];
        }
    }
}

static void middle_of(const mgi_world_scene *s, int i, uint8_t rgb[3])
{
    static uint8_t frame[128 * 128 * 3];
    mgi_world_pose p;
    mgi_world_draw(s, 128, 128, 0, 1, frame);
    mgi_world_object_at(s, i, 0.0f, &p);
    memcpy(rgb, frame + 3 * (128 * (int)(2.0f * p.y) + (int)(2.0f * p.x)), 3);
}

/* What is painted has exactly the palette's colour, in any light; the shadow stays. */
static void test_paint(void **state)
{
    (void)state;
    for (int k = 0; k < MGI_WORLD_COLOURS; k++) {
        mgi_world_scene s;
        float rgb[3];
        uint8_t p[3];
        mgi_world_scene_random(&s, 14, (uint64_t)k,
                               &(mgi_world_options){.objects_max = 1, .camera = MGI_WORLD_NEVER});
        s.objects[0].shape = MGI_WORLD_CUBE;
        s.objects[0].paint = 1 + k;
        s.objects[0].texture = 1 + k % 3;
        mgi_world_colour_rgb(k, rgb);
        middle_of(&s, 0, p);
        for (int c = 0; c < 3; c++)
            assert_int_equal(p[c], (int)rgb[c]);
    }
}

/* A texture is about half dark, and turns with its object. */
static void test_textures(void **state)
{
    (void)state;
    for (int k = 1; k < MGI_WORLD_TEXTURES; k++) {
        float sum = 0.0f;
        for (int i = 0; i < 160 * 160; i++) {
            float d = mgi_world_texture(k, 0.0251f * (float)(i % 160 - 80),
                                        0.0251f * (float)(i / 160 - 80));
            assert_true(d >= 0.0f && d <= 1.0f);
            sum += d;
        }
        assert_in_range((int)(100.0f * sum / (160.0f * 160.0f)), 25, 60);
    }
    assert_true(mgi_world_texture(MGI_WORLD_PLAIN, 0.0f, 0.0f) == 0.0f);
    mgi_world_scene s = {.width = 64, .height = 64, .frames = 16, .fps = 16, .count = 1};
    static uint8_t spun[64 * 64 * 3], plain[64 * 64 * 3];
    s.camera = MGI_WORLD_STATIC;
    s.light = s.camera_pace = 1.0f;
    s.objects[0] = (mgi_world_object){.shape = MGI_WORLD_CUBE,
                                      .size = MGI_WORLD_LARGE,
                                      .motion = MGI_WORLD_SPIN,
                                      .radius = 14.0f,
                                      .x = 32.0f,
                                      .base = 54.0f,
                                      .turn = 1.0f,
                                      .pace = MGI_WORLD_SPIN_PERIOD * 4.0f, /* a turn in 4 frames */
                                      .texture = MGI_WORLD_STRIPES};
    /* Stripes stand, and after a quarter of a turn lie: down a column through the middle, then along a row. */
    for (int f = 0; f < 2; f++) {
        mgi_world_pose p;
        int dark[2] = {0, 0};
        mgi_world_object_at(&s, 0, (float)f / 16.0f, &p);
        mgi_world_draw(&s, 64, 64, f, 1, spun);
        s.objects[0].texture = MGI_WORLD_PLAIN;
        mgi_world_draw(&s, 64, 64, f, 1, plain);
        s.objects[0].texture = MGI_WORLD_STRIPES;
        for (int k = -8; k <= 8; k++)
            for (int axis = 0; axis < 2; axis++) {
                int x = (int)p.x + (axis ? k : 0), y = (int)p.y + (axis ? 0 : k);
                const uint8_t *a = spun + 3 * (64 * y + x), *b = plain + 3 * (64 * y + x);
                dark[axis] += a[0] + a[1] + a[2] < (b[0] + b[1] + b[2]) * 3 / 4;
            }
        assert_int_equal(dark[f % 2], 17);
        assert_in_range(dark[1 - f % 2], 5, 12);
    }
}

/* ---- what the checker reads --------------------------------------------------------------------- */

static const char *const read_names[] = {"count", "background", "colour", "shape", "size"};
enum { COUNT, BACKGROUND, COLOUR, SHAPE, SIZE, ENTRIES };

/* The checker knows nothing of edits: it reads films after them as well as others. */
static void test_checker(void **state)
{
    static const int tasks[] = {MGI_EDIT_LOCAL, MGI_EDIT_BACKGROUND, MGI_EDIT_REMOVAL,
                                MGI_EDIT_ADDITION};
    const char *text = getenv("MGEN_TEST_SCENES");
    int n = text && atoi(text) > 0 ? atoi(text) : 5;
    mgen_context *ctx;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    (void)state;
    params.threads = 1;
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    for (int t = 0; t < 4; t++) {
        int asked[ENTRIES] = {0}, right[ENTRIES] = {0};
        for (int i = 0; i < n; i++) {
            mgi_world_edit e;
            mgi_world_said said;
            mgi_world_edit_random(&e, 15, (uint64_t)i, tasks[t],
                                  &(mgi_world_options){.frames = 32});
            const mgi_world_scene *s = &e.after;
            mgi_world_edit_draw(&e, true, 64, 64, 0, 32, after);
            assert_int_equal(mgi_world_check(ctx, after, 64, 64, 32, &said), MGEN_OK);
            asked[COUNT]++;
            asked[BACKGROUND]++;
            right[COUNT] += said.count == s->count;
            right[BACKGROUND] += said.background == s->background;
            for (int k = 0; k < s->count; k++) {
                asked[COLOUR]++;
                for (int j = 0; j < said.count; j++)
                    if (said.objects[j].colour == s->objects[k].colour) {
                        right[COLOUR]++;
                        right[SHAPE] += said.objects[j].shape == s->objects[k].shape;
                        right[SIZE] += said.objects[j].size == s->objects[k].size;
                    }
            }
        }
        asked[SHAPE] = asked[SIZE] = asked[COLOUR];
        print_message("%-12s %4d films:", mgi_edit_task_name[tasks[t]], n);
        for (int k = 0; k < ENTRIES; k++) {
            print_message(" %s %.4f", read_names[k], (double)right[k] / asked[k]);
            assert_true(asked[k] - right[k] <= asked[k] / 33);
        }
        print_message("\n");
    }
    mgi_context_free(ctx);
}

/* Pinned: a change here means that trained editors no longer fit. Of each task one edit, text and both films. */
static void test_edits_are_pinned(void **state)
{
    static const uint64_t pinned[TASKS] = {
        0xbc513f69973df40cu, 0x21543a22f3ab2e03u, 0x78de5d6c1e5c7f93u, 0xda30d28d613f1433u,
        0xf723c084f8236ec8u, 0x3e76ea70951a577fu, 0xc837310f30dc05e7u};
    (void)state;
    for (int task = 0; task < TASKS; task++) {
        mgi_world_edit e;
        char text[MGI_WORLD_CAPTION_MAX];
        mgi_world_edit_random(&e, 18, (uint64_t)task, task, &(mgi_world_options){.frames = FRAMES});
        mgi_world_edit_text(&e, text);
        draw_both(&e);
        uint64_t hash = mgi_hash64(text, strlen(text), 0);
        hash = mgi_hash64(before, FRAMES * 64 * 64 * 3, hash);
        hash = mgi_hash64(after, FRAMES * 64 * 64 * 3, hash);
        if (hash != pinned[task])
            fail_msg("edit %d, \"%s\", has hash 0x%016llx", task, text, (unsigned long long)hash);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_thing_changes),
        cmocka_unit_test(test_lots),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_reverse),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_the_rest_stays),
        cmocka_unit_test(test_backgrounds_and_styles_reach_far),
        cmocka_unit_test(test_styles),
        cmocka_unit_test(test_paint),
        cmocka_unit_test(test_textures),
        cmocka_unit_test(test_checker),
        cmocka_unit_test(test_edits_are_pinned),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
