/* SPDX-License-Identifier: MIT
 * The toybox's video model, as it is shipped. */
#ifndef TESTS_UNIT_SHIPPED_MODEL_H
#define TESTS_UNIT_SHIPPED_MODEL_H

#include "task/pipeline.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct shipped {
    mgi_tae tae;
    mgi_text_encoder text[MGI_ROLES];
    mgi_vt video;
    mgi_networks n;
} shipped;

static inline void open_toybox(mgen_context *context, shipped *m)
{
    static const char *const roles[MGI_ROLES] = {"ul2", "byt5", "metaclip"};
    char dir[1024];
    uint64_t hash;
    const char *source = getenv("MOVIEGEN_SOURCE");
    snprintf(dir, sizeof dir, "%s/examples/models/toybox", source ? source : ".");
    assert_int_equal(mgi_tae_open(context, dir, "tae", &m->tae, &hash), MGEN_OK);
    assert_int_equal(mgi_vt_open(context, dir, "video_model", &m->video, &hash), MGEN_OK);
    m->n = (mgi_networks){.tae = &m->tae, .video = &m->video, .clip = {64, 64, 32, 16}};
    for (int i = 0; i < MGI_ROLES; i++) {
        assert_int_equal(mgi_text_encoder_open(context, dir, roles[i], &m->text[i], &hash),
                         MGEN_OK);
        m->n.text[i] = &m->text[i];
    }
    assert_int_equal(mgi_networks_check(context, &m->n), MGEN_OK);
}

static inline void close_toybox(shipped *m)
{
    mgi_vt_finish(&m->video);
    for (int i = 0; i < MGI_ROLES; i++)
        mgi_text_encoder_finish(&m->text[i]);
    mgi_tae_finish(&m->tae);
}

#endif
