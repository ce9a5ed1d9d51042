/* SPDX-License-Identifier: MIT
 * checkkernel: every variant of every op on every case of its folder.
 *
 * Legal arguments must be accepted, illegal ones refused with a reason. A variant runs serially and
 * on pools of 1, 2 and 3 threads, its buffers now aligned, now tight against a forbidden page. All
 * runs must give the same bits, close to the truth (kernels/cases.h), leave inputs and guard zones
 * alone and write all of every output.
 *
 *   checkkernel [--op NAME] [--case TEXT] [--seed N] [--bench]     prints TAP
 */
#include "guarded.h"

#include "core/cpu.h"
#include "core/pool.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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

enum { FOLDERS = sizeof folders / sizeof folders[0], VARIANTS_MAX = 512, RUNS = 5, POOLS = 4 };
enum { ANSWERS_SHOWN = 5, SLOTS = 2048 / 8, SLOT_TRIED = 1, SLOT_REFUSED = 2 };

/* More than this part of the largest value no reference may lose by its buffers being bf16: two or
 * three roundings in a row, of 1/512 each. */
#define BF16_ERROR_MAX (1.0 / 128)

typedef struct tally {
    int cases, failures;
} tally;

static struct {
    const char *only_op, *only_case;
    uint64_t seed;
    bool bench;
    mgi_pool *pools[POOLS]; /* [0] NULL: serial */
    tally variants[VARIANTS_MAX], refusals[MGK_OP_COUNT];
    uint8_t slots[MGK_OP_COUNT][SLOTS]; /* SLOT_*: of the args, each 8 bytes */
    int tests, failures;
    char now[256]; /* what runs, for the message of a crash */
} state = {.seed = 1};

/* The buffers of one run. */
typedef struct arena {
    guarded bufs[MGK_CASE_BUFS], workspace;
} arena;

/* ---- one run ---- */

static void arena_free(arena *a)
{
    for (int i = 0; i < MGK_CASE_BUFS; i++)
        guarded_free(&a->bufs[i]);
    guarded_free(&a->workspace);
}

static size_t buf_bytes(const mgk_case_buf *b)
{
    return (size_t)b->count * dtype_size(b->dtype);
}

/* Make the case's buffers and let its arguments point to them. */
static bool arena_make(arena *a, mgk_case *c, guarded_place place)
{
    memset(a, 0, sizeof *a);
    for (int i = 0; i < c->buf_count; i++) {
        mgk_case_buf *b = &c->bufs[i];
        if (!guarded_make(&a->bufs[i], buf_bytes(b), place)) {
            arena_free(a);
            return false;
        }
        if (b->role == MGK_CASE_OUT)
            poison(a->bufs[i].data, b->dtype, b->count);
        else
            fill_values(a->bufs[i].data, b, state.seed, 100 + (uint64_t)i);
        *b->slot = (mgk_buf){a->bufs[i].data, b->dtype};
    }
    if (c->finish)
        c->finish(c);
    return true;
}

static bool launch(const mgk_variant_info *v, mgk_case *c, arena *a, mgi_pool *pool)
{
    int threads = pool ? mgi_pool_threads(pool) : 1;
    size_t bytes = mgk_ops[c->op].workspace(c->args.bytes, threads);
    mgk_exec x = {.pool = pool, .workspace_bytes = bytes};
    if (bytes > 0) {
        if (!guarded_make(&a->workspace, bytes, GUARDED_ALIGNED))
            return false;
        memset(a->workspace.data, 0xff, bytes); /* as floats: not-a-number */
        x.workspace = a->workspace.data;
    }
    v->launch(c->args.bytes, &x);
    return true;
}

/* ---- judgement ---- */

