/* SPDX-License-Identifier: MIT
 * moviegen compare: two models side by side, blind, on a page for people who judge; as the report's A/B evaluation. */
#include "compare.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VALUE = 32 /* of a setting that is a number */ };

/* ---- settings: what must be the same to go on ---- */

typedef struct side_texts {
    char kind[VALUE], hash[VALUE], seed[VALUE], steps[VALUE], guidance[VALUE], noise[VALUE],
        from[VALUE], to[VALUE], size[VALUE * 2], name[COMPARE_PATH];
} side_texts;

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

/* What a table of votes calls the side: the folder, and of two settings of one model what differs. */
static void name_side(const compare_options *o, int k, char out[COMPARE_PATH])
{
    const compare_side *side = &o->sides[k], *other = &o->sides[!k];
    int n = snprintf(out, COMPARE_PATH, "%s", side->dir);
    size_t used = n < COMPARE_PATH ? (size_t)n : COMPARE_PATH - 1;
    const struct {
        const char *label, *own, *other;
    } texts[] = {{"solver", side->sampling.solver, other->sampling.solver},
                 {"schedule", side->sampling.schedule, other->sampling.schedule},
                 {"precision", side->sampling.precision, other->sampling.precision},
                 {"negative", side->negative, other->negative}};
    if (side->films || other->films)
        return;
    if (side->steps != other->steps)
        used += (size_t)snprintf(out + used, COMPARE_PATH - used, ", %u steps", side->steps);
    if (used < COMPARE_PATH && side->guidance > 0 && side->guidance != other->guidance)
        used += (size_t)snprintf(out + used, COMPARE_PATH - used, ", guidance %g", side->guidance);
    if (used < COMPARE_PATH && side->sampling.noise_scale > 0 &&
        side->sampling.noise_scale != other->sampling.noise_scale)
        used += (size_t)snprintf(out + used, COMPARE_PATH - used, ", noise %g",
                                 side->sampling.noise_scale);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && used < COMPARE_PATH; i++)
        if (strcmp(or_empty(texts[i].own), or_empty(texts[i].other)) != 0 && texts[i].own)
            used += (size_t)snprintf(out + used, COMPARE_PATH - used, ", %s %s", texts[i].label,
                                     texts[i].own);
    if (used < COMPARE_PATH && side->rewrite && !other->rewrite)
        snprintf(out + used, COMPARE_PATH - used, ", prompts rewritten");
}

static void side_settings(const compare_options *o, int k, side_texts *t)
{
    const compare_side *side = &o->sides[k];
    memset(t, 0, sizeof *t);
    name_side(o, k, t->name);
    snprintf(t->kind, sizeof t->kind, "%s", side->films ? "films" : "model");
    if (side->films)
        return;
    snprintf(t->hash, sizeof t->hash, "%016llx", (unsigned long long)side->hash);
    snprintf(t->steps, sizeof t->steps, "%u", side->steps);
    if (side->guidance > 0)
        snprintf(t->guidance, sizeof t->guidance, "%.9g", side->guidance);
    if (side->sampling.noise_scale > 0)
        snprintf(t->noise, sizeof t->noise, "%.9g", side->sampling.noise_scale);
    if (side->sampling.guidance_from > 0)
        snprintf(t->from, sizeof t->from, "%.9g", side->sampling.guidance_from);
    if (side->sampling.guidance_to > 0)
        snprintf(t->to, sizeof t->to, "%.9g", side->sampling.guidance_to);
    if (o->width || o->height || o->frames)
        snprintf(t->size, sizeof t->size, "%u x %u x %u", o->width, o->height, o->frames);
}

#define SAME(text)                                                                                 \
    {                                                                                              \
        (text), (text)                                                                             \
    }
#define EACH(field)                                                                                \
    {                                                                                              \
        t[0].field, t[1].field                                                                     \
    }
#define GIVEN(field)                                                                               \
    {                                                                                              \
        or_empty(o->sides[0].field), or_empty(o->sides[1].field)                                   \
    }

static int write_key(cli_session *s, const compare_options *o, comparison *c)
{
    side_texts t[2];
    char seed[VALUE];
    side_settings(o, 0, &t[0]);
    side_settings(o, 1, &t[1]);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed);
    const setting settings[] = {
        {"name", EACH(name)},
        {"kind", EACH(kind)},
        {"folder", {o->sides[0].dir, o->sides[1].dir}},
        {"hash", EACH(hash)},
        {"seed", SAME(seed)},
        {"steps", EACH(steps)},
        {"guidance", EACH(guidance)},
        {"noise scale", EACH(noise)},
        {"guidance from", EACH(from)},
        {"guidance to", EACH(to)},
        {"solver", GIVEN(sampling.solver)},
        {"schedule", GIVEN(sampling.schedule)},
        {"precision", GIVEN(sampling.precision)},
        {"drop text", GIVEN(sampling.drop_text)},
        {"negative", GIVEN(negative)},
        {"rewrite", {o->sides[0].rewrite ? "yes" : "", o->sides[1].rewrite ? "yes" : ""}},
        {"size", EACH(size)},
        {"format", SAME(o->format)},
    };
    return key_write(s->command, o->out, settings, sizeof settings / sizeof settings[0], c);
}

