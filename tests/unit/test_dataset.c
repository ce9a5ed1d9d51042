/* SPDX-License-Identifier: MIT
 * Datasets: what samples are, in which order training takes them, and training on them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "data/dataset.h"
#include "data/resize.h"
#include "io/path.h"
#include "media/media.h"
#include "tensor/device.h"
#include "ok.h"
#include "tiny_stages.h"
#include "train/checkpoint.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static mgen_context *ctx;
static char dir[256], models[300], cache[300];

#include "films_folder.h"

static void empty_folder(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        char file[800];
        snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
        unlink(file);
    }
    closedir(d);
}

static mgen_context *new_context(void)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *made;
    params.threads = 2;
    assert_int_equal(mgi_context_init(&made, &params), MGEN_OK);
    assert_int_equal(mgi_device_create(made, NULL), MGEN_OK);
    return made;
}

static int set_up(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    ctx = new_context();
    snprintf(dir, sizeof(dir), "%s/mgen_data_XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir))
        return -1;
    snprintf(films, sizeof(films), "%s/films", dir);
    snprintf(models, sizeof(models), "%s/models", dir);
    snprintf(cache, sizeof(cache), "%s/cache", dir);
    return mkdir(films, 0700) || mkdir(models, 0700) || mkdir(cache, 0700) ? -1 : 0;
}

static int tear_down(void **state)
{
    const char *const all[] = {films, models, cache};
    (void)state;
    mgi_context_free(ctx);
    for (int i = 0; i < 3; i++) {
        empty_folder(all[i]);
        rmdir(all[i]);
    }
    return rmdir(dir);
}

/* ---- the world, and the host's samples ------------------------------------------------------------ */

/* A dataset may go after its context. */
static void test_outlives(void **state)
{
    mgen_context *other = new_context();
    mgi_dataset *ds;
    char caption[MGI_CAPTION_SIZE];
    (void)state;
    assert_int_equal(mgi_dataset_world(other, 1, &(mgi_world_options){0}, &ds), MGEN_OK);
    mgi_context_free(other);
    assert_ptr_equal(mgi_dataset_retain(ds), ds);
    mgi_dataset_release(ds);
    mgi_dataset_caption(ds, 3, caption);
    assert_true(caption[0] != '\0');
    assert_said(mgi_dataset_piece(ctx, ds, 5, 30, 3, NULL, NULL), MGEN_E_INVALID,
                "frames 30 to 32");
    mgi_dataset_release(ds);
    mgi_dataset_release(NULL);
}

/* ---- what the host reads ------------------------------------------------------------------------ */

typedef struct host {
    uint64_t last; /* the sample asked for last */
    int calls, fail_at, released;
    const char *caption; /* NULL: "sample <index>" */
    bool unterminated;
} host;

static mgen_status host_read(void *user, uint64_t index, mgen_sample *s)
{
    host *h = user;
    h->last = index;
    if (++h->calls == h->fail_at)
        return MGEN_E_IO;
    size_t frame = (size_t)s->width * s->height * 3;
    for (uint32_t f = 0; f < s->frames; f++)
        for (size_t i = 0; i < frame; i++)
            s->pixels[f * frame + i] = (uint8_t)(index * 37 + f * 5 + i % 61);
    if (h->unterminated)
        memset(s->caption, 'x', s->caption_size);
    else if (h->caption)
        snprintf(s->caption, s->caption_size, "%s", h->caption);
    else
        snprintf(s->caption, s->caption_size, "sample %d", (int)index);
    return MGEN_OK;
}

static void host_released(void *user)
{
    ((host *)user)->released++;
}

static mgen_dataset_params host_params(host *h, uint64_t count)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = 16;
    p.height = 24;
    p.frames = 12;
    p.count = count;
    p.read = host_read;
    p.released = host_released;
    p.user = h;
    return p;
}

