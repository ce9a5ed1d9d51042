/* SPDX-License-Identifier: MIT */
#include "flow/windows.h"

mgi_windows mgi_windows_make(int64_t frames, int64_t length, int64_t overlap)
{
    mgi_windows w = {.frames = frames, .length = length < frames ? length : frames, .count = 1};
    w.step = w.length - (overlap < w.length / 2 ? overlap : w.length / 2);
    if (frames > w.length)
        w.count += (frames - w.length - 1) / w.step + 1;
    return w;
}

int64_t mgi_window_first(const mgi_windows *w, int64_t window)
{
    return window < w->count - 1 ? window * w->step : w->frames - w->length;
}

/* Frames from the nearer end, counted from 1; 0 outside. */
static int64_t height(const mgi_windows *w, int64_t window, int64_t frame)
{
    int64_t at = frame - mgi_window_first(w, window), back = w->length - at;
    if (window < 0 || window >= w->count || at < 0 || back < 1)
        return 0;
    return at + 1 < back ? at + 1 : back;
}

float mgi_window_share(const mgi_windows *w, int64_t window, int64_t frame)
{
    int64_t own = height(w, window, frame), sum = own;
    if (own == 0)
        return 0.0f;
    /* A frame is in two windows, in three near the end, where the last one is moved back. */
    for (int64_t k = 1; k <= 3; k++)
        sum += height(w, window - k, frame) + height(w, window + k, frame);
    return (float)((double)own / (double)sum);
}
