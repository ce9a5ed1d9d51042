/* SPDX-License-Identifier: MIT
 * moviegen curate: raw films to the clips that are worth training on. */
#include "cli.h"

#include <string.h>

typedef struct curate_options {
    const char *dir, *rules, *out;
    uint32_t threads;
    bool json, quiet;
} curate_options;

/* What is shown while films are watched. */
typedef struct watching {
    progress bar;
    bool begun;
} watching;

/* A curation that goes on begins with all films that are known. */
static int32_t on_progress(void *user, uint32_t done, uint32_t total)
{
    watching *w = user;
    char note[64];
    if (!w->begun && done > 1)
        w->bar.before = done;
    w->begun = true;
    snprintf(note, sizeof note, "%llu watched before", (unsigned long long)w->bar.before);
    progress_update(&w->bar, done, total, w->bar.before ? note : NULL);
    return interrupted();
}

static double value_of(const mgen_report *report, const char *prefix, const char *step)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", prefix, *step ? "_" : "", step);
    for (uint32_t i = 0; i < mgen_report_count(report); i++)
        if (!strcmp(mgen_report_name(report, i), name))
            return mgen_report_value(report, i);
    return -1;
}

static void print_json(const mgen_report *report)
{
    for (uint32_t i = 0; i < mgen_report_count(report); i++) {
        fputs(i ? "," : "{", stdout);
        json_string(stdout, mgen_report_name(report, i));
        fputc(':', stdout);
        json_number(stdout, mgen_report_value(report, i));
    }
    printf("}\n");
}

/* What is left after each step, as the report's table of them. */
static void print_table(const mgen_report *report)
{
    const double films = value_of(report, "films", ""), clips = value_of(report, "clips", "");
    printf("%-12s %9s %9s\n", "step", "films", "clips");
    printf("%-12s %9.0f %9.0f\n", "all", films, clips);
    for (uint32_t i = 0; i < mgen_report_count(report); i++) {
        const char *name = mgen_report_name(report, i);
        if (strncmp(name, "films_", 6))
            continue;
        const double left = value_of(report, "clips", name + 6);
        printf("%-12s %9.0f", name + 6, mgen_report_value(report, i));
        if (left >= 0)
            printf(" %9.0f", left);
        printf("\n");
    }
    printf("%.0f clips, %.1f s, of %.0f kinds\n", value_of(report, "clips", "resample"),
           value_of(report, "seconds", ""), value_of(report, "clusters", ""));
}

static int curate(cli_session *s, const curate_options *o)
{
    mgen_curate_params params = MGEN_CURATE_PARAMS_INIT;
    mgen_report *report;
    watching w = {.begun = false};
    params.dir = o->dir;
    params.rules = o->rules;
    params.out = o->out;
    params.on_progress = on_progress;
    params.user = &w;
    progress_start(&w.bar, "watching", o->quiet);
    mgen_status status = mgen_curate(s->ctx, &params, &report);
    progress_end(&w.bar);
    if (status != MGEN_OK)
        return complain_library(s, status);
    if (o->json)
        print_json(report);
    else if (!o->quiet)
        print_table(report);
    mgen_report_destroy(report);
    return STATUS_DONE;
}

static int run(const cli_command *self, int argc, char **argv)
{
    curate_options o = {.dir = NULL};
    const cli_option table[] = {
        {"--rules", NULL, OPTION_TEXT, &o.rules, 0, 0, "NAME",
         "report, toybox, or a file of thresholds in JSON (default: report)"},
        {"--out", "-o", OPTION_TEXT, &o.out, 0, 0, "FILE",
         "where the list of clips goes (default: clips.jsonl in the folder, where train finds it)"},
        OPTION_THREADS(&o.threads),
        OPTION_MEMORY,
        OPTION_JSON(&o.json),
        OPTION_QUIET(&o.quiet),
        OPTION_END,
    };
    int words;
    int result = options_parse(self, table, argc, argv, &o.dir, 1, &words);
    if (result != OPTIONS_OK)
        return result;
    if (!words) {
        complain(self, "no folder given");
        return STATUS_USAGE;
    }
    cli_session s;
    interrupt_catch();
    session_tells = !o.quiet;
    result = session_open(&s, self, o.threads, "cpu", false) ? curate(&s, &o) : STATUS_ERROR;
    session_close(&s);
    return result;
}

const cli_command command_curate = {
    "curate", "choose clips of raw films to train on", "FOLDER [options]",
    "The folder's films (" FILM_KINDS ")\n"
    "are cut into scenes, of which clips are taken; what is too short, small or slow, stands\n"
    "still or shakes, has text or borders, or was there before is dropped. A line of JSON says\n"
    "of each clip what was measured and why it was dropped, or how much it weighs in training.\n"
    "<name>.txt beside a film is its caption, {\"aesthetic\": 5} in <name>.json its rating.\n"
    "A curation that was ended goes on where it was when it is begun again, with LIST.seen.",
    run};