static void test_host(void **state)
{
    enum { FRAME = 16 * 24 * 3 };
    host h = {0};
    mgen_dataset_params p = host_params(&h, 20);
    mgi_dataset *ds;
    char caption[MGI_CAPTION_SIZE];
    uint8_t whole[12 * FRAME], piece[5 * FRAME];
    (void)state;
    OK(mgi_dataset_host(ctx, &p, &ds));
    assert_int_equal(ds->count, 20);
    assert_true(ds->identity == 0);
    OK(mgi_dataset_sample(ctx, ds, 19, whole, caption));
    assert_int_equal(h.last, 19);
    assert_string_equal(caption, "sample 19");
    OK(mgi_dataset_piece(ctx, ds, 19, 3, 5, piece, NULL));
    assert_memory_equal(piece, whole + 3 * FRAME, 5 * FRAME);
    assert_said(mgi_dataset_sample(ctx, ds, 20, whole, NULL), MGEN_E_INVALID, "sample 20");

    h.fail_at = h.calls + 1;
    assert_said(mgi_dataset_sample(ctx, ds, 4, whole, NULL), MGEN_E_IO, "sample 4");
    h.caption = "\xC3(";
    assert_said(mgi_dataset_sample(ctx, ds, 4, whole, NULL), MGEN_E_INVALID, "no UTF-8");
    h.unterminated = true;
    assert_said(mgi_dataset_sample(ctx, ds, 4, whole, caption), MGEN_E_INVALID, "does not end");

    mgi_dataset_retain(ds);
    mgi_dataset_release(ds);
    assert_int_equal(h.released, 0);
    mgi_dataset_release(ds);
    assert_int_equal(h.released, 1);
}

static void test_params(void **state)
{
    host h = {0};
    mgi_dataset *ds;
    (void)state;
    for (int i = 0; i < 8; i++) {
        static const char *const said[] = {"width is 0",
                                           "width is 4104",
                                           "height is 12",
                                           "frames is 0",
                                           "frames is 4097",
                                           "count is 0",
                                           "count is 281474976710657",
                                           "read is NULL"};
        mgen_dataset_params p = host_params(&h, 20);
        p.width = i == 0 ? 0 : i == 1 ? 4104 : 16;
        p.height = i == 2 ? 12 : 16;
        p.frames = i == 3 ? 0 : i == 4 ? 4097 : 12;
        p.count = i == 5 ? 0 : i == 6 ? 281474976710657u : 20;
        p.read = i == 7 ? NULL : host_read;
        assert_said(mgi_dataset_host(ctx, &p, &ds), MGEN_E_INVALID, said[i]);
        assert_null(ds);
    }
    assert_int_equal(h.released, 0);
}

/* ---- the order ------------------------------------------------------------------------------------ */

/* Each epoch takes each sample that is not held out once, in an order of its own. */
static void test_order(void **state)
{
    static const struct {
        uint64_t count, train;
        int64_t held;
    } sets[] = {{1, 1, 1},   {2, 1, 1},      {3, 2, 1},       {19, 18, 1},
                {20, 18, 2}, {130, 117, 13}, {1000, 936, 64}, {100000, 99936, 64}};
    host h = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        mgen_dataset_params p = host_params(&h, sets[i].count);
        mgi_dataset *ds;
        uint64_t n = sets[i].train, same = 0;
        OK(mgi_dataset_host(ctx, &p, &ds));
        assert_int_equal(mgi_dataset_train_count(ds), n);
        assert_int_equal(mgi_dataset_held_count(ds, 64), sets[i].held);
        assert_int_equal(mgi_dataset_held_count(ds, 1), 1);
        uint8_t *seen = calloc(n, 1);
        for (uint64_t e = 0; e < 3; e++)
            for (uint64_t k = 0; k < n; k++) {
                uint64_t sample = mgi_dataset_element(ds, 5, e * n + k);
                assert_true(sample < n && seen[sample] == e);
                seen[sample]++;
                same += sample == mgi_dataset_element(ds, 5, k);
                assert_int_equal(sample, mgi_dataset_element(ds, 5, e * n + k));
            }
        if (n > 100) /* the first epoch's n, and a few by chance */
            assert_true(same >= n && same < n + 20);
        free(seen);
        mgi_dataset_release(ds);
    }
}

