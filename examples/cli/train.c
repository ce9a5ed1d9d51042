/* SPDX-License-Identifier: MIT
 * moviegen train: one stage of a recipe. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct train_options {
    const char *recipe, *stage, *dir, *log, *data, *checkpoint, *resume;
    uint64_t seed;
    uint32_t save_every, log_every, side, frames;
    cli_place place;
    double seconds_max;
    bool quiet;
} train_options;

typedef struct train_state {
    cli_session *session;
    const train_options *options;
    int result;   /* of the log */
    bool stopped; /* on any rank */
    FILE *log;
    uint64_t from, done, total; /* steps */
    uint32_t usual_entries;     /* of a report; a longer one has validation figures */
    double started, loss;       /* loss: smoothed, for the bar */
    progress bar;
} train_state;

/* One object a line. Flushed, so that a curve can be watched while it grows. */
static int log_report(cli_session *s, const train_options *o, train_state *t,
                      const mgen_report *report)
{
    uint32_t entries = mgen_report_count(report);
    if (t->usual_entries == 0 || entries < t->usual_entries)
        t->usual_entries = entries;
    bool wanted = t->done == t->from + 1 || t->done == t->total || t->done % o->log_every == 0 ||
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
    t->loss = t->done == t->from + 1 || !isfinite(t->loss) ? loss : 0.98 * t->loss + 0.02 * loss;
    snprintf(note, sizeof note, "loss %.4g", t->loss);
    progress_update(&t->bar, t->done, t->total, isfinite(t->loss) ? note : NULL);
}

/* What was learned, if a checkpoint is wanted, after a failure which is told already. */
static void keep_state(cli_session *s, const train_options *o, mgen_trainer *trainer,
                       const train_state *t)
{
    if (!o->checkpoint || s->mesh || t->done == t->from)
        return;
    mgen_status status = mgen_trainer_checkpoint(trainer, o->checkpoint);
    if (status != MGEN_OK)
        complain_library(s, status);
    else if (!o->quiet)
        printf("%s: %llu of %llu steps, to go on from with --resume %s\n", o->stage,
               (unsigned long long)t->done, (unsigned long long)t->total, o->checkpoint);
}

/* The model, and the state to go on from if it is wanted, which is also kept where the model cannot be written. */
static int save(cli_session *s, const train_options *o, mgen_trainer *trainer, train_state *t)
{
    mgen_status status = mgen_trainer_save(trainer);
    const bool saved = status == MGEN_OK;
    if (saved && o->checkpoint)
        status = mgen_trainer_checkpoint(trainer, o->checkpoint);
    if (status == MGEN_OK)
        return STATUS_DONE;
    progress_end(&t->bar);
    complain_library(s, status);
    if (!saved)
        keep_state(s, o, trainer, t);
    return STATUS_ERROR;
}

/* The time limit, or Ctrl-C. */
static bool ends(const train_state *t)
{
    double most = t->options->seconds_max;
    return interrupted() || (most > 0 && seconds_now() - t->started >= most);
}

static int32_t on_step(void *user, uint64_t step, const mgen_report *report)
{
    train_state *t = user;
    t->done = step + 1;
    show(t, report);
    t->result = log_report(t->session, t->options, t, report);
    return t->result != STATUS_DONE || ends(t);
}

/* A step that failed, as on a film that is damaged, changed nothing: what was learned before can be gone on from. The model itself is
 * left as it was last saved. */
static int fail_step(cli_session *s, const train_options *o, mgen_trainer *trainer,
                     const train_state *t, mgen_status status)
{
    int result = complain_library(s, status);
    keep_state(s, o, trainer, t);
    return result;
}

