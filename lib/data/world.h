/* SPDX-License-Identifier: MIT
 * The toybox: a procedural captioned world, drawn in C, the same on every machine. Tier 6.
 *
 * One to three objects move over a background under a virtual camera, perhaps with a sign. A scene is a pure
 * function of (seed, index, options), a frame one of (scene, time). Lengths are units: one pixel in a view of
 * 64 x 64, from which a frame is drawn at any scale. Speeds are units a second, so that the same scene moves
 * further from frame to frame at fewer frames per second.
 */
#ifndef MGI_DATA_WORLD_H
#define MGI_DATA_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MGI_WORLD_BALL,
    MGI_WORLD_CUBE,
    MGI_WORLD_TRIANGLE,
    MGI_WORLD_STAR,
    MGI_WORLD_RING,
    MGI_WORLD_CROSS,
    MGI_WORLD_SHAPES,
    MGI_WORLD_PERSON =
        MGI_WORLD_SHAPES /* never drawn by lot among shapes: people have scenes of their own */
};
enum {
    MGI_WORLD_RED,
    MGI_WORLD_ORANGE,
    MGI_WORLD_YELLOW,
    MGI_WORLD_GREEN,
    MGI_WORLD_CYAN,
    MGI_WORLD_BLUE,
    MGI_WORLD_PURPLE,
    MGI_WORLD_PINK,
    MGI_WORLD_COLOURS
};
enum { MGI_WORLD_SMALL, MGI_WORLD_MEDIUM, MGI_WORLD_LARGE, MGI_WORLD_SIZES };
enum {
    MGI_WORLD_GRASS,
    MGI_WORLD_SNOW,
    MGI_WORLD_SAND,
    MGI_WORLD_STONE,
    MGI_WORLD_WOOD,
    MGI_WORLD_MOON,
    MGI_WORLD_BACKGROUNDS
};
enum {
    MGI_WORLD_BOUNCE,
    MGI_WORLD_ROLL_LEFT,
    MGI_WORLD_ROLL_RIGHT,
    MGI_WORLD_RISE,
    MGI_WORLD_FALL,
    MGI_WORLD_ORBIT,
    MGI_WORLD_SPIN,
    MGI_WORLD_STILL,
    MGI_WORLD_MOTIONS
};
/* How people look. They walk as others roll, jump as others bounce, look around where others spin, or stay still. */
enum { MGI_FACE_NEUTRAL, MGI_FACE_SMILING, MGI_FACE_SAD, MGI_FACE_SURPRISED, MGI_FACES };
/* The report's classes. Zoom changes the lens, push moves the camera; pan and tilt turn it, truck and pedestal
 * move it; arc circles the objects; tracking follows the first object, which rolls. */
enum {
    MGI_WORLD_ZOOM_IN,
    MGI_WORLD_ZOOM_OUT,
    MGI_WORLD_PUSH_IN,
    MGI_WORLD_PULL_OUT,
    MGI_WORLD_PAN_RIGHT,
    MGI_WORLD_PAN_LEFT,
    MGI_WORLD_TRUCK_RIGHT,
    MGI_WORLD_TRUCK_LEFT,
    MGI_WORLD_TILT_UP,
    MGI_WORLD_TILT_DOWN,
    MGI_WORLD_PEDESTAL_UP,
    MGI_WORLD_PEDESTAL_DOWN,
    MGI_WORLD_ARC,
    MGI_WORLD_TRACKING,
    MGI_WORLD_STATIC,
    MGI_WORLD_HANDHELD,
    MGI_WORLD_CAMERAS
};
/* Darker patterns on an object, fixed to it. Scenes at random have plain objects; edits give them one. */
enum { MGI_WORLD_PLAIN, MGI_WORLD_STRIPES, MGI_WORLD_DOTS, MGI_WORLD_CHECKS, MGI_WORLD_TEXTURES };

enum {
    MGI_WORLD_OBJECTS = 3,       /* in a scene, at most */
    MGI_WORLD_SIGN = 4,          /* characters on a sign, at most: A-Z and 0-9 */
    MGI_WORLD_CAPTION_MAX = 512, /* bytes with the NUL */
    MGI_WORLD_WORDINGS = 7,      /* of a caption */
    MGI_WORLD_DENSE = 5 /* the first wording in several sentences; those before are short */
};