/* A piece begins anywhere that leaves room, and the same element always gives the same. */
static void test_pieces(void **state)
{
    enum { FRAME = 16 * 24 * 3 };
    host h = {0};
    mgen_dataset_params p = host_params(&h, 20);
    mgi_dataset *ds;
    uint32_t starts = 0;
    uint8_t clips[8 * 10 * FRAME], again[10 * FRAME];
    (void)state;
    OK(mgi_dataset_host(ctx, &p, &ds));
    for (uint64_t e = 0; e < 64; e += 8) {
        OK(mgi_dataset_clips(ctx, ds, 5, e, 8, 10, clips));
        for (int k = 0; k < 8; k++) {
            uint64_t sample = mgi_dataset_element(ds, 5, e + (uint64_t)k);
            uint8_t first = (uint8_t)(clips[k * 10 * FRAME] - sample * 37);
            assert_true(first % 5 == 0 && first <= 10);
            starts |= 1u << first / 5;
        }
        OK(mgi_dataset_clips(ctx, ds, 5, e + 3, 1, 10, again));
        assert_memory_equal(again, clips + 3 * 10 * FRAME, 10 * FRAME);
    }
    assert_int_equal(starts, 7);
    OK(mgi_dataset_held(ctx, ds, 1, 10, again, NULL));
    assert_int_equal(h.last, 19);
    mgi_dataset_release(ds);
}

/* ---- scaling -------------------------------------------------------------------------------------- */

static void resize(const uint8_t *from, int64_t fw, int64_t fh, uint8_t *to, int64_t w, int64_t h)
{
    mgi_resize r;
    OK(mgi_resize_init(&r, ctx, fw, fh, w, h));
    mgi_resize_frame(&r, from, to);
    mgi_resize_finish(&r);
}

static void test_resize(void **state)
{
    uint8_t from[40 * 40 * 3], to[64 * 64 * 3];
    (void)state;
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (uint8_t)(i * i * 7);
    resize(from, 40, 40, to, 40, 40);
    assert_memory_equal(to, from, sizeof(from));
    memset(from, 201, sizeof(from));
    for (int w = 8; w <= 64; w += 8)
        for (int h = 8; h <= 64; h += 8) {
            memset(to, 0, sizeof(to));
            resize(from, 40, 30, to, w, h);
            for (int i = 0; i < w * h * 3; i++)
                assert_int_equal(to[i], 201); /* weights make 1, borders too */
        }
    /* halves of 2 x 2 pixels are their mean */
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++)
            memset(from + 3 * (32 * y + x), (x + y) % 2 ? 200 : 100, 3);
    resize(from, 32, 32, to, 8, 8);
    for (int i = 0; i < 8 * 8 * 3; i++)
        assert_true(abs(to[i] - 150) <= 1);
    /* the middle of a wide frame: left and right of it are cut */
    for (int y = 0; y < 10; y++)
        for (int x = 0; x < 40; x++)
            memset(from + 3 * (40 * y + x), x < 15 ? 0 : x < 25 ? 90 : 250, 3);
    resize(from, 40, 10, to, 10, 10);
    for (int i = 0; i < 10 * 10 * 3; i++)
        assert_int_equal(to[i], 90);
    /* a slope stays a slope, twice as long */
    for (int y = 0; y < 20; y++)
        for (int x = 0; x < 20; x++)
            memset(from + 3 * (20 * y + x), 10 * x, 3);
    resize(from, 20, 20, to, 40, 40);
    for (int x = 1; x < 39; x++)
        assert_true(abs(to[3 * (40 * 7 + x)] - (5 * x - 2)) <= 1);
}

/* ---- folders -------------------------------------------------------------------------------------- */

/* A film of one grey that grows by 3 each frame. */
static void put_film(const char *name, int w, int h, int n, int grey)
{
    size_t frame = (size_t)(w * h * 3);
    uint8_t *rgb = malloc(frame * (size_t)n);
    mgi_frames frames = {rgb, w, h, n, 16, 1};
    for (int i = 0; i < n; i++)
        memset(rgb + (size_t)i * frame, grey + 3 * i, frame);
    OK(mgi_frames_write(ctx, in_films(name), &frames));
    free(rgb);
}

static mgen_status open_folder(const char *path, mgi_dataset **ds)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = 16;
    p.height = 8;
    p.frames = 10;
    return mgi_dataset_folder(ctx, path, &p, ds);
}

