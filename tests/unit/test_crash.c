/* SPDX-License-Identifier: MIT
 * Crashes while a checkpoint or a model is saved. The system calls of a save are recorded; after each of them the
 * power may fail, and then of everything that was not flushed any part may be on the disk. Every such disk must hold
 * a checkpoint that loads, the old one or the new one; once the save has returned, the new one. The recording with
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
#include <sys/syscall.h>

#include <cmocka.h>

enum { EVENTS_MAX = 2000, FDS_MAX = 256, FILES_MAX = 16, CONTENTS = 4 };

static char folder[] = "/tmp/mgi-crash-XXXXXX";
static mgen_context *ctx;

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != MGEN_OK)                                                                     \
            fail_msg("%s", mgen_last_error(ctx));                                                  \
    } while (0)

/* ---- recording: the program's own system calls take the place of the C library's ---------------- */

enum { CREATE, WRITE, FLUSH, RENAME, UNLINK, FLUSH_FOLDER };

typedef struct event {
    int kind;
    char name[64], to[64]; /* in the folder */
    uint8_t *data;
    size_t size;
} event;

static struct {
    bool on;
    event event[EVENTS_MAX];
    int count;
    char fd_name[FDS_MAX][64]; /* "" = not ours; "." = the folder */
} tape;

static const char *name_in_folder(const char *path)
{
    size_t n = strlen(folder);
    if (strncmp(path, folder, n) || (path[n] && path[n] != '/'))
        return NULL;
    return path[n] ? path + n + 1 : ".";
}

static event *record(int kind, const char *name)
{
    assert_true(tape.count < EVENTS_MAX);
    event *e = &tape.event[tape.count++];
    *e = (event){.kind = kind};
    assert_true(strlen(name) < sizeof e->name);
    memmove(e->name, name, strlen(name) + 1); /* it may be that of an earlier event */
    return e;
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    int mode = flags & O_CREAT ? va_arg(list, int) : 0;
    va_end(list);
    int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    const char *name = tape.on && fd >= 0 && fd < FDS_MAX ? name_in_folder(path) : NULL;
    if (name && (flags & (O_CREAT | O_DIRECTORY))) {
        snprintf(tape.fd_name[fd], sizeof tape.fd_name[fd], "%s", name);
        if (flags & O_CREAT)
            record(CREATE, name);
    }
    return fd;
}

ssize_t write(int fd, const void *data, size_t size)
{
    ssize_t n = syscall(SYS_write, fd, data, size);
    if (tape.on && n > 0 && fd < FDS_MAX && tape.fd_name[fd][0]) {
        event *e = record(WRITE, tape.fd_name[fd]);
        e->data = malloc((size_t)n);
        assert_non_null(e->data);
        memcpy(e->data, data, (size_t)n);
        e->size = (size_t)n;
    }
    return n;
}

int fsync(int fd)
{
    if (tape.on && fd < FDS_MAX && tape.fd_name[fd][0])
        record(strcmp(tape.fd_name[fd], ".") ? FLUSH : FLUSH_FOLDER, tape.fd_name[fd]);
    return 0; /* it costs milliseconds, and this disk does not fail */
}

int close(int fd)
{
    if (fd >= 0 && fd < FDS_MAX)
        tape.fd_name[fd][0] = '\0';
    return (int)syscall(SYS_close, fd);
}

int rename(const char *from, const char *to)
{
    int result = (int)syscall(SYS_rename, from, to);
    if (tape.on && !result && name_in_folder(from) && name_in_folder(to)) {
        event *e = record(RENAME, name_in_folder(from));
        snprintf(e->to, sizeof e->to, "%s", name_in_folder(to));
    }
    return result;
}

int unlink(const char *path)
{
    int result = (int)syscall(SYS_unlink, path);
    if (tape.on && !result && name_in_folder(path))
        record(UNLINK, name_in_folder(path));
    return result;
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
    NO_FLUSH,        /* of the file */
    NO_FOLDER_FLUSH, /* after the rename */
    RENAME_FIRST,    /* before the file is flushed */
    IN_PLACE,        /* written under its name, not beside it */
    DELETE_FIRST,    /* the old one, before the rename */
    MANIFEST_FIRST,  /* the last file, which names the others, before them */
    PLANTED
};

