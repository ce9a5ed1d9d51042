/* SPDX-License-Identifier: MIT
 * Running one case, and the error rule of kernels/cases.h. */
#include "run.h"
#include "gpu.h"

#include "core/cpu.h"
#include "tensor/device.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS = 5, ANSWERS_SHOWN = 5 };

/* More than this part of the largest value no reference may lose by its buffers being bf16: two or
 * three roundings in a row, of 1/512 each. */
#define BF16_ERROR_MAX (1.0 / 128)

checker checker_state = {.seed = 1};

/* ---- one run ---- */

void arena_free(arena *a)
{
    for (int i = 0; i < MGK_CASE_BUFS; i++)
        guarded_free(&a->bufs[i]);
    guarded_free(&a->workspace);
}

size_t buf_bytes(const mgk_case_buf *b)
{
    return (size_t)b->count * dtype_size(b->dtype);
}

/* Make the case's buffers and let its arguments point to them. */
bool arena_make(arena *a, mgk_case *c, guarded_place place)
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
            fill_case_buf(a->bufs[i].data, b, checker_state.seed, i);
        *b->slot = (mgk_buf){a->bufs[i].data, b->dtype};
    }
    if (c->finish)
        c->finish(c);
    return true;
}

static void no_memory(void)
{
    printf("Bail out! out of memory\n");
    exit(1);
}

void arena_need(arena *a, mgk_case *c, guarded_place place)
{
    if (!arena_make(a, c, place))
        no_memory();
}

size_t workspace_bytes(const mgk_variant_info *v, const mgk_case *c, int threads)
{
    return (v->workspace ? v->workspace : mgk_ops[c->op].workspace)(c->args.bytes, threads);
}

/* Outputs keep their poison after a failure. */
static void launch_on_gpu(const mgk_variant_info *v, mgk_case *c, arena *a)
{
    if (!gpu_lend(c, a))
        no_memory();
    gpu_launch(v, c, workspace_bytes(v, c, 1));
    gpu_return(c, a);
}

void launch(const mgk_variant_info *v, mgk_case *c, arena *a, mgi_pool *pool)
{
    size_t bytes = workspace_bytes(v, c, pool ? mgi_pool_threads(pool) : 1);
    if ((v->needs & MGK_NEEDS_CUDA) && gpu_present()) {
        launch_on_gpu(v, c, a);
        return;
    }
    mgk_exec x = {.pool = pool, .workspace_bytes = bytes};
    if (bytes > 0) {
        if (!guarded_make(&a->workspace, bytes, GUARDED_ALIGNED))
            no_memory();
        memset(a->workspace.data, 0xff, bytes); /* as floats: not-a-number */
        x.workspace = a->workspace.data;
    }
    v->launch(c->args.bytes, &x);
}

/* ---- judgement ---- */

