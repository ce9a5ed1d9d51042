/* SPDX-License-Identifier: MIT
 * Targets that read any bytes at all, and what they share.
 *
 * Whatever the input, a reader says MGEN_OK or one of its documented failures with a sentence, stays under the
 * context's limit of memory and gives all of it back. Each input is read twice, the second time with memory that runs
 * out somewhere. A target that finds otherwise ends the program, as a fuzzer expects. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "core/context.h"

#include <stdio.h>
#include <stdlib.h>

enum { FUZZ_MEMORY_MAX = 64 << 20 /* bytes, the context's limit */, FUZZ_FAILURES_MAX = 3 };

/* A good input: text, a file of the sources, or what `make` returns from malloc. */
typedef struct fuzz_seed {
    const char *text, *file;
    uint8_t *(*make)(size_t *size);
} fuzz_seed;

typedef struct fuzz_target {
    const char *name;
    size_t size_max;    /* bytes of an input */
    const char *ending; /* of the file that the input is put into; NULL: it is read from memory */
    mgen_status failures[FUZZ_FAILURES_MAX]; /* beside CORRUPT and LIMIT */
    const fuzz_seed *seeds;
    int seed_count;
    /* Once, before any input; may be NULL. */
    void (*open)(mgen_context *ctx);
    /* Whether the input is good. `path` is its file, if it has an ending. */
    bool (*read)(mgen_context *ctx, const uint8_t *data, size_t size, const char *path);
} fuzz_target;

#define FUZZ_SEEDS(list) .seeds = (list), .seed_count = (int)(sizeof(list) / sizeof((list)[0]))

extern const fuzz_target fuzz_json, fuzz_safetensors, fuzz_index, fuzz_sentencepiece, fuzz_bpe,
    fuzz_config, fuzz_recipe, fuzz_pipeline, fuzz_manifest, fuzz_y4m, fuzz_png, fuzz_picture,
    fuzz_prompt, fuzz_tuned, fuzz_wav, fuzz_rules, fuzz_clips, fuzz_seen, fuzz_peer, fuzz_state,
    fuzz_shard, fuzz_caption, fuzz_pairs, fuzz_csv, fuzz_foreign, fuzz_adapter;

/* ---- for the programs ---------------------------------------------------------------------------- */

/* A folder for inputs in files; "" if there is none. Removed by fuzz_remove_folder. */
void fuzz_make_folder(void);
void fuzz_remove_folder(void);
/* One input; true if it was good. The first call of a process makes the context. */
bool fuzz_input(const fuzz_target *target, const uint8_t *data, size_t size);
/* A seed, from malloc. */
uint8_t *fuzz_seed_bytes(const fuzz_target *target, int seed, size_t *size);

/* ---- for the targets ------------------------------------------------------------------------------ */

/* Ends the program if what must hold does not. */
#define FUZZ_CHECK(fact) ((fact) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #fact))
_Noreturn void fuzz_broken(const char *file, int line, const char *fact);

/* True if the status is MGEN_OK; else it must be an allowed failure with a message. */
bool fuzz_ok(mgen_context *ctx, mgen_status status);
/* What can only fail for want of memory. */
bool fuzz_must(mgen_context *ctx, mgen_status status);

/* A file of the sources, from malloc. */
uint8_t *fuzz_source_file(const char *name, size_t *size);
void fuzz_write(const char *path, const uint8_t *data, size_t size);
/* The bytes and a NUL behind them, from malloc. */
char *fuzz_text(const uint8_t *data, size_t size);

#endif
