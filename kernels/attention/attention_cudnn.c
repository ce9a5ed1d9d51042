/* SPDX-License-Identifier: MIT
 * attention by cuDNN: scaled dot-product attention as the single operation of a graph of its backend interface.
 *
 * The plan for a shape is the first that its heuristics offer of those that it calls deterministic. It is made at the
 * first call, which takes a second or more, and kept as long as the library is open: captured graphs hold its kernels.
 *
 * The gradient is not taken from it. It has two ways: sums of dq in an order that depends on timing, or the gradients of
 * all scores in memory, of the size of queries by keys.
 */
#include "kernels/attention/attention_cudnn.h"

#include "kernels/attention/cudnn_api.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { SHAPES = 256, CONFIGS = 8, NOTES = 16, WORKSPACE = 1 << 20, ALIGN = 16 };
enum { ID_Q = 1, ID_K, ID_V, ID_O, ID_STATS, ID_SCALE, IDS = ID_SCALE };

/* What a plan depends on. */
typedef struct shape {
    int64_t batch, heads, kv_heads, head_dim, sq, sk;
    int64_t q[2], k[2], v[2], o[2]; /* strides of batch items and rows */
    int64_t stats;                  /* 1: there is lse */
} shape;

typedef struct kept {
    shape of;
    int used;
    mgk_cudnn_descriptor plan; /* NULL: there is none */
} kept;

typedef struct library {
    void *file, *handle;
    mgk_cudnn_api api;
    mgk_cudnn_descriptor device; /* NULL: that of the handle */
    int status;                  /* of the call that failed */
    const char *failed;
    kept plans[SHAPES];
} library;

static bool find(void *file, const char *name, void *out, size_t size)
{
    void *p = dlsym(file, name);
    memcpy(out, &p, size);
    return p != NULL;
}

static bool find_all(library *l)
{
    mgk_cudnn_api *a = &l->api;
    return find(l->file, "cudnnGetVersion", &a->version, sizeof a->version) &&
           find(l->file, "cudnnGetErrorString", &a->error, sizeof a->error) &&
           find(l->file, "cudnnCreate", &a->create, sizeof a->create) &&
           find(l->file, "cudnnDestroy", &a->destroy, sizeof a->destroy) &&
           find(l->file, "cudnnSetStream", &a->set_stream, sizeof a->set_stream) &&
           find(l->file, "cudnnBackendCreateDescriptor", &a->make, sizeof a->make) &&
           find(l->file, "cudnnBackendDestroyDescriptor", &a->drop, sizeof a->drop) &&
           find(l->file, "cudnnBackendSetAttribute", &a->set, sizeof a->set) &&
           find(l->file, "cudnnBackendGetAttribute", &a->get, sizeof a->get) &&
           find(l->file, "cudnnBackendFinalize", &a->finalize, sizeof a->finalize) &&
           find(l->file, "cudnnBackendExecute", &a->execute, sizeof a->execute);
}

static bool good(library *l, int status, const char *what)
{
    if (status != 0) {
        l->status = status;
        l->failed = what;
    }
    return status == 0;
}

/* ---- descriptors: NULL after a failure, which is passed on ---- */

static mgk_cudnn_descriptor make(library *l, int kind)
{
    mgk_cudnn_descriptor d = NULL;
    return good(l, l->api.make(kind, &d), "making a descriptor") ? d : NULL;
}

static void drop(library *l, mgk_cudnn_descriptor d)
{
    if (d)
        l->api.drop(d);
}

static bool set(library *l, mgk_cudnn_descriptor d, int attribute, int type, int64_t count,
                const void *values)
{
    return good(l, l->api.set(d, attribute, type, count, values), "setting an attribute");
}

static bool refer(library *l, mgk_cudnn_descriptor d, int attribute, mgk_cudnn_descriptor to)
{
    return to && set(l, d, attribute, MGK_CUDNN_TYPE_DESCRIPTOR, 1, &to);
}

