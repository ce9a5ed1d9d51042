/* SPDX-License-Identifier: MIT
 * What happens in a scene of the world: what is drawn by lot, and where things are at a time. */
#include "data/world_person.h"

#include "core/philox.h"

#include <math.h>
#include <string.h>

enum { LOTS = 1 << 17, LAYOUTS = 800, COMBINATIONS = 4000, MOMENTS = 9 };

static const float radii[MGI_WORLD_SIZES] = {8.0f, 11.0f, 14.0f}; /* +- radius_spread */
static const float radius_spread = 0.5f;

float mgi_world_radius(int size)
{
    return radii[(unsigned)size % MGI_WORLD_SIZES];
}

/* ---- where things are --------------------------------------------------------------------------- */

float mgi_world_sine(float turns)
{
    turns -= floorf(turns + 0.5f);
    if (turns > 0.25f)
        turns = 0.5f - turns;
    if (turns < -0.25f)
        turns = -0.5f - turns;
    float q = turns * turns;
    return turns *
           (6.2831853f + q * (-41.341702f + q * (81.605249f + q * (-76.705860f + q * 42.058694f))));
}

float mgi_world_horizon(int height)
{
    return 0.42f * (float)height;
}

float mgi_world_near(int height)
{
    return 0.84f * (float)height;
}

float mgi_world_sign_row(int height)
{
    return floorf(4.0f + 0.1f * (float)height) + 0.5f; /* its edges lie between pixels */
}

float mgi_world_sign_half_width(int characters)
{
    return 3.0f + 4.0f * (float)characters;
}

static void handheld_at(float t, mgi_world_camera *c)
{
    c->pan_x = 1.5f * mgi_world_sine(1.3f * t) + 0.9f * mgi_world_sine(2.3f * t + 0.3f);
    c->pan_y = 1.2f * mgi_world_sine(1.7f * t + 0.2f) + 0.8f * mgi_world_sine(2.9f * t + 0.6f);
}

static float track_of(const mgi_world_object *o, float t);

void mgi_world_camera_at(const mgi_world_scene *s, float seconds, mgi_world_camera *c)
{
    float t = seconds * s->camera_pace;
    *c = (mgi_world_camera){.zoom = 1.0f};
    t = t > MGI_WORLD_CAMERA_SECONDS ? MGI_WORLD_CAMERA_SECONDS : t;
    switch (s->camera) {
    case MGI_WORLD_ZOOM_IN:
        c->zoom = 1.0f + 0.14f * t;
        break;
    case MGI_WORLD_ZOOM_OUT:
        c->zoom = 1.0f / (1.0f + 0.14f * t);
        break;
    case MGI_WORLD_PUSH_IN:
        c->push = 0.12f * t;
        break;
    case MGI_WORLD_PULL_OUT:
        c->push = -0.14f * t;
        break;
    case MGI_WORLD_PAN_RIGHT:
        c->pan_x = 5.0f * t;
        break;
    case MGI_WORLD_PAN_LEFT:
        c->pan_x = -5.0f * t;
        break;
    case MGI_WORLD_TRUCK_RIGHT:
        c->truck = 5.0f * t;
        break;
    case MGI_WORLD_TRUCK_LEFT:
        c->truck = -5.0f * t;
        break;
    case MGI_WORLD_TILT_UP:
        c->pan_y = -4.0f * t;
        break;
    case MGI_WORLD_TILT_DOWN:
        c->pan_y = 4.0f * t;
        break;
    case MGI_WORLD_PEDESTAL_UP:
        c->rise = 4.0f * t;
        break;
    case MGI_WORLD_PEDESTAL_DOWN:
        c->rise = -3.5f * t;
        break;
    case MGI_WORLD_ARC:
        c->pan_x = 5.0f * s->camera_turn * t;
        c->truck = -c->pan_x;
        break;
    case MGI_WORLD_TRACKING:
        c->truck = track_of(&s->objects[0], seconds);
        break;
    case MGI_WORLD_HANDHELD: {
        mgi_world_camera start;
        handheld_at(seconds * s->camera_pace + s->camera_phase, c);
        handheld_at(s->camera_phase, &start);
        c->pan_x -= start.pan_x;
        c->pan_y -= start.pan_y;
        break;
    }
    default:
        break;
    }
}