/* ---- the work ---- */

/* The models are read before anything is written. */
static int look_at_models(cli_session *s, compare_options *o)
{
    for (int k = 0; k < 2; k++) {
        compare_side *side = &o->sides[k];
        if (side->films)
            continue;
        int result = films_load(s, o, side);
        if (result != STATUS_DONE)
            return result;
        side->hash = mgen_pipeline_hash(&s->pipe);
        if (side->rewrite && !s->pipe.rewriter) {
            complain(s->command,
                     "the model in '%s' has no rewriter: its pipeline.json names none; take a "
                     "model that has one, or train one (docs/rewriting.md)",
                     side->dir);
            return STATUS_ERROR;
        }
    }
    return STATUS_DONE;
}

/* Films are .mp4 unless the plug-in for it is missing. */
static int choose_format(cli_session *s, compare_options *o)
{
    char why[OUTPUT_WHY_SIZE], path[COMPARE_PATH];
    if (o->format)
        return STATUS_DONE;
    o->format = "mp4";
    if (o->sides[0].films && o->sides[1].films)
        return STATUS_DONE;
    if (!path_join(s->command, path, o->out, "x.mp4"))
        return STATUS_ERROR;
    mgen_status status = output_probe(s, path, why);
    if (status == MGEN_E_UNSUPPORTED) {
        o->format = "png";
        if (!o->quiet)
            complain(s->command, "%s; so films are pictures of frames, which the page moves", why);
        return STATUS_DONE;
    }
    if (status != MGEN_OK) {
        complain(s->command, "%s", *why ? why : mgen_status_name(status));
        return STATUS_ERROR;
    }
    return STATUS_DONE;
}

static void tell(const compare_options *o, const comparison *c, const film_set *films,
                 const char *page)
{
    if (o->json) {
        printf("{\"comparison\":\"%s\",\"items\":%zu,\"films\":%zu,\"made\":%zu,\"format\":\"%s\","
               "\"page\":",
               c->id, c->items.count, PLACES * c->items.count, films->made, o->format);
        json_string(stdout, page);
        printf("}\n");
    } else if (!o->quiet) {
        printf("wrote %s: %zu pairs of films, of which %zu films are new\n", page, c->items.count,
               films->made);
        printf("give raters the folder %s/raters, and not %s/key.csv and settings.csv; then\n"
               "moviegen votes %s VOTES.csv ...\n",
               o->out, o->out, o->out);
    }
}

static int compare(cli_session *s, compare_options *o, comparison *c)
{
    film_set films = {.films = NULL};
    char raters[COMPARE_PATH], page[COMPARE_PATH];
    int held = -1;
    if (!path_join(s->command, raters, o->out, "raters") ||
        !path_join(s->command, page, raters, "index.html"))
        return STATUS_ERROR;
    int result = films_match(s->command, o, &c->items);
    if (result == STATUS_DONE)
        result = look_at_models(s, o);
    if (result == STATUS_DONE)
        result = key_folder(s->command, o->out, &held);
    if (result == STATUS_DONE)
        result = choose_format(s, o);
    if (result != STATUS_DONE)
        goto end;
    key_shuffle(&c->items, o->seed);
    result = write_key(s, o, c);
    if (result == STATUS_DONE)
        result = films_make(s, o, c, &films);
    if (result == STATUS_DONE)
        result = page_write(s->command, page, c, &films);
    if (result == STATUS_DONE)
        tell(o, c, &films, page);
    else if (result == STATUS_INTERRUPTED && !o->quiet)
        complain(s->command, "stopped with %zu of %zu films; the same command goes on",
                 films.found + films.made, PLACES * c->items.count);
end:
    films_free(&films, c->items.count);
    if (held >= 0)
        close(held);
    return result;
}

/* ---- options ---- */