/* Takes d: finished, or dropped if that cannot be done or the attributes were not `set`. */
static mgk_cudnn_descriptor finish(library *l, mgk_cudnn_descriptor d, bool is_set,
                                   const char *what)
{
    if (is_set && good(l, l->api.finalize(d), what))
        return d;
    drop(l, d);
    return NULL;
}

static mgk_cudnn_descriptor tensor(library *l, int64_t id, int dtype, const int64_t dims[4],
                                   const int64_t strides[4])
{
    mgk_cudnn_descriptor d = make(l, MGK_CUDNN_TENSOR);
    const int64_t align = id == ID_SCALE || id == ID_STATS ? (int64_t)sizeof(float) : ALIGN;
    const bool by_value = true;
    return d ? finish(l, d,
                      set(l, d, MGK_CUDNN_TENSOR_ID, MGK_CUDNN_TYPE_INT64, 1, &id) &&
                          set(l, d, MGK_CUDNN_TENSOR_DTYPE, MGK_CUDNN_TYPE_DTYPE, 1, &dtype) &&
                          set(l, d, MGK_CUDNN_TENSOR_DIMS, MGK_CUDNN_TYPE_INT64, 4, dims) &&
                          set(l, d, MGK_CUDNN_TENSOR_STRIDES, MGK_CUDNN_TYPE_INT64, 4, strides) &&
                          set(l, d, MGK_CUDNN_TENSOR_ALIGNMENT, MGK_CUDNN_TYPE_INT64, 1, &align) &&
                          (id != ID_SCALE ||
                           set(l, d, MGK_CUDNN_TENSOR_BY_VALUE, MGK_CUDNN_TYPE_BOOL, 1, &by_value)),
                      "a tensor")
             : NULL;
}

static mgk_cudnn_descriptor operand(library *l, int64_t id, const shape *s, bool keys,
                                    const int64_t strides[2])
{
    const int64_t dims[4] = {s->batch, keys ? s->kv_heads : s->heads, keys ? s->sk : s->sq,
                             s->head_dim};
    return tensor(l, id, MGK_CUDNN_BF16, dims,
                  (const int64_t[4]){strides[0], s->head_dim, strides[1], 1});
}

static mgk_cudnn_descriptor attention_of(library *l, const shape *s, mgk_cudnn_descriptor t[IDS])
{
    static const int attribute[IDS] = {MGK_CUDNN_ATTENTION_Q,     MGK_CUDNN_ATTENTION_K,
                                       MGK_CUDNN_ATTENTION_V,     MGK_CUDNN_ATTENTION_O,
                                       MGK_CUDNN_ATTENTION_STATS, MGK_CUDNN_ATTENTION_SCALE};
    const int64_t one[4] = {1, 1, 1, 1}, rows[4] = {s->batch, s->heads, s->sq, 1};
    mgk_cudnn_descriptor d = make(l, MGK_CUDNN_ATTENTION);
    bool is_set = d != NULL;
    t[ID_Q - 1] = operand(l, ID_Q, s, false, s->q);
    t[ID_K - 1] = operand(l, ID_K, s, true, s->k);
    t[ID_V - 1] = operand(l, ID_V, s, true, s->v);
    t[ID_O - 1] = operand(l, ID_O, s, false, s->o);
    if (s->stats)
        t[ID_STATS - 1] = tensor(l, ID_STATS, MGK_CUDNN_F32, rows,
                                 (const int64_t[4]){s->heads * s->sq, s->sq, 1, 1});
    t[ID_SCALE - 1] = tensor(l, ID_SCALE, MGK_CUDNN_F32, one, one);
    for (int i = 0; i < IDS && is_set; i++)
        is_set = (i == ID_STATS - 1 && !s->stats) || refer(l, d, attribute[i], t[i]);
    return d ? finish(l, d, is_set, "attention") : NULL;
}

