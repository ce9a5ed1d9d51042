/* SPDX-License-Identifier: MIT */
#include "data/world_raw.h"

#include "core/philox.h"
#include "data/world_parts.h"

#include <math.h>
#include <string.h>

enum { VIEW_LONG = 96, VIEW_SHORT = 64, SMALL_LONG = 72, SMALL_SHORT = 52, MARGIN = 3 };

const char *mgi_raw_kind_name(int kind)
{
    static const char *const names[MGI_RAW_ALL_KINDS] = {
        "clean",     "short",     "small",  "portrait", "text", "letterbox", "pillarbox",
        "still",     "slides",    "frozen", "slow",     "fast", "shake",     "cuts",
        "duplicate", "dissolves", "fades",  "wipes",    "slows"};
    return names[kind];
}

/* ---- lots --------------------------------------------------------------------------------------- */

typedef struct lots {
    uint64_t seed, index, at;
} lots;

static float draw(lots *l)
{
    return mgi_random_unit(l->seed, MGI_STREAM_RAW, (l->index << 12) + l->at++);
}

/* least .. most */
static int choose(lots *l, int least, int most)
{
    return least + (int)(draw(l) * (float)(most - least + 1));
}

/* ---- a film ------------------------------------------------------------------------------------- */

/* How many frames each scene has: of which kind the film is. */
static void lay_out(lots *l, mgi_world_raw *raw)
{
    int at = 0;
    switch (raw->kind) {
    case MGI_RAW_CUTS:
        raw->scenes = choose(l, 12, MGI_RAW_SCENES);
        break;
    case MGI_RAW_SLIDES:
        raw->scenes = choose(l, 2, 3);
        break;
    case MGI_RAW_CLEAN:
    case MGI_RAW_PORTRAIT:
        raw->scenes = choose(l, 1, 3);
        break;
    default:
        raw->scenes = 1;
    }
    for (int i = 0; i < raw->scenes; i++) {
        raw->first[i] = at;
        at += raw->kind == MGI_RAW_SHORT  ? choose(l, 18, 30)
              : raw->kind == MGI_RAW_CUTS ? choose(l, 3, 8)
                                          : choose(l, 40, 64);
    }
    raw->first[raw->scenes] = raw->frames = at;
}

static int seen_from(const mgi_world_raw *raw, int scene)
{
    return raw->joined[scene] ? raw->join[scene] : raw->first[scene];
}

static int seen_until(const mgi_world_raw *raw, int scene)
{
    return scene + 1 < raw->scenes && raw->joined[scene + 1] ? raw->joined[scene + 1]
                                                             : raw->first[scene + 1];
}

/* Scenes in which something moves all the time, laid out for the view. */
static void draw_scenes(mgi_world_raw *raw, uint64_t seed, uint64_t index, int view_width,
                        int view_height)
{
    mgi_world_options o = {.width = view_width,
                           .height = view_height,
                           .fps = MGI_RAW_FPS,
                           .sign = MGI_WORLD_NEVER,
                           .split = MGI_WORLD_ALL};
    const int moves[] = {MGI_WORLD_BOUNCE, MGI_WORLD_ROLL_LEFT, MGI_WORLD_ROLL_RIGHT,
                         MGI_WORLD_ORBIT, MGI_WORLD_SPIN};
    for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++)
        o.motion_weight[moves[i]] = 1.0f;
    if (raw->kind == MGI_RAW_FAST || raw->kind == MGI_RAW_SHAKE || raw->kind == MGI_RAW_SLOW)
        o.camera = MGI_WORLD_NEVER;
    for (int i = 0; i < raw->scenes; i++) {
        o.frames = seen_until(raw, i) - seen_from(raw, i);
        mgi_world_scene_random(&raw->scene[i], seed, index * MGI_RAW_SCENES + (uint64_t)i, &o);
        if (raw->kind == MGI_RAW_SLOW)
            raw->scene[i].fps *= 10;
    }
}

static void draw_bars(lots *l, mgi_world_raw *raw)
{
    static const uint8_t colours[4][3] = {{0, 0, 0}, {16, 16, 16}, {255, 255, 255}, {40, 60, 90}};
    const int side = raw->kind == MGI_RAW_LETTERBOX ? raw->height : raw->width;
    raw->bar[0] = raw->bar[1] = choose(l, side / 20, side / 6);
    if (draw(l) < 0.25f)
        raw->bar[1] = 0;
    memcpy(raw->bar_colour, colours[choose(l, 0, 3)], 3);
}