/* What was not said of a side was said of both, or of none. */
static void settle_side(const compare_options *o, compare_side *side)
{
    const compare_side *both = &o->both;
    char path[COMPARE_PATH];
    const char **texts[] = {&side->sampling.solver, &side->sampling.schedule,
                            &side->sampling.precision, &side->negative};
    const char *defaults[] = {both->sampling.solver, both->sampling.schedule,
                              both->sampling.precision, both->negative};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        *texts[i] = *texts[i] ? *texts[i] : defaults[i];
    side->steps = side->steps ? side->steps : both->steps;
    side->guidance = side->guidance > 0 ? side->guidance : both->guidance;
    side->sampling.noise_scale =
        side->sampling.noise_scale > 0 ? side->sampling.noise_scale : both->sampling.noise_scale;
    side->sampling.guidance_from = both->sampling.guidance_from;
    side->sampling.guidance_to = both->sampling.guidance_to;
    side->sampling.drop_text = both->sampling.drop_text;
    side->rewrite = side->rewrite || both->rewrite;
    int n = snprintf(path, sizeof path, "%s/pipeline.json", side->dir);
    side->films =
        n < 0 || n >= COMPARE_PATH || (access(path, F_OK) != 0 && access(side->dir, F_OK) == 0);
}

/* Whether both would have the same films. Solvers and the like: by number. */
static bool sides_alike(const compare_options *o, const uint32_t numbers[2][3])
{
    const compare_side *a = &o->sides[0], *b = &o->sides[1];
    struct stat of[2];
    if (stat(a->dir, &of[0]) != 0 || stat(b->dir, &of[1]) != 0 || of[0].st_dev != of[1].st_dev ||
        of[0].st_ino != of[1].st_ino)
        return false;
    return a->films ||
           (a->steps == b->steps && a->guidance == b->guidance &&
            a->sampling.noise_scale == b->sampling.noise_scale && a->rewrite == b->rewrite &&
            !strcmp(or_empty(a->negative), or_empty(b->negative)) &&
            !memcmp(numbers[0], numbers[1], sizeof numbers[0]));
}

static int check(const cli_command *self, compare_options *o, int words)
{
    uint32_t numbers[2][3];
    if (words < 2) {
        complain(self, "%s is missing; usage: moviegen compare %s", words ? "B" : "A", self->usage);
        return STATUS_USAGE;
    }
    if (!o->prompts || !o->out) {
        complain(self, "%s is missing; usage: moviegen compare %s",
                 o->prompts ? "--out DIR" : "--prompts FILE", self->usage);
        return STATUS_USAGE;
    }
    if (o->format && strcmp(o->format, "mp4") != 0 && strcmp(o->format, "png") != 0) {
        complain(self, "--format is '%s'; it must be mp4 or png", o->format);
        return STATUS_USAGE;
    }
    for (int k = 0; k < 2; k++) {
        cli_session names = {.command = self}; /* a wrong one is told before there is a session */
        uint32_t drop_text;
        settle_side(o, &o->sides[k]);
        if (!sampling_numbers(&names, &o->sides[k].sampling, &numbers[k][0], &numbers[k][1],
                              &drop_text))
            return STATUS_USAGE;
        numbers[k][2] = names.pipe.precision;
    }
    if (sides_alike(o, numbers)) {
        complain(self,
                 o->sides[0].films
                     ? "A and B are both the films in '%s'; take another folder for one of them"
                     : "A and B are both the model in '%s' with the same options, by which their "
                       "films are the same; take another folder, or another option for one of "
                       "them, such as --steps-b 10",
                 o->sides[1].dir);
        return STATUS_USAGE;
    }
    return STATUS_DONE;
}

/* Sound is of films that have it. */
static bool check_sound(const cli_command *self, const compare_options *o, const comparison *c)
{
    if (!axes_heard(&c->axes))
        return true;
    if (o->format && !strcmp(o->format, "png"))
        complain(self, "--format png has no sound, which --axes are about");
    else if (!o->sides[0].films || !o->sides[1].films)
        complain(self,
                 "films that compare makes have no sound, which --axes are about; make them by "
                 "'moviegen generate --sound' and give the folders");
    else
        return true;
    return false;
}

/* An option of both sides, and of each. */
#define SIDES(option, kind, field, min, max, value, help)                                          \
    {"--" option, NULL, kind, &o.both.field, min, max, value, help},                               \
        {"--" option "-a", NULL, kind, &o.sides[0].field, min, max, value, "the same of A alone"}, \
    {                                                                                              \
        "--" option "-b", NULL, kind, &o.sides[1].field, min, max, value, "the same of B alone"    \
    }

