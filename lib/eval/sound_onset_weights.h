/* SPDX-License-Identifier: MIT
 * Written by scripts/sound_weights.py: do not edit. What the checker of sounds weighs its features with
 * (sound_look.h). The last weight of each row is added as it is. Tier 7. */
#ifndef MGI_EVAL_SOUND_ONSET_WEIGHTS_H
#define MGI_EVAL_SOUND_ONSET_WEIGHTS_H

#include "eval/sound_look.h"

/* clang-format off */
static const float onset_weights[MGI_LOOK_ONSET_FEATURES + 1] = {
     0.02025f, 0.02513f, -0.2136f, -0.06771f, 0.1161f, 0.1419f, -0.02048f, -0.07543f, -0.107f, -0.2214f, -0.04736f, 0.0348f,
     0.05945f, -0.3736f, 0.1632f, 0.09264f, -0.1377f, 0.0198f, -0.1356f, 0.01594f, -0.02288f, -0.05425f, -0.06127f, -0.06439f,
     -0.01436f, 0.0297f, -0.09069f, -0.4189f, 0.125f, -0.01792f, 0.04906f, -0.04729f, -0.06119f, 0.005793f, -0.003961f, -0.1019f,
     0.04137f, 0.1502f, -0.1792f, -0.0507f, -0.3202f, 0.5156f, -0.2029f, -0.08075f, 0.3611f, 0.0417f, 0.09163f, 0.09757f,
     0.1331f, 0.1771f, 0.1256f, 0.3561f, 0.2728f, 0.2042f, 0.2478f, 0.9131f, -0.251f, -0.1135f, 0.07197f, -0.06709f,
     0.0243f, -0.2656f, -0.05355f, -0.07849f, -0.1889f, -0.2332f, -0.2851f, -0.2027f, -0.1166f, -0.6427f, 0.8031f, 3.101f,
     -2.05f, 1.654f, 0.9872f, 2.55f, -1.487f, 0.01316f, 0.3829f, 0.8581f, -1.235f, 1.932f, 7.012f
};
/* clang-format on */

#endif