static void draw_text(lots *l, mgi_world_raw *raw)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const int most = (int)((float)raw->width / 8.0f);
    raw->lines = choose(l, 1, 2);
    raw->text_scale = 0.75f * (float)raw->width / (float)VIEW_LONG * (0.9f + 0.3f * draw(l));
    for (int k = 0; k < raw->lines; k++) {
        const int count = choose(l, 8, most < MGI_RAW_TEXT_MAX ? most : MGI_RAW_TEXT_MAX);
        for (int i = 0; i < count; i++)
            raw->text[k][i] =
                i && i < count - 1 && i % 5 == 4 ? ' ' : letters[choose(l, 0, sizeof letters - 2)];
    }
    const float high = 11.0f * raw->text_scale * (float)raw->lines;
    raw->text_x = 0.5f * (float)raw->width;
    raw->text_y = (draw(l) < 0.7f ? 0.92f : 0.3f) * (float)raw->height - 0.5f * high;
    raw->text_style = choose(l, 0, 2);
}

void mgi_world_raw_random(mgi_world_raw *raw, uint64_t seed, uint64_t index)
{
    lots l = {seed, index, 0};
    *raw = (mgi_world_raw){.kind = (int)(index % MGI_RAW_KINDS), .seed = seed, .index = index};
    if (raw->kind == MGI_RAW_DUPLICATE) {
        mgi_world_raw_random(raw, seed, index - MGI_RAW_DUPLICATE + MGI_RAW_CLEAN);
        raw->kind = MGI_RAW_DUPLICATE;
        raw->copy = (int)(index / MGI_RAW_KINDS % MGI_RAW_COPIES);
        if (raw->copy == MGI_RAW_LARGER) {
            raw->width = raw->width * 3 / 2;
            raw->height = raw->height * 3 / 2;
        }
        raw->index = index;
        return;
    }
    const bool portrait = raw->kind == MGI_RAW_PORTRAIT, small = raw->kind == MGI_RAW_SMALL;
    const int longer = small ? SMALL_LONG : VIEW_LONG, shorter = small ? SMALL_SHORT : VIEW_SHORT;
    const int scale = !small && draw(&l) < 0.2f ? 2 : 1;
    int view_width = portrait ? shorter : longer, view_height = portrait ? longer : shorter;
    raw->width = scale * view_width;
    raw->height = scale * view_height;
    lay_out(&l, raw);
    if (raw->kind == MGI_RAW_FAST)
        view_width *= 4;
    if (raw->kind == MGI_RAW_SHAKE) {
        view_width += 2 * MARGIN;
        view_height += 2 * MARGIN;
    }
    raw->view_width = scale * view_width;
    raw->view_height = scale * view_height;
    draw_scenes(raw, seed, index, view_width, view_height);
    if (raw->kind == MGI_RAW_LETTERBOX || raw->kind == MGI_RAW_PILLARBOX)
        draw_bars(&l, raw);
    if (raw->kind == MGI_RAW_TEXT)
        draw_text(&l, raw);
    if (raw->kind == MGI_RAW_FROZEN) {
        raw->freeze = choose(&l, 8, raw->frames - 28);
        raw->freeze_end = raw->freeze + 16;
    }
    raw->sweep = raw->kind == MGI_RAW_FAST ? scale * choose(&l, 4, 6) : 0;
}

/* Scenes of so many frames, which meet in the middle of what joins them. */
static void lay_out_joins(lots *l, mgi_world_raw *raw, int least, int most)
{
    for (int i = 0; i < raw->scenes; i++)
        raw->first[i + 1] = raw->first[i] + choose(l, least, most);
    raw->frames = raw->first[raw->scenes];
    for (int i = 1; i < raw->scenes; i++) {
        const int length = raw->kind == MGI_RAW_FADES   ? 2 * choose(l, 5, 12) + raw->hold
                           : raw->kind == MGI_RAW_SLOWS ? choose(l, 26, 48)
                                                        : choose(l, 6, 24);
        raw->join[i] = raw->first[i] - length / 2;
        raw->joined[i] = raw->join[i] + length;
        if (raw->kind == MGI_RAW_WIPES)
            raw->wipe[i] = choose(l, 0, 7);
    }
}

