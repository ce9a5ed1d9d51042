/* SPDX-License-Identifier: MIT
 * What users type. */
#include "data/world_prompt.h"

#include "core/philox.h"

#include <stdio.h>
#include <string.h>

/* ---- words --------------------------------------------------------------------------------------
 * Each is unambiguous among the world's: no "circle", which may be a ball or a ring, no "magenta", no "still". The first
 * of a row is the captions'. */

enum { ROW = 6 };
typedef const char *const row[ROW]; /* unused ones, at the end, are NULL */

static row shapes[MGI_WORLD_SHAPES] = {{"ball", "sphere", "orb", "globe", "round ball"},
                                       {"cube", "box", "block", "square"},
                                       {"triangle", "pyramid", "wedge", "three-sided shape"},
                                       {"star", "starfish", "five-pointed star", "pentagram"},
                                       {"ring", "hoop", "donut", "doughnut", "torus"},
                                       {"cross", "plus sign", "plus symbol", "plus shape"}};
static row colours[MGI_WORLD_COLOURS] = {{"red", "crimson", "scarlet", "ruby", "bright red"},
                                         {"orange", "tangerine", "pumpkin", "bright orange"},
                                         {"yellow", "lemon", "gold", "canary", "sunny yellow"},
                                         {"green", "emerald", "lime", "olive", "dark green"},
                                         {"cyan", "turquoise", "teal", "aqua", "aquamarine"},
                                         {"blue", "navy", "cobalt", "sapphire", "royal blue"},
                                         {"purple", "violet", "plum", "amethyst", "lavender"},
                                         {"pink", "rosy", "bubblegum", "hot pink", "flamingo"}};
static row sizes[MGI_WORLD_SIZES] = {
    {"small", "tiny", "little", "mini", "teeny", "wee"},
    {"medium", "medium-sized", "mid-sized", "normal-sized", "average"},
    {"large", "big", "huge", "giant", "enormous", "massive"}};

typedef struct place {
    const char *before, *article, *name;
} place;

static const place places[MGI_WORLD_BACKGROUNDS][ROW] = {{{"on ", "", "grass"},
                                                          {"on ", "a ", "meadow"},
                                                          {"on ", "a ", "lawn"},
                                                          {"in ", "a ", "grassy field"},
                                                          {"on ", "the ", "turf"},
                                                          {"in ", "a ", "pasture"}},
                                                         {{"on ", "", "snow"},
                                                          {"in ", "a ", "snowy field"},
                                                          {"in ", "the ", "snow"},
                                                          {"on ", "", "snow-covered ground"},
                                                          {"in ", "a ", "winter landscape"},
                                                          {"on ", "a ", "snowfield"}},
                                                         {{"on ", "", "sand"},
                                                          {"on ", "a ", "beach"},
                                                          {"in ", "the ", "desert"},
                                                          {"on ", "", "sandy ground"},
                                                          {"on ", "", "dunes"},
                                                          {"at ", "the ", "beach"}},
                                                         {{"on ", "", "stone"},
                                                          {"on ", "", "rocks"},
                                                          {"on ", "", "rocky ground"},
                                                          {"on ", "a ", "stone floor"},
                                                          {"on ", "", "cobblestones"},
                                                          {"on ", "", "bare rock"}},
                                                         {{"on ", "", "wood"},
                                                          {"on ", "a ", "wooden floor"},
                                                          {"on ", "", "planks"},
                                                          {"on ", "", "floorboards"},
                                                          {"on ", "a ", "wooden deck"},
                                                          {"on ", "", "wooden boards"}},
                                                         {{"on ", "the ", "moon"},
                                                          {"on ", "the ", "lunar surface"},
                                                          {"on ", "the ", "surface of the moon"},
                                                          {"on ", "", "lunar ground"},
                                                          {"in ", "a ", "lunar landscape"},
                                                          {"on ", "", "moon dust"}}};

