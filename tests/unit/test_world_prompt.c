/* SPDX-License-Identifier: MIT
 * What users type for scenes of the world, read here with words of the test's own: it says what the scene has, in many
 * ways, and is no caption. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/hash.h"
#include "data/world_prompt.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCENES = 20000, WORLD = 23, SEED = 7 };

/* ---- reading ------------------------------------------------------------------------------------ */

enum { SHAPE, COLOUR, SIZE, PLACE, MOTION, CAMERA, FACE, ALL_OF_THEM, TEXT, NOTHING };

/* The longest phrase that stands at a word's beginning counts; of equally long ones the last. */
static const struct {
    int kind, value;
    const char *phrases; /* with '|' between them */
} lexicon[] = {
    {SHAPE, MGI_WORLD_BALL, "ball|sphere|orb|globe"},
    {SHAPE, MGI_WORLD_CUBE, "cube|box|block|square"},
    {SHAPE, MGI_WORLD_TRIANGLE, "triangle|pyramid|wedge|three-sided shape"},
    {SHAPE, MGI_WORLD_STAR, "star|starfish|pentagram"},
    {SHAPE, MGI_WORLD_RING, "ring|hoop|donut|doughnut|torus"},
    {SHAPE, MGI_WORLD_CROSS, "cross|plus sign|plus symbol|plus shape"},
    {SHAPE, MGI_WORLD_PERSON, "person|someone|somebody|human"},
    {COLOUR, MGI_WORLD_RED, "red|crimson|scarlet|ruby"},
    {COLOUR, MGI_WORLD_ORANGE, "orange|tangerine|pumpkin"},
    {COLOUR, MGI_WORLD_YELLOW, "yellow|lemon|gold|canary"},
    {COLOUR, MGI_WORLD_GREEN, "green|emerald|lime|olive"},
    {COLOUR, MGI_WORLD_CYAN, "cyan|turquoise|teal|aqua|aquamarine"},
    {COLOUR, MGI_WORLD_BLUE, "blue|navy|cobalt|sapphire"},
    {COLOUR, MGI_WORLD_PURPLE, "purple|violet|plum|amethyst|lavender"},
    {COLOUR, MGI_WORLD_PINK, "pink|rosy|bubblegum|flamingo"},
    {SIZE, MGI_WORLD_SMALL, "small|tiny|little|mini|teeny|wee"},
    {SIZE, MGI_WORLD_MEDIUM, "medium|medium-sized|mid-sized|normal-sized|average"},
    {SIZE, MGI_WORLD_LARGE, "large|big|huge|giant|enormous|massive"},
    {PLACE, MGI_WORLD_GRASS, "grass|meadow|lawn|grassy field|turf|pasture"},
    {PLACE, MGI_WORLD_SNOW, "snow|snowy field|snow-covered ground|winter landscape|snowfield"},
    {PLACE, MGI_WORLD_SAND, "sand|beach|desert|sandy ground|dunes"},
    {PLACE, MGI_WORLD_STONE, "stone|rocks|rocky ground|stone floor|cobblestones|bare rock"},
    {PLACE, MGI_WORLD_WOOD, "wood|wooden floor|planks|floorboards|wooden deck|wooden boards"},
    {PLACE, MGI_WORLD_MOON,
     "moon|lunar surface|surface of the moon|surface of moon|lunar ground|lunar landscape|"
     "moon dust"},
    {MOTION, MGI_WORLD_BOUNCE,
     "bounces|bouncing|hops|hopping|jumps|jumping|jumps up and down|jumping up and down|"
     "bobs up and down|bobbing up and down|leaps|leaping|keeps bouncing"},
    {MOTION, MGI_WORLD_ROLL_LEFT,
     "rolls left|rolling left|rolls to the left|rolling to the left|moves to the left|"
     "moving to the left|goes left|going left|travels left|travelling left|heads left|"
     "heading left|walks left|walking left|walks to the left|walking to the left|strolls left|"
     "strolling left"},
    {MOTION, MGI_WORLD_ROLL_RIGHT,
     "rolls right|rolling right|rolls to the right|rolling to the right|moves to the right|"
     "moving to the right|goes right|going right|travels right|travelling right|heads right|"
     "heading right|walks right|walking right|walks to the right|walking to the right|"
     "strolls right|strolling right"},
    {MOTION, MGI_WORLD_RISE,
     "rises|rising|floats up|floating up|goes up|going up|climbs|climbing|ascends|ascending|"
     "moves upwards|moving upwards"},
    {MOTION, MGI_WORLD_FALL,
     "falls|falling|drops|dropping|comes down|coming down|descends|descending|sinks|sinking|"
     "moves downwards|moving downwards"},
    {MOTION, MGI_WORLD_ORBIT,
     "orbits|orbiting|circles around|circling around|moves in circles|moving in circles|"
     "flies in circles|flying in circles|goes round in circles|going round in circles"},
    {MOTION, MGI_WORLD_SPIN,
     "spins|spinning|twirls|twirling|rotates|rotating|whirls|whirling|turns around itself|"
     "turning around itself|keeps spinning|looks around|looking around|glances around|"
     "glancing around|looks to both sides|looking to both sides"},
    {MOTION, MGI_WORLD_STILL,
     "stays still|staying still|does not move|doesn't move|not moving|stands still|"
     "standing still|stays put|staying put|sits there|sitting there|resting"},
    {CAMERA, MGI_WORLD_ZOOM_IN, "zoom in|zooms in|zooming in"},
    {CAMERA, MGI_WORLD_ZOOM_OUT, "zoom out|zooms out|zooming out"},
    {CAMERA, MGI_WORLD_PUSH_IN,
     "push in|camera moves closer|camera pushes in|dolly in|camera goes forward"},
    {CAMERA, MGI_WORLD_PULL_OUT,
     "pull out|camera backs away|camera pulls back|dolly out|camera goes backward"},
    {CAMERA, MGI_WORLD_PAN_RIGHT,
     "pan right|pans right|pans to the right|camera turns right|panning right"},
    {CAMERA, MGI_WORLD_PAN_LEFT,
     "pan left|pans left|pans to the left|camera turns left|panning left"},
    {CAMERA, MGI_WORLD_TRUCK_RIGHT,
     "truck right|trucks right|camera slides to the right|camera moves sideways to the right|"
     "camera glides right"},
    {CAMERA, MGI_WORLD_TRUCK_LEFT,
     "truck left|trucks left|camera slides to the left|camera moves sideways to the left|"
     "camera glides left"},
    {CAMERA, MGI_WORLD_TILT_UP,
     "tilt up|tilts up|tilting up|camera looks up|tilt the camera upwards"},
    {CAMERA, MGI_WORLD_TILT_DOWN,
     "tilt down|tilts down|tilting down|camera looks down|tilt the camera downwards"},
    {CAMERA, MGI_WORLD_PEDESTAL_UP,
     "pedestal up|camera goes up|camera lifts|crane up|camera moves upwards"},
    {CAMERA, MGI_WORLD_PEDESTAL_DOWN,
     "pedestal down|camera goes down|camera lowers|crane down|camera moves downwards"},
    {CAMERA, MGI_WORLD_ARC,
     "arc shot|camera arcs around|camera in an arc|camera goes around the scene|arcing camera"},
    {CAMERA, MGI_WORLD_TRACKING,
     "tracking shot|camera follows along|camera tracks it|following camera|camera follows it"},
    {CAMERA, MGI_WORLD_STATIC,
     "static shot|static camera|fixed camera|camera does not move|tripod shot"},
    {CAMERA, MGI_WORLD_HANDHELD,
     "handheld shot|shaky camera|handheld camera|camera shakes|filmed by hand"},
    {FACE, MGI_FACE_NEUTRAL, "neutral|calm|expressionless"},
    {FACE, MGI_FACE_SMILING, "smiling|happy|grinning|cheerful"},
    {FACE, MGI_FACE_SAD, "sad|unhappy|gloomy|sorrowful"},
    {FACE, MGI_FACE_SURPRISED, "surprised|astonished|amazed|startled"},
    {ALL_OF_THEM, 0, "both|all"},
    {NOTHING, 0, "all of it|on a sign|on sign"},
    {TEXT, 0,
     "sign|text|text:|sign:|says|saying|reads|reading|should say|it says|sign says|sign says:|"
     "sign saying|sign that says|sign that reads|sign reading|sign reads|sign with the text|"
     "sign with|the word|that reads|sign should say"}};
