/* SPDX-License-Identifier: MIT
 * CLIP's tokenizer, byte pairs within words, from the two files that are usual: vocab.json (token -> id) and
 * merges.txt. Tier 5.
 *
 * Text is put into normal form C and made lower case; it is cut into words ('s 't 're 've 'm 'll 'd, runs of
 * letters, single numbers, runs of what is neither; white space only separates), and the bytes of each word are
 * joined as merges.txt says. "<|endoftext|>" in a text is text: a prompt cannot hold a special token. */
#ifndef MGI_TEXT_BPE_H
#define MGI_TEXT_BPE_H

#include "io/json.h"
#include "text/tokens.h"

#define MGI_BPE_FILE_MAX  ((size_t)1 << 26) /* bytes of either file */
#define MGI_BPE_VOCAB_MAX ((int64_t)1 << 20)
#define MGI_BPE_TOKEN_MAX 1024              /* bytes of a token as it is written */
#define MGI_BPE_TEXT_MAX  ((size_t)1 << 20) /* bytes of a text */

typedef struct mgi_bpe_merge {
    int32_t left, right, joined; /* ids */
    int32_t rank;                /* its line: the lowest is done first */
} mgi_bpe_merge;

typedef struct mgi_bpe {
    int64_t vocab;
    mgi_bpe_merge *merges; /* by left and right */
    size_t merge_count;
    int32_t byte[2][256]; /* [1]: at the end of a word */
    int32_t start, end;
} mgi_bpe;

/* The two files, in memory. CORRUPT if one breaks the rules or they do not belong together: ids are 0 to count
 * - 1, each byte has its two tokens, a merge joins tokens that stand for themselves before it. */
mgen_status mgi_bpe_read(mgen_context *ctx, const char *vocab, size_t vocab_size,
                         const char *merges, size_t merges_size, mgi_bpe *out);
void mgi_bpe_finish(mgen_context *ctx, mgi_bpe *bpe);

/* Appends to *out, without start and end. A byte that is not UTF-8 counts as U+FFFD. LIMIT: the text is too long. */
mgen_status mgi_bpe_encode(mgen_context *ctx, const mgi_bpe *bpe, const char *text, size_t size,
                           mgi_tokens *out);

/* The merge of two tokens, or NULL. */
const mgi_bpe_merge *mgi_bpe_find(const mgi_bpe *bpe, int32_t left, int32_t right);

#endif