static row motions[MGI_WORLD_MOTIONS] = {
    {"bounces", "hops", "jumps up and down", "bobs up and down", "keeps bouncing"},
    {"rolls left", "rolls to the left", "moves to the left", "goes left", "travels left",
     "heads left"},
    {"rolls right", "rolls to the right", "moves to the right", "goes right", "travels right",
     "heads right"},
    {"rises", "floats up", "goes up", "climbs", "ascends", "moves upwards"},
    {"falls", "drops", "comes down", "descends", "sinks", "moves downwards"},
    {"orbits", "circles around", "moves in circles", "flies in circles", "goes round in circles"},
    {"spins", "twirls", "rotates", "whirls", "turns around itself", "keeps spinning"},
    {"stays still", "does not move", "doesn't move", "stands still", "stays put", "sits there"}};
static row participles[MGI_WORLD_MOTIONS] = {
    {"bouncing", "hopping", "jumping up and down", "bobbing up and down"},
    {"rolling left", "rolling to the left", "moving to the left", "going left", "travelling left",
     "heading left"},
    {"rolling right", "rolling to the right", "moving to the right", "going right",
     "travelling right", "heading right"},
    {"rising", "floating up", "going up", "climbing", "ascending", "moving upwards"},
    {"falling", "dropping", "coming down", "descending", "sinking", "moving downwards"},
    {"orbiting", "circling around", "moving in circles", "flying in circles",
     "going round in circles"},
    {"spinning", "twirling", "rotating", "whirling", "turning around itself"},
    {"staying still", "not moving", "standing still", "staying put", "sitting there", "resting"}};
static row cameras[MGI_WORLD_CAMERAS] = {
    {"zoom in", "the camera zooms in", "zooming in", "lens zooms in", "with a zoom in"},
    {"zoom out", "the camera zooms out", "zooming out", "lens zooms out", "with a zoom out"},
    {"push in", "the camera moves closer", "camera pushes in", "dolly in",
     "the camera goes forward"},
    {"pull out", "the camera backs away", "camera pulls back", "dolly out",
     "the camera goes backward"},
    {"pan right", "the camera pans right", "camera pans to the right", "camera turns right",
     "panning right"},
    {"pan left", "the camera pans left", "camera pans to the left", "camera turns left",
     "panning left"},
    {"truck right", "the camera trucks right", "camera slides to the right",
     "the camera moves sideways to the right", "camera glides right"},
    {"truck left", "the camera trucks left", "camera slides to the left",
     "the camera moves sideways to the left", "camera glides left"},
    {"tilt up", "the camera tilts up", "camera tilting up", "the camera looks up",
     "tilt the camera upwards"},
    {"tilt down", "the camera tilts down", "camera tilting down", "the camera looks down",
     "tilt the camera downwards"},
    {"pedestal up", "the camera goes up", "camera lifts", "crane up", "the camera moves upwards"},
    {"pedestal down", "the camera goes down", "camera lowers", "crane down",
     "the camera moves downwards"},
    {"arc shot", "the camera arcs around", "camera in an arc", "the camera goes around the scene",
     "arcing camera"},
    {"tracking shot", "the camera follows along", "camera tracks it", "following camera",
     "the camera follows it"},
    {"static shot", "static camera", "fixed camera", "the camera does not move", "tripod shot"},
    {"handheld shot", "shaky camera", "handheld camera", "the camera shakes", "filmed by hand"}};

static row people = {"person", "someone", "somebody", "human"};
static row shirts = {"shirt", "t-shirt", "top", "sweater"};
static row faces[MGI_FACES] = {{"neutral", "calm", "expressionless"},
                               {"smiling", "happy", "grinning", "cheerful"},
                               {"sad", "unhappy", "gloomy", "sorrowful"},
                               {"surprised", "astonished", "amazed", "startled"}};
static row deeds[MGI_WORLD_MOTIONS] = {
    [MGI_WORLD_BOUNCE] = {"jumps", "hops", "leaps", "jumps up and down"},
    [MGI_WORLD_ROLL_LEFT] = {"walks left", "walks to the left", "goes left", "strolls left"},
    [MGI_WORLD_ROLL_RIGHT] = {"walks right", "walks to the right", "goes right", "strolls right"},
    [MGI_WORLD_SPIN] = {"looks around", "glances around", "looks to both sides"},
    [MGI_WORLD_STILL] = {"stays still", "does not move", "doesn't move", "stands still"}};