static mgk_cudnn_descriptor graph_of(library *l, mgk_cudnn_descriptor op)
{
    mgk_cudnn_descriptor d = op ? make(l, MGK_CUDNN_GRAPH) : NULL;
    return d ? finish(l, d,
                      (l->device ||
                       set(l, d, MGK_CUDNN_GRAPH_HANDLE, MGK_CUDNN_TYPE_HANDLE, 1, &l->handle)) &&
                          refer(l, d, MGK_CUDNN_GRAPH_OPS, op),
                      "a graph of attention")
             : NULL;
}

static mgk_cudnn_descriptor heuristics_of(library *l, mgk_cudnn_descriptor graph)
{
    mgk_cudnn_descriptor d = graph ? make(l, MGK_CUDNN_HEURISTICS) : NULL;
    const int mode = MGK_CUDNN_MODE_A;
    return d ? finish(l, d,
                      refer(l, d, MGK_CUDNN_HEURISTICS_GRAPH, graph) &&
                          set(l, d, MGK_CUDNN_HEURISTICS_MODE, MGK_CUDNN_TYPE_MODE, 1, &mode) &&
                          (!l->device || refer(l, d, MGK_CUDNN_HEURISTICS_DEVICE, l->device)),
                      "heuristics")
             : NULL;
}

static bool deterministic(library *l, mgk_cudnn_descriptor config)
{
    mgk_cudnn_descriptor engine = make(l, MGK_CUDNN_ENGINE);
    int notes[NOTES];
    int64_t count = 0;
    bool is =
        engine &&
        good(l,
             l->api.get(config, MGK_CUDNN_CONFIG_ENGINE, MGK_CUDNN_TYPE_DESCRIPTOR, 1, &count,
                        &engine),
             "an engine") &&
        good(l,
             l->api.get(engine, MGK_CUDNN_ENGINE_NOTES, MGK_CUDNN_TYPE_NOTE, NOTES, &count, notes),
             "the notes of an engine");
    for (int64_t i = 0; i < count && i < NOTES && is; i++)
        is = notes[i] != MGK_CUDNN_NONDETERMINISTIC;
    drop(l, engine);
    return is;
}

static mgk_cudnn_descriptor plan_of(library *l, mgk_cudnn_descriptor config)
{
    int64_t bytes = 0, count = 0;
    mgk_cudnn_descriptor d = deterministic(l, config) ? make(l, MGK_CUDNN_PLAN) : NULL;
    if (d)
        d = finish(l, d,
                   refer(l, d, MGK_CUDNN_PLAN_CONFIG, config) &&
                       (l->device ? refer(l, d, MGK_CUDNN_PLAN_DEVICE, l->device)
                                  : set(l, d, MGK_CUDNN_PLAN_HANDLE, MGK_CUDNN_TYPE_HANDLE, 1,
                                        &l->handle)),
                   "a plan");
    if (!d ||
        (good(l, l->api.get(d, MGK_CUDNN_PLAN_WORKSPACE, MGK_CUDNN_TYPE_INT64, 1, &count, &bytes),
              "the workspace of a plan") &&
         bytes <= WORKSPACE))
        return d;
    drop(l, d);
    return NULL;
}

/* The first plan that can be used of those that the heuristics offer. */
static mgk_cudnn_descriptor first_plan(library *l, mgk_cudnn_descriptor heuristics)
{
    mgk_cudnn_descriptor config[CONFIGS] = {NULL}, plan = NULL;
    int64_t count = 0;
    bool made = heuristics != NULL;
    for (int i = 0; i < CONFIGS && made; i++)
        made = (config[i] = make(l, MGK_CUDNN_ENGINE_CONFIG)) != NULL;
    if (made && good(l,
                     l->api.get(heuristics, MGK_CUDNN_HEURISTICS_RESULTS, MGK_CUDNN_TYPE_DESCRIPTOR,
                                CONFIGS, &count, config),
                     "asking the heuristics"))
        for (int i = 0; i < CONFIGS && i < count && !plan; i++)
            plan = plan_of(l, config[i]);
    if (made && count == 0)
        l->failed = "no engine takes this attention";
    for (int i = 0; i < CONFIGS; i++)
        drop(l, config[i]);
    return plan;
}

