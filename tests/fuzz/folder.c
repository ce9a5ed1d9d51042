/* SPDX-License-Identifier: MIT
 * Texts in a folder of films, and the pairs of prompts that a rewriter learns from. */
#include "fuzz.h"

#include "data/folder.h"
#include "text/edit_task.h"
#include "text/byte_tokenizer.h"
#include "train/prompt_pairs.h"

#include <string.h>

/* ---- captions and instructions -------------------------------------------------------------------- */

static void check_text(const char *text)
{
    size_t bad, length = strlen(text);
    FUZZ_CHECK(length < MGI_CAPTION_SIZE && mgi_utf8_valid(text, length, &bad));
    FUZZ_CHECK(!strpbrk(text, "\n\r\t"));
}

static bool read_text(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    static char name[] = "input.txt";
    const mgi_dir_file file = {name, size, 0};
    char dir[512], text[MGI_CAPTION_SIZE];
    const char *instruction;
    (void)data;
    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';
    if (!fuzz_ok(ctx, mgi_folder_text(ctx, dir, &file, "caption", false, text)))
        return false;
    check_text(text);
    if (fuzz_ok(ctx, mgi_folder_text(ctx, dir, &file, "instruction", true, text))) {
        check_text(text);
        mgi_edit_task_read(text, &instruction);
        FUZZ_CHECK(instruction >= text && instruction <= text + strlen(text));
    }
    return true;
}

static const fuzz_seed texts[] = {{.text = ""},
                                  {.text = "\xEF\xBB\xBF a red ball\r\n\tthat falls \n\n"},
                                  {.text = "style: make it \xc3\xa4 painting"},
                                  {.text = "add: a hat"}};

const fuzz_target fuzz_caption = {
    .name = "caption", .size_max = 4096, .ending = ".txt", FUZZ_SEEDS(texts), .read = read_text};

/* ---- pairs ---------------------------------------------------------------------------------------- */

static bool read_pairs(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    static mgi_stage stage;
    mgi_prompt_pairs pairs;
    mgi_prompt_pair pair;
    (void)data;
    snprintf(stage.folder, sizeof stage.folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    snprintf(stage.pairs, sizeof stage.pairs, "%s", strrchr(path, '/') + 1);
    if (!fuzz_ok(ctx, mgi_prompt_pairs_open(ctx, &stage, 5, &pairs)))
        return false;
    FUZZ_CHECK(pairs.count >= 1 && pairs.count <= (int64_t)size && pairs.held < pairs.count);
    for (int64_t i = 0; i < pairs.count; i++) {
        mgi_prompt_pairs_take(&pairs, (uint64_t)i, &pair);
        FUZZ_CHECK(*pair.prompt && *pair.caption);
    }
    for (int64_t i = 0; i < mgi_prompt_pairs_held(&pairs, 4); i++) {
        mgi_prompt_pairs_hold(&pairs, i, &pair);
        FUZZ_CHECK(*pair.prompt && *pair.caption);
    }
    mgi_prompt_pairs_close(ctx, &pairs);
    return true;
}

#define PAIR "{\"prompt\": \"a ball\", \"caption\": \"a red ball rolls\"}\n"
#define FOUR PAIR PAIR PAIR PAIR

static const fuzz_seed lists[] = {
    {.text = PAIR "\r\n \t\n{\"caption\": \"b \\u00e4\", \"prompt\": \"\\\"\"}"},
    {.text = FOUR FOUR FOUR FOUR FOUR FOUR}};

const fuzz_target fuzz_pairs = {
    .name = "pairs", .size_max = 4096, .ending = ".jsonl", FUZZ_SEEDS(lists), .read = read_pairs};
