/* SPDX-License-Identifier: MIT
 * Crashes while a checkpoint or a model is saved. The system calls of a save are recorded; after each of them the
 * power may fail, and then of everything that was not flushed any part may be on the disk. Every such disk must hold
 * a checkpoint that loads, the old one or the new one; of models, all files of one save; once a save has returned, the new one. The recording with
 * planted mistakes must fail, or this test would not see them. */
#include "model/model_file.h"
#include "task/pipeline.h"
#include "tensor/device.h"
#include "tiny_stages.h"
#include "train/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cmocka.h>

enum { EVENTS_MAX = 2000, FDS_MAX = 256, INODES_MAX = 64, CONTENTS = 4, NAME_MAX_BYTES = 256 };
enum { CHANGES_MAX = 7, CHANGES_MANY = 2 };

static char folder[] = "/tmp/mgi-crash-XXXXXX";
static mgen_context *ctx;

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != MGEN_OK)                                                                     \
            fail_msg("%s", mgen_last_error(ctx));                                                  \
    } while (0)

/* ---- recording: the program's own system calls take the place of the C library's ---------------- */

enum { CREATE, FOLDER, WRITE, FLUSH, RENAME, REMOVE, FLUSH_FOLDER };

typedef struct event {
    int kind;
    char name[NAME_MAX_BYTES],
        to[NAME_MAX_BYTES]; /* in the folder, "a" or "b/a"; "" = the folder itself */
    uint8_t *data;
    size_t size;
} event;

static struct {
    bool on;
    event event[EVENTS_MAX];
    int count;
    struct {
        bool ours;
        char name[NAME_MAX_BYTES];
    } fd[FDS_MAX];
} tape;

/* The name in the folder of what a call names; false if it is somewhere else. */
static bool name_in_folder(int dir, const char *path, char out[NAME_MAX_BYTES])
{
    size_t n = strlen(folder);
    if (!tape.on)
        return false;
    if (dir != AT_FDCWD && path[0] != '/') {
        if (dir >= FDS_MAX || !tape.fd[dir].ours)
            return false;
        const char *in = tape.fd[dir].name;
        bool self = !strcmp(path, ".");
        snprintf(out, NAME_MAX_BYTES, "%s%s%s", in, *in && !self ? "/" : "", self ? "" : path);
        return true;
    }
    if (strncmp(path, folder, n) || (path[n] && path[n] != '/'))
        return false;
    snprintf(out, NAME_MAX_BYTES, "%s", path[n] ? path + n + 1 : "");
    if (*out && out[strlen(out) - 1] == '/') /* "folder/" */
        out[strlen(out) - 1] = '\0';
    return true;
}

static event *record(int kind, const char *name)
{
    assert_true(tape.count < EVENTS_MAX);
    event *e = &tape.event[tape.count++];
    *e = (event){.kind = kind};
    assert_true(strlen(name) < sizeof e->name);
    memmove(e->name, name, strlen(name) + 1); /* it may be one of the tape's */
    return e;
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list list;
    char name[NAME_MAX_BYTES];
    va_start(list, flags);
    int mode = flags & O_CREAT ? va_arg(list, int) : 0;
    va_end(list);
    int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    if (fd >= 0 && fd < FDS_MAX && name_in_folder(dir, path, name)) {
        tape.fd[fd].ours = true;
        strcpy(tape.fd[fd].name, name);
        if (flags & O_CREAT)
            record(CREATE, name);
    }
    return fd;
}

ssize_t write(int fd, const void *data, size_t size)
{
    ssize_t n = syscall(SYS_write, fd, data, size);
    if (tape.on && n > 0 && fd < FDS_MAX && tape.fd[fd].ours) {
        event *e = record(WRITE, tape.fd[fd].name);
        e->data = malloc((size_t)n);
        assert_non_null(e->data);
        memcpy(e->data, data, (size_t)n);
        e->size = (size_t)n;
    }
    return n;
}

int fsync(int fd)
{
    struct stat st;
    if (tape.on && fd < FDS_MAX && tape.fd[fd].ours && fstat(fd, &st) == 0)
        record(S_ISDIR(st.st_mode) ? FLUSH_FOLDER : FLUSH, tape.fd[fd].name);
    return 0; /* it costs milliseconds, and this disk does not fail */
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS_MAX)
        tape.fd[fd].ours = false;
    return (int)syscall(SYS_close, fd);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    char name[NAME_MAX_BYTES], name_to[NAME_MAX_BYTES];
    bool ours = name_in_folder(from_dir, from, name) && name_in_folder(to_dir, to, name_to);
    int result = (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
    if (ours && !result)
        strcpy(record(RENAME, name)->to, name_to);
    return result;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    char name[NAME_MAX_BYTES];
    int result = (int)syscall(SYS_mkdirat, dir, path, mode);
    if (!result && name_in_folder(dir, path, name))
        record(FOLDER, name);
    return result;
}