static row doing[MGI_WORLD_MOTIONS] = {
    [MGI_WORLD_BOUNCE] = {"jumping", "hopping", "leaping", "jumping up and down"},
    [MGI_WORLD_ROLL_LEFT] = {"walking left", "walking to the left", "going left", "strolling left"},
    [MGI_WORLD_ROLL_RIGHT] = {"walking right", "walking to the right", "going right",
                              "strolling right"},
    [MGI_WORLD_SPIN] = {"looking around", "glancing around", "looking to both sides"},
    [MGI_WORLD_STILL] = {"staying still", "not moving", "standing still"}};

/* '@' is the kind of film; in the first rows behind it something that happens, in the second things. */
static const char *const asks_that[] = {"please make a @ where ",   "can you make a @ in which ",
                                        "i want a @ where ",        "generate a @ where ",
                                        "i would like to see how ", "imagine: "};
static const char *const asks_for[] = {"please make a @ of ",
                                       "i'd like a @ of ",
                                       "a @ of ",
                                       "a short @ of ",
                                       "@ of ",
                                       "create a @ showing ",
                                       "show me ",
                                       "i need a @ with ",
                                       "give me ",
                                       "can i have a @ of ",
                                       "could you generate ",
                                       "hi, make me a @ with "};
static const char *const asks[] = {"@: ", "prompt: ", "new @: ", "idea for a @: "};
static const char *const films[] = {"video", "clip", "film", "movie"};
static const char *const pictures[] = {"picture", "photo", "drawing", "painting"};
static const char *const ends[] = {"",  "",        "",         ".",         ".",
                                   "!", " please", ", please", ", thanks!", ". thank you"};
static const char *const breaks[] = {", ", ", ", ", ", " ", "; ", " - ", " / "};

#define COUNT(list) ((int)(sizeof(list) / sizeof(list)[0]))

/* ---- drawing lots -------------------------------------------------------------------------------- */

enum { LOTS = 256 }; /* for a prompt, more than any needs */

typedef struct typist {
    const mgi_world_scene *s;
    uint64_t seed, first, next;
    char *out;
    size_t used;
    enum { SENTENCES, LOWER, UPPER } letters;
    bool begins; /* a sentence */
    bool articles, quotes, film;
    const char *comma;
    mgi_world_said says;
} typist;

static int choose(typist *t, int count)
{
    uint64_t u = mgi_random_u32(t->seed, MGI_STREAM_PROMPT, t->first + t->next++ % LOTS);
    return (int)(u * (uint64_t)count >> 32);
}

static bool one_in(typist *t, int count)
{
    return choose(t, count) == 0;
}

static const char *word(typist *t, row of)
{
    int count = 0;
    while (count < ROW && of[count])
        count++;
    return count ? of[choose(t, count)] : "";
}

/* What all the rest depends on. */
static void begin(typist *t, const mgi_world_scene *s, uint64_t seed, uint64_t lot)
{
    *t = (typist){.s = s, .seed = seed, .first = lot * LOTS, .film = s->frames > 1};
    const int left_out = choose(t, 10);
    mgi_world_said *says = &t->says;
    says->count = s->count;
    says->background = left_out == 0 ? -1 : s->background;
    says->camera = t->film ? s->camera : -1;
    memcpy(says->sign, s->sign, sizeof says->sign);
    says->expression = s->person ? 1 + s->expression : 0;
    for (int i = 0; i < MGI_WORLD_OBJECTS; i++) {
        const mgi_world_object *o = &s->objects[i];
        const bool there = i < s->count;
        says->objects[i].shape = !there ? -1 : s->person ? MGI_WORLD_PERSON : o->shape;
        says->objects[i].colour = there ? o->colour : -1;
        says->objects[i].size = there && !s->person ? o->size : MGI_WORLD_MEDIUM;
        says->objects[i].motion = there && t->film && left_out != 1 ? o->motion : -1;
    }
}

