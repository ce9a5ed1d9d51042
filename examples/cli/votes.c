/* SPDX-License-Identifier: MIT
 * moviegen votes: what people said of the films of moviegen compare, un-blinded and counted. */
#include "scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct votes_options {
    const char *scores, *score_axes;
    tally_options tally;
    bool no_tags, json;
} votes_options;

/* ---- votes that were read ---- */

typedef struct seen_vote { /* a slot of a hash table */
    uint64_t key;          /* rater, item and axis, + 1; 0: free */
    uint32_t file;
    unsigned long line;
} seen_vote;

typedef struct ballot {
    const cli_command *command;
    const comparison *c;
    const char *const *files;
    name_list ids, raters;
    vote_counts *counts; /* of axis and item */
    seen_vote *seen;
    size_t slots, votes;
    size_t places[3]; /* left, tie, right */
} ballot;

static const char *const answers[3] = {"left", "tie", "right"};

static bool no_memory(const cli_command *command)
{
    complain(command, "out of memory");
    return false;
}

static seen_vote *slot_of(seen_vote *slots, size_t count, uint64_t key)
{
    size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (count - 1);
    while (slots[at].key && slots[at].key != key)
        at = (at + 1) & (count - 1);
    return &slots[at];
}

/* Where such a vote is noted. NULL: no memory. */
static seen_vote *find_seen(ballot *b, uint64_t key)
{
    if (2 * (b->votes + 1) > b->slots) {
        size_t slots = b->slots ? 2 * b->slots : 1024;
        seen_vote *seen = calloc(slots, sizeof *seen);
        if (!seen)
            return NULL;
        for (size_t i = 0; i < b->slots; i++)
            if (b->seen[i].key)
                *slot_of(seen, slots, b->seen[i].key) = b->seen[i];
        free(b->seen);
        b->seen = seen;
        b->slots = slots;
    }
    return slot_of(b->seen, b->slots, key);
}

/* ---- a file of them ---- */

enum { RATER, ITEM, AXIS, VOTE, COMPARISON, COLUMNS };
static const char *const columns[COLUMNS] = {"rater", "item", "axis", "vote", "comparison"};

static bool wrong_axis(const ballot *b, const csv_reader *r, const char *axis)
{
    char where[COMPARE_PATH];
    snprintf(where, sizeof where, "'%s' line %lu", r->path, r->line);
    return axes_refuse(b->command, &b->c->axes, where, axis);
}

/* A vote that is written as it should be. */
static bool count_vote(ballot *b, const csv_reader *r, uint32_t file, const char *name, size_t item,
                       size_t axis, int answer)
{
    const comparison *c = b->c;
    long rater = names_add(&b->raters, name);
    if (rater == NAME_NONE)
        return no_memory(b->command);
    const uint64_t key = ((uint64_t)rater * c->items.count + item) * c->axes.count + axis + 1;
    seen_vote *seen = find_seen(b, key);
    if (!seen)
        return no_memory(b->command);
    if (seen->key) {
        complain(b->command,
                 "'%s' line %lu: '%s' voted on %s, axis %s before, in '%s' line %lu; keep one of "
                 "the two",
                 r->path, r->line, name, c->items.items[item].id, c->axes.axes[axis].id,
                 b->files[seen->file], seen->line);
        return false;
    }
    *seen = (seen_vote){.key = key, .file = file, .line = r->line};
    vote_counts *counts = &b->counts[axis * c->items.count + item];
    const bool swapped = c->items.items[item].swapped;
    counts->of[answer == 1 ? VOTE_TIE : (answer == 0) != swapped ? VOTE_A : VOTE_B]++;
    b->places[answer]++;
    b->votes++;
    return true;
}

static bool read_vote(ballot *b, csv_reader *r, uint32_t file, const int at[COLUMNS], size_t fields)
{
    if (r->count != fields) {
        complain(b->command, "'%s' line %lu has %zu fields, its header %zu", r->path, r->line,
                 r->count, fields);
        return false;
    }
    const char *item = r->fields[at[ITEM]], *axis = r->fields[at[AXIS]];
    const char *vote = r->fields[at[VOTE]];
    const long item_number = names_find(&b->ids, item), axis_number = axes_find(&b->c->axes, axis);
    int answer = 0;
    while (answer < 3 && strcmp(vote, answers[answer]) != 0)
        answer++;
    if (at[COMPARISON] >= 0 && strcmp(r->fields[at[COMPARISON]], b->c->id) != 0)
        complain(b->command, "'%s' line %lu is a vote of another comparison, '%s', not '%s'",
                 r->path, r->line, r->fields[at[COMPARISON]], b->c->id);
    else if (!*r->fields[at[RATER]])
        complain(b->command, "'%s' line %lu does not say who the rater is", r->path, r->line);
    else if (item_number == NAME_NONE)
        complain(b->command, "'%s' line %lu: no item '%s' in this comparison", r->path, r->line,
                 item);
    else if (axis_number == NAME_NONE)
        return wrong_axis(b, r, axis);
    else if (answer == 3)
        complain(b->command, "'%s' line %lu: the vote is '%s'; it must be left, tie or right",
                 r->path, r->line, vote);
    else {
        return count_vote(b, r, file, r->fields[at[RATER]], (size_t)item_number,
                          (size_t)axis_number, answer);
    }
    return false;
}

