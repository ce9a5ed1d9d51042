/* SPDX-License-Identifier: MIT
 * checkkernel --bench: best times on one thread, beside the least time that the machine's peaks allow. */
#include "bench.h"
#include "gpu.h"

#include "core/cpu.h"
#include "kernels/flops.h"
#include "run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Values are repeated after this many: enough for time, and quick to make. */
enum { PATTERN = 1 << 16, RUNS_MIN = 3, RUNS_MAX = 200 };
static const double seconds_each = 0.12;

typedef struct output {
    FILE *json;
    int lines;
    machine_peak peak; /* all 0: not measured */
    bool chosen_only;
} output;

static void fill_pattern(uint8_t *data, const mgk_case_buf *b)
{
    mgk_case_buf part = *b;
    size_t have = buf_bytes(b), done = 0;
    part.count = b->count < PATTERN ? b->count : PATTERN;
    fill_values(data, &part, checker_state.seed, 100);
    for (done = buf_bytes(&part); done < have && done > 0; done *= 2)
        memcpy(data + done, data, done < have - done ? done : have - done);
}

static bool make(arena *a, mgk_case *c)
{
    memset(a, 0, sizeof *a);
    for (int i = 0; i < c->buf_count; i++) {
        mgk_case_buf *b = &c->bufs[i];
        if (!guarded_make(&a->bufs[i], buf_bytes(b), GUARDED_ALIGNED)) {
            arena_free(a);
            return false;
        }
        fill_pattern(a->bufs[i].data, b);
        *b->slot = (mgk_buf){a->bufs[i].data, b->dtype};
    }
    if (c->finish)
        c->finish(c);
    return true;
}

/* What must be read and written at least. */
static void traffic(const mgk_case *c, double *in, double *out)
{
    *in = *out = 0;
    for (int i = 0; i < c->buf_count; i++) {
        double bytes = (double)buf_bytes(&c->bufs[i]);
        *in += c->bufs[i].role == MGK_CASE_OUT ? 0 : bytes;
        *out += c->bufs[i].role == MGK_CASE_IN ? 0 : bytes;
    }
}

/* Whether most of what is written lies where it was read, as an optimizer's moments do. */
static bool in_place(const mgk_case *c)
{
    double both = 0, in, out;
    traffic(c, &in, &out);
    for (int i = 0; i < c->buf_count; i++)
        both += c->bufs[i].role == MGK_CASE_INOUT ? (double)buf_bytes(&c->bufs[i]) : 0;
    return 2 * both > out;
}

static bool on_gpu(const mgk_variant_info *v)
{
    return (v->needs & MGK_NEEDS_CUDA) && gpu_present();
}

/* The case's buffers stay lent from one variant of the GPU to the next: what they hold does not matter. */
static double best_time(const mgk_variant_info *v, mgk_case *c, arena *a, bool *lent)
{
    double best = INFINITY, start = now_seconds();
    if (on_gpu(v)) {
        if (!*lent && !gpu_lend(c, a)) {
            gpu_return(c, a);
            return INFINITY;
        }
        *lent = true;
        return gpu_time(v, c, workspace_bytes(v, c, 1));
    }
    if (*lent)
        gpu_return(c, a);
    *lent = false;
    launch(v, c, a, NULL);
    mgk_exec x = {.workspace = a->workspace.data, .workspace_bytes = a->workspace.bytes};
    for (int i = 0; i < RUNS_MAX && (i < RUNS_MIN || now_seconds() - start < seconds_each); i++) {
        double before = now_seconds();
        v->launch(c->args.bytes, &x);
        best = fmin(best, now_seconds() - before);
    }
    guarded_free(&a->workspace);
    return best;
}

static void print_line(output *o, const mgk_variant_info *v, const mgk_case *c, double seconds)
{
    double flops = mgk_flops(c->op, c->args.bytes), in, out, bytes;
    traffic(c, &in, &out);
    bytes = in + out;
    char shares[80] = ""; /* of this processor's peaks: of no meaning for a GPU */
    bool narrow = has_bf16(c) || c->op == MGK_OP_matmul_fp8;
    double most = narrow ? fmax(o->peak.bf16, o->peak.f32) : o->peak.f32;
    const bool inside = in_place(c);
    double compute = flops / most, copy = bytes / (inside ? o->peak.in_place : o->peak.copy);
    double streams = fmax(in / o->peak.read, out / o->peak.write);
    if (o->peak.f32 > 0 && !on_gpu(v))
        snprintf(shares, sizeof shares, "%4.0f%% of %-8s %4.0f%% of streams  ",
                 100 * fmax(compute, copy) / seconds,
                 compute > copy ? "compute"
                 : inside       ? "in place"
                                : "copying",
                 100 * streams / seconds);
    printf("# %-20s %-10s %10.1f us %7.1f GB/s %7.1f GFLOP/s %s%s\n", mgk_ops[c->op].name, v->name,
           seconds * 1e6, bytes / seconds * 1e-9, flops / seconds * 1e-9, shares, c->label);
    if (o->json) {
        fprintf(o->json,
                "%s    {\"op\": \"%s\", \"variant\": \"%s\", \"case\": \"%s\", \"seconds\": %.9g, "
                "\"bytes\": %.0f, \"in\": %.0f, \"flops\": %.0f, \"inside\": %s}",
                o->lines++ ? ",\n" : "", mgk_ops[c->op].name, v->name, c->label, seconds, bytes, in,
                flops, inside ? "true" : "false");
        fflush(o->json); /* what was timed stays, if the next one hangs and is ended */
    }
}

