/* SPDX-License-Identifier: MIT
 * All targets without a fuzzer: their seeds, which must be good, then inputs made of them by chance.
 *
 *   test_fuzz                  prints TAP; MOVIEGEN_FUZZ in the environment: inputs a target
 *   test_fuzz --seeds FOLDER   writes the seeds, into a folder a target
 *
 * An input is a function of the target and its number alone. Each target runs in a process of its own; one that ends
 * otherwise than well leaves its input behind, for fuzz_<target> of scripts/fuzz.sh. */
#include "fuzz.h"

#include "core/philox.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INPUTS = 5000, SECONDS_MAX = 120, CHANGES_MAX = 3 };

static const fuzz_target *const targets[] = {
    &fuzz_json,    &fuzz_safetensors, &fuzz_index,    &fuzz_sentencepiece, &fuzz_bpe,
    &fuzz_config,  &fuzz_recipe,      &fuzz_pipeline, &fuzz_manifest,      &fuzz_y4m,
    &fuzz_png,     &fuzz_picture,     &fuzz_prompt,   &fuzz_tuned,         &fuzz_wav,
    &fuzz_rules,   &fuzz_clips,       &fuzz_seen,     &fuzz_peer,          &fuzz_state,
    &fuzz_shard,   &fuzz_caption,     &fuzz_pairs,    &fuzz_csv,           &fuzz_foreign,
    &fuzz_adapter,
};
enum { TARGETS = sizeof targets / sizeof targets[0] };

/* What a target's process tells. */
typedef struct progress {
    uint64_t input, good;
} progress;

/* ---- inputs ------------------------------------------------------------------------------------------ */

typedef struct bytes {
    uint8_t *data;
    size_t size, room;
} bytes;

static uint32_t chance(uint64_t input, uint64_t *draw, size_t below)
{
    return below ? mgi_random_u32(1, input, (*draw)++) % (uint32_t)below : 0;
}

/* `count` bytes of `from` in place of `gone` bytes at `at`; cut off where there is no room. */
static void replace(bytes *b, size_t at, size_t gone, const uint8_t *from, size_t count)
{
    if (b->size - gone + count > b->room)
        count = b->room - (b->size - gone);
    memmove(b->data + at + count, b->data + at + gone, b->size - at - gone);
    memcpy(b->data + at, from, count);
    b->size = b->size - gone + count;
}

static void change(bytes *b, const bytes *other, uint64_t input, uint64_t *draw)
{
    static const char *const words[] = {"\xff\xff\xff\xff",
                                        "\x7f",
                                        "\x80\x80\x80\x80\x10",
                                        "0",
                                        "-1",
                                        "9223372036854775808",
                                        "4294967296",
                                        "1e999",
                                        "\"",
                                        "{",
                                        "[",
                                        "]",
                                        "}",
                                        ",",
                                        ":",
                                        " ",
                                        "\n",
                                        "\\u0000",
                                        "\\ud800",
                                        "null",
                                        "\xed\xa0\x80",
                                        "\xf4\x90\x80\x80",
                                        "\xc0\x80"};
    static const uint8_t nothing[8];
    size_t at = chance(input, draw, b->size), left = b->size - at, n;
    const char *word;
    switch (chance(input, draw, 8)) {
    case 0:
    case 1: /* a bit */
        if (left)
            b->data[at] ^= (uint8_t)(1u << chance(input, draw, 8));
        break;
    case 2: /* a byte */
        if (left)
            b->data[at] = (uint8_t)chance(input, draw, 256);
        break;
    case 3: /* cut off, or a part taken out */
        n = chance(input, draw, 4) ? chance(input, draw, left < 16 ? left + 1 : 16) : left;
        replace(b, at, n, nothing, 0);
        break;
    case 4: /* a word, in place of as many bytes or between them */
        word = words[chance(input, draw, sizeof words / sizeof words[0])];
        n = chance(input, draw, 2) ? strlen(word) : 0;
        replace(b, at, n < left ? n : left, (const uint8_t *)word, strlen(word));
        break;
    case 5: /* zeros */
        n = 1 + chance(input, draw, sizeof nothing);
        replace(b, at, n < left ? n : left, nothing, n);
        break;
    default: { /* a piece of a seed, somewhere else */
        size_t from = chance(input, draw, other->size), most = other->size - from;
        n = chance(input, draw, (most < 64 ? most : 64) + 1);
        if (chance(input, draw, 4) == 0)
            replace(b, at, left, other->data + from, most); /* its whole end */
        else
            replace(b, at, chance(input, draw, 2) && n <= left ? n : 0, other->data + from, n);
    }
    }
}