int unlinkat(int dir, const char *path, int flags)
{
    char name[NAME_MAX_BYTES];
    int result = (int)syscall(SYS_unlinkat, dir, path, flags);
    if (!result && name_in_folder(dir, path, name))
        record(REMOVE, name);
    return result;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

static void start_tape(void)
{
    for (int i = 0; i < tape.count; i++)
        free(tape.event[i].data);
    memset(&tape, 0, sizeof tape);
    tape.on = true;
}

/* ---- planted mistakes ---------------------------------------------------------------------------- */

enum {
    NONE,
    NO_FLUSH,        /* of files */
    NO_FOLDER_FLUSH, /* after a rename */
    RENAME_FIRST,    /* before the file is flushed */
    IN_PLACE,        /* written under its name, not beside it */
    DELETE_FIRST,    /* the old one, before the rename */
    PUBLISH_FIRST,   /* the folder of a save before its files are written */
    ONE_BY_ONE       /* a save's files each by itself: it is never published as a whole */
};

static event moved[2 * EVENTS_MAX];
static int moved_count;

static void keep(const event *e)
{
    moved[moved_count++] = *e;
}

/* The final name of what is written under a temporary one. */
static const char *final_name(const char *name)
{
    for (int i = 0; i < tape.count; i++)
        if (tape.event[i].kind == RENAME && !strcmp(tape.event[i].name, name))
            return tape.event[i].to;
    return name;
}

static bool in_staging(const char *name)
{
    return !strncmp(name, ".save", 5);
}

/* Takes the place of `from` before the slash. */
static void put_folder_name(char name[NAME_MAX_BYTES], const char *from, const char *to)
{
    char rest[NAME_MAX_BYTES];
    size_t n = strlen(from);
    if (strncmp(name, from, n) || (name[n] && name[n] != '/'))
        return;
    strcpy(rest, name + n);
    snprintf(name, NAME_MAX_BYTES, "%.100s%.150s", to, rest);
}

/* A save's folder is published by a rename to ".save". */
static bool publishes(const event *e)
{
    return e->kind == RENAME && !strcmp(e->to, ".save");
}

static const event *publishing(void)
{
    for (int i = 0; i < tape.count; i++)
        if (publishes(&tape.event[i]))
            return &tape.event[i];
    return NULL;
}

/* The event in the course that the mistake gives. */
static void plant_event(int mistake, int i)
{
    const event *e = &tape.event[i], *whole = publishing();
    event other = *e;
    if ((mistake == NO_FLUSH && e->kind == FLUSH) ||
        (mistake == NO_FOLDER_FLUSH && e->kind == FLUSH_FOLDER) ||
        (mistake == RENAME_FIRST && e->kind == FLUSH))
        return;
    if (mistake == IN_PLACE && e->kind != REMOVE && strstr(e->name, ".tmp.") && !publishes(e) &&
        !(e->kind == FOLDER) && !(e->kind == FLUSH_FOLDER)) {
        if (e->kind == RENAME)
            return;
        strcpy(other.name, final_name(e->name));
    }
    if (mistake == PUBLISH_FIRST && whole) {
        if (publishes(e))
            return;
        if (e->kind != FOLDER) {
            put_folder_name(other.name, whole->name, whole->to);
            put_folder_name(other.to, whole->name, whole->to);
        }
    }
    if (mistake == ONE_BY_ONE && whole) {
        if (publishes(e))
            return;
        put_folder_name(other.name, whole->to, whole->name);
    }
    if (mistake == DELETE_FIRST && e->kind == RENAME && !publishes(e)) {
        event gone = {.kind = REMOVE};
        strcpy(gone.name, e->to);
        keep(&gone);
    }
    keep(&other);
    if (mistake == PUBLISH_FIRST && whole && e->kind == FOLDER)
        keep(whole);
    if (mistake == RENAME_FIRST && e->kind == RENAME && !in_staging(e->to)) {
        event late = {.kind = FLUSH};
        strcpy(late.name, e->to);
        keep(&late);
    }
}

static void plant(int mistake)
{
    moved_count = 0;
    for (int i = 0; i < tape.count; i++)
        plant_event(mistake, i);
}

/* ---- disks --------------------------------------------------------------------------------------- */

typedef struct inode {
    bool folder;
    const event *writes[EVENTS_MAX]; /* in order */
    int count;
    size_t size;
    bool flushed;
} inode;

/* That the name in the folder `in`, an inode, is the inode from now on; -1: nothing. */
typedef struct entry {
    int in, inode;
    char name[NAME_MAX_BYTES];
} entry;

/* What happens to names at once, or not. */
typedef struct change {
    entry entry[2];
    int count;
} change;

typedef struct disk {
    inode inode[INODES_MAX]; /* 0: the folder */
    int inodes;
    entry now[INODES_MAX], safe[INODES_MAX]; /* names as they are seen, and as they were flushed */
    int now_count, safe_count;
    change pending[INODES_MAX];
    int pending_count;
} disk;

static disk d;

static void apply(entry *list, int *count, const entry *e)
{
    for (int i = 0; i < *count; i++) {
        if (list[i].in == e->in && !strcmp(list[i].name, e->name)) {
            list[i] = *e;
            return;
        }
    }
    assert_true(*count < INODES_MAX);
    list[(*count)++] = *e;
}

static int look_up_in(const entry *list, int count, int in, const char *name)
{
    for (int i = 0; i < count; i++)
        if (list[i].in == in && !strcmp(list[i].name, name))
            return list[i].inode;
    return -1;
}

/* The entry of a name as it is now. */
static entry find_now(const char *name)
{
    entry e = {.in = 0};
    const char *slash = strchr(name, '/');
    if (slash) {
        char first[NAME_MAX_BYTES];
        snprintf(first, sizeof first, "%.*s", (int)(slash - name), name);
        e.in = look_up_in(d.now, d.now_count, 0, first);
    }
    strcpy(e.name, slash ? slash + 1 : name);
    e.inode = *name ? look_up_in(d.now, d.now_count, e.in, e.name) : 0;
    return e;
}

static void change_names(const change *c)
{
    assert_true(d.pending_count < INODES_MAX);
    d.pending[d.pending_count++] = *c;
    for (int i = 0; i < c->count; i++)
        apply(d.now, &d.now_count, &c->entry[i]);
}

/* What touches the folder lasts from now on. */
static void flush_folder(int in)
{
    int left = 0;
    for (int i = 0; i < d.pending_count; i++) {
        const change *c = &d.pending[i];
        bool touches = false;
        for (int k = 0; k < c->count; k++)
            touches = touches || c->entry[k].in == in;
        for (int k = 0; touches && k < c->count; k++)
            apply(d.safe, &d.safe_count, &c->entry[k]);
        if (!touches)
            d.pending[left++] = *c;
    }
    d.pending_count = left;
}

static void play(const event *e)
{
    change c = {.entry = {find_now(e->name)}, .count = 1};
    int number = c.entry[0].inode;
    switch (e->kind) {
    case CREATE:
    case FOLDER:
        assert_true(d.inodes < INODES_MAX);
        c.entry[0].inode = d.inodes;
        d.inode[d.inodes++] = (inode){.folder = e->kind == FOLDER, .flushed = e->kind == FOLDER};
        change_names(&c);
        break;
    case WRITE:
        d.inode[number].writes[d.inode[number].count++] = e;
        d.inode[number].size += e->size;
        d.inode[number].flushed = false;
        break;
    case FLUSH:
        d.inode[number].flushed = true;
        break;
    case RENAME:
        c.entry[1] = find_now(e->to);
        c.entry[0].inode = -1;
        c.entry[1].inode = number;
        c.count = 2;
        change_names(&c);
        break;
    case REMOVE:
        c.entry[0].inode = -1;
        change_names(&c);
        break;
    default:
        flush_folder(number);
    }
}

/* What a file that was not flushed may hold: nothing, its beginning, zeros, all. */
static void put_file(const char *path, const inode *f, int content)
{
    size_t room = f->size ? f->size : 1, used = 0;
    uint8_t *all = calloc(1, room);
    assert_non_null(all);
    for (int i = 0; i < f->count; i++) {
        memcpy(all + used, f->writes[i]->data, f->writes[i]->size);
        used += f->writes[i]->size;
    }
    if (!f->flushed && content == 2)
        memset(all, 0, room);
    size_t size = f->flushed || content >= 2 ? f->size : content ? f->size / 2 : 0;
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(all, 1, size, out), size);
    fclose(out);
    free(all);
}

