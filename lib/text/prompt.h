/* SPDX-License-Identifier: MIT
 * What each text encoder gets of a prompt. Tier 5. */
#ifndef MGI_TEXT_PROMPT_H
#define MGI_TEXT_PROMPT_H

#include "core/context.h"

/* The text encoders of the report (3.1.3), by what they are for: reasoning, characters, pictures. */
enum { MGI_ROLE_UL2, MGI_ROLE_BYT5, MGI_ROLE_METACLIP, MGI_ROLES };

extern const char *const mgi_role_key[MGI_ROLES];   /* in files: "ul2" */
extern const char *const mgi_role_title[MGI_ROLES]; /* in messages: "UL2" */

/* Whether a prompt says nothing: it has no character, or white space alone. */
bool mgi_prompt_blank(const char *prompt);

/* The text that a prompt wants drawn, which is all that ByT5 gets of it (report, App. A.1): what stands between quotation marks, "so" or “so”. A mark of one kind ends
 * with its own kind; a mark without its end quotes nothing; several texts are joined by newlines, empty ones left
 * out. "" if there is none. The caller frees *out. */
mgen_status mgi_prompt_quoted(mgen_context *ctx, const char *prompt, char **out);

/* Whether each text that the prompt wants drawn, but for empty ones, is one that `other` wants drawn, to the byte. */
bool mgi_prompt_quotes_kept(const char *prompt, const char *other);

/* "FPS-16 " and the prompt; but "" is nothing, and a prompt that begins with "FPS-" says it itself. The caller frees
 * *out. */
mgen_status mgi_prompt_at_rate(mgen_context *ctx, const char *prompt, int64_t fps, char **out);

#endif
