/* SPDX-License-Identifier: MIT
 * What an instruction to edit a film is about: the kinds of edits of the report's benchmark, and the two others that an
 * editor learns, marking an object and making a film of nothing. Tier 5. */
#ifndef MGI_TEXT_EDIT_TASK_H
#define MGI_TEXT_EDIT_TASK_H

/* Rows of an editor's table of tasks: their order is that of files. */
enum {
    MGI_EDIT_LOCAL, /* an object becomes another, or another in colour or size */
    MGI_EDIT_STYLE,
    MGI_EDIT_BACKGROUND,
    MGI_EDIT_REMOVAL,
    MGI_EDIT_ADDITION,
    MGI_EDIT_TEXTURE,
    MGI_EDIT_SEGMENTATION,
    MGI_EDIT_TEXT_TO_VIDEO,
    MGI_EDIT_TASKS
};
extern const char *const mgi_edit_task_name[MGI_EDIT_TASKS]; /* "local", "style", ... */

/* By its words, in any case; LOCAL if none of them tells. Never TEXT_TO_VIDEO. */
int mgi_edit_task_guess(const char *instruction);
/* Of a text that may begin with the name of a task and a colon, "style: make it a drawing": the task, and in *instruction what
 * stands behind, without blanks before it. Without such a name, or with "auto", by the words. Never TEXT_TO_VIDEO. */
int mgi_edit_task_read(const char *text, const char **instruction);

#endif