static bool read_header(const ballot *b, const csv_reader *r, int at[COLUMNS])
{
    for (int i = 0; i < COLUMNS; i++) {
        at[i] = csv_column(r, columns[i]);
        if (at[i] < 0 && i != COMPARISON) {
            complain(b->command,
                     "'%s' line %lu has no column '%s'; votes have rater, item, axis and vote",
                     r->path, r->line, columns[i]);
            return false;
        }
    }
    return true;
}

static bool read_file(ballot *b, uint32_t file)
{
    csv_reader r;
    int at[COLUMNS], more = csv_open(&r, b->command, b->files[file]) ? csv_next(&r) : -1;
    if (more == 0)
        complain(b->command, "'%s' is empty", b->files[file]);
    bool fine = more > 0 && read_header(b, &r, at);
    const size_t fields = fine ? r.count : 0;
    while (fine && (more = csv_next(&r)) > 0)
        fine = read_vote(b, &r, file, at, fields);
    csv_close(&r);
    return fine && more == 0;
}

static bool ballot_read(ballot *b, uint32_t files)
{
    const item_list *items = &b->c->items;
    b->counts = calloc(items->count * b->c->axes.count + 1, sizeof *b->counts);
    bool fine = b->counts != NULL;
    for (size_t i = 0; i < items->count && fine; i++)
        fine = names_add(&b->ids, items->items[i].id) == (long)i;
    if (!fine) {
        complain(b->command, "out of memory, or the key has an item twice");
        return false;
    }
    for (uint32_t i = 0; i < files; i++)
        if (!read_file(b, i))
            return false;
    if (!b->votes)
        complain(b->command, "there is no vote in '%s'%s", b->files[0],
                 files > 1 ? " and the others" : "");
    return b->votes > 0;
}

static void ballot_free(ballot *b)
{
    names_free(&b->ids);
    names_free(&b->raters);
    free(b->counts);
    free(b->seen);
}

/* ---- told ---- */

static const char *const verdicts[] = {"too few", "on par", "moderate", "significant"};

static void print_row(const compare_axis *axis, const tally *t)
{
    static const char *const words[] = {"too few pairs", "on par", "moderately better",
                                        "significantly better"};
    char kappa[16] = "-", agreement[16] = "-";
    if (isfinite(t->agreement))
        snprintf(agreement, sizeof agreement, "%.2f", t->agreement);
    if (isfinite(t->kappa))
        snprintf(kappa, sizeof kappa, "%.2f", t->kappa);
    printf("%-22s %6zu %7zu %7.2f %7.2f %7.2f %+8.2f  %+7.2f .. %+7.2f %6.2f %6s %6s  %s%s\n",
           axis->id, t->items, t->votes, t->win, t->tie, t->loss, t->net, t->low, t->high, t->sigma,
           agreement, kappa,
           t->verdict < VERDICT_MODERATE ? ""
           : t->net > 0                  ? "A "
                                         : "B ",
           words[t->verdict]);
}

static void print_json_row(const compare_axis *axis, const tally *t)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"win", t->win},    {"tie", t->tie},   {"loss", t->loss},   {"net", t->net},
        {"low", t->low},    {"high", t->high}, {"sigma", t->sigma}, {"agreement", t->agreement},
        {"kappa", t->kappa}};
    printf("{\"axis\":");
    json_string(stdout, axis->id);
    printf(",\"items\":%zu,\"votes\":%zu", t->items, t->votes);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        printf(",\"%s\":", numbers[i].name);
        json_number(stdout, numbers[i].value);
    }
    printf(",\"verdict\":\"%s\"}", verdicts[t->verdict]);
}

/* Of all axes, for the items that are chosen (NULL: all). */
static bool print_axes(const ballot *b, const votes_options *o, const bool *chosen)
{
    const size_t items = b->c->items.count;
    bool first = true;
    if (o->json)
        printf("[");
    else
        printf("%-22s %6s %7s %7s %7s %7s %8s  %18s %6s %6s %6s  %s\n", "axis", "pairs", "votes",
               "win %", "tie %", "loss %", "net win", "95 % interval", "sigma", "agree", "kappa",
               "verdict");
    for (size_t i = 0; i < b->c->axes.count; i++) {
        tally t;
        if (!tally_votes(b->counts + i * items, chosen, items, &o->tally, &t))
            return no_memory(b->command);
        if (!t.items)
            continue;
        if (o->json && !first)
            printf(",");
        first = false;
        if (o->json)
            print_json_row(&b->c->axes.axes[i], &t);
        else
            print_row(&b->c->axes.axes[i], &t);
    }
    if (o->json)
        printf("]");
    return true;
}

