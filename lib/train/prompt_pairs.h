/* SPDX-License-Identifier: MIT
 * What a rewriter learns from: prompts, and the captions that they are to become. Tier 7. */
#ifndef MGI_TRAIN_PROMPT_PAIRS_H
#define MGI_TRAIN_PROMPT_PAIRS_H

#include "data/world.h"
#include "train/recipe.h"

enum { MGI_PAIR_MAX = 4096 }; /* bytes of a text */

typedef struct mgi_prompt_pair {
    char prompt[MGI_PAIR_MAX + 1], caption[MGI_PAIR_MAX + 1];
} mgi_prompt_pair;

/* The toybox's, without end, or those of a file. */
typedef struct mgi_prompt_pairs {
    uint64_t seed;
    mgi_world_options world;
    double captions; /* share of the toybox's prompts that are captions */
    char **text;     /* of the file: a prompt, its caption, ...; NULL: the toybox's */
    int64_t count;   /* pairs of it, the last `held` of which are not trained on */
    int64_t held;
    uint64_t hash; /* of the file; 0: none */
} mgi_prompt_pairs;

/* Of the stage's file, lines {"prompt": ..., "caption": ...} in the recipe's folder, or of its world. CORRUPT with the line
 * that breaks a rule. */
mgen_status mgi_prompt_pairs_open(mgen_context *ctx, const mgi_stage *stage, uint64_t seed,
                                  mgi_prompt_pairs *out);
void mgi_prompt_pairs_close(mgen_context *ctx, mgi_prompt_pairs *pairs);

/* Element `i` of the training, and the i-th that is held out. */
void mgi_prompt_pairs_take(const mgi_prompt_pairs *pairs, uint64_t i, mgi_prompt_pair *out);
void mgi_prompt_pairs_hold(const mgi_prompt_pairs *pairs, int64_t i, mgi_prompt_pair *out);
/* How many are held out, of `most` that are wanted. Of few pairs none: then the first ones stand for them. */
int64_t mgi_prompt_pairs_held(const mgi_prompt_pairs *pairs, int64_t most);

#endif
