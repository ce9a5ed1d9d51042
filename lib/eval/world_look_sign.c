/* SPDX-License-Identifier: MIT
 * The sign: where its board is in the first frame, then each character against the font. */
#include "eval/world_look.h"

#include <math.h>
#include <string.h>

/* Points read of a character: half a unit apart. Those of the font go one further on each side. */
enum { COLUMNS = 17, ROWS = 25, POINTS = COLUMNS * ROWS, WIDE = COLUMNS + 2, HIGH = ROWS + 2 };
enum { LETTERS = 36, VIEWS = 8, PLACES = 3 };

static const char letters[LETTERS + 1] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/* Tuned on true scenes with and without signs, also blurred by 1 pixel. */
static const float board_min = 0.15f, glyph_min = 0.70f;

typedef struct font {
    float ink[LETTERS][HIGH][WIDE];
} font;

static void pixel_at(const mgi_look *look, int frame, float x, float y, float rgb[3])
{
    int w = look->width, h = look->height;
    x -= 0.5f;
    y -= 0.5f;
    x = x < 0.0f ? 0.0f : x > (float)(w - 1) - 0.001f ? (float)(w - 1) - 0.001f : x;
    y = y < 0.0f ? 0.0f : y > (float)(h - 1) - 0.001f ? (float)(h - 1) - 0.001f : y;
    int ix = (int)x, iy = (int)y;
    float fx = x - (float)ix, fy = y - (float)iy;
    const uint8_t *p = look->frames + 3 * ((ptrdiff_t)frame * look->pixels + iy * w + ix);
    for (int k = 0; k < 3; k++) {
        float a = (float)p[k] + ((float)p[3 + k] - (float)p[k]) * fx;
        float b = (float)p[3 * w + k] + ((float)p[3 * w + 3 + k] - (float)p[3 * w + k]) * fx;
        rgb[k] = a + (b - a) * fy;
    }
}

/* Where a colour is between the board's, 0, and the ink's, 1; `off`: how far from the line between them. */
static float ink_of(const mgi_look *look, const float rgb[3], float *off)
{
    float board[3], ink[3], along = 0.0f, length = 0.0f, rest = 0.0f;
    mgi_world_sign_rgb(board, ink);
    for (int k = 0; k < 3; k++) {
        float d = look->gain * (ink[k] - board[k]);
        along += (rgb[k] - look->gain * board[k]) * d;
        length += d * d;
    }
    along /= length;
    for (int k = 0; k < 3; k++) {
        float r = rgb[k] - look->gain * (board[k] + along * (ink[k] - board[k]));
        rest += r * r;
    }
    *off = sqrtf(rest);
    return along < 0.0f ? 0.0f : along > 1.0f ? 1.0f : along;
}

/* How much a board of n characters around (x, y) of the first frame looks like one: a dark line along each edge, a
 * light one within, both of the board's colours. */
static float board_at(const mgi_look *look, int n, float x, float y)
{
    float half = mgi_world_sign_half_width(n), high = MGI_WORLD_SIGN_HALF_HEIGHT;
    float sum = 0.0f, off_sum = 0.0f, points = 0.0f;
    for (int side = 0; side < 4; side++) {
        float along = side < 2 ? half : high, contrast = 0.0f, way = side % 2 ? 1.0f : -1.0f;
        for (float s = 0.5f - along; s < along; s += 1.0f, points += 2.0f)
            for (int line = 0; line < 2; line++) {
                float in = line ? 1.5f : 0.5f, rgb[3], off;
                float dx = side < 2 ? s * (half - in) / half : way * (half - in);
                float dy = side < 2 ? way * (high - in) : s * (high - in) / high;
                pixel_at(look, 0, x + dx, y + dy, rgb);
                contrast += (line ? -0.5f : 0.5f) * ink_of(look, rgb, &off) / along;
                off_sum += off < 60.0f ? off / 60.0f : 1.0f;
            }
        sum += 0.25f * contrast;
    }
    return sum + 0.35f - off_sum / points;
}

/* The ink of a character's points, mean over frames in which all of it is in view. */
static void read_points(const mgi_look *look, const mgi_world_scene *s, int k, float out[POINTS])
{
    int step = (look->count + VIEWS - 1) / VIEWS, used = 0, n = (int)strlen(s->sign);
    float middle = ((float)k + 0.5f - 0.5f * (float)n) * MGI_WORLD_GLYPH_STEP, off, rgb[3];
    memset(out, 0, POINTS * sizeof *out);
    for (int f = 0; f < look->count; f += step) {
        mgi_world_pose p;
        mgi_world_sign_at(s, &look->path[f], &p);
        float x0 = p.x + (middle - 4.0f) * p.scale, x1 = p.x + (middle + 4.0f) * p.scale;
        float y0 = p.y - 6.0f * p.scale, y1 = p.y + 6.0f * p.scale;
        if (f > 0 && (x0 < 0.0f || y0 < 0.0f || x1 > (float)look->width ||
                      y1 > (float)look->height || p.scale < 0.75f))
            continue;
        used++;
        for (int i = 0; i < POINTS; i++) {
            float dx = middle + 0.5f * (float)(i % COLUMNS - COLUMNS / 2);
            float dy = 0.5f * (float)(i / COLUMNS - ROWS / 2);
            pixel_at(look, f, p.x + dx * p.scale, p.y + dy * p.scale, rgb);
            out[i] += ink_of(look, rgb, &off);
        }
    }
    for (int i = 0; i < POINTS; i++)
        out[i] /= (float)used;
}