/* Until the last step, a reason to end on any rank, or an error. */
static int loop(cli_session *s, const train_options *o, mgen_trainer *trainer, train_state *t)
{
    t->stopped = !s->mesh && ends(t); /* several ranks find out together, after a step */
    while (t->done < t->total && !t->stopped) {
        uint64_t steps = o->save_every ? o->save_every - t->done % o->save_every : 0;
        mgen_status status = mgen_trainer_run(trainer, steps);
        t->stopped = status == MGEN_E_CANCELLED;
        if (status != MGEN_OK && !t->stopped) {
            progress_end(&t->bar);
            return fail_step(s, o, trainer, t, status);
        }
        if (t->result != STATUS_DONE)
            return t->result;
        if (t->done < t->total && !t->stopped && save(s, o, trainer, t) != STATUS_DONE)
            return STATUS_ERROR;
    }
    return STATUS_DONE;
}

static mgen_status open_data(cli_session *s, const train_options *o, mgen_dataset **data)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = p.height = o->side ? o->side : 64;
    p.frames = o->frames ? o->frames : 32;
    *data = NULL;
    return o->data ? mgen_dataset_open(s->ctx, o->data, &p, data) : MGEN_OK;
}

static mgen_status open_trainer(cli_session *s, const train_options *o, train_state *t,
                                mgen_trainer **trainer)
{
    mgen_trainer_params params = MGEN_TRAINER_PARAMS_INIT;
    mgen_status status = open_data(s, o, &params.dataset);
    if (status != MGEN_OK)
        return status;
    params.recipe = o->recipe;
    params.stage = o->stage;
    params.dir = o->dir;
    params.seed = o->seed;
    params.resume = o->resume;
    params.on_step = on_step;
    params.user = t;
    params.mesh = s->mesh;
    s->shows = session_tells = !o->quiet && s->rank == 0;
    status = mgen_trainer_create(s->ctx, &params, trainer);
    session_waited(s);
    mgen_dataset_release(params.dataset); /* the trainer keeps it */
    return status;
}

/* Whether a file can be made or written over, or a folder written into: found out before the training, not at its end. */
static bool can_write(const cli_command *self, const char *path, bool anew)
{
    struct stat st;
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash + 1 - path)) : strdup(".");
    bool there = stat(path, &st) == 0, is_folder = there && S_ISDIR(st.st_mode);
    const char *asked = is_folder || (there && !anew) ? path : folder, *why = NULL;
    if (!folder || (is_folder && !anew))
        why = strerror(folder ? EISDIR : ENOMEM);
    else if (access(asked, F_OK) != 0 && errno == ENOENT)
        why = "its folder does not exist; make it first";
    else if (access(asked, asked == path && !is_folder ? W_OK : W_OK | X_OK) != 0)
        why = strerror(errno);
    if (why)
        complain(self, "cannot write '%s': %s", path, why);
    free(folder);
    return !why;
}

/* Where the first rank writes. A model folder that is not there yet the library makes, or says why not. */
static bool can_write_all(const cli_session *s, const train_options *o)
{
    struct stat st;
    const bool is_there = stat(o->dir, &st) == 0 && S_ISDIR(st.st_mode);
    return (!is_there || can_write(s->command, o->dir, true)) &&
           (!o->checkpoint || can_write(s->command, o->checkpoint, true)) &&
           (!o->log || can_write(s->command, o->log, false));
}

static int train(cli_session *s, const void *options)
{
    const train_options *o = options;
    bool first = s->rank == 0;
    mgen_trainer *trainer;
    train_state t = {.session = s, .options = o, .started = seconds_now(), .loss = NAN};
    if (first && !can_write_all(s, o))
        return STATUS_ERROR;
    mgen_status status = open_trainer(s, o, &t, &trainer);
    if (status != MGEN_OK)
        return complain_library(s, status);
    if (o->log && first && !(t.log = fopen(o->log, "a"))) {
        complain(s->command, "cannot write '%s': %s", o->log, strerror(errno));
        mgen_trainer_destroy(trainer);
        return STATUS_ERROR;
    }
    t.total = mgen_trainer_steps(trainer);
    t.done = t.from = mgen_trainer_position(trainer);
    progress_start(&t.bar, o->stage, o->quiet || !first);
    int result = loop(s, o, trainer, &t);
    progress_end(&t.bar);
    /* a state of all steps may be what is left where saving failed */
    const bool learned = t.done > t.from || (o->resume && t.done == t.total);
    if (result == STATUS_DONE && learned)
        result = save(s, o, trainer, &t);
    if (t.log && fclose(t.log) && result == STATUS_DONE) {
        complain(s->command, "cannot write '%s': %s", o->log, strerror(errno));
        result = STATUS_ERROR;
    }
    mgen_trainer_destroy(trainer);
    if (result != STATUS_DONE)
        return result;
    char loss[32] = "";
    if (isfinite(t.loss))
        snprintf(loss, sizeof loss, "loss %.4g, ", t.loss);
    if (!o->quiet && first)
        printf("%s: %llu of %llu steps in %.0f s, %s%s %s\n", o->stage, (unsigned long long)t.done,
               (unsigned long long)t.total, seconds_now() - t.started, loss,
               learned ? "saved to" : "nothing saved to", o->dir);
    return interrupted() ? STATUS_INTERRUPTED : STATUS_DONE;
}

