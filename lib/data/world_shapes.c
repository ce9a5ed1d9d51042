/* SPDX-License-Identifier: MIT
 * The outlines of the world's objects and letters, as distances. */
#include "data/world_parts.h"
#include "data/world_person.h"

#include <math.h>
#include <string.h>

static const float palette[MGI_WORLD_COLOURS][3] = {
    {220.0f, 32.0f, 44.0f},  /* red */
    {248.0f, 124.0f, 16.0f}, /* orange */
    {250.0f, 218.0f, 36.0f}, /* yellow */
    {28.0f, 162.0f, 74.0f},  /* green */
    {24.0f, 196.0f, 212.0f}, /* cyan */
    {36.0f, 80.0f, 226.0f},  /* blue */
    {142.0f, 48.0f, 190.0f}, /* purple */
    {246.0f, 98.0f, 176.0f}, /* pink */
};

void mgi_world_colour_rgb(int colour, float rgb[3])
{
    memcpy(rgb, palette[(unsigned)colour % MGI_WORLD_COLOURS], sizeof palette[0]);
}

void mgi_world_sign_rgb(float board[3], float ink[3])
{
    static const float cream[3] = {250.0f, 243.0f, 222.0f}, navy[3] = {34.0f, 38.0f, 66.0f};
    memcpy(board, cream, sizeof cream);
    memcpy(ink, navy, sizeof navy);
}

/* ---- shapes, in radii --------------------------------------------------------------------------- */

static const float corner = 0.08f; /* radius of rounded corners */
static const float cube_half = 0.88f, cross_half = 1.06f, cross_arm = 0.36f;
static const float triangle_reach = 1.35f; /* from the middle to a corner */
static const float star_reach = 1.25f, star_inner = 0.64f;
static const float ring_outer = 1.06f, ring_inner = 0.52f;

static float box_distance(float x, float y, float half_x, float half_y)
{
    float qx = fabsf(x) - half_x, qy = fabsf(y) - half_y;
    if (qx > 0.0f && qy > 0.0f)
        return sqrtf(qx * qx + qy * qy);
    return qx > qy ? qx : qy;
}

/* Distance from the lines through three sides; outside of a corner it is too small, within it right. */
static float triangle_distance(float x, float y, float reach)
{
    float side = 0.8660254f * fabsf(x) - 0.5f * y - 0.5f * reach;
    float base = y - 0.5f * reach;
    return side > base ? side : base;
}

/* Five mirrored copies of one edge, from a tip on the axis to the inner corner beside it. */
static float star_distance(float x, float y, float reach, float inner)
{
    const float c = 0.80901699f, s = 0.58778525f; /* of 36 degrees */
    x = fabsf(x);
    y = -y;
    float over = x * c - y * s; /* beyond the mirror at 36 degrees from the upper tip */
    if (over > 0.0f) {
        x -= 2.0f * over * c;
        y += 2.0f * over * s;
    }
    over = -x * c - y * s;
    if (over > 0.0f) {
        x += 2.0f * over * c;
        y += 2.0f * over * s;
    }
    x = fabsf(x);
    float ex = inner * s, ey = inner * c - reach; /* the edge, from the tip */
    return (-ey * x + ex * (y - reach)) / sqrtf(ex * ex + ey * ey);
}

float mgi_world_shape_distance(int shape, float x, float y)
{
    float r = sqrtf(x * x + y * y);
    switch (shape) {
    case MGI_WORLD_CUBE:
        return box_distance(x, y, cube_half - corner, cube_half - corner) - corner;
    case MGI_WORLD_TRIANGLE:
        return triangle_distance(x, y, triangle_reach);
    case MGI_WORLD_STAR:
        return star_distance(x, y, star_reach, star_inner);
    case MGI_WORLD_RING:
        return fabsf(r - 0.5f * (ring_outer + ring_inner)) - 0.5f * (ring_outer - ring_inner);
    case MGI_WORLD_CROSS: {
        float flat = box_distance(x, y, cross_half - corner, cross_arm - corner);
        float high = box_distance(x, y, cross_arm - corner, cross_half - corner);
        return (flat < high ? flat : high) - corner;
    }
    default:
        return r - 1.0f;
    }
}

float mgi_world_shape_mark(int shape, float x, float y)
{
    float r2 = x * x + y * y, edge = 3.0f * (x * x - y * y - 0.25f * r2) / (r2 + 0.02f);
    if (shape != MGI_WORLD_BALL && shape != MGI_WORLD_RING)
        return 0.0f;
    return edge < -0.5f ? 0.0f : edge > 0.5f ? 1.0f : edge + 0.5f;
}

/* How far x is inside of a stripe, of those half a period wide around every multiple of it. */
static float inside_stripe(float x, float period)
{
    x = x / period;
    return period * (0.25f - fabsf(x - floorf(x + 0.5f)));
}

