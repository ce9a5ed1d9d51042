/* SPDX-License-Identifier: MIT
 * vocab.json and merges.txt. Bytes are written as characters that can be printed: those of Latin-1 that can stand for
 * themselves, the others, in order, for U+0100 and on. */
#include "text/bpe.h"

#include "core/alloc.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

static const char word_end[] = "</w>", version[] = "#version";

typedef struct token {
    const char *text;
    size_t size;
    int32_t id;
    bool made; /* a byte, or what an earlier merge made */
} token;

typedef struct tokens {
    token *list; /* by text */
    size_t count;
} tokens;

static int compare_text(const char *a, size_t a_size, const char *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_tokens(const void *a, const void *b)
{
    const token *p = a, *q = b;
    return compare_text(p->text, p->size, q->text, q->size);
}

static token *find(const tokens *all, const char *text, size_t size)
{
    const token key = {.text = text, .size = size};
    return bsearch(&key, all->list, all->count, sizeof key, compare_tokens);
}

/* -- vocab.json ------------------------------------------------------------------------------------ */

static mgen_status check_ids(mgen_context *ctx, const tokens *all)
{
    uint8_t *seen;
    mgen_status status = MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, all->count, 1, &seen));
    for (size_t i = 0; i < all->count && status == MGEN_OK; i++) {
        if (seen[all->list[i].id])
            status = mgi_fail(ctx, MGEN_E_CORRUPT, "two tokens have the id %d", all->list[i].id);
        seen[all->list[i].id] = 1;
    }
    mgi_free(ctx, seen);
    return status;
}

/* The texts stay those of the JSON. */
static mgen_status read_vocab(mgen_context *ctx, const mgi_json *root, tokens *all)
{
    if (root->kind != MGI_JSON_OBJECT || root->i < 1 || root->i > MGI_BPE_VOCAB_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "is not an object of 1 to %lld tokens",
                        (long long)MGI_BPE_VOCAB_MAX);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)root->i, sizeof *all->list, &all->list));
    for (const mgi_json *item = root->child; item; item = item->next) {
        size_t size = strlen(item->key);
        if (item->kind != MGI_JSON_INT || item->i < 0 || item->i >= root->i)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "the id of \"%.40s\" is not within 0 to %lld",
                            item->key, (long long)root->i - 1);
        if (size < 1 || size > MGI_BPE_TOKEN_MAX)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "token %lld is empty or longer than %d bytes",
                            (long long)item->i, MGI_BPE_TOKEN_MAX);
        all->list[all->count++] = (token){item->key, size, (int32_t)item->i, false};
    }
    qsort(all->list, all->count, sizeof *all->list, compare_tokens);
    return check_ids(ctx, all);
}

static bool printable(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
}

static mgen_status find_bytes(mgen_context *ctx, const tokens *all, mgi_bpe *bpe)
{
    uint32_t moved = 0x100;
    for (int b = 0; b < 256; b++) {
        char text[8];
        size_t size = mgi_unicode_put(printable(b) ? (uint32_t)b : moved++, text);
        memcpy(text + size, word_end, 4);
        for (size_t end = 0; end < 2; end++) {
            token *t = find(all, text, end ? size + 4 : size);
            if (!t)
                return mgi_fail(ctx, MGEN_E_CORRUPT, "no token stands for the byte 0x%02X%s", b,
                                end ? " at the end of a word" : "");
            t->made = true;
            bpe->byte[end][b] = t->id;
        }
    }
    return MGEN_OK;
}

static mgen_status find_special(mgen_context *ctx, const tokens *all, const char *text,
                                int32_t *out)
{
    const token *t = find(all, text, strlen(text));
    if (!t)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "has no token \"%s\"", text);
    *out = t->id;
    return MGEN_OK;
}

/* -- merges.txt ------------------------------------------------------------------------------------ */

/* "left right" */
static mgen_status read_merge(mgen_context *ctx, const tokens *all, const char *line, size_t size,
                              mgi_bpe_merge *out)
{
    char joined[2 * MGI_BPE_TOKEN_MAX];
    const char *space = memchr(line, ' ', size);
    size_t left = space ? (size_t)(space - line) : 0, right = space ? size - left - 1 : 0;
    if (left < 1 || right < 1 || left > MGI_BPE_TOKEN_MAX || right > MGI_BPE_TOKEN_MAX ||
        memchr(space + 1, ' ', right))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "is not two tokens with one space between");
    memcpy(joined, line, left);
    memcpy(joined + left, space + 1, right);
    const token *a = find(all, line, left), *b = find(all, space + 1, right);
    token *c = find(all, joined, left + right);
    if (!a || !b || !c)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "names or makes a token that the vocabulary lacks");
    /* so that a merge never makes room for an earlier one, and their order is all that counts */
    if (!a->made || !b->made)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "joins a token that is neither a byte nor made above");
    c->made = true;
    *out = (mgi_bpe_merge){a->id, b->id, c->id, 0};
    return MGEN_OK;
}

