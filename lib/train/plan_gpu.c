/* SPDX-License-Identifier: MIT */
#include "train/plan_gpu.h"

#include "io/json.h"
#include "kernels/mgk.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Shares that large bf16 kernels reach on Hopper (docs/planning.md says where they are from). attention_grad: its model
 * has four products where a kernel makes five. */
#define SHARES                                                                                     \
    .products = 0.70, .convolutions = 0.50, .attention = 0.63, .attention_grad = 0.44,             \
    .memory = 0.80, .links = 0.80, .launch_us = 3.0, .hop_us = {1.0, 3.0}, .reserve_gb = 2.0,      \
    .node = 8

/* NVLink: half of what is sold, which counts both directions. Network: one adapter a GPU. */
static const mgi_gpu known[] = {{.name = "a100-40gb",
                                 .tflops = 312,
                                 .tflops_f32 = 19.5,
                                 .gb = 40,
                                 .gbs = 1555,
                                 .link = {300, 25},
                                 SHARES},
                                {.name = "a100-80gb",
                                 .tflops = 312,
                                 .tflops_f32 = 19.5,
                                 .gb = 80,
                                 .gbs = 2039,
                                 .link = {300, 25},
                                 SHARES},
                                {.name = "h100-80gb",
                                 .tflops = 989.4,
                                 .tflops_f32 = 66.9,
                                 .gb = 80,
                                 .gbs = 3350,
                                 .link = {450, 50},
                                 SHARES},
                                {.name = "h200-141gb",
                                 .tflops = 989.4,
                                 .tflops_f32 = 66.9,
                                 .gb = 141,
                                 .gbs = 4800,
                                 .link = {450, 50},
                                 SHARES},
                                {.name = "b200-180gb",
                                 .tflops = 2250,
                                 .tflops_f32 = 75,
                                 .gb = 180,
                                 .gbs = 7700,
                                 .link = {900, 50},
                                 SHARES}};
enum { KNOWN = sizeof known / sizeof known[0] };

/* What a text may change. */
typedef struct field {
    const char *name;
    size_t offset;
    double least, most;
} field;

static const field fields[] = {{"tflops", offsetof(mgi_gpu, tflops), 0.001, 1e6},
                               {"tflops_f32", offsetof(mgi_gpu, tflops_f32), 0.001, 1e6},
                               {"gb", offsetof(mgi_gpu, gb), 0.001, 1e6},
                               {"gbs", offsetof(mgi_gpu, gbs), 0.001, 1e6},
                               {"nvlink", offsetof(mgi_gpu, link[MGI_LINK_NVLINK]), 0.001, 1e6},
                               {"network", offsetof(mgi_gpu, link[MGI_LINK_NETWORK]), 0.001, 1e6},
                               {"node", offsetof(mgi_gpu, node), 1, 65536},
                               {"products", offsetof(mgi_gpu, products), 0.001, 1},
                               {"convolutions", offsetof(mgi_gpu, convolutions), 0.001, 1},
                               {"attention", offsetof(mgi_gpu, attention), 0.001, 1},
                               {"attention_grad", offsetof(mgi_gpu, attention_grad), 0.001, 1},
                               {"memory", offsetof(mgi_gpu, memory), 0.001, 1},
                               {"links", offsetof(mgi_gpu, links), 0.001, 1},
                               {"launch_us", offsetof(mgi_gpu, launch_us), 0, 1e6},
                               {"nvlink_us", offsetof(mgi_gpu, hop_us[MGI_LINK_NVLINK]), 0, 1e6},
                               {"network_us", offsetof(mgi_gpu, hop_us[MGI_LINK_NETWORK]), 0, 1e6},
                               {"reserve_gb", offsetof(mgi_gpu, reserve_gb), 0, 1e6}};
enum { FIELDS = sizeof fields / sizeof fields[0] };

static bool is_name(const char *text, size_t length, const char *name)
{
    return strlen(name) == length && !memcmp(text, name, length);
}

static mgen_status refuse(mgen_context *ctx, const char *text, const char *what)
{
    char names[160] = "", numbers[320] = "";
    size_t used = 0;
    for (int i = 0; i < KNOWN; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                                 known[i].name);
    used = 0;
    for (int i = 0; i < FIELDS; i++)
        used += (size_t)snprintf(numbers + used, sizeof numbers - used, "%s%s", i ? ", " : "",
                                 fields[i].name);
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "gpu \"%.80s\": %s; known are %s; other numbers may follow the name, as in "
                    "h100-80gb,attention=0.5, of %s",
                    text, what, names, numbers);
}

