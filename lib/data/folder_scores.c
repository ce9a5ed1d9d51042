/* SPDX-License-Identifier: MIT */
#include "data/folder_scores.h"

#include "core/quiet.h"
#include "data/folder.h"
#include "io/json.h"

#include <string.h>

#define SCORE ".score.txt"

mgen_status mgi_folder_take_score(mgen_context *ctx, const char *dir, mgi_dataset_film *film,
                                  const mgi_dir_file *files, int64_t count)
{
    const mgi_dir_file *file = mgi_folder_beside(film->name, SCORE, files, count);
    char text[MGI_CAPTION_SIZE];
    mgi_json *number = NULL;
    if (!file)
        return MGEN_OK;
    MGI_TRY(mgi_folder_text(ctx, dir, file, "score", true, text));
    mgi_message before;
    mgi_quiet_begin(ctx, &before); /* why it is no number is not said, too */
    mgen_status status = mgi_json_parse(ctx, file->name, text, strlen(text), &number);
    const bool fits = status == MGEN_OK &&
                      (number->kind == MGI_JSON_INT || number->kind == MGI_JSON_REAL) &&
                      number->d >= -1.0 && number->d <= 1.0;
    film->score = fits ? (float)number->d : 0.0f;
    mgi_json_free(ctx, number);
    if (!fits && (status == MGEN_OK || status == MGEN_E_CORRUPT))
        status = mgi_fail(ctx, MGEN_E_CORRUPT,
                          "'%s' in '%s' says \"%.40s\", not how good the film is as a number from "
                          "-1 to 1, such as 0.5",
                          file->name, dir, text);
    mgi_quiet_end(ctx, &before, fits);
    return status;
}

float mgi_dataset_score(const mgi_dataset *ds, uint64_t index)
{
    return ds->kind == MGI_DATASET_FOLDER ? ds->films[index].score : 0.0f;
}

mgen_status mgi_dataset_check_scores(mgen_context *ctx, const mgi_dataset *ds)
{
    const uint64_t train = mgi_dataset_train_count(ds);
    if (ds->kind != MGI_DATASET_FOLDER)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "a host's samples have no scores, of which preferences are learnt; take a "
                        "folder of films with '<name>" SCORE "' beside them, or no dataset");
    for (uint64_t i = 0; i < ds->count; i++)
        if (i < train && ds->films[i].score != 0.0f)
            return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "none of the %llu films to train on in '%s' has a score, of which preferences "
                    "are learnt; put '<name>" SCORE
                    "' beside films, a number from -1 (away from it) to 1 (towards it)",
                    (unsigned long long)train, ds->dir);
}