void mgi_world_see(int width, int height, const mgi_world_camera *c, float x, float base,
                   float above, mgi_world_pose *out)
{
    float cx = 0.5f * (float)width, cy = 0.5f * (float)height;
    float horizon = mgi_world_horizon(height), reach = mgi_world_near(height) - horizon;
    float depth = reach / (base - horizon), nearer = depth - c->push;
    nearer = nearer < 0.2f ? 0.2f : nearer;
    float grown = depth / nearer;
    float gx = cx + ((x - cx) * depth - c->truck) / nearer;
    float gy = horizon + (reach + c->rise) / nearer;
    out->x = cx + c->zoom * (gx - c->pan_x - cx);
    out->y = cy + c->zoom * (gy - grown * above - c->pan_y - cy);
    out->ground = cy + c->zoom * (gy - c->pan_y - cy);
    out->scale = grown * c->zoom;
    out->angle = 0.0f;
}

void mgi_world_sign_at(const mgi_world_scene *s, const mgi_world_camera *camera,
                       mgi_world_pose *out)
{
    float horizon = mgi_world_horizon(s->height);
    float base = horizon + (mgi_world_near(s->height) - horizon) / MGI_WORLD_SIGN_DEPTH;
    mgi_world_see(s->width, s->height, camera, s->sign_x, base,
                  base - mgi_world_sign_row(s->height), out);
}

/* How far an object has rolled. */
static float track_of(const mgi_world_object *o, float seconds)
{
    float way = MGI_WORLD_ROLL_SPEED * o->pace * seconds;
    return o->motion == MGI_WORLD_ROLL_LEFT ? -way : o->motion == MGI_WORLD_ROLL_RIGHT ? way : 0.0f;
}

/* What leaves the view at one side comes in again at the other. */
static float wrapped(const mgi_world_scene *s, float x, float camera)
{
    float round = (float)s->width + 48.0f, from = x - camera + 24.0f;
    return from - round * floorf(from / round) - 24.0f + camera;
}

void mgi_world_object_at(const mgi_world_scene *s, int i, float seconds, mgi_world_pose *out)
{
    const mgi_world_object *o = &s->objects[i];
    float foot = mgi_world_shape_foot(o->shape) * o->radius;
    float t = seconds * o->pace, x = o->x, above = o->height, angle = 0.0f;
    mgi_world_camera camera;
    mgi_world_camera_at(s, seconds, &camera);
    switch (o->motion) {
    case MGI_WORLD_BOUNCE: {
        float u = t / MGI_WORLD_BOUNCE_PERIOD + o->phase;
        u -= floorf(u);
        above = 4.0f * MGI_WORLD_BOUNCE_HEIGHT * u * (1.0f - u);
        above *= o->shape == MGI_WORLD_PERSON ? MGI_WORLD_JUMP : 1.0f;
        break;
    }
    case MGI_WORLD_ROLL_LEFT:
    case MGI_WORLD_ROLL_RIGHT:
        x = wrapped(s, x + track_of(o, seconds), camera.truck);
        if (o->shape == MGI_WORLD_PERSON)
            above += mgi_world_person_bob(o, seconds);
        if (o->shape == MGI_WORLD_BALL || o->shape == MGI_WORLD_RING) /* the others slide */
            angle = track_of(o, seconds) / (6.2831853f * o->radius);
        break;
    case MGI_WORLD_RISE: {
        float most = o->base - foot - mgi_world_shape_top(o->shape) * o->radius - 1.0f;
        above += MGI_WORLD_RISE_SPEED * t;
        above = above > most ? most : above;
        break;
    }
    case MGI_WORLD_FALL:
        above -= MGI_WORLD_RISE_SPEED * t;
        above = above < 0.0f ? 0.0f : above;
        break;
    case MGI_WORLD_ORBIT: {
        float turns = o->turn * (t / MGI_WORLD_ORBIT_PERIOD) + o->phase;
        x += MGI_WORLD_ORBIT_WIDTH * mgi_world_sine(turns + 0.25f);
        above -= MGI_WORLD_ORBIT_HEIGHT * mgi_world_sine(turns);
        break;
    }
    case MGI_WORLD_SPIN:
        angle = o->turn * (t / MGI_WORLD_SPIN_PERIOD);
        break;
    default:
        break;
    }
    mgi_world_see(s->width, s->height, &camera, x, o->base, above + foot, out);
    out->angle = angle;
}

