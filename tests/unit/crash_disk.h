/* SPDX-License-Identifier: MIT
 * Crashes: the system calls of a save are recorded; after each of them the power may fail, and then of everything that was
 * not flushed any part may be on the disk. Every such disk is looked at, and those of the recording with mistakes planted
 * into it, some of which must be wrong. */
#ifndef CRASH_DISK_H
#define CRASH_DISK_H

#include "core/context.h"
#include "io/path.h"
#include "tensor/device.h"
#include "ok.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EVENTS_MAX = 2000, FDS_MAX = 256, INODES_MAX = 64, CONTENTS = 4, NAME_MAX_BYTES = 256 };
enum { CHANGES_MAX = 7, CHANGES_MANY = 2 };

static char folder[] = "/tmp/mgi-crash-XXXXXX";
static mgen_context *ctx;
static pthread_mutex_t tape_lock = PTHREAD_MUTEX_INITIALIZER; /* ranks are threads */

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
    pthread_mutex_lock(&tape_lock);
    int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    if (fd >= 0 && fd < FDS_MAX && name_in_folder(dir, path, name)) {
        tape.fd[fd].ours = true;
        strcpy(tape.fd[fd].name, name);
        if (flags & O_CREAT)
            record(CREATE, name);
    }
    pthread_mutex_unlock(&tape_lock);
    return fd;
}

ssize_t write(int fd, const void *data, size_t size)
{
    pthread_mutex_lock(&tape_lock);
    ssize_t n = syscall(SYS_write, fd, data, size);
    if (tape.on && n > 0 && fd < FDS_MAX && tape.fd[fd].ours) {
        event *e = record(WRITE, tape.fd[fd].name);
        e->data = malloc((size_t)n);
        assert_non_null(e->data);
        memcpy(e->data, data, (size_t)n);
        e->size = (size_t)n;
    }
    pthread_mutex_unlock(&tape_lock);
    return n;
}

int fsync(int fd)
{
    struct stat st;
    pthread_mutex_lock(&tape_lock);
    if (tape.on && fd < FDS_MAX && tape.fd[fd].ours && fstat(fd, &st) == 0)
        record(S_ISDIR(st.st_mode) ? FLUSH_FOLDER : FLUSH, tape.fd[fd].name);
    pthread_mutex_unlock(&tape_lock);
    return 0; /* it costs milliseconds, and this disk does not fail */
}

int close(int fd)
{
    pthread_mutex_lock(&tape_lock);
    if (fd >= 0 && fd < FDS_MAX)
        tape.fd[fd].ours = false;
    int result = (int)syscall(SYS_close, fd);
    pthread_mutex_unlock(&tape_lock);
    return result;
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    char name[NAME_MAX_BYTES], name_to[NAME_MAX_BYTES];
    pthread_mutex_lock(&tape_lock);
    bool ours = name_in_folder(from_dir, from, name) && name_in_folder(to_dir, to, name_to);
    int result = (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
    if (ours && !result)
        strcpy(record(RENAME, name)->to, name_to);
    pthread_mutex_unlock(&tape_lock);
    return result;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    char name[NAME_MAX_BYTES];
    pthread_mutex_lock(&tape_lock);
    int result = (int)syscall(SYS_mkdirat, dir, path, mode);
    if (!result && name_in_folder(dir, path, name))
        record(FOLDER, name);
    pthread_mutex_unlock(&tape_lock);
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

int unlinkat(int dir, const char *path, int flags)
{
    char name[NAME_MAX_BYTES];
    pthread_mutex_lock(&tape_lock);
    int result = (int)syscall(SYS_unlinkat, dir, path, flags);
    if (!result && name_in_folder(dir, path, name))
        record(REMOVE, name);
    pthread_mutex_unlock(&tape_lock);
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

/* ---- the recording with a mistake ----------------------------------------------------------------- */

enum {
    NONE,
    NO_FLUSH,        /* of files */
    NO_FOLDER_FLUSH, /* after a rename */
    OTHERS
};

static event moved[2 * EVENTS_MAX];
static int moved_count;

static void keep(const event *e)
{
    moved[moved_count++] = *e;
}

/* Keeps the events in the course that the mistake gives; `before`: how many there were before the save. */
typedef void planter(int mistake, int before);

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
        snprintf(path, sizeof path, "%.200s/%.255s", dir, e->d_name);
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && unlink(path))
            remove_disk(path);
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

/* No disk is wrong; with each of the mistakes some are. */
static void assert_mistakes_seen(planter *plant, const int *mistakes, int count, int before,
                                 disk_check *check, void *user)
{
    char dir[64];
    snprintf(dir, sizeof dir, "%s/disk", folder);
    tape.on = false;
    for (int i = 0; i < count; i++) {
        moved_count = 0;
        plant(mistakes[i], before);
        int wrong = count_violations(dir, before, check, user);
        if ((wrong > 0) != (mistakes[i] != NONE))
            fail_msg("mistake %d: %d disks are wrong", mistakes[i], wrong);
        print_message("# mistake %d: %d of %d disks are wrong\n", mistakes[i], wrong, disks);
    }
    remove_disk(dir);
}

#define ASSERT_SEEN(mistakes, before, check, user)                                                 \
    assert_mistakes_seen(plant, mistakes, sizeof(mistakes) / sizeof((mistakes)[0]), before, check, \
                         user)

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
    remove_disk(folder);
    return 0;
}

#endif
