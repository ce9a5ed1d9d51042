/* SPDX-License-Identifier: MIT */
#include "data/curate_look.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- frames, reduced ---------------------------------------------------------------------------- */

int64_t mgi_look_factor(int64_t width, int64_t height, int64_t most)
{
    const int64_t longer = width > height ? width : height;
    return longer > most ? (longer + most - 1) / most : 1;
}

void mgi_look_reduce(const uint8_t *rgb, int64_t width, int64_t height, int64_t factor,
                     uint8_t *out)
{
    const int64_t w = width / factor, h = height / factor;
    const int64_t area = factor * factor;
    if (factor == 1) {
        memcpy(out, rgb, (size_t)(width * height * 3));
        return;
    }
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++, out += 3) {
            int64_t sum[3] = {area / 2, area / 2, area / 2};
            for (int64_t j = 0; j < factor; j++) {
                const uint8_t *p = rgb + ((y * factor + j) * width + x * factor) * 3;
                for (int64_t i = 0; i < factor; i++, p += 3)
                    for (int k = 0; k < 3; k++)
                        sum[k] += p[k];
            }
            for (int k = 0; k < 3; k++)
                out[k] = (uint8_t)(sum[k] / area);
        }
}

void mgi_look_grey(const uint8_t *rgb, int64_t pixels, uint8_t *grey)
{
    for (int64_t i = 0; i < pixels; i++, rgb += 3)
        grey[i] = (uint8_t)((77 * rgb[0] + 150 * rgb[1] + 29 * rgb[2] + 128) >> 8);
}

double mgi_look_difference(const uint8_t *a, const uint8_t *b, int64_t pixels)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < pixels; i++)
        sum += abs((int)a[i] - (int)b[i]);
    return pixels ? (double)sum / (double)pixels : 0.0;
}

static int64_t mirrored(int64_t i, int64_t size)
{
    i = i < 0 ? -i : i;
    i = i >= size ? 2 * size - 2 - i : i;
    return i < 0 ? 0 : i >= size ? size - 1 : i; /* sides of less than 3 */
}

void mgi_look_blur(const uint8_t *grey, int64_t width, int64_t height, float *rows, float *out)
{
    static const float tap[5] = {0.054488685f, 0.244201342f, 0.402619947f, 0.244201342f,
                                 0.054488685f};
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            float sum = 0.0f;
            for (int64_t k = -2; k <= 2; k++)
                sum += tap[k + 2] * (float)grey[y * width + mirrored(x + k, width)];
            rows[y * width + x] = sum;
        }
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            float sum = 0.0f;
            for (int64_t k = -2; k <= 2; k++)
                sum += tap[k + 2] * rows[mirrored(y + k, height) * width + x];
            out[y * width + x] = sum;
        }
}

double mgi_look_blurred_difference(const float *a, const float *b, int64_t pixels)
{
    double sum = 0.0;
    for (int64_t i = 0; i < pixels; i++)
        sum += fabs((double)a[i] - (double)b[i]);
    return pixels ? sum / (double)pixels : 0.0;
}

/* ---- motion ------------------------------------------------------------------------------------- */

enum {
    BLOCK = MGI_LOOK_BLOCK,
    REACH = 7,
    SPAN = 2 * REACH + 1,
    BLOCKS_MAX = MGI_LOOK_BLOCKS,
    BETTER =
        48, /* of a block's 64 pixels: what a match must gain over staying to be believed, grey levels */
    SLOPES = 64,  /* squares of grey levels a pixel, of a block's 64: noise has as many */
    NOWHERE = 640 /* a block that differs by more from all of the frame before is new there */
};

typedef struct block_view {
    const uint8_t *before, *now;
    int64_t width, height, x, y;
} block_view;

/* Sum of differences of a block and what lies (dx, dy) from it in the frame before; -1 outside. */
static int differ(const block_view *b, int dx, int dy)
{
    const int64_t x = b->x + dx, y = b->y + dy;
    int sum = 0;
    if (x < 0 || y < 0 || x + BLOCK > b->width || y + BLOCK > b->height)
        return -1;
    for (int j = 0; j < BLOCK; j++) {
        const uint8_t *p = b->now + (b->y + j) * b->width + b->x;
        const uint8_t *q = b->before + (y + j) * b->width + x;
        for (int i = 0; i < BLOCK; i++)
            sum += abs((int)p[i] - (int)q[i]);
    }
    return sum;
}

