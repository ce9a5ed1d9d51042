/* SPDX-License-Identifier: MIT
 * This test program again, as ranks under mpirun: each prints "rank N: ...". */
#ifndef MPI_LAUNCH_H
#define MPI_LAUNCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char output[65536];

/* Run this program as ranks; 0: without mpirun. */
static void launch(int ranks, const char *what)
{
    char self[4096], number[16];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    int pipes[2], status;
    size_t used = 0;
    assert_true(length > 0);
    self[length] = 0;
    snprintf(number, sizeof number, "%d", ranks);
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[1], 1);
        close(pipes[0]);
        close(pipes[1]);
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
        setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 1);
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* MPI's own */
        if (ranks)
            execlp("mpirun", "mpirun", "--oversubscribe", "--enable-recovery", "--timeout", "240",
                   "-np", number, self, "--rank", what, (char *)NULL);
        else
            execl(self, self, "--rank", what, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    close(pipes[1]);
    for (ssize_t n; (n = read(pipes[0], output + used, sizeof output - 1 - used)) > 0;)
        used += (size_t)n;
    output[used] = 0;
    close(pipes[0]);
    waitpid(pid, &status, 0);
}

/* What rank `rank` said. */
static const char *said(int rank)
{
    static char line[2048];
    char begin[32];
    snprintf(begin, sizeof begin, "rank %d: ", rank);
    const char *at = strstr(output, begin), *end = at ? strchr(at, '\n') : NULL;
    if (!at || !end)
        fail_msg("rank %d said nothing: %s", rank, output);
    snprintf(line, sizeof line, "%.*s", (int)(end - at), at);
    return line;
}

static void assert_said(int rank, const char *part)
{
    const char *line = said(rank);
    if (!strstr(line, part))
        fail_msg("'%s' does not say '%s'", line, part);
}

static void need_mpi(void)
{
    static int found = -1;
    if (found < 0) {
        char file[4096];
        ssize_t length = readlink("/proc/self/exe", file, sizeof file - 64);
        file[length > 0 ? length : 0] = 0;
        snprintf(strrchr(file, '/'), 64, "/../lib/plugins/mgen_mpi.so");
        found = access(file, F_OK) == 0 && system("mpirun --version >/dev/null 2>&1") == 0;
    }
#if defined(__SANITIZE_THREAD__)
    found = 0;
#endif
    if (!found) {
        print_message("skipped: no MPI plug-in in this build, or no mpirun, or ThreadSanitizer\n");
        skip();
    }
}

#endif