/* Strokes have soft edges, as in a blurred picture. */
static void make_font(font *f)
{
    for (int k = 0; k < LETTERS; k++)
        for (int i = 0; i < HIGH * WIDE; i++) {
            float x = 0.5f * (float)(i % WIDE - WIDE / 2), y = 0.5f * (float)(i / WIDE - HIGH / 2);
            float d = mgi_world_glyph_distance(letters[k], x, y) - 0.5f * MGI_WORLD_STROKE;
            float b = 0.5f - d * (1.0f / 1.8f);
            f->ink[k][i / WIDE][i % WIDE] = b < 0.0f ? 0.0f : b > 1.0f ? 1.0f : b;
        }
}

/* Correlation with a character moved by (right, down) points. */
static float glyph_match(const float points[POINTS], float ink[HIGH][WIDE], int right, int down)
{
    float sa = 0.0f, sb = 0.0f, saa = 0.0f, sbb = 0.0f, sab = 0.0f, n = POINTS;
    for (int j = 0; j < ROWS; j++)
        for (int i = 0; i < COLUMNS; i++) {
            float a = points[j * COLUMNS + i], b = ink[j + 1 - down][i + 1 - right];
            sa += a;
            sb += b;
            saa += a * a;
            sbb += b * b;
            sab += a * b;
        }
    float va = n * saa - sa * sa, vb = n * sbb - sb * sb;
    return va > 0.01f && vb > 0.01f ? (n * sab - sa * sb) / sqrtf(va * vb) : 0.0f;
}

static float read_character(const float points[POINTS], font *f, char *out)
{
    float best = 0.0f;
    *out = '?';
    for (int c = 0; c < LETTERS; c++)
        for (int k = 0; k < 9; k++) {
            float m = glyph_match(points, f->ink[c], k % 3 - 1, k / 3 - 1);
            if (m > best) {
                best = m;
                *out = letters[c];
            }
        }
    return best;
}

/* The places of a board of n characters that look most like one, best first, and how much: so many. */
static int find_boards(const mgi_look *look, int n, float at[PLACES], float score[PLACES])
{
    float half = mgi_world_sign_half_width(n), y = mgi_world_sign_row(look->height);
    int count = 0;
    memset(score, 0, PLACES * sizeof *score);
    for (float x = half; x <= (float)look->width - half; x += 1.0f) {
        float m = board_at(look, n, x, y);
        if (m < board_min || m <= score[PLACES - 1])
            continue;
        int i = PLACES - 1;
        for (; i > 0 && score[i - 1] < m; i--) {
            score[i] = score[i - 1];
            at[i] = at[i - 1];
        }
        score[i] = m;
        at[i] = x;
        count += count < PLACES;
    }
    return count;
}

/* Strokes between the board's upper and lower edge look like the sides of a shorter board; what is beyond its sides
 * is no character. Of the places that look like a board, the longest is taken that can be read. */
void mgi_look_sign(const mgi_look *look, char sign[MGI_WORLD_SIGN + 1])
{
    const float much = 0.65f; /* of the most that any place looks like a board */
    float at[MGI_WORLD_SIGN + 1][PLACES], score[MGI_WORLD_SIGN + 1][PLACES], most = 0.0f;
    int places[MGI_WORLD_SIGN + 1];
    font f;
    make_font(&f);
    memset(sign, 0, MGI_WORLD_SIGN + 1);
    for (int n = 1; n <= MGI_WORLD_SIGN; n++) {
        places[n] = find_boards(look, n, at[n], score[n]);
        most = score[n][0] > most ? score[n][0] : most;
    }
    for (int n = MGI_WORLD_SIGN; n >= 1 && !sign[0]; n--) {
        float best = glyph_min, points[POINTS];
        for (int i = 0; i < places[n] && score[n][i] >= much * most; i++) {
            mgi_world_scene s = {.width = look->width, .height = look->height, .sign_x = at[n][i]};
            char read[MGI_WORLD_SIGN + 1] = "";
            float least = 1.0f;
            memset(s.sign, 'A', (size_t)n);
            for (int k = 0; k < n; k++) {
                read_points(look, &s, k, points);
                float m = read_character(points, &f, &read[k]);
                least = m < least ? m : least;
            }
            if (least > best) {
                best = least;
                memcpy(sign, read, sizeof read);
            }
        }
    }
}