/* ---- typing ------------------------------------------------------------------------------------- */

static bool small(char c)
{
    return c >= 'a' && c <= 'z';
}

static void type_character(typist *t, char c)
{
    if (t->used + 1 >= MGI_WORLD_CAPTION_MAX)
        return;
    t->out[t->used++] = c;
    t->out[t->used] = '\0';
}

static void say(typist *t, const char *words)
{
    for (; *words; words++) {
        const bool raised = t->letters == UPPER || (t->letters == SENTENCES && t->begins);
        type_character(t, raised && small(*words) ? (char)(*words - 'a' + 'A') : *words);
        if (*words == '.' || *words == '!')
            t->begins = true;
        else if (*words != ' ')
            t->begins = false;
    }
}

/* The longest word of what says nothing, mistyped: two letters changed places, or one is missing. */
static void mistype(typist *t, char *words)
{
    int best = 0, length = 0;
    for (int i = 0, n = 0; words[i]; i++) {
        n = small(words[i]) ? n + 1 : 0;
        if (n > length) {
            length = n;
            best = i + 1 - n;
        }
    }
    if (length < 4)
        return;
    char *at = words + best + 1 + choose(t, length - 2), first = at[0];
    if (one_in(t, 2)) {
        at[0] = at[1];
        at[1] = first;
    } else {
        memmove(at, at + 1, strlen(at));
    }
}

static void say_around(typist *t, const char *words)
{
    char text[96];
    const char *at = strchr(words, '@'), *kind = "";
    if (at)
        kind = t->film ? films[choose(t, COUNT(films))] : pictures[choose(t, COUNT(pictures))];
    snprintf(text, sizeof text, "%.*s%s%s", at ? (int)(at - words) : 0, words, kind,
             at ? at + 1 : words);
    if (one_in(t, 8))
        mistype(t, text);
    say(t, text);
}

static void say_article(typist *t, const char *article, const char *next)
{
    if (!t->articles)
        return;
    say(t, article);
    if (article[0] == 'a' && strchr("aeiou", next[0]))
        say(t, "n");
    say(t, " ");
}

static void say_person(typist *t)
{
    const char *face = word(t, faces[(unsigned)t->s->expression % MGI_FACES]);
    const char *colour = word(t, colours[(unsigned)t->s->objects[0].colour % MGI_WORLD_COLOURS]);
    say_article(t, "a", face);
    say(t, face);
    say(t, " ");
    say(t, word(t, people));
    say(t, one_in(t, 2) ? " in " : " wearing ");
    say_article(t, "a", colour);
    say(t, colour);
    say(t, " ");
    say(t, word(t, shirts));
}

/* "a tiny navy box", "a tiny box coloured navy" */
static void say_object(typist *t, int i, const char *article)
{
    const mgi_world_object *o = &t->s->objects[i];
    const bool plain = o->size == MGI_WORLD_MEDIUM && !one_in(t, 6);
    const bool last = one_in(t, 8), suffix = one_in(t, 12);
    const char *size = plain ? "" : word(t, sizes[(unsigned)o->size % MGI_WORLD_SIZES]);
    const char *colour = word(t, colours[(unsigned)o->colour % MGI_WORLD_COLOURS]);
    const char *shape = word(t, shapes[(unsigned)o->shape % MGI_WORLD_SHAPES]);
    say_article(t, article, !plain ? size : last ? shape : colour);
    if (!plain) {
        say(t, size);
        say(t, " ");
    }
    if (!last) {
        say(t, colour);
        say(t, suffix ? " coloured " : " ");
    }
    say(t, shape);
    if (last) {
        say(t, suffix ? " of the colour " : " coloured ");
        say(t, colour);
    }
}

static void say_thing(typist *t, int i, const char *article)
{
    if (t->s->person)
        say_person(t);
    else
        say_object(t, i, article);
}

static bool moves(const typist *t)
{
    return t->says.objects[0].motion >= 0;
}

static void say_motion(typist *t, int i, bool participle)
{
    const unsigned motion = (unsigned)t->s->objects[i].motion % MGI_WORLD_MOTIONS;
    if (t->s->person)
        say(t, word(t, participle ? doing[motion] : deeds[motion]));
    else
        say(t, word(t, participle ? participles[motion] : motions[motion]));
}