/* What may be drawn of a feature. */
enum { MGI_WORLD_SOMETIMES, MGI_WORLD_NEVER, MGI_WORLD_ALWAYS };

/* Which combinations of shape, colour, motion and background objects may have: those that are not held out,
 * those that are (every object), or all. */
enum { MGI_WORLD_TRAIN, MGI_WORLD_HELD_OUT, MGI_WORLD_ALL };

/* {0} is the whole world. */
typedef struct mgi_world_options {
    int width, height; /* of the view in units, 0 = 64; even, at least 48 */
    int frames;        /* 0 = 32; 1 = an image: objects are still, the camera is static */
    int fps;           /* 8, 16 or 24; 0 = one of them, mostly 16 */
    int objects_min, objects_max; /* 0 = 1 and 3 */
    int camera;                   /* whether it moves: SOMETIMES (half the scenes), NEVER, ALWAYS */
    int sign;                     /* SOMETIMES is a quarter */
    int sizes;                    /* other than medium: SOMETIMES (two thirds) or NEVER */
    int split;
    float motion_weight[MGI_WORLD_MOTIONS]; /* how often each is drawn before what fits is chosen;
                                               all 0 = equally */
    float scale;                            /* of a dataset's clips, pixels a unit; 0 = 1 */
    float people; /* share of scenes that are of a person; of such, held out are also identities */
} mgi_world_options;

typedef struct mgi_world_object {
    int shape, colour, size, motion;
    float radius;  /* units */
    float x, base; /* where it stands: middle, and how far down the view the ground there is */
    float height;  /* above the ground at time 0, of what rises, falls, orbits or spins */
    float phase;   /* 0..1, of what bounces or orbits */
    float turn;    /* +1 or -1: which way it orbits or spins */
    float pace;    /* around 1: how fast it moves */
    int texture;
    int paint; /* 0, or 1 + the colour that all of it is flatly drawn in, whatever the light */
} mgi_world_object;

typedef struct mgi_world_scene {
    int width, height, frames, fps; /* the view in units; what the scene was laid out for */
    int background, camera;
    int count; /* objects, of different colours */
    mgi_world_object objects[MGI_WORLD_OBJECTS];
    char sign[MGI_WORLD_SIGN + 1]; /* "" = none */
    float sign_x;                  /* its middle */
    float camera_pace, camera_phase, camera_turn;
    float light; /* brightness, around 1 */
    int wording;
    /* Where object 0, the only one, is a person, its shirt the object's colour. */
    int person; /* 0, or 1 + its identity: world_person.h */
    int expression;
    float yaw; /* of its head, -1..1 to the right */
} mgi_world_scene;

/* What a text says about a scene; -1, 0 or "" = nothing. No word about size means medium. */
typedef struct mgi_world_said {
    int count; /* objects */
    struct {
        int shape, colour, size, motion;
    } objects[MGI_WORLD_OBJECTS];
    int background, camera, fps;
    char sign[MGI_WORLD_SIGN + 1];
    int expression; /* 0, or 1 + how a person looks */
} mgi_world_said;

/* Names as captions use them: "ball", "red", "small", "grass", "rolls left", "zoom in". */
const char *mgi_world_shape_name(int shape);
const char *mgi_world_colour_name(int colour);
const char *mgi_world_size_name(int size);
const char *mgi_world_background_name(int background);
const char *mgi_world_motion_name(int motion);
const char *mgi_world_camera_name(int camera);
const char *mgi_world_expression_name(int expression);

/* Scene `index` of world `seed`: all of it at random. NULL options are {0}. */
void mgi_world_scene_random(mgi_world_scene *scene, uint64_t seed, uint64_t index,
                            const mgi_world_options *options);
/* Whether no training scene has an object of this combination: one in eleven. */
bool mgi_world_held_out(int shape, int colour, int motion, int background);
/* Whether everything can be seen all the time: objects keep apart from each other, the sign and the edges. Almost all
 * random scenes are laid out so. */
