/* SPDX-License-Identifier: MIT
 * Films of a high dynamic range (PQ and HLG, Rec. ITU-R BT.2100), as phones and cameras write them, to what a screen of BT.709 shows. Tier 6.
 *
 * A white wall, 203 cd/m2 (BT.2408), becomes bright, and what is brighter keeps its colour: up to half of that all is as it was, above
 * it grows ever more slowly, to white at 1000 cd/m2. */
#ifndef MGI_PLUGINS_FFMPEG_HDR_H
#define MGI_PLUGINS_FFMPEG_HDR_H

#include "plugins/ffmpeg_common.h"

/* Whether a frame is such, and of what kind and colours: another value, other tables. 0: it is not. */
int mgi_hdr_kind(const AVFrame *frame);
/* For frames of one kind. NULL: no memory. */
struct mgi_hdr *mgi_hdr_create(int kind);
/* Rows of RGB48 to RGB24. */
void mgi_hdr_map(const struct mgi_hdr *h, const AVFrame *from, AVFrame *to);
void mgi_hdr_destroy(struct mgi_hdr *h); /* NULL is fine */

#endif