/* What a match leaves is explained by a shift of less than a pixel, as far as the block's slopes tell it. */
static void refine(const block_view *b, float v[2])
{
    const int64_t x0 = b->x - (int64_t)v[0], y0 = b->y - (int64_t)v[1];
    double xx = 0.0, xy = 0.0, yy = 0.0, xt = 0.0, yt = 0.0;
    for (int64_t y = 0; y < BLOCK; y++)
        for (int64_t x = 0; x < BLOCK; x++) {
            const uint8_t *p = b->before + (y0 + y) * b->width + x0 + x;
            const int64_t left = x0 + x > 0 ? 1 : 0, right = x0 + x + 1 < b->width ? 1 : 0;
            const int64_t up = y0 + y > 0 ? b->width : 0;
            const int64_t down = y0 + y + 1 < b->height ? b->width : 0;
            const double gx = 0.5 * ((double)p[right] - (double)p[-left]);
            const double gy = 0.5 * ((double)p[down] - (double)p[-up]);
            const double t = (double)b->now[(b->y + y) * b->width + b->x + x] - (double)p[0];
            xx += gx * gx;
            xy += gx * gy;
            yy += gy * gy;
            xt += gx * t;
            yt += gy * t;
        }
    xx += SLOPES; /* a block without slopes tells nothing */
    yy += SLOPES;
    const double d = xx * yy - xy * xy;
    const double dx = -(yy * xt - xy * yt) / d, dy = -(xx * yt - xy * xt) / d;
    if (fabs(dx) <= 1.0 && fabs(dy) <= 1.0) {
        v[0] += (float)dx;
        v[1] += (float)dy;
    }
}

