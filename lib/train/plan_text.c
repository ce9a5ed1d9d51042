/* SPDX-License-Identifier: MIT */
#include "train/plan_text.h"

#include "core/alloc.h"
#include "dist/sharding_plan.h"
#include "io/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const recomputes[] = {[MGI_RECOMPUTE_NONE] = "none",
                                         [MGI_RECOMPUTE_SELECTIVE] = "selective",
                                         [MGI_RECOMPUTE_FULL] = "full"};
static const char *const modes[] = {[MGI_CP_GATHER] = "gather", [MGI_CP_EXCHANGE] = "exchange"};
static const char *const axes[] = {
    [MGI_AXIS_DP] = "dp",       [MGI_AXIS_CP] = "cp",       [MGI_AXIS_TP] = "tp",
    [MGI_AXIS_MODEL] = "model", [MGI_AXIS_SHARD] = "shard", [MGI_AXIS_REPLICA] = "replica",
    [MGI_AXIS_WORLD] = "world",
};
static const char *const links[] = {[MGI_LINK_NVLINK] = "nvlink", [MGI_LINK_NETWORK] = "network"};

const char *mgi_plan_recompute_name(int recompute)
{
    return recomputes[recompute];
}

const char *mgi_plan_time_name(mgi_plan_time time)
{
    static const char *const names[] = {
        [MGI_PLAN_PEAK] = "arithmetic_at_peak",
        [MGI_PLAN_KERNELS] = "kernels_below_peak",
        [MGI_PLAN_RECOMPUTE] = "recomputation",
        [MGI_PLAN_MEMORY] = "memory_bound",
        [MGI_PLAN_OPTIMIZER_STEP] = "optimizer",
        [MGI_PLAN_WAIT_TP] = "waiting_tp",
        [MGI_PLAN_WAIT_CP] = "waiting_cp",
        [MGI_PLAN_WAIT_SHARDS] = "waiting_shards",
        [MGI_PLAN_WAIT_REPLICAS] = "waiting_replicas",
        [MGI_PLAN_WAIT_OTHERS] = "waiting_others",
    };
    return names[time];
}

const char *mgi_plan_memory_name(mgi_plan_memory memory)
{
    static const char *const names[] = {
        [MGI_PLAN_WEIGHTS] = "weights",     [MGI_PLAN_COMPUTE] = "compute_copies",
        [MGI_PLAN_GRADIENTS] = "gradients", [MGI_PLAN_MOMENTS] = "optimizer",
        [MGI_PLAN_GATHERED] = "gathered",   [MGI_PLAN_ACTIVATIONS] = "activations",
        [MGI_PLAN_FLOW] = "flow",           [MGI_PLAN_WORKSPACE] = "workspace",
        [MGI_PLAN_ALLOCATOR] = "allocator", [MGI_PLAN_RESERVE] = "reserve",
    };
    return names[memory];
}

void mgi_plan_times(const mgi_mesh_plan *p, const mgi_mesh_request *r, double out[MGI_PLAN_TIMES])
{
    double peak = (r->step.dtype == MGK_BF16 ? r->gpu.tflops : r->gpu.tflops_f32) * 1e12;
    double model = p->model_flops / r->gpus / peak;
    double done = fmax(p->rank_flops / peak, model); /* the first layers' inputs want no gradient */
    out[MGI_PLAN_PEAK] = model;
    out[MGI_PLAN_RECOMPUTE] = done - model;
    out[MGI_PLAN_KERNELS] = p->busy[MGI_CLOCK_PRODUCTS] + p->busy[MGI_CLOCK_ATTENTION] - done;
    out[MGI_PLAN_MEMORY] = p->busy[MGI_CLOCK_MEMORY];
    out[MGI_PLAN_OPTIMIZER_STEP] = p->busy[MGI_CLOCK_OPTIMIZER];
    out[MGI_PLAN_WAIT_TP] = p->exposed[MGI_AXIS_TP];
    out[MGI_PLAN_WAIT_CP] = p->exposed[MGI_AXIS_CP];
    out[MGI_PLAN_WAIT_SHARDS] = p->exposed[MGI_AXIS_SHARD];
    out[MGI_PLAN_WAIT_REPLICAS] = p->exposed[MGI_AXIS_REPLICA];
    out[MGI_PLAN_WAIT_OTHERS] =
        p->exposed[MGI_AXIS_DP] + p->exposed[MGI_AXIS_MODEL] + p->exposed[MGI_AXIS_WORLD];
}