static int run(const cli_command *self, int argc, char **argv)
{
    train_options o = {.place = {.rank = RANK_UNTOLD}, .seed = DEFAULT_SEED, .log_every = 10};
    const cli_option table[] = {
        {"--recipe", NULL, OPTION_TEXT, &o.recipe, 0, 0, "FILE", "recipe, a JSON file (required)"},
        {"--stage", NULL, OPTION_TEXT, &o.stage, 0, 0, "NAME", "a stage of it (required)"},
        {"--dir", NULL, OPTION_TEXT, &o.dir, 0, 0, "DIR",
         "model folder: earlier stages are read from it, this one is saved to it (required)"},
        {"--data", NULL, OPTION_TEXT, &o.data, 0, 0, "DIR",
         "folder of films, each beside its caption in <name>.txt and, for an editor, beside what "
         "it "
         "is to become in <name>.edited.mp4 and the instruction in <name>.edit.txt (default: the "
         "toybox)"},
        {"--size", NULL, OPTION_U32, &o.side, 8, 4096, "N",
         "width and height, a multiple of 8, that those films are scaled and cropped to (default: "
         "64)"},
        {"--frames", NULL, OPTION_U32, &o.frames, 1, 4096, "N",
         "frames that are taken of each (default: 32)"},
        {"--checkpoint", NULL, OPTION_TEXT, &o.checkpoint, 0, 0, "FILE",
         "whenever the model is saved, and on one rank if a step fails or the model cannot be "
         "saved, "
         "write FILE (of several ranks a folder) too, from which training can go on"},
        {"--resume", NULL, OPTION_TEXT, &o.resume, 0, 0, "FILE",
         "go on from such a file, with the bits of a training without a break"},
        {"--log", NULL, OPTION_TEXT, &o.log, 0, 0, "FILE",
         "append the course of training to FILE, one JSON object a line"},
        {"--log-every", NULL, OPTION_U32, &o.log_every, 1, 1e9, "N",
         "steps between log lines; lines with validation figures always (default: 10)"},
        {"--max-seconds", NULL, OPTION_REAL, &o.seconds_max, 0.001, 1e9, "S",
         "stop and save after S seconds, but not before clips are encoded"},
        {"--save-every", NULL, OPTION_U32, &o.save_every, 1, 1e9, "N",
         "save each N steps too (default: at the end only)"},
        OPTION_SEED(&o.seed),
        OPTIONS_PLACE(&o.place),
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
    if (!o.data && (o.side || o.frames)) {
        complain(self, "--size and --frames are of the films of --data; clips of the toybox are as "
                       "the recipe says (\"world\", \"buckets\")");
        return STATUS_USAGE;
    }
    return ranks_run(self, &o.place, train, &o);
}

const cli_command command_train = {
    "train", "train one stage of a recipe", "--recipe FILE --stage NAME --dir DIR [options]",
    "Ctrl-C saves what was learned, if steps were taken, and stops with status 130. Clips that are "
    "encoded for training\n"
    "are kept in the folder $MOVIEGEN_CACHE, if that is set, and with --autotune what was chosen; "
    "after Ctrl-C or a crash\n"
    "the same command goes on from those that have been encoded.",
    run};
