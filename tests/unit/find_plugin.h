/* SPDX-License-Identifier: MIT
 * The FFmpeg plug-in of the build that a test program lies in. */
#ifndef FIND_PLUGIN_H
#define FIND_PLUGIN_H

#include "core/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Let the context find it: in $MGEN_TEST_PLUGIN_DIR, or lib/plugins of the build. False, and said, if there is none. */
static inline bool find_plugin(mgen_context *of)
{
    char self[4096], file[4200];
    const char *given = getenv("MGEN_TEST_PLUGIN_DIR");
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    mgi_free(of, of->plugin_dir);
    of->plugin_dir = NULL;
    if (given)
        return mgi_strdup(of, given, &of->plugin_dir) == MGEN_OK;
    for (int up = 0; length > 0 && up < 4; up++) {
        self[length] = 0;
        char *slash = strrchr(self, '/');
        if (!slash)
            break;
        length = slash - self;
        snprintf(file, sizeof(file), "%.*s/lib/plugins/mgen_ffmpeg.so", (int)length, self);
        if (access(file, F_OK) == 0) {
            *strrchr(file, '/') = 0;
            return mgi_strdup(of, file, &of->plugin_dir) == MGEN_OK;
        }
    }
    print_message("skipped: no FFmpeg plug-in in this build; MGEN_TEST_PLUGIN_DIR may name it\n");
    return false;
}

#endif