static mgk_cudnn_descriptor make_plan(library *l, const shape *s)
{
    mgk_cudnn_descriptor t[IDS] = {NULL}, op, graph, heuristics, plan;
    l->status = 0;
    l->failed = "";
    op = attention_of(l, s, t);
    graph = graph_of(l, op);
    heuristics = heuristics_of(l, graph);
    plan = first_plan(l, heuristics);
    drop(l, heuristics);
    drop(l, graph);
    drop(l, op);
    for (int i = 0; i < IDS; i++)
        drop(l, t[i]);
    return plan;
}

/* ---- shapes ---- */

/* Rows of 16 bytes at a time. */
static bool in_sixteens(mgk_buf b, int64_t row, int64_t batch)
{
    return (uintptr_t)b.p % ALIGN == 0 && row % 8 == 0 && batch % 8 == 0 && row > 0 && batch > 0;
}

/* Arguments that it takes; few queries and keys, masks, biases and lists of blocks are left to the library's own. */
static bool takes(const mgk_attention_args *a)
{
    const int64_t most = (int64_t)1 << 31;
    return a->q.dtype == MGK_BF16 && !a->mask.p && !a->bias.p && !a->block_start.p &&
           (a->head_dim == 64 || a->head_dim == 128) && a->batch > 0 && a->heads > 0 && a->sq > 0 &&
           a->sk > 0 && (a->sq > 64 || a->sk > 128) && a->sq < most && a->sk < most &&
           a->batch * a->heads < most / a->sq && in_sixteens(a->q, a->q_row, a->q_batch) &&
           in_sixteens(a->k, a->k_row, a->k_batch) && in_sixteens(a->v, a->v_row, a->v_batch) &&
           in_sixteens(a->o, a->o_row, a->o_batch);
}

static shape shape_of(const mgk_attention_args *a)
{
    return (shape){.batch = a->batch,
                   .heads = a->heads,
                   .kv_heads = a->kv_heads ? a->kv_heads : a->heads,
                   .head_dim = a->head_dim,
                   .sq = a->sq,
                   .sk = a->sk,
                   .q = {a->q_batch, a->q_row},
                   .k = {a->k_batch, a->k_row},
                   .v = {a->v_batch, a->v_row},
                   .o = {a->o_batch, a->o_row},
                   .stats = a->lse.p != NULL};
}

/* NULL: there are too many shapes. */
static kept *place_of(library *l, const shape *s)
{
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < sizeof *s / sizeof(int64_t); i++)
        hash = (hash ^ (uint64_t)((const int64_t *)s)[i]) * 1099511628211u;
    for (size_t i = 0; i < SHAPES; i++) {
        kept *k = &l->plans[(hash + i) % SHAPES];
        if (!k->used || memcmp(&k->of, s, sizeof *s) == 0)
            return k;
    }
    return NULL;
}

/* NULL: it has none. */
static mgk_cudnn_descriptor plan_for(library *l, const mgk_attention_args *a)
{
    const shape s = shape_of(a);
    kept *k = place_of(l, &s);
    if (k && !k->used) {
        k->plan = make_plan(l, &s);
        k->of = s;
        k->used = 1;
    }
    return k ? k->plan : NULL;
}

/* ---- life ---- */

size_t mgk_cudnn_bytes(void)
{
    return sizeof(library);
}

static mgk_cudnn_descriptor describe(library *l, const char *json)
{
    mgk_cudnn_descriptor d = make(l, MGK_CUDNN_DEVICE);
    return d ? finish(l, d,
                      set(l, d, MGK_CUDNN_DEVICE_JSON, MGK_CUDNN_TYPE_CHAR,
                          (int64_t)strlen(json) + 1, json),
                      "the description of a GPU")
             : NULL;
}

