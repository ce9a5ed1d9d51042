/* SPDX-License-Identifier: MIT
 * A film that is damaged after training began: the autoencoder that learned from it is saved all the same. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "logged.h"
#include "stage_runs.h"

#include "pair_films.h"
#include "task/pipeline.h"

enum { FILMS = 4, CHANNELS = 4 };

/* What latents are normalised by, as it was saved: shift, then scale. */
static void read_saved(float out[2 * CHANNELS])
{
    mgi_tae tae;
    uint64_t hash;
    OK(mgi_tae_open(ctx, folder, "tae", &tae, &hash));
    for (int i = 0; i < CHANNELS; i++) {
        out[i] = mgi_f32(tae.latent_shift->value)[i];
        out[CHANNELS + i] = mgi_f32(tae.latent_scale->value)[i];
        assert_true(isfinite(out[i]) && isfinite(out[CHANNELS + i]) && out[CHANNELS + i] > 0.0f);
    }
    mgi_tae_finish(&tae);
}

static void put_all(void)
{
    char name[16];
    for (int i = 0; i < FILMS; i++) {
        snprintf(name, sizeof name, "%c.y4m", 'a' + i);
        put_film(name, 20 + 40 * i);
    }
}

static void test_autoencoder(void **state)
{
    static float all[2 * CHANNELS], some[2 * CHANNELS], none[2 * CHANNELS];
    const mgi_stage stage = tiny_autoencoder(2, 2);
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(&stage);
    struct mgi_stage_run *run;
    double first, last;
    (void)state;
    make_films(folder, "films");
    put_all();
    mgi_dataset *ds = open_films();
    OK(create_on(&stage, ds, &run));
    steps_of(&stage, run, &first, &last);
    ctx->log = keep_warnings;
    OK(kind->save(run));
    read_saved(all);
    assert_string_equal(logged, "");
    put_text("b.y4m", "YUV4MPEG2 W48 H48 F16:1 C444\nBRAKE");
    assert_int_equal(remove(in_films("d.y4m")), 0);
    OK(kind->save(run));
    read_saved(some);
    assert_non_null(strstr(logged, "2 of 4 samples by which latents are normalised cannot be read "
                                   "and are passed over; the first: cannot read '"));
    assert_non_null(strstr(logged, "b.y4m"));
    assert_memory_not_equal(some, all, sizeof all);
    logged[0] = '\0';
    for (int i = 0; i < FILMS; i++)
        if (i != 3)
            put_text((char[]){(char)('a' + i), '.', 'y', '4', 'm', 0}, "nothing");
    OK(kind->save(run));
    read_saved(none);
    assert_non_null(strstr(logged, "4 of 4 samples"));
    assert_non_null(strstr(logged, "mean and deviation stay what they were"));
    assert_memory_equal(none, some, sizeof some);
    logged[0] = '\0';
    put_all(); /* they are whole again */
    OK(kind->save(run));
    read_saved(none);
    assert_memory_equal(none, all, sizeof all);
    assert_string_equal(logged, "");
    ctx->log = NULL;
    kind->destroy(run);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_autoencoder)};
    return cmocka_run_group_tests_name("unread", tests, make_context_and_folder,
                                       free_context_and_folder);
}
