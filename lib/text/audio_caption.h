/* SPDX-License-Identifier: MIT
 * What an audio model is told: the report's form of a caption. Tier 5. */
#ifndef MGI_TEXT_AUDIO_CAPTION_H
#define MGI_TEXT_AUDIO_CAPTION_H

#include <stdbool.h>
#include <stddef.h>

typedef struct mgi_audio_words {
    float quality; /* 1 to 10 */
    bool speech, singing;
    const char
        *description; /* of the sounds; NULL or "": nothing stands between its quotation marks */
    float music;      /* how likely there is any, 0 to 1 */
    const char *music_description; /* the same */
} mgi_audio_words;

/* The caption, byte for byte as models of this kind are told it; cut so that it and its NUL fit in `size` bytes, of
 * which there is at least one, and never within a character of UTF-8. Quotation marks within a description become '. */
void mgi_audio_caption(const mgi_audio_words *words, char *out, size_t size);

#endif