enum { ENTRIES = sizeof lexicon / sizeof lexicon[0] };

/* The length of a phrase of `of` that the text begins with, the longest; 0: none. */
static size_t begins(const char *p, const char *of)
{
    size_t best = 0;
    for (const char *end; *of; of = *end ? end + 1 : end) {
        size_t n = 0;
        for (end = of; *end && *end != '|'; end++)
            ;
        while (of + n < end && tolower((unsigned char)p[n]) == of[n])
            n++;
        if (of + n == end && !isalnum((unsigned char)p[n]) && n > best)
            best = n;
    }
    return best;
}

typedef struct reading {
    mgi_world_said said;
    int shapes, colours, motions, texts, size;
    bool together, quoted;
} reading;

/* A text is one word behind what announces it. */
static size_t read_text(reading *r, const char *p)
{
    size_t n = 0;
    char text[MGI_WORLD_SIGN + 2] = "";
    const bool quoted = *p == '"';
    const char *from = p + quoted;
    while (n <= MGI_WORLD_SIGN &&
           (isupper((unsigned char)from[n]) || isdigit((unsigned char)from[n])))
        n++;
    memcpy(text, from, n);
    if (n == 0 || n > MGI_WORLD_SIGN || isalnum((unsigned char)from[n]) ||
        (quoted && from[n] != '"'))
        fail_msg("no text in \"%s\"", p);
    memcpy(r->said.sign, text, n + 1);
    r->quoted = quoted;
    r->texts++;
    return n + 2 * (size_t)quoted;
}