static void remove_disk(const char *dir)
{
    char path[512];
    DIR *list = opendir(dir);
    for (const struct dirent *e; list && (e = readdir(list));) {
        snprintf(path, sizeof path, "%.100s/%.200s", dir, e->d_name);
        if (!strncmp(e->d_name, ".save", 5))
            remove_disk(path);
        else if (e->d_name[0] != '.')
            unlink(path);
    }
    if (list)
        closedir(list);
    rmdir(dir);
}

/* The files of the folder `in` among the entries. */
static void put_entries(const char *dir, const entry *list, int count, int in, int content)
{
    char path[512];
    OK(mgi_dir_make(ctx, dir));
    for (int i = 0; i < count; i++) {
        if (list[i].in != in || list[i].inode < 0)
            continue;
        snprintf(path, sizeof path, "%.200s/%.200s", dir, list[i].name);
        if (d.inode[list[i].inode].folder)
            put_entries(path, list, count, list[i].inode, content);
        else
            put_file(path, &d.inode[list[i].inode], content);
    }
}

/* Changes that happen or not, each by itself: where they are many, the last, and all before with the first of them. */
static int free_changes(void)
{
    return d.pending_count <= CHANGES_MAX ? d.pending_count : CHANGES_MANY;
}

/* The folder as the crash left it: of the changes of names that were not flushed those in `mask` happened. */
static void put_disk(const char *dir, unsigned mask, int content)
{
    entry after[INODES_MAX];
    int count = d.safe_count;
    remove_disk(dir);
    memcpy(after, d.safe, sizeof d.safe);
    for (int i = 0; i < d.pending_count; i++) {
        int late = i - (d.pending_count - free_changes());
        for (int k = 0; mask >> (late < 0 ? 0 : late) & 1 && k < d.pending[i].count; k++)
            apply(after, &count, &d.pending[i].entry[k]);
    }
    put_entries(dir, after, count, 0, content);
}

