/* SPDX-License-Identifier: MIT
 * checkkernel: every variant of every op on every case of its folder.
 *
 * Legal arguments must be accepted, illegal ones refused with a reason. A variant runs serially and
 * on pools of 1, 2 and 3 threads, its buffers now aligned, now tight against a forbidden page. All
 * runs must give the same bits, close to the truth (kernels/cases.h), leave inputs and guard zones
 * alone and write all of every output. Checks see each field of legal arguments changed; what they
 * accept is run, too (refuse.c). Gradient references are compared with finite differences
 * (gradients.c).
 *
 *   checkkernel [--op NAME] [--case TEXT] [--seed N] [--cases N] [--variant NAMES]   prints TAP; N cases of each op
 *   checkkernel --list                   the variants that this machine can run (of those of --variant), one a line
 *   checkkernel --bench [--chosen] [--op NAME] [--case TEXT] [--variant NAMES] [--json FILE]   times instead (bench.c)
 */
#include "bench.h"
#include "gradients.h"
#include "refuse.h"
#include "run.h"
#include "fields.h"

#include "core/philox.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER(name) MGK_CASES(name);
#include "folders.h"
#undef FOLDER

static const struct {
    const char *name;
    mgk_cases_fn *cases;
} folders[] = {
#define FOLDER(name) {#name, mgk_##name##_cases},
#include "folders.h"
#undef FOLDER
};

enum { FOLDERS = sizeof folders / sizeof folders[0], VARIANTS_MAX = 512 };

enum { CASES_EACH = 80 }; /* enough for all fields and sizes to be seen */

static struct {
    const char *only_op, *only_case, *json;
    bool bench, chosen_only, list;
    uint64_t cases_each; /* of an op with more of them, some are drawn by the seed */
    tally variants[VARIANTS_MAX], refusals[MGK_OP_COUNT];
    int part, parts; /* folders part, part + parts, ... from 1 on are run */
    int tests, failures;
} state = {.cases_each = CASES_EACH, .part = 1, .parts = 1};

/* ---- one case ---- */

/* Legal changes of a case whose buffers are made. */
static void run_derived(const mgk_case *c)
{
    static mgk_case derived;
    for (int at = 0; derive_case(&derived, c, &at);) {
        note_sizes(&derived);
        run_legal(&derived, state.variants);
    }
}

static void run_case(mgk_case *c)
{
    arena a;
    const char *why = NULL;
    if (state.only_op && strcmp(state.only_op, mgk_ops[c->op].name))
        return;
    if (state.only_case && !strstr(c->label, state.only_case))
        return;
    snprintf(checker_state.now, sizeof checker_state.now, "%s check, case '%s'",
             mgk_ops[c->op].name, c->label);
    arena_need(&a, c, GUARDED_ALIGNED);
    bool accepted = mgk_ops[c->op].check(c->args.bytes, &why);
    if (accepted && !c->illegal) {
        refuse_try(c);
        run_derived(c);
    }
    arena_free(&a);
    tally *t = &state.refusals[c->op];
    t->cases += c->illegal;
    if (c->illegal && accepted) {
        blame(c, "check", "illegal arguments were accepted");
        t->failures++;
    } else if (c->illegal && (!why || !*why)) {
        blame(c, "check", "illegal arguments were refused without a reason");
        t->failures++;
    } else if (!c->illegal && !accepted) {
        blame(c, "check", "legal arguments were refused: %s", why ? why : "no reason given");
        t->failures++;
    } else if (!c->illegal) {
        note_sizes(c);
        run_legal(c, state.variants);
        gradient_try(c);
    }
}

/* ---- report ---- */

