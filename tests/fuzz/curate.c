/* SPDX-License-Identifier: MIT
 * Rules of curation, and lists of clips: what they accept is in range. */
#include "fuzz.h"

#include "data/clip_list.h"
#include "data/curate_rules.h"
#include "data/dataset.h"

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
        FUZZ_CHECK(!lines[i].caption || strlen(lines[i].caption) < MGI_CAPTION_SIZE);
    }
    mgi_clip_list_free(ctx, lines, count);
    return true;
}

static const fuzz_seed clips[] = {
    {.text = ""},
    {.text = "{\"file\": \"a.mp4\", \"first\": 12, \"frames\": 64, \"width\": 96, \"height\": 64, "
             "\"fps\": 16, \"kept\": true, \"weight\": 1.5, \"cluster\": 0, \"caption\": \"a b\", "
             "\"scores\": {\"text\": 0, \"border\": 0.5}}\r\n\n"
             "{\"file\": \"b.mp4\", \"first\": 0, \"frames\": 9, \"kept\": false, "
             "\"dropped\": \"scene\"}\n{\"file\": \"c d.y4m\", \"frames\": 1}"},
};

const fuzz_target fuzz_clips = {
    .name = "clips", .size_max = 4096, FUZZ_SEEDS(clips), .read = read_clips};
