/* SPDX-License-Identifier: MIT
 * This test program again, as ranks under mpirun: each prints "rank N: ...". */
#ifndef MPI_LAUNCH_H
#define MPI_LAUNCH_H

#include "rank_output.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Run this program as ranks; 0: without mpirun. */
static void launch(int ranks, const char *what)
{
    char self[4096], number[16];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    int pipes[2], status;
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
    hear_all(pipes[0]);
    waitpid(pid, &status, 0);
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