float mgi_world_texture(int texture, float x, float y)
{
    float a, b, inside;
    switch (texture) {
    case MGI_WORLD_STRIPES:
        inside = inside_stripe(x, 0.8f);
        break;
    case MGI_WORLD_DOTS:
        a = x / 0.8f;
        b = y / 0.8f;
        a = 0.8f * (a - floorf(a + 0.5f));
        b = 0.8f * (b - floorf(b + 0.5f));
        inside = 0.26f - sqrtf(a * a + b * b);
        break;
    case MGI_WORLD_CHECKS:
        a = inside_stripe(x - 0.25f, 1.0f);
        b = inside_stripe(y - 0.25f, 1.0f);
        inside = fabsf(a) < fabsf(b) ? fabsf(a) : fabsf(b);
        inside = (a > 0.0f) == (b > 0.0f) ? inside : -inside;
        break;
    default:
        return 0.0f;
    }
    inside = 0.5f + 16.0f * inside; /* the edge as wide as a cell of what shapes are drawn from */
    return inside > 0.0f ? inside < 1.0f ? inside : 1.0f : 0.0f;
}

float mgi_world_shape_width(int shape)
{
    static const float half[MGI_WORLD_SHAPES] = {1.0f, 0.88f, 1.17f, 1.19f, 1.06f, 1.06f};
    if (shape == MGI_WORLD_PERSON)
        return MGI_WORLD_PERSON_WIDTH;
    return half[(unsigned)shape % MGI_WORLD_SHAPES];
}

float mgi_world_shape_foot(int shape)
{
    static const float foot[MGI_WORLD_SHAPES] = {1.0f, 0.88f, 0.675f, 1.01f, 1.06f, 1.06f};
    if (shape == MGI_WORLD_PERSON)
        return MGI_WORLD_PERSON_FOOT;
    return foot[(unsigned)shape % MGI_WORLD_SHAPES];
}

float mgi_world_shape_top(int shape)
{
    static const float top[MGI_WORLD_SHAPES] = {1.0f, 0.88f, 1.35f, 1.25f, 1.06f, 1.06f};
    if (shape == MGI_WORLD_PERSON)
        return MGI_WORLD_PERSON_TOP;
    return top[(unsigned)shape % MGI_WORLD_SHAPES];
}

/* ---- letters ------------------------------------------------------------------------------------ */

/* Strokes on a grid of 5 x 7 points, column then row; a space lifts the pen. A zero has a slash. */
static const char *const digits[10] = {"10 30 41 45 36 16 05 01 10;05 41",
                                       "02 20 26",
                                       "01 10 30 41 42 06 46",
                                       "00 40 23 44 45 36 16 05",
                                       "36 30 04 44",
                                       "40 00 02 32 43 45 36 06",
                                       "30 03 05 16 36 45 44 33 03",
                                       "00 40 16",
                                       "20 31 32 23 12 11 20;23 44 45 36 16 05 04 23",
                                       "16 43 41 30 10 01 02 13 43"};
static const char *const letters[26] = {
    "06 20 46;14 34",                      /* A */
    "00 06 36 45 44 33 03;00 30 41 42 33", /* B */
    "41 30 20 02 04 26 36 45",             /* C */
    "00 06 26 44 42 20 00",                /* D */
    "40 00 06 46;03 33",                   /* E */
    "40 00 06;03 33",                      /* F */
    "40 10 01 05 16 46 43 23",             /* G */
    "00 06;40 46;03 43",                   /* H */
    "10 30;20 26;16 36",                   /* I */
    "20 40 45 36 16 05",                   /* J */
    "00 06;40 03 46",                      /* K */
    "00 06 46",                            /* L */
    "06 00 23 40 46",                      /* M */
    "06 00 46 40",                         /* N */
    "10 30 41 45 36 16 05 01 10",          /* O */
    "06 00 30 41 42 33 03",                /* P */
    "10 30 41 45 36 16 05 01 10;23 46",    /* Q */
    "06 00 30 41 42 33 03;23 46",          /* R */
    "41 30 10 01 02 13 33 44 45 36 16 05", /* S */
    "00 40;20 26",                         /* T */
    "00 05 16 36 45 40",                   /* U */
    "00 26 40",                            /* V */
    "00 16 23 36 40",                      /* W */
    "00 46;40 06",                         /* X */
    "00 23 40;23 26",                      /* Y */
    "00 40 06 46",                         /* Z */
};
static const float grid_x = 1.5f, grid_y = 1.65f; /* units between grid points */

static float segment_distance2(float x, float y, float ax, float ay, float bx, float by)
{
    float dx = bx - ax, dy = by - ay, px = x - ax, py = y - ay;
    float t = (px * dx + py * dy) / (dx * dx + dy * dy);
    t = t < 0.0f ? 0.0f : t > 1.0f ? 1.0f : t;
    px -= t * dx;
    py -= t * dy;
    return px * px + py * py;
}

float mgi_world_glyph_distance(char c, float x, float y)
{
    const char *p = c >= '0' && c <= '9'   ? digits[c - '0']
                    : c >= 'A' && c <= 'Z' ? letters[c - 'A']
                                           : "";
    float best = 1e6f, fx = 0.0f, fy = 0.0f;
    bool down = false;
    for (; *p; p += p[2] ? 3 : 2) {
        float tx = ((float)(p[0] - '0') - 2.0f) * grid_x,
              ty = ((float)(p[1] - '0') - 3.0f) * grid_y;
        if (down) {
            float d = segment_distance2(x, y, fx, fy, tx, ty);
            best = d < best ? d : best;
        }
        down = p[2] != ';';
        fx = tx;
        fy = ty;
    }
    return sqrtf(best);
}