/* The input of that number, from malloc. */
static uint8_t *make_input(const fuzz_target *target, const bytes *seeds, uint64_t input,
                           size_t *size)
{
    uint64_t draw = 0, count = (uint64_t)target->seed_count;
    const bytes *seed = &seeds[input % count];
    bytes b = {malloc(target->size_max + 1), seed->size, target->size_max};
    FUZZ_CHECK(b.data && seed->size <= b.room);
    memcpy(b.data, seed->data, seed->size);
    if (input >= count) {
        uint32_t changes = 1 + chance(input, &draw, CHANGES_MAX);
        for (uint32_t i = 0; i < changes; i++)
            change(&b, &seeds[chance(input, &draw, count)], input, &draw);
    }
    /* No byte more than the input has, so that a sanitizer sees what is read behind it. */
    uint8_t *data = malloc(b.size ? b.size : 1);
    FUZZ_CHECK(data);
    memcpy(data, b.data, b.size);
    free(b.data);
    *size = b.size;
    return data;
}

static bytes *make_seeds(const fuzz_target *target)
{
    bytes *seeds = calloc((size_t)target->seed_count, sizeof *seeds);
    FUZZ_CHECK(seeds);
    for (int i = 0; i < target->seed_count; i++)
        seeds[i].data = fuzz_seed_bytes(target, i, &seeds[i].size);
    return seeds;
}

static void free_seeds(const fuzz_target *target, bytes *seeds)
{
    for (int i = 0; i < target->seed_count; i++)
        free(seeds[i].data);
    free(seeds);
}

/* ---- runs -------------------------------------------------------------------------------------------- */

static void run_inputs(const fuzz_target *target, const bytes *seeds, uint64_t inputs, progress *p)
{
    for (p->input = 0; p->input < inputs; p->input++) {
        size_t size;
        uint8_t *data = make_input(target, seeds, p->input, &size);
        bool good = fuzz_input(target, data, size);
        FUZZ_CHECK(good || p->input >= (uint64_t)target->seed_count); /* a seed is good */
        p->good += good;
        free(data);
    }
}

/* What the process was reading when it ended. */
static void keep_input(const fuzz_target *target, const bytes *seeds, const progress *p)
{
    char path[64];
    size_t size;
    uint8_t *data = make_input(target, seeds, p->input, &size);
    snprintf(path, sizeof path, "fuzz-%s-%llu", target->name, (unsigned long long)p->input);
    fuzz_write(path, data, size);
    printf("# its input is in the file %s\n", path);
    free(data);
}

static bool run_target(const fuzz_target *target, uint64_t inputs, int number)
{
    progress *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bytes *seeds = make_seeds(target);
    int status = -1;
    FUZZ_CHECK(p != MAP_FAILED);
    fflush(stdout);
    pid_t child = fork();
    FUZZ_CHECK(child >= 0);
    if (child == 0) {
        alarm(SECONDS_MAX);
        run_inputs(target, seeds, inputs, p);
        free_seeds(target, seeds);
        exit(0);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    printf("%sok %d - %s: %llu inputs, %llu of them good\n", good ? "" : "not ", number,
           target->name, (unsigned long long)p->input, (unsigned long long)p->good);
    if (!good)
        printf("# %s: %s %d at input %llu\n", target->name,
               WIFSIGNALED(status) ? "signal" : "exit status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
               (unsigned long long)p->input);
    if (!good && p->input < inputs)
        keep_input(target, seeds, p);
    free_seeds(target, seeds);
    munmap(p, sizeof *p);
    return good;
}

static void write_seeds(const char *folder)
{
    for (int t = 0; t < TARGETS; t++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, targets[t]->name);
        mkdir(path, 0777);
        for (int i = 0; i < targets[t]->seed_count; i++) {
            size_t size;
            uint8_t *data = fuzz_seed_bytes(targets[t], i, &size);
            snprintf(path, sizeof path, "%s/%s/seed-%d", folder, targets[t]->name, i);
            fuzz_write(path, data, size);
            free(data);
        }
    }
}

int main(int argc, char **argv)
{
    const char *asked = getenv("MOVIEGEN_FUZZ");
    uint64_t inputs = asked ? strtoull(asked, NULL, 10) : INPUTS;
    bool good = true;
    if (argc == 3 && !strcmp(argv[1], "--seeds")) {
        write_seeds(argv[2]);
        return 0;
    }
    fuzz_make_folder();
    printf("1..%d\n", TARGETS);
    for (int t = 0; t < TARGETS; t++)
        good = run_target(targets[t], inputs, t + 1) && good;
    fuzz_remove_folder();
    return !good;
}
