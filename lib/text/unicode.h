/* SPDX-License-Identifier: MIT
 * Classes of characters and lower case. Tier 5. */
#ifndef MGI_TEXT_UNICODE_H
#define MGI_TEXT_UNICODE_H

#include "core/context.h"

#define MGI_UNICODE_REPLACEMENT 0xFFFD

/* The character that text[0..size), size > 0, begins with, and its bytes. A byte that is not UTF-8 is U+FFFD. */
uint32_t mgi_unicode_next(const char *text, size_t size, size_t *bytes);
/* As UTF-8; returns the bytes, 1 to 4. c is a character (no surrogate, at most U+10FFFF). */
size_t mgi_unicode_put(uint32_t c, char out[4]);

bool mgi_unicode_letter(uint32_t c); /* general category L */
bool mgi_unicode_number(uint32_t c); /* N */
bool mgi_unicode_space(uint32_t c);  /* White_Space */
/* Of one character by itself; U+0130, whose lower case is two characters, is left as it is. */
uint32_t mgi_unicode_lower(uint32_t c);

/* The characters of a text in normal form C; the caller frees *out. A byte that is not UTF-8 is U+FFFD. */
mgen_status mgi_unicode_nfc(mgen_context *ctx, const char *text, size_t size, uint32_t **out,
                            size_t *count);

#endif