static void test_folder(void **state)
{
    enum { FRAME = 16 * 8 * 3 };
    mgi_dataset *ds, *again;
    char caption[MGI_CAPTION_SIZE];
    uint8_t pixels[10 * FRAME];
    (void)state;
    assert_said(open_folder("/nothing/there", &ds), MGEN_E_NOT_FOUND, "/nothing/there");
    put_text("notes.txt", "no film");
    assert_said(open_folder(films, &ds), MGEN_E_NOT_FOUND, ".webm");
    assert_null(ds);
    put_film("b 2.Y4M", 16, 8, 12, 20);
    put_film("a.y4m", 50, 30, 10, 80);
    put_film("c.y4m", 24, 16, 4, 140);
    put_film(".hidden.y4m", 16, 8, 12, 0);
    put_text("a.txt", "\xEF\xBB\xBF a red ball\nrolls \xC3\xA4\r\n\n");
    OK(open_folder(films, &ds));
    assert_int_equal(ds->count, 3);
    OK(mgi_dataset_sample(ctx, ds, 0, pixels, caption));
    assert_string_equal(caption, "a red ball rolls \xC3\xA4");
    for (int i = 0; i < 10 * FRAME; i++)
        assert_true(abs(pixels[i] - (80 + 3 * (i / FRAME))) <= 1);
    OK(mgi_dataset_piece(ctx, ds, 1, 6, 4, pixels, caption));
    assert_string_equal(caption, "");
    for (int i = 0; i < 4 * FRAME; i++)
        assert_true(abs(pixels[i] - (20 + 3 * (6 + i / FRAME))) <= 1);
    assert_said(mgi_dataset_sample(ctx, ds, 2, pixels, NULL), MGEN_E_INVALID, "c.y4m");
    put_text("c.y4m", "YUV4MPEG2 but no film\n");
    assert_said(mgi_dataset_sample(ctx, ds, 2, pixels, NULL), MGEN_E_CORRUPT, "c.y4m");

    OK(open_folder(films, &again)); /* c.y4m is another now */
    assert_true(again->identity != 0 && again->identity != ds->identity);
    mgi_dataset_release(again);
    mgi_dataset_release(ds);

    char text[1100];
    memset(text, 'x', sizeof(text));
    text[1024] = '\0';
    put_text("a.txt", text);
    assert_said(open_folder(films, &ds), MGEN_E_CORRUPT, "a.txt' is longer than 1023");
    text[1023] = '\0';
    put_text("a.txt", text);
    OK(open_folder(films, &ds));
    mgi_dataset_release(ds);
    put_text("a.txt", "\xFF");
    assert_said(open_folder(films, &ds), MGEN_E_CORRUPT, "a.txt' is no UTF-8");
    empty_folder(films);
}

static void test_list(void **state)
{
    mgi_dir_file *files;
    int64_t count;
    char path[600];
    (void)state;
    for (int i = 0; i < 150; i++) {
        snprintf(path, sizeof(path), "%d.txt", i);
        put_text(path, "text");
    }
    put_text(".hidden", "");
    snprintf(path, sizeof(path), "%s/folder", films);
    mkdir(path, 0700);
    OK(mgi_dir_list(ctx, films, &files, &count));
    assert_int_equal(count, 150);
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(files[i].size, 4);
        assert_true(i == 0 || strcmp(files[i - 1].name, files[i].name) < 0);
    }
    mgi_dir_free(ctx, files, count);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/1.txt", films);
    assert_said(mgi_dir_list(ctx, path, &files, &count), MGEN_E_NOT_FOUND, "1.txt");
    empty_folder(films);
}

/* ---- photos --------------------------------------------------------------------------------------- */

/* A picture whose left half is of one grey, and its right half of another. */
static void put_photo(const char *name, int64_t w, int64_t h, int left, int right)
{
    char path[600];
    uint8_t *rgb = malloc((size_t)(w * h * 3));
    for (int64_t i = 0; i < w * h; i++)
        memset(rgb + 3 * i, i % w < w / 2 ? left : right, 3);
    snprintf(path, sizeof(path), "%s/%s", films, name);
    OK(mgi_png_write(ctx, path, rgb, w, h));
    free(rgb);
}

enum { SIDE = 16 };

