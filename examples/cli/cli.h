/* SPDX-License-Identifier: MIT
 * The moviegen program: what its files share. It uses the public header of the library only.
 *
 * One file a command (generate.c, train.c, ...); main.c finds the command, options.c reads its
 * options, progress.c draws the bar, output.c writes JSON and explains errors.
 */
#ifndef CLI_H
#define CLI_H

#include "moviegen.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { STATUS_DONE = 0, STATUS_ERROR = 1, STATUS_USAGE = 2, STATUS_INTERRUPTED = 130 };

typedef struct cli_command cli_command;
struct cli_command {
    const char *name, *summary; /* summary: for the list of commands */
    const char *usage, *notes;  /* for --help: words after the name; text below the options */
    int (*run)(const cli_command *self, int argc, char **argv); /* argv: after the command's name */
};

/* Endings of the films that the library reads out of folders; the first ones browsers play, too. */
#define FILM_ENDINGS(BETWEEN)                                                                      \
    ".mp4" BETWEEN ".webm" BETWEEN ".m4v" BETWEEN ".mov" BETWEEN ".qt" BETWEEN ".3gp" BETWEEN      \
    ".3g2" BETWEEN ".mkv" BETWEEN ".avi" BETWEEN ".y4m"
#define FILM_KINDS FILM_ENDINGS(", ")
enum { FILM_ENDINGS_PLAYED = 3 };

extern const cli_command command_generate, command_train, command_eval, command_sheet, command_plot,
    command_info, command_plan, command_average, command_convert, command_upsample, command_edit,
    command_personalize, command_sound, command_curate, command_rewrite, command_compare,
    command_votes;

/* ---- options.c: what the user wrote ---- */

typedef enum { OPTION_FLAG, OPTION_TEXT, OPTION_U32, OPTION_U64, OPTION_REAL } cli_option_kind;

typedef struct cli_option {
    const char *name;       /* "--steps" */
    const char *short_name; /* "-n" or NULL */
    cli_option_kind kind;
    void *out;       /* bool, const char *, uint32_t, uint64_t or double */
    double min, max; /* U32 and REAL: what is allowed */
    const char *value, *help;
} cli_option;

enum { OPTIONS_OK = -1 };

/* Fill the options and collect other words. OPTIONS_OK, or the status to exit with: help was asked
 * for and printed, or a mistake was found and explained in one line. */
int options_parse(const cli_command *command, const cli_option *table, int argc, char **argv,
                  const char **words, int words_max, int *words_count);
/* Of two names, best perhaps NULL, the one that `typed` may be meant to be: a few letters apart, or begun. */
const char *name_nearer(const char *typed, size_t len, const char *best, const char *name);
/* A text stands where a file is to, and the file in its place: explained. */
bool words_swapped(const cli_command *command, const char *file, const char *text);

#define OPTION_THREADS(out)                                                                        \
    {                                                                                              \
        "--threads", NULL, OPTION_U32, (out), 1, 256, "N",                                         \
            "compute threads (default: one per processor)"                                         \
    }
#define OPTION_DEVICE(out)                                                                         \
    {                                                                                              \
        "--device", NULL, OPTION_TEXT, (out), 0, 0, "NAME",                                        \
            "cpu, cuda or cuda:N (default: $MOVIEGEN_DEVICE, else a GPU if there is one)"          \
    }
/* Of all contexts of the process; session_open heeds it. */
#define OPTION_MEMORY                                                                              \
    {                                                                                              \
        "--memory", NULL, OPTION_REAL, &session_memory, 0.001, 1e6, "GB",                          \
            "the most memory that each rank may take, of the host's and of a GPU's each; what "    \
            "needs more is refused, or done in pieces (default: no limit)"                         \
    }
#define OPTION_AUTOTUNE(out)                                                                       \
    {                                                                                              \
        "--autotune", NULL, OPTION_FLAG, (out), 0, 0, NULL,                                        \
            "on GPUs, time ways to do each product and take the fastest: results may round "       \
            "differently from run to run, unless $MOVIEGEN_CACHE keeps what was chosen"            \
    }