const char *mgi_plan_limit(const mgi_mesh_plan *p, const mgi_mesh_request *r)
{
    double times[MGI_PLAN_TIMES];
    int most = MGI_PLAN_RECOMPUTE;
    mgi_plan_times(p, r, times);
    for (int i = MGI_PLAN_RECOMPUTE; i < MGI_PLAN_TIMES; i++)
        if (times[i] > times[most])
            most = i;
    return p->fits ? mgi_plan_time_name((mgi_plan_time)most) : "memory";
}

static double all_links(const double bytes[MGI_LINKS])
{
    return bytes[MGI_LINK_NVLINK] + bytes[MGI_LINK_NETWORK];
}

/* ---- JSON ---- */

static void put_mesh(mgi_json_writer *w, const mgi_mesh_plan *p)
{
    mgi_json_open(w, "mesh", '{');
    mgi_json_put_int(w, "dp", p->mesh.dp);
    mgi_json_put_int(w, "cp", p->mesh.cp);
    mgi_json_put_int(w, "tp", p->mesh.tp);
    mgi_json_put_int(w, "shard", p->mesh.shard);
    mgi_json_close(w, '}');
    mgi_json_put_string(w, "recompute", recomputes[p->recompute]);
    mgi_json_put_string(w, "cp_mode", modes[p->cp]);
}

static void put_figures(mgi_json_writer *w, const mgi_mesh_plan *p, const mgi_mesh_request *r)
{
    mgi_json_put_int(w, "samples_per_rank", p->samples);
    mgi_json_put_int(w, "passes", p->passes);
    mgi_json_put_int(w, "global_batch", p->global_batch);
    mgi_json_put_int(w, "memory_per_rank_bytes", (int64_t)p->memory_bytes);
    mgi_json_put_bool(w, "fits", p->fits);
    mgi_json_put_real(w, "step_seconds", p->seconds);
    mgi_json_put_real(w, "mfu", p->mfu);
    mgi_json_put_real(w, "exposed_comm_seconds", p->exposed_seconds);
    mgi_json_put_string(w, "limit", mgi_plan_limit(p, r));
}

static void put_bytes(mgi_json_writer *w, const char *name, const mgi_mesh_plan *p, int link)
{
    mgi_json_open(w, name, '{');
    for (int i = 0; i < MGI_COMM_OPS; i++) {
        double bytes = link < 0 ? all_links(p->bytes[i]) : p->bytes[i][link];
        if (i <= MGI_COMM_REDUCE_SCATTER || bytes > 0.0)
            mgi_json_put_int(w, mgi_comm_op_name((mgi_comm_op)i), (int64_t)bytes);
    }
    mgi_json_close(w, '}');
}

static void put_gpu(mgi_json_writer *w, const mgi_gpu *g)
{
    const char *name;
    double value;
    mgi_json_open(w, "assumed", '{');
    for (int i = 0; (name = mgi_gpu_number(g, i, &value)); i++)
        mgi_json_put_real(w, name, value);
    mgi_json_close(w, '}');
}

static const char *event_name(const mgi_clock_event *e)
{
    return e->op >= 0 ? mgk_ops[e->op].name : mgi_comm_op_name(e->comm);
}

static void put_timeline(mgi_json_writer *w, const mgi_mesh_plan *p)
{
    mgi_json_open(w, "timeline", '[');
    for (int64_t i = 0; i < p->event_count; i++) {
        const mgi_clock_event *e = &p->events[i];
        mgi_json_open(w, NULL, '{');
        mgi_json_put_string(w, "pass", e->backward ? "backward" : "forward");
        mgi_json_put_string(w, "stream", e->op >= 0 ? "compute" : axes[e->axis]);
        mgi_json_put_string(w, "what", e->wait ? "wait" : event_name(e));
        mgi_json_put_real(w, "begin", e->begin);
        mgi_json_put_real(w, "end", e->end);
        mgi_json_put_real(w, "size", e->size);
        if (e->m) {
            mgi_json_put_int(w, "m", e->m);
            mgi_json_put_int(w, "n", e->n);
            mgi_json_put_int(w, "k", e->k);
        }
        mgi_json_close(w, '}');
    }
    mgi_json_close(w, ']');
}

