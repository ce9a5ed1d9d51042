/* SPDX-License-Identifier: MIT
 * Two models, or folders of films, to be judged by people: what the files of moviegen compare share, and moviegen votes reads.
 *
 * DIR/settings.csv and DIR/key.csv say what A and B are and which of them is on the left of what item; DIR/raters is for the
 * people who judge, and says neither. */
#ifndef CLI_COMPARE_H
#define CLI_COMPARE_H

#include "csv.h"

/* ---- axes.c: what is asked of a pair ---- */

typedef struct compare_axis {
    const char *id, *group,
        *question;  /* group: a heading; the last two NULL: an axis of the user's own */
    bool heard;     /* it is about sound */
    uint32_t votes; /* that the report takes for an item */
} compare_axis;

enum { AXES_MAX = 32 };

typedef struct axis_list {
    compare_axis axes[AXES_MAX];
    size_t count;
    char *text; /* that ids of the user's own lie in */
} axis_list;

/* "video", "sound", "music", or ids with commas between, or both. False: explained. */
bool axes_parse(const cli_command *command, const char *list, axis_list *out);
long axes_find(const axis_list *list, const char *id); /* NAME_NONE: it is none of them */
bool axes_heard(const axis_list *list);
void axes_join(const axis_list *list, FILE *f, const char *between); /* their ids */
/* Says that this is none of them, and what are; false. `where` it was named begins the message. */
bool axes_refuse(const cli_command *command, const axis_list *list, const char *where,
                 const char *id);
void axes_free(axis_list *list);

/* ---- prompts.c: the items that are compared ---- */

typedef struct compare_item {
    char *id, *prompt, *film; /* film: its name without ending, or "" */
    char **tags;              /* one for each column of tags: values with commas between */
    bool swapped;             /* B is on the left */
} compare_item;

typedef struct item_list {
    compare_item *items;
    size_t count, capacity;
    name_list columns; /* of tags */
} item_list;

/* A .csv with a column "prompt", perhaps "film" and those of `tags` (NULL: tags, concept and motion_level, if there); else a
 * prompt a line. A status; mistakes are explained. */
int prompts_read(const cli_command *command, const char *path, const char *tags, item_list *out);
/* One more item, whose texts are copied, but for tags, which are empty. NULL: explained. */
compare_item *items_add(const cli_command *command, item_list *list, const char *id,
                        const char *prompt, const char *film);
void items_free(item_list *list);

/* ---- compare_key.c: the files that are kept from raters ---- */

typedef struct comparison {
    item_list items;
    axis_list axes;
    char id[17];    /* tells comparisons apart, not who is where */
    char *names[2]; /* of A and B */
} comparison;

enum { COMPARE_PATH = 4096 };

typedef struct setting {
    const char *name, *values[2];
} setting;

/* Half of the items have B on the left, by lot. */
void key_shuffle(item_list *items, uint64_t seed);
/* Make the folder, which is this program's alone until `*held` is closed (-1: nothing to close); one that is there must be
 * empty or hold a comparison. A status; mistakes are explained. */
int key_folder(const cli_command *command, const char *dir, int *held);
/* Write settings and key of a new comparison into the folder, or see that those there are the same. Sets the comparison's id.
 * A status; what differs is explained. */
int key_write(const cli_command *command, const char *dir, const setting *settings, size_t count,
              comparison *c);
int key_read(const cli_command *command, const char *dir, comparison *c); /* likewise */
void comparison_free(comparison *c);
/* Whether dir/name fits. False: explained. */
bool path_join(const cli_command *command, char out[COMPARE_PATH], const char *dir,
               const char *name);

uint64_t random_next(uint64_t *state);                  /* splitmix64 */
uint64_t random_below(uint64_t *state, uint64_t bound); /* 0 .. bound - 1 */

/* ---- compare_films.c: a film for each item and side ---- */

typedef struct compare_side {
    const char *dir, *negative;
    uint32_t steps;
    double guidance;
    cli_sampling sampling;
    bool rewrite;
    bool films;       /* it is a folder of films */
    name_list folder; /* their names */
    uint64_t hash;    /* of a model */
} compare_side;

typedef struct compare_options {
    const char *prompts, *out, *tags, *axes, *format, *device;
    uint64_t seed;
    uint32_t width, height, frames, threads;
    compare_side both, sides[2];
    const compare_side *loaded; /* whose model the session has */
    bool autotune, json, quiet;
} compare_options;

enum { PLACE_LEFT, PLACE_RIGHT, PLACES };
extern const char *const place_names[PLACES];

typedef struct page_film {                            /* as the page plays it */
    char *name;                                       /* in the folder of films */
    uint32_t width, height, frames, fps_num, fps_den; /* of a picture of frames; 0: a film */
} page_film;

typedef struct film_set {
    page_film *films; /* PLACES for each item */
    size_t made, found;
} film_set;

/* Films of folders: which belongs to which item. A status; mistakes are explained. */
int films_match(const cli_command *command, compare_options *o, item_list *items);
/* Make what is missing. A status, explained. */
int films_make(cli_session *s, compare_options *o, const comparison *c, film_set *films);
/* Those that are there. A status; mistakes are explained. */
int films_find(const cli_command *command, const char *dir, const item_list *items,
               film_set *films);
/* Load a side's model, unless it is the one that is loaded. False: explained. */
int films_load(cli_session *s, compare_options *o, const compare_side *side);
void films_free(film_set *films, size_t items);
/* A picture of frames has so many of them side by side. */
uint32_t sprite_columns(uint32_t width, uint32_t height, uint32_t frames);

/* ---- page.c, page_text.c: the page that raters see ---- */

int page_write(const cli_command *command, const char *path, const comparison *c,
               const film_set *films);
extern const char page_head[], page_body[];

#endif