static lots begin_joined(mgi_world_raw *raw, int kind, uint64_t seed, uint64_t index)
{
    lots l = {seed, index, 0};
    *raw = (mgi_world_raw){.kind = kind,
                           .seed = seed,
                           .index = l.index,
                           .width = VIEW_LONG,
                           .height = VIEW_SHORT,
                           .view_width = VIEW_LONG,
                           .view_height = VIEW_SHORT,
                           .scenes = choose(&l, 2, 3)};
    return l;
}

void mgi_world_raw_joined(mgi_world_raw *raw, uint64_t seed, uint64_t index)
{
    const int kind = MGI_RAW_DISSOLVES + (int)(index % 2);
    const bool fades = kind == MGI_RAW_FADES;
    lots l = begin_joined(raw, kind, seed, (UINT64_C(1) << 40) + index);
    raw->hold = fades ? choose(&l, 0, 4) : 0;
    memset(raw->bar_colour, fades && index / 2 % 4 == 3 ? 255 : 0, 3);
    lay_out_joins(&l, raw, 48, 64);
    draw_scenes(raw, seed, l.index, VIEW_LONG, VIEW_SHORT);
}

void mgi_world_raw_slow(mgi_world_raw *raw, uint64_t seed, uint64_t index)
{
    const int kind = MGI_RAW_WIPES + (int)(index % 2);
    lots l = begin_joined(raw, kind, seed, (UINT64_C(1) << 41) + index);
    raw->soft = kind == MGI_RAW_WIPES && draw(&l) < 0.5f ? 0.05f + 0.15f * draw(&l) : 0.0f;
    if (kind == MGI_RAW_WIPES)
        lay_out_joins(&l, raw, 48, 64);
    else
        lay_out_joins(&l, raw, 72, 88);
    draw_scenes(raw, seed, l.index, VIEW_LONG, VIEW_SHORT);
}

/* ---- frames ------------------------------------------------------------------------------------- */

static int scene_of(const mgi_world_raw *raw, int i)
{
    int k = 0;
    while (k + 1 < raw->scenes && i >= raw->first[k + 1])
        k++;
    return k;
}

/* The frame of its scene that frame i of the film shows. */
static int moment_of(const mgi_world_raw *raw, int scene, int i)
{
    i -= seen_from(raw, scene);
    if (raw->kind == MGI_RAW_STILL || raw->kind == MGI_RAW_SLIDES)
        return 0;
    if (raw->kind == MGI_RAW_FROZEN && i >= raw->freeze)
        return i < raw->freeze_end ? raw->freeze : i - raw->freeze_end + raw->freeze;
    return i;
}

/* Where in the view the frame is, pixels. */
static void place_of(const mgi_world_raw *raw, int i, int *x, int *y)
{
    const int spare_x = raw->view_width - raw->width, spare_y = raw->view_height - raw->height;
    *x = *y = 0;
    if (raw->kind == MGI_RAW_FAST) { /* to and fro */
        const int way = raw->sweep * i % (2 * spare_x);
        *x = way < spare_x ? way : 2 * spare_x - way;
    } else if (raw->kind == MGI_RAW_SHAKE) {
        lots l = {raw->seed, raw->index, 2048 + 2 * (uint64_t)i};
        *x = choose(&l, 0, spare_x);
        *y = choose(&l, 0, spare_y);
    }
}

static uint8_t to_byte(float v)
{
    v += 0.5f;
    return v <= 0.0f ? 0 : v >= 255.0f ? 255 : (uint8_t)v;
}

/* The pixel at (x, y) of a frame, linear between pixels. */
static void sample(const uint8_t *from, int width, int height, float x, float y, float rgb[3])
{
    x = x < 0.0f ? 0.0f : x > (float)(width - 1) ? (float)(width - 1) : x;
    y = y < 0.0f ? 0.0f : y > (float)(height - 1) ? (float)(height - 1) : y;
    const int x0 = (int)x, y0 = (int)y;
    const int x1 = x0 + 1 < width ? x0 + 1 : x0, y1 = y0 + 1 < height ? y0 + 1 : y0;
    const float u = x - (float)x0, v = y - (float)y0;
    for (int k = 0; k < 3; k++) {
        const float a = from[(y0 * width + x0) * 3 + k], b = from[(y0 * width + x1) * 3 + k];
        const float c = from[(y1 * width + x0) * 3 + k], d = from[(y1 * width + x1) * 3 + k];
        rgb[k] = (a + (b - a) * u) * (1.0f - v) + (c + (d - c) * u) * v;
    }
}

