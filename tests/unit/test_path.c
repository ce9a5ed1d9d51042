/* SPDX-License-Identifier: MIT
 * Opening and writing files: what is refused, and that nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "io/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static mgen_context *ctx;
static uint64_t empty_bytes;
static int open_before;
static char dir[256], path[512];

/* Entries of a folder, without . and .. */
static int entries(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

/* The path of `name` in the test's folder; valid until the next call. */
static const char *in_dir(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void put(const char *name, const void *data, size_t size)
{
    FILE *f = fopen(in_dir(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void assert_content(const char *name, const void *data, size_t size)
{
    mgi_file file;
    assert_int_equal(mgi_file_open(ctx, in_dir(name), &file), MGEN_OK);
    assert_int_equal(file.size, size);
    if (size > 0)
        assert_memory_equal(file.data, data, size);
    mgi_file_close(ctx, &file);
}

static void assert_said(const char *part)
{
    if (!strstr(ctx->error_text, part))
        fail_msg("'%s' does not say '%s'", ctx->error_text, part);
}

static void assert_error(mgen_status status, mgen_status code, const char *part)
{
    if (status != code)
        fail_msg("%s instead of %s: %s", mgen_status_name(status), mgen_status_name(code),
                 ctx->error_text);
    assert_int_equal(ctx->error_code, code);
    assert_said(part);
}

/* Each test gets an empty folder and must close what it opens. */
static int set_up(void **state)
{
    (void)state;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 1;
    const char *top = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/mgen-path-XXXXXX", top && *top ? top : "/tmp");
    if (!mkdtemp(dir) || mgi_context_init(&ctx, &params) != MGEN_OK)
        return -1;
    empty_bytes = ctx->heap->now;
    open_before = entries("/proc/self/fd");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    int open_after = entries("/proc/self/fd");
    bool clean = ctx->heap->now == empty_bytes && open_after == open_before;
    mgi_context_free(ctx);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (unlinkat(dirfd(d), e->d_name, 0) != 0)
            unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
    if (d)
        closedir(d);
    return rmdir(dir) == 0 && clean ? 0 : -1;
}

static void test_read(void **state)
{
    (void)state;
    size_t sizes[] = {0, 1, 4096, 65536, 65537, 300000};
    uint8_t *data = malloc(300000);
    assert_non_null(data);
    for (size_t i = 0; i < 300000; i++)
        data[i] = (uint8_t)(i * 31 >> 3);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        mgi_file file;
        put("a.bin", data, sizes[i]);
        assert_content("a.bin", data, sizes[i]);
        assert_int_equal(mgi_file_open_in(ctx, dir, "a.bin", &file), MGEN_OK);
        assert_int_equal(file.size, sizes[i]);
        assert_true(sizes[i] == 0 || memcmp(file.data, data, sizes[i]) == 0);
        mgi_file_close(ctx, &file);
        assert_null(file.data);
        mgi_file_close(ctx, &file);
    }
    free(data);
}

/* In places, and its hash, which is that of the whole. */
static void test_reader(void **state)
{
    enum { MIB = 1 << 20 };
    static const size_t sizes[] = {0, 5, 64, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 77};
    uint8_t *data = test_malloc(4 * MIB), part[100];
    mgi_reader *r;
    uint64_t hash;
    (void)state;
    for (size_t i = 0; i < 4 * MIB; i++)
        data[i] = (uint8_t)(i * 31 >> 3 ^ i >> 13);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const size_t n = sizes[i];
        put("a.bin", data, n);
        assert_int_equal(i % 2 ? mgi_reader_open(ctx, dir, "a.bin", &r)
                               : mgi_reader_open(ctx, NULL, in_dir("a.bin"), &r),
                         MGEN_OK);
        assert_int_equal(mgi_reader_size(r), n);
        assert_int_equal(mgi_reader_hash(ctx, r, i, &hash), MGEN_OK);
        assert_true(hash == mgi_hash_large(data, n, i));
        assert_int_equal(mgi_reader_read(ctx, r, n, part, 0), MGEN_OK);
        assert_int_equal(mgi_reader_read(ctx, r, n, part, 1), MGEN_E_INTERNAL);
        assert_int_equal(mgi_reader_read(ctx, r, n + 1, part, 0), MGEN_E_INTERNAL);
        for (int rests = 0; rests < 2 && n >= 64; rests++) {
            assert_int_equal(mgi_reader_read(ctx, r, n - 64, part, 64), MGEN_OK);
            assert_memory_equal(part, data + n - 64, 64);
            mgi_reader_rest(r);
        }
        mgi_reader_close(ctx, r);
    }
    test_free(data);
}

static void test_read_refused(void **state)
{
    (void)state;
    mgi_file file = {(const uint8_t *)"x", 1};
    assert_error(mgi_file_open(ctx, NULL, &file), MGEN_E_INVALID, "NULL");
    assert_null(file.data);
    assert_error(mgi_file_open(ctx, "", &file), MGEN_E_INVALID, "empty");
    assert_error(mgi_file_open(ctx, in_dir("none"), &file), MGEN_E_NOT_FOUND, path);
    put("file", "x", 1);
    assert_error(mgi_file_open(ctx, in_dir("file/under"), &file), MGEN_E_NOT_FOUND, path);
    assert_error(mgi_file_open(ctx, dir, &file), MGEN_E_INVALID, "is a folder");
    assert_error(mgi_file_open(ctx, "/dev/null", &file), MGEN_E_INVALID, "is a device");
    char *name = malloc(2 * MGI_PATH_MAX);
    assert_non_null(name);
    memset(name, 'a', 2 * MGI_PATH_MAX - 1);
    name[2 * MGI_PATH_MAX - 1] = '\0';
    assert_error(mgi_file_open(ctx, name, &file), MGEN_E_INVALID, "longer than 4096");
    name[300] = '\0'; /* longer than file systems take */
    assert_error(mgi_file_open(ctx, name, &file), MGEN_E_INVALID, "cannot open");
    free(name);
    /* the host's own links are followed */
    assert_int_equal(symlink("file", in_dir("link")), 0);
    assert_content("link", "x", 1);
    assert_int_equal(symlink("loop", in_dir("loop")), 0);
    assert_error(mgi_file_open(ctx, in_dir("loop"), &file), MGEN_E_INVALID, "loop");
}

static void test_read_pipe_and_socket(void **state)
{
    (void)state;
    mgi_file file;
    assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
    assert_error(mgi_file_open(ctx, in_dir("pipe"), &file), MGEN_E_INVALID, "named pipe");
    assert_error(mgi_file_open_in(ctx, dir, "pipe", &file), MGEN_E_CORRUPT, "named pipe");

    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(fd >= 0);
    assert_true((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", dir) <
                sizeof(address.sun_path));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        assert_error(mgi_file_open(ctx, in_dir("s"), &file), MGEN_E_INVALID, "socket");
        assert_error(mgi_file_open_in(ctx, dir, "s", &file), MGEN_E_CORRUPT, "socket");
    }
    close(fd);
}

static void test_read_in_refused(void **state)
{
    (void)state;
    mgi_file file;
    put("file", "x", 1);
    put("A-Z_0.9", "x", 1);
    assert_int_equal(mgi_file_open_in(ctx, dir, "A-Z_0.9", &file), MGEN_OK);
    mgi_file_close(ctx, &file);

    static const char *const bad[] = {"..",  ".",        ".hidden", "../file", "/etc/passwd",
                                      "a/b", "file/",    "a\\b",    "a b",     "a\nb",
                                      "a:b", "\xc3\xa4", "\xff",    "a%2fb",   "~"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_error(mgi_file_open_in(ctx, dir, bad[i], &file), MGEN_E_CORRUPT, "not allowed");
    assert_error(mgi_file_open_in(ctx, dir, "", &file), MGEN_E_CORRUPT, "empty");
    assert_error(mgi_file_open_in(ctx, dir, NULL, &file), MGEN_E_CORRUPT, "empty");
    char name[300];
    memset(name, 'a', sizeof(name));
    name[256] = '\0';
    assert_error(mgi_file_open_in(ctx, dir, name, &file), MGEN_E_CORRUPT, "longer than 255");
    name[255] = '\0';
    assert_error(mgi_file_open_in(ctx, dir, name, &file), MGEN_E_NOT_FOUND, "aaa");

    assert_error(mgi_file_open_in(ctx, dir, "none", &file), MGEN_E_NOT_FOUND, "none");
    assert_error(mgi_file_open_in(ctx, dir, "FILE", &file), MGEN_E_NOT_FOUND, "FILE");
    assert_error(mgi_file_open_in(ctx, NULL, "file", &file), MGEN_E_INVALID, "NULL");
    assert_error(mgi_file_open_in(ctx, in_dir("file"), "file", &file), MGEN_E_NOT_FOUND, "folder");
    assert_error(mgi_file_open_in(ctx, in_dir("none"), "file", &file), MGEN_E_NOT_FOUND, "folder");

    assert_int_equal(mkdir(in_dir("sub"), 0700), 0);
    assert_error(mgi_file_open_in(ctx, dir, "sub", &file), MGEN_E_CORRUPT, "is a folder");
    assert_int_equal(symlink("file", in_dir("link")), 0);
    assert_error(mgi_file_open_in(ctx, dir, "link", &file), MGEN_E_CORRUPT, "symbolic link");
    assert_int_equal(symlink("/etc", in_dir("etc")), 0);
    assert_error(mgi_file_open_in(ctx, dir, "etc", &file), MGEN_E_CORRUPT, "symbolic link");
    /* package stores use hard links: they are files like others */
    char other[512];
    snprintf(other, sizeof(other), "%s/hard", dir);
    assert_int_equal(link(in_dir("file"), other), 0);
    assert_int_equal(mgi_file_open_in(ctx, dir, "hard", &file), MGEN_OK);
    mgi_file_close(ctx, &file);
    /* the folder itself is the host's: it may be a link, or end with a slash */
    assert_int_equal(symlink(dir, in_dir("here")), 0);
    assert_int_equal(mgi_file_open_in(ctx, in_dir("here"), "file", &file), MGEN_OK);
    mgi_file_close(ctx, &file);
    assert_int_equal(mgi_file_open_in(ctx, in_dir(""), "file", &file), MGEN_OK);
    mgi_file_close(ctx, &file);
}

static void test_read_too_large(void **state)
{
    (void)state;
    mgi_file file;
    put("big", "", 0);
    assert_int_equal(truncate(in_dir("big"), (off_t)(MGI_WHOLE_MAX + 1)), 0);
    assert_error(mgi_file_open(ctx, in_dir("big"), &file), MGEN_E_INVALID, "larger than 134217728");
    assert_error(mgi_file_open_in(ctx, dir, "big", &file), MGEN_E_CORRUPT, "larger than");
    assert_int_equal(truncate(in_dir("big"), (off_t)(MGI_LARGE_MAX + 1)), 0);
    assert_error(mgi_file_open_large(ctx, in_dir("big"), &file), MGEN_E_INVALID, "larger than 4");
    if (truncate(in_dir("big"), (off_t)(MGI_FILE_MAX + 1)) != 0)
        skip(); /* the file system has a lower limit */
    mgi_reader *r;
    assert_error(mgi_reader_open(ctx, NULL, in_dir("big"), &r), MGEN_E_INVALID, "larger than");
    assert_error(mgi_reader_open(ctx, dir, "big", &r), MGEN_E_CORRUPT, "larger than");
}

static void test_write(void **state)
{
    (void)state;
    mgi_writer w;
    for (int round = 0; round < 2; round++) { /* new, then over the old one */
        assert_int_equal(mgi_writer_open(ctx, in_dir("out"), &w), MGEN_OK);
        assert_int_equal(mgi_writer_write(&w, "abc", 3), MGEN_OK);
        assert_int_equal(mgi_writer_write(&w, "", 0), MGEN_OK);
        assert_int_equal(mgi_writer_write(&w, round ? "D" : "d", 1), MGEN_OK);
        assert_int_equal(w.written, 4);
        if (round)
            assert_content("out", "abcd", 4); /* readers see the old one until the end */
        else
            assert_int_not_equal(access(in_dir("out"), F_OK), 0);
        assert_int_equal(entries(dir), 1 + round);
        assert_int_equal(mgi_writer_commit(&w), MGEN_OK);
        assert_content("out", round ? "abcD" : "abcd", 4);
        assert_int_equal(entries(dir), 1);
    }
    mgi_writer_abort(&w);
    assert_error(mgi_writer_commit(&w), MGEN_E_STATE, "cannot be finished");
    assert_error(mgi_writer_write(&w, "x", 1), MGEN_E_STATE, "not open");
    assert_int_equal(entries(dir), 1);

    assert_int_equal(mgi_writer_open(ctx, in_dir("out"), &w), MGEN_OK);
    assert_int_equal(mgi_writer_write(&w, "lost", 4), MGEN_OK);
    mgi_writer_abort(&w);
    mgi_writer_abort(&w);
    assert_content("out", "abcD", 4);
    assert_int_equal(entries(dir), 1);

    mgi_writer unused = {.fd = 0};
    mgi_writer_abort(&unused); /* must not close descriptor 0 */
    assert_true(fcntl(0, F_GETFD) != -1 || open_before < 4);
}

static void test_write_here(void **state)
{
    (void)state;
    char old[1024];
    mgi_writer w;
    assert_non_null(getcwd(old, sizeof(old)));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(mgi_writer_open(ctx, "plain", &w), MGEN_OK);
    assert_int_equal(mgi_writer_commit(&w), MGEN_OK);
    assert_int_equal(chdir(old), 0);
    assert_content("plain", "", 0);
}

/* Left-over temporary files of a process with our number do not stop us; links are not followed. */
static void test_write_leftovers(void **state)
{
    (void)state;
    char name[64];
    mgi_writer a, b;
    snprintf(name, sizeof(name), "out.tmp.%ld", (long)getpid());
    assert_int_equal(symlink("victim", in_dir(name)), 0);
    assert_int_equal(mgi_writer_open(ctx, in_dir("out"), &a), MGEN_OK);
    assert_int_equal(mgi_writer_open(ctx, in_dir("out"), &b), MGEN_OK);
    assert_string_not_equal(a.temp, b.temp);
    assert_int_equal(mgi_writer_write(&a, "a", 1), MGEN_OK);
    assert_int_equal(mgi_writer_write(&b, "b", 1), MGEN_OK);
    assert_int_equal(mgi_writer_commit(&a), MGEN_OK);
    assert_int_equal(mgi_writer_commit(&b), MGEN_OK);
    assert_content("out", "b", 1);
    assert_int_not_equal(access(in_dir("victim"), F_OK), 0);
    assert_int_equal(entries(dir), 2);
}

static void test_write_refused(void **state)
{
    (void)state;
    mgi_writer w;
    assert_error(mgi_writer_open(ctx, NULL, &w), MGEN_E_INVALID, "NULL");
    mgi_writer_abort(&w);
    assert_error(mgi_writer_open(ctx, "", &w), MGEN_E_INVALID, "empty");
    assert_error(mgi_writer_open(ctx, in_dir("none/out"), &w), MGEN_E_NOT_FOUND, "make it first");
    mgi_writer_abort(&w);
    assert_error(mgi_writer_open(ctx, dir, &w), MGEN_E_INVALID, "is a folder");
    assert_error(mgi_writer_open(ctx, "/dev/full", &w), MGEN_E_INVALID, "is a device");
    assert_int_equal(symlink("/dev/full", in_dir("full")), 0);
    assert_error(mgi_writer_open(ctx, in_dir("full"), &w), MGEN_E_INVALID, "is a device");
    assert_int_equal(symlink("nowhere", in_dir("dangling")), 0);
    assert_error(mgi_writer_open(ctx, in_dir("dangling"), &w), MGEN_E_NOT_FOUND, "link");
    char name[256];
    memset(name, 'n', sizeof(name));
    name[250] = '\0'; /* fits, but not with the temporary ending */
    assert_error(mgi_writer_open(ctx, in_dir(name), &w), MGEN_E_INVALID, "cannot write");
    assert_int_equal(entries(dir), 2);

    /* a link to a file is written where it leads */
    put("real", "old", 3);
    assert_int_equal(symlink("real", in_dir("link")), 0);
    assert_int_equal(mgi_writer_open(ctx, in_dir("link"), &w), MGEN_OK);
    assert_int_equal(mgi_writer_write(&w, "new", 3), MGEN_OK);
    assert_int_equal(mgi_writer_commit(&w), MGEN_OK);
    struct stat st;
    assert_int_equal(lstat(in_dir("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_content("real", "new", 3);

    /* a folder that vanished, and one that took the name */
    assert_int_equal(mgi_writer_open(ctx, in_dir("late"), &w), MGEN_OK);
    assert_int_equal(mkdir(in_dir("late"), 0700), 0);
    assert_error(mgi_writer_commit(&w), MGEN_E_IO, "rename");
    assert_int_equal(entries(dir), 5);
}

static void test_no_permission(void **state)
{
    (void)state;
    bool root = geteuid() == 0; /* who may write everywhere: be somebody else for a while */
    if (root && (chown(dir, 65534, (gid_t)-1) != 0 || seteuid(65534) != 0))
        skip();
    mgi_writer w;
    mgi_file file;
    put("secret", "x", 1);
    assert_int_equal(chmod(in_dir("secret"), 0), 0);
    mgen_status read_status = mgi_file_open(ctx, in_dir("secret"), &file);
    assert_int_equal(chmod(dir, 0500), 0);
    mgen_status write_status = mgi_writer_open(ctx, in_dir("out"), &w);
    bool helpful = strstr(ctx->error_text, "permissions") != NULL;
    assert_int_equal(chmod(dir, 0300), 0); /* a folder that lets write but not read */
    mgen_status blind_status = mgi_writer_open(ctx, in_dir("out"), &w);
    if (blind_status == MGEN_OK)
        blind_status = mgi_writer_commit(&w);
    assert_int_equal(chmod(dir, 0700), 0);
    assert_true(!root || seteuid(0) == 0);
    assert_int_equal(read_status, MGEN_E_IO);
    assert_int_equal(write_status, MGEN_E_IO);
    assert_true(helpful);
    assert_int_equal(blind_status, MGEN_OK);
    assert_int_equal(entries(dir), 2);
}

static void test_write_no_space(void **state)
{
    (void)state;
    struct rlimit before, small;
    mgi_writer w;
    uint8_t *data = calloc(1, 100000);
    assert_non_null(data);
    put("out", "old", 3);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 10000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(mgi_writer_open(ctx, in_dir("out"), &w), MGEN_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    mgen_status status = mgi_writer_write(&w, data, 100000); /* a short write, then an error */
    mgen_status second = mgi_writer_commit(&w);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    free(data);
    assert_int_equal(status, MGEN_E_NO_SPACE);
    assert_int_equal(second, MGEN_E_STATE);
    assert_int_equal(w.written, 10000);
    assert_content("out", "old", 3);
    assert_int_equal(entries(dir), 1);
}

static void test_full_device(void **state)
{
    (void)state;
    /* ENOSPC itself: a writer whose descriptor leads to the full device */
    mgi_writer w;
    assert_int_equal(mgi_writer_open(ctx, in_dir("out"), &w), MGEN_OK);
    int full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    assert_int_equal(dup2(full, w.fd), w.fd);
    close(full);
    assert_error(mgi_writer_write(&w, "x", 1), MGEN_E_NO_SPACE, "free some space");
    assert_said("out");
    assert_int_equal(entries(dir), 0);
    mgi_writer_abort(&w);
}

static void test_temp(void **state)
{
    (void)state;
    char temp[MGI_PATH_MAX + 64], second[MGI_PATH_MAX + 64];
    assert_int_equal(mgi_path_temp(ctx, in_dir("film.mp4"), temp, sizeof(temp)), MGEN_OK);
    assert_int_equal(mgi_path_temp(ctx, in_dir("film.mp4"), second, sizeof(second)), MGEN_OK);
    assert_string_not_equal(temp, second);
    assert_int_equal(strncmp(temp, path, strlen(path)), 0);
    FILE *f = fopen(temp, "wb");
    assert_non_null(f);
    fputs("film", f);
    fclose(f);
    assert_int_equal(mgi_path_publish(ctx, temp, in_dir("film.mp4")), MGEN_OK);
    assert_content("film.mp4", "film", 4);
    mgi_path_discard(second);
    mgi_path_discard(second);
    mgi_path_discard(NULL);
    mgi_path_discard("");
    assert_int_equal(entries(dir), 1);

    assert_error(mgi_path_temp(ctx, in_dir("none/film.mp4"), temp, sizeof(temp)), MGEN_E_NOT_FOUND,
                 "make it first");
    assert_error(mgi_path_temp(ctx, in_dir("film.mp4"), temp, 20), MGEN_E_INVALID, "too long");
    assert_error(mgi_path_publish(ctx, second, in_dir("film.mp4")), MGEN_E_NOT_FOUND, ".tmp.");
    assert_int_equal(mgi_path_temp(ctx, in_dir("film.mp4"), temp, sizeof(temp)), MGEN_OK);
    assert_error(mgi_path_publish(ctx, temp, dir), MGEN_E_INVALID, "folder");
    assert_int_equal(entries(dir), 1); /* discarded */
}

/* A file in the folder `in` of the test's folder. */
static void put_in(const char *in, const char *name, const char *text)
{
    char both[128];
    snprintf(both, sizeof(both), "%s/%s", in, name);
    put(both, text, strlen(text));
}

static void assert_reads(const char *name, const char *text)
{
    mgi_file file;
    if (mgi_file_open_in(ctx, dir, name, &file) != MGEN_OK)
        fail_msg("%s", ctx->error_text);
    assert_int_equal(file.size, strlen(text));
    assert_memory_equal(file.data, text, file.size);
    mgi_file_close(ctx, &file);
}

static void write_into(const mgi_save *save, const char *name, const char *text)
{
    char to[MGI_PATH_MAX + 300];
    mgi_writer w;
    snprintf(to, sizeof(to), "%s/%s", save->staging, name);
    assert_int_equal(mgi_writer_open(ctx, to, &w), MGEN_OK);
    assert_int_equal(mgi_writer_write(&w, text, strlen(text)), MGEN_OK);
    assert_int_equal(mgi_writer_commit(&w), MGEN_OK);
}

/* Two files are replaced together, or neither. */
static void test_save(void **state)
{
    (void)state;
    mgi_save a, b;
    mgi_file file;
    put("one", "old", 3);
    put("two", "old", 3);
    put("three", "old", 3);
    assert_int_equal(mgi_save_begin(ctx, dir, &a), MGEN_OK);
    write_into(&a, "one", "new");
    assert_reads("one", "old");
    assert_int_equal(mgi_save_end(&a, MGEN_E_NUMERIC), MGEN_E_NUMERIC); /* what was written goes */
    assert_int_equal(entries(dir), 3);
    assert_reads("one", "old");

    /* two at once, of which neither tidies the other's away */
    assert_int_equal(mgi_save_begin(ctx, dir, &a), MGEN_OK);
    assert_int_equal(mgi_save_begin(ctx, dir, &b), MGEN_OK);
    assert_string_not_equal(a.staging, b.staging);
    write_into(&a, "one", "new");
    write_into(&b, "three", "NEW");
    write_into(&a, "two", "new");
    assert_int_equal(mgi_save_end(&a, MGEN_OK), MGEN_OK);
    assert_int_equal(mgi_save_end(&b, MGEN_OK), MGEN_OK);
    assert_reads("one", "new");
    assert_reads("two", "new");
    assert_reads("three", "NEW");
    assert_int_equal(entries(dir), 3);

    /* what crashes leave: a save that was published but not moved, and one that was not published */
    assert_int_equal(mkdir(in_dir(".save"), 0700), 0);
    put_in(".save", "one", "newer");
    assert_int_equal(mkdir(in_dir(".save.tmp.1.0"), 0700), 0);
    put_in(".save.tmp.1.0", "two", "unfinished");
    put_in(".save.tmp.1.0", "two.tmp.1", "unfinished");
    assert_reads("one", "newer");
    assert_reads("two", "new");
    assert_int_equal(entries(dir), 5); /* readers leave it alone */
    assert_int_equal(mgi_save_begin(ctx, dir, &a), MGEN_OK);
    assert_int_equal(entries(dir), 4); /* the three, and this save's */
    assert_content("one", "newer", 5);
    assert_int_equal(mgi_save_end(&a, MGEN_OK), MGEN_OK);
    assert_int_equal(entries(dir), 3);

    /* names are those of the folder, not a way out of it */
    assert_int_equal(symlink("..", in_dir(".save")), 0);
    assert_reads("one", "newer");
    assert_error(mgi_file_open_in(ctx, dir, ".save", &file), MGEN_E_CORRUPT, "not allowed");
    assert_error(mgi_save_begin(ctx, dir, &a), MGEN_E_IO, "is not a folder; remove it");
    assert_int_equal(unlink(in_dir(".save")), 0);
    assert_int_equal(mkdir(in_dir(".save"), 0700), 0);
    assert_int_equal(symlink("/etc/passwd", in_dir(".save/one")), 0);
    assert_error(mgi_file_open_in(ctx, dir, "one", &file), MGEN_E_CORRUPT, "symbolic link");
    assert_int_equal(unlink(in_dir(".save/one")), 0);
    assert_int_equal(rmdir(in_dir(".save")), 0);

    /* a folder that takes a file's name: said, and readers have the new file */
    assert_int_equal(mkdir(in_dir("four"), 0700), 0);
    assert_int_equal(mgi_save_begin(ctx, dir, &a), MGEN_OK);
    write_into(&a, "four", "4");
    assert_error(mgi_save_end(&a, MGEN_OK), MGEN_E_IO, "move a finished file into");
    assert_reads("four", "4");
    assert_int_equal(rmdir(in_dir("four")), 0);
    assert_int_equal(mgi_save_begin(ctx, dir, &a), MGEN_OK);
    assert_int_equal(mgi_save_end(&a, MGEN_OK), MGEN_OK);
    assert_content("four", "4", 1);
    assert_int_equal(entries(dir), 4);
    assert_error(mgi_save_begin(ctx, in_dir("none/x"), &a), MGEN_E_NOT_FOUND, "none/x");
    assert_error(mgi_save_begin(ctx, in_dir("one"), &a), MGEN_E_INVALID, "not a folder");
}

/* Temporary files of processes that are no more go; of others they stay. */
static void test_tidy(void **state)
{
    (void)state;
    char own[64], other[64];
    mgi_writer w;
    put("out", "old", 3);
    put("out.tmp.4194305", "", 0); /* a larger number than processes have */
    put("out.tmp.4194305.7", "", 0);
    put("out.tmp.", "", 0);
    put("out.tmp.x", "", 0);
    put("outer.tmp.4194305", "", 0);
    snprintf(own, sizeof(own), "out.tmp.%ld.50", (long)getpid());
    put(own, "", 0);
    put("out.tmp.4194306", "", 0);
    int held =
        open(in_dir("out.tmp.4194306"), O_RDONLY); /* as if by a process that is not seen here */
    assert_int_equal(flock(held, LOCK_EX), 0);
    assert_int_equal(mgi_writer_open(ctx, in_dir("out"), &w), MGEN_OK);
    snprintf(other, sizeof(other), "out.tmp.%ld", (long)getpid());
    mgi_path_tidy(ctx, in_dir("out"));
    static const char *const stay[] = {"out", "out.tmp.", "out.tmp.x", "outer.tmp.4194305",
                                       "out.tmp.4194306"};
    for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++)
        assert_int_equal(access(in_dir(stay[i]), F_OK), 0);
    assert_int_equal(access(in_dir(own), F_OK), 0);
    assert_int_equal(access(in_dir(other), F_OK), 0);
    assert_int_equal(entries(dir), 7);
    mgi_writer_abort(&w);
    close(held);
    mgi_path_tidy(ctx, in_dir("out"));
    assert_int_not_equal(access(in_dir("out.tmp.4194306"), F_OK), 0);
    mgi_path_tidy(ctx, NULL);
    mgi_path_tidy(ctx, in_dir("none/out"));
    /* so many that there is no name left */
    for (int i = 0; i < 100; i++) {
        snprintf(own, sizeof(own), i ? "out.tmp.%ld.%d" : "out.tmp.%ld", (long)getpid(), i);
        put(own, "", 0);
    }
    assert_error(mgi_writer_open(ctx, in_dir("out"), &w), MGEN_E_IO, "remove the old files");
}

static void test_folders(void **state)
{
    (void)state;
    assert_int_equal(mgi_dir_make(ctx, in_dir("new")), MGEN_OK);
    assert_int_equal(mgi_dir_make(ctx, in_dir("new")), MGEN_OK);
    assert_int_equal(mgi_dir_make(ctx, in_dir("new/")), MGEN_OK);
    assert_error(mgi_dir_make(ctx, in_dir("no/parent")), MGEN_E_NOT_FOUND, "no/parent");
    put("file", "", 0);
    assert_error(mgi_dir_make(ctx, in_dir("file")), MGEN_E_INVALID, "not a folder");
    assert_error(mgi_dir_make(ctx, ""), MGEN_E_INVALID, "empty");

    char out[16];
    assert_int_equal(mgi_path_join(ctx, "a", "b", out, sizeof(out)), MGEN_OK);
    assert_string_equal(out, "a/b");
    assert_int_equal(mgi_path_join(ctx, "/", "b", out, sizeof(out)), MGEN_OK);
    assert_string_equal(out, "/b");
    assert_int_equal(mgi_path_join(ctx, "1234567", "1234567", out, sizeof(out)), MGEN_OK);
    assert_error(mgi_path_join(ctx, "1234567", "12345678", out, sizeof(out)), MGEN_E_INVALID,
                 "longer than 15");
}

static void test_limit(void **state)
{
    (void)state;
    mgi_file file;
    put("file", "0123456789", 10);
    ctx->heap->max = ctx->heap->now + 5;
    mgen_status status = mgi_file_open(ctx, in_dir("file"), &file);
    ctx->heap->max = 0;
    assert_error(status, MGEN_E_LIMIT, "10 bytes");
    assert_null(file.data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read),
        TEST(test_reader),
        TEST(test_read_refused),
        TEST(test_read_pipe_and_socket),
        TEST(test_read_in_refused),
        TEST(test_read_too_large),
        TEST(test_write),
        TEST(test_write_here),
        TEST(test_write_leftovers),
        TEST(test_write_refused),
        TEST(test_no_permission),
        TEST(test_write_no_space),
        TEST(test_full_device),
        TEST(test_temp),
        TEST(test_save),
        TEST(test_tidy),
        TEST(test_folders),
        TEST(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
