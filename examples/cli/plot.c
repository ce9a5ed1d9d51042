/* SPDX-License-Identifier: MIT
 * moviegen plot: training logs become an SVG line chart. */
#include "cli.h"
#include "curves.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { WIDTH = 880, HEIGHT = 480, LEFT = 70, RIGHT = 20, TOP = 24, BOTTOM = 46, FILES_MAX = 16 };
enum { BINS_FINE = 800, BINS_SMOOTH = 100, TICKS_MAX = 32 };

static const char *const colours[] = {"#1f5fa8", "#c8501e", "#2d8a4e", "#7b4397",
                                      "#b8860b", "#0f8a8a", "#a02050", "#555555"};

typedef struct axis {
    double low, high;
    bool log;
    double ticks[TICKS_MAX];
    int tick_count;
} axis;

/* 0 at the low end, 1 at the high end. */
static double axis_place(const axis *a, double value)
{
    if (a->log)
        return log(value / a->low) / log(a->high / a->low);
    return (value - a->low) / (a->high - a->low);
}

static void add_tick(axis *a, double value)
{
    if (a->tick_count < TICKS_MAX && value >= a->low && value <= a->high)
        a->ticks[a->tick_count++] = value;
}

/* Round numbers: 1, 2 or 5 times a power of ten, about eight of them. */
static void linear_ticks(axis *a)
{
    double raw = (a->high - a->low) / 8, power = pow(10, floor(log10(raw)));
    double step = raw <= power       ? power
                  : raw <= 2 * power ? 2 * power
                  : raw <= 5 * power ? 5 * power
                                     : 10 * power;
    for (double v = ceil(a->low / step) * step; v <= a->high; v += step)
        add_tick(a, fabs(v) < step * 1e-9 ? 0 : v);
}

static void axis_ticks(axis *a)
{
    a->tick_count = 0;
    if (!a->log || a->high / a->low < 4) {
        linear_ticks(a);
        return;
    }
    bool many = a->high / a->low > 1e4;
    for (double power = pow(10, floor(log10(a->low))); power <= a->high; power *= 10) {
        add_tick(a, power);
        if (!many) {
            add_tick(a, 2 * power);
            add_tick(a, 5 * power);
        }
    }
}

static void fit_axes(const curve_set *set, bool linear, axis *x, axis *y)
{
    *x = (axis){.low = INFINITY, .high = -INFINITY};
    *y = (axis){.low = INFINITY, .high = -INFINITY, .log = !linear};
    for (int i = 0; i < set->count; i++)
        for (size_t j = 0; j < set->curves[i].count; j++) {
            curve_point p = set->curves[i].points[j];
            x->low = fmin(x->low, p.x);
            x->high = fmax(x->high, p.x);
            y->low = fmin(y->low, p.y);
            y->high = fmax(y->high, p.y);
        }
    if (y->low <= 0)
        y->log = false;
    if (x->high <= x->low)
        x->high = x->low + 1;
    double room = y->log ? pow(y->high / y->low, 0.05) : (y->high - y->low) * 0.05;
    if (y->high <= y->low)
        room = y->log ? 1.5 : 1;
    y->low = y->log ? y->low / room : y->low - room;
    y->high = y->log ? y->high * room : y->high + room;
    axis_ticks(x);
    axis_ticks(y);
}

static double pixel_x(const axis *x, double value)
{
    return LEFT + axis_place(x, value) * (WIDTH - LEFT - RIGHT);
}

static double pixel_y(const axis *y, double value)
{
    return HEIGHT - BOTTOM - axis_place(y, value) * (HEIGHT - TOP - BOTTOM);
}

static void draw_axes(FILE *f, const axis *x, const axis *y)
{
    double bottom = HEIGHT - BOTTOM, right = WIDTH - RIGHT;
    for (int i = 0; i < x->tick_count; i++) {
        double px = pixel_x(x, x->ticks[i]);
        fprintf(f, "<path d='M%.1f %d V%.1f' stroke='#eee'/>", px, TOP, bottom);
        fprintf(f, "<text x='%.1f' y='%.1f' text-anchor='middle'>%g</text>\n", px, bottom + 18,
                x->ticks[i]);
    }
    for (int i = 0; i < y->tick_count; i++) {
        double py = pixel_y(y, y->ticks[i]);
        fprintf(f, "<path d='M%d %.1f H%.1f' stroke='#eee'/>", LEFT, py, right);
        fprintf(f, "<text x='%d' y='%.1f' text-anchor='end'>%.4g</text>\n", LEFT - 8, py + 4,
                y->ticks[i]);
    }
    fprintf(f, "<path d='M%d %d V%.1f H%.1f' stroke='#444' fill='none'/>\n", LEFT, TOP, bottom,
            right);
    fprintf(f, "<text x='%.1f' y='%.1f' text-anchor='middle'>step</text>\n", (LEFT + right) / 2,
            bottom + 36);
}

