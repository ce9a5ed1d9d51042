/* SPDX-License-Identifier: MIT
 * What is edited in a scene of the world, drawn by lot; and how films before and after it look. */
#include "data/world_edit.h"

#include "core/philox.h"

#include <string.h>

enum {
    LOTS = 1 << 10, /* of an edit, at most */
    TRIES = 48,     /* until a changed object finds its place */
    SCENES = 8      /* until two objects do */
};

typedef struct lots {
    uint64_t seed, next;
} lots;

static int choose(lots *l, int count)
{
    return (int)((float)count * mgi_random_unit(l->seed, MGI_STREAM_EDIT, l->next++));
}

/* ---- what may become what ----------------------------------------------------------------------- */

/* Whether training may meet all of a scene's objects. */
static bool trained(const mgi_world_scene *s)
{
    for (int i = 0; i < s->count; i++) {
        const mgi_world_object *o = &s->objects[i];
        if (mgi_world_held_out(o->shape, o->colour, o->motion, s->background))
            return false;
    }
    return true;
}

static void resize(mgi_world_object *o, int size)
{
    o->radius += mgi_world_radius(size) - mgi_world_radius(o->size);
    o->size = size;
    if (o->motion == MGI_WORLD_SPIN)
        o->height = 0.45f * o->radius; /* as spinning objects are laid out */
}

/* It stands where it stood; what falls begins within the view. */
static void change(mgi_world_object *o, int what, int value)
{
    if (what == MGI_WORLD_EDIT_COLOUR)
        o->colour = value;
    else if (what == MGI_WORLD_EDIT_SHAPE)
        o->shape = value;
    else
        resize(o, value);
    float tall = (mgi_world_shape_foot(o->shape) + mgi_world_shape_top(o->shape)) * o->radius;
    float most = o->base - tall - 1.0f;
    if (o->motion == MGI_WORLD_FALL && o->height > most)
        o->height = most;
}

static int value_of(const mgi_world_object *o, int what)
{
    return what == MGI_WORLD_EDIT_COLOUR  ? o->colour
           : what == MGI_WORLD_EDIT_SHAPE ? o->shape
                                          : o->size;
}

static bool has_colour(const mgi_world_scene *s, int colour)
{
    for (int i = 0; i < s->count; i++)
        if (s->objects[i].colour == colour)
            return true;
    return false;
}

/* The scene with another value of an object. There always is one: of the values of one attribute a combination is held
 * out with at most one. */
static void change_object(lots *l, const mgi_world_scene *s, int i, int what, int split,
                          mgi_world_scene *out)
{
    static const int counts[] = {MGI_WORLD_COLOURS, MGI_WORLD_SHAPES, MGI_WORLD_SIZES};
    int values[MGI_WORLD_COLOURS], n = 0;
    for (int value = 0; value < counts[what]; value++) {
        *out = *s;
        change(&out->objects[i], what, value);
        if (value != value_of(&s->objects[i], what) &&
            (what != MGI_WORLD_EDIT_COLOUR || !has_colour(s, value)) &&
            (split != MGI_WORLD_TRAIN || trained(out)))
            values[n++] = value;
    }
    *out = *s;
    change(&out->objects[i], what, values[choose(l, n)]);
}

/* ---- edits -------------------------------------------------------------------------------------- */

static void swap(mgi_world_edit *e)
{
    const mgi_world_scene scene = e->before;
    e->before = e->after;
    e->after = scene;
}

static void edit_local(lots *l, mgi_world_edit *e, const mgi_world_options *o)
{
    static const int kinds[4] = {MGI_WORLD_EDIT_COLOUR, MGI_WORLD_EDIT_COLOUR, MGI_WORLD_EDIT_SHAPE,
                                 MGI_WORLD_EDIT_SIZE};
    e->changed = kinds[choose(l, 4)];
    if (e->changed == MGI_WORLD_EDIT_SIZE && o->sizes == MGI_WORLD_NEVER)
        e->changed = MGI_WORLD_EDIT_SHAPE;
    for (int k = 0; k < TRIES; k++) { /* if nothing keeps all clear, the last */
        e->object = choose(l, e->before.count);
        change_object(l, &e->before, e->object, e->changed, o->split, &e->after);
        if (mgi_world_clear(&e->after))
            break;
    }
    if (o->split == MGI_WORLD_HELD_OUT)
        swap(e);
}

static void edit_background(lots *l, mgi_world_edit *e, const mgi_world_options *o)
{
    int values[MGI_WORLD_BACKGROUNDS], n = 0;
    for (int value = 0; value < MGI_WORLD_BACKGROUNDS; value++) {
        e->after.background = value;
        if (value != e->before.background && (o->split != MGI_WORLD_TRAIN || trained(&e->after)))
            values[n++] = value;
    }
    e->after.background = values[choose(l, n)]; /* each object forbids one at most */
    if (o->split == MGI_WORLD_HELD_OUT)
        swap(e);
}

/* An object of `after` goes, or the sign. A tracking camera follows the first object, which therefore stays. */
static void take_away(lots *l, mgi_world_edit *e, bool sign)
{
    mgi_world_scene *s = &e->after;
    int first = s->camera == MGI_WORLD_TRACKING;
    int i = first + choose(l, s->count - first);
    if (sign || s->count == 1) {
        memset(s->sign, 0, sizeof s->sign);
        return;
    }
    e->object = i;
    s->count--;
    for (; i < s->count; i++)
        s->objects[i] = s->objects[i + 1];
    memset(&s->objects[i], 0, sizeof s->objects[i]);
}