/* Whether some file has more than one possible content. */
static bool torn(void)
{
    for (int i = 0; i < d.inodes; i++)
        if (!d.inode[i].flushed)
            return true;
    return false;
}

typedef bool disk_check(const char *dir, bool done, void *user);

static int disks; /* looked at */

/* All disks that crashes after event `before` may leave: how many are wrong. */
static int count_violations(const char *dir, int before, disk_check *check, void *user)
{
    int wrong = 0;
    disks = 0;
    memset(&d, 0, sizeof d);
    d.inode[d.inodes++] = (inode){.folder = true, .flushed = true};
    for (int n = 0; n <= moved_count; n++) {
        bool done = n == moved_count;
        if (n > 0)
            play(&moved[n - 1]);
        /* among many writes in a row, some */
        bool inside = n > 0 && !done && moved[n - 1].kind == WRITE && moved[n].kind == WRITE;
        if (n < before || (inside && n % 64))
            continue;
        for (unsigned mask = 0; mask < 1U << free_changes(); mask++)
            for (int content = torn() ? 0 : CONTENTS - 1; content < CONTENTS; content++) {
                put_disk(dir, mask, content);
                disks++;
                wrong += !check(dir, done, user);
            }
    }
    return wrong;
}

/* ---- checkpoints --------------------------------------------------------------------------------- */

static struct mgi_stage_run *begin(const mgi_stage *stage)
{
    struct mgi_stage_run *run;
    const mgi_stage_params params = {.stage = stage, .dir = folder, .seed = 5, .cache_dir = folder};
    OK(mgi_stage_kind_of(stage)->create(ctx, &params, &run));
    return run;
}

static bool loads(const char *dir, bool done, void *user)
{
    mgi_stage_state state;
    char path[256];
    snprintf(path, sizeof path, "%s/checkpoint", dir);
    if (mgi_checkpoint_load(ctx, &mgi_stage_autoencoder, user, path) != MGEN_OK)
        return false;
    mgi_stage_autoencoder.state(user, &state);
    return *state.position == 2 || (*state.position == 1 && !done);
}

/* No disk is wrong; with each of the mistakes some are. */
static void assert_mistakes_seen(const int *mistakes, int count, int before, disk_check *check,
                                 void *user)
{
    char dir[64];
    snprintf(dir, sizeof dir, "%s/disk", folder);
    tape.on = false;
    for (int i = 0; i < count; i++) {
        plant(mistakes[i]);
        int wrong = count_violations(dir, before, check, user);
        if ((wrong > 0) != (mistakes[i] != NONE))
            fail_msg("mistake %d: %d disks are wrong", mistakes[i], wrong);
        print_message("# mistake %d: %d of %d disks are wrong\n", mistakes[i], wrong, disks);
    }
    remove_disk(dir);
}

#define ASSERT_SEEN(mistakes, before, check, user)                                                 \
    assert_mistakes_seen(mistakes, sizeof(mistakes) / sizeof((mistakes)[0]), before, check, user)

