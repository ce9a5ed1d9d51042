/* SPDX-License-Identifier: MIT
 * Windows in time, for clips longer than a model's own: overlapping ones that cover all frames, and the
 * share of each in every frame. Tier 5. */
#ifndef MGI_FLOW_WINDOWS_H
#define MGI_FLOW_WINDOWS_H

#include <stdint.h>

typedef struct mgi_windows {
    int64_t frames, length, step; /* all frames; those of a window; from a window to the next */
    int64_t count;
} mgi_windows;

/* Windows of `length` frames (of all of them, if there are fewer), of which the next one shares `overlap`, at most half;
 * the last ends with the last frame. frames and length: 1 or more. */
mgi_windows mgi_windows_make(int64_t frames, int64_t length, int64_t overlap);
int64_t mgi_window_first(const mgi_windows *w, int64_t window);
/* A window's share in a frame: grows from its ends to its middle by the same amount from frame to frame,
 * scaled so that the shares in each frame sum to 1. 0 outside the window; 1 where it is alone. */
float mgi_window_share(const mgi_windows *w, int64_t window, int64_t frame);

#endif