bool mgi_world_clear(const mgi_world_scene *scene);
/* The radius that those of objects of a size spread around, in units. */
float mgi_world_radius(int size);

/* The caption in a wording (scene->wording is the scene's own). 0 is the plain one:
 *     FPS-16 zoom in. a red ball rolls left and a small blue cube spins on snow, with a sign that reads "AB3"
 * A static camera is named by some wordings only. An image has no frame rate, camera and motion. */
void mgi_world_caption(const mgi_world_scene *scene, int wording, char out[MGI_WORLD_CAPTION_MAX]);
/* What a caption, in any wording, says. */
void mgi_world_parse(const char *caption, mgi_world_said *out);

/* ---- where things are ---------------------------------------------------------------------------- */

/* Rates, units or turns a second at pace 1. */
#define MGI_WORLD_ROLL_SPEED    8.0f
#define MGI_WORLD_RISE_SPEED    8.0f
#define MGI_WORLD_BOUNCE_HEIGHT 11.0f
#define MGI_WORLD_JUMP          0.7f /* of that, people */
#define MGI_WORLD_BOUNCE_PERIOD 1.3f /* seconds */
#define MGI_WORLD_ORBIT_PERIOD  2.4f
#define MGI_WORLD_ORBIT_WIDTH   9.0f /* half axes */
#define MGI_WORLD_ORBIT_HEIGHT  5.0f
#define MGI_WORLD_SPIN_PERIOD   2.6f
#define MGI_WORLD_PACE          0.08f /* how far from 1 a pace may be */
/* The camera moves for so many seconds, then rests. */
#define MGI_WORLD_CAMERA_SECONDS 4.0f

/* What the camera does to a view, zero at time 0. Lengths are units where the ground has depth 1. */
typedef struct mgi_world_camera {
    float pan_x, pan_y; /* turned: right, down */
    float truck, rise;  /* moved: right, up */
    float push;         /* moved forward, of the distance to depth 1 */
    float zoom;         /* 1 = none */
} mgi_world_camera;

typedef struct mgi_world_pose {
    float x, y;   /* the middle, units of the view */
    float scale;  /* of its size */
    float angle;  /* turns, clockwise */
    float ground; /* the ground below it */
} mgi_world_pose;

/* The rows of the horizon and of the ground at depth 1 in a view of this height. */
float mgi_world_horizon(int height);
float mgi_world_near(int height);
/* The depth of the far layer; of the sign. */
#define MGI_WORLD_FAR        5.0f
#define MGI_WORLD_SIGN_DEPTH 2.0f

/* The path of a camera class at unit pace and no phase, and of a scene's camera. */
void mgi_world_camera_at(const mgi_world_scene *scene, float seconds, mgi_world_camera *out);
/* Where the camera sees what is at (x, base) of the undisturbed view, `height` above the ground. */
void mgi_world_see(int width, int height, const mgi_world_camera *camera, float x, float base,
                   float above, mgi_world_pose *out);
void mgi_world_object_at(const mgi_world_scene *scene, int i, float seconds, mgi_world_pose *out);
/* How far an upright shape reaches from its middle, in radii: to each side, down, up. */
float mgi_world_shape_width(int shape);
float mgi_world_shape_foot(int shape);
float mgi_world_shape_top(int shape);
/* sin(2 pi turns) without the library's sin, which differs between machines. */
float mgi_world_sine(float turns);

/* The sign's board in the undisturbed view: its middle's row and half its height and width. */
float mgi_world_sign_row(int height);
#define MGI_WORLD_SIGN_HALF_HEIGHT 7.5f
float mgi_world_sign_half_width(int characters);
void mgi_world_sign_at(const mgi_world_scene *scene, const mgi_world_camera *camera,
                       mgi_world_pose *out);

/* Frames [first, first + count) into out, count x height x width x 3 RGB8. The view is scaled to the width. */
void mgi_world_draw(const mgi_world_scene *scene, int width, int height, int first, int count,
                    uint8_t *out);

#endif