static void take(reading *r, int kind, int value)
{
    mgi_world_said *s = &r->said;
    if ((kind == SHAPE && r->shapes == 3) || (kind == COLOUR && r->colours == 3) ||
        (kind == MOTION && r->motions == 3))
        fail_msg("a fourth of kind %d", kind);
    if (kind == SHAPE) {
        s->objects[r->shapes].size = r->size;
        s->objects[r->shapes++].shape = value;
        r->size = MGI_WORLD_MEDIUM;
    } else if (kind == COLOUR) {
        s->objects[r->colours++].colour = value;
    } else if (kind == SIZE) {
        r->size = value;
    } else if (kind == PLACE) {
        assert_int_equal(s->background, -1);
        s->background = value;
    } else if (kind == CAMERA) {
        assert_int_equal(s->camera, -1);
        s->camera = value;
    } else if (kind == FACE) {
        s->expression = 1 + value;
    } else if (kind == ALL_OF_THEM) {
        r->together = true;
    } else if (kind == MOTION && r->together) {
        assert_int_equal(r->motions, 0);
        while (r->motions < r->shapes)
            s->objects[r->motions++].motion = value;
    } else if (kind == MOTION) {
        s->objects[r->motions++].motion = value;
    }
}

static reading read_prompt(const char *text)
{
    reading r = {.size = MGI_WORLD_MEDIUM};
    r.said = (mgi_world_said){.background = -1, .camera = -1};
    for (int i = 0; i < MGI_WORLD_OBJECTS; i++) {
        r.said.objects[i].shape = r.said.objects[i].colour = r.said.objects[i].motion = -1;
        r.said.objects[i].size = MGI_WORLD_MEDIUM;
    }
    for (const char *p = text; *p;) {
        size_t best = 0;
        int entry = 0;
        for (int i = 0; i < ENTRIES; i++) {
            const size_t n = begins(p, lexicon[i].phrases);
            if (n && n >= best) {
                best = n;
                entry = i;
            }
        }
        if (best && lexicon[entry].kind == TEXT) {
            p += best;
            p += strspn(p, ": ");
            p += read_text(&r, p);
        } else if (best) {
            take(&r, lexicon[entry].kind, lexicon[entry].value);
            p += best;
        } else if (isalnum((unsigned char)*p)) {
            while (isalnum((unsigned char)*p) || *p == '\'')
                p++;
        } else {
            p++;
        }
    }
    r.said.count = r.shapes;
    return r;
}

