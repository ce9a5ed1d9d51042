/* SPDX-License-Identifier: MIT
 * The protocol of autoencoders, and what a seam is. */
#include "core/philox.h"
#include "eval/tae_eval.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static double entry(const mgen_report *r, const char *name)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (!strcmp(r->entry[i].name, name))
            return r->entry[i].value;
    return -1.0;
}

static void test_seam(void **state)
{
    /* steps of 1, but of 3 where a tile of four begins */
    const float frames[12] = {0, 1, 2, 3, 6, 7, 8, 9, 12, 13, 14, 15};
    mgi_seam s = {0}, still = {0};
    (void)state;
    mgi_seam_add(&s, frames, 12, 1, 2, 4);
    assert_int_equal(s.borders, 2);
    assert_int_equal(s.others, 3);
    assert_float_equal(mgi_seam_ratio(&s), 3.0, 1e-9);
    mgi_seam_add(&still, (const float[8]){0}, 4, 2, 1, 2);
    assert_float_equal(mgi_seam_ratio(&still), 1.0, 0.0);
}

static bool stop(void *user, int done, int total)
{
    (void)user;
    (void)total;
    return done == 1;
}

static void test_protocol(void **state)
{
    mgi_tae_config config = {
        .levels = 4, .channels = {4, 6, 8, 8}, .latent_channels = 3, .blocks = 1, .temporal = true};
    mgi_eval_request request = {.n = 2, .seed = 1};
    mgen_context *ctx;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_report *report;
    (void)state;
    params.threads = 2;
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    for (int attends = 0; attends < 2; attends++) {
        mgi_tae tae;
        config.attention = attends;
        request.n = attends ? 1 : 2;
        assert_int_equal(mgi_tae_init(&tae, ctx, &config), MGEN_OK);
        assert_int_equal(mgi_module_random(&tae.module, 2), MGEN_OK);
        for (int64_t k = 0; k < tae.module.count; k++) {
            T *p = tae.module.params[k]->value;
            for (int64_t i = 0; i < p->count; i++)
                mgi_f32(p)[i] += 0.2f * mgi_random_normal(8, 100 + (uint64_t)k, (uint64_t)i);
        }
        assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
        assert_int_equal(mgi_eval_tae(ctx, &tae, &request, report), MGEN_OK);
        assert_true(entry(report, "psnr") > 0.0 && entry(report, "object_psnr") > 0.0);
        assert_in_range(1000.0 * entry(report, "object_share"), 20, 600);
        assert_true(entry(report, "checker_truth") > 0.8);
        assert_true(entry(report, "checker_accuracy") < entry(report, "checker_truth"));
        /* the stream has the bits of the whole; tiles have not, those without overlap even less */
        assert_float_equal(entry(report, "seam_exact"), attends ? -1.0 : 1.0, 0.0);
        assert_true(fabs(entry(report, "seam_blend") - 1.0) > 1e-4);
        assert_true(entry(report, "seam_cut") > 1.05);
        mgen_report_destroy(report);
        request.progress = stop;
        request.n = 3;
        assert_int_equal(mgi_eval_tae(ctx, &tae, &request, NULL), MGEN_E_CANCELLED);
        request.progress = NULL;
        mgi_tae_finish(&tae);
    }
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seam),
        cmocka_unit_test(test_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
