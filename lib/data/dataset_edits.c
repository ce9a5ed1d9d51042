/* SPDX-License-Identifier: MIT */
#include "data/dataset_edits.h"

#include "core/alloc.h"
#include "data/folder.h"
#include "data/folder_edits.h"

#include <string.h>

bool mgi_dataset_has_edits(const mgi_dataset *ds)
{
    return ds->kind == MGI_DATASET_FOLDER ? mgi_folder_has_edits(ds) : ds->edits;
}

mgen_status mgi_dataset_check_edits_there(mgen_context *ctx, const mgi_dataset *ds, bool captions)
{
    return ds->kind == MGI_DATASET_FOLDER ? mgi_folder_check_edits(ctx, ds, captions) : MGEN_OK;
}

mgen_status mgi_dataset_check_edits(mgen_context *ctx, const mgi_dataset *ds, bool captions)
{
    MGI_TRY(mgi_dataset_check_edits_there(ctx, ds, captions));
    return ds->kind == MGI_DATASET_FOLDER ? mgi_folder_check_frames(ctx, ds, 0.0, ds->frames, true)
                                          : MGEN_OK;
}

/* Whether sample `index` may be an edit. */
static mgen_status check_sample(mgen_context *ctx, const mgi_dataset *ds, uint64_t index)
{
    if (index < ds->count && mgi_dataset_has_edits(ds))
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID, "sample %llu of the dataset is no edit",
                    (unsigned long long)index);
}

/* ---- what the host reads ------------------------------------------------------------------------- */

mgen_status mgi_host_edit_offer(mgen_context *ctx, const mgi_dataset *ds, mgi_host_edit *edit,
                                mgen_sample *sample)
{
    *edit = (mgi_host_edit){.pixels = NULL};
    if (!ds->edits)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)ds->bytes, 1, &edit->pixels));
    sample->edited = edit->pixels;
    sample->instruction = edit->instruction;
    sample->edit_task = MGEN_EDIT_AUTO;
    return MGEN_OK;
}

mgen_status mgi_host_edit_check(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                const mgen_sample *sample, mgi_host_edit *edit)
{
    if (!ds->edits)
        return MGEN_OK;
    if (!edit->instruction[0])
        return mgi_fail(ctx, MGEN_E_INVALID, "sample %llu: its instruction is \"\"",
                        (unsigned long long)index);
    if (sample->edit_task > MGEN_EDIT_SEGMENTATION)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "sample %llu: its edit_task is %u; it must be a MGEN_EDIT_*",
                        (unsigned long long)index, (unsigned)sample->edit_task);
    edit->task = sample->edit_task == MGEN_EDIT_AUTO
                     ? mgi_edit_task_guess(edit->instruction)
                     : (int32_t)sample->edit_task - MGEN_EDIT_LOCAL + MGI_EDIT_LOCAL;
    return MGEN_OK;
}

static mgen_status host_edit(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                             int64_t frames, uint8_t *before, uint8_t *after, mgi_edit_words *words)
{
    const int64_t each = ds->bytes / ds->frames;
    mgi_host_edit edit = {.pixels = NULL};
    uint8_t *whole;
    MGI_TRY(mgi_alloc(ctx, (size_t)ds->bytes, &whole));
    mgen_status status = mgi_dataset_ask_host(ctx, ds, index, whole, words->caption, NULL, &edit);
    if (status == MGEN_OK) {
        memcpy(before, whole + first * each, (size_t)(frames * each));
        if (after)
            memcpy(after, edit.pixels + first * each, (size_t)(frames * each));
        strcpy(words->instruction, edit.instruction);
        words->task = edit.task;
    }
    mgi_free(ctx, edit.pixels);
    mgi_free(ctx, whole);
    return status;
}

static mgen_status host_told(mgen_context *ctx, mgi_dataset *ds, bool *told)
{
    char caption[MGI_CAPTION_SIZE];
    mgi_host_edit edit = {.pixels = NULL};
    uint8_t *pixels;
    MGI_TRY(mgi_alloc(ctx, (size_t)ds->bytes, &pixels));
    mgen_status status = mgi_dataset_ask_host(ctx, ds, 0, pixels, caption, NULL, &edit);
    *told = status == MGEN_OK && caption[0];
    mgi_free(ctx, edit.pixels);
    mgi_free(ctx, pixels);
    return status;
}

/* ---- all ----------------------------------------------------------------------------------------- */

mgen_status mgi_dataset_edit(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                             int64_t frames, uint8_t *before, uint8_t *after, mgi_edit_words *words)
{
    MGI_TRY(check_sample(ctx, ds, index));
    if (first < 0 || frames < 1 || frames > ds->frames || first > ds->frames - frames)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "frames %lld to %lld of samples that have %lld of them", (long long)first,
                        (long long)(first + frames - 1), (long long)ds->frames);
    if (ds->kind == MGI_DATASET_HOST)
        return host_edit(ctx, ds, index, first, frames, before, after, words);
    MGI_TRY(mgi_dataset_edit_words(ctx, ds, index, words));
    return mgi_folder_read_edit(ctx, ds, index, first, frames, before, after);
}

mgen_status mgi_dataset_edits_told(mgen_context *ctx, mgi_dataset *ds, bool *told)
{
    *told = true;
    if (ds->kind == MGI_DATASET_HOST)
        return host_told(ctx, ds, told);
    for (uint64_t i = 0; ds->kind == MGI_DATASET_FOLDER && i < ds->count; i++)
        *told = *told && ds->films[i].caption[0];
    return MGEN_OK;
}

mgen_status mgi_dataset_edit_words(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                   mgi_edit_words *words)
{
    MGI_TRY(check_sample(ctx, ds, index));
    if (ds->kind == MGI_DATASET_FOLDER)
        return mgi_folder_edit_words(ctx, ds, index, words);
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "sample %llu: only its host knows what is said of it, before it is read",
                    (unsigned long long)index);
}
