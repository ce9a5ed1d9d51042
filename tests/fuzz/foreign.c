/* SPDX-License-Identifier: MIT
 * Folders of Hugging Face's: a configuration and the weights that belong to it. The input's first byte says what the folder
 * is read as, two more how long its config.json is; the rest is its model.safetensors. */
#include "fuzz.h"

#include "model/clip_vision_hf.h"
#include "model/text_encoder_hf.h"
#include "tensor/device.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

enum { TEXT, VISION, KINDS, HEAD = 3 };

static void open_device(mgen_context *ctx)
{
    FUZZ_CHECK(mgi_device_create(ctx, NULL) == MGEN_OK);
}

/* They are all there. */
static void check_numbers(const mgi_module *m)
{
    double sum = 0.0;
    for (int64_t k = 0; k < m->count; k++) {
        const mgi_param *p = m->params[k];
        FUZZ_CHECK(p->value->count > 0 && p->value->dtype == MGK_F32);
        for (int64_t i = 0; i < p->value->count; i++)
            sum += fabs((double)mgi_f32(p->value)[i]);
    }
    FUZZ_CHECK(!(sum < 0.0));
}

static bool open_model(mgen_context *ctx, int kind, const char *dir)
{
    mgi_text_encoder text;
    mgi_clip_vision vision;
    uint64_t hash;
    bool good = false;
    if (kind == TEXT && (good = fuzz_ok(ctx, mgi_hf_text_encoder_open(ctx, dir, "foreign", NULL,
                                                                      true, &text, &hash)))) {
        check_numbers(mgi_text_module(&text));
        mgi_text_encoder_finish(&text);
    }
    if (kind == VISION &&
        (good = fuzz_ok(ctx, mgi_hf_clip_vision_open(ctx, dir, "foreign", &vision, &hash)))) {
        check_numbers(&vision.module);
        mgi_clip_vision_finish(&vision);
    }
    return good;
}

static bool read_foreign(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    char dir[512], folder[600], file[640];
    if (size < HEAD)
        return false;
    const size_t length = data[1] | (size_t)data[2] << 8, rest = size - HEAD;
    const size_t config = length < rest ? length : rest;
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    snprintf(folder, sizeof folder, "%s/foreign", dir);
    mkdir(folder, 0777);
    snprintf(file, sizeof file, "%s/config.json", folder);
    fuzz_write(file, data + HEAD, config);
    snprintf(file, sizeof file, "%s/model.safetensors", folder);
    fuzz_write(file, data + HEAD + config, rest - config);
    const bool good = open_model(ctx, data[0] % KINDS, dir);
    mgi_device_trim(ctx->device);
    return good;
}

static uint8_t *make(uint8_t kind, const char *folder, size_t *size)
{
    char name[128];
    size_t config, weights;
    snprintf(name, sizeof name, "%s/config.json", folder);
    uint8_t *a = fuzz_source_file(name, &config);
    snprintf(name, sizeof name, "%s/model.safetensors", folder);
    uint8_t *b = fuzz_source_file(name, &weights), *out = malloc(HEAD + config + weights);
    FUZZ_CHECK(out && config < 65536);
    out[0] = kind;
    out[1] = (uint8_t)config;
    out[2] = (uint8_t)(config >> 8);
    memcpy(out + HEAD, a, config);
    memcpy(out + HEAD + config, b, weights);
    *size = HEAD + config + weights;
    free(a);
    free(b);
    return out;
}

static uint8_t *make_text(size_t *size)
{
    return make(TEXT, "tests/unit/text/hf/byt5", size);
}

static uint8_t *make_vision(size_t *size)
{
    return make(VISION, "tests/unit/vision/bare", size);
}

static const fuzz_seed folders[] = {{.make = make_text}, {.make = make_vision}};

const fuzz_target fuzz_foreign = {
    .name = "foreign",
    .size_max = 16384,
    .ending = ".bin",
    .failures = {MGEN_E_UNSUPPORTED, MGEN_E_NOT_FOUND},
    FUZZ_SEEDS(folders),
    .open = open_device,
    .read = read_foreign,
};
