/* SPDX-License-Identifier: MIT */
#include "text/byte_tokenizer.h"

bool mgi_utf8_valid(const char *text, size_t size, size_t *bad)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < size) {
        unsigned char c = s[i];
        size_t more = c < 0x80 ? 0 : c >= 0xC2 && c < 0xE0 ? 1 : c >= 0xE0 && c < 0xF0 ? 2 : 3;
        bool ok = c < 0x80 || (c >= 0xC2 && c <= 0xF4);
        ok = ok && more < size - i;
        for (size_t k = 1; ok && k <= more; k++)
            ok = (s[i + k] & 0xC0) == 0x80;
        /* no overlong forms, no surrogates, nothing past U+10FFFF */
        if (ok && more)
            ok = !(c == 0xE0 && s[i + 1] < 0xA0) && !(c == 0xED && s[i + 1] > 0x9F) &&
                 !(c == 0xF0 && s[i + 1] < 0x90) && !(c == 0xF4 && s[i + 1] > 0x8F);
        if (!ok) {
            *bad = i;
            return false;
        }
        i += 1 + more;
    }
    return true;
}