static void put_plan(mgi_json_writer *w, const mgi_mesh_plan *p, const mgi_mesh_request *r)
{
    double times[MGI_PLAN_TIMES];
    mgi_plan_times(p, r, times);
    put_mesh(w, p);
    put_figures(w, p, r);
    mgi_json_open(w, "memory", '{');
    for (int i = 0; i < MGI_PLAN_MEMORIES; i++)
        mgi_json_put_int(w, mgi_plan_memory_name((mgi_plan_memory)i), (int64_t)p->memory[i]);
    mgi_json_close(w, '}');
    mgi_json_put_real(w, "flops_per_step", p->model_flops);
    mgi_json_put_real(w, "flops_of_rank", p->rank_flops);
    mgi_json_open(w, "seconds", '{');
    for (int i = 0; i < MGI_PLAN_TIMES; i++)
        mgi_json_put_real(w, mgi_plan_time_name((mgi_plan_time)i), times[i]);
    mgi_json_close(w, '}');
    put_bytes(w, "bytes", p, -1);
    mgi_json_open(w, "bytes_by_link", '{');
    for (int i = 0; i < MGI_LINKS; i++)
        put_bytes(w, links[i], p, i);
    mgi_json_close(w, '}');
}

mgen_status mgi_plan_json(mgen_context *ctx, const char *preset, const mgi_mesh_request *r,
                          const mgi_mesh_plans *plans, char **out)
{
    mgi_json_writer w;
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_open(&w, NULL, '{');
    mgi_json_put_string(&w, "preset", preset);
    mgi_json_put_string(&w, "gpu", r->gpu.name);
    mgi_json_put_int(&w, "gpus", r->gpus);
    mgi_json_put_int(&w, "parameters", plans->parameters);
    mgi_json_put_int(&w, "tokens", plans->tokens);
    put_plan(&w, &plans->list[0], r);
    put_gpu(&w, &r->gpu);
    if (r->timeline)
        put_timeline(&w, &plans->list[0]);
    mgi_json_open(&w, "meshes", '[');
    for (int64_t i = 0; i < plans->count; i++) {
        mgi_json_open(&w, NULL, '{');
        put_mesh(&w, &plans->list[i]);
        put_figures(&w, &plans->list[i], r);
        mgi_json_close(&w, '}');
    }
    mgi_json_close(&w, ']');
    mgi_json_close(&w, '}');
    return mgi_json_take(&w, out);
}

/* ---- tables ---- */

void mgi_page_add(mgi_page *p, const char *text)
{
    size_t length = strlen(text);
    if (p->status == MGEN_OK && p->used + length + 1 > p->room) {
        p->room = 2 * (p->room + length + 1);
        p->status = mgi_realloc(p->ctx, &p->text, p->room, 1);
    }
    if (p->status != MGEN_OK)
        return;
    memcpy(p->text + p->used, text, length + 1);
    p->used += length;
}

void mgi_page_print(mgi_page *p, const char *format, ...)
{
    char line[512];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    mgi_page_add(p, line);
}

enum { LISTED = 12 }; /* meshes */

static void print_meshes(mgi_page *out, const mgi_mesh_request *r, const mgi_mesh_plans *plans)
{
    char mesh[64];
    int64_t listed = plans->count < LISTED ? plans->count : LISTED;
    mgi_page_print(out, "\n%-34s %-9s %-8s %7s %8s %6s  %s\n", "mesh", "recompute", "cp", "GB",
                   "s a step", "MFU", "limit");
    for (int64_t i = 0; i < listed; i++) {
        const mgi_mesh_plan *p = &plans->list[i];
        mgi_page_print(out, "%-34s %-9s %-8s %7.1f %8.3f %5.1f%%  %s\n",
                       mgi_mesh_text(p->mesh, mesh, sizeof mesh), recomputes[p->recompute],
                       p->mesh.cp > 1 ? modes[p->cp] : "-", p->memory_bytes * 1e-9, p->seconds,
                       100.0 * p->mfu, mgi_plan_limit(p, r));
    }
    if (plans->count > listed)
        mgi_page_print(out, "and %lld more\n", (long long)(plans->count - listed));
}

