/* SPDX-License-Identifier: MIT
 * What happens in a toybox scene, and how it is told. */
#include "data/toybox.h"

#include "core/philox.h"

#include <string.h>

static const char *const shape_names[] = {"ball", "cube", "triangle"};
static const char *const colour_names[] = {"red", "yellow", "blue", "purple"};
static const char *const background_names[] = {"grass", "snow"};
static const char *const motion_names[] = {"rolls left", "rolls right", "bounces"};
static const char *const motion_participles[] = {"rolling to the left", "rolling to the right",
                                                 "bouncing up and down"};

/* %c colour, %s shape, %m motion, %i its participle, %b background. At most 60 bytes when filled.
 */
static const char *const wordings[] = {
    "a %c %s %m on %b", "the %c %s %m on the %b",       "on %b, a %c %s %m",
    "a %c %s %i on %b", "a %s that is %c %m on the %b", "there is a %c %s on %b and it %m",
};
enum { WORDINGS = sizeof wordings / sizeof wordings[0] };

/* Which random number of a scene is what; a scene has 16. The numbers never change. */
enum { R_SHAPE, R_COLOUR, R_BACKGROUND, R_MOTION, R_RADIUS, R_X, R_GROUND, R_SPEED };
enum { R_AMPLITUDE = 8, R_PERIOD, R_PHASE, R_LIGHT, R_WORDING, R_COUNT = 16 };

static const char *name_of(const char *const *names, int count, int i)
{
    return i >= 0 && i < count ? names[i] : "unknown";
}

const char *mgi_toybox_shape_name(int shape)
{
    return name_of(shape_names, MGI_TOYBOX_SHAPES, shape);
}

const char *mgi_toybox_colour_name(int colour)
{
    return name_of(colour_names, MGI_TOYBOX_COLOURS, colour);
}

const char *mgi_toybox_background_name(int background)
{
    return name_of(background_names, MGI_TOYBOX_BACKGROUNDS, background);
}

const char *mgi_toybox_motion_name(int motion)
{
    return name_of(motion_names, MGI_TOYBOX_MOTIONS, motion);
}

static float between(float lo, float hi, float u)
{
    return lo + (hi - lo) * u;
}

static int choose(int count, float u)
{
    return (int)((float)count * u);
}

void mgi_toybox_scene_random(mgi_toybox_scene *scene, uint64_t seed, uint64_t index)
{
    float u[R_COUNT];
    for (uint64_t k = 0; k < R_COUNT; k++)
        u[k] = mgi_random_unit(seed, MGI_STREAM_DATA, index * R_COUNT + k);

    memset(scene, 0, sizeof *scene);
    scene->shape = choose(MGI_TOYBOX_SHAPES, u[R_SHAPE]);
    scene->colour = choose(MGI_TOYBOX_COLOURS, u[R_COLOUR]);
    scene->background = choose(MGI_TOYBOX_BACKGROUNDS, u[R_BACKGROUND]);
    scene->motion = choose(MGI_TOYBOX_MOTIONS, u[R_MOTION]);
    scene->radius = between(10.0f, 15.0f, u[R_RADIUS]);
    scene->speed = between(0.6f, 1.2f, u[R_SPEED]);
    scene->amplitude = between(9.0f, 16.0f, u[R_AMPLITUDE]);
    /* The parabola is steepest at the ground: 4 x amplitude / period pixels a frame. */
    scene->period = scene->amplitude * between(1.1f, 1.5f, u[R_PERIOD]);
    scene->phase = u[R_PHASE];
    scene->light = between(0.92f, 1.06f, u[R_LIGHT]);
    scene->wording = u[R_WORDING] < 0.5f ? 0 : 1 + choose(WORDINGS - 1, 2.0f * u[R_WORDING] - 1.0f);

    /* The path lies within the frame; at its ends up to 3 pixels of the object are cut, 4 of the
     * widest and fastest. */
    float half = mgi_toybox_half_width(scene->shape, scene->radius);
    float travel = 0.0f;
    if (scene->motion != MGI_TOYBOX_BOUNCE)
        travel = scene->speed * (float)(MGI_TOYBOX_FRAMES - 1);
    float slack = (float)MGI_TOYBOX_WIDTH + 6.0f - 2.0f * half - travel;
    if (slack < 0.0f)
        slack = 0.0f;
    scene->x = 0.5f * (float)MGI_TOYBOX_WIDTH + slack * (u[R_X] - 0.5f);
    if (scene->motion == MGI_TOYBOX_ROLL_LEFT)
        scene->x += 0.5f * travel;
    else if (scene->motion == MGI_TOYBOX_ROLL_RIGHT)
        scene->x -= 0.5f * travel;
    scene->y = between(51.0f, 58.0f, u[R_GROUND]) -
               mgi_toybox_half_height(scene->shape, scene->radius) - mgi_toybox_height_at(scene, 0);
}

void mgi_toybox_caption(const mgi_toybox_scene *scene, char out[MGI_TOYBOX_CAPTION_MAX])
{
    size_t n = 0;
    for (const char *p = wordings[(unsigned)scene->wording % WORDINGS]; *p; p++) {
        char one[2] = {*p, 0};
        const char *word = one;
        if (*p == '%') {
            switch (*++p) {
            case 'c':
                word = mgi_toybox_colour_name(scene->colour);
                break;
            case 's':
                word = mgi_toybox_shape_name(scene->shape);
                break;
            case 'm':
                word = mgi_toybox_motion_name(scene->motion);
                break;
            case 'i':
                word = name_of(motion_participles, MGI_TOYBOX_MOTIONS, scene->motion);
                break;
            default:
                word = mgi_toybox_background_name(scene->background);
                break;
            }
        }
        size_t length = strlen(word);
        if (n + length >= MGI_TOYBOX_CAPTION_MAX)
            break;
        memcpy(out + n, word, length);
        n += length;
    }
    out[n] = 0;
}
