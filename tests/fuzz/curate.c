/* SPDX-License-Identifier: MIT
 * Rules of curation, lists of clips and what was seen of films: what they accept is in range. */
#include "fuzz.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "data/clip_list.h"
#include "data/curate.h"
#include "data/curate_journal.h"
#include "data/dataset.h"

#include <math.h>
#include <string.h>

static bool read_rules(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_curate_rules r;
    (void)path;
    if (!fuzz_ok(ctx, mgi_curate_rules_read(ctx, "input", (const char *)data, size, &r)))
        return false;
    FUZZ_CHECK(r.duration_min <= r.duration_max && r.clip_min <= r.clip_max && r.clip_max > 0.0);
    FUZZ_CHECK(r.vector_min <= r.vector_max && r.weight_max >= 1.0 && r.seed >= 0.0);
    FUZZ_CHECK(r.resample >= MGI_RESAMPLE_WEIGHT && r.resample <= MGI_RESAMPLE_NONE);
    return true;
}

static const fuzz_seed rules[] = {
    {.text = "{}"},
    {.text = "{\"base\": \"toybox\", \"resample\": \"drop\", \"text_max\": 0.5, \"clusters\": 12}"},
    {.text = "{\"base\": \"report\", \"clip_min\": 4, \"clip_max\": 16.5, \"vector_max\": 7e0, "
             "\"seed\": 4294967295, \"duplicate_min\": 0.99}"},
};

const fuzz_target fuzz_rules = {
    .name = "rules", .size_max = 4096, FUZZ_SEEDS(rules), .read = read_rules};

static bool read_clips(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_clip_line *lines;
    int64_t count;
    (void)path;
    if (!fuzz_ok(ctx, mgi_clip_list_read(ctx, "input", (const char *)data, size, &lines, &count))) {
        FUZZ_CHECK(!lines && !count);
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        FUZZ_CHECK(*lines[i].file && !strchr(lines[i].file, '/'));
        FUZZ_CHECK(lines[i].first >= 0 && lines[i].frames >= 1);
        FUZZ_CHECK(lines[i].weight >= 0.0 && lines[i].weight <= 1000.0);
        FUZZ_CHECK(lines[i].even >= 0 && lines[i].even_from > -MGI_FILM_TIME_MAX &&
                   lines[i].even_from < MGI_FILM_TIME_MAX);
        FUZZ_CHECK(!lines[i].caption || strlen(lines[i].caption) < MGI_CAPTION_SIZE);
    }
    mgi_clip_list_free(ctx, lines, count);
    return true;
}

static const fuzz_seed clips[] = {
    {.text = ""},
    {.text = "{\"file\": \"a.mp4\", \"first\": 12, \"frames\": 64, \"width\": 96, \"height\": 64, "
             "\"fps\": 16, \"kept\": true, \"weight\": 1.5, \"cluster\": 0, \"even\": 76, "
             "\"even_from\": -281474976710655, \"caption\": \"a b\", "
             "\"scores\": {\"text\": 0, \"border\": 0.5}}\r\n\n"
             "{\"file\": \"b.mp4\", \"first\": 0, \"frames\": 9, \"kept\": false, "
             "\"dropped\": \"scene\"}\n{\"file\": \"c d.y4m\", \"frames\": 1}"},
};

const fuzz_target fuzz_clips = {
    .name = "clips", .size_max = 4096, FUZZ_SEEDS(clips), .read = read_clips};

/* ---- what was seen ------------------------------------------------------------------------------- */

static char name_a[] = "a.mp4", name_b[] = "b c.y4m";
static const mgi_dir_file file_a = {name_a, 900, 7}, file_b = {name_b, 90, 8};
static const mgi_dir_file *const films[] = {&file_a, &file_b};

/* Checksums are made right: what they cover is what is to be read. */
static void seal(uint8_t *data, size_t size)
{
    for (size_t at = 16; size >= 32 && at <= size - 16;) {
        uint64_t all;
        memcpy(&all, data + at, sizeof all);
        if (all < 16 || all > size - at)
            return;
        const uint64_t hash = mgi_hash_large(data + at + 16, (size_t)all - 16, 0);
        memcpy(data + at + 8, &hash, sizeof hash);
        at += (size_t)all;
    }
}