static void blame(const mgk_case *c, const char *variant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void blame(const mgk_case *c, const char *variant, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("# %s %s, case '%s': ", mgk_ops[c->op].name, variant, c->label);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

static bool zones_and_inputs_intact(const mgk_case *c, const mgk_variant_info *v, const arena *a)
{
    bool good = true;
    for (int i = 0; i < c->buf_count; i++) {
        const mgk_case_buf *b = &c->bufs[i];
        if (!guarded_intact(&a->bufs[i])) {
            blame(c, v->name, "wrote outside buffer %d", i);
            good = false;
        }
        if (b->role != MGK_CASE_IN)
            continue;
        uint8_t *fresh = malloc(buf_bytes(b) + 1);
        if (!fresh)
            return false;
        fill_values(fresh, b, state.seed, 100 + (uint64_t)i);
        if (memcmp(fresh, a->bufs[i].data, buf_bytes(b)) != 0) {
            blame(c, v->name, "changed input buffer %d", i);
            good = false;
        }
        free(fresh);
    }
    if (a->workspace.map && !guarded_intact(&a->workspace)) {
        blame(c, v->name, "wrote outside its workspace of %zu bytes", a->workspace.bytes);
        good = false;
    }
    return good;
}

static bool same_bits(const mgk_case *c, const mgk_variant_info *v, const arena *first,
                      const arena *again, const char *how)
{
    bool good = true;
    for (int i = 0; i < c->buf_count; i++)
        if (memcmp(first->bufs[i].data, again->bufs[i].data, buf_bytes(&c->bufs[i])) != 0) {
            blame(c, v->name, "buffer %d differs between a serial run and a run %s", i, how);
            good = false;
        }
    return good;
}

static bool value_good(double want, double got, double limit)
{
    if (!isfinite(want) || !isfinite(got))
        return isnan(want) ? isnan(got) : want == got;
    return fabs(want - got) <= limit;
}

/* What a case is judged by: the reference run with every bf16 buffer widened to f32, and how far from
 * it the reference ends with the buffers as they are, for each buffer. */
typedef struct truth {
    const arena *values;
    double largest[MGK_CASE_BUFS], reference_error[MGK_CASE_BUFS];
} truth;

static void measure_truth(truth *t, const mgk_case *c, const mgk_case *wide, const arena *values,
                          const arena *reference)
{
    *t = (truth){.values = values};
    for (int i = 0; i < c->buf_count; i++) {
        if (c->bufs[i].role == MGK_CASE_IN)
            continue;
        for (int64_t j = 0; j < c->bufs[i].count; j++) {
            double value = value_at(values->bufs[i].data, wide->bufs[i].dtype, j);
            double error = fabs(value_at(reference->bufs[i].data, c->bufs[i].dtype, j) - value);
            if (!isfinite(value))
                continue;
            t->largest[i] = fmax(t->largest[i], fabs(value));
            if (wide != c && isfinite(error))
                t->reference_error[i] = fmax(t->reference_error[i], error);
        }
    }
}

/* Gradient ops sum more often and may be wrong by more. */
static double error_limit(const mgk_case *c, const truth *t, int buf)
{
    const char *grad = strstr(mgk_ops[c->op].name, "_grad");
    double factor = grad && (grad[5] == '_' || grad[5] == 0) ? 3 : 2;
    return factor * t->reference_error[buf] + (double)c->tolerance * t->largest[buf];
}

static bool close_to(const mgk_case *c, const mgk_variant_info *v, const mgk_case *wide,
                     const truth *t, const arena *got)
{
    int wrong = 0;
    for (int i = 0; i < c->buf_count; i++) {
        const mgk_case_buf *b = &c->bufs[i];
        const void *w = t->values->bufs[i].data, *g = got->bufs[i].data;
        double limit = error_limit(c, t, i);
        if (b->role == MGK_CASE_IN)
            continue;
        for (int64_t j = 0; j < b->count && wrong < ANSWERS_SHOWN; j++) {
            double x = value_at(w, wide->bufs[i].dtype, j), y = value_at(g, b->dtype, j);
            if (b->role == MGK_CASE_OUT && is_poison(g, b->dtype, j)) {
                blame(c, v->name, "buffer %d element %lld was not written", i, (long long)j);
                wrong++;
            } else if (!value_good(x, y, limit)) {
                blame(c, v->name, "buffer %d element %lld is %.9g, should be %.9g within %.3g", i,
                      (long long)j, y, x, limit);
                wrong++;
            }
        }
    }
    return wrong == 0;
}

/* ---- one case ---- */

static bool usable(const mgk_variant_info *v)
{
    return v->launch && (mgi_cpu_features() & v->needs) == v->needs;
}

static bool run_variant(mgk_case *c, const mgk_variant_info *v, const mgk_case *wide,
                        const truth *t)
{
    static const struct {
        int pool;
        guarded_place place;
        const char *how;
    } runs[RUNS] = {
        {0, GUARDED_ALIGNED, "serially"},
        {1, GUARDED_TIGHT, "on 1 thread, with other alignment"},
        {2, GUARDED_ALIGNED, "on 2 threads"},
        {3, GUARDED_TIGHT, "on 3 threads, with other alignment"},
        {2, GUARDED_ALIGNED, "on 2 threads, repeated"},
    };
    arena first, again;
    bool good = true;
    /* References are slow, and most are serial: a serial run and one on 3 threads. */
    int step = strcmp(v->name, "ref") ? 1 : 3;
    for (int i = 0; i < RUNS && good; i += step) {
        arena *a = i == 0 ? &first : &again;
        snprintf(state.now, sizeof state.now, "%s %s, case '%s', %s", mgk_ops[c->op].name, v->name,
                 c->label, runs[i].how);
        if (!arena_make(a, c, runs[i].place) || !launch(v, c, a, state.pools[runs[i].pool])) {
            printf("Bail out! out of memory\n");
            exit(1);
        }
        good = zones_and_inputs_intact(c, v, a);
        if (i == 0)
            good = close_to(c, v, wide, t, a) && good;
        else
            good = same_bits(c, v, &first, a, runs[i].how) && good;
        if (i > 0)
            arena_free(a);
    }
    arena_free(&first);
    return good;
}

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best time of a run over about 50 ms, on one thread. */
static void bench_variant(mgk_case *c, const mgk_variant_info *v)
{
    arena a;
    double best = INFINITY, bytes = 0;
    if (!arena_make(&a, c, GUARDED_ALIGNED) || !launch(v, c, &a, NULL))
        exit(1);
    mgk_exec x = {.workspace = a.workspace.data, .workspace_bytes = a.workspace.bytes};
    for (double end = now_seconds() + 0.05; now_seconds() < end;) {
        double start = now_seconds();
        v->launch(c->args.bytes, &x);
        best = fmin(best, now_seconds() - start);
    }
    for (int i = 0; i < c->buf_count; i++)
        bytes += (double)buf_bytes(&c->bufs[i]);
    printf("# %-20s %-9s %10.2f us %8.2f GB/s  %s\n", mgk_ops[c->op].name, v->name, best * 1e6,
           bytes / best * 1e-9, c->label);
    arena_free(&a);
}

/* The same case with f32 buffers in the place of bf16 ones. */
static void widen(mgk_case *wide, const mgk_case *c)
{
    *wide = *c;
    for (int i = 0; i < c->buf_count; i++) {
        mgk_case_buf *b = &wide->bufs[i];
        b->slot = (mgk_buf *)((uint8_t *)wide + ((uint8_t *)c->bufs[i].slot - (const uint8_t *)c));
        if (b->dtype == MGK_BF16) {
            b->dtype = MGK_F32;
            b->widened = true;
        }
        b->slot->dtype = b->dtype;
    }
}

static bool has_bf16(const mgk_case *c)
{
    for (int i = 0; i < c->buf_count; i++)
        if (c->bufs[i].dtype == MGK_BF16)
            return true;
    return false;
}

static void run_reference(arena *a, mgk_case *c, const mgk_variant_info *ref, const char *how)
{
    snprintf(state.now, sizeof state.now, "%s %s, case '%s'%s", mgk_ops[c->op].name, ref->name,
             c->label, how);
    if (!arena_make(a, c, GUARDED_ALIGNED) || !launch(ref, c, a, NULL)) {
        printf("Bail out! out of memory\n");
        exit(1);
    }
}

/* The truth of a case with bf16 buffers. A reference that is far from it is no measure of others. */
static bool run_wide(mgk_case *wide, arena *values, truth *t, const mgk_case *c,
                     const arena *reference, const mgk_variant_info *ref)
{
    const char *why = NULL;
    widen(wide, c);
    if (!arena_make(values, wide, GUARDED_ALIGNED))
        return false;
    bool legal = mgk_ops[c->op].check(wide->args.bytes, &why);
    arena_free(values);
    if (!legal) {
        blame(c, "check", "refuses the case with f32 in the place of bf16: %s", why ? why : "");
        return false;
    }
    run_reference(values, wide, ref, ", widened to f32");
    measure_truth(t, c, wide, values, reference);
    for (int i = 0; i < c->buf_count; i++) {
        double limit = fmax((double)c->tolerance, BF16_ERROR_MAX) * t->largest[i];
        if (!(t->reference_error[i] <= limit)) {
            blame(c, ref->name, "buffer %d is wrong by %.3g, more than %.3g, for being bf16", i,
                  t->reference_error[i], limit);
            arena_free(values);
            return false;
        }
    }
    return true;
}

static void run_variants(mgk_case *c, const mgk_case *wide, const truth *t)
{
    for (int i = 0; i < mgk_variant_count; i++) {
        const mgk_variant_info *v = &mgk_variants[i];
        if (v->op != c->op || !usable(v))
            continue;
        state.variants[i].cases++;
        if (state.bench)
            bench_variant(c, v);
        else if (!run_variant(c, v, wide, t))
            state.variants[i].failures++;
    }
}

static void run_legal(mgk_case *c)
{
    static mgk_case wide;
    arena reference, values;
    truth t;
    int first = 0;
    while (mgk_variants[first].op != c->op)
        first++;
    const mgk_variant_info *ref = &mgk_variants[first];
    run_reference(&reference, c, ref, "");
    /* Conversion to bf16 is what convert is for: its reference is the truth. */
    if (!has_bf16(c) || c->op == MGK_OP_convert) {
        measure_truth(&t, c, c, &reference, &reference);
        run_variants(c, c, &t);
    } else if (run_wide(&wide, &values, &t, c, &reference, ref)) {
        run_variants(c, &wide, &t);
        arena_free(&values);
    } else {
        state.variants[first].cases++;
        state.variants[first].failures++;
    }
    arena_free(&reference);
}

/* A dtype that nobody knows must be refused wherever an argument names a buffer; in some case of the
 * op at least, as there are buffers that only some kinds of it look at. */
static void check_dtypes(mgk_case *c)
{
    for (int i = 0; i < c->buf_count; i++) {
        mgk_case_buf *b = &c->bufs[i];
        const char *why = NULL;
        const uint8_t *slot = (const uint8_t *)b->slot;
        if (slot < c->args.bytes || slot >= c->args.bytes + sizeof c->args)
            continue;
        uint8_t *seen = &state.slots[c->op][(slot - c->args.bytes) / 8];
        b->slot->dtype = 99;
        *seen |=
            mgk_ops[c->op].check(c->args.bytes, &why) || !why || !*why ? SLOT_TRIED : SLOT_REFUSED;
        b->slot->dtype = b->dtype;
    }
}

static void report_dtypes(int op)
{
    tally *t = &state.refusals[op];
    for (size_t i = 0; i < SLOTS; i++) {
        t->cases += state.slots[op][i] != 0;
        if (state.slots[op][i] == SLOT_TRIED) {
            printf("# %s check: an unknown dtype of the buffer at byte %zu is never refused\n",
                   mgk_ops[op].name, 8 * i);
            t->failures++;
        }
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
    if (!arena_make(&a, c, GUARDED_ALIGNED)) {
        printf("Bail out! out of memory\n");
        exit(1);
    }
    snprintf(state.now, sizeof state.now, "%s check, case '%s'", mgk_ops[c->op].name, c->label);
    bool accepted = mgk_ops[c->op].check(c->args.bytes, &why);
    if (accepted && !c->illegal)
        check_dtypes(c);
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
        run_legal(c);
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

static void report_op(int op)
{
    const char *name = mgk_ops[op].name;
    if (state.only_op && strcmp(state.only_op, name))
        return;
    report_dtypes(op);
    report(state.refusals[op].failures == 0 && (state.refusals[op].cases > 0 || state.only_case),
           NULL, "%s check: %d kinds of illegal arguments refused", name, state.refusals[op].cases);
    for (int i = 0; i < mgk_variant_count; i++) {
        const mgk_variant_info *v = &mgk_variants[i];
        if (v->op != op)
            continue;
        const tally *t = &state.variants[i];
        if (!usable(v))
            report(true, "this processor cannot run it", "%s %s", name, v->name);
        else
            report(t->failures == 0 && (t->cases > 0 || state.only_case), NULL,
                   "%s %s: %d of %d cases", name, v->name, t->cases - t->failures, t->cases);
    }
}

/* Says which case crashed, then lets the crash happen. */
static void on_crash(int number)
{
    static const char text[] = "# crashed (a forbidden page was touched?) in ";
    if (write(STDOUT_FILENO, text, sizeof text - 1) < 0 ||
        write(STDOUT_FILENO, state.now, strlen(state.now)) < 0 || write(STDOUT_FILENO, "\n", 1) < 0)
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
        else if (!strcmp(argv[i], "--op") && more)
            state.only_op = argv[++i];
        else if (!strcmp(argv[i], "--case") && more)
            state.only_case = argv[++i];
        else if (!strcmp(argv[i], "--seed") && more)
            state.seed = strtoull(argv[++i], NULL, 10);
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static mgk_case c;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    if (!read_options(argc, argv) || mgk_variant_count > VARIANTS_MAX) {
        fprintf(stderr, "usage: checkkernel [--op NAME] [--case TEXT] [--seed N] [--bench]\n");
        return 2;
    }
    params.threads = 1;
    if (mgi_context_init(&ctx, &params) != MGEN_OK)
        return 1;
    for (int i = 1; i < POOLS; i++)
        if (mgi_pool_create(ctx, i, &state.pools[i]) != MGEN_OK)
            return 1;
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was found is printed before a crash */
    signal(SIGSEGV, on_crash);
    signal(SIGBUS, on_crash);
    printf("# seed %llu\n", (unsigned long long)state.seed);
    for (int f = 0; f < FOLDERS; f++) {
        for (int i = 0;; i++) {
            memset(&c, 0, sizeof c);
            c.tolerance = 1e-5f;
            if (!folders[f].cases(&c, i, state.seed))
                break;
            run_case(&c);
        }
        for (int op = 0; op < MGK_OP_COUNT; op++)
            if (!strcmp(mgk_ops[op].folder, folders[f].name))
                report_op(op);
    }
    printf("1..%d\n", state.tests);
    for (int i = 1; i < POOLS; i++)
        mgi_pool_destroy(ctx, state.pools[i]);
    mgi_context_free(ctx);
    return state.failures != 0;
}