/* The motion of a block since the frame before; false: it is nowhere there. */
static bool search(const block_view *b, float out[2])
{
    const int stays = differ(b, 0, 0);
    int least = stays, best[2] = {0, 0};
    for (int dy = -REACH; dy <= REACH; dy++)
        for (int dx = -REACH; dx <= REACH; dx++) {
            const int d = differ(b, dx, dy);
            const int far = abs(dx) + abs(dy), held = abs(best[0]) + abs(best[1]);
            if (d >= 0 && (d < least || (d == least && far < held))) {
                least = d;
                best[0] = dx;
                best[1] = dy;
            }
        }
    if (stays - least < BETTER) {
        least = stays;
        best[0] = best[1] = 0;
    }
    out[0] = (float)-best[0];
    out[1] = (float)-best[1];
    refine(b, out);
    return least <= NOWHERE;
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double median(float *values, int64_t count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return 0.5 * ((double)values[(count - 1) / 2] + (double)values[count / 2]);
}

void mgi_look_motion_of(const uint8_t *before, const uint8_t *now, int64_t width, int64_t height,
                        mgi_look_motion *out)
{
    float x[BLOCKS_MAX], y[BLOCKS_MAX];
    const double unit = (double)MGI_LOOK_VECTORS / (double)(width > height ? width : height);
    int64_t found = 0, blocks = 0;
    double sum = 0.0;
    *out = (mgi_look_motion){0};
    for (int64_t j = 0; j + BLOCK <= height; j += BLOCK)
        for (int64_t i = 0; i + BLOCK <= width && blocks < BLOCKS_MAX; i += BLOCK, blocks++) {
            const block_view b = {before, now, width, height, i, j};
            float v[2];
            if (!search(&b, v))
                continue;
            x[found] = v[0];
            y[found++] = v[1];
            sum += sqrt((double)v[0] * (double)v[0] + (double)v[1] * (double)v[1]);
        }
    if (!blocks)
        return;
    out->unknown = (double)(blocks - found) / (double)blocks;
    if (!found)
        return;
    out->length = unit * sum / (double)found;
    out->x = unit * median(x, found);
    out->y = unit * median(y, found);
}

/* Whether a block is within reach of where it would be if it had moved by (dx, dy). */
static bool is_near(const block_view *b, int dx, int dy)
{
    if (b->x - dx < 0 || b->y - dy < 0 || b->x - dx >= b->width || b->y - dy >= b->height)
        return false;
    for (int v = -dy - REACH; v <= -dy + REACH; v++)
        for (int u = -dx - REACH; u <= -dx + REACH; u++) {
            const int d = differ(b, u, v);
            if (d >= 0 && d <= NOWHERE)
                return true;
        }
    return false;
}

void mgi_look_new_blocks(const uint8_t *before, const uint8_t *now, int64_t width, int64_t height,
                         int dx, int dy, uint8_t *is_new)
{
    for (int64_t j = 0; j + BLOCK <= height; j += BLOCK)
        for (int64_t i = 0; i + BLOCK <= width; i += BLOCK) {
            const block_view b = {before, now, width, height, i, j};
            const int stays = differ(&b, 0, 0);
            *is_new++ =
                stays > NOWHERE && !is_near(&b, 0, 0) && ((!dx && !dy) || !is_near(&b, dx, dy));
        }
}

/* ---- text --------------------------------------------------------------------------------------- */

enum {
    STROKE_EDGE = 40,  /* levels within two pixels that make an edge of a stroke */
    STROKES_MIN = 8,   /* edges of a run */
    STROKES_MANY = 20, /* edges of a line's rows that windows, grass and tiles seldom have */
    LINE_ROWS_MIN = 4, /* of a line of text, pixels */
    LINES_MAX = 64     /* that are followed at a time */
};

/* Of a line's levels, the variance between dark and bright, of all: two even colours have 1, an even spread 0.75,
 * a normal distribution 0.64. Letters over a picture have less than letters on paper. */
#define TWO_COLOURS_APART 0.79
#define TWO_COLOURS       0.75
#define MANY_COLOURS      0.6

/* A part of a row in which dark and bright take turns. */
typedef struct stroke_run {
    int64_t first, last;
    int edges;
} stroke_run;

/* Runs that lie below each other. */
typedef struct text_line {
    int64_t left, right, top, bottom, area, edges;
} text_line;

typedef struct text_page {
    const uint8_t *plane;
    text_line line[LINES_MAX]; /* those that may go on */
    int64_t lines, width, height, area;
} text_page;

/* As of TWO_COLOURS, by the best threshold (Otsu's). */
static double two_colours(const text_page *page, const text_line *l)
{
    int64_t count[256] = {0}, all = 0, sum = 0, squares = 0, below = 0, sum_below = 0;
    double most = 0.0;
    for (int64_t y = l->top; y <= l->bottom; y++)
        for (int64_t x = l->left; x <= l->right; x++)
            count[page->plane[y * page->width + x]]++;
    for (int64_t v = 0; v < 256; v++) {
        all += count[v];
        sum += count[v] * v;
        squares += count[v] * v * v;
    }
    for (int64_t v = 0; v < 255; v++) {
        below += count[v];
        sum_below += count[v] * v;
        if (!below || below == all)
            continue;
        const double dark = (double)sum_below / (double)below;
        const double bright = (double)(sum - sum_below) / (double)(all - below);
        const double between =
            (double)below * (double)(all - below) * (bright - dark) * (bright - dark) / (double)all;
        most = between > most ? between : most;
    }
    const double spread = (double)squares - (double)sum * (double)sum / (double)all;
    return spread > 0.0 ? most / spread : 0.0;
}

/* Strokes are closer to each other than they are high, which windows in a row and planks are not, but not much closer, as
 * what is fine all over is. A line that has few of them must be of two colours, the more if it has gaps. */
static void end_line(text_page *page, const text_line *l)
{
    const int64_t rows = l->bottom - l->top + 1, box = rows * (l->right - l->left + 1);
    if (rows < LINE_ROWS_MIN || 3 * rows > page->height || 2 * l->area < box ||
        2 * l->area > rows * l->edges || 14 * l->area < rows * l->edges)
        return;
    const bool full = 5 * l->area >= 3 * box;
    const double least = l->edges >= STROKES_MANY * rows ? MANY_COLOURS
                         : full                          ? TWO_COLOURS
                                                         : TWO_COLOURS_APART;
    if (two_colours(page, l) >= least)
        page->area += l->area;
}

static void end_lines(text_page *page, int64_t row)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < page->lines; i++) {
        if (page->line[i].bottom + 2 < row)
            end_line(page, &page->line[i]);
        else
            page->line[kept++] = page->line[i];
    }
    page->lines = kept;
}