/* ---- drawing lots ------------------------------------------------------------------------------- */

typedef struct lots {
    uint64_t seed, next;
} lots;

static float draw(lots *l)
{
    return mgi_random_unit(l->seed, MGI_STREAM_DATA, l->next++);
}

static float between(lots *l, float lo, float hi)
{
    return lo + (hi - lo) * draw(l);
}

static int choose(lots *l, int count)
{
    return (int)((float)count * draw(l));
}

static int draw_motion(lots *l, const float weight[MGI_WORLD_MOTIONS])
{
    float sum = 0.0f, u = draw(l);
    for (int i = 0; i < MGI_WORLD_MOTIONS; i++)
        sum += weight[i];
    if (!(sum > 0.0f))
        return (int)((float)MGI_WORLD_MOTIONS * u);
    int last = 0;
    u *= sum;
    for (int i = 0; i < MGI_WORLD_MOTIONS; i++) {
        if (weight[i] <= 0.0f)
            continue;
        if (u < weight[i])
            return i;
        u -= weight[i];
        last = i;
    }
    return last;
}

static bool happens(lots *l, int when, float chance)
{
    float u = draw(l);
    return when == MGI_WORLD_ALWAYS || (when == MGI_WORLD_SOMETIMES && u < chance);
}

bool mgi_world_held_out(int shape, int colour, int motion, int background)
{
    return (shape + 3 * colour + 5 * motion + 2 * background) % 11 == 4;
}

static int draw_fps(lots *l, const mgi_world_options *o)
{
    float u = draw(l);
    return o->fps ? o->fps : u < 0.6f ? 16 : u < 0.8f ? 8 : 24;
}

static int draw_count(lots *l, const mgi_world_options *o)
{
    static const float share[MGI_WORLD_OBJECTS] = {0.50f, 0.35f, 0.15f};
    int lo = o->objects_min ? o->objects_min : 1;
    int hi = o->objects_max ? o->objects_max : MGI_WORLD_OBJECTS;
    float sum = 0.0f, u = draw(l);
    for (int k = lo; k <= hi; k++)
        sum += share[k - 1];
    u *= sum;
    for (int k = lo; k < hi; k++) {
        if (u < share[k - 1])
            return k;
        u -= share[k - 1];
    }
    return hi;
}

static void draw_sign(lots *l, mgi_world_scene *s)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    int n = 1 + choose(l, MGI_WORLD_SIGN);
    for (int i = 0; i < n; i++)
        s->sign[i] = letters[choose(l, (int)sizeof letters - 1)];
}

static bool wanted(const mgi_world_scene *s, const mgi_world_object *o, int i, int split)
{
    bool held = mgi_world_held_out(o->shape, o->colour, o->motion, s->background);
    for (int k = 0; k < i; k++)
        if (s->objects[k].colour == o->colour)
            return false;
    if (s->camera == MGI_WORLD_TRACKING && i == 0 && o->motion != MGI_WORLD_ROLL_LEFT &&
        o->motion != MGI_WORLD_ROLL_RIGHT)
        return false;
    return split == MGI_WORLD_ALL || held == (split == MGI_WORLD_HELD_OUT);
}

/* What an object is. */
static void draw_attributes(lots *l, mgi_world_scene *s, int i, const mgi_world_options *options)
{
    mgi_world_object *o = &s->objects[i];
    memset(o, 0, sizeof *o);
    o->size = options->sizes == MGI_WORLD_NEVER ? MGI_WORLD_MEDIUM : choose(l, MGI_WORLD_SIZES);
    for (int k = 0; k < COMBINATIONS; k++) {
        o->shape = choose(l, MGI_WORLD_SHAPES);
        o->colour = choose(l, MGI_WORLD_COLOURS);
        o->motion = s->frames > 1 ? draw_motion(l, options->motion_weight) : MGI_WORLD_STILL;
        if (wanted(s, o, i, options->split))
            break;
    }
}