static void same(const char *text, const reading *r, const mgi_world_said *want)
{
    const mgi_world_said *s = &r->said;
    const bool moves = want->objects[0].motion >= 0;
    bool ok = s->count == want->count && s->background == want->background &&
              r->colours == want->count && r->motions == (moves ? want->count : 0) &&
              !strcmp(s->sign, want->sign) && r->texts == (want->sign[0] != '\0') &&
              s->expression == want->expression && want->fps == 0;
    ok = ok && (s->camera == want->camera || (s->camera == -1 && want->camera == MGI_WORLD_STATIC));
    for (int i = 0; i < MGI_WORLD_OBJECTS; i++)
        ok = ok && s->objects[i].shape == want->objects[i].shape &&
             s->objects[i].colour == want->objects[i].colour &&
             s->objects[i].size == want->objects[i].size &&
             s->objects[i].motion == want->objects[i].motion;
    if (!ok)
        fail_msg("not what is meant: %s", text);
}

/* ---- scenes ------------------------------------------------------------------------------------- */

/* One in five an image, one in five of a person. */
static void scene(uint64_t i, mgi_world_scene *s)
{
    mgi_world_scene_random(
        s, WORLD, i,
        &(mgi_world_options){.frames = i % 5 == 4 ? 1 : 32, .people = i % 5 == 3 ? 1.0f : 0.0f});
}

/* What the scene has, where nothing is left out. */
static mgi_world_said has(const mgi_world_scene *s)
{
    mgi_world_said h = {.count = s->count, .background = s->background, .camera = -1};
    if (s->frames > 1)
        h.camera = s->camera;
    memcpy(h.sign, s->sign, sizeof h.sign);
    h.expression = s->person ? 1 + s->expression : 0;
    for (int i = 0; i < MGI_WORLD_OBJECTS; i++) {
        const mgi_world_object *o = &s->objects[i];
        h.objects[i].shape = h.objects[i].colour = h.objects[i].motion = -1;
        h.objects[i].size = MGI_WORLD_MEDIUM;
        if (i >= s->count)
            continue;
        h.objects[i].shape = s->person ? MGI_WORLD_PERSON : o->shape;
        h.objects[i].colour = o->colour;
        h.objects[i].size = s->person ? MGI_WORLD_MEDIUM : o->size;
        h.objects[i].motion = s->frames > 1 ? o->motion : -1;
    }
    return h;
}