static void edit_scene(lots *l, mgi_world_edit *e, const mgi_world_options *o)
{
    switch (e->task) {
    case MGI_EDIT_STYLE:
        e->style = 1 + choose(l, MGI_WORLD_STYLES - 1);
        break;
    case MGI_EDIT_BACKGROUND:
        edit_background(l, e, o);
        break;
    case MGI_EDIT_REMOVAL:
        take_away(l, e, false);
        break;
    case MGI_EDIT_ADDITION: {
        bool sign = choose(l, 5) == 0;
        take_away(l, e, sign && e->after.sign[0]);
        swap(e);
        break;
    }
    case MGI_EDIT_TEXTURE:
        e->object = choose(l, e->before.count);
        e->after.objects[e->object].texture = 1 + choose(l, MGI_WORLD_TEXTURES - 1);
        break;
    case MGI_EDIT_SEGMENTATION: {
        e->object = choose(l, e->before.count);
        mgi_world_object *painted = &e->after.objects[e->object];
        painted->paint =
            1 + (painted->colour + 1 + choose(l, MGI_WORLD_COLOURS - 1)) % MGI_WORLD_COLOURS;
        break;
    }
    default:
        edit_local(l, e, o);
        break;
    }
}

/* Something can be taken from it, if the task does so. */
static void draw_scene(mgi_world_scene *s, uint64_t seed, uint64_t index, int task,
                       mgi_world_options o)
{
    mgi_world_scene_random(s, seed, index, &o);
    if (s->count > 1 || (task != MGI_EDIT_REMOVAL && task != MGI_EDIT_ADDITION) ||
        (task == MGI_EDIT_REMOVAL && s->sign[0]))
        return;
    o.objects_min = o.objects_min > 2 ? o.objects_min : 2;
    o.objects_max = o.objects_max == 1 ? 2 : o.objects_max;
    for (uint64_t k = 0; k < SCENES && s->count == 1; k++)
        mgi_world_scene_random(s, seed + k * UINT64_C(0x9e3779b97f4a7c15), index, &o);
    o.sign = MGI_WORLD_ALWAYS;
    if (s->count == 1)
        mgi_world_scene_random(s, seed, index, &o);
}

void mgi_world_edit_random(mgi_world_edit *e, uint64_t seed, uint64_t index, int task,
                           const mgi_world_options *options)
{
    static const int tasks[] = {MGI_EDIT_LOCAL,   MGI_EDIT_STYLE,    MGI_EDIT_BACKGROUND,
                                MGI_EDIT_REMOVAL, MGI_EDIT_ADDITION, MGI_EDIT_TEXTURE};
    mgi_world_options o = options ? *options : (mgi_world_options){0};
    lots l = {seed, index * LOTS};
    int any = tasks[choose(&l, (int)(sizeof tasks / sizeof tasks[0]))];
    o.people = 0.0f; /* edits are of objects */
    memset(e, 0, sizeof *e);
    e->task = task < 0 ? any : task;
    e->wording = choose(&l, MGI_WORLD_EDIT_WORDINGS);
    e->object = -1;
    draw_scene(&e->before, seed, index, e->task, o);
    e->after = e->before;
    edit_scene(&l, e, &o);
}

bool mgi_world_edit_reverse(const mgi_world_edit *e, mgi_world_edit *out)
{
    mgi_world_edit undone = *e;
    if (e->task == MGI_EDIT_STYLE || e->task == MGI_EDIT_SEGMENTATION)
        return false;
    swap(&undone);
    if (e->task == MGI_EDIT_REMOVAL)
        undone.task = MGI_EDIT_ADDITION;
    else if (e->task == MGI_EDIT_ADDITION)
        undone.task = MGI_EDIT_REMOVAL;
    *out = undone;
    return true;
}

/* ---- films -------------------------------------------------------------------------------------- */

/* In whole numbers: exact everywhere. */
void mgi_world_style(int style, size_t pixels, uint8_t *rgb)
{
    for (uint8_t *p = rgb; pixels > 0 && style != MGI_WORLD_AS_DRAWN; pixels--, p += 3) {
        int r = p[0], g = p[1], b = p[2], grey = (77 * r + 150 * g + 29 * b + 128) >> 8;
        switch (style) {
        case MGI_WORLD_SEPIA:
            r = 40 + grey * 215 / 255;
            g = 22 + grey * 208 / 255;
            b = 4 + grey * 176 / 255;
            break;
        case MGI_WORLD_NEGATIVE:
            r = 255 - r;
            g = 255 - g;
            b = 255 - b;
            break;
        case MGI_WORLD_NIGHT:
            r = (44 * r + 12 * grey) >> 8;
            g = (56 * g + 20 * grey) >> 8;
            b = 24 + ((72 * b + 64 * grey) >> 8);
            break;
        default:
            r = g = b = grey;
            break;
        }
        p[0] = (uint8_t)r;
        p[1] = (uint8_t)g;
        p[2] = (uint8_t)b;
    }
}

void mgi_world_edit_draw(const mgi_world_edit *e, bool after, int width, int height, int first,
                         int count, uint8_t *out)
{
    mgi_world_draw(after ? &e->after : &e->before, width, height, first, count, out);
    if (after)
        mgi_world_style(e->style, (size_t)count * (size_t)width * (size_t)height, out);
}
