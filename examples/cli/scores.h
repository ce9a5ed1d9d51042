/* SPDX-License-Identifier: MIT
 * moviegen votes --scores: films of a comparison with what people prefer, for stages that learn from it. */
#ifndef CLI_SCORES_H
#define CLI_SCORES_H

#include "compare.h"
#include "tally.h"

typedef struct score_params {
    const char *dir, *folder; /* of the comparison; to be written */
    const char *axes;         /* with commas between; NULL: all */
    const comparison *c;
    const vote_counts *counts; /* of axis and item */
} score_params;

typedef struct scored {
    size_t films, undecided; /* written; of these, with the score 0 */
    size_t left_out;         /* pairs without votes */
} scored;

/* For each pair with votes and each side a link to the film, its prompt and its score. The folder is there as a whole or not
 * at all. A status; mistakes are explained. */
int scores_write(const cli_command *command, const score_params *p, scored *out);

#endif