static int compare_merges(const void *a, const void *b)
{
    const mgi_bpe_merge *p = a, *q = b;
    if (p->left != q->left)
        return p->left < q->left ? -1 : 1;
    return (p->right > q->right) - (p->right < q->right);
}

static size_t count_lines(const char *text, size_t size)
{
    size_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n' || i + 1 == size;
    return lines;
}

static mgen_status read_merges(mgen_context *ctx, const tokens *all, const char *text, size_t size,
                               mgi_bpe *bpe)
{
    size_t lines = count_lines(text, size), number = 0;
    if (lines > (size_t)MGI_BPE_VOCAB_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "has more than %lld lines",
                        (long long)MGI_BPE_VOCAB_MAX);
    MGI_TRY(mgi_alloc_zero(ctx, lines, sizeof *bpe->merges, &bpe->merges));
    for (size_t at = 0, length; at < size; at += length + 1, number++) {
        const char *end = memchr(text + at, '\n', size - at);
        length = end ? (size_t)(end - text) - at : size - at;
        if (number == 0 && length >= sizeof version - 1 &&
            !memcmp(text, version, sizeof version - 1))
            continue;
        mgi_bpe_merge *m = &bpe->merges[bpe->merge_count];
        mgen_status status = read_merge(ctx, all, text + at, length, m);
        if (status != MGEN_OK)
            return mgi_fail_context(ctx, status, "line %zu", number + 1);
        m->rank = (int32_t)bpe->merge_count++;
    }
    if (bpe->merge_count)
        qsort(bpe->merges, bpe->merge_count, sizeof *bpe->merges, compare_merges);
    for (size_t i = 1; i < bpe->merge_count; i++)
        if (!compare_merges(&bpe->merges[i - 1], &bpe->merges[i]))
            return mgi_fail(ctx, MGEN_E_CORRUPT, "joins the tokens %d and %d twice",
                            bpe->merges[i].left, bpe->merges[i].right);
    return MGEN_OK;
}

const mgi_bpe_merge *mgi_bpe_find(const mgi_bpe *bpe, int32_t left, int32_t right)
{
    const mgi_bpe_merge key = {.left = left, .right = right};
    if (!bpe->merge_count)
        return NULL;
    return bsearch(&key, bpe->merges, bpe->merge_count, sizeof key, compare_merges);
}

/* -- the whole ------------------------------------------------------------------------------------- */

static mgen_status read_tokens(mgen_context *ctx, const mgi_json *root, tokens *all, mgi_bpe *bpe)
{
    MGI_TRY(read_vocab(ctx, root, all));
    MGI_TRY(find_bytes(ctx, all, bpe));
    MGI_TRY(find_special(ctx, all, "<|startoftext|>", &bpe->start));
    MGI_TRY(find_special(ctx, all, "<|endoftext|>", &bpe->end));
    bpe->vocab = root->i;
    return MGEN_OK;
}

mgen_status mgi_bpe_read(mgen_context *ctx, const char *vocab, size_t vocab_size,
                         const char *merges, size_t merges_size, mgi_bpe *out)
{
    mgi_json *root = NULL;
    tokens all = {0};
    memset(out, 0, sizeof *out);
    if (vocab_size > MGI_BPE_FILE_MAX || merges_size > MGI_BPE_FILE_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "a file of the tokenizer is larger than %zu bytes",
                        MGI_BPE_FILE_MAX);
    MGI_TRY(mgi_json_parse(ctx, "vocabulary", vocab, vocab_size, &root));
    mgen_status status = read_tokens(ctx, root, &all, out);
    if (status != MGEN_OK)
        status = mgi_fail_context(ctx, status, "vocabulary");
    else if ((status = read_merges(ctx, &all, merges, merges_size, out)) != MGEN_OK)
        status = mgi_fail_context(ctx, status, "merges");
    mgi_free(ctx, all.list);
    mgi_json_free(ctx, root);
    if (status != MGEN_OK)
        mgi_bpe_finish(ctx, out);
    return status;
}

void mgi_bpe_finish(mgen_context *ctx, mgi_bpe *bpe)
{
    mgi_free(ctx, bpe->merges);
    memset(bpe, 0, sizeof *bpe);
}
