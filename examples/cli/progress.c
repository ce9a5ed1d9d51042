/* SPDX-License-Identifier: MIT
 * The progress bar. */
#include "cli.h"

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BAR_CELLS = 28, LINE_MAX_CELLS = 200 };

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void format_time(double seconds, char *out, size_t size)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, size, "%ld:%02ld", s / 60, s % 60);
}

void progress_start(progress *p, const char *what, bool quiet)
{
    *p = (progress){.what = what, .quiet = quiet, .terminal = isatty(STDERR_FILENO)};
    p->started = seconds_now();
    p->drawn = p->started;
}

static int terminal_columns(void)
{
    struct winsize w;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) || w.ws_col == 0)
        return 80;
    return w.ws_col < LINE_MAX_CELLS ? w.ws_col : LINE_MAX_CELLS;
}

/* Elsewhere than on a terminal: a line each tenth of the way and each minute. */
static bool line_is_due(const progress *p, double now, uint64_t done, uint64_t total)
{
    if (done == p->drawn_done)
        return false;
    return now - p->drawn >= 60 || done == total || done * 10 / total > p->drawn_done * 10 / total;
}

void progress_update(progress *p, uint64_t done, uint64_t total, const char *note)
{
    double now = seconds_now();
    if (p->quiet || total == 0)
        return;
    if (p->terminal ? now - p->drawn < 0.1 && done < total : !line_is_due(p, now, done, total))
        return;
    p->drawn = now;
    p->drawn_done = done;

    char left[48] = "", time_text[32], bar[BAR_CELLS + 1];
    if (done > p->before && done < total) {
        format_time((now - p->started) / (double)(done - p->before) * (double)(total - done),
                    time_text, sizeof time_text);
        snprintf(left, sizeof left, "  %s left", time_text);
    }
    char line[LINE_MAX_CELLS + 1];
    if (!p->terminal) {
        fprintf(stderr, "%s: %llu/%llu%s%s%s\n", p->what, (unsigned long long)done,
                (unsigned long long)total, left, note ? "  " : "", note ? note : "");
        return;
    }
    int full = (int)(done * BAR_CELLS / total);
    for (int i = 0; i < BAR_CELLS; i++)
        bar[i] = i < full ? '=' : i == full ? '>' : ' ';
    bar[BAR_CELLS] = 0;
    snprintf(line, sizeof line, "%s [%s] %llu/%llu%s%s%s", p->what, bar, (unsigned long long)done,
             (unsigned long long)total, left, note ? "  " : "", note ? note : "");
    fprintf(stderr, "\r\033[K%.*s", terminal_columns() - 1, line);
    fflush(stderr);
}

void progress_end(progress *p)
{
    if (!p->quiet && p->terminal)
        fputs("\r\033[K", stderr);
}
