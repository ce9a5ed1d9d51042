/* SPDX-License-Identifier: MIT
 * What curation finds in the toybox's raw films, of which it is known what is wrong with them. Tier 7. */
#ifndef MGI_EVAL_CURATE_EVAL_H
#define MGI_EVAL_CURATE_EVAL_H

#include "eval/evaluate.h"

/* Of request->n raw films (data/world_raw.h) of world request->seed, with the toybox's rules. Of each filter by itself
 * precision, the share of the clips it fails that have what it looks for, and recall, the share of the clips with it that
 * it fails: text, border, still (also slides, and films that freeze), motion (slow or fast), jitter. Clips that a filter
 * may fail for another reason, as still ones for their lack of motion, count for neither. scene_: of cuts, to the frame, in
 * all films. join_: of what is gradual between scenes, in these films and in two more of each round whose scenes are joined so; a
 * join is found if any frame of it is; join_whole: the share of these films' clips without a frame of one. duplicate_: of pairs of clips, one of which should go. kept_precision: the share of the clips that are kept in the
 * end which have no defect and no cut within; kept_recall: the share of the clips without any, duplicates counted once, that are kept. And
 * films, clips, kept: how many there were. A rate of nothing is left out. */
mgen_status mgi_eval_curate(mgen_context *ctx, const mgi_eval_request *request,
                            mgen_report *report);

#endif
