/* SPDX-License-Identifier: MIT
 * What an editor makes of the toybox's films, of which the edited ones are known. Tier 7. */
#ifndef MGI_EVAL_EDIT_EVAL_H
#define MGI_EVAL_EDIT_EVAL_H

#include "data/world_edit.h"
#include "eval/evaluate.h"

/* Edit i of this protocol, in scenes of the clip's shape with combinations of objects that are held out: the tasks in
 * turn, all but text to video. */
void mgi_edit_case(const mgi_clip_shape *clip, uint64_t seed, int64_t i, mgi_world_edit *edit);

/* Whether what the pixel checker (world_check.h) saw of a film agrees with the film after, as far as the edit goes. Of a
 * local edit: an object of that colour, shape and size, and none of the colour before; the background; of what was
 * removed that no object has its colour and as many are left as should be, or that no sign is read; of what was added that an
 * object has its colour and shape, or that the sign is read. Of other tasks the checker tells nothing: false. */
bool mgi_edit_seen(const mgi_world_edit *edit, const mgi_world_said *seen);

/* Of request->n edits of films of the clip that `editor` has: psnr and ssim to the film after; kept_psnr over the pixels
 * that are equal before and after, frame by frame, and changed_psnr over the others; applied: the share of edits that can
 * be seen in the result, by mgi_edit_seen() or, of styles, textures and marked objects, by its changed pixels being
 * nearer to the film after than to the one before. Means over all edits, then of each task behind its name, as
 * removal_psnr. Films with less than a thousandth of their pixels on one side are left out of that side's number.
 * Where something added is to stand no instruction says: additions have no psnr, ssim and changed_psnr, also not among
 * all, and an object at another place than the truth's counts in their kept_psnr as an error.
 *
 * The same with "copy_" for the film before, handed back through the TAE; with "ceiling_" for the film after, through the
 * TAE; and, unless `plain` is NULL, with "sdedit_" for the video model `plain`, which begins with the film before, noised,
 * takes MGI_EDIT_SDEDIT of the steps, the last ones, and is told the caption of the film after. Its guidance is
 * its own, unless the request has one.
 *
 * Edit i has the noise of seed + i. STATE if the checker cannot read clips of that shape. */
#define MGI_EDIT_SDEDIT 0.6f /* as in the report */
mgen_status mgi_eval_edit(mgen_context *ctx, const mgi_networks *editor, const mgi_networks *plain,
                          const mgi_eval_request *request, mgen_report *report);

#endif