/* A duplicate's frame, from the clean one's. */
static void copy_frame(const mgi_world_raw *raw, int i, const uint8_t *from, uint8_t *out)
{
    const int w = raw->view_width, h = raw->view_height;
    const float crop = raw->copy == MGI_RAW_CROPPED ? 0.025f : 0.0f; /* of each side */
    const float sx = (float)w * (1.0f - 2.0f * crop) / (float)raw->width;
    const float sy = (float)h * (1.0f - 2.0f * crop) / (float)raw->height;
    for (int y = 0; y < raw->height; y++)
        for (int x = 0; x < raw->width; x++, out += 3) {
            float rgb[3];
            sample(from, w, h, ((float)x + 0.5f) * sx - 0.5f + crop * (float)w,
                   ((float)y + 0.5f) * sy - 0.5f + crop * (float)h, rgb);
            for (int k = 0; k < 3; k++) {
                if (raw->copy == MGI_RAW_BRIGHTER)
                    rgb[k] = 1.1f * rgb[k] + 8.0f;
                if (raw->copy == MGI_RAW_CODED) {
                    const int64_t at = 3 * (((int64_t)i * raw->height + y) * raw->width + x);
                    rgb[k] = 16.0f * floorf(rgb[k] / 16.0f) + 8.0f +
                             8.0f * (mgi_random_unit(raw->seed, MGI_STREAM_RAW,
                                                     (raw->index << 32) + (uint64_t)(at + k)) -
                                     0.5f);
                }
                out[k] = to_byte(rgb[k]);
            }
        }
}

static void put_bars(const mgi_world_raw *raw, uint8_t *out)
{
    const bool rows = raw->kind == MGI_RAW_LETTERBOX;
    for (int y = 0; y < raw->height; y++)
        for (int x = 0; x < raw->width; x++, out += 3) {
            const int at = rows ? y : x, side = rows ? raw->height : raw->width;
            if (at < raw->bar[0] || at >= side - raw->bar[1])
                memcpy(out, raw->bar_colour, 3);
        }
}

/* How far from the nearest stroke of a line of text, in its units; *inside: the line's box. */
static float text_distance(const char *text, float x, float y, bool *inside)
{
    const int count = (int)strlen(text);
    const float left = -0.5f * (float)count * MGI_WORLD_GLYPH_STEP;
    const int near = (int)floorf((x - left) / MGI_WORLD_GLYPH_STEP);
    float best = 1e6f;
    *inside = fabsf(x) <= -left + 2.0f && fabsf(y) <= 6.0f;
    for (int i = near - 1; i <= near + 1; i++) {
        if (i < 0 || i >= count || text[i] == ' ')
            continue;
        const float middle = left + ((float)i + 0.5f) * MGI_WORLD_GLYPH_STEP;
        const float d = mgi_world_glyph_distance(text[i], x - middle, y);
        best = d < best ? d : best;
    }
    return best;
}

static void blend(uint8_t *p, const float rgb[3], float a)
{
    a = a < 0.0f ? 0.0f : a > 1.0f ? 1.0f : a;
    for (int k = 0; k < 3; k++)
        p[k] = to_byte((float)p[k] + a * (rgb[k] - (float)p[k]));
}

static void put_text(const mgi_world_raw *raw, uint8_t *out)
{
    static const float white[3] = {250, 250, 250}, black[3] = {10, 10, 10},
                       yellow[3] = {250, 220, 40};
    const float s = raw->text_scale;
    for (int y = 0; y < raw->height; y++)
        for (int x = 0; x < raw->width; x++, out += 3)
            for (int k = 0; k < raw->lines; k++) {
                bool inside;
                const float u = ((float)x + 0.5f - raw->text_x) / s;
                const float v = ((float)y + 0.5f - raw->text_y) / s - 11.0f * (float)k;
                const float d =
                    text_distance(raw->text[k], u, v, &inside) - 0.5f * MGI_WORLD_STROKE;
                if (raw->text_style == 0 && inside)
                    blend(out, black, 0.8f);
                if (raw->text_style == 1)
                    blend(out, black, 0.5f - (d - 1.5f) * s);
                blend(out, raw->text_style == 2 ? yellow : white, 0.5f - d * s);
            }
}

