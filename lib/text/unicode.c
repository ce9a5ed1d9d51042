/* SPDX-License-Identifier: MIT */
#include "text/unicode.h"

#include "io/json.h"
#include "text/unicode_tables.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

uint32_t mgi_unicode_next(const char *text, size_t size, size_t *bytes)
{
    const unsigned char *s = (const unsigned char *)text;
    switch (*bytes = mgi_utf8_length(text, size)) {
    case 1:
        return s[0];
    case 2:
        return (s[0] & 0x1Fu) << 6 | (s[1] & 0x3Fu);
    case 3:
        return (s[0] & 0x0Fu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu);
    case 4:
        return (s[0] & 0x07u) << 18 | (s[1] & 0x3Fu) << 12 | (s[2] & 0x3Fu) << 6 | (s[3] & 0x3Fu);
    default:
        *bytes = 1;
        return MGI_UNICODE_REPLACEMENT;
    }
}

size_t mgi_unicode_put(uint32_t c, char out[4])
{
    size_t bytes = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char marks[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = bytes - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(marks[bytes] | c);
    return bytes;
}

static bool in_ranges(const unicode_range *ranges, size_t count, uint32_t c)
{
    size_t first = 0, end = count;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (ranges[middle].last < c)
            first = middle + 1;
        else
            end = middle;
    }
    return first < count && ranges[first].first <= c;
}

bool mgi_unicode_letter(uint32_t c)
{
    return in_ranges(letter_ranges, COUNT(letter_ranges), c);
}

bool mgi_unicode_number(uint32_t c)
{
    return in_ranges(number_ranges, COUNT(number_ranges), c);
}

bool mgi_unicode_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

uint32_t mgi_unicode_lower(uint32_t c)
{
    size_t first = 0, end = COUNT(lower_ranges);
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (lower_ranges[middle].last < c)
            first = middle + 1;
        else
            end = middle;
    }
    if (first < COUNT(lower_ranges) && lower_ranges[first].first <= c &&
        (c - lower_ranges[first].first) % (uint32_t)lower_ranges[first].step == 0)
        return (uint32_t)((int32_t)c + lower_ranges[first].by);
    return c;
}
