/* SPDX-License-Identifier: MIT */
#include "text/say.h"

#include <string.h>

void mgi_say(mgi_saying *s, const char *words)
{
    const size_t room = s->size - s->used - 1, length = strlen(words);
    const size_t n = length < room ? length : room;
    memcpy(s->out + s->used, words, n);
    s->used += n;
    s->out[s->used] = '\0';
}