/* Below a line, and with strokes as close to each other, within a factor of 2. */
static bool continues(const text_line *l, const stroke_run *run)
{
    const int64_t length = run->last - run->first + 1;
    return run->first <= l->right && run->last >= l->left &&
           2 * run->edges * l->area >= l->edges * length &&
           run->edges * l->area <= 2 * l->edges * length;
}

static void add_run(text_page *page, int64_t row, const stroke_run *run)
{
    const int64_t length = run->last - run->first + 1;
    if (run->edges < STROKES_MIN)
        return;
    for (int64_t i = 0; i < page->lines; i++) {
        text_line *l = &page->line[i];
        if (!continues(l, run))
            continue;
        l->left = run->first < l->left ? run->first : l->left;
        l->right = run->last > l->right ? run->last : l->right;
        l->bottom = row;
        l->area += length;
        l->edges += run->edges;
        return;
    }
    if (page->lines < LINES_MAX)
        page->line[page->lines++] =
            (text_line){run->first, run->last, row, row, length, run->edges};
}

/* How far a run's next edge may be: four times as far as its edges are from each other, once it has some. */
static int64_t reach(const text_page *page, const stroke_run *run)
{
    const int64_t most = page->width / 16 > 6 ? page->width / 16 : 6;
    const int64_t own = run->edges < 4 ? most : (run->last - run->first) * 4 / (run->edges - 1) + 4;
    return own < most ? own : most;
}

/* Runs of a row whose edges go up and down in turn, close to each other. */
static void read_row(text_page *page, int64_t row)
{
    const uint8_t *p = page->plane + row * page->width;
    stroke_run run = {0, 0, 0};
    int sign = 0;
    for (int64_t x = 1; x + 1 < page->width; x++) {
        const int step = (int)p[x + 1] - (int)p[x - 1];
        const int is = step >= STROKE_EDGE ? 1 : step <= -STROKE_EDGE ? -1 : 0;
        if (!is)
            continue;
        if (!run.edges || x - run.last > reach(page, &run)) {
            add_run(page, row, &run);
            run = (stroke_run){x, x, 0};
            sign = 0;
        }
        run.edges += is != sign;
        run.last = x;
        sign = is;
    }
    add_run(page, row, &run);
}

double mgi_look_text(const uint8_t *plane, int64_t width, int64_t height)
{
    text_page page = {.plane = plane, .width = width, .height = height};
    for (int64_t y = 0; y < height; y++) {
        end_lines(&page, y);
        read_row(&page, y);
    }
    end_lines(&page, height + 3);
    return (double)page.area / (double)(width * height);
}

/* ---- borders ------------------------------------------------------------------------------------ */

enum {
    FLAT = 14, /* grey levels that a line of a border spreads over, without its outermost pixels */
    SAME = 6,  /* that its mean may be away from the outermost line's */
    BORDER_EDGE = 10 /* grey levels at which a pixel of the line behind it is another */
};

/* A frame's line, counted from an edge. */
typedef struct scan {
    const uint8_t *first;
    int64_t inward, along, length,
        depth; /* steps from line to line and from pixel to pixel; pixels, lines */
} scan;

static bool flat_line(const scan *s, int64_t line, double *mean)
{
    const uint8_t *p = s->first + line * s->inward;
    int64_t sum = 0, high = 0, low = 255, outside = 0;
    for (int64_t i = 0; i < s->length; i++)
        sum += p[i * s->along];
    *mean = (double)sum / (double)s->length;
    for (int64_t i = 0; i < s->length; i++) {
        const int64_t v = p[i * s->along];
        const bool far = fabs((double)v - *mean) > FLAT / 2.0;
        outside += far;
        high = v > high ? v : high;
        low = v < low ? v : low;
    }
    /* what coding leaves in a border are few pixels */
    return high - low <= FLAT || outside * 50 <= s->length;
}

static bool edge_behind(const scan *s, int64_t line, double mean)
{
    const uint8_t *p = s->first + line * s->inward;
    int64_t other = 0;
    for (int64_t i = 0; i < s->length; i++)
        other += fabs((double)p[i * s->along] - mean) >= BORDER_EDGE;
    return other * 10 >= s->length * 7;
}