static int run(const cli_command *self, int argc, char **argv)
{
    compare_options o = {.seed = DEFAULT_SEED, .axes = "video", .both = {.steps = DEFAULT_STEPS}};
    const cli_option table[] = {
        {"--prompts", NULL, OPTION_TEXT, &o.prompts, 0, 0, "FILE",
         "a prompt a line, or a .csv with a column 'prompt'"},
        {"--out", "-o", OPTION_TEXT, &o.out, 0, 0, "DIR",
         "where the comparison goes, or is gone on with"},
        {"--tags", NULL, OPTION_TEXT, &o.tags, 0, 0, "NAME,NAME",
         "columns of the .csv to count votes by (default: tags, concept, motion_level, if there)"},
        {"--axes", NULL, OPTION_TEXT, &o.axes, 0, 0, "NAME,NAME",
         "what is asked: video, sound, music, names of theirs, or names of yours (default: video)"},
        {"--format", NULL, OPTION_TEXT, &o.format, 0, 0, "NAME",
         "of films that are made: mp4, or png, pictures of frames without loss (default: mp4, "
         "without the FFmpeg plug-in png)"},
        {"--seed", NULL, OPTION_U64, &o.seed, 0, 0, "N",
         "film i of both sides has the noise N + i; also who is on which side (default: 1)"},
        SIDES("steps", OPTION_U32, steps, 1, 1000, "N", "solver steps (default: 50)"),
        SIDES("guidance", OPTION_REAL, guidance, 0.001, 100, "G",
              "classifier-free guidance scale; 1 = off (default: the model's)"),
        SIDES("noise-scale", OPTION_REAL, sampling.noise_scale, 0.001, 2, "S",
              "deviation of the noise that the flow begins with (default: the model's)"),
        SIDES("solver", OPTION_TEXT, sampling.solver, 0, 0, "NAME",
              "euler, midpoint, or dopri5, which takes at most --steps (default: euler)"),
        SIDES("schedule", OPTION_TEXT, sampling.schedule, 0, 0, "NAME",
              "linear-quadratic, linear or linear-quadratic-1000 (default: linear-quadratic)"),
        SIDES("precision", OPTION_TEXT, sampling.precision, 0, 0, "NAME",
              "f32, bf16 or fp8 (default: as the model says, else f32)"),
        SIDES("negative", OPTION_TEXT, negative, 0, 0, "TEXT",
              "what guidance leads away from (default: nothing)"),
        SIDES("rewrite", OPTION_FLAG, rewrite, 0, 0, NULL,
              "let the model's rewriter put prompts as its captions are; raters see them as they "
              "were"),
        OPTION_GUIDANCE_FROM(&o.both.sampling.guidance_from),
        OPTION_GUIDANCE_TO(&o.both.sampling.guidance_to),
        OPTION_DROP_TEXT(&o.both.sampling.drop_text),
        {"--width", "-W", OPTION_U32, &o.width, 1, 65536, "N",
         "pixels of the films (default: each model's own)"},
        {"--height", "-H", OPTION_U32, &o.height, 1, 65536, "N", "pixels (default: likewise)"},
        {"--frames", NULL, OPTION_U32, &o.frames, 1, 65536, "N",
         "frames of the films (default: likewise)"},
        OPTION_THREADS(&o.threads),
        OPTION_MEMORY,
        OPTION_DEVICE(&o.device),
        OPTION_AUTOTUNE(&o.autotune),
        OPTION_JSON(&o.json),
        OPTION_QUIET(&o.quiet),
        OPTION_END,
    };
    const char *dirs[2] = {NULL, NULL};
    comparison c = {.id = ""};
    int words;
    int result = options_parse(self, table, argc, argv, dirs, 2, &words);
    if (result != OPTIONS_OK)
        return result;
    o.sides[0].dir = or_empty(dirs[0]);
    o.sides[1].dir = or_empty(dirs[1]);
    if ((result = check(self, &o, words)) != STATUS_DONE)
        return result;
    if (!axes_parse(self, o.axes, &c.axes) || !check_sound(self, &o, &c))
        result = STATUS_USAGE;
    if (result == STATUS_DONE)
        result = prompts_read(self, o.prompts, o.tags, &c.items);
    if (result == STATUS_DONE) {
        cli_session s;
        interrupt_catch();
        result = session_open(&s, self, o.threads, o.device, o.autotune) ? compare(&s, &o, &c)
                                                                         : STATUS_ERROR;
        session_close(&s);
    }
    names_free(&o.sides[0].folder);
    names_free(&o.sides[1].folder);
    comparison_free(&c);
    return result;
}

const cli_command command_compare = {
    "compare", "let people judge two models, blind", "A B --prompts FILE --out DIR [options]",
    "A and B are model folders, or one twice with other options (--steps-a 10 --steps-b 50), or "
    "folders of\n"
    "films, which belong to the prompts in order, or by a column 'film' of the .csv.\n"
    "DIR/raters/index.html shows pairs of films with their prompts to a rater, who gets the folder "
    "raters\n"
    "alone and sends back a file of votes. 'moviegen votes DIR FILE ...' counts them. Ctrl-C "
    "stops; "
    "the same\n"
    "command goes on.",
    run};
