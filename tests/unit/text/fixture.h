/* SPDX-License-Identifier: MIT
 * What the tests of tokenizers share: fixtures in memory, ids that were expected, damaged copies. */
#ifndef TESTS_UNIT_TEXT_FIXTURE_H
#define TESTS_UNIT_TEXT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/philox.h"
#include "io/json.h"
#include "io/path.h"
#include "text/tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../failing_memory.h"

static failing memory;
static mgen_context *ctx;
static uint64_t empty_bytes;
static char folder[512];

static inline int set_up(void **state)
{
    (void)state;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
    const char *source = getenv("MOVIEGEN_SOURCE");
    snprintf(folder, sizeof folder, "%s/tests/unit/text", source ? source : ".");
    if (mgi_context_init(&ctx, &params) != MGEN_OK)
        return -1;
    empty_bytes = ctx->heap->now;
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    int kept = ctx->heap->now != empty_bytes;
    mgi_context_free(ctx);
    return kept || memory.blocks ? -1 : 0;
}

static inline mgi_file open_fixture(const char *name)
{
    mgi_file file;
    if (mgi_file_open_in(ctx, folder, name, &file) != MGEN_OK)
        fail_msg("%s/%s: %s (MOVIEGEN_SOURCE names the folder of the sources)", folder, name,
                 ctx->error_text);
    return file;
}

/* A list of {"text": ..., <name>: [ids], ...}. */
static inline mgi_json *open_expected(const char *name)
{
    mgi_json *root = NULL;
    mgi_file file = open_fixture(name);
    assert_int_equal(mgi_json_parse(ctx, name, (const char *)file.data, file.size, &root), MGEN_OK);
    mgi_file_close(ctx, &file);
    assert_true(root->i > 40);
    return root;
}

static inline void assert_ids(const mgi_json *item, const char *name, const mgi_tokens *tokens)
{
    const mgi_json *list = mgi_json_find(item, name), *text = mgi_json_find(item, "text");
    assert_non_null(list);
    const mgi_json *want = list->child;
    for (size_t i = 0; i < tokens->count || want; i++, want = want->next)
        if (i >= tokens->count || !want || tokens->ids[i] != want->i)
            fail_msg("%s: '%.60s': token %zu is %d, not %d", name, text->s, i,
                     i < tokens->count ? tokens->ids[i] : -1, want ? (int)want->i : -1);
}

/* Call `work` with ever later allocations failing until it succeeds: NO_MEMORY each time, and nothing is kept. */
static inline void fail_each(mgen_status (*work)(void))
{
    mgen_status status = MGEN_E_NO_MEMORY;
    uint64_t before = ctx->heap->now;
    for (int k = 1; status != MGEN_OK; k++) {
        memory.calls = 0;
        memory.fail_at = k;
        status = work();
        memory.fail_at = 0;
        assert_true(status == MGEN_OK ? k > 4 : status == MGEN_E_NO_MEMORY);
        assert_int_equal(ctx->heap->now, before);
    }
}

static inline uint32_t random_word(uint64_t stream, uint64_t i)
{
    return mgi_random_u32(77, stream, i);
}

/* One to four random bytes of a copy changed. */
static inline void damage(uint8_t *copy, const mgi_file *file, uint64_t round)
{
    memcpy(copy, file->data, file->size);
    for (uint32_t k = 0; k <= random_word(1, round) % 4; k++) {
        uint32_t at = random_word(2 + k, round) % (uint32_t)file->size,
                 how = random_word(10 + k, round);
        copy[at] = how & 1 ? (uint8_t)(copy[at] ^ 1u << (how >> 8) % 8) : (uint8_t)(how >> 16);
    }
}

#endif
