/* SPDX-License-Identifier: MIT
 * The folders of kernels/. Each must define its cases: one that does not, does not link here. */
#ifndef FOLDER
#error "define FOLDER(name) first"
#endif
FOLDER(matmul)
FOLDER(fp8)
FOLDER(conv2d)
FOLDER(attention)
FOLDER(norm)
FOLDER(group_norm)
FOLDER(glu)
FOLDER(snake)
FOLDER(pointwise)
FOLDER(reduce)
FOLDER(embedding)
FOLDER(position)
FOLDER(layout)
FOLDER(resize)
FOLDER(flow)
FOLDER(loss)
FOLDER(cross_entropy)
FOLDER(posterior)
FOLDER(optimizer)
FOLDER(random)
