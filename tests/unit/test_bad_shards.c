/* SPDX-License-Identifier: MIT
 * Checkpoints of several ranks that are damaged or of another run: a hand-made one for each rule, with hashes that are
 * right where the rule is not about them. Nothing may change, on one rank or on two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shard_ranks.h"
#include "train/checkpoint_shards.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[] = "/tmp/mgi-bad-shards-XXXXXX", good[64], bad[64];
static mgen_context *ctx;

/* It costs milliseconds, and this disk does not fail. */
int fsync(int fd)
{
    (void)fd;
    return 0;
}

/* How often the manifest, about to be read, becomes that of another save, in turn. */
static int saves_left, saves_made;

/* The program's own takes the place of the C library's. */
int openat(int dir, const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    int mode = flags & O_CREAT ? va_arg(list, int) : 0;
    va_end(list);
    if (saves_left > 0 && !strcmp(path, MGI_MANIFEST)) {
        saves_left--;
        unlinkat(dir, path, 0);
        assert_int_equal(linkat(dir, saves_made++ % 2 ? "two" : "one", dir, path, 0), 0);
    }
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

static mgen_status load_bad(shard_rank *r)
{
    fake_visit(&r->run, 77, true);
    mgen_status status = mgi_checkpoint_load(r->ctx, &fake_kind, &r->run, r->job->from);
    r->wrong = fake_visit(&r->run, 77, false);
    return status;
}

/* On every rank of each mesh the same, and nothing has changed. */
static void assert_refused(const char *what, mgen_status status, const char *said)
{
    static const mgi_mesh_shape shapes[] = {{1, 1, 1}, {1, 1, 2}};
    shard_rank ranks[SHARD_RANKS_MAX];
    for (int i = 0; i < 2; i++) {
        const shard_job job = {.shape = shapes[i], .body = load_bad, .from = bad};
        shard_run(&job, ranks);
        for (int k = 0; k < shard_count(&job); k++)
            if (ranks[k].status != status || !strstr(ranks[k].said, said) || ranks[k].wrong)
                fail_msg("%s: rank %d of %d: %s: '%s' does not say '%s'; %lld values have changed",
                         what, k, shard_count(&job), mgen_status_name(ranks[k].status),
                         ranks[k].said, said, (long long)ranks[k].wrong);
    }
}

static void copy_good(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s && cp -r %s %s", bad, good, bad);
    assert_int_equal(system(command), 0);
}

static const char *path_in(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", bad, name);
    return path;
}

static const char *shard_path(const mgi_manifest *m, int64_t rank)
{
    char name[MGI_SHARD_NAME];
    mgi_shard_name(m->save, rank, name);
    return path_in(name);
}

static char *read_text(const char *path, size_t *size)
{
    mgi_file f;
    assert_int_equal(mgi_file_open(ctx, path, &f), MGEN_OK);
    char *text = malloc(f.size + 1);
    assert_non_null(text);
    memcpy(text, f.data, f.size);
    text[f.size] = 0;
    *size = f.size;
    mgi_file_close(ctx, &f);
    return text;
}

static void write_text(const char *path, const char *text, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    fclose(f);
}

/* The text with `from`, which is there, replaced once. */
static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at)
        fail_msg("there is no '%s' in %s", from, text);
    size_t size = strlen(text) + strlen(to) + 1;
    char *out = malloc(size);
    assert_non_null(out);
    snprintf(out, size, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

/* ---- the manifest --------------------------------------------------------------------------------- */

/* Another text in it. */
static void test_text(void **state)
{
    static const struct {
        const char *from, *to;
        mgen_status status;
        const char *said;
    } texts[] = {
        {"{", "[", MGEN_E_CORRUPT, "checkpoint.json"},
        {"{", "", MGEN_E_CORRUPT, "checkpoint.json"},
        {"\"format\": \"moviegen-checkpoint\"", "\"format\": \"moviegen\"", MGEN_E_CORRUPT,
         "its \"format\" is \"moviegen\""},
        {"\"format\"", "\"form\"", MGEN_E_CORRUPT, "its \"format\" is missing"},
        {"\"version\": \"1\"", "\"version\": \"2\"", MGEN_E_VERSION, "is of version \"2\""},
        {"\"version\": \"1\"", "\"version\": 1", MGEN_E_CORRUPT, "its \"version\" is no text"},
        {"\"step\": \"5\"", "\"step\": \"6\"", MGEN_E_CORRUPT, "is damaged"},
        {"\"mesh\"", "\"more\": 1, \"mesh\"", MGEN_E_CORRUPT, "has metadata that no checkpoint"},
        {"\"mesh\"", "\"mess\"", MGEN_E_CORRUPT, "\"mesh\""},
        {"dp=1,cp=1,tp=2", "dp=1,cp=1,tp=0", MGEN_E_CORRUPT, "\"mesh\": \"dp=1,cp=1,tp=0\" is no"},
        {"dp=1,cp=1,tp=2", "dp=60000,cp=60000,tp=2", MGEN_E_CORRUPT, "of more than 65536 ranks"},
        {"dp=1,cp=1,tp=2", "dp=1,cp=1,tp=1", MGEN_E_CORRUPT,
         "a list of 1 to 1 shards: the mesh is \"dp=1,cp=1,tp=1\""},
        {"\"shards\": [", "\"shards\": {\"a\": [", MGEN_E_CORRUPT, "checkpoint.json"},
        {"\"shards\"", "\"shard\"", MGEN_E_CORRUPT, "\"shards\" must be a list"},
        {"\"rank\": 1", "\"rank\": 0", MGEN_E_CORRUPT, "\"rank\""},
        {"\"rank\": 1", "\"rank\": 2", MGEN_E_CORRUPT, "\"rank\""},
        {"\"rank\": 1", "\"rank\": \"1\"", MGEN_E_CORRUPT, "\"rank\""},
        {"\"rank\": 1", "\"rank\": 1, \"more\": 1", MGEN_E_CORRUPT, "\"more\""},
        {"\"bytes\": ", "\"bytes\": -", MGEN_E_CORRUPT, "\"bytes\""},
        {"\"save\": \"", "\"save\": \"../", MGEN_E_CORRUPT, "\"save\" is \"../"},
    };
    size_t size;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        copy_good();
        char *text = read_text(path_in(MGI_MANIFEST), &size);
        char *other = replaced(text, texts[i].from, texts[i].to);
        write_text(path_in(MGI_MANIFEST), other, strlen(other));
        assert_refused(texts[i].to, texts[i].status, texts[i].said);
        free(text);
        free(other);
    }
}

