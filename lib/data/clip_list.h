/* SPDX-License-Identifier: MIT
 * clips.jsonl: which clips of a folder's films are trained on, a line of JSON each, as curation writes it or a host of its
 * own. Tier 6. */
#ifndef MGI_DATA_CLIP_LIST_H
#define MGI_DATA_CLIP_LIST_H

#include "core/context.h"

#define MGI_CLIP_LIST          "clips.jsonl"
#define MGI_CLIP_LIST_MAX      10000000 /* clips */
#define MGI_CLIP_LIST_LINE_MAX 65536    /* bytes of a line */

typedef struct mgi_clip_line {
    char *file;    /* its name in the folder */
    char *caption; /* NULL: as the film's */
    int64_t first, frames;
    double weight; /* how often it comes in an epoch */
    int64_t even,
        even_from; /* mgi_film_known of the film, as somebody says; even 0: nothing is said */
} mgi_clip_line;

/* Of each line, an object: "file", "first" (0), "frames", "kept" (true), "weight" (1), "caption", "even" and "even_from" (0), of which "file" and
 * "frames" must be there; what else it says is left alone, as are empty lines. `out` has the lines that are kept. CORRUPT
 * names the line. `what` names the source. */
mgen_status mgi_clip_list_read(mgen_context *ctx, const char *what, const char *text, size_t size,
                               mgi_clip_line **out, int64_t *count);
void mgi_clip_list_free(mgen_context *ctx, mgi_clip_line *lines, int64_t count);

#endif
