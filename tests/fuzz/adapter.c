/* SPDX-License-Identifier: MIT
 * Adapters of a video transformer: what they say of themselves, and their halves. The input's first two bytes say how long its
 * JSON is; the rest is its weights. The model that they are merged into stays one of numbers. */
#include "fuzz.h"

#include "core/alloc.h"
#include "model/adapter.h"
#include "tensor/device.h"

#include <math.h>
#include <string.h>

enum { HEAD = 2, DIM = 8 };

static const mgi_vt_config tiny = {.layers = 1,
                                   .dim = DIM,
                                   .heads = 2,
                                   .ff_dim = 12,
                                   .channels = 4,
                                   .patch_t = 1,
                                   .patch_h = 1,
                                   .patch_w = 1,
                                   .frames_max = 2,
                                   .rows_max = 2,
                                   .columns_max = 2,
                                   .text = {8},
                                   .time_dim = 8};

static void open_device(mgen_context *ctx)
{
    FUZZ_CHECK(mgi_device_create(ctx, NULL) == MGEN_OK);
}

/* Entries of zeros for the matrices, which are found by their names. */
static mgen_status make_base(mgen_context *ctx, const mgi_vt *vt, mgi_model_file *out)
{
    static const float zeros[4 * 12 * DIM];
    const mgi_module *m = &vt->module;
    strcpy(out->weights_name, "base.safetensors");
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)m->count, sizeof(mgi_st_entry), &out->weights.entries));
    for (int64_t k = 0; k < m->count; k++) {
        const mgi_param *p = m->params[k];
        if (!p->codes)
            continue;
        mgi_st_entry e = {.name = p->name,
                          .dtype = MGI_ST_F32,
                          .rank = 2,
                          .dims = {p->dims[0], p->dims[1]},
                          .data = zeros,
                          .bytes = (size_t)p->value->count * sizeof(float)};
        int64_t at = out->weights.count++;
        for (; at > 0 && strcmp(out->weights.entries[at - 1].name, e.name) > 0; at--)
            out->weights.entries[at] = out->weights.entries[at - 1];
        out->weights.entries[at] = e;
    }
    return MGEN_OK;
}

static bool merge(mgen_context *ctx, const char *dir, mgi_vt *vt)
{
    const mgi_adapters use = {.count = 1, .list = {{.name = "input", .scale = 1.0}}};
    mgi_model_file base = {.hash = 1};
    uint64_t hash = 0;
    bool good = fuzz_must(ctx, mgi_module_random(&vt->module, 1)) &&
                fuzz_must(ctx, make_base(ctx, vt, &base)) &&
                fuzz_ok(ctx, mgi_adapters_merge(ctx, dir, &use, &base, vt, &hash));
    mgi_free(ctx, base.weights.entries);
    for (int64_t k = 0; good && k < vt->module.count; k++)
        for (int64_t i = 0; i < vt->module.params[k]->value->count; i++)
            FUZZ_CHECK(isfinite(mgi_f32(vt->module.params[k]->value)[i]));
    return good;
}

static bool read_adapter(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    char dir[512], file[640];
    mgi_vt vt;
    if (size < HEAD)
        return false;
    const size_t length = data[0] | (size_t)data[1] << 8, rest = size - HEAD;
    const size_t json = length < rest ? length : rest;
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    snprintf(file, sizeof file, "%s/input.json", dir);
    fuzz_write(file, data + HEAD, json);
    snprintf(file, sizeof file, "%s/input.safetensors", dir);
    fuzz_write(file, data + HEAD + json, rest - json);
    bool good = fuzz_must(ctx, mgi_vt_init(&vt, ctx, &tiny));
    if (good) {
        good = merge(ctx, dir, &vt);
        mgi_vt_finish(&vt);
    }
    mgi_device_trim(ctx->device);
    mgi_device_drop_workspace(ctx->device);
    return good;
}

static uint8_t *make_pair(size_t *size)
{
    static const char json[] =
        "{\"format\": \"moviegen-model\", \"version\": 1, \"kind\": \"video-adapter\", \"config\": "
        "{\"rank\": 1, \"alpha\": 2, \"base\": \"a\", \"base_hash\": \"0123456789abcdef\"}}";
    static const char header[] =
        "{\"base_model.model.block0.attn.out.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[1,8],"
        "\"data_offsets\":[0,32]},\"base_model.model.block0.attn.out.lora_B.weight\":{\"dtype\":"
        "\"BF16\",\"shape\":[8,1],\"data_offsets\":[32,48]}}";
    const uint64_t length = sizeof header - 1;
    const size_t text = sizeof json - 1;
    *size = HEAD + text + sizeof length + sizeof header - 1 + 48;
    uint8_t *out = calloc(*size, 1), *at = out + HEAD;
    FUZZ_CHECK(out);
    out[0] = (uint8_t)text;
    out[1] = (uint8_t)(text >> 8);
    memcpy(at, json, text);
    memcpy(at + text, &length, sizeof length);
    memcpy(at + text + sizeof length, header, sizeof header - 1);
    return out;
}

static const fuzz_seed adapters[] = {{.make = make_pair}};

const fuzz_target fuzz_adapter = {
    .name = "adapter",
    .size_max = 16384,
    .ending = ".bin",
    .failures = {MGEN_E_VERSION, MGEN_E_UNSUPPORTED},
    FUZZ_SEEDS(adapters),
    .open = open_device,
    .read = read_adapter,
};