/* Whether `tag` is one of the list, which has commas between, and perhaps blanks behind them. */
static bool has_tag(const char *list, const char *tag)
{
    const size_t length = strlen(tag);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        at += strspn(at, " ");
        size_t own = strcspn(at, ",");
        while (own && at[own - 1] == ' ')
            own--;
        if (own == length && !strncmp(at, tag, length))
            return true;
    }
    return false;
}

/* All that occur in a column, in order. */
static bool list_tags(const item_list *items, size_t column, name_list *out)
{
    for (size_t i = 0; i < items->count; i++) {
        char *copy = strdup(items->items[i].tags[column]), *rest = copy;
        bool fine = copy != NULL;
        for (char *at; fine && (at = strsep(&rest, ","));) {
            at += strspn(at, " ");
            for (size_t end = strlen(at); end && at[end - 1] == ' ';)
                at[--end] = 0;
            fine = !*at || names_add(out, at) != NAME_NONE;
        }
        free(copy);
        if (!fine)
            return false;
    }
    return true;
}

static bool print_tag(const ballot *b, const votes_options *o, size_t column, const char *tag,
                      bool *chosen, bool first)
{
    const item_list *items = &b->c->items;
    size_t count = 0;
    for (size_t i = 0; i < items->count; i++)
        count += chosen[i] = has_tag(items->items[i].tags[column], tag);
    if (o->json) {
        printf("%s{\"column\":", first ? "" : ",");
        json_string(stdout, items->columns.names[column]);
        printf(",\"tag\":");
        json_string(stdout, tag);
        printf(",\"items\":%zu,\"axes\":", count);
    } else {
        printf("\n%s: %s, %zu pairs\n", items->columns.names[column], tag, count);
    }
    bool fine = print_axes(b, o, chosen);
    if (o->json)
        printf("}");
    return fine;
}

static bool print_tags(const ballot *b, const votes_options *o)
{
    const item_list *items = &b->c->items;
    bool *chosen = calloc(items->count + 1, sizeof *chosen), fine = chosen != NULL, first = true;
    for (size_t column = 0; column < items->columns.count && fine; column++) {
        name_list tags = {.count = 0};
        fine = list_tags(items, column, &tags);
        for (size_t i = 0; i < tags.count && fine; i++) {
            fine = print_tag(b, o, column, tags.names[i], chosen, first);
            first = false;
        }
        names_free(&tags);
    }
    free(chosen);
    return fine ? true : no_memory(b->command);
}

/* Pairs and axes that have fewer votes than the report takes. */
static size_t count_short(const ballot *b)
{
    size_t few = 0;
    for (size_t i = 0; i < b->c->axes.count; i++)
        for (size_t k = 0; k < b->c->items.count; k++) {
            const vote_counts *v = &b->counts[i * b->c->items.count + k];
            few += v->of[VOTE_A] + v->of[VOTE_TIE] + v->of[VOTE_B] < b->c->axes.axes[i].votes;
        }
    return few;
}

static void print_scored(const votes_options *o, const scored *s)
{
    printf("\nwrote %s: %zu films with scores", o->scores, s->films);
    if (s->left_out)
        printf("; %zu pair%s without votes %s left out", s->left_out, s->left_out > 1 ? "s" : "",
               s->left_out > 1 ? "are" : "is");
    printf("\n");
    if (s->undecided == s->films)
        printf("all scores are 0: there is nothing to learn from them\n");
}

static bool print_text(const ballot *b, const votes_options *o, const scored *s)
{
    const comparison *c = b->c;
    const double all = (double)b->votes / 100;
    printf("A: %s\nB: %s\n", c->names[0], c->names[1]);
    printf("raters: %zu, votes: %zu; the left film %.1f %%, no difference %.1f %%, the right film "
           "%.1f %%\n",
           b->raters.count, b->votes, (double)b->places[0] / all, (double)b->places[1] / all,
           (double)b->places[2] / all);
    printf("%s of each pair's votes; intervals and sigma by %u resamples of pairs, seed %llu\n\n",
           o->tally.mean ? "the mean" : "the majority", o->tally.resamples,
           (unsigned long long)o->tally.seed);
    if (!print_axes(b, o, NULL) || (!o->no_tags && !print_tags(b, o)))
        return false;
    const size_t few = count_short(b), wanted = c->items.count * c->axes.count;
    if (few)
        printf("\n%zu of %zu questions have fewer votes than the report's 3 (realness and "
               "aesthetics: 6)\n",
               few, wanted);
    if (o->scores)
        print_scored(o, s);
    return true;
}