static mgen_status read_field(mgen_context *ctx, const char *text, const char *at, size_t length,
                              mgi_gpu *out)
{
    const char *equals = memchr(at, '=', length);
    const field *f = NULL;
    mgi_json *number;
    for (int i = 0; equals && i < FIELDS && !f; i++)
        if (is_name(at, (size_t)(equals - at), fields[i].name))
            f = &fields[i];
    if (!f)
        return refuse(ctx, text, "what follows a comma is not one of its numbers");
    size_t size = (size_t)(at + length - (equals + 1));
    double value = -1.0;
    mgen_status status = mgi_json_parse(ctx, "gpu", equals + 1, size, &number);
    if (status == MGEN_E_NO_MEMORY || status == MGEN_E_LIMIT)
        return status;
    if (status == MGEN_OK) {
        if (number->kind == MGI_JSON_INT || number->kind == MGI_JSON_REAL)
            value = number->d;
        mgi_json_free(ctx, number);
    }
    if (value < f->least || value > f->most) {
        char why[96];
        snprintf(why, sizeof why, "%s must be a number from %g to %g", f->name, f->least, f->most);
        return refuse(ctx, text, why);
    }
    memcpy((char *)out + f->offset, &value, sizeof value);
    return MGEN_OK;
}

mgen_status mgi_gpu_parse(mgen_context *ctx, const char *text, mgi_gpu *out)
{
    size_t length = strcspn(text, ",");
    const mgi_gpu *found = NULL;
    for (int i = 0; i < KNOWN; i++)
        if (is_name(text, length, known[i].name))
            found = &known[i];
    if (!found)
        return refuse(ctx, text, "no such GPU");
    *out = *found;
    for (const char *at = text + length; *at; at += length) {
        length = strcspn(++at, ",");
        MGI_TRY(read_field(ctx, text, at, length, out));
    }
    if (out->node != floor(out->node))
        return refuse(ctx, text, "node must be a whole number");
    return MGEN_OK;
}

const char *mgi_gpu_number(const mgi_gpu *gpu, int index, double *value)
{
    if (index >= FIELDS)
        return NULL;
    memcpy(value, (const char *)gpu + fields[index].offset, sizeof *value);
    return fields[index].name;
}

double mgi_gpu_product(const mgi_gpu *gpu, int32_t dtype, double flops, double share)
{
    return flops / ((dtype == MGK_BF16 ? gpu->tflops : gpu->tflops_f32) * 1e12 * share);
}

double mgi_gpu_traffic(const mgi_gpu *gpu, double bytes)
{
    return bytes / (gpu->gbs * 1e9 * gpu->memory);
}

mgi_link mgi_gpu_link(int size, int near)
{
    return near < size ? MGI_LINK_NETWORK : MGI_LINK_NVLINK;
}

double mgi_gpu_collective(const mgi_gpu *gpu, mgi_comm_op op, int size, int near, double sent,
                          double bytes[MGI_LINKS])
{
    mgi_link link = mgi_gpu_link(size, near);
    double nodes = (double)size / near, hops = size - 1, far = 0.0;
    bytes[MGI_LINK_NVLINK] = bytes[MGI_LINK_NETWORK] = 0.0;
    if (size < 2)
        return 0.0;
    if (op == MGI_COMM_ALL_REDUCE)
        hops = fmin(2 * hops, 4 * ceil(log2(size))); /* a tree, where it is shorter */
    if (link == MGI_LINK_NETWORK)
        far = op == MGI_COMM_ALL_TO_ALL ? (double)(size - near) / (size - 1) : 1.0 / near;
    bytes[MGI_LINK_NETWORK] = sent * far;
    bytes[MGI_LINK_NVLINK] = sent * (1.0 - far);
    double far_hops = link == MGI_LINK_NETWORK ? hops * nodes / size : 0.0, time = 0.0;
    for (int i = 0; i < MGI_LINKS; i++)
        time = fmax(time, bytes[i] / (gpu->link[i] * 1e9 * gpu->links));
    return time + 1e-6 * (far_hops * gpu->hop_us[MGI_LINK_NETWORK] +
                          (hops - far_hops) * gpu->hop_us[MGI_LINK_NVLINK]);
}
