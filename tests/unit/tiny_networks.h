/* SPDX-License-Identifier: MIT
 * Fields of configurations: networks as small as they can be with all that is in large ones. */
#ifndef TESTS_UNIT_TINY_NETWORKS_H
#define TESTS_UNIT_TINY_NETWORKS_H

#define TINY_TAE                                                                                   \
    .levels = 4, .channels = {4, 6, 8, 8}, .latent_channels = 3, .blocks = 1, .temporal = true

/* Reads bytes; its longest text is left to the test. */
#define TINY_T5                                                                                    \
    .vocab = 259, .dim = 24, .layers = 2, .heads = 2, .head_dim = 12, .ff_dim = 32, .buckets = 8,  \
    .max_distance = 16, .eps = 1e-6f

/* For latents and text of the two above; its largest film is left to the test. */
#define TINY_VT                                                                                    \
    .layers = 2, .dim = 24, .heads = 2, .ff_dim = 40, .channels = 3, .patch_t = 1, .patch_h = 2,   \
    .patch_w = 2, .text = {24}, .time_dim = 16

/* An image encoder, of which a photo has five tokens: 2 x 2 patches, and the one before them. */
#define TINY_VISION                                                                                \
    .image = 16, .patch = 8, .dim = 12, .layers = 2, .heads = 2, .ff_dim = 16, .projection = 6,    \
    .activation = MGK_UNARY_QUICK_GELU, .mean = {0.5f, 0.4f, 0.3f},                                \
    .deviation = {0.3f, 0.25f, 0.2f}, .eps = 1e-5f

/* Divided by meshes with up to four ranks along an axis, and two streams of text. */
#define TINY_MESH_VT                                                                               \
    .layers = 2, .dim = 32, .heads = 4, .ff_dim = 24, .channels = 3, .patch_t = 1, .patch_h = 2,   \
    .patch_w = 2, .frames_max = 4, .rows_max = 3, .columns_max = 5, .text = {12, 8, 0},            \
    .time_dim = 16

#endif