static bool print_json(const ballot *b, const votes_options *o, const scored *s)
{
    const comparison *c = b->c;
    printf("{\"comparison\":\"%s\",\"a\":", c->id);
    json_string(stdout, c->names[0]);
    printf(",\"b\":");
    json_string(stdout, c->names[1]);
    printf(",\"items\":%zu,\"raters\":%zu,\"votes\":%zu,\"left\":%zu,\"tie\":%zu,\"right\":%zu,"
           "\"short\":%zu,\"method\":\"%s\",\"resamples\":%u,\"seed\":%llu,\"axes\":",
           c->items.count, b->raters.count, b->votes, b->places[0], b->places[1], b->places[2],
           count_short(b), o->tally.mean ? "mean" : "majority", o->tally.resamples,
           (unsigned long long)o->tally.seed);
    bool fine = print_axes(b, o, NULL);
    printf(",\"tags\":[");
    fine = fine && (o->no_tags || print_tags(b, o));
    printf("]");
    if (o->scores)
        printf(",\"scored\":%zu,\"undecided\":%zu,\"left_out\":%zu", s->films, s->undecided,
               s->left_out);
    printf("}\n");
    return fine;
}

static int run_ballot(const cli_command *self, const votes_options *o, const comparison *c,
                      const char *const *words, int count)
{
    ballot b = {.command = self, .c = c, .files = words + 1};
    scored s = {.films = 0};
    int result = ballot_read(&b, (uint32_t)count - 1) ? STATUS_DONE : STATUS_ERROR;
    if (result == STATUS_DONE && o->scores) {
        const score_params p = {.dir = words[0],
                                .folder = o->scores,
                                .axes = o->score_axes,
                                .c = c,
                                .counts = b.counts};
        result = scores_write(self, &p, &s);
    }
    if (result == STATUS_DONE && !(o->json ? print_json(&b, o, &s) : print_text(&b, o, &s)))
        result = STATUS_ERROR;
    ballot_free(&b);
    return result;
}

static int run(const cli_command *self, int argc, char **argv)
{
    votes_options o = {.tally = {.resamples = 1000, .seed = DEFAULT_SEED}};
    const cli_option table[] = {
        {"--mean", NULL, OPTION_FLAG, &o.tally.mean, 0, 0, NULL,
         "the mean of a pair's votes counts, as the report has it for sound (default: the "
         "majority)"},
        {"--no-tags", NULL, OPTION_FLAG, &o.no_tags, 0, 0, NULL, "of all pairs alone"},
        {"--resamples", NULL, OPTION_U32, &o.tally.resamples, 10, RESAMPLES_MAX, "N",
         "times that pairs are drawn anew (default: 1000)"},
        {"--seed", NULL, OPTION_U64, &o.tally.seed, 0, 0, "N", "of these draws (default: 1)"},
        {"--scores", NULL, OPTION_TEXT, &o.scores, 0, 0, "FOLDER",
         "also write a folder for 'moviegen train --data': films of pairs with votes, prompts, and "
         "scores from -1 to 1"},
        {"--score-axes", NULL, OPTION_TEXT, &o.score_axes, 0, 0, "NAMES",
         "whose votes make the scores (default: all axes')"},
        OPTION_JSON(&o.json),
        OPTION_END,
    };
    const char **words = calloc((size_t)argc + 1, sizeof *words);
    comparison c = {.id = ""};
    int count;
    if (!words) {
        complain(self, "out of memory");
        return STATUS_ERROR;
    }
    int result = options_parse(self, table, argc, argv, words, argc, &count);
    if (result == OPTIONS_OK && count < 2) {
        complain(self, "%s is missing; usage: moviegen votes %s", count ? "CSV" : "DIR",
                 self->usage);
        result = STATUS_USAGE;
    }
    if (result == OPTIONS_OK && o.score_axes && !o.scores) {
        complain(self, "--score-axes is for --scores FOLDER, which is missing");
        result = STATUS_USAGE;
    }
    if (result == OPTIONS_OK)
        result = key_read(self, words[0], &c);
    else
        count = 0;
    if (count && result == STATUS_DONE)
        result = run_ballot(self, &o, &c, words, count);
    comparison_free(&c);
    free(words);
    return result;
}

const cli_command command_votes = {
    "votes", "count what people said of compared models", "DIR CSV [CSV ...] [options]",
    "DIR is what 'moviegen compare' wrote, with key.csv and settings.csv, CSV what raters sent "
    "back:\n"
    "columns rater, item, axis and vote (left, tie or right). Of each axis it prints how often A "
    "won and\n"
    "lost against B, the difference, and the report's verdict: beyond two sigma significant, "
    "within one on par.",
    run};