static void sign_manifest(mgi_manifest *m)
{
    mgi_json_writer w;
    mgi_json_writer_init(&w, ctx, 2);
    mgi_manifest_write(&w, m);
    assert_int_equal(mgi_json_save(&w, path_in(MGI_MANIFEST)), MGEN_OK);
}

/* Other values, whose hash is right. */
static void test_values(void **state)
{
    enum { STEP, RECIPE, SEED, PARENT, KIND, STAGE, SAVE, BYTES, CHECK, FEWER, CHANGES };
    static const mgen_status status[CHANGES] = {
        MGEN_E_CORRUPT, MGEN_E_STATE,   MGEN_E_STATE,   MGEN_E_STATE,   MGEN_E_STATE,
        MGEN_E_STATE,   MGEN_E_CORRUPT, MGEN_E_CORRUPT, MGEN_E_CORRUPT, MGEN_E_CORRUPT};
    static const char *const said[CHANGES] = {
        "its \"step\" is \"1000001\", which is not within 0..1000000",
        "a recipe with the hash \"x\", but here it is \"",
        "the seed \"x\", but here it is \"7\"",
        "hash \"x\", but here it is \"000000000000000b\"",
        "kind \"x\", but here it is \"text_to_video\"",
        "the stage \"x\", but here it is \"video\"",
        "lacks its shard 0123456789abcdef-0.safetensors",
        ", but in the manifest 1",
        ", but the manifest's is \"0123456789abcdef\"",
        "elements of 120"};
    static const int field[CHANGES] = {
        [STEP] = MGI_HEAD_STEP,     [RECIPE] = MGI_HEAD_RECIPE, [SEED] = MGI_HEAD_SEED,
        [PARENT] = MGI_HEAD_PARENT, [KIND] = MGI_HEAD_KIND,     [STAGE] = MGI_HEAD_STAGE};
    char number[32];
    (void)state;
    for (int i = 0; i < CHANGES; i++) {
        mgi_manifest m;
        copy_good();
        assert_int_equal(mgi_manifest_read(ctx, bad, &m), MGEN_OK);
        if (i <= STAGE)
            strcpy(m.head.text[field[i]], i == STEP ? "1000001" : "x");
        if (i == SAVE)
            strcpy(m.save, "0123456789abcdef");
        if (i == BYTES)
            m.shard[1].bytes = 1;
        if (i == CHECK)
            strcpy(m.shard[1].check, "0123456789abcdef");
        m.shards -= i == FEWER;
        sign_manifest(&m);
        mgi_manifest_free(ctx, &m);
        snprintf(number, sizeof number, "change %d", i);
        assert_refused(number, status[i], said[i]);
    }
}

