/* SPDX-License-Identifier: MIT
 * Checkpoints: one rank's file, and a shard in a folder whose manifest is right. Each is read a second time with its hash
 * put right, without which no damage passes it. */
#include "fuzz.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "train/checkpoint_shards.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define SAVE "0123456789abcdef"

/* What is no training, but has all that a checkpoint holds of one. */
struct mgi_stage_run {
    mgi_stage stage;
    mgi_module module;
    mgi_optimizer optimizer;
    int64_t updated;
};

static void state_of(struct mgi_stage_run *r, mgi_stage_state *out)
{
    *out = (mgi_stage_state){.stage = &r->stage,
                             .seed = 7,
                             .parent = 11,
                             .module = {&r->module},
                             .modules = 1,
                             .optimizer = &r->optimizer,
                             .position = &r->updated,
                             .shape = {1, 1, 1}};
}

static const struct mgi_stage_kind kind = {.state = state_of};

static mgen_status run_make(mgen_context *ctx, struct mgi_stage_run *r)
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    char path[4096];
    memset(r, 0, sizeof *r);
    snprintf(path, sizeof path, "%s/examples/models/toybox/recipe.json", source ? source : ".");
    MGI_TRY(mgi_recipe_stage(ctx, path, "tae", &r->stage));
    MGI_TRY(mgi_device_create(ctx, NULL));
    r->stage.optimizer.schedule = MGI_LR_PLATEAU;
    r->updated = 3;
    mgi_module_init(&r->module, ctx);
    mgi_param_add(&r->module, (mgi_param_spec){.codes = true}, MGI_DIMS(4, 3), "a.weight");
    mgi_param_add(&r->module, (mgi_param_spec){.frozen = true}, MGI_DIMS(5), "b");
    MGI_TRY(mgi_module_divide(&r->module));
    MGI_TRY(mgi_module_train(&r->module));
    return mgi_optimizer_init(&r->optimizer, ctx, &r->stage.optimizer, r->stage.steps,
                              (mgi_module *[]){&r->module}, 1);
}

static void run_free(mgen_context *ctx, struct mgi_stage_run *r)
{
    mgi_optimizer_finish(&r->optimizer);
    mgi_module_finish(&r->module);
    ctx->device_destroy(ctx->device);
    ctx->device = NULL;
}

static struct mgi_stage_run under_way;

static void open_run(mgen_context *ctx)
{
    if (run_make(ctx, &under_way) != MGEN_OK)
        fuzz_broken(__FILE__, __LINE__, "a run is made");
}

static bool load(mgen_context *ctx, const char *path)
{
    const bool good = fuzz_ok(ctx, mgi_checkpoint_load(ctx, &kind, &under_way, path));
    FUZZ_CHECK(under_way.updated >= 0 && under_way.updated <= under_way.stage.steps);
    return good;
}

/* The hash of a file that can be opened, where it stands: that of one rank, or of a shard. */
static bool put_check(mgen_context *ctx, const char *path, bool shard, uint8_t *data, size_t size)
{
    mgi_st_file st;
    char check[MGI_SAVE_ID];
    const char *text[MGI_SHARD_FIELDS], *old = NULL;
    mgi_head head;
    uint64_t hash = 0;
    if (mgi_st_open(ctx, NULL, path, &st) != MGEN_OK) {
        ctx->error_set = 0;
        return false;
    }
    for (int i = 0; shard && i < MGI_SHARD_FIELDS; i++) {
        const mgi_json *value = st.metadata ? mgi_json_find(st.metadata, mgi_shard_field[i]) : NULL;
        text[i] = value ? value->s : NULL;
        shard = text[i] != NULL;
        if (shard && i == MGI_SHARD_CHECK) {
            old = text[i];
            hash = mgi_shard_hash(text);
        }
    }
    if (!old && mgi_head_read(ctx, st.metadata, 0, &head) == MGEN_OK) {
        old = head.text[MGI_HEAD_CHECK];
        hash = mgi_head_hash(&head);
    }
    ctx->error_set = 0;
    uint8_t *at =
        old && strlen(old) == MGI_SAVE_ID - 1 ? memmem(data, size, old, MGI_SAVE_ID - 1) : NULL;
    if (at) {
        FUZZ_CHECK(mgi_file_hash(ctx, &st, &hash) == MGEN_OK);
        snprintf(check, sizeof check, "%016" PRIx64, hash);
        memcpy(at, check, MGI_SAVE_ID - 1);
    }
    mgi_st_close(ctx, &st);
    return at != NULL;
}

static bool read_state(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    bool good = load(ctx, path);
    uint8_t *copy = (uint8_t *)fuzz_text(data, size);
    if (!good && put_check(ctx, path, false, copy, size)) {
        fuzz_write(path, copy, size);
        good = load(ctx, path);
    }
    free(copy);
    return good;
}

/* ---- a shard -------------------------------------------------------------------------------------- */