/* Whether it is the caption of whatever scene, in any wording, with or without a rate. */
static bool is_caption(const char *text, int frames)
{
    mgi_world_said said;
    mgi_world_scene s = {.frames = frames, .fps = 16, .camera = MGI_WORLD_STATIC};
    mgi_world_parse(text, &said);
    s.background = said.background;
    s.count = said.count;
    s.camera = said.camera < 0 ? MGI_WORLD_STATIC : said.camera;
    s.person = said.objects[0].shape == MGI_WORLD_PERSON;
    s.expression = said.expression - 1;
    memcpy(s.sign, said.sign, sizeof s.sign);
    for (int i = 0; i < said.count; i++) {
        s.objects[i].shape = said.objects[i].shape;
        s.objects[i].colour = said.objects[i].colour;
        s.objects[i].size = said.objects[i].size;
        s.objects[i].motion = said.objects[i].motion < 0 ? 0 : said.objects[i].motion;
    }
    for (int w = 0; w < MGI_WORLD_WORDINGS; w++) {
        char caption[MGI_WORLD_CAPTION_MAX];
        mgi_world_caption(&s, w, caption);
        if (!strcmp(caption, text) || (frames > 1 && !strcmp(strchr(caption, ' ') + 1, text)))
            return true;
    }
    return false;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* ---- tests -------------------------------------------------------------------------------------- */

static void test_prompts(void **state)
{
    (void)state;
    static char text[SCENES][MGI_WORLD_CAPTION_MAX];
    int films = 0, no_place = 0, no_motion = 0, signs = 0, quoted = 0, camera = 0, fixed = 0;
    size_t longest = 0, different = 1, bytes = 0;
    for (uint64_t i = 0; i < SCENES; i++) {
        mgi_world_scene s;
        mgi_world_said says;
        scene(i, &s);
        mgi_world_said want = has(&s);
        memset(text[i], '?', sizeof text[i]);
        mgi_world_prompt(&s, SEED, i, text[i]);
        const size_t length = strnlen(text[i], MGI_WORLD_CAPTION_MAX);
        assert_in_range(length, 10, MGI_WORLD_CAPTION_MAX - 2);
        longest = length > longest ? length : longest;
        bytes += length;
        for (const char *c = text[i]; *c; c++)
            assert_in_range(*c, ' ', '~');
        assert_null(strstr(text[i], "FPS-"));
        const reading r = read_prompt(text[i]);
        const bool place = r.said.background >= 0, motion = r.motions > 0;
        films += s.frames > 1;
        no_place += !place;
        no_motion += s.frames > 1 && !motion;
        signs += r.texts;
        quoted += r.quoted;
        if (s.frames > 1 && s.camera == MGI_WORLD_STATIC) {
            fixed++;
            camera += r.said.camera >= 0;
        }
        assert_true(place || motion || s.frames == 1);
        want.background = place ? want.background : -1;
        for (int k = 0; k < MGI_WORLD_OBJECTS; k++)
            want.objects[k].motion = motion ? want.objects[k].motion : -1;
        same(text[i], &r, &want);
        mgi_world_prompt_says(&s, SEED, i, &says);
        same(text[i], &r, &says);
        if (s.sign[0])
            assert_non_null(strstr(text[i], s.sign));
        if (is_caption(text[i], s.frames))
            fail_msg("a caption: %s", text[i]);
    }
    const uint64_t hash = mgi_hash64(text, sizeof text, 0);
    qsort(text, SCENES, sizeof text[0], by_text);
    for (int i = 1; i < SCENES; i++)
        different += strcmp(text[i - 1], text[i]) != 0;
    print_message("%d prompts: %zu different, %zu bytes on average, %zu at most, hash %016llx\n",
                  SCENES, different, bytes / SCENES, longest, (unsigned long long)hash);
    assert_true(different >= SCENES * 99 / 100);
    assert_in_range(no_place, SCENES / 11, SCENES / 9);
    assert_in_range(no_motion, films / 11, films / 9);
    assert_in_range(quoted, signs * 46 / 100, signs * 54 / 100);
    assert_in_range(camera, fixed / 4, fixed * 2 / 5);
}

/* Of one scene, many; the same again only for the same lots. */
static void test_lots(void **state)
{
    (void)state;
    enum { LOTS = 1000 };
    static char text[LOTS][MGI_WORLD_CAPTION_MAX];
    mgi_world_scene s;
    char again[MGI_WORLD_CAPTION_MAX], other[MGI_WORLD_CAPTION_MAX];
    int different = 1, others = 0;
    mgi_world_scene_random(&s, WORLD, 1, NULL);
    for (uint64_t i = 0; i < LOTS; i++) {
        mgi_world_prompt(&s, SEED, i, text[i]);
        mgi_world_prompt(&s, SEED, i, again);
        mgi_world_prompt(&s, SEED + 1, i, other);
        assert_string_equal(text[i], again);
        others += strcmp(text[i], other) != 0;
    }
    qsort(text, LOTS, sizeof text[0], by_text);
    for (int i = 1; i < LOTS; i++)
        different += strcmp(text[i - 1], text[i]) != 0;
    assert_true(different > LOTS * 9 / 10 && others > LOTS * 9 / 10);
}

/* What the rewriter should answer says all of the scene, and the rate is not its business. */
static void test_told(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < SCENES; i++) {
        mgi_world_scene s;
        mgi_world_said said;
        char text[MGI_WORLD_CAPTION_MAX], caption[MGI_WORLD_CAPTION_MAX];
        bool found = false;
        scene(i, &s);
        const mgi_world_said want = has(&s);
        mgi_world_told(&s, text);
        mgi_world_parse(text, &said);
        assert_int_equal(said.count, want.count);
        assert_int_equal(said.background, want.background);
        if (said.camera != -1 || want.camera != MGI_WORLD_STATIC)
            assert_int_equal(said.camera, want.camera);
        assert_string_equal(said.sign, want.sign);
        assert_int_equal(said.expression, want.expression);
        assert_int_equal(said.fps, 0);
        assert_memory_equal(said.objects, want.objects, sizeof want.objects);
        for (int w = 0; w < MGI_WORLD_WORDINGS && !found; w++) {
            mgi_world_caption(&s, w, caption);
            found = !strcmp(text, s.frames > 1 ? strchr(caption, ' ') + 1 : caption);
        }
        assert_true(found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_prompts), cmocka_unit_test(test_lots),
                                       cmocka_unit_test(test_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