/* ---- a shard -------------------------------------------------------------------------------------- */

enum { TENSORS_MAX = 100, TENSOR = MGI_SHARD_FIELDS, DTYPE, FEWER, EXTRA };

/* Shard `rank` again with another text, or another tensor. Signed, and so is the manifest. */
static void rewrite(int rank, int what, const char *from, const char *to)
{
    static mgi_st_source list[TENSORS_MAX];
    void *values_of[TENSORS_MAX];
    const char *text[MGI_SHARD_FIELDS], *metadata[2 * MGI_SHARD_FIELDS + 2] = {0};
    char check[MGI_SAVE_ID] = "", *other = NULL;
    mgi_manifest m;
    mgi_st_file st, again;
    int64_t count;
    assert_int_equal(mgi_manifest_read(ctx, bad, &m), MGEN_OK);
    assert_int_equal(mgi_st_open(ctx, NULL, shard_path(&m, rank), &st), MGEN_OK);
    assert_true(st.count < TENSORS_MAX);
    for (count = 0; count < st.count; count++) {
        const mgi_st_entry *e = &st.entries[count];
        void *values = values_of[count] = test_malloc(e->bytes + 1);
        assert_int_equal(mgi_st_read_bytes(ctx, e, 0, values, e->bytes), MGEN_OK);
        list[count] = (mgi_st_source){.name = e->name,
                                      .store = MGI_ST_F32,
                                      .rank = e->rank,
                                      .dims = {e->dims[0]},
                                      .data = values};
    }
    for (int i = 0; i < MGI_SHARD_FIELDS; i++)
        text[i] = mgi_json_find(st.metadata, mgi_shard_field[i])->s;
    if (what < MGI_SHARD_FIELDS)
        text[what] = other = replaced(text[what], from, to);
    if (what == TENSOR)
        list[0].name = to;
    if (what == DTYPE)
        list[0].store = MGI_ST_BF16;
    count -= what == FEWER;
    text[MGI_SHARD_CHECK] = check;
    for (int i = 0; i < MGI_SHARD_FIELDS; i++) {
        metadata[2 * i] = mgi_shard_field[i];
        metadata[2 * i + 1] = text[i];
    }
    metadata[2 * MGI_SHARD_FIELDS] = metadata[2 * MGI_SHARD_FIELDS + 1] = "more";
    for (int times = 0; times < 2; times++) {
        assert_int_equal(mgi_st_write(ctx, path_in("new"), list, count, metadata,
                                      MGI_SHARD_FIELDS + (what == EXTRA)),
                         MGEN_OK);
        assert_int_equal(mgi_st_open(ctx, NULL, path_in("new"), &again), MGEN_OK);
        uint64_t hash = mgi_shard_hash(text);
        assert_int_equal(mgi_file_hash(ctx, &again, &hash), MGEN_OK);
        snprintf(check, sizeof check, "%016" PRIx64, hash);
        m.shard[rank].bytes = (int64_t)mgi_reader_size(again.file);
        mgi_st_close(ctx, &again);
    }
    strcpy(m.shard[rank].check, check);
    for (int64_t i = 0; i < st.count; i++)
        test_free(values_of[i]);
    mgi_st_close(ctx, &st);
    char place[256];
    strcpy(place, shard_path(&m, rank));
    assert_int_equal(rename(path_in("new"), place), 0);
    sign_manifest(&m);
    mgi_manifest_free(ctx, &m);
    free(other);
}

