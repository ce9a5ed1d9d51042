/* SPDX-License-Identifier: MIT
 * How a scene of the world is told, and what a text says about one. */
#include "data/world.h"

#include "text/say.h"

#include <stdio.h>
#include <string.h>

static const char *const shapes[MGI_WORLD_SHAPES] = {"ball", "cube", "triangle",
                                                     "star", "ring", "cross"};
static const char *const colours[MGI_WORLD_COLOURS] = {"red",  "orange", "yellow", "green",
                                                       "cyan", "blue",   "purple", "pink"};
static const char *const sizes[MGI_WORLD_SIZES] = {"small", "medium", "large"};
static const char *const backgrounds[MGI_WORLD_BACKGROUNDS] = {"grass", "snow", "sand",
                                                               "stone", "wood", "moon"};
static const char *const motions[MGI_WORLD_MOTIONS] = {
    "bounces", "rolls left", "rolls right", "rises", "falls", "orbits", "spins", "stays still"};
static const char *const participles[MGI_WORLD_MOTIONS] = {
    "bouncing", "rolling left", "rolling right", "rising",
    "falling",  "orbiting",     "spinning",      "staying still"};
static const char *const cameras[MGI_WORLD_CAMERAS] = {
    "zoom in",     "zoom out",      "push in",     "pull out",     "pan right",   "pan left",
    "truck right", "truck left",    "tilt up",     "tilt down",    "pedestal up", "pedestal down",
    "arc shot",    "tracking shot", "static shot", "handheld shot"};

static const char *const expressions[MGI_FACES] = {"neutral", "smiling", "sad", "surprised"};
/* What people do where objects do what stands above; NULL: nothing of the kind. */
static const char *const deeds[MGI_WORLD_MOTIONS] = {
    "jumps", "walks left", "walks right", NULL, NULL, NULL, "looks around", "stays still"};
static const char *const doing[MGI_WORLD_MOTIONS] = {
    "jumping", "walking left", "walking right",  NULL,
    NULL,      NULL,           "looking around", "staying still"};

static const char *name_of(const char *const *names, int count, int i)
{
    return i >= 0 && i < count ? names[i] : "unknown";
}

const char *mgi_world_shape_name(int shape)
{
    return shape == MGI_WORLD_PERSON ? "person" : name_of(shapes, MGI_WORLD_SHAPES, shape);
}

const char *mgi_world_colour_name(int colour)
{
    return name_of(colours, MGI_WORLD_COLOURS, colour);
}

const char *mgi_world_size_name(int size)
{
    return name_of(sizes, MGI_WORLD_SIZES, size);
}

const char *mgi_world_background_name(int background)
{
    return name_of(backgrounds, MGI_WORLD_BACKGROUNDS, background);
}

const char *mgi_world_motion_name(int motion)
{
    return name_of(motions, MGI_WORLD_MOTIONS, motion);
}

const char *mgi_world_camera_name(int camera)
{
    return name_of(cameras, MGI_WORLD_CAMERAS, camera);
}

const char *mgi_world_expression_name(int expression)
{
    return name_of(expressions, MGI_FACES, expression);
}

/* ---- telling ------------------------------------------------------------------------------------ */

/* "a small red ball", "an orange cube"; with `article` "the" or "The" no choice is needed. */
static void say_object(mgi_saying *t, const mgi_world_object *o, const char *article,
                       bool colour_last)
{
    bool plain = o->size == MGI_WORLD_MEDIUM;
    const char *first = plain ? mgi_world_colour_name(o->colour) : mgi_world_size_name(o->size);
    mgi_say(t, article);
    if ((article[0] == 'a' || article[0] == 'A') && !(plain && colour_last) && first[0] == 'o')
        mgi_say(t, "n");
    mgi_say(t, " ");
    if (!plain) {
        mgi_say(t, mgi_world_size_name(o->size));
        mgi_say(t, " ");
    }
    if (!colour_last) {
        mgi_say(t, mgi_world_colour_name(o->colour));
        mgi_say(t, " ");
    }
    mgi_say(t, mgi_world_shape_name(o->shape));
    if (colour_last) {
        mgi_say(t, " that is ");
        mgi_say(t, mgi_world_colour_name(o->colour));
    }
}

static void say_background(mgi_saying *t, const mgi_world_scene *s)
{
    mgi_say(t, s->background == MGI_WORLD_MOON ? "the moon"
                                               : mgi_world_background_name(s->background));
}

static void say_sign(mgi_saying *t, const mgi_world_scene *s, const char *before, const char *after)
{
    if (!s->sign[0])
        return;
    mgi_say(t, before);
    mgi_say(t, "\"");
    mgi_say(t, s->sign);
    mgi_say(t, "\"");
    mgi_say(t, after);
}