/* A photo's left and right half, in columns [x, SIDE - x) of rows [y, SIDE - y); the rest of it is grey. */
static void assert_photo(mgi_dataset *ds, uint64_t index, uint32_t pick, int left, int right, int x,
                         int y)
{
    uint8_t rgb[SIDE * SIDE * 3];
    OK(mgi_dataset_photo(ctx, ds, index, pick, pick & 1, SIDE, rgb));
    for (int i = 0; i < SIDE * SIDE; i++) {
        const int column = i % SIDE, row = i / SIDE;
        bool inside = column >= x && column < SIDE - x && row >= y && row < SIDE - y;
        int wanted = !inside ? 128 : column < SIDE / 2 ? left : right;
        bool edge = inside && left != right && (column == SIDE / 2 - 1 || column == SIDE / 2);
        for (int c = 0; c < 3; c++)
            if (abs(rgb[3 * i + c] - wanted) > (edge ? abs(left - right) / 2 : 1))
                fail_msg("column %d of row %d is %d, not %d", column, row, rgb[3 * i + c], wanted);
    }
}

/* Which photo a film and a pick get, whole and of any size; the film that has none; pictures that are none, or too large
 * for the memory there is. */
static void test_photos(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    uint8_t rgb[SIDE * SIDE * 3];
    mgen_context *small;
    mgi_dataset *ds, *other;
    (void)state;
    put_film("a.y4m", 16, 8, 10, 20);
    put_film("b.y4m", 16, 8, 10, 20);
    put_film("c.y4m", 16, 8, 10, 20);
    put_photo("b.face2.png", 8, 8, 1, 1); /* of a film without a first one */
    OK(open_folder(films, &ds));
    assert_false(mgi_dataset_has_photos(ds));
    assert_said(mgi_dataset_photo(ctx, ds, 1, 0, false, SIDE, rgb), MGEN_E_INVALID,
                "'b.face.png' is missing");
    put_photo("a.face.png", SIDE, SIDE, 40, 200);
    put_photo("c.face.png", SIDE, SIDE, 3, 3);
    OK(open_folder(films, &other));
    assert_true(other->identity != ds->identity && mgi_dataset_has_photos(other));
    assert_said(mgi_dataset_check_photos(ctx, other), MGEN_E_INVALID, "the film 'b.y4m' in '");
    assert_said(mgi_dataset_check_photos(ctx, other), MGEN_E_INVALID, "'b.face.png' is missing");
    mgi_dataset_release(other);
    mgi_dataset_release(ds);

    put_photo("a.face2.png", 40, 20, 50, 250);
    put_photo("a.face3.png", 6, 24, 80, 80);
    put_photo("a.face5.png", 8, 8, 1, 1); /* behind a gap */
    put_photo("b.face.png", 4000, 1, 90, 160);
    OK(open_folder(films, &ds));
    OK(mgi_dataset_check_photos(ctx, ds));
    assert_photo(ds, 0, 0, 40, 200, 0, 0);
    assert_photo(ds, 0, 1, 50, 250, 0, 4);
    assert_photo(ds, 0, 2, 80, 80, 6, 0);
    assert_photo(ds, 0, 3, 40, 200, 0, 0);
    assert_photo(ds, 0, UINT32_MAX, 40, 200, 0, 0); /* 3 x 1,431,655,765 */
    assert_photo(ds, 1, 7, 1, 1, 0, 0);             /* two: b.face2.png */
    OK(mgi_dataset_held_photo(ctx, ds, 0, 0, true, SIDE, rgb));
    assert_int_equal(mgi_dataset_held_first(ds), 2);
    assert_true(rgb[0] == 3);
    OK(mgi_dataset_photo(ctx, ds, 1, 0, false, SIDE, rgb)); /* a line becomes one row */
    assert_true(rgb[SIDE * 3 * 6] == 128 && rgb[SIDE * 3 * 7] == 90 && rgb[SIDE * 3 * 8] == 128 &&
                rgb[SIDE * 3 * 8 - 1] == 160);
    assert_int_equal(mgi_dataset_photo(ctx, ds, 3, 0, false, SIDE, rgb), MGEN_E_INVALID);
    assert_said(mgi_dataset_photo(ctx, ds, 0, 0, false, 4, rgb), MGEN_E_INVALID, "4 pixels a side");

    put_text("c.face.png", "no picture");
    assert_said(mgi_dataset_photo(ctx, ds, 2, 0, false, SIDE, rgb), MGEN_E_CORRUPT, "c.face.png");
    put_photo("c.face.png", 1500, 1500, 9, 9); /* 6.75 MB */
    params.threads = 1;
    params.host_memory_max = 4 << 20;
    assert_int_equal(mgi_context_init(&small, &params), MGEN_OK);
    assert_int_equal(mgi_dataset_photo(small, ds, 2, 0, false, SIDE, rgb), MGEN_E_LIMIT);
    assert_non_null(strstr(mgen_last_error(small), "the photo 'c.face.png' of the film 'c.y4m'"));
    OK(mgi_dataset_photo(ctx, ds, 2, 0, false, SIDE, rgb));
    assert_true(rgb[0] == 9);
    mgi_context_free(small);
    mgi_dataset_release(ds);

    put_text("clips.jsonl", "{\"file\": \"c.y4m\", \"first\": 0, \"frames\": 10}\n"
                            "{\"file\": \"a.y4m\", \"first\": 0, \"frames\": 10}\n");
    OK(open_folder(films, &ds));
    assert_photo(ds, 0, 0, 9, 9, 0, 0);
    assert_photo(ds, 1, 1, 50, 250, 0, 4);
    mgi_dataset_release(ds);
    empty_folder(films);
}

