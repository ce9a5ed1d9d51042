/* SPDX-License-Identifier: MIT
 * How an edit is asked for. */
#include "data/world_edit.h"

#include <stdio.h>

/* An object has a colour of its own in its scene: colour and shape are its name. Every other wording tells its size,
 * too, as captions do: if it is not medium. */
static void name_object(const mgi_world_object *o, const char *article, bool sized, char out[64])
{
    bool told = sized && o->size != MGI_WORLD_MEDIUM;
    const char *size = told ? mgi_world_size_name(o->size) : "";
    const char *colour = mgi_world_colour_name(o->colour);
    bool vowel = article[0] == 'a' && !told && colour[0] == 'o';
    snprintf(out, 64, "%s%s %s%s%s %s", article, vowel ? "n" : "", size, told ? " " : "", colour,
             mgi_world_shape_name(o->shape));
}

static void say_local(const mgi_world_edit *e, const char *name, char *out, size_t room)
{
    static const char *const recolour[MGI_WORLD_EDIT_WORDINGS] = {
        "make %s %s", "change the colour of %s to %s", "turn %s %s", "%s should be %s"};
    static const char *const reshape[MGI_WORLD_EDIT_WORDINGS] = {
        "turn %s into a %s", "make %s a %s", "change %s into a %s", "%s should be a %s"};
    static const char *const resize[MGI_WORLD_EDIT_WORDINGS] = {
        "make %s %s", "change the size of %s to %s", "turn %s into a %s one", "%s should be %s"};
    const mgi_world_object *o = &e->after.objects[e->object];
    if (e->changed == MGI_WORLD_EDIT_COLOUR)
        snprintf(out, room, recolour[e->wording], name, mgi_world_colour_name(o->colour));
    else if (e->changed == MGI_WORLD_EDIT_SHAPE)
        snprintf(out, room, reshape[e->wording], name, mgi_world_shape_name(o->shape));
    else
        snprintf(out, room, resize[e->wording], name, mgi_world_size_name(o->size));
}

static void say_background(const mgi_world_edit *e, char *out, size_t room)
{
    static const char *const words[MGI_WORLD_EDIT_WORDINGS] = {
        "change the background to %s", "replace the background with %s", "make the background %s",
        "the background should be %s"};
    snprintf(out, room, words[e->wording],
             e->after.background == MGI_WORLD_MOON
                 ? "the moon"
                 : mgi_world_background_name(e->after.background));
}

static void say_style(const mgi_world_edit *e, char *out, size_t room)
{
    static const char *const words[MGI_WORLD_STYLES][MGI_WORLD_EDIT_WORDINGS] = {
        {"leave it in its style", "leave it in its style", "leave it in its style",
         "leave it in its style"},
        {"turn it into a black and white film", "make it black and white",
         "change the style to black and white", "show it in black and white"},
        {"turn it into a sepia film", "make it sepia", "change the style to sepia",
         "show it in sepia"},
        {"turn it into a negative", "make it a negative", "change the style to negative",
         "show it as a negative"},
        {"turn it into a film at night", "make it night", "change the style to night",
         "show it at night"}};
    snprintf(out, room, "%s", words[e->style][e->wording]);
}

static void say_removal(const mgi_world_edit *e, const char *name, char *out, size_t room)
{
    static const char *const words[MGI_WORLD_EDIT_WORDINGS] = {"remove %s", "take away %s",
                                                               "delete %s", "show it without %s"};
    char sign[64] = "the sign";
    if (e->wording % 2)
        snprintf(sign, sizeof sign, "the sign that reads \"%s\"", e->before.sign);
    snprintf(out, room, words[e->wording], e->object < 0 ? sign : name);
}

static void say_addition(const mgi_world_edit *e, char *out, size_t room)
{
    static const char *const words[MGI_WORLD_EDIT_WORDINGS] = {"add %s%s%s", "insert %s%s%s",
                                                               "put %s%s%s into it", "add %s%s%s"};
    char name[64];
    if (e->object < 0) {
        snprintf(name, sizeof name, "\"%s\"", e->after.sign);
        snprintf(out, room, words[e->wording], "a sign ",
                 e->wording == 3 ? "with the text " : "that reads ", name);
        return;
    }
    const mgi_world_object *o = &e->after.objects[e->object];
    bool moves = e->after.frames > 1;
    name_object(o, "a", true, name);
    snprintf(out, room, words[e->wording], name,
             !moves            ? ""
             : e->wording == 3 ? ", which "
                               : " that ",
             moves ? mgi_world_motion_name(o->motion) : "");
}

static void say_texture(const mgi_world_edit *e, const char *name, char *out, size_t room)
{
    static const char *const nouns[MGI_WORLD_TEXTURES] = {"plain", "stripes", "dots", "checks"};
    static const char *const adjectives[MGI_WORLD_TEXTURES] = {"plain", "striped", "dotted",
                                                               "checkered"};
    static const char *const words[MGI_WORLD_EDIT_WORDINGS] = {
        "give %s %s", "make %s %s", "cover %s with %s", "change the texture of %s to %s"};
    int texture = e->after.objects[e->object].texture;
    bool adjective = e->wording == 1;
    if (texture == MGI_WORLD_PLAIN && (e->wording == 0 || e->wording == 2))
        snprintf(out, room, e->wording ? "remove the %s from %s" : "take the %s off %s",
                 nouns[e->before.objects[e->object].texture], name);
    else
        snprintf(out, room, words[e->wording], name, (adjective ? adjectives : nouns)[texture]);
}

static void say_segmentation(const mgi_world_edit *e, const char *name, char *out, size_t room)
{
    static const char *const words[MGI_WORLD_EDIT_WORDINGS] = {
        "mark %s in %s", "highlight %s in %s", "mark all of %s in %s", "segment %s in %s"};
    snprintf(out, room, words[e->wording], name,
             mgi_world_colour_name(e->after.objects[e->object].paint - 1));
}

void mgi_world_edit_text(const mgi_world_edit *e, char out[MGI_WORLD_CAPTION_MAX])
{
    const size_t room = MGI_WORLD_CAPTION_MAX;
    char name[64] = "";
    if (e->object >= 0 && e->task != MGI_EDIT_ADDITION)
        name_object(&e->before.objects[e->object], "the", e->wording % 2, name);
    switch (e->task) {
    case MGI_EDIT_STYLE:
        say_style(e, out, room);
        break;
    case MGI_EDIT_BACKGROUND:
        say_background(e, out, room);
        break;
    case MGI_EDIT_REMOVAL:
        say_removal(e, name, out, room);
        break;
    case MGI_EDIT_ADDITION:
        say_addition(e, out, room);
        break;
    case MGI_EDIT_TEXTURE:
        say_texture(e, name, out, room);
        break;
    case MGI_EDIT_SEGMENTATION:
        say_segmentation(e, name, out, room);
        break;
    default:
        say_local(e, name, out, room);
        break;
    }
}