/* How what an object does is joined to it. */
enum { DOES, IS_DOING, DOING, COMMA_DOING, THAT_DOES, WHICH_IS_DOING, FORMS };

static void say_deed(typist *t, int i, int form)
{
    static const char *const before[FORMS] = {" ", " is ", " ", ", ", " that ", " which is "};
    if (!moves(t))
        return;
    say(t, before[form]);
    say_motion(t, i, form != DOES && form != THAT_DOES);
}

static bool same_motions(const typist *t)
{
    for (int i = 1; i < t->s->count; i++)
        if (t->s->objects[i].motion != t->s->objects[0].motion)
            return false;
    return t->s->count > 1 && moves(t);
}

static void say_things(typist *t, int form)
{
    static const char *const joints[] = {" and ", ", and ", " and also ", " along with ", ", "};
    static const char *const articles[] = {"a", "a", "a", "a", "one", "the"};
    const bool clauses = form <= IS_DOING, shared = same_motions(t) && one_in(t, 2);
    const char *joint =
        clauses && moves(t) && one_in(t, 3) ? " while " : joints[choose(t, clauses ? 2 : 5)];
    const char *article = articles[choose(t, COUNT(articles))];
    for (int i = 0; i < t->s->count; i++) {
        if (i)
            say(t, i < t->s->count - 1 && one_in(t, 2) ? ", " : joint);
        say_thing(t, i, article);
        if (!shared)
            say_deed(t, i, form);
    }
    if (shared) {
        say(t, form == DOING ? " " : ", ");
        say(t, t->s->count == 2 ? "both " : "all ");
        say(t, clauses ? "are " : "");
        say_motion(t, 0, true);
    }
}

static const place *choose_place(typist *t)
{
    return &places[(unsigned)t->s->background % MGI_WORLD_BACKGROUNDS][choose(t, ROW)];
}

static bool has_place(const typist *t)
{
    return t->says.background >= 0;
}

static void say_place_name(typist *t, const place *p)
{
    say(t, t->articles ? p->article : "");
    say(t, p->name);
}

static void say_place(typist *t, const char *before)
{
    const place *p = choose_place(t);
    if (!has_place(t))
        return;
    say(t, before);
    say(t, p->before);
    say_place_name(t, p);
}

static void say_sign(typist *t, const char *const words[2])
{
    if (!t->s->sign[0])
        return;
    say(t, words[0]);
    if (t->quotes)
        type_character(t, '"');
    for (const char *c = t->s->sign; *c; c++)
        type_character(t, *c);
    if (t->quotes)
        type_character(t, '"');
    t->begins = false;
    say(t, words[1]);
}

static bool tells_camera(typist *t)
{
    const bool telling = one_in(t, 3);
    return t->film && (t->s->camera != MGI_WORLD_STATIC || telling);
}

static void say_camera(typist *t)
{
    say(t, word(t, cameras[(unsigned)t->s->camera % MGI_WORLD_CAMERAS]));
}

/* ---- prompts ------------------------------------------------------------------------------------ */