#define OPTION_MODEL(out)                                                                          \
    {                                                                                              \
        "--model", NULL, OPTION_TEXT, (out), 0, 0, "DIR",                                          \
            "model folder (default: $MOVIEGEN_MODEL, else examples/models/toybox, else the "       \
            "installed one)"                                                                       \
    }
#define OPTION_SEED(out)                                                                           \
    {                                                                                              \
        "--seed", NULL, OPTION_U64, (out), 0, 0, "N",                                              \
            "random seed; the same seed gives the same result (default: 1)"                        \
    }
#define OPTION_STEPS(out)                                                                          \
    {                                                                                              \
        "--steps", NULL, OPTION_U32, (out), 1, 1000, "N", "solver steps (default: 50)"             \
    }
#define OPTION_GUIDANCE(out)                                                                       \
    {                                                                                              \
        "--guidance", NULL, OPTION_REAL, (out), 0.001, 100, "G",                                   \
            "classifier-free guidance scale; 1 = off (default: the model's)"                       \
    }
#define OPTION_SOLVER(out)                                                                         \
    {                                                                                              \
        "--solver", NULL, OPTION_TEXT, (out), 0, 0, "NAME",                                        \
            "euler, midpoint, or dopri5, which takes at most --steps (default: euler)"             \
    }
#define OPTION_SCHEDULE(out)                                                                       \
    {                                                                                              \
        "--schedule", NULL, OPTION_TEXT, (out), 0, 0, "NAME",                                      \
            "linear-quadratic, linear or linear-quadratic-1000 (default: linear-quadratic)"        \
    }
#define OPTION_GUIDANCE_FROM(out)                                                                  \
    {                                                                                              \
        "--guidance-from", NULL, OPTION_REAL, (out), 0, 1, "T",                                    \
            "time, 0 (noise) to 1 (film), from which on there is guidance (default: 0)"            \
    }
#define OPTION_GUIDANCE_TO(out)                                                                    \
    {                                                                                              \
        "--guidance-to", NULL, OPTION_REAL, (out), 0, 1, "T",                                      \
            "time up to which there is guidance (default: 1)"                                      \
    }
#define OPTION_NOISE_SCALE(out)                                                                    \
    {                                                                                              \
        "--noise-scale", NULL, OPTION_REAL, (out), 0.001, 2, "S",                                  \
            "deviation of the noise that the flow begins with (default: the model's)"              \
    }
#define OPTION_DROP_TEXT(out)                                                                      \
    {                                                                                              \
        "--drop-text", NULL, OPTION_TEXT, (out), 0, 0, "ROLES",                                    \
            "leave out what these text encoders say: of ul2,byt5,metaclip (default: none)"         \
    }
#define OPTION_PRECISION(out)                                                                      \
    {                                                                                              \
        "--precision", NULL, OPTION_TEXT, (out), 0, 0, "NAME",                                     \
            "weights and products in f32, bf16 or fp8 (default: as the model says, else f32)"      \
    }
/* All of a cli_sampling. */
#define OPTIONS_SAMPLING(s)                                                                        \
    OPTION_SOLVER(&(s)->solver), OPTION_SCHEDULE(&(s)->schedule),                                  \
        OPTION_GUIDANCE_FROM(&(s)->guidance_from), OPTION_GUIDANCE_TO(&(s)->guidance_to),          \
        OPTION_NOISE_SCALE(&(s)->noise_scale), OPTION_DROP_TEXT(&(s)->drop_text),                  \
        OPTION_PRECISION(&(s)->precision)
#define OPTION_NEGATIVE(out)                                                                       \
    {                                                                                              \
        "--negative", NULL, OPTION_TEXT, (out), 0, 0, "TEXT",                                      \
            "what guidance leads away from (default: nothing)"                                     \
    }
#define OPTION_QUIET(out)                                                                          \
    {                                                                                              \
        "--quiet", "-q", OPTION_FLAG, (out), 0, 0, NULL,                                           \
            "no progress, no messages but warnings and errors"                                     \
    }
#define OPTION_JSON(out)                                                                           \
    {                                                                                              \
        "--json", NULL, OPTION_FLAG, (out), 0, 0, NULL, "print one line of JSON instead of text"   \
    }
#define OPTION_END                                                                                 \
    {                                                                                              \
        NULL, NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL                                            \
    }