/* Where it is. */
static void draw_place(lots *l, mgi_world_scene *s, int i)
{
    mgi_world_object *o = &s->objects[i];
    float height = (float)s->height, width = (float)s->width;
    o->radius = radii[o->size] + radius_spread * (2.0f * draw(l) - 1.0f);
    o->x = between(l, 0.5f * o->radius, width - 0.5f * o->radius);
    o->base = between(l, 0.72f * height, 0.95f * height);
    o->phase = draw(l);
    o->turn = draw(l) < 0.5f ? -1.0f : 1.0f;
    o->pace = 1.0f + MGI_WORLD_PACE * (2.0f * draw(l) - 1.0f);
    float u = draw(l);
    if (i == 0 && s->camera == MGI_WORLD_TRACKING)
        o->base = mgi_world_near(s->height);
    float tall = mgi_world_shape_foot(o->shape) + mgi_world_shape_top(o->shape);
    float room = o->base - tall * o->radius - 1.0f; /* above it */
    if (o->motion == MGI_WORLD_BOUNCE)
        o->phase = 0.60f + 0.35f * o->phase; /* it soon meets the ground, which makes it a bounce */
    else if (o->motion == MGI_WORLD_RISE)
        o->height = 5.0f * u;
    else if (o->motion == MGI_WORLD_FALL)
        o->height = room * (1.0f - 0.3f * u);
    else if (o->motion == MGI_WORLD_ORBIT)
        o->height = MGI_WORLD_ORBIT_HEIGHT + 2.0f + 4.0f * u;
    else if (o->motion == MGI_WORLD_SPIN)
        o->height = 0.45f * o->radius; /* corners clear the ground */
}

/* How far from (x, y) the sign's board is; negative inside. */
static float sign_distance(const mgi_world_scene *s, float seconds, float x, float y)
{
    mgi_world_camera camera;
    mgi_world_pose p;
    mgi_world_camera_at(s, seconds, &camera);
    mgi_world_sign_at(s, &camera, &p);
    float dx = fabsf(x - p.x) - mgi_world_sign_half_width((int)strlen(s->sign)) * p.scale;
    float dy = fabsf(y - p.y) - MGI_WORLD_SIGN_HALF_HEIGHT * p.scale;
    return dx > 0.0f && dy > 0.0f ? sqrtf(dx * dx + dy * dy) : dx > dy ? dx : dy;
}

/* Whether everything can be seen at a moment: objects apart from each other and from the sign, whole in
 * the first frame and mostly later. */
static bool clear_at(const mgi_world_scene *s, float seconds)
{
    mgi_world_pose pose[MGI_WORLD_OBJECTS];
    float reach[MGI_WORLD_OBJECTS], inside = seconds > 0.0f ? 0.4f : 0.9f;
    for (int i = 0; i < s->count; i++) {
        const mgi_world_object *o = &s->objects[i];
        mgi_world_object_at(s, i, seconds, &pose[i]);
        reach[i] = mgi_world_shape_top(o->shape) * o->radius * pose[i].scale;
        float edge = inside * reach[i], x = pose[i].x, y = pose[i].y, beside = edge;
        if (s->person) { /* a face is always seen, the hair on top, and all from near */
            edge = 0.9f * reach[i];
            beside = 0.6f * reach[i];
            if (pose[i].scale < 0.85f)
                return false;
        }
        if (x < beside || x > (float)s->width - beside || y < edge || y > (float)s->height - edge)
            return false;
        if (s->sign[0] && sign_distance(s, seconds, x, y) < 1.05f * reach[i])
            return false;
        for (int k = 0; k < i; k++) {
            float dx = x - pose[k].x, dy = y - pose[k].y, least = 1.02f * (reach[i] + reach[k]);
            if (dx * dx + dy * dy < least * least)
                return false;
        }
    }
    return true;
}