static int64_t scan_border(const scan *s)
{
    double outermost, mean;
    int64_t lines = 0;
    if (s->length < 1 || !flat_line(s, 0, &outermost))
        return 0;
    while (lines < s->depth / 2 && flat_line(s, lines, &mean) && fabs(mean - outermost) <= SAME)
        lines++;
    if (lines == s->depth / 2) /* the frame has one colour, or half of it */
        return 0;
    /* scaling and coding blur the edge over a line or two */
    return edge_behind(s, lines, outermost) ||
                   (lines + 1 < s->depth && edge_behind(s, lines + 1, outermost))
               ? lines
               : 0;
}

void mgi_look_borders(const uint8_t *grey, int64_t width, int64_t height, int64_t out[4])
{
    const scan sides[4] = {{grey, 1, width, height, width},
                           {grey + width - 1, -1, width, height, width},
                           {grey, width, 1, width, height},
                           {grey + (height - 1) * width, -width, 1, width, height}};
    for (int i = 0; i < 4; i++)
        out[i] = scan_border(&sides[i]);
}

/* ---- likeness ----------------------------------------------------------------------------------- */

/* Means of cells of a grid over the frame: brightness, red against green, yellow against blue. */
static void cells(const uint8_t *rgb, int64_t width, int64_t height, int64_t grid, float *out)
{
    for (int64_t j = 0; j < grid; j++)
        for (int64_t i = 0; i < grid; i++, out += 3) {
            const int64_t y0 = j * height / grid, x0 = i * width / grid;
            int64_t y1 = (j + 1) * height / grid, x1 = (i + 1) * width / grid, sum[3] = {0};
            y1 = y1 > y0 ? y1 : y0 + 1;
            x1 = x1 > x0 ? x1 : x0 + 1;
            for (int64_t y = y0; y < y1; y++)
                for (int64_t x = x0; x < x1; x++)
                    for (int k = 0; k < 3; k++)
                        sum[k] += rgb[(y * width + x) * 3 + k];
            const float area = (float)((y1 - y0) * (x1 - x0));
            const float r = (float)sum[0] / area, g = (float)sum[1] / area,
                        b = (float)sum[2] / area;
            out[0] = 0.299f * r + 0.587f * g + 0.114f * b;
            out[1] = 0.5f * (r - g);
            out[2] = 0.25f * (r + g) - 0.5f * b;
        }
}

enum { AROUND = 2 /* cells to each side that one is compared with */ };

void mgi_look_like(const uint8_t *rgb, int64_t width, int64_t height, float *out)
{
    enum { N = MGI_LIKE_GRID };
    float cell[N * N * 3];
    double length = 0.0;
    cells(rgb, width, height, N, cell);
    for (int j = 0; j < N; j++)
        for (int i = 0; i < N; i++) {
            float sum[3] = {0.0f, 0.0f, 0.0f};
            int count = 0;
            for (int y = j - AROUND; y <= j + AROUND; y++)
                for (int x = i - AROUND; x <= i + AROUND; x++) {
                    if (x < 0 || y < 0 || x >= N || y >= N)
                        continue;
                    for (int k = 0; k < 3; k++)
                        sum[k] += cell[(y * N + x) * 3 + k];
                    count++;
                }
            const float *c = cell + (j * N + i) * 3;
            float d[3];
            for (int k = 0; k < 3; k++)
                d[k] = c[k] - sum[k] / (float)count;
            float *o = out + (j * N + i) * 2;
            o[0] = d[0];
            o[1] = d[1] + d[2];
            length += (double)o[0] * (double)o[0] + (double)o[1] * (double)o[1];
        }
    const float by = length > 1.0 ? (float)(1.0 / sqrt(length)) : 0.0f;
    for (int i = 0; i < N * N * 2; i++)
        out[i] *= by;
}

void mgi_look_theme(const uint8_t *rgb, int64_t width, int64_t height, float out[MGI_THEME_SIZE])
{
    float *bins = out + 48;
    cells(rgb, width, height, 4, out);
    for (int i = 0; i < 48; i++)
        out[i] /= 255.0f;
    memset(bins, 0, 27 * sizeof *bins);
    for (int64_t i = 0; i < width * height; i++, rgb += 3)
        bins[rgb[0] / 86 * 9 + rgb[1] / 86 * 3 + rgb[2] / 86] += 1.0f;
    for (int i = 0; i < 27; i++)
        bins[i] = sqrtf(bins[i] / (float)(width * height));
}
