/* SPDX-License-Identifier: MIT
 * JPEGs made by hand: each 8 x 8 block of each component is of one value, which is in the file as such, so that what a decoder
 * must give is known. */
#ifndef JPEG_BYTES_H
#define JPEG_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct jpeg_made {
    int width, height;
    int components;   /* 1 or 3 */
    int across, down; /* blocks of luma to one of colour: 1 or 2; 0 = 1 */
    bool progressive;
    int orientation;                               /* of an EXIF; 0: there is none */
    bool little;                                   /* its byte order */
    uint8_t (*value)(int component, int x, int y); /* of a component's block */
} jpeg_made;

typedef struct jpeg_writer {
    uint8_t *data;
    size_t size;
    uint32_t bits;
    int count; /* of bits that wait */
} jpeg_writer;

static inline void jpeg_put(jpeg_writer *w, const void *bytes, size_t size)
{
    memcpy(w->data + w->size, bytes, size);
    w->size += size;
}
#define JPEG_PUT(w, ...)                                                                           \
    jpeg_put((w), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static inline void jpeg_put_bits(jpeg_writer *w, uint32_t bits, int count)
{
    w->bits = w->bits << count | (bits & ((1u << count) - 1));
    w->count += count;
    for (; w->count >= 8; w->count -= 8) {
        const uint8_t byte = (uint8_t)(w->bits >> (w->count - 8));
        JPEG_PUT(w, byte);
        if (byte == 0xFF)
            JPEG_PUT(w, 0);
    }
}

/* A block of one value: its difference to the last one, by a table in which category k has as many bits as T.81's table K.3 says,
 * and that there is nothing else. */
static inline void jpeg_put_block(jpeg_writer *w, int value, int *last, bool ends)
{
    static const uint8_t code[9] = {0, 2, 3, 4, 5, 6, 14, 30, 62},
                         bits[9] = {2, 3, 3, 3, 3, 3, 4, 5, 6};
    const int difference = value - *last, size = abs(difference);
    int category = 0;
    while (size >> category)
        category++;
    jpeg_put_bits(w, code[category], bits[category]);
    if (category)
        jpeg_put_bits(w, (uint32_t)(difference < 0 ? difference - 1 : difference), category);
    if (ends)
        jpeg_put_bits(w, 0, 1);
    *last = value;
}

static inline void jpeg_put_number(jpeg_writer *w, uint32_t value, int bytes, bool little)
{
    for (int i = 0; i < bytes; i++)
        JPEG_PUT(w, (uint8_t)(value >> 8 * (little ? i : bytes - 1 - i)));
}

/* The orientation amid two other fields. */
static inline void jpeg_put_tiff(jpeg_writer *w, int orientation, bool little)
{
    const uint32_t fields[3][4] = {
        {0x10F, 2, 2, 'm'}, {0x112, 3, 1, (uint32_t)orientation}, {0x128, 3, 1, 2}};
    jpeg_put(w, little ? "II" : "MM", 2);
    jpeg_put_number(w, 42, 2, little);
    jpeg_put_number(w, 8, 4, little);
    jpeg_put_number(w, 3, 2, little);
    for (int i = 0; i < 3; i++) {
        jpeg_put_number(w, fields[i][0], 2, little);
        jpeg_put_number(w, fields[i][1], 2, little);
        jpeg_put_number(w, fields[i][2], 4, little);
        jpeg_put_number(w, fields[i][3], 2, little);
        jpeg_put_number(w, 0, 2, little);
    }
    jpeg_put_number(w, 0, 4, little);
}

enum { JPEG_TIFF = 8 + 2 + 3 * 12 + 4 /* bytes of it */ };

static inline void jpeg_put_scan(jpeg_writer *w, const jpeg_made *m, int across, int down)
{
    int last[3] = {128, 128, 128};
    const int columns = (m->width + 8 * across - 1) / (8 * across);
    const int rows = (m->height + 8 * down - 1) / (8 * down);
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++)
            for (int c = 0; c < m->components; c++)
                for (int y = 0; y < (c ? 1 : down); y++)
                    for (int x = 0; x < (c ? 1 : across); x++) {
                        const int bx = c ? column : column * across + x,
                                  by = c ? row : row * down + y;
                        jpeg_put_block(w, m->value(c, bx, by), &last[c], !m->progressive);
                    }
    while (w->count)
        jpeg_put_bits(w, 1, 1);
}

/* From malloc. */
static inline uint8_t *jpeg_make(const jpeg_made *m, size_t *size)
{
    static const uint8_t counts[16] = {0, 1, 5, 1, 1, 1, 1, 1, 1}, eob[16] = {1};
    const int across = m->across ? m->across : 1, down = m->down ? m->down : 1;
    jpeg_writer w = {.data = malloc(1024 + (size_t)(m->width + 16) * (size_t)(m->height + 16))};
    if (!w.data)
        abort();
    JPEG_PUT(&w, 0xFF, 0xD8, 0xFF, 0xE0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0);
    if (m->orientation) {
        JPEG_PUT(&w, 0xFF, 0xE1, 0, 2 + 6 + JPEG_TIFF, 'E', 'x', 'i', 'f', 0, 0);
        jpeg_put_tiff(&w, m->orientation, m->little);
    }
    JPEG_PUT(&w, 0xFF, 0xDB, 0, 67, 0);
    for (int i = 0; i < 64; i++)
        JPEG_PUT(&w, 8);
    JPEG_PUT(&w, 0xFF, m->progressive ? 0xC2 : 0xC0, 0, (uint8_t)(8 + 3 * m->components), 8,
             (uint8_t)(m->height >> 8), (uint8_t)m->height, (uint8_t)(m->width >> 8),
             (uint8_t)m->width, (uint8_t)m->components);
    for (int c = 0; c < m->components; c++)
        JPEG_PUT(&w, (uint8_t)(c + 1), (uint8_t)(c ? 0x11 : across << 4 | down), 0);
    JPEG_PUT(&w, 0xFF, 0xC4, 0, 2 + 17 + 12, 0);
    jpeg_put(&w, counts, sizeof(counts));
    JPEG_PUT(&w, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    JPEG_PUT(&w, 0xFF, 0xC4, 0, 2 + 17 + 1, 0x10);
    jpeg_put(&w, eob, sizeof(eob));
    JPEG_PUT(&w, 0, 0xFF, 0xDA, 0, (uint8_t)(6 + 2 * m->components), (uint8_t)m->components);
    for (int c = 0; c < m->components; c++)
        JPEG_PUT(&w, (uint8_t)(c + 1), 0);
    JPEG_PUT(&w, 0, m->progressive ? 0 : 63, 0);
    jpeg_put_scan(&w, m, across, down);
    JPEG_PUT(&w, 0xFF, 0xD9);
    *size = w.size;
    return w.data;
}

#endif