/* One over another. */
static void test_checkpoint(void **state)
{
    static const int mistakes[] = {NONE,         NO_FLUSH, NO_FOLDER_FLUSH,
                                   RENAME_FIRST, IN_PLACE, DELETE_FIRST};
    const struct mgi_stage_kind *kind = &mgi_stage_autoencoder;
    mgi_stage stage = tiny_autoencoder(2, 1);
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "%s/checkpoint", folder);
    struct mgi_stage_run *run = begin(&stage);
    OK(kind->step(run, 0, NULL));
    start_tape();
    OK(mgi_checkpoint_save(ctx, kind, run, path));
    int before = tape.count;
    tape.on = false;
    OK(kind->step(run, 1, NULL));
    tape.on = true;
    OK(mgi_checkpoint_save(ctx, kind, run, path));
    assert_true(tape.count > before + 4);
    ASSERT_SEEN(mistakes, before, loads, run);
    kind->destroy(run);
}

/* ---- models -------------------------------------------------------------------------------------- */

/* Of the weights of the two networks, one after the other; 0: none. */
typedef struct sets {
    uint64_t hash[2][2]; /* of the first save, of the second */
} sets;

static uint64_t hash_of(const char *dir, const char *name)
{
    mgi_model_file f;
    if (mgi_model_file_open(ctx, dir, name, NULL, &f) != MGEN_OK)
        return 0;
    uint64_t hash = f.hash;
    mgi_model_file_close(ctx, &f);
    return hash;
}

static mgen_status hashes(const char *dir, uint64_t out[2])
{
    mgi_pipeline_file p;
    MGI_TRY(mgi_pipeline_file_read(ctx, dir, "pipeline", &p));
    out[0] = hash_of(dir, p.video);
    out[1] = hash_of(dir, p.text[0]);
    return MGEN_OK;
}

/* All of one save; when the second is over, of that. */
static bool whole(const char *dir, bool done, void *user)
{
    const sets *s = user;
    uint64_t found[2];
    return hashes(dir, found) == MGEN_OK && (!memcmp(found, s->hash[1], sizeof found) ||
                                             (!done && !memcmp(found, s->hash[0], sizeof found)));
}

/* There is no model, or a whole one; when the save is over there is one. */
static bool whole_or_none(const char *dir, bool done, void *user)
{
    uint64_t found[2];
    mgen_status status = hashes(dir, found);
    (void)user;
    return status == MGEN_E_NOT_FOUND ? !done : status == MGEN_OK && found[0] && found[1];
}

/* The first of a folder, and another over it. */
static void test_model(void **state)
{
    static const int first[] = {NONE, NO_FLUSH},
                     second[] = {NONE, NO_FOLDER_FLUSH, PUBLISH_FIRST, ONE_BY_ONE};
    const struct mgi_stage_kind *kind = &mgi_stage_text_to_video;
    const mgi_stage tae = tiny_autoencoder(1, 1);
    mgi_stage stage = tiny_text_to_video(4, 1);
    sets s;
    (void)state;
    stage.optimizer.lr = 0.1; /* so that a step is seen in bf16 */
    stage.optimizer.ema = 0.0;
    stage.bucket[stage.bucket_count++] = /* quickly encoded */
        (mgi_bucket){.width = 64, .height = 64, .frames = 1, .weight = 1.0};
    struct mgi_stage_run *run = begin(&tae);
    OK(mgi_stage_autoencoder.save(run));
    mgi_stage_autoencoder.destroy(run);
    run = begin(&stage);
    start_tape();
    OK(kind->save(run));
    int before = tape.count;
    OK(hashes(folder, s.hash[0]));
    ASSERT_SEEN(first, 0, whole_or_none, NULL);
    for (int64_t i = 0; i < 3;
         i++) /* the first does not reach the text encoder: what it leads to begins at 0 */
        OK(kind->step(run, i, NULL));
    tape.on = true;
    OK(kind->save(run));
    OK(hashes(folder, s.hash[1]));
    assert_true(s.hash[0][0] != s.hash[1][0] && s.hash[0][1] != s.hash[1][1]);
    ASSERT_SEEN(second, before, whole, &s);
    kind->destroy(run);
}

static int open_all(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    (void)state;
    return !mkdtemp(folder) || mgi_context_init(&ctx, &params) != MGEN_OK ||
           mgi_device_create(ctx, NULL) != MGEN_OK;
}

static int close_all(void **state)
{
    (void)state;
    start_tape();
    tape.on = false;
    mgi_context_free(ctx);
    return remove_all(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_checkpoint),
                                       cmocka_unit_test(test_model)};
    return cmocka_run_group_tests_name("crash", tests, open_all, close_all);
}
