/* SPDX-License-Identifier: MIT
 * Prints captions of the toybox world, or of its sound, a line each: world_captions SEED COUNT [sound]. For make_tokenizers.py. */
#include "data/world_sound.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    const mgi_world_options images = {.frames = 1};
    char caption[MGI_WORLD_SOUND_CAPTION_MAX];
    if (argc != 3 && argc != 4)
        return fprintf(stderr, "usage: world_captions SEED COUNT [sound]\n"), 2;
    const uint64_t seed = strtoull(argv[1], NULL, 10);
    for (uint64_t i = 0, count = strtoull(argv[2], NULL, 10); i < count; i++) {
        mgi_world_scene scene;
        mgi_world_sound sound;
        mgi_world_scene_random(&scene, seed, i, argc == 4 || i % 4 ? NULL : &images);
        mgi_world_sound_random(&sound, &scene, seed, i);
        if (argc == 4)
            mgi_world_sound_caption(&scene, &sound, (int)(i % MGI_WORLD_SOUND_WORDINGS), caption);
        else
            mgi_world_caption(&scene, (int)(i / 4), caption);
        puts(caption);
    }
}