static event moved[EVENTS_MAX + FILES_MAX];
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

/* The event in the course that the mistake gives. */
static void plant_event(int mistake, int i)
{
    const event *e = &tape.event[i];
    event other = *e;
    bool last_of_file = e->kind == FLUSH && mistake == RENAME_FIRST;
    if ((mistake == NO_FLUSH && e->kind == FLUSH) ||
        (mistake == NO_FOLDER_FLUSH && e->kind == FLUSH_FOLDER) || last_of_file)
        return;
    if (mistake == IN_PLACE) {
        if (e->kind == RENAME)
            return;
        snprintf(other.name, sizeof other.name, "%s", final_name(e->name));
    }
    if (mistake == DELETE_FIRST && e->kind == RENAME) {
        event gone = {.kind = UNLINK};
        strcpy(gone.name, e->to);
        keep(&gone);
    }
    keep(&other);
    if (mistake == RENAME_FIRST && e->kind == RENAME) {
        event late = {.kind = FLUSH};
        strcpy(late.name, e->to);
        keep(&late);
    }
}

static void plant(int mistake)
{
    int begins = 0; /* of the last file */
    for (int i = 0; i < tape.count; i++)
        if (tape.event[i].kind == CREATE)
            begins = i;
    moved_count = 0;
    for (int i = begins; mistake == MANIFEST_FIRST && i < tape.count; i++)
        plant_event(mistake, i);
    for (int i = 0; i < (mistake == MANIFEST_FIRST ? begins : tape.count); i++)
        plant_event(mistake, i);
}

/* ---- disks --------------------------------------------------------------------------------------- */

typedef struct inode {
    const event *writes[EVENTS_MAX]; /* in order */
    int count;
    size_t size;
    bool flushed;
} inode;

typedef struct entry {
    char name[64];
    int inode; /* -1: none */
} entry;

typedef struct disk {
    inode inode[FILES_MAX];
    int inodes;
    entry now[FILES_MAX], safe[FILES_MAX]; /* the folder as it is seen, and as it was flushed */
    int now_count, safe_count;
    struct {
        char name[64];
        int inode; /* that the name has from now on */
    } pending[FILES_MAX];
    int pending_count;
} disk;

static disk d;

static void link_name(entry *list, int *count, const char *name, int number)
{
    for (int i = 0; i < *count; i++) {
        if (!strcmp(list[i].name, name)) {
            list[i].inode = number;
            return;
        }
    }
    assert_true(*count < FILES_MAX);
    list[*count].inode = number;
    strcpy(list[(*count)++].name, name);
}

static int look_up(const entry *list, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(list[i].name, name))
            return list[i].inode;
    return -1;
}

static void change_name(const char *name, int number)
{
    link_name(d.now, &d.now_count, name, number);
    if (strstr(name, ".tmp.")) /* nobody reads it */
        return;
    assert_true(d.pending_count < FILES_MAX);
    strcpy(d.pending[d.pending_count].name, name);
    d.pending[d.pending_count++].inode = number;
}

