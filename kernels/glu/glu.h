/* SPDX-License-Identifier: MIT
 * glu: gated activation of a fused projection: x (rows, 2*dim) = [a | b], y (rows, dim) =
 * act(a) * b. SiLU gives SwiGLU, GELU (tanh form) the gated GELU of T5, GELU (erf form) GEGLU, the sigmoid
 * the gated linear unit.
 * glu_grad: from dy and x writes dx (rows, 2*dim).
 * All buffers are f32, or all are bf16.
 */
#ifndef MGK_GLU_H
#define MGK_GLU_H

#include "kernels/mgk.h"

enum { MGK_GLU_SILU, MGK_GLU_GELU_TANH, MGK_GLU_GELU_ERF, MGK_GLU_SIGMOID };

typedef struct mgk_glu_args {
    mgk_buf x, y, dy, dx;
    int64_t rows, dim;
    int32_t kind;
} mgk_glu_args;

MGK_DECLARE(glu);
MGK_DECLARE(glu_grad);

#endif
