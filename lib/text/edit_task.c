/* SPDX-License-Identifier: MIT */
#include "text/edit_task.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

const char *const mgi_edit_task_name[MGI_EDIT_TASKS] = {
    "local",    "style",   "background",   "removal",
    "addition", "texture", "segmentation", "text_to_video"};

/* Words and phrases that tell, those first that tell more: "add stripes" is a texture, "remove the background" is about
 * the background. */
static const struct {
    const char *words;
    int task;
} telling[] = {
    {"background", MGI_EDIT_BACKGROUND},
    {"backdrop", MGI_EDIT_BACKGROUND},
    {"surroundings", MGI_EDIT_BACKGROUND},
    {"mark", MGI_EDIT_SEGMENTATION},
    {"segment", MGI_EDIT_SEGMENTATION},
    {"highlight", MGI_EDIT_SEGMENTATION},
    {"paint over", MGI_EDIT_SEGMENTATION},
    {"style", MGI_EDIT_STYLE},
    {"black and white", MGI_EDIT_STYLE},
    {"sepia", MGI_EDIT_STYLE},
    {"negative", MGI_EDIT_STYLE},
    {"night", MGI_EDIT_STYLE},
    {"sketch", MGI_EDIT_STYLE},
    {"cartoon", MGI_EDIT_STYLE},
    {"painting", MGI_EDIT_STYLE},
    {"watercolor", MGI_EDIT_STYLE},
    {"watercolour", MGI_EDIT_STYLE},
    {"texture", MGI_EDIT_TEXTURE},
    {"pattern", MGI_EDIT_TEXTURE},
    {"stripes", MGI_EDIT_TEXTURE},
    {"striped", MGI_EDIT_TEXTURE},
    {"dots", MGI_EDIT_TEXTURE},
    {"dotted", MGI_EDIT_TEXTURE},
    {"checks", MGI_EDIT_TEXTURE},
    {"checkered", MGI_EDIT_TEXTURE},
    {"plain", MGI_EDIT_TEXTURE},
    {"remove", MGI_EDIT_REMOVAL},
    {"delete", MGI_EDIT_REMOVAL},
    {"erase", MGI_EDIT_REMOVAL},
    {"take away", MGI_EDIT_REMOVAL},
    {"get rid of", MGI_EDIT_REMOVAL},
    {"without", MGI_EDIT_REMOVAL},
    {"add", MGI_EDIT_ADDITION},
    {"insert", MGI_EDIT_ADDITION},
    {"put", MGI_EDIT_ADDITION},
    {"place", MGI_EDIT_ADDITION},
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool in_word(char c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c & 0x80) || c == '_';
}

/* As whole words, outside of quotation marks: what a sign reads tells nothing. */
static bool says(const char *text, const char *words)
{
    size_t n = strlen(words);
    bool quoted = false;
    for (const char *p = text; *p; p++) {
        size_t k = 0;
        quoted ^= *p == '"';
        if (quoted || (p > text && in_word(p[-1])))
            continue;
        while (k < n && lower(p[k]) == words[k])
            k++;
        if (k == n && !in_word(p[n]))
            return true;
    }
    return false;
}

int mgi_edit_task_guess(const char *instruction)
{
    for (size_t i = 0; i < sizeof telling / sizeof telling[0]; i++)
        if (says(instruction, telling[i].words))
            return telling[i].task;
    return MGI_EDIT_LOCAL;
}

int mgi_edit_task_read(const char *text, const char **instruction)
{
    const char *colon = strchr(text, ':');
    const size_t n = colon ? (size_t)(colon - text) : 0;
    int task = -1;
    *instruction = text;
    for (int i = 0; n && i < MGI_EDIT_TEXT_TO_VIDEO; i++)
        if (strlen(mgi_edit_task_name[i]) == n && !strncmp(text, mgi_edit_task_name[i], n))
            task = i;
    if (task >= 0 || (n == strlen("auto") && !strncmp(text, "auto", n)))
        for (*instruction = colon + 1; **instruction == ' ';)
            ++*instruction;
    return task >= 0 ? task : mgi_edit_task_guess(*instruction);
}