/* ---- training ------------------------------------------------------------------------------------- */

enum { STEPS = 4 };

static mgi_stage autoencoder_stage(void)
{
    mgi_stage stage = tiny_autoencoder(STEPS, 2);
    stage.validate_every = 4;
    return stage;
}

static mgi_stage video_stage(void)
{
    mgi_stage stage = tiny_text_to_video(STEPS, 3);
    stage.validate_every = 4;
    stage.clips = 1000;
    stage.recompute = MGI_RECOMPUTE_NONE;
    stage.video.layers = 1;
    stage.video.frames_max = 4;
    stage.video.patch_h = stage.video.patch_w = 1;
    return stage;
}

static uint8_t *load(const char *name, size_t *size)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", models, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*size);
    assert_int_equal(fread(data, 1, *size, f), *size);
    fclose(f);
    return data;
}

/* Train and save; the model's bytes. `h`, if there is one, fails once, in the second step. */
static uint8_t *train(const mgi_stage *stage, mgi_dataset *ds, const char *cache_dir, host *h,
                      size_t *size)
{
    const struct mgi_stage_kind *kind =
        stage->kind == MGI_STAGE_AUTOENCODER ? &mgi_stage_autoencoder : &mgi_stage_text_to_video;
    mgi_stage_params params = {
        .stage = stage, .dir = models, .seed = 5, .dataset = ds, .cache_dir = cache_dir};
    struct mgi_stage_run *run;
    OK(kind->create(ctx, &params, &run));
    for (int64_t i = 0; i < STEPS; i++) {
        mgen_report *report;
        if (i == 1 && h) {
            h->fail_at = h->calls + 2;
            assert_said(kind->step(run, i, NULL), MGEN_E_IO, "the dataset's callback");
            h->fail_at = 0;
        }
        OK(mgi_report_create(ctx, &report));
        OK(kind->step(run, i, report));
        for (uint32_t k = 0; k < mgen_report_count(report); k++)
            assert_true(isfinite(mgen_report_value(report, k)));
        mgen_report_destroy(report);
    }
    OK(kind->save(run));
    kind->destroy(run);
    return load(
        stage->kind == MGI_STAGE_AUTOENCODER ? "tae.safetensors" : "video_model.safetensors", size);
}

static void assert_same(uint8_t *a, size_t a_size, uint8_t *b, size_t b_size)
{
    assert_int_equal(a_size, b_size);
    assert_memory_equal(a, b, a_size);
    free(b);
}

/* Both kinds of stages learn from what the host reads; a sample that fails once changes nothing. */
static void test_train_host(void **state)
{
    host h = {0};
    mgen_dataset_params p = host_params(&h, 7);
    mgi_dataset *ds;
    size_t size, again_size;
    const mgi_stage tae = autoencoder_stage(), video = video_stage();
    (void)state;
    OK(mgi_dataset_host(ctx, &p, &ds));
    uint8_t *first = train(&tae, ds, NULL, NULL, &size);
    uint8_t *again = train(&tae, ds, NULL, &h, &again_size);
    assert_same(first, size, again, again_size);
    free(first);
    h.calls = 0;
    first = train(&video, ds, cache, NULL, &size);
    assert_int_equal(h.calls, 7); /* each clip is encoded once: 6 to train on and 1 held out */
    again = train(&video, ds, cache, NULL, &again_size);
    assert_int_equal(h.calls, 14); /* and never kept */
    assert_same(first, size, again, again_size);
    free(first);
    h.fail_at = h.calls + 3;
    struct mgi_stage_run *run;
    mgi_stage_params params = {.stage = &video, .dir = models, .seed = 5, .dataset = ds};
    assert_said(mgi_stage_text_to_video.create(ctx, &params, &run), MGEN_E_IO, "callback");
    mgi_dataset_release(ds);
    assert_int_equal(h.released, 1);
}

