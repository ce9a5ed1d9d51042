/* SPDX-License-Identifier: MIT
 * Net win rates and what they are worth. */
#include "tally.h"
#include "compare.h"

#include <math.h>
#include <stdlib.h>

int vote_majority(const vote_counts *votes)
{
    const uint32_t a = votes->of[VOTE_A], tie = votes->of[VOTE_TIE], b = votes->of[VOTE_B];
    return a > tie && a > b ? VOTE_A : b > tie && b > a ? VOTE_B : VOTE_TIE;
}

static size_t count_votes(const vote_counts *votes)
{
    return (size_t)votes->of[VOTE_A] + votes->of[VOTE_TIE] + votes->of[VOTE_B];
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the two nearest of sorted values. */
static double quantile(const double *sorted, size_t count, double share)
{
    const double at = share * (double)(count - 1);
    const size_t below = (size_t)at;
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

/* What the net win rate would have been with items drawn from these, again and again. */
static bool bootstrap(const double *values, const tally_options *o, tally *out)
{
    double *nets = malloc(o->resamples * sizeof *nets), mean = 0, square = 0;
    uint64_t state = o->seed;
    if (!nets)
        return false;
    for (uint32_t r = 0; r < o->resamples; r++) {
        double sum = 0;
        for (size_t i = 0; i < out->items; i++)
            sum += values[random_below(&state, out->items)];
        nets[r] = 100 * sum / (double)out->items;
        mean += nets[r] / o->resamples;
    }
    for (uint32_t r = 0; r < o->resamples; r++)
        square += (nets[r] - mean) * (nets[r] - mean) / o->resamples;
    qsort(nets, o->resamples, sizeof *nets, by_value);
    out->sigma = sqrt(square);
    out->low = quantile(nets, o->resamples, 0.025);
    out->high = quantile(nets, o->resamples, 0.975);
    free(nets);
    return true;
}

/* Fleiss' kappa, of items that may have different numbers of votes: those of at least two. The answers of chance are those of
 * all these votes. */
static void agree(const vote_counts *votes, const bool *chosen, size_t items, tally *out)
{
    double sum = 0, answers[VOTES] = {0}, all = 0, chance = 0;
    size_t rated = 0;
    for (size_t i = 0; i < items; i++) {
        const double n = (double)count_votes(&votes[i]);
        double pairs = 0;
        if (n < 2 || (chosen && !chosen[i]))
            continue;
        for (int k = 0; k < VOTES; k++) {
            const double same = votes[i].of[k];
            pairs += same * (same - 1);
            answers[k] += same;
        }
        sum += pairs / (n * (n - 1));
        all += n;
        rated++;
    }
    for (int k = 0; k < VOTES && rated; k++)
        chance += answers[k] / all * (answers[k] / all);
    out->agreement = rated ? sum / (double)rated : NAN;
    out->kappa = rated && chance < 1 ? (out->agreement - chance) / (1 - chance) : NAN;
}

/* The report's rubric. */
static verdict judge(const tally *t)
{
    const double size = fabs(t->net);
    if (t->items < VERDICT_ITEMS)
        return VERDICT_TOO_FEW;
    return size > 2 * t->sigma ? VERDICT_SIGNIFICANT
           : size > t->sigma   ? VERDICT_MODERATE
                               : VERDICT_ON_PAR;
}

bool tally_votes(const vote_counts *votes, const bool *chosen, size_t items,
                 const tally_options *options, tally *out)
{
    double *values = malloc((items + 1) * sizeof *values), shares[VOTES] = {0};
    *out = (tally){.items = 0};
    if (!values)
        return false;
    for (size_t i = 0; i < items; i++) {
        const size_t n = count_votes(&votes[i]);
        const int most = vote_majority(&votes[i]);
        double own[VOTES];
        if (!n || (chosen && !chosen[i]))
            continue;
        for (int k = 0; k < VOTES; k++) {
            own[k] = options->mean ? (double)votes[i].of[k] / (double)n : k == most;
            shares[k] += own[k];
        }
        values[out->items++] = own[VOTE_A] - own[VOTE_B];
        out->votes += n;
    }
    const double scale = out->items ? 100 / (double)out->items : NAN;
    out->win = scale * shares[VOTE_A];
    out->tie = scale * shares[VOTE_TIE];
    out->loss = scale * shares[VOTE_B];
    out->net = out->win - out->loss;
    out->low = out->high = out->sigma = NAN;
    bool fine = !out->items || bootstrap(values, options, out);
    agree(votes, chosen, items, out);
    out->verdict = judge(out);
    free(values);
    return fine;
}
