/* SPDX-License-Identifier: MIT */
#include "text/audio_caption.h"

#include "text/say.h"

#include <stdint.h>

static void quote(mgi_saying *t, const char *words)
{
    for (; words && *words && t->used + 1 < t->size; words++)
        t->out[t->used++] = *words == '"' ? '\'' : *words;
}

/* With `places` digits behind the point, which is one in every locale. What is no number is 0. */
static void say_number(mgi_saying *t, float value, float most, int places)
{
    int32_t unit = places == 1 ? 10 : 100;
    value = value > 0.0f ? value < most ? value : most : 0.0f;
    int32_t whole = (int32_t)(value * (float)unit + 0.5f), rest = whole % unit;
    char digits[8] = "";
    int n = 0;
    if (whole / unit >= 10)
        digits[n++] = (char)('0' + whole / unit / 10);
    digits[n++] = (char)('0' + whole / unit % 10);
    digits[n++] = '.';
    if (places == 2)
        digits[n++] = (char)('0' + rest / 10);
    digits[n++] = (char)('0' + rest % 10);
    digits[n] = '\0';
    mgi_say(t, digits);
}

/* Bytes at the end that begin a character of UTF-8 and do not finish it. */
static size_t unfinished(const mgi_saying *t)
{
    size_t back = 0;
    while (back < t->used && back < 4) {
        uint8_t c = (uint8_t)t->out[t->used - ++back];
        if (c < 0x80)
            return 0;
        if (c >= 0xC0)
            return back < (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) ? back : 0;
    }
    return 0;
}

void mgi_audio_caption(const mgi_audio_words *w, char *out, size_t size)
{
    mgi_saying t = {out, 0, size};
    mgi_say(&t, "This audio has quality: ");
    say_number(&t, w->quality, 10.0f, 1);
    mgi_say(&t,
            w->speech ? ". This audio contains speech." : ". This audio does not contain speech.");
    mgi_say(&t, w->singing ? " This audio contains vocal singing."
                           : " This audio does not contain vocal singing.");
    mgi_say(&t, " This audio has a description: \"");
    quote(&t, w->description);
    mgi_say(&t, "\". This audio contains music with a ");
    say_number(&t, w->music, 1.0f, 2);
    mgi_say(&t, " likelihood. This audio has a music description (if applicable): \"");
    quote(&t, w->music_description);
    mgi_say(&t, "\".");
    if (t.used + 1 == size)
        t.used -= unfinished(&t);
    out[t.used] = '\0';
}