static int encoded; /* clips, as the progress callback is told */

static int32_t on_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)total;
    if (strcmp(what, "encoding clips") != 0)
        return 0;
    encoded = (int)done;
    return user && *(int *)user;
}

static void change_cache(int how)
{
    DIR *d = opendir(cache);
    int count = 0;
    for (struct dirent *e; (e = readdir(d));) {
        char path[800];
        snprintf(path, sizeof(path), "%s/%s", cache, e->d_name);
        if (e->d_name[0] == '.')
            continue;
        count++;
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        fseek(f, how ? -5 : 0, how ? SEEK_END : SEEK_SET);
        fputc(77, f);
        fclose(f);
    }
    closedir(d);
    assert_int_equal(count, 1);
}

/* With a cache, a second run does not encode; a damaged one is made again; the model is the same. */
static void test_train_folder(void **state)
{
    mgi_dataset *ds;
    size_t size, again_size;
    mgi_stage tae = autoencoder_stage();
    const mgi_stage video = video_stage();
    int stop = 1;
    (void)state;
    for (int i = 0; i < 5; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d.y4m", i);
        put_film(name, 32, 16, 10 + i, 20 * i);
        snprintf(name, sizeof(name), "%d.txt", i);
        put_text(name, i % 2 ? "dark" : "light");
    }
    OK(open_folder(films, &ds));
    free(train(&tae, ds, NULL, NULL, &size));
    ctx->progress = on_progress;
    uint8_t *first = train(&video, ds, NULL, NULL, &size);
    assert_int_equal(encoded, 5);
    char said[256];
    snprintf(said, sizeof(said), "%s", mgen_last_error(ctx));
    for (int i = 0; i < 4; i++) {
        encoded = 0;
        uint8_t *again = train(&video, ds, cache, NULL, &again_size);
        assert_int_equal(encoded, i == 1 ? 0 : 5);
        assert_string_equal(mgen_last_error(ctx), said); /* a cache that fails is no failure */
        assert_same(first, size, again, again_size);
        if (i >= 1)
            change_cache(i - 1);
    }
    free(first);
    struct mgi_stage_run *run;
    mgi_stage_params params = {.stage = &video, .dir = models, .seed = 5, .dataset = ds};
    ctx->progress_user = &stop;
    assert_said(mgi_stage_text_to_video.create(ctx, &params, &run), MGEN_E_CANCELLED, "encoding");
    ctx->progress = NULL;
    ctx->progress_user = NULL;

    mgi_stage narrow = video;
    narrow.video.columns_max = 1;
    params.stage = &narrow;
    assert_said(mgi_stage_text_to_video.create(ctx, &params, &run), MGEN_E_INVALID,
                "the dataset's clips or the networks of stage \"video\"");
    tae.frames = 11;
    params.stage = &tae;
    assert_said(mgi_stage_autoencoder.create(ctx, &params, &run), MGEN_E_INVALID,
                "clips of 11 frames, but the dataset's have 10");
    tae.frames = 9;
    tae.tae.levels = 5;
    tae.tae.channels[4] = 8;
    assert_said(mgi_stage_autoencoder.create(ctx, &params, &run), MGEN_E_INVALID,
                "multiples of 16; the dataset's are 16 x 8");
    mgi_dataset_release(ds);
    empty_folder(films);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outlives),    cmocka_unit_test(test_host),
        cmocka_unit_test(test_params),      cmocka_unit_test(test_order),
        cmocka_unit_test(test_pieces),      cmocka_unit_test(test_resize),
        cmocka_unit_test(test_folder),      cmocka_unit_test(test_list),
        cmocka_unit_test(test_photos),      cmocka_unit_test(test_train_host),
        cmocka_unit_test(test_train_folder)};
    return cmocka_run_group_tests_name("dataset", tests, set_up, tear_down);
}
