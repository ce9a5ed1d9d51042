/* SPDX-License-Identifier: MIT
 * FNV-1a with a final mix, a hash by words for large files, and SHA-256. */
#include "core/hash.h"

#include <string.h>

uint64_t mgi_hash64_begin(uint64_t seed)
{
    return 0xCBF29CE484222325u ^ seed;
}

uint64_t mgi_hash64_piece(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *byte = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * 0x00000100000001B3u;
    return hash;
}

uint64_t mgi_hash64_end(uint64_t hash)
{
    /* FNV-1a leaves the last bytes in the low half: spread them over all bits. */
    hash = (hash ^ (hash >> 32)) * 0xD6E8FEB86659FD93u;
    hash = (hash ^ (hash >> 32)) * 0xD6E8FEB86659FD93u;
    return hash ^ (hash >> 32);
}

uint64_t mgi_hash64(const void *data, size_t size, uint64_t seed)
{
    return mgi_hash64_end(mgi_hash64_piece(mgi_hash64_begin(seed), data, size));
}

/* Lanes take the words of a row by turns, so that one multiplication need not wait for another. A product passes
 * nothing down to lower bits: the rotation between the two does. */
static void take_row(uint64_t lane[MGI_HASH_LANES], const uint8_t row[MGI_HASH_ROW])
{
    uint64_t word[MGI_HASH_LANES];
    memcpy(word, row, MGI_HASH_ROW);
    for (int i = 0; i < MGI_HASH_LANES; i++) {
        uint64_t x = lane[i] + word[i] * 0xD6E8FEB86659FD93u;
        lane[i] = (x << 29 | x >> 35) * 0x9E3779B97F4A7C15u;
    }
}

void mgi_large_begin(mgi_large *h, uint64_t seed)
{
    *h = (mgi_large){.size = 0};
    for (int i = 0; i < MGI_HASH_LANES; i++)
        h->lane[i] = mgi_hash64_end(seed + (uint64_t)i);
}

void mgi_large_piece(mgi_large *h, const void *data, size_t size)
{
    const uint8_t *byte = data;
    uint64_t lane[MGI_HASH_LANES]; /* may stay in registers */
    size_t left = size;
    memcpy(lane, h->lane, sizeof lane);
    for (; left >= MGI_HASH_ROW; left -= MGI_HASH_ROW, byte += MGI_HASH_ROW)
        take_row(lane, byte);
    memcpy(h->lane, lane, sizeof lane);
    if (left)
        memcpy(h->last, byte, left);
    h->size += size;
}

uint64_t mgi_large_end(mgi_large *h)
{
    take_row(h->lane, h->last);
    uint64_t hash = mgi_hash64_end(h->size);
    for (int i = 0; i < MGI_HASH_LANES; i++)
        hash = mgi_hash64_end(hash ^ mgi_hash64_end(h->lane[i]));
    return hash;
}

uint64_t mgi_hash_large(const void *data, size_t size, uint64_t seed)
{
    mgi_large h;
    mgi_large_begin(&h, seed);
    mgi_large_piece(&h, data, size);
    return mgi_large_end(&h);
}

/* Fractional parts of the cube roots of the first 64 primes. */
static const uint32_t round_constants[64] = {
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
};

static uint32_t rotate_right(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* Round number `i`, where a to h stand in v from place -i on: they go on by one a round, and are not moved. */
static inline void sha256_round(uint32_t v[8], int i, uint32_t word)
{
    uint32_t a = v[-i & 7], b = v[(1 - i) & 7], c = v[(2 - i) & 7];
    uint32_t e = v[(4 - i) & 7], f = v[(5 - i) & 7], g = v[(6 - i) & 7];
    uint32_t t = v[(7 - i) & 7] + word + ((e & f) ^ (~e & g)) +
                 (rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25));
    v[(3 - i) & 7] += t;
    v[(7 - i) & 7] = t + ((a & b) ^ (a & c) ^ (b & c)) +
                     (rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22));
}

static void sha256_block(uint32_t state[8], const uint8_t block[64])
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate_right(a, 7) ^ rotate_right(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate_right(b, 17) ^ rotate_right(b, 19) ^ b >> 10);
    }
    memcpy(v, state, sizeof(v));
    for (int i = 0; i < 64; i += 8)
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++)
            sha256_round(v, k, round_constants[i + k] + w[i + k]);
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

void mgi_sha256(const void *data, size_t size, uint8_t out[32])
{
    /* Fractional parts of the square roots of the first 8 primes. */
    uint32_t state[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                         0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
    const uint8_t *byte = data;
    size_t left = size;
    for (; left >= 64; left -= 64, byte += 64)
        sha256_block(state, byte);

    /* The rest, a 1 bit, zeros, and the length in bits in the last 8 bytes. */
    uint8_t tail[128] = {0};
    size_t tail_size = left < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)size * 8;
    if (left)
        memcpy(tail, byte, left);
    tail[left] = 0x80;
    for (int i = 0; i < 8; i++)
        tail[tail_size - 1 - (size_t)i] = (uint8_t)(bits >> 8 * i);
    sha256_block(state, tail);
    if (tail_size == 128)
        sha256_block(state, tail + 64);
    for (int i = 0; i < 32; i++)
        out[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}
