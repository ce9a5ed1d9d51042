/* SPDX-License-Identifier: MIT */
#include "plugins/ffmpeg_hdr.h"

#include <math.h>
#include <string.h>

#define WHITE 203.0f  /* cd/m2 of what is white */
#define PEAK  1000.0f /* and of what becomes white here */
#define KNEE  0.5f    /* of white: up to it nothing changes */

enum {
    HLG = 1,
    PQ = 2,
    KINDS = 3, /* of signals; times which colours they are of */
    BT2020 = 0,
    P3 = 1,
    BT709 = 2,
    FINE = 4096 /* places of a table */
};

struct mgi_hdr {
    int signal;
    float matrix[3][3]; /* to colours of BT.709 */
    float light
        [FINE]; /* of a signal's upper 12 bits: of HLG the scene's, of PQ what is shown; 1 = white */
    float system
        [FINE +
         1]; /* HLG: what a light of the scene is multiplied by, of the root of its luminance */
    uint8_t screen[FINE + 1]; /* the value of a light up to 1, of its root */
};

int mgi_hdr_kind(const AVFrame *frame)
{
    const int signal = frame->color_trc == AVCOL_TRC_ARIB_STD_B67 ? HLG
                       : frame->color_trc == AVCOL_TRC_SMPTE2084  ? PQ
                                                                  : 0;
    const int colours = frame->color_primaries == AVCOL_PRI_SMPTE432 ? P3
                        : frame->color_primaries == AVCOL_PRI_BT709  ? BT709
                                                                     : BT2020;
    return signal ? signal + KINDS * colours : 0;
}

/* The scene's light of an HLG signal: 1 is the brightest. */
static float hlg_light(float signal)
{
    const float a = 0.17883277f, b = 1.0f - 4.0f * a, c = 0.5f - a * logf(4.0f * a);
    return signal <= 0.5f ? signal * signal / 3.0f : (expf((signal - c) / a) + b) / 12.0f;
}

/* cd/m2 of a PQ signal. */
static float pq_light(float signal)
{
    const float m1 = 2610.0f / 16384.0f, m2 = 2523.0f / 4096.0f * 128.0f;
    const float c1 = 3424.0f / 4096.0f, c2 = 2413.0f / 4096.0f * 32.0f,
                c3 = 2392.0f / 4096.0f * 32.0f;
    const float p = powf(signal, 1.0f / m2);
    return 10000.0f * powf(fmaxf(p - c1, 0.0f) / (c2 - c3 * p), 1.0f / m1);
}

struct mgi_hdr *mgi_hdr_create(int kind)
{
    static const float matrices[3][3][3] = {
        [BT2020] = {{1.660491f, -0.587641f, -0.072850f},
                    {-0.124550f, 1.132900f, -0.008349f},
                    {-0.018151f, -0.100579f, 1.118730f}},
        [P3] = {{1.224940f, -0.224940f, 0.0f},
                {-0.042057f, 1.042057f, 0.0f},
                {-0.019638f, -0.078636f, 1.098274f}},
        [BT709] = {{1.0f, 0.0f, 0.0f}, {0.0f, 1.0f, 0.0f}, {0.0f, 0.0f, 1.0f}}};
    struct mgi_hdr *h = av_mallocz(sizeof *h);
    if (!h)
        return NULL;
    h->signal = kind % KINDS;
    memcpy(h->matrix, matrices[kind / KINDS], sizeof h->matrix);
    for (int i = 0; i < FINE; i++) {
        const float signal = (float)i / (FINE - 1);
        h->light[i] = h->signal == HLG ? hlg_light(signal) : pq_light(signal) / WHITE;
    }
    for (int i = 0; i <= FINE; i++) {
        const float root = (float)i / FINE;
        h->system[i] =
            PEAK / WHITE * powf(root, 2.0f * 0.2f); /* a screen of 1000 cd/m2: gamma 1.2 */
        h->screen[i] = (uint8_t)lrintf(255.0f * powf(root, 2.0f / 2.4f)); /* BT.1886 */
    }
    return h;
}

void mgi_hdr_destroy(struct mgi_hdr *h)
{
    av_free(h);
}

/* A light, 1 = white, as it is shown by a screen that cannot be brighter. */
static float shown(float x)
{
    const float steep = (PEAK / WHITE - KNEE) / (1.0f - KNEE);
    const float t = (x - KNEE) / (PEAK / WHITE - KNEE);
    if (x <= KNEE)
        return x;
    return t < 1.0f ? KNEE + (1.0f - KNEE) * steep * t / (1.0f + (steep - 1.0f) * t) : 1.0f;
}

static void map_pixel(const struct mgi_hdr *h, const uint16_t from[3], uint8_t to[3])
{
    float in[3], out[3], most = 0.0f, system = 1.0f;
    for (int k = 0; k < 3; k++)
        in[k] = h->light[from[k] >> 4];
    if (h->signal == HLG) { /* luminance is of BT.2020's colours, whatever they are said to be */
        const float y = 0.2627f * in[0] + 0.6780f * in[1] + 0.0593f * in[2];
        system = h->system[(int)(sqrtf(y) * FINE + 0.5f)];
    }
    for (int k = 0; k < 3; k++) {
        const float *m = h->matrix[k];
        out[k] = fmaxf(system * (m[0] * in[0] + m[1] * in[1] + m[2] * in[2]), 0.0f);
        most = fmaxf(most, out[k]);
    }
    const float by = most > KNEE ? shown(most) / most : 1.0f;
    for (int k = 0; k < 3; k++)
        to[k] = h->screen[(int)(sqrtf(fminf(out[k] * by, 1.0f)) * FINE + 0.5f)];
}

void mgi_hdr_map(const struct mgi_hdr *h, const AVFrame *from, AVFrame *to)
{
    for (int y = 0; y < to->height; y++) {
        const uint16_t *in =
            (const uint16_t *)(const void *)(from->data[0] + (ptrdiff_t)y * from->linesize[0]);
        uint8_t *out = to->data[0] + (ptrdiff_t)y * to->linesize[0];
        for (int x = 0; x < to->width; x++)
            map_pixel(h, in + 3 * x, out + 3 * x);
    }
}