static void play(const event *e)
{
    int number = look_up(d.now, d.now_count, e->name);
    switch (e->kind) {
    case CREATE:
        assert_true(d.inodes < FILES_MAX);
        memset(&d.inode[d.inodes], 0, sizeof d.inode[0]);
        change_name(e->name, d.inodes++);
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
        change_name(e->to, number);
        change_name(e->name, -1);
        break;
    case UNLINK:
        change_name(e->name, -1);
        break;
    default:
        memcpy(d.safe, d.now, sizeof d.now);
        d.safe_count = d.now_count;
        d.pending_count = 0;
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

/* The folder as the crash left it: of the changes of names that were not flushed those in `mask` happened. */
static void put_folder(const char *dir, unsigned mask, int content)
{
    entry after[2 * FILES_MAX];
    int count = d.safe_count;
    char path[256];
    remove_all(dir);
    OK(mgi_dir_make(ctx, dir));
    memcpy(after, d.safe, sizeof d.safe);
    for (int i = 0; i < d.pending_count; i++)
        if (mask >> i & 1)
            link_name(after, &count, d.pending[i].name, d.pending[i].inode);
    for (int i = 0; i < count; i++) {
        if (strstr(after[i].name, ".tmp."))
            continue;
        snprintf(path, sizeof path, "%.100s/%.64s", dir, after[i].name);
        if (after[i].inode >= 0)
            put_file(path, &d.inode[after[i].inode], content);
    }
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

/* All disks that crashes after event `before` may leave: how many are wrong. */
static int disks; /* looked at */

static int count_violations(const char *dir, int before, disk_check *check, void *user)
{
    int wrong = 0;
    disks = 0;
    memset(&d, 0, sizeof d);
    for (int n = 0; n <= moved_count; n++) {
        bool done = n == moved_count;
        if (n > 0)
            play(&moved[n - 1]);
        /* among many writes in a row, some */
        bool inside = n > 0 && !done && moved[n - 1].kind == WRITE && moved[n].kind == WRITE;
        if (n < before || (inside && n % 32))
            continue;
        for (unsigned mask = 0; mask < 1U << d.pending_count; mask++)
            for (int content = torn() ? 0 : CONTENTS - 1; content < CONTENTS; content++) {
                put_folder(dir, mask, content);
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

/* `mistakes`: how many of them there are to make. */
static void assert_mistakes_seen(const bool seen[PLANTED], int mistakes, int before,
                                 disk_check *check, void *user)
{
    char dir[64];
    snprintf(dir, sizeof dir, "%s/disk", folder);
    tape.on = false;
    for (int mistake = NONE; mistake < mistakes; mistake++) {
        plant(mistake);
        int wrong = count_violations(dir, before, check, user);
        if ((wrong > 0) != seen[mistake])
            fail_msg("mistake %d: %d disks are wrong", mistake, wrong);
        print_message("# mistake %d: %d of %d disks are wrong\n", mistake, wrong, disks);
    }
    remove_all(dir);
}

/* One over another. */
static void test_checkpoint(void **state)
{
    static const bool seen[PLANTED] = {
        [NO_FLUSH] = true, [NO_FOLDER_FLUSH] = true, [RENAME_FIRST] = true,
        [IN_PLACE] = true, [DELETE_FIRST] = true,    [MANIFEST_FIRST] = false};
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
    assert_mistakes_seen(seen, MANIFEST_FIRST, before, loads, run);
    kind->destroy(run);
}

/* ---- models -------------------------------------------------------------------------------------- */

static bool opens(const char *dir, const char *name)
{
    mgi_model_file f;
    bool good = mgi_model_file_open(ctx, dir, name, NULL, &f) == MGEN_OK;
    if (good)
        mgi_model_file_close(ctx, &f);
    return good;
}

/* There is no pipeline, or all that it names; when the save is over there is one. */
static bool whole(const char *dir, bool done, void *user)
{
    mgi_pipeline_file p;
    (void)user;
    mgen_status status = mgi_pipeline_file_read(ctx, dir, "pipeline", &p);
    if (status == MGEN_E_NOT_FOUND)
        return !done;
    return status == MGEN_OK && opens(dir, p.video) && opens(dir, p.text[0]);
}

/* The first of a folder: a crash leaves no model or a whole one. */
static void test_model(void **state)
{
    static const bool seen[PLANTED] = {
        [NO_FLUSH] = true, [NO_FOLDER_FLUSH] = true, [RENAME_FIRST] = true,
        [IN_PLACE] = true, [DELETE_FIRST] = false,   [MANIFEST_FIRST] = true};
    const struct mgi_stage_kind *kind = &mgi_stage_text_to_video;
    const mgi_stage tae = tiny_autoencoder(1, 1);
    mgi_stage stage = tiny_text_to_video(1, 1);
    (void)state;
    stage.bucket[stage.bucket_count++] = /* quickly encoded */
        (mgi_bucket){.width = 64, .height = 64, .frames = 1, .weight = 1.0};
    struct mgi_stage_run *run = begin(&tae);
    OK(mgi_stage_autoencoder.save(run));
    mgi_stage_autoencoder.destroy(run);
    run = begin(&stage);
    start_tape();
    OK(kind->save(run));
    assert_mistakes_seen(seen, PLANTED, 0, whole, NULL);
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