/* Defaults that the help texts above promise. */
#define DEFAULT_SEED  1
#define DEFAULT_STEPS 50

/* ---- sampling.c: how films go along the flow ---- */

typedef struct cli_sampling { /* of the options above; all 0: the defaults */
    const char *solver, *schedule, *drop_text, *precision;
    double guidance_from, guidance_to, noise_scale;
} cli_sampling;

typedef struct cli_session cli_session;
/* The names as MGEN_SOLVER_*, MGEN_SCHEDULE_* and bits of drop_text, and the session's precision. False: explained. */
bool sampling_numbers(cli_session *session, const cli_sampling *s, uint32_t *solver,
                      uint32_t *schedule, uint32_t *drop_text);
/* The same for films, with what is said by numbers. */
bool sampling_set(cli_session *session, const cli_sampling *s, mgen_generate_params *params);
/* The place of a name among others; NULL: the first. False: explained. */
bool name_number(const cli_command *command, const char *option, const char *name,
                 const char *const *names, uint32_t count, uint32_t *out);

/* ---- progress.c: how far a long command is ---- */

typedef struct progress {
    const char *what;
    bool quiet, terminal;
    double started, drawn;
    uint64_t drawn_done;
    uint64_t before; /* set by a command: done when it began, in no time of this run's */
} progress;

double seconds_now(void); /* of a steady clock */

/* A bar on stderr if that is a terminal, else a line now and then. */
void progress_start(progress *p, const char *what, bool quiet);
void progress_update(progress *p, uint64_t done, uint64_t total, const char *note);
void progress_end(progress *p); /* removes the bar */

/* ---- session.c: context, model, interruption ---- */

struct cli_session {
    const cli_command *command;
    mgen_context *ctx;
    mgen_pipeline pipe;
    mgen_mesh *mesh; /* NULL: one rank */
    int rank;
    bool shows; /* set by a command: draw what the library does for long before a call comes back */
    progress waiting; /* of that */
};

extern bool
    session_tells; /* set by a command: what the library notes is shown, not warnings alone */
extern double session_memory; /* 1e9 bytes that --memory allows; 0: no limit */

/* Create the context. False: explained. */
bool session_open(cli_session *s, const cli_command *command, uint32_t threads, const char *device,
                  bool autotune);
/* Whether one was opened yet: before, all ranks meet the same mistakes. */
bool session_begun(void);
/* Load a model folder; dir NULL = the default one. What is not STATUS_DONE is explained. */
int session_load(cli_session *s, const char *dir);
/* Whether there is one rank: what a model lacks is then not in its folder. On a mesh the library knows why. */
bool session_alone(const cli_session *s);
void session_waited(cli_session *s); /* what the library did is over: remove its bar */
void session_close(cli_session *s);  /* also after a failed open */

/* ---- ranks.c: a command as one of several ranks ---- */

typedef struct cli_place {
    const char *mesh, *device;
    const char *meet, *run; /* NULL: as the environment says */
    uint32_t rank, ranks;   /* RANK_UNTOLD, 0: the same */
    uint32_t threads;       /* of each rank; 0: the ranks of a machine share its processors */
    bool autotune;
} cli_place;

enum { RANK_UNTOLD = 1 << 20 };

typedef int cli_work(cli_session *s, const void *options);

/* Do the work of a command: as one of several processes; with a mesh and without those, in threads that are its
 * ranks; else alone. Each has a session of its own. Returns the status to exit with. */
int ranks_run(const cli_command *command, const cli_place *place, cli_work *work,
              const void *options);
/* Whether this process is the one that speaks of what is the same for all: the first. */
bool ranks_speaks(void);

#define OPTION_MESH(out)                                                                           \
    {                                                                                              \
        "--mesh", NULL, OPTION_TEXT, (out), 0, 0, "AXES",                                          \
            "how ranks are divided, such as dp=2,tp=2: the processes of a launcher, else "         \
            "threads (default: all over dp)"                                                       \
    }
#define OPTION_MEET(out)                                                                           \
    {                                                                                              \
        "--meet", NULL, OPTION_TEXT, (out), 0, 0, "ADDRESS",                                       \
            "where processes meet without MPI: tcp://host:port, where rank 0 listens, or "         \
            "file:///path (default: $MOVIEGEN_MEET, else torchrun's)"                              \
    }