/* All in one sentence. */
static void type_sentence(typist *t)
{
    static const char *const signs[][2] = {
        {"with a sign saying ", ""},           {"with a sign that says ", ""},
        {"with a sign that reads ", ""},       {"and a sign with ", " on it"},
        {"with the word ", " on a sign"},      {"that reads ", " on a sign"},
        {"next to a sign reading ", ""},       {"and the sign should say ", ""},
        {"there is a sign with the text ", ""}};
    static const char *const first[][2] = {{"a sign saying ", " and "},
                                           {"a sign that reads ", " and "},
                                           {"the word ", " on a sign and "}};
    const bool camera = tells_camera(t), camera_first = camera && one_in(t, 4);
    const bool sign_first = t->s->sign[0] && one_in(t, 6);
    const int kind =
        camera_first ? 3 : choose(t, 5); /* of beginning: what happens, things, either */
    const bool place_first = kind != 1 && kind != 2 && !sign_first && one_in(t, 4);
    if (camera_first) {
        say_camera(t);
        say(t, one_in(t, 2) ? ". " : ", ");
    } else if (kind == 0) {
        say_around(t, asks_that[choose(t, COUNT(asks_that))]);
    } else if (kind <= 2) {
        say_around(t, asks_for[choose(t, COUNT(asks_for))]);
    } else if (kind == 3) {
        say_around(t, asks[choose(t, COUNT(asks))]);
    }
    if (place_first && has_place(t)) {
        say_place(t, "");
        say(t, t->comma);
    }
    if (sign_first)
        say_sign(t, first[choose(t, COUNT(first))]);
    say_things(t, kind == 0                 ? choose(t, 2)
                  : kind <= 2 || sign_first ? DOING + choose(t, 4)
                                            : choose(t, FORMS));
    if (!place_first)
        say_place(t, " ");
    if (!sign_first && t->s->sign[0]) {
        say(t, t->comma);
        say_sign(t, signs[choose(t, COUNT(signs))]);
    }
    if (camera && !camera_first) {
        say(t, one_in(t, 4) ? ". " : t->comma);
        say_camera(t);
    }
}

/* One after another. */
static void type_sentences(typist *t)
{
    static const char *const there[] = {"there is ", "we see ", "i see ", "it shows "};
    static const char *const where[][2] = {{"the background is ", ""},
                                           {"the background should be ", ""},
                                           {"background: ", ""},
                                           {"all of it happens ", "on"}};
    static const char *const signs[][2] = {{". a sign says ", ""},
                                           {". there is a sign with the text ", ""},
                                           {". it says ", " on a sign"},
                                           {". the sign reads ", ""},
                                           {". add a sign that reads ", ""}};
    const bool camera = tells_camera(t), camera_first = camera && one_in(t, 4);
    const bool place_first = has_place(t) && one_in(t, 3), together = one_in(t, 2);
    if (camera_first) {
        say_camera(t);
        say(t, ". ");
    } else if (one_in(t, 4)) {
        say_around(t, "i want a @. ");
    }
    for (int part = 0; part < 2; part++) {
        if ((part == 0) != place_first) {
            say(t, part ? ". " : "");
            if (together) {
                say(t, there[choose(t, COUNT(there))]);
                say_things(t, DOING + choose(t, 4));
                continue;
            }
            for (int i = 0; i < t->s->count; i++) {
                say(t, !i ? "" : ". ");
                say(t, i ? "there is also " : there[choose(t, COUNT(there))]);
                say_thing(t, i, "a");
                say_deed(t, i, DOING + choose(t, 4));
            }
        } else if (has_place(t)) {
            const int k = choose(t, COUNT(where));
            say(t, part ? ". " : "");
            say(t, where[k][0]);
            if (where[k][1][0])
                say_place(t, "");
            else
                say_place_name(t, choose_place(t));
        }
    }
    say_sign(t, signs[choose(t, COUNT(signs))]);
    if (camera && !camera_first) {
        say(t, ". ");
        say_camera(t);
    }
}

/* Words one after another, as users of search engines have it. */
static void type_tags(typist *t)
{
    static const char *const signs[][2] = {
        {"sign ", ""}, {"sign: ", ""}, {"text: ", ""}, {"sign saying ", ""}, {"sign with ", ""}};
    const char *between = breaks[choose(t, COUNT(breaks))];
    const bool camera = tells_camera(t), joined = one_in(t, 2);
    const int turn = choose(t, 4), form = one_in(t, 2) ? DOING : DOES;
    bool any = false;
    t->articles = false;
    for (int k = 0; k < 4; k++) { /* objects, place, sign, camera: begun with any of them */
        const int part = (k + turn) % 4;
        const bool there = part == 0 || (part == 1   ? has_place(t)
                                         : part == 2 ? t->s->sign[0] != '\0'
                                                     : camera);
        if (!there)
            continue;
        say(t, any ? between : "");
        any = true;
        if (part == 0)
            for (int i = 0; i < t->s->count; i++) {
                say(t, !i ? "" : joined ? " and " : between);
                say_thing(t, i, "a");
                say_deed(t, i, form);
            }
        else if (part == 1)
            say_place_name(t, choose_place(t));
        else if (part == 2)
            say_sign(t, signs[choose(t, COUNT(signs))]);
        else
            say_camera(t);
    }
}

