/* SPDX-License-Identifier: MIT
 * ByT5's tokenizer: UTF-8 bytes + 3; pad 0, end of text 1, unknown 2. Tier 5. */
#ifndef MGI_TEXT_BYTE_TOKENIZER_H
#define MGI_TEXT_BYTE_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MGI_BYTE_PAD = 0, MGI_BYTE_EOS = 1, MGI_BYTE_FIRST = 3, MGI_BYTE_VOCAB = 259 };

/* Whether the bytes are well-formed UTF-8; *bad receives the offset of the first byte that is not. */
bool mgi_utf8_valid(const char *text, size_t size, size_t *bad);

#endif