/* All objects in one clause: ", " between them, "and" before the last. */
static void say_objects(mgi_saying *t, const mgi_world_scene *s, const char *article,
                        const char *const *verbs, bool colour_last)
{
    for (int i = 0; i < s->count; i++) {
        const mgi_world_object *o = &s->objects[i];
        mgi_say(t, !i ? "" : i < s->count - 1 ? ", " : " and ");
        say_object(t, o, article, colour_last);
        if (s->frames > 1) {
            mgi_say(t, " ");
            mgi_say(t, name_of(verbs, MGI_WORLD_MOTIONS, o->motion));
        }
    }
}

static void say_short(mgi_saying *t, const mgi_world_scene *s, int wording)
{
    if (wording == 1) {
        mgi_say(t, "on ");
        say_background(t, s);
        mgi_say(t, ", ");
    }
    say_objects(t, s, wording == 4 ? "the" : "a", wording == 2 ? participles : motions,
                wording == 3);
    if (wording == 4)
        mgi_say(t, "; the background is ");
    else if (wording != 1)
        mgi_say(t, " on ");
    if (wording != 1)
        say_background(t, s);
    say_sign(t, s, wording == 4 ? "; the sign reads " : ", with a sign that reads ", "");
}

static const char *const number_words[MGI_WORLD_OBJECTS + 1] = {"no objects", "one object",
                                                                "two objects", "three objects"};
static const char *const ordinals[MGI_WORLD_OBJECTS] = {
    "The first object is ", "The second object is ", "The third object is "};

static void say_dense(mgi_saying *t, const mgi_world_scene *s, int wording)
{
    bool listed = wording == MGI_WORLD_DENSE + 1;
    mgi_say(t, listed ? "The background is " : "There ");
    if (!listed) {
        mgi_say(t, s->count == 1 ? "is " : "are ");
        mgi_say(t, name_of(number_words, MGI_WORLD_OBJECTS + 1, s->count));
        mgi_say(t, " on ");
    }
    say_background(t, s);
    mgi_say(t, ".");
    for (int i = 0; i < s->count; i++) {
        const mgi_world_object *o = &s->objects[i];
        mgi_say(t, " ");
        if (listed)
            mgi_say(t, ordinals[i]);
        say_object(t, o, listed ? "a" : "A", false);
        if (s->frames > 1) {
            mgi_say(t, listed ? ". It " : " ");
            mgi_say(t, mgi_world_motion_name(o->motion));
        } else if (!listed) {
            mgi_say(t, " is there");
        }
        mgi_say(t, ".");
    }
    say_sign(t, s, listed ? " There is a sign with the text " : " A sign reads ", ".");
}

/* ---- people ------------------------------------------------------------------------------------- */

/* "a smiling person in a red shirt" */
static void say_person(mgi_saying *t, const mgi_world_scene *s, const char *article,
                       bool colour_last)
{
    const char *colour = mgi_world_colour_name(s->objects[0].colour);
    bool the = article[0] == 't';
    mgi_say(t, article);
    mgi_say(t, " ");
    mgi_say(t, mgi_world_expression_name(s->expression));
    mgi_say(t, " person in ");
    mgi_say(t, the ? "the " : colour[0] == 'o' && !colour_last ? "an " : "a ");
    if (!colour_last) {
        mgi_say(t, colour);
        mgi_say(t, " ");
    }
    mgi_say(t, "shirt");
    if (colour_last) {
        mgi_say(t, " that is ");
        mgi_say(t, colour);
    }
}

static void say_deed(mgi_saying *t, const mgi_world_scene *s, const char *before,
                     const char *const *verbs)
{
    const char *verb = verbs[(unsigned)s->objects[0].motion % MGI_WORLD_MOTIONS];
    if (s->frames == 1 || !verb)
        return;
    mgi_say(t, before);
    mgi_say(t, verb);
}

static void say_person_short(mgi_saying *t, const mgi_world_scene *s, int wording)
{
    if (wording == 1) {
        mgi_say(t, "on ");
        say_background(t, s);
        mgi_say(t, ", ");
    }
    say_person(t, s, wording == 4 ? "the" : "a", wording == 3);
    say_deed(t, s, " ", wording == 2 ? doing : deeds);
    if (wording != 1) {
        mgi_say(t, wording == 4 ? "; the background is " : " on ");
        say_background(t, s);
    }
}

static void say_person_dense(mgi_saying *t, const mgi_world_scene *s, int wording)
{
    bool listed = wording == MGI_WORLD_DENSE + 1;
    mgi_say(t, listed ? "The background is " : "There is somebody on ");
    say_background(t, s);
    mgi_say(t, listed ? ". " : ": ");
    say_person(t, s, listed ? "A" : "a", false);
    mgi_say(t, listed ? " can be seen." : ".");
    say_deed(t, s, " The person ", deeds);
    mgi_say(t, s->frames > 1 ? "." : "");
}