void blame(const mgk_case *c, const char *variant, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("# %s %s, case '%s%s': ", mgk_ops[c->op].name, variant, c->label, c->derived);
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
        fill_case_buf(fresh, b, checker_state.seed, i);
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

/* The largest value of a buffer that is finite; 0: it has none. */
static double largest_of(const arena *a, const mgk_case *c, int buf)
{
    double largest = 0;
    for (int64_t j = 0; j < c->bufs[buf].count; j++) {
        double value = fabs(value_at(a->bufs[buf].data, c->bufs[buf].dtype, j));
        if (isfinite(value))
            largest = fmax(largest, value);
    }
    return largest;
}

static void measure_truth(truth *t, const mgk_case *c, mgk_case *wide, const arena *values,
                          const arena *reference)
{
    *t = (truth){.wide = wide, .values = values};
    for (int i = 0; i < c->buf_count; i++) {
        if (c->bufs[i].role == MGK_CASE_IN)
            continue;
        t->largest[i] = largest_of(values, wide, i);
        t->besides[i] = (double)c->bufs[i].besides;
        for (int j = 0; j < c->buf_count && t->besides[i] > 0; j++)
            if (c->bufs[i].besides_times >> j & 1)
                t->besides[i] *= fmax(1, largest_of(values, wide, j));
        for (int64_t j = 0; j < c->bufs[i].count; j++) {
            double value = value_at(values->bufs[i].data, wide->bufs[i].dtype, j);
            double error = fabs(value_at(reference->bufs[i].data, c->bufs[i].dtype, j) - value);
            if (wide != c && isfinite(value) && isfinite(error))
                t->reference_error[i] = fmax(t->reference_error[i], error);
        }
    }
}

/* Half of the last bit of a value in bf16. */
static double half_bit_bf16(double value)
{
    int exponent;
    frexp(value, &exponent);
    return value > 0 ? ldexp(1, exponent - 9) : 0;
}

/* Gradient ops sum more often and may be wrong by more. */
static double error_limit(const mgk_case *c, const mgk_variant_info *v, const truth *t, int buf)
{
    const bool loose = c->loose_variants && mgi_kernel_listed(c->loose_variants, v->name);
    const char *grad = strstr(mgk_ops[c->op].name, "_grad");
    double factor = grad && (grad[5] == '_' || grad[5] == 0) ? 3 : 2;
    double rounding = factor * t->reference_error[buf];
    if (c->bufs[buf].dtype == MGK_BF16)
        rounding = fmax(rounding, half_bit_bf16(t->largest[buf]));
    return rounding + (double)(loose ? c->loose : c->tolerance) * t->largest[buf] + t->besides[buf];
}

static bool close_to(const mgk_case *c, const mgk_variant_info *v, const truth *t, const arena *got)
{
    int wrong = 0;
    for (int i = 0; i < c->buf_count; i++) {
        const mgk_case_buf *b = &c->bufs[i];
        const void *w = t->values->bufs[i].data, *g = got->bufs[i].data;
        double limit = error_limit(c, v, t, i);
        if (b->role == MGK_CASE_IN)
            continue;
        for (int64_t j = 0; j < b->count && wrong < ANSWERS_SHOWN; j++) {
            double x = value_at(w, t->wide->bufs[i].dtype, j), y = value_at(g, b->dtype, j);
            if (!*c->derived && b->role == MGK_CASE_OUT && is_poison(g, b->dtype, j)) {
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

bool asked_for(const mgk_variant_info *v)
{
    return !checker_state.only_variants || mgi_kernel_listed(checker_state.only_variants, v->name);
}

bool usable(const mgk_variant_info *v)
{
    uint32_t here = mgi_cpu_features() | MGI_CPU_BF16_DOTS; /* whether they pay or not */
    if (!v->launch || !asked_for(v))
        return false;
#ifdef MGK_CUDA_EMULATED
    here |= MGK_NEEDS_CUDA | MGK_NEEDS_SM90;
#endif
    if (gpu_present())
        here |= MGK_NEEDS_CUDA | (gpu_is_hopper() ? MGK_NEEDS_SM90 : 0);
    if ((v->needs & MGK_NEEDS_CUDNN) && gpu_present() && gpu_dnn())
        here |= MGK_NEEDS_CUDNN;
    return (here & v->needs) == v->needs;
}

static bool run_variant(mgk_case *c, const mgk_variant_info *v, const truth *t)
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
        snprintf(checker_state.now, sizeof checker_state.now, "%s %s, case '%s', %s",
                 mgk_ops[c->op].name, v->name, c->label, runs[i].how);
        arena_need(a, c, runs[i].place);
        launch(v, c, a, checker_state.pools[runs[i].pool]);
        good = zones_and_inputs_intact(c, v, a);
        if (i == 0 || (runs[i].place != GUARDED_ALIGNED && gpu_times(v)))
            good = close_to(c, v, t, a) && good;
        else
            good = same_bits(c, v, &first, a, runs[i].how) && good;
        if (i > 0)
            arena_free(a);
    }
    arena_free(&first);
    return good;
}

int first_variant(int op)
{
    int i = 0;
    while (mgk_variants[i].op != op)
        i++;
    return i;
}

void case_copy(mgk_case *to, const mgk_case *from)
{
    *to = *from;
    for (int i = 0; i < to->buf_count; i++)
        to->bufs[i].slot =
            (mgk_buf *)((uint8_t *)to + ((uint8_t *)from->bufs[i].slot - (const uint8_t *)from));
}

/* The same case with f32 buffers in the place of bf16 ones. */
static void widen(mgk_case *wide, const mgk_case *c)
{
    case_copy(wide, c);
    for (int i = 0; i < c->buf_count; i++) {
        mgk_case_buf *b = &wide->bufs[i];
        b->widened = b->dtype == MGK_BF16;
        if (b->widened)
            b->dtype = MGK_F32;
    }
}

bool has_bf16(const mgk_case *c)
{
    for (int i = 0; i < c->buf_count; i++)
        if (c->bufs[i].dtype == MGK_BF16)
            return true;
    return false;
}

static void run_reference(arena *a, mgk_case *c, const char *how)
{
    const mgk_variant_info *ref = &mgk_variants[first_variant(c->op)];
    snprintf(checker_state.now, sizeof checker_state.now, "%s %s, case '%s%s'%s",
             mgk_ops[c->op].name, ref->name, c->label, c->derived, how);
    arena_need(a, c, GUARDED_ALIGNED);
    launch(ref, c, a, NULL);
}

/* The truth of a case with bf16 buffers. A reference that is far from it is no measure of others. */
static bool run_wide(mgk_case *wide, arena *values, truth *t, const mgk_case *c,
                     const arena *reference)
{
    const char *why = NULL;
    widen(wide, c);
    arena_need(values, wide, GUARDED_ALIGNED);
    bool legal = mgk_ops[c->op].check(wide->args.bytes, &why);
    arena_free(values);
    if (!legal) {
        blame(c, "check", "refuses the case with f32 in the place of bf16: %s", why ? why : "");
        return false;
    }
    run_reference(values, wide, ", widened to f32");
    measure_truth(t, c, wide, values, reference);
    for (int i = 0; i < c->buf_count; i++) {
        double limit = fmax((double)c->tolerance, BF16_ERROR_MAX) * t->largest[i];
        if (!(t->reference_error[i] <= limit)) {
            blame(c, "ref", "buffer %d is wrong by %.3g, more than %.3g, for being bf16", i,
                  t->reference_error[i], limit);
            arena_free(values);
            return false;
        }
    }
    return true;
}

static void run_variants(mgk_case *c, const truth *t, tally *variants)
{
    for (int i = 0; i < mgk_variant_count; i++) {
        const mgk_variant_info *v = &mgk_variants[i];
        if (v->op != c->op || !usable(v))
            continue;
        variants[i].cases++;
        if (!run_variant(c, v, t))
            variants[i].failures++;
    }
}

void run_legal(mgk_case *c, tally *variants)
{
    static mgk_case wide;
    arena reference, values;
    truth t;
    tally *ref = &variants[first_variant(c->op)];
    run_reference(&reference, c, "");
    if (!has_bf16(c)) {
        measure_truth(&t, c, c, &reference, &reference);
        run_variants(c, &t, variants);
    } else if (run_wide(&wide, &values, &t, c, &reference)) {
        run_variants(c, &t, variants);
        arena_free(&values);
    } else {
        ref->cases++;
        ref->failures++;
    }
    arena_free(&reference);
}