/* A polyline through the means of at most `bins` runs of neighbouring points. */
static void draw_curve(FILE *f, const curve *c, size_t bins, const axis *x, const axis *y,
                       const char *style)
{
    size_t size = (c->count + bins - 1) / bins;
    fputs("<polyline points='", f);
    for (size_t first = 0; first < c->count; first += size) {
        size_t n = c->count - first < size ? c->count - first : size;
        double sum_x = 0, sum_y = 0;
        for (size_t j = 0; j < n; j++) {
            sum_x += c->points[first + j].x;
            sum_y += c->points[first + j].y;
        }
        fprintf(f, "%.1f,%.1f ", pixel_x(x, sum_x / (double)n), pixel_y(y, sum_y / (double)n));
    }
    fprintf(f, "' fill='none' stroke-linejoin='round' %s/>\n", style);
}

static void draw_text(FILE *f, const char *text)
{
    for (; *text; text++)
        if (*text == '<' || *text == '>' || *text == '&')
            fprintf(f, "&#%d;", *text);
        else
            fputc(*text, f);
}

static void draw_chart(FILE *f, const curve_set *set, bool linear)
{
    axis x, y;
    fit_axes(set, linear, &x, &y);
    fprintf(f,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d' "
            "font-family='sans-serif' font-size='12' fill='#333'>\n"
            "<rect width='100%%' height='100%%' fill='white'/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    draw_axes(f, &x, &y);
    for (int i = 0; i < set->count; i++) {
        const curve *c = &set->curves[i];
        const char *colour = colours[(size_t)i % (sizeof colours / sizeof colours[0])];
        bool smooth = c->count > 2 * BINS_SMOOTH;
        char style[96];
        snprintf(style, sizeof style, "stroke='%s' stroke-width='1'%s", colour,
                 smooth ? " stroke-opacity='0.3'" : "");
        draw_curve(f, c, BINS_FINE, &x, &y, style);
        snprintf(style, sizeof style, "stroke='%s' stroke-width='2'", colour);
        if (smooth)
            draw_curve(f, c, BINS_SMOOTH, &x, &y, style);
        int row = TOP + 18 + 18 * i;
        fprintf(f, "<path d='M%d %d h24' stroke='%s' stroke-width='2'/><text x='%d' y='%d'>",
                WIDTH - RIGHT - 190, row - 4, colour, WIDTH - RIGHT - 160, row);
        draw_text(f, c->name);
        fputs("</text>\n", f);
    }
    fputs("</svg>\n", f);
}

/* Whole or not at all; but through a link, or to what is no file, as it comes. */
static int write_chart(const cli_command *self, const char *path, const curve_set *set, bool linear)
{
    struct stat st;
    char *text = NULL;
    size_t length = 0;
    const bool plain = lstat(path, &st) != 0 || S_ISREG(st.st_mode);
    FILE *f = plain ? open_memstream(&text, &length) : fopen(path, "w");
    bool fine = f != NULL;
    if (f) {
        draw_chart(f, set, linear);
        fine = !ferror(f);
        fine = fclose(f) == 0 && fine;
    }
    int result = fine ? STATUS_DONE : STATUS_ERROR;
    if (!fine)
        complain(self, "cannot write '%s': %s", path, strerror(errno));
    else if (plain)
        result = file_write(self, path, text, length);
    free(text);
    return result;
}

static int run(const cli_command *self, int argc, char **argv)
{
    const char *out = "curve.svg", *keys = "loss", *files[FILES_MAX];
    bool linear = false, quiet = false;
    const cli_option table[] = {
        {"--out", "-o", OPTION_TEXT, &out, 0, 0, "FILE", "the chart (default: curve.svg)"},
        {"--key", NULL, OPTION_TEXT, &keys, 0, 0, "NAMES",
         "what to draw, names separated by commas (default: loss)"},
        {"--linear", NULL, OPTION_FLAG, &linear, 0, 0, NULL,
         "linear axis (default: logarithmic where all values are above 0)"},
        OPTION_QUIET(&quiet),
        OPTION_END,
    };
    int file_count;
    int result = options_parse(self, table, argc, argv, files, FILES_MAX, &file_count);
    if (result != OPTIONS_OK)
        return result;
    if (file_count == 0) {
        complain(self, "no log given; usage: moviegen plot %s", self->usage);
        return STATUS_USAGE;
    }
    for (int i = 0; i < file_count; i++)
        if (same_file(out, files[i])) {
            complain(self, "'%s' is read and would be written over; give --out another name", out);
            return STATUS_USAGE;
        }
    curve_set set = {0};
    result = STATUS_DONE;
    for (int i = 0; i < file_count && result == STATUS_DONE; i++)
        result = curves_read(self, files[i], keys, &set);
    if (result == STATUS_DONE && set.count == 0) {
        complain(self, "'%s' holds no number named %s", files[0], keys);
        result = STATUS_ERROR;
    }
    if (result == STATUS_DONE)
        result = write_chart(self, out, &set, linear);
    if (result == STATUS_DONE && !quiet)
        printf("wrote %s: %d curve%s\n", out, set.count, set.count == 1 ? "" : "s");
    curves_free(&set);
    return result;
}

const cli_command command_plot = {
    "plot", "draw training logs as an SVG chart", "LOG.jsonl... [options]",
    "One curve for each stage and name. Where a stage was run again, its last run counts.", run};
