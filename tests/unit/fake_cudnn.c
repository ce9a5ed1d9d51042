/* SPDX-License-Identifier: MIT
 * cuDNN's backend interface played by the host, for tests of what calls it: descriptors are checked, and attention is
 * computed by its definition, in the host's memory. */
#include "fake_cudnn.h"

#include "kernels/attention/cudnn_api.h"
#include "kernels/common/bf16.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { ATTRIBUTES = 16, BYTES = 512, REFUSED = 2000 };

typedef struct attribute {
    int name, type;
    int64_t count;
    unsigned char bytes[BYTES];
} attribute;

/* One operand as the graph describes it. */
typedef struct operand {
    int64_t id, dims[4], strides[4];
} operand;

typedef struct descriptor {
    int kind;
    bool finished, random;
    attribute all[ATTRIBUTES];
    int count;
    operand of[6]; /* of attention, and of what is made of it */
    bool stats;
} descriptor;

EXPORT fake_cudnn fake_cudnn_state;
#define state fake_cudnn_state

EXPORT size_t cudnnGetVersion(void);
EXPORT const char *cudnnGetErrorString(int status);
EXPORT int cudnnCreate(void **handle);
EXPORT int cudnnDestroy(void *handle);
EXPORT int cudnnSetStream(void *handle, void *stream);
EXPORT int cudnnBackendCreateDescriptor(int kind, mgk_cudnn_descriptor *out);
EXPORT int cudnnBackendDestroyDescriptor(mgk_cudnn_descriptor d);
EXPORT int cudnnBackendSetAttribute(mgk_cudnn_descriptor d, int name, int type, int64_t count,
                                    const void *values);
EXPORT int cudnnBackendGetAttribute(mgk_cudnn_descriptor d, int name, int type, int64_t room,
                                    int64_t *count, void *values);
EXPORT int cudnnBackendFinalize(mgk_cudnn_descriptor d);
EXPORT int cudnnBackendExecute(void *handle, mgk_cudnn_descriptor plan, mgk_cudnn_descriptor pack);

static int refuse(const char *what)
{
    if (!state.wrong)
        state.wrong = what;
    return REFUSED;
}

size_t cudnnGetVersion(void)
{
    return state.version;
}

const char *cudnnGetErrorString(int status)
{
    return status == REFUSED ? "REFUSED" : "FAILED";
}

int cudnnCreate(void **handle)
{
    if (state.no_handle)
        return 1001;
    *handle = &state;
    state.handles++;
    return 0;
}

int cudnnDestroy(void *handle)
{
    state.handles--;
    return handle == &state ? 0 : refuse("a handle");
}

int cudnnSetStream(void *handle, void *stream)
{
    state.stream = stream;
    return handle == &state ? 0 : refuse("a handle");
}

int cudnnBackendCreateDescriptor(int kind, mgk_cudnn_descriptor *out)
{
    descriptor *d = calloc(1, sizeof *d);
    if (!d)
        return refuse("no memory");
    d->kind = kind;
    state.made++;
    *out = d;
    return 0;
}

int cudnnBackendDestroyDescriptor(mgk_cudnn_descriptor d)
{
    state.made--;
    free(d);
    return 0;
}

static size_t size_of(int type)
{
    switch (type) {
    case MGK_CUDNN_TYPE_CHAR:
    case MGK_CUDNN_TYPE_BOOL:
        return 1;
    case MGK_CUDNN_TYPE_DTYPE:
    case MGK_CUDNN_TYPE_MODE:
    case MGK_CUDNN_TYPE_NOTE:
        return 4;
    default:
        return 8;
    }
}

int cudnnBackendSetAttribute(mgk_cudnn_descriptor to, int name, int type, int64_t count,
                             const void *values)
{
    descriptor *d = to;
    size_t bytes = (size_t)count * size_of(type);
    if (d->finished || d->count == ATTRIBUTES || bytes > BYTES)
        return refuse("an attribute of a finished descriptor, or one too many");
    attribute *a = &d->all[d->count++];
    a->name = name;
    a->type = type;
    a->count = count;
    memcpy(a->bytes, values, bytes);
    return 0;
}

/* Values of an attribute, of that type and number; NULL: they are not there. */
static const void *look(const descriptor *d, int name, int type, int64_t count)
{
    for (int i = 0; i < d->count; i++)
        if (d->all[i].name == name)
            return d->all[i].type == type && (count < 0 || d->all[i].count == count)
                       ? d->all[i].bytes
                       : NULL;
    return NULL;
}

/* A finished descriptor of a kind that d refers to. */
static descriptor *referred(const descriptor *d, int name, int kind)
{
    descriptor *other = NULL;
    const void *p = look(d, name, MGK_CUDNN_TYPE_DESCRIPTOR, 1);
    if (p)
        memcpy(&other, p, sizeof other);
    return other && other->kind == kind && other->finished ? other : NULL;
}