static void print_one(mgi_page *out, const mgi_mesh_request *r, const mgi_mesh_plan *p)
{
    double times[MGI_PLAN_TIMES];
    char mesh[64];
    mgi_plan_times(p, r, times);
    mgi_page_print(
        out, "\n%s, recompute %s%s%s, %lld samples a rank, %lld passes, %lld samples a step\n",
        mgi_mesh_text(p->mesh, mesh, sizeof mesh), recomputes[p->recompute],
        p->mesh.cp > 1 ? ", cp " : "", p->mesh.cp > 1 ? modes[p->cp] : "", (long long)p->samples,
        (long long)p->passes, (long long)p->global_batch);
    mgi_page_print(out, "  %.3f s a step, MFU %.1f %%, %.1f GB a rank of %.0f%s\n", p->seconds,
                   100.0 * p->mfu, p->memory_bytes * 1e-9, r->gpu.gb,
                   p->fits ? "" : ": DOES NOT FIT");
    mgi_page_print(out, "  time             seconds  share\n");
    for (int i = 0; i < MGI_PLAN_TIMES; i++)
        mgi_page_print(out, "    %-18s %8.4f %5.1f%%\n", mgi_plan_time_name((mgi_plan_time)i),
                       times[i], 100.0 * times[i] / p->seconds);
    mgi_page_print(out, "  memory                GB\n");
    for (int i = 0; i < MGI_PLAN_MEMORIES; i++)
        mgi_page_print(out, "    %-18s %8.2f\n", mgi_plan_memory_name((mgi_plan_memory)i),
                       p->memory[i] * 1e-9);
    mgi_page_print(out, "  GB sent          NVLink  network\n");
    for (int i = 0; i < MGI_COMM_OPS; i++)
        if (all_links(p->bytes[i]) > 0.0)
            mgi_page_print(out, "    %-18s %8.2f %8.2f\n", mgi_comm_op_name((mgi_comm_op)i),
                           p->bytes[i][MGI_LINK_NVLINK] * 1e-9,
                           p->bytes[i][MGI_LINK_NETWORK] * 1e-9);
}

/* When the launches from event i on begin. */
static double first_launch(const mgi_mesh_plan *p, int64_t i)
{
    while (i + 1 < p->event_count && p->events[i].op < 0)
        i++;
    return p->events[i].begin;
}

/* A block's launches and collectives in the order in which they are posted. */
static void print_timeline(mgi_page *out, const mgi_mesh_plan *p)
{
    int pass = -1;
    double zero = 0.0;
    for (int64_t i = 0; i < p->event_count; i++) {
        const mgi_clock_event *e = &p->events[i];
        if (pass != e->backward) {
            pass = e->backward;
            zero = first_launch(p, i);
            mgi_page_print(
                out,
                "\n%s of one block, in ms; what runs beside the launches stands to the right\n",
                pass ? "backward" : "forward");
        }
        double begin = (e->begin - zero) * 1e3, end = (e->end - zero) * 1e3;
        if (e->op >= 0 && e->m)
            mgi_page_print(out, "%9.3f %9.3f  %s %lld x %lld x %lld\n", begin, end, event_name(e),
                           (long long)e->m, (long long)e->n, (long long)e->k);
        else if (e->op >= 0)
            mgi_page_print(out, "%9.3f %9.3f  %-20s %9.3g %s\n", begin, end, event_name(e), e->size,
                           e->flops ? "FLOP" : "B");
        else if (e->wait)
            mgi_page_print(out, "%9.3f %9.3f  WAITS for %s\n", begin, end, axes[e->axis]);
        else
            mgi_page_print(out, "%47s| %9.3f %9.3f  %s %s %.3g B\n", "", begin, end, axes[e->axis],
                           event_name(e), e->size);
    }
}

mgen_status mgi_plan_tables(mgen_context *ctx, const char *preset, const mgi_mesh_request *r,
                            const mgi_mesh_plans *plans, char **out)
{
    mgi_page p = {.ctx = ctx};
    char divided[2048];
    mgi_page_print(&p, "%s, %lld tokens a sample, %.4g billion parameters, on %d x %s\n", preset,
                   (long long)plans->tokens, (double)plans->parameters * 1e-9, r->gpus,
                   r->gpu.name);
    print_one(&p, r, &plans->list[0]);
    if (r->timeline)
        print_timeline(&p, &plans->list[0]);
    if (plans->count > 1) {
        print_meshes(&p, r, plans);
    } else {
        mgi_page_add(&p, "\n");
        mgi_page_add(&p, mgi_sharding_text(divided, sizeof divided));
    }
    if (p.status == MGEN_OK)
        *out = p.text;
    else
        mgi_free(ctx, p.text);
    return p.status;
}