static void check_film(mgen_context *ctx, mgi_curate_film *f)
{
    FUZZ_CHECK(f->count >= 0 && f->count <= f->info.frames && f->fps > 0.0 && f->seconds >= 0.0);
    FUZZ_CHECK(f->info.width >= 1 && f->info.height >= 1 && f->shots >= 0);
    FUZZ_CHECK(f->count || mgi_curate_dropped(f, NULL) < MGI_CURATE_STEPS);
    for (int64_t i = 0; i < f->count; i++) {
        const mgi_curate_clip *c = &f->clips[i];
        FUZZ_CHECK(c->first >= 0 && c->frames >= 1 && c->first + c->frames <= f->info.frames);
        FUZZ_CHECK(!c->view == (mgi_curate_dropped(f, c) < MGI_CURATE_STEPS));
        for (int k = 0; c->view && k < MGI_LIKE_SIZE; k++)
            FUZZ_CHECK(isfinite(c->view->like[k]));
        FUZZ_CHECK(f->known.frames >= 0 && f->known.frames <= f->info.frames);
        FUZZ_CHECK(isfinite(c->text) && isfinite(c->shake) && c->same == -1);
    }
    mgi_curate_film_free(ctx, f);
    mgi_free(ctx, f);
}

static bool read_seen(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_curate_rules r;
    mgi_curate_film *found[2] = {NULL, NULL};
    size_t good;
    int64_t records;
    (void)path;
    uint8_t *copy = malloc(size ? size : 1);
    FUZZ_CHECK(copy);
    memcpy(copy, data, size);
    seal(copy, size);
    mgi_curate_rules_toybox(&r);
    const bool ok =
        fuzz_must(ctx, mgi_curate_journal_read(ctx, copy, size, mgi_curate_journal_key(&r), films,
                                               2, found, &good, &records));
    free(copy);
    FUZZ_CHECK(!ok || (good <= size && (good > 16) == (records > 0)));
    for (int i = 0; i < 2; i++)
        if (found[i])
            check_film(ctx, found[i]);
    return ok && records > 0 && good == size;
}

/* Two records: of a film with a clip that is viewed and one that failed, and of one without any. */
static uint8_t *make_seen(size_t *size)
{
    static mgi_curate_view view = {.like = {0.5f}, .theme = {0.25f}};
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    mgi_curate_rules r;
    mgi_curate_journal j;
    mgi_curate_film *found[2] = {NULL, NULL};
    char dir[] = "/tmp/fuzz-seen-XXXXXX", list[64], path[80];
    mgi_curate_clip parts[] = {
        {.first = 3, .frames = 90, .text = 0.25, .motion = 2.5, .view = &view},
        {.first = 200, .frames = 64, .still = 1.0, .fails = UINT32_C(1) << MGI_CURATE_STILL},
    };
    mgi_curate_film film = {.info = {96, 64, 300, 24, 1},
                            .fps = 24.0,
                            .seconds = 12.5,
                            .shots = 2,
                            .known = {-512, 280},
                            .clips = parts,
                            .count = 2};
    const mgi_curate_film none = {
        .info = {32, 16, 0, 16, 1}, .fps = 16.0, .fails = UINT32_C(1) << MGI_CURATE_RESOLUTION};
    mgi_curate_rules_toybox(&r);
    FUZZ_CHECK(mkdtemp(dir) && mgi_context_init(&ctx, &params) == MGEN_OK);
    snprintf(list, sizeof list, "%s/list", dir);
    snprintf(path, sizeof path, "%s" MGI_CURATE_SEEN, list);
    FUZZ_CHECK(mgi_curate_journal_open(ctx, list, &r, films, 2, found, &j) == MGEN_OK);
    mgi_curate_journal_add(&j, &file_a, &film);
    mgi_curate_journal_add(&j, &file_b, &none);
    FUZZ_CHECK(mgi_curate_journal_check(&j) == MGEN_OK);
    mgi_curate_journal_close(&j, false);
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(16384);
    FUZZ_CHECK(f && data);
    *size = fread(data, 1, 16384, f);
    fclose(f);
    remove(path);
    remove(dir);
    mgi_context_free(ctx);
    return data;
}

static const fuzz_seed seen[] = {{.make = make_seen}};

const fuzz_target fuzz_seen = {
    .name = "seen", .size_max = 16384, FUZZ_SEEDS(seen), .read = read_seen};
