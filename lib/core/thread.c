/* SPDX-License-Identifier: MIT */
#include "core/thread.h"

#include <signal.h>

enum {
    STACK_LEAST =
        4 << 20 /* bytes, of which those that are touched are taken; drawing a film needs 250 KB */
};

int mgi_thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    pthread_attr_t attr;
    size_t stack = 0;
    int error = pthread_attr_init(&attr);
    if (error)
        return error;
    error = pthread_attr_getstacksize(&attr, &stack);
    if (!error && stack < STACK_LEAST)
        error = pthread_attr_setstacksize(&attr, STACK_LEAST);
    if (!error) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(thread, &attr, run, arg);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attr);
    return error;
}