#define OPTION_RANK(out)                                                                           \
    {                                                                                              \
        "--rank", NULL, OPTION_U32, (out), 0, 65535, "N",                                          \
            "which of them this is (default: $MOVIEGEN_RANK, else what the launcher says)"         \
    }
#define OPTION_RANKS(out)                                                                          \
    {                                                                                              \
        "--ranks", NULL, OPTION_U32, (out), 1, 65536, "N",                                         \
            "how many there are (default: $MOVIEGEN_RANKS, else what the launcher says)"           \
    }
#define OPTION_RUN(out)                                                                            \
    {                                                                                              \
        "--run-id", NULL, OPTION_TEXT, (out), 0, 0, "NAME",                                        \
            "name of the run: processes that give another are refused (default: "                  \
            "$MOVIEGEN_RUN_ID, else torchrun's)"                                                   \
    }
/* All of a cli_place, and --memory. */
#define OPTIONS_PLACE(p)                                                                           \
    OPTION_MESH(&(p)->mesh), OPTION_MEET(&(p)->meet), OPTION_RANK(&(p)->rank),                     \
        OPTION_RANKS(&(p)->ranks), OPTION_RUN(&(p)->run), OPTION_THREADS(&(p)->threads),           \
        OPTION_MEMORY, OPTION_DEVICE(&(p)->device), OPTION_AUTOTUNE(&(p)->autotune)

void interrupt_catch(void); /* from now on Ctrl-C asks to stop; a second one kills */
bool interrupted(void);

/* ---- output.c: errors and JSON ---- */

