/* SPDX-License-Identifier: MIT
 * Hashes. Tier 0. */
#ifndef MGI_CORE_HASH_H
#define MGI_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a with 64 bits, then a final mix: for names and identities, not for security. */
uint64_t mgi_hash64(const void *data, size_t size, uint64_t seed);
/* The same of what comes in pieces: begin, a call for each piece, end. */
uint64_t mgi_hash64_begin(uint64_t seed);
uint64_t mgi_hash64_piece(uint64_t hash, const void *data, size_t size);
uint64_t mgi_hash64_end(uint64_t hash);

/* Of large files, nearly as fast as memory is read: for identities, not for security. */
uint64_t mgi_hash_large(const void *data, size_t size, uint64_t seed);
/* The same of what comes in pieces, each but the last a multiple of MGI_HASH_ROW bytes. */
enum { MGI_HASH_LANES = 8, MGI_HASH_ROW = 64 };
typedef struct mgi_large {
    uint64_t lane[MGI_HASH_LANES];
    size_t size;
    uint8_t last[MGI_HASH_ROW]; /* what is left, then zeros */
} mgi_large;
void mgi_large_begin(mgi_large *h, uint64_t seed);
void mgi_large_piece(mgi_large *h, const void *data, size_t size);
uint64_t mgi_large_end(mgi_large *h);

/* SHA-256 (FIPS 180-4) of a whole buffer. */
void mgi_sha256(const void *data, size_t size, uint8_t out[32]);

#endif