/* Usable, and no variant that the library would pass by. */
static bool chosen(const mgk_variant_info *v)
{
    return usable(v) &&
           (checker_state.only_variants || !(v->needs & MGI_CPU_BF16_DOTS & ~mgi_cpu_features()));
}

/* Whether no variant but the GPU's, and references, which are not timed, can be asked for. */
static bool gpu_only(const char *only_op)
{
    int others = 0;
    for (int i = 0; i < mgk_variant_count; i++)
        others += (!only_op || !strcmp(only_op, mgk_ops[mgk_variants[i].op].name)) &&
                  usable(&mgk_variants[i]) && first_variant(mgk_variants[i].op) != i &&
                  !on_gpu(&mgk_variants[i]);
    return gpu_present() && others == 0;
}

/* Of the processor, what variants that may be asked for use. */
static uint32_t features_asked_for(void)
{
    uint32_t needs = 0;
    for (int i = 0; i < mgk_variant_count; i++)
        if (usable(&mgk_variants[i]))
            needs |= mgk_variants[i].needs;
    return needs & mgi_cpu_features();
}

static void bench_one(output *o, mgk_case *c)
{
    arena a;
    bool lent = false;
    const char *why = "no memory";
    int first = first_variant(c->op), end = first;
    while (end < mgk_variant_count && mgk_variants[end].op == c->op)
        end++;
    if (!make(&a, c)) {
        printf("# %-20s no memory for %s\n", mgk_ops[c->op].name, c->label);
        return;
    }
    if (mgk_ops[c->op].check(c->args.bytes, &why)) {
        /* References are slow, and nobody's choice where there is another variant. */
        int from = end > first + 1 ? first + 1 : first, last = end - 1;
        while (last > first && !(o->chosen_only ? chosen : usable)(&mgk_variants[last]))
            last--;
        for (int i = o->chosen_only ? last : from; i <= last; i++)
            if (usable(&mgk_variants[i]))
                print_line(o, &mgk_variants[i], c, best_time(&mgk_variants[i], c, &a, &lent));
    } else {
        printf("# %-20s refuses %s: %s\n", mgk_ops[c->op].name, c->label, why);
    }
    arena_free(&a);
}

int bench_run(const char *only_op, const char *only_case, const char *json_path, bool chosen_only)
{
    static mgk_case c;
    output o = {.chosen_only = chosen_only};
    if (!gpu_only(only_op))
        o.peak = measure_peak(features_asked_for());
    if (o.peak.f32 > 0)
        printf("# one thread: %.1f GFLOP/s f32, %.1f GFLOP/s bf16, %.1f GB/s copying, %.1f "
               "fetching far "
               "ahead, %.1f in place, %.1f reading, %.1f writing\n",
               o.peak.f32 * 1e-9, o.peak.bf16 * 1e-9, o.peak.copy * 1e-9, o.peak.copy_far * 1e-9,
               o.peak.in_place * 1e-9, o.peak.read * 1e-9, o.peak.write * 1e-9);
    if (json_path) {
        o.json = fopen(json_path, "w");
        if (!o.json) {
            perror(json_path);
            return 1;
        }
        fprintf(o.json,
                "{\"f32\": %.4g, \"bf16\": %.4g, \"copy\": %.4g, \"in_place\": %.4g, "
                "\"read\": %.4g, \"write\": %.4g, \"times\": [\n",
                o.peak.f32, o.peak.bf16, o.peak.copy, o.peak.in_place, o.peak.read, o.peak.write);
    }
    for (int i = 0; bench_case(&c, i); i++)
        if ((!only_op || !strcmp(only_op, mgk_ops[c.op].name)) &&
            (!only_case || strstr(c.label, only_case)))
            bench_one(&o, &c);
    if (o.json) {
        fprintf(o.json, "\n]}\n");
        if (fclose(o.json) != 0)
            return 1;
    }
    return 0;
}
