/* SPDX-License-Identifier: MIT
 * Numbers out of votes: as the report's net win rates, with intervals by bootstrap and how far raters agree. */
#ifndef CLI_TALLY_H
#define CLI_TALLY_H

#include "cli.h"

enum { VOTE_A, VOTE_TIE, VOTE_B, VOTES };

typedef struct vote_counts {
    uint32_t of[VOTES]; /* of one item and axis */
} vote_counts;

typedef enum { VERDICT_TOO_FEW, VERDICT_ON_PAR, VERDICT_MODERATE, VERDICT_SIGNIFICANT } verdict;

typedef struct tally_options {
    bool mean; /* of an item's votes, else the majority's */
    uint32_t resamples;
    uint64_t seed;
} tally_options;

/* Of A against B, in percent. Without items all are NaN. */
typedef struct tally {
    size_t items, votes;
    double win, tie, loss, net; /* net = win - loss */
    double low, high, sigma;    /* of net: 95 % interval and standard deviation */
    double agreement,
        kappa; /* 0..1 and -1..1; NaN: no item has two votes, or all votes are the same */
    verdict verdict;
} tally;

enum { RESAMPLES_MAX = 100000, VERDICT_ITEMS = 10 /* fewer resample to too small a sigma */ };

/* The answer that most votes gave; a tie if two or three are given most often. */
int vote_majority(const vote_counts *votes);

/* Of the items that have votes, among those that `chosen` names (NULL: all). False: no memory. */
bool tally_votes(const vote_counts *votes, const bool *chosen, size_t items,
                 const tally_options *options, tally *out);

#endif