static void report(bool good, const char *skip, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void report(bool good, const char *skip, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    state.tests++;
    state.failures += !good;
    printf("%sok %d - ", good ? "" : "not ", state.tests);
    vprintf(format, args);
    printf("%s%s\n", skip ? " # SKIP " : "", skip ? skip : "");
    va_end(args);
    fflush(stdout);
}

/* Of each op the first cases, which are the smallest, are run whatever is drawn. */
enum { ALWAYS = 2 };

/* Whether so many cases are run that each rule about an op must have met one. */
static bool complete(void)
{
    return !state.only_case && state.cases_each >= CASES_EACH;
}

static void report_gradient(int op)
{
    int cases = 0, failures = 0;
    bool listed = gradient_result(op, &cases, &failures);
    if (!listed && !is_gradient(op))
        return;
    if (!listed)
        printf("# %s: add it to the table in tests/kernels/gradients.c\n", mgk_ops[op].name);
    report(listed && failures == 0 && (cases > 0 || !complete()), NULL,
           "%s ref: %d cases agree with finite differences", mgk_ops[op].name, cases - failures);
}

static void report_op(int op)
{
    const char *name = mgk_ops[op].name;
    if (state.only_op && strcmp(state.only_op, name))
        return;
    tally *t = &state.refusals[op];
    t->failures += refuse_report(op, complete());
    report(t->failures == 0 && (t->cases > 0 || state.only_case), NULL,
           "%s check: %d illegal arguments and %d kinds of changes refused", name, t->cases,
           refuse_count(op));
    report_gradient(op);
    for (int i = 0; i < mgk_variant_count; i++) {
        const mgk_variant_info *v = &mgk_variants[i];
        if (v->op != op || !asked_for(v))
            continue;
        t = &state.variants[i];
        if (!usable(v))
            report(true,
                   v->needs & MGK_NEEDS_SM90    ? "needs a GPU of compute capability 9.0"
                   : v->needs & MGK_NEEDS_CUDNN ? "needs a GPU and cuDNN"
                   : v->needs & MGK_NEEDS_CUDA  ? "needs a GPU and a build with CUDA"
                                                : "this processor cannot run it",
                   "%s %s", name, v->name);
        else
            report(t->failures == 0 && (t->cases > 0 || state.only_case), NULL,
                   "%s %s: %d of %d cases", name, v->name, t->cases - t->failures, t->cases);
    }
}

/* Says which case crashed or was ended, as one that hangs is, then lets it happen. */
static void on_crash(int number)
{
    static const char crashed[] = "# crashed (touched a forbidden page? divided by 0?) in ";
    static const char ended[] = "# ended in ";
    const char *text = number == SIGTERM ? ended : crashed;
    if (write(STDOUT_FILENO, text, strlen(text)) < 0 ||
        write(STDOUT_FILENO, checker_state.now, strlen(checker_state.now)) < 0 ||
        write(STDOUT_FILENO, "\n", 1) < 0)
        _exit(1);
    signal(number, SIG_DFL);
    raise(number);
}

static bool read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--bench"))
            state.bench = true;
        else if (!strcmp(argv[i], "--chosen"))
            state.chosen_only = true;
        else if (!strcmp(argv[i], "--list"))
            state.list = true;
        else if (!strcmp(argv[i], "--json") && more)
            state.json = argv[++i];
        else if (!strcmp(argv[i], "--op") && more)
            state.only_op = argv[++i];
        else if (!strcmp(argv[i], "--case") && more)
            state.only_case = argv[++i];
        else if (!strcmp(argv[i], "--variant") && more)
            checker_state.only_variants = argv[++i];
        else if (!strcmp(argv[i], "--cases") && more)
            state.cases_each = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--part") && more) {
            if (sscanf(argv[++i], "%d/%d", &state.part, &state.parts) != 2 || state.part < 1 ||
                state.part > state.parts)
                return false;
        } else if (!strcmp(argv[i], "--seed") && more)
            checker_state.seed = strtoull(argv[++i], NULL, 10);
        else
            return false;
    }
    return true;
}

static int list_variants(void)
{
    for (int i = 0; i < mgk_variant_count; i++)
        if (usable(&mgk_variants[i]))
            printf("%s %s\n", mgk_ops[mgk_variants[i].op].name, mgk_variants[i].name);
    return 0;
}

static void run_folder(int folder)
{
    static mgk_case c;
    int legal[MGK_OP_COUNT] = {0}, seen[MGK_OP_COUNT] = {0};
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0;; i++) {
            memset(&c, 0, sizeof c);
            c.tolerance = 1e-5f;
            if (!folders[folder].cases(&c, i, checker_state.seed))
                break;
            uint64_t draw =
                mgi_random_u32(checker_state.seed, 8000 + (uint64_t)folder, (uint64_t)i);
            if (pass == 0)
                legal[c.op] += !c.illegal;
            else if (c.illegal || state.only_case || seen[c.op]++ < ALWAYS ||
                     draw % (uint64_t)(legal[c.op] + 1) < state.cases_each)
                run_case(&c);
        }
    for (int op = 0; op < MGK_OP_COUNT; op++)
        if (!strcmp(mgk_ops[op].folder, folders[folder].name))
            report_op(op);
}

int main(int argc, char **argv)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    if (!read_options(argc, argv) || mgk_variant_count > VARIANTS_MAX) {
        fprintf(stderr, "usage: checkkernel [--op NAME] [--case TEXT] [--seed N] [--cases N] "
                        "[--variant NAMES] [--part K/N] [--list]\n"
                        "       checkkernel --bench [--chosen] [--op NAME] [--case TEXT] "
                        "[--variant NAMES] [--json FILE]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was found is printed before a crash */
    if (state.list)
        return list_variants();
    if (state.bench)
        return bench_run(state.only_op, state.only_case, state.json, state.chosen_only);
    params.threads = 1;
    if (mgi_context_init(&ctx, &params) != MGEN_OK)
        return 1;
    for (int i = 1; i < CHECKER_POOLS; i++)
        if (mgi_pool_create(ctx, i, &checker_state.pools[i]) != MGEN_OK)
            return 1;
    signal(SIGSEGV, on_crash);
    signal(SIGBUS, on_crash);
    signal(SIGFPE, on_crash);
    signal(SIGILL, on_crash);
    signal(SIGTERM, on_crash);
    printf("# seed %llu\n", (unsigned long long)checker_state.seed);
    report(fields_complete(), NULL, "the fields of all argument structs are listed");
    for (int f = 0; f < FOLDERS; f++)
        if (f % state.parts == state.part - 1)
            run_folder(f);
    printf("1..%d\n", state.tests);
    for (int i = 1; i < CHECKER_POOLS; i++)
        mgi_pool_destroy(ctx, checker_state.pools[i]);
    mgi_context_free(ctx);
    return state.failures != 0;
}