/* One line on stderr: "moviegen generate: ...". */
void complain(const cli_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The library's last error as such a line; returns STATUS_ERROR, or STATUS_INTERRUPTED after a
 * cancelled call. */
int complain_library(const cli_session *s, mgen_status status);
/* To stand behind what the library says of a limit: whose it is. Else "". */
const char *limit_note(mgen_status status);

bool utf8_valid(const char *text);
void json_string(FILE *f, const char *text);          /* quoted, escaped, always valid UTF-8 */
void json_number(FILE *f, double value);              /* not finite: null */
void json_report(FILE *f, const mgen_report *report); /* ,"name":value for every entry */
double report_find(const mgen_report *report, const char *name); /* NaN if absent */

/* ---- generate.c: one clip from one prompt, for the commands that need it ---- */

/* Runs the job to its end, drawing p (NULL: nothing). Returns 0 and the clip, or a status that has
 * been explained. */
int generate_clip(cli_session *s, const mgen_generate_params *params, progress *p, mgen_clip **out);

/* ---- rewrite.c: prompts as the captions of training are ---- */

enum { REWRITTEN_SIZE = 4097 };
/* Returns 0 and the prompt rewritten, or a status that has been explained. */
int prompt_rewrite(cli_session *s, const char *prompt, char out[REWRITTEN_SIZE]);

/* ---- film.c: the job that makes a film, and the files that it goes to ---- */

/* Wait for a job, drawing p (NULL: nothing), which Ctrl-C cancels. */
mgen_status job_wait(mgen_job *job, progress *p);
/* Wait for a job, drawing p (NULL: nothing), and destroy it. Returns 0 and, on the first rank, the clip, or a status
 * that has been explained. */
int film_finish(cli_session *s, mgen_job *job, progress *p, mgen_clip **out);
/* The same of a job that enlarges `clip`, edits it, or makes a film of the person in its first frame. */
int film_upsample(cli_session *s, const mgen_clip *clip, const mgen_generate_params *params,
                  bool quiet, mgen_clip **out);
int film_edit(cli_session *s, const mgen_clip *clip, const mgen_generate_params *params, bool quiet,
              mgen_clip **out);
int film_personalize(cli_session *s, const mgen_clip *photo, const mgen_generate_params *params,
                     bool quiet, mgen_clip **out);
/* Says that the model has no upsampler; the status to exit with. */
int film_no_upsampler(const cli_session *s);

/* Learn now, not after the work, whether `path` can be written: tries a tiny clip beside it. On
 * failure `why` has the reason. */
enum { OUTPUT_WHY_SIZE = 2048 };
mgen_status output_probe(cli_session *s, const char *path, char why[OUTPUT_WHY_SIZE]);

enum { FILM_FILES_MAX = 3 };

typedef struct film_files {
    const char *path;
    bool fallback; /* its format is not available: the film goes to .y4m and .png instead */
    char *name[FILM_FILES_MAX]; /* what was written, allocated */
    int count;
} film_files;

bool same_file(const char *a, const char *b); /* both are there, and one file */
/* A file in one piece: under another name first. A status; mistakes are explained. */
int file_write(const cli_command *command, const char *path, const char *text, size_t length);

/* Says before the work starts what would go wrong after it: a status, explained unless it is 0. */
int film_check(cli_session *s, const char *path, bool quiet, film_files *f);
int film_write(cli_session *s, const mgen_clip *clip, film_files *f); /* likewise */
/* The same of a film, a film with sound, or a sound. */
int files_check(cli_session *s, const char *path, bool film, bool sound, bool quiet, film_files *f);
/* And whether they would be written over a file that is read; NULL is none. */
int files_spare(cli_session *s, const film_files *f, const char *input);
int files_write(cli_session *s, const mgen_clip *clip, const mgen_sound *sound, film_files *f);
void film_files_free(film_files *f);
void film_tell(const film_files *f, const mgen_clip *clip, double seconds); /* a line a file */
/* The end of a line of JSON: size, seconds and files of a film. */
void json_film(FILE *out, const film_files *f, const mgen_clip *clip, double seconds);

/* ---- sound.c: the sound of a film, or of a text ---- */

/* Of a clip, or NULL. Returns 0 and the sound, or a status that has been explained. */
int sound_make(cli_session *s, const mgen_clip *clip, const mgen_sound_params *params, bool quiet,
               mgen_sound **out);
/* Says that the model has no audio model; the status to exit with. */
int sound_no_model(const cli_session *s);

/* ---- remake.c: a film that becomes another, or a photo that becomes one ---- */

typedef struct cli_remake {
    const char *input, *model, *negative, *out;
    uint64_t seed, first;
    uint32_t steps, frames, width, height;
    cli_place place;
    double guidance;
    cli_sampling sampling;
    bool json, quiet;
    /* What makes it, as film_upsample(); the model that does; and what of it JSON has beside the rest (NULL: nothing). */
    int (*make)(cli_session *s, const mgen_clip *clip, const mgen_generate_params *params,
                bool quiet, mgen_clip **out);
    void (*model_of)(const cli_session *s, const mgen_generate_params *params,
                     mgen_model_info *out);
    void (*tell)(const mgen_generate_params *params, const mgen_model_info *model);
} cli_remake;

#define OPTIONS_FRAMES(r)                                                                          \
    {                                                                                              \
        "--first",  NULL,                                                                          \
        OPTION_U64, &(r)->first,                                                                   \
        0,          0,                                                                             \
        "N",        "the first frame that is taken; they count from 0 (default: 0)"},              \
    {                                                                                              \
        "--frames", NULL, OPTION_U32, &(r)->frames, 1, 65536, "N",                                 \
            "frames that are taken (default: all)"                                                 \
    }
#define OPTIONS_REMAKE(r)                                                                          \
    OPTION_GUIDANCE(&(r)->guidance), OPTIONS_SAMPLING(&(r)->sampling),                             \
        OPTION_NEGATIVE(&(r)->negative), OPTIONS_PLACE(&(r)->place), OPTION_JSON(&(r)->json),      \
        OPTION_QUIET(&(r)->quiet)

/* Read the film, make the other and write it; `params` has what the command itself sets. The status to exit with. */
int remake_run(const cli_command *self, const cli_remake *r, const mgen_generate_params *params);

/* ---- font.c: labels on contact sheets ---- */

enum { FONT_ADVANCE = 6, FONT_HEIGHT = 7 };

/* Write text into an RGB picture at (x, y), clipped; unknown characters are blank. */
void font_draw(uint8_t *rgb, int width, int height, int x, int y, const char *text,
               const uint8_t colour[3]);

#endif
