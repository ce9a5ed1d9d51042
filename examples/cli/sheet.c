/* SPDX-License-Identifier: MIT
 * moviegen sheet: one picture of what a model can do: a film for each of the alignment protocol's first prompts, as a
 * strip of frames under its prompt. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 3, STRIP_FRAMES = 4, FRAME_GAP = 2, CELL_GAP = 10 };
enum { LABEL_LINES = 3, LINE_HEIGHT = FONT_HEIGHT + 3 };

typedef struct sheet {
    mgen_clip *picture;
    uint8_t *pixels;
    int width, height;             /* of the picture */
    int frame_width, frame_height; /* of one frame in a strip */
} sheet;

static int cell_width(const sheet *t)
{
    return STRIP_FRAMES * t->frame_width + (STRIP_FRAMES - 1) * FRAME_GAP;
}

static int cell_height(const sheet *t)
{
    return LABEL_LINES * LINE_HEIGHT + t->frame_height;
}

/* An empty sheet that has room for `cells` films like the one described by `film`. */
static mgen_status sheet_create(cli_session *s, sheet *t, const mgen_clip_info *film, int cells)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    int rows = (cells + COLUMNS - 1) / COLUMNS;
    t->frame_width = (int)film->width;
    t->frame_height = (int)film->height;
    t->width = COLUMNS * (cell_width(t) + CELL_GAP) + CELL_GAP;
    t->height = rows * (cell_height(t) + CELL_GAP) + CELL_GAP;
    info.width = (uint32_t)t->width;
    info.height = (uint32_t)t->height;
    info.frames = 1;
    info.fps_num = info.fps_den = 1;
    mgen_status status = mgen_clip_create(s->ctx, &info, &t->picture);
    if (status == MGEN_OK) {
        t->pixels = mgen_clip_pixels(t->picture);
        memset(t->pixels, 255, (size_t)t->width * (size_t)t->height * 3);
    }
    return status;
}

/* The prompt, in lines of whole words as wide as a strip. */
static void draw_label(sheet *t, int left, int top, const char *text)
{
    static const uint8_t ink[3] = {40, 40, 40};
    char line[256];
    int most = cell_width(t) / FONT_ADVANCE;
    for (int i = 0; i < LABEL_LINES && *text; i++) {
        int n = (int)strlen(text);
        if (n > most) {
            for (n = most; n > 0 && text[n] != ' ';)
                n--;
            n = n ? n : most;
        }
        snprintf(line, sizeof line, "%.*s", n, text);
        font_draw(t->pixels, t->width, t->height, left, top + i * LINE_HEIGHT, line, ink);
        text += n;
        text += *text == ' ';
    }
}

static void sheet_add(sheet *t, int cell, const char *prompt, const uint8_t *film, int frames)
{
    int left = CELL_GAP + cell % COLUMNS * (cell_width(t) + CELL_GAP);
    int top = CELL_GAP + cell / COLUMNS * (cell_height(t) + CELL_GAP);
    size_t row_bytes = (size_t)t->frame_width * 3;
    draw_label(t, left, top, prompt);
    top += LABEL_LINES * LINE_HEIGHT;
    for (int i = 0; i < STRIP_FRAMES; i++) {
        size_t frame = (size_t)(i * (frames - 1) / (STRIP_FRAMES - 1));
        int x = left + i * (t->frame_width + FRAME_GAP);
        for (int y = 0; y < t->frame_height; y++)
            memcpy(t->pixels + ((size_t)(top + y) * (size_t)t->width + (size_t)x) * 3,
                   film + (frame * (size_t)t->frame_height + (size_t)y) * row_bytes, row_bytes);
    }
}

typedef struct sheet_options {
    const char *model, *out;
    uint64_t seed;
    uint32_t steps, threads;
    const char *device;
    bool autotune;
    double guidance;
    bool quiet;
} sheet_options;

static int add_film(cli_session *s, const sheet_options *o, sheet *t, int cell, int cells)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *clip;
    params.prompt = mgen_toybox_prompt((uint32_t)cell);
    params.seed = o->seed + (uint64_t)cell;
    params.steps = o->steps;
    params.guidance = (float)o->guidance;
    int result = generate_clip(s, &params, NULL, &clip);
    if (result != STATUS_DONE)
        return result;
    mgen_status status = mgen_clip_get_info(clip, &info);
    if (status == MGEN_OK && !t->picture)
        status = sheet_create(s, t, &info, cells);
    if (status == MGEN_OK)
        sheet_add(t, cell, params.prompt, mgen_clip_pixels(clip), (int)info.frames);
    mgen_clip_destroy(clip);
    return status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
}

static int draw(cli_session *s, const sheet_options *o)
{
    sheet t = {0};
    progress p;
    char why[OUTPUT_WHY_SIZE];
    int cells = 0, result = STATUS_DONE;
    while (mgen_toybox_prompt((uint32_t)cells))
        cells++;
    mgen_status status = output_probe(s, o->out, why);
    if (status != MGEN_OK) {
        complain(s->command, "%s", *why ? why : mgen_status_name(status));
        return STATUS_ERROR;
    }
    result = session_load(s, o->model);
    if (result != STATUS_DONE)
        return result;
    progress_start(&p, "generating", o->quiet);
    for (int i = 0; i < cells && result == STATUS_DONE; i++) {
        result = add_film(s, o, &t, i, cells);
        progress_update(&p, (uint64_t)i + 1, (uint64_t)cells, NULL);
    }
    progress_end(&p);
    if (result == STATUS_DONE && (status = mgen_clip_write(s->ctx, t.picture, o->out)) != MGEN_OK)
        result = complain_library(s, status);
    if (result == STATUS_DONE && !o->quiet) {
        for (int i = 0; i < cells; i++)
            printf("row %2d, column %d: %s\n", i / COLUMNS + 1, i % COLUMNS + 1,
                   mgen_toybox_prompt((uint32_t)i));
        printf("wrote %s\n", o->out);
    }
    mgen_clip_destroy(t.picture);
    return result;
}

static int run(const cli_command *self, int argc, char **argv)
{
    sheet_options o = {.out = "sheet.png", .seed = DEFAULT_SEED, .steps = DEFAULT_STEPS};
    const cli_option table[] = {
        {"--out", "-o", OPTION_TEXT, &o.out, 0, 0, "FILE",
         "where the picture goes, a .png (default: sheet.png)"},
        OPTION_MODEL(&o.model),
        OPTION_SEED(&o.seed),
        OPTION_STEPS(&o.steps),
        OPTION_GUIDANCE(&o.guidance),
        OPTION_THREADS(&o.threads),
        OPTION_MEMORY,
        OPTION_DEVICE(&o.device),
        OPTION_AUTOTUNE(&o.autotune),
        OPTION_QUIET(&o.quiet),
        OPTION_END,
    };
    int words;
    int result = options_parse(self, table, argc, argv, NULL, 0, &words);
    if (result != OPTIONS_OK)
        return result;
    size_t len = strlen(o.out);
    if (len < 5 || strcmp(o.out + len - 4, ".png")) {
        complain(self, "--out needs a file name that ends in .png, not '%s'", o.out);
        return STATUS_USAGE;
    }
    cli_session s;
    interrupt_catch();
    result = session_open(&s, self, o.threads, o.device, o.autotune) ? draw(&s, &o) : STATUS_ERROR;
    session_close(&s);
    return result;
}

const cli_command command_sheet = {
    "sheet", "draw a contact sheet of a toybox model", "[options]",
    "Film i of the sheet is what generate makes of its prompt with seed N + i.", run};
