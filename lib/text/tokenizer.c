/* SPDX-License-Identifier: MIT */
#include "text/tokenizer.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "text/byte_tokenizer.h"

#include <string.h>

static mgen_status read_file(mgen_context *ctx, const char *dir, size_t most, int i,
                             mgi_tokenizer *t)
{
    const char *name = t->files.name[i];
    mgi_reader *file;
    MGI_TRY(mgi_reader_open(ctx, dir, name, &file));
    const uint64_t size = mgi_reader_size(file);
    mgen_status status =
        size > most ? mgi_fail(ctx, MGEN_E_CORRUPT, "%s: is larger than %zu bytes", name, most)
                    : mgi_alloc(ctx, (size_t)size, &t->file[i].data);
    if (status == MGEN_OK) {
        t->file[i].size = (size_t)size;
        status = mgi_reader_read(ctx, file, 0, t->file[i].data, (size_t)size);
    }
    mgi_reader_close(ctx, file);
    return status;
}

static mgen_status read_sentencepiece(mgen_context *ctx, const char *dir, mgi_tokenizer *t)
{
    MGI_TRY(read_file(ctx, dir, MGI_SP_FILE_MAX, 0, t));
    MGI_TRY(mgi_sp_read(ctx, t->files.name[0], t->file[0].data, t->file[0].size, &t->sp));
    t->vocab = (int64_t)t->sp.count;
    t->frame = (mgi_tokens_frame){.start = -1, .end = t->sp.end, .pad = t->sp.pad};
    return t->sp.end < 0 ? mgi_fail(ctx, MGEN_E_CORRUPT,
                                    "%s: has no piece for the end of a text; train it with one "
                                    "(--eos_id)",
                                    t->files.name[0])
                         : MGEN_OK;
}

static mgen_status read_bpe(mgen_context *ctx, const char *dir, mgi_tokenizer *t)
{
    for (int i = 0; i < 2; i++)
        MGI_TRY(read_file(ctx, dir, MGI_BPE_FILE_MAX, i, t));
    mgen_status status = mgi_bpe_read(ctx, (const char *)t->file[0].data, t->file[0].size,
                                      (const char *)t->file[1].data, t->file[1].size, &t->bpe);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "%s, %s", t->files.name[0], t->files.name[1]);
    t->vocab = t->bpe.vocab;
    t->frame = (mgi_tokens_frame){.start = t->bpe.start, .end = t->bpe.end, .pad = t->bpe.end};
    return MGEN_OK;
}

mgen_status mgi_tokenizer_open(mgen_context *ctx, int kind, const char *dir,
                               const mgi_tokenizer_files *files, mgi_tokenizer *out)
{
    mgen_status status = MGEN_OK;
    memset(out, 0, sizeof *out);
    out->kind = kind;
    out->files = *files;
    if (kind == MGI_TOKENIZER_BYTES) {
        out->vocab = MGI_BYTE_VOCAB;
        out->frame = (mgi_tokens_frame){.start = -1, .end = MGI_BYTE_EOS, .pad = MGI_BYTE_PAD};
    } else {
        status =
            kind == MGI_TOKENIZER_BPE ? read_bpe(ctx, dir, out) : read_sentencepiece(ctx, dir, out);
    }
    if (status != MGEN_OK)
        mgi_tokenizer_finish(ctx, out);
    return status;
}

void mgi_tokenizer_finish(mgen_context *ctx, mgi_tokenizer *t)
{
    mgi_sp_finish(ctx, &t->sp);
    mgi_bpe_finish(ctx, &t->bpe);
    for (int i = 0; i < MGI_TOKENIZER_FILES; i++)
        mgi_free(ctx, t->file[i].data);
    memset(t, 0, sizeof *t);
}

mgen_status mgi_tokenizer_save(mgen_context *ctx, const mgi_tokenizer *t, const char *dir)
{
    for (int i = 0; i < MGI_TOKENIZER_FILES; i++) {
        char path[MGI_PATH_MAX + 1];
        mgi_writer w;
        if (!t->file[i].data)
            continue;
        MGI_TRY(mgi_path_join(ctx, dir, t->files.name[i], path, sizeof path));
        MGI_TRY(mgi_writer_open(ctx, path, &w));
        MGI_TRY(mgi_writer_write(&w, t->file[i].data, t->file[i].size));
        MGI_TRY(mgi_writer_commit(&w));
    }
    return MGEN_OK;
}

uint64_t mgi_tokenizer_hash(const mgi_tokenizer *t)
{
    uint64_t hash = 0;
    for (int i = 0; i < MGI_TOKENIZER_FILES; i++)
        if (t->file[i].data)
            hash = mgi_hash64(t->file[i].data, t->file[i].size, hash);
    return hash;
}

mgen_status mgi_tokenizer_encode(mgen_context *ctx, const mgi_tokenizer *t, const char *text,
                                 mgi_tokens *out)
{
    size_t size = strlen(text);
    if (t->kind == MGI_TOKENIZER_SENTENCEPIECE)
        return mgi_sp_encode(ctx, &t->sp, text, size, out);
    if (t->kind == MGI_TOKENIZER_BPE)
        return mgi_bpe_encode(ctx, &t->bpe, text, size, out);
    for (size_t i = 0; i < size; i++)
        MGI_TRY(mgi_tokens_push(ctx, out, (unsigned char)text[i] + MGI_BYTE_FIRST));
    return MGEN_OK;
}

static mgen_status decode_bytes(mgen_context *ctx, const int32_t *ids, int64_t count, char **out)
{
    char *text;
    MGI_TRY(mgi_alloc(ctx, (size_t)count + 1, &text));
    *out = text;
    for (int64_t i = 0; i < count; i++)
        if (ids[i] > MGI_BYTE_FIRST && ids[i] < MGI_BYTE_VOCAB)
            *text++ = (char)(ids[i] - MGI_BYTE_FIRST);
    *text = '\0';
    return MGEN_OK;
}

mgen_status mgi_tokenizer_decode(mgen_context *ctx, const mgi_tokenizer *t, const int32_t *ids,
                                 int64_t count, char **out)
{
    if (t->kind == MGI_TOKENIZER_BYTES)
        return decode_bytes(ctx, ids, count, out);
    return t->kind == MGI_TOKENIZER_SENTENCEPIECE
               ? mgi_sp_decode(ctx, &t->sp, ids, count, out)
               : mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                          "byte pairs are not made texts again: a model that writes has "
                          "SentencePiece's tokens or bytes");
}

int64_t mgi_tokenizer_length(const mgi_tokenizer *t, const mgi_tokens *tokens, int64_t most)
{
    int64_t length = (int64_t)tokens->count + (t->frame.start >= 0) + (t->frame.end >= 0);
    return length < most ? length : most;
}