static bool is_handle(const descriptor *d, int name)
{
    void *handle = NULL;
    const void *p = look(d, name, MGK_CUDNN_TYPE_HANDLE, 1);
    if (p)
        memcpy(&handle, p, sizeof handle);
    return handle == &state;
}

static int finish_tensor(descriptor *d)
{
    operand *o = &d->of[0];
    const void *id = look(d, MGK_CUDNN_TENSOR_ID, MGK_CUDNN_TYPE_INT64, 1);
    const void *dims = look(d, MGK_CUDNN_TENSOR_DIMS, MGK_CUDNN_TYPE_INT64, 4);
    const void *strides = look(d, MGK_CUDNN_TENSOR_STRIDES, MGK_CUDNN_TYPE_INT64, 4);
    if (!id || !dims || !strides || !look(d, MGK_CUDNN_TENSOR_DTYPE, MGK_CUDNN_TYPE_DTYPE, 1) ||
        !look(d, MGK_CUDNN_TENSOR_ALIGNMENT, MGK_CUDNN_TYPE_INT64, 1))
        return refuse("a tensor");
    memcpy(&o->id, id, sizeof o->id);
    memcpy(o->dims, dims, sizeof o->dims);
    memcpy(o->strides, strides, sizeof o->strides);
    return 0;
}

static int finish_attention(descriptor *d)
{
    static const int name[6] = {MGK_CUDNN_ATTENTION_Q,     MGK_CUDNN_ATTENTION_K,
                                MGK_CUDNN_ATTENTION_V,     MGK_CUDNN_ATTENTION_O,
                                MGK_CUDNN_ATTENTION_SCALE, MGK_CUDNN_ATTENTION_STATS};
    for (int i = 0; i < 6; i++) {
        const descriptor *t = referred(d, name[i], MGK_CUDNN_TENSOR);
        if (!t && i < 5)
            return refuse("attention without an operand");
        if (!t)
            continue;
        d->of[i] = t->of[0];
        d->stats = i == 5;
        if (i == 4 && !look(t, MGK_CUDNN_TENSOR_BY_VALUE, MGK_CUDNN_TYPE_BOOL, 1))
            return refuse("a scale that is no value");
    }
    const int64_t *q = d->of[0].dims, *k = d->of[1].dims, *v = d->of[2].dims, *o = d->of[3].dims;
    bool fits = q[0] == k[0] && q[3] == k[3] && q[1] % k[1] == 0 &&
                !memcmp(k, v, sizeof d->of[0].dims) && !memcmp(q, o, sizeof d->of[0].dims) &&
                (!d->stats || (d->of[5].dims[2] == q[2] && d->of[5].dims[3] == 1));
    return fits ? 0 : refuse("operands that do not fit each other");
}

/* What is computed goes from the operation to its graph and on to the plan. */
static int take_over(descriptor *d, const descriptor *from, bool more, const char *what)
{
    if (!from || !more)
        return refuse(what);
    memcpy(d->of, from->of, sizeof d->of);
    d->stats = from->stats;
    return 0;
}

static int finish(descriptor *d)
{
    switch (d->kind) {
    case MGK_CUDNN_TENSOR:
        return finish_tensor(d);
    case MGK_CUDNN_ATTENTION:
        return finish_attention(d);
    case MGK_CUDNN_GRAPH:
        return take_over(d, referred(d, MGK_CUDNN_GRAPH_OPS, MGK_CUDNN_ATTENTION),
                         is_handle(d, MGK_CUDNN_GRAPH_HANDLE), "a graph");
    case MGK_CUDNN_HEURISTICS:
        return take_over(d, referred(d, MGK_CUDNN_HEURISTICS_GRAPH, MGK_CUDNN_GRAPH),
                         look(d, MGK_CUDNN_HEURISTICS_MODE, MGK_CUDNN_TYPE_MODE, 1), "heuristics");
    case MGK_CUDNN_PLAN:
        state.plans++;
        return take_over(d, referred(d, MGK_CUDNN_PLAN_CONFIG, MGK_CUDNN_ENGINE_CONFIG),
                         is_handle(d, MGK_CUDNN_PLAN_HANDLE), "a plan");
    case MGK_CUDNN_PACK:
        return look(d, MGK_CUDNN_PACK_IDS, MGK_CUDNN_TYPE_INT64, -1) &&
                       look(d, MGK_CUDNN_PACK_POINTERS, MGK_CUDNN_TYPE_POINTER, -1) &&
                       look(d, MGK_CUDNN_PACK_WORKSPACE, MGK_CUDNN_TYPE_POINTER, 1)
                   ? 0
                   : refuse("a pack");
    default:
        return refuse("a descriptor that is not finished by the caller");
    }
}