void mgi_world_caption(const mgi_world_scene *s, int wording, char out[MGI_WORLD_CAPTION_MAX])
{
    mgi_saying t = {out, 0, MGI_WORLD_CAPTION_MAX};
    out[0] = '\0';
    wording = (int)((unsigned)wording % MGI_WORLD_WORDINGS);
    if (s->frames > 1) {
        char fps[32];
        snprintf(fps, sizeof fps, "FPS-%d ", s->fps);
        mgi_say(&t, fps);
        if (s->camera != MGI_WORLD_STATIC || wording == 1 || wording >= MGI_WORLD_DENSE) {
            mgi_say(&t, mgi_world_camera_name(s->camera));
            mgi_say(&t, ". ");
        }
    }
    if (s->person && wording < MGI_WORLD_DENSE)
        say_person_short(&t, s, wording);
    else if (s->person)
        say_person_dense(&t, s, wording);
    else if (wording < MGI_WORLD_DENSE)
        say_short(&t, s, wording);
    else
        say_dense(&t, s, wording);
}

/* ---- understanding ------------------------------------------------------------------------------ */

static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The length of `phrase` if the text begins with it as whole words, in any case; else 0. */
static size_t begins(const char *p, const char *phrase)
{
    size_t n = 0;
    while (phrase[n] && lower(p[n]) == lower(phrase[n]))
        n++;
    return !phrase[n] && !in_word(p[n]) ? n : 0;
}

static size_t look_up(const char *p, const char *const *names, int count, int *value)
{
    for (int i = 0; i < count; i++) {
        size_t n = names[i] ? begins(p, names[i]) : 0;
        if (n) {
            *value = i;
            return n;
        }
    }
    return 0;
}

/* "AB3" with both quotes: its length. Only what fits on a sign is one. */
static size_t read_quoted(const char *p, char sign[MGI_WORLD_SIGN + 1])
{
    const char *end = strchr(p + 1, '"');
    size_t n = end ? (size_t)(end - p) - 1 : 0;
    if (!end)
        return 1;
    if (n >= 1 && n <= MGI_WORLD_SIGN) {
        memcpy(sign, p + 1, n);
        sign[n] = '\0';
    }
    return n + 2;
}

/* The i-th colour, and the i-th motion, is the i-th object's; a size stands before its object's shape. */
typedef struct reader {
    mgi_world_said *said;
    int colours, motions, size;
    bool person;
} reader;

static size_t read_word(reader *r, const char *p)
{
    mgi_world_said *s = r->said;
    int value;
    size_t n;
    if ((n = look_up(p, colours, MGI_WORLD_COLOURS, &value))) {
        if (r->colours < MGI_WORLD_OBJECTS)
            s->objects[r->colours++].colour = value;
    } else if ((n = look_up(p, sizes, MGI_WORLD_SIZES, &value))) {
        r->size = value;
    } else if ((n = look_up(p, shapes, MGI_WORLD_SHAPES, &value))) {
        if (s->count < MGI_WORLD_OBJECTS) {
            s->objects[s->count].shape = value;
            s->objects[s->count++].size = r->size;
        }
        r->size = MGI_WORLD_MEDIUM;
    } else if ((n = begins(p, "person"))) {
        if (s->count < MGI_WORLD_OBJECTS && !r->person) /* however often one is mentioned */
            s->objects[s->count++].shape = MGI_WORLD_PERSON;
        r->person = true;
    } else if ((n = look_up(p, expressions, MGI_FACES, &value))) {
        s->expression = 1 + value;
    } else if ((n = look_up(p, motions, MGI_WORLD_MOTIONS, &value)) ||
               (n = look_up(p, participles, MGI_WORLD_MOTIONS, &value)) ||
               (n = look_up(p, deeds, MGI_WORLD_MOTIONS, &value)) ||
               (n = look_up(p, doing, MGI_WORLD_MOTIONS, &value))) {
        if (r->motions < MGI_WORLD_OBJECTS)
            s->objects[r->motions++].motion = value;
    } else if ((n = look_up(p, backgrounds, MGI_WORLD_BACKGROUNDS, &value))) {
        s->background = value;
    } else if ((n = look_up(p, cameras, MGI_WORLD_CAMERAS, &value))) {
        s->camera = value;
    } else if (!strncmp(p, "FPS-", 4)) {
        s->fps = 0;
        for (n = 4; p[n] >= '0' && p[n] <= '9' && s->fps < 1000; n++)
            s->fps = 10 * s->fps + (p[n] - '0');
    } else if (*p == '"') {
        n = read_quoted(p, s->sign);
    }
    return n;
}

void mgi_world_parse(const char *caption, mgi_world_said *out)
{
    reader r = {.said = out, .size = MGI_WORLD_MEDIUM};
    *out = (mgi_world_said){.background = -1, .camera = -1};
    for (int i = 0; i < MGI_WORLD_OBJECTS; i++) {
        out->objects[i].shape = out->objects[i].colour = out->objects[i].motion = -1;
        out->objects[i].size = MGI_WORLD_MEDIUM;
    }
    for (const char *p = caption; *p;) {
        size_t n = read_word(&r, p);
        if (n)
            p += n;
        else if (in_word(*p))
            while (in_word(*p))
                p++;
        else
            p++;
    }
}