/* Beside the input, what its folder would hold; again only if it is another one. False: no memory for it. */
static bool write_folder(mgen_context *ctx, const char *dir, const uint8_t *data, size_t size,
                         const char *check)
{
    static uint64_t written;
    char name[MGI_SHARD_NAME], path[640];
    mgi_stage_state state;
    mgi_shard shard = {.rank = 0, .bytes = (int64_t)size};
    mgi_manifest m = {.save = SAVE, .mesh = "dp=1,cp=1,tp=1", .shard = &shard, .shards = 1};
    mgi_json_writer w;
    const char *text;
    size_t length;
    const uint64_t hash = mgi_hash64(data, size, 1);
    if (hash == written)
        return true;
    state_of(&under_way, &state);
    snprintf(shard.check, sizeof shard.check, "%s", check);
    mgi_shard_name(SAVE, 0, name);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    fuzz_write(path, data, size);
    mgi_json_writer_init(&w, ctx, 2);
    bool good = fuzz_must(ctx, mgi_head_make(ctx, &state, &m.head));
    if (good) {
        mgi_manifest_write(&w, &m);
        good = fuzz_must(ctx, mgi_json_text(&w, &text, &length));
    }
    if (good) {
        snprintf(path, sizeof path, "%s/" MGI_MANIFEST, dir);
        fuzz_write(path, (const uint8_t *)text, length);
        written = hash;
    }
    mgi_json_writer_free(&w);
    return good;
}

/* Where the hash stands that a shard gives of itself; NULL: nowhere. */
static uint8_t *find_check(uint8_t *data, size_t size)
{
    uint8_t *at = memmem(data, size, "\"check\"", 7), *end = data + size;
    for (at = at ? at + 7 : end; at < end && (*at == ':' || *at == ' ');)
        at++;
    return end - at > MGI_SAVE_ID && *at == '"' ? at + 1 : NULL;
}

/* It, or another where that is none. */
static void told_check(uint8_t *data, size_t size, char out[MGI_SAVE_ID])
{
    const uint8_t *at = find_check(data, size);
    snprintf(out, MGI_SAVE_ID, "%s", SAVE);
    for (int i = 0; at && i < MGI_SAVE_ID - 1; i++)
        out[i] = at[i] && strchr("0123456789abcdef", at[i]) ? (char)at[i] : '0';
}

static bool read_shard(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    char dir[512], check[MGI_SAVE_ID];
    uint8_t *copy = (uint8_t *)fuzz_text(data, size);
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    under_way.updated = 3;
    put_check(ctx, path, true, copy, size);
    told_check(copy, size, check);
    const bool good = write_folder(ctx, dir, copy, size, check) && load(ctx, dir);
    free(copy);
    return good;
}

/* ---- seeds ---------------------------------------------------------------------------------------- */

static uint8_t *take(const char *path, size_t *size)
{
    enum { ROOM = 16384 };
    uint8_t *data = malloc(ROOM);
    FILE *f = fopen(path, "rb");
    FUZZ_CHECK(data && f);
    *size = fread(data, 1, ROOM, f);
    FUZZ_CHECK(*size > 100 && *size < ROOM);
    fclose(f);
    remove(path);
    return data;
}

static uint8_t *make(bool shard, size_t *size)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    struct mgi_stage_run run;
    mgi_stage_state state;
    char dir[] = "/tmp/fuzz-state-XXXXXX", path[64], name[MGI_SHARD_NAME], file[192];
    mgi_manifest m;
    FUZZ_CHECK(mkdtemp(dir) && mgi_context_init(&ctx, &params) == MGEN_OK);
    FUZZ_CHECK(run_make(ctx, &run) == MGEN_OK);
    snprintf(path, sizeof path, "%s/state", dir);
    snprintf(file, sizeof file, "%s", path);
    if (shard) {
        state_of(&run, &state);
        FUZZ_CHECK(mgi_shards_save(ctx, &state, path) == MGEN_OK);
        FUZZ_CHECK(mgi_manifest_read(ctx, path, &m) == MGEN_OK);
        mgi_shard_name(m.save, 0, name);
        snprintf(file, sizeof file, "%s/%s", path, name);
    } else {
        FUZZ_CHECK(mgi_checkpoint_save(ctx, &kind, &run, path) == MGEN_OK);
    }
    uint8_t *data = take(file, size), *save;
    if (shard) { /* its number is another one each time; the hash is put right where it is read */
        while ((save = memmem(data, *size, m.save, MGI_SAVE_ID - 1)))
            memcpy(save, SAVE, MGI_SAVE_ID - 1);
        uint8_t *at = find_check(data, *size);
        FUZZ_CHECK(at);
        memset(at, 'f', MGI_SAVE_ID - 1);
        mgi_manifest_free(ctx, &m);
        snprintf(file, sizeof file, "%s/" MGI_MANIFEST, path);
        remove(file);
        remove(path);
    }
    rmdir(dir);
    run_free(ctx, &run);
    mgi_context_free(ctx);
    return data;
}

static uint8_t *make_state(size_t *size)
{
    return make(false, size);
}

static uint8_t *make_shard(size_t *size)
{
    return make(true, size);
}

static const fuzz_seed states[] = {{.make = make_state}}, shards[] = {{.make = make_shard}};

const fuzz_target fuzz_state = {
    .name = "state",
    .size_max = 16384,
    .ending = ".safetensors",
    .failures = {MGEN_E_STATE, MGEN_E_VERSION},
    FUZZ_SEEDS(states),
    .open = open_run,
    .read = read_state,
};

const fuzz_target fuzz_shard = {
    .name = "shard",
    .size_max = 16384,
    .ending = ".safetensors",
    .failures = {MGEN_E_STATE, MGEN_E_VERSION},
    FUZZ_SEEDS(shards),
    .open = open_run,
    .read = read_shard,
};