/* The scene that frame i is a join to; 0: it shows one scene. */
static int join_at(const mgi_world_raw *raw, int i)
{
    for (int k = 1; k < raw->scenes; k++)
        if (i >= raw->join[k] && i < raw->joined[k])
            return k;
    return 0;
}

static void mix(const mgi_world_raw *raw, float share, const uint8_t *with, uint8_t *out)
{
    for (int64_t p = 0; p < (int64_t)raw->width * raw->height; p++, out += 3) {
        const uint8_t *c = with ? with + 3 * p : raw->bar_colour;
        for (int k = 0; k < 3; k++)
            out[k] = to_byte((float)out[k] + share * ((float)c[k] - (float)out[k]));
    }
}

/* The new scene's pixels are in `from`; the border has passed `passed` of the way. */
static void wipe(const mgi_world_raw *raw, int k, float passed, const uint8_t *from, uint8_t *out)
{
    static const float way[8][2] = {{1.0f, 0.0f},  {0.5f, 0.5f},   {0.0f, 1.0f},  {-0.5f, 0.5f},
                                    {-1.0f, 0.0f}, {-0.5f, -0.5f}, {0.0f, -1.0f}, {0.5f, -0.5f}};
    const float *to = way[raw->wipe[k]], soft = raw->soft > 1e-3f ? raw->soft : 1e-3f;
    const float begin = (to[0] < 0.0f ? -to[0] : 0.0f) + (to[1] < 0.0f ? -to[1] : 0.0f);
    for (int y = 0; y < raw->height; y++)
        for (int x = 0; x < raw->width; x++, from += 3, out += 3) {
            const float at = begin + to[0] * ((float)x + 0.5f) / (float)raw->width +
                             to[1] * ((float)y + 0.5f) / (float)raw->height;
            const float share = (passed * (1.0f + soft) - at) / soft;
            const float a = share < 0.0f ? 0.0f : share > 1.0f ? 1.0f : share;
            for (int c = 0; c < 3; c++)
                out[c] = to_byte((float)out[c] + a * ((float)from[c] - (float)out[c]));
        }
}

/* Frame i, between scenes k - 1 and k. */
static void draw_join(const mgi_world_raw *raw, int k, int i, uint8_t *room, uint8_t *out)
{
    const int w = raw->width, h = raw->height, at = i - raw->join[k];
    const int length = raw->joined[k] - raw->join[k];
    if (raw->kind != MGI_RAW_FADES) {
        const float passed = (float)(at + 1) / (float)(length + 1);
        mgi_world_draw(&raw->scene[k], w, h, moment_of(raw, k, i), 1, room);
        mgi_world_draw(&raw->scene[k - 1], w, h, moment_of(raw, k - 1, i), 1, out);
        if (raw->kind == MGI_RAW_WIPES)
            wipe(raw, k, passed, room, out);
        else
            mix(raw, passed, room, out);
        return;
    }
    const int half = (length - raw->hold) / 2;
    const int from = at < half ? at + 1 : at < half + raw->hold ? half + 1 : length - at;
    const int scene = at < half ? k - 1 : k;
    mgi_world_draw(&raw->scene[scene], w, h, moment_of(raw, scene, i), 1, out);
    mix(raw, (float)from / (float)(half + 1), NULL, out);
}

size_t mgi_world_raw_room(const mgi_world_raw *raw)
{
    return (size_t)raw->view_width * (size_t)raw->view_height * 3;
}

void mgi_world_raw_frame(const mgi_world_raw *raw, int i, uint8_t *room, uint8_t *out)
{
    const int scene = scene_of(raw, i);
    const int join = join_at(raw, i);
    int x, y;
    if (join) {
        draw_join(raw, join, i, room, out);
        return;
    }
    mgi_world_draw(&raw->scene[scene], raw->view_width, raw->view_height, moment_of(raw, scene, i),
                   1, room);
    if (raw->kind == MGI_RAW_DUPLICATE) {
        copy_frame(raw, i, room, out);
        return;
    }
    place_of(raw, i, &x, &y);
    for (int row = 0; row < raw->height; row++)
        memcpy(out + (ptrdiff_t)row * raw->width * 3,
               room + ((ptrdiff_t)(y + row) * raw->view_width + x) * 3, (size_t)raw->width * 3);
    if (raw->bar[0])
        put_bars(raw, out);
    if (raw->lines)
        put_text(raw, out);
}