/* What rises or falls does so for a while before it rests. */
static bool has_room(const mgi_world_object *o, float seconds)
{
    float tall = (mgi_world_shape_foot(o->shape) + mgi_world_shape_top(o->shape)) * o->radius;
    float way = o->motion == MGI_WORLD_FALL ? o->height : o->base - tall - 1.0f - o->height;
    float least = MGI_WORLD_RISE_SPEED * seconds < 10.0f ? MGI_WORLD_RISE_SPEED * seconds : 10.0f;
    return (o->motion != MGI_WORLD_RISE && o->motion != MGI_WORLD_FALL) || way >= least;
}

bool mgi_world_clear(const mgi_world_scene *s)
{
    float seconds = (float)(s->frames - 1) / (float)s->fps;
    seconds = seconds > MGI_WORLD_CAMERA_SECONDS ? MGI_WORLD_CAMERA_SECONDS : seconds;
    for (int i = 0; i < s->count; i++)
        if (!has_room(&s->objects[i], seconds))
            return false;
    for (int k = 0; k < MOMENTS; k++)
        if (!clear_at(s, seconds * (float)k / (float)(MOMENTS - 1)))
            return false;
    return true;
}

/* Objects and places until everything can be seen; what is too much for the view goes after a while. */
static void draw_objects(lots *l, mgi_world_scene *s, const mgi_world_options *options)
{
    for (int k = 0; k < 4 * LAYOUTS; k++) {
        if (k % 60 == 0)
            for (int i = 0; i < s->count; i++)
                draw_attributes(l, s, i, options);
        if (k == 2 * LAYOUTS && s->camera != MGI_WORLD_TRACKING)
            s->camera = MGI_WORLD_STATIC;
        if (k == 3 * LAYOUTS && s->count > 1)
            s->count--;
        for (int i = 0; i < s->count; i++)
            draw_place(l, s, i);
        float half = mgi_world_sign_half_width((int)strlen(s->sign));
        s->sign_x = floorf(between(l, half, (float)s->width - half + 1.0f));
        if (mgi_world_clear(s))
            return;
    }
}

/* ---- people ------------------------------------------------------------------------------------- */

static const int person_motions[] = {MGI_WORLD_ROLL_LEFT, MGI_WORLD_ROLL_RIGHT, MGI_WORLD_BOUNCE,
                                     MGI_WORLD_SPIN, MGI_WORLD_STILL};
enum { PERSON_MOTIONS = sizeof person_motions / sizeof person_motions[0] };

/* Whether a scene is of a person: a lot of its own, behind all that a scene takes. */
static bool is_person(uint64_t seed, uint64_t index, float people)
{
    return people > 0.0f &&
           mgi_random_unit(seed, MGI_STREAM_DATA, index * LOTS + LOTS - 1) < people;
}

static void draw_person_attributes(lots *l, mgi_world_scene *s, const mgi_world_options *options)
{
    mgi_world_object *o = &s->objects[0];
    const int split = options->split;
    memset(o, 0, sizeof *o);
    o->shape = MGI_WORLD_PERSON;
    o->size = MGI_WORLD_MEDIUM;
    for (int k = 0; k < COMBINATIONS; k++) {
        s->person = 1 + choose(l, (int)mgi_world_identities());
        if (split == MGI_WORLD_ALL ||
            mgi_world_identity_held_out((uint32_t)s->person - 1) == (split == MGI_WORLD_HELD_OUT))
            break;
    }
    for (int k = 0; k < COMBINATIONS; k++) {
        if (k == COMBINATIONS / 8) /* on some backgrounds no walk is held out */
            s->camera = MGI_WORLD_STATIC;
        o->colour = choose(l, MGI_WORLD_COLOURS);
        o->motion = s->frames > 1 ? person_motions[choose(l, PERSON_MOTIONS)] : MGI_WORLD_STILL;
        if (wanted(s, o, 0, split))
            break;
    }
}

