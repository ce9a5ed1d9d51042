/* SPDX-License-Identifier: MIT
 * SentencePiece's unigram tokenizer, from a .model file (protocol buffers): UL2 and T5. Tier 5.
 *
 * The file is data from outside: each length is compared with the bytes present, the normaliser's trie is walked
 * with every step checked. Token ids of a text are those of spm_encode, which never reads a control symbol
 * ("</s>") out of a text. */
#ifndef MGI_TEXT_SENTENCEPIECE_H
#define MGI_TEXT_SENTENCEPIECE_H

#include "text/tokens.h"

#define MGI_SP_FILE_MAX   ((size_t)1 << 26) /* bytes of a model file */
#define MGI_SP_PIECES_MAX ((size_t)1 << 20)
#define MGI_SP_PIECE_MAX  1024              /* bytes of a piece */
#define MGI_SP_TEXT_MAX   ((size_t)1 << 20) /* bytes of a text, before and after normalisation */

/* As in the file. */
enum {
    MGI_SP_NORMAL = 1,
    MGI_SP_UNKNOWN,
    MGI_SP_CONTROL,
    MGI_SP_USER, /* defined by the user: matched before normalisation */
    MGI_SP_UNUSED,
    MGI_SP_BYTE
};

/* A part of the file. */
typedef struct mgi_sp_bytes {
    const uint8_t *data;
    size_t size;
} mgi_sp_bytes;

typedef struct mgi_sp_piece {
    mgi_sp_bytes text;
    float score;
    int32_t type;
} mgi_sp_piece;

typedef struct mgi_sp {
    uint8_t *file;
    mgi_sp_piece *piece;
    size_t count;
    uint32_t *sorted; /* pieces that a text can hold, by their bytes */
    size_t sorted_count;
    size_t users; /* of them defined by the user */
    int32_t unknown, byte[256];
    int32_t start, end,
        pad; /* "<s>", "</s>", "<pad>" by the names in the file; -1: there is none */
    float score_min, score_max;
    bool byte_fallback, space_last;
    bool dummy_space, remove_spaces, escape_spaces;
    mgi_sp_bytes trie, replaced; /* of the normaliser: a double array, texts that end in NUL */
} mgi_sp;

/* The file, in memory, which is copied; `what` names it in messages. CORRUPT; UNSUPPORTED if it is no unigram
 * model. */
mgen_status mgi_sp_read(mgen_context *ctx, const char *what, const uint8_t *data, size_t size,
                        mgi_sp *out);
void mgi_sp_finish(mgen_context *ctx, mgi_sp *sp);

/* Appends to *out. A byte that is not UTF-8 counts as U+FFFD. LIMIT: the text is too long; CORRUPT: the model's
 * normaliser leads out of its tables. */
mgen_status mgi_sp_encode(mgen_context *ctx, const mgi_sp *sp, const char *text, size_t size,
                          mgi_tokens *out);

/* The way back: *out receives the text, which the caller frees; what a byte stands for need not be UTF-8. Left out: control
 * symbols, the unknown piece, ids that there are not, bytes of 0, and the spaces that encoding puts in front (behind, for a
 * model that has them there). */
mgen_status mgi_sp_decode(mgen_context *ctx, const mgi_sp *sp, const int32_t *ids, int64_t count,
                          char **out);

/* Those of the sorted pieces from *first to *end that go on with `c` behind `depth` bytes in common. Where *first ==
 * *end there are none. */
void mgi_sp_narrow(const mgi_sp *sp, size_t depth, uint8_t c, size_t *first, size_t *end);

#endif
