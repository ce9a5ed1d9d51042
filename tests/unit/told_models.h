/* SPDX-License-Identifier: MIT
 * Small video transformers that see more than a text, what they are asked, and models that begin as others. */
#ifndef TESTS_UNIT_TOLD_MODELS_H
#define TESTS_UNIT_TOLD_MODELS_H

#include "core/hash.h"
#include "kernels/loss/loss.h"
#include "model/video_transformer.h"
#include "networks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 2 }; /* samples */

/* Values by name: parameters that two models share have the same in both. */
static void fill(mgi_vt *vt)
{
    mgi_module *m = &vt->module;
    assert_int_equal(mgi_vt_random(vt, 1), MGEN_OK);
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        uint64_t stream = mgi_hash64(p->name, strlen(p->name), 7);
        for (int64_t i = 0; i < p->value->count; i++)
            mgi_f32(p->value)[i] += 0.1f * mgi_random_normal(5, stream, (uint64_t)i);
    }
}

static void make(mgi_vt *vt, mgen_context *ctx, mgi_vt_config config)
{
    assert_int_equal(mgi_vt_init(vt, ctx, &config), MGEN_OK);
    fill(vt);
}

/* Rows first .. first + n - 1 of those of N samples, dims[0] being N. */
static T *some(mgi_run *run, uint64_t stream, int rank, const int64_t *dims, int first, int n)
{
    int64_t all[5], each = 1;
    memcpy(all, dims, (size_t)rank * sizeof *dims);
    for (int i = 1; i < rank; i++)
        each *= all[i];
    all[0] = N;
    T *whole = random_tensor(run, stream, rank, all);
    all[0] = n;
    T *part = mgi_new(run, MGK_F32, rank, all);
    assert_non_null(part);
    memcpy(mgi_f32(part), mgi_f32(whole) + first * each, (size_t)(n * each) * sizeof(float));
    return part;
}

/* The squared error of u against random values, in doubles; with the gradients of it where the run records. Its end. */
static double end_with_loss(mgi_run *run, T *u, bool record)
{
    double sum = 0.0;
    T *target = random_tensor(run, 9, u->rank, u->dims);
    for (int64_t i = 0; i < u->count; i++) {
        double d = (double)mgi_f32(u)[i] - (double)mgi_f32(target)[i];
        sum += d * d / (double)u->count;
    }
    if (record)
        assert_int_equal(mgi_backward(run, mgi_loss(run, MGK_LOSS_MSE, 1.0f, u, target)), MGEN_OK);
    mgi_run_finish(run);
    return sum;
}

static double apart(const float *a, const float *b, int64_t count)
{
    double most = 0.0, largest = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)b[i]));
    }
    return most / largest;
}

static char folder[] = "/tmp/moviegen-told-XXXXXX", path[64];

static void save(const mgi_vt *vt)
{
    mgi_module *m = (mgi_module *)&vt->module;
    mgi_st_source sources[128];
    assert_true(m->count <= 128);
    for (int64_t k = 0; k < m->count; k++) {
        const mgi_param *p = m->params[k];
        sources[k] = (mgi_st_source){p->name, MGI_ST_F32, p->rank, {0}, mgi_f32(p->value)};
        memcpy(sources[k].dims, p->dims, (size_t)p->rank * sizeof *p->dims);
    }
    assert_int_equal(mgi_st_write(m->ctx, path, sources, m->count, NULL, 0), MGEN_OK);
}

static void grow(mgi_vt *vt, const mgi_vt *from)
{
    mgi_st_file st;
    save(from);
    assert_int_equal(mgi_st_open(vt->module.ctx, NULL, path, &st), MGEN_OK);
    if (mgi_vt_load_grown(vt, &from->config, &st, "file") != MGEN_OK)
        fail_msg("%s", mgen_last_error(vt->module.ctx));
    mgi_st_close(vt->module.ctx, &st);
}

static int begin(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

#endif
