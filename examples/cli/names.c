/* SPDX-License-Identifier: MIT
 * Texts by number: a hash table without removal. */
#include "csv.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a. */
uint64_t text_hash(const char *text, uint64_t seed)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ seed;
    for (const unsigned char *s = (const unsigned char *)text; *s; s++)
        hash = (hash ^ *s) * UINT64_C(0x100000001b3);
    return hash;
}

/* Where the name's number stands, or is to stand. */
static size_t slot_of(const name_list *list, const char *name)
{
    size_t at = (size_t)text_hash(name, 0) & (list->slots_count - 1);
    while (list->slots[at] && strcmp(list->names[list->slots[at] - 1], name) != 0)
        at = (at + 1) & (list->slots_count - 1);
    return at;
}

long names_find(const name_list *list, const char *name)
{
    return list->slots_count ? (long)list->slots[slot_of(list, name)] - 1 : NAME_NONE;
}

/* Room for one more: at most half of the slots are taken. */
static bool grow(name_list *list)
{
    if (list->count < list->capacity)
        return true;
    size_t capacity = list->capacity ? 2 * list->capacity : 32;
    char **names = realloc(list->names, capacity * sizeof *names);
    size_t *slots = calloc(2 * capacity, sizeof *slots);
    list->names = names ? names : list->names;
    if (!names || !slots) {
        free(slots);
        return false;
    }
    free(list->slots);
    list->slots = slots;
    list->slots_count = 2 * capacity;
    list->capacity = capacity;
    for (size_t i = 0; i < list->count; i++)
        slots[slot_of(list, names[i])] = i + 1;
    return true;
}

long names_add(name_list *list, const char *name)
{
    long found = names_find(list, name);
    if (found != NAME_NONE)
        return found;
    char *own = grow(list) ? strdup(name) : NULL;
    if (!own)
        return NAME_NONE;
    list->slots[slot_of(list, name)] = list->count + 1;
    list->names[list->count] = own;
    return (long)list->count++;
}

void names_free(name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
    free(list->slots);
    *list = (name_list){0};
}