/* As a form would ask. */
static void type_form(typist *t)
{
    static const char *const signs[][2] = {{"text: ", ""}, {"sign: ", ""}, {"sign says: ", ""}};
    static const char *const where[] = {"background: ", "place: ", "where: ", "setting: "};
    const char *end = one_in(t, 2) ? ". " : "; ";
    const bool camera = tells_camera(t), brackets = one_in(t, 2), place_first = one_in(t, 2);
    const char *place_key = where[choose(t, COUNT(where))];
    t->articles = one_in(t, 3);
    if (place_first && has_place(t)) {
        say(t, place_key);
        say_place_name(t, choose_place(t));
        say(t, end);
    }
    say(t, t->s->person ? "who: " : t->s->count == 1 ? "object: " : "objects: ");
    for (int i = 0; i < t->s->count; i++) {
        say(t, i ? ", " : "");
        say_thing(t, i, "a");
        if (moves(t)) {
            say(t, brackets ? " (" : " ");
            say_motion(t, i, true);
            say(t, brackets ? ")" : "");
        }
    }
    if (!place_first && has_place(t)) {
        say(t, end);
        say(t, place_key);
        say_place_name(t, choose_place(t));
    }
    if (t->s->sign[0]) {
        say(t, end);
        say_sign(t, signs[choose(t, COUNT(signs))]);
    }
    if (camera) {
        say(t, end);
        say(t, "camera: ");
        say_camera(t);
    }
}

/* Behind the rate, which a caption of a film has. */
static const char *caption(const mgi_world_scene *s, int wording, char out[MGI_WORLD_CAPTION_MAX])
{
    mgi_world_caption(s, wording, out);
    const char *space = s->frames > 1 ? strchr(out, ' ') : NULL;
    return space ? space + 1 : out;
}

static bool is_caption(const typist *t)
{
    char text[MGI_WORLD_CAPTION_MAX];
    for (int w = 0; w < MGI_WORLD_WORDINGS; w++)
        if (!strcmp(caption(t->s, w, text), t->out))
            return true;
    return false;
}

static void type_prompt(typist *t, const char *before)
{
    const int letters = choose(t, 16), style = choose(t, 8);
    t->letters = letters == 0 ? UPPER : letters < 8 ? LOWER : SENTENCES;
    t->begins = true;
    t->articles = !one_in(t, 4);
    t->quotes = one_in(t, 2);
    t->comma = one_in(t, 3) ? " " : ", ";
    t->used = 0;
    t->out[0] = '\0';
    say(t, before);
    if (style < 4)
        type_sentence(t);
    else if (style < 6)
        type_sentences(t);
    else if (style < 7)
        type_tags(t);
    else
        type_form(t);
    say_around(t, ends[choose(t, COUNT(ends))]);
}

void mgi_world_prompt(const mgi_world_scene *s, uint64_t seed, uint64_t lot,
                      char out[MGI_WORLD_CAPTION_MAX])
{
    typist t;
    begin(&t, s, seed, lot);
    t.out = out;
    type_prompt(&t, "");
    if (is_caption(&t)) /* by chance */
        type_prompt(&t, "show me ");
}

void mgi_world_prompt_says(const mgi_world_scene *s, uint64_t seed, uint64_t lot,
                           mgi_world_said *out)
{
    typist t;
    begin(&t, s, seed, lot);
    *out = t.says;
}

/* The plain wording, which films of the shipped model follow as well as longer ones (docs/rewriting.md). */
void mgi_world_told(const mgi_world_scene *s, char out[MGI_WORLD_CAPTION_MAX])
{
    char text[MGI_WORLD_CAPTION_MAX];
    const char *told = caption(s, 0, text);
    memcpy(out, told, strlen(told) + 1);
}
