/* SPDX-License-Identifier: MIT
 * What people are asked of a pair of films: the report's axes, and others. */
#include "compare.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define TEXT    "Does it show what the text says?"
#define QUALITY "Visual quality"
#define REAL    "Realness and aesthetics"
#define SOUND   "Sound"
#define MUSIC   "Music"

static const compare_axis known[] = {
    {"text-alignment", TEXT, "Which film follows the text better, all in all?", false, 3},
    {"subject-match", TEXT,
     "In which film are subjects, their looks and the background more as the text says?", false, 3},
    {"motion-match", TEXT, "In which film is what happens more as the text says?", false, 3},
    {"visual-quality", QUALITY, "Which film looks better, all in all?", false, 3},
    {"frame-consistency", QUALITY,
     "In which film do things keep their looks better from frame to frame?", false, 3},
    {"motion-completeness", QUALITY,
     "In which film does more move? Only how much counts, even if it is distorted.", false, 3},
    {"motion-naturalness", QUALITY, "In which film does what moves move more naturally?", false, 3},
    {"realness", REAL, "Which film looks more as if it had been filmed?", false, 6},
    {"aesthetics", REAL, "Which film is more beautiful: light, colour, composition?", false, 6},
    {"sound-quality", SOUND, "Which sound is better, all in all?", true, 3},
    {"sound-naturalness", SOUND, "Which sound is more natural, with less noise and distortion?",
     true, 3},
    {"sound-professionalness", SOUND, "Which sound is more like one made by professionals?", true,
     3},
    {"sound-correctness", SOUND,
     "Which sound has more of what should be heard, and less of what should not?", true, 3},
    {"sound-synchronisation", SOUND, "Which sound is better in step with what is seen?", true, 3},
    {"music-mood", MUSIC, "Which music fits the film's mood better?", true, 3},
    {"music-action", MUSIC, "Which music fits what happens better?", true, 3},
};
enum { KNOWN = sizeof known / sizeof known[0] };

/* Sets by name, as first and last of the above. */
static const struct {
    const char *name;
    size_t first, last;
} sets[] = {{"video", 0, 8}, {"sound", 9, 13}, {"music", 9, 15}};

long axes_find(const axis_list *list, const char *id)
{
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->axes[i].id, id))
            return (long)i;
    return NAME_NONE;
}

static bool add(const cli_command *command, axis_list *list, compare_axis axis)
{
    if (axes_find(list, axis.id) != NAME_NONE)
        return true;
    if (list->count == AXES_MAX) {
        complain(command, "--axes has more than %d axes", AXES_MAX);
        return false;
    }
    list->axes[list->count++] = axis;
    return true;
}

static bool add_named(const cli_command *command, axis_list *list, const char *id)
{
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        if (!strcmp(id, sets[i].name)) {
            bool fine = true;
            for (size_t k = sets[i].first; k <= sets[i].last && fine; k++)
                fine = add(command, list, known[k]);
            return fine;
        }
    for (size_t i = 0; i < KNOWN; i++)
        if (!strcmp(id, known[i].id))
            return add(command, list, known[i]);
    for (const char *s = id; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '-' && *s != '_')
            id = "";
    if (!*id) {
        complain(command, "--axes needs video, sound, music or names of letters, digits, - and _, "
                          "with commas between");
        return false;
    }
    return add(command, list, (compare_axis){.id = id, .votes = 3});
}

bool axes_parse(const cli_command *command, const char *list, axis_list *out)
{
    *out = (axis_list){.text = strdup(list)};
    if (!out->text) {
        complain(command, "out of memory");
        return false;
    }
    bool fine = true;
    for (char *at = out->text, *next; at && fine; at = next) {
        next = strchr(at, ',');
        if (next)
            *next++ = 0;
        fine = add_named(command, out, at);
    }
    return fine;
}

bool axes_heard(const axis_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->axes[i].heard)
            return true;
    return false;
}

void axes_join(const axis_list *list, FILE *f, const char *between)
{
    for (size_t i = 0; i < list->count; i++)
        fprintf(f, "%s%s", i ? between : "", list->axes[i].id);
}

bool axes_refuse(const cli_command *command, const axis_list *list, const char *where,
                 const char *id)
{
    char *ids = NULL;
    size_t length;
    FILE *f = open_memstream(&ids, &length);
    if (f)
        axes_join(list, f, ", ");
    if (!f || fclose(f))
        complain(command, "out of memory");
    else
        complain(command, "%s: no axis '%s' in this comparison; axes are %s", where, id, ids);
    free(ids);
    return false;
}

void axes_free(axis_list *list)
{
    free(list->text);
    *list = (axis_list){.count = 0};
}