int cudnnBackendFinalize(mgk_cudnn_descriptor descriptor_of)
{
    descriptor *d = descriptor_of;
    int status = d->finished ? refuse("a finished descriptor") : finish(d);
    d->finished = status == 0;
    return status;
}

int cudnnBackendGetAttribute(mgk_cudnn_descriptor from, int name, int type, int64_t room,
                             int64_t *count, void *values)
{
    const descriptor *d = from;
    if (name == MGK_CUDNN_HEURISTICS_RESULTS && type == MGK_CUDNN_TYPE_DESCRIPTOR) {
        descriptor *config[32];
        memcpy(config, values, (size_t)room * sizeof *config);
        for (int i = 0; i < state.configs && i < room; i++) {
            take_over(config[i], d, d->finished, "heuristics that are not finished");
            config[i]->finished = true;
            config[i]->random = i < state.random;
        }
        *count = state.configs < room ? state.configs : room;
        return 0;
    }
    *count = 1;
    if (name == MGK_CUDNN_CONFIG_ENGINE && d->finished) {
        descriptor *engine;
        memcpy(&engine, values, sizeof engine);
        engine->random = d->random;
    } else if (name == MGK_CUDNN_ENGINE_NOTES && d->kind == MGK_CUDNN_ENGINE) {
        const int note[2] = {0, MGK_CUDNN_NONDETERMINISTIC};
        *count = d->random ? 2 : 1;
        memcpy(values, note, (size_t)*count * sizeof *note);
    } else if (name == MGK_CUDNN_PLAN_WORKSPACE && d->finished) {
        const int64_t bytes = (int64_t)state.workspace;
        memcpy(values, &bytes, sizeof bytes);
    } else {
        return refuse("an attribute that is not there");
    }
    return 0;
}

static float value(const uint16_t *p, const operand *o, int64_t b, int64_t h, int64_t s, int64_t d)
{
    return mgk_from_bf16(
        p[b * o->strides[0] + h * o->strides[1] + s * o->strides[2] + d * o->strides[3]]);
}

static double dot(const descriptor *g, void *const *p, int64_t b, int64_t h, int64_t i, int64_t j)
{
    double sum = 0.0;
    int64_t shared = g->of[0].dims[1] / g->of[1].dims[1];
    for (int64_t d = 0; d < g->of[0].dims[3]; d++)
        sum += (double)value(p[0], &g->of[0], b, h, i, d) *
               (double)value(p[1], &g->of[1], b, h / shared, j, d);
    return sum;
}

static void row(const descriptor *g, void *const *p, int64_t b, int64_t h, int64_t i)
{
    const int64_t keys = g->of[1].dims[2], width = g->of[0].dims[3],
                  shared = g->of[0].dims[1] / g->of[1].dims[1];
    const operand *o = &g->of[3];
    float scale;
    double top = -INFINITY, total = 0.0;
    memcpy(&scale, p[4], sizeof scale);
    for (int64_t j = 0; j < keys; j++)
        top = fmax(top, (double)scale * dot(g, p, b, h, i, j));
    for (int64_t j = 0; j < keys; j++)
        total += exp((double)scale * dot(g, p, b, h, i, j) - top);
    for (int64_t d = 0; d < width; d++) {
        double sum = 0.0;
        for (int64_t j = 0; j < keys; j++)
            sum += exp((double)scale * dot(g, p, b, h, i, j) - top) / total *
                   (double)value(p[2], &g->of[2], b, h / shared, j, d);
        ((uint16_t *)p[3])[b * o->strides[0] + h * o->strides[1] + i * o->strides[2] + d] =
            mgk_to_bf16((float)sum);
    }
    if (g->stats)
        ((float *)
             p[5])[b * g->of[5].strides[0] + h * g->of[5].strides[1] + i * g->of[5].strides[2]] =
            (float)(top + log(total));
}

int cudnnBackendExecute(void *handle, mgk_cudnn_descriptor plan, mgk_cudnn_descriptor pack)
{
    const descriptor *g = plan, *d = pack;
    const int64_t count = 5 + g->stats;
    void *given[6], *p[6] = {NULL};
    int64_t ids[6];
    if (state.fails)
        return 5000;
    if (handle != &state || !g->finished || !d->finished || d->all[0].count != count ||
        d->all[1].count != count)
        return refuse("a run");
    memcpy(ids, d->all[0].bytes, (size_t)count * sizeof *ids);
    memcpy(given, d->all[1].bytes, (size_t)count * sizeof *given);
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < count; k++)
            p[i] = ids[k] == g->of[i].id ? given[k] : p[i];
    for (int64_t i = 0; i < count; i++)
        if (!p[i])
            return refuse("an operand that is not given");
    const int64_t *q = g->of[0].dims;
    for (int64_t at = 0; at < q[0] * q[1] * q[2]; at++)
        row(g, p, at / (q[1] * q[2]), at / q[2] % q[1], at % q[2]);
    state.runs++;
    return 0;
}
