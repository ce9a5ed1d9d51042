/* SPDX-License-Identifier: MIT
 * moviegen train: one stage of a recipe. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <string.h>

typedef struct train_options {
    const char *recipe, *stage, *dir, *log;
    uint64_t seed;
    uint32_t threads, save_every, log_every;
    double seconds_max;
    bool quiet;
} train_options;

typedef struct train_state {
    FILE *log;
    uint64_t done, total;
    uint32_t usual_entries; /* of a report; a longer one has validation figures */
    double started, loss;   /* loss: smoothed, for the bar */
    progress bar;
} train_state;

/* One object a line. Flushed, so that a curve can be watched while it grows. */
static int log_report(cli_session *s, const train_options *o, train_state *t,
                      const mgen_report *report)
{
    uint32_t entries = mgen_report_count(report);
    if (t->usual_entries == 0 || entries < t->usual_entries)
        t->usual_entries = entries;
    bool wanted = t->done == 1 || t->done == t->total || t->done % o->log_every == 0 ||
                  entries > t->usual_entries;
    if (!t->log || !wanted)
        return STATUS_DONE;
    fputs("{\"stage\":", t->log);
    json_string(t->log, o->stage);
    json_report(t->log, report);
    fprintf(t->log, ",\"seconds\":%.3f}\n", seconds_now() - t->started);
    if (fflush(t->log)) {
        complain(s->command, "cannot write '%s': %s", o->log, strerror(errno));
        return STATUS_ERROR;
    }
    return STATUS_DONE;
}

static void show(train_state *t, const mgen_report *report)
{
    char note[64];
    double loss = report_find(report, "loss");
    t->loss = t->done == 1 || !isfinite(t->loss) ? loss : 0.98 * t->loss + 0.02 * loss;
    snprintf(note, sizeof note, "loss %.4g", t->loss);
    progress_update(&t->bar, t->done, t->total, note);
}

static int save(cli_session *s, mgen_trainer *trainer)
{
    mgen_status status = mgen_trainer_save(trainer);
    return status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
}

/* Until the last step, the time limit, Ctrl-C or an error. */
static int loop(cli_session *s, const train_options *o, mgen_trainer *trainer, train_state *t)
{
    int result = STATUS_DONE;
    while (result == STATUS_DONE && t->done < t->total && !interrupted() &&
           !(o->seconds_max > 0 && seconds_now() - t->started >= o->seconds_max)) {
        mgen_report *report = NULL;
        mgen_status status = mgen_trainer_step(trainer, &report);
        if (status == MGEN_E_STATE && t->done > 0)
            break; /* the stage is over */
        if (status != MGEN_OK) {
            progress_end(&t->bar);
            return complain_library(s, status);
        }
        t->done++;
        show(t, report);
        result = log_report(s, o, t, report);
        mgen_report_destroy(report);
        if (result == STATUS_DONE && o->save_every && t->done % o->save_every == 0)
            result = save(s, trainer);
    }
    return result;
}

static int train(cli_session *s, const train_options *o)
{
    mgen_trainer_params params = MGEN_TRAINER_PARAMS_INIT;
    mgen_trainer *trainer;
    train_state t = {.started = seconds_now()};
    params.recipe = o->recipe;
    params.stage = o->stage;
    params.dir = o->dir;
    params.seed = o->seed;
    mgen_status status = mgen_trainer_create(s->ctx, &params, &trainer);
    if (status != MGEN_OK)
        return complain_library(s, status);
    if (o->log && !(t.log = fopen(o->log, "a"))) {
        complain(s->command, "cannot write '%s': %s", o->log, strerror(errno));
        mgen_trainer_destroy(trainer);
        return STATUS_ERROR;
    }
    t.total = mgen_trainer_steps(trainer);
    progress_start(&t.bar, o->stage, o->quiet);
    int result = loop(s, o, trainer, &t);
    progress_end(&t.bar);
    if (result == STATUS_DONE && t.done > 0)
        result = save(s, trainer);
    if (t.log && fclose(t.log) && result == STATUS_DONE) {
        complain(s->command, "cannot write '%s': %s", o->log, strerror(errno));
        result = STATUS_ERROR;
    }
    mgen_trainer_destroy(trainer);
    if (result != STATUS_DONE)
        return result;
    if (!o->quiet)
        printf("%s: %llu of %llu steps in %.0f s, loss %.4g, %s %s\n", o->stage,
               (unsigned long long)t.done, (unsigned long long)t.total, seconds_now() - t.started,
               t.loss, t.done ? "saved to" : "nothing saved to", o->dir);
    return interrupted() ? STATUS_INTERRUPTED : STATUS_DONE;
}

static int run(const cli_command *self, int argc, char **argv)
{
    train_options o = {.seed = DEFAULT_SEED, .log_every = 10};
    const cli_option table[] = {
        {"--recipe", NULL, OPTION_TEXT, &o.recipe, 0, 0, "FILE", "recipe, a JSON file (required)"},
        {"--stage", NULL, OPTION_TEXT, &o.stage, 0, 0, "NAME", "a stage of it (required)"},
        {"--dir", NULL, OPTION_TEXT, &o.dir, 0, 0, "DIR",
         "model folder: earlier stages are read from it, this one is saved to it (required)"},
        {"--log", NULL, OPTION_TEXT, &o.log, 0, 0, "FILE",
         "append the course of training to FILE, one JSON object a line"},
        {"--log-every", NULL, OPTION_U32, &o.log_every, 1, 1e9, "N",
         "steps between log lines; lines with validation figures always (default: 10)"},
        {"--max-seconds", NULL, OPTION_REAL, &o.seconds_max, 0.001, 1e9, "S",
         "stop and save after S seconds"},
        {"--save-every", NULL, OPTION_U32, &o.save_every, 1, 1e9, "N",
         "save each N steps too (default: at the end only)"},
        OPTION_SEED(&o.seed),
        OPTION_THREADS(&o.threads),
        OPTION_QUIET(&o.quiet),
        OPTION_END,
    };
    int words;
    int result = options_parse(self, table, argc, argv, NULL, 0, &words);
    if (result != OPTIONS_OK)
        return result;
    if (!o.recipe || !o.stage || !o.dir) {
        complain(self, "%s is missing; usage: moviegen train %s",
                 !o.recipe  ? "--recipe FILE"
                 : !o.stage ? "--stage NAME"
                            : "--dir DIR",
                 self->usage);
        return STATUS_USAGE;
    }
    cli_session s;
    interrupt_catch();
    result = session_open(&s, self, o.threads) ? train(&s, &o) : STATUS_ERROR;
    session_close(&s);
    return result;
}

const cli_command command_train = {"train", "train one stage of a recipe",
                                   "--recipe FILE --stage NAME --dir DIR [options]",
                                   "Ctrl-C saves what was learned and stops with status 130.", run};