/* layer.0.weight of module 0, (24,5) in three parts, of rank 1: 3 pieces of 20 of 120, the first from 20 on. */
static void test_shard(void **state)
{
    static const struct {
        int what;
        const char *from, *to, *said;
    } shards[] = {
        {MGI_SHARD_FORMAT, "moviegen-shard", "shard",
         "\"format\" is \"shard\", but the manifest's"},
        {MGI_SHARD_VERSION, "1", "2", "its \"version\" is \"2\", but the manifest's is \"1\""},
        {MGI_SHARD_SAVE, "", "0", "its \"save\" is \"0"},
        {MGI_SHARD_RANK, "1", "0", "its \"rank\" is \"0\", but the manifest's is \"1\""},
        {MGI_SHARD_LAYOUT, "{", "[", "layout"},
        {MGI_SHARD_LAYOUT, "0.ema.layer.0.weight", "0.ema.layer.0.height", "does not say where"},
        {MGI_SHARD_LAYOUT, "\"dims\": [24, 5]", "\"dims\": [5, 24]", "of a whole of another shape"},
        {MGI_SHARD_LAYOUT, "\"dims\": [24, 5]", "\"dims\": [120]", "of a whole of another shape"},
        {MGI_SHARD_LAYOUT, "\"dims\": [24, 5]", "\"more\": 1", "\"more\""},
        {MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[20, 20, 40, 3, 0]", "a list of four numbers each"},
        {MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[]", "a list of four numbers each"},
        {MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[20, 20, 40, \"3\"]", "has what is no number"},
        {MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[-20, 20, 40, 3]", "has what is no number"},
        {MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[21, 20, 40, 3]", "is not within the 120 elements"},
        {MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[20, 20, 10, 3]", "is not within the 120 elements"},
        {MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[20, 0, 40, 3]", "is not within the 120 elements"},
        {MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[20, 20, 40, 9223372036854775807]",
         "is not within the 120 elements"},
        {MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[60, 20, 40, 2, 20, 20, 20, 1]",
         "is not within the 120 elements"},
        {MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[20, 20, 40, 2]", "than its 40 elements"},
        {MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[0, 20, 40, 3]",
         "some of its elements stand in two shards, others in none"},
        {TENSOR, NULL, "0.ema.layer.0.height", "which the stage has not"},
        {DTYPE, NULL, NULL, "has another shape or dtype than its 60 elements"},
        {FEWER, NULL, NULL, "its \"layout\" is not that of"},
        {EXTRA, NULL, NULL, "has metadata that no shard has"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof shards / sizeof shards[0]; i++) {
        copy_good();
        rewrite(1, shards[i].what, shards[i].from, shards[i].to);
        assert_refused(shards[i].to ? shards[i].to : "tensors", MGEN_E_CORRUPT, shards[i].said);
    }
}

/* So many ranges that looking at each for each takes minutes. */
static void test_ranges(void **state)
{
    enum { RANGES = MGI_LAYOUT_RANGES_MAX + 1 };
    char *many = malloc(9 * RANGES + 8), *at = many;
    (void)state;
    assert_non_null(many);
    at += sprintf(at, "[1, 1, 1, 1");
    for (int i = 1; i < RANGES; i++)
        at += sprintf(at, ",1,1,1,1");
    strcpy(at, "]");
    copy_good();
    rewrite(1, MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", many);
    assert_refused("many ranges", MGEN_E_CORRUPT, "it has 16385 ranges, more than 16384");
    free(many);
}

/* What none of the shards holds. */
static void test_lacks(void **state)
{
    (void)state;
    copy_good();
    rewrite(1, MGI_SHARD_LAYOUT, "[20, 20, 40, 3]", "[20, 20, 40, 3]"); /* it is read again */
    const shard_job job = {.shape = {1, 1, 2}, .body = shard_pass_on, .save = 5, .from = bad};
    shard_rank ranks[SHARD_RANKS_MAX];
    shard_run(&job, ranks);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ranks[i].status | (mgen_status)ranks[i].wrong, MGEN_OK);
}

/* Bits turned in shards and manifest, files cut, missing, and of another save. */
static void test_damaged(void **state)
{
    mgi_manifest m;
    char name[256];
    size_t size;
    (void)state;
    copy_good();
    assert_int_equal(mgi_manifest_read(ctx, bad, &m), MGEN_OK);
    strcpy(name, shard_path(&m, 1));
    char *text = read_text(name, &size);
    for (size_t at = 8; at < size; at += at < 1500 ? 149 : size / 9) {
        text[at] ^= 4;
        write_text(name, text, size);
        assert_refused("a bit", MGEN_E_CORRUPT, "");
        text[at] ^= 4;
    }
    write_text(name, text, size - 1);
    assert_refused("cut", MGEN_E_CORRUPT, "");
    write_text(name, text, 0);
    assert_refused("empty", MGEN_E_CORRUPT, "");
    remove(name);
    assert_refused("missing", MGEN_E_CORRUPT, "lacks its shard");
    free(text);
    copy_good();
    text = read_text(path_in(MGI_MANIFEST), &size);
    for (size_t at = 0; at < size; at += 23) {
        if (text[at] == ' ' || text[at] == '\n')
            continue;
        text[at] ^= 1;
        write_text(path_in(MGI_MANIFEST), text, size);
        assert_refused("a bit of the manifest", MGEN_E_CORRUPT, "");
        text[at] ^= 1;
    }
    free(text);
    mgi_manifest_free(ctx, &m);
}

static void save_good(int64_t save, const char *path)
{
    shard_rank ranks[SHARD_RANKS_MAX];
    shard_run(&(shard_job){.shape = {1, 1, 2}, .body = shard_pass_on, .save = save, .to = path},
              ranks);
    for (int i = 0; i < 2; i++)
        if (ranks[i].status != MGEN_OK)
            fail_msg("%s", ranks[i].said);
}

/* A shard of a later save of the same run, under the name that the manifest gives. */
static void test_other_save(void **state)
{
    mgi_manifest first, second;
    char from[256], to[256], command[1200];
    (void)state;
    copy_good();
    assert_int_equal(mgi_manifest_read(ctx, bad, &first), MGEN_OK);
    save_good(6, bad);
    assert_int_equal(mgi_manifest_read(ctx, bad, &second), MGEN_OK);
    strcpy(from, shard_path(&second, 1));
    strcpy(to, shard_path(&first, 1));
    snprintf(command, sizeof command,
             "cp %s %s/other && rm -rf %s/*-* && cp %s/* %s && mv %s/other %s", from, bad, bad,
             good, bad, bad, to);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "its \"save\" is \"%s\", but the manifest's is \"%s\"",
             second.save, first.save);
    assert_refused("another save", MGEN_E_CORRUPT, command);
    mgi_manifest_free(ctx, &first);
    mgi_manifest_free(ctx, &second);
}

/* Saves whose shards the next one has removed whenever they are looked for. */
static void test_saved_again(void **state)
{
    char command[600];
    shard_rank rank[SHARD_RANKS_MAX];
    const shard_job job = {.shape = {1, 1, 1}, .body = load_bad, .from = bad};
    (void)state;
    copy_good();
    save_good(6, bad);
    snprintf(command, sizeof command,
             "cd %s && mv " MGI_MANIFEST " two && cp %s/" MGI_MANIFEST " one", bad, good);
    assert_int_equal(system(command), 0);
    saves_left = 2; /* the second is whole */
    shard_run(&job, rank);
    if (rank->status != MGEN_OK || saves_made != 2)
        fail_msg("%s after %d", rank->said, saves_made);
    snprintf(command, sizeof command, "rm %s/*-*", bad);
    assert_int_equal(system(command), 0);
    saves_left = 1000;
    saves_made = 0;
    shard_run(&job, rank);
    saves_left = 0;
    if (rank->status != MGEN_E_IO || !strstr(rank->said, "others keep saving to it"))
        fail_msg("%s", rank->said);
    assert_int_equal(saves_made, MGI_READ_TRIES);
}

static int make_folder(void **state)
{
    (void)state;
    ctx = shard_context();
    if (!ctx || !mkdtemp(folder))
        return -1;
    snprintf(good, sizeof good, "%s/good", folder);
    snprintf(bad, sizeof bad, "%s/bad", folder);
    save_good(5, good);
    return 0;
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;
    mgi_context_free(ctx);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),       cmocka_unit_test(test_values),
        cmocka_unit_test(test_shard),      cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_lacks),      cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_other_save), cmocka_unit_test(test_saved_again)};
    return cmocka_run_group_tests_name("bad_shards", tests, make_folder, remove_folder);
}