/* It stands below the middle, so large that jumps keep it in the view. */
static void draw_person_place(lots *l, mgi_world_scene *s)
{
    mgi_world_object *o = &s->objects[0];
    float height = (float)s->height, width = (float)s->width;
    float unit = (height < width ? height : width) / 64.0f;
    float half = 0.5f * MGI_WORLD_ROLL_SPEED * (float)(s->frames - 1) / (float)s->fps;
    o->radius = unit * between(l, 15.0f, 16.0f);
    o->base = between(l, 0.94f, 0.965f) * height;
    o->phase = draw(l);
    o->turn = draw(l) < 0.5f ? -1.0f : 1.0f;
    o->pace = 1.0f + MGI_WORLD_PACE * (2.0f * draw(l) - 1.0f);
    s->yaw = between(l, -0.7f, 0.7f);
    o->x = between(l, o->radius, width - o->radius);
    half = half < 0.5f * width - o->radius ? half : 0.5f * width - o->radius;
    if (o->motion == MGI_WORLD_ROLL_LEFT || o->motion == MGI_WORLD_ROLL_RIGHT) {
        float way = o->motion == MGI_WORLD_ROLL_LEFT ? -1.0f : 1.0f;
        o->x = 0.5f * width - way * half + between(l, -6.0f, 6.0f) * unit;
        s->yaw = way * between(l, 0.2f, 0.8f);
    }
    if (s->camera == MGI_WORLD_TRACKING)
        o->base = mgi_world_near(s->height);
    if (o->motion == MGI_WORLD_BOUNCE)
        o->phase = 0.60f + 0.35f * o->phase; /* it soon meets the ground */
}

/* As draw_objects. */
static void draw_person(lots *l, mgi_world_scene *s, const mgi_world_options *options)
{
    s->count = 1;
    memset(s->sign, 0, sizeof s->sign);
    s->expression = choose(l, MGI_FACES);
    for (int k = 0; k < LAYOUTS; k++) {
        if (k % 60 == 0)
            draw_person_attributes(l, s, options);
        if (k == LAYOUTS / 2 && s->camera != MGI_WORLD_TRACKING)
            s->camera = MGI_WORLD_STATIC;
        draw_person_place(l, s);
        if (mgi_world_clear(s))
            return;
    }
}

void mgi_world_scene_random(mgi_world_scene *s, uint64_t seed, uint64_t index,
                            const mgi_world_options *options)
{
    lots l = {seed, index * LOTS};
    mgi_world_options o = options ? *options : (mgi_world_options){0};
    memset(s, 0, sizeof *s);
    s->width = o.width ? o.width : 64;
    s->height = o.height ? o.height : 64;
    s->frames = o.frames ? o.frames : 32;
    s->fps = draw_fps(&l, &o);
    s->background = choose(&l, MGI_WORLD_BACKGROUNDS);
    s->count = draw_count(&l, &o);
    s->light = between(&l, 0.94f, 1.04f);
    bool moving = happens(&l, o.camera, 0.5f);
    int camera = choose(&l, MGI_WORLD_CAMERAS - 1); /* any but the static one */
    camera += camera >= MGI_WORLD_STATIC;
    s->camera = moving && s->frames > 1 ? camera : MGI_WORLD_STATIC;
    s->camera_pace = 1.0f + MGI_WORLD_PACE * (2.0f * draw(&l) - 1.0f);
    s->camera_phase = 10.0f * draw(&l);
    s->camera_turn = draw(&l) < 0.5f ? -1.0f : 1.0f;
    float u = draw(&l); /* 2 in 5 plain, 2 in 5 short, 1 in 5 dense */
    s->wording = u < 0.4f   ? 0
                 : u < 0.8f ? 1 + choose(&l, MGI_WORLD_DENSE - 1)
                            : MGI_WORLD_DENSE + choose(&l, MGI_WORLD_WORDINGS - MGI_WORLD_DENSE);
    if (happens(&l, o.sign, 0.25f))
        draw_sign(&l, s);
    if (is_person(seed, index, o.people))
        draw_person(&l, s, &o);
    else
        draw_objects(&l, s, &o);
}