static void say(const library *l, char *why, size_t size)
{
    snprintf(why, size, "cuDNN: %s: %s", l->failed, l->status ? l->api.error(l->status) : "none");
}

static int start(library *l, const char *device, char *why, size_t size)
{
    size_t version = l->api.version();
    if (version < MGK_CUDNN_OLDEST || version >= MGK_CUDNN_BEYOND) {
        snprintf(why, size, "cuDNN %zu was found; 9.13.1 or a later 9 is needed", version);
        return 0;
    }
    if (device)
        l->device = describe(l, device);
    else if (!good(l, l->api.create(&l->handle), "making a handle"))
        l->handle = NULL;
    if (l->device || l->handle)
        return 1;
    say(l, why, size);
    return 0;
}

int mgk_cudnn_open(void *memory, const mgk_cudnn_options *options, char *why, size_t size)
{
    library *l = memory;
    l->file = dlopen(options->file ? options->file : "libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (!l->file)
        snprintf(why, size, "cuDNN was not found: %.200s", dlerror());
    else if (!find_all(l))
        snprintf(why, size, "cuDNN was found, but lacks functions");
    else if (start(l, options->device, why, size))
        return 1;
    mgk_cudnn_close(memory);
    return 0;
}

void mgk_cudnn_close(void *memory)
{
    library *l = memory;
    for (int i = 0; i < SHAPES; i++)
        drop(l, l->plans[i].plan);
    drop(l, l->device);
    if (l->handle)
        l->api.destroy(l->handle);
    if (l->file)
        dlclose(l->file);
    memset(l, 0, sizeof *l);
}

int mgk_cudnn_plans(void *memory, const mgk_attention_args *a, char *why, size_t size)
{
    library *l = memory;
    if (!takes(a))
        snprintf(why, size, "cuDNN: attention of this form is left to the library's own");
    else if (plan_for(l, a))
        return 1;
    else
        say(l, why, size);
    return 0;
}

/* ---- the op ---- */

static bool run(library *l, const mgk_attention_args *a, mgk_exec *x)
{
    static const int64_t ids[IDS] = {ID_Q, ID_K, ID_V, ID_O, ID_SCALE, ID_STATS};
    float scale = a->scale;
    void *pointers[IDS] = {a->q.p, a->k.p, a->v.p, a->o.p, &scale, a->lse.p};
    const int64_t count = a->lse.p ? IDS : IDS - 1;
    mgk_cudnn_descriptor plan = plan_for(l, a), pack = plan ? make(l, MGK_CUDNN_PACK) : NULL;
    if (pack)
        pack = finish(
            l, pack,
            set(l, pack, MGK_CUDNN_PACK_IDS, MGK_CUDNN_TYPE_INT64, count, ids) &&
                set(l, pack, MGK_CUDNN_PACK_POINTERS, MGK_CUDNN_TYPE_POINTER, count, pointers) &&
                set(l, pack, MGK_CUDNN_PACK_WORKSPACE, MGK_CUDNN_TYPE_POINTER, 1, &x->workspace),
            "what it works on");
    bool done = pack && good(l, l->api.set_stream(l->handle, x->stream), "setting its stream") &&
                good(l, l->api.execute(l->handle, plan, pack), "attention");
    drop(l, pack);
    return done;
}

void mgk_attention_cudnn(const void *args, mgk_exec *x);
size_t mgk_attention_cudnn_workspace(const void *args, int threads);
void mgk_attention_sm80(const void *args, mgk_exec *x);
size_t mgk_attention_sm80_workspace(const void *args, int threads);

size_t mgk_attention_cudnn_workspace(const void *args, int threads)
{
    size_t own = mgk_attention_sm80_workspace(args, threads);
    return takes(args) && own < WORKSPACE ? WORKSPACE : own;
}

void mgk_attention_cudnn(const void *args, mgk_exec *x)
{
    if (!x->dnn || !takes(args) || !run(x->dnn, args, x))
        mgk_attention_sm80(args, x);
}
