/* SPDX-License-Identifier: MIT
 * Prints captions of the toybox world, a line each: world_captions SEED COUNT. For make_tokenizers.py. */
#include "data/world.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    const mgi_world_options images = {.frames = 1};
    char caption[MGI_WORLD_CAPTION_MAX];
    if (argc != 3)
        return fprintf(stderr, "usage: world_captions SEED COUNT\n"), 2;
    for (uint64_t i = 0, count = strtoull(argv[2], NULL, 10); i < count; i++) {
        mgi_world_scene scene;
        mgi_world_scene_random(&scene, strtoull(argv[1], NULL, 10), i, i % 4 ? NULL : &images);
        mgi_world_caption(&scene, (int)(i / 4), caption);
        puts(caption);
    }
}
