/* SPDX-License-Identifier: MIT
 * Text to tokens, by any of the tokenizers. Tier 5. */
#ifndef MGI_TEXT_TOKENIZER_H
#define MGI_TEXT_TOKENIZER_H

#include "io/path.h"
#include "text/bpe.h"
#include "text/sentencepiece.h"

enum { MGI_TOKENIZER_BYTES, MGI_TOKENIZER_SENTENCEPIECE, MGI_TOKENIZER_BPE };
enum { MGI_TOKENIZER_FILES = 2 };

/* Its files, single components of a folder: none for bytes; the model; vocabulary and merges. */
typedef struct mgi_tokenizer_files {
    char name[MGI_TOKENIZER_FILES][MGI_NAME_MAX + 1];
} mgi_tokenizer_files;

typedef struct mgi_tokenizer {
    int kind;
    int64_t vocab; /* ids are 0..vocab-1 */
    mgi_tokens_frame frame;
    mgi_tokenizer_files files;
    struct {
        uint8_t *data;
        size_t size;
    } file[MGI_TOKENIZER_FILES]; /* as they were read: a model is saved with them */
    mgi_sp sp;
    mgi_bpe bpe;
} mgi_tokenizer;

/* From files of `dir`. CORRUPT if one breaks the rules of its reader or lacks a special token. */
mgen_status mgi_tokenizer_open(mgen_context *ctx, int kind, const char *dir,
                               const mgi_tokenizer_files *files, mgi_tokenizer *out);
void mgi_tokenizer_finish(mgen_context *ctx, mgi_tokenizer *t);

/* The files, as they were read, into `dir`. */
mgen_status mgi_tokenizer_save(mgen_context *ctx, const mgi_tokenizer *t, const char *dir);

/* Of all its files; 0 if there are none. */
uint64_t mgi_tokenizer_hash(const mgi_tokenizer *t);

/* Appends the tokens of a text to *out, without what the frame adds. */
mgen_status mgi_tokenizer_encode(mgen_context *ctx, const mgi_tokenizer *t, const char *text,
                                 mgi_tokens *out);
/* The way back: *out receives the text, which the caller frees. Bytes, which a model may write one by one, need not be
 * UTF-8. Left out: what surrounds texts, ids that there are not, bytes of 0. UNSUPPORTED: not from byte pairs. */
mgen_status mgi_tokenizer_decode(mgen_context *ctx, const mgi_tokenizer *t, const int32_t *ids,
                                 int64_t count, char **out);
/* Tokens of such a text with its frame, at most `most`. */
int64_t mgi_tokenizer_length(const mgi_tokenizer *t, const mgi_tokens *tokens, int64_t most);

#endif
