/* SPDX-License-Identifier: MIT
 * What a process has at this moment, as Linux tells it. */
#ifndef TESTS_API_PROC_H
#define TESTS_API_PROC_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Sanitizers keep freed memory: resident memory says nothing there. They are slow, too. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define PROC static __attribute__((unused))

PROC int64_t proc_entries(const char *folder)
{
    int64_t count = 0;
    DIR *d = opendir(folder);
    if (!d)
        return -1;
    for (struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

/* Open files, without the one that counts them. */
PROC int64_t proc_fds(void)
{
    return proc_entries("/proc/self/fd") - 1;
}

PROC int64_t proc_threads(void)
{
    return proc_entries("/proc/self/task");
}

/* A thread that was joined may be in the list a moment longer. */
PROC bool proc_threads_fall_to(int64_t count)
{
    for (int i = 0; i < 1000 && proc_threads() > count; i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    return proc_threads() == count;
}

/* Resident memory in bytes; -1 = unknown. */
PROC int64_t proc_rss(void)
{
    long long pages = -1;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return -1;
    if (fscanf(f, "%*s %lld", &pages) != 1)
        pages = -1;
    fclose(f);
    return pages < 0 ? -1 : pages * sysconf(_SC_PAGESIZE);
}

#endif
