/* SPDX-License-Identifier: MIT
 * moviegen edit: a film becomes another by an instruction. */
#include "cli.h"

/* In the order of MGEN_EDIT_*. */
static const char *const tasks[] = {"auto",    "local",    "style",   "background",
                                    "removal", "addition", "texture", "segmentation"};
enum { TASKS = sizeof tasks / sizeof *tasks };

/* Without an editor it is the video model that edits. */
static void model_of(const cli_session *s, const mgen_generate_params *params, mgen_model_info *out)
{
    if (params->strength > 0)
        mgen_video_model_get_info(s->pipe.video, out);
    else
        mgen_editor_get_info(s->pipe.editor, out);
}

static void tell(const mgen_generate_params *params, const mgen_model_info *model)
{
    if (params->strength > 0) {
        printf(",\"strength\":");
        json_number(stdout, params->strength);
        return;
    }
    printf(",\"task\":\"%s\",\"source_guidance\":", tasks[params->edit_task]);
    json_number(stdout,
                params->source_guidance > 0 ? params->source_guidance : model->source_guidance);
}

static int run(const cli_command *self, int argc, char **argv)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    cli_remake r = {.out = "edited.mp4",
                    .seed = DEFAULT_SEED,
                    .place = {.rank = RANK_UNTOLD},
                    .make = film_edit,
                    .model_of = model_of,
                    .tell = tell};
    const char *task = NULL;
    double source_guidance = 0, strength = 0;
    const cli_option table[] = {
        {"--out", "-o", OPTION_TEXT, &r.out, 0, 0, "FILE",
         "where the film goes (default: edited.mp4)"},
        {"--task", NULL, OPTION_TEXT, &task, 0, 0, "NAME",
         "what the instruction is about: local (an object becomes another), style, background, "
         "removal, addition, texture, segmentation; auto: by its words (default: auto)"},
        OPTION_MODEL(&r.model),
        {"--width", "-W", OPTION_U32, &r.width, 1, 65536, "N",
         "pixels, to which the film is resized before (default: the film's)"},
        {"--height", "-H", OPTION_U32, &r.height, 1, 65536, "N", "pixels (default: likewise)"},
        OPTIONS_FRAMES(&r),
        OPTION_SEED(&r.seed),
        {"--steps", NULL, OPTION_U32, &r.steps, 1, 1000, "N",
         "solver steps (default: the editor's; with --strength 50)"},
        {"--source-guidance", NULL, OPTION_REAL, &source_guidance, 0.001, 100, "G",
         "guidance scale towards the film; 1 = off (default: the editor's)"},
        {"--strength", NULL, OPTION_REAL, &strength, 0.001, 0.999, "S",
         "edit without an editor, by the video model: the share of the steps that are taken, from "
         "the noised film on (of the way, too, with --schedule linear: the default's first steps "
         "are short); the instruction is then what the edited film shows"},
        OPTIONS_REMAKE(&r),
        OPTION_END,
    };
    const char *words[2] = {NULL, NULL};
    int count;
    int result = options_parse(self, table, argc, argv, words, 2, &count);
    if (result != OPTIONS_OK)
        return result;
    if (count < 2) {
        complain(self, "no %s given; usage: moviegen edit %s", count ? "instruction" : "film",
                 self->usage);
        return STATUS_USAGE;
    }
    if (words_swapped(self, words[0], words[1]))
        return STATUS_USAGE;
    if (!name_number(self, "--task", task, tasks, TASKS, &params.edit_task))
        return STATUS_USAGE;
    if (strength > 0 && (params.edit_task || source_guidance > 0)) {
        complain(self, "with --strength the video model edits, which is told neither --task nor "
                       "--source-guidance");
        return STATUS_USAGE;
    }
    r.steps = strength > 0 && !r.steps ? DEFAULT_STEPS : r.steps;
    r.input = words[0];
    params.prompt = words[1];
    params.source_guidance = (float)source_guidance;
    params.strength = (float)strength;
    return remake_run(self, &r, &params);
}

const cli_command command_edit = {
    "edit", "edit a film by an instruction", "INPUT \"INSTRUCTION\" [options]",
    "The instruction says what is to change, as \"make the red ball blue\" or \"remove the cube\". "
    "INPUT and\n"
    "FILE are films or pictures; the ending of a name is its format: .y4m and .png always work, "
    "others need\n"
    "the FFmpeg plug-in, without which FILE becomes a .y4m and a .png file. The film's sound is "
    "not kept.\n"
    "Ctrl-C cancels.",
    run};
