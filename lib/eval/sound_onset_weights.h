/* SPDX-License-Identifier: MIT
 * Written by scripts/sound_weights.py: do not edit. What the checker of sounds weighs its features with
 * (sound_look.h). The last weight of each row is added as it is. Tier 7. */
#ifndef MGI_EVAL_SOUND_ONSET_WEIGHTS_H
#define MGI_EVAL_SOUND_ONSET_WEIGHTS_H

#include "eval/sound_look.h"

/* clang-format off */
static const float onset_weights[MGI_LOOK_ONSET_FEATURES + 1] = {
     0.2461f, -0.03177f, -0.1429f, -0.05925f, 0.04491f, 0.2175f, 0.06517f, -0.1375f, -0.08866f, -0.1047f, 0.0332f, 0.09493f,
     0.05493f, -0.7559f, -0.0345f, -0.02653f, -0.03374f, -0.1032f, -0.06267f, -0.02796f, -0.05313f, 0.005289f, -0.03368f, -0.03116f,
     0.03855f, -0.008669f, -0.02445f, -0.725f, 0.1379f, 0.08187f, -0.02746f, -0.1229f, -0.0134f, -0.02964f, -0.01059f, -0.07736f,
     0.07161f, 0.1447f, -0.1307f, -0.1347f, -0.252f, 0.9176f, -0.1275f, 0.001707f, 0.3838f, 0.1978f, 0.2336f, 0.08703f,
     0.1573f, 0.1295f, 0.1605f, 0.3146f, 0.2737f, 0.3092f, 0.2284f, 0.9294f, -0.3055f, -0.17f, 0.005748f, -0.08882f,
     -0.09726f, -0.254f, -0.1436f, -0.1686f, -0.245f, -0.3512f, -0.2945f, -0.2879f, -0.08928f, -0.5726f, 0.9191f, 2.606f,
     -1.735f, 2.883f, 1.008f, 2.509f, -0.07119f, -1.424f, 0.4752f, 0.5818f, -0.8673f, 1.904f, 9.506f
};
/* clang-format on */

#endif
