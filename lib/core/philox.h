/* SPDX-License-Identifier: MIT
 * Philox4x32-10 counter-based random numbers (Salmon et al. 2011). Tier 0.
 *
 * A number is a pure function of (seed, stream, index): noise does not depend on device, sharding
 * or batch order. Streams keep uses apart; their numbers are pinned below.
 */
#ifndef MGI_CORE_PHILOX_H
#define MGI_CORE_PHILOX_H

#include <stdint.h>

enum {
    MGI_STREAM_INIT = 1,       /* initial weights; index = parameter hash + element */
    MGI_STREAM_DATA = 2,       /* scenes of the world */
    MGI_STREAM_SAMPLE = 3,     /* which sample a batch takes */
    MGI_STREAM_NOISE = 4,      /* X_0 of the flow */
    MGI_STREAM_TIME = 5,       /* t of the flow */
    MGI_STREAM_DROP = 6,       /* caption dropout */
    MGI_STREAM_POSTERIOR = 7,  /* TAE posterior noise */
    MGI_STREAM_BUCKET = 8,     /* which bucket a step takes */
    MGI_STREAM_DEGRADE = 9,    /* flaws of a clip, and their noise */
    MGI_STREAM_ARTIFACTS = 10, /* whether a clip has those of an autoencoder */
    MGI_STREAM_EDIT = 11,      /* what of a scene of the world is edited */
    MGI_STREAM_ANIMATE = 12,   /* how a frame that becomes a film is moved */
    MGI_STREAM_EDITS = 13,     /* where a sample of an editor comes from */
    MGI_STREAM_PLACE = 14,     /* where in time its images are */
    MGI_STREAM_SOUND = 15,     /* what a scene of the world sounds like, and its noises */
    MGI_STREAM_PHOTO = 16,     /* portraits of people of the world */
    MGI_STREAM_RAW = 17,       /* raw films of the world, and what is wrong with them */
    MGI_STREAM_CURATE = 18,    /* which clips are centres of clusters, and which go */
    MGI_STREAM_PROMPT = 19     /* what users type for a scene of the world */
};

/* CUDA kernels take these functions from here. */
#ifdef __CUDACC__
#define MGI_ANYWHERE __host__ __device__
#else
#define MGI_ANYWHERE
#endif

MGI_ANYWHERE static inline void mgi_philox(uint64_t seed, uint64_t stream, uint64_t counter,
                                           uint32_t out[4])
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Uniform in (0, 1), never 0 or 1: 23 bits, centred. (With 24 the half of the largest would round
 * up to 1.) */
MGI_ANYWHERE static inline float mgi_u32_to_unit(uint32_t x)
{
    return ((float)(x >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

/* Element `index` of a stream: counter index / 4, lane index % 4. */
static inline uint32_t mgi_random_u32(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t r[4];
    mgi_philox(seed, stream, index >> 2, r);
    return r[index & 3];
}

static inline float mgi_random_unit(uint64_t seed, uint64_t stream, uint64_t index)
{
    return mgi_u32_to_unit(mgi_random_u32(seed, stream, index));
}

/* Standard normal element `index`: Box-Muller on lane pairs (0,1) and (2,3) of its counter block;
 * even lanes take the cosine, odd lanes the sine. */
float mgi_random_normal(uint64_t seed, uint64_t stream, uint64_t index);

#endif
